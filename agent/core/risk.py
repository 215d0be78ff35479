"""The gates: each lets a leg pass or refuses it with a reason. Cancels never come here: they are always allowed.

Legs are judged on the worst case: every order that may still trade is counted as filled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from math import inf

from msgspec import Struct

from agent.core.book import Book
from agent.core.drift import Drift
from agent.core.events import Side
from agent.core.margin import Exposure, common_distance, exposure, most_value, shortest, tier_of
from agent.core.orders import Blotter, S, State
from agent.core.planner import Leg, Limits

NEARLY = 1 + 1e-9
"""What exceeds by less is rounding."""
CLOCK_PART = 4
"""The venue's clock must be known to within one part in so many of a request's life, which is measured by it."""


class Situation(Struct):
    """What the gates look at besides the leg."""

    book: Book
    drift: Drift
    blotter: Blotter
    limits: Limits
    now: int
    halted: str | None
    """Why nothing may increase, if so."""
    increased_today: float
    """Value of increasing orders filled or open in the last 24 hours, in the quote currency."""
    sent_last_minute: int
    crowd: str | None = None
    """Why others on the account keep it from increasing, if so."""
    blocked: Mapping[int, str] = {}
    """Instruments on which nothing but safety may trade before a person has seen to it, and why."""
    urgent: bool = False
    """Safety asks for it."""
    refusing: Mapping[int, str] = {}
    """Instruments that take no orders now because too many were refused, and why."""
    quiet_s: float = 15.0
    """The oldest that the last complete answer about positions may be."""
    request_life_s: float = 3.0
    """How long the venue may accept an order after it was sent."""
    worst: tuple[Leg, list[float] | None] | None = None
    """What `worst_notionals` last found, which several gates ask for."""


class Refusal(Struct, frozen=True):
    """Why a leg was not sent."""

    gate: str
    instrument: int
    reason: str
    passing: bool
    """It is a matter of waiting for what is already under way."""


def judge(leg: Leg, situation: Situation) -> Refusal | None:
    """The first refusal, or None when every gate lets the leg pass."""
    situation.worst = None  # what is live may have changed since the last leg was judged
    for gate in ALWAYS if leg.reduce else ALWAYS + INCREASES:
        reason = gate(leg, situation)
        if reason is not None:
            name = gate.__name__.replace("_", " ")
            return Refusal(gate=name, instrument=leg.instrument, reason=reason, passing=gate in PASSING)
    return None


def fresh_price(leg: Leg, s: Situation) -> str | None:
    """The leg's own mark must be recent, beyond doubt, and near its index and the quote that orders are priced by."""
    row = s.book.rows[leg.instrument]
    if row.doubt is not None:
        return f"its price is in doubt: {row.doubt.why}"
    age = s.book.mark_age(leg.instrument, s.now)
    if age is None or age > s.limits.data_age_s * S:
        told = "never came" if age is None else f"is {age / S:.1f} s old"
        return f"the mark price {told}; at most {s.limits.data_age_s:g} s are allowed"
    if row.mark is not None and row.mark.index is not None:
        if not 0 < row.mark.index < inf:
            return f"the index price is {row.mark.index:g}, which is no price"
        gap = abs(row.mark.price / row.mark.index - 1)
        if gap > s.limits.price_gap:
            return f"mark and index are {gap:.1%} apart; at most {s.limits.price_gap:.1%} are allowed"
    if row.mark is not None and row.quote is not None and row.quote_seen is not None:
        quoted = s.now - row.quote_seen <= s.limits.data_age_s * S  # an older one is not used
        far = max(abs(price / row.mark.price - 1) for price in (row.quote.bid, row.quote.ask))
        if quoted and far > s.limits.price_gap:
            return f"mark and quote are {far:.1%} apart; at most {s.limits.price_gap:.1%} are allowed"
    return None


def narrow_spread(leg: Leg, s: Situation) -> str | None:
    """Nothing but safety pays a spread that is far from usual. A quote that is old is not used."""
    row = s.book.rows[leg.instrument]
    if row.quote is None or row.quote_seen is None or (s.urgent and leg.reduce):
        return None
    if s.now - row.quote_seen > s.limits.data_age_s * S:
        return None
    spread = 2 * (row.quote.ask - row.quote.bid) / (row.quote.ask + row.quote.bid)
    if spread > s.limits.spread:
        return f"the spread is {spread:.1%} of the price; at most {s.limits.spread:.1%} is paid"
    return None


def settled(leg: Leg, s: Situation) -> str | None:
    """The position must be newer than our last effect on it, and undisputed."""
    known_at = s.book.known_at(leg.instrument)
    if known_at < s.blotter.effects.get(leg.instrument, 0):
        return "the position is older than our last fill"
    if known_at < s.blotter.needed(leg.instrument):
        return "the position may come from a cache that lacks our last fill"
    if any(index == leg.instrument for index, _ in s.book.disputed):
        return "what the venue tells of the position and of the trades does not add up yet"
    return None


def alone(leg: Leg, s: Situation) -> str | None:
    """One order at a time on an instrument."""
    live = s.blotter.live(leg.instrument)
    return f"order {live[0].id} is still {live[0].state}" if live else None


def tradable(leg: Leg, s: Situation) -> str | None:
    """The venue must be matching this instrument, and let the account trade; and no person's word be waited for.

    Safety may reduce what a person has yet to see to, where the venue's own margin shows it to be understood.
    """
    account = s.book.of(leg.instrument)
    if account.mode is not None and account.mode.can_trade is False:
        return "the venue does not let the account trade"
    instrument = s.book.rows[leg.instrument].instrument
    if instrument is None or not instrument.trading:
        return "the venue takes no orders for it now"
    if s.urgent and leg.reduce and account.borne_out(leg.instrument):
        return None
    return s.blocked.get(leg.instrument)


def not_refused(leg: Leg, s: Situation) -> str | None:
    """The venue must not have refused the last orders on it."""
    return s.refusing.get(leg.instrument)


def not_halted(leg: Leg, s: Situation) -> str | None:
    """While halted, nothing increases."""
    return s.halted


def reductions_first(leg: Leg, s: Situation) -> str | None:
    """No increase while a reduction is under way on the account, or any order there is of unknown fate."""
    for order in s.blotter.live():
        if order.instrument not in s.book.of(leg.instrument).rows:
            continue
        if order.state is State.UNKNOWN:
            return f"order {order.id} on {order.symbol} is unknown; its fate comes first"
        if order.reduce:
            return f"order {order.id} still reduces {order.symbol}"
    return None


def all_prices_fresh(leg: Leg, s: Situation) -> str | None:
    """Leverage after the leg depends on every price of the account."""
    for index, row in s.book.of(leg.instrument).rows.items():
        if row.lots and row.doubt is not None:
            return f"the price of {row.symbol}, which is held, is in doubt: {row.doubt.why}"
        age = s.book.mark_age(index, s.now)
        if row.lots and (age is None or age > s.limits.data_age_s * S):
            return f"the mark price of {row.symbol} is too old to know the leverage"
    return None


def positions_known(leg: Leg, s: Situation) -> str | None:
    """A stream can fall silent unnoticed, so a complete answer about positions must have come lately."""
    account = s.book.of(leg.instrument)
    if account.positions_at is None:
        return "the venue has never told all positions"
    age = (s.now - account.positions_at) / S
    if age > s.quiet_s:
        return f"the last complete answer about positions is {age:.0f} s old; at most {s.quiet_s:g} s are allowed"
    if account.left_out:
        names = ", ".join(s.book.rows[index].symbol for index in account.left_out)
        return f"the account lists a position on {names} that no answer about positions shows"
    if account.hidden:
        return f"the account sets {account.said(account.hidden)} of margin aside for positions that no answer shows"
    return None


def clock_known(leg: Leg, s: Situation) -> str | None:
    """A request's time limit is a moment of the venue's clock, which must be known well enough for it to mean that."""
    clock, most = s.book.of(leg.instrument).clock, s.request_life_s / CLOCK_PART
    if clock is not None and clock.error_ns > most * S:
        return f"the venue's clock is known to within {clock.error_ns / S:.2f} s; at most {most:g} s are allowed"
    return None


def no_strangers(leg: Leg, s: Situation) -> str | None:
    """A position that the file does not name falsifies equity and leverage; others' open orders may soon do so."""
    strangers = s.book.of(leg.instrument).strangers
    if strangers:
        names = ", ".join(strangers)
        return f'the account holds {names}, which the file does not name: add it to [targets.weights], or as "hold"'
    return s.crowd


def worst_notionals(leg: Leg, s: Situation) -> list[float] | None:
    """Largest absolute exposure to each instrument if the leg and any live order trade in full, a coin that is
    collateral included."""
    if s.worst is None or s.worst[0] is not leg:
        s.worst = (leg, _worst_notionals(leg, s))
    return s.worst[1]


def _worst_notionals(leg: Leg, s: Situation) -> list[float] | None:
    values = []
    for index, row in enumerate(s.book.rows):
        if row.instrument is None or row.mark is None:
            if row.lots:
                return None
            values.append(0.0)
            continue
        coin = s.book.coins[index] * s.drift.equity
        changes = [order.open_lots for order in s.blotter.live(index)]
        changes += [leg.lots] if index == leg.instrument else []
        up = row.lots + sum(lots for lots in changes if lots > 0)
        down = row.lots + sum(lots for lots in changes if lots < 0)
        values.append(max(abs(coin + row.instrument.notional(lots, row.mark.price)) for lots in (row.lots, up, down)))
    return values


def leverage_limit(leg: Leg, s: Situation) -> str | None:
    """Gross notional over equity in the worst case. Contracts against a coin that is collateral may lower it."""
    values = worst_notionals(leg, s)
    if values is None:
        return "the value of a position is unknown"
    leverage = sum(values) / s.drift.equity
    if leverage > s.limits.leverage and leverage > s.drift.leverage * NEARLY:
        return f"leverage could reach {leverage:.2f}x; the limit is {s.limits.leverage:g}x"
    return None


def account_leverage_limit(leg: Leg, s: Situation) -> str | None:
    """The same for the leg's account alone, where it has a limit of its own."""
    values, account = worst_notionals(leg, s), s.book.of(leg.instrument)
    if account.most_leverage is None:
        return None
    if values is None or account.worth is None:
        return "the value of a position, or of the account, is unknown"
    leverage = sum(values[index] for index in account.rows) / account.worth
    if leverage > account.most_leverage:
        return f"leverage of its account could reach {leverage:.2f}x; the limit there is {account.most_leverage:g}x"
    return None


def asset_limit(leg: Leg, s: Situation) -> str | None:
    """One instrument's part of the target gross in the worst case. A lot of rounding is allowed for."""
    values = worst_notionals(leg, s)
    row = s.book.rows[leg.instrument]
    if values is None or row.instrument is None or row.mark is None:
        return "the value of a position is unknown"
    unit = s.drift.gross_target * s.drift.equity
    most = s.limits.asset_share * unit + row.instrument.notional(1, row.mark.price)
    now = abs(s.drift.weights[leg.instrument]) * s.drift.equity
    if values[leg.instrument] > max(most, now * NEARLY):
        if not unit:
            return "no exposure is wanted, and it would add to it"
        share = values[leg.instrument] / unit
        return f"its share could reach {share:.1%} of target gross; the limit is {s.limits.asset_share:.1%}"
    return None


def worst_exposures(leg: Leg, s: Situation) -> dict[int, list[Exposure]] | str:
    """What may be held of each of the account's instruments, by its rows, if any part of the leg and the live orders
    trades; a reason if unknown.

    The least and the most of each position row will do: margin and losses grow with what is held.
    """
    cases = {}
    for index, row in s.book.of(leg.instrument).rows.items():
        changes = [(order.side, order.open_lots) for order in s.blotter.live(index)]
        changes += [(leg.side, leg.lots)] if index == leg.instrument else []
        ends: dict[Side, tuple[int, int]] = {side: (holding.lots,) * 2 for side, holding in row.holdings.items()}
        for side, lots in changes:
            low, high = ends.get(side, (0, 0))
            ends[side] = (low + min(0, lots), high + max(0, lots))
        found = [exposure(row, dict(zip(ends, lots, strict=True))) for lots in product(*ends.values())]
        known = [one for one in found if one is not None]
        if len(known) < len(found) or any(one.initial == inf for one in known):
            return f"the margin table or leverage setting of {row.symbol} is not known yet"
        cases[index] = known
    return cases


def tier_limit(leg: Leg, s: Situation) -> str | None:
    """What the venue's table allows at the instrument's leverage setting, for the side that grows in the worst case."""
    cases, row = worst_exposures(leg, s), s.book.rows[leg.instrument]
    if isinstance(cases, str):
        return cases
    value = max(one.long if leg.lots > 0 else one.short for one in cases[leg.instrument])
    tier = tier_of(row.tiers, value)
    if tier is not None and value >= most_value(row):
        return (
            f"{value:,.0f} falls into the tier from {tier.floor:,.0f} to {tier.cap:,.0f}, which allows "
            f"{tier.leverage}x; its leverage setting is {row.leverage}x"
        )
    return None


def margin_limit(leg: Leg, s: Situation) -> str | None:
    """Margin by the venue's own tables in the worst case: initial within equity, maintenance within the limit."""
    cases, equity = worst_exposures(leg, s), s.book.of(leg.instrument).worth
    if isinstance(cases, str):
        return cases
    if equity is None:
        return "what the account is worth is not known"
    initial = sum(max(one.initial for one in options) for options in cases.values())
    if initial > equity:
        return f"initial margin could reach {initial / equity:.0%} of equity"
    common = equity - sum(max(one.locked for one in options) for options in cases.values())
    kept = sum(max(one.maintenance for one in options) for options in cases.values())
    if kept > s.limits.maintenance * common:
        return f"maintenance margin could reach {kept / common:.1%} of equity; the limit is {s.limits.maintenance:.1%}"
    return None


def liquidation_limit(leg: Leg, s: Situation) -> str | None:
    """The joint adverse liquidation distance in the worst case, and that of the leg's own pool where it is isolated."""
    cases, equity, floor = worst_exposures(leg, s), s.book.of(leg.instrument).worth, s.limits.liquidation_distance
    if isinstance(cases, str):
        return cases
    if equity is None:
        return "what the account is worth is not known"
    own = shortest([one.own_distance() for one in cases[leg.instrument]])
    common = sum(max(one.against(floor) for one in options) for options in cases.values())
    if common <= equity and (own is None or own >= floor):
        return None
    away = shortest([common_distance(equity, list(cases.values())), own]) or 0.0
    return f"liquidation could come within {away:.1%} of the present prices; the floor is {floor:.1%}"


def turnover_limit(leg: Leg, s: Situation) -> str | None:
    """What was bought or sold anew in the last 24 hours."""
    most = s.limits.turnover_per_day * s.drift.equity
    if s.increased_today + leg.notional > most:
        return (
            f"increases of the last 24 h would reach {s.increased_today + leg.notional:,.0f}; the limit is {most:,.0f}"
        )
    return None


def order_rate(leg: Leg, s: Situation) -> str | None:
    """Orders sent in the last minute."""
    if s.sent_last_minute >= s.limits.orders_per_minute:
        return f"{s.sent_last_minute} orders were sent in the last minute; the limit is {s.limits.orders_per_minute}"
    return None


Gate = Callable[[Leg, Situation], str | None]
ALWAYS: tuple[Gate, ...] = (tradable, fresh_price, narrow_spread, not_refused, alone, settled)
PASSING: tuple[Gate, ...] = (alone, settled, reductions_first)
INCREASES: tuple[Gate, ...] = (
    not_halted, reductions_first, all_prices_fresh, positions_known, clock_known, no_strangers, leverage_limit,
    account_leverage_limit, asset_limit, tier_limit, margin_limit, liquidation_limit, turnover_limit, order_rate,
)  # fmt: skip
