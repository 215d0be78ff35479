"""The one file that opens exchange sockets. It performs acts and tells what came of them; it decides nothing.

What a websocket says becomes `Opened`, `Frame` and `Closed`; what an HTTP request brings becomes `Answer` or `Silence`.
It never connects again by itself, never follows a redirect and never sends a request twice: all that is for the core
to decide. An address may hold a signature or a session key, so none appears in a log line or in a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
import ssl
import zlib
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.uri import parse_uri
from yarl import URL

from agent.core.desk import Answer, Closed, Frame, Input, Opened, Silence
from agent.core.venue import Call, Open, Reply, Say, Shut

log = logging.getLogger(__name__)
quiet = logging.getLogger(f"{__name__}.websocket")
quiet.setLevel(logging.WARNING)  # at DEBUG the websocket library prints addresses and frames

USER_AGENT: Final = "trimtab"
CONNECT_S: Final = 3.0
"""A TCP and TLS connection for a request stands within this time, or the request was not sent."""
READ_S: Final = 5.0
"""A server that is silent for so long in the middle of a call will say no more."""
LOOKUP_S: Final = 2.0
"""A name is found within this time, or the addresses that it had before stand in."""
DIAL_S: Final = 2.0
"""One of a websocket's several addresses answers within this time, or the next is tried."""
OPEN_S: Final = 10.0
"""A websocket is open within this time: name, TLS and upgrade included."""
PING_S: Final = 10.0
"""A ping every so often, and its pong no later than this."""
CLOSE_S: Final = 2.0
"""How long to wait for the other side of a closing handshake."""
LARGEST_FRAME: Final = 16 * 2**20
LARGEST_BODY: Final = 8 * 2**20
"""Bytes of a reply, before and after decompression."""
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE)
"""The process, or the machine, has no more descriptors."""
SIGNATURE: Final = re.compile(r"[?&]signature=([^&]+)")
CONCEALED: Final = "(concealed)"
OPEN_HEADERS: Final = ("Content-Type",)
"""What is no secret in the head of a request; neither is a number, which is a time or a window."""
SHORTEST_SECRET: Final = 8
"""Characters: what is shorter is no key, and may stand anywhere by chance."""
QUEUE: Final = 1024
"""Frames that may wait to be taken before the connection is no longer read."""
TURN: Final = 16
"""Frames that are taken in a row, as long as some wait, before everything else in the process has its turn."""
SAYS: Final = 256
"""What may wait to be said on a connection before it is given up."""


class Transport:
    """Performs `Open`, `Shut`, `Say` and `Call`, and hands what happens to ``take``, in the order in which it happens.

    To be made inside a running loop. ``take`` is called from the loop and must not wait. If it raises, or anything here
    fails that is not the network's fault, ``failed`` holds the exception, nothing more is taken, and the owner, who
    awaits ``failed``, must stop. ``exhausted`` holds an exception once the system has no more descriptors to give: the
    owner, who awaits that as well, should end in order and begin anew. ``tls`` replaces the system's trust store; it
    can't switch verification off. ``ipv4``: names are looked up for their IPv4 addresses alone.
    """

    def __init__(self, take: Callable[[Input], None], tls: ssl.SSLContext | None = None, *, ipv4: bool = False) -> None:
        self._take = take
        self._tls = tls or ssl.create_default_context()
        assert self._tls.verify_mode is ssl.CERT_REQUIRED, "TLS certificates must be verified"
        assert self._tls.check_hostname, "TLS host names must be verified"
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self.exhausted: asyncio.Future[None] = self._loop.create_future()
        self._sessions: dict[str, _Session] = {}
        self._streams: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._let_go: set[asyncio.Task[None]] = set()
        """Tasks that were cancelled from here: any other that is cancelled is a mistake."""
        self._closing = False
        self._hurried = False
        """A call was begun since the last frame."""
        self._addresses = _Addresses(ipv4=ipv4)
        self._http = _http_session(self._tls, self._addresses)

    def do(self, act: Open | Shut | Say | Call) -> None:
        """Begin an act and return at once.

        `Open` starts a new session; one that is still there under its name was given up and ends untold. `Shut` frees
        the name at once: its `Closed` comes next, and nothing else from the old session. `Say` to a session that is not
        open is dropped, because its `Closed` is on the way, and so is a `Call` on a websocket: its answer is a frame.
        Once `close` was called or something ``failed``, acts are ignored.
        """
        if self._closing or self.failed.done():
            return
        match act:
            case Call(socket=str(name)):
                self._hurried = True
                if (open_ := self._sessions.get(name)) is not None and open_.connection is not None:
                    self._say(open_, act.body.decode())
            case Call():
                self._hurried = True
                self._start(self._calls, self._call(act), f"call {act.tag}")
            case Open():
                if (old := self._sessions.get(act.socket)) is not None:
                    self._shut(old, None)
                session = self._sessions[act.socket] = _Session(act.socket)
                session.task = self._start(self._streams, self._live(session, act), f"websocket {act.socket}")
            case Shut():
                if (open_ := self._sessions.get(act.socket)) is not None:
                    self._shut(open_, act.reason)
            case Say():
                if (open_ := self._sessions.get(act.socket)) is not None and open_.connection is not None:
                    self._say(open_, act.text)

    async def close(self, grace_s: float = 5.0) -> None:
        """Close everything: websockets end in `Closed`, calls have ``grace_s`` seconds and then end in `Silence`."""
        self._closing = True
        for session in list(self._sessions.values()):
            self._shut(session, "shutting down")
        if self._calls:
            await asyncio.wait(self._calls, timeout=grace_s)
        for task in self._calls:
            task.cancel()
        if rest := self._calls | self._streams:
            _, left = await asyncio.wait(rest, timeout=CLOSE_S + 1)
            for task in left:
                task.cancel()
        await self._http.close()

    # Websockets

    def _say(self, session: _Session, text: str) -> None:
        try:
            session.says.put_nowait(text)
        except asyncio.QueueFull:
            self._shut(session, f"{SAYS} messages wait to be sent")

    async def _live(self, session: _Session, way: Open) -> None:
        """One connection from its opening to its end, which it tells unless it was shut."""
        try:
            async with asyncio.timeout(OPEN_S):
                connection = session.connection = await _connect(way, self._tls, self._addresses)
        except (OSError, EOFError, ValueError, WebSocketException) as error:
            self._gone(session, error)
            return
        writer = self._start(self._streams, _speak(connection, session.says), f"writer of {session.name}")
        try:
            self._report(session, Opened(socket=session.name))
            taken = 0
            while not session.shut:
                try:
                    data = await connection.recv(decode=False)
                except ConnectionClosed as closed:
                    self._gone(session, closed)
                    break
                self._report(session, Frame(socket=session.name, data=data))
                taken += 1
                if self._hurried or taken % TURN == 0:
                    self._hurried = False
                    await asyncio.sleep(0)  # frames that have arrived already must not go before an order or a reply
        finally:
            self._cancel(writer)
            await connection.close()

    def _report(self, session: _Session, news: Opened | Frame | Closed) -> None:
        if not session.shut:
            self._tell(news)

    def _gone(self, session: _Session, error: Exception) -> None:
        if not session.shut:
            del self._sessions[session.name]
        self._weigh(error)
        hopeless = isinstance(error, ssl.SSLCertVerificationError | InvalidURI)
        self._report(session, Closed(socket=session.name, reason=_reason(error), fatal=hopeless))

    def _shut(self, session: _Session, reason: str | None) -> None:
        """End a session, telling of it if there is a reason: from a task of its own, as acts come from ``take``."""
        session.shut = True
        del self._sessions[session.name]
        self._start(self._streams, self._bury(session, reason), f"shut {session.name}")

    async def _bury(self, session: _Session, reason: str | None) -> None:
        try:
            if reason is not None:
                self._tell(Closed(socket=session.name, reason=reason))
        finally:
            if session.connection is None:
                self._cancel(session.task)
            else:
                await session.connection.close()

    # Requests

    async def _call(self, call: Call) -> None:
        """One request, from its start to the one `Answer` or `Silence` in which it ends."""
        wire = _Wire()
        try:
            ending = await self._ask(call, wire)
        except asyncio.CancelledError:
            self._conclude(call, Silence(call=call.tag, sent=wire.touched, reason="shutting down"))
            raise
        self._conclude(call, ending)

    def _conclude(self, call: Call, ending: Answer | Silence) -> None:
        if isinstance(ending, Silence):
            what = f"{call.method} {_path(call.url)}"
            log.warning("%s: no answer (%s): %s", what, "sent" if ending.sent else "not sent", ending.reason)
        self._tell(ending)

    async def _ask(self, call: Call, wire: _Wire) -> Answer | Silence:
        try:
            async with self._http.request(
                call.method,
                URL(call.url, encoded=True),  # signed as it stands: not to be quoted again
                headers=call.headers,
                data=call.body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(call.timeout_ms / 1000, sock_connect=CONNECT_S, sock_read=READ_S),
                trace_request_ctx=wire,
            ) as response:
                headers = _headers(response)
                body = await _body(response)
                reply = _concealed(call, Reply(status=response.status, headers=headers, body=_plain(body, headers)))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._weigh(error)
            return Silence(call=call.tag, sent=wire.touched, reason=_reason(error))
        return Answer(call=call.tag, reply=reply)

    # Supervision

    def _tell(self, news: Input) -> None:
        if self.failed.done():
            return
        if isinstance(news, Opened | Closed):
            log.info("%s", news)
        try:
            self._take(news)
        except Exception as error:
            self.failed.set_exception(error)
            raise

    def _start(
        self, group: set[asyncio.Task[None]], work: Coroutine[None, None, None], name: str
    ) -> asyncio.Task[None]:
        task = self._loop.create_task(work, name=name)
        group.add(task)
        task.add_done_callback(group.discard)
        task.add_done_callback(self._ended)
        return task

    def _cancel(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            self._let_go.add(task)
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        expected = self._closing or task in self._let_go
        self._let_go.discard(task)
        if not task.cancelled():
            error = task.exception()
        else:
            error = None if expected else RuntimeError(f"{task.get_name()} was cancelled by a stranger")
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    def _weigh(self, error: Exception) -> None:
        """See whether it is this process that can't open any more connections, whatever the network may do."""
        inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        if isinstance(inner, OSError) and inner.errno in EXHAUSTED and not self.exhausted.done():
            log.error("no file descriptors are left: stopping, to be started again")
            self.exhausted.set_exception(OSError(inner.errno, "no file descriptors left; raise their limit"))


class _Session:
    """A websocket under its name: the task that lives it, and what is to be said on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task: asyncio.Task[None]
        self.connection: ClientConnection | None = None
        self.says: asyncio.Queue[str] = asyncio.Queue(SAYS)
        self.shut = False


class _Wire:
    """What is known of a request on its way: ``touched`` once it had a connection, so that bytes may have left."""

    def __init__(self) -> None:
        self.touched = False


class _Oversize(ValueError):
    """A reply larger than `LARGEST_BODY`."""


class _Garbled(ValueError):
    """A reply whose compression can't be undone."""


class _Direct(connect):
    """A websocket connection that follows no redirect: its address may hold a key that is meant for one host."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


async def _connect(way: Open, tls: ssl.SSLContext, addresses: _Addresses | None = None) -> ClientConnection:
    """An open websocket. ``addresses`` finds its host, unless that is an address already."""
    uri = parse_uri(way.url)
    options: dict[str, Any] = {}
    if addresses is not None and not _is_address(uri.host):
        options["sock"] = await _dial(uri.host, uri.port, addresses)
    return await _Direct(
        way.url,
        **options,
        additional_headers=way.headers,
        ssl=tls if way.url.startswith("wss:") else None,
        compression=None,
        proxy=None,
        user_agent_header=USER_AGENT,
        open_timeout=OPEN_S,
        ping_interval=PING_S,
        ping_timeout=PING_S,
        close_timeout=CLOSE_S,
        max_size=LARGEST_FRAME,
        max_queue=QUEUE,
        logger=quiet,
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _speak(connection: ClientConnection, says: asyncio.Queue[str]) -> None:
    """Send what is to be said, in order, until the connection ends."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.send(await says.get())


class _Addresses(AbstractResolver):
    """Finds the addresses of a name; while that fails or takes long, those that it had before stand in.

    A venue's addresses outlive most failures of a name server, and what may have changed meanwhile is harmless: whoever
    answers there must still show the venue's certificate.
    """

    def __init__(self, *, ipv4: bool = False) -> None:
        self._ipv4 = ipv4
        self._lookup = ThreadedResolver()
        self._last: dict[tuple[str, int, socket.AddressFamily], list[ResolveResult]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of ``host``; raises OSError where there are none."""
        family = socket.AF_INET if self._ipv4 else family
        name = host, port, family
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await self._lookup.resolve(host, port, family)
        except OSError as error:
            if last := self._last.get(name):
                log.warning("%s is not found (%s); its last addresses are used", host, _words(error))
                return last
            if isinstance(error, TimeoutError):
                raise OSError(errno.EHOSTUNREACH, "the name is not found in time") from None
            raise
        self._last[name] = found
        return found

    async def close(self) -> None:
        """Nothing to close."""


async def _dial(host: str, port: int, addresses: _Addresses) -> socket.socket:
    """A connected socket to the first address of a name that answers; the library would wait for the first alone."""
    loop = asyncio.get_running_loop()
    failure = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for found in await addresses.resolve(host, port):
        dialled = socket.socket(found["family"], socket.SOCK_STREAM)
        try:
            dialled.setblocking(False)
            async with asyncio.timeout(DIAL_S):
                await loop.sock_connect(dialled, (found["host"], found["port"]))
        except OSError as error:
            dialled.close()
            failure = error
        except BaseException:
            dialled.close()
            raise
        else:
            return dialled
    raise failure


def _http_session(tls: ssl.SSLContext, addresses: _Addresses) -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()

    async def touch(_session: object, context: object, _params: object) -> None:
        wire = getattr(context, "trace_request_ctx", None)
        assert isinstance(wire, _Wire)
        wire.touched = True

    trace.on_connection_create_end.append(touch)
    trace.on_connection_reuseconn.append(touch)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, resolver=addresses),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
        skip_auto_headers=("Content-Type",),
        auto_decompress=False,
        trust_env=False,
        trace_configs=[trace],
    )
    # Left on, a GET, PUT or DELETE is sent again when a kept connection dies under it, though the first may have been
    # executed. There is no public switch; should this one vanish, nothing must be sent at all.
    assert session._retry_connection, "aiohttp's switch for hidden retries is gone"
    session._retry_connection = False
    return session


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The body as it came, read no further than `LARGEST_BODY`."""
    chunks = bytearray()
    async for chunk in response.content.iter_any():
        chunks += chunk
        if len(chunks) > LARGEST_BODY:
            raise _Oversize
    return bytes(chunks)


def _plain(body: bytes, headers: dict[str, str]) -> bytes:
    """The body decompressed, no further than `LARGEST_BODY`."""
    match headers.get("content-encoding", "identity").lower():
        case "identity":
            return body
        case "gzip":
            unpacker = zlib.decompressobj(wbits=31)
            try:
                plain = unpacker.decompress(body, LARGEST_BODY + 1)
            except zlib.error as error:
                raise _Garbled from error
            if len(plain) > LARGEST_BODY:
                raise _Oversize
            if not unpacker.eof or unpacker.unused_data:
                raise _Garbled
            return plain
        case _:
            raise _Garbled


def _concealed(call: Call, reply: Reply) -> Reply:
    """The reply without the key and the signature of its request: a proxy's page, or the address of a redirect, may
    repeat them, and replies are quoted in the log and kept on tapes."""
    signature = SIGNATURE.search(call.url)
    words = [value for name, value in call.headers if name not in OPEN_HEADERS and not value.isdecimal()]
    words += [signature[1], unquote(signature[1])] if signature else []
    body, headers = reply.body, reply.headers
    for word in (word for word in words if len(word) >= SHORTEST_SECRET):
        body = body.replace(word.encode(), CONCEALED.encode())
        headers = {name: value.replace(word, CONCEALED) for name, value in headers.items()}
    return Reply(reply.status, headers, body)


def _path(url: str) -> str:
    """The path of an address, which may be shown, of whatever quality the address is."""
    return "/" + url.partition("?")[0].partition("://")[2].partition("/")[2]


def _reason(error: Exception) -> str:
    """What went wrong, in words that can't hold an address: no text of an exception that might quote one is used."""
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=inner):
            return _words(inner)
        case aiohttp.ClientConnectorError(os_error=inner):
            return f"no connection: {_words(inner)}"
        case TimeoutError():
            return "timed out"
        case _Oversize():
            return f"the reply is larger than {LARGEST_BODY} bytes"
        case _Garbled():
            return "the reply can't be decompressed"
        case InvalidURI():
            return "not the address of a websocket"
        case WebSocketException():
            return str(error)
        case _:
            return _words(error)


def _words(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"certificate: {error.verify_message}"
        case OSError(strerror=str(words)):
            return words
        case _:
            return type(error).__name__
