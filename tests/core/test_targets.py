"""What is wanted: shares, strategies, baskets, and leverage, in one signed weight for each instrument."""

from __future__ import annotations

from math import prod
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
    weights={"BTC": 0.5, "ETH": 0.5},
    leverage=2.0,
    strategies={
        "trend": Strategy(capital=0.6, leverage=4.0, weights={"BTC": 0.5, "ETH": 0.25, "SOL": 0.25}),
        "pairs": Strategy(capital=0.3, weights={"ETH": -0.5, "SOL": 0.5}),
    },
)


# One strategy


def test_fifty_thirty_twenty_at_three_times_leverage_is_one_and_a_half_and_so_on() -> None:
    assert wishes_of(MISSION) == pytest.approx([1.5, 0.9, 0.6])


def test_shorts_are_negative_weights() -> None:
    assert wishes_of(Targets(weights={"BTC": 0.5, "ETH": -0.5}, leverage=2.0)) == [1.0, -1.0]


def test_what_is_on_hold_is_named_and_has_no_wish() -> None:
    targets = Targets(weights={"BTC": 1.0, "ETH": "hold"}, leverage=2.0)
    assert wishes_of(targets) == [2.0, None]
    assert targets.symbols == ["BTC", "ETH"]
    assert targets.held == ["ETH"]


def test_an_unknown_key_in_the_targets_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"weights": {"BTC": 1.0}, "levarage": 3}', type=Targets)


# Leverage


@pytest.mark.parametrize(("leverage_now", "part"), [(2.0, 2 / 3), (3.0, 1.0), (4.0, 1.0), (0.0, 0.0)])
def test_a_leverage_cap_is_only_ever_come_down_to(leverage_now: float, part: float) -> None:
    assert following(replace(MISSION, leverage_mode="cap"), 3.0, leverage_now) == pytest.approx(part)


@pytest.mark.parametrize("leverage_now", [0.0, 2.0, 4.0])
def test_with_leverage_off_the_shares_follow_whatever_leverage_there_is(leverage_now: float) -> None:
    assert following(replace(MISSION, leverage_mode="off"), 3.0, leverage_now) == pytest.approx(leverage_now / 3)


@pytest.mark.parametrize("mode", ["constant", "cap", "off"])
def test_constant_leverage_does_not_follow_and_neither_does_a_wish_for_nothing(mode: Any) -> None:
    assert following(MISSION, 3.0, 1.0) == 1.0
    assert following(replace(MISSION, leverage_mode=mode), 0.0, 1.0) == 1.0


# Strategies


def test_what_is_held_is_the_sum_of_what_the_strategies_want() -> None:
    """0.6 at 4x is 2.4: 1.2, 0.6, 0.6; 0.3 at the portfolio's 2x is 0.6: -0.3, 0.3."""
    matrix = matrix_of(TWO, ["BTC", "ETH", "SOL"], [None] * 3)
    assert matrix is not None
    assert matrix[0] == pytest.approx([1.2, 0.6, 0.6])
    assert matrix[1] == pytest.approx([0.0, -0.3, 0.3])
    assert wishes_of(TWO) == pytest.approx([1.2, 0.3, 0.9])
    assert TWO.capital == [0.6, 0.3], "a tenth stays in cash"


def test_a_strategy_without_weights_or_leverage_of_its_own_has_those_of_the_portfolio() -> None:
    plain = replace(TWO, strategies={"core": Strategy(capital=0.5)})
    assert wishes_of(plain) == pytest.approx([0.5, 0.5])
    assert plain.leverages() == [2.0]


def test_a_leverage_of_nothing_is_one_of_its_own() -> None:
    assert replace(TWO, strategies={"idle": Strategy(capital=1.0, leverage=0.0)}).leverages() == [0.0]


def test_opposite_wishes_are_never_traded() -> None:
    assert netted(compose([0.5, 0.5], [2.0, 2.0], [[1.0], [-1.0]])) == [0.0]


def test_capital_that_health_has_changed_is_composed_with() -> None:
    assert wishes_of(TWO, capital=[0.3, 0.3]) == pytest.approx([0.6, 0.0, 0.6])


def test_symbols_come_in_the_order_of_the_file_each_once() -> None:
    assert TWO.symbols == ["BTC", "ETH", "SOL"]
    assert replace(TWO, weights={"XRP": "hold", "SOL": 1.0}).symbols == ["XRP", "SOL", "BTC", "ETH"]


def test_what_is_on_hold_stays_so_whatever_a_strategy_wants() -> None:
    assert wishes_of(replace(TWO, weights={"ETH": "hold", "BTC": 1.0})) == [
        None,
        pytest.approx(1.2),
        pytest.approx(0.9),
    ]


def test_without_strategies_there_is_one_with_all_of_the_capital() -> None:
    assert MISSION.capital == [1.0]
    assert MISSION.leverages() == [3.0]
    assert MISSION.compositions(["SOL", "XRP", "BTC", "ETH"]) == [[0.2, 0.0, 0.5, 0.3]]


# Baskets


BASKETS = Targets(
    weights={"majors": 0.8, "SOL": 0.1, "spread": -0.1},
    leverage=2.0,
    baskets={"majors": {"BTC": 0.75, "ETH": 0.25}, "spread": {"SOL": 0.5, "XRP": -0.5}},
)


def test_the_share_of_a_basket_is_divided_and_adds_to_what_is_wanted_beside_it() -> None:
    assert BASKETS.symbols == ["BTC", "ETH", "SOL", "XRP"]
    assert wishes_of(BASKETS) == pytest.approx([1.2, 0.4, 0.1, 0.1])


def test_strategies_may_want_baskets() -> None:
    targets = replace(
        BASKETS, weights={}, strategies={"one": Strategy(capital=1.0, leverage=1.0, weights={"majors": -1.0})}
    )
    assert targets.symbols == ["BTC", "ETH"]
    assert wishes_of(targets) == pytest.approx([-0.75, -0.25])


# Margin


def test_shares_of_margin_become_weights_by_the_leverage_settings() -> None:
    targets = Targets(weights={"BTC": 0.6, "ETH": -0.4}, basis="margin", utilisation=0.25)
    assert wishes_of(targets, [10, 4]) == pytest.approx([1.5, -0.4])
    assert wishes_of(targets, [10, None]) is None
    assert matrix_of(targets, ["BTC", "ETH"], [10, None]) is None
    assert from_margin_shares([1.0, 0.0], [5, None], 0.2) == [1.0, 0.0], "what has no share needs no setting"


def test_what_is_on_hold_needs_no_setting_and_without_a_utilisation_no_margin_is_used() -> None:
    targets = Targets(weights={"BTC": 1.0, "ETH": "hold"}, basis="margin", utilisation=0.25)
    assert wishes_of(targets) is None, "nothing is known of settings"
    assert wishes_of(targets, [10, None]) == [2.5, None]
    assert wishes_of(replace(targets, utilisation=None), [10, None]) == [0.0, None]


@pytest.mark.parametrize("case", vectors("weights", "margin_share_to_weight"))
def test_margin_shares_are_as_in_the_vectors(case: Any) -> None:
    given_ = case["input"]
    targets = Targets(
        weights={f"C{i}": share for i, share in enumerate(given_["margin_share"])},
        basis="margin",
        utilisation=given_["utilisation"],
    )
    wishes = wishes_of(targets, given_["leverage"])
    assert wishes == pytest.approx(case["expected"]["weight"])
    assert wishes is not None
    assert gross(wish or 0.0 for wish in wishes) == pytest.approx(case["expected"]["gross"])


# The matrix


@pytest.mark.parametrize("case", vectors("sleeves", "compose"))
def test_composition_is_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    matrix = compose(given_["capital_share"], given_["leverage"], given_["composition"])
    for row, expected in zip(matrix, want["matrix"], strict=True):
        assert row == pytest.approx(expected)
    assert netted(matrix) == pytest.approx(want["net_weight"])
    assert sum(map(gross, matrix)) == pytest.approx(want["gross_before_netting"])
    assert gross(netted(matrix)) == pytest.approx(want["gross_after_netting"])


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.lists(st.floats(0, 5), min_size=3, max_size=3),
    st.lists(st.lists(st.floats(-1, 1), min_size=4, max_size=4), min_size=3, max_size=3),
)
def test_netting_never_adds_to_what_is_held(
    capital: list[float], leverages: list[float], compositions: list[list[float]]
) -> None:
    matrix = compose(capital, leverages, compositions)
    assert gross(netted(matrix)) <= sum(map(gross, matrix)) + 1e-9
    for row, share, leverage, parts in zip(matrix, capital, leverages, compositions, strict=True):
        assert gross(row) == pytest.approx(share * leverage * gross(parts))


# Fitting


@pytest.mark.parametrize("case", vectors("sleeves", "ipf"))
def test_fitting_is_as_in_the_vectors(case: Any) -> None:
    given_ = case["input"]
    for row, want in zip(
        fitted(given_["prior"], given_["row"], given_["col"]), case["expected"]["matrix"], strict=True
    ):
        assert row == pytest.approx(want, abs=1e-9)


def test_from_nothing_but_sums_it_is_their_product() -> None:
    matrix = fitted([[1.0] * 3] * 2, [2.0, 1.0], [1.5, 0.9, 0.6])
    assert matrix[0] == pytest.approx([1.0, 0.6, 0.4])
    assert matrix[1] == pytest.approx([0.5, 0.3, 0.2])


def test_what_the_prior_rules_out_stays_out() -> None:
    matrix = fitted([[0.0, 1.0], [1.0, 1.0]], [1.0, 2.0], [1.5, 1.5])
    assert matrix[0] == pytest.approx([0.0, 1.0])
    assert matrix[1] == pytest.approx([1.5, 0.5])
    assert fitted([[0.0, 0.0], [1.0, 1.0]], [0.0, 2.0], [1.0, 1.0])[0] == [0.0, 0.0]


@given(
    st.lists(st.lists(st.floats(0.2, 5), min_size=3, max_size=3), min_size=2, max_size=2),
    st.lists(st.floats(0.1, 3), min_size=2, max_size=2),
    st.lists(st.floats(0.1, 3), min_size=3, max_size=3),
)
def test_it_has_the_sums_and_keeps_the_odds_ratios(
    prior: list[list[float]], rows: list[float], columns: list[float]
) -> None:
    columns = [column * sum(rows) / sum(columns) for column in columns]
    matrix = fitted(prior, rows, columns)
    assert [sum(row) for row in matrix] == pytest.approx(rows, rel=1e-6)
    assert netted(matrix) == pytest.approx(columns, rel=1e-6)
    for one, two in ((0, 1), (1, 2)):
        assert prod([matrix[0][one], matrix[1][two]]) / prod([matrix[0][two], matrix[1][one]]) == pytest.approx(
            prior[0][one] * prior[1][two] / (prior[0][two] * prior[1][one]), rel=1e-6
        )


def test_sums_that_no_matrix_can_have_come_to_an_end_as_well() -> None:
    fit = fitted([[1.0, 0.0], [0.0, 1.0]], [1.0, 2.0], [2.0, 1.0])
    assert netted(fit) == [2.0, 1.0], "the columns come last, and the rows can't be had"


def test_an_instrument_that_nobody_wants_stays_at_nothing() -> None:
    fit = fitted([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0]], [1.0, 1.0], [1.2, 0.8, 0.0])
    assert [row[2] for row in fit] == [0.0, 0.0]
    assert netted(fit) == pytest.approx([1.2, 0.8, 0.0])
