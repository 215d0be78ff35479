"""The pulse: whether the streams still tell what they should, and what to do about one that doesn't.

A socket can be open, answer pings and say nothing. Marks come every second, so their silence is heard by the clock,
symbol by symbol. An idle account says nothing, so the silence of its stream shows only in what answers bring to light.
"""

from __future__ import annotations

from msgspec import Struct

from agent.core.audit import Audit
from agent.core.book import Account
from agent.core.events import MARKET, PRIVATE
from agent.core.orders import S
from agent.core.venue import What

RELAPSE_NS = 30 * S
"""A symbol that falls silent again this soon was told by an answer in between, not by its stream."""
REST_NS = 60 * S
"""A stream is connected anew this often at most; doubled each time, for a symbol that the venue itself has stopped."""
LONGEST_REST_NS = 600 * S


class Rest(Struct):
    """When a stream may be connected anew, and how often in a row it was."""

    until: int = 0
    times: int = 0


class Finding(Struct, frozen=True):
    """Something to say: of a symbol, or of a stream that is to be connected anew (``reopen``)."""

    text: str
    symbol: str | None = None
    reopen: str | None = None


class Pulse:
    """Watches over the marks of an account's symbols, none of which may be silent for longer than ``limit_ns``."""

    def __init__(self, account: Account, limit_ns: int) -> None:
        self.account = account
        self.limit_ns = limit_ns
        self.silent: dict[int, int] = {}
        """Symbols whose marks are too old, by index, and since when, by our clock."""
        self._before: dict[int, int] = {}
        """Symbols that were silent, and when they were last heard of again."""
        self._rests: dict[str, Rest] = {}
        self._heeded: int | None = None
        """The last discovery of something untold that was acted on."""
        self._doubted: dict[int, None] = {}

    def look(self, audit: Audit, now: int) -> list[Finding]:
        """What is newly amiss. Prices and time are asked for where marks are silent or doubted."""
        up = self.account.streams.get(MARKET)
        found = self._doubts(audit, now)
        if up is not None:
            for index in self.account.rows:
                found += self._listen(audit, index, up, now)
        private = self.account.streams.get(PRIVATE)
        missed_at = self.account.missed_at
        if private is not None and missed_at is not None and missed_at not in (self._heeded, private):
            self._heeded = missed_at
            what = "an answer of the venue shows a change that the private stream has not told"
            found += self._reopen(PRIVATE, what, now)
        return found

    def _listen(self, audit: Audit, index: int, up: int, now: int) -> list[Finding]:
        row = self.account.rows[index]
        if now - max(up, row.mark_seen or 0) <= self.limit_ns:
            if index in self.silent:
                del self.silent[index]
                self._before[index] = now
            return []
        since = self.silent.get(index)
        if since is None:
            self.silent[index] = now
            for what in (What.PRICES, What.TIME):  # a clock that is off makes fresh prices look old
                audit.hurry(what, now, 0)
            before = self._before.pop(index, None)
            if before is None or now - before > RELAPSE_NS:
                text = f"no mark price for {self.limit_ns / S:g} s: nothing that depends on it increases; asking for it"
                return [Finding(text, symbol=row.symbol)]
        elif now - since < self.limit_ns:
            return []
        return self._reopen(MARKET, f"{row.symbol} stays silent", now)

    def _doubts(self, audit: Audit, now: int) -> list[Finding]:
        found = []
        for index, row in self.account.rows.items():
            if row.doubt is None:
                self._doubted.pop(index, None)
            elif index not in self._doubted:
                self._doubted[index] = None
                audit.hurry(What.PRICES, now, 0)
                found.append(Finding(f"its price is not believed yet: {row.doubt.why}", symbol=row.symbol))
        return found

    def _reopen(self, stream: str, why: str, now: int) -> list[Finding]:
        rest = self._rests.setdefault(stream, Rest())
        if now < rest.until:
            return []
        if now > rest.until + LONGEST_REST_NS:
            rest.times = 0
        rest.until = now + min(REST_NS << min(rest.times, 8), LONGEST_REST_NS)
        rest.times += 1
        return [Finding(f"{why}: connecting stream {stream} anew", reopen=stream)]

    def wake_at(self) -> int | None:
        """When a symbol will have been silent for too long if nothing is heard of it."""
        up = self.account.streams.get(MARKET)
        if up is None:
            return None
        heard = (self.silent.get(index, max(up, row.mark_seen or 0)) for index, row in self.account.rows.items())
        return min(heard, default=0) + self.limit_ns + 1
