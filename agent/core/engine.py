"""The engine: told facts and the time, it answers with a decision. Nothing else calls the parts together.

One call is one step: all facts of a frame are applied first, then one decision is made, so that new prices are never
compared with old ones. The same facts at the same times give the same decisions, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from agent.core import margin, words
from agent.core.alarm import Alarm
from agent.core.audit import TRUTH
from agent.core.book import Book, Row
from agent.core.breaker import Breaker
from agent.core.correction import GIVE_UP_NS, RETRY_NS, STRIKES, Correction, order_of
from agent.core.course import Course
from agent.core.decisions import Decision, Memory, Note, Policy
from agent.core.drift import Drift
from agent.core.economy import Economist, Verdict
from agent.core.events import (
    PRIVATE,
    Absent,
    Accepted,
    Balance,
    Clock,
    Command,
    Denied,
    Depth,
    Down,
    Elsewhere,
    Ended,
    Fact,
    Fault,
    Filled,
    Flow,
    Forced,
    Lost,
    Margin,
    Orders,
    Owner,
    Position,
    Positions,
    Quote,
    Refused,
    Throttled,
    Unanswered,
    Unknown,
    Unset,
    Up,
    Warned,
)
from agent.core.guard import Guard, Seat, placed
from agent.core.mandate import Mandate
from agent.core.orders import MS, RESOLVED, Blotter, Order, S, State, Style
from agent.core.planner import Leg, Plan
from agent.core.readiness import settled
from agent.core.reasons import Reason, Reasons
from agent.core.risk import Refusal, Situation, judge
from agent.core.settings import Settings
from agent.core.tally import Tally
from agent.core.targets import Given
from agent.core.venue import Ask, Cancel, Place, Request, What

ACCOUNT = (Position, Positions, Balance, Margin, Filled, Ended, Flow)
"""What is told about the account."""
HOLD_NOTE_NS = 60 * S
"""How often it is written down that there is nothing to do."""


class Engine:
    """The decisions for a portfolio, which may lie on several accounts: one of ``seats`` each.

    ``schedule`` gives the next cron time after a moment, ``blackout`` the end of the window it lies in; None if there
    is none. ``resume`` are the orders of earlier runs: those without an end on record, and those of the last day;
    ``memory`` is what the last one remembered; ``nonce`` sets this run's
    ids apart from those of one that begins at the same time, ``halted`` is why it begins halted, if so.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        epoch: int,
        seats: Sequence[Seat],
        schedule: Callable[[int], int | None],
        blackout: Callable[[int], int | None] = lambda now: None,
        resume: Iterable[Order] = (),
        memory: Memory | None = None,
        nonce: int = 0,
        halted: str | None = None,
    ) -> None:
        self.policy = policy
        self.epoch = epoch
        self.symbols = policy.targets.symbols
        self.book = Book(self.symbols, placed(self.symbols, [seat.name for seat in seats]))
        self.guards = [
            Guard(seat, index, self.book, policy, epoch=epoch, nonce=nonce, note=self._note)
            for index, seat in enumerate(seats)
        ]
        self.blotter = Blotter()
        self.tally = Tally()
        self.breaker = Breaker()
        memory = memory or Memory(symbols=())
        learned = memory.covariance if list(memory.symbols) == self.symbols else None
        self.settings = Settings(policy.execution.leverage)
        self.reasons = Reasons(
            self.symbols, policy.bands, policy.triggers, policy.pairs, schedule, blackout, memory.schedule_at
        )
        self.mandate = Mandate(policy, memory, self._note, self.reasons.wish)
        self.economist = Economist(policy.economy, policy.bands, policy.costs, self.mandate.carry, learned)
        self.declined: str | None = None
        """Why what is outside a band is left there, in words."""
        self.alarm = Alarm(self.guards, self.blotter, policy.limits, round(policy.triggers.cool_down_s * S))
        self.course = Course(policy, self.book, self.blotter, self.tally, self.economist, self.mandate)
        self.correction: Correction | None = None
        self.drift: Drift | None = None
        self.plan: Plan | None = None
        self.state = "starting"
        self.seq = 0
        self.wake_at = 0
        """When it wants to look again if nothing is heard."""
        self._next_hold_note = 0
        self._unreachable: dict[int, None] = {}
        self._notes: list[Note] = []
        self._cancels: dict[str, int] = {}
        self.beyond: dict[str, Order] = {}
        """Orders of earlier runs without an end on record, on symbols that the file does not name: nothing can be asked
        about them."""
        self._resolved: list[Order] = []
        """Those of them that a person has just resolved."""
        for order in resume:
            self._resume(order)
        for guard in self.guards:
            guard.strangers.unrecorded = guard.strangers.unrecorded or bool(self.beyond)
        if halted is not None:
            for guard in self.guards:
                guard.halts.halt(halted)

    # One step

    def step(self, facts: Sequence[Fact], now: int) -> Decision:
        """Apply the facts of one frame, then decide."""
        for guard in self.guards:
            guard.strangers.begin(now)
        for fact in facts:
            self._take(fact, now)
        for guard in self.guards:
            if guard.halts.fresh():
                self.blotter.cancel_resting(now, guard.account.rows, increases_only=guard.halts.others is None)
        self.economist.observe(self.book, now)
        requests: list[Request] = []
        reopen: list[str] = []
        if not self._changes_nothing(facts, now):
            for guard in self.guards:
                guard.readiness.look()
            reopen = self._feel(now)
            requests += self._questions(now)
            requests += self._settings(now)
            requests += [Place(order=order) for order in self._work(now)]
            self.wake_at = self._due_at(now)
        self.seq += 1
        notes, self._notes = self._notes, []
        resolved, self._resolved = self._resolved, []
        remember, self.mandate.remember = self.mandate.remember, False
        return Decision(
            seq=self.seq,
            at=now,
            requests=tuple(requests),
            notes=tuple(notes),
            orders=(*self.blotter.drain(), *resolved),
            wake_at=self.wake_at,
            remember=remember,
            reopen=tuple(reopen),
        )

    def memory(self) -> Memory:
        """What the next run has to know."""
        return Memory(
            symbols=tuple(self.symbols),
            covariance=self.economist.state,
            carry=self.mandate.carry.state,
            sleeves=self.mandate.sleeves.state if self.mandate.sleeves else None,
            given=self.mandate.given,
            schedule_at=self.reasons.schedule_at,
            owners={guard.name: guard.terms.owner for guard in self.guards if guard.terms.owner is not None},
        )

    def _changes_nothing(self, facts: Sequence[Fact], now: int) -> bool:
        """Quotes alone move no weight: unless a correction waits for one, or something is due, they are only noted."""
        only_quotes = bool(facts) and all(isinstance(fact, Quote | Depth) for fact in facts)
        return only_quotes and self.correction is None and now < self.wake_at

    # What was told

    def _take(self, fact: Fact, now: int) -> None:
        guard = self.guards[fact.account]
        guard.take(fact, now)
        if isinstance(fact, ACCOUNT):
            self.mandate.doubted = guard.doubted = True
        if isinstance(fact, Owner):
            self._compare_owners(guard, fact.name)
        match fact:
            case Quote() | Depth():
                pass
            case Accepted() | Filled() | Ended() | Refused() | Lost() | Absent():
                self._take_order(fact, now)
            case Orders():
                self._take_open_orders(fact, guard, now)
            case Clock():
                clocks = [account.clock for account in self.book.accounts if account.clock is not None]
                self.blotter.venue_ahead_ns = max(clock.offset_ns + clock.error_ns for clock in clocks)
                self.blotter.venue_ahead_least_ns = min(clock.offset_ns - clock.error_ns for clock in clocks)
                self.blotter.rewind(now + fact.offset_ns + fact.error_ns, guard.account.rows)
            case Command():
                self._obey(fact, now)
            case _:
                self._take_news(fact, guard, now)

    def _take_news(self, fact: Fact, guard: Guard, now: int) -> None:
        """What is worth a word, or makes us ask again."""
        match fact:
            case Up(stream=stream):
                self._note("state", f"stream {guard.named(stream)} is up")
                if stream == PRIVATE:
                    guard.require(TRUTH, now)
            case Down(stream=stream, reason=reason) if not guard.halts.stopping:
                self._note("state", f"stream {guard.named(stream)} is down: {reason}")
            case Unknown():
                self._misread(fact, guard, now)
            case Denied(reason=reason):
                guard.halts.halt(f"the venue rejects the key or account: {reason}")
            case Forced():
                guard.strangers.forced(fact)
                guard.audit.hurry(What.ACCOUNT, now)
            case Elsewhere():
                guard.audit.hurry(What.POSITIONS, now)
                guard.audit.hurry(What.ACCOUNT, now)
            case Unset(instrument=index, leverage=leverage, reason=reason):
                self.settings.refused(fact, now)
                text = f"the leverage setting can't be changed to {leverage}x: {reason}"
                self._note("warning", text, self.symbols[index])
                guard.require((What.LEVERAGE,), now, anew=False)
            case Unanswered(what=what) if what.startswith("leverage "):
                guard.require((What.LEVERAGE,), now, anew=False)
            case Unanswered() if guard.audit.away and not guard.halts.halted:
                self._note("warning", "the venue answers nothing; once it does, it is asked for everything")
                guard.require(TRUTH, now)
            case Throttled(reason=reason, banned=banned):
                self._note("warning", f"{'banned' if banned else 'throttled'} by the venue: {reason}")
            case Warned(what=what):
                self._note("warning", f"the venue warns: {what}")
            case Flow(kind=kind, amount=amount, asset=asset):
                self._note("state", f"{kind} {guard.account.said(amount, '+')} {asset}")
                self.mandate.flowed(fact, self.book)
            case _:
                pass

    def _compare_owners(self, guard: Guard, name: str) -> None:
        """One account under two names would be counted twice."""
        for other in self.guards:
            if other is not guard and other.pool == guard.pool and other.terms.owner == name:
                guard.terms.refuse(f"it is the account that {other.name} is, {name}: keep it under one name")

    def _misread(self, word: Unknown, guard: Guard, now: int) -> None:
        """What can't be read is counted, told once for each kind, and asked about where it was about the account."""
        first = self.tally.misread(word)
        if word.private:
            guard.require(TRUTH, now)
        if first:
            then = "asking the venue for everything" if word.private else "left out"
            whose = "word about the account" if word.private else f"word on {word.stream}"
            self._note("warning", f"unreadable {whose} ({word.what}); {then}, and told only once")

    def _take_order(self, fact: Accepted | Filled | Ended | Refused | Lost | Absent, now: int) -> None:
        before = self.blotter.orders.get(fact.order)
        if before is None:
            guard = self.guards[fact.account]
            if isinstance(fact, Accepted | Filled | Ended) and (trade := guard.strangers.heard(fact, now)):
                self.blotter.affected(trade.instrument, trade.at)
                guard.audit.hurry(What.ACCOUNT, now)
            return
        late = isinstance(fact, Filled) and self.book.passed_over(fact)
        held = self.book.held(before.instrument, before.side)
        after = self.blotter.apply(fact, now, held, late=late)
        if after is None:
            return
        if after.filled_lots > before.filled_lots:
            self._count(after, after.filled_lots - before.filled_lots, fact, now)
        match fact:
            case Filled():
                self.mandate.filled(before, fact, self.book)
                self.tally.fills += 1
                account = self.book.of(before.instrument)
                if fact.fee_asset == account.settle:
                    self.tally.fees += fact.fee * (account.rate or 1.0)
                self._note("fill", f"{self._size(after, fact.lots)} at {fact.price:g}", after.symbol)
            case Accepted():
                self.breaker.taken(after.instrument)
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
        self._guard(order.instrument).strangers.traded(order.instrument, lots if order.lots > 0 else -lots)
        self.tally.traded(order, value, now)
        if self.correction is not None:
            self.correction.filled(order.instrument, value, now)

    def _finished(self, order: Order, now: int) -> None:
        if order.filled_lots < abs(order.lots):
            what = f"{self._size(order, order.filled_lots)} of {self._size(order, order.lots)} filled"
            self._note("order", f"order {order.id} ended ({order.ended}), {what}", order.symbol)
        if self.correction is not None:
            self.correction.ended(order, now)

    def _refusal(self, order: Order, fact: Refused, now: int) -> None:
        self.tally.refused += 1
        said = f"the venue refused order {order.id}: {fact.reason} ({fact.code})"
        if fact.code in ("", "unsent"):  # it never left
            said = f"order {order.id} was not sent: {fact.reason}"
        self._note("refusal", said, order.symbol)
        guard = self._guard(order.instrument)
        if opened := self.breaker.refused(order, fact, now):
            self._note("warning", opened, order.symbol)
        if fact.fault is Fault.MARGIN and self.correction is not None:
            self.correction.short_of_margin(order.instrument)
        match fact.fault:
            case Fault.RULE | Fault.CLOSED:
                guard.require((What.INSTRUMENTS,), now, anew=False)
            case Fault.MARGIN:
                guard.require((What.ACCOUNT, What.LEVERAGE, What.POSITIONS), now)
            case Fault.REDUCE:
                guard.require((What.POSITIONS, What.ORDERS), now)
            case Fault.CLOCK:
                guard.require((What.TIME,), now, anew=False)
            case Fault.ACCOUNT:
                guard.halts.halt(f"the venue refuses our orders: {fact.reason} ({fact.code})")
            case _:
                pass

    def _take_open_orders(self, fact: Orders, guard: Guard, now: int) -> None:
        """Compare with what the venue has; an order of ours that should not be there is cancelled."""
        for seen in self.blotter.compare(fact, now, guard.account.rows):
            self._take_order(seen, now)
        self._cancels |= guard.strangers.listed(fact, self.blotter, guard.venue_now(now) - now)

    def _obey(self, command: Command, now: int) -> None:
        if command.name not in ("targets", "warn"):
            self._note("state", f"command {command.name} {command.argument}".rstrip())
        for guard in self.guards:
            guard.obey(command, now)
        match command.name:
            case "pause":
                self._end(now)
            case "resume":
                self.reasons.watch.rearm()
            case "kill":
                self.blotter.cancel_resting(now, self.book.every, increases_only=True)
            case "resolve":
                self._resolve(command.argument, now)
            case "stop":
                self._end(now)
                self.blotter.cancel_resting(now, self.book.every)
            case "rebalance":
                self._rebalance(now, to_target=command.argument == "target")
            case "targets":
                self.mandate.retarget(msgspec.json.decode(command.argument, type=Given), now)
            case "warn":
                self._note("warning", command.argument)
            case "halt" | "unkill" | "resync":
                pass
            case _:
                self._note("warning", f"there is no command {command.name}")

    def _rebalance(self, now: int, *, to_target: bool) -> None:
        if why := self.idle or self.aside(now):
            self._note("warning", f"nothing is corrected now: {why}")
        elif self.correction is not None and self.correction.reason.urgent:
            self._note("warning", "reducing for safety; ask for a correction once that is done")
        else:
            self._start(Reason(cause="command", to_target=to_target), now)

    def _resolve(self, name: str, now: int) -> None:
        """A person says that an order of unknown fate will not trade any more; the account is asked what became."""
        if (order := self.beyond.pop(name, None)) is not None:
            self._resolved.append(replace(order, state=State.DONE, ended=RESOLVED))
            return
        before = self.blotter.orders.get(name)
        after = self.blotter.resolve(name, now)
        if before is None or after is None:
            self._note("warning", f"no order {name} is of unknown fate")
            return
        self._finished(after, now)
        self._guard(after.instrument).require(TRUTH, now)

    # What to ask

    def _feel(self, now: int) -> list[str]:
        """Say which streams have gone silent, and which of them are to be connected anew."""
        reopen: list[str] = []
        for guard in self.guards:
            for one in guard.pulse.look(guard.audit, now):
                self._note("warning", one.text, one.symbol)
                reopen += [] if one.reopen is None else [guard.named(one.reopen)]
        return reopen

    def _questions(self, now: int) -> list[Request]:
        requests: list[Request] = []
        for guard in self.guards:
            requests += guard.questions(self.blotter, now)
        asks, cancels = self.blotter.due(now)
        for order, why in self.blotter.hopeless(now):
            self._guard(order.instrument).halts.halt(
                f"the venue denies order {order.id} on {order.symbol}, which proves nothing: {why}. Look it up there, "
                f"cancel it if it is open, and start again with --resolve {order.id}"
            )
        requests += [
            Ask(What.ORDER, order.instrument, order.id, account=self.book.seats[order.instrument]) for order in asks
        ]
        requests += [Cancel(order=order.id, instrument=order.instrument) for order in cancels]
        requests += [Cancel(order=name, instrument=index) for name, index in self._cancels.items()]
        self._cancels.clear()
        return requests

    def _settings(self, now: int) -> list[Request]:
        """A leverage setting to change, where the user wants that."""
        if self.policy.mode == "observe" or self.drift is None or self.unready():
            return []
        barred = self._rows(guard for guard in self.guards if guard.withheld() or guard.left_alone(now))
        change = self.settings.due(self.book, self.drift, self.blotter, now, barred)
        if change is None:
            return []
        row = self.book.rows[change.instrument]
        self._note("state", f"changing the leverage setting from {row.leverage}x to {change.leverage}x", row.symbol)
        return [change]

    # What to do

    def _work(self, now: int) -> list[Order]:
        if self.idle == "stopping":
            self._enter("stopping")
            return []
        begun = self.correction.begun if self.correction else None
        leverage = begun.leverage_free if begun else None
        drift = self.mandate.drift(self.book, leverage, now)
        unready = self.unready() or (None if drift else self.mandate.missing(self.book))
        if unready or drift is None:
            self._enter(f"waiting for {unready}")
            return self._rescue(drift, now)
        quiet = all(settled(guard.account, self.book, self.blotter) for guard in self.guards)
        busy = self.correction is not None
        if self.mandate.tend(self.book, drift, now, quiet=quiet, busy=busy):
            drift = self.mandate.drift(self.book, leverage, now) or drift
        left_alone = [guard for guard in self.guards if guard.left_alone(now)]
        if len(left_alone) < len(self.guards):
            drift = drift.without(self._rows(left_alone))
        self.drift = drift
        self._reckon()
        self.economist.look(self.book, drift, now)
        if self.aside(now) and self.correction is not None and not self.correction.reason.urgent:
            self._note("done", "left off: others are at work on the account")
            self._end(now)
        if self.idle is None:
            self._pull_triggers(drift, now)
        if self.correction and self.correction.outrun(drift):
            self._note(
                "done", "left off: what is wanted has moved by more than a band; weighed anew after the cool-down"
            )
            self._end(now)
        orders = self._correct(self.correction, drift, now) if self.correction else []
        if self.correction is None:
            self.economist.look(self.book, drift, now)
            self._hold(drift, now)
        self._enter(self.posture)
        return orders

    def _rescue(self, drift: Drift | None, now: int) -> list[Order]:
        """Safety alone, while a stream or an answer is missing: on each account of which it is known what is held there
        and what it is worth. Leverage is that of all, so it is not judged before all of that was known once."""
        standing = drift or self.mandate.standing(self.book)
        if self.idle or standing is None or all(guard.readiness.blind(now) for guard in self.guards):
            return []
        self.drift = drift or self.drift
        if urgent := self.alarm.due(drift.leverage if drift else None, self.correction, now):
            self._start(urgent, now)
        if self.correction is None or not self.correction.reason.urgent:
            return []
        return self._correct(self.correction, standing, now)

    def _reckon(self) -> None:
        """See whether positions have moved by more than trades explain, once all that was told has come to rest."""
        for guard in self.guards:
            if guard.doubted and settled(guard.account, self.book, self.blotter):
                guard.doubted = False
                for index, before, after in guard.strangers.reckon():
                    guard.terms.jumped(index, before, after)

    def unready(self) -> str | None:
        """What is still missing before anything may be decided; None when enough is known.

        Of each account all must have been known once; while something of one is missing, that one is left alone.
        """
        missing = [(guard, guard.readiness.away) for guard in self.guards if guard.readiness.away]
        if all(guard.readiness.complete for guard, _ in missing) and len(missing) < len(self.guards):
            return None
        return missing[0][0].named(missing[0][1])

    @property
    def unfit(self) -> str | None:
        """Why a key must not trade this portfolio at all; None if all may."""
        return next((guard.named(guard.terms.unfit) for guard in self.guards if guard.terms.unfit), None)

    def unlisted(self) -> list[str]:
        """Symbols that their venue, having been asked, does not have."""
        return [symbol for guard in self.guards for symbol in guard.readiness.unlisted()]

    @property
    def idle(self) -> str | None:
        """Why nothing at all is traded; None if something may be. A pause and a stop are of all accounts."""
        return self.guards[0].halts.idle

    def aside(self, now: int) -> str | None:
        """Why nothing but safety begins on any account; None if anything may on one."""
        asides = [guard.halts.aside(now) for guard in self.guards]
        if not any(asides) or not all(guard.left_alone(now) for guard in self.guards):
            return None
        return next(why for why in asides if why)

    @property
    def posture(self) -> str:
        """In a word, what the engine is free to do."""
        held_back = [guard.named(posture) for guard in self.guards if (posture := guard.halts.posture)]
        if len(held_back) == len(self.guards):
            return held_back[0]
        return ", ".join(["correcting" if self.correction else "holding", *held_back])

    def _pull_triggers(self, drift: Drift, now: int) -> None:
        """Start a correction if there is a reason. Safety does not wait for confirmation, cool-down or blackout."""
        if urgent := self.alarm.due(drift.leverage, self.correction, now):
            self._start(urgent, now)
        if self.aside(now):
            return
        busy = self.correction is not None
        reason = self.reasons.due(
            self.book, drift, self.economist, self.mandate.hedges(self.book, drift), now, busy=busy
        )
        if not self.reasons.outside:
            self.declined = None
        if reason is not None:
            self._consider(reason, drift, now)

    def _consider(self, reason: Reason, drift: Drift, now: int) -> None:
        """Start a correction, if it earns more than its orders cost; else look again after the cool-down.

        Where a cost is not known, what has left the tolerance is corrected. What is wanted and not held at all is
        opened without weighing: the user wants it.
        """
        todo = self.course.plan(drift, reason, now, maker=self.policy.execution.style == "maker")
        verdict = self.economist.verdict(self.book, drift, todo, breach=reason.breach)
        opening = reason.breach and not reason.goals and any(opens(leg, drift) for leg in todo.legs)
        if not todo.legs:
            self._decline(reason, words.nothing(todo, self.symbols), todo, now)
        elif verdict is None or verdict.pays or opening or not reason.weighed:
            self._start(reason, now)
        else:
            self._decline(reason, words.declined(verdict), todo, now)

    def _decline(self, reason: Reason, why: str, todo: Plan, now: int) -> None:
        """Leave things as they are, say why once, and look again after the cool-down."""
        self._say_unreachable(todo)
        if reason.scope is not None:
            self.mandate.share_out(self.book, reason.cause)
        if self.declined is None:
            self._note("hold", f"{reason.cause}; {why}")
        self.declined = why
        self.reasons.watch.rest(now, S)

    def _start(self, reason: Reason, now: int) -> None:
        self.correction = Correction(reason, now)
        if reason.urgent:
            # They would add to the danger, and bar the way.
            self.blotter.cancel_resting(now, self.book.every, increases_only=True)
        self.reasons.watch.absorb(now)
        self.declined = None
        self._note("trigger", f"correcting: {reason.cause}")

    def _correct(self, correction: Correction, drift: Drift, now: int) -> list[Order]:
        reason = correction.reason
        if reason.relief is None:  # which leads to no targets, and may know no more than what is held
            correction.begun = correction.begun or drift
        maker = self.policy.execution.style == "maker" and not reason.urgent
        todo = self.course.plan(drift, reason, now, maker=maker)
        if reason.urgent:
            todo = replace(todo, legs=tuple(leg for leg in todo.legs if leg.reduce))
        self.plan = todo
        away = self._rows(guard for guard in self.guards if guard.readiness.away)
        live = [order for order in self.blotter.live() if order.instrument not in away]
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
            if given_up or (now >= correction.progress_at + GIVE_UP_NS and not reason.urgent):
                why = (
                    f"{STRIKES} orders in a row came to nothing"
                    if given_up
                    else f"{GIVE_UP_NS // S} s without progress"
                )
                self._note("done", f"gave up: {why}; trying again after the cool-down")
                self._end(now)
        return orders

    def _verdict(self, correction: Correction, drift: Drift, todo: Plan) -> Verdict | None:
        """What the plan of a correction earns and costs; safety is not weighed."""
        if correction.reason.urgent:
            return None
        return self.economist.verdict(self.book, drift, todo, breach=correction.reason.breach)

    def _place(self, correction: Correction, drift: Drift, todo: Plan, now: int, *, maker: bool) -> list[Order]:
        """The orders of this moment: reductions, and increases once no reduction is left that can be had.

        A reduction of which nobody knows what became holds up the increases of its own account alone.
        """
        orders: list[Order] = []
        alone = self._alone(correction, drift, todo, now)
        first_word = len(self._notes)
        stuck = [order.instrument for order in self.blotter.live() if order.state is State.UNKNOWN]
        reducing: dict[int, bool] = {}
        for leg in todo.legs:
            if leg.reduce and not correction.given_up(leg) and self._hopeful(leg, drift, now):
                seat = self.book.seats[leg.instrument]
                reducing[seat] = reducing.get(seat, True) and leg.instrument in stuck
        for leg in correction.candidates(todo.legs, self.blotter, self.book.seats, now):
            waits = self.book.seats[leg.instrument] in reducing or not all(reducing.values()) or leg.instrument in alone
            if not leg.reduce and (waits or self.settings.pending(self.book, now)):
                continue
            refusal = judge(leg, self._situation(leg, drift, now))
            if refusal is not None:
                if correction.news(refusal, now):
                    self._note("refusal", f"{refusal.gate}: {refusal.reason}", self.symbols[refusal.instrument])
                continue
            orders.append(self._send(correction.affordable(leg), now, maker=maker and correction.may_rest(leg)))
            correction.sent(orders[-1], now)
        if orders and sum(correction.orders.values()) == len(orders):
            said = words.plan(self.book, todo, self._verdict(correction, drift, todo))
            self._notes.insert(first_word, Note(kind="plan", text=said))
        return orders

    def _alone(self, correction: Correction, drift: Drift, todo: Plan, now: int) -> list[int]:
        """Legs of a hedge that would be opened while another one can't be: all wait, for none is to stand alone."""
        vain = [
            leg.instrument
            for leg in todo.legs
            if not leg.reduce and (correction.given_up(leg) or not self._hopeful(leg, drift, now))
        ]
        groups = self.mandate.hedges(self.book, drift) if vain else []
        return [i for group in groups if any(other in vain for other in group) for i in group if i not in vain]

    def forbids(self, instrument: int, *, reduce: bool) -> str | None:
        """Why an order that was decided on, but has not left yet, must not leave; None if it may."""
        if self.idle or reduce:
            return self.idle
        guard = self._guard(instrument)
        return guard.withheld() or ("waiting for answers of the venue" if guard.audit.missing() else None)

    def withheld(self, instrument: int) -> str | None:
        """Why nothing may increase on the account of this instrument; None if it may."""
        return self._guard(instrument).withheld()

    def _guard(self, instrument: int) -> Guard:
        return self.guards[self.book.seats[instrument]]

    def _rows(self, guards: Iterable[Guard]) -> dict[int, Row]:
        """The rows of these accounts."""
        return {index: row for guard in guards for index, row in guard.account.rows.items()}

    def _hopeful(self, leg: Leg, drift: Drift, now: int) -> bool:
        """Whether a leg passes its gates now, or will when what is under way is done."""
        refusal = judge(leg, self._situation(leg, drift, now))
        return refusal is None or refusal.passing

    def _send(self, leg: Leg, now: int, *, maker: bool) -> Order:
        row, policy = self.book.rows[leg.instrument], self.policy
        name = self._guard(leg.instrument).strangers.name()
        order = order_of(leg, row, name, now, policy.execution, policy.limits, maker=maker)
        self.blotter.add(order, now, self._rests_until(order))
        self.tally.sent(now)
        self._note("order", words.order(row, order, leg), row.symbol)
        return order

    def _situation(self, leg: Leg, drift: Drift, now: int) -> Situation:
        guard = self._guard(leg.instrument)
        urgent = self.correction is not None and self.correction.reason.urgent  # whose own back-off bounds it
        return Situation(
            book=self.book,
            drift=drift,
            blotter=self.blotter,
            limits=self.policy.limits,
            now=now,
            halted=guard.withheld() or guard.readiness.away,
            increased_today=self.tally.increased_today(self.blotter.live(), now),
            sent_last_minute=self.tally.sent_last_minute(now),
            crowd=guard.strangers.crowd,
            blocked=guard.halts.blocked,
            urgent=urgent,
            quiet_s=self.policy.timing.quiet_s,
            request_life_s=self.policy.execution.request_life_s,
            refusing={} if urgent else self.breaker.open(now),
        )

    def _finish(self, correction: Correction, drift: Drift, todo: Plan, now: int) -> None:
        self._say_unreachable(todo)
        traded, orders = sum(correction.traded.values()), sum(correction.orders.values())
        outcome = f"traded {traded:,.0f} in {orders} orders" if orders else "no trade"
        stands = []
        if drift is self.drift:  # else no more is known than what is held
            stands.append(f"largest drift is now {drift.worst:.1%}, leverage {drift.leverage:.2f}x")
        if correction.reason.relief is not None and (away := margin.nearest(self.book)) is not None:
            stands.append(f"liquidation is {away:.1%} away")
        self._note("done", "; ".join([outcome, *([", ".join(stands)] if stands else [])]))
        self.mandate.share_out(self.book, "done")
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
        if self.correction is not None and self.correction.reason.urgent:
            self.alarm.rest(self.correction, now)
        self.correction = None
        self.economist.forget()
        self.reasons.watch.rest(now)

    def _hold(self, drift: Drift, now: int) -> None:
        if now >= self._next_hold_note:
            self._next_hold_note = now + HOLD_NOTE_NS
            where = "inside the band"
            if aside := self.aside(now):
                where = aside
            elif self.reasons.outside:
                where = "paused" if self.idle else "waiting for confirmation or cool-down"
                where = self.declined or where
            aware = f", {self.economist.reach:.0%} of the cost-aware band" if self.economist.reaches else ""
            self._note("hold", f"{where}: largest drift {drift.worst:.1%} ({drift.reach:.0%} of its band){aware}")

    def preview(self, now: int, *, to_target: bool = False) -> tuple[Plan, dict[int, Refusal]] | None:
        """What a correction would do at this moment, and the legs a gate would refuse; None while not ready."""
        if self.unready() or self.drift is None:
            return None
        drift, maker = self.drift, self.policy.execution.style == "maker"
        danger = self.alarm.dangers(now)
        relief = self.alarm.lots(danger) if danger else None
        reason = Reason(cause="preview", breach=self.reasons.breached, to_target=to_target, relief=relief)
        todo = self.course.plan(drift, reason, now, maker=maker)
        verdicts = {leg.instrument: judge(leg, self._situation(leg, drift, now)) for leg in todo.legs}
        return todo, {index: refusal for index, refusal in verdicts.items() if refusal is not None}

    def verdict(self, todo: Plan) -> Verdict | None:
        """What a plan earns and costs at this moment; None while either is not known."""
        if self.drift is None:
            return None
        return self.economist.verdict(self.book, self.drift, todo, breach=self.reasons.breached)

    # Small things

    def _resume(self, order: Order) -> None:
        """Take over an order of an earlier run: unfinished ones are asked about, finished ones count as turnover.

        One on a symbol that the file does not name, maybe because the venue has delisted it, holds nothing up for
        longer than its request can live: what it bought shows as a position that the file does not name.
        """
        if order.state is State.DONE:
            self.tally.recall(order)
        elif order.symbol in self.symbols:
            unknown = replace(order, state=State.UNKNOWN, instrument=self.symbols.index(order.symbol))
            self.blotter.add(unknown, order.created_at, self._rests_until(order))
            self._note("warning", f"order {order.id} of an earlier run has no end on record; asking", order.symbol)
        else:
            self.beyond[order.id] = order
            self._note(
                "warning",
                f"order {order.id} of an earlier run on {order.symbol}, which the file does not name, has no end on "
                f"record. Look it up there, cancel it if it is open, and start once with --resolve {order.id}",
            )

    def _rests_until(self, order: Order) -> int | None:
        """When to cancel an order that still rests; None for one that never does."""
        patience = round(self.policy.execution.patience_s * S)
        return order.created_at + patience if order.style is Style.POST else None

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
        times = [guard.audit.wake_at() for guard in self.guards]
        waits = (
            self.blotter.wake_at(),
            *(due for guard in self.guards for due in guard.dues()),
            *self.reasons.dues,
            *self.mandate.dues(now),
            self._next_hold_note,
            *self.alarm.dues,
        )
        times += [at for at in waits if at is not None and at > now]
        if self.correction is not None:
            times.append(now + RETRY_NS)
        return max(now + MS, min(times))


def opens(leg: Leg, drift: Drift) -> bool:
    """Whether a leg opens what is wanted and not held at all."""
    return not drift.weights[leg.instrument] and (drift.aims[leg.instrument] or 0.0) * leg.lots > 0
