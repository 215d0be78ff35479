"""Several accounts in one portfolio file."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.claim import Claimed
from agent.cli.build import claim_of, dialects_of, tag_of
from agent.config import ConfigError, Portfolio, parse, render
from agent.core.events import Owner
from agent.core.guard import placed, tags_of
from agent.core.venue import Credentials, Secret
from agent.replay import desk_of
from agent.tape import Header
from tests.agent.config_kit import problem

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
PAIR = '[[pairs]]\nover = "one:BTCUSDT"\ninto = "{into}"\ntarget = 0.5\n'


def accounts(first: str, second: str, more: str = "") -> str:
    """A file of accounts ``one`` and ``two``: of each the venue, its symbol, and the coin it is held in, if any."""
    said, weights = 'mode = "live"\n', []
    for name, account in (("one", first), ("two", second)):
        venue, symbol, *coin = account.split()
        said += f'[accounts.{name}]\nvenue = "{venue}"\nkey = "env:{name.upper()}"\nsecret = "env:SECRET"\n'
        said += "".join(f'settle = "{one}"\n' for one in coin)
        weights.append(f'"{name}:{symbol}" = 0.5')
    return f"{said}[targets]\nweights = {{ {', '.join(weights)} }}\n{more}"


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


ONE_MARGIN = [
    ("binance BTCUSDT", "binance ETHUSDT"),
    ("bybit ETHUSDT", "bybit-inverse BTCUSD BTC"),
    ("bybit-inverse ETHUSD ETH", "bybit-inverse BTCUSD BTC"),
]
MARGINS_APART = [
    ("binance BTCUSDT", "bybit BTCUSDT"),
    ("binance BTCUSDT", "binance-coinm BTCUSD_PERP BTC"),
    ("binance-coinm ETHUSD_PERP ETH", "binance-coinm BTCUSD_PERP BTC"),
]


@pytest.mark.parametrize(("first", "second"), ONE_MARGIN)
def test_one_key_to_one_margin_is_refused_whatever_is_traded_there(first: str, second: str) -> None:
    found = problem(accounts(first, second).replace("env:TWO", "env:ONE"))
    assert (found.key, found.value) == ("accounts.two.key", '"env:ONE"')
    more = "" if "bybit" not in first else ", whose margin is one whatever is traded there"
    assert found.wrong == f"opens the account one already{more}"


@pytest.mark.parametrize(("first", "second"), MARGINS_APART)
def test_one_key_to_margins_apart_is_claimed_once(first: str, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE", f"the key of {first} and {second}")
    portfolio = read(accounts(first, second).replace("env:TWO", "env:ONE"))
    end = claim_of(portfolio)
    with pytest.raises(Claimed):
        claim_of(portfolio)
    end()
    claim_of(portfolio)()


def test_one_margin_is_claimed_by_its_key_whatever_each_of_two_agents_trades_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ONE", "TWO"):
        monkeypatch.setenv(name, f"the key {name}")
    linear = read(accounts("bybit BTCUSDT", "mexc BTC_USDT"))
    inverse = read(accounts("bybit-inverse BTCUSD BTC", "bingx BTC-USDT"))
    end = claim_of(linear)
    with pytest.raises(Claimed):
        claim_of(inverse)
    end()
    claim_of(inverse)()


@pytest.mark.parametrize(("first", "second"), ONE_MARGIN + MARGINS_APART)
def test_two_keys_of_one_owner_are_refused_where_they_are_of_one_margin(first: str, second: str) -> None:
    portfolio = read(accounts(first, second))
    header = Header(version="", epoch=1, mode="live", symbols=(), config="", tag="aa")

    def unfit(*owners: str) -> str | None:
        engine = desk_of(portfolio, dialects_of(portfolio, Credentials(Secret("k"), Secret("s"))), header).engine
        engine.step([Owner(name, account=account) for account, name in enumerate(owners)], 1)
        return engine.unfit

    one = "two:it is the account that one is, 7: keep it under one name"
    assert unfit("7", "7") == (one if (first, second) in ONE_MARGIN else None)
    assert unfit("7", "8") is None


def test_margin_is_not_moved_from_one_account_into_another() -> None:
    found = problem(TEXT + PAIR.format(into="two:ETHUSDT"))
    assert (found.key, found.value) == ("pairs[0].into", '"two:ETHUSDT"')
    assert found.wrong == "is on another account than one:BTCUSDT, and no margin moves from one account into another"
    assert found.cure.startswith("name one on one")
    assert len(read(TEXT + PAIR.format(into="one:SOLUSDT")).pairs) == 1


def test_shares_of_margin_do_not_go_beside_an_account_that_is_held_in_a_coin() -> None:
    shares = 'basis = "margin"\nutilisation = 0.3\n'
    found = problem(accounts("binance ETHUSDT", "binance-coinm BTCUSD_PERP BTC", shares))
    assert (found.key, found.value) == ("targets.basis", '"margin"')
    assert found.wrong == "does not go with accounts.two: the weight in an account held in BTC counts the coin itself"
    assert found.cure == 'write basis = "notional", or drop that account'
    assert read(accounts("binance ETHUSDT", "bybit BTCUSDT", shares)).targets.basis == "margin"


def test_each_account_marks_its_orders_by_tags_that_differ_and_last() -> None:
    portfolio = read()
    assert tags_of(tag_of(portfolio), [""]) == [tag_of(portfolio)]
    tags = tags_of("ab", ["one", "two"])
    assert len(set(tags)) == 2
    assert tags == tags_of("ab", ["one", "two"])
    many = tags_of("ab", [f"n{number}" for number in range(1_000)])
    assert len(set(many)) == 1_000
    assert {len(tag) for tag in many} == {2}
