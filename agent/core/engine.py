"""The engine: told facts and the time, it answers with a decision. Nothing else calls the parts together.

One call is one step: all facts of a frame are applied first, then one decision is made, so that new prices are never
compared with old ones. The same facts at the same times give the same decisions, byte for byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.core.audit import TRUTH, Audit
from agent.core.book import Book, Row
from agent.core.costs import Costs
from agent.core.drift import Bands, Drift, measure
from agent.core.events import (
    Absent,
    Accepted,
    Command,
    Denied,
    Down,
    Ended,
    Fact,
    Fault,
    Filled,
    Flow,
    Lost,
    Orders,
    Refused,
    Throttled,
    Unknown,
    Up,
    Warned,
)
from agent.core.orders import MS, Blotter, Order, S, State, Style, epoch_of, order_id
from agent.core.planner import Execution, Leg, Limits, Plan, plan
from agent.core.risk import Refusal, Situation, judge
from agent.core.targets import Targets
from agent.core.triggers import Threshold, Triggers
from agent.core.venue import Ask, Cancel, Place, Request, What

Mode = Literal["observe", "paper", "live"]

DAY_NS = 24 * 3600 * S
GIVE_UP_NS = 60 * S
"""A correction that could not be finished for so long ends, and is tried again after the cool-down."""
RETRY_NS = 250 * MS
"""How long to leave an instrument alone after an order on it did not fill; doubles each time."""
HOLD_NOTE_NS = 60 * S
"""How often it is written down that there is nothing to do."""
LONG_NS = 5 * S
"""A wait for so long is worth a word."""
STRIKES = 3
"""After so many refusals in one correction an instrument is left alone until the next."""


class Policy(Struct, frozen=True):
    """What the user decided, as far as decisions depend on it."""

    mode: Mode
    targets: Targets
    bands: Bands = Bands()
    triggers: Triggers = Triggers()
    limits: Limits = Limits()
    costs: Costs = Costs()
    execution: Execution = Execution()


class Note(Struct, frozen=True):
    """A reason, in words: why something was done, or why not."""

    kind: str
    """state, trigger, plan, order, fill, refusal, hold, done, warning or halt."""
    text: str
    symbol: str | None = None


class Decision(Struct, frozen=True):
    """What to do now, why, and when to look again. ``orders`` are those that changed, as they are now."""

    seq: int
    at: int
    requests: tuple[Request, ...]
    notes: tuple[Note, ...]
    orders: tuple[Order, ...]
    wake_at: int


class Correction(Struct):
    """A correction under way: it goes on, leg by leg, until nothing is left to trade."""

    cause: str
    started_at: int
    to_target: bool
    urgent: bool
    """For safety: take, don't make."""
    last_progress_at: int = 0
    orders: int = 0
    traded: float = 0.0
    strikes: dict[int, int] = {}
    rest_until: dict[int, int] = {}
    take: dict[int, None] = {}
    """Instruments on which resting has been tried and now the price is taken."""
    refusals: dict[tuple[str, int], None] = {}
    """Refusals already written down."""


class Engine:
    """The decisions for one account. ``schedule`` gives the next cron time after a moment, None if there is none."""

    def __init__(
        self,
        policy: Policy,
        *,
        epoch: int,
        tag: str,
        answers: frozenset[What],
        streams: tuple[str, ...],
        schedule: Callable[[int], int | None],
        resume: Iterable[Order] = (),
    ) -> None:
        self.policy = policy
        self.epoch = epoch
        self.tag = tag
        self.streams = streams
        self.schedule = schedule
        self.symbols = list(policy.targets.weights)
        self.book = Book(self.symbols)
        self.blotter = Blotter()
        self.audit = Audit(answers, len(self.symbols), salt=f"{tag}{epoch}")
        triggers = policy.triggers
        self.threshold = Threshold(1.0, triggers.rearm, round(triggers.confirm_s * S), round(triggers.cool_down_s * S))
        self.correction: Correction | None = None
        self.drift: Drift | None = None
        self.plan: Plan | None = None
        self.halted: str | None = None
        self.killed: str | None = None
        self.paused = False
        self.stopping = False
        self.state = "starting"
        self.seq = 0
        self.fees = 0.0
        self.turnover = 0.0
        self.fills = 0
        self.refused = 0
        self._number = 0
        self.next_schedule_at: int | None = None
        self._next_hold_note = 0
        self._increases: deque[tuple[int, float]] = deque()
        self._sent: deque[int] = deque()
        self._unreachable: dict[int, None] = {}
        self._notes: list[Note] = []
        self._cancels: dict[str, int] = {}
        for order in resume:
            self._resume(order)

    # One step

    def step(self, facts: Sequence[Fact], now: int) -> Decision:
        """Apply the facts of one frame, then decide."""
        for fact in facts:
            self._take(fact, now)
        requests: list[Request] = [*self._questions(now)]
        requests += [Place(order=order) for order in self._work(now)]
        self.seq += 1
        notes, self._notes = self._notes, []
        return Decision(
            seq=self.seq,
            at=now,
            requests=tuple(requests),
            notes=tuple(notes),
            orders=self.blotter.drain(),
            wake_at=self._wake_at(now),
        )

    # What was told

    def _take(self, fact: Fact, now: int) -> None:
        self.book.apply(fact, now)
        self.audit.apply(fact, now)
        match fact:
            case Accepted() | Filled() | Ended() | Refused() | Lost() | Absent():
                self._take_order(fact, now)
            case Orders():
                self._take_open_orders(fact, now)
            case Up(stream=stream):
                self._note("state", f"stream {stream} is up")
                if stream == "private":
                    self.audit.require(TRUTH, now, self._venue_now(now))
            case Down(stream=stream, reason=reason) if not self.stopping:
                self._note("state", f"stream {stream} is down: {reason}")
            case Unknown(private=True, what=what):
                self._note("warning", f"unreadable word about the account ({what}); asking the venue for everything")
                self.audit.require(TRUTH, now, self._venue_now(now))
            case Denied(reason=reason):
                self._halt(f"the venue rejects the key or account: {reason}")
            case Throttled(reason=reason, banned=banned):
                self._note("warning", f"{'banned' if banned else 'throttled'} by the venue: {reason}")
            case Warned(what=what):
                self._note("warning", f"the venue warns: {what}")
            case Flow(kind=kind, amount=amount, asset=asset):
                self._note("state", f"{kind} {amount:+,.2f} {asset}")
            case Command():
                self._obey(fact, now)
            case _:
                pass

    def _take_order(self, fact: Accepted | Filled | Ended | Refused | Lost | Absent, now: int) -> None:
        before = self.blotter.orders.get(fact.order)
        if before is None:
            if isinstance(fact, Filled):
                self._foreign_fill(fact, now)
            return
        after = self.blotter.apply(fact, now)
        if after is None:
            return
        done = after.filled_lots - before.filled_lots
        if done:
            self._count(after, done, fact.price if isinstance(fact, Filled) else after.reference, now)
        match fact:
            case Filled():
                self.fees += fact.fee
                self.fills += 1
                self._note("fill", f"{self._size(after, fact.lots)} at {fact.price:g}", after.symbol)
            case Refused() if before.state is State.SENT:
                self._refusal(after, fact, now)
            case Lost() if before.state is not State.DONE:
                self._note("warning", f"order {after.id} may or may not exist ({fact.reason}); asking", after.symbol)
        if after.state is State.DONE and before.state is not State.DONE:
            self._finished(after, now)

    def _count(self, order: Order, lots: int, price: float, now: int) -> None:
        instrument = self.book.rows[order.instrument].instrument
        if instrument is None:
            return
        value = abs(instrument.notional(lots, price))
        self.turnover += value
        if not order.reduce:
            self._increases.append((now, value))
        if self.correction is not None:
            self.correction.traded += value
            self.correction.last_progress_at = now

    def _finished(self, order: Order, now: int) -> None:
        if order.filled_lots < abs(order.lots):
            what = f"{self._size(order, order.filled_lots)} of {self._size(order, order.lots)} filled"
            self._note("order", f"order {order.id} ended ({order.ended}), {what}", order.symbol)
        correction = self.correction
        if correction is None:
            return
        index = order.instrument
        if order.style is Style.POST and order.filled_lots < abs(order.lots):
            correction.take[index] = None
        if order.filled_lots:
            correction.strikes.pop(index, None)
        else:
            strikes = correction.strikes.get(index, 0)
            correction.strikes[index] = strikes + 1
            correction.rest_until[index] = now + (RETRY_NS << strikes)

    def _refusal(self, order: Order, fact: Refused, now: int) -> None:
        self.refused += 1
        self._note("refusal", f"the venue refused order {order.id}: {fact.reason} ({fact.code})", order.symbol)
        venue_now = self._venue_now(now)
        match fact.fault:
            case Fault.RULE | Fault.CLOSED:
                self.audit.require((What.INSTRUMENTS,), now, 0)
            case Fault.MARGIN:
                self.audit.require((What.ACCOUNT, What.LEVERAGE, What.POSITIONS), now, venue_now)
            case Fault.REDUCE:
                self.audit.require((What.POSITIONS, What.ORDERS), now, venue_now)
            case Fault.CLOCK:
                self.audit.require((What.TIME,), now, 0)
            case Fault.ACCOUNT:
                self._halt(f"the venue refuses our orders: {fact.reason} ({fact.code})")
            case _:
                pass

    def _foreign_fill(self, fact: Filled, now: int) -> None:
        row = self.book.rows[fact.instrument]
        self._note(
            "warning", f"a trade that is not ours: {fact.lots:+d} lots at {fact.price:g} ({fact.order})", row.symbol
        )
        effects = self.blotter.effects
        effects[fact.instrument] = max(effects.get(fact.instrument, 0), fact.at)
        self.audit.hurry(What.ACCOUNT, now)

    def _take_open_orders(self, fact: Orders, now: int) -> None:
        self.blotter.compare(fact, now)
        for row in fact.rows:
            epoch = epoch_of(row.order, self.tag)
            if epoch is not None and row.order not in self.blotter.orders and row.instrument is not None:
                self._note(
                    "warning", f"order {row.order} of epoch {epoch} rests without being on record; cancelling it"
                )
                self._cancels[row.order] = row.instrument

    def _obey(self, command: Command, now: int) -> None:
        self._note("state", f"command {command.name} {command.argument}".rstrip())
        match command.name:
            case "pause":
                self.paused, self.correction = True, None
            case "resume":
                self.paused, self.halted = False, None
            case "halt":
                self._halt(command.argument or "by command")
            case "kill":
                self.killed = command.argument
            case "unkill":
                self.killed = None
            case "resync":
                self.audit.require((What.TIME, *TRUTH), now, self._venue_now(now))
            case "stop":
                self.stopping, self.correction = True, None
                self.blotter.cancel_resting(now)
            case "rebalance":
                self._start("command", now, to_target=command.argument == "target")
            case _:
                self._note("warning", f"there is no command {command.name}")

    def _halt(self, reason: str) -> None:
        if self.halted != reason:
            self.halted = reason
            self._note("halt", f"halted: {reason}. Nothing increases until a person says resume")

    # What to ask

    def _questions(self, now: int) -> list[Request]:
        doubtful = bool(self.book.disputed) or any(
            self.book.known_at(index) < at for index, at in self.blotter.effects.items()
        )
        if doubtful:
            self.audit.hurry(What.POSITIONS, now)
        requests: list[Request] = [*self.audit.due(now)]
        asks, cancels = self.blotter.due(now)
        requests += [Ask(what=What.ORDER, instrument=order.instrument, order=order.id) for order in asks]
        requests += [Cancel(order=order.id, instrument=order.instrument) for order in cancels]
        requests += [Cancel(order=name, instrument=index) for name, index in self._cancels.items()]
        self._cancels.clear()
        return requests

    # What to do

    def _work(self, now: int) -> list[Order]:
        if self.stopping:
            self._enter("stopping")
            return []
        unready = self.unready()
        self._enter(f"waiting for {unready}" if unready else self.posture)
        if unready:
            return []
        self.drift = measure(self.book, self.policy.targets, self.policy.bands)
        if self.drift is None:
            self._enter("waiting for equity: it is not known, or not positive")
            return []
        self._pull_triggers(self.drift, now)
        if self.correction is None:
            self._hold(self.drift, now)
            return []
        return self._correct(self.correction, self.drift, now)

    def unready(self) -> str | None:
        """What is still missing before anything may be decided; None when all is known."""
        unlisted = [row.symbol for row in self.book.rows if row.instrument is None]
        missing = self.audit.missing()
        if What.INSTRUMENTS not in missing and unlisted:
            return f"the venue to list {', '.join(unlisted)}; correct [targets.weights] if the name is wrong"
        if missing:
            return "answers of the venue"
        down = [stream for stream in self.streams if stream not in self.book.streams]
        if down:
            return f"stream {', '.join(down)}"
        silent = [row.symbol for row in self.book.rows if row.mark is None]
        return f"a price of {', '.join(silent)}" if silent else None

    @property
    def posture(self) -> str:
        """In a word, what the engine is free to do."""
        if self.halted or self.killed:
            return f"halted: {self.halted or self.killed}"
        if self.paused:
            return "paused"
        return "correcting" if self.correction else "holding"

    def _pull_triggers(self, drift: Drift, now: int) -> None:
        """Start a correction if a trigger fires. Safety does not wait for confirmation or cool-down."""
        if self.next_schedule_at is None:
            self.next_schedule_at = self.schedule(now)
        bands = self.policy.bands
        reach = max(drift.reach, drift.total / bands.portfolio if bands.portfolio else 0.0)
        fired = self.threshold.observe(reach, now)
        if self.paused:
            return
        if drift.leverage > self.policy.limits.leverage:
            if self.correction is None or not self.correction.urgent:
                self._start(f"leverage {drift.leverage:.2f}x is over the limit", now, urgent=True)
        elif fired and self.correction is None:
            self._start(self._worst(drift), now)
        elif self.next_schedule_at is not None and now >= self.next_schedule_at:
            self.next_schedule_at = self.schedule(now)
            if self.correction is None:
                self._start("the schedule", now)

    def _worst(self, drift: Drift) -> str:
        reaches = [abs(d) / band for d, band in zip(drift.drifts, drift.bands, strict=True)]
        index = reaches.index(max(reaches))
        return f"{self.symbols[index]} drifted {drift.drifts[index]:+.1%}, its band is ±{drift.bands[index]:.1%}"

    def _start(self, cause: str, now: int, *, to_target: bool = False, urgent: bool = False) -> None:
        to_target = to_target or self.policy.bands.destination == "target"
        self.correction = Correction(
            cause=cause, started_at=now, to_target=to_target, urgent=urgent, last_progress_at=now
        )
        self.threshold.absorb(now)
        self._note("trigger", f"correcting: {cause}")

    def _correct(self, correction: Correction, drift: Drift, now: int) -> list[Order]:
        maker = self.policy.execution.style == "maker" and not correction.urgent
        policy = self.policy
        self.plan = plan(
            self.book, drift, policy.bands, policy.limits, policy.costs, to_target=correction.to_target, maker=maker
        )
        live = self.blotter.live()
        if not self.plan.legs and not live:
            self._finish(correction, drift, self.plan, now)
            return []
        if policy.mode == "observe":
            self._note("plan", f"{self._legs(self.plan)}; nothing is sent in observe mode")
            self._end(now)
            return []
        orders = self._place(correction, drift, self.plan, now, maker=maker)
        if not orders and not live:
            struck = all(correction.strikes.get(leg.instrument, 0) >= STRIKES for leg in self.plan.legs)
            if struck or now >= correction.last_progress_at + GIVE_UP_NS:
                why = (
                    f"{STRIKES} orders in a row came to nothing" if struck else f"{GIVE_UP_NS // S} s without progress"
                )
                self._note("done", f"gave up: {why}; trying again after the cool-down")
                self._end(now)
        return orders

    def _place(self, correction: Correction, drift: Drift, todo: Plan, now: int, *, maker: bool) -> list[Order]:
        orders: list[Order] = []
        first_word = len(self._notes)
        legs = [leg for leg in todo.legs if correction.strikes.get(leg.instrument, 0) < STRIKES]
        reducing = any(leg.reduce for leg in legs)
        for leg in legs:
            if reducing and not leg.reduce:
                break  # increases wait until there is nothing left to reduce
            if self.blotter.live(leg.instrument) or now < correction.rest_until.get(leg.instrument, 0):
                continue
            refusal = judge(leg, self._situation(drift, now))
            if refusal is not None:
                self._refuse(correction, refusal, now)
                continue
            order = self._order(leg, now, maker=maker and leg.instrument not in correction.take)
            cancel_at = now + round(self.policy.execution.patience_s * S) if order.style is Style.POST else None
            self.blotter.add(order, now, cancel_at)
            self._sent.append(now)
            orders.append(order)
        if orders:
            if not correction.orders:
                self._notes.insert(first_word, Note(kind="plan", text=self._legs(todo)))
            correction.orders += len(orders)
            correction.last_progress_at = now
        return orders

    def _situation(self, drift: Drift, now: int) -> Situation:
        while self._increases and self._increases[0][0] < now - DAY_NS:
            self._increases.popleft()
        while self._sent and self._sent[0] < now - 60 * S:
            self._sent.popleft()
        still_open = 0.0
        for order in self.blotter.live():
            instrument = self.book.rows[order.instrument].instrument
            if not order.reduce and instrument is not None:
                still_open += abs(instrument.notional(order.open_lots, order.reference))
        return Situation(
            book=self.book,
            drift=drift,
            blotter=self.blotter,
            limits=self.policy.limits,
            now=now,
            halted=self.halted or self.killed,
            increased_today=sum(value for _, value in self._increases) + still_open,
            sent_last_minute=len(self._sent),
        )

    def _refuse(self, correction: Correction, refusal: Refusal, now: int) -> None:
        """Write a refusal down once; one that only means waiting, when the wait gets long."""
        key = (refusal.gate, refusal.instrument)
        if refusal.passing and now < correction.last_progress_at + LONG_NS:
            return
        if key not in correction.refusals:
            correction.refusals[key] = None
            self._note("refusal", f"{refusal.gate}: {refusal.reason}", self.symbols[refusal.instrument])

    def _order(self, leg: Leg, now: int, *, maker: bool) -> Order:
        row = self.book.rows[leg.instrument]
        assert row.instrument is not None, "a leg is never planned without a grid"
        assert row.mark is not None, "a leg is never planned without a price"
        ticks = self._limit(row, leg, now, maker=maker)
        self._number += 1
        order = Order(
            id=order_id(self.tag, self.epoch, self._number),
            instrument=leg.instrument,
            symbol=row.symbol,
            side=leg.side,
            lots=leg.lots,
            ticks=ticks,
            style=Style.POST if maker else Style.IOC,
            reduce=leg.reduce,
            created_at=now,
            expires_at=now + round(self.policy.execution.request_life_s * S),
            reference=row.mark.price,
        )
        price = row.instrument.price(ticks)
        verb = "reduce:" if leg.reduce else "add:"
        cost = f", cost about {leg.cost.total:,.2f} {row.instrument.quote}" if leg.cost else ""
        text = (
            f"{verb} {self._size(order, order.lots)} ({leg.notional:,.0f} {row.instrument.quote}), limit {price}{cost}"
        )
        self._note("order", f"{text}, order {order.id}", row.symbol)
        return order

    def _limit(self, row: Row, leg: Leg, now: int, *, maker: bool) -> int:
        """The price of an order in ticks: the best one to rest at, or the worst one to take."""
        assert row.instrument is not None, "a leg is never planned without a grid"
        assert row.mark is not None, "a leg is never planned without a price"
        buying = leg.lots > 0
        best = worst = row.mark.price
        fresh = row.quote_seen is not None and now - row.quote_seen <= self.policy.limits.data_age_s * S
        if row.quote is not None and fresh:
            best, worst = (row.quote.bid, row.quote.ask) if buying else (row.quote.ask, row.quote.bid)
        if maker:
            return row.instrument.ticks_within(best, buying=buying)
        slip = self.policy.execution.slippage
        if buying:
            price = worst * (1 + slip)
            if row.instrument.price_up is not None:
                price = min(price, row.mark.price * row.instrument.price_up)
        else:
            price = worst * (1 - slip)
            if row.instrument.price_down is not None:
                price = max(price, row.mark.price * row.instrument.price_down)
        return row.instrument.ticks_within(price, buying=buying)

    def _finish(self, correction: Correction, drift: Drift, todo: Plan, now: int) -> None:
        for skip in todo.skips:
            if skip.instrument not in self._unreachable:
                self._unreachable[skip.instrument] = None
                self._note("warning", skip.reason, self.symbols[skip.instrument])
        outcome = f"traded {correction.traded:,.0f} in {correction.orders} orders" if correction.orders else "no trade"
        self._note("done", f"{outcome}; largest drift is now {drift.worst:.1%}, leverage {drift.leverage:.2f}x")
        if not todo.skips:
            self._unreachable.clear()
        self._end(now)

    def _end(self, now: int) -> None:
        self.correction = None
        self.threshold.absorb(now)
        self.threshold.rearm()

    def _hold(self, drift: Drift, now: int) -> None:
        if now >= self._next_hold_note:
            self._next_hold_note = now + HOLD_NOTE_NS
            outside = drift.reach >= 1
            waiting = "waiting for confirmation or cool-down" if outside else "inside the band"
            self._note("hold", f"{waiting}: largest drift {drift.worst:.1%} ({drift.reach:.0%} of its band)")

    def preview(self, now: int, *, to_target: bool = False) -> tuple[Plan, dict[int, Refusal]] | None:
        """What a correction would do at this moment, and the legs a gate would refuse; None while not ready."""
        if self.unready() or self.drift is None:
            return None
        policy = self.policy
        to_target = to_target or policy.bands.destination == "target"
        maker = policy.execution.style == "maker"
        todo = plan(self.book, self.drift, policy.bands, policy.limits, policy.costs, to_target=to_target, maker=maker)
        verdicts = {leg.instrument: judge(leg, self._situation(self.drift, now)) for leg in todo.legs}
        return todo, {index: refusal for index, refusal in verdicts.items() if refusal is not None}

    # Small things

    def _resume(self, order: Order) -> None:
        """Take over an order of an earlier life: unfinished ones are asked about, finished ones count as turnover."""
        if order.state is not State.DONE:
            unknown = replace(order, state=State.UNKNOWN, instrument=self.symbols.index(order.symbol))
            self.blotter.add(unknown, order.created_at)
            self._note("warning", f"order {order.id} of an earlier run has no end on record; asking", order.symbol)
        elif order.filled_lots and not order.reduce:
            value = order.reference * order.filled_lots
            self._increases.append((order.created_at, value))

    def _venue_now(self, now: int) -> int:
        """The venue's time, at the earliest it can be."""
        clock = self.book.clock
        return now + (clock.offset_ns - clock.error_ns if clock else 0)

    def _enter(self, state: str) -> None:
        if state == self.state:
            return
        quiet = {"holding", "correcting"}
        if not {state, self.state} <= quiet:  # between these two, trigger and outcome have said it already
            self._note("state", state)
        self.state = state

    def _note(self, kind: str, text: str, symbol: str | None = None) -> None:
        self._notes.append(Note(kind=kind, text=text, symbol=symbol))

    def _size(self, order: Order, lots: int) -> str:
        instrument = self.book.rows[order.instrument].instrument
        verb = "buy" if order.lots > 0 else "sell"
        if instrument is None:
            return f"{verb} {abs(lots)} lots"
        return f"{verb} {instrument.quantity(lots)} {instrument.base}"

    def _legs(self, todo: Plan) -> str:
        legs = []
        for leg in todo.legs:
            instrument = self.book.rows[leg.instrument].instrument
            assert instrument is not None, "a leg is never planned without a grid"
            verb = "buy" if leg.lots > 0 else "sell"
            legs.append(f"{verb} {instrument.quantity(leg.lots)} {instrument.base} ({leg.notional:,.0f})")
        cost = sum(leg.cost.total for leg in todo.legs if leg.cost)
        return f"{', '.join(legs)}; cost about {cost:,.2f}"

    def _wake_at(self, now: int) -> int:
        times = [self.audit.wake_at()]
        times += [at for at in (self.blotter.wake_at(), self.threshold.due_at, self.next_schedule_at) if at is not None]
        if self._next_hold_note > now:
            times.append(self._next_hold_note)
        if self.correction is not None:
            times.append(now + RETRY_NS)
        return max(now + MS, min(times))
