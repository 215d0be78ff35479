"""The portfolio file: from TOML to a checked `Portfolio`, and back.

Whatever is wrong with a file comes out as one `ConfigError` with every problem found, each with its place, what is
wrong and the cure. What could be a secret is never shown.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from msgspec import Struct, structs

from agent.core.costs import Costs
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.engine import Mode
from agent.core.paper import PaperAccount
from agent.core.planner import Execution, Limits
from agent.core.targets import Hold, Targets
from agent.core.triggers import S, Triggers
from agent.secrets import FORMS, is_reference

T = TypeVar("T")


class Account(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to trade, and with which key. ``key`` and ``secret`` are references (see `agent.secrets`)."""

    venue: str = "binance"
    key: str | None = None
    secret: str | None = None
    rest_url: str | None = None
    """Instead of the venue's own address for requests."""
    stream_url: str | None = None
    """Instead of the venue's own address for websockets."""


class Portfolio(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: what to hold, when to act, and what must never happen."""

    mode: Mode = "paper"
    """observe: watch a real account and send nothing; paper: trade on paper; live: trade."""
    state: str = ""
    """Directory of the journal, the tapes and the status. Always set once a file was parsed."""
    account: Account = Account()
    targets: Targets
    bands: Bands = Bands()
    triggers: Triggers = Triggers()
    limits: Limits = Limits()
    costs: Costs = Costs()
    economy: Economy = Economy()
    execution: Execution = Execution()
    paper: PaperAccount = PaperAccount()


class Problem(Struct, frozen=True):
    """One thing that is wrong with a portfolio file. ``value`` is None where there is none or it is not shown."""

    path: str
    line: int | None
    key: str
    value: str | None
    wrong: str
    cure: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        what = self.key if self.value is None else f"{self.key} = {self.value}"
        return ": ".join(part for part in (place, what, self.wrong) if part) + f"; {self.cure}"


class ConfigError(Exception):
    """A portfolio file that can't be used, with all that is wrong with it in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def load(path: Path) -> Portfolio:
    """The portfolio in the file at ``path``; raises `ConfigError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        cure = "`trimtab init` writes one" if isinstance(error, FileNotFoundError) else "check the path and its owner"
        raise ConfigError([Problem(str(path), None, "", None, f"can't be read ({error.strerror})", cure)]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(path), None, "", None, "is not UTF-8 text", "save it as UTF-8")]) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Portfolio:
    """The portfolio that ``text`` describes; raises `ConfigError`. ``path`` is named in it, and names the state."""
    try:
        raw = tomllib.loads(text)
        lines = dict(reversed(list(_Scanner(text).document())))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else text.count("\n") + 1
        wrong = str(error).partition(" (at ")[0]
        cure = "check quotes, brackets and repeated keys; the format is TOML"
        raise ConfigError([Problem(str(path), number, "", None, f"not valid TOML: {wrong}", cure)]) from None
    except (ValueError, RecursionError):
        cure = "write plain numbers, texts and tables"
        raise ConfigError([Problem(str(path), None, "", None, "too long a number or too deep a nest", cure)]) from None
    return _Reader(path, lines).portfolio(raw)


def render(portfolio: Portfolio) -> str:
    """The portfolio as TOML: merged, with every default, and without secrets. Parses back to an equal one."""
    blocks = [[f"mode = {_toml(portfolio.mode)}", f"state = {_toml(portfolio.state)}"]]
    for name in TABLES:
        table: Struct = getattr(portfolio, name)
        block, tables = [f"[{name}]"], []
        for field, value in structs.asdict(table).items():
            if isinstance(value, dict):
                rows = [f"{_key(key)} = {_toml(entry)}" for key, entry in value.items()]
                tables.append([f"[{name}.{field}]", *rows])
            else:
                block.append(f"# {field} is not set" if value is None else f"{field} = {_toml(value)}")
        blocks += [block, *tables]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def starter(
    weights: Mapping[str, float | Hold] | None = None,
    leverage: float = 3.0,
    equity: float = 10_000.0,
    venue: str = "binance",
) -> str:
    """A commented file to begin with, on paper: by default 50/30/20 in BTC, ETH and SOL at three times leverage."""
    weights = weights or {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}
    rows = "\n".join(f"{_key(symbol)} = {_toml(_percent(share))}" for symbol, share in weights.items())
    return STARTER.format(
        weights=rows,
        leverage=_toml(leverage),
        most=_toml(min(125.0, max(5.0, float(math.ceil(leverage * 1.5))))),
        distance=f"{_toml(_percent(min(Limits().liquidation_distance, round(0.6 / leverage, 4)))):<5}",
        equity=_toml(equity),
        venue=_toml(venue),
    )


def schedule_of(triggers: Triggers) -> Callable[[int], int | None]:
    """A function that gives the next time of the schedule strictly after a moment, both UTC ns; None: never again."""

    def after(now: int) -> int | None:
        start = EPOCH + timedelta(seconds=now // S)
        times = [next(CronSim(expression, start), None) for expression in triggers.schedule]
        return min((round((time - EPOCH).total_seconds()) * S for time in times if time is not None), default=None)

    return after


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

TABLES: Final[dict[str, type[Struct]]] = {
    "account": Account,
    "targets": Targets,
    "bands": Bands,
    "triggers": Triggers,
    "limits": Limits,
    "costs": Costs,
    "economy": Economy,
    "execution": Execution,
    "paper": PaperAccount,
}

STARTER: Final = """\
# What to hold, when to act, and what must never happen. `trimtab check FILE` says what is wrong with this file and
# prints it with every default filled in; `trimtab plan FILE` says what it would do now.

# paper: trade on paper at real prices. observe: watch your account and send nothing. live: trade (also needs --live).
mode = "paper"

[account]
venue = {venue}
# Observe and live need a key. Name the place where it is kept, never the key itself:
# key = "file:~/.config/trimtab/key"        # mode 0600; or env:NAME, credential:NAME, keyring:SERVICE/USER
# secret = "file:~/.config/trimtab/secret"

[targets]
leverage = {leverage:<17} # gross notional over equity
leverage_mode = "constant"   # constant: keep it; cap: only ever come down to it; off: leave it alone

# Shares of the gross: long positive, short negative. Their absolute values add up to 100%.
# "hold" leaves an instrument alone: it counts as exposure and is never traded.
[targets.weights]
{weights}

[bands]
tolerance = "7%"             # act when a position is this far from its target, as a share of the gross
destination = "optimal"      # trade as little as pays; "edge": back to just inside the band; "target": all the way

[triggers]
confirm_s = 5                # act only when it lasts so long
cool_down_s = 60             # then wait so long
# schedule = ["0 0 * * SUN"] # also at these times (cron, UTC), whatever the drift

[limits]
leverage = {most:<17} # never more gross notional over equity than this
maintenance = "50%"          # never more maintenance margin over equity than this
liquidation_distance = {distance} # liquidation no nearer than such a move of all prices

[economy]
payback_days = 7.0           # a correction must earn its cost within this time, in risk that it saves

[execution]
style = "taker"              # taker: at once, at a bounded price; maker: rest at the best price first
slippage = "0.5%"            # never worse than the best price by more than this

[paper]
equity = {equity:<19} # what paper trading starts with
"""


# What a value may be


class _Wrong(Exception):
    """A value that can't be used: what is wrong, and the cure."""

    def __init__(self, wrong: str, cure: str) -> None:
        super().__init__(wrong)
        self.wrong = wrong
        self.cure = cure


Check = Callable[[object], object]
"""Gives the value as the portfolio holds it; raises `_Wrong`."""


class _Number(Struct, frozen=True):
    """A number between two bounds, each included unless ``above`` or ``below``; a share may be given in percent."""

    low: float
    high: float
    above: bool = False
    below: bool = False
    share: bool = False
    whole: bool = False

    def __call__(self, value: object) -> object:
        number = self._read(value)
        if not math.isfinite(number):
            raise _Wrong("is not a finite number", self.cure)
        if not self._fits(number):
            meant = self.share and isinstance(value, int | float) and self._fits(number / 100)
            raise _Wrong("is out of range", f'did you mean "{number:g}%"?' if meant else self.cure)
        return number

    @property
    def cure(self) -> str:
        low, high = (_percent(self.low), _percent(self.high)) if self.share else (f"{self.low:g}", f"{self.high:g}")
        kind = "whole number" if self.whole else 'share, such as 0.05 or "5%",' if self.share else "number"
        return f"write a {kind} {'above' if self.above else 'from'} {low} {'to below' if self.below else 'to'} {high}"

    def _read(self, value: object) -> float:
        if isinstance(value, str):
            percent = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)) ?%", value, re.ASCII)
            if percent is None:
                raise _Wrong("is a text, not a number", self.cure)
            if not self.share:
                raise _Wrong("is a percentage, which means nothing here", self.cure)
            return float(f"{percent[1]}e-2")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _Wrong("is not a number", self.cure)
        if self.whole:
            if not isinstance(value, int):
                raise _Wrong("is not a whole number", self.cure)
            return value
        try:
            return float(value)
        except OverflowError:
            return math.inf

    def _fits(self, number: float) -> bool:
        over = number > self.low if self.above else number >= self.low
        return over and (number < self.high if self.below else number <= self.high)


def _choice(options: Sequence[str]) -> Check:
    def check(value: object) -> object:
        if value not in options:
            raise _Wrong("is not one of the choices", _nearest(value, options) or f"write {_either(options)}")
        return value

    return check


def _weight(value: object) -> object:
    if value == "hold":
        return value
    if isinstance(value, str) and value.strip().lower() == "hold":
        raise _Wrong("is not a weight", 'write "hold" to leave the instrument alone')
    return _Number(-1, 1, share=True)(value)


def _venue(value: object) -> object:
    if not isinstance(value, str) or re.fullmatch(r"[a-z][a-z0-9]*", value) is None:
        raise _Wrong("is not the name of a venue", 'write it in lower case, such as "binance"')
    return value


def _reference(value: object) -> object:
    if not isinstance(value, str) or not is_reference(value):
        raise _Wrong("is not a reference; a key must never stand in this file", f"write where it is kept: {FORMS}")
    return value


def _address(scheme: str) -> Check:
    """An address of ``scheme`` with TLS, or without it on this machine."""

    def check(value: object) -> object:
        cure = f'write "{scheme}s://host", or "{scheme}://127.0.0.1:port" for an exchange on this machine'
        try:
            parts = urlsplit(value if isinstance(value, str) else "")
            host, _port = parts.hostname, parts.port
        except ValueError:
            raise _Wrong("is not an address", cure) from None
        if parts.scheme not in (scheme, f"{scheme}s") or not host or not str(value).isprintable() or " " in str(value):
            raise _Wrong(f"is not the address of a {scheme} service", cure)
        if parts.query or parts.fragment or parts.username is not None:
            raise _Wrong("holds more than a host, a port and a path", cure)
        if parts.scheme == scheme and not _on_this_machine(host):
            raise _Wrong("is not encrypted", cure)
        return str(value).rstrip("/")

    return check


def _on_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _cron(value: object) -> object:
    cure = 'write minute, hour, day, month and weekday in UTC, such as "0 0 * * SUN"'
    if not isinstance(value, str) or len(value.split()) != 5:
        raise _Wrong("is not a cron expression of five fields", cure)
    try:
        first = next(CronSim(value, EPOCH), None)
    except CronSimError as error:
        raise _Wrong(f"is not a cron expression: {str(error).lower()}", cure) from None
    if first is None:
        raise _Wrong("is a time that never comes", cure)
    return value


def _place(value: object) -> object:
    cure = "write an absolute path, or one that starts with ~/"
    if not isinstance(value, str) or not value or "\0" in value:
        raise _Wrong("is not a path", cure)
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise _Wrong("has no home directory to start from", "write an absolute path") from None
    if not path.is_absolute():
        raise _Wrong("is not an absolute path", cure)
    return str(path)


CHECKS: Final[dict[str, Check]] = {
    "state": _place,
    "account.venue": _venue,
    "account.key": _reference,
    "account.secret": _reference,
    "account.rest_url": _address("http"),
    "account.stream_url": _address("ws"),
    "targets.leverage": _Number(0, 125, above=True),
    "bands.tolerance": _Number(0, 1, above=True, below=True, share=True),
    "bands.relative": _Number(0, 10, above=True, share=True),
    "bands.portfolio": _Number(0, 1, above=True, share=True),
    "bands.landing": _Number(0, 1, above=True, share=True),
    "triggers.confirm_s": _Number(0, 86_400),
    "triggers.cool_down_s": _Number(0, 604_800),
    "triggers.rearm": _Number(0, 1, above=True, share=True),
    "limits.leverage": _Number(0, 125, above=True),
    "limits.asset_share": _Number(0, 1, above=True, share=True),
    "limits.maintenance": _Number(0, 1, above=True, below=True, share=True),
    "limits.liquidation_distance": _Number(0, 0.5, above=True, share=True),
    "limits.order_notional": _Number(0, 1e12, above=True),
    "limits.turnover_per_day": _Number(0, 1000, above=True),
    "limits.orders_per_minute": _Number(1, 6000, whole=True),
    "limits.data_age_s": _Number(0, 60, above=True),
    "limits.price_gap": _Number(0, 1, above=True, below=True, share=True),
    "limits.kill_file": _place,
    "costs.maker": _Number(-0.01, 0.05, share=True),
    "costs.taker": _Number(-0.01, 0.05, share=True),
    "economy.risk_aversion": _Number(0.01, 1000),
    "economy.payback_days": _Number(0, 3650, above=True),
    "economy.correlation_trust": _Number(0, 1, share=True),
    "execution.slippage": _Number(0, 0.1, above=True, share=True),
    "execution.patience_s": _Number(0, 3600, above=True),
    "execution.request_life_s": _Number(0.1, 5),
    "paper.equity": _Number(0, 1e12, above=True),
    "paper.maker": _Number(-0.01, 0.05, share=True),
    "paper.taker": _Number(-0.01, 0.05, share=True),
    "paper.leverage": _Number(1, 125, whole=True),
    "paper.maintenance": _Number(0, 1, above=True, below=True, share=True),
}
"""What each key may hold, choices apart, which are in the types."""

BY_SYMBOL: Final[dict[str, Check]] = {"targets.weights": _weight, "paper.positions": _Number(-1e12, 1e12)}
"""Tables whose keys are symbols."""

LISTS: Final[dict[str, Check]] = {"triggers.schedule": _cron}

HIDDEN: Final = frozenset({"account", "account.key", "account.secret", "account.rest_url", "account.stream_url"})
"""Keys whose values are shown only if they are references."""


# From TOML to the portfolio


Place = tuple[str | int, ...]


class _Reader:
    """Goes through a decoded file, collects what is wrong, and builds the portfolio if nothing is."""

    def __init__(self, path: Path, lines: dict[Place, int]) -> None:
        self.path = path
        self.lines = lines
        self.problems: list[Problem] = []

    def portfolio(self, raw: dict[str, Any]) -> Portfolio:
        top = self._fields(Portfolio, raw, ())
        parts = {name: self._table(kind, top.pop(name, {}), (name,)) for name, kind in TABLES.items()}
        self._judge(top.get("mode", "paper"), parts)
        if self.problems:
            raise ConfigError(sorted(self.problems, key=lambda problem: problem.line or 0))
        tables: dict[str, Any] = {name: kind(**parts[name]) for name, kind in TABLES.items()}
        return Portfolio(**({"state": self._state()} | top | tables))

    def _table(self, kind: type[Struct], raw: object, place: Place) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self._problem(place, "is not a table", f"write [{_dotted(place)}] and its keys below", raw)
            return {}
        return self._fields(kind, raw, place)

    def _fields(self, kind: type[Struct], raw: dict[str, Any], place: Place) -> dict[str, Any]:
        """The usable values of a table; those that are not usable are left out, as if they were not there."""
        known = {field.name: field for field in structs.fields(kind)}
        clean: dict[str, Any] = {}
        for name, value in raw.items():
            here = (*place, name)
            if name not in known:
                self._problem(here, "is not a known key", self._meant(name, list(known)))
                continue
            key = _dotted(here)
            if key in TABLES:
                clean[name] = value
            elif key in BY_SYMBOL:
                clean[name] = self._by_symbol(here, value, BY_SYMBOL[key])
            elif key in LISTS:
                clean[name] = self._list(here, value, LISTS[key])
            else:
                kind_of = known[name].type
                check = _choice(get_args(kind_of)) if get_origin(kind_of) is Literal else CHECKS[key]
                self._keep(clean, name, here, value, check)
        return clean

    def _keep(self, clean: dict[T, Any], name: T, place: Place, value: object, check: Check) -> None:
        """Put a value into ``clean`` as it will be used, or a problem on the list."""
        try:
            clean[name] = check(value)
        except _Wrong as error:
            self._problem(place, error.wrong, error.cure, value)

    def _by_symbol(self, place: Place, raw: object, check: Check) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self._problem(place, "is not a table", f"write [{_dotted(place)}] and one symbol a line", raw)
            return {}
        clean: dict[str, Any] = {}
        spellings: dict[str, str] = {}
        for symbol, value in raw.items():
            here = (*place, symbol)
            plain = "".join(filter(str.isalnum, symbol)).upper()
            if (other := spellings.setdefault(plain, symbol)) != symbol:
                line = self._line((*place, other))
                self._problem(here, f"is the same instrument as {other} in line {line}", "keep one of them", value)
            elif symbol != symbol.upper() or re.fullmatch(r"[^\W_]+([-_][^\W_]+)*", symbol) is None:
                self._problem(here, "is not a symbol", "write it as the venue does, such as BTCUSDT", value)
            self._keep(clean, symbol, here, value, check)
        return clean

    def _list(self, place: Place, raw: object, check: Check) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            self._problem(place, "is not a list", "put it into [ and ]", raw)
            return ()
        clean: dict[int, Any] = {}
        for number, value in enumerate(raw):
            self._keep(clean, number, (*place, number), value, check)
        return tuple(clean.values())

    def _state(self) -> str:
        given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
        home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return given or os.path.expanduser(f"{home}/trimtab/{self.path.stem}")

    # What must fit together

    def _judge(self, mode: str, parts: dict[str, dict[str, Any]]) -> None:
        self._judge_weights(parts["targets"], parts["limits"].get("asset_share", Limits().asset_share))
        self._judge_leverage(parts["targets"], parts["limits"])
        self._judge_key(mode, parts["account"])
        weights = parts["targets"].get("weights", {})
        for symbol in parts["paper"].get("positions", {}):
            if symbol not in weights:
                cure = _nearest(symbol, list(weights)) or "give it a weight, or drop it here"
                self._problem(("paper", "positions", symbol), "is not in [targets.weights]", cure)

    def _judge_weights(self, targets: dict[str, Any], most: float) -> None:
        place: Place = ("targets", "weights")
        if "weights" not in targets:
            cure = 'write [targets.weights] and below it one line for each, such as BTCUSDT = "50%"'
            self._problem(place, "is missing", cure)
            return
        if any(problem.key.startswith("targets.weights") for problem in self.problems):
            return
        shares = {symbol: share for symbol, share in targets["weights"].items() if share != "hold"}
        if not shares:
            self._problem(place, "leaves nothing to trade", 'give at least one symbol a weight, such as "100%"')
            return
        total = math.fsum(abs(share) for share in shares.values())
        if abs(total - 1) > SUM_ERROR:
            sums = " + ".join(f"{s} {_percent(abs(w))} (line {self._line((*place, s))})" for s, w in shares.items())
            off = f"{_percent(abs(total - 1))} too {'much' if total > 1 else 'little'}"
            cure = "make the absolute values add up to 100%; leverage is a key of its own"
            self._problem(place, f"{sums} add up to {_percent(total)}, {off}", cure)
        for symbol, share in shares.items():
            if abs(share) > most:
                cure = "lower the weight or raise the limit"
                wrong = f"is more than limits.asset_share allows ({_percent(most)})"
                self._problem((*place, symbol), wrong, cure, share)

    def _judge_leverage(self, targets: dict[str, Any], limits: dict[str, Any]) -> None:
        leverage = targets.get("leverage", 1.0)
        if targets.get("leverage_mode") == "off":
            return
        most = limits.get("leverage", Limits().leverage)
        floor = limits.get("liquidation_distance", Limits().liquidation_distance)
        if leverage > most:
            wrong = f"is more than limits.leverage allows ({most:g})"
            cure = f"lower it, or raise limits.leverage above {leverage:g}"
            self._problem(("targets", "leverage"), wrong, cure, leverage)
        elif leverage * floor >= 1:
            wrong = (
                f"is liquidated by a move of {1 / leverage:.1%}, and limits.liquidation_distance is {_percent(floor)}"
            )
            cure = f"lower it below {1 / floor:.4g}, or limits.liquidation_distance below {1 / leverage:.1%}"
            self._problem(("targets", "leverage"), wrong, cure, leverage)

    def _judge_key(self, mode: str, account: dict[str, Any]) -> None:
        flawed = {problem.key for problem in self.problems}
        given = {name for name in ("key", "secret") if name in account or f"account.{name}" in flawed}
        if mode == "paper" and not given:
            return
        for name in ("key", "secret"):
            if name not in given:
                why = "the other is given" if mode == "paper" else f'mode is "{mode}"'
                self._problem(("account", name), f"is missing, but {why}", f"write where it is kept: {FORMS}")

    # Words

    def _problem(self, place: Place, wrong: str, cure: str, value: object = None) -> None:
        key = _dotted(place)
        hidden = value is None or (key in HIDDEN and not (isinstance(value, str) and is_reference(value)))
        shown = None if hidden else _shown(value)
        self.problems.append(Problem(str(self.path), self._line(place), key, shown, wrong, cure))

    def _line(self, place: Place) -> int:
        """Where a key stands, or else the innermost table around it that stands somewhere."""
        return next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), 1)

    def _meant(self, name: str, known: list[str]) -> str:
        if near := _nearest(name, known):
            return near
        homes = [table for table, kind in TABLES.items() if name in kind.__struct_fields__]
        if homes:
            return f"it belongs into {_either([f'[{home}]' for home in homes])}"
        return f"the keys here are {', '.join(known)}"


SUM_ERROR: Final = 1.000001e-6
"""How far from 100% weights may add up to: thirds can't be written exactly."""


def _nearest(value: object, options: Sequence[str]) -> str:
    found = difflib.get_close_matches(value, options, n=1) if isinstance(value, str) else []
    return f"did you mean {found[0]}?" if found else ""


def _either(options: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(options[:-1]), options[-1]]))


def _percent(share: float | Hold) -> str:
    return share if share == "hold" else f"{100 * share:.10g}%"


def _shown(value: object) -> str:
    match value:
        case str():
            return json.dumps(value if len(value) <= 40 else value[:39] + "…", ensure_ascii=False)
        case bool():
            return str(value).lower()
        case dict():
            return "{…}"
        case list():
            return "[…]"
        case _:
            return str(value)[:40]


def _dotted(place: Place) -> str:
    """A place as it is written in TOML, with list positions in brackets."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in place).removeprefix(".")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple():
            return f"[{', '.join(_toml(entry) for entry in value)}]"
        case _:
            return repr(value)


# Where things stand in the text


TOKEN: Final = re.compile(
    r'''(?P<skip>[ \t]+|\#[^\n]*)
      | (?P<end>\r?\n)
      | (?P<text>"""(?:\\.|[^\\])*?"""{1,3}|\'\'\'.*?\'\'\'\'{0,2}|"(?:\\.|[^"\\])*"|'[^']*')
      | (?P<mark>[\[\]{}=,.])
      | (?P<bare>[^\s\[\]{}=,.\#"']+)''',
    re.VERBOSE | re.DOTALL,
)


class _Scanner:
    """Reads TOML that is known to be valid, for the sake of its line numbers alone: `document` gives them."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        line = 1
        for match in TOKEN.finditer(text):
            kind, token = str(match.lastgroup), match[0]
            if kind != "skip":
                self.tokens.append((kind, token, line))
            line += token.count("\n")
        self.tokens.append(("end", "", line))
        self.at = 0

    def document(self) -> Iterator[tuple[Place, int]]:
        """The line of each key, table and list entry, and of each part of a key that has several."""
        table: Place = ()
        while self.at < len(self.tokens):
            if self._kind == "end":
                self.at += 1
            elif self._word == "[":
                self._pass("[")
                table = yield from self._key(())
                self._pass("]")
            else:
                yield from self._pair(table)

    def _pair(self, around: Place) -> Iterator[tuple[Place, int]]:
        place = yield from self._key(around)
        self._pass("=")
        yield from self._value(place)

    def _key(self, around: Place) -> Generator[tuple[Place, int], None, Place]:
        place = around
        while self._kind in ("bare", "text") or self._word == ".":
            if self._word != ".":
                part = tomllib.loads(f"key = {self._word}")["key"] if self._kind == "text" else self._word
                place = (*place, part)
                yield place, self._line
            self.at += 1
        return place

    def _value(self, place: Place) -> Iterator[tuple[Place, int]]:
        if self._word == "[":
            yield from self._inside("]", lambda n: self._entry((*place, n)))
        elif self._word == "{":
            yield from self._inside("}", lambda _: self._pair(place))
        else:
            while self._kind in ("text", "bare") or self._word == ".":
                self.at += 1

    def _entry(self, place: Place) -> Iterator[tuple[Place, int]]:
        yield place, self._line
        yield from self._value(place)

    def _inside(self, closing: str, entry: Callable[[int], Iterator[tuple[Place, int]]]) -> Iterator[tuple[Place, int]]:
        self.at += 1
        for number in itertools.count():
            while self._kind == "end" or self._word == ",":
                self.at += 1
            if self._word == closing:
                self.at += 1
                return
            yield from entry(number)

    def _pass(self, mark: str) -> None:
        while self._word == mark:
            self.at += 1

    @property
    def _kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def _word(self) -> str:
        return self.tokens[self.at][1]

    @property
    def _line(self) -> int:
        return self.tokens[self.at][2]
