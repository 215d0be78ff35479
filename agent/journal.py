"""The journal: what was decided and which orders were sent, on disk before it is on the wire.

One SQLite file with one writer. An order is written and synced before its request leaves, so that after any crash the
next run knows every order that may exist.

    JournalError
    ├── Locked          another process owns this journal
    ├── Unusable        of a newer trimtab, not to be opened, or no journal at all
    │   └── Damaged     not what was written
    └── JournalFailed   a write did not reach the disk; nothing may be sent any more
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from msgspec import Struct

from agent import tables, wal
from agent.core.orders import Order

BUSY_MS: Final = 250
"""How long to wait for a program that holds a lock on the file."""
LINKS: Final = 10_000
"""How many of the newest decisions are checked at each start; `Records.verify` checks all."""
LOG_PAGES: Final = 1_000
"""Pages in SQLite's write-ahead log from which on `Journal.flush` moves them into the file: some 4 MB."""
OVERGROWN_PAGES: Final = 25_000
"""From so many on, some 100 MB, something keeps them from being moved."""
CURE: Final = "stop, keep the file and restore a backup; without one, move it away and check open orders by hand"


class JournalError(Exception):
    """The journal can't be used as asked."""


class Locked(JournalError):
    """Another process owns this journal."""


class Unusable(JournalError):
    """The file is damaged, from a newer version, or not a journal. It is never replaced silently."""


class Damaged(Unusable):
    """The file is a journal, but what it holds is not what was written."""


class JournalFailed(JournalError):
    """A write did not reach the disk. What is not written down is not sent: the journal takes no more."""


class Run(Struct, frozen=True):
    """One run of the agent. ``config`` is the whole portfolio file as it was in force, without secrets."""

    epoch: int
    started_at: int
    mode: str
    version: str
    config_hash: str
    config: str
    ended_at: int | None = None
    """When it ended in order (UTC ns); None while it goes on, and for ever if it crashed or was of an old version."""


class Decided(Struct, frozen=True):
    """One decision: ``record`` is its JSON."""

    epoch: int
    seq: int
    at: int
    record: bytes


class Verified(Struct, frozen=True):
    """A journal without fault, and how much it holds."""

    runs: int
    decisions: int
    orders: int


_COUNTS: Final = "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM decisions), (SELECT count(*) FROM orders)"


class Records:
    """What a journal tells, read only, also while the agent that owns it is running. See `Journal.read`."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self._db = connection

    def last_run(self, mode: str | None = None) -> Run | None:
        """The newest run, or the newest in this mode."""
        query = f"SELECT {tables.RUN} FROM runs WHERE ?1 IS NULL OR mode = ?1 ORDER BY epoch DESC LIMIT 1"  # noqa: S608
        found = self._rows(query, (mode,))
        return Run(*found[0]) if found else None

    def crashes(self, since: int) -> int:
        """How many runs started at ``since`` (UTC ns) or later and did not end in order; to be asked before `begin`."""
        [(count,)] = self._rows("SELECT count(*) FROM runs WHERE started_at >= ? AND ended_at IS NULL", (since,))
        return int(count)

    def decisions(self, symbol: str | None = None, since: int | None = None, limit: int = 100) -> list[Decided]:
        """Decisions, newest first: only those whose record names ``symbol``, only those made at or after ``since``."""
        found = self._rows(
            "SELECT epoch, seq, at, record FROM decisions "
            "WHERE (?1 IS NULL OR instr(record, ?1)) AND (?2 IS NULL OR at >= ?2) "
            "ORDER BY link DESC LIMIT ?3",
            (f'"{symbol}"' if symbol is not None else None, since, limit),
        )
        return [Decided(epoch, seq, at, record.encode()) for epoch, seq, at, record in found]

    def orders(self, limit: int = 100) -> list[Order]:
        """Our orders as last known, newest first."""
        found = self._rows("SELECT record FROM orders ORDER BY epoch DESC, seq DESC, id DESC LIMIT ?", (limit,))
        return self._orders(found)

    def recent(self, since: int, mode: str) -> list[Order]:
        """What the next run in this mode takes over: orders without an end on record, and those of ``since`` (UTC ns)
        and later; oldest first."""
        found = self._rows(
            "SELECT record FROM orders WHERE (state <> 'done' OR at >= ?) "
            "AND epoch IN (SELECT epoch FROM runs WHERE mode = ?) ORDER BY epoch, seq, id",
            (since, mode),
        )
        return self._orders(found)

    def memory(self, mode: str) -> bytes | None:
        """What runs in this mode remembered last, all parts as one JSON object; None if nothing."""
        found = self._rows("SELECT part, record FROM memory WHERE mode = ? ORDER BY part", (mode,))
        parts = ",".join(f'"{part}":{record}' for part, record in found)
        return f"{{{parts}}}".encode() if found else None

    def verify(self) -> Verified:
        """Check the whole journal, from its first decision on. Raises `Damaged` with what is wrong first.

        Each row must be what was written, the chain of decisions unbroken, and the orders what follows from them.
        """
        try:
            with self._db:  # at one moment, though its owner may write on
                wrong = tables.doubts(self._db) or tables.unfounded(self._db)
                [counts] = self._db.execute(_COUNTS)
        except (apsw.Error, UnicodeDecodeError, msgspec.DecodeError) as error:
            raise Damaged(f"{self.path}: damaged: {error}; {CURE}") from error
        if wrong is not None:
            raise Damaged(f"{self.path}: damaged: {wrong}; {CURE}")
        return Verified(*counts)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _orders(self, found: list[tuple[Any, ...]]) -> list[Order]:
        try:
            return [msgspec.json.decode(record, type=Order) for (record,) in found]
        except (msgspec.DecodeError, RecursionError) as error:
            raise Unusable(f"{self.path}: holds an order that this trimtab can't read: {error}") from error

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return list(self._db.execute(query, values))
        except (apsw.Error, UnicodeDecodeError) as error:
            raise Unusable(f"{self.path}: can't be read: {error}") from error


class Journal(Records):
    """The journal of the one agent that owns it, from construction to `close`.

    Raises `Locked` when another process has it and `Unusable` when the file can't be trusted.
    """

    def __init__(self, path: Path) -> None:
        with contextlib.ExitStack() as undo:
            lock = _lock(path)
            undo.callback(os.close, lock)
            held = _hold(path)
            undo.callback(os.close, held)
            super().__init__(path, _own(path))
            undo.callback(self._db.close)  # before the locks go
            self._files = self._identity()
            self._link, self._digest = self._newest_link()
            self._locks = undo.pop_all()
        self._db.set_wal_hook(self._logged)
        self._run: Run | None = None
        self._seq = -1
        self._pages = 0
        """In SQLite's write-ahead log."""
        self._failed: str | None = None
        self._closed = False

    @staticmethod
    def read(path: Path) -> Records:
        """The journal at ``path`` for reading alone, without owning it."""
        if not path.exists():
            raise Unusable(f"{path}: there is no journal yet; it is made by the first run")
        with _opened(path, apsw.SQLITE_OPEN_READONLY) as db:
            if (version := _recognise(db, path)) != tables.VERSION:
                raise Unusable(f"{path}: has version {version}; the next run on it brings it up to date")
        return Records(path, db)

    def begin(self, mode: str, config_text: str, version: str, now: int, above: int = 0) -> int:
        """Write down that a run starts, and give its epoch: more than any before, and than ``above``. Synced on return.

        Order ids hold the epoch, so one that follows the calendar keeps a lost or restored journal from using an id
        for a second time. From here on, an earlier run that is still writing is refused by its next write.
        """
        self._run = None
        with self._writing():
            [(last,)] = self._db.execute("SELECT coalesce(max(epoch), 0) FROM runs")
            config_hash = hashlib.sha256(config_text.encode()).hexdigest()
            run = Run(max(last, above) + 1, now, mode, version, config_hash, config_text)
            self._put("runs", *msgspec.structs.astuple(run))
            self._db.execute("COMMIT")
        self._run, self._seq = run, -1
        return run.epoch

    def append(
        self,
        now: int,
        seq: int,
        record: bytes,
        orders: Sequence[Order],
        urgent: bool,
        memory: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write a decision, as JSON, the orders as they are after it, and what to remember if given: all or nothing.

        ``urgent``: it has orders to send, and is on disk on return, with all that came before. Otherwise it is there
        after the next urgent append or `flush`. Raises `JournalFailed`, and from then on always.
        """
        assert self._run is not None, "a run must have begun"
        assert seq > self._seq, "a decision is written down once"
        epoch, self._seq = self._run.epoch, seq
        with self._writing():
            row = (self._link + 1, epoch, seq, now, record.decode())
            digest = tables.digest(self._digest, *row)
            self._db.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?)", (*row, digest))
            for order in orders:
                self._put_order(order, epoch, seq, now)
            if memory is not None:
                self._remember(memory, now)
            if urgent:
                self._fence()  # the files may have been taken away since the transaction began
                self._db.execute("COMMIT")
            self._link, self._digest = row[0], digest

    def _put_order(self, order: Order, epoch: int, seq: int, now: int) -> None:
        """An order keeps the epoch and the decision that it came from."""
        found = self._db.execute("SELECT epoch, seq FROM orders WHERE id = ?", (order.id,)).fetchone()
        epoch, seq = found or (epoch, seq)
        self._put("orders", order.id, epoch, seq, now, order.state.value, msgspec.json.encode(order).decode())

    def remember(self, memory: Mapping[str, bytes], now: int) -> None:
        """Write down what the next run in this mode has to know: parts by name, as JSON, which replace those of before.

        Parts that are not named stay as they were.
        """
        with self._writing():
            self._remember(memory, now)

    def _remember(self, memory: Mapping[str, bytes], now: int) -> None:
        assert self._run is not None, "a run must have begun"
        for part, record in memory.items():
            self._put("memory", self._run.mode, part, now, record.decode())

    def _put(self, table: str, *row: Any) -> None:
        """Write a row with its digest, in place of the one with its key if there is one."""
        marks = ", ".join("?" * (len(row) + 1))
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", (*row, tables.digest(*row)))  # noqa: S608

    def flush(self) -> None:
        """Commit and sync what is not urgent, and keep SQLite's log short; to be called about once a second.

        What moves out of the log is synced here as well, never while an order waits.
        """
        if self._failed is None and not self._db.in_transaction and self._pages < LOG_PAGES:
            return
        with self._writing():
            self._db.execute("COMMIT")
            if self._pages >= LOG_PAGES:
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    @property
    def overgrown(self) -> bool:
        """SQLite's log is much longer than `flush` lets it become: somebody who reads the file holds that up."""
        return self._pages >= OVERGROWN_PAGES

    def end(self, now: int) -> None:
        """Write down that the run has ended in order. Synced on return."""
        assert self._run is not None, "a run must have begun"
        with self._writing():
            self._put("runs", *msgspec.structs.astuple(msgspec.structs.replace(self._run, ended_at=now)))
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Commit what is left, close the file, and let another process own it. Raises `JournalFailed`, but closes."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._failed is None:
                self.flush()
        finally:
            self._locks.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Inside an open transaction; any failure undoes it and is the last thing this journal does."""
        if self._failed is not None:
            raise JournalFailed(f"{self.path}: failed before: {self._failed}")
        try:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
                self._fence()
            yield
        except (apsw.Error, OSError, _Overtaken) as error:
            self._failed = f"{type(error).__name__}: {error}"
            with contextlib.suppress(apsw.Error):
                # What could not be synced is not to be synced again, nor moved about, as if it were there.
                self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            raise JournalFailed(f"{self.path}: {self._failed}") from error

    def _fence(self) -> None:
        """Whether this is still the newest run, on the files it began with. Locks can be removed; this can't be."""
        if self._identity() != self._files:
            raise _Overtaken("the file was replaced while it was in use")
        if self._run is not None:
            [(newest,)] = self._db.execute("SELECT max(epoch) FROM runs")
            if newest != self._run.epoch:
                raise _Overtaken(f"run {newest} has begun on it")

    def _identity(self) -> list[tuple[int, int]]:
        """What the journal's names stand for in the file system."""
        found = [os.stat(name) for name in (self.path, f"{self.path}-wal")]
        return [(file.st_dev, file.st_ino) for file in found]

    def _newest_link(self) -> tuple[int, bytes]:
        found = self._rows("SELECT link, digest FROM decisions ORDER BY link DESC LIMIT 1")
        return found[0] if found else (0, b"")

    def _logged(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK


class _Overtaken(Exception):
    """The journal is another run's, or another file, by now."""


def _lock(path: Path) -> int:
    """The descriptor whose open file holds the owner's lock. The lock file stays: removing it would let two in."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise Unusable(f"{path}: can't be opened: {error.strerror}: {error.filename}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise Locked(f"{path}: another agent is running on it (process {owner or 'unknown'})") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _hold(path: Path) -> int:
    """A descriptor that locks the journal itself, made if there is none: the lock file may have been removed.

    To be closed after the journal: SQLite's own locks would go with it.
    """
    try:
        new = not path.exists()
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unusable(f"{path}: can't be opened: {error.strerror}: {error.filename}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise Locked(f"{path}: another agent is running on it, though its lock file is gone") from None
    if new:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(folder)  # the file's name is to outlive a power cut, as what is in it does
        os.close(folder)
    return held


def _own(path: Path) -> apsw.Connection:
    """The checked connection of the journal's owner; an empty file becomes a new journal."""
    if (wrong := wal.broken(Path(f"{path}-wal"))) is not None:
        raise Damaged(f"{path}: damaged: {wrong}; {CURE}")
    with _opened(path, apsw.SQLITE_OPEN_READWRITE) as db:
        if db.pragma("schema_version") == 0 and db.pragma("application_id") == 0:
            tables.create(db)
        if _recognise(db, path) != tables.VERSION:
            if (found := db.pragma("quick_check")) != "ok":
                raise Damaged(f"{path}: damaged: {found}; {CURE}")
            tables.upgrade(db)
        if (wrong := tables.doubts(db, LINKS)) is not None:
            raise Damaged(f"{path}: damaged: {wrong}; {CURE}")
        if db.pragma("journal_mode", "wal") != "wal":
            raise Unusable(f"{path}: its file system can't hold a journal; name a state directory on a local disk")
        db.pragma("synchronous", "full")
        db.wal_autocheckpoint(0)  # see `Journal.flush`
        db.pragma("user_version")  # from the first read on, the log is there
    return db


def _recognise(db: apsw.Connection, path: Path) -> int:
    """The version of a journal that this trimtab knows how to read or to bring up to date."""
    if db.pragma("application_id") != tables.APPLICATION:
        raise Unusable(f"{path}: is not a journal of trimtab; name another state directory")
    version = int(db.pragma("user_version"))
    if version != tables.VERSION and version not in tables.UPGRADES:
        raise Unusable(f"{path}: has version {version}, this trimtab knows {tables.VERSION}; use the one that wrote it")
    return version


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[apsw.Connection]:
    """A connection for the first checks: closed again, and the reason told as `Unusable`, if they fail."""
    try:
        db = apsw.Connection(str(path), flags=flags)
    except apsw.Error as error:
        raise Unusable(f"{path}: can't be opened: {error}") from error
    try:
        db.set_busy_timeout(BUSY_MS)
        yield db
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, UnicodeDecodeError) as error:
        db.close()
        raise Damaged(f"{path}: damaged: {error}; {CURE}") from error
    except apsw.Error as error:
        db.close()
        raise Unusable(f"{path}: can't be opened: {error}") from error
    except Unusable:
        db.close()
        raise
