"""A MEXC dialect with listed instruments, and short ways to talk to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.mexc import Mexc
from agent.core.events import Side
from agent.core.orders import Order, Style
from agent.core.venue import Ask, Call, Credentials, Reply, Request, Secret, What

MS = 1_000_000
S = 1_000 * MS
NOW = 1_790_000_000_000 * MS
KEY, SECRET = "key-of-the-test", "secret-of-the-test"
SYMBOLS = ("BTC_USDT", "ETH_USDT", "CRV_USDT", "STEPN_USDT", "CLO_USDT")
POSITION: Mapping[str, Any] = {
    "positionId": 7_001,
    "symbol": "BTC_USDT",
    "positionType": 1,
    "openType": 2,
    "state": 1,
    "holdVol": 300,
    "holdAvgPrice": 60_000.5,
    "leverage": 20,
    "im": 90.0,
    "holdFee": 0,
    "updateTime": NOW // MS,
}


ASSET: Mapping[str, Any] = {
    "currency": "USDT",
    "positionMargin": 30,
    "availableBalance": 950,
    "frozenBalance": 20,
    "equity": 1_010,
    "unrealized": 10,
}


def credentials(secret: str = SECRET) -> Credentials:
    return Credentials(Secret(KEY), Secret(secret))


def contract(symbol: str, **changes: Any) -> dict[str, Any]:
    base, quote = symbol.split("_")
    return {
        "symbol": symbol,
        "baseCoin": base,
        "quoteCoin": quote,
        "settleCoin": quote,
        "contractSize": 0.0001,
        "maxLeverage": 125,
        "priceUnit": 0.1,
        "volUnit": 1,
        "minVol": 1,
        "maxVol": 400_000,
        "bidLimitPriceRate": 0.1,
        "askLimitPriceRate": 0.1,
        "maintenanceMarginRate": 0.004,
        "initialMarginRate": 0.008,
        "riskBaseVol": 10_000,
        "riskIncrVol": 10_000,
        "riskIncrMmr": 0.004,
        "riskIncrImr": 0.004,
        "riskLevelLimit": 5,
        "state": 0,
        "apiAllowed": True,
    } | changes


def setting(direction: int, leverage: int = 20, open_type: int = 2) -> dict[str, int]:
    return {"positionType": direction, "openType": open_type, "leverage": leverage}


def build(
    symbols: Sequence[str] = SYMBOLS, *, mode: int | None = 2, asked: bool = True, margin: float = 30, **options: Any
) -> Mexc:
    """A dialect that knows its contracts, the ``margin`` of its positions, the position mode, and with ``asked`` the
    leverage of each direction."""
    options.setdefault("credentials", credentials())
    dialect = Mexc(symbols=symbols, **options)
    tell(dialect, Ask(What.INSTRUMENTS), [contract(symbol) for symbol in symbols])
    if options["credentials"]:
        tell(dialect, Ask(What.ACCOUNT), [{**ASSET, "positionMargin": margin}])
    if mode is not None and options["credentials"]:
        tell(dialect, Ask(What.MODE), mode)
    for index in range(len(symbols) if asked and options["credentials"] else 0):
        tell(dialect, Ask(What.LEVERAGE, index), [setting(1), setting(2)])
    dialect.acts()
    return dialect


def unsent(dialect: Mexc, request: Request) -> list[Any]:
    """The facts where a request can't be sent."""
    told = dialect.perform(request, NOW)
    assert not isinstance(told, Call)
    return list(told)


def call_for(dialect: Mexc, request: Request, now: int = NOW) -> Call:
    call = dialect.perform(request, now)
    assert isinstance(call, Call), call
    return call


def enveloped(data: Any = None, code: int = 0, message: str = "") -> bytes:
    """An answer as the venue wraps it."""
    if code:
        return json.dumps({"success": False, "code": code, "message": message}).encode()
    return json.dumps({"success": True, "code": 0} | ({} if data is None else {"data": data})).encode()


def tell(dialect: Mexc, request: Request, data: Any = None, code: int = 0, now: int = NOW) -> list[Any]:
    """The facts when ``request`` is answered by ``data``, or refused with a code."""
    reply = Reply(200, {}, enveloped(data, code, "words"))
    return list(dialect.on_reply(call_for(dialect, request, now), reply, now))


def push(dialect: Mexc, channel: str, data: Any, at: int = NOW, symbol: str = "", socket: str = "private") -> list[Any]:
    """The facts in a frame."""
    frame = {"channel": f"push.{channel}", "data": data, "ts": at // MS} | ({"symbol": symbol} if symbol else {})
    return list(dialect.on_frame(socket, json.dumps(frame).encode(), at))


def body(call: Call) -> Any:
    return json.loads(call.body)


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "id": "tt0a000100000001x",
        "instrument": 0,
        "symbol": "BTC_USDT",
        "side": Side.NET,
        "lots": 6,
        "ticks": 600_001,
        "style": Style.IOC,
        "reduce": False,
        "created_at": NOW,
        "expires_at": NOW + 3 * S,
        "value": 36.0,
    }
    return Order(**(fields | changes))
