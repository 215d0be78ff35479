"""BingX USDT-margined perpetuals ("swap"): the dialect of its REST interface and its sockets.

What frames and answers say stands in `adapters.bingx_frames` and `adapters.bingx_facts`, what failures mean in
`adapters.bingx_replies`, how it is asked in `adapters.bingx_tables`: this file holds the conversation alone.

Index price, funding rate and the time of the next settlement do not stream here: they are asked for every few seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never
from urllib.parse import quote, urlsplit

from msgspec import UNSET, Raw
from msgspec.json import encode

from adapters import bingx_facts as read
from adapters import bingx_frames as wire
from adapters import bingx_tables as table
from adapters.answers import Reaction, fate, outcome
from adapters.bingx_account import Account, Misfit
from adapters.bingx_replies import silent_until, verdict_of
from adapters.bingx_topics import Subscriptions, topics_of
from adapters.conversation import CALL_MS, ORDER_MS, Conversation
from adapters.reading import MISREAD, MS, RAWS, each, excerpt, number, plain, positive
from adapters.signing import hmac_signer
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
    Say,
    SetLeverage,
    Shut,
    Weight,
    What,
    lane_of,
)


class BingX(Conversation):
    """BingX USDT-margined perpetuals, in one-way or hedge mode, with one collateral asset.

    Without ``credentials`` it answers public questions only. ``depth`` subscribes to twenty levels of the book besides
    the best. ``recv_window_ms`` bounds how old a request may be when the venue takes it.
    """

    name = read.NAME
    buckets = table.LIMITS

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        credentials: Credentials | None,
        rest_url: str = table.REST_URL,
        stream_url: str = table.STREAM_URL,
        recv_window_ms: int = 3_000,
        depth: bool = False,
    ) -> None:
        if not 1 <= recv_window_ms <= 5_000:
            raise ValueError("recv_window_ms: choose between 1 and 5000")
        sites = (table.DEMO, table.DOMAINS)
        super().__init__("BingX", symbols, table.SYMBOLS_MAX, rest_url, stream_url, table.DOMAINS, sites)
        self._index = {symbol: index for index, symbol in enumerate(self.symbols)}
        self._account = Account(demo=urlsplit(self._rest).hostname in table.DEMO)
        self._topics = Subscriptions(topics_of(self.symbols, depth=depth))
        sockets = tuple(self._topics.topics)
        self.abilities = Abilities(
            answers=frozenset(what for what, route in table.QUESTIONS.items() if credentials or not route.private),
            sockets=(*sockets, "private") if credentials else sockets,
            singles=table.SINGLES,
            cadence={What.PRICES: table.PRICES_NS, What.INSTRUMENTS: table.RULES_NS},
            arms=True,
        )
        self._window_ms = recv_window_ms
        self._sign = hmac_signer(credentials, "BingX") if credentials else None
        self._key_header = (("X-BX-APIKEY", credentials.key.reveal()),) if credentials else ()
        self._listed: dict[str, Instrument] = {}
        self._most: dict[str, int] = {}
        """Largest leverage of each contract."""
        self._indices: dict[str, tuple[float, int]] = {}
        """The last index price, and our time of it."""
        self._unproven: set[str] = set()
        """Connected sockets that have not brought an event yet."""
        self._updates: dict[str, int] = {}
        """The last update of a symbol's quote on the present connection."""
        self._armed: set[int] = set()
        """Instruments for which the account's one switch is wanted."""
        self._key: str | None = None
        self._key_wanted = False
        """The private socket waits for a key."""
        self._key_due: int | None = None

    # The connection

    def connect(self, socket: str, now: int) -> Open | Ask:
        """The address of a market data socket; for the private one the question for its key.

        A key is asked for at every connection, because a socket opens with a dead one just as well and stays silent.
        """
        if socket == "private":
            self._key_wanted, self._key_due = True, now + table.KEY_RETRY_NS
            return Ask(What.KEY)
        return Open(socket, self._stream, table.QUIET_NS)

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """Begin to subscribe. Nothing is to be said on the private socket, which is up at once; its positions can only
        be read by who knows the mode."""
        if socket == "private":
            if self._account.hedge is None:
                self._want(Ask(What.MODE))
            return [fact.Up(socket)]
        self._unproven.add(socket)
        self._updates.clear()
        self._acts += self._topics.begin(socket, now)
        return []

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """The socket is gone."""
        self._unproven.discard(socket)
        self._topics.end(socket)
        return [fact.Down(socket, reason)]

    def on_wake(self, now: int) -> None:
        """Renew the key; go on subscribing, and subscribe again where no word came back."""
        if self._key_due is not None and now >= self._key_due:
            self._key_due = now + table.KEY_RETRY_NS
            self._want(Ask(What.KEY))
        self._acts += self._topics.due(now)

    @property
    def wake_at(self) -> int | None:
        """When the key needs renewal, or something is to be said, next."""
        key = [] if self._key_due is None else [self._key_due]
        return min([*self._topics.wake_at(), *key], default=None)

    # Frames

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """The facts in a frame; the first event of a market data connection also proves that it is up."""
        text = data
        try:
            text = wire.unpacked(data)
            if text == b"Ping":
                self._acts.append(Say(socket, "Pong"))
                return []
            head = wire.HEAD.decode(text)
            if head.ping is not UNSET:
                self._say(socket, {"pong": head.ping, "time": head.time})
                return []
            facts = self._read_private(head, text) if socket == "private" else self._read_market(head, text, now)
            if not facts and not head.topic:
                self._acknowledged(socket, head)
        except MISREAD as error:
            return [fact.Unknown(socket, f"frame: {error}"[:200], excerpt(text), socket == "private")]
        if socket in self._unproven and facts:
            self._unproven.discard(socket)
            return [fact.Up(socket), *facts]
        return facts

    def _read_market(self, head: wire.Head, text: bytes, now: int) -> Sequence[Fact]:
        symbol, _, topic = head.topic.partition("@")
        if not topic:
            return []
        index = self._index_of(symbol)
        match topic.partition("@")[0]:
            case "markPrice":
                mark = wire.MARK.decode(text).data
                _same(symbol, mark.symbol)
                return [fact.Mark(index, positive(mark.price), self._index_price(symbol, now), mark.at * MS)]
            case "bookTicker":
                ticker = wire.TICKER_FRAME.decode(text).data
                _same(symbol, ticker.symbol)
                facts = read.quote_facts(index, ticker)
                if ticker.update <= self._updates.get(symbol, -1):
                    return []
                self._updates[symbol] = ticker.update
                return facts
            case "depth20":
                return read.depth_facts(index, wire.BOOK.decode(text))
            case _:
                raise ValueError(f"topic {topic:.40}")

    def _acknowledged(self, socket: str, head: wire.Head) -> None:
        """An answer to a subscription, or to what was not understood. One that is refused is sent again later."""
        if str(head.code) != "0" or (not head.id and not head.e):
            raise ValueError(f"{head.code} {head.msg:.80} ({head.id:.60})")
        self._topics.acknowledged(socket, head.id)

    def _index_price(self, symbol: str, now: int) -> float | None:
        price, at = self._indices.get(symbol, (0.0, -table.INDEX_AGE_NS))
        return price if now - at < table.INDEX_AGE_NS else None

    def _read_private(self, head: wire.Head, text: bytes) -> Sequence[Fact]:
        match head.e:
            case "ORDER_TRADE_UPDATE" | "TRADE_UPDATE":
                event = wire.ORDER_EVENT.decode(text)
                return [*read.forced_facts(event), *self._order_event(event)]
            case "ACCOUNT_UPDATE":
                change = wire.ACCOUNT_EVENT.decode(text)
                rows = [(row.symbol, read.Held(row)) for row in change.update.positions]
                held, strangers = self._positions_of(rows, change.at * MS)
                money = self._account.renamed(read.balance_facts(change))
                facts = [*held, *money, *(fact.Elsewhere(symbol[:40]) for symbol in strangers)]
                if not facts:
                    raise ValueError(f"{change.update.reason:.30} without a balance or a position")
                return facts
            case "ACCOUNT_CONFIG_UPDATE":
                setting = wire.CONFIG_EVENT.decode(text).setting
                index = self._index.get(setting.symbol)
                return [] if index is None else read.setting_facts(index, setting)
            case "listenKeyExpired":
                self._key = None
                self._want(Shut("private", "its key has expired"))
                return [fact.Down("private", "its key has expired")]
            case "SNAPSHOT":
                return []  # withdrawn by the venue, and still seen: what it tells is asked for
            case _:
                raise ValueError(f"event {head.e:.40} {head.code} {head.msg:.80}")

    def _order_event(self, event: wire.OrderEvent) -> Sequence[Fact]:
        symbol = event.order.symbol
        if symbol not in self._index:
            return [fact.Elsewhere(symbol[:40])]
        try:
            return self._account.renamed(read.order_facts(self._grid("order", symbol), event))
        except MISREAD as error:  # that the venue trades by force must be told, however little of it can be read
            if not read.forced_facts(event):
                raise
            return [fact.Unknown("private", f"order: {error}"[:200], "", private=True)]

    def _positions_of(
        self, rows: Sequence[tuple[str, read.Held]], at: int
    ) -> tuple[list[fact.Position], tuple[str, ...]]:
        try:
            return self._account.positions_of(rows, self._index, self._listed, at)
        except Misfit:
            self._want(Ask(What.MODE))
            raise

    def _index_of(self, symbol: str) -> int:
        index = self._index.get(symbol)
        if index is None:
            raise ValueError(f"{symbol:.40} is not in the portfolio")
        return index

    def _grid(self, what: str, symbol: str) -> Instrument:
        instrument = self._listed.get(symbol)
        if instrument is None:
            raise ValueError(f"{what} of {symbol:.40}, which is not listed")
        return instrument

    # Requests

    def weigh(self, request: Request) -> Weight:
        """The lane and the price of a request."""
        bucket = table.QUESTIONS[request.what].bucket if isinstance(request, Ask) else table.BUCKETS[type(request)]
        return Weight(lane_of(request), ((bucket, 1),))

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
                params = {"symbol": self.symbols[index], "clientOrderId": order}
                return self._signed(request, "DELETE", table.ORDER, params, now, timeout_ms=ORDER_MS)
            case Arm(index, ms):
                return self._arm(request, index, ms, now)
            case SetLeverage(index, leverage):
                if self._account.hedge:
                    why = "it has two sides in hedge mode: set the leverage of both at the venue"
                    return outcome(request, Fault.RULE, "", why)
                params = {"symbol": self.symbols[index], "side": "BOTH", "leverage": str(leverage)}
                return self._signed(request, "POST", table.LEVERAGE, params, now)
            case _:
                assert_never(request)

    def _arm(self, request: Arm, index: int, ms: int, now: int) -> Call | Sequence[Fact]:
        """Set the switch, which is one for the whole account, or release it once no instrument wants it any more."""
        least, most = table.SWITCH_S
        if ms:
            self._armed.add(index)
        else:
            self._armed.discard(index)
            if self._armed:
                return []
        wait = str(min(most, max(least, -(-ms // 1_000))))
        params = {"type": "ACTIVATE" if ms else "CLOSE", "timeOut": wait}
        return self._signed(request, "POST", table.SWITCH, params, now, timeout_ms=ORDER_MS)

    def _ask(self, ask: Ask, now: int) -> Call:
        route = table.QUESTIONS[ask.what]
        if ask.what is What.KEY:
            renew = not self._key_wanted and self._key is not None
            path = route.path + (_query({"listenKey": self._key or ""}) if renew else "")
            return self._call(ask, "PUT" if renew else "POST", path, now, self._key_header, conceal=table.CONCEALED_KEY)
        params: dict[str, str] = {}
        if ask.what in table.SINGLES or ask.what is What.ORDER:
            assert ask.instrument is not None, "the question is about one instrument"
            params["symbol"] = self.symbols[ask.instrument]
        if ask.what is What.INTERVALS and ask.instrument is not None:
            past = {"symbol": self.symbols[ask.instrument], "limit": "3"}
            return self._call(ask, "GET", table.SETTLEMENTS + _query(past), now)
        if ask.what is What.ORDER:
            assert ask.order is not None, "the question is about one order"
            params["clientOrderId"] = ask.order
        if not route.private:
            return self._call(ask, "GET", route.path + _query(params), now)
        collateral = ask.what is What.MODE and self._account.asks_collateral
        return self._signed(ask, "GET", table.ASSETS if collateral else route.path, params, now)

    def _place(self, request: Place | Batch, orders: Sequence[Order], now: int) -> Call | Sequence[Fact]:
        """Orders on the wire, in time: the venue may not take them after the first of them expires."""
        if not 1 <= len(orders) <= table.BATCH_MAX:
            return outcome(request, Fault.RULE, "", f"a batch holds 1 to {table.BATCH_MAX} orders")
        if any(order.symbol not in self._listed for order in orders):
            return outcome(request, Fault.CLOSED, "", "the instrument is not listed")
        window_ms = self._offset.window_ms(now, min(order.expires_at for order in orders), self._window_ms)
        if window_ms < 1:
            return outcome(request, Fault.BUSY, "", "its time was over before it could be sent")
        rows = [self._order_params(order) for order in orders]
        if isinstance(request, Place):
            return self._signed(request, "POST", table.ORDER, rows[0], now, window_ms, ORDER_MS)
        params = {"batchOrders": encode(rows).decode()}
        return self._signed(request, "POST", table.BATCH, params, now, window_ms, ORDER_MS)

    def _order_params(self, order: Order) -> dict[str, str]:
        instrument = self._listed[order.symbol]
        params = {
            "symbol": order.symbol,
            "side": "BUY" if order.lots > 0 else "SELL",
            "positionSide": "BOTH" if order.side is Side.NET else order.side.upper(),
            "type": "MARKET" if order.style is Style.MARKET else "LIMIT",
            "quantity": plain(instrument.quantity(order.lots)),
            "clientOrderId": order.id,
        }
        if order.style is not Style.MARKET:
            assert order.ticks is not None, "a limit order has a price"
            params["timeInForce"] = "IOC" if order.style is Style.IOC else "PostOnly"
            params["price"] = plain(instrument.price(order.ticks))
        if order.reduce and order.side is Side.NET:  # in hedge mode the side says what reduces, and this is refused
            params["reduceOnly"] = "true"
        return params

    def _signed(
        self,
        request: Request,
        method: str,
        path: str,
        params: Mapping[str, str],
        now: int,
        window_ms: int | None = None,
        timeout_ms: int = CALL_MS,
    ) -> Call:
        """A request whose parameters stand in the address, whatever its method: signed raw, and quoted afterwards."""
        assert self._sign is not None, "account questions and orders need credentials"
        stamp = {"recvWindow": str(window_ms or self._window_ms), "timestamp": str(self._offset.venue_ms(now))}
        whole = dict(sorted({**params, **stamp}.items()))
        raw = "&".join(f"{name}={value}" for name, value in whole.items())
        path = f"{path}{_query({**whole, 'signature': self._sign(raw.encode())})}"
        return self._call(request, method, path, now, self._key_header, timeout_ms=timeout_ms)

    # Replies

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """What an answer says. An error may come with status 200: the code in the body counts."""
        good = 200 <= reply.status < 300
        bare = isinstance(call.request, Ask) and call.request.what in table.BARE
        try:
            if good and bare and not reply.body:  # a renewed key is answered by nothing
                return self._key_answer(call, reply.status, None, now)
            answer = wire.ENVELOPE.decode(reply.body)
            code = answer.number
            data = Raw(reply.body) if bare and answer.code is None else answer.data
            if not good or (code != 0 and data is answer.data):
                return self._failure_facts(call, reply.status, code, answer.msg[:200], now)
            return self._answer(call, data, now)
        except MISREAD as error:
            if not good:
                return self._failure_facts(call, reply.status, None, excerpt(reply.body), now)
            body = "" if call.conceal else excerpt(reply.body)
            return outcome(call.request, Reaction.UNKNOWN, "", f"unreadable: {error}; {body}")

    def _failure_facts(self, call: Call, status: int, code: int | None, text: str, now: int) -> Sequence[Fact]:
        verdict = verdict_of(status, code, text)
        match call.request, verdict:
            case Ask(What.ORDER, order=str(order)), Reaction.ABSENT:
                return [fact.Absent(order, self._offset.earliest(call.at))]
            case Ask(What.RIGHTS), _:  # a key may lack the right to be asked about its rights
                return outcome(call.request, verdict, str(code or status), text)
            case Ask(What.KEY), _ if call.method == "PUT" and status == 404:
                self._lose_key("its key is gone")
        told = self._consequences(verdict, status, code, text)
        if verdict in (Reaction.SLOW, Reaction.BANNED):
            banned = verdict is Reaction.BANNED
            until = silent_until(text, now, self._offset.ns, banned=banned)
            told.append(fact.Throttled(until, banned, text))
        return [*told, *outcome(call.request, verdict, str(code or status), text)]

    def _consequences(self, verdict: Fault | Reaction, status: int, code: int | None, text: str) -> list[Fact]:
        """What a failure means beyond the request that it answers."""
        if verdict is Fault.CLOCK:
            self._offset.forget()
            self._want(Ask(What.TIME))
        elif code == 109400 and "positionside" in text.lower():
            self._want(Ask(What.MODE))
        elif verdict is Reaction.DENIED:
            return [fact.Denied(f"{code or status}: {text}")]
        return []

    def _lose_key(self, why: str) -> None:
        self._key = None
        self._want(Shut("private", why))

    def _answer(self, call: Call, data: Raw, now: int) -> Sequence[Fact]:
        match call.request:
            case Place(order):
                return [self._placed(order, wire.PLACED.decode(wire.ONE_ORDER.decode(data).order), call.at)]
            case Batch(orders):
                return self._batch_answer(orders, data, call.at)
            case Cancel(order, index):
                return self._order_answer(wire.ONE_ORDER.decode(data).order, order, self.symbols[index])
            case Arm():
                return []
            case SetLeverage(index):
                told = wire.LEVERAGE_SET.decode(data)
                _same(self.symbols[index], told.symbol)
                return [fact.Leverage(index, told.leverage)]
            case Ask() as ask:
                return self._ask_answer(ask, call, data, now)
            case _:
                assert_never(call.request)

    def _placed(self, order: Order, row: wire.PlacedRow, at: int) -> fact.Accepted:
        """The venue's word that it has an order: it says nothing of what has traded, and may leave out our id."""
        if row.symbol != order.symbol or row.order.lower() not in (order.id, "") or not row.order_id:
            raise ValueError("the answer is about another order")
        return fact.Accepted(order.id, str(row.order_id), 0, self._offset.earliest(at))

    def _order_answer(self, data: Raw, order: str, symbol: str) -> list[Fact]:
        row = wire.ORDER.decode(data)
        if row.client_order_id != order or row.symbol != symbol:
            raise ValueError("the answer is about another order")
        return read.order_row_facts(self._grid("order", symbol), row)

    def _batch_answer(self, orders: Sequence[Order], data: Raw, at: int) -> Sequence[Fact]:
        """Each order's own outcome, found by our id; one that the answer leaves out, or hides in garbage, is lost."""
        rows: dict[str, wire.PlacedRow] = {}
        for raw in wire.MANY_ORDERS.decode(data).orders or ():
            try:
                row = wire.PLACED.decode(raw)
            except MISREAD:
                continue  # whose it was is not known: that order is missing below
            rows[row.order] = row
        facts: list[Fact] = []
        for order in orders:
            try:
                row = rows[order.id]
                verdict = verdict_of(200, int(row.code), row.msg) if int(row.code) else None
                if verdict is not None:
                    facts += self._consequences(verdict, 200, int(row.code), row.msg)
                    facts.append(fate(order.id, verdict, str(row.code), row.msg))
                else:
                    facts.append(self._placed(order, row, at))
            except KeyError:
                facts.append(fact.Lost(order.id, "missing in the answer to its batch"))
            except MISREAD as error:
                facts.append(fact.Lost(order.id, f"unreadable: {error}"))
        return facts

    def _ask_answer(self, ask: Ask, call: Call, data: Raw, now: int) -> Sequence[Fact]:
        asked_at = self._offset.earliest(call.at)
        match ask.what:
            case What.TIME:
                return [self._offset.measure(call.at, wire.SERVER_TIME.decode(data).server_time * MS, MS, now)]
            case What.INSTRUMENTS | What.PRICES | What.VOLUMES:
                return self._table_answer(ask.what, RAWS.decode(data), asked_at, now)
            case What.INTERVALS if ask.instrument is None:
                return self._table_answer(ask.what, RAWS.decode(data), asked_at, now)
            case What.FEES:
                rates = wire.COMMISSION.decode(data).commission
                maker, taker = number(str(rates.maker_commission_rate)), number(str(rates.taker_commission_rate))
                return [fact.Fees(index, maker, taker) for index in range(len(self.symbols))]
            case What.MODE if table.ASSETS in call.url:
                self._want(ask)
                return self._account.collateral_facts(data)
            case What.MODE:
                return self._account.mode_facts(data)
            case What.ACCOUNT:
                return self._account.worth_facts(wire.ASSETS.decode(data), asked_at)
            case What.OWNER:
                return read.owner_facts(wire.ASSETS.decode(data))
            case What.RIGHTS:
                return read.rights_facts(wire.PERMISSIONS.decode(data))
            case What.POSITIONS:
                return self._positions_answer(wire.POSITIONS.decode(data) or (), asked_at)
            case What.ORDERS:
                return self._orders_answer(wire.MANY_ORDERS.decode(data).orders or (), asked_at)
            case What.KEY:
                return self._key_answer(call, 200, wire.LISTEN_KEY.decode(data).listen_key, now)
            case _:
                return self._one_answer(ask, data)

    def _table_answer(self, what: What, rows: Sequence[Raw], asked_at: int, now: int) -> Sequence[Fact]:
        """The answer to a question about all instruments at once."""
        match what:
            case What.INSTRUMENTS:
                return self._instruments_answer(rows)
            case What.PRICES:
                return self._prices_answer(rows, asked_at, now)
            case What.INTERVALS:
                return self._intervals_answer(rows, asked_at)
            case _:
                return each(what, rows, self._index, read.volume_facts)

    def _one_answer(self, ask: Ask, data: Raw) -> Sequence[Fact]:
        """The answer to a question about one instrument or one order."""
        assert ask.instrument is not None, "such a question names its instrument"
        index, symbol = ask.instrument, self.symbols[ask.instrument]
        match ask.what:
            case What.ORDER:
                assert ask.order is not None, "a question about an order names it"
                return self._order_answer(wire.ONE_ORDER.decode(data).order, ask.order, symbol)
            case What.TIERS:
                return read.tier_facts(index, symbol, wire.MARGIN_ROWS.decode(data), self._most.get(symbol, 1))
            case What.LEVERAGE:
                told = wire.LEVERAGES.decode(data)
                return [fact.Leverage(index, min(told.long_leverage, told.short_leverage))]
            case _:
                return read.interval_facts(index, symbol, wire.SETTLEMENTS.decode(data))

    def _instruments_answer(self, rows: Sequence[Raw]) -> Sequence[Fact]:
        if not rows:
            raise ValueError("no contracts at all")
        listed: dict[int, Instrument] = {}

        def take(index: int, row: Raw) -> Sequence[Fact]:
            contract, symbol = wire.CONTRACT.decode(row), self.symbols[index]
            listed[index] = read.instrument_of(index, symbol, contract)
            self._most[symbol] = min(contract.max_long_leverage, contract.max_short_leverage)
            return []

        misread = each(What.INSTRUMENTS, rows, self._index, take)
        self._listed = {self.symbols[index]: listed[index] for index in sorted(listed)}
        return [fact.Listed(tuple(self._listed.values())), *misread]

    def _prices_answer(self, rows: Sequence[Raw], asked_at: int, now: int) -> Sequence[Fact]:
        facts = each(What.PRICES, rows, self._index, lambda index, row: read.premium_facts(index, row, asked_at))
        for one in facts:
            if isinstance(one, fact.Mark) and one.index is not None:
                self._indices[self.symbols[one.instrument]] = one.index, now
        return facts

    def _intervals_answer(self, rows: Sequence[Raw], asked_at: int) -> Sequence[Fact]:
        """The intervals that stand beside the prices; where one does not, its last settlements are asked for."""

        def take(index: int, row: Raw) -> Sequence[Fact]:
            told = [one for one in read.premium_facts(index, row, asked_at) if isinstance(one, fact.Interval)]
            if not told:
                self._want(Ask(What.INTERVALS, index))
            return told

        return each(What.INTERVALS, rows, self._index, take)

    def _positions_answer(self, rows: Sequence[wire.PositionRow], asked_at: int) -> Sequence[Fact]:
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        at = max((row.update_time for row in rows), default=0) * MS
        told = [(row.symbol, held) for row in rows if (held := read.Held(row)).quantity or row.symbol in self._index]
        held_, strangers = self._positions_of(told, min(at, asked_at))
        return [fact.Positions(tuple(held_), strangers, asked_at)]

    def _orders_answer(self, rows: Sequence[Raw], asked_at: int) -> Sequence[Fact]:
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        found = [wire.ORDER.decode(row) for row in rows]
        orders = (read.open_order(self._listed.get(row.symbol), self._index.get(row.symbol), row) for row in found)
        return [fact.Orders(tuple(orders), asked_at)]

    def _key_answer(self, call: Call, status: int, key: str | None, now: int) -> Sequence[Fact]:
        """Open the private socket that waits for the key. A renewal is answered without one."""
        if call.method == "PUT":
            self._key_due = now + table.KEY_LIFE_NS
            if status == 204:  # told to be "no parameter": nothing was renewed
                self._lose_key("its key could not be renewed")
            return []
        if key is None:
            raise ValueError("no key in it")
        before, self._key, self._key_due = self._key, key, now + table.KEY_LIFE_NS
        if self._key_wanted:
            self._key_wanted = False
            self._want(Open("private", f"{self._stream}{_query({'listenKey': key})}", table.QUIET_NS))
        elif before is not None and key != before:
            self._want(Shut("private", "its key has changed"))
        return []


def _same(wanted: str, told: str) -> None:
    if told != wanted:
        raise ValueError(f"{told:.40} where {wanted:.40} was expected")


def _query(params: Mapping[str, str]) -> str:
    return "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in params.items()) if params else ""
