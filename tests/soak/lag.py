"""How late the decision loop is: an agent at three times the soak's rate, and a thread of its own that asks the loop.

``python -m tests.soak.lag OPTIONS`` is the agent's process; `lag` starts it beside an exchange, and gives its figures.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import tempfile
import threading
from pathlib import Path
from time import perf_counter, sleep

import msgspec
import uvloop
from msgspec import Struct

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Faults
from agent.cli.build import dialects_of
from agent.core.venue import Credentials, Secret
from agent.run import Agent
from tests.soak import exchange
from tests.soak.agent import Options, Sampler, portfolio
from tests.soak.real import PACE, SPEED, SYMBOLS, Soak, _line

TIMES = 3.0
ASK_S = 0.005
"""How often the loop is asked."""


class Asked(Struct, frozen=True):
    """What to run: on ``loop`` uvloop or asyncio, for ``seconds``, of which the first ``warm_up_s`` don't count."""

    agent: Options
    loop: str
    seconds: float
    warm_up_s: float


class Lag(Struct, frozen=True):
    """How long the loop took to answer, in milliseconds."""

    loop: str
    asked: int
    inputs_a_second: float
    half: float
    p99: float
    p999: float
    most: float


class Asker(threading.Thread):
    """Asks a loop to call back, again and again, and notes how long that takes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.loop = loop
        self.waits: list[float] = []
        self.over = False

    def run(self) -> None:
        """Ask until it is over."""
        while not self.over:
            self.loop.call_soon_threadsafe(self.note, perf_counter())
            sleep(ASK_S)

    def note(self, asked_at: float) -> None:
        """The loop has got round to it."""
        self.waits.append(perf_counter() - asked_at)


async def run(asked: Asked) -> None:
    """Run the agent, ask, and say what came of it."""
    stop, sampler = asyncio.Event(), Sampler()
    chosen = portfolio(asked.agent)
    dialects = dialects_of(chosen, Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET)))
    agent = Agent(chosen, dialects, Path(asked.agent.folder), tag="lg", watch=sampler.watch)
    running = asyncio.create_task(agent.run(stop))
    await asyncio.wait({running}, timeout=asked.warm_up_s)
    asker, before = Asker(asyncio.get_running_loop()), sampler.inputs
    asker.start()
    await asyncio.wait({running}, timeout=asked.seconds - asked.warm_up_s)
    asker.over = True
    inputs = sampler.inputs - before
    stop.set()
    await running
    waits = sorted(asker.waits)

    def at(part: float) -> float:
        return round(waits[min(len(waits) - 1, int(part * len(waits)))] * 1_000, 3)

    rate = round(inputs / (asked.seconds - asked.warm_up_s), 1)
    found = Lag(asked.loop, len(waits), rate, at(0.5), at(0.99), at(0.999), at(1.0))
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")


def lag(loop: str, seconds: float) -> Lag:
    """The figures of one loop; a quarter of the time is for warming up."""
    served = exchange.Options(symbols=SYMBOLS, pace=TIMES * PACE, speed=SPEED, seed=1, faults=Faults())
    market = Soak._start([sys.executable, "-m", "tests.soak.exchange"], served)
    try:
        where = msgspec.json.decode(_line(market), type=exchange.Listening)
        with tempfile.TemporaryDirectory(prefix="trimtab-lag-") as folder:
            options = Options(where.rest_url, where.stream_url, folder, SYMBOLS, seconds)
            agent = Soak._start([sys.executable, "-m", "tests.soak.lag"], Asked(options, loop, seconds, seconds / 4))
            try:
                out, _ = agent.communicate(timeout=seconds + 60)
            finally:
                agent.kill()
                agent.wait()
        return msgspec.json.decode(out, type=Lag)
    finally:
        market.kill()
        market.wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    told = msgspec.json.decode(sys.argv[1], type=Asked)
    gc.collect()
    gc.freeze()
    factory = uvloop.new_event_loop if told.loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run(told))
