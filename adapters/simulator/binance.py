"""Binance USDⓈ-M futures over the local exchange: requests in, replies and frames out, no socket.

Its coin-margined contracts are `adapters.simulator.binance_coin`.

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

from adapters.simulator import binance_api, wire
from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.binance_account import ACCOUNT
from adapters.simulator.binance_call import Call, Endpoint, Params
from adapters.simulator.binance_errors import bad_key, bad_key_format, of_rejection
from adapters.simulator.binance_faults import BinanceFaults
from adapters.simulator.binance_orders import ORDERS
from adapters.simulator.binance_public import PUBLIC
from adapters.simulator.binance_streams import Session, Streams
from adapters.simulator.exchange import Exchange
from adapters.simulator.limits import Counter, Gate, Limit
from adapters.simulator.orders import Rejected
from adapters.simulator.side import MS, Key, Request
from adapters.simulator.signing import decode_pairs, signed_part
from adapters.simulator.wire import HTML, JSON, Reply, WireError

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


class Binance(BinanceFaults):
    """The venue's REST and websocket protocol for one exchange.

    `legacy_streams` makes paths without a category serve every stream, as the venue's test
    environment does; else they serve only books. `listen_key_life_ms` and `session_life_ms` shorten
    what takes an hour and a day; `weight_limit` is the request weight of each address a minute,
    `orders_10s` and `orders_1m` are the order counts of each account. `mark_pace` publishes mark
    prices so many times more often, for a market that runs fast. Without `rechecks` the matching
    engine does not look at a timestamp again that the gateway has let in, as older venues don't.
    """

    streams: Streams
    routes = ROUTES
    futures = "U_MARGINED"
    coin_margined = False

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
        super().__init__(exchange)
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
        self._gates: dict[str, Gate] = {}
        self._funding_pools: dict[str, Counter] = {}
        self._order_counts = {
            key: (Counter(Limit(orders_10s, 10_000)), Counter(Limit(orders_1m, 60_000))) for key in exchange.accounts
        }

    def answer(self, request: Request) -> Reply:
        """Answer a request; one that has waited in the gateway has its time looked at again by the engine."""
        if (request.method, request.path) not in self.routes:
            return Reply(404, HTML, b"<html>404 Not Found</html>")
        return self.serve(
            request.method,
            request.path,
            {**decode_pairs(request.text), **decode_pairs(request.query)},
            key=request.headers.get("X-MBX-APIKEY") or "",
            signed=signed_part(request.query, request.text),
            arrived_ms=request.arrived_ms,
            client=request.client,
        )

    def serve(
        self,
        method: str,
        path: str,
        words: dict[str, str],
        *,
        key: str,
        signed: str | None,
        arrived_ms: int,
        client: str = "127.0.0.1",
    ) -> Reply:
        """Answer a request, whichever way it came.

        `signed` is the text that its signature is of, None in a session that was logged on.
        """
        now_ms = self.exchange.now_ms
        endpoint, params = self.routes[method, path], Params(words)
        gate = self._gate(client)
        weight = endpoint.weight(params)
        status = gate.enter(weight, now_ms)
        self.exchange.ledger.weigh(client, now_ms // 60_000, weight)
        answer = {**JSON, "X-MBX-USED-WEIGHT-1M": str(gate.weight.used(now_ms))}
        if status != 200:
            return self._turned_away(status, gate, client, answer, now_ms)
        account: Account | None = None
        found: Key | None = None
        try:
            if endpoint.funding_pool:
                self._count_funding(client, now_ms)
            if endpoint.security != "NONE":
                found = self._identify(key)
                account = found.account
            if found is not None and account is not None and endpoint.security == "SIGNED":
                self._verify(found, f"{method} {path}", signed, params, arrived_ms)
                trades = method != "GET" and not path.endswith("/listenKey")
                if trades and (not found.may_trade or found.has_expired(now_ms)):
                    raise bad_key()
                self._count_orders(endpoint, account, params, now_ms, arrived_ms)
            result = endpoint.handle(Call(self, found, params, now_ms))
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
        self.exchange.advance(now // MS)
        session = self.streams.connect(target, self.exchange.now_ms)
        if session.asks:
            self.use_weight(binance_api.HANDSHAKE_WEIGHT, now)
        return session

    def log_on(self, words: dict[str, str], signed: str) -> str:
        """Let a websocket session speak for a key, which must be of the one kind that may; gives its name."""
        name = words.get("apiKey") or ""
        key = self._identify(name)
        if not key.verifier.ed25519:
            raise WireError(-1020, "This operation is not supported.")
        self._verify(key, "session.logon", signed, Params(words), self.exchange.now_ms)
        return name

    @exactly
    def receive(self, session: wire.Session, text: str | bytes, now: int) -> list[bytes]:
        """The answers to a message from a client."""
        assert isinstance(session, Session)
        if not session.asks:
            return super().receive(session, text, now)
        self.exchange.advance(now // MS)
        return [] if session.closed else [binance_api.answer(self, session, text, now)]

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out as if it had asked too often."""
        self._gate(client).ban(now // MS, for_ms)

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
        self._gate(client).weight.add(weight, now // MS)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        super().step_clock(ms)
        for gate in self._gates.values():
            gate.banned_until_ms += ms

    def revoke_key(self, key: str) -> None:
        """Forget a key: whoever uses it is told that it is invalid, and its private streams fall silent."""
        account = self.forget_key(key)
        for session in self.streams.sessions.values():
            if session.key == key:
                session.key = None
                self.streams.outbox.append((session, binance_api.revoked()))
        for name, listen_key in list(self.streams.listen_keys.items()):
            if account is not None and listen_key.account == account.api_key:
                del self.streams.listen_keys[name]

    def expire(self, session: wire.Session, now: int, *, told: bool) -> bool:
        """End the listen keys of a socket, with or without saying so; whether it had any."""
        assert isinstance(session, Session)
        ended = [self.streams.expire(key, now // MS, told=told) for key in session.listen_keys]
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

    def _identify(self, name: str) -> Key:
        if len(name) < _SHORTEST_KEY or not name.isascii() or " " in name:
            raise bad_key_format()
        key = self.keys.get(name)
        if key is None:
            raise bad_key()
        return key

    def _verify(self, key: Key, what: str, payload: str | None, params: Params, arrived_ms: int) -> None:
        timestamp = params.integer("timestamp")
        window = params.integer("recvWindow", 5_000)
        if not 0 < window <= _LONGEST_WINDOW_MS:
            raise WireError(-1131, "recvWindow must be less than 60000")
        if payload is not None:
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
