"""What left for a venue, as its side on a real socket got it: our requests, and another client's for the same end."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from msgspec import Struct

from adapters.simulator import DEMO_SECRET, Server
from adapters.simulator.wire import Reply, Venue


class Seen(NamedTuple):
    """A request as it came, and what it was answered."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """By lower-case names."""
    body: bytes
    reply: Reply

    @property
    def params(self) -> dict[str, str]:
        """Its parameters, those of its body included, in words that compare: 0.010 is 0.01, and true is true."""
        text = self.body.decode()
        inside = json.loads(text) if text[:1] == "{" else dict(parse_qsl(text, keep_blank_values=True))
        found = {**dict(parse_qsl(self.query, keep_blank_values=True)), **inside}
        return {name: _word(value) for name, value in found.items()}


def _word(value: object) -> str:
    text = json.dumps(value) if isinstance(value, bool | dict | list) else str(value)
    try:
        return str(Decimal(text).normalize() + 0)
    except InvalidOperation:
        return text


def record(venue: Venue) -> list[Seen]:
    """All requests that the venue's side gets from here on."""
    seen: list[Seen] = []
    inner = venue.request

    def request(
        method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, now: int, **more: Any
    ) -> Reply:
        reply = inner(method, path, query, headers, body, now, **more)
        lower = {name.lower(): value for name, value in headers.items()}
        seen.append(Seen(method, path, query, lower, body, reply))
        return reply

    venue.request = request  # type: ignore[method-assign]
    return seen


def sha256(text: str) -> str:
    """The HMAC of a text by the secret of the demo account, in hex."""
    return hmac.new(DEMO_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


class Difference(NamedTuple):
    """What differs for some purposes: a parameter, or ``method`` or ``path``. None: not sent."""

    purposes: tuple[str, ...]
    what: str
    ours: str | None
    theirs: str | None
    why: str


class Other(Struct, frozen=True):
    """Another client of a venue, and how what it sends differs from what we do."""

    build: Callable[[Server], Any]
    """The client, its base addresses turned to a server and nothing else changed."""
    symbol: str
    signature: Callable[[Seen], tuple[str, str]]
    """The signature in a request, and what the venue's document has it be, by the secret of the demo account."""
    moment: frozenset[str]
    """Parameters that differ from one moment to the next."""
    named: str
    """The parameter that carries our id to the client for a new order, …"""
    cancels: str
    """… and the one with which it cancels by it."""
    differences: tuple[Difference, ...]
    spells: Mapping[str, str] = {}
    """Parameters that the client spells in its own way, by ours: the venue's side takes both."""
    lever: Mapping[str, str] = {}
    """What the client wants to be told besides to change a leverage setting."""
    contract: float = 1.0
    """Base units in one of the client's units of quantity."""
