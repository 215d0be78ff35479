"""How close the cost-aware band comes to the best that can be had: two portfolios of the literature's kind, simulated.

Trading costs and tracking risk, (g/2) x'Sx a year, are what a policy is judged by. For both portfolios the least that
any policy can reach is known from dynamic programming (zero drift, constant covariance, proportional costs); a ratio of
1 is that optimum. The tolerance is off: it is the user's wish and not part of the contest.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp, sqrt

import numpy as np
from msgspec import Struct
from rich.table import Table

from agent.core.band import TRIGGER, Band, band_of, dot, noises, penalty_of
from agent.core.economy import Economy
from agent.core.programme import Programme, solve

COVARIANCE = [[0.36, 0.3936, 0.432], [0.3936, 0.64, 0.608], [0.432, 0.608, 1.0]]
"""A year: volatilities of 60, 80 and 100 %, correlations of 0.82, 0.72 and 0.76."""
COSTS = [0.0006, 0.0006, 0.0008]
THRESHOLD = 0.05
FREE = 1e9
"""A box that never binds."""


class Case(Struct, frozen=True):
    """A portfolio, how often and how many times it is looked at, and the least running cost (of equity a year)."""

    target: list[float]
    step_years: float
    steps: int
    optimum: float


CASES = {
    "50/30/20 at 3x": Case(target=[1.5, 0.9, 0.6], step_years=1.55e-4, steps=300_000, optimum=344.4e-4),
    "50/30/20 at 1x": Case(target=[0.5, 0.3, 0.2], step_years=4.4e-5, steps=2_000_000, optimum=5.88e-4),
}

Trader = Callable[[list[float]], list[float]]
"""From drift to the trade that is made; all zero to hold."""


def contest(part: float = 1.0, seed: int = 11) -> dict[str, dict[str, float]]:
    """The running cost of each policy over the optimum, on the same prices; ``part`` of the steps are gone."""
    found = {}
    for name, case in CASES.items():
        traders = {"trimtab": cost_aware(case), "threshold 5% to target": threshold(case)}
        costs = running_costs(case, list(traders.values()), round(case.steps * part), seed)
        found[name] = {who: cost / case.optimum for who, cost in zip(traders, costs, strict=True)}
    return found


def cost_aware(case: Case) -> Trader:
    """Trade when the band is left, just back into it, if that pays."""
    economy = Economy()
    penalty = penalty_of(np.array(COVARIANCE), economy.correlation_trust)
    band: Band = band_of(penalty, noises(penalty, case.target), COSTS, economy.risk_aversion)
    boxes, still = [FREE] * len(COSTS), [0.0] * len(COSTS)

    def trade(x: list[float]) -> list[float]:
        if max(map(abs, band.reaches(x))) < TRIGGER:
            return still
        wish = best_trade(band, x, boxes)
        return wish if band.benefit(x, wish, still, band.horizon(wish)) > band.cost(wish) else still

    return trade


def threshold(case: Case) -> Trader:
    """All the way to the targets as soon as one weight has drifted by 5 % of the gross."""
    most, still = THRESHOLD * sum(map(abs, case.target)), [0.0] * len(COSTS)
    return lambda x: [-a for a in x] if max(map(abs, x)) >= most else still


class Book:
    """What one policy holds, and what it has cost so far."""

    def __init__(self, case: Case, trader: Trader) -> None:
        self.target, self.trader = case.target, trader
        self.weights = list(case.target)
        self.paid = 0.0
        self.risk = 0.0

    def move(self, grown: list[float]) -> None:
        """Prices have become so many times what they were: trade if the policy wants to, and bear what remains."""
        equity = 1 + sum(w * (g - 1) for w, g in zip(self.weights, grown, strict=True))
        x = [w * g / equity - t for w, g, t in zip(self.weights, grown, self.target, strict=True)]
        trade = self.trader(x)
        if any(trade):
            self.paid += sum(c * abs(u) for c, u in zip(COSTS, trade, strict=True))
            x = [a + u for a, u in zip(x, trade, strict=True)]
        self.risk += dot(x, [dot(row, x) for row in COVARIANCE])
        self.weights = [t + a for t, a in zip(self.target, x, strict=True)]


def running_costs(case: Case, traders: list[Trader], steps: int, seed: int) -> list[float]:
    """Trading costs and tracking risk a year, as a fraction of equity, on log-normal prices without drift."""
    dice, years = random.Random(seed), case.step_years
    roots, scale = root_of(COVARIANCE), sqrt(years)
    half = [COVARIANCE[i][i] * years / 2 for i in range(len(COSTS))]
    books = [Book(case, trader) for trader in traders]
    for _ in range(steps):
        shocks = [dice.gauss(0.0, scale) for _ in roots]
        grown = [exp(dot(row, shocks) - h) for row, h in zip(roots, half, strict=True)]
        for book in books:
            book.move(grown)
    return [book.paid / (steps * years) + Economy().risk_aversion / 2 * book.risk / steps for book in books]


def root_of(matrix: list[list[float]]) -> list[list[float]]:
    """The lower triangle whose square is ``matrix`` (Cholesky)."""
    root = [[0.0] * len(matrix) for _ in matrix]
    for i, row in enumerate(matrix):
        for j in range(i + 1):
            rest = row[j] - dot(root[i][:j], root[j][:j])
            root[i][j] = sqrt(rest) if i == j else rest / root[j][j]
    return root


def table(found: dict[str, dict[str, float]]) -> Table:
    """The ratios, for a person."""
    rows = Table(title="running cost over the optimum (1 = the best there is)")
    rows.add_column("portfolio")
    for who in next(iter(found.values())):
        rows.add_column(who, justify="right")
    for name, ratios in found.items():
        rows.add_row(name, *(f"{ratio:.3f}" for ratio in ratios.values()))
    return rows


def best_trade(band: Band, x: list[float], boxes: list[float]) -> list[float]:
    """The change of weights that leads back just into the band."""
    after = solve(
        Programme(
            penalty=band.penalty,
            center=[0.0] * len(x),
            held=x,
            prices=[0.86 * w for w in band.widths],
            low=[-b for b in boxes],
            high=boxes,
        )
    )
    return [b - a for a, b in zip(x, after, strict=True)]
