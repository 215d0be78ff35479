"""A portfolio as TOML again, and the file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agent.config import Portfolio, parse, render, starter
from agent.config.portfolio import TABLES
from agent.config.render import shown
from agent.core.targets import Targets
from tests.agent.config_kit import PATH, WEIGHTS, portfolios, symbols


@given(portfolios())
def test_a_rendered_portfolio_parses_back_to_itself(portfolio: Portfolio) -> None:
    # Paths are kept in their shortest form, so the first reading may shorten one; from then on nothing changes.
    file = portfolio.feed.file
    feed = structs.replace(portfolio.feed, file=file and str(Path(file)))
    short = structs.replace(portfolio, state=str(Path(portfolio.state)), feed=feed)
    once = parse(render(portfolio), PATH)
    assert once == short
    assert parse(render(once), PATH) == once


def test_rendering_shows_everything() -> None:
    text = render(parse(WEIGHTS, PATH))
    for table_name, kind in TABLES.items():
        if "*" not in table_name:
            for field in structs.fields(kind):
                lines = (f"\n{field.name} = ", f"\n# {field.name} is not set", f"[{table_name}.{field.name}]")
                assert any(line in text for line in lines), field.name
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


def test_leverage_that_follows_from_something_else_is_not_written() -> None:
    margin = parse('[targets]\nbasis = "margin"\nutilisation = 0.3\n' + WEIGHTS, PATH)
    own = parse(WEIGHTS + "[targets.strategies.trend]\ncapital = 1\nleverage = 2\n", PATH)
    for portfolio in (margin, own):
        assert "# leverage follows from the rest\n" in render(portfolio)
        assert parse(render(portfolio), PATH) == portfolio


def test_values_are_shown_briefly() -> None:
    assert shown("x" * 50) == f'"{"x" * 39}…"'
    assert [shown(value) for value in (True, {"a": 1}, [1], 2.5)] == ["true", "{…}", "[…]", "2.5"]
