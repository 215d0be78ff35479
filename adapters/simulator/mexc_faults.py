"""What the gateway must know of MEXC's contract interface to make it fail as the venue would."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from adapters.simulator.mexc_errors import TEXTS
from adapters.simulator.mexc_views import Views
from adapters.simulator.side import Side
from adapters.simulator.wire import HTML, JSON, Reply, Topic, forged

_CONTRACT, _PRIVATE = "/api/v1/contract", "/api/v1/private"

_KINDS: Final = {
    f"{_PRIVATE}/order/create": "order",
    f"{_PRIVATE}/order/change_limit_order": "order",
    f"{_PRIVATE}/order/submit_batch": "batch",
    f"{_PRIVATE}/order/cancel": "cancel",
    f"{_PRIVATE}/order/cancel_all": "cancel",
    f"{_PRIVATE}/order/cancel_with_external": "cancel",
    f"{_PRIVATE}/order/batch_cancel_with_external": "cancel",
    f"{_PRIVATE}/order/list/history_orders": "orders",
    f"{_PRIVATE}/position/open_positions": "positions",
    f"{_PRIVATE}/position/funding_records": "history",
    f"{_PRIVATE}/position/close_all": "order",
    f"{_PRIVATE}/account/tiered_fee_rate": "rules",
    f"{_PRIVATE}/account/risk_limit": "rules",
    f"{_PRIVATE}/account/transfer_record": "history",
    f"{_CONTRACT}/ping": "time",
    f"{_CONTRACT}/detail": "rules",
}
_KINDS_BY_START: Final = {
    f"{_PRIVATE}/order/get/": "query",
    f"{_PRIVATE}/order/external/": "query",
    f"{_PRIVATE}/order/list/open_orders": "orders",
    f"{_PRIVATE}/order/list/order_deals": "history",
    f"{_PRIVATE}/order/deal_details": "history",
    f"{_PRIVATE}/account/": "account",
    f"{_PRIVATE}/position/": "settings",
    f"{_CONTRACT}/funding_rate/history": "history",
    f"{_CONTRACT}/funding_rate": "rules",
    f"{_CONTRACT}/": "prices",
}

_FAILURES: Final = {
    "unknown": (200, 9999),
    "timeout": (504, 0),
    "overload": (200, 2037),
    "limit": (429, 510),
    "unavailable": (503, 0),
}

_TOPICS: Final = {
    "push.ticker": "mark",
    "push.tickers": "mark",
    "push.fair.price": "mark",
    "push.index.price": "mark",
    "push.funding.rate": "mark",
    "push.depth": "quote",
    "push.depth.full": "quote",
    "push.contract": "contract",
    "push.personal.order": "order",
    "push.personal.order.deal": "order",
}
_PRICES: Final = {
    "push.ticker": ("fairPrice", "indexPrice", "bid1", "ask1", "lastPrice"),
    "push.fair.price": ("price",),
}
_REQUIRED: Final = {
    "push.ticker": "fairPrice",
    "push.fair.price": "price",
    "push.depth": "asks",
    "push.depth.full": "asks",
    "push.contract": "state",
    "push.personal.order": "state",
    "push.personal.order.deal": "vol",
    "push.personal.position": "holdVol",
}
_WORDS: Final = {"push.personal.order": "state", "push.personal.position": "positionType", "push.contract": "state"}
_UNKNOWN_WORD: Final = 77
_TIMES: Final = ("timestamp", "updateTime")


def envelope(code: int, message: str) -> bytes:
    """A refusal as the venue writes it."""
    return msgspec.json.encode({"success": False, "code": code, "message": message})


class _Row(Struct):
    symbol: str = ""


class _Label(Struct):
    channel: str = ""
    symbol: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_LABEL: Final = msgspec.json.Decoder(_Label)
_ROW: Final = msgspec.json.Decoder(_Row)


class MexcFaults(Side):
    """A side as far as the gateway must know it to make it fail as the venue would."""

    views: Views

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words."""
        known = _KINDS.get(path)
        return known or next((kind for start, kind in _KINDS_BY_START.items() if path.startswith(start)), "other")

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what: what makes a signed request different stands in its headers."""
        return headers.get("ApiKey") or "", path, query

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure. It does not say how long a limit or a maintenance lasts."""
        status, usual = _FAILURES.get(do, (200, 9999))
        if do in ("timeout", "unavailable") and code is None:
            return Reply(status, HTML, b"<html><body><h1>The server is busy</h1></body></html>")
        shown = usual if code is None else code
        return Reply(status, JSON, envelope(shown, TEXTS.get(shown, "Operation failed")))

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """A list with so many items left, in its envelope; None if it is none, or no longer than that."""
        whole = msgspec.json.decode(body)
        rows = whole.get("data") if isinstance(whole, dict) else None
        if isinstance(rows, dict) and isinstance(rows.get("resultList"), list) and len(rows["resultList"]) > keep:
            rows["resultList"] = rows["resultList"][:keep]
        elif isinstance(rows, list) and len(rows) > keep:
            whole["data"] = rows[:keep]
        else:
            return None
        return msgspec.json.encode(whole)

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message."""
        return msgspec.json.encode({"channel": "rs.error", "data": "refused!", "ts": "0"})

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about."""
        label = _LABEL.decode(frame)
        if not label.channel.startswith("push."):
            return Topic("reply")
        name = label.symbol or (_ROW.decode(label.data).symbol if bytes(label.data).startswith(b"{") else "")
        return Topic(_TOPICS.get(label.channel, "account"), self.views.symbols.get(name, ""))

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it; None where it has no place for that."""
        return forged(frame, do, lambda whole: _alter(whole, do, by, self.views.names.get(symbol, symbol)))


def _alter(whole: dict[str, Any], do: str, by: float, name: str) -> bool:
    """Put something wrong into a frame; whether it has a place for it. `name` is another contract's."""
    channel, data = whole["channel"], whole.get("data")
    if not isinstance(data, dict):
        return False
    match do:
        case "unknown":
            whole["channel"] = f"{channel}.somethingNew"
        case "new field":
            data["zz"] = {"new": [1, "two"]}
        case "lost field":
            return data.pop(_REQUIRED.get(channel, ""), None) is not None
        case "new value":
            if channel not in _WORDS:
                return False
            data[_WORDS[channel]] = _UNKNOWN_WORD
        case "swap":
            if "symbol" not in whole:
                return False
            whole.update(symbol=name, data=data | ({"symbol": name} if "symbol" in data else {}))
        case "backwards":
            whole["ts"] -= round(by)
            for time in _TIMES:
                if time in data:
                    data[time] -= round(by)
        case "nan" | "overflow":
            names = [name for name in _PRICES.get(channel, ()) if name in data]
            data.update(dict.fromkeys(names, msgspec.Raw(b'"NaN"' if do == "nan" else b"1e400")))
            return bool(names)
        case _:
            return _misprice(channel, data, do, by)
    return True


def _misprice(channel: str, data: dict[str, Any], do: str, by: float) -> bool:
    if channel == "push.depth.full":
        if not (data.get("bids") and data.get("asks")):  # another fault may have taken one away
            return False
        if do == "crossed":
            data["bids"], data["asks"] = data["asks"], data["bids"]
        else:
            for level in (*data["bids"], *data["asks"]):
                level[0] = _wrong(level[0], do, by)
        return True
    names = [name for name in _PRICES.get(channel, ()) if name in data]
    if do == "crossed":
        if channel != "push.ticker":
            return False
        data["fairPrice"] = data["indexPrice"] * 1.5
        return True
    for name in names:
        data[name] = _wrong(data[name], do, by)
    return bool(names)


def _wrong(price: float, do: str, by: float) -> float:
    return 0.0 if do == "zero" else -price if do == "negative" else price * by
