"""What the gateway must know of WEEX V3 to make it fail as the venue would: its requests, topics and errors."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from adapters.simulator import weex_streams
from adapters.simulator.side import Side
from adapters.simulator.weex_call import text_of
from adapters.simulator.wire import HTML, JSON, Reply, Topic, forged, mispriced, without

_ORDER, _BATCH = "/capi/v3/order", "/capi/v3/batchOrders"

_KINDS: Final = {
    ("POST", _ORDER): "order",
    ("DELETE", _ORDER): "cancel",
    ("DELETE", _BATCH): "cancel",
    ("DELETE", "/capi/v3/allOpenOrders"): "cancel",
    ("POST", _BATCH): "batch",
    ("POST", "/capi/v3/closePositions"): "order",
    ("GET", _ORDER): "query",
}
_KINDS_BY_PATH: Final = {
    "/capi/v3/openOrders": "orders",
    "/capi/v3/order/history": "orders",
    "/capi/v3/account/position/allPosition": "positions",
    "/capi/v3/account/position/singlePosition": "positions",
    "/capi/v3/account/balance": "account",
    "/capi/v3/market/exchangeInfo": "rules",
    "/capi/v3/market/apiTradingSymbols": "rules",
    "/capi/v3/account/commissionRate": "rules",
    "/capi/v3/market/time": "time",
    "/capi/v3/market/premiumIndex": "prices",
    "/capi/v3/market/depth": "prices",
    "/capi/v3/market/symbolPrice": "prices",
    "/capi/v3/market/ticker/bookTicker": "prices",
    "/capi/v3/market/ticker/24hr": "prices",
    "/capi/v3/userTrades": "history",
    "/capi/v3/account/income": "history",
    "/capi/v3/market/fundingRate": "history",
    "/capi/v3/account/accountConfig": "settings",
    "/capi/v3/account/symbolConfig": "settings",
    "/capi/v3/account/leverage": "settings",
    "/capi/v3/account/marginType": "settings",
    "/capi/v3/account/positionMargin": "settings",
}

_FAILURES: Final = {
    "unknown": (500, -1000),
    "timeout": (504, -1000),
    "overload": (503, -1054),
    "limit": (429, 429),
}

_TOPICS: Final = {
    "ticker": "mark",
    "depth": "quote",
    "depthSnapshot": "quote",
    "orders": "order",
    "fill": "order",
    "positions": "account",
    "account": "account",
}
_REQUIRED: Final = {
    "ticker": "m",
    "orders": "status",
    "fill": "fillValue",
    "positions": "size",
    "account": "coin",
}
"""A field of the first row of an event without which it says nothing."""
_WORDS: Final = {"orders": "status", "fill": "orderSide", "positions": "side"}


class _Row(Struct):
    symbol: str = ""


class _Rows(Struct):
    d: list[_Row]


class _Label(Struct):
    e: str = ""
    s: str = ""


_LABEL: Final = msgspec.json.Decoder(_Label)
_ROWS: Final = msgspec.json.Decoder(_Rows)


class WeexFaults(Side):
    """A side as far as the gateway must know it to make it fail as the venue would."""

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words."""
        return _KINDS.get((method, path)) or _KINDS_BY_PATH.get(path, "other")

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what; what makes each request different stands in its headers."""
        return headers.get("ACCESS-KEY") or "", path, without(query, "startTime=")

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure; how long to be silent is not among them."""
        if do == "unavailable":
            return Reply(503, HTML, b"<html>503 Service Unavailable</html>")
        status, usual = _FAILURES.get(do, (400, -1000))  # else "refuse" and "error inside 200"
        usual = usual if code is None else code
        text = "Too many requests" if usual == 429 else text_of(usual) or text_of(-1000)
        return Reply(status, JSON, msgspec.json.encode({"code": usual, "msg": text}))

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message."""
        try:
            number = msgspec.json.decode(text).get("id")
        except (msgspec.DecodeError, AttributeError):
            number = None
        return weex_streams.refusal(number, "INVALID_ARGUMENT: refused")

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about; what has no event is a ping or an answer."""
        label = _LABEL.decode(frame)
        what = _TOPICS.get(label.e)
        if what is None:
            return Topic("reply")
        if label.s:
            return Topic(what, label.s)
        rows = _ROWS.decode(frame).d
        return Topic(what, rows[0].symbol if rows else "")

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it; None where it has no place for that."""
        return forged(frame, do, lambda event: "e" in event and _alter(event, do, by, symbol))


def _alter(event: dict[str, Any], do: str, by: float, symbol: str) -> bool:
    """Put something wrong into an event; whether it has a place for it."""
    kind = event["e"]
    rows: list[dict[str, Any]] = event["d"] if isinstance(event["d"], list) else []
    match do:
        case "unknown":
            event["e"] = "somethingNew"
        case "new field":
            event["zz"] = {"new": [1, "two"]}
        case "lost field":
            holder = rows[0] if rows else event
            return holder.pop(_REQUIRED.get(kind, "u"), None) is not None
        case "new value":
            if not rows or kind not in _WORDS:
                return False
            rows[0][_WORDS[kind]] = "SOMETHING_NEW"
        case "swap":
            if "s" in event:
                event["s"] = symbol
            elif rows and "symbol" in rows[0]:
                rows[0]["symbol"] = symbol
            else:
                return False
        case "backwards":
            event["E"] -= round(by)
        case _:
            return _misprice(event, rows, do, by)
    return True


def _misprice(event: dict[str, Any], rows: list[dict[str, Any]], do: str, by: float) -> bool:
    if event["e"] == "ticker":
        if do == "crossed":
            rows[0]["m"] = f"{float(rows[0]['i']) * 1.5:.8f}"
            return True
        for name in ("m", "i"):
            rows[0][name] = mispriced(rows[0][name], do, by)
        return True
    if not event["e"].startswith("depth") or not (event["b"] and event["a"]):
        return False
    if do == "crossed":
        event["b"], event["a"] = event["a"], event["b"]
        return True
    for level in (*event["b"], *event["a"]):
        level[0] = mispriced(level[0], do, by)
    return True
