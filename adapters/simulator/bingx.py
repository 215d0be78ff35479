"""BingX USDT-margined perpetuals over the local exchange: requests in, replies and frames out, no socket.

Written from the venue's documentation and from published captures, and from nothing else here. Only REST and the two
kinds of sockets that serve USDT-margined contracts are spoken. Times are UTC nanoseconds; the wire's own are
milliseconds.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from adapters.simulator import wire
from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.bingx_account import ACCOUNT
from adapters.simulator.bingx_call import Call, Endpoint, Params, pairs_of
from adapters.simulator.bingx_errors import TOO_OFTEN, WireError, of_rejection
from adapters.simulator.bingx_faults import KEY_PATH, BingXFaults
from adapters.simulator.bingx_orders import ORDERS, TAKEN
from adapters.simulator.bingx_public import PUBLIC
from adapters.simulator.bingx_streams import Session, Streams
from adapters.simulator.exchange import Exchange
from adapters.simulator.limits import Counter, Gate, Limit
from adapters.simulator.orders import Rejected
from adapters.simulator.side import MS, Key, Request
from adapters.simulator.signing import decode_pairs
from adapters.simulator.wire import JSON, Reply

HOUR_MS: Final = 3_600_000
WINDOW_MS: Final = 5_000
"""How old a request may be, unless it says less."""
AHEAD_MS: Final = 1_000
MARKET_10S: Final = 500
ROUTES: Final[dict[tuple[str, str], Endpoint]] = {**PUBLIC, **ACCOUNT, **ORDERS}
"""Every REST endpoint but the listen key's, by method and path."""


class BingX(BingXFaults):
    """The venue's REST and websocket protocol for one exchange.

    `mark_pace` publishes prices so many times more often, for a market that runs fast; `listen_key_life_ms` shortens
    what takes an hour. `terse`: trades are told as the new total of their order, as in some published captures, and not
    with a size and price of their own. `market_10s` is what an address may ask of market data in ten seconds.
    """

    binary = True
    streams: Streams

    def __init__(
        self,
        exchange: Exchange,
        *,
        mark_pace: float = 1.0,
        listen_key_life_ms: int = HOUR_MS,
        terse: bool = False,
        market_10s: int = MARKET_10S,
    ) -> None:
        super().__init__(exchange)
        self.streams = Streams(exchange, mark_pace, terse=terse)
        self.listen_key_life_ms = listen_key_life_ms
        self.market_10s = market_10s
        self.orders_10s = self.orders_1m = 0
        """Orders of an account in ten seconds and in a minute; 0: as many as its endpoints take in each second."""
        exchange.listener = self.streams.tell
        self._gates: dict[str, Gate] = {}
        self._counts: dict[tuple[str, str], Counter] = {}
        self._order_counts: dict[str, tuple[Counter, Counter]] = {}

    def answer(self, request: Request) -> Reply:
        """Answer a request; one that has waited in the gateway is as old as it was when it came there."""
        now_ms, path = self.exchange.now_ms, request.path
        if path == KEY_PATH:
            return self._listen_key(request, now_ms)
        endpoint = ROUTES.get((request.method, path))
        if endpoint is None:
            return _answer(100400, f"this api is not exist, please refer to the API docs: {path}", {})
        key: Key | None = None
        try:
            self._enter(request.client, 0 if endpoint.per_second else 1, now_ms)
            sent = pairs_of(request.query or request.text)
            params = Params(dict(sent))
            if endpoint.per_second:
                key = self._identify(request.headers)
                self._verify(key, request, sent, params)
                if request.method != "GET" and (not key.may_trade or key.has_expired(now_ms)):
                    raise WireError(100004, "Permission denied, the API key was created without the permission")
                self._count(key.account, request.name, endpoint, now_ms)
            result = endpoint.handle(Call(self, key, params, now_ms))
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            if key is not None and request.method == "POST" and path.endswith(TAKEN):
                self.exchange.ledger.reject(key.account.api_key, error.code)
            return _answer(error.code, error.message, {}, error.status)
        return _bare(result) if endpoint.bare else _answer(0, "", result)

    def _enter(self, client: str, weight: int, now_ms: int) -> None:
        gate = self._gate(client)
        status = gate.enter(weight, now_ms)
        self.exchange.ledger.weigh(client, now_ms // 60_000, weight)
        if status != 200:
            self.exchange.ledger.turned_away[status] += 1
            until_ms = gate.banned_until_ms if status == 418 else now_ms + gate.weight.wait_ms(now_ms)
            raise WireError(100410, TOO_OFTEN.format(until_ms), status)

    def _identify(self, headers: Mapping[str, str]) -> Key:
        key = self.keys.get(headers.get("X-BX-APIKEY") or "")
        if key is None:
            raise WireError(100413, "Incorrect apiKey, please check your valid api key")
        return key

    def _verify(self, key: Key, request: Request, sent: list[tuple[str, str]], params: Params) -> None:
        """The signature covers the raw values, in the order of sending or in that of the alphabet."""
        signature = params.get("signature")
        if signature is None:
            raise WireError(100412, "signature is null")
        signed = [(name, value) for name, value in sent if name != "signature"]
        texts = ("&".join(f"{name}={value}" for name, value in pairs) for pairs in (signed, sorted(signed)))
        wanted = [key.verifier.digest(text.encode()).hex() for text in texts]
        if not any(hmac.compare_digest(one, signature) for one in wanted):
            raise WireError(100001, "Signature verification failed")
        timestamp, window = params.get("timestamp") or "", params.integer("recvWindow", WINDOW_MS)
        if not timestamp.isdecimal() or len(timestamp) > 15:
            raise WireError(100421, "Null timestamp or timestamp mismatch")
        self.exchange.ledger.sign(timestamp, signature, request.name)
        age_ms = request.arrived_ms - int(timestamp)
        if not -AHEAD_MS < age_ms <= min(window or WINDOW_MS, WINDOW_MS):
            raise WireError(100421, "Null timestamp or timestamp mismatch")

    def _count(self, account: Account, what: str, endpoint: Endpoint, now_ms: int) -> None:
        counter = self._counts.setdefault((account.api_key, what), Counter(Limit(endpoint.per_second, 1_000)))
        counters = [counter]
        if what.startswith("POST") and what.endswith(TAKEN) and (self.orders_10s or self.orders_1m):
            most = (self.orders_10s or 1 << 30, 10_000), (self.orders_1m or 1 << 30, 60_000)
            fresh = Counter(Limit(*most[0])), Counter(Limit(*most[1]))
            counters += self._order_counts.setdefault(account.api_key, fresh)
        for one in counters:
            if not one.add(1, now_ms):
                raise WireError(100410, TOO_OFTEN.format(now_ms + one.wait_ms(now_ms)), 429)

    def _listen_key(self, request: Request, now_ms: int) -> Reply:
        """Make, renew or end the key of an account's stream: a renewal is answered with a status alone."""
        try:
            account = self._identify(request.headers).account
        except WireError as error:
            return _answer(error.code, error.message, {}, error.status)
        keys, given = self.streams.keys, decode_pairs(request.query).get("listenKey", "")
        if request.method == "POST":
            key = next((name for name, (owner, _) in keys.items() if owner == account.api_key), "")
            key = key or f"{self.exchange.random.getrandbits(256):064x}"
        elif given not in keys:
            return Reply(404 if given else 204, {}, b"")
        elif request.method == "DELETE":
            self.streams.expire(given, now_ms, told=False)
            return Reply(200, {}, b"")
        else:
            key = given
        keys[key] = (account.api_key, now_ms + self.listen_key_life_ms)
        self.exchange.at(now_ms + self.listen_key_life_ms, lambda at_ms: self._lapse(key, at_ms))
        return _bare({"listenKey": key}) if request.method == "POST" else Reply(200, {}, b"")

    def _lapse(self, key: str, now_ms: int) -> None:
        if key in self.streams.keys and now_ms >= self.streams.keys[key][1]:
            self.streams.expire(key, now_ms, told=True)

    @exactly
    def connect(self, target: str, now: int, headers: Mapping[str, str]) -> Session:
        """Open a websocket; it always succeeds, as at the venue."""
        self.exchange.advance(now // MS)
        return self.streams.connect(target, self.exchange.now_ms)

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out as if it had asked too often."""
        self._gate(client).ban(now // MS, for_ms)

    def set_limits(self, weight: int | None, orders_10s: int | None, orders_1m: int | None) -> tuple[int, int, int]:
        """Change what an address may ask of market data in ten seconds, and the order counts of each account; gives
        what was before."""
        before = self.market_10s, self.orders_10s, self.orders_1m
        self.market_10s = self.market_10s if weight is None else weight
        self.orders_10s = self.orders_10s if orders_10s is None else orders_10s
        self.orders_1m = self.orders_1m if orders_1m is None else orders_1m
        for gate in self._gates.values():
            gate.weight.limit = Limit(self.market_10s, 10_000)
        self._order_counts.clear()
        return before

    def use_weight(self, weight: int, now: int, client: str = "127.0.0.1") -> None:
        """Have somebody else at an address ask so often."""
        self._gate(client).weight.add(weight, now // MS)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        super().step_clock(ms)
        for gate in self._gates.values():
            gate.banned_until_ms += ms

    def revoke_key(self, key: str) -> None:
        """Forget a key: whoever uses it is told that it is wrong, and its private streams fall silent."""
        account = self.forget_key(key)
        for name, (owner, _) in list(self.streams.keys.items()):
            if account is not None and owner == account.api_key:
                del self.streams.keys[name]

    def expire(self, session: wire.Session, now: int, *, told: bool) -> bool:
        """End the listen key of a socket, with or without saying so; whether it had one."""
        assert isinstance(session, Session)
        return self.streams.expire(session.key, now // MS, told=told)

    def _gate(self, client: str) -> Gate:
        gate = self._gates.get(client)
        if gate is None:
            gate = self._gates[client] = Gate(Limit(self.market_10s, 10_000))
        return gate


def _answer(code: int, message: str, data: Any, status: int = 200) -> Reply:
    """An answer in the venue's envelope: an error as well comes with status 200, most of the time."""
    return _bare({"code": code, "msg": message, "data": data}, status)


def _bare(body: Any, status: int = 200) -> Reply:
    return Reply(status, JSON, msgspec.json.encode(body))
