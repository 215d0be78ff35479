"""What to hold: by asset, by strategy and in leverage, as one signed weight per instrument."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.targets import (
    Strategy,
    Targets,
    compose,
    fitted,
    following,
    from_margin_shares,
    gross,
    matrix_of,
    netted,
    wishes_of,
)
from tests.core.kit import vectors

MISSION = Targets(weights={"BTC": 0.5, "ETH": 0.3, "SOL": 0.2}, leverage=3.0)
TWO = Targets(
    weights={"BTC": 0.75, "ETH": 0.25},
    leverage=2.0,
    strategies={
        "trend": Strategy(capital=0.5, leverage=4.0),
        "spread": Strategy(capital=0.25, weights={"ETH": 0.5, "SOL": -0.5}),
    },
)
"""A strategy with leverage of its own and the portfolio's weights, and one the other way round; a quarter is cash."""


# One portfolio


def test_fifty_thirty_twenty_at_three_times_leverage_is_one_and_a_half_and_so_on() -> None:
    assert wishes_of(MISSION) == pytest.approx([1.5, 0.9, 0.6])


def test_shorts_are_negative_weights() -> None:
    assert wishes_of(Targets(weights={"BTC": 0.5, "ETH": -0.5}, leverage=2.0)) == [1.0, -1.0]


def test_what_is_on_hold_has_no_target_and_counts_among_the_symbols() -> None:
    targets = Targets(weights={"BTC": 1.0, "ETH": "hold"}, leverage=2.0)
    assert wishes_of(targets) == [2.0, None]
    assert (targets.symbols, targets.held) == (["BTC", "ETH"], ["ETH"])


def test_an_unknown_key_in_the_targets_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"weights": {"BTC": 1.0}, "levarage": 3}', type=Targets)


# Baskets


def test_a_basket_is_divided_as_it_says_and_adds_to_what_is_named_besides() -> None:
    targets = Targets(
        weights={"majors": 0.8, "BTC": 0.2},
        baskets={"majors": {"ETH": 0.5, "BTC": 0.5}, "unused": {"SOL": 1.0}},
        leverage=2.0,
    )
    assert targets.symbols == ["ETH", "BTC"], "in the order of the file; an unused basket names nothing"
    assert wishes_of(targets) == pytest.approx([0.8, 1.2])


def test_a_basket_that_is_sold_is_sold_in_each_of_its_parts() -> None:
    targets = Targets(weights={"pair": -1.0}, baskets={"pair": {"BTC": 0.75, "ETH": -0.25}})
    assert wishes_of(targets) == [-0.75, 0.25]


# Strategies


def test_without_strategies_there_is_one_with_all_of_the_capital() -> None:
    assert MISSION.capital == [1.0]
    assert MISSION.leverages() == [3.0]
    assert MISSION.compositions(MISSION.symbols) == [[0.5, 0.3, 0.2]]


def test_a_strategy_has_the_portfolios_leverage_and_weights_where_it_has_none_of_its_own() -> None:
    assert TWO.symbols == ["BTC", "ETH", "SOL"]
    assert TWO.capital == [0.5, 0.25]
    assert TWO.leverages() == [4.0, 2.0]
    assert TWO.compositions(TWO.symbols) == [[0.75, 0.25, 0.0], [0.0, 0.5, -0.5]]


def test_a_leverage_of_nothing_is_one() -> None:
    idle = replace(TWO, strategies={"trend": Strategy(capital=1.0, leverage=0.0)})
    assert idle.leverages() == [0.0]


def test_each_wish_is_capital_times_leverage_times_share_and_opposite_wishes_net_out() -> None:
    matrix = matrix_of(TWO, TWO.symbols, [None] * 3)
    assert matrix == [[1.5, 0.5, 0.0], [0.0, 0.25, -0.25]]
    assert wishes_of(TWO) == [1.5, 0.75, -0.25]
    opposed = compose([0.5, 0.5], [2.0, 2.0], [[1.0], [-1.0]])
    assert netted(opposed) == [0.0]


def test_where_health_has_changed_capital_it_counts_instead_of_the_files() -> None:
    assert wishes_of(TWO, capital=[0.0, 0.5]) == [0.0, 0.5, -0.5]


def test_gross_adds_long_and_short() -> None:
    assert gross([1.5, -0.25, 0.0]) == 1.75
    assert gross([]) == 0.0


@pytest.mark.parametrize("case", vectors("sleeves", "compose"))
def test_composition_agrees_with_the_published_case(case: dict[str, Any]) -> None:
    given_, wanted = case["input"], case["expected"]
    matrix = compose(given_["capital_share"], given_["leverage"], given_["composition"])
    for row, right in zip(matrix, wanted["matrix"], strict=True):
        assert row == pytest.approx(right, rel=1e-9)
    net = netted(matrix)
    assert net == pytest.approx(wanted["net_weight"], rel=1e-9)
    assert gross(net) == pytest.approx(wanted["gross_after_netting"], rel=1e-9)
    assert sum(map(gross, matrix)) == pytest.approx(wanted["gross_before_netting"], rel=1e-9)
    assert [weight / gross(net) for weight in net] == pytest.approx(wanted["asset_share"], rel=1e-9)


# The matrix nearest to a prior


def test_from_nothing_but_sums_each_strategy_gets_the_same_mix() -> None:
    fit = fitted([[1.0, 1.0], [1.0, 1.0]], [3.0, 1.0], [2.0, 2.0])
    assert fit == [pytest.approx([1.5, 1.5]), pytest.approx([0.5, 0.5])]


def test_what_a_strategy_does_not_want_at_all_it_does_not_get() -> None:
    fit = fitted([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]], [1.0, 3.0, 0.0], [2.0, 2.0])
    assert fit == [pytest.approx([1.0, 0.0]), pytest.approx([1.0, 2.0]), [0.0, 0.0]]


def test_an_instrument_that_nobody_wants_stays_at_nothing() -> None:
    fit = fitted([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0]], [1.0, 1.0], [1.2, 0.8, 0.0])
    assert [row[2] for row in fit] == [0.0, 0.0]
    assert netted(fit) == pytest.approx([1.2, 0.8, 0.0])


def test_sums_that_no_matrix_can_have_come_to_an_end_as_well() -> None:
    fit = fitted([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0], [2.0, 1.0])
    assert netted(fit) == [2.0, 1.0], "the columns come last, and the rows can't be had"


PARTS = st.floats(0.1, 10.0)


@given(st.lists(st.lists(PARTS, min_size=3, max_size=3), min_size=2, max_size=3), st.data())
def test_a_fit_has_the_sums_and_keeps_the_odds_of_its_prior(prior: list[list[float]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(PARTS, min_size=len(prior), max_size=len(prior)))
    raw = data.draw(st.lists(PARTS, min_size=3, max_size=3))
    columns = [value * sum(rows) / sum(raw) for value in raw]
    fit = fitted(prior, rows, columns)
    assert [sum(row) for row in fit] == pytest.approx(rows, rel=1e-9)
    assert netted(fit) == pytest.approx(columns, rel=1e-9)
    for one, own in zip(fit, prior, strict=True):
        for j in range(3):
            odds = one[j] * fit[0][0] / (one[0] * fit[0][j])
            assert odds == pytest.approx(own[j] * prior[0][0] / (own[0] * prior[0][j]), rel=1e-6)


@pytest.mark.parametrize("case", vectors("sleeves", "ipf"))
def test_the_fit_agrees_with_the_published_cases(case: dict[str, Any]) -> None:
    fit = fitted(case["input"]["prior"], case["input"]["row"], case["input"]["col"])
    for row, right in zip(fit, case["expected"]["matrix"], strict=True):
        assert row == pytest.approx(right, rel=1e-9)


# Shares of margin


MARGIN = Targets(weights={"BTC": 0.5, "ETH": -0.5, "SOL": "hold"}, basis="margin", utilisation=0.2)


def test_a_share_of_margin_weighs_as_much_as_its_leverage_setting_makes_of_it() -> None:
    assert wishes_of(MARGIN, [20, 5, 10]) == pytest.approx([2.0, -0.5, None])


def test_while_a_leverage_setting_is_not_known_nothing_is_wanted_yet() -> None:
    assert wishes_of(MARGIN, [20, None, 10]) is None
    assert wishes_of(MARGIN) is None
    assert matrix_of(MARGIN, MARGIN.symbols, [None, 5, 10]) is None


def test_a_setting_that_no_share_needs_may_be_unknown() -> None:
    assert wishes_of(MARGIN, [20, 5, None]) == pytest.approx([2.0, -0.5, None])
    assert from_margin_shares([1.0, 0.0], [3, None], 0.5) == [1.5, 0.0]


def test_without_a_utilisation_no_margin_is_used() -> None:
    assert wishes_of(replace(MARGIN, utilisation=None), [20, 5, 10]) == [0.0, 0.0, None]


@pytest.mark.parametrize("case", vectors("weights", "margin_share_to_weight"))
def test_weights_from_margin_agree_with_the_published_case(case: dict[str, Any]) -> None:
    asked, wanted = case["input"], case["expected"]
    weights = from_margin_shares(asked["margin_share"], asked["leverage"], asked["utilisation"])
    assert weights is not None
    assert weights == pytest.approx(wanted["weight"], rel=1e-9)
    assert gross(weights) == pytest.approx(wanted["gross"], rel=1e-9)
    assert [weight / gross(weights) for weight in weights] == pytest.approx(wanted["share_gross"], rel=1e-9)


# Leverage modes


@pytest.mark.parametrize("now", [0.0, 2.0, 4.0])
def test_a_constant_leverage_is_wanted_whatever_there_is(now: float) -> None:
    assert following(MISSION, 3.0, now) == 1.0


@pytest.mark.parametrize(("now", "part"), [(0.0, 0.0), (1.5, 0.5), (3.0, 1.0), (4.0, 1.0)])
def test_a_leverage_cap_is_only_ever_come_down_to(now: float, part: float) -> None:
    assert following(replace(MISSION, leverage_mode="cap"), 3.0, now) == part


@pytest.mark.parametrize(("now", "part"), [(0.0, 0.0), (1.5, 0.5), (4.5, 1.5)])
def test_with_leverage_off_the_shares_follow_whatever_leverage_there_is(now: float, part: float) -> None:
    assert following(replace(MISSION, leverage_mode="off"), 3.0, now) == part


@pytest.mark.parametrize("mode", ["constant", "cap", "off"])
def test_where_nothing_is_wanted_there_is_nothing_to_follow(mode: Any) -> None:
    assert following(replace(MISSION, leverage_mode=mode), 0.0, 2.0) == 1.0
