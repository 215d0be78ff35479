"""From TOML to a portfolio, with everything that is wrong on the way."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct, structs

from agent.config.checks import BY_SYMBOL, CHECKS, LISTS, Check, Wrong, choice, either, is_name, is_symbol, nearest
from agent.config.lines import Place, Scanner
from agent.config.portfolio import NAMED, ROWS, TABLES, ConfigError, Portfolio, Problem
from agent.config.render import key_of, percent
from agent.core.planner import Limits
from agent.core.targets import Targets, compose, fitted, gross, netted
from agent.secrets import FORMS, is_reference

T = TypeVar("T")

HIDDEN: Final = frozenset(
    {"account", "account.key", "account.secret", "account.rest_url", "account.stream_url", "feed", "feed.token"}
)
"""Keys whose values are shown only if they are references."""

SUM_ERROR: Final = 1.000001e-6
"""How far from 100% weights may add up to: thirds can't be written exactly."""

SAME: Final = 0.005
"""What follows from the strategies may differ by this from what is typed as well."""


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
        lines = dict(reversed(list(Scanner(text).document())))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else text.count("\n") + 1
        wrong = str(error).partition(" (at ")[0]
        cure = "check quotes, brackets and repeated keys; the format is TOML"
        raise ConfigError([Problem(str(path), number, "", None, f"not valid TOML: {wrong}", cure)]) from None
    except (ValueError, RecursionError):
        cure = "write plain numbers, texts and tables"
        raise ConfigError([Problem(str(path), None, "", None, "too long a number or too deep a nest", cure)]) from None
    reader = _Reader(str(path), lines)
    clean = reader.fields(Portfolio, raw, ())
    reader.judge(clean)
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    state = given or os.path.expanduser(f"{home}/trimtab/{path.stem}")
    return reader.made({"state": state, **clean}, Portfolio)


def targets_of(raw: object, portfolio: Portfolio, source: str) -> Targets:
    """Targets that come from outside while the agent runs, as the ``[targets]`` table of a file would hold them.

    They may name only what the file names, and obey its limits. Raises `ConfigError`, in which ``source`` stands for
    the file.
    """
    reader, ours = _Reader(source, {}), portfolio.targets
    clean = reader.table(Targets, raw, ("targets",))
    for name, strategy in clean.get("strategies", {}).items():
        health = ours.strategies[name].health if name in ours.strategies else None
        if health is not None:
            strategy.setdefault("health", structs.asdict(health))
    for name in ours.held:  # what is left alone stays so until a person changes the file
        clean.setdefault("weights", {}).setdefault(name, "hold")
    if not reader.problems:
        given = msgspec.convert(clean, Targets)
        if list(given.strategies) != list(ours.strategies):
            names = ", ".join(ours.strategies) or "no strategies"
            reader.problem(("targets", "strategies"), "are not those of the portfolio file", f"it has {names}")
        for symbol in given.symbols:
            if symbol not in ours.symbols:
                cure = nearest(symbol, ours.symbols) or "name it in the portfolio file, and restart"
                reader.problem(("targets", symbol), "is not an instrument of the portfolio file", cure)
    reader.judge_targets(clean, structs.asdict(portfolio.limits))
    return reader.made(clean, Targets)


class _Reader:
    """Goes through a decoded file, collects what is wrong, and makes the portfolio if nothing is."""

    def __init__(self, path: str, lines: Mapping[Place, int]) -> None:
        self.path = path
        self.lines = lines
        self.problems: list[Problem] = []

    def made(self, clean: dict[str, Any], kind: type[T]) -> T:
        """The struct of what was found clean; raises `ConfigError` if anything was not."""
        if self.problems:
            raise ConfigError(sorted(self.problems, key=lambda problem: problem.line or 0))
        return msgspec.convert(clean, kind)

    # Values

    def table(self, kind: type[Struct], raw: object, place: Place) -> dict[str, Any]:
        """The usable values of what should be a table."""
        if not isinstance(raw, dict):
            self.problem(place, "is not a table", f"write [{_dotted(place)}] and its keys below", raw)
            return {}
        return self.fields(kind, raw, place)

    def fields(self, kind: type[Struct], raw: dict[str, Any], place: Place) -> dict[str, Any]:
        """The usable values of a table; those that are not usable are left out, as if they were not there."""
        known = {field.name: field for field in structs.fields(kind)}
        clean: dict[str, Any] = {}
        for name, value in raw.items():
            here = (*place, name)
            if name not in known:
                self.problem(here, "is not a known key", self._meant(name, list(known)))
                continue
            key = _pattern(here)
            if key in TABLES:
                clean[name] = self.table(TABLES[key], value, here)
            elif key in NAMED:
                clean[name] = self._named(here, value, NAMED[key])
            elif key in ROWS:
                clean[name] = self._rows(here, value, ROWS[key])
            elif key in BY_SYMBOL:
                clean[name] = self._by_symbol(here, value, BY_SYMBOL[key])
            elif key in LISTS:
                clean[name] = self._list(here, value, LISTS[key])
            else:
                self._keep(clean, name, here, value, _check_of(key, known[name].type))
        return clean

    def _keep(self, clean: dict[T, Any], name: T, place: Place, value: object, check: Check) -> None:
        """Put a value into ``clean`` as it will be used, or a problem on the list."""
        try:
            clean[name] = check(value)
        except Wrong as error:
            self.problem(place, error.wrong, error.cure, value)

    def _named(self, place: Place, raw: object, kind: type[Struct] | None) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.problem(place, "is not a table", f"write [{_dotted(place)}.NAME] for each", raw)
            return {}
        clean: dict[str, Any] = {}
        for name, value in raw.items():
            here = (*place, name)
            if not is_name(name):
                self.problem(here, "is not a name", "write it in lower case, so that it is no symbol")
            elif kind is not None:
                clean[name] = self.table(kind, value, here)
            else:
                clean[name] = self._by_symbol(here, value, BY_SYMBOL[_pattern(here)])
        return clean

    def _rows(self, place: Place, raw: object, kind: type[Struct]) -> list[dict[str, Any]]:
        if not isinstance(raw, list):
            self.problem(place, "is not a list of tables", f"write [[{_dotted(place)}]] above each", raw)
            return []
        return [self.table(kind, value, (*place, number)) for number, value in enumerate(raw)]

    def _by_symbol(self, place: Place, raw: object, check: Check) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.problem(place, "is not a table", f"write [{_dotted(place)}] and one symbol a line", raw)
            return {}
        clean: dict[str, Any] = {}
        spellings: dict[str, str] = {}
        for symbol, value in raw.items():
            here = (*place, symbol)
            plain = "".join(filter(str.isalnum, symbol)).upper()
            if (other := spellings.setdefault(plain, symbol)) != symbol:
                line = self._line((*place, other))
                self.problem(here, f"is the same instrument as {other} in line {line}", "keep one of them", value)
            elif not is_symbol(symbol) and not (place[-1] == "weights" and is_name(symbol)):
                self.problem(here, "is not a symbol", "write it as the venue does, such as BTCUSDT", value)
            self._keep(clean, symbol, here, value, check)
        return clean

    def _list(self, place: Place, raw: object, check: Check) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            self.problem(place, "is not a list", "put it into [ and ]", raw)
            return ()
        clean: dict[int, Any] = {}
        for number, value in enumerate(raw):
            self._keep(clean, number, (*place, number), value, check)
        return tuple(clean.values())

    # What must fit together

    def judge(self, clean: dict[str, Any]) -> None:
        """What no single value shows."""
        self._judge_key(clean.get("mode", "paper"), clean.get("account", {}))
        self._judge_feed(clean.get("feed", {}))
        self.judge_targets(clean.get("targets", {}), clean.get("limits", {}))
        if self._flawed("targets"):
            return
        known = msgspec.convert(clean.get("targets", {}), Targets).symbols
        for symbol in clean.get("paper", {}).get("positions", {}):
            self._judge_symbol(("paper", "positions", symbol), symbol, known)
        seen: dict[str, int] = {}
        for number, legs in enumerate(clean.get("funding", {}).get("hedges", ())):
            place: Place = ("funding", "hedges", number)
            for leg in legs:
                self._judge_symbol(place, leg, known)
                if seen.setdefault(leg, number) != number:
                    self.problem(place, f"names {leg}, which is in another group too", "keep it in one of them")
        for number, pair in enumerate(clean.get("pairs", ())):
            self._judge_pair(("pairs", number), pair, known)

    def _judge_symbol(self, place: Place, symbol: str, known: list[str]) -> None:
        if symbol not in known:
            cure = nearest(symbol, known) or "give it a weight, or drop it here"
            self.problem(place, f"{symbol} is not in [targets]", cure)

    def _judge_pair(self, place: Place, pair: dict[str, Any], known: list[str]) -> None:
        for name in ("over", "into", "target"):
            if name not in pair and f"{_dotted(place)}.{name}" not in {problem.key for problem in self.problems}:
                self.problem((*place, name), "is missing", "a pair has over, into and target")
        for name in ("over", "into"):
            if name in pair:
                self._judge_symbol((*place, name), pair[name], known)
        if "over" in pair and pair["over"] == pair.get("into"):
            self.problem((*place, "into"), "is the same instrument as over", "name two")

    def judge_targets(self, targets: dict[str, Any], limits: Mapping[str, Any]) -> None:
        """Whether weights, baskets, strategies and leverage go together, and obey the limits."""
        if self._flawed("targets"):
            return
        self._judge_baskets(targets)
        if not targets.get("weights") and not targets.get("strategies"):
            cure = 'write [targets.weights] and below it one line for each, such as BTCUSDT = "50%"'
            self.problem(("targets", "weights"), "is missing", cure)
        self._judge_sums(targets)
        self._judge_strategies(targets)
        self._judge_basis(targets)
        if self._flawed("targets"):
            return
        made = msgspec.convert(targets, Targets)
        if made.basis == "notional":
            weights = netted(compose(made.capital, made.leverages(), made.compositions(made.symbols)))
            self._judge_typed(targets, made, weights)
            self._judge_leverage(targets, made, gross(weights), limits)
            self._judge_shares(targets, made, weights, limits.get("asset_share", Limits().asset_share))

    def _judge_baskets(self, targets: dict[str, Any]) -> None:
        baskets = targets.get("baskets", {})
        for name, parts in baskets.items():
            self._add_up(("targets", "baskets", name), parts)
        tables: list[tuple[Place, dict[str, Any]]] = [(("targets", "weights"), targets.get("weights", {}))]
        for name, strategy in targets.get("strategies", {}).items():
            tables.append((("targets", "strategies", name, "weights"), strategy.get("weights", {})))
        held = [name for name, share in targets.get("weights", {}).items() if share == "hold"]
        for place, weights in tables:
            owners: dict[str, str] = {}
            for name, share in weights.items():
                if is_name(name) and name not in baskets:
                    cure = nearest(name, list(baskets)) or f"write [targets.baskets.{name}]"
                    self.problem((*place, name), "is neither a symbol nor a basket", cure)
                    continue
                for symbol in baskets.get(name, {name: share}):
                    if (other := owners.setdefault(symbol, name)) != name:
                        self.problem((*place, name), f"holds {symbol}, as {other} does", "keep it in one of them")
                    if symbol in held and share != "hold":
                        self.problem((*place, name), f"{symbol} is on hold", "give it a weight or leave it alone")

    def _judge_sums(self, targets: dict[str, Any]) -> None:
        weights, strategies = targets.get("weights", {}), targets.get("strategies", {})
        shares = {name: share for name, share in weights.items() if share != "hold"}
        if shares:
            self._add_up(("targets", "weights"), shares)
        elif weights and not strategies:
            cure = 'give at least one symbol a weight, such as "100%"'
            self.problem(("targets", "weights"), "leaves nothing to trade", cure)
        for name, strategy in strategies.items():
            if strategy.get("weights"):
                self._add_up(("targets", "strategies", name, "weights"), strategy["weights"])
            elif not shares:
                cure = f"write [targets.strategies.{name}.weights], or [targets.weights] for all strategies"
                self.problem(("targets", "strategies", name, "weights"), "is missing", cure)

    def _add_up(self, place: Place, shares: Mapping[str, float]) -> None:
        total = math.fsum(abs(share) for share in shares.values())
        if abs(total - 1) > SUM_ERROR:
            sums = " + ".join(f"{s} {percent(abs(w))}{self._where((*place, s))}" for s, w in shares.items())
            off = f"{percent(abs(total - 1))} too {'much' if total > 1 else 'little'}"
            cure = "make the absolute values add up to 100%; leverage is a key of its own"
            self.problem(place, f"{sums} add up to {percent(total)}, {off}", cure)

    def _judge_strategies(self, targets: dict[str, Any]) -> None:
        strategies = targets.get("strategies", {})
        for name, strategy in strategies.items():
            if "capital" not in strategy:
                place: Place = ("targets", "strategies", name, "capital")
                self.problem(place, "is missing", 'write its share of equity, such as "60%"')
            health = strategy.get("health", {})
            if health.get("good", 1.0) < health.get("bad", 0.5):
                place = ("targets", "strategies", name, "health", "good")
                self.problem(place, "is below bad", "a Sharpe ratio that is good lies above one that is bad")
        total = math.fsum(strategy.get("capital", 0.0) for strategy in strategies.values())
        if total > 1 + SUM_ERROR:
            cure = "lower a capital; what is left over stays in cash"
            self.problem(("targets", "strategies"), f"their capital adds up to {percent(total)}", cure)
        freed = targets.get("freed", "pro rata")
        if freed not in ("pro rata", "cash", *strategies):
            cure = nearest(freed, list(strategies)) or 'write "pro rata" or "cash"'
            self.problem(("targets", "freed"), "is not a strategy", cure, freed)

    def _judge_basis(self, targets: dict[str, Any]) -> None:
        margin = targets.get("basis") == "margin"
        if margin and "utilisation" not in targets:
            cure = 'write the initial margin over equity, such as "30%"'
            self.problem(("targets", "utilisation"), "is missing, but the weights are shares of margin", cure)
        if not margin and "utilisation" in targets:
            self.problem(("targets", "utilisation"), "means nothing here", 'set basis = "margin", or drop it')
        if margin and targets.get("strategies"):
            self.problem(("targets", "basis"), "does not go with strategies", 'write basis = "notional"')
        for name in ("leverage", "leverage_mode") if margin else ():
            if name in targets:
                cure = "drop it: it follows from utilisation and the leverage settings"
                self.problem(("targets", name), "means nothing where weights are shares of margin", cure, targets[name])

    def _judge_typed(self, targets: dict[str, Any], made: Targets, weights: Sequence[float]) -> None:
        """What strategies with weights and leverage of their own lead to, against what is typed for the whole."""
        own = made.strategies.values()
        shares = made.spread(made.weights, made.symbols)
        total = gross(weights)
        if own and any(shares) and all(strategy.weights for strategy in own) and total:
            off = [
                symbol
                for symbol, share, weight in zip(made.symbols, shares, weights, strict=True)
                if abs(share - weight / total) > SAME
            ]
            if off:
                lead = ", ".join(
                    f"{s} {percent(round(w / total, 4))}" for s, w in zip(made.symbols, weights, strict=True)
                )
                cure = f"drop [targets.weights]{_fit(made, shares, weights)}"
                self.problem(("targets", "weights"), f"does not go with the strategies, which lead to {lead}", cure)
        fixed = own and all(strategy.leverage is not None for strategy in own)
        if fixed and abs(total / targets.get("leverage", total) - 1) > SAME:
            wrong = f"does not go with the strategies, which lead to {total:.4g}"
            cure = "drop it, or the leverage of a strategy"
            self.problem(("targets", "leverage"), wrong, cure, targets["leverage"])

    def _judge_shares(self, targets: dict[str, Any], made: Targets, weights: Sequence[float], most: float) -> None:
        total = gross(weights)
        for symbol, weight in zip(made.symbols, weights, strict=True):
            if total and abs(weight) / total > most + SUM_ERROR:
                share = targets.get("weights", {}).get(symbol, round(weight / total, 6))
                place: Place = ("targets", "weights", symbol)
                wrong = f"is more than limits.asset_share allows ({percent(most)})"
                self.problem(place, wrong, "lower the weight or raise the limit", share)

    def _judge_leverage(self, targets: dict[str, Any], made: Targets, total: float, limits: Mapping[str, Any]) -> None:
        if made.leverage_mode == "off":
            return
        typed = not made.strategies
        leverage = targets.get("leverage", 1.0) if typed else total
        place: Place = ("targets", "leverage") if typed else ("targets", "strategies")
        most = limits.get("leverage", Limits().leverage)
        floor = limits.get("liquidation_distance", Limits().liquidation_distance)
        shown = leverage if typed else None
        which = "" if typed else f"lead to a leverage of {leverage:.4g}, which "
        if leverage > most * (1 + 1e-9):
            wrong = f"{which}is more than limits.leverage allows ({most:g})"
            cure = f"lower it, or raise limits.leverage above {leverage:g}"
            self.problem(place, wrong, cure, shown)
        elif leverage * floor >= 1:
            near = f"{which}is liquidated by a move of {1 / leverage:.1%}"
            wrong = f"{near}, and limits.liquidation_distance is {percent(floor)}"
            cure = f"lower it below {1 / floor:.4g}, or limits.liquidation_distance below {1 / leverage:.1%}"
            self.problem(place, wrong, cure, shown)

    def _judge_key(self, mode: str, account: dict[str, Any]) -> None:
        flawed = {problem.key for problem in self.problems}
        given = {name for name in ("key", "secret") if name in account or f"account.{name}" in flawed}
        if mode == "paper" and not given:
            return
        for name in ("key", "secret"):
            if name not in given:
                why = "the other is given" if mode == "paper" else f'mode is "{mode}"'
                self.problem(("account", name), f"is missing, but {why}", f"write where it is kept: {FORMS}")

    def _judge_feed(self, feed: dict[str, Any]) -> None:
        listen = feed.get("listen", "127.")
        if not listen.startswith(("127.", "[::1]")) and "token" not in feed and not self._flawed("feed.token"):
            wrong = "is missing, but others can reach the address to listen at"
            self.problem(("feed", "token"), wrong, f"write where it is kept ({FORMS}), or listen at 127.0.0.1")

    def _flawed(self, key: str) -> bool:
        return any(problem.key == key or problem.key.startswith(f"{key}.") for problem in self.problems)

    # Words

    def problem(self, place: Place, wrong: str, cure: str, value: object = None) -> None:
        """Put a problem on the list."""
        key = _dotted(place)
        hidden = value is None or (key in HIDDEN and not (isinstance(value, str) and is_reference(value)))
        shown = None if hidden else _shown(value)
        self.problems.append(Problem(self.path, self._line(place) if self.lines else None, key, shown, wrong, cure))

    def _line(self, place: Place) -> int:
        """Where a key stands, or else the innermost table around it that stands somewhere."""
        return next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), 1)

    def _where(self, place: Place) -> str:
        return f" (line {self._line(place)})" if self.lines else ""

    def _meant(self, name: str, known: list[str]) -> str:
        if near := nearest(name, known):
            return near
        homes = [table for table, kind in TABLES.items() if name in kind.__struct_fields__]
        if homes:
            return f"it belongs into {either([f'[{home}]' for home in homes])}"
        return f"the keys here are {', '.join(known)}"


def _check_of(key: str, kind: Any) -> Check:
    """The check of a plain value: of the choices its type leaves, or the one that is listed."""
    for option in (kind, *get_args(kind)):
        if get_origin(option) is Literal:
            return choice(get_args(option))
    return CHECKS[key]


def _fit(made: Targets, shares: Sequence[float], weights: Sequence[float]) -> str:
    """Compositions of the strategies that would lead to the typed shares and stay nearest to those typed."""
    compositions, budgets = made.compositions(made.symbols), _budgets(made)
    if min([*shares, *(part for row in compositions for part in row)]) < 0:
        return ""
    total = sum(budgets)
    rows = compose([1.0] * len(budgets), budgets, compositions)
    fit = fitted(rows, budgets, [share * total for share in shares])
    said = [
        f"{name} {', '.join(f'{s} {percent(round(w / budget, 4))}' for s, w in zip(made.symbols, row, strict=True))}"
        for name, row, budget in zip(made.strategies, fit, budgets, strict=True)
    ]
    return f", or give {'; '.join(said)}"


def _budgets(made: Targets) -> list[float]:
    return [share * leverage for share, leverage in zip(made.capital, made.leverages(), strict=True)]


def _shown(value: object) -> str:
    match value:
        case str():
            return msgspec.json.encode(value if len(value) <= 40 else value[:39] + "…").decode()
        case bool():
            return str(value).lower()
        case dict():
            return "{…}"
        case list():
            return "[…]"
        case _:
            return str(value)[:40]


def _pattern(place: Place) -> str:
    """A place with a star for each name that the user has chosen, and for each position in a list."""
    parts: list[str] = []
    for part in place:
        chosen = isinstance(part, int) or ".".join(parts) in NAMED
        parts.append("*" if chosen else str(part))
    return ".".join(parts)


def _dotted(place: Iterable[str | int]) -> str:
    """A place as it is written in TOML, with list positions in brackets."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{key_of(part)}" for part in place)
    return "".join(parts).removeprefix(".")
