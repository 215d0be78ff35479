"""One life of an agent: the shipped `Agent` in a process of its own, which may kill itself at a given step.

Steps are counted at every place where a kill leaves something different behind: before and after each resumption of
each task, before and after each commit of the journal, before and after each write of an HTTP connection.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
from aiohttp.http_writer import StreamWriter
from msgspec import Struct

from adapters.simulator import DEMO_KEY, DEMO_SECRET
from agent.cli.build import dialects_of
from agent.config import Account, Portfolio
from agent.core.desk import Step
from agent.core.drift import Bands
from agent.core.planner import Execution, Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Credentials, Place, Secret
from agent.run import Agent
from tests.kill.quick import QuickLoop, clock

T = TypeVar("T")
WEIGHTS = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": -0.2}
LONGEST_S = 90
"""Real seconds a life may take before it counts as one that never comes to rest."""


class Birth(Struct, frozen=True):
    """Where an agent lives and how.

    ``kill_at``: the step at which it dies by its own hand; None: never. ``stays``: it lives on when it has come to
    rest, until SIGTERM. ``blocks_s``: once it has decided on its first order, its loop does nothing for so long, in
    its own time.
    """

    rest_url: str
    stream_url: str
    folder: str
    speed: float
    zero: int
    maker: bool
    kill_at: int | None = None
    stays: bool = False
    blocks_s: float = 0.0


class Rest(Struct, frozen=True):
    """What an agent believes once it has come to rest."""

    positions: dict[str, str]
    """By symbol, in contracts or coins, signed."""
    reach: float
    """The largest drift as a part of its band."""


class Life(Struct, frozen=True):
    """How a life went. ``status`` is what `os.waitpid` says; ``ticks`` is None when it was killed."""

    status: int
    ticks: int | None = None
    before_orders: int = 0
    """Steps that it had made when its first order was decided on."""
    died: str | None = None
    """The step at which it killed itself, in words."""
    rest: Rest | None = None


class Word(Struct, frozen=True, omit_defaults=True):
    """What a life says of itself before it ends."""

    died: str | None = None
    ticks: int | None = None
    before_orders: int = 0
    rest: Rest | None = None


class Steps:
    """Counts the steps of a life and ends it at one of them."""

    def __init__(self, birth: Birth, say: Callable[[Word], None]) -> None:
        self.count = 0
        self.before_orders = 0
        """How many there had been when the first order was decided on."""
        self._birth = birth
        self._say = say

    def tick(self, where: str) -> None:
        """One more step has been reached."""
        self.count += 1
        if self.count == self._birth.kill_at:
            self._say(Word(died=where))
            os.kill(os.getpid(), signal.SIGKILL)

    def seen(self, _now: int, step: Step) -> None:
        """Look at what the agent has just decided."""
        requests = (request for decision in step.decisions for request in decision.requests)
        if not self.before_orders and any(isinstance(request, Place) for request in requests):
            self.before_orders = self.count
            if self._birth.blocks_s:
                asyncio.get_running_loop().call_soon(time.sleep, self._birth.blocks_s / self._birth.speed)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count the resumptions of this loop's tasks, the commits of SQLite and the writes of aiohttp."""

        def made(
            loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T], **how: Any
        ) -> asyncio.Task[T]:
            assert isinstance(coroutine, Coroutine)
            return asyncio.Task(_Stepped(coroutine, self.tick), loop=loop, **how)

        loop.set_task_factory(made)
        apsw.connection_hooks.append(self._watch_commits)
        write, writelines = StreamWriter._write, StreamWriter._writelines

        def written(writer: StreamWriter, chunk: Any) -> None:
            self.tick("before a write")
            write(writer, chunk)
            self.tick("after a write")

        def all_written(writer: StreamWriter, chunks: Any) -> None:
            self.tick("before a write")
            writelines(writer, chunks)
            self.tick("after a write")

        StreamWriter._write = written  # type: ignore[method-assign,assignment]
        StreamWriter._writelines = all_written  # type: ignore[method-assign,assignment]

    def _watch_commits(self, connection: apsw.Connection) -> None:
        def told(event: dict[str, Any]) -> None:
            if event.get("sql") == "COMMIT":
                when = "before" if event["code"] == apsw.SQLITE_TRACE_STMT else "after"
                self.tick(f"{when} a commit")

        connection.trace_v2(apsw.SQLITE_TRACE_STMT | apsw.SQLITE_TRACE_PROFILE, told)


class _Stepped(Coroutine[Any, Any, T]):
    """A coroutine that counts where it is resumed and where it comes to wait again."""

    def __init__(self, inner: Coroutine[Any, Any, T], tick: Callable[[str], None]) -> None:
        self._inner = inner
        self._tick = tick
        self._name = getattr(inner, "__qualname__", type(inner).__name__)

    def send(self, value: Any) -> Any:
        self._tick(f"before {self._name}")
        try:
            return self._inner.send(value)
        finally:
            self._tick(f"after {self._name}")

    def throw(self, *error: Any) -> Any:
        self._tick(f"before {self._name}")
        try:
            return self._inner.throw(*error)
        finally:
            self._tick(f"after {self._name}")

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()


def portfolio(birth: Birth) -> Portfolio:
    """A long, another long and a short, in orders of at most a fifth of equity."""
    return Portfolio(
        mode="live",
        state=birth.folder,
        account=Account(key="env:NOWHERE", secret="env:NOWHERE", rest_url=birth.rest_url, stream_url=birth.stream_url),
        targets=Targets(weights=dict(WEIGHTS), leverage=1.0),
        bands=Bands(destination="target"),
        triggers=Triggers(confirm_s=0.05, cool_down_s=0.2),
        limits=Limits(order_notional=20_000.0),
        execution=Execution(style="maker" if birth.maker else "taker", patience_s=1.0),
    )


def at_rest(agent: Agent) -> bool:
    """Everything is known, nothing is under way, and nothing is outside its band."""
    engine = agent.engine
    busy = engine.correction is not None or bool(engine.blotter.live()) or engine.unready() is not None
    return not busy and engine.drift is not None and engine.drift.reach < 1


def believed(agent: Agent) -> Rest:
    """What the agent would say."""
    rows, drift = agent.engine.book.rows, agent.engine.drift
    assert drift is not None
    held = {row.symbol: str(row.lots * row.instrument.step) for row in rows if row.instrument is not None and row.lots}
    return Rest(positions=held, reach=drift.reach)


async def live(agent: Agent, birth: Birth, steps: Steps, say: Callable[[Word], None]) -> None:
    """Run until at rest, or until SIGTERM; say what is believed; stop in order."""
    stop = asyncio.Event()

    def speak() -> None:
        if at_rest(agent):
            say(Word(ticks=steps.count, before_orders=steps.before_orders, rest=believed(agent)))
            if not birth.stays:
                stop.set()

    def end() -> None:
        speak()
        stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    running = asyncio.create_task(agent.run(stop))
    while not stop.is_set() and not running.done():
        await asyncio.wait({running}, timeout=0.25)
        if not running.done():
            speak()
    await running


def be_born(birth: Birth, out: int) -> None:
    """Live in this process, which was forked for it, and end it. Words go to the descriptor ``out``."""

    def say(word: Word) -> None:
        os.write(out, msgspec.json.encode(word) + b"\n")

    signal.alarm(LONGEST_S)
    logging.basicConfig(filename=Path(birth.folder) / "log", level=logging.INFO, force=True)
    steps = Steps(birth, say)

    def loop() -> QuickLoop:
        made = QuickLoop(birth.speed)
        steps.watch(made)
        return made

    async def whole() -> None:
        chosen = portfolio(birth)
        dialects = dialects_of(chosen, Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET)))
        agent = Agent(
            chosen, dialects, Path(birth.folder), tag="ki", watch=steps.seen, clock=clock(birth.speed, birth.zero)
        )
        await live(agent, birth, steps, say)

    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(whole())
    except BaseException:
        logging.exception("this life ended in an error")
        os._exit(1)
    os._exit(0)
