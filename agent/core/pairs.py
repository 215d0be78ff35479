"""Pairs: the margin of one instrument moved into another when its share in the two has grown too large.

Margin is what a position takes at its leverage setting. Closing X of one and opening Y of the other keeps the margin of
the two what it was where X and Y stand to each other as the leverage settings do; equal values would not.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from agent.core.book import Row

ROUNDING = 1e-12
"""Equality fires, so sums of decimal fractions may miss it by this much."""


class Pair(Struct, frozen=True, forbid_unknown_fields=True):
    """A rule for two instruments: ``over`` is closed and ``into`` opened when the margin of the first is too large."""

    over: str
    into: str
    target: float
    """The share of ``over`` in the margin of the two."""
    tolerance: float = 0.05
    """It is too large when it is above its target by this much or more."""
    mode: Literal["points", "relative"] = "points"
    """points: the tolerance is a difference of shares; relative: it is a part of the target."""

    def share(self, margin_over: float, margin_into: float) -> float | None:
        """The share of ``over`` in the margin of the two; None while neither has any."""
        both = margin_over + margin_into
        return margin_over / both if both else None

    def reach(self, margin_over: float, margin_into: float) -> float:
        """How far the share is above its target, as a part of the tolerance: 1 is where the rule fires."""
        share = self.share(margin_over, margin_into)
        if share is None:
            return 0.0
        width = self.tolerance * (self.target if self.mode == "relative" else 1.0)
        return (share - self.target + ROUNDING) / width


class Shift(Struct, frozen=True):
    """What a pair rule asks for, as values in the currency of the margin; both 0 while it does not fire."""

    close: float = 0.0
    """Of the first instrument."""
    open: float = 0.0
    """Of the second."""


def shift(margin_over: float, margin_into: float, leverage_over: float, leverage_into: float, pair: Pair) -> Shift:
    """What leads back to the target share and leaves the margin of the two unchanged. Margins are unsigned."""
    if pair.reach(margin_over, margin_into) < 1:
        return Shift()
    excess = margin_over - pair.target * (margin_over + margin_into)
    return Shift(close=excess * leverage_over, open=excess * leverage_into)


def margin_of(row: Row) -> float | None:
    """Initial margin of what is held of an instrument, at mark; None while a needed number is missing."""
    if not row.holdings or row.instrument is None or row.mark is None or not row.leverage:
        return None
    held = sum(abs(holding.lots) for holding in row.holdings.values())
    return row.instrument.value(held, row.mark.price) / row.leverage
