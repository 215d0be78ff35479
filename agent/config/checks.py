"""What each value of a portfolio file may be.

A check is given a decoded value and gives it back as the portfolio holds it, or raises `Wrong` with what is wrong and
the cure.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from agent.config.render import percent
from agent.config.times import BadTime, cron_of, window_of
from agent.secrets import FORMS, is_reference


class Wrong(Exception):
    """A value that can't be used: what is wrong, and the cure."""

    def __init__(self, wrong: str, cure: str) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.cure = cure


Check = Callable[[object], object]
"""Gives the value as the portfolio holds it; raises `Wrong`."""


class Number(Struct, frozen=True):
    """A number between two bounds, each included unless ``above`` or ``below``; a share may be given in percent."""

    low: float
    high: float
    above: bool = False
    below: bool = False
    share: bool = False
    whole: bool = False

    def __call__(self, value: object) -> object:
        """The number; raises `Wrong`."""
        number = self._read(value)
        if isinstance(number, float) and not math.isfinite(number):
            raise Wrong("is not a finite number", self.cure)
        if not self._fits(number):
            meant = self.share and isinstance(value, int | float) and self._fits(number / 100)
            raise Wrong("is out of range", f'did you mean "{number:g}%"?' if meant else self.cure)
        return number

    @property
    def cure(self) -> str:
        """What to write instead."""
        low, high = (percent(self.low), percent(self.high)) if self.share else (f"{self.low:g}", f"{self.high:g}")
        kind = "whole number" if self.whole else 'share, such as 0.05 or "5%",' if self.share else "number"
        return f"write a {kind} {'above' if self.above else 'from'} {low} {'to below' if self.below else 'to'} {high}"

    def _read(self, value: object) -> float:
        if isinstance(value, str):
            percent = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)) ?%", value, re.ASCII)
            if percent is None:
                raise Wrong("is a text, not a number", self.cure)
            if not self.share:
                raise Wrong("is a percentage, which means nothing here", self.cure)
            return float(f"{percent[1]}e-2")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong("is not a number", self.cure)
        if self.whole:
            if not isinstance(value, int):
                raise Wrong("is not a whole number", self.cure)
            return value
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def _fits(self, number: float) -> bool:
        over = number > self.low if self.above else number >= self.low
        return over and (number < self.high if self.below else number <= self.high)


def choice(options: Sequence[str]) -> Check:
    """A check for one of several words."""

    def check(value: object) -> object:
        if value not in options:
            raise Wrong("is not one of the choices", nearest(value, options) or f"write {either(options)}")
        return value

    return check


def _weight(value: object) -> object:
    if value == "hold":
        return value
    if isinstance(value, str) and value.strip().lower() == "hold":
        raise Wrong("is not a weight", 'write "hold" to leave the instrument alone')
    return Number(-1, 1, share=True)(value)


def _share(value: object) -> object:
    if value == "hold":
        raise Wrong(
            "is for [targets.weights] alone", "leave it out here: what is on hold belongs to no strategy or basket"
        )
    return Number(-1, 1, share=True)(value)


def _venue(value: object) -> object:
    if not isinstance(value, str) or re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", value) is None:
        raise Wrong("is not the name of a venue", 'write it in lower case, such as "binance"')
    return value


def _coin(value: object) -> object:
    if not isinstance(value, str) or re.fullmatch(r"[A-Z0-9]{2,12}", value) is None:
        raise Wrong("is not the name of a coin", 'write it as the venue does, such as "BTC"')
    return value


def _reference(value: object) -> object:
    if not isinstance(value, str) or not is_reference(value):
        raise Wrong("is not a reference; a key must never stand in this file", f"write where it is kept: {FORMS}")
    return value


def _address(scheme: str) -> Check:
    """An address of ``scheme`` with TLS, or without it on this machine."""

    def check(value: object) -> object:
        cure = f'write "{scheme}s://host", or "{scheme}://127.0.0.1:port" for an exchange on this machine'
        try:
            parts = urlsplit(value if isinstance(value, str) else "")
            host, _port = parts.hostname, parts.port
        except ValueError:
            raise Wrong("is not an address", cure) from None
        if parts.scheme not in (scheme, f"{scheme}s") or not host or not str(value).isprintable() or " " in str(value):
            raise Wrong(f"is not the address of a {scheme} service", cure)
        if parts.query or parts.fragment or parts.username is not None:
            raise Wrong("holds more than a host, a port and a path", cure)
        if parts.scheme == scheme and not on_this_machine(host):
            raise Wrong("is not encrypted", cure)
        return str(value).rstrip("/")

    return check


def on_this_machine(host: str) -> bool:
    """Whether a host, a name or an address, is this machine as it calls itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _flag(value: object) -> object:
    if not isinstance(value, bool):
        raise Wrong("is neither true nor false", "write true or false, without quotes")
    return value


def _time(value: object) -> object:
    try:
        return cron_of(value)
    except BadTime as error:
        cure = (
            'write "every Sunday at midnight", or minute, hour, day, month and weekday, such as "0 0 * * SUN"; in UTC'
        )
        raise Wrong(str(error), f"{cure}, unless a time zone follows") from None


def _window(value: object) -> object:
    try:
        return window_of(value)
    except BadTime as error:
        raise Wrong(str(error), 'write from and to, such as "23:50-00:10" or "SUN 22:00-23:30 Europe/Berlin"') from None


def _hedge(value: object) -> object:
    legs = value if isinstance(value, list) else []
    if len({leg for leg in legs if isinstance(leg, str) and is_symbol(leg)}) < max(2, len(legs)):
        raise Wrong("is not a group of two symbols or more, each once", 'write it like ["BTCUSDT", "BTCUSDC"]')
    return tuple(legs)


def _symbol(value: object) -> object:
    if not isinstance(value, str) or not is_symbol(value):
        raise Wrong("is not a symbol", "write it as the venue does, such as BTCUSDT")
    return value


def is_symbol(name: str) -> bool:
    """Whether a name is written as venues write their symbols, with or without an account's name before it."""
    account, _, symbol = name.rpartition(":")
    named = symbol == name or is_name(account)
    return named and symbol == symbol.upper() and re.fullmatch(r"[^\W_]+([-_][^\W_]+)*", symbol) is not None


def is_name(name: str) -> bool:
    """Whether a name is one that a user may give to a strategy or basket: lower case, so that it is no symbol."""
    return re.fullmatch(r"[a-z][a-z0-9_-]*", name) is not None


def _listen(value: object) -> object:
    found = re.fullmatch(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", value) if isinstance(value, str) else None
    try:
        usable = found is not None and ip_address(found[1].strip("[]")).version and int(found[2]) <= 65_535
    except ValueError:
        usable = False
    if not usable:
        raise Wrong("is not an address and a port", 'write it like "127.0.0.1:8787", for IPv6 like "[::1]:8787"')
    return value


def _freed(value: object) -> object:
    if not isinstance(value, str) or not (value == "pro rata" or is_name(value)):
        raise Wrong("is not a place for freed capital", 'write "pro rata", "cash" or the name of a strategy')
    return value


def _place(value: object) -> object:
    cure = "write an absolute path, or one that starts with ~/"
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong("is not a path", cure)
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise Wrong("has no home directory to start from", "write an absolute path") from None
    if not path.is_absolute():
        raise Wrong("is not an absolute path", cure)
    return str(path)


def _silence(value: object) -> object:
    if isinstance(value, int | float) and 0 < value < 20:
        raise Wrong("is too short to be renewed in time", "write at least 20, or 0 to do without the switch")
    return Number(0, 3600)(value)


CHECKS: dict[str, Check] = {
    "state": _place,
    "account.venue": _venue,
    "account.settle": _coin,
    "account.key": _reference,
    "account.secret": _reference,
    "account.passphrase": _reference,
    "account.rest_url": _address("http"),
    "account.stream_url": _address("ws"),
    "account.rights_url": _address("http"),
    "account.entry_url": _address("ws"),
    "account.allow_withdrawals": _flag,
    "account.shared": _flag,
    "account.leverage": Number(0, 125, above=True),
    "targets.leverage": Number(0, 125, above=True),
    "targets.utilisation": Number(0, 1, above=True, share=True),
    "targets.freed": _freed,
    "targets.boost": Number(1, 100),
    "targets.strategies.*.capital": Number(0, 1, above=True, share=True),
    "targets.strategies.*.leverage": Number(0, 125, above=True),
    "targets.strategies.*.health.window_days": Number(5, 365, whole=True),
    "targets.strategies.*.health.bad": Number(-100, 100),
    "targets.strategies.*.health.good": Number(-100, 100),
    "targets.strategies.*.health.bad_days": Number(1, 365, whole=True),
    "targets.strategies.*.health.good_days": Number(1, 365, whole=True),
    "targets.strategies.*.health.pause_after_days": Number(1, 365, whole=True),
    "targets.strategies.*.health.drawdown_reduce": Number(0, 1, above=True, share=True),
    "targets.strategies.*.health.drawdown_pause": Number(0, 1, above=True, share=True),
    "targets.strategies.*.health.reduced": Number(0, 1, above=True, below=True, share=True),
    "targets.strategies.*.health.ramp_days": Number(1, 365, whole=True),
    "targets.strategies.*.health.min_pause_days": Number(0, 365, whole=True),
    "targets.strategies.*.health.psr": Number(0, 1, above=True, below=True, share=True),
    "bands.tolerance": Number(0, 1, above=True, below=True, share=True),
    "bands.relative": Number(0, 10, above=True, share=True),
    "bands.portfolio": Number(0, 1, above=True, share=True),
    "bands.tracking": Number(0, 10, above=True, share=True),
    "bands.leverage": Number(0, 10, above=True, share=True),
    "bands.hedge": Number(0, 10, above=True, share=True),
    "bands.strategy": Number(0, 1, above=True, share=True),
    "bands.landing": Number(0, 1, above=True, share=True),
    "triggers.confirm_s": Number(0, 86_400),
    "triggers.cool_down_s": Number(0, 604_800),
    "triggers.rearm": Number(0, 1, above=True, share=True),
    "triggers.funding_blackout_s": Number(0, 3600),
    "triggers.cash_flow": Number(0, 1, above=True, share=True),
    "limits.leverage": Number(0, 125, above=True),
    "limits.asset_share": Number(0, 1, above=True, share=True),
    "limits.maintenance": Number(0, 1, above=True, below=True, share=True),
    "limits.liquidation_distance": Number(0, 0.5, above=True, share=True),
    "limits.order_notional": Number(0, 1e12, above=True),
    "limits.turnover_per_day": Number(0, 1000, above=True),
    "limits.orders_per_minute": Number(1, 6000, whole=True),
    "limits.data_age_s": Number(0, 60, above=True),
    "limits.price_gap": Number(0, 1, above=True, below=True, share=True),
    "limits.spread": Number(0, 1, above=True, below=True, share=True),
    "limits.kill_file": _place,
    "costs.maker": Number(-0.01, 0.05, share=True),
    "costs.taker": Number(-0.01, 0.05, share=True),
    "economy.risk_aversion": Number(0.01, 1000),
    "economy.payback_days": Number(0, 3650, above=True),
    "economy.correlation_trust": Number(0, 1, share=True),
    "execution.slippage": Number(0, 0.1, above=True, share=True),
    "execution.patience_s": Number(0, 3600, above=True),
    "execution.request_life_s": Number(0.1, 5),
    "execution.dead_man_s": _silence,
    "execution.leverage": Number(1, 125, whole=True),
    "funding.horizon_days": Number(0, 365, above=True),
    "funding.enter": Number(0, 10, above=True, share=True),
    "funding.exit": Number(0, 10, share=True),
    "funding.cap": Number(0, 1, above=True, share=True),
    "pairs.*.over": _symbol,
    "pairs.*.into": _symbol,
    "pairs.*.target": Number(0, 1, above=True, below=True, share=True),
    "pairs.*.tolerance": Number(0, 1, above=True, below=True, share=True),
    "timing.positions_s": Number(1, 60),
    "timing.orders_s": Number(2, 60),
    "timing.quiet_s": Number(2, 600),
    "timing.stop_s": Number(10, 600),
    "feed.file": _place,
    "feed.listen": _listen,
    "feed.token": _reference,
    "feed.longest_h": Number(0, 87_600, above=True),
    "paper.equity": Number(0, 1e12, above=True),
    "paper.maker": Number(-0.01, 0.05, share=True),
    "paper.taker": Number(-0.01, 0.05, share=True),
    "paper.leverage": Number(1, 125, whole=True),
    "paper.maintenance": Number(0, 1, above=True, below=True, share=True),
}
"""What each key may hold, choices apart, which are in the types."""

CHECKS |= {key.replace("account.", "accounts.*.", 1): CHECKS[key] for key in CHECKS if key.startswith("account.")}

BY_SYMBOL: Final[dict[str, Check]] = {
    "targets.weights": _weight,
    "targets.baskets.*": _share,
    "targets.strategies.*.weights": _share,
    "paper.positions": Number(-1e12, 1e12),
}
"""Tables whose keys are symbols or, where targets are meant, names of baskets."""

LISTS: Final[dict[str, Check]] = {
    "triggers.schedule": _time,
    "triggers.blackout": _window,
    "funding.hedges": _hedge,
    "targets.strategies.*.health.ramp": Number(0, 1, above=True, share=True),
}
"""Lists, by what each entry may be."""


def nearest(value: object, options: Sequence[str]) -> str:
    """A question after the option that looks most like ``value``; empty if none does."""
    found = difflib.get_close_matches(value, options, n=1) if isinstance(value, str) else []
    return f"did you mean {found[0]}?" if found else ""


def either(options: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))
