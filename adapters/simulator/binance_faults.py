"""What the gateway must know of Binance USDⓈ-M to make it fail as the venue would: its requests, topics and errors."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from adapters.simulator.binance_errors import text_of
from adapters.simulator.side import MS, Side
from adapters.simulator.wire import JSON, Reply, Topic, forged, mispriced, without

_ORDER, _BATCH, _OPEN = "/fapi/v1/order", "/fapi/v1/batchOrders", "/fapi/v1/allOpenOrders"

_KINDS: Final = {
    ("POST", _ORDER): "order",
    ("PUT", _ORDER): "order",
    ("POST", "/fapi/v1/order/test"): "order",
    ("DELETE", _ORDER): "cancel",
    ("DELETE", _BATCH): "cancel",
    ("DELETE", _OPEN): "cancel",
    ("POST", _BATCH): "batch",
    ("PUT", _BATCH): "batch",
    ("GET", _ORDER): "query",
}
_KINDS_BY_PATH: Final = {
    "/fapi/v1/openOrder": "query",
    "/fapi/v1/openOrders": "orders",
    "/fapi/v1/allOrders": "orders",
    "/fapi/v1/positionRisk": "positions",
    "/fapi/v2/positionRisk": "positions",
    "/fapi/v3/positionRisk": "positions",
    "/fapi/v1/account": "account",
    "/fapi/v2/account": "account",
    "/fapi/v3/account": "account",
    "/fapi/v1/balance": "account",
    "/fapi/v2/balance": "account",
    "/fapi/v3/balance": "account",
    "/fapi/v1/exchangeInfo": "rules",
    "/fapi/v1/leverageBracket": "rules",
    "/fapi/v2/leverageBracket": "rules",
    "/fapi/v1/commissionRate": "rules",
    "/fapi/v1/fundingInfo": "rules",
    "/fapi/v1/time": "time",
    "/fapi/v1/ping": "time",
    "/fapi/v1/listenKey": "key",
    "/fapi/v1/premiumIndex": "prices",
    "/fapi/v1/depth": "prices",
    "/fapi/v1/ticker/bookTicker": "prices",
    "/fapi/v1/ticker/price": "prices",
    "/fapi/v2/ticker/price": "prices",
    "/fapi/v1/ticker/24hr": "prices",
    "/fapi/v1/userTrades": "history",
    "/fapi/v1/income": "history",
    "/fapi/v1/fundingRate": "history",
    "/fapi/v1/accountConfig": "settings",
    "/fapi/v1/symbolConfig": "settings",
    "/fapi/v1/positionSide/dual": "settings",
    "/fapi/v1/multiAssetsMargin": "settings",
    "/fapi/v1/marginType": "settings",
    "/fapi/v1/positionMargin": "settings",
    "/fapi/v1/leverage": "settings",
    "/fapi/v1/countdownCancelAll": "switch",
    "/fapi/v1/apiTradingStatus": "rights",
    "/sapi/v1/account/apiRestrictions": "rights",
}

_FAILURES: Final = {
    "unknown": (503, -1000, "Unknown error, please check your request or try again later."),
    "timeout": (
        408,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    "overload": (
        503,
        -1008,
        "Server is currently overloaded with other requests. Please try again in a few minutes.",
    ),
    "limit": (429, -1003, "Too many requests; please use the websocket for live updates."),
    "unavailable": (503, 0, "Service Unavailable."),
}

_TOPICS: Final = {
    "markPriceUpdate": "mark",
    "bookTicker": "quote",
    "depthUpdate": "quote",
    "contractInfo": "contract",
    "ORDER_TRADE_UPDATE": "order",
    "TRADE_LITE": "order",
    "ACCOUNT_UPDATE": "account",
    "ACCOUNT_CONFIG_UPDATE": "account",
    "listenKeyExpired": "key",
}

_PRICES: Final = {"markPriceUpdate": ("p", "P", "ap"), "bookTicker": ("b", "a")}
_REQUIRED: Final = {
    "markPriceUpdate": "p",
    "bookTicker": "a",
    "depthUpdate": "a",
    "contractInfo": "cs",
    "ORDER_TRADE_UPDATE": "o",
    "TRADE_LITE": "c",
    "ACCOUNT_UPDATE": "a",
}
_WORDS: Final = {"ORDER_TRADE_UPDATE": ("o", "X"), "ACCOUNT_UPDATE": ("a", "m"), "contractInfo": ("", "cs")}


class _Order(Struct):
    s: str = ""


class _Event(Struct):
    e: str = ""
    s: str = ""
    o: _Order | None = None


class _Label(Struct):
    e: str = ""
    s: str = ""
    o: _Order | None = None
    data: _Event | None = None


_LABEL: Final = msgspec.json.Decoder(_Label)


class BinanceFaults(Side):
    """A side as far as the gateway must know it to make it fail as the venue would."""

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words. Paths of the coin-margined side differ by a letter."""
        path = path.replace("/dapi/", "/fapi/")
        return _KINDS.get((method, path)) or _KINDS_BY_PATH.get(path, "other")

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what, without what makes every signed request different."""
        return headers.get("X-MBX-APIKEY") or "", path, without(query, "timestamp=", "signature=", "recvWindow=")

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure."""
        headers = JSON
        if do in _FAILURES:
            status, usual, text = _FAILURES[do]
        else:  # "refuse" and "error inside 200"
            status, usual, text = 400, -1000, ""
        if code is not None and code != usual:
            usual, text = code, text_of(code)
        if do == "limit":
            headers = {**JSON, "Retry-After": str(max(1, -(-(until // MS - now // MS) // 1_000)))}
        text = text or "An unknown error occurred while processing the request."
        return Reply(status, headers, msgspec.json.encode({"code": usual, "msg": text}))

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message."""
        try:
            number = msgspec.json.decode(text).get("id")
        except (msgspec.DecodeError, AttributeError):
            number = None
        return msgspec.json.encode({"error": {"code": 2, "msg": "Invalid request: refused"}, "id": number})

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about. An array about all symbols has none; what has no event is an answer."""
        if frame.startswith((b"[", b'{"stream":"!markPrice@arr')):
            return Topic("mark")
        label = _LABEL.decode(frame)
        event = label.data or label
        if not event.e:
            return Topic("reply")
        return Topic(_TOPICS.get(event.e, "account"), event.s or (event.o.s if event.o else ""))

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it; None where it has no place for that."""
        return forged(frame, do, lambda whole: _alter(whole.get("data", whole), do, by, symbol))


def _alter(event: Any, do: str, by: float, symbol: str) -> bool:
    """Put something wrong into an event; whether it is one and has a place for it."""
    if not isinstance(event, dict) or "e" not in event:
        return False
    kind = event["e"]
    match do:
        case "unknown":
            event["e"] = "somethingNew"
        case "new field":
            event["zz"] = {"new": [1, "two"]}
        case "lost field":
            return event.pop(_REQUIRED.get(kind, ""), None) is not None
        case "new value":
            if kind not in _WORDS:
                return False
            inside, name = _WORDS[kind]
            (event[inside] if inside else event)[name] = "SOMETHING_NEW"
        case "swap":
            if "s" not in event:
                return False
            event.update(s=symbol, **({"ps": symbol} if "ps" in event else {}))
        case "backwards":
            event["E"] -= round(by)
            if "T" in event and kind != "markPriceUpdate":  # there it is the time of the next funding
                event["T"] -= round(by)
        case _:
            return _misprice(event, do, by)
    return True


def _misprice(event: dict[str, Any], do: str, by: float) -> bool:
    kind = event["e"]
    names = _PRICES.get(kind, ())
    if not names or any(name not in event for name in names):
        return False
    if do == "crossed":
        if kind == "bookTicker":
            event["b"], event["a"] = event["a"], event["b"]
        else:
            event["p"] = f"{float(event['i']) * 1.5:.8f}"
        return True
    for name in names:
        event[name] = mispriced(event[name], do, by)
    return True
