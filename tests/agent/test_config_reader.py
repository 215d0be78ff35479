"""What a portfolio file may say, and what targets from outside may."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_origin

import msgspec
import pytest
from hypothesis import given
from msgspec import structs

from agent.config import Account, ConfigError, Feed, Portfolio, document_of, parse, render, targets_of
from agent.config.checks import BY_SYMBOL, CHECKS, LISTS
from agent.config.portfolio import NAMED, ROWS, TABLES
from agent.core.carry import CarryRules
from agent.core.costs import Costs
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.health import Health
from agent.core.pairs import Pair
from agent.core.paper import PaperAccount
from agent.core.planner import Execution, Limits
from agent.core.targets import Strategy, Targets
from agent.core.triggers import Triggers
from tests.agent.config_kit import PATH, WEIGHTS, portfolios, with_key


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
        [targets]
        freed = "trend"
        [targets.weights]
        BTCUSDT = "50%"
        "ETH-USDT" = "-50 %"
        SOLUSDT = "hold"
        [targets.baskets]
        alts = { BNBUSDT = 0.5, XRPUSDT = -0.5 }
        [targets.strategies.trend]
        capital = "60%"
        leverage = 2
        health.bad_days = 5
        health.ramp = ["50%"]
        [targets.strategies.revert]
        capital = "20%"
        weights = { alts = 1 }
        [bands]
        relative = "25%"
        destination = "target"
        [triggers]
        schedule = ["every Sunday at midnight", "30 8 1 * *"]
        blackout = ["sun 22:00-23:30 Europe/Berlin"]
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
        [funding]
        horizon_days = 3
        hedges = [["BTCUSDT", "ETH-USDT"]]
        [[pairs]]
        over = "BTCUSDT"
        into = "ETH-USDT"
        target = "60%"
        mode = "relative"
        [feed]
        file = "/run/targets.toml"
        listen = "127.0.0.1:8787"
        [paper]
        positions = { BTCUSDT = -0.25 }
        """,
        PATH,
    )
    assert portfolio == Portfolio(
        mode="live",
        state="/var/lib/trimtab",
        account=Account("bybit", "env:KEY", "file:~/secret", rest_url="http://127.0.0.1:9001"),
        targets=Targets(
            weights={"BTCUSDT": 0.5, "ETH-USDT": -0.5, "SOLUSDT": "hold"},
            baskets={"alts": {"BNBUSDT": 0.5, "XRPUSDT": -0.5}},
            strategies={
                "trend": Strategy(capital=0.6, leverage=2.0, health=Health(bad_days=5, ramp=(0.5,))),
                "revert": Strategy(capital=0.2, weights={"alts": 1.0}),
            },
            freed="trend",
        ),
        bands=Bands(relative=0.25, destination="target"),
        triggers=Triggers(schedule=("0 0 * * SUN", "30 8 1 * *"), blackout=("SUN 22:00-23:30 Europe/Berlin",)),
        limits=Limits(orders_per_minute=30, kill_file="/run/trimtab/kill"),
        costs=Costs(maker=-0.00005),
        economy=Economy(risk_aversion=10.0, correlation_trust=0.5),
        execution=Execution(style="maker"),
        funding=CarryRules(horizon_days=3.0, hedges=(("BTCUSDT", "ETH-USDT"),)),
        pairs=(Pair(over="BTCUSDT", into="ETH-USDT", target=0.6, mode="relative"),),
        feed=Feed(file="/run/targets.toml", listen="127.0.0.1:8787"),
        paper=PaperAccount(positions={"BTCUSDT": -0.25}),
    )


def test_every_key_has_a_check() -> None:
    kinds = (
        TABLES | {f"{name}.*": kind for name, kind in NAMED.items() if kind} | {f"{n}.*": k for n, k in ROWS.items()}
    )
    known = {"mode", "state", "targets.baskets.*"}
    for table, kind in kinds.items():
        for field in structs.fields(kind):
            key = f"{table}.{field.name}"
            known.add(key)
            if get_origin(field.type) is not Literal and key not in {*TABLES, *NAMED}:
                assert (key in CHECKS) + (key in BY_SYMBOL) + (key in LISTS) == 1, key
    assert {*CHECKS, *BY_SYMBOL, *LISTS} <= known, "no check for a key that is no more"
    top = [name for name in TABLES if "." not in name]
    assert sorted(field.name for field in structs.fields(Portfolio)) == sorted(
        ["mode", "state", "accounts", *top, *ROWS]
    )


def test_leverage_of_the_whole_follows_from_strategies_that_have_their_own() -> None:
    own = """
        [targets.strategies]
        long = { capital = 0.5, leverage = 3, weights = { BTCUSDT = 1 } }
        short = { capital = 0.5, leverage = 1, weights = { BTCUSDT = -0.5, ETHUSDT = 0.5 } }
    """
    assert parse(own, PATH).targets.leverage == pytest.approx(1.5), "1.25 in BTC after netting, 0.25 in ETH"
    assert parse("targets.leverage = 1.5\n" + own, PATH) == parse(own, PATH), "typing it as well is fine"


def test_weights_of_the_whole_may_sum_up_the_strategies() -> None:
    text = """
        [targets]
        weights = { BTCUSDT = 0.3, ETHUSDT = 0.7 }
        [targets.strategies]
        trend = { capital = 0.6, weights = { BTCUSDT = 0.5, ETHUSDT = 0.5 } }
        revert = { capital = 0.4, weights = { ETHUSDT = 1 } }
    """
    assert parse(text, PATH).targets.weights == {"BTCUSDT": 0.3, "ETHUSDT": 0.7}


def test_strategies_that_would_fit_are_offered_where_the_typed_weights_do_not() -> None:
    text = """
        [targets]
        weights = { BTCUSDT = 0.4, ETHUSDT = 0.6 }
        [targets.strategies]
        trend = { capital = 0.5, weights = { BTCUSDT = 0.5, ETHUSDT = 0.5 } }
        revert = { capital = 0.5, weights = { BTCUSDT = 0.5, ETHUSDT = 0.5 } }
    """
    with pytest.raises(ConfigError, match="or give trend BTCUSDT 40%, ETHUSDT 60%; revert BTCUSDT 40%, ETHUSDT 60%"):
        parse(text, PATH)


def test_hold_goes_with_strategies() -> None:
    text = '[targets]\nweights = { SOLUSDT = "hold" }\n[targets.strategies.a]\ncapital = 1\nweights = { BTCUSDT = 1 }\n'
    targets = parse(text, PATH).targets
    assert (targets.symbols, targets.held) == (["SOLUSDT", "BTCUSDT"], ["SOLUSDT"])


def test_numbers_in_a_flawed_table_of_limits_are_not_held_against_the_targets() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("[targets]\nleverage = 6\n" + WEIGHTS + '[limits]\nleverage = "8x"\n', PATH)
    assert [problem.key for problem in caught.value.problems] == ["limits.leverage"]


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


# Targets from outside

FILE = parse(
    """
    targets.leverage = 2
    targets.leverage_mode = "cap"
    [targets.weights]
    BTCUSDT = "50%"
    alts = "50%"
    SOLUSDT = "hold"
    [targets.baskets]
    alts = { ETHUSDT = 1 }
    """,
    PATH,
)
STRATEGIES = parse(
    """
    [targets.weights]
    BTCUSDT = 0.5
    ETHUSDT = 0.5
    [targets.strategies]
    trend = { capital = 0.6, leverage = 2, health = { bad_days = 5 } }
    revert = { capital = 0.4, leverage = 1, weights = { BTCUSDT = -0.5, ETHUSDT = 0.5 } }
    """,
    PATH,
)


def wrong(raw: object, portfolio: Portfolio = FILE) -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as caught:
        targets_of(raw, portfolio, "http")
    assert all((p.path, p.line) == ("http", None) for p in caught.value.problems)
    return [(p.key, p.wrong, p.cure) for p in caught.value.problems]


def test_what_a_document_does_not_say_is_as_in_the_file() -> None:
    found = targets_of({"weights": {"ETHUSDT": "100%"}}, FILE, "http")
    weights = {"SOLUSDT": "hold", "ETHUSDT": 1.0}
    assert found == structs.replace(FILE.targets, weights=weights), "what is left alone stays so"
    assert targets_of({"leverage": 3, "basis": None}, FILE, "http") == structs.replace(FILE.targets, leverage=3.0)
    assert targets_of({}, FILE, "http") == FILE.targets


def test_a_document_may_change_one_strategy_and_keeps_their_health_and_order() -> None:
    said = {"strategies": {"revert": {"capital": 0.3}, "trend": {"leverage": 1}}}
    found = targets_of(said, STRATEGIES, "http").strategies
    assert list(found) == ["trend", "revert"]
    ours = STRATEGIES.targets.strategies
    assert found == {
        "trend": structs.replace(ours["trend"], leverage=1.0),
        "revert": structs.replace(ours["revert"], capital=0.3),
    }


def test_a_summary_in_the_file_is_not_held_against_a_document() -> None:
    said = {"strategies": {"trend": {"weights": {"ETHUSDT": 1}, "leverage": 1}}}
    found = targets_of(said, STRATEGIES, "http")
    assert found.weights == {}
    assert found.leverage == pytest.approx(1.0), "0.8 in ETH, -0.2 in BTC"


def test_a_document_may_change_shares_of_margin() -> None:
    file = parse('[targets]\nbasis = "margin"\nutilisation = 0.3\n' + WEIGHTS, PATH)
    found = targets_of({"utilisation": "20%"}, file, "http")
    assert found == structs.replace(file.targets, utilisation=0.2)
    assert targets_of(document_of(found), file, "http") == found


def test_a_document_names_only_what_the_file_names() -> None:
    assert wrong({"weights": {"ETHUSD": 1}}) == [
        ("targets.weights.ETHUSD", "is not an instrument of the portfolio file", "did you mean ETHUSDT?")
    ]
    [(key, what, cure)] = wrong({"weights": {"alts": 1}, "baskets": {"alts": {"XRPUSD": 1}}})
    assert (key, what) == ("targets.baskets.alts.XRPUSD", "is not an instrument of the portfolio file")
    assert cure == "name it in the portfolio file, and restart"
    assert wrong({"strategies": {"tend": {"capital": 0.5}}}, STRATEGIES) == [
        ("targets.strategies.tend", "is not a strategy of the portfolio file", "did you mean trend?")
    ]
    assert wrong({"strategies": {"x": {"capital": 0.5}}})[0][2] == "it has none"
    assert wrong({"strategies": {"x": {"capital": 0.5}}}, STRATEGIES)[0][2] == "it has trend, revert"


def test_a_document_does_not_touch_what_is_for_a_person_to_decide() -> None:
    assert wrong({"weights": {"SOLUSDT": 1}}) == [
        ("targets.weights.SOLUSDT", "is on hold in the portfolio file", "leave it out")
    ]
    assert wrong({"basis": "margin"}) == [("targets.basis", "belongs into the portfolio file alone", "drop it here")]
    assert wrong({"strategies": {"trend": {"health": {}}}}, STRATEGIES) == [
        ("targets.strategies.trend.health", "belongs into the portfolio file alone", "drop it here")
    ]


def test_a_document_obeys_the_same_checks_and_limits() -> None:
    assert wrong([]) == [("targets", "is not a table", "write [targets] and its keys below")]
    assert wrong({"levrage": 1}) == [("targets.levrage", "is not a known key", "did you mean leverage?")]
    assert wrong({"weights": {"BTCUSDT": "50%", "ETHUSDT": 0.4}})[0][1] == (
        "BTCUSDT 50% + ETHUSDT 40% add up to 90%, 10% too little"
    )
    assert wrong({"weights": {"BTCUSDT": 0.5, "BTC-USDT": 0.5}})[0][1] == "is the same instrument as BTCUSDT"
    assert wrong({"leverage": 6})[0][1] == "is more than limits.leverage allows (5)"


@given(portfolios())
def test_a_document_of_targets_gives_them_back(portfolio: Portfolio) -> None:
    ours = parse(render(portfolio), PATH)
    document = msgspec.json.decode(msgspec.json.encode(document_of(ours.targets)))
    found = targets_of(document, ours, "http")
    weights: dict[str, Any] = dict.fromkeys(ours.targets.held, "hold")
    assert found == structs.replace(ours.targets, weights=weights | ours.targets.weights)
