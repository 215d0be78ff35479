"""What every dialect keeps of its conversation with a venue: addresses, the venue's clock, what it wants done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.json import encode

from adapters.addresses import pinned, together
from adapters.answers import Reaction, outcome
from adapters.offset import Offset
from adapters.reading import symbols_of
from agent.core.events import Fact, Fault
from agent.core.venue import Abilities, Ask, Call, Open, Request, Say, Shut

CALL_MS: Final = 10_000
"""How long an answer to a request may take; …"""
ORDER_MS: Final = 5_000
"""… and to one about an order."""


class Conversation:
    """The beginning of a dialect of ``venue``: for ``symbols``, at most so many, at two addresses.

    They are of ``domains``, and both of one of the ``sites``, which are environments apart. Raises ValueError with the
    cure.
    """

    abilities: Abilities

    def __init__(
        self,
        venue: str,
        symbols: Sequence[str],
        most: int,
        rest_url: str,
        stream_url: str,
        domains: Sequence[str],
        sites: Sequence[tuple[str, ...]],
    ) -> None:
        self.symbols = symbols_of(symbols, most)
        self._rest = pinned("rest_url", rest_url, ("https", "http"), domains, venue)
        self._stream = pinned("stream_url", stream_url, ("wss", "ws"), domains, venue)
        together(self._rest, self._stream, sites)
        self._offset = Offset()
        self._acts: list[Open | Shut | Say | Ask] = []
        self._tag = 0

    def acts(self) -> list[Open | Shut | Say | Ask]:
        """What is wanted on the wire, drained."""
        acts, self._acts = self._acts, []
        return acts

    def _want(self, act: Open | Shut | Say | Ask) -> None:
        """Have something done, once, however often it is wanted until then; what has no answer here is not asked."""
        if act not in self._acts and not (isinstance(act, Ask) and act.what not in self.abilities.answers):
            self._acts.append(act)

    def _say(self, socket: str, message: object) -> None:
        """Have a message sent as JSON."""
        self._acts.append(Say(socket, encode(message).decode()))

    def _call(
        self,
        request: Request,
        method: str,
        path: str,
        now: int,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        timeout_ms: int = CALL_MS,
        conceal: str | None = None,
        host: str | None = None,
    ) -> Call:
        """A request over HTTP, to another host than that of all others if it says so."""
        self._tag += 1
        url = f"{host or self._rest}{path}"
        return Call(self._tag, request, method, url, headers, body, timeout_ms, conceal, now)

    def on_silence(self, call: Call, sent: bool, reason: str, now: int) -> Sequence[Fact]:
        """What is known when no answer comes: nothing, unless the request never left."""
        return outcome(call.request, Reaction.UNKNOWN if sent else Fault.BUSY, "", reason)
