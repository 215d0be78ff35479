"""The planner: from drift to the legs that cure it, on the venue's lot grid, reductions first.

Where to go is one joint problem (`agent.core.programme`): tracking risk against the cost of trading, inside the bands
and the limits, in whole lots. How to get there is planned one step at a time, not as a whole journey: one leg per
instrument, a flip only down to zero, an increase only when nothing is left to reduce. What remains is planned again
from the positions that the venue then reports, so an interrupted plan leaves an account with less risk, never more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal

import numpy as np
from msgspec import Struct

from agent.core.book import Book, Row
from agent.core.costs import Cost, Costs, cost_of
from agent.core.covariance import Matrix
from agent.core.drift import Drift
from agent.core.events import Side
from agent.core.instruments import Instrument
from agent.core.lots import Grid, answer
from agent.core.margin import bounds_of, exposures, most_lots, most_value, relief
from agent.core.programme import CLOSE, Bound, Curve, Programme

WORTH = 0.02
"""A leg that moves drift by less than this part of the band is not worth an order while the drift is inside it."""
DEAR = 1e3
"""A price of trading at which nothing is traded that a band does not demand."""


class Execution(Struct, frozen=True, forbid_unknown_fields=True):
    """How orders are executed."""

    style: Literal["taker", "maker"] = "taker"
    """taker: immediate-or-cancel at a bounded price. maker: post-only at the best price; what is left when patience
    ends is taken."""
    slippage: float = 0.005
    """A taking order is not filled at prices worse than the best one by more than this fraction."""
    patience_s: float = 10.0
    """How long a post-only order rests before it is cancelled."""
    request_life_s: float = 3.0
    """The venue must not accept an order later than this after it was sent."""
    dead_man_s: float = 120.0
    """The venue cancels what rests unless it hears from us within this time, where it has such a switch; 0: never."""
    leverage: int | None = None
    """Leverage setting to give every instrument that is traded, or less where the venue's table demands it; the
    settings are left alone if not given."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What must never happen."""

    leverage: float = 5.0
    """Largest gross notional over equity after an order that increases; beyond it everything is reduced at once."""
    asset_share: float = 1.0
    """Largest part of the target gross that one instrument may reach by an order that increases."""
    maintenance: float = 0.5
    """Largest maintenance margin over equity after an order that increases; beyond it everything is reduced at once."""
    liquidation_distance: float = 0.11
    """Smallest move of all prices at once, each against its position, that may liquidate the account: no order goes
    below it, and below it everything is reduced at once. In the venue's lowest tiers 3x stands at 33 %, 5x at 20 %, 8x
    at 12 %; increases keep 1.2 times as far away, so more than 7.5x is refused."""
    order_notional: float | None = None
    """Largest value of one order in the quote currency; larger legs are sent in slices."""
    turnover_per_day: float = 10.0
    """Largest value traded by increasing orders in 24 hours, as a multiple of equity."""
    orders_per_minute: int = 60
    """Most orders sent in a minute; reductions are exempt."""
    data_age_s: float = 5.0
    """Oldest mark price an order may be sized from."""
    price_gap: float = 0.1
    """Largest distance of the mark from the index, as a fraction of that, and of the quote from the mark."""
    spread: float = 0.01
    """Widest distance of bid and ask at which an order is sent, as a fraction of the price between; safety pays any."""
    kill_file: str | None = None
    """While this file exists, nothing is sent but cancels and reductions."""


class Leg(Struct, frozen=True):
    """One trade that the planner wants: signed lots of one position row."""

    instrument: int
    side: Side
    lots: int
    reduce: bool
    notional: float
    """Absolute value at mark, in the quote currency."""
    cost: Cost | None
    """None while the quote or the fee rate is unknown."""


class Skip(Struct, frozen=True):
    """Drift that cannot be traded away, and why."""

    instrument: int
    reason: str


class Plan(Struct, frozen=True):
    """What to do now, largest reduction first; ``goals`` are the weights it leads to, before lots."""

    legs: tuple[Leg, ...]
    skips: tuple[Skip, ...]
    goals: tuple[float, ...]


class Guide(Struct, frozen=True):
    """What decides how far to trade inside the bands. Lists are in instrument order."""

    penalty: Matrix
    """What drift costs, a year: see `agent.core.band`."""
    prices: list[float]
    """What trading costs, in the same measure: the marginal risk that is left alone."""
    least: list[float]
    """Changes of weight that are not worth an order while the drift is inside its band."""
    ahead: list[float] | None = None
    """What each drift will have grown by when a trade has paid; None where only the drift that there is counts."""


def plain(drift: Drift, *, to_target: bool) -> Guide:
    """The guide of plain thresholds: all the way, or no further than to just inside the band."""
    n, unit = len(drift.weights), drift.gross_target or 1.0
    least = [0.0 if to_target else WORTH * band * unit for band in drift.bands]
    return Guide(penalty=np.eye(n), prices=[0.0 if to_target else DEAR] * n, least=least)


class Destination(Struct, frozen=True):
    """Where the best portfolio is: weights, and net lots near them. Lists are in instrument order."""

    goals: list[float]
    lots: list[int]


def destination(
    book: Book,
    drift: Drift,
    limits: Limits,
    *,
    guide: Guide,
    part: float,
    fixed: Mapping[int, float] | None = None,
    groups: Sequence[tuple[int, ...]] = (),
    budget: float | None = None,
) -> Destination:
    """The best portfolio inside the bands and the limits.

    ``part`` of each band's half width is left at most: 0 to go all the way. With ``fixed`` only those instruments are
    traded, to those weights. ``groups`` are instruments that hedge each other and keep their proportions; ``budget`` is
    what may be added to positions at most, over equity.
    """
    problem = programme(book, drift, limits, guide, part=part, fixed=fixed, groups=groups, budget=budget)
    grids = [grid_of(row, drift, index, guide, hedge=book.of(index).hedge) for index, row in enumerate(book.rows)]
    goals, lots = answer(problem, grids)
    return Destination(goals=[goal + coin for goal, coin in zip(goals, book.coins, strict=True)], lots=lots)


def steady(book: Book, drift: Drift, new: Destination, old: Destination) -> Destination:
    """The new destination, but what has arrived at the old one stays there unless more is to be moved than is worth an
    order: what leads all the way must not run after every price. What is to be closed is closed to the last lot."""
    lots = list(new.lots)
    for index, (row, before) in enumerate(zip(book.rows, old.lots, strict=True)):
        if row.instrument is None or row.mark is None or not lots[index] or row.lots != before:
            continue
        apart = abs(row.instrument.notional(lots[index] - before, row.mark.price)) / drift.equity
        if apart < WORTH * drift.bands[index] * drift.gross_target:
            lots[index] = before
    return Destination(goals=new.goals, lots=lots)


def plan(
    book: Book,
    drift: Drift,
    limits: Limits,
    costs: Costs,
    to: Destination,
    *,
    maker: bool,
    sigmas: Sequence[float] | None = None,
    fixed: Mapping[int, float] | None = None,
) -> Plan:
    """The next legs to a destination, reductions first; what can't be traded toward it is said with the reason.

    ``sigmas`` are volatilities in a day, for the impact of large orders; ``fixed`` as in `destination`.
    """
    legs, skips = [], []
    for index, row in enumerate(book.rows):
        if drift.aims[index] is None or row.instrument is None or row.mark is None:
            continue
        hedge = book.of(index).hedge
        side, wanted, reduce = next_row(row, to.lots[index] - row.lots, hedge=hedge)
        fits = wanted if reduce else within_tier(row, side, wanted)
        lots = sliced(row.instrument, fits, row.mark.price, limits, maker=maker)
        if lots and not too_small(row.instrument, lots, row.mark.price, exempt=reduce and not hedge):
            sigma = None if sigmas is None else sigmas[index]
            legs.append(leg_of(row, index, side, lots, costs, reduce=reduce, maker=maker, sigma_day=sigma))
        elif abs(drift.drifts[index]) > drift.bands[index] and (fixed is None or index in fixed):
            skips.append(Skip(instrument=index, reason=why_not(row, drift, index, wanted, fits)))
    legs.sort(key=lambda leg: (not leg.reduce, -leg.notional))
    return Plan(legs=tuple(legs), skips=tuple(skips), goals=tuple(to.goals))


def programme(
    book: Book,
    drift: Drift,
    limits: Limits,
    guide: Guide,
    *,
    part: float,
    fixed: Mapping[int, float] | None,
    groups: Sequence[tuple[int, ...]],
    budget: float | None,
) -> Programme:
    """The joint problem of this moment, in what contracts weigh; a coin that is collateral has its weight besides.

    A hedge group of which nothing has to be traded stays as it is.
    """
    ahead = guide.ahead or [0.0] * len(book.rows)
    unit, most = drift.gross_target, limits.asset_share * drift.gross_target
    center = [w if aim is None else aim - more for w, aim, more in zip(drift.weights, drift.aims, ahead, strict=True)]
    lows, highs = list(drift.weights), list(drift.weights)
    caps: dict[int, float] = {}
    for index, (row, aim) in enumerate(zip(book.rows, drift.aims, strict=True)):
        if aim is None or row.instrument is None or row.mark is None or (fixed is not None and index not in fixed):
            continue
        share, tier = max(most, abs(drift.weights[index])), most_value(row) / drift.equity  # it limits what is added
        least, cap = max(-share, book.coins[index] - tier), min(share, book.coins[index] + tier)
        slack = part * drift.bands[index] * unit
        if not aim:
            slack = 0.0  # what is not wanted at all is closed whole
        if fixed is not None:
            aim, slack = fixed[index], 0.0
        lows[index], highs[index] = max(least, min(cap, aim - slack)), max(least, min(cap, aim + slack))
        caps[index] = cap
    busy: list[tuple[int, ...]] = []
    for group in groups if fixed is None else ():
        if not any(stirred(drift, guide, index) for index in group):
            for index in group:
                lows[index] = highs[index] = drift.weights[index]
            continue
        busy.append(group)
        free = [index for index in group if index in caps]
        scale = min([caps[index] / abs(center[index]) for index in free if center[index]], default=0.0)
        for index in free:
            cap = scale * abs(center[index])  # what stops one leg stops the others
            lows[index] = max(-cap, min(cap, lows[index]))
            highs[index] = max(-cap, min(cap, highs[index])) + CLOSE  # one at its goal already may move with them

    def contracts(weights: Sequence[float]) -> list[float]:
        return [weight - coin for weight, coin in zip(weights, book.coins, strict=True)]

    held = contracts(drift.weights)
    return Programme(
        penalty=guide.penalty,
        center=contracts(center),
        held=held,
        prices=guide.prices,
        low=contracts(lows),
        high=contracts(highs),
        bounds=(
            *bounds_of(book, drift.equity, limits.leverage, limits.maintenance, limits.liquidation_distance),
            *(() if budget is None else (increases(held, budget),)),
        ),
        groups=tuple(busy),
    )


def increases(held: Sequence[float], most: float) -> Bound:
    """What may be added to the ``held`` weights, those on the other side of nothing included; reductions are free."""
    curves = tuple(Curve(long=((1.0, max(weight, 0.0)),), short=((1.0, max(-weight, 0.0)),)) for weight in held)
    return Bound(name="increases", curves=curves, most=most)


def stirred(drift: Drift, guide: Guide, index: int) -> bool:
    """Whether an instrument has left its band, or its marginal risk is more than what is left alone."""
    risk = float(guide.penalty[index] @ np.add(drift.away, guide.ahead or 0.0))
    return abs(drift.drifts[index]) > drift.bands[index] or abs(risk) > guide.prices[index]


def grid_of(row: Row, drift: Drift, index: int, guide: Guide, *, hedge: bool) -> Grid:
    """The lots of an instrument, and the smallest orders that the venue takes or that are worth sending.

    In hedge mode a reduction is not exempt from the smallest value. What has no grid, or no price, is one lot that is
    never traded but counts.
    """
    if row.instrument is None or row.mark is None:
        weight = drift.contracts[index]
        return Grid(lot=abs(weight) or 1.0, held=(weight > 0) - (weight < 0))
    price, lot = row.mark.price, row.instrument.notional(1, row.mark.price) / drift.equity
    inside = abs(drift.drifts[index]) <= drift.bands[index]
    worth = ceil(guide.least[index] / lot - 1e-9) if inside else 1
    smallest = smallest_lots(row.instrument, price)
    least = smallest if hedge else row.instrument.min_lots
    return Grid(lot=lot, held=row.lots, smallest=max(smallest, worth), smallest_less=max(least, worth))


def leg_of(
    row: Row,
    index: int,
    side: Side,
    lots: int,
    costs: Costs,
    *,
    reduce: bool,
    maker: bool,
    sigma_day: float | None = None,
) -> Leg:
    """A leg with its value and its cost."""
    assert row.instrument is not None, "a leg is never planned without a grid"
    assert row.mark is not None, "a leg is never planned without a price"
    notional = abs(row.instrument.notional(lots, row.mark.price))
    cost = cost_of(row, lots, costs, maker=maker and not reduce, sigma_day=sigma_day)
    return Leg(instrument=index, side=side, lots=lots, reduce=reduce, notional=notional, cost=cost)


def why_not(row: Row, drift: Drift, index: int, wanted: int, fits: int) -> str:
    """Why drift outside the band is not traded away, and what would change that."""
    assert row.instrument is not None, "without a grid nothing is planned"
    assert row.mark is not None, "without a price nothing is planned"
    price, outside = row.mark.price, f"drift {drift.drifts[index]:+.1%} is outside the band"
    smallest = smallest_lots(row.instrument, price)
    full = drift.drifts[index] * row.lots <= 0 and abs(row.lots) + smallest > most_lots(row)  # and more is wanted
    if full or abs(fits) < abs(wanted):
        return beyond_tier(row, drift, index)
    gap = abs(drift.drifts[index]) * (drift.gross_target or 1.0) * drift.equity
    if gap < row.instrument.notional(smallest, price):
        return unreachable(row.instrument, price, drift, index)
    if wanted:
        return f"{outside}, but the largest order is too small"
    return f"{outside}, and the limits allow no more"


def relieved(
    book: Book,
    drift: Drift,
    limits: Limits,
    costs: Costs,
    start: Sequence[int | None],
    under_way: Mapping[tuple[int, Side], int],
) -> Plan:
    """Reductions of everything that is not on hold to one part of what it was, until margin is beyond its exit levels.

    ``start`` are the net lots to take a part of, None where nothing is in danger. ``under_way`` are signed lots by
    position row that are being reduced already: they count as done. A partial lot is reduced as a whole one.
    """
    left = [row.lots for row in book.rows]
    for (index, _), lots in under_way.items():
        left[index] += lots
    room = [
        None if target is None or before is None else max(1.0, before / now) if now else 1.0
        for target, before, now in zip(drift.targets, start, left, strict=True)
    ]
    parts = [1.0] * len(room)
    for account in book.accounts:
        equity, held, here = account.worth, exposures(account, under_way), [room[index] for index in account.rows]
        if equity is None or held is None:
            continue
        scale = relief(equity, held, here, limits.liquidation_distance, limits.maintenance)
        for index, more in zip(account.rows, here, strict=True):
            parts[index] = 1.0 if more is None else min(1.0, scale * more)
    legs = []
    for index, row in enumerate(book.rows):
        if row.instrument is None or row.mark is None:
            continue
        hedge = book.of(index).hedge
        less = ceil((1.0 - parts[index]) * abs(left[index]) - 1e-6)
        side, lots, reduce = next_row(row, -less if left[index] > 0 else less, hedge=hedge)
        lots = sliced(row.instrument, lots, row.mark.price, limits, maker=False)
        if lots and not too_small(row.instrument, lots, row.mark.price, exempt=not hedge):
            legs.append(leg_of(row, index, side, lots, costs, reduce=reduce, maker=False))
    legs.sort(key=lambda leg: -leg.notional)
    goals = tuple(coin + weight * part for coin, weight, part in zip(book.coins, drift.contracts, parts, strict=True))
    return Plan(legs=tuple(legs), skips=(), goals=goals)


def next_row(row: Row, lots: int, *, hedge: bool) -> tuple[Side, int, bool]:
    """Which position row a net change trades first, how much of it, and whether that only reduces."""
    if hedge:
        opposite, own = (Side.SHORT, Side.LONG) if lots > 0 else (Side.LONG, Side.SHORT)
        held = row.holdings[opposite].lots if opposite in row.holdings else 0
    else:
        opposite = own = Side.NET
        held = row.lots
    if held * lots < 0:
        return opposite, (min(lots, -held) if lots > 0 else max(lots, -held)), True
    return own, lots, False


def within_tier(row: Row, side: Side, lots: int) -> int:
    """``lots`` added to a position row, or as many of them as the venue's table allows at the leverage setting."""
    held = row.holdings[side].lots if side in row.holdings else 0
    room = max(0.0, most_lots(row) - abs(held))
    return lots if abs(lots) <= room else int(room if lots > 0 else -room)


def sliced(instrument: Instrument, lots: int, price: float, limits: Limits, *, maker: bool) -> int:
    """At most one order's worth of ``lots``: the venue's largest, or the user's."""
    most = instrument.max_lots if maker else min(instrument.max_lots, instrument.max_market_lots)
    if limits.order_notional is not None:
        most = min(most, int(instrument.lots_for(limits.order_notional, price)))
    return max(-most, min(most, lots))


def smallest_lots(instrument: Instrument, price: float) -> int:
    """The smallest order the venue takes at ``price``, when it does not reduce."""
    by_value = -int(-instrument.lots_for(instrument.min_notional, price) // 1)
    return max(instrument.min_lots, by_value, 1)


def too_small(instrument: Instrument, lots: int, price: float, *, exempt: bool) -> bool:
    """Whether the venue would refuse the order for its size; a reduction is exempt from the smallest value."""
    return abs(lots) < (instrument.min_lots if exempt else smallest_lots(instrument, price))


def unreachable(instrument: Instrument, price: float, drift: Drift, index: int) -> str:
    """Why drift outside the band cannot be traded, and the equity at which it could be."""
    smallest = instrument.notional(smallest_lots(instrument, price), price)
    gap = abs(drift.drifts[index]) * (drift.gross_target or 1.0)
    cure = smallest / gap if gap else float("inf")
    return (
        f"drift {drift.drifts[index]:+.1%} is outside the band but worth less than the smallest order "
        f"({smallest:,.2f} {instrument.quote}); with {cure:,.0f} {instrument.quote} equity it could be traded"
    )


def beyond_tier(row: Row, drift: Drift, index: int) -> str:
    """Why drift outside the band cannot be traded where the venue's table is what stands against it."""
    return (
        f"drift {drift.drifts[index]:+.1%} is outside the band, but the venue's margin tiers allow less than "
        f"{most_value(row):,.0f} at the leverage setting of {row.leverage}x"
    )
