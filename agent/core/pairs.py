"""Pairs: the margin of one instrument moved into another when its share in the two has grown too large.

Margin is what a position takes at its leverage setting. Closing X of one and opening Y of the other keeps the margin of
the two what it was where X and Y stand to each other as the leverage settings do; equal values would not.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

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

    def reach(self, margin_a: float, margin_b: float) -> float:
        """How far the share of ``over`` is above its target, as a part of the tolerance: it is too large from 1 on."""
        both = margin_a + margin_b
        width = self.tolerance * (self.target if self.mode == "relative" else 1.0)
        return (margin_a / both - self.target + ROUNDING) / width if both else 0.0


class Shift(Struct, frozen=True):
    """What a pair rule asks for, as values in the currency of the margin; both 0 while the share is near its target."""

    share: float
    """Of the first instrument in the margin of the two, now."""
    close: float = 0.0
    """Value to close of the first."""
    open: float = 0.0
    """Value to open of the second."""


def shift(margin_a: float, margin_b: float, leverage_a: float, leverage_b: float, pair: Pair) -> Shift | None:
    """What leads back to the target share, the margin of the two unchanged; None while neither has any margin.

    ``margin_a`` and ``leverage_a`` are those of ``pair.over``, b those of ``pair.into``; both margins are unsigned.
    """
    both = margin_a + margin_b
    if not both:
        return None
    share = margin_a / both
    if pair.reach(margin_a, margin_b) < 1:
        return Shift(share=share)
    excess = margin_a - pair.target * both
    return Shift(share=share, close=excess * leverage_a, open=excess * leverage_b)
