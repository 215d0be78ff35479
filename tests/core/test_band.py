"""The band against published cases, and against what must hold for any portfolio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.band import LANDING, LONGEST_YEARS, TRIGGER, Band, band_of, noises, penalty_of, trends
from agent.core.programme import Programme, solve
from tests.core.kit import vectors

SIGMA = [[0.36, 0.3936, 0.432], [0.3936, 0.64, 0.608], [0.432, 0.608, 1.0]]
TARGET = [1.5, 0.9, 0.6]
COSTS = [0.0006, 0.0006, 0.0008]
WIDE = [9.9, 9.9, 9.9]


def band(
    sigma: list[list[float]] = SIGMA,
    target: list[float] = TARGET,
    costs: list[float] = COSTS,
    gamma: float = 3.0,
    t: float = 0.7,
) -> Band:
    penalty = penalty_of(np.array(sigma), t)
    return band_of(penalty, noises(penalty, target), costs, gamma)


def best_trade(it: Band, x: Sequence[float], boxes: Sequence[float]) -> list[float]:
    """What leads from drift ``x`` to just inside the band, none further out than its box; below 0: not traded."""
    after = solve(
        Programme(
            penalty=it.penalty,
            center=[-more for more in it.ahead],
            held=x,
            prices=[LANDING * width for width in it.widths],
            low=[a if box < 0 else -box for a, box in zip(x, boxes, strict=True)],
            high=[a if box < 0 else box for a, box in zip(x, boxes, strict=True)],
        )
    )
    return [b - a for a, b in zip(x, after, strict=True)]


def landing_at(it: Band, part: float) -> Band:
    """Trades as with another landing: published cases have their own."""
    return replace(it, widths=[width * part / LANDING for width in it.widths])


def scaled(by: float) -> list[float]:
    """Drift when all weights have grown by a factor."""
    return [(by - 1) * w for w in TARGET]


# By hand


def test_one_instrument_has_the_cube_root_band_whatever_its_volatility() -> None:
    for variance in (0.04, 0.36, 4.0):
        one = band([[variance]], [2.0], [0.0007], 5.0)
        assert one.alone(0) == pytest.approx((1.5 * 0.0007 * 4 / 5) ** (1 / 3))


def test_what_does_not_drift_by_itself_still_has_a_band() -> None:
    one = band([[0.36]], [1.0], [0.0006], 3.0)
    assert one.widths == [0.0006 / (3.0 * LONGEST_YEARS)]


def test_leverage_a_tenth_too_high_leaves_the_band_and_six_hundredths_do_not() -> None:
    assert max(map(abs, band().reaches(scaled(1.10)))) == pytest.approx(1.4111, abs=1e-4)
    assert max(map(abs, band().reaches(scaled(1.06)))) < TRIGGER
    trade = best_trade(landing_at(band(), 0.86), scaled(1.10), WIDE)
    assert trade == pytest.approx([-0.033136, -0.046526, -0.022798], abs=1e-6)
    assert band().horizon(trade) * 365 == pytest.approx(0.88942, abs=1e-5)


def test_weights_of_a_leveraged_book_grow_when_prices_only_swing() -> None:
    """One instrument, up and down by 1 % with even chances: w (1 + r) / (1 + w r), on average."""
    w, r = 3.0, 0.01
    mean = (w * (1 + r) / (1 + w * r) + w * (1 - r) / (1 - w * r)) / 2
    assert trends(np.array([[r * r]]), [w]) == pytest.approx([mean - w], rel=1e-3)
    assert trends(np.array(SIGMA), [0.0, 1.0, 0.0]) == [0.0, 0.0, 0.0]


def edges(noise: float, trend: float, risk: float, cost: float) -> tuple[float, float]:
    """Where the best policy for one instrument trades, below and above, from its equation, by shooting.

    f, what one more unit of drift costs, obeys noise f'/2 + trend f + risk x^2/2 = J; it is -cost and flat at the lower
    edge, cost and flat at the upper one.
    """

    def shot(low: float) -> tuple[float, float]:
        best, x, f = risk * low * low / 2 - trend * cost, -low, -cost
        step = low / 2000

        def slope(x: float, f: float) -> float:
            return 2 / noise * (best - trend * f - risk * x * x / 2)

        x, f = x + step, f + step * step / 2 * 2 / noise * risk * low
        while (rise := slope(x, f)) > 0:
            f += step * slope(x + step / 2, f + step / 2 * rise)
            x += step
        return x, f

    least, most = 1e-3, 2.0
    for _ in range(60):
        low = (least + most) / 2
        least, most = (low, most) if shot(low)[1] < cost else (least, low)
    return -low, shot(low)[0]


def test_with_a_trend_both_edges_are_moved_to_meet_it() -> None:
    sigma, w, gamma, cost = [[0.36]], 3.0, 1.0, 0.0006
    noise = (w * (1 - w)) ** 2 * 0.36
    (trend,) = trends(np.array(sigma), [w])
    low, high = edges(noise, 0.0, gamma * 0.36, cost)
    plain = band(sigma, [w], [cost], gamma)
    assert (-low, high) == pytest.approx((plain.alone(0),) * 2, rel=2e-3)
    low, high = edges(noise, trend, gamma * 0.36, cost)
    leaning = band_of(np.array(sigma), noises(np.array(sigma), [w]), [cost], gamma, [trend])
    assert leaning.ahead[0] > 0.02
    assert [*leaning.reaches([low]), *leaning.reaches([high])] == pytest.approx([-1, 1], abs=0.01)
    (back,) = best_trade(leaning, [2 * high], [9.9])
    assert leaning.reaches([2 * high + back]) == pytest.approx([LANDING])


def test_what_is_on_hold_is_not_traded_for_any_risk() -> None:
    trade = best_trade(band(), [0.0, 0.8, 0.8], [-1.0, 9.9, 9.9])
    assert trade[0] == 0.0
    assert trade[1] < 0


def test_a_box_binds_even_where_the_risk_alone_would_not() -> None:
    assert best_trade(band(gamma=1e-6), [0.3, -0.3, 0.0], [0.1, 0.2, 9.9]) == pytest.approx([-0.2, 0.1, 0.0])


def test_funding_that_a_long_pays_is_saved_by_selling() -> None:
    one = band([[0.36]], [1.0], [0.0006], 3.0)
    assert one.benefit([0.0], [-0.1], [1.0], 0.1) == pytest.approx(0.01 - 1.5 * 0.36 * 0.01 * 0.1)


# Whatever the portfolio


numbers = st.floats(-1, 1)
portfolios = st.tuples(
    st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=3, max_size=3),
    st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    st.lists(st.floats(0.0001, 0.01), min_size=3, max_size=3),
    st.floats(0.5, 20),
    st.lists(numbers, min_size=3, max_size=3),
)
Portfolio = tuple[list[list[float]], list[float], list[float], float, list[float]]


def made(portfolio: Portfolio, scale: float = 1.0) -> Band:
    """A band from any factors: their products, and a little variance of its own for each, are a covariance."""
    factors, target, costs, gamma, _ = portfolio
    sigma = [
        [
            scale * scale * (sum(p * q for p, q in zip(a, b, strict=True)) + 0.05 * (i == j))
            for j, b in enumerate(factors)
        ]
        for i, a in enumerate(factors)
    ]
    return band(sigma, target, costs, gamma)


@given(portfolios)
def test_a_trade_ends_inside_the_band_and_then_there_is_no_other(portfolio: Portfolio) -> None:
    it, x = made(portfolio), portfolio[4]
    after = [a + u for a, u in zip(x, best_trade(it, x, WIDE), strict=True)]
    assert max(map(abs, it.reaches(after))) <= LANDING * (1 + 1e-6)
    assert best_trade(it, after, WIDE) == pytest.approx([0.0, 0.0, 0.0], abs=1e-8)


@given(portfolios)
def test_a_voluntary_trade_earns_more_than_it_costs_within_its_own_horizon(portfolio: Portfolio) -> None:
    """Landing on the band itself: what the optimum saves is more than k|u|, which is the cost over the horizon."""
    it, x = made(portfolio), portfolio[4]
    whole = landing_at(it, 1.0)
    trade = best_trade(whole, x, WIDE)
    assume(sum(map(abs, trade)) > 1e-6)
    assert it.benefit(x, trade, [0.0] * 3, it.horizon(trade)) > it.cost(trade) * (1 - 1e-9)


@given(portfolios, st.floats(0.2, 5))
def test_the_level_of_volatility_changes_no_decision(portfolio: Portfolio, scale: float) -> None:
    it, other, x = made(portfolio), made(portfolio, scale), portfolio[4]
    floors = [c / (portfolio[3] * LONGEST_YEARS) for c in portfolio[2]]
    assume(all(min(a, b) > f for a, b, f in zip(it.widths, other.widths, floors, strict=True)))
    assert other.reaches(x) == pytest.approx(it.reaches(x), rel=1e-6)
    assert best_trade(other, x, WIDE) == pytest.approx(best_trade(it, x, WIDE), abs=1e-7)


@given(portfolios, st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_nothing_ends_outside_its_box(portfolio: Portfolio, boxes: list[float]) -> None:
    x = portfolio[4]
    trade = best_trade(made(portfolio), x, boxes)
    assert all(abs(a + u) <= box + 1e-12 for a, u, box in zip(x, trade, boxes, strict=True))


# Published


@pytest.mark.parametrize("case", vectors("notrade", "band_1d"))
def test_published_bands_of_one_instrument(case: dict[str, Any]) -> None:
    given_, expected = case["input"], case["expected"]
    one = band([[given_["sigma"] ** 2]], [given_["target"]], [given_["cost"]], given_["gamma"])
    assert one.alone(0) == pytest.approx(expected["half_width"], rel=1e-9)
    assert one.horizon([1.0]) == pytest.approx(expected["tau_years"], rel=1e-9)


@pytest.mark.parametrize("case", vectors("notrade", "kappa"))
def test_published_bands_of_many(case: dict[str, Any]) -> None:
    given_, expected = case["input"], case["expected"]
    it = band(given_["Sigma"], given_["target"], given_["cost"], given_["gamma"], 1.0)
    least = [c / (given_["gamma"] * LONGEST_YEARS) for c in given_["cost"]]  # which these cases leave out
    widths = [max(pair) for pair in zip(expected["kappa"], least, strict=True)]
    assert it.widths == pytest.approx(widths, rel=1e-9)
    alone = [k / given_["Sigma"][i][i] for i, k in enumerate(widths)]
    assert [it.alone(i) for i in range(len(widths))] == pytest.approx(alone, rel=1e-9)
    assert sum(map(float.__eq__, widths, expected["kappa"])) >= len(widths) - 1


@pytest.mark.parametrize("case", vectors("notrade", "qp_l1"))
def test_published_trades(case: dict[str, Any]) -> None:
    given_ = case["input"]
    widths = [k / LANDING for k in given_["kappa"]]
    none = [0.0] * len(widths)
    it = Band(penalty=np.array(given_["Sigma"]), widths=widths, costs=none, risk_aversion=1.0, ahead=none)
    trade = best_trade(it, given_["x"], [9.9] * len(widths))
    assert trade == pytest.approx(case["expected"]["trade"], abs=1e-10)


@pytest.mark.parametrize("case", vectors("gate", "decide"))
def test_published_decisions(case: dict[str, Any]) -> None:
    given_, knobs, expected = case["input"], case["input"]["params"], case["expected"]
    assert knobs["horizon_max_days"] / 365 == LONGEST_YEARS
    target, weight, size = given_["target"], given_["weight"], len(given_["weight"])
    wanted = [w * scale for w, scale in zip(target, given_["funding_scale"] or [1.0] * size, strict=True)]
    it = band(given_["Sigma"], target, given_["cost"], knobs["gamma"], knobs["corr_trust"])
    x = [w - t for w, t in zip(weight, wanted, strict=True)]
    reaches = it.reaches(x)
    box = knobs["tolerance"] * sum(map(abs, target))
    breach = any(abs(a) > box for a in x)
    voluntary = any(abs(reach) > knobs["trigger"] for reach in reaches)
    decision = expected["decision"]
    assert it.widths == pytest.approx(expected["kappa"], rel=1e-9)
    assert reaches == pytest.approx(decision["marginal_over_kappa"], rel=1e-9)
    assert (breach, voluntary) == (decision["breach"], decision["voluntary"])
    if not (breach or voluntary):
        assert decision["reason"] == "inside band"
        return
    trade = best_trade(landing_at(it, knobs["land"]), x, [box * (knobs["tol_land"] if breach else 1.0)] * size)
    if knobs["destination"] == "target":
        trade = [-a for a in x]
    years = knobs["payback_days"] / 365 if breach else it.horizon(trade)
    away = [w - t for w, t in zip(weight, target, strict=True)]
    benefit = it.benefit(away, trade, given_["funding_annual"] or [0.0] * size, years)
    assert trade == pytest.approx(decision["proposed"], rel=1e-9, abs=1e-11)
    assert years * 365 == pytest.approx(decision["horizon_days"], rel=1e-8)
    assert it.cost(trade) * given_["equity"] == pytest.approx(decision["cost"], rel=1e-9)
    assert benefit * given_["equity"] == pytest.approx(decision["benefit"], rel=1e-9)
    assert (benefit > it.cost(trade)) is decision["executed"]
