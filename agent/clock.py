"""The clock: UTC that never runs backwards."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_NS = 1_000_000_000
"""The wall clock was set, or the machine slept, when wall and monotonic progress differ by more than this."""


class Clock:
    """UTC in nanoseconds, carried on by the monotonic clock from a reading of the wall clock.

    The wall clock may be set and the monotonic clock stands still while a machine sleeps, so each reading compares the
    two. After a jump forward the time is the wall clock's again. After a jump back it goes on undisturbed, ahead of the
    wall clock: time that stood still until the wall had caught up would keep every time-out from coming. Either way
    `jump` tells of it, and what depends on the true time, such as the offset to a venue, must be measured again.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        started = monotonic()
        self._lead = wall() - started
        """What the wall clock shows beyond the monotonic one, as last agreed."""
        self._shift = self._lead
        """What is added to the monotonic clock to give the time."""
        self._jumped: int | None = None

    def now(self) -> int:
        """UTC nanoseconds, never less than before."""
        monotonic = self._monotonic()
        lead = self._wall() - monotonic
        moved = lead - self._lead
        if abs(moved) > JUMP_NS:
            self._lead = lead
            self._shift = max(self._shift, lead)
            self._jumped = (self._jumped or 0) + moved
        return monotonic + self._shift

    def jump(self) -> int | None:
        """How far the wall clock moved against the monotonic one since this was last asked, in ns; None if it didn't.

        Positive after a suspension or a step forward, negative after a step back. Jumps are seen by `now`.
        """
        jumped, self._jumped = self._jumped, None
        return jumped
