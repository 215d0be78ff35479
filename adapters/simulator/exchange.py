"""A derivatives exchange without a wire: accounts, prices, funding, liquidation and time.

Pure: it is told the time in UTC milliseconds, reads no clock and opens no socket; all chance comes
from one seeded generator. Each venue's wire is written over it.
"""

import heapq
import random
from collections.abc import Callable, Iterable
from decimal import Decimal

from msgspec import Struct, structs

from adapters.simulator.account import CENT, Account, Position
from adapters.simulator.arithmetic import exactly
from adapters.simulator.book import Book
from adapters.simulator.candles import Candles
from adapters.simulator.clock import MarketClock
from adapters.simulator.instruments import Instrument, instrument
from adapters.simulator.ledger import Ledger
from adapters.simulator.margin import liquidation_price, maintenance_margin
from adapters.simulator.market import Market, Move
from adapters.simulator.matching import Fees, Matcher
from adapters.simulator.orders import (
    ZERO,
    Event,
    Expiry,
    FundingRow,
    LeverageChanged,
    Order,
    OrderRequest,
    PositionView,
    Reason,
    Rejected,
    WalletChanged,
)

HOUR_MS = 3_600_000

_INTEREST_8H = Decimal("0.0001")
_DEADBAND = Decimal("0.0005")
_PAST_SETTLEMENTS = 30
_MOST_FUNDING_ROWS = 1_000


class Snapshot(Struct, frozen=True):
    """An account at one moment, as the exchange itself knows it; money in the margin asset.

    `positions` is signed and keyed by symbol in one-way mode, by `SYMBOL:LONG` and `SYMBOL:SHORT`
    in hedge mode. `fees` is what was paid (positive), `funding` and `realised` what was received
    (negative when paid), `deposits` the net of transfers, `insurance` what was forgiven, `turnover`
    the value traded, in quote asset, `equity` what is in the wallet, on paper and pledged in other assets.
    `wallet` is the opening balance + realised - fees + funding + deposits + insurance, to the last
    decimal.
    """

    equity: Decimal
    wallet: Decimal
    unrealised: Decimal
    positions: dict[str, Decimal]
    open_orders: list[Order]
    realised: Decimal
    fees: Decimal
    funding: Decimal
    deposits: Decimal
    insurance: Decimal
    turnover: Decimal
    fills: int
    rejected: int

    def held(self, symbol: str) -> Decimal:
        """The net position in a symbol, whatever the position mode."""
        rows = (symbol, f"{symbol}:LONG", f"{symbol}:SHORT")
        return sum((self.positions.get(row, ZERO) for row in rows), ZERO)


class Exchange:
    """Accounts trading a market.

    `speed` is how much faster the market's calendar runs than the exchange's clock: at 60, an hour
    of prices passes in a minute, and funding that is due every eight hours is due every eight
    minutes. The exchange's clock itself is always that of its callers. Events are handed to
    `listener` as they happen. `instruments` replaces listings of the same symbols;
    `post_only_expires` accepts post-only orders that would take, and expires them at once.
    """

    @exactly
    def __init__(
        self,
        market: Market,
        accounts: Iterable[Account] = (),
        *,
        fees: Fees | None = None,
        speed: float = 1.0,
        seed: int = 0,
        instruments: Iterable[Instrument] = (),
        funding_delay_ms: tuple[int, int] = (1_000, 10_000),
        post_only_expires: bool = False,
    ) -> None:
        self.market = market
        self.clock = MarketClock(speed)
        self.random = random.Random(seed)
        self.accounts = {account.api_key: account for account in list(accounts) or [Account()]}
        self.instruments = {symbol: instrument(symbol) for symbol in market.symbols}
        self.instruments.update((one.symbol, one) for one in instruments)
        for account in self.accounts.values():
            account.listings = self.instruments.__getitem__
        # orders, trades and book updates are numbered apart: an id of one never fits another
        first_id, first_trade_id, first_update_id = (
            base + self.random.randrange(10**9) for base in (10**10, 10**9 * 5, 10**12)
        )
        self.books = {
            symbol: Book(self.instruments[symbol], price, first_update_id)
            for symbol, price in zip(market.symbols, market.prices(), strict=True)
        }
        self.candles = Candles()
        self.ledger = Ledger()
        self.listener: Callable[[Event], None] = lambda event: None
        self.fees = fees or Fees()
        self.matcher = Matcher(
            self.instruments, self.books, self.ledger, self.fees, self._emit, first_id, first_trade_id
        )
        self.matcher.post_only_expires = post_only_expires
        self.listings_changed = 0
        """How often a listing was replaced."""
        self.funding_rows: dict[str, list[FundingRow]] = {symbol: [] for symbol in self.books}
        self.now_ms = 0
        self._funding_delay_ms = funding_delay_ms
        self._symbols = market.symbols
        self._index = {symbol: index for index, symbol in enumerate(self._symbols)}
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._timer_count = 0
        self._countdowns: dict[tuple[str, str], int] = {}
        self._armed = 0
        self._index_gaps: dict[str, Decimal] = {}
        self._funding_due_ms: dict[str, int] = {}
        self._due_ms = 0

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due by now; a time already past changes nothing."""
        if not self.now_ms:
            self._open(now_ms)
        self.now_ms = max(self.now_ms, now_ms)
        if self.now_ms >= self._due_ms:
            self._catch_up()

    @property
    def due_ms(self) -> int:
        """When something next happens here by itself, in exchange time."""
        return self._due_ms

    def at(self, due_ms: int, act: Callable[[int], None]) -> None:
        """Have something done at a time; it is told that time."""
        self._timer_count += 1
        heapq.heappush(self._timers, (due_ms, self._timer_count, act))
        self._due_ms = min(self._due_ms, due_ms)

    @exactly
    def place(self, account: Account, request: OrderRequest) -> Order:
        """Take in an order; raises `Rejected`."""
        order = self.matcher.place(account, request, self.now_ms)
        if order.is_open and order.good_till_ms:
            self.at(order.good_till_ms, lambda now_ms: self._lapse(account, order, now_ms))
        return order

    @exactly
    def cancel_all(self, account: Account, symbol: str) -> int:
        """Cancel every open order of one symbol; gives how many there were."""
        mine = [order for order in account.open_orders.values() if order.symbol == symbol]
        for order in mine:
            self.matcher.cancel(account, order, self.now_ms)
        return len(mine)

    def countdown(self, account: Account, symbol: str, delay_ms: int) -> None:
        """Arm the dead man's switch of a symbol, or disarm it with zero.

        When it runs out without being armed again, the symbol's open orders are cancelled.
        """
        key = (account.api_key, symbol)
        self._countdowns.pop(key, None)
        if not delay_ms:
            return
        self._armed += 1
        number = self._countdowns[key] = self._armed

        def lapse(now_ms: int) -> None:
            if self._countdowns.get(key) == number:
                self._fire(account, symbol, now_ms)

        self.at(self.now_ms + delay_ms, lapse)

    @exactly
    def fire_countdown(self, account: Account, symbol: str = "") -> None:
        """Have the dead man's switch of a symbol run out now, or all that are armed."""
        armed = [one for key, one in self._countdowns if key == account.api_key and symbol in ("", one)]
        if not armed:
            raise Rejected(Reason.NOTHING_ARMED)
        for one in armed:
            self._fire(account, one, self.now_ms)

    def _fire(self, account: Account, symbol: str, now_ms: int) -> None:
        del self._countdowns[account.api_key, symbol]
        for order in list(account.open_orders.values()):
            if order.symbol == symbol:
                self.matcher.end(account, order, "CANCELED", now_ms, Expiry.NONE)

    @exactly
    def set_leverage(self, account: Account, symbol: str, leverage: int) -> None:
        """Change the leverage of a symbol, if position and margin allow it; raises `Rejected`."""
        one = self.instruments[symbol]
        if not 1 <= leverage <= one.brackets[0].leverage:
            raise Rejected(Reason.LEVERAGE_INVALID, leverage)
        mark = self.books[symbol].mark
        sides = ("LONG", "SHORT") if account.hedge else ("BOTH",)
        before = account.leverage(symbol)
        worst = max(sum(account.initial_margin(symbol, side, mark)) * before for side in sides)
        if worst > one.largest_notional(leverage):
            raise Rejected(Reason.LEVERAGE_POSITION)
        isolated = account.is_isolated(symbol)
        if leverage < before and isolated and any(account.position(symbol, side).quantity for side in sides):
            raise Rejected(Reason.LEVERAGE_ISOLATED)
        account.set_leverage(symbol, leverage)
        if leverage < before and account.free(self.matcher.mark) < 0:
            account.set_leverage(symbol, before)
            raise Rejected(Reason.LEVERAGE_MARGIN)
        if leverage != before:
            self._emit(LeverageChanged(account.api_key, symbol, leverage, self.now_ms))

    @exactly
    def set_isolated(self, account: Account, symbol: str, isolated: bool) -> None:
        """Change the margin type of a symbol, which needs it empty; raises `Rejected`."""
        if account.is_isolated(symbol) == isolated:
            raise Rejected(Reason.MARGIN_TYPE_SAME)
        if any(order.symbol == symbol for order in account.open_orders.values()):
            raise Rejected(Reason.MARGIN_TYPE_HAS_ORDERS)
        if any(held.symbol == symbol for held in account.held()):
            raise Rejected(Reason.MARGIN_TYPE_HAS_POSITION)
        account.set_isolated(symbol, isolated)
        for side in ("LONG", "SHORT") if account.hedge else ("BOTH",):
            self._tell_wallet(account, "MARGIN_TYPE_CHANGE", account.position(symbol, side))

    @exactly
    def move_margin(self, account: Account, symbol: str, side: str, amount: Decimal) -> None:
        """Give an isolated position more margin, or with a negative amount take some back.

        It keeps its initial margin, and what it has lost on paper counts as gone.
        """
        held, mark = account.position(symbol, side), self.books[symbol].mark
        if not account.is_isolated(symbol):
            raise Rejected(Reason.MARGIN_NOT_ISOLATED)
        if not held.quantity:
            raise Rejected(Reason.MARGIN_NO_POSITION)
        if amount > account.free(self.matcher.mark):
            raise Rejected(Reason.MARGIN_CROSS_SHORT)
        needed = account.initial_margin(symbol, side, mark)[0] - min(ZERO, held.unrealised(mark))
        if amount < 0 and held.wallet + amount < needed:
            raise Rejected(Reason.MARGIN_ISOLATED_SHORT)
        held.wallet += amount
        held.updated_ms = self.now_ms
        self._tell_wallet(account, "MARGIN_TRANSFER", held)

    def _tell_wallet(self, account: Account, kind: str, held: Position) -> None:
        """Money moved between the wallets of an account, or could."""
        isolated = account.is_isolated(held.symbol)
        view = held.view(self.books[held.symbol].mark, isolated=isolated)
        self._emit(
            WalletChanged(
                account.api_key,
                kind,
                "",
                ZERO,
                account.wallet,
                account.cross_wallet,
                self.now_ms,
                (view,),
            )
        )

    def set_hedge(self, account: Account, hedge: bool) -> None:
        """Switch between one-way and hedge mode, which needs an empty account; may be `Rejected`."""
        if account.hedge == hedge:
            raise Rejected(Reason.MODE_SAME)
        if account.open_orders:
            raise Rejected(Reason.MODE_HAS_ORDERS)
        if account.held():
            raise Rejected(Reason.MODE_HAS_POSITIONS)
        account.hedge = hedge

    @exactly
    def funding_rate(self, symbol: str) -> Decimal:
        """The rate the next settlement would have now: positive means longs pay."""
        one = self.instruments[symbol]
        premium = self.market.premium(self._index[symbol])
        correction = max(-_DEADBAND, min(_DEADBAND, _INTEREST_8H - premium))
        rate = (premium + correction) * one.funding_hours / 8
        return max(-one.funding_cap, min(one.funding_cap, rate)).quantize(CENT)

    def next_funding_ms(self, symbol: str) -> int:
        """When the next settlement is due, in exchange time."""
        return self.clock.clock_ms(self._funding_due_ms[symbol])

    @exactly
    def index_price(self, symbol: str) -> Decimal:
        """The index that the mark's premium is measured from."""
        premium = self.market.premium(self._index[symbol])
        index = self.books[symbol].mark / (1 + premium)
        return (index * (1 + self._index_gaps.get(symbol, ZERO))).quantize(CENT)

    def liquidation_price(self, account: Account, held: Position) -> Decimal | None:
        """The mark at which a position, all others standing still, ends the account, or itself; None: at none."""
        one = self.instruments[held.symbol]
        if account.is_isolated(held.symbol):
            return liquidation_price(one, held.quantity, held.entry, held.wallet)
        collateral = account.cross_wallet
        for other in account.shared():
            if other is not held:
                mark = self.books[other.symbol].mark
                collateral += other.unrealised(mark)
                collateral -= maintenance_margin(self.instruments[other.symbol], abs(other.quantity) * mark)
        return liquidation_price(one, held.quantity, held.entry, collateral)

    @exactly
    def snapshot(self, account: Account | str) -> Snapshot:
        """An account as the exchange knows it, for demos and as the truth in tests."""
        one = self.accounts[account] if isinstance(account, str) else account
        unrealised = one.unrealised(self.matcher.mark)
        totals = self.ledger.of(one.api_key)
        income = totals.income
        refused = self.ledger.rejected.get(one.api_key)
        return Snapshot(
            equity=one.wallet + unrealised + one.pledged,
            wallet=one.wallet,
            unrealised=unrealised,
            positions={
                held.symbol if held.side == "BOTH" else f"{held.symbol}:{held.side}": held.quantity
                for held in one.held()
            },
            open_orders=list(one.open_orders.values()),
            realised=income.get("REALIZED_PNL", ZERO),
            fees=-income.get("COMMISSION", ZERO),
            funding=income.get("FUNDING_FEE", ZERO),
            deposits=income.get("TRANSFER", ZERO),
            insurance=income.get("INSURANCE_CLEAR", ZERO),
            turnover=totals.turnover,
            fills=totals.fills,
            rejected=refused.total() if refused else 0,
        )

    @exactly
    def deposit(self, account: Account, amount: Decimal | str | int) -> None:
        """Put money into a wallet; a negative amount takes it out."""
        change = Decimal(amount)
        kind = "DEPOSIT" if change >= 0 else "WITHDRAW"
        self._pay(account, "TRANSFER", kind, "", change, self.now_ms)

    def withdraw(self, account: Account, amount: Decimal | str | int) -> None:
        """Take money out of a wallet."""
        self.deposit(account, -Decimal(amount))

    @exactly
    def set_mark(self, symbol: str, price: Decimal | str | int) -> None:
        """Put the mark of a symbol, as if the market had jumped there: orders fill, margins break."""
        index = self._index[symbol]
        self.market.set_price(index, Decimal(price))
        self._move(symbol, Decimal(price), self.now_ms)
        self._liquidate(self.now_ms)

    def gap_index(self, symbol: str, gap: Decimal) -> None:
        """Move an index away from its mark by a fraction, as in an incident at another exchange; zero ends that."""
        self._index_gaps[symbol] = gap

    @exactly
    def settle_now(self, symbol: str, rate: Decimal) -> None:
        """Settle funding of a symbol at a rate, out of its turn."""
        mark = self.books[symbol].mark
        self.funding_rows[symbol].append(FundingRow(self.now_ms, rate, mark))
        for account in self.accounts.values():
            for held in account.held():
                change = -(self.instruments[symbol].notional(held.quantity, mark) * rate).quantize(CENT)
                if held.symbol == symbol and change:
                    self._pay(account, "FUNDING_FEE", "FUNDING_FEE", symbol, change, self.now_ms, held)

    @exactly
    def deleverage(self, account: Account, symbol: str, quantity: Decimal | None = None) -> None:
        """Close some of the positions in a symbol, or all, at the mark, against somebody who is liquidated."""
        self._close_at_mark(account, symbol, "adl_autoclose", quantity)

    @exactly
    def take_over(self, account: Account, symbol: str) -> None:
        """Close the positions in a symbol as the liquidation engine does."""
        for held in self._held(account, symbol):
            self._force(account, held, self.now_ms)

    @exactly
    def settle_delisted(self, symbol: str) -> None:
        """Take a symbol off the list: its orders end, its positions are settled at the mark."""
        for account in self.accounts.values():
            for order in list(account.open_orders.values()):
                if order.symbol == symbol:
                    self.matcher.end(account, order, "EXPIRED", self.now_ms, Expiry.DELISTED)
            if any(held.symbol == symbol for held in account.held()):
                name = f"settlement_autoclose-{self.now_ms}{self.random.randrange(10**6):06d}"
                self._close_at_mark(account, symbol, name)
        self.set_status(symbol, "CLOSE")

    @exactly
    def redenominate(self, symbol: str, factor: Decimal) -> None:
        """Make one contract `factor` contracts of a `factor`th each: orders end, worth and margin stay as they are."""
        one = self.instruments[symbol]
        for account in self.accounts.values():
            for order in list(account.open_orders.values()):
                if order.symbol == symbol:
                    self.matcher.end(account, order, "EXPIRED", self.now_ms, Expiry.DELISTED)
            for held in self._held(account, symbol):
                held.quantity *= factor
                held.updated_ms = self.now_ms
        finer = min(Decimal(1), factor)
        self.relist(
            structs.replace(
                one,
                tick=one.tick / factor,
                step=one.step * finer,
                max_quantity=one.max_quantity * factor,
                max_market_quantity=one.max_market_quantity * factor,
            )
        )
        self.set_mark(symbol, self.books[symbol].mark / factor)

    def _held(self, account: Account, symbol: str) -> list[Position]:
        return [held for held in account.held() if held.symbol == symbol]

    def _close_at_mark(self, account: Account, symbol: str, name: str, quantity: Decimal | None = None) -> None:
        found = self._held(account, symbol)
        if not found:
            raise Rejected(Reason.NOTHING_HELD)
        for held in found:
            price = self.books[symbol].mark
            self.matcher.force(account, symbol, held.side, ZERO, name, self.now_ms, quantity=quantity, price=price)

    @exactly
    def cut_collateral(self, account: Account, asset: str, rate: Decimal) -> None:
        """Count a collateral for so much of its worth from now on."""
        account.haircuts[asset] = rate
        account.updated_ms = self.now_ms
        self._liquidate(self.now_ms)

    def step_clock(self, ms: int) -> None:
        """Put the clock forward or back. What was due in a while is due in that while still."""
        self.now_ms += ms
        self._timers = [(due_ms + ms, number, act) for due_ms, number, act in self._timers]
        self.clock.shift(ms)
        self._plan()

    def relist(self, one: Instrument) -> None:
        """Replace a listing while it trades: its grid, its limits, its brackets or its status."""
        self.instruments[one.symbol] = one
        self.books[one.symbol].relist(one)
        self.books[one.symbol].touch(self.now_ms)
        self.listings_changed += 1

    def set_status(self, symbol: str, status: str) -> None:
        """Change the trading status of a symbol: TRADING, SETTLING, …"""
        self.relist(structs.replace(self.instruments[symbol], status=status))

    def freeze(self) -> None:
        """Make the market stand still: no price moves and no funding falls due."""
        self.clock.freeze(self.now_ms)
        self._plan()

    def thaw(self) -> None:
        """Let a frozen market go on from where it stopped."""
        self.clock.thaw(self.now_ms)
        self._plan()

    def _emit(self, event: Event) -> None:
        self.listener(event)

    @exactly
    def _open(self, now_ms: int) -> None:
        self.now_ms = now_ms
        market_ms = self.market.start_ms if self.market.start_ms is not None else now_ms
        self.clock.begin(now_ms, market_ms)
        self.market.begin(market_ms, self.clock.speed)
        for symbol, price in zip(self._symbols, self.market.prices(), strict=True):
            self._move(symbol, price, now_ms)
            interval_ms = self.instruments[symbol].funding_hours * HOUR_MS
            self._funding_due_ms[symbol] = (market_ms // interval_ms + 1) * interval_ms
            self._invent_past_funding(symbol, interval_ms)
        for account in self.accounts.values():
            account.updated_ms = now_ms
            self._open_positions(account, now_ms)
        self._plan()

    def _open_positions(self, account: Account, now_ms: int) -> None:
        for symbol, quantity in account.opening_positions.items():
            one, book = self.instruments[symbol], self.books[symbol]
            assert quantity % one.step == 0, f"{quantity} {symbol} is not on its lot grid"
            side = ("LONG" if quantity > 0 else "SHORT") if account.hedge else "BOTH"
            position = account.position(symbol, side)
            position.trade(quantity, book.mark.quantize(one.tick))
            if account.is_isolated(symbol):
                position.assign(ZERO, one.notional(Decimal(1), book.mark) / account.leverage(symbol), ZERO)
            position.updated_ms = now_ms

    def _invent_past_funding(self, symbol: str, interval_ms: int) -> None:
        """Settlements from before the exchange opened, so that their history is not empty."""
        rate, mark = self.funding_rate(symbol), self.books[symbol].mark
        for past in range(_PAST_SETTLEMENTS, 0, -1):
            at_ms = self.clock.clock_ms(self._funding_due_ms[symbol] - past * interval_ms)
            noise = Decimal(round(self.random.gauss(0, 3_000))) * CENT
            self.funding_rows[symbol].append(FundingRow(at_ms, rate + noise, mark))

    @exactly
    def _catch_up(self) -> None:
        self._run_timers()
        self._play(self.now_ms)
        self._run_timers()  # of what playing has made due
        self._plan()

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now_ms:
            due_ms, _, act = heapq.heappop(self._timers)
            self._play(due_ms)
            act(due_ms)

    def _plan(self) -> None:
        due_ms = self._timers[0][0] if self._timers else 1 << 62
        if not self.clock.frozen:
            coming = list(self._funding_due_ms.values())
            price_ms = self.market.next_ms()
            if price_ms is not None:
                coming.append(price_ms)
            due_ms = min(due_ms, self.clock.clock_ms(min(coming)))
        self._due_ms = due_ms

    def _play(self, now_ms: int) -> None:
        """Run the market up to a time, settling funding where it falls due on the way."""
        to_ms = self.clock.market_ms(now_ms)
        while min(self._funding_due_ms.values()) <= to_ms and not self.clock.frozen:
            due_ms = min(self._funding_due_ms.values())
            self._apply(self.market.advance(due_ms))
            self._settle(due_ms)
        self._apply(self.market.advance(to_ms))
        for book in self.books.values():
            book.refill(now_ms)

    def _apply(self, moves: Iterable[Move]) -> None:
        """Move marks one market time after the other; liquidation looks at each of those times."""
        last_ms = clock_ms = 0
        for market_ms, index, price in moves:
            if market_ms != last_ms:
                if last_ms:
                    self._liquidate(clock_ms)
                last_ms, clock_ms = market_ms, self.clock.clock_ms(market_ms)
            self._move(self._symbols[index], price, clock_ms)
        if last_ms:
            self._liquidate(clock_ms)

    def _move(self, symbol: str, price: Decimal, now_ms: int) -> None:
        self.books[symbol].move(price, now_ms)
        self.candles.note(symbol, price, now_ms)
        if self.matcher.resting[symbol]:
            self.matcher.cross(symbol, now_ms)

    def _settle(self, market_ms: int) -> None:
        """Fix the rate of every symbol that is due; the money moves a few seconds later."""
        now_ms = self.clock.clock_ms(market_ms)
        for symbol, due_ms in self._funding_due_ms.items():
            if due_ms > market_ms:
                continue
            self._funding_due_ms[symbol] += self.instruments[symbol].funding_hours * HOUR_MS
            rate, mark = self.funding_rate(symbol), self.books[symbol].mark
            rows = self.funding_rows[symbol]
            rows.append(FundingRow(now_ms, rate, mark))
            del rows[:-_MOST_FUNDING_ROWS]
            for account in self.accounts.values():
                for side in ("BOTH", "LONG", "SHORT"):
                    self._owe_funding(account, symbol, side, rate, now_ms)

    def _owe_funding(self, account: Account, symbol: str, side: str, rate: Decimal, now_ms: int) -> None:
        held = account.positions.get((symbol, side))
        if held is None or not held.quantity:
            return
        notional = self.instruments[symbol].notional(held.quantity, self.books[symbol].mark)
        change = -(notional * rate).quantize(CENT)
        if not change:
            return
        # at great speed an interval is shorter than the delay: booked late, but well before the next
        interval_ms = self.instruments[symbol].funding_hours * HOUR_MS / self.clock.speed
        delay_ms = min(self.random.randint(*self._funding_delay_ms), int(interval_ms / 10))
        later_ms = now_ms + delay_ms
        self.at(
            later_ms,
            lambda at_ms: self._pay(account, "FUNDING_FEE", "FUNDING_FEE", symbol, change, at_ms, held),
        )

    def _pay(
        self,
        account: Account,
        income: str,
        kind: str,
        symbol: str,
        change: Decimal,
        now_ms: int,
        held: Position | None = None,
    ) -> None:
        """Change a wallet: that of an isolated position that is still `held`, or the account's own."""
        account.wallet += change
        account.updated_ms = now_ms
        views: tuple[PositionView, ...] = ()
        if held is not None and held.quantity and account.is_isolated(held.symbol):
            held.wallet += change
            views = (held.view(self.books[held.symbol].mark, isolated=True),)
        self.matcher.book_income(account, symbol, income, change, now_ms)
        self._emit(
            WalletChanged(
                account.api_key,
                kind,
                symbol,
                change,
                account.wallet,
                account.cross_wallet,
                now_ms,
                views,
            )
        )

    def _lapse(self, account: Account, order: Order, now_ms: int) -> None:
        if order.is_open:
            self.matcher.end(account, order, "EXPIRED", now_ms, Expiry.NONE)

    def _liquidate(self, now_ms: int) -> None:
        """Close positions, the one that needs most margin first, until the account is whole.

        An isolated position is closed for itself, when its own wallet no longer carries it.
        """
        for account in self.accounts.values():
            self._liquidate_isolated(account, now_ms)
            while self._is_broken(account):
                for order in list(account.open_orders.values()):
                    self.matcher.end(account, order, "EXPIRED", now_ms, Expiry.LIQUIDATED)
                worst = max(
                    account.shared(),
                    key=lambda held: self.instruments[held.symbol].notional(
                        abs(held.quantity), self.books[held.symbol].mark
                    ),
                )
                self._force(account, worst, now_ms)
            if account.cross_wallet < 0 and not account.shared():
                self._pay(account, "INSURANCE_CLEAR", "INSURANCE_CLEAR", "", -account.cross_wallet, now_ms)

    def _force(self, account: Account, held: Position, now_ms: int) -> None:
        fee = self.instruments[held.symbol].liquidation_fee
        name = f"autoclose-{now_ms}{self.random.randrange(10**6):06d}"
        self.matcher.force(account, held.symbol, held.side, fee, name, now_ms)

    def _liquidate_isolated(self, account: Account, now_ms: int) -> None:
        """Close what its own wallet no longer carries; what it loses beyond that wallet is forgiven."""
        for held in account.held():
            one, mark = self.instruments[held.symbol], self.books[held.symbol].mark
            margin = maintenance_margin(one, one.notional(abs(held.quantity), mark))
            if not account.is_isolated(held.symbol) or held.wallet + held.unrealised(mark) > margin:
                continue
            for order in list(account.open_orders.values()):
                if order.symbol == held.symbol:
                    self.matcher.end(account, order, "EXPIRED", now_ms, Expiry.LIQUIDATED)
            before = account.wallet - held.wallet
            self._force(account, held, now_ms)
            if account.wallet < before:
                self._pay(account, "INSURANCE_CLEAR", "INSURANCE_CLEAR", held.symbol, before - account.wallet, now_ms)

    def _is_broken(self, account: Account) -> bool:
        if not account.shared():
            return False
        equity = account.cross_wallet + account.pledged + account.cross_unrealised(self.matcher.mark)
        return equity <= account.cross_maintenance(self.matcher.mark, self.instruments.__getitem__)
