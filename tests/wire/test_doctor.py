"""`trimtab doctor`: what it finds at a local exchange, what it concludes, and that it changes nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, SeededMarket, Server, serve
from adapters.simulator.binance_coin import BinanceCoin
from agent.cli.build import dialects_of, tag_of
from agent.config import parse
from agent.core.venue import Credentials, Secret
from agent.doctor import Diagnosis, examine
from tests.wire.test_demo import trimtab

PATIENCE_S = 20
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def file(server: Server, mode: str = "live", weights: str = "BTCUSDT = 0.6, ETHUSDT = -0.4", more: str = "") -> str:
    return f"""\
mode = "{mode}"
[account]
key = "env:TRIMTAB_TEST_KEY"
secret = "env:TRIMTAB_TEST_SECRET"
rest_url = "{server.rest_url}"
stream_url = "{server.ws_url}"
rights_url = "{server.rest_url}"
{more}
[targets]
leverage = 2
weights = {{ {weights} }}
"""


async def look(
    account: Account, *, secret: str = DEMO_SECRET, patience_s: float = PATIENCE_S, coin: bool = False, **text: str
) -> Diagnosis:
    """The diagnosis of an account at a local exchange, which has had no order of ours and changed nothing."""
    exchange = Exchange(SeededMarket(1, ("BTCUSD_PERP",) if coin else SYMBOLS), [account])
    async with await serve(BinanceCoin(exchange) if coin else exchange) as server:
        portfolio = parse(file(server, **text), Path("portfolio.toml"))
        dialects = dialects_of(portfolio, Credentials(Secret(DEMO_KEY), Secret(secret)))
        found = await examine(
            portfolio, dialects, asyncio.Event(), tag=tag_of(portfolio), keyed=True, patience_s=patience_s
        )
    assert not exchange.ledger.orders
    return found


def graded(found: Diagnosis, grade: str) -> str:
    return "\n".join(one.text for one in found.findings if one.grade == grade)


async def test_an_account_that_is_fit_to_trade() -> None:
    found = await look(Account(balance=10_000, rights={"ipRestrict": True}))
    assert (found.verdict, found.suffices) == ("trade", True)
    assert not graded(found, "refused") + graded(found, "unknown") + graded(found, "warning")
    said = graded(found, "ok")
    for words in ("all 2 are listed", "one-way mode", "equity is 10,000.00 USDT", "it can trade", "taker 0.0500%"):
        assert words in said
    assert "pledge 10% of equity" in said


async def test_an_account_held_in_a_coin_is_looked_at_in_it_and_pledges_what_contracts_take() -> None:
    named = 'venue = "binance-coinm"\nsettle = "BTC"'
    held = Account(balance="1.25", asset="BTC", rights={"ipRestrict": True})
    found = await look(held, coin=True, more=named, weights="BTCUSD_PERP = -1.0")
    assert (found.verdict, graded(found, "refused")) == ("trade", "")
    assert "equity is 1.25000000 BTC" in graded(found, "ok")
    assert "pledge 15% of equity" in graded(found, "ok"), "contracts for three times the coin, at 20x"


@pytest.mark.parametrize(
    ("rights", "more", "verdict", "refused", "warned"),
    [
        ({"enableWithdrawals": True, "ipRestrict": True}, "", "observe", "the key can withdraw", ""),
        ({"enableWithdrawals": True, "ipRestrict": True}, "allow_withdrawals = true", "trade", "", ""),
        ({"enableFutures": False, "ipRestrict": True}, "", "observe", "may not trade futures", ""),
        ({"ipRestrict": False}, "", "trade", "", "from any address: bind it"),
        ({"ipRestrict": True, "tradingAuthorityExpirationTime": 1}, "", "observe", "has ended: renew it", ""),
    ],
)
async def test_the_key_must_be_fit(
    rights: dict[str, bool | int], more: str, verdict: str, refused: str, warned: str
) -> None:
    found = await look(Account(balance=10_000, rights=rights), more=more)
    assert found.verdict == verdict
    assert refused in graded(found, "refused")
    assert warned in graded(found, "warning")


async def test_a_key_that_is_not_taken() -> None:
    found = await look(Account(balance=10_000), secret="wrong")
    assert (found.verdict, found.suffices) == ("paper", False)
    assert "rejects the key" in found.findings[0].text, "the cause comes first"
    assert "key and secret are whole" in graded(found, "refused")
    assert not graded(found, "unknown"), "what follows from it is not told beside it"


async def test_an_account_without_money_and_targets_too_large_for_its_settings() -> None:
    empty = await look(Account(balance=0, rights={"ipRestrict": True}))
    assert empty.verdict == "observe"
    assert "nothing to trade with" in graded(empty, "refused")
    narrow = await look(Account(balance=10_000, leverage=1, rights={"ipRestrict": True}))
    assert narrow.verdict == "observe"
    assert "pledge 200% of equity" in graded(narrow, "refused")
    large = await look(Account(balance=10_000_000, leverage=125, rights={"ipRestrict": True}))
    assert "setting of 125x" in graded(large, "refused")


async def test_what_others_have_there_is_told() -> None:
    found = await look(Account(balance=10_000, positions={"SOLUSDT": "1"}, rights={"ipRestrict": True}))
    assert found.verdict == "trade"
    assert "held beside the portfolio: SOLUSDT" in graded(found, "warning")


async def test_each_of_several_accounts_is_looked_at() -> None:
    """One key can withdraw: its account is not fit, the other one is, and the portfolio is as fit as the least."""
    good, bad = (
        Account(balance=10_000, alias=f"owner{may}", rights={"ipRestrict": True, "enableWithdrawals": may})
        for may in (False, True)
    )
    async with (
        await serve(Exchange(SeededMarket(1, SYMBOLS), [good])) as first,
        await serve(Exchange(SeededMarket(1, SYMBOLS), [bad])) as second,
    ):
        tables = [
            file(server).partition("[account]\n")[2].partition("[targets]")[0].replace("TEST", f"TEST{number}")
            for number, server in enumerate((first, second))
        ]
        text = (
            f'mode = "live"\n[accounts.one]\n{tables[0]}\n[accounts.two]\n{tables[1]}\n[targets]\nleverage = 1\n'
            '[targets.weights]\n"one:BTCUSDT" = 0.5\n"two:BTCUSDT" = -0.5\n'
        )
        portfolio = parse(text, Path("portfolio.toml"))
        dialects = dialects_of(portfolio, Credentials(Secret(DEMO_KEY), Secret(DEMO_SECRET)))
        found = await examine(portfolio, dialects, asyncio.Event(), tag="te", keyed=True, patience_s=PATIENCE_S)
    assert [(one.account, one.verdict) for one in found.accounts] == [("one", "trade"), ("two", "observe")]
    assert (found.verdict, found.suffices) == ("observe", False)
    assert {one.account for one in found.findings if one.grade == "refused"} == {"two"}
    assert [one.text for one in found.findings if one.about == "tiers"] == [
        "the targets pledge 5% of equity at the leverage settings"
    ] * 2


async def test_a_symbol_that_is_not_listed() -> None:
    found = await look(Account(balance=10_000), weights="BTCUSDT = 0.6, DOGGUSDT = 0.4", patience_s=3)
    assert (found.verdict, found.suffices) == ("nothing", False)
    assert "binance does not list DOGGUSDT" in found.findings[0].text, "the cause comes first"
    assert not graded(found, "unknown"), "what follows from it is not told beside it"


async def test_a_venue_that_is_not_there_is_one_finding() -> None:
    async with await serve(Exchange(SeededMarket(1, SYMBOLS), [Account()])) as server:
        text = file(server)  # of an address at which nobody listens any more
    portfolio = parse(text, Path("portfolio.toml"))
    dialects = dialects_of(portfolio, Credentials(Secret(DEMO_KEY), Secret(DEMO_SECRET)))
    found = await examine(portfolio, dialects, asyncio.Event(), tag="te", keyed=True, patience_s=3)
    assert (found.verdict, found.suffices) == ("nothing", False)
    (unknown,) = [one.text for one in found.findings if one.grade == "unknown"]
    assert "no answer about time, instruments: no connection" in unknown
    assert "see that this machine can reach the venue" in unknown


def run(server: Server, folder: Path, **text: str) -> tuple[int, dict[str, Any], str]:
    """The command itself: its exit code, its JSON and what it shows to people."""
    for name, words in (("key", DEMO_KEY), ("secret", DEMO_SECRET)):
        (folder / name).write_text(words)
        (folder / name).chmod(0o600)
    path = folder / "portfolio.toml"
    told = file(server, **text)
    for name in ("KEY", "SECRET"):
        told = told.replace(f"env:TRIMTAB_TEST_{name}", f"file:{folder / name.lower()}")
    path.write_text(told)
    counted = trimtab("doctor", str(path), "--json", state=folder)
    shown = trimtab("doctor", str(path), state=folder)
    assert "Traceback" not in counted.stderr + shown.stderr
    assert DEMO_SECRET not in counted.stdout + shown.stdout
    return counted.returncode, json.loads(counted.stdout), shown.stdout


@pytest.mark.parametrize(
    ("mode", "withdraws", "code"), [("live", False, 0), ("live", True, 78), ("observe", True, 0), ("paper", True, 0)]
)
async def test_the_command_says_whether_the_file_may_be_run(
    mode: str, withdraws: bool, code: int, tmp_path: Path
) -> None:
    account = Account(balance=10_000, rights={"enableWithdrawals": withdraws})
    async with await serve(Exchange(SeededMarket(1, SYMBOLS), [account])) as server:
        ended, found, shown = await asyncio.to_thread(run, server, tmp_path, mode=mode)
    assert ended == code
    assert found["verdict"] == ("observe" if withdraws else "trade")
    assert ("fit to trade" in shown) is not withdraws
    assert f'mode = "{mode}"' in shown


async def test_without_an_answer_it_fails() -> None:
    async with await serve(Exchange(SeededMarket(1, SYMBOLS))) as server:
        text = file(server)
    portfolio = parse(text, Path("portfolio.toml"))
    dialects = dialects_of(portfolio, Credentials(Secret(DEMO_KEY), Secret(DEMO_SECRET)))
    found = await examine(portfolio, dialects, asyncio.Event(), tag="te", keyed=True, patience_s=1)
    assert found.verdict == "nothing"
    assert not graded(found, "refused"), "nobody refused anything"
    unanswered = graded(found, "unknown")
    assert unanswered.startswith("no answer about ")
    assert "instruments: no connection" in unanswered


async def test_without_a_key_it_is_as_far_as_paper() -> None:
    async with await serve(Exchange(SeededMarket(1, SYMBOLS))) as server:
        lines = [line for line in file(server, mode="paper").splitlines() if not line.startswith(("key", "secret"))]
        portfolio = parse("\n".join(lines), Path("portfolio.toml"))
        dialects = dialects_of(portfolio)
        found = await examine(portfolio, dialects, asyncio.Event(), tag="te", keyed=False, patience_s=PATIENCE_S)
    assert (found.verdict, found.suffices) == ("paper", True)
