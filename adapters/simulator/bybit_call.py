"""What a request of Bybit v5 is made of, and what a handler is given to answer from."""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from adapters.simulator.bybit_errors import parameter
from adapters.simulator.instruments import Instrument
from adapters.simulator.side import BaseCall
from adapters.simulator.wire import WireError

if TYPE_CHECKING:
    from adapters.simulator.bybit import Bybit

View = dict[str, Any]

_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,18})?")
CATEGORIES = ("linear", "inverse", "spot", "option")


class Params:
    """The parameters of a request, from a query or a body; what is missing or malformed raises the venue's error."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) not in (None, "")

    def text(self, name: str, default: str | None = None) -> str:
        """The value; mandatory without a default."""
        value = self.values.get(name)
        if value in (None, ""):
            if default is None:
                raise parameter(f"{name} is missing")
            return default
        return str(value)

    def integer(self, name: str, default: int | None = None) -> int:
        """The value as a whole number; mandatory without a default."""
        text = self.text(name, None if default is None else str(default))
        if not re.fullmatch(r"-?\d{1,19}", text):
            raise parameter(f"{name} invalid")
        return int(text)

    def number(self, name: str) -> Decimal:
        """The value as an exact decimal, which must come as text or as a number; mandatory."""
        text = self.text(name)
        if not _NUMBER.fullmatch(text):
            raise parameter(f"{name} invalid")
        return Decimal(text)

    def flag(self, name: str) -> bool:
        """The value as a truth value; false unless told."""
        value = self.values.get(name)
        if value not in (None, "", True, False, "true", "false"):
            raise parameter(f"{name} invalid")
        return value in (True, "true")

    def span(self) -> tuple[int, int]:
        """`startTime` and `endTime` in milliseconds, all of time by default."""
        return self.integer("startTime", 0), self.integer("endTime", 1 << 62)


class Call(BaseCall[Params]):
    """A request that has passed the gateway: who asks for what, when."""

    side: "Bybit"
    extra: object = None
    """What stands beside the result, as for the rows of a batch."""

    def category(self) -> str:
        """The mandatory kind of contract."""
        category = self.params.text("category")
        if category not in CATEGORIES:
            raise parameter("Illegal category")
        return category

    def listings(self) -> list[Instrument]:
        """The instruments of the category asked for, by our own symbols."""
        category = self.category()
        return [one for one in self.exchange.instruments.values() if category_of(one) == category]

    def listing(self) -> Instrument:
        """The instrument of the mandatory `symbol`."""
        symbol = self.params.text("symbol")
        for one in self.listings():
            if self.side.spell(one) == symbol:
                return one
        raise parameter("symbol invalid")

    def wanted(self) -> list[Instrument]:
        """The one `symbol` asked for, or all."""
        return [self.listing()] if "symbol" in self.params else self.listings()

    def page(self, rows: Sequence[View], default: int, most: int) -> View:
        """Part of a list: `limit` rows from the `cursor` on, and the next cursor where there are more."""
        limit = min(self.params.integer("limit", default), most)
        start = self.params.integer("cursor", 0)
        if limit < 1 or start < 0:
            raise parameter("limit invalid")
        end = start + limit
        return {"list": list(rows[start:end]), "nextPageCursor": str(end) if end < len(rows) else ""}


Responder = Callable[[Call], Any]


class Endpoint(Struct, frozen=True):
    """Who answers a path, and what it takes from which of an account's budgets by the second.

    Without a budget it is for everybody. `orders`: it is a request about orders, which a key must be allowed to make.
    """

    handle: Responder
    budget: str = ""
    orders: bool = False


def category_of(one: Instrument) -> str:
    """The kind of contract that an instrument is."""
    return "inverse" if one.inverse else "linear"


def refused(error: WireError) -> View:
    """One row of a batch that has failed."""
    return {"code": error.code, "msg": error.message}
