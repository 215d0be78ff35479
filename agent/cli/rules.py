"""Rebalancing rules on simulated prices, many paths at once: how much each costs to run, and how sure that is.

The model is that of the literature on rebalancing with proportional costs: log-normal prices without drift, constant
covariance, no funding, orders of any size at a fixed cost. Weights w move exactly, w_i -> w_i (1 + r_i) / (1 + w'r);
a rule looks once a step. What a rule costs is its trading costs and its tracking risk, (g/2) x'Sx a year with x the
drift that is left, both as a fraction of equity.

Arrays have the instruments first, then the variants of a rule, then the paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import cbrt, floor
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from agent.core.band import LANDING, LONGEST_YEARS, TRIGGER
from agent.core.economy import WORTH, Economy

Array = NDArray[np.float64]

COVARIANCE = ((0.36, 0.3936, 0.432), (0.3936, 0.64, 0.608), (0.432, 0.608, 1.0))
"""A year: volatilities of 60, 80 and 100 %, correlations of 0.82, 0.72 and 0.76."""
COSTS = (0.0006, 0.0006, 0.0008)
"""One way and all in: fee and half spread."""
LOOKS = {2: 150, 3: 80}
"""How often a rule looks: so many times in the time that drift takes to cross half a band, by number of instruments."""


class Case(Struct, frozen=True, dict=True):
    """A portfolio, and how much tracking risk costs."""

    target: tuple[float, ...]
    risk_aversion: float
    optimum: float
    """The least running cost that any rule can reach, as a fraction of equity a year."""

    @property
    def costs(self) -> list[float]:
        """One-way cost of trading each instrument."""
        return list(COSTS[: len(self.target)])

    @property
    def covariance(self) -> list[list[float]]:
        """A year."""
        count = len(self.target)
        return [list(row[:count]) for row in COVARIANCE[:count]]

    @cached_property
    def gross(self) -> float:
        """Gross target leverage, the unit of thresholds."""
        return sum(map(abs, self.target))

    @cached_property
    def alone(self) -> list[tuple[float, float]]:
        """By instrument: half width of its own cube-root band in weight, and the variance a year of its weight."""
        w, s = np.array(self.target), np.array(self.covariance)
        pull = np.diag(w) - np.outer(w, w)
        spread = np.diag(pull @ s @ pull.T)
        widths = [
            cbrt(1.5 * c * float(v) / (self.risk_aversion * q))
            for c, v, q in zip(self.costs, spread, np.diag(s), strict=True)
        ]
        return [(h, float(v)) for h, v in zip(widths, spread, strict=True)]

    @cached_property
    def step_years(self) -> float:
        """The time between two looks: that of the instrument which leaves its own band soonest."""
        return min(h * h / v for h, v in self.alone) / LOOKS[len(self.target)]


class Rule(Protocol):
    """What to trade."""

    variants: int

    def trade(self, x: Array, step: int) -> Array | None:
        """The change of weights for this drift after so many steps; None when nobody trades."""
        ...


class Threshold:
    """All the way to the targets as soon as one weight has drifted by so many points of the gross."""

    def __init__(self, case: Case, points: Sequence[float]) -> None:
        self.variants = len(points)
        self._most = (np.array(points) * case.gross)[:, None]

    def trade(self, x: Array, step: int) -> Array | None:
        """As in `Rule`."""
        left = np.abs(x).max(axis=0) >= self._most
        return np.where(left, -x, 0.0) if left.any() else None


class Calendar:
    """All the way to the targets once in so many days."""

    def __init__(self, case: Case, days: Sequence[float]) -> None:
        self.variants = len(days)
        self._periods = [day / 365 / case.step_years for day in days]

    def trade(self, x: Array, step: int) -> Array | None:
        """As in `Rule`."""
        due = [floor(step / period) > floor((step - 1) / period) for period in self._periods]
        return np.where(np.array(due)[:, None], -x, 0.0) if any(due) else None


class CostAware:
    """The product's own band as its formulas say, by itself: no engine, no orders, no lots. Written a second time."""

    variants = 1

    def __init__(self, case: Case, *, trigger: float = TRIGGER, landing: float = LANDING) -> None:
        covariance, w, costs = np.array(case.covariance), np.array(case.target), np.array(case.costs)
        trust = Economy().correlation_trust
        self.penalty: Array = trust * covariance + (1 - trust) * np.diag(np.diag(covariance))
        pull = self.penalty @ (np.diag(w) - np.outer(w, w))
        noise = np.diag(pull @ self.penalty @ pull.T)
        least = costs / (case.risk_aversion * LONGEST_YEARS)
        self.widths: Array = np.maximum(np.cbrt(1.5 * costs * noise / case.risk_aversion), least)
        trend = w * (w @ covariance @ w - covariance @ w)
        self._ahead = (trend * costs / (case.risk_aversion * self.widths))[:, None]
        self._trigger = (trigger * self.widths)[:, None]
        self._slack = landing * self.widths
        self._worth = (WORTH * self.widths / np.diag(covariance))[:, None]

    def trade(self, x: Array, step: int) -> Array | None:
        """As in `Rule`."""
        flat: Array = x.reshape(len(x), -1) + self._ahead
        left = np.flatnonzero((np.abs(self.penalty @ flat) >= self._trigger).any(axis=0))
        if not len(left):
            return None
        here = flat[:, left]
        wish = landed(self.penalty, self._slack, here)
        wish = np.where(np.abs(wish) >= self._worth, wish, 0.0)
        saved = -(wish * (self.penalty @ (here + wish / 2))).sum(axis=0)
        trade = np.zeros_like(flat)
        trade[:, left] = np.where(saved > self.widths @ np.abs(wish), wish, 0.0)  # it pays within its own horizon
        return trade.reshape(x.shape)


def landed(penalty: Array, slack: Array, x: Array) -> Array:
    """The trades u that minimise (x+u)'Q(x+u)/2 + sum of slack |u|, for each column of ``x``; coordinate descent."""
    trade, slopes = np.zeros_like(x), penalty @ x
    for _ in range(500):
        largest = 0.0
        for i, row in enumerate(penalty):
            pull = row[i] * trade[i] - slopes[i]
            best = np.sign(pull) * np.maximum(np.abs(pull) - slack[i], 0.0) / row[i]
            step = best - trade[i]
            trade[i] = best
            slopes += row[:, None] * step
            largest = max(largest, float(np.abs(step).max()))
        if largest < 1e-9:
            break
    return trade


class Running(Struct, frozen=True):
    """What a rule cost on each path, as a fraction of equity a year; `turnover` likewise. By variant and path."""

    trading: Array
    risk: Array
    turnover: Array
    noise: Array
    """Sums of mean zero that go along with the cost: what chance alone has added (see `settled`)."""
    weights: Array
    """At the end; by instrument, variant and path."""

    @property
    def total(self) -> Array:
        """Trading and risk."""
        return self.trading + self.risk


Prices = Iterable[tuple[Array, Array]]
"""For each step the normal shocks and, from them, by how much prices have grown; by instrument and path."""


def prices(case: Case, *, paths: int, steps: int, seed: int) -> Prices:
    """Log-normal prices without drift, a look at a time."""
    rng = np.random.default_rng(seed)
    covariance = np.array(case.covariance) * case.step_years
    root, fall = np.linalg.cholesky(covariance), np.diag(covariance)[:, None] / 2
    for _ in range(steps):
        shocks = rng.standard_normal((len(root), paths))
        yield shocks, np.exp(root @ shocks - fall)


def simulate(case: Case, rule: Rule, told: Prices, start: Array | None = None) -> Running:
    """Run a rule on prices, from the targets or from ``start`` (by instrument, variant and path)."""
    covariance, costs = np.array(case.covariance), np.array(case.costs)
    target = np.array(case.target, dtype=float)[:, None, None]
    w, count, steps = target if start is None else start, len(costs), 0
    x = w - target
    trading = turnover = risk = np.zeros(1)
    noise = np.zeros((count, count, 1, 1))
    for steps, (shocks, grown) in enumerate(told, start=1):
        noise = noise + x[:, None] * shocks[None, :, None]
        new = w * grown[:, None]
        w = new / (1 + (new - w).sum(axis=0))
        x = w - target
        trade = rule.trade(x, steps)
        if trade is not None:
            x = x + trade
            w = x + target
            size = np.abs(trade)
            trading = trading + np.tensordot(costs, size, 1)
            turnover = turnover + size.sum(axis=0)
        risk = risk + (x * np.tensordot(covariance, x, 1)).sum(axis=0)
    years = steps * case.step_years
    return Running(
        trading=trading / years,
        turnover=turnover / years,
        risk=case.risk_aversion / 2 * risk / steps,
        noise=noise.reshape(count * count, *noise.shape[2:]),
        weights=w,
    )


class Figure(Struct, frozen=True):
    """A measured number and its standard error."""

    value: float
    error: float

    def over(self, unit: float) -> Figure:
        """The same in other units."""
        return Figure(self.value / unit, self.error / unit)


def luck(values: Array, noise: Array) -> Array:
    """How much of ``values`` goes along with each row of ``noise``: least squares over the paths."""
    scale = np.abs(noise).max(axis=1, keepdims=True)
    design = np.vstack([np.ones_like(values), noise / scale]).T
    return np.asarray(np.linalg.lstsq(design, values, rcond=None)[0][1:] / scale[:, 0])


def settled(values: Array, noise: Array, part: Array) -> Figure:
    """The mean over the paths, once the ``part`` of it that is luck is taken out.

    ``noise`` is of mean zero, so whatever part of it is taken, the expectation stays where it is (control variates).
    """
    rest = values - part @ noise
    return Figure(float(rest.mean()), float(rest.std(ddof=1) / np.sqrt(len(rest))))
