"""What a REST request of WEEX V3 is made of, what a handler is given to answer from, and how the venue says no.

It does so in two ways: a request that is wrong in itself gets an HTTP error; one that is understood and not carried out
gets HTTP 200 and ``success: false`` where it is about an order. The documents give few codes for the latter, so what
they leave open goes under the system error with words in the style of those that were seen.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import Reason, Rejected
from adapters.simulator.side import BaseCall
from adapters.simulator.wire import WireError

if TYPE_CHECKING:
    from adapters.simulator.weex import Weex

View = dict[str, Any]

ID_BASE: Final = 700_000_000_000_000_000
"""Ids are numbers beyond what a float holds exactly, as the venue's are."""

_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,18})?")


def empty(name: str) -> WireError:
    """A mandatory parameter that is absent."""
    return WireError(-1141, f"{name} cannot be empty.")


def wrong(name: str) -> WireError:
    """A parameter that can't be read or is out of range."""
    return WireError(-1142, f"{name} is invalid.")


_MARGIN = "FAILED_PRECONDITION: available amount not enough"
_BUSY = "FAILED_PRECONDITION: there are open orders or positions"

_CODES: dict[Reason, tuple[int, str]] = {
    Reason.ACCOUNT_BARRED: (-1050, "User status is abnormal."),
    Reason.ACCOUNT_INACTIVE: (-1057, "User account is locked."),
    Reason.ACCOUNT_REDUCE_ONLY: (-1050, "User status is abnormal: close only."),
    Reason.BAND_HIGH: (-1142, "price is higher than the limit of {}."),
    Reason.BAND_LOW: (-1142, "price is lower than the limit of {}."),
    Reason.BAND_MARKET: (-1142, "there is no counterparty within the price limit."),
    Reason.CANNOT_FILL: (-1142, "the order could not be filled at once."),
    Reason.CLIENT_ID_IN_USE: (-1142, "newClientOrderId is duplicated."),
    Reason.CLOSED_SYMBOL: (-1058, "The trading pair is not supported via the API"),
    Reason.LEVERAGE_INVALID: (-3313, "Leverage exceeds maximum limit."),
    Reason.LEVERAGE_POSITION: (-1054, _MARGIN),
    Reason.LEVERAGE_MARGIN: (-1054, _MARGIN),
    Reason.LEVERAGE_ISOLATED: (-1054, "FAILED_PRECONDITION: leverage of an isolated position"),
    Reason.MARGIN: (-1054, _MARGIN),
    Reason.MARGIN_AMOUNT: (-1142, "amount is invalid."),
    Reason.MARGIN_CROSS_SHORT: (-1054, "FAILED_PRECONDITION: Move margin available amount not enough."),
    Reason.MARGIN_ISOLATED_SHORT: (-1054, "FAILED_PRECONDITION: Move margin available amount not enough."),
    Reason.MARGIN_NO_POSITION: (-1054, "FAILED_PRECONDITION: position is not found"),
    Reason.MARGIN_NOT_ISOLATED: (-1054, "FAILED_PRECONDITION: position is not isolated"),
    Reason.MARGIN_TYPE_HAS_ORDERS: (-1054, _BUSY),
    Reason.MARGIN_TYPE_HAS_POSITION: (-1054, _BUSY),
    Reason.MARGIN_TYPE_SAME: (-1142, "marginType is so already."),
    Reason.POSITION_LIMIT: (-1054, _MARGIN),
    Reason.PRICE_PRECISION: (-1160, "Decimal precision error."),
    Reason.PRICE_TICK: (-1160, "Decimal precision error."),
    Reason.QUANTITY_MAX: (-3007, "Maximum contract order quantity exceeded."),
    Reason.QUANTITY_PRECISION: (-1160, "Decimal precision error."),
    Reason.QUANTITY_STEP: (-1160, "Decimal precision error."),
    Reason.REDUCE_ONLY: (-1054, "FAILED_PRECONDITION: the position is smaller than the order that closes it"),
    Reason.TOO_MANY_ORDERS: (-1142, "too many open orders."),
    Reason.UNKNOWN_ORDER: (-3200, "FAILED_ORDER_NOT_FOUND"),
}

_TEXTS: Final = {
    -1000: "An unknown error occurred.",
    -1044: "Invalid ACCESS_KEY.",
    -1046: "Request timestamp expired.",
    -1047: "API authentication failed.",
    -1049: "API key or passphrase incorrect.",
    -1052: "Insufficient permissions for this action.",
    -1054: "System error, please retry later.",
    -1056: "illegal IP",
    -2200: "Order does not exist.",
    -3235: "No permission for this trading pair.",
    -3236: "No permission to access this API.",
    **dict(_CODES.values()),
}


def text_of(code: int) -> str:
    """The venue's words for a code; none where it is not known here."""
    return _TEXTS.get(code, "").replace("{}", "0")


def refusal_of(rejected: Rejected) -> tuple[int, str]:
    """The venue's code and words for what the exchange does not carry out."""
    code, text = _CODES.get(rejected.reason, (-1142, rejected.reason.value))
    return code, text.format(rejected.detail)


class Params:
    """The parameters of a request; what is missing or malformed raises the venue's error."""

    def __init__(self, pairs: Mapping[str, Any]) -> None:
        self._pairs = pairs

    @classmethod
    def of_body(cls, body: bytes) -> "Params":
        """Those of a JSON object."""
        try:
            return cls(msgspec.json.decode(body or b"{}", type=dict[str, Any]))
        except (msgspec.DecodeError, msgspec.ValidationError):
            raise WireError(-1135, "Invalid JSON request.") from None

    def __contains__(self, name: str) -> bool:
        return self._pairs.get(name) not in (None, "")

    def get(self, name: str) -> str | None:
        """The value as text, or None when it is absent or empty."""
        value = self._pairs.get(name)
        if value in (None, ""):
            return None
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    def text(self, name: str, default: str | None = None) -> str:
        """The value; mandatory without a default."""
        value = self.get(name) or default
        if value is None:
            raise empty(name)
        return value

    def choice(self, name: str, choices: Mapping[str, Any], code: int = -1142) -> Any:
        """What one of some words stands for; mandatory."""
        word = self.text(name)
        if word not in choices:
            raise WireError(code, f"{name} is invalid.")
        return choices[word]

    def integer(self, name: str, default: int | None = None) -> int:
        """The value as a whole number; mandatory without a default."""
        value = self.get(name)
        if value is None and default is not None:
            return default
        if value is None:
            raise empty(name)
        if not value.lstrip("-").isdecimal() or len(value) > 20:
            raise wrong(name)
        return int(value)

    def number(self, name: str) -> Decimal:
        """The value as an exact decimal; mandatory."""
        value = self.text(name)
        if not _NUMBER.fullmatch(value):
            raise wrong(name)
        return Decimal(value)

    def items(self, name: str) -> list[str]:
        """A list of ids; none when it is absent."""
        value = self._pairs.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise wrong(name)
        return [str(one) for one in value]

    def page(self, most: int) -> tuple[int, int]:
        """Where a page of a list begins and how long it is."""
        limit, page = self.integer("limit", most), self.integer("page", 0)
        if not 0 < limit <= most:
            raise WireError(-1140, f"limit must be between 1 and {most}.")
        if page < 0:
            raise wrong("page")
        return page * limit, limit

    def span(self) -> tuple[int, int]:
        """`startTime` and `endTime` in milliseconds, all of time by default."""
        start_ms, end_ms = self.integer("startTime", 0), self.integer("endTime", 1 << 62)
        if start_ms > end_ms:
            raise WireError(-1171, "startTime cannot be greater than endTime.")
        return start_ms, end_ms


class Call(BaseCall[Params]):
    """A request that has passed the gateway: who asks for what, when."""

    side: "Weex"

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


class Endpoint(Struct, frozen=True):
    """What a path costs its address, who answers, whether it needs a key, and whether it places an order."""

    handle: Callable[[Call], Any]
    weight: int
    signed: bool = True
    places: bool = False
    """Whether it counts as an order."""
    trades: bool = False
    """Whether the key needs the right to trade."""
