"""Each mistake in a portfolio file is told with its place and its cure, and never with a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.config import ConfigError, load, parse
from tests.agent.config_kit import CANARY, PATH, WEIGHTS, lines, problem, problems, problems_of, with_key

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
        with_key("targets.leverage_mode", "1"),
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
    "key without secret": (with_key("account.key", '"env:K"'), 4, "account.secret", "key is given", "env:NAME"),
    "passphrase as itself": (
        with_key("account.passphrase", f'"{CANARY}"') + 'venue = "weex"\nkey = "env:K"\nsecret = "env:S"',
        5,
        "account.passphrase",
        "must never stand in this file",
        "env:NAME",
    ),
    "passphrase where keys have none": (
        with_key("account.passphrase", '"env:P"'),
        5,
        "account.passphrase",
        "not for this venue",
        "leave it out",
    ),
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
    "no weights": ("[targets.weights]\n", 1, "targets.weights", "is missing", "100%"),
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
        "neither a symbol nor a basket",
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
        "same instrument as BTCUSDT (line 2)",
        "keep one",
    ),
    "leverage that liquidates too near": (
        "[targets]\nleverage = 10\n" + WEIGHTS + "\n[limits]\nleverage = 10\n",
        2,
        "targets.leverage",
        "is liquidated by a move of 10.0%, and increases keep 1.2 times limits.liquidation_distance (11%) away",
        "lower it below 7.576, or limits.liquidation_distance below 8.3%",
    ),
    "a setting that weights follow from": (
        '[targets]\nbasis = "margin"\nutilisation = 0.3\n' + WEIGHTS + "\n[execution]\nleverage = 20\n",
        9,
        "execution.leverage",
        "can't be set where weights are shares of margin",
        "set it at the venue and drop it here",
    ),
    "health with a leverage that only comes down": (
        '[targets]\nleverage_mode = "cap"\n[targets.strategies]\n'
        "trend = { capital = 1, health = {}, weights = { BTCUSDT = 1 } }\n",
        2,
        "targets.leverage_mode",
        "does not go with trend's health: what a pause takes out would never come back",
        'write "constant"',
    ),
    "leverage over its limit": (
        "[targets]\nleverage = 6\n" + WEIGHTS,
        2,
        "targets.leverage",
        "limits.leverage allows (5)",
        "to 6 or more",
    ),
    "weight over its limit": (
        WEIGHTS + '[limits]\nasset_share = "50%"',
        2,
        "targets.weights.BTCUSDT",
        "BTCUSDT is 60% of the gross, and limits.asset_share is 50%",
        "raise the limit",
    ),
    "position of a stranger": (
        WEIGHTS + "[paper.positions]\nBTCUSD = 1",
        5,
        "paper.positions.BTCUSD",
        "BTCUSD is not in [targets]",
        "did you mean BTCUSDT?",
    ),
    "no TOML": (WEIGHTS + "[bands\n", 4, "", "not valid TOML", "brackets"),
    "TOML that ends too early": (WEIGHTS + 'x = """\n', 5, "", "not valid TOML", "quotes"),
}

TWO = """\
[targets.strategies.trend]
capital = "60%"
weights = { BTCUSDT = 0.5, ETHUSDT = 0.5 }
[targets.strategies.revert]
capital = "40%"
weights = { ETHUSDT = 1 }
"""
"""Two strategies that add up to 30 % BTC and 70 % ETH at a leverage of 1."""

HEALTH = WEIGHTS + "[targets.strategies.trend]\ncapital = 1\n[targets.strategies.trend.health]\n"

TOGETHER = {
    "basket that is not there": (
        "[targets]\nweights = { alt = 1 }\nbaskets.alts = { ETHUSDT = 1 }\n",
        2,
        "targets.weights.alt",
        "neither a symbol nor a basket",
        "did you mean alts?",
    ),
    "basket that does not add up": (
        "[targets.weights]\nalts = 1\n[targets.baskets.alts]\nETHUSDT = 0.5\nSOLUSDT = 0.4\n",
        3,
        "targets.baskets.alts",
        "ETHUSDT 50% (line 4) + SOLUSDT 40% (line 5) add up to 90%",
        "100%",
    ),
    "basket that is empty": (
        "[targets.weights]\nalts = 1\n[targets.baskets.alts]\n",
        3,
        "targets.baskets.alts",
        "is empty",
        "one line for each symbol",
    ),
    "basket that nobody uses": (
        WEIGHTS + "[targets.baskets]\nalts = { SOLUSDT = 1 }\n",
        5,
        "targets.baskets.alts",
        "is not used",
        "give alts a weight",
    ),
    "basket with a strange name": (
        WEIGHTS + "[targets.baskets]\nALTS = { SOLUSDT = 1 }\n",
        5,
        "targets.baskets.ALTS",
        "not a name",
        "lower case",
    ),
    "basket on hold": (
        '[targets.weights]\nBTCUSDT = 1\nalts = "hold"\n[targets.baskets.alts]\nETHUSDT = 1\n',
        3,
        "targets.weights.alts",
        "only symbols can be on hold",
        "for each",
    ),
    "basket that holds what has a weight as well": (
        "[targets.weights]\nETHUSDT = 0.5\nalts = 0.5\n[targets.baskets.alts]\nETHUSDT = 1\n",
        3,
        "targets.weights.alts",
        "holds ETHUSDT, as ETHUSDT does",
        "one of them",
    ),
    "hold in a basket": (
        '[targets.weights]\nalts = 1\n[targets.baskets.alts]\nETHUSDT = "hold"\n',
        4,
        "targets.baskets.alts.ETHUSDT",
        "for [targets.weights] alone",
        "leave it out",
    ),
    "hold of what a strategy trades": (
        '[targets.weights]\nETHUSDT = "hold"\n' + TWO.replace("ETHUSDT = 1", "SOLUSDT = 1"),
        5,
        "targets.strategies.trend.weights.ETHUSDT",
        "ETHUSDT is on hold",
        "leave it alone",
    ),
    "baskets that are a list": (WEIGHTS + "[targets]\nbaskets = []\n", 5, "targets.baskets", "not a table", ".NAME]"),
    "strategy with a strange name": (
        WEIGHTS + "[targets.strategies.Trend]\ncapital = 1\n",
        4,
        "targets.strategies.Trend",
        "not a name",
        "lower case",
    ),
    "strategy of the name of what is left": (
        WEIGHTS + "[targets.strategies.cash]\ncapital = 1\n",
        4,
        "targets.strategies.cash",
        "left to no strategy",
        "another name",
    ),
    "strategy that is a value": (
        WEIGHTS + "[targets.strategies]\ntrend = 1\n",
        5,
        "targets.strategies.trend",
        "not a table",
        "[targets.strategies.trend]",
    ),
    "strategy without capital": (
        WEIGHTS + "[targets.strategies.trend]\nleverage = 1\n",
        4,
        "targets.strategies.trend.capital",
        "is missing",
        "share of equity",
    ),
    "strategy with no capital": (
        WEIGHTS + "[targets.strategies.trend]\ncapital = 0\n",
        5,
        "targets.strategies.trend.capital",
        "out of range",
        "above 0%",
    ),
    "strategies with more than all of the capital": (
        TWO.replace("40%", "50%"),
        1,
        "targets.strategies",
        "trend 60% + revert 50% = 110%",
        "stays in cash",
    ),
    "strategy without weights anywhere": (
        TWO.replace("weights = { ETHUSDT = 1 }\n", ""),
        4,
        "targets.strategies.revert.weights",
        "is missing",
        "for all strategies",
    ),
    "weights of a strategy that do not add up": (
        TWO.replace("ETHUSDT = 1", "ETHUSDT = 0.9"),
        6,
        "targets.strategies.revert.weights",
        "add up to 90%",
        "100%",
    ),
    "strategies that cancel each other out": (
        "[targets.strategies]\na = { capital = 0.5, weights = { BTCUSDT = 1 } }\n"
        "b = { capital = 0.5, weights = { BTCUSDT = -1 } }\n",
        1,
        "targets.strategies",
        "cancel each other out",
        "change a capital",
    ),
    "key of a strategy": (
        TWO + "levrage = 2\n",
        7,
        "targets.strategies.revert.levrage",
        "not a known key",
        "did you mean leverage?",
    ),
    "freed to a stranger": (
        '[targets]\nfreed = "trnd"\n' + TWO,
        2,
        "targets.freed",
        "not a strategy",
        "did you mean trend?",
    ),
    "freed to whatever": ("[targets]\nfreed = 1\n" + TWO, 2, "targets.freed", "not a place for freed", '"cash"'),
    "freed to a strategy where there is none": (
        '[targets]\nfreed = "trend"\n' + WEIGHTS,
        2,
        "targets.freed",
        "not a strategy",
        'write "pro rata"',
    ),
    "weights of the whole that contradict the strategies": (
        TWO + '[targets.weights]\nBTCUSDT = "50%"\nETHUSDT = "50%"\n',
        7,
        "targets.weights",
        "which lead to BTCUSDT 30%, ETHUSDT 70%",
        "drop [targets.weights]",
    ),
    "leverage of the whole that contradicts the strategies": (
        "[targets]\nleverage = 3\n" + TWO.replace("weights", "leverage = 2\nweights"),
        2,
        "targets.leverage",
        "which lead to 2",
        "drop it",
    ),
    "strategies over the limit of leverage": (
        TWO.replace("weights", "leverage = 6\nweights"),
        1,
        "targets.strategies",
        "lead to a leverage of 6, which is more than limits.leverage allows (5)",
        "to 6 or more",
    ),
    "strategies over the limit of an asset": (
        TWO + "[limits]\nasset_share = 0.6\n",
        1,
        "targets.strategies",
        "ETHUSDT is 70% of the gross, and limits.asset_share is 60%",
        "raise the limit",
    ),
    "good that is worse than bad": (
        HEALTH + "bad = 2\n",
        6,
        "targets.strategies.trend.health.good",
        "is below bad (2)",
        "above one that is bad",
    ),
    "pause before reduce": (
        HEALTH + "drawdown_pause = 0.1\n",
        7,
        "targets.strategies.trend.health.drawdown_pause",
        "less than drawdown_reduce (15%)",
        "reduced before it is paused",
    ),
    "ramp of nothing": (HEALTH + "ramp = []\n", 7, "targets.strategies.trend.health.ramp", "is empty", "each more"),
    "ramp that falls": (
        HEALTH + "ramp = [0.5, 0.25]\n",
        7,
        "targets.strategies.trend.health.ramp",
        "does not rise",
        "[0.25, 0.5, 0.75]",
    ),
    "margin without utilisation": (
        '[targets]\nbasis = "margin"\n' + WEIGHTS,
        1,
        "targets.utilisation",
        "is missing",
        "initial margin over equity",
    ),
    "utilisation without margin": (
        "[targets]\nutilisation = 0.3\n" + WEIGHTS,
        2,
        "targets.utilisation",
        "means nothing",
        'basis = "margin"',
    ),
    "margin with leverage": (
        '[targets]\nbasis = "margin"\nutilisation = 0.3\nleverage = 2\n' + WEIGHTS,
        4,
        "targets.leverage",
        "means nothing",
        "follows from utilisation",
    ),
    "margin with strategies": (
        '[targets]\nbasis = "margin"\nutilisation = 0.3\n' + WEIGHTS + TWO,
        2,
        "targets.basis",
        "does not go with strategies",
        '"notional"',
    ),
    "exit above enter": (
        WEIGHTS + "[funding]\nexit = 0.1\n",
        5,
        "funding.exit",
        "exit (10%) is above enter (5%)",
        "lower level",
    ),
    "enter below exit": (
        WEIGHTS + "[funding]\nenter = 0.01\n",
        5,
        "funding.enter",
        "exit (2.5%) is above enter (1%)",
        "lower level",
    ),
    "hedge of one": (
        WEIGHTS + '[funding]\nhedges = [["BTCUSDT"]]\n',
        5,
        "funding.hedges[0]",
        "not a group of two",
        '["BTCUSDT", "BTCUSDC"]',
    ),
    "hedge with itself": (
        WEIGHTS + '[funding]\nhedges = [["BTCUSDT", "BTCUSDT"]]\n',
        5,
        "funding.hedges[0]",
        "each once",
        '["BTCUSDT", "BTCUSDC"]',
    ),
    "hedges that are not in groups": (
        WEIGHTS + '[funding]\nhedges = ["BTCUSDT"]\n',
        5,
        "funding.hedges[0]",
        "not a group",
        '["BTCUSDT", "BTCUSDC"]',
    ),
    "hedge with a stranger": (
        WEIGHTS + '[funding]\nhedges = [["BTCUSDT", "ETHUSD"]]\n',
        5,
        "funding.hedges[0]",
        "ETHUSD is not in [targets]",
        "did you mean ETHUSDT?",
    ),
    "hedge of two long sides": (
        WEIGHTS.replace("-0.4", "0.4") + '[funding]\nhedges = [["BTCUSDT", "ETHUSDT"]]\n',
        5,
        "funding.hedges[0]",
        "not long and short",
        "both sides",
    ),
    "hedge with what is on hold": (
        WEIGHTS + 'SOLUSDT = "hold"\n[funding]\nhedges = [["BTCUSDT", "SOLUSDT"]]\n',
        6,
        "funding.hedges[0]",
        "SOLUSDT is on hold",
        "drop it here",
    ),
    "instrument in two hedges": (
        WEIGHTS.replace("0.4", "0.2") + "SOLUSDT = -0.2\n[funding]\n"
        'hedges = [["BTCUSDT", "ETHUSDT"],\n["BTCUSDT", "SOLUSDT"]]\n',
        7,
        "funding.hedges[1]",
        "names BTCUSDT, which is in another group too",
        "one of them",
    ),
    "pairs that are a table": (WEIGHTS + "[pairs]\nover = 1\n", 4, "pairs", "not a list of tables", "[[pairs]]"),
    "pair that is a value": ("pairs = [1]\n" + WEIGHTS, 1, "pairs[0]", "not a table", "and its keys below"),
    "pair with half of what it needs": (
        WEIGHTS + '[[pairs]]\nover = "BTCUSDT"\ntarget = 0.5\n',
        4,
        "pairs[0].into",
        "is missing",
        "over, into and target",
    ),
    "pair with a symbol that is none": (
        with_key("pairs.*.over", '"btc"'),
        5,
        "pairs[0].over",
        "not a symbol",
        "such as BTCUSDT",
    ),
    "pair with a stranger": (
        with_key("pairs.*.into", '"SOLUSDT"'),
        6,
        "pairs[0].into",
        "SOLUSDT is not in [targets]",
        "give it a weight, or drop it here",
    ),
    "pair of one": (with_key("pairs.*.into", '"BTCUSDT"'), 6, "pairs[0].into", "same instrument", "name two"),
    "pair with what is on hold": (
        with_key("pairs.*.into", '"SOLUSDT"').replace("[[", 'SOLUSDT = "hold"\n[['),
        7,
        "pairs[0].into",
        "SOLUSDT is on hold",
        "give it a weight",
    ),
    "pair that would never act": (
        with_key("pairs.*.target", "0.97"),
        7,
        "pairs[0].target",
        "more than all of the margin",
        "lower one",
    ),
    "the same pair twice": (
        with_key("pairs.*.target", "0.5") + with_key("pairs.*.target", "0.6").removeprefix(WEIGHTS),
        8,
        "pairs[1]",
        "is about BTCUSDT and ETHUSDT",
        "keep one",
    ),
    "second pair": (
        with_key("pairs.*.target", "0.5")
        + "[[pairs]]\nmode = 'point'\nover = 'ETHUSDT'\ninto = 'BTCUSDT'\ntarget=0.1\n",
        9,
        "pairs[1].mode",
        "not one of the choices",
        "did you mean points?",
    ),
    "window": (
        with_key("triggers.blackout", '["23:00"]'),
        5,
        "triggers.blackout[0]",
        "not a window",
        '"23:50-00:10"',
    ),
    "listen at a name": (
        with_key("feed.listen", '"localhost:80"'),
        5,
        "feed.listen",
        "not an address and a port",
        '"127.0.0.1:8787"',
    ),
    "listen at no port": (with_key("feed.listen", '"127.0.0.1:99999"'), 5, "feed.listen", "not an address", "8787"),
    "listen at no address": (with_key("feed.listen", '"1.2.3:80"'), 5, "feed.listen", "not an address", "8787"),
    "listen at a number": (with_key("feed.listen", "8787"), 5, "feed.listen", "not an address", "8787"),
    "listen where others are, without a token": (
        with_key("feed.listen", '"0.0.0.0:8787"'),
        4,
        "feed.token",
        "is missing",
        "127.0.0.1",
    ),
    "token as itself": (
        with_key("feed.listen", '"0.0.0.0:8787"') + f'token = "{CANARY}"\n',
        6,
        "feed.token",
        "must never stand in this file",
        "env:NAME",
    ),
    "token of nothing": (with_key("feed.token", '"env:T"'), 5, "feed.token", "listen is missing", "listen ="),
}


@pytest.mark.parametrize("name", [*MISTAKES, *TOGETHER])
def test_a_mistake_is_told_with_its_place_and_its_cure(name: str) -> None:
    text, line, key, wrong, cure = (MISTAKES | TOGETHER)[name]
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
        (8, "limits.leverage"),
    ]


@pytest.mark.parametrize("mode", ["observe", "live"])
def test_a_real_account_needs_a_key(mode: str) -> None:
    text = f'mode = "{mode}"\n{WEIGHTS}'
    assert [p.key for p in problems(text)] == ["account.key", "account.secret"]
    assert [p.key for p in problems(text + f'[account]\nkey = "env:K"\nsecret = "{CANARY}"')] == ["account.secret"]
    assert parse(text + '[account]\nkey = "env:K"\nsecret = "env:S"', PATH).mode == mode
    text += '[account]\nvenue = "weex"\nkey = "env:K"\nsecret = "env:S"'
    assert [p.key for p in problems(text)] == ["account.passphrase"]
    assert parse(f'{text}\npassphrase = "env:P"', PATH).account.passphrase == "env:P"


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
