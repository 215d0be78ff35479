"""Paper: a venue made of arithmetic, on real market data.

It wraps a venue's public dialect and answers for the account itself: orders fill against the quotes and the depth that
are really there, at the limit price or better, with fees, funding and liquidation. It is strict where it knows no
better: a taking order gets what the visible book holds and no more, and a resting order fills only when the other side
of the market reaches its price.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.costs import levels
from agent.core.events import (
    Absent,
    Accepted,
    Balance,
    Ended,
    Fact,
    Fault,
    Fees,
    Filled,
    Flow,
    Funding,
    Leverage,
    Listed,
    Margin,
    Mode,
    OpenOrder,
    Orders,
    Position,
    Positions,
    Quote,
    Refused,
    Side,
    Tiers,
    Unanswered,
    Unset,
)
from agent.core.instruments import Instrument, Tier, maintenance
from agent.core.orders import Order, Style
from agent.core.venue import (
    Arm,
    Ask,
    Batch,
    Call,
    Cancel,
    Dialect,
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

PRIVATE = frozenset(
    {What.TIERS, What.FEES, What.LEVERAGE, What.MODE, What.ACCOUNT, What.POSITIONS, What.ORDERS, What.ORDER}
)
"""What paper answers by itself."""


class PaperAccount(Struct, frozen=True, forbid_unknown_fields=True):
    """The account that paper trading starts with. Used where the venue would have to be asked with a key."""

    equity: float = 10_000.0
    """What it is worth at the start, in the quote currency; held in a coin, in so many coins as that buys at the first
    mark price."""
    positions: dict[str, float] = {}
    """Signed quantities held at the start, entered at the first mark price."""
    maker: float = 0.0002
    taker: float = 0.0005
    leverage: int = 20
    """Leverage setting of every instrument at the start, and the highest there is: fixes initial margin."""
    maintenance: float = 0.025
    """Maintenance margin rate assumed for every size: the real tables need a key."""


class Paper:
    """A `Dialect` that trades on paper behind a public one."""

    def __init__(self, public: Dialect, account: PaperAccount, symbols: Sequence[str]) -> None:
        self.public = public
        self.account = account
        self.symbols = list(symbols)
        self.name = f"{public.name} (paper)"
        self.buckets = public.buckets
        own = public.abilities
        self.abilities = replace(
            own, answers=own.answers | PRIVATE, singles=own.singles - PRIVATE | {What.FEES}, arms=False
        )
        self.book = Book(symbols)
        self.wallet = account.equity
        """In the settlement currency."""
        self.leverage = [account.leverage] * len(symbols)
        """The leverage setting of each instrument."""
        self.resting: dict[str, Order] = {}
        self.finished: dict[str, Ended] = {}
        self.started = False
        self._trades = 0

    # The public side is the venue's own

    def connect(self, socket: str, now: int) -> Open | Ask:
        """As the venue's dialect does."""
        return self.public.connect(socket, now)

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """As the venue's dialect does."""
        return self.public.on_open(socket, now)

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """As the venue's dialect does."""
        return self.public.on_close(socket, reason, now)

    def on_wake(self, now: int) -> None:
        """As the venue's dialect does."""
        self.public.on_wake(now)

    @property
    def wake_at(self) -> int | None:
        """As the venue's dialect does."""
        return self.public.wake_at

    def acts(self) -> list[Open | Shut | Say | Ask]:
        """As the venue's dialect does."""
        return self.public.acts()

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """The venue's facts, and what they do to the paper account."""
        return self._see(self.public.on_frame(socket, data, now), now)

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """The venue's facts, and what they do to the paper account."""
        return self._see(self.public.on_reply(call, reply, now), now)

    def on_silence(self, call: Call, sent: bool, reason: str, now: int) -> Sequence[Fact]:
        """As the venue's dialect does."""
        return self.public.on_silence(call, sent, reason, now)

    # The private side is arithmetic

    def weigh(self, request: Request) -> Weight:
        """In the lane of the real thing; what is answered here costs nothing."""
        weight = self.public.weigh(request)
        return weight if self._is_public(request) else Weight(lane=weight.lane, takes=())

    def _is_public(self, request: Request) -> bool:
        return isinstance(request, Ask) and request.what not in PRIVATE

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """A public question goes to the venue; everything else is answered at once."""
        match request:
            case Place(order=order):
                return self._place(order, now)
            case Batch(orders=orders):
                return [fact for order in orders for fact in self._place(order, now)]
            case Cancel(order=name):
                return self._end(name, "cancelled", now)
            case Arm():
                return ()
            case SetLeverage(instrument=index, leverage=leverage):
                return [self._set_leverage(index, leverage)]
            case Ask(what=what) if what in PRIVATE:
                return self._answer(request, now)
            case _:
                return self.public.perform(request, now)

    def _answer(self, ask: Ask, now: int) -> Sequence[Fact]:
        everywhere = range(len(self.symbols))
        account = self.account
        match ask.what:
            case What.MODE:
                return [Mode(hedge=False, multi_asset=False, can_trade=True)]
            case What.LEVERAGE:
                return [Leverage(instrument=i, leverage=self.leverage[i]) for i in everywhere]
            case What.TIERS:
                return [Tiers(instrument=i, tiers=self._tiers()) for i in everywhere]
            case What.FEES:
                assert ask.instrument is not None, "fees are asked for one instrument"
                return [Fees(instrument=ask.instrument, maker=account.maker, taker=account.taker)]
            case What.ORDERS:
                rows = tuple(self._open(order) for order in self.resting.values())
                return [Orders(rows=rows, asked_at=now)]
            case What.ORDER:
                assert ask.order is not None, "an order is asked for by its id"
                return self._order_now(ask.order, now)
        if not self._start(now):
            return [Unanswered(what=ask.what, reason="no price of a starting position yet")]
        if ask.what is What.POSITIONS:
            held = [self._position(i, now) for i in everywhere]
            return [Positions(rows=tuple(held), strangers=(), asked_at=now)]
        return [self._margin(now), self._balance(now)]

    def _tiers(self) -> tuple[Tier, ...]:
        account = self.account
        return (Tier(floor=0, cap=1e15, rate=account.maintenance, deduction=0, leverage=account.leverage),)

    def _set_leverage(self, index: int, leverage: int) -> Leverage | Unset:
        """Set it, unless no tier allows so much, or equity does not cover the initial margin at so little."""
        most, before = self.account.leverage, self.leverage[index]
        if not 1 <= leverage <= most:
            return Unset(instrument=index, leverage=leverage, reason=f"leverage is between 1 and {most}")
        self.leverage[index] = leverage
        equity, initial = self._equity(), self._initial()
        if leverage < before and initial is not None and (equity is None or initial > equity):
            self.leverage[index] = before
            return Unset(instrument=index, leverage=leverage, reason="the margin does not suffice at this leverage")
        return Leverage(instrument=index, leverage=leverage)

    def _start(self, now: int) -> bool:
        """Enter the starting positions at the first mark prices; False while one is missing."""
        if self.started:
            return True
        wanted = {self.symbols.index(symbol): size for symbol, size in self.account.positions.items()}
        rows = self.book.rows
        rate = self.book.accounts[0].rate
        if any(row.instrument is None for row in rows) or any(rows[i].mark is None for i in wanted) or rate is None:
            return False
        self.wallet = self.account.equity / rate
        for i, row in enumerate(rows):
            size, instrument, mark = wanted.get(i, 0.0), row.instrument, row.mark
            lots = round(size / float(instrument.step)) if instrument else 0
            self._hold(i, lots, mark.price if mark and lots else None, now)
        self.started = True
        return True

    # Orders

    def _place(self, order: Order, now: int) -> Sequence[Fact]:
        row = self.book.rows[order.instrument]
        if row.instrument is None or row.quote is None or not self.started:
            reason = "no quote to trade against yet"
            return [Refused(order=order.id, code="paper", reason=reason, fault=Fault.BUSY)]
        if order.reduce and row.lots * order.lots >= 0:
            reason = "reduce-only, and there is nothing to reduce"
            return [Refused(order=order.id, code="paper", reason=reason, fault=Fault.REDUCE)]
        crosses = self._crosses(row.instrument, order, row.quote)
        if order.style is Style.POST:
            if crosses:
                reason = "post-only, and it would take"
                return [Refused(order=order.id, code="paper", reason=reason, fault=Fault.PRICE)]
            self.resting[order.id] = order
            return [self._accepted(order, now)]
        facts: list[Fact] = [self._accepted(order, now)]
        left = min(abs(order.lots), abs(row.lots)) if order.reduce else abs(order.lots)
        filled = 0
        for price, size in levels(row, buying=order.lots > 0):
            take = min(left - filled, int(min(size / float(row.instrument.step), 1e15)))
            if take <= 0 or not self._within(row.instrument, order, price):
                break
            filled += take
            facts += self._fill(order, take, price, filled, maker=False, now=now)
        how = "filled" if filled == abs(order.lots) else "expired"
        return [*facts, self._ended(order.id, how, filled, now)]

    def _within(self, instrument: Instrument, order: Order, price: float) -> bool:
        if order.ticks is None:
            return True
        limit = float(instrument.price(order.ticks))
        return price <= limit if order.lots > 0 else price >= limit

    def _crosses(self, instrument: Instrument, order: Order, quote: Quote) -> bool:
        return self._within(instrument, order, quote.ask if order.lots > 0 else quote.bid)

    def _fill(self, order: Order, lots: int, price: float, filled: int, *, maker: bool, now: int) -> list[Fact]:
        row = self.book.rows[order.instrument]
        instrument = row.instrument
        assert instrument is not None, "an order is never accepted without a grid"
        signed = lots if order.lots > 0 else -lots
        fee = abs(instrument.value(lots, price)) * (self.account.maker if maker else self.account.taker)
        held = row.holdings[Side.NET]
        closing = max(-abs(held.lots), min(abs(held.lots), signed)) if held.lots * signed < 0 else 0
        if closing and held.entry is not None:
            self.wallet += instrument.profit(-closing, held.entry, price)
        opened = signed - closing
        entry = held.entry
        if opened:
            entry = instrument.entry(held.lots + closing, entry or price, opened, price)
        total = held.lots + signed
        self._hold(order.instrument, total, entry if total else None, now)
        self.wallet -= fee
        self._trades += 1
        trade = Filled(
            order=order.id,
            instrument=order.instrument,
            trade=str(self._trades),
            lots=signed,
            price=price,
            fee=fee,
            fee_asset=instrument.settle,
            maker=maker,
            filled_lots=filled,
            at=now,
        )
        return [self._balance(now), self._position(order.instrument, now), trade]

    def _end(self, name: str, how: str, now: int) -> list[Fact]:
        order = self.resting.pop(name, None)
        if order is None:
            return self._order_now(name, now)
        return [self._ended(name, how, 0, now)]

    def _ended(self, name: str, how: str, filled: int, now: int) -> Ended:
        ended = Ended(order=name, how=how, filled_lots=filled, at=now)
        self.finished[name] = ended
        while len(self.finished) > 1000:
            del self.finished[next(iter(self.finished))]
        return ended

    def _order_now(self, name: str, now: int) -> list[Fact]:
        if name in self.finished:
            return [self.finished[name]]
        if name in self.resting:
            return [self._accepted(self.resting[name], now)]
        return [Absent(order=name, asked_at=now)]

    # What the market does to the account

    def _see(self, facts: Sequence[Fact], now: int) -> Sequence[Fact]:
        own: list[Fact] = []
        for fact in facts:
            if isinstance(fact, Funding) and self.started:
                own += self._settle(fact, now)
            self.book.apply(fact, now)
            if isinstance(fact, Quote) and self.resting:
                own += self._reach(fact, now)
            if isinstance(fact, Listed):
                self.started = self.started and all(row.instrument for row in self.book.rows)
        if self.started:
            own += self._liquidate(now)
        return [*facts, *own]

    def _reach(self, quote: Quote, now: int) -> list[Fact]:
        """Fill the resting orders whose price the other side has reached, whole: it came to us."""
        facts: list[Fact] = []
        instrument = self.book.rows[quote.instrument].instrument
        for order in list(self.resting.values()):
            if instrument is None or order.instrument != quote.instrument or order.ticks is None:
                continue
            if self._crosses(instrument, order, quote):
                lots, held = abs(order.lots), self.book.rows[order.instrument].lots
                if order.reduce:
                    lots = min(lots, abs(held)) if held * order.lots < 0 else 0
                del self.resting[order.id]
                if lots:
                    facts += self._fill(order, lots, float(instrument.price(order.ticks)), lots, maker=True, now=now)
                how = "filled" if lots == abs(order.lots) else "expired"
                facts.append(self._ended(order.id, how, lots, now))
        return facts

    def _settle(self, fact: Funding, now: int) -> list[Fact]:
        """Pay or receive funding when the announced settlement has passed."""
        row = self.book.rows[fact.instrument]
        known = row.funding
        if known is None or fact.next_at <= known.next_at or not row.lots or row.value is None:
            return []
        amount = -row.value * known.rate
        self.wallet += amount
        settle = row.instrument.settle if row.instrument else ""
        return [Flow(asset=settle, amount=amount, kind="funding", at=now), self._balance(now)]

    def _liquidate(self, now: int) -> list[Fact]:
        """Close everything at mark when equity no longer covers maintenance margin, as the venue would."""
        needed = 0.0
        for row in self.book.rows:
            needed += maintenance(self._tiers(), abs(row.value or 0.0)) or 0.0
        equity = self._equity()
        if equity is None or not needed or equity > needed:
            return []
        self.wallet = max(0.0, equity - needed)
        facts: list[Fact] = []
        for name in list(self.resting):
            facts += self._end(name, "liquidated", now)
        for i in range(len(self.symbols)):
            self._hold(i, 0, None, now)
            facts.append(self._position(i, now))
        lost = Flow(asset=self._asset(), amount=-needed, kind="liquidation", at=now)
        return [*facts, self._balance(now), lost]

    # Facts about the account

    def _hold(self, index: int, lots: int, entry: float | None, now: int) -> None:
        self.book.apply(Position(instrument=index, side=Side.NET, lots=lots, entry=entry, at=now), now)

    def _position(self, index: int, now: int) -> Position:
        held = self.book.rows[index].holdings[Side.NET]
        return Position(instrument=index, side=Side.NET, lots=held.lots, entry=held.entry, at=now)

    def _asset(self) -> str:
        return self.book.accounts[0].settle or ""

    def _balance(self, now: int) -> Balance:
        return Balance(asset=self._asset(), wallet=self.wallet, at=now)

    def _equity(self) -> float | None:
        profits = [row.profit for row in self.book.rows]
        return None if None in profits else self.wallet + sum(profit for profit in profits if profit)

    def _initial(self) -> float | None:
        """Initial margin of all positions; None while one has no value."""
        values = [row.value for row in self.book.rows]
        pairs = zip(values, self.leverage, strict=True)
        return None if None in values else sum(abs(one) / leverage for one, leverage in pairs if one is not None)

    def _margin(self, now: int) -> Margin:
        equity, initial = self._equity(), self._initial()
        assert equity is not None, "positions are entered at a price, so they have a value"
        assert initial is not None, "positions are entered at a price, so they have a value"
        return Margin(
            wallet=self.wallet,
            equity=equity,
            initial=initial,
            maintenance=sum(abs(row.value or 0.0) for row in self.book.rows) * self.account.maintenance,
            available=max(0.0, equity - initial),
            asked_at=now,
        )

    def _accepted(self, order: Order, now: int) -> Accepted:
        return Accepted(order=order.id, venue_order=f"paper-{order.id}", filled_lots=0, at=now)

    def _open(self, order: Order) -> OpenOrder:
        return OpenOrder(
            order=order.id,
            venue_order=f"paper-{order.id}",
            instrument=order.instrument,
            lots=order.lots,
            filled_lots=0,
        )
