"""MEXC's contract interface over the local exchange: requests in, replies and frames out, no socket.

    exchange = Exchange(SeededMarket(seed=7), [Account(balance=10_000)])
    mexc = Mexc(exchange)
    reply = mexc.request("GET", "/api/v1/contract/ping", "", {}, b"", now)
    session = mexc.connect("/edge", now)
    answers = mexc.receive(session, '{"method":"sub.ticker","param":{"symbol":"BTC_USDT"}}', now)

Times are UTC nanoseconds, as everywhere in this project; the wire's own are milliseconds. Written from the exchange's
documentation and from published captures, and from nothing else here. What these don't say is decided here: a
post-only order that would take is accepted and cancelled by the system at once; a client id that is known is answered
with the order it belongs to; both directions of a contract share one leverage.
"""

import hmac
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from urllib.parse import unquote

import msgspec
from msgspec import structs

from adapters.simulator import wire
from adapters.simulator.arithmetic import exactly
from adapters.simulator.exchange import Exchange
from adapters.simulator.limits import Counter, Limit
from adapters.simulator.mexc_account import ACCOUNT
from adapters.simulator.mexc_call import Call, Endpoint, Fields
from adapters.simulator.mexc_errors import WireError, of_rejection
from adapters.simulator.mexc_faults import MexcFaults, envelope
from adapters.simulator.mexc_orders import ORDERS
from adapters.simulator.mexc_public import PUBLIC, SPOT
from adapters.simulator.mexc_streams import Session, Streams
from adapters.simulator.mexc_views import Views
from adapters.simulator.orders import Rejected
from adapters.simulator.side import MS, Key, Request
from adapters.simulator.signing import decode_pairs
from adapters.simulator.wire import HTML, JSON, Reply

ROUTES = {**PUBLIC, **ACCOUNT, **ORDERS, **SPOT}
"""Every REST path by method, name and how many parts follow it."""

WINDOW_MS = 10_000
"""A request's own time is no further than this from the venue's."""
REQUESTS_2S = 20
ORDERS_2S = 4


class Mexc(MexcFaults):
    """The venue's REST and websocket protocol for one exchange.

    `requests_2s` is how often each path may be called in two seconds, by an account or an address, where the venue
    says twenty; `orders_2s` how many orders an account may send in them, `details_5s` how often the contracts may be
    asked for in five. `mark_pace` publishes prices so many times
    more often, for a market that runs fast.
    """

    streams: Streams

    def __init__(
        self,
        exchange: Exchange,
        *,
        requests_2s: int = REQUESTS_2S,
        orders_2s: int = ORDERS_2S,
        details_5s: int = 1,
        mark_pace: float = 1.0,
    ) -> None:
        super().__init__(exchange)
        for one in list(exchange.instruments.values()):  # the venue has no least value of an order
            exchange.relist(structs.replace(one, min_notional=Decimal(0)))
        exchange.matcher.post_only_expires = True
        self.views = Views(exchange)
        self.streams = Streams(self.views, self.keys, mark_pace)
        exchange.listener = self.streams.tell
        self.requests_2s = requests_2s
        self.orders_2s = orders_2s
        self.details_5s = details_5s
        self._counters: dict[tuple[str, Endpoint], Counter] = {}
        self._banned: dict[str, int] = {}

    def answer(self, request: Request) -> Reply:
        """Answer a request; the time of one that has waited in the gateway is looked at there, and not again."""
        now_ms = self.exchange.now_ms
        if now_ms < self._banned.get(request.client, 0):
            self.exchange.ledger.turned_away[403] += 1
            return Reply(403, HTML, b"<html><h1>403 Forbidden</h1></html>")
        found = self._find(request.method, request.path)
        if found is None:
            return Reply(404, JSON, envelope(404, "Not Found"))
        endpoint, parts = found
        self.exchange.ledger.weigh(request.client, now_ms // 60_000, 1)
        key: Key | None = None
        try:
            if endpoint.private:
                key = self._identify(endpoint, request)
            self._count(endpoint, key.account.api_key if key else request.client, now_ms)
            fields, content = _fields(request.query, request.body)
            result = endpoint.handle(Call(self, key, fields, content, parts, now_ms))
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            if endpoint.places and key is not None:
                self.exchange.ledger.reject(key.account.api_key, error.code)
            return Reply(error.status, JSON, envelope(error.code, error.message))
        if request.path.startswith("/api/v3/"):
            return Reply(200, JSON, msgspec.json.encode(result))
        answer = {"success": True, "code": 0} | ({} if result is None else {"data": result})
        return Reply(200, JSON, msgspec.json.encode(answer))

    def _find(self, method: str, path: str) -> tuple[Endpoint, list[str]] | None:
        """Who answers a path, and what it says behind its name."""
        name, parts = path, list[str]()
        for count in range(3):
            endpoint = ROUTES.get((method, name, count))
            if endpoint is not None:
                return endpoint, parts
            name, _, last = name.rpartition("/")
            parts.insert(0, unquote(last))
        return None

    def _identify(self, endpoint: Endpoint, request: Request) -> Key:
        """Whose request it is: signed over the key, its time, and its query in the order of names or its body."""
        name, stamp, signature = (request.headers.get(one) or "" for one in ("ApiKey", "Request-Time", "Signature"))
        key = self.keys.get(name)
        if key is None:
            raise WireError(401)
        content = request.text if request.method == "POST" else "&".join(sorted(request.query.split("&")))
        wanted = key.verifier.digest(f"{name}{stamp}{content}".encode()).hex()
        if not hmac.compare_digest(wanted, signature):
            raise WireError(602)
        self.exchange.ledger.sign(stamp, signature, request.name)
        if not stamp.isdecimal() or abs(request.arrived_ms - int(stamp)) > WINDOW_MS:
            raise WireError(513)
        if key.has_expired(request.arrived_ms):
            raise WireError(402)
        if endpoint.trades and not key.may_trade:
            raise WireError(704)
        return key

    def _count(self, endpoint: Endpoint, who: str, now_ms: int) -> None:
        counter = self._counters.get((who, endpoint))
        if counter is None:
            counter = self._counters[who, endpoint] = Counter(self._limit(endpoint))
        counter.limit = self._limit(endpoint)
        if not counter.add(1, now_ms):
            self.exchange.ledger.turned_away[200] += 1
            raise WireError(510)

    def _limit(self, endpoint: Endpoint) -> Limit:
        most = {REQUESTS_2S: self.requests_2s, ORDERS_2S: self.orders_2s, 1: self.details_5s}.get(
            endpoint.most, endpoint.most
        )
        return Limit(most, endpoint.interval_ms)

    @exactly
    def connect(self, target: str, now: int, headers: Mapping[str, str] = MappingProxyType({})) -> Session:
        """Open a websocket; it always succeeds."""
        self.exchange.advance(now // MS)
        return self.streams.connect(self.exchange.now_ms)

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out."""
        self._banned[client] = now // MS + for_ms

    def set_limits(self, weight: int | None, orders_10s: int | None, orders_1m: int | None) -> tuple[int, int, int]:
        """Change how often a path may be called in two seconds, and how many orders are taken in ten; gives what was.

        The venue has no limit for a minute.
        """
        before = self.requests_2s, self.orders_2s * 5, self.orders_2s * 30
        self.requests_2s = self.requests_2s if weight is None else weight
        self.orders_2s = self.orders_2s if orders_10s is None else max(1, orders_10s // 5)
        return before

    def use_weight(self, weight: int, now: int, client: str = "127.0.0.1") -> None:
        """Have somebody else at an address, and on the accounts, call every path so often."""
        for who in (client, *self.exchange.accounts):
            for endpoint in ROUTES.values():
                counter = self._counters.setdefault((who, endpoint), Counter(self._limit(endpoint)))
                counter.add(weight, now // MS)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        super().step_clock(ms)
        self._banned = {client: until_ms + ms for client, until_ms in self._banned.items()}

    def revoke_key(self, key: str) -> None:
        """Forget a key: whoever uses it has no authority, and its sockets fall silent."""
        account = self.forget_key(key)
        for session in self.streams.sessions.values():
            if account is not None and session.account == account.api_key:
                session.account = None

    def expire(self, session: wire.Session, now: int, *, told: bool) -> bool:
        """End the login of a socket: it closes, which is how the venue would say so, or stays open and silent."""
        assert isinstance(session, Session)
        had, session.account = session.private, None
        if had and told:
            self.streams.close(session)
        return had


def _fields(query: str, body: bytes) -> tuple[Fields, object]:
    """What a request says, by name, and its body as it is if that is a list."""
    if not body:
        return Fields(decode_pairs(query)), None
    try:
        content = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise WireError(601) from None
    return Fields(content if isinstance(content, dict) else {}), content
