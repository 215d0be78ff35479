"""Bad input: the place, the cure, exit 78, and nothing sent."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from adapters.simulator import Account, Exchange, Faults, FrameFault, SeededMarket, serve
from agent.cli.build import dialects_of
from agent.cli.preview import Preview, preview
from agent.config import parse
from agent.journal import Journal
from tests.agent.cli_kit import said
from tests.wire.test_demo import trimtab

TARGETS = """\
[targets]
leverage = 3
weights = { BTCUSDT = "50%", ETHUSDT = "30%", SOLUSDT = "20%" }
"""
GOOD = f"""\
mode = "observe"
[account]
key = "file:KEYFILE"
secret = "file:KEYFILE"
{TARGETS}"""


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    key = folder / "key"
    key.write_text("x" * 64)
    key.chmod(mode)
    path = folder / "portfolio.toml"
    path.write_text(text.replace("KEYFILE", str(key)))
    return path


@pytest.mark.parametrize(
    ("wrong", "place", "cure"),
    [
        (GOOD.replace("leverage = 3", "levrage = 3"), ":6", "leverage"),
        (GOOD.replace("20%", "30%"), "targets.weights", "100"),
        (GOOD.replace("SOLUSDT", "sol-usdt"), "targets.weights.sol-usdt", "neither a symbol nor a basket"),
        (GOOD.replace("leverage = 3", "leverage = nan"), ":6", "leverage"),
        (GOOD.replace("[targets]", "[bands]\ntolerance = 7\n[targets]"), ":6", "tolerance"),
        (GOOD.replace("leverage = 3", "leverage = 30"), "leverage", "limits.leverage"),
        (GOOD + "[triggers]\nschedule = ['every sundae']\n", "schedule", "SUN"),
        (GOOD.replace("[account]", '[account]\nvenue = "binanse"'), "venue = binanse", "write binance"),
        (GOOD.replace('"file:KEYFILE"', '"a-very-secret-value"'), "account", "file:"),
    ],
)
def test_a_bad_file_is_refused_with_its_place_and_cure(wrong: str, place: str, cure: str, tmp_path: Path) -> None:
    path = write(tmp_path, wrong)
    ended = trimtab("run", str(path), state=tmp_path)
    assert ended.returncode == 78, ended.stdout + ended.stderr
    assert str(path) in ended.stderr
    assert place in ended.stderr
    assert cure in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "a-very-secret-value" not in ended.stderr + ended.stdout
    code, _, error = said("check", str(path))
    assert (code, error.split()) == (78, ended.stderr.split()), "check says what run would"


def test_a_secret_that_is_not_there_is_told_with_the_file_and_the_key_that_ask_for_it(tmp_path: Path) -> None:
    text = GOOD.replace('secret = "file:KEYFILE"', 'secret = "env:TRIMTAB_NOWHERE"')
    path = write(tmp_path, text)
    for command in ("plan", "doctor"):
        code, _, error = said(command, str(path))
        assert code == 78
        assert f"{path}: account.secret = env:TRIMTAB_NOWHERE: this variable is not set; export" in error
    path = write(tmp_path, 'mode = "paper"\n[feed]\nlisten = "127.0.0.1:0"\ntoken = "file:/nowhere"\n' + TARGETS)
    path.write_text(f'state = "{tmp_path / "state"}"\n{path.read_text()}')
    code, _, error = said("run", str(path))
    assert code == 78
    assert f"{path}: feed.token = file:/nowhere: can't be read" in error


def test_live_takes_two_deliberate_acts(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("observe", "live"))
    alone = trimtab("run", str(path), state=tmp_path)
    assert alone.returncode == 78
    assert "--live" in alone.stderr
    path = write(tmp_path, GOOD)
    other = trimtab("run", str(path), "--live", state=tmp_path)
    assert other.returncode == 78
    assert 'mode = "live"' in other.stderr


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ended = trimtab("run", str(write(tmp_path, GOOD, mode=0o644)), state=tmp_path)
    assert ended.returncode == 78
    assert "chmod 600" in ended.stderr


async def test_an_unknown_symbol_is_named_and_nothing_is_sent(tmp_path: Path) -> None:
    exchange = Exchange(SeededMarket(1, ("BTCUSDT", "ETHUSDT")), [Account()])
    async with await serve(exchange) as server:
        text = f"""\
mode = "paper"
[account]
rest_url = "{server.rest_url}"
stream_url = "{server.ws_url}"
[targets]
weights = {{ BTCUSDT = 0.5, DOGGUSDT = 0.5 }}
"""
        path = write(tmp_path, text)
        ended = await asyncio.to_thread(trimtab, "plan", str(path), state=tmp_path)
    assert ended.returncode == 78
    assert "targets: DOGGUSDT: binance does not list DOGGUSDT; correct the name" in ended.stderr
    assert not exchange.ledger.orders


async def test_plan_shows_the_trade_its_cost_and_sends_nothing(tmp_path: Path) -> None:
    exchange = Exchange(SeededMarket(1, ("BTCUSDT", "ETHUSDT")), [Account()])
    async with await serve(exchange) as server:
        text = f"""\
mode = "paper"
[account]
rest_url = "{server.rest_url}"
stream_url = "{server.ws_url}"
[targets]
leverage = 2
weights = {{ BTCUSDT = 0.6, ETHUSDT = -0.4 }}
[paper]
equity = 50_000
positions = {{ BTCUSDT = 0.1 }}
[feed]
listen = "{server.rest_url.removeprefix("http://")}"
"""
        path = write(tmp_path, text)
        shown = await asyncio.to_thread(trimtab, "plan", str(path), state=tmp_path)
        counted = await asyncio.to_thread(trimtab, "plan", str(path), "--json", state=tmp_path)
    assert shown.returncode == 0, f"{shown.stderr}: an agent that runs has the port, and plan needs none"
    assert "buy" in shown.stdout
    assert "sell" in shown.stdout
    planned = json.loads(counted.stdout)
    assert [leg["lots"] > 0 for leg in sorted(planned["plan"]["legs"], key=lambda leg: leg["instrument"])] == [
        True,
        False,
    ]
    assert all(leg["cost"]["fee"] > 0 for leg in planned["plan"]["legs"])
    assert "After these trades: margin " in shown.stdout
    assert 0.4 < planned["after"]["liquidation"] < 0.7
    assert planned["after"]["liquidation_symbol"] == "BTCUSDT"
    assert planned["view"]["mode"] == "paper", "as the file says"
    assert not exchange.ledger.orders


async def previewed(fault: FrameFault, patience_s: float) -> Preview:
    """What is planned on paper at a local exchange that has this fault."""
    exchange = Exchange(SeededMarket(1, ("BTCUSDT", "ETHUSDT")), [Account()])
    async with await serve(exchange, faults=Faults(frames=(fault,))) as server:
        text = f"""\
[account]
rest_url = "{server.rest_url}"
stream_url = "{server.ws_url}"
[targets]
weights = {{ BTCUSDT = 0.6, ETHUSDT = 0.4 }}
"""
        portfolio = parse(text, Path("portfolio.toml"))
        dialects = dialects_of(portfolio)
        return await preview(portfolio, dialects, asyncio.Event(), to_target=False, patience_s=patience_s)


async def test_plan_waits_for_the_prices_that_costs_are_reckoned_from() -> None:
    late = FrameFault(do="mute", on="quote", until_s=3)
    found = await previewed(late, patience_s=30)
    assert found.lacks == ()
    assert found.verdict is not None
    assert [leg.cost is not None for leg in found.plan.legs] == [True, True]


async def test_plan_says_what_never_came_and_shows_the_rest() -> None:
    never = FrameFault(do="mute", on="quote", symbol="ETHUSDT")
    found = await previewed(never, patience_s=5)
    assert found.lacks == ("bid and ask of ETHUSDT",)
    assert found.verdict is None
    assert [leg.cost is not None for leg in found.plan.legs] == [True, False]


def test_init_writes_a_file_that_checks(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert trimtab("init", str(path), state=tmp_path).returncode == 0
    checked = trimtab("check", str(path), state=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "BTCUSDT" in checked.stdout
    again = trimtab("init", str(path), state=tmp_path)
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_a_word_to_resume_that_no_agent_takes_is_taken_back(tmp_path: Path) -> None:
    ended = trimtab("resume", "--state", str(tmp_path), state=tmp_path)
    assert ended.returncode == 1
    assert "none is running" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_second_agent_on_the_same_state_is_turned_away(tmp_path: Path) -> None:
    text = f'mode = "paper"\nstate = "{tmp_path / "state"}"\n[targets]\nweights = {{ BTCUSDT = 1.0 }}\n'
    path = write(tmp_path, text)
    (tmp_path / "state").mkdir()
    journal = Journal(tmp_path / "state" / "journal.db")
    try:
        ended = trimtab("run", str(path), state=tmp_path)
    finally:
        journal.close()
    assert ended.returncode == 75, ended.stderr


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (
            "[[requests]]\ndo = 'lose'\nchance = 2\n",
            "requests[0]: chance = 2.0 is no probability; choose one from 0 to 1",
        ),
        (
            "[[events]]\ndo = 'adl'\nsymbol = 'BTCUSD'\n",
            "events[0].symbol = 'BTCUSD' is not listed; choose one of BTCUSDT",
        ),
        ("sead = 3\n", "sead: there is no such key; did you mean 'seed'?"),
    ],
)
def test_a_bad_fault_file_is_refused_with_its_key_value_and_cure(text: str, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(text)
    ended = trimtab("simulate", "--faults", str(path), state=tmp_path)
    assert ended.returncode == 78, ended.stdout + ended.stderr
    assert f"{path}: {wrong}" in ended.stderr
    assert "Traceback" not in ended.stderr
