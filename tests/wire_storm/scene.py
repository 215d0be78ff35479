"""One storm on the wire: the shipped agent, its journal on disk, and the local exchange's own server, in virtual time.

Between the two run HTTP and websockets, by the libraries that run them in life. What goes wrong is drawn from the
seed: on the network, at the exchange's gate, and on the agent's host, which is suspended, set to another time, or
killed and started again on the journal that it left. Then all of it stops, the agent must come to rest, and the
exchange's books are compared with its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import random
import shutil
import ssl
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs

import apsw
from msgspec import Struct
from msgspec.structs import replace

import agent.run
from adapters.binance import Binance
from adapters.simulator import (
    DEMO_KEY,
    DEMO_SECRET,
    Account,
    Exchange,
    Faults,
    FrameFault,
    RequestFault,
    SeededMarket,
)
from adapters.simulator.binance import Binance as Venue
from adapters.simulator.gateway import Gateway
from adapters.simulator.server import Server
from agent.clock import Clock
from agent.config import Account as Access
from agent.config import Portfolio
from agent.core.desk import Step
from agent.core.drift import Bands
from agent.core.engine import Engine
from agent.core.orders import S, State
from agent.core.planner import Execution
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Credentials, Secret
from agent.core.view import View, look
from agent.journal import Journal
from agent.run import Agent
from tests.core.kit import warm
from tests.storm.storm import SWARM, swarm
from tests.storm.watchman import Violation, Watchman
from tests.wire_storm.loop import HOST, START_NS, world
from tests.wire_storm.tcp import Weather, WiredLoop, wired

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
LOTS = (Decimal("0.001"), Decimal("0.001"), Decimal(1))
STORM_S = 25.0
CALM_S = 120.0
"""How long the agent may take at most to come to rest once all faults have stopped."""
REST_S = 20.0
"""How long it must stay at rest to be believed: every question is asked again in that time."""
KEYS = Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET))
CALM = Weather(delay_ms=1.0)

GATE: tuple[RequestFault | FrameFault, ...] = (
    *SWARM,
    RequestFault("cut", chance=0.05, byte=40),
    RequestFault("drip", on="changes", chance=0.10, ms=5),
    RequestFault("html", on="reads", chance=0.05),
    RequestFault("redirect", chance=0.05),
    RequestFault("unavailable", chance=0.05),
    FrameFault("reset", chance=0.002),
    FrameFault("cut", chance=0.002),
    FrameFault("half open", chance=0.002),
    FrameFault("delay", chance=0.02),
    FrameFault("replay", chance=0.05),
    FrameFault("burst", chance=0.002),
    FrameFault("expire key untold", on="private", chance=0.02),
)
"""What the exchange's gate does, and the most often it does it."""
NETWORK = {
    "pieces": 0.3,
    "cut": 0.3,
    "half_open": 0.1,
    "stalled": 0.2,
    "drip": 0.1,
    "refused": 0.1,
    "unanswered": 0.05,
}
"""What the network does, and the most often it does it; a storm draws half of the kinds, each at a random part."""
HOST_FAULTS = ("crash", "crash in recovery", "suspension", "clock step")


class Outcome(Struct):
    """What a storm did. Times in virtual seconds."""

    seed: int
    faults: dict[str, int]
    """How often each struck."""
    states: dict[str, int]
    """How often the agent was where it gets interesting."""
    orders: int
    doubts: list[float]
    """How long it took to learn what became of each order of unknown fate, without the time in which no agent ran that
    could have asked; from the end of all faults where it was unknown for longer, as nobody learns from a venue that
    does not answer."""
    rest_s: float
    """From the end of all faults to rest."""
    overshoot: float
    """Lots beyond the hull, at the worst."""
    drift: float
    """At rest, as a part of its band; nought where a correction was not worth its cost."""
    digest: str
    """Of all that arrived anywhere, when, and of all decisions."""


class Life(Struct):
    """One run of the agent, from its start to its end or its kill."""

    host: str
    folder: Path
    agent: Agent
    stop: asyncio.Event
    task: asyncio.Task[None]


class WatchedGateway(Gateway):
    """Lets no order pass that is not on disk: what arrives is looked for in the journal before anything is done."""

    written: Callable[[str], bool]
    alarm: Callable[[Violation], None]

    def send(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        now: int,
        *,
        client: str = "127.0.0.1",
    ) -> int:
        """Put a request on its way."""
        if method == "POST" and path == "/fapi/v1/order":
            name = parse_qs(query or body.decode())["newClientOrderId"][0]
            if not self.written(name):
                self.alarm(Violation(f"{name} arrived, and is not in the journal"))
        return super().send(method, path, query, headers, body, now, client=client)


class Glance:
    """What a person may see, seldom worked out anew: once a second it would take a fifth of the time of a storm."""

    def __init__(self) -> None:
        self.view: View | None = None
        self.count = 0

    def __call__(self, engine: Engine, now: int) -> View:
        self.count += 1
        if self.view is None or self.view.epoch != engine.epoch or not self.count % 16:
            self.view = look(engine, now)
        return replace(self.view, at=now, state=engine.state)


class WatchedServer(Server):
    """Has the watchman look at the books after everything that happens."""

    check: Callable[[], None]
    longest_sleep_s = 60.0  # nobody sets the clock

    def settle(self) -> None:
        """Let everything that is due happen now."""
        super().settle()
        self.check()


class Waning(SeededMarket):
    """A wild market that can be told to calm down: prices go on, more slowly, and hardly move."""

    def calm(self) -> None:
        """Move a hundredth as much from now on, and every two seconds: most of the time of a storm would go into prices
        that change nothing."""
        self._volatility = [volatility / 100 for volatility in self._volatility]
        self.step_ms *= 5


class Scene:
    """One storm: what is in it, and its course."""

    def __init__(self, seed: int, folder: Path) -> None:
        dice = random.Random(seed + 1)
        self.seed = seed
        self.folder = folder
        self.dice = random.Random(seed + 2)
        rates = {name: most * dice.random() for name, most in NETWORK.items() if dice.random() < 0.5}
        weather = Weather(delay_ms=dice.choice((0.2, 5.0, 40.0)), **rates)
        self.loop = WiredLoop(seed, weather)
        self.counts: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.market = market = Waning(seed, SYMBOLS, step_ms=400, volatility_scale=2.0)
        weights: dict[str, float] = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": dice.choice((0.2, -0.2))}
        start = [share * 3 * dice.uniform(0.3, 1.7) for share in weights.values()]
        self.prices = market.prices()
        positions = {
            symbol: (Decimal(100_000 * weight) / price).quantize(lot)
            for symbol, weight, price, lot in zip(SYMBOLS, start, self.prices, LOTS, strict=True)
        }
        self.account = Account(balance=100_000, positions=positions)
        self.exchange = Exchange(market, [self.account], seed=seed, speed=600.0)
        self.venue = Venue(self.exchange, rechecks=dice.random() < 0.5)
        self.gateway = WatchedGateway(self.venue, swarm(seed, GATE), sockets=True)
        self.server = WatchedServer(self.gateway, self.loop.now_ns)
        self.warm = dice.random() < 0.5
        self.targets = Targets(weights=dict(weights), leverage=3.0)
        self.bands = Bands(destination=dice.choice(("optimal", "edge", "target")))
        self.execution = Execution(style=dice.choice(("taker", "maker")), patience_s=3.0)
        self.lives: list[Life] = []
        self.gateway.advance(START_NS)  # from now on the account has its positions
        self.watchman = Watchman(self.exchange, self.account, self.targets, self._engine, self.venue.topic)
        self.server.check = self._check
        self.gateway.written, self.gateway.alarm = self._written, self._raise
        self.broken: asyncio.Future[None] = self.loop.create_future()
        self.wall_step_ns = 0
        self.absences: list[tuple[int, int]] = []
        """From when to when no agent ran."""
        self.restless_ns = 0
        """When the agent was last seen not to be at rest."""
        self.loop.network.heard = self._heard
        self.loop.set_exception_handler(lambda _, about: self._failed(about))

    # Who looks

    def _engine(self) -> Engine:
        return self.lives[-1].agent.engine

    def _heard(self, at: int, connection: int, count: int) -> None:
        self.watchman.digest.update(b"%d %d %d;" % (at, connection, count))

    def _raise(self, error: Exception) -> None:
        if not self.broken.done():
            self.broken.set_exception(error)

    def _failed(self, about: dict[str, Any]) -> None:
        """A callback has failed, or a task of which nobody takes the result."""
        error = about.get("exception")
        self._raise(error if isinstance(error, Exception) else RuntimeError(about["message"]))

    def _check(self) -> None:
        try:
            self.watchman.check()
        except Violation as violation:
            self._raise(violation)

    def _watch(self, life: int, step: Step) -> None:
        if life != len(self.lives) - 1:
            return
        try:
            for decision in step.decisions:
                self.watchman.decided(decision, self.loop.now_ns())
        except Violation as violation:
            self._raise(violation)
        engine = self._engine()
        is_inside = engine.drift is not None and (engine.drift.reach <= 1 or engine.declined is not None)
        if engine.correction is not None or engine.blotter.live() or not is_inside:
            self.restless_ns = self.loop.now_ns()

    def _written(self, name: str) -> bool:
        """Whether an order is in a journal on disk, as another process would read it."""
        for life in reversed(self.lives):
            db = apsw.Connection(str(life.folder / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY)
            with contextlib.closing(db):
                if db.execute("SELECT 1 FROM orders WHERE id = ?", (name,)).fetchone():
                    return True
        return False

    # What happens

    def _start(self) -> None:
        """Start the agent, on what the one before it has left."""
        number = len(self.lives)
        folder = self.folder / f"life{number}"
        folder.mkdir()
        if self.lives:
            for name in ("journal.db", "journal.db-wal"):  # the rest is rebuilt, or was held by the dead process
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(self.lives[-1].folder / name, folder / name)
        portfolio = Portfolio(
            mode="live",
            account=Access(rest_url=self.server.rest_url, stream_url=self.server.ws_url),
            targets=self.targets,
            bands=self.bands,
            triggers=Triggers(confirm_s=0.5, cool_down_s=1.0),
            execution=self.execution,
        )
        dialect = Binance(
            symbols=SYMBOLS, credentials=KEYS, rest_url=self.server.rest_url, stream_url=self.server.ws_url
        )
        clock = Clock(lambda: self.loop.now_ns() + self.wall_step_ns, self.loop.monotonic_ns)
        agent = Agent(
            portfolio, [dialect], folder, tag="ws", watch=lambda _, step: self._watch(number, step), clock=clock
        )
        if self.warm and not self.lives:
            warm(agent.engine, [float(price) for price in self.prices], START_NS)
        host, stop = f"agent {number}", asyncio.Event()
        task = self._on(host).run(self.loop.create_task, agent.run(stop))
        task.add_done_callback(self._ended)
        self.lives.append(Life(host, folder, agent, stop, task))

    def _on(self, host: str) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(HOST.set, host)
        return context

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._raise(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    def _crash(self) -> None:
        """Kill the agent where it stands: not one more of its callbacks runs, its journal stays as it is."""
        life = self.lives[-1]
        life.task.remove_done_callback(self._ended)
        self.loop.pause(life.host)
        self.loop.network.crash(life.host)
        live = life.agent.engine.blotter.live()
        self.states["killed with orders of open fate"] += bool(live)
        self.states["killed with orders of unknown fate"] += any(order.state is State.UNKNOWN for order in live)

    def _plan(self) -> list[tuple[float, str]]:
        """What happens to the host, and when, in seconds from the start."""
        dice, plan = self.dice, []
        if dice.random() < 0.6:
            at = dice.uniform(0.0, STORM_S)
            plan.append((at, "crash"))
            if dice.random() < 0.4:
                plan.append((at + dice.uniform(0.0, 4.0), "crash in recovery"))
        if dice.random() < 0.25:
            plan.append((dice.uniform(0.0, STORM_S), "suspension"))
        if dice.random() < 0.15:
            plan.append((dice.uniform(0.0, STORM_S), "clock step"))
        return sorted(plan)

    async def _befall(self, what: str) -> None:
        self.counts[f"host: {what}"] += 1
        since = self.loop.now_ns()
        match what:
            case "crash" | "crash in recovery":
                self._crash()
                await self._pass(self.dice.uniform(0.0, 3.0))
                self.absences.append((since, self.loop.now_ns()))
                self._start()
            case "suspension":
                host = self.lives[-1].host
                self.loop.pause(host)
                await self._pass(self.dice.uniform(0.5, 12.0))
                self.absences.append((since, self.loop.now_ns()))
                self.loop.resume(host)
            case "clock step":
                self.wall_step_ns += round(self.dice.choice((-1, 1)) * self.dice.uniform(1.5, 20.0) * S)

    async def _pass(self, seconds: float) -> None:
        """Let time pass, unless something breaks."""
        await asyncio.wait([self.broken], timeout=seconds)
        if self.broken.done():
            await self.broken

    async def play(self) -> Outcome:
        """The storm, the calm after it, and the audit; raises `Violation`."""
        loop = self.loop
        await self._on("exchange").run(loop.create_task, self.server.start("127.0.0.1", 0))
        self._start()
        for at, what in self._plan():
            await self._pass(max(0.0, at - loop.time()))
            await self._befall(what)
        await self._pass(max(0.0, STORM_S - loop.time()))
        healed_ns = loop.now_ns()
        self.gateway.faults = Faults(seed=self.seed, delay_ms=1.0)
        loop.network.weather = CALM
        self.market.calm()
        while loop.now_ns() < healed_ns + CALM_S * S:
            await self._pass(1.0)
            if loop.now_ns() - max(self.restless_ns, healed_ns) > REST_S * S:
                break
        last = self.lives[-1]
        last.agent.journal.flush()
        with contextlib.closing(Journal.read(last.folder / "journal.db")) as records:
            orders = records.orders(limit=1_000_000)
        self.watchman.audit({order.id for order in orders})
        self.watchman.compare(orders)
        if any(gate.banned_until_ms for gate in self.venue._gates.values()):
            raise Violation("the exchange has banned the agent's address")
        self.states.update(f"unknown, then {how}" for how, *_ in self.watchman.resolved.values())
        drift = last.agent.engine.drift
        assert drift is not None
        return Outcome(
            seed=self.seed,
            faults=self._struck(),
            states=dict(self.states),
            orders=len(self.watchman.intended),
            doubts=[
                self._waited(max(since, healed_ns) if learnt > healed_ns else since, learnt) / S
                for _, since, learnt in self.watchman.resolved.values()
            ],
            rest_s=max(0, self.restless_ns - healed_ns) / S,
            overshoot=float(self.watchman.overshoot),
            drift=0.0 if last.agent.engine.declined else drift.reach,
            digest=self.watchman.digest.hexdigest(),
        )

    def _waited(self, since: int, until: int) -> int:
        """Nanoseconds between two moments in which an agent ran."""
        return until - since - sum(max(0, min(until, end) - max(since, start)) for start, end in self.absences)

    def _struck(self) -> dict[str, int]:
        network = {f"network: {name}": count for name, count in self.loop.network.counts.items()}
        return {**self.counts, **self.gateway.counts, **network}

    async def clear(self) -> None:
        """End everything in order, that nothing of this world outlives it: the dead last."""
        *dead, last = self.lives
        last.task.remove_done_callback(self._ended)
        last.stop.set()
        await asyncio.wait([last.task], timeout=60)
        for life in reversed(dead):
            life.task.cancel()
            self.loop.network.bury(life.host)
            self.loop.resume(life.host)
        await asyncio.wait([life.task for life in self.lives], timeout=60)
        await self.server.close()
        rest = sorted(asyncio.all_tasks() - {asyncio.current_task()}, key=asyncio.Task.get_name)
        for task in rest:  # in an order that does not depend on where they lie in memory
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


@cache
def _tls() -> ssl.SSLContext:
    """The context that every transport wants and none uses here; making one reads every certificate of the system."""
    return ssl.create_default_context()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without log lines and without garbage collection in the middle, which together would take most of the time."""
    before = logging.root.manager.disable
    logging.disable()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(before)


def storm(seed: int) -> Outcome:
    """Run a storm; raises `Violation` with the seed in its message."""
    tls = _tls()
    with (
        _silence(),
        tempfile.TemporaryDirectory(prefix="wire-storm-", dir=_memory()) as folder,
        patch.object(ssl, "create_default_context", lambda: tls),
        patch.object(agent.run, "look", Glance()),
        wired,
    ):
        scene = Scene(seed, Path(folder))
        with world(scene.loop):
            try:
                return scene.loop.run_until_complete(scene.play())
            except Violation as violation:
                raise Violation(f"seed {seed}: {violation}") from violation
            finally:
                scene.loop.run_until_complete(scene.clear())
                scene.loop.close()


def _memory() -> Path | None:
    """Where files need no disk, if there is such a place."""
    shm = Path("/dev/shm")  # noqa: S108 — a directory of its own is made in it
    return shm if shm.is_dir() else None
