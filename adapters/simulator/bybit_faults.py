"""What the gateway must know of Bybit v5 to make it fail as the venue would: its requests, topics and errors."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from adapters.simulator.bybit_errors import text_of
from adapters.simulator.instruments import DOLLARS
from adapters.simulator.side import MS, Side
from adapters.simulator.wire import HTML, JSON, Reply, Topic, forged, mispriced

_KINDS: Final = {
    "/v5/order/create": "order",
    "/v5/order/amend": "order",
    "/v5/order/cancel": "cancel",
    "/v5/order/cancel-all": "cancel",
    "/v5/order/cancel-batch": "cancel",
    "/v5/order/create-batch": "batch",
    "/v5/order/amend-batch": "batch",
    "/v5/order/realtime": "orders",
    "/v5/order/history": "query",
    "/v5/position/list": "positions",
    "/v5/account/wallet-balance": "account",
    "/v5/market/instruments-info": "rules",
    "/v5/market/risk-limit": "rules",
    "/v5/account/fee-rate": "rules",
    "/v5/market/time": "time",
    "/v5/market/tickers": "prices",
    "/v5/market/orderbook": "prices",
    "/v5/execution/list": "history",
    "/v5/account/transaction-log": "history",
    "/v5/market/funding/history": "history",
    "/v5/account/info": "settings",
    "/v5/position/symbol-info": "settings",
    "/v5/position/set-leverage": "settings",
    "/v5/position/switch-mode": "settings",
    "/v5/account/set-margin-mode": "settings",
    "/v5/order/disconnected-cancel-all": "switch",
    "/v5/user/query-api": "rights",
}

_CODES: Final = {"unknown": 10016, "timeout": 10000, "overload": 10429, "limit": 10006}
_TOPICS: Final = {
    "tickers": "mark",
    "orderbook": "quote",
    "order": "order",
    "execution": "order",
    "position": "account",
    "wallet": "account",
}
_PRICES: Final = ("markPrice", "bid1Price", "ask1Price")
_REQUIRED: Final = {
    "tickers": "symbol",
    "orderbook": "u",
    "order": "orderStatus",
    "execution": "execQty",
    "position": "size",
    "wallet": "coin",
}
_WORDS: Final = {"order": "orderStatus", "execution": "execType", "position": "side"}


class _Row(msgspec.Struct):
    symbol: str = ""


class _Label(msgspec.Struct):
    topic: str = ""
    data: msgspec.Raw = msgspec.Raw(b"{}")


_LABEL: Final = msgspec.json.Decoder(_Label)
_ROWS: Final = msgspec.json.Decoder(list[_Row])


class BybitFaults(Side):
    """A side as far as the gateway must know it to make it fail as the venue would."""

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words."""
        return _KINDS.get(path, "other")

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what: what makes a signed request different stands in its headers."""
        return headers.get("X-BAPI-API-KEY") or "", path, query

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure."""
        if do == "unavailable":
            return Reply(503, HTML, b"<html>503 Service Temporarily Unavailable</html>")
        number = code if code is not None else _CODES.get(do, 10016)
        headers = JSON
        if do == "limit":
            headers = {**JSON, "X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": str(until // MS)}
        text = text_of(number) or "Something went wrong."
        body = {"retCode": number, "retMsg": text, "result": {}, "retExtInfo": {}, "time": now // MS}
        return Reply(200, headers, msgspec.json.encode(body))

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """A list with so many items left; None if it is none, or no longer than that."""
        found = msgspec.json.decode(body)
        result = found.get("result") if isinstance(found, dict) else None
        rows = result.get("list") if isinstance(result, dict) else None
        if not isinstance(rows, list) or len(rows) <= keep:
            return None
        del rows[keep:]
        return msgspec.json.encode(found)

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message."""
        try:
            message = msgspec.json.decode(text)
            op, number = str(message.get("op", "")), str(message.get("req_id", ""))
        except (msgspec.DecodeError, AttributeError):
            op, number = "", ""
        return msgspec.json.encode(
            {"success": False, "ret_msg": "error:refused", "conn_id": "local", "req_id": number, "op": op}
        )

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about; what has no topic is an answer."""
        label = _LABEL.decode(frame)
        if not label.topic:
            return Topic("reply")
        kind, *rest = label.topic.split(".")
        if kind in ("tickers", "orderbook"):
            return Topic(_TOPICS[kind], self._listed(rest[-1]))
        rows = _ROWS.decode(label.data)
        return Topic(_TOPICS.get(kind, "account"), self._listed(rows[0].symbol) if rows else "")

    def _listed(self, symbol: str) -> str:
        """The exchange's own name of a contract that settles in its coin."""
        return symbol + DOLLARS if symbol + DOLLARS in self.exchange.books else symbol

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it; None where it has no place for that."""
        return forged(frame, do, lambda whole: _alter(whole, do, by, symbol))


def _alter(whole: dict[str, Any], do: str, by: float, symbol: str) -> bool:
    """Put something wrong into an event; whether it is one and has a place for it."""
    if "topic" not in whole or not whole.get("data"):
        return False
    row: dict[str, Any] = whole["data"][0] if isinstance(whole["data"], list) else whole["data"]
    kind, _, rest = whole["topic"].partition(".")
    match do:
        case "unknown":
            whole["topic"] = "somethingNew"
        case "new field":
            row["zz"] = {"new": [1, "two"]}
        case "lost field":
            return row.pop(_REQUIRED.get(kind, ""), None) is not None
        case "new value":
            if kind not in _WORDS:
                return False
            row[_WORDS[kind]] = "SomethingNew"
        case "swap":
            if kind in ("tickers", "orderbook"):
                whole["topic"] = f"{kind}.{rest.rpartition('.')[0]}.{symbol}".replace("..", ".")
            name = "s" if kind == "orderbook" else "symbol"
            if name not in row:
                return False
            row[name] = symbol
        case "backwards":
            for name in ("ts", "cts", "creationTime"):
                if name in whole:
                    whole[name] -= round(by)
        case _:
            return _misprice(kind, row, do, by)
    return True


def _misprice(kind: str, row: dict[str, Any], do: str, by: float) -> bool:
    if kind == "tickers":
        names = [name for name in _PRICES if name in row]
        if "markPrice" not in names:
            return False
        if do == "crossed":
            row["markPrice"] = f"{float(row['markPrice']) * 1.5:.8f}"
            return True
        for name in names:
            row[name] = mispriced(row[name], do, by)
        return True
    if kind != "orderbook" or not row.get("b") or not row.get("a"):
        return False
    if do == "crossed":
        row["b"], row["a"] = row["a"], row["b"]
        return True
    for side in ("b", "a"):
        row[side] = [[mispriced(price, do, by), size] for price, size in row[side]]
    return True
