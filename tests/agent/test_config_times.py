"""When to act and when not to, in any time zone, also where clocks are put forward or back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.config import blackout_of, schedule_of
from agent.config.times import BadTime, cron_of, window_of
from agent.core.triggers import Triggers
from tests.agent.config_kit import S, crons, problems_of, with_key

HOUR = 3600 * S
BERLIN = "Europe/Berlin"
FORWARD, BACK = (2026, 3, 29), (2026, 10, 25)
"""Days on which clocks in Berlin go from 2:00 to 3:00, and from 3:00 to 2:00; both at 1:00 UTC."""


def ns(*date: int, zone: str = "UTC", fold: int = 0) -> int:
    return round(datetime(*date, tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * S  # type: ignore[arg-type, misc]


def times(expression: str, start: int, count: int) -> list[int]:
    after = schedule_of(Triggers(schedule=(expression,)))
    found = [start]
    for _ in range(count):
        at = after(found[-1])
        assert at is not None
        found.append(at)
    return found[1:]


# How they are written


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0 0 * * SUN", "0 0 * * SUN"),
        (" 0  0 * * SUN ", "0 0 * * SUN"),
        ("0 8 * * * UTC", "0 8 * * *"),
        ("0 8 * * * Europe/Berlin", "0 8 * * * Europe/Berlin"),
        ("every Sunday at midnight", "0 0 * * SUN"),
        ("every sun", "0 0 * * SUN"),
        ("Every WEDNESDAY at 7:05", "5 7 * * WED"),
        ("every day at 08:00 Europe/Berlin", "0 8 * * * Europe/Berlin"),
        ("every day", "0 0 * * *"),
        ("every weekday at noon", "0 12 * * MON-FRI"),
        ("every weekend at 23:59 America/Argentina/Buenos_Aires", "59 23 * * SAT,SUN America/Argentina/Buenos_Aires"),
        ("every hour", "0 * * * *"),
        ("every  minute  GMT", "* * * * *"),
        ("every day at noon Etc/GMT+5", "0 12 * * * Etc/GMT+5"),
    ],
)
def test_a_time_is_kept_as_cron_fields_and_zone(written: str, kept: str) -> None:
    assert cron_of(written) == kept
    assert cron_of(kept) == kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("23:50-00:10", "23:50-00:10"),
        ("8:00 - 9:30 UTC", "08:00-09:30"),
        ("SUN 22:00-23:30", "SUN 22:00-23:30"),
        ("sunday 22:00-23:30 Europe/Berlin", "SUN 22:00-23:30 Europe/Berlin"),
    ],
)
def test_a_window_is_kept_as_day_times_and_zone(written: str, kept: str) -> None:
    assert window_of(written) == kept
    assert window_of(kept) == kept


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (7, "not a text"),
        ("", "not a cron expression of five fields"),
        ("UTC", "not a cron expression of five fields"),
        ("every Sunday at midnight Berlin", "not a phrase that is known"),
        ("every Sunday at dawn", "not a phrase that is known"),
        ("every someday", "names no day of the week (someday)"),
        ("every day at 25:00", "a time of day that does not exist (25:00)"),
        ("0 0 * * SUN Europe/Belrin", "a time zone that is not known (Europe/Belrin)"),
        ("0 0 * * SUN America/Argentina", "a time zone that is not known (America/Argentina)"),
        ("0 61 * * *", "not a cron expression: bad hour"),
        ("0 0 */29 2 SUN#5", "never comes"),
    ],
)
def test_what_is_no_time(text: object, wrong: str) -> None:
    with pytest.raises(BadTime) as caught:
        cron_of(text)
    assert wrong in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (7, "not a text"),
        ("22:00", "not a window"),
        ("22-23", "not a window"),
        ("22:00-24:00", "a time of day that does not exist (24:00)"),
        ("22:00-22:00", "begins when it ends"),
        ("SOM 22:00-23:00", "names no day of the week (SOM)"),
        ("22:00-23:00 Mars/Base", "a time zone that is not known"),
    ],
)
def test_what_is_no_window(text: object, wrong: str) -> None:
    with pytest.raises(BadTime) as caught:
        window_of(text)
    assert wrong in str(caught.value)


@given(st.from_regex(r"[0-9A-Z*,/L#W-]{1,7}( [0-9A-Z*,/L#W-]{1,7}){4}", fullmatch=True))
@example("1-2/0 * * * *")
def test_random_cron_never_raises_anything_else(expression: str) -> None:
    for found in problems_of(with_key("triggers.schedule", f'["{expression}"]')):
        assert found.key == "triggers.schedule[0]"


@given(st.text() | st.from_regex(r"(every [a-zA-Z]{1,9}( at [0-9:]{1,5})?|[A-Z]{3} )[0-9:-]{0,12}( [A-Z]\w*/\w*)?"))
def test_random_texts_never_raise_anything_else(text: str) -> None:
    for kept in (cron_of, window_of):
        try:
            once = kept(text)
        except BadTime:
            continue
        assert kept(once) == once


# The schedule


def test_the_next_time_of_several_schedules() -> None:
    after = schedule_of(Triggers(schedule=("0 0 * * SUN", "30 8 * * *")))
    assert after(ns(2026, 11, 27, 9)) == ns(2026, 11, 28, 8, 30)
    assert after(ns(2026, 11, 28, 8, 30)) == ns(2026, 11, 29), "strictly after"
    assert after(ns(2026, 11, 29) - 1) == ns(2026, 11, 29)


def test_no_schedule_has_no_next_time() -> None:
    assert schedule_of(Triggers())(ns(2026, 11, 29)) is None


def test_a_zone_counts_in_its_own_hours_all_year() -> None:
    winter, summer = (
        times("0 8 * * * Europe/Berlin", ns(2026, 1, 1), 1),
        times("0 8 * * * Europe/Berlin", ns(2026, 7, 1), 1),
    )
    assert winter == [ns(2026, 1, 1, 7)]
    assert summer == [ns(2026, 7, 1, 6)]


def test_a_time_that_is_skipped_is_the_first_after_the_gap() -> None:
    assert times("30 2 * * * Europe/Berlin", ns(*FORWARD), 2) == [ns(*FORWARD, 1), ns(2026, 3, 30, 0, 30)]


def test_a_time_that_comes_twice_counts_once_whenever_it_is_asked_for() -> None:
    expression = "30 2 * * * Europe/Berlin"
    assert times(expression, ns(*BACK), 2) == [ns(*BACK, 0, 30), ns(2026, 10, 26, 1, 30)]
    between = [ns(*BACK, 0, 30) + minute * 60 * S for minute in range(0, 120, 7)]
    assert {times(expression, at, 1)[0] for at in between} == {ns(2026, 10, 26, 1, 30)}


def test_every_hour_goes_on_through_both_changes() -> None:
    for day in (FORWARD, BACK):
        found = times("0 * * * * Europe/Berlin", ns(*day), 6)
        assert {b - a for a, b in pairwise(found)} == {HOUR}


ZONES = ["", " Europe/Berlin", " America/New_York", " Australia/Lord_Howe", " Asia/Kolkata", " Africa/Cairo"]
expressions = st.tuples(
    crons | st.sampled_from(["30 2 * * *", "0,30 1,2 * * *", "15 */2 * * *", "0 0 * * *", "* 1-3 * * *"]),
    st.sampled_from(ZONES),
).map("".join)
changes = st.sampled_from([ns(*FORWARD), ns(*BACK), ns(2026, 3, 8), ns(2026, 11, 1), ns(2026, 4, 4), ns(2026, 4, 23)])
moments = st.integers(ns(2020, 1, 1), ns(2040, 1, 1)) | st.tuples(changes, st.integers(0, 36 * HOUR)).map(sum)


@given(st.lists(expressions, min_size=1, max_size=3), moments)
def test_the_next_time_is_later_and_there_is_none_in_between(schedule: list[str], now: int) -> None:
    after = schedule_of(Triggers(schedule=tuple(schedule)))
    found = after(now)
    assert found is not None
    assert found > now
    assert found % (60 * S) == 0
    assert after(found - 1) == found


# Windows


def until(window: str, now: int) -> int | None:
    return blackout_of(Triggers(blackout=(window_of(window),)))(now)


def test_a_window_has_its_beginning_and_not_its_end() -> None:
    start, end = ns(2026, 11, 29, 8), ns(2026, 11, 29, 9)
    assert until("08:00-09:00", start - 1) is None
    assert until("08:00-09:00", start) == end
    assert until("08:00-09:00", end - 1) == end
    assert until("08:00-09:00", end) is None


def test_a_window_across_midnight() -> None:
    end = ns(2026, 11, 30, 0, 10)
    assert until("23:50-00:10", ns(2026, 11, 29, 23, 55)) == end
    assert until("23:50-00:10", ns(2026, 11, 30, 0, 5)) == end
    assert until("23:50-00:10", ns(2026, 11, 30, 0, 10)) is None


def test_a_weekday_is_that_of_the_beginning_in_its_zone() -> None:
    window = "SUN 23:00-01:00 America/New_York"  # from Monday 4:00 to 6:00 UTC in winter
    assert until(window, ns(2026, 11, 30, 3, 59)) is None
    assert until(window, ns(2026, 11, 30, 4)) == until(window, ns(2026, 11, 30, 5, 59)) == ns(2026, 11, 30, 6)
    assert until(window, ns(2026, 11, 29, 4)) is None, "there it is still Saturday"


def test_the_longest_of_several_windows_counts() -> None:
    until = blackout_of(Triggers(blackout=("08:00-09:00", "08:30-10:00")))
    assert until(ns(2026, 11, 29, 8, 15)) == ns(2026, 11, 29, 9)
    assert until(ns(2026, 11, 29, 8, 45)) == ns(2026, 11, 29, 10)
    assert blackout_of(Triggers())(0) is None


def test_a_window_in_an_hour_that_is_skipped_lasts_as_long_as_it_should() -> None:
    window = "02:30-03:15 Europe/Berlin"
    assert until(window, ns(*FORWARD, 0, 30)) == ns(*FORWARD, 1, 15), "45 minutes before 3:15 in summer"
    assert until(window, ns(*FORWARD, 0, 30) - 1) is None
    assert until("01:30-02:30 Europe/Berlin", ns(*FORWARD, 0, 30)) == ns(*FORWARD, 1, 30)


def test_a_window_in_an_hour_that_comes_twice_lasts_through_both() -> None:
    first, second = ns(*BACK, 2, 45, zone=BERLIN), ns(*BACK, 2, 45, zone=BERLIN, fold=1)
    assert second - first == HOUR
    for now in (ns(*BACK, 2, 30, zone=BERLIN), first, second - 1):
        assert until("02:30-02:45 Europe/Berlin", now) == second
    assert until("02:30-02:45 Europe/Berlin", second) is None


def test_a_window_at_a_midnight_that_is_skipped_begins_before_it() -> None:
    """In Cairo clocks go from 0:00 to 1:00 on 24 April 2026, at 22:00 UTC of the day before."""
    window = "00:10-00:50 Africa/Cairo"
    assert until(window, ns(2026, 4, 23, 21, 15)) == ns(2026, 4, 23, 22, 50)


clocks = st.tuples(st.integers(0, 23), st.integers(0, 59)).map(lambda at: f"{at[0]:02}:{at[1]:02}")
windows = st.tuples(
    st.sampled_from(["", "SUN ", "THU "]),
    st.tuples(clocks, clocks).filter(lambda both: both[0] != both[1]).map("-".join),
    st.sampled_from(ZONES),
).map("".join)


@given(windows, moments)
def test_a_blackout_ends_later_and_within_a_day_and_an_hour(window: str, now: int) -> None:
    end = until(window, now)
    if end is not None:
        assert now < end <= now + 25 * HOUR
        assert until(window, end - 1) is not None
        again = until(window, end)
        assert again is None or again > end


@given(windows.filter(lambda window: window[:3] not in ("SUN", "THU")), moments)
def test_a_clock_within_the_window_is_in_the_blackout(window: str, now: int) -> None:
    """By another way: what a clock on the wall shows at that moment."""
    both, _, zone = window.partition(" ")
    start, end = both.split("-")
    shows = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=now // S)).astimezone(ZoneInfo(zone or "UTC"))
    clock = f"{shows:%H:%M}"
    inside = start <= clock < end if start < end else clock >= start or clock < end
    if inside:
        assert until(window, now) is not None
