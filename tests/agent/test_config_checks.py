"""What each value of a portfolio file may be."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import NODEFAULT, structs

from agent.config import parse
from agent.config.checks import either, is_name, is_symbol, nearest, on_this_machine
from agent.config.portfolio import TABLES
from agent.core.carry import CarryRules
from agent.core.health import Health
from agent.core.pairs import Pair
from agent.core.planner import Limits
from agent.core.targets import Strategy, Targets
from tests.agent.config_kit import NUMBERS, PATH, line_of, problem, problems_of, value_of, with_key


@pytest.mark.parametrize("key", NUMBERS)
def test_every_default_is_within_its_bounds(key: str) -> None:
    table = key.rpartition(".")[0]
    [field] = [f for f in structs.fields(KINDS[table]) if f.name == key.rpartition(".")[2]]
    assert field.default in (NODEFAULT, None) or NUMBERS[key](field.default) == field.default


KINDS = TABLES | {"targets.strategies.*": Strategy, "pairs.*": Pair}

TOGETHER = {
    "targets.leverage": [0.1, Limits().leverage],
    "limits.leverage": [Targets(weights={}).leverage, 125.0],
    "limits.asset_share": [0.6, 1.0],
    "targets.strategies.*.leverage": [0.1, 2 * Limits().leverage],
    "targets.strategies.*.health.bad": [-100.0, Health().good],
    "targets.strategies.*.health.good": [Health().bad, 100.0],
    "targets.strategies.*.health.drawdown_reduce": [1e-9, Health().drawdown_pause],
    "targets.strategies.*.health.drawdown_pause": [Health().drawdown_reduce, 1.0],
    "funding.enter": [CarryRules().exit, 10.0],
    "funding.exit": [0.0, CarryRules().enter],
    "timing.positions_s": [1.0, 14.9],
    "timing.quiet_s": [10.1, 600.0],
    "pairs.*.target": [1e-9, 0.95],
    "pairs.*.tolerance": [1e-9, 0.5],
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
        text = with_key(key, repr(number))
        found = problem(text)
        assert found.key == key.replace("strategies.*", "strategies.trend").replace("pairs.*", "pairs[0]")
        assert found.line == line_of(text, f"{key.rpartition('.')[2]} = {number!r}")
        assert "out of range" in found.wrong or "finite" in found.wrong or "whole" in found.wrong
    for text in ("true", '"many"', '"nan%"', "[1]", "{ a = 1 }", "2026-01-01"):
        found = problem(with_key(key, text))
        assert "number" in found.wrong
        assert found.cure.startswith("write a ")


@pytest.mark.parametrize("key", [key for key, check in NUMBERS.items() if check.whole])
def test_a_whole_number_that_no_float_can_hold_is_out_of_range(key: str) -> None:
    assert problem(with_key(key, "9" * 400)).wrong == "is out of range"


@given(st.decimals(min_value=0, max_value=100, places=6).filter(lambda d: 0 < d < 100))
def test_percentages_mean_the_same_as_fractions(percent: Any) -> None:
    written = parse(with_key("bands.tolerance", f'"{percent}%"'), PATH).bands.tolerance
    assert written == float(percent.scaleb(-2)), "and are rounded once"


@pytest.mark.parametrize("text", ["%", "7", "7 percent", "1e2%", "7%%", "٧%", "0x7%", "-%", ".%", "7  %", ""])
def test_what_is_no_percentage(text: str) -> None:
    assert problem(with_key("bands.tolerance", f'"{text}"')).wrong == "is a text, not a number"


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:8787", "127.9.9.9:0", "[::1]:65535", "0.0.0.0:8787", "[::]:1", "192.168.1.5:8787"]
)
def test_where_to_listen(listen: str) -> None:
    here = listen.startswith(("127.", "[::1]"))
    assert (problems_of(with_key("feed.listen", f'"{listen}"')) == ()) == here
    feed = parse(with_key("feed.listen", f'"{listen}"') + 'token = "env:T"\n', PATH).feed
    assert (feed.listen, feed.token) == (listen, "env:T")


def test_what_is_this_machine() -> None:
    assert all(map(on_this_machine, ["localhost", "127.0.0.1", "127.1.2.3", "::1"]))
    assert not any(map(on_this_machine, ["localhost.example.com", "10.0.0.1", "0.0.0.0", "::", ""]))  # noqa: S104


def test_names_and_symbols_are_never_taken_for_each_other() -> None:
    assert all(map(is_symbol, ["BTCUSDT", "ETH-USDT", "1000PEPE_USDT", "币安人生USDT"]))
    assert all(map(is_name, ["trend", "mean-reversion_2"]))
    assert not any(map(is_symbol, ["trend", "BTC/USDT", "", "-", "BTC USDT"]))
    assert not any(map(is_name, ["Trend", "2trend", "", "a b", "ümlaut"]))


@given(st.text())
def test_no_text_is_both_a_symbol_and_a_name(text: str) -> None:
    assert not (is_symbol(text) and is_name(text))


def test_words_of_a_cure() -> None:
    assert either(["a"]) == "a"
    assert either(["a", "b", "c"]) == "a, b or c"
    assert nearest("tagret", ["edge", "target"]) == "did you mean target?"
    assert nearest("x", ["edge", "target"]) == nearest(1, ["1"]) == ""
