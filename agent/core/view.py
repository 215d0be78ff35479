"""The view: what a person may see of the agent. Numbers that are not known are None."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from agent.core import words
from agent.core.engine import Engine
from agent.core.guard import Guard
from agent.core.health import sharpe, sharpe_error
from agent.core.margin import distances, exposures, shortest
from agent.core.orders import Order, S, State
from agent.core.planner import Leg as Planned
from agent.core.sleeves import worths_of
from agent.core.triggers import Standing


class Leg(Struct, frozen=True):
    """One instrument: what is held, what is wanted, and how old the news is."""

    symbol: str
    weight: float | None
    """Signed notional over equity; of the coin that an account is held in, 1 and what its contracts add."""
    target: float | None
    """None: on hold, nothing is wanted, or not known yet."""
    hold: bool
    aim: float | None
    """The target, less what is trimmed while its funding bleeds."""
    drift: float | None
    """From the aim, in points of target gross."""
    band: float | None
    aware: float | None
    """Half width of its cost-aware band, in the same unit, while all others stand on their targets."""
    reach_aware: float | None
    """Its marginal risk as a part of that band, with all others where they are: a voluntary trade begins at 1."""
    quantity: str | None
    notional: float | None
    mark: float | None
    entry: float | None
    profit: float | None
    funding_rate: float | None
    """Expected at the next settlement; positive: longs pay."""
    funding_at: int | None
    consumption: float | None
    """Funding that it, or its hedge group, is expected to pay over the horizon beyond the resting rate, as a part of
    its initial margin."""
    mark_age_s: float | None


class Working(Struct, frozen=True):
    """An order that is not finished."""

    id: str
    symbol: str
    side: str
    quantity: str
    price: str | None
    state: str
    filled: float
    """Part that is filled, 0 to 1."""
    age_s: float


class Strategy(Struct, frozen=True):
    """One strategy: its capital, what it has earned, and how it does."""

    name: str
    capital: float
    """Share of equity that it should have now."""
    share: float | None
    """Share of equity that it has."""
    equity: float | None
    pnl: float | None
    """Since the ledger began: prices, funding and fees."""
    state: str
    """active, reduced, paused or recovering."""
    sharpe: float | None
    """Of its window, annualised; None while there are too few days."""
    sharpe_error: float | None
    """Its standard error."""
    drawdown: float


class Outlook(Struct, frozen=True):
    """What a correction would be, if one began at this moment."""

    trades: tuple[str, ...]
    """In words; none where nothing is to be traded."""
    obstacles: tuple[str, ...]
    """What stands against a trade, by instrument: a gate, the smallest order, a tier."""
    benefit: float | None
    """What it would earn within ``days``, in the quote currency; None while that is not known."""
    cost: float | None
    days: float | None


class AccountView(Struct, frozen=True):
    """One of several accounts. Leverage, margin and liquidation distance are its own."""

    name: str
    state: str
    """What is missing there, or what holds it back; "ready" if nothing does."""
    equity: float | None
    """In the quote currency."""
    leverage: float | None
    maintenance: float | None
    liquidation: float | None


class View(Struct, frozen=True):
    """The whole agent at one moment."""

    at: int
    mode: str
    state: str
    missing: tuple[str, ...]
    """What the venue has not answered yet, with the reason where there is one."""
    epoch: int
    equity: float | None
    """In the quote currency."""
    coins: dict[str, float]
    """What accounts that are held in a coin are worth in it."""
    leverage: float | None
    leverage_target: float
    leverage_limit: float
    drift_max: float | None
    drift_total: float | None
    reach: float | None
    """The largest drift as a part of its band."""
    reach_aware: float | None
    """How near a voluntary trade is: 1 is where it begins. None where only the tolerance counts, as when warming up."""
    tolerance: float
    maintenance: float | None
    """Maintenance margin over equity."""
    liquidation: float | None
    """How far all prices may move at once, each against its position, before the account is liquidated; None as well
    where no move does that."""
    liquidation_alone: float | None
    """The same for the one instrument that alone gets there first."""
    liquidation_symbol: str | None
    """Which one that is."""
    liquidation_floor: float
    legs: tuple[Leg, ...]
    orders: tuple[Working, ...]
    unresolved: int
    """Orders whose fate is unknown."""
    fills: int
    refused: int
    unread: int
    """Frames, or parts of answers, that could not be read."""
    turnover: float
    fees: float
    streams: dict[str, float]
    """Seconds since each stream came up."""
    next_schedule_at: int | None
    blackout_until: int | None
    declined: str | None
    """Why what is outside a band is left there."""
    outlook: Outlook | None
    """None while not ready, and while a correction is under way."""
    wakes_at: int
    """When it looks again if nothing is heard."""
    triggers: tuple[Standing, ...]
    strategies: tuple[Strategy, ...]
    unassigned: float | None
    """Equity that no strategy owns: cash by design, and what is not explained."""
    targets_from: str
    """Whose targets these are: the file's, or those of a feed."""
    targets_until: int | None
    accounts: tuple[AccountView, ...] = ()
    """Each of several accounts; empty where there is one alone."""


def look(engine: Engine, now: int) -> View:
    """What there is to see now."""
    drift = engine.drift
    live = engine.blotter.live()
    stands = safety(engine)
    return View(
        at=now,
        mode=engine.policy.mode,
        state=engine.state,
        missing=tuple(guard.named(trouble) for guard in engine.guards for trouble in guard.audit.troubles()),
        epoch=engine.epoch,
        equity=engine.book.equity,
        coins=_coins(engine),
        leverage=drift.leverage if drift else None,
        leverage_target=sum(abs(wish) for wish in engine.mandate.wishes or () if wish is not None),
        leverage_limit=engine.policy.limits.leverage,
        drift_max=drift.worst if drift else None,
        drift_total=drift.total if drift else None,
        reach=drift.reach if drift else None,
        reach_aware=engine.economist.reach if engine.economist.reaches else None,
        tolerance=engine.policy.bands.tolerance,
        maintenance=stands.maintenance,
        liquidation=stands.liquidation,
        liquidation_alone=stands.liquidation_alone,
        liquidation_symbol=stands.liquidation_symbol,
        liquidation_floor=engine.policy.limits.liquidation_distance,
        legs=tuple(_leg(engine, index, now) for index in range(len(engine.symbols))),
        orders=tuple(_working(engine, order, now) for order in live),
        unresolved=sum(order.state is State.UNKNOWN for order in live) + len(engine.beyond),
        fills=engine.tally.fills,
        refused=engine.tally.refused,
        unread=sum(engine.tally.unread.values()),
        turnover=engine.tally.turnover,
        fees=engine.tally.fees,
        streams={
            guard.named(stream): (now - since) / S
            for guard in engine.guards
            for stream, since in guard.account.streams.items()
        },
        next_schedule_at=engine.reasons.schedule_at,
        blackout_until=engine.reasons.blackout_until,
        declined=engine.declined,
        outlook=outlook(engine, now) if engine.correction is None else None,
        wakes_at=engine.wake_at,
        triggers=engine.reasons.standings(now) + engine.mandate.watch.standings(now),
        strategies=_strategies(engine),
        unassigned=engine.mandate.sleeves.unassigned(engine.book) if engine.mandate.sleeves else None,
        targets_from=engine.mandate.given.source if engine.mandate.given else "file",
        targets_until=engine.mandate.given.valid_until if engine.mandate.given else None,
        accounts=tuple(_account(guard) for guard in engine.guards) if len(engine.guards) > 1 else (),
    )


def _coins(engine: Engine) -> dict[str, float]:
    """What accounts that are held in a coin are worth in it, as far as that is known."""
    found: dict[str, float] = {}
    for account in engine.book.accounts:
        if account.coin is not None and account.settle is not None and account.margin_balance is not None:
            found[account.settle] = found.get(account.settle, 0.0) + account.margin_balance
    return found


def outlook(engine: Engine, now: int) -> Outlook | None:
    """What a correction would be now; None while not ready."""
    found = engine.preview(now)
    if found is None:
        return None
    todo, refusals = found
    verdict = engine.verdict(todo) if todo.legs else None
    stops = [f"{engine.symbols[index]}: {one.gate}: {one.reason}" for index, one in refusals.items()]
    stops += [f"{engine.symbols[skip.instrument]}: {skip.reason}" for skip in todo.skips]
    return Outlook(
        trades=tuple(words.leg(engine.book, leg) for leg in todo.legs),
        obstacles=tuple(stops),
        benefit=verdict.benefit if verdict else None,
        cost=verdict.cost if verdict else None,
        days=verdict.days if verdict else None,
    )


def _leg(engine: Engine, index: int, now: int) -> Leg:
    row, drift = engine.book.rows[index], engine.drift
    age = engine.book.mark_age(index, now)
    entries = [holding.entry for holding in row.holdings.values() if holding.lots]
    sign = "-" if row.lots < 0 else ""
    return Leg(
        symbol=row.symbol,
        weight=drift.weights[index] if drift else None,
        target=drift.targets[index] if drift else None,
        hold=row.symbol in engine.mandate.targets.held,
        aim=drift.aims[index] if drift else None,
        drift=drift.drifts[index] if drift else None,
        band=drift.bands[index] if drift else None,
        aware=engine.economist.alone(index, drift) if drift else None,
        reach_aware=engine.economist.reaches[index] if engine.economist.reaches else None,
        quantity=f"{sign}{row.instrument.counted(row.lots)}" if row.instrument and row.holdings else None,
        notional=row.notional,
        mark=row.mark.price if row.mark else None,
        entry=entries[0] if len(entries) == 1 else None,
        profit=None if row.profit is None else row.profit * (row.rate or 1.0),
        funding_rate=row.funding.rate if row.funding else None,
        funding_at=row.funding.next_at if row.funding else None,
        consumption=_consumption(engine, index, now),
        mark_age_s=None if age is None else age / S,
    )


def _consumption(engine: Engine, index: int, now: int) -> float | None:
    """What funding takes of the margin of the unit that an instrument belongs to."""
    wanted = engine.mandate.contracts(engine.book)
    if wanted is None:
        return None
    for unit in engine.mandate.carry.units(engine.book, wanted):
        if index in unit:
            charge = engine.mandate.carry.charge(engine.book, unit, wanted, now)
            return None if charge is None else charge.phi
    return None


def _strategies(engine: Engine) -> tuple[Strategy, ...]:
    sleeves, worths = engine.mandate.sleeves, worths_of(engine.book)
    if sleeves is None:
        return ()
    shares: Sequence[float | None] = sleeves.shares(engine.book) or [None] * len(sleeves.names)
    found = []
    for name, capital, share in zip(sleeves.names, sleeves.capital, shares, strict=True):
        owner, health = sleeves.ledger.strategies[name], engine.mandate.targets.strategies[name].health
        ratio = None if health is None else sharpe(owner.returns, health.window_days)
        error = None if ratio is None or health is None else sharpe_error(ratio, health.window_days)
        found.append(
            Strategy(
                name=name,
                capital=capital,
                share=share,
                equity=None if worths is None else owner.equity(worths),
                pnl=None if worths is None else owner.earned(worths).total,
                state=sleeves.conditions[name].state,
                sharpe=ratio,
                sharpe_error=error,
                drawdown=owner.drawdown,
            )
        )
    return tuple(found)


def _working(engine: Engine, order: Order, now: int) -> Working:
    instrument = engine.book.rows[order.instrument].instrument
    price = instrument.price(order.ticks) if instrument and order.ticks is not None else None
    return Working(
        id=order.id,
        symbol=order.symbol,
        side="buy" if order.lots > 0 else "sell",
        quantity=str(instrument.counted(order.lots)) if instrument else f"{abs(order.lots)} lots",
        price=None if price is None else str(price),
        state=order.state,
        filled=order.filled_lots / abs(order.lots),
        age_s=(now - order.created_at) / S,
    )


def _account(guard: Guard) -> AccountView:
    account = guard.account
    equity, held = account.equity, exposures(account)
    known = held is not None and equity is not None and equity > 0
    return AccountView(
        name=guard.name,
        state=f"waiting for {guard.readiness.away}" if guard.readiness.away else guard.halts.posture or "ready",
        equity=equity,
        leverage=sum(one.long + one.short for one in held) / equity if held and equity and known else None,
        maintenance=sum(one.maintenance for one in held) / equity if held and equity and known else None,
        liquidation=distances(equity, held).joint if held and equity and known else None,
    )


class Safety(Struct, frozen=True):
    """How the account stands toward its liquidation: see the fields of the same names in `View`."""

    maintenance: float | None = None
    liquidation: float | None = None
    liquidation_alone: float | None = None
    liquidation_symbol: str | None = None


def safety(engine: Engine, legs: Iterable[Planned] = ()) -> Safety:
    """How the account stands now, or would after ``legs`` of a plan; everything is None while any part is unknown."""
    changes = {(leg.instrument, leg.side): leg.lots for leg in legs}
    parts, together, alone = [], [], []
    for account in engine.book.accounts:
        held, equity = exposures(account, changes), account.equity
        if held is None or equity is None or equity <= 0:
            return Safety()
        away = distances(equity, held)
        parts.append(sum(one.maintenance for one in held) / equity)
        together.append(away.joint)
        if away.nearest is not None:
            place, distance = away.nearest
            alone.append((distance, list(account.rows)[place]))
    nearest = min(alone, default=None)
    return Safety(
        maintenance=max(parts),
        liquidation=shortest(together),
        liquidation_alone=nearest[0] if nearest else None,
        liquidation_symbol=engine.symbols[nearest[1]] if nearest else None,
    )
