"""What MEXC writes of its contracts and what it means: the shapes of frames and answers, and the facts in each.

Only the fields that are used are named, by what they mean. Numbers come as JSON numbers or as text, so the decoders
take both. A shape that does not fit, or a number that is none, raises one of `adapters.reading.MISREAD`; the dialect
turns that into a stated fact. Words come first, then shapes, then facts. Quantities are in contracts throughout.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from math import floor
from typing import Annotated, Final, Literal, TypeVar

from msgspec import Meta, Raw, Struct
from msgspec.json import Decoder

from adapters.reading import MS, RAWS, Ms, above_zero, depth_of, exact, lots_of, number, positive, quote_of
from agent.core import events as fact
from agent.core.events import Force, Side
from agent.core.instruments import Instrument, Tier

NAME: Final = "mexc"

Name = str | int
"""An order, a trade or a position, which come as text or as a number."""
Deal = Literal[1, 2, 3, 4]
"""What an order does: 1 opens a long, 2 closes a short, 3 opens a short, 4 closes a long."""
Direction = Literal[1, 2]
"""1 is long, 2 is short."""
OpenType = Literal[1, 2]
"""1 is isolated margin, 2 is cross margin."""
Leverage = Annotated[int, Meta(ge=1, le=1000)]

LONG: Final = 1
ISOLATED: Final = 1
HEDGE: Final = 1
ENABLED: Final = 0
"""The state of a contract that trades."""

OPEN, FILLED, CANCELLED, INVALID = 2, 3, 4, 5
LIVES: Final = (1, OPEN)
"""The states of an order that may still trade: not reported to the book yet, and resting."""
ENDS: Final = {FILLED: "filled", CANCELLED: "cancelled", INVALID: "invalid"}
"""The states that an order does not leave."""

REASONS: Final = {
    1: "a parameter is wrong",
    2: "not enough balance",
    3: "no position",
    4: "the position is too small",
    5: "the position is being liquidated",
    6: "it would be liquidated at once",
    7: "over the risk limit",
    8: "by the system",
    9: "another position mode",
    10: "reduce-only",
    11: "the contract is off",
    12: "the contract is delivered",
    13: "by a liquidation",
    14: "by auto-deleveraging",
    15: "the account is blocked",
    16: "by a funding settlement",
    17: "by a change of margin",
}
"""Why an order ended, by the venue's number."""

FORCED: Final = {2: Force.LIQUIDATION, 4: Force.DELEVERAGING}
"""By the category of an order, where the venue itself trades on an account."""

MOST_TIERS: Final = 1_000


def signed(side: Deal, lots: int) -> int:
    """Lots with the sign of what they do to the net position."""
    return lots if side in (1, 2) else -lots


# Frames


class Frame(Struct, frozen=True):
    """Any frame: its channel, what it is about, and when it was sent."""

    channel: str
    data: Raw = Raw(b"null")
    symbol: str = ""
    ts: Ms | None = None

    @property
    def at(self) -> int:
        """When it was sent."""
        if self.ts is None:
            raise ValueError("a frame without a time")
        return self.ts * MS


class Ticker(Struct, frozen=True, rename="camel"):
    """Mark and index price, the running estimate of the funding rate, and the turnover of 24 hours."""

    symbol: str
    fair_price: float
    timestamp: Ms
    index_price: float | None = None
    funding_rate: float | None = None
    amount24: float | None = None


class Depth(Struct, frozen=True):
    """The visible book; the same shape with ``begin`` carries differences."""

    bids: list[list[float]]
    asks: list[list[float]]
    version: Annotated[int, Meta(ge=0)]
    begin: int | None = None


class Asset(Struct, frozen=True, rename="camel"):
    """The wallet of one currency: ``equity`` is what is in it and on paper, ``unrealized`` what is on paper."""

    currency: str
    equity: float
    unrealized: float
    available_balance: float
    position_margin: float
    frozen_balance: float


class PositionRow(Struct, frozen=True, rename="camel"):
    """A position, as pushed or asked about; ``im`` is the margin assigned to it, ``hold_fee`` funding received."""

    position_id: Name
    symbol: str
    position_type: Direction
    open_type: OpenType
    hold_vol: Decimal
    hold_avg_price: float
    leverage: Leverage
    im: float | None = None
    hold_fee: float | None = None
    state: int = 1
    update_time: Ms | None = None


class OrderRow(Struct, frozen=True, rename="camel"):
    """An order, as pushed or asked about."""

    order_id: Name
    symbol: str
    side: Deal
    vol: Decimal
    deal_vol: Decimal
    state: int
    external_oid: str | None = None
    category: int = 1
    error_code: int = 0
    update_time: Ms | None = None

    @property
    def name(self) -> str:
        """Our id of it, or the venue's where nobody gave one."""
        return self.external_oid or str(self.order_id)


class DealRow(Struct, frozen=True, rename="camel"):
    """A fill, as pushed (``is_taker``) or asked about (``taker``)."""

    id: Name
    order_id: Name
    symbol: str
    side: Deal
    vol: Decimal
    price: float
    fee: float
    fee_currency: str
    timestamp: Ms
    external_oid: str | None = None
    is_taker: bool | None = None
    taker: bool | None = None

    @property
    def maker(self) -> bool | None:
        """Whether it was the resting side, where that is told."""
        taker = self.is_taker if self.is_taker is not None else self.taker
        return None if taker is None else not taker


class PositionMode(Struct, frozen=True, rename="camel"):
    """Whether longs and shorts are held apart."""

    position_mode: Literal[1, 2]


class Endangered(Struct, frozen=True, rename="camel"):
    """The venue's warning that a position is near its liquidation."""

    symbol: str
    liquidate_price: float | None = None
    margin_ratio: float | None = None


# Answers


class Envelope(Struct, frozen=True):
    """What every answer comes in: data, or a code and a message."""

    success: bool
    code: int
    data: Raw = Raw(b"null")
    message: str = ""


class Page(Struct, frozen=True, rename="camel"):
    """A list that comes in pages."""

    result_list: list[Raw]


class Custom(Struct, frozen=True, rename="camel"):
    """A line of a margin table of its own kind."""

    max_vol: Decimal
    mmr: Annotated[float, Meta(ge=0, le=1)]
    max_leverage: Leverage


class Contract(Struct, frozen=True, rename="camel"):
    """A contract and its rules. A contract that does not say that the interface may trade it is not traded."""

    symbol: str
    base_coin: str
    quote_coin: str
    settle_coin: str
    contract_size: Decimal
    price_unit: Decimal
    vol_unit: Decimal
    min_vol: Decimal
    max_vol: Decimal
    state: int
    maintenance_margin_rate: Annotated[float, Meta(ge=0, le=1)]
    initial_margin_rate: Annotated[float, Meta(gt=0, le=1)]
    max_leverage: Leverage
    api_allowed: bool = False
    bid_limit_price_rate: float | None = None
    ask_limit_price_rate: float | None = None
    risk_limit_type: Literal["BY_VOLUME", "BY_VALUE"] = "BY_VOLUME"
    risk_limit_mode: Literal["INCREASE", "CUSTOM"] = "INCREASE"
    risk_limit_custom: list[Custom] = []
    risk_base_vol: Decimal = Decimal(0)
    risk_incr_vol: Decimal = Decimal(0)
    risk_incr_mmr: float = 0.0
    risk_incr_imr: float = 0.0
    risk_level_limit: Annotated[int, Meta(ge=1)] = 1

    @property
    def linear(self) -> bool:
        """Whether it is settled in the currency that it is quoted in."""
        return self.settle_coin == self.quote_coin


class FundingRow(Struct, frozen=True, rename="camel"):
    """The rate of the next settlement, when that is, and how many hours apart they are."""

    symbol: str
    funding_rate: float
    next_settle_time: Ms
    timestamp: Ms
    collect_cycle: Annotated[float, Meta(gt=0, le=1000)]


class FeeRates(Struct, frozen=True, rename="camel"):
    """The account's fee rates, before any discount."""

    maker_fee: float
    taker_fee: float


class Setting(Struct, frozen=True, rename="camel"):
    """The setting of one direction of a contract."""

    position_type: Direction
    open_type: OpenType
    leverage: Leverage


class RiskLimit(Setting, frozen=True, rename="camel"):
    """The limit of one direction of a contract, told with its setting."""

    symbol: str


class Placed(Struct, frozen=True, rename="camel"):
    """An order that the venue has taken in."""

    order_id: Name
    ts: Ms


class Cancelled(Struct, frozen=True, rename="camel"):
    """What became of one order that was to be cancelled."""

    order_id: Name
    error_code: int
    error_msg: str = ""


T = TypeVar("T")


def _lax(kind: type[T]) -> Decoder[T]:
    """A decoder that takes numbers as text as well, as the venue sends them on some paths."""
    return Decoder(kind, strict=False)


FRAME = _lax(Frame)
TICKER = _lax(Ticker)
DEPTH = _lax(Depth)
POSITION = _lax(PositionRow)
ORDER = _lax(OrderRow)
DEAL = _lax(DealRow)
RISK_LIMIT = _lax(RiskLimit)
POSITION_MODE = _lax(PositionMode)
ENDANGERED = _lax(Endangered)
ENVELOPE = _lax(Envelope)
PAGE = _lax(Page)
CONTRACT = _lax(Contract)
FUNDING = _lax(FundingRow)
FEES = _lax(FeeRates)
SETTINGS: Decoder[list[Setting]] = Decoder(Annotated[list[Setting], Meta(min_length=1)], strict=False)
PLACED = _lax(Placed)
CANCELS: Decoder[list[Cancelled]] = Decoder(Annotated[list[Cancelled], Meta(min_length=1, max_length=1)], strict=False)
ASSETS = _lax(list[Asset])
MODE: Decoder[Literal[1, 2]] = Decoder(Literal[1, 2], strict=False)
SERVER_TIME: Decoder[int] = Decoder(Ms, strict=False)


def rows_of(data: Raw) -> list[Raw]:
    """The rows of a list, whole or in a page of its own."""
    if bytes(data).startswith(b"{"):
        return PAGE.decode(data).result_list
    return RAWS.decode(data)


# Facts: market


def mark_facts(index: int, row: Ticker) -> list[fact.Fact]:
    """The mark price and its index."""
    price = None if row.index_price is None else positive(row.index_price)
    return [fact.Mark(index, positive(row.fair_price), price, row.timestamp * MS)]


def book_facts(index: int, book: Depth, at: int, *, whole: bool) -> list[fact.Fact]:
    """The best bid and ask, and with ``whole`` the visible book as well."""
    if book.begin is not None:
        raise ValueError("differences of a book, not a book")
    depth = depth_of(index, [_level(row) for row in book.bids], [_level(row) for row in book.asks], at)
    facts: list[fact.Fact] = [depth] if whole else []
    return [quote_of(index, depth.bids[0], depth.asks[0], at), *facts] if depth.bids and depth.asks else facts


def _level(row: list[float]) -> tuple[float, float]:
    """Price and size; how many orders there are comes third."""
    if len(row) < 2:
        raise ValueError("a level without a size")
    return row[0], row[1]


# Facts: rules and settings


def instrument_of(index: int, one: Contract) -> Instrument:
    """A contract with its rules. Sizes are in contracts of ``contract_size`` of the base currency."""
    step, largest = above_zero(str(one.vol_unit)), int(above_zero(str(one.max_vol)) // one.vol_unit)
    up, down = one.bid_limit_price_rate, one.ask_limit_price_rate
    return Instrument(
        index=index,
        venue=NAME,
        symbol=one.symbol,
        base=one.base_coin,
        quote=one.quote_coin,
        settle=one.settle_coin,
        tick=above_zero(str(one.price_unit)),
        step=step,
        min_lots=max(1, int((exact(str(one.min_vol)) / step).to_integral_value(ROUND_CEILING))),
        max_lots=largest,
        max_market_lots=largest,
        min_notional=0.0,
        price_up=None if up is None else 1 + positive(up),
        price_down=None if down is None else positive(1 - down),
        multiplier=above_zero(str(one.contract_size)),
        trading=one.state == ENABLED and one.api_allowed,
    )


def tier_facts(index: int, one: Contract, price: float) -> list[fact.Fact]:
    """The margin table in money at ``price``.

    The venue takes the rate of a level for the whole position, so its margin leaps at every edge. Lines from edge to
    edge that are nowhere below it, and bend upwards only, stand in for it: the margin they give is that of the level
    above when a position is about to enter it.
    """
    unit = float(one.contract_size) * positive(price) if one.risk_limit_type == "BY_VOLUME" else 1.0
    levels = [(positive(float(cap)) * unit, rate, leverage) for cap, rate, leverage in _levels(one)]
    if any(not low[0] < high[0] or not low[1] <= high[1] for low, high in pairwise([(0.0, 0.0, 0), *levels])):
        raise ValueError("a margin table that does not rise")
    tiers: list[Tier] = []
    edge, margin, slope = 0.0, 0.0, 0.0
    for (cap, rate, leverage), above in zip(levels, [*levels[1:], None], strict=True):
        slope = max(slope, rate, ((above[1] if above else rate) * cap - margin) / (cap - edge))
        tiers.append(Tier(edge, cap, slope, slope * edge - margin, leverage))
        edge, margin = cap, margin + slope * (cap - edge)
    return [fact.Tiers(index, tuple(tiers))]


def _levels(one: Contract) -> list[tuple[Decimal, float, int]]:
    """The largest position, the maintenance rate and the leverage of each level."""
    if one.risk_limit_mode == "CUSTOM":
        rows = [(row.max_vol, row.mmr, row.max_leverage) for row in one.risk_limit_custom]
        if not rows:
            raise ValueError("a margin table without a line")
        return sorted(rows, key=lambda row: row[0])
    count = one.risk_level_limit if one.risk_incr_vol > 0 else 1
    if count > MOST_TIERS:
        raise ValueError(f"a margin table of {count} lines")
    return [
        (
            one.risk_base_vol + n * one.risk_incr_vol,
            min(1.0, one.maintenance_margin_rate + n * one.risk_incr_mmr),
            max(1, min(one.max_leverage, floor(1 / (one.initial_margin_rate + n * one.risk_incr_imr) + 1e-9))),
        )
        for n in range(count)
    ]


# Facts: account and orders


def position_of(instrument: Instrument, row: PositionRow, at: int, *, hedge: bool) -> fact.Position:
    """What is held: in hedge mode on one side, else on the only one."""
    lots = lots_of(instrument, str(row.hold_vol))
    long = row.position_type == LONG
    isolated = row.im if lots and row.open_type == ISOLATED else None
    return fact.Position(
        instrument=instrument.index,
        side=(Side.LONG if long else Side.SHORT) if hedge else Side.NET,
        lots=lots if long else -lots,
        entry=positive(row.hold_avg_price) if lots else None,
        at=at,
        isolated=None if isolated is None else number(isolated),
    )


def forced_facts(row: OrderRow, at: int) -> list[fact.Fact]:
    """That the venue itself trades, if an order is of that kind."""
    kind = FORCED.get(row.category)
    return [fact.Forced(row.name, kind, row.symbol[:40], at)] if kind else []


def order_fact(instrument: Instrument, row: OrderRow, at: int) -> fact.Accepted | fact.Ended:
    """What an order's row says: the venue has it, or it has ended."""
    filled = lots_of(instrument, str(row.deal_vol))
    if row.state in LIVES:
        return fact.Accepted(row.name, str(row.order_id), filled, at)
    if row.state not in ENDS:
        raise ValueError(f"state {row.state}")
    how, reason = ENDS[row.state], REASONS.get(row.error_code)
    return fact.Ended(row.name, f"{how}: {reason}" if reason else how, filled, at)


def open_order(instrument: Instrument | None, index: int | None, row: OrderRow) -> fact.OpenOrder:
    """An open order; one of an instrument without a known grid is listed without sizes."""
    if instrument is None:
        return fact.OpenOrder(row.name, str(row.order_id), index, 0, 0)
    lots, filled = signed(row.side, lots_of(instrument, str(row.vol))), lots_of(instrument, str(row.deal_vol))
    return fact.OpenOrder(row.name, str(row.order_id), index, lots, filled)


def fill_of(instrument: Instrument, row: DealRow, order: str, filled_lots: int) -> fact.Filled:
    """A trade of ``order``, of which so many unsigned lots are known to be done."""
    return fact.Filled(
        order=order,
        instrument=instrument.index,
        trade=str(row.id),
        lots=signed(row.side, instrument.lots(above_zero(str(row.vol)))),
        price=positive(row.price),
        fee=number(row.fee),
        fee_asset=row.fee_currency,
        maker=row.maker,
        filled_lots=filled_lots,
        at=row.timestamp * MS,
    )
