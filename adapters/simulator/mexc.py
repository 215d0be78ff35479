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

import hashlib
import hmac
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from urllib.parse import unquote

import msgspec
from msgspec import Struct, structs

from adapters.simulator import mexc_faults, wire
from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.exchange import Exchange
from adapters.simulator.limits import Counter, Limit
from adapters.simulator.mexc_account import ACCOUNT
from adapters.simulator.mexc_call import Call, Endpoint, Fields
from adapters.simulator.mexc_errors import WireError, of_rejection
from adapters.simulator.mexc_faults import JSON, envelope
from adapters.simulator.mexc_orders import ORDERS
from adapters.simulator.mexc_public import PUBLIC, SPOT
from adapters.simulator.mexc_streams import Session, Streams
from adapters.simulator.mexc_views import Views
from adapters.simulator.orders import Rejected
from adapters.simulator.signing import decode_pairs
from adapters.simulator.wire import Frame, Reply, Topic

ROUTES = {**PUBLIC, **ACCOUNT, **ORDERS, **SPOT}
"""Every REST path by method, name and how many parts follow it."""

WINDOW_MS = 10_000
"""A request's own time is no further than this from the venue's."""
REQUESTS_2S = 20
ORDERS_2S = 4


class Key(Struct):
    """An API key: whose it is, its secret, and what it may do until when."""

    account: Account
    secret: str
    may_trade: bool = True
    expires_ms: int | None = None


class Mexc:
    """The venue's REST and websocket protocol for one exchange.

    `requests_2s` is how often each path may be called in two seconds, by an account or an address, where the venue
    says twenty; `orders_2s` how many orders an account may send in them, `details_5s` how often the contracts may be
    asked for in five. `mark_pace` publishes prices so many times
    more often, for a market that runs fast.
    """

    binary = False

    def __init__(
        self,
        exchange: Exchange,
        *,
        requests_2s: int = REQUESTS_2S,
        orders_2s: int = ORDERS_2S,
        details_5s: int = 1,
        mark_pace: float = 1.0,
    ) -> None:
        for one in list(exchange.instruments.values()):  # the venue has no least value of an order
            exchange.relist(structs.replace(one, min_notional=Decimal(0)))
        exchange.matcher.post_only_expires = True
        self.exchange = exchange
        self.views = Views(exchange)
        self.keys: dict[str, Key] = {}
        for key, account in exchange.accounts.items():
            self.keys[key] = Key(account, account.secret)
            self.keys.update((further, Key(account, secret)) for further, secret in account.keys.items())
        self.streams = Streams(self.views, self._who, mark_pace)
        exchange.listener = self.streams.tell
        self.requests_2s = requests_2s
        self.orders_2s = orders_2s
        self.details_5s = details_5s
        self._counters: dict[tuple[str, Endpoint], Counter] = {}
        self._banned: dict[str, int] = {}

    @exactly
    def request(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        now: int,
        *,
        client: str = "127.0.0.1",
        arrived: int | None = None,
    ) -> Reply:
        """Answer an HTTP request; what it causes on streams waits for `advance`.

        `arrived` is when the gate let it in, if it is carried out only now: its time is looked at then, and not again.
        """
        self.exchange.advance(now // 1_000_000)
        now_ms = self.exchange.now_ms
        if now_ms < self._banned.get(client, 0):
            self.exchange.ledger.turned_away[403] += 1
            return Reply(403, {"Content-Type": "text/html"}, b"<html><h1>403 Forbidden</h1></html>")
        found = self._find(method, path)
        if found is None:
            return Reply(404, JSON, envelope(404, "Not Found"))
        endpoint, parts = found
        self.exchange.ledger.weigh(client, now_ms // 60_000, 1)
        account: Account | None = None
        try:
            if endpoint.private:
                arrived_ms = now_ms if arrived is None else arrived // 1_000_000
                account = self._identify(endpoint, method, path, query, headers, body, arrived_ms)
            self._count(endpoint, account.api_key if account else client, now_ms)
            fields, content = _fields(query, body)
            result = endpoint.handle(Call(self, account, fields, content, parts, now_ms))
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            if endpoint.places and account is not None:
                self.exchange.ledger.reject(account.api_key, error.code)
            return Reply(error.status, JSON, envelope(error.code, error.message))
        if path.startswith("/api/v3/"):
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

    def _identify(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        now_ms: int,
    ) -> Account:
        """Whose request it is: signed over the key, its time, and its query in the order of names or its body."""
        name, stamp, signature = (headers.get(one) or "" for one in ("ApiKey", "Request-Time", "Signature"))
        key = self.keys.get(name)
        if key is None:
            raise WireError(401)
        content = body.decode("utf-8", "replace") if method == "POST" else "&".join(sorted(query.split("&")))
        wanted = hmac.new(key.secret.encode(), f"{name}{stamp}{content}".encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, signature):
            raise WireError(602)
        self.exchange.ledger.sign(stamp, signature, f"{method} {path}")
        if not stamp.isdecimal() or abs(now_ms - int(stamp)) > WINDOW_MS:
            raise WireError(513)
        if key.expires_ms is not None and now_ms >= key.expires_ms:
            raise WireError(402)
        if endpoint.trades and not key.may_trade:
            raise WireError(704)
        return key.account

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

    def _who(self, name: str) -> tuple[str, str] | None:
        """The account of a key, and its secret."""
        key = self.keys.get(name)
        return None if key is None else (key.account.api_key, key.secret)

    @exactly
    def connect(self, target: str, now: int, headers: Mapping[str, str] = MappingProxyType({})) -> Session:
        """Open a websocket; it always succeeds."""
        self.exchange.advance(now // 1_000_000)
        return self.streams.connect(self.exchange.now_ms)

    @exactly
    def receive(self, session: wire.Session, text: str | bytes, now: int) -> list[bytes]:
        """The answers to a message from a client."""
        assert isinstance(session, Session)
        self.exchange.advance(now // 1_000_000)
        return self.streams.receive(session, text, self.exchange.now_ms)

    def disconnect(self, session: wire.Session) -> None:
        """Note that a client has gone."""
        assert isinstance(session, Session)
        self.streams.forget(session)

    def disconnect_all(self) -> None:
        """Close every socket from the exchange's side."""
        for session in list(self.streams.sessions.values()):
            self.streams.close(session)

    @exactly
    def advance(self, now: int) -> list[tuple[Session, Frame]]:
        """Let everything happen that is due, and take the frames to send, in order."""
        self.exchange.advance(now // 1_000_000)
        self.streams.publish(self.exchange.now_ms)
        frames, self.streams.outbox = self.streams.outbox, []
        return frames

    @property
    def next_at(self) -> int:
        """When something next happens here by itself."""
        return min(self.exchange.due_ms, self.streams.due_ms) * 1_000_000

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out."""
        self._banned[client] = now // 1_000_000 + for_ms

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
                counter.add(weight, now // 1_000_000)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        self.streams.step_clock(ms)
        self._banned = {client: until_ms + ms for client, until_ms in self._banned.items()}
        self.exchange.step_clock(ms)

    def change_key(self, key: str, rights: Mapping[str, object]) -> None:
        """Change what a key may do: `trade`, `expires_ms`. The venue tells nobody, nor of `withdraw` and `ip`."""
        found = self.keys[key]
        for name, value in rights.items():
            match name:
                case "trade":
                    found.may_trade = bool(value)
                case "expires_ms":
                    assert isinstance(value, int)
                    found.expires_ms = value
                case "withdraw" | "ip":
                    pass
                case _:
                    raise ValueError(f"{name} is no right of a key")

    def revoke_key(self, key: str) -> None:
        """Forget a key: whoever uses it has no authority, and its sockets fall silent."""
        found = self.keys.pop(key, None)
        if found is not None and all(other.account is not found.account for other in self.keys.values()):
            for session in self.streams.sessions.values():
                if session.account == found.account.api_key:
                    session.account = None

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words."""
        return mexc_faults.kind_of(method, path)

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what, equal for two equal questions."""
        return mexc_faults.question_of(path, query, headers)

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure."""
        return mexc_faults.failure(do, code)

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """A reply's list with so many items left, or None."""
        return mexc_faults.shorten(body, keep)

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message from a client."""
        return mexc_faults.refusal(text)

    def text(self, frame: bytes) -> bytes:
        """What a frame says: itself."""
        return frame

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about."""
        return mexc_faults.topic_of(frame, self.views.symbols)

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it, or None."""
        return mexc_faults.forge(frame, do, by, self.views.names.get(symbol, symbol))

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
