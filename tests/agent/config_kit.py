"""What tests of the portfolio file share: files that are nearly right, and drawings of whole ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import strategies as st
from msgspec import structs

from agent.config import Account, ConfigError, Feed, Portfolio, Problem, parse
from agent.config.checks import CHECKS, Number
from agent.config.portfolio import TABLES
from agent.core.carry import CarryRules
from agent.core.costs import Costs
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.health import Health
from agent.core.pairs import Pair
from agent.core.paper import PaperAccount
from agent.core.planner import Execution, Limits
from agent.core.targets import Strategy, Targets, gross, wishes_of
from agent.core.triggers import Triggers

S = 1_000_000_000
PATH = Path("portfolio.toml")
WEIGHTS = '[targets.weights]\nBTCUSDT = "60%"\nETHUSDT = -0.4\n'
CANARY = "canary9b2fNotAReference"

NUMBERS = {key: check for key, check in CHECKS.items() if isinstance(check, Number) and not key.startswith("accounts.")}


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, PATH)
    assert str(caught.value).count("\n") == len(caught.value.problems) - 1, "one line for each problem"
    return caught.value.problems


def problems_of(text: str) -> tuple[Problem, ...]:
    """What is wrong with ``text``, if anything."""
    try:
        parse(text, PATH)
    except ConfigError as error:
        return error.problems
    return ()


def problem(text: str) -> Problem:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def with_key(key: str, value: str) -> str:
    """A file that is right but for ``key``, which has this value. A star in the key stands for a strategy or a row."""
    table, _, name = key.rpartition(".")
    line = f"{name} = {value}\n"
    if not table:
        return line + WEIGHTS
    if table == "pairs.*":
        pair = {"over": '"BTCUSDT"', "into": '"ETHUSDT"', "target": "0.5"} | {name: value}
        return f"{WEIGHTS}[[pairs]]\n" + "".join(f"{key} = {value}\n" for key, value in pair.items())
    if table.startswith("targets.strategies.*"):
        own = "" if name == "capital" else "capital = 0.5\n"
        inner = f"[{table.replace('*', 'trend')}]\n" if table.endswith("health") else ""
        return f"{WEIGHTS}[targets.strategies.trend]\n{own}{inner}{line}"
    if table == "targets":
        margin = 'basis = "margin"\n' if name == "utilisation" else ""
        return f"[targets]\n{margin}{line}{WEIGHTS}"
    return f"{WEIGHTS}[{table}]\n{line}"


def line_of(text: str, line: str) -> int:
    """Where a line stands in a text."""
    return text.split("\n").index(line) + 1


def value_of(portfolio: Portfolio, key: str) -> Any:
    value: Any = portfolio
    for name in key.replace("strategies.*", "strategies.trend").replace("pairs.*", "pairs.0").split("."):
        value = value[int(name)] if name.isdigit() else value[name] if isinstance(value, dict) else getattr(value, name)
    return value


# There and back


def numbers(key: str) -> st.SearchStrategy[Any]:
    check = NUMBERS[key]
    if check.whole:
        return st.integers(int(check.low), int(check.high))
    return st.floats(check.low, check.high, exclude_min=check.above, exclude_max=check.below)


def table(kind: type[Any], name: str, **others: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    found: dict[str, st.SearchStrategy[Any]] = {}
    for field in structs.fields(kind):
        key = f"{name}.{field.name}"
        if key in NUMBERS:
            optional = st.none() if field.default is None else st.nothing()
            found[field.name] = numbers(key) | optional
    return st.builds(kind, **(found | others))


symbols = st.from_regex(r"[A-Z0-9]{1,6}(_[A-Z0-9]{1,6})?", fullmatch=True) | st.sampled_from(["币安人生USDT", "ΩUSDT"])
paths = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(lambda t: "/" + t)
references = st.none() | st.from_regex(r"(env:[A-Z_]{1,9}|file:/[a-z ü\"\\]{1,9}|keyring:a/b)", fullmatch=True)
crons = st.sampled_from(["0 0 * * SUN", "*/5 * * * *", "0 8 L * *", "15 10 1-7 * MON-FRI"])
windows = st.sampled_from(["23:50-00:10", "SUN 22:00-23:30 Europe/Berlin", "08:00-16:00 America/New_York"])


def several(entries: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(entries, max_size=3).map(tuple)


@st.composite
def healths(draw: st.DrawFn) -> Health:
    ramp = draw(st.lists(st.floats(0, 1, exclude_min=True), min_size=1, max_size=4, unique=True))
    found: Health = draw(
        table(
            Health,
            "targets.strategies.*.health",
            bad=st.floats(-5, 0.5),
            good=st.floats(0.5, 5),
            drawdown_reduce=st.floats(0.01, 0.2),
            drawdown_pause=st.floats(0.2, 1),
            ramp=st.just(tuple(sorted(ramp))),
        )
    )
    return found


@st.composite
def targets(draw: st.DrawFn, parts: dict[str, float]) -> Targets:
    """Targets of every kind in which each instrument has its sign."""
    hold: dict[str, Any] = {"HOLDME": "hold"} if draw(st.booleans()) else {}
    kind = draw(st.sampled_from(["plain", "basket", "strategies", "margin"]))
    mode: Literal["constant", "cap", "off"] = draw(st.sampled_from(["constant", "cap", "off"]))
    leverage = draw(st.floats(0.1, 5, exclude_max=True))
    if kind == "plain":
        return Targets(weights=parts | hold, leverage=leverage, leverage_mode=mode)
    if kind == "margin":
        utilisation = draw(numbers("targets.utilisation"))
        return Targets(weights=parts | hold, leverage_mode=mode, basis="margin", utilisation=utilisation)
    if kind == "basket":
        return Targets(weights={"alts": 1.0} | hold, baskets={"alts": parts}, leverage=leverage, leverage_mode=mode)
    names = draw(
        st.lists(st.from_regex(r"[a-bd-z][a-z0-9_-]{0,5}", fullmatch=True), min_size=1, max_size=3, unique=True)
    )
    chosen = st.builds(
        Strategy,
        capital=st.floats(0.01, 1 / len(names)),
        leverage=st.none() | st.floats(0.1, 5, exclude_max=True),
        weights=st.sampled_from([{}, parts]),
        health=st.none() | healths() if mode == "constant" else st.none(),
    )
    strategies = {name: draw(chosen) for name in names}
    found = Targets(
        weights=hold if all(one.weights for one in strategies.values()) else parts | hold,
        leverage=leverage,
        leverage_mode=mode,
        strategies=strategies,
        freed=draw(st.sampled_from(["pro rata", "cash", *names])),
        boost=draw(numbers("targets.boost")),
    )
    if any(one.leverage is None for one in strategies.values()):
        return found
    return structs.replace(found, leverage=gross(weight for weight in wishes_of(found) or () if weight is not None))


@st.composite
def hedges(draw: st.DrawFn, parts: dict[str, float]) -> tuple[tuple[str, ...], ...]:
    longs = [symbol for symbol, part in parts.items() if part > 0]
    shorts = [symbol for symbol, part in parts.items() if part < 0]
    groups = zip(longs, shorts, strict=False)
    return tuple(groups) if draw(st.booleans()) else ()


@st.composite
def portfolios(draw: st.DrawFn) -> Portfolio:
    names = draw(st.lists(symbols, min_size=1, max_size=6, unique_by=lambda s: s.replace("_", "")))
    cuts = [1.0 / len(names) * draw(st.sampled_from([1, -1])) for _ in names]
    parts = dict(zip(names, cuts, strict=True))
    pair = st.builds(
        Pair,
        over=st.just(names[0]),
        into=st.sampled_from(names[1:] or names),
        target=st.floats(0.01, 0.5),
        tolerance=st.floats(0.01, 0.5),
        mode=st.sampled_from(["points", "relative"]),
    )
    pairs = draw(st.lists(pair, max_size=2, unique_by=lambda pair: pair.into)) if len(names) > 1 else []
    enter = draw(numbers("funding.enter"))
    listen = draw(st.sampled_from([None, "127.0.0.1:8787", "[::1]:0", "0.0.0.0:1"]))
    token = st.just("env:TOKEN") if listen == "0.0.0.0:1" else st.sampled_from([None, "env:TOKEN"])
    key = draw(references)
    wanted = draw(targets(parts))
    setting: dict[str, Any] = {"leverage": st.none()} if wanted.basis == "margin" else {}
    return Portfolio(
        mode=draw(st.sampled_from(["paper", "observe", "live"]) if key else st.just("paper")),
        state="/" + (draw(paths) or "").strip("/"),
        account=Account(
            venue="weex" if (phrase := draw(st.sampled_from([key, None]))) else "binance",
            key=key,
            secret=key,
            passphrase=phrase,
            stream_url=draw(st.sampled_from([None, "wss://a.b:9/c", "ws://localhost"])),
        ),
        targets=wanted,
        bands=draw(table(Bands, "bands", destination=st.sampled_from(["optimal", "edge", "target"]))),
        triggers=draw(
            table(
                Triggers,
                "triggers",
                schedule=st.lists(crons, max_size=3).map(tuple),
                blackout=st.lists(windows, max_size=2).map(tuple),
            )
        ),
        limits=draw(
            table(
                Limits,
                "limits",
                leverage=st.floats(5, 125),
                asset_share=st.just(1.0),
                liquidation_distance=st.floats(0, 0.166, exclude_min=True),
            )
        ),
        costs=draw(table(Costs, "costs")),
        economy=draw(table(Economy, "economy")),
        execution=draw(table(Execution, "execution", style=st.sampled_from(["taker", "maker"]), **setting)),
        funding=draw(
            table(CarryRules, "funding", enter=st.just(enter), exit=st.floats(0, enter), hedges=hedges(parts))
        ),
        pairs=tuple(pairs),
        feed=draw(
            table(Feed, "feed", file=paths, listen=st.just(listen), token=token if listen is not None else st.none())
        ),
        paper=draw(
            table(PaperAccount, "paper", positions=st.dictionaries(st.sampled_from(names), st.floats(-1e12, 1e12)))
        ),
    )


# Whatever one may write

names = st.sampled_from(
    [
        *("mode", "state", "pairs", "weights", "strategies", "baskets", "trend", "alts", "BTCUSDT", "ETHUSDT"),
        *(table for table in TABLES if "." not in table),
        *(field.name for kind in TABLES.values() for field in structs.fields(kind)),
    ]
) | st.text("ab", max_size=2)
scalars = st.one_of(
    st.sampled_from(
        [
            '"7%"',
            '"hold"',
            '"env:A"',
            '"live"',
            '"0 0 * * *"',
            "'trend'",
            "'BTCUSDT'",
            "nan",
            "-inf",
            "1e999",
            "true",
            "-0.0",
        ]
    ),
    st.integers().map(str),
    st.floats().map(lambda f: repr(f)),
    st.datetimes().map(lambda d: d.isoformat()),
    st.text(max_size=8).map(lambda t: f"'''{t}'''"),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda v: f"[{', '.join(v)}]")
        | st.dictionaries(names, inner, max_size=3).map(
            lambda d: "{" + ", ".join(f'"{k}" = {v}' for k, v in d.items()) + "}"
        )
    ),
    max_leaves=6,
)
lines = st.one_of(
    names.map(lambda name: f"[{name or 'x'}]"),
    st.tuples(names, names).map(lambda pair: f'[["{pair[0]}"]]\n"{pair[1]}" = 1'),
    st.tuples(names, names, names).map(lambda place: f'["{place[0]}"."{place[1]}"."{place[2]}"]'),
    st.tuples(names, names).map(lambda pair: f'["{pair[0]}"."{pair[1]}"]'),
    st.tuples(names, values).map(lambda pair: f'"{pair[0]}" = {pair[1]}'),
    st.tuples(names, names, values).map(lambda triple: f'"{triple[0]}"."{triple[1]}" = {triple[2]}'),
)
