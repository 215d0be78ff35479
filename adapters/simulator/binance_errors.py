"""The error codes of Binance USDⓈ-M, and which refusal of the exchange has which."""

from decimal import Decimal

from adapters.simulator.orders import Reason, Rejected
from adapters.simulator.wire import WireError


def bad_key_format() -> WireError:
    """A key that cannot be one, or none at all."""
    return WireError(-2014, "API-key format invalid.", 401)


def bad_key() -> WireError:
    """A key nobody knows, or one without the right."""
    return WireError(-2015, "Invalid API-key, IP, or permissions for action.", 401)


def missing(name: str) -> WireError:
    """A mandatory parameter that is absent or cannot be read."""
    return WireError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def not_needed(name: str) -> WireError:
    """A parameter that must not be there."""
    return WireError(-1106, f"Parameter '{name}' sent when not required.")


def not_valid(name: str) -> WireError:
    """A parameter whose value is out of range."""
    return WireError(-1130, f"Data sent for parameter '{name}' is not valid.")


_NOT_RECORDED = "The order will not be recorded in the order history"

_CODES: dict[Reason, tuple[int, str]] = {
    Reason.ACCOUNT_BARRED: (-4088, "User can not place order currently."),
    Reason.ACCOUNT_INACTIVE: (-4109, "This account is inactive, please activate the account first."),
    Reason.ACCOUNT_REDUCE_ONLY: (-4087, "User can only place reduce only order."),
    Reason.BAND_HIGH: (-4016, "Limit price can't be higher than {}."),
    Reason.BAND_LOW: (-4024, "Limit price can't be lower than {}."),
    Reason.BAND_MARKET: (
        -4131,
        "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    ),
    Reason.CANNOT_FILL: (
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected. " + _NOT_RECORDED,
    ),
    Reason.CLIENT_ID_IN_USE: (-4116, "ClientOrderId is duplicated."),
    Reason.CLOSED_SYMBOL: (-4140, "Invalid symbol status for opening position."),
    Reason.LEVERAGE_INVALID: (-4028, "Leverage {} is not valid"),
    Reason.LEVERAGE_POSITION: (
        -2027,
        "Exceeded the maximum allowable position at current leverage.",
    ),
    Reason.LEVERAGE_MARGIN: (
        -2028,
        "Leverage is smaller than permitted: insufficient margin balance.",
    ),
    Reason.LEVERAGE_ISOLATED: (
        -4161,
        "Leverage reduction is not supported in Isolated Margin Mode with open positions.",
    ),
    Reason.MARGIN: (-2019, "Margin is insufficient."),
    Reason.MARGIN_AMOUNT: (-4055, "Amount must be positive."),
    Reason.MARGIN_CROSS_SHORT: (-4050, "Cross balance insufficient."),
    Reason.MARGIN_ISOLATED_SHORT: (-4051, "Isolated balance insufficient."),
    Reason.MARGIN_NO_POSITION: (-4054, "Cannot add position margin: position is 0."),
    Reason.MARGIN_NOT_ISOLATED: (-4049, "Add margin only support for isolated position."),
    Reason.MARGIN_TYPE_HAS_ORDERS: (
        -4047,
        "Margin type cannot be changed if there exists open orders.",
    ),
    Reason.MARGIN_TYPE_HAS_POSITION: (
        -4048,
        "Margin type cannot be changed if there exists position.",
    ),
    Reason.MARGIN_TYPE_SAME: (-4046, "No need to change margin type."),
    Reason.MIN_NOTIONAL: (
        -4164,
        "Order's notional must be no smaller than {} (unless you choose reduce only).",
    ),
    Reason.MODE_HAS_ORDERS: (
        -4067,
        "Position side cannot be changed if there exists open orders.",
    ),
    Reason.MODE_HAS_POSITIONS: (
        -4068,
        "Position side cannot be changed if there exists position.",
    ),
    Reason.MODE_SAME: (-4059, "No need to change position side."),
    Reason.NOT_AMENDABLE: (-5025, "Only limit order is supported."),
    Reason.NOTHING_TO_AMEND: (-5027, "No need to modify the order."),
    Reason.AMEND_REDUCE_ONLY: (-5047, "The original order is not a reduce-only order."),
    Reason.POSITION_LIMIT: (
        -2027,
        "Exceeded the maximum allowable position at current leverage.",
    ),
    Reason.POSITION_SIDE: (-4061, "Order's position side does not match user's setting."),
    Reason.PRICE_MAX: (-4002, "Price greater than max price."),
    Reason.PRICE_PRECISION: (-1111, "Precision is over the maximum defined for this asset."),
    Reason.PRICE_TICK: (-4014, "Price not increased by tick size."),
    Reason.PRICE_ZERO: (-4001, "Price less than 0."),
    Reason.QUANTITY_MAX: (-4005, "Quantity greater than max quantity."),
    Reason.QUANTITY_MIN: (-4004, "Quantity less than min quantity."),
    Reason.QUANTITY_PRECISION: (-1111, "Precision is over the maximum defined for this asset."),
    Reason.QUANTITY_STEP: (-4023, "Qty not increased by step size."),
    Reason.QUANTITY_ZERO: (-4003, "Quantity less than or equal to zero."),
    Reason.REDUCE_ONLY: (-2022, "ReduceOnly Order is rejected."),
    Reason.TOO_MANY_ORDERS: (-2025, "Reach max open order limit."),
    Reason.UNKNOWN_ORDER: (-2011, "Unknown order sent."),
    Reason.WOULD_TAKE: (
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected. " + _NOT_RECORDED,
    ),
}


_TEXTS = {
    -1001: "Internal error; unable to process your request. Please try again.",
    -1002: "You are not authorized to execute this request.",
    -1003: "Too many requests; please use the websocket for live updates.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1015: "Too many new orders.",
    -1016: "This service is no longer available.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -2013: "Order does not exist.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2018: "Balance is insufficient.",
    -2023: "User in liquidation mode now.",
    -4141: "Symbol is closed.",
    -4192: "Trade forbidden due to Cooling-off Period.",
    -4202: "Intermediate Personal Verification is required for adjusting leverage over 20x.",
    -4400: "Futures Trading Quantitative Rules violated, only reduceOnly order is allowed, please try again later.",
    -4401: "Compliance restricted account permission: can only place reduceOnly order.",
    -5028: "Timestamp for this request is outside of the ME recvWindow.",
    **dict(_CODES.values()),
}


def text_of(code: int) -> str:
    """The venue's words for a code; none where it is not known here."""
    return _TEXTS.get(code, "").replace("{}", "0")


def of_rejection(rejected: Rejected) -> WireError:
    """The venue's code and words for a refusal of the exchange."""
    code, text = _CODES[rejected.reason]
    detail = rejected.detail
    if isinstance(detail, Decimal):
        detail = f"{detail.normalize():f}"
    return WireError(code, text.format(detail))
