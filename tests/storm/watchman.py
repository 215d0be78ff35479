"""The watchman of a storm: he looks at the exchange's own books after everything that happens.

The agent's opinion does not count: what it decided is only read for what it meant to do, and how old what it went by
was. One watchman stays for a whole storm, however often the agent is restarted in it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from hashlib import blake2b

import msgspec

from adapters.simulator import DEMO_KEY, Account, Exchange
from adapters.simulator.wire import UNREADABLE, Topic
from agent.core.decisions import Decision
from agent.core.desk import Answer, Frame, Input
from agent.core.engine import Engine
from agent.core.events import Side
from agent.core.orders import Order, S, State
from agent.core.targets import Targets
from agent.core.venue import Ask, Call, Place, Reply, What

NEAR = Decimal("0.06")
"""How far a planned target may be from any that the exchange's own books give at prices it has had."""
A_SECOND = Decimal("0.03")
"""How far an order may lead from its plan's goal: lots are kept for a second while the prices of a storm run on."""


NEWS_NS = 20 * S
"""Within this time the agent has heard of a trade that is not its own."""


class Violation(Exception):
    """What must never happen has happened."""


class Watchman:
    """``decided`` is to be told of each decision, once the engine stands as it left it; ``check`` is to be called
    after everything that happens; ``audit`` at the end, at rest."""

    weight_limit = 2_400
    """Request weight that the exchange allows in a minute."""

    def __init__(
        self,
        exchange: Exchange,
        account: Account,
        targets: Targets,
        engine: Callable[[], Engine],
        topic: Callable[[bytes], Topic],
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.exchange = exchange
        self.account = account
        self.targets = targets
        self.symbols = tuple(targets.weights)
        self.names = names or {symbol: symbol for symbol in self.symbols}
        """The exchange's own names of its symbols, by the venue's."""
        self._spelt = {name: symbol for symbol, name in self.names.items()}
        self._engine = engine
        self._topic = topic
        self.low: dict[str, Decimal] = {}
        self.high: dict[str, Decimal] = {}
        self._marks: dict[str, list[tuple[int, Decimal]]] = {symbol: [] for symbol in self.symbols}
        """By symbol: the exchange's own marks of late, each with the exchange's time in milliseconds until which it
        held, the newest last."""
        self.overshoot = Decimal(0)
        """Lots that a position has been outside of its hull, at the worst."""
        self.intended: dict[str, None] = {}
        """Orders that the agent decided to send."""
        self.doubted: dict[str, int] = {}
        """Orders whose fate is unknown, and since when."""
        self.resolved: dict[str, tuple[str, int, int]] = {}
        """Orders whose fate was unknown: what became of them, since when it was unknown, and when it was learnt."""
        self.never_placed: dict[str, None] = {}
        self.open: dict[str, Order] = {}
        """Orders that, by the journal, may still trade."""
        self.reducing: dict[str, None] = {}
        """Orders that were meant to reduce."""
        self.marks_at: dict[str, int] = {}
        """By symbol: when its mark price last reached the agent."""
        self.halted: str | None = None
        """Why nothing may increase any more, in the agent's own words."""
        self.positions_at = 0
        """When an answer about all positions last reached it."""
        self.silent_until = 0
        """The venue has asked for silence until then."""
        self.heaviest = 0.0
        """The largest part of the request weight that was ever used, as the exchange counts it."""
        self._calls: dict[int, Call] = {}
        self._now = 0
        """When it last heard something; 0 where nobody tells what reaches the agent, and no age can be known."""
        self._fills = 0
        """How many fills of the exchange have been looked at."""
        self._held = {symbol: self.held(symbol) for symbol in self.symbols}
        """Positions by the fills that have been looked at."""
        self._moved_at: dict[str, int] = {}
        """By symbol: when somebody else has last traded it, which the agent can't know at once."""
        self.digest = blake2b(digest_size=16)
        """Over every decision, as it would go to the journal."""

    def decided(self, decision: Decision, at: int | None = None) -> None:
        """Take note of what the agent means to do. Nobody else is on the account, and it must not think so either.

        ``at`` is when it was, where the agent's own clock may have been set meanwhile.
        """
        at = decision.at if at is None else at
        for note in decision.notes:
            if note.kind == "external":
                raise Violation(f"it takes its own doings for somebody else's: {note.text}")
        self.digest.update(msgspec.json.encode(decision))
        for order in decision.orders:
            self._note(order, at)
        for note in decision.notes:
            if note.kind == "halt":
                self.halted = note.text
            if any(name in note.text for name in self.intended) and note.text.startswith("a trade that is not ours"):
                raise Violation(f"an order of its own is disowned: {note.text}")
        placed = [request.order for request in decision.requests if isinstance(request, Place)]
        for order in placed:
            self._question(order, at)
        if placed:
            self.intended.update((order.id, None) for order in placed)
            self._widen()
        engine = self._engine()
        if engine.guards[0].halts.halted and not all(order.reduce for order in placed):
            raise Violation(f"halted ({engine.guards[0].halts.halted}), and it increases: {placed}")

    def forget(self) -> None:
        """The journal is lost: what was sent before is now a stranger's."""
        self.intended.clear()
        self.open.clear()

    def left(self, call: Call) -> None:
        """Take note of a request: none leaves in a silence that the venue has asked for."""
        self._calls[call.tag] = call
        if isinstance(call.request, Place) and call.request.order.id not in self.open:
            raise Violation(f"{call.request.order.id} left without being written down")
        if call.at < self.silent_until:
            wait = (self.silent_until - call.at) / S
            raise Violation(f"{call.request} left {wait:.3f} s before the end of the silence that was asked for")

    def heard(self, arrived: Input, now: int) -> None:
        """Take note of what reaches the agent: how fresh its inputs are, and what the venue says of its budget."""
        self._now = now
        match arrived:
            case Frame(socket="market", data=data):
                with suppress(*UNREADABLE):  # what a fault has spoilt tells nothing
                    topic = self._topic(data)
                    if topic.what == "mark" and topic.symbol in self._spelt:
                        self.marks_at[self._spelt[topic.symbol]] = now
            case Answer(call=tag, reply=reply) if (call := self._calls.pop(tag, None)) is not None:
                self._reply(call, reply, now)
            case _:
                pass

    def _reply(self, call: Call, reply: Reply, now: int) -> None:
        used = int(next((count for name, count in reply.headers.items() if name.endswith("used-weight-1m")), 0))
        self.heaviest = max(self.heaviest, used / self.weight_limit)
        if self.heaviest > 1:
            raise Violation(f"{used} of {self.weight_limit} of the request weight were used")
        if reply.status in (418, 429) and (wait := reply.headers.get("retry-after")) is not None:
            self.silent_until = max(self.silent_until, now + int(wait) * S)
        if reply.status == 200 and call.request == Ask(What.PRICES):
            self.marks_at.update((symbol, now) for symbol in self.symbols)
        if reply.status == 200 and call.request == Ask(What.POSITIONS):
            self.positions_at = now

    def _question(self, order: Order, now: int) -> None:
        """Whether an order may be sent, by what has reached the agent, by the journal, and by the exchange's books."""
        policy, symbol = self._engine().policy, order.symbol
        if self._now and now - self.marks_at.get(symbol, 0) > policy.limits.data_age_s * S:
            raise Violation(f"{order.id} was sized from a price of {symbol} that is too old")
        if not order.reduce:
            if self.halted is not None:
                raise Violation(f"{order.id} increases after the agent has {self.halted}")
            if self._now and now - self.positions_at > policy.timing.quiet_s * S:
                raise Violation(f"{order.id} increases, and positions were last told long ago")
            for other in self.open.values():
                if other.id != order.id and (other.reduce or other.state is State.UNKNOWN):
                    raise Violation(f"{order.id} increases while {other.id} is {other.state}")
        for other in self.open.values():
            if other.id != order.id and other.symbol == symbol:
                raise Violation(f"{order.id} was sent while {other.id} on {symbol} is {other.state}")
        self._look(now)
        step = self._step(symbol)
        held = self._row(symbol, order.side)
        known = now - self._moved_at.get(symbol, 0) > NEWS_NS and order.held_lots is not None
        if known and (order.held_lots or 0) * step != held:
            raise Violation(f"{order.id} was sized from {order.held_lots} lots; {held} are held")

    def _look(self, now: int) -> None:
        """Look at the fills since the last time: what was meant to reduce has reduced."""
        fills = self.exchange.ledger.fills
        for fill in fills[self._fills :]:
            symbol = self._spelt.get(fill.symbol, fill.symbol)
            if fill.account != DEMO_KEY or symbol not in self._held:
                continue
            before = self._held[symbol]
            after = self._held[symbol] = before + fill.side * fill.quantity
            if fill.client_id not in self.intended:
                self._moved_at[symbol] = now
            elif fill.client_id in self.reducing and not (abs(after) < abs(before) and after * before >= 0):
                raise Violation(f"{fill.client_id} was to reduce {symbol}, and led from {before} to {after}")
        self._fills = len(fills)

    def _note(self, order: Order, at: int) -> None:
        self.open[order.id] = order
        if order.state is State.DONE:
            del self.open[order.id]
        if order.reduce:
            self.reducing[order.id] = None
        if order.state is State.UNKNOWN:
            self.doubted.setdefault(order.id, at)
        elif order.id in self.doubted:
            how = "filled" if order.filled_lots else order.ended or "resting"
            self.resolved[order.id] = (how, self.doubted.pop(order.id), at)
        if order.ended == "never placed":
            self.never_placed[order.id] = None

    def _widen(self) -> None:
        """The hull is that of start and *planned* targets: at the prices the agent had, which may be as old as its
        limits allow, each by itself: in a storm a second is ten minutes.

        A cost-aware plan may lead to the other side of a target, never out of the tolerance around it; what funding
        eats into has a smaller target.
        """
        engine = self._engine()
        drift = engine.drift
        assert drift is not None
        self._remember()
        poorest, richest = self._equities()
        for index, symbol in enumerate(self.symbols):
            row, target = engine.book.rows[index], drift.targets[index]
            aim = drift.aims[index]
            assert row.mark is not None
            assert target is not None
            assert aim is not None
            planned = self._sized(symbol, target, drift.equity, row.mark.price)
            low, high = self.low.get(symbol, planned), self.high.get(symbol, planned)
            least, most = self._knowable(symbol, poorest, richest)
            least, most, slack = min(low, least), max(high, most), NEAR * abs(planned)
            if not least - slack <= planned <= most + slack:
                raise Violation(f"{symbol}: a target of {planned:.4f} was planned, far from [{least:.4f}, {most:.4f}]")
            goal = self._goal(engine, index, aim)
            end = self._end(engine, index)
            kept = goal if end is None or abs(end - goal) > A_SECOND * abs(goal) else end
            seen = (low, high, planned, self._sized(symbol, aim, drift.equity, row.mark.price), goal, kept)
            self.low[symbol], self.high[symbol] = min(seen), max(seen)

    def _remember(self) -> None:
        """Keep the exchange's marks for as long as the agent may go by them."""
        now, age = self.exchange.now_ms, self._engine().policy.limits.data_age_s
        for symbol, marks in self._marks.items():
            mark = self._mark(symbol)
            if marks and marks[-1][1] == mark:
                marks.pop()
            marks.append((now, mark))
            while marks[0][0] < now - age * 1000:
                del marks[0]

    def _equities(self) -> tuple[Decimal, Decimal]:
        """The least and the most that the account is worth, by what it holds now, at marks of late."""
        poorest = richest = self.account.wallet
        for held in self.account.held():
            worth = [held.unrealised(mark) for _, mark in self._marks[self._spelt[held.symbol]]]
            poorest, richest = poorest + min(worth), richest + max(worth)
        return poorest, richest

    def _knowable(self, symbol: str, poorest: Decimal, richest: Decimal) -> tuple[Decimal, Decimal]:
        """The least and the most that its target is at any equity and mark of late."""
        targets = [self._target(symbol, one, mark) for one in (poorest, richest) for _, mark in self._marks[symbol]]
        return min(targets), max(targets)

    def _goal(self, engine: Engine, index: int, aim: float) -> Decimal:
        """Where a plan leads if that is inside the tolerance, in quantity; the aim otherwise."""
        drift, todo, row = engine.drift, engine.plan, engine.book.rows[index]
        assert drift is not None
        assert todo is not None
        assert row.mark is not None
        inside = abs(todo.goals[index] - aim) <= drift.bands[index] * drift.gross_target
        return self._sized(self.symbols[index], todo.goals[index] if inside else aim, drift.equity, row.mark.price)

    def _end(self, engine: Engine, index: int) -> Decimal | None:
        """The position that the order planned for an instrument leads to; None if there is none."""
        step = self._step(self.symbols[index])
        legs = engine.plan.legs if engine.plan else ()
        ends = [(engine.book.rows[index].lots + leg.lots) * step for leg in legs if leg.instrument == index]
        return ends[0] if ends else None

    def held(self, symbol: str) -> Decimal:
        """The position as the exchange has it."""
        return sum((self._row(symbol, side) for side in Side), Decimal(0))

    def _row(self, symbol: str, side: Side) -> Decimal:
        """One row of a position as the exchange has it."""
        name = "BOTH" if side is Side.NET else side.upper()
        position = self.account.positions.get((self.names[symbol], name))
        return position.quantity if position else Decimal(0)

    def _step(self, symbol: str) -> Decimal:
        """A lot of an instrument, in the base asset."""
        return self.exchange.instruments[self.names[symbol]].step

    def _sized(self, symbol: str, weight: float, equity: float | Decimal, price: float | Decimal) -> Decimal:
        """The quantity that weighs so much; what a coin that the account is held in weighs by itself left out."""
        one = self.exchange.instruments[self.names[symbol]]
        return (Decimal(weight) - one.inverse) * Decimal(equity) / one.value(Decimal(1), Decimal(price))

    def _target(self, symbol: str, equity: Decimal, mark: Decimal) -> Decimal:
        """The position that the targets ask for, in quantity; ``equity`` is in what the account is held in."""
        share = self.targets.weights[symbol]
        assert share != "hold"
        worth = equity * mark if self.exchange.instruments[self.names[symbol]].inverse else equity
        return self._sized(symbol, share * self.targets.leverage, worth, mark)

    def _mark(self, symbol: str) -> Decimal:
        return self.exchange.matcher.mark(self.names[symbol])

    def check(self) -> None:
        """Exposure stays in the hull of start and targets, give or take a lot; nothing is sent twice."""
        self._look(self._now)
        equity = self.account.wallet + self.account.unrealised(self.exchange.matcher.mark)
        self._remember()
        for symbol in self.symbols:
            target = self._target(symbol, equity, self._mark(symbol))
            held = self.held(symbol)
            low = self.low[symbol] = min(self.low.get(symbol, held), target)
            high = self.high[symbol] = max(self.high.get(symbol, held), target)
            lot = self._step(symbol)
            least, most = self._reach(symbol, held)
            outside = max(low - least, most - high) / lot
            if outside > self.overshoot:
                self.overshoot = outside
                if outside > 1:
                    so = f"{held}, or {least} to {most} with what is open,"
                    raise Violation(f"{symbol}: {so} is outside of [{low:.4f}, {high:.4f}] by more than a lot")
        for again in self.exchange.ledger.resent:
            if not again.what.startswith("GET "):  # two equal questions in one millisecond are no harm
                raise Violation(f"a signed order request arrived twice: {again}")

    def _reach(self, symbol: str, held: Decimal) -> tuple[Decimal, Decimal]:
        """The least and the most that a position may become by what is open on it."""
        least = most = held
        for order in self.account.open_orders.values():
            if order.symbol == self.names[symbol] and not order.reduce_only:
                least, most = (least, most + order.left) if order.side > 0 else (least - order.left, most)
        return least, most

    def compare(self, records: Iterable[Order]) -> None:
        """Every order has an end in the journal, and what that says of it is what the exchange has."""
        for order in records:
            if order.state is not State.DONE:
                raise Violation(f"{order.id} has no end in the journal: {order.state}")
            real = self.exchange.ledger.with_client_id(DEMO_KEY, order.id)
            done = real.executed if real else Decimal(0)
            believed = order.filled_lots * self._step(order.symbol)
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
        for known_as in engine.blotter.orders.values():
            there = ledger.with_client_id(DEMO_KEY, known_as.id)
            step = self._step(known_as.symbol)
            if known_as.filled_lots * step != (there.executed if there else 0):
                raise Violation(f"{known_as.id} has filled otherwise than the agent believes: {known_as}, {there}")
        if engine.tally.fills > sum(fill.client_id in self.intended for fill in ledger.fills):
            raise Violation(f"{engine.tally.fills} fills were counted, more than there were")
        live = engine.blotter.live()
        if live:
            raise Violation(f"{live[0].id} is still {live[0].state} at rest")
        if self.account.open_orders:
            raise Violation(f"{next(iter(self.account.open_orders.values())).client_id} rests unknown to the agent")
        for index, symbol in enumerate(self.symbols):
            row = engine.book.rows[index]
            assert row.instrument is not None
            one = row.instrument
            known = row.lots * one.step * (1 if one.inverse else one.multiplier)
            if known != self.held(symbol):
                raise Violation(f"{symbol}: the agent believes in {known}, the exchange has {self.held(symbol)}")
        drift = engine.drift
        if drift is None or (drift.reach > 1 and engine.declined is None and self.halted is None):
            raise Violation(f"drift is not inside the band at rest: {engine.state}, {drift}")
