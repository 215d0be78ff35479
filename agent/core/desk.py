"""The desk: dialects and the engine behind one door. Inputs come in, decisions and acts for the wire go out.

The whole agent short of its sockets, files and clock: live, paper, replay and storms all run this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct

from agent.core.channel import Channel
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
from agent.core.limits import MOST, backoff
from agent.core.orders import MS, Order, S
from agent.core.venue import (
    Arm,
    Ask,
    Batch,
    Call,
    Cancel,
    Dialect,
    Open,
    Place,
    Reply,
    Request,
    Say,
    SetLeverage,
    Shut,
)


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
    """One websocket that should be open, once its channel knows the instruments."""

    channel: Channel
    due_at: int | None = 0
    """When to open it; None while it is open or opening."""
    opening_since: int | None = None
    open: bool = False
    attempt: int = 0
    opened_at: int = 0
    heard_at: int = 0
    quiet_ns: int | None = None


class Desk:
    """The engine, a dialect for each of its accounts in their order, and between them the lanes and the sockets'
    comings and goings. Pure.

    ``lag_ns``: called so much later than it asked to be, it first asks the venue for everything; None where time is
    meant to leap.
    """

    def __init__(self, dialects: Sequence[Dialect], engine: Engine, salt: str, lag_ns: int | None = LAG_NS) -> None:
        self.engine = engine
        self.channels = [
            Channel(dialect, guard.index, list(guard.account.rows), guard.name, len(dialects))
            for dialect, guard in zip(dialects, engine.guards, strict=True)
        ]
        self.calls: dict[int, tuple[Channel, Call]] = {}
        """Calls on their way by the tag they have outside, as their dialect made them."""
        self.lines = {socket: Line(channel) for channel in self.channels for socket in channel.sockets}
        self._salt = salt
        self._lag_ns = lag_ns
        self._due: int | None = None
        """When it asked to be called at the latest."""

    def take(self, inputs: Sequence[Input], now: int) -> Step:
        """One step: what came in, the decisions it leads to, and what to do on the wire."""
        facts: list[Fact] = [*self._doubts(now), *self._overdue(now)]
        for arrived in inputs:
            facts += self._translate(arrived, now)
        for channel in self.channels:
            wake_at = channel.dialect.wake_at
            if wake_at is not None and now >= wake_at:
                channel.dialect.on_wake(now)
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
        _, call = self.calls.get(arrived.call, (None, None))
        return call.conceal if call else None

    def _translate(self, arrived: Input, now: int) -> Sequence[Fact]:
        match arrived:
            case Frame(socket=socket, data=data):
                line = self.lines[socket]
                line.heard_at = now
                if now >= line.opened_at + STEADY_NS:
                    line.attempt = 0
                channel = line.channel
                if socket == channel.entry_socket and (said := channel.said(data)) is not None:
                    return self._answered(*said, now)
                return channel.told(channel.dialect.on_frame(channel.sockets[socket], data, now))
            case Opened(socket=socket):
                line = self.lines[socket]
                line.open, line.opening_since, line.heard_at, line.opened_at = True, None, now, now
                channel = line.channel
                return channel.told(channel.dialect.on_open(channel.sockets[socket], now))
            case Closed(socket=socket, reason=reason, fatal=fatal):
                self._lost(socket, now)
                channel = self.lines[socket].channel
                facts = [
                    *channel.told(channel.dialect.on_close(channel.sockets[socket], reason, now)),
                    *self._orphaned(socket, reason, now),
                ]
                denied = channel.told([Denied(reason=f"{socket}: {reason}")]) if fatal else []
                return [*facts, *denied]
            case Answer(call=tag, reply=reply):
                return self._answered(tag, reply, now)
            case Silence(call=tag, sent=sent, reason=reason):
                if tag not in self.calls:
                    return ()
                channel, call = self.calls.pop(tag)
                return channel.told(channel.dialect.on_silence(call, sent, reason, now))
            case Told(name=name, argument=argument):
                return (Command(name=name, argument=argument),)
            case Tick():
                return (Wake(),)
            case _:
                assert_never(arrived)

    def _answered(self, tag: int, reply: Reply, now: int) -> Sequence[Fact]:
        if tag not in self.calls:
            return ()
        channel, call = self.calls.pop(tag)
        facts = channel.dialect.on_reply(call, reply, now)
        channel.lockout.heard(call.request, facts, now)
        return channel.told(facts)

    def _orphaned(self, socket: str, reason: str, now: int) -> list[Fact]:
        """No answer will come to what was said on a socket that has ended."""
        ended = [tag for tag, (channel, _) in self._said().items() if channel.entry_socket == socket]
        return self._unanswered(ended, reason, now)

    def _overdue(self, now: int) -> list[Fact]:
        """Nor is one waited for any longer to what was said too long ago: others than these time themselves out."""
        return self._unanswered(
            [tag for tag, (_, call) in self._said().items() if now >= _until(call)], "timed out", now
        )

    def _unanswered(self, tags: Sequence[int], reason: str, now: int) -> list[Fact]:
        facts: list[Fact] = []
        for tag in tags:
            channel, call = self.calls.pop(tag)
            facts += channel.told(channel.dialect.on_silence(call, True, reason, now))
        return facts

    def _said(self) -> dict[int, tuple[Channel, Call]]:
        """Calls on websockets that are not answered yet."""
        if all(channel.entry_socket is None for channel in self.channels):
            return {}
        return {tag: (channel, call) for tag, (channel, call) in self.calls.items() if call.socket is not None}

    def _heed(self, facts: Sequence[Fact], now: int) -> None:
        """What the venue says about budgets and grids concerns the desk as well."""
        for fact in facts:
            channel = self.channels[fact.account]
            match fact:
                case Used(bucket=bucket, amount=amount):
                    channel.lanes.told(bucket, amount, now)
                case Allowed(bucket=bucket, amount=amount):
                    channel.lanes.allow(bucket, amount)
                case Throttled(until=until, banned=banned):
                    channel.lanes.throttle(until, banned=banned)
                case Listed():
                    channel.listed = True
                case _:
                    pass

    def _queue(self, request: Request) -> Sequence[Fact]:
        """Have a request wait for its budget. Where too many wait, it is refused: unsent, and known to be so.

        A question that is left out is wanted again soon, by what wanted it.
        """
        channel = self._channel(request)
        within = channel.inside(request)
        if channel.lanes.put(within, channel.dialect.weigh(within)):
            return ()
        full = f"unsent: {MOST} requests wait already"
        return () if isinstance(request, Ask) else channel.told(_unsent(within, full))

    def _channel(self, request: Request) -> Channel:
        """The channel of the account that a request is about."""
        match request:
            case Place(order=order) | Batch(orders=(order, *_)):
                return self.channels[self.engine.book.seats[order.instrument]]
            case Ask(account=account):
                return self.channels[account]
            case Batch():
                raise AssertionError("a batch has orders")
            case Cancel(instrument=index) | Arm(instrument=index) | SetLeverage(instrument=index):
                return self.channels[self.engine.book.seats[index]]
            case _:
                assert_never(request)

    def _send(self, now: int, acts: list[Act]) -> list[Fact]:
        """Give to the wire what the budgets allow; answers that come without a wire are returned."""
        facts: list[Fact] = []
        for channel in self.channels:
            for request in channel.lanes.due(now):
                if not isinstance(request, Ask) and self.engine.policy.mode == "observe":
                    continue  # whatever was decided: an observer asks, and does nothing else
                if (reason := self._withheld(channel, request, now)) is not None:
                    facts += channel.told(_unsent(request, reason))
                    continue
                performed = channel.dialect.perform(request, now)
                if isinstance(performed, Call):
                    call = channel.outside(performed)
                    self.calls[call.tag] = channel, performed
                    acts.append(call)
                else:
                    facts += channel.told(performed)
        return facts

    def _withheld(self, channel: Channel, request: Request, now: int) -> str | None:
        """Why a request that waited for its budget must not leave any more; None if it may."""
        match request:
            case Place(order=order) if now >= order.expires_at:
                return "it waited for request budget until its time was over, and was not sent"
            case Place(order=order) if reason := self._forbids(channel, order):
                return reason
            case SetLeverage(instrument=place) if reason := self.engine.withheld(channel.index(place)):
                return f"unsent: {reason}"
            case _:
                return "the venue refuses the key" if channel.lockout.holds(request, now) else None

    def _forbids(self, channel: Channel, order: Order) -> str | None:
        return self.engine.forbids(channel.index(order.instrument), reduce=order.reduce)

    def _wishes(self, now: int, acts: list[Act]) -> None:
        """Carry over what the dialects want by themselves: keys to ask for, sockets to open or close, frames to
        send."""
        for channel in self.channels:
            for wish in channel.dialect.acts():
                if isinstance(wish, Ask):
                    channel.lanes.put(wish, channel.dialect.weigh(wish))
                    continue
                act = channel.outside(wish)
                if isinstance(act, Open):
                    if self.lines[act.socket].open:
                        continue  # two answers with a key can cross: the connection that is there stays
                    self._open(act, now)
                acts.append(act)

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
        for socket, line in self.lines.items():
            channel = line.channel
            if not channel.listed:
                continue
            if line.opening_since is not None and now >= line.opening_since + KEY_PATIENCE_NS:
                line.opening_since, line.due_at = None, now + backoff(line.attempt, f"{self._salt}:{socket}")
                line.attempt += 1
            if line.due_at is not None and now >= line.due_at:
                way = channel.dialect.connect(channel.sockets[socket], now)
                if isinstance(way, Ask):
                    line.due_at, line.opening_since = None, now
                    channel.lanes.put(way, channel.dialect.weigh(way))
                else:
                    opened = channel.outside(way)
                    self._open(opened, now)
                    acts.append(opened)
            elif line.open and line.quiet_ns is not None and now >= line.heard_at + line.quiet_ns:
                self._drop(line, socket, f"silent for {line.quiet_ns / S:g} s", now, acts)

    def _open(self, way: Open, now: int) -> None:
        line = self.lines[way.socket]
        line.due_at, line.opening_since, line.quiet_ns = None, now, way.quiet_ns

    def _lost(self, socket: str, now: int) -> None:
        line = self.lines[socket]
        line.open, line.opening_since = False, None
        line.due_at = now + backoff(line.attempt, f"{self._salt}:{socket}")
        line.attempt += 1

    def _wake_at(self, last: Decision, now: int) -> int:
        times = [last.wake_at]
        for channel in self.channels:
            times += [at for at in (channel.dialect.wake_at, channel.lanes.wake_at(now)) if at is not None]
        times += [_until(call) for _, call in self._said().values()]
        for line in self.lines.values():
            if not line.channel.listed:
                continue
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
