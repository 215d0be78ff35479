"""The endpoints of Binance USDⓈ-M that need no key: instruments, prices, books, funding."""

from decimal import Decimal
from typing import Any

from adapters.simulator.arithmetic import money, on_grid, plain
from adapters.simulator.binance_call import Call, Endpoint, Params, flat, per_symbol
from adapters.simulator.binance_streams import level_text
from adapters.simulator.binance_views import View, funding_info_view, funding_view, premium_view, symbol_view
from adapters.simulator.book import BUY, SELL
from adapters.simulator.wire import WireError

_DAY_MS = 86_400_000
_TRADE_SIZE = 4_000
"""What a trade comes to in quote asset, to tell how many there were."""

_DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}

_INTERVALS_MS = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": _DAY_MS,
}


def _ping(call: Call) -> View:
    return {}


def _time(call: Call) -> View:
    return {"serverTime": call.now_ms}


def _exchange_info(call: Call) -> View:
    """Every symbol, whatever `symbol` says."""
    binance = call.side
    return {
        "timezone": "UTC",
        "serverTime": call.now_ms,
        "futuresType": binance.futures,
        "rateLimits": [
            _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, binance.weight_limit),
            _rate_limit("ORDERS", "MINUTE", 1, binance.orders_1m),
            _rate_limit("ORDERS", "SECOND", 10, binance.orders_10s),
        ],
        "exchangeFilters": [],
        "assets": [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": "-10000"}
            for asset in dict.fromkeys(one.asset for one in call.exchange.instruments.values())
        ],
        "symbols": [symbol_view(one) for one in call.exchange.instruments.values()],
    }


def _rate_limit(kind: str, interval: str, number: int, limit: int) -> View:
    return {
        "rateLimitType": kind,
        "interval": interval,
        "intervalNum": number,
        "limit": limit,
    }


def _one_or_all(call: Call, rows: list[View]) -> Any:
    """One row where one symbol is asked for, but the coin-margined side always answers with a list."""
    return rows[0] if "symbol" in call.params and not call.side.coin_margined else rows


def _premium_index(call: Call) -> Any:
    rows = [premium_view(call.exchange, symbol, call.now_ms) for symbol in call.symbols()]
    return _one_or_all(call, rows)


def _depth(call: Call) -> View:
    symbol = call.symbol()
    limit = call.params.integer("limit", 500)
    if limit not in _DEPTH_WEIGHTS:
        raise WireError(-4021, f"{limit} is not valid depth limit")
    book, one = call.exchange.books[symbol], call.listing(symbol)
    book.show()
    return {
        "lastUpdateId": book.update_id,
        "E": call.now_ms,
        "T": book.changed_ms,
        "bids": [level_text(level, one) for level in book.levels(BUY)[:limit]],
        "asks": [level_text(level, one) for level in book.levels(SELL)[:limit]],
    }


def _depth_weight(params: Params) -> int:
    text = params.get("limit") or "500"
    return _DEPTH_WEIGHTS.get(int(text) if text.isdecimal() else 0, 1)


def _book_ticker(call: Call) -> Any:
    rows = []
    for symbol in call.symbols():
        book, one = call.exchange.books[symbol], call.listing(symbol)
        bid, ask = level_text(book.best_bid, one), level_text(book.best_ask, one)
        rows.append(
            {
                "symbol": symbol,
                "bidPrice": bid[0],
                "bidQty": bid[1],
                "askPrice": ask[0],
                "askQty": ask[1],
                "time": call.now_ms,
                "lastUpdateId": book.update_id,
            }
        )
    return _one_or_all(call, rows)


def _last_price(call: Call, symbol: str) -> str:
    """The last trade's price: the mark on the price grid, since only marks are simulated."""
    one = call.listing(symbol)
    return on_grid(call.exchange.books[symbol].mark.quantize(one.tick), one.price_decimals)


def _ticker_price(call: Call) -> Any:
    rows = [{"symbol": symbol, "price": _last_price(call, symbol), "time": call.now_ms} for symbol in call.symbols()]
    return _one_or_all(call, rows)


def _ticker_24hr(call: Call) -> Any:
    """The last day's prices, with an invented turnover that fits its mean price."""
    rows = []
    for symbol in call.symbols():
        one = call.listing(symbol)
        day = call.exchange.candles.over(symbol, _DAY_MS, call.now_ms)
        change = day.close - day.open
        price = [on_grid(p, one.price_decimals) for p in (day.open, day.high, day.low, day.close)]
        mean = on_grid((day.open + day.high + day.low + day.close) / 4, one.price_decimals)
        volume = (one.day_turnover / one.value(Decimal(1), Decimal(mean))).quantize(one.step)
        trades = int(one.day_turnover / _TRADE_SIZE)
        if one.inverse:
            total = {"pair": one.pair, "baseVolume": money(one.notional(volume, Decimal(mean)))}
        else:
            total = {"quoteVolume": plain(volume * Decimal(mean))}
        rows.append(
            {
                "symbol": symbol,
                **total,
                "priceChange": on_grid(change, one.price_decimals),
                "priceChangePercent": f"{change / day.open * 100:.3f}",
                "weightedAvgPrice": mean,
                "lastPrice": price[3],
                "lastQty": on_grid(one.step, one.quantity_decimals),
                "openPrice": price[0],
                "highPrice": price[1],
                "lowPrice": price[2],
                "volume": on_grid(volume, one.quantity_decimals),
                "openTime": call.now_ms - _DAY_MS,
                "closeTime": call.now_ms,
                "firstId": 1,
                "lastId": trades,
                "count": trades,
            }
        )
    return _one_or_all(call, rows)


def _klines(call: Call) -> list[list[Any]]:
    """Candles of the mark since the exchange opened, on the exchange's clock; no volume."""
    symbol = call.symbol()
    interval_ms = _INTERVALS_MS.get(call.params.text("interval"))
    if interval_ms is None:
        raise WireError(-1120, "Invalid interval.")
    start_ms, end_ms = call.params.span()
    one = call.listing(symbol)
    rows: list[list[Any]] = []
    for candle in call.exchange.candles.latest(symbol, interval_ms, call.params.limit(500, 1500), call.now_ms):
        if not start_ms <= candle.open_ms <= end_ms:
            continue
        prices = (candle.open, candle.high, candle.low, candle.close)
        text = [on_grid(price, one.price_decimals) for price in prices]
        close_ms = candle.open_ms + interval_ms - 1
        rows.append([candle.open_ms, *text, "0", close_ms, "0", 0, "0", "0", "0"])
    return rows


def _agg_trades(call: Call) -> list[View]:
    symbol = call.symbol()
    one, book = call.listing(symbol), call.exchange.books[symbol]
    quantity = on_grid(one.step, one.quantity_decimals)
    return [
        {
            "a": book.update_id,
            "p": _last_price(call, symbol),
            "q": quantity,
            "nq": quantity,
            "f": book.update_id,
            "l": book.update_id,
            "T": book.changed_ms or call.now_ms,
            "m": False,
        }
    ]


def _trades(call: Call) -> list[View]:
    symbol = call.symbol()
    one, book = call.listing(symbol), call.exchange.books[symbol]
    price = _last_price(call, symbol)
    return [
        {
            "id": book.update_id,
            "price": price,
            "qty": on_grid(one.step, one.quantity_decimals),
            "quoteQty": f"{one.value(one.step, Decimal(price)):f}",
            "time": book.changed_ms or call.now_ms,
            "isBuyerMaker": False,
        }
    ]


def _open_interest(call: Call) -> View:
    symbol = call.symbol()
    held = sum(
        abs(position.quantity)
        for account in call.exchange.accounts.values()
        for position in account.held()
        if position.symbol == symbol
    )
    return {"symbol": symbol, "openInterest": f"{held:f}" if held else "0", "time": call.now_ms}


def _funding_rate(call: Call) -> list[View]:
    """Settled rates, oldest first; without a start time the newest ones."""
    start_ms, end_ms = call.params.span()
    limit = call.params.limit(100, 1000)
    rows = [
        (row.at_ms, symbol, row)
        for symbol in call.symbols()
        for row in call.exchange.funding_rows[symbol]
        if start_ms <= row.at_ms <= end_ms
    ]
    rows.sort(key=lambda row: row[:2])
    chosen = rows[:limit] if "startTime" in call.params else rows[-limit:]
    return [funding_view(call.listing(symbol), row) for _, symbol, row in chosen]


def _funding_info(call: Call) -> list[View]:
    return [funding_info_view(one) for one in call.exchange.instruments.values()]


PUBLIC = {
    ("GET", "/fapi/v1/ping"): Endpoint(_ping, flat(1)),
    ("GET", "/fapi/v1/time"): Endpoint(_time, flat(1)),
    ("GET", "/fapi/v1/exchangeInfo"): Endpoint(_exchange_info, flat(1)),
    ("GET", "/fapi/v1/premiumIndex"): Endpoint(_premium_index, per_symbol(1, 10)),
    ("GET", "/fapi/v1/depth"): Endpoint(_depth, _depth_weight),
    ("GET", "/fapi/v1/ticker/bookTicker"): Endpoint(_book_ticker, per_symbol(2, 5)),
    ("GET", "/fapi/v1/ticker/price"): Endpoint(_ticker_price, per_symbol(1, 2)),
    ("GET", "/fapi/v2/ticker/price"): Endpoint(_ticker_price, per_symbol(1, 2)),
    ("GET", "/fapi/v1/ticker/24hr"): Endpoint(_ticker_24hr, per_symbol(1, 40)),
    ("GET", "/fapi/v1/klines"): Endpoint(_klines, flat(5)),
    ("GET", "/fapi/v1/markPriceKlines"): Endpoint(_klines, flat(5)),
    ("GET", "/fapi/v1/aggTrades"): Endpoint(_agg_trades, flat(20)),
    ("GET", "/fapi/v1/trades"): Endpoint(_trades, flat(5)),
    ("GET", "/fapi/v1/openInterest"): Endpoint(_open_interest, flat(1)),
    ("GET", "/fapi/v1/fundingRate"): Endpoint(_funding_rate, flat(0), funding_pool=True),
    ("GET", "/fapi/v1/fundingInfo"): Endpoint(_funding_info, flat(0), funding_pool=True),
    ("GET", "/api/v3/ping"): Endpoint(_ping, flat(1)),
    ("GET", "/api/v3/time"): Endpoint(_time, flat(1)),
}
"""Endpoints without a key. The two spot paths are what clients ping when they start."""
