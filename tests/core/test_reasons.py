"""Reasons to correct: what fires, what waits for what, and where each leads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agent.core.book import Book
from agent.core.costs import Costs
from agent.core.drift import Bands, Drift, measure, strayed
from agent.core.economy import Economist, Economy
from agent.core.events import Funding, Interval, Leverage
from agent.core.margin import exposures
from agent.core.pairs import Pair
from agent.core.reasons import AWARE, TOLERANCE, Reason, Reasons
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from tests.core.kit import MISSION, START, THIRDS, S, book_of

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)
BALANCED = {"BTCUSDT": 0.25, "ETHUSDT": 3.0, "SOLUSDT": 40.0}
AT_ONCE = Triggers(confirm_s=0.0)
NEVER: Callable[[int], int | None] = lambda now: None  # noqa: E731


class Scene:
    """A book, how far it is from its targets, and what gives a reason to correct it."""

    def __init__(
        self,
        held: dict[str, float] | None = None,
        *,
        targets: Targets = SHARES,
        bands: Bands | None = None,
        triggers: Triggers = AT_ONCE,
        pairs: tuple[Pair, ...] = (),
        schedule: Callable[[int], int | None] = NEVER,
        blackout: Callable[[int], int | None] = NEVER,
        groups: tuple[tuple[int, ...], ...] = (),
        schedule_at: int | None = None,
    ) -> None:
        self.book = book_of(BALANCED if held is None else held)
        self.targets, self.bands, self.groups = targets, bands or Bands(), groups
        self.economist = Economist(Economy(), self.bands, Costs())
        self.economist.observe(self.book, START)
        self.reasons = Reasons(targets.symbols, self.bands, triggers, pairs, schedule, blackout, schedule_at)

    @property
    def drift(self) -> Drift:
        drift = measure(self.book, self.targets, self.bands)
        assert drift is not None
        return drift

    def due(self, after: float = 0.0, *, busy: bool = False) -> Reason | None:
        now = START + round(after * S)
        return self.reasons.due(self.book, self.drift, self.economist, self.groups, now, busy=busy)

    def cause(self, after: float = 0.0, *, busy: bool = False) -> str | None:
        reason = self.due(after, busy=busy)
        return None if reason is None else reason.cause

    def hold(self, positions: dict[str, float]) -> None:
        """Other positions from now on."""
        self.book = book_of(positions)


# Each of them


def test_inside_all_bands_there_is_no_reason() -> None:
    it = Scene()
    assert it.due() is None
    assert (it.reasons.breached, it.reasons.outside) == (False, False)


def test_a_tolerance_that_is_left_leads_inside_all_bands() -> None:
    it = Scene(MISSION)
    reason = it.due()
    assert reason == Reason(cause="BTCUSDT drifted +15.0%, its band is ±7.0%")
    assert reason is not None
    assert (reason.breach, reason.weighed, reason.urgent, reason.to_target) == (True, True, False, False)
    assert it.reasons.breached
    assert it.reasons.reaches[TOLERANCE] == pytest.approx(0.15 / 0.07)


def test_it_is_confirmed_before_it_counts() -> None:
    it = Scene(MISSION, triggers=Triggers(confirm_s=5.0))
    assert it.due() is None
    assert it.due(4.9) is None
    assert START + 5 * S in it.reasons.dues
    assert it.due(5.0) is not None


def test_the_cost_aware_band_is_no_breach() -> None:
    it = Scene()
    it.economist.reaches = [0.2, 1.3, 0.4]
    reason = it.due()
    assert reason == Reason(cause="ETHUSDT has left its cost-aware band, its risk is 130% of it", breach=False)
    assert it.reasons.reaches[AWARE] == 1.3
    assert it.reasons.outside
    assert not it.reasons.breached


@pytest.mark.parametrize(
    ("bands", "name"),
    [
        (Bands(tolerance=0.5, portfolio=0.08), "total drift"),
        (Bands(tolerance=0.5, tracking=0.2), "tracking risk"),
        (Bands(tolerance=0.5, leverage=0.05), "leverage"),
    ],
)
def test_what_strays_as_a_whole_is_drawn_in_as_a_whole(bands: Bands, name: str) -> None:
    it = Scene({"BTCUSDT": 0.34, "ETHUSDT": 3.0, "SOLUSDT": 40.0}, bands=bands)
    reason = it.due()
    assert reason is not None
    assert reason.cause.startswith(f"{name} is ")
    assert reason.cause.endswith("% of its band")
    assert [index for index, _ in reason.goals] == [0, 1, 2]
    assert 1.5 < reason.goals[0][1] < 2.04
    after = strayed(it.drift, bands, it.economist.matrix, [weight for _, weight in reason.goals])
    assert after[name] == pytest.approx(bands.landing), "just inside, and no further"
    assert it.reasons.breached


def test_the_legs_of_a_hedge_are_brought_to_the_smallest_of_them_whatever_it_costs() -> None:
    pair = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.5}, leverage=1.0)
    it = Scene({"BTCUSDT": 0.084, "ETHUSDT": -1.5}, targets=pair, groups=((0, 1),))
    reason = it.due()
    assert reason is not None
    assert reason.cause == "the legs of BTCUSDT and ETHUSDT stand at 90.0% to 100.8% of their targets"
    assert dict(reason.goals) == pytest.approx({0: 0.45, 1: -0.45})
    assert not reason.weighed
    assert it.reasons.reaches["hedge BTCUSDT/ETHUSDT"] == pytest.approx(0.108 / 0.05)


def test_a_leg_on_the_wrong_side_closes_the_hedge() -> None:
    pair = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.5}, leverage=1.0)
    it = Scene({"BTCUSDT": 0.084, "ETHUSDT": 0.1}, targets=pair, groups=((0, 1),), bands=Bands(tolerance=0.9))
    reason = it.due()
    assert reason is not None
    assert dict(reason.goals) == {0: 0.0, 1: pytest.approx(0.0)}


def test_a_hedge_of_which_a_leg_is_not_wanted_is_not_watched() -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": "hold", "SOLUSDT": -0.5}, leverage=1.0)
    it = Scene({"BTCUSDT": 0.084, "ETHUSDT": 0.5, "SOLUSDT": -20.0}, targets=targets, groups=((0, 1), (0, 2)))
    it.due()
    assert [name for name in it.reasons.reaches if name.startswith("hedge")] == ["hedge BTCUSDT/SOLUSDT"]


# The pair rule


def margins(book: Book) -> list[float]:
    held = exposures(book.accounts[0])
    assert held is not None
    return [one.initial for one in held]


def test_a_pair_rule_moves_margin_from_one_to_the_other_and_the_sum_stays() -> None:
    """BTC takes 900 at 20x, ETH 900 at 10x; BTC shall have 40 % of 1,800: 180 go, 3,600 of BTC and 1,800 of ETH."""
    it = Scene(
        {"BTCUSDT": 0.3, "ETHUSDT": 3.0, "SOLUSDT": 40.0}, pairs=(Pair("BTCUSDT", "ETHUSDT", target=0.4),),
        bands=Bands(tolerance=0.5),
    )  # fmt: skip
    it.book.apply(Leverage(instrument=1, leverage=10), START)
    before = margins(it.book)
    assert before[:2] == pytest.approx([900.0, 900.0])
    reason = it.due()
    assert reason is not None
    assert reason.cause == "BTCUSDT has 50.0% of the margin of BTCUSDT and ETHUSDT, its target is 40.0%"
    goals = dict(reason.goals)
    assert goals == pytest.approx({0: 1.8 - 0.36, 1: 0.9 + 0.18})
    after = [goals[0] * 10_000 / 20, goals[1] * 10_000 / 10]
    assert sum(after) == pytest.approx(sum(before[:2]))
    assert after[0] / sum(after) == pytest.approx(0.4)
    assert it.reasons.reaches["pair BTCUSDT/ETHUSDT"] == pytest.approx(2.0)
    assert it.reasons.outside
    assert not it.reasons.breached, "it is a rule for two, not a band of the user's"


def test_a_short_of_a_pair_grows_on_its_own_side() -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": -0.5}, leverage=2.0)
    rule = Pair("BTCUSDT", "ETHUSDT", target=0.5)
    it = Scene({"BTCUSDT": 0.2, "ETHUSDT": -2.0}, targets=targets, pairs=(rule,), bands=Bands(tolerance=0.5))
    reason = it.due()
    assert reason is not None
    assert dict(reason.goals) == pytest.approx({0: 0.9, 1: -0.9})


@pytest.mark.parametrize("held", [{"BTCUSDT": 0.0, "ETHUSDT": 0.0, "SOLUSDT": 0.0}, BALANCED])
def test_a_pair_without_margin_or_without_a_leverage_setting_is_not_watched(held: dict[str, float]) -> None:
    it = Scene(held, pairs=(Pair("BTCUSDT", "ETHUSDT", target=0.1),), bands=Bands(tolerance=1.5))
    if held is BALANCED:
        it.book.rows[0].leverage = None
    assert it.due() is None
    assert "pair BTCUSDT/ETHUSDT" not in it.reasons.reaches


@pytest.mark.parametrize(
    ("weights", "held"),
    [
        ({"BTCUSDT": 1.0, "ETHUSDT": 0.0}, {"BTCUSDT": 0.2, "ETHUSDT": 0.0}),
        ({"BTCUSDT": 0.5, "ETHUSDT": "hold"}, {"BTCUSDT": 0.2, "ETHUSDT": 1.0}),
        ({"BTCUSDT": 0.5, "ETHUSDT": 0.5}, {"BTCUSDT": 0.2, "ETHUSDT": -1.0}),
    ],
    ids=["not wanted", "on hold", "held the other way round"],
)
def test_a_pair_rule_for_what_is_not_wanted_or_held_the_other_way_round_has_no_sense(
    weights: Any, held: dict[str, float]
) -> None:
    targets = Targets(weights=weights, leverage=1.0)
    it = Scene(held, targets=targets, pairs=(Pair("BTCUSDT", "ETHUSDT", target=0.4),), bands=Bands(tolerance=9.0))
    assert it.due() is None
    assert "pair BTCUSDT/ETHUSDT" not in it.reasons.reaches


# Wishes


def test_a_wish_is_granted_at_once_and_once() -> None:
    it = Scene()
    wish = Reason(cause="a strategy gets less", weighed=False, scope=(1,))
    it.reasons.wish(wish)
    it.reasons.wish(wish)
    assert it.due() is wish
    assert it.due(1.0) is None


def test_wishes_come_one_after_the_other_oldest_first() -> None:
    it = Scene()
    for cause in ("first", "second"):
        it.reasons.wish(Reason(cause=cause, scope=(0,)))
    assert [it.cause(0.0), it.cause(1.0), it.cause(2.0)] == ["first", "second", None]


@pytest.mark.parametrize(("held", "breach"), [(BALANCED, False), (MISSION, True)])
def test_a_wish_for_all_is_a_breach_where_there_is_one(held: dict[str, float], breach: bool) -> None:
    it = Scene(held, triggers=Triggers(confirm_s=60.0))
    it.reasons.wish(Reason(cause="a deposit", breach=False))
    assert it.due() == Reason(cause="a deposit", breach=breach)


def test_a_wish_for_all_is_cured_with_a_breach_and_a_wish_for_a_few_is_kept() -> None:
    it = Scene(MISSION)
    it.reasons.wish(Reason(cause="a deposit", breach=False))
    it.reasons.wish(Reason(cause="funding bleeds", scope=(2,)))
    assert it.cause() == "BTCUSDT drifted +15.0%, its band is ±7.0%"
    assert it.cause(1.0) == "funding bleeds"
    assert it.cause(2.0) is None


def test_a_wish_for_a_few_that_is_first_in_the_queue_outlives_a_breach() -> None:
    it = Scene(MISSION)
    it.reasons.wish(Reason(cause="funding bleeds", scope=(2,)))
    assert it.cause() == "BTCUSDT drifted +15.0%, its band is ±7.0%"
    assert it.cause(1.0) == "funding bleeds"


# Priorities


def test_a_breach_comes_before_what_concerns_a_few_and_that_before_the_cost_aware_band() -> None:
    def scene(held: dict[str, float], tolerance: float) -> Scene:
        it = Scene(held, pairs=(Pair("BTCUSDT", "ETHUSDT", target=0.4),), bands=Bands(tolerance=tolerance))
        it.economist.reaches = [1.5, 0.0, 0.0]
        return it

    assert str(scene(MISSION, 0.07).cause()).startswith("BTCUSDT drifted")
    assert "of the margin" in str(scene(MISSION, 0.5).cause())
    pairless = Scene(bands=Bands(tolerance=0.5))
    pairless.economist.reaches = [1.5, 0.0, 0.0]
    assert "cost-aware" in str(pairless.cause())


def test_what_is_not_weighed_comes_before_a_breach_and_the_breach_is_not_forgotten() -> None:
    it = Scene(MISSION)
    it.reasons.wish(Reason(cause="health", weighed=False, scope=(1,)))
    assert it.cause() == "health"
    it.reasons.watch.rest(START)
    assert it.cause(59.0) is None
    assert str(it.cause(60.0)).startswith("BTCUSDT drifted")


def test_wishes_for_all_are_granted_together_and_those_for_a_few_are_kept() -> None:
    it = Scene()
    for amount in (1, 2):
        it.reasons.wish(Reason(cause=f"a deposit of {amount}", breach=False))
    it.reasons.wish(Reason(cause="funding bleeds", scope=(2,)))
    assert it.cause() == "a deposit of 1"
    assert it.cause(1.0) == "funding bleeds"
    assert it.due(2.0) is None


def test_a_trigger_that_was_passed_over_fires_again_after_the_rest() -> None:
    it = Scene(MISSION, pairs=(Pair("BTCUSDT", "ETHUSDT", target=0.4),))
    assert str(it.cause()).startswith("BTCUSDT drifted")
    it.hold({**BALANCED, "BTCUSDT": 0.28})
    it.reasons.watch.rest(START)
    assert it.cause(59.0) is None
    assert "of the margin" in str(it.cause(60.0))


# The schedule


def at(*seconds: float) -> Callable[[int], int | None]:
    times = [START + round(second * S) for second in seconds]
    return lambda now: next((time for time in times if time > now), None)


def test_the_schedule_is_a_reason_whatever_the_drift() -> None:
    it = Scene(schedule=at(10.0, 20.0))
    assert it.due(9.9) is None
    assert it.reasons.schedule_at == START + 10 * S
    assert START + 10 * S in it.reasons.dues
    assert it.due(10.0) == Reason(cause="the schedule", breach=False)
    assert it.reasons.schedule_at == START + 20 * S


def test_it_leads_inside_the_bands_where_one_has_been_left() -> None:
    it = Scene(MISSION, triggers=Triggers(confirm_s=60.0), schedule=at(10.0))
    assert it.due() is None
    assert it.due(10.0) == Reason(cause="the schedule", breach=True)


def test_times_that_were_missed_are_made_up_for_once() -> None:
    it = Scene(schedule=at(*range(10, 100, 10)), schedule_at=START - 100 * S)
    assert it.cause(45.0) == "the schedule"
    assert it.reasons.schedule_at == START + 50 * S
    assert it.cause(46.0) is None


def test_the_schedule_waits_for_the_end_of_a_correction() -> None:
    it = Scene(schedule=at(10.0))
    assert it.cause(0.0) is None
    assert it.cause(12.0, busy=True) is None
    assert it.cause(15.0) == "the schedule"
    assert it.cause(16.0) is None


def test_the_schedule_is_absorbed_by_a_breach_and_not_by_a_pair() -> None:
    it = Scene(MISSION, schedule=at(10.0), triggers=Triggers(confirm_s=10.0))
    it.due()
    assert str(it.cause(10.0)).startswith("BTCUSDT drifted")
    assert it.cause(11.0) is None
    rule = Pair("BTCUSDT", "ETHUSDT", target=0.4)
    it = Scene(MISSION, schedule=at(10.0), triggers=Triggers(confirm_s=10.0), pairs=(rule,), bands=Bands(tolerance=0.5))
    it.due()
    assert "of the margin" in str(it.cause(10.0))
    assert it.cause(11.0) == "the schedule"


# Busy, and blackouts


def test_while_a_correction_is_under_way_nothing_begins_and_wishes_wait() -> None:
    it = Scene(MISSION)
    it.reasons.wish(Reason(cause="health", scope=(1,)))
    assert it.due(busy=True) is None
    it.reasons.watch.rest(START + S)
    assert it.cause(2.0) == "health"


def window(start: float, end: float) -> Callable[[int], int | None]:
    first, last = START + round(start * S), START + round(end * S)
    return lambda now: last if first <= now < last else None


def test_in_a_blackout_nothing_begins_and_what_was_exceeded_is_corrected_at_its_end() -> None:
    it = Scene(MISSION, triggers=Triggers(confirm_s=5.0), blackout=window(2.0, 30.0))
    assert [it.due(second) for second in (0.0, 5.0, 10.0, 29.9)] == [None] * 4
    assert it.reasons.blackout_until == START + 30 * S
    assert START + 30 * S in it.reasons.dues
    assert str(it.cause(30.0)).startswith("BTCUSDT drifted")
    assert it.reasons.blackout_until is None


def test_what_begins_in_a_blackout_is_confirmed_in_full() -> None:
    it = Scene(triggers=Triggers(confirm_s=5.0), blackout=window(0.0, 30.0))
    it.due(0.0)
    it.hold(MISSION)
    assert it.due(28.0) is None
    assert it.due(30.0) is None
    assert it.due(33.0) is not None


def test_a_schedule_and_a_wish_of_a_blackout_are_made_up_for_after_it_once_each() -> None:
    it = Scene(schedule=at(10.0, 20.0), blackout=window(5.0, 30.0))
    it.due(0.0)
    it.reasons.wish(Reason(cause="health", scope=(1,)))
    assert [it.due(second) for second in (10.0, 20.0, 25.0)] == [None] * 3
    assert [it.cause(second) for second in (30.0, 31.0, 32.0)] == ["health", "the schedule", None]


@pytest.mark.parametrize(
    ("second", "closed"), [(3_539.0, False), (3_540.0, True), (3_600.0, True), (3_660.0, True), (3_661.0, False)]
)
def test_around_a_settlement_of_what_is_traded_nothing_begins(second: float, closed: bool) -> None:
    it = Scene(MISSION, triggers=Triggers(confirm_s=0.0, funding_blackout_s=60.0))
    settles = START + 3_600 * S
    it.book.apply(Interval(instrument=0, hours=8.0), START)
    due = settles if second <= 3_600 else settles + 8 * 3_600 * S
    it.book.apply(Funding(0, 0.0001, due, START), START)
    assert (it.due(second) is None) is closed
    assert it.reasons.blackout_until == (settles + 60 * S + 1 if closed else None)


def test_the_settlement_of_what_is_on_hold_closes_nothing() -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5, "SOLUSDT": "hold"}, leverage=1.0)
    it = Scene(MISSION, targets=targets, triggers=Triggers(confirm_s=0.0, funding_blackout_s=60.0))
    it.book.apply(Interval(instrument=2, hours=8.0), START)
    it.book.apply(Funding(2, 0.0001, START + S, START), START)
    assert it.due() is not None


def test_standings_are_those_of_all_that_is_watched() -> None:
    it = Scene(MISSION, triggers=Triggers(confirm_s=5.0), bands=Bands(portfolio=0.5))
    it.due()
    assert {one.name: round(one.reach, 2) for one in it.reasons.standings(START)} == {
        TOLERANCE: 2.14,
        "total drift": 0.3,
    }
