"""Binance USDⓈ-M futures over the local exchange: requests in, replies and frames out, no socket.

    exchange = Exchange(SeededMarket(seed=7), [Account(balance=10_000)])
    binance = Binance(exchange)
    reply = binance.request("GET", "/fapi/v1/time", "", {}, b"", now)
    session = binance.connect("/market/ws/btcusdt@markPrice@1s", now)
    frames = binance.advance(now + 1_000_000_000)       # [(session, b'{"e":"markPriceUpdate",…'), …]

Times are UTC nanoseconds, as everywhere in this project; the wire's own are milliseconds.
Written from the exchange's documentation and from published captures, and from nothing else here.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from adapters.simulator import binance_faults, wire
from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.binance_account import ACCOUNT
from adapters.simulator.binance_call import Call, Endpoint, Params
from adapters.simulator.binance_errors import WireError, bad_key, bad_key_format, of_rejection
from adapters.simulator.binance_orders import ORDERS
from adapters.simulator.binance_public import PUBLIC
from adapters.simulator.binance_streams import Session, Streams
from adapters.simulator.exchange import Exchange
from adapters.simulator.limits import Counter, Gate, Limit
from adapters.simulator.orders import Rejected
from adapters.simulator.signing import Verifier, decode_pairs, signed_part
from adapters.simulator.wire import Frame, Reply, Topic

DAY_MS = 86_400_000
HOUR_MS = 3_600_000

WEIGHT_LIMIT = 2_400
ORDERS_10S = 300
ORDERS_1M = 1_200
FUNDING_5M = 500

ROUTES = {**PUBLIC, **ACCOUNT, **ORDERS}
"""Every REST endpoint by method and path."""

_LONGEST_WINDOW_MS = 60_000
_AHEAD_MS = 1_000
_SHORTEST_KEY = 8


class Key(Struct):
    """An API key: whose it is, how its signatures are checked, what it may do and until when."""

    account: Account
    verifier: Verifier
    rights: dict[str, object]
    may_trade: bool = True
    expires_ms: int | None = None

    def allows(self, method: str, path: str, now_ms: int) -> bool:
        """Whether a request is within its rights: without that to trade it may only ask."""
        trading = method != "GET" and not path.endswith("/listenKey")
        expired = self.expires_ms is not None and now_ms >= self.expires_ms
        return not trading or (self.may_trade and not expired)


class Binance:
    """The venue's REST and websocket protocol for one exchange.

    `legacy_streams` makes paths without a category serve every stream, as the venue's test
    environment does; else they serve only books. `listen_key_life_ms` and `session_life_ms` shorten
    what takes an hour and a day; `weight_limit` is the request weight of each address a minute,
    `orders_10s` and `orders_1m` are the order counts of each account. `mark_pace` publishes mark
    prices so many times more often, for a market that runs fast. Without `rechecks` the matching
    engine does not look at a timestamp again that the gateway has let in, as older venues don't.
    """

    binary = False

    def __init__(
        self,
        exchange: Exchange,
        *,
        legacy_streams: bool = False,
        weight_limit: int = WEIGHT_LIMIT,
        orders_10s: int = ORDERS_10S,
        orders_1m: int = ORDERS_1M,
        session_life_ms: int = DAY_MS,
        listen_key_life_ms: int = HOUR_MS,
        mark_pace: float = 1.0,
        rechecks: bool = True,
    ) -> None:
        self.exchange = exchange
        self.streams = Streams(
            exchange,
            unrouted="all" if legacy_streams else "public",
            session_life_ms=session_life_ms,
            mark_pace=mark_pace,
        )
        self.rechecks = rechecks
        self.listen_key_life_ms = listen_key_life_ms
        self.weight_limit = weight_limit
        self.orders_10s = orders_10s
        self.orders_1m = orders_1m
        exchange.listener = self.streams.tell
        self.keys: dict[str, Key] = {}
        for key, account in exchange.accounts.items():
            self.keys[key] = Key(account, Verifier(account.secret, account.public_key), account.rights)
            for further, secret in account.keys.items():
                self.keys[further] = Key(account, Verifier(secret, None), dict(account.rights))
        self._gates: dict[str, Gate] = {}
        self._funding_pools: dict[str, Counter] = {}
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

        `client` is the address whose weight it uses. `arrived` is when the gateway let it in, if
        the matching engine gets to see it only now: the engine looks at the timestamp again.
        """
        self.exchange.advance(now // 1_000_000)
        now_ms = self.exchange.now_ms
        arrived_ms = now_ms if arrived is None else arrived // 1_000_000
        endpoint = ROUTES.get((method, path))
        if endpoint is None:
            return Reply(404, {"Content-Type": "text/html"}, b"<html>404 Not Found</html>")
        text = body.decode("utf-8", "replace")
        pairs = decode_pairs(query)
        params = Params({**decode_pairs(text), **pairs} if text else pairs)
        gate = self._gate(client)
        weight = endpoint.weight(params)
        status = gate.enter(weight, now_ms)
        self.exchange.ledger.weigh(client, now_ms // 60_000, weight)
        answer = {
            "Content-Type": "application/json",
            "X-MBX-USED-WEIGHT-1M": str(gate.weight.used(now_ms)),
        }
        if status != 200:
            return self._turned_away(status, gate, client, answer, now_ms)
        account: Account | None = None
        key: Key | None = None
        try:
            if endpoint.funding_pool:
                self._count_funding(client, now_ms)
            if endpoint.security != "NONE":
                key = self._identify(headers)
                account = key.account
            if key is not None and account is not None and endpoint.security == "SIGNED":
                self._verify(key, f"{method} {path}", signed_part(query, text), params, arrived_ms)
                if not key.allows(method, path, now_ms):
                    raise bad_key()
                self._count_orders(endpoint, account, params, now_ms, arrived_ms)
            result = endpoint.handle(Call(self, key, params, now_ms))
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            if endpoint.orders[0] and account is not None:
                self.exchange.ledger.reject(account.api_key, error.code)
            return Reply(error.status, answer, error_body(error.code, error.message))
        if endpoint.orders[0] and account is not None:
            in_10s, in_1m = self._order_counts[account.api_key]
            answer["X-MBX-ORDER-COUNT-10S"] = str(in_10s.used(now_ms))
            answer["X-MBX-ORDER-COUNT-1M"] = str(in_1m.used(now_ms))
        return Reply(200, answer, msgspec.json.encode(result))

    @exactly
    def connect(self, target: str, now: int, headers: Mapping[str, str] = MappingProxyType({})) -> Session:
        """Open a websocket on a path with its query; it always succeeds, as at the venue, which looks at no header."""
        self.exchange.advance(now // 1_000_000)
        return self.streams.connect(target, self.exchange.now_ms)

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
        frames = self.streams.outbox
        if frames:
            self.streams.outbox = []
        return frames

    @property
    def next_at(self) -> int:
        """When something next happens here by itself."""
        return min(self.exchange.due_ms, self.streams.due_ms) * 1_000_000

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out as if it had asked too often."""
        self._gate(client).ban(now // 1_000_000, for_ms)

    def set_limits(self, weight: int | None, orders_10s: int | None, orders_1m: int | None) -> tuple[int, int, int]:
        """Change the request weight of each address and the order counts of each account; gives what was before."""
        before = self.weight_limit, self.orders_10s, self.orders_1m
        self.weight_limit = self.weight_limit if weight is None else weight
        self.orders_10s = self.orders_10s if orders_10s is None else orders_10s
        self.orders_1m = self.orders_1m if orders_1m is None else orders_1m
        for gate in self._gates.values():
            gate.weight.limit = Limit(self.weight_limit, 60_000)
        for in_10s, in_1m in self._order_counts.values():
            in_10s.limit, in_1m.limit = Limit(self.orders_10s, 10_000), Limit(self.orders_1m, 60_000)
        return before

    def use_weight(self, weight: int, now: int, client: str = "127.0.0.1") -> None:
        """Have somebody else at an address use some of its weight."""
        self._gate(client).weight.add(weight, now // 1_000_000)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        self.streams.step_clock(ms)
        for gate in self._gates.values():
            gate.banned_until_ms += ms
        self.exchange.step_clock(ms)

    def change_key(self, key: str, rights: Mapping[str, object]) -> None:
        """Change what a key may do: `trade`, `withdraw`, `ip` (bound to addresses), `expires_ms`."""
        found = self.keys[key]
        for name, value in rights.items():
            match name:
                case "trade":
                    found.may_trade = bool(value)
                    found.rights["enableFutures"] = bool(value)
                case "withdraw":
                    found.rights["enableWithdrawals"] = bool(value)
                case "ip":
                    found.rights["ipRestrict"] = bool(value)
                case "expires_ms":
                    assert isinstance(value, int)
                    found.expires_ms = value
                    found.rights["tradingAuthorityExpirationTime"] = value
                case _:
                    raise ValueError(f"{name} is no right of a key")

    def revoke_key(self, key: str) -> None:
        """Forget a key: whoever uses it is told that it is invalid, and its private streams fall silent."""
        found = self.keys.pop(key, None)
        if found is not None and all(other.account is not found.account for other in self.keys.values()):
            for name, listen_key in list(self.streams.listen_keys.items()):
                if listen_key.account == found.account.api_key:
                    del self.streams.listen_keys[name]

    def kind(self, method: str, path: str) -> str:
        """What a request is for, in the fault file's words."""
        return binance_faults.kind_of(method, path)

    def question(self, path: str, query: str, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Who asks what, equal for two equal questions."""
        return binance_faults.question_of(path, query, headers)

    def failure(self, do: str, *, code: int | None, until: int, client: str, now: int) -> Reply:
        """The venue's own words for a failure."""
        return binance_faults.failure(do, code, until // 1_000_000, now // 1_000_000)

    def shorten(self, body: bytes, keep: int) -> bytes | None:
        """A reply's list with so many items left, or None."""
        return binance_faults.shorten(body, keep)

    def refusal(self, text: str | bytes) -> bytes:
        """The frame that refuses a message from a client."""
        return binance_faults.refusal(text)

    def text(self, frame: bytes) -> bytes:
        """What a frame says: itself."""
        return frame

    def topic(self, frame: bytes) -> Topic:
        """What a frame is about."""
        return binance_faults.topic_of(frame)

    def forge(self, frame: bytes, do: str, *, by: float, symbol: str) -> bytes | None:
        """A frame with something wrong in it, or None."""
        return binance_faults.forge(frame, do, by, symbol)

    def expire(self, session: wire.Session, now: int, *, told: bool) -> bool:
        """End the listen keys of a socket, with or without saying so; whether it had any."""
        assert isinstance(session, Session)
        ended = [self.streams.expire(key, now // 1_000_000, told=told) for key in session.listen_keys]
        return any(ended)

    def _gate(self, client: str) -> Gate:
        gate = self._gates.get(client)
        if gate is None:
            gate = self._gates[client] = Gate(Limit(self.weight_limit, 60_000))
        return gate

    def _turned_away(self, status: int, gate: Gate, client: str, headers: dict[str, str], now_ms: int) -> Reply:
        self.exchange.ledger.turned_away[status] += 1
        if status == 418:
            until_ms = gate.banned_until_ms
            message = (
                f"Way too many requests; IP({client}) banned until {until_ms}. "
                "Please use the websocket for live updates to avoid bans."
            )
            wait_ms = until_ms - now_ms
        else:
            message = (
                f"Too many requests; current limit of IP({client}) is {self.weight_limit} "
                "requests per minute. Please use the websocket for live updates to avoid polling "
                "the API."
            )
            wait_ms = gate.weight.wait_ms(now_ms)
        headers["Retry-After"] = str(-(-wait_ms // 1000))
        return Reply(status, headers, error_body(-1003, message))

    def _identify(self, headers: Mapping[str, str]) -> Key:
        name = headers.get("X-MBX-APIKEY") or ""
        if len(name) < _SHORTEST_KEY or not name.isascii() or " " in name:
            raise bad_key_format()
        key = self.keys.get(name)
        if key is None:
            raise bad_key()
        return key

    def _verify(self, key: Key, what: str, payload: str, params: Params, arrived_ms: int) -> None:
        timestamp = params.integer("timestamp")
        window = params.integer("recvWindow", 5_000)
        if not 0 < window <= _LONGEST_WINDOW_MS:
            raise WireError(-1131, "recvWindow must be less than 60000")
        signature = params.text("signature")
        if not key.verifier.accepts(payload, signature):
            raise WireError(-1022, "Signature for this request is not valid.")
        self.exchange.ledger.sign(params.text("timestamp"), signature, what)
        if timestamp >= arrived_ms + _AHEAD_MS:
            raise WireError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if arrived_ms - timestamp > window:
            raise WireError(-1021, "Timestamp for this request is outside of the recvWindow.")

    def _count_orders(
        self,
        endpoint: Endpoint,
        account: Account,
        params: Params,
        now_ms: int,
        arrived_ms: int,
    ) -> None:
        if not endpoint.orders[0]:
            return
        if (
            self.rechecks
            and now_ms > arrived_ms
            and (now_ms - params.integer("timestamp") > params.integer("recvWindow", 5_000))
        ):
            raise WireError(-5028, "Timestamp for this request is outside of the ME recvWindow.")
        names = ("TEN_SECONDS", "MINUTE")
        for counter, amount, name in zip(self._order_counts[account.api_key], endpoint.orders, names, strict=True):
            if not counter.add(amount, now_ms):
                raise WireError(
                    -1015,
                    f"Too many new orders; current limit is {counter.limit.most} orders per {name}.",
                    429,
                )

    def _count_funding(self, client: str, now_ms: int) -> None:
        pool = self._funding_pools.setdefault(client, Counter(Limit(FUNDING_5M, 300_000)))
        if not pool.add(1, now_ms):
            raise WireError(-1003, "Too many requests; please use the websocket.", 429)


def error_body(code: int, message: str) -> bytes:
    """An error as the venue writes it."""
    return msgspec.json.encode({"code": code, "msg": message})
