"""Real sockets on loopback: a websocket ends in one `Closed`, a call is sent once and ends in `Answer` or `Silence`."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gzip
import logging
import random
import socket
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import structs
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as Upgrade
from websockets.http11 import Response as Refusal
from websockets.utils import accept_key
from yarl import URL

from agent import transport as module
from agent.core.desk import Answer, Closed, Frame, Input, Opened, Silence
from agent.core.venue import Ask, Call, Open, Say, Shut, What
from agent.transport import Transport
from tests.faults.striking import Struck

CANARY = "canary-3a77"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
HANG_S = 30
"""A test that waits so long for something hangs."""

Main = Callable[[], Coroutine[Any, Any, None]]
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a test's coroutine on the loop that is asked for."""

    def runner(main: Main) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as loop:
            loop.run(asyncio.wait_for(main(), HANG_S))

    return runner


class Inbox:
    """Takes inputs and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.all: list[Input] = []
        self._queue: asyncio.Queue[Input] = asyncio.Queue()

    def take(self, news: Input) -> None:
        self.all.append(news)
        self._queue.put_nowait(news)

    async def next(self) -> Input:
        return await self._queue.get()

    def rest(self) -> list[Input]:
        found = []
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        return found


@contextlib.asynccontextmanager
async def wired(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Transport, Inbox]]:
    """A transport and what it tells; whatever fails in it fails the test."""
    inbox = Inbox()
    transport = Transport(inbox.take, tls)
    try:
        yield transport, inbox
    finally:
        await transport.close(grace_s=0)
    if transport.failed.done():
        transport.failed.result()


@contextlib.asynccontextmanager
async def raw(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A TCP server that does whatever ``peer`` does, and then hangs up; gives its port."""
    served: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served[writer] = asyncio.current_task()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await peer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve_one, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer, task in served.items():
            if task is not None:
                task.cancel()
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in served), return_exceptions=True)
        await server.wait_closed()


@contextlib.asynccontextmanager
async def http(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """An HTTP server where every path is ``handler``'s; gives its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def open_(url: str, name: str = "public") -> Open:
    return Open(socket=name, url=url, quiet_ns=None)


def call(url: str, method: str = "GET", tag: int = 1, timeout_ms: int = 20_000, body: bytes = b"") -> Call:
    return Call(
        tag=tag,
        request=Ask(what=What.TIME),
        method=method,
        url=url,
        headers=(("X-Key", "k"),),
        body=body,
        timeout_ms=timeout_ms,
    )


async def request_of(reader: asyncio.StreamReader) -> str:
    """The next request on a connection, without a body."""
    return (await reader.readuntil(b"\r\n\r\n")).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Websockets


def test_a_session_from_open_to_close(run: Callable[[Main], None]) -> None:
    heard: list[str | bytes] = []

    async def peer(ws: ServerConnection) -> None:
        heard.append(await ws.recv())
        heard.append(await ws.recv())
        await ws.send('{"text":"ü"}')
        await ws.send(b"\x00binary")
        await ws.close(1001, "going home")

    async def main() -> None:
        async with serve(peer, "127.0.0.1", 0) as server, wired() as (transport, inbox):
            port = server.sockets[0].getsockname()[1]
            transport.do(open_(f"ws://127.0.0.1:{port}/ws"))
            assert await inbox.next() == Opened("public")
            transport.do(Say("public", "first"))
            transport.do(Say("public", "second"))
            assert await inbox.next() == Frame("public", '{"text":"ü"}'.encode())
            assert await inbox.next() == Frame("public", b"\x00binary")
            closed = await inbox.next()
            assert isinstance(closed, Closed)
            assert not closed.fatal
            assert "1001" in closed.reason
            transport.do(Say("public", "too late"))
            transport.do(Shut("public", "too late as well"))
        assert inbox.rest() == []
        assert heard == ["first", "second"]

    run(main)


def test_the_handshake_is_plain(run: Callable[[Main], None], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    seen: list[Upgrade] = []

    async def peer(ws: ServerConnection) -> None:
        assert ws.request is not None
        seen.append(ws.request)
        await ws.wait_closed()

    async def main() -> None:
        async with serve(peer, "127.0.0.1", 0) as server, wired() as (transport, inbox):
            way = open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws")
            transport.do(structs.replace(way, headers=(("X-Sign", "signed"),)))
            assert await inbox.next() == Opened("public")
        assert seen[0].headers["User-Agent"] == "trimtab"
        assert seen[0].headers["X-Sign"] == "signed", "where a venue signs the handshake"
        assert "Sec-WebSocket-Extensions" not in seen[0].headers

    run(main)


def test_what_can_t_be_opened_is_closed(run: Callable[[Main], None]) -> None:
    async def busy(ws: ServerConnection, request: Upgrade) -> Refusal:
        return ws.respond(429, "slow down")

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()

    async def never(ws: ServerConnection) -> None:
        raise AssertionError

    async def main() -> None:
        async with (
            serve(never, "127.0.0.1", 0, process_request=busy) as server,
            raw(silent) as hangs_up,
            wired() as (transport, inbox),
        ):
            for url, reason, fatal in (
                (f"ws://127.0.0.1:{free_port()}/{CANARY}", "", False),
                (f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/{CANARY}", "429", False),
                (f"ws://127.0.0.1:{hangs_up}/{CANARY}", "", False),
                (f"http://127.0.0.1/{CANARY}", "not the address of a websocket", True),
                (f"ws://127.0.0.1:99999/{CANARY}", "", False),
            ):
                transport.do(open_(url))
                closed = await inbox.next()
                assert isinstance(closed, Closed), url
                assert reason in closed.reason
                assert closed.fatal == fatal
                assert closed.reason
                assert CANARY not in closed.reason
        assert inbox.rest() == []

    run(main)


@pytest.mark.fault("C20", "C21")
def test_no_redirect_is_followed(run: Callable[[Main], None], struck: Struck) -> None:
    visited: list[str] = []

    async def peer(ws: ServerConnection) -> None:
        raise AssertionError

    async def redirect(ws: ServerConnection, request: Upgrade) -> Refusal:
        visited.append(request.path)
        response = ws.respond(302, "")
        response.headers["Location"] = "/elsewhere"
        return response

    async def main() -> None:
        async with serve(peer, "127.0.0.1", 0, process_request=redirect) as server, wired() as (transport, inbox):
            transport.do(open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/here"))
            closed = await inbox.next()
            assert isinstance(closed, Closed)
            assert "302" in closed.reason
        assert visited == ["/here"]

    run(main)
    struck("C20", len(visited))
    struck("C21", len(visited))


def test_a_peer_that_vanishes_ends_the_session_once(run: Callable[[Main], None]) -> None:
    async def peer(ws: ServerConnection) -> None:
        await ws.send("one")
        ws.transport.abort()

    async def main() -> None:
        async with serve(peer, "127.0.0.1", 0) as server, wired() as (transport, inbox):
            transport.do(open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            told = [await inbox.next() for _ in range(2)]
            assert told[0] == Opened("public")
            if told[1] == Frame("public", b"one"):
                told.append(await inbox.next())
            assert isinstance(told[-1], Closed)
        assert inbox.rest() == []

    run(main)


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A websocket that shakes hands, says 100 things, and from then on answers nothing, not even a farewell."""
    headers = (await request_of(reader)).splitlines()
    key = next(line.partition(": ")[2] for line in headers if line.startswith("Sec-WebSocket-Key"))
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
    )
    writer.write(b"".join(b"\x81\x02%02d" % n for n in range(100)))
    await asyncio.Event().wait()


def test_a_peer_that_answers_no_ping_is_dead(run: Callable[[Main], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING_S", 0.02)
    monkeypatch.setattr(module, "CLOSE_S", 0.02)

    async def main() -> None:
        async with raw(mute) as port, wired() as (transport, inbox):
            transport.do(open_(f"ws://127.0.0.1:{port}"))
            assert await inbox.next() == Opened("public")
            assert [await inbox.next() for _ in range(100)][-1] == Frame("public", b"99")
            closed = await inbox.next()
            assert isinstance(closed, Closed)
            assert "ping" in closed.reason
        assert inbox.rest() == []

    run(main)


def test_a_frame_that_is_too_large_ends_the_session(
    run: Callable[[Main], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_FRAME", 1000)

    async def peer(ws: ServerConnection) -> None:
        await ws.send(b"x" * 1000)
        await ws.send(b"x" * 1001)
        await ws.wait_closed()

    async def main() -> None:
        async with serve(peer, "127.0.0.1", 0) as server, wired() as (transport, inbox):
            transport.do(open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            assert await inbox.next() == Opened("public")
            assert await inbox.next() == Frame("public", b"x" * 1000)
            closed = await inbox.next()
            assert isinstance(closed, Closed)
            assert "1009" in closed.reason

    run(main)


def test_shut_frees_the_name_and_silences_the_old_session(
    run: Callable[[Main], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.05)

    async def main() -> None:
        told: list[Input] = []
        enough = asyncio.Event()

        def take(news: Input) -> None:
            told.append(news)
            if news == Frame("public", b"03") and len(told) < 10:  # from within, with frames waiting to be told
                transport.do(Shut("public", "enough of it"))
                transport.do(open_(url))
            if news == Frame("public", b"99"):
                enough.set()

        async with raw(mute) as port:
            url = f"ws://127.0.0.1:{port}"
            transport = Transport(take)
            transport.do(open_(url))
            await enough.wait()
            await transport.close()
        assert not transport.failed.done()
        assert told == [
            Opened("public"),
            *(Frame("public", b"%02d" % n) for n in range(4)),
            Closed("public", "enough of it"),
            Opened("public"),
            *(Frame("public", b"%02d" % n) for n in range(100)),
            Closed("public", "shutting down"),
        ]

    run(main)


def test_frames_that_wait_leave_everything_else_its_turn(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        told: list[Input] = []
        enough = asyncio.Event()
        turns: list[int] = []

        def take(news: Input) -> None:
            told.append(news)
            if news == Frame("public", b"99"):
                enough.set()

        def turn() -> None:
            turns.append(len(told))
            if not enough.is_set():
                asyncio.get_running_loop().call_soon(turn)

        async with raw(mute) as port:
            transport = Transport(take)
            transport.do(open_(f"ws://127.0.0.1:{port}"))
            turn()
            await enough.wait()
            await transport.close()
        most = max(later - earlier for earlier, later in pairwise(turns))
        assert 1 <= most <= module.TURN + 1  # and the word that it is open

    run(main)


def test_shut_while_opening(run: Callable[[Main], None]) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()

    connected = asyncio.Event()

    async def main() -> None:
        async with raw(hang) as port, wired() as (transport, inbox):
            transport.do(open_(f"ws://127.0.0.1:{port}"))
            await connected.wait()
            transport.do(Say("public", "not open: dropped"))
            transport.do(Shut("public", "changed my mind"))
            assert await inbox.next() == Closed("public", "changed my mind")
            transport.do(open_(f"ws://127.0.0.1:{port}"))
            transport.do(Shut("public", "before it began"))
            assert await inbox.next() == Closed("public", "before it began")
        assert inbox.rest() == []

    run(main)


def test_opening_anew_gives_up_what_is_still_opening(run: Callable[[Main], None]) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def peer(ws: ServerConnection) -> None:
        await ws.wait_closed()

    async def main() -> None:
        async with raw(hang) as port, serve(peer, "127.0.0.1", 0) as server, wired() as (transport, inbox):
            transport.do(open_(f"ws://127.0.0.1:{port}"))
            transport.do(open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            assert await inbox.next() == Opened("public")
        assert inbox.rest() == [Closed("public", "shutting down")]

    run(main)


def test_what_take_raises_stops_everything(run: Callable[[Main], None]) -> None:
    async def peer(ws: ServerConnection) -> None:
        for n in range(10):
            await ws.send(str(n))
        await ws.wait_closed()

    async def main() -> None:
        told: list[Input] = []

        def take(news: Input) -> None:
            told.append(news)
            if isinstance(news, Frame):
                raise OSError("the engine is broken")  # no kind of exception is taken for the network's

        async with serve(peer, "127.0.0.1", 0) as server:
            transport = Transport(take)
            transport.do(open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            with pytest.raises(OSError, match="broken"):
                await transport.failed
            transport.do(open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", "another"))
            await transport.close()
        assert told == [Opened("public"), Frame("public", b"0")]

    run(main)


# TLS


class Authority:
    """A certificate authority that nobody trusts unless told to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._sign(self._name, self._key.public_key(), authority=True)

    def trusted(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode())
        return context

    def server(self, address: str = "127.0.0.1", *, expired: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for ``address``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._sign(subject, key.public_key(), names=names, expired=expired)
        pem = self._folder / f"{address}.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        authority: bool = False,
        names: x509.SubjectAlternativeName | None = None,
        expired: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=30 * expired)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.mark.fault("C19")
def test_websockets_verify_certificates(run: Callable[[Main], None], authority: Authority, struck: Struck) -> None:
    async def peer(ws: ServerConnection) -> None:
        await ws.wait_closed()

    async def main() -> None:
        async with (
            serve(peer, "127.0.0.1", 0, ssl=authority.server()) as good,
            serve(peer, "127.0.0.1", 0, ssl=authority.server("127.0.0.9")) as other,
            serve(peer, "127.0.0.1", 0, ssl=authority.server(expired=True)) as old,
        ):
            right, wrong, late = (
                f"wss://127.0.0.1:{s.sockets[0].getsockname()[1]}/{CANARY}" for s in (good, other, old)
            )
            async with wired(authority.trusted()) as (transport, inbox):
                transport.do(open_(right))
                assert await inbox.next() == Opened("public")
                transport.do(open_(wrong, "wrong host"))
                await expect_fatal(inbox)
                transport.do(open_(late, "expired"))
                await expect_fatal(inbox)
            async with wired() as (transport, inbox):
                transport.do(open_(right))
                await expect_fatal(inbox)

    async def expect_fatal(inbox: Inbox) -> None:
        closed = await inbox.next()
        assert isinstance(closed, Closed)
        assert closed.fatal
        assert closed.reason.startswith("certificate: ")
        struck("C19")

    run(main)


@pytest.mark.fault("C19")
def test_requests_verify_certificates(run: Callable[[Main], None], authority: Authority, struck: Struck) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await request_of(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    arrived: list[str] = []

    async def main() -> None:
        async with (
            raw(peer, authority.server()) as good,
            raw(peer, authority.server("127.0.0.9")) as other,
            raw(peer, authority.server(expired=True)) as old,
        ):
            async with wired(authority.trusted()) as (transport, inbox):
                transport.do(call(f"https://127.0.0.1:{good}/"))
                answer = await inbox.next()
                assert isinstance(answer, Answer)
                assert answer.reply.body == b"ok"
                for port in (other, old):
                    transport.do(call(f"https://127.0.0.1:{port}/"))
                    expect_unsent(await inbox.next())
            async with wired() as (transport, inbox):
                transport.do(call(f"https://127.0.0.1:{good}/"))
                expect_unsent(await inbox.next())
        assert len(arrived) == 1

    def expect_unsent(silence: Input) -> None:
        assert isinstance(silence, Silence)
        assert not silence.sent
        assert silence.reason.startswith("certificate: ")
        struck("C19")

    run(main)


def test_verification_can_t_be_switched_off(run: Callable[[Main], None]) -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False

    async def main() -> None:
        with pytest.raises(AssertionError):
            Transport(print, careless)
        careless.verify_mode = ssl.CERT_NONE
        with pytest.raises(AssertionError):
            Transport(print, careless)

    run(main)


# Requests


def test_a_call_arrives_as_it_was_signed_and_is_answered(run: Callable[[Main], None]) -> None:
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        return web.Response(
            status=418, body=b'{"code":1}', headers={"X-MBX-Used-Weight": "7", "Set-Cookie": "session=1; Path=/"}
        )

    query = "/fapi/v1/order?symbol=BTCUSDT&b=%2f%2B+x&a=1&signature=Ab%3D"

    async def main() -> None:
        async with http(handler) as base, wired() as (transport, inbox):
            for tag, method in enumerate(("GET", "POST", "PUT", "DELETE")):
                transport.do(call(base + query, method, tag, body=b"a=1&b=2" if method == "POST" else b""))
                answer = await inbox.next()
                assert isinstance(answer, Answer)
                assert answer.call == tag
                assert answer.reply.status == 418
                assert answer.reply.headers["x-mbx-used-weight"] == "7"
                assert answer.reply.body == b'{"code":1}'
        assert [(method, path) for method, path, _, _ in seen] == [(m, query) for m in ("GET", "POST", "PUT", "DELETE")]
        assert [body for _, _, _, body in seen] == [b"", b"a=1&b=2", b"", b""]
        for _, _, headers, _ in seen:
            assert headers["X-Key"] == "k"
            assert headers["User-Agent"] == "trimtab"
            assert not {"Cookie", "Content-Type"} & set(headers), "no cookies; no type that the dialect did not give"

    run(main)


@pytest.mark.fault("C20", "C21")
def test_a_redirect_is_an_answer(run: Callable[[Main], None], struck: Struck) -> None:
    visited: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        visited.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async def main() -> None:
        async with http(handler) as base, wired() as (transport, inbox):
            transport.do(call(f"{base}/here"))
            answer = await inbox.next()
            assert isinstance(answer, Answer)
            assert answer.reply.status == 307
        assert visited == ["/here"]

    run(main)
    struck("C20", len(visited))
    struck("C21", len(visited))


@pytest.mark.fault("C21")
def test_a_reply_that_repeats_key_and_signature_is_told_without_them(
    run: Callable[[Main], None], struck: Struck
) -> None:
    signature = "bXkgc2lnbmF0dXJl/2lz+A=="

    async def handler(request: web.Request) -> web.Response:
        sent = f"{request.raw_path} {request.headers['X-Key']} {request.query['signature']}"
        return web.Response(status=404, text=f"<p>{sent}</p>", headers={"Location": f"http://other{request.raw_path}"})

    async def main() -> None:
        async with http(handler) as base, wired() as (transport, inbox):
            asked = call(f"{base}/order?symbol=X&signature={quote(signature, safe='')}")
            transport.do(structs.replace(asked, headers=(("X-Key", "a-key-of-64-characters"),)))
            answer = await inbox.next()
            assert isinstance(answer, Answer)
            path = "/order?symbol=X&signature=(concealed)"
            assert answer.reply.body.decode() == f"<p>{path} (concealed) (concealed)</p>"
            assert answer.reply.headers["location"] == f"http://other{path}"

    run(main)
    struck("C21")


def test_what_is_no_secret_in_a_head_stays_in_its_reply(run: Callable[[Main], None]) -> None:
    stamp = "1764505776347"

    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"time": int(stamp)})

    async def main() -> None:
        async with http(handler) as base, wired() as (transport, inbox):
            headers = (("X-Timestamp", stamp), ("Content-Type", "application/json"))
            transport.do(structs.replace(call(f"{base}/order"), headers=headers))
            answer = await inbox.next()
            assert isinstance(answer, Answer)
            assert answer.reply.body.decode() == f'{{"time": {stamp}}}', "the venue answers in the same millisecond"
            assert answer.reply.headers["content-type"].startswith("application/json")

    run(main)


@pytest.mark.parametrize(
    ("encoding", "body", "plain"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0), b"hello"),
        ("GZIP", gzip.compress(b"", mtime=0), b""),
        ("identity", b"hello", b"hello"),
        ("gzip", gzip.compress(bytes(5_000), mtime=0), None),
        ("gzip", gzip.compress(b"hello" * 100, mtime=0)[:-9], None),
        ("gzip", gzip.compress(b"hello", mtime=0) + b"more", None),
        ("gzip", b"not gzip", None),
        ("br", b"anything", None),
        ("identity", bytes(4_001), None),
        ("identity", bytes(4_000), bytes(4_000)),
    ],
)
@pytest.mark.fault("C20")
def test_bodies_are_decompressed_within_bounds(
    encoding: str,
    body: bytes,
    plain: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[Main], None],
    struck: Struck,
) -> None:
    monkeypatch.setattr(module, "LARGEST_BODY", 4_000)

    async def handler(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "gzip"
        struck("C20")
        return web.Response(body=body, headers={"Content-Encoding": encoding})

    async def main() -> None:
        async with http(handler) as base, wired() as (transport, inbox):
            transport.do(call(f"{base}/"))
            ending = await inbox.next()
            if plain is None:
                assert isinstance(ending, Silence)
                assert ending.sent, "it was answered, so it was sent"
            else:
                assert isinstance(ending, Answer)
                assert ending.reply.body == plain

    run(main)


def test_what_never_left_is_known_never_to_have_left(
    run: Callable[[Main], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECT_S", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello.append(await reader.read(1))
        await reader.read()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 no TLS here\r\n\r\n")

    hello: list[bytes] = []

    async def main() -> None:
        async with raw(hang) as hanging, raw(plain) as wrong, wired() as (transport, inbox):
            for url, timeout_ms in (
                (f"http://127.0.0.1:{free_port()}/{CANARY}", 20_000),
                (f"https://127.0.0.1:{hanging}/{CANARY}", 20_000),
                (f"https://127.0.0.1:{hanging}/{CANARY}", 50),
                (f"https://127.0.0.1:{wrong}/{CANARY}", 20_000),
                (f"ftp://127.0.0.1/{CANARY}", 20_000),
                (f"http://127.0.0.1:99999/{CANARY}", 20_000),
            ):
                transport.do(call(url, "POST", timeout_ms=timeout_ms))
                silence = await inbox.next()
                assert isinstance(silence, Silence), url
                assert not silence.sent, url
                assert silence.reason
                assert CANARY not in silence.reason
        assert hello == [b"\x16", b"\x16"], "a TLS greeting is not the request"

    run(main)


@pytest.mark.fault("C18")
async def test_a_name_that_can_t_be_found_was_not_sent_to(monkeypatch: pytest.MonkeyPatch, struck: Struck) -> None:
    def nowhere(*_: object, **__: object) -> None:
        struck("C18")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    async with wired() as (transport, inbox):
        transport.do(call(f"https://exchange.test/{CANARY}"))
        silence = await inbox.next()
        assert silence == Silence(call=1, sent=False, reason="no connection: Name or service not known")


@pytest.mark.fault("C2", "C22")
def test_whatever_may_have_left_counts_as_sent(run: Callable[[Main], None], struck: Struck) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await request_of(reader)).split()[1]
        struck("C22" if "/drip/" in path else "C2")
        match path.split("/")[1]:
            case "timeout":
                await reader.read()
            case "drip":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not reader.at_eof():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            case "short":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
                writer.close()
            case "hang-up":
                writer.close()
            case "reset":
                writer.transport.abort()
            case "nonsense":
                writer.write(b"\x00\x01\x02 nonsense\r\n\r\n")
            case "headers":
                writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")

    async def main() -> None:
        async with raw(peer) as port, wired() as (transport, inbox):
            for path in ("timeout", "drip", "short", "hang-up", "reset", "nonsense", "headers"):
                transport.do(call(f"http://127.0.0.1:{port}/{path}/{CANARY}?{CANARY}", "DELETE", timeout_ms=300))
                silence = await inbox.next()
                assert isinstance(silence, Silence), path
                assert silence.sent, path
                assert silence.reason
                assert CANARY not in silence.reason

    run(main)


@pytest.mark.fault("C2")
def test_wherever_a_connection_is_cut_the_request_was_sent_once_and_its_outcome_is_open(
    run: Callable[[Main], None], struck: Struck
) -> None:
    reply = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"ok":true}'
    arrived: Counter[tuple[int, int]] = Counter()
    read_bytes = written = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived[read_bytes, written] += 1
        await reader.readexactly(read_bytes)
        if written:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply[:written])
            await writer.drain()
            writer.close()
        else:
            writer.transport.abort()
        struck("C2")

    async def main() -> None:
        nonlocal read_bytes, written
        async with raw(peer) as port, wired() as (transport, inbox):
            for read_bytes, written in [(n, 0) for n in range(0, 100, 7)] + [(0, n) for n in range(1, len(reply))]:
                transport.do(call(f"http://127.0.0.1:{port}/order", "POST"))
                silence = await inbox.next()
                assert isinstance(silence, Silence), (read_bytes, written, silence)
                assert silence.sent
        assert set(arrived.values()) == {1}

    run(main)


@pytest.mark.fault("C22")
def test_a_server_that_says_nothing_or_drips_is_left_in_time(
    run: Callable[[Main], None], monkeypatch: pytest.MonkeyPatch, struck: Struck
) -> None:
    monkeypatch.setattr(module, "READ_S", 0.2)

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await request_of(reader)).split()[1]
        struck("C22")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while path == "/drips" and not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)
        await reader.read()

    async def main() -> None:
        async with raw(peer) as port, wired() as (transport, inbox):
            transport.do(call(f"http://127.0.0.1:{port}/silent", timeout_ms=1_000 * HANG_S))
            assert isinstance(await inbox.next(), Silence), "long before the whole call's time is over"
            transport.do(call(f"http://127.0.0.1:{port}/drips", timeout_ms=500))
            assert isinstance(await inbox.next(), Silence), "however little comes, the whole is bounded"

    run(main)


# Names


class Names:
    """What the system's name server says, as a test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts: dict[str, list[str]] = {}
        self.asked = 0
        self.families: set[int] = set()
        self._hang = threading.Event()
        self._plain = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look)

    def hang(self) -> None:
        """From now on it doesn't answer; `release` ends that."""
        self.hosts.clear()
        self._hang.clear()

    def release(self) -> None:
        self._hang.set()

    def _look(self, host: str | bytes | None, port: int, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if not name.endswith(".test"):
            return self._plain(host, port, *args, **options)
        self.asked += 1
        self.families.add(options.get("family", args[0] if args else socket.AF_UNSPEC))
        if name not in self.hosts:
            self._hang.wait(HANG_S)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.hosts[name]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names(monkeypatch)
    yield found
    found.release()


@contextlib.contextmanager
def black_hole(port: int) -> Iterator[str]:
    """An address at which nobody ever answers, and nobody refuses: a backlog that is full."""
    with socket.socket() as hole, contextlib.ExitStack() as waiting:
        hole.bind(("127.0.0.66", port))
        hole.listen(0)
        for _ in range(3):
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.66", port))
        yield "127.0.0.66"


@pytest.mark.fault("C18")
async def test_while_names_are_not_found_the_last_addresses_stand_in(
    names: Names, monkeypatch: pytest.MonkeyPatch, struck: Struck
) -> None:
    monkeypatch.setattr(module, "LOOKUP_S", 0.1)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(headers={"Connection": "close"})

    names.hosts["exchange.test"] = ["127.0.0.1"]
    async with http(handler) as base, wired() as (transport, inbox):
        url = base.replace("127.0.0.1", "exchange.test")
        transport.do(call(url))
        assert isinstance(await inbox.next(), Answer)
        names.hang()
        before = names.asked
        connector = transport._http.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        connector.clear_dns_cache()
        transport.do(call(url, "POST"))
        assert isinstance(await inbox.next(), Answer)
        struck("C18", names.asked - before)
        names.release()


@pytest.mark.parametrize(("ipv4", "family"), [(True, socket.AF_INET), (False, socket.AF_UNSPEC)])
async def test_where_a_key_is_bound_to_ipv4_nothing_leaves_otherwise(names: Names, ipv4: bool, family: int) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    names.hosts["exchange.test"] = ["127.0.0.1"]
    inbox = Inbox()
    async with http(handler) as base:
        transport = Transport(inbox.take, ipv4=ipv4)
        url = base.replace("127.0.0.1", "exchange.test")
        transport.do(call(url))
        assert isinstance(await inbox.next(), Answer)
        transport.do(open_(url.replace("http", "ws")))
        assert isinstance(await inbox.next(), Closed), "it speaks no websocket, but was found"
        await transport.close(grace_s=0)
    assert names.asked == 2
    assert names.families == {family}


@pytest.mark.fault("C18")
async def test_a_slow_name_server_costs_two_seconds_and_proves_that_nothing_was_sent(
    names: Names, monkeypatch: pytest.MonkeyPatch, struck: Struck
) -> None:
    monkeypatch.setattr(module, "LOOKUP_S", 0.1)
    names.hang()
    async with wired() as (transport, inbox):
        transport.do(call(f"https://exchange.test/{CANARY}", "POST", timeout_ms=1_000 * HANG_S))
        silence = await inbox.next()
        assert silence == Silence(call=1, sent=False, reason="no connection: the name is not found in time")
        transport.do(open_(f"wss://exchange.test/{CANARY}"))
        closed = await inbox.next()
        assert closed == Closed("public", "the name is not found in time")
        struck("C18", names.asked)
        names.release()


@pytest.mark.fault("C18")
async def test_an_address_that_leads_nowhere_is_passed_over(
    names: Names, monkeypatch: pytest.MonkeyPatch, struck: Struck
) -> None:
    monkeypatch.setattr(module, "DIAL_S", 0.2)

    async def peer(ws: ServerConnection) -> None:
        await ws.wait_closed()

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async with serve(peer, "127.0.0.1", 0) as server, http(handler) as base, wired() as (transport, inbox):
        port = server.sockets[0].getsockname()[1]
        with black_hole(port) as nowhere:
            names.hosts["exchange.test"] = [nowhere, "127.0.0.1"]
            transport.do(open_(f"ws://exchange.test:{port}"))
            assert await inbox.next() == Opened("public")
        rest = URL(base).port
        assert rest is not None
        with black_hole(rest) as nowhere:
            names.hosts["rest.test"] = [nowhere, "127.0.0.1"]
            transport.do(call(f"http://rest.test:{rest}/"))
            assert isinstance(await inbox.next(), Answer)
        struck("C18", names.asked)


def test_a_connection_on_which_nothing_can_be_said_is_given_up(run: Callable[[Main], None]) -> None:
    async def peer(ws: ServerConnection) -> None:
        async for _ in ws:
            pass

    async def main() -> None:
        async with serve(peer, "127.0.0.1", 0) as server, wired() as (transport, inbox):
            transport.do(open_(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
            assert await inbox.next() == Opened("public")
            for _ in range(module.SAYS + 1):  # in one breath: the writer has had no turn yet
                transport.do(Say("public", "words"))
            assert await inbox.next() == Closed("public", f"{module.SAYS} messages wait to be sent")

    run(main)


class Grave:
    """A server that answers the first request on a connection and dies with the second, having read it."""

    def __init__(self) -> None:
        self.arrived: list[str] = []

    async def peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.arrived.append((await request_of(reader)).splitlines()[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.arrived.append((await request_of(reader)).splitlines()[0])
        writer.transport.abort()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
@pytest.mark.fault("C4")
def test_a_request_on_a_connection_that_dies_is_sent_exactly_once(
    run: Callable[[Main], None], method: str, struck: Struck
) -> None:
    async def main() -> None:
        grave = Grave()
        async with raw(grave.peer) as port, wired() as (transport, inbox):
            transport.do(call(f"http://127.0.0.1:{port}/warm-up"))
            assert isinstance(await inbox.next(), Answer)
            transport.do(call(f"http://127.0.0.1:{port}/order", method))
            silence = await inbox.next()
            assert isinstance(silence, Silence)
            assert silence.sent
        assert grave.arrived == ["GET /warm-up HTTP/1.1", f"{method} /order HTTP/1.1"]
        struck("C4", len(grave.arrived) - 1)

    run(main)


@pytest.mark.fault("C4")
def test_without_the_switch_the_library_would_send_twice(run: Callable[[Main], None], struck: Struck) -> None:
    async def main() -> None:
        grave = Grave()
        async with raw(grave.peer) as port, wired() as (transport, inbox):
            assert transport._http._retry_connection is False, "the switch is still there, and off"
            transport._http._retry_connection = True
            transport.do(call(f"http://127.0.0.1:{port}/warm-up"))
            assert isinstance(await inbox.next(), Answer)
            transport.do(call(f"http://127.0.0.1:{port}/order", "DELETE"))
            await inbox.next()
        assert grave.arrived.count("DELETE /order HTTP/1.1") == 2
        struck("C4")

    run(main)


def test_take_that_raises_on_an_answer_is_not_a_silence(run: Callable[[Main], None]) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async def main() -> None:
        told: list[Input] = []

        def take(news: Input) -> None:
            told.append(news)
            raise ValueError("the engine is broken")

        async with http(handler) as base:
            transport = Transport(take)
            transport.do(call(base))
            transport.do(call(base, tag=2))
            with pytest.raises(ValueError, match="broken"):
                await transport.failed
            await transport.close()
        assert len(told) == 1, "after a failure nothing more is told"

    run(main)


def test_a_mistake_of_ours_is_not_blamed_on_the_network(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        inbox = Inbox()
        transport = Transport(inbox.take)
        transport.do(structs.replace(call("http://127.0.0.1/"), method=None))
        with pytest.raises(AttributeError):
            await transport.failed
        await transport.close()
        assert inbox.all == []

    run(main)


def test_closing_waits_for_answers_and_then_gives_up(run: Callable[[Main], None]) -> None:
    release = asyncio.Event()
    arrived = asyncio.Semaphore(0)

    async def handler(request: web.Request) -> web.Response:
        arrived.release()
        await (release if request.path == "/soon" else asyncio.Event()).wait()
        return web.Response(text="late but here")

    async def main() -> None:
        async with http(handler) as base:
            inbox = Inbox()
            transport = Transport(inbox.take)
            transport.do(call(f"{base}/soon", tag=1))
            transport.do(call(f"{base}/never", tag=2))
            await arrived.acquire()
            await arrived.acquire()
            closing = asyncio.create_task(transport.close(grace_s=0.2))
            await asyncio.sleep(0)
            transport.do(call(f"{base}/too-late", tag=3))
            transport.do(open_("ws://127.0.0.1:1/"))
            release.set()
            await closing
            answer, silence = inbox.rest()
            assert isinstance(answer, Answer)
            assert answer.call == 1
            assert silence == Silence(call=2, sent=True, reason="shutting down")
            assert not transport.failed.done()

    run(main)


def test_a_call_outlives_the_task_that_asked_for_it(run: Callable[[Main], None]) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        arrived.set()
        await release.wait()
        return web.Response()

    async def main() -> None:
        async with http(handler) as base, wired() as (transport, inbox):

            async def asking() -> None:
                transport.do(call(base, "POST"))
                await asyncio.Event().wait()

            caller = asyncio.create_task(asking())
            await arrived.wait()
            caller.cancel()
            await asyncio.wait([caller])
            release.set()
            assert isinstance(await inbox.next(), Answer)

    run(main)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.fault("C2")
def test_every_call_has_exactly_one_ending(run: Callable[[Main], None], seed: int, struck: Struck) -> None:
    rng = random.Random(seed)
    arrived: dict[str, int] = {}

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await request_of(reader)).split()[1]
            arrived[path] = arrived.get(path, 0) + 1
            fate = rng.random()
            if fate < 0.3:
                struck("C2")
            if fate < 0.1:
                writer.transport.abort()
                return
            if fate < 0.2:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                writer.close()
                return
            if fate < 0.3:
                continue
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
            if fate < 0.4:
                writer.close()
                return

    async def main() -> None:
        async with raw(peer) as port, wired() as (transport, inbox):
            for tag in range(100):
                method = rng.choice(("GET", "POST", "PUT", "DELETE"))
                transport.do(call(f"http://127.0.0.1:{port}/{tag}", method, tag, timeout_ms=500))
                if rng.random() < 0.3:
                    await asyncio.sleep(0.001)
            endings = [await inbox.next() for _ in range(100)]
            assert inbox.rest() == []
        assert sorted(e.call for e in endings if isinstance(e, Answer | Silence)) == list(range(100))
        assert set(arrived.values()) == {1}
        for ending in endings:
            if isinstance(ending, Silence) and not ending.sent:
                assert f"/{ending.call}" not in arrived

    run(main)


# What must not be seen


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.mark.fault("C21")
def test_no_address_is_ever_logged(
    run: Callable[[Main], None],
    everything_logged: pytest.LogCaptureFixture,
    authority: Authority,
    struck: Struck,
) -> None:
    async def peer(ws: ServerConnection) -> None:
        await ws.send("hello")
        await ws.close()

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/x"})

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)

    async def main() -> None:
        asyncio.get_running_loop().set_debug(True)
        quiet = logging.getLogger("peer")
        quiet.setLevel(logging.WARNING)
        async with (
            serve(peer, "127.0.0.1", 0, logger=quiet) as server,
            http(handler) as base,
            raw(hang_up) as gone,
            raw(hang_up, authority.server()) as untrusted,
            wired() as (transport, inbox),
        ):
            port = server.sockets[0].getsockname()[1]
            for url in (f"ws://127.0.0.1:{port}/ws/{CANARY}", f"ws://127.0.0.1:{free_port()}/{CANARY}", f"ws:{CANARY}"):
                transport.do(open_(url))
                while not isinstance(await inbox.next(), Closed):
                    pass
            for url in (
                f"{base}/order?signature={CANARY}",
                f"http://127.0.0.1:{gone}/order?signature={CANARY}",
                f"https://127.0.0.1:{untrusted}/order?signature={CANARY}",
                f"http://127.0.0.1:{free_port()}/order?signature={CANARY}",
                f"http://[/order?signature={CANARY}",
            ):
                transport.do(call(url))
                await inbox.next()
                struck("C21")
        for news in inbox.all:
            assert CANARY not in repr(news)

    run(main)
    assert "GET /order: no answer" in everything_logged.text
    assert CANARY not in everything_logged.text
