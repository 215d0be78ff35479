"""The websocket side of MEXC's contract interface: one address for all, subscriptions by method, private after a login.

A message has no number of its own: its answer names its method. A client must ping; the venue answers every ping twice
and closes a socket that has not pinged for a minute. After a login everything about the account is pushed, unless the
login or a filter says otherwise, and nothing of what is already there.
"""

import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from adapters.simulator.book import BUY, SELL
from adapters.simulator.mexc_views import View, Views
from adapters.simulator.orders import Amended, Closed, Event, Filled, LeverageChanged, Opened, WalletChanged
from adapters.simulator.side import Key, Sockets

IDLE_MS = 60_000
"""A socket without a ping for so long is closed."""
LOGIN_WINDOW_MS = 10_000
_FASTEST_MS = 10
_DEPTHS = (5, 10, 20)
_BY_FILTER = {
    "push.personal.order": "order",
    "push.personal.order.deal": "order.deal",
    "push.personal.position": "position",
    "push.personal.asset": "asset",
    "push.personal.risk.limit": "risk.limit",
}

encode = msgspec.json.encode

Render = Callable[[int], Iterable[View | list[View]]]
"""What a stream has to say at a time: objects, or for one of them all rows at once."""


class Session:
    """One websocket connection: what it has subscribed to, and whose account it has logged in to."""

    def __init__(self, number: int, opened_ms: int) -> None:
        self.number = number
        self.pinged_ms = opened_ms
        self.closed = False
        self.account: str | None = None
        self.filters: frozenset[str] | None = None
        """The private events that it wants; None: all."""

    @property
    def private(self) -> bool:
        """Whether it carries an account's events."""
        return self.account is not None


class Stream:
    """Something that can be subscribed to: who has, and when it is next looked at; without an interval, always."""

    def __init__(self, interval_ms: int, render: Render) -> None:
        self.interval_ms = interval_ms
        self.render = render
        self.sessions: dict[int, Session] = {}
        self.due_ms = 0


Name = tuple[str, str, int]
"""A channel, a symbol where it is about one, and a depth where it has one."""


class Streams(Sockets[Session]):
    """All sessions and the streams that they have subscribed to."""

    def __init__(self, views: Views, keys: Mapping[str, Key], mark_pace: float) -> None:
        super().__init__(views.exchange)
        self.views = views
        self._keys = keys
        self._pace_ms = max(_FASTEST_MS, round(1_000 / mark_pace))
        self._streams: dict[Name, Stream] = {}

    @property
    def due_ms(self) -> int:
        """When the next stream is published."""
        return min((stream.due_ms for stream in self._streams.values() if stream.interval_ms), default=1 << 62)

    def connect(self, now_ms: int) -> Session:
        """Open a session."""
        self._count += 1
        session = self.sessions[self._count] = Session(self._count, now_ms)
        self._watch(session, now_ms)
        return session

    def _watch(self, session: Session, now_ms: int) -> None:
        def look(at_ms: int) -> None:
            if session.closed:
                return
            if at_ms - session.pinged_ms >= IDLE_MS:
                self.close(session)
            else:
                self._watch(session, session.pinged_ms)

        self.exchange.at(now_ms + IDLE_MS, look)

    def forget(self, session: Session) -> None:
        """Drop a session whose socket is gone."""
        super().forget(session)
        for stream in self._streams.values():
            stream.sessions.pop(session.number, None)
        self._streams = {name: stream for name, stream in self._streams.items() if stream.sessions}

    def receive(self, session: Session, text: str | bytes, now_ms: int) -> list[bytes]:
        """The answers to a message."""
        if session.closed:
            return []
        try:
            message = msgspec.json.decode(text)
            method, param = str(message["method"]), message.get("param") or {}
            if method == "ping":
                session.pinged_ms = now_ms
                return [encode({"channel": "pong", "data": now_ms})] * 2
            told = self._obey(session, method, param, message.get("subscribe") is not False, now_ms)
        except (msgspec.DecodeError, TypeError, KeyError, AttributeError, ValueError):
            return [encode(self._answer("rs.error", "Invalid request!", now_ms))]
        return [encode(self._answer("rs.error" if told else f"rs.{method}", told or "success", now_ms))]

    def _answer(self, channel: str, data: str, now_ms: int) -> View:
        return {"channel": channel, "data": data, "ts": str(now_ms)}

    def _obey(self, session: Session, method: str, param: dict[str, Any], pushes: bool, now_ms: int) -> str:
        """Do what a message asks for; gives why not, if not."""
        if method == "login":
            return self._login(session, param, pushes, now_ms)
        if method == "personal.filter":
            wanted = param.get("filters") or []
            session.filters = frozenset(str(one.get("filter")) for one in wanted) if wanted else None
            return "" if session.private else "Please login first!"
        verb, _, channel = method.partition(".")
        if verb not in ("sub", "unsub"):
            return f"method {method} not exist!"
        name = (channel, self.views.symbols.get(str(param.get("symbol")), ""), int(param.get("limit") or 20))
        if "symbol" in param and not name[1]:
            return "Contract doesn't exist!"
        if verb == "unsub":
            for known, heard in self._streams.items():
                if known[:2] == name[:2]:
                    heard.sessions.pop(session.number, None)
            return ""
        stream = self._streams.get(name) or self._make(*name)
        if stream is None:
            return f"channel {channel} not exist!"
        stream.due_ms = stream.due_ms or (now_ms // max(1, stream.interval_ms) + 1) * stream.interval_ms
        stream.sessions[session.number] = session
        self._streams[name] = stream
        return ""

    def _login(self, session: Session, param: dict[str, Any], pushes: bool, now_ms: int) -> str:
        name, stamp = str(param.get("apiKey")), str(param.get("reqTime"))
        key = self._keys.get(name)
        if key is None or not stamp.isdecimal() or abs(now_ms - int(stamp)) > LOGIN_WINDOW_MS:
            return "login failed: invalid key or time!"
        wanted = key.verifier.digest(f"{name}{stamp}".encode()).hex()
        if not hmac.compare_digest(wanted, str(param.get("signature"))):
            return "login failed: confirming signature failed!"
        session.account, session.filters = key.account.api_key, None if pushes else frozenset()
        return ""

    def publish(self, now_ms: int) -> None:
        """Render every stream that is due, once for all who subscribed to it."""
        for (channel, symbol, _), stream in list(self._streams.items()):
            if stream.interval_ms and now_ms < stream.due_ms:
                continue
            stream.due_ms = (now_ms // max(1, stream.interval_ms) + 1) * stream.interval_ms
            for view in stream.render(now_ms):
                frame = {"channel": f"push.{channel}", "data": view, "ts": now_ms}
                if symbol:
                    frame["symbol"] = self.views.names[symbol]
                raw = encode(frame)
                self.outbox.extend((session, raw) for session in stream.sessions.values())

    def _make(self, channel: str, symbol: str, limit: int) -> Stream | None:
        """The stream of a name; None for one this exchange does not have."""
        views, names = self.views, list(self.views.names)
        match channel:
            case "ticker" if symbol:
                return Stream(self._pace_ms, lambda now_ms: [views.ticker(symbol, now_ms)])
            case "tickers":
                return Stream(self._pace_ms, lambda now_ms: [[views.ticker(one, now_ms) for one in names]])
            case "fair.price" | "index.price" | "funding.rate" if symbol:
                return Stream(self._pace_ms, lambda now_ms: [self._price(channel, symbol, now_ms)])
            case "depth.full" if symbol and limit in _DEPTHS:
                return Stream(0, self._book(symbol, limit))
            case "depth" if symbol:
                return Stream(0, self._differences(symbol))
            case "contract":
                return Stream(0, self._contracts())
            case "deal" | "kline" if symbol:  # nobody trades here but clients, and their trades are not public
                return Stream(self._pace_ms, lambda now_ms: [])
        return None

    def _price(self, channel: str, symbol: str, now_ms: int) -> View:
        row = self.views.ticker(symbol, now_ms)
        if channel == "funding.rate":
            next_ms = self.exchange.next_funding_ms(symbol)
            return {"symbol": row["symbol"], "rate": row["fundingRate"], "nextSettleTime": next_ms}
        return {"symbol": row["symbol"], "price": row["fairPrice" if channel == "fair.price" else "indexPrice"]}

    def _book(self, symbol: str, limit: int) -> Render:
        last = 0

        def render(now_ms: int) -> list[View]:
            nonlocal last
            book = self.exchange.books[symbol]
            if book.update_id == last:
                return []
            last = book.update_id
            sides = {"asks": book.levels(SELL)[:limit], "bids": book.levels(BUY)[:limit]}
            return [{side: self.views.levels(symbol, levels) for side, levels in sides.items()} | {"version": last}]

        return render

    def _differences(self, symbol: str) -> Render:
        book = self.exchange.books[symbol]
        tracker, last = book.track(), book.update_id

        def render(now_ms: int) -> list[View]:
            nonlocal last
            if book.update_id == last:
                return []
            changed = tracker.differences()
            sides = {"asks": self.views.levels(symbol, changed[SELL]), "bids": self.views.levels(symbol, changed[BUY])}
            span = {"begin": last + 1, "end": book.update_id, "version": book.update_id}
            last = book.update_id
            return [{**sides, **span}]

        return render

    def _contracts(self) -> Render:
        shown = dict(self.exchange.instruments)

        def render(now_ms: int) -> list[View]:
            changed = [symbol for symbol, one in self.exchange.instruments.items() if shown[symbol] is not one]
            shown.update(self.exchange.instruments)
            return [self.views.contract(symbol) for symbol in changed]

        return render

    # The account

    def tell(self, event: Event) -> None:
        """Push an event of the exchange to those who have logged in to its account."""
        positions = self.views.note(event)
        match event:
            case Opened(order) | Amended(order) | Closed(order):
                self._tell_order(order)
            case Filled(order, fill):
                deal = {
                    **self.views.deal(fill),
                    "isTaker": not fill.maker,
                    "isSelf": False,
                    "externalOid": self.views.order(order)["externalOid"],
                    "reduceOnly": order.reduce_only,
                }
                self._tell(order.account, "push.personal.order.deal", deal)
                self._tell_order(order)
                self._tell_wallet(order.account, positions)
            case WalletChanged(account):
                self._tell_wallet(account, positions)
            case LeverageChanged(account, symbol):
                self._tell_limits(account, symbol)

    def _tell_order(self, order: Any) -> None:
        self.views.versions[order.id] = self.views.versions.get(order.id, 0) + 1
        self._tell(order.account, "push.personal.order", self.views.order(order))

    def _tell_wallet(self, account: str, positions: list[View]) -> None:
        for position in positions:
            shown = {name: value for name, value in position.items() if name not in ("createTime", "updateTime")}
            self._tell(account, "push.personal.position", shown)
        asset = self.views.asset(self.exchange.accounts[account])
        shown = {
            name: asset[name] for name in ("availableBalance", "bonus", "currency", "frozenBalance", "positionMargin")
        }
        self._tell(account, "push.personal.asset", shown)

    def _tell_limits(self, account: str, symbol: str) -> None:
        one, holder = self.exchange.instruments[symbol], self.exchange.accounts[account]
        first = self.views.tiers(one)[0]
        for direction in (1, 2):
            limit = {
                **first,
                "symbol": self.views.names[symbol],
                "positionType": direction,
                "riskSource": 0,
                "leverage": holder.leverage(symbol),
                "openType": 1 if holder.is_isolated(symbol) else 2,
                "limitBySys": False,
            }
            self._tell(account, "push.personal.risk.limit", limit)

    def tell_mode(self, account: str) -> None:
        """Push the position mode."""
        mode = 1 if self.exchange.accounts[account].hedge else 2
        self._tell(account, "push.personal.position.mode", {"positionMode": mode})

    def _tell(self, account: str, channel: str, data: View) -> None:
        raw = b""
        wanted = _BY_FILTER.get(channel)
        for session in self.sessions.values():
            if session.account == account and (session.filters is None or wanted in session.filters):
                raw = raw or encode({"channel": channel, "data": data, "ts": self.exchange.now_ms})
                self.outbox.append((session, raw))

    def step_clock(self, ms: int) -> None:
        """Note that the exchange's clock is stepped by so much."""
        for stream in self._streams.values():
            stream.due_ms += ms
        for session in self.sessions.values():
            session.pinged_ms += ms
