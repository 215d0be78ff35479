"""The error codes of Bybit v5, and which refusal of the exchange has which."""

from decimal import Decimal

from adapters.simulator.orders import Reason, Rejected
from adapters.simulator.wire import WireError


def parameter(words: str) -> WireError:
    """A parameter that is missing or makes no sense."""
    return WireError(10001, f"params error: {words}")


_CODES: dict[Reason, tuple[int, str]] = {
    Reason.ACCOUNT_BARRED: (10027, "Transactions are banned."),
    Reason.ACCOUNT_INACTIVE: (110066, "Trading is currently not allowed."),
    Reason.ACCOUNT_REDUCE_ONLY: (110023, "Currently you can only reduce your positions on this contract."),
    Reason.BAND_HIGH: (110003, "Order price exceeds the allowable range: at most {}."),
    Reason.BAND_LOW: (110003, "Order price exceeds the allowable range: at least {}."),
    Reason.BAND_MARKET: (110118, "No available price for the market order."),
    Reason.CANNOT_FILL: (110001, "Order does not exist."),
    Reason.CLIENT_ID_IN_USE: (110072, "OrderLinkedID is duplicate"),
    Reason.CLOSED_SYMBOL: (110074, "This contract is not live"),
    Reason.LEVERAGE_INVALID: (110013, "cannot set leverage {} gt maxLeverage by risk limit"),
    Reason.LEVERAGE_POSITION: (110013, "cannot set leverage gt maxLeverage by risk limit"),
    Reason.LEVERAGE_MARGIN: (110045, "Wallet balance is insufficient."),
    Reason.LEVERAGE_ISOLATED: (110040, "The order will trigger a forced liquidation, please re-submit the order."),
    Reason.MARGIN: (110007, "ab not enough for new order"),
    Reason.MARGIN_AMOUNT: (10001, "params error: margin invalid"),
    Reason.MARGIN_CROSS_SHORT: (110045, "Wallet balance is insufficient."),
    Reason.MARGIN_ISOLATED_SHORT: (110040, "The order will trigger a forced liquidation, please re-submit the order."),
    Reason.MARGIN_NO_POSITION: (110034, "There is no net position."),
    Reason.MARGIN_NOT_ISOLATED: (10001, "params error: margin mode is cross"),
    Reason.MARGIN_TYPE_HAS_ORDERS: (3400045, "Set margin mode failed"),
    Reason.MARGIN_TYPE_HAS_POSITION: (3400045, "Set margin mode failed"),
    Reason.MARGIN_TYPE_SAME: (110026, "Cross/isolated margin mode is not modified"),
    Reason.MIN_NOTIONAL: (110094, "Order does not meet minimum order value {}USDT"),
    Reason.MODE_HAS_ORDERS: (110028, "You have existing open orders, so you cannot switch position mode."),
    Reason.MODE_HAS_POSITIONS: (110024, "You have an existing position, so you cannot switch position mode."),
    Reason.MODE_SAME: (110025, "Position mode is not modified"),
    Reason.NOT_AMENDABLE: (10001, "params error: order is not amendable"),
    Reason.NOTHING_TO_AMEND: (10001, "order not modified"),
    Reason.AMEND_REDUCE_ONLY: (10001, "params error: reduceOnly"),
    Reason.POSITION_LIMIT: (110090, "Order placement failed as your position may exceed the max limit."),
    Reason.POSITION_SIDE: (10001, "position idx not match position mode"),
    Reason.PRICE_MAX: (110003, "Order price exceeds the allowable range."),
    Reason.PRICE_PRECISION: (110049, "Tick size is not valid."),
    Reason.PRICE_TICK: (110049, "Tick size is not valid."),
    Reason.PRICE_ZERO: (10001, "params error: price invalid"),
    Reason.QUANTITY_MAX: (10001, "The number of contracts exceeds maximum limit allowed: too large"),
    Reason.QUANTITY_MIN: (10001, "The number of contracts exceeds minimum limit allowed: too small"),
    Reason.QUANTITY_PRECISION: (10001, "Qty invalid"),
    Reason.QUANTITY_STEP: (10001, "Qty invalid"),
    Reason.QUANTITY_ZERO: (10001, "Qty invalid"),
    Reason.REDUCE_ONLY: (110017, "current position is zero, cannot fix reduce-only order qty"),
    Reason.TOO_MANY_ORDERS: (110020, "Not allowed to have more than 500 orders"),
    Reason.UNKNOWN_ORDER: (110001, "order not exists or too late to cancel"),
    Reason.WOULD_TAKE: (110001, "Order does not exist."),
}

_TEXTS = {
    10000: "Server Timeout",
    10003: "API key is invalid.",
    10005: "Permission denied, please check your API key permissions.",
    10006: "Too many visits!",
    10010: "Unmatched IP, please check your API key's bound IP addresses.",
    10016: "Server error.",
    10429: "System level frequency protection.",
    33004: "Your api key has expired.",
    **dict(_CODES.values()),
}

REJECTIONS = {
    Reason.CANNOT_FILL: "EC_NoEnoughQtyToFill",
    Reason.CLOSED_SYMBOL: "EC_InvalidSymbolStatus",
    Reason.CLIENT_ID_IN_USE: "EC_DuplicatedClOrdID",
}
"""What the order stream says of an order that was acknowledged and then not taken; others are `EC_Others`."""


def text_of(code: int) -> str:
    """The venue's words for a code; none where it is not known here."""
    return _TEXTS.get(code, "").replace("{}", "0")


def of_rejection(rejected: Rejected) -> WireError:
    """The venue's code and words for a refusal of the exchange."""
    code, text = _CODES.get(rejected.reason, (10001, rejected.reason.value))
    detail = rejected.detail
    if isinstance(detail, Decimal):
        detail = f"{detail.normalize():f}"
    return WireError(code, text.format(detail))
