"""Many storms on the wire, in several processes: what struck, what was broken, and how long things took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from adapters.simulator import RequestFault
from tests.storm.watchman import Violation
from tests.wire_storm.scene import GATE, HOST_FAULTS, NETWORK, Outcome, storm

KINDS: Final = (
    *(f"{'requests' if isinstance(fault, RequestFault) else 'frames'}: {fault.do}" for fault in GATE),
    *(f"network: {name}" for name in NETWORK),
    *(f"host: {name}" for name in HOST_FAULTS),
)
"""Every kind of fault that a storm may draw."""
STRIKES: Final = {
    "A1": ("frames: mute",),
    "A3": ("frames: half open", "network: half_open"),
    "A4": ("frames: disconnect", "frames: reset", "frames: cut", "network: cut"),
    "A6": ("network: refused", "network: unanswered"),
    "A8": ("frames: repeat", "frames: reorder", "frames: replay"),
    "A11": ("frames: burst",),
    "B1": ("frames: expire key", "frames: expire key untold"),
    "B7": ("requests: stale",),
    "C1": ("requests: unknown", "requests: unknown done", "requests: timeout", "requests: bad gateway"),
    "C2": ("requests: lose", "requests: lose reply", "requests: cut", "network: cut"),
    "C3": ("requests: hold",),
    "C9": ("requests: limit",),
    "C20": ("requests: html", "requests: redirect"),
    "C22": ("requests: drip", "network: drip"),
    "F1": ("host: crash",),
    "F2": ("host: crash in recovery",),
    "F6": ("host: suspension",),
    "F7": ("host: clock step",),
}
"""Faults of the catalogue, and the kinds that are these."""
BATCH: Final = 10
"""Storms that a process does before it reports."""
TENTH_S: Final = 0.1


class Report(Struct):
    """What has come of a range of seeds so far. Spans of time are counted in tenths of a second, so that the reports
    of several runs can be added."""

    first: int
    next: int
    """All seeds from ``first`` up to this one, and not this one, have been done."""
    commit: str = ""
    """What was tested, where that was asked for."""
    seconds: float = 0.0
    """Wall time."""
    violations: dict[int, str] = field(default_factory=dict)
    """By seed: what was broken."""
    faults: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    overshoot: float = 0.0
    """Lots beyond the hull, in the worst storm, which is ``overshoot_seed``."""
    overshoot_seed: int | None = None
    rests: dict[int, int] = field(default_factory=dict)
    """From the end of all faults to rest."""
    doubts: dict[int, int] = field(default_factory=dict)
    """How long it took to learn what became of an order of unknown fate."""

    @property
    def storms(self) -> int:
        """How many were done."""
        return self.next - self.first

    @property
    def silent(self) -> list[str]:
        """Kinds of fault that have never struck."""
        return [kind for kind in KINDS if not self.faults.get(kind)]

    def add(self, seed: int, outcome: Outcome | str) -> None:
        """Take in one storm, in the order of seeds."""
        assert seed == self.next, "seeds come in order"
        self.next += 1
        if isinstance(outcome, str):
            self.violations[seed] = outcome
            return
        self.orders += outcome.orders
        _add(self.faults, outcome.faults)
        _add(self.states, outcome.states)
        _add(self.rests, Counter([ceil(outcome.rest_s / TENTH_S)]))
        _add(self.doubts, Counter(ceil(seconds / TENTH_S) for seconds in outcome.doubts))
        if outcome.overshoot > self.overshoot:
            self.overshoot, self.overshoot_seed = outcome.overshoot, seed


def _add(totals: dict[Any, int], counts: Mapping[Any, int]) -> None:
    for key, count in counts.items():
        totals[key] = totals.get(key, 0) + count


def percentile(spans: Mapping[int, int], part: float) -> float:
    """The span in seconds below which this part of all lies; 0 of none."""
    left = ceil(sum(spans.values()) * part)
    for tenths in sorted(spans):
        left -= spans[tenths]
        if left <= 0:
            return round(tenths * TENTH_S, 1)
    return 0.0


def attempt(seeds: range) -> list[tuple[int, Outcome | str]]:
    """Run storms; a broken promise comes as what was broken, and so does any other failure."""
    done: list[tuple[int, Outcome | str]] = []
    for seed in seeds:
        try:
            done.append((seed, storm(seed)))
        except Violation as violation:
            done.append((seed, str(violation)))
        except Exception as error:  # noqa: BLE001 — a storm that fails in another way is a finding as well
            done.append((seed, f"seed {seed}: {error!r}"))
    return done


def campaign(
    seeds: range,
    *,
    minutes: float = 60.0,
    processes: int = 2,
    before: Report | None = None,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Run the storms of ``seeds``, as many as the time allows, or what ``before`` has left of them."""
    report = before or Report(first=seeds.start, next=seeds.start)
    batches = (range(at, min(at + BATCH, seeds.stop)) for at in range(report.next, seeds.stop, BATCH))
    started, earlier = time.monotonic(), report.seconds
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for done in _in_order(pool, batches, processes, started + minutes * 60):
            for seed, outcome in done:
                report.add(seed, outcome)
            report.seconds = earlier + time.monotonic() - started
            progress(report)
    return report


def _in_order(
    pool: ProcessPoolExecutor, batches: Iterator[range], processes: int, until: float
) -> Iterator[list[tuple[int, Outcome | str]]]:
    """What comes of the batches, in their order; none is begun after ``until``."""
    waiting: dict[int, Future[list[tuple[int, Outcome | str]]]] = {}
    for batch in islice(batches, processes + 1):
        waiting[batch.start] = pool.submit(attempt, batch)
    while waiting:
        wait(waiting.values(), return_when=FIRST_COMPLETED)
        running = sum(not future.done() for future in waiting.values())
        if time.monotonic() < until:
            for batch in islice(batches, processes + 1 - running):
                waiting[batch.start] = pool.submit(attempt, batch)
        while waiting and (first := waiting[min(waiting)]).done():
            del waiting[min(waiting)]
            yield first.result()


def load(path: Path) -> Report:
    """A report as `save` has written it."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def save(report: Report, path: Path) -> None:
    """Write a report where it can be continued."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
