"""MEXC has no flag for it in both its modes: what is meant to reduce never opens, whatever is held."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator.orders import OrderRequest
from agent.core.events import Side
from agent.core.orders import Style
from agent.core.venue import Place
from tests.conformance import mexc
from tests.conformance.talk import Talk

SIDES = {False: (Side.NET,), True: (Side.LONG, Side.SHORT)}
STEP = st.tuples(
    st.sampled_from([0, 1]),
    st.integers(-40, 40).filter(bool),
    st.booleans(),
    st.sampled_from(["ours", "ours unseen", "theirs"]),
)
"""Which of the sides, how many lots, whether to reduce, and who trades: we, we without hearing of it, or a person."""


@settings(max_examples=40, deadline=None)
@given(hedge=st.booleans(), steps=st.lists(STEP, min_size=1, max_size=8))
def test_what_is_to_reduce_makes_its_position_smaller_or_nothing(
    hedge: bool, steps: list[tuple[int, int, bool, str]]
) -> None:
    talk = Talk(mexc.VENUE, account=mexc.VENUE.account(balance=1_000_000, hedge=hedge))
    for number, (which, lots, reduce, who) in enumerate(steps):
        side = SIDES[hedge][which % len(SIDES[hedge])]
        held = talk.account.position("BTCUSDT", "BOTH" if side is Side.NET else side.name)
        before, size = held.quantity, Decimal(lots) / 1_000
        if who == "theirs":
            if side is Side.NET or (size > 0) is (side is Side.LONG):
                request = OrderRequest(
                    symbol="BTCUSDT",
                    side=1 if lots > 0 else -1,
                    kind="MARKET",
                    quantity=abs(size),
                    client_id=f"web{number}",
                    position_side=held.side,
                )
                talk.exchange.place(talk.account, request)
            continue
        talk.ask(Place(talk.order(str(size), style=Style.MARKET, side=side, reduce=reduce)))
        if who == "ours":
            talk.listen(0.2)
        after = held.quantity
        if reduce:
            assert abs(after) <= abs(before)
            assert after * before >= 0
            assert after == before or abs(before) - abs(after) == abs(size)
