"""Flipped bits: each is noticed when the journal is opened, or changes nothing that it tells."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from agent.core.orders import State
from agent.journal import Journal, Unusable
from tests.storage.power import NAME, NOW, home, kill, order

PAGE = 4096


class Flipped(Struct):
    """What came of the flips: ``unnoticed`` must stay empty."""

    pages: int = 0
    flips: int = 0
    noticed: int = 0
    harmless: int = 0
    """The journal opened and told what it told before: the bit means nothing, or nothing is kept there."""
    unnoticed: list[str] = []


def make(path: Path) -> None:
    """A closed journal with a page of every kind: two runs, short and long records, open orders, memory, free pages."""
    for run in range(2):
        journal = Journal(path)
        journal.begin("live", f"# portfolio {run}\n" * 40, "0.1.0", NOW + run)
        journal.remember({"covariance": b"1" * 20_000, "symbols": b"[]"}, NOW)
        for seq in range(1, 13):
            orders = [order(f"r{run}o{seq:02d}", State.DONE if seq % 3 else State.SENT)]
            text = b'{"notes":["%s"],"orders":[]}' % (b"x" * (6_000 if seq == 7 else 150))
            journal.append(NOW + seq, seq, text, orders, urgent=True)
        journal.remember({"covariance": b"2" * 9_000}, NOW)
        journal.end(NOW + run + 1)
        journal.close()


def told(journal: Journal) -> tuple[object, ...]:
    """All that a run goes by, and all that a person asks."""
    return (
        journal.last_run(),
        journal.last_run("live"),
        journal.crashes(0),
        journal.recent(0, "live"),
        journal.recent(2**62, "live"),
        journal.orders(),
        journal.memory("live"),
        journal.decisions(),
    )


def flip(*, each: int | None = None, some: int = 0, seed: int = 0) -> Flipped:
    """Flip bits one by one: ``each`` so many of every byte, or ``some`` of each page."""
    dice = random.Random(seed)
    found = Flipped()
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        path = Path(folder) / NAME
        make(path)
        content = path.read_bytes()
        journal = Journal(path)
        before = told(journal)
        journal.close()
        found.pages = len(content) // PAGE
        chosen: Iterable[tuple[int, int]] = sample(found.pages, some, dice)
        if each is not None:
            chosen = ((byte, bit) for byte in range(len(content)) for bit in dice.sample(range(8), each))
        for byte, bit in chosen:
            damaged = bytearray(content)
            damaged[byte] ^= 1 << bit
            path.write_bytes(damaged)
            _look(path, before, f"bit {bit} of byte {byte % PAGE} of page {byte // PAGE + 1}", found)
    return found


def sample(pages: int, count: int, dice: random.Random) -> list[tuple[int, int]]:
    """So many bits of each page, one of each byte in its head, and all of the file's own head."""
    drawn = [(page * PAGE + dice.randrange(PAGE), dice.randrange(8)) for page in range(pages) for _ in range(count)]
    heads = [(page * PAGE + byte, dice.randrange(8)) for page in range(pages) for byte in range(12)]
    return [*((byte, bit) for byte in range(100) for bit in range(8)), *heads, *drawn]


def _look(path: Path, before: tuple[object, ...], where: str, found: Flipped) -> None:
    found.flips += 1
    try:
        journal = Journal(path)
    except Unusable:
        found.noticed += 1
    else:
        try:
            after: object = told(journal)
        except Unusable as error:
            after = error  # too late
        journal.close()
        if after == before:
            found.harmless += 1
        else:
            found.unnoticed.append(where)
    for rest in (f"{path}-wal", f"{path}-shm", f"{path}-journal"):
        Path(rest).unlink(missing_ok=True)


# The log


class Log(Struct):
    """What came of the flips in SQLite's log after a crash: ``unnoticed`` must stay empty."""

    flips: int = 0
    noticed: int = 0
    harmless: int = 0
    last: int = 0
    """The last commit was taken for one that a crash had cut off: nothing else can be known of it."""
    unnoticed: list[str] = []


def flip_log(count: int, seed: int = 0) -> Log:
    """Flip so many bits, one by one, of the log that a killed run left: six commits, the last of them apart."""
    dice = random.Random(seed)
    found = Log()
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        path, files = Path(folder) / NAME, dict[str, bytes]()
        journal = Journal(path)
        journal.begin("live", "", "0.1.0", NOW)
        journal.close()
        journal = Journal(path)
        journal.begin("live", "", "0.1.0", NOW)
        shorter: tuple[object, ...] = ()
        for seq in range(1, 6):
            shorter = told(journal)
            journal.append(NOW + seq, seq, b'{"orders":[]}', [order(f"o{seq}")], urgent=True)
        before = told(journal)
        kill(journal)
        for file in path.parent.iterdir():
            files[file.name] = file.read_bytes()
        log = f"{NAME}-wal"
        for _ in range(count):
            byte, bit = dice.randrange(len(files[log])), dice.randrange(8)
            for name, content in files.items():
                (path.parent / name).write_bytes(content)
            damaged = bytearray(files[log])
            damaged[byte] ^= 1 << bit
            (path.parent / log).write_bytes(damaged)
            found.flips += 1
            try:
                journal = Journal(path)
            except Unusable:
                found.noticed += 1
                continue
            after = told(journal)
            journal.close()
            if after == before:
                found.harmless += 1
            elif after == shorter:
                found.last += 1
            else:
                found.unnoticed.append(f"bit {bit} of byte {byte} of the log")
    return found
