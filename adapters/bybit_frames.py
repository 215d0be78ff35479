"""What Bybit v5 writes and what it means: the shapes of its frames and answers, and the facts in each.

Only the fields that are used are named. Numbers come as texts, and an empty text is a number that is not there. A shape
that does not fit, or a number that is none, raises one of `adapters.reading.MISREAD`; the dialect turns that into a
stated fact. Words come first, then shapes, then facts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Any, Final, Literal

import numpy as np
from msgspec import Meta, Raw, Struct, field
from msgspec.json import Decoder

from adapters.reading import MS, Level, Ms, above_zero, amount, exact, lots_of, number, positive, quote_of
from agent.core import events as fact
from agent.core.events import Fault, Force, Side
from agent.core.instruments import Instrument, Tier

ENDS: Final = {
    "Filled": "filled",
    "Cancelled": "cancelled",
    "PartiallyFilledCanceled": "cancelled",
    "Rejected": "rejected",
    "Deactivated": "deactivated",
}
"""The states that an order does not leave. A cancelled one may have been filled in part."""

LIVES: Final = ("New", "PartiallyFilled", "Untriggered", "Triggered")

REFUSALS: Final = {
    "EC_PostOnlyWillTakeLiquidity": Fault.PRICE,
    "EC_NoEnoughQtyToFill": Fault.PRICE,
    "EC_CancelForNoFullFill": Fault.PRICE,
    "EC_LimitOrderInvalidPrice": Fault.RULE,
    "EC_InvalidSymbolStatus": Fault.CLOSED,
    "EC_InCallAuctionStatus": Fault.CLOSED,
}
"""Why an order that was acknowledged was not taken after all."""

NO_REASON: Final = ("", "UNKNOWN", "EC_NoError")
CANCELS: Final = ("EC_PerCancelRequest", "EC_OrigClOrdIDDoesNotExist")
"""Reasons that tell of a request to cancel, not of the order."""

SIDES: Final = {0: Side.NET, 1: Side.LONG, 2: Side.SHORT}
"""The rows of a position, as the venue numbers them."""

FORCED: Final = {
    "CreateByLiq": Force.LIQUIDATION,
    "CreateByTakeOver_PassThrough": Force.LIQUIDATION,
    "CreateByAdl_PassThrough": Force.DELEVERAGING,
    "CreateBySettle": Force.SETTLEMENT,
    "BustTrade": Force.LIQUIDATION,
    "AdlTrade": Force.DELEVERAGING,
    "Delivery": Force.SETTLEMENT,
}
"""Orders (by how they were created) and trades (by their kind) with which the venue itself trades on an account."""

TRADES: Final = ("Trade", "AdlTrade", "BustTrade", "Delivery", "BlockTrade", "MovePosition", "FutureSpread")
"""Executions that move a position."""

TO_CLOSE: Final = 0.0011
"""What maintenance margin holds besides the rate of its tier: the fee of closing the position, as a fraction of value.

It is charged on the price at which the position would be bankrupt; twice the highest taker fee bounds it.
"""


# Frames


class Frame(Struct, frozen=True):
    """As much of any frame as tells what it is: news of a topic, or the answer to a command."""

    topic: str = ""
    type: str = ""
    ts: Ms = 0
    data: Raw = Raw(b"")
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""
    retCode: int | None = None
    retMsg: str = ""
    creationTime: Ms = 0


class Ladder(Struct, frozen=True):
    """The levels of a book, or those that have changed."""

    s: str
    b: list[Level]
    a: list[Level]
    u: Annotated[int, Meta(ge=0)]


class Ticker(Struct, frozen=True, rename="camel"):
    """Mark, index and funding of an instrument: in a delta, or for a contract without funding, only what is there."""

    symbol: str
    mark_price: str = ""
    index_price: str = ""
    funding_rate: str = ""
    next_funding_time: str = ""


class OrderRow(Struct, frozen=True, rename="camel"):
    """An order, on the stream or in an answer."""

    symbol: str
    order_id: Annotated[str, Meta(min_length=1)]
    side: str
    qty: str
    order_status: str
    cum_exec_qty: str
    updated_time: str
    order_link_id: str | None = None
    cancel_type: str | None = None
    reject_reason: str | None = None
    create_type: str | None = None
    category: str = ""

    @property
    def name(self) -> str:
        """Our id, or the venue's where whoever placed it gave none."""
        return self.order_link_id or self.order_id


class ExecutionRow(Struct, frozen=True, rename="camel"):
    """A trade of an order, or a payment that the venue lists among them."""

    category: str
    symbol: str
    exec_type: str
    exec_id: Annotated[str, Meta(min_length=1)]
    side: str
    exec_qty: str
    exec_price: str
    exec_fee: str
    exec_time: str
    order_id: str = ""
    order_link_id: str | None = None
    is_maker: bool = False
    fee_currency: str | None = None
    fee_coin: str | None = None

    @property
    def name(self) -> str:
        """The order's name, as `OrderRow` has it."""
        return self.order_link_id or self.order_id


class PositionRow(Struct, frozen=True, rename="camel"):
    """One row of a position; `entryPrice` on the stream is `avgPrice` in answers."""

    symbol: str
    side: str
    size: str
    position_idx: Literal[0, 1, 2]
    updated_time: str
    leverage: str = ""
    entry_price: str = ""
    avg_price: str = ""
    session_avg_price: str | None = None
    seq: int = -1
    category: str = ""


class Coin(Struct, frozen=True, rename="camel"):
    """One asset of the account, and the margin that its contracts take."""

    coin: str
    wallet_balance: str
    equity: str = ""
    total_position_i_m: str = ""
    total_order_i_m: str = ""
    total_position_m_m: str = ""


class Wallet(Struct, frozen=True, rename="camel"):
    """The account: the assets named, and totals in USD."""

    coin: list[Coin]
    account_type: Literal["UNIFIED"]
    total_wallet_balance: str = ""
    total_margin_balance: str = ""
    total_initial_margin: str = ""
    total_maintenance_margin: str = ""
    total_available_balance: str = ""


# Answers


class Envelope(Struct, frozen=True, rename="camel"):
    """What is around every answer."""

    ret_code: int
    ret_msg: str = ""
    time: Ms = 0
    result: Raw = Raw(b"{}")
    ret_ext_info: Raw = Raw(b"{}")


class Page(Struct, frozen=True, rename="camel"):
    """A part of a list, and where it goes on."""

    rows: list[Raw] = field(name="list")
    next_page_cursor: str | None = None


class Extra(Struct, frozen=True):
    """What became of each row of a batch."""

    rows: list[Outcome] = field(name="list")


class Outcome(Struct, frozen=True):
    """What became of one row of a batch; 0 is well."""

    code: int
    msg: str = ""


class Acknowledged(Struct, frozen=True, rename="camel"):
    """A request about an order was received."""

    order_link_id: str = ""


class ServerTime(Struct, frozen=True, rename="camel"):
    """The venue's clock, in nanoseconds."""

    time_nano: Annotated[str, Meta(pattern=r"\A[0-9]{1,19}\Z")]


class PriceFilter(Struct, frozen=True, rename="camel"):
    """The grid of prices."""

    tick_size: str


class LotFilter(Struct, frozen=True, rename="camel"):
    """The grid and the bounds of quantities."""

    qty_step: str
    min_order_qty: str
    max_order_qty: str
    max_mkt_order_qty: str = ""
    min_notional_value: str = ""


class RiskParameters(Struct, frozen=True, rename="camel"):
    """How far from the mark a limit price may be, as a fraction: X always, Y at most."""

    price_limit_ratio_x: str = ""


class Contract(Struct, frozen=True, rename="camel"):
    """A contract and its rules."""

    contract_type: str
    status: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    price_filter: PriceFilter
    lot_size_filter: LotFilter
    funding_interval: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """In minutes."""
    risk_parameters: RiskParameters = RiskParameters()
    is_pre_listing: bool = False
    delivery_time: str = "0"
    """When a perpetual ends, if that is known; nought while it is not."""


class Risk(Struct, frozen=True, rename="camel"):
    """A line of a margin table; rates are fractions, or percents in an older spelling."""

    risk_limit_value: str
    maintenance_margin: str
    initial_margin: str
    max_leverage: str
    mm_deduction: str | None = None


class Turnover(Struct, frozen=True):
    """The statistics of the last 24 hours: for inverse contracts the volume is in quote currency, not the turnover."""

    turnover24h: str
    volume24h: str


class FeeRate(Struct, frozen=True, rename="camel"):
    """The account's fee rates."""

    taker_fee_rate: str
    maker_fee_rate: str


class AccountInfo(Struct, frozen=True, rename="camel"):
    """How the account is set up."""

    margin_mode: str
    unified_margin_status: int


class KeyInfo(Struct, frozen=True, rename="camel"):
    """Whose a key is and what it may do."""

    user_i_d: int | str = ""
    read_only: int | str = 1
    permissions: dict[str, list[str]] = {}
    ips: list[str] = []
    expired_at: str = ""


FRAME = Decoder(Frame)
LADDER = Decoder(Ladder)
TICKER = Decoder(Ticker)
ORDER = Decoder(OrderRow)
EXECUTION = Decoder(ExecutionRow)
POSITION = Decoder(PositionRow)
WALLET = Decoder(Wallet)
ENVELOPE = Decoder(Envelope)
PAGE = Decoder(Page)
EXTRA = Decoder(Extra)
ACKNOWLEDGED = Decoder(Acknowledged)
SERVER_TIME = Decoder(ServerTime)
CONTRACT = Decoder(Contract)
RISK = Decoder(Risk)
TURNOVER = Decoder(Turnover)
FEE_RATE = Decoder(FeeRate)
ACCOUNT_INFO = Decoder(AccountInfo)
KEY_INFO = Decoder(KeyInfo)


def moment(text: str) -> int:
    """A time in milliseconds as UTC nanoseconds; nothing is the beginning of time."""
    if not re.fullmatch("[0-9]{0,13}", text):
        raise ValueError(f"{text:.20} is no time")
    return int(text or "0") * MS


# Facts: market


def quote_facts(index: int, ladder: Ladder, at: int) -> list[fact.Fact]:
    """The best bid and ask; nothing where one of them is missing."""
    if not ladder.b or not ladder.a:
        return []
    return [quote_of(index, ladder.b[0], ladder.a[0], at)]


def levels_of(rows: Sequence[Level]) -> list[tuple[float, float]]:
    """Prices and sizes; a size of nought takes a level away."""
    return [(positive(price), amount(size)) for price, size in rows]


def ticker_facts(index: int, ticker: Ticker, at: int) -> list[fact.Fact]:
    """Mark price and funding, as far as they are there."""
    facts: list[fact.Fact] = []
    if ticker.mark_price:
        behind = positive(ticker.index_price) if ticker.index_price else None
        facts.append(fact.Mark(index, positive(ticker.mark_price), behind, at))
    if ticker.funding_rate and (next_at := moment(ticker.next_funding_time)):
        facts.append(fact.Funding(index, number(ticker.funding_rate), next_at, at))
    return facts


def volume_facts(index: int, row: Raw) -> list[fact.Fact]:
    """What was traded in the last 24 hours."""
    return [fact.Volume(index, amount(TURNOVER.decode(row).turnover24h))]


def coin_volume_facts(index: int, row: Raw) -> list[fact.Fact]:
    """The same of an inverse contract, whose quantities are dollars."""
    return [fact.Volume(index, amount(TURNOVER.decode(row).volume24h))]


# Facts: rules and settings


def instrument_of(venue: str, index: int, symbol: str, contract: Contract) -> Instrument:
    """A contract with its rules."""
    lot, ratio = contract.lot_size_filter, contract.risk_parameters.price_limit_ratio_x
    step, largest = above_zero(lot.qty_step), above_zero(lot.max_order_qty)
    market = exact(lot.max_mkt_order_qty) if lot.max_mkt_order_qty else Decimal(0)
    band = number(ratio) if ratio else None
    return Instrument(
        index=index,
        venue=venue,
        symbol=symbol,
        base=contract.base_coin,
        quote=contract.quote_coin,
        settle=contract.settle_coin,
        tick=above_zero(contract.price_filter.tick_size),
        step=step,
        min_lots=max(1, int((exact(lot.min_order_qty) / step).to_integral_value(ROUND_CEILING))),
        max_lots=int(largest // step),
        max_market_lots=int((min(largest, market) if market > 0 else largest) // step),
        min_notional=amount(lot.min_notional_value) if lot.min_notional_value else 0.0,
        price_up=positive(str(1 + band)) if band else None,
        price_down=positive(str(1 - band)) if band else None,
        inverse=contract.contract_type.startswith("Inverse"),
        trading=contract.status == "Trading" and not contract.is_pre_listing,
    )


def ending_of(symbol: str, contract: Contract) -> str | None:
    """That a contract will end, in words; None while nothing is said of that."""
    at = moment(contract.delivery_time)
    return (
        f"{symbol} is delisted at {np.datetime64(at // MS, 'ms')} UTC, and what is held of it is settled"
        if at
        else None
    )


def tier_facts(index: int, rows: Sequence[Raw]) -> list[fact.Fact]:
    """The margin table. Deductions that the venue leaves out follow from the table's being continuous."""
    lines = sorted(map(RISK.decode, rows), key=lambda line: positive(line.risk_limit_value))
    tiers: list[Tier] = []
    for line in lines:
        leverage, rate = positive(line.max_leverage), amount(line.maintenance_margin)
        if amount(line.initial_margin) * leverage > 10:  # a fraction gives about one, a percentage a hundred
            rate /= 100
        floor, cap = tiers[-1].cap if tiers else 0.0, positive(line.risk_limit_value)
        deduction = tiers[-1].deduction + floor * (rate + TO_CLOSE - tiers[-1].rate) if tiers else 0.0
        if line.mm_deduction:
            deduction = amount(line.mm_deduction)
        if cap <= floor or not 0 <= rate <= 1 or leverage < 1:
            raise ValueError("a line of the margin table that can't be")
        tiers.append(Tier(floor, cap, rate + TO_CLOSE, deduction, int(leverage)))
    if not tiers:
        raise ValueError("a margin table without a line")
    return [fact.Tiers(index, tuple(tiers))]


def leverage_of(text: str) -> int:
    """A leverage setting, rounded down: margin is never thought to be less than it is."""
    value = positive(text)
    if not 1 <= value <= 1_000:
        raise ValueError(f"leverage {text:.20}")
    return int(value)


def key_facts(key: KeyInfo) -> list[fact.Fact]:
    """What the key may do."""
    words = {word for part in ("Wallet", "ContractTrade", "Derivatives") for word in key.permissions.get(part, ())}
    rights = fact.Rights(
        withdraw=any("Withdraw" in word for word in words),
        transfer=any("Transfer" in word for word in words),
        trade=str(key.read_only) == "0" and bool({"Order", "DerivativesTrade"} & words),
        bound=bool(key.ips) and "*" not in key.ips,
        expires_at=_date(key.expired_at),
    )
    return [rights]


def _date(text: str) -> int | None:
    """A moment written as a date, in UTC nanoseconds; one at the beginning of time stands for none."""
    if not re.fullmatch(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?", text):
        raise ValueError(f"{text:.30} is no date")
    return int(np.datetime64(text.rstrip("Z"), "s").astype(np.int64)) * 1_000 * MS or None if text else None


# Facts: account and orders


def margin_fact(wallet: Wallet, asked_at: int) -> fact.Margin:
    """The account's totals."""
    return fact.Margin(
        wallet=number(wallet.total_wallet_balance),
        equity=number(wallet.total_margin_balance),
        initial=number(wallet.total_initial_margin),
        maintenance=number(wallet.total_maintenance_margin),
        available=number(wallet.total_available_balance),
        asked_at=asked_at,
    )


def coin_margin_fact(wallet: Wallet, name: str, asked_at: int) -> fact.Margin:
    """The same of one coin, in that coin: what is free follows, for it is told of the whole account alone."""
    coin = next((coin for coin in wallet.coin if coin.coin == name), None)
    if coin is None:
        raise ValueError(f"nothing about {name:.20} in it")
    equity, initial = number(coin.equity), number(coin.total_position_i_m) + number(coin.total_order_i_m)
    return fact.Margin(
        wallet=number(coin.wallet_balance),
        equity=equity,
        initial=initial,
        maintenance=number(coin.total_position_m_m),
        available=max(0.0, equity - initial),
        asked_at=asked_at,
    )


def balance_facts(wallet: Wallet, at: int) -> list[fact.Fact]:
    """The assets that are named; one whose amount is not told is not one of nothing."""
    return [fact.Balance(coin.coin, number(coin.wallet_balance), at) for coin in wallet.coin if coin.wallet_balance]


def position_of(instrument: Instrument, row: PositionRow) -> fact.Position:
    """What is held on one side."""
    size, side = lots_of(instrument, row.size), SIDES[row.position_idx]
    lots = {"Buy": size, "Sell": -size}.get(row.side, 0)
    if bool(lots) != bool(size) or (side is Side.LONG and lots < 0) or (side is Side.SHORT and lots > 0):
        raise ValueError(f"a position of {row.size:.20} on side {row.side:.20}")
    # Where profit is settled every few hours, as in USDC, what is open counts from the last settlement.
    session = row.session_avg_price or ""
    settled = session if session.strip("0.") else ""
    entry = positive(settled or row.entry_price or row.avg_price) if lots else None
    return fact.Position(instrument.index, side, lots, entry, moment(row.updated_time))


def forced_facts(name: str, kind: str | None, symbol: str, at: str) -> list[fact.Fact]:
    """That the venue itself trades, if an order or a trade says so."""
    return [fact.Forced(name, FORCED[kind], symbol, moment(at))] if kind in FORCED else []


def order_facts(instrument: Instrument, row: OrderRow) -> list[fact.Fact]:
    """What is known of an order: the venue has it, it has ended, or it was not taken after all.

    The last is told as a refusal, and as its end as well: a refusal alone does not end an order of which the venue
    has said before that it works.
    """
    filled, at = lots_of(instrument, row.cum_exec_qty), moment(row.updated_time)
    accepted = fact.Accepted(row.name, row.order_id, filled, at)
    if row.order_status in LIVES:
        return [accepted]
    if row.order_status not in ENDS:
        raise ValueError(f"status {row.order_status:.30}")
    reason = row.reject_reason or ""
    reason = "" if reason in NO_REASON or reason in CANCELS else reason
    cancel = row.cancel_type or ""
    words = [ENDS[row.order_status], reason, "" if cancel in ("", "UNKNOWN", "CancelByUser") else cancel]
    ended = fact.Ended(row.name, ": ".join(word for word in words if word)[:80], filled, at)
    if not filled and (row.order_status == "Rejected" or reason in REFUSALS):
        fault = REFUSALS.get(reason, Fault.OTHER)
        return [fact.Refused(row.name, reason or "Rejected", "not taken after all", fault), ended]
    return [accepted, ended]


def fill_of(instrument: Instrument, row: ExecutionRow, filled_lots: int) -> fact.Filled:
    """One trade; ``filled_lots`` is what the order has traded with it."""
    lots = instrument.lots(above_zero(row.exec_qty))
    return fact.Filled(
        order=row.name,
        instrument=instrument.index,
        trade=row.exec_id,
        lots=signed(row.side, lots),
        price=positive(row.exec_price),
        fee=number(row.exec_fee),
        fee_asset=row.fee_currency or row.fee_coin or instrument.settle,
        maker=row.is_maker,
        filled_lots=filled_lots,
        at=moment(row.exec_time),
    )


def signed(side: str, lots: int) -> int:
    """Lots with the sign of their side."""
    if side not in ("Buy", "Sell"):
        raise ValueError(f"side {side:.20}")
    return lots if side == "Buy" else -lots


def open_order(instrument: Instrument | None, row: OrderRow) -> fact.OpenOrder:
    """An open order; one of an instrument without a known grid is listed without sizes."""
    if instrument is None:
        return fact.OpenOrder(row.name, row.order_id, None, 0, 0)
    lots, filled = signed(row.side, lots_of(instrument, row.qty)), lots_of(instrument, row.cum_exec_qty)
    return fact.OpenOrder(row.name, row.order_id, instrument.index, lots, filled)


def merged(before: Ticker, after: Ticker) -> Ticker:
    """A ticker with what has changed in it."""
    named: dict[str, Any] = {name: getattr(after, name) or getattr(before, name) for name in Ticker.__struct_fields__}
    return Ticker(**named)
