"""The channel to an account: its dialect and its request budgets, and between a dialect's numbers and the portfolio's.

A dialect counts the instruments of its own account from nought and knows no other one. Of a portfolio with several
accounts each has a channel, which gives facts the portfolio's numbers, and requests the dialect's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar, assert_never

from msgspec.structs import replace

from agent.core.events import Event, Fact, Listed, Margin, Orders, Positions
from agent.core.limits import Lanes, Lockout
from agent.core.orders import Order
from agent.core.venue import (
    Arm,
    Ask,
    Batch,
    Call,
    Cancel,
    Dialect,
    Open,
    Place,
    Reply,
    Request,
    Say,
    SetLeverage,
    Shut,
)

A = TypeVar("A", bound=Open | Shut | Say | Call)


class Channel:
    """The way to account number ``account``, whose instruments have the indexes ``rows`` in the portfolio.

    ``name`` is the account's, empty where there is one alone; ``number`` how many accounts there are.
    """

    def __init__(self, dialect: Dialect, account: int, rows: Sequence[int], name: str, number: int) -> None:
        self.dialect = dialect
        self.lanes = Lanes(dialect.buckets)
        self.lockout = Lockout()
        self.listed = False
        """The instruments are known."""
        self.sockets = {self.named(socket, name): socket for socket in dialect.abilities.sockets}
        """The dialect's names of its websockets, by those they have outside."""
        self._entry = dialect.abilities.entry
        self.entry_socket: str | None = None
        """The websocket that orders and cancels may go by, by its name outside."""
        if self._entry is not None:
            self.entry_socket = self.named(self._entry.socket, name)
            self.sockets[self.entry_socket] = self._entry.socket
        self._outside = {inside: outside for outside, inside in self.sockets.items()}
        self._account = account
        self._rows = list(rows)
        self._places = {index: place for place, index in enumerate(rows)}
        self._number = number
        self._alone = number == 1 and not name

    @staticmethod
    def named(socket: str, name: str) -> str:
        """A websocket's name outside."""
        return f"{name}:{socket}" if name else socket

    def index(self, place: int) -> int:
        """The portfolio's number of the dialect's instrument number ``place``."""
        return self._rows[place]

    # From the dialect

    def told(self, facts: Iterable[Fact]) -> list[Fact]:
        """Facts of the dialect as the portfolio counts."""
        return list(facts) if self._alone else [self._told(fact) for fact in facts]

    def _told(self, fact: Fact) -> Fact:
        whose = self._account
        match fact:
            case Listed(instruments=instruments):
                listed = tuple(replace(one, index=self._rows[one.index]) for one in instruments)
                return replace(fact, account=whose, instruments=listed)
            case Positions(rows=rows):
                held = tuple(replace(row, account=whose, instrument=self._rows[row.instrument]) for row in rows)
                return replace(fact, account=whose, rows=held)
            case Margin(reserves=reserves) if reserves is not None:
                ours = tuple(replace(one, instrument=self._rows[one.instrument]) for one in reserves)
                return replace(fact, account=whose, reserves=ours)
            case Orders(rows=rows):
                resting = tuple(
                    row if row.instrument is None else replace(row, instrument=self._rows[row.instrument])
                    for row in rows
                )
                return replace(fact, account=whose, rows=resting)
            case _:
                assert isinstance(fact, Event), "a fact is an event"
                place: int | None = getattr(fact, "instrument", None)
                if place is None:
                    return replace(fact, account=whose)
                return replace(fact, account=whose, instrument=self._rows[place])

    def said(self, frame: bytes) -> tuple[int, Reply] | None:
        """The answer in a frame of the websocket for orders, and the tag of its call outside; None if it holds none."""
        answer = self._entry.answer(frame) if self._entry is not None else None
        return None if answer is None else (self._tag(answer[0]), answer[1])

    def _tag(self, tag: int) -> int:
        return tag * self._number + self._account

    def outside(self, act: A) -> A:
        """An act of the dialect as the transport knows it: websockets and calls of several accounts don't meet."""
        if self._alone:
            return act
        match act:
            case Call(tag=tag, socket=socket):
                return replace(act, tag=self._tag(tag), socket=None if socket is None else self._outside[socket])
            case _:
                return replace(act, socket=self._outside[act.socket])

    # To the dialect

    def inside(self, request: Request) -> Request:
        """A request as the dialect counts."""
        if self._alone:
            return request
        match request:
            case Place(order=order):
                return Place(self._order(order))
            case Batch(orders=orders):
                return Batch(tuple(self._order(order) for order in orders))
            case Ask(instrument=index):
                return replace(request, account=0, instrument=None if index is None else self._places[index])
            case Cancel(instrument=index) | Arm(instrument=index) | SetLeverage(instrument=index):
                return replace(request, instrument=self._places[index])
            case _:
                assert_never(request)

    def _order(self, order: Order) -> Order:
        return replace(order, instrument=self._places[order.instrument], symbol=order.symbol.rpartition(":")[2])
