"""The course: where a correction leads, and the legs from what is held to there.

A destination is kept until something has moved that it was found from, so that what is under way is not planned anew
with every price.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.book import Book
from agent.core.decisions import Policy
from agent.core.drift import Drift
from agent.core.economy import Economist
from agent.core.events import Side
from agent.core.mandate import Mandate
from agent.core.orders import Blotter
from agent.core.planner import Destination, Plan, destination, plan, relieved, steady
from agent.core.reasons import Reason
from agent.core.tally import Tally

MOVED = 0.01
"""A destination is found anew once equity or a price has moved by more than this fraction."""


class Course:
    """Plans for one account, from what its other parts know."""

    def __init__(
        self, policy: Policy, book: Book, blotter: Blotter, tally: Tally, economist: Economist, mandate: Mandate
    ) -> None:
        self._policy = policy
        self._book = book
        self._blotter = blotter
        self._tally = tally
        self._economist = economist
        self._mandate = mandate
        self._led: tuple[tuple[Reason, object], list[float], Destination] | None = None
        """The last destination, what it was found from, and the equity and prices that its lots were sized by."""

    def plan(self, drift: Drift, reason: Reason, now: int, *, maker: bool) -> Plan:
        """The legs of a correction at this moment."""
        if reason.relief is not None:
            return self._relieved(drift, reason.relief)
        fixed: dict[int, float] | None = None
        if reason.scope is not None:
            fixed = {index: aim for index in reason.scope if (aim := drift.aims[index]) is not None}
        elif reason.goals:
            fixed = dict(reason.goals)
        to, policy = self._destination(drift, reason, fixed, now), self._policy
        sigmas = self._economist.sigmas
        return plan(self._book, drift, policy.limits, policy.costs, to, maker=maker, sigmas=sigmas, fixed=fixed)

    def _destination(self, drift: Drift, reason: Reason, fixed: dict[int, float] | None, now: int) -> Destination:
        """Where a correction leads: found anew when positions, settings or aims have changed, or the band has, or when
        equity or a price has moved so far that its lots are the wrong ones."""
        lots, settings = tuple(row.lots for row in self._book.rows), [row.leverage for row in self._book.rows]
        basis = (reason, (lots, settings, drift.aims, self._economist.looked_at))
        sizes = [drift.equity, *(row.mark.price for row in self._book.rows if row.mark is not None)]
        if self._led is None or self._led[0] != basis or outgrown(self._led[1], sizes):
            bands, limits = self._policy.bands, self._policy.limits
            to_target = reason.to_target or bands.destination == "target"
            part = 0.0 if to_target else bands.landing if reason.breach or bands.destination != "optimal" else 1.0
            increased = self._tally.increased_today(self._blotter.live(), now)
            to = destination(
                self._book,
                drift,
                limits,
                guide=self._economist.guide(drift, breach=reason.breach, to_target=to_target or fixed is not None),
                part=part,
                fixed=fixed,
                groups=self._mandate.hedges(self._book, drift),
                budget=max(0.0, limits.turnover_per_day - increased / drift.equity),
            )
            if self._led is not None and self._led[0][0] == reason and (to_target or fixed is not None):
                to = steady(self._book, drift, to, self._led[2])
            self._led = (basis, sizes, to)
        return self._led[2]

    def _relieved(self, drift: Drift, start: tuple[int | None, ...]) -> Plan:
        under_way: dict[tuple[int, Side], int] = {}
        for order in self._blotter.live():
            if order.reduce:
                row = order.instrument, order.side
                under_way[row] = under_way.get(row, 0) + order.open_lots
        return relieved(self._book, drift, self._policy.limits, self._policy.costs, start, under_way)


def outgrown(before: Sequence[float], now: Sequence[float]) -> bool:
    """Whether one of these has moved too far for what was sized by them to be kept."""
    return any(abs(new - old) > MOVED * old for old, new in zip(before, now, strict=True))
