"""Closed forms of the literature: an independent yardstick for what the product computes in its own way.

One instrument whose drift from target is Brownian with a volatility v a year; being away by x costs (g/2) s^2 x^2 a
year, a trade of u costs K + c |u|. Everything is a fraction of equity, times are years.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cbrt, log, pi, sqrt
from typing import NamedTuple


class Policy(NamedTuple):
    """Trade when the distance reaches ``trigger``, back to ``land``; and what that costs a year."""

    trigger: float
    land: float
    cost: float


def running_cost(trigger: float, land: float, risk: float, v: float, c: float, fixed: float = 0.0) -> float:
    """Risk and trading of a policy: g s^2 (a^2 + b^2) / 12 + (K + c (a - b)) v^2 / (a^2 - b^2); ``risk`` is g s^2."""
    held = risk * (trigger**2 + land**2) / 12
    if trigger == land:
        return held + c * v**2 / (2 * trigger)
    return held + (fixed + c * (trigger - land)) * v**2 / (trigger**2 - land**2)


def edge(risk: float, v: float, c: float) -> Policy:
    """The optimum without a fixed cost: kept within the band by trades to its edge."""
    h = (1.5 * c * v**2 / risk) ** (1 / 3)
    return Policy(h, h, running_cost(h, h, risk, v, c))


def best_with_landing(part: float, risk: float, v: float, c: float) -> Policy:
    """The best of all policies that land at this ``part`` of their trigger: a^3 = 4 h^3 / ((1 + p)(1 + p^2))."""
    trigger = edge(risk, v, c).trigger * (4 / ((1 + part) * (1 + part**2))) ** (1 / 3)
    return Policy(trigger, part * trigger, running_cost(trigger, part * trigger, risk, v, c))


def trades_a_year(policy: Policy, v: float) -> float:
    """The reciprocal of the mean time from where a trade lands to where the next begins."""
    return v**2 / (policy.trigger**2 - policy.land**2)


def calendar_cost(period: float, risk: float, v: float, c: float) -> float:
    """Back to target every ``period``: the mean distance of a Brownian motion then is v sqrt(2 T / pi)."""
    return risk * v**2 * period / 4 + c * v * sqrt(2 / (pi * period))


def best_calendar(risk: float, v: float, c: float) -> float:
    """The best period: where the derivative of its cost is nought."""
    return cbrt(2 * c / (risk * v) * sqrt(2 / pi)) ** 2


def best_with_fixed(risk: float, v: float, c: float, fixed: float) -> Policy:
    """The best trigger and landing with a cost of each trade besides, by its first-order conditions.

    With k = g s^2 / 12, a + b = p and a - b = d they are k p d^3 = K v^2 and k p^3 = v^2 (K / d + c). As d falls with
    p, both sides of the second grow with p, the left one faster.
    """
    if not fixed:
        return edge(risk, v, c)
    k = risk / 12

    def step(total: float) -> float:
        return cbrt(fixed * v**2 / (k * total))

    low, high = 1e-9, 1e3
    while low < (middle := (low + high) / 2) < high:
        left, right = k * middle**3, v**2 * (fixed / step(middle) + c)
        low, high = (middle, high) if left < right else (low, middle)
    trigger, land = (high + step(high)) / 2, (high - step(high)) / 2
    return Policy(trigger, land, running_cost(trigger, land, risk, v, c, fixed))


def weighted_premium(samples: Sequence[float]) -> float:
    """A premium index averaged with weights 1, 2 ... n, as Binance's funding does."""
    weights = range(1, len(samples) + 1)
    return sum(w * p for w, p in zip(weights, samples, strict=True)) / sum(weights)


def effective_sample(half_life: float, step: float) -> float:
    """How many equally weighted observations an exponentially weighted mean is worth: (1 + l) / (1 - l)."""
    keep = 2 ** (-step / half_life)
    return (1 + keep) / (1 - keep)


def to_constant_correlation(cov: Sequence[Sequence[float]], part: float) -> list[list[float]]:
    """A covariance shrunk by ``part`` toward that with the mean correlation everywhere (Ledoit and Wolf)."""
    n = len(cov)
    sd = [sqrt(cov[i][i]) for i in range(n)]
    pairs = [(i, j) for i in range(n) for j in range(i)]
    mean = sum(cov[i][j] / (sd[i] * sd[j]) for i, j in pairs) / len(pairs)
    return [
        [cov[i][j] if i == j else (1 - part) * cov[i][j] + part * mean * sd[i] * sd[j] for j in range(n)]
        for i in range(n)
    ]


def half_life_of(keep: float, step: float) -> float:
    """The half-life at which a step keeps this much."""
    return -step * log(2) / log(keep)
