"""The least running cost that any rule can reach, by dynamic programming: two instruments, on a grid of drifts.

The state is the drift x after prices have moved. A rule may then trade to any z at the cost of what is traded; it bears
(g/2) z'Sz until the next look, when prices have moved again. The best average cost J a year and the value V of a state
relative to others satisfy

    V(x) + J dt = min over z of  sum c|z - x| + (g/2) z'Sz dt + E V(x'(z))

and repeating the right side (value iteration) encloses J between the least and the largest change of V. Returns are the
exact log-normal ones, at the nine points of a Gauss-Hermite rule; V is interpolated by cubics between grid points. The
minimum over z is exact on the grid: with the l1 norm it is one sweep up and one down along each axis.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from msgspec import Struct

from agent.cli.rules import Array, Case, CostAware

MARGIN = 1.25
"""The grid reaches this much further than the corners of the product's own band."""
CHECK = 50
"""Iterations between two looks at the bounds."""


class Optimum(Struct, frozen=True):
    """Bounds of the least running cost, as a fraction of equity a year."""

    low: float
    high: float
    iterations: int

    @property
    def value(self) -> float:
        """The middle of the two."""
        return (self.low + self.high) / 2


def optimum(case: Case, *, points: tuple[int, ...] = (41, 81, 161), gap: float = 0.001, most: int = 20_000) -> Optimum:
    """The bounds, once they are within ``gap`` of each other (relative), or after ``most`` iterations on a grid.

    ``points`` are the sizes of the grids along one axis: each begins with what the one before has found.
    """
    value, found = np.zeros((2, 2)), Optimum(0.0, 0.0, 0)
    for size in points:
        grid = Grid(case, size)
        value = resized(value, size)
        for iteration in range(1, most + 1):
            new = grid.improved(value)
            if iteration % CHECK == 0:
                change = (new - value) / case.step_years
                found = Optimum(float(change.min()), float(change.max()), iteration)
            value = new - new[size // 2, size // 2]
            if iteration % CHECK == 0 and found.high - found.low <= gap * found.high:
                break
    return found


class Grid:
    """One step of value iteration on ``size`` by ``size`` drifts."""

    def __init__(self, case: Case, size: int) -> None:
        target, covariance = np.array(case.target), np.array(case.covariance)
        band = CostAware(case)
        reach = MARGIN * np.abs(np.linalg.inv(band.penalty)) @ band.widths
        self._steps = 2 * reach / (size - 1)
        self._axes = [np.linspace(-far, far, size) for far in reach]
        self._costs = np.array(case.costs)
        x = np.stack(np.meshgrid(*self._axes, indexing="ij"))
        risk = np.einsum("iab,ij,jab->ab", x, covariance, x)
        self._risk = case.risk_aversion / 2 * risk * case.step_years
        root = np.linalg.cholesky(covariance * case.step_years)
        fall = np.diag(covariance) * case.step_years / 2
        moves = []
        for shocks, weights in zip(product(NODES, repeat=2), product(WEIGHTS, repeat=2), strict=True):
            new = (x + target[:, None, None]) * np.exp(root @ shocks - fall)[:, None, None]
            new = new / (1 + new.sum(axis=0) - (x + target[:, None, None]).sum(axis=0)) - target[:, None, None]
            moves.append(((new - x) / self._steps[:, None, None], weights[0] * weights[1]))
        self._far = 2 + int(max(np.abs(move).max() for move, _ in moves))
        self._stencil = self._weights(moves, size)

    def _weights(self, moves: list[tuple[Array, float]], size: int) -> Array:
        """What each neighbour's value counts for in the expectation: first two indices are the neighbour's offset."""
        width = 2 * self._far + 1
        stencil = np.zeros((width, width, size, size))
        rows, columns = np.indices((size, size))
        for move, weight in moves:
            base = np.floor(move).astype(int)
            parts = cubic(move - base)
            for a, b in product(range(4), repeat=2):
                at = base[0] + a - 1 + self._far, base[1] + b - 1 + self._far
                stencil[at[0], at[1], rows, columns] += weight * parts[a][0] * parts[b][1]
        return stencil

    def improved(self, value: Array) -> Array:
        """The right side of the equation above for this value."""
        far, size = self._far, len(value)
        padded = np.pad(value, far, mode="edge")
        for axis in (0, 1):  # beyond the grid one trades, so the value grows by the cost
            beyond = np.maximum(0, np.abs(np.arange(-far, size + far) - (size - 1) / 2) - (size - 1) / 2)
            extra = self._costs[axis] * self._steps[axis] * beyond
            padded += extra[:, None] if axis == 0 else extra
        after = self._risk.copy()
        for a, b in product(range(2 * far + 1), repeat=2):
            after += self._stencil[a, b] * padded[a : a + size, b : b + size]
        for axis in (0, 1):
            after = traded(after, self._costs[axis] * self._steps[axis], axis)
        return np.asarray(after)


NODES = (-(3**0.5), 0.0, 3**0.5)
WEIGHTS = (1 / 6, 2 / 3, 1 / 6)
"""Gauss-Hermite: exact for polynomials up to the fifth power of a normal shock."""


def cubic(t: Array) -> list[Array]:
    """Weights of the values at -1, 0, 1 and 2 in the cubic through them, at 0 <= t < 1."""
    return [
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    ]


def traded(value: Array, cost: float, axis: int) -> Array:
    """The least of value plus cost of getting there along one axis; ``cost`` is that of one grid step."""
    slope = cost * np.arange(value.shape[axis])
    slope = slope[:, None] if axis == 0 else slope
    up = np.minimum.accumulate(value - slope, axis=axis) + slope
    down = np.flip(np.minimum.accumulate(np.flip(value + slope, axis), axis=axis), axis) - slope
    return np.asarray(np.minimum(up, down))


def resized(value: Array, size: int) -> Array:
    """A value on a grid of another size over the same drifts, linear in between."""
    old, new = np.linspace(-1, 1, len(value)), np.linspace(-1, 1, size)
    wide = np.array([np.interp(new, old, column) for column in value.T]).T
    return np.array([np.interp(new, old, row) for row in wide])
