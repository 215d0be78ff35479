"""Bybit v5 over the local exchange: requests in, replies and frames out, no socket.

    exchange = Exchange(SeededMarket(seed=7), [Account(balance=10_000)])
    bybit = Bybit(exchange)
    reply = bybit.request("GET", "/v5/market/time", "", {}, b"", now)
    session = bybit.connect("/v5/public/linear", now)
    bybit.receive(session, '{"op":"subscribe","args":["tickers.BTCUSDT"]}', now)
    frames = bybit.advance(now + 1_000_000_000)         # [(session, b'{"topic":"tickers.BTCUSDT",…'), …]

Times are UTC nanoseconds, as everywhere in this project; the wire's own are milliseconds.
Written from the exchange's documentation and from published captures, and from nothing else here.
"""

from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec
from msgspec import Struct

from adapters.simulator.account import Account
from adapters.simulator.arithmetic import exactly
from adapters.simulator.bybit_account import ACCOUNT, funding_row
from adapters.simulator.bybit_call import Call, Endpoint, Params, View
from adapters.simulator.bybit_errors import of_rejection, parameter, text_of
from adapters.simulator.bybit_faults import BybitFaults
from adapters.simulator.bybit_orders import ORDERS
from adapters.simulator.bybit_public import PUBLIC
from adapters.simulator.bybit_streams import Session, Streams
from adapters.simulator.bybit_views import name_of, number_of
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import Order, OrderRequest, Rejected
from adapters.simulator.side import MS, Key, Request
from adapters.simulator.signing import decode_pairs
from adapters.simulator.wire import HTML, JSON, Reply, WireError

ROUTES = {**PUBLIC, **ACCOUNT, **ORDERS}
"""Every REST endpoint by method and path."""

REQUESTS_5S = 600
ORDERS_1S = 10
BUDGETS = {
    "fees": 5,
    "ledger": 25,
    "settings": 5,
    "leverage": 10,
    "key": 10,
}
"""What an account may ask in a second, by budget; of others fifty, and of orders as many as it was given."""
READS_1S = 50

_BAN_MS = 600_000
_AHEAD_MS = 1_000
_LONGEST_WINDOW_MS = 60_000


class Served(Struct, frozen=True):
    """What a request came to; code 0 is well."""

    code: int
    message: str
    result: object
    extra: object


class Rolling:
    """What was used of a budget in the last stretch of time, whenever it began."""

    def __init__(self, most: int, span_ms: int) -> None:
        self.most = most
        self.span_ms = span_ms
        self._times: deque[int] = deque()

    def left(self, now_ms: int) -> int:
        """What may still be used."""
        while self._times and self._times[0] <= now_ms - self.span_ms:
            self._times.popleft()
        return self.most - len(self._times)

    def take(self, amount: int, now_ms: int) -> bool:
        """Use some; refused, nothing is used."""
        if self.left(now_ms) < amount:
            return False
        self._times.extend([now_ms] * amount)
        return True

    def resets_ms(self, now_ms: int) -> int:
        """When some of it is there again."""
        return self._times[0] + self.span_ms if self.left(now_ms) <= 0 and self._times else now_ms


class Bybit(BybitFaults):
    """The venue's REST and websocket protocol for one exchange.

    `mark_pace` publishes tickers so many times more often, for a market that runs fast. `lag_ms` is how long after its
    acknowledgement the matching engine has a request. `requests_5s` is what an address may ask, `orders_1s` how many
    orders an account may place, and so for each other request about orders.
    """

    streams: Streams

    def __init__(
        self,
        exchange: Exchange,
        *,
        mark_pace: float = 1.0,
        lag_ms: int = 4,
        requests_5s: int = REQUESTS_5S,
        orders_1s: int = ORDERS_1S,
    ) -> None:
        super().__init__(exchange)
        exchange.matcher.post_only_expires = True
        self.requests_5s = requests_5s
        self.orders_1s = orders_1s
        self.moves_prices = True
        self.sequences: dict[tuple[str, str, str], int] = {}
        """The last trade of each position."""
        self.turned_down: list[Order] = []
        """Orders that were acknowledged, and not taken after all."""
        self.streams = Streams(self, mark_pace=mark_pace)
        exchange.listener = self.streams.tell
        self._lag_ms = lag_ms
        self._addresses: dict[str, Rolling] = {}
        self._banned: dict[str, int] = {}
        self._budgets: dict[tuple[str, str], Rolling] = {}
        self._names: dict[tuple[str, str], str] = {}
        """The ids of orders that were taken in, by account and client id, …"""
        self._clients: dict[str, tuple[str, str]] = {}
        """… and the other way round."""
        self._reasons: dict[tuple[str, str], str] = {}
        self._taken_in = 0

    # Symbols and ids

    def spell(self, one: Instrument) -> str:
        """An instrument as the venue spells it."""
        return spelt(one)

    def unspell(self, symbol: str) -> Instrument | None:
        """The instrument of a symbol."""
        return next((one for one in self.exchange.instruments.values() if spelt(one) == symbol), None)

    def next_name(self) -> str:
        """The id of the next order that is taken in."""
        self._taken_in += 1
        return name_of(self._taken_in, 9)

    def take_in(self, account: Account, request: OrderRequest, name: str) -> None:
        """Remember an order for ever: its client id is not taken again."""
        key = (account.api_key, request.client_id)
        self._names[key], self._clients[name] = name, key

    def knows(self, account: Account, client_id: str) -> bool:
        """Whether an order of this client id was ever taken in."""
        return (account.api_key, client_id) in self._names

    def names_of(self, order: Order) -> tuple[str, str]:
        """The venue's id of an order, and the client's where he gave one."""
        name = self._names.get((order.account, order.client_id)) or name_of(order.id)
        return name, "" if order.client_id == name else order.client_id

    def find(self, account: Account, name: str, link: str) -> Order | None:
        """An account's order by the venue's id, or else by the client's."""
        if not name:
            return self.exchange.ledger.with_client_id(account.api_key, link)
        owner, client_id = self._clients.get(name, ("", ""))
        if owner == account.api_key:
            return self.exchange.ledger.with_client_id(owner, client_id)
        order = self.exchange.ledger.orders.get(number_of(name))
        return order if order is not None and order.account == account.api_key else None

    def later(self, act: Callable[[int], None]) -> None:
        """Have the matching engine do something once it has the request."""
        self.exchange.at(self.exchange.now_ms + self._lag_ms, act)

    def turn_down(self, order: Order, reason: str) -> None:
        """An order that was acknowledged is not taken after all."""
        self.turned_down.append(order)
        self._reasons[order.account, order.client_id] = reason
        self.streams.tell_order(order)

    def reason_of(self, order: Order) -> str:
        """Why an order was turned down; nothing where it was not."""
        return self._reasons.get((order.account, order.client_id), "")

    def last_funding(self, account: str) -> View:
        """The last payment of funding of an account, as it stands among its trades."""
        rows = reversed(self.exchange.ledger.income)
        income = next(row for row in rows if row.account == account and row.kind == "FUNDING_FEE")
        key = next(key for key in self.keys.values() if key.account.api_key == account)
        call = Call(self, key, Params({}), self.exchange.now_ms)
        return funding_row(call, income, self.exchange.instruments[income.symbol])

    # Requests

    def answer(self, request: Request) -> Reply:
        """Answer a request; the time limit of one that has waited in the gateway is looked at there alone."""
        now_ms = self.exchange.now_ms
        self.exchange.ledger.weigh(request.client, now_ms // 60_000, 1)
        if (shut := self._shut_out(request.client, now_ms)) is not None:
            return shut
        endpoint = ROUTES.get((request.method, request.path))
        if endpoint is None:
            return Reply(404, HTML, b"<html>404 Not Found</html>")
        asks = request.method == "GET"
        if asks and request.body:
            return Reply(403, HTML, b"<html>403 Forbidden</html>")
        answer = {**JSON, "Timenow": str(now_ms)}
        key: Key | None = None
        try:
            if endpoint.budget:
                key = self._identify(request, request.query if asks else request.text)
            params = Params(decode_pairs(request.query) if asks else decoded(request.text))
        except WireError as failed:
            return Reply(200, answer, envelope(failed.code, failed.message, {}, now_ms))
        served = self.serve(request.method, request.path, params, key, answer)
        return Reply(200, answer, envelope(served.code, served.message, served.result, now_ms, served.extra))

    def serve(self, method: str, path: str, params: Params, key: Key | None, headers: dict[str, str]) -> Served:
        """Answer a request of somebody who is known, whichever way it came; says in `headers` what is left to him."""
        now_ms, endpoint = self.exchange.now_ms, ROUTES[method, path]
        call = Call(self, key, params, now_ms)
        try:
            if key is not None and endpoint.orders and not key.may_trade:
                raise WireError(10005, text_of(10005))
            if key is not None:
                self._spend(endpoint, key, params, headers, now_ms)
            return Served(0, "OK", endpoint.handle(call), call.extra)
        except (Rejected, WireError) as failed:
            error = of_rejection(failed) if isinstance(failed, Rejected) else failed
            if key is not None and path.startswith("/v5/order/create"):
                self.exchange.ledger.reject(key.account.api_key, error.code)
            return Served(error.code, error.message, {}, None)

    def _shut_out(self, client: str, now_ms: int) -> Reply | None:
        """The answer to an address that is banned, or has asked so often that it is from now on."""
        asked = self._addresses.get(client)
        if asked is None:
            asked = self._addresses[client] = Rolling(self.requests_5s, 5_000)
        if now_ms >= self._banned.get(client, 0) and asked.take(1, now_ms):
            return None
        if now_ms >= self._banned.get(client, 0):
            self._banned[client] = now_ms + _BAN_MS
        self.exchange.ledger.turned_away[403] += 1
        return Reply(403, HTML, b"403, access too frequent")

    def _identify(self, request: Request, signed: str) -> Key:
        """Whose request it is, once key, time and signature are right."""
        now_ms = request.arrived_ms
        headers = {name.lower(): value for name, value in request.headers.items()}
        name, stamp = headers.get("x-bapi-api-key", ""), headers.get("x-bapi-timestamp", "")
        window, signature = headers.get("x-bapi-recv-window", "5000"), headers.get("x-bapi-sign", "")
        key = self.keys.get(name)
        if not stamp.isdecimal() or not window.isdecimal() or not 0 < int(window) <= _LONGEST_WINDOW_MS:
            raise parameter("X-BAPI-TIMESTAMP or X-BAPI-RECV-WINDOW invalid")
        if key is None:
            raise WireError(10003, text_of(10003))
        if key.has_expired(now_ms):
            raise WireError(33004, text_of(33004))
        if not key.verifier.accepts(f"{stamp}{name}{window}{signed}", signature):
            raise WireError(10004, f"error sign! origin_string[{stamp}{name}{window}{signed}]")
        self.exchange.ledger.sign(stamp, signature, request.name)
        if not now_ms - int(window) <= int(stamp) < now_ms + _AHEAD_MS:
            raise WireError(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]",
            )
        return key

    def _spend(self, endpoint: Endpoint, key: Key, params: Params, answer: dict[str, str], now_ms: int) -> None:
        """Count a request; each order of a batch counts."""
        about = (key.account.api_key, endpoint.budget)
        budget = self._budgets.get(about)
        if budget is None:
            most = BUDGETS.get(endpoint.budget, self.orders_1s if endpoint.orders else READS_1S)
            budget = self._budgets[about] = Rolling(most, 1_000)
        rows = params.values.get("request")
        took = budget.take(len(rows) if isinstance(rows, list) and rows else 1, now_ms)
        answer["X-Bapi-Limit"] = str(budget.most)
        answer["X-Bapi-Limit-Status"] = str(max(0, budget.left(now_ms)))
        answer["X-Bapi-Limit-Reset-Timestamp"] = str(budget.resets_ms(now_ms))
        if not took:
            self.exchange.ledger.turned_away[10006] += 1
            raise WireError(10006, text_of(10006))

    # Sockets

    @exactly
    def connect(self, target: str, now: int, headers: Mapping[str, str] = MappingProxyType({})) -> Session:
        """Open a websocket on a path; what it is for shows in what it takes."""
        self.exchange.advance(now // MS)
        return self.streams.connect(target, self.exchange.now_ms)

    # What a fault plan does

    def ban(self, now: int, for_ms: int, client: str = "127.0.0.1") -> None:
        """Shut an address out as if it had asked too often."""
        self._banned[client] = now // MS + for_ms

    def set_limits(self, weight: int | None, orders_10s: int | None, orders_1m: int | None) -> tuple[int, int, int]:
        """Change what an address may ask, given for a minute, and the orders of an account, given for ten seconds."""
        before = self.requests_5s * 12, self.orders_1s * 10, self.orders_1s * 60
        self.requests_5s = self.requests_5s if weight is None else max(1, weight // 12)
        told = [
            count for count in (orders_10s and orders_10s // 10, orders_1m and orders_1m // 60) if count is not None
        ]
        self.orders_1s = max(1, min(told)) if told else self.orders_1s
        for asked in self._addresses.values():
            asked.most = self.requests_5s
        for (_, name), budget in self._budgets.items():
            if any(endpoint.orders and endpoint.budget == name for endpoint in ROUTES.values()) and name not in BUDGETS:
                budget.most = self.orders_1s
        return before

    def use_weight(self, weight: int, now: int, client: str = "127.0.0.1") -> None:
        """Have somebody else at an address ask so often."""
        asked = self._addresses.setdefault(client, Rolling(self.requests_5s, 5_000))
        asked.take(min(weight, asked.left(now // MS)), now // MS)

    def step_clock(self, ms: int) -> None:
        """Put the venue's clock forward or back; what was due in a while is due in that while still."""
        super().step_clock(ms)
        self._banned = {client: until + ms for client, until in self._banned.items()}
        self._addresses.clear()
        self._budgets.clear()

    def revoke_key(self, key: str) -> None:
        """Forget a key: whoever uses it is told that it is invalid, and its private streams fall silent."""
        account = self.forget_key(key)
        for session in self.streams.sessions.values():
            if account is not None and session.account == account.api_key:
                session.account = None


def spelt(one: Instrument) -> str:
    """An instrument as the venue spells it: those that settle in USDC are named by their coin."""
    return f"{one.base}PERP" if one.quote == "USDC" else f"{one.base}{one.quote}"


def envelope(code: int, message: str, result: object, now_ms: int, extra: object = None) -> bytes:
    """An answer as the venue writes it."""
    return msgspec.json.encode(
        {"retCode": code, "retMsg": message, "result": result, "retExtInfo": extra or {}, "time": now_ms}
    )


def decoded(text: str) -> dict[str, object]:
    """The parameters in a body."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, object])
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise parameter("the body is no JSON object") from None
