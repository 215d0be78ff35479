from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.instruments import Instrument
from agent.core.ledger import (
    DAY_NS,
    KEEP_DAYS,
    Ledger,
    Sleeve,
    Unexplained,
    Worth,
    apportioned,
    attribution,
    opened,
    rounded,
    shared,
    worth,
)
from tests.core.kit import START, instrument, vectors

LINEAR = [instrument(0, "BTCUSDT"), instrument(1, "SOLUSDT")]
INVERSE = [
    instrument(i, symbol, inverse=True, step=Decimal(1), multiplier=Decimal(face), settle="BTC")
    for i, symbol, face in ((0, "BTCUSD", 100), (1, "BTCUSD_Q", 10))
]
COIN = Worth(1.0)
"""A contract on one unit of a coin that costs 1: lots are amounts."""


def sheet(*strategies: str, symbols: int = 1) -> Ledger:
    return opened(strategies, [f"S{i}" for i in range(symbols)])


def funded(*capital: float, symbols: int = 1) -> Ledger:
    """A ledger of one strategy per number, which it has in cash; the worths of a lot are not needed for that."""
    ledger = sheet(*(f"s{i}" for i in range(len(capital))), symbols=symbols)
    ledger.flow(sum(capital))
    ledger.restore([part / sum(capital) for part in capital], [COIN] * symbols)
    return ledger


def owned(ledger: Ledger, index: int = 0) -> list[int]:
    return [owner.lots[index] for owner in ledger.owners]


def equities(ledger: Ledger, *worths: float) -> list[float]:
    return [owner.equity([Worth(each) for each in worths]) for owner in ledger.owners]


def sleeve(ledger: Ledger, number: int = 0) -> Sleeve:
    return list(ledger.strategies.values())[number]


# Worth


def test_changes_of_worth_are_the_profit_of_a_lot() -> None:
    for one, entry, price in ((LINEAR[0], 60_000.0, 61_500.0), (INVERSE[0], 50_000.0, 40_000.0)):
        profit = worth(one, price) - worth(one, entry)
        assert profit == pytest.approx(one.profit(1, entry, price), rel=1e-9)
    assert worth(LINEAR[0], 60_000.0) == pytest.approx(60.0)
    assert worth(INVERSE[0], 50_000.0) == pytest.approx(-0.002)


# Fills


def test_a_fill_of_the_whole_correction_brings_everybody_to_their_aims() -> None:
    ledger = funded(600.0, 400.0)
    assert ledger.fill(0, 40, COIN, 0.0, [100, -60]) == [100, -60, 0]
    assert owned(ledger) == [100, -60, 0]


def test_a_part_of_the_correction_brings_everybody_the_same_part_of_the_way() -> None:
    ledger = funded(600.0, 400.0)
    assert ledger.fill(0, 10, COIN, 0.0, [100, -60]) == [25, -15, 0]
    assert ledger.fill(0, 15, COIN, 0.0, [100, -60]) == [38, -23, 0]
    assert ledger.fill(0, 15, COIN, 0.0, [100, -60]) == [37, -22, 0]


def test_strategies_are_crossed_at_the_price_of_the_fill_and_fees_go_by_the_lots_moved() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 40, Worth(2.0), 1.6, [100, -60])
    assert [owner.cash for owner in ledger.owners] == pytest.approx([600 - 200 - 1.0, 400 + 120 - 0.6, 0.0])
    assert [owner.fees for owner in ledger.owners] == pytest.approx([1.0, 0.6, 0.0])
    # The price rises by a half: each earns on its own lots.
    assert equities(ledger, 3.0) == pytest.approx([600 + 100 - 1.0, 400 - 60 - 0.6, 0.0])


def test_a_sale_is_shared_as_a_purchase_is() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 90, COIN, 0.0, [60, 30])
    assert ledger.fill(0, -45, COIN, 0.0, [30, 15]) == [-30, -15, 0]


def test_lots_that_do_not_divide_go_to_the_largest_remainder() -> None:
    ledger = funded(1.0, 1.0, 1.0)
    assert ledger.fill(0, 5, COIN, 0.0, [10, 20, 20]) == [1, 2, 2, 0]
    assert ledger.fill(0, 1, COIN, 0.0, [10, 20, 20]) == [0, 1, 0, 0]


def test_what_goes_beyond_the_aims_is_divided_by_their_size() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 20, COIN, 0.0, [20, 0])
    # Ten of the 25 are wanted, by the second; of the other 15 each gets its part, and each pays for what it got.
    assert ledger.fill(0, 25, COIN, 2.5, [20, 10]) == [10, 15, 0]
    assert [owner.fees for owner in ledger.owners] == pytest.approx([1.0, 1.5, 0.0])
    # Both have more than they want now, and the fill goes further away.
    assert ledger.fill(0, 3, COIN, 0.0, [20, 10]) == [2, 1, 0]


def test_size_is_what_counts_beyond_the_aims_whatever_the_side() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 10, COIN, 0.0, [20, -10])
    assert ledger.fill(0, 6, COIN, 0.0, [20, -10]) == [4, 2, 0]


def test_what_nobody_wants_is_unassigned_with_its_fee() -> None:
    ledger = funded(600.0, 400.0)
    assert ledger.fill(0, 7, Worth(2.0), 0.5, [0, 0]) == [0, 0, 7]
    assert [owner.cash for owner in ledger.owners] == pytest.approx([600, 400, -14.5])


def test_what_is_unassigned_is_corrected_away() -> None:
    ledger = funded(600.0, 400.0)
    ledger.adopt([10], 1000.0, [COIN])
    assert ledger.fill(0, -5, COIN, 0.0, [0, 5]) == [0, 5, -10]


def test_aims_are_rounded_so_that_they_add_up() -> None:
    ledger = funded(1.0, 1.0, 1.0)
    ledger.fill(0, 10, COIN, 0.0, [10 / 3, 10 / 3, 10 / 3])
    assert owned(ledger) == [4, 3, 3, 0]


@pytest.mark.parametrize("case", vectors("sleeves", "crossing"))
def test_wishes_are_crossed_and_costs_allocated_as_in_the_vectors(case: Any) -> None:
    trades, fee, expected = case["input"]["sleeve_trades"], case["input"]["fee"], case["expected"]
    wishes = list(zip(*trades, strict=True))
    ledger = sheet("a", "b", symbols=len(wishes))
    for i, (aims, net) in enumerate(zip(wishes, expected["net_trade"], strict=True)):
        moves = ledger.fill(i, round(net), COIN, abs(net) * fee, aims)
        assert (sum(abs(move) for move in moves) - abs(net)) / 2 == pytest.approx(expected["crossed"][i])
        paid = [one.fees - sum(expected["cost_allocated"][s][:i]) for s, one in enumerate(ledger.strategies.values())]
        assert paid == pytest.approx([costs[i] for costs in expected["cost_allocated"]])


# Crossing


def test_opposite_wishes_are_met_without_a_trade_and_without_a_fee() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 100, COIN, 0.0, [80, 20])
    assert ledger.cross(0, [50, 50], Worth(2.0)) == pytest.approx(60.0)
    assert owned(ledger) == [50, 50, 0]
    assert [owner.cash for owner in ledger.owners] == pytest.approx([600 - 80 + 60, 400 - 20 - 60, 0])
    assert sum(owner.fees for owner in ledger.owners) == 0.0


def test_the_larger_side_of_the_wishes_is_met_in_proportion() -> None:
    ledger = funded(1.0, 1.0, 1.0)
    ledger.fill(0, 30, COIN, 0.0, [10, 20, 0])
    assert ledger.cross(0, [4, 8, 9], COIN) == pytest.approx(9.0)
    assert owned(ledger) == [7, 14, 9, 0]
    assert ledger.cross(0, [4, 8, 9], COIN) == 0.0


def test_lots_that_came_from_outside_are_handed_to_who_wants_them() -> None:
    ledger = funded(600.0, 400.0)
    ledger.adopt([-10], 1000.0, [COIN])
    ledger.cross(0, [-3, -5], COIN)
    assert owned(ledger) == [-3, -5, -2]


def test_the_value_that_is_crossed_in_an_inverse_contract_is_in_coins() -> None:
    ledger = opened(["a", "b"], ["BTCUSD"])
    mark = worth(INVERSE[0], 50_000.0)
    ledger.adopt([10], 0.0, [mark])
    assert ledger.cross(0, [10, 0], mark) == pytest.approx(10 * 100 / 50_000)


def test_an_account_that_is_met_for_the_first_time_is_adopted_restored_and_crossed() -> None:
    ledger = sheet("a", "b")
    assert ledger.adopt([30], 1000.0, [Worth(10.0)]) == Unexplained([30], 700.0)
    ledger.restore([0.6, 0.3], [Worth(10.0)])
    assert equities(ledger, 10.0) == pytest.approx([600, 300, 100])
    ledger.cross(0, [40, -10], Worth(10.0))
    assert owned(ledger) == [40, -10, 0]
    assert equities(ledger, 10.0) == pytest.approx([600, 300, 100])


# Funding


def test_each_owner_pays_the_rate_on_its_own_lots() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 40, COIN, 0.0, [100, -60])
    ledger.funding(-0.8, {0: 0.01}, [Worth(2.0)])
    assert [owner.funding for owner in ledger.owners] == pytest.approx([-2.0, 1.2, 0.0])


def test_opposed_strategies_pay_each_other_though_the_account_is_flat() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 10, COIN, 0.0, [10, 0])
    ledger.fill(0, -10, COIN, 0.0, [10, -10])
    assert ledger.lots(0) == 0
    ledger.funding(0.0, {0: 0.001}, [COIN])
    assert [owner.funding for owner in ledger.owners] == pytest.approx([-0.01, 0.01, 0.0])


def test_what_rates_do_not_explain_is_divided_by_the_size_of_what_was_due() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 40, COIN, 0.0, [60, -20])
    ledger.funding(-0.4 - 0.08, {0: 0.01}, [COIN])
    assert [owner.funding for owner in ledger.owners] == pytest.approx([-0.6 - 0.06, 0.2 - 0.02, 0.0])
    assert sum(owner.funding for owner in ledger.owners) == pytest.approx(-0.48)


@pytest.mark.parametrize("rates", [{}, {0: 0.0}])
def test_funding_without_a_rate_is_unassigned(rates: dict[int, float]) -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 40, COIN, 0.0, [60, -20])
    ledger.funding(-1.0, rates, [COIN])
    assert [owner.funding for owner in ledger.owners] == [0.0, 0.0, -1.0]


def test_funding_of_an_inverse_contract_is_on_its_value_in_coins() -> None:
    ledger = opened(["a", "b"], ["BTCUSD"])
    mark = worth(INVERSE[0], 50_000.0)
    ledger.fill(0, 5, mark, 0.0, [10, -5])
    ledger.funding(-0.0001, {0: 0.01}, [mark])
    assert [own.funding for own in ledger.strategies.values()] == pytest.approx([-0.0002, 0.0001])


# What comes and goes


def test_a_deposit_is_unassigned_until_capital_is_restored() -> None:
    ledger = funded(600.0, 400.0)
    ledger.flow(500.0)
    assert equities(ledger, 1.0) == pytest.approx([600, 400, 500])
    assert ledger.restore([0.6, 0.3], [COIN]) == pytest.approx([300, 50])
    assert equities(ledger, 1.0) == pytest.approx([900, 450, 150])
    assert [owner.earned([COIN]).total for owner in ledger.owners] == pytest.approx([0, 0, 0])


def test_a_trade_of_somebody_else_is_told_and_unassigned() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 40, Worth(2.0), 0.0, [60, -20])
    # Ten more lots, bought at 2.5 for a fee of 0.1, while the mark is 3.
    equity = 1000 + 40 * (3 - 2) + 10 * (3 - 2.5) - 0.1
    told = ledger.adopt([50], equity, [Worth(3.0)])
    assert told.lots == [10]
    assert told.cash == pytest.approx(-25.1)
    assert owned(ledger) == [60, -20, 10]
    assert equities(ledger, 3.0) == pytest.approx([660, 380, 4.9])
    told = ledger.adopt([50], equity, [Worth(3.0)])
    assert told.lots == [0]
    assert told.cash == pytest.approx(0.0)


def test_profit_is_told_by_its_source() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 100, Worth(2.0), 1.0, [100, 0])
    ledger.funding(-2.0, {0: 0.01}, [Worth(2.0)])
    earned = sleeve(ledger).earned([Worth(3.0)])
    assert (earned.price, earned.funding, earned.fees) == pytest.approx((100.0, -2.0, -1.0))
    assert earned.total == pytest.approx(97.0)


@pytest.mark.parametrize("case", vectors("sleeves", "ledger"))
def test_equities_and_shares_are_as_in_the_vectors(case: Any) -> None:
    g, expected = case["input"], case["expected"]
    ledger = funded(*g["equity0"], symbols=2)
    for i, (own, fee) in enumerate(zip(ledger.strategies.values(), g["fees"], strict=True)):
        ledger.fill(i, 100, COIN, fee, [100 * (s == i) for s in range(2)])
        own.funding += g["funding"][i]
        own.cash += g["funding"][i]
    worths = [Worth(1.0 + profit / 100) for profit in g["pnl"]]
    assert equities(ledger, *worths)[:2] == pytest.approx(expected["equity1"], rel=1e-9)
    assert ledger.equity(worths) == pytest.approx(expected["total"], rel=1e-9)
    shares = ledger.shares(worths)
    assert shares == pytest.approx(expected["share"], rel=1e-9)
    asked = [part / sum(g["equity0"]) for part in g["equity0"]]
    drift = [100 * (share - part) for share, part in zip(shares or [], asked, strict=True)]
    assert drift == pytest.approx(expected["drift_pp"], rel=1e-9)


# Shares, weights, attribution


def test_weights_are_notional_over_the_whole_equity() -> None:
    ledger = funded(600.0, 400.0, symbols=2)
    ledger.fill(0, 40, COIN, 0.0, [60, -20])
    ledger.fill(1, 30, Worth(2.0), 0.0, [0, 30])
    weights = ledger.weights([COIN, Worth(2.0)])
    assert weights is not None
    assert weights[0] == pytest.approx([0.06, 0.0])
    assert weights[1] == pytest.approx([-0.02, 0.06])
    assert ledger.shares([COIN, Worth(2.0)]) == pytest.approx([0.6, 0.4])


def test_a_long_inverse_contract_has_a_positive_weight() -> None:
    ledger = opened(["a"], ["BTCUSD"])
    mark = worth(INVERSE[0], 50_000.0)
    ledger.flow(0.1)
    ledger.fill(0, 10, mark, 0.0, [10])
    weights = ledger.weights([mark])
    assert weights is not None
    assert weights[0] == pytest.approx([0.2])


def test_without_equity_there_are_no_shares_and_no_weights() -> None:
    ledger = sheet("a")
    assert ledger.shares([COIN]) is None
    assert ledger.weights([COIN]) is None


def test_drift_is_taken_apart_exactly() -> None:
    # It should be 0.5 of the equity at 2x, half and half; it is 0.6 at 2.5x, 60 : 40.
    parts = attribution([0.9, 0.6], 0.6, 0.5, 2.0, [0.5, 0.5])
    assert parts.capital == pytest.approx([0.1, 0.1])
    assert parts.leverage == pytest.approx([0.15, 0.15])
    assert parts.composition == pytest.approx([0.15, -0.15])
    total = [sum(each) for each in zip(parts.capital, parts.leverage, parts.composition, strict=True)]
    assert total == pytest.approx([0.9 - 0.5, 0.6 - 0.5])


def test_a_strategy_that_has_no_capital_any_more_but_still_lots_is_taken_apart_as_well() -> None:
    parts = attribution([0.3, -0.3], 0.0, 0.0, 1.5, [0.5, -0.5])
    assert parts.capital == pytest.approx([0.0, 0.0])
    assert parts.leverage == pytest.approx([0.3, -0.3])
    assert parts.composition == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize("case", vectors("sleeves", "attribution"))
def test_the_parts_of_drift_are_as_in_the_vectors(case: Any) -> None:
    actual, target, expected = case["input"]["actual"], case["input"]["target"], case["expected"]
    for s, weights in enumerate(expected["actual_matrix"]):
        share, gross = actual["capital_share"][s], actual["capital_share"][s] * actual["leverage"][s]
        assert weights == pytest.approx([gross * a for a in actual["composition"][s]])
        asked = (target["capital_share"][s], target["leverage"][s], target["composition"][s])
        parts = attribution(weights, share, *asked)
        for name in ("capital", "leverage", "composition"):
            assert getattr(parts, name) == pytest.approx(expected[name][s], rel=1e-9, abs=1e-12)
        total = [sum(each) for each in zip(parts.capital, parts.leverage, parts.composition, strict=True)]
        assert total == pytest.approx(expected["drift"][s], rel=1e-9, abs=1e-12)


# Days


def day(number: int, hour: float = 0.0) -> int:
    return START + number * DAY_NS + round(hour * 3_600_000_000_000)


def test_a_days_return_is_its_profit_over_the_capital_at_its_start() -> None:
    ledger = funded(600.0, 400.0)
    ledger.fill(0, 100, COIN, 3.0, [100, 0])
    assert not ledger.pass_day(day(0, 5), [COIN])
    assert not ledger.pass_day(day(0, 23), [Worth(1.5)])
    assert ledger.pass_day(day(1), [Worth(1.6)])
    assert not ledger.pass_day(day(1, 1), [Worth(1.6)])
    assert sleeve(ledger, 0).returns == [pytest.approx((60 - 3) / 600)]
    assert sleeve(ledger, 1).returns == [0.0]
    assert ledger.pass_day(day(2), [Worth(1.0)])
    assert sleeve(ledger, 0).returns[1] == pytest.approx(-60 / 657)


def test_transfers_are_no_return_and_the_stretches_between_them_are_chained() -> None:
    ledger = funded(600.0, 400.0)
    ledger.pass_day(day(0), [COIN])
    ledger.fill(0, 60, Worth(1.0), 0.0, [60, 0])
    # 10 % in the first stretch; then half of the capital is taken away, and the lots are halved with it; 20 % more.
    ledger.restore([0.31132075471698112, 0.6], [Worth(2.0)])
    assert equities(ledger, 2.0)[0] == pytest.approx(330.0)
    ledger.fill(0, -30, Worth(2.0), 0.0, [30, 0])
    ledger.pass_day(day(1), [Worth(4.2)])
    assert sleeve(ledger).returns == [pytest.approx(1.1 * 1.2 - 1)]


def test_a_day_without_capital_has_no_return() -> None:
    ledger = sheet("a", "b")
    ledger.flow(100.0)
    ledger.restore([0.5, 0.0], [COIN])
    ledger.pass_day(day(0), [COIN])
    ledger.pass_day(day(1), [COIN])
    assert (sleeve(ledger, 0).returns, sleeve(ledger, 1).returns) == ([0.0], [None])
    assert sleeve(ledger, 1).index == 1.0


def test_a_day_that_loses_more_than_there_was_loses_all() -> None:
    ledger = funded(100.0)
    ledger.fill(0, 500, COIN, 0.0, [500])
    ledger.pass_day(day(0), [COIN])
    ledger.pass_day(day(1), [Worth(0.5)])
    assert sleeve(ledger).returns == [-1.0]
    assert sleeve(ledger).drawdown == 1.0
    ledger.pass_day(day(2), [Worth(1.0)])
    assert sleeve(ledger).returns == [-1.0, None]


def test_drawdown_is_the_loss_since_the_peak_since_the_last_restart() -> None:
    ledger = funded(100.0)
    ledger.fill(0, 100, COIN, 0.0, [100])
    drawdowns = []
    for number, price in enumerate([1.0, 1.2, 0.9, 1.08]):
        ledger.pass_day(day(number), [Worth(price)])
        drawdowns.append(sleeve(ledger).drawdown)
    assert drawdowns == pytest.approx([0.0, 0.0, 0.25, 0.1])
    sleeve(ledger).restart()
    ledger.pass_day(day(9), [Worth(1.026)])
    assert sleeve(ledger).drawdown == pytest.approx(0.05)


def test_days_that_the_agent_slept_through_are_one_return() -> None:
    ledger = funded(100.0)
    ledger.fill(0, 100, COIN, 0.0, [100])
    ledger.pass_day(day(0), [COIN])
    assert ledger.pass_day(day(4), [Worth(1.1)])
    assert sleeve(ledger).returns == [pytest.approx(0.1)]


def test_the_last_returns_are_kept_and_no_more() -> None:
    ledger = funded(100.0)
    ledger.fill(0, 100, COIN, 0.0, [100])
    for number in range(KEEP_DAYS + 3):
        ledger.pass_day(day(number), [Worth(1.0 + number)])
    returns = sleeve(ledger).returns
    assert len(returns) == KEEP_DAYS
    assert returns[-1] == pytest.approx(1 / (KEEP_DAYS + 2))


# Shadows


def test_a_paused_strategy_has_the_returns_of_its_target_weights() -> None:
    ledger = funded(600.0, 400.0, symbols=2)
    worths = [Worth(10.0), Worth(4.0)]
    ledger.pass_day(day(0), worths)
    sleeve(ledger).follow([1.2, -0.8], worths)
    ledger.restore([0.0, 0.4], worths)
    assert equities(ledger, *worths)[0] == pytest.approx(0.0)
    ledger.pass_day(day(1), [Worth(11.0), Worth(5.0)])
    assert sleeve(ledger).returns == [pytest.approx(1.2 * 0.1 - 0.8 * 0.25)]
    # The next day begins with the target weights again.
    ledger.pass_day(day(2), [Worth(11.55), Worth(5.0)])
    assert sleeve(ledger).returns[1] == pytest.approx(1.2 * 0.05)
    assert sleeve(ledger).drawdown == pytest.approx(1 - 0.92 * 1.06)


def test_a_shadow_pays_funding_as_well() -> None:
    ledger = funded(600.0)
    ledger.pass_day(day(0), [COIN])
    sleeve(ledger).follow([2.0], [COIN])
    ledger.funding(0.0, {0: 0.001}, [Worth(1.5)])
    ledger.pass_day(day(1), [COIN])
    assert sleeve(ledger).returns == [pytest.approx(-2.0 * 1.5 * 0.001)]
    assert sleeve(ledger).funding == 0.0


def test_to_follow_the_same_weights_again_changes_nothing_and_others_begin_a_stretch() -> None:
    ledger = funded(600.0)
    ledger.pass_day(day(0), [COIN])
    own = sleeve(ledger)
    own.follow([2.0], [COIN])
    own.follow([2.0], [Worth(1.1)])
    own.follow([-1.0], [Worth(1.2)])
    ledger.pass_day(day(1), [Worth(1.5)])
    assert own.returns == [pytest.approx(1.4 * 0.75 - 1)]


def test_a_strategy_that_is_woken_has_its_own_returns_again() -> None:
    ledger = funded(500.0, 500.0)
    ledger.pass_day(day(0), [COIN])
    own = sleeve(ledger)
    own.follow([1.0], [COIN])
    ledger.restore([0.0, 0.5], [COIN])
    own.follow(None, [Worth(1.1)])
    ledger.restore([0.5, 0.5], [Worth(1.1)])
    ledger.fill(0, 250, Worth(1.1), 0.0, [250, 0])
    ledger.pass_day(day(1), [Worth(1.5)])
    assert own.returns == [pytest.approx(1.1 * (1 + 250 * 0.4 / 500) - 1)]
    assert own.shadow is None


def test_the_shadow_of_an_inverse_contract_gains_what_its_weight_gains_in_coins() -> None:
    ledger = opened(["a"], ["BTCUSD"])
    own = sleeve(ledger)
    marks = [[worth(INVERSE[0], price)] for price in (50_000.0, 40_000.0)]
    ledger.pass_day(day(0), marks[0])
    own.follow([-2.0], marks[0])
    ledger.pass_day(day(1), marks[1])
    assert own.returns == [pytest.approx(2.0 * (50_000 / 40_000 - 1))]


# Restarts


def busy() -> Ledger:
    ledger = funded(600.0, 400.0, symbols=2)
    ledger.pass_day(day(0), [COIN, COIN])
    ledger.fill(0, 40, COIN, 0.3, [60, -20])
    ledger.fill(1, 10, COIN, 0.1, [0, 10])
    ledger.funding(-0.1, {0: 0.001}, [COIN, COIN])
    ledger.adopt([43, 10], 1000.0, [COIN, COIN])
    ledger.pass_day(day(1), [Worth(1.1), Worth(0.9)])
    sleeve(ledger, 1).follow([0.1, 0.2], [Worth(1.1), Worth(0.9)])
    return ledger


def test_the_whole_ledger_can_be_stored_and_read_again() -> None:
    ledger = busy()
    stored = msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger)
    assert stored == ledger
    assert isinstance(sleeve(stored), Sleeve)


def test_for_the_same_file_it_is_carried_as_it_is() -> None:
    ledger = busy()
    assert ledger.carried(["s0", "s1"], ["S0", "S1"]) == ledger


def test_instruments_and_strategies_may_change_places_and_come_anew() -> None:
    ledger = busy()
    carried = ledger.carried(["new", "s1", "s0"], ["S1", "S2", "S0"])
    assert carried is not None
    assert {name: own.lots for name, own in carried.strategies.items()} == {
        "new": [0, 0, 0],
        "s1": [10, 0, -20],
        "s0": [0, 0, 60],
    }
    assert carried.unassigned.lots == [0, 0, 3]
    assert carried.equity([COIN, COIN, COIN]) == pytest.approx(ledger.equity([COIN, COIN]))
    assert carried.strategies["s0"].returns == ledger.strategies["s0"].returns
    assert carried.strategies["s1"].shadow is None
    assert carried.day == ledger.day


def test_what_a_strategy_owned_that_is_gone_is_unassigned() -> None:
    ledger = busy()
    before = [owner.earned([COIN, COIN]).total for owner in ledger.owners]
    carried = ledger.carried(["s0"], ["S0", "S1"])
    assert carried is not None
    assert owned(carried) == [60, -17]
    assert owned(carried, 1) == [0, 10]
    assert carried.unassigned.earned([COIN, COIN]).total == pytest.approx(before[1] + before[2])
    gone = ledger.strategies["s1"]
    assert (carried.unassigned.fees, carried.unassigned.funding) == (gone.fees, gone.funding)


def test_a_ledger_is_not_carried_to_a_file_without_an_instrument_that_somebody_owns() -> None:
    assert busy().carried(["s0", "s1"], ["S0"]) is None
    ledger = busy()
    ledger.fill(1, -10, COIN, 0.0, [0, 0])
    carried = ledger.carried(["s0", "s1"], ["S0"])
    assert carried is not None
    assert owned(carried) == [60, -20, 3]


# Whole numbers

wishes_ = st.lists(st.integers(-1_000_000, 1_000_000), min_size=1, max_size=6)


@given(st.integers(-10_000, 10_000), wishes_)
def test_apportioned_lots_add_up_and_are_less_than_one_from_their_share(total: int, weights: list[int]) -> None:
    parts = apportioned(total, weights)
    assert sum(parts) == total
    if sum(weights):
        for part, weight in zip(parts, weights, strict=True):
            assert abs(part * sum(weights) - total * weight) < abs(sum(weights))
    else:
        assert parts[-1] == total


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
def test_rounded_aims_add_up_and_are_less_than_one_from_their_aim(aims: list[float]) -> None:
    whole = rounded(aims)
    assert sum(whole) == round(sum(aims))
    assert all(abs(part - aim) < 1 for part, aim in zip(whole, aims, strict=True))


def test_amounts_are_shared_by_size() -> None:
    assert shared(6.0, [1, -2, 0]) == pytest.approx([2.0, 4.0, 0.0])
    assert shared(6.0, [0, 0, 0]) == [0.0, 0.0, 6.0]


def test_the_first_of_equals_gets_the_odd_lot() -> None:
    assert apportioned(1, [1, 1]) == [1, 0]
    assert apportioned(-1, [1, 1]) == [0, -1]
    assert apportioned(1, [-1, -1, 0]) == [1, 0, 0]
    assert rounded([0.5, 0.5]) == [1, 0]


# Everything adds up


class Venue:
    """The account as a venue keeps it: a wallet, and for each position its average entry, realised when it shrinks."""

    def __init__(self, instruments: list[Instrument], prices: list[float]) -> None:
        self.instruments = instruments
        self.prices = prices
        self.wallet = 0.0
        self.lots = [0] * len(instruments)
        self.entries = [0.0] * len(instruments)

    def trade(self, i: int, lots: int, price: float, fee: float) -> None:
        one, held, entry = self.instruments[i], self.lots[i], self.entries[i]
        self.wallet -= fee
        if held * lots < 0:
            closed = -min(abs(held), abs(lots)) * (1 if lots > 0 else -1)
            self.wallet += one.profit(closed, entry, price)
        after = held + lots
        if held * lots >= 0 and after:
            if one.inverse:
                self.entries[i] = after / (held / (entry or price) + lots / price)
            else:
                self.entries[i] = (held * entry + lots * price) / after
        elif held * after < 0:
            self.entries[i] = price
        self.lots[i] = after

    def fund(self, i: int, rate: float) -> float:
        amount = round(-self.instruments[i].value(self.lots[i], self.prices[i]) * rate, 8)
        self.wallet += amount
        return amount

    @property
    def equity(self) -> float:
        held = zip(self.instruments, self.lots, self.entries, self.prices, strict=True)
        return self.wallet + sum(one.profit(lots, entry, price) for one, lots, entry, price in held if lots)

    @property
    def worths(self) -> list[Worth]:
        return [worth(one, price) for one, price in zip(self.instruments, self.prices, strict=True)]


which = st.integers(0, 1)
moves_ = st.floats(-0.2, 0.25)
aims_ = st.tuples(*[st.floats(-3000, 3000)] * 3)
steps_ = st.one_of(
    st.tuples(st.just("fill"), which, st.integers(-2000, 2000), moves_, st.floats(-0.001, 0.001), aims_),
    st.tuples(st.just("stranger"), which, st.integers(-500, 500), moves_),
    st.tuples(st.just("cross"), which, aims_),
    st.tuples(st.just("funding"), which, st.floats(-0.01, 0.01), st.booleans()),
    st.tuples(st.just("flow"), st.floats(-0.2, 0.5)),
    st.tuples(st.just("restore"), st.tuples(*[st.floats(0, 1 / 3)] * 3)),
    st.tuples(st.just("price"), which, moves_),
    st.tuples(st.just("day"), st.integers(0, 2 * DAY_NS)),
    st.tuples(st.just("follow"), st.integers(0, 2), st.one_of(st.none(), st.tuples(*[st.floats(-3, 3)] * 2))),
)


def happen(step: Any, venue: Venue, ledger: Ledger, clock: list[int]) -> None:
    """One step, told to the venue and to the ledger each in its own words."""
    match step:
        case ("fill", i, lots, move, rate, aims):
            price = venue.prices[i] * (1 + move / 10)
            fee = abs(venue.instruments[i].value(lots, price)) * rate
            venue.trade(i, lots, price, fee)
            moves = ledger.fill(i, lots, worth(venue.instruments[i], price), fee, aims)
            assert sum(moves) == lots
        case ("stranger", i, lots, move):
            venue.trade(i, lots, venue.prices[i] * (1 + move / 10), 0.0)
            told = ledger.adopt(venue.lots, venue.equity, venue.worths)
            assert told.lots == [lots * (j == i) for j in range(2)]
        case ("cross", i, aims):
            ledger.cross(i, aims, venue.worths[i])
            assert ledger.cross(i, aims, venue.worths[i]) == 0.0
        case ("funding", i, rate, known):
            ledger.funding(venue.fund(i, rate), {i: rate if known else rate / 2}, venue.worths)
        case ("flow", part):
            amount = part * max(venue.equity, 1.0)
            venue.wallet += amount
            ledger.flow(amount)
        case ("restore", capital):
            before = [owner.earned(venue.worths).total for owner in ledger.owners]
            ledger.restore(capital, venue.worths)
            scale = 1 + max(abs(owner.cash) for owner in ledger.owners)
            after = [owner.earned(venue.worths).total for owner in ledger.owners]
            assert after == pytest.approx(before, abs=1e-9 * scale)
            expected = [share * venue.equity for share in capital]
            assert equities(ledger, *venue.worths)[:3] == pytest.approx(expected, abs=1e-9 * scale)
        case ("price", i, move):
            venue.prices[i] *= 1 + move
        case ("day", wait):
            clock[0] += wait
            ledger.pass_day(clock[0], venue.worths)
        case ("follow", s, weights):
            sleeve(ledger, s).follow(weights, venue.worths)


@pytest.mark.parametrize("inverse", [False, True])
@given(story=st.lists(steps_, max_size=40))
def test_whatever_happens_ledgers_add_up_to_the_account(inverse: bool, story: list[Any]) -> None:
    instruments, prices = (INVERSE, [60_000.0, 59_000.0]) if inverse else (LINEAR, [60_000.0, 150.0])
    venue, ledger, clock = Venue(instruments, prices), sheet("a", "b", "c", symbols=2), [START]
    happen(("flow", 1.0 if inverse else 100_000.0), venue, ledger, clock)
    happen(("restore", (0.4, 0.3, 0.2)), venue, ledger, clock)
    happen(("day", 0), venue, ledger, clock)
    for step in story:
        happen(step, venue, ledger, clock)
        ledger = msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger)
        worths = venue.worths
        gross = sum(abs(owner.lots[i] * worths[i]) for owner in ledger.owners for i in range(2))
        near = 1e-9 * (1 + abs(venue.wallet) + gross + sum(abs(owner.cash) for owner in ledger.owners))
        assert [ledger.lots(i) for i in range(2)] == venue.lots
        assert ledger.equity(worths) == pytest.approx(venue.equity, abs=near)
        told = ledger.adopt(venue.lots, venue.equity, worths)
        assert told.lots == [0, 0]
        assert told.cash == pytest.approx(0.0, abs=near)


@given(st.lists(st.tuples(st.integers(-300, 300), aims_), max_size=20), aims_)
def test_fills_that_add_up_to_the_correction_end_at_the_aims(before: list[Any], aims: tuple[float, ...]) -> None:
    ledger = sheet("a", "b", "c")
    for lots, others in before:
        ledger.fill(0, lots, COIN, 0.0, others)
    while due := round(sum(aims)) - ledger.lots(0):
        part = max(1, abs(due) // 3) * (1 if due > 0 else -1)
        ledger.fill(0, part, COIN, 0.0, aims)
    ledger.cross(0, aims, COIN)
    assert owned(ledger) == [*rounded(aims), 0]
