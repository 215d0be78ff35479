"""A dialect in conversation with its venue's side, which was written apart from it: byte for byte."""

from __future__ import annotations

import pytest

from agent.core.events import (
    Absent,
    Accepted,
    Balance,
    Clock,
    Down,
    Ended,
    Fact,
    Fault,
    Fees,
    Filled,
    Funding,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Mode,
    Orders,
    Owner,
    Position,
    Positions,
    Quote,
    Refused,
    Rights,
    Side,
    Tiers,
    Unanswered,
    Unknown,
    Unset,
    Up,
    Volume,
)
from agent.core.orders import Style
from agent.core.venue import Arm, Ask, Cancel, Place, SetLeverage, What
from tests.conformance.description import Described
from tests.conformance.talk import Talk, ends, fills

EACH = 0
"""Once for each instrument."""
ANSWERS: dict[What, tuple[type[Fact], int]] = {
    What.TIME: (Clock, 1),
    What.INSTRUMENTS: (Listed, 1),
    What.PRICES: (Mark, EACH),
    What.INTERVALS: (Interval, EACH),
    What.TIERS: (Tiers, EACH),
    What.FEES: (Fees, EACH),
    What.LEVERAGE: (Leverage, EACH),
    What.MODE: (Mode, 1),
    What.ACCOUNT: (Margin, 1),
    What.POSITIONS: (Positions, 1),
    What.VOLUMES: (Volume, EACH),
    What.OWNER: (Owner, 1),
    What.RIGHTS: (Rights, 1),
}
"""What answers a question, and how often."""
WORDS = (Unknown, Unanswered, Lost)


def plain(facts: list[Fact]) -> None:
    """Nothing in it was beyond reading."""
    assert not [fact for fact in facts if isinstance(fact, WORDS)]


def test_every_question_has_an_answer(talk: Talk) -> None:
    for what in sorted(talk.dialect.abilities.answers & set(ANSWERS)):
        kind, times = ANSWERS[what]
        facts = talk.question(what)
        assert sum(isinstance(fact, kind) for fact in facts) == (times or len(talk.symbols)), (what, facts)
        plain(facts)


def test_without_a_key_it_answers_public_questions_only(venue: Described) -> None:
    talk = Talk(venue, key=False)
    for what in sorted(talk.dialect.abilities.answers & set(ANSWERS)):
        plain(talk.question(what))
    order = talk.order("0.1", 80_500)
    for what in (What.ACCOUNT, What.POSITIONS):
        assert what not in talk.dialect.abilities.answers
        assert talk.ask(Ask(what, 0)) == [Unanswered(what, "no key is configured", 0)]
    assert talk.ask(Place(order)) == [Refused(order.id, "", "no key is configured", Fault.ACCOUNT)]
    assert talk.ask(Cancel("x", 0)) == [Lost("x", "cancel: no key is configured")]
    assert talk.ask(SetLeverage(0, 5)) == [Unset(0, 5, "no key is configured")]


def test_streams_bring_prices(talk: Talk) -> None:
    facts = [*talk.opened, *talk.listen(3)]
    plain(facts)
    assert {fact.stream for fact in facts if isinstance(fact, Up)} == set(talk.sockets)
    everywhere = set(range(len(talk.symbols)))
    for kind in (Mark, Quote):
        assert {fact.instrument for fact in facts if isinstance(fact, kind)} == everywhere
    asked = talk.question(What.PRICES)
    assert {fact.instrument for fact in [*facts, *asked] if isinstance(fact, Funding)} == everywhere


def test_an_order_rests_and_is_cancelled(talk: Talk) -> None:
    order = talk.order("0.1", 79_000, style=Style.POST)
    facts = talk.place(order)
    plain(facts)
    assert any(isinstance(fact, Accepted) for fact in facts)
    assert ends(facts, order) == []
    rows = [row for fact in talk.question(What.ORDERS) if isinstance(fact, Orders) for row in fact.rows]
    assert [(row.order, row.instrument, row.lots, row.filled_lots) for row in rows] == [(order.id, 0, order.lots, 0)]
    facts = talk.cancel(order)
    plain(facts)
    assert {(end.how, end.filled_lots) for end in ends(facts, order) if isinstance(end, Ended)} == {("cancelled", 0)}
    rows = [row for fact in talk.question(What.ORDERS) if isinstance(fact, Orders) for row in fact.rows]
    assert rows == []
    assert talk.ask(Cancel(order.id, 0)) == [Lost(order.id, "cancel: unknown order")]


def test_an_order_fills_and_the_account_follows(talk: Talk) -> None:
    order = talk.order("0.1", 80_500)
    facts = talk.place(order)
    plain(facts)
    done = fills(facts, order)
    assert sum(one.lots for one in done) == order.lots
    assert max(one.filled_lots for one in done) == order.lots
    assert {end.how for end in ends(facts, order) if isinstance(end, Ended)} == {"filled"}
    held = [fact for fact in facts if isinstance(fact, Position)]
    assert [(one.instrument, one.lots) for one in held][-1:] == [(0, order.lots)]
    assert talk.net() == order.lots
    if What.TRADES in talk.dialect.abilities.answers:
        told = [fact for fact in talk.ask(Ask(What.TRADES, 0)) if isinstance(fact, Filled)]
        assert told == done, "the list of trades and the stream tell the same, under the same ids"
        assert talk.ask(Ask(What.TRADES, 0, since=done[-1].trade)) == []


def test_immediate_or_cancel_takes_what_is_there(talk: Talk) -> None:
    talk.exchange.deposit(talk.account, 10_000_000)
    order = talk.order("9", 80_004)
    facts = talk.place(order)
    plain(facts)
    some = sum(one.lots for one in fills(facts, order))
    assert 0 < some < order.lots
    assert {end.filled_lots for end in ends(facts, order) if isinstance(end, Ended)} == {some}
    assert talk.net() == some


def test_a_resting_order_fills_in_part_and_is_cancelled(talk: Talk) -> None:
    talk.exchange.deposit(talk.account, 10_000_000)
    order = talk.order("-20", 81_000, style=Style.POST)
    talk.place(order)
    talk.exchange.set_mark(talk.names[0], 81_005)
    facts = talk.listen()
    plain(facts)
    some = sum(one.lots for one in fills(facts, order))
    assert order.lots < some < 0
    assert ends(facts, order) == []
    (row,) = [row for fact in talk.question(What.ORDERS) if isinstance(fact, Orders) for row in fact.rows]
    assert (row.order, row.lots, row.filled_lots) == (order.id, order.lots, -some)
    told = {end.filled_lots for end in ends(talk.cancel(order), order) if isinstance(end, Ended)}
    assert told == {-some}
    assert talk.net() == some


def nothing_came_of_it(talk: Talk, facts: list[Fact], order_id: str, fault: Fault) -> None:
    """Refused at once for this reason, or ended without a trade where the venue acknowledges before it decides."""
    told = [fact for fact in facts if isinstance(fact, Refused | Ended) and fact.order == order_id]
    assert told
    for fact in told:
        if isinstance(fact, Refused):
            assert fact.fault is fault
        else:
            assert fact.filled_lots == 0
    assert not any(isinstance(fact, Filled) for fact in facts)


def test_post_only_never_takes(talk: Talk) -> None:
    order = talk.order("0.1", 80_500, style=Style.POST)
    nothing_came_of_it(talk, talk.place(order), order.id, Fault.PRICE)
    assert talk.held() == {}


def test_what_only_reduces_never_opens(talk: Talk) -> None:
    order = talk.order("-0.1", 79_500, reduce=True)
    nothing_came_of_it(talk, talk.place(order), order.id, Fault.REDUCE)
    assert talk.held() == {}
    opened = talk.order("0.1", 80_500)
    talk.place(opened)
    talk.place(talk.order("-0.3", 79_500, reduce=True))
    assert talk.net() in (0, opened.lots), "at most closed, never turned round"
    talk.place(talk.order("0.1", 80_500, reduce=True))
    assert talk.net() in (0, opened.lots)


def test_too_large_an_order_is_refused_for_its_margin(talk: Talk) -> None:
    order = talk.order("100", 80_000, style=Style.POST)
    nothing_came_of_it(talk, talk.place(order), order.id, Fault.MARGIN)


def test_an_order_without_an_answer_is_found_by_asking(talk: Talk) -> None:
    filled, rests = talk.order("0.1", 80_500), talk.order("0.1", 79_000, style=Style.POST)
    for order in (filled, rests):
        assert talk.lose(Place(order), arrives=True) == [Lost(order.id, "reset")]
    never = talk.order("0.1", 80_500)
    assert talk.lose(Place(never), arrives=False) == [Lost(never.id, "reset")]
    assert talk.net() == filled.lots
    facts = talk.ask(Ask(What.ORDER, 0, filled.id))
    assert {(end.how, end.filled_lots) for end in ends(facts, filled) if isinstance(end, Ended)} == {
        ("filled", filled.lots)
    }
    facts = talk.ask(Ask(What.ORDER, 0, rests.id))
    assert any(isinstance(fact, Accepted) and fact.order == rests.id for fact in facts)
    assert ends(facts, rests) == []
    (absent,) = talk.ask(Ask(What.ORDER, 0, never.id))
    assert isinstance(absent, Absent)
    assert absent.order == never.id


def test_a_new_process_finds_and_cancels_the_orders_of_the_one_before(talk: Talk) -> None:
    order = talk.order("0.1", 79_000, style=Style.POST)
    talk.place(order)
    talk.begin()
    facts = talk.ask(Ask(What.ORDER, 0, order.id))
    assert any(isinstance(fact, Accepted) and fact.order == order.id for fact in facts)
    facts = talk.cancel(order)
    assert {end.how for end in ends(facts, order) if isinstance(end, Ended)} == {"cancelled"}


def test_what_happened_while_the_private_stream_was_away_is_found_by_asking(talk: Talk) -> None:
    order = talk.order("0.1", 79_000, style=Style.POST)
    talk.place(order)
    assert talk.cut("private") == [Down("private", "cut")]
    talk.exchange.set_mark(talk.names[0], 78_900)
    assert not fills(talk.listen(), order), "nobody told"
    facts = talk.reopen("private")
    assert Up("private") in facts
    facts += talk.ask(Ask(What.ORDER, 0, order.id))
    assert {(end.how, end.filled_lots) for end in ends(facts, order) if isinstance(end, Ended)} == {
        ("filled", order.lots)
    }
    assert talk.net() == order.lots
    sold = talk.order("-0.1", 78_000)
    assert fills(talk.place(sold), sold), "and the stream tells again"


def test_money_that_comes_is_told(talk: Talk) -> None:
    talk.exchange.deposit(talk.account, 1_000)
    told = [*talk.listen(), *talk.question(What.ACCOUNT)]
    assert {fact.wallet for fact in told if isinstance(fact, Balance)} == {11_000.0}


def test_hedge_mode_keeps_longs_and_shorts_apart(venue: Described) -> None:
    talk = Talk(venue, account=venue.account(balance=10_000, hedge=True))
    (mode,) = [fact for fact in talk.question(What.MODE) if isinstance(fact, Mode)]
    assert mode.hedge
    for base, side, reduce in (("0.2", Side.LONG, False), ("-0.1", Side.SHORT, False), ("-0.05", Side.LONG, True)):
        order = talk.order(base, 81_000 if base[0] != "-" else 79_000, side=side, reduce=reduce)
        assert sum(one.lots for one in fills(talk.place(order), order)) == order.lots
    assert talk.held() == {Side.LONG: talk.lots("0.15"), Side.SHORT: talk.lots("-0.1")}


def test_a_leverage_setting_is_changed_told_and_asked_about(talk: Talk) -> None:
    talk.listen()  # to what a venue tells of its own accord when a socket opens
    last = len(talk.symbols) - 1
    facts = [*talk.ask(SetLeverage(last, 7)), *talk.listen()]
    told = [fact for fact in facts if isinstance(fact, Leverage)]
    assert told
    assert {(fact.instrument, fact.leverage) for fact in told} == {(last, 7)}
    asked = {fact.instrument: fact.leverage for fact in talk.question(What.LEVERAGE) if isinstance(fact, Leverage)}
    assert asked == {**dict.fromkeys(range(last), 20), last: 7}
    (unset,) = talk.ask(SetLeverage(0, 5_000))
    assert isinstance(unset, Unset)


def test_the_dead_mans_switch_cancels(talk: Talk) -> None:
    if not talk.dialect.abilities.arms:
        pytest.skip("the venue has none")
    order = talk.order("0.1", 79_000, style=Style.POST)
    talk.place(order)
    assert talk.ask(Arm(0, 10_000)) == []
    facts = talk.listen(12)
    assert {end.how for end in ends(facts, order) if isinstance(end, Ended)} == {"cancelled"}
