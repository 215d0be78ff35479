from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist, mean, stdev
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.health import (
    Condition,
    Health,
    State,
    daily,
    min_track_record,
    next_day,
    probability_above,
    probability_below,
    psr,
    reallocate,
    review,
    sharpe,
    sharpe_error,
    skew_kurtosis,
    sr_std,
)
from tests.core.kit import vectors

QUICK = Health(bad_days=3, good_days=2, pause_after_days=2, ramp=(0.25, 0.5), ramp_days=2, min_pause_days=4)
BAD, MIDDLING, GOOD = 0.0, 0.7, 1.5


def lived(
    ratios: Sequence[float | None], drawdowns: Sequence[float] | None = None, health: Health = QUICK
) -> list[tuple[int, str, float]]:
    """The days, counted from 0, on which something changed, and to what."""
    condition, changes = Condition(), []
    for day, ratio in enumerate(ratios):
        before = condition
        condition = next_day(health, condition, ratio, drawdowns[day] if drawdowns else 0.0)
        if (condition.state, condition.multiplier) != (before.state, before.multiplier):
            changes.append((day, str(condition.state), condition.multiplier))
    return changes


# The machine


def test_a_good_strategy_stays_active() -> None:
    assert lived([GOOD] * 100) == []


def test_bad_days_in_a_row_reduce_then_pause_and_good_ones_bring_it_back_step_by_step() -> None:
    assert lived([BAD] * 5 + [GOOD] * 8) == [
        (2, "reduced", 0.5),
        (4, "paused", 0.0),
        (8, "recovering", 0.25),
        (10, "recovering", 0.5),
        (12, "active", 1.0),
    ]


def test_by_default_it_takes_thirty_days_to_reduce_and_thirty_more_to_pause() -> None:
    changes = lived([BAD] * 60, health=Health())
    assert changes == [(29, "reduced", 0.5), (59, "paused", 0.0)]


@pytest.mark.parametrize("between", [MIDDLING, GOOD])
def test_one_day_that_is_not_bad_ends_the_row(between: float) -> None:
    assert lived([BAD, BAD, between, BAD, BAD, between] * 3) == []


def test_a_day_in_between_ends_a_row_of_good_days_too() -> None:
    assert lived([BAD] * 3 + [GOOD, MIDDLING] * 5) == [(2, "reduced", 0.5)]
    assert lived([BAD] * 3 + [GOOD, GOOD]) == [(2, "reduced", 0.5), (4, "active", 1.0)]


def test_days_without_a_sharpe_ratio_neither_count_nor_end_a_row() -> None:
    assert lived([BAD, None, BAD, None, None, BAD]) == [(5, "reduced", 0.5)]
    assert lived([None] * 50) == []


def test_the_limits_themselves_belong_to_the_better_side() -> None:
    assert lived([QUICK.bad] * 10) == []
    assert lived([BAD] * 3 + [QUICK.good] * 2) == [(2, "reduced", 0.5), (4, "active", 1.0)]


def test_a_drawdown_reduces_and_pauses_at_once_whatever_the_sharpe_ratio() -> None:
    assert lived([GOOD] * 4, [0.14, 0.15, 0.2, 0.25]) == [(1, "reduced", 0.5), (3, "paused", 0.0)]
    assert lived([None], [0.3]) == [(0, "paused", 0.0)]


def test_a_reduced_strategy_is_not_restored_while_its_drawdown_lasts() -> None:
    assert lived([GOOD] * 6, [0.16, 0.16, 0.16, 0.16, 0.15, 0.14]) == [(0, "reduced", 0.5), (5, "active", 1.0)]


def test_a_pause_lasts_its_time_and_until_the_drawdown_is_over() -> None:
    assert lived([GOOD] * 8, [0.3] + [0.1] * 7) == [
        (0, "paused", 0.0),
        (4, "recovering", 0.25),
        (6, "recovering", 0.5),
    ]
    assert lived([GOOD] * 8, [0.3] * 7 + [0.24]) == [(0, "paused", 0.0), (7, "recovering", 0.25)]
    assert lived([GOOD] + [MIDDLING] * 20, [0.3] + [0.1] * 20) == [(0, "paused", 0.0)]


def test_a_recovering_strategy_relapses_on_bad_days_or_a_drawdown() -> None:
    paused = [(0, "paused", 0.0), (4, "recovering", 0.25)]
    assert lived([GOOD] * 5 + [BAD] * 2, [0.3] + [0.1] * 6)[2:] == [(6, "paused", 0.0)]
    assert lived([GOOD] * 6, [0.3, 0.1, 0.1, 0.1, 0.1, 0.25]) == [*paused, (5, "paused", 0.0)]


def test_steps_of_the_ramp_do_not_end_a_row_of_bad_days() -> None:
    ratios = [GOOD] * 5 + [GOOD, BAD, BAD]
    assert lived(ratios, [0.3] + [0.1] * 7)[2:] == [(6, "recovering", 0.5), (7, "paused", 0.0)]


def test_counters_begin_anew_in_each_state() -> None:
    condition = Condition()
    for _ in range(3):
        condition = next_day(QUICK, condition, BAD, 0.0)
    assert condition == Condition(State.REDUCED, 0.5)


def test_with_the_probability_gate_a_day_is_bad_only_when_it_is_proven() -> None:
    gated = replace(QUICK, psr=0.2)
    counted = [next_day(gated, Condition(bad_days=1, good_days=0), BAD, 0.0, p).bad_days for p in (0.19, 0.2, None)]
    assert counted == [2, 0, 0]
    assert next_day(gated, Condition(good_days=1), BAD, 0.0, None).good_days == 0
    assert next_day(QUICK, Condition(bad_days=1), BAD, 0.0, None).bad_days == 2


def test_a_review_takes_the_ratios_from_the_returns() -> None:
    losing = [-0.01, 0.005] * 90
    assert review(QUICK, Condition(), losing, 0.0).bad_days == 1
    assert review(QUICK, Condition(), losing[:29], 0.0).bad_days == 0
    gated = replace(QUICK, psr=0.2)
    assert probability_above(losing, QUICK.bad, 180) == pytest.approx(0.0, abs=1e-4)
    assert review(gated, Condition(), losing, 0.0).bad_days == 1
    assert review(gated, Condition(), losing[1:], 0.0).bad_days == 0
    won = [0.02, 0.01] * 75 + losing[:30]
    assert review(QUICK, Condition(), won, 0.0).bad_days == 1
    assert review(gated, Condition(), won, 0.0).bad_days == 0


days = st.tuples(st.one_of(st.none(), st.sampled_from([BAD, MIDDLING, GOOD])), st.sampled_from([0.0, 0.1, 0.2, 0.3]))


@given(st.lists(days, max_size=60))
def test_whatever_happens_the_multiplier_is_that_of_the_state_and_a_restart_changes_nothing(
    story: list[tuple[float | None, float]],
) -> None:
    condition = Condition()
    for ratio, drawdown in story:
        after = next_day(QUICK, condition, ratio, drawdown)
        stored = msgspec.json.decode(msgspec.json.encode(condition), type=Condition)
        assert next_day(QUICK, stored, ratio, drawdown) == after
        condition = after
        assert (
            condition.multiplier
            in {
                State.ACTIVE: (1.0,),
                State.REDUCED: (0.5,),
                State.PAUSED: (0.0,),
                State.RECOVERING: (0.25, 0.5),
            }[condition.state]
        )
        assert drawdown < QUICK.drawdown_pause or condition.state is State.PAUSED
        assert condition.days or condition.bad_days == condition.good_days == 0


def test_an_unknown_knob_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"bad_day": 3}', type=Health)


@pytest.mark.parametrize("case", vectors("sharpe_health", "health"))
def test_the_machine_changes_on_the_days_of_the_vectors(case: Any) -> None:
    params = case["input"]["params"]
    health = Health(
        window_days=params["window"],
        bad=params["sr_bad"],
        good=params["sr_good"],
        bad_days=params["bad_days"],
        good_days=params["good_days"],
        pause_after_days=params["pause_after"],
        drawdown_reduce=params["dd_reduce"],
        drawdown_pause=params["dd_pause"],
        reduced=params["m_reduced"],
        ramp=tuple(params["ramp"]),
        ramp_days=params["ramp_days"],
        min_pause_days=params["min_pause"],
    )
    assert health == Health()
    changes = lived(case["input"]["sharpe"], case["input"]["drawdown"], health)
    expected = [tuple(change) for change in case["expected"]["transitions"]]
    if expected[0] == (0, "active", 1.0):
        expected.pop(0)  # they name the state before the first day as well
    assert changes == expected


# Capital


def test_freed_capital_goes_to_the_healthy_in_proportion_up_to_their_cap() -> None:
    shares, cash = reallocate([0.4, 0.4, 0.2], [0.5, 1.0, 1.0], boost=2.0)
    assert shares == pytest.approx([0.2, 0.4 + 0.2 * 2 / 3, 0.2 + 0.2 / 3])
    assert cash == pytest.approx(0.0)
    shares, cash = reallocate([0.4, 0.4, 0.2], [0.5, 1.0, 1.0], boost=1.25)
    assert shares == pytest.approx([0.2, 0.5, 0.25])
    assert cash == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("cash", [0.0, 0.3, 0.2]),
        (1, [0.0, 0.45, 0.2]),
        (2, [0.0, 0.3, 0.3]),
        (0, [0.0, 0.3, 0.2]),
    ],
)
def test_freed_capital_goes_where_the_file_says(to: Literal["cash"] | int, expected: list[float]) -> None:
    shares, cash = reallocate([0.4, 0.3, 0.2], [0.0, 1.0, 1.0], boost=1.5, freed_to=to)
    assert shares == pytest.approx(expected)
    assert cash == pytest.approx(1 - sum(expected))


def test_with_nobody_healthy_all_that_is_freed_is_cash() -> None:
    shares, cash = reallocate([0.6, 0.4], [0.5, 0.0])
    assert [*shares, cash] == pytest.approx([0.3, 0.0, 0.7])


def test_with_everybody_healthy_nothing_moves() -> None:
    shares, cash = reallocate([0.6, 0.3], [1.0, 1.0])
    assert [*shares, cash] == pytest.approx([0.6, 0.3, 0.1])


@pytest.mark.parametrize("case", vectors("sharpe_health", "reallocate"))
def test_capital_moves_as_in_the_vectors(case: Any) -> None:
    given_, expected = case["input"], case["expected"]
    shares, cash = reallocate(given_["capital"], given_["mult"], given_["boost"])
    assert shares == pytest.approx(expected["capital"])
    assert cash == pytest.approx(expected["cash"])


# Statistics

RETURNS = [0.01, -0.02, 0.015, 0.007, -0.003, 0.004]


def test_the_sharpe_ratio_is_that_of_the_last_days_that_have_a_return() -> None:
    by_hand = mean(RETURNS[1:]) / stdev(RETURNS[1:])
    assert daily(RETURNS, 5) == pytest.approx(by_hand)
    assert sharpe(RETURNS, 5) == pytest.approx(by_hand * sqrt(365))
    assert sharpe([*RETURNS[:3], None, *RETURNS[3:], None], 5) == pytest.approx(by_hand * sqrt(365))


@pytest.mark.parametrize("returns", [[], [0.01], RETURNS[:4], [*RETURNS[:4], None], [0.1] * 5])
def test_with_too_few_returns_or_without_variance_there_is_no_ratio(returns: list[float | None]) -> None:
    assert sharpe(returns, 5) is None
    assert probability_above(returns, 0.0, 5) is None


def test_one_return_makes_no_ratio() -> None:
    assert sharpe([0.01], 1) is None


def test_skew_and_kurtosis_of_small_populations() -> None:
    assert skew_kurtosis([-1.0, 1.0]) == pytest.approx((0.0, 1.0))
    # mean 1; deviations -1 -1 -1 3: second moment 3, third 6, fourth 21
    assert skew_kurtosis([0.0, 0.0, 0.0, 4.0]) == pytest.approx((6 / 3**1.5, 21 / 9))


def test_the_error_of_a_ratio_grows_with_a_negative_skew_and_fat_tails() -> None:
    # 1 - 1 * 0.5 + (5 - 1) / 4 * 0.25 = 0.75
    assert sr_std(0.5, 76, 1.0, 5.0) == pytest.approx(0.1)
    assert sr_std(0.5, 76, -1.0, 5.0) == pytest.approx(sqrt(1.75 / 75))
    assert sr_std(0.5, 76, 0.0, 3.0) == pytest.approx(sqrt(1.125 / 75))


def test_two_standard_errors_above_the_floor_are_a_probability_of_97_7_percent() -> None:
    assert psr(0.5, 0.3, 76, 1.0, 5.0) == pytest.approx(NormalDist().cdf(2.0))
    assert psr(0.1, 0.3, 76, 1.0, 5.0) < 0.05


def test_the_record_must_be_so_long_that_the_ratio_is_that_many_errors_above_the_floor() -> None:
    assert min_track_record(0.5, 0.3, 1.0, 5.0, quantile=2.0) == pytest.approx(76)
    assert min_track_record(0.5, 0.0) == pytest.approx(1 + 1.125 * (NormalDist().inv_cdf(0.95) / 0.5) ** 2)
    assert min_track_record(0.3, 0.3) is None


def test_two_valued_returns_do_not_divide_by_zero() -> None:
    assert psr(2.0, 0.0, 10, skew=1.0, kurtosis=1.0) == 1.0


def test_the_probability_from_returns_is_that_of_their_moments() -> None:
    ratio, moments = mean(RETURNS) / stdev(RETURNS), skew_kurtosis(RETURNS)
    error = sqrt((1 - moments[0] * ratio + (moments[1] - 1) / 4 * ratio**2) / 5)
    by_hand = NormalDist().cdf((ratio - 1.0 / sqrt(365)) / error)
    assert probability_above([None, 0.5, *RETURNS], 1.0, 6) == pytest.approx(by_hand)


def test_a_year_and_a_day_measures_a_ratio_of_zero_to_within_one() -> None:
    assert sharpe_error(0.0, 366) == pytest.approx(1.0)
    assert probability_below(1.0, 0.0, 366) == pytest.approx(NormalDist().cdf(1.0))


@pytest.mark.parametrize("case", vectors("sharpe_health", "sharpe"))
def test_ratios_of_returns_are_as_in_the_vectors(case: Any) -> None:
    returns, expected = case["input"]["returns"], case["expected"]
    n = len(returns)
    ratio, (skew, kurtosis) = daily(returns, n), skew_kurtosis(returns)
    assert ratio is not None
    found = {
        "sharpe_daily": ratio,
        "sharpe_ann": sharpe(returns, n),
        "skew": skew,
        "kurt": kurtosis,
        "psr_0": probability_above(returns, 0.0, n),
        "psr_half": probability_above(returns, 0.5, n),
        "psr_005": psr(ratio, 0.05, n, skew, kurtosis),
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("case", vectors("sharpe_health", "psr"))
def test_probabilities_are_as_in_the_vectors(case: Any) -> None:
    g = case["input"]
    assert psr(g["sr"], g["sr0"], g["n"], g["skew"], g["kurt"]) == pytest.approx(case["expected"], rel=1e-9)


@pytest.mark.parametrize("case", vectors("sharpe_health", "sr_std"))
def test_errors_of_ratios_are_as_in_the_vectors(case: Any) -> None:
    g = case["input"]
    assert sr_std(g["sr"], g["n"], g["skew"], g["kurt"]) == pytest.approx(case["expected"], rel=1e-9)


@pytest.mark.parametrize("case", vectors("sharpe_health", "min_trl"))
def test_minimum_track_records_are_as_in_the_vectors(case: Any) -> None:
    g = case["input"]
    found = min_track_record(g["sr"], g["sr0"], g["skew"], g["kurt"])
    assert found == pytest.approx(case["expected"], rel=1e-9)


@pytest.mark.parametrize("case", vectors("sharpe_health", "sharpe_noise"))
def test_the_noise_of_a_sharpe_ratio_is_as_in_the_vectors(case: Any) -> None:
    g = case["input"]
    assert sharpe_error(g["true"], g["window"]) == pytest.approx(case["expected"]["standard_error"], rel=1e-9)
    below = probability_below(0.5, g["true"], g["window"])
    assert below == pytest.approx(case["expected"]["prob_below_half"], rel=1e-9)
