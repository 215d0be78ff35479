"""The websocket side of Bybit v5: sessions, logging in, subscriptions, what is pushed and when.

A path serves the topics of one kind of contract, or an account's own after a login. Tickers and deep books come whole
first and then as what has changed; the best prices always come whole, and again after three seconds without a change.
"""

import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from adapters.simulator import bybit_entry
from adapters.simulator.book import BUY, SELL, Book
from adapters.simulator.bybit_call import CATEGORIES, View, category_of
from adapters.simulator.bybit_public import level_text
from adapters.simulator.bybit_views import AccountView, execution_row, order_row, ticker_row
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import Amended, Closed, Event, Filled, LeverageChanged, Opened, Order, WalletChanged
from adapters.simulator.side import Sockets

if TYPE_CHECKING:
    from adapters.simulator.bybit import Bybit

encode = msgspec.json.encode

IDLE_MS = 600_000
"""Without a word from the client for so long a session is closed."""
MOST_TOPICS_CHARACTERS = 21_000
PRIVATE = ("order", "execution", "position", "wallet")
TRADE = "trade"
"""The path, and the kind of sessions, that take orders."""
REPEAT_MS = 3_000
_DEPTHS = (1, 50, 200, 1000)
_FASTEST_MS = 10
_TICKER_MS = 100


class Session:
    """One websocket connection: what its path serves, whose account it has logged in to, its topics."""

    def __init__(self, number: int, kind: str, now_ms: int) -> None:
        self.number = number
        self.kind = kind
        """A category, `private`, `trade`, or nothing where the path leads nowhere."""
        self.requests: set[str] = set()
        """Ids of requests that were made on it."""
        self.account: str | None = None
        self.topics: dict[str, None] = {}
        self.heard_ms = now_ms
        self.closed = False

    @property
    def private(self) -> bool:
        """Whether it carries an account's events."""
        return self.kind == "private"

    @property
    def name(self) -> str:
        """Its id on the wire."""
        return f"local-{self.number:08d}"


class Feed:
    """A public topic: who wants it, when it is looked at next, and what was told last."""

    def __init__(self, render: "Callable[[Feed, int], View | None]", interval_ms: int) -> None:
        self.render = render
        self.interval_ms = interval_ms
        self.sessions: dict[int, Session] = {}
        self.fresh: dict[int, Session] = {}
        """Those that have not had it whole yet."""
        self.due_ms = 0
        self.told_ms = 0
        self.last: Any = None


class Streams(Sockets[Session]):
    """All sessions and the topics that they have subscribed to."""

    def __init__(self, bybit: "Bybit", *, mark_pace: float) -> None:
        self.bybit = bybit
        super().__init__(bybit.exchange)
        self._ticker_ms = max(_FASTEST_MS, round(_TICKER_MS / mark_pace))
        self._feeds: dict[str, Feed] = {}
        self._due_ms = 1 << 62
        self._dice = random.Random(self.exchange.random.getrandbits(32))

    @property
    def due_ms(self) -> int:
        """When a topic is looked at next."""
        return self._due_ms

    # Sessions

    def connect(self, target: str, now_ms: int) -> Session:
        """Open a session on a path such as `/v5/public/linear`."""
        path = target.partition("?")[0].strip("/").split("/")
        kind = path[-1] if path[:2] == ["v5", "public"] else ""
        if path in (["v5", "private"], ["v5", TRADE]):
            kind = path[-1]
        self._count += 1
        session = Session(self._count, kind if kind in (*CATEGORIES, "private", TRADE) else "", now_ms)
        self.sessions[session.number] = session
        self._watch(session, now_ms)
        return session

    def _watch(self, session: Session, now_ms: int) -> None:
        def look(at_ms: int) -> None:
            if at_ms >= session.heard_ms + IDLE_MS:
                self.close(session)
            elif not session.closed:
                self._watch(session, session.heard_ms)

        self.exchange.at(now_ms + IDLE_MS, look)

    def forget(self, session: Session) -> None:
        """Note that a client has gone."""
        super().forget(session)
        for feed in self._feeds.values():
            feed.sessions.pop(session.number, None)
            feed.fresh.pop(session.number, None)
        self._feeds = {name: feed for name, feed in self._feeds.items() if feed.sessions}

    def receive(self, session: Session, text: str | bytes, now_ms: int) -> list[bytes]:
        """The answers to a message from a client."""
        if session.closed:
            return []
        session.heard_ms = now_ms
        if session.kind == TRADE:
            return [bybit_entry.answer(self.bybit, session, text, now_ms)]
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return [encode(self._answer(session, "", "", "error:request parse failed"))]
        if not isinstance(message, dict) or not isinstance(message.get("op"), str):
            return [encode(self._answer(session, "", "", "error:request parse failed"))]
        args = message.get("args")
        number = str(message.get("req_id", ""))
        return [encode(self._obey(session, message["op"], args if isinstance(args, list) else [], number, now_ms))]

    def _answer(self, session: Session, op: str, number: str, wrong: str = "") -> View:
        return {"success": not wrong, "ret_msg": wrong, "conn_id": session.name, "req_id": number, "op": op}

    def _obey(self, session: Session, op: str, args: list[Any], number: str, now_ms: int) -> View:
        match op:
            case "ping" if session.private:
                return {"req_id": number, "op": "pong", "args": [str(now_ms)], "conn_id": session.name}
            case "ping":
                return {**self._answer(session, op, number), "ret_msg": "pong"}
            case "auth" if session.private and len(args) == 3:
                wrong = self.log_in(session, args, now_ms)
                return {"success": not wrong, "ret_msg": wrong, "op": op, "conn_id": session.name, "req_id": number}
            case "subscribe":
                return self._answer(session, op, number, self._subscribe(session, [str(one) for one in args]))
            case "unsubscribe":
                self._unsubscribe(session, [str(one) for one in args])
                return self._answer(session, op, number)
            case _:
                return self._answer(session, op, number, f"error:handler not found,op:{op[:40]}")

    def log_in(self, session: Session, args: list[Any], now_ms: int) -> str:
        """Why somebody is not let in; nothing when he is."""
        name, expires, signature = args
        key = self.bybit.keys.get(str(name))
        if key is None or key.has_expired(now_ms):
            return "error:API key is invalid."
        until = str(expires)  # clients send it as a number or as text
        if not until.isdecimal() or int(until) <= now_ms:
            return "error:Params Error: expires is over"
        if not key.verifier.accepts(f"GET/realtime{until}", str(signature)):
            return "error:error sign!"
        session.account = key.account.api_key
        return ""

    def _subscribe(self, session: Session, topics: list[str]) -> str:
        """Why a request is refused, which it is for one topic that is not known; nothing when all are."""
        for topic in topics:
            if topic in session.topics:
                return f"error:already subscribed,topic:{topic}"
            known = topic.split(".")[0] in PRIVATE if session.private else self._feed(session, topic) is not None
            if not known:
                return f"error:handler not found,topic:{topic[:60]}"
        if session.private and session.account is None:
            return "Request not authorized"
        if sum(len(topic) for topic in (*session.topics, *topics)) > MOST_TOPICS_CHARACTERS:
            return "error:args size exceeds the maximum"
        for topic in topics:
            session.topics[topic] = None
            feed = None if session.private else self._feed(session, topic)
            if feed is not None:
                self._feeds[f"{session.kind} {topic}"] = feed
                feed.sessions[session.number] = feed.fresh[session.number] = session
                feed.due_ms = 0
        self._due_ms = 0 if self._feeds else self._due_ms
        return ""

    def _unsubscribe(self, session: Session, topics: Iterable[str]) -> None:
        for topic in topics:
            session.topics.pop(topic, None)
            feed = self._feeds.get(f"{session.kind} {topic}")
            if feed is not None:
                feed.sessions.pop(session.number, None)
                feed.fresh.pop(session.number, None)
                if not feed.sessions:
                    del self._feeds[f"{session.kind} {topic}"]

    # Public topics

    def _feed(self, session: Session, topic: str) -> Feed | None:
        """The feed of a topic; None for one this exchange does not have."""
        found = self._feeds.get(f"{session.kind} {topic}")
        kind, *rest = topic.split(".")
        if found is not None or not rest:
            return found
        one = self.bybit.unspell(rest[-1])
        if one is None or category_of(one) != session.kind:
            return None
        if kind == "tickers" and len(rest) == 1:
            return Feed(self._ticker(topic, one), self._ticker_ms)
        if kind == "orderbook" and len(rest) == 2 and rest[0].isdecimal() and int(rest[0]) in _DEPTHS:
            depth = int(rest[0])
            return Feed(self._best(topic, one) if depth == 1 else self._book(topic, one, depth), 20)
        if kind == "publicTrade" and len(rest) == 1:
            return Feed(lambda feed, now_ms: None, 1_000)
        return None

    def _ticker(self, topic: str, one: Instrument) -> Callable[[Feed, int], View | None]:
        def render(feed: Feed, now_ms: int) -> View | None:
            row = ticker_row(self.exchange, one, self.bybit.spell)
            before, feed.last = feed.last, row
            if before is None or feed.fresh:
                return {"type": "snapshot", "data": row}
            changed = {name: value for name, value in row.items() if value != before[name] or name == "symbol"}
            return {"type": "delta", "data": changed} if len(changed) > 1 else None

        def framed(feed: Feed, now_ms: int) -> View | None:
            view = render(feed, now_ms)
            return view and {"topic": topic, **view, "cs": self.exchange.books[one.symbol].update_id, "ts": now_ms}

        return framed

    def _ladder(self, one: Instrument, book: Book, bids: list[list[str]], asks: list[list[str]], update: int) -> View:
        return {"s": self.bybit.spell(one), "b": bids, "a": asks, "u": update, "seq": book.update_id}

    def _best(self, topic: str, one: Instrument) -> Callable[[Feed, int], View | None]:
        def render(feed: Feed, now_ms: int) -> View | None:
            book = self.exchange.books[one.symbol]
            if book.update_id == feed.last and not feed.fresh and now_ms < feed.told_ms + REPEAT_MS:
                return None
            feed.last, feed.told_ms = book.update_id, now_ms
            sides = [[level_text(level) for level in book.levels(side)[:1]] for side in (BUY, SELL)]
            data = self._ladder(one, book, sides[0], sides[1], book.update_id)
            return {"topic": topic, "type": "snapshot", "ts": now_ms, "data": data, "cts": book.changed_ms or now_ms}

        return render

    def _book(self, topic: str, one: Instrument, depth: int) -> Callable[[Feed, int], View | None]:
        """Counts its own updates from 1: one of this number tells that the service has begun anew."""
        count = 1

        def render(feed: Feed, now_ms: int) -> View | None:
            nonlocal count
            book = self.exchange.books[one.symbol]
            if feed.last is not None and feed.last[0] == book.update_id and not feed.fresh:
                return None
            sides: list[dict[str, str]] = [
                {price: size for price, size in map(level_text, book.levels(side)[:depth])} for side in (BUY, SELL)
            ]
            before, feed.last = feed.last, (book.update_id, sides)
            count += 1
            if before is None or feed.fresh:
                shown, kind = [[list(level) for level in levels.items()] for levels in sides], "snapshot"
            else:
                kind = "delta"
                shown = [_differences(old, new) for old, new in zip(before[1], sides, strict=True)]
            data = self._ladder(one, book, shown[0], shown[1], count)
            return {"topic": topic, "type": kind, "ts": now_ms, "data": data, "cts": book.changed_ms or now_ms}

        return render

    def publish(self, now_ms: int) -> None:
        """Render every topic that is due, once for all who subscribed to it.

        Who is new to a topic gets it whole, and so do all others of it then.
        """
        if now_ms < self._due_ms:
            return
        for feed in self._feeds.values():
            if now_ms < feed.due_ms:
                continue
            feed.due_ms = (now_ms // feed.interval_ms + 1) * feed.interval_ms
            view = feed.render(feed, now_ms)
            feed.fresh.clear()
            if view is not None:
                frame = encode(view)
                self.outbox += [(session, frame) for session in feed.sessions.values()]
        self._due_ms = min((feed.due_ms for feed in self._feeds.values()), default=1 << 62)

    def step_clock(self, ms: int) -> None:
        """Note that the exchange's clock is stepped by so much."""
        for feed in self._feeds.values():
            feed.due_ms += ms
            feed.told_ms += ms
        self._due_ms += ms
        for session in self.sessions.values():
            session.heard_ms += ms

    # An account's own

    def tell(self, event: Event) -> None:
        """Push an event of the exchange to the sessions of its account; what a trade brings comes in any order."""
        match event:
            case Opened(order) | Closed(order) | Amended(order):
                self._tell_order(order)
                self._tell_position(order.account, order.symbol, order.position_side)
                self._tell_wallet(order.account)
            case Filled(order, fill):
                one = self.exchange.instruments[order.symbol]
                key = (order.account, order.symbol, order.position_side)
                self.bybit.sequences[key] = fill.id
                mark = self.exchange.books[order.symbol].mark
                row = execution_row(fill, order, one, self.bybit.spell, *self.bybit.names_of(order), mark)
                acts: list[Callable[[], None]] = [
                    lambda: self._push(order.account, "execution", [row]),
                    lambda: self._tell_order(order),
                    lambda: self._tell_position(order.account, order.symbol, order.position_side),
                    lambda: self._tell_wallet(order.account),
                ]
                self._dice.shuffle(acts)
                for act in acts:
                    act()
            case WalletChanged(account=account, kind=kind):
                if kind == "FUNDING_FEE":
                    self._push(account, "execution", [self.bybit.last_funding(account)])
                for view in event.positions:
                    self._tell_position(account, view.symbol, view.side)
                self._tell_wallet(account)
            case LeverageChanged(account=account, symbol=symbol):
                sides = ("LONG", "SHORT") if self.exchange.accounts[account].hedge else ("BOTH",)
                for side in sides:
                    self._tell_position(account, symbol, side)
            case _:
                pass

    def tell_late(self, order: Order) -> None:
        """A cancel has come too late: the order is told to be filled once more, with odd words."""
        row = self._order_row(order)
        self._push(
            order.account,
            "order",
            [{**row, "cancelType": "CancelByUser", "rejectReason": "EC_OrigClOrdIDDoesNotExist"}],
        )

    def tell_order(self, order: Order) -> None:
        """Push how an order stands."""
        self._tell_order(order)

    def _order_row(self, order: Order) -> View:
        one, names = self.exchange.instruments[order.symbol], self.bybit.names_of(order)
        return order_row(order, one, self.bybit.spell, *names, self.bybit.reason_of(order))

    def _tell_order(self, order: Order) -> None:
        self._push(order.account, "order", [self._order_row(order)])

    def _tell_position(self, account: str, symbol: str, side: str) -> None:
        owner = self.exchange.accounts[account]
        view = AccountView(self.exchange, owner, self.bybit.spell, self.bybit.sequences)
        self._push(account, "position", [view.position(owner.position(symbol, side), streamed=True)])

    def _tell_wallet(self, account: str) -> None:
        view = AccountView(self.exchange, self.exchange.accounts[account], self.bybit.spell, self.bybit.sequences)
        self._push(account, "wallet", [view.wallet()])

    def _push(self, account: str, topic: str, rows: list[View]) -> None:
        sessions = [session for session in self.sessions.values() if session.account == account]
        category = rows[0].get("category", "")
        for name in (topic, f"{topic}.{category}"):
            told = [session for session in sessions if name in session.topics]
            if told:
                now_ms = self.exchange.now_ms
                number = f"{self._dice.getrandbits(64):016x}"
                frame = encode({"id": number, "topic": name, "creationTime": now_ms, "data": rows})
                self.outbox += [(session, frame) for session in told]


def _differences(before: dict[str, str], after: dict[str, str]) -> list[list[str]]:
    """The levels that have changed; of size 0 where one has gone."""
    gone = [[price, "0"] for price in before if price not in after]
    return gone + [[price, size] for price, size in after.items() if before.get(price) != size]
