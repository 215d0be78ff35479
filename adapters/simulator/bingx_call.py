"""What a REST request of BingX's perpetuals is made of, and what a handler is given to answer from."""

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct

from adapters.simulator.bingx_errors import WireError, bad
from adapters.simulator.bingx_views import name_of
from adapters.simulator.instruments import Instrument
from adapters.simulator.side import BaseCall

if TYPE_CHECKING:
    from adapters.simulator.bingx import BingX

SWAP: Final = "/openApi/swap"


class Params:
    """The parameters of a request; what is missing or malformed raises the venue's error."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._pairs = pairs

    def get(self, *names: str) -> str | None:
        """The value under the first of these names that has one."""
        return next((value for name in names if (value := self._pairs.get(name))), None)

    def text(self, name: str, default: str | None = None) -> str:
        """The value; mandatory without a default."""
        value = self._pairs.get(name) or default
        if value is None:
            raise bad(f"{name} is required")
        return value

    def number(self, name: str) -> Decimal:
        """The value as an exact decimal; mandatory."""
        try:
            value = Decimal(self.text(name))
        except InvalidOperation:
            raise bad(f"{name} is not a number") from None
        if not value.is_finite() or abs(value) > 10**15:
            raise bad(f"{name} is not a number")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """The value as a whole number; mandatory without a default."""
        value = self._pairs.get(name)
        if not value and default is not None:
            return default
        if not value or not value.lstrip("-").isdecimal() or len(value) > 19:
            raise bad(f"{name} is not a whole number")
        return int(value)


class Call(BaseCall[Params]):
    """A request that has passed the gateway: who asks for what, when."""

    side: "BingX"

    def one(self) -> Instrument:
        """The instrument of the mandatory symbol."""
        return self.named(self.params.text("symbol"))

    def named(self, name: str) -> Instrument:
        """The instrument of a symbol as this venue writes it."""
        for one in self.exchange.instruments.values():
            if name_of(one) == name:
                return one
        raise WireError(109425, f"{name} not exist, please verify it")

    def ones(self) -> dict[str, Instrument]:
        """The one asked for, or all, by the exchange's own name."""
        wanted = [self.one()] if self.params.get("symbol") else self.exchange.instruments.values()
        return {one.symbol: one for one in wanted}


class Endpoint(Struct, frozen=True):
    """Who answers a path, and how often an account may ask in a second: 0 where it is open to all.

    ``bare``: the answer comes without the venue's envelope.
    """

    handle: Callable[[Call], Any]
    per_second: int = 0
    bare: bool = False


def pairs_of(text: str) -> list[tuple[str, str]]:
    """The parameters of a query, a form or a JSON body, decoded, in the order of sending."""
    if text.startswith("{"):
        try:
            row = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError:
            return []
        return [(name, scalar(value)) for name, value in row.items()]
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]


def scalar(value: object) -> str:
    """A value of JSON as it would stand in a query."""
    return str(value).lower() if isinstance(value, bool) else str(value)
