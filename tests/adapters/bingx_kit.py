"""A BingX dialect with listed instruments and a known mode, and short ways to talk to it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from typing import Any

from adapters.bingx import BingX
from agent.core.events import Fact
from agent.core.orders import Order
from agent.core.venue import Ask, Call, Reply, Request, What
from tests.adapters import binance_kit

MS, S, NOW = binance_kit.MS, binance_kit.S, binance_kit.NOW
SYMBOLS = (
    "BTC-USDT", "ETH-USDT", "LTC-USDT", "OP-USDT", "RNDR-USDT", "LINK-USDT", "BNB-USDT", "ID-USDT", "QNT-USDT",
)  # fmt: skip


def contract(symbol: str, **changes: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "size": "0",
        "quantityPrecision": 4,
        "pricePrecision": 1,
        "tradeMinQuantity": 0.0001,
        "tradeMinUSDT": 2,
        "maxLongLeverage": 125,
        "maxShortLeverage": 100,
        "currency": "USDT",
        "asset": symbol[:-5],
        "status": 1,
        "apiStateOpen": "true",
        "apiStateClose": "true",
    } | changes


def build(symbols: Sequence[str] = SYMBOLS, *, keyed: bool = True, hedge: bool | None = False, **options: Any) -> BingX:
    options.setdefault("credentials", binance_kit.credentials() if keyed else None)
    dialect = BingX(symbols=symbols, **options)
    tell(dialect, Ask(What.INSTRUMENTS), {"data": [contract(symbol) for symbol in symbols]})
    if keyed and hedge is not None:
        collateral = {"data": {"assetMode": "singleAssetMode"}}
        tell(dialect, Ask(What.MODE), collateral)
        tell(dialect, Ask(What.MODE), {"data": {"dualSidePosition": hedge}})
        tell(dialect, Ask(What.MODE), collateral)
        dialect.acts()
    return dialect


def call_for(dialect: BingX, request: Request, now: int = NOW) -> Call:
    call = dialect.perform(request, now)
    assert isinstance(call, Call), call
    return call


def told(dialect: BingX, call: Call, body: Any, status: int = 200, now: int = NOW) -> list[Fact]:
    """The facts in an answer; what is no bytes is put into the envelope, as far as it is not."""
    whole = body if isinstance(body, bytes) else json.dumps({"code": 0, "msg": ""} | body).encode()
    return list(dialect.on_reply(call, Reply(status, {}, whole), now))


def tell(dialect: BingX, request: Request, body: Any, status: int = 200, now: int = NOW) -> list[Fact]:
    """The facts when ``request`` is answered by ``body``."""
    return told(dialect, call_for(dialect, request, now), body, status, now)


def packed(text: Any) -> bytes:
    return gzip.compress(text if isinstance(text, bytes) else json.dumps(text).encode(), mtime=0)


def frame(dialect: BingX, socket: str, event: Any, now: int = NOW) -> list[Fact]:
    """The facts in an event."""
    return list(dialect.on_frame(socket, packed(event), now))


def order(**changes: Any) -> Order:
    return binance_kit.order(**({"symbol": SYMBOLS[changes.get("instrument", 0)]} | changes))
