"""What the suite must be told of a venue; everything else it finds out by talking to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from adapters.answers import Reaction
from adapters.simulator import Account
from agent.core.events import Fact, Fault
from agent.core.venue import Dialect, Reply, Request, What


class Heard(NamedTuple):
    """A sample that is a frame on a socket; ``many``: a list of frames, one after the other.

    ``before`` and ``after`` complete a sample that was recorded without its envelope. The facts in it are exactly of
    these kinds, in this order.
    """

    socket: str
    kinds: tuple[type[Fact], ...]
    before: bytes = b""
    after: bytes = b""
    many: bool = False


class Answered(NamedTuple):
    """A sample that answers a request; ``before`` and ``after`` as in `Heard`. Each kind of fact is named once."""

    request: Request
    kinds: tuple[type[Fact], ...]
    status: int = 200
    before: bytes = b""
    after: bytes = b""


class Vector(NamedTuple):
    """A published signature of a text."""

    secret: str
    text: str
    signature: str


def outcomes(body: bytes, order: str) -> bool:
    """Where an answer is the outcome, none says only that a request was received."""
    return False


def as_it_is(data: bytes) -> bytes:
    """Frames that are text have no further packing."""
    return data


class Described(Struct, frozen=True):
    """One venue. ``name`` is what a portfolio file calls it, and the name of its side in the local exchange."""

    name: str

    folder: str
    """Where its samples lie below ``../shared/venues/payloads``. Two that share a folder share out its files."""
    recorded: Callable[[], Dialect]
    """A dialect with a key that knows the instruments which the samples are about."""
    samples: Mapping[str, Heard | Answered]
    """Each file that the dialect may meet, by its name without ending."""
    beside: Mapping[str, tuple[str, ...]]
    """The files that it never meets, by the reason."""

    replies: Mapping[Any, Fault | Reaction]
    """The dialect's own table of error codes."""
    classes: Mapping[Fault | None, tuple[int | str, ...]]
    """What the fact sheet says of each of these codes when an order is placed; None: nobody knows what became of it."""
    failure: Callable[[int | str], Reply]
    """An answer with this code, as the venue words it."""

    sign: Callable[[str, str], str]
    """The dialect's signature of a text by a secret."""
    vectors: tuple[Vector, ...]

    prices: tuple[tuple[str, int], ...] = (("BTCUSDT", 80_000), ("ETHUSDT", 2_500))
    """Two instruments of the local exchange, by its own names for them, and what they cost; one where an account trades
    no more."""
    account: Callable[..., Account] = Account
    """An account at the local exchange."""
    hedged: bool = False
    """Whether accounts have a long and a short row for every instrument, and no other mode. What the suite holds net is
    held in one of them then."""
    before: tuple[What, ...] = ()
    """What the dialect must have asked before it can send an order, or tell of a position or of funding."""
    received: Callable[[bytes, str], bool] = outcomes
    """Whether an answer says of an order, by our id, that a request was received: what becomes of it is told later."""
    pack: Callable[[bytes], bytes] = as_it_is
    """How the venue packs the text of a frame."""
