"""A day in virtual time: the desk and the exchange of the storms, mild faults, and what the agent's code has kept.

Agent and exchange share a process here, and the exchange keeps its whole ledger, so the process says nothing. What
counts is what lines of the agent and its dialect have allocated and not freed, which `tracemalloc` tells apart.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from adapters.simulator import Account, SeededMarket
from agent.core import book, orders
from agent.core.decisions import Decision, Policy
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.orders import S
from agent.core.planner import Execution, Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Place
from tests.soak import real
from tests.soak.agent import PATIENT_DAYS
from tests.soak.slope import Slope, slope
from tests.soak.tables import tables
from tests.storm.world import START, World

ROOT = Path(__file__).parents[2]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SAMPLE_S = 600
STEP_MS = 2_000
"""Between two prices: virtual days are long, and what piles up does so by orders and answers, not by quotes."""
TRADES = 500
"""So many trades are remembered here, not 10,000, for those tables to be full within the warm-up."""
KB = 1024


class Kept(Struct, frozen=True):
    """At the end of the warm-up and at the end, the most in between, and what the tables may hold."""

    first: int
    last: int
    high: int


class Line(Struct, frozen=True):
    """A line of code that holds more than it did after the warm-up."""

    where: str
    grown_kb: float


class Report(Struct, frozen=True):
    """What a virtual day found. Slopes are in kB a day, of what the agent's code holds."""

    hours: float
    warm_up_hours: float
    sample_s: int
    inputs: int
    orders: int
    fills: int
    held_kb: Kept
    held_slope: Slope
    last_half_slope: Slope
    """The same over the second half: tables that hold a day fill up in the first."""
    counts: dict[str, Kept]
    grown: list[Line]
    faults: dict[str, int]


def world(seed: int = 1) -> World:
    """Three instruments that drift fast enough to be traded all the time."""
    market = SeededMarket(seed, SYMBOLS, step_ms=STEP_MS, volatility_scale=2.0)
    policy = Policy(
        mode="live",
        targets=Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}, leverage=2.0),
        bands=Bands(tolerance=0.003, destination="target"),
        triggers=Triggers(confirm_s=1.0, cool_down_s=15.0),
        limits=Limits(turnover_per_day=10_000.0),
        economy=Economy(payback_days=PATIENT_DAYS),
        execution=Execution(style="maker", patience_s=3.0),
    )
    return World(policy, market, Account(balance=100_000), real.MILD, speed=10.0)


def held() -> tuple[int, dict[str, int]]:
    """Bytes that lines of the agent and its dialects hold: all, and by line."""
    gc.collect()
    ours = [tracemalloc.Filter(True, str(ROOT / "agent" / "*")), tracemalloc.Filter(True, str(ROOT / "adapters/*.py"))]
    lines = {
        f"{Path(row.traceback[0].filename).relative_to(ROOT)}:{row.traceback[0].lineno}": row.size
        for row in tracemalloc.take_snapshot().filter_traces(ours).statistics("lineno")
        if "simulator" not in row.traceback[0].filename
    }
    return sum(lines.values()), lines


def day(hours: float, warm_up: float, seen: Callable[[float, int], None]) -> Report:
    """Let so many hours pass, of which the first ``warm_up`` only fill tables."""
    one = world()
    remembered = orders.KEEP_TRADES
    inputs = placed = 0
    take = one.desk.take

    def decided(decision: Decision) -> None:
        nonlocal placed
        placed += sum(isinstance(request, Place) for request in decision.requests)

    one.decided = decided

    def taken(arrived: object, now: int) -> object:
        nonlocal inputs
        inputs += 1
        return take(arrived, now)  # type: ignore[arg-type]

    one.desk.take = taken  # type: ignore[method-assign,assignment]
    times: list[float] = []
    sizes: list[float] = []
    rows: list[dict[str, int]] = []
    before: dict[str, int] = {}
    orders.KEEP_TRADES = book.KEEP_TRADES = TRADES
    tracemalloc.start()
    try:
        for sample in range(1, round(hours * 3600 / SAMPLE_S) + 1):
            one.run(START + sample * SAMPLE_S * S)
            one.journal.clear()  # every order there ever was, which the stage keeps and the agent does not
            size, lines = held()
            seen(sample * SAMPLE_S / 3600, size)
            if sample * SAMPLE_S >= warm_up * 3600:
                before = before or lines
                times.append(float(sample * SAMPLE_S))
                sizes.append(size / KB)
                rows.append(tables(one.desk))
    finally:
        tracemalloc.stop()
        orders.KEEP_TRADES = book.KEEP_TRADES = remembered
    grown = sorted(((size - before.get(where, 0)) / KB, where) for where, size in lines.items())[::-1]

    def over(values: list[int]) -> Kept:
        return Kept(first=values[0], last=values[-1], high=max(values))

    half = len(times) // 2
    return Report(
        hours=hours,
        warm_up_hours=warm_up,
        sample_s=SAMPLE_S,
        inputs=inputs,
        orders=placed,
        fills=one.engine.tally.fills,
        held_kb=over([round(size) for size in sizes]),
        held_slope=slope(times, sizes),
        last_half_slope=slope(times[half:], sizes[half:]),
        counts={name: over([row.get(name, 0) for row in rows]) for name in rows[-1]},
        grown=[Line(where=where, grown_kb=round(size, 1)) for size, where in grown[:12] if size >= 1],
        faults=dict(one.gateway.counts),
    )
