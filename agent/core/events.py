"""What can happen: the facts that the core is told.

A fact is a small frozen value. ``instrument`` is an index (see `agent.core.instruments`), ``at`` the venue's own time
of the event and ``*_at`` any moment, all in UTC nanoseconds; ``lots`` are signed, long +, short -. A number that the
venue did not send is None, never 0.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from agent.core.instruments import Instrument, Tier

MARKET: Final = "market"
"""The stream that tells mark prices, by its name at every venue."""
PRIVATE: Final = "private"
"""The stream that tells of the account, by its name at every venue."""


class Side(StrEnum):
    """Which row of a position: the net one, or, in hedge mode, its long or short row."""

    NET = "net"
    LONG = "long"
    SHORT = "short"


class Event(Struct, frozen=True, gc=False, tag=True, kw_only=True):
    """Whatever the core can be told. ``account``: of which of the portfolio's accounts, by its index."""

    account: int = 0


# The market


class Mark(Event, frozen=True):
    """The price at which the venue values positions, and the index behind it."""

    instrument: int
    price: float
    index: float | None
    at: int


class Quote(Event, frozen=True):
    """Best bid and ask with their sizes (in quantity units, not lots)."""

    instrument: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    at: int


class Depth(Event, frozen=True):
    """The visible book, best level first, as (price, size) pairs; replaces what was known."""

    instrument: int
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    at: int


class Funding(Event, frozen=True):
    """The rate expected at the next settlement, as a fraction of notional; positive: longs pay."""

    instrument: int
    rate: float
    next_at: int
    at: int


# The rules of the venue


class Listed(Event, frozen=True):
    """Grids and limits of the instruments of the portfolio; an instrument not listed here can't be traded."""

    instruments: tuple[Instrument, ...]


class Tiers(Event, frozen=True):
    """The margin table of an instrument, lowest bracket first."""

    instrument: int
    tiers: tuple[Tier, ...]


class Fees(Event, frozen=True):
    """The account's own fee rates for an instrument, as fractions of notional; negative is a rebate."""

    instrument: int
    maker: float
    taker: float


class Interval(Event, frozen=True):
    """Time between two funding settlements of an instrument."""

    instrument: int
    hours: float


class Leverage(Event, frozen=True):
    """The leverage setting of an instrument on this account, which fixes its initial margin."""

    instrument: int
    leverage: int
    isolated: bool | None = None
    """Whether a position of it has a margin wallet of its own; None where that was not told."""


class Unset(Event, frozen=True):
    """A definite no: the venue did not change a leverage setting to this and never will; it is what it was."""

    instrument: int
    leverage: int
    reason: str


class Volume(Event, frozen=True):
    """What was traded of an instrument in the last 24 hours, in its quote currency."""

    instrument: int
    quote: float


class Mode(Event, frozen=True):
    """How the account is set up: one-way or hedge, one collateral or many, allowed to trade or not."""

    hedge: bool
    multi_asset: bool
    can_trade: bool | None
    """None where the venue does not say it of the account; its key has `Rights`."""


# The account


class Position(Event, frozen=True):
    """What is held, as the venue states it. ``entry`` is None for a flat position.

    ``isolated`` is the wallet assigned to a position of isolated margin, in the settlement currency and without its
    unrealised profit; None: it draws on the whole account (cross margin), or is flat.
    """

    instrument: int
    side: Side
    lots: int
    entry: float | None
    at: int
    isolated: float | None = None
    """The wallet assigned to it, in the settlement currency; None where the account's common margin covers it."""


class Positions(Event, frozen=True):
    """All positions of the account in one answer; an instrument that is missing here is flat.

    ``asked_at`` is the venue's time when the question left: the answer is at least that new.
    """

    rows: tuple[Position, ...]
    strangers: tuple[str, ...]
    """Symbols held on the account that are not in the portfolio file."""
    asked_at: int


class Balance(Event, frozen=True):
    """Wallet balance of one collateral asset, without unrealised profit."""

    asset: str
    wallet: float
    at: int


class Reserve(Struct, frozen=True):
    """The maintenance margin that the venue sets aside for one position, in its own words."""

    instrument: int
    side: Side
    maintenance: float


class Margin(Event, frozen=True):
    """The venue's own totals for the account, in its valuation currency."""

    wallet: float
    equity: float
    initial: float
    maintenance: float | None
    """None where the venue does not state it."""
    available: float
    asked_at: int
    reserves: tuple[Reserve, ...] | None = None
    """The positions that the same answer lists, as far as the portfolio file names them; None where it lists none."""
    held: float | None = None
    """The initial margin of positions at their entries, without that of orders; None where it is not told apart."""
    in_use: float | None = None
    """Equity that is neither free nor kept for orders, where a venue says no more of margin: the initial margin of
    positions at their marks, and maybe their profit besides."""


class Flow(Event, frozen=True):
    """Money that came or went without a trade: ``kind`` is deposit, withdrawal, transfer, funding or another word."""

    asset: str
    amount: float
    kind: str
    at: int


class Warned(Event, frozen=True):
    """The venue warns about the account, in its own words: a person should be told."""

    what: str
    at: int


class Owner(Event, frozen=True):
    """Which account the key belongs to, by the venue's own name for it."""

    name: str


class Rights(Event, frozen=True):
    """What the key may do: take money out, move it between accounts, trade; and what bounds it.

    ``bound``: it works from named addresses alone. ``expires_at``: when its right to trade ends, None if never.
    """

    withdraw: bool
    transfer: bool
    trade: bool
    bound: bool
    expires_at: int | None


# Orders: ours, and those of others


class Force(StrEnum):
    """Why the venue itself trades on an account."""

    LIQUIDATION = "liquidation"
    DELEVERAGING = "auto-deleveraging"
    """The other side of a position was liquidated, and nobody else was there to take it over."""
    SETTLEMENT = "settlement"
    """The contract ends."""


class Elsewhere(Event, frozen=True):
    """Something happened to the account on an instrument that the portfolio file does not name."""

    symbol: str


class Forced(Event, frozen=True):
    """The venue itself trades on the account, under this order; its trades are told as those of any other are."""

    order: str
    kind: Force
    symbol: str
    at: int


class Accepted(Event, frozen=True):
    """The venue has the order, as ``venue_order``; ``filled_lots`` of it are done (unsigned, cumulative)."""

    order: str
    venue_order: str
    filled_lots: int
    at: int


class Filled(Event, frozen=True):
    """One trade of an order. ``lots`` is this trade's signed size, ``filled_lots`` the unsigned total so far.

    ``fee`` is positive where it was paid; ``maker`` is None where the venue does not tell.
    """

    order: str
    instrument: int
    trade: str
    lots: int
    price: float
    fee: float
    fee_asset: str
    maker: bool | None
    filled_lots: int
    at: int


class Ended(Event, frozen=True):
    """The order will not trade any more: ``how`` is filled, cancelled, expired or another of the venue's words."""

    order: str
    how: str
    filled_lots: int
    at: int


class Refused(Event, frozen=True):
    """A definite no: the venue did not take the order and never will."""

    order: str
    code: str
    reason: str
    fault: Fault


class Lost(Event, frozen=True):
    """No answer that proves anything: the order may exist or not."""

    order: str
    reason: str


class Absent(Event, frozen=True):
    """The venue says explicitly that it does not know the order. ``asked_at`` as in `Positions`."""

    order: str
    asked_at: int


class Orders(Event, frozen=True):
    """All open orders of the account in one answer."""

    rows: tuple[OpenOrder, ...]
    asked_at: int


class OpenOrder(Struct, frozen=True, gc=False):
    """An order that rests at the venue, ours or a stranger's."""

    order: str
    venue_order: str
    instrument: int | None
    lots: int
    filled_lots: int


class Fault(StrEnum):
    """Why a venue refused, as far as it matters for what to do next."""

    RULE = "rule"
    """Breaks one of the venue's rules (grid, size, price band): our rules are stale, or we have a bug."""
    MARGIN = "margin"
    """Not enough margin, or over the position limit at this leverage."""
    REDUCE = "reduce"
    """Would not reduce: our position is stale."""
    PRICE = "price"
    """Post-only would take, or fill-or-kill can't fill: normal, price again."""
    CLOCK = "clock"
    """Outside the time window: measure the clock again."""
    BUSY = "busy"
    """The venue had no time for it: the same order may be tried later."""
    CLOSED = "closed"
    """The instrument takes no new orders, or only reductions."""
    ACCOUNT = "account"
    """Key, permission or account trouble: nobody but a person can mend it."""
    OTHER = "other"


# The connection


class Up(Event, frozen=True):
    """A stream is connected and subscribed."""

    stream: str


class Down(Event, frozen=True):
    """A stream is gone; what it told us ages from here."""

    stream: str
    reason: str


class Unanswered(Event, frozen=True):
    """A question, or a change of a setting, got no usable answer. ``what`` names it; nothing is known from this."""

    what: str
    reason: str
    instrument: int | None = None
    """Where the question was about one."""


class Throttled(Event, frozen=True):
    """The venue wants silence until ``until``; ``banned`` when it has shut us out."""

    until: int
    banned: bool
    reason: str


class Used(Event, frozen=True):
    """How much of a request budget the venue says is used in the current window."""

    bucket: str
    amount: int


class Allowed(Event, frozen=True):
    """How large a request budget is, for one window, as the venue says now."""

    bucket: str
    amount: int


class Unarmed(Event, frozen=True):
    """The dead-man's switch of an instrument was not set, or nobody knows: no answer says that it was."""

    instrument: int
    reason: str


class Clock(Event, frozen=True):
    """Venue time minus our time, and half of the round trip that measured it."""

    offset_ns: int
    error_ns: int


class Denied(Event, frozen=True):
    """The venue rejects our key or account as such."""

    reason: str


class Unknown(Event, frozen=True):
    """Something that we could not read, stated instead of guessed; ``private`` when it was about the account."""

    stream: str
    what: str
    excerpt: str
    private: bool


# The house itself


class Command(Event, frozen=True):
    """An operator's word: pause, resume, reduce-only, rebalance …"""

    name: str
    argument: str = ""


class Wake(Event, frozen=True):
    """The time that was asked for has come."""


Fact = (
    Mark | Quote | Depth | Funding
    | Listed | Tiers | Fees | Interval | Leverage | Unset | Volume | Mode
    | Position | Positions | Balance | Margin | Flow | Warned | Owner | Rights | Elsewhere | Forced
    | Accepted | Filled | Ended | Refused | Lost | Absent | Orders
    | Up | Down | Unanswered | Throttled | Used | Allowed | Unarmed | Clock | Denied | Unknown
    | Command | Wake
)  # fmt: skip
