"""The order paths of MEXC's contract interface: place, cancel, amend, ask.

An order's side says whether it opens or closes. A closing order is never more than what is there to close, whatever the
position mode; and a second order under a known client id is the first one again, not another.
"""

from typing import Any

from adapters.simulator import checks
from adapters.simulator.account import Account
from adapters.simulator.book import BUY, SELL
from adapters.simulator.mexc_call import Call, Endpoint, Fields, Route
from adapters.simulator.mexc_errors import WireError, of_rejection
from adapters.simulator.mexc_views import View
from adapters.simulator.orders import Order, OrderRequest, Rejected

_LONGEST_ID = 32
_MOST_CANCELS = 50
_TYPES = {1: "GTC", 2: "GTX", 3: "IOC", 4: "FOK"}
_MARKET = (5, 6)
_BUYS = (1, 2)
_CLOSES = (2, 4)


def _create(call: Call) -> View:
    order = _place(call, call.params)
    return {"orderId": str(order.id), "ts": order.created_ms}


def _place(call: Call, fields: Fields) -> Order:
    account, symbol = call.account, call.listed(fields.text("symbol"))
    name = fields.text("externalOid", "") or f"_m_{call.exchange.random.getrandbits(88):022x}"
    if len(name) > _LONGEST_ID:
        raise WireError(2030)
    known = call.exchange.ledger.with_client_id(account.api_key, name)
    if known is not None:
        return known
    if symbol in call.views.barred:
        raise WireError(1002)
    request = _request(call, fields, account, symbol, name)
    _align(call, fields, account, request)
    return call.exchange.place(account, request)


def _request(call: Call, fields: Fields, account: Account, symbol: str, name: str) -> OrderRequest:
    side, kind = fields.integer("side"), fields.integer("type")
    if side not in (1, 2, 3, 4):
        raise WireError(2001)
    if kind not in _TYPES and kind not in _MARKET:
        raise WireError(2029)
    if "positionMode" in fields and (fields.integer("positionMode") == 1) != account.hedge:
        raise WireError(7002)
    if account.hedge and "reduceOnly" in fields:
        raise WireError(600, "Parameter error! reduceOnly is for one-way positions")
    buys, closes = side in _BUYS, side in _CLOSES or fields.flag("reduceOnly")
    row = "BOTH" if not account.hedge else "LONG" if buys is not closes else "SHORT"
    quantity = call.views.quantity(symbol, fields.number("vol"))
    request = OrderRequest(
        symbol=symbol,
        side=BUY if buys else SELL,
        kind="MARKET" if kind in _MARKET else "LIMIT",
        quantity=quantity,
        client_id=name,
        price=None if kind in _MARKET else fields.number("price"),
        time_in_force=_TYPES.get(kind, "GTC"),
        reduce_only=closes and not account.hedge,
        position_side=row,
    )
    if closes:
        _check_closing(call, fields, account, request)
    return request


def _check_closing(call: Call, fields: Fields, account: Account, request: OrderRequest) -> None:
    """There must be so much to close, in the position that is named if one is."""
    held = account.position(request.symbol, request.position_side)
    if not held.quantity or (held.quantity > 0) == (request.side == BUY):
        raise WireError(2009)
    if "positionId" in fields and call.views.numbered(account, fields.integer("positionId")) is not held:
        raise WireError(2009)
    if request.quantity > checks.reducible(account, request.symbol, request.position_side, request.side):
        raise WireError(2008)


def _align(call: Call, fields: Fields, account: Account, request: OrderRequest) -> None:
    """The kind of margin and the leverage of an order are those of its position; an empty symbol takes them over."""
    symbol, isolated = request.symbol, fields.integer("openType")
    if isolated not in (1, 2):
        raise WireError(2002)
    if isolated == 1 and "leverage" not in fields:
        raise WireError(2006)
    used = {held.symbol for held in account.held()} | {order.symbol for order in account.open_orders.values()}
    busy = symbol in used
    if (isolated == 1) != account.is_isolated(symbol):
        if busy:
            raise WireError(2027)
        call.exchange.set_isolated(account, symbol, isolated == 1)
    leverage = fields.integer("leverage", account.leverage(symbol))
    if leverage != account.leverage(symbol):
        if busy:
            raise WireError(2021)
        call.exchange.set_leverage(account, symbol, leverage)


def _named(call: Call, symbol: str, name: str) -> Order | None:
    order = call.exchange.ledger.with_client_id(call.account.api_key, name)
    return order if order is not None and order.symbol == symbol else None


def _own(call: Call, number: str) -> Order | None:
    order = call.exchange.ledger.orders.get(int(number)) if number.isdecimal() else None
    return order if order is not None and order.account == call.account.api_key else None


def _get(call: Call) -> View:
    return _shown(call, _own(call, call.parts[0]))


def _external(call: Call) -> View:
    return _shown(call, _named(call, call.listed(call.parts[0]), call.parts[1]))


def _shown(call: Call, order: Order | None) -> View:
    if order is None:
        raise WireError(2040)
    return call.views.order(order)


def _batch_query(call: Call) -> list[View]:
    numbers = call.params.text("order_ids").split(",")
    if len(numbers) > _MOST_CANCELS:
        raise WireError(2034)
    found = (_own(call, number) for number in numbers)
    return [call.views.order(order) for order in found if order is not None]


def _cancelled(call: Call, order: Order | None, number: object) -> View:
    """What becomes of one order of a list: an order that is gone is no failure of the request."""
    code = 2040 if order is None else 0
    if order is not None and not order.is_open:
        code = 2041
    elif order is not None:
        call.exchange.matcher.cancel(call.account, order, call.now_ms)
    text = WireError(code).message if code else "success"
    return {"orderId": order.id if order else number, "errorCode": code, "errorMsg": text}


def _cancel(call: Call) -> list[View]:
    if not isinstance(call.body, list):
        raise WireError(600)
    if len(call.body) > _MOST_CANCELS:
        raise WireError(2013)
    return [_cancelled(call, _own(call, str(number)), number) for number in call.body]


def _cancel_external(call: Call) -> list[View]:
    rows = call.objects()
    if len(rows) > _MOST_CANCELS:
        raise WireError(2013)
    found = [_named(call, call.listed(row.text("symbol")), row.text("externalOid")) for row in rows]
    return [_cancelled(call, order, 0) for order in found]


def _cancel_one_external(call: Call) -> None:
    order = _named(call, call.symbol(), call.params.text("externalOid"))
    row = _cancelled(call, order, 0)
    if row["errorCode"]:
        raise WireError(row["errorCode"])


def _cancel_all(call: Call) -> None:
    for symbol in call.symbols():
        call.exchange.cancel_all(call.account, symbol)


def _submit_batch(call: Call) -> list[View]:
    rows = call.objects()
    if not 0 < len(rows) <= _MOST_CANCELS:
        raise WireError(2014)
    answers: list[View] = []
    for row in rows:
        answer = {"externalOid": row.text("externalOid", ""), "errorCode": 0, "errorMsg": "success"}
        try:
            answers.append({**answer, "orderId": str(_place(call, row).id)})
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            call.exchange.ledger.reject(call.account.api_key, error.code)
            answers.append({**answer, "errorCode": error.code, "errorMsg": error.message})
    return answers


def _amend(call: Call) -> str:
    order = _own(call, call.params.text("orderId"))
    if order is None or not order.is_open:
        raise WireError(2040)
    quantity = call.views.quantity(order.symbol, call.params.number("vol"))
    call.exchange.matcher.amend(call.account, order, call.params.number("price"), quantity, call.now_ms)
    return str(order.id)


def _open_orders(call: Call) -> list[View]:
    wanted = {call.listed(call.parts[0])} if call.parts else set(call.symbols())
    mine = [order for order in call.account.open_orders.values() if order.symbol in wanted]
    return call.page([call.views.order(order) for order in reversed(mine)])


def _history(call: Call) -> list[View]:
    wanted = set(call.symbols())
    states = set(call.params.text("states", "1,2,3,4,5").split(","))
    start_ms, end_ms = call.params.integer("start_time", 0), call.params.integer("end_time", 1 << 62)
    rows = [
        call.views.order(order)
        for order in reversed(call.exchange.ledger.orders.values())
        if order.account == call.account.api_key and order.symbol in wanted and start_ms <= order.created_ms <= end_ms
    ]
    return call.page([row for row in rows if str(row["state"]) in states])


def _counts(call: Call) -> View:
    count = len(call.account.open_orders)
    kinds = {"stopOrderCount": 0, "planOrderCount": 0, "trackOrderCount": 0}
    return {"sumCount": count, "limitOrderCount": count, **kinds}


def _deals(call: Call) -> list[View]:
    """Fills, newest first."""
    wanted = {call.symbol()}
    start_ms, end_ms = call.params.integer("start_time", 0), call.params.integer("end_time", 1 << 62)
    rows = [
        {**call.views.deal(fill), "taker": not fill.maker}
        for fill in reversed(call.exchange.ledger.fills)
        if fill.account == call.account.api_key and fill.symbol in wanted and start_ms <= fill.at_ms <= end_ms
    ]
    return call.page(rows)


def _deal_details(call: Call) -> list[View]:
    order = _own(call, call.parts[0])
    if order is None:
        raise WireError(2040)
    return [
        {**call.views.deal(fill), "taker": not fill.maker}
        for fill in call.exchange.ledger.fills
        if fill.order_id == order.id
    ]


def _close_all(call: Call) -> None:
    for held in call.account.held():
        request = OrderRequest(
            symbol=held.symbol,
            side=SELL if held.quantity > 0 else BUY,
            kind="MARKET",
            quantity=abs(held.quantity),
            client_id=f"_m_{call.exchange.random.getrandbits(88):022x}",
            reduce_only=held.side == "BOTH",
            position_side=held.side,
        )
        call.exchange.place(call.account, request)


def _asks(handle: Any, most: int = 20) -> Endpoint:
    return Endpoint(handle, most=most)


def _acts(handle: Any, most: int = 20, *, places: bool = False) -> Endpoint:
    return Endpoint(handle, most=most, trades=True, places=places)


_BASE = "/api/v1/private"

ORDERS: dict[Route, Endpoint] = {
    ("POST", f"{_BASE}/order/create", 0): _acts(_create, 4, places=True),
    ("POST", f"{_BASE}/order/submit_batch", 0): _acts(_submit_batch, 4, places=True),
    ("POST", f"{_BASE}/order/change_limit_order", 0): _acts(_amend, 4, places=True),
    ("POST", f"{_BASE}/order/cancel", 0): _acts(_cancel),
    ("POST", f"{_BASE}/order/cancel_with_external", 0): _acts(_cancel_one_external),
    ("POST", f"{_BASE}/order/batch_cancel_with_external", 0): _acts(_cancel_external),
    ("POST", f"{_BASE}/order/cancel_all", 0): _acts(_cancel_all),
    ("POST", f"{_BASE}/position/close_all", 0): _acts(_close_all, 4),
    ("GET", f"{_BASE}/order/get", 1): _asks(_get),
    ("GET", f"{_BASE}/order/external", 2): _asks(_external),
    ("GET", f"{_BASE}/order/batch_query", 0): _asks(_batch_query, 5),
    ("GET", f"{_BASE}/order/list/open_orders", 0): _asks(_open_orders),
    ("GET", f"{_BASE}/order/list/open_orders", 1): _asks(_open_orders),
    ("GET", f"{_BASE}/order/list/history_orders", 0): _asks(_history),
    ("GET", f"{_BASE}/order/list/order_deals", 0): _asks(_deals),
    ("GET", f"{_BASE}/order/list/order_deals/v3", 0): _asks(_deals),
    ("GET", f"{_BASE}/order/deal_details", 1): _asks(_deal_details),
    ("GET", f"{_BASE}/order/open_order_total_count", 0): _asks(_counts),
    ("POST", f"{_BASE}/order/open_order_total_count", 0): _asks(_counts),
}
"""Paths about orders, after /api/v1/private."""
