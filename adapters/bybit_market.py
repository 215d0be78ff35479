"""What Bybit's public topics tell, kept up to date: tickers and books come whole once, and then as what has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from adapters import bybit_frames as wire
from adapters.ladder import Change, Ladder
from adapters.reading import MS
from agent.core.events import Depth, Fact

SECOND: Final = 1_000 * MS
MARK_NS: Final = SECOND
"""A mark that stays as it is is told again this often, as long as its ticker speaks."""
DEPTH: Final = 50
"""Levels of a book."""
DEPTH_NS: Final = 100 * MS
AGAIN_NS: Final = 10 * SECOND
"""A book with a gap is asked for anew no sooner than this after the last time."""


class Market:
    """The tickers and books of the portfolio, by its symbols' indices. A topic that is not read raises."""

    def __init__(self, index: Mapping[str, int]) -> None:
        self._index = index
        self._tickers: dict[str, wire.Ticker] = {}
        self._told: dict[str, int] = {}
        """The venue's time of what was told last, by topic."""
        self._updates: dict[str, int] = {}
        self._books: dict[str, Ladder] = {}
        self._mended: dict[str, int] = {}
        """The venue's time when a book was last found torn, by topic."""
        self._torn: list[str] = []

    def begin(self, socket: str) -> None:
        """A connection begins: what is told on it is not told before it comes whole."""
        if socket == "market":
            self._tickers.clear()
        else:
            self._updates.clear()
            self._books.clear()

    def torn(self) -> list[str]:
        """Topics whose book has a gap and must be sent whole again, drained."""
        torn, self._torn = self._torn, []
        return torn

    def ticker(self, frame: wire.Frame) -> Sequence[Fact]:
        """Mark price and funding."""
        kind, _, symbol = frame.topic.partition(".")
        if kind != "tickers":
            raise ValueError(f"topic {frame.topic:.40}")
        index, news = self._index_of(symbol), wire.TICKER.decode(frame.data)
        if news.symbol != symbol or frame.type not in ("snapshot", "delta"):
            raise ValueError("a ticker that is none of its topic")
        if frame.type == "snapshot":
            ticker = news
        elif (before := self._tickers.get(symbol)) is None:
            return []  # nothing to be changed: the snapshot is on its way
        else:
            ticker = wire.merged(before, news)
        at = frame.ts * MS
        facts = wire.ticker_facts(index, ticker, at)
        self._tickers[symbol] = ticker
        named = news.mark_price or news.index_price or news.funding_rate or news.next_funding_time
        if not named and at < self._told.get(frame.topic, 0) + MARK_NS:
            return []
        self._told[frame.topic] = at
        return facts

    def book(self, frame: wire.Frame) -> Sequence[Fact]:
        """The best prices, or the visible book."""
        kind, _, rest = frame.topic.partition(".")
        levels, _, symbol = rest.partition(".")
        if kind != "orderbook" or levels not in ("1", "50"):
            raise ValueError(f"topic {frame.topic:.40}")
        index, ladder, at = self._index_of(symbol), wire.LADDER.decode(frame.data), frame.ts * MS
        if ladder.s != symbol:
            raise ValueError("a book that is none of its topic")
        if levels == "50":
            return self._depth_facts(index, frame, ladder, at)
        if frame.type != "snapshot":
            raise ValueError("changes of the best prices, which come whole")
        facts = wire.quote_facts(index, ladder, at)
        last = self._updates.get(symbol, 0)
        if ladder.u < last and ladder.u != 1:  # the venue counts anew from 1 after a restart
            return []
        self._updates[symbol] = ladder.u
        return facts

    def _depth_facts(self, index: int, frame: wire.Frame, ladder: wire.Ladder, at: int) -> Sequence[Fact]:
        """The book as it is now; one with a gap is not known until the venue has sent it whole again."""
        topic, whole = frame.topic, frame.type == "snapshot"
        if (book := self._books.get(topic)) is None and not whole:
            return []
        book = self._books.setdefault(topic, Ladder(DEPTH))
        sides = wire.levels_of(ladder.b), wire.levels_of(ladder.a)
        change = book.begin(ladder.u, *sides) if whole else book.change(ladder.u, ladder.u, *sides)
        if change is Change.GAP:
            self._tear(topic, at)
        if change is not Change.TAKEN or (not whole and at < self._told.get(topic, 0) + DEPTH_NS):
            return []
        self._told[topic] = at
        return [Depth(index, book.bids, book.asks, at)]

    def _tear(self, topic: str, at: int) -> None:
        self._books.pop(topic, None)
        last = self._mended.get(topic)
        if last is None or at >= last + AGAIN_NS:
            self._mended[topic] = at
            self._torn.append(topic)

    def _index_of(self, symbol: str) -> int:
        index = self._index.get(symbol)
        if index is None:
            raise ValueError(f"{symbol:.40} is not in the portfolio")
        return index
