"""Upkeep: what it costs to keep a leverage when prices move it and only trades bring it back.

One instrument at weight L drifts by L (1 - L) r with each return r, so its weight has a volatility of v = |L (L - 1)| s
a year. Trading at a one-way cost c and being away from the target by x, which costs (g/2) s^2 x^2 a year, are least
together where x is kept within the band

    h = (3 c v^2 / (2 g s^2))^(1/3)

by trades that lead back just to its edge (`agent.core.band` says whose law this is). Two thirds of what is spent then
is trading, one third risk. Nothing drifts at 1x, which is the spot holder's leverage, nor at 0; and 1x short drifts as
2x long does.
"""

from __future__ import annotations

from math import cbrt

from msgspec import Struct


class Upkeep(Struct, frozen=True):
    """What a leverage costs within a year, as fractions of equity."""

    drift: float
    """Volatility of the weight a year when nobody trades."""
    band: float
    """Half width of the best band, in weight."""
    turnover: float
    """Traded within a year, as a multiple of equity."""
    trading: float
    """What that costs."""
    tracking: float
    """What the drift that is left alone costs: risk aversion times half its variance."""

    @property
    def total(self) -> float:
        """Trading and tracking risk together."""
        return self.trading + self.tracking


def upkeep(leverage: float, volatility: float, cost: float, risk_aversion: float) -> Upkeep:
    """The upkeep of one instrument at signed ``leverage`` with this volatility a year and one-way cost of trading.

    Exact in the limit of small costs; at 10x it is an estimate.
    """
    drift = abs(leverage * (leverage - 1)) * volatility
    if not drift:
        return Upkeep(drift=0.0, band=0.0, turnover=0.0, trading=0.0, tracking=0.0)
    band = cbrt(1.5 * cost * drift**2 / (risk_aversion * volatility**2))
    turnover = drift**2 / (2 * band)
    return Upkeep(
        drift=drift,
        band=band,
        turnover=turnover,
        trading=cost * turnover,
        tracking=risk_aversion * volatility**2 * band**2 / 6,
    )
