"""Our orders: what one is, how it lives, and what to do while its fate is unknown.

An order is sent at most once. No answer is never an answer: an order whose reply was lost is *unknown* until the venue
says what became of it, and "it does not exist" is believed only after the request can no longer be accepted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from agent.core.events import Absent, Accepted, Ended, Fact, Filled, Lost, Orders, Refused, Side

MS = 1_000_000
S = 1_000_000_000

REPLY_NS = 10 * S
"""A request without any answer for so long is taken for lost, even if nobody said so."""
ASK_NS = 2 * S
"""How often an unknown order is asked about."""
SETTLE_NS = 12 * S
"""How long after its expiry a request might still be accepted: a venue's own time-out of 10 s, and a margin.

Venues check the time limit of a request on arrival, and may hold it afterwards; until this has passed, "no such order"
proves nothing.
"""
TWICE_NS = 1 * S
"""Two denials at least this far apart are the proof that an order was never placed; once they count, an unknown order
is asked about so often."""
STALE_NS = 6 * S
"""A position that was asked for so long after a fill can't come from a cache that lacks it."""
FORGOTTEN_NS = 72 * 3600 * S
"""Older than this, an order may have been forgotten by the venue: cancelled or expired without a fill on Binance. From
then on, "no such order" proves nothing."""
HOPELESS_NS = 60 * S
"""Denials that prove nothing, for so long: no question will settle it, a person must."""
RESOLVED = "resolved by a person"
"""How an order has ended of which a person has found out that it will not trade any more."""
KEEP_NS = 600 * S
"""How long a finished order is remembered, for what arrives late."""
KEEP_TRADES = 10_000
"""How many trades are remembered, so that none is counted twice."""


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
    value: float
    """What it was worth when it was sized: absolute, in the quote currency."""
    state: State = State.SENT
    venue_order: str | None = None
    filled_lots: int = 0
    """Unsigned, cumulative: the largest that the venue has told."""
    ended: str | None = None
    """How it ended, once it is done."""
    held_lots: int | None = None
    """What its position row held when it was sent; None if that was not known."""

    @property
    def open_lots(self) -> int:
        """Signed lots that may still trade."""
        if self.state is State.DONE:
            return 0
        left = max(0, abs(self.lots) - self.filled_lots)
        return left if self.lots > 0 else -left

    def worth(self, lots: int) -> float:
        """The part of its value that so many lots of it stand for."""
        return self.value * abs(lots) / abs(self.lots)


NEXT: dict[State, dict[type, State]] = {
    State.SENT: {
        Accepted: State.WORKING,
        Filled: State.WORKING,
        Ended: State.DONE,
        Refused: State.DONE,
        Lost: State.UNKNOWN,
        Absent: State.SENT,
    },
    State.WORKING: {
        Accepted: State.WORKING,
        Filled: State.WORKING,
        Ended: State.DONE,
        Refused: State.UNKNOWN,
        Lost: State.UNKNOWN,
        Absent: State.UNKNOWN,
    },
    State.UNKNOWN: {
        Accepted: State.WORKING,
        Filled: State.WORKING,
        Ended: State.DONE,
        Refused: State.UNKNOWN,
        Lost: State.UNKNOWN,
        Absent: State.UNKNOWN,
    },
    State.DONE: {
        Accepted: State.DONE,
        Filled: State.DONE,
        Ended: State.DONE,
        Refused: State.DONE,
        Lost: State.DONE,
        Absent: State.DONE,
    },
}
"""The life of an order. `Absent` leads out of `UNKNOWN` only as a proof, see `Blotter.apply`.

A refusal ends an order only while nothing else is known of it: a late refusal of an order that the venue has accepted
contradicts it, so it is asked about.
"""


class Watch(Struct):
    """What is remembered about an order besides the order: when to ask, cancel, forget."""

    asked_at: int | None = None
    dead_at: int | None = None
    """The venue's time after which it must not accept it; None while its clock was never compared with ours."""
    denied_at: int | None = None
    vain_at: int | None = None
    """Since when denials come that prove nothing though they should."""
    vain: str = ""
    """Why they don't."""
    cancel_at: int | None = None
    """When to cancel it if it still rests."""
    cancelled_at: int | None = None
    done_at: int | None = None
    heard_at: int = 0
    """Our time of the last word about it."""
    told_lots: int = 0
    """Unsigned lots of the trades of it that we were told one by one, in time."""


class Blotter:
    """All our orders that are not finished, and those that lately were."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.watches: dict[str, Watch] = {}
        self.effects: dict[int, int] = {}
        """By instrument: the venue's time of the last effect of our orders, which a position must not be older than."""
        self.untold: dict[str, tuple[int, int]] = {}
        """By order: instrument and time from which on a position surely holds a fill that was told only as a sum, or
        too late.

        A trade can be compared with the move of the position, so it is seen whether that lacks it. A sum can't, nor a
        trade that is told after a snapshot that was asked for later.
        """
        self.trades: dict[tuple[int, str], None] = {}
        """Trades already counted, oldest first."""
        self.venue_ahead_ns: int | None = None
        """How far the venue's clock may be ahead of ours, negative if it is behind: its answers are timed by its own.
        None until the two have been compared."""
        self.venue_ahead_least_ns = 0
        """How far it is ahead at least."""
        self.changed: dict[str, None] = {}
        self._unfinished: dict[str, None] = {}
        self._finished: deque[str] = deque()
        """Ids of finished orders that are still remembered, oldest first."""

    def add(self, order: Order, now: int, cancel_at: int | None = None) -> None:
        """Take in an order that is about to be sent, or one of an earlier life whose end is not on record."""
        assert order.id not in self.orders, "an id is never used twice"
        self.orders[order.id] = order
        dead_at = None if self.venue_ahead_ns is None else order.expires_at + self.venue_ahead_ns
        self.watches[order.id] = Watch(dead_at=dead_at, cancel_at=cancel_at, heard_at=now, told_lots=order.filled_lots)
        self.changed[order.id] = None
        self._unfinished[order.id] = None

    def live(self, instrument: int | None = None) -> list[Order]:
        """Orders that may still trade, of one instrument or of all."""
        orders = [self.orders[name] for name in self._unfinished]
        return orders if instrument is None else [order for order in orders if order.instrument == instrument]

    def drain(self) -> tuple[Order, ...]:
        """Orders that changed since the last call, as they are now."""
        changed = tuple(self.orders[name] for name in self.changed if name in self.orders)
        self.changed.clear()
        return changed

    def apply(self, fact: Fact, now: int, held_lots: int | None = None, *, late: bool = False) -> Order | None:
        """Take note of a fact about one of our orders: the order as it is now; None if not ours, or told before.

        ``held_lots`` is what its position row is known to hold now: a position that has moved since the order was sent
        speaks against any denial. ``late``: a snapshot of the position has come before this trade, and was asked for
        after it (`untold`).
        """
        match fact:
            case Accepted() | Filled() | Ended() | Refused() | Lost() | Absent():
                order = self.orders.get(fact.order)
            case _:
                return None
        if order is None:
            return None
        watch = self.watches[order.id]
        if isinstance(fact, Filled) and not self._new_trade(fact):
            return None
        after = self._after(order, fact, watch, now, held_lots)
        if isinstance(fact, Filled) and not late:
            watch.told_lots += abs(fact.lots)
        self._reckon(order, after, fact, watch)
        if after.state is not order.state:
            watch.asked_at = watch.cancelled_at = None
        if after.state is State.DONE and watch.done_at is None:
            watch.done_at = now
            del self._unfinished[order.id]
            self._finished.append(order.id)
        if not isinstance(fact, Absent | Lost):
            watch.heard_at, watch.denied_at, watch.vain_at = now, None, None
        if after != order:
            self.orders[order.id] = after
            self.changed[order.id] = None
        return after

    def _after(self, order: Order, fact: Fact, watch: Watch, now: int, held_lots: int | None) -> Order:
        state = NEXT[order.state][type(fact)]
        match fact:
            case Accepted():
                filled = max(order.filled_lots, fact.filled_lots)
                self._effect(order, filled, fact.at)
                return replace(order, state=state, venue_order=fact.venue_order, filled_lots=filled)
            case Filled():
                filled = max(order.filled_lots, fact.filled_lots)
                self._effect(order, filled, fact.at)
                return replace(order, state=state, filled_lots=filled)
            case Ended():
                filled = max(order.filled_lots, fact.filled_lots)
                self._effect(order, filled, fact.at)
                return replace(order, state=state, filled_lots=filled, ended=order.ended or fact.how)
            case Refused() if order.state is State.SENT:
                return replace(order, state=state, ended=f"refused {fact.code}")
            case Absent() if order.state is State.UNKNOWN:
                return self._denied(order, fact, watch, now, held_lots)
        return replace(order, state=state)

    def _denied(self, order: Order, fact: Absent, watch: Watch, now: int, held_lots: int | None) -> Order:
        """Believe a denial only when the request is dead, nothing speaks against it, and it is repeated."""
        if fact.asked_at < self._settled_at(order, watch):
            return order
        if why := _against(order, fact, held_lots):
            watch.denied_at, watch.vain = None, why
            watch.vain_at = now if watch.vain_at is None else watch.vain_at
            return order
        if watch.denied_at is None:
            watch.denied_at = now
            return order
        if now - watch.denied_at < TWICE_NS:
            return order
        self.affected(order.instrument, fact.asked_at)
        return replace(order, state=State.DONE, ended="never placed")

    def _settled_at(self, order: Order, watch: Watch) -> int:
        """The venue's time from which on a request can't be accepted any more."""
        return (order.expires_at if watch.dead_at is None else watch.dead_at) + SETTLE_NS

    def _reckon(self, before: Order, after: Order, fact: Fact, watch: Watch) -> None:
        if watch.told_lots >= after.filled_lots:
            self.untold.pop(after.id, None)
        elif after.filled_lots > before.filled_lots and isinstance(fact, Accepted | Filled | Ended):
            self.untold[after.id] = (after.instrument, fact.at + STALE_NS)

    def affected(self, instrument: int, at: int) -> None:
        """A position must not be older than a trade at this time, whosever it was."""
        self.effects[instrument] = max(self.effects.get(instrument, 0), at)

    def rewind(self, latest: int, instruments: Container[int]) -> None:
        """On these no effect of ours is later than the venue's own time, ``latest``, and no request is dead later than
        its life from now, should either clock have been set back: both would wait for as long as the step."""
        for index, at in self.effects.items():
            if index in instruments:
                self.effects[index] = min(at, latest)
        for name, (index, at) in self.untold.items():
            if index in instruments:
                self.untold[name] = index, min(at, latest + STALE_NS)
        for order in self.live():
            if order.instrument not in instruments:
                continue
            watch = self.watches[order.id]
            told = order.expires_at + (self.venue_ahead_ns or 0) if watch.dead_at is None else watch.dead_at
            watch.dead_at = min(told, latest + order.expires_at - order.created_at)

    def needed(self, instrument: int) -> int:
        """The venue's time that a position of an instrument must not be older than."""
        sums = [at for index, at in self.untold.values() if index == instrument]
        return max([self.effects.get(instrument, 0), *sums])

    def _effect(self, order: Order, filled: int, at: int) -> None:
        if filled > order.filled_lots:
            self.affected(order.instrument, at)

    def _new_trade(self, fact: Filled) -> bool:
        key = (fact.instrument, fact.trade)
        if key in self.trades:
            return False
        self.trades[key] = None
        while len(self.trades) > KEEP_TRADES:
            del self.trades[next(iter(self.trades))]
        return True

    def hopeless(self, now: int) -> list[tuple[Order, str]]:
        """Unknown orders of which no question will find out the fate, and why."""
        found = [(self.orders[name], self.watches[name]) for name in self._unfinished]
        return [
            (order, watch.vain)
            for order, watch in found
            if watch.vain_at is not None and now >= watch.vain_at + HOPELESS_NS
        ]

    def resolve(self, name: str, now: int) -> Order | None:
        """A person has looked: the order will not trade any more. None if it is not in question."""
        order = self.orders.get(name)
        if order is None or order.state is not State.UNKNOWN:
            return None
        self.effects[order.instrument] = max(self.effects.get(order.instrument, 0), now + (self.venue_ahead_ns or 0))
        return self.apply(Ended(order=name, how=RESOLVED, filled_lots=order.filled_lots, at=now), now)

    def compare(self, fact: Orders, now: int, instruments: Container[int]) -> list[Accepted]:
        """Look for our orders on an account's ``instruments`` in an answer about all open ones: what it says of each;
        missing ones are asked about."""
        there = {row.order: row for row in fact.rows}
        seen = []
        for order in self.live():
            if order.instrument not in instruments:
                continue
            row = there.get(order.id)
            if row is not None:
                seen.append(Accepted(order.id, row.venue_order, row.filled_lots, fact.asked_at))
            elif order.state is State.WORKING and order.created_at + REPLY_NS < now:
                self._become(order, State.UNKNOWN)
        return seen

    def _become(self, order: Order, state: State) -> None:
        self.orders[order.id] = replace(order, state=state)
        self.watches[order.id].asked_at = None
        self.changed[order.id] = None

    def cancel_resting(self, now: int, instruments: Container[int], *, increases_only: bool = False) -> None:
        """Have every order on these that may rest cancelled at once, or only those that would increase."""
        for order in self.live():
            if order.instrument in instruments and order.style is Style.POST and not (increases_only and order.reduce):
                self.watches[order.id].cancel_at = now

    def due(self, now: int) -> tuple[list[Order], list[Order]]:
        """Orders to ask about and orders to cancel, now; forgets what finished long ago."""
        asks, cancels = [], []
        self._forget(now)
        for name in list(self._unfinished):
            order, watch = self.orders[name], self.watches[name]
            if order.state is not State.UNKNOWN and self._overdue(order, watch) <= now:
                self._become(order, State.UNKNOWN)
                order = self.orders[order.id]
            if order.state is State.UNKNOWN and now >= self._ask_at(order, watch):
                watch.asked_at = now
                asks.append(order)
            # One that was created after now is from before our clock was set back between two runs.
            due = watch.cancel_at is not None and (now >= watch.cancel_at or now < order.created_at)
            if due and order.state is State.WORKING:
                watch.cancel_at, watch.cancelled_at = now + REPLY_NS, now
                cancels.append(order)
        return asks, cancels

    def _forget(self, now: int) -> None:
        while self._finished:
            done_at = self.watches[self._finished[0]].done_at
            if done_at is None or now < done_at + KEEP_NS:
                return
            name = self._finished.popleft()
            del self.orders[name], self.watches[name]
            self.untold.pop(name, None)

    def _overdue(self, order: Order, watch: Watch) -> int:
        """When silence about an order becomes suspicious: a resting order may be silent until it is cancelled."""
        if order.state is State.WORKING and order.style is Style.POST:
            return watch.heard_at + 60 * S if watch.cancelled_at is None else watch.cancelled_at + REPLY_NS
        return watch.heard_at + REPLY_NS

    def _ask_at(self, order: Order, watch: Watch) -> int:
        """When to ask about an unknown order: at once, now and then, and in good time for the proof once there can be
        one. Where denials prove nothing, there is no hurry."""
        if watch.asked_at is None:
            return 0
        settled_at = self._settled_at(order, watch) - self.venue_ahead_least_ns  # by our clock
        if watch.asked_at < settled_at:
            return min(watch.asked_at + ASK_NS, settled_at)
        if watch.vain_at is not None:
            return watch.asked_at + ASK_NS
        return max(watch.asked_at, watch.denied_at or 0) + TWICE_NS

    def wake_at(self) -> int | None:
        """When `due` has something to do next."""
        times = []
        for order in self.live():
            watch = self.watches[order.id]
            if order.state is State.UNKNOWN:
                times.append(self._ask_at(order, watch))
            else:
                times.append(self._overdue(order, watch))
                if watch.cancel_at is not None and order.state is State.WORKING:
                    times.append(watch.cancel_at)
        return min(times, default=None)


def _against(order: Order, denial: Absent, held_lots: int | None) -> str | None:
    """Why a denial of a dead request proves nothing all the same."""
    if order.venue_order is not None or order.filled_lots:
        return "the venue had it, and has forgotten it"
    if denial.asked_at - order.created_at > FORGOTTEN_NS:
        return f"it is older than {FORGOTTEN_NS // (3600 * S)} hours, beyond which the venue forgets"
    if None not in (order.held_lots, held_lots) and order.held_lots != held_lots:
        return f"the position has moved since, from {order.held_lots} to {held_lots} lots"
    return None


class Origin(Struct, frozen=True):
    """Whose an order is, as its id tells: which account's, which run's, and the how manieth of it."""

    tag: str
    epoch: int
    nonce: int
    number: int


NONCES = 36**3
"""A run draws its nonce below this: two that begin in the same five minutes still make different ids."""
NUMBERS = 36**5
"""Most orders of a run: no venue takes so many in a month."""


def order_id(tag: str, epoch: int, number: int, nonce: int = 0) -> str:
    """The id of our n-th order of an epoch: 17 characters that every venue takes and that say whose it is.

    ``tt``, two characters of the account's tag, four of the epoch, three of the run's nonce, five of the number, one
    check character.
    """
    assert 0 <= nonce < NONCES, "a nonce has three digits"
    assert 0 <= number < NUMBERS, "a number has five digits"
    body = f"tt{tag:0>2.2}{base36(epoch):0>4}{base36(nonce * NUMBERS + number):0>8}"
    return body + base36(sum(body.encode()) % 36)


def origin_of(order: str) -> Origin | None:
    """Whose an order is; None when its id is not one that we, or another of our kind, would make."""
    if len(order) != 17 or not order.startswith("tt") or not order.isascii() or not order.isalnum():
        return None
    if order != order.lower() or base36(sum(order[:-1].encode()) % 36) != order[-1]:
        return None
    nonce, number = divmod(int(order[8:16], 36), NUMBERS)
    return Origin(tag=order[2:4], epoch=int(order[4:8], 36), nonce=nonce, number=number)


def base36(number: int) -> str:
    """A non-negative number in digits 0-9 a-z."""
    digits = ""
    while number or not digits:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits
