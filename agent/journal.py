"""The journal: what was decided and which orders were sent, on disk before it is on the wire.

One SQLite file with one writer. An order is written and synced before its request leaves, so that after any crash the
next run knows every order that may exist.

    JournalError
    ├── Locked          another process owns this journal
    ├── Unusable        damaged, of a newer trimtab, or no journal at all
    └── JournalFailed   a write did not reach the disk; nothing may be sent any more
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from msgspec import Struct

from agent.core.orders import Order

APPLICATION: Final = 0x7472696D
"""``trim``: marks the file as ours."""
VERSION: Final = 2
"""Of the tables below."""
BUSY_MS: Final = 250
CURE: Final = "stop, keep the file and restore a backup; without one, move it away and check open orders by hand"

SCHEMA: Final = """
CREATE TABLE runs (
    epoch INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    mode TEXT NOT NULL,
    version TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    config TEXT NOT NULL
) STRICT;
CREATE TABLE decisions (
    epoch INTEGER NOT NULL REFERENCES runs,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (epoch, seq)
) STRICT;
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL REFERENCES runs,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;
CREATE INDEX orders_unresolved ON orders (state) WHERE state <> 'done';
CREATE INDEX orders_by_age ON orders (epoch, seq);
"""

MEMORY: Final = """
CREATE TABLE memory (
    mode TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;
"""

UPGRADES: Final = {1: MEMORY}
"""What leads from a version to the next."""


class JournalError(Exception):
    """The journal can't be used as asked."""


class Locked(JournalError):
    """Another process owns this journal."""


class Unusable(JournalError):
    """The file is damaged, from a newer version, or not a journal. It is never replaced silently."""


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


class Decided(Struct, frozen=True):
    """One decision: ``record`` is its JSON."""

    epoch: int
    seq: int
    at: int
    record: bytes


class Records:
    """What a journal tells, read only, also while the agent that owns it is running. See `Journal.read`."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self._db = connection

    def last_run(self, mode: str | None = None) -> Run | None:
        """The newest run, or the newest in this mode."""
        found = self._rows("SELECT * FROM runs WHERE ?1 IS NULL OR mode = ?1 ORDER BY epoch DESC LIMIT 1", (mode,))
        return Run(*found[0]) if found else None

    def decisions(self, symbol: str | None = None, since: int | None = None, limit: int = 100) -> list[Decided]:
        """Decisions, newest first: only those whose record names ``symbol``, only those made at or after ``since``."""
        found = self._rows(
            "SELECT epoch, seq, at, record FROM decisions "
            "WHERE (?1 IS NULL OR instr(record, ?1)) AND (?2 IS NULL OR at >= ?2) "
            "ORDER BY epoch DESC, seq DESC LIMIT ?3",
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
        """What the last run in this mode remembered, as JSON; None if nothing."""
        found = self._rows("SELECT record FROM memory WHERE mode = ?", (mode,))
        return found[0][0].encode() if found else None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _orders(self, found: list[tuple[Any, ...]]) -> list[Order]:
        try:
            return [msgspec.json.decode(record, type=Order) for (record,) in found]
        except msgspec.DecodeError as error:
            raise Unusable(f"{self.path}: holds an order that this trimtab can't read: {error}") from error

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return list(self._db.execute(query, values))
        except apsw.Error as error:
            raise Unusable(f"{self.path}: can't be read: {error}") from error


class Journal(Records):
    """The journal of the one agent that owns it, from construction to `close`.

    Raises `Locked` when another process has it and `Unusable` when the file can't be trusted.
    """

    def __init__(self, path: Path) -> None:
        lock = _lock(path)
        try:
            super().__init__(path, _own(path))
        except BaseException:
            os.close(lock)
            raise
        self._lock: int | None = lock
        self._epoch: int | None = None
        self._failed: str | None = None

    @staticmethod
    def read(path: Path) -> Records:
        """The journal at ``path`` for reading alone, without owning it."""
        if not path.exists():
            raise Unusable(f"{path}: there is no journal yet; it is made by the first run")
        with _opened(path, apsw.SQLITE_OPEN_READONLY) as db:
            _recognise(db, path)
        return Records(path, db)

    def begin(self, mode: str, config_text: str, version: str, now: int, above: int = 0) -> int:
        """Write down that a run starts, and give its epoch: more than any before, and than ``above``. Synced on return.

        Order ids hold the epoch, so one that follows the calendar keeps a lost or restored journal from using an id
        for a second time.
        """
        config_hash = hashlib.sha256(config_text.encode()).hexdigest()
        with self._writing():
            [(epoch,)] = self._db.execute(
                "INSERT INTO runs SELECT max(coalesce(max(epoch), 0), ?) + 1, ?, ?, ?, ?, ? FROM runs RETURNING epoch",
                (above, now, mode, version, config_hash, config_text),
            )
            self._db.execute("COMMIT")
        self._epoch = int(epoch)
        return self._epoch

    def append(
        self, now: int, seq: int, record: bytes, orders: Sequence[Order], urgent: bool, memory: bytes | None = None
    ) -> None:
        """Write a decision, as JSON, the orders as they are after it, and what to remember if given: all or nothing.

        ``urgent``: it has orders to send, and is on disk on return, with all that came before. Otherwise it is there
        after the next urgent append or `flush`. Raises `JournalFailed`, and from then on always.
        """
        assert self._epoch is not None, "a run must have begun"
        text = record.decode()
        rows = [(o.id, self._epoch, seq, now, o.state.value, msgspec.json.encode(o).decode()) for o in orders]
        with self._writing():
            self._db.execute("INSERT INTO decisions VALUES (?, ?, ?, ?)", (self._epoch, seq, now, text))
            self._db.executemany(
                "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET at = excluded.at, state = excluded.state, record = excluded.record",
                rows,
            )
            if memory is not None:
                self._remember(memory, now)
            if urgent:
                self._db.execute("COMMIT")

    def remember(self, memory: bytes, now: int) -> None:
        """Write down, as JSON, what the next run in this mode has to know; it replaces what was remembered before."""
        with self._writing():
            self._remember(memory, now)

    def _remember(self, memory: bytes, now: int) -> None:
        self._db.execute(
            "INSERT INTO memory SELECT mode, ?, ? FROM runs WHERE epoch = ? "
            "ON CONFLICT (mode) DO UPDATE SET at = excluded.at, record = excluded.record",
            (now, memory.decode(), self._epoch),
        )

    def flush(self) -> None:
        """Commit and sync what is not urgent; to be called about once a second."""
        if self._failed is None and not self._db.in_transaction:
            return
        with self._writing():
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Commit what is left, close the file, and let another process own it. Raises `JournalFailed`, but closes."""
        if self._lock is None:
            return
        try:
            if self._failed is None:
                self.flush()
        finally:
            self._db.close()
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Inside an open transaction; any failure undoes it and is the last thing this journal does."""
        if self._failed is not None:
            raise JournalFailed(f"{self.path}: failed before: {self._failed}")
        try:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            yield
        except apsw.Error as error:
            self._failed = f"{type(error).__name__}: {error}"
            if self._db.in_transaction:
                with contextlib.suppress(apsw.Error):
                    self._db.execute("ROLLBACK")
            raise JournalFailed(f"{self.path}: {self._failed}") from error


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


def _own(path: Path) -> apsw.Connection:
    """The checked connection of the journal's owner; an empty or missing file becomes a new journal."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with _opened(path, apsw.SQLITE_OPEN_READWRITE) as db:
        if db.pragma("schema_version") == 0 and db.pragma("application_id") == 0:
            with db:
                db.execute(SCHEMA + MEMORY)
                db.pragma("application_id", APPLICATION)
                db.pragma("user_version", VERSION)
        _recognise(db, path)
        found = db.pragma("quick_check")
        if found != "ok":
            raise Unusable(f"{path}: damaged: {found}; {CURE}")
        while (version := db.pragma("user_version")) in UPGRADES:
            with db:
                db.execute(UPGRADES[version])
                db.pragma("user_version", version + 1)
        if db.pragma("journal_mode", "wal") != "wal":
            raise Unusable(f"{path}: its file system can't hold a journal; name a state directory on a local disk")
        db.pragma("synchronous", "full")
    return db


def _recognise(db: apsw.Connection, path: Path) -> None:
    if db.pragma("application_id") != APPLICATION:
        raise Unusable(f"{path}: is not a journal of trimtab; name another state directory")
    version = db.pragma("user_version")
    if version != VERSION and version not in UPGRADES:
        raise Unusable(f"{path}: has version {version}, this trimtab knows {VERSION}; use the one that wrote it")


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
    except (apsw.NotADBError, apsw.CorruptError) as error:
        db.close()
        raise Unusable(f"{path}: damaged: {error}; {CURE}") from error
    except apsw.Error as error:
        db.close()
        raise Unusable(f"{path}: can't be opened: {error}") from error
    except Unusable:
        db.close()
        raise
