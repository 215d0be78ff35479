"""From TOML to a portfolio, with everything that is wrong on the way."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct, structs

from agent.config.checks import BY_SYMBOL, CHECKS, LISTS, Check, Wrong, choice, either, is_name, is_symbol, nearest
from agent.config.judge import judge, judge_targets, weight_tables
from agent.config.lines import Place, Scanner
from agent.config.portfolio import NAMED, ROWS, TABLES, Portfolio
from agent.config.problems import ConfigError, Problem, Problems, dotted
from agent.config.render import leverage_follows
from agent.core.targets import Targets

T = TypeVar("T")


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
    problems = Problems(str(path), lines)
    clean = _Reader(problems).fields(Portfolio, raw, ())
    judge(clean, problems)
    if problems.found:
        problems.raise_all()
    given = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    state = given or os.path.expanduser(f"{home}/trimtab/{path.stem}")
    return msgspec.convert({"state": state, **clean}, Portfolio)


def document_of(targets: Targets) -> dict[str, Any]:
    """Targets as a feed may send them: `targets_of` gives them back."""
    document: dict[str, Any] = msgspec.to_builtins(targets)
    del document["basis"]
    for strategy in document["strategies"].values():
        del strategy["health"]
    if leverage_follows(targets):
        del document["leverage"]
    return document


def targets_of(raw: object, portfolio: Portfolio, source: str) -> Targets:
    """Targets that come from outside while the agent runs, as the ``[targets]`` table of a file would hold them.

    They may name only what the file names, obey its limits, and leave alone what it has on hold; what they don't say is
    as in the file. Raises `ConfigError`, in which ``source`` stands for the file.
    """
    problems = Problems(source, None)
    said = _Reader(problems).table(Targets, raw, ("targets",))
    _judge_document(said, portfolio.targets, problems)
    whole = _completed(said, portfolio.targets)
    targets = judge_targets(whole, portfolio.limits, problems, portfolio.account.settle)
    if targets is None:
        problems.raise_all()
    return targets


def _judge_document(said: dict[str, Any], ours: Targets, problems: Problems) -> None:
    """Whether a document names only what the file ``ours`` names, and leaves alone what is for a person to decide."""
    alone = "belongs into the portfolio file alone"
    if "basis" in said:
        problems.add(("targets", "basis"), alone, "drop it here", said["basis"])
    for name, strategy in said.get("strategies", {}).items():
        if name not in ours.strategies:
            cure = nearest(name, list(ours.strategies)) or f"it has {', '.join(ours.strategies) or 'none'}"
            problems.add(("targets", "strategies", name), "is not a strategy of the portfolio file", cure)
        if "health" in strategy:
            problems.add(("targets", "strategies", name, "health"), alone, "drop it here")
    tables = weight_tables(said)
    tables |= {("targets", "baskets", name): parts for name, parts in said.get("baskets", {}).items()}
    for place, weights in tables.items():
        for name, share in weights.items():
            if not is_name(name) and name not in ours.symbols:
                cure = nearest(name, ours.symbols) or "name it in the portfolio file, and restart"
                problems.add((*place, name), "is not an instrument of the portfolio file", cure)
            elif name in ours.held and share != "hold":
                problems.add((*place, name), "is on hold in the portfolio file", "leave it out", share)


def _completed(said: dict[str, Any], ours: Targets) -> dict[str, Any]:
    """A document with what it doesn't say taken from the file; not what summed up the strategies there."""
    file: dict[str, Any] = msgspec.to_builtins(ours)
    strategies = {name: {**one, **said.get("strategies", {}).get(name, {})} for name, one in file["strategies"].items()}
    own_weights = strategies and all(strategy["weights"] for strategy in strategies.values())
    own_leverage = strategies and all(strategy["leverage"] is not None for strategy in strategies.values())
    if own_weights:
        file["weights"] = {}
    if own_leverage or ours.basis == "margin":
        del file["leverage"]
    whole = {**file, **said, "strategies": strategies}
    whole["weights"] = {**dict.fromkeys(ours.held, "hold"), **whole["weights"]}
    return _written(whole)


def _written(table: dict[str, Any]) -> dict[str, Any]:
    """A table without what is None in it or in the tables in it: as it would be written."""
    found = {name: _written(value) if isinstance(value, dict) else value for name, value in table.items()}
    return {name: value for name, value in found.items() if value is not None}


class _Reader:
    """Goes through a decoded file, keeps what is usable, and puts the rest on the list of problems."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems

    def table(self, kind: type[Struct], raw: object, place: Place) -> dict[str, Any]:
        """The usable values of what should be a table."""
        if not isinstance(raw, dict):
            self.problems.add(place, "is not a table", f"write [{dotted(place)}] and its keys below", raw)
            return {}
        return self.fields(kind, raw, place)

    def fields(self, kind: type[Struct], raw: dict[str, Any], place: Place) -> dict[str, Any]:
        """The usable values of a table; those that are not usable are left out, as if they were not there."""
        known = {field.name: field for field in structs.fields(kind)}
        clean: dict[str, Any] = {}
        for name, value in raw.items():
            here = (*place, name)
            if name not in known:
                self.problems.add(here, "is not a known key", _meant(name, list(known)))
                continue
            key = _pattern(here)
            if value is None:  # which only JSON has: not said
                continue
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
            self.problems.add(place, error.wrong, error.cure, value)

    def _named(self, place: Place, raw: object, kind: type[Struct] | None) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.problems.add(place, "is not a table", f"write [{dotted(place)}.NAME] for each", raw)
            return {}
        clean: dict[str, Any] = {}
        for name, value in raw.items():
            here = (*place, name)
            if not is_name(name):
                self.problems.add(here, "is not a name", "write it in lower case, so that it is no symbol")
            elif kind is not None:
                clean[name] = self.table(kind, value, here)
            else:
                clean[name] = self._by_symbol(here, value, BY_SYMBOL[_pattern(here)])
        return clean

    def _rows(self, place: Place, raw: object, kind: type[Struct]) -> list[dict[str, Any]]:
        if not isinstance(raw, list):
            self.problems.add(place, "is not a list of tables", f"write [[{dotted(place)}]] above each", raw)
            return []
        return [self.table(kind, value, (*place, number)) for number, value in enumerate(raw)]

    def _by_symbol(self, place: Place, raw: object, check: Check) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self.problems.add(place, "is not a table", f"write [{dotted(place)}] and one symbol a line", raw)
            return {}
        clean: dict[str, Any] = {}
        spellings: dict[str, str] = {}
        for symbol, value in raw.items():
            here = (*place, symbol)
            basket = place[-1] == "weights" and is_name(symbol)
            plain = symbol if basket else "".join(filter(str.isalnum, symbol)).upper()
            if (other := spellings.setdefault(plain, symbol)) != symbol:
                wrong = f"is the same instrument as {other}{self.problems.where((*place, other))}"
                self.problems.add(here, wrong, "keep one of them", value)
            elif not is_symbol(symbol) and not basket:
                self.problems.add(here, "is not a symbol", "write it as the venue does, such as BTCUSDT", value)
            self._keep(clean, symbol, here, value, check)
        return clean

    def _list(self, place: Place, raw: object, check: Check) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            self.problems.add(place, "is not a list", "put it into [ and ]", raw)
            return ()
        clean: dict[int, Any] = {}
        for number, value in enumerate(raw):
            self._keep(clean, number, (*place, number), value, check)
        return tuple(clean.values())


def _meant(name: str, known: list[str]) -> str:
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


def _pattern(place: Place) -> str:
    """A place with a star for each name that the user has chosen, and for each position in a list."""
    parts: list[str] = []
    for part in place:
        chosen = isinstance(part, int) or ".".join(parts) in NAMED
        parts.append("*" if chosen else str(part))
    return ".".join(parts)
