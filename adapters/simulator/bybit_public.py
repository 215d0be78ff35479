"""The endpoints of Bybit v5 that need no key: instruments, tickers, books, margin tiers, funding, candles."""

from decimal import Decimal

from adapters.simulator.arithmetic import plain
from adapters.simulator.book import BUY, SELL, Level
from adapters.simulator.bybit_call import Call, Endpoint, View
from adapters.simulator.bybit_errors import parameter
from adapters.simulator.bybit_views import contract_row, money, risk_rows, ticker_row

_MINUTE_MS = 60_000
_INTERVALS_MS = {str(minutes): minutes * _MINUTE_MS for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)} | {
    "D": 1_440 * _MINUTE_MS
}
_SYMBOLS_A_PAGE = 15


def _time(call: Call) -> View:
    return {"timeSecond": str(call.now_ms // 1_000), "timeNano": str(call.now_ms * 1_000_000)}


def _instruments(call: Call) -> View:
    """Those that trade, unless another status or one symbol is asked for."""
    rows = [contract_row(one, call.side.spell) for one in call.wanted()]
    if "symbol" not in call.params:
        status = call.params.text("status", "Trading")
        rows = [row for row in rows if row["status"] == status]
    return {"category": call.category(), **call.page(rows, 500, 1000)}


def _tickers(call: Call) -> View:
    rows = [ticker_row(call.exchange, one, call.side.spell) for one in call.wanted()]
    return {"category": call.category(), "list": rows}


def level_text(level: Level) -> list[str]:
    """A price level as the wire writes it."""
    return [plain(level[0]), plain(level[1])]


def _orderbook(call: Call) -> View:
    one = call.listing()
    book, limit = call.exchange.books[one.symbol], call.params.integer("limit", 25)
    if not 1 <= limit <= 1000:
        raise parameter("limit invalid")
    book.show()
    return {
        "s": call.side.spell(one),
        "b": [level_text(level) for level in book.levels(BUY)[:limit]],
        "a": [level_text(level) for level in book.levels(SELL)[:limit]],
        "ts": call.now_ms,
        "u": book.update_id,
        "seq": book.update_id,
        "cts": book.changed_ms or call.now_ms,
    }


def _risk_limit(call: Call) -> View:
    """Fifteen symbols on a page, each with all its lines."""
    wanted = call.wanted()
    start = call.params.integer("cursor", 0)
    page = wanted[start : start + _SYMBOLS_A_PAGE]
    end = start + _SYMBOLS_A_PAGE
    rows = [row for one in page for row in risk_rows(one, call.side.spell)]
    return {"category": call.category(), "list": rows, "nextPageCursor": str(end) if end < len(wanted) else ""}


def _funding_history(call: Call) -> View:
    """Settled rates, newest first."""
    one = call.listing()
    if "startTime" in call.params and "endTime" not in call.params:
        raise parameter("endTime is missing")
    start_ms, end_ms = call.params.span()
    rows = [
        {
            "symbol": call.side.spell(one),
            "fundingRate": money(row.rate),
            "fundingRateTimestamp": str(row.at_ms),
        }
        for row in reversed(call.exchange.funding_rows[one.symbol])
        if start_ms <= row.at_ms <= end_ms
    ]
    return {"category": call.category(), "list": rows[: call.params.integer("limit", 200)]}


def _price_limit(call: Call) -> View:
    one = call.listing()
    mark = call.exchange.books[one.symbol].mark
    return {
        "symbol": call.side.spell(one),
        "buyLmt": plain((mark * (1 + one.band)) // one.tick * one.tick),
        "sellLmt": plain(-(mark * (1 - one.band) * -1 // one.tick) * one.tick),
        "ts": str(call.now_ms),
    }


def _kline(call: Call) -> View:
    """Candles of the mark since the exchange opened, newest first; no volume."""
    one, interval = call.listing(), _INTERVALS_MS.get(call.params.text("interval"))
    if interval is None:
        raise parameter("interval invalid")
    candles = call.exchange.candles.latest(one.symbol, interval, call.params.integer("limit", 200), call.now_ms)
    rows = [
        [
            str(each.open_ms),
            *(plain(price.quantize(one.tick)) for price in (each.open, each.high, each.low, each.close)),
            "0",
            "0",
        ]
        for each in reversed(candles)
    ]
    return {"category": call.category(), "symbol": call.side.spell(one), "list": rows}


def _trades(call: Call) -> View:
    one = call.listing()
    book = call.exchange.books[one.symbol]
    row = {
        "execId": str(book.update_id),
        "symbol": call.side.spell(one),
        "price": plain(book.mark.quantize(one.tick)),
        "size": plain(one.step),
        "side": "Buy",
        "time": str(book.changed_ms or call.now_ms),
        "isBlockTrade": False,
    }
    return {"category": call.category(), "list": [row]}


def _open_interest(call: Call) -> View:
    one = call.listing()
    held = Decimal(ticker_row(call.exchange, one, call.side.spell)["openInterest"])
    row = {"openInterest": plain(held), "timestamp": str(call.now_ms)}
    return {"category": call.category(), "symbol": call.side.spell(one), "list": [row], "nextPageCursor": ""}


PUBLIC = {
    ("GET", "/v5/market/time"): Endpoint(_time),
    ("GET", "/v5/market/instruments-info"): Endpoint(_instruments),
    ("GET", "/v5/market/tickers"): Endpoint(_tickers),
    ("GET", "/v5/market/orderbook"): Endpoint(_orderbook),
    ("GET", "/v5/market/risk-limit"): Endpoint(_risk_limit),
    ("GET", "/v5/market/funding/history"): Endpoint(_funding_history),
    ("GET", "/v5/market/price-limit"): Endpoint(_price_limit),
    ("GET", "/v5/market/kline"): Endpoint(_kline),
    ("GET", "/v5/market/mark-price-kline"): Endpoint(_kline),
    ("GET", "/v5/market/recent-trade"): Endpoint(_trades),
    ("GET", "/v5/market/open-interest"): Endpoint(_open_interest),
}
"""Endpoints without a key."""
