"""A flood: five times as many requests as a budget allows, in virtual time, against the exchange's own count."""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from msgspec import Struct

from adapters.binance import Binance
from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, Faults, SeededMarket
from adapters.simulator.binance import Binance as Venue
from adapters.simulator.gateway import Gateway
from agent.core.events import Throttled, Used
from agent.core.limits import Lanes
from agent.core.orders import MS, S
from agent.core.venue import Ask, Call, Cancel, Credentials, Place, Reply, Request, Secret, What
from tests.core.kit import order
from tests.storm.world import REST, START, STREAM

SYMBOL = "BTCUSDT"
OVERLOAD = 5
STEP_NS = 50 * MS
CANCELS_A_SECOND = 3


class Flooded(Struct):
    """What came of a flood. ``weight`` and ``orders`` are the largest part used of a budget, as the exchange counts."""

    requests: int = 0
    """Wanted, …"""
    left: int = 0
    """… and sent."""
    bans: int = 0
    """Answers with 429 or 418."""
    weight: float = 0.0
    orders: float = 0.0
    cancels: int = 0
    cancel_wait_ms: float = 0.0
    """How long a cancel waits for its budget, but for one in a hundred."""


class Flood:
    """The lanes of an agent and a dialect, with somebody behind them who wants too much."""

    def __init__(self, seed: int) -> None:
        exchange = Exchange(SeededMarket(seed, (SYMBOL,)), [Account(balance=1_000_000)], seed=seed)
        self.gateway = Gateway(Venue(exchange), Faults(seed=seed, delay_ms=20.0))
        credentials = Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET))
        self.dialect = Binance(symbols=(SYMBOL,), credentials=credentials, rest_url=REST, stream_url=STREAM)
        self.lanes = Lanes(self.dialect.buckets)
        self.capacity = {bucket.name: bucket.capacity for bucket in self.dialect.buckets}
        self.now = START
        self.seen = Flooded()
        self.waits: list[int] = []
        self._calls: dict[int, Call] = {}
        self._wanted_at: dict[str, int] = {}
        self._number = 0
        self._owed = dict.fromkeys(("question", "order", "cancel"), 0.0)
        self.gateway.advance(START)
        self._want(Ask(What.INSTRUMENTS))

    def run(self, seconds: int) -> Flooded:
        """Let it rain for so long."""
        a_step = STEP_NS / S
        weight, placed = self.capacity["weight_1m"] / 60, self.capacity["orders_1m"] / 60
        while self.now < START + seconds * S:
            self._owed["question"] += OVERLOAD * weight * a_step / 3  # three a piece, on the average
            self._owed["order"] += OVERLOAD * placed * a_step
            self._owed["cancel"] += CANCELS_A_SECOND * a_step
            if self.now > START + S:  # the instruments are known by then
                self._rain()
            for request in self.lanes.due(self.now):
                self._leave(request)
            self._hear()
            self.now += STEP_NS
        self.waits += [self.now - since for since in self._wanted_at.values()]
        self.waits.sort()
        self.seen.cancels = len(self.waits)
        self.seen.cancel_wait_ms = self.waits[math.ceil(0.99 * len(self.waits)) - 1] / MS
        return self.seen

    def _rain(self) -> None:
        for kind, owed in self._owed.items():
            for _ in range(int(owed)):
                self._number += 1
                self._want(self._request(kind, f"flood{self._number:012}"))
            self._owed[kind] %= 1

    def _request(self, kind: str, name: str) -> Request:
        match kind:
            case "question" if self._number % 2:
                return Ask(What.TRADES, 0, since=str(self._number))
            case "question":
                return Ask(What.ORDER, 0, order=name)
            case "order":
                lots, until = self._number % 3 + 1, self.now + 3 * S
                return Place(order(name, lots=lots, created_at=self.now, expires_at=until))
            case _:
                self._wanted_at[name] = self.now
                return Cancel(name, 0)

    def _want(self, request: Request) -> None:
        self.seen.requests += 1
        self.lanes.put(request, self.dialect.weigh(request))

    def _leave(self, request: Request) -> None:
        if isinstance(request, Place) and self.now >= request.order.expires_at:
            return
        if isinstance(request, Cancel):
            self.waits.append(self.now - self._wanted_at.pop(request.order))
        call = self.dialect.perform(request, self.now)
        if isinstance(call, Call):
            self.seen.left += 1
            url = urlsplit(call.url)
            ticket = self.gateway.send(call.method, url.path, url.query, dict(call.headers), b"", self.now)
            self._calls[ticket] = call

    def _hear(self) -> None:
        for ticket, reply in self.gateway.advance(self.now).replies:
            call = self._calls.pop(ticket)
            assert reply is not None, "in a flood nothing else goes wrong"
            headers = {name.lower(): value for name, value in reply.headers.items()}
            self.seen.bans += reply.status in (418, 429)
            for fact in self.dialect.on_reply(call, Reply(reply.status, headers, reply.body), self.now):
                if isinstance(fact, Throttled):
                    self.lanes.throttle(fact.until, banned=fact.banned)
                elif isinstance(fact, Used):
                    self.lanes.told(fact.bucket, fact.amount, self.now)
                    self._count(fact)

    def _count(self, used: Used) -> None:
        part = used.amount / self.capacity[used.bucket]
        if used.bucket == "weight_1m":
            self.seen.weight = max(self.seen.weight, part)
        else:
            self.seen.orders = max(self.seen.orders, part)


def flood(seed: int, seconds: int = 300) -> Flooded:
    """Five times the budgets in questions and orders, and three cancels a second among them."""
    return Flood(seed).run(seconds)
