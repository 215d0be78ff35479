"""The journal's tables: what a file of it holds, how one of an older version becomes new, and whether to trust one.

Every row carries a digest of what is in it. Those of decisions are a chain: each is taken over the one before as well,
so that none can change, go missing or change places unnoticed. No table has an index that could tell another story
than the table itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import apsw
import msgspec
from msgspec import Raw, Struct

APPLICATION: Final = 0x7472696D
"""``trim``: marks the file as ours."""
VERSION: Final = 3
"""Of the tables below."""

SCHEMA: Final = """
CREATE TABLE runs (
    epoch INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    mode TEXT NOT NULL,
    version TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    config TEXT NOT NULL,
    ended_at INTEGER,
    digest BLOB NOT NULL
) STRICT;
CREATE TABLE decisions (
    link INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL REFERENCES runs,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    record TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT;
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL REFERENCES runs,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    state TEXT NOT NULL,
    record TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE memory (
    mode TEXT NOT NULL,
    part TEXT NOT NULL,
    at INTEGER NOT NULL,
    record TEXT NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (mode, part)
) STRICT, WITHOUT ROWID;
"""
RUN: Final = "epoch, started_at, mode, version, config_hash, config, ended_at"
DECISION: Final = "link, epoch, seq, at, record"
ORDER: Final = "id, epoch, seq, at, state, record"
MEMORY: Final = "mode, part, at, record"
"""What the digests are taken over, in this order."""

SECOND: Final = "CREATE TABLE memory (mode TEXT PRIMARY KEY, at INTEGER NOT NULL, record TEXT NOT NULL) STRICT"
"""What version 2 had and version 1 had not."""


class Named(Struct, frozen=True):
    """The orders that a decision changed, as its record tells them, undecoded."""

    orders: tuple[Raw, ...] = ()


class Key(Struct, frozen=True):
    """What of an order has a column of its own."""

    id: str
    state: str


def digest(*values: object) -> bytes:
    """A row's digest: 16 bytes of BLAKE2b over its values in MessagePack."""
    return hashlib.blake2b(msgspec.msgpack.encode(values), digest_size=16).digest()


def create(db: apsw.Connection) -> None:
    """Make an empty file a journal, all or nothing."""
    with db:
        db.execute(SCHEMA)
        db.pragma("application_id", APPLICATION)
        db.pragma("user_version", VERSION)


def upgrade(db: apsw.Connection) -> None:
    """Bring a journal of an older version up to date, one version after the other, each all or nothing."""
    while (version := db.pragma("user_version")) in UPGRADES:
        with db:
            UPGRADES[version](db)
            db.pragma("user_version", version + 1)


def _remember(db: apsw.Connection) -> None:
    db.execute(SECOND)


def _chain(db: apsw.Connection) -> None:
    """Give every row its digest. When a run of before ended is not known."""
    db.execute("DROP INDEX orders_unresolved; DROP INDEX orders_by_age")
    for table in ("runs", "decisions", "orders", "memory"):
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    db.execute(SCHEMA)
    for run in db.execute("SELECT epoch, started_at, mode, version, config_hash, config, NULL FROM old_runs"):
        db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*run, digest(*run)))
    before = b""
    found = db.execute("SELECT epoch, seq, at, record FROM old_decisions ORDER BY epoch, seq")
    for link, decision in enumerate(found, 1):
        before = digest(before, link, *decision)
        db.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?)", (link, *decision, before))
    for order in db.execute(f"SELECT {ORDER} FROM old_orders"):  # noqa: S608 — a constant
        db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", (*order, digest(*order)))
    for mode, at, record in db.execute("SELECT mode, at, record FROM old_memory"):
        for part, value in _parts(record):
            row = (mode, part, at, value)
            db.execute("INSERT INTO memory VALUES (?, ?, ?, ?, ?)", (*row, digest(*row)))
    for table in ("decisions", "orders", "memory", "runs"):
        db.execute(f"DROP TABLE old_{table}")


def _parts(record: str) -> Iterable[tuple[str, str]]:
    try:
        found = msgspec.json.decode(record, type=dict[str, Raw])
    except msgspec.DecodeError:
        return  # the next run begins without: it could not have read it either
    for part, value in found.items():
        yield part, bytes(value).decode()


UPGRADES: Final[dict[int, Callable[[apsw.Connection], None]]] = {1: _remember, 2: _chain}
"""What leads from a version to the next."""


def doubts(db: apsw.Connection, links: int | None = None) -> str | None:
    """What is wrong with a journal, in words; None if nothing is.

    Looks at its structure and at every run, order and memory; and at the newest ``links`` of the decisions, or at all.
    """
    checks = (
        _structure(db),
        _rows(db, "runs", RUN, 1),
        _rows(db, "orders", ORDER, 1),
        _rows(db, "memory", MEMORY, 2),
        _links(db, links),
    )
    return next((found for check in checks for found in check), None)


def unfounded(db: apsw.Connection) -> str | None:
    """What the orders say that does not follow from the decisions, or the other way round; None if all does."""
    told: dict[str, tuple[Any, ...]] = {}
    last = (0, 0)
    for epoch, seq, at, record in db.execute("SELECT epoch, seq, at, record FROM decisions ORDER BY link"):
        if (epoch, seq) <= last:
            return f"decision {epoch}/{seq} comes after {last[0]}/{last[1]}"
        last = (epoch, seq)
        for order in msgspec.json.decode(record, type=Named).orders:
            key = msgspec.json.decode(order, type=Key)
            first = told.get(key.id, (key.id, epoch, seq))[:3]
            told[key.id] = (*first, at, key.state, bytes(order).decode())
    for row in db.execute(f"SELECT {ORDER} FROM orders"):  # noqa: S608 — a constant
        if told.pop(row[0], None) != row:
            return f"order {row[0]} is not what the decisions say of it"
    return next((f"order {name} was decided on and is missing" for name in told), None)


def _structure(db: apsw.Connection) -> Iterable[str]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"
    model = apsw.Connection(":memory:")
    model.execute(SCHEMA)
    if list(db.execute(query)) != list(model.execute(query)):
        yield "its tables are not those of a journal"
    model.close()
    if (found := db.pragma("quick_check")) != "ok":
        yield str(found)


def _rows(db: apsw.Connection, table: str, columns: str, key: int) -> Iterable[str]:
    for *row, found in db.execute(f"SELECT {columns}, digest FROM {table}"):  # noqa: S608 — constants
        if digest(*row) != found:
            yield f"{table}: the row {', '.join(map(str, row[:key]))} is not what was written"


def _links(db: apsw.Connection, links: int | None) -> Iterable[str]:
    """From the newest back: each digest is checked once the one before it is known."""
    limit = -1 if links is None else links + 1
    found = db.execute(f"SELECT {DECISION}, digest FROM decisions ORDER BY link DESC LIMIT ?", (limit,))  # noqa: S608
    later: tuple[Any, ...] | None = None
    for *row, seal in found:
        if later is not None and (later[0] != row[0] + 1 or digest(seal, *later[:-1]) != later[-1]):
            yield f"decisions: the chain is broken at {later[0]}"
        later = (*row, seal)
    if later is not None and later[0] == 1 and digest(b"", *later[:-1]) != later[-1]:
        yield "decisions: the chain is broken at 1"
    if later is not None and later[0] != 1 and links is None:
        yield f"decisions: the chain begins at {later[0]}"
