from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.triggers import S, Standing, Threshold, Triggers, Watch
from tests.core.kit import vectors


def threshold(confirm_s: float = 0, cool_down_s: float = 0, enter: float = 0.05, exit_: float = 0.025) -> Threshold:
    return Threshold(enter, exit_, round(confirm_s * S), round(cool_down_s * S))


def fires(trigger: Threshold, series: Sequence[tuple[float, float]]) -> list[float]:
    return [second for second, value in series if trigger.observe(value, round(second * S))]


def test_it_fires_once_until_its_value_has_fallen_below_the_exit() -> None:
    series = [(0, 0.04), (1, 0.051), (2, 0.06), (3, 0.04), (4, 0.052), (5, 0.02), (6, 0.055)]
    assert fires(threshold(), series) == [1, 6]


def test_a_spike_shorter_than_the_confirmation_is_ignored() -> None:
    series = [(0, 0.06), (5, 0.06), (6, 0.01), (20, 0.06), (29, 0.06), (30, 0.06), (31, 0.07)]
    assert fires(threshold(confirm_s=10), series) == [30]


def test_it_rests_for_its_cool_down() -> None:
    series = [(0, 0.06), (10, 0.01), (20, 0.06), (59, 0.07), (60, 0.07), (61, 0.01), (119, 0.06), (121, 0.06)]
    assert fires(threshold(cool_down_s=60), series) == [0, 60, 121]


def test_equality_fires() -> None:
    assert fires(threshold(), [(0, 0.05)]) == [0]


@pytest.mark.parametrize("case", vectors("triggers", "trigger"))
def test_fire_times_are_as_in_the_vectors(case: Any) -> None:
    given_ = case["input"]
    trigger = threshold(given_["confirm"], given_["cooldown"], given_["enter"], given_["exit"])
    assert fires(trigger, given_["series"]) == case["expected"]


def test_it_says_when_it_will_fire_if_the_excursion_lasts() -> None:
    trigger = threshold(confirm_s=10)
    assert trigger.due_at is None
    assert not trigger.observe(0.06, 5 * S)
    assert trigger.due_at == 15 * S
    assert trigger.observe(0.06, 15 * S)
    assert trigger.due_at is None


def test_while_it_rests_it_is_due_when_the_cool_down_is_over() -> None:
    trigger = threshold(confirm_s=1, cool_down_s=60)
    trigger.absorb(0)
    assert not trigger.observe(0.06, 5 * S)
    assert trigger.due_at == 60 * S


def test_an_absorbed_trigger_rests_but_never_shorter_than_it_would_have() -> None:
    trigger = threshold(cool_down_s=60)
    trigger.absorb(10 * S)
    trigger.absorb(0)
    assert not trigger.observe(0.06, 69 * S)
    assert trigger.observe(0.06, 70 * S)


def test_rearmed_it_fires_again_in_the_same_excursion() -> None:
    trigger = threshold()
    assert trigger.observe(0.06, 0)
    assert not trigger.observe(0.06, S)
    trigger.reset()
    assert trigger.observe(0.06, 2 * S)


def test_a_trigger_that_could_never_be_armed_again_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="armed again"):
        threshold(enter=0.05, exit_=0.06)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.0, 0.02, 0.03, 0.05, 0.09])), max_size=60),
    st.integers(0, 20),
    st.integers(0, 60),
)
def test_between_two_fires_lie_the_cool_down_and_a_return_below_the_exit(
    steps: list[tuple[int, float]], confirm_s: int, cool_down_s: int
) -> None:
    trigger = threshold(confirm_s, cool_down_s)
    now, last, returned, outside_since = 0, None, True, None
    for pause, value in steps:
        now += pause
        due = trigger.due_at
        fired = trigger.observe(value, now * S)
        returned = returned or value <= 0.025
        outside_since = None if value < 0.05 else now if outside_since is None else outside_since
        if fired:
            assert returned
            assert outside_since is not None
            assert now - outside_since >= confirm_s
            assert last is None or now - last >= cool_down_s
            last, returned = now, False
        elif value >= 0.05:
            assert due is None or now * S < due or outside_since == now


@given(st.integers(0, 20), st.integers(0, 60))
def test_it_fires_exactly_when_it_said_it_would(confirm_s: int, cool_down_s: int) -> None:
    trigger = threshold(confirm_s, cool_down_s)
    trigger.absorb(0)
    fired = trigger.observe(0.06, S)
    due = trigger.due_at
    if fired:
        assert due is None
        assert confirm_s == 0
    else:
        assert due is not None
        assert not trigger.observe(0.06, due - 1)
        assert trigger.observe(0.06, due)


# All thresholds by name


def watch(confirm_s: float = 0.0, cool_down_s: float = 0.0, rearm: float = 0.75) -> Watch:
    return Watch(Triggers(confirm_s=confirm_s, cool_down_s=cool_down_s, rearm=rearm))


def test_each_of_several_fires_at_its_own_level_and_in_the_order_given() -> None:
    it = watch()
    assert it.observe({"tolerance": 0.99, "leverage": 1.0, "hedge": 1.2}, 0) == ["leverage", "hedge"]
    assert it.observe({"hedge": 1.2, "leverage": 1.0, "tolerance": 1.1}, S) == ["tolerance"]


def test_each_of_several_is_confirmed_by_itself() -> None:
    it = watch(confirm_s=10)
    assert it.observe({"a": 1.1, "b": 0.5}, 0) == []
    assert it.observe({"a": 1.1, "b": 1.1}, 5 * S) == []
    assert sorted(it.dues) == [10 * S, 15 * S]
    assert it.observe({"a": 1.1, "b": 1.1}, 10 * S) == ["a"]
    assert it.dues == [15 * S]
    assert it.observe({"a": 1.1, "b": 1.1}, 15 * S) == ["b"]
    assert it.dues == []


def test_one_that_fired_fires_again_only_after_it_was_back_below_its_part_of_the_level() -> None:
    it = watch(rearm=0.6)
    assert it.observe({"a": 1.0}, 0) == ["a"]
    assert it.observe({"a": 0.61}, S) == []
    assert it.observe({"a": 1.0}, 2 * S) == []
    assert it.observe({"a": 0.6}, 3 * S) == []
    assert it.observe({"a": 1.0}, 4 * S) == ["a"]


def test_one_that_is_no_longer_given_is_forgotten_and_begins_anew() -> None:
    it = watch(confirm_s=10)
    assert it.observe({"hedge": 1.1, "a": 0.0}, 0) == []
    assert it.observe({"a": 0.0}, 5 * S) == []
    assert it.dues == []
    assert [one.name for one in it.standings(5 * S)] == ["a"]
    assert it.observe({"hedge": 1.1, "a": 0.0}, 6 * S) == []
    assert it.dues == [16 * S]


def test_after_a_correction_all_rest_for_the_cool_down_those_that_come_later_included() -> None:
    it = watch(cool_down_s=60)
    assert it.observe({"a": 1.0, "b": 0.0}, 0) == ["a"]
    it.absorb(10 * S)
    late = {"a": 0.0, "b": 1.0, "c": 1.0}
    assert it.observe(late, 69 * S) == []
    assert it.dues == [70 * S, 70 * S]
    assert it.observe(late, 70 * S) == ["b", "c"]


def test_absorbing_does_not_let_an_excursion_fire_twice_but_resting_does() -> None:
    for again in (False, True):
        it = watch(confirm_s=5, cool_down_s=60)
        it.observe({"a": 1.0}, 0)
        assert it.observe({"a": 1.0}, 5 * S) == ["a"]
        if again:
            it.rest(5 * S)
        else:
            it.absorb(5 * S)
        assert it.observe({"a": 1.0}, 64 * S) == []
        assert it.observe({"a": 1.0}, 69 * S) == (["a"] if again else [])


def test_a_rest_lasts_for_the_cool_down_and_for_as_long_as_it_is_told_at_least() -> None:
    for least_s, until in ((0, 60), (30, 60), (90, 90)):
        it = watch(cool_down_s=60)
        it.observe({"a": 0.0}, 0)
        it.rest(0, least_s * S)
        both = {"a": 1.0, "b": 1.0}
        assert it.observe(both, until * S - 1) == []
        assert it.observe(both, until * S) == ["a", "b"]


def test_a_short_rest_does_not_end_a_long_one() -> None:
    it = watch(cool_down_s=60)
    it.observe({"a": 0.0}, 0)
    it.rest(0, 90 * S)
    it.rest(10 * S)
    assert it.observe({"a": 1.0, "b": 1.0}, 89 * S) == []
    assert it.observe({"a": 1.0, "b": 1.0}, 90 * S) == ["a", "b"]


def test_rearmed_all_are_confirmed_again_but_do_not_rest() -> None:
    it = watch(confirm_s=10)
    it.observe({"a": 1.0, "b": 1.0}, 0)
    assert it.observe({"a": 1.0, "b": 0.0}, 10 * S) == ["a"]
    it.rearm()
    assert it.observe({"a": 1.0, "b": 1.0}, 12 * S) == []
    assert it.observe({"a": 1.0, "b": 1.0}, 21 * S) == []
    assert it.observe({"a": 1.0, "b": 1.0}, 22 * S) == ["a", "b"]


def test_held_back_none_fires_but_what_is_exceeded_meanwhile_is_confirmed_meanwhile() -> None:
    it = watch(confirm_s=10)
    it.observe({"a": 1.0}, 0)
    it.hold_back(30 * S)
    it.hold_back(20 * S)
    assert it.observe({"a": 1.0, "b": 1.0}, 25 * S) == []
    assert it.dues == [30 * S, 35 * S]
    assert it.observe({"a": 1.0, "b": 1.0}, 30 * S) == ["a"]
    assert it.observe({"a": 1.0, "b": 1.0}, 35 * S) == ["b"]


def test_it_tells_how_near_each_is_to_firing() -> None:
    it = watch(confirm_s=10, cool_down_s=60)
    assert it.standings(0) == ()
    it.observe({"a": 0.4, "b": 1.0}, 0)
    it.observe({"a": 0.5, "b": 1.2}, 10 * S)
    it.observe({"a": 1.1, "b": 1.3}, 20 * S)
    assert it.standings(20 * S) == (
        Standing(name="a", reach=1.1, since=20 * S, due_at=30 * S, rests_until=None),
        Standing(name="b", reach=1.3, since=0, due_at=None, rests_until=70 * S),
    )
    assert [one.rests_until for one in it.standings(70 * S)] == [None, None]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 30),
            st.sampled_from([0.0, 0.7, 0.9, 1.0, 1.5]),
            st.sampled_from(["", "", "", "absorb", "rest", "rearm", "hold"]),
        ),
        max_size=60,
    ),
    st.integers(0, 20),
    st.integers(0, 60),
)
def test_whatever_happens_nothing_fires_unconfirmed_or_while_it_rests(
    steps: list[tuple[int, float, str]], confirm_s: int, cool_down_s: int
) -> None:
    it = watch(confirm_s, cool_down_s)
    now, rests_until = 0, 0
    since: int | None = None
    for pause, reach, event in steps:
        now += pause
        since = None if reach < 1 else now if since is None else since
        if it.observe({"a": reach}, now * S):
            assert since is not None
            assert now >= max(since + confirm_s, rests_until)
            rests_until = now + cool_down_s
        if event in ("absorb", "rest"):
            it.absorb(now * S) if event == "absorb" else it.rest(now * S)
            rests_until = max(rests_until, now + cool_down_s)
        if event in ("rest", "rearm"):
            it.rearm()
            since = None
        if event == "hold":
            it.hold_back((now + 40) * S)
            rests_until = max(rests_until, now + 40)
