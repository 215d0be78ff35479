"""The order endpoints of BingX's perpetuals: place, cancel, query, and the dead man's switch."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from adapters.simulator.bingx_account import check_side
from adapters.simulator.bingx_call import SWAP, Call, Endpoint, Params, scalar
from adapters.simulator.bingx_errors import WireError, bad, of_rejection
from adapters.simulator.bingx_views import ID_BASE, NAMELESS, View, fill_view, order_view, placed_view
from adapters.simulator.orders import Order, OrderRequest, Rejected

_SIDES: Final = {"BUY": 1, "SELL": -1}
_IN_FORCE: Final = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "PostOnly": "GTX"}
_BATCH: Final = 5
_CANCEL_BATCH: Final = 10
_LONGEST_ID: Final = 40
_SWITCH_S: Final = (10, 120)
_ID: Final = ("clientOrderId", "clientOrderID")


def _parse(call: Call, params: Params) -> OrderRequest:
    """The order a request describes. Digits beyond the grid are cut, as at the venue, and not refused."""
    one, kind = call.named(params.text("symbol")), params.text("type")
    side = _SIDES.get(params.text("side"))
    if side is None or kind not in ("LIMIT", "MARKET"):
        raise bad("side" if side is None else "type")
    in_force, price = "GTC", None
    if kind == "LIMIT":
        in_force = _IN_FORCE.get(params.text("timeInForce", "GTC"), "")
        if not in_force:
            raise bad("timeInForce")
        price = params.number("price") // one.tick * one.tick
    position_side = params.text("positionSide", "BOTH")
    check_side(call.account, position_side)
    reduce_only = params.text("reduceOnly", "false") == "true"
    if reduce_only and call.account.hedge:
        raise bad("In the Hedge mode, the 'ReduceOnly' field can not be filled.")
    client_id = (params.get(*_ID) or "").lower()
    if len(client_id) > _LONGEST_ID:
        raise bad("clientOrderId")
    if client_id and call.exchange.ledger.with_client_id(call.account.api_key, client_id):
        raise WireError(101481, "The clientOrderId already exists.")
    return OrderRequest(
        symbol=one.symbol,
        side=side,
        kind=kind,
        quantity=params.number("quantity") // one.step * one.step,
        client_id=client_id or f"{NAMELESS}{call.exchange.random.getrandbits(80):020x}",
        price=price,
        time_in_force=in_force,
        reduce_only=reduce_only,
        position_side=position_side,
    )


def _placed(call: Call, params: Params) -> View:
    order = call.exchange.place(call.account, _parse(call, params))
    return placed_view(order, call.exchange.instruments[order.symbol])


def _place(call: Call) -> View:
    return {"order": _placed(call, call.params)}


def _test(call: Call) -> View:
    request = call.exchange.matcher.admit(call.account, _parse(call, call.params))
    return {"order": {"symbol": call.params.text("symbol"), "type": request.kind}}


def _place_batch(call: Call) -> View:
    try:
        rows = msgspec.json.decode(call.params.text("batchOrders"), type=list[dict[str, Any]])
    except msgspec.MsgspecError:
        raise bad("batchOrders") from None
    if not 0 < len(rows) <= _BATCH:
        raise bad(f"batchOrders holds 1 to {_BATCH} orders")
    answers: list[View] = []
    for row in rows:
        params = Params({name: scalar(value) for name, value in row.items()})
        try:
            answers.append(_placed(call, params))
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            call.exchange.ledger.reject(call.account.api_key, error.code)
            whose = {"symbol": params.get("symbol"), "orderId": 0, "clientOrderId": params.get(*_ID) or ""}
            answers.append({**whose, "code": error.code, "msg": error.message})
    return {"orders": answers}


def _find(call: Call, params: Params) -> Order:
    one, client_id = call.one(), params.get(*_ID)
    if params.get("orderId"):
        found = call.exchange.ledger.orders.get(params.integer("orderId") - ID_BASE)
    elif client_id:
        found = call.exchange.ledger.with_client_id(call.account.api_key, client_id.lower())
    else:
        raise bad("orderId or clientOrderId is required")
    if found is None or found.account != call.account.api_key or found.symbol != one.symbol:
        raise WireError(109421, "order not exist")
    return found


def _cancel_one(call: Call, params: Params) -> View:
    order = _find(call, params)
    if not order.is_open:
        raise WireError(80018, "order is already filled" if order.status == "FILLED" else "order is already closed")
    call.exchange.matcher.cancel(call.account, order, call.now_ms)
    return order_view(order, call.one())


def _cancel(call: Call) -> View:
    return {"order": _cancel_one(call, call.params)}


def _cancel_batch(call: Call) -> View:
    """Some orders by their ids: what fails is said apart from what succeeds."""
    name, one = ("orderIdList", "orderId") if call.params.get("orderIdList") else ("clientOrderIdList", _ID[0])
    try:
        ids = msgspec.json.decode(call.params.text(name), type=list[int | str])
    except msgspec.MsgspecError:
        raise bad(name) from None
    if not 0 < len(ids) <= _CANCEL_BATCH:
        raise bad(f"{name} holds 1 to {_CANCEL_BATCH} orders")
    done: list[View] = []
    failed: list[View] = []
    for id_ in ids:
        try:
            done.append(_cancel_one(call, Params({one: str(id_)})))
        except WireError as error:
            failed.append({one: id_, "errorCode": error.code, "errorMessage": error.message})
    return {"success": done, "failed": failed or None}


def _cancel_all(call: Call) -> View:
    done: list[View] = []
    for symbol, one in call.ones().items():
        mine = [order for order in call.account.open_orders.values() if order.symbol == symbol]
        call.exchange.cancel_all(call.account, symbol)
        done += [order_view(order, one) for order in mine]
    return {"success": done, "failed": None}


def _switch(call: Call) -> View:
    """The dead man's switch of the whole account."""
    kind, wait_s = call.params.text("type"), call.params.integer("timeOut", 0)
    least, most = _SWITCH_S
    if kind not in ("ACTIVATE", "CLOSE") or (kind == "ACTIVATE" and not least <= wait_s <= most):
        raise bad("timeOut")
    armed = kind == "ACTIVATE"
    for symbol in call.exchange.books:
        call.exchange.countdown(call.account, symbol, wait_s * 1_000 if armed else 0)
    status = "ACTIVATED" if armed else "CLOSED"
    return {"triggerTime": str(call.now_ms // 1_000 + wait_s), "status": status, "note": ""}


def _query(call: Call) -> View:
    return {"order": order_view(_find(call, call.params), call.one())}


def _query_open(call: Call) -> View:
    order = _find(call, call.params)
    if not order.is_open:
        raise WireError(109421, "order not exist")
    return {"order": order_view(order, call.one())}


def _open_orders(call: Call) -> View:
    wanted = call.ones()
    mine = [order for order in call.account.open_orders.values() if order.symbol in wanted]
    return {"orders": [order_view(order, wanted[order.symbol]) for order in mine]}


def _all_orders(call: Call) -> View:
    wanted, limit = call.ones(), call.params.integer("limit", 500)
    mine = [
        order
        for order in call.exchange.ledger.orders.values()
        if order.account == call.account.api_key and order.symbol in wanted
    ]
    return {"orders": [order_view(order, wanted[order.symbol]) for order in mine[-limit:]]}


def _fills(name: str) -> Callable[[Call], View]:
    def answer(call: Call) -> View:
        wanted, own = call.ones(), call.account.api_key
        mine = [fill for fill in call.exchange.ledger.fills if fill.account == own and fill.symbol in wanted]
        rows = [fill_view(fill, wanted[fill.symbol]) for fill in mine[-500:]]
        return {name: rows, "total": len(rows)}

    return answer


ORDERS = {
    ("POST", f"{SWAP}/v2/trade/order"): Endpoint(_place, 10),
    ("POST", f"{SWAP}/v2/trade/order/test"): Endpoint(_test, 5),
    ("POST", f"{SWAP}/v2/trade/batchOrders"): Endpoint(_place_batch, 5),
    ("DELETE", f"{SWAP}/v2/trade/order"): Endpoint(_cancel, 10),
    ("DELETE", f"{SWAP}/v2/trade/batchOrders"): Endpoint(_cancel_batch, 5),
    ("DELETE", f"{SWAP}/v2/trade/allOpenOrders"): Endpoint(_cancel_all, 5),
    ("POST", f"{SWAP}/v2/trade/cancelAllAfter"): Endpoint(_switch, 1),
    ("GET", f"{SWAP}/v2/trade/order"): Endpoint(_query, 30),
    ("GET", f"{SWAP}/v2/trade/openOrder"): Endpoint(_query_open, 5),
    ("GET", f"{SWAP}/v2/trade/openOrders"): Endpoint(_open_orders, 5),
    ("GET", f"{SWAP}/v2/trade/allOrders"): Endpoint(_all_orders, 5),
    ("GET", f"{SWAP}/v1/trade/fullOrder"): Endpoint(_all_orders, 5),
    ("GET", f"{SWAP}/v2/trade/allFillOrders"): Endpoint(_fills("fill_orders"), 5),
    ("GET", f"{SWAP}/v2/trade/fillHistory"): Endpoint(_fills("fill_history_orders"), 5),
}
"""What is about orders, all signed."""

TAKEN: Final = ("/v2/trade/order", "/v2/trade/batchOrders")
"""The ends of the paths whose refusals count as those of an order."""
