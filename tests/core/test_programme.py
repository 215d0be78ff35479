"""The planner's programme: by hand, against published cases, and against the Kuhn-Tucker conditions of its answers."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.programme import Bound, Curve, Programme, solve
from tests.core.kit import vectors
from tests.core.kkt import worst_slope
from tests.core.problems import curve, level, most_of, objective, problem

ONE = Curve(long=((1.0, 0.0),), short=((1.0, 0.0),))


def programme(**changes: Any) -> Programme:
    """Two uncorrelated instruments, both a little away from a target of 1: the price of 0.1 is half of the way."""
    fields: dict[str, Any] = {
        "penalty": [[1.0, 0.0], [0.0, 1.0]],
        "center": [1.0, 1.0],
        "held": [1.2, 0.8],
        "prices": [0.1, 0.1],
        "low": [-inf, -inf],
        "high": [inf, inf],
    }
    return Programme(**{**fields, **changes})


def leverage(most: float, size: int = 2) -> Bound:
    return Bound(name="leverage", curves=(ONE,) * size, most=most)


# By hand


def test_without_bounds_each_goes_to_where_risk_and_cost_are_even() -> None:
    assert solve(programme()) == pytest.approx([1.1, 0.9], abs=1e-12)


def test_what_is_not_worth_its_cost_stays_exactly_where_it_is() -> None:
    assert solve(programme(prices=[0.3, 0.1])) == pytest.approx([1.2, 0.9], abs=1e-12)
    assert solve(programme(prices=[0.3, 0.1]))[0] == 1.2


def test_boxes_cut_what_goes_further_and_fetch_what_is_outside() -> None:
    assert solve(programme(low=[-inf, 0.95], high=[1.05, inf])) == pytest.approx([1.05, 0.95], abs=1e-12)
    assert solve(programme(low=[1.15, -inf], high=[inf, 0.85])) == pytest.approx([1.15, 0.85], abs=1e-12)


def test_what_is_never_traded_does_not_move_and_the_other_makes_up_for_it() -> None:
    it = programme(penalty=[[1.0, 0.5], [0.5, 1.0]], low=[1.2, -inf], high=[1.2, inf], prices=[0.0, 0.0])
    assert solve(it) == pytest.approx([1.2, 0.9], abs=1e-12)
    assert solve(it)[0] == 1.2


def test_a_leverage_bound_is_shared_and_met_exactly() -> None:
    """At the price y of leverage a sale goes on to 1.1 - y, a purchase to 0.9 - y; what is held is sold from 0.3 on."""
    assert solve(programme(bounds=(leverage(1.9),))) == pytest.approx([1.05, 0.85], abs=1e-8)
    assert solve(programme(bounds=(leverage(1.7),))) == pytest.approx([0.9, 0.8], abs=1e-8)


def test_a_margin_bound_takes_first_from_the_higher_tier() -> None:
    """Above 1 the first takes ten times as much: it comes to 1.1 - 0.1 y and rests at 1, the other to 0.9 - 0.01 y."""
    steep = Curve(long=((0.01, 0.0), (0.1, 0.09)))
    flat = Curve(long=((0.01, 0.0),))
    it = programme(bounds=(Bound(name="margin", curves=(steep, flat), most=0.0185),))
    assert solve(it) == pytest.approx([1.0, 0.85], abs=1e-8)


def test_longs_and_shorts_have_lines_of_their_own() -> None:
    longs, shorts = Curve(long=((1.0, 0.0),)), Curve(short=((1.0, 0.0),))
    it = programme(held=[-1.2, -0.8], center=[-1.0, -1.0], bounds=(Bound("shorts", (shorts, shorts), 1.9),))
    assert solve(it) == pytest.approx([-1.05, -0.85], abs=1e-8)
    assert solve(replace(it, bounds=(Bound("longs", (longs, longs), 0.1),))) == pytest.approx([-1.1, -0.9], abs=1e-9)


def test_the_turnover_goes_where_it_saves_most() -> None:
    it = programme(held=[1.5, 0.8], turnover=0.2)
    assert solve(it) == pytest.approx([1.3, 0.8], abs=1e-9)


def test_boxes_give_way_to_the_turnover_and_the_turnover_to_the_bounds() -> None:
    box = programme(held=[2.0, 1.0], low=[0.9, 0.9], high=[1.1, 1.1], turnover=0.5)
    assert solve(box) == pytest.approx([1.5, 1.0], abs=1e-8)
    assert solve(replace(box, bounds=(leverage(2.0),))) == pytest.approx([1.0, 1.0], abs=1e-8)
    tight = solve(replace(box, turnover=None, bounds=(leverage(1.5),)))
    assert sum(tight) == pytest.approx(1.5, abs=1e-8)


def test_a_bound_that_cannot_be_met_is_met_as_far_as_possible() -> None:
    frozen = programme(held=[1.2, 0.8], low=[1.2, -inf], high=[1.2, inf], bounds=(leverage(1.0),))
    assert solve(frozen) == pytest.approx([1.2, 0.0], abs=1e-9)


def test_a_hedge_group_moves_as_one_and_keeps_its_proportions() -> None:
    it = programme(center=[1.0, -0.5], held=[2.0, -1.0], groups=((0, 1),))
    scale = 1 + (0.1 + 0.05) / 1.25  # (t - 1)(1 + 0.25) + ... = 0: the slope of the risk is the cost of both legs
    assert solve(it) == pytest.approx([scale, -scale / 2], abs=1e-12)
    w = solve(replace(it, bounds=(leverage(0.9),)))
    assert w == pytest.approx([0.6, -0.3], abs=1e-9)


def test_a_group_stands_still_with_a_leg_that_is_never_traded() -> None:
    it = programme(center=[1.0, -0.5], held=[2.0, -1.0], low=[2.0, -9.0], high=[2.0, 9.0], groups=((0, 1),))
    assert solve(it) == [2.0, -1.0]


def test_a_group_without_targets_shrinks_in_the_proportions_it_has() -> None:
    w = solve(programme(center=[0.0, 0.0], held=[2.0, -1.0], groups=((0, 1),)))
    assert 0 < w[0] < 2
    assert w[0] == pytest.approx(-2 * w[1])


def test_twins_believed_to_move_as_one_are_no_difficulty() -> None:
    it = programme(penalty=[[0.36, 0.36], [0.36, 0.36]], held=[1.5, 0.2], bounds=(leverage(1.2), leverage(1.2)))
    w = solve(it)
    assert sum(map(abs, w)) == pytest.approx(1.2, abs=1e-9)
    assert worst_slope(it, w) > -1e-7


def test_nothing_is_an_answer_to_nothing() -> None:
    assert solve(programme(penalty=[], center=[], held=[], prices=[], low=[], high=[])) == []


# Whatever the portfolio


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 15, 30, 60, 200])
@pytest.mark.parametrize("grouped", [False, True])
def test_no_direction_leads_further_down(size: int, grouped: bool) -> None:
    for seed in range(20 if size < 100 else 4):
        p, _ = problem(1000 * size + seed, size, grouped=grouped)
        w = solve(p)
        over = [level(bound, w) - most for bound, most in zip(p.bounds, most_of(p), strict=True)]
        assert max(over, default=0.0) <= 1e-8
        assert worst_slope(p, w) >= -1e-5
        assert all(a == b for a, b, low, high in zip(w, p.held, p.low, p.high, strict=True) if low == high == b)


@given(st.integers(0, 10**9), st.integers(1, 12))
def test_the_answer_is_no_worse_than_many_others(seed: int, size: int) -> None:
    """Between the answer and any point that keeps boxes, bounds and turnover the objective does not fall."""
    p, _ = problem(seed, size)
    w = solve(p)
    inside = [min(max(a, low), high) for a, low, high in zip(w, p.low, p.high, strict=True)]
    dice = np.random.default_rng(seed)
    for _ in range(20):
        other = inside + dice.normal(0, dice.choice([0.01, 0.1, 1.0]), size)
        other = np.clip(other, p.low, p.high)
        if any(level(bound, other.tolist()) > bound.most for bound in p.bounds):
            continue
        if p.turnover is not None and np.abs(other - p.held).sum() > p.turnover:
            continue
        assert objective(p, w) <= objective(p, other.tolist()) + 1e-8


@given(st.integers(0, 10**9), st.sampled_from([1e-4, 1e4]))
def test_the_unit_of_the_risk_changes_nothing(seed: int, scale: float) -> None:
    p, _ = problem(seed, 6)
    other = replace(p, penalty=(scale * np.array(p.penalty)).tolist(), prices=[scale * k for k in p.prices])
    assert solve(other) == pytest.approx(solve(p), abs=1e-7)


# Published


def tables(size: int) -> list[tuple[tuple[float, float], ...]]:
    """The maintenance tables of the published cases as lines in the account's currency: BTC, ETH, SOL."""
    found = []
    for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")[:size]:
        (case,) = [case.values[0] for case in vectors("margin", "cum") if case.id.startswith(name)]
        rates = [rate for _, _, rate in case["input"]["tiers"]]
        found.append(tuple(zip(rates, case["expected"], strict=True)))
    return found


@pytest.mark.parametrize("case", vectors("planner_qp", "plan"))
def test_published_plans(case: dict[str, Any]) -> None:
    given_, expected = case["input"], case["expected"]
    size, equity = len(given_["current"]), given_["equity"]
    margin = [tuple((rate, cum / equity) for rate, cum in lines) for lines in tables(size)]
    bounds = []
    if "Lmax" in given_:
        bounds.append(leverage(given_["Lmax"], size))
    if "mmcap" in given_:
        bounds.append(Bound("margin", tuple(map(curve, margin)), given_["mmcap"]))
    if "liq" in given_:
        shock = given_["liq"]
        bounds.append(Bound("distance", tuple(curve(lines, shock, shock) for lines in margin), 1.0))
    caps = given_.get("asset_cap", [inf] * size)
    p = Programme(
        penalty=given_["Sigma_used"],
        center=given_["target"],
        held=given_["current"],
        prices=given_["kappa"],
        low=[-cap for cap in caps],
        high=caps,
        bounds=tuple(bounds),
        turnover=given_.get("turn"),
    )
    w = solve(p)
    assert w == pytest.approx(expected["weight"], abs=case["tolerance_abs"])
    assert objective(p, w) <= expected["objective"] + 1e-9


@pytest.mark.parametrize("case", vectors("notrade", "qp_l1"))
def test_published_trades(case: dict[str, Any]) -> None:
    x, size = case["input"]["x"], len(case["input"]["x"])
    p = Programme(case["input"]["Sigma"], [0.0] * size, x, case["input"]["kappa"], [-inf] * size, [inf] * size)
    trade = [a - b for a, b in zip(solve(p), x, strict=True)]
    assert trade == pytest.approx(case["expected"]["trade"], abs=case["tolerance_abs"])
