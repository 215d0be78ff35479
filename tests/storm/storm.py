"""One storm: a drifted portfolio, a jumpy market, faults drawn from a seed; then calm, and the account is audited."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from adapters.simulator import INSTRUMENTS, VENUES, Account, Faults, FrameFault, RequestFault, SeededMarket
from agent.core.decisions import Policy
from agent.core.desk import Desk
from agent.core.drift import Bands
from agent.core.orders import S
from agent.core.planner import Execution
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from tests.core.kit import warm
from tests.storm.watchman import Violation, Watchman
from tests.storm.world import START, World

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
STORM_NS = 60 * S
CALM_NS = 55 * S
"""How long the agent has to come to rest once the faults have stopped."""
SWARM: tuple[RequestFault | FrameFault, ...] = (
    RequestFault("lose", chance=0.10),
    RequestFault("lose reply", chance=0.15),
    RequestFault("unknown done", on="changes", chance=0.10),
    RequestFault("unknown", on="changes", chance=0.10),
    RequestFault("timeout", on="changes", chance=0.10),
    RequestFault("overload", on="changes", chance=0.10),
    RequestFault("limit", chance=0.01),
    RequestFault("hold", on="changes", chance=0.6),
    RequestFault("bad gateway", on="reads", chance=0.15),
    RequestFault("stale", on="reads", chance=0.20),
    FrameFault("drop", chance=0.05),
    FrameFault("repeat", chance=0.10),
    FrameFault("reorder", chance=0.10),
    FrameFault("disconnect", chance=0.002),
    FrameFault("mute", chance=0.005),
    FrameFault("expire key", on="private", chance=0.02),
)
"""Every fault kind and the most often it strikes; a storm draws half of the kinds, each at a random part of that."""


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


def swarm(seed: int, kinds: tuple[RequestFault | FrameFault, ...] = SWARM) -> Faults:
    """The faults of a storm."""
    dice = random.Random(seed)
    drawn = [replace(fault, chance=fault.chance * dice.random()) for fault in kinds if dice.random() < 0.5]
    return Faults(
        seed=seed,
        delay_ms=dice.choice((1.0, 20.0, 150.0)),
        requests=tuple(fault for fault in drawn if isinstance(fault, RequestFault)),
        frames=tuple(fault for fault in drawn if isinstance(fault, FrameFault)),
    )


def prepare(seed: int, faults: Faults, venue: str = "binance") -> World:
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
    spelt = {symbol: VENUES[venue].symbol(INSTRUMENTS[symbol]) for symbol in SYMBOLS}
    policy = Policy(
        mode="live",
        targets=Targets(weights={spelt[symbol]: weight for symbol, weight in weights.items()}, leverage=3.0),
        bands=Bands(destination=dice.choice(("optimal", "edge", "target"))),
        triggers=Triggers(confirm_s=0.5, cool_down_s=1.0),
        execution=Execution(style=dice.choice(("taker", "maker")), patience_s=3.0),
    )
    account = Account(balance=100_000, positions=positions)
    world = World(policy, market, account, faults, speed=600.0, rechecks=dice.random() < 0.5, venue=venue)
    if dice.random() < 0.5:
        warm(world.engine, [float(price) for price in market.prices()], START)
    return world


def storm(
    seed: int,
    desk: type[Desk] = Desk,
    weather: Callable[[int], Faults] = swarm,
    lasts_ns: int = STORM_NS,
    venue: str = "binance",
) -> Outcome:
    """Run a storm; raises `Violation` with the seed in its message. ``weather`` gives its faults."""
    world = prepare(seed, weather(seed), venue)
    if desk is not Desk:
        world.desk = desk(world.desk.dialect, world.engine, salt=f"storm{seed}")
    watchman = Watchman(
        world.exchange, world.account, world.policy.targets, lambda: world.engine, world.local, world.venue.topic
    )
    world.decided, world.left = watchman.decided, watchman.left
    world.heard = lambda arrived: watchman.heard(arrived, world.now)
    try:
        world.run(START + lasts_ns, watchman.check)
        world.heal()
        world.exchange.freeze()
        world.run(START + lasts_ns + CALM_NS, watchman.check)
        watchman.audit(world.journal)
    except Violation as violation:
        raise Violation(f"seed {seed}: {violation}") from violation
    drift = world.engine.drift
    assert drift is not None
    return Outcome(
        seed=seed,
        faults=dict(world.gateway.counts),
        orders=len(watchman.intended),
        unknown=len(watchman.resolved),
        drift=0.0 if world.engine.declined else drift.reach,
        digest=watchman.digest.hexdigest(),
    )


def campaign(seeds: range, venue: str = "binance") -> tuple[list[Outcome], Counter[str]]:
    """Run many storms; the outcomes, and how often each fault struck."""
    outcomes = [storm(seed, venue=venue) for seed in seeds]
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts.update(outcome.faults)
    return outcomes, counts
