"""Where a correction leads, by which legs, and what is said of drift that stays: the parts of the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.band import penalty_of
from agent.core.book import Book
from agent.core.costs import Costs
from agent.core.covariance import prior_of
from agent.core.drift import Bands, Drift, measure
from agent.core.events import Leverage, Position, Quote, Side, Volume
from agent.core.margin import EXIT, distances, exposures
from agent.core.planner import (
    DEAR,
    WORTH,
    Destination,
    Guide,
    Leg,
    Limits,
    Plan,
    Skip,
    beyond_tier,
    destination,
    grid_of,
    increases,
    leg_of,
    next_row,
    plain,
    plan,
    programme,
    relieved,
    smallest_lots,
    stirred,
    unreachable,
    why_not,
    within_tier,
)
from agent.core.targets import Targets
from tests.core.kit import MISSION, PRICES, START, THIRDS, book_of, instrument, plan_for
from tests.core.problems import level

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SHARES = Targets(weights=dict(THIRDS), leverage=3.0)
HEDGED = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.3, "SOLUSDT": 0.2}, leverage=2.0)
"""Weights of +1.0, -0.6 and +0.4; the first two may be one hedge group."""
LOOSE = Limits(leverage=50.0, maintenance=1.0, liquidation_distance=0.0001)
"""Of which none binds but the one that a test sets."""


def measured(book: Book, targets: Targets = SHARES, bands: Bands | None = None) -> Drift:
    drift = measure(book, targets, bands or Bands())
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
    **where: Any,
) -> Plan:
    """A plan by plain thresholds, to just inside the bands or to target; ``where`` as for `destination`."""
    bands = bands or Bands()
    drift = measured(book, targets, bands)
    where = {"guide": plain(drift, to_target=to_target), "part": 0.0 if to_target else bands.landing, **where}
    return plan_for(book, drift, limits or Limits(), Costs(), maker=maker, **where)


def lots(todo: Plan) -> dict[int, int]:
    return {leg.instrument: leg.lots for leg in todo.legs}


def at_leverage(book: Book, setting: int) -> Book:
    for index in range(len(book.rows)):
        book.apply(Leverage(instrument=index, leverage=setting), START)
    return book


def hedged(long: int, short: int) -> Book:
    """Bitcoin in hedge mode: signed lots of its two position rows."""
    book = book_of({"BTCUSDT": long / 1000}, hedge=True)
    entry = 60_000.0 if short else None
    book.apply(Position(instrument=0, side=Side.SHORT, lots=short, entry=entry, at=START), START)
    return book


# The mission's table


def test_to_the_edge_only_what_stands_outside_is_moved_to_just_inside_its_band() -> None:
    """The edge of the first is 1.6575, which is 2.5 lots of 60 beyond a whole number; both round to the inside."""
    todo = planned(book_of(MISSION))
    assert lots(todo) == {0: -49, 1: 475}
    assert todo.goals == pytest.approx([1.5 + 0.75 * 0.21, 0.9 - 0.75 * 0.21, 0.45])


def test_the_impact_of_a_leg_is_reckoned_where_volatilities_are_given() -> None:
    """The square-root law of 4500 in a day of 1e6 at a volatility of 4 % a day: 0.18 % on average."""
    book = book_of(MISSION)
    book.apply(Quote(0, 60_000.0, 0.01, 60_000.0, 0.01, START), START)
    book.apply(Volume(instrument=0, quote=1e6), START)
    drift = measured(book)
    to = destination(book, drift, Limits(), guide=plain(drift, to_target=True), part=0.0)
    free = plan(book, drift, Limits(), Costs(), to, maker=False).legs[0].cost
    dear = plan(book, drift, Limits(), Costs(), to, maker=False, sigmas=[0.04, 0.04, 0.04]).legs[0].cost
    assert free is not None
    assert dear is not None
    assert free.impact == 0.0
    assert dear.impact == pytest.approx(4_500 * 0.04 * (4_500 / 1e6) ** 0.5 * 2 / 3)


# The guide


def test_the_plain_guide_trades_all_the_way_or_only_what_a_band_demands() -> None:
    drift = measured(book_of(MISSION))
    all_the_way, just_inside = plain(drift, to_target=True), plain(drift, to_target=False)
    assert all_the_way.prices == [0.0] * 3
    assert just_inside.prices == [DEAR] * 3
    assert all_the_way.least == [0.0] * 3
    assert just_inside.least == pytest.approx([WORTH * 0.07 * 3.0] * 3)
    assert np.array_equal(just_inside.penalty, np.eye(3))


def test_without_a_target_at_all_the_plain_guide_counts_in_weights() -> None:
    drift = measured(book_of(MISSION), Targets(weights=dict(THIRDS), leverage=0.0))
    assert plain(drift, to_target=False).least == pytest.approx([WORTH * 0.07] * 3)


def test_a_price_of_trading_stops_where_marginal_risk_is_worth_no_more() -> None:
    """With a variance of 1 each and no correlation the way ends where drift is as large as the price, 0.1."""
    drift = measured(book_of(MISSION))
    guide = Guide(penalty=np.eye(3), prices=[0.1] * 3, least=[0.0] * 3)
    todo = planned(book_of(MISSION), guide=guide, part=1.0)
    assert drift.away == pytest.approx([0.45, -0.3, -0.15])
    assert todo.goals == pytest.approx([1.6, 0.8, 0.5])


def test_what_is_correlated_with_drift_elsewhere_makes_good_for_it() -> None:
    """Bitcoin on hold is 0.5 over what ether would offset; half of it moves with ether, which is sold by a quarter."""
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}, leverage=2.0)
    book = book_of({"BTCUSDT": 0.25, "ETHUSDT": 10 / 3})
    correlated = Guide(penalty=np.array([[1.0, 0.5], [0.5, 1.0]]), prices=[0.0, 0.0], least=[0.0, 0.0])
    held = Guide(penalty=correlated.penalty, prices=[DEAR, 0.0], least=[0.0, 0.0])
    bands = Bands(tolerance=0.5)
    assert planned(book, targets, bands=bands, guide=correlated, part=1.0).goals == pytest.approx([1.0, 1.0])
    assert planned(book, targets, bands=bands, guide=held, part=1.0).goals == pytest.approx([1.5, 0.75])


def test_what_drift_will_have_grown_by_is_traded_ahead_of() -> None:
    guide = Guide(penalty=np.eye(3), prices=[0.1] * 3, least=[0.0] * 3, ahead=[0.02, 0.0, -0.03])
    todo = planned(book_of(MISSION), guide=guide, part=1.0)
    assert todo.goals == pytest.approx([1.58, 0.8, 0.53])


# What stays as it is


def test_outside_the_band_every_lot_is_worth_an_order() -> None:
    drift = measured(book_of({"SOLUSDT": 62.0}), Targets(weights={"SOLUSDT": 1.0}), Bands(tolerance=0.069))
    row = book_of({"SOLUSDT": 62.0}).rows[0]
    guide = Guide(penalty=np.eye(1), prices=[0.0], least=[0.9])
    assert grid_of(row, drift, 0, guide, hedge=False).smallest == 1
    inside = measured(book_of({"SOLUSDT": 62.0}), Targets(weights={"SOLUSDT": 1.0}), Bands(tolerance=0.071))
    assert grid_of(row, inside, 0, guide, hedge=False).smallest == 60


def test_what_is_on_hold_stays_where_it_is_and_is_never_traded() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": "hold"}, leverage=1.0)
    todo = planned(book_of({"BTCUSDT": 0.3, "ETHUSDT": 2.0}), targets, to_target=True)
    assert todo.goals == pytest.approx([1.0, 0.6])
    assert set(lots(todo)) == {0}


def test_what_is_on_hold_is_not_traded_by_name_either() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": "hold"}, leverage=1.0)
    todo = planned(book_of({"BTCUSDT": 0.3, "ETHUSDT": 2.0}), targets, to_target=True, fixed={0: 1.5, 1: 0.0})
    assert lots(todo) == {0: -50}


@pytest.mark.parametrize("missing", ["instrument", "mark"])
def test_an_instrument_without_a_grid_or_a_price_is_not_planned_but_counts(missing: str) -> None:
    """It holds 1.95 of the 2.4 that leverage may be; 0.45 are left for the others, which want 1.5."""
    book = book_of(MISSION)
    drift = measured(book)
    setattr(book.rows[0], missing, None)
    guide = plain(drift, to_target=True)
    free = plan_for(book, drift, Limits(), Costs(), guide=guide, part=0.0)
    assert lots(free) == {1: 1000, 2: 10}
    limits = Limits(leverage=2.4, liquidation_distance=0.01)
    tight = destination(book, drift, limits, guide=guide, part=0.0)
    assert tight.goals[0] == drift.weights[0]
    assert sum(map(abs, tight.goals)) <= 2.4 + 1e-8
    assert abs(tight.lots[1]) * 3 + abs(tight.lots[2]) * 150 <= 4_500
    nothing = Drift(1e4, 0.0, 0.0, 1.0, [0.0], [1.0], [1.0], [-1.0], [0.07])
    grid = grid_of(book.rows[0], nothing, 0, plain(nothing, to_target=True), hedge=False)
    assert (grid.lot, grid.held) == (1.0, 0)
    short = Drift(1e4, 2.0, 2.0, 1.0, [-2.0], [1.0], [1.0], [-3.0], [0.07])
    grid = grid_of(book.rows[0], short, 0, plain(short, to_target=True), hedge=False)
    assert (grid.lot, grid.held) == (2.0, -1)


# What is traded, where only a part may be


def test_with_fixed_weights_only_those_instruments_are_traded_and_all_the_way() -> None:
    todo = planned(book_of(MISSION), fixed={1: 0.75})
    assert lots(todo) == {1: 500}
    assert todo.skips == (), "nothing is said of what is not meant to move"
    assert todo.goals == pytest.approx([1.95, 0.75, 0.45])
    assert lots(planned(book_of(MISSION), fixed={0: 1.5, 2: 0.6})) == {0: -75, 2: 10}


def test_of_what_is_fixed_and_cannot_be_traded_it_is_said() -> None:
    todo = planned(book_of(MISSION), fixed={1: 0.75}, budget=0.0)
    assert todo.legs == ()
    assert [skip.instrument for skip in todo.skips] == [1]


def test_fixed_weights_are_cut_to_the_share_that_one_instrument_may_have() -> None:
    todo = planned(book_of(MISSION), fixed={1: 2.0}, limits=Limits(asset_share=0.4))
    assert todo.goals == pytest.approx([1.95, 1.2, 0.45])


def test_what_is_fixed_at_nothing_is_closed_to_the_last_lot_whatever_its_band() -> None:
    book = book_of({"BTCUSDT": 0.001, "ETHUSDT": 3.0, "SOLUSDT": 40.0})
    assert lots(planned(book, Targets(weights=dict(THIRDS), leverage=1.8), fixed={0: 0.0})) == {0: -1}


def test_fixed_legs_do_not_wait_for_their_hedge_group() -> None:
    book = book_of({"BTCUSDT": 0.18, "ETHUSDT": -2.1, "SOLUSDT": 27.0})
    assert lots(planned(book, HEDGED, fixed={0: 1.0}, groups=[(0, 1)])) == {0: -13}


def test_a_budget_limits_what_is_added_and_not_what_is_reduced() -> None:
    """0.2 of equity for two that want 0.3 and 0.15: both are left equally far from their aims, as far as lots go."""
    todo = planned(book_of(MISSION), budget=0.2, to_target=True)
    assert todo.goals == pytest.approx([1.5, 0.775, 0.475], abs=1e-8)
    assert lots(todo)[0] == -75
    assert 1_900 < sum(leg.notional for leg in todo.legs if not leg.reduce) <= 2_000
    spent = planned(book_of(MISSION), budget=0.0, to_target=True)
    assert lots(spent) == {0: -75}
    assert spent.skips == (Skip(instrument=1, reason="drift -10.0% is outside the band, and the limits allow no more"),)


def test_of_a_flip_the_budget_counts_what_is_beyond_nothing() -> None:
    short = Targets(weights={"BTCUSDT": -1.0}, leverage=1.0)
    begun = planned(book_of({"BTCUSDT": 0.1}), short, budget=0.3, to_target=True)
    assert begun.goals == pytest.approx([-0.3])
    assert lots(begun) == {0: -100}
    assert lots(planned(book_of({"BTCUSDT": 0.0}), short, budget=0.3, to_target=True)) == {0: -50}


@pytest.mark.parametrize(
    ("weights", "added"),
    [
        ([1.0, -0.5], 0.0),
        ([0.2, -0.1], 0.0),
        ([1.25, -0.5], 0.25),
        ([1.0, -0.75], 0.25),
        ([-0.5, 0.5], 1.0),
        ([0.0, -1.5], 1.0),
    ],
)
def test_increases_are_what_lies_beyond_the_held_weights_away_from_nothing(weights: list[float], added: float) -> None:
    bound = increases([1.0, -0.5], 0.4)
    assert (bound.name, bound.most) == ("increases", 0.4)
    assert level(bound, weights) == pytest.approx(added)


def test_what_is_not_wanted_at_all_is_closed_whole_though_it_may_be_inside_its_band() -> None:
    targets = Targets(weights={"BTCUSDT": 0.7, "ETHUSDT": 0.3, "SOLUSDT": 0.0}, leverage=2.7)
    todo = planned(book_of({"BTCUSDT": 0.315, "ETHUSDT": 2.7, "SOLUSDT": 1.0}), targets)
    assert lots(todo) == {2: -1}
    todo = planned(book_of({"BTCUSDT": 0.315, "ETHUSDT": 2.7, "SOLUSDT": -2.0}), targets)
    assert lots(todo) == {2: 2}


# Hedge groups


def test_a_hedge_group_stands_still_while_all_of_it_is_inside_the_bands() -> None:
    """Each leg is 4 and 1.5 points over: alone they would stay as well, with a target of all the way they would not."""
    book = book_of({"BTCUSDT": 0.18, "ETHUSDT": -2.1, "SOLUSDT": 50.0})
    todo = planned(book, HEDGED, groups=[(0, 1)])
    assert set(lots(todo)) == {2}
    assert todo.goals[:2] == pytest.approx([1.08, -0.63])


def test_a_hedge_group_that_nothing_stirs_is_not_moved_for_the_sake_of_others() -> None:
    """The portfolio is over its leverage: what is free gives way, until nothing of it is left."""
    book = book_of({"BTCUSDT": 1 / 6, "ETHUSDT": -2.0, "SOLUSDT": 40.0})
    still = planned(book, HEDGED, limits=Limits(leverage=1.7), groups=[(0, 1)])
    assert set(lots(still)) == {2}
    assert still.goals == pytest.approx([1.002, -0.6, 0.098], abs=1e-6)
    free = planned(book, HEDGED, limits=Limits(leverage=1.7))
    assert set(lots(free)) == {0, 1, 2}


def test_a_hedge_group_of_which_one_leg_has_left_its_band_comes_back_in_proportion() -> None:
    """The first leg lands at three quarters of its band, 1.105, and the other at 0.6 of it."""
    todo = planned(book_of({"BTCUSDT": 0.25, "ETHUSDT": -2.1, "SOLUSDT": 27.0}), HEDGED, groups=[(0, 1)])
    assert todo.goals == pytest.approx([1.105, -0.663, 0.405])
    assert lots(todo) == {0: -66, 1: -108}
    assert lots(planned(book_of({"BTCUSDT": 0.25, "ETHUSDT": -2.1, "SOLUSDT": 27.0}), HEDGED)) == {0: -66}


def test_a_limit_that_stops_one_leg_of_a_hedge_group_stops_the_others() -> None:
    book = book_of({"BTCUSDT": 0.0, "ETHUSDT": 0.0, "SOLUSDT": 27.0})
    todo = planned(book, HEDGED, limits=Limits(asset_share=0.25), groups=[(0, 1)], to_target=True)
    assert todo.goals == pytest.approx([0.5, -0.3, 0.4], abs=1e-6)


def test_two_legs_do_not_outweigh_the_share_of_the_third() -> None:
    targets = Targets(weights={"BTCUSDT": 0.3, "ETHUSDT": -0.4, "SOLUSDT": 0.3}, leverage=2.0)
    book = book_of({"BTCUSDT": 0.0, "ETHUSDT": 0.0, "SOLUSDT": 0.0})
    todo = planned(book, targets, limits=Limits(asset_share=0.3), groups=[(0, 1, 2)], to_target=True)
    assert todo.goals == pytest.approx([0.45, -0.6, 0.45], abs=1e-6)


def test_a_hedge_group_with_a_leg_on_hold_is_not_traded() -> None:
    targets = Targets(weights={"BTCUSDT": 0.6, "ETHUSDT": "hold", "SOLUSDT": 0.4}, leverage=1.0)
    book = book_of({"BTCUSDT": 0.15, "ETHUSDT": -2.1, "SOLUSDT": 20.0})
    assert set(lots(planned(book, targets, groups=[(0, 1)]))) == {2}


def test_the_share_of_one_instrument_stops_its_whole_hedge_group_though_the_other_leg_is_small() -> None:
    """The large leg may be 0.6 of its 1.8, so the small one, which alone could be 0.2, is a third as well."""
    targets = Targets(weights={"BTCUSDT": 0.1, "ETHUSDT": -0.9}, leverage=2.0)
    limits = Limits(asset_share=0.3)
    todo = planned(book_of({"BTCUSDT": 0.0, "ETHUSDT": 0.0}), targets, limits=limits, groups=[(0, 1)])
    assert todo.goals == pytest.approx([0.6 / 9, -0.6], abs=1e-6)
    assert lots(todo) == {0: 11, 1: -1980}


@pytest.mark.parametrize(
    ("weights", "held", "legs"),
    [
        ({"BTCUSDT": 0.5, "ETHUSDT": -0.5}, {"BTCUSDT": 0.2, "ETHUSDT": -0.5}, {1: -3500}),
        ({"BTCUSDT": 1.0, "ETHUSDT": 0.0}, {"BTCUSDT": 0.0, "ETHUSDT": 0.0}, {0: 400}),
        ({"BTCUSDT": 0.0, "ETHUSDT": 0.0}, {"BTCUSDT": 0.0, "ETHUSDT": -0.5}, {1: 500}),
    ],
)
def test_a_hedge_group_is_traded_though_one_leg_stands_on_its_target(
    weights: dict[str, Any], held: dict[str, float], legs: dict[int, int]
) -> None:
    todo = planned(book_of(held), Targets(weights=weights, leverage=2.4), groups=[(0, 1)], to_target=True)
    assert lots(todo) == legs


def test_marginal_risk_stirs_an_instrument_as_well_as_its_band() -> None:
    drift = measured(book_of({"BTCUSDT": 0.18, "ETHUSDT": -2.1, "SOLUSDT": 27.0}), HEDGED)
    assert drift.away == pytest.approx([0.08, -0.03, 0.005])
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 1.0]])
    guide = Guide(penalty=matrix, prices=[0.081, 0.031, 0.044], least=[0.0] * 3)
    assert [stirred(drift, guide, i) for i in range(3)] == [False, False, True]
    ahead = Guide(penalty=matrix, prices=[0.081, 0.031, 0.05], least=[0.0] * 3, ahead=[0.0, -0.002, 0.0])
    assert [stirred(drift, ahead, i) for i in range(3)] == [False, True, False]
    outside = measured(book_of({"BTCUSDT": 0.25, "ETHUSDT": -2.1, "SOLUSDT": 27.0}), HEDGED)
    assert [stirred(outside, plain(outside, to_target=False), i) for i in range(3)] == [True, False, False]


# Limits


def test_goals_are_cut_to_one_instruments_share_but_nothing_is_reduced_for_its_sake() -> None:
    """1.2 of a target gross of 3: 1.5 is wanted of the first, 1.4 and -1.5 are held of the others."""
    targets = Targets(weights={"BTCUSDT": 1.5 / 3, "ETHUSDT": 1.0 / 3, "SOLUSDT": -0.5 / 3}, leverage=3.0)
    book = book_of({"BTCUSDT": 1 / 6, "ETHUSDT": 1.4 / 0.3, "SOLUSDT": -100.0})
    drift = measured(book, targets)
    guide = Guide(penalty=np.eye(3), prices=[0.0, DEAR, DEAR], least=[0.0] * 3)
    to = destination(book, drift, Limits(asset_share=0.4), guide=guide, part=10.0)
    assert to.goals == pytest.approx([1.2, drift.weights[1], -1.5])


def test_goals_are_shared_out_under_the_leverage_limit() -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.5}, leverage=6.0)
    todo = planned(book_of({"BTCUSDT": 0.0, "ETHUSDT": 0.0}), targets, limits=Limits(leverage=4.0), to_target=True)
    assert todo.goals == pytest.approx([2.0, -2.0])
    assert 39_900 < sum(leg.notional for leg in todo.legs) <= 40_000


def test_toward_a_goal_that_a_limit_has_cut_no_lot_more_is_taken() -> None:
    limits = Limits(asset_share=0.4)
    near = planned(book_of({"BTCUSDT": 0.198, "ETHUSDT": 3.0, "SOLUSDT": 40.0}), limits=limits)
    assert lots(near) == {0: 2}
    at_cap = planned(book_of({"BTCUSDT": 0.2, "ETHUSDT": 3.0, "SOLUSDT": 40.0}), limits=limits)
    assert at_cap.legs == ()
    assert at_cap.skips == (
        Skip(instrument=0, reason="drift -10.0% is outside the band, and the limits allow no more"),
    )


def test_maintenance_margin_holds_where_the_portfolio_is_led() -> None:
    """0.4 % of 4 times equity is 1.6 %, which keeps the distance from 1.92 % that ends danger."""
    targets = Targets(weights={"BTCUSDT": 1.0}, leverage=8.0)
    limits = Limits(leverage=50.0, maintenance=EXIT * 0.016, liquidation_distance=0.0001)
    todo = planned(book_of({"BTCUSDT": 0.0}), targets, limits=limits, to_target=True)
    assert todo.goals == pytest.approx([4.0])
    assert lots(todo) == {0: 666}


def test_maintenance_margin_is_that_of_the_bracket_which_the_position_falls_into() -> None:
    """In the second bracket 100 times an equity of 1000 takes 0.5 % less 50: 450."""
    book = at_leverage(book_of({"BTCUSDT": 0.0}, equity=1_000.0), 100)
    limits = Limits(leverage=200.0, maintenance=EXIT * 0.45, liquidation_distance=0.0001)
    todo = planned(book, Targets(weights={"BTCUSDT": 1.0}, leverage=150.0), limits=limits, to_target=True)
    assert todo.goals == pytest.approx([100.0])
    assert lots(todo) == {0: 1666}


@pytest.mark.parametrize(("way", "goal"), [(1.0, 1 / (0.2 + 0.004 * 0.8)), (-1.0, -1.005 / (0.2 + 0.005 * 1.2))])
def test_the_liquidation_distance_holds_where_the_portfolio_is_led(way: float, goal: float) -> None:
    """After a move by 20 % against it, a position w has lost 0.2 w and needs 0.4 % of what it is worth then.

    A short of 4.9 has grown into the second bracket by then. The 20 % are where danger ends of a floor of 16.7 %.
    """
    targets = Targets(weights={"BTCUSDT": way}, leverage=8.0)
    limits = Limits(leverage=50.0, maintenance=1.0, liquidation_distance=0.2 / EXIT)
    todo = planned(book_of({"BTCUSDT": 0.0}), targets, limits=limits, to_target=True)
    assert todo.goals == pytest.approx([goal])
    after = exposures(book_of({"BTCUSDT": lots(todo)[0] / 1000}).accounts[0])
    assert after is not None
    assert 0.2 <= (distances(1e4, after).joint or 0.0) < 0.201


def test_initial_margin_never_exceeds_equity() -> None:
    book = at_leverage(book_of({"BTCUSDT": 0.0, "ETHUSDT": 0.0}), 3)
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.5}, leverage=6.0)
    assert planned(book, targets, limits=LOOSE, to_target=True).goals == pytest.approx([1.5, -1.5])


@pytest.mark.parametrize(
    ("share", "leverage", "budget", "goals"),
    [
        (0.3, 5.0, None, [1.5, 1.5, 1.0]),
        (0.3, 3.0, None, [1.5, 1.0, 0.5]),  # leverage costs the others 0.5 each
        (0.3, 3.0, 0.5, [1.251, 0.251, 0.0]),  # the two that are furthest away share the budget
        (0.22, 3.0, 0.5, [1.1, 0.402, 0.0]),
        (0.22, 1.4, 0.5, [1.1, 0.3, 0.0]),
    ],
)
def test_several_limits_hold_at_once(share: float, leverage: float, budget: float | None, goals: list[float]) -> None:
    """Of a target gross of 5 there is 1.002 of bitcoin, which wants 2.5; ether wants 1.5 and solana 1."""
    book = book_of({"BTCUSDT": 0.167, "ETHUSDT": 0.0, "SOLUSDT": 0.0})
    limits = Limits(asset_share=share, leverage=leverage)
    todo = planned(book, Targets(weights=dict(THIRDS), leverage=5.0), limits=limits, to_target=True, budget=budget)
    assert todo.goals == pytest.approx(goals, abs=1e-6)


def test_the_joint_problem_has_every_bound_that_can_be_known() -> None:
    book = book_of(MISSION)
    drift = measured(book)

    def names(budget: float | None) -> list[str]:
        guide = plain(drift, to_target=True)
        it = programme(book, drift, Limits(), guide, part=0.0, fixed=None, groups=(), budget=budget)
        return [bound.name for bound in it.bounds]

    every = ["leverage", "initial margin", "maintenance margin", "liquidation distance"]
    assert names(None) == every
    assert names(0.3) == [*every, "increases"]
    book.rows[1].leverage = None
    book.rows[2].tiers = ()
    assert names(None) == ["leverage"]


# Lots


def test_a_large_leg_is_planned_slice_by_slice() -> None:
    limits = Limits(order_notional=3_000.0)
    assert lots(planned(book_of(MISSION), limits=limits, to_target=True)) == {0: -50, 1: 1000, 2: 10}
    assert lots(planned(book_of({**MISSION, "BTCUSDT": 0.275}), limits=limits, to_target=True))[0] == -25


def test_where_truncation_would_leave_it_outside_its_band_one_lot_more_is_taken() -> None:
    """The edge of 9,500 is no whole number of lots of 150 away from 8,850: 4.3."""
    book = book_of({"SOLUSDT": 59.0})
    bands = Bands(tolerance=0.05, landing=1.0)
    assert lots(planned(book, Targets(weights={"SOLUSDT": 1.0}), bands=bands)) == {0: 5}


def test_the_equity_that_would_cure_drift_does_cure_it() -> None:
    """The same portfolio, three times as large."""
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}, leverage=1.0)
    small = planned(book_of({"BTCUSDT": 0.001, "ETHUSDT": 0.033}, equity=200.0), targets)
    assert small.legs == ()
    assert "with 600 USDT equity" in small.skips[0].reason
    large = planned(book_of({"BTCUSDT": 0.003, "ETHUSDT": 0.099}, equity=600.0), targets)
    assert lots(large) == {0: 2}


def test_without_any_drift_no_equity_would_help() -> None:
    drift = measured(book_of({"BTCUSDT": 0.1}, equity=6_000.0), Targets(weights={"BTCUSDT": 1.0}))
    assert "with inf USDT" in unreachable(instrument(), 60_000.0, drift, 0)


def test_an_order_is_one_lot_at_least_whatever_the_venue_says() -> None:
    assert smallest_lots(instrument(min_lots=0, min_notional=0.0), 60_000.0) == 1


def test_the_smallest_orders_of_a_grid_are_those_of_adding_and_of_reducing() -> None:
    book = book_of({"BTCUSDT": 0.01, "ETHUSDT": 1.0})
    drift = measured(book, Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}))
    guide = Guide(penalty=np.eye(2), prices=[0.0, 0.0], least=[0.0, 0.0])
    one_way = grid_of(book.rows[0], drift, 0, guide, hedge=False)
    assert one_way.lot == pytest.approx(0.006)
    assert one_way.held == 10
    assert (one_way.smallest, one_way.smallest_less) == (2, 1)
    both_ways = grid_of(book.rows[0], drift, 0, guide, hedge=True)
    assert (both_ways.smallest, both_ways.smallest_less) == (2, 2)


def test_a_leg_is_valued_at_mark_whichever_way_it_goes() -> None:
    row = book_of({"BTCUSDT": 0.1}).rows[0]
    leg = leg_of(row, 0, Side.NET, -7, Costs(), reduce=True, maker=False)
    assert (leg.instrument, leg.side, leg.lots, leg.reduce, leg.cost) == (0, Side.NET, -7, True, None)
    assert leg.notional == pytest.approx(420.0)


# Flips and hedge mode


@pytest.mark.parametrize(
    ("held", "change", "expected"),
    [(100, -150, (-100, True)), (100, -50, (-50, True)), (100, 50, (50, False)), (-100, 150, (100, True))],
)
def test_one_way_a_position_is_closed_before_the_opposite_one_is_opened(
    held: int, change: int, expected: tuple[int, bool]
) -> None:
    row = book_of({"BTCUSDT": held / 1000}).rows[0]
    assert next_row(row, change, hedge=False) == (Side.NET, *expected)


# Margin tiers


@pytest.mark.parametrize("held", [{"BTCUSDT": 0.833, "ETHUSDT": -16.666}, {"BTCUSDT": 0.832, "ETHUSDT": -16.661}])
def test_where_the_tiers_allow_no_order_more_that_is_said(held: dict[str, float]) -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.5}, leverage=2.0)
    todo = planned(at_leverage(book_of(held, equity=1e5), 101), targets, to_target=True)
    assert todo.legs == ()
    assert [skip.reason for skip in todo.skips] == [
        f"drift {drift} is outside the band, but the venue's margin tiers allow less than 50,000 at the leverage "
        "setting of 101x"
        for drift in ("-25.0%", "+25.0%")
    ]


def test_where_no_tier_allows_the_leverage_setting_nothing_is_opened_and_that_is_said() -> None:
    todo = planned(at_leverage(book_of({"BTCUSDT": 0.0}), 126), Targets(weights={"BTCUSDT": -1.0}), to_target=True)
    assert todo.legs == ()
    assert [skip.reason for skip in todo.skips] == [
        "drift +100.0% is outside the band, but the venue's margin tiers allow less than 0 at the leverage setting of "
        "126x"
    ]


def test_a_position_row_takes_what_room_its_tiers_leave() -> None:
    book = at_leverage(book_of({"BTCUSDT": 0.8}), 101)
    assert within_tier(book.rows[0], Side.NET, 20) == 20
    assert within_tier(book.rows[0], Side.NET, 50) == 33
    short = at_leverage(book_of({"BTCUSDT": -0.8}), 101)
    assert within_tier(short.rows[0], Side.NET, -50) == -33
    beyond = at_leverage(book_of({"BTCUSDT": 0.9}), 101)
    assert within_tier(beyond.rows[0], Side.NET, 50) == 0
    unknown = book_of({"BTCUSDT": 0.8})
    unknown.rows[0].tiers = ()
    assert within_tier(unknown.rows[0], Side.NET, 10_000) == 10_000
    rows = at_leverage(hedged(800, 0), 101)
    assert within_tier(rows.rows[0], Side.SHORT, -5_000) == -833, "the other row is not in its way"
    rows.rows[0].holdings.clear()
    assert within_tier(rows.rows[0], Side.LONG, 5_000) == 833


def test_what_a_destination_wants_beyond_the_tiers_is_cut_by_the_plan_as_well() -> None:
    """A destination that was found before the setting was raised."""
    targets = Targets(weights={"BTCUSDT": 1.0}, leverage=6.0)
    book = at_leverage(book_of({"BTCUSDT": 0.8}), 101)
    to = Destination(goals=[6.0], lots=[1000])
    todo = plan(book, measured(book, targets), Limits(), Costs(), to, maker=False)
    assert lots(todo) == {0: 33}
    full = at_leverage(book_of({"BTCUSDT": 0.833}), 101)
    drift = measured(full, targets)
    todo = plan(full, drift, Limits(), Costs(), to, maker=False)
    assert todo.legs == ()
    assert todo.skips == (Skip(0, beyond_tier(full.rows[0], drift, 0)),)


def test_a_row_that_is_cut_though_its_net_is_not_says_the_tiers() -> None:
    """In hedge mode a long row may be full while the short one keeps the net below the target."""
    book = at_leverage(hedged(833, -833), 101)
    drift = measured(book, Targets(weights={"BTCUSDT": 1.0}, leverage=1.0))
    assert why_not(book.rows[0], drift, 0, 167, 0) == (
        "drift -100.0% is outside the band, but the venue's margin tiers allow less than 50,000 at the leverage "
        "setting of 101x"
    )


# Relief


def relieved_of(
    book: Book,
    targets: Targets = SHARES,
    under_way: Mapping[tuple[int, Side], int] | None = None,
    start: Sequence[int] | None = None,
    **limits: Any,
) -> Plan:
    begun = [row.lots for row in book.rows] if start is None else start
    return relieved(book, measured(book, targets), Limits(**limits), Costs(), begun, under_way or {})


# Whatever the portfolio


class Situation(NamedTuple):
    """A portfolio and all that a plan is made by."""

    book: Book
    targets: Targets
    bands: Bands
    limits: Limits
    where: dict[str, Any]
    """As for `destination`, the guide left out."""
    guide: str
    maker: bool

    def planned(self) -> tuple[Drift, Destination, Plan]:
        drift = measured(self.book, self.targets, self.bands)
        if self.guide == "aware":
            penalty = penalty_of(prior_of(["BTC", "ETH", "SOL"]), 0.7)
            guide = Guide(penalty=penalty, prices=[0.03, 0.02, 0.01], least=[0.01] * 3)
        else:
            guide = plain(drift, to_target=self.guide == "target")
        where = {"guide": guide, "part": 0.0 if self.guide == "target" else 0.75, **self.where}
        to = destination(self.book, drift, self.limits, **where)
        fixed = self.where.get("fixed")
        return drift, to, plan(self.book, drift, self.limits, Costs(), to, maker=self.maker, fixed=fixed)

    def lot(self, index: int) -> float:
        """The weight of one lot."""
        equity = self.book.equity
        assert equity is not None
        return (0.06, 0.003, 0.15)[index] * 1_000 / equity

    def after(self, legs: Sequence[Leg]) -> list[float]:
        """The weights when these legs have traded."""
        more = {leg.instrument: leg.lots for leg in legs}
        return [(row.lots + more.get(i, 0)) * self.lot(i) for i, row in enumerate(self.book.rows)]


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    parts = draw(st.tuples(*[st.integers(-10, 10)] * 3).filter(any))
    gross = sum(abs(part) for part in parts)
    weights: dict[str, Any] = {s: part / gross for s, part in zip(SYMBOLS, parts, strict=True)}
    if draw(st.booleans()) and gross > abs(parts[2]):
        weights = {s: part / (gross - abs(parts[2])) for s, part in zip(SYMBOLS[:2], parts, strict=False)}
        weights["SOLUSDT"] = "hold"
    mode: Literal["constant", "cap", "off"] = draw(st.sampled_from(["constant", "cap", "off"]))
    leverage = draw(st.sampled_from([0.0, 0.5, 1.0, 3.0, 5.0, 9.0]))
    targets = Targets(weights=weights, leverage=leverage, leverage_mode=mode)
    equity = draw(st.sampled_from([150.0, 1_000.0, 10_000.0, 1e6]))
    held = draw(st.tuples(*[st.floats(-4, 4)] * 3))
    positions = {s: w * equity / PRICES[s] for s, w in zip(SYMBOLS, held, strict=True)}
    book = book_of(positions, equity=equity, hedge=draw(st.booleans()))
    at_leverage(book, draw(st.sampled_from([3, 20, 110])))
    bands = Bands(
        tolerance=draw(st.sampled_from([0.01, 0.07, 0.3])),
        relative=draw(st.sampled_from([None, 0.1])),
    )
    limits = Limits(
        leverage=draw(st.sampled_from([1.0, 2.0, 5.0, 20.0])),
        asset_share=draw(st.sampled_from([0.3, 0.6, 1.0])),
        maintenance=draw(st.sampled_from([0.01, 0.02, 0.5])),
        liquidation_distance=draw(st.sampled_from([0.05, 0.11, 0.3])),
        order_notional=draw(st.sampled_from([None, 500.0])),
    )
    where: dict[str, Any] = {
        "budget": draw(st.sampled_from([None, 0.0, 0.5])),
        "groups": draw(st.sampled_from([(), ((0, 1),), ((0, 2),)])),
        "fixed": draw(st.sampled_from([None, None, {0: 0.5}, {1: -1.0, 2: 0.0}])),
    }
    guide = draw(st.sampled_from(["edge", "target", "aware"]))
    return Situation(book, targets, bands, limits, where, guide, draw(st.booleans()))


def maintained(notional: float) -> float:
    """Maintenance margin of an absolute notional, bracket by bracket: each part of it at the rate of its own."""
    rates = {50_000.0: 0.004, 600_000.0: 0.005, float("inf"): 0.0065}
    total, floor = 0.0, 0.0
    for cap, rate in rates.items():
        total += max(0.0, min(notional, cap) - floor) * rate
        floor = cap
    return total


def takes(weights: Sequence[float], equity: float, situation: Situation) -> dict[str, tuple[float, float]]:
    """What a portfolio takes of every limit, and the most that an increase may lead to."""
    limits = situation.limits
    setting = situation.book.rows[0].leverage
    assert setting is not None
    floor = EXIT * limits.liquidation_distance
    shocked = sum(
        floor * abs(w) + maintained(abs(w) * (1 - floor if w > 0 else 1 + floor) * equity) / equity for w in weights
    )
    gross = sum(map(abs, weights))
    return {
        "leverage": (gross, limits.leverage),
        "initial margin": (gross / setting, 1.0),
        "maintenance margin": (sum(maintained(abs(w) * equity) for w in weights) / equity, limits.maintenance / EXIT),
        "liquidation distance": (shocked, 1.0),
    }


def added(before: Sequence[float], after: Sequence[float]) -> float:
    """What lies beyond ``before`` away from nothing, or on the other side of it."""
    return sum(max(0.0, abs(b) - abs(a)) if a * b >= 0 else abs(b) for a, b in zip(before, after, strict=True))


@given(situations())
def test_a_destination_never_exceeds_a_limit_that_the_start_obeys_nor_any_more_than_the_start_does(
    situation: Situation,
) -> None:
    drift, to, _ = situation.planned()
    weights = [n * situation.lot(i) for i, n in enumerate(to.lots)]
    for led in (to.goals, weights):
        after = takes(led, drift.equity, situation)
        for name, (before, most) in takes(drift.weights, drift.equity, situation).items():
            assert after[name][0] <= max(most, before) * (1 + 1e-6), name
    budget = situation.where["budget"]
    if budget is not None:
        assert added(drift.weights, to.goals) <= budget + 1e-6
        assert added(drift.weights, weights) <= budget + 1e-6
    share = situation.limits.asset_share * drift.gross_target
    for i, (before, goal, weight) in enumerate(zip(drift.weights, to.goals, weights, strict=True)):
        assert abs(goal) <= max(share, abs(before)) + 1e-6
        smallest = grid_of(situation.book.rows[i], drift, i, plain(drift, to_target=True), hedge=False).smallest
        if not any(i in group for group in situation.where["groups"]):  # of those the coarsest lots decide
            assert abs(weight) <= max(share, abs(before)) + smallest * situation.lot(i)


@given(situations())
def test_what_is_on_hold_or_not_meant_stays_exactly_as_it_is(situation: Situation) -> None:
    drift, to, todo = situation.planned()
    fixed = situation.where["fixed"]
    for i, target in enumerate(drift.targets):
        if target is None or (fixed is not None and i not in fixed):
            assert to.goals[i] == drift.weights[i]
            assert to.lots[i] == situation.book.rows[i].lots
            assert i not in lots(todo)
            assert all(skip.instrument != i for skip in todo.skips)


@given(situations())
def test_a_hedge_group_moves_in_proportion_or_not_at_all(situation: Situation) -> None:
    drift, to, _ = situation.planned()
    if situation.where["fixed"] is not None:
        return
    for group in situation.where["groups"]:
        aims = [drift.aims[i] for i in group]
        goals, held = [to.goals[i] for i in group], [drift.weights[i] for i in group]
        if goals == held:
            assert [to.lots[i] for i in group] == [situation.book.rows[i].lots for i in group]
        else:
            assert None not in aims
            shape = aims if any(aims) else held
            assert goals[0] * (shape[1] or 0.0) == pytest.approx(goals[1] * (shape[0] or 0.0), abs=1e-9)
            assert sum(goal * (part or 0.0) for goal, part in zip(goals, shape, strict=True)) >= 0.0, (
                "never turned round"
            )


@given(situations())
def test_a_leg_leads_to_its_destination_and_never_beyond_it_nor_across_nothing(situation: Situation) -> None:
    _, to, todo = situation.planned()
    for leg in todo.legs:
        row = situation.book.rows[leg.instrument]
        wanted = to.lots[leg.instrument] - row.lots
        assert 0 < leg.lots / wanted <= 1
        held = row.holdings[leg.side].lots if leg.side in row.holdings else 0
        assert (held + leg.lots) * held >= 0, "a leg ends on the side where it began, or at nothing"
        assert leg.reduce == (abs(held + leg.lots) < abs(held))
        assert leg.notional == pytest.approx(
            abs(leg.lots) * situation.lot(leg.instrument) * (situation.book.equity or 0)
        )
        if situation.limits.order_notional is not None:
            assert leg.notional <= situation.limits.order_notional + 1e-6
        if not leg.reduce:
            assert abs(held + leg.lots) * (60, 3, 150)[leg.instrument] < {3: 3e6, 20: 3e6, 110: 5e4}[row.leverage or 0]


@given(situations())
def test_reductions_come_first_and_whatever_is_carried_out_of_them_adds_nothing(situation: Situation) -> None:
    drift, _, todo = situation.planned()
    reductions = [leg for leg in todo.legs if leg.reduce]
    assert list(todo.legs[: len(reductions)]) == reductions
    for part in chain.from_iterable(combinations(reductions, size) for size in range(len(reductions) + 1)):
        assert added(drift.weights, situation.after(part)) < 1e-12
    for legs in (reductions, todo.legs[len(reductions) :]):
        assert [leg.notional for leg in legs] == sorted((leg.notional for leg in legs), reverse=True)


@given(situations())
def test_plans_carried_out_one_after_another_come_to_rest_and_what_stays_outside_was_said(
    situation: Situation,
) -> None:
    """Reductions first, in whole orders, as a correction does; a budget that is spent would say so for ever."""
    limits = Limits(
        leverage=situation.limits.leverage,
        asset_share=situation.limits.asset_share,
        maintenance=situation.limits.maintenance,
        liquidation_distance=situation.limits.liquidation_distance,
    )
    targets = Targets(weights=situation.targets.weights, leverage=situation.targets.leverage)
    situation = situation._replace(limits=limits, targets=targets, where={**situation.where, "budget": None})
    for _ in range(20):
        drift, _, todo = situation.planned()
        if not todo.legs:
            break
        reducing = todo.legs[0].reduce
        for leg in todo.legs:
            if leg.reduce == reducing:
                row = situation.book.rows[leg.instrument]
                held = leg.lots + (row.holdings[leg.side].lots if leg.side in row.holdings else 0)
                entry = PRICES[row.symbol] if held else None
                situation.book.apply(Position(leg.instrument, leg.side, held, entry, START), START)
    else:
        pytest.fail(f"still planning: {todo}")
    said = [skip.instrument for skip in todo.skips]
    fixed = situation.where["fixed"]
    for i, away in enumerate(drift.drifts):
        if fixed is None or i in fixed:
            assert (abs(away) > drift.bands[i]) == (i in said), "outside of its band, and nothing was said"


# Many instruments


def many(count: int, *, spread: float) -> tuple[Book, Targets]:
    """A long and short portfolio at three times equity, each up to ``spread`` of its target away from it."""
    dice = np.random.default_rng(7)
    symbols = [f"C{i:03}USDT" for i in range(count)]
    prices = dict(zip(symbols, np.exp(dice.uniform(0, 10, count)).tolist(), strict=True))
    parts = dice.uniform(0.5, 1.5, count) * np.where(dice.random(count) < 0.7, 1, -1)
    shares = dict(zip(symbols, (parts / np.abs(parts).sum()).tolist(), strict=True))
    off = dice.uniform(-spread, spread, count).tolist()
    dust = {"min_notional": 5.0, "max_lots": 10**12, "max_market_lots": 10**12}
    listed = [instrument(i, s, **dust) for i, s in enumerate(symbols)]
    sizes = {s: shares[s] * 3e6 / prices[s] * (1 + away) for s, away in zip(symbols, off, strict=True)}
    book = book_of(sizes, equity=1e6, prices=prices, instruments=listed)
    return book, Targets(weights=dict(shares), leverage=3.0)


def test_two_hundred_instruments_are_led_to_their_targets_within_half_a_lot() -> None:
    book, targets = many(200, spread=0.5)
    bands = Bands(tolerance=0.001)
    drift = measured(book, targets, bands)
    todo = planned(book, targets, bands=bands, to_target=True, limits=Limits(leverage=4.0))
    legs = lots(todo)
    assert len(legs) > 150
    for i, (row, target) in enumerate(zip(book.rows, drift.targets, strict=True)):
        assert row.instrument is not None
        assert row.mark is not None
        assert target is not None
        lot = row.instrument.notional(1, row.mark.price) / drift.equity
        left = abs((row.lots + legs.get(i, 0)) * lot - target)
        assert left <= max(0.51 * lot, 5 / drift.equity, WORTH * bands.tolerance * 3.0) + 1e-9


def test_two_hundred_instruments_obey_a_limit_of_all_together_and_those_inside_their_bands_may_stay() -> None:
    book, targets = many(200, spread=0.5)
    bands = Bands(tolerance=0.001)
    drift = measured(book, targets, bands)
    todo = planned(book, targets, bands=bands, limits=Limits(leverage=2.5))
    gross = 0.0
    for row, more in zip(book.rows, (lots(todo).get(i, 0) for i in range(200)), strict=True):
        assert row.instrument is not None
        assert row.mark is not None
        gross += abs(row.instrument.notional(row.lots + more, row.mark.price)) / drift.equity
    assert gross == pytest.approx(2.5, abs=1e-6)
    free = lots(planned(book, targets, bands=bands, limits=Limits(leverage=4.0)))
    outside, beyond = (
        {i for i, away in enumerate(drift.drifts) if abs(away) > part * bands.tolerance} for part in (1, bands.landing)
    )
    assert 20 < len(outside) < len(beyond) < 180
    assert outside <= set(free) <= beyond
