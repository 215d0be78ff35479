"""The face on sockets: it opens, carries, cuts, and closes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from adapters.simulator import (
    Binance,
    Exchange,
    Faults,
    RequestFault,
    SeededMarket,
    Server,
    serve,
)
from adapters.simulator import (
    server as server_module,
)

PATIENCE_S = 20


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_S):
        yield session


async def test_it_listens_on_loopback_alone() -> None:
    async with await serve(Exchange(SeededMarket(1))) as server:
        assert server.host == "127.0.0.1"
        assert server.rest_url == f"http://127.0.0.1:{server.port}"
        assert server.ws_url == f"ws://127.0.0.1:{server.port}"


async def test_requests_and_frames_pass(http: aiohttp.ClientSession) -> None:
    async with await serve(Exchange(SeededMarket(1))) as server:
        async with http.get(f"{server.rest_url}/fapi/v1/time") as reply:
            assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "1"
            assert "serverTime" in await reply.json()
        async with http.get(f"{server.rest_url}/nothing") as reply:
            assert reply.status == 404
        async with http.ws_connect(f"{server.ws_url}/market/ws/btcusdt@markPrice@1s") as socket:
            first = await socket.receive_json()
            assert first["e"] == "markPriceUpdate"
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 9})
            answer = await socket.receive_json()
            assert answer == {"result": ["btcusdt@markPrice@1s"], "id": 9}


async def test_a_loop_that_is_late_gives_a_handle_without_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As uvloop's does, whose ``call_at`` of what is past is a ``call_soon``."""
    async with await serve(Exchange(SeededMarket(1))) as server:
        loop = asyncio.get_running_loop()
        on_time = loop.call_at

        def late(at: float, call: Callable[..., object], *args: Any, **context: Any) -> asyncio.Handle:
            return loop.call_soon(call) if call == server._beat else on_time(at, call, *args, **context)

        monkeypatch.setattr(loop, "call_at", late)
        await asyncio.sleep(2 * server.longest_sleep_s)
        server.settle()


async def test_a_lost_reply_is_a_lost_connection(http: aiohttp.ClientSession) -> None:
    async with await serve(Exchange(SeededMarket(1)), faults=Faults(requests=(RequestFault("lose reply"),))) as server:
        with pytest.raises(aiohttp.ClientError):
            await http.get(f"{server.rest_url}/fapi/v1/time")
        assert server.gateway.counts["requests: lose reply"] >= 1


async def test_sockets_are_closed_from_the_exchanges_side(http: aiohttp.ClientSession) -> None:
    binance = Binance(Exchange(SeededMarket(1)))
    async with await serve(binance) as server:
        socket = await http.ws_connect(f"{server.ws_url}/public/ws/btcusdt@bookTicker")
        await socket.receive_json()
        server.venue.disconnect_all()
        while not socket.closed:
            await socket.receive()
        assert socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
        assert binance.streams.sessions == {}


async def test_a_slow_reader_is_cut_off(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MOST_WAITING_FRAMES", 3)
    binance = Binance(Exchange(SeededMarket(1)))
    async with await serve(binance) as server:
        await http.ws_connect(f"{server.ws_url}/public/ws/btcusdt@bookTicker")
        session = next(iter(binance.streams.sessions.values()))
        binance.streams.outbox.extend((session, b"{}") for _ in range(5))
        server.settle()
        assert server.slow_readers == 1
        assert binance.streams.sessions == {}


async def test_closing_ends_every_connection(http: aiohttp.ClientSession) -> None:
    server: Server = await serve(Exchange(SeededMarket(1)))
    socket = await http.ws_connect(f"{server.ws_url}/market/ws")
    await server.close()
    assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    with pytest.raises(aiohttp.ClientError):
        await http.get(f"{server.rest_url}/fapi/v1/time")


async def test_its_clock_is_the_one_it_is_given(http: aiohttp.ClientSession) -> None:
    noon = 1_790_000_000
    server = await serve(Exchange(SeededMarket(1)), clock=lambda: noon * 10**9)
    async with server, http.get(f"{server.rest_url}/fapi/v1/time") as reply:
        assert await reply.json() == {"serverTime": noon * 1_000}
        assert reply.headers["Date"] == "Mon, 21 Sep 2026 14:13:20 GMT"
