"""Our orders: what one is, how it lives, and what to do while its fate is unknown."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from agent.core.events import Side


class Style(StrEnum):
    """How an order takes or makes a price."""

    MARKET = "market"
    IOC = "ioc"
    """Limit, immediate or cancel: takes up to a price and leaves nothing behind."""
    POST = "post"
    """Limit, post-only: rests or is refused."""


class State(StrEnum):
    """Where an order stands."""

    SENT = "sent"
    """Written down and given to the router; no answer yet."""
    WORKING = "working"
    """The venue has it."""
    UNKNOWN = "unknown"
    """It may exist or not; we are asking."""
    DONE = "done"
    """It will not trade any more, and how much it traded is known."""


class Order(Struct, frozen=True):
    """One order, sent at most once under its id."""

    id: str
    instrument: int
    symbol: str
    side: Side
    lots: int
    """Signed: buy +, sell -."""
    ticks: int | None
    """Limit price; None for a market order."""
    style: Style
    reduce: bool
    """Must only reduce the position (of its side)."""
    created_at: int
    expires_at: int
    """The venue must not accept it later than this: the request's own time limit."""
    state: State = State.SENT
    venue_order: str | None = None
    filled_lots: int = 0
    """Unsigned, cumulative: the largest that the venue has told."""
    ended: str | None = None
    """How it ended, once it is done."""
