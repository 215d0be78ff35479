"""The product beside the 5 % threshold on recorded prices: how much less it trades at the same tracking error.

The engine learns the covariance from these very prices as they come, as it does live, and runs at several risk
aversions; what it would trade at the rule's own tracking error lies between them. Tracking variance is x'Sx with x the
drift after trading and S the covariance of the whole record; beside it the same with the returns that came, (x'r)^2,
which a few violent minutes decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from adapters.simulator import TapeMarket
from agent.cli.rules import COSTS, Array
from agent.cli.trial import Trial

SYMBOLS = ("BTC", "ETH", "SOL")
SHARES = (0.5, 0.3, 0.2)
LEVERAGES = (3.0, 1.0)
THRESHOLD = 0.05
YEAR_MS = 365 * 86_400_000
WEEK_MS = 7 * 86_400_000
"""Also how much of the beginning is left out, while the engine gets to know the prices."""
FIRST = 3.0
"""The first risk aversion that is tried."""
AROUND = (0.6, 1.6)
"""Where the others lie, as parts of the one that should fit."""
DRAWS = 4000
SEED = 11


class Recorded(Struct, frozen=True):
    """Prices by row and instrument, and when each row was known (ms)."""

    at: list[int]
    prices: Array


class Ratio(Struct, frozen=True):
    """Turnover of the product over the rule's at one tracking error."""

    value: float
    within: tuple[float, float] | None
    """Between these it lies with 95 % (weeks drawn anew, the same ones for both). None: there were too few trades to
    tell, so that some draws hold none."""


class Past(Struct, frozen=True):
    """What came of one leverage."""

    leverage: float
    years: float
    risk_aversion: float
    """At which both have the same tracking error."""
    tracking_error: float
    """Of the rule, a year."""
    turnover: float
    """Of the product at that tracking error, in equity a year."""
    turnover_rule: float
    ratio: Ratio
    ratio_seen: Ratio
    """With the tracking error of the returns that came."""


class Weeks(Struct, frozen=True):
    """By week: turnover, and tracking variance by the covariance of the whole record and by the returns that came."""

    turnover: Array
    risk: Array
    seen: Array


def recorded(path: Path) -> Recorded:
    """Read a CSV file of prices, plain or gzipped, in any layout that the simulator plays."""
    market = TapeMarket(path)
    columns = [market.symbols.index(f"{symbol}USDT") for symbol in SYMBOLS]
    at, rows = [], []
    while (due := market.next_ms()) is not None:
        market.advance(due)
        now = market.prices()
        at.append(due)
        rows.append([float(now[column]) for column in columns])
    return Recorded(at=at, prices=np.array(rows))


def product(told: Recorded, leverage: float, risk_aversion: float) -> Weeks:
    """The engine on recorded prices."""
    target = [share * leverage for share in SHARES]
    prices = told.prices.tolist()
    trial = Trial(target, target, prices[0], costs=COSTS, risk_aversion=risk_aversion, covariance=None, symbols=SYMBOLS)
    weights, traded, before = [target], [0.0], told.at[0]
    for at, row in zip(told.at[1:], prices[1:], strict=True):
        step = trial.look(row, (at - before) * 1_000_000)
        weights.append(step.weights)
        traded.append(step.traded)
        before = at
    return weekly(told, np.array(weights) - target, np.array(traded))


def threshold(told: Recorded, leverage: float) -> Weeks:
    """All the way to the targets as soon as one weight has drifted by 5 % of the gross."""
    target = np.array(SHARES) * leverage
    w = target
    left, traded = [np.zeros_like(target)], [0.0]
    for grown in told.prices[1:] / told.prices[:-1]:
        w = w * grown / (1 + w @ (grown - 1))
        x = w - target
        moved = 0.0
        if np.abs(x).max() >= THRESHOLD * leverage:
            moved = float(np.abs(x).sum())
            w, x = target, np.zeros_like(x)
        left.append(x)
        traded.append(moved)
    return weekly(told, np.array(left), np.array(traded))


def weekly(told: Recorded, x: Array, traded: Array) -> Weeks:
    """Sums of each whole week but the first; ``x`` is the drift after each row's trades."""
    returns = told.prices[1:] / told.prices[:-1] - 1
    seen = (x[:-1] * returns).sum(axis=1) ** 2
    risk = ((x[:-1] @ (returns.T @ returns / len(returns))) * x[:-1]).sum(axis=1)
    week = (np.array(told.at[1:]) - told.at[0]) // WEEK_MS
    whole = np.arange(1, week[-1])
    sums = [np.bincount(week, values)[whole].astype(float) for values in (traded[1:], risk, seen)]
    return Weeks(turnover=sums[0], risk=sums[1], seen=sums[2])


def contest(told: Recorded, leverage: float, run: Callable[[Sequence[float]], list[Weeks]]) -> Past:
    """The product against the rule at one leverage; ``run`` carries out `product` at several risk aversions."""
    rule = threshold(told, leverage)
    (first,) = run([FIRST])
    near = FIRST * (first.risk.sum() / rule.risk.sum()) ** 1.5  # the error goes with the inverse cube root
    tried = [near * part for part in AROUND]
    ours = run(tried)
    ratio, seen = ratio_of(rule, ours), ratio_of(rule, ours, seen=True)
    years = len(rule.turnover) * WEEK_MS / YEAR_MS
    errors = [np.log(weeks.risk.sum()) for weeks in ours]
    part = (np.log(rule.risk.sum()) - errors[0]) / (errors[1] - errors[0])
    turnover = float(rule.turnover.sum()) / years
    return Past(
        leverage=leverage,
        years=years,
        risk_aversion=float(tried[0] * (tried[1] / tried[0]) ** part),
        tracking_error=float(np.sqrt(rule.risk.sum() / years)),
        turnover=ratio.value * turnover,
        turnover_rule=turnover,
        ratio=ratio,
        ratio_seen=seen,
    )


def ratio_of(rule: Weeks, ours: Sequence[Weeks], *, seen: bool = False) -> Ratio:
    """The ratio, and its interval by drawing weeks anew."""
    count = len(rule.turnover)
    draws = np.random.default_rng(SEED).integers(0, count, (DRAWS, count))
    (value,) = at_equal_error(rule, ours, np.arange(count)[None], seen=seen)
    with np.errstate(all="ignore"):
        drawn = at_equal_error(rule, ours, draws, seen=seen)
    if not np.isfinite(drawn).all():
        return Ratio(float(value), None)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Ratio(float(value), (float(low), float(high)))


def at_equal_error(rule: Weeks, ours: Sequence[Weeks], draws: NDArray[np.int64], *, seen: bool = False) -> Array:
    """Turnover over the rule's, on the straight line in logarithms through both runs, for each row of weeks drawn."""

    def sums(weeks: Weeks) -> tuple[Array, Array]:
        risk = weeks.seen if seen else weeks.risk
        return np.log(risk[draws].sum(axis=1)), np.log(weeks.turnover[draws].sum(axis=1))

    (aim, base), (risk, turnover), (risk_2, turnover_2) = sums(rule), sums(ours[0]), sums(ours[1])
    return np.asarray(np.exp(turnover + (turnover_2 - turnover) * (aim - risk) / (risk_2 - risk) - base))
