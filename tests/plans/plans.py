"""Random portfolios, and what may never happen while their plans are carried out.

A portfolio is drawn from a seed: one to eight instruments with their grids, tiers and leverage settings, positions that
may be anywhere (also beyond the limits), targets and limits. Its plan goes through the gates and is carried out as the
engine does it: reductions first, increases when none is left. Every order fills in part, in whole or not at all, in any
order; after each fill, margin and leverage are computed here anew, from the venue's tables alone.
"""

from __future__ import annotations

import random
from decimal import Decimal
from math import inf

from msgspec import Struct

from agent.core.band import band_of, noises, penalty_of
from agent.core.book import Book
from agent.core.costs import Costs
from agent.core.covariance import prior_of
from agent.core.drift import Bands, Drift, measure
from agent.core.events import (
    Balance,
    Fact,
    Fees,
    Leverage,
    Listed,
    Mark,
    Mode,
    Position,
    Positions,
    Quote,
    Side,
    Tiers,
)
from agent.core.instruments import Instrument, Tier
from agent.core.orders import Blotter, Order, S, Style
from agent.core.planner import Guide, Leg, Limits, destination, plain, plan
from agent.core.risk import Situation, judge
from agent.core.targets import Targets

NOW = 1_767_225_600 * S
ROUNDS = 6
"""A plan is carried out and made anew so many times."""
COINS = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "UNI", "APE")
SLACK = 1e-9


class Case(Struct):
    """One portfolio: what is known, what is wanted, what is allowed, and what guides the plan."""

    book: Book
    targets: Targets
    bands: Bands
    limits: Limits
    optimal: bool
    to_target: bool
    groups: tuple[tuple[int, ...], ...]


class Danger(Struct, frozen=True):
    """What a portfolio takes of its limits: each at most 1 where it is obeyed."""

    leverage: float
    initial: float
    maintenance: float
    liquidation: float

    def worse(self, than: Danger) -> list[str]:
        """The limits that are broken, and more so than they were."""
        return [name for name in self.__struct_fields__ if getattr(self, name) > max(1.0, getattr(than, name)) + SLACK]


def tiers_of(dice: random.Random) -> tuple[Tier, ...]:
    """A margin table of one to four brackets whose deductions make it continuous."""
    floor, rate, deduction, found = 0.0, dice.choice((0.004, 0.005, 0.01)), 0.0, []
    leverage = dice.choice((125, 100, 75, 50))
    for _ in range(dice.randint(1, 4)):
        cap = max(floor * 5, dice.choice((5e3, 5e4, 2.5e5)))
        found.append(Tier(floor=floor, cap=cap, rate=rate, deduction=deduction, leverage=leverage))
        higher = rate * dice.choice((1.25, 2.0, 2.5))
        deduction, rate, floor = deduction + cap * (higher - rate), higher, cap
        leverage = max(1, leverage // 2)
    found[-1] = Tier(
        floor=found[-1].floor, cap=1e15, rate=found[-1].rate, deduction=found[-1].deduction, leverage=found[-1].leverage
    )
    return tuple(found)


def case_of(seed: int) -> Case:
    """The portfolio of a seed."""
    dice = random.Random(seed)
    count = dice.randint(1, 8)
    equity = 10 ** dice.uniform(2.5, 6.5)
    symbols = [f"{coin}USDT" for coin in dice.sample(COINS, count)]
    shares = [dice.expovariate(1.0) + 0.02 for _ in symbols]
    signs = [dice.choice((1, 1, 1, -1)) for _ in symbols]
    weights = {s: sign * share / sum(shares) for s, sign, share in zip(symbols, signs, shares, strict=True)}
    leverage = dice.choice((0.5, 1.0, 2.0, 3.0, 5.0, 8.0))
    limit = leverage * dice.choice((0.8, 1.0, 1.05, 1.5))
    hedge = dice.random() < 0.15
    book = Book(symbols)
    listed: list[Instrument] = []
    facts: list[Fact] = []
    for index, symbol in enumerate(symbols):
        price = 10 ** dice.uniform(-1, 5)
        step = Decimal(10) ** dice.randint(-3, 0)
        listed.append(
            Instrument(
                index=index, venue="test", symbol=symbol, base=symbol[:-4], quote="USDT", settle="USDT",
                tick=Decimal("0.00001"), step=step, min_lots=dice.choice((1, 1, 5)), max_lots=10**9,
                max_market_lots=10**9, min_notional=dice.choice((5.0, 20.0, 100.0)),
            )
        )  # fmt: skip
        facts += [
            Mark(instrument=index, price=price, index=price, at=NOW),
            Quote(index, price * 0.9999, 1e9, price * 1.0001, 1e9, NOW),
            Tiers(instrument=index, tiers=tiers_of(dice)),
            Leverage(instrument=index, leverage=dice.choice((5, 10, 20, 20, 50))),
            Fees(instrument=index, maker=0.0002, taker=0.0005),
        ]
    book.apply(Listed(instruments=tuple(listed)), NOW)
    book.apply(Mode(hedge=hedge, multi_asset=False, can_trade=True), NOW)
    book.apply(Balance(asset="USDT", wallet=equity, at=NOW), NOW)
    for fact in facts:
        book.apply(fact, NOW)
    rows = []
    for index, (symbol, instrument) in enumerate(zip(symbols, listed, strict=True)):
        mark = book.rows[index].mark
        assert mark is not None
        wanted = weights[symbol] * leverage * equity
        held = wanted * dice.choice((0.0, 0.3, 0.8, 1.0, 1.1, 1.5, 3.0, -0.5)) if dice.random() < 0.9 else 0.0
        lots = round(instrument.lots_for(held, mark.price))
        side = Side.NET if not hedge else Side.LONG if lots >= 0 else Side.SHORT
        rows.append(Position(instrument=index, side=side, lots=lots, entry=mark.price if lots else None, at=NOW))
    book.apply(Positions(rows=tuple(rows), strangers=(), asked_at=NOW), NOW)
    groups: tuple[tuple[int, ...], ...] = ()
    if count >= 2 and dice.random() < 0.2:
        groups = ((0, 1),)
    return Case(
        book=book,
        targets=Targets(weights=dict(weights), leverage=leverage),
        bands=Bands(tolerance=dice.choice((0.02, 0.07, 0.2))),
        limits=Limits(
            leverage=limit,
            asset_share=dice.choice((1.0, 1.0, 0.6)),
            maintenance=dice.choice((0.05, 0.2, 0.5)),
            liquidation_distance=dice.choice((0.05, 0.11, 0.25)),
            order_notional=dice.choice((None, None, equity * leverage / 5)),
            turnover_per_day=1000.0,
            orders_per_minute=6000,
        ),
        optimal=dice.random() < 0.7,
        to_target=dice.random() < 0.3,
        groups=groups,
    )


def danger_of(book: Book, limits: Limits) -> Danger:
    """What the portfolio takes of its limits, reckoned here from tables and prices alone."""
    equity, gross, initial, kept, lost = book.equity or 0.0, 0.0, 0.0, 0.0, 0.0
    move = limits.liquidation_distance
    for row in book.rows:
        assert row.instrument is not None
        assert row.mark is not None
        net = abs(sum(holding.lots for holding in row.holdings.values())) * row.instrument.unit * row.mark.price
        gross += net
        for holding in row.holdings.values():
            value = abs(holding.lots) * row.instrument.unit * row.mark.price
            initial += value / (row.leverage or 1)
            kept += maintenance_of(row.tiers, value)
        worst = -inf
        for way in (1, -1):
            after = 0.0
            for holding in row.holdings.values():
                value = abs(holding.lots) * row.instrument.unit * row.mark.price
                sign = 1 if holding.lots > 0 else -1
                after += -sign * way * move * value + maintenance_of(row.tiers, value * (1 + way * move))
            worst = max(worst, after)
        lost += worst
    return Danger(
        leverage=gross / equity / limits.leverage,
        initial=initial / equity,
        maintenance=kept / equity / limits.maintenance,
        liquidation=lost / equity,
    )


def maintenance_of(tiers: tuple[Tier, ...], value: float) -> float:
    """Maintenance margin by the bracket that the value falls into."""
    for tier in tiers:
        if value < tier.cap:
            return tier.rate * value - tier.deduction if value else 0.0
    return inf


def guide_of(case: Case, drift: Drift) -> Guide:
    """What decides how far to trade: the cost-aware band at prior covariance, or plain bands."""
    if not case.optimal:
        return plain(drift, to_target=case.to_target)
    bases = [row.instrument.base for row in case.book.rows if row.instrument is not None]
    penalty = penalty_of(prior_of(bases), 0.7)
    goals = [w if goal is None else goal for w, goal in zip(drift.weights, drift.targets, strict=True)]
    band = band_of(penalty, noises(penalty, goals), [0.0006] * len(goals), 3.0)
    return Guide(penalty=penalty, prices=[0.86 * width for width in band.widths], least=[0.0] * len(goals))


def broken(seed: int) -> list[str]:
    """Every limit that was broken while the plan of a seed's portfolio was carried out, with where that was."""
    case, dice = case_of(seed), random.Random(seed + 1)
    found: list[str] = []
    clock = NOW
    for round_ in range(ROUNDS):
        drift = measure(case.book, case.targets, case.bands)
        assert drift is not None
        part = 0.0 if case.to_target else case.bands.landing
        guide = guide_of(case, drift)
        to = destination(case.book, drift, case.limits, guide=guide, part=part, groups=case.groups)
        todo = plan(case.book, drift, case.limits, Costs(), to, maker=False)
        sent = passed(case, drift, todo.legs, clock)
        if not sent:
            break
        before = danger_of(case.book, case.limits)
        dice.shuffle(sent)
        for leg in sent:
            clock += S
            fill(case.book, leg, dice.choice((0.0, 0.3, 1.0, 1.0, 1.0)), clock)
            after = danger_of(case.book, case.limits)
            found += [f"seed {seed}, round {round_}: {name} {getattr(after, name):.4f}" for name in after.worse(before)]
    return found


def passed(case: Case, drift: Drift, legs: tuple[Leg, ...], now: int) -> list[Leg]:
    """The legs of a plan that may be sent together: reductions, or increases where there is none; each through the
    gates, with those before it on their way."""
    blotter, sent = Blotter(), []
    reducing = any(leg.reduce for leg in legs)
    for number, leg in enumerate(legs):
        if reducing and not leg.reduce:
            continue
        situation = Situation(
            book=case.book, drift=drift, blotter=blotter, limits=case.limits, now=NOW, halted=None,
            increased_today=0.0, sent_last_minute=0,
        )  # fmt: skip
        if judge(leg, situation) is None:
            sent.append(leg)
            order = Order(
                id=f"o{number}", instrument=leg.instrument, symbol="", side=leg.side, lots=leg.lots, ticks=1,
                style=Style.IOC, reduce=leg.reduce, created_at=now, expires_at=now + S, value=leg.notional,
            )  # fmt: skip
            blotter.add(order, now)
    return sent


def fill(book: Book, leg: Leg, part: float, now: int) -> None:
    """The order of a leg has traded this part of itself, at mark."""
    row = book.rows[leg.instrument]
    held = row.holdings[leg.side].lots if leg.side in row.holdings else 0
    lots = held + round(part * leg.lots)
    assert row.mark is not None
    entry = row.mark.price if lots else None
    book.apply(Position(instrument=leg.instrument, side=leg.side, lots=lots, entry=entry, at=now), now)
    row.owed, row.unheard = 0, False
    book.disputed.clear()
