"""A dialect and its venue's side in the local exchange, byte for byte, in virtual time and without sockets."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from urllib.parse import urlsplit

from adapters import simulator
from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, StillMarket
from adapters.simulator.wire import Close, Session
from agent.cli.build import VENUES
from agent.core.events import Ended, Fact, Filled, Listed, Positions, Refused, Side, Used
from agent.core.instruments import Instrument
from agent.core.orders import Order, Style, order_id
from agent.core.venue import (
    Ask,
    Call,
    Cancel,
    Credentials,
    Dialect,
    Open,
    Place,
    Reply,
    Request,
    Say,
    Secret,
    Shut,
    What,
)
from tests.conformance.description import Described

MS = 1_000_000
S = 1_000 * MS
START = 1_790_000_000 * S
"""When every talk begins."""


class Talk:
    """Both sides of the wire. The dialect has listed its instruments and opened its sockets.

    ``account`` is the account at the exchange, ``secret`` what the dialect signs with, ``key`` False for none.
    ``entry``: orders are sent by websocket.
    """

    def __init__(
        self,
        venue: Described,
        *,
        account: Account | None = None,
        secret: str = DEMO_SECRET,
        key: bool = True,
        entry: bool = False,
    ) -> None:
        local = simulator.VENUES[venue.name]
        self.described = venue
        self.account = account or venue.account(balance=10_000)
        self.exchange = Exchange(StillMarket(dict(venue.prices)), [self.account])
        self.prices = dict(venue.prices)
        self.names = tuple(self.prices)
        """Our two instruments as the exchange calls them, …"""
        self.symbols = tuple(local.symbol(self.exchange.instruments[name]) for name in self.names)
        """… and as the venue spells them."""
        self.own = local.own
        """What the dialect has to be told of the account."""
        self.venue = local.side(self.exchange)
        self.now = START
        self.frames: list[tuple[str, bytes]] = []
        """All frames that came, with their sockets, …"""
        self.answers: list[tuple[Request, int, bytes]] = []
        """… and all answers, with their requests."""
        self.asked: list[Fact] = []
        """Facts in answers to what the dialect asked of its own accord."""
        self.grid: dict[int, Instrument] = {}
        self.sockets: dict[str, Session] = {}
        self._number = 0
        phrase = Secret(local.passphrase) if local.passphrase else None
        self.credentials = Credentials(Secret(DEMO_KEY), Secret(secret), phrase) if key else None
        self._taken: dict[str, int] = {}
        """By budget: when it was last used."""
        self.options = {"entry_url": VENUES[venue.name].entry_url} if entry else {}
        self.begin()

    def begin(self) -> None:
        """A new process: a dialect that remembers nothing."""
        for session in self.sockets.values():
            self.venue.disconnect(session)
        self.sockets.clear()
        self.dialect: Dialect = VENUES[self.described.name].dialect(
            symbols=self.symbols, credentials=self.credentials, depth=True, **self.own, **self.options
        )
        self.ask(Ask(What.TIME))
        for fact in self.ask(Ask(What.INSTRUMENTS)):
            if isinstance(fact, Listed):
                self.grid = {one.index: one for one in fact.instruments}
        for what in self.described.before if self.credentials else ():
            self.question(what)
        self.opened: list[Fact] = []
        """Facts told while the sockets opened."""
        entry = self.dialect.abilities.entry
        for name in (*self.dialect.abilities.sockets, *([entry.socket] if entry else ())):
            self.opened += self._open(self.dialect.connect(name, self.now))

    # What goes to and fro

    def send(self, request: Request, *, late_ns: int = 0) -> tuple[Call, Reply] | list[Fact]:
        """What the venue answers to what was ``late_ns`` on its way, or what the dialect says instead of sending it."""
        self.now = max([self.now + 20 * MS, *self._paced(request)])
        call = self.dialect.perform(request, self.now)
        if not isinstance(call, Call):
            return list(call)
        self.now += late_ns
        reply = self._request(call) if call.socket is None else self._say(call, call.socket)
        self.answers.append((request, reply.status, reply.body))
        return call, reply

    def _request(self, call: Call) -> Reply:
        parts = urlsplit(call.url)
        got = self.venue.request(call.method, parts.path, parts.query, dict(call.headers), call.body, self.now)
        return Reply(got.status, {name.lower(): value for name, value in got.headers.items()}, got.body)

    def _say(self, call: Call, socket: str) -> Reply:
        entry = self.dialect.abilities.entry
        assert entry is not None
        (frame,) = self.venue.receive(self.sockets[socket], call.body, self.now)
        answered = entry.answer(frame)
        assert answered is not None
        assert answered[0] == call.tag
        self.frames.append((socket, frame))
        return answered[1]

    def _paced(self, request: Request) -> list[int]:
        """When its budgets allow a request, if all that they allow is spread evenly."""
        gaps = {bucket.name: bucket.window_ns // bucket.capacity for bucket in self.dialect.buckets}
        names = [name for name, _ in self.dialect.weigh(request).takes]
        due = [self._taken.get(name, self.now - gaps[name]) + gaps[name] for name in names]
        self._taken.update(dict.fromkeys(names, max([self.now, *due])))
        return due

    def ask(self, request: Request, *, late_ns: int = 0) -> list[Fact]:
        """The facts in the answer, without those about budgets, and in answers to what it led the dialect to ask."""
        sent = self.send(request, late_ns=late_ns)
        facts = sent if isinstance(sent, list) else list(self.dialect.on_reply(*sent, self.now))
        self.asked.clear()
        facts += self._carry_out()
        return [fact for fact in (*facts, *self.asked) if not isinstance(fact, Used)]

    def lose(self, request: Request, *, arrives: bool) -> list[Fact]:
        """The facts when nobody hears an answer, whether the venue got the request or not."""
        if arrives:
            sent = self.send(request)
            assert isinstance(sent, tuple)
            call = sent[0]
        else:
            performed = self.dialect.perform(request, self.now)
            assert isinstance(performed, Call)
            call = performed
        return list(self.dialect.on_silence(call, True, "reset", self.now))

    def question(self, what: What) -> list[Fact]:
        """The facts in the answer, asked of each instrument where the venue wants that."""
        if what in self.dialect.abilities.singles:
            return [fact for index in range(len(self.symbols)) for fact in self.ask(Ask(what, index))]
        return self.ask(Ask(what))

    def listen(self, seconds: float = 1.0) -> list[Fact]:
        """The facts in the frames of the next seconds; what the dialect asks meanwhile is answered (`asked`)."""
        facts: list[Fact] = []
        for _ in range(round(seconds * 10)):
            self.now += 100 * MS
            due = self.dialect.wake_at
            if due is not None and self.now >= due:
                self.dialect.on_wake(self.now)
                facts += self._carry_out()
            for session, frame in self.venue.advance(self.now):
                name = next((name for name, one in self.sockets.items() if one is session), None)
                if name is None:
                    continue
                if isinstance(frame, Close):
                    facts += self.cut(name)
                    facts += self._open(self.dialect.connect(name, self.now))
                else:
                    facts += self._hear(name, frame)
        return [fact for fact in facts if not isinstance(fact, Used)]

    def cut(self, socket: str) -> list[Fact]:
        """A socket is gone; it stays so until it is opened anew."""
        self.venue.disconnect(self.sockets.pop(socket))
        return list(self.dialect.on_close(socket, "cut", self.now))

    def reopen(self, socket: str) -> list[Fact]:
        """The facts told while a socket opens, and in the first second of it."""
        return [*self._open(self.dialect.connect(socket, self.now)), *self.listen()]

    def _hear(self, socket: str, frame: bytes) -> list[Fact]:
        self.frames.append((socket, frame))
        return [*self.dialect.on_frame(socket, frame, self.now), *self._carry_out()]

    def _open(self, wish: Open | Ask) -> list[Fact]:
        if isinstance(wish, Ask):
            return self.ask(wish)
        parts = urlsplit(wish.url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self.sockets[wish.socket] = self.venue.connect(target, self.now, dict(wish.headers))
        return [*self.dialect.on_open(wish.socket, self.now), *self._carry_out()]

    def _carry_out(self) -> list[Fact]:
        """Do what the dialect wants on the wire; gives the facts in frames that answer at once."""
        facts: list[Fact] = []
        for act in self.dialect.acts():
            match act:
                case Ask():
                    sent = self.send(act)
                    self.asked += sent if isinstance(sent, list) else self.dialect.on_reply(*sent, self.now)
                    facts += self._carry_out()
                case Open():
                    facts += self._open(act)
                case Say(socket, text):
                    for frame in self.venue.receive(self.sockets[socket], text, self.now):
                        facts += self._hear(socket, frame)
                case Shut(socket):
                    facts += self.cut(socket)
                    facts += self._open(self.dialect.connect(socket, self.now))
        return facts

    # Orders

    def order(
        self,
        base: str,
        price: int | str | None = None,
        *,
        style: Style = Style.IOC,
        side: Side = Side.NET,
        reduce: bool = False,
        index: int = 0,
        life_ns: int = 10 * S,
    ) -> Order:
        """An order for ``base`` units of an instrument, below zero to sell; without a price at market."""
        self._number += 1
        lots = self.lots(base, index)
        if self.described.hedged and side is Side.NET:
            side = Side.LONG if (lots > 0) is not reduce else Side.SHORT
        return Order(
            id=order_id("cf", 1, self._number),
            instrument=index,
            symbol=self.symbols[index],
            side=side,
            lots=lots,
            ticks=None if price is None else int(Decimal(price) / self.grid[index].tick),
            style=style if price is not None else Style.MARKET,
            reduce=reduce,
            created_at=self.now,
            expires_at=self.now + life_ns,
            value=abs(self.grid[index].notional(lots, self.prices[self.names[index]])),
        )

    def lots(self, base: str, index: int = 0) -> int:
        """``base`` units, at the price the instrument began with where contracts are worth money, in lots."""
        one = self.grid[index]
        units = Decimal(base) * (self.prices[self.names[index]] if one.inverse else 1)
        return int(units / (one.step * one.multiplier))

    def place(self, order: Order) -> list[Fact]:
        """All that is told of an order in its answer and in the second after it."""
        return [*self.ask(Place(order)), *self.listen()]

    def cancel(self, order: Order) -> list[Fact]:
        """All that is told of a cancel, as in `place`."""
        return [*self.ask(Cancel(order.id, order.instrument)), *self.listen()]

    def held(self, index: int = 0) -> dict[Side, int]:
        """What the venue says is held of an instrument, by side; sides that are flat are left out."""
        (positions,) = [fact for fact in self.question(What.POSITIONS) if isinstance(fact, Positions)]
        return {row.side: row.lots for row in positions.rows if row.instrument == index and row.lots}

    def net(self, index: int = 0) -> int:
        """What the venue says is held of an instrument, both sides together."""
        return sum(self.held(index).values())


def fills(facts: Iterable[Fact], order: Order) -> list[Filled]:
    """The trades of an order, each once."""
    return list({one.trade: one for one in facts if isinstance(one, Filled) and one.order == order.id}.values())


def ends(facts: Iterable[Fact], order: Order) -> list[Ended | Refused]:
    """How an order ended, as often as it was told."""
    return [one for one in facts if isinstance(one, Ended | Refused) and one.order == order.id]
