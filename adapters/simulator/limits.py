"""Request weights, order counts, and what happens to those who go over them."""

from msgspec import Struct

MINUTE_MS = 60_000


class Limit(Struct, frozen=True):
    """So much in each interval; intervals begin on the clock, not with the first request."""

    most: int
    interval_ms: int


class Counter:
    """What one party has used of one limit in the current interval."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._interval = -1
        self._used = 0

    def used(self, now_ms: int) -> int:
        """How much is used up in this interval."""
        interval = now_ms // self.limit.interval_ms
        if interval != self._interval:
            self._interval, self._used = interval, 0
        return self._used

    def add(self, amount: int, now_ms: int) -> bool:
        """Use some; whether it still was within the limit."""
        self._used = self.used(now_ms) + amount
        return self._used <= self.limit.most

    def wait_ms(self, now_ms: int) -> int:
        """How long until the next interval begins."""
        return self.limit.interval_ms - now_ms % self.limit.interval_ms


class Gate:
    """The request weight of one address: first refusals, then a ban that grows when repeated.

    `PATIENCE` requests over the limit in one minute are answered with 429; whoever goes on is
    banned, for two minutes the first time and twice as long each further time.
    """

    PATIENCE = 10
    FIRST_BAN_MS = 2 * MINUTE_MS
    LONGEST_BAN_MS = 3 * 86_400_000

    def __init__(self, limit: Limit) -> None:
        self.weight = Counter(limit)
        self.banned_until_ms = 0
        self._over = Counter(Limit(self.PATIENCE, limit.interval_ms))
        self._bans = 0

    def enter(self, weight: int, now_ms: int) -> int:
        """200 when the request may pass, else 429 or 418."""
        if now_ms < self.banned_until_ms:
            return 418
        if self.weight.add(weight, now_ms):
            return 200
        if self._over.add(1, now_ms):
            return 429
        self.ban(now_ms, min(self.FIRST_BAN_MS << self._bans, self.LONGEST_BAN_MS))
        return 418

    def ban(self, now_ms: int, for_ms: int) -> None:
        """Shut this address out for a time."""
        self._bans += 1
        self.banned_until_ms = now_ms + for_ms
