"""Binance USDⓈ-M perpetuals: the dialect of its REST interface and its three websocket categories.

COIN-M perpetuals speak the same language with a few words of their own, which stand in `adapters.binance_coin`.

What frames and answers say stands in `adapters.binance_frames`, budgets, questions and what failures mean in
`adapters.binance_terms`: this file holds the conversation alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Final, assert_never
from urllib.parse import quote, urlencode

from msgspec import UNSET, Raw
from msgspec.json import encode
from msgspec.structs import replace

from adapters import binance_frames as wire
from adapters.addresses import pinned, together
from adapters.answers import Reaction, fate, outcome
from adapters.binance_entry import SOCKET, BinanceEntry
from adapters.binance_terms import (
    ALLOWED,
    HOUR,
    LIMITS,
    MINUTE,
    MODE_CODES,
    QUESTIONS,
    RIGHTS_PATH,
    SECOND,
    USED,
    silent_until,
    verdict_of,
    words,
)
from adapters.conversation import CALL_MS, ORDER_MS, Conversation
from adapters.reading import MISREAD, MS, RAWS, allowed_of, each, exact, excerpt, number, plain, used_of
from adapters.signing import signer
from agent.core import events as fact
from agent.core.events import Fact, Fault, Side
from agent.core.instruments import Instrument
from agent.core.orders import Order, Style
from agent.core.venue import (
    Abilities,
    Arm,
    Ask,
    Batch,
    Call,
    Cancel,
    Credentials,
    Open,
    Place,
    Reply,
    Request,
    SetLeverage,
    Shut,
    Weight,
    What,
    lane_of,
)

REST_URL: Final = "https://fapi.binance.com"
RIGHTS_URL: Final = "https://api.binance.com"
STREAM_URL: Final = "wss://fstream.binance.com"
ENTRY_URL: Final = "wss://ws-fapi.binance.com/ws-fapi/v1"
DOMAINS: Final = ("binance.com", "binancefuture.com")

QUIET_NS: Final = {"public": MINUTE, "market": 10 * SECOND, "private": None, SOCKET: None}
"""Book tickers come on change only, an idle account says nothing at all, mark prices come every second, and where
orders are sent nothing comes but answers."""

LIFE_NS: Final = 23 * HOUR + 30 * MINUTE
"""The venue ends a connection after 24 hours: we end it first, one socket after the other."""
STAGGER_NS: Final = 10 * MINUTE
KEY_LIFE_NS: Final = 30 * MINUTE
KEY_RETRY_NS: Final = 10 * SECOND
CONCEALED_KEY: Final = '{"listenKey":"concealed"}'
BATCH_MAX: Final = 5
TRADES_PAGE: Final = 1_000
NAMES_MAX: Final = 1_000
SYMBOLS_MAX: Final = 500
PATH_MAX: Final = 2_000
SUBSCRIBE_MAX: Final = 200


QUIET_EVENTS: Final = ("ALGO_UPDATE", "STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT")
"""Private events about things that we neither make nor watch."""


class Binance(Conversation):
    """Binance USDⓈ-M perpetuals.

    Without ``credentials`` it answers public questions only. The routed paths of the three stream categories are
    appended to ``stream_url``; ``depth`` subscribes to twenty levels of the book besides the best. ``recv_window_ms``
    bounds how old a request may be when the venue takes it. ``rights_url`` is where the rights of the key are asked
    for: the venue's own beside its own ``rest_url``, else nowhere unless given. ``entry_url`` is the websocket that
    takes orders and cancels, if they are to be sent there while it is open; REST does that else.
    """

    name = wire.NAME
    buckets = LIMITS
    routes = QUESTIONS
    root = "/fapi/v1"
    home = REST_URL
    categories = True
    """Whether each kind of stream has a path of its own."""

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        credentials: Credentials | None,
        rest_url: str = REST_URL,
        stream_url: str = STREAM_URL,
        rights_url: str | None = None,
        entry_url: str | None = None,
        recv_window_ms: int = 3_000,
        depth: bool = False,
    ) -> None:
        if not 1 <= recv_window_ms <= 60_000:
            raise ValueError("recv_window_ms: choose between 1 and 60000, at best below 5000")
        sites = [(domain,) for domain in DOMAINS]
        super().__init__("Binance", symbols, SYMBOLS_MAX, rest_url, stream_url, DOMAINS, sites)
        if rights_url is None and self._rest == self.home:
            rights_url = RIGHTS_URL
        self._rights = rights_url and pinned("rights_url", rights_url, ("https", "http"), DOMAINS, "Binance")
        answers = frozenset(
            what
            for what, route in self.routes.items()
            if (credentials or not route.private) and (what is not What.RIGHTS or self._rights)
        )
        sockets = ("public", "market", "private") if credentials else ("public", "market")
        self.abilities = Abilities(answers=answers, sockets=sockets, arms=True)
        self._index = {symbol: index for index, symbol in enumerate(self.symbols)}
        self._window_ms = recv_window_ms
        self._depth = depth
        self._sign = signer(credentials, "Binance", ed25519=True) if credentials else None
        self._entry: BinanceEntry | None = None
        if entry_url is not None and credentials is not None and self._sign is not None:
            url = pinned("entry_url", entry_url, ("wss", "ws"), DOMAINS, "Binance")
            together(self._rest, url, sites)
            self._entry = BinanceEntry(url, credentials.key.reveal(), self._sign)
            self.abilities = replace(self.abilities, entry=self._entry)
        self._key_header = (("X-MBX-APIKEY", credentials.key.reveal()),) if credentials else ()
        self._readers: dict[str, Callable[[bytes], Sequence[Fact]]] = {
            "public": self._read_public,
            "market": self._read_market,
            "private": self._read_private,
            SOCKET: self._read_entry,
        }
        self._listed: dict[str, Instrument] = {}
        self._rotate_at: dict[str, int] = {}
        self._unproven: set[str] = set()
        """Connected sockets that have not brought an event yet."""
        self._updates: dict[tuple[str, str], int] = {}
        """The last update of a symbol's quote or depth on the present connection."""
        self._key: str | None = None
        self._key_wanted = False
        """The private socket waits for a key."""
        self._key_due: int | None = None
        self._names: dict[str, str] = {}
        """Our ids by the venue's own, which is all that its list of fills gives."""

    # The connection

    def connect(self, socket: str, now: int) -> Open | Ask:
        """The address of a market data socket; for the private one the question for its key.

        A key is asked for at every connection, because a socket opens with a dead one just as well and stays silent.
        """
        if socket == "private":
            self._key_wanted, self._key_due = True, now + KEY_RETRY_NS
            return Ask(What.KEY)
        if socket == SOCKET:
            assert self._entry is not None, "it is connected where it was asked for"
            return Open(socket, self._entry.url, None)
        path = self._path(socket)
        url = f"{self._stream}{self._category(socket)}/stream{path and f'?streams={path}'}"
        return Open(socket, url, QUIET_NS[socket])

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """Subscribe where the address did not; only the private socket counts as up before its first event."""
        self._rotate_at[socket] = now + LIFE_NS - list(QUIET_NS).index(socket) * STAGGER_NS
        if self._entry is not None and socket == SOCKET:
            self._entry.up = True
        if QUIET_NS[socket] is None:
            return [fact.Up(socket)]
        self._unproven.add(socket)
        if socket == "public":
            self._updates.clear()
        if not self._path(socket):
            streams = self._streams(socket)
            for start in range(0, len(streams), SUBSCRIBE_MAX):
                params = streams[start : start + SUBSCRIBE_MAX]
                self._say(socket, {"method": "SUBSCRIBE", "params": params, "id": start // SUBSCRIBE_MAX + 1})
        return []

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """The socket is gone."""
        self._rotate_at.pop(socket, None)
        self._unproven.discard(socket)
        if self._entry is not None and socket == SOCKET:
            self._entry.up = False
        return [fact.Down(socket, reason)]

    def on_wake(self, now: int) -> None:
        """Renew the key, and end the sockets that the venue would end soon."""
        if self._key_due is not None and now >= self._key_due:
            self._key_due = now + KEY_RETRY_NS
            self._want(Ask(What.KEY))
        for socket, at in list(self._rotate_at.items()):
            if now >= at:
                del self._rotate_at[socket]
                self._want(Shut(socket, "renewed before the venue's limit of 24 hours"))

    @property
    def wake_at(self) -> int | None:
        """When the key or a socket needs renewal next."""
        due = [*self._rotate_at.values(), *(() if self._key_due is None else (self._key_due,))]
        return min(due, default=None)

    def _category(self, socket: str) -> str:
        return f"/{socket}" if self.categories else ""

    def _streams(self, socket: str) -> list[str]:
        names = [symbol.lower() for symbol in self.symbols]
        if socket == "market":
            return [*(f"{name}@markPrice@1s" for name in names), "!contractInfo"]
        depths = [f"{name}@depth20@100ms" for name in names] if self._depth else []
        return [*(f"{name}@bookTicker" for name in names), *depths]

    def _path(self, socket: str) -> str:
        """The streams as they stand in the address; empty when they are too many for it."""
        path = quote("/".join(self._streams(socket)), safe="/@!")
        return path if len(path) <= PATH_MAX else ""

    # Frames

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """The facts in a frame; the first event of a market data connection also proves that it is up."""
        try:
            facts = self._readers[socket](data)
        except MISREAD as error:
            return self._misread(socket, data, error)
        if socket in self._unproven and facts:
            self._unproven.discard(socket)
            return [fact.Up(socket), *facts]
        return facts

    def _misread(self, socket: str, data: bytes, error: Exception) -> Sequence[Fact]:
        try:
            label = wire.LABEL.decode(data)
        except MISREAD:
            label = wire.Label()
        told = label.e or (label.data.e if label.data else "")
        event = told or label.stream
        silent = not event and label.code is None and label.error is UNSET
        if socket != SOCKET and label.id is not None and silent:
            return []  # a command is acknowledged, which proves nothing
        what = f"{event or 'frame'}: {error}"[:200]
        private = QUIET_NS[socket] is None and told not in QUIET_EVENTS
        return [fact.Unknown(socket, what, excerpt(data), private)]

    def _read_public(self, data: bytes) -> Sequence[Fact]:
        frame = wire.PUBLIC.decode(data)
        event = frame.data
        index = self._index_of(event.symbol)
        if isinstance(event, wire.BookTicker):
            facts = wire.quote_facts(index, event)
            return facts if self._newer("quote", event.symbol, event.update) else []
        if "@depth20@" not in frame.stream:
            raise ValueError("differences of a book, not a book")
        facts = wire.depth_facts(index, event)
        return facts if self._newer("depth", event.symbol, event.update) else []

    def _newer(self, kind: str, symbol: str, update: int) -> bool:
        if update <= self._updates.get((kind, symbol), -1):
            return False
        self._updates[kind, symbol] = update
        return True

    def _read_market(self, data: bytes) -> Sequence[Fact]:
        event = wire.MARKET.decode(data).data
        if isinstance(event, wire.MarkPrice):
            return wire.mark_facts(self._index_of(event.symbol), event)
        if isinstance(event, wire.ContractInfo):
            return self._contract_facts(event)
        facts: list[Fact] = []
        for row in event:  # all symbols of the venue: most are not ours
            if (index := self._index.get(row.symbol)) is not None:
                facts += wire.mark_facts(index, row)
        return facts

    def _contract_facts(self, event: wire.ContractInfo) -> Sequence[Fact]:
        if event.symbol not in self._index:
            return []  # the stream is about all symbols
        instrument = self._listed.get(event.symbol)
        if instrument is None:
            self._want(Ask(What.INSTRUMENTS))
            return []
        if event.brackets is not UNSET:
            self._want(Ask(What.TIERS))
        trading = event.status == "TRADING"
        if trading is instrument.trading:
            return []
        self._listed[event.symbol] = replace(instrument, trading=trading)
        return [fact.Listed(tuple(self._listed.values()))]

    def _read_private(self, data: bytes) -> Sequence[Fact]:
        event = wire.PRIVATE.decode(data)
        match event:
            case wire.OrderEvent(order) if not self._ours(order.symbol):
                return []
            case wire.OrderEvent(order):
                self._learn(order.venue_order, order.order)
                return [*wire.forced_facts(order), *self._order_event(order)]
            case wire.AccountEvent(at, update):
                if update.reason == "MARGIN_TYPE_CHANGE":
                    self._want(Ask(What.LEVERAGE))
                rows = [row for row in update.positions or () if self._ours(row.symbol)]
                wallets = [row for row in update.balances or () if self._holds(row.asset)]
                facts = [self._position_fact(row, at * MS) for row in rows]
                facts += wire.balance_facts(update.reason, wallets, at * MS)
                if not update.positions and not update.balances:
                    raise ValueError(f"{update.reason:.30} without a balance or a position")
                return facts
            case wire.ConfigEvent():
                return self._config_facts(event)
            case wire.MarginCall(positions, at):
                called = [row.symbol for row in positions if self._ours(row.symbol)]
                return [fact.Warned(f"margin call: {', '.join(called)}"[:200], at * MS)] if called else []
            case wire.KeyExpired():
                self._key = None
                self._want(Shut("private", "its key has expired"))
                return [fact.Down("private", "its key has expired")]
            case wire.TradeLite():
                return []
            case _:
                assert_never(event)

    def _read_entry(self, data: bytes) -> Sequence[Fact]:
        """What is no answer: the venue has ended the session of our key, or says what we can't read."""
        failure = wire.REVOKED.decode(data)
        code, text = failure.error.code, failure.error.msg
        self._want(Shut(SOCKET, "its key is not taken any more"))
        return self._consequences(verdict_of(failure.status, code, text), failure.status, code, text)

    def _ours(self, symbol: str) -> bool:
        """Whether a symbol draws on the same margin as the instruments of the portfolio."""
        return True

    def _holds(self, asset: str) -> bool:
        """Whether an asset is collateral of theirs."""
        return True

    def _order_event(self, order: wire.OrderUpdate) -> Sequence[Fact]:
        if order.symbol not in self._index:
            return [fact.Elsewhere(order.symbol[:40])]
        try:
            return wire.order_facts(self._grid("order", order.symbol), order)
        except MISREAD as error:  # that the venue trades by force must be told, however little of it can be read
            if not wire.forced_facts(order):
                raise
            return [fact.Unknown("private", f"ORDER_TRADE_UPDATE: {error}"[:200], "", private=True)]

    def _position_fact(self, row: wire.PositionUpdate, at: int) -> Fact:
        if row.symbol in self._index:
            return wire.position_of(self._grid("position", row.symbol), row, at)
        return fact.Elsewhere(row.symbol[:40])

    def _config_facts(self, event: wire.ConfigEvent) -> Sequence[Fact]:
        if event.assets is not None:
            self._want(Ask(What.MODE))
            multi = "many collateral assets" if event.assets.multi else "one collateral asset"
            return [fact.Unknown("private", f"the account was switched to {multi}", "", private=True)]
        if event.leverage is None:
            raise ValueError("a setting that is not named")
        if (index := self._index.get(event.leverage.symbol)) is None:
            return [_about_a_stranger("leverage", event.leverage.symbol)]
        return [fact.Leverage(index, event.leverage.leverage)]

    def _index_of(self, symbol: str) -> int:
        index = self._index.get(symbol)
        if index is None:
            raise ValueError(f"{symbol:.40} is not in the portfolio")
        return index

    def _grid(self, what: str, symbol: str) -> Instrument:
        instrument = self._listed.get(symbol)
        if instrument is None:
            why = "is not listed" if symbol in self._index else "is not in the portfolio"
            raise ValueError(f"{what} of {symbol:.40}, which {why}")
        return instrument

    def _learn(self, venue_order: int, order: str) -> None:
        self._names[str(venue_order)] = order
        if len(self._names) > NAMES_MAX:
            del self._names[next(iter(self._names))]

    # Requests

    def weigh(self, request: Request) -> Weight:
        """The lane and the price of a request."""
        return Weight(lane_of(request), self._price(request))

    def _price(self, request: Request) -> tuple[tuple[str, int], ...]:
        match request:
            case Place():
                return ("orders_10s", 1), ("orders_1m", 1)
            case Batch():
                return ("orders_10s", 5), ("orders_1m", 1), ("weight_1m", 5)
            case Cancel():
                return (("weight_1m", 1),)
            case Arm():
                return (("weight_1m", 10),)
            case SetLeverage():
                return (("weight_1m", 1),)
            case Ask(what):
                return ((self.routes[what].bucket, self.routes[what].weight),)
            case _:
                assert_never(request)

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """The request, signed; or what became of it where it can't be sent."""
        if self._sign is None and not (isinstance(request, Ask) and request.what in self.abilities.answers):
            return outcome(request, Fault.ACCOUNT, "", "no key is configured")
        match request:
            case Ask():
                return self._ask(request, now)
            case Place(order):
                return self._place(request, (order,), now)
            case Batch(orders):
                return self._place(request, orders, now)
            case Cancel(order, index):
                params = [("symbol", self.symbols[index]), ("origClientOrderId", order)]
                return self._signed(request, "DELETE", f"{self.root}/order", params, now, timeout_ms=ORDER_MS)
            case Arm(index, ms):
                params = [("symbol", self.symbols[index]), ("countdownTime", str(ms))]
                path = f"{self.root}/countdownCancelAll"
                return self._signed(request, "POST", path, params, now, timeout_ms=ORDER_MS)
            case SetLeverage(index, leverage):
                params = [("symbol", self.symbols[index]), ("leverage", str(leverage))]
                return self._signed(request, "POST", f"{self.root}/leverage", params, now)
            case _:
                assert_never(request)

    def _ask(self, ask: Ask, now: int) -> Call:
        route = self.routes[ask.what]
        if ask.what is What.KEY:
            method = "POST" if self._key_wanted or self._key is None else "PUT"
            return self._call(ask, method, route.path, now, headers=self._key_header, conceal=CONCEALED_KEY)
        if not route.private:
            return self._call(ask, "GET", route.path, now)
        params: list[tuple[str, str]] = []
        if ask.what in (What.FEES, What.ORDER, What.TRADES):
            assert ask.instrument is not None, "the question is about one instrument"
            params.append(("symbol", self.symbols[ask.instrument]))
        if ask.what is What.ORDER:
            assert ask.order is not None, "the question is about one order"
            params.append(("origClientOrderId", ask.order))
        if ask.what is What.TRADES:
            params.append(("limit", str(TRADES_PAGE)))
            if ask.since is not None:
                params.append(("fromId", str(int(ask.since) + 1)))
        return self._signed(ask, "GET", route.path, params, now)

    def _place(self, request: Place | Batch, orders: Sequence[Order], now: int) -> Call | Sequence[Fact]:
        """Orders on the wire, in time: the venue may not take them after the first of them expires."""
        if not 1 <= len(orders) <= BATCH_MAX:
            return outcome(request, Fault.RULE, "", f"a batch holds 1 to {BATCH_MAX} orders")
        if any(order.symbol not in self._listed for order in orders):
            return outcome(request, Fault.CLOSED, "", "the instrument is not listed")
        window_ms = self._offset.window_ms(now, min(order.expires_at for order in orders), self._window_ms)
        if window_ms < 1:
            return outcome(request, Fault.BUSY, "", "its time was over before it could be sent")
        rows = [self._order_params(order) for order in orders]
        if isinstance(request, Place):
            return self._signed(request, "POST", f"{self.root}/order", rows[0], now, window_ms, ORDER_MS)
        params = [("batchOrders", encode([dict(row) for row in rows]).decode())]
        return self._signed(request, "POST", f"{self.root}/batchOrders", params, now, window_ms, ORDER_MS)

    def _order_params(self, order: Order) -> list[tuple[str, str]]:
        instrument = self._listed[order.symbol]
        params = [
            ("symbol", order.symbol),
            ("side", "BUY" if order.lots > 0 else "SELL"),
            ("type", "MARKET" if order.style is Style.MARKET else "LIMIT"),
            ("quantity", plain(instrument.quantity(order.lots))),
        ]
        if order.style is not Style.MARKET:
            assert order.ticks is not None, "a limit order has a price"
            params.append(("timeInForce", "IOC" if order.style is Style.IOC else "GTX"))
            params.append(("price", plain(instrument.price(order.ticks))))
        if order.side is not Side.NET:  # the row says what reduces, and reduceOnly is refused beside it
            params.append(("positionSide", order.side.upper()))
        elif order.reduce:
            params.append(("reduceOnly", "true"))
        params.append(("newClientOrderId", order.id))
        params.append(("newOrderRespType", "RESULT"))
        params.append(("selfTradePreventionMode", "EXPIRE_MAKER"))
        return params

    def _signed(
        self,
        request: Request,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]],
        now: int,
        window_ms: int | None = None,
        timeout_ms: int = CALL_MS,
    ) -> Call:
        assert self._sign is not None, "account questions and orders need credentials"
        stamp = [("recvWindow", str(window_ms or self._window_ms)), ("timestamp", str(self._offset.venue_ms(now)))]
        if self._entry is not None and self._entry.up and isinstance(request, Place | Cancel):
            self._tag += 1
            said = self._entry.frame(self._tag, method, [*params, *stamp])
            return Call(self._tag, request, "", "", (), said, timeout_ms, None, now, SOCKET)
        query = urlencode([*params, *stamp], quote_via=quote)
        path = f"{path}?{query}&signature={quote(self._sign(query.encode()), safe='')}"
        host = self._rights if path.startswith(RIGHTS_PATH) else None
        return self._call(request, method, path, now, self._key_header, timeout_ms=timeout_ms, host=host)

    # Replies

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """What an answer says, and what its headers say about our budgets."""
        used = used_of(reply.headers, USED)
        if not 200 <= reply.status < 300:
            return [*used, *self._failure_facts(call, reply, now)]
        try:
            return [*used, *self._answer(call, reply.body, now)]
        except MISREAD as error:
            body = "" if call.conceal else excerpt(reply.body)
            return [*used, *outcome(call.request, Reaction.UNKNOWN, "", f"unreadable: {error}; {body}")]

    def on_silence(self, call: Call, sent: bool, reason: str, now: int) -> Sequence[Fact]:
        """What is known when no answer comes: nothing, unless the request never left.

        A websocket that leaves an order without an answer is not trusted with another one, and opened anew.
        """
        if sent and self._entry is not None and self._entry.up and call.socket == SOCKET:
            self._entry.up = False
            self._want(Shut(SOCKET, "an order had no answer on it"))
        return super().on_silence(call, sent, reason, now)

    def _failure_facts(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        code, text = words(reply)
        verdict = verdict_of(reply.status, code, text)
        match call.request, verdict:
            case Ask(What.ORDER, order=str(order)), Reaction.ABSENT:
                return [fact.Absent(order, self._offset.earliest(call.at))]
            case Ask(What.RIGHTS), _:  # another service: its troubles are not those of the exchange
                return outcome(call.request, verdict, str(code or reply.status), text)
            case Ask(What.KEY), Reaction.NO_KEY if call.method == "PUT":
                self._key = None
                self._want(Shut("private", "its key is gone"))
        told = self._consequences(verdict, reply.status, code, text)
        if verdict in (Reaction.SLOW, Reaction.BANNED):
            banned = verdict is Reaction.BANNED
            told.append(fact.Throttled(silent_until(text, reply, now, self._offset.ns, banned=banned), banned, text))
        return [*told, *outcome(call.request, verdict, str(code or reply.status), text)]

    def _consequences(self, verdict: Fault | Reaction, status: int, code: int | None, text: str) -> list[Fact]:
        """What a failure means beyond the request that it answers."""
        if verdict is Fault.CLOCK:
            self._offset.forget()
            self._want(Ask(What.TIME))
        elif code in MODE_CODES:
            self._want(Ask(What.MODE))
        elif verdict is Reaction.DENIED:
            return [fact.Denied(f"{code or status}: {text}")]
        elif verdict is Reaction.ORDERS:
            bucket = next(one for one in LIMITS if one.name == ("orders_1m" if "MINUTE" in text else "orders_10s"))
            return [fact.Used(bucket.name, bucket.capacity)]
        return []

    def _answer(self, call: Call, body: bytes, now: int) -> Sequence[Fact]:
        match call.request:
            case Place(order):
                return self._order_answer(body, order.id, order.symbol)
            case Batch(orders):
                return self._batch_answer(orders, body)
            case Cancel(order, index):
                return self._order_answer(body, order, self.symbols[index])
            case Arm():
                return []
            case SetLeverage(index):
                return self._leverage_answer(index, wire.LEVERAGE_SET.decode(body))
            case Ask() as ask:
                return self._ask_answer(ask, call, body, now)
            case _:
                assert_never(call.request)

    def _order_answer(self, body: bytes | Raw, order: str, symbol: str) -> list[Fact]:
        row = wire.ORDER.decode(body)
        if row.client_order_id != order or row.symbol != symbol:
            raise ValueError("the answer is about another order")
        self._learn(row.order_id, order)
        return wire.order_row_facts(self._grid("order", symbol), row)

    def _leverage_answer(self, index: int, answer: wire.LeverageSet) -> Sequence[Fact]:
        if answer.symbol != self.symbols[index]:
            raise ValueError("the answer is about another symbol")
        return [fact.Leverage(index, answer.leverage)]

    def _batch_answer(self, orders: Sequence[Order], body: bytes) -> Sequence[Fact]:
        """Each order's own outcome; one that the answer leaves out, or hides in garbage, is lost."""
        facts: list[Fact] = []
        rows = RAWS.decode(body)
        for order, row in zip_longest(orders, rows[: len(orders)]):
            if row is None:
                facts.append(fact.Lost(order.id, "missing in the answer to its batch"))
                continue
            try:
                failure = wire.FAILURE.decode(row)
                if failure.code is None:
                    facts += self._order_answer(row, order.id, order.symbol)
                    continue
                verdict = verdict_of(400, failure.code, failure.msg)
                facts += self._consequences(verdict, 400, failure.code, failure.msg)
                facts.append(fate(order.id, verdict, str(failure.code), failure.msg))
            except MISREAD as error:
                facts.append(fact.Lost(order.id, f"unreadable: {error}"))
        return facts

    def _ask_answer(self, ask: Ask, call: Call, body: bytes, now: int) -> Sequence[Fact]:
        match ask.what:
            case What.TIME:
                return self._time_answer(call, wire.SERVER_TIME.decode(body).server_time, now)
            case What.INSTRUMENTS:
                info = wire.EXCHANGE_INFO.decode(body)
                return [*self._instruments_answer(info.symbols), *allowed_of(info.rate_limits, ALLOWED)]
            case What.PRICES:
                return self._each(ask.what, RAWS.decode(body), wire.premium_facts)
            case What.INTERVALS:
                return self._intervals_answer(RAWS.decode(body))
            case What.TIERS:
                return self._each(ask.what, RAWS.decode(body), wire.tier_facts)
            case What.LEVERAGE:
                return self._each(ask.what, RAWS.decode(body), wire.leverage_facts)
            case What.VOLUMES:
                return self._each(ask.what, RAWS.decode(body), wire.volume_facts)
            case What.MODE | What.OWNER | What.RIGHTS:
                return _terms_answer(ask.what, body)
            case What.ACCOUNT:
                return wire.account_facts(wire.ACCOUNT.decode(body), self._offset.earliest(call.at), self._index)
            case What.POSITIONS:
                return self._positions_answer(wire.POSITIONS.decode(body), self._offset.earliest(call.at))
            case What.ORDERS:
                return self._orders_answer(wire.OPEN_ORDERS.decode(body), self._offset.earliest(call.at))
            case What.FEES | What.ORDER | What.TRADES:
                return self._one_answer(ask, body)
            case What.KEY:
                return self._key_answer(call, wire.LISTEN_KEY.decode(body).listen_key, now)
            case _:
                assert_never(ask.what)

    def _one_answer(self, ask: Ask, body: bytes) -> Sequence[Fact]:
        """The answer to a question about one instrument or one order."""
        assert ask.instrument is not None, "such a question names its instrument"
        symbol = self.symbols[ask.instrument]
        if ask.what is What.ORDER:
            assert ask.order is not None, "a question about an order names it"
            return self._order_answer(body, ask.order, symbol)
        if ask.what is What.TRADES:
            rows = wire.TRADES.decode(body)
            last = max((row.id for row in rows), default=-1)
            if len(rows) >= TRADES_PAGE and last > int(ask.since or -1):  # a full page has a next one
                self._want(Ask(What.TRADES, ask.instrument, since=str(last)))
            return wire.trade_facts(self._grid("fills", symbol), rows, self._names)
        fees = wire.COMMISSION.decode(body)
        if fees.symbol != symbol:
            raise ValueError("the answer is about another symbol")
        return [fact.Fees(ask.instrument, number(fees.maker_commission_rate), number(fees.taker_commission_rate))]

    def _time_answer(self, call: Call, server_ms: int, now: int) -> Sequence[Fact]:
        return [self._offset.measure(call.at, server_ms * MS, MS, now)]

    def _each(self, what: What, rows: Sequence[Raw], read: Callable[[int, Raw], Sequence[Fact]]) -> list[Fact]:
        return each(what, rows, self._index, read)

    def _instruments_answer(self, rows: Sequence[Raw]) -> Sequence[Fact]:
        listed: dict[int, Instrument] = {}

        def read(index: int, row: Raw) -> Sequence[Fact]:
            if (instrument := self._instrument(index, row)) is not None:
                listed[index] = instrument
            return []

        misread = self._each(What.INSTRUMENTS, rows, read)
        self._listed = {self.symbols[index]: listed[index] for index in sorted(listed)}
        return [fact.Listed(tuple(self._listed.values())), *misread]

    def _instrument(self, index: int, row: Raw) -> Instrument | None:
        """A listed contract; None for one that ends."""
        contract = wire.CONTRACT.decode(row)
        if "PERPETUAL" not in contract.contract_type:
            return None
        return wire.instrument_of(self.name, index, self.symbols[index], contract)

    def _intervals_answer(self, rows: Sequence[Raw]) -> Sequence[Fact]:
        """The interval of every instrument: the venue leaves out those that settle every eight hours."""
        named: set[int] = set()

        def read(index: int, row: Raw) -> Sequence[Fact]:
            named.add(index)
            return [fact.Interval(index, wire.FUNDING_INFO.decode(row).funding_interval_hours)]

        facts = self._each(What.INTERVALS, rows, read)
        return [*facts, *(fact.Interval(index, 8.0) for index in range(len(self.symbols)) if index not in named)]

    def _positions_answer(self, rows: Sequence[wire.PositionRow], asked_at: int) -> Sequence[Fact]:
        """What is held, flat rows included, and symbols of others that draw on the same margin."""
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        held, strangers = [], []
        for row in rows:
            if row.symbol in self._listed:
                held.append(wire.position_of(self._listed[row.symbol], row, row.at * MS))
            elif exact(row.amount) and row.symbol not in strangers and self._ours(row.symbol):
                strangers.append(row.symbol)
        return [fact.Positions(tuple(held), tuple(strangers), asked_at)]

    def _orders_answer(self, rows: Sequence[wire.OpenRow], asked_at: int) -> Sequence[Fact]:
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        rows = [row for row in rows if self._ours(row.symbol)]
        for row in rows:
            self._learn(row.order_id, row.client_order_id)
        found = (wire.open_order(self._listed.get(row.symbol), self._index.get(row.symbol), row) for row in rows)
        return [fact.Orders(tuple(found), asked_at)]

    def _key_answer(self, call: Call, key: str | None, now: int) -> Sequence[Fact]:
        """Open the private socket that waits for the key, or have one with another key opened anew."""
        before = self._key
        self._key = key or (before if call.method == "PUT" else None)
        if self._key is None:
            raise ValueError("no key in it")
        self._key_due = now + KEY_LIFE_NS
        if self._key_wanted and call.method == "POST":
            self._key_wanted = False
            url = f"{self._stream}{self._category('private')}/ws/{quote(self._key, safe='')}"
            self._want(Open("private", url, QUIET_NS["private"]))
        elif before is not None and self._key != before:
            self._want(Shut("private", "its key has changed"))
        return []


def _terms_answer(what: What, body: bytes) -> Sequence[Fact]:
    """How the account is set up, whose it is, and what the key may do."""
    if what is What.OWNER:
        return wire.owner_facts(wire.WALLETS.decode(body))
    if what is What.RIGHTS:
        return wire.rights_facts(wire.RESTRICTIONS.decode(body))
    mode = wire.ACCOUNT_CONFIG.decode(body)
    return [fact.Mode(mode.dual_side_position, mode.multi_assets_margin, mode.can_trade)]


def _about_a_stranger(what: str, symbol: str) -> fact.Unknown:
    return fact.Unknown("private", f"{what} of {symbol:.40}, which is not in the portfolio", "", private=False)
