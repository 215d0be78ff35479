"""Times of a portfolio file: when to act, and when not to.

A time is a cron expression or one of a few phrases, a window is from and to with a weekday before it where it is not
every day; both may end with a time zone (``Europe/Berlin``) and are in UTC otherwise.

Where clocks are put forward, a time that is skipped is the first after the gap; where they are put back, a time that
comes twice counts when it first comes, and a window lasts until its end has come twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from agent.core.triggers import S, Triggers

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
PHRASE: Final = re.compile(
    r"every (?:(?P<often>minute|hour)|(?P<day>[a-z]+)(?: at (?P<at>midnight|noon|\d\d?:\d\d))?)", re.IGNORECASE
)
WINDOW: Final = re.compile(r"(?:(?P<day>[a-z]+) )?(?P<start>\d\d?:\d\d) ?- ?(?P<end>\d\d?:\d\d)", re.IGNORECASE)
ZONE: Final = re.compile(r"[A-Z][A-Za-z]+(/[A-Za-z0-9_+-]+)+")


class BadTime(ValueError):
    """A text that is no time: what is wrong with it."""


def cron_of(text: object) -> str:
    """The five fields of a time, and its zone where it is not UTC. Raises `BadTime`."""
    words, zone = _parted(text)
    fields = _phrase(words) or words
    if len(fields.split()) != 5:
        raise BadTime("is not a cron expression of five fields")
    try:
        first = next(CronSim(fields, EPOCH.astimezone(_zone(zone))), None)
    except CronSimError as error:
        raise BadTime(f"is not a cron expression: {str(error).lower()}") from None
    if first is None:
        raise BadTime("is a time that never comes")
    return f"{fields} {zone}".rstrip()


def window_of(text: object) -> str:
    """A window as it is kept: ``[DAY ]HH:MM-HH:MM[ zone]``. Raises `BadTime`."""
    words, zone = _parted(text)
    found = WINDOW.fullmatch(words)
    if found is None:
        raise BadTime("is not a window of time")
    _zone(zone)
    day = f"{_weekday(found['day'])} " if found["day"] else ""
    start, end = _clock(found["start"]), _clock(found["end"])
    if start == end:
        raise BadTime("begins when it ends")
    return f"{day}{start:%H:%M}-{end:%H:%M} {zone}".rstrip()


def schedule_of(triggers: Triggers) -> Callable[[int], int | None]:
    """A function that gives the next time of the schedule strictly after a moment, both UTC ns; None: never again."""
    parted = [_parted(expression) for expression in triggers.schedule]

    def after(now: int) -> int | None:
        start = EPOCH + timedelta(seconds=now // S)
        # Where clocks are put back, the first answers may be times that have come before.
        times = [
            next((at for time in CronSim(fields, start.astimezone(_zone(zone))) if (at := _ns(time)) > now), None)
            for fields, zone in parted
        ]
        return min((at for at in times if at is not None), default=None)

    return after


def blackout_of(triggers: Triggers) -> Callable[[int], int | None]:
    """A function that gives when the blackout ends in which a moment lies, both UTC ns; None: it lies in none."""
    windows = [_parted(window) for window in triggers.blackout]

    def until(now: int) -> int | None:
        return max((end for window, zone in windows if (end := _end(window, zone, now)) is not None), default=None)

    return until


def _end(window: str, zone: str, now: int) -> int | None:
    """When the window ends in which ``now`` lies. One that ends before it begins ends on the next day."""
    found = WINDOW.fullmatch(window)
    assert found is not None, "the window was checked"
    local = (EPOCH + timedelta(seconds=now // S)).astimezone(_zone(zone))
    start, end = _clock(found["start"]), _clock(found["end"])
    for days in (-1, 0, 1):  # tomorrow's as well: where midnight is skipped, it may have begun
        day = local.date() + timedelta(days=days)
        if found["day"] and found["day"] != DAYS[day.weekday()][:3]:
            continue
        begins = datetime.combine(day, start, local.tzinfo)
        ends = datetime.combine(day + timedelta(days=end < start), end, local.tzinfo)
        if min(_both(begins)) <= now < max(_both(ends)):
            return max(_both(ends))
    return None


def _both(moment: datetime) -> tuple[int, int]:
    """The two times that a clock shows ``moment``, where it is put back; around the gap, where it is put forward."""
    return _ns(moment.replace(fold=0)), _ns(moment.replace(fold=1))


def _phrase(words: str) -> str | None:
    """``every Sunday at midnight`` as cron fields; None when it does not begin so."""
    if not words.lower().startswith("every"):
        return None
    found = PHRASE.fullmatch(words)
    if found is None:
        raise BadTime("is not a phrase that is known")
    if found["often"]:
        return "* * * * *" if found["often"].lower() == "minute" else "0 * * * *"
    several = {"day": "*", "weekday": "MON-FRI", "weekend": "SAT,SUN"}
    which = several.get(found["day"].lower()) or _weekday(found["day"])
    at = _clock({"midnight": "00:00", "noon": "12:00"}.get((found["at"] or "midnight").lower(), found["at"]))
    return f"{at.minute} {at.hour} * * {which}"


def _weekday(name: str) -> str:
    """``SUN`` for Sunday, however it is written."""
    known = [day[:3] for day in DAYS if name.upper() in (day, day[:3])]
    if not known:
        raise BadTime(f"names no day of the week ({name})")
    return known[0]


def _parted(text: object) -> tuple[str, str]:
    """The time with single spaces, and the zone at its end: empty for UTC. Raises `BadTime`."""
    if not isinstance(text, str):
        raise BadTime("is not a text")
    *words, last = text.split() or [""]
    if last.upper() in ("UTC", "GMT", "Z"):
        return " ".join(words), ""
    return (" ".join(words), last) if ZONE.fullmatch(last) else (" ".join([*words, last]), "")


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the last: a part of a name, such as America/Argentina
        raise BadTime(f"names a time zone that is not known ({name})") from None


def _clock(text: str) -> time:
    try:
        return time.fromisoformat(text.zfill(5))
    except ValueError:
        raise BadTime(f"holds a time of day that does not exist ({text})") from None


def _ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1) * S
