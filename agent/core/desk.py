"""The desk: one dialect and the engine behind one door. Inputs come in, decisions and acts for the wire go out.

The whole agent short of its sockets, files and clock: live, paper, replay and storms all run this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct

from agent.core.decisions import Decision
from agent.core.engine import Engine
from agent.core.events import (
    Allowed,
    Command,
    Denied,
    Fact,
    Fault,
    Listed,
    Refused,
    Throttled,
    Unanswered,
    Unset,
    Used,
    Wake,
)
from agent.core.limits import MOST, Lanes, Lockout, backoff
from agent.core.orders import MS, S
from agent.core.venue import Ask, Call, Dialect, Open, Place, Reply, Request, Say, SetLeverage, Shut


class Opened(Struct, frozen=True, tag=True):
    """A websocket is connected."""

    socket: str


class Closed(Struct, frozen=True, tag=True):
    """A websocket is gone, or could not be opened."""

    socket: str
    reason: str
    fatal: bool = False
    """Trying again can't help (a certificate that does not hold)."""


class Frame(Struct, frozen=True, tag=True):
    """A message arrived on a websocket."""

    socket: str
    data: bytes


class Answer(Struct, frozen=True, tag=True):
    """The reply to a call arrived."""

    call: int
    reply: Reply


class Silence(Struct, frozen=True, tag=True):
    """No reply to a call will come. ``sent`` is False only when it is certain that not one byte left."""

    call: int
    sent: bool
    reason: str


class Told(Struct, frozen=True, tag=True):
    """An operator's command."""

    name: str
    argument: str = ""


class Tick(Struct, frozen=True, tag=True):
    """The time that was asked for has come."""


Input = Opened | Closed | Frame | Answer | Silence | Told | Tick

Act = Open | Shut | Say | Call

KEY_PATIENCE_NS = 15 * S
"""How long to wait for the key of a private stream, or for a socket to open, before trying anew."""

LAG_NS = 5 * S
"""Woken so much later than was asked for, it was stopped or blocked: what it knows is from before."""

STEADY_NS = 60 * S
"""A socket that has stayed open for so long begins its next reconnection without an added pause."""


class Step(Struct, frozen=True):
    """What one input led to: decisions, to be on disk before ``acts`` are carried out; and when to come back."""

    decisions: tuple[Decision, ...]
    acts: tuple[Act, ...]
    wake_at: int


class Line(Struct):
    """One websocket that should be open."""

    due_at: int | None = 0
    """When to open it; None while it is open or opening."""
    opening_since: int | None = None
    open: bool = False
    attempt: int = 0
    opened_at: int = 0
    heard_at: int = 0
    quiet_ns: int | None = None


class Desk:
    """One dialect and the engine, and between them the lanes and the sockets' comings and goings. Pure.

    ``lag_ns``: called so much later than it asked to be, it first asks the venue for everything; None where time is
    meant to leap.
    """

    def __init__(self, dialect: Dialect, engine: Engine, salt: str, lag_ns: int | None = LAG_NS) -> None:
        self.dialect = dialect
        self.engine = engine
        self.lanes = Lanes(dialect.buckets)
        self.lockout = Lockout()
        self.calls: dict[int, Call] = {}
        self.lines = {socket: Line() for socket in dialect.abilities.sockets}
        self._entry = dialect.abilities.entry
        if self._entry is not None:
            self.lines[self._entry.socket] = Line()
        self._salt = salt
        self._listed = False
        self._lag_ns = lag_ns
        self._due: int | None = None
        """When it asked to be called at the latest."""

    def take(self, inputs: Sequence[Input], now: int) -> Step:
        """One step: what came in, the decisions it leads to, and what to do on the wire."""
        facts: list[Fact] = [*self._doubts(now), *self._overdue(now)]
        for arrived in inputs:
            facts += self._translate(arrived, now)
        wake_at = self.dialect.wake_at
        if wake_at is not None and now >= wake_at:
            self.dialect.on_wake(now)
        decisions: list[Decision] = []
        acts: list[Act] = []
        while facts or not decisions:
            self._heed(facts, now)
            decision = self.engine.step(facts, now)
            decisions.append(decision)
            left = [fact for request in decision.requests for fact in self._queue(request)]
            self._reopen(decision.reopen, now, acts)
            self._tend(now, acts)
            facts = left + self._send(now, acts)
            self._wishes(now, acts)
        self._due = self._wake_at(decisions[-1], now)
        return Step(decisions=tuple(decisions), acts=tuple(acts), wake_at=self._due)

    def _doubts(self, now: int) -> list[Fact]:
        """After a pause that nobody planned, doubt comes first: before whatever has woken us is acted on."""
        if self._lag_ns is None or self._due is None or now < self._due + self._lag_ns:
            return []
        return [Command(name="resync", argument=f"after a pause of {(now - self._due) / S:.1f} s")]

    def conceal(self, arrived: Input) -> str | None:
        """What to record in place of a reply's body, if it holds a secret."""
        if not isinstance(arrived, Answer) or not 200 <= arrived.reply.status < 300:
            return None  # a refusal holds no key, and the replay needs its words
        call = self.calls.get(arrived.call)
        return call.conceal if call else None

    def _translate(self, arrived: Input, now: int) -> Sequence[Fact]:
        match arrived:
            case Frame(socket=socket, data=data):
                line = self.lines[socket]
                line.heard_at = now
                if now >= line.opened_at + STEADY_NS:
                    line.attempt = 0
                if self._entry is not None and socket == self._entry.socket and (said := self._entry.answer(data)):
                    return self._answered(*said, now)
                return self.dialect.on_frame(socket, data, now)
            case Opened(socket=socket):
                line = self.lines[socket]
                line.open, line.opening_since, line.heard_at, line.opened_at = True, None, now, now
                return self.dialect.on_open(socket, now)
            case Closed(socket=socket, reason=reason, fatal=fatal):
                self._lost(socket, now)
                facts = [*self.dialect.on_close(socket, reason, now), *self._orphaned(socket, reason, now)]
                return [*facts, Denied(reason=f"{socket}: {reason}")] if fatal else facts
            case Answer(call=tag, reply=reply):
                return self._answered(tag, reply, now)
            case Silence(call=tag, sent=sent, reason=reason):
                call = self.calls.pop(tag, None)
                return self.dialect.on_silence(call, sent, reason, now) if call else ()
            case Told(name=name, argument=argument):
                return (Command(name=name, argument=argument),)
            case Tick():
                return (Wake(),)
            case _:
                assert_never(arrived)

    def _answered(self, tag: int, reply: Reply, now: int) -> Sequence[Fact]:
        call = self.calls.pop(tag, None)
        if call is None:
            return ()
        told = self.dialect.on_reply(call, reply, now)
        self.lockout.heard(call.request, told, now)
        return told

    def _orphaned(self, socket: str, reason: str, now: int) -> list[Fact]:
        """No answer will come to what was said on a socket that has ended."""
        return self._unanswered([call for call in self._said() if call.socket == socket], reason, now)

    def _overdue(self, now: int) -> list[Fact]:
        """Nor is one waited for any longer to what was said too long ago: others than these time themselves out."""
        return self._unanswered([call for call in self._said() if now >= _until(call)], "timed out", now)

    def _unanswered(self, calls: Sequence[Call], reason: str, now: int) -> list[Fact]:
        for call in calls:
            del self.calls[call.tag]
        return [fact for call in calls for fact in self.dialect.on_silence(call, True, reason, now)]

    def _said(self) -> list[Call]:
        """Calls on a websocket that are not answered yet."""
        return [] if self._entry is None else [call for call in self.calls.values() if call.socket is not None]

    def _heed(self, facts: Sequence[Fact], now: int) -> None:
        """What the venue says about budgets and grids concerns the desk as well."""
        for fact in facts:
            match fact:
                case Used(bucket=bucket, amount=amount):
                    self.lanes.told(bucket, amount, now)
                case Allowed(bucket=bucket, amount=amount):
                    self.lanes.allow(bucket, amount)
                case Throttled(until=until, banned=banned):
                    self.lanes.throttle(until, banned=banned)
                case Listed():
                    self._listed = True
                case _:
                    pass

    def _queue(self, request: Request) -> Sequence[Fact]:
        """Have a request wait for its budget. Where too many wait, it is refused: unsent, and known to be so.

        A question that is left out is wanted again soon, by what wanted it.
        """
        if self.lanes.put(request, self.dialect.weigh(request)):
            return ()
        return () if isinstance(request, Ask) else _unsent(request, f"unsent: {MOST} requests wait already")

    def _send(self, now: int, acts: list[Act]) -> list[Fact]:
        """Give to the wire what the budgets allow; answers that come without a wire are returned."""
        facts: list[Fact] = []
        for request in self.lanes.due(now):
            if not isinstance(request, Ask) and self.engine.policy.mode == "observe":
                continue  # whatever was decided: an observer asks, and does nothing else
            if isinstance(request, Place) and (reason := self._too_late(request, now)):
                facts.append(Refused(order=request.order.id, code="unsent", reason=reason, fault=Fault.BUSY))
                continue
            if isinstance(request, SetLeverage) and (reason := self._withheld()):
                facts.append(Unset(request.instrument, request.leverage, f"unsent: {reason}"))
                continue
            if self.lockout.holds(request, now):
                facts += _unsent(request, "the venue refuses the key")
                continue
            performed = self.dialect.perform(request, now)
            if isinstance(performed, Call):
                self.calls[performed.tag] = performed
                acts.append(performed)
            else:
                facts += performed
        return facts

    def _too_late(self, request: Place, now: int) -> str | None:
        """Why an order that waited for request budget must not leave any more."""
        if now >= request.order.expires_at:
            return "it waited for request budget until its time was over, and was not sent"
        return self.engine.forbids(request.order)

    def _withheld(self) -> str | None:
        """Why a setting that an increase needs must not be changed any more: nothing may increase."""
        return self.engine.withheld()

    def _wishes(self, now: int, acts: list[Act]) -> None:
        """Carry over what the dialect wants by itself: keys to ask for, sockets to open or close, frames to send."""
        for wish in self.dialect.acts():
            match wish:
                case Ask():
                    self.lanes.put(wish, self.dialect.weigh(wish))
                case Open(socket=socket) if self.lines[socket].open:
                    pass  # two answers with a key can cross: the connection that is there stays
                case Open(socket=socket, quiet_ns=quiet_ns):
                    self._open(wish, socket, quiet_ns, now)
                    acts.append(wish)
                case _:
                    acts.append(wish)

    def _reopen(self, streams: Sequence[str], now: int, acts: list[Act]) -> None:
        """Drop sockets that live and don't tell what they should; they are opened anew once they are gone."""
        for socket in streams:
            line = self.lines.get(socket)
            if line is not None and line.open:
                self._drop(line, socket, "it has gone deaf", now, acts)

    def _drop(self, line: Line, socket: str, reason: str, now: int, acts: list[Act]) -> None:
        line.open, line.opening_since = False, now
        acts.append(Shut(socket=socket, reason=reason))

    def _tend(self, now: int, acts: list[Act]) -> None:
        """Open the sockets whose time has come, and drop those that have gone silent."""
        if not self._listed:
            return
        for socket, line in self.lines.items():
            if line.opening_since is not None and now >= line.opening_since + KEY_PATIENCE_NS:
                line.opening_since, line.due_at = None, now + backoff(line.attempt, f"{self._salt}:{socket}")
                line.attempt += 1
            if line.due_at is not None and now >= line.due_at:
                way = self.dialect.connect(socket, now)
                if isinstance(way, Ask):
                    line.due_at, line.opening_since = None, now
                    self.lanes.put(way, self.dialect.weigh(way))
                else:
                    self._open(way, socket, way.quiet_ns, now)
                    acts.append(way)
            elif line.open and line.quiet_ns is not None and now >= line.heard_at + line.quiet_ns:
                self._drop(line, socket, f"silent for {line.quiet_ns / S:g} s", now, acts)

    def _open(self, way: Open, socket: str, quiet_ns: int | None, now: int) -> None:
        line = self.lines[socket]
        line.due_at, line.opening_since, line.quiet_ns = None, now, quiet_ns

    def _lost(self, socket: str, now: int) -> None:
        line = self.lines[socket]
        line.open, line.opening_since = False, None
        line.due_at = now + backoff(line.attempt, f"{self._salt}:{socket}")
        line.attempt += 1

    def _wake_at(self, last: Decision, now: int) -> int:
        times = [last.wake_at]
        times += [at for at in (self.dialect.wake_at, self.lanes.wake_at(now)) if at is not None]
        times += [_until(call) for call in self._said()]
        for line in self.lines.values() if self._listed else ():
            if line.due_at is not None:
                times.append(line.due_at)
            elif line.opening_since is not None:
                times.append(line.opening_since + KEY_PATIENCE_NS)
            elif line.open and line.quiet_ns is not None:
                times.append(line.heard_at + line.quiet_ns)
        return max(now + MS, min(times))


def _until(call: Call) -> int:
    """When an answer to a call on a websocket is not waited for any longer."""
    return call.at + call.timeout_ms * MS


def _unsent(request: Request, reason: str) -> Sequence[Fact]:
    """What is known of a request that did not leave. A cancel is wanted again soon, by what wanted it."""
    match request:
        case Place(order=order):
            return (Refused(order=order.id, code="unsent", reason=reason, fault=Fault.BUSY),)
        case SetLeverage(instrument=index, leverage=leverage):
            return (Unset(index, leverage, reason),)
        case Ask(what=what):
            return (Unanswered(what, reason),)
        case _:
            return ()
