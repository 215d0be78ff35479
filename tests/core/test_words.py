"""Words: every sentence that a person reads, to the letter."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core import words
from agent.core.carry import CarryRules
from agent.core.carry import Turn as Bleeding
from agent.core.costs import Cost
from agent.core.drift import Drift
from agent.core.economy import Verdict
from agent.core.events import Side
from agent.core.health import Condition, Health, State
from agent.core.planner import Leg, Plan, Skip
from agent.core.sleeves import Turn as Ailing
from agent.core.targets import Strategy, Targets
from tests.core.kit import MISSION, book_of, order

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def leg(index: int = 0, lots: int = -380, notional: float = 22_800.0, cost: float | None = 13.4) -> Leg:
    known = None if cost is None else Cost(fee=cost - 2.0, spread=1.5, impact=0.5, filled=1.0)
    return Leg(instrument=index, side=Side.NET, lots=lots, reduce=lots < 0, notional=notional, cost=known)


# Orders and plans


def test_a_size_is_said_in_the_exact_digits_of_the_venue() -> None:
    row = book_of(MISSION).rows[0]
    assert words.size(row, -380, buying=False) == "sell 0.380 BTC"
    assert words.size(row, 75, buying=True) == "buy 0.075 BTC"
    assert words.size(row, -75, buying=True) == "buy 0.075 BTC"


def test_a_size_in_contracts_is_said_in_what_they_hold() -> None:
    row = book_of(MISSION).rows[0]
    assert row.instrument is not None
    row.instrument = replace(row.instrument, step=Decimal(10), multiplier=Decimal("0.0001"))
    assert words.size(row, -401, buying=False) == "sell 0.4010 BTC"
    row.instrument = replace(row.instrument, inverse=True, step=Decimal(1), multiplier=Decimal(100))
    assert words.size(row, -401, buying=False) == "sell 401 contracts of BTCUSDT"


def test_without_a_grid_a_size_is_said_in_lots() -> None:
    row = book_of(MISSION).rows[0]
    row.instrument = None
    assert words.size(row, -380, buying=False) == "sell 380 lots of BTCUSDT"


def test_an_order_says_what_it_does_at_which_worst_price_and_at_what_cost() -> None:
    row = book_of(MISSION).rows[0]
    one = order("t-1-7", lots=-380, ticks=597_000, reduce=True)
    assert words.order(row, one, leg()) == (
        "reduce: sell 0.380 BTC (22,800 USDT), limit 59700.0, cost about 13.40 USDT, order t-1-7"
    )


def test_an_order_says_nothing_of_a_price_or_a_cost_that_there_is_not() -> None:
    row = book_of(MISSION).rows[0]
    one = order("t-1-8", lots=50, ticks=None)
    assert words.order(row, one, leg(lots=50, notional=3_000.0, cost=None)) == (
        "add: buy 0.050 BTC (3,000 USDT), order t-1-8"
    )


def test_a_leg_is_said_with_its_value() -> None:
    assert words.leg(book_of(MISSION), leg(lots=50, notional=3_000.4)) == "buy 0.050 BTC (3,000)"


def test_a_plan_says_all_legs_and_what_they_cost_together() -> None:
    todo = Plan(legs=(leg(), leg(1, 1_000, 3_000.0, 2.1), leg(2, 10, 1_500.0, None)), skips=(), goals=())
    said = "sell 0.380 BTC (22,800), buy 1.000 ETH (3,000), buy 10 SOL (1,500); cost about 15.50"
    assert words.plan(book_of(MISSION), todo, None) == said
    verdict = Verdict(benefit=31.25, cost=15.5, days=12.34)
    assert words.plan(book_of(MISSION), todo, verdict) == f"{said}, benefit 31.25 in 12 days"


# Why, and why not


def test_the_worst_is_the_one_furthest_beyond_its_own_band() -> None:
    drift = Drift(1e4, 3.0, 3.0, 3.0, [], [], [], drifts=[0.15, -0.10, -0.05], bands=[0.07, 0.02, 0.07])
    assert words.worst(SYMBOLS, drift) == "ETHUSDT drifted -10.0%, its band is ±2.0%"
    drift = Drift(1e4, 3.0, 3.0, 3.0, [], [], [], drifts=[0.15, -0.10, -0.05], bands=[0.07, 0.07, 0.07])
    assert words.worst(SYMBOLS, drift) == "BTCUSDT drifted +15.0%, its band is ±7.0%"


def test_the_riskiest_is_the_one_that_has_left_its_cost_aware_band_the_furthest() -> None:
    assert words.riskiest(SYMBOLS, [0.4, 0.9, 1.284]) == (
        "SOLUSDT has left its cost-aware band, its risk is 128% of it"
    )


def test_what_is_declined_says_what_it_would_have_earned_and_cost() -> None:
    assert words.declined(Verdict(benefit=1.234, cost=3.0, days=7.04)) == (
        "not worth it, a correction would earn 1.23 in 7 days and cost 3.00"
    )


def test_nothing_to_trade_says_what_stands_against_each_trade() -> None:
    skips = (Skip(instrument=0, reason="too small"), Skip(instrument=2, reason="the limits allow no more"))
    assert words.nothing(Plan(legs=(), skips=skips, goals=()), SYMBOLS) == (
        "BTCUSDT: too small; SOLUSDT: the limits allow no more"
    )
    assert words.nothing(Plan(legs=(), skips=(), goals=()), SYMBOLS) == "nothing is to be traded that is worth an order"


# Targets


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (
            Targets(weights={"BTCUSDT": 0.7, "ETHUSDT": -0.3, "SOLUSDT": "hold"}, leverage=2.5),
            "BTCUSDT +70.0%, ETHUSDT -30.0%, SOLUSDT hold; leverage 2.5x",
        ),
        (Targets(weights={"BTCUSDT": 1.0}, leverage=3.0), "BTCUSDT +100.0%; leverage 3x"),
        (
            Targets(weights={"BTCUSDT": 0.6, "ETHUSDT": 0.4}, basis="margin", utilisation=0.305),
            "BTCUSDT +60.0%, ETHUSDT +40.0% of margin; 30.5% of equity is used",
        ),
        (
            Targets(weights={"BTCUSDT": 1.0}, basis="margin"),
            "BTCUSDT +100.0% of margin; 0.0% of equity is used",
        ),
        (
            Targets(
                weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5},
                leverage=2.0,
                strategies={
                    "trend": Strategy(capital=0.6),
                    "carry": Strategy(capital=0.25, leverage=1.5, weights={"SOLUSDT": 0.5, "ETHUSDT": -0.5}),
                },
            ),
            "BTCUSDT +50.0%, ETHUSDT +50.0%, trend 60.0% of capital at 2x, "
            "carry 25.0% of capital at 1.5x (SOLUSDT +50.0%, ETHUSDT -50.0%)",
        ),
    ],
)
def test_targets_are_said_in_a_line(targets: Targets, said: str) -> None:
    assert words.targets(targets) == said


# Funding


def test_funding_that_begins_to_bleed_says_what_it_eats_and_what_is_left_of_the_target() -> None:
    turn = Bleeding(unit=(0,), begun=True, phi=0.1)
    assert words.bleeding("BTCUSDT", turn, CarryRules()) == (
        "funding of BTCUSDT bleeds: 10.0% of its margin within 7 days; its target is trimmed to 90.9% of itself"
    )


def test_what_is_left_of_a_target_is_never_less_than_the_cap_allows() -> None:
    turn = Bleeding(unit=(0, 1), begun=True, phi=0.6)
    assert words.bleeding("BTCUSDT and ETHUSDT", turn, CarryRules(horizon_days=2.5)) == (
        "funding of BTCUSDT and ETHUSDT bleeds: 60.0% of its margin within 2.5 days; "
        "its target is trimmed to 80.0% of itself"
    )


@pytest.mark.parametrize("phi", [0.01, None])
def test_funding_that_no_longer_bleeds_gives_the_target_back(phi: float | None) -> None:
    turn = Bleeding(unit=(0,), begun=False, phi=phi)
    assert (
        words.bleeding("BTCUSDT", turn, CarryRules())
        == "funding of BTCUSDT no longer bleeds; its target is whole again"
    )


# Strategies


def ailing(before: Condition, after: Condition, *, sharpe: float | None = 0.21, drawdown: float = 0.034) -> Ailing:
    return Ailing(name="trend", health=Health(), before=before, after=after, sharpe=sharpe, drawdown=drawdown)


ACTIVE, REDUCED = Condition(bad_days=29), Condition(state=State.REDUCED, multiplier=0.5)
PAUSED = Condition(state=State.PAUSED, multiplier=0.0)


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (
            ailing(ACTIVE, REDUCED),
            "strategy trend is reduced, 50% of its capital: 30 bad days in a row, Sharpe ratio 0.21 in 30 days, "
            "drawdown 3.4%",
        ),
        (
            ailing(Condition(bad_days=3), REDUCED, sharpe=None, drawdown=0.15),
            "strategy trend is reduced, 50% of its capital: drawdown, drawdown 15.0%",
        ),
        (
            ailing(Condition(state=State.REDUCED, multiplier=0.5, bad_days=29), PAUSED, drawdown=0.18),
            "strategy trend is paused, 0% of its capital: 30 bad days in a row, Sharpe ratio 0.21 in 30 days, "
            "drawdown 18.0%",
        ),
        (
            ailing(Condition(state=State.REDUCED, multiplier=0.5, bad_days=4), PAUSED, drawdown=0.251),
            "strategy trend is paused, 0% of its capital: drawdown, Sharpe ratio 0.21 in 30 days, drawdown 25.1%",
        ),
        (
            ailing(
                Condition(state=State.PAUSED, multiplier=0.0, good_days=9),
                Condition(state=State.RECOVERING, multiplier=0.25),
                sharpe=1.4,
                drawdown=0.2,
            ),
            "strategy trend is recovering, 25% of its capital: 10 good days in a row, Sharpe ratio 1.40 in 30 days, "
            "drawdown 20.0%",
        ),
        (
            ailing(
                Condition(state=State.RECOVERING, multiplier=0.25, days=4),
                Condition(state=State.RECOVERING, multiplier=0.5, days=5),
            ),
            "strategy trend is recovering, 50% of its capital: 5 days into its recovery, Sharpe ratio 0.21 in 30 days, "
            "drawdown 3.4%",
        ),
        (
            ailing(Condition(state=State.RECOVERING, multiplier=0.75, days=14), Condition(), drawdown=0.0),
            "strategy trend is active, 100% of its capital: 15 days into its recovery, Sharpe ratio 0.21 in 30 days, "
            "drawdown 0.0%",
        ),
        (
            ailing(Condition(state=State.RECOVERING, multiplier=0.5, bad_days=9, days=8), PAUSED),
            "strategy trend is paused, 0% of its capital: 10 bad days in a row, Sharpe ratio 0.21 in 30 days, "
            "drawdown 3.4%",
        ),
    ],
)
def test_a_strategy_that_gets_less_or_more_capital_says_why(turn: Ailing, said: str) -> None:
    assert words.health(turn) == said


@pytest.mark.parametrize(
    ("crossed", "end"), [(0.0, ""), (12_345.6, "; positions worth 12,346 changed hands inside the account")]
)
def test_capital_that_changes_hands_is_said_strategy_by_strategy(crossed: float, end: str) -> None:
    said: Any = words.shared_out("the start", ["trend", "carry"], [1_234.5, -1_234.5], crossed)
    assert said == f"the start: capital is shared out, trend +1,234.50, carry -1,234.50{end}"
