"""MEXC perpetuals: the dialect of its contract interface, version 1, REST and websocket.

What frames and answers say stands in `adapters.mexc_frames`, so that this file holds the conversation alone: first the
tables (budgets, questions, replies), then the dialect, then what failures mean. Sizes are in contracts, and an order
says itself whether it opens or closes: a side of 2 or 4 is all that a reduction is made of, beside the number of the
position that it closes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, assert_never
from urllib.parse import quote, urlencode

from msgspec import Raw
from msgspec.json import encode
from msgspec.structs import replace

from adapters import mexc_frames as wire
from adapters.answers import Reaction, outcome
from adapters.conversation import CALL_MS, ORDER_MS, Conversation
from adapters.mexc_account import NAMES_MAX, PAGE, Account
from adapters.mexc_rules import (
    BACK_OFF_NS,
    BAN_NS,
    CADENCE,
    CANCEL,
    CHANGE_LEVERAGE,
    CREATE,
    CREATES,
    LEVERAGE_CODES,
    LIMITS,
    MODE_CODE,
    PARAMETER_CODE,
    QUESTIONS,
    SECOND,
    kind_of,
    subscriptions_of,
    takes,
    verdict_of,
)
from adapters.reading import MISREAD, MS, amount, each, excerpt, number, plain, positive
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
    SetLeverage,
    Shut,
    Weight,
    What,
    lane_of,
)

REST_URL: Final = "https://api.mexc.com"
STREAM_URL: Final = "wss://contract.mexc.com"
DOMAINS: Final = ("mexc.com",)

WINDOW_MS: Final = 10_000
"""The venue takes a request whose time is no further than this from its own."""
PING_NS: Final = 15 * SECOND
QUIET_NS: Final = {"market": 20 * SECOND, "public": 45 * SECOND, "private": 45 * SECOND}
"""By kind of socket: tickers come about once a second; on any other the answers to our pings at least."""
LOGIN_NS: Final = 10 * SECOND
"""A socket that has not been let in by then is opened anew."""
SYMBOLS_MAX: Final = 200
NEAR: Final = 0.05
"""How far the mark may be from the price at which a margin table is turned into money."""

QUIET_CHANNELS: Final = tuple(
    f"push.personal.{name}"
    for name in (
        "adl.level", "plan.order", "stop.order", "stop.planorder", "track.order", "order.chase", "reverse.position",
        "position.closeall.fail",
    )
)  # fmt: skip
"""Private events about things that we neither make nor watch, or that are told by others as well."""

TYPES: Final = {Style.MARKET: 5, Style.IOC: 3, Style.POST: 2}


class Mexc(Conversation):
    """MEXC perpetuals that are settled in the currency they are quoted in.

    Without ``credentials`` it answers public questions only. ``depth`` tells twenty levels of the book besides the
    best. An order opens at the leverage that the venue says its direction is set to.
    """

    name = wire.NAME
    buckets = LIMITS

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        credentials: Credentials | None,
        rest_url: str = REST_URL,
        stream_url: str = STREAM_URL,
        depth: bool = False,
    ) -> None:
        super().__init__("MEXC", symbols, SYMBOLS_MAX, rest_url, stream_url, DOMAINS, (DOMAINS,))
        self._depth = depth
        self._subscriptions = subscriptions_of(self.symbols, depth=depth)
        self.abilities = Abilities(
            answers=frozenset(what for what, route in QUESTIONS.items() if credentials or not route.private),
            sockets=(*self._subscriptions, "private") if credentials else tuple(self._subscriptions),
            singles=frozenset({What.FEES, What.LEVERAGE}),
            cadence=CADENCE,
        )
        self._account = Account(self.symbols)
        self._key = credentials.key.reveal() if credentials else ""
        self._sign = hmac_signer(credentials, "MEXC") if credentials else None
        self._contracts: dict[str, wire.Contract] = {}
        self._scales: dict[str, float] = {}
        """By symbol: the price at which its margin table was turned into money."""
        self._settlements: dict[int, tuple[int, int]] = {}
        """By instrument: the next settlement, and the time between two."""
        self._changing: dict[int, wire.Direction] = {}
        """By call: which direction it sets."""
        self._twice = True
        """Whether a closing order of one-way mode says so by `reduceOnly` besides its side: not if that was refused."""
        self._moved_at: int | None = None
        """When the stream said that the wallet is another one, while no answer has told what is in it."""
        self._unproven: set[str] = set()
        """Connected sockets that have not brought an event yet."""
        self._pings: dict[str, int] = {}
        """By connected socket: when to ping next."""
        self._versions: dict[str, int] = {}
        """The last version of a symbol's book on the present connection."""
        self._login_due: int | None = None

    # The connection

    def connect(self, socket: str, now: int) -> Open | Ask:
        """The address of a socket, the same for all of them."""
        return Open(socket, f"{self._stream}/edge", QUIET_NS[kind_of(socket)])

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """Subscribe, or log in; a socket counts as up once it has brought an event, or has been let in."""
        self._pings[socket] = now + PING_NS
        if socket == "private":
            assert self._sign is not None, "there is no private socket without a key"
            stamp = str(self._offset.venue_ms(now))
            login = {"apiKey": self._key, "reqTime": stamp, "signature": self._sign(f"{self._key}{stamp}".encode())}
            self._say(socket, {"method": "login", "param": login})
            self._login_due = now + LOGIN_NS
            return []
        self._unproven.add(socket)
        if kind_of(socket) == "public":
            self._versions.clear()
        for method, param in self._subscriptions[socket]:
            self._say(socket, {"method": method, "param": param})
        return []

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """The socket is gone."""
        self._pings.pop(socket, None)
        self._unproven.discard(socket)
        if socket == "private":
            self._login_due = None
        return [fact.Down(socket, reason)]

    def on_wake(self, now: int) -> None:
        """Ping, which the venue leaves to us, and give up a login that nobody answers."""
        for socket, at in self._pings.items():
            if now >= at:
                self._pings[socket] = now + PING_NS
                self._say(socket, {"method": "ping"})
        if self._login_due is not None and now >= self._login_due:
            self._login_due = None
            self._want(Shut("private", "there was no login"))

    @property
    def wake_at(self) -> int | None:
        """When a socket needs a ping next, or a login has taken too long."""
        due = [*self._pings.values(), *(() if self._login_due is None else (self._login_due,))]
        return min(due, default=None)

    # Frames

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """The facts in a frame; the first event of a market data connection also proves that it is up."""
        channel = ""
        try:
            frame = wire.FRAME.decode(data)
            channel = frame.channel
            facts = self._private(frame, now) if socket == "private" else self._public(socket, frame, data)
        except MISREAD as error:
            private = socket == "private" and channel not in QUIET_CHANNELS
            return [fact.Unknown(socket, f"{channel or 'frame'}: {error}"[:200], excerpt(data), private)]
        if socket in self._unproven and facts and channel.startswith("push."):
            self._unproven.discard(socket)
            return [fact.Up(socket), *facts]
        return facts

    def _public(self, socket: str, frame: wire.Frame, data: bytes) -> Sequence[Fact]:
        match frame.channel:
            case "push.ticker":
                return self._ticker_facts(wire.TICKER.decode(frame.data))
            case "push.depth.full" | "push.depth":
                book = wire.DEPTH.decode(frame.data)
                index = self._account.index_of(frame.symbol)
                facts = wire.book_facts(index, book, frame.at, whole=self._depth)
                if book.version <= self._versions.get(frame.symbol, -1):
                    return []
                self._versions[frame.symbol] = book.version
                return facts
            case "push.contract":
                return self._contract_facts(wire.CONTRACT.decode(frame.data))
            case "rs.error":
                return [fact.Unknown(socket, "a subscription is refused", excerpt(data), private=False)]
            case channel if channel == "pong" or channel.startswith("rs."):
                return []
        raise ValueError("a channel of an unknown kind")

    def _ticker_facts(self, row: wire.Ticker) -> Sequence[Fact]:
        index = self._account.index_of(row.symbol)
        facts: list[Fact] = [*wire.mark_facts(index, row)]
        self._account.marks[row.symbol] = row.fair_price
        at = row.timestamp * MS
        if row.funding_rate is not None and (settlement := self._settlements.get(index)) is not None:
            next_at, apart = settlement
            if next_at <= at:
                next_at += (at - next_at) // apart * apart + apart
            facts.append(fact.Funding(index, number(row.funding_rate), next_at, at))
        return facts

    def _contract_facts(self, row: wire.Contract) -> Sequence[Fact]:
        index, before = self._account.index.get(row.symbol), self._account.listed.get(row.symbol)
        if index is None or before is None:
            return []  # the stream is about all contracts
        after = wire.instrument_of(index, row)
        if row != self._contracts[row.symbol]:
            self._want(Ask(What.TIERS))
        self._contracts[row.symbol] = row
        if after == before:
            return []
        self._account.listed[row.symbol] = after
        return [fact.Listed(tuple(self._account.listed.values()))]

    def _private(self, frame: wire.Frame, now: int) -> Sequence[Fact]:
        match frame.channel:
            case "push.personal.order":
                return self._account.order_event(wire.ORDER.decode(frame.data), frame.at)
            case "push.personal.order.deal":
                return self._account.deal_event(wire.DEAL.decode(frame.data))
            case "push.personal.position":
                return self._account.position_event(wire.POSITION.decode(frame.data), frame.at)
            case "push.personal.asset":
                self._moved_at = now
                self._want(Ask(What.ACCOUNT))
                return []
            case "push.personal.risk.limit":
                return self._setting_event(wire.RISK_LIMIT.decode(frame.data))
            case "push.personal.position.mode":
                return self._account.set_mode(wire.POSITION_MODE.decode(frame.data).position_mode)
            case "push.personal.liquidate.risk":
                row = wire.ENDANGERED.decode(frame.data)
                where = f"{row.symbol:.40} at {row.liquidate_price}, margin ratio {row.margin_ratio}"
                return [fact.Warned(f"near liquidation: {where}", frame.at)]
            case "push.personal.generic.notify":
                return [fact.Warned(f"liquidation notice: {excerpt(bytes(frame.data))}"[:200], frame.at)]
            case "rs.login":
                self._login_due = None
                return [fact.Up("private")]
            case "rs.error" if self._login_due is not None:
                return [fact.Down("private", f"the login was refused: {excerpt(bytes(frame.data))}")]
            case "rs.error":
                raise ValueError("the venue refuses what was said")
            case channel if channel in QUIET_CHANNELS or channel == "pong" or channel.startswith("rs."):
                return []
        raise ValueError("a channel of an unknown kind")

    def _setting_event(self, row: wire.RiskLimit) -> Sequence[Fact]:
        index = self._account.index.get(row.symbol)
        if index is None:
            return []
        told = self._account.changed(index, row)
        if not told:  # the other direction may follow, or not
            self._want(Ask(What.LEVERAGE, index))
        return told

    # Requests

    def weigh(self, request: Request) -> Weight:
        """The lane and the price of a request."""
        return Weight(lane_of(request), takes(request))

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """The request, signed; or what became of it where it can't be sent."""
        if self._sign is None and not (isinstance(request, Ask) and request.what in self.abilities.answers):
            return outcome(request, Fault.ACCOUNT, "", "no key is configured")
        match request:
            case Ask():
                return self._ask(request, now)
            case Place(order):
                return self._place(request, order, now)
            case Batch():
                return outcome(request, Fault.RULE, "", "the venue takes one order in a request")
            case Cancel(order, index):
                rows = [{"symbol": self.symbols[index], "externalOid": order}]
                return self._post(request, CANCEL, rows, now, timeout_ms=ORDER_MS)
            case Arm():
                return outcome(request, Fault.RULE, "", "the venue has no dead-man's switch")
            case SetLeverage(index, leverage):
                return self._set_leverage(request, self.symbols[index], leverage, now)
            case _:
                assert_never(request)

    def _ask(self, ask: Ask, now: int) -> Call:
        route = QUESTIONS[ask.what]
        path = route.path
        params: dict[str, str] = {}
        if ask.what in (What.FEES, What.LEVERAGE, What.TRADES):
            assert ask.instrument is not None, "the question is about one instrument"
            params["symbol"] = self.symbols[ask.instrument]
        if ask.what in (What.ORDERS, What.TRADES):
            params |= {"page_num": "1", "page_size": str(PAGE)}
        if ask.what is What.ORDER:
            assert ask.instrument is not None, "the question is about one instrument"
            assert ask.order is not None, "the question is about one order"
            path += f"/{quote(self.symbols[ask.instrument], safe='')}/{quote(ask.order, safe='')}"
        query = urlencode(sorted(params.items()), quote_via=quote)
        url = f"{path}?{query}" if query else path
        headers = self._headers(query, self._offset.venue_ms(now)) if route.private else ()
        return self._call(ask, "GET", url, now, headers)

    def _place(self, request: Place, order: Order, now: int) -> Call | Sequence[Fact]:
        """An order on the wire, dated so that the window in which the venue takes it ends when the order expires."""
        instrument = self._account.listed.get(order.symbol)
        if instrument is None:
            return outcome(request, Fault.CLOSED, "", "the instrument is not listed")
        closes = order.reduce if order.side is Side.NET else (order.lots > 0) is (order.side is Side.SHORT)
        if order.reduce and not closes:
            return outcome(request, Fault.RULE, "", f"it is to reduce, and would open on the {order.side} side")
        buys = order.lots > 0
        direction: wire.Direction = 1 if buys is not closes else 2
        terms, held = self._account.terms(order.symbol, direction), self._account.held(order.symbol, direction)
        if terms is None:
            self._want(Ask(What.LEVERAGE, order.instrument))
            return outcome(request, Fault.BUSY, "", "the leverage of its direction is not known yet")
        venue_ms = self._offset.venue_ms(now)
        deadline_ms = self._offset.earliest(order.expires_at) // MS
        if deadline_ms <= venue_ms:
            return outcome(request, Fault.BUSY, "", "its time was over before it could be sent")
        body: dict[str, object] = {
            "symbol": order.symbol,
            "vol": Raw(plain(instrument.quantity(order.lots)).encode()),
            "leverage": terms.leverage,
            "side": {(True, False): 1, (True, True): 2, (False, False): 3, (False, True): 4}[buys, closes],
            "type": TYPES[order.style],
            "openType": terms.open_type,
            "externalOid": order.id,
            "positionMode": 2 if order.side is Side.NET else 1,
        }
        if order.style is not Style.MARKET:
            assert order.ticks is not None, "a limit order has a price"
            body["price"] = Raw(plain(instrument.price(order.ticks)).encode())
        if closes and held is not None:
            body["positionId"] = held.id
        if closes and order.side is Side.NET and self._twice:  # in hedge mode it is refused
            body["reduceOnly"] = True
        stamp_ms = min(venue_ms, deadline_ms - WINDOW_MS)
        return self._post(request, CREATE, body, now, stamp_ms, timeout_ms=ORDER_MS)

    def _set_leverage(self, request: SetLeverage, symbol: str, leverage: int, now: int) -> Call | Sequence[Fact]:
        """The change of one direction: the first that is not set so. The next question shows whether one is left."""
        row = self._account.wish(request.instrument, leverage)
        if row is None:
            self._want(Ask(What.LEVERAGE, request.instrument))
            return outcome(request, Reaction.UNKNOWN, "", "the leverage that it has is not known yet")
        held = self._account.held(symbol, row.position_type)
        body: dict[str, object] = {"leverage": leverage}
        if held is not None:
            body["positionId"] = held.id
        else:
            body |= {"openType": row.open_type, "symbol": symbol, "positionType": row.position_type}
        call = self._post(request, CHANGE_LEVERAGE, body, now)
        self._changing[call.tag] = row.position_type
        if len(self._changing) > NAMES_MAX:
            del self._changing[next(iter(self._changing))]
        return call

    def _post(
        self,
        request: Request,
        path: str,
        body: object,
        now: int,
        stamp_ms: int | None = None,
        timeout_ms: int = CALL_MS,
    ) -> Call:
        text = encode(body)
        headers = self._headers(text.decode(), self._offset.venue_ms(now) if stamp_ms is None else stamp_ms)
        return self._call(request, "POST", path, now, headers, text, timeout_ms)

    def _headers(self, signed: str, stamp_ms: int) -> tuple[tuple[str, str], ...]:
        assert self._sign is not None, "account questions and orders need credentials"
        return (
            ("ApiKey", self._key),
            ("Request-Time", str(stamp_ms)),
            ("Signature", self._sign(f"{self._key}{stamp_ms}{signed}".encode())),
            ("Content-Type", "application/json"),
        )

    # Replies

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """What an answer says; a refusal comes under status 200 as well, and says so in its envelope."""
        try:
            envelope = wire.ENVELOPE.decode(reply.body)
        except MISREAD as error:
            if 200 <= reply.status < 300:
                return outcome(call.request, Reaction.UNKNOWN, "", f"unreadable: {error}; {excerpt(reply.body)}")
            return self._failure_facts(call, reply.status, None, excerpt(reply.body), now)
        if not (200 <= reply.status < 300 and envelope.success and envelope.code == 0):
            code = envelope.code if not envelope.success else None
            return self._failure_facts(call, reply.status, code, envelope.message[:200], now)
        try:
            return self._answer(call, envelope.data, now)
        except MISREAD as error:
            return outcome(call.request, Reaction.UNKNOWN, "", f"unreadable: {error}; {excerpt(reply.body)}")

    def _failure_facts(self, call: Call, status: int, code: int | None, text: str, now: int) -> Sequence[Fact]:
        verdict, shown = verdict_of(status, code), str(code or status)
        match call.request:
            case Ask(What.ORDER, order=str(order)) if verdict is Reaction.ABSENT:
                return [fact.Absent(order, self._offset.earliest(call.at))]
            case Place(Order(reduce=True, side=Side.NET)) if code == PARAMETER_CODE:
                self._twice = not self._twice
            case Place(Order(instrument=index)) if code in LEVERAGE_CODES:
                self._want(Ask(What.LEVERAGE, index))
        told = list(outcome(call.request, verdict, shown, text))
        match verdict:
            case Fault.CLOCK:
                self._offset.forget()
                self._want(Ask(What.TIME))
            case Reaction.DENIED:
                return [fact.Denied(f"{shown}: {text}"), *told]
            case Reaction.ORDERS:
                return [fact.Used("create", CREATES), *told]
            case Reaction.SLOW | Reaction.BANNED:
                banned = verdict is Reaction.BANNED
                until = now + (BAN_NS if banned else BACK_OFF_NS)
                return [fact.Throttled(until, banned, f"{shown} {text}".strip()), *told]
        if code == MODE_CODE:
            self._want(Ask(What.MODE))
        return told

    def _answer(self, call: Call, data: Raw, now: int) -> Sequence[Fact]:
        match call.request:
            case Place(order):
                placed = wire.PLACED.decode(data)
                self._account.learn(placed.order_id, order.id)
                return [fact.Accepted(order.id, str(placed.order_id), 0, placed.ts * MS)]
            case Cancel(order, index):
                (row,) = wire.CANCELS.decode(data)
                if row.error_code:
                    verdict = verdict_of(200, row.error_code)
                    gone = Reaction.GONE if verdict is Reaction.ABSENT else verdict
                    return outcome(call.request, gone, str(row.error_code), row.error_msg[:200])
                self._want(Ask(What.ORDER, index, order))  # it says that it is cancelled, not how much of it was done
                return [fact.Accepted(order, str(row.order_id), 0, self._offset.earliest(call.at))]
            case SetLeverage(index, leverage):
                setting = self._account.setting(index, self._changing[call.tag])
                told = self._account.changed(index, replace(setting, leverage=leverage))
                return told or outcome(call.request, Reaction.UNKNOWN, "", "one of two directions is set")
            case Ask() as ask:
                return self._ask_answer(ask, call, data, now)
            case Batch() | Arm():
                raise ValueError("the answer to what is never asked")
            case _:
                assert_never(call.request)

    def _ask_answer(self, ask: Ask, call: Call, data: Raw, now: int) -> Sequence[Fact]:
        asked_at = self._offset.earliest(call.at)
        match ask.what:
            case What.TIME:
                return [self._offset.measure(call.at, wire.SERVER_TIME.decode(data) * MS, MS, now)]
            case What.INSTRUMENTS:
                return self._instruments_answer(wire.rows_of(data))
            case What.PRICES | What.TIERS | What.VOLUMES:
                return each(ask.what, wire.rows_of(data), self._account.index, self._reader(ask.what))
            case What.INTERVALS:
                return each(ask.what, wire.rows_of(data), self._account.index, self._funding_facts)
            case What.MODE:
                return self._account.set_mode(wire.MODE.decode(data))
            case What.ACCOUNT:
                return self._account_answer(wire.ASSETS.decode(data), asked_at, call.at)
            case What.POSITIONS:
                return self._account.positions(wire.rows_of(data), asked_at)
            case What.ORDERS:
                return self._account.orders(wire.rows_of(data), asked_at)
            case What.FEES | What.LEVERAGE | What.ORDER | What.TRADES:
                return self._one_answer(ask, data, asked_at)
            case _:
                raise ValueError("the answer to what is never asked")

    def _reader(self, what: What) -> Callable[[int, Raw], Sequence[Fact]]:
        """What reads a line of the table of all tickers."""

        def read(index: int, raw: Raw) -> Sequence[Fact]:
            row = wire.TICKER.decode(raw)
            if what is What.PRICES:
                return self._ticker_facts(row)
            if what is What.VOLUMES:
                return [] if row.amount24 is None else [fact.Volume(index, amount(row.amount24))]
            return wire.tier_facts(index, self._contracts[row.symbol], self._scale(row))

        return read

    def _scale(self, row: wire.Ticker) -> float:
        """The price at which a margin table is turned into money. It stays while the mark is `NEAR`, so that the table
        does not seem to be another one whenever it is asked for.
        """
        price = self._scales.get(row.symbol, 0.0)
        if abs(price / positive(row.fair_price) - 1) > NEAR:
            price = self._scales[row.symbol] = row.fair_price
        return price

    def _one_answer(self, ask: Ask, data: Raw, asked_at: int) -> Sequence[Fact]:
        """The answer to a question about one instrument or one order."""
        assert ask.instrument is not None, "such a question names its instrument"
        symbol = self.symbols[ask.instrument]
        if ask.what is What.FEES:
            fees = wire.FEES.decode(data)
            return [fact.Fees(ask.instrument, number(fees.maker_fee), number(fees.taker_fee))]
        if ask.what is What.LEVERAGE:
            return self._account.set_settings(ask.instrument, wire.SETTINGS.decode(data))
        if ask.what is What.TRADES:
            return self._account.trades(symbol, wire.rows_of(data), ask.since)
        row = wire.ORDER.decode(data)
        if row.name != ask.order or row.symbol != symbol:
            raise ValueError("the answer is about another order")
        self._account.learn(row.order_id, row.name)
        at = asked_at if row.update_time is None else row.update_time * MS
        told = wire.order_fact(self._account.grid("order", symbol), row, at)
        accepted = fact.Accepted(row.name, str(row.order_id), told.filled_lots, at)
        return [accepted, told] if isinstance(told, fact.Ended) else [accepted]

    def _instruments_answer(self, rows: Sequence[Raw]) -> Sequence[Fact]:
        contracts: dict[str, wire.Contract] = {}
        listed: dict[int, Instrument] = {}

        def read(index: int, raw: Raw) -> Sequence[Fact]:
            contract = wire.CONTRACT.decode(raw)
            if contract.linear:
                listed[index] = wire.instrument_of(index, contract)
                contracts[contract.symbol] = contract
            return []

        if not rows:
            raise ValueError("no contract at all")
        misread = each(What.INSTRUMENTS, rows, self._account.index, read)
        self._contracts = contracts
        self._account.listed = {self.symbols[index]: listed[index] for index in sorted(listed)}
        return [fact.Listed(tuple(self._account.listed.values())), *misread]

    def _funding_facts(self, index: int, raw: Raw) -> Sequence[Fact]:
        row = wire.FUNDING.decode(raw)
        next_at, at = row.next_settle_time * MS, row.timestamp * MS
        self._settlements[index] = (next_at, round(row.collect_cycle * 3_600) * SECOND)
        return [fact.Interval(index, row.collect_cycle), fact.Funding(index, number(row.funding_rate), next_at, at)]

    def _account_answer(self, rows: Sequence[wire.Asset], asked_at: int, sent_at: int) -> Sequence[Fact]:
        """The wallets. After a word of the stream, which names no wallet, they are what it would have told: then they
        come before the totals, so that they don't count as something that only a question has brought to light."""
        margin, wallets = self._account.wallets(rows, asked_at)
        if self._moved_at is None or sent_at < self._moved_at:
            return [margin, *wallets]
        self._moved_at = None
        return [*wallets, margin]
