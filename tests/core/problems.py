"""Random problems of the planner, from a seed: with boxes, bounds, tiers, hedge groups, lots and order rules."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np

from agent.core.band import band_of, noises, penalty_of
from agent.core.covariance import prior_of
from agent.core.lots import Grid
from agent.core.programme import Bound, Curve, Programme


def tiers(dice: random.Random, count: int) -> tuple[tuple[float, float], ...]:
    """A maintenance table as lines (rate, deduction) in weights: continuous, each steeper than the one before."""
    rate, edge, deduction = dice.choice([0.004, 0.005, 0.01]), 0.0, 0.0
    lines = [(rate, 0.0)]
    for _ in range(count - 1):
        edge += dice.uniform(0.02, 0.6)
        step = rate * dice.uniform(0.3, 1.2)
        rate, deduction = rate + step, deduction + edge * step
        lines.append((rate, deduction))
    return tuple(lines)


def curve(lines: tuple[tuple[float, float], ...], shock: float = 0.0, own: float = 0.0) -> Curve:
    """Maintenance after every price has moved by ``shock`` against its position, and ``own`` times the weight."""
    return Curve(
        long=tuple((own + a * (1 - shock), d) for a, d in lines),
        short=tuple((own + a * (1 + shock), d) for a, d in lines),
    )


def level(bound: Bound, weights: list[float]) -> float:
    """What these weights take of a bound, line by line."""
    return sum(
        max([0.0] + [a * abs(w) - d for a, d in (one.long if w >= 0 else one.short)])
        for one, w in zip(bound.curves, weights, strict=True)
    )


def problem(
    seed: int, size: int, *, bounds: int | None = None, grouped: bool = False, coarse: bool = True
) -> tuple[Programme, list[Grid]]:
    """A portfolio of ``size`` instruments whose held lots have drifted; ``bounds`` of its bounds, or some, may bind."""
    dice = random.Random(seed)
    factors = np.array([[dice.gauss(0, 1) for _ in range(3)] for _ in range(size)])
    factors[:, 0] = 1.0 + 0.3 * factors[:, 0]
    vols = np.array([dice.uniform(0.4, 1.3) for _ in range(size)])
    sigma = factors @ np.diag([1.0, 0.15, 0.1]) @ factors.T + np.diag([dice.uniform(0.1, 0.5) for _ in range(size)])
    roots = np.sqrt(sigma.diagonal())
    sigma = sigma / np.outer(roots, roots) * np.outer(vols, vols)
    trust = dice.choice([0.5, 0.7, 0.7, 1.0])
    penalty = trust * sigma + (1 - trust) * np.diag(sigma.diagonal())
    gross = dice.choice([1.0, 3.0, 5.0])
    raw = [dice.uniform(0.1, 1.0) * dice.choice([1, 1, 1, -1]) for _ in range(size)]
    center = [gross * r / sum(map(abs, raw)) for r in raw]
    lots = [abs(c) * (dice.choice([0.3, 0.1, 0.03, 0.01]) if coarse else dice.uniform(1e-4, 1e-2)) for c in center]
    drift = dice.choice([0.05, 0.2, 0.5])
    counts = [round(c * (1 + dice.gauss(0, drift)) / lot) for c, lot in zip(center, lots, strict=True)]
    counts = [0 if dice.random() < 0.05 else -k if dice.random() < 0.03 else k for k in counts]
    held = [k * lot for k, lot in zip(counts, lots, strict=True)]
    prices = [dice.uniform(0.02, 0.2) * gross / size * q for q in np.abs(penalty.sum(axis=1))]
    half = dice.choice([0.07, 0.07, 1.0, 9.0]) * gross
    low, high = [c - half for c in center], [c + half for c in center]
    for i in range(size):
        if dice.random() < 0.05:
            low[i] = high[i] = held[i]
    tables = [tiers(dice, dice.choice([1, 3, 10])) for _ in range(size)]
    shock = dice.choice([0.11, 0.15, 0.3])
    kinds = [
        ("leverage", tuple(Curve(((1.0, 0.0),), ((1.0, 0.0),)) for _ in range(size))),
        ("maintenance", tuple(curve(lines) for lines in tables)),
        ("distance", tuple(curve(lines, shock, shock) for lines in tables)),
        (
            "initial",
            tuple(Curve(((m, 0.0),), ((m, 0.0),)) for m in (dice.choice([0.05, 0.1, 0.2]) for _ in range(size))),
        ),
    ]
    chosen = dice.sample(kinds, dice.randint(0, 3) if bounds is None else bounds)
    made = []
    for name, curves in chosen:
        free = Bound(name=name, curves=curves, most=0.0)
        reference = min(level(free, center), level(free, held)) if dice.random() < 0.7 else level(free, center)
        made.append(Bound(name=name, curves=curves, most=reference * dice.uniform(0.75, 1.05)))
    turnover = None
    if dice.random() < 0.2 and bounds is None:
        turnover = dice.uniform(0.1, 1.0) * sum(abs(a - b) for a, b in zip(center, held, strict=True))
    groups: list[tuple[int, ...]] = []
    if grouped:
        groups = [(i, i + 1) for i in range(0, size - 1, 4)]
    grids = [
        Grid(lot=lot, held=k, smallest=dice.choice([1, 1, 2, 5]), smallest_less=dice.choice([1, 1, 1, 3]))
        for lot, k in zip(lots, counts, strict=True)
    ]
    return (
        Programme(
            penalty=penalty.tolist(), center=center, held=held, prices=prices, low=low, high=high,
            bounds=tuple(made), turnover=turnover, groups=tuple(groups),
        ),
        grids,
    )  # fmt: skip


def most_of(p: Programme) -> list[float]:
    """What each bound can be asked for: itself, or what instruments that are never traded take of it."""
    frozen = [a == b == c for a, b, c in zip(p.low, p.high, p.held, strict=True)]
    for group in p.groups:
        for i in group:
            frozen[i] = frozen[i] or any(frozen[j] for j in group)
    least = [h if f else 0.0 for h, f in zip(p.held, frozen, strict=True)]
    return [max(bound.most, level(bound, least)) for bound in p.bounds]


def objective(p: Programme, weights: Sequence[float]) -> float:
    """(w-c)'Q(w-c)/2 + sum k|w-h|."""
    x = np.array(weights) - np.array(p.center)
    return float(x @ np.array(p.penalty) @ x / 2 + np.abs(np.array(weights) - np.array(p.held)) @ np.array(p.prices))


def taken(grid: Grid, lots: int) -> bool:
    """Whether the venue takes the orders that lead to so many lots."""
    if lots in (grid.held, 0):
        return True
    if lots * grid.held < 0:
        return abs(lots) >= grid.smallest
    less = abs(lots) < abs(grid.held)
    return abs(lots - grid.held) >= (grid.smallest_less if less else grid.smallest)


MARKETS = {
    "BTC": (60_000.0, 0.001, 100.0), "ETH": (3_000.0, 0.001, 20.0), "SOL": (150.0, 1.0, 5.0),
    "XRP": (0.6, 0.1, 5.0), "LTC": (90.0, 0.001, 20.0), "DOGE": (0.15, 1.0, 5.0),
}  # fmt: skip
"""Price, step and smallest value of an order, as on a large venue."""


def account(seed: int) -> tuple[Programme, list[Grid]]:
    """An account as a trader has it: 500 to 100,000 of equity, two to four coins at 1x to 5x, drifted, in real lots."""
    dice = random.Random(seed)
    coins = dice.sample(list(MARKETS), dice.randint(2, 4))
    equity, gross = 10 ** dice.uniform(2.7, 5.0), dice.choice([1.0, 2.0, 3.0, 5.0])
    raw = [dice.uniform(0.2, 1.0) * dice.choice([1, 1, 1, -1]) for _ in coins]
    center = np.array([gross * r / sum(map(abs, raw)) for r in raw])
    penalty = penalty_of(prior_of(coins), 0.7)
    band = band_of(penalty, noises(penalty, center.tolist()), [0.0006] * len(coins), 3.0)
    lots = [price * step / equity for price, step, _ in (MARKETS[coin] for coin in coins)]
    counts = [round(c * (1 + dice.gauss(0, 0.25)) / lot) for c, lot in zip(center, lots, strict=True)]
    held = [lot * count for lot, count in zip(lots, counts, strict=True)]
    box = dice.choice([0.05, 0.07, 0.2]) * gross
    leverage = Bound(
        name="leverage",
        curves=(Curve(long=((1.0, 0.0),), short=((1.0, 0.0),)),) * len(coins),
        most=gross * dice.choice([1.0, 1.2, 1.5]),
    )
    found = Programme(
        penalty=penalty, center=center.tolist(), held=held, prices=[0.86 * width for width in band.widths],
        low=(center - box).tolist(), high=(center + box).tolist(), bounds=(leverage,),
    )  # fmt: skip
    grids = [
        Grid(lot=lot, held=count, smallest=max(1, math.ceil(MARKETS[coin][2] / MARKETS[coin][0] / MARKETS[coin][1])))
        for coin, lot, count in zip(coins, lots, counts, strict=True)
    ]
    return found, grids
