"""Order entry of Binance over a websocket: the frames that place and cancel orders, and what answers them.

Each frame is signed for itself, so that every kind of key will do and no session has to be logged on; answers echo its
``id``, have a status as over HTTP, and say how much of the request budgets is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from adapters.reading import MISREAD
from agent.core.venue import Reply

SOCKET: Final = "entry"
METHODS: Final = {"POST": "order.place", "DELETE": "order.cancel"}
"""What is said for a request that would otherwise go to the path of orders."""
NUMBERS: Final = ("recvWindow", "timestamp")
"""Parameters that are numbers there; all others are text."""
COUNTS: Final = {
    ("REQUEST_WEIGHT", "MINUTE", 1): "x-mbx-used-weight-1m",
    ("ORDERS", "SECOND", 10): "x-mbx-order-count-10s",
    ("ORDERS", "MINUTE", 1): "x-mbx-order-count-1m",
}
"""Budgets by their kind and interval, and the headers that tell of them over HTTP."""


class Count(Struct, rename="camel"):
    """How much of a request budget is used."""

    rate_limit_type: str
    interval: str
    interval_num: int
    count: int


class Said(Struct, rename="camel"):
    """A frame that answers; ``id`` is None where the venue has ended the session of a key."""

    id: int | None
    status: int
    result: Raw = Raw()
    error: Raw = Raw()
    rate_limits: list[Count] = []


_SAID: Final = Decoder(Said)


class BinanceEntry:
    """The websocket at ``url``. ``sign`` signs text in bytes, ``key`` is the API key."""

    socket = SOCKET

    def __init__(self, url: str, key: str, sign: Callable[[bytes], str]) -> None:
        self.url = url
        self.up = False
        """It is open, and every order said on it so far was answered."""
        self._key = key
        self._sign = sign

    def frame(self, tag: int, method: str, params: Sequence[tuple[str, str]]) -> bytes:
        """An order or a cancel, signed: its parameters by name, as they stand in it, and the key among them."""
        words = dict(sorted([*params, ("apiKey", self._key)]))
        signature = self._sign("&".join(f"{name}={word}" for name, word in words.items()).encode())
        said: dict[str, Any] = {name: int(word) if name in NUMBERS else word for name, word in words.items()}
        return encode({"id": tag, "method": METHODS[method], "params": {**said, "signature": signature}})

    def answer(self, data: bytes) -> tuple[int, Reply] | None:
        """The tag of the call that a frame answers, and the answer as it would come over HTTP."""
        try:
            said = _SAID.decode(data)
        except MISREAD:
            return None
        if said.id is None:
            return None
        headers = {
            COUNTS[budget]: str(one.count)
            for one in said.rate_limits
            if (budget := (one.rate_limit_type, one.interval, one.interval_num)) in COUNTS
        }
        return said.id, Reply(said.status, headers, bytes(said.error) or bytes(said.result))
