"""The error codes of BingX's perpetuals, and which refusal of the exchange has which."""

from typing import Final

from adapters.simulator import wire
from adapters.simulator.orders import Reason, Rejected


class WireError(wire.WireError):
    """An answer that is not a success, which comes under status 200 most of the time."""

    status = 200


def bad(what: str) -> WireError:
    """A parameter that is missing or wrong."""
    return WireError(109400, f"Invalid parameters, err:{what}")


ONE_WAY: Final = "In the One-way mode, the 'PositionSide' field can only be set to BOTH."
HEDGE: Final = "In the Hedge mode, the 'PositionSide' field can only be set to LONG or SHORT."
TOO_OFTEN: Final = (
    "code:100410:The endpoint trigger frequency limit rule is currently in the disabled period and will be unblocked "
    "after {}"
)
BUSY: Final = "The current system is busy, please try again later"

_CODES: Final[dict[Reason, tuple[int, str]]] = {
    Reason.ACCOUNT_BARRED: (100414, "risk control check fail,code(1)"),
    Reason.ACCOUNT_INACTIVE: (100414, "risk control check fail,code(2)"),
    Reason.ACCOUNT_REDUCE_ONLY: (109417, "The account is restricted to closing positions."),
    Reason.BAND_HIGH: (101211, "Order price should be lower than {}."),
    Reason.BAND_LOW: (101211, "Order price should be higher than {}."),
    Reason.BAND_MARKET: (110402, "No counterparty within the price band."),
    Reason.CANNOT_FILL: (101215, "The order could not be filled at once."),
    Reason.CLIENT_ID_IN_USE: (101481, "The clientOrderId already exists."),
    Reason.CLOSED_SYMBOL: (101415, "This trading pair is suspended from opening new position."),
    Reason.LEVERAGE_INVALID: (101414, "The maximum leverage of this trading pair is exceeded: {}."),
    Reason.LEVERAGE_POSITION: (101209, "The maximum position value for this leverage is exceeded."),
    Reason.LEVERAGE_MARGIN: (101204, "Insufficient margin"),
    Reason.LEVERAGE_ISOLATED: (109400, "The leverage of an isolated position can't be lowered."),
    Reason.MARGIN: (101204, "Insufficient margin"),
    Reason.MIN_NOTIONAL: (101400, "The minimum order amount is {} USDT."),
    Reason.MODE_HAS_ORDERS: (104103, "Position mode cannot be changed while there are orders."),
    Reason.MODE_HAS_POSITIONS: (104103, "Position mode cannot be changed while there are positions."),
    Reason.POSITION_LIMIT: (101209, "The maximum position value for this leverage is exceeded."),
    Reason.POSITION_SIDE: (109400, ONE_WAY),
    Reason.QUANTITY_MAX: (101485, "The order quantity is too large."),
    Reason.QUANTITY_MIN: (101202, "The order quantity is too small."),
    Reason.QUANTITY_ZERO: (101202, "The order quantity is too small."),
    Reason.REDUCE_ONLY: (101290, "The Reduce Only order can only decrease the position."),
    Reason.TOO_MANY_ORDERS: (101419, "Too many pending orders."),
    Reason.UNKNOWN_ORDER: (109421, "order not exist"),
    Reason.WOULD_TAKE: (101215, "The post-only order would be filled at once."),
}


def of_rejection(rejected: Rejected) -> WireError:
    """The venue's code and words for a refusal of the exchange; what it has no code for is a bad parameter."""
    code, text = _CODES.get(rejected.reason, (109400, rejected.reason.value))
    return WireError(code, text.format(rejected.detail))


def text_of(code: int) -> str:
    """What the venue says with a code."""
    return next((text for known, text in _CODES.values() if known == code), BUSY)
