"""The websocket side of BingX's perpetuals: sessions, subscriptions, what is pushed and when. Frames are gzipped."""

import gzip
from collections.abc import Callable, Iterable
from decimal import Decimal
from urllib.parse import urlsplit

import msgspec

from adapters.simulator.bingx_views import (
    KINDS,
    View,
    account_event,
    config_event,
    day_event,
    levels_view,
    mark_event,
    name_of,
    order_event,
    ticker_event,
)
from adapters.simulator.exchange import Exchange
from adapters.simulator.instruments import Instrument
from adapters.simulator.orders import (
    ZERO,
    Amended,
    Closed,
    Event,
    Filled,
    LeverageChanged,
    Opened,
    PositionView,
    WalletChanged,
)
from adapters.simulator.side import Sockets
from adapters.simulator.signing import decode_pairs

PING_MS = 5_000
MISSED_MS = 15_000
"""A client that answers no greeting for so long is disconnected."""
MOST_TOPICS = 200

_DEPTHS = {"depth5": 5, "depth10": 10, "depth20": 20, "depth50": 50, "depth100": 100}
_WORDS = {"DEPOSIT": "DEPOSIT", "WITHDRAW": "WITHDRAW", "FUNDING_FEE": "FUNDING_FEE"}
"""Reasons of a changed wallet that the venue knows; others count as an order's."""


def packed(what: View | str | bytes) -> bytes:
    """A frame as it goes over the wire. Its header has no time in it, so equal frames are equal bytes."""
    text = msgspec.json.encode(what) if isinstance(what, dict) else what.encode() if isinstance(what, str) else what
    return gzip.compress(text, compresslevel=1, mtime=0)


def unpacked(frame: bytes) -> bytes:
    """What a frame says."""
    return gzip.decompress(frame)


def refused(number: str, code: int, text: str) -> View:
    """The answer to a message that is not taken."""
    return {"id": number, "code": code, "msg": text, "dataType": "", "data": None}


class Session:
    """One websocket connection: of market data, or of an account where its address had a key.

    `pinged_ms` is when it was last greeted, `heard_ms` when it last said something.
    """

    def __init__(self, number: int, key: str, now_ms: int) -> None:
        self.number = number
        self.key = key
        self.topics: dict[str, int] = {}
        """What is subscribed to, and when it is next pushed."""
        self.seen: dict[str, int] = {}
        self.closed = False
        self.pinged_ms = now_ms
        self.heard_ms = now_ms

    @property
    def private(self) -> bool:
        """Whether it carries an account's events."""
        return bool(self.key)


class Streams(Sockets[Session]):
    """All sessions, and the keys that open accounts' ones."""

    def __init__(self, exchange: Exchange, mark_pace: float, *, terse: bool) -> None:
        super().__init__(exchange)
        self.terse = terse
        self.keys: dict[str, tuple[str, int]] = {}
        """Account and end of each listen key, in milliseconds."""
        self._symbols = {name_of(one): symbol for symbol, one in exchange.instruments.items()}
        self._pace = mark_pace

    @property
    def due_ms(self) -> int:
        """When something is next pushed by itself."""
        due = 1 << 62
        for session in self.sessions.values():
            due = min(due, session.pinged_ms + PING_MS, *session.topics.values())
        return due

    def connect(self, target: str, now_ms: int) -> Session:
        """Open a session; a key that is dead or unknown opens a silent one. Settings are told at once, and again with
        every greeting."""
        self._count += 1
        session = Session(self._count, decode_pairs(urlsplit(target).query).get("listenKey", ""), now_ms)
        self.sessions[session.number] = session
        if session.private:
            self._tell_settings(session, now_ms)
        return session

    def step_clock(self, ms: int) -> None:
        """Note that the exchange's clock is stepped by so much."""
        self.keys = {key: (account, ends_ms + ms) for key, (account, ends_ms) in self.keys.items()}
        for session in self.sessions.values():
            session.pinged_ms += ms
            session.heard_ms += ms
            session.topics = {topic: due_ms + ms for topic, due_ms in session.topics.items()}

    def receive(self, session: Session, text: str | bytes, now_ms: int) -> list[bytes]:
        """Answer a message: a greeting given back, or a subscription."""
        if session.closed:
            return []
        session.heard_ms = now_ms
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        if said == "Pong" or '"pong"' in said:
            return []
        try:
            message = msgspec.json.decode(said)
            number, what, topic = str(message["id"]), message["reqType"], str(message["dataType"])
        except (msgspec.DecodeError, TypeError, KeyError):
            return [packed(refused("", 80014, "invalid params"))]
        if session.private:
            return [packed(refused(number, 80014, "invalid params"))]
        if what == "unsub":
            session.topics.pop(topic, None)
        elif not self._renderer(session, topic):
            return [packed(refused(number, 80014, "invalid params"))]
        elif len(session.topics) >= MOST_TOPICS:
            return [packed(refused(number, 80403, "too many topics"))]
        else:
            session.topics[topic] = now_ms
        return [packed({"code": 0, "id": number, "msg": "SUCCESS", "timestamp": now_ms})]

    def publish(self, now_ms: int) -> None:
        """Greet, and push every topic that is due."""
        for session in list(self.sessions.values()):
            if now_ms >= session.pinged_ms + PING_MS:
                session.pinged_ms = now_ms
                self.outbox.append((session, packed("Ping")))
                if now_ms - session.heard_ms > MISSED_MS:
                    self.close(session)
                    continue
                if session.private:
                    self._tell_settings(session, now_ms)
            for topic, due_ms in session.topics.items():
                if now_ms >= due_ms:
                    session.topics[topic] = (now_ms // self._every_ms(topic) + 1) * self._every_ms(topic)
                    self._push(session, topic, now_ms)

    def _every_ms(self, topic: str) -> int:
        kind = topic.partition("@")[2]
        if kind == "bookTicker" or kind.endswith("@200ms"):
            return max(10, round(200 / self._pace))
        return max(10, round((1_000 if kind in ("markPrice", "ticker") else 500) / self._pace))

    def _push(self, session: Session, topic: str, now_ms: int) -> None:
        render = self._renderer(session, topic)
        assert render is not None, "subscribed to"
        view = render(now_ms)
        if view is not None:
            self.outbox.append((session, packed(view)))

    def _renderer(self, session: Session, topic: str) -> Callable[[int], View | None] | None:
        """What gives the next frame of a topic; None for one that there is not."""
        name, _, kind = topic.partition("@")
        symbol = self._symbols.get(name)
        depth = _DEPTHS.get(kind.partition("@")[0])
        if symbol is None:
            return None
        if kind == "markPrice":
            return lambda now_ms: _framed(topic, mark_event(self.exchange, symbol, now_ms))
        if kind == "ticker":
            return lambda now_ms: _framed(topic, day_event(self.exchange, symbol, now_ms))
        if kind == "bookTicker":
            return lambda now_ms: self._ticker(session, topic, symbol, now_ms)
        if depth is not None:
            return lambda now_ms: self._depth(topic, symbol, depth, now_ms)
        return None

    def _ticker(self, session: Session, topic: str, symbol: str, now_ms: int) -> View | None:
        update = self.exchange.books[symbol].update_id
        if session.seen.get(topic) == update:
            return None
        session.seen[topic] = update
        return _framed(topic, ticker_event(self.exchange, symbol, now_ms))

    def _depth(self, topic: str, symbol: str, depth: int, now_ms: int) -> View:
        bids, asks = levels_view(self.exchange, symbol, depth)
        return {"code": 0, "dataType": topic, "ts": now_ms, "data": {"bids": bids, "asks": asks}}

    # Accounts

    def tell(self, event: Event) -> None:
        """Push an event of the exchange to the private sessions of its account: the order first, then the account."""
        now_ms = self.exchange.now_ms
        match event:
            case Opened(order) | Amended(order):
                self._tell(order.account, order_event(order, self._one(order.symbol), "NEW", now_ms))
            case Closed(order):
                self._tell(order.account, order_event(order, self._one(order.symbol), order.status, now_ms))
            case Filled(order=order, fill=fill):
                # how the settlement of a contract that ends is told is not documented: as any other trade, then
                execution = "CALCULATED" if order.client_id.startswith(tuple(KINDS)) else "TRADE"
                told = order_event(order, self._one(order.symbol), execution, now_ms, fill, terse=self.terse)
                self._tell(order.account, told)
                wallet = event.wallet, event.cross_wallet, ZERO
                self._tell_account(order.account, "ORDER", wallet, (event.position,), now_ms)
            case WalletChanged():
                wallet = event.wallet, event.cross_wallet, event.change
                self._tell_account(event.account, _WORDS.get(event.kind, "ORDER"), wallet, event.positions, now_ms)
            case LeverageChanged():
                isolated = self.exchange.accounts[event.account].is_isolated(event.symbol)
                self._tell(event.account, config_event(self._one(event.symbol), event.leverage, isolated, now_ms))
            case _:
                pass  # the venue does not tell of another asset mode

    def _tell_account(
        self,
        account: str,
        reason: str,
        wallet: tuple[Decimal, Decimal, Decimal],
        changed: Iterable[PositionView],
        now_ms: int,
    ) -> None:
        whose = self.exchange.accounts[account]
        rows = [(view, self._one(view.symbol), whose.leverage(view.symbol)) for view in changed]
        self._tell(account, account_event(whose.asset, *wallet, reason, now_ms, rows))

    def expire(self, key: str, now_ms: int, *, told: bool) -> bool:
        """End a listen key, with or without a word, then the sockets that it opened; whether there was one."""
        if self.keys.pop(key, None) is None:
            return False
        if told:
            for session in self._holders(key):
                self.outbox.append((session, packed({"e": "listenKeyExpired", "E": now_ms, "listenKey": key})))
                self.close(session)
        return True

    def _one(self, symbol: str) -> Instrument:
        return self.exchange.instruments[symbol]

    def _holders(self, key: str) -> list[Session]:
        return [session for session in self.sessions.values() if session.key == key]

    def _tell(self, account: str, view: View) -> None:
        frame = packed(view)
        for session in self.sessions.values():
            if session.private and self.keys.get(session.key, ("", 0))[0] == account:
                self.outbox.append((session, frame))

    def _tell_settings(self, session: Session, now_ms: int) -> None:
        account = self.exchange.accounts.get(self.keys.get(session.key, ("", 0))[0])
        if account is None:
            return
        for symbol, one in self.exchange.instruments.items():
            view = config_event(one, account.leverage(symbol), account.is_isolated(symbol), now_ms)
            self.outbox.append((session, packed(view)))


def _framed(topic: str, event: View) -> View:
    return {"code": 0, "dataType": topic, "data": event}
