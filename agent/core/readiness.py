"""Readiness: what has to be known before anything is decided, and what at the least before safety may act."""

from __future__ import annotations

from agent.core.audit import Audit
from agent.core.book import Account, Book
from agent.core.orders import Blotter
from agent.core.venue import What


class Readiness:
    """What is known of it for an account. ``streams`` have to be up; ``quiet_ns`` is how old the last complete answer
    about positions may be for safety."""

    def __init__(self, account: Account, audit: Audit, streams: tuple[str, ...], quiet_ns: int) -> None:
        self.streams = streams
        self._account = account
        self._audit = audit
        self._quiet_ns = quiet_ns
        self.away: str | None = "answers of the venue"
        """What is missing, as of the last look."""
        self.complete = False
        """Once nothing was."""

    def look(self) -> None:
        """See what is missing now."""
        self.away = self.missing()
        self.complete = self.complete or self.away is None

    def missing(self) -> str | None:
        """What is still missing before anything may be decided here; None when all is known."""
        if unlisted := self.unlisted():
            return f"the venue to list {', '.join(unlisted)}"
        if self._audit.missing():
            return "answers of the venue"
        if mixed := self._mixed():
            return mixed
        down = [stream for stream in self.streams if stream not in self._account.streams]
        if down:
            return f"stream {', '.join(down)}"
        silent = [row.symbol for row in self._account.rows.values() if row.mark is None]
        return f"a price of {', '.join(silent)}" if silent else None

    def unlisted(self) -> list[str]:
        """Symbols that the venue, having been asked, does not have."""
        if What.INSTRUMENTS in self._audit.missing():
            return []
        return [row.symbol for row in self._account.rows.values() if row.instrument is None]

    def blind(self, now: int) -> bool:
        """Whether something is missing, and not even a reduction can be sized: all was never known at once, positions
        were not told lately, or equity does not count all."""
        told_at = self._account.positions_at
        late = told_at is None or now - told_at > self._quiet_ns
        return self.away is not None and (not self.complete or late or self._mixed() is not None)

    def _mixed(self) -> str | None:
        """What a person must change where instruments do not go together in one account."""
        mode = self._account.mode
        rows = [row.instrument for row in self._account.rows.values() if row.instrument is not None]
        for one in rows:
            if one.inverse and (len(self._account.rows) > 1 or one.base != one.settle):
                return (
                    f"an account of its own for {one.symbol}: it is settled in {one.settle}, and an account that is "
                    "held in a coin trades one contract, of that coin"
                )
        settled = list(dict.fromkeys(instrument.settle for instrument in rows))
        if len(settled) < 2 or mode is None or mode.multi_asset:
            return None
        return f"multi-assets mode: the instruments settle in {' and '.join(settled)}, and the account counts one asset"


def behind(account: Account, blotter: Blotter) -> bool:
    """Whether a position is older than the last effect on it that we know of."""
    return any(row.known_at < blotter.needed(index) for index, row in account.rows.items())


def settled(account: Account, book: Book, blotter: Blotter) -> bool:
    """Whether its positions and wallets are as of one moment: nothing under way, nothing in doubt."""
    live = any(order.instrument in account.rows for order in blotter.live())
    disputed = any(index in account.rows for index, _ in book.disputed)
    return not (live or disputed or behind(account, blotter))
