"""A Bybit dialect with listed instruments, and short ways to talk to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.bybit import Bybit
from agent.core.events import Fact
from agent.core.venue import Ask, Call, Reply, Request, What
from tests.adapters.binance_kit import NOW, credentials

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "ARBUSDT")
STEPS = {"BTCUSDT": "0.001", "ETHUSDT": "0.01", "SOLUSDT": "0.1", "ARBUSDT": "0.1"}


def contract(symbol: str, **changes: Any) -> dict[str, Any]:
    step = STEPS.get(symbol, "1")
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": symbol[:3],
        "quoteCoin": symbol[3:],
        "settleCoin": symbol[3:],
        "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
        "lotSizeFilter": {
            "maxOrderQty": "1190",
            "minOrderQty": step,
            "qtyStep": step,
            "maxMktOrderQty": "500",
            "minNotionalValue": "5",
        },
        "fundingInterval": 480,
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
    } | changes


def build(symbols: Sequence[str] = SYMBOLS, *, listed: bool = True, **options: Any) -> Bybit:
    options.setdefault("credentials", credentials())
    dialect = Bybit(symbols=symbols, **options)
    if listed:
        tell(dialect, Ask(What.INSTRUMENTS), {"list": [contract(symbol) for symbol in symbols]})
    return dialect


def call_for(dialect: Bybit, request: Request, now: int = NOW) -> Call:
    call = dialect.perform(request, now)
    assert isinstance(call, Call), call
    return call


def told(dialect: Bybit, call: Call, result: Any, *, code: int = 0, now: int = NOW, **more: Any) -> list[Fact]:
    """The facts when a call is answered so, in the venue's envelope."""
    body = {"retCode": code, "retMsg": "words", "result": result, "retExtInfo": {}, "time": now // 1_000_000} | more
    return list(dialect.on_reply(call, Reply(200, {}, json.dumps(body).encode()), now))


def tell(dialect: Bybit, request: Request, result: Any, **more: Any) -> list[Fact]:
    """The facts when ``request`` is answered so."""
    return told(dialect, call_for(dialect, request, more.get("now", NOW)), result, **more)


def frame(dialect: Bybit, socket: str, whole: dict[str, Any]) -> list[Fact]:
    """The facts in a frame."""
    return list(dialect.on_frame(socket, json.dumps(whole).encode(), NOW))
