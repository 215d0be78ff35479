from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.covariance import DAY_NS, FLOOR, GRID_NS, YEAR_NS, Covariance, prior_of
from tests.core.kit import START, S, vectors


def test_the_prior_knows_the_large_coins_and_that_all_coins_move_together() -> None:
    prior = prior_of(["BTC", "ETH", "SOL", "BTC"])
    assert [sqrt(prior[i][i]) for i in range(4)] == pytest.approx([0.6, 0.8, 1.0, 0.6])
    assert prior[0][1] == prior[1][0] == pytest.approx(0.75 * 0.6 * 0.8)
    assert prior[0][3] == pytest.approx(0.99 * 0.36)


def test_prices_are_sampled_on_a_grid_and_the_first_is_only_a_beginning() -> None:
    covariance = Covariance(prior_of(["BTC"]))
    covariance.observe([100.0], START + 7 * S)
    assert (covariance.taken, covariance.due_at) == (0, START + GRID_NS)
    covariance.observe([1.0], START + GRID_NS - 1)
    assert covariance.taken == 0
    covariance.observe([101.0], START + GRID_NS + 3 * S)
    assert (covariance.taken, covariance.due_at) == (1, START + 2 * GRID_NS)


def test_the_prior_stands_until_a_day_of_weight_has_come_together() -> None:
    covariance = Covariance(prior_of(["BTC", "ETH"]))
    at = START
    while not covariance.warm:
        assert covariance.matrix is covariance.prior
        covariance.observe([100.0, 10.0], at)
        at += GRID_NS
    assert 0.5 * DAY_NS < at - START < 0.6 * DAY_NS
    assert covariance.matrix[0][0] < covariance.prior[0][0]


def test_a_gap_in_the_prices_counts_as_one_long_observation() -> None:
    covariance = Covariance(np.array([[0.36]]), half_life_ns=10**30)
    covariance.observe([100.0], START)
    covariance.observe([110.0], START + 10 * DAY_NS)
    (((variance,),)) = covariance.estimate()
    move = 0.09531017980432493
    assert variance == pytest.approx((0.36 * 0.5 / 365 + move * move) / (10.5 / 365))


def test_still_prices_decay_to_the_floor_and_never_below() -> None:
    covariance = Covariance(prior_of(["BTC", "ETH"]))
    for day in range(400):
        covariance.observe([100.0, 10.0], START + day * DAY_NS)
    matrix = covariance.matrix
    assert matrix[0][0] == matrix[1][1] == FLOOR * FLOOR
    assert abs(matrix[0][1]) < 0.04


@given(st.lists(st.tuples(st.floats(50, 200), st.floats(50, 200)), min_size=2, max_size=30))
def test_an_estimate_is_symmetric_and_a_covariance(path: list[tuple[float, float]]) -> None:
    covariance = Covariance(prior_of(["BTC", "ETH"]))
    for step, prices in enumerate(path):
        covariance.observe(prices, START + step * GRID_NS)
    (a, b), (c, d) = covariance.estimate()
    assert b == pytest.approx(c)
    assert b * c <= a * d * (1 + 1e-9)
    assert min(a, d) >= FLOOR * FLOOR


@pytest.mark.parametrize("case", vectors("ewma", "ewma_var"))
def test_published_variances(case: dict[str, Any]) -> None:
    given_, expected = case["input"], case["expected"]
    covariance = seasoned([[given_["var0"]]], given_)
    for (r, years), variance in zip(given_["obs"], expected["variance"], strict=True):
        covariance.add([r], years)
        assert covariance.estimate()[0][0] == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("case", vectors("ewma", "ewma_var_dead"))
def test_published_decay_of_a_dead_feed(case: dict[str, Any]) -> None:
    given_, expected = case["input"], case["expected"]
    covariance, found = seasoned([[given_["var0"]]], given_), []
    for _ in range(given_["steps"]):
        covariance.add([0.0], given_["dt_seconds"] * S / YEAR_NS)
        found.append(covariance.estimate()[0][0])
    assert [found[0], found[23], found[-1]] == pytest.approx(list(expected.values()), rel=1e-9)


@pytest.mark.parametrize("case", vectors("ewma", "ewma_cov"))
def test_published_covariance(case: dict[str, Any]) -> None:
    given_ = case["input"]
    covariance = seasoned(given_["cov0"], given_)
    for returns in given_["returns"]:
        covariance.add(returns, given_["dt_years"])
    for row, expected in zip(covariance.estimate(), case["expected"]["cov"], strict=True):
        assert row == pytest.approx(expected, rel=1e-9)


def seasoned(prior: list[list[float]], given_: dict[str, Any]) -> Covariance:
    """A covariance with the constants of a published case."""
    return Covariance(
        np.array(prior),
        half_life_ns=given_["halflife_years"] * YEAR_NS,
        floor=sqrt(given_.get("floor", 0.0)),
        prior_ns=given_["w0_years"] * YEAR_NS,
    )
