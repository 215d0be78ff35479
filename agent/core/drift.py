"""Drift: how far each holding stands from its target.

Definitions are those of the portfolio literature for leveraged books: a weight is signed notional over equity, drift is
the weight less its target, and it is counted in points of the target gross leverage, so that 7 % means the same at 1x
and at 5x.

Where an account is held in a coin, the coin is exposure before any contract is. Its weight there is 1 and what the
contracts add: 1 BTC of equity with contracts for +2 BTC weighs 3, without any 1, with contracts for -1 BTC nothing, so
that it is worth the same at any price. With weights so counted, all that is said of drift holds for it to the letter.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import sqrt
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from agent.core.book import LEAST, Book
from agent.core.covariance import Matrix
from agent.core.targets import Targets, following, gross, wishes_of


class Bands(Struct, frozen=True, forbid_unknown_fields=True):
    """How far is too far, and how far back a correction goes."""

    tolerance: float = 0.07
    """Largest drift of one instrument, as a share of target gross."""
    relative: float | None = None
    """Largest drift of one instrument, as a share of its own target; the tighter of the two counts."""
    portfolio: float | None = None
    """Largest total drift: half the sum of all, the one-way turnover that would cure it, as a share of target gross."""
    tracking: float | None = None
    """Largest tracking risk: the volatility a year of the difference to the portfolio on target, over equity."""
    leverage: float | None = None
    """Largest distance of leverage from its target, as a share of the target."""
    hedge: float = 0.05
    """Largest difference between the legs of a hedge group, each taken as a part of its own target."""
    strategy: float = 0.07
    """Largest distance of a strategy's share of equity from its capital; no trade at the exchange cures it."""
    destination: Literal["optimal", "edge", "target"] = "optimal"
    """optimal: also act when the cost-aware band inside the tolerance is left, and trade only back into both; edge:
    act on the tolerance alone, and come back to just inside it; target: likewise, but all the way."""
    landing: float = 0.75
    """Just inside: this part of the band's half width."""


class Drift(Struct, frozen=True):
    """Where the portfolio stands. Lists are in instrument order; an instrument on ``hold`` has target None, drift 0.

    Drift is counted from ``aims``: the targets, less what has to be trimmed while its funding bleeds.
    """

    equity: float
    leverage: float
    """Gross notional over equity."""
    leverage_free: float
    """The part of it that is not on hold."""
    gross_target: float
    """Sum of absolute target weights: the unit in which drift is counted."""
    weights: list[float]
    targets: list[float | None]
    aims: list[float | None]
    drifts: list[float]
    """Signed, in points of target gross."""
    bands: list[float]
    """Half width of each instrument's band, in the same unit."""
    coins: Sequence[float] = ()
    """What of each weight is the collateral's own, see `Book.coins`; nothing where it is empty."""

    @property
    def contracts(self) -> list[float]:
        """What of each weight is held in contracts."""
        return [w - coin for w, coin in zip(self.weights, self.coins, strict=True)] if self.coins else self.weights

    def without(self, instruments: Collection[int]) -> Drift:
        """The same, but these count as they are and are to be left alone."""
        if not instruments:
            return self
        aims = [None if index in instruments else aim for index, aim in enumerate(self.aims)]
        drifts = [0.0 if index in instruments else drift for index, drift in enumerate(self.drifts)]
        return replace(self, aims=aims, drifts=drifts)

    @property
    def worst(self) -> float:
        """The largest absolute drift."""
        return max((abs(d) for d in self.drifts), default=0.0)

    @property
    def total(self) -> float:
        """Half the sum of absolute drifts: one-way turnover of a full correction."""
        return sum(abs(d) for d in self.drifts) / 2

    @property
    def away(self) -> list[float]:
        """Weight less aim; 0 on hold."""
        return [0.0 if aim is None else w - aim for w, aim in zip(self.weights, self.aims, strict=True)]

    @property
    def astray(self) -> list[float]:
        """Weight less the user's own target; 0 on hold."""
        return [0.0 if goal is None else w - goal for w, goal in zip(self.weights, self.targets, strict=True)]

    @property
    def reach(self) -> float:
        """The largest drift as a part of its own band: 1 is the edge."""
        return max((abs(d) / b for d, b in zip(self.drifts, self.bands, strict=True)), default=0.0)


def measure(
    book: Book,
    targets: Targets,
    bands: Bands,
    leverage_now: float | None = None,
    *,
    wishes: Sequence[float | None] | None = None,
    parts: Sequence[float] | None = None,
) -> Drift | None:
    """Drift at the book's marks; None while a price, a position or the wallet is missing.

    An account that is worth nothing, or less, is taken for one that is worth `LEAST`: it has positions all the same,
    and they have to be reduced.

    ``leverage_now`` is what leverage modes ``cap`` and ``off`` follow, where it is not the present one: a correction
    under way must not follow the leverage that its own reductions have lowered. ``wishes`` are the weights wanted at
    full leverage, where they are not those of the file, and ``parts`` what funding leaves of each (see
    `agent.core.carry`).
    """
    equity = book.equity
    wishes = wishes or wishes_of(targets, [row.leverage for row in book.rows])
    if equity is None or wishes is None:
        return None
    equity = max(equity, LEAST)
    weights = []
    for row, coin in zip(book.rows, book.coins, strict=True):
        if row.notional is None:
            return None
        weights.append(coin + row.notional / equity)
    free = gross(w for w, wish in zip(weights, wishes, strict=True) if wish is not None)
    wanted = gross(wish for wish in wishes if wish is not None)
    left_of = [1.0] * len(wishes) if parts is None else parts
    trimmed = gross(wish for wish in trim(wishes, book.coins, left_of) if wish is not None)
    part = following(targets, trimmed, free if leverage_now is None else leverage_now)
    goals = [None if wish is None else wish * part for wish in wishes]
    aims = trim(goals, book.coins, left_of)
    unit = wanted * part or 1.0
    return Drift(
        equity=equity,
        leverage=gross(weights),
        leverage_free=free,
        gross_target=wanted * part,
        weights=weights,
        targets=goals,
        aims=aims,
        drifts=[0.0 if aim is None else (w - aim) / unit for w, aim in zip(weights, aims, strict=True)],
        bands=[half_width(goal, unit, bands) for goal in goals],
        coins=tuple(book.coins),
    )


def standing(book: Book, held: Collection[str]) -> Drift | None:
    """What is held, where not all is known that drift is counted from: as it is, and not astray from anything.

    Equity is that of the accounts of which it is known, and only what lies on those counts. None if there is none;
    ``held`` are the symbols on hold.
    """
    equities = [account.equity for account in book.accounts]
    known = [equity for equity in equities if equity is not None]
    if not known:
        return None
    equity = max(sum(known), LEAST)
    weights = [
        0.0 if equities[seat] is None or row.notional is None else row.notional / equity
        for row, seat in zip(book.rows, book.seats, strict=True)
    ]
    goals = [None if row.symbol in held else weight for row, weight in zip(book.rows, weights, strict=True)]
    return Drift(
        equity=equity,
        leverage=gross(weights),
        leverage_free=gross(weights),
        gross_target=gross(weights),
        weights=weights,
        targets=goals,
        aims=goals,
        drifts=[0.0] * len(weights),
        bands=[1.0] * len(weights),
    )


def trim(goals: Sequence[float | None], coins: Sequence[float], parts: Sequence[float]) -> list[float | None]:
    """What funding leaves of each goal: a part of what is wanted in contracts, which alone pay it."""
    found = zip(goals, coins, parts, strict=True)
    return [None if goal is None else coin + (goal - coin) * part for goal, coin, part in found]


def half_width(goal: float | None, unit: float, bands: Bands) -> float:
    """Half width of an instrument's band in points of target gross: the tolerance, or less where relative says so."""
    if bands.relative is None or not goal:
        return bands.tolerance
    return min(bands.tolerance, bands.relative * abs(goal) / unit)


def moved(weights: Sequence[float], returns: Sequence[float]) -> list[float]:
    """The weights after these returns when nobody trades, exactly: w (1 + r) over the growth of equity, 1 + sum w r."""
    growth = 1 + sum(weight * change for weight, change in zip(weights, returns, strict=True))
    return [weight * (1 + change) / growth for weight, change in zip(weights, returns, strict=True)]


def strayed(drift: Drift, bands: Bands, covariance: Matrix | None, weights: Sequence[float]) -> dict[str, float]:
    """What is measured over all instruments, as a part of its band where the file gives one: 1 is the edge.

    ``covariance`` is that of a year; without it tracking risk is not known.
    """
    x = [0.0 if aim is None else w - aim for w, aim in zip(weights, drift.aims, strict=True)]
    unit = drift.gross_target or 1.0
    found = {}
    if bands.portfolio is not None:
        found["total drift"] = gross(x) / 2 / unit / bands.portfolio
    if bands.tracking is not None and covariance is not None:
        found["tracking risk"] = sqrt(max(0.0, float(np.dot(x, np.dot(covariance, x))))) / bands.tracking
    if bands.leverage is not None and drift.gross_target:
        now = gross(w for w, aim in zip(weights, drift.aims, strict=True) if aim is not None)
        aimed = gross(aim for aim in drift.aims if aim is not None)
        found["leverage"] = abs(now - aimed) / drift.gross_target / bands.leverage
    return found


def drawn_in(drift: Drift, bands: Bands, covariance: Matrix | None) -> list[float]:
    """The weights drawn toward the aims, all by one part, until everything that `strayed` measures is just inside."""

    def at(scale: float) -> list[float]:
        return [w - (1.0 - scale) * x for w, x in zip(drift.weights, drift.away, strict=True)]

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        inside = max(strayed(drift, bands, covariance, at(middle)).values(), default=0.0) <= bands.landing
        low, high = (middle, high) if inside else (low, middle)
    return at(low)


def apart(drift: Drift, group: Sequence[int]) -> tuple[float, float] | None:
    """The least and the largest part of its aim that a leg of a hedge group has; None without an aim for each."""
    parts = [drift.weights[i] / aim for i in group if (aim := drift.aims[i])]
    return (min(parts), max(parts)) if len(parts) == len(group) else None
