"""News of the account that is missing, doubled, late, in any order or of another time: with the shipped dialect,
against the local exchange in virtual time."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Literal

import pytest
from msgspec.structs import replace

from adapters.simulator.faults import FrameFault, RequestFault
from agent.core.events import PRIVATE, Accepted, Balance, Fact, Filled, Position, Up
from agent.core.orders import Order, State, Style
from agent.core.planner import Execution, Limits
from agent.core.targets import Targets
from agent.core.venue import What
from tests.core.kit import S, Stage, order
from tests.faults.striking import Struck
from tests.faults.witness import AT_REST, Witnessed, event, policy, world

SELLS = event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=30)
"""A person sells bitcoin, of which the agent wants two and a half."""


def mended(on: Witnessed) -> None:
    """In the end the account is where it should be, and the agent knows it."""
    assert on.engine.state == "holding", on.engine.state
    drift = on.engine.drift
    assert drift is not None
    assert drift.reach < 1
    assert not on.engine.blotter.live()
    assert not on.account.open_orders
    assert all(on.known(symbol) == on.held(symbol) for symbol in on.symbols)


def bought(on: Witnessed) -> Decimal:
    """How much bitcoin was ordered in all, less what was not filled."""
    orders = [on.engine.blotter.orders[sent.order.id] for sent in on.sent if sent.order.symbol == "BTCUSDT"]
    return Decimal(sum(order.filled_lots for order in orders)) / 1000


# A stream that is deaf


@pytest.mark.fault("B1")
@pytest.mark.parametrize("told", [True, False])
def test_a_key_that_ends_costs_a_reconnection_and_nothing_else(told: bool, struck: Struck) -> None:
    """The venue may say so, or only fall silent: then the first change that an answer shows gives it away."""
    ends = FrameFault(do="expire key" if told else "expire key untold", on="account", from_s=20, times=1)
    wakes = event(do="transfer", amount=1, at_s=21)
    on = world(ends, wakes, SELLS).go(30)
    struck("B1", on.count(f"frames: {ends.do}"))
    if not told:
        assert on.until(lambda: bool(on.engine.book.disputed), most_s=15) <= 15, "the change is seen by a question"
    on.go(40)
    assert [socket for _, socket, _ in on.closed if socket == PRIVATE] == [PRIVATE], "once, with another key"
    assert len([what for _, what in on.asked if what is What.KEY]) <= 3
    if not told:
        assert on.said("that the private stream has not told: connecting stream private anew")
    mended(on)
    assert bought(on) <= Decimal("1.01"), "bought back once"


@pytest.mark.fault("B1")
def test_a_wallet_that_moves_in_silence_gives_a_deaf_stream_away(struck: Struck) -> None:
    on = world(FrameFault(do="mute", on="private", ms=600_000, from_s=20), event(do="transfer", amount=5_000, at_s=30))
    on.go(60)
    struck("B1", on.count("frames: mute"))
    assert on.said("connecting stream private anew")
    assert on.engine.book.equity == pytest.approx(105_000, abs=200)
    mended(on)


def test_an_account_at_rest_says_nothing_and_is_left_alone() -> None:
    on = world().go(600)
    assert not [socket for _, socket, _ in on.closed if socket == PRIVATE]


@pytest.mark.fault("B2")
@pytest.mark.parametrize("topic", ["order", "account", "private"])
def test_events_that_are_missing_are_found_out_by_questions(topic: str, struck: Struck) -> None:
    on = world(FrameFault(do="drop", on=topic, from_s=20, until_s=60), SELLS).go(30)
    took = on.until(lambda: on.engine.book.rows[0].lots != 2500 or bool(on.engine.book.disputed), most_s=30)
    assert took <= 15
    on.go(90)
    struck("B2", on.count("frames: drop"))
    mended(on)
    assert bought(on) <= Decimal("1.01")


@pytest.mark.fault("B2")
def test_while_an_order_is_under_way_positions_are_asked_for_twice_as_often(struck: Struck) -> None:
    """A resting order whose fill is not told: found within five seconds, not at the next turn."""
    on = Stage(policy(), {"BTCUSDT": 2.5, "ETHUSDT": 30.0, "SOLUSDT": 400.0}, equity=100_000.0).ready()
    before = len(on.asked(What.POSITIONS))
    on.wait(60)
    at_rest = len(on.asked(What.POSITIONS)) - before
    assert 5 <= at_rest <= 7
    on.engine.blotter.add(resting(on), on.now)
    before = len(on.asked(What.POSITIONS))
    asked = len(on.asked(What.ORDERS))
    on.tell(*on.accept(resting(on)))
    struck("B2")
    on.wait(8)
    assert len(on.asked(What.POSITIONS)) - before >= 1
    on.wait(50)
    assert len(on.asked(What.POSITIONS)) - before >= 10
    assert len(on.asked(What.ORDERS)) - asked >= 4


def resting(on: Stage) -> Order:
    """A bid of ours that rests."""
    return order("tt0t00010000000zz", style=Style.POST, created_at=on.now, expires_at=on.now + 3 * S)


# Events more than once, and in any order


@pytest.mark.fault("B3")
def test_events_that_come_twice_count_once(struck: Struck) -> None:
    on = world(FrameFault(do="repeat", on="private"), FrameFault(do="replay", on="private", chance=0.5), SELLS).go(90)
    struck("B3", on.count("frames: repeat") + on.count("frames: replay"))
    mended(on)
    fills = on.said(" BTC at ")
    assert len(fills) == len(set(fills))
    assert on.engine.tally.turnover == pytest.approx(sum(sent.order.value for sent in on.sent), rel=0.01), (
        "nothing is counted twice"
    )


def bitcoin() -> Stage:
    """Nothing but bitcoin, of which more is wanted than is held."""
    targets = Targets(weights={"BTCUSDT": 1.0}, leverage=3.0)
    return Stage(policy(targets=targets), {"BTCUSDT": 0.25}).ready()


def life(on: Stage) -> tuple[list[Fact], list[Fact]]:
    """All that the venue says of one order that fills in two parts: acknowledgement, fills, end; and of the account."""
    (placed,) = on.wait(2)
    half = abs(placed.lots) // 2
    first = on.trade(placed, half)
    second = on.trade(replace(placed, filled_lots=half), abs(placed.lots) - half)
    fills = [fact for fact in (*first, *second) if isinstance(fact, Filled)]
    account: list[Fact] = [fact for fact in (*first, *second) if isinstance(fact, Position | Balance)]
    return [*on.accept(placed), *fills, *on.finish(placed)], account


@pytest.mark.fault("B4")
@pytest.mark.parametrize("sequence", list(permutations(range(4))))
def test_events_of_one_order_lead_to_the_same_end_in_any_sequence(sequence: tuple[int, ...], struck: Struck) -> None:
    on = bitcoin()
    facts, account = life(on)
    for number in sequence:
        on.tell(facts[number], after=0.01)
    on.tell(*account, after=0.01)
    struck("B4")
    assert isinstance(facts[0], Accepted)
    done = on.engine.blotter.orders[facts[0].order]
    assert done.state is State.DONE
    assert done.filled_lots == abs(done.lots)
    assert on.engine.tally.fills == 2, "each trade counts, however late it is told"
    assert not on.wait(20), "and nothing more is ordered for that"
    assert on.engine.state == "holding"


@pytest.mark.fault("B4")
def test_a_fill_told_after_the_end_still_counts_minutes_later(struck: Struck) -> None:
    on = bitcoin()
    (accepted, one, two, end), account = life(on)
    on.tell(accepted, end, *account)
    on.wait(300)
    on.tell(one, two)
    struck("B4")
    assert on.engine.tally.fills == 2
    assert not on.wait(20)


@pytest.mark.fault("B5")
@pytest.mark.parametrize("topic", ["order", "account"])
def test_news_of_position_and_order_that_disagree_for_a_while_hold_up_the_next_order(
    topic: str, struck: Struck
) -> None:
    """Of every order one of the two comes up to eight seconds late."""
    on = world(
        FrameFault(do="delay", on=topic, ms=8_000, from_s=20, until_s=60),
        RequestFault(do="stale", on="positions", ms=5_000, chance=0.5, from_s=20, until_s=70),
        SELLS,
        limits=Limits(order_notional=20_000),
    ).go(120)
    struck("B5", on.count("frames: delay"))
    mended(on)
    assert bought(on) <= Decimal("1.01"), "the same difference is not traded twice"


@pytest.mark.fault("B6")
@pytest.mark.parametrize("style", ["taker", "maker"])
def test_after_a_partial_fill_and_a_disconnection_only_the_rest_is_ordered(
    style: Literal["taker", "maker"], struck: Struck
) -> None:
    on = world(
        FrameFault(do="disconnect", on="order", from_s=20, text="PARTIALLY_FILLED", times=3),
        event(do="trade", symbol="BTCUSDT", quantity=-30, at_s=30),
        execution=Execution(style=style, patience_s=5.0),
        positions={symbol: str(30 * Decimal(size)) for symbol, size in AT_REST.items()},
        balance=3_000_000,
    ).go(120)
    struck("B6", on.count("frames: disconnect"))
    mended(on)


# Answers that are older than what is known


@pytest.mark.fault("B7")
def test_an_answer_from_a_cache_does_not_undo_what_the_stream_has_told(struck: Struck) -> None:
    stale = RequestFault(do="stale", on="positions", ms=5_000, from_s=29, until_s=90)
    also = RequestFault(do="stale", on="account", ms=5_000, from_s=29, until_s=90)
    on = world(stale, also, SELLS)
    lots: list[int] = []

    def look() -> None:
        row = on.engine.book.rows[0]
        if not lots or row.lots != lots[-1]:
            lots.append(row.lots)

    on.go(120, look)
    struck("B7", on.count("requests: stale"))
    assert lots[0] in (0, 2500)
    assert lots[-3:] == [2500, 1500, lots[-1]], "from the sale to its being bought back, and never back and forth"
    assert bought(on) <= Decimal("1.01")
    mended(on)


@pytest.mark.fault("B8")
@pytest.mark.parametrize("about", ["positions", "orders"])
def test_an_empty_answer_proves_nothing_at_once(about: str, struck: Struck) -> None:
    """Lists come back empty for a while: nothing is ordered anew for that."""
    empty = RequestFault(do="empty", on=about, from_s=20, until_s=25.5 if about == "positions" else 70)
    resting = Execution(style="maker", patience_s=30.0) if about == "orders" else Execution()
    on = world(empty, event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=21), execution=resting)
    most = 0

    def look() -> None:
        nonlocal most
        most = max(most, sum(1 for one in on.account.open_orders.values() if one.symbol == "BTCUSDT"))

    on.go(150, look)
    struck("B8", on.count("requests: empty"))
    assert most <= 1, "what is not in the list is not ordered again"
    assert bought(on) <= Decimal("1.01")
    assert not [sent for sent in on.sent if sent.order.symbol == "BTCUSDT" and sent.order.lots > 1010]
    mended(on)


@pytest.mark.fault("B8")
def test_an_order_that_is_not_visible_yet_is_not_taken_for_never_placed(struck: Struck) -> None:
    on = world(
        SELLS,
        RequestFault(do="unknown done", on="order", from_s=20, times=1),
        RequestFault(do="refuse", code=-2013, on="query", from_s=20, until_s=40),
        FrameFault(do="mute", on="private", ms=20_000, from_s=20),
    ).go(120)
    struck("B8", on.count("requests: refuse"))
    assert on.said("may or may not exist")
    assert bought(on) <= Decimal("1.01")
    mended(on)


# What holds increases up


def test_without_answers_about_positions_nothing_increases_after_fifteen_seconds() -> None:
    on = bitcoin()
    on.mute = {What.POSITIONS}
    on.engine.book.accounts[0].positions_at = on.now - 15 * S
    assert not on.wait(2)
    assert any("at most 15 s are allowed" in text for text in on.said("refusal"))
    on.mute = set()
    assert on.wait(30), "with an answer it goes on"


def test_nothing_is_decided_between_a_reconnection_and_its_answers() -> None:
    on = bitcoin()
    on.mute = {What.POSITIONS}
    on.tell(Up(stream=PRIVATE))
    assert not on.wait(10)
    assert on.engine.state == "waiting for answers of the venue"
    on.mute = set()
    assert on.wait(30)
