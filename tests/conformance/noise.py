"""What facts must be whatever the bytes were, one request of each kind, and a conversation to damage."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import msgspec
from msgspec import Struct

from agent.cli import build
from agent.core.events import Fact, Filled, Leverage, Lost, Mark, Position, Quote, Unanswered, Unknown, Unset
from agent.core.orders import Style
from agent.core.venue import Arm, Ask, Batch, Call, Cancel, Dialect, Place, Reply, Request, SetLeverage, What
from tests.conformance.description import Described
from tests.conformance.talk import Talk
from tests.conformance.venues import VENUES

INFINITE = float("inf")


def requests(talk: Talk) -> list[Request]:
    """One of each kind that the dialect sends, and every question."""
    first, second = (talk.order("0.1", 79_000, style=Style.POST) for _ in "12")
    every: list[Request] = [
        Place(first),
        Batch((first, second)),
        Cancel(first.id, 0),
        Arm(0, 1_000),
        SetLeverage(0, 5),
        *(Ask(what, 0, first.id) for what in sorted(talk.dialect.abilities.answers)),
    ]
    return [one for one in every if isinstance(talk.dialect.perform(one, talk.now), Call)]


def safe(facts: Iterable[Fact]) -> list[Fact]:
    """Facts that can be written down, and whose numbers are numbers."""
    told = list(facts)
    assert len(msgspec.json.decode(msgspec.json.encode(told))) == len(told)
    plain = [fact for fact in told if not isinstance(fact, Unknown | Unanswered | Lost)]
    assert not re.search(r"=(nan|-?inf)\b", str(plain))
    for fact in told:
        if isinstance(fact, Mark):
            assert 0 < fact.price < INFINITE
        elif isinstance(fact, Quote):
            assert 0 < fact.bid < fact.ask < INFINITE
        elif isinstance(fact, Position):
            assert (fact.entry is None) == (fact.lots == 0)
        elif isinstance(fact, Filled):
            assert fact.lots != 0
            assert fact.price > 0
    return told


def settled(venue: Described, request: Request, body: bytes, facts: Iterable[Fact]) -> None:
    """An answer leaves no order without an outcome, unless it says that one is coming, and no setting."""
    match request:
        case Place(order):
            wanted = {order.id}
        case Batch(orders):
            wanted = {order.id for order in orders}
        case Cancel(order=name):
            wanted = {name}
        case SetLeverage():
            assert any(isinstance(fact, Leverage | Unset | Unanswered) for fact in facts)
            return
        case _:
            return
    left = wanted - {getattr(fact, "order", None) for fact in facts}
    assert all(venue.received(body, name) for name in left)


class Seeds(Struct):
    """Frames, unpacked, and answers of a conversation."""

    talk: Talk
    frames: list[tuple[str, bytes]]
    answers: list[tuple[Request, int, bytes]]

    def dialect(self) -> Dialect:
        """One that knows the instruments and what it needs to send an order, and nothing else."""
        talk = self.talk
        made = build.VENUES[talk.described.name].dialect(
            symbols=talk.symbols, credentials=talk.credentials, depth=True, **talk.own
        )
        known = (What.INSTRUMENTS, *talk.described.before)
        asked = {str(request): (request, body) for request, _, body in reversed(talk.answers)}
        for request, body in asked.values():
            if isinstance(request, Ask) and request.what in known:
                made.on_reply(call_for(made, request, talk.now), Reply(200, {}, body), talk.now)
        made.acts()
        return made


@cache
def seeds(name: str) -> Seeds:
    """No two of the same length on a socket or to a question."""
    talk = Talk(VENUES[name])
    for what in sorted(talk.dialect.abilities.answers):
        talk.ask(Ask(what, 0, "never-sent"))
    talk.place(talk.order("0.1", 80_500))
    resting = talk.order("0.1", 79_000, style=Style.POST)
    talk.place(resting)
    talk.cancel(resting)
    frames = {(socket, len(frame)): (socket, talk.venue.text(frame)) for socket, frame in talk.frames}
    answers = {(str(request), len(body)): (request, status, body) for request, status, body in talk.answers}
    return Seeds(talk, list(frames.values()), list(answers.values()))


def call_for(dialect: Dialect, request: Request, now: int) -> Call:
    """The call by which a dialect sends a request."""
    call = dialect.perform(request, now)
    assert isinstance(call, Call)
    return call
