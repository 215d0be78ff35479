from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.limits import MOST, RECOVERY_NS, SHARE, Lanes, backoff
from agent.core.venue import Ask, Bucket, Cancel, Lane, Place, Request, Weight, What
from tests.core.kit import START, S, order

MINUTE = 60 * S
WEIGHT = Bucket("weight", 100, MINUTE)
ORDERS = Bucket("orders", 10, 10 * S)


def lanes() -> Lanes:
    return Lanes((WEIGHT, ORDERS))


def cancel(number: int) -> tuple[Request, Weight]:
    return Cancel(order=f"o{number}", instrument=0), Weight(lane=Lane.RESCUE, takes=(("weight", 1),))


def create(number: int, price: int = 1) -> tuple[Request, Weight]:
    placed = Place(order=order(f"o{number}"))
    return placed, Weight(lane=Lane.CREATE, takes=(("weight", price), ("orders", 1)))


def refresh(number: int, price: int = 1) -> tuple[Request, Weight]:
    return Ask(What.FEES, instrument=number), Weight(lane=Lane.REFRESH, takes=(("weight", price),))


def test_what_matters_more_leaves_first_whenever_it_was_queued() -> None:
    queue = lanes()
    for request, weight in (refresh(0), create(1), cancel(2)):
        queue.put(request, weight)
    assert queue.due(0) == [cancel(2)[0], create(1)[0], refresh(0)[0]]
    assert queue.due(0) == []


def test_a_question_that_already_waits_is_not_asked_twice() -> None:
    queue = lanes()
    queue.put(*refresh(0))
    queue.put(*refresh(0))
    assert len(queue.due(0)) == 1


def test_a_flood_of_new_orders_leaves_room_for_cancels() -> None:
    queue = lanes()
    for number in range(200):
        queue.put(*create(number))
    assert len(queue.due(0)) == 6
    queue.put(*cancel(1))
    assert queue.due(0) == [cancel(1)[0]]


def test_what_a_cancel_waits_for_nothing_less_urgent_takes_but_the_rest_goes_on() -> None:
    queue = lanes()
    queue.told("weight", 90, 0)
    queue.put(*cancel(1))
    queue.put(Ask(What.TIME), Weight(lane=Lane.RESOLVE, takes=()))
    queue.put(*refresh(0))
    assert queue.due(0) == [Ask(What.TIME)]
    assert queue.wake_at(0) == MINUTE
    assert queue.due(MINUTE)[0] == cancel(1)[0]


def test_an_order_whose_time_is_over_is_handed_out_at_once_and_holds_back_nothing() -> None:
    queue = lanes()
    queue.told("weight", 90, 0)
    late = Place(order=order(reduce=True, expires_at=5))
    queue.put(late, Weight(lane=Lane.RESCUE, takes=(("weight", 1),)))
    queue.put(Ask(What.TIME), Weight(lane=Lane.RESOLVE, takes=()))
    assert queue.due(0) == [Ask(What.TIME)]
    assert queue.wake_at(0) == 5
    assert queue.due(5) == [late]
    assert queue.gauges["weight"].used == 90


def test_the_venues_count_is_believed_when_it_is_higher_than_ours() -> None:
    queue = lanes()
    queue.told("weight", 60, 0)
    queue.told("weight", 10, 0)
    queue.put(*refresh(0))
    assert queue.due(0) == []
    assert queue.due(MINUTE) != []


def test_a_count_of_a_bucket_that_nobody_knows_is_ignored() -> None:
    queue = lanes()
    queue.told("raw", 1_000_000, 0)
    queue.put(*refresh(0))
    assert queue.due(0) != []


def test_after_a_throttle_nothing_at_all_leaves_before_its_end() -> None:
    queue = lanes()
    queue.throttle(30 * S)
    queue.throttle(20 * S)
    queue.put(*cancel(1))
    assert queue.due(30 * S - 1) == []
    assert queue.wake_at(0) == 30 * S
    assert queue.due(30 * S) == [cancel(1)[0]]


def test_an_order_whose_time_ends_in_the_silence_is_handed_out_then() -> None:
    queue = lanes()
    queue.throttle(START + 120 * S)
    late = create(1)
    queue.put(*late)
    assert queue.due(START) == []
    assert queue.wake_at(START) == START + 3 * S
    assert queue.due(START + 3 * S) == [late[0]]
    queue.put(*cancel(1))
    assert queue.due(START + 4 * S) == []


@pytest.mark.parametrize(("banned", "longer"), [(False, 1), (True, 10)])
def test_after_a_throttle_all_but_safety_keeps_to_half_for_a_while(banned: bool, longer: int) -> None:
    queue = lanes()
    queue.throttle(0, banned=banned)
    end = RECOVERY_NS * longer
    for number in range(200):
        queue.put(*create(number))
    assert len(queue.due(end - 10 * S)) == 3
    assert queue.wake_at(end - 10 * S) == end
    queue.told("weight", 80, end - 10 * S)
    queue.put(*cancel(1))
    assert queue.due(end - 10 * S) == [cancel(1)[0]]
    assert len(queue.due(end)) == 6


def test_a_budget_is_as_large_as_the_venue_says() -> None:
    queue = lanes()
    queue.allow("orders", 5)
    queue.allow("nobody's", 1)
    for number in range(200):
        queue.put(*create(number))
    assert len(queue.due(0)) == 3
    queue.allow("orders", 20)
    assert len(queue.due(0)) == 9


def test_no_lane_grows_without_bound_and_a_full_one_leaves_the_others_alone() -> None:
    queue = lanes()
    taken = [queue.put(*refresh(number)) for number in range(10_000)]
    assert taken.count(True) == MOST
    assert queue.put(*refresh(0)), "what waits already is not refused"
    assert sum(len(waiting) for waiting in queue.waiting.values()) == MOST
    assert queue.put(*cancel(1))


def test_a_new_window_is_a_new_budget() -> None:
    queue = lanes()
    for number in range(8):
        queue.put(*create(number))
    assert len(queue.due(0)) == 6
    assert queue.wake_at(0) == 10 * S
    assert len(queue.due(10 * S)) == 2
    assert queue.wake_at(10 * S) is None


def test_only_the_window_that_is_short_is_waited_for() -> None:
    queue = lanes()
    queue.told("orders", 10, 0)
    queue.put(*create(1))
    assert queue.due(0) == []
    assert queue.wake_at(0) == 10 * S


def test_what_can_leave_at_once_is_not_waited_for() -> None:
    queue = lanes()
    queue.put(*refresh(1))
    assert queue.wake_at(5) == 5


def test_a_request_that_costs_nothing_leaves_whatever_is_used() -> None:
    queue = lanes()
    queue.told("weight", 100, 0)
    queue.put(Ask(What.TIME), Weight(lane=Lane.REFRESH, takes=()))
    assert queue.due(0) == [Ask(What.TIME)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["cancel", "create", "refresh", "told"]), st.integers(1, 20), st.integers(0, 20 * S)),
        max_size=80,
    )
)
def test_no_budget_is_ever_exceeded_and_every_lane_keeps_to_its_share(steps: list[tuple[str, int, int]]) -> None:
    queue = lanes()
    now = 0
    spent: dict[tuple[str, int], int] = {}
    weights: dict[Request, Weight] = {}
    for number, (what, amount, pause) in enumerate(steps):
        now += pause
        if what == "told":
            queue.told("weight", amount, now)
        else:
            request, weight = {"cancel": cancel, "create": create, "refresh": refresh}[what](number)
            queue.put(request, weight)
            weights[request] = weight
        left = queue.due(now)
        assert all(
            a <= b for a, b in zip([weights[r].lane for r in left], [weights[r].lane for r in left][1:], strict=False)
        )
        for request in left:
            for name, takes in weights[request].takes:
                bucket = WEIGHT if name == "weight" else ORDERS
                window = (name, now // bucket.window_ns)
                spent[window] = spent.get(window, 0) + takes
                assert spent[window] <= SHARE[weights[request].lane] * bucket.capacity
        wake_at = queue.wake_at(now)
        assert (wake_at is None) == (not any(queue.waiting.values()))
        assert wake_at is None or wake_at > now


@given(st.integers(0, 60), st.integers(0, 30))
def test_a_cancel_that_fits_its_share_leaves_at_once_whatever_else_waits(creates: int, refreshes: int) -> None:
    queue = lanes()
    for number in range(creates):
        queue.put(*create(number))
    for number in range(refreshes):
        queue.put(*refresh(number))
    queue.due(0)
    queue.put(*cancel(1))
    assert cancel(1)[0] in queue.due(0)


@pytest.mark.parametrize("attempt", [0, 1, 5, 20, 100])
def test_backing_off_stays_under_a_doubling_cap(attempt: int) -> None:
    waits = [backoff(attempt, f"salt{number}") for number in range(200)]
    ceiling = min(30 * S, (S // 2) << min(attempt, 16))
    assert all(0 <= wait <= ceiling for wait in waits)
    assert max(waits) > ceiling * 0.9
    assert min(waits) < ceiling * 0.1


def test_backing_off_repeats_itself_exactly_and_not_in_step_with_others() -> None:
    assert backoff(3, "agent") == backoff(3, "agent") == 1_464_584_767
    assert backoff(3, "agent") != backoff(3, "other")
