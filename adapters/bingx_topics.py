"""What BingX's market data sockets subscribe to, at the pace that the venue takes, until each topic is acknowledged."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec.json import encode

from adapters.bingx_tables import SECOND
from agent.core.events import MARKET
from agent.core.venue import Say

TOPICS_MAX: Final = 200
"""On one socket."""
SUBSCRIBE_NS: Final = SECOND // 8
"""Between two subscriptions: the venue takes about ten messages a second."""
ACKNOWLEDGE_NS: Final = 10 * SECOND
"""A subscription that is not acknowledged within this time is sent again."""
FAST: Final = ("BTC-USDT", "ETH-USDT")
"""The books of these two are pushed more often than others."""


def topics_of(symbols: Sequence[str], *, depth: bool) -> dict[str, tuple[str, ...]]:
    """The topics of each market data socket: marks on one, the rest on as many as the limit on topics demands."""
    books = [f"{symbol}@bookTicker" for symbol in symbols]
    books += [f"{symbol}@depth20@{200 if symbol in FAST else 500}ms" for symbol in symbols] if depth else []
    parts = [tuple(books[start : start + TOPICS_MAX]) for start in range(0, len(books), TOPICS_MAX)]
    marks = {MARKET: tuple(f"{symbol}@markPrice" for symbol in symbols)}
    return marks | {f"public{part or ''}": topics for part, topics in enumerate(parts)}


class Subscriptions:
    """Those of all open sockets; a topic is named by itself in the answer to its subscription."""

    def __init__(self, topics: dict[str, tuple[str, ...]]) -> None:
        self.topics = topics
        self._waiting: dict[str, deque[str]] = {}
        """Still to be subscribed to, by socket, …"""
        self._say_at: dict[str, int] = {}
        """… when the next of them may be, …"""
        self._said: dict[str, dict[str, int]] = {}
        """… and those without an acknowledgement yet, with the time when they are again."""

    def begin(self, socket: str, now: int) -> list[Say]:
        """A socket is open: what to say first."""
        self._waiting[socket], self._said[socket], self._say_at[socket] = deque(self.topics[socket]), {}, now
        return self._next(socket, now)

    def end(self, socket: str) -> None:
        """A socket is gone."""
        for table in (self._waiting, self._said, self._say_at):
            table.pop(socket, None)

    def acknowledged(self, socket: str, topic: str) -> None:
        """The venue has taken a subscription."""
        self._said.get(socket, {}).pop(topic, None)

    def due(self, now: int) -> list[Say]:
        """What to say now, again where no word came back."""
        wishes: list[Say] = []
        for socket, said in self._said.items():
            for topic in [topic for topic, at in said.items() if now >= at]:
                del said[topic]
                self._waiting[socket].append(topic)
            wishes += self._next(socket, now)
        return wishes

    def wake_at(self) -> list[int]:
        """When something may be due next."""
        waiting = [self._say_at[socket] for socket, topics in self._waiting.items() if topics]
        return waiting + [at for said in self._said.values() for at in said.values()]

    def _next(self, socket: str, now: int) -> list[Say]:
        if not self._waiting[socket] or now < self._say_at[socket]:
            return []
        topic = self._waiting[socket].popleft()
        self._say_at[socket], self._said[socket][topic] = now + SUBSCRIBE_NS, now + ACKNOWLEDGE_NS
        command = {"id": topic, "reqType": "sub", "dataType": topic}
        return [Say(socket, encode(command).decode())]
