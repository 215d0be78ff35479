"""Files for accounts that are held in a coin: what goes with that, and what is said where something does not."""

from __future__ import annotations

import pytest

from agent.cli.app import _held_in
from agent.cli.build import dialects_of
from agent.config import ConfigError, parse, render, targets_of
from tests.agent.config_kit import PATH, problem, problems

FILE = (
    '[account]\nvenue = "binance-coinm"\nsettle = "BTC"\n[targets]\nleverage = {leverage}\n[targets.weights]\n{rows}\n'
)


def file(rows: str = 'BTCUSD_PERP = "100%"', leverage: float = 3.0, more: str = "") -> str:
    return FILE.format(rows=rows, leverage=leverage) + more


MISTAKES = {
    "two contracts": (
        file('BTCUSD_PERP = "50%"\nBTCUSD_261225 = "50%"'),
        "targets.weights", "an account held in BTC trades one contract", "keep that of BTC",
    ),
    "another coin": (
        file('ETHUSD_PERP = "100%"'),
        "targets.weights.ETHUSD_PERP", "is not settled in BTC", "correct account.settle",
    ),
    "strategies": (
        file('BTCUSD_PERP = "100%"', 1.0, "[targets.strategies.a]\ncapital = 1.0\n"),
        "targets.strategies", "does not go with account.settle", "write the weight of that contract",
    ),
    "shares of margin": (
        file().replace("leverage = 3.0", 'basis = "margin"\nutilisation = 0.3'),
        "targets.basis", "does not go with account.settle", 'write basis = "notional"',
    ),
    "a limit below the coin itself": (
        file(leverage=0.5, more="[limits]\nleverage = 0.8\n"),
        "limits.leverage", "without any contract, which is 1", "write 1 or more",
    ),
    "no coin": (file().replace('"BTC"', '"btc"'), "account.settle", "is not the name of a coin", '"BTC"'),
    "half a weight": (file('BTCUSD_PERP = "50%"'), "targets.weights", "50% too little", "leverage is a key of its own"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_what_does_not_go_with_a_coin_is_told_with_its_cure(name: str) -> None:
    text, key, wrong, cure = MISTAKES[name]
    found = problem(text)
    assert found.key == key
    assert wrong in found.wrong
    assert cure in found.cure


def test_the_weight_of_nothing_is_an_account_in_dollars() -> None:
    portfolio = parse(file("BTCUSD_PERP = 0"), PATH)
    assert portfolio.targets.weights == {"BTCUSD_PERP": 0}
    assert parse(render(portfolio), PATH) == portfolio
    given = targets_of({"weights": {"BTCUSD_PERP": -1.0}, "leverage": 1.0}, portfolio, "feed")
    assert targets_of({"weights": {"BTCUSD_PERP": 0.0}}, parse(file(), PATH), "feed").weights == {"BTCUSD_PERP": 0}
    assert given.weights == {"BTCUSD_PERP": -1.0}
    assert problems("[targets.weights]\nBTCUSDT = 0\n"), "elsewhere it is nothing to hold"


def test_the_file_is_explained_in_contracts() -> None:
    said = {text: _held_in(parse(text, PATH)) or "" for text in (file(), file(leverage=1.0), file("BTCUSD_PERP = 0"))}
    first, second, third = said.values()
    assert "3 is the coin and contracts of +2 times what the account is worth" in first
    assert "1 is the coin and no contracts" in second
    assert "0 is the coin and contracts of -1 times" in third
    assert _held_in(parse("[targets.weights]\nBTCUSDT = 1.0\n", PATH)) is None


@pytest.mark.parametrize(
    ("text", "wrong", "cure"),
    [
        (file().replace('settle = "BTC"\n', ""), "settle: is missing", 'settle = "BTC"'),
        (file().replace("binance-coinm", "binance"), "settle = BTC: is not for this venue", "leave it out"),
    ],
)
def test_a_coin_is_named_where_the_venue_has_accounts_of_coins_and_nowhere_else(
    text: str, wrong: str, cure: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        dialects_of(parse(text, PATH))
    assert wrong in str(caught.value)
    assert cure in str(caught.value)
