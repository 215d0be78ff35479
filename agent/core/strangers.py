"""Strangers: what others do on the account, people, other programs and the venue itself, and how far it holds us back.

Nobody else's order is ever cancelled, and nobody's trade is undone without need: what they did is adopted, written down
and planned from. While others keep trading, the agent stands back: it trades for safety alone, so that nobody fights.

Another instance of our kind shows by its order ids, which hold an epoch and a nonce. No exchange can fence off an older
writer, so whoever sees that there are two stops increasing: the older one because it was superseded, the newer one
because an older still trades, twins because neither is older.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Literal, TypeVar

from msgspec import Struct

from agent.core.book import Account
from agent.core.events import Accepted, Ended, Filled, Force, Forced, OpenOrder, Orders
from agent.core.halts import Halts
from agent.core.orders import SETTLE_NS, Blotter, Origin, S, order_id, origin_of

OFTEN = 2
"""So many trades of others within `WINDOW_NS`, and somebody is at work on the account."""
WINDOW_NS = 600 * S
AGAIN_NS = 2 * S
"""An order that is being cancelled, and still listed as open so much later, is cancelled again."""
KEEP = 1_000
"""How many of others' orders and trades are remembered, so that none is told or counted twice."""
NAMED = 3
"""So many of others' open orders are named in a sentence."""
CURE = "end them, or set account.shared = true to trade beside them"

K = TypeVar("K")


class Sharing(Struct, frozen=True):
    """How the account is shared with others."""

    shared: bool = False
    """Others may rest orders and trade on it: that holds nothing up."""
    foreign: Literal["pause", "adopt"] = "pause"
    """What follows when others trade twice within ten minutes: pause, until a person resumes; or adopt every trade and
    go on."""


class Strangers:
    """Others on the account. ``note`` is told what is worth a word (kind, text, symbol), ``halts`` what follows.

    ``life_ns`` is how long a request of ours lives: requests of earlier runs may be accepted until that and
    `SETTLE_NS` have passed since the start; ``unrecorded``: some may be under way that are on no record. ``silent``
    observers send nothing, so others are no concern of theirs.
    """

    def __init__(
        self,
        sharing: Sharing,
        symbols: list[str],
        account: Account,
        *,
        tag: str,
        epoch: int,
        nonce: int,
        life_ns: int,
        unrecorded: bool,
        silent: bool,
        note: Callable[[str, str, str | None], None],
        halts: Halts,
    ) -> None:
        self.sharing = sharing
        self.symbols = symbols
        self.account = account
        self.tag = f"{tag:0>2.2}"
        self.epoch = epoch
        self.nonce = nonce
        self.resting: dict[str, int | None] = {}
        """Open orders of others, and on which instrument of ours."""
        self.made = 0
        """How many ids were made."""
        self.begun_at: int | None = None
        self._life_ns = life_ns
        self.unrecorded = unrecorded
        self._silent = silent
        self._note = note
        self._halts = halts
        self._late = False
        """Requests of earlier runs can't be accepted any more, and all that rested of them was listed."""
        self._unlisted = False
        """An order of others has come since open orders were listed."""
        self._leftovers: dict[str, None] = {}
        """Orders of earlier runs that are on no record."""
        self._outside: dict[str, None] = {}
        self._leaving: dict[str, int] = {}
        """Orders of earlier runs that are being cancelled, and the venue's time from which on they would be again."""
        """Orders of ours on instruments that the file does not name, once they have been spoken of."""
        self._forced: dict[str, None] = {}
        self._counted: dict[tuple[int, str], None] = {}
        """Trades of others that were counted."""
        self._lately: deque[tuple[int, str]] = deque()
        """Orders of others that traded, and when they were first seen to."""
        self._base: dict[int, tuple[Decimal, int]] = {}
        """By instrument: the net quantity when everything last added up, and the venue's time of it."""
        self._explained = dict.fromkeys(account.rows, Decimal(0))
        """By instrument: the quantity of all trades told since."""

    # Our own ids

    def name(self) -> str:
        """The id of our next order."""
        self.made += 1
        return order_id(self.tag, self.epoch, self.made, self.nonce)

    def begin(self, now: int) -> None:
        """The run begins."""
        if self.begun_at is None:
            self.begun_at = now
            self._halts.expiring_until = self.settled_at if self.unrecorded else None

    @property
    def settled_at(self) -> int:
        """Our time from which on no request of an earlier run can be accepted any more."""
        return (self.begun_at or 0) + self._life_ns + SETTLE_NS

    def curious(self, now: int) -> bool:
        """Whether open orders should be listed soon: one of others has come, or it is time to close the list of what
        earlier runs have left behind."""
        return self._unlisted or (not self._late and not self._silent and now >= self.settled_at)

    # What is told

    def heard(self, fact: Accepted | Filled | Ended, now: int) -> Filled | None:
        """An order that is not on our record did something: the trade, if it is one that was not told before."""
        trade = fact if isinstance(fact, Filled) and self._explain(fact) else None
        origin = self._kin(fact.order)
        if fact.order in self._forced:
            return trade
        if origin is not None:
            self._judge(fact.order, origin)
        elif isinstance(fact, Ended):
            self._gone(fact.order)
        elif isinstance(fact, Accepted):
            self._unlisted = True  # most are gone again at once
        elif trade is not None:
            self._traded(trade, now)
        return trade

    def forced(self, fact: Forced) -> None:
        """The venue itself trades on the account."""
        if fact.order in self._forced:
            return
        _keep(self._forced, fact.order)
        match fact.kind:
            case Force.LIQUIDATION:
                self._note("external", f"liquidation: the venue closes {fact.symbol} by force", None)
                self._halts.halt(f"the venue liquidates {fact.symbol}")
            case Force.DELEVERAGING:
                text = f"auto-deleveraging: the venue reduces {fact.symbol} against somebody's liquidation"
                self._note("external", f"{text}; what is left is planned from after the cool-down", None)
            case Force.SETTLEMENT:
                self._note("external", f"the venue settles {fact.symbol}, which ends", None)

    def listed(self, fact: Orders, blotter: Blotter, lead_ns: int) -> dict[str, int]:
        """Look through all open orders: those that earlier runs left behind, to be cancelled, and their instruments.

        ``lead_ns`` is how far the venue's clock is ahead of ours.
        """
        left: dict[str, int] = {}
        for row in fact.rows:
            if (why := self._sort(row, blotter)) is None:
                continue
            if row.instrument is not None:
                if fact.asked_at < self._leaving.get(row.order, 0):
                    continue
                self._leaving[row.order] = fact.asked_at + AGAIN_NS
                self._note("warning", f"order {row.order} rests but {why}; cancelling it", self.symbols[row.instrument])
                left[row.order] = row.instrument
            elif row.order not in self._outside:
                _keep(self._outside, row.order)
                self._note("warning", f"order {row.order} of ours rests outside of the file's instruments", None)
        there = [row.order for row in fact.rows]
        self._leaving = {order: again for order, again in self._leaving.items() if order in there}
        for order in [order for order in self.resting if order not in there]:
            self._gone(order)
        self._unlisted = False
        self._late = self._late or fact.asked_at - lead_ns >= self.settled_at
        return left

    def traded(self, index: int, lots: int) -> None:
        """Signed lots of an order have traded."""
        self._explained[index] += lots * self._step(index)

    def reckon(self) -> list[tuple[int, Decimal, Decimal]]:
        """Once nothing is under way or in doubt: what has moved by more than trades explain, as instrument, and net
        quantity before and after.

        Each position must have moved by the trades that were told, ours and others'. The rest is somebody else's doing
        of which we heard nothing.
        """
        now = {index: (row.lots * self._step(index), row.known_at) for index, row in self.account.rows.items()}
        moved = []
        for index, (before, _) in self._base.items():
            after, _ = now[index]
            if more := after - before - self._explained[index]:
                moved.append((index, before, after))
                self._note("external", f"the position moved by {more:+f}, which no trade explains", self.symbols[index])
        self._base, self._explained = now, dict.fromkeys(now, Decimal(0))
        return moved

    def _step(self, index: int) -> Decimal:
        instrument = self.account.rows[index].instrument
        return instrument.step if instrument is not None else Decimal(0)

    def rewind(self, latest: int) -> None:
        """No position is known as of later than the venue's own time, should its clock have been set back."""
        self._base = {index: (lots, min(at, latest)) for index, (lots, at) in self._base.items()}

    def resume(self) -> None:
        """A person has seen to it."""
        self._lately.clear()

    # What follows

    @property
    def crowd(self) -> str | None:
        """Why others' open orders keep us from increasing; None if they don't."""
        if self.sharing.shared or not self.resting:
            return None
        named = ", ".join(self._where(order) for order in list(self.resting)[:NAMED])
        more = f" and {len(self.resting) - NAMED} more" if len(self.resting) > NAMED else ""
        return f"orders that are not ours rest on the account: {named}{more}; {CURE}"

    def _where(self, order: str) -> str:
        index = self.resting[order]
        return order if index is None else f"{order} on {self.symbols[index]}"

    # Inside

    def _kin(self, order: str) -> Origin | None:
        """Whose an order is, if another of our kind made it that must not trade beside us."""
        origin = origin_of(order)
        if origin is None or (self.sharing.shared and origin.tag != self.tag):
            return None
        return origin

    def _sort(self, row: OpenOrder, blotter: Blotter) -> str | None:
        """Why an open order should not be there, if it is one of ours; what it is otherwise is taken note of."""
        known = blotter.orders.get(row.order)
        if known is not None:
            return "was taken for never placed" if known.ended == "never placed" and not self._silent else None
        origin = self._kin(row.order)
        if origin is not None and not self._judge(row.order, origin):
            return None
        if origin is None or origin.tag != self.tag:
            self._rests(row.order, row.instrument)
            return None
        return None if self._silent else f"is on no record, of epoch {origin.epoch}"

    def _judge(self, order: str, origin: Origin) -> bool:
        """Whether an order of our kind is a harmless one of an earlier time; if not, another instance is at work."""
        ours = origin.tag == self.tag and (origin.epoch, origin.nonce) == (self.epoch, self.nonce)
        if self._silent or (ours and origin.number <= self.made):
            return True
        if origin.epoch > self.epoch:
            why = "a newer instance trades on this account: this one is superseded"
        elif origin.epoch == self.epoch:
            why = "a twin trades on this account, which began at the same time"
        elif self._late and order not in self._leftovers:
            why = "an older instance still trades on this account"
        else:
            _keep(self._leftovers, order)
            return True
        if self._halts.stand_back(why):
            self._note("external", f"order {order} is of another instance", None)
            self._halts.halt(why)
        return False

    def _explain(self, fact: Filled) -> bool:
        """Count a trade of others toward its position; False if that was done before."""
        key = (fact.instrument, fact.trade)
        if key in self._counted:
            return False
        _keep(self._counted, key)
        if not self._base or fact.at > self._base[fact.instrument][1]:
            self.traded(fact.instrument, fact.lots)
        return True

    def _traded(self, fact: Filled, now: int) -> None:
        text = f"a trade that is not ours: {fact.lots:+d} lots at {fact.price:g} ({fact.order})"
        self._note("external", text, self.symbols[fact.instrument])
        if self.sharing.shared or self.sharing.foreign == "adopt" or self._silent:
            return
        while self._lately and self._lately[0][0] <= now - WINDOW_NS:
            self._lately.popleft()
        if all(order != fact.order for _, order in self._lately):
            self._lately.append((now, fact.order))
        if len(self._lately) >= OFTEN and self._halts.others is None:
            why = f"others have traded {len(self._lately)} times within {WINDOW_NS // (60 * S)} minutes"
            self._halts.stand_back(why)
            cure = 'resume once they are done, or set account.foreign = "adopt" to follow up each trade'
            self._note("halt", f"paused: {why}. Nothing but safety is traded; {cure}", None)

    def _rests(self, order: str, index: int | None) -> None:
        if order not in self.resting:
            self.resting[order] = index
            if len(self.resting) == 1 and not self._silent and not self.sharing.shared:
                text = (
                    f"an order that is not ours rests on the account ({self._where(order)}): nothing increases; {CURE}"
                )
                self._note("warning", text, None)
        elif index is not None:
            self.resting[order] = index

    def _gone(self, order: str) -> None:
        if order in self.resting:
            del self.resting[order]
            if not self.resting and not self._silent and not self.sharing.shared:
                self._note("state", "no order of others rests on the account any more", None)


def _keep(remembered: dict[K, None], new: K) -> None:
    """Remember one more, and forget the oldest beyond `KEEP`."""
    remembered[new] = None
    while len(remembered) > KEEP:
        del remembered[next(iter(remembered))]
