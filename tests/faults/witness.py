"""A world with a witness: what the agent was told and when, what it sent and from how old prices, what it said.

The witness reads frames and answers itself, as they are delivered. What the agent believes does not count.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from adapters.simulator import Account, StillMarket
from adapters.simulator.faults import Faults, FrameFault, Incident, RequestFault
from adapters.simulator.market import Market
from agent.core.decisions import Decision, Note, Policy
from agent.core.desk import Answer, Closed, Desk, Frame, Input
from agent.core.drift import Bands
from agent.core.orders import MS, Order, S
from agent.core.planner import Execution
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Ask, Place, What
from tests.storm.world import START, World

PRICES = {"BTCUSDT": "60000", "ETHUSDT": "3000", "SOLUSDT": "150"}
SHARES = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}
AT_REST = {"BTCUSDT": "2.5", "ETHUSDT": "30", "SOLUSDT": "400"}
"""These shares of three times an equity of 100,000."""
LIMIT_NS = 5 * S
"""The oldest price that an order may be sized from, by default."""


class Sent(Struct, frozen=True):
    """An order as it was decided on, and how old the newest price of its instrument was then, by the venue's clock."""

    at: int
    order: Order
    age: int


class Witnessed(World):
    """A world whose deliveries and decisions are on record."""

    def __init__(self, policy: Policy, market: Market, account: Account, faults: Faults, **options: Any) -> None:
        super().__init__(policy, market, account, faults, **options)
        self.decided = self._decided
        self.notes: list[tuple[int, Note]] = []
        self.sent: list[Sent] = []
        self.closed: list[tuple[int, str, str]] = []
        """When which socket ended, and why."""
        self.asked: list[tuple[int, What]] = []
        self.told_at: dict[str, int] = {}
        """By symbol: the venue's time of the newest mark that has reached the agent."""

    def _take(self, arrived: Input) -> None:
        match arrived:
            case Frame(socket="market", data=data):
                self._hear(data)
            case Answer(call=tag, reply=reply) if (sent := self.desk.calls.get(tag)) is not None:
                request = sent[1].request
                if isinstance(request, Ask) and request.what is What.PRICES and reply.status == 200:
                    for row in msgspec.json.decode(reply.body):
                        self._tell(row.get("symbol"), row.get("time"))
            case Closed(socket=socket, reason=reason):
                self.closed.append((self.now, socket, reason))
            case _:
                pass
        super()._take(arrived)

    def _hear(self, data: bytes) -> None:
        try:
            event = msgspec.json.decode(data)["data"]
            self._tell(event["s"], event["E"])
        except (msgspec.DecodeError, KeyError, TypeError, RecursionError):
            return  # not a mark that could be read

    def _tell(self, symbol: object, at_ms: object) -> None:
        if symbol in self.symbols and isinstance(at_ms, int):
            self.told_at[str(symbol)] = max(self.told_at.get(str(symbol), 0), at_ms * MS)

    def _decided(self, decision: Decision) -> None:
        self.notes += [(decision.at, note) for note in decision.notes]
        for request in decision.requests:
            if isinstance(request, Place):
                age = decision.at - self.told_at.get(request.order.symbol, 0)
                self.sent.append(Sent(decision.at, request.order, age))
            elif isinstance(request, Ask):
                self.asked.append((decision.at, request.what))

    def go(self, seconds: float, check: Callable[[], None] | None = None) -> Witnessed:
        """Let time pass."""
        self.run(self.now + round(seconds * S), check)
        return self

    def until(self, true: Callable[[], bool], most_s: float = 60.0) -> float:
        """Let time pass until something is so: how many seconds that took."""
        began = self.now
        while not true():
            assert self.now < began + most_s * S, f"not within {most_s:g} s: {self.said()[-5:]}"
            self.go(0.01)
        return (self.now - began) / S

    def said(self, word: str = "") -> list[str]:
        """What was noted, with this word in it."""
        return [f"{note.symbol or ''} {note.text}".strip() for _, note in self.notes if word in note.text]

    def when(self, word: str) -> list[float]:
        """Seconds from the start at which something with this word in it was noted."""
        return [(at - START) / S for at, note in self.notes if word in note.text]

    def count(self, fault: str) -> int:
        """How often a fault of the plan has struck."""
        return self.gateway.counts[fault]

    def held(self, symbol: str) -> Decimal:
        """The position as the exchange has it."""
        position = self.account.positions.get((symbol, "BOTH"))
        return position.quantity if position else Decimal(0)

    def known(self, symbol: str) -> Decimal:
        """The position as the agent knows it."""
        row = self.engine.book.rows[self.symbols.index(symbol)]
        assert row.instrument is not None
        return row.instrument.quantity(row.lots) * (1 if row.lots > 0 else -1)


def policy(**changes: Any) -> Policy:
    """Three instruments at 3x, quick to act, all the way to the target."""
    usual: dict[str, Any] = {
        "mode": "live",
        "targets": Targets(weights=dict(SHARES), leverage=3.0),
        "bands": Bands(destination="target"),
        "triggers": Triggers(confirm_s=0.5, cool_down_s=2.0),
        "execution": Execution(slippage=0.01),
    }
    return Policy(**{**usual, **changes})


def event(**what: Any) -> Incident:
    """Something that happens at the exchange; its numbers are exact."""
    return msgspec.convert(what, Incident, strict=False)


def world(
    *happen: FrameFault | RequestFault | Incident,
    market: Market | None = None,
    positions: dict[str, str] | None = None,
    seed: int = 1,
    delay_ms: float = 5.0,
    balance: int = 100_000,
    desk: type[Desk] = Desk,
    speed: float = 1.0,
    **changes: Any,
) -> Witnessed:
    """An account at rest on a still market, and what happens to it."""
    faults = Faults(
        seed=seed,
        delay_ms=delay_ms,
        frames=tuple(one for one in happen if isinstance(one, FrameFault)),
        requests=tuple(one for one in happen if isinstance(one, RequestFault)),
        events=tuple(one for one in happen if isinstance(one, Incident)),
    )
    held = {symbol: Decimal(size) for symbol, size in (positions or AT_REST).items()}
    account = Account(balance=balance, positions=held)
    made = Witnessed(policy(**changes), market or StillMarket(PRICES), account, faults, speed=speed)
    if desk is not Desk:
        made.desk = desk([made.desk.channels[0].dialect], made.engine, salt=f"faults{seed}")
    return made
