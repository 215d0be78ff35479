"""The order endpoints of Bybit v5: create, amend, cancel, query.

An answer says that a request was received. The matching engine gets it a few milliseconds later, and what it makes of
it is told on the order stream alone.
"""

import re
from collections.abc import Callable
from typing import Any

from msgspec import structs

from adapters.simulator.account import Account
from adapters.simulator.book import BUY, SELL
from adapters.simulator.bybit_call import Call, Endpoint, Params, View
from adapters.simulator.bybit_errors import REJECTIONS, of_rejection, parameter
from adapters.simulator.bybit_views import order_row
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import ZERO, Order, OrderRequest, Reason, Rejected
from adapters.simulator.wire import WireError

_LINK = re.compile(r"[A-Za-z0-9_-]{1,36}")
_IN_FORCE = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "GTX"}
_ROWS = {0: "BOTH", 1: "LONG", 2: "SHORT"}
_SELF_TRADE = ("None", "CancelMaker", "CancelTaker", "CancelBoth")
_BATCH = 20
_RECENT = 500
_FORGOTTEN_MS = 86_400_000


def _parse(call: Call, name: str) -> OrderRequest:
    """The order a request describes, as far as words go; the exchange judges the numbers."""
    params, one = call.params, call.listing()
    side = {"Buy": BUY, "Sell": SELL}.get(params.text("side"))
    kind = {"Limit": "LIMIT", "Market": "MARKET"}.get(params.text("orderType"))
    if side is None or kind is None:
        raise parameter("side or orderType invalid")
    in_force = _IN_FORCE.get(params.text("timeInForce", "GTC"))
    row = _ROWS.get(params.integer("positionIdx", 0))
    if in_force is None or row is None:
        raise parameter("timeInForce or positionIdx invalid")
    if params.text("smpType", "None") not in _SELF_TRADE:
        raise parameter("smpType invalid")
    link = params.text("orderLinkId", "")
    if link and not _LINK.fullmatch(link):
        raise parameter("orderLinkId invalid")
    return OrderRequest(
        symbol=one.symbol,
        side=side,
        kind=kind,
        quantity=params.number("qty"),
        client_id=link or name,
        price=_price(call, one, side) if kind == "LIMIT" else None,
        time_in_force=in_force if kind == "LIMIT" else "GTC",
        reduce_only=params.flag("reduceOnly"),
        position_side=row,
    )


def _price(call: Call, one: Instrument, side: int) -> Any:
    """The limit price; one out of range is moved to the nearest that is in it, without a word."""
    price = call.params.number("price")
    mark = call.exchange.books[one.symbol].mark
    if not call.side.moves_prices or price <= 0:
        return price
    if side == BUY:
        return min(price, mark * (1 + one.band) // one.tick * one.tick)
    return max(price, -(-mark * (1 - one.band) // one.tick) * one.tick)


def _create_one(call: Call) -> View:
    """Take an order in, as far as can be seen from outside of the matching engine."""
    name = call.side.next_name()
    request, account = _parse(call, name), call.account
    if call.side.knows(account, request.client_id):
        raise Rejected(Reason.CLIENT_ID_IN_USE)
    if request.reduce_only and request.position_side != "BOTH":
        request = structs.replace(request, reduce_only=False)  # the row says what reduces
        if (request.side == BUY) != (request.position_side == "SHORT"):
            raise Rejected(Reason.REDUCE_ONLY)
    try:
        call.exchange.matcher.admit(account, request)
    except Rejected as failed:
        if failed.reason is not Reason.CANNOT_FILL:
            raise
    call.side.take_in(account, request, name)
    call.side.later(lambda at_ms: _match(call, account, request, at_ms))
    return {"orderId": name, "orderLinkId": call.params.text("orderLinkId", "")}


def _match(call: Call, account: Account, request: OrderRequest, now_ms: int) -> None:
    """The matching engine has the order."""
    try:
        call.exchange.place(account, request)
    except Rejected as failed:
        order = Order(
            id=0,
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
            status="EXPIRED" if failed.reason is Reason.CANNOT_FILL else "REJECTED",
        )
        call.exchange.ledger.reject(account.api_key, of_rejection(failed).code)
        call.side.turn_down(order, REJECTIONS.get(failed.reason, "EC_Others"))


def _create(call: Call) -> View:
    return _create_one(call)


def _found(call: Call) -> Order:
    """The account's order by `orderId` or `orderLinkId`, the first of which wins."""
    order = call.side.find(call.account, call.params.text("orderId", ""), call.params.text("orderLinkId", ""))
    if "orderId" not in call.params and "orderLinkId" not in call.params:
        raise parameter("orderId or orderLinkId is missing")
    if order is None or order.symbol != call.listing().symbol or not order.is_open:
        raise Rejected(Reason.UNKNOWN_ORDER)
    return order


def _ids(call: Call, order: Order) -> View:
    name, link = call.side.names_of(order)
    return {"orderId": name, "orderLinkId": link}


def _cancel_one(call: Call) -> View:
    order = _found(call)
    call.side.later(lambda at_ms: _end(call, order, at_ms))
    return _ids(call, order)


def _end(call: Call, order: Order, now_ms: int) -> None:
    """The matching engine cancels; an order that was filled meanwhile is told to be so once more."""
    if order.is_open:
        call.exchange.matcher.cancel(call.account, order, now_ms)
    elif order.status == "FILLED":
        call.side.streams.tell_late(order)


def _cancel(call: Call) -> View:
    return _cancel_one(call)


def _amend_one(call: Call) -> View:
    order = _found(call)
    price = call.params.number("price") if "price" in call.params else order.price
    quantity = call.params.number("qty") if "qty" in call.params else order.quantity
    if (price, quantity) == (order.price, order.quantity):
        raise Rejected(Reason.NOTHING_TO_AMEND)
    if quantity <= order.executed:
        raise WireError(110064, "The new order quantity is less than or equal to the filled quantity.")

    def amend(now_ms: int) -> None:
        if order.is_open:
            try:
                call.exchange.matcher.amend(call.account, order, price, quantity, now_ms)
            except Rejected:
                call.exchange.ledger.reject(call.account.api_key, 110003)

    call.side.later(amend)
    return _ids(call, order)


def _amend(call: Call) -> View:
    return _amend_one(call)


def _cancel_all(call: Call) -> View:
    if not any(name in call.params for name in ("symbol", "baseCoin", "settleCoin")) and call.category() == "linear":
        raise parameter("symbol, baseCoin or settleCoin is missing")
    mine = [order for order in call.account.open_orders.values() if _is_about(call, order)][:_RECENT]
    for order in mine:
        call.side.later(lambda at_ms, order=order: _end(call, order, at_ms))  # type: ignore[misc]
    return {"list": [_ids(call, order) for order in mine], "success": "1"}


def _is_about(call: Call, order: Order) -> bool:
    """Whether an order is of the symbol, or of the coins, that are asked for."""
    one = call.exchange.instruments[order.symbol]
    return (
        one in call.listings()
        and call.params.text("symbol", "") in ("", call.side.spell(one))
        and call.params.text("settleCoin", "") in ("", one.asset)
        and call.params.text("baseCoin", "") in ("", one.base)
    )


def _each(call: Call, act: Callable[[Call], View]) -> View:
    """The same act for each row: what became of each stands beside the list."""
    rows = call.params.values.get("request")
    if not isinstance(rows, list) or not 0 < len(rows) <= _BATCH:
        raise parameter("request invalid")
    answers: list[View] = []
    ends: list[View] = []
    for row in rows:
        given = row if isinstance(row, dict) else {}
        one = Call(call.side, call.key, Params({**given, "category": call.category()}), call.now_ms)
        names = {"category": call.category(), "symbol": str(given.get("symbol", ""))}
        try:
            answers.append({**names, **act(one), "createAt": str(call.now_ms)})
            ends.append({"code": 0, "msg": "OK"})
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            call.exchange.ledger.reject(call.account.api_key, error.code)
            link = str(given.get("orderLinkId", ""))
            answers.append({**names, "orderId": "", "orderLinkId": link, "createAt": ""})
            ends.append({"code": error.code, "msg": error.message})
    call.extra = {"list": ends}
    return {"list": answers}


def _create_batch(call: Call) -> View:
    return _each(call, _create_one)


def _amend_batch(call: Call) -> View:
    return _each(call, _amend_one)


def _cancel_batch(call: Call) -> View:
    return _each(call, _cancel_one)


def _rows(call: Call, orders: list[Order]) -> View:
    rows = [
        order_row(
            order,
            call.exchange.instruments[order.symbol],
            call.side.spell,
            *call.side.names_of(order),
            call.side.reason_of(order),
        )
        for order in orders
    ]
    return {**call.page(rows, 20, 50), "category": call.category()}


def _mine(call: Call) -> list[Order]:
    """The account's orders, those that were turned down as well, newest first."""
    orders = [order for order in call.exchange.ledger.orders.values() if order.account == call.account.api_key]
    orders += [order for order in call.side.turned_down if order.account == call.account.api_key]
    return sorted(orders, key=lambda order: order.created_ms, reverse=True)


def _asked(call: Call) -> Callable[[Order], bool]:
    """Whether an order is asked for by one of its names; all are where none is given."""
    name, link = call.params.text("orderId", ""), call.params.text("orderLinkId", "")
    return lambda order: name in ("", call.side.names_of(order)[0]) and link in ("", call.side.names_of(order)[1])


def _realtime(call: Call) -> View:
    """Open orders; by its name, or with `openOnly`, an order among the last ones that have ended as well."""
    named = "orderId" in call.params or "orderLinkId" in call.params
    about = any(name in call.params for name in ("symbol", "baseCoin", "settleCoin"))
    if not named and not about and call.category() == "linear":
        raise parameter("symbol, baseCoin or settleCoin is missing")
    asked = _asked(call)
    orders = [order for order in _mine(call) if _is_about(call, order)]
    found = [order for order in orders if order.is_open]
    if named or call.params.integer("openOnly", 0) == 1:
        ended = [order for order in orders if not order.is_open][:_RECENT]
        found = [*found, *ended] if named else ended
    return _rows(call, [order for order in found if asked(order)])


def _history(call: Call) -> View:
    """Orders in any state; one that ended without a fill is forgotten after a day."""
    start_ms, end_ms = call.params.span()
    asked = _asked(call)
    orders = [
        order
        for order in _mine(call)
        if _is_about(call, order)
        and asked(order)
        and start_ms <= order.created_ms <= end_ms
        and (order.is_open or order.executed or call.now_ms - order.updated_ms <= _FORGOTTEN_MS)
    ]
    return _rows(call, orders)


ORDERS = {
    ("POST", "/v5/order/create"): Endpoint(_create, "create", orders=True),
    ("POST", "/v5/order/amend"): Endpoint(_amend, "amend", orders=True),
    ("POST", "/v5/order/cancel"): Endpoint(_cancel, "cancel", orders=True),
    ("POST", "/v5/order/cancel-all"): Endpoint(_cancel_all, "cancel all", orders=True),
    ("POST", "/v5/order/create-batch"): Endpoint(_create_batch, "create batch", orders=True),
    ("POST", "/v5/order/amend-batch"): Endpoint(_amend_batch, "amend batch", orders=True),
    ("POST", "/v5/order/cancel-batch"): Endpoint(_cancel_batch, "cancel batch", orders=True),
    ("GET", "/v5/order/realtime"): Endpoint(_realtime, "open orders"),
    ("GET", "/v5/order/history"): Endpoint(_history, "order history"),
}
"""Order endpoints, all signed."""
