"""The planner's programme: the weights to hold when risk, costs, boxes and the bounds of the account are weighed at once.

Find the weights w that minimise (w-c)'Q(w-c)/2 + sum k|w-h|: how far they are from the targets c, measured by the risk
Q, against what it takes to come from the held weights h. Every instrument has a box; convex bounds (leverage, margin
by tiers, liquidation distance, turnover) hold for all together. `solve` finds real weights, `whole` whole lots.

The bounds are hard: when not all can be had, the boxes give way first, only as far as they must, then the turnover
budget, the bounds never. A bound that `held` breaks already is met as far as what may be traded can do it.

Everything but the bounds and the turnover is a quadratic plus a sum of convex, piecewise linear functions of one
variable each. For given prices of the bounds (their multipliers) that is minimised by Newton steps on the variables
that stand inside a linear piece while the others rest in a kink (Bertsekas' projected Newton method); the dual, smooth
and concave in the multipliers, is climbed by Newton steps as well. Both end in the exact answer after a few steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from agent.core.covariance import Matrix

Vector = NDArray[np.float64]
Lots = NDArray[np.int64]
Lines = tuple[tuple[float, float], ...]

BOX, TURNOVER, BOUND = 1e3, 1e5, 1e8
"""What leaving a box, the turnover budget, a bound costs: steeper than all that is below, so that it gives way last."""
EXACT = 1e-10
"""Bounds are met to this part of themselves."""
CLOSE = 1e-9
"""What breaks a bound or a box by less than this part is rounding, and no break."""
GAIN = 1e-12
"""An exchange of lots that improves the objective by less is no improvement."""
FEW = 4
REFUSED = 4
STRIDES = (1, 2, 3)
COARSE = 12
"""So many instruments, those of the coarsest lots, lead the exchanges of two."""
TINY = 1e-15
FURTHEST = 1_000_000
RIDGE = 1e-12
"""Makes a penalty of twins, whose correlation is believed to be exactly 1, definite."""
STEPS, CLIMBS, SEARCHES, ROUNDS = 200, 40, 60, 60
"""No search takes more steps than this: Newton steps, steps of the multipliers, along one of them; rounds of lots."""


class Curve(Struct, frozen=True):
    """What one instrument takes of a bound, as a function of its weight: the largest line a|w| - d, and at least 0."""

    long: Lines = ()
    """Lines (a, d), both not below 0, for weights above 0."""
    short: Lines = ()
    """The same for weights below 0."""


class Bound(Struct, frozen=True):
    """A convex bound: what all instruments take together is at most ``most``."""

    name: str
    curves: tuple[Curve, ...]
    """In instrument order."""
    most: float


class Programme(Struct, frozen=True):
    """One problem. Vectors are in instrument order; weights are signed notional over equity."""

    penalty: Matrix
    """Q: what drift costs, positive definite."""
    center: Sequence[float]
    """c: where drift costs nothing."""
    held: Sequence[float]
    """h: the weights now."""
    prices: Sequence[float]
    """k: what a change of weight takes, in the units of Q x; not below 0."""
    low: Sequence[float]
    high: Sequence[float]
    """The box of each weight. Where low, high and held are one, the instrument is never traded."""
    bounds: tuple[Bound, ...] = ()
    turnover: float | None = None
    """Largest sum of |w - h|."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Hedge groups: their legs keep the proportions of ``center`` (of ``held`` where the centers are all 0) and move
    as one. A group with a leg that is never traded is not traded either: a hedge is not changed on one side."""

    def objective(self, weights: Sequence[float] | Vector) -> float:
        """(w-c)'Q(w-c)/2 + sum k|w-h|."""
        w = np.asarray(weights, float)
        x = w - np.asarray(self.center, float)
        return float(x @ np.asarray(self.penalty, float) @ x / 2 + np.abs(w - self.held) @ np.asarray(self.prices))


class Grid(Struct, frozen=True):
    """The lots of one instrument and which orders its venue takes."""

    lot: float
    """Weight of one lot."""
    held: int
    """Signed lots now."""
    smallest: int = 1
    """Least lots of an order that opens or adds. A flip is two orders: a close and an opening."""
    smallest_less: int = 1
    """Least lots of an order that only reduces; closing everything is always allowed."""


def solve(programme: Programme) -> list[float]:
    """The best weights. Never a point that breaks a bound which ``held`` obeys, or breaks it more than ``held``."""
    found: list[float] = _solution(programme, _Tables(programme)).tolist()
    return found


def whole(programme: Programme, grids: Sequence[Grid]) -> list[int]:
    """The best net lots of each instrument that were found: near the real answer, and better than all neighbours.

    Neighbours are a lot more or less of one instrument (or the smallest order that the venue takes), its trade left
    out or its position closed, and a lot more or less of two at once. Boxes are met as nearly as the lots allow,
    bounds never broken (more than ``held`` does). A hedge group follows its leg of the coarsest lots, the others to the
    nearest lot, or stands still.
    """
    tables = _Tables(programme)
    lots = _Lots(programme, tables, grids)
    lots.begin(_solution(programme, tables))
    if lots.breaks():  # no way back by single steps: what is held breaks nothing more than it does
        lots.set(lots.held.copy())
        lots.descend()
    found: list[int] = lots.lots.tolist()
    return found


# What both need: the curves as arrays


class _Tables:
    """All curves as arrays, and what follows from the programme alone."""

    def __init__(self, programme: Programme) -> None:
        size = len(programme.center)
        self.penalty = np.array(programme.penalty, float).reshape(size, size)
        self.penalty[np.diag_indices(size)] *= 1 + RIDGE
        self.center, self.held = np.array(programme.center, float), np.array(programme.held, float)
        self.bend = self.penalty.diagonal()
        self.prices = np.array(programme.prices, float)
        self.shape = self.center.copy()
        """The proportions of hedge groups."""
        self.low, self.high = np.array(programme.low, float), np.array(programme.high, float)
        self.free = ~((self.low == self.high) & (self.low == self.held))
        for group in programme.groups:
            legs = list(group)
            self.free[legs] &= self.free[legs].all()
            if not self.center[legs].any():
                self.shape[legs] = self.held[legs]
        self.lines = [_lines(bound.curves) for bound in programme.bounds]
        least = self.values(np.where(self.free, 0.0, self.held))
        self.most = np.maximum(np.array([bound.most for bound in programme.bounds]), least)
        """Of each bound, or the least that what may be traded can reach."""
        self.allowed = np.maximum(self.most, self.values(self.held))
        """What no answer exceeds."""
        reach = np.abs(np.concatenate([self.center, self.held])).max(initial=1e-9)
        self.scale = float(np.abs(self.penalty).max(initial=0.0) * reach + self.prices.max(initial=0.0)) or 1.0
        """The order of the largest slope of the objective."""

    def each(self, weights: Vector, at: NDArray[np.intp] | slice = slice(None)) -> Vector:
        """What instruments ``at`` take of every bound at ``weights`` (..., instruments): (bounds, ..., instruments)."""
        size, up = np.abs(weights), weights >= 0
        takes: Vector = np.zeros((len(self.lines), *weights.shape))
        for take, lines in zip(takes, self.lines, strict=True):
            count = lines.shape[-2]
            a, d, b, e = lines[..., at].reshape(4, count, *[1] * (weights.ndim - 1), -1)
            (np.where(up, a, b) * size - np.where(up, d, e)).max(axis=0, out=take, initial=0.0)
        return takes

    def values(self, weights: Vector) -> Vector:
        """What all instruments take of every bound."""
        total: Vector = self.each(weights).sum(axis=1)
        return total


def _lines(curves: Sequence[Curve]) -> Vector:
    """Slopes and depths of the long and the short side, (sides, 2, lines, instruments), filled up with lines of 0."""
    width = max((len(side) for curve in curves for side in (curve.long, curve.short)), default=0)
    none = ((0.0, 0.0),)
    padded = [[side + none * (width - len(side)) for side in (curve.long, curve.short)] for curve in curves]
    return np.array(padded, float).reshape(len(curves), 2, width, 2).transpose(1, 3, 2, 0)


# Real weights


def _solution(programme: Programme, tables: _Tables) -> Vector:
    """The answer of `solve`: first without the bounds, then with those that it breaks, until it breaks none."""
    engaged: list[int] = []
    budget = programme.turnover if programme.turnover is not None else inf
    while True:
        pieces = _Pieces(programme, tables, engaged)
        weights = pieces.expand(pieces.climb())
        values = np.append(tables.values(weights), np.abs(weights - tables.held).sum())
        most = np.append(tables.most, budget)
        broken = [j for j in np.flatnonzero(values > most + CLOSE * np.maximum(1.0, most)).tolist() if j not in engaged]
        if not broken:
            return _kept(tables, weights)
        engaged += broken


def _kept(tables: _Tables, weights: Vector) -> Vector:
    """The point nearest to ``weights``, on the way there from what is held, that obeys the bounds."""
    allowed = tables.allowed * (1 + CLOSE) + 1e-15
    if (tables.values(weights) <= allowed).all():
        return weights
    good, bad = 0.0, 1.0
    for _ in range(SEARCHES):
        part = (good + bad) / 2
        if (tables.values(tables.held + part * (weights - tables.held)) <= allowed).all():
            good = part
        else:
            bad = part
    return tables.held + good * (weights - tables.held)


def _kinks(lines: Lines) -> list[tuple[float, float]]:
    """Where the largest of the lines a w - d and 0 changes its slope for w >= 0, and by how much."""
    hull = [(0.0, 0.0, 0.0)]  # slope, depth, and from which w on it is the largest
    for slope, depth in sorted(lines):
        while hull:
            below, above, start = hull[-1]
            at = (depth - above) / (slope - below) if slope > below else inf if depth >= above else -inf
            if at > start:
                break
            hull.pop()
        if not hull or at < inf:
            hull.append((slope, depth, max(at, 0.0)))
    found, before = [], 0.0
    for slope, _, start in hull:
        if slope > before:
            found.append((start, slope - before))
            before = slope
    return found


class _Pieces:
    """The programme in its free variables v, as a quadratic and piecewise linear terms.

    A variable is the weight of one instrument, or the scale of a group. Terms: 0 the costs, 1 the distance from the
    boxes, then the engaged bounds and turnover. Their slopes in the pieces between the kinks are (terms, variables,
    pieces).
    """

    def __init__(self, programme: Programme, tables: _Tables, engaged: list[int]) -> None:
        self.tables, self.engaged = tables, engaged
        size, bounds = len(tables.center), len(programme.bounds)
        owner, factor = np.arange(size), np.ones(size)
        """The variable of each instrument, and by what its weight is a multiple of it."""
        heads = np.ones(size, bool)
        for group in programme.groups:
            legs = list(group)
            heads[legs[1:]] = False
            owner[legs] = legs[0]
            factor[legs] = tables.shape[legs]
        heads &= tables.free
        self.count = int(heads.sum())
        number = np.cumsum(heads) - 1
        self.legs = np.flatnonzero(tables.free & (factor != 0))
        self.owner, self.factor = number[owner[self.legs]], factor[self.legs]
        self.scales = [int(number[group[0]]) for group in programme.groups if tables.free[group[0]]]
        self.base = np.where(tables.free, 0.0, tables.held)
        if programme.groups:
            spread = np.zeros((size, self.count))
            spread[self.legs, self.owner] = self.factor
            self.matrix = spread.T @ tables.penalty @ spread
            self.pull = spread.T @ (tables.penalty @ (tables.center - self.base))
        else:
            self.matrix = tables.penalty[np.ix_(self.legs, self.legs)]
            self.pull = tables.penalty[self.legs] @ (tables.center - self.base)
        self.diagonal = self.matrix.diagonal()
        self.caps = np.array([TURNOVER * tables.scale if j == bounds else inf for j in engaged])
        self.most = np.array([programme.turnover if j == bounds else tables.most[j] for j in engaged], float)
        self.kinks, self.slopes = self._laid_out(programme, tables, bounds)
        self.edges = np.pad(self.kinks, ((0, 0), (1, 1)), constant_values=(-inf, inf))

    def _laid_out(self, programme: Programme, tables: _Tables, bounds: int) -> tuple[Vector, Vector]:
        """Kinks (variables, kinks), ascending and filled up with infinity, and the slopes of each term between them."""
        legs, owner, factor = self.legs, self.owner, self.factor
        size, per = len(legs), np.abs(self.factor)
        held, low, high = tables.held[legs], tables.low[legs], tables.high[legs]
        first = np.zeros((2 + len(self.engaged), self.count))
        np.subtract.at(first[0], owner, per * tables.prices[legs])
        np.subtract.at(first[1], owner, per)
        # Each event is a kink of one term: leg, weight, term, change of slope. Boxes turn round where the factor is < 0.
        leg = np.tile(np.arange(size), 3)
        at, term = np.concatenate([held, low, high]), np.repeat([0, 1, 1], size)
        change = np.concatenate([2 * tables.prices[legs], np.ones(2 * size)])
        for row, j in enumerate(self.engaged, 2):
            if j == bounds:
                np.subtract.at(first[row], owner, per)
                extra = [(i, held[i], 2.0) for i in range(size)]
            else:
                extra = []
                for i, curve in enumerate(map(programme.bounds[j].curves.__getitem__, legs.tolist())):
                    up, down = _kinks(curve.long), _kinks(curve.short)
                    extra += [(i, place, jump) for place, jump in up] + [(i, -place, jump) for place, jump in down]
                    first[row, owner[i]] -= per[i] * sum([jump for _, jump in (down if factor[i] > 0 else up)])
            more = np.array(extra, float).reshape(-1, 3)
            leg, at = np.append(leg, more[:, 0].astype(int)), np.append(at, more[:, 1])
            term, change = np.append(term, np.full(len(more), row)), np.append(change, more[:, 2])
        place, jump, variable = at / factor[leg], change * per[leg], owner[leg]
        for v in self.scales:  # a scale is not negative
            size_of = per[owner == v].sum()
            first[1, v] -= size_of
            place, jump = np.append(place, 0.0), np.append(jump, size_of)
            variable, term = np.append(variable, v), np.append(term, 1)
        order = np.lexsort((place, variable))
        place, jump, variable, term = place[order], jump[order], variable[order], term[order]
        many = np.bincount(variable, minlength=self.count)
        rank = np.arange(len(variable)) - (np.cumsum(many) - many)[variable]
        kinks = np.full((self.count, many.max(initial=0)), inf)
        kinks[variable, rank] = place
        changes = np.zeros((len(first), self.count, kinks.shape[1] + 1))
        changes[:, :, 0] = first
        changes[term, variable, rank + 1] = jump
        return kinks, np.cumsum(changes, axis=2)

    def expand(self, v: Vector) -> Vector:
        """The weights of all instruments."""
        weights: Vector = self.base.copy()
        weights[self.legs] = self.factor * v[self.owner]
        return weights

    def start(self) -> Vector:
        """What is held; of a group the nearest scale."""
        over, under = np.zeros(self.count), np.zeros(self.count)
        np.add.at(over, self.owner, self.factor * self.tables.held[self.legs])
        np.add.at(under, self.owner, self.factor**2)
        v: Vector = over / np.where(under > 0, under, 1.0)
        v[self.scales] = np.maximum(v[self.scales], 0.0)
        return v

    def excess(self, v: Vector) -> Vector:
        """By how much each engaged bound is exceeded (+) or kept (-)."""
        weights = self.expand(v)
        values = np.append(self.tables.values(weights), np.abs(weights - self.tables.held).sum())
        over: Vector = values[self.engaged] - self.most
        return over

    def climb(self) -> Vector:
        """The answer: the dual's maximum over the multipliers of what is engaged."""
        v = self.settle(self.start(), np.zeros(len(self.engaged)))
        if not self.engaged:
            return v
        y, over = np.zeros(len(self.engaged)), self.excess(v)
        enough = EXACT * np.maximum(1.0, self.most)
        for _ in range(CLIMBS):
            rise = np.where((y <= 0) & (over < 0) | (y >= self.caps) & (over > 0), 0.0, over)
            if (np.abs(rise) <= enough).all():
                break
            v, y, over = self._search(v, y, over, self._direction(v, y, rise))
        return v

    def _direction(self, v: Vector, y: Vector, rise: Vector) -> Vector:
        """Newton's step of the multipliers: how the bounds give way as their prices rise, with the pieces as they are."""
        _, free, piece = self._stance(v, self._totals(y))
        at = np.flatnonzero(free)
        slopes = self.slopes[2:, at, piece[at]]
        bend = slopes @ np.linalg.solve(self.matrix[np.ix_(at, at)], slopes.T)
        step, moving = np.zeros(len(y)), np.flatnonzero(rise)
        while True:  # a multiplier at its end that would leave it stays there
            part = bend[np.ix_(moving, moving)]
            least = 1e-9 * part.trace() or 1e-6
            step[:] = 0.0
            step[moving] = np.linalg.solve(part + least * np.eye(len(moving)), rise[moving])
            stuck = (y <= 0) & (step < 0) | (y >= self.caps) & (step > 0)
            if not stuck.any():
                return step
            moving = np.flatnonzero((step != 0) & ~stuck)

    def _search(self, v: Vector, y: Vector, over: Vector, step: Vector) -> tuple[Vector, Vector, Vector]:
        """Along ``step``, to where the dual hardly rises any more: its slope falls all the way."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.where(step < 0, -y / step, np.where(step > 0, (self.caps - y) / step, inf))
        furthest, first = float(ends.min()), float(over @ step)
        good, bad, rising, falling = 0.0, inf, first, 0.0
        part = min(1.0, furthest)
        for _ in range(SEARCHES):
            prices = np.clip(y + part * step, 0.0, self.caps)
            v = self.settle(v, prices)
            over = self.excess(v)
            slope = float(over @ step)
            if abs(slope) <= 0.1 * first or (slope > 0 and part == furthest):
                break
            if slope > 0:
                good, rising, falling = part, slope, falling / 2
            else:
                bad, falling, rising = part, slope, rising / 2
            part = min(8 * part, furthest) if bad == inf else good + (bad - good) * rising / (rising - falling)
        return v, prices, over

    def _totals(self, y: Vector) -> Vector:
        """The slopes of all terms together, with multipliers ``y``."""
        total: Vector = np.tensordot(np.concatenate([[1.0, BOX * self.tables.scale], y]), self.slopes, axes=1)
        return total

    def _stance(self, v: Vector, totals: Vector) -> tuple[Vector, NDArray[np.bool_], NDArray[np.intp]]:
        """Slope of the whole objective, whether each variable would move, and the piece it stands in or moves into."""
        rows = np.arange(self.count)
        left, right = (self.kinks < v[:, None]).sum(axis=1), (self.kinks <= v[:, None]).sum(axis=1)
        smooth = self.matrix @ v - self.pull
        down, up = smooth + totals[rows, left], smooth + totals[rows, right]
        enough = 1e-12 * (self.tables.scale + np.abs(totals[rows, right]))
        rises, inside = up < -enough, left == right
        free = inside | rises | (down > enough)
        return np.where(rises, up, down), free, np.where(rises, right, left)

    def settle(self, v: Vector, y: Vector) -> Vector:
        """The minimum with the multipliers ``y``, from a ``v`` nearby."""
        totals = self._totals(y)
        for _ in range(STEPS):
            slope, free, piece = self._stance(v, totals)
            at = np.flatnonzero(free)
            enough = 1e-12 * (self.tables.scale + np.abs(totals[at, piece[at]]))
            if not (np.abs(slope[at]) > enough).any():
                break
            low, high = self.edges[at, piece[at]], self.edges[at, piece[at] + 1]
            block, slope = self.matrix[np.ix_(at, at)], slope[at]
            move = np.clip(v[at] - np.linalg.solve(block, slope), low, high) - v[at]
            part = _part(block, slope, move)
            if part < 0.3:  # cut to the pieces, the step hardly leads downhill: one variable after the other
                move = _sweep(block, slope, low - v[at], high - v[at])
                part = _part(block, slope, move)
            after = v[at] + part * move
            after = np.where(after < low, low, np.where(after > high, high, after))
            if (after == v[at]).all():
                break
            v = v.copy()
            v[at] = after
        return v


def _part(matrix: Vector, slope: Vector, move: Vector) -> float:
    """How far along ``move`` the quadratic falls, at most 1."""
    bend = float(move @ matrix @ move)
    return min(1.0, -float(slope @ move) / bend) if bend > 0 else 0.0


def _sweep(matrix: Vector, slope: Vector, low: Vector, high: Vector) -> Vector:
    """A move downhill between ``low`` and ``high``: every coordinate in turn to its best."""
    move = np.zeros(len(slope))
    for i, row in enumerate(matrix):
        best = move[i] - (slope[i] + row @ move) / row[i]
        move[i] = min(max(best, low[i]), high[i])
    return move


# Whole lots


class _Lots:
    """A choice of lots, what it costs, and exchanges that make it better."""

    def __init__(self, programme: Programme, tables: _Tables, grids: Sequence[Grid]) -> None:
        self.tables = tables
        self.lot = np.array([grid.lot for grid in grids], float)
        self.held = np.array([grid.held for grid in grids], np.int64)
        self.low, self.high = _gaps(self.held, grids)
        self.groups = [list(group) for group in programme.groups if tables.free[group[0]]]
        self.legs = np.array([i for group in self.groups for i in group], int)
        self.group = np.repeat(np.arange(len(self.groups)), [len(group) for group in self.groups])
        self.firsts = np.flatnonzero(np.diff(self.group, prepend=-1))
        self.ratio = tables.shape / self.lot
        """Lots of each leg at scale 1; the leg of the coarsest lots leads its group."""
        self.leads = np.array([min(group, key=lambda i: abs(self.ratio[i]) or inf) for group in self.groups], int)
        single = tables.free.copy()
        single[self.legs] = False
        self.single = np.flatnonzero(single)
        self.coarse = self.single[np.argsort(-((self.lot**2 * tables.bend)[self.single]), kind="stable")][:COARSE]
        slack = CLOSE * np.maximum(1.0, np.abs([tables.low, tables.high]))
        self.box_low, self.box_high = tables.low - slack[0], tables.high + slack[1]
        self.spends = programme.turnover is not None
        budget = [programme.turnover] if programme.turnover is not None else []
        self.most = np.append(tables.most, budget) * (1 + CLOSE) + TINY
        self.dear = np.append(np.full(len(tables.most), BOUND), [TURNOVER] * len(budget)) * tables.scale
        self.set(self.held)
        self.allowed = np.maximum(self.most, self.totals * (1 + CLOSE))
        """What is never exceeded: the bounds, or what is held takes of them."""
        self.allowed[len(tables.most) :] = inf

    def set(self, lots: Lots) -> None:
        """Choose these."""
        self.lots = lots.copy()
        self.slope = self.tables.penalty @ (self.lot * lots - self.tables.center)
        self.taken = self.takes(lots)
        self.totals = self.taken.sum(axis=1)

    def takes(self, lots: Lots, at: NDArray[np.intp] | slice = slice(None)) -> Vector:
        """What instruments ``at`` take of every bound and of the turnover, (bounds, ..., instruments)."""
        takes = self.tables.each(self.lot[at] * lots, at)
        if not self.spends:
            return takes
        traded: Vector = np.concatenate([takes, (self.lot[at] * np.abs(lots - self.held[at]))[None]])
        return traded

    def alone(self, lots: Lots, at: NDArray[np.intp] | slice = slice(None)) -> Vector:
        """What trade and box of each instrument cost at these lots."""
        w = self.lot[at] * lots
        out = np.maximum(self.box_low[at] - w, 0.0) + np.maximum(w - self.box_high[at], 0.0)
        trade = self.tables.prices[at] * self.lot[at] * np.abs(lots - self.held[at])
        cost: Vector = trade + BOX * self.tables.scale * out
        return cost

    def charge(self, totals: Vector) -> Vector:
        """What ``totals``, (bounds, ...), cost beyond what is allowed."""
        cost = np.zeros(totals.shape[1:])
        for total, most, allowed, dear in zip(totals, self.most, self.allowed, self.dear, strict=True):
            over = total - most
            if (over > 0).any():
                cost += dear * np.maximum(over, 0.0) + BOUND * dear * np.maximum(total - allowed, 0.0)
        return cost

    def cost(self) -> float:
        """What there is to make small."""
        x = self.lot * self.lots - self.tables.center
        return float(x @ self.slope / 2 + self.alone(self.lots).sum() + self.charge(self.totals))

    def breaks(self) -> bool:
        """Whether a bound is broken, more than it was."""
        return bool((self.totals > self.allowed).any())

    def change(self, changes: dict[int, int]) -> bool:
        """Let these instruments hold so many lots, if that is an improvement; whether it was one."""
        at = np.array(list(changes))
        lots = np.array(list(changes.values()))
        move = self.lot[at] * (lots - self.lots[at])
        taken = self.takes(lots, at)
        totals = self.totals + (taken - self.taken[:, at]).sum(axis=1)
        rise = float(self.slope[at] @ move + move @ self.tables.penalty[np.ix_(at, at)] @ move / 2)
        rise += float((self.alone(lots, at) - self.alone(self.lots[at], at)).sum())
        if rise + float(self.charge(totals) - self.charge(self.totals)) >= -GAIN:
            return False
        self.slope = self.slope + move @ self.tables.penalty[at]
        self.lots[at], self.taken[:, at], self.totals = lots, taken, totals
        return True

    def begin(self, weights: Vector) -> None:
        """The nearest lots that the venue takes."""
        lots = np.rint(weights / self.lot).astype(np.int64)
        inside = (self.low < lots[:, None]) & (lots[:, None] < self.high)
        nearer = np.where(2 * lots[:, None] <= self.low + self.high, self.low, self.high)
        self._start(np.where(inside.any(axis=1), np.where(inside, nearer, 0).sum(axis=1), lots))
        outside = bool(self.charge(self.totals) > 0)
        self.descend()
        if outside and len(self.single) <= COARSE:
            first, cost = self.lots, self.cost()
            less = np.trunc(weights / self.lot * (1 + CLOSE)).astype(np.int64)
            self._start(np.where(weights > 0, self.step(less, -1), self.step(less, 1)))
            self.descend()
            if self.cost() > cost - GAIN:
                self.set(first)

    def _start(self, lots: Lots) -> None:
        begun = self.held.copy()
        begun[self.single] = lots[self.single]
        if self.groups:
            there, fits = self._follow(lots[self.leads])
            begun[self.legs] = np.where(fits, there, self.held[self.legs])
        self.set(begun)

    def descend(self) -> None:
        """Make exchanges until none is an improvement."""
        for _ in range(ROUNDS):
            if not (self._singles() or self._in_groups() or self._pairs() or self._few()):
                break

    def step(self, lots: Lots, way: int, at: NDArray[np.intp] | slice = slice(None)) -> Lots:
        """The nearest lots from ``lots`` on, in the direction ``way``, that the venue takes."""
        for low, high in zip(self.low[at].T[::way], self.high[at].T[::way], strict=True):
            lots = np.where((low < lots) & (lots < high), high if way > 0 else low, lots)
        return lots

    def _rise(self, lots: Lots, at: NDArray[np.intp]) -> tuple[Vector, Vector, Vector]:
        """Change of weight, of what each costs alone, and of what it takes, if each of ``at`` held these lots."""
        move = self.lot[at] * (lots - self.lots[at])
        rise = self.slope[at] * move + self.tables.bend[at] * move**2 / 2 + self.alone(lots, at)
        taken = self.taken[:, at].reshape(len(self.taken), *[1] * (lots.ndim - 1), len(at))
        return move, rise - self.alone(self.lots[at], at), self.takes(lots, at) - taken

    def _answer(self, slope: Vector, spent: Vector, way: int) -> Lots:
        """The best lots of every single instrument in one direction, as if it could go on as it begins.

        ``slope``: of the risk, (..., instruments); ``spent``: of the bounds already, (bounds, ...).
        """
        at, lots = self.single, self.lots[self.single]
        near = self.step(lots + way, way, at)
        price = np.where((lots - self.held[at]) * way >= 0, 1.0, -1.0) * self.tables.prices[at]
        many = (-way * slope - price) / (self.tables.bend * self.lot)[at]
        edge = np.floor(self.box_high[at] / self.lot[at]) if way > 0 else np.ceil(self.box_low[at] / self.lot[at])
        many = np.minimum(many, np.maximum(way * (edge - lots), 1.0))
        each = (self.takes(near, at) - self.taken[:, at]) / np.abs(near - lots)
        rooms = self.most.reshape(-1, *[1] * (spent.ndim - 1)) - spent
        for take, room in zip(each, rooms, strict=True):  # as far as there is room
            many = np.where(take > 0, np.minimum(many, room[..., None] / np.where(take > 0, take, 1.0)), many)
        many = np.floor(np.maximum(many, 1.0))
        for take, room in zip(each, rooms, strict=True):  # and as far as there must be
            many = np.where(take < 0, np.maximum(many, np.ceil(room[..., None] / np.where(take < 0, take, 1.0))), many)
        far = lots + way * np.clip(many, 1, FURTHEST).astype(np.int64)
        return self.step(far, way, at)

    def _singles(self) -> bool:
        at = self.single
        slope, totals = self.slope[at], self.totals
        choices = np.stack([
            self.step(self.lots[at] + 1, 1, at), self.step(self.lots[at] - 1, -1, at),
            self._answer(slope, totals, 1), self._answer(slope, totals, -1), self.held[at], np.zeros_like(at),
        ])  # fmt: skip
        _, rise, takes = self._rise(choices, at)
        rise += self.charge(totals[:, None, None] + takes) - self.charge(totals)
        best = rise.argmin(axis=0)
        fall = rise[best, np.arange(len(at))]
        better = [one for one in np.argsort(fall, kind="stable").tolist() if fall[one] < -GAIN]
        return self._first([{int(at[one]): int(choices[best[one], one])} for one in better])

    def _pairs(self) -> bool:
        """One instrument makes a step, or leaves its trade out; another answers."""
        at, lots = self.single, self.lots[self.coarse]
        steps = [self.step(lots + way * many, way, self.coarse) for many in STRIDES for way in (1, -1)]
        begun = np.concatenate([*steps, self.held[self.coarse], np.zeros_like(lots)])
        first = np.tile(self.coarse, len(begun) // max(len(lots), 1))
        keep = begun != self.lots[first]
        first, begun = first[keep], begun[keep]
        move, rise, takes = self._rise(begun, first)
        slope = self.slope[at] + move[:, None] * self.tables.penalty[np.ix_(first, at)]
        spent = self.totals[:, None] + takes
        found = []
        for way in (1, -1):
            answers = self._answer(slope, spent, way)
            there, more, taken = self._rise(answers, at)
            table = rise[:, None] + more + move[:, None] * there * self.tables.penalty[np.ix_(first, at)]
            table += self.charge(spent[..., None] + taken) - self.charge(self.totals)
            table[first[:, None] == at] = 0.0
            a, b = np.nonzero(table < -GAIN)
            found += list(zip(table[a, b].tolist(), first[a].tolist(), begun[a].tolist(), at[b].tolist(),
                              answers[a, b].tolist(), strict=True))  # fmt: skip
        return self._first([{i: many, j: others} for _, i, many, j, others in sorted(found)])

    def _first(self, offers: list[dict[int, int]]) -> bool:
        """Make those exchanges that are still an improvement after the ones before; whether any was made."""
        done, refused, moved = False, 0, np.zeros(len(self.lots), bool)
        for offer in offers:
            at = list(offer)
            if moved[at].any():
                continue
            if self.change(offer):
                moved[at] = done = True
                refused = 0
            elif (refused := refused + 1) == REFUSED:
                break
        return done

    def _few(self) -> bool:
        """All combinations of near lots of the few coarsest instruments."""
        at = self.coarse[:FEW]
        if not len(at):
            return False
        lots = self.lots[at]
        near = [self.step(lots + way * many, way, at) for many in (1, 2) for way in (1, -1)]
        choices = np.stack([lots, *near, self.held[at], np.zeros_like(at)])
        move, rise, takes = self._rise(choices, at)
        total, spent = np.zeros([len(choices)] * len(at)), self.totals.reshape(-1, *[1] * len(at))
        for i in range(len(at)):
            total = total + _along(rise[:, i], i, len(at))
            spent = spent + np.stack([_along(take[:, i], i, len(at)) for take in takes]) if len(takes) else spent
            for j in range(i):
                both = self.tables.penalty[at[i], at[j]] * _along(move[:, i], i, len(at))
                total = total + both * _along(move[:, j], j, len(at))
        total = total + self.charge(spent) if len(takes) else total
        best = np.unravel_index(int(total.argmin()), total.shape)
        return self.change({int(k): int(choices[c, i]) for i, (k, c) in enumerate(zip(at, best, strict=True))})

    def _follow(self, many: Lots) -> tuple[Lots, NDArray[np.bool_]]:
        """The lots of all legs if the leads hold ``many``, and of each leg whether its group can stand so."""
        scale = many / self.ratio[self.leads]
        lots = np.rint(scale[self.group] * self.ratio[self.legs]).astype(np.int64)
        refused = ((self.low[self.legs] < lots[:, None]) & (lots[:, None] < self.high[self.legs])).any(axis=1)
        wrong = np.bincount(self.group, refused, len(many)) + (scale < 0)
        return lots, (wrong == 0)[self.group]

    def _in_groups(self) -> bool:
        """A group one step of its lead up or down, at the proportions again, not traded, or closed."""
        if not self.groups:
            return False
        at, lots = self.legs, self.lots[self.leads]
        steps = [self.step(lots + way, way, self.leads) for way in (1, -1)]
        choices = [np.where(fits, there, self.lots[at]) for there, fits in map(self._follow, (*steps, lots))]
        table = np.stack([*choices, self.held[at], np.zeros_like(at)])
        move, rise, takes = self._rise(table, at)
        same = self.group[:, None] == self.group
        rise += move * (move @ np.where(same, self.tables.penalty[np.ix_(at, at)], 0.0)) / 2
        rise -= self.tables.bend[at] * move**2 / 2  # which was in it already
        rise = np.add.reduceat(rise, self.firsts, axis=-1)
        takes = np.add.reduceat(takes, self.firsts, axis=-1)
        rise += self.charge(self.totals[:, None, None] + takes) - self.charge(self.totals)
        best = rise.argmin(axis=0)
        fall = rise[best, np.arange(len(best))]
        better = [one for one in np.argsort(fall, kind="stable").tolist() if fall[one] < -GAIN]
        return self._first([dict(zip(self.groups[g], table[best[g], self.group == g].tolist(), strict=True)) for g in better])


def _along(values: Vector, axis: int, axes: int) -> Vector:
    """A vector laid along one of so many axes."""
    return values.reshape([-1 if a == axis else 1 for a in range(axes)])


def _gaps(held: Lots, grids: Sequence[Grid]) -> tuple[Lots, Lots]:
    """Lots strictly between which a venue takes no order, (instruments, 3), ascending: low and high ends."""
    small, less = (np.array([getattr(grid, name) for grid in grids]) for name in ("smallest", "smallest_less"))
    size = np.abs(held)
    low = np.stack([-small, np.maximum(0, size - less), size], axis=1)
    high = np.stack([np.zeros_like(size), size, size + small], axis=1)
    short = (held < 0)[:, None]
    return np.where(short, -high[:, ::-1], low), np.where(short, -low[:, ::-1], high)
