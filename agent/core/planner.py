"""The planner: from drift to the legs that cure it, on the venue's lot grid, reductions first.

It plans one step, not a whole journey: one leg per instrument, a flip only down to zero, an increase only when nothing
is left to reduce. What remains is planned again from the positions that the venue then reports, so an interrupted plan
leaves an account with less risk, never more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Literal

from msgspec import Struct

from agent.core.book import Book, Row
from agent.core.costs import Cost, Costs, cost_of
from agent.core.drift import Bands, Drift
from agent.core.events import Side
from agent.core.instruments import Instrument
from agent.core.margin import exposures, most_lots, most_value, relief

WORTH = 0.02
"""A leg that moves drift by less than this part of the band is not worth an order while the drift is inside it."""


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
    at 12 % and 9x at 10.8 %, so 9x and more are refused."""
    order_notional: float | None = None
    """Largest value of one order in the quote currency; larger legs are sent in slices."""
    turnover_per_day: float = 10.0
    """Largest value traded by increasing orders in 24 hours, as a multiple of equity."""
    orders_per_minute: int = 60
    """Most orders sent in a minute; reductions are exempt."""
    data_age_s: float = 5.0
    """Oldest mark price an order may be sized from."""
    price_gap: float = 0.1
    """Largest distance between mark and index, as a fraction of the index."""
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


def plan(
    book: Book,
    drift: Drift,
    bands: Bands,
    limits: Limits,
    costs: Costs,
    *,
    to_target: bool,
    maker: bool,
    trades: list[float] | None = None,
) -> Plan:
    """The next legs toward the destination, cut to the limits. ``trades``: as for `destinations`."""
    wishes = destinations(drift, bands, to_target=to_target, trades=trades)
    goals = capped(wishes, drift, limits)
    over = drift.leverage > limits.leverage
    spare = max(0.0, limits.leverage - sum(abs(goal) for goal in goals)) * drift.equity
    hedge = book.mode is not None and book.mode.hedge
    legs, skips = [], []
    for index, goal in enumerate(goals):
        row = book.rows[index]
        if drift.targets[index] is None or row.instrument is None or row.mark is None:
            continue
        room = spare if goal == wishes[index] else 0.0
        worth = 0.0 if trades else WORTH * drift.bands[index]
        lots = lots_toward(row.instrument, row, drift, index, goal, room=room, over=over, worth=worth)
        ends = row.instrument.notional(row.lots + lots, row.mark.price)
        spare -= max(0.0, abs(ends) - abs(goal) * drift.equity)
        side, wanted, reduce = next_row(row, lots, hedge=hedge)
        whole = wanted if reduce else within_tier(row, side, wanted)
        lots = sliced(row.instrument, whole, row.mark.price, limits, maker=maker)
        refusal = too_small(row.instrument, lots, row.mark.price, exempt=reduce and not hedge)
        if lots and not refusal:
            notional = abs(row.instrument.notional(lots, row.mark.price))
            cost = cost_of(row, lots, costs, maker=maker and not reduce)
            legs.append(Leg(instrument=index, side=side, lots=lots, reduce=reduce, notional=notional, cost=cost))
        elif abs(drift.drifts[index]) > drift.bands[index]:
            if abs(whole) < abs(wanted):
                reason = beyond_tier(row, drift, index)
            elif room < row.instrument.notional(1, row.mark.price):
                reason = f"drift {drift.drifts[index]:+.1%} is outside the band, and the limits allow no more"
            elif abs(lots) < abs(whole):
                reason = f"drift {drift.drifts[index]:+.1%} is outside the band, but the largest order is too small"
            else:
                reason = unreachable(row.instrument, row.mark.price, drift, index)
            skips.append(Skip(instrument=index, reason=reason))
    legs.sort(key=lambda leg: (not leg.reduce, -leg.notional))
    return Plan(legs=tuple(legs), skips=tuple(skips), goals=tuple(goals))


def relieved(
    book: Book,
    drift: Drift,
    limits: Limits,
    costs: Costs,
    start: Sequence[int],
    under_way: Mapping[tuple[int, Side], int],
) -> Plan:
    """Reductions of everything that is not on hold to one part of what it was, until margin is beyond its exit levels.

    ``start`` are the net lots to take a part of. ``under_way`` are signed lots by position row that are being reduced
    already: they count as done. A partial lot is reduced as a whole one.
    """
    held = exposures(book, under_way)
    left = [row.lots for row in book.rows]
    for (index, _), lots in under_way.items():
        left[index] += lots
    room = [
        None if target is None else max(1.0, before / now) if now else 1.0
        for target, before, now in zip(drift.targets, start, left, strict=True)
    ]
    scale = 1.0
    if held is not None:
        scale = relief(drift.equity, held, room, limits.liquidation_distance, limits.maintenance)
    hedge = book.mode is not None and book.mode.hedge
    parts = [1.0 if more is None else min(1.0, scale * more) for more in room]
    legs = []
    for index, row in enumerate(book.rows):
        if row.instrument is None or row.mark is None:
            continue
        less = ceil((1.0 - parts[index]) * abs(left[index]) - 1e-6)
        side, lots, reduce = next_row(row, -less if left[index] > 0 else less, hedge=hedge)
        lots = sliced(row.instrument, lots, row.mark.price, limits, maker=False)
        if lots and not too_small(row.instrument, lots, row.mark.price, exempt=not hedge):
            notional = abs(row.instrument.notional(lots, row.mark.price))
            cost = cost_of(row, lots, costs, maker=False)
            legs.append(Leg(instrument=index, side=side, lots=lots, reduce=reduce, notional=notional, cost=cost))
    legs.sort(key=lambda leg: -leg.notional)
    goals = tuple(weight * part for weight, part in zip(drift.weights, parts, strict=True))
    return Plan(legs=tuple(legs), skips=(), goals=goals)


def destinations(drift: Drift, bands: Bands, *, to_target: bool, trades: list[float] | None = None) -> list[float]:
    """The weight each instrument should end at: its target, or no further from it than just inside its band.

    ``trades`` are changes of weight that were found already (see `agent.core.band`), and lead where they lead. Where
    the total drift has left the portfolio's band, what is kept shrinks in proportion until it is back inside.
    """
    part = 0.0 if to_target else bands.landing
    if trades is None:
        kept = [max(-part * band, min(part * band, d)) for d, band in zip(drift.drifts, drift.bands, strict=True)]
    else:
        kept = [d + u / (drift.gross_target or 1.0) for d, u in zip(drift.drifts, trades, strict=True)]
    total = sum(abs(k) for k in kept) / 2
    if bands.portfolio is not None and drift.total >= bands.portfolio and total > part * bands.portfolio:
        kept = [k * part * bands.portfolio / total for k in kept]
    return [
        weight if target is None else target + k * drift.gross_target
        for weight, target, k in zip(drift.weights, drift.targets, kept, strict=True)
    ]


def capped(goals: list[float], drift: Drift, limits: Limits) -> list[float]:
    """Goals cut to one instrument's share and to the leverage limit; what is on hold can't be cut.

    The share limits what is added: what is already larger is not reduced for its sake. Nor does the leverage limit make
    room for one instrument by reducing another; it reduces only where what is there already is too much.
    """
    most = limits.asset_share * drift.gross_target
    free = [target is not None for target in drift.targets]
    goals = [
        max(min(-most, weight), min(max(most, weight), goal)) if may else goal
        for goal, weight, may in zip(goals, drift.weights, free, strict=True)
    ]
    fixed = sum(abs(goal) for goal, may in zip(goals, free, strict=True) if not may)
    kept = [nearer(weight, goal) if may else goal for goal, weight, may in zip(goals, drift.weights, free, strict=True)]
    room = limits.leverage - sum(abs(k) for k in kept)
    added = sum(abs(goal - k) for goal, k in zip(goals, kept, strict=True))
    if added <= room:
        return goals
    if room >= 0:
        return [k + (goal - k) * room / added for goal, k in zip(goals, kept, strict=True)]
    movable = sum(abs(k) for k, may in zip(kept, free, strict=True) if may)
    scale = max(0.0, limits.leverage - fixed) / movable if movable else 1.0
    return [k * scale if may else k for k, may in zip(kept, free, strict=True)]


def nearer(weight: float, goal: float) -> float:
    """What of ``goal`` is there already: the smaller of the two where they point the same way, else nothing."""
    if weight * goal <= 0:
        return 0.0
    return weight if abs(weight) < abs(goal) else goal


def lots_toward(
    instrument: Instrument, row: Row, drift: Drift, index: int, goal: float, *, room: float, over: bool, worth: float
) -> int:
    """Whole lots from the present position toward ``goal``, never past it.

    A lot more is taken, up to the target itself, where otherwise the instrument would stay outside its band or the
    order would be below the venue's smallest, if the limits leave ``room`` for its value. ``over``: the account is over
    its leverage limit, so a reduction takes the last, partial lot as well. ``worth``: inside the band, what moves drift
    by less is not worth an order.
    """
    assert row.mark is not None, "nothing is sized without a price"
    price, target = row.mark.price, drift.targets[index]
    assert target is not None, "what is on hold is not planned"
    exact = instrument.lots_for(goal * drift.equity, price) - row.lots
    lots = int(exact)
    if over and exact * row.lots < 0:
        return ceil(exact - 1e-6) if exact > 0 else floor(exact + 1e-6)
    furthest = int(instrument.lots_for(target * drift.equity, price) - row.lots)
    if abs(drift.drifts[index]) <= drift.bands[index] or not furthest:
        moved = abs(instrument.notional(lots, price)) / drift.equity / (drift.gross_target or 1.0)
        return lots if moved >= worth else 0

    def fits(more: int) -> bool:
        value = abs(instrument.notional(row.lots + more, price))
        return value <= max(abs(goal) * drift.equity + room, abs(instrument.notional(row.lots, price)))

    step = 1 if furthest > 0 else -1
    left = (instrument.notional(row.lots + lots, price) / drift.equity - target) / (drift.gross_target or 1.0)
    if abs(left) > drift.bands[index] and abs(lots + step) <= abs(furthest) and fits(lots + step):
        lots += step
    smallest = smallest_lots(instrument, price)
    grows = lots * row.lots >= 0
    if grows and 0 < abs(lots) < smallest <= abs(furthest) and fits(step * smallest):
        lots = step * smallest
    return lots


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
    gap = abs(drift.drifts[index]) * drift.gross_target
    cure = smallest / gap if gap else float("inf")
    return (
        f"drift {drift.drifts[index]:+.1%} is outside the band but worth less than the smallest order "
        f"({smallest:,.2f} {instrument.quote}); with {cure:,.0f} {instrument.settle} equity it could be traded"
    )


def beyond_tier(row: Row, drift: Drift, index: int) -> str:
    """Why drift outside the band cannot be traded where the venue's table is what stands against it."""
    return (
        f"drift {drift.drifts[index]:+.1%} is outside the band, but the venue's margin tiers allow less than "
        f"{most_value(row):,.0f} at the leverage setting of {row.leverage}x"
    )
