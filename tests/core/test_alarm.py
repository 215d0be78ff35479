"""The alarm: when safety acts, when it waits for the rest of a gap, and how long it rests after having been in vain."""

from __future__ import annotations

import pytest

from agent.core.alarm import WHOLE_NS, Alarm
from agent.core.book import Book
from agent.core.correction import GIVE_UP_NS, Correction
from agent.core.decisions import Policy
from agent.core.drift import Bands, Drift, measure
from agent.core.events import Mark
from agent.core.guard import Guard, Seat
from agent.core.orders import Blotter
from agent.core.planner import Limits
from agent.core.reasons import Reason
from agent.core.targets import Targets
from agent.core.venue import Abilities
from tests.core.kit import MISSION, START, THIRDS, S, book_of

LIMITS = Limits(leverage=2.0)
"""Three times its equity is held."""


def drift_of(book: Book) -> Drift:
    drift = measure(book, Targets(weights=dict(THIRDS), leverage=3.0), Bands())
    assert drift is not None
    return drift


def alarm_of(book: Book, cool_down_ns: int, blotter: Blotter | None = None) -> Alarm:
    seat = Seat("t", Abilities(frozenset(), ()))
    guard = Guard(
        seat,
        0,
        book,
        Policy(mode="live", targets=Targets(weights=dict(THIRDS), leverage=3.0)),
        epoch=1,
        nonce=0,
        note=lambda kind, text, symbol: None,
    )
    guard.readiness.look()
    return Alarm([guard], blotter or Blotter(), LIMITS, cool_down_ns)


def told(book: Book, index: int, at: int) -> None:
    mark = book.rows[index].mark
    assert mark is not None
    book.apply(Mark(index, mark.price, mark.index, at), at)


def test_what_is_all_of_one_moment_is_acted_on_at_once() -> None:
    book = book_of(MISSION)
    found = alarm_of(book, 60 * S).due(drift_of(book).leverage, None, START)
    assert found == Reason(cause="leverage 3.00x is over the limit", urgent=True)


def test_a_price_that_is_newer_than_the_others_is_waited_for_but_not_for_long() -> None:
    book = book_of(MISSION)
    alarm = alarm_of(book, 60 * S)
    told(book, 0, START + 1)
    assert alarm.due(drift_of(book).leverage, None, START + 1) is None
    assert alarm.dues == [START + 1 + WHOLE_NS]
    assert alarm.due(drift_of(book).leverage, None, START + WHOLE_NS) is None
    assert alarm.due(drift_of(book).leverage, None, START + 1 + WHOLE_NS) is not None


def test_while_a_trade_of_ours_may_be_in_the_wallet_and_not_in_the_position_it_waits_as_well() -> None:
    book, blotter = book_of(MISSION), Blotter()
    blotter.affected(0, START + 1)  # by the venue's time: the position is older
    alarm = alarm_of(book, 60 * S, blotter)
    assert alarm.due(drift_of(book).leverage, None, START) is None
    assert alarm.due(drift_of(book).leverage, None, START + WHOLE_NS) is not None, "but not for long"
    known = alarm_of(book_of(MISSION), 60 * S)
    assert known.due(drift_of(book).leverage, None, START) is not None


def test_it_acts_as_soon_as_the_rest_is_as_new_however_new_the_first_has_become() -> None:
    book = book_of(MISSION)
    alarm = alarm_of(book, 60 * S)
    for index, at in ((0, 10), (0, 500), (1, 11)):
        told(book, index, START + at)
        assert alarm.due(drift_of(book).leverage, None, START + at) is None
    told(book, 2, START + 10)
    assert alarm.due(drift_of(book).leverage, None, START + 501) is not None


def test_what_was_over_in_between_has_to_be_confirmed_anew() -> None:
    book = book_of(MISSION)
    alarm = alarm_of(book, 60 * S)
    told(book, 0, START + 1)
    drift = drift_of(book)
    assert alarm.due(drift.leverage, None, START + 1) is None
    assert alarm.due(1.0, None, START + S // 2) is None
    assert alarm.dues == []
    assert alarm.due(drift.leverage, None, START + 1 + WHOLE_NS) is None
    assert alarm.due(drift.leverage, None, START + 1 + 2 * WHOLE_NS) is not None


def test_an_account_that_comes_into_danger_joins_the_relief_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    book = book_of(MISSION)
    alarm = alarm_of(book, 60 * S)
    monkeypatch.setattr(alarm, "dangers", lambda now: {0: "near"})
    monkeypatch.setattr(alarm, "lots", lambda accounts: (None, 5, None))
    first = Reason(cause="another", urgent=True, relief=(3, None, None))
    joined = alarm.due(drift_of(book).leverage, Correction(first, START), START)
    assert joined == Reason(cause="near", urgent=True, relief=(3, 5, None))
    assert alarm.due(drift_of(book).leverage, Correction(joined, START), START) is None, "it is in it already"


def test_a_correction_that_reduces_already_is_not_begun_anew() -> None:
    book = book_of(MISSION)
    alarm = alarm_of(book, 60 * S)
    begun = alarm.due(drift_of(book).leverage, None, START)
    assert begun is not None
    assert alarm.due(drift_of(book).leverage, Correction(begun, START), START + S) is None
    assert alarm.due(drift_of(book).leverage, Correction(Reason(cause="a band"), START), START + S) == begun


def test_after_corrections_in_vain_it_rests_longer_and_longer_and_not_at_all_after_one_that_traded() -> None:
    book = book_of(MISSION)
    alarm, now, rests = alarm_of(book, 600 * S), START, []
    begun = alarm.due(drift_of(book).leverage, None, now)
    assert begun is not None
    for _ in range(9):
        vain = Correction(begun, now)
        vain.orders[0] = 1
        alarm.rest(vain, now)
        rests.append(0)
        while alarm.due(drift_of(book).leverage, None, now) is None:
            now += S
            rests[-1] += 1
    assert rests == [2, 4, 8, 16, 32, *[GIVE_UP_NS // S] * 4]
    useful = Correction(begun, now)
    useful.orders[0], useful.traded[0] = 1, 100.0
    alarm.rest(useful, now)
    assert alarm.due(drift_of(book).leverage, None, now) is not None


def alarm_of_two() -> tuple[Alarm, Blotter]:
    """The alarm of a portfolio on two accounts, an instrument on each."""
    policy = Policy(mode="live", targets=Targets(weights={"a:BTCUSDT": 0.5, "b:ETHUSDT": 0.5}, leverage=3.0))
    book, blotter = Book(policy.targets.symbols, [0, 1]), Blotter()
    guards = [
        Guard(Seat("t", Abilities(frozenset(), ()), name), index, book, policy, epoch=1, nonce=0, note=unheard)
        for index, name in enumerate(("a", "b"))
    ]
    return Alarm(guards, blotter, LIMITS, 60 * S), blotter


def unheard(kind: str, text: str, symbol: str | None) -> None:
    """Nobody listens."""


def test_a_relief_in_vain_lets_only_its_own_account_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    (alarm, _), now = alarm_of_two(), START
    monkeypatch.setattr(alarm, "dangers", lambda now: {0: "a is near"})
    first = alarm.due(None, None, now)
    assert first == Reason(cause="a is near", urgent=True, relief=(0, None))
    vain = Correction(first, now)
    vain.orders[0] = 3
    alarm.rest(vain, now)
    monkeypatch.setattr(alarm, "dangers", lambda now: {0: "a is near", 1: "b is near"})
    other = alarm.due(None, None, now + 1)
    assert other == Reason(cause="b is near", urgent=True, relief=(None, 0))
    over = alarm.due(3.0, Correction(Reason(cause="a band"), now), now + 1)
    assert over == other, "liquidation comes before leverage"
    assert alarm.due(3.0, Correction(other, now), now + 3 * S) == Reason(
        cause="a is near, b is near", urgent=True, relief=(0, 0)
    )


def test_leverage_is_reduced_elsewhere_while_the_relief_of_one_account_rests_and_not_when_all_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for relief, begins in (((5, None), True), ((5, 5), False)):
        (alarm, _), danger = alarm_of_two(), {0: "a is near"}
        monkeypatch.setattr(alarm, "dangers", lambda now, danger=danger: danger)
        alarm.rest(Correction(Reason(cause="near", urgent=True, relief=relief), START), START)
        assert (alarm.due(3.0, None, START + S) is not None) is begins


def test_what_is_in_doubt_on_one_account_delays_no_relief_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    alarm, blotter = alarm_of_two()
    blotter.affected(0, START + S)
    monkeypatch.setattr(alarm, "dangers", lambda now: {0: "a is near", 1: "b is near"})
    found = alarm.due(None, None, START)
    assert found == Reason(cause="b is near", urgent=True, relief=(None, 0))
    assert alarm.dues == [START + WHOLE_NS, START + WHOLE_NS]
