"""The benchmark: from a price to an order, beside a bare echo and beside ccxt.pro, in one run on one machine.

The exchange runs in a process of its own and takes both times of a round with one clock: when it hands a frame to its
websocket, and when the order that answers it has arrived. The client runs in this process and does nothing else. Each
client gets a fresh exchange, the same prices at the same pace, and the same measuring points; the bare echo too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import random
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from math import ceil
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any, TypeVar

import aiohttp
import msgspec
import uvloop
from aiohttp import WSMsgType, web
from msgspec import Struct
from rich import box
from rich.table import Table
from websockets.asyncio.client import ClientConnection

from adapters.binance import Binance
from adapters.simulator import DEMO_KEY, DEMO_SECRET, Exchange, Gateway, Server, StillMarket, wire
from adapters.simulator import Account as Holder
from adapters.simulator import Binance as Wire
from adapters.simulator.binance_streams import Session
from agent import transport
from agent.cli.build import state_home
from agent.config import Account, Portfolio
from agent.core import events as fact
from agent.core.audit import ANSWERS
from agent.core.band import LANDING as EDGE
from agent.core.band import band_of, noises, penalty_of
from agent.core.book import Book
from agent.core.costs import Costs
from agent.core.covariance import prior_of
from agent.core.decisions import Decision, Policy
from agent.core.desk import Frame, Input, Step
from agent.core.drift import Bands, measure
from agent.core.economy import WORTH, Economy
from agent.core.engine import Engine
from agent.core.events import Fact
from agent.core.guard import Seat
from agent.core.instruments import Instrument, Tier
from agent.core.orders import MS, S
from agent.core.planner import Guide, Limits, destination, plan
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Abilities, Credentials, Open, Place, Secret
from agent.log import JsonLine
from agent.run import VERSION, Agent

PRICES = {"BTCUSDT": "100000", "ETHUSDT": "4000", "SOLUSDT": "200"}
WEIGHTS = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}
EQUITY = 100_000
MOVER = "BTCUSDT"
HIGH, LOW = "102000", "98000"
"""The marks between which the mover jumps. At 1x each jump takes it out of its band, and it alone."""
TOLERANCE, LANDING = 0.004, 0.75
PATIENT_DAYS, AVERSE = 365.0, 100.0
"""Time for a correction to pay, and how much risk is disliked: so much of both that each is worth its cost, as
trades are what is measured."""
ORDER_PATH = "/fapi/v1/order"
ENTRY_PATH = "/ws-fapi/v1"
PACE_S = (0.03, 0.05)
"""Pause between two rounds: within the venue's 300 orders in 10 s, and not in step with any timer."""
ANSWER_S = 1.0
"""A round without an order for so long is missed."""
READY_S = 20.0
SIZES = (3, 10, 30, 100)
PLAN_SIZES = (3, 30, 200)
SEED, WARM_LAPS = 17, 3
LAPS = 10
"""Samples of each calculation for each round on sockets."""


class Options(Struct, frozen=True):
    """How much to measure: ``rounds`` for each client, for at most ``seconds`` each."""

    rounds: int = 200
    seconds: float = 15.0


class Row(Struct, frozen=True, omit_defaults=True):
    """One measurement. Times in microseconds; ``ratio`` is the median over the floor's."""

    name: str
    label: str
    what: str
    """What exactly is included."""
    count: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None
    ratio: float | None = None
    missed: int = 0
    """Rounds in which no order came."""
    skipped: str | None = None
    """Why there are no figures."""


class Report(Struct, frozen=True):
    """A whole run."""

    at: str
    machine: dict[str, Any]
    rounds: int
    rows: list[Row]

    @property
    def ok(self) -> bool:
        """Everything that can be measured here was measured."""
        return all(row.count for row in self.rows if row.skipped is None)


WARM_UP = Options(rounds=6, seconds=5.0)
"""Rounds before the first that counts: connections stand, and the code has been run."""

Say = Callable[[str], None]
T = TypeVar("T")


async def run(options: Options, stop: asyncio.Event, say: Say) -> Report:
    """Measure everything, one after the other; ``say`` is told what comes next."""
    with _folders() as (disk, memory), _log_lines(disk):
        machine = _machine(disk)
        say("calculations")
        mark, quote = _frames()
        alone = _decoding(mark, quote, LAPS * options.rounds)
        alone += [_stepping(size, LAPS * options.rounds) for size in SIZES]
        alone += [_planning(size, options.rounds) for size in PLAN_SIZES]
        say("a bare echo")
        floor = await _floor(options, stop, mark)
        say("trimtab, journal on disk")
        order, *parts = await _trimtab(options, stop, disk, "disk")
        if memory is None:
            why = "there is no folder in memory here"
            unsynced = [Row("order_memory", "trimtab: tick to order, journal in memory", "", skipped=why)]
            said = Row("entry_memory", "trimtab: the same, orders by websocket", "", skipped=why)
        else:
            say("trimtab, journal in memory")
            unsynced = await _trimtab(options, stop, memory, "memory")
            say("trimtab, journal in memory, orders by websocket")
            said, *_ = await _trimtab(options, stop, memory, "memory", entry=True)
        say("ccxt.pro")
        naive = await _ccxt(options, stop)
    rows = [floor, order, unsynced[0], said, naive, *parts, *unsynced[3:], *alone]
    base = floor.p50
    rows = [msgspec.structs.replace(row, ratio=round(row.p50 / base, 4) if base and row.p50 else None) for row in rows]
    return Report(datetime.now(UTC).isoformat(timespec="seconds"), machine, options.rounds, rows)


def table(report: Report) -> Table:
    """The report as a person reads it."""
    machine = report.machine
    title = f"{machine['cpu']}, {machine['cores']} cores (load {machine['load'][0]:g}), Python {machine['python']}, µs"
    shown = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    shown.add_column("", no_wrap=True)
    for name in ("p50", "p90", "p99", "max", "count", "x floor"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        if row.skipped is not None:
            shown.add_row(f"{row.label}: {row.skipped}", style="dim")
            continue
        times = ("–" if value is None else f"{value:,.1f}" for value in (row.p50, row.p90, row.p99, row.max))
        shown.add_row(row.label, *times, str(row.count), "–" if row.ratio is None else f"{row.ratio:.3g}")
    return shown


def _row(name: str, label: str, what: str, samples_ns: list[int], missed: int = 0) -> Row:
    if not samples_ns:
        return Row(name, label, what, missed=missed)
    ordered = sorted(samples_ns)

    def rank(part: float) -> float:
        return ordered[max(0, ceil(part * len(ordered)) - 1)] / 1000

    return Row(name, label, what, len(ordered), rank(0.5), rank(0.9), rank(0.99), ordered[-1] / 1000, missed=missed)


# Calculations alone


def _frames() -> tuple[bytes, bytes]:
    """A mark price frame and a book ticker frame, as the local exchange sends them."""
    wire = Wire(Exchange(StillMarket(PRICES), [Holder()]))
    now = 1_790_000_000 * S
    wire.advance(now)
    name = MOVER.lower()
    wire.connect(f"/market/stream?streams={name}@markPrice@1s", now)
    wire.connect(f"/public/stream?streams={name}@bookTicker", now)
    mark, quote = (frame for _, frame in wire.advance(now + S) if isinstance(frame, bytes))
    return mark, quote


def _decoding(mark: bytes, quote: bytes, laps: int) -> list[Row]:
    dialect = Binance(symbols=tuple(PRICES), credentials=None)
    marks, quotes = [], []
    update = msgspec.json.decode(quote)["data"]["u"]
    for lap in range(laps):
        start = monotonic_ns()
        dialect.on_frame("market", mark, start)
        marks.append(monotonic_ns() - start)
        newer = quote.replace(str(update).encode(), str(update + lap + 1).encode())  # an old one would be dropped
        start = monotonic_ns()
        dialect.on_frame("public", newer, start)
        quotes.append(monotonic_ns() - start)
    what = f"bytes to facts, {len(mark)} bytes"
    return [
        _row("decode_mark", "decode a mark price frame", what, marks),
        _row("decode_quote", "decode a book ticker frame", f"bytes to facts, {len(quote)} bytes", quotes),
    ]


def _stepping(size: int, laps: int) -> Row:
    """`Engine.step` on a new price of one of ``size`` instruments, all held and all inside their band."""
    symbols = [f"C{index:03d}USDT" for index in range(size)]
    targets = Targets(weights=dict.fromkeys(symbols, 1 / size), leverage=1.0)
    engine = Engine(
        Policy(mode="live", targets=targets),
        epoch=1,
        seats=(Seat("be", Abilities(answers=frozenset(ANSWERS), sockets=("market",))),),
        schedule=lambda now: None,
    )
    now = 1_790_000_000 * S
    engine.step([fact.Wake()], now)
    engine.step([fact.Clock(0, 0), fact.Listed(tuple(map(_listing, range(size), symbols)))], now + MS)
    engine.step(list(_account(size, now + 2 * MS)), now + 2 * MS)
    assert engine.state == "holding", engine.state
    samples = []
    for lap in range(laps):
        now += MS
        facts: list[Fact] = [
            fact.Mark(lap % size, 100 + lap % 7 / 100, 100.0, now),
            fact.Funding(lap % size, 0.0001, now + 3600 * S, now),
        ]
        start = monotonic_ns()
        decision = engine.step(facts, now)
        samples.append(monotonic_ns() - start)
        assert not decision.orders, "the price has left the band"
    what = "book, drift, triggers and the questions that are due; no decoding"
    return _row(f"step_{size}", f"one step, {size} instruments", what, samples)


def _planning(size: int, laps: int) -> Row:
    """`planner.plan` for ``size`` instruments, each time another portfolio that has drifted: long and short, at 3x."""
    dice, samples = random.Random(SEED), []
    symbols = [f"C{index:03d}USDT" for index in range(size)]
    bands, limits = Bands(), Limits()
    for lap in range(WARM_LAPS + laps):
        shares = [dice.expovariate(1.0) + 0.05 for _ in symbols]
        signed = [share / sum(shares) * dice.choice((1, 1, -1)) for share in shares]
        targets = Targets(weights=dict(zip(symbols, signed, strict=True)), leverage=3.0)
        book, now = Book(symbols), 1_790_000_000 * S
        book.apply(fact.Listed(tuple(map(_listing, range(size), symbols))), now)
        for told in _account(size, now):
            book.apply(told, now)
        lots = [round(3 * share * dice.lognormvariate(0.0, 0.15) * EQUITY / 100 * 1000) for share in signed]
        held = [fact.Position(i, fact.Side.NET, many, 100.0, now) for i, many in enumerate(lots)]
        book.apply(fact.Positions(tuple(held), (), now), now + 60 * S)
        book.apply(fact.Positions(tuple(held), (), now), now + 120 * S)
        drift = measure(book, targets, bands)
        assert drift is not None, "everything is known"
        penalty = penalty_of(prior_of([symbol.removesuffix("USDT") for symbol in symbols]), Economy().correlation_trust)
        band = band_of(penalty, noises(penalty, drift.weights), [0.0006] * size, Economy().risk_aversion)
        guide = Guide(
            penalty=penalty,
            prices=[EDGE * width for width in band.widths],
            least=[WORTH * band.alone(index) for index in range(size)],
        )
        start = monotonic_ns()
        to = destination(book, drift, limits, guide=guide, part=bands.landing)
        plan(book, drift, limits, Costs(), to, maker=False)
        if lap >= WARM_LAPS:
            samples.append(monotonic_ns() - start)
    what = "the joint problem, whole lots, legs with their costs; default limits; another portfolio each time"
    return _row(f"plan_{size}", f"one plan, {size} instruments", what, samples)


def _listing(index: int, symbol: str) -> Instrument:
    return Instrument(
        index, "bench", symbol, symbol.removesuffix("USDT"), "USDT", "USDT", Decimal("0.01"), Decimal("0.001"), 1,
        10**9, 10**9, 5.0,
    )  # fmt: skip


def _account(size: int, now: int) -> Iterable[Fact]:
    """The answers to every question: each instrument holds its part of the equity."""
    yield fact.Up("market")
    yield fact.Mode(hedge=False, multi_asset=False, can_trade=True)
    yield fact.Owner("bench")
    yield fact.Rights(withdraw=False, transfer=False, trade=True, bound=True, expires_at=None)
    yield fact.Margin(EQUITY, EQUITY, 0.0, 0.0, EQUITY, now)
    yield fact.Balance("USDT", EQUITY, now)
    yield fact.Orders((), now)
    for index in range(size):
        yield fact.Tiers(index, (Tier(0, 10**9, 0.01, 0, 50),))
        yield fact.Leverage(index, 20)
        yield fact.Fees(index, 0.0002, 0.0005)
        yield fact.Interval(index, 8.0)
        yield fact.Mark(index, 100.0, 100.0, now)
    lots = round(EQUITY / size / 100 * 1000)
    held = (fact.Position(index, fact.Side.NET, lots, 100.0, now) for index in range(size))
    yield fact.Positions(tuple(held), (), now)


# Rounds on sockets, seen from the client


async def _rounds(
    exchange: _Child, options: Options, stop: asyncio.Event, settled: Callable[[], bool]
) -> tuple[list[int], int]:
    """The mover jumps up and down; how long each order took to arrive, and how many never did."""
    samples: list[int] = []
    missed = 0
    pace = random.Random(1)
    deadline = monotonic() + options.seconds
    for number in range(options.rounds):
        if stop.is_set() or (number and monotonic() > deadline):
            break
        took = await exchange.jump(LOW if number % 2 else HIGH)
        await _until(settled, stop, ANSWER_S)
        await exchange.remind()
        await asyncio.sleep(pace.uniform(*PACE_S))
        if took is None:
            missed += 1
        else:
            samples.append(took)
    return samples, missed


async def _floor(options: Options, stop: asyncio.Event, frame: bytes) -> Row:
    """The same libraries with nothing in between: a frame comes, a bare POST goes."""
    async with _child("echo", frame.decode()) as echo, aiohttp.ClientSession() as http:
        socket = await transport._connect(Open("echo", f"{echo.stream}/ws", None), ssl.create_default_context())
        answering = asyncio.create_task(_answer(socket, http, f"{echo.rest}{ORDER_PATH}"))
        try:
            await _rounds(echo, WARM_UP, stop, lambda: True)
            samples, missed = await _rounds(echo, options, stop, lambda: True)
        finally:
            answering.cancel()
            await asyncio.wait({answering})
            await socket.close()
    what = (
        "a frame of the same size leaves an aiohttp websocket, the client takes it with websockets, set as for "
        "trading, and makes a bare POST with aiohttp; until its handler is called. Server in a process of its own"
    )
    return _row("floor", "floor: bare frame to bare POST", what, samples, missed)


async def _answer(socket: ClientConnection, http: aiohttp.ClientSession, url: str) -> None:
    while True:
        data = await socket.recv(decode=False)
        if data != REMINDER:
            async with http.post(url) as response:
                await response.read()


class _Watched(Agent):
    """The agent with a stopwatch at its doors. Prices alone are measured, not what the account says."""

    def __init__(self, portfolio: Portfolio, dialect: Binance, folder: Path) -> None:
        super().__init__(portfolio, [dialect], folder, tag="be", watch=self._note)
        self.begin()

    def begin(self) -> None:
        """Forget what was measured so far."""
        self.holds: list[int] = []
        self.decisions: list[int] = []
        self.records: list[int] = []
        self._began: int | None = None
        self._quiet_step = False

    def settled(self) -> bool:
        """Nothing is under way."""
        return self.engine.correction is None and not self.engine.blotter.live()

    def _take(self, arrived: Input) -> None:
        began = monotonic_ns()
        self._began = began if isinstance(arrived, Frame) and arrived.socket == "market" else None
        super()._take(arrived)
        if self._began is not None and self._quiet_step and self.settled():
            self.holds.append(monotonic_ns() - began)

    def _write(self, decision: Decision, record: bytes) -> int:
        decided = monotonic_ns()
        took = super()._write(decision, record)
        if self._began is not None and any(isinstance(request, Place) for request in decision.requests):
            self.decisions.append(decided - self._began)
            self.records.append(monotonic_ns() - decided)
        return took

    def _note(self, now: int, step: Step) -> None:
        self._quiet_step = not any(decision.requests or decision.notes for decision in step.decisions)


async def _trimtab(
    options: Options, stop: asyncio.Event, folder: Path, where: str, *, entry: bool = False
) -> list[Row]:
    async with _child("exchange") as exchange:
        credentials = Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET))
        dialect = Binance(
            symbols=tuple(WEIGHTS),
            credentials=credentials,
            rest_url=exchange.rest,
            stream_url=exchange.stream,
            entry_url=f"{exchange.stream}{ENTRY_PATH}" if entry else None,
        )
        agent = _Watched(_portfolio(exchange, folder), dialect, folder)
        end = asyncio.Event()
        running = asyncio.create_task(agent.run(end))
        try:
            await _until(lambda: agent.engine.state == "holding" or running.done(), stop, READY_S)
            await _rounds(exchange, WARM_UP, stop, agent.settled)
            agent.begin()
            samples, missed = await _rounds(exchange, options, stop, agent.settled)
        finally:
            end.set()
            await running
    kept = f"on disk ({_filesystem(folder)})" if where == "disk" else "in memory"
    door = "it reads order.place from another websocket" if entry else f"its handler of POST {ORDER_PATH} is called"
    wire = (
        f"the exchange hands the frame to its websocket's queue; until {door}. "
        f"In between: the whole agent, the order in the journal {kept}, log lines, the signed request"
    )
    held = "decoding, book, drift, triggers, encoding of the decision, next timer; nothing is written"
    decided = "decoding, book, drift, triggers, planner, gates, order, rate budget, signing, encoding of the decision"
    written = "decision and order appended, committed, synced; log lines. It comes before the order leaves"
    return [
        _row(
            f"entry_{where}" if entry else f"order_{where}",
            "trimtab: the same, orders by websocket" if entry else f"trimtab: tick to order, journal {kept}",
            wire,
            samples,
            missed,
        ),
        _row("decision_order", "  of it: tick to decision, an order", decided, agent.decisions),
        _row("decision_hold", "  tick to decision, nothing to do", held, agent.holds),
        _row(f"journal_{where}", f"  of it: decision to journal {kept}", written, agent.records),
    ]


def _portfolio(exchange: _Child, folder: Path) -> Portfolio:
    return Portfolio(
        mode="live",
        state=str(folder),
        account=Account(key="env:NONE", secret="env:NONE", rest_url=exchange.rest, stream_url=exchange.stream),  # noqa: S106
        targets=Targets(weights=dict(WEIGHTS), leverage=1.0),
        bands=Bands(tolerance=TOLERANCE, landing=LANDING, destination="edge"),
        economy=Economy(risk_aversion=AVERSE, payback_days=PATIENT_DAYS),
        triggers=Triggers(confirm_s=0, cool_down_s=0),
        limits=Limits(turnover_per_day=1000, orders_per_minute=6000),
    )


async def _until(true: Callable[[], bool], stop: asyncio.Event, patience_s: float) -> None:
    """Wait, looking every now and then, but not for ever."""
    deadline = monotonic() + patience_s
    while not true() and not stop.is_set() and monotonic() < deadline:  # noqa: ASYNC110 — these are no events
        await asyncio.sleep(0.002)


# ccxt.pro


async def _ccxt(options: Options, stop: asyncio.Event) -> Row:
    name, label = "order_ccxt", "ccxt.pro: tick to order"
    try:
        import ccxt.pro
    except ImportError:
        return Row(name, label, "", skipped="ccxt is not installed")
    async with _child("exchange") as exchange:
        client = _Naive(ccxt.pro.binanceusdm(_ccxt_options()), exchange)
        trading = asyncio.create_task(client.trade())
        try:
            await _until(lambda: client.ready or trading.done(), stop, READY_S)
            await _rounds(exchange, WARM_UP, stop, lambda: client.idle or trading.done())
            samples, missed = await _rounds(exchange, options, stop, lambda: client.idle or trading.done())
        finally:
            trading.cancel()
            await asyncio.wait({trading})
            await client.venue.close()
        if not trading.cancelled() and (error := trading.exception()) is not None:
            return Row(name, label, "", skipped=f"it failed: {type(error).__name__}: {error}"[:200])
    what = (
        f"ccxt {ccxt.__version__}: same exchange, prices and measuring points; watch_mark_prices, drift in a few lines "
        "of Python, create_order at market. No throttling, no journal, no limits"
    )
    return _row(name, label, what, samples, missed)


def _ccxt_options() -> dict[str, object]:
    # With `newUpdates` it names one of several prices that come at once, and the others are lost to the caller.
    return {"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False, "newUpdates": False}


class _Naive:
    """What somebody writes with ccxt.pro in an afternoon: watch the marks, and trade back what has left its band."""

    def __init__(self, venue: Any, exchange: _Child) -> None:
        self.venue = venue
        self.ready = False
        self.idle = True
        for name in ("fapiPublic", "fapiPrivate"):
            for number, path in (("", "v1"), ("V2", "v2"), ("V3", "v3")):
                venue.urls["api"][name + number] = f"{exchange.rest}/fapi/{path}"
        venue.urls["api"]["sapi"] = f"{exchange.rest}/sapi/v1"
        venue.urls["api"]["ws"]["future"] = venue.urls["api"]["ws"]["linear"] = f"{exchange.stream}/ws"
        self._targets = {f"{symbol.removesuffix('USDT')}/USDT:USDT": share for symbol, share in WEIGHTS.items()}
        self._marks: dict[str, float] = {}
        self._held: dict[str, tuple[float, float]] = {}
        self._wallet = 0.0

    async def trade(self) -> None:
        """Watch and correct, for ever."""
        await self.venue.load_markets()
        await self._look()
        while True:
            tickers = await self.venue.watch_mark_prices(list(self._targets))
            for symbol, ticker in tickers.items():
                self._marks[symbol] = float(ticker["markPrice"])
            if len(self._marks) == len(self._targets):
                self.ready = True
                await self._correct()

    async def _look(self) -> None:
        rows = await self.venue.fetch_positions(list(self._targets))
        self._held = {row["symbol"]: (row["contracts"], row["entryPrice"]) for row in rows}
        self._wallet = float((await self.venue.fetch_balance())["info"]["totalWalletBalance"])

    async def _correct(self) -> None:
        equity = self._wallet + sum(
            size * (self._marks[symbol] - entry) for symbol, (size, entry) in self._held.items()
        )
        drifts = {
            symbol: self._held[symbol][0] * self._marks[symbol] / equity - target
            for symbol, target in self._targets.items()
        }
        symbol, drift = max(drifts.items(), key=lambda item: abs(item[1]))
        if abs(drift) <= TOLERANCE:
            return
        self.idle = False
        excess = (abs(drift) - LANDING * TOLERANCE) * equity / self._marks[symbol]
        amount = self.venue.amount_to_precision(symbol, excess)
        side = "sell" if drift > 0 else "buy"
        await self.venue.create_order(symbol, "market", side, amount, None, {"reduceOnly": drift > 0})
        await self._look()
        self.idle = True


# The other process


class Setup(Struct, frozen=True):
    """What a child is told first."""

    kind: str
    frame: str


class Where(Struct, frozen=True):
    """Where a child listens."""

    rest: str
    stream: str


class Jump(Struct, frozen=True):
    """Send prices. With a mark for the mover: an order is expected; without: nothing is to happen."""

    mark: str | None


class Lap(Struct, frozen=True):
    """When the frame left and when the order arrived, by one monotonic clock; None: it did not."""

    left: int | None
    arrived: int | None


REMINDER = b"{}"
"""What the echo sends for a price that calls for nothing."""


class _Child:
    """A server in a process of its own, and what it is told through its standard input."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.rest = self.stream = ""

    async def begin(self, setup: Setup) -> None:
        self._tell(setup)
        where = await self._hear(Where)
        self.rest, self.stream = where.rest, where.stream

    async def jump(self, mark: str) -> int | None:
        """One round: how long it took from the frame to the order."""
        self._tell(Jump(mark))
        lap = await self._hear(Lap)
        return None if lap.left is None or lap.arrived is None else lap.arrived - lap.left

    async def remind(self) -> None:
        """Every price once more, unchanged."""
        self._tell(Jump(None))
        await self._hear(Lap)

    def _tell(self, what: Struct) -> None:
        assert self._process.stdin is not None, "it has a pipe"
        self._process.stdin.write(msgspec.json.encode(what) + b"\n")

    async def _hear(self, kind: type[T]) -> T:
        assert self._process.stdout is not None, "it has a pipe"
        line = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        if not line:
            raise ConnectionError("the exchange's process has ended")
        return msgspec.json.decode(line, type=kind)

    def close(self) -> None:
        """Let it end: nothing more will be said."""
        assert self._process.stdin is not None, "it has a pipe"
        self._process.stdin.close()


@contextlib.asynccontextmanager
async def _child(kind: str, frame: str = "") -> AsyncIterator[_Child]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from agent.cli.bench import serve; serve()",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    child = _Child(process)
    try:
        await child.begin(Setup(kind, frame))
        yield child
    finally:
        child.close()
        try:
            await asyncio.wait_for(process.wait(), READY_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def serve() -> None:
    """What the child runs: one server, until its standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to obey; it then closes the pipe
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_obey())


async def _obey() -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    setup = msgspec.json.decode(await told.readline(), type=Setup)
    server: _Echo | _Venue = _Echo(setup.frame) if setup.kind == "echo" else _Venue()
    await server.start("127.0.0.1", 0)
    _say(Where(server.rest_url, server.ws_url))
    while line := await told.readline():
        jump = msgspec.json.decode(line, type=Jump)
        server.watch.begin()
        await server.move(jump.mark)
        if jump.mark is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.watch.done.wait(), ANSWER_S)
        _say(Lap(server.watch.left, server.watch.arrived))
    await server.close()


def _say(what: Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


class _Stopwatch:
    """Both times of a round: the first frame out, the first order in."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """A new round."""
        self.left: int | None = None
        self.arrived: int | None = None
        self.done = asyncio.Event()

    def leave(self) -> None:
        """A frame goes."""
        if self.left is None:
            self.left = monotonic_ns()

    def arrive(self) -> None:
        """An order has come."""
        if self.left is not None and self.arrived is None:
            self.arrived = monotonic_ns()
            self.done.set()


class _Door(Gateway):
    """The exchange's gateway, which notes when an order is said on a websocket."""

    def __init__(self, venue: Wire, watch: _Stopwatch) -> None:
        super().__init__(venue)
        self._watch = watch

    def receive(self, session: wire.Session, text: str | bytes, now: int) -> None:
        """Take in a client's message."""
        if isinstance(session, Session) and session.asks:
            self._watch.arrive()
        super().receive(session, text, now)


class _Venue(Server):
    """The local exchange with a stopwatch, and with marks when they are wanted instead of once a second."""

    def __init__(self) -> None:
        self.watch = _Stopwatch()
        sizes = {
            symbol: Decimal(round(EQUITY * share * 1000 / float(PRICES[symbol]))) / 1000
            for symbol, share in WEIGHTS.items()
        }
        exchange = Exchange(StillMarket(PRICES), [Holder(balance=EQUITY, positions=sizes)])
        self.wire = Wire(exchange)
        super().__init__(_Door(self.wire, self.watch))

    async def move(self, mark: str | None) -> None:
        """Put the mover's price, and send every mark now."""
        if mark is not None:
            self.exchange.set_mark(MOVER, mark)
        streams = self.wire.streams
        for stream in streams._timed:
            stream.due_ms = 1
        streams._due_ms = 1
        self.settle()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and request.path == ORDER_PATH:
            self.watch.arrive()
        return await super()._handle(request)

    def _queue(self, session: wire.Session, frame: wire.Frame) -> None:
        if isinstance(session, Session) and session.category == "market":
            self.watch.leave()
        super()._queue(session, frame)


class _Echo:
    """A server that does nothing but take the time."""

    def __init__(self, frame: str) -> None:
        self.watch = _Stopwatch()
        self.rest_url = self.ws_url = ""
        self._frame = frame.encode()
        self._sockets: list[web.WebSocketResponse] = []
        app = web.Application()
        app.router.add_get("/ws", self._websocket)
        app.router.add_post(ORDER_PATH, self._order)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self, host: str, port: int) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        port = self._runner.addresses[0][1]
        self.rest_url, self.ws_url = f"http://{host}:{port}", f"ws://{host}:{port}"

    async def move(self, mark: str | None) -> None:
        """Send one frame."""
        for socket in self._sockets:
            self.watch.leave()
            await socket.send_frame(REMINDER if mark is None else self._frame, WSMsgType.TEXT)

    async def close(self) -> None:
        """Stop listening."""
        for socket in self._sockets:
            await socket.close()
        await self._runner.cleanup()

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        self._sockets.append(socket)
        async for _ in socket:
            pass
        self._sockets.remove(socket)
        return socket

    async def _order(self, request: web.Request) -> web.Response:
        self.watch.arrive()
        return web.Response(body=b"{}")


# The machine


@contextlib.contextmanager
def _folders() -> Iterator[tuple[Path, Path | None]]:
    """A folder where journals are kept, and one in memory, if there is one."""
    home = state_home()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    memory = Path("/dev/shm")  # noqa: S108 — in folders of our own, mode 0700
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=home))
        shared = None
        if os.access(memory, os.W_OK) and _filesystem(memory) == "tmpfs":
            shared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trimtab-bench-", dir=memory)))
        yield Path(disk), shared


@contextlib.contextmanager
def _log_lines(folder: Path) -> Iterator[None]:
    """Log as `trimtab run` does, but into a file: log lines are part of what is measured."""
    root, ours = logging.getLogger(), logging.getLogger("agent")
    before = root.handlers[:], root.level, ours.level
    with (folder / "log").open("w") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(JsonLine())
        root.handlers[:] = [handler]
        root.setLevel(logging.WARNING)
        ours.setLevel(logging.INFO)
        try:
            yield
        finally:
            root.handlers[:] = before[0]
            root.setLevel(before[1])
            ours.setLevel(before[2])


def _filesystem(folder: Path) -> str:
    """The kind of file system a folder is on."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    path = folder.resolve()
    here = [(place, kind) for place, kind in mounts if path.is_relative_to(place)]
    return max(here, key=lambda mount: len(mount[0]), default=("", "unknown"))[1]


def _machine(folder: Path) -> dict[str, Any]:
    libraries = ("aiohttp", "apsw", "ccxt", "msgspec", "uvloop", "websockets")
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "journal_filesystem": _filesystem(folder),
        "versions": {"trimtab": VERSION} | {name: _version(name) for name in libraries},
    }


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
