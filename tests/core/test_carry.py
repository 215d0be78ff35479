"""What positions pay in funding, and what becomes of targets that bleed."""

from __future__ import annotations

from math import prod
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.book import Book
from agent.core.carry import (
    HALF_LIFE_HOURS,
    HOUR_NS,
    LOOK_NS,
    PRIOR_HOURS,
    Bleed,
    Carry,
    CarryRules,
    CarryState,
    Charge,
    Turn,
    expected,
    resting_rate,
    scale_of,
    settlements,
    unusual_funding,
)
from agent.core.events import Funding, Interval, Leverage
from tests.core.kit import MISSION, PRICES, START, book_of, instrument, vectors

HOURS_8 = 8 * HOUR_NS
HIGH = 0.0011
"""Ten times the resting rate beyond it, in 8 hours."""


# Sums of rates


@pytest.mark.parametrize(
    ("now", "next_at", "interval", "horizon", "count"),
    [
        (0, 8, 8, 24, 3),
        (0, 8, 8, 23.9, 2),
        (8, 8, 8, 8, 2),
        (7.999, 8, 8, 8, 1),
        (0, 8, 8, 7.99, 0),
        (0, 1, 1, 168, 168),
        (0, 0, 8, 0, 1),
        (9, 8, 8, 24, 3),
        (100, 8, 8, 4, 1),
    ],
)
def test_settlements_of_the_horizon_are_counted_from_the_next_and_this_instant_counts(
    now: float, next_at: float, interval: float, horizon: float, count: int
) -> None:
    assert settlements(now, next_at, interval, horizon) == count


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 24), st.integers(0, 500))
def test_settlements_are_those_that_lie_in_the_horizon(now: int, next_at: int, interval: int, horizon: int) -> None:
    instants = [next_at + k * interval for k in range(1_100)]
    assert settlements(now, next_at, interval, horizon) == sum(now <= at <= now + horizon for at in instants)


@pytest.mark.parametrize("case", vectors("funding", "n_settlements"))
def test_settlements_are_as_in_the_vectors(case: Any) -> None:
    assert settlements(*case["input"]) == case["expected"]


@given(st.floats(-0.01, 0.01), st.floats(-0.001, 0.001), st.integers(0, 50), st.floats(0, 1))
def test_the_expected_sum_is_that_of_rates_that_fade_one_by_one(
    rate: float, mean: float, count: int, persistence: float
) -> None:
    rates = [mean + (rate - mean) * prod([persistence] * step) for step in range(count)]
    assert expected(rate, mean, count, persistence) == pytest.approx(sum(rates), abs=1e-9)


@pytest.mark.parametrize("case", vectors("funding", "expected_rate_sum"))
def test_expected_sums_are_as_in_the_vectors(case: Any) -> None:
    given_ = case["input"]
    found = expected(given_["f_pred"], given_["f_bar"], given_["m"], given_["rho"])
    assert found == pytest.approx(case["expected"], rel=1e-9)


def test_funding_counts_beyond_the_resting_rate_and_fades() -> None:
    row = book_of(MISSION).rows[0]
    assert unusual_funding(row, 7.0) == 0.0
    row.interval_hours = 8.0
    row.funding = Funding(0, 0.0001, START + HOUR_NS, START)
    assert unusual_funding(row, 7.0) == 0.0
    row.funding = Funding(0, HIGH, START + HOUR_NS, START)
    assert unusual_funding(row, 7.0) * 7 / 365 == pytest.approx(0.001 * (1 - 0.9**21) / 0.1)
    assert unusual_funding(row, 7.0, mean=HIGH) * 7 / 365 == pytest.approx(0.021)
    assert unusual_funding(row, 0.0) == 0.0
    row.interval_hours, row.funding = 1.0, Funding(0, 0.0001 / 8, START + HOUR_NS, START)
    assert unusual_funding(row, 7.0) == pytest.approx(0.0)


# Consumption


@pytest.mark.parametrize("case", vectors("funding", "funding_adjusted_target"))
def test_consumption_and_scaled_targets_are_as_in_the_vectors(case: Any) -> None:
    """Where all of what is paid counts, resting rate or not."""
    given_, want = case["input"], case["expected"]
    paid = sum(n * rate for n, rate in zip(given_["notional"], given_["rate_sum"], strict=True))
    charge = Charge(paid=paid, resting=0.0, initial=sum(given_["initial_margin"]))
    scale = scale_of(charge.phi, 1.0)
    assert charge.paid == pytest.approx(want["paid"], abs=1e-9)
    assert charge.phi == pytest.approx(want["phi"], abs=1e-12)
    assert scale == pytest.approx(want["scale"], rel=1e-9)
    assert [scale * w for w in given_["target_weight"]] == pytest.approx(want["adjusted_target"], rel=1e-9)
    drifts = [w * (1 + charge.phi) - w for w in given_["target_weight"]]
    assert drifts == pytest.approx(want["capital_drift"], abs=1e-12)


@pytest.mark.parametrize(
    ("paid", "resting", "phi"),
    [(210.0, 21.0, 0.0945), (21.0, 21.0, 0.0), (10.0, 21.0, 0.0), (-210.0, -21.0, 0.0), (210.0, -21.0, 0.105)],
    ids=["long, dear", "long, as usual", "long, cheap", "short, receives", "short, pays"],
)
def test_only_what_is_paid_and_is_more_than_usual_consumes_margin(paid: float, resting: float, phi: float) -> None:
    assert Charge(paid=paid, resting=resting, initial=2_000.0).phi == pytest.approx(phi)


@pytest.mark.parametrize(("phi", "scale"), [(0.0, 1.0), (0.1, 1 / 1.1), (0.25, 0.8), (7.0, 0.8)])
def test_no_target_is_scaled_below_the_cap(phi: float, scale: float) -> None:
    assert scale_of(phi, 0.25) == pytest.approx(scale)


# Settlements as they come


class Scene:
    """A book whose funding the test tells, and a carry that looks at it. Leverage settings are 5, so 7 days at `HIGH`
    beyond the resting rate, fading toward it, consume about 4.5 % of the margin, and 10 % if it stays."""

    def __init__(
        self,
        goals: dict[str, float | None],
        rules: CarryRules | None = None,
        state: CarryState | None = None,
        *,
        hours: float = 8.0,
        bases: dict[str, str] | None = None,
    ) -> None:
        listed = [instrument(i, symbol, base=(bases or {}).get(symbol, symbol[:3])) for i, symbol in enumerate(goals)]
        self.goals = list(goals.values())
        prices = {symbol: PRICES.get(symbol, 100.0) for symbol in goals}
        self.book: Book = book_of(dict.fromkeys(goals, 0.0), prices=prices, instruments=listed)
        self.hours = hours
        self.now = START
        self.next_at = START + round(hours * HOUR_NS)
        self.carry = Carry(list(goals), rules or CarryRules(), state)
        for i in range(len(goals)):
            self.book.apply(Interval(i, hours), START)
            self.book.apply(Leverage(i, 5), START)

    @property
    def parts(self) -> list[float]:
        return self.carry.scales(self.book, self.goals)

    def tell(self, *rates: float | None) -> list[Turn]:
        """These rates are expected at the next settlement."""
        self.now += LOOK_NS
        for i, rate in enumerate(rates):
            if rate is not None:
                self.book.apply(Funding(i, rate, self.next_at, self.now), self.now)
        return self.carry.observe(self.book, self.goals, self.now)

    def settle(self, *rates: float | None, periods: float = 1) -> list[Turn]:
        """The settlement passes (or several do unheard), and then these rates are expected at the one after it."""
        self.now = self.next_at + round((periods - 1) * self.hours * HOUR_NS)
        self.next_at = self.now + round(self.hours * HOUR_NS)
        return self.tell(*rates)


def dear(goals: dict[str, float | None], **options: Any) -> Scene:
    """With a mean as high as the rates, so that nothing is expected to fade."""
    scene = Scene(goals, **options)
    scene.tell(*[HIGH] * len(goals))
    for symbol in goals:
        heard = scene.carry.state.heard[symbol]
        heard.paid = HIGH / scene.hours * heard.hours
    return scene


def test_each_settlement_counts_once_and_the_mean_follows_with_its_half_life() -> None:
    scene = Scene({"BTCUSDT": 1.0})
    row = scene.book.rows[0]
    assert scene.carry.mean(row) is None
    scene.tell(HIGH)
    assert scene.carry.mean(row) == pytest.approx(0.0001)
    sums = [0.0001 * PRIOR_HOURS / 8, PRIOR_HOURS]
    for _ in range(42):
        scene.tell(0.5)
        scene.tell(HIGH)
        scene.settle(HIGH)
        keep = 0.5 ** (8 / HALF_LIFE_HOURS)
        sums = [sums[0] * keep + HIGH, sums[1] * keep + 8]
        assert scene.carry.mean(row) == pytest.approx(sums[0] / sums[1] * 8)
    left = 0.5 * PRIOR_HOURS / sums[1]
    assert scene.carry.mean(row) == pytest.approx(left * 0.0001 + (1 - left) * HIGH), "after one half-life"


def test_the_prior_is_the_resting_rate_of_the_interval() -> None:
    scene = Scene({"BTCUSDT": 1.0}, hours=4.0)
    scene.tell(HIGH)
    assert scene.carry.mean(scene.book.rows[0]) == pytest.approx(0.00005)
    assert resting_rate(1.0) == pytest.approx(0.0001 / 8)
    scene.book.rows[0].interval_hours = None
    assert scene.carry.mean(scene.book.rows[0]) is None


def test_an_answer_from_a_cache_does_not_let_a_settlement_count_twice() -> None:
    scene = Scene({"BTCUSDT": 1.0})
    scene.tell(HIGH)
    passed = scene.next_at
    scene.settle(0.0001)
    once = msgspec.json.encode(scene.carry.state.heard["BTCUSDT"].paid)
    scene.book.apply(Funding(0, HIGH, passed, scene.now), scene.now)
    scene.now += LOOK_NS
    scene.carry.observe(scene.book, scene.goals, scene.now)
    scene.tell(0.0001)
    assert msgspec.json.encode(scene.carry.state.heard["BTCUSDT"].paid) == once


def test_a_settlement_that_is_put_off_before_it_has_passed_is_none() -> None:
    scene = Scene({"BTCUSDT": 1.0})
    scene.tell(HIGH)
    scene.next_at += HOURS_8
    scene.tell(HIGH)
    assert scene.carry.state.heard["BTCUSDT"].settled_at == 0


def test_it_looks_once_a_second_and_not_before_all_is_listed() -> None:
    scene = Scene({"BTCUSDT": 1.0, "ETHUSDT": 0.5})
    listed, scene.book.rows[1].instrument = scene.book.rows[1].instrument, None
    scene.tell(HIGH, HIGH)
    assert scene.carry.units(scene.book, scene.goals) == []
    assert scene.carry.state.heard == {}
    scene.book.rows[1].instrument = listed
    scene.tell(HIGH, HIGH)
    assert list(scene.carry.state.heard) == ["BTCUSDT", "ETHUSDT"]
    scene.book.apply(Funding(0, 0.0, scene.next_at, scene.now), scene.now)
    scene.carry.observe(scene.book, scene.goals, scene.now + LOOK_NS - 1)
    assert scene.carry.state.heard["BTCUSDT"].rate == HIGH


# Bleeding


def test_a_long_that_pays_far_more_than_usual_bleeds_from_the_second_settlement_on() -> None:
    scene = dear({"BTCUSDT": 1.0})
    assert scene.parts == [1.0]
    assert scene.settle(HIGH) == []
    assert scene.parts == [1.0]
    (turn,) = scene.settle(HIGH)
    assert (turn.unit, turn.begun) == ((0,), True)
    assert turn.phi == pytest.approx(0.105)
    assert scene.parts == pytest.approx([1 / 1.105])
    assert scene.settle(HIGH) == []


def test_between_settlements_nothing_turns() -> None:
    scene = dear({"BTCUSDT": 1.0})
    scene.settle(HIGH)
    for _ in range(5):
        assert scene.tell(0.0001) == scene.tell(HIGH) == []
    assert scene.parts == [1.0]
    scene.settle(HIGH)
    scene.tell(0.0001)
    assert scene.parts == pytest.approx([1 / 1.105])


def test_a_settlement_is_judged_by_the_rate_that_was_known_just_before_it() -> None:
    scene = dear({"BTCUSDT": 1.0})
    heard = scene.carry.state.heard["BTCUSDT"]
    scene.settle(0.0001)
    assert scene.carry.state.bleeds["+BTCUSDT"].phi == pytest.approx(0.105, rel=0.01)
    heard.paid = 0.0001 / 8 * heard.hours
    scene.settle(HIGH)
    assert scene.carry.state.bleeds["+BTCUSDT"].phi == pytest.approx(0.0, abs=1e-9)


def test_it_ends_at_the_exit_and_not_in_between() -> None:
    scene = dear({"BTCUSDT": 1.0}, rules=CarryRules(enter=0.06, exit=0.02))
    scene.settle(HIGH)
    scene.settle(0.0006)
    heard = scene.carry.state.heard["BTCUSDT"]
    heard.paid = 0.0006 / 8 * heard.hours
    assert scene.settle(0.0002) == []
    assert 0.02 < (scene.carry.state.bleeds["+BTCUSDT"].phi or 0.0) < 0.06
    assert scene.parts[0] < 1.0
    heard.paid = 0.0002 / 8 * heard.hours
    (turn,) = scene.settle(0.0002)
    assert not turn.begun
    assert turn.phi == pytest.approx(0.0105)
    assert scene.parts == [1.0]


def test_the_confirmation_begins_anew_with_a_settlement_that_is_not_dear() -> None:
    scene = dear({"BTCUSDT": 1.0})
    heard = scene.carry.state.heard["BTCUSDT"]
    scene.settle(-HIGH)
    heard.paid = 0.0001 / 8 * heard.hours
    scene.settle(HIGH)
    heard.paid = HIGH / 8 * heard.hours
    assert scene.settle(HIGH) == []
    (turn,) = scene.settle(HIGH)
    assert turn.begun


@pytest.mark.parametrize(
    ("goal", "rate"),
    [(1.0, 0.0001), (-1.0, HIGH), (1.0, -HIGH), (1.0, 0.00005)],
    ids=["as usual", "short receives", "long receives", "less than usual"],
)
def test_who_receives_or_pays_no_more_than_usual_never_bleeds(goal: float, rate: float) -> None:
    scene = Scene({"BTCUSDT": goal})
    scene.tell(rate)
    for _ in range(60):
        assert scene.settle(rate) == []
    assert scene.parts == [1.0]


def test_a_short_bleeds_where_shorts_pay() -> None:
    scene = Scene({"BTCUSDT": -1.0})
    scene.tell(-HIGH)
    turns = [turn for _ in range(60) for turn in scene.settle(-HIGH)]
    assert [turn.begun for turn in turns] == [True]
    assert list(scene.carry.state.bleeds) == ["-BTCUSDT"]


def test_a_lower_leverage_setting_allots_more_margin_and_bleeds_less() -> None:
    scene = dear({"BTCUSDT": 1.0})
    five = scene.carry.charge(scene.book, (0,), scene.goals, scene.now)
    scene.book.apply(Leverage(0, 2), scene.now)
    two = scene.carry.charge(scene.book, (0,), scene.goals, scene.now)
    assert five is not None
    assert two is not None
    assert (five.paid, five.resting, five.initial) == pytest.approx((21 * HIGH, 0.0021, 0.2))
    assert five.phi / two.phi == pytest.approx(2.5)


@pytest.mark.parametrize("missing", ["funding", "interval_hours", "leverage", "mean"])
def test_while_a_number_is_missing_nobody_knows_what_is_paid(missing: str) -> None:
    scene = dear({"BTCUSDT": 1.0})
    assert scene.carry.charge(scene.book, (0,), scene.goals, scene.now) is not None
    if missing == "mean":
        scene.carry.state.heard.clear()
    else:
        setattr(scene.book.rows[0], missing, None)
    assert scene.carry.charge(scene.book, (0,), scene.goals, scene.now) is None


def test_bleeding_ends_when_its_measure_is_lost() -> None:
    scene = dear({"BTCUSDT": 1.0})
    scene.settle(HIGH)
    scene.settle(HIGH)
    scene.book.rows[0].leverage = None
    (turn,) = scene.settle(HIGH)
    assert (turn.begun, turn.phi) == (False, None)
    assert scene.parts == [1.0]


def test_what_is_on_hold_or_not_wanted_is_nobodys_unit() -> None:
    scene = Scene({"BTCUSDT": None, "ETHUSDT": 0.0, "SOLUSDT": 0.5})
    scene.tell(HIGH, HIGH, HIGH)
    assert scene.carry.units(scene.book, scene.goals) == [(2,)]


def test_another_sign_of_the_target_is_another_unit() -> None:
    scene = dear({"BTCUSDT": 1.0})
    scene.settle(HIGH)
    scene.settle(HIGH)
    scene.goals = [-1.0]
    scene.tell(HIGH)
    assert scene.parts == [1.0]


def test_without_targets_there_is_nothing_to_judge() -> None:
    scene = dear({"BTCUSDT": 0.5, "ETHUSDT": -0.5}, rules=CarryRules(hedges=(("BTCUSDT", "ETHUSDT"),)))
    scene.carry.state.bleeds["+BTCUSDT -ETHUSDT"] = Bleed(phi=0.1, on=True)
    assert scene.parts == pytest.approx([1 / 1.1] * 2)
    assert scene.carry.scales(scene.book, []) == [1.0, 1.0]


# Hedges

SPREAD = {"BTCUSDT": 0.5, "BTCUSDC": -0.5, "ETHUSDT": 0.4}


def test_opposite_targets_in_one_coin_hedge_each_other_unless_groups_are_named() -> None:
    scene = Scene(dict(SPREAD))
    scene.tell()
    assert scene.carry.units(scene.book, scene.goals) == [(0, 1), (2,)]
    assert scene.carry.units(scene.book, [0.5, 0.5, 0.4]) == [(0,), (1,), (2,)]
    named = Scene(dict(SPREAD), CarryRules(hedges=(("BTCUSDC", "ETHUSDT"),)))
    named.tell()
    assert named.carry.units(named.book, named.goals) == [(1, 2), (0,)]
    assert named.carry.units(named.book, [0.5, None, 0.4]) == [(0,)], "half a hedge is not scaled"


def test_a_hedge_is_judged_on_what_it_pays_net_and_scaled_on_both_legs() -> None:
    scene = dear(dict(SPREAD))
    scene.settle(HIGH, HIGH, 0.0001)
    scene.settle(HIGH, HIGH, 0.0001)
    assert scene.parts[:2] == [1.0, 1.0], "equal rates cancel"
    heard = scene.carry.state.heard["BTCUSDC"]
    heard.paid = 0.0
    scene.tell(HIGH, 0.0, 0.0001)
    scene.settle(HIGH, 0.0, 0.0001)
    scene.settle(HIGH, 0.0, 0.0001)
    first, second, other = scene.parts
    assert first == second < 1.0
    phi = scene.carry.state.bleeds["+BTCUSDT -BTCUSDC"].phi
    assert phi is not None
    assert first == pytest.approx(1 / (1 + phi))
    assert phi == pytest.approx(21 * HIGH * 0.5 / (1.0 / 5), rel=0.01)
    assert other < 1.0, "and the one alone by its own factor"


def test_legs_of_a_hedge_that_are_told_apart_are_one_settlement() -> None:
    scene = dear({"BTCUSDT": 0.5, "BTCUSDC": -0.5})
    scene.carry.state.heard["BTCUSDC"].paid = 0.0
    scene.tell(HIGH, 0.0)
    scene.settle(HIGH, None)
    scene.tell(HIGH, 0.0)
    assert scene.carry.state.bleeds["+BTCUSDT -BTCUSDC"].high == 1


def test_groups_must_name_instruments_of_the_portfolio_once() -> None:
    with pytest.raises(AssertionError, match="one hedge group"):
        Carry(["BTCUSDT"], CarryRules(hedges=(("BTCUSDT",), ("BTCUSDT",))))
    with pytest.raises(AssertionError, match="of the portfolio"):
        Carry(["BTCUSDT"], CarryRules(hedges=(("BTCUSDT", "ETHUSDT"),)))
    with pytest.raises(AssertionError, match="below the level"):
        Carry([], CarryRules(enter=0.01, exit=0.02))


# A restart, and silence


def again(scene: Scene) -> Scene:
    """The same after a restart: what was remembered has been written down and read."""
    state = msgspec.json.decode(msgspec.json.encode(scene.carry.state), type=CarryState)
    goals = dict(zip(scene.carry.symbols, scene.goals, strict=True))
    other = Scene(goals, scene.carry.rules, state)
    other.now, other.next_at = scene.now, scene.next_at
    return other


def test_a_restart_forgets_neither_the_mean_nor_the_bleeding() -> None:
    scene = dear({"BTCUSDT": 1.0})
    scene.settle(HIGH)
    scene.settle(HIGH)
    other = again(scene)
    other.tell()
    assert other.parts == [1.0], "nothing is scaled before its funding is heard of"
    other.tell(HIGH)
    assert other.parts == scene.parts
    assert other.settle(HIGH) == scene.settle(HIGH) == []
    assert other.carry.state == scene.carry.state


def test_one_dear_settlement_before_a_restart_and_one_after_it_are_two() -> None:
    scene = dear({"BTCUSDT": 1.0})
    scene.settle(HIGH)
    other = again(scene)
    other.tell(HIGH)
    (turn,) = other.settle(HIGH)
    assert turn.begun


def test_settlements_that_nobody_heard_count_neither_in_the_mean_nor_as_confirmation() -> None:
    scene = dear({"BTCUSDT": 1.0})
    scene.settle(HIGH)
    before = scene.carry.state.heard["BTCUSDT"].paid
    assert scene.settle(HIGH, periods=4) == []
    assert scene.carry.state.heard["BTCUSDT"].paid == before
    assert scene.settle(HIGH) == []
    (turn,) = scene.settle(HIGH)
    assert turn.begun


def test_after_a_silence_the_present_rate_may_end_bleeding() -> None:
    scene = dear({"BTCUSDT": 1.0})
    scene.settle(HIGH)
    scene.settle(HIGH)
    assert scene.settle(HIGH, periods=4) == []
    assert scene.parts[0] < 1.0
    heard = scene.carry.state.heard["BTCUSDT"]
    heard.paid = 0.0001 / 8 * heard.hours
    (turn,) = scene.settle(0.0001, periods=4)
    assert not turn.begun


@given(st.lists(st.floats(-0.003, 0.003), min_size=1, max_size=40), st.sampled_from([1.0, -1.0]))
def test_a_target_is_scaled_only_after_two_dear_settlements_and_never_below_the_cap(
    rates: list[float], goal: float
) -> None:
    scene = Scene({"BTCUSDT": goal})
    scene.tell(rates[0])
    high = 0
    for rate in rates[1:]:
        scene.settle(rate)
        phi = scene.carry.state.bleeds[("+" if goal > 0 else "-") + "BTCUSDT"].phi
        assert phi is not None
        high = high + 1 if phi >= 0.05 else 0
        part = scene.parts[0]
        assert part == 1.0 or part == pytest.approx(1 / (1 + min(phi, 0.25)))
        assert part >= 0.8
        if high >= 2:
            assert part < 1.0
        if phi <= 0.025:
            assert part == 1.0
