"""The exchange on real sockets: HTTP and websockets on loopback, one thin layer over the pure one.

    exchange = Exchange(SeededMarket(), [Account(balance=10_000, positions={"BTCUSDT": "0.05"})])
    async with await serve(exchange) as server:
        ...  # clients talk to server.rest_url and server.ws_url

Here alone a clock is read, and only the one it is given: wall time unless told otherwise. That is the
exchange's clock; only the market runs at its own speed.
"""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from types import TracebackType
from typing import NoReturn

from aiohttp import WSCloseCode, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from adapters.simulator.binance import Binance
from adapters.simulator.exchange import Exchange
from adapters.simulator.faults import Faults
from adapters.simulator.gateway import Gateway
from adapters.simulator.wire import Close, Frame, Reply, Session, Venue

PING_S = 180.0
_HALF_A_FRAME = b"\x81\x7e\x10\x00{"
"""The head of a text frame of 4,096 bytes, and the first of them."""
MOST_WAITING_FRAMES = 5_000
"""Frames a slow reader may leave unread before it is disconnected."""


async def serve(
    exchange: Exchange | Venue,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    faults: Faults | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> "Server":
    """Start serving; port 0 takes a free one. Only this machine can connect unless told otherwise.

    `clock` gives the time in UTC nanoseconds.
    """
    venue = Binance(exchange) if isinstance(exchange, Exchange) else exchange
    server = Server(Gateway(venue, faults, sockets=True), clock)
    await server.start(host, port)
    return server


class _Socket:
    """A websocket with the frames it has still to send."""

    def __init__(self, response: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.response = response
        self.transport = transport
        self.frozen = False
        self.waiting: asyncio.Queue[Frame] = asyncio.Queue(MOST_WAITING_FRAMES)


class _Broken(web.StreamResponse):
    """No reply, or its first bytes, and the end of the connection."""

    def __init__(self, begun: bytes | None) -> None:
        super().__init__()
        self._begun = begun

    async def prepare(self, request: web.BaseRequest) -> NoReturn:
        transport = request.transport
        if transport is not None and self._begun is not None:
            transport.write(self._begun)
            transport.close()  # what was written leaves first
        else:
            _abort(transport)
        raise ConnectionResetError("the fault plan ends this connection")


class _Dripping(web.StreamResponse):
    """A reply whose body comes byte by byte."""

    def __init__(self, reply: Reply, headers: dict[str, str]) -> None:
        super().__init__(status=reply.status, headers=headers)
        self.content_length = len(reply.body)
        self._reply = reply

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        writer = await super().prepare(request)
        for byte in self._reply.body:
            await asyncio.sleep(self._reply.drip_ms / 1_000)
            await self.write(bytes((byte,)))
        return writer


class Server:
    """A running exchange: where it listens, and how to end it."""

    longest_sleep_s = 0.1
    """Its clock may be set meanwhile."""

    def __init__(self, gateway: Gateway, clock: Callable[[], int] = time.time_ns) -> None:
        self.gateway = gateway
        self.clock = clock
        self.venue = gateway.venue
        self.exchange = gateway.venue.exchange
        self._kind = WSMsgType.BINARY if gateway.venue.binary else WSMsgType.TEXT
        self.host = ""
        self.port = 0
        self.slow_readers = 0
        self._sockets: dict[int, _Socket] = {}
        self._replies: dict[int, asyncio.Future[Reply | None]] = {}
        self._runner: web.AppRunner | None = None
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._is_closed = False

    @property
    def rest_url(self) -> str:
        """Where REST paths such as /fapi/v1/time begin."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where websocket paths such as /market/ws begin."""
        return f"ws://{self.host}:{self.port}"

    async def start(self, host: str, port: int) -> None:
        """Listen, and begin to let time pass."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.host, self.port = self._runner.addresses[0][:2]
        self.gateway.advance(self.clock())
        self._set_timer()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiting in self._replies.values():
            waiting.cancel()
        for open_ in list(self._sockets.values()):
            if open_.frozen:
                _abort(open_.transport)
            else:
                await open_.response.close(code=WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def settle(self) -> None:
        """Let everything that is due happen now, and hand it out."""
        delivery = self.gateway.advance(self.clock())
        for ticket, reply in delivery.replies:
            waiting = self._replies.pop(ticket, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(reply)
        for session, frame in delivery.frames:
            self._queue(session, frame)
        self._set_timer()

    def _set_timer(self) -> None:
        """Come back when something is next due; a timer that is earlier stays, and sets the next one itself."""
        ahead_s = (self.gateway.next_at - self.clock()) / 1e9
        loop = asyncio.get_running_loop()
        at = loop.time() + max(0.001, min(ahead_s, self.longest_sleep_s))
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer = None if self._is_closed else loop.call_at(at, self._beat)
        self._timer_at = at

    def _beat(self) -> None:
        self._timer = None
        self.settle()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        body = await request.read()
        ticket = self.gateway.send(
            request.method,
            request.path,
            request.raw_path.partition("?")[2],
            request.headers,
            body,
            self.clock(),
            client=request.remote or "127.0.0.1",
        )
        waiting = asyncio.get_running_loop().create_future()
        self._replies[ticket] = waiting
        self.settle()
        try:
            reply = await waiting
        finally:
            self._replies.pop(ticket, None)
        return self._response(reply)

    def _response(self, reply: Reply | None) -> web.StreamResponse:
        """A reply as the fault plan has it: whole, up to a byte, byte by byte, or none at all."""
        if reply is None:
            return _Broken(None)
        headers = {"Date": formatdate(self.clock() // 1_000_000_000, usegmt=True), **reply.headers}
        if reply.cut is not None:
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            text = f"HTTP/1.1 {reply.status} Cut\r\n{head}Content-Length: {len(reply.body)}\r\n\r\n"
            return _Broken((text.encode() + reply.body)[: reply.cut])
        if reply.drip_ms:
            return _Dripping(reply, headers)
        return web.Response(status=reply.status, headers=headers, body=reply.body)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        answer = self.gateway.admit(self.clock(), request.remote or "127.0.0.1")
        if answer is not None:
            return self._response(answer if isinstance(answer, Reply) else None)
        response = web.WebSocketResponse(heartbeat=PING_S, compress=False, max_msg_size=1 << 20)
        await response.prepare(request)
        session = self.gateway.connect(request.raw_path, self.clock(), request.headers)
        open_ = self._sockets[session.number] = _Socket(response, request.transport)
        writer = asyncio.create_task(self._write(open_))
        self.settle()
        try:
            async for message in response:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self.gateway.receive(session, message.data, self.clock())
                    self.settle()
        finally:
            self._sockets.pop(session.number, None)
            self.gateway.disconnect(session)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return response

    async def _write(self, open_: _Socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            while True:
                frame = await open_.waiting.get()
                if isinstance(frame, Close):
                    await self._end(open_, frame)
                    return
                await open_.response.send_frame(frame, self._kind)

    async def _end(self, open_: _Socket, end: Close) -> None:
        """End a websocket as told: nothing more is written to it."""
        if end.how == "freeze":
            open_.frozen = True
            if open_.transport is not None:
                open_.transport.pause_reading()  # so that no ping is answered
        elif end.how == "reset":
            _abort(open_.transport, reset=True)
        elif end.how == "cut":
            if open_.transport is not None:
                open_.transport.write(_HALF_A_FRAME)
                open_.transport.close()
        elif end.code == WSCloseCode.ABNORMAL_CLOSURE:
            _abort(open_.transport)
        else:
            await open_.response.close(code=end.code)

    def _queue(self, session: Session, frame: Frame) -> None:
        open_ = self._sockets.get(session.number)
        if open_ is None:
            return
        try:
            open_.waiting.put_nowait(frame)
        except asyncio.QueueFull:
            self.slow_readers += 1
            del self._sockets[session.number]
            self.gateway.disconnect(session)
            if open_.transport is not None:
                open_.transport.abort()


def _abort(transport: asyncio.Transport | None, *, reset: bool = False) -> None:
    """End a connection without a word, or with a TCP reset."""
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if reset and raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
