"""A correction under way: its rounds are of each account by itself."""

from __future__ import annotations

from agent.core.correction import RETRY_NS, STRIKES, Correction
from agent.core.events import Side
from agent.core.orders import Blotter, Order, Style
from agent.core.planner import Leg
from agent.core.reasons import Reason
from tests.core.kit import START, S


def leg(instrument: int) -> Leg:
    return Leg(instrument, Side.NET, -1, reduce=True, notional=100.0, cost=None)


def order(instrument: int, name: str) -> Order:
    return Order(
        id=name,
        instrument=instrument,
        symbol=str(instrument),
        side=Side.NET,
        lots=-1,
        ticks=1,
        style=Style.IOC,
        reduce=True,
        created_at=START,
        expires_at=START + 3 * S,
        value=100.0,
    )


def test_a_round_ends_on_an_account_once_nothing_is_live_there_whatever_others_do() -> None:
    """Instruments 0 and 1 lie on one account, 2 on another."""
    correction, blotter, seats = Correction(Reason(cause="a test"), START), Blotter(), [0, 0, 1]
    legs = (leg(0), leg(1), leg(2))
    live = order(0, "lives")
    blotter.add(live, START)
    for sent in (live, order(1, "gone"), order(2, "gone too")):
        correction.sent(sent, START)
    assert [one.instrument for one in correction.candidates(legs, blotter, seats, START)] == [2]
    assert [one.instrument for one in correction.candidates(legs, Blotter(), seats, START)] == [0, 1, 2]


def test_an_instrument_whose_orders_come_to_nothing_rests_and_is_given_up() -> None:
    correction, now = Correction(Reason(cause="a test"), START), START
    for strike in range(STRIKES):
        assert not correction.given_up(leg(0))
        correction.ended(order(0, "x"), now)
        rest = RETRY_NS << strike
        if strike < STRIKES - 1:
            assert correction.candidates((leg(0),), Blotter(), [0], now + rest - 1) == []
            assert correction.candidates((leg(0),), Blotter(), [0], now + rest) == [leg(0)]
        now += rest
    assert correction.given_up(leg(0))
