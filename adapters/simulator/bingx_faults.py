"""What the gateway must know of BingX's perpetuals to make them fail as the venue would: requests, topics, errors."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from adapters.simulator.bingx_call import SWAP
from adapters.simulator.bingx_errors import BUSY, TOO_OFTEN, text_of
from adapters.simulator.bingx_streams import packed, refused, unpacked
from adapters.simulator.bingx_views import name_of
from adapters.simulator.side import MS, Side
from adapters.simulator.wire import HTML, JSON, Reply, Topic, forged, mispriced, without

KEY_PATH: Final = "/openApi/user/auth/userDataStream"

_KINDS: Final = {
    f"POST {SWAP}/v2/trade/order": "order",
    f"POST {SWAP}/v2/trade/order/test": "order",
    f"POST {SWAP}/v2/trade/batchOrders": "batch",
    f"DELETE {SWAP}/v2/trade/order": "cancel",
    f"DELETE {SWAP}/v2/trade/batchOrders": "cancel",
    f"DELETE {SWAP}/v2/trade/allOpenOrders": "cancel",
    f"GET {SWAP}/v2/trade/order": "query",
    f"GET {SWAP}/v2/trade/openOrder": "query",
}
_KINDS_BY_PATH: Final = {
    f"{SWAP}/v2/trade/openOrders": "orders",
    f"{SWAP}/v2/trade/allOrders": "orders",
    f"{SWAP}/v1/trade/fullOrder": "orders",
    f"{SWAP}/v2/user/positions": "positions",
    f"{SWAP}/v3/user/balance": "account",
    f"{SWAP}/v2/quote/contracts": "rules",
    f"{SWAP}/v1/maintMarginRatio": "rules",
    f"{SWAP}/v2/user/commissionRate": "rules",
    f"{SWAP}/v2/server/time": "time",
    KEY_PATH: "key",
    f"{SWAP}/v2/quote/premiumIndex": "prices",
    f"{SWAP}/v2/quote/ticker": "prices",
    f"{SWAP}/v2/quote/bookTicker": "prices",
    f"{SWAP}/v2/quote/depth": "prices",
    f"{SWAP}/v2/quote/fundingRate": "history",
    f"{SWAP}/v2/trade/allFillOrders": "history",
    f"{SWAP}/v2/trade/fillHistory": "history",
    f"{SWAP}/v2/user/income": "history",
    f"{SWAP}/v1/positionSide/dual": "settings",
    f"{SWAP}/v1/trade/assetMode": "settings",
    f"{SWAP}/v2/trade/marginType": "settings",
    f"{SWAP}/v2/trade/positionMargin": "settings",
    f"{SWAP}/v2/trade/leverage": "settings",
    f"{SWAP}/v2/trade/cancelAllAfter": "switch",
    "/openApi/v1/account/apiPermissions": "rights",
}

_TOPICS: Final = {
    "markPrice": "mark",
    "ORDER_TRADE_UPDATE": "order",
    "ACCOUNT_UPDATE": "account",
    "ACCOUNT_CONFIG_UPDATE": "account",
    "listenKeyExpired": "key",
}
_PRICES: Final = {"markPriceUpdate": ("p",), "bookTicker": ("b", "a")}
_REQUIRED: Final = {"markPriceUpdate": "p", "bookTicker": "a", "ORDER_TRADE_UPDATE": "o", "ACCOUNT_UPDATE": "a"}
_WORDS: Final = {"ORDER_TRADE_UPDATE": ("o", "X"), "ACCOUNT_UPDATE": ("a", "m")}


class _Symbol(Struct):
    s: str = ""


class _Head(Struct):
    dataType: str = ""
    e: str = ""
    o: _Symbol | None = None
    ac: _Symbol | None = None


_HEAD: Final = msgspec.json.Decoder(_Head)


class BingXFaults(Side):
    """A side as far as the gateway must know it to make it fail as the venue would."""

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words."""
        return _KINDS.get(f"{method} {path}") or _KINDS_BY_PATH.get(path, "other")

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what, without what makes every signed request different."""
        return headers.get("X-BX-APIKEY") or "", path, without(query, "timestamp=", "signature=", "recvWindow=")

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure: most of them come with status 200."""
        match do:
            case "unavailable":
                return Reply(503, HTML, b"<html>503 Service Temporarily Unavailable</html>")
            case "timeout" if code is None:
                return Reply(504, HTML, b"<html>504 Gateway Time-out</html>")
            case "limit":
                return _error(code or 100410, TOO_OFTEN.format(until // MS), 429)
            case "overload":
                return _error(code or 101214, "Funding is being settled, please try again later")
            case _:
                return _error(code or 109500, BUSY if code is None else text_of(code))

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """An answer whose list has so many items left; None if it has none, or no longer one than that."""
        whole: Any = msgspec.json.decode(body)
        data: Any = whole.get("data") if isinstance(whole, dict) else None
        place, inside = whole, "data"
        if isinstance(data, dict):
            place, inside = data, next((key for key, value in data.items() if isinstance(value, list)), "")
        rows = place.get(inside) if isinstance(place, dict) else None
        if not isinstance(rows, list) or len(rows) <= keep:
            return None
        place[inside] = rows[:keep]
        return msgspec.json.encode(whole)

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message."""
        try:
            number = str(msgspec.json.decode(text)["id"])
        except (msgspec.DecodeError, TypeError, KeyError):
            number = ""
        return packed(refused(number, 100500, "refused"))

    def text(self, frame: bytes) -> bytes:
        """What a frame says, unpacked."""
        return unpacked(frame)

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about; greetings count as answers."""
        text = unpacked(frame)
        if text == b"Ping":
            return Topic("reply")
        head = _HEAD.decode(text)
        symbol, _, kind = head.dataType.partition("@")
        if kind:
            return Topic(_TOPICS.get(kind, "quote"), symbol.replace("-", ""))
        about = head.o or head.ac
        return Topic(_TOPICS.get(head.e, "reply"), about.s.replace("-", "") if about else "")

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it; None where it has no place for that."""
        one = self.exchange.instruments.get(symbol)
        name = name_of(one) if one is not None else symbol
        text = forged(unpacked(frame), do, lambda whole: _alter(whole, do, by, name))
        return None if text is None else packed(text)


def _error(code: int, text: str, status: int = 200) -> Reply:
    return Reply(status, JSON, msgspec.json.encode({"code": code, "msg": text, "data": {}}))


def _alter(whole: dict[str, Any], do: str, by: float, symbol: str) -> bool:
    """Put something wrong into an event; whether it is one and has a place for it."""
    event = whole if "e" in whole else whole.get("data")
    if not isinstance(event, dict) or "e" not in event:
        return False
    kind = event["e"]
    match do:
        case "unknown":
            event["e"] = "somethingNew"
            if "dataType" in whole:
                whole["dataType"] = f"{whole['dataType'].partition('@')[0]}@somethingNew"
        case "new field":
            event["zz"] = {"new": [1, "two"]}
        case "lost field":
            return event.pop(_REQUIRED.get(kind, ""), None) is not None
        case "new value":
            if kind not in _WORDS:
                return False
            inside, name = _WORDS[kind]
            event[inside][name] = "SOMETHING_NEW"
        case "swap":
            if "s" not in event:
                return False
            event["s"] = symbol
            if "dataType" in whole:
                whole["dataType"] = f"{symbol}@{whole['dataType'].partition('@')[2]}"
        case "backwards":
            event["E"] -= round(by)
            if "T" in event:
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
        if kind != "bookTicker":
            return False  # a mark has nothing beside it here that it could contradict
        event["b"], event["a"] = event["a"], event["b"]
        return True
    for name in names:
        event[name] = mispriced(event[name], do, by)
    return True
