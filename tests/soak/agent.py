"""The agent of a soak, in a process of its own: ``python -m tests.soak.agent OPTIONS``, as JSON.

What is shipped: `Agent` with its transport, and its journal on disk, on uvloop. Every few seconds it says how much of
everything there is, until it is told to stop.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections import Counter
from pathlib import Path
from time import monotonic

import msgspec
import uvloop
from msgspec import Struct

from adapters.binance import NAMES_MAX, Binance
from adapters.simulator import DEMO_KEY, DEMO_SECRET
from agent.cli.build import dialects_of
from agent.config import Account, Portfolio
from agent.core.desk import Step
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.engine import Engine
from agent.core.orders import KEEP_TRADES
from agent.core.planner import Execution, Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Credentials, Dialect, Open, Place, Secret
from agent.run import Agent
from tests.soak.tables import tables

LEVERAGE = 2.0
PATIENT_DAYS = 365.0
"""Time for a correction to pay: so much that each does, since trading is what is watched."""


class Options(Struct, frozen=True):
    """``every_s``: how often to say how much there is."""

    rest_url: str
    stream_url: str
    folder: str
    symbols: tuple[str, ...]
    every_s: float


class Sample(Struct, frozen=True):
    """How much there is of everything that could pile up."""

    at_s: float
    seq: int
    """Decisions made so far."""
    inputs: int
    """Inputs taken so far."""
    orders: int
    fills: int
    reconnects: int
    tasks: int
    timers: int
    """Timers and callbacks that the loop or anybody else still holds."""
    objects: int
    """Python objects that the garbage collector follows."""
    counts: dict[str, int]
    """Whatever the agent keeps in queues and tables."""
    journal_bytes: int
    wal_bytes: int


def portfolio(options: Options) -> Portfolio:
    """Equal parts, and bands so narrow that it trades all the time."""
    weights = {symbol: 1 / len(options.symbols) for symbol in options.symbols}
    return Portfolio(
        mode="live",
        state=options.folder,
        account=Account(
            key="env:NOWHERE", secret="env:NOWHERE", rest_url=options.rest_url, stream_url=options.stream_url
        ),
        targets=Targets(weights=dict(weights), leverage=LEVERAGE),
        bands=Bands(tolerance=0.002, destination="target"),
        economy=Economy(payback_days=PATIENT_DAYS),
        triggers=Triggers(confirm_s=0.5, cool_down_s=10.0),
        limits=Limits(turnover_per_day=10_000.0, orders_per_minute=600),
        execution=Execution(style="maker", patience_s=2.0),
    )


def counts(agent: Agent) -> dict[str, int]:
    """What there is in every queue and table."""
    sessions = agent.transport._sessions.values()
    links = [session.connection for session in sessions if session.connection is not None]
    return {
        **tables(agent.desk, agent.transport),
        "Lanes.all": sum(len(lane) for lane in agent.desk.channels[0].lanes.waiting.values()),
        "session.says": sum(session.says.qsize() for session in sessions),
        "connection.frames": sum(len(link.recv_messages.frames) for link in links),
    }


def fill(engine: Engine, dialect: Dialect) -> None:
    """Fill the tables of the last trades and orders: within days of trading they are full, and grow no more."""
    assert isinstance(dialect, Binance)
    for number in range(NAMES_MAX):
        dialect._names[f"{9_000_000_000 + number}"] = f"{number:017}"
    for number in range(KEEP_TRADES):
        engine.blotter.trades[0, f"{9_000_000_000 + number}"] = None
        engine.book._trades[0, f"{9_000_000_000 + number}"] = None


class Sampler:
    """Looks at a running agent, told of each of its steps."""

    def __init__(self) -> None:
        self.agent: Agent
        self.inputs = 0
        self.orders = 0
        self.opens = 0
        self._started = monotonic()
        self._started = monotonic()

    def watch(self, _now: int, step: Step) -> None:
        """One more step."""
        self.inputs += 1
        self.opens += sum(isinstance(act, Open) for act in step.acts)
        for decision in step.decisions:
            self.orders += sum(isinstance(request, Place) for request in decision.requests)

    def sample(self) -> Sample:
        """How much there is now."""
        kinds = Counter(type(one).__name__ for one in gc.get_objects())
        engine, folder = self.agent.engine, self.agent.folder
        wal = folder / "journal.db-wal"
        return Sample(
            at_s=round(monotonic() - self._started, 3),
            seq=engine.seq,
            inputs=self.inputs,
            orders=self.orders,
            fills=engine.tally.fills,
            reconnects=max(0, self.opens - len(engine.guards[0].readiness.streams)),
            tasks=len(asyncio.all_tasks()),
            timers=kinds["TimerHandle"] + kinds["Handle"] + kinds["UVTimer"],
            objects=kinds.total(),
            counts=counts(self.agent),
            journal_bytes=(folder / "journal.db").stat().st_size,
            wal_bytes=wal.stat().st_size if wal.exists() else 0,
        )


async def run(options: Options) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    chosen = portfolio(options)
    dialects = dialects_of(chosen, Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET)))
    sampler = Sampler()
    agent = sampler.agent = Agent(chosen, dialects, Path(options.folder), tag="so", watch=sampler.watch)
    fill(agent.engine, dialects[0])
    running = asyncio.create_task(agent.run(stop))
    while not running.done():
        await asyncio.wait({running}, timeout=options.every_s)
        if not running.done():
            sys.stdout.buffer.write(msgspec.json.encode(sampler.sample()) + b"\n")
            sys.stdout.buffer.flush()
    await running


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    chosen_options = msgspec.json.decode(sys.argv[1], type=Options)
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(chosen_options))
