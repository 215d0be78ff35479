"""What WEEX writes and what it means: the shapes of its frames and answers, and the facts in each.

Only the fields that are used are named. Numbers and times come as numbers in one place and as text in the next, ids as
well, so both are read everywhere. A shape that does not fit raises one of `adapters.reading.MISREAD`; the dialect turns
that into a stated fact. Words come first, then shapes, then facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct, field
from msgspec.json import Decoder

from adapters.reading import MS, Buying, Id, Ms, above_zero, amount, exact, lots_of, number, positive, signed
from agent.core import events as fact
from agent.core.events import Force, Side
from agent.core.instruments import Instrument, Tier

NAME: Final = "weex"

Text = str | int | float
Level = tuple[Text, Text]

ENDS: Final = {
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
    "REJECTED": "rejected",
}
"""The states that an order does not leave."""

LIVES: Final = ("PENDING", "NEW", "OPEN", "PARTIALLY_FILLED", "CANCELING")

WAITING: Final = "UNTRIGGERED"
"""The state of a conditional order, which we neither make nor watch."""

SIDES: Final = {"LONG": Side.LONG, "SHORT": Side.SHORT}

ISOLATED: Final = {"ISOLATED": True, "CROSSED": False}

DEMO_COIN: Final = "SUSDT"
"""What demo accounts hold: their positions come on the stream of the live account as well."""

ASSUMED: Final = ((1_000_000, 0.05), (5_000_000, 0.10), (20_000_000, 0.25), (1e15, 0.50))
"""Maintenance margin by the end of each tier, in the settlement currency. The venue publishes no table; these rates are
no lower than what others ask of contracts that are not the very smallest, so that liquidation is further away than they
say."""


def text(value: Text) -> str:
    """A number as text, however it was written."""
    return str(value)


def moment(value: Text) -> int:
    """A time in milliseconds as UTC nanoseconds."""
    ms = int(value)
    if not 0 < ms <= 9_000_000_000_000:
        raise ValueError(f"{ms} is no time")
    return ms * MS


# Streams


class Frame(Struct, frozen=True):
    """Any frame: a ping, the answer to a command, or an event ``e`` with its rows."""

    e: str = ""
    event: str = ""
    type: str = ""
    method: str = ""
    id: int | str | None = None
    result: bool | None = None
    msg: str = ""
    symbol: str = field(name="s", default="")
    at: Ms = field(name="E", default=0)
    first: Id = field(name="U", default=0)
    last: Id = field(name="u", default=0)
    bids: list[Level] = field(name="b", default_factory=list)
    asks: list[Level] = field(name="a", default_factory=list)
    rows: Raw = field(name="d", default=Raw(b""))


class Ticker(Struct, frozen=True):
    """Mark and index price among the statistics of a day."""

    mark: Text = field(name="m")
    index: Text | None = field(name="i", default=None)


class OrderUpdate(Struct, frozen=True, rename="camel"):
    """An order after a change."""

    id: Text
    symbol: str
    client_order_id: str
    status: str
    cum_fill_size: Text
    updated_time: Text
    cum_liquidate_fee: Text = "0"


class Fill(Struct, frozen=True, rename="camel"):
    """One trade; its price is value over size, its order is told by the venue's id alone."""

    id: Text
    order_id: Text
    symbol: str
    coin: str
    order_side: Buying
    fill_size: Text
    fill_value: Text
    fill_fee: Text
    direction: Literal["MAKER", "TAKER"]
    created_time: Text
    liquidate_fee: Text = "0"


class PositionUpdate(Struct, frozen=True, rename="camel"):
    """A position after a change. One of a demo account names its coin otherwise, and no symbol."""

    side: str
    size: Text
    open_value: Text
    updated_time: Text
    isolated_margin: Text
    margin_mode: str
    separated_mode: str
    symbol: str | None = None
    coin_id: str | None = None


class AccountUpdate(Struct, frozen=True, rename="camel"):
    """The sums of what came and went since the account was opened, of one margin pool."""

    coin: str
    isolated_position_id: Text = "0"
    liquidating: bool = False
    cum_deposit_amount: Text = "0"
    cum_withdraw_amount: Text = "0"
    cum_transfer_in_amount: Text = "0"
    cum_transfer_out_amount: Text = "0"
    cum_position_funding_amount: Text = "0"


# Answers to calls


class Failure(Struct, frozen=True):
    """The body of a refusal, if it is one; settings that were changed have the code 200."""

    code: Text | None = None
    msg: str = ""


class Ack(Struct, frozen=True, rename="camel"):
    """What became of an order, or of a cancel, at once; a refusal comes with HTTP 200 as well."""

    success: bool
    order_id: Text | None = None
    client_order_id: str | None = None
    orig_client_order_id: str | None = None
    error_code: Text | None = None
    error_message: str | None = None
    error_msg: str | None = None


class ServerTime(Struct, frozen=True, rename="camel"):
    """The venue's clock."""

    server_time: Ms


class ExchangeInfo(Struct, frozen=True, rename="camel"):
    """All contracts, which are never none, and the budgets where they are told."""

    symbols: Annotated[list[Raw], Meta(min_length=1)]
    rate_limits: list[Raw] = []


class Contract(Struct, frozen=True, rename="camel"):
    """A contract and its rules; quantities are in the base asset, whatever its contract value says."""

    base_asset: str
    quote_asset: str
    margin_asset: str
    price_precision: Text
    quantity_precision: Text
    min_order_size: Text
    max_order_size: Text
    market_open_limit_size: Text
    max_leverage: Text
    buy_limit_price_ratio: Text | None = None
    sell_limit_price_ratio: Text | None = None


class Premium(Struct, frozen=True, rename="camel"):
    """Mark and index, the rate that is expected next, and every how many minutes there is one."""

    mark_price: Text
    time: Ms
    index_price: Text | None = None
    forecast_funding_rate: Text | None = None
    next_funding_time: Ms = 0
    collect_cycle: Annotated[float, Meta(gt=0, le=60_000)] | None = None


class Day(Struct, frozen=True, rename="camel"):
    """The statistics of the last 24 hours."""

    quote_volume: Text


class Commission(Struct, frozen=True, rename="camel"):
    """The account's fee rates."""

    symbol: str
    maker_commission_rate: Text
    taker_commission_rate: Text


class SymbolConfig(Struct, frozen=True, rename="camel"):
    """The account's settings for a symbol."""

    margin_type: str
    cross_leverage: Text
    isolated_long_leverage: Text
    isolated_short_leverage: Text
    separated_type: str = "COMBINED"
    symbol: str = ""


class AccountConfig(Struct, frozen=True, rename="camel"):
    """The account's settings."""

    can_trade: bool
    dual_side_position: bool


class Asset(Struct, frozen=True, rename="camel"):
    """One collateral asset: ``balance`` moves with the unrealised profit that is in it."""

    asset: str
    balance: Text
    available_balance: Text
    frozen: Text
    unrealize_pnl: Text


class PositionRow(Struct, frozen=True, rename="camel"):
    """A position."""

    symbol: str
    side: str
    size: Text
    open_value: Text
    updated_time: Text
    isolated_margin: Text
    margin_type: str
    separated_mode: str


class Named(Struct, frozen=True, rename="camel"):
    """As much of an order as is needed to know whose it is."""

    client_order_id: str


class OrderRow(Struct, frozen=True, rename="camel"):
    """An order, open or not."""

    symbol: str
    client_order_id: str
    order_id: Text
    side: Buying
    orig_qty: Text
    executed_qty: Text
    status: str
    update_time: Text


class TradeRow(Struct, frozen=True, rename="camel"):
    """A fill."""

    symbol: str
    id: Text
    order_id: Text
    side: Buying
    price: Text
    qty: Text
    commission: Text
    commission_asset: str
    maker: bool
    time: Text


FRAME = Decoder(Frame)
TICKERS: Decoder[list[Ticker]] = Decoder(Annotated[list[Ticker], Meta(min_length=1)])
ORDER_UPDATES = Decoder(list[OrderUpdate])
FILLS = Decoder(list[Fill])
POSITION_UPDATES = Decoder(list[PositionUpdate])
ACCOUNT_UPDATES = Decoder(list[AccountUpdate])
FAILURE = Decoder(Failure)
ACK = Decoder(Ack)
SERVER_TIME = Decoder(ServerTime)
EXCHANGE_INFO = Decoder(ExchangeInfo)
CONTRACT = Decoder(Contract)
PREMIUM = Decoder(Premium)
DAY = Decoder(Day)
COMMISSION = Decoder(Commission)
SYMBOL_CONFIG = Decoder(SymbolConfig)
SYMBOL_CONFIGS = Decoder(list[SymbolConfig])
ACCOUNT_CONFIG = Decoder(AccountConfig)
ASSETS = Decoder(list[Asset])
POSITIONS = Decoder(list[PositionRow])
NAMED = Decoder(Named)
ORDER = Decoder(OrderRow)
ORDERS = Decoder(list[OrderRow])
TRADES = Decoder(list[TradeRow])


# Facts: market


def ticker_facts(index: int, frame: Frame) -> list[fact.Fact]:
    """Mark and index price."""
    one = TICKERS.decode(frame.rows)[0]
    behind = None if one.index is None else positive(text(one.index))
    return [fact.Mark(index, positive(text(one.mark)), behind, moment(frame.at))]


def premium_facts(index: int, row: Raw) -> list[fact.Fact]:
    """Mark price, and funding as far as it is told."""
    one = PREMIUM.decode(row)
    at = moment(one.time)
    behind = None if one.index_price is None else positive(text(one.index_price))
    facts: list[fact.Fact] = [fact.Mark(index, positive(text(one.mark_price)), behind, at)]
    if one.forecast_funding_rate is not None and one.next_funding_time:
        rate = number(text(one.forecast_funding_rate))
        facts.append(fact.Funding(index, rate, moment(one.next_funding_time), at))
    if one.collect_cycle is not None:
        facts.append(fact.Interval(index, one.collect_cycle / 60))
    return facts


def volume_facts(index: int, row: Raw) -> list[fact.Fact]:
    """What was traded in the last 24 hours."""
    return [fact.Volume(index, amount(text(DAY.decode(row).quote_volume)))]


# Facts: rules and settings


def _step(decimals: Text) -> Decimal:
    """The grid of a number of decimals."""
    count = int(decimals)
    if not 0 <= count <= 15:
        raise ValueError(f"{count} decimals")
    return Decimal(1).scaleb(-count)


def instrument_of(index: int, symbol: str, one: Contract) -> Instrument:
    """A contract with its rules. The venue names no smallest value of an order, and no state of a contract."""
    step = _step(one.quantity_precision)
    largest = above_zero(text(one.max_order_size))
    market = min(largest, above_zero(text(one.market_open_limit_size)))
    up, down = one.buy_limit_price_ratio, one.sell_limit_price_ratio
    return Instrument(
        index=index,
        venue=NAME,
        symbol=symbol,
        base=one.base_asset,
        quote=one.quote_asset,
        settle=one.margin_asset,
        tick=_step(one.price_precision),
        step=step,
        min_lots=max(1, int((exact(text(one.min_order_size)) / step).to_integral_value(ROUND_CEILING))),
        max_lots=int(largest // step),
        max_market_lots=int(market // step),
        min_notional=0.0,
        price_up=None if up is None else 1 + positive(text(up)),
        price_down=None if down is None else positive(str(1 - number(text(down)))),
    )


def assumed_tiers(index: int, one: Contract) -> fact.Tiers:
    """A margin table in place of the one that the venue does not tell; leverage is as the listing has it.

    What the venue gives little leverage on, it asks more of: at least half of the initial margin.
    """
    leverage = int(positive(text(one.max_leverage)))
    least = 0.5 / leverage
    tiers: list[Tier] = []
    floor = deduction = before = 0.0
    for cap, assumed in ASSUMED:
        rate = max(assumed, least)
        deduction += floor * (rate - before)
        tiers.append(Tier(floor, cap, rate, deduction, leverage))
        floor, before = cap, rate
    return fact.Tiers(index, tuple(tiers))


def leverage_of(row: SymbolConfig) -> int:
    """The leverage setting; of an isolated contract with two, the one that asks for more margin."""
    isolated = (row.isolated_long_leverage, row.isolated_short_leverage)
    leverage = int(min(exact(text(one)) for one in (isolated if ISOLATED[row.margin_type] else (row.cross_leverage,))))
    if not 1 <= leverage <= 1000:
        raise ValueError(f"a leverage of {leverage}")
    return leverage


# Facts: account and orders


def account_facts(rows: Sequence[Asset], settle: str, asked_at: int, *, streamed: bool) -> list[fact.Fact]:
    """Wallets, and the totals of the settlement asset. ``streamed``: the stream has said that they changed.

    The venue states no margin of positions; what is neither free nor frozen by orders shows that there are some.
    """
    found = {row.asset: row for row in rows}
    if settle not in found:
        raise ValueError(f"no {settle:.20} in it")
    one = found[settle]
    equity, available = number(text(one.balance)), number(text(one.available_balance))
    margin = fact.Margin(
        wallet=_wallet(one),
        equity=equity,
        initial=max(0.0, equity - available),
        maintenance=None,
        available=available,
        asked_at=asked_at,
        in_use=float(exact(text(one.balance)) - exact(text(one.available_balance)) - exact(text(one.frozen))),
    )
    told_at = asked_at + 1 if streamed else asked_at  # the news was the stream's, this only says what it was
    return [margin, *(fact.Balance(row.asset, _wallet(row), told_at) for row in rows)]


def _wallet(row: Asset) -> float:
    return float(exact(text(row.balance)) - exact(text(row.unrealize_pnl)))


def position_of(instrument: Instrument, row: PositionUpdate | PositionRow, margin: str) -> fact.Position:
    """What is held on one side; ``margin`` is its margin type."""
    if row.separated_mode == "SEPARATED":
        raise ValueError(
            f"positions in {instrument.symbol} are separated, so none could be closed: set them to combined"
        )
    lots = lots_of(instrument, text(row.size))
    held = lots if row.side == "LONG" else -lots
    entry = positive(str(abs(exact(text(row.open_value))) / exact(text(row.size)))) if lots else None
    isolated = number(text(row.isolated_margin)) if lots and ISOLATED[margin] else None
    at = moment(row.updated_time)
    return fact.Position(instrument.index, SIDES[row.side], held, entry, at, isolated)


def order_facts(instrument: Instrument, row: OrderUpdate | OrderRow) -> list[fact.Fact]:
    """What an order's row says: the venue has it, and perhaps it has ended."""
    if isinstance(row, OrderUpdate):
        venue_order, filled, at = text(row.id), text(row.cum_fill_size), moment(row.updated_time)
    else:
        venue_order, filled, at = text(row.order_id), text(row.executed_qty), moment(row.update_time)
    lots = lots_of(instrument, filled)
    facts: list[fact.Fact] = [fact.Accepted(row.client_order_id, venue_order, lots, at)]
    if row.status in ENDS:
        facts.append(fact.Ended(row.client_order_id, ENDS[row.status], lots, at))
    elif row.status not in LIVES:
        raise ValueError(f"status {row.status:.30}")
    return facts


def open_order(instrument: Instrument | None, index: int | None, row: OrderRow) -> fact.OpenOrder:
    """An open order; one of an instrument without a known grid is listed without sizes."""
    if instrument is None:
        return fact.OpenOrder(row.client_order_id, text(row.order_id), index, 0, 0)
    lots = signed(row.side, lots_of(instrument, text(row.orig_qty)))
    return fact.OpenOrder(
        row.client_order_id, text(row.order_id), index, lots, lots_of(instrument, text(row.executed_qty))
    )


def fill_lots(instrument: Instrument, row: Fill) -> int:
    """The unsigned lots of a fill."""
    return instrument.lots(above_zero(text(row.fill_size)))


def fill_facts(instrument: Instrument, row: Fill, order: str, filled_lots: int) -> list[fact.Fact]:
    """A trade, under our name of its order, and that it was forced if it was."""
    at = moment(row.created_time)
    lots = fill_lots(instrument, row)
    facts: list[fact.Fact] = []
    if number(text(row.liquidate_fee)):
        facts.append(fact.Forced(order, Force.LIQUIDATION, row.symbol, at))
    fill = fact.Filled(
        order=order,
        instrument=instrument.index,
        trade=text(row.id),
        lots=signed(row.order_side, lots),
        price=positive(str(exact(text(row.fill_value)) / exact(text(row.fill_size)))),
        fee=number(text(row.fill_fee)),
        fee_asset=row.coin,
        maker=row.direction == "MAKER",
        filled_lots=filled_lots,
        at=at,
    )
    return [*facts, fill]


def trade_facts(instrument: Instrument, rows: Sequence[TradeRow], names: dict[str, str]) -> list[fact.Fact]:
    """Fills, oldest first, under our ids as far as ``names`` translates the venue's.

    The venue states no running total of the order here, so ``filled_lots`` is what these rows prove by themselves.
    """
    facts: list[fact.Fact] = []
    totals: dict[str, int] = {}
    for row in sorted(rows, key=lambda one: (moment(one.time), text(one.id))):
        if row.symbol != instrument.symbol:
            raise ValueError("the answer is about another symbol")
        order = text(row.order_id)
        lots = instrument.lots(above_zero(text(row.qty)))
        totals[order] = totals.get(order, 0) + lots
        fill = fact.Filled(
            order=names.get(order, order),
            instrument=instrument.index,
            trade=text(row.id),
            lots=signed(row.side, lots),
            price=positive(text(row.price)),
            fee=number(text(row.commission)),
            fee_asset=row.commission_asset,
            maker=row.maker,
            filled_lots=totals[order],
            at=moment(row.time),
        )
        facts.append(fill)
    return facts
