"""More than one instance: on this machine, on another, from an old copy of the state, beside the dead-man's switch."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from decimal import Decimal
from itertools import count
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, Server, StillMarket, serve
from adapters.simulator.faults import Incident
from agent.core.decisions import Policy
from agent.core.events import Accepted, Command, Ended, Filled, OpenOrder
from agent.core.orders import SETTLE_NS, Origin, S, order_id, origin_of
from agent.core.planner import Execution
from agent.core.strangers import Sharing
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.view import View
from agent.journal import Journal
from agent.run import CRASHES
from tests.core.kit import Stage
from tests.faults.striking import Struck
from tests.faults.test_d_account import Scene
from tests.wire.test_demo import ROOT
from tests.wire.test_run import PRICES, at_rest, held, portfolio, running, until

POLICY = Policy(mode="live", targets=Targets({"BTCUSDT": 1.0}, 3.0), triggers=Triggers(confirm_s=0.5, cool_down_s=2.0))
NONCE = 77


def stage() -> Stage:
    return Stage(POLICY, {"BTCUSDT": 0.5}, epoch=9, nonce=NONCE).ready()


def later(on: Stage) -> Stage:
    """When no request of an earlier run can be accepted any more, and what rests has been listed."""
    on.wait(60)
    return on


# By the ids of orders


@pytest.mark.fault("I2")
@pytest.mark.parametrize(
    ("other", "why"),
    [
        (order_id("t", 10, 1, 5), "a newer instance trades on this account: this one is superseded"),
        (order_id("t", 9, 1, NONCE + 1), "a twin trades on this account, which began at the same time"),
        (order_id("t", 8, 1, 5), "an older instance still trades on this account"),
        (order_id("x", 10, 1, 5), "a newer instance trades on this account: this one is superseded"),
    ],
)
def test_an_order_of_another_instance_halts_and_is_left_alone(other: str, why: str, struck: Struck) -> None:
    on = later(stage())
    on.hush()
    on.strange = [OpenOrder(other, "v1", 0, 10, 0)]
    on.tell(Accepted(other, "v1", 0, on.venue_now))
    struck("I2")
    assert on.engine.guards[0].halts.halted == why
    assert on.wait(120) == [], "not even what would reduce: both would do it"
    assert on.cancelled() == []
    assert len(on.said("halt")) == 1


@pytest.mark.fault("I2")
def test_what_rests_of_ours_is_cancelled_when_another_instance_shows(struck: Struck) -> None:
    on = Stage(replace(POLICY, execution=Execution(style="maker")), {"BTCUSDT": 0.1}, epoch=9, nonce=NONCE).ready()
    (placed,) = on.wait(5)[:1]
    on.tell(*on.accept(placed))
    on.hush()
    on.tell(Accepted(order_id("t", 10, 1), "v9", 0, on.venue_now))
    struck("I2")
    assert on.cancelled() == [placed.id]


@pytest.mark.fault("I2")
def test_a_trade_of_another_instance_is_enough(struck: Struck) -> None:
    on = later(stage())
    on.tell(Filled(order_id("t", 10, 1), 0, "x1", 10, 60_000.0, 0.0, "USDT", False, 10, on.venue_now))
    struck("I2")
    assert on.engine.guards[0].halts.halted == "a newer instance trades on this account: this one is superseded"


def test_our_own_orders_that_ended_long_ago_are_ours() -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.1}, epoch=9, nonce=NONCE).ready()
    placed = on.carry_out(30)
    on.wait(700)  # past what is remembered of them
    assert placed[0].id not in on.engine.blotter.orders
    on.tell(Ended(placed[0].id, "filled", abs(placed[0].lots), on.venue_now))
    assert on.engine.guards[0].halts.halted is None


def test_a_person_resumes() -> None:
    on = later(stage())
    on.tell(Accepted(order_id("t", 10, 1), "v9", 0, on.venue_now))
    assert on.engine.posture.startswith("halted")
    on.tell(Command("resume"))
    assert on.engine.guards[0].halts.halted is None
    assert on.engine.guards[0].halts.others is None


@pytest.mark.fault("D10")
def test_on_a_shared_account_another_portfolio_of_our_kind_is_a_stranger_like_any_other(struck: Struck) -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.5}, epoch=9, nonce=NONCE, sharing=Sharing(shared=True)).ready()
    on.tell(Accepted(order_id("x", 10, 1), "v9", 0, on.venue_now))
    struck("D10")
    assert on.engine.guards[0].halts.halted is None
    on.tell(Accepted(order_id("t", 10, 1), "v9", 0, on.venue_now))
    assert on.engine.guards[0].halts.halted is not None, "one with our tag is for the same portfolio"


@pytest.mark.fault("I4")
def test_what_an_earlier_run_left_behind_is_cleared_away_and_no_sign_of_life(struck: Struck) -> None:
    """From an old copy of the state, orders of later runs are on no record: at the start they are left-overs."""
    left = order_id("t", 8, 3, 5)
    on = Stage(POLICY, {"BTCUSDT": 0.5}, epoch=9, nonce=NONCE)
    on.strange = [OpenOrder(left, "v1", 0, 10, 0)]
    on.ready()
    struck("I4")
    assert set(on.cancelled()) == {left}
    on.strange = []
    on.tell(Ended(left, "cancelled", 0, on.venue_now))
    assert on.engine.guards[0].halts.halted is None
    later(on)
    on.tell(Filled(left, 0, "x1", 10, 60_000.0, 0.0, "USDT", False, 10, on.venue_now))
    assert on.engine.guards[0].halts.halted is None, "late news of a left-over"


@pytest.mark.fault("I4")
def test_an_older_epoch_in_the_venues_books_than_ours_is_never_ours_again(struck: Struck) -> None:
    """A copy so old that its next epoch is one that was used already: whoever used it later is newer."""
    on = Stage(POLICY, {"BTCUSDT": 0.5}, epoch=9, nonce=NONCE)
    on.strange = [OpenOrder(order_id("t", 11, 3, 5), "v1", 0, 10, 0)]
    on.ready()
    struck("I4")
    assert on.engine.guards[0].halts.halted == "a newer instance trades on this account: this one is superseded"
    assert on.cancelled() == []


@pytest.mark.fault("I2", "I4")
def test_who_succeeds_another_lets_its_last_requests_expire_before_anything_but_safety(struck: Struck) -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.1}, epoch=9, nonce=NONCE, unrecorded=True).ready()
    waited = SETTLE_NS // S + 3
    assert on.wait(waited - 2) == []
    assert on.said("hold")[0].startswith("requests of an earlier run may still be accepted: largest drift ")
    struck("I2")
    struck("I4")
    assert on.wait(10)
    danger = Stage(POLICY, {"BTCUSDT": 1.2}, epoch=9, nonce=NONCE, unrecorded=True).ready()
    assert danger.engine.blotter.live(), "leverage is over its limit: safety waits for nothing"


def test_ids_of_two_runs_of_one_epoch_differ_on_the_wire() -> None:
    first, second = (Stage(POLICY, {"BTCUSDT": 0.1}, epoch=9, nonce=nonce).ready() for nonce in (NONCE, NONCE + 1))
    ids = [{one.id for one in on.carry_out(30)} for on in (first, second)]
    assert all(ids)
    assert not ids[0] & ids[1]


# The dead-man's switch


@pytest.mark.fault("I6")
def test_a_dead_mans_switch_that_fires_while_another_takes_over_is_planned_from(struck: Struck) -> None:
    by_hand = Incident("trade", at_s=8, symbol="ETHUSDT", quantity=Decimal(-12))
    switch = Incident("dead-man", at_s=12, symbol="ETHUSDT")
    scene = Scene(by_hand, switch, execution=Execution(style="maker", patience_s=30.0)).until(11.5)
    assert scene.world.account.open_orders
    scene.until(120)
    struck("I6", scene.struck("dead-man"))
    assert scene.engine.guards[0].halts.halted is None
    assert abs(scene.held("ETHUSDT") - 25) < 1
    assert len(scene.increases()) >= 2


# Real processes


def file(server: Server, folder: Path, name: str, *lines: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f"""\
mode = "live"
state = "{folder / name}"
[account]
key = "env:TRIMTAB_TEST_KEY"
secret = "env:TRIMTAB_TEST_SECRET"
rest_url = "{server.rest_url}"
stream_url = "{server.ws_url}"
{chr(10).join(lines)}
[targets]
weights = {{ BTCUSDT = 0.5, ETHUSDT = 0.5 }}
[triggers]
confirm_s = 0
cool_down_s = 0.1
""")
    return path


async def start(path: Path, key: str = DEMO_KEY, secret: str = DEMO_SECRET) -> asyncio.subprocess.Process:
    command = [sys.executable, "-c", "from agent.cli import main; main()", "run", str(path), "--live"]
    env = {**os.environ, "TRIMTAB_TEST_KEY": key, "TRIMTAB_TEST_SECRET": secret}
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env, stderr=asyncio.subprocess.PIPE)


@pytest.mark.fault("I1")
async def test_a_second_agent_with_the_same_key_ends_with_75_whatever_its_folder(
    tmp_path: Path, struck: Struck
) -> None:
    exchange = Exchange(StillMarket(PRICES), [Account(balance=100_000, positions={"BTCUSDT": "0.5", "ETHUSDT": "12"})])
    async with await serve(exchange) as server:
        first = await start(file(server, tmp_path, "first"))
        try:
            await until(lambda: (tmp_path / "first" / "status.json").exists(), seconds=60)
            second = await start(file(server, tmp_path, "second"))
            _, told = await asyncio.wait_for(second.communicate(), 60)
            struck("I1")
            assert second.returncode == 75
            assert b"another agent on this machine trades with this key" in told
            assert DEMO_KEY.encode() not in told
            assert not (tmp_path / "second").exists(), "it has not even begun"
        finally:
            first.send_signal(signal.SIGTERM)
            await asyncio.wait_for(first.communicate(), 60)
        assert first.returncode == 0


@pytest.mark.fault("I2")
async def test_two_agents_that_no_lock_keeps_apart_notice_each_other(tmp_path: Path, struck: Struck) -> None:
    """As on two machines: each with a folder of its own. Once one has noticed, one of them trades at most."""
    exchange = Exchange(
        StillMarket(PRICES), [Account(balance=100_000, positions={"BTCUSDT": "0.5", "ETHUSDT": "12.5"})]
    )
    async with await serve(exchange) as server:
        chosen = portfolio(server)
        async with (
            running(chosen, server, tmp_path / "first") as first,
            running(chosen, server, tmp_path / "second") as second,
        ):
            both = (first, second)
            await until(
                lambda: all({"market", "private"} <= set(agent.engine.book.accounts[0].streams) for agent in both)
            )
            for symbol, price in (("BTCUSDT", 100_001), ("ETHUSDT", 4_001)):
                exchange.set_mark(symbol, price)  # a quote proves that a stream is up, and a still market has none
            server.settle()
            await until(lambda: all(at_rest(agent) for agent in both))
            exchange.set_mark("BTCUSDT", 140_000)
            server.settle()
            await until(lambda: any(agent.engine.guards[0].halts.halted for agent in both))
            struck("I2")
            await asyncio.sleep(2)
            before = len(exchange.ledger.orders)
            exchange.set_mark("BTCUSDT", 100_000)
            server.settle()
            await asyncio.sleep(3)
            origins = [origin_of(order.client_id) for order in list(exchange.ledger.orders.values())[before:]]
            assert len({origin.nonce for origin in origins if origin is not None}) <= 1
            for agent in both:
                halted = agent.engine.guards[0].halts.halted
                assert halted in (None, "a twin trades on this account, which began at the same time")


@pytest.mark.fault("I2")
async def test_one_that_was_suspended_while_another_took_over_does_not_write_beside_it(
    tmp_path: Path, struck: Struck
) -> None:
    """Real processes with a key each for one account, as on two machines; the first is stopped, and goes on later."""
    other = "another-key-of-the-same-account-0000000000000000000000000000000000"
    even = Account(balance=100_000, positions={"BTCUSDT": "0.5", "ETHUSDT": "12.5"}, keys={other: DEMO_SECRET})
    exchange = Exchange(StillMarket(PRICES), [even])

    def state(name: str) -> str:
        path = tmp_path / name / "status.json"
        return msgspec.json.decode(path.read_bytes(), type=View).state if path.exists() else ""

    ticks = count(1)

    def jump(price: int) -> None:
        exchange.set_mark("BTCUSDT", price)
        exchange.set_mark("ETHUSDT", 4_000 + next(ticks) % 2)  # a quote proves that a stream is up
        server.settle()

    async def holding(name: str) -> None:
        async with asyncio.timeout(90):
            while state(name) != "holding":
                jump(100_000)
                await asyncio.sleep(0.5)

    def ours(since: int = 0) -> list[Origin]:
        placed = list(exchange.ledger.orders.values())[since:]
        return [origin for order in placed if (origin := origin_of(order.client_id)) is not None]

    async with await serve(exchange) as server:
        first = await start(file(server, tmp_path, "first"))
        second: asyncio.subprocess.Process | None = None
        try:
            await holding("first")
            first.send_signal(signal.SIGSTOP)
            second = await start(file(server, tmp_path, "second"), other)
            await holding("second")
            jump(140_000)
            await until(lambda: len(ours()) > 0, seconds=90)
            first.send_signal(signal.SIGCONT)
            struck("I2")
            await asyncio.sleep(3)
            jump(100_000)
            await until(lambda: "halted" in state("first") + state("second"), seconds=60)
            await asyncio.sleep(3)
            since = len(exchange.ledger.orders)
            jump(150_000)
            await asyncio.sleep(5)
            assert len({origin.nonce for origin in ours(since)}) <= 1
        finally:
            for process in (first, second):
                if process is not None:
                    process.send_signal(signal.SIGCONT)
                    process.send_signal(signal.SIGTERM)
                    await asyncio.wait_for(process.communicate(), 60)


@pytest.mark.fault("H5")
async def test_a_key_that_can_withdraw_ends_the_run_with_78(tmp_path: Path, struck: Struck) -> None:
    rich = Account(balance=100_000, positions={"BTCUSDT": "0.8"}, rights={"enableWithdrawals": True})
    exchange = Exchange(StillMarket(PRICES), [rich])
    async with await serve(exchange) as server:
        process = await start(file(server, tmp_path, "one", f'rights_url = "{server.rest_url}"'))
        _, told = await asyncio.wait_for(process.communicate(), 90)
        struck("H5")
        assert process.returncode == 78
        assert b"account: the key can withdraw: take that right from it" in told
    assert not exchange.ledger.orders


# One that crashes again and again


@pytest.mark.fault("F11")
async def test_after_five_crashes_within_ten_minutes_it_begins_halted(tmp_path: Path, struck: Struck) -> None:
    exchange = Exchange(StillMarket(PRICES), [Account(balance=100_000, positions={"BTCUSDT": "0.8", "ETHUSDT": "5"})])
    async with await serve(exchange) as server:
        chosen = portfolio(server)

        def state() -> str:
            path = tmp_path / "status.json"
            return msgspec.json.decode(path.read_bytes(), type=View).state if path.exists() else ""

        for number in range(CRASHES):
            journal = Journal(tmp_path / "journal.db")
            journal.begin("live", "", "0", time.time_ns())
            journal._locks.close()  # the process is gone: nothing was closed in order
            journal._db.close()
            struck("F11")
            if number < CRASHES - 1:
                assert Journal.read(tmp_path / "journal.db").crashes(time.time_ns() - 600 * S) == number + 1
        async with running(chosen, server, tmp_path) as agent:
            await until(lambda: agent.engine.drift is not None)
            assert agent.engine.guards[0].halts.halted == "5 runs within ten minutes did not end in order"
            await until(lambda: held(exchange, "BTCUSDT") < Decimal("0.6"))
            await asyncio.sleep(0.5)
            assert held(exchange, "ETHUSDT") == 5, "reductions go on, nothing increases"
            await until(lambda: state().startswith("halted"))
