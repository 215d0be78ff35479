"""A stage for the core: three instruments, a book in one line, and an engine whose venue answers as told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agent.core.audit import ANSWERS
from agent.core.book import Book
from agent.core.costs import Costs
from agent.core.covariance import DAY_NS, GRID_NS, Covariance, prior_of
from agent.core.decisions import Decision, Memory, Note, Policy
from agent.core.drift import Drift
from agent.core.engine import Engine
from agent.core.events import (
    Absent,
    Accepted,
    Balance,
    Clock,
    Down,
    Ended,
    Fact,
    Fees,
    Filled,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Mode,
    OpenOrder,
    Orders,
    Owner,
    Position,
    Positions,
    Quote,
    Reserve,
    Rights,
    Side,
    Tiers,
    Up,
    Volume,
    Wake,
)
from agent.core.guard import Seat
from agent.core.instruments import Instrument, Tier
from agent.core.orders import Order, State, Style
from agent.core.planner import Limits, Plan, destination, plan
from agent.core.strangers import Sharing
from agent.core.venue import (
    Abilities,
    Ask,
    Bucket,
    Call,
    Cancel,
    Lane,
    Open,
    Place,
    Reply,
    Request,
    Say,
    SetLeverage,
    Shut,
    Weight,
    What,
)

MS = 1_000_000
S = 1_000_000_000
START = 1_767_225_600 * S
"""2026-01-01 00:00:00 UTC."""

VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors"

TIERS = (
    Tier(floor=0, cap=50_000, rate=0.004, deduction=0, leverage=125),
    Tier(floor=50_000, cap=600_000, rate=0.005, deduction=50, leverage=100),
    Tier(floor=600_000, cap=3_000_000, rate=0.0065, deduction=950, leverage=75),
)

GRIDS: dict[str, dict[str, Any]] = {
    "BTCUSDT": {"tick": "0.1", "step": "0.001", "min_notional": 100.0},
    "ETHUSDT": {"tick": "0.01", "step": "0.001", "min_notional": 20.0},
    "SOLUSDT": {"tick": "0.01", "step": "1", "min_notional": 5.0},
}
PRICES = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0}
MISSION = {"BTCUSDT": 0.325, "ETHUSDT": 2.0, "SOLUSDT": 30.0}
"""65/20/15 % of 30 000: three times an equity of 10 000."""
THIRDS = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}


def vectors(name: str, concept: str) -> list[Any]:
    """The published cases of one concept, as parameters; one that skips where the files are not at hand."""
    path = VECTORS / f"{name}.json"
    if not path.exists():
        return [pytest.param({}, marks=pytest.mark.skip(reason=f"../shared/vectors/{name}.json is not at hand"))]
    cases = json.loads(path.read_text())["cases"]
    return [pytest.param(case, id=case["name"]) for case in cases if case["fn"] == concept]


def instrument(index: int = 0, symbol: str = "BTCUSDT", **changes: Any) -> Instrument:
    grid = GRIDS.get(symbol, GRIDS["BTCUSDT"])
    fields: dict[str, Any] = {
        "index": index,
        "venue": "test",
        "symbol": symbol,
        "base": symbol.removesuffix("USDT"),
        "quote": "USDT",
        "settle": "USDT",
        "tick": Decimal(grid["tick"]),
        "step": Decimal(grid["step"]),
        "min_lots": 1,
        "max_lots": 1_000_000,
        "max_market_lots": 100_000,
        "min_notional": grid["min_notional"],
    }
    return Instrument(**{**fields, **changes})


def book_of(
    positions: dict[str, float],
    *,
    equity: float = 10_000.0,
    prices: dict[str, float] | None = None,
    now: int = START,
    instruments: Iterable[Instrument] | None = None,
    hedge: bool = False,
    tiers: tuple[Tier, ...] = TIERS,
) -> Book:
    """A complete book: positions entered at mark, so that the wallet is the equity; that in the settlement currency."""
    prices = prices or PRICES
    book = Book(positions)
    listed = list(instruments or (instrument(i, symbol) for i, symbol in enumerate(positions)))
    book.apply(Listed(instruments=tuple(listed)), now)
    book.apply(Mode(hedge=hedge, multi_asset=False, can_trade=True), now)
    book.apply(Balance(asset=listed[0].settle, wallet=equity, at=now), now)
    rows = []
    for i, (symbol, size) in enumerate(positions.items()):
        price = prices[symbol]
        book.apply(Mark(instrument=i, price=price, index=price, at=now), now)
        book.apply(Tiers(instrument=i, tiers=tiers), now)
        book.apply(Leverage(instrument=i, leverage=20), now)
        book.apply(Fees(instrument=i, maker=0.0002, taker=0.0005), now)
        lots = round(size / float(listed[i].step))
        side = Side.NET if not hedge else Side.LONG if lots >= 0 else Side.SHORT
        rows.append(Position(instrument=i, side=side, lots=lots, entry=price if lots else None, at=now))
    book.apply(Positions(rows=tuple(rows), strangers=(), asked_at=now), now)
    return book


def reprice(book: Book, mark: Mark, now: int = START) -> None:
    """A mark, however far it leaps: with a quote that bears it out."""
    book.apply(Quote(mark.instrument, mark.price, 1e6, mark.price, 1e6, mark.at), now)
    book.apply(mark, now)


def plan_for(book: Book, drift: Drift, limits: Limits, costs: Costs, *, maker: bool = False, **where: Any) -> Plan:
    """The legs to where the joint problem leads; ``where`` as for `agent.core.planner.destination`."""
    to = destination(book, drift, limits, **where)
    return plan(book, drift, limits, costs, to, maker=maker, fixed=where.get("fixed"))


def order(name: str = "o1", **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "id": name,
        "instrument": 0,
        "symbol": "BTCUSDT",
        "side": Side.NET,
        "lots": 10,
        "ticks": 600_000,
        "style": Style.IOC,
        "reduce": False,
        "created_at": START,
        "expires_at": START + 3 * S,
        "value": 60_000.0,
    }
    return Order(**{**fields, **changes})


def warm(engine: Engine, prices: Sequence[float], now: int) -> None:
    """As if the engine had seen more than a day of still prices before ``now``: variances shrink, ratios stay."""
    covariance = Covariance(prior_of([symbol.removesuffix("USDT") for symbol in engine.symbols]))
    for ago in range(DAY_NS // GRID_NS + 2, 0, -1):
        covariance.observe(prices, now - ago * GRID_NS)
    assert covariance.warm
    engine.economist.covariance = covariance


UNSHARED = Sharing()


class Stage:
    """An engine and a venue that answers every question from its own books; orders wait for the test to decide.

    ``mute`` holds the questions that the venue leaves unanswered.
    """

    def __init__(
        self,
        policy: Policy,
        positions: dict[str, float],
        *,
        equity: float = 10_000.0,
        prices: dict[str, float] | None = None,
        schedule: Callable[[int], int | None] = lambda now: None,
        blackout: Callable[[int], int | None] = lambda now: None,
        memory: Memory | None = None,
        hedge: bool = False,
        resume: Iterable[Order] = (),
        quotes: bool = True,
        experienced: bool = False,
        offset_ns: int = 0,
        epoch: int = 1,
        nonce: int = 0,
        unrecorded: bool = False,
        sharing: Sharing = UNSHARED,
        allow_withdrawals: bool = False,
        instruments: Iterable[Instrument] = (),
        tiers: tuple[Tier, ...] = TIERS,
    ) -> None:
        self.symbols = policy.targets.symbols
        self.instruments = list(instruments) or [instrument(i, symbol) for i, symbol in enumerate(self.symbols)]
        self.settle = self.instruments[0].settle
        self.tiers = tiers
        self.prices = dict(prices or PRICES)
        self.wallet = equity
        self.mode = Mode(hedge=hedge, multi_asset=False, can_trade=True)
        self.held: dict[tuple[int, Side], tuple[int, float | None]] = {}
        for i, symbol in enumerate(self.symbols):
            lots = self.lots_of(symbol, positions.get(symbol, 0.0))
            side = Side.NET if not hedge else Side.LONG if lots >= 0 else Side.SHORT
            self.held[i, side] = (lots, self.prices[symbol] if lots else None)
        self.strangers: tuple[str, ...] = ()
        self.strange: list[OpenOrder] = []
        """Open orders that the engine has not placed."""
        self.reserves: tuple[Reserve, ...] | None = None
        """The positions that the account lists with its totals."""
        self.left_out: set[int] = set()
        """Instruments that no answer about positions shows."""
        self.owner = "a"
        self.rights = Rights(withdraw=False, transfer=False, trade=True, bound=True, expires_at=None)
        self.quotes = quotes
        self.offset_ns = offset_ns
        self.settings = [20] * len(self.symbols)
        """Leverage settings; changed when the engine asks for it, unless the venue is `deaf` to that."""
        self.deaf = False
        self.mute: set[What] = set()
        self.frozen: set[int] = set()
        """Instruments whose price stream has stalled."""
        self.open: dict[str, Order] = {}
        self.now = START
        self.steps = 0
        self.trades = 0
        self.notes: list[Note] = []
        self.requests: list[Request] = []
        self.decisions: list[Decision] = []
        self._refreshed = 0
        self.engine = Engine(
            policy,
            epoch=epoch,
            nonce=nonce,
            seats=(
                Seat(
                    "t",
                    Abilities(answers=frozenset(ANSWERS), sockets=("market", "private"), arms=True),
                    sharing=sharing,
                    allow_withdrawals=allow_withdrawals,
                    owner=memory.owners.get("") if memory else None,
                    unrecorded=unrecorded,
                ),
            ),
            schedule=schedule,
            blackout=blackout,
            resume=resume,
            memory=memory,
        )
        if experienced:
            warm(self.engine, [self.prices[symbol] for symbol in self.symbols], START)
        self.wake_at = START

    # What the venue says

    @property
    def venue_now(self) -> int:
        return self.now + self.offset_ns

    def lots_of(self, symbol: str, size: float) -> int:
        return round(size / float(self.instruments[self.symbols.index(symbol)].step))

    def position(self, index: int, side: Side = Side.NET) -> Position:
        lots, entry = self.held.get((index, side), (0, None))
        return Position(instrument=index, side=side, lots=lots, entry=entry, at=self.venue_now)

    def positions(self) -> Positions:
        rows = tuple(self.position(index, side) for index, side in self.held if index not in self.left_out)
        return Positions(rows=rows, strangers=self.strangers, asked_at=self.venue_now)

    def marks(self) -> list[Fact]:
        facts: list[Fact] = []
        for i, symbol in enumerate(self.symbols):
            if i in self.frozen:
                continue
            price = self.prices[symbol]
            facts.append(Mark(instrument=i, price=price, index=price, at=self.venue_now))
            if self.quotes:
                tick = float(self.instruments[i].tick)
                facts.append(Quote(i, price - tick, 1e6, price + tick, 1e6, self.venue_now))
        return facts

    def answer(self, ask: Ask) -> list[Fact]:
        everywhere = range(len(self.symbols))
        match ask.what:
            case What.TIME:
                return [Clock(offset_ns=self.offset_ns, error_ns=0)]
            case What.INSTRUMENTS:
                return [Listed(instruments=tuple(self.instruments))]
            case What.PRICES:
                return self.marks()
            case What.INTERVALS:
                return [Interval(instrument=i, hours=8.0) for i in everywhere]
            case What.TIERS:
                return [Tiers(instrument=i, tiers=self.tiers) for i in everywhere]
            case What.FEES:
                assert ask.instrument is not None
                return [Fees(instrument=ask.instrument, maker=0.0002, taker=0.0005)]
            case What.LEVERAGE:
                return [Leverage(instrument=i, leverage=self.settings[i]) for i in everywhere]
            case What.MODE:
                return [self.mode]
            case What.ACCOUNT:
                margin = Margin(self.wallet, self.wallet, 0.0, 0.0, self.wallet, self.venue_now, self.reserves)
                return [margin, Balance(asset=self.settle, wallet=self.wallet, at=self.venue_now)]
            case What.POSITIONS:
                return [self.positions()]
            case What.ORDERS:
                return [Orders(rows=tuple(self.strange), asked_at=self.venue_now)]
            case What.VOLUMES:
                return [Volume(instrument=i, quote=1e9) for i in everywhere]
        return self.answer_about_the_key(ask)

    def answer_about_the_key(self, ask: Ask) -> list[Fact]:
        match ask.what:
            case What.OWNER:
                return [Owner(self.owner)]
            case What.RIGHTS:
                return [self.rights]
        return []

    # What happens to orders

    def trade(self, placed: Order, lots: int | None = None, price: float | None = None) -> list[Fact]:
        """The venue fills an order, in whole or ``lots`` of it: what it says, account first."""
        size = abs(placed.lots) if lots is None else lots
        signed = size if placed.lots > 0 else -size
        paid = self.prices[placed.symbol] if price is None else price
        held, entry = self.held.get((placed.instrument, placed.side), (0, None))
        now_held = held + signed
        closed = max(-abs(held), min(abs(held), signed)) if held * signed < 0 else 0
        instrument = self.instruments[placed.instrument]
        if closed and entry is not None:
            self.wallet += instrument.profit(-closed, entry, paid)
        if kept := held + closed:
            entry = instrument.entry(kept, entry or paid, signed - closed, paid)
        else:
            entry = paid if now_held else None
        self.held[placed.instrument, placed.side] = (now_held, entry)
        self.trades += 1
        total = placed.filled_lots + size
        fill = Filled(
            placed.id,
            placed.instrument,
            f"t{self.trades}",
            signed,
            paid,
            0.0,
            self.settle,
            False,
            total,
            self.venue_now,
        )
        balance = Balance(asset=self.settle, wallet=self.wallet, at=self.venue_now)
        return [balance, self.position(placed.instrument, placed.side), fill]

    def finish(self, placed: Order, filled: int | None = None, how: str = "filled") -> list[Fact]:
        total = abs(placed.lots) if filled is None else filled
        return [Ended(order=placed.id, how=how, filled_lots=total, at=self.venue_now)]

    def accept(self, placed: Order) -> list[Fact]:
        return [Accepted(order=placed.id, venue_order=f"v{placed.id}", filled_lots=0, at=self.venue_now)]

    def deny(self, placed: Order | str) -> list[Fact]:
        name = placed if isinstance(placed, str) else placed.id
        return [Absent(order=name, asked_at=self.venue_now)]

    def fill(self, placed: Order) -> list[Fact]:
        return [*self.accept(placed), *self.trade(placed), *self.finish(placed)]

    # Time goes on

    def tell(self, *facts: Fact, after: float = 0.0) -> list[Order]:
        """One step with these facts, and further ones with the answers to what it asked: the orders placed."""
        self.now += round(after * S)
        placed: list[Order] = []
        told: list[Fact] = list(facts) or [Wake()]
        for _ in range(20):
            decision = self.engine.step(told, self.now)
            self.steps += 1
            self.decisions.append(decision)
            self.notes += decision.notes
            self.requests += decision.requests
            self.wake_at = decision.wake_at
            placed += [request.order for request in decision.requests if isinstance(request, Place)]
            asks = [request for request in decision.requests if isinstance(request, Ask)]
            told = [fact for ask in asks if ask.what not in self.mute for fact in self.answer(ask)]
            for change in [one for one in decision.requests if isinstance(one, SetLeverage) and not self.deaf]:
                self.settings[change.instrument] = change.leverage
                told.append(Leverage(instrument=change.instrument, leverage=change.leverage))
            if not told:
                break
            self.now += 10 * MS
        return placed

    def wait(self, seconds: float) -> list[Order]:
        """Let time pass, waking when the engine wants it and with prices every second: the orders placed."""
        until = self.now + round(seconds * S)
        placed: list[Order] = []
        while self.now < until:
            self.now = max(self.now, min(self.wake_at, self._refreshed + S, until))
            facts: list[Fact] = [Wake()]
            if self.now >= self._refreshed + S:
                self._refreshed = self.now
                facts = self.marks() or facts
            placed += self.tell(*facts)
        return placed

    def leap(self, ns: int) -> None:
        """Much time passes at once, as on a machine that was asleep; what is due is asked and answered."""
        self.now = self._refreshed = self.now + ns
        self.tell(*self.marks())
        self.tell(*self.marks(), after=0.01)

    def ready(self) -> Stage:
        """Streams up and everything asked and answered; orders that this leads to at once are in `requests`."""
        self.tell()
        self._refreshed = self.now
        self.tell(*self.marks(), Up(stream="market"), Up(stream="private"))
        assert self.engine.unready() is None, self.engine.unready()
        return self

    def carry_out(self, seconds: float) -> list[Order]:
        """As `wait`, with a venue that fills everything at once."""
        done: list[Order] = []
        until = self.now + round(seconds * S)
        while self.now < until:
            placed = self.wait(min(0.25, (until - self.now) / S))
            while placed:
                done += placed
                placed = [new for one in placed for new in self.tell(*self.fill(one), after=0.01)]
        return done

    # What was said

    def said(self, kind: str | None = None) -> list[str]:
        return [note.text for note in self.notes if kind in (None, note.kind)]

    def hush(self) -> None:
        self.notes.clear()
        self.requests.clear()

    def asked(self, what: What) -> list[Ask]:
        return [request for request in self.requests if isinstance(request, Ask) and request.what is what]

    def cancelled(self) -> list[str]:
        return [request.order for request in self.requests if isinstance(request, Cancel)]

    def state(self, placed: Order) -> State:
        return self.engine.blotter.orders[placed.id].state

    def weights(self) -> list[float]:
        drift = self.engine.drift
        assert drift is not None
        return drift.weights


class Parrot:
    """A dialect whose frames mean the facts that were registered for them, and whose calls carry their request."""

    def __init__(self, sockets: tuple[str, ...] = ("market", "private"), *, keyed: bool = False) -> None:
        self.name = "parrot"
        self.buckets: tuple[Bucket, ...] = (Bucket("weight", 1_000, 60 * S),)
        self.abilities = Abilities(answers=frozenset(ANSWERS), sockets=sockets, arms=True)
        self.keyed = keyed
        """The private socket's address has to be asked for."""
        self.meanings: dict[bytes, list[Fact]] = {}
        self.wishes: list[Open | Shut | Say | Ask] = []
        self.calls: list[Call] = []
        self.wake_at: int | None = None
        self.woken: list[int] = []
        self.silences: list[tuple[Request, bool, str]] = []

    def frame(self, *facts: Fact) -> bytes:
        data = f"frame {len(self.meanings)}".encode()
        self.meanings[data] = list(facts)
        return data

    def connect(self, socket: str, now: int) -> Open | Ask:
        if self.keyed and socket == "private":
            return Ask(What.KEY)
        return Open(socket=socket, url=f"wss://{socket}", quiet_ns=10 * S)

    def on_open(self, socket: str, now: int) -> list[Fact]:
        self.wishes.append(Say(socket=socket, text="subscribe"))
        return [Up(stream=socket)]

    def on_frame(self, socket: str, data: bytes, now: int) -> list[Fact]:
        return self.meanings[data]

    def on_close(self, socket: str, reason: str, now: int) -> list[Fact]:
        return [Down(stream=socket, reason=reason)]

    def on_wake(self, now: int) -> None:
        self.woken.append(now)
        self.wake_at = None

    def acts(self) -> list[Open | Shut | Say | Ask]:
        wishes, self.wishes = self.wishes, []
        return wishes

    def weigh(self, request: Request) -> Weight:
        match request:
            case Cancel():
                lane = Lane.RESCUE
            case Ask(what=What.ORDER | What.KEY):
                lane = Lane.RESOLVE
            case SetLeverage():
                lane = Lane.CREATE
            case Place(order=placed):
                lane = Lane.RESCUE if placed.reduce else Lane.CREATE
            case _:
                lane = Lane.REFRESH
        return Weight(lane=lane, takes=(("weight", 1),))

    def perform(self, request: Request, now: int) -> Call:
        conceal = "a key" if isinstance(request, Ask) and request.what is What.KEY else None
        call = Call(len(self.calls), request, "GET", "https://parrot", (), b"", 1_000, conceal, now)
        self.calls.append(call)
        return call

    def on_reply(self, call: Call, reply: Reply, now: int) -> list[Fact]:
        if isinstance(call.request, Ask) and call.request.what is What.KEY:
            self.wishes.append(Open(socket="private", url="wss://private/key", quiet_ns=None))
        return self.meanings.get(reply.body, [])

    def on_silence(self, call: Call, sent: bool, reason: str, now: int) -> list[Fact]:
        self.silences.append((call.request, sent, reason))
        return [Lost(order=call.request.order.id, reason=reason)] if isinstance(call.request, Place) else []
