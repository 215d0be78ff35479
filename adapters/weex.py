"""WEEX USDT-M perpetuals, API V3: the dialect of its REST interface and its two websockets.

What frames and answers say stands in `adapters.weex_frames`, budgets, questions and replies in `adapters.weex_terms`,
and what it takes to read books and the private stream in `adapters.weex_books` and `adapters.weex_private`. What the
venue lacks is met so:

* no look-up of an order by our id: open orders are asked for it, then the history; see `Weex._missing`
* no time limit of a request but the thirty seconds after its timestamp: an order's is set back, see `Weex._place`
* no stream of funding or wallets: they are asked for, the one on and on, the other when the stream says so
* no margin table: one that is stricter than others' is assumed, see `adapters.weex_frames.ASSUMED`
* no reduce-only: the position side and the side of an order say what it can do
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, assert_never
from urllib.parse import quote, urlencode

from msgspec import Raw, Struct
from msgspec.json import encode

from adapters import weex_frames as wire
from adapters import weex_terms as terms
from adapters.answers import Reaction, outcome
from adapters.conversation import CALL_MS, ORDER_MS, Conversation
from adapters.reading import MISREAD, MS, RAWS, allowed_of, each, excerpt, number, plain, used_of
from adapters.weex_books import LEVELS, Books
from adapters.weex_private import PrivateStream, keep
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

PATHS: Final = {"market": "/v3/ws/public", "public": "/v3/ws/public", "private": "/v3/ws/private"}
QUIET_NS: Final = {"market": 40 * terms.SECOND, "public": 90 * terms.SECOND, "private": 150 * terms.SECOND}
"""The venue pings every half minute or so, an account at rest as well; mark prices come much more often."""
CHANNELS_MAX: Final = 100
"""So many channels a socket may have, hence so many instruments: mark prices on one, books on another."""
PRIVATE: Final = ("account", "positions", "orders", "fill")
PROOF_NS: Final = 10 * terms.SECOND
"""A subscription that is not acknowledged for so long was not heard."""
WALLET_NS: Final = 2 * terms.SECOND
"""How often the wallet is asked for at most, because the stream says that it changes."""


class Missing(Struct):
    """An order of ours that was not among the open ones: since when by the venue's time, and the page to turn to."""

    asked_at: int
    page: int = 0


class Weex(Conversation):
    """WEEX USDT-M perpetuals, in hedge mode, which is the only one its orders can express.

    Without ``credentials``, which hold a passphrase here, it answers public questions only. ``depth`` tells the levels
    of the book besides the best.
    """

    name = wire.NAME
    buckets = terms.LIMITS

    def __init__(
        self,
        *,
        symbols: Sequence[str],
        credentials: Credentials | None,
        rest_url: str = terms.REST_URL,
        stream_url: str = terms.STREAM_URL,
        depth: bool = False,
    ) -> None:
        super().__init__("WEEX", symbols, CHANNELS_MAX, rest_url, stream_url, terms.DOMAINS, (terms.DOMAINS,))
        answers = frozenset(what for what, route in terms.QUESTIONS.items() if credentials or not route.private)
        sockets = ("public", "market", "private") if credentials else ("public", "market")
        self.abilities = Abilities(answers=answers, sockets=sockets, cadence={What.PRICES: terms.FUNDING_NS}, ipv4=True)
        self._index = {symbol: index for index, symbol in enumerate(self.symbols)}
        self._signer = terms.Signer(credentials) if credentials else None
        self._said = 0
        """Commands and pongs sent: each has a number of its own."""
        self._listed: dict[str, Instrument] = {}
        self._isolated: dict[int, bool] = {}
        """The margin type of each instrument as last told: a change of leverage has to name it."""
        self._unproven: dict[str, tuple[int, int]] = {}
        """Connected sockets whose subscription is not acknowledged yet: its number, and when it should have been."""
        self._books = Books(self.symbols, depth=depth)
        self._private = PrivateStream(self.symbols, self._grid)
        self._missing: dict[str, Missing] = {}
        """Our orders that the venue did not list as open, and that are looked for in its history next.

        In that order, so that one which ends in between is found; and denied as of the first of the two questions, so
        that one which came in between is not.
        """
        self._rows: list[fact.OpenOrder] = []
        self._rows_at = 0
        """The pages of open orders so far, and the venue's time when the first was asked for."""
        self._moved_at: int | None = None
        """When the stream last said that the wallet has changed, until an answer has told what to."""
        self._wallet_at = 0
        """When the wallet was last asked for because of that, …"""
        self._wallet_due: int | None = None
        """… and when it is to be asked for again."""

    # The connection

    def connect(self, socket: str, now: int) -> Open | Ask:
        """The address of a socket; the private one is signed for in the headers of its handshake."""
        path = PATHS[socket]
        headers = self._headers("", path, b"", self._offset.venue_ms(now)) if socket == "private" else ()
        return Open(socket, self._stream + path, QUIET_NS[socket], headers)

    def on_open(self, socket: str, now: int) -> Sequence[Fact]:
        """Subscribe to everything in one command, for commands are few; it is up once that is acknowledged."""
        if socket == "public":
            self._books.begin()
        if socket == "private":
            self._private.begin()
        channels = PRIVATE if socket == "private" else [self._channel(socket, symbol) for symbol in self.symbols]
        self._unproven[socket] = self._command(socket, "SUBSCRIBE", channels), now + PROOF_NS
        return []

    def on_close(self, socket: str, reason: str, now: int) -> Sequence[Fact]:
        """The socket is gone."""
        self._unproven.pop(socket, None)
        if socket == "private":
            self._private.nameless_due = None
        return [fact.Down(socket, reason)]

    def on_wake(self, now: int) -> None:
        """Ask for the wallet again; see whether a subscription was never acknowledged, or a fill waits in vain for the
        name of its order."""
        if self._wallet_due is not None and now >= self._wallet_due:
            self._wallet_due = None
            if self._moved_at is not None:  # else an answer has told meanwhile
                self._moved(self._moved_at, now)
        for socket, (_, due) in list(self._unproven.items()):
            if now >= due:
                del self._unproven[socket]
                self._want(Shut(socket, "its subscription was not acknowledged"))
        if self._private.nameless_due is not None and now >= self._private.nameless_due:
            self._private.nameless_due = None
            self._want(Shut("private", "a fill of an order that it has not told of"))

    @property
    def wake_at(self) -> int | None:
        """When any of these is due."""
        due = [at for at in (self._wallet_due, self._private.nameless_due) if at is not None]
        return min([*due, *(at for _, at in self._unproven.values())], default=None)

    def _channel(self, socket: str, symbol: str) -> str:
        return f"{symbol}@ticker" if socket == "market" else f"{symbol}@depth{LEVELS}"

    def _command(self, socket: str, method: str, params: Sequence[str]) -> int:
        self._said += 1
        self._say(socket, {"method": method, "params": list(params), "id": self._said})
        return self._said

    # Frames

    def on_frame(self, socket: str, data: bytes, now: int) -> Sequence[Fact]:
        """The facts in a frame; pings are answered."""
        what = "frame"
        try:
            frame = wire.FRAME.decode(data)
            what = frame.e or frame.event or frame.type or what
            if frame.e:
                facts = self._event(socket, frame, now)
                return [*self._prove(socket), *facts]
            return self._control(socket, frame)
        except (*MISREAD, KeyError) as error:
            return [fact.Unknown(socket, f"{what}: {error}"[:200], excerpt(data), socket == "private")]

    def _control(self, socket: str, frame: wire.Frame) -> Sequence[Fact]:
        if "ping" in (frame.event, frame.type):
            self._said += 1
            self._say(socket, {"id": str(self._said), "method": "PONG"})
            return []
        if frame.method == "PONG" or "connected" in (frame.event, frame.type):
            return []
        if frame.result is None:
            raise ValueError("neither an event nor an answer")
        if not frame.result:
            self._want(Shut(socket, f"a subscription was refused: {frame.msg:.80}"))
            raise ValueError(f"refused: {frame.msg:.80}")
        number, _ = self._unproven.get(socket, (None, 0))
        return self._prove(socket) if str(frame.id) == str(number) else []

    def _prove(self, socket: str) -> list[Fact]:
        """It is subscribed: that is acknowledged, or an event has come."""
        return [fact.Up(socket)] if self._unproven.pop(socket, None) is not None else []

    def _event(self, socket: str, frame: wire.Frame, now: int) -> Sequence[Fact]:
        match socket, frame.e:
            case "market", "ticker":
                return wire.ticker_facts(self._index_of(frame.symbol), frame)
            case "public", "depth" | "depthSnapshot":
                return self._book_facts(frame, now)
            case "private", _:
                if frame.e == "account":
                    self._moved(now, now)
                return self._private.read(frame, now)
            case _:
                raise ValueError("an event that was not asked for")

    def _moved(self, at: int, now: int) -> None:
        """The wallet has changed. What to is asked for, as the rows don't tell, but not for every row of a burst."""
        self._moved_at = at
        if now >= self._wallet_at + WALLET_NS:
            self._wallet_at, self._wallet_due = now, None
            self._want(Ask(What.ACCOUNT))
        elif self._wallet_due is None:
            self._wallet_due = self._wallet_at + WALLET_NS

    def _book_facts(self, frame: wire.Frame, now: int) -> Sequence[Fact]:
        """What a book says, and the commands that have it sent anew if it lacks something."""
        facts = self._books.read(self._index_of(frame.symbol), frame, now)
        symbol = self._books.lacking
        if symbol is not None and self._books.worn_out:
            self._want(Shut("public", "its books lack something again and again"))
        elif symbol is not None:
            for method in ("UNSUBSCRIBE", "SUBSCRIBE"):
                self._command("public", method, [self._channel("public", symbol)])
        return facts

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

    # Requests

    def weigh(self, request: Request) -> Weight:
        """The lane and the price of a request."""
        price = self._price(request)
        counted = (("orders_10s", 1), ("orders_1m", 1)) if isinstance(request, Place) else ()
        return Weight(lane_of(request), (("weight_10s", price), ("weight_1m", price), *counted))

    def _price(self, request: Request) -> int:
        match request:
            case Place():
                return 5
            case Cancel():
                return 3
            case SetLeverage():
                return 20
            case Ask(what):
                return terms.QUESTIONS[what].weight
            case Batch() | Arm():
                return 0  # neither is sent
            case _:
                assert_never(request)

    def perform(self, request: Request, now: int) -> Call | Sequence[Fact]:
        """The request, signed; or what became of it where it can't be sent."""
        if self._signer is None and not (isinstance(request, Ask) and request.what in self.abilities.answers):
            return outcome(request, Fault.ACCOUNT, "", "no key is configured")
        match request:
            case Ask():
                return self._ask(request, now)
            case Place(order):
                return self._place(request, order, now)
            case Cancel(order):
                return self._query(request, terms.ORDER_PATH, [("origClientOrderId", order)], now, "DELETE", ORDER_MS)
            case SetLeverage(index, leverage):
                return self._set_leverage(request, index, leverage, now)
            case Batch() | Arm():
                return outcome(request, Fault.RULE, "", "the venue has no such request")
            case _:
                assert_never(request)

    def _ask(self, ask: Ask, now: int) -> Call:
        route = terms.QUESTIONS[ask.what]
        if not route.private:
            return self._call(ask, "GET", route.path, now)
        if ask.what is What.ORDER:
            return self._ask_order(ask, now)
        params: list[tuple[str, str]] = []
        if ask.what in (What.FEES, What.TRADES):
            assert ask.instrument is not None, "the question is about one instrument"
            params.append(("symbol", self.symbols[ask.instrument]))
        if ask.what is What.TRADES:
            params.append(("limit", str(terms.TRADES_PAGE)))
        if ask.what is What.ORDERS:
            params += [("limit", str(terms.OPEN_PAGE)), ("page", ask.since or "0")]
        return self._query(ask, route.path, params, now)

    def _ask_order(self, ask: Ask, now: int) -> Call:
        """By the venue's id where it is known, else among the open orders, else in the history."""
        assert ask.instrument is not None, "the question is about one instrument"
        assert ask.order is not None, "the question is about one order"
        symbol = ("symbol", self.symbols[ask.instrument])
        if (venue_order := self._private.venue_ids.get(ask.order)) is not None:
            return self._query(ask, terms.ORDER_PATH, [("orderId", venue_order)], now)
        if (missing := self._missing.get(ask.order)) is not None:
            since = ("startTime", str(self._offset.venue_ms(now - terms.HISTORY_NS)))
            page = [("limit", str(terms.HISTORY_PAGE)), ("page", str(missing.page))]
            return self._query(ask, terms.HISTORY_PATH, [symbol, since, *page], now)
        return self._query(ask, terms.OPEN_PATH, [symbol, ("limit", str(terms.OPEN_PAGE)), ("page", "0")], now)

    def _place(self, request: Place, order: Order, now: int) -> Call | Sequence[Fact]:
        """An order on the wire, in time.

        The venue takes a request until thirty seconds after its timestamp, and that is the only limit that it knows.
        So the timestamp is set back until those seconds end when the order's own time does.
        """
        if order.symbol not in self._listed:
            return outcome(request, Fault.CLOSED, "", "the instrument is not listed")
        if order.side is Side.NET or not terms.CLIENT_ID.fullmatch(order.id):
            return outcome(request, Fault.RULE, "", "an order names a position side, LONG or SHORT, and an id of ours")
        left_ms = self._offset.window_ms(now, order.expires_at, terms.WINDOW_MS)
        if left_ms < 1:
            return outcome(request, Fault.BUSY, "", "its time was over before it could be sent")
        stamp_ms = self._offset.venue_ms(now) + left_ms - terms.WINDOW_MS
        return self._post(request, terms.ORDER_PATH, self._order_params(order), now, stamp_ms, ORDER_MS)

    def _order_params(self, order: Order) -> dict[str, str]:
        instrument = self._listed[order.symbol]
        params = {
            "symbol": order.symbol,
            "side": "BUY" if order.lots > 0 else "SELL",
            "positionSide": order.side.upper(),
            "type": "MARKET" if order.style is Style.MARKET else "LIMIT",
            "quantity": plain(instrument.quantity(order.lots)),
        }
        if order.style is not Style.MARKET:
            assert order.ticks is not None, "a limit order has a price"
            params["timeInForce"] = "IOC" if order.style is Style.IOC else "POST_ONLY"
            params["price"] = plain(instrument.price(order.ticks))
        params["newClientOrderId"] = order.id
        return params

    def _set_leverage(self, request: SetLeverage, index: int, leverage: int, now: int) -> Call:
        """The setting of the margin type as last told; the answer says which it was."""
        isolated = self._isolated.get(index)
        params = {"symbol": self.symbols[index]}
        if isolated is not None:
            params["marginType"] = "ISOLATED" if isolated else "CROSSED"
        names = ("isolatedLongLeverage", "isolatedShortLeverage") if isolated else ("crossLeverage",)
        params |= dict.fromkeys(names, str(leverage))
        return self._post(request, terms.LEVERAGE_PATH, params, now, self._offset.venue_ms(now))

    def _query(
        self,
        request: Request,
        path: str,
        params: Sequence[tuple[str, str]],
        now: int,
        method: str = "GET",
        timeout_ms: int = CALL_MS,
    ) -> Call:
        path += f"?{urlencode(params, quote_via=quote)}" if params else ""
        headers = self._headers(method, path, b"", self._offset.venue_ms(now))
        return self._call(request, method, path, now, headers, timeout_ms=timeout_ms)

    def _post(
        self,
        request: Request,
        path: str,
        params: dict[str, str],
        now: int,
        stamp_ms: int,
        timeout_ms: int = CALL_MS,
    ) -> Call:
        body = encode(params)
        return self._call(request, "POST", path, now, self._headers("POST", path, body, stamp_ms), body, timeout_ms)

    def _headers(self, method: str, path: str, body: bytes, stamp_ms: int) -> tuple[tuple[str, str], ...]:
        assert self._signer is not None, "account questions and orders need credentials"
        return self._signer.headers(f"{stamp_ms}{method}{path}".encode() + body, stamp_ms)

    # Replies

    def on_reply(self, call: Call, reply: Reply, now: int) -> Sequence[Fact]:
        """What an answer says, and what its headers say about our budgets."""
        used = used_of(reply.headers, terms.USED)
        code, said = terms.words(reply)
        success = 200 <= reply.status < 300
        if not success or code:
            return [*used, *self._failure_facts(call, reply, code, said, now, proven=not success)]
        try:
            return [*used, *self._answer(call, reply.body, now)]
        except (*MISREAD, KeyError) as error:
            return [*used, *outcome(call.request, Reaction.UNKNOWN, "", f"unreadable: {error}; {excerpt(reply.body)}")]

    def _failure_facts(
        self, call: Call, reply: Reply, code: str, said: str, now: int, *, proven: bool
    ) -> Sequence[Fact]:
        """What an error says. One that comes with HTTP 200, and not as the venue refuses orders, proves nothing."""
        verdict = terms.verdict(reply.status if proven else 400, code, said)
        told = self._consequences(verdict, code or str(reply.status), said)
        if verdict in (Reaction.SLOW, Reaction.BANNED):
            banned = verdict is Reaction.BANNED
            told.append(fact.Throttled(self._silent_until(banned, reply, now), banned, said))
        if not proven and not isinstance(call.request, Ask):
            verdict = Reaction.UNKNOWN
        return [*told, *self._outcome(call, verdict, code or str(reply.status), said)]

    def _outcome(self, call: Call, verdict: Fault | Reaction, code: str, said: str) -> Sequence[Fact]:
        """A denial of one order is one; a list that is refused in the same words denies nothing."""
        if verdict is Reaction.ABSENT:
            match call.request:
                case Ask(What.ORDER, order=str(order)) if self._path_of(call) == terms.ORDER_PATH:
                    return [fact.Absent(order, self._offset.earliest(call.at))]
                case Cancel():
                    verdict = Reaction.GONE
        return outcome(call.request, verdict, code, said)

    def _path_of(self, call: Call) -> str:
        return call.url.removeprefix(self._rest).partition("?")[0]

    def _consequences(self, verdict: Fault | Reaction, code: str, said: str) -> list[Fact]:
        """What a failure means beyond the request that it answers."""
        if verdict is Fault.CLOCK or code == "-1044":  # of the latter it is disputed whether it means the key
            self._offset.forget()
            self._want(Ask(What.TIME))
        if verdict is Reaction.DENIED:
            cure = "; the key is bound to other addresses than this machine's IPv4 one" if code == "-1056" else ""
            return [fact.Denied(f"{code}: {said}{cure}")]
        return []

    def _silent_until(self, banned: bool, reply: Reply, now: int) -> int:
        """What it says, or the next minute, in which its budgets begin anew."""
        if re.fullmatch("[0-9]{1,5}", wait := reply.headers.get("retry-after", "")):
            return now + int(wait) * terms.SECOND
        if banned:
            return now + terms.BAN_NS
        return max(now, ((now + self._offset.ns) // terms.MINUTE + 1) * terms.MINUTE - self._offset.ns)

    def _answer(self, call: Call, body: bytes, now: int) -> Sequence[Fact]:
        match call.request:
            case Place(order):
                return self._ack(call, body, order.id)
            case Cancel(order):
                return self._ack(call, body, order)
            case SetLeverage(index, leverage):
                return self._leverage_answer(index, leverage, wire.SYMBOL_CONFIG.decode(body))
            case Ask() as ask:
                return self._ask_answer(ask, call, body, now)
            case _:
                raise ValueError("an answer to what was never asked")

    def _ack(self, call: Call, body: bytes, order: str) -> Sequence[Fact]:
        """An order that was taken; or a cancel that was: the order is still there, and is asked what is left of it."""
        ack = wire.ACK.decode(body)
        if not ack.success:
            code, said = str(ack.error_code or ""), (ack.error_message or ack.error_msg or "")[:200]
            verdict = terms.verdict(400, code or "refused", said)
            return [*self._consequences(verdict, code, said), *self._outcome(call, verdict, code, said)]
        named = ack.orig_client_order_id if isinstance(call.request, Cancel) else ack.client_order_id
        if named != order or ack.order_id in (None, "", "0", 0):
            raise ValueError("the answer is about another order")
        self._private.learn(str(ack.order_id), order)
        if isinstance(call.request, Cancel):
            self._want(Ask(What.ORDER, call.request.instrument, order))
        return [fact.Accepted(order, str(ack.order_id), 0, self._offset.earliest(call.at))]

    def _leverage_answer(self, index: int, leverage: int, answer: wire.SymbolConfig) -> Sequence[Fact]:
        if answer.symbol != self.symbols[index]:
            raise ValueError("the answer is about another symbol")
        if wire.leverage_of(answer) != leverage:
            raise ValueError(f"it was set to {wire.leverage_of(answer)} instead")
        return [fact.Leverage(index, leverage, wire.ISOLATED[answer.margin_type])]

    def _ask_answer(self, ask: Ask, call: Call, body: bytes, now: int) -> Sequence[Fact]:
        asked_at = self._offset.earliest(call.at)
        match ask.what:
            case What.TIME:
                return [self._offset.measure(call.at, wire.SERVER_TIME.decode(body).server_time * MS, MS, now)]
            case What.INSTRUMENTS:
                info = wire.EXCHANGE_INFO.decode(body)
                return [*self._instruments_answer(info.symbols), *allowed_of(info.rate_limits, terms.ALLOWED)]
            case What.PRICES:
                return each(ask.what, RAWS.decode(body), self._index, wire.premium_facts)
            case What.VOLUMES:
                return each(ask.what, RAWS.decode(body), self._index, wire.volume_facts)
            case What.LEVERAGE:
                return self._settings_answer(wire.SYMBOL_CONFIGS.decode(body))
            case What.MODE:
                mode = wire.ACCOUNT_CONFIG.decode(body)
                if not mode.dual_side_position:
                    raise ValueError("the account is in one-way mode, which its orders can't express: set it to hedge")
                return [fact.Mode(hedge=True, multi_asset=False, can_trade=mode.can_trade)]
            case What.ACCOUNT:
                return self._account_answer(call, wire.ASSETS.decode(body), asked_at)
            case What.POSITIONS:
                return self._positions_answer(wire.POSITIONS.decode(body), asked_at)
            case What.ORDERS:
                return self._orders_answer(ask, wire.ORDERS.decode(body), asked_at)
            case What.ORDER:
                return self._order_answer(ask, call, body, asked_at)
            case What.FEES | What.TRADES:
                return self._one_answer(ask, body)
            case _:
                raise ValueError("an answer to what is never asked")

    def _one_answer(self, ask: Ask, body: bytes) -> Sequence[Fact]:
        """The answer to a question about one instrument."""
        assert ask.instrument is not None, "such a question names its instrument"
        symbol = self.symbols[ask.instrument]
        if ask.what is What.TRADES:
            rows = wire.TRADES.decode(body)
            if len(rows) >= terms.TRADES_PAGE:
                raise ValueError("more fills than the venue tells at once, in no order that it promises")
            rows = [row for row in rows if int(row.id) > int(ask.since or -1)]
            return wire.trade_facts(self._grid("fills", symbol), rows, self._private.names)
        fees = wire.COMMISSION.decode(body)
        if fees.symbol != symbol:
            raise ValueError("the answer is about another symbol")
        rates = (number(str(rate)) for rate in (fees.maker_commission_rate, fees.taker_commission_rate))
        return [fact.Fees(ask.instrument, *rates)]

    def _order_answer(self, ask: Ask, call: Call, body: bytes, asked_at: int) -> Sequence[Fact]:
        """One order: itself, or a list in which it is looked for; where it is nowhere, it is denied."""
        assert ask.order is not None, "a question about an order names it"
        assert ask.instrument is not None, "and its instrument"
        order, path = ask.order, self._path_of(call)
        if path == terms.ORDER_PATH:
            return self._order_row(order, ask.instrument, wire.ORDER.decode(body))
        rows = RAWS.decode(body)
        for row in rows:
            if wire.NAMED.decode(row).client_order_id == order:
                self._missing.pop(order, None)
                return self._order_row(order, ask.instrument, wire.ORDER.decode(row))
        missing = self._missing.get(order)
        if path == terms.OPEN_PATH:
            if len(rows) >= terms.OPEN_PAGE:
                raise ValueError("more open orders than the venue tells at once")
            keep(self._missing, order, missing or Missing(asked_at))
            self._want(ask)
            return []
        if missing is None:
            return []  # another answer has told
        if len(rows) >= terms.HISTORY_PAGE:
            missing.page += 1
            self._want(ask)
            return []
        del self._missing[order]
        return [fact.Absent(order, missing.asked_at)]

    def _order_row(self, order: str, index: int, row: wire.OrderRow) -> Sequence[Fact]:
        if row.client_order_id != order or row.symbol != self.symbols[index]:
            raise ValueError("the answer is about another order")
        self._private.learn(str(row.order_id), order)
        return wire.order_facts(self._grid("order", row.symbol), row)

    def _instruments_answer(self, rows: Sequence[Raw]) -> Sequence[Fact]:
        listed: dict[int, Instrument] = {}

        def read(index: int, row: Raw) -> Sequence[Fact]:
            contract = wire.CONTRACT.decode(row)
            listed[index] = wire.instrument_of(index, self.symbols[index], contract)
            return [wire.assumed_tiers(index, contract)]

        told = each(What.INSTRUMENTS, rows, self._index, read)
        self._listed = {self.symbols[index]: listed[index] for index in sorted(listed)}
        return [fact.Listed(tuple(self._listed.values())), *told]

    def _settings_answer(self, rows: Sequence[wire.SymbolConfig]) -> Sequence[Fact]:
        facts: list[Fact] = []
        for row in rows:
            if (index := self._index.get(row.symbol)) is None:
                continue
            if row.separated_type == "SEPARATED":
                raise ValueError(f"positions in {row.symbol} are separated, so none could be closed: combine them")
            self._isolated[index] = wire.ISOLATED[row.margin_type]
            facts.append(fact.Leverage(index, wire.leverage_of(row), self._isolated[index]))
        return facts

    def _account_answer(self, call: Call, rows: Sequence[wire.Asset], asked_at: int) -> Sequence[Fact]:
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        streamed = self._moved_at is not None and call.at >= self._moved_at
        facts = wire.account_facts(rows, next(iter(self._listed.values())).settle, asked_at, streamed=streamed)
        if streamed:
            self._moved_at = None
        return facts

    def _positions_answer(self, rows: Sequence[wire.PositionRow], asked_at: int) -> Sequence[Fact]:
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        held, strangers = [], []
        for row in rows:
            if row.symbol in self._listed:
                held.append(wire.position_of(self._listed[row.symbol], row, row.margin_type))
            elif number(str(row.size)) and row.symbol not in strangers:
                strangers.append(row.symbol)
        return [fact.Positions(tuple(held), tuple(strangers), asked_at)]

    def _orders_answer(self, ask: Ask, rows: Sequence[wire.OrderRow], asked_at: int) -> Sequence[Fact]:
        """All open orders, page by page, as of when the first page was asked for."""
        if not self._listed:
            raise ValueError("the instruments are not listed yet")
        if ask.since is None:
            self._rows, self._rows_at = [], asked_at
        for row in rows:
            if row.status in wire.ENDS or row.status == wire.WAITING:
                continue
            self._private.learn(str(row.order_id), row.client_order_id)
            self._rows.append(wire.open_order(self._listed.get(row.symbol), self._index.get(row.symbol), row))
        if len(rows) >= terms.OPEN_PAGE:
            self._want(Ask(What.ORDERS, since=str(int(ask.since or 0) + 1)))
            return []
        return [fact.Orders(tuple(self._rows), self._rows_at)]
