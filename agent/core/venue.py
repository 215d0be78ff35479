"""The contract with a venue: what the core asks for, what a dialect must do, how a reply is classed.

A dialect is a translator without a socket. It is told what came over the wire and answers with facts; it is given a
request and answers with the bytes to send. All waiting, retrying and rate limiting happens outside of it, in
`agent.core.limits` and `agent.core.desk`, so a new venue is one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import NoReturn, Protocol, assert_never

from msgspec import Struct

from agent.core.events import Fact
from agent.core.orders import Order

# Who asks


class Secret:
    """A text that must not be seen: every way of printing, formatting or pickling it shows dots instead."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for signing and for nothing else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class Credentials(Struct, frozen=True):
    """An API key and what signs with it: an HMAC secret, or a private key in PEM (Ed25519 or RSA)."""

    key: Secret
    secret: Secret
    passphrase: Secret | None = None
    """What some venues want besides, as it was chosen when the key was made."""


# What the core may ask of a venue


class What(StrEnum):
    """A question about the venue or the account. Its answer is facts."""

    TIME = "time"
    INSTRUMENTS = "instruments"
    PRICES = "prices"
    INTERVALS = "intervals"
    TIERS = "tiers"
    FEES = "fees"
    """Of one instrument."""
    LEVERAGE = "leverage"
    MODE = "mode"
    ACCOUNT = "account"
    POSITIONS = "positions"
    ORDERS = "orders"
    ORDER = "order"
    """Of one order, by our id."""
    TRADES = "trades"
    """Our fills in one instrument, from ``since`` on."""
    VOLUMES = "volumes"
    """What was traded in the last 24 hours."""
    KEY = "key"
    """The key of the private stream, new or renewed: asked by the dialect itself."""
    OWNER = "owner"
    """Which account the key belongs to."""
    RIGHTS = "rights"
    """What the key may do."""


SIGNED = frozenset(
    {
        What.TIERS, What.FEES, What.LEVERAGE, What.MODE, What.ACCOUNT, What.POSITIONS, What.ORDERS, What.ORDER,
        What.TRADES, What.KEY, What.OWNER, What.RIGHTS,
    }
)  # fmt: skip
"""Questions that a venue answers for the holder of a key alone, or may."""


class Ask(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """A question. ``instrument`` and ``order`` where the question is about one."""

    what: What
    instrument: int | None = None
    order: str | None = None
    since: str | None = None
    """The last trade already known, where trades are asked for."""
    account: int = 0
    """Of the portfolio's accounts the one whose venue is asked, by its index."""


class Place(Struct, frozen=True, gc=False, tag=True):
    """Send this order, once."""

    order: Order


class Batch(Struct, frozen=True, gc=False, tag=True):
    """Send these orders in one request, each once; each is accepted, refused or lost for itself."""

    orders: tuple[Order, ...]


class Cancel(Struct, frozen=True, gc=False, tag=True):
    """Cancel an order by our id."""

    order: str
    instrument: int


class Arm(Struct, frozen=True, gc=False, tag=True):
    """Tell the venue to cancel all orders of an instrument unless it hears again within ``ms``; 0 disarms.

    Anything but a plain yes is answered by `events.Unarmed`.
    """

    instrument: int
    ms: int


class SetLeverage(Struct, frozen=True, gc=False, tag=True):
    """Change the leverage setting of an instrument.

    Done, it is answered by `events.Leverage`; refused, by `events.Unset`; without an answer, by `events.Unanswered`
    whose ``what`` begins with "leverage ". It is never sent again by itself: `What.LEVERAGE` tells what became of it.
    """

    instrument: int
    leverage: int


Request = Ask | Place | Batch | Cancel | Arm | SetLeverage

Change = Place | Batch | SetLeverage
"""What may change the account for the worse: on disk before it leaves, and not sent when that fails."""


class Lane(IntEnum):
    """What goes first when a budget is short: safety, then truth, then everything else."""

    RESCUE = 0
    """Cancels, and orders that only reduce."""
    RESOLVE = 1
    """Questions about orders of unknown outcome, and the keys of private streams."""
    CREATE = 2
    """Orders that increase, and the settings that they need."""
    REFRESH = 3
    """All other questions."""


def lane_of(request: Request) -> Lane:
    """Which lane a request belongs to, at every venue."""
    match request:
        case Cancel() | Arm():
            return Lane.RESCUE
        case Place(order):
            return Lane.RESCUE if order.reduce else Lane.CREATE
        case Batch(orders):
            return Lane.RESCUE if all(order.reduce for order in orders) else Lane.CREATE
        case SetLeverage():
            return Lane.CREATE
        case Ask(what):
            return Lane.RESOLVE if what in (What.ORDER, What.KEY) else Lane.REFRESH
        case _:
            assert_never(request)


class Weight(Struct, frozen=True, gc=False):
    """What a request takes from each bucket, by the bucket's name."""

    lane: Lane
    takes: tuple[tuple[str, int], ...]


class Bucket(Struct, frozen=True):
    """A request budget of a venue: ``capacity`` units per window of ``window_ns``, aligned to the clock."""

    name: str
    capacity: int
    window_ns: int


# What a dialect wants done on the wire


class Open(Struct, frozen=True, tag=True):
    """Open a websocket under this name. ``quiet_ns``: without a frame for so long it is taken for dead.

    ``headers`` go with the handshake, and hold the key and a signature where the venue wants them there.
    """

    socket: str
    url: str
    quiet_ns: int | None
    headers: tuple[tuple[str, str], ...] = ()


class Shut(Struct, frozen=True, tag=True):
    """Close a websocket."""

    socket: str
    reason: str


class Say(Struct, frozen=True, tag=True):
    """Send a text frame."""

    socket: str
    text: str


class Call(Struct, frozen=True, tag=True):
    """One HTTP request, signed and ready, to be sent exactly once.

    ``url`` holds the signature where the venue wants it there, so it is never logged; ``body`` as well. ``timeout_ms``
    bounds the whole call. ``conceal``: the reply holds a secret and is replaced by this text wherever it is recorded.
    """

    tag: int
    request: Request
    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout_ms: int
    conceal: str | None = None
    at: int = 0
    """When it was signed."""
    socket: str | None = None
    """The websocket on which ``body`` is said instead: an answer to it comes there as well (`Entry`)."""


class Reply(Struct, frozen=True):
    """What came back for a call: status, lower-case headers that matter, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Entry(Protocol):
    """A websocket that takes orders, beside the venue's REST interface, which stands in while it is not open.

    It is kept open like any other, and nothing waits for it. A `Call` said on it is answered there, by a frame that
    names it; when the socket ends first, or the time is over, no answer will come: the order may exist or not.
    """

    socket: str
    """Its name."""

    def answer(self, data: bytes) -> tuple[int, Reply] | None:
        """The tag of the call that a frame answers, and the answer as a reply; None for any other frame."""
        ...


class Abilities(Struct, frozen=True):
    """What a dialect can do for the engine, as its venue and its key allow."""

    answers: frozenset[What]
    """The questions it can answer."""
    sockets: tuple[str, ...]
    """The websockets to keep open, by name, once the instruments are known."""
    singles: frozenset[What] = frozenset({What.FEES})
    """Of the standing questions those that are about one instrument at a time."""
    cadence: dict[What, int] = {}
    """Questions that must be asked more often than elsewhere, and how often (ns): what they tell does not stream.

    Prices among them are asked for the sake of `events.Funding`, which alone shows them to be answered.
    """
    arms: bool = False
    """Whether there is a dead-man's switch (`Arm`)."""
    ipv4: bool = False
    """Whether everything must leave by IPv4, because the addresses that a key is bound to can be no others."""
    entry: Entry | None = None
    """The websocket on which orders are sent while it is open."""


class Dialect(Protocol):
    """A venue's language. Pure: told the time, opens nothing, remembers only what the protocol needs.

    Whatever bytes arrive, a method answers with facts and never raises: what it can't read becomes `Unknown`.
    """

    name: str
    buckets: tuple[Bucket, ...]
    abilities: Abilities

    def connect(self, socket: str, now: int) -> Open | Ask:
        """What opens ``socket``: its address, or the question whose answer gives it (see `acts`)."""
        ...

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """The socket is connected; subscriptions are left in `acts`."""
        ...

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """A frame arrived."""
        ...

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """The socket is gone."""
        ...

    def on_wake(self, now: int) -> None:
        """Do what is due: renew keys, ping. Wishes are left in `acts`."""
        ...

    @property
    def wake_at(self) -> int | None:
        """When `on_wake` is wanted next."""
        ...

    def acts(self) -> list[Open | Shut | Say | Ask]:
        """What the dialect wants done, drained: sockets to open or close, frames to send, questions to ask."""
        ...

    def weigh(self, request: Request) -> Weight:
        """The lane and the price of a request."""
        ...

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """The request on the wire, signed at this moment; or, where the venue is arithmetic, its answer."""
        ...

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """An answer to ``call``, whatever its status."""
        ...

    def on_silence(self, call: Call, sent: bool, reason: str, now: int) -> Sequence[Fact]:
        """No answer will come. ``sent`` is False only when it is certain that not one byte left."""
        ...
