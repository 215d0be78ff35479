from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.book import Row
from agent.core.costs import SMALL, Cost, Costs, cost_of, fee_rate, impact, levels, visible, walk
from agent.core.events import Depth, Fees, Quote
from tests.core.kit import START, book_of, vectors

ASKS = ((60_000.0, 0.5), (60_005.0, 1.0), (60_020.0, 2.0))
BIDS = ((59_990.0, 0.4), (59_985.0, 1.2), (59_950.0, 3.0))


def row(*, quote: bool = True, depth: bool = True, fees: bool = True) -> Row:
    book = book_of({"BTCUSDT": 0.0})
    if quote:
        book.apply(Quote(0, 59_990.0, 0.4, 60_000.0, 0.5, START), START)
    if depth:
        book.apply(Depth(0, BIDS, ASKS, START), START)
    if not fees:
        book.rows[0].fees = None
    return book.rows[0]


@pytest.mark.parametrize(
    ("wanted", "filled", "average"), [(0.3, 0.3, 60_000.0), (2.0, 2.0, 60_007.5), (5.0, 3.5, 60_012.857142857)]
)
def test_a_book_is_walked_level_by_level_and_never_beyond_its_end(wanted: float, filled: float, average: float) -> None:
    assert walk(ASKS, wanted) == pytest.approx((filled, average))


@pytest.mark.parametrize("case", vectors("costs", "walk"))
def test_a_walk_and_its_cost_are_as_in_the_vectors(case: Any) -> None:
    given_, expected = case["input"], case["expected"]
    side = tuple((float(price), float(size)) for price, size in given_["levels"])
    assert walk(side, given_["qty"]) == pytest.approx((expected["filled"], expected["vwap"]))
    buying = given_["side"] == "buy"
    held = row()
    held.depth = Depth(0, () if buying else side, side if buying else (), START)
    cost = cost_of(held, round(given_["qty"] * 1000) * (1 if buying else -1), Costs(taker=0.0), maker=False)
    assert cost is not None
    slippage = (cost.spread + cost.impact) / (59_995.0 * expected["filled"]) * 1e4
    assert slippage == pytest.approx(expected["slippage_bps"])
    assert cost.filled == pytest.approx(expected["filled"] / given_["qty"])


@pytest.mark.parametrize("case", vectors("costs", "half_spread"))
def test_half_the_spread_is_as_in_the_vectors(case: Any) -> None:
    held = row(depth=False)
    held.quote = Quote(0, case["input"]["bid"], 1.0, case["input"]["ask"], 1.0, START)
    cost = cost_of(held, 1000, Costs(), maker=False)
    assert cost is not None
    assert cost.spread / 59_995.0 * 1e4 == pytest.approx(case["expected"])
    assert cost.impact == 0.0


def test_a_taking_order_pays_its_fee_half_the_spread_and_what_deeper_levels_cost() -> None:
    cost = cost_of(row(), 2_000, Costs(), maker=False)
    assert cost is not None
    assert cost.fee == pytest.approx(2 * 59_995 * 0.0005)
    assert cost.spread == pytest.approx(2 * 5.0)
    assert cost.impact == pytest.approx(2 * 7.5)
    assert cost.total == pytest.approx(cost.fee + 25.0)
    assert cost.filled == 1.0


def test_a_resting_order_pays_its_fee_alone() -> None:
    cost = cost_of(row(), -1_000, Costs(), maker=True)
    assert cost is not None
    assert (cost.spread, cost.impact, cost.filled) == (0.0, 0.0, 1.0)
    assert cost.fee == pytest.approx(59_995 * 0.0002)


def test_what_the_known_book_cannot_fill_is_left_out_and_said_to_be() -> None:
    cost = cost_of(row(), 7_000, Costs(), maker=False)
    assert cost is not None
    assert cost.filled == pytest.approx(0.5)
    assert cost.fee == pytest.approx(3.5 * 59_995 * 0.0005)


@pytest.mark.parametrize("missing", ["quote", "fees", "grid"])
def test_without_the_quote_the_grid_or_the_fee_the_cost_is_unknown_and_not_nothing(missing: str) -> None:
    held = row(quote=missing != "quote", fees=missing != "fees")
    if missing == "grid":
        held.instrument = None
    assert cost_of(held, 1, Costs(), maker=False) is None


def test_nothing_traded_costs_nothing() -> None:
    cost = cost_of(row(), 0, Costs(), maker=False)
    assert cost is not None
    assert cost.total == 0.0


def test_a_rate_in_the_file_goes_before_the_accounts_own() -> None:
    held = row()
    assert fee_rate(held, Costs(maker=-0.0001), maker=True) == -0.0001
    assert fee_rate(held, Costs(maker=-0.0001), maker=False) == 0.0005
    assert fee_rate(held, Costs(taker=0.0), maker=False) == 0.0
    held.fees = Fees(0, 0.0, 0.0)
    assert fee_rate(held, Costs(), maker=True) == 0.0


def test_without_depth_or_with_an_empty_side_the_best_price_stands_for_the_whole_side() -> None:
    held = row(depth=False)
    assert levels(held, buying=True) == ((60_000.0, float("inf")),)
    held.depth = Depth(0, (), ASKS, START)
    assert levels(held, buying=False) == ((59_990.0, float("inf")),)
    assert levels(held, buying=True) == ASKS


def test_an_empty_walk_is_priced_at_the_first_level() -> None:
    assert walk(ASKS, 0.0) == (0.0, 60_000.0)
    assert walk(((60_000.0, 0.0),), 1.0) == (0.0, 60_000.0)


# The square root


def priced(lots: int, *, volume: float | None = 2e9, sigma_day: float | None = 0.03, depth: bool = True) -> Cost:
    """The cost of taking from the book above; 1 000 lots are a coin."""
    held = row(depth=depth)
    held.volume = volume
    cost = cost_of(held, lots, Costs(), maker=False, sigma_day=sigma_day)
    assert cost is not None
    return cost


def test_four_times_the_size_moves_the_price_twice_as_far() -> None:
    end, average = impact(1e6, 0.04, 4e8)
    assert end == pytest.approx(0.002)
    assert average == pytest.approx(end * 2 / 3)
    assert impact(4e6, 0.04, 4e8)[0] == pytest.approx(2 * end)
    assert impact(1e6, 0.04, 4e8, y=0.5)[0] == pytest.approx(end / 2)


def test_the_average_of_the_square_root_is_what_many_small_parts_pay() -> None:
    parts = [impact((k + 0.5) * 1e3, 0.03, 2e9)[0] for k in range(1_000)]
    assert impact(1e6, 0.03, 2e9)[1] == pytest.approx(sum(parts) / 1_000, rel=1e-4)


@pytest.mark.parametrize("case", vectors("costs", "sqrt_impact"))
def test_the_square_root_is_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    end, average = impact(given_["Q"], given_["sigma_day"], given_["V"], given_["Y"])
    assert (1e4 * end, 1e4 * average) == pytest.approx((want["end_bps"], want["average_bps"]), rel=1e-9)


def test_an_order_that_is_small_against_the_visible_book_costs_what_the_book_says() -> None:
    small = int(SMALL * 3.5 * 1_000)
    assert priced(small, volume=1e6).impact == pytest.approx(0.0, abs=1e-9)
    assert priced(small + 1, volume=1e6).impact > 0.001
    assert priced(-int(SMALL * 4.6 * 1_000), volume=1e6).impact == pytest.approx(0.0, abs=1e-9)


def test_a_larger_one_costs_the_larger_of_the_book_and_the_square_root() -> None:
    walked = 2 * 7.5
    assert priced(2_000, volume=1e15).impact == pytest.approx(walked)
    root = 2 / 3 * 0.03 * sqrt(2 * 59_995 / 1e8) * 2 * 59_995
    assert root > walked
    assert priced(2_000, volume=1e8).impact == pytest.approx(root)


def test_what_lies_beyond_the_visible_book_is_priced_by_the_square_root_and_no_better_than_its_end() -> None:
    """Seven coins where 3.5 are offered: the rest at the last visible price, or where the square root is by then."""
    cheap = priced(7_000, volume=1e15)
    assert cheap.filled == 1.0
    assert cheap.fee == pytest.approx(7 * 59_995 * 0.0005)
    assert cheap.impact == pytest.approx(3.5 * 12.857142857 + 3.5 * 20.0)
    steep = priced(7_000, volume=2.18e9)
    sizes = [(k + 0.5) * 7e-4 for k in range(10_000)]
    path = [0.03 * sqrt(size * 59_995 / 2.18e9) * 59_995 for size in sizes]
    rest = sum(path[5_000:]) / 5_000
    assert rest > 20.0
    assert 3.5 * 12.857142857 + 3.5 * rest > 7 * sum(path) / 10_000
    assert steep.impact == pytest.approx(3.5 * 12.857142857 + 3.5 * rest, rel=1e-4)


@pytest.mark.parametrize(("volume", "sigma_day"), [(None, 0.03), (2e9, None), (0.0, 0.03)])
def test_without_volume_or_volatility_the_visible_depth_is_the_only_source(
    volume: float | None, sigma_day: float | None
) -> None:
    assert priced(7_000, volume=volume, sigma_day=sigma_day) == cost_of(row(), 7_000, Costs(), maker=False)


def test_without_depth_the_size_of_the_quote_is_what_is_visible() -> None:
    held = row(depth=False)
    assert (visible(held, buying=True), visible(held, buying=False)) == (0.5, 0.4)
    assert priced(5, depth=False).impact == 0.0
    assert priced(6, depth=False).impact == pytest.approx(6e-3 * 59_995 * impact(6e-3 * 59_995, 0.03, 2e9)[1])
    assert visible(row(), buying=True) == pytest.approx(3.5)
    held.depth = Depth(0, (), ASKS, START)
    assert visible(held, buying=False) == 0.4


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.floats(1e7, 1e12), st.floats(0.001, 0.2))
def test_a_bigger_order_never_costs_less_and_volume_known_never_makes_it_cheaper(
    lots: int, more: int, volume: float, sigma_day: float
) -> None:
    one = priced(lots, volume=volume, sigma_day=sigma_day)
    other = priced(lots + more, volume=volume, sigma_day=sigma_day)
    assert other.total > one.total
    assert one.total >= priced(lots, volume=None).total - 1e-9
    assert one.filled == 1.0


@given(
    st.lists(st.tuples(st.floats(1, 10), st.floats(0.01, 5)), min_size=1, max_size=6),
    st.floats(0.01, 40),
)
def test_a_bigger_order_never_pays_a_better_average(steps: list[tuple[float, float]], wanted: float) -> None:
    price, side = 100.0, []
    for step, size in steps:
        price += step
        side.append((price, size))
    filled, average = walk(tuple(side), wanted)
    more, worse = walk(tuple(side), wanted * 1.5)
    assert filled <= wanted + 1e-9
    assert filled <= sum(size for _, size in side) + 1e-9
    assert more >= filled
    assert worse >= average - 1e-9
