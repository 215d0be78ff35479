"""The economy of corrections: what drift costs, what trading costs, and whether the one is worth the other."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from agent.core.band import LANDING, TRIGGER, Band, band_of, noises, penalty_of, trends
from agent.core.book import Book
from agent.core.carry import Carry, unusual_funding
from agent.core.costs import Costs, rate_of
from agent.core.covariance import Covariance, CovarianceState, Matrix, prior_of
from agent.core.drift import Bands, Drift
from agent.core.planner import Guide, Plan, plain
from agent.core.triggers import S

LOOK_NS = S
"""The band is looked at this often: risk grows over hours, and even a look an hour loses little."""
WORTH = 0.05
"""A trade that moves an instrument by less than this part of its own band is not worth an order."""
LEAST_COST = 0.0001
"""No trade is thought cheaper than this fraction of its value, whatever fee rates say."""


class Economy(Struct, frozen=True, forbid_unknown_fields=True):
    """What drift is worth."""

    risk_aversion: float = 3.0
    """How much tracking risk costs: this times half the variance a year, as a fraction of equity."""
    payback_days: float = 7.0
    """A correction of what has left the tolerance must earn its cost within this time."""
    correlation_trust: float = 0.7
    """How far measured correlations are believed: 0 not at all, 1 fully."""


class Verdict(Struct, frozen=True):
    """What a plan earns and what it costs, in the quote currency."""

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

    def __init__(
        self,
        economy: Economy,
        bands: Bands,
        costs: Costs,
        carry: Carry | None = None,
        learned: CovarianceState | None = None,
    ) -> None:
        self.economy = economy
        self.bands = bands
        self.costs = costs
        self.carry = carry
        """Knows the mean that unusual funding fades toward; without it, that is the resting rate."""
        self.covariance: Covariance | None = None
        """None until every instrument is listed."""
        self.band: Band | None = None
        """None while a fee rate or quote is missing."""
        self.reaches: list[float] = []
        """Each instrument's marginal risk as a part of its band; 1 is where a voluntary trade begins. Only once the
        covariance is warm, and only where trades may be voluntary; empty otherwise."""
        self._learned = learned
        self.looked_at = 0
        """When band and reaches were last brought up to date."""
        self._look_at = 0
        self._penalty: Matrix = np.zeros((0, 0))
        self._noise: list[float] = []
        self._trend: list[float] = []
        self._basis: object = None

    @property
    def state(self) -> CovarianceState | None:
        """What the next run has to know."""
        return self._learned if self.covariance is None else self.covariance.state

    @property
    def matrix(self) -> Matrix | None:
        """Covariance a year; None until every instrument is listed."""
        return None if self.covariance is None else self.covariance.matrix

    @property
    def sigmas(self) -> list[float] | None:
        """Volatilities in a day; None until every instrument is listed."""
        if self.covariance is None:
            return None
        found: list[float] = np.sqrt(self.covariance.matrix.diagonal() / 365).tolist()
        return found

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
            if self._learned is not None:
                self.covariance.resume(self._learned)
        if now >= self.covariance.due_at:
            prices = [row.mark.price for row in book.rows if row.mark is not None]
            if len(prices) == len(book.rows):
                self.covariance.observe(prices, now)

    def look(self, book: Book, drift: Drift, now: int) -> None:
        """Bring band and reaches up to date, unless they are young."""
        if now < self._look_at or self.covariance is None:
            return
        self.looked_at, self._look_at = now, now + LOOK_NS
        self.band, self.reaches = self._band(self.covariance, book, drift), []
        if self.band is not None and self.covariance.warm and self.bands.destination == "optimal":
            reaches = self.band.reaches(drift.away)
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
        goals = [w if t is None else t for w, t in zip(drift.weights, drift.targets, strict=True)]
        basis = (covariance.taken, covariance.warm, [round(goal, 2) for goal in goals])
        if basis != self._basis:
            self._basis = basis
            self._penalty = penalty_of(covariance.matrix, self.economy.correlation_trust)
            self._noise = noises(self._penalty, goals)
            grown = zip(trends(covariance.matrix, goals), drift.targets, strict=True)
            self._trend = [0.0 if target is None else trend for trend, target in grown]
        return band_of(self._penalty, self._noise, costs, self.economy.risk_aversion, self._trend)

    def guide(self, drift: Drift, *, breach: bool, to_target: bool = False) -> Guide:
        """What decides how far to trade: the cost-aware band, or the plain bands where it does not count.

        ``breach``: the tolerance has been left. Until the covariance is warm, nothing else is a reason to trade.
        """
        if to_target or self.band is None or self.covariance is None or self.bands.destination != "optimal":
            return plain(drift, to_target=to_target)
        if not breach and not self.covariance.warm:
            return replace(plain(drift, to_target=False), penalty=self.band.penalty)
        return Guide(
            penalty=self.band.penalty,
            prices=[LANDING * width for width in self.band.widths],
            least=[WORTH * self.band.alone(index) for index in range(len(self.band.widths))],
            ahead=None if breach else self.band.ahead,
        )

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
        years, seen = self.economy.payback_days / 365, drift.astray
        if self.bands.destination == "optimal" and not breach:
            years = self.band.horizon(trade)
            seen = [x + more for x, more in zip(seen, self.band.ahead, strict=True)]
        means = [self.carry.mean(row) if self.carry else None for row in book.rows]
        funding = [
            unusual_funding(row, self.economy.payback_days, mean) for row, mean in zip(book.rows, means, strict=True)
        ]
        benefit = self.band.benefit(seen, trade, funding, years) * drift.equity
        return Verdict(benefit=benefit, cost=cost, days=years * 365)
