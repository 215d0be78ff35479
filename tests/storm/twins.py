"""Two instances on one account, in virtual time: two desks with the real dialect, one exchange, clocks that differ.

An exchange can't fence off an older writer, so what is asked for is that two notice each other soon, that whoever does
stops increasing, and that then one is left at most. `Outcome` says how long both were at it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from math import inf
from typing import cast

from msgspec import Struct

from adapters.simulator import Account, Exchange, SeededMarket
from adapters.simulator.binance import Binance as Venue
from adapters.simulator.faults import Faults
from adapters.simulator.gateway import Delivery, Gateway
from adapters.simulator.wire import Close, Frame, Reply, Session
from agent.core.decisions import Decision, Policy
from agent.core.drift import Bands
from agent.core.orders import MS, S, origin_of
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from tests.storm.world import START, World

STEP_NS = 20 * MS
"""How far one instance may be ahead of the other."""
EPOCH_NS = 300 * S
"""Epochs follow each instance's own clock, as `agent.run` has it."""
EXPIRED_NS = 5 * S
"""A request that left before its sender stopped is accepted no later than this afterwards: its life, and latency."""
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Hub:
    """One gateway for several clients: each gets what is meant for it."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.tickets: dict[int, Port] = {}
        self.sessions: dict[int, Port] = {}

    def advance(self, now: int) -> None:
        """Hand out what has come."""
        delivery = self.gateway.advance(now)
        for ticket, reply in delivery.replies:
            self.tickets.pop(ticket).replies.append((ticket, reply))
        for session, frame in delivery.frames:
            if (port := self.sessions.get(session.number)) is not None:
                port.frames.append((session, frame))


class Port:
    """What one client sees of the hub: as much of a `Gateway` as a `World` uses."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.venue = hub.gateway.venue
        self.replies: list[tuple[int, Reply | None]] = []
        self.frames: list[tuple[Session, Frame]] = []

    def advance(self, now: int) -> Delivery:
        self.hub.advance(now)
        delivered = Delivery(self.replies, self.frames)
        self.replies, self.frames = [], []
        return delivered

    @property
    def next_at(self) -> int:
        return 0 if self.replies or self.frames else self.hub.gateway.next_at

    def send(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, now: int) -> int:
        ticket = self.hub.gateway.send(method, path, query, headers, body, now)
        self.hub.tickets[ticket] = self
        return ticket

    def admit(self, now: int) -> Reply | Close | None:
        return self.hub.gateway.admit(now)

    def connect(self, target: str, now: int, headers: Mapping[str, str]) -> Session:
        session = self.hub.gateway.connect(target, now, headers)
        self.hub.sessions[session.number] = self
        return session

    def receive(self, session: Session, text: str | bytes, now: int) -> None:
        self.hub.gateway.receive(session, text, now)

    def disconnect(self, session: Session) -> None:
        self.hub.sessions.pop(session.number, None)
        self.hub.gateway.disconnect(session)


class Outcome(Struct):
    """How two instances got on."""

    seed: int
    both: bool
    """Both had orders accepted while both were at work."""
    beside_s: float
    """How long both did so."""
    beside: int
    """So many orders were accepted meanwhile."""
    increases: int
    """Increases of an instance that were accepted once it had stopped and its requests had expired."""


class Twins:
    """Two instances: the second begins while the first is at work, or is paused and goes on later."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        market = SeededMarket(seed, SYMBOLS, step_ms=400, volatility_scale=2.0)
        positions = {
            symbol: (Decimal(100_000 * dice.uniform(0.6, 2.4)) / price).quantize(Decimal("0.001"))
            for symbol, price in zip(SYMBOLS, market.prices(), strict=True)
        }
        account = Account(balance=100_000, positions=positions)
        faults = Faults(seed=seed, delay_ms=dice.choice((1.0, 20.0, 150.0)))
        venue = Venue(Exchange(market, [account], seed=seed, speed=600.0), rechecks=dice.random() < 0.5)
        hub = Hub(Gateway(venue, faults))
        policy = Policy(
            mode="live",
            targets=Targets(weights=dict.fromkeys(SYMBOLS, 0.5), leverage=3.0),
            bands=Bands(tolerance=0.02, destination="target"),
            triggers=Triggers(confirm_s=0.5, cool_down_s=1.0),
        )
        self.seed = seed
        self.exchange = venue.exchange
        self.begins = START + round(dice.uniform(3, 20) * S)
        self.paused = (0, 0)
        if dice.random() < 0.5:
            at = self.begins + round(dice.uniform(-10, 5) * S)
            self.paused = (at, at + round(dice.uniform(5, 60) * S))
        self.worlds: list[World] = []
        self.halted: dict[int, int] = {}
        for number in range(2):
            skew = round(dice.uniform(-400, 400) * S)
            begun = (START if number == 0 else self.begins) + skew
            world = World(
                policy,
                market,
                account,
                faults,
                gateway=cast(Gateway, Port(hub)),
                epoch=begun // EPOCH_NS % 36**4,
                nonce=dice.randrange(1, 36**3),
                skew_ns=skew,
            )
            world.decided = partial(self._decided, number)
            self.worlds.append(world)

    def _decided(self, number: int, decision: Decision) -> None:
        world = self.worlds[number]
        if world.engine.guards[0].halts.halted is not None:
            self.halted.setdefault(number, world.now)

    def run(self) -> Outcome:
        """Let them trade on the account for some minutes."""
        first, second = self.worlds
        second.now = self.begins
        now, end = START, self.begins + 150 * S
        while now < end:
            now += STEP_NS
            if not self.paused[0] <= now < self.paused[1]:
                first.now = max(first.now, now - STEP_NS)
                first.run(now)
            if now > self.begins:
                second.run(now)
        return self._judged()

    def _judged(self) -> Outcome:
        nonces = [world.engine.guards[0].strangers.nonce for world in self.worlds]
        asleep = self.paused[1] if self.paused[0] <= self.begins else 0
        since = max(self.begins, asleep)
        orders = [
            (nonces.index(origin.nonce), order)
            for order in self.exchange.ledger.orders.values()
            if (origin := origin_of(order.client_id)) is not None
        ]
        # one that has stopped still acts for safety, as both may
        stopped = {number: at + EXPIRED_NS for number, at in self.halted.items()}
        meeting = [
            (number, order)
            for number, order in orders
            if since <= order.created_ms * MS
            and not (order.reduce_only and order.created_ms * MS > stopped.get(number, inf))
        ]
        while len(meeting) > 1 and meeting[-1][0] == meeting[-2][0]:
            meeting.pop()  # from here on one was left
        alone = next((i for i, (number, _) in enumerate(meeting) if number != meeting[0][0]), len(meeting))
        meeting = meeting[alone:]  # before that, the other had not begun
        both = len({number for number, _ in meeting}) == 2
        return Outcome(
            seed=self.seed,
            both=both,
            beside_s=(meeting[-1][1].created_ms - meeting[0][1].created_ms) / 1_000 if both else 0.0,
            beside=len(meeting) if both else 0,
            increases=sum(
                not order.reduce_only and order.created_ms * MS > self.halted[number] + EXPIRED_NS
                for number, order in orders
                if number in self.halted
            ),
        )


def twins(seed: int) -> Outcome:
    """How the two instances of a seed get on."""
    return Twins(seed).run()
