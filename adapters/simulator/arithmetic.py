"""Decimal arithmetic that nobody else in the process can change, and decimals as text.

Python's decimal context is shared, and libraries do alter it: ccxt, for one, leaves another rounding
behind. Every way into the exchange therefore goes through `exactly`, so that the same requests give
the same bytes whoever else is running.
"""

from collections.abc import Callable
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    localcontext,
)
from functools import wraps
from typing import ParamSpec, TypeVar

CONTEXT = Context(prec=34, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Halves go to the even digit; what cannot be computed raises."""

P = ParamSpec("P")
R = TypeVar("R")


def exactly(act: Callable[P, R]) -> Callable[P, R]:
    """The function, computing in `CONTEXT` whatever the caller's context is."""

    @wraps(act)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(CONTEXT):
            return act(*args, **kwargs)

    return inner


def plain(value: Decimal) -> str:
    """A number without trailing zeros or exponent: 0.02, 2313, 0."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def money(value: Decimal) -> str:
    """An amount with eight decimals."""
    return f"{value:.8f}"


def on_grid(value: Decimal, places: int) -> str:
    """A number with the decimals of its grid."""
    return f"{value:.{places}f}"
