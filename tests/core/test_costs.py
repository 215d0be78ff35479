from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.book import Row
from agent.core.costs import Costs, cost_of, fee_rate, levels, walk
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
