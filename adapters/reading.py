"""How unknown bytes are read and exact numbers are written, whatever the venue.

What is no number, no price or no quantity raises one of `MISREAD`; a dialect turns that into a stated fact.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import inf, isfinite
from typing import Annotated

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


class Symbol(Struct, frozen=True):
    """What a row is about."""

    symbol: str


RAWS = Decoder(list[Raw])
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


def excerpt(data: bytes) -> str:
    """The beginning of what could not be read."""
    return data[:200].decode("utf-8", "replace")


def plain(value: Decimal) -> str:
    """Exact digits without exponent or trailing zeros."""
    return format(value.normalize(), "f")
