"""The contest of policies, in short: the long one is `trimtab bench policy`."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from agent.cli import app, history, policy
from agent.cli.optimum import Optimum, cubic, optimum, traded
from agent.cli.rules import Array, Calendar, Case, CostAware, Figure, Threshold, landed, luck, prices, settled, simulate
from agent.cli.trial import EQUITY, Trial
from agent.core.orders import S

PAIR = policy.CASES["60/40 at 3x, g=3"]
THREE = policy.CASES["50/30/20 at 3x, g=3"]
DAY_MS = 86_400_000


# The model


def test_prices_are_those_of_the_covariance_and_have_no_trend() -> None:
    told = list(prices(PAIR, paths=200_000, steps=1, seed=3))
    returns = told[0][1] - 1
    assert np.cov(returns) == pytest.approx(np.array(PAIR.covariance) * PAIR.step_years, rel=0.02)
    assert returns.mean(axis=1) == pytest.approx([0.0, 0.0], abs=4 * (0.64 * PAIR.step_years / 200_000) ** 0.5)


def test_weights_drift_and_costs_and_risk_are_counted_as_by_hand() -> None:
    """BTC +10 %: 1.8 and 1.2 become 1.98 and 1.2 over an equity of 1.18; then a fall brings the first far below."""
    told = [(np.zeros((2, 1)), np.array([[1.1], [1.0]])), (np.zeros((2, 1)), np.array([[0.8], [1.0]]))]
    run = simulate(PAIR, Threshold(PAIR, [0.07]), told)
    x = np.array([1.98 / 1.18 - 1.8, 1.2 / 1.18 - 1.2])
    assert np.abs(x).max() < 0.07 * 3
    equity = 1 - (x[0] + 1.8) * 0.2
    far = np.array([(x[0] + 1.8) * 0.8, x[1] + 1.2]) / equity - [1.8, 1.2]
    assert np.abs(far).max() >= 0.07 * 3
    years = 2 * PAIR.step_years
    assert run.turnover[0, 0] == pytest.approx(np.abs(far).sum() / years)
    assert run.trading[0, 0] == pytest.approx(0.0006 * np.abs(far).sum() / years)
    assert run.risk[0, 0] == pytest.approx(1.5 * x @ np.array(PAIR.covariance) @ x / 2)
    assert run.weights[:, 0, 0] == pytest.approx([1.8, 1.2])


def test_a_calendar_trades_once_in_its_period() -> None:
    rule, x = Calendar(PAIR, [7.0, 1.0]), np.ones((2, 2, 1))
    week = round(7 / 365 / PAIR.step_years)
    made = [rule.trade(x, step) for step in range(1, week + 2)]
    assert sum(trade is not None and bool(trade[0, 0, 0]) for trade in made) == 1
    assert sum(trade is not None and bool(trade[0, 1, 0]) for trade in made) == 7


def test_what_is_luck_is_taken_out_and_the_mean_stays() -> None:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, 4000))
    values = 5 + 3 * noise[0] - 2 * noise[1] + 0.1 * rng.standard_normal(4000)
    figure = settled(values, noise, luck(values, noise))
    assert figure.value == pytest.approx(5, abs=0.01)
    assert figure.error == pytest.approx(0.1 / 4000**0.5, rel=0.05)


def test_a_landing_is_a_least_cost() -> None:
    rng = np.random.default_rng(2)
    band = CostAware(THREE)
    x = 0.4 * rng.standard_normal((3, 20))
    slack = band.widths

    def value(u: Array) -> Array:
        after = x + u
        return np.asarray((after * (band.penalty @ after)).sum(axis=0) / 2 + slack @ np.abs(u))

    best = landed(band.penalty, slack, x)
    for _ in range(200):
        other = best + 0.02 * rng.standard_normal(best.shape)
        assert (value(other) >= value(best) - 1e-12).all()


def test_to_judge_drift_where_its_trend_leads_costs_less() -> None:
    case = policy.CASES["60/40 at 3x, g=1"]
    leaning, upright = CostAware(case), CostAware(case)
    upright._ahead = np.zeros_like(leaning._ahead)
    told = list(prices(case, paths=1000, steps=1000, seed=8))
    saved = simulate(case, upright, told).total[0] - simulate(case, leaning, told).total[0]
    assert saved.mean() > 3 * saved.std() / len(saved) ** 0.5
    assert saved.mean() > 0.003 * case.optimum


# The optimum


def test_going_somewhere_first_never_helps_and_the_sweeps_find_the_least() -> None:
    rng = np.random.default_rng(4)
    value, cost = rng.random((7, 5)), 0.13
    for axis, size in enumerate(value.shape):
        found = traded(value, cost, axis)
        for row, column in product(range(7), range(5)):
            here = (row, column)[axis]
            reached = [value[(other, column) if axis == 0 else (row, other)] for other in range(size)]
            least = min(v + cost * abs(other - here) for other, v in enumerate(reached))
            assert found[row, column] == pytest.approx(least)


def test_interpolation_is_exact_for_cubics() -> None:
    t = np.linspace(0, 1, 11)
    weights = cubic(t)
    for power in range(4):
        value = sum(w * (at**power) for w, at in zip(weights, (-1.0, 0.0, 1.0, 2.0), strict=True))
        assert value == pytest.approx(t**power, abs=1e-12)


@pytest.mark.parametrize("name", ["60/40 at 1x, g=3", "60/40 at 3x, g=3", "long 1, short 1, g=3"])
def test_the_optimum_is_the_one_that_the_contest_divides_by(name: str) -> None:
    case = policy.CASES[name]
    found = optimum(case, points=(21, 41), gap=0.003)
    assert found.high - found.low <= 0.003 * found.high
    assert found.value == pytest.approx(case.optimum, rel=0.01)


# The product


def test_paper_charges_what_the_case_says() -> None:
    trial = Trial(
        PAIR.target,
        (2.4, 1.2),
        (100.0, 100.0),
        costs=PAIR.costs,
        risk_aversion=3.0,
        covariance=np.array(PAIR.covariance),
    )
    charged = trial.account
    assert charged.traded > 0.1 * EQUITY
    assert charged.paid / charged.traded == pytest.approx(0.0006, rel=1e-3)
    assert charged.wallet == pytest.approx(EQUITY - charged.paid, rel=1e-9)
    step = trial.look([100.0, 80.0], S)
    assert step.paid / step.traded == pytest.approx(0.0006, rel=1e-3)
    assert abs(step.weights[1] - 1.2) < 0.2


def test_the_engine_trades_as_its_band_alone_does() -> None:
    """On the same prices, with the same beginning: what it costs more is next to nothing."""
    effort = msgspec.structs.replace(policy.SHORT, looks_run=600)
    nothing = np.zeros(len(THREE.target) ** 2)
    extra = policy.compared(THREE, effort, 2, nothing, seed=7)
    assert np.abs(extra / THREE.optimum).max() < 0.03


def test_the_case_is_judged_for_every_rule() -> None:
    effort = policy.Effort(looks=200_000, looks_rules=20_000, error=1.0, pilots=2, runs=2, looks_run=200)
    result = policy.judged("60/40 at 3x, g=10", effort)
    assert list(result.ratios) == [policy.OURS, policy.BAND, *policy.FIXED, policy.BEST, *policy.DATES]
    assert 0.95 < result.ratios[policy.BAND].value < 1.06
    assert result.ratios["threshold 5% to target"].value > 1.2
    assert result.ratios[policy.BEST].value > 1.2
    assert result.proved is not None
    assert result.proved.value == pytest.approx(policy.CASES[result.case].optimum, rel=0.003)


def test_the_last_full_run_on_record_is_whole_and_within_the_bar() -> None:
    report = msgspec.json.decode((Path(__file__).parents[1] / "policy.json").read_bytes(), type=policy.Report)
    assert [result.case for result in report.results] == list(policy.CASES)
    ratios = [result.ratios[policy.OURS] for result in report.results]
    assert max(ratio.error for ratio in ratios) < 0.003
    assert max(ratio.value for ratio in ratios) <= 1.05
    assert np.mean([ratio.value for ratio in ratios]) <= 1.03
    assert report.recorded is not None
    assert report.recorded[0].ratio.value <= 0.75


def test_the_command_ends_with_one_line_of_ratios(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = policy.Report(
        at="",
        version="",
        commit=None,
        cores=2,
        seed=policy.SEED,
        effort=policy.SHORT,
        seconds=0.0,
        results=[
            policy.Result(
                case="60/40 at 3x, g=3",
                ratios={policy.OURS: Figure(1.02, 0.001), "threshold 5% to target": Figure(1.4, 0.01)},
                engine_looks=1,
                engine_extra=Figure(0.0, 0.0),
                proved=Optimum(0.030, 0.031, 10),
                seconds=1.0,
            )
        ],
        recorded=None,
    )
    monkeypatch.setattr(policy, "contest", lambda effort, say, data: report)
    done = CliRunner().invoke(app.app, ["bench", "policy", "--json", "--out", str(tmp_path / "policy.json")])
    assert done.exit_code == 0, done.output
    ratios = {"trimtab": 1.02, "threshold 5% to target": 1.4}
    assert json.loads(done.stdout.splitlines()[-1]) == {"cases": {"60/40 at 3x, g=3": ratios}}
    assert msgspec.json.decode((tmp_path / "policy.json").read_bytes(), type=policy.Report) == report
    shown = CliRunner().invoke(app.app, ["bench", "policy"])
    assert "--data" in shown.stdout
    missing = CliRunner().invoke(app.app, ["bench", "policy", "--data", str(tmp_path / "none.csv")])
    assert missing.exit_code == 2


# Recorded prices


def recording(path: Path, rows: int = 4500) -> Path:
    """More than two weeks of prices every five minutes, as volatile as the model."""
    case = Case(target=history.SHARES, risk_aversion=3.0, optimum=1.0)
    rng = np.random.default_rng(6)
    moves = np.linalg.cholesky(np.array(case.covariance) / 365 / 288) @ rng.standard_normal((3, rows))
    walk = 100 * np.exp(np.cumsum(moves, axis=1)).T
    lines = ["ts_ms,BTCUSDT,ETHUSDT,SOLUSDT"]
    lines += [f"{300_000 * i},{a:.6f},{b:.6f},{c:.6f}" for i, (a, b, c) in enumerate(walk)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_recorded_prices_are_judged_at_one_tracking_error(tmp_path: Path) -> None:
    told = history.recorded(recording(tmp_path / "prices.csv"))
    assert len(told.at) == 4500
    found = history.contest(told, 3.0, lambda gs: [history.product(told, 3.0, g) for g in gs])
    for ratio in (found.ratio, found.ratio_seen):
        assert ratio.within is None or ratio.within[0] <= ratio.value <= ratio.within[1]
    assert found.turnover == pytest.approx(found.ratio.value * found.turnover_rule)
    assert found.turnover_rule > 0
    assert found.years == pytest.approx(7 / 365)


def test_where_some_weeks_hold_no_trade_no_interval_is_claimed() -> None:
    steady = history.Weeks(turnover=np.ones(4), risk=np.ones(4), seen=np.ones(4))
    rare = history.Weeks(turnover=np.array([1.0, 0.0, 0.0, 0.0]), risk=2 * np.ones(4), seen=2 * np.ones(4))
    assert history.ratio_of(rare, [steady, history.Weeks(steady.turnover, 4 * np.ones(4), steady.seen)]).within is None


def test_at_equal_error_is_between_two_runs_on_a_line_in_logarithms() -> None:
    ones = np.ones(4)
    rule = history.Weeks(turnover=10 * ones, risk=4 * ones, seen=2 * ones)
    ours = [history.Weeks(8 * ones, 2 * ones, ones), history.Weeks(2 * ones, 8 * ones, 4 * ones)]
    draws = np.array([[0, 1, 2, 3], [0, 0, 0, 0]])
    assert history.at_equal_error(rule, ours, draws) == pytest.approx([0.4, 0.4])
    assert history.at_equal_error(rule, ours, draws, seen=True) == pytest.approx([0.4, 0.4])


def test_weeks_are_whole_and_the_first_is_left_out() -> None:
    at = list(range(0, 30 * DAY_MS, DAY_MS))
    told = history.Recorded(at=at, prices=np.cumprod(np.full((30, 3), 1.01), axis=0))
    weeks = history.weekly(told, np.full((30, 3), 0.1), np.ones(30))
    assert weeks.turnover.tolist() == [7.0, 7.0, 7.0]
    assert weeks.seen == pytest.approx([7 * 0.003**2] * 3)
