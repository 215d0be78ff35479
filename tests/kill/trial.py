"""One account, the lives that trade it one after the other, and the exchange whose books are the judge."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from adapters.simulator import DEMO_KEY, Account, Binance, Exchange, Faults, RequestFault, Server, StillMarket, serve
from adapters.simulator.orders import Event
from agent.core.orders import State
from agent.journal import Journal
from tests.kill.life import WEIGHTS, Birth, Rest
from tests.kill.quick import wall

SPEED = 20.0
EQUITY = 100_000
PRICES = {"BTCUSDT": "100000", "ETHUSDT": "4000", "SOLUSDT": "200"}
START = {"BTCUSDT": "0.8", "ETHUSDT": "5", "SOLUSDT": "50"}
"""Much to reduce, some to add, and one that has to change its side."""
TOLERANCE = Decimal("0.08")
"""Of equity: how far from its target a holding may be at rest, the band of 7 % and a little for fees."""
ROUGH = (
    RequestFault("lose", chance=0.1),
    RequestFault("lose reply", chance=0.2),
    RequestFault("unknown done", on="changes", chance=0.1),
    RequestFault("timeout", on="changes", chance=0.1),
    RequestFault("hold", on="changes", chance=0.3, ms=8_000),
    RequestFault("bad gateway", on="reads", chance=0.1),
)
"""Orders of unknown fate at every moment, and some that are carried out long after whoever sent them is dead."""


class Violation(Exception):
    """What must never happen has happened."""


class Scene(Struct, frozen=True):
    """How a trial goes: with orders that rest or that take, on a calm venue or a rough one, or with faults of its
    own."""

    maker: bool = False
    rough: bool = False
    seed: int = 0
    own: Faults | None = None

    @property
    def faults(self) -> Faults:
        """What goes wrong at the venue while lives end by force."""
        if self.own is not None:
            return self.own
        return Faults(seed=self.seed, delay_ms=10.0, requests=ROUGH if self.rough else ())


class Trial:
    """The account and its exchange, on a socket of its own, as long as the context lasts."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene = scene
        self.folder = folder
        self.zero = time.time_ns()
        self.account = Account(balance=EQUITY, positions=dict(START))
        self.exchange = Exchange(StillMarket(PRICES), [self.account], seed=scene.seed)
        self.venue = Binance(self.exchange)
        self._tell = self.exchange.listener
        self.exchange.listener = self._heard
        self.low: dict[str, Decimal] = {}
        self.high: dict[str, Decimal] = {}
        self.outside: list[str] = []
        """Exposures that were outside of the hull of start and target, as they happened."""
        self.server: Server

    async def __aenter__(self) -> Trial:
        self.server = await serve(self.venue, faults=self.scene.faults, clock=wall(SPEED, self.zero))
        self._widen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()

    def heal(self) -> None:
        """Nothing new goes wrong from here on; what is held up at the venue still is."""
        self.server.gateway.faults = Faults(delay_ms=10.0)

    @property
    def struck(self) -> dict[str, int]:
        """How often each fault of the venue has struck."""
        return dict(self.server.gateway.counts)

    def birth(self, *, kill_at: int | None = None, stays: bool = False, blocks_s: float = 0.0) -> Birth:
        """A life on this account."""
        return Birth(
            rest_url=self.server.rest_url,
            stream_url=self.server.ws_url,
            folder=str(self.folder),
            speed=SPEED,
            zero=self.zero,
            maker=self.scene.maker,
            kill_at=kill_at,
            stays=stays,
            blocks_s=blocks_s,
        )

    # The judge

    def held(self, symbol: str) -> Decimal:
        """The position, by the exchange's books."""
        return self.account.position(symbol, "BOTH").quantity

    def target(self, symbol: str) -> Decimal:
        """What is wanted of an instrument at the equity of this moment."""
        equity = self.account.wallet + self.account.unrealised(self.exchange.matcher.mark)
        return equity * Decimal(str(WEIGHTS[symbol])) / self.exchange.matcher.mark(symbol)

    def _widen(self) -> None:
        for symbol in WEIGHTS:
            target = self.target(symbol)
            low, high = self.low.get(symbol, self.held(symbol)), self.high.get(symbol, self.held(symbol))
            self.low[symbol], self.high[symbol] = min(low, target), max(high, target)

    def _heard(self, event: Event) -> None:
        """After everything that happens to the account: what is held, with all that rests, stays inside the hull."""
        self._tell(event)
        self._widen()
        for symbol in WEIGHTS:
            lot, held = self.exchange.instruments[symbol].step, self.held(symbol)
            rests = [order.left * order.side for order in self.account.open_orders.values() if order.symbol == symbol]
            most = held + sum(part for part in rests if part > 0)
            least = held + sum(part for part in rests if part < 0)
            if most > self.high[symbol] + lot or least < self.low[symbol] - lot:
                self.outside.append(f"{symbol}: {least} to {most} outside of {self.low[symbol]} to {self.high[symbol]}")

    def audit(self, rest: Rest) -> None:
        """Nothing lost, nothing doubled: raises `Violation`."""
        if self.outside:
            raise Violation(self.outside[0])
        for again in self.exchange.ledger.resent:
            if again.what == "POST /fapi/v1/order":
                raise Violation(f"a signed order arrived twice: {again}")
        self._audit_orders()
        if self.account.open_orders:
            raise Violation(f"{len(self.account.open_orders)} orders rest, and the agent is at rest")
        for symbol in WEIGHTS:
            held, known = self.held(symbol), Decimal(rest.positions.get(symbol, "0"))
            if held != known:
                raise Violation(f"{symbol}: the agent believes in {known}, the exchange has {held}")
            off = abs(held - self.target(symbol)) * self.exchange.matcher.mark(symbol)
            if off > TOLERANCE * EQUITY:
                raise Violation(f"{symbol}: {held} at rest, {self.target(symbol)} wanted")

    def _audit_orders(self) -> None:
        """Each order on record is at most one at the exchange, each of ours there is on record, and filled alike."""
        placed = self.exchange.ledger.by_client_id
        records = Journal.read(self.folder / "journal.db")
        written = {order.id: order for order in records.orders(limit=10_000)}
        records.close()
        for (_, name), orders in placed.items():
            if not name.startswith("tt"):
                continue
            if len(orders) > 1:
                raise Violation(f"{name} became {len(orders)} orders")
            if name not in written:
                raise Violation(f"{name} is at the exchange and not in the journal")
            told, step = written[name], self.exchange.instruments[orders[0].symbol].step
            if told.filled_lots * step != orders[0].executed:
                raise Violation(f"{name}: the journal has {told.filled_lots} lots, the exchange {orders[0].executed}")
        for order in written.values():
            if order.state is not State.DONE:
                raise Violation(f"{order.id} is still {order.state} on record")
            if order.ended == "never placed" and (DEMO_KEY, order.id) in placed:
                raise Violation(f"{order.id} was taken for never placed, and the exchange has it")
