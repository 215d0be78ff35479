"""How unknown bytes are read and exact numbers are written, whatever the venue.

What is no number, no price or no quantity raises one of `MISREAD`; a dialect turns that into a stated fact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import inf, isfinite
from typing import Annotated, Literal

from msgspec import Meta, MsgspecError, Raw, Struct
from msgspec.json import Decoder

from agent.core import events as fact
from agent.core.events import Fact
from agent.core.instruments import Instrument
from agent.core.venue import What

MISREAD = (MsgspecError, RecursionError, ValueError, ArithmeticError)
"""All that reading unknown bytes can raise."""

MS = 1_000_000
"""Nanoseconds in the venue's unit of time."""

Ms = Annotated[int, Meta(ge=0, le=9_000_000_000_000)]
Id = Annotated[int, Meta(ge=0)]
Buying = Literal["BUY", "SELL"]
Level = tuple[str | float, str | float]
"""A price and the size there."""


class Symbol(Struct, frozen=True):
    """What a row is about."""

    symbol: str


class RateLimit(Struct, frozen=True, rename="camel"):
    """How much may be used of a budget in an interval, as the venue has it now."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: Annotated[int, Meta(ge=0)]


RAWS = Decoder(list[Raw])
RATE_LIMIT = Decoder(RateLimit)
SYMBOL = Decoder(Symbol)


def number(text: str | float) -> float:
    """A finite number."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text!s:.20} is not a number")
    return value


def positive(text: str | float) -> float:
    """A finite number above zero: a price."""
    value = float(text)
    if not 0 < value < inf:
        raise ValueError(f"{text!s:.20} is no price")
    return value


def amount(text: str | float) -> float:
    """A finite number that is not negative: a size."""
    value = float(text)
    if not 0 <= value < inf:
        raise ValueError(f"{text!s:.20} is no size")
    return value


def exact(text: str) -> Decimal:
    """A quantity that is going to be counted in lots: short enough to be divided exactly."""
    value = Decimal(text if re.fullmatch(r"[-+.0-9Ee]{1,28}", text) else "nan")
    if not value.is_finite() or abs(value) > 10**15 or (value and abs(value) < Decimal("1e-15")):
        raise ValueError(f"{text:.20} is no quantity")
    return value


def above_zero(text: str) -> Decimal:
    """An exact quantity or step that is not nothing."""
    value = exact(text)
    if value <= 0:
        raise ValueError(f"{text:.20} is not above zero")
    return value


def lots_of(instrument: Instrument, quantity: str) -> int:
    """The whole lots in an unsigned total."""
    lots = instrument.lots(exact(quantity))
    if lots < 0:
        raise ValueError("a total below zero")
    return lots


def signed(side: Buying, lots: int) -> int:
    """Lots with the sign of their side."""
    return lots if side == "BUY" else -lots


def quote_of(index: int, bid: Level, ask: Level, at: int) -> fact.Quote:
    """The best bid and ask, each a price and a size."""
    best, worst = positive(bid[0]), positive(ask[0])
    if best >= worst:
        raise ValueError("the book is crossed")
    return fact.Quote(index, best, amount(bid[1]), worst, amount(ask[1]), at)


def depth_of(index: int, bids: Sequence[Level], asks: Sequence[Level], at: int) -> fact.Depth:
    """The visible book, best first on both sides, in whatever order it comes."""
    bought = sorted(((positive(price), amount(size)) for price, size in bids), reverse=True)
    sold = sorted((positive(price), amount(size)) for price, size in asks)
    if bought and sold and bought[0][0] >= sold[0][0]:
        raise ValueError("the book is crossed")
    return fact.Depth(index, tuple(bought), tuple(sold), at)


def each(
    what: What, rows: Sequence[Raw], index_of: Mapping[str, int], read: Callable[[int, Raw], Sequence[Fact]]
) -> list[Fact]:
    """The facts of the portfolio's rows in a table of all symbols; a row that can't be read is said to be so."""
    facts: list[Fact] = []
    for row in rows:
        symbol = SYMBOL.decode(row).symbol
        if (index := index_of.get(symbol)) is None:
            continue
        try:
            facts += read(index, row)
        except (*MISREAD, KeyError) as error:
            facts.append(fact.Unknown("rest", f"{what} of {symbol}: {error}"[:200], excerpt(bytes(row)), False))
    return facts


def allowed_of(rows: Sequence[Raw], names: Mapping[tuple[str, str, int], str]) -> list[Fact]:
    """The budgets in ``names``, at the size they have now; others, and what can't be read, are the venue's affair."""
    facts: list[Fact] = []
    for row in rows:
        try:
            limit = RATE_LIMIT.decode(row)
        except MISREAD:
            continue
        bucket = names.get((limit.rate_limit_type, limit.interval, limit.interval_num))
        if bucket is not None:
            facts.append(fact.Allowed(bucket, limit.limit))
    return facts


def used_of(headers: Mapping[str, str], names: Mapping[str, str]) -> list[Fact]:
    """How much of the budgets in ``names`` is used, as the headers of an answer say."""
    return [
        fact.Used(bucket, int(count))
        for header, bucket in names.items()
        if re.fullmatch("[0-9]{1,9}", count := headers.get(header, ""))
    ]


def symbols_of(symbols: Sequence[str], most: int) -> tuple[str, ...]:
    """The symbols of a portfolio, if a dialect can do with them; raises ValueError with the cure."""
    if not symbols or "" in symbols or len(set(symbols)) < len(symbols) or len(symbols) > most:
        raise ValueError(f"symbols: name between 1 and {most} instruments, each once")
    return tuple(symbols)


def excerpt(data: bytes) -> str:
    """The beginning of what could not be read."""
    return data[:200].decode("utf-8", "replace")


def plain(value: Decimal) -> str:
    """Exact digits without exponent or trailing zeros."""
    return format(value.normalize(), "f")
