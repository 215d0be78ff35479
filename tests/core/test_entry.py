"""Orders on a websocket: answers are matched, what gets none is lost, and nothing waits for the socket itself."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from agent.core.desk import Closed, Frame, Silence
from agent.core.events import Accepted, Fact
from agent.core.orders import State
from agent.core.venue import Ask, Call, Open, Place, Reply, Request, What
from tests.core.kit import MS, Parrot, S
from tests.core.test_desk import Floor

PATIENCE_NS = S
"""How long the parrot's calls wait for an answer."""


class Spoken:
    """An entry whose frames name a call and a status."""

    socket = "entry"

    def answer(self, data: bytes) -> tuple[int, Reply] | None:
        said = json.loads(data)
        return None if said is None else (said["call"], Reply(said["status"], {}, said["body"].encode()))


class Speaking(Parrot):
    """A parrot that says its orders on a websocket."""

    def __init__(self) -> None:
        super().__init__()
        self.abilities = replace(self.abilities, entry=Spoken())
        self.meanings[b"null"] = []

    def perform(self, request: Request, now: int) -> Call:
        call = super().perform(request, now)
        return replace(call, socket="entry") if isinstance(request, Place) else call


def placed() -> tuple[Floor, Call]:
    """A floor on which an order has just been said."""
    floor = Floor(Speaking()).ready()
    for _ in range(10):
        floor.tell(*floor.stage.marks(), after=S)
        if said := [call for call in floor.calls() if call.socket is not None]:
            return floor, said[0]
        floor.settle()
    raise AssertionError("no order came")


def state(floor: Floor, call: Call) -> State:
    assert isinstance(call.request, Place)
    return floor.desk.engine.blotter.orders[call.request.order.id].state


def said(floor: Floor, call: Call, *facts: Fact) -> Frame:
    body = floor.parrot.frame(*facts).decode()
    return Frame("entry", json.dumps({"call": call.tag, "status": 200, "body": body}).encode())


def accepted(call: Call) -> Fact:
    assert isinstance(call.request, Place)
    return Accepted(call.request.order.id, "77", 0, 1)


def test_it_is_opened_beside_the_streams_and_nothing_waits_for_it() -> None:
    floor = Floor(Speaking())
    floor.take()
    floor.take(*[floor.answer(call) for call in floor.calls()])
    assert [act.socket for act in floor.acts if isinstance(act, Open)] == ["market", "private", "entry"]
    assert floor.desk.engine.guards[0].readiness.streams == ("market", "private")


def test_an_answer_on_the_socket_is_an_answer_to_its_call() -> None:
    floor, call = placed()
    floor.take(said(floor, call, accepted(call)), after=MS)
    assert state(floor, call) is State.WORKING
    assert call.tag not in floor.desk.calls
    floor.take(said(floor, call, accepted(call)), after=MS)  # said twice, it means nothing more
    assert floor.parrot.silences == []


def test_another_frame_is_read_like_any_other() -> None:
    floor, call = placed()
    floor.take(Frame("entry", b"null"), after=MS)
    assert state(floor, call) is State.SENT


def test_a_socket_that_ends_makes_what_is_under_way_on_it_unknown() -> None:
    floor, call = placed()
    assert isinstance(call.request, Place)
    floor.take(Closed("entry", "reset"), after=MS)
    assert floor.parrot.silences == [(call.request, True, "reset")]
    assert state(floor, call) is State.UNKNOWN
    asked: list[Any] = []
    for _ in range(5):
        asked += [one.request for one in floor.calls(What.ORDER)]
        floor.take(after=S)
    assert Ask(What.ORDER, call.request.order.instrument, call.request.order.id) in asked, "it is asked about by REST"


def test_an_answer_that_never_comes_is_waited_for_no_longer_than_the_call_says() -> None:
    floor, call = placed()
    assert floor.wake_at <= call.at + PATIENCE_NS
    floor.take(after=PATIENCE_NS - MS)
    assert state(floor, call) is State.SENT
    floor.take(after=MS)
    assert floor.parrot.silences == [(call.request, True, "timed out")]
    assert state(floor, call) is State.UNKNOWN
    floor.take(said(floor, call, accepted(call)), after=MS)
    assert state(floor, call) is State.UNKNOWN, "an answer after that proves nothing: the question does"


def test_calls_over_http_are_timed_by_who_makes_them_and_outlive_the_socket() -> None:
    floor = Floor(Speaking()).ready()
    floor.take(after=60 * S)
    (call, *_) = floor.calls()
    floor.take(Closed("entry", "reset"), after=MS)
    floor.take(after=PATIENCE_NS)
    assert call.tag in floor.desk.calls


def test_an_order_that_was_withheld_was_not_sent() -> None:
    floor, call = placed()
    floor.take(Silence(call.tag, sent=False, reason="the journal has failed"), after=MS)
    assert floor.parrot.silences == [(call.request, False, "the journal has failed")]
