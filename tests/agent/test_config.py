"""The portfolio file: what it may say, and that each mistake in it is told with its place and its cure."""

from __future__ import annotations

import math
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from agent.config import (
    BY_SYMBOL,
    CHECKS,
    LISTS,
    TABLES,
    Account,
    ConfigError,
    Portfolio,
    Problem,
    _Number,
    _Scanner,
    load,
    parse,
    render,
    schedule_of,
    starter,
)
from agent.core.costs import Costs
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.paper import PaperAccount
from agent.core.planner import Execution, Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers

S = 1_000_000_000
PATH = Path("portfolio.toml")
WEIGHTS = '[targets.weights]\nBTCUSDT = "60%"\nETHUSDT = -0.4\n'
CANARY = "canary9b2fNotAReference"

NUMBERS = {key: check for key, check in CHECKS.items() if isinstance(check, _Number)}


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
    """A file that is right but for ``key``, which has this value."""
    table, _, name = key.rpartition(".")
    if not table:
        return f"{name} = {value}\n{WEIGHTS}"
    return f"{WEIGHTS}[{table}]\n{name} = {value}\n"


def value_of(portfolio: Portfolio, key: str) -> Any:
    value: Any = portfolio
    for name in key.split("."):
        value = getattr(value, name)
    return value


# What a file may say


def test_the_least_that_a_file_must_say() -> None:
    portfolio = parse(WEIGHTS, PATH)
    assert portfolio.targets == Targets(weights={"BTCUSDT": 0.6, "ETHUSDT": -0.4})
    assert portfolio == Portfolio(targets=portfolio.targets, state=portfolio.state)
    assert portfolio.mode == "paper"
    assert portfolio.account == Account()


def test_every_table_and_every_kind_of_value() -> None:
    portfolio = parse(
        """
        mode = "live"
        state = "/var/lib/trimtab"
        account = { venue = "bybit", key = "env:KEY", secret = "file:~/secret", rest_url = "http://127.0.0.1:9001/" }
        targets.leverage = 2
        targets.weights = { BTCUSDT = "50%", "ETH-USDT" = "-50 %", SOLUSDT = "hold" }
        [bands]
        relative = "25%"
        destination = "target"
        [triggers]
        schedule = ["0 0 * * SUN", "30 8 1 * *"]
        [limits]
        orders_per_minute = 30
        kill_file = "/run/trimtab/kill"
        [costs]
        maker = "-0.005%"
        [economy]
        risk_aversion = 10
        correlation_trust = "50%"
        [execution]
        style = "maker"
        [paper]
        positions = { BTCUSDT = -0.25 }
        """,
        PATH,
    )
    assert portfolio == Portfolio(
        mode="live",
        state="/var/lib/trimtab",
        account=Account("bybit", "env:KEY", "file:~/secret", "http://127.0.0.1:9001"),
        targets=Targets(weights={"BTCUSDT": 0.5, "ETH-USDT": -0.5, "SOLUSDT": "hold"}, leverage=2.0),
        bands=Bands(relative=0.25, destination="target"),
        triggers=Triggers(schedule=("0 0 * * SUN", "30 8 1 * *")),
        limits=Limits(orders_per_minute=30, kill_file="/run/trimtab/kill"),
        costs=Costs(maker=-0.00005),
        economy=Economy(risk_aversion=10.0, correlation_trust=0.5),
        execution=Execution(style="maker"),
        paper=PaperAccount(positions={"BTCUSDT": -0.25}),
    )


def test_every_key_has_a_check() -> None:
    known = {"mode", "state"}
    for table, kind in TABLES.items():
        for field in structs.fields(kind):
            key = f"{table}.{field.name}"
            known.add(key)
            if get_origin(field.type) is not Literal:
                assert (key in CHECKS) + (key in BY_SYMBOL) + (key in LISTS) == 1, key
    assert {*CHECKS, *BY_SYMBOL, *LISTS} <= known, "no check for a key that is no more"
    assert [field.name for field in structs.fields(Portfolio)] == ["mode", "state", *TABLES]


def test_every_default_is_within_its_bounds() -> None:
    portfolio = parse(WEIGHTS, PATH)
    for key, check in NUMBERS.items():
        value = value_of(portfolio, key)
        assert value is None or check(value) == value, key


TOGETHER = {
    "targets.leverage": [0.1, Limits().leverage],
    "limits.leverage": [Targets(weights={}).leverage, 125.0],
    "limits.asset_share": [0.6, 1.0],
}
"""Numbers that other numbers hold in narrower bounds."""


@pytest.mark.parametrize("key", NUMBERS)
def test_bounds_of_numbers(key: str) -> None:
    check = NUMBERS[key]
    step = 1 if check.whole else 1e-9
    inside = [check.low + step if check.above else check.low, check.high - step if check.below else check.high]
    outside = [check.low if check.above else check.low - step, check.high if check.below else check.high + step * 1e7]
    inside = TOGETHER.get(key, inside)
    for value in inside:
        number = int(value) if check.whole else value
        assert value_of(parse(with_key(key, repr(number)), PATH), key) == number, number
    for value in (*outside, math.nan, math.inf, -math.inf):
        number = int(value) if check.whole and math.isfinite(value) else value
        found = problem(with_key(key, repr(number)))
        assert found.key == key
        assert found.line == 5
        assert "out of range" in found.wrong or "finite" in found.wrong or "whole" in found.wrong
    for text in ("true", '"many"', '"nan%"', "[1]", "{ a = 1 }", "2026-01-01"):
        found = problem(with_key(key, text))
        assert found.key == key
        assert "number" in found.wrong
        assert found.cure.startswith("write a ")


@given(st.decimals(min_value=0, max_value=100, places=6).filter(lambda d: 0 < d < 100))
def test_percentages_mean_the_same_as_fractions(percent: Any) -> None:
    written = parse(with_key("bands.tolerance", f'"{percent}%"'), PATH).bands.tolerance
    assert written == float(percent.scaleb(-2)), "and are rounded once"


@pytest.mark.parametrize("text", ["%", "7", "7 percent", "1e2%", "7%%", "٧%", "0x7%", "-%", ".%", "7  %", ""])
def test_what_is_no_percentage(text: str) -> None:
    assert problem(with_key("bands.tolerance", f'"{text}"')).wrong == "is a text, not a number"


# How wrong a file can be: text, line, key, what is wrong, the cure

MISTAKES = {
    "no targets": ("", 1, "targets.weights", "is missing", "[targets.weights]"),
    "unknown table": (WEIGHTS + "[band]", 4, "band", "not a known key", "did you mean bands?"),
    "unknown key": (WEIGHTS + "[bands]\ntolerence = 1", 5, "bands.tolerence", "not a known key", "mean tolerance?"),
    "misplaced key": (
        WEIGHTS + "[bands]\n\nslippage = 0.1",
        6,
        "bands.slippage",
        "not a known key",
        "belongs into [execution]",
    ),
    "strange key": (WEIGHTS + "[costs]\nx = 1", 5, "costs.x", "not a known key", "the keys here are maker, taker"),
    "table that is a value": ("bands = 7\n" + WEIGHTS, 1, "bands", "not a table", "write [bands]"),
    "table that is a list": (WEIGHTS + "[[bands]]\n", 4, "bands", "not a table", "write [bands]"),
    "weights that are a list": ("[targets]\nweights = [0.5, 0.5]", 2, "targets.weights", "not a table", "one symbol"),
    "choice": (with_key("mode", '"lvie"'), 1, "mode", "not one of the choices", "did you mean live?"),
    "strange choice": (
        with_key("execution.style", '"fast"'),
        5,
        "execution.style",
        "not one of the choices",
        "write taker or maker",
    ),
    "choice that is a number": (
        with_key("targets.leverage_mode", "1").replace("[targets]\n", "", 1).replace(WEIGHTS, "[targets]\n") + WEIGHTS,
        2,
        "targets.leverage_mode",
        "not one of the choices",
        "constant, cap or off",
    ),
    "percent that forgot its sign": (
        with_key("bands.tolerance", "7"),
        5,
        "bands.tolerance",
        "out of range",
        'did you mean "7%"?',
    ),
    "percent where it means nothing": (
        with_key("triggers.confirm_s", '"7%"'),
        5,
        "triggers.confirm_s",
        "means nothing",
        "write a number from 0",
    ),
    "fraction of an order": (
        with_key("limits.orders_per_minute", "2.5"),
        5,
        "limits.orders_per_minute",
        "not a whole number",
        "from 1 to 6000",
    ),
    "venue": (with_key("account.venue", '"Binance"'), 5, "account.venue", "not the name of a venue", '"binance"'),
    "key as itself": (
        with_key("account.key", f'"{CANARY}"') + 'secret = "env:S"',
        5,
        "account.key",
        "must never stand in this file",
        "env:NAME",
    ),
    "key without secret": (with_key("account.key", '"env:K"'), 4, "account.secret", "the other is given", "env:NAME"),
    "address without TLS": (
        with_key("account.rest_url", '"http://fapi.binance.com"'),
        5,
        "account.rest_url",
        "not encrypted",
        "https://",
    ),
    "address of another kind": (
        with_key("account.stream_url", '"https://fstream.binance.com"'),
        5,
        "account.stream_url",
        "not the address of a ws service",
        "wss://",
    ),
    "address with a name in it": (
        with_key("account.rest_url", f'"https://me:{CANARY}@fapi.binance.com"'),
        5,
        "account.rest_url",
        "more than a host",
        "https://",
    ),
    "no address": (with_key("account.rest_url", '"https://[::1"'), 5, "account.rest_url", "not an address", "https://"),
    "no address at all": (with_key("account.rest_url", "1"), 5, "account.rest_url", "not the address", "https://"),
    "state": (with_key("state", '"here"'), 1, "state", "not an absolute path", "~/"),
    "state of nobody": (with_key("state", '"~nobody-of-this-name/x"'), 1, "state", "no home directory", "absolute"),
    "kill file": (with_key("limits.kill_file", "1"), 5, "limits.kill_file", "not a path", "absolute path"),
    "schedule that is no list": (
        with_key("triggers.schedule", '"0 0 * * *"'),
        5,
        "triggers.schedule",
        "not a list",
        "put it into [ and ]",
    ),
    "cron with a field too few": (
        with_key("triggers.schedule", '[\n"0 0 * * *",\n"0 0 * *"]'),
        7,
        "triggers.schedule[1]",
        "five fields",
        '"0 0 * * SUN"',
    ),
    "cron with seconds": (with_key("triggers.schedule", '["0 0 0 * * *"]'), 5, "triggers.schedule[0]", "five", "UTC"),
    "cron out of range": (
        with_key("triggers.schedule", '["0 24 * * *"]'),
        5,
        "triggers.schedule[0]",
        "bad hour",
        "minute, hour",
    ),
    "cron of a day that no month has": (
        with_key("triggers.schedule", '["0 0 31 2 *"]'),
        5,
        "triggers.schedule[0]",
        "bad day-of-month",
        "day",
    ),
    "cron that never comes": (
        with_key("triggers.schedule", '["0 0 */29 2 SUN#5"]'),
        5,
        "triggers.schedule[0]",
        "a time that never comes",
        "day",
    ),
    "number that no float can hold": (
        with_key("paper.equity", "1" + "0" * 400),
        5,
        "paper.equity",
        "not a finite number",
        "to 1e+12",
    ),
    "weights that add up to less": (
        '[targets.weights]\nBTCUSDT = "50%"\nETHUSDT = -0.3\n"SOLUSDT" = "19%"\nBNBUSDT = "hold"\n',
        1,
        "targets.weights",
        "BTCUSDT 50% (line 2) + ETHUSDT 30% (line 3) + SOLUSDT 19% (line 4) add up to 99%, 1% too little",
        "add up to 100%",
    ),
    "weights that add up to more": (
        "[targets.weights]\nBTCUSDT = 0.7\nETHUSDT = -0.7\n",
        1,
        "targets.weights",
        "add up to 140%, 40% too much",
        "add up to 100%",
    ),
    "nothing but hold": ('[targets.weights]\nBTCUSDT = "hold"\n', 1, "targets.weights", "nothing to trade", "100%"),
    "no weights": ("[targets.weights]\n", 1, "targets.weights", "nothing to trade", "100%"),
    "hold in capitals": (
        '[targets.weights]\nBTCUSDT = 1\nETHUSDT = "HOLD"\n',
        3,
        "targets.weights.ETHUSDT",
        "not a weight",
        'write "hold"',
    ),
    "weight that forgot its sign": (
        "[targets.weights]\nBTCUSDT = 100\n",
        2,
        "targets.weights.BTCUSDT",
        "out of range",
        'did you mean "100%"?',
    ),
    "weight that is no number": (
        "[targets.weights]\nBTCUSDT = nan\n",
        2,
        "targets.weights.BTCUSDT",
        "not a finite number",
        "from -100% to 100%",
    ),
    "symbol in small letters": (
        "[targets.weights]\nbtcusdt = 1\n",
        2,
        "targets.weights.btcusdt",
        "not a symbol",
        "such as BTCUSDT",
    ),
    "symbol with a slash": (
        '[targets.weights]\n"BTC/USDT" = 1\n',
        2,
        'targets.weights."BTC/USDT"',
        "not a symbol",
        "such as BTCUSDT",
    ),
    "one symbol twice": (
        "[targets.weights]\nBTCUSDT = 0.5\nBTCUSDT = 0.5\n",
        3,
        "",
        "not valid TOML",
        "repeated keys",
    ),
    "one symbol spelled twice": (
        "[targets.weights]\nBTCUSDT = 0.5\nBTC-USDT = 0.5\n",
        3,
        "targets.weights.BTC-USDT",
        "same instrument as BTCUSDT in line 2",
        "keep one",
    ),
    "leverage that liquidates too near": (
        "[targets]\nleverage = 10\n" + WEIGHTS + "\n[limits]\nleverage = 10\n",
        2,
        "targets.leverage",
        "is liquidated by a move of 10.0%, and limits.liquidation_distance is 11%",
        "lower it below 9.091, or limits.liquidation_distance below 10.0%",
    ),
    "leverage over its limit": (
        "[targets]\nleverage = 6\n" + WEIGHTS,
        2,
        "targets.leverage",
        "limits.leverage allows (5)",
        "above 6",
    ),
    "weight over its limit": (
        WEIGHTS + '[limits]\nasset_share = "50%"',
        2,
        "targets.weights.BTCUSDT",
        "limits.asset_share allows (50%)",
        "raise the limit",
    ),
    "position of a stranger": (
        WEIGHTS + "[paper.positions]\nBTCUSD = 1",
        5,
        "paper.positions.BTCUSD",
        "not in [targets.weights]",
        "did you mean BTCUSDT?",
    ),
    "no TOML": (WEIGHTS + "[bands\n", 4, "", "not valid TOML", "brackets"),
    "TOML that ends too early": (WEIGHTS + 'x = """\n', 5, "", "not valid TOML", "quotes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_its_cure(name: str) -> None:
    text, line, key, wrong, cure = MISTAKES[name]
    found = problem(text)
    assert (found.path, found.line, found.key) == ("portfolio.toml", line, key)
    assert wrong in found.wrong
    assert cure in found.cure
    assert str(found).startswith(f"portfolio.toml:{line}: {key}")
    assert CANARY not in str(found)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        'mode = "lvie"\n[bands]\ntolerance = 7\nlanding = 0\n'
        '[targets.weights]\nbtcusdt = 50\n[limits]\nleverage = "no"\n'
    )
    assert [(p.line, p.key) for p in found] == [
        (1, "mode"),
        (3, "bands.tolerance"),
        (4, "bands.landing"),
        (6, "targets.weights.btcusdt"),
        (6, "targets.weights.btcusdt"),
        (8, "limits.leverage"),
    ]


@pytest.mark.parametrize("mode", ["observe", "live"])
def test_a_real_account_needs_a_key(mode: str) -> None:
    text = f'mode = "{mode}"\n{WEIGHTS}'
    assert [p.key for p in problems(text)] == ["account.key", "account.secret"]
    assert [p.key for p in problems(text + f'[account]\nkey = "env:K"\nsecret = "{CANARY}"')] == ["account.secret"]
    assert parse(text + '[account]\nkey = "env:K"\nsecret = "env:S"', PATH).mode == mode


def test_leverage_that_is_left_alone_is_not_held_against_its_limit() -> None:
    for leverage in (6, 60):
        text = f'[targets]\nleverage = {leverage}\nleverage_mode = "off"\n' + WEIGHTS
        assert parse(text, PATH).targets.leverage == leverage


def test_weights_may_be_thirds() -> None:
    parse("[targets.weights]\nBTCUSDT = 0.333333\nETHUSDT = 0.333333\nSOLUSDT = 0.333333\n", PATH)
    assert "too little" in problem("[targets.weights]\nBTCUSDT = 0.3333\nETHUSDT = 0.3333\nSOLUSDT = 0.3333\n").wrong


@pytest.mark.parametrize(
    "text",
    [
        f'account = "{CANARY}"',
        f'[account]\nkey = "{CANARY}"',
        f'[account]\nsecret = "{CANARY}"',
        f'[account]\nsecret = ["{CANARY}"]',
        f'[account]\nsecret = {{ value = "{CANARY}" }}',
        f'[account]\napi_secret = "{CANARY}"',
        f'[account]\nkey.secret = "{CANARY}"',
        f'[account]\nrest_url = "https://x/?signature={CANARY}"',
        f'[account]\nstream_url = "{CANARY}"',
        f'api_key = "{CANARY}"',
        f'[secrets]\nkey = "{CANARY}"',
        f"[account]\nsecret = {CANARY}",
        f'[account]\nsecret = "{CANARY}',
    ],
)
def test_what_may_be_a_secret_is_never_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text + "\n" + WEIGHTS, PATH)
    assert CANARY not in str(caught.value) + repr(caught.value.problems)


def test_files_that_can_t_be_read(tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert caught.value.problems[0].line is None
        return str(caught.value)

    assert "trimtab init" in refusal(tmp_path / "missing.toml")
    assert "can't be read" in refusal(tmp_path)
    (tmp_path / "latin.toml").write_bytes("# Zürich\n".encode("latin-1"))
    assert "UTF-8" in refusal(tmp_path / "latin.toml")
    (tmp_path / "good.toml").write_text(WEIGHTS)
    assert load(tmp_path / "good.toml").targets.leverage == 1.0


def test_texts_that_are_too_much_for_anyone() -> None:
    assert "too deep" in problem("x = " + "[" * 5000 + "]" * 5000).wrong
    assert "too long" in problem("x = " + "9" * 5000).wrong


# Where its state is kept


def test_the_state_is_named_after_the_file_unless_the_service_manager_says_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ann")
    assert parse(WEIGHTS, Path("/etc/main.toml")).state == "/home/ann/.local/state/trimtab/main"
    assert parse(with_key("state", '"~/trimtab"'), PATH).state == "/home/ann/trimtab"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/trimtab:/var/lib/other")
    assert parse(WEIGHTS, PATH).state == "/var/lib/trimtab"
    assert parse(with_key("state", '"/srv/x"'), PATH).state == "/srv/x"


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


@st.composite
def portfolios(draw: st.DrawFn) -> Portfolio:
    names = draw(st.lists(symbols, min_size=1, max_size=6, unique_by=lambda s: s.replace("_", "")))
    cuts = [1.0 / len(names) * draw(st.sampled_from([1, -1])) for _ in names]
    weights: dict[str, Any] = dict(zip(names, cuts, strict=True)) | ({"HOLDME": "hold"} if draw(st.booleans()) else {})
    key = draw(references)
    return Portfolio(
        mode=draw(st.sampled_from(["paper", "observe", "live"]) if key else st.just("paper")),
        state="/" + (draw(paths) or "").strip("/"),
        account=Account(
            key=key, secret=key, stream_url=draw(st.sampled_from([None, "wss://a.b:9/c", "ws://localhost"]))
        ),
        targets=draw(table(Targets, "targets", weights=st.just(weights), leverage=st.floats(0.1, 5, exclude_max=True))),
        bands=draw(table(Bands, "bands", destination=st.sampled_from(["optimal", "edge", "target"]))),
        triggers=draw(table(Triggers, "triggers", schedule=st.lists(crons, max_size=3).map(tuple))),
        limits=draw(
            table(
                Limits,
                "limits",
                leverage=st.floats(5, 125),
                asset_share=st.just(1.0),
                liquidation_distance=st.floats(0, 0.2, exclude_min=True),
            )
        ),
        costs=draw(table(Costs, "costs")),
        economy=draw(table(Economy, "economy")),
        execution=draw(table(Execution, "execution", style=st.sampled_from(["taker", "maker"]))),
        paper=draw(
            table(PaperAccount, "paper", positions=st.dictionaries(st.sampled_from(names), st.floats(-1e12, 1e12)))
        ),
    )


@given(portfolios())
def test_a_rendered_portfolio_parses_back_to_itself(portfolio: Portfolio) -> None:
    # Paths are kept in their shortest form, so the first reading may shorten one; from then on nothing changes.
    once = parse(render(portfolio), PATH)
    assert structs.replace(once, state="") == structs.replace(portfolio, state="")
    assert once.state == str(Path(portfolio.state))
    assert parse(render(once), PATH) == once


def test_rendering_shows_everything() -> None:
    text = render(parse(WEIGHTS, PATH))
    for table_name, kind in TABLES.items():
        for field in structs.fields(kind):
            assert (
                f"\n{field.name} = " in text
                or f"\n# {field.name} is not set" in text
                or (f"[{table_name}.{field.name}]" in text)
            )
    assert "\ntolerance = 0.07\n" in text


def test_the_starter_is_a_paper_portfolio_that_loads() -> None:
    portfolio = parse(starter(), PATH)
    assert portfolio.mode == "paper"
    assert portfolio.targets == Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}, leverage=3.0)
    assert portfolio == Portfolio(targets=portfolio.targets, state=portfolio.state), "it says what holds by default"


@given(
    st.dictionaries(symbols, st.integers(1, 100), min_size=1, max_size=8),
    st.floats(0.01, 125),
    st.floats(1, 1e9),
    st.sampled_from(["binance", "bybit"]),
)
def test_the_starter_loads_with_whatever_init_was_told(
    parts: dict[str, int], leverage: float, equity: float, venue: str
) -> None:
    if len({symbol.replace("_", "") for symbol in parts}) < len(parts):
        return
    weights: dict[str, Any] = {symbol: part / sum(parts.values()) for symbol, part in parts.items()}
    portfolio = parse(starter(weights, leverage, equity, venue), PATH)
    assert portfolio.targets.weights == pytest.approx(weights, abs=1e-9)
    assert (portfolio.targets.leverage, portfolio.paper.equity, portfolio.account.venue) == (leverage, equity, venue)


# Whatever one may write

names = st.sampled_from(
    ["mode", "state", *TABLES, *(field.name for kind in TABLES.values() for field in structs.fields(kind)), "BTCUSDT"]
) | st.text("ab", max_size=2)
scalars = st.one_of(
    st.sampled_from(['"7%"', '"hold"', '"env:A"', '"live"', '"0 0 * * *"', "nan", "-inf", "1e999", "true", "-0.0"]),
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
    st.tuples(names, names).map(lambda pair: f'["{pair[0]}"."{pair[1]}"]'),
    st.tuples(names, values).map(lambda pair: f'"{pair[0]}" = {pair[1]}'),
    st.tuples(names, names, values).map(lambda triple: f'"{triple[0]}"."{triple[1]}" = {triple[2]}'),
)


@given(st.lists(lines, max_size=12).map("\n".join))
@example("triggers.schedule = ['1-2/0 * * * *']")
@example("[account]\nrest_url = 'http://[v1.x]'")
def test_random_toml_never_raises_anything_else(text: str) -> None:
    assert all(problem.wrong and problem.cure for problem in problems_of(text))


@given(st.text())
def test_random_text_never_raises_anything_else(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text, PATH)


@given(st.from_regex(r"[0-9A-Z*,/L#W-]{1,7}( [0-9A-Z*,/L#W-]{1,7}){4}", fullmatch=True))
def test_random_cron_never_raises_anything_else(expression: str) -> None:
    for found in problems_of(with_key("triggers.schedule", f'["{expression}"]')):
        assert found.key == "triggers.schedule[0]"


# Line numbers


def test_lines_of_every_way_to_write_a_key() -> None:
    text = (
        'a = """\n[not.a.table]\nb = 1\n"""\n'  # 1 to 4
        "'quoted # key'.\"x\\u0041\" = 1 # comment = 2\n"  # 5
        "c = [ # 6\n  1,\n  { d = 2, e.f = [\n 3 ] },\n]\r\n"  # 6 to 10
        "[t.u]\n"  # 11
        "v = '''it's''' # 12\n"
        'w = "\\"[#"\n'  # 13
        "x = 1979-05-27T07:32:00.5Z\n"  # 14
        "[[l]]\ny = 1.5\n"  # 15, 16
        '[t."z.z"]\nq = {}\n'  # 17, 18
        'r = """a""""\ns = 1'  # 19, 20
    )
    tomllib.loads(text)
    assert dict(_Scanner(text).document()) == {
        ("a",): 1,
        ("quoted # key",): 5,
        ("quoted # key", "xA"): 5,
        ("c",): 6,
        ("c", 0): 7,
        ("c", 1): 8,
        ("c", 1, "d"): 8,
        ("c", 1, "e"): 8,
        ("c", 1, "e", "f"): 8,
        ("c", 1, "e", "f", 0): 9,
        ("t",): 17,
        ("t", "u"): 11,
        ("t", "u", "v"): 12,
        ("t", "u", "w"): 13,
        ("t", "u", "x"): 14,
        ("l",): 15,
        ("l", "y"): 16,
        ("t", "z.z"): 17,
        ("t", "z.z", "q"): 18,
        ("t", "z.z", "r"): 19,
        ("t", "z.z", "s"): 20,
    }


def leaves(value: Any, place: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    """Every key and list position of decoded TOML."""
    below: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return {place[:n] for n in range(1, len(place) + 1)} | {
        found for part, inner in below for found in leaves(inner, (*place, part))
    }


@given(st.lists(lines, max_size=12).map("\n".join))
def test_every_key_of_valid_toml_has_a_line(text: str) -> None:
    try:
        raw = tomllib.loads(text)
    except ValueError:
        return
    found = dict(_Scanner(text).document())
    assert found.keys() == leaves(raw)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


# The schedule


def ns(*date: int) -> int:
    return round(datetime(*date, tzinfo=UTC).timestamp()) * S  # type: ignore[arg-type, misc]


def test_the_next_time_of_several_schedules() -> None:
    after = schedule_of(Triggers(schedule=("0 0 * * SUN", "30 8 * * *")))
    assert after(ns(2026, 11, 27, 9)) == ns(2026, 11, 28, 8, 30)
    assert after(ns(2026, 11, 28, 8, 30)) == ns(2026, 11, 29), "strictly after"
    assert after(ns(2026, 11, 29) - 1) == ns(2026, 11, 29)


def test_no_schedule_has_no_next_time() -> None:
    assert schedule_of(Triggers())(ns(2026, 11, 29)) is None


@given(st.lists(crons, min_size=1, max_size=3), st.integers(ns(2020, 1, 1), ns(2040, 1, 1)))
def test_the_next_time_is_later_and_there_is_none_in_between(expressions: list[str], now: int) -> None:
    after = schedule_of(Triggers(schedule=tuple(expressions)))
    found = after(now)
    assert found is not None
    assert found > now
    assert found % (60 * S) == 0
    assert after(found - 1) == found
