"""Words: orders and plans as a person says them."""

from __future__ import annotations

from agent.core.book import Book, Row
from agent.core.carry import CarryRules, scale_of
from agent.core.carry import Turn as Bleeding
from agent.core.drift import Drift
from agent.core.economy import Verdict
from agent.core.orders import Order
from agent.core.planner import Leg, Plan
from agent.core.sleeves import Turn as Ailing
from agent.core.targets import Targets


def size(row: Row, lots: int, *, buying: bool) -> str:
    """``sell 0.380 BTC``."""
    verb = "buy" if buying else "sell"
    if row.instrument is None:
        return f"{verb} {abs(lots)} lots of {row.symbol}"
    if row.instrument.inverse:
        return f"{verb} {row.instrument.counted(lots)} contracts of {row.symbol}"
    return f"{verb} {row.instrument.counted(lots)} {row.instrument.base}"


def order(row: Row, one: Order, of: Leg) -> str:
    """An order about to be sent: what, at which worst price, at what cost."""
    assert row.instrument is not None, "an order is never made without a grid"
    verb = "reduce:" if one.reduce else "add:"
    quote = row.instrument.quote
    price = "" if one.ticks is None else f", limit {row.instrument.price(one.ticks)}"
    cost = f", cost about {of.cost.total:,.2f} {quote}" if of.cost else ""
    what = size(row, one.lots, buying=one.lots > 0)
    return f"{verb} {what} ({of.notional:,.0f} {quote}){price}{cost}, order {one.id}"


def leg(book: Book, one: Leg) -> str:
    """``sell 0.380 BTC (22,800)``."""
    return f"{size(book.rows[one.instrument], one.lots, buying=one.lots > 0)} ({one.notional:,.0f})"


def plan(book: Book, todo: Plan, verdict: Verdict | None) -> str:
    """All legs of a plan, their cost, and what they earn if that is known."""
    legs = [leg(book, one) for one in todo.legs]
    cost = sum(one.cost.total for one in todo.legs if one.cost)
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
    """Why a correction is left undone that could be made."""
    benefit, cost, days = verdict.benefit, verdict.cost, verdict.days
    return f"not worth it, a correction would earn {benefit:,.2f} in {days:.2g} days and cost {cost:,.2f}"


def nothing(todo: Plan, symbols: list[str]) -> str:
    """Why there is nothing to trade."""
    if todo.skips:
        return "; ".join(f"{symbols[skip.instrument]}: {skip.reason}" for skip in todo.skips)
    return "nothing is to be traded that is worth an order"


def targets(new: Targets) -> str:
    """Targets in a line."""
    shares = [f"{name} {share if share == 'hold' else f'{share:+.1%}'}" for name, share in new.weights.items()]
    for name, strategy in new.strategies.items():
        leverage = new.leverage if strategy.leverage is None else strategy.leverage
        own = ", ".join(f"{symbol} {share:+.1%}" for symbol, share in strategy.weights.items())
        shares.append(f"{name} {strategy.capital:.1%} of capital at {leverage:g}x{f' ({own})' if own else ''}")
    if new.basis == "margin":
        return f"{', '.join(shares)} of margin; {new.utilisation or 0.0:.1%} of equity is used"
    return f"{', '.join(shares)}{'' if new.strategies else f'; leverage {new.leverage:g}x'}"


def bleeding(names: str, turn: Bleeding, rules: CarryRules) -> str:
    """That funding has begun to bleed, or ceased to."""
    if not turn.begun:
        return f"funding of {names} no longer bleeds; its target is whole again"
    phi = turn.phi or 0.0
    left = scale_of(phi, rules.cap)
    return (
        f"funding of {names} bleeds: {phi:.1%} of its margin within {rules.horizon_days:g} days; "
        f"its target is trimmed to {left:.1%} of itself"
    )


def health(turn: Ailing) -> str:
    """That a strategy gets less capital, none, or more again, and why."""
    known = "" if turn.sharpe is None else f", Sharpe ratio {turn.sharpe:.2f} in {turn.health.window_days} days"
    days = f"{turn.before.bad_days + 1} bad" if turn.worse else f"{turn.before.good_days + 1} good"
    cause = f"{days} days in a row"
    level = turn.health.drawdown_pause if turn.after.state == "paused" else turn.health.drawdown_reduce
    if turn.worse and turn.drawdown >= level:
        cause = "drawdown"
    if turn.before.state == "recovering" and not turn.worse:
        cause = f"{turn.before.days + 1} days into its recovery"
    given = f"{turn.after.multiplier:.0%} of its capital"
    return f"strategy {turn.name} is {turn.after.state}, {given}: {cause}{known}, drawdown {turn.drawdown:.1%}"


def shared_out(cause: str, names: list[str], amounts: list[float], crossed: float) -> str:
    """What capital changed hands between strategies, and what positions."""
    moved = ", ".join(f"{name} {amount:+,.2f}" for name, amount in zip(names, amounts, strict=True))
    met = f"; positions worth {crossed:,.0f} changed hands inside the account" if crossed else ""
    return f"{cause}: capital is shared out, {moved}{met}"
