from __future__ import annotations

from agent.core.audit import ANSWERS, EVERY_NS, PATIENCE_NS, RUSH_NS, TRUTH, Audit
from agent.core.events import Clock, Fees, Funding, Listed, Mark, Mode, Orders, Positions, Tiers, Unanswered, Volume
from agent.core.venue import Abilities, Ask, What
from tests.core.kit import START, S, instrument

LISTED = Listed(instruments=(instrument(),))


def audit(*, listed: bool = True, answers: frozenset[What] = frozenset(ANSWERS)) -> Audit:
    """One whose instruments are known and whose other questions are on their way."""
    questions = Audit(Abilities(answers, ()), range(2), salt="a")
    if listed:
        questions.due(START)
        questions.apply(LISTED, START)
        questions.due(START)
    return questions


def positions(asked_at: int) -> Positions:
    return Positions(rows=(), strangers=(), asked_at=asked_at)


def test_until_the_instruments_are_known_only_they_and_the_time_are_asked_for() -> None:
    questions = audit(listed=False)
    assert [ask.what for ask in questions.due(START)] == [What.TIME, What.INSTRUMENTS]
    assert questions.due(START + S) == []
    assert questions.wake_at() == START + PATIENCE_NS
    questions.apply(LISTED, START + S)
    asked = questions.due(START + S)
    assert What.POSITIONS in [ask.what for ask in asked]


def test_fees_are_asked_for_each_instrument() -> None:
    questions = audit(listed=False)
    questions.due(START)
    questions.apply(LISTED, START)
    fees = [ask for ask in questions.due(START) if ask.what is What.FEES]
    assert fees == [Ask(What.FEES, instrument=0), Ask(What.FEES, instrument=1)]
    questions.apply(Fees(0, 0.0, 0.0), START)
    assert What.FEES in questions.missing()
    questions.apply(Fees(1, 0.0, 0.0), START)
    assert What.FEES not in questions.missing()


def test_a_question_that_a_venue_cannot_answer_is_never_asked() -> None:
    questions = Audit(Abilities(frozenset({What.TIME, What.POSITIONS}), ()), range(1), salt="a")
    assert [ask.what for ask in questions.due(START)] == [What.TIME, What.POSITIONS]


def test_an_answered_question_is_asked_again_when_its_time_comes() -> None:
    questions = audit()
    questions.apply(positions(START), START)
    assert What.POSITIONS not in questions.missing()
    again = START + EVERY_NS[What.POSITIONS]
    assert Ask(What.POSITIONS) not in questions.due(again - 1)
    assert Ask(What.POSITIONS) in questions.due(again)


def test_an_answer_that_nobody_waits_for_is_no_answer() -> None:
    questions = Audit(Abilities(frozenset(ANSWERS), ()), range(1), salt="a")
    questions.apply(positions(START), START)
    assert What.POSITIONS in questions.missing()


def test_after_a_reconnection_an_answer_to_an_older_question_does_not_count() -> None:
    questions = audit()
    questions.apply(positions(START), START)
    questions.require(TRUTH, START + S, START + S)
    assert Ask(What.POSITIONS) in questions.due(START + S)
    questions.apply(positions(START + S - 1), START + 2 * S)
    assert What.POSITIONS in questions.missing()
    questions.apply(positions(START + S), START + 2 * S)
    assert What.POSITIONS not in questions.missing()


def test_an_answer_without_the_venues_time_counts_even_if_the_venues_clock_is_ahead() -> None:
    questions = audit()
    questions.require((What.MODE,), START, START + 20 * S)
    questions.due(START)
    questions.apply(Mode(hedge=False, multi_asset=False, can_trade=True), START)
    assert What.MODE not in questions.missing()


def test_everything_but_what_is_required_stays_answered() -> None:
    questions = audit()
    questions.apply(Clock(offset_ns=0, error_ns=0), START)
    questions.require((What.ORDERS,), START, START)
    assert What.TIME not in questions.missing()
    questions.due(START)
    questions.apply(Orders(rows=(), asked_at=START), START)
    assert What.ORDERS not in questions.missing()


def test_a_question_without_any_answer_is_asked_again() -> None:
    questions = audit()
    assert questions.due(START + PATIENCE_NS - 1) == []
    assert Ask(What.POSITIONS) in questions.due(START + PATIENCE_NS)


def test_a_question_that_failed_is_asked_again_after_a_growing_pause() -> None:
    questions = audit()
    poll = questions.polls[What.POSITIONS, None]
    pauses = []
    now = START
    for _ in range(8):
        questions.apply(Unanswered(what=What.POSITIONS, reason="503"), now)
        pauses.append(poll.due_at - now)
        now = poll.due_at
        assert Ask(What.POSITIONS) in questions.due(now)
    assert poll.attempt == 8
    assert max(pauses) > 4 * S
    questions.apply(positions(now), now)
    assert poll.attempt == 0


def test_a_failure_of_a_question_that_is_not_on_its_way_changes_nothing() -> None:
    questions = audit()
    questions.apply(positions(START), START)
    questions.apply(Unanswered(what=What.POSITIONS, reason="late"), START)
    questions.apply(Unanswered(what=What.ORDER, reason="of an order"), START)
    assert questions.polls[What.POSITIONS, None].attempt == 0


def test_a_hurried_question_is_asked_soon_and_holds_nothing_up() -> None:
    questions = audit()
    questions.apply(positions(START), START)
    questions.hurry(What.POSITIONS, START)
    questions.hurry(What.POSITIONS, START + S)
    questions.hurry(What.ORDER, START)
    assert What.POSITIONS not in questions.missing()
    assert Ask(What.POSITIONS) in questions.due(START + RUSH_NS)
    questions.hurry(What.POSITIONS, START + RUSH_NS)
    assert questions.due(START + RUSH_NS) == []


def test_volumes_are_asked_for_once_an_hour_and_hold_nothing_up() -> None:
    questions = Audit(Abilities(frozenset({What.VOLUMES}), ()), range(1), salt="a")
    assert questions.due(START) == [Ask(What.VOLUMES)]
    assert questions.missing() == []
    questions.apply(Unanswered(what=What.VOLUMES, reason="503"), START)
    assert (questions.missing(), questions.troubles()) == ([], [])
    again = questions.wake_at()
    assert questions.due(again) == [Ask(What.VOLUMES)]
    questions.apply(Volume(instrument=0, quote=1e9), again)
    assert questions.due(again + 3600 * S - 1) == []
    assert questions.due(again + 3600 * S) == [Ask(What.VOLUMES)]


def test_a_leverage_setting_without_an_answer_is_no_failed_question() -> None:
    questions = audit()
    questions.apply(Unanswered(what="leverage 5 of instrument 0", reason="reset"), START)
    assert questions.polls[What.LEVERAGE, None].pending_since is not None


def test_prices_are_answered_by_a_mark_of_any_instrument() -> None:
    questions = audit()
    questions.apply(Mark(instrument=1, price=1.0, index=None, at=START), START)
    assert What.PRICES not in questions.missing()


def test_it_wakes_for_the_next_question_and_not_before() -> None:
    questions = audit()
    now = START
    for _ in range(50):
        now = questions.wake_at()
        assert questions.due(now)
        assert questions.wake_at() > now


def test_a_question_about_one_instrument_without_an_answer_leaves_those_about_others_alone() -> None:
    it = Audit(Abilities(frozenset({What.FEES}), ()), range(2), salt="x")
    assert len(it.due(0)) == 2
    it.apply(Unanswered(What.FEES, "lost", 0), 1)
    it.apply(Fees(1, 0.0002, 0.0005), 2)
    assert [poll.answered for poll in it.polls.values()] == [False, True]


def test_what_a_venue_tells_of_one_instrument_at_a_time_is_asked_of_each_and_as_often_as_it_must_be() -> None:
    singles, often = frozenset({What.TIERS}), {What.PRICES: 4 * S}
    it = Audit(Abilities(frozenset({What.TIERS, What.PRICES}), (), singles, often), range(2), salt="x")
    assert it.due(0) == [Ask(What.PRICES), Ask(What.TIERS, 0), Ask(What.TIERS, 1)]
    it.apply(Tiers(1, ()), S)
    it.apply(Mark(0, 1.0, None, 0), S)
    assert it.missing() == [What.PRICES, What.TIERS], "marks stream: funding is what was asked for"
    it.apply(Funding(0, 0.0001, 9 * S, 0), S)
    assert it.due(S) == []
    assert it.missing() == [What.TIERS]
    assert it.due(5 * S) == [Ask(What.PRICES)]
