"""TCP in memory for the loop of `loop`: ordered bytes that come late and in pieces, and connections that break.

Nothing here is unfair: bytes of a connection are never lost in the middle, reordered or changed, because TCP does not
do that. A connection is refused, unanswered, cut at any byte, silent for a while or for ever, or slow.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final
from unittest.mock import patch

import aiohappyeyeballs
from msgspec import Struct

from tests.wire_storm.loop import HOST, Loop

KERNEL: Final = 64 * 2**10
"""Bytes of one direction that the kernels of both sides hold; more wait in the sender."""
LOW: Final = 16 * 2**10


class Weather(Struct, frozen=True):
    """How the network treats connections: probabilities by connection, or by attempt to connect."""

    delay_ms: float = 0.2
    """Mean of how long bytes are on their way."""
    pieces: float = 0.0
    """By write: that its bytes arrive in several pieces."""
    cut: float = 0.0
    """Reset after so many bytes, which are drawn, in either direction."""
    half_open: float = 0.0
    """From a drawn byte on nothing arrives any more, and nobody is told."""
    stalled: float = 0.0
    """From a drawn byte on nothing arrives for up to `stall_s`, then everything."""
    stall_s: float = 12.0
    drip: float = 0.0
    """A few bytes at a time arrive, slowly."""
    refused: float = 0.0
    unanswered: float = 0.0
    """An attempt to connect that nobody answers."""


class Network:
    """All connections of a loop. ``weather`` may be changed at any time and holds for what begins after that;
    ``counts`` says how often each fault has struck; ``heard`` is told of every arrival: time, connection, bytes."""

    def __init__(self, loop: Loop, weather: Weather) -> None:
        self.loop = loop
        self.weather = weather
        self.random = random.Random(loop.random.getrandbits(64))
        self.counts: Counter[str] = Counter()
        self.heard: Callable[[int, int, int], None] = lambda at, connection, count: None
        self._listeners: dict[int, Listener] = {}
        self._ends: dict[str, list[End]] = {}
        """Open ends by host."""
        self._dead: dict[str, list[End]] = {}
        self._made = 0

    def listen(self, factory: Callable[[], asyncio.Protocol], port: int) -> Listener:
        """Accept connections at a port; 0 takes a free one. They belong to the host that listens."""
        port = port or max(self._listeners, default=1023) + 1
        listener = self._listeners[port] = Listener(self, factory, port)
        return listener

    def unlisten(self, port: int) -> None:
        """Refuse connections at a port from now on."""
        self._listeners.pop(port, None)

    async def connect(self, port: int) -> End:
        """The near end of a new connection, without a protocol yet."""
        await asyncio.sleep(self.delay_s())
        if self.strikes("unanswered"):
            await self.loop.create_future()
        listener = self._listeners.get(port)
        if listener is None or self.strikes("refused"):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        self._made += 1
        near = End(self, self._made, contextvars.copy_context(), ("127.0.0.1", 32768 + self._made), port)
        far = End(self, -self._made, listener.context, ("127.0.0.1", port), near.name[1])
        near.out, far.out = Direction(self, near, far), Direction(self, far, near)
        self._spoil(near.out, far.out)
        self.loop.call_soon(far.begin, listener.factory(), context=listener.context)
        try:
            await asyncio.sleep(self.delay_s())
        except asyncio.CancelledError:
            near.abort()
            raise
        return near

    def _spoil(self, *both: Direction) -> None:
        """Decide what will go wrong with a connection, and at which byte."""
        for fault in ("cut", "half_open", "stalled"):
            if self.random.random() < getattr(self.weather, fault):
                direction = self.random.choice(both)
                direction.fault, direction.fuse = fault, round(10 ** self.random.uniform(0, 4.7))
                break
        if self.random.random() < self.weather.drip:
            self.random.choice(both).drips = True

    def strikes(self, fault: str) -> bool:
        """Draw whether a fault strikes now."""
        chance: float = getattr(self.weather, fault)
        if chance and self.random.random() < chance:
            self.counts[fault] += 1
            return True
        return False

    def delay_s(self) -> float:
        """How long something is on its way."""
        return self.random.expovariate(1000 / self.weather.delay_ms)

    def opened(self, end: End) -> None:
        """Note an end that is in use."""
        self._ends.setdefault(end.host, []).append(end)

    def closed(self, end: End) -> None:
        """Forget an end."""
        self._ends[end.host].remove(end)

    def crash(self, host: str) -> None:
        """The host is gone: whoever talked to it is told by its kernel, or, if the machine is gone too, by nobody."""
        silent = self.random.random() < 0.3
        self._dead[host] = self._ends.pop(host, [])
        for end in self._dead[host]:
            end.dead = True
            if not silent:
                end.out.send(self.random.choice((EOF, RESET)))

    def bury(self, host: str) -> None:
        """Let a crashed host learn, after all is over, that its connections are gone, so that its tasks can end."""
        if host not in self._dead:
            return
        self._ends[host] = self._dead.pop(host)
        for end in list(self._ends[host]):
            end.dead = False
            end.lose(_reset())


class Listener:
    """A port at which connections are accepted."""

    def __init__(self, network: Network, factory: Callable[[], asyncio.Protocol], port: int) -> None:
        self._network = network
        self.factory = factory
        self.port = port
        self.context = contextvars.copy_context()

    @property
    def sockets(self) -> list[Listener]:
        """What has the address: this."""
        return [self]

    def getsockname(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.port

    def close(self) -> None:
        """Accept no more."""
        self._network.unlisten(self.port)

    async def wait_closed(self) -> None:
        """It is closed at once."""


class _Mark(bytes):
    """What travels behind the last byte."""


EOF, RESET = _Mark(b"eof"), _Mark(b"reset")


class Direction:
    """The bytes from one end to the other: in order, each piece with its own time."""

    def __init__(self, network: Network, source: End, sink: End) -> None:
        self._network = network
        self._loop = network.loop
        self._source = source
        self._sink = sink
        self._flying: deque[tuple[float, bytes]] = deque()
        self._last_s = 0.0
        self._armed = False
        self._ended = False
        self.waiting = 0
        """Bytes that have not arrived."""
        self.fault = ""
        self.fuse = 0
        """Bytes until ``fault`` strikes, if there is one."""
        self.silent = False
        self.drips = False

    def send(self, data: bytes) -> None:
        """Put bytes, or a mark, on their way."""
        if self._ended or self.silent:
            self.waiting += 0 if isinstance(data, _Mark) else len(data)
            return
        if isinstance(data, _Mark):
            self._ended = True
            self._put(data)
            return
        self.waiting += len(data)
        if self.fault and len(data) >= self.fuse:
            self._pieces(data[: self.fuse])
            self._strike(data[self.fuse :])
            return
        self.fuse -= len(data)
        self._pieces(data)

    def _strike(self, rest: bytes) -> None:
        fault, self.fault = self.fault, ""
        network = self._network
        network.counts[fault] += 1
        match fault:
            case "cut":
                self._ended = True
                self._put(RESET)
                later = network.delay_s()
                self._loop.call_later(later, self._source.lose, _reset(), context=self._source.context)
            case "half_open":
                self.silent = True
            case "stalled":
                self._last_s = max(self._last_s, self._loop.time()) + network.random.uniform(0, network.weather.stall_s)
                self._pieces(rest)

    def _pieces(self, data: bytes) -> None:
        network = self._network
        if self.drips:
            network.counts["drip"] += 1
            step = max(1, len(data) // 8)
            for start in range(0, len(data), step):
                self._last_s = max(self._last_s, self._loop.time()) + network.random.uniform(0.0, 0.2)
                self._put(data[start : start + step])
        elif len(data) > 1 and network.strikes("pieces"):
            at = network.random.randrange(1, len(data))
            self._put(data[:at])
            self._put(data[at:])
        elif data:
            self._put(data)

    def _put(self, data: bytes) -> None:
        self._last_s = max(self._last_s, self._loop.time() + self._network.delay_s())
        self._flying.append((self._last_s, data))
        self.arm()

    def arm(self) -> None:
        """Have the next piece arrive in its time."""
        if self._flying and not self._armed and self._sink.reading:
            self._armed = True
            self._loop.call_at(self._flying[0][0], self._arrive, context=self._sink.context)

    def _arrive(self) -> None:
        """Hand over all that is there by now, in one piece as a kernel would."""
        self._armed = False
        if not self._sink.reading:
            return
        now = self._loop.time() + 1e-9
        parts: list[bytes] = []
        mark: bytes | None = None
        while self._flying and self._flying[0][0] < now:
            part = self._flying.popleft()[1]
            if isinstance(part, _Mark):
                mark = part
                break
            parts.append(part)
        if parts:
            data = b"".join(parts)
            self.waiting -= len(data)
            self._network.heard(self._loop.monotonic_ns(), self._sink.number, len(data))
            self._sink.hear(data)
            self._source.drained()
        if mark is not None:
            self._sink.hear_mark(mark)
        self.arm()


class End(asyncio.Transport):
    """One end of a connection, with the manners of asyncio's own transports."""

    out: Direction

    def __init__(
        self, network: Network, number: int, context: contextvars.Context, name: tuple[str, int], peer_port: int
    ) -> None:
        super().__init__({"sockname": name, "peername": ("127.0.0.1", peer_port)})
        self._network = network
        self._loop = network.loop
        self.number = number
        """Of the connection; negative on the side that accepted it."""
        self.context = context
        self.host = context.get(HOST) or ""
        self.name = name
        self.dead = False
        """Its host is."""
        self._protocol: asyncio.BaseProtocol | None = None
        self._is_reading = True
        self._closing = False
        self._lost = False
        self._full = False
        self._high, self._low = KERNEL, LOW

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """Let a protocol have it."""
        self._network.opened(self)
        self._protocol = protocol
        protocol.connection_made(self)
        self._peer().arm()

    def _peer(self) -> Direction:
        return self.out._sink.out

    # What arrives

    @property
    def reading(self) -> bool:
        """Whether what arrives is taken, if only to be thrown away."""
        return self._lost or self._closing or (self._is_reading and self._protocol is not None)

    def hear(self, data: bytes) -> None:
        """Bytes are there. What comes to a closed end is answered with a reset."""
        if self.dead:
            return
        if self._closing or self._lost:
            self.out.send(RESET)
        elif isinstance(self._protocol, asyncio.Protocol):
            self._protocol.data_received(data)

    def hear_mark(self, mark: bytes) -> None:
        """The other side has ended, or broken, the connection."""
        if self.dead or self._lost:
            return
        if mark is RESET:
            self.lose(_reset())
        elif not self._closing and isinstance(self._protocol, asyncio.Protocol) and not self._protocol.eof_received():
            self.close()

    def lose(self, error: Exception | None) -> None:
        """The connection is gone, from here."""
        if self._lost or self.dead:
            return
        self._lost = self._closing = True
        self._loop.call_soon(self._tell_lost, error, context=self.context)
        self._peer().arm()

    def _tell_lost(self, error: Exception | None) -> None:
        if self._protocol is not None and not self.dead:
            self._network.closed(self)
            self._protocol.connection_lost(error)

    def drained(self) -> None:
        """Some of what was written has arrived."""
        if self.dead:
            return
        waiting = self.get_write_buffer_size()
        if self._full and waiting <= self._low and self._protocol is not None:
            self._full = False
            self._loop.call_soon(self._protocol.resume_writing, context=self.context)
        if self._closing and not self._lost and not waiting:
            self.lose(None)

    # What a protocol asks for

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; those of a broken connection are dropped."""
        if self._lost or not data:
            return
        self.out.send(bytes(data))
        if not self._full and self.get_write_buffer_size() > self._high and self._protocol is not None:
            self._full = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send bytes."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def write_eof(self) -> None:
        """Say that no more will come."""
        self.out.send(EOF)

    def close(self) -> None:
        """Send what is left, and end."""
        if self._closing:
            return
        self._closing = True
        self.out.send(EOF)
        self._peer().arm()
        self.drained()

    def abort(self) -> None:
        """End at once."""
        if self._lost:
            return
        self.out.send(self._network.random.choice((EOF, RESET)))
        self.lose(None)

    def is_closing(self) -> bool:
        """Whether it has been closed from here, or lost."""
        return self._closing

    def pause_reading(self) -> None:
        """Leave what arrives where it is."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Take what arrives again."""
        self._is_reading = True
        self._peer().arm()

    def is_reading(self) -> bool:
        """Whether what arrives is taken."""
        return self._is_reading and not self._closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set how many bytes may wait here until the protocol is asked to pause, and until it may go on."""
        self._high = high if high is not None else KERNEL
        self._low = low if low is not None else self._high // 4

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernels have not taken."""
        return max(0, self.out.waiting - KERNEL)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol have it."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who has it."""
        assert self._protocol is not None
        return self._protocol


class WiredLoop(Loop):
    """A loop whose network is in memory: aiohttp and websockets run on it as they are."""

    def __init__(self, seed: int, weather: Weather) -> None:
        super().__init__(seed)
        self.network = Network(self, weather)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Connect, or give a protocol to what `start_connection` has connected."""
        assert not options.get("ssl"), "the wire is plain here"
        end: End = options.get("sock") or await self.network.connect(port)
        protocol = protocol_factory()
        self.call_soon(end.begin, protocol, context=end.context)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            end.abort()
            raise
        return end, protocol

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Listen."""
        assert not options.get("ssl"), "the wire is plain here"
        return self.network.listen(protocol_factory, port or 0)


async def _start_connection(addr_infos: Any, **options: Any) -> Any:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, WiredLoop)
    return await loop.network.connect(addr_infos[0][4][1])


wired = patch.object(aiohappyeyeballs, "start_connection", _start_connection)
"""While this is in force, aiohttp's client connects through the loop's network."""


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
