"""What failures mean: every error code of the venue's fact sheet, and answers that prove nothing."""

from __future__ import annotations

import pytest

from adapters.answers import Reaction
from agent.core.events import Absent, Fact, Fault, Leverage, Lost, Refused, Unanswered, Unarmed, Unset, Used
from agent.core.orders import Style
from agent.core.venue import Arm, Ask, Batch, Call, Cancel, Place, Reply, Request, SetLeverage, What
from tests.conformance.description import Described
from tests.conformance.talk import Talk
from tests.conformance.venues import VENUES

ROWS = [
    (name, code, fault)
    for name, venue in sorted(VENUES.items())
    for fault, codes in venue.classes.items()
    for code in codes
]


def failed(talk: Talk, request: Request, reply: Reply) -> list[Fact]:
    """The facts when a request is answered so, without those about budgets."""
    call = talk.dialect.perform(request, talk.now)
    assert isinstance(call, Call), call
    return [fact for fact in talk.dialect.on_reply(call, reply, talk.now) if not isinstance(fact, Used)]


def about(facts: list[Fact], order: str) -> list[Fact]:
    return [fact for fact in facts if getattr(fact, "order", None) == order]


@pytest.fixture(scope="module")
def talks() -> dict[str, Talk]:
    return {name: Talk(venue) for name, venue in VENUES.items()}


def test_the_table_of_codes_is_that_of_the_fact_sheet(venue: Described) -> None:
    codes = [code for codes in venue.classes.values() for code in codes]
    assert len(codes) == len(set(codes)), "a code has one class"
    assert set(venue.replies) == set(codes)


@pytest.mark.parametrize(("name", "code", "fault"), ROWS)
def test_every_code_has_its_class(talks: dict[str, Talk], name: str, code: int | str, fault: Fault | None) -> None:
    talk, reply = talks[name], VENUES[name].failure(code)
    order = talk.order("0.1", 79_000, style=Style.POST)
    (told,) = about(failed(talk, Place(order), reply), order.id)
    if fault is None:
        assert isinstance(told, Lost)
    else:
        assert isinstance(told, Refused)
        assert told.fault is fault


@pytest.mark.parametrize(("name", "code", "fault"), ROWS)
def test_what_fails_otherwise_never_refuses_an_order(
    talks: dict[str, Talk], name: str, code: int | str, fault: Fault | None
) -> None:
    talk, venue = talks[name], VENUES[name]
    reply, answers = venue.failure(code), talk.dialect.abilities.answers
    (told,) = failed(talk, Cancel("mine", 0), reply)[-1:]
    assert isinstance(told, Lost)
    assert told.order == "mine"
    facts = failed(talk, SetLeverage(0, 5), reply)
    assert any(isinstance(fact, Leverage | Unset | Unanswered) for fact in facts)
    if talk.dialect.abilities.arms:
        facts += failed(talk, Arm(0, 1_000), reply)
        assert isinstance(facts[-1], Unarmed)
    for what in {What.ORDER, What.POSITIONS} & answers:
        asked = failed(talk, Ask(what, 0, "mine"), reply)
        absent = what is What.ORDER and venue.replies.get(code) is Reaction.ABSENT
        assert isinstance(asked[-1], Absent | Unanswered if absent else Unanswered)
        facts += asked
    assert not any(isinstance(fact, Refused) for fact in facts)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""), (200, b"{}"), (200, b"[]"), (200, b"null"), (200, b"<html>ok</html>"), (201, b"{}"), (302, b""),
        (400, b"<html>"), (404, b""), (408, b""), (500, b""), (502, b"<html>"), (503, b""), (504, b"{}"),
    ],
)  # fmt: skip
def test_what_is_no_answer_proves_nothing(talk: Talk, status: int, body: bytes) -> None:
    order, second = (talk.order("0.1", 79_000, style=Style.POST) for _ in "12")
    reply = Reply(status, {}, body)
    (placed,) = about(failed(talk, Place(order), reply), order.id)
    assert isinstance(placed, Lost)
    (cancelled,) = about(failed(talk, Cancel(order.id, 0), reply), order.id)
    assert isinstance(cancelled, Lost)
    if isinstance(talk.dialect.perform(Batch((order, second)), talk.now), Call):
        facts = failed(talk, Batch((order, second)), reply)
        assert [type(fact) for one in (order, second) for fact in about(facts, one.id)] == [Lost, Lost]
    assert isinstance(failed(talk, SetLeverage(0, 5), reply)[-1], Unanswered)
    for what in {What.ORDER, What.POSITIONS, What.ORDERS, What.ACCOUNT} & talk.dialect.abilities.answers:
        if what in (What.ORDERS, What.POSITIONS) and (status, body) == (200, b"[]"):
            continue  # where a list is the answer, there are none
        facts = failed(talk, Ask(what, 0, order.id), reply)
        if not facts and (status, body) == (200, b"[]"):
            continue  # an order is looked for in one list and then in the next
        assert not any(isinstance(fact, Absent | Refused) for fact in facts)
        assert isinstance(facts[-1], Unanswered)


def test_silence(talk: Talk) -> None:
    order, second = (talk.order("0.1", 79_000, style=Style.POST) for _ in "12")

    def silent(request: Request, *, sent: bool) -> list[Fact]:
        call = talk.dialect.perform(request, talk.now)
        assert isinstance(call, Call)
        return list(talk.dialect.on_silence(call, sent, "reset", talk.now))

    assert silent(Place(order), sent=False) == [Refused(order.id, "", "reset", Fault.BUSY)]
    assert silent(Place(order), sent=True) == [Lost(order.id, "reset")]
    for sent in (False, True):
        assert silent(Cancel("x", 0), sent=sent) == [Lost("x", "cancel: reset")]
        for what in {What.ORDER, What.TIME, What.POSITIONS} & talk.dialect.abilities.answers:
            (fact,) = silent(Ask(what, 0, "x"), sent=sent)
            assert isinstance(fact, Unanswered)
    if isinstance(talk.dialect.perform(Batch((order, second)), talk.now), Call):
        assert silent(Batch((order, second)), sent=True) == [Lost(order.id, "reset"), Lost(second.id, "reset")]
    assert silent(SetLeverage(0, 5), sent=False) == [Unset(0, 5, "reset")]
    assert silent(SetLeverage(0, 5), sent=True) == [Unanswered("leverage 5 of instrument 0", "reset")]
    assert talk.dialect.acts() == [], "nothing is sent again by itself"
