from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.events import Absent, Accepted, Ended, Fact, Fault, Filled, Lost, OpenOrder, Orders, Refused, Wake
from agent.core.orders import (
    ASK_NS,
    FORGOTTEN_NS,
    HOPELESS_NS,
    KEEP_NS,
    NEXT,
    REPLY_NS,
    SETTLE_NS,
    STALE_NS,
    TWICE_NS,
    Blotter,
    Order,
    Origin,
    State,
    Style,
    base36,
    order_id,
    origin_of,
)
from tests.core.kit import START, S, order

T = START
DEAD = T + 3 * S + SETTLE_NS
"""When a request that expired at T + 3 s can no longer be accepted."""
HOUR_NS = 3600 * S


def accepted(filled: int = 0, at: int = T, name: str = "o1") -> Accepted:
    return Accepted(order=name, venue_order="v1", filled_lots=filled, at=at)


def filled(total: int, lots: int = 1, trade: str | None = None, at: int = T) -> Filled:
    return Filled("o1", 0, trade or f"t{total}", lots, 60_000.0, 0.1, "USDT", False, total, at)


def ended(total: int = 0, how: str = "expired", at: int = T) -> Ended:
    return Ended(order="o1", how=how, filled_lots=total, at=at)


def refused(name: str = "o1") -> Refused:
    return Refused(order=name, code="-2019", reason="no margin", fault=Fault.MARGIN)


def lost() -> Lost:
    return Lost(order="o1", reason="timeout")


def absent(asked_at: int = DEAD) -> Absent:
    return Absent(order="o1", asked_at=asked_at)


def blotter(*facts: Fact, now: int = T, **changes: Any) -> Blotter:
    orders = Blotter()
    orders.add(order(**changes), T)
    for fact in facts:
        orders.apply(fact, now)
    return orders


def compared(orders: Blotter, ahead_ns: int, now: int) -> None:
    """The venue's clock is found to be so far ahead of ours."""
    orders.venue_ahead_ns = ahead_ns
    orders.rewind(now + ahead_ns, range(9))


def one(orders: Blotter) -> Order:
    return orders.orders["o1"]


# The life of an order


def test_every_state_has_an_answer_to_every_word_about_an_order() -> None:
    words = {Accepted, Filled, Ended, Refused, Lost, Absent}
    assert set(NEXT) == set(State)
    assert all(set(row) == words for row in NEXT.values())
    assert set(NEXT[State.DONE].values()) == {State.DONE}


@pytest.mark.parametrize(
    ("facts", "state", "total"),
    [
        ([accepted()], State.WORKING, 0),
        ([filled(4, 4)], State.WORKING, 4),
        ([ended(10, "filled")], State.DONE, 10),
        ([refused()], State.DONE, 0),
        ([lost()], State.UNKNOWN, 0),
        ([absent()], State.SENT, 0),
        ([accepted(), lost()], State.UNKNOWN, 0),
        ([accepted(), absent()], State.UNKNOWN, 0),
        ([lost(), accepted(3)], State.WORKING, 3),
        ([lost(), ended(10)], State.DONE, 10),
        ([lost(), refused()], State.UNKNOWN, 0),
        ([ended(0), filled(4, 4)], State.DONE, 4),
        ([accepted(5), accepted(2)], State.WORKING, 5),
        ([filled(5, 5), ended(0)], State.DONE, 5),
    ],
)
def test_an_order_goes_where_the_words_lead(facts: list[Fact], state: State, total: int) -> None:
    after = one(blotter(*facts))
    assert (after.state, after.filled_lots) == (state, total)


def test_a_refusal_of_an_order_that_the_venue_has_contradicts_it_so_it_is_asked_about() -> None:
    orders = blotter(accepted(), refused())
    assert one(orders).state is State.UNKNOWN
    assert orders.due(T) == ([one(orders)], [])


def test_a_late_fill_of_a_finished_order_is_counted_and_does_not_wake_it() -> None:
    orders = blotter(ended(0), filled(4, 4, at=T + S))
    assert one(orders).open_lots == 0
    assert orders.effects == {0: T + S}


def test_a_trade_told_twice_is_told_once() -> None:
    orders = blotter(filled(4, 4))
    assert orders.apply(filled(4, 4), T) is None
    assert one(orders).filled_lots == 4


def test_only_the_latest_trades_are_remembered() -> None:
    orders = blotter()
    for number in range(10_005):
        orders.apply(filled(1, 1, trade=str(number)), T)
    assert len(orders.trades) == 10_000
    assert (0, "0") not in orders.trades


def test_the_first_word_about_how_it_ended_stands() -> None:
    assert one(blotter(ended(0, "cancelled"), ended(0, "expired"))).ended == "cancelled"
    assert one(blotter(refused())).ended == "refused -2019"


def test_what_may_still_trade_is_signed_and_never_negative() -> None:
    assert order(lots=10, filled_lots=4).open_lots == 6
    assert order(lots=-10, filled_lots=4).open_lots == -6
    assert order(lots=10, filled_lots=12).open_lots == 0


def test_words_about_others_orders_and_other_things_are_none_of_its_business() -> None:
    orders = blotter()
    assert orders.apply(accepted(name="stranger"), T) is None
    assert orders.apply(Wake(), T) is None


def test_an_id_is_never_used_twice() -> None:
    orders = blotter()
    with pytest.raises(AssertionError, match="never used twice"):
        orders.add(order(), T)


def test_the_time_of_the_last_effect_never_goes_back() -> None:
    orders = blotter(filled(4, 4, at=T + 5), filled(6, 2, at=T + 3))
    assert orders.effects == {0: T + 5}


def test_what_changed_is_drained_once() -> None:
    orders = blotter()
    assert [o.state for o in orders.drain()] == [State.SENT]
    orders.apply(absent(), T)
    assert orders.drain() == ()
    orders.apply(accepted(), T)
    assert [o.state for o in orders.drain()] == [State.WORKING]


def test_a_fill_told_as_a_sum_needs_a_position_that_cannot_come_from_a_cache() -> None:
    orders = blotter(ended(10, at=T + S))
    assert orders.effects == {0: T + S}
    assert orders.needed(0) == T + S + STALE_NS
    assert orders.needed(1) == 0


def test_once_its_trades_were_told_one_by_one_a_position_as_new_as_the_last_will_do() -> None:
    orders = blotter(ended(10, at=T + S), filled(4, 4, "a", at=T))
    assert orders.needed(0) == T + S + STALE_NS
    orders.apply(filled(10, 6, "b", at=T + S), T)
    assert orders.needed(0) == T + S
    assert blotter(filled(4, 4, at=T + S)).needed(0) == T + S


def test_a_trade_that_was_missed_shows_in_the_sum_of_the_next() -> None:
    assert blotter(filled(7, 3, at=T + S)).needed(0) == T + S + STALE_NS


def test_what_an_order_of_an_earlier_life_had_filled_needs_no_telling() -> None:
    orders = blotter(lost(), accepted(5), filled_lots=5)
    assert orders.untold == {}


def test_a_forgotten_order_needs_nothing_any_more() -> None:
    orders = blotter(ended(10))
    orders.due(T + KEEP_NS)
    assert orders.untold == {}


# Never placed: the proof


def test_no_such_order_is_believed_twice_and_after_the_request_is_dead() -> None:
    orders = blotter(lost())
    orders.apply(absent(DEAD), DEAD)
    assert one(orders).state is State.UNKNOWN
    orders.apply(absent(DEAD), DEAD + TWICE_NS)
    assert (one(orders).state, one(orders).ended) == (State.DONE, "never placed")
    assert orders.effects == {0: DEAD}


def test_denials_while_the_request_may_still_be_accepted_prove_nothing() -> None:
    orders = blotter(lost())
    for second in range(1, 15):
        orders.apply(absent(T + second * S), T + second * S)
    assert one(orders).state is State.UNKNOWN


def test_two_denials_in_one_moment_are_one() -> None:
    orders = blotter(lost())
    for _ in range(5):
        orders.apply(absent(DEAD), DEAD)
    orders.apply(absent(DEAD), DEAD + TWICE_NS - 1)
    assert one(orders).state is State.UNKNOWN


def test_a_sign_of_life_between_two_denials_starts_the_proof_anew() -> None:
    orders = blotter(lost())
    orders.apply(absent(DEAD), DEAD)
    orders.apply(refused(), DEAD)
    orders.apply(absent(DEAD), DEAD + TWICE_NS)
    assert one(orders).state is State.UNKNOWN


@pytest.mark.parametrize("sign", [accepted(), filled(1)])
def test_an_order_that_the_venue_once_had_is_not_denied_away(sign: Fact) -> None:
    orders = blotter(sign, lost())
    for second in range(5):
        orders.apply(absent(DEAD + second * S), DEAD + second * S)
    assert one(orders).state is State.UNKNOWN


def test_a_position_that_has_moved_speaks_against_a_denial() -> None:
    orders = blotter(lost(), held_lots=7)
    for second in range(5):
        orders.apply(absent(DEAD + second * S), DEAD + second * S, held_lots=17)
    assert one(orders).state is State.UNKNOWN
    orders.apply(absent(DEAD + 5 * S), DEAD + 5 * S, held_lots=7)
    assert one(orders).state is State.UNKNOWN, "the proof begins anew"
    orders.apply(absent(DEAD + 6 * S), DEAD + 6 * S, held_lots=7)
    assert one(orders).ended == "never placed"


@pytest.mark.parametrize(("then", "now"), [(None, 17), (7, None)])
def test_a_position_that_was_not_known_speaks_neither_for_nor_against(then: int | None, now: int | None) -> None:
    orders = blotter(lost(), held_lots=then)
    orders.apply(absent(DEAD), DEAD, held_lots=now)
    orders.apply(absent(DEAD + TWICE_NS), DEAD + TWICE_NS, held_lots=now)
    assert one(orders).ended == "never placed"


def test_a_clock_that_was_put_forward_since_makes_no_request_die_sooner() -> None:
    orders = Blotter()
    compared(orders, 100 * S, T)  # our clock was so far behind
    orders.add(order(), T)
    orders.apply(lost(), T)
    compared(orders, 0, T + 100 * S)
    for second in range(3):
        orders.apply(absent(DEAD + second * S), DEAD + second * S)
    assert one(orders).state is State.UNKNOWN
    for second in range(100, 103):
        orders.apply(absent(DEAD + second * S), DEAD + second * S)
    assert one(orders).ended == "never placed"


def test_a_request_of_before_the_clocks_were_compared_dies_by_the_venues_clock() -> None:
    orders = blotter(lost())
    compared(orders, 100 * S, T + S)
    for second in range(90, 103):
        orders.apply(absent(DEAD + second * S - 3 * S), T + second * S)
    assert one(orders).state is State.UNKNOWN
    for second in range(2):
        orders.apply(absent(DEAD + (100 + second) * S), T + (104 + second) * S)
    assert one(orders).ended == "never placed"


@pytest.mark.parametrize("ahead", [0, -HOUR_NS])
def test_a_venue_whose_clock_is_set_back_does_not_keep_an_order_unknown_for_as_long_as_the_step(ahead: int) -> None:
    orders = Blotter()
    compared(orders, ahead, T)
    orders.add(order(), T)
    orders.apply(lost(), T)
    compared(orders, ahead - HOUR_NS, T + S)
    for second in range(1, 17):
        orders.apply(absent(T + ahead - HOUR_NS + second * S), T + second * S)
        assert one(orders).state is State.UNKNOWN, "its life and a venue's own time-out from when it was noticed"
    for second in range(17, 19):
        orders.apply(absent(T + ahead - HOUR_NS + second * S), T + second * S)
    assert one(orders).ended == "never placed"


def test_a_clock_that_was_set_back_between_two_runs_does_not_keep_an_order_unknown_for_as_long_as_the_step() -> None:
    orders, now = Blotter(), T - HOUR_NS
    orders.add(order(state=State.UNKNOWN), T)
    compared(orders, 0, now)
    for second in range(15):
        orders.apply(absent(now + second * S), now + second * S)
        assert one(orders).state is State.UNKNOWN
    for second in range(15, 17):
        orders.apply(absent(now + second * S), now + second * S)
    assert one(orders).ended == "never placed"


def test_what_rests_from_before_our_clock_was_set_back_is_cancelled_at_once() -> None:
    orders, now = Blotter(), T - HOUR_NS
    orders.add(order(style=Style.POST), T, cancel_at=T + 30 * S)
    orders.apply(accepted(), now)
    assert [order.id for order in orders.due(now)[1]] == ["o1"]


def test_what_the_venue_may_have_forgotten_is_not_denied_away() -> None:
    orders = blotter(lost())
    last = T + FORGOTTEN_NS
    orders.apply(absent(last), last)
    orders.apply(absent(last + TWICE_NS), last + TWICE_NS)
    assert one(orders).state is State.UNKNOWN
    in_time = blotter(lost())
    in_time.apply(absent(last - TWICE_NS), last - TWICE_NS)
    in_time.apply(absent(last), last)
    assert one(in_time).ended == "never placed"


@pytest.mark.parametrize(
    ("facts", "changes", "held", "at", "why"),
    [
        ([accepted(), lost()], {}, None, DEAD, "the venue had it, and has forgotten it"),
        ([lost()], {}, None, T + FORGOTTEN_NS + 1, "it is older than 72 hours, beyond which the venue forgets"),
        ([lost()], {"held_lots": 7}, 17, DEAD, "the position has moved since, from 7 to 17 lots"),
    ],
)
def test_an_order_that_no_question_can_settle_is_a_persons_affair(
    facts: list[Fact], changes: dict[str, Any], held: int | None, at: int, why: str
) -> None:
    orders = blotter(*facts, **changes)
    orders.apply(absent(at), at, held)
    assert orders.hopeless(at + HOPELESS_NS - 1) == []
    assert orders.hopeless(at + HOPELESS_NS) == [(one(orders), why)]
    later = at + HOPELESS_NS
    resolved = orders.resolve("o1", later)
    assert resolved is not None
    assert (resolved.state, resolved.ended) == (State.DONE, "resolved by a person")
    assert orders.needed(0) >= later, "what it did shows in a position that is newer than the word"
    assert orders.hopeless(later) == []
    assert orders.resolve("o1", later) is None
    assert orders.resolve("o2", later) is None


def test_a_sign_of_life_ends_the_hopelessness() -> None:
    orders = blotter(lost(), held_lots=7)
    orders.apply(absent(DEAD), DEAD, held_lots=17)
    orders.apply(accepted(), DEAD + S)
    assert orders.hopeless(DEAD + HOPELESS_NS) == []


# Silence


def test_a_request_without_any_answer_is_taken_for_lost_and_asked_about() -> None:
    orders = blotter()
    assert orders.wake_at() == T + REPLY_NS
    assert orders.due(T + REPLY_NS - 1) == ([], [])
    asks, cancels = orders.due(T + REPLY_NS)
    assert [o.id for o in asks] == ["o1"]
    assert cancels == []
    assert one(orders).state is State.UNKNOWN


def test_an_unknown_order_is_asked_about_at_once_and_again_and_again() -> None:
    orders = blotter(lost())
    assert len(orders.due(T)[0]) == 1
    assert orders.due(T + ASK_NS - 1)[0] == []
    assert orders.wake_at() == T + ASK_NS
    assert len(orders.due(T + ASK_NS)[0]) == 1


def asked_until(orders: Blotter, until: int, *, denied: bool = False, delay: int = 0) -> list[int]:
    """When an unknown order is asked about, from T on; each question is denied, after so long, or gets no answer."""
    asked: list[int] = []
    while (now := orders.wake_at()) is not None and now <= until:
        now = max(now, T)
        if orders.due(now)[0]:
            asked.append(now)
            if denied:
                orders.apply(absent(now + orders.venue_ahead_least_ns), now + delay)
    return asked


def test_the_proof_is_asked_for_as_soon_as_there_can_be_one() -> None:
    orders = blotter(lost())
    *early, first, second = asked_until(orders, DEAD + 60 * S, denied=True, delay=S // 4)
    assert early[-1] < DEAD
    assert (first, second) == (DEAD, DEAD + S // 4 + TWICE_NS)
    assert one(orders).ended == "never placed"


def test_an_answer_that_is_missing_then_is_asked_for_again_soon() -> None:
    orders = blotter(lost())
    assert asked_until(orders, DEAD + 3 * S)[-4:] == [DEAD, DEAD + TWICE_NS, DEAD + 2 * TWICE_NS, DEAD + 3 * TWICE_NS]


def test_where_denials_prove_nothing_there_is_no_hurry() -> None:
    orders = blotter(lost(), held_lots=7)
    asked_until(orders, DEAD)
    orders.apply(absent(DEAD), DEAD, held_lots=17)
    assert orders.wake_at() == DEAD + ASK_NS


@pytest.mark.parametrize("ahead_s", [-20, 0, 20])
def test_a_proof_takes_as_long_whatever_our_clock_shows(ahead_s: int) -> None:
    """By the venue's clock, which is so far ahead, the request is dead at ``DEAD + ahead``, give or take the error."""
    error = S // 10
    orders = Blotter()
    orders.venue_ahead_ns, orders.venue_ahead_least_ns = ahead_s * S + error, ahead_s * S - error
    orders.add(order(), T)
    orders.apply(lost(), T)
    assert asked_until(orders, DEAD + 60 * S, denied=True)[-2:] == [DEAD + 2 * error, DEAD + 2 * error + TWICE_NS]
    assert one(orders).ended == "never placed"


def test_a_resting_order_may_be_silent_for_a_minute() -> None:
    orders = blotter(accepted(), style=Style.POST)
    assert orders.due(T + 60 * S - 1)[0] == []
    assert len(orders.due(T + 60 * S)[0]) == 1


def test_a_taking_order_that_was_accepted_and_then_silent_is_asked_about() -> None:
    orders = blotter(accepted())
    assert len(orders.due(T + REPLY_NS)[0]) == 1


# Resting orders are cancelled


def resting() -> Blotter:
    orders = Blotter()
    orders.add(order(style=Style.POST), T, cancel_at=T + 5 * S)
    return orders


def test_a_resting_order_is_cancelled_when_patience_ends() -> None:
    orders = resting()
    orders.apply(accepted(), T)
    assert orders.wake_at() == T + 5 * S
    assert orders.due(T + 5 * S - 1) == ([], [])
    assert [o.id for o in orders.due(T + 5 * S)[1]] == ["o1"]


def test_an_order_that_is_not_yet_known_to_rest_is_not_woken_for() -> None:
    orders = resting()
    assert orders.due(T + 6 * S) == ([], [])
    assert orders.wake_at() == T + REPLY_NS


def test_a_cancel_without_effect_leads_to_a_question_and_then_to_another_cancel() -> None:
    orders = resting()
    orders.apply(accepted(), T)
    orders.due(T + 5 * S)
    later = T + 5 * S + REPLY_NS
    asks, cancels = orders.due(later)
    assert [o.id for o in asks] == ["o1"]
    assert cancels == []
    orders.apply(accepted(), later + S)
    assert [o.id for o in orders.due(later + S)[1]] == ["o1"]


def test_every_resting_order_can_be_cancelled_at_once() -> None:
    orders = resting()
    orders.add(order("o2"), T)
    orders.apply(accepted(), T)
    orders.apply(accepted(name="o2"), T)
    orders.cancel_resting(T, [0])
    assert [o.id for o in orders.due(T)[1]] == ["o1"]


# All open orders


def snapshot(*rows: OpenOrder, at: int) -> Orders:
    return Orders(rows=rows, asked_at=at)


def test_an_order_found_open_is_accepted_with_what_it_has_filled() -> None:
    orders = blotter(lost())
    [seen] = orders.compare(snapshot(OpenOrder("o1", "v9", 0, 10, 3), at=T + S), T + S, [0])
    orders.apply(seen, T + S)
    assert (one(orders).state, one(orders).venue_order, one(orders).filled_lots) == (State.WORKING, "v9", 3)
    assert orders.effects == {0: T + S}


def test_a_working_order_that_is_missing_is_asked_about_and_not_buried() -> None:
    orders = blotter(accepted())
    orders.compare(snapshot(at=T + REPLY_NS), T + REPLY_NS, [0])
    assert one(orders).state is State.WORKING
    orders.compare(snapshot(at=T + REPLY_NS + 1), T + REPLY_NS + 1, [0])
    assert one(orders).state is State.UNKNOWN
    assert len(orders.due(T + REPLY_NS + 1)[0]) == 1


def test_an_order_that_may_not_have_arrived_yet_is_not_missed() -> None:
    orders = blotter()
    orders.compare(snapshot(at=T + REPLY_NS * 2), T + REPLY_NS * 2, [0])
    assert one(orders).state is State.SENT


# Memory


def test_a_finished_order_is_remembered_for_what_comes_late_and_then_forgotten() -> None:
    orders = blotter(ended(10))
    assert orders.wake_at() is None
    orders.due(T + KEEP_NS - 1)
    assert "o1" in orders.orders
    orders.due(T + KEEP_NS)
    assert orders.orders == {}
    assert orders.watches == {}
    assert orders.drain() == ()


def test_live_orders_are_found_by_instrument_or_all() -> None:
    orders = blotter()
    orders.add(order("o2", instrument=1), T)
    orders.apply(ended(0), T)
    assert [o.id for o in orders.live()] == ["o2"]
    assert orders.live(0) == []


# Ids


@given(
    st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=2),
    st.integers(0, 36**4 - 1),
    st.integers(0, 36**3 - 1),
    st.integers(0, 36**5 - 1),
)
def test_an_id_says_whose_it_is_and_of_which_run(tag: str, epoch: int, nonce: int, number: int) -> None:
    name = order_id(tag, epoch, number, nonce)
    assert len(name) == 17
    assert name.isalnum()
    assert origin_of(name) == Origin(tag, epoch, nonce, number)


def test_two_runs_of_one_epoch_never_make_the_same_id() -> None:
    assert order_id("aa", 7, 1, 1) != order_id("aa", 7, 1, 2)


@pytest.mark.parametrize(
    "name",
    ["", "x" * 17, "ttaa00010000000", "TTAA0001000000010", "ttab0001000000010", "tta\u00df000100000001", "web_abc"],
)
def test_anothers_id_has_no_origin(name: str) -> None:
    assert origin_of(name) is None


def test_one_wrong_character_is_noticed() -> None:
    name = order_id("aa", 7, 1)
    assert origin_of(name) == Origin("aa", 7, 0, 1)
    assert origin_of(name[:5] + ("1" if name[5] != "1" else "2") + name[6:]) is None
    assert origin_of(name[:-1].upper() + name[-1]) is None
    assert origin_of(name[:8] + "_" + name[9:]) is None


@given(st.integers(0, 10**12))
def test_base_36_is_what_python_reads_back(number: int) -> None:
    assert int(base36(number), 36) == number


# Any order of any words


WORDS = st.one_of(
    st.builds(accepted, st.integers(0, 10)),
    st.builds(filled, st.integers(1, 10), st.just(1), st.integers(0, 5).map(str)),
    st.builds(ended, st.integers(0, 10)),
    st.just(refused()),
    st.just(lost()),
    st.builds(absent, st.integers(T, DEAD + 30 * S)),
)


@given(st.lists(st.tuples(WORDS, st.integers(0, 4 * S)), max_size=30))
def test_whatever_is_told_in_whatever_order_no_fill_is_lost_and_done_is_done(steps: list[tuple[Fact, int]]) -> None:
    orders = blotter()
    now = T
    most, was_done, had_it, denials = 0, False, False, 0
    trades = set()
    for fact, pause in steps:
        now += pause
        orders.due(now)
        before = one(orders)
        orders.apply(fact, now)
        after = one(orders)
        new = not isinstance(fact, Filled) or fact.trade not in trades
        if isinstance(fact, Filled):
            trades.add(fact.trade)
        if isinstance(fact, Accepted | Filled | Ended) and new:
            most = max(most, fact.filled_lots)
            had_it = True
        denials += isinstance(fact, Absent) and before.state is State.UNKNOWN and fact.asked_at >= DEAD
        assert after.filled_lots == most
        assert not was_done or after.state is State.DONE
        if after.ended == "never placed" and before.ended is None:
            assert not had_it
            assert denials >= 2
            assert isinstance(fact, Absent)
            assert fact.asked_at >= DEAD
        was_done = after.state is State.DONE
        wake_at = orders.wake_at()
        assert was_done == (wake_at is None)


@given(st.lists(st.tuples(WORDS, st.integers(0, 4 * S)), max_size=15))
def test_an_order_that_is_not_done_is_always_asked_about_within_the_time_of_a_reply(
    steps: list[tuple[Fact, int]],
) -> None:
    orders = blotter()
    now = T
    for fact, pause in steps:
        now += pause
        orders.apply(fact, now)
    asked = []
    for _ in range(20):
        asks, _cancels = orders.due(now)
        asked += asks
        wake_at = orders.wake_at()
        if wake_at is None:
            assert one(orders).state is State.DONE
            return
        assert wake_at > now
        now = wake_at
    assert len(asked) >= 10
