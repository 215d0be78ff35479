"""The websocket side of Binance USDⓈ-M: sessions, subscriptions, what is pushed and when.

Three kinds of path serve three kinds of stream: `/public` books, `/market` prices, `/private` an
account's events. A subscription on the wrong one is acknowledged and stays silent, as is a listen
key that does not exist.
"""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from adapters.simulator.arithmetic import on_grid
from adapters.simulator.binance_frames import (
    account_frame,
    contract_frame,
    fill_frame,
    mark_frame,
    order_frame,
    product,
    trade_lite_frame,
)
from adapters.simulator.binance_views import View
from adapters.simulator.book import BUY, SELL, Level
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import (
    ZERO,
    Amended,
    AssetModeChanged,
    Closed,
    Event,
    Filled,
    LeverageChanged,
    Opened,
    WalletChanged,
)
from adapters.simulator.side import Sockets
from adapters.simulator.signing import decode_pairs

MOST_STREAMS = 1_024
MOST_MESSAGES_PER_SECOND = 10

REQUESTS = "ws-fapi"
"""The path, and here the category, of sockets that take requests."""

_CATEGORIES = ("public", "market", "private", REQUESTS)
_DEPTHS = {"depth5": 5, "depth10": 10, "depth20": 20}
_SPEEDS = {"": 250, "100ms": 100, "250ms": 250, "500ms": 500}

encode = msgspec.json.encode


_FASTEST_MARKS_MS = 10


class Session:
    """One websocket connection: its category, its subscriptions, how its frames are wrapped."""

    def __init__(self, number: int, category: str, *, combined: bool, opened_ms: int) -> None:
        self.number = number
        self.category = category
        self.combined = combined
        self.opened_ms = opened_ms
        self.names: dict[str, None] = {}
        self.listen_keys: list[str] = []
        self.events: frozenset[str] = frozenset()
        self.closed = False
        self.key: str | None = None
        """The API key that a session for requests was logged on with, …"""
        self.key_since_ms = 0
        """… and since when."""
        self.counts = True
        """Whether answers say how much of the limits is used."""
        self._second = 0
        self._messages = 0

    def may_speak(self, now_ms: int) -> bool:
        """Count a message from the client; False when it has sent too many this second."""
        if now_ms // 1000 != self._second:
            self._second, self._messages = now_ms // 1000, 0
        self._messages += 1
        return self._messages <= MOST_MESSAGES_PER_SECOND

    @property
    def private(self) -> bool:
        """Whether it carries an account's events."""
        return bool(self.listen_keys) or self.asks

    @property
    def asks(self) -> bool:
        """Whether it takes requests, and brings their answers and nothing else."""
        return self.category == REQUESTS

    def serves(self, category: str) -> bool:
        """Whether streams of a category are delivered here."""
        return self.category in (category, "all")


class Stream:
    """Something that can be subscribed to: who has, and when it is next published."""

    def __init__(self, name: str, category: str, interval_ms: int) -> None:
        self.name = name
        self.category = category
        self.interval_ms = interval_ms
        self.sessions: dict[int, Session] = {}
        self.due_ms = 0
        self.render: Callable[[int], list[View]] = lambda now_ms: []


class ListenKey(Struct):
    """The key of an account's private stream."""

    key: str
    account: str
    expires_ms: int


class Streams(Sockets[Session]):
    """All sessions, what they have subscribed to, and the keys of accounts' streams."""

    def __init__(self, exchange: Exchange, *, unrouted: str, session_life_ms: int, mark_pace: float) -> None:
        super().__init__(exchange)
        self._mark_pace = mark_pace
        self.listen_keys: dict[str, ListenKey] = {}
        self._unrouted = unrouted
        self._session_life_ms = session_life_ms
        self._streams: dict[str, Stream] = {}
        self._timed: list[Stream] = []
        self._on_change: list[Stream] = []
        self._due_ms = 1 << 62

    @property
    def due_ms(self) -> int:
        """When the next timed stream is published."""
        return self._due_ms

    def connect(self, target: str, now_ms: int) -> Session:
        """Open a session on a path such as `/market/stream?streams=btcusdt@markPrice@1s`."""
        parts = urlsplit(target)
        path = [unquote(part) for part in parts.path.split("/") if part]
        category = path.pop(0) if path and path[0] in _CATEGORIES else self._unrouted
        kind = path.pop(0) if path else ""
        self._count += 1
        session = Session(self._count, category, combined=kind == "stream", opened_ms=now_ms)
        self.sessions[session.number] = session
        self.exchange.at(now_ms + self._session_life_ms, lambda _: self.close(session))
        names = list(path)
        for pair in parts.query.split("&"):
            name, _, value = pair.partition("=")
            if name == "streams":
                names.extend(unquote(value).split("/"))
            elif name == "listenKey":
                session.listen_keys.append(value)
        pairs = decode_pairs(parts.query)
        session.counts = pairs.get("returnRateLimits") != "false"
        events = pairs.get("events")
        session.events = frozenset(events.split("/")) if events else frozenset()
        self._subscribe(session, [name for name in names if name])
        return session

    def forget(self, session: Session) -> None:
        """Drop a session whose socket is gone."""
        super().forget(session)
        for name in session.names:
            stream = self._streams.get(name)
            if stream is not None:
                stream.sessions.pop(session.number, None)
        self._prune()

    def receive(self, session: Session, text: str | bytes, now_ms: int) -> list[bytes]:
        """Answer a control message: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, …"""
        if session.closed:
            return []
        if not session.may_speak(now_ms):
            self.close(session)
            return []
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            return [encode({"code": 3, "msg": f"Invalid JSON: {error}"})]
        if not isinstance(message, dict) or "method" not in message:
            return [encode({"code": 2, "msg": "Invalid request: missing field `method`"})]
        return [encode(self._answer(session, message))]

    def publish(self, now_ms: int) -> None:
        """Render every stream that is due or has changed, once for all who subscribed to it."""
        if now_ms >= self._due_ms:
            for stream in self._timed:
                if now_ms >= stream.due_ms:
                    self._push(stream, now_ms)
                    stream.due_ms = (now_ms // stream.interval_ms + 1) * stream.interval_ms
            self._due_ms = min((stream.due_ms for stream in self._timed), default=1 << 62)
        for stream in self._on_change:
            self._push(stream, now_ms)

    def tell(self, event: Event) -> None:
        """Push an event of the exchange to the private streams of its account."""
        now_ms = self.exchange.now_ms
        match event:
            case Opened(order):
                self._tell_order(order.account, order_frame, order, "NEW", now_ms)
            case Amended(order):
                self._tell_order(order.account, order_frame, order, "AMENDMENT", now_ms)
            case Closed(order):
                self._tell_order(order.account, order_frame, order, order.status, now_ms)
            case Filled():
                self._tell_fill(event, now_ms)
            case WalletChanged():
                asset = self.exchange.accounts[event.account].asset
                self._tell(
                    event.account,
                    account_frame(
                        asset,
                        event.wallet,
                        event.cross_wallet,
                        event.change,
                        event.kind,
                        event.at_ms,
                        now_ms,
                        changed=event.positions,
                        taker_fee=self.exchange.fees.taker,
                        symbol=event.symbol,
                    ),
                )
            case AssetModeChanged():
                mode = {"j": event.multi}
                frame = {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": event.at_ms, "ai": mode}
                self._tell(event.account, frame)
            case LeverageChanged():
                self._tell(
                    event.account,
                    {
                        "e": "ACCOUNT_CONFIG_UPDATE",
                        "E": now_ms,
                        "T": event.at_ms,
                        "ac": {"s": event.symbol, "l": event.leverage},
                    },
                )

    def expire(self, key: str, now_ms: int, *, told: bool = True) -> bool:
        """End a listen key and say so on its sockets, which then stay open and silent; whether there was one."""
        found = self.listen_keys.pop(key, None)
        if found is None:
            return False
        if told:
            frame: View = {"e": "listenKeyExpired", "E": now_ms, "listenKey": key}
            self._send_private(self._holders(key), key, frame)
        return True

    def step_clock(self, ms: int) -> None:
        """Note that the exchange's clock is stepped by so much."""
        for stream in self._timed:
            stream.due_ms += ms
        self._due_ms += ms
        for key in self.listen_keys.values():
            key.expires_ms += ms

    def _holders(self, key: str) -> list[Session]:
        return [s for s in self.sessions.values() if key in s.listen_keys]

    def _tell_order(self, account: str, render: Callable[..., View], order: Any, execution: str, now_ms: int) -> None:
        self._tell(account, render(order, execution, self.exchange.instruments[order.symbol], now_ms))

    def _tell_fill(self, event: Filled, now_ms: int) -> None:
        account = event.order.account
        asset = self.exchange.accounts[account].asset
        one = self.exchange.instruments[event.order.symbol]
        if not event.forced:
            self._tell(account, trade_lite_frame(event.order, event.fill, one, now_ms))
        self._tell(
            account,
            account_frame(
                asset,
                event.wallet,
                event.cross_wallet,
                ZERO,
                "ORDER",
                event.fill.at_ms,
                now_ms,
                changed=[event.position],
                taker_fee=self.exchange.fees.taker,
            ),
        )
        self._tell(account, fill_frame(event.order, event.fill, one, now_ms, forced=event.forced))

    def _tell(self, account: str, frame: View) -> None:
        for key in list(self.listen_keys.values()):
            if key.account == account:
                self._send_private(self._holders(key.key), key.key, frame)

    def _send_private(self, sessions: list[Session], key: str, frame: View) -> None:
        if not sessions:
            return
        raw = encode(frame)
        wrapped = encode({"stream": key, "data": msgspec.Raw(raw)})
        for session in sessions:
            if session.serves("private") and (not session.events or frame["e"] in session.events):
                self.outbox.append((session, wrapped if session.combined else raw))

    def _answer(self, session: Session, message: dict[str, Any]) -> View:
        number = message.get("id")
        params = message.get("params") or []
        match message["method"]:
            case "SUBSCRIBE":
                if len(session.names) + len(params) > MOST_STREAMS:
                    return {"error": {"code": 2, "msg": "Invalid request: too many"}, "id": number}
                self._subscribe(session, [str(name) for name in params])
            case "UNSUBSCRIBE":
                self._unsubscribe(session, [str(name) for name in params])
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(session.names), "id": number}
            case "SET_PROPERTY" if params[:1] == ["combined"] and len(params) == 2:
                session.combined = bool(params[1])
            case "GET_PROPERTY":
                return {"result": session.combined, "id": number}
            case other:
                return {
                    "code": 2,
                    "msg": f"Invalid request: unknown variant {other}, expected one of SUBSCRIBE, "
                    "UNSUBSCRIBE, LIST_SUBSCRIPTIONS, SET_PROPERTY, GET_PROPERTY",
                }
        return {"result": None, "id": number}

    def _subscribe(self, session: Session, names: Iterable[str]) -> None:
        for name in names:
            session.names[name] = None
            if name in self.listen_keys or (len(name) == 64 and "@" not in name):
                session.listen_keys.append(name)
                continue
            stream = self._streams.get(name) or self._make(name)
            if stream is not None and session.serves(stream.category):
                self._streams[name] = stream
                stream.sessions[session.number] = session
        self._prune()

    def _unsubscribe(self, session: Session, names: Iterable[str]) -> None:
        for name in names:
            session.names.pop(name, None)
            if name in session.listen_keys:
                session.listen_keys.remove(name)
            if name in self._streams:
                self._streams[name].sessions.pop(session.number, None)
        self._prune()

    def _prune(self) -> None:
        """Keep only streams that somebody listens to, and know when the next is due."""
        self._streams = {name: s for name, s in self._streams.items() if s.sessions}
        now_ms = self.exchange.now_ms
        self._timed = [stream for stream in self._streams.values() if stream.interval_ms]
        self._on_change = [stream for stream in self._streams.values() if not stream.interval_ms]
        for stream in self._timed:
            if not stream.due_ms:
                stream.due_ms = (now_ms // stream.interval_ms + 1) * stream.interval_ms
        self._due_ms = min((stream.due_ms for stream in self._timed), default=1 << 62)

    def _push(self, stream: Stream, now_ms: int) -> None:
        for view in stream.render(now_ms):
            raw = encode(view)
            wrapped = b""
            for session in stream.sessions.values():
                if session.combined:
                    wrapped = wrapped or encode({"stream": stream.name, "data": msgspec.Raw(raw)})
                self.outbox.append((session, wrapped if session.combined else raw))

    def _make(self, name: str) -> Stream | None:
        """The stream of a name; None for one this exchange does not have."""
        what, _, rest = name.partition("@")
        kind, _, speed = rest.partition("@")
        books = self.exchange.books
        if what == "!markPrice" and kind == "arr" and speed in ("", "1s"):
            stream = Stream(name, "market", self._mark_interval_ms(speed))
            stream.render = self._marks(list(books))
            return stream
        if what == "!contractInfo" and not kind:
            return self._listings(Stream(name, "market", 0))
        if what == "!bookTicker" and not kind:
            return self._ticker(Stream(name, "public", 0), list(books))
        symbol = what.upper()
        if symbol not in books or what != what.lower():
            return None
        return self._make_one(name, symbol, kind, speed)

    def _make_one(self, name: str, symbol: str, kind: str, speed: str) -> Stream | None:
        if kind == "markPrice" and speed in ("", "1s"):
            stream = Stream(name, "market", self._mark_interval_ms(speed))
            stream.render = lambda now_ms: [mark_frame(self.exchange, symbol, now_ms)]
            return stream
        if kind == "bookTicker" and not speed:
            return self._ticker(Stream(name, "public", 0), [symbol])
        if kind in _DEPTHS and speed in _SPEEDS:
            stream = Stream(name, "public", _SPEEDS[speed])
            stream.render = self._top(symbol, _DEPTHS[kind])
            return stream
        if kind == "depth" and speed in ("", "100ms", "250ms", "500ms"):
            stream = Stream(name, "public", _SPEEDS[speed])
            stream.render = self._differences(symbol)
            return stream
        return None

    def _mark_interval_ms(self, speed: str) -> int:
        return max(_FASTEST_MARKS_MS, round((1000 if speed else 3000) / self._mark_pace))

    def _marks(self, symbols: list[str]) -> Callable[[int], list[View]]:
        def render(now_ms: int) -> list[View]:
            rows = [mark_frame(self.exchange, symbol, now_ms) for symbol in symbols]
            return [rows]  # type: ignore[list-item]  # this one stream's event is an array

        return render

    def _listings(self, stream: Stream) -> Stream:
        """Listings whose status or brackets change."""
        exchange = self.exchange
        shown, number = dict(exchange.instruments), exchange.listings_changed

        def render(now_ms: int) -> list[View]:
            nonlocal number
            if number == exchange.listings_changed:
                return []
            number = exchange.listings_changed
            frames: list[View] = []
            for symbol, one in exchange.instruments.items():
                if (one.status, one.brackets) != (shown[symbol].status, shown[symbol].brackets):
                    frames.append(contract_frame(one, now_ms))
            shown.update(exchange.instruments)
            return frames

        stream.render = render
        return stream

    def _ticker(self, stream: Stream, symbols: list[str]) -> Stream:
        seen = dict.fromkeys(symbols, 0)
        books = self.exchange.books

        def render(now_ms: int) -> list[View]:
            frames: list[View] = []
            for symbol in symbols:
                book = books[symbol]
                if book.update_id != seen[symbol]:
                    seen[symbol] = book.update_id
                    frames.append(self._ticker_frame(symbol, now_ms))
            return frames

        stream.render = render
        return stream

    def _ticker_frame(self, symbol: str, now_ms: int) -> View:
        book, one = self.exchange.books[symbol], self.exchange.instruments[symbol]
        bid, ask = level_text(book.best_bid, one), level_text(book.best_ask, one)
        return {
            "e": "bookTicker",
            "u": book.update_id,
            "s": symbol,
            "ps": one.pair,
            "b": bid[0],
            "B": bid[1],
            "a": ask[0],
            "A": ask[1],
            "T": book.changed_ms,
            "E": now_ms,
            "st": product(one),
        }

    def _top(self, symbol: str, depth: int) -> Callable[[int], list[View]]:
        last = 0

        def render(now_ms: int) -> list[View]:
            nonlocal last
            book, one = self.exchange.books[symbol], self.exchange.instruments[symbol]
            if book.update_id == last:
                return []
            frame = self._depth_frame(symbol, last, now_ms)
            last = book.update_id
            frame["b"] = [level_text(level, one) for level in book.levels(BUY)[:depth]]
            frame["a"] = [level_text(level, one) for level in book.levels(SELL)[:depth]]
            return [frame]

        return render

    def _differences(self, symbol: str) -> Callable[[int], list[View]]:
        tracker = self.exchange.books[symbol].track()
        last = self.exchange.books[symbol].update_id

        def render(now_ms: int) -> list[View]:
            nonlocal last
            book, one = self.exchange.books[symbol], self.exchange.instruments[symbol]
            if book.update_id == last:
                return []
            frame = self._depth_frame(symbol, last, now_ms)
            last = book.update_id
            changed = tracker.differences()
            frame["b"] = [level_text(level, one) for level in changed[BUY]]
            frame["a"] = [level_text(level, one) for level in changed[SELL]]
            return [frame]

        return render

    def _depth_frame(self, symbol: str, last: int, now_ms: int) -> View:
        book, one = self.exchange.books[symbol], self.exchange.instruments[symbol]
        return {
            "e": "depthUpdate",
            "E": now_ms,
            "T": book.changed_ms,
            "s": symbol,
            "ps": one.pair,
            "U": (last or book.update_id - 1) + 1,
            "u": book.update_id,
            "pu": last or book.update_id - 1,
            "st": product(one),
        }


def level_text(level: Level, one: Instrument) -> list[str]:
    """A price level as the wire writes it."""
    return [
        on_grid(level[0], one.price_decimals),
        on_grid(level[1], one.quantity_decimals),
    ]
