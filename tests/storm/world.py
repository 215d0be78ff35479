"""A world in virtual time: the desk with the real dialect, and the local exchange behind a faulty gateway.

No socket and no clock: requests and frames go byte for byte from one to the other, and time jumps to whatever happens
next. Everything follows from the seed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from adapters import simulator
from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange
from adapters.simulator.faults import Faults
from adapters.simulator.gateway import Gateway
from adapters.simulator.market import Market
from adapters.simulator.wire import Close, Session
from agent.cli.build import VENUES
from agent.core.decisions import Decision, Policy
from agent.core.desk import Answer, Closed, Desk, Frame, Input, Opened, Silence, Tick
from agent.core.engine import Engine
from agent.core.guard import Seat
from agent.core.orders import MS, Order, S
from agent.core.strangers import Sharing
from agent.core.venue import Call, Credentials, Open, Reply, Say, Secret, Shut

START = 1_790_000_000 * S
"""When every world begins."""
RECHECKING = ("binance", "binance-coinm", "weex")
"""Venues whose side can be one that looks at a timestamp again when a request has waited."""
REST, STREAM = "http://127.0.0.1:1", "ws://127.0.0.1:1"

UNSHARED = Sharing()


class World:
    """One agent and one exchange. `run` lets time pass; ``decided`` sees each decision as it is made.

    ``gateway`` is that of an exchange which others use as well; the agent's clock is ahead of it by ``skew_ns``.
    ``rechecks``, ``rights`` and ``entry``, which has orders sent by websocket, are Binance's own.
    """

    def __init__(
        self,
        policy: Policy,
        market: Market,
        account: Account,
        faults: Faults,
        *,
        speed: float = 1.0,
        rechecks: bool = True,
        rights: bool = False,
        entry: bool = False,
        venue: str = "binance",
        gateway: Gateway | None = None,
        epoch: int = 1,
        nonce: int = 0,
        skew_ns: int = 0,
        sharing: Sharing = UNSHARED,
    ) -> None:
        self.now = START
        self._sharing = sharing
        self.account = account
        self.skew_ns = skew_ns
        if gateway is None:
            side = simulator.VENUES[venue].side
            exchange = Exchange(market, [account], seed=faults.seed, speed=speed)
            own = {"rechecks": rechecks} if venue in RECHECKING else {}
            gateway = Gateway(side(exchange, **own), faults)
        self.gateway = gateway
        self.venue = gateway.venue
        self.exchange = gateway.venue.exchange
        self.policy = policy
        self.symbols = tuple(policy.targets.weights)
        spelt = simulator.VENUES[venue].symbol
        self.local = {spelt(one): symbol for symbol, one in self.exchange.instruments.items()}
        """The exchange's own names of its symbols, by the venue's."""
        self.decided: Callable[[Decision], None] = lambda decision: None
        self.left: Callable[[Call], None] = lambda call: None
        """Told of each request as it leaves, …"""
        self.heard: Callable[[Input], None] = lambda arrived: None
        """… and of all that arrives, before the agent is."""
        self.journal: dict[str, Order] = {}
        """Every order as it was last written down."""
        self.sessions: dict[str, Session] = {}
        self.names: dict[int, str] = {}
        self.calls: dict[int, tuple[int, int]] = {}
        """Calls on their way, by ticket: their tag, and when the client gives up."""
        self._inputs: list[tuple[int, int, Input]] = []
        self._number = 0
        self._salt = f"storm{faults.seed}"
        phrase = simulator.VENUES[venue].passphrase
        self._passphrase = Secret(phrase) if phrase else None
        self._dialect = VENUES[venue].dialect
        self._own: dict[str, str | None] = {"rights_url": REST if rights else None} if VENUES[venue].rights else {}
        self._own |= simulator.VENUES[venue].own
        if entry:
            self._own["entry_url"] = f"{STREAM}{urlsplit(VENUES[venue].entry_url or '').path}"
        self.boot(epoch, nonce=nonce)
        self.gateway.advance(START)

    def boot(self, epoch: int, resume: Iterable[Order] = (), desk: type[Desk] | None = None, *, nonce: int = 0) -> None:
        """A process begins, with the orders that it finds in its journal; the one before it is dead."""
        for session in self.sessions.values():
            self.gateway.disconnect(session)
        self.sessions.clear()
        self.calls.clear()
        self._inputs.clear()
        credentials = Credentials(Secret(DEMO_KEY), Secret(DEMO_SECRET), self._passphrase)
        dialect = self._dialect(
            symbols=self.symbols, credentials=credentials, rest_url=REST, stream_url=STREAM, **self._own
        )
        self.engine = Engine(
            self.policy,
            epoch=epoch,
            nonce=nonce,
            seats=(Seat("st", dialect.abilities, sharing=self._sharing),),
            schedule=lambda now: None,
            resume=resume,
        )
        self.desk = (desk or Desk)([dialect], self.engine, salt=self._salt)
        self._wake_at = self.now

    def run(self, until: int, check: Callable[[], None] | None = None) -> None:
        """Let time pass until ``until``; ``check`` is called after everything that happens."""
        while True:
            give_up = min((deadline for _, deadline in self.calls.values()), default=until)
            head = self._inputs[0][0] if self._inputs else until
            self.now = max(self.now, min(self._wake_at, self.gateway.next_at, head, give_up))
            if self.now >= until:
                self.now = until
                return
            self._deliver()
            self._time_out()
            while self._inputs and self._inputs[0][0] <= self.now:
                self._take(heapq.heappop(self._inputs)[2])
            if self.now >= self._wake_at:
                self._take(Tick())
            if check is not None:
                check()

    def _put(self, arrived: Input, at: int) -> None:
        self._number += 1
        heapq.heappush(self._inputs, (at, self._number, arrived))

    def _deliver(self) -> None:
        delivery = self.gateway.advance(self.now)
        for ticket, reply in delivery.replies:
            tag, _ = self.calls.pop(ticket, (None, 0))
            if tag is None:
                continue
            if reply is None:
                self._put(Silence(call=tag, sent=True, reason="the connection died"), self.now)
            else:
                headers = {name.lower(): value for name, value in reply.headers.items()}
                self._put(Answer(call=tag, reply=Reply(reply.status, headers, reply.body)), self.now)
        for session, frame in delivery.frames:
            name = self.names.get(session.number)
            if name is None or self.sessions.get(name) is not session:
                continue
            if not isinstance(frame, Close):
                self._put(Frame(socket=name, data=frame), self.now)
            elif frame.how != "freeze":  # without pings, half open is silence
                del self.sessions[name]
                self._put(Closed(socket=name, reason="closed by the exchange"), self.now)

    def _time_out(self) -> None:
        for ticket, (tag, deadline) in list(self.calls.items()):
            if self.now >= deadline:
                del self.calls[ticket]
                self._put(Silence(call=tag, sent=True, reason="timeout"), self.now)

    def _take(self, arrived: Input) -> None:
        self.heard(arrived)
        step = self.desk.take((arrived,), self.now + self.skew_ns)
        for decision in step.decisions:
            self.journal.update((order.id, order) for order in decision.orders)
            self.decided(decision)
        self._wake_at = step.wake_at - self.skew_ns
        for act in step.acts:
            self._do(act)

    def _do(self, act: Open | Shut | Say | Call) -> None:
        match act:
            case Call(socket=str(name)):
                self.left(act)
                if name in self.sessions:
                    self.gateway.receive(self.sessions[name], act.body, self.now)
            case Call():
                self.left(act)
                url = urlsplit(act.url)
                ticket = self.gateway.send(act.method, url.path, url.query, dict(act.headers), act.body, self.now)
                self.calls[ticket] = (act.tag, self.now + act.timeout_ms * MS)
            case Open(socket=name):
                if self.gateway.admit(self.now) is not None:
                    self._put(Closed(socket=name, reason="not let in"), self.now)
                    return
                url = urlsplit(act.url)
                session = self.gateway.connect(f"{url.path}?{url.query}", self.now, dict(act.headers))
                self.sessions[name], self.names[session.number] = session, name
                self._put(Opened(socket=name), self.now)
            case Shut(socket=name):
                session_ = self.sessions.pop(name, None)
                if session_ is not None:
                    self.gateway.disconnect(session_)
                    self._put(Closed(socket=name, reason=act.reason), self.now)
            case Say(socket=name):
                if name in self.sessions:
                    self.gateway.receive(self.sessions[name], act.text, self.now)

    def heal(self) -> None:
        """No more faults from here on."""
        self.gateway.faults = Faults(seed=self.gateway.faults.seed, delay_ms=1.0)
