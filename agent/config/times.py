"""Times of a portfolio file: when to act, and when not to.

A time is a cron expression or one of a few phrases, a window is from and to with a weekday before it where it is not
every day; both may end with a time zone (``Europe/Berlin``) and are in UTC otherwise.
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
DAYS: Final = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
PHRASE: Final = re.compile(
    r"every (?:(?P<often>minute|hour)|(?P<day>day|weekday|weekend|[a-z]+day)(?: at (?P<at>midnight|noon|\d\d?:\d\d))?)",
    re.IGNORECASE,
)
WINDOW: Final = re.compile(r"(?:(?P<day>[A-Z]{3}) )?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)")


class BadTime(ValueError):
    """A text that is no time: what is wrong with it."""


def cron_of(text: object) -> str:
    """The five fields of a time, and its zone where it is not UTC. Raises `BadTime`."""
    if not isinstance(text, str):
        raise BadTime("is not a text")
    words, zone = _parted(text)
    fields = _phrase(words) or words
    if len(fields.split()) != 5:
        raise BadTime("is neither a cron expression of five fields nor a phrase that is known")
    try:
        first = next(CronSim(fields, EPOCH.astimezone(_zone(zone))), None)
    except CronSimError as error:
        raise BadTime(f"is not a cron expression: {str(error).lower()}") from None
    if first is None:
        raise BadTime("is a time that never comes")
    return f"{fields} {zone}".rstrip()


def window_of(text: object) -> str:
    """A window as it is kept: ``[DAY ]HH:MM-HH:MM[ zone]``. Raises `BadTime`."""
    if not isinstance(text, str):
        raise BadTime("is not a text")
    words, zone = _parted(text)
    found = WINDOW.fullmatch(words)
    if found is None or (found["day"] and found["day"] not in DAYS):
        raise BadTime("is not a window of time")
    if _clock(found["start"]) == _clock(found["end"]):
        raise BadTime("begins when it ends")
    _zone(zone)
    return f"{words} {zone}".rstrip()


def schedule_of(triggers: Triggers) -> Callable[[int], int | None]:
    """A function that gives the next time of the schedule strictly after a moment, both UTC ns; None: never again."""
    parted = [_parted(expression) for expression in triggers.schedule]

    def after(now: int) -> int | None:
        start = EPOCH + timedelta(seconds=now // S)
        times = [next(CronSim(fields, start.astimezone(_zone(zone))), None) for fields, zone in parted]
        return min((_ns(time) for time in times if time is not None), default=None)

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
    for day in (local.date() - timedelta(days=1), local.date()):
        if found["day"] and DAYS[day.weekday()] != found["day"]:
            continue
        begins = datetime.combine(day, start, local.tzinfo)
        ends = datetime.combine(day + timedelta(days=end < start), end, local.tzinfo)
        if _ns(begins) <= now < _ns(ends):
            return _ns(ends)
    return None


def _phrase(words: str) -> str | None:
    """``every Sunday at midnight`` as cron fields; None when it is no such phrase."""
    found = PHRASE.fullmatch(words.strip())
    if found is None:
        return None
    if found["often"]:
        return "* * * * *" if found["often"].lower() == "minute" else "0 * * * *"
    day = found["day"].lower()
    known = {"day": "*", "weekday": "MON-FRI", "weekend": "SAT,SUN"}
    which = known.get(day) or (day[:3].upper() if day in FULL_DAYS else None)
    if which is None:
        raise BadTime(f"names no day of the week ({found['day']})")
    at = _clock({"midnight": "00:00", "noon": "12:00"}.get((found["at"] or "midnight").lower(), found["at"]))
    return f"{at.minute} {at.hour} * * {which}"


FULL_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def _parted(text: str) -> tuple[str, str]:
    """The time, and the zone at its end: empty for UTC."""
    words, _, last = text.strip().rpartition(" ")
    if last.upper() in ("UTC", "GMT", "Z"):
        return words, ""
    return (words, last) if re.fullmatch(r"[A-Z][A-Za-z]+(/[A-Za-z_+-]+)+", last) else (text.strip(), "")


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        raise BadTime(f"names a time zone that is not known ({name})") from None


def _clock(text: str) -> time:
    try:
        return time.fromisoformat(text.zfill(5))
    except ValueError:
        raise BadTime(f"holds a time of day that does not exist ({text})") from None


def _ns(moment: datetime) -> int:
    return round((moment - EPOCH).total_seconds()) * S
