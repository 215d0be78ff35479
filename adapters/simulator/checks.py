"""The entry rules: what an order must satisfy before the book sees it. Each raises `Rejected`."""

from decimal import Decimal

from adapters.simulator.account import Account, Marks
from adapters.simulator.book import BUY, Book
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import ZERO, OrderRequest, Reason, Rejected

_MARKET_ALLOWANCE = Decimal("1.0005")
"""A market buy is margined as if it paid this much more than the best ask."""


def precision(value: Decimal, places: int) -> bool:
    """Whether a number has no more decimals than allowed, trailing zeros aside."""
    return value == value.quantize(Decimal(1).scaleb(-places))


def check_quantity(one: Instrument, quantity: Decimal, *, market: bool) -> None:
    """The lot grid and its bounds; market orders have a lower maximum."""
    if quantity <= 0:
        raise Rejected(Reason.QUANTITY_ZERO)
    most = one.max_market_quantity if market else one.max_quantity
    if quantity > most:
        raise Rejected(Reason.QUANTITY_MAX)
    if not precision(quantity, one.quantity_decimals):
        raise Rejected(Reason.QUANTITY_PRECISION)
    if quantity < one.step:
        raise Rejected(Reason.QUANTITY_MIN)
    if quantity % one.step:
        raise Rejected(Reason.QUANTITY_STEP)


def check_price(one: Instrument, price: Decimal, mark: Decimal, side: int) -> None:
    """The price grid, and the band around the mark that keeps typing errors out."""
    if price <= 0:
        raise Rejected(Reason.PRICE_ZERO)
    if not precision(price, one.price_decimals + 1):
        raise Rejected(Reason.PRICE_PRECISION)
    if price % one.tick:
        raise Rejected(Reason.PRICE_TICK)
    if side == BUY and price > mark * (1 + one.band):
        raise Rejected(Reason.BAND_HIGH, grid_price(one, mark * (1 + one.band)))
    if side != BUY and price < mark * (1 - one.band):
        raise Rejected(Reason.BAND_LOW, grid_price(one, mark * (1 - one.band)))
    if price > mark * 100:
        raise Rejected(Reason.PRICE_MAX)


def grid_price(one: Instrument, price: Decimal) -> Decimal:
    """The nearest price below that is on the tick grid."""
    return price // one.tick * one.tick


def check_notional(one: Instrument, quantity: Decimal, price: Decimal) -> None:
    """The smallest value, in quote asset, of an order that is not reduce-only."""
    if one.value(quantity, price) < one.min_notional:
        raise Rejected(Reason.MIN_NOTIONAL, one.min_notional)


def check_account(account: Account, *, reducing: bool) -> None:
    """What has been done to the account: it may place nothing, or only what reduces."""
    if account.barred is not None and not (reducing and account.barred is Reason.ACCOUNT_REDUCE_ONLY):
        raise Rejected(account.barred)


def check_sides(account: Account, request: OrderRequest) -> None:
    """Hedge mode needs LONG or SHORT, one-way mode neither."""
    if account.hedge != (request.position_side in ("LONG", "SHORT")):
        raise Rejected(Reason.POSITION_SIDE)


def is_reducing(request: OrderRequest) -> bool:
    """Whether an order can only ever make its position smaller."""
    if request.position_side == "BOTH":
        return request.reduce_only
    return (request.side == BUY) == (request.position_side == "SHORT")


def reducible(account: Account, symbol: str, position_side: str, side: int) -> Decimal:
    """How much of a position orders on `side` can still close, beyond those already open."""
    held = account.position(symbol, position_side).quantity
    if not held or (held > 0) == (side > 0):
        return ZERO
    waiting = sum(
        (
            order.left
            for order in account.open_orders.values()
            if order.symbol == symbol
            and order.position_side == position_side
            and order.side == side
            and (order.reduce_only or position_side != "BOTH")
        ),
        ZERO,
    )
    return max(ZERO, abs(held) - waiting)


def check_market_band(one: Instrument, book: Book, side: int) -> None:
    """A market order finds no counterparty when the best price is too far from the mark."""
    price = (book.best_ask if side == BUY else book.best_bid)[0]
    if abs(price - book.mark) > book.mark * one.band:
        raise Rejected(Reason.BAND_MARKET)


def check_margin(account: Account, one: Instrument, request: OrderRequest, book: Book, marks: Marks) -> None:
    """The position limit of the leverage, and enough free margin for what the order adds.

    An order that lowers the worst exposure always passes. An account has no margin but in its own asset.
    """
    if one.asset != account.asset:
        raise Rejected(Reason.MARGIN)
    mark = book.mark
    price = request.price
    if price is None:
        price = book.best_ask[0] * _MARKET_ALLOWANCE if request.side == BUY else book.best_bid[0]
    notional = one.notional(request.quantity, price)
    buying = request.side == BUY
    before = account.initial_margin(one.symbol, request.position_side, mark)
    after = account.initial_margin(
        one.symbol,
        request.position_side,
        mark,
        notional if buying else ZERO,
        ZERO if buying else notional,
    )
    more = sum(after) - sum(before)
    if more <= 0:
        return
    leverage = account.leverage(one.symbol)
    if sum(after) * leverage > one.largest_notional(leverage):
        raise Rejected(Reason.POSITION_LIMIT)
    open_loss = max(ZERO, (one.worth(price) - one.worth(mark)) * request.side) * request.quantity
    if more + open_loss > account.free(marks):
        raise Rejected(Reason.MARGIN)
