"""The alarm: what safety asks for at once, without confirmation by time, cool-down or blackout.

It asks for reductions alone: away from liquidation, or back under the limit of leverage.
"""

from __future__ import annotations

from agent.core import margin
from agent.core.book import Book
from agent.core.correction import GIVE_UP_NS, Correction
from agent.core.drift import Drift
from agent.core.orders import S
from agent.core.planner import Limits
from agent.core.reasons import Reason

WHOLE_NS = 1 * S
"""What safety goes by is confirmed once every price held is as new as the newest was when it began, and after so long
at the latest: in a gap the new prices come one by one, and new ones beside old ones look like a danger."""


class Alarm:
    """When safety acts. ``cool_down_ns`` is how long it rests at most after having come to nothing, and no longer than
    `GIVE_UP_NS`."""

    def __init__(self, book: Book, limits: Limits, cool_down_ns: int) -> None:
        self._book = book
        self._limits = limits
        self._longest_ns = max(S, min(cool_down_ns, GIVE_UP_NS))
        self._rest_until = 0
        self._vain = 0
        """How many corrections in a row have traded nothing."""
        self._began: tuple[int, int] | None = None
        """When what safety goes by began, by our clock, and the time of the newest price then, by the venue's."""

    def danger(self, drift: Drift) -> str | None:
        """Why liquidation is too near, if so; None as well while margin tables are missing."""
        held = margin.exposures(self._book)
        if held is None:
            return None
        return margin.danger(drift.equity, held, self._limits.liquidation_distance, self._limits.maintenance)

    def due(self, drift: Drift, correction: Correction | None, now: int) -> Reason | None:
        """What safety asks for beyond the ``correction`` that is under way, if that is for its sake already."""
        if now < self._rest_until:
            return None
        under_way = correction.reason if correction else None
        danger, over = self.danger(drift), drift.leverage > self._limits.leverage
        if not danger and not over:
            self._began = None
        elif not self._confirmed(now):
            return None
        elif danger:
            urgent = Reason(cause=danger, urgent=True, relief=tuple(row.lots for row in self._book.rows))
            return urgent if under_way is None or under_way.relief is None else None
        elif under_way is None or not under_way.urgent:
            return Reason(cause=f"leverage {drift.leverage:.2f}x is over the limit", urgent=True)
        return None

    def rest(self, correction: Correction, now: int) -> None:
        """A correction for safety is over: the longer it comes to nothing, the longer the next one waits."""
        self._vain = 0 if correction.traded else self._vain + 1
        rest = min(S << min(self._vain, 16), self._longest_ns) if correction.orders else self._longest_ns
        self._rest_until = now + (rest if self._vain else 0)

    def wake_at(self) -> int | None:
        """When to look again whether what has begun is confirmed."""
        return None if self._began is None else self._began[0] + WHOLE_NS

    def _confirmed(self, now: int) -> bool:
        """Whether what safety goes by is no mere mixture of old and new prices."""
        told = [row.mark.at for row in self._book.rows if row.lots and row.mark is not None]
        since, newest = self._began = self._began or (now, max(told, default=0))
        return now >= since + WHOLE_NS or all(at >= newest for at in told)
