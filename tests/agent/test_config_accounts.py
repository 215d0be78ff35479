"""Several accounts in one portfolio file."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.build import tag_of
from agent.config import ConfigError, Portfolio, parse, render
from agent.core.guard import placed, tags_of

TEXT = """
mode = "live"
[accounts.one]
venue = "binance"
key = "env:ONE"
secret = "env:ONE_SECRET"
[accounts.two]
venue = "bybit"
key = "env:TWO"
secret = "env:TWO_SECRET"
[targets]
leverage = 2
weights = { "one:BTCUSDT" = 0.4, "two:ETHUSDT" = 0.4, "one:SOLUSDT" = 0.2 }
[paper]
equity = 9000
positions = { "two:ETHUSDT" = 1.5 }
"""


def read(text: str = TEXT) -> Portfolio:
    return parse(text, Path("p.toml"))


def test_each_account_has_the_instruments_that_are_named_after_it() -> None:
    portfolio = read()
    assert list(portfolio.seats) == ["one", "two"]
    assert portfolio.symbols_at("one") == ("BTCUSDT", "SOLUSDT")
    assert portfolio.symbols_at("two") == ("ETHUSDT",)
    assert placed(portfolio.targets.symbols, ["one", "two"]) == [0, 1, 0]
    assert portfolio.paper_at("two").positions == {"ETHUSDT": 1.5}
    assert portfolio.paper_at("one").positions == {}
    assert portfolio.paper_at("one").equity == 4_500


def test_the_whole_with_every_default_reads_as_the_same() -> None:
    text = render(read())
    assert "[account]" not in text
    assert read(text) == read()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("two:ETHUSDT", "ETHUSDT", "names no account; write one:ETHUSDT, or another of one, two"),
        ("two:ETHUSDT", "six:ETHUSDT", "is on an account six, which is not among [accounts]"),
        ("two:ETHUSDT", "one:ETHUSDT", "accounts.two: has no instrument; put two: before a symbol"),
        ("[targets]", "[account]\n[targets]", "account: stands beside [accounts]; give it a name there"),
        ("[accounts.two]", "[accounts.Two]", "accounts.Two: is not a name"),
        ('venue = "bybit"', 'venue = "bybit"\nplace = 1', "accounts.two.place: is not a known key"),
        ('secret = "env:TWO_SECRET"\n', "", "accounts.two.secret: is missing"),
        ('key = "env:TWO"', 'key = "env:ONE"\nrest_url = "http://x.y"', "accounts.two.rest_url"),
    ],
)
def test_what_does_not_fit_is_named_with_its_cure(old: str, new: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(TEXT.replace(old, new))
    assert problem in str(error.value)


def test_a_name_before_a_symbol_needs_accounts() -> None:
    with pytest.raises(ConfigError, match=r"names an account; there are no \[accounts\]: drop its name"):
        read('[targets]\nleverage = 1\nweights = { "one:BTCUSDT" = 1.0 }')


def test_a_key_that_stands_in_the_file_is_not_shown() -> None:
    with pytest.raises(ConfigError) as error:
        read(TEXT.replace('"env:TWO"', '"kQ7dummySecretValue"'))
    assert "accounts.two.key: is not a reference" in str(error.value)
    assert "kQ7dummy" not in str(error.value)


def test_one_key_is_not_two_accounts() -> None:
    text = TEXT.replace('venue = "bybit"', 'venue = "binance"').replace("env:TWO", "env:ONE")
    with pytest.raises(ConfigError, match=r"accounts\.two\.key = .*: opens the account one already"):
        read(text)


def test_each_account_marks_its_orders_by_tags_that_differ_and_last() -> None:
    portfolio = read()
    assert tags_of(tag_of(portfolio), [""]) == [tag_of(portfolio)]
    tags = tags_of("ab", ["one", "two"])
    assert len(set(tags)) == 2
    assert tags == tags_of("ab", ["one", "two"])
    many = tags_of("ab", [f"n{number}" for number in range(1_000)])
    assert len(set(many)) == 1_000
    assert {len(tag) for tag in many} == {2}
