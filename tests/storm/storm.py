"""One storm: a drifted portfolio, a jumpy market, faults drawn from a seed; then calm, and the account is audited."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from adapters.simulator import VENUES, Account, Faults, FrameFault, RequestFault, SeededMarket, instrument
from agent.core.decisions import Policy
from agent.core.desk import Desk
from agent.core.drift import Bands
from agent.core.orders import S
from agent.core.planner import Execution
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Call
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
UNHEARD = FrameFault("ignore", chance=0.30)
"""What is said on a websocket and lost, where orders go there."""


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


def entering(seed: int) -> Faults:
    """The faults of a storm in which orders are sent by websocket."""
    return swarm(seed, (*SWARM, UNHEARD))


def prepare(seed: int, faults: Faults, venue: str = "binance", *, entry: bool = False) -> World:
    """A drifted account of 100,000 at about 3x in a wild market that moves ten minutes a second: in three instruments,
    or in the one contract of the coin that it is held in."""
    dice, local = random.Random(seed + 1), VENUES[venue]
    symbols = (local.contract,) if local.contract else SYMBOLS
    market = SeededMarket(seed, symbols, step_ms=400, volatility_scale=2.0)
    weights: dict[str, float] = dict(zip(symbols, (0.5, 0.3, dice.choice((0.2, -0.2))), strict=False))
    if local.contract:
        weights = {local.contract: dice.choice((1.0, -1.0))}
    start = [share * 3 * dice.uniform(0.3, 1.7) for share in weights.values()]
    lots = (Decimal("0.001"), Decimal("0.001"), Decimal(1))
    positions = {
        symbol: (Decimal(100_000 * weight) / price).quantize(lot)
        for symbol, weight, price, lot in zip(symbols, start, market.prices(), lots, strict=False)
    }
    if local.contract:
        one, (price,) = instrument(local.contract), market.prices()
        positions = {
            local.contract: (Decimal(100_000 * (start[0] - 1)) / one.value(one.step, price)).quantize(one.step)
        }
    spelt = {symbol: local.symbol(instrument(symbol)) for symbol in symbols}
    policy = Policy(
        mode="live",
        targets=Targets(weights={spelt[symbol]: weight for symbol, weight in weights.items()}, leverage=3.0),
        bands=Bands(destination=dice.choice(("optimal", "edge", "target"))),
        triggers=Triggers(confirm_s=0.5, cool_down_s=1.0),
        execution=Execution(style=dice.choice(("taker", "maker")), patience_s=3.0),
    )
    balance = round(100_000 / local.rate(market), 8)
    account = Account(balance=balance, positions=positions, asset=local.asset)
    world = World(policy, market, account, faults, speed=600.0, rechecks=dice.random() < 0.5, venue=venue, entry=entry)
    if dice.random() < 0.5:
        warm(world.engine, [float(price) for price in market.prices()], START)
    return world


def storm(
    seed: int,
    desk: type[Desk] = Desk,
    weather: Callable[[int], Faults] = swarm,
    lasts_ns: int = STORM_NS,
    left: Callable[[Call], None] = lambda call: None,
    venue: str = "binance",
) -> Outcome:
    """Run a storm; raises `Violation` with the seed in its message. ``weather`` gives its faults, ``left`` is told of
    each request that leaves."""
    world = prepare(seed, weather(seed), venue, entry=weather is entering)
    if desk is not Desk:
        world.desk = desk([world.desk.channels[0].dialect], world.engine, salt=f"storm{seed}")
    watchman = Watchman(
        world.exchange, world.account, world.policy.targets, lambda: world.engine, world.venue.topic, world.local
    )

    def leaving(call: Call) -> None:
        left(call)
        watchman.left(call)

    world.decided, world.left = watchman.decided, leaving
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
