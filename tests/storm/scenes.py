"""Scenes: small plays, each about one safeguard that a storm seldom needs. Each raises `Violation` where it is missing.

A scene has a seed and the desk to play with, like a storm. Those on a stage need no exchange: the stage's own books are
the truth.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from msgspec.structs import replace

from adapters.simulator import Faults, Incident, RequestFault
from agent.core import risk
from agent.core.breaker import PROBE_NS, REFUSALS
from agent.core.decisions import Policy
from agent.core.desk import Closed, Desk, Told
from agent.core.drift import Bands, measure
from agent.core.events import Down, Fault, Lost, Mark, Positions, Refused, Side, Up
from agent.core.orders import FORGOTTEN_NS, MS, SETTLE_NS, Blotter, Order, S, State, order_id
from agent.core.planner import Execution, Leg, Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Call, Place, What
from tests.adapters.binance_kit import build, call_for, told
from tests.adapters.binance_kit import order as wired
from tests.core.kit import MISSION, START, THIRDS, Stage, book_of, order
from tests.core.test_desk import Floor
from tests.storm.flood import flood
from tests.storm.storm import CALM_NS, prepare
from tests.storm.watchman import Violation, Watchman
from tests.storm.world import START as BEGINNING
from tests.storm.world import World

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)
DEAD_NS = 3 * S + SETTLE_NS
"""So long after it was sent a request can't be accepted any more."""
CANCEL_WAIT_MS = 250.0
"""No longer than this may a cancel wait for its budget, but for one in a hundred."""


def stage(
    seed: int,
    resume: Iterable[Order] = (),
    execution: Execution = Execution(),  # noqa: B008 — it can't change
    confirm_s: float = 2.0,
) -> Stage:
    """A stage with a drift of which the seed decides the size."""
    more = random.Random(seed).uniform(1.0, 1.3)
    policy = Policy(
        mode="live",
        targets=SHARES,
        bands=Bands(destination="target"),
        triggers=Triggers(confirm_s=confirm_s, cool_down_s=1.0),
        execution=execution,
    )
    return Stage(policy, {**MISSION, "BTCUSDT": MISSION["BTCUSDT"] * more}, resume=resume).ready()


def first_order(on: Stage) -> Order:
    """The first order of a correction, at the moment at which it is sent."""
    for _ in range(200):
        placed = on.wait(0.25)
        if placed:
            return placed[0]
    raise AssertionError(on.said())


# Denials


def a_denial_from_a_cache(seed: int, _: type[Desk]) -> None:
    """A request that was held to the last moment is denied once, by a cache that does not know it yet."""
    on = stage(seed)
    placed = first_order(on)
    on.tell(Lost(order=placed.id, reason="timeout"))
    on.wait((placed.created_at + DEAD_NS - on.now) / S + 0.5)
    on.tell(*on.deny(placed))
    if on.state(placed) is State.DONE:
        raise Violation(f"{placed.id} was taken for never placed after one denial")


def a_denial_while_the_position_has_moved(seed: int, _: type[Desk]) -> None:
    """The venue denies an order that has moved the position."""
    on = stage(seed)
    placed = first_order(on)
    on.tell(Lost(order=placed.id, reason="timeout"))
    on.tell(*on.trade(placed)[:2])
    for _second in range(30):
        on.wait(1)
        on.tell(*on.deny(placed))
    if on.state(placed) is State.DONE:
        raise Violation(f"{placed.id} was taken for never placed, and it has moved the position")


def a_denial_after_days(seed: int, _: type[Desk]) -> None:
    """An order of an earlier run, so old that the venue may have forgotten it."""
    old = order(
        order_id("t", 0, seed + 1),
        created_at=START - FORGOTTEN_NS - S,
        expires_at=START - FORGOTTEN_NS + 2 * S,
        state=State.UNKNOWN,
    )
    on = stage(seed, resume=[old])
    for _second in range(10):
        on.wait(1)
        on.tell(*on.deny(old))
    if on.state(old) is State.DONE:
        raise Violation("a venue that may have forgotten an order was believed")


def an_id_that_is_there_already(seed: int, _: type[Desk]) -> None:
    """The venue says that it has an order of this id."""
    dialect = build()
    facts = told(dialect, call_for(dialect, Place(wired())), {"code": -4116, "msg": "duplicated"}, 400)
    if any(isinstance(one, Refused) for one in facts):
        raise Violation("an order that the venue has was taken for refused")


def a_cancel_that_is_lost(seed: int, _: type[Desk]) -> None:
    """The cancel of a resting order gets lost; the order is found resting, and patience is over."""
    on = stage(seed, execution=Execution(style="maker", patience_s=2.0))
    on.mute.add(What.ORDERS)
    placed = first_order(on)
    on.tell(*on.accept(placed))
    on.wait(3)
    on.tell(Lost(order=placed.id, reason="cancel: timeout"))
    on.tell(*on.accept(placed))
    on.wait(20)
    if len(on.cancelled()) < 2:
        raise Violation(f"{placed.id} rests, and nobody cancels it again")


# News that was missed


def a_disconnection_in_which_a_fill_is_missed(seed: int, _: type[Desk]) -> None:
    """A person trades while the private stream is away for a moment."""
    on = stage(seed)
    on.tell(Down("private", "gone"))
    lots, entry = on.held[0, Side.NET]
    on.held[0, Side.NET] = lots // 2, entry
    on.tell(Up("private"), after=1.0)
    _judge_sizes(on, on.wait(5))


def an_answer_from_before_the_reconnection(seed: int, _: type[Desk]) -> None:
    """An answer about positions that was asked for before the stream was lost comes after it is back."""
    on = stage(seed)
    old = on.positions()
    on.mute.add(What.POSITIONS)
    on.wait(0.1)
    on.tell(Down("private", "gone"))
    lots, entry = on.held[0, Side.NET]
    on.held[0, Side.NET] = lots // 2, entry
    on.tell(Up("private"), after=0.1)
    on.tell(Positions(rows=old.rows, strangers=(), asked_at=old.asked_at), after=0.1)
    _judge_sizes(on, on.wait(5))


def _judge_sizes(on: Stage, placed: list[Order]) -> None:
    for one in placed:
        held, _ = on.held[one.instrument, one.side]
        if one.held_lots != held:
            raise Violation(f"{one.id} was sized from {one.held_lots} lots; {held} are held")


# Gates


def a_mark_far_from_its_index(seed: int, _: type[Desk]) -> None:
    """The mark of one instrument leaves its index by a third."""
    on = stage(seed)
    on.frozen.add(0)
    on.tell(Mark(0, on.prices["BTCUSDT"] * 1.33, on.prices["BTCUSDT"], on.now))
    until = on.now + 20 * S
    while on.now < until:
        absurd = Mark(0, on.prices["BTCUSDT"] * 1.33, on.prices["BTCUSDT"], on.now)
        for one in [*on.wait(0.25), *on.tell(absurd)]:
            if one.instrument == 0:
                raise Violation(f"{one.id} was sized from an absurd price")


def a_price_that_has_stalled(seed: int, _: type[Desk]) -> None:
    """The price of one instrument stalls before anything is ordered."""
    on = stage(seed, confirm_s=8.0)
    on.frozen.add(0)
    on.mute.add(What.PRICES)
    for _step in range(60):
        for one in on.wait(0.25):
            if one.instrument == 0 and on.now - START > 6 * S:
                raise Violation(f"{one.id} was sized from a price that has stalled")


def situation(**changes: object) -> risk.Situation:
    """Three times an equity of 10,000 in three instruments, and room for more."""
    book = book_of(MISSION)
    drift = measure(book, SHARES, Bands())
    assert drift is not None
    fields = {
        "book": book, "drift": drift, "blotter": Blotter(), "limits": Limits(), "now": START, "halted": None,
        "increased_today": 0.0, "sent_last_minute": 0,
    }  # fmt: skip
    return risk.Situation(**{**fields, **changes})  # type: ignore[arg-type]


def leg(lots: int = 474) -> Leg:
    """Ether is bought for three dollars a lot."""
    return Leg(instrument=1, side=Side.NET, lots=lots, reduce=False, notional=abs(lots) * 3.0, cost=None)


def orders_under_way_count(seed: int, _: type[Desk]) -> None:
    """A leg that fits by itself, but not together with an order that is under way."""
    blotter = Blotter()
    blotter.add(order(instrument=2, symbol="SOLUSDT", lots=2), START)
    if risk.judge(leg(), situation(limits=Limits(leverage=3.15), blotter=blotter)) is None:
        raise Violation("a limit can be broken by an order that is under way")


def legs_beyond_a_limit(seed: int, _: type[Desk]) -> None:
    """Legs of which each breaks one limit and no other."""
    strange = situation()
    strange.book.accounts[0].strangers = ("DOGEUSDT",)
    cases = {
        "leverage": situation(limits=Limits(leverage=3.1)),
        "share": situation(limits=Limits(asset_share=0.2)),
        "maintenance margin": situation(limits=Limits(maintenance=0.01)),
        "liquidation distance": situation(limits=Limits(liquidation_distance=0.4)),
        "turnover": situation(increased_today=99_000.0),
        "order rate": situation(sent_last_minute=60),
        "strangers": strange,
    }
    for name, one in cases.items():
        if risk.judge(leg(), one) is None:
            raise Violation(f"a leg breaks the limit of {name}")


# Requests that wait


def waiting(floor: Floor, seconds: float) -> Order:
    """The first order that a desk decides on, while all requests have to be silent for so long."""
    floor.desk.channels[0].lanes.throttle(floor.now + round(seconds * S))
    for _ in range(100):
        floor.tell(*_marks(floor), after=100 * MS)
        for request in floor.desk.channels[0].lanes.waiting.values():
            for one in request:
                if isinstance(one, Place):
                    return one.order
    raise AssertionError("no order")


def _marks(floor: Floor) -> list[Mark]:
    floor.stage.now = floor.now
    return [one for one in floor.stage.marks() if isinstance(one, Mark)]


def _sent(floor: Floor) -> list[Order]:
    return [one.request.order for one in floor.acts if isinstance(one, Call) and isinstance(one.request, Place)]


def an_order_that_waits_too_long(seed: int, _: type[Desk]) -> None:
    """An order waits for its budget longer than it may live."""
    floor = Floor().ready()
    placed = waiting(floor, 20 + seed)
    while floor.now < placed.expires_at + 25 * S:
        floor.tell(*_marks(floor), after=100 * MS)
        if placed.id in [one.id for one in _sent(floor)] and floor.now >= placed.expires_at:
            raise Violation(f"{placed.id} left after its time")


def a_kill_while_an_order_waits(seed: int, _: type[Desk]) -> None:
    """A person says stop while an order waits for its budget."""
    floor = Floor().ready()
    placed = waiting(floor, 12)
    floor.take(Told("pause"))
    floor.desk.channels[0].lanes.silent_until = 0
    floor.take(after=MS)
    if placed.id in [one.id for one in _sent(floor)]:
        raise Violation(f"{placed.id} left after the word to pause")


def many_reconnections(seed: int, _: type[Desk]) -> None:
    """Twenty agents lose their connection in the same moment, for the third time."""
    dues = []
    for number in range(20):
        floor = Floor()
        floor.desk._salt = f"{seed}:{number}"
        line = floor.desk.lines["market"]
        for _time in range(3):
            floor.take(Closed("market", "gone"))
        assert line.due_at is not None
        dues.append((line.due_at - floor.now) // (100 * MS))
    most = max(Counter(dues).values())
    if most > len(dues) // 2:
        raise Violation(f"{most} of {len(dues)} come back in the same tenth of a second")


def nothing_but_refusals(seed: int, _: type[Desk]) -> None:
    """The venue refuses every order for three minutes."""
    on = stage(seed)
    counts: Counter[int] = Counter()
    minutes = 3
    until = on.now + minutes * PROBE_NS
    while on.now < until:
        placed = on.wait(0.25)
        while placed:
            counts.update(one.instrument for one in placed)
            no = [Refused(order=one.id, code="-4003", reason="no", fault=Fault.RULE) for one in placed]
            placed = on.tell(*no, after=0.01)
    if max(counts.values()) > REFUSALS + minutes:
        raise Violation(f"{max(counts.values())} orders on one instrument were refused in {minutes} minutes")


def a_flood(seed: int, _: type[Desk]) -> None:
    """Five times as many requests as the budget allows."""
    flooded = flood(seed, seconds=30)
    if flooded.bans:
        raise Violation(f"{flooded.bans} bans")
    if flooded.cancel_wait_ms > CANCEL_WAIT_MS:
        raise Violation(f"one cancel in a hundred waits for {flooded.cancel_wait_ms:.0f} ms")


def a_budget_that_shrinks(seed: int, _: type[Desk]) -> None:
    """The venue allows a twentieth of the weight that its manual names."""
    world = prepare(seed, Faults(seed=seed, delay_ms=20.0, events=(Incident("limits", weight=120),)))
    watchman = watched(world)
    watchman.weight_limit = 120
    world.run(BEGINNING + 100 * S)


# Runs that end


def watched(world: World) -> Watchman:
    """A watchman for a world."""
    watchman = Watchman(world.exchange, world.account, world.policy.targets, lambda: world.engine, world.venue.topic)
    world.decided, world.left = watchman.decided, watchman.left
    world.heard = lambda arrived: watchman.heard(arrived, world.now)
    return watchman


def resting(seed: int, faults: Faults) -> tuple[World, Watchman]:
    """A world in which an order rests; the agent likes to make prices, and is patient."""
    world = prepare(seed, faults)
    world.policy = replace(world.policy, execution=Execution(style="maker", patience_s=600.0))
    world.boot(epoch=1)
    watchman = watched(world)
    while not world.account.open_orders and world.now < BEGINNING + 60 * S:
        world.run(world.now + 100 * MS, watchman.check)
    return world, watchman


def a_death_with_an_order_resting(seed: int, _: type[Desk]) -> None:
    """The agent dies while an order rests, and nobody comes after it."""
    world, _watchman = resting(seed, Faults(seed=seed, delay_ms=20.0))
    world.run(world.now + S)
    world.exchange.freeze()
    until = world.now + 150 * S
    while world.now < until:
        world.now = min(until, world.now + S)
        world.gateway.advance(world.now)
    if world.account.open_orders:
        raise Violation("an order rests, and nobody looks after it")


def a_restart_in_the_middle(seed: int, without: type[Desk]) -> None:
    """The agent dies with requests on their way, and a new run begins with its journal."""
    slow = RequestFault("hold", on="order", chance=0.8, ms=8_000), RequestFault("lose reply", on="order", chance=0.3)
    world = prepare(seed, Faults(seed=seed, delay_ms=50.0, requests=slow))
    watchman = watched(world)
    for epoch in (2, 3):
        world.run(world.now + random.Random(seed * 10 + epoch).randint(3_000, 12_000) * MS, watchman.check)
        left = [one for one in world.journal.values() if one.state is not State.DONE]
        world.boot(epoch=epoch, resume=left, desk=without)
    _come_to_rest(world, watchman)


def a_restart_without_a_journal(seed: int, without: type[Desk]) -> None:
    """The agent dies while an order rests, and its journal is lost."""
    world, watchman = resting(seed, Faults(seed=seed, delay_ms=20.0))
    watchman.forget()
    world.policy = replace(world.policy, execution=Execution())
    world.boot(epoch=2, desk=without)
    _come_to_rest(world, watchman)


def _come_to_rest(world: World, watchman: Watchman) -> None:
    world.heal()
    world.exchange.freeze()
    world.run(world.now + CALM_NS, watchman.check)
    watchman.audit(world.journal)
