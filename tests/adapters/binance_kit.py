"""A Binance dialect with listed instruments, and short ways to talk to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from adapters.binance import Binance
from agent.core.events import Fact, Side
from agent.core.orders import Order, Style
from agent.core.venue import Ask, Call, Credentials, Reply, Request, Secret, What

MS = 1_000_000
S = 1_000 * MS
NOW = 1_790_000_000_000 * MS
KEY, SECRET = "key-of-the-test", "secret-of-the-test"
SYMBOLS = ("BTCUSDT", "ETHUSDT", "ETHUSDC", "TRXUSDT", "BNBUSDT", "ADAUSDT", "ACEUSDT")
STEPS = {"TRXUSDT": "1", "ADAUSDT": "1", "BNBUSDT": "0.01", "ACEUSDT": "0.01"}


def credentials(secret: str = SECRET) -> Credentials:
    return Credentials(Secret(KEY), Secret(secret))


def contract(symbol: str, **changes: Any) -> dict[str, Any]:
    step = STEPS.get(symbol, "0.001")
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": "0.10", "maxPrice": "1000000", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000", "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "120", "stepSize": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.05", "multiplierDown": "0.95", "multiplierDecimal": "4"},
    ]
    return {
        "symbol": symbol,
        "contractType": "PERPETUAL",
        "status": "TRADING",
        "baseAsset": symbol[:-4],
        "quoteAsset": symbol[-4:],
        "marginAsset": symbol[-4:],
        "pricePrecision": 7,
        "quantityPrecision": 7,
        "filters": filters,
    } | changes


def build(symbols: Sequence[str] = SYMBOLS, *, listed: bool = True, keyed: bool = True, **options: Any) -> Binance:
    options.setdefault("credentials", credentials() if keyed else None)
    dialect = Binance(symbols=symbols, **options)
    if listed:
        tell(dialect, Ask(What.INSTRUMENTS), {"symbols": [contract(symbol) for symbol in symbols]})
    return dialect


def call_for(dialect: Binance, request: Request, now: int = NOW) -> Call:
    call = dialect.perform(request, now)
    assert isinstance(call, Call), call
    return call


def told(
    dialect: Binance, call: Call, body: Any, status: int = 200, headers: dict[str, str] | None = None, now: int = NOW
) -> list[Fact]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(dialect.on_reply(call, Reply(status, headers or {}, data), now))


def tell(dialect: Binance, request: Request, body: Any, status: int = 200, **more: Any) -> list[Fact]:
    """The facts when ``request`` is answered by ``body``."""
    return told(dialect, call_for(dialect, request, more.get("now", NOW)), body, status, **more)


def frame(dialect: Binance, socket: str, event: Any, stream: str = "a@b") -> list[Fact]:
    """The facts in an event, put under its stream's name where the venue does so."""
    whole = event if socket == "private" else {"stream": stream, "data": event}
    return list(dialect.on_frame(socket, json.dumps(whole).encode(), NOW))


def params(call: Call) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(call.url).query, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "id": "tt0a000100000001x",
        "instrument": 0,
        "symbol": "BTCUSDT",
        "side": Side.NET,
        "lots": 6,
        "ticks": 600_001,
        "style": Style.IOC,
        "reduce": False,
        "created_at": NOW,
        "expires_at": NOW + 10 * S,
        "value": 60_000.0,
    }
    return Order(**(fields | changes))


def shared(name: str) -> Path:
    path = Path(__file__).parents[2].parent / "shared" / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the project")
    return path
