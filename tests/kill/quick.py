"""Time that runs faster, the same for several processes: an event loop and a clock at so many times real time.

Waits shrink, work does not: at twenty times real time a millisecond of computing counts as twenty. Nothing in the agent
is shortened; what takes it twelve seconds takes it twelve seconds of this time.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable

from agent.clock import Clock


class _Hasty(selectors.DefaultSelector):
    """Waits a fraction of the time it is asked to wait."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self._speed)


class QuickLoop(asyncio.SelectorEventLoop):
    """The standard event loop, whose seconds are shorter."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        super().__init__(_Hasty(speed))

    def time(self) -> float:
        return super().time() * self._speed


def wall(speed: float, zero: int) -> Callable[[], int]:
    """UTC nanoseconds that have run so much faster since ``zero``: the same in every process that is told both."""
    return lambda: zero + round((time.time_ns() - zero) * speed)


def clock(speed: float, zero: int) -> Clock:
    """The agent's clock on that time."""
    return Clock(wall=wall(speed, zero), monotonic=lambda: round(time.monotonic_ns() * speed))
