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
import hmac
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import structs

from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.exchange import Exchange
from adapters.simulator.limits import Counter, Limit
from adapters.simulator.orders import Rejected
from adapters.simulator.side import MS, Key, Request
from adapters.simulator.signing import decode_pairs
from adapters.simulator.weex_account import ACCOUNT
from adapters.simulator.weex_call import Call, Endpoint, Params, refusal_of, text_of
from adapters.simulator.weex_faults import WeexFaults
from adapters.simulator.weex_orders import ORDERS
from adapters.simulator.weex_public import PUBLIC
from adapters.simulator.weex_streams import HEARTBEAT_MS, Session, Streams
from adapters.simulator.wire import HTML, JSON, Reply, WireError

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


class Weex(WeexFaults):
    """The venue's REST and websocket protocol for one exchange.

    `weight_limit` is the request weight of each address a minute, `orders_10s` and `orders_1m` are the order counts of
    each account. `mark_pace` publishes prices so many times more often, for a market that runs fast. `passphrase` goes
    with every key. An account hears of no orders every `heartbeat_ms`. With `rechecks` the matching engine looks at a
    timestamp again that the gateway has let in.
    """

    streams: Streams

    def __init__(
        self,
        exchange: Exchange,
        *,
        weight_limit: int = WEIGHT_LIMIT,
        orders_10s: int = ORDERS_10S,
        orders_1m: int = ORDERS_1M,
        mark_pace: float = 1.0,
        passphrase: str = DEMO_PASSPHRASE,
        heartbeat_ms: int = HEARTBEAT_MS,
        rechecks: bool = True,
    ) -> None:
        super().__init__(exchange)
        self.streams = Streams(exchange, mark_pace, heartbeat_ms)
        self.limits = (weight_limit, orders_10s, orders_1m)
        self.rechecks = rechecks
        self.dice = random.Random(len(exchange.accounts))
        """For what the venue promises no order of."""
        for account in exchange.accounts.values():
            account.hedge = True
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

    def answer(self, request: Request) -> Reply:
        """Answer a request; one that has waited in the gateway has its time looked at again by the engine."""
        now_ms = self.exchange.now_ms
        if now_ms < self._banned.get(request.client, 0):
            self.exchange.ledger.turned_away[403] += 1
            return Reply(403, HTML, b"<html>403 Forbidden</html>")
        endpoint = ROUTES.get((request.method, request.path))
        if endpoint is None:
            return Reply(404, HTML, b"<html>404 Not Found</html>")
        answer = {**JSON}
        if not self._weigh(request.client, endpoint.weight, now_ms, answer):
            return Reply(429, answer, error_body(429, "Too many requests"))
        account: Account | None = None
        try:
            key = self._admit(request)
            if endpoint.signed and key is None:
                raise WireError(-1040, "ACCESS_KEY header is required.")
            if key is not None and endpoint.signed:
                account = key.account
                self._authorise(endpoint, key, request.headers, now_ms)
                self._count(endpoint, account, answer, now_ms)
            posted = request.method == "POST" or request.body
            params = Params.of_body(request.body) if posted else Params(decode_pairs(request.query))
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
        self.exchange.advance(now // MS)
        path = target.partition("?")[0]
        if not path.endswith(PRIVATE_PATH):
            return self.streams.connect(None, self.exchange.now_ms)
        try:
            key = self._admit(Request("", PRIVATE_PATH, "", headers, b"", "", self.exchange.now_ms))
        except WireError:
            key = None
        session = self.streams.connect(key.account.api_key if key else "", self.exchange.now_ms)
        if key is None:
            self.streams.close(session)
        return session

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out; how the venue says so is written nowhere, so it is a page of its firewall."""
        self._banned[client] = now // MS + for_ms

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
        self._counter(client).add(weight, now // MS)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        super().step_clock(ms)
        self._banned = {client: until_ms + ms for client, until_ms in self._banned.items()}

    def revoke_key(self, key: str) -> None:
        """Forget a key: whoever uses it is told that it is invalid, and its private sockets are closed."""
        account = self.forget_key(key)
        for session in list(self.streams.sessions.values()):
            if account is not None and session.account == account.api_key:
                self.streams.close(session)

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

    def _admit(self, request: Request) -> Key | None:
        """Who has signed a request; None where nobody has tried to."""
        headers = request.headers
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
        if request.method in ("POST", "DELETE") and headers.get("Content-Type") != "application/json":
            raise WireError(-1045, "Invalid Content-Type, please use application/json.")
        key = self.keys.get(name)
        if key is None or key.has_expired(request.arrived_ms):
            raise WireError(-1044, text_of(-1044))
        if abs(request.arrived_ms - int(stamp)) > WINDOW_MS:
            raise WireError(-1046, text_of(-1046))
        query = request.query and f"?{request.query}"
        text = f"{stamp}{request.method}{request.path}{query}".encode() + request.body
        wanted = base64.b64encode(key.verifier.digest(text))
        if not hmac.compare_digest(wanted, signature.encode()):
            raise WireError(-1047, text_of(-1047))
        if not hmac.compare_digest(self._passphrase.encode(), (headers.get("ACCESS-PASSPHRASE") or "").encode()):
            raise WireError(-1049, text_of(-1049))
        if request.method:
            self.exchange.ledger.sign(stamp, signature, request.name)
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
