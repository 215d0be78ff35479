"""Targets posted to a running agent: traded toward, remembered by the next run, dropped when past their time."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from adapters.binance import Binance
from adapters.simulator import Exchange, Server, StillMarket, serve
from agent.config import Feed, Portfolio
from agent.core.decisions import Memory
from agent.core.orders import S
from agent.core.targets import Strategy
from agent.core.triggers import Triggers
from agent.core.venue import Dialect
from agent.journal import Journal
from agent.replay import replay
from agent.run import Agent
from tests.wire.test_demo import trimtab
from tests.wire.test_run import KEYS, PRICES, account, at_rest, portfolio, running, until

FED = Feed(listen="127.0.0.1:0")
NEW = {"BTCUSDT": 0.2, "ETHUSDT": 0.8}


@asynccontextmanager
async def exchange() -> AsyncIterator[Server]:
    async with await serve(Exchange(StillMarket(PRICES), [account()])) as server:
        yield server


def fed(server: Server, **more: Any) -> Portfolio:
    """A live portfolio that a file could describe, so that it can be read again from the journal and the tape."""
    base = portfolio(server)
    access = replace(base.account, key="env:TRIMTAB_TEST_KEY", secret="env:TRIMTAB_TEST_SECRET")
    return replace(base, account=access, state="/nowhere", **({"feed": FED} | more))


async def post(agent: Agent, **document: Any) -> int:
    await until(lambda: agent.feed.address is not None)
    assert agent.feed.address is not None
    url = f"http://127.0.0.1:{agent.feed.address[1]}/targets"
    async with aiohttp.ClientSession() as session, session.post(url, json=document) as response:
        return response.status


def told(folder: Path) -> str:
    return b"\n".join(row.record for row in Journal.read(folder / "journal.db").decisions(limit=100_000)).decode()


def remembered(folder: Path, mode: str = "live") -> Memory:
    record = Journal.read(folder / "journal.db").memory(mode)
    assert record is not None
    return msgspec.json.decode(record, type=Memory)


async def test_posted_targets_are_traded_toward_remembered_and_replayed(tmp_path: Path) -> None:
    async with exchange() as server:
        chosen = fed(server)
        async with running(chosen, server, tmp_path, record=True) as agent:
            await until(lambda: at_rest(agent))
            fills = agent.engine.tally.fills
            assert await post(agent, targets={"weights": {"BTCUSDT": 2}}) == 422
            assert agent.view().targets_from == "file"
            assert await post(agent, targets={"weights": NEW}) == 200
            assert agent.engine.mandate.targets.weights == NEW
            await until(lambda: agent.engine.tally.fills > fills and at_rest(agent))
            assert agent.engine.drift is not None
            assert agent.engine.drift.targets == [0.2, 0.8]
            assert agent.engine.drift.weights == pytest.approx([0.2, 0.8], abs=0.08)
            assert agent.view().targets_from == "http"
        notes = told(tmp_path)
        assert "targets of http: BTCUSDT +20.0%, ETHUSDT +80.0%" in notes
        assert "targets of http are not taken, those in force stay" in notes

        def blind(of: Portfolio) -> list[Dialect]:
            symbols = tuple(of.targets.symbols)
            return [Binance(symbols=symbols, credentials=KEYS, rest_url=server.rest_url, stream_url=server.ws_url)]

        for tape in sorted((tmp_path / "tapes").iterdir()):
            found = replay(tape, blind)
            assert found.decisions > 0
            assert found.difference is None
        async with running(chosen, server, tmp_path, record=True) as agent:
            assert agent.engine.mandate.targets.weights == NEW
            await until(lambda: at_rest(agent))
            assert agent.engine.drift is not None
            assert agent.engine.drift.targets == [0.2, 0.8]
        last = max((tmp_path / "tapes").iterdir())
        assert replay(last, blind).difference is None, "what was remembered is on the tape"


async def test_a_file_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "targets.toml"
    async with exchange() as server:
        chosen = replace(portfolio(server), feed=Feed(file=str(path)))
        async with running(chosen, server, tmp_path / "state") as agent:
            await until(lambda: "No such file" in told(tmp_path / "state"))
            path.with_suffix(".new").write_text("[targets.weights]\nBTCUSDT = 0.2\nETHUSDT = 0.8\n")
            path.with_suffix(".new").replace(path)
            await until(lambda: agent.engine.mandate.targets.weights == NEW)


def iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


@pytest.mark.parametrize("change", ["nothing", "no feed", "other targets", "other limits", "past their time"])
async def test_targets_of_an_earlier_run_hold_only_while_nothing_speaks_against_them(
    change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with exchange() as server:
        chosen = fed(server)
        until_s = 2 if change == "past their time" else 3600
        async with running(chosen, server, tmp_path) as agent:
            assert await post(agent, targets={"weights": NEW}, valid_until=iso(until_s)) == 200
        assert remembered(tmp_path).given is not None
        match change:
            case "no feed":
                chosen = replace(chosen, feed=Feed())
            case "other targets":
                chosen = replace(chosen, targets=replace(chosen.targets, leverage=0.9))
            case "other limits":
                chosen = replace(chosen, limits=replace(chosen.limits, asset_share=0.7))
            case "past their time":
                deadline = time.time() + until_s
                await until(lambda: time.time() > deadline)
        async with running(chosen, server, tmp_path) as agent:
            if change == "nothing":
                assert agent.engine.mandate.targets.weights == NEW
            else:
                assert agent.engine.mandate.targets == chosen.targets
    why = {
        "nothing": "",
        "no feed": "there is no feed any more",
        "other targets": "those of the portfolio file have changed since",
        "other limits": "ETHUSDT is 80% of the gross, and limits.asset_share is 70%",
        "past their time": "they are past their time",
    }
    assert ("the targets that http gave are left out" in caplog.text) == (change != "nothing")
    assert why[change] in caplog.text


async def test_the_time_of_a_schedule_is_remembered_for_the_same_schedule_alone(tmp_path: Path) -> None:
    async with exchange() as server:
        yearly = ("0 0 1 1 *",)
        chosen = fed(server, triggers=Triggers(schedule=yearly))
        async with running(chosen, server, tmp_path) as agent:
            await until(lambda: agent.engine.reasons.schedule_at is not None)
            at = agent.engine.reasons.schedule_at
        assert remembered(tmp_path).schedule_at == at
        async with running(chosen, server, tmp_path) as agent:
            assert agent.engine.reasons.schedule_at == at
        async with running(fed(server), server, tmp_path) as agent:
            assert agent.engine.reasons.schedule_at is None


async def test_what_is_known_is_on_disk_once_a_minute_and_at_a_clean_stop(tmp_path: Path) -> None:
    early, late = 2**61, 2**62
    async with exchange() as server:
        async with running(fed(server), server, tmp_path) as agent:
            await until(lambda: at_rest(agent) and agent._remember_at > 0)
            agent.engine.reasons.schedule_at = early
            assert agent._remember_at > agent.clock.now() + 30 * S, "not before the minute is over"
            assert remembered(tmp_path).schedule_at != early
            agent._remember_at = 0
            await until(lambda: remembered(tmp_path).schedule_at == early)
            agent.engine.reasons.schedule_at = late
        assert remembered(tmp_path).schedule_at == late


async def test_a_memory_that_can_t_be_read_is_left_out_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with exchange() as server:
        given = b'{"targets": {"weights": {"A": "x"}}}'
        for broken in ({"symbols": b"7"}, {"symbols": b"{"}, {"symbols": b"[]", "given": given}):
            journal = Journal(tmp_path / "journal.db")
            journal.begin("live", "no portfolio any more", "0.1.0", 1)
            journal.remember(broken, 1)
            journal.close()
            caplog.clear()
            async with running(fed(server), server, tmp_path) as agent:
                await until(lambda: at_rest(agent))
            assert "what an earlier run remembered can't be read and is left out" in caplog.text
        journal = Journal(tmp_path / "journal.db")
        journal.begin("live", "no portfolio any more", "0.1.0", 1)
        journal.remember({"symbols": b"[]", "schedule_at": b"1"}, 1)
        journal.close()
        async with running(fed(server), server, tmp_path) as agent:
            assert agent.engine.reasons.schedule_at is None, "nobody knows of which schedule it was"


async def test_paper_keeps_what_it_learned_and_forgets_positions(tmp_path: Path) -> None:
    async with exchange() as server:
        strategies = {"trend": Strategy(capital=0.5), "revert": Strategy(capital=0.5)}
        base = portfolio(server, "paper")
        chosen = replace(base, targets=replace(base.targets, strategies=strategies))
        async with running(chosen, server, tmp_path) as agent:
            sleeves = agent.engine.mandate.sleeves
            assert sleeves is not None
            await until(lambda: at_rest(agent) and sleeves.settled)
        before = remembered(tmp_path, "paper")
        assert before.sleeves is not None
        assert any(sleeve.lots != [0, 0] for sleeve in before.sleeves.ledger.strategies.values())
        assert before.carry is not None
        assert before.carry.heard, "funding was heard of"
        agent = Agent(chosen, [blind_paper(chosen, server)], tmp_path, tag="ts")
        after = agent.engine.memory()
        agent.journal.close()
    assert after.sleeves is not None
    assert all(sleeve.lots == [0, 0] for sleeve in after.sleeves.ledger.strategies.values())
    assert after.carry == before.carry


def blind_paper(chosen: Portfolio, server: Server) -> Dialect:
    symbols = tuple(chosen.targets.symbols)
    return Binance(symbols=symbols, credentials=None, rest_url=server.rest_url, stream_url=server.ws_url)


async def test_what_a_strategy_owns_is_on_disk_before_a_stop(tmp_path: Path) -> None:
    async with exchange() as server:
        base = portfolio(server)
        strategies = {"trend": Strategy(capital=0.5), "revert": Strategy(capital=0.5)}
        chosen = replace(base, targets=replace(base.targets, strategies=strategies))
        async with running(chosen, server, tmp_path) as agent:
            await until(lambda: at_rest(agent))
            agent.journal.flush()
            sleeves = remembered(tmp_path).sleeves
            assert sleeves is not None
            lots = [sum(owner.lots[index] for owner in sleeves.ledger.owners) for index in (0, 1)]
            assert lots == [row.lots for row in agent.engine.book.rows]


async def test_a_port_that_is_taken_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        async with exchange() as server:
            chosen = replace(portfolio(server), feed=Feed(listen=listen))
            with pytest.raises(OSError, match="can't listen there"):
                async with running(chosen, server, tmp_path):
                    pass
            Journal(tmp_path / "journal.db").close()
        path = tmp_path / "portfolio.toml"
        path.write_text(f'[targets]\nweights = {{ BTCUSDT = 1 }}\n[feed]\nlisten = "{listen}"\n')
        ended = trimtab("run", str(path), state=tmp_path / "state")
    assert ended.returncode == 1, ended.stderr
    assert f'feed.listen = "{listen}"' in ended.stderr
    assert "name another port" in ended.stderr
    assert "Traceback" not in ended.stderr
