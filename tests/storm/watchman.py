"""The watchman of a storm: he looks at the exchange's own books after everything that happens.

The agent's opinion does not count: what it decided is only read for what it meant to do, and how old what it went by
was. One watchman stays for a whole storm, however often the agent is restarted in it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from decimal import Decimal
from hashlib import blake2b

import msgspec

from adapters.simulator import DEMO_KEY, Account, Exchange
from agent.core.decisions import Decision
from agent.core.engine import Engine
from agent.core.orders import Order, State
from agent.core.targets import Targets
from agent.core.venue import Place

OLD_PRICES = Decimal("0.06")
"""How far a planned target may be from any that the exchange's own prices ever gave."""
A_SECOND = Decimal("0.03")
"""How far an order may lead from its plan's goal: lots are kept for a second while the prices of a storm run on."""


class Violation(Exception):
    """What must never happen has happened."""


class Watchman:
    """``decided`` is to be told of each decision, once the engine stands as it left it; ``check`` is to be called
    after everything that happens; ``audit`` at the end, at rest."""

    def __init__(self, exchange: Exchange, account: Account, targets: Targets, engine: Callable[[], Engine]) -> None:
        self.exchange = exchange
        self.account = account
        self.targets = targets
        self.symbols = tuple(targets.weights)
        self._engine = engine
        self.low: dict[str, Decimal] = {}
        self.high: dict[str, Decimal] = {}
        self.overshoot = Decimal(0)
        """Lots that a position has been outside of its hull, at the worst."""
        self.intended: dict[str, None] = {}
        """Orders that the agent decided to send."""
        self.doubted: dict[str, int] = {}
        """Orders whose fate is unknown, and since when."""
        self.resolved: dict[str, tuple[str, int, int]] = {}
        """Orders whose fate was unknown: what became of them, since when it was unknown, and when it was learnt."""
        self.never_placed: dict[str, None] = {}
        self.digest = blake2b(digest_size=16)
        """Over every decision, as it would go to the journal."""

    def decided(self, decision: Decision) -> None:
        """Take note of what the agent means to do."""
        self.digest.update(msgspec.json.encode(decision))
        for order in decision.orders:
            self._note(order, decision.at)
        placed = [request.order for request in decision.requests if isinstance(request, Place)]
        if placed:
            self.intended.update((order.id, None) for order in placed)
            self._widen()
        engine = self._engine()
        if engine.halted and not all(order.reduce for order in placed):
            raise Violation(f"halted ({engine.halted}), and it increases: {placed}")

    def _note(self, order: Order, at: int) -> None:
        if order.state is State.UNKNOWN:
            self.doubted.setdefault(order.id, at)
        elif order.id in self.doubted:
            how = "filled" if order.filled_lots else order.ended or "resting"
            self.resolved[order.id] = (how, self.doubted.pop(order.id), at)
        if order.ended == "never placed":
            self.never_placed[order.id] = None

    def _widen(self) -> None:
        """The hull is that of start and *planned* targets: at the prices the agent had, which may be a little old.

        A cost-aware plan may lead to the other side of a target, never out of the tolerance around it; what funding
        eats into has a smaller target.
        """
        engine = self._engine()
        drift = engine.drift
        assert drift is not None
        for index, symbol in enumerate(self.symbols):
            row, target = engine.book.rows[index], drift.targets[index]
            aim = drift.aims[index]
            assert row.mark is not None
            assert target is not None
            assert aim is not None
            planned = Decimal(target * drift.equity / row.mark.price)
            low, high = self.low.get(symbol, planned), self.high.get(symbol, planned)
            slack = OLD_PRICES * abs(planned)
            if not low - slack <= planned <= high + slack:
                raise Violation(f"{symbol}: a target of {planned:.4f} was planned, far from [{low:.4f}, {high:.4f}]")
            goal = self._goal(engine, index, aim)
            end = self._end(engine, index)
            kept = goal if end is None or abs(end - goal) > A_SECOND * abs(goal) else end
            seen = (low, high, planned, Decimal(aim * drift.equity / row.mark.price), goal, kept)
            self.low[symbol], self.high[symbol] = min(seen), max(seen)

    def _goal(self, engine: Engine, index: int, aim: float) -> Decimal:
        """Where a plan leads if that is inside the tolerance, in quantity; the aim otherwise."""
        drift, todo, row = engine.drift, engine.plan, engine.book.rows[index]
        assert drift is not None
        assert todo is not None
        assert row.mark is not None
        inside = abs(todo.goals[index] - aim) <= drift.bands[index] * drift.gross_target
        return Decimal((todo.goals[index] if inside else aim) * drift.equity / row.mark.price)

    def _end(self, engine: Engine, index: int) -> Decimal | None:
        """The position that the order planned for an instrument leads to; None if there is none."""
        step = self.exchange.instruments[self.symbols[index]].step
        legs = engine.plan.legs if engine.plan else ()
        ends = [(engine.book.rows[index].lots + leg.lots) * step for leg in legs if leg.instrument == index]
        return ends[0] if ends else None

    def held(self, symbol: str) -> Decimal:
        """The position as the exchange has it."""
        position = self.account.positions.get((symbol, "BOTH"))
        return position.quantity if position else Decimal(0)

    def check(self) -> None:
        """Exposure stays in the hull of start and targets, give or take a lot; nothing is sent twice."""
        mark = self.exchange.matcher.mark
        equity = self.account.wallet + self.account.unrealised(mark)
        for symbol, share in self.targets.weights.items():
            assert share != "hold"
            target = equity * Decimal(share * self.targets.leverage) / mark(symbol)
            held = self.held(symbol)
            low = self.low[symbol] = min(self.low.get(symbol, held), target)
            high = self.high[symbol] = max(self.high.get(symbol, held), target)
            lot = self.exchange.instruments[symbol].step
            least, most = self._reach(symbol, held)
            outside = max(low - least, most - high) / lot
            if outside > self.overshoot:
                self.overshoot = outside
                if outside > 1:
                    so = f"{held}, or {least} to {most} with what is open,"
                    raise Violation(f"{symbol}: {so} is outside of [{low:.4f}, {high:.4f}] by more than a lot")
        for again in self.exchange.ledger.resent:
            if again.what in (
                "POST /fapi/v1/order",
                "DELETE /fapi/v1/order",
            ):  # two equal questions in one millisecond are no harm
                raise Violation(f"a signed order request arrived twice: {again}")

    def _reach(self, symbol: str, held: Decimal) -> tuple[Decimal, Decimal]:
        """The least and the most that a position may become by what is open on it."""
        least = most = held
        for order in self.account.open_orders.values():
            if order.symbol == symbol and not order.reduce_only:
                least, most = (least, most + order.left) if order.side > 0 else (least - order.left, most)
        return least, most

    def compare(self, records: Iterable[Order]) -> None:
        """Every order has an end in the journal, and what that says of it is what the exchange has."""
        for order in records:
            if order.state is not State.DONE:
                raise Violation(f"{order.id} has no end in the journal: {order.state}")
            real = self.exchange.ledger.with_client_id(DEMO_KEY, order.id)
            done = real.executed if real else Decimal(0)
            believed = order.filled_lots * self.exchange.instruments[order.symbol].step
            if believed != done:
                raise Violation(f"{order.id} has {believed} filled by the journal ({order.ended}), {done} in truth")

    def audit(self, written: Container[str]) -> None:
        """At the end: each attempt is at most one order and was ``written`` down, and the agent's positions and orders
        are the exchange's."""
        engine, ledger = self._engine(), self.exchange.ledger
        for (_, name), orders in ledger.by_client_id.items():
            if len(orders) > 1:
                raise Violation(f"{name} became {len(orders)} orders")
            if name not in written:
                raise Violation(f"{name} was sent without being written down")
        for name in self.never_placed:
            if (DEMO_KEY, name) in ledger.by_client_id:
                raise Violation(f"{name} was taken for never placed, and the exchange has it")
        live = engine.blotter.live()
        if live:
            raise Violation(f"{live[0].id} is still {live[0].state} at rest")
        if self.account.open_orders:
            raise Violation(f"{next(iter(self.account.open_orders.values())).client_id} rests unknown to the agent")
        for index, symbol in enumerate(self.symbols):
            row = engine.book.rows[index]
            assert row.instrument is not None
            known = row.instrument.quantity(row.lots) * (1 if row.lots > 0 else -1)
            if known != self.held(symbol):
                raise Violation(f"{symbol}: the agent believes in {known}, the exchange has {self.held(symbol)}")
        drift = engine.drift
        if drift is None or (drift.reach > 1 and engine.declined is None):
            raise Violation(f"drift is not inside the band at rest: {engine.state}, {drift}")
