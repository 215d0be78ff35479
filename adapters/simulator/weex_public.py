"""The endpoints of WEEX V3 that need no key: contracts, prices, books, funding; and what clients ask of spot first."""

from decimal import Decimal
from typing import Any

from adapters.simulator.arithmetic import money, on_grid, plain
from adapters.simulator.book import BUY, SELL
from adapters.simulator.weex_call import Call, Endpoint, View
from adapters.simulator.weex_views import contract_view, day_view, level_text, premium_view
from adapters.simulator.wire import WireError

_WEEK_MS = 7 * 86_400_000

_INTERVALS_MS = {
    "1m": 60_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}


def _ping(call: Call) -> View:
    return {}


def _time(call: Call) -> View:
    return {"serverTime": call.now_ms}


def _exchange_info(call: Call) -> View:
    limits = zip(
        ("REQUEST_WEIGHT", "ORDERS", "ORDERS"),
        ("MINUTE", "SECOND", "MINUTE"),
        (1, 10, 1),
        call.side.limits,
        strict=True,
    )
    coins = dict.fromkeys(one.base for one in call.exchange.instruments.values())
    return {
        "assets": [
            *({"asset": coin, "marginAvailable": False} for coin in coins),
            {"asset": "USDT", "marginAvailable": True},
        ],
        "rateLimits": [
            {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}
            for kind, interval, number, limit in limits
        ],
        "symbols": [
            contract_view(call.listing(symbol), as_text=bool(number % 2))
            for number, symbol in enumerate(call.symbols())
        ],
    }


def _tradable(call: Call) -> list[str]:
    return [symbol for symbol in call.exchange.books if call.listing(symbol).status == "TRADING"]


def _premium_index(call: Call) -> list[View]:
    return [premium_view(call.exchange, symbol, call.now_ms) for symbol in call.symbols()]


def _day(call: Call) -> list[View]:
    return [day_view(call.exchange, symbol, call.now_ms) for symbol in call.symbols()]


def _book_ticker(call: Call) -> list[View]:
    rows = []
    for symbol in call.symbols():
        book, one = call.exchange.books[symbol], call.listing(symbol)
        bid, ask = level_text(book.best_bid, one), level_text(book.best_ask, one)
        row = {"symbol": symbol, "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}
        rows.append({**row, "time": call.now_ms})
    return rows


def _depth(call: Call) -> View:
    symbol, limit = call.symbol(), call.params.integer("limit", 15)
    if limit not in (15, 200):
        raise WireError(-1140, "limit must be 15 or 200.")
    book, one = call.exchange.books[symbol], call.listing(symbol)
    return {
        "bids": [level_text(level, one) for level in book.levels(BUY)[:limit]],
        "asks": [level_text(level, one) for level in book.levels(SELL)[:limit]],
        "lastUpdateId": book.update_id,
    }


def _last_price(call: Call, symbol: str) -> str:
    """The last trade's price: the mark on the price grid, since only marks are simulated."""
    one = call.listing(symbol)
    return on_grid(call.exchange.books[symbol].mark.quantize(one.tick), one.price_decimals)


def _symbol_price(call: Call) -> View:
    """The index, unless the mark is asked for."""
    symbol = call.symbol()
    marked = call.params.text("priceType", "INDEX") == "MARK"
    price = call.exchange.books[symbol].mark if marked else call.exchange.index_price(symbol)
    return {"symbol": symbol, "price": plain(price), "time": call.now_ms}


def _open_interest(call: Call) -> View:
    symbol = call.symbol()
    accounts = call.exchange.accounts.values()
    held = sum(abs(one.quantity) for account in accounts for one in account.held() if one.symbol == symbol)
    return {"symbol": symbol, "openInterest": plain(Decimal(held)), "time": call.now_ms}


def _trades(call: Call) -> list[View]:
    symbol = call.symbol()
    one, book = call.listing(symbol), call.exchange.books[symbol]
    price = _last_price(call, symbol)
    row = {"id": str(book.update_id), "time": book.changed_ms or call.now_ms, "price": price, "qty": plain(one.step)}
    return [{**row, "quoteQty": plain(Decimal(price) * one.step), "isBestMatch": True, "isBuyerMaker": False}]


def _klines(call: Call) -> list[list[Any]]:
    """Candles of the mark since the exchange opened; no volume."""
    symbol = call.symbol()
    interval_ms = call.params.choice("interval", _INTERVALS_MS)
    one, limit = call.listing(symbol), call.params.page(1_000)[1]
    rows: list[list[Any]] = []
    for candle in call.exchange.candles.latest(symbol, interval_ms, limit, call.now_ms):
        prices = (candle.open, candle.high, candle.low, candle.close)
        text = [on_grid(price, one.price_decimals) for price in prices]
        rows.append([candle.open_ms, *text, "0", candle.open_ms + interval_ms - 1, "0", 0, "0", "0"])
    return rows


def _funding_rate(call: Call) -> list[View]:
    """Settled rates of no more than a week, the newest last."""
    symbol = call.symbol()
    start_ms, end_ms = call.params.span()
    if start_ms and min(end_ms, call.now_ms) - start_ms > _WEEK_MS:
        raise WireError(-1170, "Time range cannot exceed 7 days.")
    rows = [row for row in call.exchange.funding_rows[symbol] if start_ms <= row.at_ms <= end_ms]
    return [
        {"symbol": symbol, "fundingRate": money(row.rate), "fundingTime": row.at_ms, "markPrice": money(row.mark)}
        for row in rows[-call.params.page(1_000)[1] :]
    ]


def _spot_info(call: Call) -> View:
    """No spot market is simulated."""
    return {"symbols": []}


def _coins(call: Call) -> list[View]:
    return [{"coin": "USDT", "name": "USDT", "networkList": []}]


def _open(handle: Any, weight: int = 1) -> Endpoint:
    return Endpoint(handle, weight, signed=False)


PUBLIC = {
    ("GET", "/capi/v3/market/time"): _open(_time),
    ("GET", "/capi/v3/market/exchangeInfo"): _open(_exchange_info),
    ("GET", "/capi/v3/market/apiTradingSymbols"): _open(_tradable, 5),
    ("GET", "/capi/v3/market/premiumIndex"): _open(_premium_index),
    ("GET", "/capi/v3/market/ticker/24hr"): _open(_day, 40),
    ("GET", "/capi/v3/market/ticker/bookTicker"): _open(_book_ticker),
    ("GET", "/capi/v3/market/depth"): _open(_depth),
    ("GET", "/capi/v3/market/symbolPrice"): _open(_symbol_price),
    ("GET", "/capi/v3/market/openInterest"): _open(_open_interest, 2),
    ("GET", "/capi/v3/market/trades"): _open(_trades, 5),
    ("GET", "/capi/v3/market/klines"): _open(_klines),
    ("GET", "/capi/v3/market/markPriceKlines"): _open(_klines),
    ("GET", "/capi/v3/market/indexPriceKlines"): _open(_klines),
    ("GET", "/capi/v3/market/historyKlines"): _open(_klines, 5),
    ("GET", "/capi/v3/market/fundingRate"): _open(_funding_rate, 5),
    ("GET", "/api/v3/ping"): _open(_ping),
    ("GET", "/api/v3/time"): _open(_time),
    ("GET", "/api/v3/exchangeInfo"): _open(_spot_info),
    ("GET", "/api/v3/coins"): _open(_coins, 5),
}
"""Endpoints without a key."""
