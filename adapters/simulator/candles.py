"""Candles of the mark since the exchange opened, for charts and for clients that ask for them."""

from collections import deque
from decimal import Decimal

from msgspec import Struct

MINUTE_MS = 60_000
KEPT_MINUTES = 10_000


class Candle(Struct):
    """Open, high, low and close from `open_ms` on."""

    open_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


class Candles:
    """One-minute candles of every symbol on the exchange's clock, the last `KEPT_MINUTES` of them.

    Minutes in which nothing moved have none: `latest` leaves them out.
    """

    def __init__(self) -> None:
        self._minutes: dict[str, deque[Candle]] = {}

    def note(self, symbol: str, price: Decimal, now_ms: int) -> None:
        """Take in a price."""
        minutes = self._minutes.get(symbol)
        if minutes is None:
            minutes = self._minutes[symbol] = deque(maxlen=KEPT_MINUTES)
        open_ms = now_ms - now_ms % MINUTE_MS
        if not minutes or minutes[-1].open_ms != open_ms:
            opening = minutes[-1].close if minutes else price
            minutes.append(Candle(open_ms, opening, max(opening, price), min(opening, price), price))
            return
        candle = minutes[-1]
        candle.close = price
        if price > candle.high:
            candle.high = price
        elif price < candle.low:
            candle.low = price

    def over(self, symbol: str, span_ms: int, now_ms: int) -> Candle:
        """All minutes of the last `span_ms` in one; where nothing moved in it, the last price there was."""
        minutes = self._minutes[symbol]
        since_ms = now_ms - span_ms
        within = [minute for minute in minutes if minute.open_ms + MINUTE_MS > since_ms]
        if not within:
            last = minutes[-1].close
            return Candle(since_ms, last, last, last, last)
        high, low = max(one.high for one in within), min(one.low for one in within)
        return Candle(since_ms, within[0].open, high, low, within[-1].close)

    def latest(self, symbol: str, interval_ms: int, limit: int, now_ms: int) -> list[Candle]:
        """The newest candles of an interval, oldest first; the last may still be open."""
        found: dict[int, Candle] = {}
        since_ms = now_ms - limit * interval_ms
        for minute in self._minutes.get(symbol, ()):
            if minute.open_ms + MINUTE_MS <= since_ms:
                continue
            open_ms = minute.open_ms - minute.open_ms % interval_ms
            candle = found.get(open_ms)
            if candle is None:
                found[open_ms] = Candle(open_ms, minute.open, minute.high, minute.low, minute.close)
                continue
            candle.high = max(candle.high, minute.high)
            candle.low = min(candle.low, minute.low)
            candle.close = minute.close
        return list(found.values())[-limit:]
