"""The order in which the planner's legs leave: reductions first, flips by way of zero, and what that is good for."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any, NamedTuple

import pytest

from agent.core.costs import Costs
from agent.core.drift import Bands, measure
from agent.core.events import Position, Side
from agent.core.margin import exposures
from agent.core.planner import Limits, plain
from agent.core.targets import Targets
from tests.core.kit import START, THIRDS, book_of, instrument, plan_for, vectors


class Path(NamedTuple):
    legs: list[tuple[int, int, bool]]
    """Instrument, signed value, and whether it reduces; in the order of execution."""
    margins: list[float]
    """Initial margin at the start and after each leg."""
    nets: list[int]
    """Net value of all, likewise."""


def carried_out(
    held: list[int], wanted: list[int], leverages: list[float], equity: float, limits: Limits | None = None
) -> Path:
    """Plans to the target are carried out, reductions before increases, and then planned again; a lot is worth 1."""
    symbols = list(THIRDS)[: len(held)]
    grids = [instrument(i, symbol, step=Decimal(1), min_notional=1.0) for i, symbol in enumerate(symbols)]
    prices = dict.fromkeys(symbols, 1.0)
    book = book_of(dict(zip(symbols, map(float, held), strict=True)), equity=equity, prices=prices, instruments=grids)
    for row, setting in zip(book.rows, leverages, strict=True):
        row.leverage = int(setting)
    gross = sum(map(abs, wanted))
    shares: dict[str, Any] = {symbol: value / gross for symbol, value in zip(symbols, wanted, strict=True)}
    targets, bands = Targets(weights=shares, leverage=gross / equity), Bands(destination="target", tolerance=0.001)
    limits = limits or Limits(leverage=100.0, liquidation_distance=0.0, maintenance=1.0, turnover_per_day=1e6)

    def margin() -> float:
        return sum(one.initial for one in exposures(book.accounts[0]) or [])

    path, now = Path([], [margin()], [sum(held)]), START
    while True:
        drift = measure(book, targets, bands)
        assert drift is not None
        guide = plain(drift, to_target=True)
        legs = plan_for(book, drift, limits, Costs(), guide=guide, part=0.0, maker=False).legs
        reductions = [leg for leg in legs if leg.reduce]
        if not legs:
            return path
        for leg in reductions or legs:
            now += 1
            lots = book.rows[leg.instrument].lots + leg.lots
            book.apply(Position(leg.instrument, Side.NET, lots, 1.0 if lots else None, now), now)
            path.legs.append((leg.instrument, leg.lots, leg.reduce))
            path.margins.append(margin())
            path.nets.append(sum(row.lots for row in book.rows))


def peak(held: list[int], legs: list[tuple[int, int]], leverages: list[float]) -> float:
    """The largest initial margin on the way, if legs trade in this order."""
    values, found = list(held), []
    for index, value in [(0, 0), *legs]:
        values[index] += value
        found.append(sum(abs(v) / setting for v, setting in zip(values, leverages, strict=True)))
    return max(found)


def test_what_reduces_leaves_first() -> None:
    path = carried_out([6_000, 1_000, -3_000], [4_000, 2_000, -2_000], [5, 5, 5], 4_000)
    assert path.legs == [(0, -2_000, True), (2, 1_000, True), (1, 1_000, False)]
    assert path.margins == pytest.approx([2_000, 1_600, 1_400, 1_600])


def test_a_position_is_turned_over_by_way_of_zero() -> None:
    path = carried_out([-2_000, 1_000], [3_000, 1_000], [10, 10], 2_000)
    assert path.legs == [(0, 2_000, True), (0, 3_000, False)]


@pytest.mark.parametrize(
    ("held", "wanted"),
    [([6_000, 1_000, -3_000], [4_000, 2_000, -2_000]), ([-2_000, 4_000, 0], [3_000, 1_000, 2_000]),
     ([0, 0, 0], [4_000, -3_000, 1_000])],
)  # fmt: skip
def test_no_other_order_needs_less_margin_on_the_way(held: list[int], wanted: list[int]) -> None:
    settings: list[float] = [10, 5, 4]
    path = carried_out(held, wanted, settings, 5_000)
    legs = [(index, value) for index, value, _ in path.legs]
    assert max(path.margins) == pytest.approx(max(path.margins[0], path.margins[-1]))
    assert max(path.margins) <= min(peak(held, list(order), settings) for order in permutations(legs)) + 1e-9


@pytest.mark.parametrize("case", vectors("sequencing", "sequence"))
def test_legs_and_margin_on_the_way_are_as_in_the_vectors(case: Any) -> None:
    """Among increases, the product sends the largest first; what is promised is the peak."""
    given_, want = case["input"], case["expected"]
    wanted = [n + t for n, t in zip(given_["notional"], given_["trade"], strict=True)]
    path = carried_out(given_["notional"], wanted, given_["leverage"], given_["equity"])
    legs = [(leg["i"], leg["usd"], leg["reduce"]) for leg in want["legs"]]
    reductions = sum(reduce for _, _, reduce in legs)
    assert sorted(path.legs[:reductions]) == sorted(legs[:reductions])
    assert sorted(path.legs[reductions:]) == sorted(legs[reductions:])
    assert path.margins[0] == pytest.approx(want["im_path"][0])
    assert path.margins[reductions] == pytest.approx(want["im_path"][reductions])
    assert path.margins[-1] == pytest.approx(want["im_path"][-1])
    assert max(path.margins) == pytest.approx(want["peak_im"])
    assert want["best_possible_peak"] - 1e-9 <= max(path.margins) <= want["bound"] + 1e-9
    trades = [(index, value) for index, value, _ in legs]
    flips = len({index for index, _ in trades}) < len(trades)
    if not flips:
        peaks = [peak(given_["notional"], list(order), given_["leverage"]) for order in permutations(trades)]
        assert max(peaks) == pytest.approx(want["worst_order_peak"])


@pytest.mark.parametrize(("slices", "unhedged"), [(1, 6_000), (2, 3_000), (3, 2_000)])
def test_the_legs_of_a_pair_take_turns_so_that_no_more_than_a_slice_is_unhedged(slices: int, unhedged: int) -> None:
    limits = Limits(leverage=100.0, order_notional=6_000.0 / slices, liquidation_distance=0.0, turnover_per_day=1e6)
    path = carried_out([0, 0], [6_000, -6_000], [10, 10], 6_000, limits)
    assert len(path.legs) == 2 * slices
    assert max(map(abs, path.nets)) == unhedged
    assert path.nets[-1] == 0


@pytest.mark.parametrize("case", vectors("sequencing", "pair_slices"))
def test_slices_of_a_pair_are_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    size, setting = given_["notional"], given_["leverage"]
    limits = Limits(
        leverage=100.0, order_notional=size / given_["slices"], liquidation_distance=0.0, turnover_per_day=1e6
    )
    path = carried_out([0, 0], [size, -size], [setting, setting], size, limits)
    unhedged = max(map(abs, path.nets))
    assert unhedged == pytest.approx(want["max_unhedged"])
    assert max(path.margins) == pytest.approx(want["peak_im"])
    minute = 2 * 0.6 * (1 / (365 * 24 * 60)) ** 0.5
    assert unhedged * minute == pytest.approx(want["one_minute_unhedged_risk_2sigma_usd"])
