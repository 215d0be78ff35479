"""Bybit's websocket for orders over the local exchange: requests in frames, each answered by one that echoes its id.

    {"reqId": "7", "header": {"X-BAPI-TIMESTAMP": …}, "op": "order.create", "args": [{"category": "linear", …}]}

An op is an endpoint of the REST interface under another name, with the same parameters, budgets and errors. The session
logs in once, and nothing is signed from then on.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters.simulator.bybit_call import Params, View

if TYPE_CHECKING:
    from adapters.simulator.bybit import Bybit
    from adapters.simulator.bybit_streams import Session

OPS: Final = {
    f"order.{act}{many}": f"/v5/order/{act}{many}" for act in ("create", "amend", "cancel") for many in ("", "-batch")
}
_LONGEST_ID = 36
_AHEAD_MS = 1_000


def answer(bybit: "Bybit", session: "Session", text: str | bytes, now_ms: int) -> bytes:
    """The answer to a message."""
    try:
        message = msgspec.json.decode(text)
    except msgspec.DecodeError:
        message = None
    told = _obey(bybit, session, message if isinstance(message, dict) else {}, now_ms)
    return msgspec.json.encode({**told, "connId": session.name})


def _obey(bybit: "Bybit", session: "Session", message: dict[str, Any], now_ms: int) -> View:
    op, args = str(message.get("op", "")), message.get("args")
    given = args if isinstance(args, list) else []
    if op == "ping":
        return {"retCode": 0, "retMsg": "OK", "op": "pong", "data": [str(now_ms)]}
    if op == "auth":
        if session.account is not None:
            return {"retCode": 20001, "retMsg": "Repeat auth", "op": op}
        wrong = bybit.streams.log_in(session, given, now_ms) if len(given) == 3 else "Params Error"
        return {"retCode": 10004 if wrong else 0, "retMsg": wrong or "OK", "op": op}
    headers: dict[str, str] = {"Timenow": str(now_ms), "Traceid": f"{session.number:08d}"}
    code, words, result, extra = _serve(bybit, session, message, headers, now_ms)
    told = {"reqId": str(message.get("reqId", "")), "retCode": code, "retMsg": words, "op": op}
    return {**told, "data": result, "retExtInfo": extra or {}, "header": headers}


def _serve(
    bybit: "Bybit", session: "Session", message: dict[str, Any], headers: dict[str, str], now_ms: int
) -> tuple[int, str, object, object]:
    """Code, words, result and what stands beside it."""
    name, op, given = str(message.get("reqId", "")), message.get("op"), message.get("args")
    head = message.get("header")
    head = head if isinstance(head, dict) else {}
    stamp, window = str(head.get("X-BAPI-TIMESTAMP", "")), str(head.get("X-BAPI-RECV-WINDOW", "5000"))
    if op not in OPS:
        return 10404, "op or category is not found", {}, None
    key = next((key for key in bybit.keys.values() if key.account.api_key == session.account), None)
    if key is None:
        return 10003, "API key is invalid.", {}, None
    if name in session.requests or len(name) > _LONGEST_ID:
        return 20006, "reqId is duplicated", {}, None
    session.requests.add(name)
    row = given[0] if isinstance(given, list) and len(given) == 1 else None
    if not stamp.isdecimal() or not window.isdecimal() or not isinstance(row, dict):
        return 10001, "params error: header or args invalid", {}, None
    if not now_ms - int(window) <= int(stamp) < now_ms + _AHEAD_MS:
        return 10002, f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]", {}, None
    served = bybit.serve("POST", OPS[op], Params(row), key, headers)
    return served.code, served.message, served.result, served.extra
