"""A small client of the pure exchange in virtual time, for tests and experiments.

client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}))))
stream = client.listen()
client.place("BTCUSDT", "BUY", "0.01")
client.wait(1_000)
events = client.take(stream)
"""

import hashlib
import hmac
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from adapters.simulator.account import Account
from adapters.simulator.binance import Binance
from adapters.simulator.wire import Close, Frame, Session

MS = 1_000_000
START = 1_790_000_000_000 * MS
"""When the virtual time of a client begins unless it is told otherwise: 21 September 2026."""


class Answer(Struct, frozen=True):
    """A decoded reply; `code` is the venue's error code, zero for a success."""

    status: int
    headers: dict[str, str]
    data: Any

    @property
    def code(self) -> int:
        """The error code of a refusal."""
        return int(self.data.get("code", 0)) if self.status != 200 else 0


class Client:
    """Signs requests, keeps the time, and gathers frames by session."""

    def __init__(self, binance: Binance, account: Account | None = None, *, now: int = START) -> None:
        self.binance = binance
        self.account = account or next(iter(binance.exchange.accounts.values()))
        self.now = now
        self._received: dict[int, list[Frame]] = {}
        binance.advance(now)

    def call(self, method: str, path: str, **params: object) -> Answer:
        """A signed request with its parameters in the query string."""
        pairs = {name: value for name, value in params.items() if value is not None}
        query = urlencode({**pairs, "timestamp": self.now // MS})
        signature = hmac.new(self.account.secret.encode(), query.encode(), hashlib.sha256)
        return self.send(method, path, f"{query}&signature={signature.hexdigest()}")

    def send(self, method: str, path: str, query: str = "", body: bytes = b"") -> Answer:
        """A request as it stands, with the key in its header."""
        headers = {"X-MBX-APIKEY": self.account.api_key}
        reply = self.binance.request(method, path, query, headers, body, self.now)
        is_json = reply.headers.get("Content-Type") == "application/json"
        data = msgspec.json.decode(reply.body) if is_json else reply.body
        return Answer(reply.status, reply.headers, data)

    def place(self, symbol: str, side: str, quantity: object, price: object = None, **more: object) -> Answer:
        """An order: limit good-till-cancelled with a price, market without."""
        params: dict[str, object] = {"symbol": symbol, "side": side, "quantity": quantity}
        if price is None:
            params["type"] = "MARKET"
        else:
            params.update(type="LIMIT", timeInForce="GTC", price=price)
        params.setdefault("newOrderRespType", "RESULT")
        return self.call("POST", "/fapi/v1/order", **{**params, **more})

    def connect(self, target: str) -> Session:
        """Open a websocket on a path with its query."""
        session = self.binance.connect(target, self.now)
        self._received[session.number] = []
        return session

    def listen(self) -> Session:
        """Open the account's private stream."""
        key = self.send("POST", "/fapi/v1/listenKey").data["listenKey"]
        return self.connect(f"/private/ws?listenKey={key}")

    def say(self, session: Session, method: str, *params: object) -> Any:
        """Send a control message; gives the decoded answer, or None when there was none."""
        text = msgspec.json.encode({"method": method, "params": params, "id": 1})
        answers = self.binance.receive(session, text, self.now)
        return msgspec.json.decode(answers[0]) if answers else None

    def wait(self, ms: int = 0) -> None:
        """Let time pass, stopping wherever something happens, and gather the frames."""
        until = self.now + ms * MS
        while True:
            self.now = max(self.now, min(until, self.binance.next_at))
            for session, frame in self.binance.advance(self.now):
                self._received.setdefault(session.number, []).append(frame)
            if self.now >= until:
                return

    def take(self, session: Session) -> list[Any]:
        """The frames received since the last call, decoded; None where the socket was closed."""
        self.wait()
        frames = self._received[session.number]
        self._received[session.number] = []
        return [None if isinstance(frame, Close) else msgspec.json.decode(frame) for frame in frames]
