"""What a REST request of Binance USDⓈ-M is made of, and what a handler is given to answer from."""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from adapters.simulator.binance_errors import missing, not_valid
from adapters.simulator.instruments import Instrument
from adapters.simulator.side import BaseCall
from adapters.simulator.wire import WireError

if TYPE_CHECKING:
    from adapters.simulator.binance import Binance

_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,18})?")


class Params:
    """The parameters of a request; what is missing or malformed raises the venue's error."""

    def __init__(self, pairs: dict[str, str]) -> None:
        self._pairs = pairs

    def __contains__(self, name: str) -> bool:
        return bool(self._pairs.get(name))

    def get(self, name: str) -> str | None:
        """The value, or None when it is absent or empty."""
        return self._pairs.get(name) or None

    def text(self, name: str, default: str | None = None) -> str:
        """The value; mandatory without a default."""
        value = self._pairs.get(name) or default
        if value is None:
            raise missing(name)
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """The value as a whole number; mandatory without a default."""
        value = self._pairs.get(name)
        if not value and default is not None:
            return default
        if not value or not value.lstrip("-").isdecimal() or len(value) > 20:
            raise missing(name)
        return int(value)

    def number(self, name: str) -> Decimal:
        """The value as an exact decimal; mandatory."""
        value = self._pairs.get(name) or ""
        if not _NUMBER.fullmatch(value):
            raise missing(name)
        return Decimal(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """The value as a truth value."""
        value = (self._pairs.get(name) or str(default)).lower()
        if value not in ("true", "false"):
            raise not_valid(name)
        return value == "true"

    def limit(self, default: int, most: int) -> int:
        """The `limit` of a list; beyond `most` it is not valid."""
        value = self.integer("limit", default)
        if not 0 < value <= most:
            raise not_valid("limit")
        return value

    def span(self) -> tuple[int, int]:
        """`startTime` and `endTime` in milliseconds, all of time by default."""
        return self.integer("startTime", 0), self.integer("endTime", 1 << 62)


class Call(BaseCall[Params]):
    """A request that has passed the gateway: who asks for what, when."""

    side: "Binance"

    def symbol(self) -> str:
        """The mandatory `symbol`, which must be listed."""
        symbol = self.params.text("symbol")
        if symbol not in self.exchange.books:
            raise WireError(-1121, "Invalid symbol.")
        return symbol

    def symbols(self) -> list[str]:
        """The one `symbol` asked for, or all."""
        return [self.symbol()] if "symbol" in self.params else list(self.exchange.books)

    def listing(self, symbol: str) -> Instrument:
        """The instrument of a symbol."""
        return self.exchange.instruments[symbol]


Weight = Callable[[Params], int]
Responder = Callable[[Call], Any]


class Endpoint(Struct, frozen=True):
    """What a path costs, who may use it (NONE, KEY or SIGNED) and who answers.

    `orders` is what it adds to the order counts of ten seconds and of a minute.
    """

    handle: Responder
    weight: Weight
    security: str = "NONE"
    orders: tuple[int, int] = (0, 0)
    funding_pool: bool = False


def flat(weight: int) -> Weight:
    """The same weight for every request."""
    return lambda params: weight


def per_symbol(one: int, every: int) -> Weight:
    """A weight for one symbol and another without."""
    return lambda params: one if "symbol" in params else every
