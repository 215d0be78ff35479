"""What every venue's side has in common: replies, sockets, and what the gateway needs to know of a venue's wire."""

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from adapters.simulator.exchange import Exchange

JSON: Final = {"Content-Type": "application/json"}
HTML: Final = {"Content-Type": "text/html"}


class Reply(Struct, frozen=True):
    """An HTTP answer.

    On a socket the connection dies once `cut` bytes of it have left, head included, and each byte of its body takes
    `drip_ms` milliseconds.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int | None = None
    drip_ms: float = 0.0


class WireError(Exception):
    """An answer that is not a success: the venue's code, its words, and the HTTP status that they come under."""

    status = 400

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = self.status if status is None else status


class Close(Struct, frozen=True):
    """Stands for a frame where a websocket ends: closed with a code (1006: without a closing frame), reset, or cut in
    the middle of a frame.

    One that is frozen stays open, but neither says nor hears anything any more, pings included.
    """

    code: int = 1001
    how: Literal["close", "reset", "cut", "freeze"] = "close"


CLOSE: Final = Close()
"""The exchange closes a socket of its own accord."""

Frame = bytes | Close


UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the reading of a frame may raise that was spoilt."""

_PADDING = 2 * 2**20
_NESTED = 100_000


def spoil(frame: bytes, do: str) -> bytes | None:
    """A frame of JSON text garbled in a way that needs no understanding of it; None for other kinds of forgery.

    What comes out is not JSON any more but for the padded one: bytes that are others and make sense nevertheless are
    what TLS is there against.
    """
    middle = len(frame) // 2
    match do:
        case "garble":
            dice = random.Random(zlib.crc32(frame))
            spoilt = bytearray(frame)
            for _ in range(1 + len(frame) // 40):
                spoilt[dice.randrange(len(frame))] = dice.randrange(9)  # what JSON nowhere allows
            return bytes(spoilt)
        case "truncate":
            return frame[:middle]
        case "bad text":
            return frame[:middle] + b"\xff\xfe" + frame[middle:]
        case "nest":
            return b"[" * _NESTED + b"]" * _NESTED
        case "huge":
            return frame[:1] + b" " * _PADDING + frame[1:]
        case _:
            return None


def forged(frame: bytes, do: str, alter: Callable[[Any], bool]) -> bytes | None:
    """A frame of JSON text garbled, or else what is in it altered; None where it has no place for that.

    `alter` puts something wrong into what was decoded, and says whether it could.
    """
    spoilt = spoil(frame, do)
    if spoilt is not None:
        return spoilt
    try:
        whole = msgspec.json.decode(frame)
    except UNREADABLE:  # another fault was here before
        return None
    return msgspec.json.encode(whole) if isinstance(whole, dict) and alter(whole) else None


def mispriced(price: str, do: str, by: float) -> str:
    """A price as a fault leaves it: nought with its decimals, no number, one that nobody can hold, or another one."""
    absurd = {"zero": f"{Decimal(price) * 0:f}", "nan": "NaN", "overflow": "1e400"}
    return absurd.get(do) or f"{float(price) * (-1 if do == 'negative' else by):.8f}"


def without(query: str, *beginnings: str) -> str:
    """A query without the pairs that begin so."""
    return "&".join(pair for pair in query.split("&") if not pair.startswith(beginnings))


def misshape(body: bytes, do: str) -> bytes | None:
    """A reply of JSON with a field more or less in each object that it lists; None if it has no object."""
    whole = msgspec.json.decode(body)
    objects = [one for one in (whole if isinstance(whole, list) else [whole]) if isinstance(one, dict) and one]
    if not objects:
        return None
    for one in objects:
        if do == "new field":
            one["zz"] = {"new": [1, "two"]}
        else:
            names = list(one)
            del one[names[zlib.crc32(body) % len(names)]]
    return msgspec.json.encode(whole)


class Session(Protocol):
    """One websocket connection, as the venue's side keeps it."""

    number: int
    closed: bool

    @property
    def private(self) -> bool:
        """Whether it carries an account's events."""
        ...


class Topic(NamedTuple):
    """What a frame is about: a word of `faults.TOPICS`, and the symbol where it is about one."""

    what: str
    symbol: str = ""


class Venue(Protocol):
    """A venue's wire over an exchange, and what the gateway must know of it to make it fail as the venue would.

    Times are UTC nanoseconds.
    """

    exchange: Exchange
    binary: bool
    """Whether its frames are binary, not text; `text` says then what is in one."""

    def request(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        now: int,
        *,
        client: str = "127.0.0.1",
        arrived: int | None = None,
    ) -> Reply:
        """Answer an HTTP request."""
        ...

    def connect(self, target: str, now: int, headers: Mapping[str, str]) -> Session:
        """Open a websocket; the headers are those of its handshake."""
        ...

    def receive(self, session: Session, text: str | bytes, now: int) -> list[bytes]:
        """The answers to a message from a client."""
        ...

    def disconnect(self, session: Session) -> None:
        """Note that a socket is gone."""
        ...

    def disconnect_all(self) -> None:
        """Close every socket."""
        ...

    def advance(self, now: int) -> Sequence[tuple[Session, Frame]]:
        """Let everything happen that is due, and take the frames to send, in order."""
        ...

    @property
    def next_at(self) -> int:
        """When something next happens by itself."""
        ...

    def kind(self, method: str, path: str) -> str:
        """What a request is for: a word of `faults.REQUESTS_ABOUT`."""
        ...

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what, without what makes each signed request different: equal for two equal questions."""
        ...

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure.

        `do` is unknown, timeout, overload, limit, refuse, unavailable or error inside 200. `code` replaces the
        venue's usual error code, `until` is when a limit or a maintenance ends.
        """
        ...

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """A reply's list with so many items left, or None if it has no more than that or is no list."""
        ...

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message from a client."""
        ...

    def text(self, frame: bytes) -> bytes:
        """What a frame says: itself, unless the venue packs its frames."""
        ...

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about."""
        ...

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it, a kind of `faults.FORGERIES`; None where it has no place for that.

        `by` is a factor or milliseconds, `symbol` another symbol.
        """
        ...

    def expire(self, session: Session, now: int, *, told: bool) -> bool:
        """End the keys of a private socket, with or without saying so; whether it had any."""
        ...

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out."""
        ...

    def set_limits(self, weight: int | None, orders_10s: int | None, orders_1m: int | None) -> tuple[int, int, int]:
        """Change what an address and an account may use, where it is given; gives what was before."""
        ...

    def use_weight(self, weight: int, now: int, client: str = "127.0.0.1") -> None:
        """Have somebody else at an address use some of its budget."""
        ...

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        ...

    def change_key(self, key: str, rights: Mapping[str, object]) -> None:
        """Change what the venue says a key may do, and does with it: trade, withdraw, ip, expires_ms."""
        ...

    def revoke_key(self, key: str) -> None:
        """Forget a key."""
        ...
