"""Whether weights are the best ones: the Kuhn-Tucker conditions, checked one direction at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.core.programme import Curve, Programme
from tests.core.problems import level

NEAR = 1e-9
"""Weights so near to a kink stand in it."""


def rises(curve: Curve, w: float, way: float) -> float:
    """How fast a curve rises from ``w`` in the direction ``way`` (its sign and speed)."""
    side = curve.long if w > NEAR or (abs(w) <= NEAR and way > 0) else curve.short
    size = abs(w) if abs(w) > NEAR else 0.0
    speed = way if w > NEAR else -way if w < -NEAR else abs(way)
    top = max([0.0] + [a * size - d for a, d in side])
    slopes = [a * speed for a, d in side if a * size - d >= top - NEAR] + ([0.0] if top <= NEAR else [])
    return max(slopes)


def bends(w: float, kink: float, way: float) -> float:
    """How fast |w - kink| rises in the direction ``way``."""
    return way if w > kink + NEAR else -way if w < kink - NEAR else abs(way)


def worst_slope(p: Programme, weights: Sequence[float]) -> float:
    """The steepest descent that is still allowed, for the best prices of the binding bounds: 0 at the optimum.

    With prices y the condition of each direction is base + coefficients y >= 0. Prices that meet all of them are looked
    for by projecting on one broken condition after another.
    """
    w = np.array(weights)
    slope = np.array(p.penalty) @ (w - np.array(p.center))
    frozen = [a == b == c for a, b, c in zip(p.low, p.high, p.held, strict=True)]
    ways: list[dict[int, float]] = []
    grouped = [i for group in p.groups for i in group]
    for i in range(len(w)):
        if not frozen[i] and i not in grouped:
            ways.append({i: 1.0})
    for group in p.groups:
        if not any(frozen[i] for i in group):
            ways.append({i: p.center[i] for i in group})
    binding = [b for b in p.bounds if level(b, list(w)) >= b.most * (1 - 1e-7)]
    spent = bool(p.turnover is not None and sum(abs(a - b) for a, b in zip(w, p.held, strict=True)) >= p.turnover - 1e-7)
    bases, rows = [], []
    for way in ways:
        for sign in (1.0, -1.0):
            legs = [(i, sign * f) for i, f in way.items()]
            if any((w[i] >= p.high[i] - NEAR and f > 0) or (w[i] <= p.low[i] + NEAR and f < 0) for i, f in legs):
                continue
            if all(abs(w[i]) <= NEAR for i, _ in legs) and len(legs) > 1 and sign < 0:
                continue
            moved = [bends(w[i], p.held[i], f) for i, f in legs]
            bases.append(sum(slope[i] * f + p.prices[i] * m for (i, f), m in zip(legs, moved, strict=True)))
            rows.append([sum(rises(b.curves[i], w[i], f) for i, f in legs) for b in binding] + ([sum(moved)] if spent else []))
    base, table = np.array(bases), np.array(rows, float).reshape(len(bases), len(binding) + spent)
    if not len(base) or not table.shape[1]:
        return float(min(0.0, base.min(initial=0.0)))
    table = table / np.abs(table).max(axis=0).clip(1e-12)
    there, back = slice(0, None, 2), slice(1, None, 2)
    if len(base) % 2 == 0:  # inside a piece both directions say the same: an equation
        smooth = (np.abs(base[there] + base[back]) < NEAR) & (np.abs(table[there] + table[back]).max(axis=1) < NEAR)
        y = np.maximum(np.linalg.lstsq(table[there][smooth], -base[there][smooth], rcond=None)[0], 0.0)
    else:
        y = np.zeros(table.shape[1])
    best = -np.inf
    norms = (table**2).sum(axis=1)
    for _ in range(20_000):
        value = base + table @ y
        bad = int(value.argmin())
        best = max(best, float(value[bad]))
        if value[bad] >= -1e-9 or not norms[bad]:
            break
        y = np.maximum(y - 1.2 * table[bad] * value[bad] / norms[bad], 0.0)
    return min(0.0, best)
