"""Matching: orders come in, meet the synthetic book, rest, fill, and end."""

from collections.abc import Callable, Mapping
from copy import copy
from decimal import Decimal
from itertools import count

from msgspec import Struct, structs

from adapters.simulator import checks
from adapters.simulator.account import CENT, Account
from adapters.simulator.book import BUY, Book
from adapters.simulator.instruments import Instrument
from adapters.simulator.ledger import Ledger
from adapters.simulator.orders import (
    ZERO,
    Amended,
    Closed,
    Event,
    Expiry,
    Fill,
    Filled,
    Income,
    Opened,
    Order,
    OrderRequest,
    Reason,
    Rejected,
)


class Fees(Struct, frozen=True):
    """Trading fees as fractions of notional."""

    maker: Decimal = Decimal("0.0002")
    taker: Decimal = Decimal("0.0005")


class Matcher:
    """The open orders of all accounts and the rules by which they trade.

    Every account trades against the synthetic book only, never against another account. A resting
    order fills at its own price once the book's opposite side reaches it, and no more than the book
    shows there: a large order fills in parts. A post-only order that would take is refused, or with
    `post_only_expires` accepted and expired at once, as the venue once did.
    """

    post_only_expires = False

    def __init__(
        self,
        instruments: dict[str, Instrument],
        books: Mapping[str, Book],
        ledger: Ledger,
        fees: Fees,
        emit: Callable[[Event], None],
        first_id: int,
        first_trade_id: int,
    ) -> None:
        self.instruments = instruments
        self.books = books
        self.ledger = ledger
        self.fees = fees
        self.resting: dict[str, dict[int, tuple[Account, Order]]] = {s: {} for s in books}
        self._emit = emit
        self._order_ids = count(first_id)
        self._trade_ids = count(first_trade_id)
        self._income_ids = count(first_trade_id)

    def mark(self, symbol: str) -> Decimal:
        """The mark price of a symbol."""
        return self.books[symbol].mark

    def place(self, account: Account, request: OrderRequest, now_ms: int) -> Order:
        """Take an order in, match it, let the rest stand or end; raises `Rejected`."""
        request = self.admit(account, request)
        order = Order(
            id=next(self._order_ids),
            account=account.api_key,
            client_id=request.client_id,
            symbol=request.symbol,
            side=request.side,
            kind=request.kind,
            time_in_force=request.time_in_force,
            quantity=request.quantity,
            price=request.price or ZERO,
            reduce_only=request.reduce_only,
            position_side=request.position_side,
            created_ms=now_ms,
            updated_ms=now_ms,
            self_trade=request.self_trade,
            price_match=request.price_match,
            good_till_ms=request.good_till_ms,
        )
        self.ledger.accept(order)
        account.open_orders[order.id] = order
        self.resting[order.symbol][order.id] = (account, order)
        self._emit(Opened(copy(order)))
        if order.time_in_force == "GTX" and self._would_take(order):
            self.end(account, order, "EXPIRED", now_ms, Expiry.NONE)
            return order
        self._take(account, order, now_ms)
        if order.is_open and order.kind == "MARKET":
            self.end(account, order, "EXPIRED", now_ms, Expiry.MARKET_REST)
        elif order.is_open and order.time_in_force in ("IOC", "FOK"):
            self.end(account, order, "EXPIRED", now_ms, Expiry.IMMEDIATE_REST)
        return order

    def admit(self, account: Account, request: OrderRequest) -> OrderRequest:
        """The order as it would be accepted, a reduce-only quantity cut to what can be reduced."""
        one = self.instruments[request.symbol]
        book = self.books[request.symbol]
        if one.status != "TRADING":
            raise Rejected(Reason.CLOSED_SYMBOL)
        reducing = checks.is_reducing(request)
        checks.check_account(account, reducing=reducing)
        checks.check_sides(account, request)
        checks.check_quantity(one, request.quantity, market=request.kind == "MARKET")
        if request.price is not None:
            checks.check_price(one, request.price, book.mark, request.side)
        if not reducing:
            checks.check_notional(one, request.quantity, request.price or book.mark)
        self._check_open(account, request, one)
        if reducing:
            request = self._cut(account, request)
        else:
            checks.check_margin(account, one, request, book, self.mark)
        self._check_taking(request, one, book)
        return request

    def cancel(self, account: Account, order: Order, now_ms: int) -> None:
        """End an open order because its owner asks."""
        if not order.is_open:
            raise Rejected(Reason.UNKNOWN_ORDER)
        self.end(account, order, "CANCELED", now_ms, Expiry.NONE)

    def amend(
        self,
        account: Account,
        order: Order,
        price: Decimal,
        quantity: Decimal,
        now_ms: int,
        modify_id: int = 0,
    ) -> None:
        """Give an open limit order another price and quantity.

        A quantity it has already filled, or a post-only price that would take, ends the order.
        """
        one, book = self.instruments[order.symbol], self.books[order.symbol]
        if not order.is_open:
            raise Rejected(Reason.UNKNOWN_ORDER)
        if order.kind != "LIMIT":
            raise Rejected(Reason.NOT_AMENDABLE)
        if price == order.price and quantity == order.quantity:
            raise Rejected(Reason.NOTHING_TO_AMEND)
        checks.check_quantity(one, quantity, market=False)
        checks.check_price(one, price, book.mark, order.side)
        if not order.reduce_only:
            checks.check_notional(one, quantity, price)
        if quantity <= order.executed:
            self.end(account, order, "CANCELED", now_ms, Expiry.NONE)
            return
        if order.time_in_force == "GTX" and book.reachable(order.side, one.step, price):
            self.end(account, order, "EXPIRED", now_ms, Expiry.NONE)
            raise Rejected(Reason.WOULD_TAKE)
        self._check_amended_margin(account, order, price, quantity)
        order.price, order.quantity = price, quantity
        order.modify_id, order.updated_ms = modify_id, now_ms
        # an amended order goes to the back of the queue
        self.resting[order.symbol][order.id] = self.resting[order.symbol].pop(order.id)
        self._emit(Amended(copy(order)))
        self._take(account, order, now_ms)

    def cross(self, symbol: str, now_ms: int) -> None:
        """Fill the resting orders that the book has come to meet."""
        book = self.books[symbol]
        for account, order in list(self.resting[symbol].values()):
            best = (book.best_ask if order.side == BUY else book.best_bid)[0]
            if (order.price - best) * order.side < 0 or not order.is_open:
                continue
            found = book.reachable(order.side, self._most(account, order), order.price)
            book.take(order.side, found, now_ms)
            quantity = sum((amount for _, amount in found), ZERO)
            if quantity:
                self.fill(account, order, order.price, quantity, now_ms, maker=True)

    def end(self, account: Account, order: Order, status: str, now_ms: int, expiry: int) -> None:
        """Take an order off the book and say so."""
        order.status, order.expiry, order.updated_ms = status, expiry, now_ms
        self._forget(account, order)
        self._emit(Closed(copy(order)))

    def fill(
        self,
        account: Account,
        order: Order,
        price: Decimal,
        quantity: Decimal,
        now_ms: int,
        *,
        maker: bool,
        forced_fee: Decimal | None = None,
    ) -> Fill:
        """Execute part of an order: position, wallet, ledger and event, then what follows from it."""
        rate = self.fees.maker if maker else self.fees.taker
        if forced_fee is not None:
            rate = forced_fee
        one = self.instruments[order.symbol]
        notional = one.notional(quantity, price)
        fee = (notional * rate).quantize(CENT)
        position, mark = account.position(order.symbol, order.position_side), self.mark(order.symbol)
        isolated, before = account.is_isolated(order.symbol), position.quantity
        realised = position.trade(order.side * quantity, price)
        position.updated_ms = account.updated_ms = now_ms
        account.wallet += realised - fee
        if isolated:
            position.assign(before, one.notional(Decimal(1), mark) / account.leverage(order.symbol), fee)
            if position.quantity:
                position.wallet += min(ZERO, account.cross_wallet)  # it takes no more than there is
        order.executed += quantity
        order.quote += notional
        order.average_price = one.price_of(order.executed, order.quote)
        order.updated_ms = now_ms
        order.status = "PARTIALLY_FILLED" if order.left else "FILLED"
        done = Fill(
            id=next(self._trade_ids),
            order_id=order.id,
            client_id=order.client_id,
            account=account.api_key,
            symbol=order.symbol,
            side=order.side,
            position_side=order.position_side,
            price=price,
            quantity=quantity,
            realised=realised,
            fee=fee,
            maker=maker,
            at_ms=now_ms,
        )
        self.ledger.fill(done, one.value(quantity, price))
        if realised:
            self.book_income(account, order.symbol, "REALIZED_PNL", realised, now_ms, done.id)
        self.book_income(account, order.symbol, "COMMISSION", -fee, now_ms, done.id)
        view = position.view(mark, isolated=isolated)
        if not order.left:
            self._forget(account, order)
        forced = forced_fee is not None
        self._emit(Filled(copy(order), done, account.wallet, account.cross_wallet, view, forced))
        self._knock_out(account, order.symbol, order.position_side, now_ms)
        return done

    def force(
        self,
        account: Account,
        symbol: str,
        side: str,
        fee: Decimal,
        client_id: str,
        now_ms: int,
        *,
        quantity: Decimal | None = None,
        price: Decimal | None = None,
    ) -> None:
        """Close a position, or some of it, as the liquidation engine does: against the book, or at one price.

        What the book cannot take goes at the price of its last level.
        """
        held = account.position(symbol, side).quantity
        direction = -1 if held > 0 else 1
        closed = abs(held) if quantity is None else min(abs(held), quantity)
        book = self.books[symbol]
        found = book.reachable(direction, closed, None) if price is None else []
        book.take(direction, found, now_ms)
        there = sum((amount for _, amount in found), ZERO)
        last = found[-1][0] if found else price or book.mark
        worth = sum((at * amount for at, amount in found), ZERO) + (closed - there) * last
        order = Order(
            id=next(self._order_ids),
            account=account.api_key,
            client_id=client_id,
            symbol=symbol,
            side=direction,
            kind="LIMIT",
            time_in_force="IOC",
            quantity=closed,
            price=last,
            reduce_only=True,
            position_side=side,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        self.ledger.accept(order)
        account.open_orders[order.id] = order
        self.resting[symbol][order.id] = (account, order)
        average = checks.grid_price(self.instruments[symbol], worth / closed)
        self.fill(account, order, average, closed, now_ms, maker=False, forced_fee=fee)

    def book_income(
        self,
        account: Account,
        symbol: str,
        kind: str,
        amount: Decimal,
        now_ms: int,
        trade_id: int = 0,
    ) -> None:
        """Write a wallet change into the ledger; the wallet itself is the caller's to change."""
        self.ledger.earn(
            Income(
                id=next(self._income_ids),
                account=account.api_key,
                symbol=symbol,
                kind=kind,
                amount=amount,
                at_ms=now_ms,
                trade_id=trade_id,
            )
        )

    def _check_open(self, account: Account, request: OrderRequest, one: Instrument) -> None:
        mine = account.open_orders.values()
        if any(order.client_id == request.client_id for order in mine):
            raise Rejected(Reason.CLIENT_ID_IN_USE)
        if sum(order.symbol == request.symbol for order in mine) >= one.max_open_orders:
            raise Rejected(Reason.TOO_MANY_ORDERS)

    def _check_taking(self, request: OrderRequest, one: Instrument, book: Book) -> None:
        if request.kind == "MARKET":
            checks.check_market_band(one, book, request.side)
        elif request.time_in_force == "GTX":
            if self._would_take(request) and not self.post_only_expires:
                raise Rejected(Reason.WOULD_TAKE)
        elif request.time_in_force == "FOK":
            found = book.reachable(request.side, request.quantity, request.price)
            if sum((amount for _, amount in found), ZERO) < request.quantity:
                raise Rejected(Reason.CANNOT_FILL)

    def _would_take(self, order: Order | OrderRequest) -> bool:
        lot = self.instruments[order.symbol].step
        return bool(self.books[order.symbol].reachable(order.side, lot, order.price))

    def _cut(self, account: Account, request: OrderRequest) -> OrderRequest:
        room = checks.reducible(account, request.symbol, request.position_side, request.side)
        if not room or (account.hedge and request.quantity > room):
            raise Rejected(Reason.REDUCE_ONLY)
        if request.quantity <= room:
            return request
        return structs.replace(request, quantity=room)

    def _check_amended_margin(self, account: Account, order: Order, price: Decimal, quantity: Decimal) -> None:
        """Margin as if the amended order were new and the old one gone."""
        if order.reduce_only:
            return
        request = OrderRequest(
            symbol=order.symbol,
            side=order.side,
            kind="LIMIT",
            quantity=quantity - order.executed,
            client_id=order.client_id,
            price=price,
            position_side=order.position_side,
        )
        del account.open_orders[order.id]
        try:
            one = self.instruments[order.symbol]
            if not checks.is_reducing(request):
                checks.check_margin(account, one, request, self.books[order.symbol], self.mark)
        finally:
            account.open_orders[order.id] = order

    def _take(self, account: Account, order: Order, now_ms: int) -> None:
        """Match an order that has just come in, level by level."""
        book = self.books[order.symbol]
        limit = order.price
        if order.kind == "MARKET":
            band = self.instruments[order.symbol].band
            limit = book.mark * (1 + order.side * band)
        found = book.reachable(order.side, self._most(account, order), limit)
        book.take(order.side, found, now_ms)
        for price, quantity in found:
            if not order.is_open:
                return
            self.fill(account, order, price, quantity, now_ms, maker=False)

    def _most(self, account: Account, order: Order) -> Decimal:
        """How much of an order may fill now: a reduce-only one never beyond its position."""
        if not order.reduce_only and order.position_side == "BOTH":
            return order.left
        held = account.position(order.symbol, order.position_side).quantity
        if order.position_side != "BOTH" and (order.side > 0) == (order.position_side == "LONG"):
            return order.left
        return min(order.left, abs(held)) if (held > 0) != (order.side > 0) else ZERO

    def _knock_out(self, account: Account, symbol: str, side: str, now_ms: int) -> None:
        """End the resting reduce-only orders that have nothing left to reduce."""
        held = account.position(symbol, side).quantity
        for order in list(account.open_orders.values()):
            if order.symbol != symbol or order.position_side != side:
                continue
            closing = order.reduce_only or (side != "BOTH" and (order.side > 0) == (side == "SHORT"))
            if closing and (not held or (held > 0) == (order.side > 0)):
                self.end(account, order, "EXPIRED", now_ms, Expiry.REDUCE_ONLY)

    def _forget(self, account: Account, order: Order) -> None:
        account.open_orders.pop(order.id, None)
        self.resting[order.symbol].pop(order.id, None)
