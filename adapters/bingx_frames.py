"""What BingX writes: the shapes of its frames and answers.

Numbers come as text in one place and as numbers in another, so `Num` takes both. Only the fields that are used are
named. A shape that does not fit raises one of `adapters.reading.MISREAD`.
"""

from __future__ import annotations

import zlib
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

from adapters.reading import Buying, Id, Level, Ms

Num = str | int | float
Row = Literal["BOTH", "LONG", "SHORT"]
Lever = Annotated[int, Meta(ge=1, le=1000)]

LARGEST_FRAME: Final = 4 * 2**20
"""Bytes of an unpacked frame: more is no frame of this venue."""


def unpacked(data: bytes) -> bytes:
    """The text of a frame: the venue packs every one with gzip. Raises ValueError where it can't be unpacked."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, LARGEST_FRAME + 1)
    except zlib.error as error:
        raise ValueError(f"gzip: {error}") from None
    if len(text) > LARGEST_FRAME or not unpacker.eof:
        raise ValueError("gzip: larger than any frame, or cut off")
    return text


# Streams of market data


class Head(Struct, frozen=True):
    """As much of any frame as is needed to know what it is: a topic, an event, a greeting or an answer."""

    topic: str = field(name="dataType", default="")
    e: str = ""
    id: str = ""
    code: int = 0
    msg: str = ""
    ping: str | UnsetType = UNSET
    time: str = ""


class MarkPrice(Struct, frozen=True):
    """The mark price alone: index and funding do not stream."""

    symbol: str = field(name="s")
    price: str = field(name="p")
    at: Ms = field(name="E")


class BookTicker(Struct, frozen=True):
    """Best bid and ask."""

    symbol: str = field(name="s")
    update: Id = field(name="u")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")
    at: Ms = field(name="E")


class Book(Struct, frozen=True):
    """The visible book; the asks begin with the worst."""

    bids: list[Level]
    asks: list[Level]


class MarkFrame(Struct, frozen=True):
    """A mark price under its topic."""

    data: MarkPrice


class TickerFrame(Struct, frozen=True):
    """A best bid and ask under its topic."""

    data: BookTicker


class BookFrame(Struct, frozen=True):
    """A visible book under its topic, which names the symbol."""

    data: Book
    ts: Ms


# The private stream


class OrderUpdate(Struct, frozen=True):
    """What happened to an order. ``fee`` is negative where it was paid; ``order`` is empty where it has no id of a
    client's."""

    symbol: str = field(name="s")
    venue_order: str | int = field(name="i")
    side: Buying = field(name="S")
    what: str = field(name="x")
    status: str = field(name="X")
    filled: str = field(name="z")
    order: str = field(name="c", default="")
    kind: str = field(name="o", default="")
    last: str = field(name="l", default="")
    price: str = field(name="L", default="")
    trade: str | int = field(name="td", default=0)
    fee: str = field(name="n", default="0")
    fee_asset: str = field(name="N", default="")

    @property
    def name(self) -> str:
        """Our id, or else the venue's."""
        return self.order or str(self.venue_order)


class OrderEvent(Struct, frozen=True):
    """An order event; ``at`` is the moment of the change, 0 where that is not told."""

    order: OrderUpdate = field(name="o")
    sent_at: Ms = field(name="E")
    at: Ms = field(name="T", default=0)


class BalanceUpdate(Struct, frozen=True):
    """An asset's wallet after a change, and the part of the change that is no trading result."""

    asset: str = field(name="a")
    wallet: str = field(name="wb")
    change: str | None = field(name="bc", default=None)


class PositionUpdate(Struct, frozen=True):
    """A position after a change. Its amount has no sign: the row says which side it is."""

    symbol: str = field(name="s")
    amount: str = field(name="pa")
    entry: str = field(name="ep")
    side: Row = field(name="ps")
    margin: str = field(name="mt", default="cross")
    worth: str = field(name="iw", default="0")
    profit: str = field(name="up", default="0")


class AccountUpdate(Struct, frozen=True):
    """The balances and positions that changed, and why."""

    reason: str = field(name="m")
    balances: list[BalanceUpdate] = field(name="B", default_factory=list)
    positions: list[PositionUpdate] = field(name="P", default_factory=list)


class AccountEvent(Struct, frozen=True):
    """An account event."""

    at: Ms = field(name="E")
    update: AccountUpdate = field(name="a")


class Setting(Struct, frozen=True):
    """The leverage settings of a symbol, for long and short, and whether margin is isolated."""

    symbol: str = field(name="s")
    long: Lever = field(name="l")
    short: Lever = field(name="S")
    margin: str = field(name="mt", default="")


class ConfigEvent(Struct, frozen=True):
    """A setting of the account, told on connection, on change and every few seconds."""

    setting: Setting = field(name="ac")


# Answers to calls


class Envelope(Struct, frozen=True):
    """What nearly every answer is wrapped in: a code other than nought is an error, whatever the HTTP status."""

    code: int | str | None = None
    msg: str = ""
    data: Raw = Raw(b"null")

    @property
    def number(self) -> int | None:
        """The code as a number; None where there is none."""
        if isinstance(self.code, str):
            return int(self.code) if self.code.lstrip("-").isdecimal() and len(self.code) < 12 else None
        return self.code


class ServerTime(Struct, frozen=True, rename="camel"):
    """The venue's clock."""

    server_time: Ms


class ListenKey(Struct, frozen=True, rename="camel"):
    """The key of the private stream."""

    listen_key: Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,512}\Z")]


class Contract(Struct, frozen=True, rename="camel"):
    """A contract and its rules. Steps follow from the precisions: digits beyond are cut by the venue, not refused."""

    currency: str
    asset: str
    status: Num
    quantity_precision: Annotated[int, Meta(ge=0, le=15)]
    price_precision: Annotated[int, Meta(ge=0, le=15)]
    trade_min_quantity: Num
    max_long_leverage: Lever
    max_short_leverage: Lever
    trade_min_usdt: Num = field(name="tradeMinUSDT", default=0)
    api_state_open: str = "true"
    api_state_close: str = "true"


class Premium(Struct, frozen=True, rename="camel"):
    """Mark, index and funding. Despite its name the rate is the one that is charged at ``next_funding_time``."""

    mark_price: Num
    index_price: Num
    last_funding_rate: Num = ""
    next_funding_time: Ms = 0
    funding_interval_hours: Annotated[float, Meta(gt=0, le=1000)] | None = None


class Settlement(Struct, frozen=True, rename="camel"):
    """One funding settlement of the past."""

    symbol: str
    funding_time: Ms


class Ticker(Struct, frozen=True, rename="camel"):
    """The statistics of the last 24 hours."""

    quote_volume: Num


class MarginRow(Struct, frozen=True, rename="camel"):
    """A line of a margin table."""

    symbol: str
    min_position_val: Num
    max_position_val: Num
    maint_margin_ratio: Num
    maint_amount: Num


class Rates(Struct, frozen=True, rename="camel"):
    """The account's fee rates, for all instruments alike."""

    taker_commission_rate: Num
    maker_commission_rate: Num


class Commission(Struct, frozen=True):
    """The account's fee rates, wrapped."""

    commission: Rates


class Leverages(Struct, frozen=True, rename="camel"):
    """The leverage settings of a symbol."""

    long_leverage: Lever
    short_leverage: Lever


class LeverageSet(Struct, frozen=True):
    """A leverage setting that was changed."""

    symbol: str
    leverage: Lever


class PositionMode(Struct, frozen=True, rename="camel"):
    """Hedge or one-way."""

    dual_side_position: bool


class AssetMode(Struct, frozen=True, rename="camel"):
    """One collateral asset or many."""

    asset_mode: Literal["singleAssetMode", "multiAssetsMode"]


class Asset(Struct, frozen=True, rename="camel"):
    """One collateral asset; all numbers are empty where it was never used. ``user_id`` is whose account it is."""

    asset: str
    balance: Num
    equity: Num
    used_margin: Num
    freezed_margin: Num
    available_margin: Num
    user_id: str = ""


class Permissions(Struct, frozen=True, rename="camel"):
    """What a key may do, by the venue's numbers, and the addresses that it works from: none named, any."""

    permissions: list[int]
    ip_addresses: list[str]


class PositionRow(Struct, frozen=True, rename="camel"):
    """A position. Its amount has no sign: the row says which side it is, in one-way mode as well."""

    symbol: str
    position_amt: Num
    position_side: Row
    avg_price: Num
    initial_margin: Num
    isolated: bool
    unrealized_profit: Num = 0
    margin: Num = ""
    update_time: Ms = 0


class OrderRow(Struct, frozen=True, rename="camel"):
    """An order, as cancelled, listed or asked about."""

    symbol: str
    order_id: int | str
    side: Buying
    status: str
    orig_qty: Num
    executed_qty: Num
    update_time: Ms
    client_order_id: str = ""

    @property
    def name(self) -> str:
        """Our id, or else the venue's."""
        return self.client_order_id or str(self.order_id)


class PlacedRow(Struct, frozen=True, rename="camel"):
    """An order that was taken, and no more than that; in a batch, or one that was refused."""

    symbol: str
    order_id: int | str = 0
    client_order_id: str = ""
    older_spelling: str = field(name="clientOrderID", default="")
    code: Num = 0
    msg: str = ""

    @property
    def order(self) -> str:
        """Our id, in either spelling; empty where it is not told."""
        return self.client_order_id or self.older_spelling


class OneOrder(Struct, frozen=True):
    """An order, wrapped."""

    order: Raw


class ManyOrders(Struct, frozen=True):
    """Orders, wrapped."""

    orders: list[Raw] | None


HEAD = Decoder(Head)
MARK = Decoder(MarkFrame)
TICKER_FRAME = Decoder(TickerFrame)
BOOK = Decoder(BookFrame)
ORDER_EVENT = Decoder(OrderEvent)
ACCOUNT_EVENT = Decoder(AccountEvent)
CONFIG_EVENT = Decoder(ConfigEvent)
ENVELOPE = Decoder(Envelope)
SERVER_TIME = Decoder(ServerTime)
LISTEN_KEY = Decoder(ListenKey)
CONTRACT = Decoder(Contract, strict=False)
PREMIUM = Decoder(Premium, strict=False)
SETTLEMENTS = Decoder(list[Settlement])
TICKER = Decoder(Ticker)
MARGIN_ROWS: Decoder[list[MarginRow]] = Decoder(Annotated[list[MarginRow], Meta(min_length=1)])
COMMISSION = Decoder(Commission)
LEVERAGES = Decoder(Leverages, strict=False)
LEVERAGE_SET = Decoder(LeverageSet, strict=False)
POSITION_MODE = Decoder(PositionMode, strict=False)
ASSET_MODE = Decoder(AssetMode)
ASSETS = Decoder(list[Asset])
PERMISSIONS = Decoder(Permissions)
POSITIONS = Decoder(list[PositionRow] | None)
ONE_ORDER = Decoder(OneOrder)
MANY_ORDERS = Decoder(ManyOrders)
ORDER = Decoder(OrderRow)
PLACED = Decoder(PlacedRow)
