"""What is Binance's own in the conversation with the local exchange; the rest is in tests/conformance."""

from __future__ import annotations

import pytest

from adapters.binance import Binance
from adapters.simulator import Account
from agent.core.events import Accepted, Ended, Fault, Leverage, Lost, Position, Positions, Refused, Side, Unset
from agent.core.orders import Order, Style
from agent.core.venue import Ask, Batch, Place, SetLeverage, What
from tests.conformance.binance import VENUE
from tests.conformance.talk import S, Talk


@pytest.fixture
def talk() -> Talk:
    return Talk(VENUE)


def test_refusals_are_classed(talk: Talk) -> None:
    def fault(order: Order) -> Fault:
        fact, *_ = talk.ask(Place(order))
        assert isinstance(fact, Refused), fact
        return fact.fault

    assert fault(talk.order("0.1", 1)) is Fault.RULE
    assert fault(talk.order("0.1", 79_000, side=Side.LONG)) is Fault.RULE
    assert [request for request, *_ in talk.answers][-1] == Ask(What.MODE), "the mode is looked up"


def test_a_batch_is_answered_order_by_order(talk: Talk) -> None:
    rests, takes = (talk.order("0.1", price, style=Style.POST) for price in (70_000, 83_000))
    fills = talk.order("0.1")
    facts = talk.ask(Batch((rests, takes, fills)))
    assert [(type(fact), getattr(fact, "order", "")) for fact in facts] == [
        (Accepted, rests.id),
        (Refused, takes.id),
        (Accepted, fills.id),
        (Ended, fills.id),
    ]


def test_an_id_is_used_once(talk: Talk) -> None:
    place = Place(talk.order("0.1", 70_000, style=Style.POST))
    talk.ask(place)
    (fact,) = talk.ask(place)
    assert isinstance(fact, Lost), "the first may well be there: it is asked about"


def test_a_leverage_setting_is_refused_with_the_venues_reason(talk: Talk) -> None:
    def reason(leverage: int) -> str:
        (fact,) = talk.ask(SetLeverage(0, leverage))
        assert isinstance(fact, Unset)
        assert (fact.instrument, fact.leverage) == (0, leverage)
        return fact.reason

    talk.ask(Place(talk.order("1")))
    assert reason(126) == "-4028 Leverage 126 is not valid"
    assert reason(125).startswith("-2027")
    assert reason(7).startswith("-2028")
    assert Leverage(0, 20, isolated=False) in talk.ask(Ask(What.LEVERAGE))


def test_an_isolated_position_keeps_its_wallet_on_the_stream_and_in_the_snapshot() -> None:
    talk = Talk(VENUE, account=Account(balance=10_000, isolated=("BTCUSDT",)))
    facts = [*talk.place(talk.order("0.1")), *talk.place(talk.order("0.1", index=1))]
    own = float(talk.account.position("BTCUSDT").wallet)
    streamed = {fact.instrument: fact.isolated for fact in facts if isinstance(fact, Position)}
    assert streamed == {0: own, 1: None}
    (positions,) = talk.ask(Ask(What.POSITIONS))
    assert isinstance(positions, Positions)
    assert {row.instrument: row.isolated for row in positions.rows} == {0: own, 1: None}
    (fact,) = talk.ask(SetLeverage(0, 5))
    assert isinstance(fact, Unset)
    assert fact.reason.startswith("-4161")


def test_a_wrong_clock_is_noticed_and_mended(talk: Talk) -> None:
    assert isinstance(talk.dialect, Binance)
    talk.dialect._offset.ns = 5 * S
    order = talk.order("0.1", 70_000, style=Style.POST, life_ns=20 * S)
    refused, *_ = talk.ask(Place(order))
    assert isinstance(refused, Refused)
    assert refused.fault is Fault.CLOCK
    assert [request for request, *_ in talk.answers][-1] == Ask(What.TIME), "the clock is measured anew"
    again = talk.order("0.1", 70_000, style=Style.POST, life_ns=20 * S)
    assert any(isinstance(fact, Accepted) for fact in talk.ask(Place(again)))
