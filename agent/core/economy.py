"""The economy of corrections: what drift costs, what trading costs, and whether the one is worth the other."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from agent.core.band import TRIGGER, Band, band_of, noises, penalty_of, trends
from agent.core.book import Book, Row
from agent.core.costs import Costs, rate_of
from agent.core.covariance import Covariance, Matrix, prior_of
from agent.core.drift import Bands, Drift
from agent.core.planner import Plan
from agent.core.triggers import S

LOOK_NS = S
"""The band is looked at this often: risk grows over hours, and even a look an hour loses little."""
WORTH = 0.05
"""A trade that moves an instrument by less than this part of its own band is not worth an order."""
LEAST_COST = 0.0001
"""No trade is thought cheaper than this fraction of its value, whatever fee rates say."""
RESTING_RATE = 0.0001
"""Funding in 8 hours that is the rule, and so in the user's targets already: only what is beyond it counts."""
PERSISTENCE = 0.9
"""The part of unusual funding that is expected to be there still at the next settlement."""


class Economy(Struct, frozen=True, forbid_unknown_fields=True):
    """What drift is worth."""

    risk_aversion: float = 3.0
    """How much tracking risk costs: this times half the variance a year, as a fraction of equity."""
    payback_days: float = 7.0
    """A correction of what has left the tolerance must earn its cost within this time."""
    correlation_trust: float = 0.7
    """How far measured correlations are believed: 0 not at all, 1 fully."""


class Verdict(Struct, frozen=True):
    """What a plan earns and what it costs, in the settlement currency."""

    benefit: float
    """Tracking risk and unusual funding that it saves within ``days``."""
    cost: float
    days: float

    @property
    def pays(self) -> bool:
        """Whether it earns more than it costs."""
        return self.benefit > self.cost


class Economist:
    """Knows the covariance, and with it the cost-aware band at any time. Weights are signed notional over equity.

    The band reckons with orders that take: those that rest may have to take in the end.
    """

    def __init__(self, economy: Economy, bands: Bands, costs: Costs) -> None:
        self.economy = economy
        self.bands = bands
        self.costs = costs
        self.covariance: Covariance | None = None
        """None until every instrument is listed."""
        self.band: Band | None = None
        """None while a fee rate or quote is missing."""
        self.reaches: list[float] = []
        """Each instrument's marginal risk as a part of its band; 1 is where a voluntary trade begins. Only once the
        covariance is warm, and only where trades may be voluntary; empty otherwise."""
        self._look_at = 0
        self._penalty: Matrix = []
        self._noise: list[float] = []
        self._trend: list[float] = []
        self._basis: tuple[int, bool, float] = (0, False, 0.0)
        self._trade: tuple[object, list[float]] | None = None

    @property
    def reach(self) -> float:
        """How near a voluntary trade is: 1 is where it begins."""
        return max(self.reaches, default=0.0)

    def alone(self, index: int, drift: Drift) -> float | None:
        """How far one instrument may drift, in points of target gross, while all others stand on their targets.

        None where it does not count or is not known.
        """
        if self.band is None or self.bands.destination != "optimal" or drift.targets[index] is None:
            return None
        return TRIGGER * self.band.alone(index) / (drift.gross_target or 1.0)

    def observe(self, book: Book, now: int) -> None:
        """Let the marks be counted, when it is time."""
        if self.covariance is None:
            bases = [row.instrument.base for row in book.rows if row.instrument is not None]
            if len(bases) < len(book.rows):
                return
            self.covariance = Covariance(prior_of(bases))
        if now >= self.covariance.due_at:
            prices = [row.mark.price for row in book.rows if row.mark is not None]
            if len(prices) == len(book.rows):
                self.covariance.observe(prices, now)

    def look(self, book: Book, drift: Drift, now: int) -> None:
        """Bring band and reaches up to date, unless they are young."""
        if now < self._look_at or self.covariance is None:
            return
        self._look_at = now + LOOK_NS
        self._trade, self.band, self.reaches = None, self._band(self.covariance, book, drift), []
        if self.band is not None and self.covariance.warm and self.bands.destination == "optimal":
            reaches = self.band.reaches(away(drift))
            self.reaches = [
                0.0 if target is None else abs(reach) / TRIGGER
                for reach, target in zip(reaches, drift.targets, strict=True)
            ]

    def forget(self) -> None:
        """Something was traded: look again at the next occasion."""
        self._look_at = 0

    def _band(self, covariance: Covariance, book: Book, drift: Drift) -> Band | None:
        rates = [rate_of(row, self.costs) for row in book.rows]
        costs = [max(LEAST_COST, rate) for rate in rates if rate is not None]
        if len(costs) < len(rates):
            return None
        basis = (covariance.taken, covariance.warm, round(drift.gross_target, 1))
        if not self._noise or basis != self._basis:
            self._basis = basis
            self._penalty = penalty_of(covariance.matrix, self.economy.correlation_trust)
            weights = [w if t is None else t for w, t in zip(drift.weights, drift.targets, strict=True)]
            self._noise = noises(self._penalty, weights)
            self._trend = [
                0.0 if target is None else trend
                for trend, target in zip(trends(covariance.matrix, weights), drift.targets, strict=True)
            ]
        return band_of(self._penalty, self._noise, costs, self.economy.risk_aversion, self._trend)

    def trades(self, book: Book, drift: Drift, *, breach: bool) -> list[float] | None:
        """The best change of each weight; None where the plain bands decide.

        ``breach``: the tolerance has been left, so the trade ends just inside it; else anywhere inside it. Until the
        covariance is warm, only a breach is a reason to trade.
        """
        if self.band is None or self.covariance is None or self.bands.destination != "optimal":
            return None
        key = (breach, [row.lots for row in book.rows])
        if self._trade is None or self._trade[0] != key:
            part = self.bands.landing if breach else 1.0
            boxes = [
                -1.0 if target is None else part * band * drift.gross_target
                for target, band in zip(drift.targets, drift.bands, strict=True)
            ]
            idle = not breach and not self.covariance.warm
            band = band_for(self.band, breach=breach)
            self._trade = (key, [0.0] * len(boxes) if idle else worthwhile(band, away(drift), boxes))
        return self._trade[1]

    def verdict(self, book: Book, drift: Drift, todo: Plan, *, breach: bool) -> Verdict | None:
        """What a plan earns within its horizon and what its very orders cost; None while a cost is not known.

        The horizon of a voluntary trade is how long drift alone would take for it; of any other, the payback time.
        """
        if self.band is None:
            return None
        trade, cost = [0.0] * len(drift.weights), 0.0
        for leg in todo.legs:
            if leg.cost is None:
                return None
            cost += leg.cost.total
            trade[leg.instrument] += leg.notional * (1 if leg.lots > 0 else -1) / drift.equity
        years = self.economy.payback_days / 365
        if self.bands.destination == "optimal" and not breach:
            years = self.band.horizon(trade)
        funding = [unusual_funding(row, self.economy.payback_days) for row in book.rows]
        band = band_for(self.band, breach=breach)
        benefit = band.benefit(away(drift), trade, funding, years) * drift.equity
        return Verdict(benefit=benefit, cost=cost, days=years * 365)


def band_for(band: Band, *, breach: bool) -> Band:
    """Where the tolerance is left, what counts is how far, and not what may come."""
    return replace(band, ahead=()) if breach else band


def worthwhile(band: Band, x: list[float], boxes: list[float]) -> list[float]:
    """The best trade without what is not worth an order, except where it brings an instrument back into its box."""
    return [
        u if abs(u) >= WORTH * band.alone(i) or abs(x[i]) > boxes[i] else 0.0
        for i, u in enumerate(band.trade(x, boxes))
    ]


def away(drift: Drift) -> list[float]:
    """Weight less target; 0 on hold."""
    return [0.0 if t is None else w - t for w, t in zip(drift.weights, drift.targets, strict=True)]


def unusual_funding(row: Row, days: float) -> float:
    """What a long pays a year beyond the resting rate, on average over the next ``days``; 0 while it is not known.

    What is unusual is expected to fade: after m settlements, (1 - p^m) / (1 - p) of its first payment was paid.
    """
    if row.funding is None or not row.interval_hours or not days:
        return 0.0
    beyond = row.funding.rate - RESTING_RATE * row.interval_hours / 8
    settlements = days * 24 / row.interval_hours
    faded: float = (1 - PERSISTENCE**settlements) / (1 - PERSISTENCE)
    return beyond * faded / (days / 365)
