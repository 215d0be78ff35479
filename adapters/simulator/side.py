"""What every venue's side does alike: it has keys and sockets, lets time pass, and takes requests in.

A venue's own side is three classes, each on top of the one before: `Side`, then what the gateway must know to make it
fail as the venue would (`…_faults.py`), then its requests.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.exchange import Exchange
from adapters.simulator.orders import Event
from adapters.simulator.signing import Verifier
from adapters.simulator.wire import CLOSE, Frame, Reply, Session

MS = 1_000_000

RIGHTS = ("trade", "withdraw", "ip", "expires_ms")
"""What can be changed of a key; `ip`: it is bound to addresses."""

Own = TypeVar("Own", bound=Session)
Said = TypeVar("Said")


class Key(Struct):
    """An API key: whose it is, how its signatures are checked, and what was said since of what it may do."""

    name: str
    account: Account
    verifier: Verifier
    changes: dict[str, Any] = {}
    """In the words of `RIGHTS`."""

    @property
    def may_trade(self) -> bool:
        """Whether it may do more than ask, as long as it has not expired."""
        return bool(self.changes.get("trade", True))

    @property
    def withdraws(self) -> bool:
        """Whether it may move money out."""
        return bool(self.changes.get("withdraw", False))

    @property
    def bound(self) -> bool:
        """Whether it is bound to addresses."""
        return bool(self.changes.get("ip", True))

    @property
    def expires_ms(self) -> int | None:
        """When it ends, if it does."""
        return self.changes.get("expires_ms")

    def has_expired(self, now_ms: int) -> bool:
        """Whether it is over."""
        return self.expires_ms is not None and now_ms >= self.expires_ms


class Request(Struct, frozen=True):
    """An HTTP request as the venue gets it; `client` is the address that it comes from.

    `arrived_ms` is when the gateway let it in, which is before now if it has waited there.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client: str
    arrived_ms: int

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def name(self) -> str:
        """What is asked for, in a word."""
        return f"{self.method} {self.path}"


class Sockets(ABC, Generic[Own]):
    """All sessions of a venue's side, and the frames waiting to be sent to them; what they say is the venue's own."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.sessions: dict[int, Own] = {}
        self.outbox: list[tuple[Own, Frame]] = []
        self._count = 0

    def close(self, session: Own) -> None:
        """Close a session from the exchange's side."""
        if not session.closed:
            self.forget(session)
            self.outbox.append((session, CLOSE))

    def forget(self, session: Own) -> None:
        """Drop a session whose socket is gone."""
        session.closed = True
        self.sessions.pop(session.number, None)

    @property
    @abstractmethod
    def due_ms(self) -> int:
        """When something is next said by the clock."""

    @abstractmethod
    def receive(self, session: Own, text: str | bytes, now_ms: int) -> list[bytes]:
        """The answers to a message from a client."""

    @abstractmethod
    def publish(self, now_ms: int) -> None:
        """Say what is due by the clock, and what has changed."""

    @abstractmethod
    def tell(self, event: Event) -> None:
        """Push an event of the exchange to the sessions of its account."""

    @abstractmethod
    def step_clock(self, ms: int) -> None:
        """Note that the exchange's clock is stepped by so much."""


class Side(ABC):
    """What is the same in every venue's `wire.Venue`. `streams` are its sockets, which each side makes for itself."""

    binary = False
    streams: Sockets[Any]

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.keys: dict[str, Key] = {}
        for name, account in exchange.accounts.items():
            self.keys[name] = Key(name, account, Verifier(account.secret, account.public_key))
            for further, secret in account.keys.items():
                self.keys[further] = Key(further, account, Verifier(secret, None))

    @exactly
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
        """Answer an HTTP request from an address; what it causes on streams waits for `advance`.

        `arrived` is when the gateway let it in, if the venue gets to see it only now.
        """
        self.exchange.advance(now // MS)
        arrived_ms = self.exchange.now_ms if arrived is None else arrived // MS
        return self.answer(Request(method, path, query, headers, body, client, arrived_ms))

    @abstractmethod
    def answer(self, request: Request) -> Reply:
        """Answer a request at the exchange's present time."""

    @exactly
    def receive(self, session: Session, text: str | bytes, now: int) -> list[bytes]:
        """The answers to a message from a client."""
        self.exchange.advance(now // MS)
        return self.streams.receive(session, text, self.exchange.now_ms)

    def disconnect(self, session: Session) -> None:
        """Note that a client has gone."""
        self.streams.forget(session)

    def disconnect_all(self) -> None:
        """Close every socket from the exchange's side."""
        for session in list(self.streams.sessions.values()):
            self.streams.close(session)

    @exactly
    def advance(self, now: int) -> list[tuple[Session, Frame]]:
        """Let everything happen that is due, and take the frames to send, in order."""
        self.exchange.advance(now // MS)
        self.streams.publish(self.exchange.now_ms)
        frames = self.streams.outbox
        if frames:
            self.streams.outbox = []
        return frames

    @property
    def next_at(self) -> int:
        """When something next happens here by itself."""
        return min(self.exchange.due_ms, self.streams.due_ms) * MS

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        self.streams.step_clock(ms)
        self.exchange.step_clock(ms)

    def change_key(self, key: str, rights: Mapping[str, object]) -> None:
        """Change what a key may do, by the words of `RIGHTS`; a venue may tell nobody of some of them."""
        unknown = rights.keys() - RIGHTS
        if unknown:
            raise ValueError(f"{min(unknown)} is no right of a key: change {', '.join(RIGHTS)}")
        self.keys[key].changes.update(rights)

    def forget_key(self, key: str) -> Account | None:
        """Forget a key; gives its account if no other key of that is left."""
        found = self.keys.pop(key, None)
        if found is None or any(other.account is found.account for other in self.keys.values()):
            return None
        return found.account

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """A list with so many items left; None if it is none, or no longer than that."""
        found = msgspec.json.decode(body)
        if not isinstance(found, list) or len(found) <= keep:
            return None
        return msgspec.json.encode(found[:keep])

    def text(self, frame: bytes) -> bytes:
        """What a frame says: itself."""
        return frame

    def expire(self, session: Session, now: int, *, told: bool) -> bool:
        """End the keys of a private socket, with or without saying so; whether it had any: here there are none."""
        return False


class BaseCall(Generic[Said]):
    """A request that has passed the gateway: who asks for what, when."""

    def __init__(self, side: Side, key: Key | None, params: Said, now_ms: int) -> None:
        self.side = side
        self.exchange = side.exchange
        self.params = params
        self.now_ms = now_ms
        self._key = key

    @property
    def key(self) -> Key:
        """The key of the request, on endpoints that need one."""
        assert self._key is not None, "this endpoint lets everybody in"
        return self._key

    @property
    def account(self) -> Account:
        """Who asks, on endpoints that need a key."""
        return self.key.account
