"""Orders, fills and what can be said about them: the words the exchange's rooms share."""

from decimal import Decimal
from enum import Enum

from msgspec import Struct

ZERO = Decimal(0)


class Reason(Enum):
    """Why the exchange refuses a request; each venue's wire has its own code for it."""

    ACCOUNT_BARRED = "the account may place no order"
    ACCOUNT_INACTIVE = "the account is not active"
    ACCOUNT_REDUCE_ONLY = "the account may only reduce its positions"
    BAND_HIGH = "price above the band around the mark"
    BAND_LOW = "price below the band around the mark"
    BAND_MARKET = "no counterparty within the band around the mark"
    CANNOT_FILL = "fill-or-kill order cannot be filled at once"
    CLIENT_ID_IN_USE = "an open order has this client id"
    CLOSED_SYMBOL = "symbol is not trading"
    LEVERAGE_INVALID = "leverage is not offered"
    LEVERAGE_POSITION = "position too large for this leverage"
    LEVERAGE_MARGIN = "not enough margin for the lower leverage"
    LEVERAGE_ISOLATED = "leverage of an isolated position can't be lowered"
    MARGIN = "not enough margin"
    MARGIN_TYPE_SAME = "margin type is so already"
    MARGIN_TYPE_HAS_ORDERS = "margin type cannot change while orders are open"
    MARGIN_TYPE_HAS_POSITION = "margin type cannot change while a position is open"
    MARGIN_NOT_ISOLATED = "position has no wallet of its own"
    MARGIN_NO_POSITION = "no position to give margin to"
    MARGIN_AMOUNT = "amount of margin is not positive"
    MARGIN_CROSS_SHORT = "not so much is free in the cross wallet"
    MARGIN_ISOLATED_SHORT = "the isolated position needs its margin"
    MIN_NOTIONAL = "order too small"
    MODE_HAS_ORDERS = "position mode cannot change while orders are open"
    MODE_HAS_POSITIONS = "position mode cannot change while positions are open"
    MODE_SAME = "position mode is so already"
    NO_COLLATERAL = "the account has no such collateral"
    NOTHING_ARMED = "no dead man's switch is armed"
    NOTHING_HELD = "there is no position to close"
    NOT_AMENDABLE = "only limit orders can be amended"
    NOTHING_TO_AMEND = "the amendment changes nothing"
    AMEND_REDUCE_ONLY = "only a reduce-only order can be amended as one"
    POSITION_LIMIT = "position would be too large for the leverage"
    POSITION_SIDE = "position side does not fit the position mode"
    PRICE_MAX = "price above the maximum"
    PRICE_PRECISION = "too many decimals in the price"
    PRICE_TICK = "price is not on the tick grid"
    PRICE_ZERO = "price is not positive"
    QUANTITY_MAX = "quantity above the maximum"
    QUANTITY_MIN = "quantity below the minimum"
    QUANTITY_PRECISION = "too many decimals in the quantity"
    QUANTITY_STEP = "quantity is not on the lot grid"
    QUANTITY_ZERO = "quantity is not positive"
    REDUCE_ONLY = "order would not reduce the position"
    TOO_MANY_ORDERS = "too many open orders in the symbol"
    UNKNOWN_ORDER = "no such open order"
    WOULD_TAKE = "post-only order would take"


class Rejected(Exception):
    """A request the exchange refuses; nothing has changed. `detail` is a price or an amount."""

    def __init__(self, reason: Reason, detail: object = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail


class Expiry:
    """Why an order ended without anyone cancelling it, numbered as the wire numbers it."""

    NONE = 0
    IMMEDIATE_REST = 2
    REDUCE_ONLY = 4
    LIQUIDATED = 5
    DELISTED = 7
    MARKET_REST = 9


class OrderRequest(Struct, frozen=True, kw_only=True):
    """An order as asked for. `side` is +1 to buy, -1 to sell; `price` is None for market orders.

    `post_only`, `IOC`, `FOK` and good-till-date are values of `time_in_force` (GTX, IOC, FOK, GTD).
    """

    symbol: str
    side: int
    kind: str
    quantity: Decimal
    client_id: str
    price: Decimal | None = None
    time_in_force: str = "GTC"
    reduce_only: bool = False
    position_side: str = "BOTH"
    self_trade: str = "EXPIRE_MAKER"
    price_match: str = "NONE"
    good_till_ms: int = 0


class Order(Struct, kw_only=True):
    """An order the exchange has accepted.

    `quote` is what its fills came to in margin asset, `average_price` their mean, zero before the first.
    """

    id: int
    account: str
    client_id: str
    symbol: str
    side: int
    kind: str
    time_in_force: str
    quantity: Decimal
    price: Decimal
    reduce_only: bool
    position_side: str
    created_ms: int
    updated_ms: int
    status: str = "NEW"
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    average_price: Decimal = ZERO
    self_trade: str = "EXPIRE_MAKER"
    price_match: str = "NONE"
    good_till_ms: int = 0
    modify_id: int = 0
    expiry: int = Expiry.NONE

    @property
    def left(self) -> Decimal:
        """What has not been filled."""
        return self.quantity - self.executed

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in ("NEW", "PARTIALLY_FILLED")


class Fill(Struct, frozen=True, kw_only=True):
    """One execution. `quantity` is unsigned, `side` is +1 or -1.

    `realised` is the profit it realised before fees, `fee` what it cost (positive), both in the
    margin asset and exactly what the wallet was changed by.
    """

    id: int
    order_id: int
    client_id: str
    account: str
    symbol: str
    side: int
    position_side: str
    price: Decimal
    quantity: Decimal
    realised: Decimal
    fee: Decimal
    maker: bool
    at_ms: int


class Income(Struct, frozen=True, kw_only=True):
    """One change of a wallet: kind is REALIZED_PNL, COMMISSION, FUNDING_FEE, TRANSFER, …

    `amount` is signed as the wallet sees it: fees and funding paid are negative.
    """

    id: int
    account: str
    symbol: str
    kind: str
    amount: Decimal
    at_ms: int
    trade_id: int = 0


class FundingRow(Struct, frozen=True):
    """A settled funding rate: positive means that longs paid. `at_ms` is exchange time."""

    at_ms: int
    rate: Decimal
    mark: Decimal


class PositionView(Struct, frozen=True):
    """A position at one moment: signed quantity, average entry, results in the margin asset.

    `isolated` is the wallet that it has to itself, None with cross margin.
    """

    symbol: str
    side: str
    quantity: Decimal
    entry: Decimal
    realised: Decimal
    unrealised: Decimal
    isolated: Decimal | None = None


class Opened(Struct, frozen=True):
    """An order was accepted."""

    order: Order


class Filled(Struct, frozen=True):
    """An order traded; wallets and position are those after the fill."""

    order: Order
    fill: Fill
    wallet: Decimal
    cross_wallet: Decimal
    position: PositionView
    forced: bool = False


class Closed(Struct, frozen=True):
    """An order ended unfilled or partly filled: its status says how, its `expiry` why."""

    order: Order


class Amended(Struct, frozen=True):
    """An order was given another price or quantity."""

    order: Order


class WalletChanged(Struct, frozen=True):
    """Money came, went or moved without a trade; `change` is signed, the wallets are those after it.

    `positions` are the isolated ones whose wallet or margin type it has changed.
    """

    account: str
    kind: str
    symbol: str
    change: Decimal
    wallet: Decimal
    cross_wallet: Decimal
    at_ms: int
    positions: tuple[PositionView, ...] = ()


class LeverageChanged(Struct, frozen=True):
    """A symbol of an account has another leverage."""

    account: str
    symbol: str
    leverage: int
    at_ms: int


class AssetModeChanged(Struct, frozen=True):
    """An account counts collateral of several assets, or of one."""

    account: str
    multi: bool
    at_ms: int


Event = Opened | Filled | Closed | Amended | WalletChanged | LeverageChanged | AssetModeChanged
"""What the exchange tells an account about, in the order in which it happened."""
