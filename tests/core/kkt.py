"""Whether weights are the best ones: the Kuhn-Tucker conditions, checked one direction at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.core.programme import BOX, TURNOVER, Arrays, Curve, Programme
from tests.core.problems import level, most_of

NEAR = 1e-9
"""Weights so near to a kink stand in it."""


def rises(curve: Curve, w: float, way: float) -> float:
    """How fast a curve rises from ``w`` in the direction ``way`` (its sign and speed)."""
    side = curve.long if w > NEAR or (abs(w) <= NEAR and way > 0) else curve.short
    size = abs(w) if abs(w) > NEAR else 0.0
    speed = way if w > NEAR else -way if w < -NEAR else abs(way)
    top = max([0.0] + [a * size - d for a, d in side])
    return max([a * speed for a, d in side if a * size - d >= top - NEAR] + ([0.0] if top <= NEAR else []))


def bends(w: float, kink: float, way: float) -> float:
    """How fast |w - kink| rises in the direction ``way``."""
    return way if w > kink + NEAR else -way if w < kink - NEAR else abs(way)


def leaves(w: float, low: float, high: float, way: float) -> float:
    """How fast the distance from a box rises in the direction ``way``."""
    above = way > 0 if abs(w - high) <= NEAR else w > high
    below = way < 0 if abs(w - low) <= NEAR else w < low
    return way * (float(above) - float(below))


def worst_slope(p: Programme, weights: Sequence[float]) -> float:
    """The steepest way down that the binding bounds still leave, for the best prices of theirs: 0 at the optimum.

    With prices y the condition of a direction is base + row y >= 0. Where both ways along a variable say the same it is
    an equation; prices that meet the others too are looked for by projecting on the most broken condition.
    """
    w = np.array(weights)
    slope = np.array(p.penalty) @ (w - np.array(p.center))
    scale = Arrays(p).scale
    frozen = [a == b == c for a, b, c in zip(p.low, p.high, p.held, strict=True)]
    grouped = [i for group in p.groups for i in group]
    ways = [{i: 1.0} for i in range(len(w)) if not frozen[i] and i not in grouped]
    ways += [{i: p.center[i] for i in group} for group in p.groups if not any(frozen[i] for i in group)]
    binding = [b for b, most in zip(p.bounds, most_of(p), strict=True) if level(b, list(w)) >= most * (1 - 1e-8)]
    spent = sum(abs(a - b) for a, b in zip(w, p.held, strict=True))
    over, tight = bool(p.turnover is not None and spent > p.turnover + 1e-8), False
    if p.turnover is not None and not over:
        tight = bool(spent >= p.turnover - 1e-8)
    bases, rows, smooth = [], [], []
    for way in ways:
        both = []
        for sign in (1.0, -1.0):
            legs = [(i, sign * f) for i, f in way.items()]
            if len(legs) > 1 and sign < 0 and all(abs(w[i]) <= NEAR for i, _ in legs):
                continue  # a scale does not go below 0
            moved = sum(bends(w[i], p.held[i], f) for i, f in legs)
            base = sum(slope[i] * f + p.prices[i] * bends(w[i], p.held[i], f) for i, f in legs)
            base += BOX * scale * sum(leaves(w[i], p.low[i], p.high[i], f) for i, f in legs)
            base += TURNOVER * scale * moved * over
            both.append(
                (
                    base,
                    [sum(rises(b.curves[i], w[i], f) for i, f in legs) for b in binding] + ([moved] if tight else []),
                )
            )
        equal = len(both) == 2 and np.allclose([both[0][0], *both[0][1]], -np.array([both[1][0], *both[1][1]]), 0, 1e-6)
        for base, row in both:
            bases.append(base)
            rows.append(row)
            smooth.append(equal)
    base, table = np.array(bases), np.array(rows, float).reshape(len(bases), len(binding) + tight)
    if not len(base) or not table.shape[1]:
        return float(base.min(initial=0.0))
    table /= np.abs(table).max(axis=0).clip(1e-12)
    y = np.linalg.lstsq(table[smooth], -base[smooth], rcond=None)[0] if any(smooth) else np.zeros(table.shape[1])
    y, best, norms = np.maximum(y, 0.0), -np.inf, (table**2).sum(axis=1)
    for _ in range(20_000):
        value = base + table @ y
        bad = int(value.argmin())
        best = max(best, float(value[bad]))
        if best >= -1e-9 or not norms[bad]:
            break
        y = np.maximum(y - 1.2 * table[bad] * value[bad] / norms[bad], 0.0)
    return min(0.0, best)
