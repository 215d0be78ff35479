"""Faults that only a socket can show: bytes that are missing, late or too many, and the ways in which a socket ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from adapters.simulator import Exchange, Faults, FrameFault, RequestFault, Server, StillMarket, serve

PATIENCE_S = 20
TIME = "/fapi/v1/time"
MARKS = "/market/ws/btcusdt@markPrice@1s"


@pytest.fixture(autouse=True)
async def patience(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE_S):
        yield
    assert [record for record in caplog.get_records("call") if record.levelname == "ERROR"] == []


@asynccontextmanager
async def server_with(*faults: RequestFault | FrameFault) -> AsyncIterator[Server]:
    plan = Faults(
        requests=tuple(fault for fault in faults if isinstance(fault, RequestFault)),
        frames=tuple(fault for fault in faults if isinstance(fault, FrameFault)),
    )
    async with await serve(Exchange(StillMarket({"BTCUSDT": 80_000})), faults=plan) as server:
        yield server


async def raw(server: Server, path: str = TIME) -> bytes:
    """What comes back on a plain connection until it ends."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {server.host}\r\nConnection: close\r\n\r\n".encode())
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_a_reply_is_cut_at_any_byte() -> None:
    for length in (0, 1, 9, 20, 60, 100, 140, 160):
        async with server_with(RequestFault("cut", byte=length)) as server:
            came = await raw(server)
            assert len(came) == length
            assert came[:12] == b"HTTP/1.1 200"[:length]
            assert server.gateway.counts == {"requests: cut": 1}


async def test_a_client_notices_that_a_body_was_cut() -> None:
    async with server_with(RequestFault("cut", byte=150)) as server, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            async with http.get(server.rest_url + TIME) as reply:
                await reply.read()


async def test_a_reply_drips() -> None:
    async with server_with(RequestFault("drip", ms=10)) as server, aiohttp.ClientSession() as http:
        async with http.get(server.rest_url + TIME) as reply:
            pieces = [piece async for piece in reply.content.iter_any()]
        assert len(pieces) > 10
        assert b"".join(pieces).startswith(b'{"serverTime":')
        assert server.gateway.counts == {"requests: drip": 1}


async def test_a_client_that_gives_up_on_a_dripping_reply_leaves_nothing_behind() -> None:
    async with server_with(RequestFault("drip", ms=500)) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"GET {TIME} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        assert server.gateway.counts == {"requests: drip": 1}


async def test_a_redirect_leads_elsewhere_and_a_page_is_no_answer() -> None:
    for do, status in (("redirect", 302), ("html", 200), ("bad gateway", 502)):
        async with server_with(RequestFault(do)) as server, aiohttp.ClientSession() as http:
            reply = await http.get(server.rest_url + TIME, allow_redirects=False)
            assert (reply.status, reply.content_type) == (status, "text/html")
            assert ("Location" in reply.headers) is (do == "redirect")
            reply.close()


async def test_a_bomb_arrives_packed() -> None:
    async with server_with(RequestFault("bomb")) as server, aiohttp.ClientSession(auto_decompress=False) as http:
        async with http.get(server.rest_url + TIME) as reply:
            body = await reply.read()
        assert reply.headers["Content-Encoding"] == "gzip"
        assert len(body) == int(reply.headers["Content-Length"]) < 2**17


@pytest.mark.parametrize("code", [1001, 1012, 4000])
async def test_a_websocket_is_closed_with_a_code(code: int) -> None:
    async with server_with(FrameFault("disconnect", code=code)) as server, connect(server.ws_url + MARKS) as socket:
        with pytest.raises(ConnectionClosed) as ended:
            await socket.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == code


@pytest.mark.parametrize("fault", [FrameFault("disconnect", code=1006), FrameFault("cut")])
async def test_a_websocket_ends_without_a_closing_frame(fault: FrameFault) -> None:
    async with server_with(fault) as server, connect(server.ws_url + MARKS) as socket:
        with pytest.raises(ConnectionClosed) as ended:
            await socket.recv()
        assert ended.value.rcvd is None


async def test_a_connection_is_reset() -> None:
    async with server_with(FrameFault("reset")) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(
            f"GET {MARKS} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b"101" in await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_half_open_socket_answers_no_ping_and_does_not_end() -> None:
    async with server_with(FrameFault("half open", times=1)) as server:
        async with connect(server.ws_url + MARKS, ping_interval=None, close_timeout=0.1) as socket:
            alive = await socket.ping()
            await alive
            while not server.gateway.counts:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            pong = await socket.ping()
            for silence in (pong, socket.recv()):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(silence, 0.5)
        async with connect(server.ws_url + MARKS) as second:
            assert await second.recv()


async def test_a_muted_socket_answers_pings() -> None:
    async with server_with(FrameFault("mute", ms=60_000)) as server, connect(server.ws_url + MARKS) as socket:
        while not server.gateway.counts:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await (await socket.ping())


@pytest.mark.parametrize(
    ("do", "error"), [("lose", InvalidMessage), ("unavailable", InvalidStatus), ("limit", InvalidStatus)]
)
async def test_a_websocket_is_not_let_in(do: str, error: type[Exception]) -> None:
    async with server_with(RequestFault(do, on="connect", times=1)) as server:
        with pytest.raises(error):
            await connect(server.ws_url + MARKS)
        assert len(server.gateway.knocks) == 1


async def test_a_kept_connection_dies_after_the_request_was_carried_out() -> None:
    """What libraries are tempted to send again: each request arrives once, and the ledger would tell."""
    async with server_with(RequestFault("lose reply", on="time", from_s=0.2)) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        request = f"GET {TIME} HTTP/1.1\r\nHost: {urlsplit(server.rest_url).netloc}\r\n\r\n".encode()
        writer.write(request)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.3)
        writer.write(request)
        with contextlib.suppress(ConnectionResetError):
            assert b"HTTP" not in await reader.read()
        writer.close()
        assert server.gateway.counts == {"requests: lose reply": 1}
