"""The upkeep of Bybit's websockets: logging in, subscribing, pings, and which of them have proved themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.json import encode

from adapters import bybit_frames as wire
from adapters.bybit_routes import SECOND
from agent.core import events as fact
from agent.core.events import PRIVATE, Fact
from agent.core.venue import Say, Shut

PING_NS: Final = 20 * SECOND
PROOF_NS: Final = 10 * SECOND
"""How long logging in and subscribing may take."""
SUBSCRIBE_MAX: Final = 10
TOPICS: Final = ("order", "execution", "position", "wallet")
"""What is subscribed to on the private socket."""


class Sockets:
    """The connected sockets. ``act`` takes what is to be said on them, and which of them to close."""

    def __init__(self, act: Callable[[Say | Shut], None]) -> None:
        self.up: set[str] = set()
        """Those that have proved that they tell, or take, what they should."""
        self._act = act
        self._pings: dict[str, int] = {}
        """When each is pinged next."""
        self._proofs: dict[str, int] = {}
        """Those that have to log in, and when each is given up unless it has proved itself."""
        self._subscribing: dict[str, tuple[str, tuple[str, ...]]] = {}
        """Subscriptions not acknowledged yet: socket and topics, by the id of the request."""
        self._requests = 0

    def opened(self, socket: str, now: int) -> None:
        """It is connected."""
        self._pings[socket] = now + PING_NS

    def closed(self, socket: str) -> None:
        """It is gone, and so is what was asked on it."""
        self._pings.pop(socket, None)
        self._proofs.pop(socket, None)
        self.up.discard(socket)
        self._subscribing = {name: one for name, one in self._subscribing.items() if one[0] != socket}

    def wake(self, now: int) -> None:
        """Ping, and give up what does not let us in."""
        for socket, at in self._pings.items():
            if now >= at:
                self._pings[socket] = now + PING_NS
                self.say(socket, {"op": "ping"})
        for socket, at in list(self._proofs.items()):
            if now >= at:
                del self._proofs[socket]
                self._act(Shut(socket, "it has not let us in in time"))

    @property
    def wake_at(self) -> int | None:
        """When a ping is due, or patience is over."""
        return min([*self._pings.values(), *self._proofs.values()], default=None)

    def say(self, socket: str, command: dict[str, object]) -> None:
        """Have something said."""
        self._act(Say(socket, encode(command).decode()))

    def log_in(self, socket: str, key: str, until_ms: int, signature: str, now: int) -> None:
        """Say who we are."""
        self._proofs[socket] = now + PROOF_NS
        self.say(socket, {"op": "auth", "args": [key, until_ms, signature]})

    def prove(self, socket: str) -> list[Fact]:
        """It has proved itself."""
        self._proofs.pop(socket, None)
        if socket in self.up:
            return []
        self.up.add(socket)
        return [fact.Up(socket)]

    def subscribe(self, socket: str, topics: Sequence[str], size: int = SUBSCRIBE_MAX) -> None:
        """In small parts: one topic that the venue does not know has it refuse the whole of a request."""
        for start in range(0, len(topics), size):
            self._requests += 1
            name, some = f"s{self._requests}", tuple(topics[start : start + size])
            self._subscribing[name] = (socket, some)
            self.say(socket, {"req_id": name, "op": "subscribe", "args": some})

    def resubscribe(self, socket: str, topic: str) -> None:
        """Have a topic sent whole again."""
        self.say(socket, {"op": "unsubscribe", "args": [topic]})
        self.subscribe(socket, [topic])

    def subscribed(self, socket: str, frame: wire.Frame, *, well: bool) -> Sequence[Fact]:
        """A subscription is acknowledged, or refused: then each of its topics is tried alone."""
        waiting = [name for name, (where, _) in self._subscribing.items() if where == socket]
        named = [name for name in waiting if any(topic in frame.ret_msg for topic in self._subscribing[name][1])]
        name = frame.req_id if frame.req_id in waiting else next(iter([*named, *waiting]), None)
        _, topics = self._subscribing.pop(name, (socket, ())) if name else (socket, ())
        if well:
            return self.prove(socket) if socket == PRIVATE and topics else []
        if len(topics) > 1 and socket != PRIVATE:
            self.subscribe(socket, topics, 1)
            return []
        what = f"subscription to {', '.join(topics)} was refused: {frame.ret_msg}"
        return [fact.Unknown(socket, what[:200], "", private=socket == PRIVATE)]
