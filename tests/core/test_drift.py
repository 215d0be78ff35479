from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.book import LEAST, Book
from agent.core.drift import Bands, Drift, apart, drawn_in, half_width, measure, moved, strayed
from agent.core.events import Balance, Leverage, Mark
from agent.core.margin import exposures
from agent.core.targets import Targets, from_margin_shares
from tests.core.kit import MISSION, START, THIRDS, book_of, reprice, vectors

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)


def measured(book: Book, targets: Targets = SHARES, bands: Bands | None = None) -> Drift:
    drift = measure(book, targets, bands or Bands())
    assert drift is not None
    return drift


def test_the_missions_table_is_fifteen_points_over_ten_and_five_under() -> None:
    drift = measured(book_of(MISSION))
    assert drift.weights == pytest.approx([1.95, 0.60, 0.45])
    assert drift.targets == pytest.approx([1.5, 0.9, 0.6])
    assert drift.drifts == pytest.approx([0.15, -0.10, -0.05])
    assert drift.leverage == pytest.approx(3.0)
    assert drift.gross_target == pytest.approx(3.0)
    assert drift.worst == pytest.approx(0.15)
    assert drift.total == pytest.approx(0.15)
    assert drift.reach == pytest.approx(0.15 / 0.07)


def test_a_weight_is_signed_notional_over_equity() -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.25, "SOLUSDT": 0.25}, leverage=1.8)
    drift = measured(book_of({"BTCUSDT": 0.15, "ETHUSDT": -1.5, "SOLUSDT": 30}), targets)
    assert drift.weights == pytest.approx([0.9, -0.45, 0.45])
    assert drift.leverage == pytest.approx(1.8)
    assert drift.worst == pytest.approx(0.0)


@pytest.mark.parametrize("case", vectors("weights", "weights"))
def test_weights_are_as_in_the_vectors(case: Any) -> None:
    given_ = case["input"]
    prices = dict(zip(MISSION, given_["price"], strict=False))
    positions = dict(zip(prices, given_["qty"], strict=True))
    targets = Targets(weights=dict.fromkeys(positions, 1 / len(positions)))
    drift = measured(book_of(positions, equity=given_["equity"], prices=prices), targets)
    assert drift.weights == pytest.approx(case["expected"]["weight"])
    assert drift.leverage == pytest.approx(case["expected"]["gross"])


@pytest.mark.parametrize("case", vectors("weights", "weights"))
def test_shares_and_margin_are_views_of_the_same_weights_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    prices = dict(zip(MISSION, given_["price"], strict=False))
    book = book_of(dict(zip(prices, given_["qty"], strict=True)), equity=given_["equity"], prices=prices)
    for i, setting in enumerate(given_["leverage"]):
        book.apply(Leverage(i, setting), START)
    drift = measured(book, Targets(weights=dict.fromkeys(prices, 1 / len(prices))))
    margins = [one.initial for one in exposures(book.accounts[0]) or []]
    assert [row.notional for row in book.rows] == pytest.approx(want["notional"])
    assert sum(drift.weights) == pytest.approx(want["net"])
    assert [w / drift.leverage for w in drift.weights] == pytest.approx(want["share_gross"])
    assert margins == pytest.approx(want["initial_margin"])
    assert [margin / sum(margins) for margin in margins] == pytest.approx(want["share_margin"])
    assert sum(margins) / drift.equity == pytest.approx(want["utilisation"])


@pytest.mark.parametrize("case", vectors("weights", "drift"))
def test_drift_and_its_sums_are_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]["drift"]
    prices = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0}
    sizes = [w * given_["equity"] / price for w, price in zip(given_["weight"], prices.values(), strict=True)]
    shares: dict[str, Any] = dict(zip(prices, given_["target_share"], strict=True))
    targets = Targets(weights=shares, leverage=given_["target_leverage"])
    drift = measured(book_of(dict(zip(prices, sizes, strict=True)), equity=given_["equity"]), targets)
    goals = [goal for goal in drift.targets if goal is not None]
    away = [d * drift.gross_target for d in drift.drifts]
    assert goals == pytest.approx(case["expected"]["target_weight"])
    assert away == pytest.approx(want["abs"])
    assert [100 * d for d in drift.drifts] == pytest.approx(want["abs_pct_of_target_gross"])
    relative = [x / abs(goal) * (1 if goal > 0 else -1) for x, goal in zip(away, goals, strict=True)]
    assert relative == pytest.approx(want["rel"])
    assert 2 * drift.total * drift.gross_target == pytest.approx(want["L1"])
    assert drift.total * drift.gross_target == pytest.approx(want["half_L1"])
    assert drift.worst * drift.gross_target == pytest.approx(want["linf"])
    assert drift.leverage == pytest.approx(want["leverage"])
    assert drift.leverage - drift.gross_target == pytest.approx(want["leverage_drift"], abs=1e-12)
    risk = strayed(drift, Bands(tracking=want["TE"]), np.array(given_["Sigma"]), drift.weights)
    assert risk == {"tracking risk": pytest.approx(1.0)}
    shifts = [-x * drift.equity for x in away]
    assert shifts == pytest.approx(case["expected"]["notional_shift"], rel=1e-9)


@pytest.mark.parametrize(
    ("weight", "change", "after"),
    [
        (2, 0.1, 1.8333333),
        (2, -0.1, 2.25),
        (3, -0.1, 3.857143),
        (5, -0.1, 9.0),
        (-1, 0.1, -1.2222222),
        (-2, -0.1, -1.5),
    ],
)
def test_a_leveraged_weight_drifts_as_equity_moves_with_it(weight: float, change: float, after: float) -> None:
    book = book_of({"BTCUSDT": weight}, equity=60_000.0)
    reprice(book, Mark(instrument=0, price=60_000 * (1 + change), index=None, at=START + 1))
    drift = measured(book, Targets(weights={"BTCUSDT": 1.0}))
    assert drift.weights[0] == pytest.approx(after, rel=1e-6)
    assert moved([weight], [change]) == pytest.approx([after], rel=1e-6)


@pytest.mark.parametrize("case", vectors("weights", "move"))
def test_weights_move_as_in_the_vectors(case: Any) -> None:
    weights, returns = case["input"]["weight"], case["input"]["ret"]
    symbols = list(MISSION)[: len(weights)]
    flat = dict.fromkeys(MISSION, 1_000.0)
    positions = {symbol: weight * 100_000 for symbol, weight in zip(symbols, weights, strict=True)}
    book = book_of(positions, equity=1e8, prices=flat)
    for i, change in enumerate(returns):
        reprice(book, Mark(instrument=i, price=1_000 * (1 + change), index=None, at=START + 1))
    drift = measured(book, Targets(weights=dict.fromkeys(positions, 1 / len(positions))))
    want = case["expected"]
    assert drift.weights == pytest.approx(want["weight"])
    assert moved(weights, returns) == pytest.approx(want["weight"], rel=1e-9)
    assert drift.equity / 1e8 == pytest.approx(want["equity_growth"])
    if "gross" in want:
        assert drift.leverage == pytest.approx(want["gross"])
        assert [w / drift.leverage for w in drift.weights] == pytest.approx(want["share_gross"])
        trades = [w - now for w, now in zip(weights, drift.weights, strict=True)]
        assert trades == pytest.approx(want["trade_to_target_frac_of_new_equity"])


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-0.05, 0.05)), min_size=1, max_size=5))
def test_weights_move_as_the_value_of_each_position_over_that_of_all_and_cash(rows: list[tuple[float, float]]) -> None:
    weights, returns = [w for w, _ in rows], [r for _, r in rows]
    values = [1_000 * w * (1 + r) for w, r in rows]
    equity = 1_000 + sum(value - 1_000 * w for value, w in zip(values, weights, strict=True))
    assert moved(weights, returns) == pytest.approx([value / equity for value in values])


def test_shares_of_margin_at_unequal_leverage_settings_become_weights() -> None:
    weights = from_margin_shares([0.6, -0.4], [3, 10], 0.5)
    assert weights is not None
    assert weights == pytest.approx([0.9, -2.0])
    assert [abs(w) / setting / 0.5 for w, setting in zip(weights, [3, 10], strict=True)] == pytest.approx([0.6, 0.4])


@pytest.mark.parametrize("case", vectors("weights", "margin_share_to_weight"))
def test_shares_of_margin_become_the_weights_of_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    weights = from_margin_shares(given_["margin_share"], given_["leverage"], given_["utilisation"])
    assert weights is not None
    gross = sum(map(abs, weights))
    assert weights == pytest.approx(want["weight"])
    assert gross == pytest.approx(want["gross"])
    assert [w / gross for w in weights] == pytest.approx(want["share_gross"])


def test_drift_is_counted_in_points_of_target_gross_so_it_means_the_same_at_any_leverage() -> None:
    for leverage in (1.0, 3.0, 5.0):
        positions = {s: size * leverage / 3 for s, size in MISSION.items()}
        targets = Targets(weights=dict(THIRDS), leverage=leverage)
        drift = measured(
            book_of(positions, equity=100_000.0, prices={"BTCUSDT": 6e5, "ETHUSDT": 3e4, "SOLUSDT": 1500}), targets
        )
        assert drift.drifts == pytest.approx([0.15, -0.10, -0.05], abs=1e-2)


@pytest.mark.parametrize("equity", [0.0, -5.0])
def test_an_account_that_is_worth_nothing_is_taken_for_one_that_is_worth_next_to_nothing(equity: float) -> None:
    drift = measure(book_of(MISSION, equity=equity), SHARES, Bands())
    assert drift is not None
    assert drift.equity == LEAST
    assert drift.leverage == pytest.approx(30_000 / LEAST)


def test_while_a_number_is_missing_there_is_no_drift() -> None:
    assert measure(Book(THIRDS), SHARES, Bands()) is None
    book = book_of(MISSION)
    book.rows[2].holdings.clear()
    book.rows[2].mark = None
    book.apply(Balance(asset="USDT", wallet=10_000.0, at=START), START)
    assert measure(book, SHARES, Bands()) is None


def test_what_is_on_hold_counts_in_leverage_and_has_no_drift() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": "hold"}, leverage=2.0)
    drift = measured(book_of({"BTCUSDT": 0.3, "ETHUSDT": 2.0}), targets)
    assert drift.targets == [2.0, None]
    assert drift.drifts == pytest.approx([-0.1, 0.0])
    assert drift.leverage == pytest.approx(2.4)
    assert drift.gross_target == 2.0


@pytest.mark.parametrize("mode", ["off", "cap"])
def test_what_is_on_hold_does_not_pump_up_the_leverage_of_the_rest(mode: Any) -> None:
    """The rest keeps its own gross; if the hold counted in it, each correction would add to it."""
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": "hold"}, leverage=3.0, leverage_mode=mode)
    drift = measured(book_of({"BTCUSDT": 0.2, "ETHUSDT": 4.0}), targets)
    assert drift.targets[0] == pytest.approx(1.2)
    assert drift.worst == pytest.approx(0.0)


def test_with_everything_wanted_flat_drift_is_counted_in_equity() -> None:
    drift = measured(book_of(MISSION), Targets(weights=dict(THIRDS), leverage=0.0))
    assert drift.gross_target == 0.0
    assert drift.drifts == pytest.approx([1.95, 0.60, 0.45])


@pytest.mark.parametrize(
    ("relative", "goal", "width"),
    [(None, 1.5, 0.07), (0.1, 1.5, 0.05), (0.5, 1.5, 0.07), (0.1, 0.0, 0.07), (0.1, None, 0.07), (0.1, -1.5, 0.05)],
)
def test_the_tighter_of_tolerance_and_relative_band_counts(
    relative: float | None, goal: float | None, width: float
) -> None:
    assert half_width(goal, 3.0, Bands(relative=relative)) == pytest.approx(width)


def test_an_empty_portfolio_stands_nowhere() -> None:
    nothing = Drift(1.0, 0.0, 0.0, 0.0, [], [], [], [], [])
    assert (nothing.worst, nothing.total, nothing.reach) == (0.0, 0.0, 0.0)


@given(st.tuples(*[st.integers(-3_000, 3_000)] * 3))
def test_at_its_targets_a_portfolio_has_no_drift(lots: tuple[int, int, int]) -> None:
    book = book_of({"BTCUSDT": lots[0] / 1000, "ETHUSDT": lots[1] / 1000, "SOLUSDT": lots[2]})
    weights = measured(book).weights
    gross = sum(abs(w) for w in weights)
    shares: dict[str, Any] = {s: w / (gross or 1.0) for s, w in zip(MISSION, weights, strict=True)}
    assert measured(book, Targets(weights=shares, leverage=gross)).worst == pytest.approx(0.0, abs=1e-9)


# Aims and what is measured over all


def test_drift_is_counted_from_what_funding_leaves_of_the_targets() -> None:
    drift = measure(book_of(MISSION), SHARES, Bands(), parts=[0.8, 1.0, 1.0])
    assert drift is not None
    assert drift.targets == pytest.approx([1.5, 0.9, 0.6])
    assert drift.aims == pytest.approx([1.2, 0.9, 0.6])
    assert drift.drifts == pytest.approx([0.25, -0.10, -0.05]), "in points of the user's gross, which stays"
    assert drift.away == pytest.approx([0.75, -0.3, -0.15])
    assert drift.astray == pytest.approx([0.45, -0.3, -0.15])


def test_wishes_stand_in_for_the_file() -> None:
    drift = measure(book_of(MISSION), SHARES, Bands(), wishes=[1.0, -0.5, None])
    assert drift is not None
    assert drift.targets == [1.0, -0.5, None]
    assert drift.gross_target == 1.5
    assert drift.away == pytest.approx([0.95, 1.1, 0.0])
    assert drift.leverage_free == pytest.approx(2.55)


def test_targets_in_shares_of_margin_wait_for_the_leverage_settings() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0}, basis="margin", utilisation=0.1)
    book = book_of({"BTCUSDT": 0.1})
    assert measured(book, targets).targets == pytest.approx([2.0]), "20x of a tenth"
    book.rows[0].leverage = None
    assert measure(book, targets, Bands()) is None


ALL = Bands(portfolio=0.1, tracking=0.2, leverage=0.05)
MATRIX = np.array([[0.36, 0.24, 0.0], [0.24, 0.64, 0.0], [0.0, 0.0, 1.0]])


def test_what_is_measured_over_all_is_a_part_of_its_band() -> None:
    """The drift is 0.3, -0.1 and 0 of equity, the target 3."""
    drift = measured(book_of({"BTCUSDT": 0.3, "ETHUSDT": 8 / 3, "SOLUSDT": 40.0}))
    found = strayed(drift, ALL, MATRIX, drift.weights)
    assert found == {
        "total drift": pytest.approx(0.2 / 3 / 0.1, abs=1e-3),
        "tracking risk": pytest.approx((0.36 * 0.09 - 2 * 0.24 * 0.03 + 0.64 * 0.01) ** 0.5 / 0.2, abs=1e-3),
        "leverage": pytest.approx(0.2 / 3 / 0.05, abs=1e-3),
    }


def test_without_a_band_or_a_covariance_it_is_not_measured() -> None:
    drift = measured(book_of(MISSION))
    assert strayed(drift, Bands(), MATRIX, drift.weights) == {}
    assert strayed(drift, Bands(tracking=0.2), None, drift.weights) == {}
    flat = measured(book_of(MISSION), Targets(weights=dict(THIRDS), leverage=0.0))
    assert strayed(flat, Bands(leverage=0.1), MATRIX, flat.weights) == {}, "there is no leverage to be a part of"


def test_what_is_on_hold_is_not_measured() -> None:
    targets = Targets(weights={"BTCUSDT": 1.0, "ETHUSDT": "hold"}, leverage=1.0)
    drift = measured(book_of({"BTCUSDT": 0.2, "ETHUSDT": 4.0}), targets)
    found = strayed(drift, Bands(portfolio=0.1, leverage=0.1), None, drift.weights)
    assert found == {"total drift": pytest.approx(1.0), "leverage": pytest.approx(2.0)}


def test_drawn_in_all_come_back_by_one_part_and_the_worst_measure_is_just_inside() -> None:
    drift = measured(book_of({"BTCUSDT": 0.3, "ETHUSDT": 2.6, "SOLUSDT": 44.0}))
    goals = drawn_in(drift, ALL, MATRIX)
    assert max(strayed(drift, ALL, MATRIX, goals).values()) == pytest.approx(ALL.landing, rel=1e-6)
    parts = [(goal - aim) / x for goal, aim, x in zip(goals, (1.5, 0.9, 0.6), drift.away, strict=True)]
    assert parts == pytest.approx([parts[0]] * 3)
    assert 0 < parts[0] < 1


def test_what_is_inside_already_is_not_drawn_in() -> None:
    drift = measured(book_of({"BTCUSDT": 0.252, "ETHUSDT": 3.0, "SOLUSDT": 40.0}))
    assert drawn_in(drift, ALL, MATRIX) == pytest.approx(drift.weights)


def test_the_legs_of_a_hedge_are_as_far_apart_as_the_parts_of_their_targets_that_they_hold() -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.5}, leverage=1.0)
    drift = measured(book_of({"BTCUSDT": 0.075, "ETHUSDT": -2.0}), targets)
    assert apart(drift, (0, 1)) == pytest.approx((0.9, 1.2))
    closed = measured(book_of({"BTCUSDT": 0.1, "ETHUSDT": 0.0}), Targets({"BTCUSDT": 1.0, "ETHUSDT": 0.0}, 1.0))
    assert apart(closed, (0, 1)) is None, "a target of nothing has no parts"
