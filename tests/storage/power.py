"""Power cuts: every state in which a journal may be found after one, as far as they can be counted.

A trace is what a journal asked of its disk in a made-up life, drawn from a seed. What was written to a file since its
last sync may be there after a cut, or not, or in part. Every subset of such writes is a state, as long as there are
few, and beyond that every prefix, every single loss, and a sample; besides, writes torn at sectors of 512 bytes. Each
state is opened by the journal itself and compared, by another SQLite, with what its user had been told.
"""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from hashlib import blake2b
from pathlib import Path
from unittest.mock import patch

import apsw
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent import journal as journals
from agent.core.events import Side
from agent.core.orders import Order, State, Style
from agent.journal import Damaged, Journal
from tests.storage.disk import Delete, Disk, Mark, Op, Sync, Truncate, Write

NAME = "journal.db"
SECTOR = 512
ALL_BELOW = 8
"""So many writes under way are taken in every combination; of more, a sample."""
SAMPLE = 64
"""States drawn at a sync at which there are more."""
TORN = 12
"""Torn states drawn at each sync."""
NOW = 1_795_000_000_000_000_000

Content = tuple[tuple[object, ...], ...]
Files = dict[str, bytes]


class Trace(Struct):
    """The life of a journal: what it asked of its disk, and what it held after each of its commits."""

    seed: int
    ops: list[Op]
    commits: list[Content]


class Found(Struct):
    """What came of all states: ``lost`` and ``wrong`` must stay empty, and ``damaged`` too.

    A cut is no damage: the journal must open, and hold what was told to be on disk.
    """

    traces: int = 0
    states: int = 0
    exhaustive: int = 0
    """Syncs whose untorn states were all looked at; the others were sampled."""
    sampled: int = 0
    lost: list[str] = []
    """An order had been sent, and is not there."""
    wrong: list[str] = []
    """What is there was never there before."""
    damaged: list[str] = []

    def add(self, other: Found) -> None:
        """Take in what came of other lives."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def home() -> str | None:
    """Where files are quickest to sync."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108


def order(name: str, state: State = State.SENT) -> Order:
    """An order of some kind."""
    return Order(
        id=name,
        instrument=0,
        symbol="BTCUSDT",
        side=Side.NET,
        lots=-3,
        ticks=600_001,
        style=Style.IOC,
        reduce=True,
        value=60_000.5,
        created_at=NOW,
        expires_at=NOW + 3,
        state=state,
    )


def encoded(*orders: Order) -> bytes:
    """The record of a decision that changed these orders, as far as it matters here."""
    return msgspec.json.encode({"orders": orders})


class Life:
    """A journal's life, and beside it, in plain Python, what it should hold."""

    def __init__(self, seed: int, folder: Path, disk: Disk, synchronous: str) -> None:
        self.dice = random.Random(seed)
        self.path = folder / NAME
        self.disk = disk
        self.synchronous = synchronous
        self.runs: dict[int, tuple[object, ...]] = {}
        self.decisions: list[tuple[object, ...]] = []
        self.orders: dict[str, Order] = {}
        self.memory: dict[str, bytes] = {}
        self.commits: list[Content] = [()]
        self.now, self.seq, self.epoch = NOW, 0, 0
        self.journal: Journal | None = None

    def live(self, steps: int) -> None:
        """So many things happen to it."""
        for _ in range(steps):
            self.now += self.dice.randrange(1, 10**9)
            if self.journal is None:
                self._begin()
                continue
            kinds = (self._send, self._hear, self._flush, self._remember, self._stop, self._die)
            self.dice.choices(kinds, (8, 8, 4, 2, 1, 1))[0](self.journal)
        if self.journal is not None:
            self._stop(self.journal)

    def content(self) -> Content:
        """Everything, as it would be read."""
        orders = sorted((name, msgspec.json.encode(o).decode()) for name, o in self.orders.items())
        memory = sorted((part, record.decode()) for part, record in self.memory.items())
        return (*self.runs.values(), *self.decisions, *orders, *memory)

    def _committed(self) -> None:
        self.commits.append(self.content())

    def _told(self) -> None:
        """The call has returned: from here on, what was committed must be there."""
        self.disk.called("mark", Mark(len(self.commits) - 1))

    def _begin(self) -> None:
        self.journal = Journal(self.path)
        self.journal._db.pragma("synchronous", self.synchronous)
        self.epoch += 1
        self.runs[self.epoch] = (self.epoch, self.now, None)
        self.seq = 0
        self._committed()
        self.journal.begin("live", "# a portfolio", "0.1.0", self.now)
        self._told()

    def _append(self, journal: Journal, orders: Sequence[Order], *, urgent: bool) -> None:
        self.seq += 1
        text = "x" * self.dice.choice((20, 200, 900, 6_000))
        record = msgspec.json.encode({"notes": [text], "orders": orders})
        memory = self._memory() if self.dice.random() < 0.2 else None
        self.decisions.append((self.epoch, self.seq, self.now, record.decode()))
        self.orders.update((o.id, o) for o in orders)
        if urgent:
            self._committed()
        journal.append(self.now, self.seq, record, orders, urgent, memory)
        if urgent:
            self._told()

    def _send(self, journal: Journal) -> None:
        new = [order(f"{self.epoch}-{self.seq}-{i}") for i in range(self.dice.randrange(1, 4))]
        self._append(journal, new, urgent=True)

    def _hear(self, journal: Journal) -> None:
        some = self.dice.sample(sorted(self.orders), min(len(self.orders), 2))
        changed = [replace(self.orders[name], state=self.dice.choice(list(State))) for name in some]
        self._append(journal, changed, urgent=False)

    def _flush(self, journal: Journal) -> None:
        self._committed()
        journal.flush()
        self._told()

    def _memory(self) -> dict[str, bytes]:
        parts = {"ledgers": b'"' + b"y" * self.dice.choice((10, 9_000)) + b'"'}
        self.memory.update(parts)
        return parts

    def _remember(self, journal: Journal) -> None:
        journal.remember(self._memory(), self.now)

    def _stop(self, journal: Journal) -> None:
        """In order."""
        self.runs[self.epoch] = (*self.runs[self.epoch][:2], self.now)
        self._committed()
        journal.end(self.now)
        self._told()
        journal.close()
        self.journal = None

    def _die(self, journal: Journal) -> None:
        """By SIGKILL: what was not committed is gone, and nobody tidies up."""
        kill(journal)
        self.journal = None
        self._restore()

    def _restore(self) -> None:
        """Know again what is on disk: from a copy, for whoever opens the files and closes them tidies up."""
        with tempfile.TemporaryDirectory(dir=home()) as folder:
            for file in self.path.parent.glob(f"{NAME}*"):
                shutil.copy(file, folder)
            rows = read(Path(folder) / NAME)
        self.runs = {int(str(row[0])): row for row in rows if len(row) == 3}
        self.decisions = [row for row in rows if len(row) == 4]
        pairs = {str(row[0]): str(row[1]) for row in rows if len(row) == 2}
        self.memory = {name: record.encode() for name, record in pairs.items() if name == "ledgers"}
        self.orders = {
            name: msgspec.json.decode(record, type=Order) for name, record in pairs.items() if name != "ledgers"
        }


def kill(journal: Journal) -> None:
    """Leave a journal's files as a kill would."""
    journal._failed = "killed"
    journal._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    journal.close()


def read(path: Path) -> Content:
    """What a journal holds, by a SQLite that is not the journal's; nothing if it holds no tables yet."""
    with closing(sqlite3.connect(path)) as db:
        if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return ()
        rows: list[tuple[object, ...]] = []
        for query in (
            "SELECT epoch, started_at, ended_at FROM runs ORDER BY epoch",
            "SELECT epoch, seq, at, record FROM decisions ORDER BY link",
            "SELECT id, record FROM orders ORDER BY id",
            "SELECT part, record FROM memory ORDER BY part",
        ):
            rows += db.execute(query)
        return tuple(rows)


def trace(seed: int, steps: int = 24, synchronous: str = "full") -> Trace:
    """Live a journal's life and write down what it asked of its disk; ``synchronous`` is SQLite's setting of it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=home())))
        stack.enter_context(patch.object(journals, "LOG_PAGES", random.Random(seed).choice((4, 16, 1_000))))
        disk = stack.enter_context(Disk(record=True))
        life = Life(seed, folder, disk, synchronous)
        life.live(steps)
        return Trace(seed, disk.ops, life.commits)


# States


def apply(files: Files, op: Op, part: Iterable[int] | None = None) -> None:
    """Do to the files what was asked; ``part``: only these sectors of a write."""
    match op:
        case Write(file=name, offset=offset, data=data):
            pieces = [(0, data)] if part is None else [(i * SECTOR, data[i * SECTOR :][:SECTOR]) for i in part]
            for start, piece in pieces:
                before = files.get(name, b"").ljust(offset + start, b"\0")
                files[name] = before[: offset + start] + piece + before[offset + start + len(piece) :]
        case Truncate(file=name, size=size):
            files[name] = files.get(name, b"")[:size].ljust(size, b"\0")
        case Delete(file=name):
            files.pop(name, None)


class Cut(Struct, frozen=True):
    """A state, not made yet: what was on disk, what of the writes under way got there too, and what had been told."""

    durable: Files
    reached: tuple[tuple[Op, Sequence[int] | None], ...]
    told: int

    def files(self) -> Files:
        """The files as they are found."""
        files = dict(self.durable)
        for op, part in self.reached:
            apply(files, op, part)
        return files


def cuts(trace: Trace, found: Found) -> Iterator[Cut]:
    """Every state to look at. A cut between two syncs leaves no state that one just before the second does not."""
    dice = random.Random(trace.seed)
    durable: Files = {NAME: b""}
    waiting: list[Op] = []
    told = 0
    for op in [*trace.ops, Sync("")]:
        match op:
            case Mark(commits=commits):
                told = commits
            case Sync(file=name):
                for reached in _subsets(waiting, dice, found) if waiting else ():
                    yield Cut(dict(durable), reached, told)
                settled = [one for one in waiting if isinstance(one, Delete) or one.file == name]  # type: ignore[union-attr]
                waiting = [one for one in waiting if one not in settled]
                for one in settled:
                    apply(durable, one)
            case _:
                waiting.append(op)


def _subsets(
    waiting: Sequence[Op], dice: random.Random, found: Found
) -> Iterator[tuple[tuple[Op, Sequence[int] | None], ...]]:
    count = len(waiting)
    if count <= ALL_BELOW:
        found.exhaustive += 1
        chosen: Iterable[tuple[bool, ...]] = itertools.product((False, True), repeat=count)
    else:
        found.sampled += 1
        prefixes = [(True,) * n + (False,) * (count - n) for n in range(count + 1)]
        losses = [(True,) * n + (False,) + (True,) * (count - n - 1) for n in range(count)]
        drawn = [tuple(dice.random() < 0.5 for _ in range(count)) for _ in range(SAMPLE)]
        chosen = [*prefixes, *losses, *drawn]
    for which in chosen:
        yield tuple((op, None) for op in itertools.compress(waiting, which))
    long = [i for i, op in enumerate(waiting) if isinstance(op, Write) and len(op.data) > SECTOR]
    for torn in dice.choices(long, k=TORN) if long else ():
        others = [i < torn or dice.random() < 0.5 for i in range(count)]
        yield tuple(
            (op, _torn(op, dice) if i == torn else None) for i, op in enumerate(waiting) if i == torn or others[i]
        )


def _torn(op: Op, dice: random.Random) -> Sequence[int]:
    """The sectors of a write that reach the disk: the first ones, the last ones, or some."""
    assert isinstance(op, Write)
    sectors = range(-(-len(op.data) // SECTOR))
    cut = dice.randrange(len(sectors))
    mixed = [sector for sector in sectors if dice.random() < 0.5]
    return dice.choice((sectors[:cut], sectors[cut:], mixed))


# The check


def check(trace: Trace, found: Found, most: int | None = None) -> None:
    """Open every state of a trace, or a sample of ``most`` of them, and see what is there."""
    chosen = list(cuts(trace, found))
    if most is not None and len(chosen) > most:
        chosen = random.Random(trace.seed).sample(chosen, most)
    seen: set[tuple[bytes, int]] = set()
    found.traces += 1
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        for cut in chosen:
            files = cut.files()
            key = (blake2b(msgspec.msgpack.encode(files, order="sorted"), digest_size=16).digest(), cut.told)
            if key not in seen:
                seen.add(key)
                found.states += 1
                _look(Path(folder) / "state", files, cut.told, trace, found)


def _look(folder: Path, files: Files, told: int, trace: Trace, found: Found) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    where = f"trace {trace.seed}, {told} commits told"
    try:
        journal = Journal(folder / NAME)
    except Damaged as error:
        found.damaged.append(f"{where}: {error}")
    else:
        journal.verify()
        journal.close()
        there = read(folder / NAME)
        if there not in trace.commits:
            found.wrong.append(where)
        elif there not in trace.commits[told:]:
            found.lost.append(where)
    shutil.rmtree(folder)


def campaign(seeds: Iterable[int], most: int | None = None) -> Found:
    """Many lives, and all their power cuts."""
    found = Found()
    for seed in seeds:
        check(trace(seed), found, most)
    return found
