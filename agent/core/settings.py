"""Settings: the leverage setting of each instrument, which fixes its initial margin and how large it may become.

A venue's table allows the less leverage, the larger a position is. So a position can only grow into a higher bracket
once its setting has come down, and coming down takes margin at once. A setting is therefore changed when nothing is
under way on the instrument, one at a time, lower ones first, and only where the margin of the whole account suffices
afterwards.
"""

from __future__ import annotations

from collections.abc import Container

from msgspec.structs import replace

from agent.core.book import Book
from agent.core.drift import Drift
from agent.core.events import Unset
from agent.core.margin import exposures, tier_of
from agent.core.orders import Blotter, S
from agent.core.venue import SetLeverage

AHEAD = 1.1
"""The setting must do for a position this many times what is held or wanted."""
RAISE = 1.3
"""It is raised again only where it would do for this many times as much: it must not change to and fro at an edge."""
ANSWER_NS = 30 * S
"""A change that has not shown after so long is tried again; it is the same change, so twice does no harm."""
REFUSED_NS = 3600 * S
"""A change that was refused is tried again after so long."""


class Settings:
    """Brings leverage settings to ``wanted``, or lower where the table demands it; None: leaves them alone."""

    def __init__(self, wanted: int | None) -> None:
        self.wanted = wanted
        self._rest_until: dict[int, int] = {}
        self._asked: SetLeverage | None = None
        self._asked_until = 0

    def refused(self, fact: Unset, now: int) -> None:
        """The venue said no."""
        self._rest_until[fact.instrument] = now + REFUSED_NS
        self._asked = None

    def pending(self, book: Book, now: int) -> bool:
        """Whether a change is under way: until it shows, or is refused, nothing is opened on the strength of it."""
        if self._asked is None or now >= self._asked_until:
            return False
        return book.rows[self._asked.instrument].leverage != self._asked.leverage

    def due(
        self, book: Book, drift: Drift, blotter: Blotter, now: int, barred: Container[int] = ()
    ) -> SetLeverage | None:
        """The change to ask for now, if any; none of what is ``barred``."""
        if self.wanted is None or blotter.live() or self.pending(book, now):
            return None
        found = []
        for index, row in enumerate(book.rows):
            right = self.right(book, drift, index)
            if index in barred or right is None or right == row.leverage or now < self._rest_until.get(index, 0):
                continue
            if row.instrument is not None and row.instrument.trading and self._affordable(book, index, right):
                found.append(SetLeverage(instrument=index, leverage=right))
        if not found:
            return None
        first = min(found, key=lambda one: (one.leverage > (book.rows[one.instrument].leverage or 0), one.instrument))
        self._asked, self._asked_until = first, now + ANSWER_NS
        self._rest_until[first.instrument] = self._asked_until
        return first

    def right(self, book: Book, drift: Drift, index: int) -> int | None:
        """The setting an instrument should have; None while that is not known, or it is not traded."""
        row, target = book.rows[index], drift.targets[index]
        if self.wanted is None or target is None or row.leverage is None or row.mark is None or row.instrument is None:
            return None
        weight = max(abs(drift.contracts[index]), abs(target - book.coins[index]))
        allowed = []
        for ahead in (AHEAD, RAISE):
            lots = row.instrument.lots_for(ahead * weight * drift.equity, row.mark.price)
            tier = tier_of(row.brackets, abs(row.instrument.notional(lots, row.mark.price)))
            allowed.append(None if tier is None else min(self.wanted, tier.leverage))
        most, safe = allowed
        return most if most is None or most <= row.leverage else max(row.leverage, safe or 0)

    def _affordable(self, book: Book, index: int, leverage: int) -> bool:
        """Whether initial margin stays within equity."""
        account = book.of(index)
        held, equity = exposures(account), account.worth
        if held is None or equity is None:
            return False
        place = list(account.rows).index(index)
        held[place] = replace(held[place], leverage=leverage)
        return sum(one.initial for one in held) <= equity
