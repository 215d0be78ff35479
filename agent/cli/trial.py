"""The product on trial: its own desk, engine and paper venue, on prices that are handed in one vector at a time.

A small dialect turns each vector into a frame of marks and quotes; from there on everything is what runs live, short of
sockets: book, drift, band, planner, gates, orders, fills. Nothing here computes a trade. Limits are set so wide that
none of them binds, and the tolerance as well: the contest is about the band inside of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from decimal import Decimal

from msgspec import Struct

from agent.core.covariance import Covariance, Matrix
from agent.core.decisions import Policy
from agent.core.desk import Desk, Frame, Opened
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.engine import Engine
from agent.core.events import Fact, Filled, Listed, Mark, Quote, Up
from agent.core.guard import Seat
from agent.core.instruments import Instrument
from agent.core.orders import S
from agent.core.paper import Paper, PaperAccount
from agent.core.planner import Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Abilities, Ask, Bucket, Call, Lane, Open, Place, Reply, Request, Say, Shut, Weight, What

START = 1_790_000_000 * S
"""When every trial begins."""
EQUITY = 1e6
GRID = Decimal("1e-7")
"""Smallest price and quantity: so fine that the grids decide nothing."""
FREE = 1e6
"""A limit that never binds."""
FEE = 0.0005


class Feed:
    """A public dialect of marks and quotes. A frame is the prices as numbers of 8 bytes, in instrument order; the first
    one lists the instruments as well."""

    name = "trial"
    buckets: tuple[Bucket, ...] = ()
    abilities = Abilities(answers=frozenset({What.INSTRUMENTS}), sockets=("market",))
    wake_at: int | None = None

    def __init__(self, symbols: Sequence[str], half_spreads: Sequence[float]) -> None:
        self._half_spreads = list(half_spreads)
        self._listed = Listed(instruments=tuple(_instrument(index, symbol) for index, symbol in enumerate(symbols)))
        self._heard = False

    def connect(self, socket: str, now: int) -> Open | Ask:
        """As in `Dialect`."""
        return Open(socket=socket, url="trial://prices", quiet_ns=None)

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """As in `Dialect`."""
        return [Up(stream=socket)]

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """As in `Dialect`."""
        facts: list[Fact] = [] if self._heard else [self._listed]
        self._heard = True
        for i, (price, half) in enumerate(zip(array("d", data), self._half_spreads, strict=True)):
            facts.append(Mark(instrument=i, price=price, index=price, at=now))
            facts.append(Quote(i, price * (1 - half), FREE * FREE, price * (1 + half), FREE * FREE, now))
        return facts

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """As in `Dialect`."""
        return ()

    def on_wake(self, now: int) -> None:
        """As in `Dialect`."""

    def acts(self) -> list[Open | Shut | Say | Ask]:
        """As in `Dialect`."""
        return []

    def weigh(self, request: Request) -> Weight:
        """As in `Dialect`: nothing costs anything."""
        return Weight(lane=Lane.CREATE if isinstance(request, Place) else Lane.REFRESH, takes=())

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """As in `Dialect`: what it is asked for are the instruments; orders stay with paper."""
        return [self._listed]

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """As in `Dialect`."""
        return ()

    def on_silence(self, call: Call, sent: bool, reason: str, now: int) -> Sequence[Fact]:
        """As in `Dialect`."""
        return ()


def _instrument(index: int, symbol: str) -> Instrument:
    return Instrument(
        index=index,
        venue=Feed.name,
        symbol=symbol,
        base=symbol,
        quote="USD",
        settle="USD",
        tick=GRID,
        step=GRID,
        min_lots=1,
        max_lots=10**18,
        max_market_lots=10**18,
        min_notional=0.0,
    )


class Account(Paper):
    """A paper account that adds up what its fills have cost against the mark: fees and half spreads."""

    paid = 0.0
    traded = 0.0

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """As paper does."""
        facts = super().perform(request, now)
        if isinstance(facts, Call):
            return facts
        for fact in facts:
            if isinstance(fact, Filled):
                row = self.book.rows[fact.instrument]
                assert row.instrument is not None
                assert row.mark is not None
                size = row.instrument.size(fact.lots)
                self.paid += fact.fee + size * (fact.price - row.mark.price)
                self.traded += abs(size) * row.mark.price
        return facts


class Known(Covariance):
    """A covariance that is given, not learned."""

    def __init__(self, matrix: Matrix) -> None:
        super().__init__(matrix)
        self.due_at = 1 << 62

    @property
    def warm(self) -> bool:
        """From the beginning."""
        return True

    @property
    def matrix(self) -> Matrix:
        """As it was given."""
        return self.prior


class Step(Struct, frozen=True):
    """What one look led to; both before anything is traded again."""

    paid: float
    """Trading costs, as a fraction of equity."""
    traded: float
    """Turnover, as a fraction of equity."""
    weights: list[float]
    """Signed notional over equity when all is done."""


class Trial:
    """A desk that holds ``weights`` at ``prices`` to begin with, and is shown further prices with `look`.

    With ``covariance`` None the engine learns it from the prices, as it does live.
    """

    def __init__(
        self,
        target: Sequence[float],
        weights: Sequence[float],
        prices: Sequence[float],
        *,
        costs: Sequence[float],
        risk_aversion: float,
        covariance: Matrix | None,
        symbols: Sequence[str] = ("BTC", "ETH", "SOL"),
    ) -> None:
        symbols = list(symbols)[: len(target)]
        gross = sum(map(abs, target))
        policy = Policy(
            mode="paper",
            targets=Targets(weights={s: w / gross for s, w in zip(symbols, target, strict=True)}, leverage=gross),
            bands=Bands(tolerance=FREE),
            triggers=Triggers(confirm_s=0.0, cool_down_s=0.0),
            limits=Limits(
                leverage=FREE,
                asset_share=FREE,
                maintenance=FREE,
                liquidation_distance=0.0,
                turnover_per_day=FREE,
                orders_per_minute=int(FREE),
            ),
            economy=Economy(risk_aversion=risk_aversion),
        )
        held = {s: EQUITY * w / p for s, w, p in zip(symbols, weights, prices, strict=True)}
        account = PaperAccount(equity=EQUITY, positions=held, taker=FEE, maker=FEE, leverage=125, maintenance=0.0)
        feed = Feed(symbols, [cost - FEE for cost in costs])
        self.now = START
        self.account = Account(feed, account, symbols)
        self.engine = Engine(
            policy,
            epoch=1,
            seats=(Seat("tr", self.account.abilities),),
            schedule=lambda now: None,
        )
        self._desk = Desk([self.account], self.engine, salt="trial", lag_ns=None)
        if covariance is not None:
            self.engine.economist.covariance = Known(covariance)
        self._open(prices)

    def _open(self, prices: Sequence[float]) -> None:
        frame = Frame(socket="market", data=array("d", prices).tobytes())
        self._desk.take((Opened(socket="market"),), self.now)
        while (missing := self.engine.unready()) and self.now < START + 60 * S:
            self.now += S
            self._desk.take((frame,), self.now)
        assert not missing, (missing, self.engine.guards[0].audit.troubles())

    def look(self, prices: Sequence[float], after_ns: int) -> Step:
        """Let so much time pass, show these prices, and carry out whatever is decided."""
        account = self.account
        paid, traded = account.paid, account.traded
        self.now += after_ns
        self._desk.take((Frame(socket="market", data=array("d", prices).tobytes()),), self.now)
        equity = account.wallet + sum(row.profit or 0.0 for row in account.book.rows)
        notionals = [row.notional or 0.0 for row in account.book.rows]
        return Step(
            paid=(account.paid - paid) / equity,
            traded=(account.traded - traded) / equity,
            weights=[notional / equity for notional in notionals],
        )
