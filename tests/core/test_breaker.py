from __future__ import annotations

from agent.core.breaker import PASSING, PROBE_NS, REFUSALS, Breaker
from agent.core.events import Fault, Refused
from tests.core.kit import START, S, order


def refused(fault: Fault = Fault.RULE, code: str = "-4003") -> Refused:
    return Refused(order="o1", code=code, reason="because", fault=fault)


def refusing(*facts: Refused) -> Breaker:
    breaker = Breaker()
    for fact in facts:
        breaker.refused(order(), fact, START)
    return breaker


def test_the_third_refusal_in_a_row_opens_the_circuit_and_is_worth_a_word() -> None:
    breaker = Breaker()
    words = [breaker.refused(order(), refused(code=f"-{n}"), START) for n in range(REFUSALS + 1)]
    assert [word is not None for word in words] == [False, False, True, False]
    assert breaker.open(START) == {0: "the last 4 orders were refused (-3); the next may go in 60 s"}


def test_two_refusals_open_nothing_and_an_order_that_is_taken_begins_the_count_anew() -> None:
    breaker = refusing(refused(), refused())
    assert breaker.open(START) == {}
    breaker.taken(0)
    breaker.refused(order(), refused(), START)
    assert breaker.open(START) == {}


def test_while_it_is_open_one_order_a_minute_is_a_probe() -> None:
    breaker = refusing(*[refused()] * REFUSALS)
    assert breaker.open(START + PROBE_NS - 1) != {}
    probing = START + PROBE_NS
    assert breaker.open(probing) == {}
    breaker.refused(order(), refused(), probing + S)
    assert breaker.open(probing + S) != {}
    breaker.taken(0)
    assert breaker.open(probing + S) == {}


def test_refusals_that_say_nothing_of_the_order_are_not_counted() -> None:
    for fault in Fault:
        assert bool(refusing(*[refused(fault)] * REFUSALS).open(START)) is (fault not in PASSING)


def test_each_instrument_has_a_circuit_of_its_own() -> None:
    breaker = refusing(*[refused()] * REFUSALS)
    breaker.refused(order(instrument=1), refused(), START)
    assert list(breaker.open(START)) == [0]
