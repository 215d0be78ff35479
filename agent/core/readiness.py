"""Readiness: what has to be known before anything is decided, and what at the least before safety may act."""

from __future__ import annotations

from agent.core.audit import Audit
from agent.core.book import Book
from agent.core.orders import Blotter
from agent.core.venue import What


class Readiness:
    """What is known of it. ``streams`` have to be up; ``quiet_ns`` is how old the last complete answer about positions
    may be for safety."""

    def __init__(self, book: Book, audit: Audit, blotter: Blotter, streams: tuple[str, ...], quiet_ns: int) -> None:
        self.streams = streams
        self._book = book
        self._audit = audit
        self._blotter = blotter
        self._quiet_ns = quiet_ns

    def missing(self) -> str | None:
        """What is still missing before anything may be decided; None when all is known."""
        if unlisted := self.unlisted():
            return f"the venue to list {', '.join(unlisted)}"
        if self._audit.missing():
            return "answers of the venue"
        if mixed := self._mixed():
            return mixed
        down = [stream for stream in self.streams if stream not in self._book.streams]
        if down:
            return f"stream {', '.join(down)}"
        silent = [row.symbol for row in self._book.rows if row.mark is None]
        return f"a price of {', '.join(silent)}" if silent else None

    def unlisted(self) -> list[str]:
        """Symbols that the venue, having been asked, does not have."""
        if What.INSTRUMENTS in self._audit.missing():
            return []
        return [row.symbol for row in self._book.rows if row.instrument is None]

    def blind(self, now: int) -> bool:
        """Whether not even a reduction can be sized: positions were not told lately, or equity does not count all."""
        told_at = self._book.positions_at
        return told_at is None or now - told_at > self._quiet_ns or self._mixed() is not None

    def behind(self) -> bool:
        """Whether a position is older than the last effect on it that we know of."""
        rows = range(len(self._book.rows))
        return any(self._book.known_at(index) < self._blotter.needed(index) for index in rows)

    def settled(self) -> bool:
        """Whether position and wallet are as of one moment: nothing under way, nothing in doubt."""
        return not (self._blotter.live() or self._book.disputed or self.behind())

    def _mixed(self) -> str | None:
        """What a person must change where instruments do not go together in one account."""
        rows = [row.instrument for row in self._book.rows if row.instrument is not None]
        for one in rows:
            if one.inverse and (len(self._book.rows) > 1 or one.base != one.settle):
                return (
                    f"a file of its own for {one.symbol}: it is settled in {one.settle}, and an account that is held "
                    "in a coin trades one contract, of that coin"
                )
        settled = list(dict.fromkeys(instrument.settle for instrument in rows))
        if len(settled) < 2 or self._book.mode is None or self._book.mode.multi_asset:
            return None
        return f"multi-assets mode: the instruments settle in {' and '.join(settled)}, and the account counts one asset"
