"""What Binance writes and what it means: the shapes of its frames and answers, and the facts in each.

Only the fields that are used are named, by what they mean. A shape that does not fit, or a number that is none, raises
one of `adapters.reading.MISREAD`; the dialect turns that into a stated fact. Words come first, then shapes, then facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

from adapters.reading import (
    MS,
    Buying,
    Id,
    Level,
    Ms,
    above_zero,
    amount,
    depth_of,
    exact,
    lots_of,
    number,
    positive,
    quote_of,
    signed,
)
from agent.core import events as fact
from agent.core.events import Force, Side
from agent.core.instruments import Instrument, Tier

NAME: Final = "binance"

Row = Literal["BOTH", "LONG", "SHORT"]

ENDS: Final = {
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired in match",
    "REJECTED": "rejected",
    "NEW_ADL": "deleveraged",
    "NEW_INSURANCE": "taken over",
}
"""The states that an order does not leave."""

LIVES: Final = ("NEW", "PARTIALLY_FILLED")

REASONS: Final = {
    "1": "self-trade",
    "2": "unfilled remainder",
    "3": "unfilled remainder, self-trade",
    "4": "would not reduce",
    "5": "account liquidated",
    "6": "its condition is gone",
    "7": "delisted",
    "8": "its trigger expired it",
    "9": "unfilled remainder of a market order",
}
"""Why an order expired, by the venue's number."""

FORCED: Final = {
    "autoclose-": Force.LIQUIDATION,
    "adl_autoclose": Force.DELEVERAGING,
    "settlement_autoclose-": Force.SETTLEMENT,
    "delivery_autoclose-": Force.SETTLEMENT,
}
"""How the ids of orders begin by which the venue itself trades on an account."""

LIQUIDATED: Final = "5"
"""Why an order expired, where the account is being liquidated."""

SIDES: Final = {"BOTH": Side.NET, "LONG": Side.LONG, "SHORT": Side.SHORT}

FLOWS: Final = {
    "DEPOSIT": "deposit",
    "ADMIN_DEPOSIT": "deposit",
    "WITHDRAW": "withdrawal",
    "ADMIN_WITHDRAW": "withdrawal",
    "FUNDING_FEE": "funding",
    "ASSET_TRANSFER": "transfer",
    "MARGIN_TRANSFER": "transfer",
}
"""Kinds of money movements; others keep the venue's word."""


# Streams of market data: an event under the name of its stream


class BookTicker(Struct, frozen=True, tag_field="e", tag="bookTicker"):
    """Best bid and ask."""

    symbol: str = field(name="s")
    update: Id = field(name="u")
    bid: str = field(name="b")
    bid_size: str = field(name="B")
    ask: str = field(name="a")
    ask_size: str = field(name="A")
    at: Ms = field(name="T")


class DepthUpdate(Struct, frozen=True, tag_field="e", tag="depthUpdate"):
    """The visible book; the same shape carries differences, which only the stream's name tells apart."""

    symbol: str = field(name="s")
    update: Id = field(name="u")
    bids: list[Level] = field(name="b")
    asks: list[Level] = field(name="a")
    at: Ms = field(name="T")


class MarkPrice(Struct, frozen=True, tag_field="e", tag="markPriceUpdate"):
    """Mark and index price, and the running estimate of the next funding rate."""

    symbol: str = field(name="s")
    mark: str = field(name="p")
    index: str = field(name="i")
    rate: str = field(name="r")
    next_at: Ms = field(name="T")
    at: Ms = field(name="E")


class ContractInfo(Struct, frozen=True, tag_field="e", tag="contractInfo"):
    """A contract's status changed, or its margin table when ``brackets`` are there."""

    symbol: str = field(name="s")
    status: str = field(name="cs")
    brackets: Raw | UnsetType = field(name="bks", default=UNSET)


class PublicFrame(Struct, frozen=True):
    """A frame of the public socket."""

    stream: str
    data: BookTicker | DepthUpdate


class MarketFrame(Struct, frozen=True):
    """A frame of the market socket."""

    stream: str
    data: MarkPrice | ContractInfo | list[MarkPrice]


class Label(Struct, frozen=True):
    """As much of any frame as is needed to name it, or to know it for the answer to a command."""

    e: str = ""
    stream: str = ""
    data: Label | None = None
    id: int | str | None = None
    code: int | None = None
    error: Raw | UnsetType = UNSET


# The private stream


class OrderUpdate(Struct, frozen=True):
    """What happened to an order."""

    symbol: str = field(name="s")
    order: str = field(name="c")
    side: Buying = field(name="S")
    what: str = field(name="x")
    status: str = field(name="X")
    venue_order: Id = field(name="i")
    last: str = field(name="l")
    filled: str = field(name="z")
    price: str = field(name="L")
    trade: Id = field(name="t")
    at: Ms = field(name="T")
    fee: str = field(name="n", default="0")
    fee_asset: str = field(name="N", default="")
    maker: bool = field(name="m", default=False)
    reason: str | int = field(name="er", default="0")


class OrderEvent(Struct, frozen=True, tag_field="e", tag="ORDER_TRADE_UPDATE"):
    """An order event."""

    order: OrderUpdate = field(name="o")


class BalanceUpdate(Struct, frozen=True):
    """An asset's wallet after a change, and the part of the change that is no trading result."""

    asset: str = field(name="a")
    wallet: str = field(name="wb")
    change: str | None = field(name="bc", default=None)


class PositionUpdate(Struct, frozen=True):
    """A position after a change."""

    symbol: str = field(name="s")
    amount: str = field(name="pa")
    entry: str = field(name="ep")
    side: Row = field(name="ps")
    margin: str = field(name="mt", default="cross")
    wallet: str = field(name="iw", default="0")

    @property
    def isolated(self) -> bool:
        """Whether it has a wallet of its own."""
        return self.margin.lower() == "isolated"


class AccountUpdate(Struct, frozen=True):
    """The balances and positions that changed, and why."""

    reason: str = field(name="m")
    balances: list[BalanceUpdate] | None = field(name="B", default=None)
    positions: list[PositionUpdate] | None = field(name="P", default=None)


class AccountEvent(Struct, frozen=True, tag_field="e", tag="ACCOUNT_UPDATE"):
    """An account event."""

    at: Ms = field(name="T")
    update: AccountUpdate = field(name="a")


class LeverageUpdate(Struct, frozen=True):
    """A new leverage setting."""

    symbol: str = field(name="s")
    leverage: Annotated[int, Meta(ge=1, le=1000)] = field(name="l")


class AssetMode(Struct, frozen=True):
    """A new collateral mode."""

    multi: bool = field(name="j")


class ConfigEvent(Struct, frozen=True, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE"):
    """A setting of the account changed."""

    leverage: LeverageUpdate | None = field(name="ac", default=None)
    assets: AssetMode | None = field(name="ai", default=None)


class CalledPosition(Struct, frozen=True):
    """A position in danger."""

    symbol: str = field(name="s")


class MarginCall(Struct, frozen=True, tag_field="e", tag="MARGIN_CALL"):
    """The venue's warning before a liquidation, which may as well come without one."""

    positions: list[CalledPosition] = field(name="p")
    at: Ms = field(name="E")


class KeyExpired(Struct, frozen=True, tag_field="e", tag="listenKeyExpired"):
    """The stream's key has run out: the socket stays open and silent."""


class TradeLite(Struct, frozen=True, tag_field="e", tag="TRADE_LITE"):
    """An early and incomplete word of a fill, which the order event repeats in full."""


PrivateFrame = OrderEvent | AccountEvent | ConfigEvent | MarginCall | KeyExpired | TradeLite


# Answers to calls


class Failure(Struct, frozen=True):
    """The body of a refusal, if it is one."""

    code: int | None = None
    msg: str = ""


class Revoked(Struct, frozen=True):
    """Said where orders are sent when the venue takes our key no more."""

    status: int
    error: Failure


class ServerTime(Struct, frozen=True, rename="camel"):
    """The venue's clock."""

    server_time: Ms


class ListenKey(Struct, frozen=True, rename="camel"):
    """The key of the private stream."""

    listen_key: Annotated[str, Meta(pattern=r"\A[\x21-\x7e]{1,512}\Z")] | None = None
    """A renewal may leave it out."""


class ExchangeInfo(Struct, frozen=True, rename="camel"):
    """All contracts, which are never none, and the budgets."""

    symbols: Annotated[list[Raw], Meta(min_length=1)]
    rate_limits: list[Raw] = []


class Filter(Struct, frozen=True, rename="camel"):
    """A trading rule of any kind; each kind has its own fields."""

    filter_type: str
    tick_size: str = ""
    step_size: str = ""
    min_qty: str = ""
    max_qty: str = ""
    notional: str = ""
    multiplier_up: str = ""
    multiplier_down: str = ""


class Contract(Struct, frozen=True, rename="camel"):
    """A contract and its rules."""

    contract_type: str
    status: str
    base_asset: str
    quote_asset: str
    margin_asset: str
    filters: list[Filter]


class Premium(Struct, frozen=True, rename="camel"):
    """Mark, index and funding."""

    mark_price: str
    index_price: str
    last_funding_rate: str
    next_funding_time: Ms
    time: Ms


class Ticker(Struct, frozen=True, rename="camel"):
    """The statistics of the last 24 hours."""

    quote_volume: str


class FundingInfo(Struct, frozen=True, rename="camel"):
    """The funding interval."""

    funding_interval_hours: Annotated[float, Meta(gt=0, le=1000)]


class Bracket(Struct, frozen=True, rename="camel"):
    """A line of a margin table."""

    initial_leverage: Annotated[int, Meta(ge=1)]
    notional_cap: Annotated[float, Meta(gt=0)]
    notional_floor: Annotated[float, Meta(ge=0)]
    maint_margin_ratio: Annotated[float, Meta(ge=0, le=1)]
    cum: Annotated[float, Meta(ge=0)]


class Brackets(Struct, frozen=True, rename="camel"):
    """A margin table, scaled by ``notional_coef`` where the account has its own."""

    brackets: Annotated[list[Bracket], Meta(min_length=1)]
    notional_coef: Annotated[float, Meta(gt=0)] = 1.0


class Commission(Struct, frozen=True, rename="camel"):
    """The account's fee rates."""

    symbol: str
    maker_commission_rate: str
    taker_commission_rate: str


class SymbolConfig(Struct, frozen=True, rename="camel"):
    """The account's settings for a symbol."""

    leverage: Annotated[int, Meta(ge=1, le=1000)]
    margin_type: str = ""


class LeverageSet(Struct, frozen=True):
    """A leverage setting that was changed."""

    symbol: str
    leverage: Annotated[int, Meta(ge=1, le=1000)]


class AccountConfig(Struct, frozen=True, rename="camel"):
    """The account's settings."""

    can_trade: bool
    dual_side_position: bool
    multi_assets_margin: bool


class Wallet(Struct, frozen=True, rename="camel"):
    """One wallet of the account, under the venue's name for the account."""

    account_alias: Annotated[str, Meta(min_length=1, max_length=64)]


class Restrictions(Struct, frozen=True, rename="camel"):
    """What a key may do."""

    ip_restrict: bool
    enable_withdrawals: bool
    enable_internal_transfer: bool
    permits_universal_transfer: bool
    enable_futures: bool
    trading_authority_expiration_time: Ms = 0


class Asset(Struct, frozen=True, rename="camel"):
    """One collateral asset."""

    asset: str
    wallet_balance: str


class Reserved(Struct, frozen=True, rename="camel"):
    """A position in the answer about the account: all of it is of one moment."""

    symbol: str
    position_side: Row
    position_amt: str
    maint_margin: str


class Account(Struct, frozen=True, rename="camel"):
    """Totals, assets and positions of the account."""

    total_wallet_balance: str
    total_margin_balance: str
    total_initial_margin: str
    total_maint_margin: str
    available_balance: str
    assets: list[Asset]
    positions: list[Reserved] | None = None


class PositionRow(Struct, frozen=True):
    """A position."""

    symbol: str
    side: Row = field(name="positionSide")
    amount: str = field(name="positionAmt")
    entry: str = field(name="entryPrice")
    at: Ms = field(name="updateTime")
    wallet: str = field(name="isolatedWallet", default="0")
    worth: str = field(name="isolatedMargin", default="0")

    @property
    def isolated(self) -> bool:
        """Whether it has a wallet of its own: the venue does not say it here, but such a wallet is worth something."""
        return bool(number(self.wallet) or number(self.worth))


class OrderRow(Struct, frozen=True, rename="camel"):
    """An order, as placed, cancelled or asked about."""

    symbol: str
    client_order_id: str
    order_id: Id
    status: str
    executed_qty: str
    update_time: Ms


class OpenRow(Struct, frozen=True, rename="camel"):
    """An open order."""

    symbol: str
    client_order_id: str
    order_id: Id
    side: Buying
    orig_qty: str
    executed_qty: str


class TradeRow(Struct, frozen=True, rename="camel"):
    """A fill."""

    symbol: str
    id: Id
    order_id: Id
    side: Buying
    price: str
    qty: str
    commission: str
    commission_asset: str
    maker: bool
    time: Ms


PUBLIC = Decoder(PublicFrame)
MARKET = Decoder(MarketFrame)
PRIVATE: Decoder[PrivateFrame] = Decoder(PrivateFrame)
LABEL = Decoder(Label)
FAILURE = Decoder(Failure)
REVOKED = Decoder(Revoked)
SERVER_TIME = Decoder(ServerTime)
LISTEN_KEY = Decoder(ListenKey)
EXCHANGE_INFO = Decoder(ExchangeInfo)
CONTRACT = Decoder(Contract)
PREMIUM = Decoder(Premium)
FUNDING_INFO = Decoder(FundingInfo)
TICKER = Decoder(Ticker)
BRACKETS = Decoder(Brackets)
COMMISSION = Decoder(Commission)
SYMBOL_CONFIG = Decoder(SymbolConfig)
LEVERAGE_SET = Decoder(LeverageSet)
ACCOUNT_CONFIG = Decoder(AccountConfig)
ACCOUNT = Decoder(Account)
WALLETS: Decoder[list[Wallet]] = Decoder(Annotated[list[Wallet], Meta(min_length=1)])
RESTRICTIONS = Decoder(Restrictions)
POSITIONS = Decoder(list[PositionRow])
ORDER = Decoder(OrderRow)
OPEN_ORDERS = Decoder(list[OpenRow])
TRADES = Decoder(list[TradeRow])


# Facts: market


def quote_facts(index: int, event: BookTicker) -> list[fact.Fact]:
    """The best bid and ask."""
    return [quote_of(index, (event.bid, event.bid_size), (event.ask, event.ask_size), event.at * MS)]


def depth_facts(index: int, event: DepthUpdate) -> list[fact.Fact]:
    """The visible book."""
    return [depth_of(index, event.bids, event.asks, event.at * MS)]


def mark_facts(index: int, event: MarkPrice) -> list[fact.Fact]:
    """Mark price and funding; a contract with an end has no funding."""
    at = event.at * MS
    facts: list[fact.Fact] = [fact.Mark(index, positive(event.mark), positive(event.index), at)]
    if event.rate and event.next_at:
        facts.append(fact.Funding(index, number(event.rate), event.next_at * MS, at))
    return facts


def premium_facts(index: int, row: Raw) -> list[fact.Fact]:
    """Mark price and funding from the table of all symbols."""
    one = PREMIUM.decode(row)
    event = MarkPrice("", one.mark_price, one.index_price, one.last_funding_rate, one.next_funding_time, one.time)
    return mark_facts(index, event)


def volume_facts(index: int, row: Raw) -> list[fact.Fact]:
    """What was traded in the last 24 hours."""
    return [fact.Volume(index, amount(TICKER.decode(row).quote_volume))]


# Facts: rules and settings


def instrument_of(venue: str, index: int, symbol: str, contract: Contract) -> Instrument:
    """A contract with its rules; the steps come from the filters, never from the printed precisions."""
    rules = {rule.filter_type: rule for rule in contract.filters}
    lot, market, band = rules["LOT_SIZE"], rules.get("MARKET_LOT_SIZE"), rules.get("PERCENT_PRICE")
    step, largest = above_zero(lot.step_size), above_zero(lot.max_qty)
    # On some symbols the market filter is switched off by zeros: then the limit filter holds.
    market_largest = exact(market.max_qty) if market else Decimal(0)
    return Instrument(
        index=index,
        venue=venue,
        symbol=symbol,
        base=contract.base_asset,
        quote=contract.quote_asset,
        settle=contract.margin_asset,
        tick=above_zero(rules["PRICE_FILTER"].tick_size),
        step=step,
        min_lots=max(1, int((exact(lot.min_qty) / step).to_integral_value(ROUND_CEILING))),
        max_lots=int(largest // step),
        max_market_lots=int((min(largest, market_largest) if market_largest > 0 else largest) // step),
        min_notional=amount(rules["MIN_NOTIONAL"].notional) if "MIN_NOTIONAL" in rules else 0.0,
        price_up=positive(band.multiplier_up) if band else None,
        price_down=positive(band.multiplier_down) if band else None,
        trading=contract.status == "TRADING",
    )


def tier_facts(index: int, row: Raw) -> list[fact.Fact]:
    """The margin table, with the account's own scale applied."""
    table = BRACKETS.decode(row)
    k = table.notional_coef
    tiers = [
        Tier(one.notional_floor * k, one.notional_cap * k, one.maint_margin_ratio, one.cum * k, one.initial_leverage)
        for one in table.brackets
    ]
    return [fact.Tiers(index, tuple(sorted(tiers, key=lambda tier: tier.floor)))]


def leverage_facts(index: int, row: Raw) -> list[fact.Fact]:
    """The leverage setting, and whether margin is isolated."""
    config = SYMBOL_CONFIG.decode(row)
    isolated = {"ISOLATED": True, "CROSSED": False}.get(config.margin_type)
    return [fact.Leverage(index, config.leverage, isolated)]


# Facts: account and orders


def account_facts(account: Account, asked_at: int, index: Mapping[str, int]) -> list[fact.Fact]:
    """Totals, what they are made of, and wallets. ``index`` gives the portfolio's instruments."""
    reserves = [
        fact.Reserve(index[row.symbol], SIDES[row.position_side], number(row.maint_margin))
        for row in account.positions or ()
        if row.symbol in index and exact(row.position_amt)
    ]
    margin = fact.Margin(
        wallet=number(account.total_wallet_balance),
        equity=number(account.total_margin_balance),
        initial=number(account.total_initial_margin),
        maintenance=number(account.total_maint_margin),
        available=number(account.available_balance),
        asked_at=asked_at,
        reserves=None if account.positions is None else tuple(reserves),
    )
    return [margin, *(fact.Balance(row.asset, number(row.wallet_balance), asked_at) for row in account.assets)]


def balance_facts(reason: str, rows: Sequence[BalanceUpdate], at: int) -> list[fact.Fact]:
    """Wallets after a change, and what came or went without a trade."""
    facts: list[fact.Fact] = []
    for row in rows:
        facts.append(fact.Balance(row.asset, number(row.wallet), at))
        if reason == "ORDER":
            continue
        if row.change is None:
            raise ValueError(f"{reason:.30} of an amount that is not stated")
        if change := number(row.change):
            facts.append(fact.Flow(row.asset, change, FLOWS.get(reason, reason.lower()), at))
    return facts


def position_of(instrument: Instrument, row: PositionUpdate | PositionRow, at: int) -> fact.Position:
    """What is held on one side."""
    lots = instrument.lots(exact(row.amount))
    entry = positive(row.entry) if lots else None
    isolated = number(row.wallet) if lots and row.isolated else None
    return fact.Position(instrument.index, SIDES[row.side], lots, entry, at, isolated)


def owner_facts(rows: Sequence[Wallet]) -> list[fact.Fact]:
    """Which account it is."""
    return [fact.Owner(rows[0].account_alias)]


def rights_facts(row: Restrictions) -> list[fact.Fact]:
    """What the key may do."""
    rights = fact.Rights(
        withdraw=row.enable_withdrawals,
        transfer=row.enable_internal_transfer or row.permits_universal_transfer,
        trade=row.enable_futures,
        bound=row.ip_restrict,
        expires_at=row.trading_authority_expiration_time * MS or None,
    )
    return [rights]


def forced_facts(event: OrderUpdate) -> list[fact.Fact]:
    """That the venue itself trades, if an order event says so."""
    kinds = [kind for prefix, kind in FORCED.items() if event.order.startswith(prefix)]
    if not kinds and str(event.reason) == LIQUIDATED:
        kinds = [Force.LIQUIDATION]
    return [fact.Forced(event.order, kind, event.symbol, event.at * MS) for kind in kinds[:1]]


def order_facts(instrument: Instrument, event: OrderUpdate) -> list[fact.Fact]:
    """What an order event says: accepted, traded, ended, or the last two at once."""
    filled, at = lots_of(instrument, event.filled), event.at * MS
    if event.what in ("NEW", "AMENDMENT"):
        return [fact.Accepted(event.order, str(event.venue_order), filled, at)]
    facts: list[fact.Fact] = []
    if event.what in ("TRADE", "CALCULATED"):
        fill = fact.Filled(
            order=event.order,
            instrument=instrument.index,
            trade=str(event.trade),
            lots=signed(event.side, instrument.lots(above_zero(event.last))),
            price=positive(event.price),
            fee=number(event.fee),
            fee_asset=event.fee_asset,
            maker=event.maker,
            filled_lots=filled,
            at=at,
        )
        facts.append(fill)
    elif event.what not in ENDS or event.status not in ENDS:
        raise ValueError(f"execution type {event.what:.30}, status {event.status:.30}")
    if event.status in ENDS:
        how, reason = ENDS[event.status], REASONS.get(str(event.reason))
        facts.append(fact.Ended(event.order, f"{how}: {reason}" if reason else how, filled, at))
    elif event.status not in LIVES:
        raise ValueError(f"status {event.status:.30}")
    return facts


def order_row_facts(instrument: Instrument, row: OrderRow) -> list[fact.Fact]:
    """What an order's row says: the venue has it, and perhaps it has ended."""
    filled, at = lots_of(instrument, row.executed_qty), row.update_time * MS
    facts: list[fact.Fact] = [fact.Accepted(row.client_order_id, str(row.order_id), filled, at)]
    if row.status in ENDS:
        facts.append(fact.Ended(row.client_order_id, ENDS[row.status], filled, at))
    elif row.status not in LIVES:
        raise ValueError(f"status {row.status:.30}")
    return facts


def open_order(instrument: Instrument | None, index: int | None, row: OpenRow) -> fact.OpenOrder:
    """An open order; one of an instrument without a known grid is listed without sizes."""
    if instrument is None:
        return fact.OpenOrder(row.client_order_id, str(row.order_id), index, 0, 0)
    lots, filled = signed(row.side, lots_of(instrument, row.orig_qty)), lots_of(instrument, row.executed_qty)
    return fact.OpenOrder(row.client_order_id, str(row.order_id), index, lots, filled)


def trade_facts(instrument: Instrument, rows: Sequence[TradeRow], names: dict[str, str]) -> list[fact.Fact]:
    """Fills, oldest first, under our ids as far as ``names`` translates the venue's.

    The venue states no running total of the order here, so ``filled_lots`` is what these rows prove by themselves.
    """
    facts: list[fact.Fact] = []
    totals: dict[int, int] = {}
    for row in sorted(rows, key=lambda one: one.id):
        if row.symbol != instrument.symbol:
            raise ValueError("the answer is about another symbol")
        lots = instrument.lots(above_zero(row.qty))
        totals[row.order_id] = totals.get(row.order_id, 0) + lots
        fill = fact.Filled(
            order=names.get(str(row.order_id), str(row.order_id)),
            instrument=instrument.index,
            trade=str(row.id),
            lots=signed(row.side, lots),
            price=positive(row.price),
            fee=number(row.commission),
            fee_asset=row.commission_asset,
            maker=row.maker,
            filled_lots=totals[row.order_id],
            at=row.time * MS,
        )
        facts.append(fill)
    return facts
