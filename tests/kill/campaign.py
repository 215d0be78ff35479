"""Killed at every step: how many points there are, which are struck, and whether anything was lost or doubled.

A run without a kill says how many steps a life has, so the number of points can't shrink silently. Then one life for
each step dies there, and a clean one recovers on the same folder until it is at rest. In a pair the recovering life is
killed as well, at a step drawn by lot, and a third one recovers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct, field

from tests.kill.life import Life
from tests.kill.nursery import Nursery
from tests.kill.quick import QuickLoop
from tests.kill.trial import SPEED, Scene, Trial, Violation

SCENES = {
    "taker, calm": Scene(maker=False, rough=False),
    "maker, calm": Scene(maker=True, rough=False),
    "taker, rough": Scene(maker=False, rough=True, seed=1),
    "maker, rough": Scene(maker=True, rough=True, seed=2),
}
"""Orders that take and orders that rest, on a venue where all goes well and on one that leaves every second order's
fate open."""
TRIES = 4
"""Steps of real processes are not the same number twice: a life that ended before its step is tried again, with an
earlier one."""


class Tally(Struct):
    """What became of one scene."""

    steps: int
    """Of a life that is not killed, from its start to its rest."""
    steps_before_orders: int
    recovery_steps: int
    """Of a life that recovers, from its start to its rest."""
    points: int = 0
    """Lives killed once."""
    pairs: int = 0
    """Lives killed, and killed again while they recovered."""
    missed: int = 0
    """Points whose step no life reached."""


class Report(Struct):
    """What a campaign found."""

    speed: float
    enumerated: str
    scenes: dict[str, Tally] = field(default_factory=dict)
    points: int = 0
    pairs: int = 0
    orders: int = 0
    """That the exchange accepted."""
    died: dict[str, int] = field(default_factory=dict)
    """Where the kills struck."""
    faults: dict[str, int] = field(default_factory=dict)
    """What struck at the venue meanwhile."""
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    complete: bool = False
    """Everything that was asked for was struck within the time."""


class Point(Struct, frozen=True):
    """One trial to be made: the share of its life's steps at which it dies, and of its recovery's, if that dies too."""

    scene: str
    first: float
    second: float | None = None


ENUMERATED = (
    "every step of a whole life from its start to its rest: before and after each resumption of each task, "
    "before and after each commit of the journal, before and after each write of an HTTP connection"
)


def points(scene: str, singles: int, pairs: int, seed: int) -> Iterator[Point]:
    """Singles evenly over the whole life, at every step if there are as many; pairs by lot."""
    dice = random.Random(f"{scene}:{seed}")
    for number in range(singles):
        yield Point(scene=scene, first=(number + 0.5) / singles)
    for _ in range(pairs):
        yield Point(scene=scene, first=dice.random(), second=dice.random())


class Campaign:
    """All trials of a campaign, several at a time."""

    def __init__(self, folder: Path, progress: Callable[[str, float], None]) -> None:
        self.report = Report(speed=SPEED, enumerated=ENUMERATED)
        self._folder = folder
        self._progress = progress
        self._died: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._number = 0

    async def run(self, singles: int, pairs: int, workers: int, seconds: float, seed: int) -> Report:
        """Make them all, or as many as the time allows."""
        started = time.monotonic()
        async with Nursery() as nursery:
            for name, scene in SCENES.items():
                await self._measure(name, scene, nursery)
        waiting = [
            list(points(name, share(singles, index), share(pairs, index), seed)) for index, name in enumerate(SCENES)
        ]
        queue = [point for scene in waiting for point in scene]
        random.Random(seed).shuffle(queue)  # so that a campaign cut short has seen a bit of everything
        total = len(queue)

        async def work() -> None:
            async with Nursery() as nursery:
                while queue and time.monotonic() < started + seconds:
                    point = queue.pop()
                    await self._strike(point, nursery)
                    done = total - len(queue)
                    what = f"{self.report.points} kills, {self.report.pairs} pairs, "
                    self._progress(f"{what}{len(self.report.violations)} violations", done / total)

        await asyncio.gather(*(work() for _ in range(workers)))
        self.report.complete = not queue
        self.report.seconds = round(time.monotonic() - started, 1)
        self.report.died = dict(self._died.most_common())
        self.report.faults = dict(sorted(self._faults.items()))
        return self.report

    async def _measure(self, name: str, scene: Scene, nursery: Nursery) -> None:
        """How many steps a life has that nobody kills, and one that recovers from a kill halfway."""
        async with Trial(scene, self._room()) as trial:
            whole = await nursery.live(trial.birth())
            self._judge(name, trial, whole)
        assert whole.ticks is not None, f"{name}: a life that nobody kills must come to rest"
        async with Trial(scene, self._room()) as trial:
            await nursery.live(trial.birth(kill_at=(whole.before_orders + whole.ticks) // 2))
            trial.heal()
            after = await nursery.live(trial.birth())
        assert after.ticks is not None, f"{name}: a life that recovers must come to rest"
        self.report.scenes[name] = Tally(
            steps=whole.ticks, steps_before_orders=whole.before_orders, recovery_steps=after.ticks
        )

    async def _strike(self, point: Point, nursery: Nursery) -> None:
        """Kill once or twice, recover, judge."""
        tally = self.report.scenes[point.scene]
        first = max(1, round(point.first * tally.steps))
        second = None if point.second is None else max(1, round(point.second * tally.recovery_steps))
        for _ in range(TRIES):
            scene = SCENES[point.scene]
            self._number += 1
            async with Trial(Scene(scene.maker, scene.rough, self._number), self._room()) as trial:
                life = await nursery.live(trial.birth(kill_at=first))
                if not killed(life):
                    first = max(1, first * 3 // 4)
                    continue
                deaths = [life]
                if second is not None:
                    life = await nursery.live(trial.birth(kill_at=second))
                    if not killed(life):
                        second = max(1, second * 3 // 4)
                        continue
                    deaths.append(life)
                trial.heal()
                where = " and ".join(str(death.died) for death in deaths)
                last = await nursery.live(trial.birth())
                self._judge(f"{point.scene}, killed {where} (steps {first}, {second})", trial, last)
                self._died.update(str(death.died) for death in deaths)
                self._faults.update(trial.struck)
                self.report.orders += len(trial.exchange.ledger.orders)
                if second is None:
                    tally.points += 1
                    self.report.points += 1
                else:
                    tally.pairs += 1
                    self.report.pairs += 1
                return
        tally.missed += 1

    def _judge(self, what: str, trial: Trial, last: Life) -> None:
        if last.status or last.rest is None:
            log = (trial.folder / "log").read_text().strip().splitlines()
            self.report.violations.append(f"{what}: status {last.status}, not at rest: {' | '.join(log[-5:])}")
            return
        try:
            trial.audit(last.rest)
        except Violation as violation:
            self.report.violations.append(f"{what}: {violation}")

    def _room(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._folder))


def share(whole: int, index: int) -> int:
    """The part of a number that falls to one of the scenes."""
    return (whole + index) // len(SCENES)


def killed(life: Life) -> bool:
    """Whether a life ended as it was told to."""
    return life.died is not None and life.status == signal.SIGKILL


def campaign(
    singles: int,
    pairs: int,
    *,
    workers: int = 2,
    seconds: float = float("inf"),
    seed: int = 0,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Report:
    """Strike so many single points and pairs, within so many real seconds."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # connections die on purpose here
    with (
        tempfile.TemporaryDirectory(prefix="trimtab-kill-") as folder,
        asyncio.Runner(loop_factory=lambda: QuickLoop(SPEED)) as runner,
    ):
        return runner.run(Campaign(Path(folder), progress).run(singles, pairs, workers, seconds, seed))
