"""The engine: told facts and the time, it answers with a decision. Nothing else calls the parts together.

One call is one step: all facts of a frame are applied first, then one decision is made, so that new prices are never
compared with old ones. The same facts at the same times give the same decisions, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.core import margin, words
from agent.core.audit import TRUTH, Audit
from agent.core.book import Book
from agent.core.correction import GIVE_UP_NS, RETRY_NS, STRIKES, Correction, order_of
from agent.core.costs import Costs
from agent.core.drift import Bands, Drift, measure
from agent.core.economy import Economist, Economy, Verdict
from agent.core.events import (
    Absent,
    Accepted,
    Clock,
    Command,
    Denied,
    Depth,
    Down,
    Ended,
    Fact,
    Fault,
    Filled,
    Flow,
    Lost,
    Orders,
    Quote,
    Refused,
    Side,
    Throttled,
    Unknown,
    Up,
    Warned,
)
from agent.core.orders import MS, Blotter, Order, S, State, Style, epoch_of, order_id
from agent.core.planner import Execution, Leg, Limits, Plan, plan, relieved
from agent.core.risk import Refusal, Situation, judge
from agent.core.tally import Tally
from agent.core.targets import Targets
from agent.core.triggers import Threshold, Triggers
from agent.core.venue import Ask, Cancel, Place, Request, What

Mode = Literal["observe", "paper", "live"]

HOLD_NOTE_NS = 60 * S
"""How often it is written down that there is nothing to do."""


class Policy(Struct, frozen=True):
    """What the user decided, as far as decisions depend on it."""

    mode: Mode
    targets: Targets
    bands: Bands = Bands()
    triggers: Triggers = Triggers()
    limits: Limits = Limits()
    costs: Costs = Costs()
    economy: Economy = Economy()
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


class Engine:
    """The decisions for one account.

    ``schedule`` gives the next cron time after a moment, None if there is none. ``resume`` are the orders of earlier
    runs: those without an end on record, and those of the last day.
    """

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
        self.symbols = list(policy.targets.weights)
        self.book = Book(self.symbols)
        self.blotter = Blotter()
        self.tally = Tally()
        self.audit = Audit(answers, len(self.symbols), salt=f"{tag}{epoch}")
        triggers = policy.triggers
        self._cool_down_ns = round(triggers.cool_down_s * S)
        self.threshold = Threshold(1.0, triggers.rearm, round(triggers.confirm_s * S), self._cool_down_ns)
        self.voluntary = Threshold(1.0, triggers.rearm, round(triggers.confirm_s * S), self._cool_down_ns)
        """Left when the cost-aware band is."""
        self.economist = Economist(policy.economy, policy.bands, policy.costs)
        self.declined: str | None = None
        """Why what is outside a band is left there, in words."""
        self.correction: Correction | None = None
        self.drift: Drift | None = None
        self.plan: Plan | None = None
        self.halted: str | None = None
        """Why nothing increases until a person has seen to it."""
        self.killed: str | None = None
        """Why nothing increases while the kill switch is on."""
        self.paused = False
        self.stopping = False
        self.state = "starting"
        self.seq = 0
        self.next_schedule_at: int | None = None
        self._schedule = schedule
        self._number = 0
        self._wake_at = 0
        self._next_hold_note = 0
        self._urgent_rest_until = 0
        self._urgent_vain = 0
        """How many urgent corrections in a row have traded nothing."""
        self._unreachable: dict[int, None] = {}
        self._notes: list[Note] = []
        self._cancels: dict[str, int] = {}
        self._outside: dict[str, None] = {}
        """Orders of ours on instruments that the file does not name, once they have been spoken of."""
        for order in resume:
            self._resume(order)

    # One step

    def step(self, facts: Sequence[Fact], now: int) -> Decision:
        """Apply the facts of one frame, then decide."""
        for fact in facts:
            self._take(fact, now)
        self.economist.observe(self.book, now)
        requests: list[Request] = []
        if not self._changes_nothing(facts, now):
            requests += self._questions(now)
            requests += [Place(order=order) for order in self._work(now)]
            self._wake_at = self._due_at(now)
        self.seq += 1
        notes, self._notes = self._notes, []
        return Decision(
            seq=self.seq,
            at=now,
            requests=tuple(requests),
            notes=tuple(notes),
            orders=self.blotter.drain(),
            wake_at=self._wake_at,
        )

    def _changes_nothing(self, facts: Sequence[Fact], now: int) -> bool:
        """Quotes alone move no weight: unless a correction waits for one, or something is due, they are only noted."""
        only_quotes = bool(facts) and all(isinstance(fact, Quote | Depth) for fact in facts)
        return only_quotes and self.correction is None and now < self._wake_at

    # What was told

    def _take(self, fact: Fact, now: int) -> None:
        self.book.apply(fact, now)
        self.audit.apply(fact, now)
        match fact:
            case Quote() | Depth():
                pass
            case Accepted() | Filled() | Ended() | Refused() | Lost() | Absent():
                self._take_order(fact, now)
            case Orders():
                self._take_open_orders(fact, now)
            case Clock():
                self.blotter.venue_ahead_ns = max(0, fact.offset_ns + fact.error_ns)
            case Command():
                self._obey(fact, now)
            case _:
                self._take_news(fact, now)

    def _take_news(self, fact: Fact, now: int) -> None:
        """What is worth a word, or makes us ask again."""
        match fact:
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
                self.blotter.cancel_resting(now, increases_only=True)
            case Throttled(reason=reason, banned=banned):
                self._note("warning", f"{'banned' if banned else 'throttled'} by the venue: {reason}")
            case Warned(what=what):
                self._note("warning", f"the venue warns: {what}")
            case Flow(kind=kind, amount=amount, asset=asset):
                self._note("state", f"{kind} {amount:+,.2f} {asset}")
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
        if after.filled_lots > before.filled_lots:
            self._count(after, after.filled_lots - before.filled_lots, fact, now)
        match fact:
            case Filled():
                self.tally.fills += 1
                if fact.fee_asset == self.book.settle:
                    self.tally.fees += fact.fee
                self._note("fill", f"{self._size(after, fact.lots)} at {fact.price:g}", after.symbol)
            case Refused() if before.state is State.SENT:
                self._refusal(after, fact, now)
            case Lost() if before.state is not State.DONE:
                self._note("warning", f"order {after.id} may or may not exist ({fact.reason}); asking", after.symbol)
        if after.state is State.DONE and before.state is not State.DONE:
            self._finished(after, now)

    def _count(self, order: Order, lots: int, fact: Fact, now: int) -> None:
        instrument = self.book.rows[order.instrument].instrument
        value = order.worth(lots)
        if isinstance(fact, Filled) and instrument is not None:
            value = abs(instrument.notional(lots, fact.price))
        self.tally.traded(order, value, now)
        if self.correction is not None:
            self.correction.filled(value, now)

    def _finished(self, order: Order, now: int) -> None:
        if order.filled_lots < abs(order.lots):
            what = f"{self._size(order, order.filled_lots)} of {self._size(order, order.lots)} filled"
            self._note("order", f"order {order.id} ended ({order.ended}), {what}", order.symbol)
        if self.correction is not None:
            self.correction.ended(order, now)

    def _refusal(self, order: Order, fact: Refused, now: int) -> None:
        self.tally.refused += 1
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
        text = f"a trade that is not ours: {fact.lots:+d} lots at {fact.price:g} ({fact.order})"
        self._note("warning", text, self.symbols[fact.instrument])
        effects = self.blotter.effects
        effects[fact.instrument] = max(effects.get(fact.instrument, 0), fact.at)
        self.audit.hurry(What.ACCOUNT, now)

    def _take_open_orders(self, fact: Orders, now: int) -> None:
        """Compare with what the venue has; an order of ours that should not be there is cancelled."""
        self.blotter.compare(fact, now)
        for row in fact.rows:
            known = self.blotter.orders.get(row.order)
            stray = known is None or known.ended == "never placed"
            epoch = epoch_of(row.order, self.tag)
            if epoch is None or not stray:
                continue
            if row.instrument is None:
                if row.order not in self._outside:
                    self._outside[row.order] = None
                    self._note("warning", f"order {row.order} of epoch {epoch} rests outside of the file's instruments")
            elif self.policy.mode != "observe":
                what = "is not on record" if known is None else "was taken for never placed"
                self._note("warning", f"order {row.order} of epoch {epoch} rests but {what}; cancelling it")
                self._cancels[row.order] = row.instrument

    def _obey(self, command: Command, now: int) -> None:
        self._note("state", f"command {command.name} {command.argument}".rstrip())
        match command.name:
            case "pause":
                self.paused = True
                self._end(now)
            case "resume":
                self.paused, self.halted = False, None
                self._rearm()
            case "halt":
                self._halt(command.argument or "by command")
                self.blotter.cancel_resting(now, increases_only=True)
            case "kill":
                self.killed = command.argument or "by command"
                self.blotter.cancel_resting(now, increases_only=True)
            case "unkill":
                self.killed = None
            case "resync":
                self.audit.require((What.TIME, *TRUTH), now, self._venue_now(now))
            case "stop":
                self.stopping = True
                self._end(now)
                self.blotter.cancel_resting(now)
            case "rebalance" if self.paused:
                self._note("warning", "paused: nothing is corrected before a resume")
            case "rebalance":
                self._start("command", now, to_target=command.argument == "target")
            case _:
                self._note("warning", f"there is no command {command.name}")

    def _halt(self, reason: str) -> None:
        if self.halted != reason:
            self.halted = reason
            self._note(
                "halt", f"halted: {reason.rstrip('.')}. Nothing increases until a person has seen to it and restarts"
            )

    # What to ask

    def _questions(self, now: int) -> list[Request]:
        doubtful = bool(self.book.disputed) or any(
            self.book.known_at(index) < self.blotter.needed(index) for index in range(len(self.symbols))
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
        leverage = self.correction.leverage if self.correction else None
        drift = measure(self.book, self.policy.targets, self.policy.bands, leverage)
        unready = self.unready() or (None if drift else "equity: it is not known, or not positive")
        if unready or drift is None:
            self._enter(f"waiting for {unready}")
            return []
        self.drift = drift
        self.economist.look(self.book, drift, now)
        if not self.paused:
            self._pull_triggers(drift, now)
        orders = self._correct(self.correction, drift, now) if self.correction else []
        if self.correction is None:
            self.economist.look(self.book, drift, now)
            self._hold(drift, now)
        self._enter(self.posture)
        return orders

    def unready(self) -> str | None:
        """What is still missing before anything may be decided; None when all is known."""
        missing = self.audit.missing()
        if unlisted := self.unlisted():
            return f"the venue to list {', '.join(unlisted)}"
        if missing:
            return "answers of the venue"
        down = [stream for stream in self.streams if stream not in self.book.streams]
        if down:
            return f"stream {', '.join(down)}"
        silent = [row.symbol for row in self.book.rows if row.mark is None]
        return f"a price of {', '.join(silent)}" if silent else None

    def unlisted(self) -> list[str]:
        """Symbols that the venue, having been asked, does not have."""
        if What.INSTRUMENTS in self.audit.missing():
            return []
        return [row.symbol for row in self.book.rows if row.instrument is None]

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
            self.next_schedule_at = self._schedule(now)
        reach = self._reach(drift)
        fired = self.threshold.observe(reach, now)
        left = self.voluntary.observe(self.economist.reach, now)
        if max(reach, self.economist.reach) < 1:
            self.declined = None
        scheduled = self.next_schedule_at is not None and now >= self.next_schedule_at
        if scheduled:
            self.next_schedule_at = self._schedule(now)
        danger = self._danger(drift) if now >= self._urgent_rest_until else None
        if danger and (self.correction is None or self.correction.relief is None):
            self._start(danger, now, urgent=True, relief=self._lots)
        elif drift.leverage > self.policy.limits.leverage and now >= self._urgent_rest_until:
            if self.correction is None or not self.correction.urgent:
                self._start(f"leverage {drift.leverage:.2f}x is over the limit", now, urgent=True)
        elif self.correction is None and (fired or scheduled):
            cause = words.worst(self.symbols, drift) if fired else "the schedule"
            self._consider(cause, drift, now, breach=reach >= 1)
        elif self.correction is None and left:
            cause = words.riskiest(self.symbols, self.economist.reaches)
            self._consider(cause, drift, now, breach=False, voluntary=True)

    def _consider(self, cause: str, drift: Drift, now: int, *, breach: bool, voluntary: bool = False) -> None:
        """Start a correction, if it earns more than its orders cost; else look again after the cool-down.

        Where a cost is not known, what has left the tolerance is corrected.
        """
        to_target, maker = self.policy.bands.destination == "target", self.policy.execution.style == "maker"
        todo = self._plan(drift, to_target=to_target, maker=maker, breach=breach)
        verdict = self.economist.verdict(self.book, drift, todo, breach=breach)
        if verdict is None or verdict.pays or not (todo.legs or voluntary):
            self._start(cause, now, breach=breach)
            return
        self._say_unreachable(todo)
        news = self.declined is None
        self.declined = words.declined(verdict)
        if news:
            self._note("hold", f"{cause}; {self.declined}")
        self._rest(now, S)

    def _danger(self, drift: Drift) -> str | None:
        """Why liquidation is too near, if so; None as well while margin tables are missing."""
        held, limits = margin.exposures(self.book), self.policy.limits
        if held is None:
            return None
        return margin.danger(drift.equity, held, limits.liquidation_distance, limits.maintenance)

    def _start(
        self,
        cause: str,
        now: int,
        *,
        to_target: bool = False,
        urgent: bool = False,
        breach: bool = True,
        relief: tuple[int, ...] | None = None,
    ) -> None:
        leverage = self.drift.leverage_free if self.drift else 0.0
        to_target = to_target or self.policy.bands.destination == "target"
        self.correction = Correction(
            cause, now, leverage, to_target=to_target, urgent=urgent, breach=breach, relief=relief
        )
        self.threshold.absorb(now)
        self.voluntary.absorb(now)
        self.declined = None
        self._note("trigger", f"correcting: {cause}")

    def _correct(self, correction: Correction, drift: Drift, now: int) -> list[Order]:
        maker = self.policy.execution.style == "maker" and not correction.urgent
        if correction.relief is not None:
            todo = self._relieved(drift, correction.relief)
        else:
            todo = self._plan(drift, to_target=correction.to_target, maker=maker, breach=correction.breach)
        if correction.urgent:
            todo = replace(todo, legs=tuple(leg for leg in todo.legs if leg.reduce))
        self.plan = todo
        live = self.blotter.live()
        if not todo.legs and not live:
            self._finish(correction, drift, todo, now)
            return []
        if self.policy.mode == "observe":
            said = words.plan(self.book, todo, self._verdict(correction, drift, todo))
            self._note("plan", f"{said}; nothing is sent in observe mode")
            self._end(now)
            return []
        orders = self._place(correction, drift, todo, now, maker=maker)
        if not orders and not live:
            given_up = all(correction.given_up(leg) for leg in todo.legs)
            if given_up or now >= correction.progress_at + GIVE_UP_NS:
                why = (
                    f"{STRIKES} orders in a row came to nothing"
                    if given_up
                    else f"{GIVE_UP_NS // S} s without progress"
                )
                self._note("done", f"gave up: {why}; trying again after the cool-down")
                self._end(now)
        return orders

    def _plan(self, drift: Drift, *, to_target: bool, maker: bool, breach: bool) -> Plan:
        policy = self.policy
        trades = None if to_target else self.economist.trades(self.book, drift, breach=breach)
        return plan(
            self.book,
            drift,
            policy.bands,
            policy.limits,
            policy.costs,
            to_target=to_target,
            maker=maker,
            trades=trades,
        )

    def _verdict(self, correction: Correction, drift: Drift, todo: Plan) -> Verdict | None:
        """What the plan of a correction earns and costs; safety is not weighed."""
        if correction.urgent:
            return None
        return self.economist.verdict(self.book, drift, todo, breach=correction.breach)

    @property
    def _lots(self) -> tuple[int, ...]:
        return tuple(row.lots for row in self.book.rows)

    def _relieved(self, drift: Drift, start: tuple[int, ...]) -> Plan:
        under_way: dict[tuple[int, Side], int] = {}
        for order in self.blotter.live():
            if order.reduce:
                row = order.instrument, order.side
                under_way[row] = under_way.get(row, 0) + order.open_lots
        return relieved(self.book, drift, self.policy.limits, self.policy.costs, start, under_way)

    def _place(self, correction: Correction, drift: Drift, todo: Plan, now: int, *, maker: bool) -> list[Order]:
        """The orders of this moment: reductions, and increases once no reduction is left that can be had."""
        orders: list[Order] = []
        first_word = len(self._notes)
        reducing = any(
            leg.reduce and not correction.given_up(leg) and self._hopeful(leg, drift, now) for leg in todo.legs
        )
        for leg in correction.candidates(todo.legs, self.blotter, now):
            if reducing and not leg.reduce:
                continue
            refusal = judge(leg, self._situation(drift, now))
            if refusal is not None:
                if correction.news(refusal, now):
                    self._note("refusal", f"{refusal.gate}: {refusal.reason}", self.symbols[refusal.instrument])
                continue
            orders.append(self._send(leg, now, maker=maker and correction.may_rest(leg)))
            correction.sent(orders[-1], now)
        if orders and correction.orders == len(orders):
            said = words.plan(self.book, todo, self._verdict(correction, drift, todo))
            self._notes.insert(first_word, Note(kind="plan", text=said))
        return orders

    def forbids(self, order: Order) -> str | None:
        """Why an order that was decided on, but has not left yet, must not leave; None if it may."""
        if self.stopping or self.paused:
            return "stopping" if self.stopping else "paused"
        return None if order.reduce else self.halted or self.killed

    def _hopeful(self, leg: Leg, drift: Drift, now: int) -> bool:
        """Whether a leg passes its gates now, or will when what is under way is done."""
        refusal = judge(leg, self._situation(drift, now))
        return refusal is None or refusal.passing

    def _send(self, leg: Leg, now: int, *, maker: bool) -> Order:
        row, policy = self.book.rows[leg.instrument], self.policy
        self._number += 1
        name = order_id(self.tag, self.epoch, self._number)
        order = order_of(leg, row, name, now, policy.execution, policy.limits, maker=maker)
        cancel_at = now + round(policy.execution.patience_s * S) if order.style is Style.POST else None
        self.blotter.add(order, now, cancel_at)
        self.tally.sent(now)
        self._note("order", words.order(row, order, leg), row.symbol)
        return order

    def _situation(self, drift: Drift, now: int) -> Situation:
        return Situation(
            book=self.book,
            drift=drift,
            blotter=self.blotter,
            limits=self.policy.limits,
            now=now,
            halted=self.halted or self.killed,
            increased_today=self.tally.increased_today(self.blotter.live(), now),
            sent_last_minute=self.tally.sent_last_minute(now),
        )

    def _finish(self, correction: Correction, drift: Drift, todo: Plan, now: int) -> None:
        self._say_unreachable(todo)
        outcome = f"traded {correction.traded:,.0f} in {correction.orders} orders" if correction.orders else "no trade"
        stands = f"largest drift is now {drift.worst:.1%}, leverage {drift.leverage:.2f}x"
        if correction.relief is not None and (held := margin.exposures(self.book)) is not None:
            away = margin.distances(drift.equity, held).joint
            stands += "" if away is None else f", liquidation is {away:.1%} away"
        self._note("done", f"{outcome}; {stands}")
        self._end(now)

    def _say_unreachable(self, todo: Plan) -> None:
        """What no order can cure is said once, until all can be cured again."""
        for skip in todo.skips:
            if skip.instrument not in self._unreachable:
                self._unreachable[skip.instrument] = None
                self._note("warning", skip.reason, self.symbols[skip.instrument])
        if not todo.skips:
            self._unreachable.clear()

    def _end(self, now: int) -> None:
        """No correction any more: rest for the cool-down, then begin anew."""
        if self.correction is not None and self.correction.urgent:
            longest = max(S, self._cool_down_ns)
            self._urgent_vain = 0 if self.correction.traded else self._urgent_vain + 1
            rest = min(S << min(self._urgent_vain, 16), longest) if self.correction.orders else longest
            self._urgent_rest_until = now + (rest if self._urgent_vain else 0)
        self.correction = None
        self.economist.forget()
        self._rest(now)

    def _rest(self, now: int, least_ns: int = 0) -> None:
        """Leave all triggers alone for the cool-down, then begin anew."""
        self.threshold.absorb(now, least_ns)
        self.voluntary.absorb(now, least_ns)
        self._rearm()

    def _rearm(self) -> None:
        self.threshold.reset()
        self.voluntary.reset()

    def _hold(self, drift: Drift, now: int) -> None:
        if now >= self._next_hold_note:
            self._next_hold_note = now + HOLD_NOTE_NS
            where = "inside the band"
            if drift.reach >= 1 or self.economist.reach >= 1:
                where = "paused" if self.paused else "waiting for confirmation or cool-down"
                where = self.declined or where
            aware = f", {self.economist.reach:.0%} of the cost-aware band" if self.economist.reaches else ""
            self._note("hold", f"{where}: largest drift {drift.worst:.1%} ({drift.reach:.0%} of its band){aware}")

    def preview(self, now: int, *, to_target: bool = False) -> tuple[Plan, dict[int, Refusal]] | None:
        """What a correction would do at this moment, and the legs a gate would refuse; None while not ready."""
        if self.unready() or self.drift is None:
            return None
        drift, maker = self.drift, self.policy.execution.style == "maker"
        to_target = to_target or self.policy.bands.destination == "target"
        if self._danger(drift):
            todo = self._relieved(drift, self._lots)
        else:
            todo = self._plan(drift, to_target=to_target, maker=maker, breach=self.breached(drift))
        verdicts = {leg.instrument: judge(leg, self._situation(drift, now)) for leg in todo.legs}
        return todo, {index: refusal for index, refusal in verdicts.items() if refusal is not None}

    def verdict(self, todo: Plan) -> Verdict | None:
        """What a plan earns and costs at this moment; None while either is not known."""
        if self.drift is None:
            return None
        return self.economist.verdict(self.book, self.drift, todo, breach=self.breached(self.drift))

    def breached(self, drift: Drift) -> bool:
        """Whether the user's tolerance has been left, by one instrument or by all together."""
        return self._reach(drift) >= 1

    def _reach(self, drift: Drift) -> float:
        bands = self.policy.bands
        return max(drift.reach, drift.total / bands.portfolio if bands.portfolio else 0.0)

    # Small things

    def _resume(self, order: Order) -> None:
        """Take over an order of an earlier run: unfinished ones are asked about, finished ones count as turnover."""
        if order.state is State.DONE:
            self.tally.recall(order)
        elif order.symbol in self.symbols:
            unknown = replace(order, state=State.UNKNOWN, instrument=self.symbols.index(order.symbol))
            self.blotter.add(unknown, order.created_at)
            self._note("warning", f"order {order.id} of an earlier run has no end on record; asking", order.symbol)
        else:
            self._halt(
                f'order {order.id} on {order.symbol} has no end on record; name it in the file, at least as "hold"'
            )

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
        return words.size(self.book.rows[order.instrument], lots, buying=order.lots > 0)

    def _due_at(self, now: int) -> int:
        """When to look again if nothing is heard; what is past due waits for something else and is not counted."""
        times = [self.audit.wake_at()]
        waits = (
            self.blotter.wake_at(),
            self.threshold.due_at,
            self.voluntary.due_at,
            self.next_schedule_at,
            self._next_hold_note,
        )
        times += [at for at in waits if at is not None and at > now]
        if self.correction is not None:
            times.append(now + RETRY_NS)
        return max(now + MS, min(times))
