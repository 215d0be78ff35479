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


# All of them by name


def watch(**changes: Any) -> Watch:
    return Watch(Triggers(**{"confirm_s": 5.0, "cool_down_s": 60.0, **changes}))


def test_each_fires_for_itself_at_one_once_it_is_confirmed() -> None:
    it = watch()
    assert it.observe({"a": 1.0, "b": 0.99}, 0) == []
    assert it.observe({"a": 1.2, "b": 1.1}, 5 * S) == ["a"]
    assert it.observe({"a": 1.2, "b": 1.1}, 10 * S) == ["b"]
    assert it.observe({"a": 1.2, "b": 1.1}, 300 * S) == [], "each once in an excursion"


def test_it_is_armed_again_below_a_part_of_its_level() -> None:
    it = watch(confirm_s=0.0, cool_down_s=0.0, rearm=0.75)
    assert it.observe({"a": 1.0}, 0) == ["a"]
    assert it.observe({"a": 0.8}, S) == []
    assert it.observe({"a": 1.0}, 2 * S) == []
    assert it.observe({"a": 0.75}, 3 * S) == []
    assert it.observe({"a": 1.0}, 4 * S) == ["a"]


def test_what_is_no_longer_watched_is_forgotten() -> None:
    it = watch(confirm_s=0.0, cool_down_s=0.0)
    assert it.observe({"a": 1.0}, 0) == ["a"]
    assert it.observe({}, S) == []
    assert it.standings(S) == ()
    assert it.observe({"a": 1.0}, 2 * S) == ["a"], "it is another excursion"


def test_after_a_rest_what_is_still_exceeded_is_confirmed_anew_and_fires_again() -> None:
    it = watch()
    it.observe({"a": 1.5}, 0)
    assert it.observe({"a": 1.5}, 5 * S) == ["a"]
    it.rest(10 * S)
    it.observe({"a": 1.5}, 68 * S)
    assert it.observe({"a": 1.5}, 72 * S) == []
    assert it.observe({"a": 1.5}, 73 * S) == ["a"]


def test_a_rest_is_as_long_as_the_cool_down_or_the_least_that_is_asked_for() -> None:
    short = watch(confirm_s=0.0, cool_down_s=0.0)
    short.observe({"a": 1.0}, 0)
    short.rest(S, 3 * S)
    assert short.observe({"a": 1.0}, 3 * S) == []
    assert short.observe({"a": 1.0}, 4 * S) == ["a"]


def test_the_rest_counts_for_what_is_watched_only_later() -> None:
    it = watch(confirm_s=0.0)
    it.absorb(0)
    assert it.observe({"new": 1.0}, 59 * S) == []
    assert it.observe({"new": 1.0}, 60 * S) == ["new"]


def test_held_back_it_is_confirmed_meanwhile_and_fires_at_the_end() -> None:
    it = watch()
    it.observe({"a": 1.5}, 0)
    it.hold_back(30 * S)
    assert it.observe({"a": 1.5, "b": 1.5}, 29 * S) == []
    assert sorted(it.dues) == [30 * S, 34 * S], "what was exceeded before its end need not wait twice"
    assert it.observe({"a": 1.5, "b": 1.5}, 30 * S) == ["a"]
    it.hold_back(S)
    assert it.observe({"a": 1.5, "b": 1.5}, 34 * S) == ["b"], "never shorter than it rests already"


def test_a_standing_tells_how_near_it_is_since_when_and_what_holds_it_up() -> None:
    it = watch()
    it.observe({"a": 1.5, "b": 0.4}, 2 * S)
    assert it.standings(3 * S) == (
        Standing(name="a", reach=1.5, since=2 * S, due_at=7 * S, rests_until=None),
        Standing(name="b", reach=0.4, since=None, due_at=None, rests_until=None),
    )
    it.observe({"a": 1.5, "b": 0.4}, 7 * S)
    (fired, other) = it.standings(8 * S)
    assert (fired.due_at, fired.rests_until) == (None, 67 * S)
    assert other.rests_until is None
    it.absorb(8 * S)
    assert [one.rests_until for one in it.standings(8 * S)] == [68 * S, 68 * S]
    assert [one.rests_until for one in it.standings(68 * S)] == [None, None]
