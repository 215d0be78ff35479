"""Many broken inputs, in units that can be repeated: what a unit's inputs are follows from its number alone."""

from __future__ import annotations

import random
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from msgspec import Struct, field

from tests.fuzz.surfaces import Surface, all_surfaces

UNIT: Final = 10_000
"""Inputs of a unit, over all surfaces by their shares."""
HANG_S: Final = 60
"""A thousand inputs that take longer hang: together they take a second or two, on the slowest surface."""


class Finding(Struct, frozen=True):
    """An input that something broke on. The unit's number brings it again: ``python -m tests.fuzz --first N``."""

    surface: str
    unit: int
    what: str
    input: bytes


class Tally(Struct):
    """What came of some units."""

    inputs: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another one as well."""
        self.inputs += other.inputs
        self.rejected += other.rejected
        self.findings += other.findings


class Hang(Exception):
    """It takes too long."""


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raise `Hang` inside of what takes longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_unit(number: int, surfaces: list[Surface], size: int = UNIT) -> Tally:
    """One unit; what breaks is noted, and the rest of that surface left out."""
    tally = Tally()
    for surface in surfaces:
        dice = random.Random(f"{surface.name} {number}")
        left = size * surface.share // 1000
        while left > 0:
            part = min(left, 1000)
            left -= part
            try:
                with no_longer_than(HANG_S):
                    for _ in range(part):
                        _, rejected = surface.take(dice)
                        tally.inputs[surface.name] += 1
                        tally.rejected[surface.name] += rejected
            except Exception as error:  # noqa: BLE001 — whatever it is, it is what is looked for
                where = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
                tally.findings.append(Finding(surface.name, number, what[:500], surface.last))
    return tally


class Worker:
    """A process's own surfaces, made once."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")  # noqa: S108 — files that are rewritten a thousand times a second
        self.folder = tempfile.TemporaryDirectory(prefix="trimtab-fuzz-", dir=memory if memory.is_dir() else None)
        self.surfaces = all_surfaces(Path(self.folder.name))


_worker: list[Worker] = []


def in_a_process(number: int) -> Tally:
    """One unit, in a process that does many."""
    if not _worker:
        _worker.append(Worker())
    return run_unit(number, _worker[0].surfaces)
