from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agent.core.decisions import Decision, Policy
from agent.core.desk import KEY_PATIENCE_NS, Answer, Closed, Desk, Frame, Input, Opened, Silence, Step, Tick, Told
from agent.core.engine import Engine
from agent.core.events import (
    Clock,
    Fact,
    Listed,
    Throttled,
    Unset,
    Used,
)
from agent.core.guard import Seat
from agent.core.limits import SHARE
from agent.core.paper import Paper, PaperAccount
from agent.core.targets import Targets
from agent.core.venue import (
    Ask,
    Bucket,
    Call,
    Cancel,
    Dialect,
    Lane,
    Open,
    Place,
    Reply,
    Request,
    Say,
    SetLeverage,
    Shut,
    What,
)
from tests.core.kit import MISSION, MS, START, THIRDS, Parrot, S, Stage, instrument, order

POLICY = Policy(mode="live", targets=Targets(weights=dict(THIRDS), leverage=3.0))


class Floor:
    """A desk, and a venue behind its calls that answers from the books of a stage."""

    def __init__(self, parrot: Parrot | None = None) -> None:
        self.parrot = parrot or Parrot()
        self.stage = Stage(POLICY, MISSION)
        engine = Engine(
            POLICY,
            epoch=1,
            seats=(Seat("t", self.parrot.abilities),),
            schedule=lambda now: None,
        )
        dialect: Dialect = self.parrot
        self.desk = Desk([dialect], engine, salt="desk")
        self.now = START
        self.acts: list[Any] = []
        self.wake_at = START

    def take(self, *inputs: Input, after: int = 0) -> Step:
        self.now += after
        self.stage.now = self.now
        step = self.desk.take(inputs or (Tick(),), self.now)
        self.acts = list(step.acts)
        self.wake_at = step.wake_at
        return step

    def tell(self, *facts: Fact, socket: str = "market", after: int = 0) -> Step:
        return self.take(Frame(socket, self.parrot.frame(*facts)), after=after)

    def calls(self, what: What | None = None) -> list[Call]:
        return [
            act
            for act in self.acts
            if isinstance(act, Call) and (what is None or (isinstance(act.request, Ask) and act.request.what is what))
        ]

    def answer(self, call: Call) -> Answer:
        self.stage.now = self.now
        assert isinstance(call.request, Ask)
        return Answer(call.tag, Reply(200, {}, self.parrot.frame(*self.stage.answer(call.request))))

    def settle(self) -> None:
        """Answer calls and open sockets until the desk wants nothing more at this moment."""
        for _ in range(20):
            inputs: list[Input] = [self.answer(c) for c in self.calls() if isinstance(c.request, Ask)]
            inputs += [Opened(act.socket) for act in self.acts if isinstance(act, Open)]
            if not inputs:
                return
            self.take(*inputs, after=MS)
        raise AssertionError(f"the desk keeps wanting {self.acts}")

    def ready(self) -> Floor:
        self.take()
        self.settle()
        self.tell(*self.stage.marks())
        self.settle()
        assert self.desk.engine.unready() is None
        return self


def kinds(acts: list[Any]) -> list[str]:
    return [type(act).__name__ for act in acts]


# Beginning


def test_it_begins_with_questions_and_opens_sockets_once_the_instruments_are_known() -> None:
    floor = Floor()
    floor.take()
    assert [call.request for call in floor.calls()] == [Ask(What.TIME), Ask(What.INSTRUMENTS)]
    assert not [act for act in floor.acts if isinstance(act, Open)]
    floor.take(*[floor.answer(call) for call in floor.calls()])
    assert [act.socket for act in floor.acts if isinstance(act, Open)] == ["market", "private"]


def test_a_socket_that_is_open_is_subscribed_to() -> None:
    floor = Floor()
    floor.take()
    floor.settle()
    step = floor.take(Opened("market"))
    assert Say("market", "subscribe") in step.acts


def test_a_socket_whose_address_needs_a_key_waits_for_it() -> None:
    floor = Floor(Parrot(keyed=True))
    floor.take()
    floor.take(*[floor.answer(call) for call in floor.calls()])
    (key,) = floor.calls(What.KEY)
    assert [act.socket for act in floor.acts if isinstance(act, Open)] == ["market"]
    answered = floor.take(Answer(key.tag, Reply(200, {}, b"the key")))
    assert [act.socket for act in answered.acts if isinstance(act, Open)] == ["private"]
    assert floor.desk.lines["private"].opening_since == floor.now


def test_a_key_that_never_comes_is_asked_for_again() -> None:
    floor = Floor(Parrot(keyed=True))
    floor.take()
    floor.take(*[floor.answer(call) for call in floor.calls()])
    asked = []
    until = floor.now + 3 * KEY_PATIENCE_NS
    while floor.now < until:
        floor.take(after=max(1, floor.wake_at - floor.now))
        asked += floor.calls(What.KEY)
    assert len(asked) >= 2


def test_from_the_first_tick_to_the_first_order() -> None:
    floor = Floor().ready()
    placed: list[Call] = []
    for _ in range(10):
        floor.tell(*floor.stage.marks(), after=S)
        placed += [call for call in floor.calls() if isinstance(call.request, Place)]
        floor.settle()
    assert [call.request.order.lots for call in placed if isinstance(call.request, Place)] == [-49]


# What comes in


def test_a_reply_and_a_silence_reach_the_dialect_once() -> None:
    floor = Floor()
    floor.take()
    time, instruments = floor.calls()
    floor.take(Silence(time.tag, True, "reset"), Silence(time.tag, True, "reset"))
    assert floor.parrot.silences == [(Ask(What.TIME), True, "reset")]
    twice = floor.answer(instruments)
    assert floor.take(twice).decisions
    assert floor.desk.conceal(twice) is None
    assert instruments.tag not in floor.desk.calls
    floor.take(Answer(999, Reply(200, {}, b"")))


def test_a_reply_that_holds_a_secret_is_recorded_as_its_stand_in() -> None:
    floor = Floor(Parrot(keyed=True))
    floor.take()
    floor.take(*[floor.answer(call) for call in floor.calls()])
    (key,) = floor.calls(What.KEY)
    assert floor.desk.conceal(Answer(key.tag, Reply(200, {}, b"the key"))) == "a key"
    assert floor.desk.conceal(Answer(key.tag, Reply(401, {}, b"no"))) is None, "the words of a refusal are kept"
    assert floor.desk.conceal(Tick()) is None


def test_a_command_reaches_the_engine() -> None:
    floor = Floor().ready()
    floor.take(Told("pause"))
    assert floor.desk.engine.guards[0].halts.paused


def test_what_the_venue_says_about_budgets_is_believed() -> None:
    floor = Floor().ready()
    floor.tell(Used("weight", 640))
    assert floor.desk.channels[0].lanes.gauges["weight"].used >= 640
    floor.tell(Throttled(until=floor.now + 30 * S, banned=False, reason="429"))
    floor.take(after=20 * S)
    assert floor.acts == [] or kinds(floor.acts) == ["Shut"] * len(floor.acts)
    assert floor.desk.channels[0].lanes.silent_until == floor.now + 10 * S


def test_the_dialect_is_woken_when_it_wants_to_be() -> None:
    floor = Floor().ready()
    floor.parrot.wake_at = floor.now + S
    floor.take()
    assert floor.parrot.woken == []
    assert floor.wake_at <= floor.now + S
    floor.take(after=S)
    assert floor.parrot.woken == [floor.now]


def test_what_the_dialect_wants_by_itself_is_carried_over() -> None:
    floor = Floor().ready()
    floor.parrot.wishes = [Ask(What.KEY), Shut("private", "its key has changed"), Say("market", "ping")]
    floor.take()
    assert Shut("private", "its key has changed") in floor.acts
    assert Say("market", "ping") in floor.acts
    floor.take(after=MS)
    assert [call.request for call in floor.calls()] == [Ask(What.KEY)]


def test_an_address_for_a_socket_that_is_open_already_leaves_it_alone() -> None:
    floor = Floor().ready()
    floor.parrot.wishes = [Open("private", "wss://private/other", None)]
    floor.take()
    assert not [act for act in floor.acts if isinstance(act, Open)]
    assert floor.desk.lines["private"].open


# Orders


def test_an_order_that_waited_for_budget_until_its_time_was_over_is_never_sent() -> None:
    floor = Floor().ready()
    floor.tell(Throttled(until=floor.now + 9 * S, banned=False, reason="429"))
    for _ in range(7):
        floor.tell(*floor.stage.marks(), after=S)
    live = floor.desk.engine.blotter.live()
    assert len(live) == 1
    assert not [call for call in floor.parrot.calls if isinstance(call.request, Place)]
    notes: list[str] = []
    for _ in range(2):
        step = floor.tell(*floor.stage.marks(), after=2 * S)
        notes += [note.text for decision in step.decisions for note in decision.notes]
    assert any("waited for request budget" in text for text in notes)
    sent = [call.request.order.id for call in floor.parrot.calls if isinstance(call.request, Place)]
    assert live[0].id not in sent
    assert not [order for order in floor.desk.engine.blotter.live() if order.id == live[0].id]


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_an_order_that_waits_for_budget_is_judged_again_before_it_leaves(command: str) -> None:
    floor = Floor().ready()
    floor.tell(Throttled(until=floor.now + 8 * S, banned=False, reason="429"))
    for _ in range(7):
        floor.tell(*floor.stage.marks(), after=S)
    assert len(floor.desk.engine.blotter.live()) == 1
    floor.take(Told(command))
    for _ in range(3):
        floor.tell(*floor.stage.marks(), after=S)
    assert not [call for call in floor.parrot.calls if isinstance(call.request, Place)]
    assert not floor.desk.engine.blotter.live()


@pytest.mark.parametrize("request_", [Cancel(order="x", instrument=0), SetLeverage(instrument=0, leverage=5)])
def test_an_observer_asks_and_does_nothing_else_whatever_was_decided(request_: Request) -> None:
    floor = Floor().ready()
    engine = floor.desk.engine
    engine.policy = replace(engine.policy, mode="observe")
    floor.desk.channels[0].lanes.put(request_, floor.desk.channels[0].dialect.weigh(request_))
    floor.take(after=S)
    assert not [call for call in floor.parrot.calls if not isinstance(call.request, Ask)]


def test_a_leverage_setting_leaves_once_before_the_increase_that_needs_it() -> None:
    floor = Floor().ready()
    dialect, lanes = floor.desk.channels[0].dialect, floor.desk.channels[0].lanes
    increase = Place(order("more", expires_at=floor.now + 10 * S))
    for request in (SetLeverage(0, 5), increase, SetLeverage(0, 5)):
        lanes.put(request, dialect.weigh(request))
    floor.take(after=MS)
    assert [call.request for call in floor.calls() if not isinstance(call.request, Ask)] == [
        SetLeverage(0, 5),
        increase,
    ]
    (call,) = [call for call in floor.calls() if isinstance(call.request, SetLeverage)]
    floor.take(Silence(call.tag, True, "reset"))
    for _ in range(20):
        floor.tell(*floor.stage.marks(), after=S)
    sent = [call for call in floor.parrot.calls if isinstance(call.request, SetLeverage)]
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("command", "reason"), [("pause", "paused"), ("stop", "stopping"), ("halt", "by command"), ("kill", "by command")]
)
def test_a_leverage_setting_that_waits_does_not_leave_once_nothing_may_increase(command: str, reason: str) -> None:
    floor = Floor().ready()
    told: list[Fact] = []
    step = floor.desk.engine.step

    def hear(facts: Sequence[Fact], now: int) -> Decision:
        told.extend(facts)
        return step(facts, now)

    floor.desk.engine.step = hear  # type: ignore[method-assign]
    floor.tell(Throttled(until=floor.now + S, banned=False, reason="429"))
    request = SetLeverage(0, 5)
    floor.desk.channels[0].lanes.put(request, floor.desk.channels[0].dialect.weigh(request))
    floor.take(Told(command))
    floor.take(after=2 * S)
    assert not [call for call in floor.parrot.calls if isinstance(call.request, SetLeverage)]
    assert Unset(0, 5, f"unsent: {reason}") in told


def test_an_order_is_given_to_the_wire_once_whatever_becomes_of_its_reply() -> None:
    floor = Floor().ready()
    for _ in range(60):
        floor.tell(*floor.stage.marks(), after=S)
        inputs: list[Input] = []
        for call in floor.calls():
            match call.request:
                case Place():
                    inputs.append(Silence(call.tag, True, "reset"))
                case Ask(what=What.ORDER):
                    inputs.append(Silence(call.tag, True, "reset"))
                case Ask():
                    inputs.append(floor.answer(call))
        if inputs:
            floor.take(*inputs, after=MS)
    sent = [call.request.order.id for call in floor.parrot.calls if isinstance(call.request, Place)]
    assert len(sent) == 1
    asked = [call for call in floor.parrot.calls if isinstance(call.request, Ask) and call.request.what is What.ORDER]
    assert len(asked) > 5


def test_what_is_asked_for_more_than_the_budget_waits_its_turn() -> None:
    parrot = Parrot()
    parrot.buckets = (Bucket("weight", 10, 60 * S),)
    floor = Floor(parrot)
    floor.take()
    floor.take(*[floor.answer(call) for call in floor.calls()])
    sent = [call for call in parrot.calls if parrot.weigh(call.request).lane is Lane.REFRESH]
    assert len(sent) == SHARE[Lane.REFRESH] * 10
    # After a minute the next window lets the next ones go.
    before = len(parrot.calls)
    floor.take(after=60 * S)
    assert len(parrot.calls) > before


def test_on_paper_the_whole_way_is_gone_without_an_order_on_the_wire() -> None:
    parrot = Parrot(("market",))
    public: Dialect = parrot
    paper: Dialect = Paper(public, PaperAccount(positions=dict(MISSION)), list(THIRDS))
    floor = Floor(parrot)
    engine = Engine(POLICY, epoch=1, seats=(Seat("t", paper.abilities),), schedule=lambda now: None)
    floor.desk = Desk([paper], engine, salt="desk")
    floor.take()
    floor.settle()
    for _ in range(30):
        floor.tell(*floor.stage.marks(), after=S)
        floor.settle()
    assert engine.tally.fills == 3
    assert engine.drift is not None
    assert engine.drift.reach < 1
    assert {type(call.request) for call in parrot.calls} == {Ask}


# Sockets come and go


def test_a_lost_socket_is_opened_again_after_a_growing_pause() -> None:
    floor = Floor().ready()
    pauses = []
    for _ in range(8):
        floor.take(Closed("market", "1006"))
        line = floor.desk.lines["market"]
        assert line.due_at is not None
        pauses.append(line.due_at - floor.now)
        floor.take(after=line.due_at - floor.now)
        assert "market" in [act.socket for act in floor.acts if isinstance(act, Open)]
    assert max(pauses) > 4 * S
    floor.take(Opened("market"))
    floor.tell(Clock(offset_ns=0, error_ns=0))
    assert floor.desk.lines["market"].attempt > 0, "a frame alone does not show that it holds"
    floor.tell(Clock(offset_ns=0, error_ns=0), after=61 * S)
    assert floor.desk.lines["market"].attempt == 0


def test_a_socket_that_does_not_open_is_tried_anew() -> None:
    floor = Floor().ready()
    floor.take(Closed("market", "1006"))
    opened = []
    until = floor.now + 40 * S
    while floor.now < until:
        floor.take(after=max(1, floor.wake_at - floor.now))
        opened += [act for act in floor.acts if isinstance(act, Open) and act.socket == "market"]
    assert len(opened) >= 2


def test_a_socket_that_has_gone_silent_is_closed() -> None:
    floor = Floor().ready()
    floor.take(after=10 * S + MS)
    shut = [act for act in floor.acts if isinstance(act, Shut)]
    assert [act.socket for act in shut] == ["market", "private"]
    assert shut[0].reason == "silent for 10 s"


def test_a_silent_socket_whose_end_is_never_told_is_opened_anew() -> None:
    floor = Floor().ready()
    floor.take(after=10 * S + MS)
    opened: list[str] = []
    until = floor.now + 40 * S
    while floor.now < until:
        floor.take(after=max(1, floor.wake_at - floor.now))
        opened += [act.socket for act in floor.acts if isinstance(act, Open)]
    assert "market" in opened


def test_a_socket_that_can_be_silent_is_left_alone() -> None:
    floor = Floor().ready()
    floor.desk.lines["private"].quiet_ns = None
    floor.take(after=10 * S + MS)
    assert [act.socket for act in floor.acts if isinstance(act, Shut)] == ["market"]


def test_a_certificate_that_does_not_hold_halts() -> None:
    floor = Floor().ready()
    floor.take(Closed("market", "certificate has expired", fatal=True))
    assert (
        floor.desk.engine.guards[0].halts.halted
        == "the venue rejects the key or account: market: certificate has expired"
    )


# Waking


@pytest.mark.parametrize("silent", [True, False])
def test_without_news_it_wakes_a_few_times_a_minute_and_not_all_the_time(silent: bool) -> None:
    floor = Floor()
    floor.take()
    if not silent:
        floor.settle()
    steps, until = 0, floor.now + 60 * S
    while floor.now < until:
        floor.take(after=max(1, floor.wake_at - floor.now))
        steps += 1
    assert 4 <= steps < 600


def test_the_same_inputs_give_the_same_bytes() -> None:
    def run() -> bytes:
        floor = Floor().ready()
        steps = [floor.tell(*floor.stage.marks(), after=S) for _ in range(15)]
        steps += [floor.take(Closed("market", "1006")), floor.take(after=5 * S)]
        return msgspec.json.encode([(step.decisions, step.acts, step.wake_at) for step in steps])

    assert run() == run()


def test_grids_told_by_a_stream_open_the_sockets_as_well() -> None:
    floor = Floor()
    floor.take()
    floor.desk.lines["market"].open = True
    step = floor.tell(Listed(instruments=(instrument(),)))
    assert [act.socket for act in step.acts if isinstance(act, Open)] == ["market", "private"]
