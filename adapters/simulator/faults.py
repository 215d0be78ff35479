"""What goes wrong between a client and the exchange, on a seed, in virtual time or on sockets.

`Gateway` stands in front of a venue's wire. Requests go in and get a ticket; replies, lost
connections and frames come out of `advance` when their time has come. Without faults everything
passes through at once and in order.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from adapters.simulator.binance import Binance, Reply, error_body
from adapters.simulator.binance_streams import CLOSE, Session

MS = 1_000_000

_MOST_CACHED = 1_000


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """How often each fault strikes, as probabilities from 0 to 1, and the seed of the dice.

    Of requests: `lost_request` never arrives, `lost_reply` is carried out but the connection dies,
    `unknown_503_executed` and `unknown_503_not_executed` answer "Unknown error" having or not
    having done it, `timeout_1007` answers so and does it every other time, `overload_1008` and
    `limit_429` refuse, `hold` keeps an order in the gateway for up to `hold_ms` before the engine
    sees it, `query_502` answers a read with a proxy's error page, `stale_reads` answers one from a
    cache up to `stale_ms` old.

    Of frames: `drop` loses one, `repeat` sends it twice, `reorder` lets later ones overtake it,
    `disconnect` cuts the socket instead, `stall` silences its topic on that socket for `stall_ms`,
    `expire_listen_key` ends the key of a private one.

    Of everything: `delay_ms` is the mean latency one way, `clock_skew_ms` how far ahead the
    exchange's clock is.
    """

    seed: int = 0
    lost_request: float = 0.0
    lost_reply: float = 0.0
    unknown_503_executed: float = 0.0
    unknown_503_not_executed: float = 0.0
    timeout_1007: float = 0.0
    overload_1008: float = 0.0
    limit_429: float = 0.0
    hold: float = 0.0
    hold_ms: int = 12_000
    query_502: float = 0.0
    stale_reads: float = 0.0
    stale_ms: int = 5_000
    drop: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    disconnect: float = 0.0
    stall: float = 0.0
    stall_ms: int = 10_000
    expire_listen_key: float = 0.0
    delay_ms: float = 0.0
    clock_skew_ms: int = 0

    def __post_init__(self) -> None:
        for name in _PROBABILITIES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability between 0 and 1")
        if min(self.delay_ms, self.hold_ms, self.stale_ms, self.stall_ms) < 0:
            raise ValueError("a duration cannot be negative")


_PROBABILITIES = (
    "lost_request",
    "lost_reply",
    "unknown_503_executed",
    "unknown_503_not_executed",
    "timeout_1007",
    "overload_1008",
    "limit_429",
    "hold",
    "query_502",
    "stale_reads",
    "drop",
    "repeat",
    "reorder",
    "disconnect",
    "stall",
    "expire_listen_key",
)

UNKNOWN_503 = Reply(
    503,
    {"Content-Type": "application/json"},
    error_body(-1000, "Unknown error, please check your request or try again later."),
)
TIMEOUT_1007 = Reply(
    408,
    {"Content-Type": "application/json"},
    error_body(
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
)
OVERLOAD_1008 = Reply(
    503,
    {"Content-Type": "application/json"},
    error_body(
        -1008,
        "Server is currently overloaded with other requests. Please try again in a few minutes.",
    ),
)
LIMIT_429 = Reply(
    429,
    {"Content-Type": "application/json", "Retry-After": "1"},
    error_body(-1003, "Too many requests; please use the websocket for live updates."),
)
BAD_GATEWAY_502 = Reply(502, {"Content-Type": "text/html"}, b"<html><body><h1>502 Bad Gateway</h1></body></html>")


def load_faults(path: str | Path) -> Faults:
    """The faults of a TOML or JSON file; an unknown name or a wrong type is an error."""
    file = Path(path)
    try:
        if file.suffix == ".json":
            return msgspec.json.decode(file.read_bytes(), type=Faults)
        return msgspec.toml.decode(file.read_bytes(), type=Faults)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {error}") from error


class Delivery(Struct, frozen=True):
    """What has come out: replies by ticket (None when the connection died), and frames in order.

    A frame of no bytes means that the exchange closes that socket.
    """

    replies: list[tuple[int, Reply | None]]
    frames: list[tuple[Session, bytes]]


class _Request(Struct, frozen=True):
    ticket: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client: str

    @property
    def changes(self) -> bool:
        return self.method != "GET" and not self.path.endswith("/listenKey")

    @property
    def key(self) -> tuple[str, str, str]:
        """What is asked, without what makes every signed request different."""
        pairs = (
            pair for pair in self.query.split("&") if not pair.startswith(("timestamp=", "signature=", "recvWindow="))
        )
        return self.headers.get("X-MBX-APIKEY") or "", self.path, "&".join(pairs)


class _Topic(Struct):
    stream: str = ""
    e: str = ""
    s: str = ""


class Gateway:
    """Carries requests and frames between clients and a venue, and loses some on the way.

    `counts` says how often each fault has struck, by name.
    """

    def __init__(self, venue: Binance, faults: Faults | None = None) -> None:
        self.venue = venue
        self.faults = faults or Faults()
        self.counts: Counter[str] = Counter()
        self._random = random.Random(self.faults.seed)
        self._skew = self.faults.clock_skew_ms * MS
        self._queue: list[tuple[int, int, Callable[[int], None]]] = []
        self._number = 0
        self._tickets = 0
        self._replies: list[tuple[int, Reply | None]] = []
        self._frames: list[tuple[Session, bytes]] = []
        self._last_out: dict[int, int] = {}
        self._stalled: dict[tuple[int, str], int] = {}
        self._cache: dict[tuple[str, str, str], tuple[int, Reply]] = {}
        self._frames_can_fail = any(
            (
                self.faults.drop,
                self.faults.repeat,
                self.faults.reorder,
                self.faults.disconnect,
                self.faults.stall,
                self.faults.expire_listen_key,
                self.faults.delay_ms,
            )
        )

    def send(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        now: int,
        *,
        client: str = "127.0.0.1",
    ) -> int:
        """Put a request on its way; gives the ticket its reply will carry."""
        self._tickets += 1
        request = _Request(self._tickets, method, path, query, headers, body, client)
        if self._strikes("lost_request"):
            self._later(now + self._latency(), lambda at: self._reply(request, None))
        else:
            self._later(now + self._latency(), lambda at: self._arrive(request, at))
        return self._tickets

    def connect(self, target: str, now: int) -> Session:
        """Open a websocket."""
        return self.venue.connect(target, now + self._skew)

    def receive(self, session: Session, text: str | bytes, now: int) -> None:
        """Take in a client's message; the answers come out with the frames."""
        for frame in self.venue.receive(session, text, now + self._skew):
            self._carry(session, frame, now)

    def disconnect(self, session: Session) -> None:
        """Note that a client has gone."""
        self.venue.disconnect(session)
        self._last_out.pop(session.number, None)

    def advance(self, now: int) -> Delivery:
        """Let everything arrive that is due by now and hand over what comes out."""
        while self._queue and self._queue[0][0] <= now:
            at, _, act = heapq.heappop(self._queue)
            self._collect(at)
            act(at)
        self._collect(now)
        while self._queue and self._queue[0][0] <= now:
            at, _, act = heapq.heappop(self._queue)
            act(at)
        delivery = Delivery(self._replies, self._frames)
        self._replies, self._frames = [], []
        return delivery

    @property
    def next_at(self) -> int:
        """When something next comes out or happens."""
        due = self.venue.next_at - self._skew
        return min(due, self._queue[0][0]) if self._queue else due

    def _strikes(self, fault: str) -> bool:
        chance: float = getattr(self.faults, fault)
        if chance and self._random.random() < chance:
            self.counts[fault] += 1
            return True
        return False

    def _latency(self) -> int:
        mean = self.faults.delay_ms
        return int(self._random.expovariate(1 / mean) * MS) if mean else 0

    def _later(self, at: int, act: Callable[[int], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (at, self._number, act))

    def _arrive(self, request: _Request, now: int) -> None:
        """The gateway has the request: refuse it, hold it, or let the engine have it."""
        refusal = self._refusal(request)
        if refusal is not None:
            self._answer(request, refusal, now)
        elif request.changes and self._strikes("hold"):
            until = now + self._random.randint(0, self.faults.hold_ms) * MS
            self._later(until, lambda at: self._execute(request, now, at))
        else:
            self._execute(request, now, now)

    def _refusal(self, request: _Request) -> Reply | None:
        if self._strikes("limit_429"):
            return LIMIT_429
        if request.changes:
            if self._strikes("unknown_503_not_executed"):
                return UNKNOWN_503
            if self._strikes("overload_1008"):
                return OVERLOAD_1008
        elif self._strikes("query_502"):
            return BAD_GATEWAY_502
        return None

    def _execute(self, request: _Request, arrived: int, now: int) -> None:
        if request.method == "GET" and self.faults.stale_reads:
            at, old = self._cache.get(request.key, (0, None))
            is_usable = old is not None and now - at <= self.faults.stale_ms * MS
            if old is not None and is_usable and self._strikes("stale_reads"):
                self._answer(request, old, now)
                return
        masked: Reply | None = None
        if request.changes and self._strikes("timeout_1007"):
            masked = TIMEOUT_1007
            if self._random.random() < 0.5:
                self._answer(request, masked, now)
                return
        elif request.changes and self._strikes("unknown_503_executed"):
            masked = UNKNOWN_503
        reply = self.venue.request(
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body,
            now + self._skew,
            client=request.client,
            arrived=arrived + self._skew,
        )
        self._collect(now)
        if request.method == "GET" and self.faults.stale_reads and reply.status == 200:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            self._cache[request.key] = (now, reply)
        self._answer(request, masked or reply, now)

    def _answer(self, request: _Request, reply: Reply, now: int) -> None:
        shown = None if self._strikes("lost_reply") else reply
        self._later(now + self._latency(), lambda at: self._reply(request, shown))

    def _reply(self, request: _Request, reply: Reply | None) -> None:
        self._replies.append((request.ticket, reply))

    def _collect(self, now: int) -> None:
        """Take what the venue has to send."""
        frames = self.venue.advance(now + self._skew)
        if not self._frames_can_fail:
            self._frames.extend(frames)
            return
        for session, frame in frames:
            self._carry(session, frame, now)

    def _carry(self, session: Session, frame: bytes, now: int) -> None:
        if not self._frames_can_fail or frame == CLOSE:
            self._frames.append((session, frame))
            return
        if session.closed:
            return
        if self._strikes("disconnect"):
            self.venue.streams.close(session)
            return
        if self._is_stalled(session, frame, now) or self._strikes("drop"):
            return
        at = max(now + self._latency(), self._last_out.get(session.number, 0))
        if self._strikes("reorder"):
            at += self._random.randint(1, 2_000) * MS
        else:
            self._last_out[session.number] = at
        self._later(at, lambda _: self._frames.append((session, frame)))
        if self._strikes("repeat"):
            again = at + self._latency()
            self._later(again, lambda _: self._frames.append((session, frame)))
        if session.listen_keys and self._strikes("expire_listen_key"):
            for key in session.listen_keys:
                self.venue.streams.expire(key, (now + self._skew) // MS)

    def _is_stalled(self, session: Session, frame: bytes, now: int) -> bool:
        if not self.faults.stall:
            return False
        topic = _topic(frame)
        if now < self._stalled.get((session.number, topic), 0):
            return True
        if self._strikes("stall"):
            self._stalled[session.number, topic] = now + self.faults.stall_ms * MS
            return True
        return False


def _topic(frame: bytes) -> str:
    """What a frame is about: its stream, or its event and symbol."""
    if frame.startswith(b"["):
        return "array"
    found = msgspec.json.decode(frame, type=_Topic)
    return found.stream or found.e + found.s
