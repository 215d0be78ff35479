"""One desk and the local exchanges of several venues, in virtual time and without sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from msgspec import Struct

from adapters import simulator
from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, StillMarket
from adapters.simulator.wire import Close, Session, Venue
from agent.cli.build import VENUES
from agent.core.decisions import Decision, Note, Policy
from agent.core.desk import Act, Answer, Closed, Desk, Frame, Input, Opened, Silence, Step, Tick, Told
from agent.core.engine import Engine
from agent.core.guard import Seat, tags_of
from agent.core.orders import Order, S
from agent.core.venue import Ask, Batch, Call, Credentials, Open, Place, Reply, Say, Secret, Shut, What

START = 1_790_000_000 * S
DELAY_NS = S // 50
"""One way over the network."""
PATIENCE_NS = 5 * S


class Site(Struct):
    """A venue, and an account there. ``away``: it hears nothing and says nothing."""

    name: str
    account: Account
    exchange: Exchange
    venue: Venue
    sessions: dict[str, Session]
    away: bool = False
    stirred: int = START // S


class Places:
    """A portfolio over several venues: ``accounts`` by venue, whose name is the account's in the file as well."""

    def __init__(
        self,
        policy: Policy,
        accounts: dict[str, Account],
        prices: Mapping[str, Decimal | str | int],
        leverage: dict[str, float] | None = None,
    ) -> None:
        self.now = START
        self.notes: list[Note] = []
        self.orders: list[Order] = []
        self.steps = 0
        self.sites: dict[str, Site] = {}
        dialects, seats = [], []
        for (name, account), tag in zip(accounts.items(), tags_of("ac", list(accounts)), strict=True):
            local = simulator.VENUES[name]
            exchange = Exchange(StillMarket(dict(prices)), [account])
            self.sites[name] = Site(name, account, exchange, local.side(exchange), {})
            symbols = [one.rpartition(":")[2] for one in policy.targets.symbols if one.startswith(f"{name}:")]
            dialect = VENUES[name].dialect(
                symbols=symbols, credentials=Credentials(Secret(DEMO_KEY), Secret(DEMO_SECRET)), depth=True
            )
            dialects.append(dialect)
            seats.append(Seat(tag, dialect.abilities, name, pool=name, leverage=(leverage or {}).get(name)))
        self.engine = Engine(policy, epoch=1, seats=seats, schedule=lambda now: None)
        self.desk = Desk(dialects, self.engine, salt="places")
        self._inputs: deque[tuple[int, Input]] = deque()
        self._names = list(accounts)
        self._deaf: list[str] = []
        self._wake_at = START

    def run(self, seconds: float) -> Places:
        """Let time pass."""
        until = self.now + round(seconds * S)
        while self.now < until:
            due = [self._wake_at, until, *(at for at, _ in self._inputs)]
            due += [(self.now // S + 1) * S]
            due += [site.venue.next_at for site in self.sites.values()]
            self.now = max(self.now + 1, min(due))
            for site in self.sites.values():
                self._stir(site)
                self._hear(site)
            self._inputs = deque(sorted(self._inputs, key=lambda one: one[0]))
            while self._inputs and self._inputs[0][0] <= self.now:
                self._take(self._inputs.popleft()[1])
            if self.now >= self._wake_at:
                self._take(Tick())
        return self

    def tell(self, name: str, argument: str = "") -> None:
        """An operator's command."""
        self._take(Told(name, argument))

    def said(self, kind: str) -> list[str]:
        """The notes of a kind."""
        return [note.text for note in self.notes if note.kind == kind]

    def sent(self, name: str) -> list[Order]:
        """The orders that were decided for an account."""
        return [order for order in self.orders if order.symbol.startswith(f"{name}:")]

    def _stir(self, site: Site) -> None:
        """Prices move by a tick each second: a venue may say nothing of one that does not."""
        second = self.now // S
        if second > site.stirred:
            site.stirred = second
            for symbol, one in site.exchange.instruments.items():
                way = 1 if second % 2 else -1
                site.exchange.set_mark(symbol, site.exchange.books[symbol].mark + way * one.tick)

    def _hear(self, site: Site) -> None:
        for session, frame in site.venue.advance(self.now):
            socket = next((name for name, one in site.sessions.items() if one is session), None)
            if socket is None or site.away:
                continue
            if isinstance(frame, Close):
                del site.sessions[socket]
                self._later(Closed(socket, "the venue closed it"))
            else:
                self._later(Frame(socket, frame))

    def _later(self, arrived: Input, after_ns: int = DELAY_NS) -> None:
        self._inputs.append((self.now + after_ns, arrived))

    def _take(self, arrived: Input) -> None:
        step: Step = self.desk.take((arrived,), self.now)
        self.steps += 1
        self._wake_at = step.wake_at
        for decision in step.decisions:
            self._note(decision)
        for act in step.acts:
            self._perform(act)

    def _note(self, decision: Decision) -> None:
        self.notes += decision.notes
        self.orders += [request.order for request in decision.requests if isinstance(request, Place)]

    def _perform(self, act: Act) -> None:
        match act:
            case Call():
                site = self.sites[self._names[act.tag % len(self._names)]]
                if site.away or (site.name in self._deaf and about_an_order(act.request)):
                    self._later(Silence(act.tag, True, "no answer"), PATIENCE_NS)
                    return
                parts = urlsplit(act.url)
                got = site.venue.request(act.method, parts.path, parts.query, dict(act.headers), act.body, self.now)
                headers = {name.lower(): value for name, value in got.headers.items()}
                self._later(Answer(act.tag, Reply(got.status, headers, got.body)))
            case Open(socket=socket, url=url):
                site = self.sites[socket.partition(":")[0]]
                if site.away:
                    self._later(Closed(socket, "no connection"), PATIENCE_NS)
                    return
                parts = urlsplit(url)
                target = f"{parts.path}?{parts.query}" if parts.query else parts.path
                site.sessions[socket] = site.venue.connect(target, self.now, dict(act.headers))
                self._later(Opened(socket))
            case Say(socket=socket, text=text):
                site = self.sites[socket.partition(":")[0]]
                if (session := site.sessions.get(socket)) is not None and not site.away:
                    for frame in site.venue.receive(session, text, self.now):
                        self._later(Frame(socket, frame))
            case Shut(socket=socket, reason=reason):
                site = self.sites[socket.partition(":")[0]]
                if (session := site.sessions.pop(socket, None)) is not None:
                    site.venue.disconnect(session)
                self._later(Closed(socket, reason))

    def move(self, name: str, symbol: str, factor: float) -> None:
        """A price leaps at one venue, in steps that are believed."""
        book = self.sites[name].exchange.books[symbol]
        goal, steps = float(book.mark) * factor, 12
        for step in range(1, steps + 1):
            self.sites[name].exchange.set_mark(
                symbol, Decimal(f"{float(book.mark) + (goal - float(book.mark)) / (steps + 1 - step):.1f}")
            )
            self.run(1.2)

    def away_on_orders(self, name: str) -> None:
        """Orders to a venue, and questions about them, go unanswered; nothing of them arrives."""
        self._deaf.append(name)

    def leave(self, name: str) -> None:
        """A venue goes away: nothing it says arrives, and nothing reaches it."""
        self.sites[name].away = True

    def come_back(self, name: str) -> None:
        """It is there again; its sockets are new."""
        site = self.sites[name]
        site.away = False
        for socket, session in list(site.sessions.items()):
            site.venue.disconnect(session)
            del site.sessions[socket]
            self._later(Closed(socket, "reset"))


def about_an_order(request: object) -> bool:
    """Whether a call sends an order or asks about one."""
    return isinstance(request, Place | Batch) or (
        isinstance(request, Ask) and request.what in (What.ORDER, What.ORDERS)
    )
