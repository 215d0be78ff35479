"""The order endpoints of Binance USDⓈ-M: place, amend, cancel, query."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from adapters.simulator.account import Account
from adapters.simulator.binance_call import Call, Endpoint, Params, flat, per_symbol
from adapters.simulator.binance_errors import missing, not_needed, not_valid, of_rejection
from adapters.simulator.binance_views import View, order_reply, order_view
from adapters.simulator.book import BUY, SELL
from adapters.simulator.checks import grid_price
from adapters.simulator.orders import Order, OrderRequest, Reason, Rejected
from adapters.simulator.wire import WireError

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_CONDITIONAL = (
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
)
_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
_PRICE_MATCHES = {"OPPONENT": 0, "OPPONENT_5": 4, "QUEUE": 0, "QUEUE_5": 4}
_SELF_TRADE = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "NONE")
_LEAST_GTD_MS = 600_000
_MOST_GTD_MS = 253_402_300_799_000
_FORGOTTEN_MS = 3 * 86_400_000
_BATCH = 5
_CANCEL_BATCH = 10


def _parse(call: Call, params: Params) -> OrderRequest:
    """The order a request describes, as far as words go; the exchange judges the numbers."""
    symbol = _symbol(call, params)
    side = {"BUY": BUY, "SELL": SELL}.get(params.text("side"))
    if side is None:
        raise WireError(-1117, "Invalid side.")
    kind = params.text("type")
    if kind in _CONDITIONAL:
        raise WireError(
            -4120,
            "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
        )
    if kind not in ("LIMIT", "MARKET"):
        raise WireError(-1116, "Invalid orderType.")
    in_force, price, match = "GTC", None, "NONE"
    if kind == "LIMIT":
        in_force = _in_force(params)
        price, match = _price(call, params, symbol, side)
    elif "price" in params:
        raise not_needed("price")
    elif "timeInForce" in params:
        raise not_needed("timeInForce")
    position_side = params.text("positionSide", "BOTH")
    if position_side not in ("BOTH", "LONG", "SHORT"):
        raise WireError(-4060, "Invalid position side.")
    if "reduceOnly" in params and call.account.hedge:
        raise not_needed("reduceonly")
    self_trade = params.text("selfTradePreventionMode", "EXPIRE_MAKER")
    if self_trade not in _SELF_TRADE:
        raise WireError(-5039, "Invalid self trade prevention mode")
    return OrderRequest(
        symbol=symbol,
        side=side,
        kind=kind,
        quantity=params.number("quantity"),
        client_id=_client_id(call, params),
        price=price,
        time_in_force=in_force,
        reduce_only=params.flag("reduceOnly"),
        position_side=position_side,
        self_trade=self_trade,
        price_match=match,
        good_till_ms=_good_till(params, in_force, call.now_ms),
    )


def _symbol(call: Call, params: Params) -> str:
    symbol = params.text("symbol")
    if symbol not in call.exchange.books:
        raise WireError(-1121, "Invalid symbol.")
    return symbol


def _in_force(params: Params) -> str:
    in_force = params.text("timeInForce")
    if in_force not in _IN_FORCE:
        raise WireError(-1115, "Invalid timeInForce.")
    return in_force


def _price(call: Call, params: Params, symbol: str, side: int) -> tuple[Decimal, str]:
    """The limit price, given or matched to a level of the book."""
    match = params.text("priceMatch", "NONE")
    if match == "NONE":
        return params.number("price"), match
    if match not in _PRICE_MATCHES:
        raise WireError(-5037, "Invalid price match")
    if "price" in params:
        raise not_needed("price")
    levels = call.exchange.books[symbol].levels(-side if match.startswith("OPP") else side)
    if not levels:
        raise Rejected(Reason.BAND_MARKET)
    level = levels[min(_PRICE_MATCHES[match], len(levels) - 1)]
    return grid_price(call.listing(symbol), level[0]), match


def _client_id(call: Call, params: Params) -> str:
    given = params.get("newClientOrderId")
    if given is None:
        return f"auto{call.exchange.random.getrandbits(88):022x}"
    if not _CLIENT_ID.fullmatch(given):
        raise WireError(-4015, "Client order id is not valid.")
    return given


def _good_till(params: Params, in_force: str, now_ms: int) -> int:
    if in_force != "GTD":
        return 0
    at_ms = params.integer("goodTillDate")
    if not now_ms + _LEAST_GTD_MS < at_ms < _MOST_GTD_MS:
        raise WireError(
            -5040,
            "The goodTillDate timestamp must be greater than the current time plus 600 seconds "
            "and smaller than 253402300799000",
        )
    return at_ms // 1000 * 1000


def _place_one(call: Call, params: Params) -> View:
    order = call.exchange.place(call.account, _parse(call, params))
    one = call.listing(order.symbol)
    view = order_reply(order, one)
    waits = order.kind == "MARKET" or order.time_in_force in ("IOC", "FOK", "GTX")
    if not (waits and params.text("newOrderRespType", "ACK") == "RESULT"):
        zero = f"{Decimal(0):.{one.quantity_decimals}f}"
        view.update(status="NEW", executedQty=zero, cumQty=zero, updateTime=order.created_ms)
    return view


def _place(call: Call) -> View:
    if call.params.text("newOrderRespType", "ACK") not in ("ACK", "RESULT"):
        raise not_valid("newOrderRespType")
    return _place_one(call, call.params)


def _test(call: Call) -> View:
    call.exchange.matcher.admit(call.account, _parse(call, call.params))
    return {}


def _each(call: Call, rows: list[Params], act: Callable[[Call, Params], View]) -> list[View]:
    """The same act for each row: an error takes the place of its result, the others go on."""
    answers: list[View] = []
    for row in rows:
        try:
            answers.append(act(call, row))
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            call.exchange.ledger.reject(call.account.api_key, error.code)
            answers.append({"code": error.code, "msg": error.message})
    return answers


def _rows(call: Call) -> list[Params]:
    """The orders of a batch: a JSON list of objects."""
    try:
        rows = msgspec.json.decode(call.params.text("batchOrders"), type=list[dict[str, Any]])
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise missing("batchOrders") from None
    if not 0 < len(rows) <= _BATCH:
        raise WireError(-4082, "Invalid number of batch place orders.")
    return [Params({name: _scalar(value) for name, value in row.items()}) for row in rows]


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _place_batch(call: Call) -> list[View]:
    return _each(call, _rows(call), _place_one)


def _find(call: Call, params: Params) -> Order | None:
    """The account's order by `orderId` or `origClientOrderId`; the newest of a re-used id."""
    _symbol(call, params)
    if "orderId" in params:
        found = call.exchange.ledger.orders.get(params.integer("orderId"))
    elif "origClientOrderId" in params:
        wanted = params.text("origClientOrderId")
        found = call.exchange.ledger.with_client_id(call.account.api_key, wanted)
    else:
        raise WireError(
            -1102,
            "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
        )
    if found is None or found.account != call.account.api_key:
        return None
    return found if found.symbol == params.text("symbol") else None


def _open_one(call: Call, params: Params) -> Order:
    order = _find(call, params)
    if order is None or not order.is_open:
        raise Rejected(Reason.UNKNOWN_ORDER)
    return order


def _amend_one(call: Call, params: Params) -> View:
    order = _open_one(call, params)
    if params.text("side", "BUY" if order.side > 0 else "SELL") not in ("BUY", "SELL"):
        raise WireError(-1117, "Invalid side.")
    if params.flag("reduceOnly") and not order.reduce_only:
        raise Rejected(Reason.AMEND_REDUCE_ONLY)
    modify_id = params.integer("modifyId", 0)
    price, quantity = params.number("price"), params.number("quantity")
    call.exchange.matcher.amend(call.account, order, price, quantity, call.now_ms, modify_id)
    view = order_reply(order, call.listing(order.symbol))
    return {**view, "pair": order.symbol, "modifyId": modify_id}


def _amend(call: Call) -> View:
    return _amend_one(call, call.params)


def _amend_batch(call: Call) -> list[View]:
    return _each(call, _rows(call), _amend_one)


def _cancel_one(call: Call, params: Params) -> View:
    order = _open_one(call, params)
    call.exchange.matcher.cancel(call.account, order, call.now_ms)
    return order_reply(order, call.listing(order.symbol))


def _cancel(call: Call) -> View:
    return _cancel_one(call, call.params)


def _cancel_batch(call: Call) -> list[View]:
    symbol = call.symbol()
    name, one = "orderIdList", "orderId"
    if name not in call.params:
        name, one = "origClientOrderIdList", "origClientOrderId"
    try:
        ids = msgspec.json.decode(call.params.text(name), type=list[int | str])
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise missing(name) from None
    if not 0 < len(ids) <= _CANCEL_BATCH:
        raise WireError(-4083, "Invalid number of batch cancel orders.")
    rows = [Params({"symbol": symbol, one: str(value)}) for value in ids]
    return _each(call, rows, _cancel_one)


def _cancel_all(call: Call) -> View:
    call.exchange.cancel_all(call.account, call.symbol())
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _countdown(call: Call) -> View:
    symbol = call.symbol()
    delay_ms = call.params.integer("countdownTime")
    if delay_ms < 0:
        raise not_valid("countdownTime")
    call.exchange.countdown(call.account, symbol, delay_ms)
    return {"symbol": symbol, "countdownTime": str(delay_ms)}


def _query(call: Call) -> View:
    """An order in any state; ended without a fill, it is forgotten after three days."""
    order = _find(call, call.params)
    gone = order is not None and (
        not order.is_open and not order.executed and call.now_ms - order.updated_ms > _FORGOTTEN_MS
    )
    if order is None or gone:
        raise WireError(-2013, "Order does not exist.")
    return order_view(order, call.listing(order.symbol))


def _query_open(call: Call) -> View:
    order = _find(call, call.params)
    if order is None or not order.is_open:
        raise WireError(-2013, "Order does not exist.")
    return order_view(order, call.listing(order.symbol))


def _open_orders(call: Call) -> list[View]:
    wanted = set(call.symbols())
    return [
        order_view(order, call.listing(order.symbol))
        for order in call.account.open_orders.values()
        if order.symbol in wanted
    ]


def _all_orders(call: Call) -> list[View]:
    symbol = call.symbol()
    start_ms, end_ms = call.params.span()
    limit = call.params.limit(500, 1000)
    first = call.params.integer("orderId", 0)
    found: list[Order] = []
    for order in reversed(call.exchange.ledger.orders.values()):
        if order.symbol == symbol and _is_within(call.account, order, start_ms, end_ms, first):
            found.append(order)
            if len(found) == limit:
                break
    return [
        {**order_view(order, call.listing(symbol)), "cumBase": str(order.executed), "pair": symbol}
        for order in reversed(found)
    ]


def _is_within(account: Account, order: Order, start_ms: int, end_ms: int, first: int) -> bool:
    return order.account == account.api_key and start_ms <= order.created_ms <= end_ms and order.id >= first


def _algo_orders(call: Call) -> list[View]:
    """Conditional orders are not simulated: there are never any."""
    return []


def _algo_unknown(call: Call) -> View:
    raise WireError(-2013, "Order does not exist.")


def _algo_refused(call: Call) -> View:
    raise WireError(-4045, "Reach max stop order limit.")


def _algo_cancelled(call: Call) -> View:
    call.symbol()
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def _signed(handle: Callable[[Call], Any], weight: int, orders: tuple[int, int] = (0, 0)) -> Endpoint:
    return Endpoint(handle, flat(weight), "SIGNED", orders)


ORDERS = {
    ("POST", "/fapi/v1/order"): _signed(_place, 0, (1, 1)),
    ("POST", "/fapi/v1/order/test"): _signed(_test, 0),
    ("PUT", "/fapi/v1/order"): _signed(_amend, 0, (1, 1)),
    ("DELETE", "/fapi/v1/order"): _signed(_cancel, 1),
    ("GET", "/fapi/v1/order"): _signed(_query, 1),
    ("POST", "/fapi/v1/batchOrders"): _signed(_place_batch, 5, (5, 1)),
    ("PUT", "/fapi/v1/batchOrders"): _signed(_amend_batch, 5, (5, 1)),
    ("DELETE", "/fapi/v1/batchOrders"): _signed(_cancel_batch, 1),
    ("DELETE", "/fapi/v1/allOpenOrders"): _signed(_cancel_all, 1),
    ("POST", "/fapi/v1/countdownCancelAll"): _signed(_countdown, 10),
    ("GET", "/fapi/v1/openOrder"): _signed(_query_open, 1),
    ("GET", "/fapi/v1/openOrders"): Endpoint(_open_orders, per_symbol(1, 40), "SIGNED"),
    ("GET", "/fapi/v1/allOrders"): _signed(_all_orders, 5),
    ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(_algo_orders, per_symbol(1, 40), "SIGNED"),
    ("GET", "/fapi/v1/allAlgoOrders"): _signed(_algo_orders, 5),
    ("GET", "/fapi/v1/algoOrder"): _signed(_algo_unknown, 1),
    ("POST", "/fapi/v1/algoOrder"): _signed(_algo_refused, 0),
    ("DELETE", "/fapi/v1/algoOrder"): _signed(_algo_unknown, 1),
    ("DELETE", "/fapi/v1/algoOpenOrders"): _signed(_algo_cancelled, 1),
}
"""Order endpoints, all signed."""
