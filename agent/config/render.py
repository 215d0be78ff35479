"""A portfolio as TOML again: merged, with every default, and without secrets."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from agent.core.targets import Hold, Targets

if TYPE_CHECKING:
    from agent.config.portfolio import Portfolio


def render(portfolio: Portfolio) -> str:
    """The portfolio as TOML: merged, with every default, and without secrets. Parses back to an equal one."""
    return "\n\n".join("\n".join(block) for block in _blocks("", portfolio)) + "\n"


def _blocks(name: str, table: Struct, heading: str | None = None) -> list[list[str]]:
    """A table and the tables in it, each as its lines; plain values come before tables, as TOML wants it."""
    lines = [] if not name else [heading or f"[{name}]"]
    inner: list[list[str]] = []
    for field, value in structs.asdict(table).items():
        if (
            field in ("account", "accounts")
            and not name
            and bool(getattr(table, "accounts", {})) is (field == "account")
        ):
            continue  # one or the other
        path = f"{name}.{field}".removeprefix(".")
        if field == "leverage" and isinstance(table, Targets) and leverage_follows(table):
            lines.append("# leverage follows from the rest")
            continue
        rows = value if isinstance(value, tuple) and value and isinstance(value[0], Struct) else ()
        if isinstance(value, Struct):
            inner += _blocks(path, value)
        elif isinstance(value, dict):
            inner += _tables(path, value)
        elif rows:
            inner += [block for row in rows for block in _blocks(path, row, f"[[{path}]]")]
        else:
            lines.append(f"# {field} is not set" if value is None else f"{field} = {toml(value)}")
    return ([lines] if lines else []) + inner


def _tables(path: str, table: dict[str, object]) -> list[list[str]]:
    plain = [f"{key_of(key)} = {toml(value)}" for key, value in table.items() if not isinstance(value, Struct | dict)]
    inner = [[f"[{path}]", *plain]] if plain or not table else []
    for key, value in table.items():
        if isinstance(value, Struct):
            inner += _blocks(f"{path}.{key_of(key)}", value)
        elif isinstance(value, dict):
            inner += _tables(f"{path}.{key_of(key)}", value)
    return inner


def leverage_follows(targets: Targets) -> bool:
    """Whether something else than ``leverage`` decides on the leverage of the whole portfolio."""
    own = [strategy.leverage is not None for strategy in targets.strategies.values()]
    return targets.basis == "margin" or (bool(own) and all(own))


def percent(share: float | Hold) -> str:
    """A share as a person writes it."""
    return share if share == "hold" else f"{100 * share:.10g}%"


def shown(value: object) -> str:
    """A value of any kind, briefly: a text in quotes, tables and lists without what is in them."""
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


def key_of(name: str) -> str:
    """A key as TOML writes it."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def toml(value: object) -> str:
    """A plain value as TOML writes it."""
    match value:
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return str(value).lower()
        case tuple():
            return f"[{', '.join(toml(entry) for entry in value)}]"
        case _:
            return repr(value)
