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

import msgspec
from msgspec import Struct

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


class Reply(Struct, frozen=True):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Binance:
    """The venue's REST and websocket protocol for one exchange.

    `legacy_streams` makes paths without a category serve every stream, as the venue's test
    environment does; else they serve only books. `listen_key_life_ms` and `session_life_ms` shorten
    what takes an hour and a day; `weight_limit` is the request weight of each address a minute,
    `orders_10s` and `orders_1m` are the order counts of each account. `mark_pace` publishes mark
    prices so many times more often, for a market that runs fast. Without `rechecks` the matching
    engine does not look at a timestamp again that the gateway has let in, as older venues don't.
    """

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
        self._verifiers = {
            key: Verifier(account.secret, account.public_key) for key, account in exchange.accounts.items()
        }
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
        status = gate.enter(endpoint.weight(params), now_ms)
        answer = {
            "Content-Type": "application/json",
            "X-MBX-USED-WEIGHT-1M": str(gate.weight.used(now_ms)),
        }
        if status != 200:
            return self._turned_away(status, gate, client, answer, now_ms)
        account: Account | None = None
        try:
            if endpoint.funding_pool:
                self._count_funding(client, now_ms)
            if endpoint.security != "NONE":
                account = self._identify(headers)
            if account is not None and endpoint.security == "SIGNED":
                self._verify(account, f"{method} {path}", signed_part(query, text), params, arrived_ms)
                self._count_orders(endpoint, account, params, now_ms, arrived_ms)
            result = endpoint.handle(Call(self, account, params, now_ms))
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
    def connect(self, target: str, now: int) -> Session:
        """Open a websocket on a path with its query; it always succeeds, as at the venue."""
        self.exchange.advance(now // 1_000_000)
        return self.streams.connect(target, self.exchange.now_ms)

    @exactly
    def receive(self, session: Session, text: str | bytes, now: int) -> list[bytes]:
        """The answers to a message from a client."""
        self.exchange.advance(now // 1_000_000)
        return self.streams.receive(session, text, self.exchange.now_ms)

    def disconnect(self, session: Session) -> None:
        """Note that a client has gone."""
        self.streams.forget(session)

    def disconnect_all(self) -> None:
        """Close every socket from the exchange's side."""
        for session in list(self.streams.sessions.values()):
            self.streams.close(session)

    @exactly
    def advance(self, now: int) -> list[tuple[Session, bytes]]:
        """Let everything happen that is due, and take the frames to send, in order.

        A frame of no bytes (`binance_streams.CLOSE`) means that the exchange closes that socket.
        """
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

    def _gate(self, client: str) -> Gate:
        gate = self._gates.get(client)
        if gate is None:
            gate = self._gates[client] = Gate(Limit(self.weight_limit, 60_000))
        return gate

    def _turned_away(self, status: int, gate: Gate, client: str, headers: dict[str, str], now_ms: int) -> Reply:
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

    def _identify(self, headers: Mapping[str, str]) -> Account:
        key = headers.get("X-MBX-APIKEY") or ""
        if len(key) < _SHORTEST_KEY or not key.isascii() or " " in key:
            raise bad_key_format()
        account = self.exchange.accounts.get(key)
        if account is None:
            raise bad_key()
        return account

    def _verify(self, account: Account, what: str, payload: str, params: Params, arrived_ms: int) -> None:
        timestamp = params.integer("timestamp")
        window = params.integer("recvWindow", 5_000)
        if not 0 < window <= _LONGEST_WINDOW_MS:
            raise WireError(-1131, "recvWindow must be less than 60000")
        signature = params.text("signature")
        if not self._verifiers[account.api_key].accepts(payload, signature):
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
