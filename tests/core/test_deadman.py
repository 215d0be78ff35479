from __future__ import annotations

from agent.core.deadman import AGAIN_NS, LINGER_NS, DeadMan
from agent.core.events import Accepted, Ended, Unarmed
from agent.core.orders import Blotter, Style
from agent.core.venue import Arm
from tests.core.kit import START, S, order

SET, RELEASE = Arm(instrument=0, ms=120_000), Arm(instrument=0, ms=0)


def resting() -> Blotter:
    blotter = Blotter()
    blotter.add(order(style=Style.POST), START)
    return blotter


def finish(blotter: Blotter) -> None:
    blotter.apply(Ended(order="o1", how="cancelled", filled_lots=0, at=START), START)


def test_it_is_set_with_a_resting_order_and_renewed_four_times_in_its_window() -> None:
    switch, blotter = DeadMan(range(9), 120.0), resting()
    assert switch.due(blotter, START) == [SET]
    blotter.apply(Accepted(order="o1", venue_order="v", filled_lots=0, at=START), START)
    sent = [second for second in range(1, 121) if switch.due(blotter, START + second * S)]
    assert sent == [30, 60, 90, 120]


def test_it_is_released_soon_after_the_last_resting_order() -> None:
    switch, blotter = DeadMan(range(9), 120.0), resting()
    switch.due(blotter, START)
    finish(blotter)
    assert switch.wake_at() == START + LINGER_NS
    assert switch.due(blotter, START + LINGER_NS - 1) == []
    assert switch.due(blotter, START + LINGER_NS) == [RELEASE]
    assert switch.wake_at() is None


def test_the_next_resting_order_keeps_it_set() -> None:
    switch, blotter = DeadMan(range(9), 120.0), resting()
    switch.due(blotter, START)
    finish(blotter)
    blotter.add(order("o2", style=Style.POST), START)
    assert switch.due(blotter, START + 5 * S) == []
    assert switch.due(blotter, START + LINGER_NS) == []
    assert switch.due(blotter, START + 30 * S) == [SET]


def test_what_may_not_have_been_set_is_set_again_soon() -> None:
    switch, blotter = DeadMan(range(9), 120.0), resting()
    switch.due(blotter, START)
    switch.apply(Unarmed(0, "timeout"), START + S)
    assert switch.due(blotter, START + S + AGAIN_NS - 1) == []
    assert switch.due(blotter, START + S + AGAIN_NS) == [SET]


def test_what_may_not_have_been_released_is_released_again() -> None:
    switch, blotter = DeadMan(range(9), 120.0), resting()
    switch.due(blotter, START)
    finish(blotter)
    end = START + LINGER_NS
    switch.due(blotter, end)
    switch.apply(Unarmed(0, "timeout"), end + S)
    assert switch.wake_at() == end + S + AGAIN_NS
    assert switch.due(blotter, end + S + AGAIN_NS) == [RELEASE]


def test_an_order_that_never_rests_needs_no_switch_and_a_window_of_nothing_has_none() -> None:
    taking = Blotter()
    taking.add(order(), START)
    assert DeadMan(range(9), 120.0).due(taking, START) == []
    off = DeadMan(range(9), 0.0)
    assert off.due(resting(), START) == []
    assert off.wake_at() is None
