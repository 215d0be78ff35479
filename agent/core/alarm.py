"""The alarm: what safety asks for at once, without confirmation by time, cool-down or blackout.

It asks for reductions alone: away from liquidation, or back under the limit of leverage.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from agent.core import margin
from agent.core.book import Account, Book
from agent.core.correction import GIVE_UP_NS, Correction
from agent.core.guard import Guard
from agent.core.orders import Blotter, S
from agent.core.planner import Limits
from agent.core.readiness import settled
from agent.core.reasons import Reason

WHOLE_NS = 1 * S
"""What safety goes by is confirmed once every price held is as new as the newest was when it began, and after so long
at the latest: in a gap the new prices come one by one, and new ones beside old ones look like a danger."""


class Alarm:
    """When safety acts. ``cool_down_ns`` is how long it rests at most after having come to nothing, and no longer than
    `GIVE_UP_NS`."""

    def __init__(self, guards: Sequence[Guard], blotter: Blotter, limits: Limits, cool_down_ns: int) -> None:
        self._guards = guards
        self._blotter = blotter
        self._book = guards[0].book
        self._limits = limits
        self._longest_ns = max(S, min(cool_down_ns, GIVE_UP_NS))
        self._liquidation = [Lookout([guard.account]) for guard in guards]
        self._leverage = Lookout(self._book.accounts)

    def dangers(self, now: int) -> dict[int, str]:
        """The accounts that liquidation is too near, and why. Those are left out of which margin tables are missing, or
        positions were not told lately."""
        found = {}
        for guard in self._guards:
            held, worth = margin.exposures(guard.account), guard.account.worth
            if held is None or worth is None or guard.readiness.blind(now):
                continue
            if why := margin.danger(worth, held, self._limits.liquidation_distance, self._limits.maintenance):
                found[guard.index] = guard.named(why)
        return found

    def lots(self, accounts: Container[int]) -> tuple[int | None, ...]:
        """The net lots of what is on these accounts, None for all else."""
        seats = zip(self._book.rows, self._book.seats, strict=True)
        return tuple(row.lots if account in accounts else None for row, account in seats)

    def due(self, leverage: float | None, correction: Correction | None, now: int) -> Reason | None:
        """What safety asks for beyond the ``correction`` that is under way, if that is for its sake already.

        ``leverage`` is that of the portfolio; None while it is not known.
        """
        under_way = correction.reason if correction else None
        found, over = self.dangers(now), leverage is not None and leverage > self._limits.leverage
        near = [
            index
            for index, lookout in enumerate(self._liquidation)
            if lookout.fires(self._book, self._blotter, now, present=index in found)
        ]
        fires = self._leverage.fires(self._book, self._blotter, now, present=over)
        if near:
            relief, begun = self.lots(near), under_way.relief if under_way else None
            if begun is not None:  # what it began with stands, and an account that has come into danger since joins it
                if all(lots is None or was is not None for lots, was in zip(relief, begun, strict=True)):
                    return None
                relief = tuple(was if was is not None else lots for lots, was in zip(relief, begun, strict=True))
            return Reason(cause=", ".join(found[index] for index in near), urgent=True, relief=relief)
        if fires and (under_way is None or not under_way.urgent):
            return Reason(cause=f"leverage {leverage:.2f}x is over the limit", urgent=True)
        return None

    def rest(self, correction: Correction, now: int) -> None:
        """A correction for safety is over: the longer it comes to nothing, the longer the next one waits that would do
        the same on the same accounts."""
        relief = correction.reason.relief
        seats = set(self._book.seats)
        if relief is not None:
            seats = {seat for seat, lots in zip(self._book.seats, relief, strict=True) if lots is not None}
            for seat in seats:
                self._liquidation[seat].rest(correction, now, self._longest_ns)
        if len(seats) == len(self._liquidation):
            self._leverage.rest(correction, now, self._longest_ns)

    @property
    def dues(self) -> list[int]:
        """When to look again whether what has begun is confirmed."""
        lookouts = (*self._liquidation, self._leverage)
        return [one.began[0] + WHOLE_NS for one in lookouts if one.began is not None]


class Lookout:
    """Looks out for one danger, that of ``accounts``: whether it is confirmed, and whether to rest after a correction
    that came to nothing."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self.began: tuple[int, int] | None = None
        """When it began, by our clock, and the time of the newest price then, by the venue's."""
        self._accounts = accounts
        self._rest_until = 0
        self._vain = 0
        """How many corrections in a row have traded nothing."""

    def fires(self, book: Book, blotter: Blotter, now: int, *, present: bool) -> bool:
        """Whether it is there, confirmed, and not resting."""
        if now < self._rest_until:
            return False
        if not present:
            self.began = None
            return False
        return self._confirmed(book, blotter, now)

    def rest(self, correction: Correction, now: int, longest_ns: int) -> None:
        """A correction of these accounts is over."""
        rows = [index for account in self._accounts for index in account.rows]
        self._vain = 0 if any(index in correction.traded for index in rows) else self._vain + 1
        sent = any(index in correction.orders for index in rows)
        rest = min(S << min(self._vain, 16), longest_ns) if sent else longest_ns
        self._rest_until = now + (rest if self._vain else 0)

    def _confirmed(self, book: Book, blotter: Blotter, now: int) -> bool:
        """Whether it is no mere mixture: of old and new prices, or of a wallet that a trade of ours has moved already
        and a position that it has not."""
        rows = [row for account in self._accounts for row in account.rows.values()]
        told = [row.mark.at for row in rows if row.lots and row.mark is not None]
        since, newest = self.began = self.began or (now, max(told, default=0))
        quiet = all(settled(account, book, blotter) for account in self._accounts)
        return (quiet and all(at >= newest for at in told)) or now >= since + WHOLE_NS
