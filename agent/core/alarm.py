"""The alarm: what safety asks for at once, without confirmation by time, cool-down or blackout.

It asks for reductions alone: away from liquidation, or back under the limit of leverage.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from agent.core import margin
from agent.core.correction import GIVE_UP_NS, Correction
from agent.core.drift import Drift
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
        self._rest_until = 0
        self._vain = 0
        """How many corrections in a row have traded nothing."""
        self._began: tuple[int, int] | None = None
        """When what safety goes by began, by our clock, and the time of the newest price then, by the venue's."""

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

    def due(self, drift: Drift, correction: Correction | None, now: int) -> Reason | None:
        """What safety asks for beyond the ``correction`` that is under way, if that is for its sake already."""
        if now < self._rest_until:
            return None
        under_way = correction.reason if correction else None
        danger, over = self.dangers(now), drift.leverage > self._limits.leverage
        if not danger and not over:
            self._began = None
        elif not self._confirmed(now):
            return None
        elif danger:
            relief, begun = self.lots(danger), under_way.relief if under_way else None
            if begun is not None:  # what it began with stands, and an account that has come into danger since joins it
                if all(lots is None or was is not None for lots, was in zip(relief, begun, strict=True)):
                    return None
                relief = tuple(was if was is not None else lots for lots, was in zip(relief, begun, strict=True))
            return Reason(cause=", ".join(danger.values()), urgent=True, relief=relief)
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
        """Whether what safety goes by is no mere mixture: of old and new prices, or of a wallet that a trade of ours
        has moved already and a position that it has not."""
        told = [row.mark.at for row in self._book.rows if row.lots and row.mark is not None]
        since, newest = self._began = self._began or (now, max(told, default=0))
        whole = settled(self._book, self._blotter) and all(at >= newest for at in told)
        return whole or now >= since + WHOLE_NS
