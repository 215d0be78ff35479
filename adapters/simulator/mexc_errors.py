"""The error codes of MEXC's contract interface, and which refusal of the exchange has which.

Refusals come under status 200, in an envelope that says so.
"""

from typing import Final

from adapters.simulator import wire
from adapters.simulator.orders import Reason, Rejected


class WireError(wire.WireError):
    """An answer that is not a success, in the venue's words for its code where there are no others."""

    status = 200

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(code, message or TEXTS.get(code, "Operation failed"))


TEXTS: Final = {
    401: "No authority!",
    402: "Api key expired!",
    406: "The ip of the request is not in the whitelist!",
    500: "Internal error!",
    501: "System busy!",
    506: "Unknown source of request!",
    510: "Requests are too frequent, please try again later!",
    511: "Endpoint inaccessible!",
    513: "Invalid request(for open api serve time more or less than 10s)!",
    600: "Parameter error!",
    601: "Data decoding error!",
    602: "Confirming signature failed!",
    603: "Repeat requests!",
    701: "Account read permission is required!",
    702: "Account modify permission is required!",
    703: "Trade information read permission is required!",
    704: "Transaction information modify permission is required!",
    1000: "Account does not exist!",
    1001: "Contract does not exist!",
    1002: "Contract not allow place order!",
    1003: "The holding volume exceeds the risk limit!",
    1004: "Number of contracts error!",
    2001: "Order side error!",
    2002: "Open type error!",
    2003: "Overpriced pay!",
    2004: "Low-price selling!",
    2005: "Balance insufficient!",
    2006: "Leverage ratio error!",
    2007: "Order price error!",
    2008: "The quantity is insufficient!",
    2009: "Positions do not exist or have been closed!",
    2011: "Order quantity error, please try to modify.",
    2013: "Cancel orders over maximum limit!",
    2014: "The quantity of batch order exceeds the limit!",
    2015: "Price or quantity accuracy error!",
    2018: "Exceeding the maximum available margin!",
    2019: "There is an active open position!",
    2021: "Leverage ratio is inconsistent with the existing position leverage ratio!",
    2022: "Wrong position type!",
    2023: "There are positions over the maximum leverage!",
    2024: "There are orders with leverage over the maximum!",
    2025: "The holding positions is over the maximum allowable positions!",
    2026: "Modification of leverage is not supported for cross!",
    2027: "There is only one cross or isolated in the same direction!",
    2028: "The maximum order quantity is exceeded!",
    2029: "Error order type!",
    2030: "External order ID is too long (Max. 32 bits)!",
    2031: "The allowable holding position exceed the current risk limit!",
    2032: "Order price is less than long position force liquidate price!",
    2033: "Order price is more than short position force liquidate price!",
    2034: "The batch query quantity limit is exceeded!",
    2036: "The orders more than the limit, please contact customer service!",
    2037: "Frequent transactions, please try it later!",
    2038: "The maximum allowable position quantity is exceeded, please contact customer service!",
    2040: "order not exist",
    2041: "order state cannot be cancelled",
    6001: "Trading forbidden!",
    6002: "Open forbidden!",
    6005: "The trading pair is not available!",
    7002: "Position mode mis match",
    8817: "This function is no longer available!",
    9999: "Public abnormal!",
}
"""The venue's words, as far as they are known."""

_CODES: Final[dict[Reason, int]] = {
    Reason.ACCOUNT_BARRED: 6001,
    Reason.ACCOUNT_INACTIVE: 6001,
    Reason.ACCOUNT_REDUCE_ONLY: 6002,
    Reason.AMEND_REDUCE_ONLY: 600,
    Reason.BAND_HIGH: 2003,
    Reason.BAND_LOW: 2004,
    Reason.BAND_MARKET: 2007,
    Reason.CANNOT_FILL: 2011,
    Reason.CLIENT_ID_IN_USE: 603,
    Reason.CLOSED_SYMBOL: 1002,
    Reason.LEVERAGE_INVALID: 2006,
    Reason.LEVERAGE_ISOLATED: 2023,
    Reason.LEVERAGE_MARGIN: 2018,
    Reason.LEVERAGE_POSITION: 2025,
    Reason.MARGIN: 2005,
    Reason.MARGIN_AMOUNT: 600,
    Reason.MARGIN_CROSS_SHORT: 2005,
    Reason.MARGIN_ISOLATED_SHORT: 2018,
    Reason.MARGIN_NOT_ISOLATED: 2002,
    Reason.MARGIN_NO_POSITION: 2009,
    Reason.MARGIN_TYPE_HAS_ORDERS: 2027,
    Reason.MARGIN_TYPE_HAS_POSITION: 2027,
    Reason.MARGIN_TYPE_SAME: 2027,
    Reason.MIN_NOTIONAL: 2011,
    Reason.MODE_HAS_ORDERS: 2019,
    Reason.MODE_HAS_POSITIONS: 2019,
    Reason.MODE_SAME: 600,
    Reason.NOTHING_HELD: 2009,
    Reason.NOTHING_TO_AMEND: 600,
    Reason.NOT_AMENDABLE: 2029,
    Reason.POSITION_LIMIT: 2031,
    Reason.POSITION_SIDE: 7002,
    Reason.PRICE_MAX: 2007,
    Reason.PRICE_PRECISION: 2015,
    Reason.PRICE_TICK: 2015,
    Reason.PRICE_ZERO: 2007,
    Reason.QUANTITY_MAX: 2028,
    Reason.QUANTITY_MIN: 2011,
    Reason.QUANTITY_PRECISION: 2011,
    Reason.QUANTITY_STEP: 2011,
    Reason.QUANTITY_ZERO: 2011,
    Reason.REDUCE_ONLY: 2008,
    Reason.TOO_MANY_ORDERS: 2036,
    Reason.UNKNOWN_ORDER: 2040,
}


def of_rejection(rejected: Rejected) -> WireError:
    """The venue's code and words for a refusal of the exchange."""
    return WireError(_CODES.get(rejected.reason, 600))
