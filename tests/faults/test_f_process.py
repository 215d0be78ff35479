"""F: what befalls the process. Real processes, real sockets, at twenty times real time; the exchange's books judge."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.binance import Binance
from adapters.simulator import Exchange, Faults, FrameFault, RequestFault, Server, StillMarket, serve
from agent.core.orders import Order, State
from agent.core.venue import Call
from agent.journal import Journal, Unusable
from agent.run import Agent
from tests.faults.striking import Struck
from tests.kill.life import Life
from tests.kill.nursery import Nursery
from tests.kill.quick import QuickLoop
from tests.kill.trial import SPEED, Scene, Trial
from tests.wire.test_run import KEYS, PRICES, account, at_rest, portfolio, until

STOP_S = 25.0
"""A stop may take so long, whatever is under way."""


def quickly(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test in the time of the processes it starts."""

    async def whole() -> None:
        await main()

    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # connections die on purpose here
    with asyncio.Runner(loop_factory=lambda: QuickLoop(SPEED)) as runner:
        runner.run(whole())


@asynccontextmanager
async def trial(scene: Scene, folder: Path) -> AsyncIterator[tuple[Trial, Nursery]]:
    async with Nursery() as nursery, Trial(scene, folder) as one:
        yield one, nursery


async def sent(one: Trial, count: int = 1) -> None:
    """Wait until so many orders have left for the exchange."""

    def left() -> bool:
        try:
            return len(written(one)) >= count
        except Unusable:
            return False  # the journal is only being made

    await until(left, seconds=60 * SPEED)


async def rests(one: Trial) -> None:
    """Wait until the account is where it should be."""
    near = {symbol: abs(one.target(symbol)) / 50 for symbol in one.low}
    await until(
        lambda: all(abs(one.held(symbol) - one.target(symbol)) < near[symbol] for symbol in near), seconds=60 * SPEED
    )


async def recover(one: Trial, nursery: Nursery) -> None:
    """A clean life comes to rest on what is there, and nothing is lost or doubled."""
    one.heal()
    life = await nursery.live(one.birth())
    assert life.rest is not None, told(one)
    assert life.status == 0, told(one)
    one.audit(life.rest)


def told(one: Trial) -> str:
    return (one.folder / "log").read_text()


def size_of(pid: int) -> int:
    """Bytes of address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def written(one: Trial) -> list[Order]:
    """The orders on record."""
    records = Journal.read(one.folder / "journal.db")
    try:
        return records.orders()
    finally:
        records.close()


def code(life: Life) -> int:
    return os.waitstatus_to_exitcode(life.status)


# F3


@pytest.mark.fault("F3")
@pytest.mark.parametrize("maker", [False, True], ids=["orders that take", "orders that rest"])
def test_asked_to_stop_with_orders_of_unknown_fate_it_ends_in_time_and_forgets_none(
    maker: bool, tmp_path: Path, struck: Struck
) -> None:
    lost = (RequestFault("lose reply", on="changes"), RequestFault("bad gateway", on="query"))
    scene = Scene(maker=maker, own=Faults(seed=3, delay_ms=10.0, requests=lost))

    async def main() -> None:
        async with trial(scene, tmp_path) as (one, nursery):
            pid = await nursery.begin(one.birth(stays=True))
            await sent(one)
            asked = asyncio.get_running_loop().time()
            os.kill(pid, signal.SIGTERM)
            life = await nursery.end()
            took = asyncio.get_running_loop().time() - asked
            assert code(life) == 0, told(one)
            assert took < STOP_S + SPEED, "the limit, and a second of real time for leaving"
            open_ = [order for order in written(one) if order.state is not State.DONE]
            ids = {order.client_id for order in one.account.open_orders.values()}
            assert ids <= {order.id for order in open_}
            struck("F3", len(open_) + one.struck.get("requests: lose reply", 0))
            await recover(one, nursery)

    quickly(main)


# F4


@pytest.mark.fault("F4")
def test_out_of_memory_loses_and_doubles_nothing(tmp_path: Path, struck: Struck) -> None:
    huge = Faults(seed=4, delay_ms=10.0, frames=(FrameFault("huge", on="mark", from_s=5.0),))

    async def main() -> None:
        async with trial(Scene(own=huge), tmp_path) as (one, nursery):
            pid = await nursery.begin(one.birth(stays=True))
            await sent(one)
            resource.prlimit(pid, resource.RLIMIT_AS, (size := size_of(pid), size))
            await until(lambda: "MemoryError" in told(one), seconds=60 * SPEED)
            struck("F4", told(one).count("MemoryError"))
            os.kill(pid, signal.SIGKILL)  # which is what the kernel does, sooner or later
            await nursery.end()
            await recover(one, nursery)

    quickly(main)


# F5, F6, F10


@pytest.mark.fault("F5")
@pytest.mark.parametrize("seconds", [3.0, 30.0])
def test_a_loop_that_was_blocked_looks_before_it_acts(seconds: float, tmp_path: Path, struck: Struck) -> None:
    async def main() -> None:
        async with trial(Scene(), tmp_path) as (one, nursery):
            life = await nursery.live(one.birth(blocks_s=seconds))
            assert life.rest is not None, told(one)
            assert life.before_orders
            struck("F5")
            one.audit(life.rest)

    quickly(main)


@pytest.mark.fault("F6")
@pytest.mark.parametrize(("maker", "seconds"), [(False, 10.0), (True, 120.0)])
def test_a_process_that_was_suspended_asks_where_it_stands_before_it_trades_on(
    maker: bool, seconds: float, tmp_path: Path, struck: Struck
) -> None:
    async def main() -> None:
        async with trial(Scene(maker=maker), tmp_path) as (one, nursery):
            asked: list[str] = []
            send = one.server.gateway.send

            def noted(
                method: str,
                path: str,
                query: str,
                headers: Mapping[str, str],
                body: bytes,
                now: int,
                *,
                client: str = "",
            ) -> int:
                asked.append(f"{method} {path}?{query}{body.decode()}")
                return send(method, path, query, headers, body, now, client=client)

            pid = await nursery.begin(one.birth(stays=True))
            await sent(one)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(1)  # what it had said already has arrived
            before = [order.id for order in written(one)]
            one.server.gateway.send = noted  # type: ignore[method-assign]
            await asyncio.sleep(seconds)
            struck("F6")
            assert asked == []
            os.kill(pid, signal.SIGCONT)
            await rests(one)
            news = [
                request.startswith("POST /fapi/v1/order?") and not any(name in request for name in before)
                for request in asked
            ]
            first_order = news.index(True)  # those that were leaving when it was suspended are too old for the venue
            assert any("positionRisk" in request for request in asked[:first_order]), asked[: first_order + 1]
            await asyncio.sleep(5)
            os.kill(pid, signal.SIGTERM)
            life = await nursery.end()
            assert life.rest is not None, told(one)
            one.audit(life.rest)

    quickly(main)


@pytest.mark.fault("F10")
def test_starved_of_processor_time_it_is_slow_and_not_wrong(tmp_path: Path, struck: Struck) -> None:
    """Stopped and let go in turns, as cpulimit does it: a tenth of a processor, and a lag of seconds."""

    async def main() -> None:
        async with trial(Scene(), tmp_path) as (one, nursery):
            pid = await nursery.begin(one.birth(stays=True))
            for _ in range(60):
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(0.09 * SPEED)
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.01 * SPEED)
                struck("F10")
            await rests(one)
            await asyncio.sleep(5)
            os.kill(pid, signal.SIGTERM)
            life = await nursery.end()
            assert life.rest is not None, told(one)
            one.audit(life.rest)

    quickly(main)


# F8


@asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[tuple[Exchange, Server, Agent, asyncio.Task[None]]]:
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server:
        chosen = portfolio(server)
        dialect = Binance(
            symbols=tuple(chosen.targets.weights), credentials=KEYS, rest_url=server.rest_url, stream_url=server.ws_url
        )
        agent = Agent(chosen, [dialect], folder, tag="ts")
        running = asyncio.create_task(agent.run(asyncio.Event()), name="the agent")
        await until(lambda: at_rest(agent))
        yield exchange, server, agent, running


async def nothing_more(exchange: Exchange, server: Server, folder: Path) -> None:
    """Whatever prices do now, no order comes; no task of the agent is left, and its folder is free."""
    placed = len(exchange.ledger.orders)
    exchange.set_mark("BTCUSDT", "140000")
    server.settle()
    await asyncio.sleep(0.5)
    assert len(exchange.ledger.orders) == placed
    ours = ("chores", "websocket", "writer", "wait for", "call", "shut", "the agent")
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith(ours)] == []
    Journal(folder / "journal.db").close()


@pytest.mark.fault("F8")
@pytest.mark.parametrize(
    "name",
    [
        "chores",
        "websocket public",
        "websocket market",
        "websocket private",
        "writer of market",
        "wait for stop",
        "call",
    ],
)
async def test_a_task_that_is_cancelled_by_a_stranger_ends_the_run(name: str, tmp_path: Path, struck: Struck) -> None:
    async with at_work(tmp_path) as (exchange, server, agent, running):
        if name == "call":
            server.gateway.faults = Faults(delay_ms=300.0)
            agent.tell("resync")
        victims = [task for task in asyncio.all_tasks() if task.get_name().startswith(name)]
        victims[0].cancel()
        struck("F8")
        with pytest.raises(RuntimeError, match="cancelled by a stranger"):
            await asyncio.wait_for(running, 60)
        await nothing_more(exchange, server, tmp_path)


@pytest.mark.fault("F8")
@pytest.mark.parametrize("name", ["chores", "websocket market", "call"])
async def test_a_task_that_dies_of_an_error_ends_the_run(
    name: str, tmp_path: Path, struck: Struck, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Exception):
        pass

    def broken(*_: object) -> None:
        struck("F8")
        raise Broken

    async def broken_call(_call: Call, _wire: object) -> None:
        broken()

    async with at_work(tmp_path) as (exchange, server, agent, running):
        match name:
            case "chores":
                monkeypatch.setattr(agent, "_look_for_kill_file", broken)
            case "websocket market":
                monkeypatch.setattr(agent.desk.channels[0].dialect, "on_frame", broken)
            case "call":
                monkeypatch.setattr(agent.transport, "_ask", broken_call)
                agent.tell("resync")
        with pytest.raises(Broken):
            await asyncio.wait_for(running, 60)
        await nothing_more(exchange, server, tmp_path)


# F9


@pytest.mark.fault("F9")
def test_without_file_descriptors_it_says_so_and_ends_to_be_started_again(tmp_path: Path, struck: Struck) -> None:
    async def main() -> None:
        async with trial(Scene(maker=True), tmp_path) as (one, nursery):
            pid = await nursery.begin(one.birth(stays=True))
            await sent(one)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (5, 5))
            one.venue.disconnect_all()
            one.server.settle()
            life = await nursery.end()
            assert code(life) == 1, told(one)
            struck("F9", told(one).count("no file descriptors are left"))
            await recover(one, nursery)

    quickly(main)
