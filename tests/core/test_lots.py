"""Whole lots: by hand, against published cases, and against every combination of lots nearby."""

from __future__ import annotations

from itertools import product
from math import ceil, inf
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.core.lots import Grid, whole
from agent.core.programme import Bound, Curve, Programme, solve
from tests.core.kit import vectors
from tests.core.problems import account, level, most_of, objective, problem, taken

ONE = Curve(long=((1.0, 0.0),), short=((1.0, 0.0),))


def alone(held: int, target: float, price: float = 0.0, **rules: int) -> int:
    """The lots of one instrument whose lot is 0.1, with the variance 1 and no box."""
    p = Programme([[1.0]], [target], [held * 0.1], [price], [-inf], [inf])
    (lots,) = whole(p, [Grid(lot=0.1, held=held, **rules)])
    return lots


# By hand


def test_the_nearest_lots_are_held() -> None:
    assert alone(0, 0.74) == 7
    assert alone(0, -0.76) == -8
    assert alone(7, 0.74, price=1.0) == 7


@pytest.mark.parametrize(
    ("held", "target", "lots"),
    [
        (10, 1.22, 10),  # two more are too few, five would be too many
        (10, 1.26, 15),
        (10, 0.93, 10),  # one less is too few, three would be too many
        (10, 0.84, 7),
        (2, 0.04, 0),  # all of it goes, although two are fewer than three
        (0, 0.22, 0),
        (0, -0.3, -5),
        (2, -0.2, 0),  # a flip opens: two are too few, five too many
        (2, -0.3, -5),
    ],
)
def test_an_order_is_as_large_as_the_venue_wants_or_none(held: int, target: float, lots: int) -> None:
    assert alone(held, target, smallest=5, smallest_less=3) == lots


def test_a_lot_too_coarse_for_one_is_made_up_for_by_another() -> None:
    """The first can hold 0.9 or 1.2 of 1.0, and its twin makes good what is missing."""
    p = Programme([[1.0, 0.94], [0.94, 1.0]], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [-inf] * 2, [inf] * 2)
    lots = whole(p, [Grid(lot=0.3, held=0), Grid(lot=0.01, held=0)])
    assert lots == [3, 109]  # 0.9 and, where the slope of the second is 0, 1.0 + 0.94 x 0.1


def test_bounds_hold_in_whole_lots() -> None:
    p = Programme(
        [[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [-inf] * 2, [inf] * 2,
        bounds=(Bound("leverage", (ONE, ONE), 1.5),),
    )  # fmt: skip
    assert sorted(whole(p, [Grid(lot=0.2, held=0), Grid(lot=0.2, held=0)])) == [3, 4]
    lots = whole(p, [Grid(lot=0.4, held=0), Grid(lot=0.4, held=0)])
    assert sum(lots) == 3


def test_what_breaks_a_bound_already_comes_down_and_nothing_else_goes_up() -> None:
    p = Programme(
        [[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0], [1.6, 0.4], [0.0, 0.0], [-inf] * 2, [inf] * 2,
        bounds=(Bound("leverage", (ONE, ONE), 1.0),),
    )  # fmt: skip
    lots = whole(p, [Grid(lot=0.4, held=4, smallest_less=10), Grid(lot=0.4, held=1)])
    assert lots in ([0, 2], [0, 1])
    frozen = replace(p, low=[1.6, -9.0], high=[1.6, 9.0])
    assert whole(frozen, [Grid(lot=0.4, held=4), Grid(lot=0.4, held=1)]) == [4, 0]


def test_a_hedge_group_follows_its_coarsest_leg() -> None:
    p = Programme(
        [[1.0, 0.9], [0.9, 1.0]], [1.0, -1.0], [1.3, -1.3], [0.0, 0.0], [-inf] * 2, [inf] * 2, groups=((0, 1),)
    )
    assert whole(p, [Grid(lot=0.3, held=4), Grid(lot=0.01, held=-130)]) == [3, -90]


def test_a_hedge_group_is_not_traded_on_one_side_because_an_order_is_too_small() -> None:
    p = Programme(
        [[1.0, 0.9], [0.9, 1.0]], [1.0, -1.0], [1.1, -1.1], [0.0, 0.0], [-inf] * 2, [inf] * 2, groups=((0, 1),)
    )
    assert whole(p, [Grid(lot=0.1, held=11), Grid(lot=0.1, held=-11)]) == [10, -10]
    assert whole(p, [Grid(lot=0.1, held=11), Grid(lot=0.1, held=-11, smallest_less=5)]) == [11, -11]


# Against all combinations


def near(grid: Grid, lots: int) -> list[int]:
    rules = (grid.smallest, -grid.smallest, grid.smallest_less, -grid.smallest_less)
    options = [lots + d for d in range(-4, 5)] + [grid.held, 0, *(grid.held + d for d in rules)]
    return [k for k in sorted(dict.fromkeys(options)) if taken(grid, k)]


def costs(p: Programme, grids: list[Grid], table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Of every row of lots: what breaks bounds (most), turnover and boxes (least), then the objective."""
    w = table * np.array([grid.lot for grid in grids])
    x, traded = w - np.array(p.center), np.abs(w - np.array(p.held))
    value = np.einsum("ki,ij,kj->k", x, np.array(p.penalty), x) / 2 + traded @ np.array(p.prices)
    out = np.maximum(np.array(p.low) - w - 1e-8, 0) + np.maximum(w - np.array(p.high) - 1e-8, 0)
    value += 1e3 * out.sum(axis=1)
    if p.turnover is not None:
        value += 1e6 * np.maximum(traded.sum(axis=1) - p.turnover - 1e-8, 0)
    for bound, most in zip(p.bounds, most_of(p), strict=True):
        total = np.zeros(len(w))
        for one, size in zip(bound.curves, w.T, strict=True):
            sides = [
                np.max([np.zeros(len(w))] + [a * np.abs(size) - d for a, d in lines], axis=0)
                for lines in (one.long, one.short)
            ]
            total += np.where(size >= 0, *sides)
        value += 1e9 * np.maximum(total - most - 1e-8, 0)
    found: np.ndarray[Any, Any] = value
    return found


def excess(seed: int, size: int) -> float:
    """How much more the answer to a nasty problem costs than the best of all combinations near it."""
    return excess_of(*problem(seed, size))


def excess_of(p: Programme, grids: list[Grid]) -> float:
    lots = whole(p, grids)
    assert all(taken(grid, k) for grid, k in zip(grids, lots, strict=True))
    weights = [grid.lot * k for grid, k in zip(grids, lots, strict=True)]
    for bound, most in zip(p.bounds, most_of(p), strict=True):
        assert level(bound, weights) <= max(most, level(bound, list(p.held))) + 1e-8
    for k, grid, *box in zip(lots, grids, p.low, p.high, strict=True):
        assert k == grid.held or box[0] != box[1]
    fixed = [low == high for low, high in zip(p.low, p.high, strict=True)]
    options = [[k] if still else near(grid, k) for grid, k, still in zip(grids, lots, fixed, strict=True)]
    table = np.array(list(product(*options)))
    return float(costs(p, grids, np.array([lots]))[0] - costs(p, grids, table).min())


def test_for_accounts_as_traders_have_them_the_best_of_all_combinations_is_found() -> None:
    """Within a hundredth of a per cent of equity, what drift and trading cost in a week taken together."""
    week = 3.0 * 7 / 365
    assert max(week * excess_of(*account(seed)) for seed in range(1000)) < 1e-4


def test_hardly_any_combination_nearby_is_better_than_the_answer() -> None:
    found = [excess(seed, 1 + seed % 4) for seed in range(1000)]
    assert sum(more > 1e-4 for more in found) <= 12
    easy = [more for more in found if more < 0.1]  # more than that: a box or the turnover is missed by a lot
    assert len(easy) >= 990
    assert np.mean(easy) < 2e-5


def test_the_answer_in_lots_of_next_to_nothing_is_the_real_one() -> None:
    for seed in range(30):
        p, _ = problem(seed, 6, bounds=2)
        tiny = [Grid(lot=1e-7, held=round(h / 1e-7)) for h in p.held]
        p = replace(p, held=[grid.lot * grid.held for grid in tiny], low=[-inf] * 6, high=[inf] * 6)
        w = [grid.lot * k for grid, k in zip(tiny, whole(p, tiny), strict=True)]
        assert objective(p, w) == pytest.approx(objective(p, solve(p)), abs=1e-5)


@pytest.mark.parametrize("size", [6, 30, 120])
def test_orders_bounds_and_groups_hold_in_large_portfolios(size: int) -> None:
    for seed in range(8):
        p, grids = problem(size + seed, size, grouped=True)
        lots = whole(p, grids)
        assert all(taken(grid, k) for grid, k in zip(grids, lots, strict=True))
        weights = [grid.lot * k for grid, k in zip(grids, lots, strict=True)]
        for bound, most in zip(p.bounds, most_of(p), strict=True):
            assert level(bound, weights) <= max(most, level(bound, list(p.held))) + 1e-8
        for group in p.groups:
            if any(lots[i] != grids[i].held for i in group):
                lead = max(group, key=lambda i: grids[i].lot / abs(p.center[i]))
                scale = lots[lead] * grids[lead].lot / p.center[lead]
                assert scale >= 0
                assert all(abs(lots[i] - scale * p.center[i] / grids[i].lot) <= 0.5 + 1e-9 for i in group)


# Published


def published(given_: dict[str, Any]) -> tuple[Programme, list[Grid]]:
    if "equity" in given_:
        step, price, size = given_["step"], given_["price"], len(given_["step"])
        lot = [s * q / given_["equity"] for s, q in zip(step, price, strict=True)]
        held = [round(q / s) for q, s in zip(given_["current_qty"], step, strict=True)]
        least = given_.get("min_notional", [0.0] * size)
        small = [max(1, ceil(m / (s * q) - 1e-9)) for m, s, q in zip(least, step, price, strict=True)]
    else:
        lot, held, size = given_["lot"], given_["current_lots"], len(given_["lot"])
        small = [1] * size
    p = Programme(
        penalty=given_["Sigma_used" if "equity" in given_ else "Sigma"],
        center=given_["target"],
        held=[a * k for a, k in zip(lot, held, strict=True)],
        prices=given_["kappa"],
        low=[-inf] * size,
        high=[inf] * size,
    )
    return p, [Grid(lot=a, held=k, smallest=m, smallest_less=m) for a, k, m in zip(lot, held, small, strict=True)]


@pytest.mark.parametrize("case", vectors("planner_lots", "lots") + vectors("planner_lots", "lots_money"))
def test_published_lots(case: dict[str, Any]) -> None:
    p, grids = published(case["input"])
    lots, expected = whole(p, grids), case["expected"]
    weights = [grid.lot * k for grid, k in zip(grids, lots, strict=True)]
    continuous = expected.get("continuous", expected.get("continuous_weight"))
    assert solve(p) == pytest.approx(continuous, abs=1e-9)
    assert objective(p, weights) <= expected["objective"] + case["tolerance_abs"]
    assert lots == expected["best_lots"]
