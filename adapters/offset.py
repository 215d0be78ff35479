"""How far a venue's clock is ahead of ours, from questions about its time, whatever the venue."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from adapters.reading import MS
from agent.core.events import Clock

SAMPLES: Final = 8
DRIFT_PPM: Final = 200
"""How far two clocks that nobody keeps may drift apart, in parts of a million: twice what a poor crystal does."""


class Sample(Struct, frozen=True):
    """One measurement: its round trip, what it says of the offset, and when by our clock it ended."""

    trip_ns: int
    offset_ns: int
    at: int

    def error_ns(self, now: int) -> int:
        """How wrong it may be: half of its round trip, and more with age."""
        return self.trip_ns // 2 + (now - self.at) * DRIFT_PPM // 1_000_000


class Offset:
    """The best of the last measurements: not the newest, but the one that can be least wrong by now."""

    def __init__(self) -> None:
        self.ns = 0
        self.error_ns = 0
        self._samples: list[Sample] = []

    def measure(self, asked_at: int, venue_at: int, unit_ns: int, now: int) -> Clock:
        """Take in an answer to a question that left at ``asked_at``; the venue tells its time in whole ``unit_ns``.

        Measurements that the newest one contradicts are from before one of the clocks was set, and are dropped. Raises
        ValueError if our own clock has gone backwards meanwhile.
        """
        trip = now - asked_at
        if trip < 0:
            raise ValueError("our clock went backwards")
        newest = Sample(trip, venue_at - (asked_at + trip // 2), now)
        agreeing = [
            one
            for one in self._samples
            if abs(one.offset_ns - newest.offset_ns) <= one.error_ns(now) + newest.error_ns(now) + unit_ns
        ]
        self._samples = [*agreeing, newest][-SAMPLES:]
        best = min(self._samples, key=lambda one: one.error_ns(now))
        self.ns, self.error_ns = best.offset_ns, best.error_ns(now)
        return Clock(self.ns, self.error_ns)

    def venue_ms(self, now: int) -> int:
        """The venue's time of a moment of ours, in its milliseconds."""
        return (now + self.ns) // MS

    def earliest(self, at: int) -> int:
        """The venue's time of a moment of ours, at the earliest that it can be."""
        return at + self.ns - self.error_ns

    def window_ms(self, now: int, expires_at: int, most_ms: int) -> int:
        """How old a request that is signed now may be when the venue takes it, if it must not be later than a moment of
        ours: less than 1 where that can't be kept any more."""
        return min(most_ms, self.earliest(expires_at) // MS - self.venue_ms(now) - 1)

    def forget(self) -> None:
        """The venue says that our time is wrong: whatever was measured is not believed any more."""
        self._samples.clear()
