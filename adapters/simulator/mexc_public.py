"""The paths of MEXC's contract interface that need no key: contracts, prices, books, funding."""

from typing import Any

from adapters.simulator.book import BUY, SELL
from adapters.simulator.mexc_call import Call, Endpoint, Route, paged
from adapters.simulator.mexc_errors import WireError
from adapters.simulator.mexc_views import View, num

_INTERVALS_MS = {
    "Min1": 60_000,
    "Min5": 300_000,
    "Min15": 900_000,
    "Min30": 1_800_000,
    "Min60": 3_600_000,
    "Hour4": 14_400_000,
    "Hour8": 28_800_000,
    "Day1": 86_400_000,
}


def _ping(call: Call) -> int:
    return call.now_ms


def _one_or_all(call: Call, rows: list[View]) -> Any:
    return rows[0] if "symbol" in call.params else rows


def _detail(call: Call) -> Any:
    return _one_or_all(call, [call.views.contract(symbol) for symbol in call.symbols()])


def _ticker(call: Call) -> Any:
    return _one_or_all(call, [call.views.ticker(symbol, call.now_ms) for symbol in call.symbols()])


def _price(name: str) -> Endpoint:
    def handle(call: Call) -> View:
        row = call.views.ticker(call.listed(call.parts[0]), call.now_ms)
        return {"symbol": row["symbol"], name: row[name], "timestamp": call.now_ms}

    return Endpoint(handle, private=False)


def _funding(call: Call) -> View:
    return call.views.funding(call.listed(call.parts[0]), call.now_ms)


def _fundings(call: Call) -> list[View]:
    return [call.views.funding(symbol, call.now_ms) for symbol in call.views.names]


def _funding_history(call: Call) -> View:
    symbol = call.symbol()
    rows = [call.views.settled(symbol, row) for row in reversed(call.exchange.funding_rows[symbol])]
    return paged(call, rows)


def _depth(call: Call) -> View:
    symbol = call.listed(call.parts[0])
    limit = call.params.integer("limit", 1_000)
    book = call.exchange.books[symbol]
    book.show()
    return {
        "asks": call.views.levels(symbol, book.levels(SELL)[:limit]),
        "bids": call.views.levels(symbol, book.levels(BUY)[:limit]),
        "version": book.update_id,
        "timestamp": call.now_ms,
    }


def _candles(call: Call) -> View:
    """Candles of the mark since the exchange opened; no volume."""
    symbol = call.listed(call.parts[-1])
    interval_ms = _INTERVALS_MS.get(call.params.text("interval", "Min1"))
    if interval_ms is None:
        raise WireError(600)
    rows = call.exchange.candles.latest(symbol, interval_ms, 2_000, call.now_ms)
    columns = {"open": "open", "close": "close", "high": "high", "low": "low"}
    prices = {name: [num(getattr(row, field)) for row in rows] for name, field in columns.items()}
    nothing = [0] * len(rows)
    return {"time": [row.open_ms // 1_000 for row in rows], **prices, "vol": nothing, "amount": nothing}


def _no_deals(call: Call) -> list[View]:
    """Nobody trades here but clients, and their trades are not public."""
    call.listed(call.parts[0])
    return []


def _currencies(call: Call) -> list[str]:
    return sorted({one.quote for one in call.exchange.instruments.values()})


def _no_markets(call: Call) -> View:
    return {"symbols": []}


def _none(call: Call) -> list[View]:
    return []


_BASE = "/api/v1/contract"

PUBLIC: dict[Route, Endpoint] = {
    ("GET", f"{_BASE}/ping", 0): Endpoint(_ping, private=False),
    ("GET", f"{_BASE}/detail", 0): Endpoint(_detail, private=False, most=1, interval_ms=5_000),
    ("GET", f"{_BASE}/detail/country", 0): Endpoint(_detail, private=False, most=1, interval_ms=5_000),
    ("GET", f"{_BASE}/support_currencies", 0): Endpoint(_currencies, private=False),
    ("GET", f"{_BASE}/ticker", 0): Endpoint(_ticker, private=False),
    ("GET", f"{_BASE}/fair_price", 1): _price("fairPrice"),
    ("GET", f"{_BASE}/index_price", 1): _price("indexPrice"),
    ("GET", f"{_BASE}/funding_rate", 0): Endpoint(_fundings, private=False),
    ("GET", f"{_BASE}/funding_rate", 1): Endpoint(_funding, private=False),
    ("GET", f"{_BASE}/funding_rate/history", 0): Endpoint(_funding_history, private=False),
    ("GET", f"{_BASE}/depth", 1): Endpoint(_depth, private=False),
    ("GET", f"{_BASE}/kline", 1): Endpoint(_candles, private=False),
    ("GET", f"{_BASE}/kline/fair_price", 1): Endpoint(_candles, private=False),
    ("GET", f"{_BASE}/deals", 1): Endpoint(_no_deals, private=False),
}
"""Paths without a key, after /api/v1/contract."""

SPOT: dict[Route, Endpoint] = {
    ("GET", "/api/v3/exchangeInfo", 0): Endpoint(_no_markets, private=False),
    ("GET", "/api/v3/capital/config/getall", 0): Endpoint(_none, private=False),
}
"""What clients ask of the spot service before they begin: there is nothing. Its answers have no envelope."""
