"""Words: orders and plans as a person says them."""

from __future__ import annotations

from agent.core.book import Book, Row
from agent.core.drift import Drift
from agent.core.economy import Verdict
from agent.core.orders import Order
from agent.core.planner import Leg, Plan


def size(row: Row, lots: int, *, buying: bool) -> str:
    """``sell 0.380 BTC``."""
    verb = "buy" if buying else "sell"
    if row.instrument is None:
        return f"{verb} {abs(lots)} lots of {row.symbol}"
    return f"{verb} {row.instrument.quantity(lots)} {row.instrument.base}"


def order(row: Row, one: Order, leg: Leg) -> str:
    """An order about to be sent: what, at which worst price, at what cost."""
    assert row.instrument is not None, "an order is never made without a grid"
    verb = "reduce:" if one.reduce else "add:"
    quote = row.instrument.quote
    price = "" if one.ticks is None else f", limit {row.instrument.price(one.ticks)}"
    cost = f", cost about {leg.cost.total:,.2f} {quote}" if leg.cost else ""
    what = size(row, one.lots, buying=one.lots > 0)
    return f"{verb} {what} ({leg.notional:,.0f} {quote}){price}{cost}, order {one.id}"


def plan(book: Book, todo: Plan, verdict: Verdict | None) -> str:
    """All legs of a plan, their cost, and what they earn if that is known."""
    legs = [
        f"{size(book.rows[leg.instrument], leg.lots, buying=leg.lots > 0)} ({leg.notional:,.0f})" for leg in todo.legs
    ]
    cost = sum(leg.cost.total for leg in todo.legs if leg.cost)
    worth = f", benefit {verdict.benefit:,.2f} in {verdict.days:.2g} days" if verdict else ""
    return f"{', '.join(legs)}; cost about {cost:,.2f}{worth}"


def worst(symbols: list[str], drift: Drift) -> str:
    """Which instrument has left its band the furthest."""
    reaches = [abs(d) / band for d, band in zip(drift.drifts, drift.bands, strict=True)]
    index = reaches.index(max(reaches))
    return f"{symbols[index]} drifted {drift.drifts[index]:+.1%}, its band is ±{drift.bands[index]:.1%}"


def riskiest(symbols: list[str], reaches: list[float]) -> str:
    """Which instrument has left its cost-aware band the furthest; ``reaches`` are 1 at the edge."""
    index = reaches.index(max(reaches))
    return f"{symbols[index]} has left its cost-aware band, its risk is {reaches[index]:.0%} of it"


def declined(verdict: Verdict) -> str:
    """Why a correction is left undone."""
    if not verdict.cost:
        return "what should be traded is smaller than the venue's smallest order"
    benefit, cost, days = verdict.benefit, verdict.cost, verdict.days
    return f"not worth it, a correction would earn {benefit:,.2f} in {days:.2g} days and cost {cost:,.2f}"
