"""From drift to legs: the problem that is set, and the orders that lead toward its answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.costs import Costs
from agent.core.drift import Bands, Drift, measure
from agent.core.events import Position, Quote, Side
from agent.core.margin import EXIT, distances, exposures
from agent.core.planner import (
    DEAR,
    WORTH,
    Destination,
    Guide,
    Leg,
    Limits,
    Plan,
    grid_of,
    increases,
    next_row,
    plain,
    programme,
    relieved,
    sliced,
    smallest_lots,
    steady,
    stirred,
    too_small,
)
from agent.core.programme import Programme
from agent.core.targets import Targets
from tests.core.kit import MISSION, PRICES, START, THIRDS, book_of, instrument, plan_for

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
PAIR = {"BTCUSDT": 0.5, "ETHUSDT": -0.5}


def measured(book: Book, targets: Targets = SHARES, bands: Bands | None = None, **how: Any) -> Drift:
    drift = measure(book, targets, bands or Bands(), **how)
    assert drift is not None
    return drift


def planned(
    book: Book,
    targets: Targets = SHARES,
    *,
    bands: Bands | None = None,
    limits: Limits | None = None,
    to_target: bool = False,
    maker: bool = False,
    guide: Guide | None = None,
    **where: Any,
) -> Plan:
    """A plan by plain thresholds, unless there is a ``guide``: to target, or to just inside the band."""
    drift = measured(book, targets, bands)
    part = 0.0 if to_target else 0.75
    by = guide or plain(drift, to_target=to_target)
    return plan_for(book, drift, limits or Limits(), Costs(), maker=maker, guide=by, part=part, **where)


def problem(
    book: Book, targets: Targets = SHARES, *, limits: Limits | None = None, part: float = 0.75, **where: Any
) -> Programme:
    drift = measured(book, targets)
    settings: dict[str, Any] = {"fixed": None, "groups": (), "budget": None, **where}
    guide = settings.pop("guide", None) or plain(drift, to_target=False)
    return programme(book, drift, limits or Limits(), guide, part=part, **settings)


def lots(todo: Plan) -> dict[int, int]:
    return {leg.instrument: leg.lots for leg in todo.legs}


def weighing(weights: Sequence[float], equity: float = 10_000.0, **options: Any) -> Book:
    """A book that holds these weights of the three instruments, or of as many as there are."""
    return book_of(
        {s: w * equity / PRICES[s] for s, w in zip(SYMBOLS, weights, strict=False)}, equity=equity, **options
    )


# The mission's table


def test_to_target_the_missions_table_shifts_minus_4500_plus_3000_plus_1500() -> None:
    todo = planned(book_of(MISSION), to_target=True)
    assert lots(todo) == {0: -75, 1: 1000, 2: 10}
    assert [leg.notional for leg in todo.legs] == pytest.approx([4_500, 3_000, 1_500])
    assert todo.goals == pytest.approx([1.5, 0.9, 0.6])


def test_by_thresholds_only_what_stands_outside_is_moved_and_ends_just_inside_its_band() -> None:
    todo = planned(book_of(MISSION))
    assert todo.goals == pytest.approx([1.5 + 0.75 * 0.21, 0.9 - 0.75 * 0.21, 0.45])
    assert lots(todo) == {0: -49, 1: 475}, "the first lots inside: 2,925 are 48.75 lots, 1,425 are 475"


def test_reductions_come_first_and_then_the_largest() -> None:
    book = book_of({"BTCUSDT": 0.10, "ETHUSDT": 6.0, "SOLUSDT": 80.0})
    todo = planned(book, to_target=True)
    assert [(leg.instrument, leg.reduce) for leg in todo.legs] == [(1, True), (2, True), (0, False)]


def test_each_leg_tells_its_cost_where_that_is_known() -> None:
    book = book_of(MISSION)
    book.apply(Quote(0, 59_999.9, 10.0, 60_000.1, 10.0, START), START)
    costs = [leg.cost for leg in planned(book).legs]
    assert costs[0] is not None
    assert costs[0].fee == pytest.approx(49 * 60 * 0.0005)
    assert costs[1] is None


def test_a_resting_increase_is_costed_as_maker_and_a_reduction_as_taker() -> None:
    book = book_of(MISSION)
    for i, price in enumerate(PRICES.values()):
        book.apply(Quote(i, price, 1e6, price, 1e6, START), START)
    reduction, increase = planned(book, maker=True).legs
    assert reduction.cost is not None
    assert increase.cost is not None
    assert reduction.cost.fee == pytest.approx(reduction.notional * 0.0005)
    assert increase.cost.fee == pytest.approx(increase.notional * 0.0002)


def test_inside_its_band_a_portfolio_is_left_alone() -> None:
    assert planned(book_of({"BTCUSDT": 0.26, "ETHUSDT": 2.9, "SOLUSDT": 39.0})).legs == ()


@pytest.mark.parametrize(("new", "stays"), [(1013, True), (1015, False), (987, True), (0, False)])
def test_what_has_arrived_stays_unless_more_is_to_be_moved_than_is_worth_an_order(new: int, stays: bool) -> None:
    """A fiftieth of the band is 42 dollars: 14 lots of 3. What is to be closed is closed to the last lot."""
    book = book_of({"BTCUSDT": 0.25, "ETHUSDT": 1.0, "SOLUSDT": 40.0})
    drift, goals = measured(book), [1.5, 0.9, 0.6]
    old = Destination(goals=goals, lots=[250, 1000, 4000])
    found = steady(book, drift, Destination(goals=goals, lots=[250, new, 4000]), old)
    assert found.lots == [250, 1000 if stays else new, 4000]
    away = steady(
        book_of({"BTCUSDT": 0.25, "ETHUSDT": 1.2, "SOLUSDT": 40.0}), drift, Destination(goals, [250, new, 4000]), old
    )
    assert away.lots[1] == new, "what is still on its way goes to the newest"


# The problem that is set


def test_what_may_not_be_traded_keeps_its_weight() -> None:
    held = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5, "SOLUSDT": "hold"}, leverage=3.0)
    book = weighing([1.8, 1.2, 0.3])
    drift = measured(book, held)
    book.rows[1].instrument = None
    guide = plain(drift, to_target=False)
    set_ = programme(book, drift, Limits(), guide, part=0.75, fixed=None, groups=(), budget=None)
    assert set_.low == pytest.approx([1.5 - 0.1575, 1.2, 0.3])
    assert set_.high == pytest.approx([1.5 + 0.1575, 1.2, 0.3])
    assert set_.center == pytest.approx([1.5, 1.5, 0.3]), "on hold, drift is none"
    todo = plan_for(book, drift, Limits(), Costs(), guide=guide, part=0.75)
    assert set(lots(todo)) == {0}


def test_what_is_not_wanted_at_all_is_closed_whole() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": 0.0}, leverage=1.0)
    set_ = problem(weighing([0.9, 0.2]), targets)
    assert (set_.low[1], set_.high[1]) == (0.0, 0.0)
    assert lots(planned(weighing([1.0, 0.2]), targets)) == {1: -667}


def test_one_instruments_share_limits_what_is_added_and_reduces_nothing() -> None:
    set_ = problem(weighing([1.0, 1.4, 0.2]), limits=Limits(asset_share=0.4))
    assert set_.high[0] == pytest.approx(1.2), "wanted is 1.5"
    assert set_.high[1] == pytest.approx(0.9 + 0.1575), "1.4 comes back for its band's sake alone"
    set_ = problem(weighing([1.62, 0.9, 0.45]), limits=Limits(asset_share=0.4))
    assert (set_.low[0], set_.high[0]) == pytest.approx((1.5 - 0.1575, 1.62)), "1.62 is in its band, and may stay"


def test_the_venues_table_is_a_limit_of_the_problem_too() -> None:
    book = weighing([0.0, 0.0], equity=1e5)
    book.rows[0].leverage = 101
    set_ = problem(book, Targets(weights=dict(PAIR), leverage=2.0), part=0.0)
    assert (set_.low[0], set_.high[0]) == pytest.approx((0.5, 0.5)), "50,000 of 100,000"
    assert (set_.low[1], set_.high[1]) == pytest.approx((-1.0, -1.0))


def test_trimmed_targets_are_what_is_aimed_at() -> None:
    book = weighing([1.5, 0.9, 0.6])
    drift = measured(book, parts=[0.8, 1.0, 1.0])
    todo = plan_for(book, drift, Limits(), Costs(), guide=plain(drift, to_target=True), part=0.0)
    assert todo.goals == pytest.approx([1.2, 0.9, 0.6])


def test_with_goals_of_its_own_only_those_are_traded_and_the_others_not_called_stuck() -> None:
    book = book_of(MISSION)
    todo = planned(book, to_target=True, fixed={1: 0.75})
    assert todo.goals == pytest.approx([1.95, 0.75, 0.45])
    assert lots(todo) == {1: 500}
    assert todo.skips == (), "BTC is outside its band, and meant to stay there this time"
    assert planned(book, to_target=True, fixed={}).legs == ()


def test_the_bounds_are_those_of_the_account_and_of_the_days_budget() -> None:
    names = [bound.name for bound in problem(book_of(MISSION), budget=1.0).bounds]
    assert names == ["leverage", "initial margin", "maintenance margin", "liquidation distance", "increases"]


def test_increases_count_from_what_is_held_and_a_flip_from_nothing() -> None:
    bound = increases([1.0, -1.0], 0.5)
    first, second = bound.curves
    assert (first.long, first.short) == (((1.0, 1.0),), ((1.0, 0.0),)), "beyond 1 on its side, from 0 on the other"
    assert (second.long, second.short) == (((1.0, 0.0),), ((1.0, 1.0),))


def test_a_budget_limits_what_is_added_and_no_reduction() -> None:
    book = book_of(MISSION)
    assert lots(planned(book, to_target=True, budget=0.0)) == {0: -75}
    todo = planned(book, to_target=True, budget=0.3)
    assert lots(todo)[0] == -75
    assert 0.28 < sum(leg.notional for leg in todo.legs if not leg.reduce) / 10_000 <= 0.3


def test_what_comes_while_a_trade_pays_is_traded_for_in_advance() -> None:
    book = weighing([1.5, 0.9, 0.6])
    ahead = replace(plain(measured(book), to_target=True), ahead=[0.06, 0.0, 0.0])
    set_ = problem(book, guide=ahead)
    assert set_.center == pytest.approx([1.44, 0.9, 0.6])
    assert lots(planned(book, guide=ahead)) == {0: -10}


# Limits of all together


def test_the_leverage_limit_is_met_where_it_costs_least_not_in_proportion() -> None:
    """Of the distance to (3, 1) the nearest point with a gross of 3 takes half from each."""
    todo = planned(weighing([0.0, 0.0]), Targets(weights={"BTCUSDT": 0.75, "ETHUSDT": 0.25}, leverage=4.0),
                   limits=Limits(leverage=3.0), to_target=True)  # fmt: skip
    assert todo.goals == pytest.approx([2.5, 0.5])
    todo = planned(weighing([0.0, 0.0]), Targets(weights=dict(PAIR), leverage=6.0),
                   limits=Limits(leverage=4.0), to_target=True)  # fmt: skip
    assert todo.goals == pytest.approx([2.0, -2.0])


@pytest.mark.parametrize(("limit", "goal"), [(4.0, 1.0), (2.0, 0.0), (9.0, 2.0)])
def test_what_is_on_hold_takes_its_part_of_the_leverage_limit(limit: float, goal: float) -> None:
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": "hold"}, leverage=2.0)
    todo = planned(weighing([1.0, 3.0]), targets, limits=Limits(leverage=limit), to_target=True)
    assert todo.goals == pytest.approx([goal, 3.0], abs=1e-8)


@pytest.mark.parametrize("limits", [Limits(liquidation_distance=0.3), Limits(maintenance=0.01)])
def test_margin_and_liquidation_limit_the_plan_as_leverage_does(limits: Limits) -> None:
    book = weighing([1.0, 1.0, 1.0])
    todo = planned(book, replace(SHARES, leverage=4.0), limits=limits, to_target=True)
    after = exposures(book.accounts[0], {(leg.instrument, leg.side): leg.lots for leg in todo.legs})
    assert after is not None
    away, kept = distances(1e4, after).joint, sum(one.maintenance for one in after) / 1e4
    assert away is not None
    floor, most = EXIT * limits.liquidation_distance, limits.maintenance / EXIT
    assert away >= floor, "as far as relief would reduce, lest noise sells it again"
    assert kept <= most
    near = (away - floor) * 4 < 0.06 or most - kept < 1e-4
    assert near, "and the room is used to the last lots"


def test_over_the_leverage_limit_a_reduction_takes_the_last_partial_lot_as_well() -> None:
    book = book_of({"BTCUSDT": 0.2505, "ETHUSDT": 3.005, "SOLUSDT": 41.0})
    todo = planned(book, limits=Limits(leverage=3.0))
    after = [row.lots + lots(todo).get(i, 0) for i, row in enumerate(book.rows)]
    gross = sum(abs(held) * size for held, size in zip(after, (60, 3, 150), strict=True))
    assert 2.98 < gross / 10_000 <= 3.0
    assert all(leg.reduce for leg in todo.legs)


def test_over_the_limit_a_short_is_bought_back_to_the_last_lot() -> None:
    short = Targets(weights={"BTCUSDT": -1.0}, leverage=2.0)
    assert lots(planned(book_of({"BTCUSDT": -0.34}), short, limits=Limits(leverage=2.0))) == {0: 7}


def test_at_a_limit_no_lot_more_is_taken_and_the_reason_is_said() -> None:
    book = book_of({"BTCUSDT": 0.2, "ETHUSDT": 3.0, "SOLUSDT": 40.0})
    todo = planned(book, limits=Limits(asset_share=0.4))
    assert todo.legs == ()
    assert [skip.reason for skip in todo.skips] == ["drift -10.0% is outside the band, and the limits allow no more"]


def test_a_single_instrument_at_its_whole_target_may_stay_anywhere_in_its_band() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0}, leverage=1.0)
    assert planned(book_of({"BTCUSDT": 0.172}), targets).legs == ()
    assert lots(planned(book_of({"BTCUSDT": 0.19}), targets)) == {0: -15}


@pytest.mark.parametrize(
    ("maker", "limits", "most"),
    [(False, Limits(), 100), (True, Limits(), 1_000), (False, Limits(order_notional=3_000.0), 50)],
)
def test_an_order_is_at_most_one_slice(maker: bool, limits: Limits, most: int) -> None:
    contract = instrument(max_lots=1_000, max_market_lots=100)
    assert sliced(contract, 5_000, 60_000.0, limits, maker=maker) == most
    assert sliced(contract, -5_000, 60_000.0, limits, maker=maker) == -most
    assert sliced(contract, 7, 60_000.0, limits, maker=maker) == 7


def test_when_the_largest_order_allowed_is_too_small_that_is_said() -> None:
    todo = planned(book_of({"BTCUSDT": 0.1, "ETHUSDT": 3.0, "SOLUSDT": 40.0}), limits=Limits(order_notional=50.0))
    assert todo.legs == ()
    assert "the largest order is too small" in todo.skips[0].reason


# Hedge groups


def test_a_hedge_of_which_nothing_has_to_be_traded_stays_as_it_is() -> None:
    """Together with the third it would be cheaper to trade one leg; the group keeps out of it."""
    matrix = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.9], [0.9, 0.9, 1.0]])
    targets = Targets(weights={"BTCUSDT": 0.3, "ETHUSDT": -0.3, "SOLUSDT": 0.4}, leverage=1.0)
    book = weighing([0.31, -0.31, 0.5])
    guide = Guide(penalty=matrix, prices=[1.0, 1.0, 0.001], least=[0.0] * 3)
    todo = planned(book, targets, guide=guide, groups=[(0, 1)])
    assert set(lots(todo)) == {2}
    set_ = problem(book, targets, guide=guide, groups=[(0, 1)])
    assert set_.groups == ()
    assert (set_.low[:2], set_.high[:2]) == (set_.held[:2], set_.held[:2])


def test_a_hedge_that_is_traded_keeps_its_proportions() -> None:
    targets = Targets(weights={"BTCUSDT": 0.4, "ETHUSDT": -0.6}, leverage=1.0)
    book = weighing([0.6, -0.9])
    todo = planned(book, targets, groups=[(0, 1)])
    assert todo.goals[0] / todo.goals[1] == pytest.approx(-0.4 / 0.6)
    assert todo.goals[1] == pytest.approx(-(0.6 + 0.75 * 0.07)), "as far as the leg that stands furthest out must"
    assert [leg.reduce for leg in todo.legs] == [True, True]
    alone = planned(book, targets)
    assert alone.goals[0] == pytest.approx(0.4 + 0.75 * 0.07), "not in a group, the other leg ends at its own edge"


def test_goals_of_their_own_bring_the_legs_of_a_hedge_together_again() -> None:
    targets = Targets(weights=dict(PAIR), leverage=1.0)
    todo = planned(weighing([0.5, -0.42]), targets, to_target=True, fixed={0: 0.42, 1: -0.42}, groups=[(0, 1)])
    assert todo.goals == pytest.approx([0.42, -0.42])
    assert set(lots(todo)) == {0}


@pytest.mark.parametrize(
    ("weights", "ahead", "stir"),
    [([1.6, 0.9, 0.6], None, False), ([1.72, 0.9, 0.6], None, True), ([1.6, 0.9, 0.6], [0.06, 0.0, 0.0], True)],
)
def test_a_leg_stirs_its_hedge_when_it_leaves_its_band_or_its_risk_counts(
    weights: list[float], ahead: list[float] | None, stir: bool
) -> None:
    guide = Guide(penalty=np.eye(3), prices=[0.15] * 3, least=[0.0] * 3, ahead=ahead)
    assert stirred(measured(weighing(weights)), guide, 0) is stir


# Lots


def test_the_grid_knows_the_smallest_orders_of_the_venue_and_those_worth_sending() -> None:
    book = weighing([1.6, 0.9, 0.6])
    drift = measured(book)
    guide = replace(plain(drift, to_target=False), least=[0.06, 0.06, 0.06])
    inside = grid_of(book.rows[0], drift, 0, guide, hedge=False)
    assert inside.lot == pytest.approx(0.006)
    assert inside.held == 267
    assert (inside.smallest, inside.smallest_less) == (10, 10), "a tenth of a lot less would not be worth it"
    guide = replace(guide, least=[0.0] * 3)
    free = grid_of(book.rows[0], drift, 0, guide, hedge=False)
    assert (free.smallest, free.smallest_less) == (2, 1), "100 are two lots; a reduction may be smaller"
    assert grid_of(book.rows[0], drift, 0, guide, hedge=True).smallest_less == 2, "not in hedge mode"


def test_outside_its_band_whatever_the_venue_takes_is_worth_an_order() -> None:
    book = weighing([1.8, 0.9, 0.6])
    drift = measured(book)
    guide = replace(plain(drift, to_target=False), least=[0.06] * 3)
    assert grid_of(book.rows[0], drift, 0, guide, hedge=False).smallest == 2


def test_plain_thresholds_think_a_fiftieth_of_the_band_worth_an_order() -> None:
    guide = plain(measured(book_of(MISSION)), to_target=False)
    assert guide.least == pytest.approx([WORTH * 0.21] * 3)
    assert guide.prices == [DEAR] * 3


def test_where_the_edge_is_between_two_lots_the_inner_one_is_taken() -> None:
    """A lot is 1.5 points; from 61 of them down, 3.75 points over 66.67 are 69.2 and below it 64.2."""
    todo = planned(book_of({"SOLUSDT": 61.0}), Targets(weights={"SOLUSDT": 1.0}, leverage=1.0), bands=Bands(0.05))
    assert 61 + lots(todo)[0] == 65


def test_an_order_below_the_venues_smallest_is_made_the_smallest_where_the_target_leaves_room() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0}, leverage=1.0)
    assert lots(planned(book_of({"BTCUSDT": 0.009}, equity=600.0), targets, bands=Bands(tolerance=0.09))) == {}
    assert lots(planned(book_of({"BTCUSDT": 0.007}, equity=600.0), targets, bands=Bands(tolerance=0.2))) == {0: 2}


def test_drift_that_no_order_can_cure_is_skipped_with_the_equity_that_would() -> None:
    """One lot of BTC is 60 dollars and the smallest order 100: at 200 equity neither can be traded."""
    book = book_of({"BTCUSDT": 0.001, "ETHUSDT": 0.027, "SOLUSDT": 0.0}, equity=200.0)
    todo = planned(book, Targets(weights=dict(THIRDS), leverage=1.0))
    bitcoin = next(skip for skip in todo.skips if skip.instrument == 0)
    assert bitcoin.reason == (
        "drift -20.0% is outside the band but worth less than the smallest order (120.00 USDT); "
        "with 600 USDT equity it could be traded"
    )
    assert 0 not in lots(todo)


def test_a_reduction_may_be_smaller_than_the_smallest_value_but_not_than_the_smallest_size() -> None:
    contract = instrument(min_lots=2)
    assert smallest_lots(contract, 60_000.0) == 2
    assert smallest_lots(contract, 30_000.0) == 4
    assert smallest_lots(contract, 120_000.0) == 2, "one lot would be worth enough"
    assert too_small(contract, 3, 30_000.0, exempt=False)
    assert not too_small(contract, 3, 30_000.0, exempt=True)
    assert too_small(contract, -1, 30_000.0, exempt=True)


def test_a_target_of_nothing_closes_to_the_last_lot() -> None:
    todo = planned(book_of(MISSION), Targets(weights=dict(THIRDS), leverage=0.0))
    assert lots(todo) == {0: -325, 1: -2000, 2: -30}
    assert all(leg.reduce for leg in todo.legs)


# Flips and hedge mode


def test_a_flip_stops_at_nothing_and_goes_on_in_the_next_plan() -> None:
    targets = Targets(weights={"BTCUSDT": -1.0}, leverage=1.0)
    todo = planned(book_of({"BTCUSDT": 0.1}), targets, to_target=True)
    assert [(leg.lots, leg.reduce, leg.side) for leg in todo.legs] == [(-100, True, Side.NET)]
    todo = planned(book_of({"BTCUSDT": 0.0}), targets, to_target=True)
    assert [(leg.lots, leg.reduce) for leg in todo.legs] == [(-167, False)], "166.67 to the nearest lot"


def hedged(long: int, short: int) -> Book:
    book = book_of({"BTCUSDT": long / 1000}, hedge=True)
    entry = 60_000.0 if short else None
    book.apply(Position(instrument=0, side=Side.SHORT, lots=short, entry=entry, at=START), START)
    return book


@pytest.mark.parametrize(
    ("long", "short", "change", "expected"),
    [
        (100, 0, 50, (Side.LONG, 50, False)),
        (100, 0, -50, (Side.LONG, -50, True)),
        (100, 0, -150, (Side.LONG, -100, True)),
        (100, -30, 50, (Side.SHORT, 30, True)),
        (0, -30, -50, (Side.SHORT, -50, False)),
        (0, 0, -50, (Side.SHORT, -50, False)),
    ],
)
def test_in_hedge_mode_the_opposite_row_is_closed_before_the_own_one_grows(
    long: int, short: int, change: int, expected: tuple[Side, int, bool]
) -> None:
    assert next_row(hedged(long, short).rows[0], change, hedge=True) == expected


def test_in_hedge_mode_without_any_row_the_own_one_is_opened() -> None:
    book = book_of({"BTCUSDT": 0.0})
    book.rows[0].holdings.clear()
    assert next_row(book.rows[0], 5, hedge=True) == (Side.LONG, 5, False)


def test_in_hedge_mode_a_reduction_is_not_exempt_from_the_smallest_value() -> None:
    targets = Targets(weights={"BTCUSDT": 0.0, "ETHUSDT": 1.0}, leverage=1.0)
    dust = planned(book_of({"BTCUSDT": 0.001, "ETHUSDT": 3.333}, hedge=True), targets, to_target=True)
    assert dust.legs == ()
    first = planned(book_of({"BTCUSDT": 0.02, "ETHUSDT": 2.93}, hedge=True), targets, to_target=True).legs[0]
    assert (first.lots, first.side) == (-20, Side.LONG)


def test_in_hedge_mode_what_is_left_is_too_small_to_close_and_that_is_said() -> None:
    targets = Targets(weights={"BTCUSDT": 0.0, "ETHUSDT": 1.0}, leverage=1.0)
    todo = planned(book_of({"BTCUSDT": 0.001, "ETHUSDT": 0.167}, equity=500.0, hedge=True), targets)
    assert todo.legs == ()
    assert [skip.reason for skip in todo.skips] == [
        "drift +12.0% is outside the band but worth less than the smallest order (120.00 USDT); "
        "with 1,000 USDT equity it could be traded"
    ]


# Margin


def test_an_increase_is_cut_to_what_the_tiers_allow_at_the_leverage_setting() -> None:
    targets = Targets(weights=dict(PAIR), leverage=2.0)
    book = book_of({"BTCUSDT": 0.1, "ETHUSDT": -6.0}, equity=1e5)
    for row in book.rows:
        row.leverage = 101
    todo = planned(book, targets, to_target=True)
    assert lots(todo) == {0: 733, 1: -10_666}, "just below 50,000 each"
    assert todo.skips == ()
    book = book_of({"BTCUSDT": 0.833, "ETHUSDT": -16.6666}, equity=1e5)
    for row in book.rows:
        row.leverage = 101
    todo = planned(book, targets, to_target=True)
    assert todo.legs == ()
    assert len(todo.skips) == 2
    assert all("outside the band" in skip.reason for skip in todo.skips)


def test_a_reduction_is_not_cut_by_tiers() -> None:
    book = book_of({"BTCUSDT": 0.5}, equity=1e4)
    book.rows[0].leverage = 126
    assert planned(book, Targets(weights={"BTCUSDT": 1.0}, leverage=1.0), to_target=True).legs[0].reduce


def relieved_of(
    book: Book,
    targets: Targets = SHARES,
    under_way: dict[tuple[int, Side], int] | None = None,
    start: Sequence[int] | None = None,
    **limits: Any,
) -> Plan:
    drift = measure(book, targets, Bands())
    assert drift is not None
    begun = [row.lots for row in book.rows] if start is None else start
    return relieved(book, drift, Limits(**limits), Costs(), begun, under_way or {})


def test_relief_reduces_everything_in_proportion_whatever_the_targets() -> None:
    book = book_of({"BTCUSDT": 0.8, "ETHUSDT": -12.0, "SOLUSDT": 80.0})
    todo = relieved_of(book)
    assert all(leg.reduce for leg in todo.legs)
    assert [leg.instrument for leg in todo.legs] == [0, 1, 2]
    shares = [todo.goals[i] / w for i, w in enumerate((4.8, -3.6, 1.2))]
    assert shares == pytest.approx([shares[0]] * 3)
    assert 0.7 < shares[0] < 0.9
    assert sum(leg.notional for leg in todo.legs) == pytest.approx((1 - shares[0]) * 96_000, abs=60 + 3 + 150)


def test_relief_leaves_alone_what_is_on_hold_and_what_has_no_danger() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": "hold"}, leverage=1.0)
    assert set(lots(relieved_of(book_of({"BTCUSDT": 1.0, "ETHUSDT": 16.0}), targets))) == {0}
    assert relieved_of(book_of(MISSION)).legs == ()
    book = book_of({"BTCUSDT": 2.0, "ETHUSDT": 0.0, "SOLUSDT": 0.0})
    book.rows[0].tiers = ()
    assert relieved_of(book).legs == (), "without a table nobody knows"
    book = book_of({"BTCUSDT": 2.0, "ETHUSDT": 0.0, "SOLUSDT": 0.0})
    book.rows[1].mark = book.rows[2].instrument = None
    assert set(lots(relieved_of(book))) == {0}


def test_what_reduces_already_counts_as_done() -> None:
    book = book_of({"BTCUSDT": 1.0, "ETHUSDT": 14.0, "SOLUSDT": 0.0})
    (bitcoin, ether) = relieved_of(book).legs
    under_way = {(0, Side.NET): bitcoin.lots}
    (rest,) = relieved_of(book, under_way=under_way).legs
    assert rest.instrument == 1
    assert ether.lots <= rest.lots <= ether.lots + 20, "less by no more than the lot that BTC was rounded by"
    assert relieved_of(book, under_way={**under_way, (1, Side.NET): ether.lots}).legs == ()


def test_what_is_below_its_part_already_is_not_reduced_and_what_has_grown_is() -> None:
    book = book_of({"BTCUSDT": 1.0, "ETHUSDT": 14.0, "SOLUSDT": 0.0})
    (bitcoin, ether) = relieved_of(book).legs
    half = book_of({"BTCUSDT": 1.0 + bitcoin.lots / 1000, "ETHUSDT": 14.0, "SOLUSDT": 0.0})
    (rest,) = relieved_of(half, start=(1_000, 14_000, 0)).legs
    assert rest.instrument == 1
    assert ether.lots <= rest.lots <= ether.lots + 20, "less by no more than the lot that BTC was rounded by"
    assert lots(relieved_of(book, start=(500, -14_000, 0))) == {0: bitcoin.lots, 1: ether.lots}


def test_relief_begins_with_the_largest_reduction() -> None:
    todo = relieved_of(book_of({"BTCUSDT": 0.2, "ETHUSDT": 20.0, "SOLUSDT": 100.0}))
    assert [leg.instrument for leg in todo.legs] == [1, 2, 0]


def test_relief_comes_in_slices_too() -> None:
    book = book_of({"BTCUSDT": 1.6, "ETHUSDT": 0.0, "SOLUSDT": 0.0})
    assert lots(relieved_of(book, order_notional=3_000.0)) == {0: -50}


def test_in_hedge_mode_relief_reduces_the_larger_row() -> None:
    book = book_of({"BTCUSDT": 1.8}, hedge=True)
    book.apply(Position(0, Side.SHORT, -100, 60_000.0, START), START)
    (one,) = relieved_of(book, Targets(weights={"BTCUSDT": 1.0})).legs
    assert (one.side, one.reduce) == (Side.LONG, True)
    assert one.lots < 0
    dust = book_of({"BTCUSDT": 0.001}, equity=1.0, hedge=True)
    assert relieved_of(dust, Targets(weights={"BTCUSDT": 1.0})).legs == (), "below the smallest order"


@given(st.tuples(*[st.floats(-8, 8)] * 3), st.booleans(), st.sampled_from([0.05, 0.11, 0.2]), st.booleans())
def test_after_relief_the_exit_level_holds_and_no_more_than_a_lot_of_each_is_lost_to_rounding(
    weights: tuple[float, float, float], hold: bool, floor: float, hedge: bool
) -> None:
    prices = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0}
    book = book_of({s: w * 1e4 / prices[s] for s, w in zip(SYMBOLS, weights, strict=True)}, equity=1e4, hedge=hedge)
    shares: dict[str, Any] = {"BTCUSDT": 0.5, "ETHUSDT": 0.5, "SOLUSDT": "hold" if hold else 0.0}
    todo = relieved_of(book, Targets(weights=shares), liquidation_distance=floor)
    after = exposures(book.accounts[0], {(leg.instrument, leg.side): leg.lots for leg in todo.legs})
    before = exposures(book.accounts[0])
    assert after is not None
    assert before is not None
    if not todo.legs:
        return
    all_gone = not any(one.long or one.short for one in after[: 2 if hold else 3])
    too_small = hedge and len(todo.legs) < sum(1 for one in before[: 2 if hold else 3] if one.long or one.short)
    away = distances(1e4, after).joint
    assert away is None or away >= EXIT * floor - 1e-9 or all_gone or too_small
    less = exposures(
        book.accounts[0], {(leg.instrument, leg.side): leg.lots + (1 if leg.lots < 0 else -1) for leg in todo.legs}
    )
    assert less is not None
    if not too_small:
        assert (distances(1e4, less).joint or 9.0) <= EXIT * floor + 1e-9, "a lot less of each would not have done"


# Whatever the portfolio


@st.composite
def situations(draw: st.DrawFn) -> tuple[Book, Targets, Bands, Limits, bool, bool]:
    parts = draw(st.tuples(*[st.integers(-10, 10)] * 3).filter(any))
    gross = sum(abs(part) for part in parts)
    weights: dict[str, Any] = {s: part / gross for s, part in zip(SYMBOLS, parts, strict=True)}
    if draw(st.booleans()) and gross > abs(parts[2]):
        weights = {s: part / (gross - abs(parts[2])) for s, part in zip(SYMBOLS[:2], parts, strict=False)}
        weights["SOLUSDT"] = "hold"
    leverage = draw(st.sampled_from([0.0, 0.5, 1.0, 3.0, 5.0]))
    mode: Any = draw(st.sampled_from(["constant", "cap", "off"]))
    equity = draw(st.sampled_from([150.0, 1_000.0, 10_000.0, 1e6]))
    held = draw(st.tuples(*[st.floats(-4, 4)] * 3))
    bands = Bands(
        tolerance=draw(st.sampled_from([0.01, 0.07, 0.3])),
        relative=draw(st.sampled_from([None, 0.1])),
    )
    limits = Limits(
        leverage=draw(st.sampled_from([1.0, 2.0, 5.0, 20.0])),
        asset_share=draw(st.sampled_from([0.3, 0.6, 1.0])),
        order_notional=draw(st.sampled_from([None, 500.0])),
    )
    book = weighing(held, equity, hedge=draw(st.booleans()))
    targets = Targets(weights=weights, leverage=leverage, leverage_mode=mode)
    return book, targets, bands, limits, draw(st.booleans()), draw(st.booleans())


def lot_weight(book: Book, index: int, equity: float) -> float:
    row = book.rows[index]
    assert row.instrument is not None
    assert row.mark is not None
    return row.instrument.notional(1, row.mark.price) / equity


def subsets(legs: Sequence[Leg]) -> Any:
    return chain.from_iterable(combinations(legs, size) for size in range(len(legs) + 1))


@given(situations())
def test_each_leg_goes_toward_its_goal_on_a_row_that_may_be_traded_and_stops_at_nothing(
    situation: tuple[Book, Targets, Bands, Limits, bool, bool],
) -> None:
    book, targets, bands, limits, to_target, maker = situation
    drift = measured(book, targets, bands)
    todo = planned(book, targets, bands=bands, limits=limits, to_target=to_target, maker=maker)
    for leg in todo.legs:
        i, row = leg.instrument, book.rows[leg.instrument]
        assert drift.targets[i] is not None, "what is on hold is never traded"
        held = row.holdings[leg.side].lots if leg.side in row.holdings else 0
        assert leg.reduce is (held * leg.lots < 0)
        assert not leg.reduce or abs(leg.lots) <= abs(held)
        lot = lot_weight(book, i, drift.equity)
        assert leg.notional == pytest.approx(abs(leg.lots) * lot * drift.equity)
        assert row.instrument is not None
        assert row.mark is not None
        hedge = book.accounts[0].mode is not None and book.accounts[0].mode.hedge
        assert not too_small(row.instrument, leg.lots, row.mark.price, exempt=leg.reduce and not hedge)
        if limits.order_notional is not None:
            assert leg.notional <= limits.order_notional + 1e-6


def beyond(set_: Programme, weights: Sequence[float]) -> float:
    """How far all weights together stand outside of their boxes."""
    return sum(max(0.0, low - w, w - high) for w, low, high in zip(weights, set_.low, set_.high, strict=True))


@given(situations())
def test_where_no_limit_asks_for_it_a_plan_never_leads_further_out_of_the_boxes(
    situation: tuple[Book, Targets, Bands, Limits, bool, bool],
) -> None:
    book, targets, bands, limits, to_target, maker = situation
    limits = replace(limits, order_notional=None, leverage=20.0, liquidation_distance=0.0, maintenance=1.0)
    drift = measured(book, targets, bands)
    guide, part = plain(drift, to_target=to_target), 0.0 if to_target else 0.75
    set_ = programme(book, drift, limits, guide, part=part, fixed=None, groups=(), budget=None)
    todo = planned(book, targets, bands=bands, limits=limits, to_target=to_target, maker=maker)
    weights = list(drift.weights)
    for leg in todo.legs:
        weights[leg.instrument] += leg.lots * lot_weight(book, leg.instrument, drift.equity)
    assert beyond(set_, weights) <= beyond(set_, drift.weights) + 1e-9


@given(situations(), st.sampled_from([None, 0.0, 0.3]))
def test_whatever_is_carried_out_of_a_plan_the_limits_hold(
    situation: tuple[Book, Targets, Bands, Limits, bool, bool], budget: float | None
) -> None:
    book, targets, bands, limits, to_target, maker = situation
    drift = measured(book, targets, bands)
    todo = planned(book, targets, bands=bands, limits=limits, to_target=to_target, maker=maker, budget=budget)
    reductions = [leg for leg in todo.legs if leg.reduce]
    assert list(todo.legs[: len(reductions)]) == reductions
    for part in subsets(reductions):
        weights = list(drift.weights)
        for leg in part:
            weights[leg.instrument] += leg.lots * lot_weight(book, leg.instrument, drift.equity)
        assert sum(abs(w) for w in weights) <= drift.leverage + 1e-9, "a reduction never adds"
    added = sum(leg.notional for leg in todo.legs if not leg.reduce) / drift.equity
    assert budget is None or added <= budget + 1e-9
    if not book.accounts[0].mode or not book.accounts[0].mode.hedge:
        weights = list(drift.weights)
        for leg in todo.legs:
            weights[leg.instrument] += leg.lots * lot_weight(book, leg.instrument, drift.equity)
        if limits.order_notional is None:
            assert sum(abs(w) for w in weights) <= max(drift.leverage, limits.leverage) + 1e-9
        most = limits.asset_share * drift.gross_target
        for leg in todo.legs:
            lot = lot_weight(book, leg.instrument, drift.equity)
            if not leg.reduce:
                assert abs(weights[leg.instrument]) <= max(most, abs(drift.weights[leg.instrument])) + lot


@given(situations())
def test_plans_carried_out_one_after_another_come_to_rest(
    situation: tuple[Book, Targets, Bands, Limits, bool, bool],
) -> None:
    book, targets, bands, limits, to_target, maker = situation
    targets = replace(targets, leverage_mode="constant")
    limits = Limits(leverage=limits.leverage, asset_share=limits.asset_share)
    for _ in range(60):
        drift = measured(book, targets, bands)
        todo = planned(book, targets, bands=bands, limits=limits, to_target=to_target, maker=maker)
        if not todo.legs:
            break
        reducing = any(leg.reduce for leg in todo.legs)
        for leg in todo.legs:
            if reducing and not leg.reduce:
                continue
            mark, holdings = book.rows[leg.instrument].mark, book.rows[leg.instrument].holdings
            assert mark is not None
            held = holdings[leg.side].lots if leg.side in holdings else 0
            entry = mark.price if held + leg.lots else None
            book.apply(Position(leg.instrument, leg.side, held + leg.lots, entry, START), START)
    else:
        pytest.fail(f"still planning: {todo}")
    skipped = {skip.instrument for skip in todo.skips}
    for i, d in enumerate(drift.drifts):
        assert abs(d) <= drift.bands[i] + 1e-9 or i in skipped, "outside of its band, and nothing was said"


def test_where_lots_are_fine_and_a_limit_binds_the_room_is_used_to_the_last_lot() -> None:
    """One times, where five is wanted: else the next plan takes the other way out of the boxes, and the next this."""
    targets = Targets(weights=dict.fromkeys(SYMBOLS, 1 / 3), leverage=5.0)
    todo = planned(
        weighing([0.0, 0.0, 0.0], equity=150.0),
        targets,
        bands=Bands(0.01),
        limits=Limits(leverage=1.0, asset_share=0.3),
    )
    assert sum(leg.notional for leg in todo.legs) > 147, "there is room for another lot of ETH, which is 3"


def test_what_is_on_hold_takes_its_room_in_whole_lots_too() -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5, "SOLUSDT": "hold"}, leverage=5.0)
    book = weighing([0.0, 0.0, 4.005])
    todo = planned(book, targets, limits=Limits(leverage=5.0))
    assert 0.98 < sum(leg.notional for leg in todo.legs) / 10_000 <= 0.995
    assert planned(book, targets, limits=Limits(leverage=4.0)).legs == ()
