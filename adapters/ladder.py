"""A book that is kept from its differences: what a venue shows first, and then what has changed in it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum


class Change(Enum):
    """What became of a difference."""

    TAKEN = "taken"
    OLD = "old"
    """It was in the book already."""
    GAP = "gap"
    """Something before it is missing: the book is no more, and has to be asked for anew."""


class Ladder:
    """The best ``depth`` levels on both sides of one instrument, as (price, size), and the last update they hold."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._last: int | None = None
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}

    @property
    def bids(self) -> tuple[tuple[float, float], ...]:
        """The highest first."""
        return tuple(self._bids.items())

    @property
    def asks(self) -> tuple[tuple[float, float], ...]:
        """The lowest first."""
        return tuple(self._asks.items())

    def forget(self) -> None:
        """What was known is not any more."""
        self._last = None

    def begin(self, last: int, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> Change:
        """A whole book, which holds all updates up to ``last``."""
        self._bids, self._asks = {}, {}
        return self._fold(last, bids, asks)

    def change(
        self, first: int, last: int, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]
    ) -> Change:
        """The levels that updates ``first`` to ``last`` have changed; a size of nought takes one away."""
        if self._last is None:
            return Change.GAP
        if last <= self._last:
            return Change.OLD
        if first > self._last + 1:
            self.forget()
            return Change.GAP
        return self._fold(last, bids, asks)

    def _fold(self, last: int, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> Change:
        self._bids = self._best(self._bids, bids, highest=True)
        self._asks = self._best(self._asks, asks, highest=False)
        self._last = last
        if self._bids and self._asks and next(iter(self._bids)) >= next(iter(self._asks)):
            self.forget()  # a crossed book lacks something as well
            return Change.GAP
        return Change.TAKEN

    def _best(
        self, side: dict[float, float], changes: Iterable[tuple[float, float]], *, highest: bool
    ) -> dict[float, float]:
        merged = {**side, **dict(changes)}
        there = sorted(((price, size) for price, size in merged.items() if size), reverse=highest)
        return dict(there[: self._depth])
