"""Requests and orders: what the engine does about refusals, silence and half answers. Each through its front door."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from agent.core import venue
from agent.core.breaker import PROBE_NS, REFUSALS
from agent.core.decisions import Policy
from agent.core.drift import Bands
from agent.core.events import Accepted, Command, Ended, Fault, Lost, Refused
from agent.core.orders import Order, State, Style
from agent.core.planner import Execution
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Arm, Place, What
from tests.core.kit import MISSION, THIRDS, S, Stage
from tests.faults.striking import Struck

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)
SHORT_OF_BITCOIN = {"BTCUSDT": 0.1, "ETHUSDT": 3.0, "SOLUSDT": 40.0}


def stage(positions: dict[str, float] | None = None, **changes: Any) -> Stage:
    policy = Policy(**{"mode": "live", "targets": SHARES, "bands": Bands(destination="target"), **changes})
    return Stage(policy, positions or MISSION).ready()


def play(on: Stage, seconds: float, venue_says: Callable[[Order], list[Any]]) -> list[Order]:
    """Let time pass with a venue that says so of every order: the orders placed."""
    done: list[Order] = []
    until = on.now + round(seconds * S)
    placed = [request.order for request in on.requests if isinstance(request, Place)]
    while on.now < until:
        placed = placed or on.wait(min(0.25, (until - on.now) / S))
        while placed:
            done += placed
            placed = [new for one in placed for new in on.tell(*venue_says(one), after=0.01)]
    return done


def first(on: Stage, style: Style = Style.IOC) -> Order:
    """The first order of a style, at the moment at which it was sent."""
    for _ in range(100):
        found = [order for order in on.wait(0.25) if order.style is style]
        if found:
            return found[0]
    raise AssertionError(on.said())


def refuse(order: Order, fault: Fault = Fault.RULE, code: str = "-4003") -> list[Any]:
    return [Refused(order=order.id, code=code, reason="because", fault=fault)]


@pytest.mark.fault("C6")
def test_the_same_order_is_refused_three_times_and_then_once_a_minute(struck: Struck) -> None:
    on = stage(triggers=Triggers(confirm_s=0.5, cool_down_s=1.0))
    sent: list[tuple[int, int]] = []

    def never(order: Order) -> list[Any]:
        sent.append((order.instrument, on.now))
        return refuse(order)

    minutes = 10
    play(on, minutes * 60, never)
    struck("C6", len(sent))
    counts = Counter(index for index, _ in sent)
    assert set(counts) == {0, 1, 2}, "a reduction that can't be had is no reason to withhold the increases for ever"
    for index, count in counts.items():
        assert REFUSALS < count <= REFUSALS + minutes
        times = [at for one, at in sent if one == index]
        assert all(later - sooner >= PROBE_NS for sooner, later in pairwise(times[2:]))
    assert any("from now on one every 60 s" in text for text in on.said("warning"))


@pytest.mark.fault("C6")
def test_an_order_that_is_taken_again_ends_the_restraint(struck: Struck) -> None:
    on = stage({"BTCUSDT": 0.3}, targets=Targets({"BTCUSDT": 1.0}, 3.0), triggers=Triggers(cool_down_s=1.0))
    refused = play(on, 30, refuse)
    struck("C6", len(refused))
    assert len(refused) == REFUSALS
    assert on.carry_out(90)
    assert on.engine.breaker.open(on.now) == {}
    assert abs(on.weights()[0] - 3.0) < 0.05


@pytest.mark.fault("C6")
def test_danger_does_not_wait_for_the_circuit(struck: Struck) -> None:
    on = stage({"BTCUSDT": 0.9, "ETHUSDT": 6.0, "SOLUSDT": 80.0})
    refused = play(on, 60, refuse)
    struck("C6", len(refused))
    assert all(order.reduce for order in refused)
    assert len(refused) > 3 * (REFUSALS + 1), "leverage is over its limit: it goes on trying, at a slower pace"
    assert len(refused) < 3 * 30


@pytest.mark.fault("C7")
def test_where_post_only_is_always_refused_the_price_is_taken_instead(struck: Struck) -> None:
    on = stage(execution=Execution(style="maker"))
    styles: list[Style] = []

    def takes_only(order: Order) -> list[Any]:
        styles.append(order.style)
        return refuse(order, Fault.PRICE, "-5022") if order.style is Style.POST else on.fill(order)

    orders = play(on, 60, takes_only)
    struck("C7", styles.count(Style.POST))
    posts = Counter(order.instrument for order in orders if order.style is Style.POST)
    assert posts
    assert set(posts.values()) == {1}, "it is not tried again in the same correction"
    assert on.engine.correction is None
    assert on.engine.drift is not None
    assert on.engine.drift.reach <= 1


@pytest.mark.fault("C8")
def test_an_order_for_which_margin_is_missing_is_halved_and_in_the_end_left(struck: Struck) -> None:
    on = stage(SHORT_OF_BITCOIN)
    free = 3_000.0  # less than the 9,000 that are wanted, and the venue alone knows it
    sizes: list[tuple[int, bool]] = []

    def short(order: Order) -> list[Any]:
        nonlocal free
        value = abs(order.lots) * 0.001 * 60_000.0
        sizes.append((order.lots, value <= free))
        if value > free:
            return refuse(order, Fault.MARGIN, "-2019")
        free -= value
        return on.fill(order)

    play(on, 60, short)
    struck("C8", sum(not taken for _, taken in sizes))
    first = [lots for lots, _ in sizes[:4]]
    assert first[1] == first[0] >> 1
    assert any(taken for _, taken in sizes), "part of it fits"
    assert free < 1_500, "most of what there is is used"
    assert len(sizes) <= 20
    assert on.asked(What.ACCOUNT)


@pytest.mark.fault("C14")
def test_a_cancel_that_comes_too_late_is_asked_about_and_no_error(struck: Struck) -> None:
    on = stage(execution=Execution(style="maker", patience_s=3.0))
    resting = first(on, Style.POST)
    on.tell(*on.accept(resting))
    on.wait(3.5)
    assert on.cancelled() == [resting.id]
    on.hush()
    on.tell(Lost(order=resting.id, reason="cancel: unknown order"))
    struck("C14")
    assert [ask.order for ask in on.asked(What.ORDER)] == [resting.id]
    on.tell(*on.trade(resting), *on.finish(resting))
    assert on.state(resting) is State.DONE
    assert on.engine.guards[0].halts.halted is None


@pytest.mark.fault("C16")
def test_nothing_is_amended_and_what_filled_meanwhile_is_not_ordered_again(struck: Struck) -> None:
    requests = {kind.__name__ for kind in typing.get_args(venue.Request)}
    assert requests == {"Ask", "Place", "Batch", "Cancel", "Arm", "SetLeverage"}, "there is no way to amend an order"
    on = stage(execution=Execution(style="maker", patience_s=3.0))
    resting = first(on, Style.POST)
    wanted = abs(resting.lots)
    on.tell(*on.accept(resting))
    on.wait(3.5)
    assert on.cancelled() == [resting.id]
    part = wanted // 3
    on.tell(*on.trade(resting, part))  # while the cancel is on its way
    struck("C16")
    assert on.state(resting) is State.WORKING
    assert [order for order in on.wait(1) if order.instrument == resting.instrument] == [], "not before its end"
    after = on.tell(Ended(order=resting.id, how="cancelled", filled_lots=part, at=on.venue_now)) or on.wait(2)
    assert [abs(order.lots) for order in after if order.instrument == resting.instrument] == [wanted - part]


@pytest.mark.fault("C17")
def test_a_quantity_that_the_venue_cuts_is_read_back(struck: Struck) -> None:
    on = stage()
    sale = first(on)
    assert sale.reduce
    part = abs(sale.lots) // 2
    told = on.tell(*on.accept(sale), *on.trade(sale, part), *on.finish(sale, part, "filled"))
    struck("C17")
    blotter = on.engine.blotter
    assert (blotter.orders[sale.id].filled_lots, blotter.live(sale.instrument)) == (part, told[:1])
    assert [abs(order.lots) for order in told] == [abs(sale.lots) - part], "planned anew from what the venue holds"


@pytest.mark.fault("C5")
def test_an_order_that_is_refused_as_a_twin_is_asked_about_and_found(struck: Struck) -> None:
    on = stage()
    placed = first(on)
    on.hush()
    on.tell(Lost(order=placed.id, reason="-4116 ClientOrderId is duplicated."))
    struck("C5")
    assert on.state(placed) is State.UNKNOWN
    assert [ask.order for ask in on.asked(What.ORDER)] == [placed.id]
    assert on.wait(5) == [], "nothing increases while its fate is open"
    on.tell(Accepted(order=placed.id, venue_order="v", filled_lots=0, at=on.venue_now))
    on.tell(*on.trade(placed), *on.finish(placed))
    assert on.state(placed) is State.DONE


def test_the_venue_is_told_to_cancel_what_rests_should_the_agent_fall_silent() -> None:
    on = stage(execution=Execution(style="maker", patience_s=100.0))
    resting = first(on, Style.POST)
    on.tell(*on.accept(resting))
    on.wait(65)
    armed = [request for request in on.requests if isinstance(request, Arm)]
    assert armed == [Arm(instrument=resting.instrument, ms=120_000)] * 3
    on.hush()
    on.tell(Command("stop"))
    on.tell(Ended(order=resting.id, how="cancelled", filled_lots=0, at=on.venue_now))
    on.wait(15)
    assert [request for request in on.requests if isinstance(request, Arm)] == [Arm(resting.instrument, 0)]


def test_an_order_that_no_question_can_settle_stops_the_agent_until_a_person_says_what_became_of_it() -> None:
    on = stage()
    placed = first(on)
    on.tell(Lost(order=placed.id, reason="timeout"))
    on.tell(*on.trade(placed)[:2])  # the position moves, and no word of a trade
    for _ in range(45):
        on.wait(2)
        on.tell(*on.deny(placed))
    assert on.engine.guards[0].halts.halted is not None
    assert f"start again with --resolve {placed.id}" in on.engine.guards[0].halts.halted
    on.tell(Command("resolve", "nothing"))
    assert "no order nothing is of unknown fate" in on.said("warning")
    on.tell(Command("resolve", placed.id))
    assert on.state(placed) is State.DONE
    assert on.engine.blotter.live() == []
    on.tell(Command("resume"))
    on.carry_out(60)
    assert on.engine.drift is not None
    assert on.engine.drift.reach <= 1
