"""The websocket side of WEEX V3: sessions, subscriptions, pings, what is pushed and when.

Two addresses serve prices and an account. The private one wants its signature in the handshake; one that is not signed
is closed at once, the documents being silent on it. A book is told once as a whole and then by what has changed in it.
"""

from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.simulator.book import BUY, SELL
from adapters.simulator.exchange import Exchange
from adapters.simulator.orders import ZERO, Closed, Event, Filled, LeverageChanged, Opened, Order, WalletChanged
from adapters.simulator.side import Sockets
from adapters.simulator.weex_call import View
from adapters.simulator.weex_views import account_row, fill_row, level_text, order_row, position_row, ticker_frame

PING_MS: Final = 30_000
UNANSWERED: Final = 5
"""So many pings in a row may go without an answer; one more, and the socket is closed."""
CHANNELS: Final = 100
OPERATIONS: Final = 240
HOUR_MS: Final = 3_600_000
HEARTBEAT_MS: Final = 600_000
"""An account's orders are told every so often even when there are none; how often is written nowhere."""
_DEPTH_MS: Final = 200
_FASTEST_MS: Final = 10
_DEPTHS: Final = {"depth15": 15, "depth200": 200}
_PRIVATE: Final = ("account", "positions", "orders", "fill")
_EVENTS: Final = {
    "FUNDING_FEE": "PositionFundingSettle",
    "DEPOSIT": "DepositUpdate",
    "WITHDRAW": "WithdrawUpdate",
}

encode = msgspec.json.encode


class Session:
    """One websocket connection: whose it is, what it has subscribed to, and how it does."""

    def __init__(self, number: int, account: str | None) -> None:
        self.number = number
        self.account = account
        self.names: dict[str, None] = {}
        self.closed = False
        self.unanswered = 0
        self.operations: deque[int] = deque()

    @property
    def private(self) -> bool:
        """Whether it carries an account's events."""
        return self.account is not None

    def may_operate(self, now_ms: int) -> bool:
        """Count a subscription or its end; False when there were too many in an hour."""
        while self.operations and self.operations[0] <= now_ms - HOUR_MS:
            self.operations.popleft()
        self.operations.append(now_ms)
        return len(self.operations) <= OPERATIONS


class Ladder:
    """A book as it was told last: sizes by price, by side, and its last update."""

    def __init__(self, symbol: str, depth: int) -> None:
        self.symbol = symbol
        self.depth = depth
        self.sides: dict[int, dict[Decimal, Decimal]] = {}
        self.last = 0


class Streams(Sockets[Session]):
    """All sessions, and the books as they were told."""

    def __init__(self, exchange: Exchange, mark_pace: float, heartbeat_ms: int) -> None:
        super().__init__(exchange)
        ticks = max(_FASTEST_MS, round(1_000 / mark_pace))
        self._steps = {"ticker": ticks, "depth": _DEPTH_MS, "ping": PING_MS, "heartbeat": heartbeat_ms}
        self._version = 0
        self._ladders: dict[str, Ladder] = {}
        self._paid: dict[str, tuple[Decimal, Decimal]] = {}
        """What was ever paid in and out, by account."""
        self._due: dict[str, int] = {}
        """When what is told by the clock is told next."""

    @property
    def due_ms(self) -> int:
        """When something is next told by the clock."""
        return min(self._due.values()) if self.sessions else 1 << 62

    def connect(self, account: str | None, now_ms: int) -> Session:
        """Open a session; for an account where it is signed by one."""
        self._count += 1
        session = Session(self._count, account)
        self.sessions[session.number] = session
        if not self._due:
            self._due = dict.fromkeys(self._steps, 0)
            self._plan(now_ms)
        return session

    def step_clock(self, ms: int) -> None:
        """Note that the exchange's clock is stepped by so much."""
        self._due = {kind: due_ms + ms for kind, due_ms in self._due.items()}

    def receive(self, session: Session, text: str | bytes, now_ms: int) -> list[bytes]:
        """Answer a message: SUBSCRIBE, UNSUBSCRIBE, or the answer to a ping."""
        if session.closed:
            return []
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return [refusal(None, "INVALID_ARGUMENT: invalid json")]
        if not isinstance(message, dict):
            return [refusal(None, "INVALID_ARGUMENT: invalid message")]
        if message.get("method") == "PONG" or "pong" in (message.get("event"), message.get("type")):
            session.unanswered = 0
            echoes = message.get("method") == "PONG" and not session.private
            return [encode({"id": message.get("id"), "method": "PONG"})] if echoes else []
        return self._operate(session, message, now_ms)

    def _operate(self, session: Session, message: dict[str, Any], now_ms: int) -> list[bytes]:
        number, method = message.get("id"), message.get("method")
        names = [str(name) for name in message.get("params") or []]
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE") or not names:
            return [refusal(number, f"INVALID_ARGUMENT: invalid method : {method}")]
        if not session.may_operate(now_ms):
            return [refusal(number, "RESOURCE_EXHAUSTED: too many operations")]
        for name in names:
            if not self._serves(session, name):
                return [refusal(number, f"INVALID_ARGUMENT: invalid symbol : {name.partition('@')[0]}")]
        if method == "UNSUBSCRIBE":
            for name in names:
                session.names.pop(name, None)
            return [encode({"result": True, "id": number})]
        if len(session.names | dict.fromkeys(names)) > CHANNELS:
            return [refusal(number, "RESOURCE_EXHAUSTED: too many channels")]
        session.names.update(dict.fromkeys(names))
        books = [self._whole(name, now_ms) for name in names if name.partition("@")[2] in _DEPTHS]
        return [encode({"result": True, "id": number}), *books]

    def _serves(self, session: Session, name: str) -> bool:
        if session.private:
            return name in _PRIVATE
        symbol, _, kind = name.partition("@")
        return symbol in self.exchange.books and (kind == "ticker" or kind in _DEPTHS)

    def publish(self, now_ms: int) -> None:
        """Tell what is due by the clock."""
        if not self.sessions or now_ms < self.due_ms:
            return
        due = {kind for kind, due_ms in self._due.items() if now_ms >= due_ms}
        if "ticker" in due:
            for symbol in self.exchange.books:
                self._push(f"{symbol}@ticker", lambda symbol=symbol: ticker_frame(self.exchange, symbol, now_ms))
        if "depth" in due:
            for name in {name: None for session in self.sessions.values() for name in session.names}:
                if name.partition("@")[2] in _DEPTHS:
                    self._change(name, now_ms)
        if "ping" in due:
            self._ping(now_ms)
        if "heartbeat" in due:
            for account in {session.account: None for session in self.sessions.values() if session.account}:
                self._tell(account, "orders", [], "OrderUpdate", now_ms)
        self._plan(now_ms)

    def _plan(self, now_ms: int) -> None:
        for kind, step_ms in self._steps.items():
            if now_ms >= self._due[kind]:
                self._due[kind] = (now_ms // step_ms + 1) * step_ms

    def _push(self, name: str, render: Any) -> None:
        """A frame to all who have subscribed to a channel, made once if there are any."""
        listeners = [session for session in self.sessions.values() if name in session.names]
        if listeners:
            raw = encode(render())
            self.outbox.extend((session, raw) for session in listeners)

    def _ping(self, now_ms: int) -> None:
        for session in list(self.sessions.values()):
            if session.unanswered >= UNANSWERED:
                self.close(session)
                continue
            session.unanswered += 1
            name = "type" if session.private else "event"
            self.outbox.append((session, encode({name: "ping", "time": str(now_ms)})))

    # Books

    def _whole(self, name: str, now_ms: int) -> bytes:
        """A book as it was told last, to one who has not heard it."""
        ladder = self._ladders.get(name)
        if ladder is None or not any(name in one.names for one in self.sessions.values()):
            symbol, _, kind = name.partition("@")
            ladder = self._ladders[name] = Ladder(symbol, _DEPTHS[kind])
        if not ladder.last:
            book = self.exchange.books[ladder.symbol]
            ladder.sides, ladder.last = self._sides(ladder), book.update_id
        frame = self._frame(ladder, "depthSnapshot", ladder.last, ladder.sides, now_ms)
        return encode(frame)

    def _change(self, name: str, now_ms: int) -> None:
        """What has changed in a book since it was told last."""
        ladder = self._ladders[name]
        book = self.exchange.books[ladder.symbol]
        if book.update_id == ladder.last:
            return
        now = self._sides(ladder)
        changed = {
            side: {
                price: now[side].get(price, ZERO)
                for price in sorted(now[side].keys() | before.keys())
                if now[side].get(price) != before.get(price)
            }
            for side, before in ladder.sides.items()
        }
        first, ladder.last, ladder.sides = ladder.last + 1, book.update_id, now
        self._push(name, lambda: self._frame(ladder, "depth", first, changed, now_ms))

    def _sides(self, ladder: Ladder) -> dict[int, dict[Decimal, Decimal]]:
        book = self.exchange.books[ladder.symbol]
        return {side: dict(book.levels(side)[: ladder.depth]) for side in (BUY, SELL)}

    def _frame(
        self, ladder: Ladder, kind: str, first: int, sides: dict[int, dict[Decimal, Decimal]], now_ms: int
    ) -> View:
        one = self.exchange.instruments[ladder.symbol]
        bids, asks = ([level_text(level, one) for level in sides[side].items()] for side in (BUY, SELL))
        whole = {"e": kind, "E": now_ms, "s": ladder.symbol, "U": first, "u": ladder.last, "l": ladder.depth}
        return {**whole, "d": "SNAPSHOT" if kind == "depthSnapshot" else "CHANGED", "b": bids, "a": asks}

    # The account

    def tell(self, event: Event) -> None:
        """Push an event of the exchange to the private sockets of its account.

        A fill comes before the order's own row, positions and the pool in between, as in captures.
        """
        now_ms = self.exchange.now_ms
        match event:
            case Opened(order) | Closed(order):
                self._tell_order(order, now_ms)
            case Filled():
                account = self.exchange.accounts[event.order.account]
                held = account.position(event.order.symbol, event.order.position_side)
                self._tell(account.api_key, "fill", [fill_row(account, event.fill)], "OrderUpdate", now_ms)
                row = position_row(self.exchange, account, held)
                self._tell(account.api_key, "positions", [row], "OrderUpdate", now_ms)
                self._tell_pool(account.api_key, "OrderUpdate", now_ms)
                self._tell_order(event.order, now_ms)
            case WalletChanged():
                if event.kind in ("DEPOSIT", "WITHDRAW"):
                    paid_in, paid_out = self._paid.get(event.account, (ZERO, ZERO))
                    self._paid[event.account] = (
                        paid_in + max(ZERO, event.change),
                        paid_out + max(ZERO, -event.change),
                    )
                reason = _EVENTS.get(event.kind, event.kind.title().replace("_", ""))
                if event.positions:
                    account = self.exchange.accounts[event.account]
                    views = [account.position(view.symbol, view.side) for view in event.positions]
                    rows = [position_row(self.exchange, account, held) for held in views]
                    self._tell(event.account, "positions", rows, reason, now_ms)
                self._tell_pool(event.account, reason, now_ms)
            case LeverageChanged():
                pass  # no message is documented
            case _:
                pass

    def _tell_order(self, order: Order, now_ms: int) -> None:
        row = order_row(self.exchange, self.exchange.accounts[order.account], order)
        self._tell(order.account, "orders", [row], "OrderUpdate", now_ms)

    def _tell_pool(self, name: str, reason: str, now_ms: int) -> None:
        paid_in, paid_out = self._paid.get(name, (ZERO, ZERO))
        row = account_row(self.exchange, self.exchange.accounts[name], paid_in, paid_out, now_ms)
        self._tell(name, "account", [row], reason, now_ms)

    def _tell(self, account: str, channel: str, rows: Iterable[View], reason: str, now_ms: int) -> None:
        """Number a frame among all of an account's, and send it to whoever listens."""
        self._version += 1
        frame: bytes | None = None
        for session in self.sessions.values():
            if session.account == account and channel in session.names:
                frame = frame or encode(
                    {"e": channel, "E": now_ms, "v": self._version, "msgEvent": reason, "d": list(rows)}
                )
                self.outbox.append((session, frame))


def refusal(number: object, text: str) -> bytes:
    """The frame that refuses a message."""
    return encode({"result": False, "id": number, "msg": text})
