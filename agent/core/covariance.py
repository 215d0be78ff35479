"""Covariance: how much the instruments move, and how much together, learned from the marks as they come."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

DAY_NS = 86_400 * 1_000_000_000
YEAR_NS = 365 * DAY_NS
GRID_NS = 300 * 1_000_000_000
"""Prices are sampled on this grid: shorter ones measure noise and asynchrony (Epps)."""
HALF_LIFE_NS = 7 * DAY_NS
PRIOR_NS = DAY_NS // 2
"""The prior weighs as much as this much observed time."""
WARM_NS = DAY_NS
"""Before so much weight has come together, the prior stands for the estimate."""
FLOOR = 0.20
"""No volatility is taken for less than this, so that a dead feed does not look like cash."""
VOLATILITY = {"BTC": 0.6, "ETH": 0.8}
"""Prior volatilities a year; of all other coins it is `OTHERS`."""
OTHERS = 1.0
CORRELATION = 0.75
"""Prior correlation of two coins; of two contracts on one coin it is `TWINS`."""
TWINS = 0.99

Matrix = NDArray[np.float64]


def prior_of(bases: Sequence[str]) -> Matrix:
    """The covariance a year to begin with, for contracts on these coins."""
    vols = np.array([VOLATILITY.get(base, OTHERS) for base in bases])
    twins = np.array([[base == other for other in bases] for base in bases])
    correlation = np.where(twins, TWINS, CORRELATION)
    np.fill_diagonal(correlation, 1.0)
    prior: Matrix = np.outer(vols, vols) * correlation
    return prior


class Covariance:
    """Exponentially weighted covariance of irregular observations, as a fraction a year.

    S <- S 2^(-dt/h) + r r', W <- W 2^(-dt/h) + dt, estimate S / W: unbiased for any spacing, and a gap in the prices
    needs no care. S begins as the prior times its weight, so there is no bias of warming up either.
    """

    def __init__(
        self, prior: Matrix, *, half_life_ns: float = HALF_LIFE_NS, floor: float = FLOOR, prior_ns: float = PRIOR_NS
    ) -> None:
        self.prior = prior
        self.due_at = 0
        """When the next observation is taken."""
        self.taken = 0
        """Observations so far."""
        self._half_life = half_life_ns / YEAR_NS
        self._least = floor * floor
        self._weight = prior_ns / YEAR_NS
        self._sums = prior * self._weight
        self._logs: Matrix | None = None
        self._at = 0

    @property
    def warm(self) -> bool:
        """Whether enough has been seen to go by it."""
        return self._weight >= WARM_NS / YEAR_NS

    @property
    def matrix(self) -> Matrix:
        """Covariance a year to reckon with: the prior until it is warm, then the estimate."""
        return self.estimate() if self.warm else self.prior

    def observe(self, prices: Sequence[float], now: int) -> None:
        """The prices at ``now``; what comes before `due_at` is passed over."""
        if now < self.due_at:
            return
        logs = np.array([log(price) for price in prices])
        if self._logs is not None:
            self.add(logs - self._logs, (now - self._at) / YEAR_NS)
        self._logs, self._at = logs, now
        self.due_at = now - now % GRID_NS + GRID_NS

    def add(self, returns: Sequence[float] | Matrix, years: float) -> None:
        """One observation: log returns over a time in years."""
        keep = 2.0 ** (-years / self._half_life)
        self._weight = self._weight * keep + years
        self._sums = self._sums * keep + np.outer(returns, returns)
        self.taken += 1

    def estimate(self) -> Matrix:
        """S / W, with variances not below the floor."""
        matrix = self._sums / self._weight
        np.fill_diagonal(matrix, np.maximum(matrix.diagonal(), self._least))
        return matrix
