"""An asyncio event loop in virtual time: no selector, no threads, no waiting, and every chance from one seed.

When nothing is ready, time leaps to the next timer. What is ready runs first in, first out, as on every asyncio loop,
because libraries rely on it; what differs from seed to seed is what differs in life: when bytes arrive (`tcp`).

A *host* is a name in the context of a task, inherited by all that the task starts. A host can be paused and resumed,
like a suspended process, or paused for good, like one that was killed: none of its callbacks runs any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from unittest.mock import patch

import aiohttp.connector

S = 1_000_000_000
START_NS = 1_790_000_000 * S
"""UTC when every loop begins."""
RESOLUTION_S = 1e-9
HOST: ContextVar[str] = ContextVar("HOST", default="")
"""On which host a callback runs."""


MOST_AT_ONCE = 20_000
"""Callbacks at one moment, beyond which nobody believes that they come to an end."""


class Asleep(RuntimeError):
    """Everything waits, and nothing will ever happen."""


class Spinning(RuntimeError):
    """So much happens that time stands still."""


class Loop(asyncio.BaseEventLoop):
    """The loop. ``random`` is the chance of this world; the network and the faults draw from generators of their own
    made with it."""

    # Of asyncio.BaseEventLoop, as every CPython from 3.4 on has them; `_run_once` is the one method replaced.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool
    _clock_resolution: float

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._clock_resolution = RESOLUTION_S
        self._now_s = 0.0
        self._paused: dict[str, list[asyncio.Handle]] = {}
        self.random = random.Random(seed)
        self.steps = 0
        """Callbacks that have run."""
        self._since = 0
        """How many had when this moment began."""

    def time(self) -> float:
        """Seconds since the world began."""
        return self._now_s

    def now_ns(self) -> int:
        """UTC in nanoseconds."""
        return START_NS + self.monotonic_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since the world began."""
        return round(self._now_s * S)

    def pause(self, host: str) -> None:
        """Let nothing of a host run until `resume`: what is due meanwhile waits, in order."""
        self._paused.setdefault(host, [])

    def resume(self, host: str) -> None:
        """Let a paused host go on with all that has become due."""
        self._ready.extend(self._paused.pop(host, ()))

    def _run_once(self) -> None:
        """One round: let time leap if nothing is ready, then run what is ready now."""
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)
        if not ready and not self._stopping:
            if not scheduled:
                raise Asleep("everything waits, and nothing will ever happen")
            if scheduled[0].when() > self._now_s:
                self._now_s, self._since = scheduled[0].when(), self.steps
        if self.steps > self._since + MOST_AT_ONCE:
            self._since = self.steps  # what clears up afterwards may take its time again
            raise Spinning(f"more than {MOST_AT_ONCE} callbacks at {self._now_s} s")
        due = self._now_s + RESOLUTION_S
        while scheduled and scheduled[0].when() < due:
            ready.append(heapq.heappop(scheduled))
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if self._paused:
                waiting = self._paused.get(handle._context.get(HOST))  # type: ignore[attr-defined]
                if waiting is not None:
                    waiting.append(handle)
                    continue
            self.steps += 1
            handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """There are no threads: the work is done at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 — the future carries it to whoever awaits
            future.set_exception(error)
        return future


@contextlib.contextmanager
def world(loop: Loop) -> Iterator[None]:
    """Every clock and every source of chance that a library may ask is the loop's, until the context ends."""

    def chance(count: int) -> bytes:
        return loop.random.randbytes(count)

    state = random.getstate()
    random.seed(loop.random.getrandbits(64))
    with contextlib.ExitStack() as patches:
        for place, name, ours in (
            (time, "time", lambda: loop.now_ns() / S),
            (time, "time_ns", loop.now_ns),
            (time, "monotonic", loop.time),
            (time, "monotonic_ns", loop.monotonic_ns),
            (aiohttp.connector, "monotonic", loop.time),
            (os, "urandom", chance),
            (random, "_urandom", chance),  # what `secrets` and `random.SystemRandom` draw from
        ):
            patches.enter_context(patch.object(place, name, ours))
        asyncio.set_event_loop(loop)
        try:
            yield
        finally:
            asyncio.set_event_loop(None)
            random.setstate(state)
