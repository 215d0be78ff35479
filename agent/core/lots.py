"""Whole lots: the planner's programme on the grids of the venue, with the orders it takes.

`whole` begins with the lots nearest to the real answer (`agent.core.programme`) and makes exchanges until none is an
improvement: of one instrument, of two (one steps, the other answers), of a hedge group, of the few coarsest together.
An exchange is offered by arithmetic for all instruments at once and made one after the other. Orders that the venue
would refuse are never on offer; boxes, turnover and bounds count with prices so steep that each goes before all below.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from agent.core.programme import BOX, CLOSE, TURNOVER, Arrays, Index, Programme, Vector, rounding, solution

Counts = NDArray[np.int64]

BOUND, WORSE = 1e8, 1e16
"""What a unit beyond a bound costs, in largest slopes of the objective, and one beyond what is held if that is more."""
GAIN = 1e-9
"""An exchange that improves the objective by less is none."""
STRIDES, GROUP_STRIDES = (1, 2, 3), (1, 4, 16, 64)
"""So many lots steps the first of two, and the lead of a hedge group."""
LEADERS, FEW = 8, 4
"""Of how many instruments, those of the coarsest lots, one is the first of two; how many are tried together."""
REFUSED = 4
"""After so many offers in a row that have become worthless, new ones are made."""
NEAR = 0.95
"""A bound of which less than this part is taken is left out of the exchanges, and looked at again afterwards."""
ROUNDS = 30
"""The most rounds of offers. A few are usual."""
FURTHEST = 10**12
"""No single step is longer, in lots."""


class Grid(Struct, frozen=True):
    """The lots of one instrument, and which orders its venue takes."""

    lot: float
    """Weight of one lot, above 0."""
    held: int
    """Signed lots now."""
    smallest: int = 1
    """Least lots of an order that opens or adds. A flip is two orders: a close, and one that opens."""
    smallest_less: int = 1
    """Least lots of an order that only reduces; one that closes is always taken."""


def whole(programme: Programme, grids: Sequence[Grid]) -> list[int]:
    """The best net lots of each instrument that were found: better than all their neighbours.

    Boxes are met as nearly as the lots allow; no bound is broken, or none more than ``held`` breaks it. The legs of a
    hedge group follow the one with the coarsest lots, each to its nearest lot, or all stand still.
    """
    return answer(programme, grids)[1]


def answer(programme: Programme, grids: Sequence[Grid]) -> tuple[list[float], list[int]]:
    """The best weights (see `agent.core.programme.solve`), and the best lots near them (see `whole`)."""
    arrays = Arrays(programme)
    weights = solution(arrays)
    goals: list[float] = weights.tolist()
    taken, held = arrays.values(weights), arrays.values(arrays.held)
    close = np.maximum(taken, held) > NEAR * arrays.most
    bounds = tuple(bound for bound, kept in zip(programme.bounds, close, strict=True) if kept)
    if len(bounds) < len(programme.bounds):
        lots = _exchanged(Arrays(replace(programme, bounds=bounds)), weights, grids)
        reached = arrays.values(np.array([grid.lot for grid in grids]) * lots)
        if (reached <= np.maximum(arrays.most, held)).all():
            return goals, lots.tolist()
    return goals, _exchanged(arrays, weights, grids).tolist()


def _exchanged(arrays: Arrays, weights: Vector, grids: Sequence[Grid]) -> Counts:
    """The lots that exchanges lead to from those nearest to ``weights``."""
    choice = _Choice(arrays, grids)
    choice.near(weights)
    beyond = bool(choice.charge(choice.totals) > 0)
    choice.improve()
    if beyond and len(choice.single) <= LEADERS:  # the way back may have led astray: begin from within as well
        first, cost = choice.lots, choice.cost()
        choice.within(weights)
        choice.improve()
        if choice.cost() > cost - GAIN:
            choice.hold(first)
    if choice.breaks():
        choice.hold(choice.held)
        choice.improve()
    return choice.lots


class _Choice:
    """Lots that are held for the moment, what they cost, and the exchanges that make them better.

    Where a method takes ``lots`` and ``at``, they are of the instruments ``at``, (..., instruments).
    """

    def __init__(self, arrays: Arrays, grids: Sequence[Grid]) -> None:
        self.arrays = arrays
        self.lot = np.array([grid.lot for grid in grids], float)
        self.held = np.array([grid.held for grid in grids], np.int64)
        self.low, self.high = _gaps(self.held, grids)
        self.groups = [list(group) for group in arrays.programme.groups if arrays.free[group[0]]]
        self.legs = np.array([i for group in self.groups for i in group], int)
        self.group = np.repeat(np.arange(len(self.groups)), [len(group) for group in self.groups])
        """The group of each of the legs."""
        self.ratio = arrays.shape / self.lot
        """Lots of each leg at scale 1; the leg with the fewest leads its group."""
        self.leads = np.array([min(group, key=lambda i: abs(self.ratio[i]) or inf) for group in self.groups], int)
        self.single = np.setdiff1d(np.flatnonzero(arrays.free), self.legs)
        """What is traded and in no group."""
        risk = (self.lot**2 * arrays.bend)[self.single]
        self.coarse = self.single[np.argsort(-risk, kind="stable")][:LEADERS]
        self.box_low = arrays.low - CLOSE * np.maximum(1.0, np.abs(arrays.low))
        self.box_high = arrays.high + CLOSE * np.maximum(1.0, np.abs(arrays.high))
        at, low, high = self.single, self.box_low / self.lot, self.box_high / self.lot
        self.edge = {1: np.floor(high[at]), -1: np.ceil(low[at])}
        """The last lots inside the box, by direction, of every single instrument."""
        self.inner = {1: np.ceil(low[at]), -1: np.floor(high[at])}
        """The first."""
        self.bend, self.price = (arrays.bend * self.lot)[at], arrays.prices[at]
        budget = [] if arrays.programme.turnover is None else [arrays.programme.turnover]
        self.most = np.append(arrays.most, budget)
        self.most += rounding(self.most)
        self.dear = arrays.scale * np.append(np.full(len(arrays.most), BOUND), [TURNOVER] * len(budget))
        self.hold(self.held)
        self.allowed = np.maximum(self.most, self.totals)
        """What is never exceeded: the bounds, or what is held takes of them."""
        self.allowed[len(arrays.most) :] = inf

    def hold(self, lots: Counts) -> None:
        """Hold these."""
        self.lots = lots.copy()
        self.slope = self.arrays.penalty @ (self.lot * lots - self.arrays.center)
        self.taken = self._takes(lots)
        self.totals = self.taken.sum(axis=1)

    def near(self, weights: Vector) -> None:
        """Hold the nearest lots that the venue takes."""
        lots = np.rint(weights / self.lot).astype(np.int64)
        inside = (self.low < lots[:, None]) & (lots[:, None] < self.high)
        nearer = np.where(2 * lots[:, None] <= self.low + self.high, self.low, self.high)
        self._begin(np.where(inside.any(axis=1), np.where(inside, nearer, 0).sum(axis=1), lots))

    def within(self, weights: Vector) -> None:
        """Hold the next lots towards 0."""
        lots = np.trunc(weights / self.lot * (1 + CLOSE)).astype(np.int64)
        self._begin(np.where(weights > 0, self._next(lots, -1), self._next(lots, 1)))

    def _begin(self, lots: Counts) -> None:
        begun = self.held.copy()
        begun[self.single] = lots[self.single]
        begun[self.legs] = self._follow(lots[self.leads], self.held[self.legs])
        self.hold(begun)

    def breaks(self) -> bool:
        """Whether a bound is broken, more than by what is held."""
        return bool((self.totals > self.allowed).any())

    def cost(self) -> float:
        """What is to be made small."""
        x = self.lot * self.lots - self.arrays.center
        return float(x @ self.slope / 2 + self._alone(self.lots).sum() + self.charge(self.totals))

    def charge(self, totals: Vector) -> Vector:
        """What ``totals`` of bounds and turnover, (bounds, ...), cost beyond what is allowed."""
        cost = np.zeros(totals.shape[1:])
        for total, most, allowed, dear in zip(totals, self.most, self.allowed, self.dear, strict=True):
            over = total - most
            if (over > 0).any():
                cost += dear * np.maximum(over, 0.0) + WORSE * np.maximum(total - allowed, 0.0)
        return cost

    def improve(self) -> None:
        """Make exchanges until none is an improvement."""
        for _ in range(ROUNDS):
            if not (self._singles() or self._in_groups() or self._pairs() or self._together()):
                break

    # What lots cost

    def _takes(self, lots: Counts, at: Index | slice = slice(None)) -> Vector:
        """What each takes of every bound and of the turnover, (bounds, ..., instruments)."""
        takes = self.arrays.each(self.lot[at] * lots, at)
        if self.arrays.programme.turnover is None:
            return takes
        traded: Vector = np.concatenate([takes, (self.lot[at] * np.abs(lots - self.held[at]))[None]])
        return traded

    def _alone(self, lots: Counts, at: Index | slice = slice(None)) -> Vector:
        """What trade and box of each cost."""
        w = self.lot[at] * lots
        out = np.maximum(self.box_low[at] - w, 0.0) + np.maximum(w - self.box_high[at], 0.0)
        trade = self.arrays.prices[at] * self.lot[at] * np.abs(lots - self.held[at])
        cost: Vector = trade + BOX * self.arrays.scale * out
        return cost

    def _rise(self, lots: Counts, at: Index) -> tuple[Vector, Vector, Vector]:
        """The change of weight if one of them held so many, of its own cost, and of what it takes."""
        move = self.lot[at] * (lots - self.lots[at])
        rise = self.slope[at] * move + self.arrays.bend[at] * move**2 / 2 + self._alone(lots, at)
        taken = self.taken[:, at].reshape(len(self.taken), *[1] * (lots.ndim - 1), len(at))
        return move, rise - self._alone(self.lots[at], at), self._takes(lots, at) - taken

    # Exchanges

    def _make(self, offers: list[dict[int, int]]) -> bool:
        """Make those that are still an improvement after the ones before; whether any was.

        An offer says how many lots each of some instruments shall hold. The best comes first.
        """
        made, refused, moved = False, 0, np.zeros(len(self.lots), bool)
        for offer in offers:
            at = np.array(list(offer))
            if moved[at].any():
                continue
            lots = np.array(list(offer.values()))
            move = self.lot[at] * (lots - self.lots[at])
            taken = self._takes(lots, at)
            totals = self.totals + (taken - self.taken[:, at]).sum(axis=1)
            rise = self.slope[at] @ move + move @ self.arrays.penalty[np.ix_(at, at)] @ move / 2
            rise += (self._alone(lots, at) - self._alone(self.lots[at], at)).sum()
            if rise + self.charge(totals) - self.charge(self.totals) < -GAIN:
                self.slope = self.slope + move @ self.arrays.penalty[at]
                self.lots[at], self.taken[:, at], self.totals = lots, taken, totals
                moved[at], made, refused = True, True, 0
            elif (refused := refused + 1) == REFUSED:
                break
        return made

    def _singles(self) -> bool:
        """One instrument a step up or down, to its best either way, back to what is held, or closed."""
        at, lots = self.single, self.lots[self.single]
        choices = [self._next(lots + way, way, at) for way in (1, -1)]
        choices += [self._best(self.slope[at], self.totals, way) for way in (1, -1)]
        table = np.stack([*choices, self.held[at], np.zeros_like(at)])
        _, rise, takes = self._rise(table, at)
        rise += self.charge(self.totals[:, None, None] + takes) - self.charge(self.totals)
        return self._make([{int(at[i]): int(table[row, i])} for row, i in _falling(rise)])

    def _pairs(self) -> bool:
        """One of the coarsest makes a step, goes back to what is held, or closes; another goes to its best then."""
        at, lead = self.single, self.coarse
        steps = [self._next(self.lots[lead] + way * many, way, lead) for many in STRIDES for way in (1, -1)]
        table = np.stack([*steps, self.held[lead], np.zeros_like(lead)])
        first, lots = np.broadcast_to(lead, table.shape)[table != self.lots[lead]], table[table != self.lots[lead]]
        move, rise, takes = self._rise(lots, first)
        both = move[:, None] * self.arrays.penalty[np.ix_(first, at)]
        spent = self.totals[:, None] + takes
        found = []
        for way in (1, -1):
            answers = self._best(self.slope[at] + both, spent, way)
            answer, more, taken = self._rise(answers, at)
            total = rise[:, None] + more + both * answer + self.charge(spent[..., None] + taken)
            total = np.where(first[:, None] == at, 0.0, total - self.charge(self.totals))
            one, two = np.nonzero(total < -GAIN)
            offers = zip(
                first[one].tolist(), lots[one].tolist(), at[two].tolist(), answers[one, two].tolist(), strict=True
            )
            found += list(zip(total[one, two].tolist(), offers, strict=True))
        return self._make([{i: many, j: others} for _, (i, many, j, others) in sorted(found)])

    def _together(self) -> bool:
        """All combinations of near lots of the few coarsest instruments."""
        at = self.coarse[:FEW]
        if not len(at):
            return False
        lots, axes = self.lots[at], len(at)
        near = [self._next(lots + way * many, way, at) for many in (1, 2) for way in (1, -1)]
        table = np.stack([lots, *near, self.held[at], np.zeros_like(at)])
        move, rise, takes = self._rise(table, at)
        total, spent = np.zeros(()), self.totals.reshape(-1, *[1] * axes)
        for i in range(axes):
            total = total + _along(rise[:, i], i, axes)
            spent = spent + np.stack([_along(take[:, i], i, axes) for take in takes]) if len(takes) else spent
            for j in range(i):
                cross = self.arrays.penalty[at[i], at[j]] * _along(move[:, i], i, axes) * _along(move[:, j], j, axes)
                total = total + cross
        total = total + self.charge(spent) if len(takes) else total
        best = np.unravel_index(int(total.argmin()), total.shape)
        return self._make([{int(i): int(table[row, one]) for one, (i, row) in enumerate(zip(at, best, strict=True))}])

    def _in_groups(self) -> bool:
        """A hedge group a step of its lead up or down, in proportion again, back to what is held, or closed."""
        if not self.groups:
            return False
        at, lots, now = self.legs, self.lots[self.leads], self.lots[self.legs]
        leads = [self._next(lots + way * many, way, self.leads) for many in GROUP_STRIDES for way in (1, -1)] + [lots]
        table = np.stack([*(self._follow(lead, now) for lead in leads), self.held[at], np.zeros_like(at)])
        move, rise, takes = self._rise(table, at)
        others = (self.group[:, None] == self.group) & ~np.eye(len(at), dtype=bool)
        rise += move * (move @ np.where(others, self.arrays.penalty[np.ix_(at, at)], 0.0)) / 2
        firsts = np.flatnonzero(np.diff(self.group, prepend=-1))
        rise, takes = np.add.reduceat(rise, firsts, axis=-1), np.add.reduceat(takes, firsts, axis=-1)
        rise += self.charge(self.totals[:, None, None] + takes) - self.charge(self.totals)
        offers = [zip(self.groups[g], table[row, self.group == g].tolist(), strict=True) for row, g in _falling(rise)]
        return self._make(list(map(dict, offers)))

    # Where to

    def _next(self, lots: Counts, way: int, at: Index | slice = slice(None)) -> Counts:
        """The nearest lots from ``lots`` on, in the direction ``way`` (1 or -1), that the venue takes."""
        for low, high in zip(self.low[at].T[::way], self.high[at].T[::way], strict=True):
            lots = np.where((low < lots) & (lots < high), high if way > 0 else low, lots)
        return lots

    def _best(self, slope: Vector, spent: Vector, way: int) -> Counts:
        """The best lots of every single instrument in one direction, as if all went on as it begins.

        ``slope`` of the risk there, (..., instruments), and what is ``spent`` of the bounds, (bounds, ...).
        """
        at, lots = self.single, self.lots[self.single]
        price = np.where((lots - self.held[at]) * way >= 0, self.price, -self.price)
        many = (-way * slope - price) / self.bend
        many = np.minimum(many, np.maximum(way * (self.edge[way] - lots), 1.0))
        many = np.maximum(many, way * (self.inner[way] - lots))  # into the box, whatever that costs
        near = self._next(lots + way, way, at)
        each = (self._takes(near, at) - self.taken[:, at]) / np.abs(near - lots)
        rooms = self.most.reshape(-1, *[1] * (spent.ndim - 1)) - spent
        for take, room in zip(each, rooms, strict=True):  # as far as there is room
            many = np.where(take > 0, np.minimum(many, room[..., None] / np.where(take > 0, take, 1.0)), many)
        many = np.floor(np.maximum(many, 1.0))
        for take, room in zip(each, rooms, strict=True):  # and as far as there must be
            many = np.where(take < 0, np.maximum(many, np.ceil(room[..., None] / np.where(take < 0, take, 1.0))), many)
        return self._next(lots + way * np.minimum(many, FURTHEST).astype(np.int64), way, at)

    def _follow(self, lead: Counts, otherwise: Counts) -> Counts:
        """The lots of all legs if the leads of their groups hold ``lead``; ``otherwise`` where one is refused."""
        scale = lead / self.ratio[self.leads]
        lots = np.rint(scale[self.group] * self.ratio[self.legs]).astype(np.int64)
        refused = ((self.low[self.legs] < lots[:, None]) & (lots[:, None] < self.high[self.legs])).any(axis=1)
        wrong = (np.bincount(self.group, refused, len(lead)) > 0) | (scale < 0)
        return np.where(wrong[self.group], otherwise, lots)


def _falling(rise: Vector) -> list[tuple[int, int]]:
    """For each column its best row: those that fall, the deepest first."""
    best = rise.argmin(axis=0)
    least = rise[best, np.arange(rise.shape[1])]
    return [(int(best[i]), i) for i in np.argsort(least, kind="stable").tolist() if least[i] < -GAIN]


def _along(values: Vector, axis: int, axes: int) -> Vector:
    """A vector laid along one of so many axes."""
    return values.reshape([-1 if a == axis else 1 for a in range(axes)])


def _gaps(held: Counts, grids: Sequence[Grid]) -> tuple[Counts, Counts]:
    """Strictly between which lots the venue takes no order: low and high ends, (instruments, 3), ascending."""
    small = np.array([grid.smallest for grid in grids], np.int64)
    less = np.array([grid.smallest_less for grid in grids], np.int64)
    size = np.abs(held)
    low = np.stack([-small, np.maximum(0, size - less), size], axis=1)
    high = np.stack([np.zeros_like(size), size, size + small], axis=1)
    short = (held < 0)[:, None]
    return np.where(short, -high[:, ::-1], low), np.where(short, -low[:, ::-1], high)
