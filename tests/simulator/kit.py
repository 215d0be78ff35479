"""What the tests of faults share: a gateway in virtual time, and a client that signs and waits."""

import hashlib
import hmac

import msgspec

from adapters.simulator import (
    DEMO_KEY,
    DEMO_SECRET,
    Account,
    Binance,
    Close,
    Exchange,
    Faults,
    FrameFault,
    Gateway,
    Incident,
    Reply,
    RequestFault,
    SeededMarket,
    StillMarket,
)
from adapters.simulator.client import START
from adapters.simulator.wire import Frame, Session

MS = 1_000_000
S = 1_000 * MS
HEADERS = {"X-MBX-APIKEY": DEMO_KEY}
BUY = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001"
REST = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&price=79000&quantity=0.001"
MARKS = "/market/ws/btcusdt@markPrice@1s"


class World:
    """An exchange behind a gateway that breaks as told: 80,000 for a bitcoin, or a lively market."""

    def __init__(
        self,
        *faults: RequestFault | FrameFault | Incident,
        lively: bool = False,
        account: Account | None = None,
        seed: int = 0,
        delay_ms: float = 0.0,
        clock_skew_ms: int = 0,
    ) -> None:
        market = SeededMarket(1) if lively else StillMarket({"BTCUSDT": 80_000, "ETHUSDT": 2_500})
        self.account = account or Account()
        self.exchange = Exchange(market, [self.account])
        self.venue = Binance(self.exchange)
        plan = Faults(
            seed=seed,
            delay_ms=delay_ms,
            clock_skew_ms=clock_skew_ms,
            requests=tuple(fault for fault in faults if isinstance(fault, RequestFault)),
            frames=tuple(fault for fault in faults if isinstance(fault, FrameFault)),
            events=tuple(fault for fault in faults if isinstance(fault, Incident)),
        )
        self.gateway = Gateway(self.venue, plan)
        self.now = START
        self.frames: list[tuple[Session, Frame]] = []
        self.gateway.advance(START)

    @property
    def counts(self) -> dict[str, int]:
        """How often what has struck."""
        return dict(self.gateway.counts)

    @property
    def fills(self) -> int:
        """How many executions there have been."""
        return len(self.exchange.ledger.fills)

    def ask(self, method: str, path: str, query: str = "", *, key: str = DEMO_KEY) -> Reply | None:
        """Send a signed request and wait for what comes of it."""
        secret = self.account.keys.get(key, DEMO_SECRET)
        headers = {"X-MBX-APIKEY": key}
        ticket = self.gateway.send(method, path, signed(query, self.now, secret), headers, b"", self.now)
        while True:
            delivery = self.gateway.advance(self.now)
            self.frames += delivery.frames
            for found, reply in delivery.replies:
                if found == ticket:
                    return reply
            self.now = max(self.now + 1, self.gateway.next_at)

    def buy(self) -> Reply | None:
        """Send an order."""
        return self.ask("POST", "/fapi/v1/order", BUY)

    def listen(self) -> Session:
        """Open the account's private stream."""
        reply = self.ask("POST", "/fapi/v1/listenKey")
        assert reply is not None
        return self.gateway.connect(f"/private/ws/{msgspec.json.decode(reply.body)['listenKey']}", self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass in steps of 100 ms."""
        until = self.now + int(seconds * S)
        while self.now < until:
            self.now = min(until, self.now + 100 * MS)
            self.frames += self.gateway.advance(self.now).frames

    def received(self, session: Session) -> list[bytes]:
        """What a socket has received."""
        return [frame for one, frame in self.frames if one is session and not isinstance(frame, Close)]

    def ended(self, session: Session) -> list[Close]:
        """How a socket has ended."""
        return [frame for one, frame in self.frames if one is session and isinstance(frame, Close)]


def signed(query: str, now: int, secret: str = DEMO_SECRET) -> str:
    """A query with its timestamp and signature."""
    query = f"{query}{'&' if query else ''}timestamp={now // MS}"
    return f"{query}&signature={hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()}"
