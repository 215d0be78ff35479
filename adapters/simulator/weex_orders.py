"""The order endpoints of WEEX V3: place, cancel, close, query."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from adapters.simulator.book import BUY, SELL
from adapters.simulator.orders import Order, OrderRequest, Reason, Rejected
from adapters.simulator.weex_call import ID_BASE, Call, Endpoint, Params, View, empty, refusal_of
from adapters.simulator.weex_views import order_view, position_id, venue_id
from adapters.simulator.wire import WireError

_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_BUYS: Final = {"BUY": BUY, "SELL": SELL}
_IN_FORCE: Final = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "POST_ONLY": "GTX"}
_BATCH: Final = 10
_OPEN_PAGE: Final = 100
_HISTORY_PAGE: Final = 1_000
_HISTORY_MS: Final = 90 * 86_400_000


def _parse(call: Call) -> OrderRequest:
    """The order a request describes, as far as words go; the exchange judges the numbers.

    What the venue has no such field for is not looked at, `reduceOnly` as little as anything else.
    """
    params = call.params
    symbol, side = call.symbol(), params.choice("side", _BUYS, -1117)
    position_side = params.choice("positionSide", {"LONG": "LONG", "SHORT": "SHORT"})
    kind = params.choice("type", {"LIMIT": "LIMIT", "MARKET": "MARKET"}, -1116)
    in_force, price = "GTC", None
    if kind == "LIMIT":
        in_force, price = params.choice("timeInForce", _IN_FORCE, -1115), params.number("price")
    elif "timeInForce" in params:
        raise WireError(-1115, "timeInForce is invalid.")
    client_id = params.get("newClientOrderId")
    if client_id is None:
        raise empty("newClientOrderId")
    if not _CLIENT_ID.fullmatch(client_id):
        raise WireError(-1180, "client_oid length must not exceed 36 and must not contain special characters.")
    return OrderRequest(
        symbol=symbol,
        side=side,
        kind=kind,
        quantity=params.number("quantity"),
        client_id=client_id,
        price=price,
        time_in_force=in_force,
        position_side=position_side,
    )


def _result(order: Order | None, name: str, client_id: str, refused: tuple[int, str] | None = None) -> View:
    """What became of an order, under HTTP 200 in any case."""
    code, message = ("", "") if refused is None else (str(refused[0]), refused[1])
    return {
        "orderId": "0" if order is None else str(venue_id(order.id)),
        name: client_id,
        "success": refused is None,
        "errorCode": code,
        "errorMessage": message,
    }


def _place(call: Call) -> View:
    """Ids are used once: one that an order has had already is refused."""
    request = _parse(call)
    try:
        if call.exchange.ledger.with_client_id(call.account.api_key, request.client_id) is not None:
            raise Rejected(Reason.CLIENT_ID_IN_USE)
        order = call.exchange.place(call.account, request)
    except Rejected as rejected:
        refused = refusal_of(rejected)
        call.exchange.ledger.reject(call.account.api_key, refused[0])
        return _result(None, "clientOrderId", request.client_id, refused)
    return _result(order, "clientOrderId", request.client_id)


def _place_batch(call: Call) -> View:
    """Documented, and closed."""
    raise WireError(-1150, "Request method 'POST' not supported")


def _find(call: Call, params: Params) -> Order | None:
    """The account's order by the one id or the other."""
    if "orderId" in params:
        found = call.exchange.ledger.orders.get(params.integer("orderId") - ID_BASE)
    elif "origClientOrderId" in params:
        found = call.exchange.ledger.with_client_id(call.account.api_key, params.text("origClientOrderId"))
    else:
        raise WireError(-1140, "Either orderId or origClientOrderId must be sent.")
    return found if found is not None and found.account == call.account.api_key else None


def _cancel_one(call: Call, params: Params) -> View:
    order = _find(call, params)
    named = order.client_id if order else params.text("origClientOrderId", "0")
    if order is None or not order.is_open:
        return _result(order, "origClientOrderId", named, refusal_of(Rejected(Reason.UNKNOWN_ORDER)))
    call.exchange.matcher.cancel(call.account, order, call.now_ms)
    return _result(order, "origClientOrderId", named)


def _cancel(call: Call) -> View:
    return _cancel_one(call, call.params)


def _cancel_batch(call: Call) -> View:
    ids = [Params({"orderId": one}) for one in call.params.items("orderIdList")]
    ids += [Params({"origClientOrderId": one}) for one in call.params.items("origClientOrderIdList")]
    if not 0 < len(ids) <= _BATCH:
        raise WireError(-1140, f"between 1 and {_BATCH} ids must be sent.")
    return {"orderList": [_cancel_one(call, one) for one in ids]}


def _cancel_all(call: Call) -> list[View]:
    wanted = set(call.symbols())
    mine = [order for order in call.account.open_orders.values() if order.symbol in wanted]
    return [_cancel_one(call, Params({"orderId": str(venue_id(order.id))})) for order in mine]


def _close(call: Call) -> list[View]:
    """Close positions at market, all of them or those of a symbol."""
    wanted = set(call.symbols())
    results: list[View] = []
    for held in [one for one in call.account.held() if one.symbol in wanted]:
        number = position_id(call.exchange, held)
        request = OrderRequest(
            symbol=held.symbol,
            side=SELL if held.quantity > 0 else BUY,
            kind="MARKET",
            quantity=abs(held.quantity),
            client_id=f"close{call.exchange.random.getrandbits(64):016x}",
            position_side=held.side,
        )
        try:
            order = call.exchange.place(call.account, request)
        except Rejected as rejected:
            refused = refusal_of(rejected)[1]
            results.append({"positionId": number, "success": False, "successOrderId": 0, "errorMessage": refused})
        else:
            done = {"positionId": number, "success": True, "successOrderId": venue_id(order.id), "errorMessage": ""}
            results.append(done)
    return results


def _query(call: Call) -> View:
    """An order in any state, by the venue's id alone."""
    call.params.integer("orderId")
    order = _find(call, call.params)
    if order is None:
        raise WireError(-3200, "Order does not exist.")
    return order_view(order)


def _newest(orders: Iterable[Order], start: int, limit: int) -> list[View]:
    found = sorted(orders, key=lambda order: -order.id)
    return [order_view(order) for order in found[start : start + limit]]


def _open_orders(call: Call) -> list[View]:
    wanted = set(call.symbols())
    start, limit = call.params.page(_OPEN_PAGE)
    return _newest((one for one in call.account.open_orders.values() if one.symbol in wanted), start, limit)


def _history(call: Call) -> list[View]:
    """Orders that have ended, the newest first."""
    wanted = set(call.symbols())
    start, limit = call.params.page(_HISTORY_PAGE)
    start_ms, end_ms = call.params.span()
    if start_ms and min(end_ms, call.now_ms) - start_ms > _HISTORY_MS:
        raise WireError(-1170, "Time range cannot exceed 90 days.")
    ended = (
        order
        for order in call.exchange.ledger.orders.values()
        if order.account == call.account.api_key
        and not order.is_open
        and order.symbol in wanted
        and start_ms <= order.created_ms <= end_ms
    )
    return _newest(ended, start, limit)


def _no_algo_orders(call: Call) -> list[View]:
    """Conditional orders are not simulated: there are never any."""
    return []


def _signed(handle: Callable[[Call], Any], weight: int, *, trades: bool = False, places: bool = False) -> Endpoint:
    return Endpoint(handle, weight, trades=trades, places=places)


ORDERS = {
    ("POST", "/capi/v3/order"): _signed(_place, 2, trades=True, places=True),
    ("POST", "/capi/v3/batchOrders"): _signed(_place_batch, 5, trades=True),
    ("DELETE", "/capi/v3/order"): _signed(_cancel, 1, trades=True),
    ("DELETE", "/capi/v3/batchOrders"): _signed(_cancel_batch, 5, trades=True),
    ("DELETE", "/capi/v3/allOpenOrders"): _signed(_cancel_all, 5, trades=True),
    ("POST", "/capi/v3/closePositions"): _signed(_close, 40, trades=True),
    ("GET", "/capi/v3/order"): _signed(_query, 2),
    ("GET", "/capi/v3/openOrders"): _signed(_open_orders, 2),
    ("GET", "/capi/v3/order/history"): _signed(_history, 10),
    ("GET", "/capi/v3/openAlgoOrders"): _signed(_no_algo_orders, 3),
    ("DELETE", "/capi/v3/algoOpenOrders"): _signed(_no_algo_orders, 5, trades=True),
}
"""Order endpoints, all signed."""
