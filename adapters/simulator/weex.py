"""WEEX USDT-M contracts, API V3, over the local exchange: requests in, replies and frames out, no socket.

    exchange = Exchange(SeededMarket(seed=7), [Account(balance=10_000)])
    weex = Weex(exchange)
    reply = weex.request("GET", "/capi/v3/market/time", "", {}, b"", now)
    session = weex.connect("/v3/ws/public", now, {})

Accounts are in hedge mode: an order names the side of the position that it is for, and there is no other way to say
what it may do. There is no smallest value of an order either. Written from the exchange's documentation and from
published captures, and from nothing else here; what neither says is said where it is decided.
"""

import base64
import hashlib
import hmac
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct, structs

from adapters.simulator import weex_faults, wire
from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.exchange import Exchange
from adapters.simulator.limits import Counter, Limit
from adapters.simulator.orders import Rejected
from adapters.simulator.signing import decode_pairs
from adapters.simulator.weex_account import ACCOUNT
from adapters.simulator.weex_call import Call, Endpoint, Params, WireError, refusal_of, text_of
from adapters.simulator.weex_orders import ORDERS
from adapters.simulator.weex_public import PUBLIC
from adapters.simulator.weex_streams import Session, Streams
from adapters.simulator.wire import Frame, Reply, Topic

DEMO_PASSPHRASE: Final = "demopassphrase"  # noqa: S105
"""What goes with the key of an account. It opens nothing but a local exchange."""

WEIGHT_LIMIT: Final = 3_000
ORDERS_10S: Final = 100
ORDERS_1M: Final = 600
WINDOW_MS: Final = 30_000
"""How far a timestamp may be from the venue's time."""
PRIVATE_PATH: Final = "/v3/ws/private"

ROUTES: Final = {**PUBLIC, **ACCOUNT, **ORDERS}
"""Every REST endpoint by method and path."""


class Key(Struct):
    """An API key: whose it is, its secret, what it may do and until when."""

    account: Account
    secret: str
    may_trade: bool = True
    expires_ms: int | None = None


class Weex:
    """The venue's REST and websocket protocol for one exchange.

    `weight_limit` is the request weight of each address a minute, `orders_10s` and `orders_1m` are the order counts of
    each account. `mark_pace` publishes prices so many times more often, for a market that runs fast. `passphrase` goes
    with every key. With `rechecks` the matching engine looks at a timestamp again that the gateway has let in.
    """

    binary = False

    def __init__(
        self,
        exchange: Exchange,
        *,
        weight_limit: int = WEIGHT_LIMIT,
        orders_10s: int = ORDERS_10S,
        orders_1m: int = ORDERS_1M,
        mark_pace: float = 1.0,
        passphrase: str = DEMO_PASSPHRASE,
        rechecks: bool = True,
    ) -> None:
        self.exchange = exchange
        self.streams = Streams(exchange, mark_pace)
        self.limits = (weight_limit, orders_10s, orders_1m)
        self.rechecks = rechecks
        self.dice = random.Random(len(exchange.accounts))
        """For what the venue promises no order of."""
        self.keys: dict[str, Key] = {}
        for name, account in exchange.accounts.items():
            account.hedge = True
            for key, secret in {name: account.secret, **account.keys}.items():
                self.keys[key] = Key(account, secret)
        for one in list(exchange.instruments.values()):
            exchange.relist(structs.replace(one, min_notional=Decimal(0)))
        exchange.matcher.post_only_expires = True
        exchange.listener = self.streams.tell
        self._passphrase = passphrase
        self._weights: dict[str, Counter] = {}
        self._banned: dict[str, int] = {}
        self._order_counts = {
            key: (Counter(Limit(orders_10s, 10_000)), Counter(Limit(orders_1m, 60_000))) for key in exchange.accounts
        }

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

        `client` is the address whose weight it uses. `arrived` is when the gateway let it in, if the matching engine
        gets to see it only now.
        """
        self.exchange.advance(now // 1_000_000)
        now_ms = self.exchange.now_ms
        if now_ms < self._banned.get(client, 0):
            self.exchange.ledger.turned_away[403] += 1
            return Reply(403, {"Content-Type": "text/html"}, b"<html>403 Forbidden</html>")
        endpoint = ROUTES.get((method, path))
        if endpoint is None:
            return Reply(404, {"Content-Type": "text/html"}, b"<html>404 Not Found</html>")
        answer = {"Content-Type": "application/json"}
        if not self._weigh(client, endpoint.weight, now_ms, answer):
            return Reply(429, answer, error_body(429, "Too many requests"))
        account: Account | None = None
        try:
            key = self._admit(method, path, query, headers, body, now_ms if arrived is None else arrived // 1_000_000)
            if endpoint.signed and key is None:
                raise WireError(-1040, "ACCESS_KEY header is required.")
            if key is not None and endpoint.signed:
                account = key.account
                self._authorise(endpoint, key, headers, now_ms)
                self._count(endpoint, account, answer, now_ms)
            params = Params.of_body(body) if method == "POST" or body else Params(decode_pairs(query))
            result = endpoint.handle(Call(self, key, params, now_ms))
        except Rejected as rejected:
            return Reply(400, answer, error_body(*refusal_of(rejected)))
        except WireError as error:
            if endpoint.places and account is not None:
                self.exchange.ledger.reject(account.api_key, error.code)
            return Reply(error.status, answer, error_body(error.code, error.message))
        return Reply(200, answer, msgspec.json.encode(result))

    @exactly
    def connect(self, target: str, now: int, headers: Mapping[str, str]) -> Session:
        """Open a websocket; a private one that is not signed by a key is closed at once."""
        self.exchange.advance(now // 1_000_000)
        path = target.partition("?")[0]
        if not path.endswith(PRIVATE_PATH):
            return self.streams.connect(None, self.exchange.now_ms)
        try:
            key = self._admit("", PRIVATE_PATH, "", headers, b"", self.exchange.now_ms)
        except WireError:
            key = None
        session = self.streams.connect(key.account.api_key if key else "", self.exchange.now_ms)
        if key is None:
            self.streams.close(session)
        return session

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
        """Shut an address out; how the venue says so is written nowhere, so it is a page of its firewall."""
        self._banned[client] = now // 1_000_000 + for_ms

    def set_limits(self, weight: int | None, orders_10s: int | None, orders_1m: int | None) -> tuple[int, int, int]:
        """Change the request weight of each address and the order counts of each account; gives what was before."""
        before = self.limits
        wanted = (weight, orders_10s, orders_1m)
        most, in_10s, in_1m = (old if new is None else new for old, new in zip(before, wanted, strict=True))
        self.limits = (most, in_10s, in_1m)
        for counter in self._weights.values():
            counter.limit = Limit(most, 60_000)
        for ten, minute in self._order_counts.values():
            ten.limit, minute.limit = Limit(in_10s, 10_000), Limit(in_1m, 60_000)
        return before

    def use_weight(self, weight: int, now: int, client: str = "127.0.0.1") -> None:
        """Have somebody else at an address use some of its weight."""
        self._counter(client).add(weight, now // 1_000_000)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        self.streams.step_clock(ms)
        self._banned = {client: until_ms + ms for client, until_ms in self._banned.items()}
        self.exchange.step_clock(ms)

    def change_key(self, key: str, rights: Mapping[str, object]) -> None:
        """Change what a key may do: `trade` and `expires_ms`; of `withdraw` and `ip` the venue tells nothing."""
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
        """Forget a key: whoever uses it is told that it is invalid, and its private sockets are closed."""
        found = self.keys.pop(key, None)
        if found is not None and all(other.account is not found.account for other in self.keys.values()):
            for session in list(self.streams.sessions.values()):
                if session.account == found.account.api_key:
                    self.streams.close(session)

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words."""
        return weex_faults.kind_of(method, path)

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what, equal for two equal questions."""
        return weex_faults.question_of(path, query, headers)

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure."""
        return weex_faults.failure(do, code)

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """A reply's list with so many items left, or None."""
        return weex_faults.shorten(body, keep)

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message from a client."""
        return weex_faults.refusal(text)

    def text(self, frame: bytes) -> bytes:
        """What a frame says: itself."""
        return frame

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about."""
        return weex_faults.topic_of(frame)

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it, or None."""
        return weex_faults.forge(frame, do, by, symbol)

    def expire(self, session: wire.Session, now: int, *, told: bool) -> bool:
        """A private socket has no key that could end: it was signed for when it was opened."""
        return False

    def _counter(self, client: str) -> Counter:
        counter = self._weights.get(client)
        if counter is None:
            counter = self._weights[client] = Counter(Limit(self.limits[0], 60_000))
        return counter

    def _weigh(self, client: str, weight: int, now_ms: int, answer: dict[str, str]) -> bool:
        counter = self._counter(client)
        within = counter.add(weight, now_ms)
        self.exchange.ledger.weigh(client, now_ms // 60_000, weight)
        answer["X-USED-WEIGHT-1M"] = str(counter.used(now_ms))
        if not within:
            self.exchange.ledger.turned_away[429] += 1
        return within

    def _admit(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, arrived_ms: int
    ) -> Key | None:
        """Who has signed a request; None where nobody has tried to."""
        name, signature = headers.get("ACCESS-KEY"), headers.get("ACCESS-SIGN")
        if not name:
            return None
        if not signature:
            raise WireError(-1041, "ACCESS_SIGN header is required.")
        stamp = headers.get("ACCESS-TIMESTAMP")
        if not stamp:
            raise WireError(-1042, "ACCESS_TIMESTAMP header is required.")
        if not stamp.isdecimal() or len(stamp) != 13:
            raise WireError(-1043, "Invalid ACCESS_TIMESTAMP.")
        if method in ("POST", "DELETE") and headers.get("Content-Type") != "application/json":
            raise WireError(-1045, "Invalid Content-Type, please use application/json.")
        key = self.keys.get(name)
        if key is None or (key.expires_ms is not None and arrived_ms >= key.expires_ms):
            raise WireError(-1044, text_of(-1044))
        if abs(arrived_ms - int(stamp)) > WINDOW_MS:
            raise WireError(-1046, text_of(-1046))
        text = f"{stamp}{method}{path}{query and f'?{query}'}".encode() + body
        wanted = base64.b64encode(hmac.new(key.secret.encode(), text, hashlib.sha256).digest()).decode()
        if not hmac.compare_digest(wanted.encode(), signature.encode()):
            raise WireError(-1047, text_of(-1047))
        if not hmac.compare_digest(self._passphrase.encode(), (headers.get("ACCESS-PASSPHRASE") or "").encode()):
            raise WireError(-1049, text_of(-1049))
        if method:
            self.exchange.ledger.sign(stamp, signature, f"{method} {path}")
        return key

    def _authorise(self, endpoint: Endpoint, key: Key, headers: Mapping[str, str], now_ms: int) -> None:
        if endpoint.trades and not key.may_trade:
            raise WireError(-1052, text_of(-1052))
        if endpoint.places and self.rechecks and now_ms - int(headers["ACCESS-TIMESTAMP"]) > WINDOW_MS:
            raise WireError(-1046, text_of(-1046))

    def _count(self, endpoint: Endpoint, account: Account, answer: dict[str, str], now_ms: int) -> None:
        if not endpoint.places:
            return
        counters = self._order_counts[account.api_key]
        within = [counter.add(1, now_ms) for counter in counters]
        answer["X-ORDER-COUNT-10S"], answer["X-ORDER-COUNT-1M"] = (str(one.used(now_ms)) for one in counters)
        if not all(within):
            raise WireError(429, "Too many orders", 429)


def error_body(code: int, message: str) -> bytes:
    """An error as the venue writes it."""
    return msgspec.json.encode({"code": code, "msg": message})
