"""Binance's websocket API over the local exchange: requests in frames, each answered by a frame that echoes its id.

    {"id": 7, "method": "order.place", "params": {"apiKey": …, "symbol": "BTCUSDT", …, "signature": …}}

A method is an endpoint of the REST interface under another name, with the same parameters, limits and errors. Signed
are all parameters, by name, as they stand in the frame. A session that was logged on, which Ed25519 keys alone can be,
may leave out key and signature from then on.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters.simulator.binance_streams import Session
from adapters.simulator.wire import Reply, WireError

if TYPE_CHECKING:
    from adapters.simulator.binance import Binance

HANDSHAKE_WEIGHT: Final = 5
METHODS: Final = {
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
}
SESSIONS: Final = {"session.logon": 2, "session.status": 2, "session.logout": 2}
"""Methods about the session itself, and their weights."""
COUNTS: Final = {
    "X-MBX-USED-WEIGHT-1M": ("REQUEST_WEIGHT", "MINUTE", 1),
    "X-MBX-ORDER-COUNT-10S": ("ORDERS", "SECOND", 10),
    "X-MBX-ORDER-COUNT-1M": ("ORDERS", "MINUTE", 1),
}


def answer(binance: "Binance", session: Session, text: str | bytes, now: int) -> bytes:
    """The frame that answers a message from a client."""
    try:
        said = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _frame(binance, session, None, _error(-1100, "Illegal characters found in a parameter."))
    if not isinstance(said, dict) or not isinstance(said.get("method"), str) or not _is_id(said.get("id")):
        return _frame(binance, session, None, _error(-1102, "Mandatory parameter 'method' was not sent."))
    params = said.get("params", {})
    if not isinstance(params, dict):
        return _frame(binance, session, said.get("id"), _error(-1102, "Mandatory parameter 'params' was malformed."))
    words = {str(name): _word(value) for name, value in params.items()}
    return _frame(binance, session, said.get("id"), _reply(binance, session, said["method"], words, now))


def revoked() -> bytes:
    """What a session hears when the key that it was logged on with is not valid any more."""
    error = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    return msgspec.json.encode({"id": None, "status": 401, "error": error})


def _is_id(value: object) -> bool:
    return value is None or (isinstance(value, int | str) and not isinstance(value, bool))


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reply(binance: "Binance", session: Session, method: str, words: dict[str, str], now: int) -> Reply:
    if method in SESSIONS:
        binance.use_weight(SESSIONS[method], now)
        return _session(binance, session, method, words, now)
    if METHODS.get(method) not in binance.routes:
        return _error(-1020, "This operation is not supported.")
    signed = "signature" in words or session.key is None
    key = words.get("apiKey") or session.key or ""
    text = _signed(words) if signed else None
    return binance.serve(*METHODS[method], words, key=key, signed=text, arrived_ms=now // 1_000_000)


def _signed(words: dict[str, str]) -> str:
    return "&".join(f"{name}={words[name]}" for name in sorted(words) if name != "signature")


def _session(binance: "Binance", session: Session, method: str, words: dict[str, str], now: int) -> Reply:
    now_ms = now // 1_000_000
    if method == "session.logon":
        try:
            session.key = binance.log_on(words, _signed(words))
        except WireError as error:
            return _error(error.code, error.message, error.status)
        session.key_since_ms = now_ms
    elif method == "session.logout":
        session.key = None
    told = {
        "apiKey": session.key,
        "authorizedSince": session.key_since_ms if session.key else None,
        "connectedSince": session.opened_ms,
        "returnRateLimits": session.counts,
        "serverTime": now_ms,
    }
    return Reply(200, {}, msgspec.json.encode(told))


def _error(code: int, message: str, status: int = 400) -> Reply:
    return Reply(status, {}, msgspec.json.encode({"code": code, "msg": message}))


def _frame(binance: "Binance", session: Session, number: int | str | None, reply: Reply) -> bytes:
    told: dict[str, Any] = {"id": number, "status": reply.status}
    told["result" if reply.status == 200 else "error"] = msgspec.Raw(reply.body)
    if session.counts:
        limits = {"REQUEST_WEIGHT": binance.weight_limit, "SECOND": binance.orders_10s, "MINUTE": binance.orders_1m}
        told["rateLimits"] = [
            {
                "rateLimitType": kind,
                "interval": interval,
                "intervalNum": number_of,
                "limit": limits.get(kind) or limits[interval],
                "count": int(reply.headers[header]),
            }
            for header, (kind, interval, number_of) in COUNTS.items()
            if header in reply.headers
        ]
    return msgspec.json.encode(told)
