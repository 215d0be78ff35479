"""One storm: a drifted portfolio, a jumpy market, faults drawn from a seed; then calm, and the account is audited."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from hashlib import blake2b

import msgspec
from msgspec import Struct

from adapters.simulator import DEMO_KEY, Account, Faults, SeededMarket
from agent.core.decisions import Decision, Policy
from agent.core.desk import Desk
from agent.core.drift import Bands
from agent.core.orders import S, State
from agent.core.planner import Execution
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Place
from tests.core.kit import warm
from tests.storm.world import START, World

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
STORM_NS = 60 * S
CALM_NS = 60 * S
"""How long the agent has to come to rest once the faults have stopped."""
SWARM = {
    "lost_request": 0.10,
    "lost_reply": 0.15,
    "unknown_503_executed": 0.10,
    "unknown_503_not_executed": 0.10,
    "timeout_1007": 0.10,
    "overload_1008": 0.10,
    "limit_429": 0.01,
    "hold": 0.6,
    "query_502": 0.15,
    "stale_reads": 0.20,
    "drop": 0.05,
    "repeat": 0.10,
    "reorder": 0.10,
    "disconnect": 0.002,
    "stall": 0.005,
    "expire_listen_key": 0.02,
}
"""Every fault kind and the most often it strikes; a storm draws half of the kinds, each at a random part of that."""


OLD_PRICES = Decimal("0.06")
"""How far a planned target may be from any that the exchange's own prices ever gave."""
A_SECOND = Decimal("0.03")
"""How far an order may lead from its plan's goal: lots are kept for a second while the prices of a storm run on."""


class Violation(Exception):
    """What must never happen has happened."""


class Outcome(Struct):
    """What a storm did."""

    seed: int
    faults: dict[str, int]
    orders: int
    unknown: int
    """Orders whose fate was unknown for a while."""
    drift: float
    """The largest drift at rest, as a part of its band; nought where a correction was not worth its cost."""
    digest: str
    """Of all decisions, byte for byte."""


def swarm(seed: int) -> Faults:
    """The faults of a storm."""
    dice = random.Random(seed)
    rates = {name: most * dice.random() for name, most in SWARM.items() if dice.random() < 0.5}
    return msgspec.convert({"seed": seed, "delay_ms": dice.choice((1.0, 20.0, 150.0)), **rates}, Faults)


def prepare(seed: int, faults: Faults) -> World:
    """A drifted account of 100,000 USDT at about 3x in a wild market that moves ten minutes a second."""
    dice = random.Random(seed + 1)
    market = SeededMarket(seed, SYMBOLS, step_ms=400, volatility_scale=2.0)
    weights: dict[str, float] = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": dice.choice((0.2, -0.2))}
    start = [share * 3 * dice.uniform(0.3, 1.7) for share in weights.values()]
    lots = (Decimal("0.001"), Decimal("0.001"), Decimal(1))
    positions = {
        symbol: (Decimal(100_000 * weight) / price).quantize(lot)
        for symbol, weight, price, lot in zip(SYMBOLS, start, market.prices(), lots, strict=True)
    }
    policy = Policy(
        mode="live",
        targets=Targets(weights=dict(weights), leverage=3.0),
        bands=Bands(destination=dice.choice(("optimal", "edge", "target"))),
        triggers=Triggers(confirm_s=0.5, cool_down_s=1.0),
        execution=Execution(style=dice.choice(("taker", "maker")), patience_s=3.0),
    )
    account = Account(balance=100_000, positions=positions)
    world = World(policy, market, account, faults, speed=600.0, rechecks=dice.random() < 0.5)
    if dice.random() < 0.5:
        warm(world.engine, [float(price) for price in market.prices()], START)
    return world


class Watchman:
    """Looks at the exchange's own books after everything that happens. The agent's opinion does not count."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.account = world.account
        self.lots = {symbol: world.engine.book.rows[i] for i, symbol in enumerate(world.symbols)}
        self.low: dict[str, Decimal] = {}
        self.high: dict[str, Decimal] = {}
        self.unknown: dict[str, None] = {}
        self.never_placed: dict[str, None] = {}
        self.digest = blake2b(digest_size=16)
        """Over every decision, as it would go to the journal."""
        world.decided = self._decided

    def _decided(self, decision: Decision) -> None:
        self.digest.update(msgspec.json.encode(decision))
        for order in decision.orders:
            if order.state is State.UNKNOWN:
                self.unknown[order.id] = None
            if order.ended == "never placed":
                self.never_placed[order.id] = None
        if any(isinstance(request, Place) for request in decision.requests):
            self._widen()

    def _widen(self) -> None:
        """The hull is that of start and *planned* targets: at the prices the agent had, which may be a little old.

        A cost-aware plan may lead to the other side of a target, never out of the tolerance around it; what funding
        eats into has a smaller target.
        """
        drift = self.world.engine.drift
        assert drift is not None
        for index, symbol in enumerate(self.world.symbols):
            row, target = self.world.engine.book.rows[index], drift.targets[index]
            aim = drift.aims[index]
            assert row.mark is not None
            assert target is not None
            assert aim is not None
            planned = Decimal(target * drift.equity / row.mark.price)
            low, high = self.low.get(symbol, planned), self.high.get(symbol, planned)
            slack = OLD_PRICES * abs(planned)
            if not low - slack <= planned <= high + slack:
                raise Violation(f"{symbol}: a target of {planned:.4f} was planned, far from [{low:.4f}, {high:.4f}]")
            goal = self._goal(index, aim)
            end = self._end(index)
            kept = goal if end is None or abs(end - goal) > A_SECOND * abs(goal) else end
            seen = (low, high, planned, Decimal(aim * drift.equity / row.mark.price), goal, kept)
            self.low[symbol], self.high[symbol] = min(seen), max(seen)

    def _goal(self, index: int, aim: float) -> Decimal:
        """Where a plan leads if that is inside the tolerance, in quantity; the aim otherwise."""
        engine = self.world.engine
        drift, todo, row = engine.drift, engine.plan, engine.book.rows[index]
        assert drift is not None
        assert todo is not None
        assert row.mark is not None
        inside = abs(todo.goals[index] - aim) <= drift.bands[index] * drift.gross_target
        return Decimal((todo.goals[index] if inside else aim) * drift.equity / row.mark.price)

    def _end(self, index: int) -> Decimal | None:
        """The position that the order planned for an instrument leads to; None if there is none."""
        engine, symbol = self.world.engine, self.world.symbols[index]
        step = self.world.exchange.instruments[symbol].step
        legs = engine.plan.legs if engine.plan else ()
        ends = [(engine.book.rows[index].lots + leg.lots) * step for leg in legs if leg.instrument == index]
        return ends[0] if ends else None

    def held(self, symbol: str) -> Decimal:
        """The position as the exchange has it."""
        position = self.account.positions.get((symbol, "BOTH"))
        return position.quantity if position else Decimal(0)

    def check(self) -> None:
        """Exposure stays in the hull of start and targets, give or take a lot; nothing is sent twice or unwritten."""
        world = self.world
        mark = world.exchange.matcher.mark
        equity = self.account.wallet + self.account.unrealised(mark)
        for symbol, share in world.policy.targets.weights.items():
            assert share != "hold"
            target = equity * Decimal(share * world.policy.targets.leverage) / mark(symbol)
            held = self.held(symbol)
            low = self.low[symbol] = min(self.low.get(symbol, held), target)
            high = self.high[symbol] = max(self.high.get(symbol, held), target)
            lot = world.exchange.instruments[symbol].step
            if not low - lot <= held <= high + lot:
                raise Violation(f"{symbol}: {held} is outside of [{low:.4f}, {high:.4f}] by more than a lot")
        for again in world.exchange.ledger.resent:
            if again.what == "POST /fapi/v1/order":  # two equal questions in one millisecond are no harm
                raise Violation(f"a signed order request arrived twice: {again}")

    def audit(self) -> None:
        """At the end: each attempt is at most one order, and the agent's positions and orders are the exchange's."""
        world, ledger = self.world, self.world.exchange.ledger
        for (_, name), orders in ledger.by_client_id.items():
            if len(orders) > 1:
                raise Violation(f"{name} became {len(orders)} orders")
            if name not in world.intended:
                raise Violation(f"{name} was sent without being written down")
        for name in self.never_placed:
            if (DEMO_KEY, name) in ledger.by_client_id:
                raise Violation(f"{name} was taken for never placed, and the exchange has it")
        live = world.engine.blotter.live()
        if live:
            raise Violation(f"{live[0].id} is still {live[0].state} at rest")
        if self.account.open_orders:
            raise Violation(f"{next(iter(self.account.open_orders.values())).client_id} rests unknown to the agent")
        for index, symbol in enumerate(world.symbols):
            row = world.engine.book.rows[index]
            assert row.instrument is not None
            known = row.instrument.quantity(row.lots) * (1 if row.lots > 0 else -1)
            if known != self.held(symbol):
                raise Violation(f"{symbol}: the agent believes in {known}, the exchange has {self.held(symbol)}")
        drift = world.engine.drift
        if drift is None or (drift.reach > 1 and world.engine.declined is None):
            raise Violation(f"drift is not inside the band at rest: {world.engine.state}, {drift}")


def storm(seed: int, desk: type[Desk] = Desk) -> Outcome:
    """Run a storm; raises `Violation` with the seed in its message."""
    faults = swarm(seed)
    world = prepare(seed, faults)
    if desk is not Desk:
        world.desk = desk(world.desk.dialect, world.engine, salt=f"storm{seed}")
    watchman = Watchman(world)
    try:
        world.run(START + STORM_NS, watchman.check)
        world.heal()
        world.exchange.freeze()
        world.run(START + STORM_NS + CALM_NS, watchman.check)
        watchman.audit()
    except Violation as violation:
        raise Violation(f"seed {seed}: {violation}") from violation
    drift = world.engine.drift
    assert drift is not None
    return Outcome(
        seed=seed,
        faults=dict(world.gateway.counts),
        orders=len(world.intended),
        unknown=len(watchman.unknown),
        drift=0.0 if world.engine.declined else drift.reach,
        digest=watchman.digest.hexdigest(),
    )


def campaign(seeds: range) -> tuple[list[Outcome], Counter[str]]:
    """Run many storms; the outcomes, and how often each fault struck."""
    outcomes = [storm(seed) for seed in seeds]
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.faults)
    return outcomes, counts
