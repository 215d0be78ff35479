"""The margin of one instrument moved into another."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.pairs import Pair, Shift, shift
from tests.core.kit import vectors


def moved_by(rule: Pair, over: float, into: float, leverage_over: float, leverage_into: float) -> Shift:
    found = shift(over, into, leverage_over, leverage_into, rule)
    assert found is not None
    assert found.share == pytest.approx(over / (over + into))
    assert (found.close > 0) is (found.open > 0) is (rule.reach(over, into) >= 1)
    return found


def pair(target: float, tolerance: float = 0.05, mode: Literal["points", "relative"] = "points") -> Pair:
    return Pair(over="BTCUSDT", into="ETHUSDT", target=target, tolerance=tolerance, mode=mode)


@pytest.mark.parametrize(
    ("margins", "leverages", "rule", "close", "opened"),
    [
        ((700, 300), (10, 10), pair(0.6), 1_000, 1_000),
        ((700, 300), (10, 5), pair(0.6), 1_000, 500),
        ((70, 30), (2, 20), pair(0.5), 40, 400),
        ((560, 440), (10, 10), pair(0.5), 600, 600),
        ((549, 451), (10, 10), pair(0.5), 0, 0),
        ((530, 470), (10, 10), pair(0.5, mode="relative"), 300, 300),
        ((520, 480), (10, 10), pair(0.5, mode="relative"), 0, 0),
        ((300, 700), (10, 10), pair(0.6), 0, 0),
    ],
)
def test_what_is_over_goes_into_the_other_at_the_leverage_of_each(
    margins: tuple[float, float], leverages: tuple[float, float], rule: Pair, close: float, opened: float
) -> None:
    moved = moved_by(rule, *margins, *leverages)
    assert (moved.close, moved.open) == pytest.approx((close, opened))


@pytest.mark.parametrize("target", [step / 20 for step in range(1, 19)])
def test_equality_fires(target: float) -> None:
    over = 1_000 * (target + 0.05)
    assert moved_by(pair(target), over, 1_000 - over, 1, 1).close == pytest.approx(50)
    assert pair(target).reach(over - 1, 1_001 - over) < 1


@pytest.mark.parametrize("case", vectors("triggers", "pair_rule"))
def test_shifts_are_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    rule = pair(given_["target_A"], given_["tol"], given_["mode"])
    margins = given_["margin_A"], given_["margin_B"]
    moved = moved_by(rule, *margins, given_["lev_A"], given_["lev_B"])
    assert (rule.reach(*margins) >= 1) is want["fire"]
    assert moved.share == pytest.approx(want["share"])
    assert (moved.close, moved.open) == pytest.approx((want["close_A"], want["open_B"]))
    if want["fire"]:
        assert moved.close / given_["lev_A"] == pytest.approx(want["dM"])


@given(
    st.floats(1, 1e6),
    st.floats(1, 1e6),
    st.integers(1, 125),
    st.integers(1, 125),
    st.floats(0.05, 0.9),
    st.sampled_from(["points", "relative"]),
)
def test_afterwards_the_share_is_on_target_and_the_margin_of_both_what_it_was(
    over: float, into: float, leverage_over: int, leverage_into: int, target: float, mode: Any
) -> None:
    rule = pair(target, mode=mode)
    moved = moved_by(rule, over, into, leverage_over, leverage_into)
    after = over - moved.close / leverage_over, into + moved.open / leverage_into
    assert sum(after) == pytest.approx(over + into)
    assert rule.reach(*after) < 1
    if moved.close:
        assert after[0] / sum(after) == pytest.approx(target)


def test_two_instruments_without_margin_have_no_share_and_nothing_to_move() -> None:
    assert pair(0.5).reach(0, 0) == 0
    assert shift(0, 0, 10, 10, pair(0.5)) is None
