"""What a REST request of MEXC's contract interface is made of, and what a handler is given to answer from."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from adapters.simulator.mexc_errors import WireError
from adapters.simulator.mexc_views import View, Views
from adapters.simulator.side import BaseCall, Key

if TYPE_CHECKING:
    from adapters.simulator.mexc import Mexc


class Fields:
    """The fields of a query or of an object in a body; what is missing or malformed raises the venue's error."""

    def __init__(self, pairs: Mapping[str, object]) -> None:
        self._pairs = pairs

    def __contains__(self, name: str) -> bool:
        return self._pairs.get(name) not in (None, "")

    def text(self, name: str, default: str | None = None) -> str:
        """The value; mandatory without a default."""
        value = self._pairs.get(name)
        if value is None or value == "":
            if default is None:
                raise WireError(600, f"Parameter error! {name} is missing")
            return default
        return str(value)

    def number(self, name: str) -> Decimal:
        """The value as an exact decimal; mandatory."""
        try:
            value = Decimal(self.text(name))
        except InvalidOperation:
            raise WireError(600, f"Parameter error! {name}") from None
        if not value.is_finite() or abs(value) > 10**15:
            raise WireError(600, f"Parameter error! {name}")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """The value as a whole number; mandatory without a default."""
        if default is not None and name not in self:
            return default
        value = self.number(name)
        if value != value.to_integral_value():
            raise WireError(600, f"Parameter error! {name}")
        return int(value)

    def flag(self, name: str) -> bool:
        """The value as a truth value, false by default."""
        return str(self._pairs.get(name)).lower() == "true"


class Call(BaseCall[Fields]):
    """A request that has passed the gate: who asks for what, when. `parts` are what its path says besides its name."""

    side: "Mexc"

    def __init__(
        self, mexc: "Mexc", key: Key | None, fields: Fields, body: object, parts: Sequence[str], now_ms: int
    ) -> None:
        super().__init__(mexc, key, fields, now_ms)
        self.views: Views = mexc.views
        self.body = body
        self.parts = parts

    def listed(self, name: str) -> str:
        """The exchange's symbol of one of the venue's; it must be listed."""
        symbol = self.views.symbols.get(name)
        if symbol is None:
            raise WireError(1001)
        return symbol

    def symbol(self) -> str:
        """The mandatory `symbol`."""
        return self.listed(self.params.text("symbol"))

    def symbols(self) -> list[str]:
        """The one `symbol` asked for, or all."""
        return [self.symbol()] if "symbol" in self.params else list(self.views.names)

    def page(self, rows: Sequence[Any], default: int = 20) -> list[Any]:
        """The page of rows that is asked for."""
        number, size = self.params.integer("page_num", 1), self.params.integer("page_size", default)
        if number < 1 or not 1 <= size <= 1_000:
            raise WireError(600)
        return list(rows[(number - 1) * size : number * size])

    def objects(self) -> list[Fields]:
        """The body as a list of objects."""
        if not isinstance(self.body, list) or not all(isinstance(row, dict) for row in self.body):
            raise WireError(600)
        return [Fields(row) for row in self.body]


def paged(call: Call, rows: Sequence[View]) -> View:
    """A page of rows with its frame."""
    size = call.params.integer("page_size", 20)
    return {
        "pageSize": size,
        "totalCount": len(rows),
        "totalPage": -(-len(rows) // size),
        "currentPage": call.params.integer("page_num", 1),
        "resultList": call.page(rows),
    }


class Endpoint(Struct, frozen=True):
    """Who answers a path, whether it needs a key, and how many requests it takes within how long."""

    handle: Callable[[Call], Any]
    private: bool = True
    most: int = 20
    interval_ms: int = 2_000
    trades: bool = False
    """Whether it needs the right to trade."""
    places: bool = False
    """Whether it places orders."""


Route = tuple[str, str, int]
"""Method, path, and how many parts of the path follow it."""
