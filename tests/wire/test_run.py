"""The agent on real sockets: modes, reconnection, restart, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from decimal import Decimal
from pathlib import Path

import apsw
import msgspec
import pytest
from msgspec.structs import replace

from adapters.binance import Binance
from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, Faults, Server, StillMarket, serve
from adapters.simulator.wire import Session
from agent.cli.build import dialects_of
from agent.clock import Clock
from agent.config import Account as Access
from agent.config import Portfolio
from agent.core.covariance import CovarianceState
from agent.core.decisions import Decision, Memory
from agent.core.desk import Act
from agent.core.events import Fact
from agent.core.orders import FORGOTTEN_NS, Order, S, State, order_id
from agent.core.paper import Paper, PaperAccount
from agent.core.planner import Execution, Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Call, Credentials, Request, Secret, SetLeverage
from agent.core.view import View
from agent.journal import Journal, JournalFailed
from agent.replay import replay
from agent.run import RESUME, Agent
from tests.core.kit import order
from tests.wire.test_demo import ROOT, trimtab

PRICES = {"BTCUSDT": "100000", "ETHUSDT": "4000"}
KEYS = Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET))

NOWHERE = "127.0.0.1:9"
IDLE = Portfolio(
    mode="live",
    account=Access(rest_url=f"http://{NOWHERE}", stream_url=f"ws://{NOWHERE}"),
    targets=Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}, leverage=1.0),
)


def account() -> Account:
    return Account(balance=100_000, positions={"BTCUSDT": "0.8", "ETHUSDT": "5"})


def portfolio(server: Server, mode: str = "live") -> Portfolio:
    base = Portfolio(
        mode="live",
        account=Access(rest_url=server.rest_url, stream_url=server.ws_url),
        targets=Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}, leverage=1.0),
        triggers=Triggers(confirm_s=0.05, cool_down_s=0.2),
        paper=PaperAccount(equity=100_000, positions={"BTCUSDT": 0.8, "ETHUSDT": 5}),
    )
    return replace(base, mode=mode)


@asynccontextmanager
async def running(
    chosen: Portfolio,
    server: Server,
    folder: Path,
    *,
    record: bool = False,
    resolved: Sequence[str] = (),
) -> AsyncIterator[Agent]:
    dialect = Binance(
        symbols=tuple(chosen.targets.weights),
        credentials=None if chosen.mode == "paper" else KEYS,
        rest_url=server.rest_url,
        stream_url=server.ws_url,
        entry_url=chosen.account.entry_url,
    )
    venue = Paper(dialect, chosen.paper, dialect.symbols) if chosen.mode == "paper" else dialect
    agent = Agent(chosen, [venue], folder, tag="ts", record=record)
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop, resolved))
    try:
        yield agent
    finally:
        stop.set()
        await task


@contextmanager
def idle(folder: Path, chosen: Portfolio = IDLE, now: int | None = None, succeeds: bool = False) -> Iterator[Agent]:
    """An agent that has begun, at ``now`` if given, and does not run; it ends without order."""
    base = Binance(
        symbols=tuple(chosen.targets.weights),
        credentials=KEYS,
        rest_url=f"http://{NOWHERE}",
        stream_url=f"ws://{NOWHERE}",
    )
    clock = Clock() if now is None else Clock(lambda: now, lambda: now)
    venue = Paper(base, chosen.paper, base.symbols) if chosen.mode == "paper" else base
    agent = Agent(chosen, [venue], folder, tag="ts", clock=clock, succeeds=succeeds)
    try:
        yield agent
    finally:
        agent.journal.close()


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 — what is waited for belongs to others
            await asyncio.sleep(0.02)


def at_rest(agent: Agent) -> bool:
    engine = agent.engine
    rests = engine.correction is None and not engine.blotter.live()
    return rests and engine.drift is not None and engine.drift.reach < 1


def held(exchange: Exchange, symbol: str) -> Decimal:
    return exchange.snapshot(DEMO_KEY).positions.get(symbol, Decimal(0))


def believed(agent: Agent, index: int) -> Decimal:
    row = agent.engine.book.rows[index]
    assert row.instrument is not None
    return row.lots * row.instrument.step


async def test_live_trades_on_the_exchange_and_knows_its_position(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server), server, tmp_path) as agent:
        await until(lambda: at_rest(agent))
        assert [believed(agent, 0), believed(agent, 1)] == [held(exchange, "BTCUSDT"), held(exchange, "ETHUSDT")]
        assert held(exchange, "BTCUSDT") < Decimal("0.8")


def entering(server: Server, stream_url: str, folder: Path) -> Portfolio:
    """The same by websocket, from a file that can be read back."""
    access = Access(
        key="env:NONE",
        secret="env:NONE",
        rest_url=server.rest_url,
        stream_url=server.ws_url,
        order_entry="websocket",
        entry_url=f"{stream_url}/ws-fapi/v1",
    )
    return replace(portfolio(server), state=str(folder), account=access)


async def test_orders_go_by_websocket(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server:
        said: list[bytes] = []
        receive = server.venue.receive

        def listened(session: Session, text: str | bytes, now: int) -> list[bytes]:
            said.append(msgspec.json.encode(text) if isinstance(text, str) else text)
            return receive(session, text, now)

        server.venue.receive = listened  # type: ignore[method-assign]
        chosen = entering(server, server.ws_url, tmp_path)
        async with running(chosen, server, tmp_path, record=True) as agent:
            await until(lambda: at_rest(agent) and "entry" in agent.engine.book.accounts[0].streams)
            said.clear()
            before, fills = held(exchange, "BTCUSDT"), len(exchange.ledger.fills)
            exchange.set_mark("BTCUSDT", "120000")
            await until(lambda: at_rest(agent) and held(exchange, "BTCUSDT") < before)
            assert [believed(agent, 0), believed(agent, 1)] == [held(exchange, "BTCUSDT"), held(exchange, "ETHUSDT")]
            orders = {fill.order_id for fill in exchange.ledger.fills[fills:]}
            assert len([text for text in said if b"order.place" in text]) >= len(orders) > 0
    (tape,) = (tmp_path / "tapes").iterdir()
    assert not any(secret.encode() in tape.read_bytes() for secret in (DEMO_KEY, DEMO_SECRET))
    assert replay(tape, lambda of: dialects_of(of, KEYS)).difference is None, (
        "answers by websocket are on the tape as frames"
    )


async def test_where_the_websocket_for_orders_does_not_open_they_go_over_http(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with (
        await serve(exchange) as server,
        running(entering(server, f"ws://{NOWHERE}", tmp_path), server, tmp_path) as agent,
    ):
        await until(lambda: at_rest(agent))
        assert "entry" not in agent.engine.book.accounts[0].streams
        assert held(exchange, "BTCUSDT") < Decimal("0.8")


async def test_an_order_of_long_ago_that_nobody_can_settle_is_settled_by_a_person(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    long_ago = time.time_ns() - FORGOTTEN_NS - S
    old = order(order_id("ts", 1, 1), created_at=long_ago, expires_at=long_ago + 3 * S, state=State.UNKNOWN)
    async with await serve(exchange) as server:
        async with running(portfolio(server), server, tmp_path) as agent:
            await until(lambda: at_rest(agent))
        journal = Journal(tmp_path / "journal.db")
        journal.begin("live", "", "0", long_ago)
        journal.append(long_ago, 1, b"{}", [old], True)
        journal.close()
        async with running(portfolio(server), server, tmp_path, resolved=[old.id]) as agent:
            await until(lambda: at_rest(agent))
            assert agent.engine.blotter.orders[old.id].ended == "resolved by a person"
            assert agent.engine.guards[0].halts.halted is None


async def test_maker_style_rests_first_and_still_gets_there(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server:
        chosen = replace(portfolio(server), execution=Execution(style="maker", patience_s=0.5))
        async with running(chosen, server, tmp_path) as agent:
            await until(lambda: at_rest(agent))
    styles = [order.time_in_force for order in exchange.ledger.orders.values() if order.client_id.startswith("tt")]
    assert styles[0] == "GTX"


async def test_paper_trades_on_real_streams_and_sends_nothing(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server, "paper"), server, tmp_path) as agent:
        await until(lambda: at_rest(agent))
        assert agent.engine.tally.fills > 0
        assert believed(agent, 0) < Decimal("0.8")
    assert not [order for order in exchange.ledger.orders.values() if order.client_id.startswith("tt")]
    assert held(exchange, "BTCUSDT") == Decimal("0.8")


async def test_observe_says_what_it_would_do_and_sends_nothing(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server, "observe"), server, tmp_path) as agent:
        await until(lambda: agent.engine.plan is not None)
    assert not [order for order in exchange.ledger.orders.values() if order.client_id.startswith("tt")]
    told = b" ".join(row.record for row in Journal.read(tmp_path / "journal.db").decisions())
    assert b"nothing is sent in observe mode" in told


async def test_after_a_disconnection_it_asks_for_everything_before_it_trades_on(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server), server, tmp_path) as agent:
        await until(lambda: at_rest(agent))
        seen = agent.engine.book.accounts[0].positions_at or 0
        server.venue.disconnect_all()
        server.settle()
        await until(lambda: len(agent.engine.book.accounts[0].streams) < 3)
        exchange.set_mark("BTCUSDT", "140000")
        server.settle()
        await until(lambda: len(agent.engine.book.accounts[0].streams) == 3)
        await until(lambda: (agent.engine.book.accounts[0].positions_at or 0) > seen)
        await until(lambda: agent.engine.tally.fills > 2 and at_rest(agent))
        assert believed(agent, 0) == held(exchange, "BTCUSDT")


async def test_the_kill_file_stops_increases_and_lets_reductions_through(tmp_path: Path) -> None:
    kill = tmp_path / "stop-trading"
    kill.touch()
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server:
        base = portfolio(server)
        chosen = replace(base, limits=replace(base.limits, kill_file=str(kill)))
        async with running(chosen, server, tmp_path / "state"):
            await until(lambda: held(exchange, "BTCUSDT") < Decimal("0.8"))
            await asyncio.sleep(1)
            assert held(exchange, "ETHUSDT") == 5
            kill.unlink()
            await until(lambda: held(exchange, "ETHUSDT") > 5)


def test_a_kill_file_that_can_not_be_looked_for_may_be_there(tmp_path: Path) -> None:
    kill, file, loop = tmp_path / "kill", tmp_path / "file", tmp_path / "loop"
    file.touch()
    loop.symlink_to(loop)
    told = list[tuple[str, str]]()
    for path in (kill, file / "kill", loop / "kill"):
        with idle(tmp_path / "state", replace(IDLE, limits=Limits(kill_file=str(path)))) as agent:
            agent.tell = lambda *of: told.append(of)  # type: ignore[method-assign]
            agent._look_for_kill_file()
            agent._look_for_kill_file()
            assert bool(told) is (path.parent == loop)
    assert told == [("kill", f"the kill file {path} may exist: Too many levels of symbolic links")]
    loop.unlink()
    agent._look_for_kill_file()
    assert told[1:] == [("unkill", "")]


async def test_a_person_resumes_a_running_agent_and_a_word_from_before_it_began_counts_for_nothing(
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / RESUME).touch()
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server), server, state) as agent:
        await until(lambda: at_rest(agent))
        agent.tell("halt", "to see")
        ended = await asyncio.to_thread(trimtab, "resume", "--state", str(state), state=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert agent.engine.guards[0].halts.halted is None
        await until(lambda: at_rest(agent))
    told = b" ".join(row.record for row in Journal.read(state / "journal.db").decisions())
    assert told.count(b"command resume") == 1


async def test_sigkill_in_the_middle_and_a_restart_lose_and_double_nothing(tmp_path: Path) -> None:
    """The journal of the killed process is the start of the next, whose orders come from a new epoch."""
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange, faults=Faults(delay_ms=100)) as server:
        keys = {"TRIMTAB_TEST_KEY": DEMO_KEY, "TRIMTAB_TEST_SECRET": DEMO_SECRET}
        path = tmp_path / "portfolio.toml"
        path.write_text(f"""\
mode = "live"
state = "{tmp_path / "state"}"
[account]
key = "env:TRIMTAB_TEST_KEY"
secret = "env:TRIMTAB_TEST_SECRET"
rest_url = "{server.rest_url}"
stream_url = "{server.ws_url}"
[targets]
weights = {{ BTCUSDT = 0.5, ETHUSDT = 0.5 }}
[triggers]
confirm_s = 0
cool_down_s = 0.1
""")
        command = [sys.executable, "-c", "from agent.cli import main; main()", "run", str(path), "--live"]
        env = {**os.environ, **keys}
        first = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stderr=asyncio.subprocess.DEVNULL)
        await until(lambda: any(o.client_id.startswith("tt") for o in exchange.ledger.orders.values()))
        first.send_signal(signal.SIGKILL)
        await first.wait()
        begun = Journal.read(tmp_path / "state" / "journal.db").last_run()
        assert begun is not None
        second = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stderr=asyncio.subprocess.PIPE)
        status = tmp_path / "state" / "status.json"

        def holds() -> bool:
            view = msgspec.json.decode(status.read_bytes(), type=View) if status.exists() else None
            return view is not None and view.epoch > begun.epoch and view.state == "holding"

        await until(holds, seconds=60)
        assert held(exchange, "ETHUSDT") > 8
        second.send_signal(signal.SIGTERM)
        _, told = await second.communicate()
        assert second.returncode == 0, told.decode()
    for (_, name), orders in exchange.ledger.by_client_id.items():
        assert len(orders) == 1, f"{name} was placed twice"
    records = Journal.read(tmp_path / "state" / "journal.db")
    written = {order.id for order in records.orders()}
    placed = {order.client_id for order in exchange.ledger.orders.values() if order.client_id.startswith("tt")}
    assert placed <= written
    assert all(order.state is State.DONE for order in records.orders())
    assert DEMO_SECRET.encode() not in told
    assert DEMO_KEY.encode() not in told


@pytest.mark.parametrize("mode", ["live", "paper"])
async def test_the_status_file_is_whole_at_every_moment(mode: str, tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server, mode), server, tmp_path) as agent:
        await until(lambda: (tmp_path / "status.json").exists())
        assert not (tmp_path / "status.partial").exists()
        assert agent.view().mode == mode


def decide(agent: Agent, request: Request) -> list[str]:
    """Have the next decision ask for this as well; gives what is done about it, in order."""
    step, append, perform = agent.engine.step, agent.journal.append, agent.transport.do
    left, done = [request], list[str]()

    def decided(facts: Sequence[Fact], now: int) -> Decision:
        decision = step(facts, now)
        requests = (*decision.requests, *left)
        left.clear()
        return replace(decision, requests=requests, notes=()) if requests else decision

    def written(
        now: int,
        seq: int,
        record: bytes,
        orders: Sequence[Order],
        urgent: bool,
        memory: Mapping[str, bytes] | None = None,
    ) -> None:
        append(now, seq, record, orders, urgent, memory)
        if msgspec.json.encode(request) in record:
            done.append("synced" if urgent else "written")

    def sent(act: Act) -> None:
        if isinstance(act, Call) and act.request == request:
            done.append("sent")
        perform(act)

    agent.engine.step = decided  # type: ignore[method-assign]
    agent.journal.append = written  # type: ignore[method-assign]
    agent.transport.do = sent  # type: ignore[method-assign]
    return done


async def test_a_leverage_setting_is_on_disk_before_it_leaves(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server), server, tmp_path) as agent:
        await until(lambda: at_rest(agent))
        assert agent.engine.book.rows[0].leverage == 20
        done = decide(agent, SetLeverage(instrument=0, leverage=7))
        agent.tell("resync")
        await until(lambda: agent.engine.book.rows[0].leverage == 7)
        assert done == ["synced", "sent"]
    assert exchange.accounts[DEMO_KEY].leverage("BTCUSDT") == 7


async def test_an_observer_changes_no_setting(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server, "observe"), server, tmp_path) as agent:
        await until(lambda: agent.engine.unready() is None)
        done = decide(agent, SetLeverage(instrument=0, leverage=7))
        agent.tell("resync")
        await until(lambda: agent.engine.unready() is None)
        assert done == ["synced"]
    assert exchange.accounts[DEMO_KEY].leverage("BTCUSDT") == 20


async def test_a_leverage_setting_that_can_not_be_written_down_does_not_leave(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])

    async def break_the_journal(server: Server) -> None:
        async with running(portfolio(server), server, tmp_path) as agent:
            await until(lambda: at_rest(agent))
            agent.journal._failed = "the disk is full"
            done = decide(agent, SetLeverage(instrument=0, leverage=7))
            agent.tell("resync")
            assert done == []

    async with await serve(exchange) as server:
        with pytest.raises(JournalFailed):
            await break_the_journal(server)
    assert exchange.accounts[DEMO_KEY].leverage("BTCUSDT") == 20


async def test_a_journal_that_fails_ends_the_run_in_order_and_cancels_what_rests(tmp_path: Path) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    placed = []

    async def break_the_journal(server: Server) -> None:
        chosen = replace(portfolio(server), execution=Execution(style="maker", patience_s=600))
        async with running(chosen, server, tmp_path) as agent:
            await until(lambda: bool(exchange.snapshot(DEMO_KEY).open_orders))
            agent.journal._failed = "the disk is full"
            agent.tell("resync")
            await until(lambda: not exchange.snapshot(DEMO_KEY).open_orders)
            placed.append(len(exchange.ledger.orders))
            await asyncio.sleep(0.5)

    async with await serve(exchange) as server:
        with pytest.raises(JournalFailed):
            await break_the_journal(server)
    assert placed == [len(exchange.ledger.orders)]
    Journal(tmp_path / "journal.db").close()


# What the next run goes by

LIFE_S = 15
"""For so long a request of an instance before may be accepted."""


@pytest.mark.parametrize(
    ("before", "waits"),
    [
        pytest.param([], True, id="nothing is on record"),
        pytest.param([("live", 0, 100)], False, id="a run that was at work until now"),
        pytest.param([("live", 0, 100 - LIFE_S - 1)], True, id="a run that ended long ago"),
        pytest.param([("live", 95, None)], True, id="an aborted start"),
        pytest.param([("live", 95, 98)], True, id="a short run"),
        pytest.param([("live", 0, None), ("observe", 90, 98)], True, id="an observer since"),
        pytest.param([("live", 0, None), ("paper", 90, 98)], True, id="paper since"),
    ],
)
def test_a_start_lets_requests_on_no_record_expire(
    before: list[tuple[str, int, int | None]], waits: bool, tmp_path: Path
) -> None:
    """Runs of earlier: their mode, when they began, and when they last decided something, in seconds; now it is 101."""
    zero = time.time_ns() - 101 * S
    for mode, began_s, decided_s in before:
        with idle(tmp_path, replace(IDLE, mode=mode), now=zero + began_s * S) as agent:
            if decided_s is not None:
                agent.journal.append(zero + decided_s * S, 1, b"{}", [], urgent=True)
    with idle(tmp_path, now=zero + 101 * S, succeeds=True) as agent:
        assert agent.engine.guards[0].strangers.unrecorded is waits


def test_the_first_fill_already_replaces_the_covariance_of_other_symbols(tmp_path: Path) -> None:
    fill = Decision(seq=1, at=time.time_ns(), requests=(), notes=(), orders=(), wake_at=0, remember=True)
    learned = CovarianceState(sums=[[0.1, 0.0], [0.0, 0.1]], weight=1.0, logs=None, at=time.time_ns())
    with idle(tmp_path) as agent:
        agent.journal.remember({**agent._parts(), "covariance": msgspec.json.encode(learned)}, time.time_ns())
    other = replace(IDLE, targets=Targets(weights={"SOLUSDT": 1.0}, leverage=1.0))
    with idle(tmp_path, other) as agent:
        agent._write(fill, b"{}")
        written = agent.journal.memory("live")
        assert written is not None
        assert msgspec.json.decode(written, type=Memory) == agent.engine.memory()
        agent._remember()
        agent._write(replace(fill, seq=2), b"{}")
        assert agent.journal.memory("live") == written


def test_a_log_that_a_reader_keeps_growing_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.journal.OVERGROWN_PAGES", 200)
    monkeypatch.setattr("agent.journal.LOG_PAGES", 100)
    with idle(tmp_path) as agent, closing(apsw.Connection(str(tmp_path / "journal.db"))) as reader:

        def go_on(first: int) -> None:
            for seq in range(first, first + 10):
                agent.journal.append(time.time_ns(), seq, b"{}", [], urgent=True, memory={"n": b"1" * 100_000})
                agent.journal.flush()
                agent._look_at_log()

        go_on(1)
        assert not caplog.records
        reader.execute("BEGIN")
        list(reader.execute("SELECT count(*) FROM runs"))
        go_on(11)
    assert [one.message for one in caplog.records if "end that program" in one.message] == [caplog.records[-1].message]
