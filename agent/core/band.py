"""The cost-aware band: how far weights may drift before a trade earns more than it costs.

Being away from the targets by x costs (g/2) x'Qx of equity a year, g the risk aversion and Q the covariance a year with
its correlations shrunk (mean-variance; exact for log utility at g = 1). Trading costs c of what is traded. For one
instrument whose drift is Brownian with variance v a year, the best policy keeps |Qx| within

    k = (3 c Q^2 v / (2 g))^(1/3)

and trades only back to that edge (the cube-root law of Davis-Norman, Shreve-Soner, Rogers). Each instrument is judged
by this with its marginal risk y = Qx, whose variance a year is (QDQ)_ii; D = G Q G' with G = diag(w) - w w' is how
weights drift when nobody trades. The level of volatility cancels: only ratios, costs and g count. At the edge a trade
earns just its cost within the time c / (g k), which makes "the benefit exceeds the cost" and the band one rule.

Drift has a trend m of its own as well: a leveraged book grows heavier when prices only swing, for equity loses more on
the way down than it gains on the way back. With a trend the same optimum lies between edges that are both moved by
-m c / (g k): drift is judged not where it is but where it will have come by the time that a trade has paid.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cbrt
from operator import mul

import numpy as np
from msgspec import Struct

from agent.core.covariance import Matrix

TRIGGER = 1.08
"""A trade begins when the marginal risk of an instrument is beyond its band by this factor."""
LANDING = 0.93
"""And it ends where this part of the band is reached: with the trigger a little more than 1 on average, so that a trade
earns its cost. The optimum trades at the edge itself without end; in one dimension these two cost 0.2 % more."""
LONGEST_YEARS = 30 / 365
"""No drift is expected to last longer than this."""


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Sum of products."""
    return sum(map(mul, a, b), 0.0)


class Band(Struct, frozen=True):
    """The no-trade band of a portfolio. Lists are in instrument order; weights are signed notional over equity."""

    penalty: Matrix
    """Q: what drift costs, a year."""
    widths: list[float]
    """k: the largest |Qx| that is left alone."""
    costs: list[float]
    """c: one-way cost of a trade as a fraction of its value."""
    risk_aversion: float
    ahead: list[float]
    """What its trend adds to each drift by the time that a trade has paid."""

    def reaches(self, x: Sequence[float]) -> list[float]:
        """The marginal risk of each drift as a part of its band: a trade begins at `TRIGGER`."""
        found: list[float] = (self.penalty @ np.add(x, self.ahead) / self.widths).tolist()
        return found

    def alone(self, index: int) -> float:
        """Half width in weight of one instrument's band while all others stand on their targets."""
        return self.widths[index] / float(self.penalty[index][index])

    def horizon(self, trade: Sequence[float]) -> float:
        """Years until drift alone would undo or repeat a voluntary trade: sum c|u| / (g sum k|u|); 0 without one."""
        earned = self.risk_aversion * sum(k * abs(u) for k, u in zip(self.widths, trade, strict=True))
        return self.cost(trade) / earned if earned else 0.0

    def cost(self, trade: Sequence[float]) -> float:
        """Sum of c|u|, as a fraction of equity."""
        return sum(c * abs(u) for c, u in zip(self.costs, trade, strict=True))

    def benefit(self, x: Sequence[float], trade: Sequence[float], funding: Sequence[float], years: float) -> float:
        """Tracking risk and funding that ``trade`` saves within ``years``, as a fraction of equity.

        ``x`` is the drift from the user's own targets before it, with `ahead` where what will come counts as well;
        ``funding`` what a long pays a year.
        """
        after = [a + b for a, b in zip(x, trade, strict=True)]
        return (self.risk_aversion / 2 * (self._risk(x) - self._risk(after)) - dot(funding, trade)) * years

    def _risk(self, x: Sequence[float]) -> float:
        drift = np.asarray(x)
        return float(drift @ self.penalty @ drift)


def penalty_of(covariance: Matrix, trust: float) -> Matrix:
    """Q = t S + (1 - t) diag S: correlations are believed in part only."""
    penalty: Matrix = trust * covariance
    np.fill_diagonal(penalty, covariance.diagonal())
    return penalty


def noises(penalty: Matrix, weights: Sequence[float]) -> list[float]:
    """(QDQ)_ii: the variance a year of each marginal risk, while portfolio ``weights`` drift freely."""
    w = np.asarray(weights)
    a = (penalty - (penalty @ w)[:, None]) * w  # row i: Q_i G
    found: list[float] = ((a @ penalty) * a).sum(axis=1).tolist()
    return found


def trends(covariance: Matrix, weights: Sequence[float]) -> list[float]:
    """How much each weight grows a year on average while nobody trades and no price has a trend: w_i (w'Sw - (Sw)_i).

    The second order of w_i (1 + r_i) / (1 + w'r).
    """
    w = np.asarray(weights)
    pulls = covariance @ w
    found: list[float] = (w * (w @ pulls - pulls)).tolist()
    return found


def band_of(
    penalty: Matrix,
    noise: Sequence[float],
    costs: Sequence[float],
    risk_aversion: float,
    trend: Sequence[float] | None = None,
) -> Band:
    """The band for these one-way costs. It is never so narrow that a trade would need longer than `LONGEST_YEARS`.

    ``trend`` is what drift adds to itself a year, where that is to count (see `trends`).
    """
    widths = [
        max(cbrt(1.5 * c * v / risk_aversion), c / (risk_aversion * LONGEST_YEARS))
        for c, v in zip(costs, noise, strict=True)
    ]
    grown = [0.0] * len(widths) if trend is None else trend
    ahead = [m * c / (risk_aversion * k) if k else 0.0 for m, c, k in zip(grown, costs, widths, strict=True)]
    return Band(penalty=penalty, widths=widths, costs=list(costs), risk_aversion=risk_aversion, ahead=ahead)
