"""What trading to a band costs: the product's figures against closed forms, and these against published ones."""

from __future__ import annotations

from math import exp, pi, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.band import LANDING, TRIGGER, band_of, noises, penalty_of
from agent.core.covariance import GRID_NS, HALF_LIFE_NS
from agent.core.drift import moved
from agent.core.upkeep import upkeep
from tests.core.closed_forms import (
    best_calendar,
    best_with_fixed,
    best_with_landing,
    calendar_cost,
    edge,
    effective_sample,
    half_life_of,
    running_cost,
    to_constant_correlation,
    trades_a_year,
    weighted_premium,
)
from tests.core.kit import vectors

ONE = (1.0, 1.0, 2 / 3)
"""Units in which h = 1: g s^2 = 1, v = 1, c = 2/3."""
SIGMA = [[0.36, 0.36, 0.18], [0.36, 0.64, 0.4], [0.18, 0.4, 1.0]]
"""Volatilities of 60, 80 and 100 %, correlations of 0.75, 0.3 and 0.5."""


# The upkeep of a leverage


@pytest.mark.parametrize(
    ("leverage", "band", "turnover"),
    [(0.5, 0.039685, 0.19687), (2, 0.15874, 3.1498), (-1, 0.15874, 3.1498), (3, 0.33019, 13.628)],
)
def test_keeping_a_leverage_has_its_price(leverage: float, band: float, turnover: float) -> None:
    """With a volatility of 50 %, 10 bps and an aversion of 1.5: h^3 = L^2 (L - 1)^2 / 1000 and v = L (L - 1) / 2."""
    kept = upkeep(leverage, 0.5, 0.001, 1.5)
    assert kept.band == pytest.approx(band, rel=1e-3)
    assert kept.turnover == pytest.approx(turnover, rel=1e-3)
    assert kept.total == pytest.approx(1.5 * 0.001 * kept.turnover)


@pytest.mark.parametrize("leverage", [0.0, 1.0])
def test_what_does_not_drift_costs_nothing(leverage: float) -> None:
    kept = upkeep(leverage, 0.6, 0.0006, 3.0)
    assert (kept.drift, kept.band, kept.turnover, kept.total) == (0.0, 0.0, 0.0, 0.0)


@given(st.floats(-6, 6).filter(lambda w: abs(w * (w - 1)) > 0.01), st.floats(0.2, 2), st.floats(1e-4, 1e-2),
       st.floats(0.5, 20))  # fmt: skip
def test_the_band_of_one_instrument_is_the_best_of_all_bands(w: float, s: float, c: float, gamma: float) -> None:
    kept, risk = upkeep(w, s, c, gamma), gamma * s * s
    assert kept.total == pytest.approx(running_cost(kept.band, kept.band, risk, kept.drift, c))
    for other in (0.9, 0.99, 1.01, 1.1):
        assert running_cost(other * kept.band, other * kept.band, risk, kept.drift, c) > kept.total
    assert kept.trading == pytest.approx(2 * kept.tracking)


@given(st.floats(-6, 6).filter(lambda w: abs(w * (w - 1)) > 0.1), st.floats(0.2, 2), st.floats(1e-4, 1e-2))
def test_the_upkeep_is_that_of_the_band_that_decides(w: float, s: float, c: float) -> None:
    penalty = penalty_of(np.array([[s * s]]), 0.7)
    band = band_of(penalty, noises(penalty, [w]), [c], 3.0)
    kept = upkeep(w, s, c, 3.0)
    assert band.alone(0) == pytest.approx(max(kept.band, c / (3.0 * 30 / 365) / (s * s)))


def test_a_simulated_band_turns_over_and_costs_what_is_said() -> None:
    """Exact moves of the weight at 3x at small costs, looked at 150 times while it crosses the band once."""
    w, s, c, gamma = 3.0, 0.6, 0.00001, 3.0
    kept, rng = upkeep(w, s, c, gamma), np.random.default_rng(3)
    step = (kept.band / kept.drift) ** 2 / 150
    returns = np.exp(s * sqrt(step) * rng.standard_normal(200_000) - s * s * step / 2) - 1
    now, traded, squares = w, 0.0, 0.0
    for r in returns.tolist():
        (now,) = moved([now], [r])
        end = min(w + kept.band, max(w - kept.band, now))
        traded, now = traded + abs(end - now), end
        squares += (now - w) ** 2
    years = len(returns) * step
    assert traded / years == pytest.approx(kept.turnover, rel=0.1)
    assert gamma / 2 * s * s * squares / len(returns) == pytest.approx(kept.tracking, rel=0.1)


@pytest.mark.parametrize("case", vectors("notrade", "band_1d"))
def test_the_upkeep_is_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    sigma, gamma = given_["sigma"], given_["gamma"]
    kept = upkeep(given_["target"], sigma, given_["cost"], gamma)
    found = {
        "nu": kept.drift,
        "half_width": kept.band,
        "cost_rate": kept.total,
        "trading_rate": kept.trading,
        "risk_rate": kept.tracking,
        "turnover": kept.turnover,
        "tracking_error": sqrt(2 * kept.tracking / gamma),
        "tau_years": given_["cost"] / (gamma * sigma**2 * kept.band),
        "mean_exit_years": kept.band**2 / kept.drift**2,
        "best_full_rebalance_threshold": best_with_landing(0.0, gamma * sigma**2, kept.drift, given_["cost"]).trigger,
    }
    assert found == pytest.approx(want, rel=1e-9)


# Rules against the optimum


@pytest.mark.parametrize(
    ("part", "trigger", "ratio"), [(0.0, 1.587, 1.26), (0.5, 1.287, 1.0357), (0.875, 1.065, 1.0015), (1.0, 1.0, 1.0)]
)
def test_where_a_trade_lands_decides_what_a_threshold_costs(part: float, trigger: float, ratio: float) -> None:
    best, least = best_with_landing(part, *ONE), edge(*ONE)
    assert least.trigger == pytest.approx(1.0)
    assert best.trigger == pytest.approx(trigger, abs=5e-4)
    assert best.cost / least.cost == pytest.approx(ratio, abs=5e-4)
    for other in (0.98, 1.02):
        assert running_cost(other * best.trigger, other * best.land, *ONE) > best.cost


def test_the_products_trigger_and_landing_cost_little_over_the_optimum() -> None:
    risk, v, c = ONE
    assert running_cost(TRIGGER, LANDING, risk, v, c) < 1.01 * edge(risk, v, c).cost
    assert (TRIGGER + LANDING) / 2 > 1


def test_the_best_calendar_costs_half_as_much_again() -> None:
    period = best_calendar(*ONE)
    assert calendar_cost(period, *ONE) / edge(*ONE).cost == pytest.approx(1.563, abs=1e-3)
    assert min(calendar_cost(f * period, *ONE) for f in (0.9, 1.1)) > calendar_cost(period, *ONE)


@pytest.mark.parametrize("case", vectors("notrade", "universal"))
def test_universal_ratios_are_as_in_the_vectors(case: Any) -> None:
    want = case["expected"]
    for part, row in want["by_theta"].items():
        best = best_with_landing(float(part), *ONE)
        assert best.trigger == pytest.approx(row["trigger_over_h"], rel=1e-9)
        assert best.land == pytest.approx(row["land_over_h"], rel=1e-9)
        assert best.cost / edge(*ONE).cost == pytest.approx(row["cost_ratio"], rel=1e-9)
        if row["events_times_h2_over_nu2"] is not None:
            assert trades_a_year(best, 1.0) == pytest.approx(row["events_times_h2_over_nu2"], rel=1e-9)
    period = best_calendar(*ONE)
    assert period == pytest.approx(want["calendar_best_T_times_nu2_over_h2"], rel=1e-9)
    assert calendar_cost(period, *ONE) / edge(*ONE).cost == pytest.approx(want["calendar_best_ratio"], rel=1e-9)


def saved_turnover() -> float:
    """How much less the edge of a band trades than a calendar that tracks as well, by the product's figures."""
    kept = upkeep(3.0, 0.6, 0.0006, 3.0)
    period = 2 * kept.band**2 / (3 * kept.drift**2)
    return 1 - kept.turnover / (kept.drift * sqrt(2 / (pi * period)))


def test_a_band_trades_almost_half_as_much_as_a_calendar_that_tracks_as_well() -> None:
    assert saved_turnover() == pytest.approx(1 - sqrt(pi / 12))


@pytest.mark.parametrize("case", vectors("notrade", "leland"))
def test_the_published_saving_of_turnover(case: Any) -> None:
    assert saved_turnover() == pytest.approx(case["expected"]["reduction"], rel=1e-9)


def test_what_is_lost_to_costs_is_three_quarters_of_spread_times_turnover() -> None:
    """Gerhold, Guasoni, Muhle-Karbe and Schachermayer 2014; the spread is twice the one-way cost."""
    kept = upkeep(-2.0, 0.8, 0.0007, 5.0)
    assert kept.total / (2 * 0.0007 * kept.turnover) == pytest.approx(0.75)


@pytest.mark.parametrize("case", vectors("notrade", "ggms"))
def test_the_published_ratio_of_loss_to_turnover(case: Any) -> None:
    kept = upkeep(3.0, 0.6, 0.0006, 3.0)
    assert kept.total / (2 * 0.0006 * kept.turnover) == pytest.approx(case["expected"]["ratio"], rel=1e-9)


# Costs of each trade besides


def fixed_case(given_: dict[str, float]) -> tuple[float, float, float, float]:
    drift = upkeep(given_["target"], given_["sigma"], 1.0, 1.0).drift
    return given_["gamma"] * given_["sigma"] ** 2, drift, given_.get("cost", 0.0), given_["K"]


def test_a_cost_of_each_trade_widens_the_trigger_and_lands_further_inside() -> None:
    cases = [best_with_fixed(*ONE, fixed) for fixed in (0.0, 0.001, 0.01, 0.1)]
    assert [c.trigger for c in cases] == sorted(c.trigger for c in cases)
    assert [c.land for c in cases] == sorted((c.land for c in cases), reverse=True)
    for fixed, best in zip((0.001, 0.01, 0.1), cases[1:], strict=True):
        around = [running_cost(best.trigger + a, best.land + b, *ONE, fixed) for a in (-1e-3, 0, 1e-3)
                  for b in (-1e-3, 0, 1e-3)]  # fmt: skip
        assert min(around) == pytest.approx(best.cost)


@pytest.mark.parametrize("case", vectors("notrade", "sS"))
def test_fixed_and_proportional_costs_are_as_in_the_vectors(case: Any) -> None:
    want = case["expected"]
    best = best_with_fixed(*fixed_case(case["input"]))
    assert best == pytest.approx((want["trigger"], want["land"], want["cost_rate"]), rel=1e-5)


def test_with_nothing_but_a_cost_of_each_trade_it_pays_to_go_all_the_way() -> None:
    best = best_with_fixed(1.0, 1.0, 0.0, 1e-4)
    assert best.trigger == pytest.approx((12e-4) ** 0.25)
    assert best.land == pytest.approx(0.0, abs=1e-9)
    assert best.cost == pytest.approx(best.trigger**2 / 6)


@pytest.mark.parametrize("case", vectors("notrade", "fixed_only"))
def test_fixed_costs_alone_are_as_in_the_vectors(case: Any) -> None:
    want = case["expected"]
    best = best_with_fixed(*fixed_case(case["input"]))
    assert best.trigger == pytest.approx(want["trigger"], rel=1e-9)
    assert best.land == pytest.approx(want["land"], abs=1e-9)
    assert best.cost == pytest.approx(want["cost_rate"], rel=1e-9)


# Averages and estimates


def test_late_samples_of_a_premium_weigh_more() -> None:
    assert weighted_premium([0.0, 0.0, 0.3]) == pytest.approx(0.15)
    assert weighted_premium([0.2, 0.2]) == pytest.approx(0.2)


@pytest.mark.parametrize("case", vectors("funding", "twap_premium"))
def test_the_weighted_premium_is_as_in_the_vectors(case: Any) -> None:
    assert weighted_premium(case["input"]) == pytest.approx(case["expected"], rel=1e-9)


def test_the_products_memory_is_worth_thousands_of_observations() -> None:
    """So that its own noise moves a band by less than a hundredth: a band goes with the cube root of a variance."""
    found = effective_sample(HALF_LIFE_NS, GRID_NS)
    assert 5_000 < found < 7_000
    assert sqrt(2 / found) / 3 < 0.01
    weights = [0.5**k for k in range(200)]
    assert effective_sample(1.0, 1.0) == pytest.approx(sum(weights) ** 2 / sum(w * w for w in weights))


@pytest.mark.parametrize("case", vectors("ewma", "neff"))
def test_effective_samples_are_as_in_the_vectors(case: Any) -> None:
    given_, want = case["input"], case["expected"]
    found = effective_sample(given_["halflife_days"], given_["dt_days"])
    spread = sqrt(2 / found)
    assert half_life_of(want["lambda_"], given_["dt_days"]) == pytest.approx(given_["halflife_days"], rel=1e-9)
    assert found == pytest.approx(want["n_eff"], rel=1e-9)
    assert (spread, spread / 2, spread / 3) == pytest.approx(
        (want["rel_sd_of_variance"], want["rel_sd_of_vol"], want["rel_sd_of_band"]), rel=1e-9
    )


def test_trust_keeps_variances_and_believes_a_part_of_what_is_common() -> None:
    found = penalty_of(np.array(SIGMA), 0.25)
    assert [found[i][i] for i in range(3)] == [0.36, 0.64, 1.0]
    assert (found[0][1], found[2][1]) == pytest.approx((0.09, 0.1))


@pytest.mark.parametrize("case", vectors("ewma", "shrink_diag"))
def test_trust_in_correlations_is_as_in_the_vectors(case: Any) -> None:
    found = penalty_of(np.array(case["input"]["cov"]), 1 - case["input"]["delta"])
    for row, want in zip(found, case["expected"], strict=True):
        assert row == pytest.approx(want, rel=1e-9)


def test_shrunk_to_a_constant_correlation_the_mean_correlation_stays() -> None:
    (whole, half) = (to_constant_correlation(SIGMA, part) for part in (1.0, 0.5))
    mean = (0.75 + 0.3 + 0.5) / 3
    assert whole[0][1] == pytest.approx(mean * 0.6 * 0.8)
    assert half[0][2] == pytest.approx((0.3 + mean) / 2 * 0.6)


@pytest.mark.parametrize("case", vectors("ewma", "shrink_cc"))
def test_shrinkage_to_a_constant_correlation_is_as_in_the_vectors(case: Any) -> None:
    found = to_constant_correlation(case["input"]["cov"], case["input"]["delta"])
    for row, want in zip(found, case["expected"], strict=True):
        assert row == pytest.approx(want, rel=1e-9)


def test_half_lives_and_what_a_step_keeps_are_one_thing() -> None:
    assert half_life_of(exp(-1.0), 1.0) == pytest.approx(0.693147, abs=1e-6)
