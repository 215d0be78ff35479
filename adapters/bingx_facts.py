"""What BingX's frames and answers mean: the facts in each. A number that is none raises one of `reading.MISREAD`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, Decimal
from typing import Final

from msgspec import Raw

from adapters import bingx_frames as wire
from adapters.reading import MS, above_zero, amount, depth_of, exact, lots_of, number, positive, quote_of, signed
from agent.core import events as fact
from agent.core.events import Force, Side
from agent.core.instruments import Instrument, Tier

NAME: Final = "bingx"

ENDS: Final = {
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
    "FAILED": "failed",
}
"""The states that an order does not leave; the venue spells one of them in two ways."""

LIVES: Final = ("NEW", "PENDING", "PARTIALLY_FILLED")
TRADES: Final = ("TRADE", "CALCULATED")

FLOWS: Final = {"DEPOSIT": "deposit", "WITHDRAW": "withdrawal", "FUNDING_FEE": "funding", "ASSET_TRANSFER": "transfer"}
"""Kinds of money movements; others keep the venue's word."""

FORCED: Final = {"LIQUIDATION": Force.LIQUIDATION, "ADL": Force.DELEVERAGING}
"""Types of orders by which the venue itself trades on an account."""

SIDES: Final = {"LONG": Side.LONG, "SHORT": Side.SHORT}

MAY_TRADE, MAY_WITHDRAW, MAY_TRANSFER = 3, 5, (4, 7)
"""Rights of a key, by the venue's numbers: trade perpetuals, take money out, move it between accounts."""

LARGEST_LOTS: Final = 10**15
"""The venue states no largest order: what its margin table allows is the bound."""


# Market


def quote_facts(index: int, event: wire.BookTicker) -> list[fact.Fact]:
    """The best bid and ask."""
    return [quote_of(index, (event.bid, event.bid_size), (event.ask, event.ask_size), event.at * MS)]


def depth_facts(index: int, frame: wire.BookFrame) -> list[fact.Fact]:
    """The visible book."""
    return [depth_of(index, frame.data.bids, frame.data.asks, frame.ts * MS)]


def premium_facts(index: int, row: Raw, at: int) -> list[fact.Fact]:
    """Mark, index and funding; the answer has no time of its own, so ``at`` is that of the question."""
    one = wire.PREMIUM.decode(row)
    facts: list[fact.Fact] = [fact.Mark(index, positive(str(one.mark_price)), positive(str(one.index_price)), at)]
    if one.last_funding_rate != "" and one.next_funding_time:
        facts.append(fact.Funding(index, number(str(one.last_funding_rate)), one.next_funding_time * MS, at))
    if one.funding_interval_hours is not None:
        facts.append(fact.Interval(index, one.funding_interval_hours))
    return facts


def interval_facts(index: int, symbol: str, rows: Sequence[wire.Settlement]) -> list[fact.Fact]:
    """The time between the two last settlements, which the venue does not always state by itself."""
    times = sorted({row.funding_time for row in rows if row.symbol == symbol}, reverse=True)
    if len(times) < 2:
        raise ValueError("fewer than two settlements")
    hours = (times[0] - times[1]) / 3_600_000
    if not 0.5 <= hours <= 24:
        raise ValueError(f"settlements {hours:g} hours apart")
    return [fact.Interval(index, float(round(hours)) or hours)]


def volume_facts(index: int, row: Raw) -> list[fact.Fact]:
    """What was traded in the last 24 hours."""
    return [fact.Volume(index, amount(str(wire.TICKER.decode(row).quote_volume)))]


# Rules and settings


def instrument_of(index: int, symbol: str, contract: wire.Contract) -> Instrument:
    """A contract with its rules."""
    step = Decimal(1).scaleb(-contract.quantity_precision)
    least = exact(str(contract.trade_min_quantity))
    return Instrument(
        index=index,
        venue=NAME,
        symbol=symbol,
        base=contract.asset,
        quote=contract.currency,
        settle=contract.currency,
        tick=Decimal(1).scaleb(-contract.price_precision),
        step=step,
        min_lots=max(1, int((least / step).to_integral_value(ROUND_CEILING))),
        max_lots=LARGEST_LOTS,
        max_market_lots=LARGEST_LOTS,
        min_notional=amount(str(contract.trade_min_usdt)),
        price_up=None,
        price_down=None,
        trading=str(contract.status) == "1" and contract.api_state_open == contract.api_state_close == "true",
    )


def tier_facts(index: int, symbol: str, rows: Sequence[wire.MarginRow], most: int) -> list[fact.Fact]:
    """The margin table. Which leverage a line allows is not told: its initial margin is taken to be twice its
    maintenance margin, as it is in other venues' tables, and ``most`` is the contract's largest leverage."""
    tiers = []
    for row in rows:
        if row.symbol != symbol:
            raise ValueError("the answer is about another symbol")
        rate = number(str(row.maint_margin_ratio))
        if not 0 < rate < 1:
            raise ValueError(f"a maintenance rate of {rate:g}")
        tier = Tier(
            floor=amount(str(row.min_position_val)),
            cap=positive(str(row.max_position_val)),
            rate=rate,
            deduction=amount(str(row.maint_amount)),
            leverage=max(1, min(most, int(0.5 / rate + 1e-9))),
        )
        tiers.append(tier)
    return [fact.Tiers(index, tuple(sorted(tiers, key=lambda tier: tier.floor)))]


def setting_facts(index: int, setting: wire.Setting) -> list[fact.Fact]:
    """The leverage setting, the smaller one of two sides, and whether margin is isolated."""
    isolated = {"isolated": True, "cross": False}.get(setting.margin.lower())
    return [fact.Leverage(index, min(setting.long, setting.short), isolated)]


def rights_facts(told: wire.Permissions) -> list[fact.Fact]:
    """What the key may do."""
    may = told.permissions
    rights = fact.Rights(
        withdraw=MAY_WITHDRAW in may,
        transfer=any(right in may for right in MAY_TRANSFER),
        trade=MAY_TRADE in may,
        bound=bool(told.ip_addresses),
        expires_at=None,
    )
    return [rights]


# Account


def owner_facts(assets: Sequence[wire.Asset]) -> list[fact.Fact]:
    """Which account it is."""
    for row in assets:
        if row.user_id:
            return [fact.Owner(row.user_id[:64])]
    raise ValueError("no row names its account")


def account_facts(assets: Sequence[wire.Asset], settle: str, asked_at: int) -> list[fact.Fact]:
    """Wallets, and the totals of the settlement asset.

    The venue states no maintenance margin. What it calls used is the initial margin of positions at their entries:
    captures of one position tell the same whatever its profit.
    """
    used = [row for row in assets if row.balance != ""]
    facts: list[fact.Fact] = [fact.Balance(row.asset, number(str(row.balance)), asked_at) for row in used]
    for row in used:
        if row.asset == settle:
            margin = fact.Margin(
                wallet=number(str(row.balance)),
                equity=number(str(row.equity)),
                initial=number(str(row.used_margin)) + number(str(row.freezed_margin)),
                maintenance=None,
                available=number(str(row.available_margin)),
                asked_at=asked_at,
                held=number(str(row.used_margin)),
            )
            return [margin, *facts]
    raise ValueError(f"no row for {settle}")


def balance_facts(event: wire.AccountEvent) -> list[fact.Fact]:
    """Wallets after a change, and what came or went without a trade."""
    update, at = event.update, event.at * MS
    facts: list[fact.Fact] = []
    for row in update.balances:
        facts.append(fact.Balance(row.asset, number(row.wallet), at))
        if update.reason == "ORDER":
            continue
        if row.change is None:
            raise ValueError(f"{update.reason:.30} of an amount that is not stated")
        if change := number(row.change):
            facts.append(fact.Flow(row.asset, change, FLOWS.get(update.reason, update.reason.lower()), at))
    return facts


class Held:
    """A row of a position, wherever it was told: which side, how much, at what price, with which wallet of its own."""

    def __init__(self, row: wire.PositionRow | wire.PositionUpdate) -> None:
        self.side = row.position_side if isinstance(row, wire.PositionRow) else row.side
        if isinstance(row, wire.PositionRow):
            self.quantity, self.entry = exact(str(row.position_amt)), str(row.avg_price)
            profit = number(str(row.unrealized_profit)) if row.margin != "" else 0.0
            worth = row.initial_margin if row.margin == "" else row.margin
            self.isolated = number(str(worth)) - profit if row.isolated else None
        else:
            self.quantity, self.entry = exact(row.amount), row.entry
            self.isolated = number(row.worth) - number(row.profit) if row.margin.lower() == "isolated" else None

    def lots(self, instrument: Instrument) -> int:
        """Lots with the sign of their side. A row of both sides does not say which way it is, but by a minus."""
        lots = instrument.lots(self.quantity)
        if self.side == "BOTH" and lots > 0:
            raise ValueError("a position without its direction")
        return abs(lots) if self.side == "LONG" else -abs(lots)


def positions_of(instrument: Instrument, rows: Sequence[Held], at: int, *, hedge: bool) -> list[fact.Position]:
    """The positions of an instrument from all its rows: one for each side in hedge mode, else one in all.

    Raises ValueError where the rows are those of the other mode.
    """

    def told(side: Side, row: Held, lots: int) -> fact.Position:
        entry, isolated = (positive(row.entry), row.isolated) if lots else (None, None)
        return fact.Position(instrument.index, side, lots, entry, at, isolated)

    held = [(row, row.lots(instrument)) for row in rows]
    if hedge:
        if any(row.side == "BOTH" and lots for row, lots in held):
            raise ValueError("a position of both sides in hedge mode")
        return [told(SIDES[row.side], row, lots) for row, lots in held if row.side in SIDES]
    filled = [(row, lots) for row, lots in held if lots]
    if len(filled) > 1:
        raise ValueError("two directions at once in one-way mode")
    row, lots = filled[0] if filled else held[0]
    return [told(Side.NET, row, lots)]


# Orders


def forced_facts(event: wire.OrderEvent) -> list[fact.Fact]:
    """That the venue itself trades, if an order event says so."""
    order = event.order
    kind = FORCED.get(order.kind, Force.LIQUIDATION if order.what == "CALCULATED" else None)
    return [] if kind is None else [fact.Forced(order.name, kind, order.symbol, _moment(event))]


def order_facts(instrument: Instrument, event: wire.OrderEvent) -> list[fact.Fact]:
    """What an order event says: accepted, traded, ended, or the last two at once.

    A trade without a size or price of its own is told as the new total of its order. One without a number has that of
    its order and the total after it: none has the same.
    """
    order, at = event.order, _moment(event)
    filled = lots_of(instrument, order.filled)
    facts: list[fact.Fact] = []
    if order.what in TRADES and order.last and order.price:
        fill = fact.Filled(
            order=order.name,
            instrument=instrument.index,
            trade=str(order.trade or f"{order.venue_order}:{filled}"),
            lots=signed(order.side, instrument.lots(above_zero(order.last))),
            price=positive(order.price),
            fee=-number(order.fee),
            fee_asset=order.fee_asset,
            maker=None,
            filled_lots=filled,
            at=at,
        )
        facts.append(fill)
    elif order.what in (*TRADES, "NEW") or order.what in ENDS:
        facts.append(fact.Accepted(order.name, str(order.venue_order), filled, at))
    else:
        raise ValueError(f"execution type {order.what:.30}, status {order.status:.30}")
    return [*facts, *_end(order.name, order.status, filled, at)]


def order_row_facts(instrument: Instrument, row: wire.OrderRow) -> list[fact.Fact]:
    """What an order's row says: the venue has it, and perhaps it has ended."""
    filled, at = lots_of(instrument, str(row.executed_qty)), row.update_time * MS
    return [
        fact.Accepted(row.name, str(row.order_id), filled, at),
        *_end(row.name, row.status, filled, at),
    ]


def open_order(instrument: Instrument | None, index: int | None, row: wire.OrderRow) -> fact.OpenOrder:
    """An open order; one of an instrument without a known grid is listed without sizes."""
    if instrument is None:
        return fact.OpenOrder(row.name, str(row.order_id), index, 0, 0)
    lots, filled = (lots_of(instrument, str(quantity)) for quantity in (row.orig_qty, row.executed_qty))
    return fact.OpenOrder(row.name, str(row.order_id), index, signed(row.side, lots), filled)


def _end(order: str, status: str, filled: int, at: int) -> list[fact.Fact]:
    if status in ENDS:
        return [fact.Ended(order, ENDS[status], filled, at)]
    if status not in LIVES:
        raise ValueError(f"status {status:.30}")
    return []


def _moment(event: wire.OrderEvent) -> int:
    return (event.at or event.sent_at) * MS
