"""Wrong usage: the option, its value and the cure, exit 2, and nothing run."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from adapters.simulator import VENUES, Account, Exchange, SeededMarket, serve
from agent.cli.app import told_of
from agent.cli.build import dialects_of
from agent.config import parse
from agent.core.venue import Credentials, Secret
from tests.agent.cli_kit import said


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("replay", "FOLDER"), "TAPE: FOLDER is a folder; name a .tape file"),
        (("replay", "FOLDER/none"), "TAPE: FOLDER/none is not there; name a .tape file"),
        (("demo", "--tape", "FOLDER/none"), "--tape: FOLDER/none is not there; name a CSV file of prices"),
        (("simulate", "--tape", "FOLDER"), "--tape: FOLDER is a folder; name a CSV file of prices"),
        (("simulate", "--faults", "FOLDER/none"), "--faults: FOLDER/none is not there; name a file of faults"),
        (("simulate", "--speed", "0"), "--speed: 0 is not a number above 0"),
        (("simulate", "--balance", "-1"), "--balance: -1 is not a number above 0"),
        (("demo", "--for", "-5"), "--for: -5 is not a number above 0"),
        (("demo", "--for", "nan"), "--for: nan is not a number above 0"),
        (("demo", "--venue", "bybit,bybit"), "--venue: bybit,bybit names bybit twice; name each once"),
    ],
)
def test_wrong_usage_is_named_with_its_value_and_cure(words: tuple[str, ...], error: str) -> None:
    folder = str(Path(__file__).parent)
    code, _, errors = said(*(word.replace("FOLDER", folder) for word in words))
    assert code == 2
    bare = errors.replace(" ", "").replace("'", "")  # long paths are broken at any place
    assert error.replace("FOLDER", folder).replace(" ", "") in bare, errors


@pytest.mark.parametrize("command", ["demo", "simulate"])
def test_a_port_that_is_in_use_is_named(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = said(command, "--port", str(port))
    assert code == 2
    assert f"{port} is in use; name another one, or 0 for any that is free" in errors


@pytest.mark.parametrize("venue", VENUES)
async def test_what_a_local_exchange_tells_is_a_portfolio_file_for_it(venue: str) -> None:
    local = VENUES[venue]
    market = SeededMarket(1, local.symbols)
    exchange = Exchange(market, [Account(asset=local.asset)])
    async with await serve(local.side(exchange)) as server:
        text = told_of(server, venue, market.symbols)
        portfolio = parse(text, Path("portfolio.toml"))
        assert (portfolio.account.venue, portfolio.account.rest_url) == (venue, server.rest_url)
        assert dialects_of(portfolio, Credentials(*(Secret("none"),) * 3))
    for symbol in local.symbols:
        assert local.symbol(exchange.instruments[symbol]) in text
    for reference in portfolio.references.values():
        assert f"# export {reference.removeprefix('env:')}=" in text
