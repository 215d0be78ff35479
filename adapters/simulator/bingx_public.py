"""The endpoints of BingX's perpetuals that are open to all: contracts, prices, books, funding."""

from collections.abc import Callable
from typing import Any

from adapters.simulator.bingx_call import SWAP, Call, Endpoint
from adapters.simulator.bingx_errors import bad
from adapters.simulator.bingx_views import (
    View,
    best_view,
    contract_view,
    levels_view,
    name_of,
    premium_view,
    ticker_view,
)
from adapters.simulator.exchange import Exchange

_SPANS_MS = {"1m": 60_000, "5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": 86_400_000}


def _time(call: Call) -> View:
    return {"serverTime": call.now_ms}


def _contracts(call: Call) -> list[View]:
    return [contract_view(one) for one in call.ones().values()]


def _one_or_all(render: Callable[[Exchange, str], View]) -> Callable[[Call], Any]:
    """A single object when asked for one symbol, else a list."""

    def answer(call: Call) -> Any:
        rows = [render(call.exchange, symbol) for symbol in call.ones()]
        return rows[0] if call.params.get("symbol") else rows

    return answer


def _best(call: Call) -> View:
    return {"book_ticker": best_view(call.exchange, call.one().symbol)}


def _depth(call: Call) -> View:
    limit = call.params.integer("limit", 20)
    if not 5 <= limit <= 1_000:
        raise bad("limit")
    bids, asks = levels_view(call.exchange, call.one().symbol, limit)
    return {"T": call.now_ms, "bids": bids, "asks": asks}


def _funding_history(call: Call) -> list[View]:
    one, limit = call.one(), call.params.integer("limit", 100)
    if not 1 <= limit <= 1_000:
        raise bad("limit")
    rows = [row for row in call.exchange.funding_rows[one.symbol] if row.at_ms >= 0][-limit:]
    return [
        {"symbol": name_of(one), "fundingRate": f"{row.rate:.8f}", "fundingTime": row.at_ms} for row in reversed(rows)
    ]


def _klines(call: Call) -> list[View]:
    one, span_ms = call.one(), _SPANS_MS.get(call.params.text("interval"))
    if span_ms is None:
        raise bad("interval")
    digits = one.price_decimals
    candles = call.exchange.candles.latest(one.symbol, span_ms, call.params.integer("limit", 500), call.now_ms)
    return [
        {
            "time": candle.open_ms,
            "open": f"{candle.open:.{digits}f}",
            "close": f"{candle.close:.{digits}f}",
            "high": f"{candle.high:.{digits}f}",
            "low": f"{candle.low:.{digits}f}",
            "volume": "0",
        }
        for candle in reversed(candles)
    ]


def _nothing(call: Call) -> list[View]:
    return []


def _no_symbols(call: Call) -> View:
    return {"symbols": []}


PUBLIC = {
    ("GET", f"{SWAP}/v2/server/time"): Endpoint(_time),
    ("GET", f"{SWAP}/v2/quote/contracts"): Endpoint(_contracts),
    ("GET", f"{SWAP}/v2/quote/premiumIndex"): Endpoint(_one_or_all(premium_view)),
    ("GET", f"{SWAP}/v2/quote/ticker"): Endpoint(_one_or_all(ticker_view)),
    ("GET", f"{SWAP}/v2/quote/bookTicker"): Endpoint(_best),
    ("GET", f"{SWAP}/v2/quote/depth"): Endpoint(_depth),
    ("GET", f"{SWAP}/v2/quote/fundingRate"): Endpoint(_funding_history),
    ("GET", f"{SWAP}/v3/quote/klines"): Endpoint(_klines),
    ("GET", "/openApi/cswap/v1/market/contracts"): Endpoint(_nothing),
    ("GET", "/openApi/spot/v1/common/symbols"): Endpoint(_no_symbols),
}
"""What needs no key; of its other markets, asked by clients that know all, the exchange has none."""
