"""Request budgets: buckets that believe the venue, lanes that let safety go first, back-off. Told the time."""

from __future__ import annotations

from collections import deque
from hashlib import blake2b

from agent.core.venue import Bucket, Lane, Place, Request, Weight

SHARE = {Lane.RESCUE: 0.9, Lane.RESOLVE: 0.75, Lane.CREATE: 0.65, Lane.REFRESH: 0.5}
"""The part of each budget up to which a lane may go on, so that what matters more always has room left."""


def backoff(attempt: int, salt: str, base_ns: int = 500_000_000, cap_ns: int = 30_000_000_000) -> int:
    """How long to wait before trying again: full jitter under a doubling cap.

    The jitter comes from ``salt`` and ``attempt`` alone, so a recorded run repeats it exactly while two agents, or two
    sockets of one agent, do not wait in step.
    """
    digest = blake2b(f"{salt}:{attempt}".encode(), digest_size=8).digest()
    ceiling = min(cap_ns, base_ns << min(attempt, 16))
    return ceiling * int.from_bytes(digest) >> 64


class Gauge:
    """How much of a bucket is used in its present window."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self.window = 0
        self.used = 0

    def roll(self, now: int) -> None:
        """Start a new window when its time has come."""
        window = now // self.bucket.window_ns
        if window != self.window:
            self.window, self.used = window, 0

    def opens_at(self) -> int:
        """When the next window starts."""
        return (self.window + 1) * self.bucket.window_ns


class Lanes:
    """Requests waiting for budget, in four lanes.

    The venue's own count, where it sends one, is believed whenever it is higher than ours: others may use the same
    address or account.
    """

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self.gauges = {bucket.name: Gauge(bucket) for bucket in buckets}
        self.waiting: dict[Lane, deque[tuple[Request, Weight]]] = {lane: deque() for lane in Lane}
        self.silent_until = 0

    def put(self, request: Request, weight: Weight) -> None:
        """Queue a request; a question that already waits is not asked twice."""
        lane = self.waiting[weight.lane]
        if not any(waiting == request for waiting, _ in lane):
            lane.append((request, weight))

    def told(self, bucket: str, amount: int, now: int) -> None:
        """The venue says how much of a bucket is used."""
        gauge = self.gauges.get(bucket)
        if gauge is not None:
            gauge.roll(now)
            gauge.used = max(gauge.used, amount)

    def throttle(self, until: int) -> None:
        """Nothing leaves before ``until``."""
        self.silent_until = max(self.silent_until, until)

    def due(self, now: int) -> list[Request]:
        """The requests that may leave now, most urgent lane first; their price is taken from the buckets.

        One that is short of a bucket holds back what comes after it only in that bucket. An order whose time is over
        is handed out as well, at no price: it will not be sent, and must be told so.
        """
        if now < self.silent_until:
            return []
        for gauge in self.gauges.values():
            gauge.roll(now)
        leaving: list[Request] = []
        held: dict[str, None] = {}
        for queue in self.waiting.values():
            for _ in range(len(queue)):
                request, weight = queue.popleft()
                if isinstance(request, Place) and now >= request.order.expires_at:
                    leaving.append(request)
                elif self._short(weight) or any(name in held for name, _ in weight.takes):
                    held.update(dict.fromkeys(name for name, _ in weight.takes))
                    queue.append((request, weight))
                else:
                    for name, amount in weight.takes:
                        self.gauges[name].used += amount
                    leaving.append(request)
        return leaving

    def _short(self, weight: Weight) -> list[Gauge]:
        """The buckets that have too little left for a request of this lane and price."""
        share = SHARE[weight.lane]
        wanted = [(self.gauges[name], amount) for name, amount in weight.takes]
        return [gauge for gauge, amount in wanted if gauge.used + amount > share * gauge.bucket.capacity]

    def wake_at(self, now: int) -> int | None:
        """When something that waits may leave, or its time is over; None when nothing waits."""
        waiting = [entry for queue in self.waiting.values() for entry in queue]
        times = [request.order.expires_at for request, _ in waiting if isinstance(request, Place)]
        if waiting and now < self.silent_until:
            return self.silent_until
        held: dict[str, None] = {}
        for _, weight in waiting:
            names = [name for name, _ in weight.takes]
            if short := self._short(weight):
                times.append(max(gauge.opens_at() for gauge in short))
                held.update(dict.fromkeys(names))
            elif not any(name in held for name in names):
                times.append(now)
        return min(times, default=None)
