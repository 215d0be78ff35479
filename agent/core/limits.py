"""Request budgets: buckets that believe the venue, lanes that let safety go first, back-off. Told the time."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from msgspec.structs import replace

from agent.core.events import Denied, Fact, Lost, Unanswered
from agent.core.venue import SIGNED, Ask, Bucket, Lane, Place, Request, Weight

SHARE = {Lane.RESCUE: 0.9, Lane.RESOLVE: 0.65, Lane.CREATE: 0.6, Lane.REFRESH: 0.5}
"""The part of each budget up to which a lane may go on, so that what matters more always has room left.

Whatever is asked of the agent, questions and increases use no more than two thirds of a budget; the next quarter is for
cancels and reductions alone, and the last tenth is never touched.
"""
RECOVERY_NS = 60_000_000_000
"""For so long after a throttle, and ten times as long after a ban, all but cancels and reductions keep to half of their
share."""
PROBE_NS = 60_000_000_000
"""How often it is tried whether a key that was refused is taken again."""
MOST = 1_000
"""So many requests may wait in a lane. One more is not taken: whoever wanted it is told, or asks again by himself."""


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
    address or account. So is the size of a budget, which the venue may change.
    """

    def __init__(self, buckets: tuple[Bucket, ...]) -> None:
        self.gauges = {bucket.name: Gauge(bucket) for bucket in buckets}
        self.waiting: dict[Lane, dict[Request, Weight]] = {lane: {} for lane in Lane}
        self.silent_until = 0
        self.careful_until = 0

    def put(self, request: Request, weight: Weight) -> bool:
        """Queue a request; one that already waits does so once. False: too many wait, and it was not taken."""
        lane = self.waiting[weight.lane]
        if len(lane) >= MOST and request not in lane:
            return False
        lane.setdefault(request, weight)
        return True

    def told(self, bucket: str, amount: int, now: int) -> None:
        """The venue says how much of a bucket is used."""
        gauge = self.gauges.get(bucket)
        if gauge is not None:
            gauge.roll(now)
            gauge.used = max(gauge.used, amount)

    def allow(self, bucket: str, capacity: int) -> None:
        """The venue says how large a bucket is."""
        gauge = self.gauges.get(bucket)
        if gauge is not None:
            gauge.bucket = replace(gauge.bucket, capacity=capacity)

    def throttle(self, until: int, *, banned: bool = False) -> None:
        """Nothing leaves before ``until``, and little for some time after."""
        self.silent_until = max(self.silent_until, until)
        self.careful_until = max(self.careful_until, until + RECOVERY_NS * (10 if banned else 1))

    def due(self, now: int) -> list[Request]:
        """The requests that may leave now, most urgent lane first; their price is taken from the buckets.

        One that is short of a bucket holds back what comes after it only in that bucket. An order whose time is over
        is handed out as well, at no price and in silence too: it will not be sent, and must be told so.
        """
        for gauge in self.gauges.values():
            gauge.roll(now)
        leaving: list[Request] = []
        held: dict[str, None] = {}
        for queue in self.waiting.values():
            first = len(leaving)
            for request, weight in queue.items():
                if isinstance(request, Place) and now >= request.order.expires_at:
                    leaving.append(request)
                elif now < self.silent_until:
                    continue
                elif self._short(weight, now) or any(name in held for name, _ in weight.takes):
                    held.update(dict.fromkeys(name for name, _ in weight.takes))
                else:
                    for name, amount in weight.takes:
                        self.gauges[name].used += amount
                    leaving.append(request)
            for request in leaving[first:]:
                del queue[request]
        return leaving

    def _short(self, weight: Weight, now: int) -> list[Gauge]:
        """The buckets that have too little left for a request of this lane and price."""
        share = SHARE[weight.lane]
        if now < self.careful_until and weight.lane is not Lane.RESCUE:
            share /= 2
        wanted = [(self.gauges[name], amount) for name, amount in weight.takes]
        return [gauge for gauge, amount in wanted if gauge.used + amount > share * gauge.bucket.capacity]

    def wake_at(self, now: int) -> int | None:
        """When something that waits may leave, or its time is over; None when nothing waits."""
        waiting = [entry for queue in self.waiting.values() for entry in queue.items()]
        times = [request.order.expires_at for request, _ in waiting if isinstance(request, Place)]
        if waiting and now < self.silent_until:
            return min([self.silent_until, *times])
        held: dict[str, None] = {}
        for _, weight in waiting:
            names = [name for name, _ in weight.takes]
            if short := self._short(weight, now):
                times.append(max(gauge.opens_at() for gauge in short))
                times += [self.careful_until] if now < self.careful_until else []
                held.update(dict.fromkeys(names))
            elif not any(name in held for name in names):
                times.append(now)
        return min(times, default=None)


class Lockout:
    """While the venue refuses our key: one request with it a minute, to see whether it is taken again.

    Whoever asks on and on with a key that is not taken is banned, by its address.
    """

    def __init__(self) -> None:
        self.until: int | None = None
        """Nothing with the key leaves before then; None while it is taken."""

    def heard(self, request: Request, facts: Sequence[Fact], now: int) -> None:
        """The answer to a request has come."""
        if any(isinstance(fact, Denied) for fact in facts):
            self.until = now + PROBE_NS
        elif needs_key(request) and not any(isinstance(fact, Unanswered | Lost) for fact in facts):
            self.until = None

    def holds(self, request: Request, now: int) -> bool:
        """Whether a request must not leave now. One that may, while the key is refused, is the probe of this minute."""
        if self.until is None or not needs_key(request):
            return False
        if now < self.until:
            return True
        self.until = now + PROBE_NS
        return False


def needs_key(request: Request) -> bool:
    """Whether a request is one that may need a key."""
    return not isinstance(request, Ask) or request.what in SIGNED
