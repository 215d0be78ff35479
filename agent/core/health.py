"""Health: whether a strategy earns its capital, judged once per UTC day from its daily returns and its drawdown.

An annual Sharpe ratio over 30 days is mostly noise: its standard error is about 3.5 (`sharpe_error`). So no single day
decides: bad days must come in an unbroken row, good days as well, and a strategy that was paused comes back in steps.
What must be fast is left to the drawdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from math import erfc, sqrt
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

YEAR_DAYS = 365
"""Crypto trades every day: a year of daily returns."""
PSR_DAYS = 180
"""Days of returns that the probabilistic Sharpe ratio is taken over."""
Z95 = 1.6448536269514722
"""The 95 % quantile of the normal distribution."""
TINY = 1e-12
"""Least variance of a Sharpe ratio: two-valued returns can bring it to 0."""


class Health(Struct, frozen=True, forbid_unknown_fields=True):
    """When a strategy is reduced, paused, and given its capital back."""

    window_days: int = 30
    """Days of returns in the rolling Sharpe ratio."""
    bad: float = 0.5
    """A day with an annual Sharpe ratio below this is a bad one."""
    good: float = 1.0
    """A day with an annual Sharpe ratio of this or more is a good one."""
    bad_days: int = 30
    """So many bad days in a row reduce an active strategy."""
    good_days: int = 10
    """So many good days in a row restore a reduced strategy and wake a paused one; so many bad ones in a row pause a
    recovering strategy again."""
    pause_after_days: int = 30
    """So many more bad days in a row pause a reduced strategy."""
    drawdown_reduce: float = 0.15
    """A drawdown of this or more, as a fraction of the peak, reduces an active strategy at once."""
    drawdown_pause: float = 0.25
    """A drawdown of this or more, as a fraction of the peak, pauses at once."""
    reduced: float = 0.5
    """Part of its capital that a reduced strategy keeps."""
    ramp: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Parts of its capital that a recovering strategy has, one after the other; at least one."""
    ramp_days: int = 5
    """Days on each step of the ramp."""
    min_pause_days: int = 14
    """A pause lasts so many days at least."""
    psr: float | None = None
    """If given, a day is bad only if besides the probability that the true Sharpe ratio exceeds ``bad``, judged from
    180 days of returns, is below this. With fewer days no day is bad: the drawdown alone decides. 0.2 with a window of
    90 days keeps a strategy whose true Sharpe ratio is 1 active nine days in ten, and one at -1 less than half."""


class State(StrEnum):
    """What a strategy may do."""

    ACTIVE = "active"
    """All of its capital."""
    REDUCED = "reduced"
    """Part of its capital."""
    PAUSED = "paused"
    """No capital: its returns are those it would have had."""
    RECOVERING = "recovering"
    """Step by step back to all of it."""


class Condition(Struct, frozen=True):
    """How a strategy stands: all that its next day is judged by."""

    state: State = State.ACTIVE
    multiplier: float = 1.0
    """Part of its capital share that it has now."""
    bad_days: int = 0
    """Bad days in a row, in this state."""
    good_days: int = 0
    """Good days in a row, in this state."""
    days: int = 0
    """Days in this state."""


def review(health: Health, condition: Condition, returns: Sequence[float | None], drawdown: float) -> Condition:
    """`next_day`, from the daily ``returns`` so far, oldest first."""
    gate = None if health.psr is None else probability_above(returns, health.bad, PSR_DAYS)
    return next_day(health, condition, sharpe(returns, health.window_days), drawdown, gate)


def next_day(
    health: Health, condition: Condition, sharpe: float | None, drawdown: float, psr: float | None = None
) -> Condition:
    """The condition after one more UTC day.

    ``sharpe`` is the annual rolling Sharpe ratio, None while it is undefined; ``drawdown`` a fraction of the peak since
    the last return to active; ``psr`` the probability that `Health.psr` is compared with. Counters begin anew with each
    state.
    """
    bad, good = _counted(health, condition, sharpe, psr)
    state, days = condition.state, condition.days + 1
    if state is not State.PAUSED and drawdown >= health.drawdown_pause:
        return Condition(State.PAUSED, 0.0)
    if state is State.ACTIVE:
        if bad >= health.bad_days or drawdown >= health.drawdown_reduce:
            return Condition(State.REDUCED, health.reduced)
    elif state is State.REDUCED:
        if bad >= health.pause_after_days:
            return Condition(State.PAUSED, 0.0)
        if good >= health.good_days and drawdown < health.drawdown_reduce:
            return Condition()
    elif state is State.PAUSED:
        rested = days >= health.min_pause_days
        if rested and good >= health.good_days and drawdown < health.drawdown_pause:
            return Condition(State.RECOVERING, health.ramp[0])
    else:
        if bad >= health.good_days:
            return Condition(State.PAUSED, 0.0)
        step = days // health.ramp_days
        if step >= len(health.ramp):
            return Condition()
        condition = replace(condition, multiplier=health.ramp[step])
    return replace(condition, bad_days=bad, good_days=good, days=days)


def _counted(health: Health, condition: Condition, sharpe: float | None, psr: float | None) -> tuple[int, int]:
    """Bad and good days in a row with this one: a day in between ends both rows, one without a Sharpe ratio neither."""
    if sharpe is None:
        return condition.bad_days, condition.good_days
    if sharpe >= health.good:
        return 0, condition.good_days + 1
    proven = health.psr is None or (psr is not None and psr < health.psr)
    return (condition.bad_days + 1 if sharpe < health.bad and proven else 0), 0


def reallocate(
    capital: Sequence[float],
    multipliers: Sequence[float],
    boost: float = 1.25,
    freed_to: Literal["pro rata", "cash"] | int = "pro rata",
) -> tuple[list[float], float]:
    """Capital shares of the strategies after health, and the share that stays in cash.

    What reduced and paused strategies free goes to those that have all of their capital, in proportion to it, or to the
    one at index ``freed_to`` alone; to none beyond ``boost`` times its own share, and what is left to cash.
    """
    shares = [share * multiplier for share, multiplier in zip(capital, multipliers, strict=True)]
    freed = sum(capital) - sum(shares)
    takers = [
        share if multiplier == 1 and freed_to in ("pro rata", s) else 0.0
        for s, (share, multiplier) in enumerate(zip(capital, multipliers, strict=True))
    ]
    # All of them reach their cap together, so one round is enough.
    part = min(freed / sum(takers), boost - 1) if any(takers) else 0.0
    shares = [share + taker * part for share, taker in zip(shares, takers, strict=True)]
    return shares, 1.0 - sum(shares)


# Statistics. Daily ratios are named ``sr``, annual ones Sharpe; the standard deviation of the sample has n - 1.


def sharpe(returns: Sequence[float | None], window: int) -> float | None:
    """Annual Sharpe ratio of the last ``window`` days that have a return; None with fewer, or if all are the same."""
    sr = daily(returns, window)
    return None if sr is None else sr * sqrt(YEAR_DAYS)


def daily(returns: Sequence[float | None], window: int) -> float | None:
    """Mean over standard deviation (n - 1) of the last ``window`` daily returns; None as `sharpe`."""
    last = _last(returns, window)
    if len(last) < window or min(last) == max(last):
        return None
    mean = sum(last) / len(last)
    return mean / sqrt(sum((r - mean) ** 2 for r in last) / (len(last) - 1))


def skew_kurtosis(returns: Sequence[float]) -> tuple[float, float]:
    """Skew and (not excess) kurtosis of a population of returns that are not all the same."""
    mean = sum(returns) / len(returns)
    second, third, fourth = (sum((r - mean) ** k for r in returns) / len(returns) for k in (2, 3, 4))
    return third / second**1.5, fourth / second**2


def sr_std(sr: float, n: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """Standard error of a ratio ``sr`` per period from ``n`` periods (Mertens 2002; Bailey and López de Prado 2012)."""
    return sqrt(_variance(sr, skew, kurtosis) / (n - 1))


def psr(sr: float, floor: float, n: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """Probability that the true ratio per period exceeds ``floor`` (Bailey and López de Prado 2012)."""
    return _normal((sr - floor) / sr_std(sr, n, skew, kurtosis))


def min_track_record(
    sr: float, floor: float, skew: float = 0.0, kurtosis: float = 3.0, quantile: float = Z95
) -> float | None:
    """Periods until ``sr`` proves to be more than ``floor`` at the confidence of a normal ``quantile``; None: never."""
    if sr <= floor:
        return None
    return 1 + _variance(sr, skew, kurtosis) * (quantile / (sr - floor)) ** 2


def probability_above(returns: Sequence[float | None], level: float, window: int) -> float | None:
    """`psr` of the last ``window`` daily returns against an annual Sharpe ratio; None as `sharpe`."""
    sr = daily(returns, window)
    if sr is None:
        return None
    return psr(sr, level / sqrt(YEAR_DAYS), window, *skew_kurtosis(_last(returns, window)))


def sharpe_error(true: float, days: int) -> float:
    """Standard error of an annual Sharpe ratio from so many days of normal returns, when it is truly ``true``."""
    return sr_std(true / sqrt(YEAR_DAYS), days) * sqrt(YEAR_DAYS)


def probability_below(level: float, true: float, days: int) -> float:
    """Probability that so many days show an annual Sharpe ratio below ``level`` when it is truly ``true``."""
    return _normal((level - true) / sharpe_error(true, days))


def _last(returns: Sequence[float | None], window: int) -> list[float]:
    return [r for r in returns if r is not None][-window:]


def _variance(sr: float, skew: float, kurtosis: float) -> float:
    """Variance of a ratio from one period; with kurtosis >= 1 + skew^2, as all data have, it can't be negative."""
    return max(TINY, 1 - skew * sr + (kurtosis - 1) / 4 * sr * sr)


def _normal(z: float) -> float:
    return erfc(-z / sqrt(2)) / 2
