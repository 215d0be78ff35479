"""The synthetic order book of one instrument: levels around the mark that orders can eat up."""

import math
from decimal import Decimal
from weakref import WeakSet

from adapters.simulator.instruments import Instrument

BUY = 1
SELL = -1

Level = tuple[Decimal, Decimal]
"""A price and the quantity to be had there."""

REFILL_MS = 1_000
"""How long liquidity that was taken stays away when the mark stands still."""

_NOBODY: Level = (Decimal(0), Decimal(0))

DEPTH = 50
"""Levels on each side."""


class Book:
    """Bids and asks around a mark price, or none at all where an instrument has no liquidity.

    The best prices stand half a spread from the mark, further levels follow at even gaps with
    growing size. What an order takes is gone until the mark moves or `REFILL_MS` have passed, so a
    large order pays impact and many small ones pay the same. `update_id` grows with every change.
    """

    def __init__(self, instrument: Instrument, mark: Decimal, update_id: int) -> None:
        self.update_id = update_id
        self.changed_ms = 0
        self._trackers: WeakSet[Tracker] = WeakSet()
        self._taken: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
        self._taken_ms = 0
        self._cache: dict[int, list[Level]] = {}
        self.relist(instrument)
        self.mark = mark

    def relist(self, instrument: Instrument) -> None:
        """Take over changed grids or liquidity."""
        self._instrument = instrument
        half = Decimal(repr(instrument.spread_bps)) / 20_000
        self._bid_factor = (1 - half) / instrument.tick
        self._ask_factor = (1 + half) / instrument.tick
        self._cache.clear()

    def touch(self, now_ms: int) -> None:
        """Note that the levels are others now, though the mark is the same."""
        self._change(now_ms)

    def move(self, mark: Decimal, now_ms: int) -> None:
        """Put the book around a new mark; what was taken is there again."""
        if mark == self.mark:
            return
        self.mark = mark
        self._taken[0].clear()
        self._taken[1].clear()
        self._change(now_ms)

    def refill(self, now_ms: int) -> None:
        """Give back taken liquidity once it has been away for `REFILL_MS`."""
        taken = self._taken[0] or self._taken[1]
        if taken and now_ms - self._taken_ms >= REFILL_MS:
            self._taken[0].clear()
            self._taken[1].clear()
            self._change(now_ms)

    @property
    def best_bid(self) -> Level:
        """The highest bid and its quantity; noughts when nobody bids."""
        if not self._instrument.liquidity:
            return _NOBODY
        return self.levels(BUY)[0] if self._taken[0] else self._level(BUY, 0)

    @property
    def best_ask(self) -> Level:
        """The lowest ask and its quantity; noughts when nobody asks."""
        if not self._instrument.liquidity:
            return _NOBODY
        return self.levels(SELL)[0] if self._taken[1] else self._level(SELL, 0)

    def levels(self, side: int) -> list[Level]:
        """What is left on one side, best price first: `BUY` gives the bids, `SELL` the asks."""
        if not self._instrument.liquidity:
            return []
        cached = self._cache.get(side)
        if cached is None:
            taken = self._taken[0 if side == BUY else 1]
            cached = []
            for depth in range(DEPTH):
                price, quantity = self._level(side, depth)
                left = quantity - taken.get(price, Decimal(0)) if taken else quantity
                if left > 0 and price > 0:
                    cached.append((price, left))
            if not cached:  # all eaten: one lot far away, so that there always is a best price
                price, _ = self._level(side, DEPTH)
                cached.append((max(price, self._instrument.tick), self._instrument.step))
            self._cache[side] = cached
        return cached

    def reachable(self, side: int, quantity: Decimal, limit: Decimal | None) -> list[Level]:
        """The levels an incoming order would take, never beyond its limit price."""
        found: list[Level] = []
        for price, there in self.levels(-side):
            if limit is not None and (price - limit) * side > 0:
                break
            amount = min(quantity, there)
            found.append((price, amount))
            quantity -= amount
            if not quantity:
                break
        return found

    def take(self, side: int, fills: list[Level], now_ms: int) -> None:
        """Remove what an incoming order on `side` has matched."""
        if not fills:
            return
        taken = self._taken[1 if side == BUY else 0]
        for price, quantity in fills:
            taken[price] = taken.get(price, Decimal(0)) + quantity
        self._taken_ms = now_ms
        self._change(now_ms)

    def track(self) -> "Tracker":
        """Begin to note which prices change, for a stream of differences."""
        tracker = Tracker(self)
        self._trackers.add(tracker)
        return tracker

    def show(self) -> None:
        """Note that somebody is about to read the levels: streams of differences must agree."""
        for tracker in self._trackers:
            tracker.fold()

    def _change(self, now_ms: int) -> None:
        self.update_id += 1
        self.changed_ms = now_ms
        self._cache.clear()

    def _level(self, side: int, depth: int) -> Level:
        one = self._instrument
        bid = int(self.mark * self._bid_factor)
        gap = max(1, round(float(self.mark / one.tick) * one.level_gap_bps / 10_000))
        if side == BUY:
            ticks = bid - depth * gap
        else:
            ticks = max(bid + 1, math.ceil(self.mark * self._ask_factor)) + depth * gap
        value = one.liquidity * (1 + depth / 2)
        steps = max(1, int(value / float(one.value(one.step, self.mark))))
        return ticks * one.tick, steps * one.step


class Tracker:
    """The prices of a book that have changed since somebody last asked.

    Changes are found by comparing what was last shown with what there is, whenever it is shown
    again: to the stream, or to a reader of the whole book. What nobody saw need not be told.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._touched: dict[int, set[Decimal]] = {BUY: set(), SELL: set()}
        self._shown = {side: book.levels(side) for side in (BUY, SELL)}

    def fold(self) -> None:
        """Add the prices that differ from what was last shown."""
        for side, prices in self._touched.items():
            now = self._book.levels(side)
            prices.update(price for price, _ in set(self._shown[side]) ^ set(now))
            self._shown[side] = now

    def differences(self) -> dict[int, list[Level]]:
        """Every level that changed since the last call, with its quantity now; zero means gone."""
        self.fold()
        found: dict[int, list[Level]] = {}
        for side, prices in self._touched.items():
            now = dict(self._shown[side])
            found[side] = [(price, now.get(price, Decimal(0))) for price in sorted(prices)]
            prices.clear()
        return found
