"""Prices: when the venue said one, and whether to believe it.

A price counts from when the venue said it, not from when we got round to reading it: a frame that has lain in a buffer
for a minute is a minute old. And one that leaps is not believed by itself, because everything is sized by it.
"""

from __future__ import annotations

from math import inf, log10

from msgspec import Struct

from agent.core.events import Clock, Mark, Quote

LEAP = 0.05
"""Further from the last mark than this, a new one needs confirmation. A mark follows an index over several venues: in
the worst minutes on record it moves by parts of this from one second to the next."""
ASTRAY = 0.10
"""The very first mark needs confirmation when it is further from its index than this."""
REPEATED_NS = 3_000_000_000
"""A leap that has been repeated for so long is where the price is now."""


class Doubt(Struct, frozen=True):
    """A mark that is not believed yet: what was told, since when (our time), and why not."""

    mark: Mark
    since: int
    why: str
    unit: bool = False
    """It may be the price of another unit of something that is held: of no use until the position was told anew."""


def told_at(at: int, now: int, clock: Clock | None) -> int:
    """Our time at which the venue said what it dates ``at``: at the latest that the clocks allow, and never after now.

    Until the clocks have been compared, that is when it arrived.
    """
    return now if clock is None else min(now, at - clock.offset_ns + clock.error_ns)


def is_price(price: float) -> bool:
    """Whether a number can be a price at all: above zero and finite."""
    return 0 < price < inf


def oddity(mark: Mark, last: Mark | None) -> str | None:
    """What is odd about a mark: it leaps from the last one or, as the first, stands away from its index."""
    if last is not None:
        return None if near(mark.price, last.price, LEAP) else f"it leapt from {last.price:g} to {mark.price:g}"
    if mark.index is None or (is_price(mark.index) and near(mark.price, mark.index, ASTRAY)):
        return None
    return f"mark {mark.price:g} and index {mark.index:g} contradict each other"


def near(price: float, other: float, part: float) -> bool:
    """Whether two prices are no further apart than this part of the second, in either direction."""
    return abs(price - other) <= part * min(price, other)


def places(value: float, other: float, part: float = 1e-9) -> int:
    """By which power of ten prices or quantities differ, give or take a ``part``, as after a redenomination; 0 if by
    none, or if the signs differ."""
    if not value or not other or (value > 0) != (other > 0):
        return 0
    power = log10(abs(value)) - log10(abs(other))
    return round(power) if abs(power - round(power)) <= log10(1 + part) else 0


def agrees(mark: Mark, quote: Quote | None, seen: int | None, now: int) -> bool:
    """Whether a mark is borne out by a quote that is just as new."""
    fresh = seen is not None and now - seen < REPEATED_NS
    return quote is not None and fresh and near(mark.price, (quote.bid + quote.ask) / 2, LEAP)


def judged(mark: Mark, doubt: Doubt | None, last: Mark | None, now: int, *, held: bool) -> Doubt | None:
    """The doubt about a mark, if any: none once the same leap has been repeated for long enough, unless it may be that
    of the unit of what is ``held``."""
    why = oddity(mark, last)
    if why is None:
        return None
    unit = held and last is not None and places(mark.price, last.price, LEAP) != 0
    if doubt is None or not near(mark.price, doubt.mark.price, LEAP):
        return Doubt(mark=mark, since=now, why=why, unit=unit)
    repeated = now - doubt.since >= REPEATED_NS and not unit
    return None if repeated else Doubt(mark=mark, since=doubt.since, why=doubt.why, unit=unit)
