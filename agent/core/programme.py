"""The planner's programme: the weights to hold when risk, costs, boxes and the account's bounds are weighed at once.

Find the weights w that minimise (w-c)'Q(w-c)/2 + sum k|w-h|: how far they are from the targets c, measured by the risk
Q, against what it takes to come from the held weights h. Every instrument has a box; convex bounds (leverage, margin
by tiers, liquidation distance, turnover) hold for all together. `solve` finds real weights, `agent.core.lots.whole`
whole lots.

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
Flags = NDArray[np.bool_]
Index = NDArray[np.intp]
Lines = tuple[tuple[float, float], ...]

BOX, TURNOVER = 1e3, 1e5
"""What a unit outside a box and beyond the turnover costs, in largest slopes of the objective: each gives way last."""
CLOSE = 1e-9
"""What breaks a box or a bound by less than this part is rounding, and no break."""
SMALL = 1e-12
"""A slope smaller than this part of the largest is none."""
RIDGE = 1e-12
"""Added to each variance in this proportion: the penalty of twins, believed to move as one, is definite as well."""
STEPS, CLIMBS, SEARCHES = 200, 40, 60
"""The most Newton steps of the weights, steps of the multipliers, and tries along one of those. A few are usual."""


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

    penalty: Matrix | Sequence[Sequence[float]]
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


def solve(programme: Programme) -> list[float]:
    """The best weights. Never a point that breaks a bound which ``held`` obeys, nor one that breaks it more."""
    found: list[float] = solution(Arrays(programme)).tolist()
    return found


class Arrays:
    """A programme as arrays, in instrument order, and what follows from it at once."""

    def __init__(self, programme: Programme) -> None:
        size = len(programme.center)
        self.programme = programme
        self.penalty = np.array(programme.penalty, float).reshape(size, size)
        self.penalty[np.diag_indices(size)] *= 1 + RIDGE
        self.bend = self.penalty.diagonal()
        self.center, self.held = np.array(programme.center, float), np.array(programme.held, float)
        self.prices = np.array(programme.prices, float)
        self.low, self.high = np.array(programme.low, float), np.array(programme.high, float)
        self.free = ~((self.low == self.high) & (self.low == self.held))
        """What may be traded."""
        self.shape = self.center.copy()
        """The proportions of the legs of a hedge group."""
        for group in map(list, programme.groups):
            if not self.center[group].any():
                self.shape[group] = self.held[group]
            self.free[group] &= self.free[group].all() and self.shape[group].any()
        self.lines = [_lines(bound.curves) for bound in programme.bounds]
        least = self.values(np.where(self.free, 0.0, self.held))
        self.most = np.maximum(np.array([bound.most for bound in programme.bounds]), least)
        """Of each bound; where that can't be had, what is taken of it when all that may be traded is closed."""
        reach = np.abs(np.concatenate([self.center, self.held])).max(initial=0.0)
        self.scale = float(np.abs(self.penalty).max(initial=0.0) * reach + self.prices.max(initial=0.0)) or 1.0
        """The order of the largest slope of the objective."""

    def each(self, weights: Vector, at: Index | slice = slice(None)) -> Vector:
        """What the instruments ``at`` take of every bound: (bounds, ..., instruments) for (..., instruments)."""
        size, up = np.abs(weights), weights >= 0
        takes: Vector = np.zeros((len(self.lines), *weights.shape))
        for take, lines in zip(takes, self.lines, strict=True):
            a, d, b, e = lines[..., at].reshape(4, lines.shape[2], *[1] * (weights.ndim - 1), -1)
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
    table: Vector = np.array(padded, float).reshape(len(curves), 2, width, 2)
    found: Vector = table.transpose(1, 3, 2, 0)
    return found


def rounding(most: Vector) -> Vector:
    """What breaks such bounds by less than this is rounding, and no break; those that bind are met to half of it."""
    slack: Vector = CLOSE * np.maximum(most, 1e-6)
    return slack


def solution(arrays: Arrays) -> Vector:
    """The answer of `solve`: first without the bounds, then with those that it breaks, until it breaks none."""
    budget = arrays.programme.turnover
    most = np.append(arrays.most, inf if budget is None else budget)
    engaged: list[int] = []
    while True:
        pieces = _Pieces(arrays, most, engaged)
        weights = pieces.weights(pieces.climb())
        over = _taken(arrays, weights) > most + rounding(most)
        broken = [j for j in np.flatnonzero(over).tolist() if j not in engaged]
        if not broken:
            return _kept(arrays, weights)
        engaged += broken


def _taken(arrays: Arrays, weights: Vector) -> Vector:
    """What is taken of every bound, and of the turnover, which is the last."""
    return np.append(arrays.values(weights), np.abs(weights - arrays.held).sum())


def _kept(arrays: Arrays, weights: Vector) -> Vector:
    """The last safeguard: ``weights``, or a point on the way there from what is held, as far as the bounds are kept."""
    allowed = np.maximum(arrays.most, arrays.values(arrays.held))
    allowed += rounding(allowed)
    if (arrays.values(weights) <= allowed).all():
        return weights
    way, good, bad = weights - arrays.held, 0.0, 1.0
    for _ in range(SEARCHES):
        part = (good + bad) / 2
        if (arrays.values(arrays.held + part * way) <= allowed).all():
            good = part
        else:
            bad = part
    kept: Vector = arrays.held + good * way
    return kept


class _Pieces:
    """A programme in its free variables v: a quadratic, and terms that are linear between kinks.

    A variable is the weight of one instrument or the scale of a hedge group. Term 0 is the cost of trading, 1 the
    distance from the boxes, the others are the engaged bounds.
    """

    def __init__(self, arrays: Arrays, most: Vector, engaged: list[int]) -> None:
        self.arrays, self.engaged, self.most = arrays, engaged, most[engaged]
        size, turnover = len(arrays.center), len(most) - 1
        owner, factor = np.arange(size), np.ones(size)
        groups = [list(group) for group in arrays.programme.groups if arrays.free[group[0]]]
        for group in groups:
            owner[group], factor[group] = group[0], arrays.shape[group]
        heads = arrays.free & (owner == np.arange(size))
        number = np.cumsum(heads) - 1
        self.count = int(heads.sum())
        """Variables."""
        self.scales = number[[group[0] for group in groups]]
        """Those that are scales."""
        self.legs = np.flatnonzero(arrays.free & (factor != 0))
        """The instruments that move: the weight of each is ``factor`` times the variable ``owner``."""
        self.owner, self.factor = number[owner[self.legs]], factor[self.legs]
        self.base = np.where(arrays.free, 0.0, arrays.held)
        spread = np.zeros((size, self.count))
        spread[self.legs, self.owner] = self.factor
        across = spread.T @ arrays.penalty if groups else arrays.penalty[self.legs]
        self.matrix = across @ spread if groups else across[:, self.legs]
        self.pull = across @ (arrays.center - self.base)
        self.caps = np.array([TURNOVER * arrays.scale if j == turnover else inf for j in engaged])
        self.kinks, self.slopes = self._laid_out(turnover)
        self.edges = np.pad(self.kinks, ((0, 0), (1, 1)), constant_values=(-inf, inf))
        """Where each piece begins and, one further on, where it ends."""

    def _laid_out(self, turnover: int) -> tuple[Vector, Vector]:
        """Kinks (variables, kinks), ascending and filled up with infinity; slopes (terms, variables, pieces)."""
        arrays, legs, owner, per = self.arrays, self.legs, self.owner, np.abs(self.factor)
        every, one = np.arange(len(legs)), np.ones(len(legs))
        held, price, low, high = (v[legs] for v in (arrays.held, arrays.prices, arrays.low, arrays.high))
        # Of every term: its kinks as rows of leg, weight and change of slope; how steeply it falls before the first.
        terms = [
            (np.column_stack([every, held, 2 * price]), price),
            (np.column_stack([np.tile(every, 2), np.append(low, high), np.tile(one, 2)]), one),
        ]
        for j in self.engaged:
            paid = (np.column_stack([every, held, 2 * one]), one)
            terms.append(paid if j == turnover else self._curved(arrays.programme.bounds[j].curves))
        first = -np.stack([np.bincount(owner, per * fall, self.count) for _, fall in terms])
        rows = np.concatenate([kinks for kinks, _ in terms])
        leg, term = rows[:, 0].astype(int), np.repeat(np.arange(len(terms)), [len(kinks) for kinks, _ in terms])
        place, change, variable = rows[:, 1] / self.factor[leg], rows[:, 2] * per[leg], owner[leg]
        if len(self.scales):  # a scale is not negative: below 0 is outside its box, whatever the boxes of the legs
            total = np.bincount(owner, per, self.count)[self.scales]
            first[1, self.scales] -= total
            place, change = np.append(place, np.zeros(len(total))), np.append(change, total)
            variable, term = np.append(variable, self.scales), np.append(term, np.ones(len(total), int))
        order = np.lexsort((place, variable))
        variable, many = variable[order], np.bincount(variable, minlength=self.count)
        rank = np.arange(len(variable)) - (np.cumsum(many) - many)[variable]
        kinks = np.full((self.count, many.max(initial=0)), inf)
        kinks[variable, rank] = place[order]
        changes = np.zeros((len(terms), self.count, kinks.shape[1] + 1))
        changes[:, :, 0] = first
        changes[term[order], variable, rank + 1] = change[order]
        return kinks, np.cumsum(changes, axis=2)

    def _curved(self, curves: tuple[Curve, ...]) -> tuple[Vector, Vector]:
        """The kinks of one bound, and how steeply it falls before the first, as `_laid_out` needs them."""
        rows, fall = [], np.zeros(len(self.legs))
        for i, (leg, factor) in enumerate(zip(self.legs.tolist(), self.factor.tolist(), strict=True)):
            curve = curves[leg]
            up = _kinks(curve.long)
            down = up if curve.short == curve.long else _kinks(curve.short)
            rows += [(i, weight, change) for weight, change in up] + [(i, -weight, change) for weight, change in down]
            fall[i] = sum([change for _, change in (down if factor > 0 else up)])
        return np.array(rows, float).reshape(-1, 3), fall

    def weights(self, v: Vector) -> Vector:
        """Of all instruments."""
        weights: Vector = self.base.copy()
        weights[self.legs] = self.factor * v[self.owner] + 0.0  # never -0.0
        return weights

    def climb(self) -> Vector:
        """The answer: the weights at the dual's maximum over the multipliers y of what is engaged."""
        squares = np.bincount(self.owner, self.factor**2, self.count)
        v = np.bincount(self.owner, self.factor * self.arrays.held[self.legs], self.count) / squares
        v[self.scales] = np.maximum(v[self.scales], 0.0)
        y = np.zeros(len(self.engaged))
        v = self._settle(v, y)
        over, enough = self._over(v), rounding(self.most) / 2
        past = [y, y]
        for climb in range(CLIMBS):
            rise = np.where(self._stuck(y, over), 0.0, over)
            if (np.abs(rise) <= enough).all():
                break
            step = y - past[-2]
            step[self._stuck(y, step)] = 0.0
            if climb % 3 != 2 or not over @ step > 0:  # every third step goes on as the last two did: up a ridge
                step = self._direction(v, y, rise)
            past.append(y)
            v, y, over = self._search(v, y, over, step)
        return v

    def _stuck(self, y: Vector, step: Vector) -> Flags:
        """Which multipliers would leave their range."""
        stuck: Flags = (y <= 0) & (step < 0) | (y >= self.caps) & (step > 0)
        return stuck

    def _over(self, v: Vector) -> Vector:
        """By how much each engaged bound is exceeded: the slopes of the dual."""
        over: Vector = _taken(self.arrays, self.weights(v))[self.engaged] - self.most
        return over

    def _direction(self, v: Vector, y: Vector, rise: Vector) -> Vector:
        """Newton's step of the multipliers: how the bounds give way to them while all stay in their pieces."""
        _, free, piece = self._stance(v, self._totals(y))
        at = np.flatnonzero(free)
        slopes = self.slopes[2:, at, piece[at]]
        bend = slopes @ np.linalg.solve(self.matrix[np.ix_(at, at)], slopes.T)
        moving = np.flatnonzero(rise)
        while True:
            part, step = bend[np.ix_(moving, moving)], np.zeros(len(y))
            # Bounds may be parallel, and nothing may give way before a long step was made.
            least = 1e-9 * part.trace() or 1e-6 / self.arrays.scale
            step[moving] = np.linalg.solve(part + least * np.eye(len(moving)), rise[moving])
            stuck = self._stuck(y, step)
            if not stuck.any():
                return step
            moving = moving[~stuck[moving]]

    def _search(self, v: Vector, y: Vector, over: Vector, step: Vector) -> tuple[Vector, Vector, Vector]:
        """Along ``step`` to where the dual hardly rises any more (its slope falls all the way): v, y and over there."""
        ends = np.full(len(y), inf)
        np.divide(-y, step, out=ends, where=step < 0)
        np.divide(self.caps - y, step, out=ends, where=step > 0)
        furthest, first = float(ends.min()), float(over @ step)
        good, bad, rising, falling = 0.0, inf, first, 0.0
        part = min(1.0, furthest)
        for _ in range(SEARCHES):
            there = np.clip(y + part * step, 0.0, self.caps)
            v = self._settle(v, there)
            over = self._over(v)
            slope = float(over @ step)
            if abs(slope) <= 0.1 * first or (slope > 0 and part == furthest):
                break
            if slope > 0:  # the Illinois method: what stays at its end twice counts half
                good, rising, falling = part, slope, falling / 2
            else:
                bad, falling, rising = part, slope, rising / 2
            part = min(8 * part, furthest) if bad == inf else good + (bad - good) * rising / (rising - falling)
        return v, there, over

    def _totals(self, y: Vector) -> Vector:
        """The slopes of all terms together, with multipliers ``y``: (variables, pieces)."""
        total: Vector = np.tensordot(np.concatenate([[1.0, BOX * self.arrays.scale], y]), self.slopes, axes=1)
        return total

    def _stance(self, v: Vector, totals: Vector) -> tuple[Vector, Flags, Index]:
        """Of each variable: the slope of the objective, whether it would move, and the piece it is in or moves into.

        Those that would not move rest in a kink, from where it rises both ways.
        """
        rows = np.arange(self.count)
        left, right = (self.kinks < v[:, None]).sum(axis=1), (self.kinks <= v[:, None]).sum(axis=1)
        below, above = totals[rows, left], totals[rows, right]
        smooth = self.matrix @ v - self.pull
        none = SMALL * (self.arrays.scale + np.abs(above))
        up = smooth + above < -none
        slope = np.where(up, smooth + above, smooth + below)
        slope = np.where(np.abs(slope) > none, slope, 0.0)
        return slope, up | (slope > 0) | (left == right), np.where(up, right, left)

    def _settle(self, v: Vector, y: Vector) -> Vector:
        """The minimum with the multipliers ``y``, from a ``v`` nearby."""
        totals = self._totals(y)
        for _ in range(STEPS):
            slopes, free, piece = self._stance(v, totals)
            at = np.flatnonzero(free)
            slope, now = slopes[at], v[at]
            if not slope.any():
                break
            low, high = self.edges[at, piece[at]], self.edges[at, piece[at] + 1]
            block = self.matrix[np.ix_(at, at)]
            goal = np.clip(now - np.linalg.solve(block, slope), low, high)
            part = _part(block, slope, goal - now)
            if part < 0.3:  # cut to the pieces, the step hardly leads downhill: one variable after the other
                goal = _swept(block, slope, now, low, high)
                part = _part(block, slope, goal - now)
            after = goal if part == 1 else now + part * (goal - now)
            if (after == now).all():
                break
            v = v.copy()
            v[at] = after
        return v


def _part(matrix: Vector, slope: Vector, move: Vector) -> float:
    """How far along ``move`` a quadratic falls that begins with ``slope``, at most 1."""
    bend = float(move @ matrix @ move)
    return min(1.0, -float(slope @ move) / bend) if bend > 0 else 0.0


def _swept(matrix: Vector, slope: Vector, now: Vector, low: Vector, high: Vector) -> Vector:
    """A lower point of that quadratic between ``low`` and ``high``: every coordinate in turn at its best."""
    there = now.copy()
    for i, row in enumerate(matrix):
        best = there[i] - (slope[i] + row @ (there - now)) / row[i]
        there[i] = min(max(best, low[i]), high[i])
    return there


def _kinks(lines: Lines) -> list[tuple[float, float]]:
    """Where the largest of the lines a w - d and 0 changes its slope for w >= 0, and by how much."""
    hull: list[tuple[float, float, float]] = []  # slope, depth, and from where on it is the largest
    for slope, depth in sorted([(0.0, 0.0), *lines], key=lambda line: (line[0], -line[1])):
        start = 0.0
        while hull:
            flatter, above, begun = hull[-1]
            start = max(0.0, (depth - above) / (slope - flatter)) if slope > flatter else 0.0
            if start > begun:
                break
            hull.pop()
        hull.append((slope, depth, start if hull else 0.0))
    slopes = [0.0] + [slope for slope, _, _ in hull]
    return [(start, slope - before) for (slope, _, start), before in zip(hull, slopes, strict=False) if slope > before]
