"""The tally: what has been traded, paid, sent and not understood, as far as limits and people ask for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from agent.core.events import Unknown
from agent.core.orders import Order, S

DAY_NS = 24 * 3600 * S
MINUTE_NS = 60 * S
KINDS = 50
"""Kinds of unreadable words that are told apart; whoever makes up new ones must not fill the memory."""


class Tally:
    """Sums since the start, in the quote currency, and what was increased and sent lately."""

    def __init__(self) -> None:
        self.fills = 0
        self.fees = 0.0
        self.turnover = 0.0
        self.refused = 0
        self.unread: dict[str, int] = {}
        """How often something could not be read, by stream and kind."""
        self._increases: deque[tuple[int, float]] = deque()
        self._sent: deque[int] = deque()

    def traded(self, order: Order, value: float, at: int) -> None:
        """Part of an order has traded for ``value``."""
        self.turnover += value
        if not order.reduce:
            self._increased(value, at)

    def recall(self, order: Order) -> None:
        """An order of an earlier run: its increases still count for a day."""
        if not order.reduce and order.filled_lots:
            self._increased(order.worth(order.filled_lots), order.created_at)

    def _increased(self, value: float, at: int) -> None:
        """Increases within a minute are one row, so that a day's are few, however much is traded."""
        if self._increases and at < self._increases[-1][0] + MINUTE_NS:
            at, before = self._increases.pop()
            value += before
        self._increases.append((at, value))

    def sent(self, at: int) -> None:
        """An order was sent."""
        self._sent.append(at)

    def misread(self, word: Unknown) -> bool:
        """Count something that could not be read; whether it is the first of its kind."""
        kind = f"{word.stream} {word.what.partition(':')[0]:.40}"
        if kind not in self.unread and len(self.unread) >= KINDS:
            kind = "others"
        self.unread[kind] = self.unread.get(kind, 0) + 1
        return self.unread[kind] == 1

    def increased_today(self, live: Iterable[Order], now: int) -> float:
        """Value of increases in the last 24 hours, with everything that ``live`` orders may still add."""
        while self._increases and self._increases[0][0] + MINUTE_NS < now - DAY_NS:
            self._increases.popleft()
        open_ = sum(order.worth(order.open_lots) for order in live if not order.reduce)
        return sum(value for _, value in self._increases) + open_

    def sent_last_minute(self, now: int) -> int:
        """How many orders were sent in the last minute."""
        while self._sent and self._sent[0] < now - MINUTE_NS:
            self._sent.popleft()
        return len(self._sent)
