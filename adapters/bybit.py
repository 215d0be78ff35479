"""Bybit v5: the dialect of its REST interface and its public and private websockets, for a unified trading account.

What frames and answers say stands in `adapters.bybit_frames`, so that this file holds the conversation alone. Three
habits of the venue shape it. An answer to an order or a cancel only says that it was received: what became of it comes
on the private stream, or is asked for. Long lists come in pages, and those about the account for one kind of contract
at a time: `Pages` puts them together, and only the whole is an answer. Nothing says whether the account is in
hedge mode but the rows of its positions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Final, assert_never
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Raw
from msgspec.json import encode
from msgspec.structs import replace

from adapters import bybit_frames as wire
from adapters.addresses import pinned, together
from adapters.answers import Reaction, fate, outcome
from adapters.bybit_entry import OPS, SOCKET, BybitEntry
from adapters.bybit_market import Market
from adapters.bybit_modes import Modes
from adapters.bybit_pages import Pages, Whole
from adapters.bybit_routes import ALLOWED, HISTORY, LEAVING, LIMITS, PARAMETER, QUESTIONS, SECOND, verdict_of
from adapters.bybit_sockets import PROOF_NS, TOPICS, Sockets
from adapters.conversation import CALL_MS, ORDER_MS, Conversation
from adapters.reading import MISREAD, MS, RAWS, SYMBOL, each, excerpt, number, plain
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

MINUTE: Final = 60 * SECOND

REST_URL: Final = "https://api.bybit.com"
STREAM_URL: Final = "wss://stream.bybit.com"
ENTRY_URL: Final = "wss://stream.bybit.com/v5/trade"
SITES: Final = (
    ("-testnet.bybit.com",),
    ("-testnet.manepa.jp",),
    ("bybit.com", "bytick.com"),
    ("bybit.eu",),
    ("bybit.tr",),
    ("bybit.kz",),
    ("bybit.id",),
    ("bybitgeorgia.ge",),
    ("manepa.jp",),
)
"""Each with accounts and keys of its own."""
DOMAINS: Final = tuple(domain for site in SITES for domain in site if not domain.startswith("-"))
NAMES: Final = {"linear": "bybit", "inverse": "bybit-inverse"}
"""What a venue is called in a portfolio file, by its kind of contract."""

QUIET_NS: Final = {"public": 20 * SECOND, "market": 10 * SECOND, "private": 50 * SECOND, SOCKET: 50 * SECOND}
"""The best prices are repeated after three seconds, tickers come ten times a second, and pings are answered."""
BAN_NS: Final = 10 * MINUTE
THROTTLE_MAX_NS: Final = MINUTE
BATCH_MAX: Final = 5
NAMES_MAX: Final = 1_000
SYMBOLS_MAX: Final = 500


class Bybit(Conversation):
    """Perpetuals of Bybit, of one ``category``: linear (in USDT and USDC), or inverse ones that settle in ``settle``.

    Without ``credentials`` it answers public questions only. ``depth`` subscribes to fifty levels of the book besides
    the best. ``recv_window_ms`` bounds how old a request may be when the venue takes it. ``entry_url`` is the websocket
    that orders are sent on while it is open; without one they go over HTTP alone.
    """

    buckets = LIMITS

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        credentials: Credentials | None,
        rest_url: str = REST_URL,
        stream_url: str = STREAM_URL,
        recv_window_ms: int = 5_000,
        depth: bool = False,
        category: str = "linear",
        settle: str | None = None,
        entry_url: str | None = None,
    ) -> None:
        if not 1 <= recv_window_ms <= 60_000:
            raise ValueError("recv_window_ms: choose between 1 and 60000, at best about 5000")
        self.name = NAMES[category]
        super().__init__("Bybit", symbols, SYMBOLS_MAX, rest_url, stream_url, DOMAINS, SITES)
        if any("-demo" in f"{urlsplit(url).hostname}" for url in (self._rest, self._stream)):
            raise ValueError("rest_url: the venue's demo accounts have no prices of their own: use its testnet")
        assert (settle is not None) is (category == "inverse"), "an inverse account is held in one coin"
        others = [symbol for symbol in self.symbols if settle is not None and symbol != f"{settle}USD"]
        if others:
            raise ValueError(f"symbols: {others[0]} is not the perpetual that settles in {settle}: write {settle}USD")
        self._coin = settle
        self._category = category
        self.abilities = Abilities(
            answers=frozenset(what for what, route in QUESTIONS.items() if credentials or not route.private),
            sockets=("public", "market", "private") if credentials else ("public", "market"),
            singles=frozenset({What.TIERS, What.LEVERAGE}),
        )
        self._entry: BybitEntry | None = None
        if entry_url is not None and credentials is not None:
            url = pinned("entry_url", entry_url, ("wss", "ws"), DOMAINS, "Bybit")
            together(self._rest, url, SITES)
            self._entry = BybitEntry(url)
            self.abilities = replace(self.abilities, entry=self._entry)
        self._index = {symbol: index for index, symbol in enumerate(self.symbols)}
        self._market = Market(self._index)
        self._window_ms = recv_window_ms
        self._depth = depth
        self._sign = signer(credentials, "Bybit", ed25519=False) if credentials else None
        self._key = credentials.key.reveal() if credentials else ""
        self._readers: dict[str, Callable[[wire.Frame], Sequence[Fact]]] = {
            "public": self._read_public,
            "market": self._market.ticker,
            "private": self._read_private,
            SOCKET: self._read_entry,
        }
        self._listed: dict[str, Instrument] = {}
        self._sockets = Sockets(self._want)
        self._seqs: dict[tuple[str, int], tuple[int, int]] = {}
        self._modes = Modes(pooled=settle is None)
        self._fills: dict[str, dict[str, int]] = {}
        """What was told of each order trade by trade: lots by the trade's id."""
        self._pages = Pages(category)
        self._endings: dict[int, str] = {}
        self._allowed: dict[str, int] = {}

    # The connection

    def connect(self, socket: str, now: int) -> Open | Ask:
        """The address of a socket."""
        if self._entry is not None and socket == SOCKET:
            return Open(socket, self._entry.url, QUIET_NS[socket])
        path = "private" if socket == "private" else f"public/{self._category}"
        return Open(socket, f"{self._stream}/v5/{path}", QUIET_NS[socket])

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """Log in, or subscribe; what the socket tells begins anew."""
        self._sockets.opened(socket, now)
        if socket in ("private", SOCKET):
            if socket == "private":
                self._seqs.clear()
            assert self._sign is not None, "one logs in with a key alone"
            until_ms = self._offset.venue_ms(now) + PROOF_NS // MS
            self._sockets.log_in(socket, self._key, until_ms, self._sign(f"GET/realtime{until_ms}".encode()), now)
        elif socket == "market":
            self._market.begin(socket)
            self._sockets.subscribe(socket, [f"tickers.{symbol}" for symbol in self.symbols])
        else:
            self._market.begin(socket)
            depths = [f"orderbook.50.{symbol}" for symbol in self.symbols] if self._depth else []
            self._sockets.subscribe(socket, [*(f"orderbook.1.{symbol}" for symbol in self.symbols), *depths])
        return []

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """The socket is gone."""
        self._sockets.closed(socket)
        if self._entry is not None and socket == SOCKET:
            self._entry.up = False
        return [fact.Down(socket, reason)]

    def on_wake(self, now: int) -> None:
        """Ping, and give up a socket that does not let us in."""
        self._sockets.wake(now)

    @property
    def wake_at(self) -> int | None:
        """When a ping is due, or patience with a socket that does not let us in is over."""
        return self._sockets.wake_at

    # Frames

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """The facts in a frame; the first event of a market data connection also proves that it is up."""
        try:
            frame = wire.FRAME.decode(data)
            if frame.op:
                return self._command_facts(socket, frame)
            facts = self._readers[socket](frame)
        except MISREAD as error:
            return [fact.Unknown(socket, f"frame: {error}"[:200], excerpt(data), socket == "private")]
        proved = self._sockets.prove(socket) if socket in ("public", "market") and facts else []
        return [*proved, *facts] if proved else facts

    def _command_facts(self, socket: str, frame: wire.Frame) -> Sequence[Fact]:
        """The answer to something that we said."""
        well = frame.retCode == 0 if frame.success is None else frame.success
        if frame.op == "auth" and well and self._entry is not None and socket == SOCKET:
            self._entry.up = True
            return self._sockets.prove(socket)
        if frame.op == "auth" and well:
            self._sockets.subscribe(socket, TOPICS)
        elif frame.op == "auth":
            # The clock may be off; whether the key is at fault is told to requests, with a code.
            self._want(Ask(What.TIME))
            why = f"logging in was refused: {frame.retCode or ''} {frame.ret_msg or frame.retMsg}"
            why = why.replace(self._key, "(concealed)") if self._key else why
            return [fact.Unknown(socket, why[:200], "", private=True)]
        elif frame.op == "subscribe":
            return self._sockets.subscribed(socket, frame, well=well)
        elif frame.op not in ("ping", "pong", "unsubscribe"):
            raise ValueError(f"an answer to {frame.op:.30}")
        return []

    def _read_public(self, frame: wire.Frame) -> Sequence[Fact]:
        """What a book says; one with a gap is subscribed to anew."""
        try:
            return self._market.book(frame)
        finally:
            for topic in self._market.torn():
                self._sockets.resubscribe("public", topic)

    def _read_private(self, frame: wire.Frame) -> Sequence[Fact]:
        """The facts in each row; one that can't be read does not take the others with it."""
        readers: dict[str, Callable[[Raw, int], Sequence[Fact]]] = {
            "order": self._order_row,
            "execution": self._execution_row,
            "position": self._position_row,
            "wallet": lambda row, at: wire.balance_facts(wire.WALLET.decode(row), at),
        }
        read = readers.get(frame.topic)
        if read is None:
            raise ValueError(f"topic {frame.topic:.40}")
        facts: list[Fact] = []
        for row in RAWS.decode(frame.data):
            try:
                facts += read(row, frame.creationTime * MS)
            except MISREAD as error:
                facts.append(
                    fact.Unknown("private", f"{frame.topic}: {error}"[:200], excerpt(bytes(row)), private=True)
                )
        return facts

    def _read_entry(self, frame: wire.Frame) -> Sequence[Fact]:
        """What is neither an answer to a request nor to a ping."""
        raise ValueError(f"topic {frame.topic:.40}")

    def _order_row(self, raw: Raw, at: int) -> Sequence[Fact]:
        row = wire.ORDER.decode(raw)
        forced = wire.forced_facts(row.name, row.create_type, row.symbol[:40], row.updated_time)
        if self._elsewhere(row.category, row.symbol):
            return [*forced, fact.Elsewhere(row.symbol[:40])]
        try:
            return [*forced, *wire.order_facts(self._grid("order", row.symbol), row)]
        except MISREAD as error:  # that the venue trades by force must be told, however little of it can be read
            if not forced:
                raise
            return [*forced, fact.Unknown("private", f"order: {error}"[:200], "", private=True)]

    def _execution_row(self, raw: Raw, at: int) -> Sequence[Fact]:
        row = wire.EXECUTION.decode(raw)
        if self._elsewhere(row.category, row.symbol):
            return [fact.Elsewhere(row.symbol[:40])]
        grid = self._grid("trade", row.symbol)
        if row.exec_type == "Funding":
            asset = row.fee_currency or row.fee_coin or grid.settle
            return [fact.Flow(asset, -number(row.exec_fee), "funding", wire.moment(row.exec_time))]
        if row.exec_type == "Settle":
            return []  # profit that becomes part of the wallet, which is told by itself
        if row.exec_type not in wire.TRADES:
            raise ValueError(f"an execution of kind {row.exec_type:.30}")
        known = self._fills.get(row.name, {})
        fill = wire.fill_of(grid, row, sum(known.values()) if row.exec_id in known else 0)
        if row.exec_id not in known:
            known = self._fills[row.name] = {**known, row.exec_id: abs(fill.lots)}
            fill = replace(fill, filled_lots=sum(known.values()))
            if len(self._fills) > NAMES_MAX:
                del self._fills[next(iter(self._fills))]
        return [*wire.forced_facts(row.name, row.exec_type, row.symbol, row.exec_time), fill]

    def _position_row(self, raw: Raw, at: int) -> Sequence[Fact]:
        row = wire.POSITION.decode(raw)
        if self._elsewhere(row.category, row.symbol):
            return [fact.Elsewhere(row.symbol[:40])]
        position = wire.position_of(self._grid("position", row.symbol), row)
        key, order = (row.symbol, row.position_idx), (row.seq, position.at)
        if order < self._seqs.get(key, order):
            return []
        self._seqs[key] = order
        settings, switched = self._modes.moved(position.instrument, row)
        if switched:
            self._want(Ask(What.MODE))
        return [position, *settings]

    def _elsewhere(self, category: str, symbol: str) -> bool:
        return (category or self._category) != self._category or symbol not in self._index

    def _grid(self, what: str, symbol: str) -> Instrument:
        instrument = self._listed.get(symbol)
        if instrument is None:
            raise ValueError(f"{what} of {symbol:.40}, which is not listed")
        return instrument

    # Requests

    def weigh(self, request: Request) -> Weight:
        """The lane and the price of a request."""
        match request:
            case Place():
                takes = {"create_1s": 1}
            case Batch(orders):
                takes = {"batch_1s": len(orders)}
            case Cancel():
                takes = {"cancel_1s": 1}
            case SetLeverage():
                takes = {"settings_1s": 1}
            case Ask(what):
                takes = {QUESTIONS[what].bucket: 1}
            case Arm():
                return Weight(lane_of(request), ())
            case _:
                assert_never(request)
        return Weight(lane_of(request), tuple({**takes, "ip_5s": 1}.items()))

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """The request, signed; or what became of it where it can't be sent."""
        if isinstance(request, Arm):
            return outcome(request, Fault.OTHER, "", "the venue has no dead man's switch for everybody")
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
                body = {"category": self._category, "symbol": self.symbols[index], "orderLinkId": order}
                return self._post(request, "/v5/order/cancel", body, now, timeout_ms=ORDER_MS)
            case SetLeverage(index, leverage):
                names = ("buyLeverage", "sellLeverage")
                both = dict.fromkeys(names, str(leverage))
                body = {"category": self._category, "symbol": self.symbols[index], **both}
                return self._post(request, "/v5/position/set-leverage", body, now)
            case _:
                assert_never(request)

    def _ask(self, ask: Ask, now: int) -> Call:
        route, path = QUESTIONS[ask.what], QUESTIONS[ask.what].path
        params = [("category", self._category)] if route.category else []
        if ask.what in (What.TIERS, What.LEVERAGE, What.ORDER):
            assert ask.instrument is not None, "the question is about one instrument"
            params.append(("symbol", self.symbols[ask.instrument]))
        if ask.what is What.ORDER:
            assert ask.order is not None, "the question is about one order"
            params.append(("orderLinkId", ask.order))
            path = HISTORY if ask.since is not None else path
        params += route.params
        if ask.what in (What.INSTRUMENTS, What.POSITIONS, What.ORDERS):
            params += self._pages.params(ask)
        query = urlencode(params, quote_via=quote)
        url = f"{path}?{query}" if query else path
        headers = self._signed(query, now, self._window_ms) if route.private else ()
        return self._call(ask, "GET", url, now, headers)

    def _place(self, request: Place | Batch, orders: Sequence[Order], now: int) -> Call | Sequence[Fact]:
        """Orders on the wire, in time: the venue may not take them after the first of them expires."""
        if not 1 <= len(orders) <= BATCH_MAX:
            return outcome(request, Fault.RULE, "", f"a batch holds 1 to {BATCH_MAX} orders")
        if any(order.symbol not in self._listed for order in orders):
            return outcome(request, Fault.CLOSED, "", "the instrument is not listed")
        window_ms = self._offset.window_ms(now, min(order.expires_at for order in orders), self._window_ms)
        if window_ms < 1:
            return outcome(request, Fault.BUSY, "", "its time was over before it could be sent")
        rows = [self._order_body(order) for order in orders]
        if isinstance(request, Place):
            body = {"category": self._category, **rows[0]}
            return self._post(request, "/v5/order/create", body, now, window_ms, ORDER_MS)
        body = {"category": self._category, "request": rows}
        return self._post(request, "/v5/order/create-batch", body, now, window_ms, ORDER_MS)

    def _order_body(self, order: Order) -> dict[str, object]:
        instrument = self._listed[order.symbol]
        body: dict[str, object] = {
            "symbol": order.symbol,
            "side": "Buy" if order.lots > 0 else "Sell",
            "orderType": "Market" if order.style is Style.MARKET else "Limit",
            "qty": plain(instrument.quantity(order.lots)),
            "timeInForce": "PostOnly" if order.style is Style.POST else "IOC",
            "positionIdx": {Side.NET: 0, Side.LONG: 1, Side.SHORT: 2}[order.side],
            "reduceOnly": order.reduce,
            "orderLinkId": order.id,
            "smpType": "CancelMaker",
        }
        if order.style is not Style.MARKET:
            assert order.ticks is not None, "a limit order has a price"
            body["price"] = plain(instrument.price(order.ticks))
        return body

    def _post(
        self,
        request: Request,
        path: str,
        body: Mapping[str, object],
        now: int,
        window_ms: int | None = None,
        timeout_ms: int = CALL_MS,
    ) -> Call:
        if self._entry is not None and self._entry.up and isinstance(request, Place | Cancel) and path in OPS:
            self._tag += 1
            said = self._entry.frame(self._tag, path, body, self._offset.venue_ms(now), window_ms or self._window_ms)
            return Call(self._tag, request, "", "", (), said, timeout_ms, None, now, SOCKET)
        data = encode(body)
        headers = (
            ("Content-Type", "application/json"),
            *self._signed(data.decode(), now, window_ms or self._window_ms),
        )
        return self._call(request, "POST", path, now, headers, data, timeout_ms)

    def _signed(self, text: str, now: int, window_ms: int) -> tuple[tuple[str, str], ...]:
        """The headers that sign a query or a body."""
        assert self._sign is not None, "account questions and orders need credentials"
        stamp = str(self._offset.venue_ms(now))
        return (
            ("X-BAPI-API-KEY", self._key),
            ("X-BAPI-TIMESTAMP", stamp),
            ("X-BAPI-RECV-WINDOW", str(window_ms)),
            ("X-BAPI-SIGN", self._sign(f"{stamp}{self._key}{window_ms}{text}".encode())),
        )

    # Replies

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """What an answer says, and what its headers say about our budgets."""
        told = self._allowance(call.request, reply)
        try:
            envelope = wire.ENVELOPE.decode(reply.body)
        except MISREAD as error:
            if 200 <= reply.status < 300:
                why = f"unreadable: {error}; {excerpt(reply.body)}"
                return [*told, *outcome(call.request, Reaction.UNKNOWN, "", why)]
            return [*told, *self._failure_facts(call, reply, None, excerpt(reply.body), now)]
        if envelope.ret_code or not 200 <= reply.status < 300:
            code = envelope.ret_code or None
            return [*told, *self._failure_facts(call, reply, code, envelope.ret_msg[:200], now)]
        try:
            return [*told, *self._answer(call, envelope, now)]
        except MISREAD as error:
            why = f"unreadable: {error}; {excerpt(reply.body)}"
            return [*told, *outcome(call.request, Reaction.UNKNOWN, "", why)]

    def on_silence(self, call: Call, sent: bool, reason: str, now: int) -> Sequence[Fact]:
        """What is known when no answer comes: nothing, unless the request never left.

        A websocket that leaves an order without an answer is not trusted with another one, and opened anew.
        """
        if sent and call.socket is not None:
            self._distrust("an order had no answer on it")
        return super().on_silence(call, sent, reason, now)

    def _distrust(self, why: str) -> None:
        """Orders go over HTTP until the websocket for them has been opened anew."""
        if self._entry is not None and self._entry.up:
            self._entry.up = False
            self._want(Shut(SOCKET, why))

    def _allowance(self, request: Request, reply: Reply) -> list[Fact]:
        """The size of a budget where an answer tells that it is another than before."""
        bucket, text = ALLOWED.get(type(request)), reply.headers.get("x-bapi-limit", "")
        if bucket is None or not re.fullmatch("[1-9][0-9]{0,5}", text) or self._allowed.get(bucket) == int(text):
            return []
        self._allowed[bucket] = int(text)
        return [fact.Allowed(bucket, max(1, int(text) // 2))]

    def _failure_facts(self, call: Call, reply: Reply, code: int | None, text: str, now: int) -> Sequence[Fact]:
        verdict, said = verdict_of(reply.status, code), str(code or reply.status)
        told: list[Fact] = []
        if verdict is Reaction.SAME and isinstance(call.request, SetLeverage):
            return [fact.Leverage(call.request.instrument, call.request.leverage)]
        if call.socket is not None and code in LEAVING:
            self._distrust("it is about to end, or we are not logged in there any more")
            if verdict is Reaction.DENIED:
                verdict = Fault.BUSY  # there it may mean too many sessions; of the key itself HTTP will tell
        if verdict is Fault.CLOCK:
            self._offset.forget()
            self._want(Ask(What.TIME))
        elif code == PARAMETER and isinstance(call.request, Place):
            self._want(Ask(What.LEVERAGE, call.request.order.instrument))
        elif verdict is Reaction.DENIED:
            told.append(fact.Denied(f"{said}: {text}"))
        elif verdict in (Reaction.SLOW, Reaction.BANNED):
            banned = verdict is Reaction.BANNED
            until = now + BAN_NS if banned else self._reset_at(reply, now)
            told.append(fact.Throttled(until, banned, f"{said}: {text}"))
        return [*told, *outcome(call.request, verdict, said, text)]

    def _reset_at(self, reply: Reply, now: int) -> int:
        """When the venue takes requests again, by our clock; in a second where it does not say."""
        text = reply.headers.get("x-bapi-limit-reset-timestamp", "")
        at = int(text) * MS - self._offset.ns if re.fullmatch("[0-9]{13}", text) else now + SECOND
        return min(max(at, now), now + THROTTLE_MAX_NS)

    def _answer(self, call: Call, envelope: wire.Envelope, now: int) -> Sequence[Fact]:
        match call.request:
            case Place(order):
                return self._acknowledged(order.id, order.instrument, wire.ACKNOWLEDGED.decode(envelope.result))
            case Batch(orders):
                return self._batch_answer(orders, envelope)
            case Cancel(order, index):
                return self._acknowledged(order, index, wire.ACKNOWLEDGED.decode(envelope.result))
            case SetLeverage(index, leverage):
                return [fact.Leverage(index, leverage)]
            case Arm():
                return []
            case Ask() as ask:
                return self._ask_answer(ask, call, envelope, now)
            case _:
                assert_never(call.request)

    def _acknowledged(self, order: str, index: int, answer: wire.Acknowledged) -> Sequence[Fact]:
        """A request about an order was received, which is no word on what becomes of it: that is told by the private
        stream alone. While that is away it is asked for at once.
        """
        if answer.order_link_id != order:
            raise ValueError("the answer is about another order")
        if "private" not in self._sockets.up:
            self._want(Ask(What.ORDER, index, order))
        return []

    def _batch_answer(self, orders: Sequence[Order], envelope: wire.Envelope) -> Sequence[Fact]:
        """Each order's own outcome, which stands beside the list; one that it leaves out is lost."""
        facts: list[Fact] = []
        rows = wire.PAGE.decode(envelope.result).rows
        ends = wire.EXTRA.decode(envelope.ret_ext_info).rows
        for order, row, end in zip_longest(orders, rows[: len(orders)], ends[: len(orders)]):
            try:
                if row is None or end is None:
                    raise ValueError("missing in the answer to its batch")
                if end.code:
                    facts.append(fate(order.id, verdict_of(200, end.code), str(end.code), end.msg[:200]))
                else:
                    facts += self._acknowledged(order.id, order.instrument, wire.ACKNOWLEDGED.decode(row))
            except MISREAD as error:
                facts.append(fact.Lost(order.id, f"unreadable: {error}"))
        return facts

    def _ask_answer(self, ask: Ask, call: Call, envelope: wire.Envelope, now: int) -> Sequence[Fact]:
        body = envelope.result
        match ask.what:
            case What.TIME:
                at = int(wire.SERVER_TIME.decode(body).time_nano)
                return [self._offset.measure(call.at, at, MS, now)]
            case What.PRICES:
                if not (at := envelope.time * MS):
                    raise ValueError("prices without a time")
                read = lambda index, row: wire.ticker_facts(index, wire.TICKER.decode(row), at)  # noqa: E731
                return each(ask.what, wire.PAGE.decode(body).rows, self._index, read)
            case What.VOLUMES:
                read_volume = wire.volume_facts if self._coin is None else wire.coin_volume_facts
                return each(ask.what, wire.PAGE.decode(body).rows, self._index, read_volume)
            case What.FEES:
                return each(ask.what, wire.PAGE.decode(body).rows, self._index, _fee_facts)
            case What.INSTRUMENTS | What.POSITIONS | What.ORDERS:
                return self._page(ask, call, wire.PAGE.decode(body))
            case What.MODE:
                return self._mode_answer(wire.ACCOUNT_INFO.decode(body))
            case What.ACCOUNT:
                return self._account_answer(wire.PAGE.decode(body).rows, self._offset.earliest(call.at))
            case What.OWNER:
                if not (owner := str(wire.KEY_INFO.decode(body).user_i_d)):
                    raise ValueError("no account in it")
                return [fact.Owner(owner)]
            case What.RIGHTS:
                return wire.key_facts(wire.KEY_INFO.decode(body))
            case What.TIERS | What.LEVERAGE | What.ORDER:
                return self._one_answer(ask, call, wire.PAGE.decode(body).rows)
            case _:
                raise ValueError(f"an answer to {ask.what}, which is not asked here")

    def _one_answer(self, ask: Ask, call: Call, rows: Sequence[Raw]) -> Sequence[Fact]:
        """The answer to a question about one instrument or one order."""
        assert ask.instrument is not None, "such a question names its instrument"
        symbol = self.symbols[ask.instrument]
        if any(SYMBOL.decode(row).symbol != symbol for row in rows):
            raise ValueError("the answer is about another symbol")
        if ask.what is What.TIERS:
            return wire.tier_facts(ask.instrument, rows)
        if ask.what is What.LEVERAGE:
            return self._leverage_answer(ask.instrument, [wire.POSITION.decode(row) for row in rows])
        found = [row for row in map(wire.ORDER.decode, rows) if row.name == ask.order]
        return wire.order_facts(self._grid("order", symbol), found[0]) if found else self._not_there(call)

    def _not_there(self, call: Call) -> Sequence[Fact]:
        """An order is not among the open and the last ones: those further back are looked through as well."""
        ask = call.request
        assert isinstance(ask, Ask), "only a question is answered so"
        assert ask.order is not None, "and one about an order"
        if ask.since is None:
            self._want(replace(ask, since=str(self._offset.earliest(call.at))))
            return []
        return [fact.Absent(ask.order, int(ask.since))]

    def _leverage_answer(self, index: int, rows: Sequence[wire.PositionRow]) -> Sequence[Fact]:
        setting = self._modes.told(index, rows)
        known = not self._modes.unknown(one.index for one in self._listed.values())
        return [setting, *self._mode_facts()] if self._modes.wanted and known else [setting]

    def _mode_answer(self, info: wire.AccountInfo) -> Sequence[Fact]:
        """How the account is set up; of what the agent's sums do not hold for, nothing is said but that."""
        if info.unified_margin_status not in (5, 6):
            raise ValueError("the account is no unified trading account of version 2: upgrade it at the venue")
        if info.margin_mode != "REGULAR_MARGIN":
            raise ValueError(f"margin mode {info.margin_mode:.30}: set the account to cross margin at the venue")
        self._modes.wanted = True
        return self._mode_facts()

    def _mode_facts(self) -> Sequence[Fact]:
        """The mode, once each instrument's rows are known: those that are not are asked for.

        All coins of a unified account are one collateral; one that is held in a coin is looked at by that alone.
        """
        indices = [instrument.index for instrument in self._listed.values()]
        unknown = self._modes.unknown(indices)
        for index in unknown:
            self._want(Ask(What.LEVERAGE, index))
        return [] if unknown or not indices else [self._modes.mode(indices)]

    def _account_answer(self, rows: Sequence[Raw], asked_at: int) -> Sequence[Fact]:
        wallet = wire.WALLET.decode(rows[0]) if rows else None
        if wallet is None:
            raise ValueError("no account in it")
        balances = wire.balance_facts(wallet, asked_at)
        if self._coin is None:
            return [wire.margin_fact(wallet, asked_at), *balances]
        return [wire.coin_margin_fact(wallet, self._coin, asked_at), *balances]

    def _page(self, ask: Ask, call: Call, page: wire.Page) -> Sequence[Fact]:
        """Part of a list: the next part is asked for, and after the last one the whole is the answer."""
        came = self._pages.take(ask, call.tag, self._offset.earliest(call.at), page)
        if isinstance(came, Ask):
            self._want(came)
        if not isinstance(came, Whole):
            return []
        if ask.what is What.INSTRUMENTS:
            return self._instruments_answer([row for _, row in came.rows], came.asked_at)
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        return self._positions_answer(came) if ask.what is What.POSITIONS else self._orders_answer(came)

    def _instruments_answer(self, rows: Sequence[Raw], asked_at: int) -> Sequence[Fact]:
        """The contracts that trade: one that was there before and is not now has stopped. An ending is told once."""
        listed: dict[int, Instrument] = {
            instrument.index: replace(instrument, trading=False) for instrument in self._listed.values()
        }
        told: list[Fact] = []

        def read(index: int, row: Raw) -> Sequence[Fact]:
            contract = wire.CONTRACT.decode(row)
            if contract.contract_type == f"{self._category.capitalize()}Perpetual":
                listed[index] = wire.instrument_of(self.name, index, self.symbols[index], contract)
                if contract.funding_interval is not None:
                    told.append(fact.Interval(index, contract.funding_interval / 60))
                ending = wire.ending_of(self.symbols[index], contract)
                if ending is not None and self._endings.get(index) != ending:
                    self._endings[index] = ending
                    told.append(fact.Warned(ending, asked_at))
            return []

        misread = each(What.INSTRUMENTS, rows, self._index, read)
        self._listed = {self.symbols[index]: listed[index] for index in sorted(listed)}
        return [fact.Listed(tuple(self._listed.values())), *told, *misread]

    def _positions_answer(self, whole: Whole) -> Sequence[Fact]:
        held, strangers = [], []
        for category, raw in whole.rows:
            row = wire.POSITION.decode(raw)
            if category == self._category and row.symbol in self._listed:
                held.append(wire.position_of(self._listed[row.symbol], row))
            elif number(row.size) and row.symbol not in strangers:
                strangers.append(row.symbol)
        return [fact.Positions(tuple(held), tuple(strangers), whole.asked_at)]

    def _orders_answer(self, whole: Whole) -> Sequence[Fact]:
        found = []
        for category, raw in whole.rows:
            row = wire.ORDER.decode(raw)
            grid = self._listed.get(row.symbol) if category == self._category else None
            found.append(wire.open_order(grid, row))
        return [fact.Orders(tuple(found), whole.asked_at)]


def _fee_facts(index: int, row: Raw) -> Sequence[Fact]:
    rate = wire.FEE_RATE.decode(row)
    return [fact.Fees(index, number(rate.maker_fee_rate), number(rate.taker_fee_rate))]
