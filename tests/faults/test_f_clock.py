"""Time that passes unnoticed, or is set: a blocked loop, a suspended process, a clock that leaps. In virtual time; see
test_f_process.py for real signals."""

from __future__ import annotations

import random

import pytest

from agent.core.events import Clock, Command, Mark
from agent.core.orders import MS, S
from agent.core.targets import Targets
from agent.core.venue import What
from tests.core.kit import Stage
from tests.faults.striking import Struck
from tests.faults.witness import LIMIT_NS, Witnessed, event, policy, world
from tests.storm.world import START


def mended(on: Witnessed) -> None:
    """In the end the account is where it should be, and the agent knows it."""
    assert on.engine.state == "holding", on.engine.state
    assert on.engine.drift is not None
    assert on.engine.drift.reach < 1
    assert all(on.known(symbol) == on.held(symbol) for symbol in on.symbols)
    assert all(sent.age <= LIMIT_NS for sent in on.sent)


def bitcoin(held: float = 0.25) -> Stage:
    """Nothing but bitcoin, of which more is wanted than is held, unless told otherwise."""
    return Stage(policy(targets=Targets(weights={"BTCUSDT": 1.0}, leverage=3.0)), {"BTCUSDT": held}).ready()


@pytest.mark.fault("F5")
@pytest.mark.parametrize("seconds", [12, 30, 60])
def test_after_the_loop_was_blocked_everything_is_asked_before_anything_is_done(seconds: int, struck: Struck) -> None:
    on = world(event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=24)).go(23)
    on.now += seconds * S  # nothing is read meanwhile, and all of it at once afterwards
    woken = on.now
    struck("F5")
    on.go(40)
    first = next(note.text for at, note in on.notes if at >= woken)
    assert first.startswith("command resync after a pause of"), "doubt comes before what has woken it"
    assert on.sent
    assert all(sent.at > woken for sent in on.sent)
    told = [at for at, what in on.asked if what is What.POSITIONS and at >= woken]
    assert told[0] == woken
    assert on.sent[0].at > told[0]
    mended(on)


@pytest.mark.fault("F6")
@pytest.mark.parametrize("seconds", [10, 600])
def test_what_was_decided_before_a_suspension_does_not_leave_after_it(seconds: int, struck: Struck) -> None:
    on = world(event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=20)).go(20.2)
    on.desk.channels[0].lanes.throttle(on.now + 2 * S)  # the order waits for its turn
    on.until(lambda: bool(on.sent))
    waiting = {sent.order.id for sent in on.sent}
    on.now += seconds * S
    struck("F6")
    on.go(40)
    assert waiting
    ours = {order.client_id for order in on.exchange.ledger.orders.values()}
    assert not ours & waiting, "its time was over"
    assert on.said("after a pause of")
    mended(on)


def test_a_short_delay_is_no_reason_for_doubt() -> None:
    on = world().go(20)
    on.now += 3 * S
    on.go(20)
    assert not on.said("resync")


@pytest.mark.fault("F7")
def test_while_the_venues_clock_is_hardly_known_nothing_increases(struck: Struck) -> None:
    """Its requests would be accepted at moments of which nobody can say when they are."""
    on = bitcoin()
    on.mute = {What.TIME}
    on.tell(Clock(offset_ns=0, error_ns=800 * MS))
    struck("F7")
    assert not on.wait(20)
    assert any("clock known: the venue's clock is known to within 0.80 s" in text for text in on.said("refusal"))
    assert on.tell(Clock(offset_ns=0, error_ns=20 * MS)) or on.wait(20)


@pytest.mark.fault("F7")
@pytest.mark.parametrize("hours", [-1, 1])
def test_a_step_of_our_own_clock_makes_prices_look_old_until_it_is_measured(hours: int, struck: Struck) -> None:
    """Our clock is never set back; seen from it, the venue's is then an hour ahead or behind."""
    on = world(
        event(do="clock", ms=-hours * 3_600_000, at_s=20), event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=22)
    )
    on.go(20.1)
    struck("F7", on.count("events: clock"))
    on.desk.take((), on.now)
    on.go(40)
    assert on.engine.book.accounts[0].clock is not None
    assert abs(on.engine.book.accounts[0].clock.offset_ns + hours * 3600 * S) < S
    assert on.sent
    assert on.engine.state == "holding"
    assert all(on.known(symbol) == on.held(symbol) for symbol in on.symbols)


@pytest.mark.fault("F10")
def test_starved_of_time_it_acts_later_and_never_on_old_prices(struck: Struck) -> None:
    """Each turn comes up to four seconds late."""
    dice = random.Random(1)
    on = world(event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=24)).go(20)
    for _ in range(60):
        on.now += round(dice.uniform(0, 4) * S)
        struck("F10")
        on.go(0.3)
    on.go(30)
    assert on.sent
    mended(on)


# Two that need a venue of their own


@pytest.mark.fault("E9")
def test_while_mark_and_index_are_apart_it_is_not_traded_on(struck: Struck) -> None:
    gap = event(do="index gap", symbol="BTCUSDT", rate="0.15", at_s=18, for_s=40)
    on = world(gap, event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=22)).go(57)
    struck("E9", on.count("events: index gap"))
    assert not [sent for sent in on.sent if sent.order.symbol == "BTCUSDT" and sent.at > START + 19 * S]
    assert on.said("mark and index are")
    on.go(60)
    mended(on)


@pytest.mark.fault("E9")
def test_a_first_price_that_its_index_contradicts_is_not_believed(struck: Struck) -> None:
    on = bitcoin()
    on.engine.book.rows[0].mark = on.engine.book.rows[0].quote = None
    on.mute = {What.PRICES}
    on.tell(Mark(instrument=0, price=60_000.0, index=30_000.0, at=on.venue_now + 1))
    struck("E9")
    assert on.engine.book.rows[0].doubt is not None
    assert on.asked(What.PRICES), "an answer settles it"


@pytest.mark.fault("H7")
@pytest.mark.parametrize("word", ["pause", "halt", "kill", "stop"])
def test_a_word_in_the_middle_of_a_plan_stops_it_at_once(word: str, struck: Struck) -> None:
    on = Stage(policy(), {"BTCUSDT": 1.0, "ETHUSDT": 10.0, "SOLUSDT": 100.0}, equity=100_000.0).ready()
    placed = on.wait(2)
    assert placed
    more = on.tell(Command(word))
    struck("H7")
    for order in placed:
        more += on.tell(*on.fill(order), after=0.01)
    more += on.wait(30)
    assert not more, "what is on its way is settled, and nothing follows"
    assert not on.engine.blotter.live()


@pytest.mark.fault("H7")
def test_a_command_to_doubt_everything_in_the_middle_of_a_plan_waits_for_the_answers(struck: Struck) -> None:
    on = bitcoin()
    (placed,) = on.wait(2)
    on.mute = {What.POSITIONS}
    on.tell(Command("resync"))
    struck("H7")
    assert not on.tell(*on.fill(placed), after=0.01)
    assert not on.wait(10)
    on.mute = set()
    on.wait(30)
    assert on.engine.state == "holding"
