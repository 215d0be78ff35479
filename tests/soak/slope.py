"""The slope of a line through measurements that depend on each other, and how sure of it one may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

SURE = 1.96
"""Standard errors on either side of a 95 % interval."""


class Slope(Struct, frozen=True):
    """Change a day, with its 95 % interval. ``lags``: so many neighbours were taken to depend on each other."""

    a_day: float
    low: float
    high: float
    points: int
    lags: int


def slope(seconds: Sequence[float], values: Sequence[float]) -> Slope:
    """Least squares, with the standard error of Newey and West: memory grows in steps, so neighbours are alike, and
    the error that takes them for independent would be far too small. A tenth of the points count as neighbours."""
    x = np.asarray(seconds, dtype=float) / 86_400
    y = np.asarray(values, dtype=float)
    count = len(x)
    assert count > 2, "a slope needs at least three points"
    x = x - x.mean()
    spread = float(x @ x)
    steep = float(x @ (y - y.mean())) / spread
    shocks = x * (y - y.mean() - steep * x)
    lags = max(1, count // 10)
    total = float(shocks @ shocks)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * float(shocks[lag:] @ shocks[:-lag])
    error = SURE * float(np.sqrt(max(total, 0.0))) / spread
    return Slope(a_day=steep, low=steep - error, high=steep + error, points=count, lags=lags)
