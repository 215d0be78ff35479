from __future__ import annotations

from itertools import chain, combinations
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.costs import Costs
from agent.core.drift import Bands, measure
from agent.core.events import (
    Clock,
    Ended,
    Filled,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Mode,
    Position,
    Positions,
    Quote,
    Reserve,
    Side,
    Tiers,
)
from agent.core.margin import exposures, joint
from agent.core.orders import Blotter
from agent.core.planner import Leg, Limits, plain
from agent.core.risk import (
    ALWAYS,
    INCREASES,
    PASSING,
    Refusal,
    Situation,
    asset_limit,
    judge,
    leverage_limit,
    worst_notionals,
)
from agent.core.targets import Targets
from tests.core.kit import MISSION, MS, START, THIRDS, S, book_of, instrument, order, plan_for, reprice

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)


def situation(book: Book | None = None, targets: Targets = SHARES, **changes: Any) -> Situation:
    book = book or book_of(MISSION)
    drift = measure(book, targets, Bands())
    assert drift is not None
    fields: dict[str, Any] = {
        "book": book,
        "drift": drift,
        "blotter": Blotter(),
        "limits": Limits(),
        "now": START,
        "halted": None,
        "increased_today": 0.0,
        "sent_last_minute": 0,
    }
    return Situation(**{**fields, **changes})


def leg(index: int = 1, lots: int = 474, *, reduce: bool = False) -> Leg:
    price = (60.0, 3.0, 150.0)[index]
    return Leg(instrument=index, side=Side.NET, lots=lots, reduce=reduce, notional=abs(lots) * price, cost=None)


INCREASE, REDUCTION = leg(), leg(0, -48, reduce=True)


def refused(what: Leg, s: Situation) -> Refusal:
    refusal = judge(what, s)
    assert refusal is not None
    return refusal


def blotter(*orders: Any) -> Blotter:
    result = Blotter()
    for one in orders:
        result.add(one, START)
    return result


def test_where_nothing_stands_against_it_a_leg_passes() -> None:
    assert judge(INCREASE, situation()) is None
    assert judge(REDUCTION, situation()) is None


def test_every_gate_has_a_test_here() -> None:
    names = {gate.__name__ for gate in ALWAYS + INCREASES}
    assert names == {
        "tradable", "fresh_price", "narrow_spread", "not_refused", "alone", "settled", "not_halted", "reductions_first",
        "all_prices_fresh", "positions_known", "clock_known", "no_strangers", "leverage_limit",
        "account_leverage_limit", "asset_limit",
        "tier_limit", "margin_limit", "liquidation_limit", "turnover_limit", "order_rate",
    }  # fmt: skip
    assert {gate.__name__ for gate in PASSING} == {"alone", "settled", "reductions_first"}


# Gates for every leg


def test_a_mark_in_doubt_refuses_even_a_reduction_and_where_it_is_held_all_increases() -> None:
    book = book_of(MISSION)
    book.apply(Mark(instrument=0, price=66_000.0, index=66_000.0, at=START), START)
    assert "in doubt: it leapt from 60000 to 66000" in refused(REDUCTION, situation(book)).reason
    assert refused(INCREASE, situation(book)).gate == "all prices fresh"


@pytest.mark.parametrize(("bid", "ask"), [(59_990.0, 70_000.0), (50_000.0, 60_010.0)])
def test_a_quote_far_from_the_mark_is_not_traded_on(bid: float, ask: float) -> None:
    book = book_of(MISSION)
    book.apply(Quote(0, bid, 1.0, ask, 1.0, START), START)
    assert "mark and quote are" in refused(REDUCTION, situation(book)).reason
    s = situation(book, now=START + 6 * S, limits=Limits(data_age_s=6.0))
    assert "mark and quote are" in refused(REDUCTION, s).reason
    book.rows[0].quote_seen = START - S
    assert judge(REDUCTION, s) is None, "a quote so old is not used"


@pytest.mark.parametrize("what", [INCREASE, REDUCTION])
def test_nothing_but_safety_pays_a_wide_spread(what: Leg) -> None:
    book = book_of(MISSION)
    price = book.rows[what.instrument].mark
    assert price is not None
    book.apply(Quote(what.instrument, price.price * 0.99, 1.0, price.price * 1.01, 1.0, START), START)
    assert refused(what, situation(book)).reason == "the spread is 2.0% of the price; at most 1.0% is paid"
    assert judge(REDUCTION, situation(book, urgent=True)) is None
    assert judge(REDUCTION, situation(book, limits=Limits(spread=0.03))) is None
    assert judge(REDUCTION, situation(book, now=START + 6 * S)) is not None, "the mark is too old"


@pytest.mark.parametrize("what", [INCREASE, REDUCTION])
def test_what_has_become_another_contract_is_not_traded(what: Leg) -> None:
    found = refused(what, situation(blocked={what.instrument: "the contract has changed"}))
    assert (found.gate, found.reason) == ("tradable", "the contract has changed")


@pytest.mark.parametrize(("urgent", "stated", "passes"), [(True, 1.0, True), (False, 1.0, False), (True, 1.2, False)])
def test_another_contract_is_reduced_for_safety_alone_and_as_far_as_the_venues_margin_bears_it_out(
    urgent: bool, stated: float, passes: bool
) -> None:
    book = book_of(MISSION)
    carried = {(i, Side.NET): one.maintenance for i, one in enumerate(exposures(book.accounts[0]) or [])}
    reserves = tuple(Reserve(index, side, stated * value) for (index, side), value in carried.items())
    book.apply(Margin(10_000.0, 10_000.0, 0.0, sum(carried.values()), 10_000.0, START, reserves), START)
    found = situation(book, blocked={REDUCTION.instrument: "another contract"}, urgent=urgent)
    assert (judge(REDUCTION, found) is None) is passes
    assert judge(leg(0, 10), found) is not None


def test_while_others_orders_rest_nothing_increases() -> None:
    found = refused(INCREASE, situation(crowd="orders that are not ours rest on the account"))
    assert (found.gate, found.passing) == ("no strangers", False)
    assert judge(REDUCTION, situation(crowd="orders that are not ours rest on the account")) is None


@pytest.mark.parametrize("what", [INCREASE, REDUCTION])
def test_nothing_is_sent_where_the_venue_refuses_everything(what: Leg) -> None:
    found = refused(what, situation(refusing={what.instrument: "the last 3 orders were refused (-4003)"}))
    assert (found.gate, found.passing) == ("not refused", False)
    assert judge(what, situation(refusing={2: "another one"})) is None


@pytest.mark.parametrize("what", [INCREASE, REDUCTION])
def test_a_stale_mark_refuses_even_a_reduction(what: Leg) -> None:
    late = situation(now=START + 5 * S + 1)
    assert refused(what, late) == Refusal(
        gate="fresh price",
        instrument=what.instrument,
        reason="the mark price is 5.0 s old; at most 5 s are allowed",
        passing=False,
    )
    assert judge(REDUCTION, situation(now=START + 5 * S)) is None


def test_a_mark_that_never_came_refuses() -> None:
    s = situation()
    s.book.rows[0].mark_seen = None
    assert "never came" in refused(REDUCTION, s).reason


@pytest.mark.parametrize(
    ("price", "index", "ok"), [(65_999, 60_000, True), (66_100, 60_000, False), (53_000, 60_000, False)]
)
def test_a_mark_far_from_its_index_is_not_traded_on(price: float, index: float, ok: bool) -> None:
    book = book_of(MISSION)
    reprice(book, Mark(instrument=0, price=price, index=index, at=START))
    refusal = judge(REDUCTION, situation(book))
    assert (refusal is None) == ok


@pytest.mark.parametrize("index", [0.0, -1.0, nan, inf])
def test_an_index_that_is_no_price_refuses_and_does_not_crash(index: float) -> None:
    book = book_of(MISSION)
    book.apply(Mark(instrument=0, price=60_000.0, index=index, at=START), START)
    assert "which is no price" in refused(REDUCTION, situation(book)).reason


def test_where_the_venue_sends_no_index_the_mark_stands_alone() -> None:
    book = book_of(MISSION)
    book.apply(Mark(instrument=0, price=60_000.0, index=None, at=START), START)
    assert judge(REDUCTION, situation(book)) is None
    s = situation(book)
    s.book.rows[0].mark = None
    assert "mark price" not in (judge(REDUCTION, s) or Refusal("", 0, "", False)).reason


def test_a_position_older_than_our_last_fill_refuses() -> None:
    s = situation()
    s.blotter.effects[0] = START + 1
    assert refused(REDUCTION, s).reason == "the position is older than our last fill"
    assert judge(INCREASE, s) is None


def test_a_position_that_may_lack_a_fill_told_only_as_a_sum_refuses() -> None:
    s = situation(blotter=blotter(order("o1")))
    s.blotter.apply(Ended(order="o1", how="filled", filled_lots=10, at=START), START)
    assert refused(REDUCTION, s).reason == "the position may come from a cache that lacks our last fill"
    assert judge(INCREASE, s) is None


def test_a_position_in_dispute_refuses() -> None:
    book = book_of(MISSION)
    row = Position(instrument=0, side=Side.NET, lots=1, entry=1.0, at=START)
    others = [Position(i, Side.NET, book.rows[i].lots, 1.0, START) for i in (1, 2)]
    book.apply(Positions(rows=(row, *others), strangers=(), asked_at=START), START)
    assert "does not add up yet" in refused(REDUCTION, situation(book)).reason
    assert judge(INCREASE, situation(book)) is None


def test_margin_that_no_position_explains_refuses_increases_and_no_reduction() -> None:
    book = book_of(MISSION)
    carried = sum(one.maintenance for one in exposures(book.accounts[0]) or [])
    book.apply(Margin(10_000.0, 10_000.0, 0.0, carried, 10_000.0, START), START)
    assert judge(INCREASE, situation(book)) is None
    book.apply(Margin(10_000.0, 10_000.0, 0.0, 2 * carried, 10_000.0, START), START)
    refusal = refused(INCREASE, situation(book))
    assert refusal.gate == "positions known"
    assert "of margin aside for positions that no answer shows" in refusal.reason
    assert judge(REDUCTION, situation(book)) is None


def test_a_position_that_only_the_account_lists_refuses_increases_and_no_reduction() -> None:
    book = book_of(MISSION)
    book.accounts[0].left_out = (1,)
    refusal = refused(INCREASE, situation(book))
    assert refusal.reason == "the account lists a position on ETHUSDT that no answer about positions shows"
    assert judge(REDUCTION, situation(book)) is None


def test_a_trade_that_the_position_does_not_show_refuses() -> None:
    book = book_of(MISSION)
    book.apply(Filled("o", 0, "1", -10, 6e4, 0.0, "USDT", False, 10, START), START)
    assert "does not add up yet" in refused(REDUCTION, situation(book)).reason


def test_on_one_instrument_one_order_at_a_time() -> None:
    refusal = refused(REDUCTION, situation(blotter=blotter(order("o1"))))
    assert (refusal.gate, refusal.reason, refusal.passing) == ("alone", "order o1 is still sent", True)


@pytest.mark.parametrize("trading", [False, None])
def test_what_the_venue_does_not_match_is_not_traded(trading: bool | None) -> None:
    s = situation()
    grid = instrument(0, trading=False) if trading is False else None
    s.book.rows[0].instrument = grid
    assert refused(REDUCTION, s).gate == "tradable"


def test_an_account_that_may_not_trade_sends_nothing() -> None:
    book = book_of(MISSION)
    book.apply(Mode(hedge=False, multi_asset=False, can_trade=False), START)
    assert "let the account trade" in refused(REDUCTION, situation(book)).reason


def test_an_account_of_which_the_venue_does_not_say_whether_it_may_trade_does() -> None:
    book = book_of(MISSION)
    book.apply(Mode(hedge=False, multi_asset=False, can_trade=None), START)
    assert judge(REDUCTION, situation(book)) is None


def test_an_unlisted_instrument_is_not_traded() -> None:
    book = book_of(MISSION)
    book.apply(Listed(instruments=(instrument(1, "ETHUSDT"), instrument(2, "SOLUSDT"))), START)
    assert refused(REDUCTION, situation(book)).gate == "tradable"


# Gates for what increases


def test_while_halted_nothing_increases_but_reductions_go_on() -> None:
    s = situation(halted="kill file")
    assert refused(INCREASE, s).reason == "kill file"
    assert judge(REDUCTION, s) is None


def test_nothing_increases_while_a_reduction_is_under_way() -> None:
    s = situation(blotter=blotter(order("o1", reduce=True)))
    assert refused(INCREASE, s).reason == "order o1 still reduces BTCUSDT"
    s.blotter.apply(Ended(order="o1", how="filled", filled_lots=0, at=START), START)
    assert judge(INCREASE, s) is None


def test_nothing_increases_anywhere_while_an_order_is_unknown() -> None:
    s = situation(blotter=blotter(order("o1")))
    assert judge(INCREASE, s) is None
    s.blotter.apply(Lost(order="o1", reason="timeout"), START)
    assert refused(INCREASE, s).reason == "order o1 on BTCUSDT is unknown; its fate comes first"


def test_an_increase_needs_every_held_price_fresh() -> None:
    s = situation(now=START + 6 * S)
    for index in (1, 2):
        s.book.rows[index].mark_seen = s.now
    assert refused(INCREASE, s).reason == "the mark price of BTCUSDT is too old to know the leverage"
    s.book.rows[0].mark_seen = None
    assert refused(INCREASE, s).gate == "all prices fresh"
    s.book.apply(Position(0, Side.NET, 0, None, START), START)
    s.book.disputed.clear()
    assert judge(INCREASE, s) is None


def test_an_increase_needs_a_recent_answer_about_all_positions() -> None:
    s = situation(limits=Limits(data_age_s=1e6), now=START + 15 * S)
    assert judge(INCREASE, s) is None
    s.now += S
    assert "is 16 s old" in refused(INCREASE, s).reason
    assert judge(REDUCTION, s) is None
    s.book.accounts[0].positions_at = None
    assert "never told" in refused(INCREASE, s).reason


def test_an_increase_needs_the_venues_clock_to_within_a_quarter_of_a_requests_life() -> None:
    s = situation()
    s.book.apply(Clock(offset_ns=0, error_ns=750 * MS), START)
    assert judge(INCREASE, s) is None
    s.book.apply(Clock(offset_ns=0, error_ns=751 * MS), START)
    assert refused(INCREASE, s).gate == "clock known"
    assert judge(REDUCTION, s) is None
    s.request_life_s = 5.0
    assert judge(INCREASE, s) is None


def test_a_position_that_the_file_does_not_name_blocks_increases_and_says_the_cure() -> None:
    s = situation()
    s.book.accounts[0].strangers = ("DOGEUSDT", "XRPUSDT")
    assert refused(INCREASE, s).reason == (
        'the account holds DOGEUSDT, XRPUSDT, which the file does not name: add it to [targets.weights], or as "hold"'
    )


def test_the_worst_case_counts_every_live_order_as_filled_on_its_side() -> None:
    s = situation(blotter=blotter(order("o1", lots=100), order("o2", lots=-1_000, instrument=1)))
    values = worst_notionals(leg(2, 10), s)
    assert values == pytest.approx([425 * 60, 2_000 * 3, 40 * 150])
    assert worst_notionals(leg(2, -90), s) == pytest.approx([425 * 60, 2_000 * 3, 60 * 150])


def test_leverage_after_the_leg_and_all_live_orders_must_be_within_the_limit() -> None:
    s = situation(limits=Limits(leverage=3.15))
    assert judge(INCREASE, s) is None
    s.blotter = blotter(order("o1", lots=2, instrument=2))
    assert "leverage could reach 3.17x; the limit is 3.15x" in refused(INCREASE, s).reason


@pytest.mark.parametrize("missing", ["mark", "instrument"])
def test_a_held_position_of_unknown_value_makes_leverage_unknown(missing: str) -> None:
    s = situation()
    setattr(s.book.rows[0], missing, None)
    s.book.rows[0].mark_seen = START
    assert refused(INCREASE, s).reason == "the value of a position is unknown"
    s.book.rows[0].holdings[Side.NET].lots = 0
    assert judge(INCREASE, s) is None


def test_one_instruments_share_is_limited_give_or_take_a_lot() -> None:
    s = situation(limits=Limits(asset_share=0.25))
    assert judge(leg(1, 501), s) is None
    assert "its share could reach 25.0% of target gross" in refused(leg(1, 502), s).reason


def test_where_no_exposure_is_wanted_nothing_adds_to_it() -> None:
    s = situation(targets=replace(SHARES, leverage=0.0))
    assert judge(INCREASE, s) is not None
    assert asset_limit(INCREASE, s) == "no exposure is wanted, and it would add to it"


@pytest.mark.parametrize("missing", ["mark", "positions"])
def test_without_a_value_to_compare_with_the_share_is_unknown(missing: str) -> None:
    s = situation()
    if missing == "mark":
        s.book.rows[1].mark = None
        s.book.rows[1].holdings.clear()
    if missing == "positions":
        s.book.rows[0].mark = None
        assert leverage_limit(INCREASE, s) == "the value of a position is unknown"
    assert asset_limit(INCREASE, s) == "the value of a position is unknown"


def test_without_the_margin_table_or_the_leverage_setting_nothing_increases() -> None:
    s = situation()
    s.book.rows[0].tiers = ()
    assert "BTCUSDT is not known yet" in refused(INCREASE, s).reason
    s = situation()
    s.book.rows[2].leverage = None
    assert "SOLUSDT is not known yet" in refused(INCREASE, s).reason


def test_above_the_tiers_of_its_leverage_setting_a_leg_is_refused_and_the_tier_is_named() -> None:
    s = situation()
    s.book.apply(Leverage(instrument=1, leverage=126), START)
    reason = "7,422 falls into the tier from 0 to 50,000, which allows 125x; its leverage setting is 126x"
    assert refused(INCREASE, s) == Refusal(gate="tier limit", instrument=1, reason=reason, passing=False)
    s.book.apply(Leverage(instrument=1, leverage=101), START)
    s.book.apply(Leverage(instrument=0, leverage=126), START)
    assert judge(INCREASE, s) is None, "what is held elsewhere does not grow by it"
    rich = situation(book_of({"BTCUSDT": 0.1, "ETHUSDT": 16.6, "SOLUSDT": 0.0}, equity=1e5))
    rich.book.apply(Leverage(instrument=1, leverage=101), START)
    assert judge(leg(1, 66), rich) is None
    assert refused(leg(1, 67), rich).gate == "tier limit"


def test_where_an_order_is_under_way_it_counts_toward_the_tier() -> None:
    from agent.core.risk import tier_limit

    s = situation(book_of({"BTCUSDT": 0.1, "ETHUSDT": 16.0, "SOLUSDT": 0.0}, equity=1e5))
    s.book.apply(Leverage(instrument=1, leverage=101), START)
    assert tier_limit(leg(1, 66), s) is None
    s.blotter = blotter(order("o1", instrument=1, lots=600), order("o2", instrument=1, lots=-9_000))
    assert "falls into the tier from 50,000 to 600,000" in (tier_limit(leg(1, 67), s) or "")


@pytest.mark.parametrize(("leverage", "gate"), [(3.0, None), (5.0, None), (8.0, None), (9.0, "liquidation limit")])
def test_liquidation_must_stay_at_its_distance(leverage: float, gate: str | None) -> None:
    book = book_of({"BTCUSDT": leverage / 6 - 0.01, "ETHUSDT": 0.0, "SOLUSDT": 0.0})
    refusal = judge(leg(0, 10), situation(book, replace(SHARES, leverage=20.0), limits=Limits(leverage=20)))
    assert (refusal and refusal.gate) == gate
    if refusal:
        assert refusal.reason == "liquidation could come within 10.7% of the present prices; the floor is 11.0%"


def test_liquidation_is_judged_on_the_worst_of_what_is_under_way() -> None:
    """All together they would leave room, but any part of them may be all that fills."""
    from agent.core.risk import liquidation_limit

    s = situation(book_of({"BTCUSDT": 0.8, "ETHUSDT": 0.0, "SOLUSDT": 0.0}), limits=Limits(leverage=20))
    assert liquidation_limit(leg(1, 10_000), s) is None
    s.blotter = blotter(order("o1", instrument=0, lots=300), order("o2", instrument=0, lots=-900))
    assert liquidation_limit(leg(1, 10_000), s) is not None


def with_isolated(wallet: float) -> Situation:
    """0.3 BTC with a wallet of their own."""
    book = book_of({"BTCUSDT": 0.3, "ETHUSDT": 2.0, "SOLUSDT": 30.0})
    book.apply(Position(0, Side.NET, 300, 60_000.0, START, isolated=wallet), START)
    return situation(book)


def test_an_isolated_position_grows_only_where_its_own_pool_stays_far_enough_from_liquidation() -> None:
    assert judge(leg(0, 10), with_isolated(3_000.0)) is None
    refusal = refused(leg(0, 10), with_isolated(900.0))
    assert refusal.gate == "liquidation limit"
    assert refusal.reason == "liquidation could come within 4.6% of the present prices; the floor is 11.0%"
    assert judge(leg(1, 10), with_isolated(900.0)) is None, "what is set aside is no concern of the others"


def test_what_is_set_aside_covers_no_margin_of_the_others() -> None:
    reason = refused(leg(1, 10), with_isolated(9_990.0)).reason
    assert reason == "initial margin could reach 105% of equity"
    kept = with_isolated(9_400.0)
    kept.limits = replace(kept.limits, maintenance=0.05)
    reason = refused(leg(1, 10), kept).reason
    assert reason == "maintenance margin could reach 7.0% of equity; the limit is 5.0%"


@given(
    st.tuples(st.integers(-900, 900), st.integers(-9_000, 9_000), st.integers(-150, 150)),
    st.lists(st.tuples(st.integers(0, 2), st.integers(-400, 400).filter(bool)), max_size=3),
    st.sampled_from([0.05, 0.11, 0.3]),
    st.booleans(),
)
def test_whatever_the_gates_let_pass_margin_holds_for_any_part_that_fills(
    lots: tuple[int, int, int], live: list[tuple[int, int]], floor: float, hedge: bool
) -> None:
    book = book_of({"BTCUSDT": lots[0] / 1000, "ETHUSDT": lots[1] / 1000, "SOLUSDT": lots[2]}, hedge=hedge)
    s = situation(book, limits=Limits(leverage=20, maintenance=0.02, liquidation_distance=floor))

    def side(size: int) -> Side:
        return Side.NET if not hedge else Side.LONG if size > 0 else Side.SHORT

    s.blotter = blotter(*(order(f"o{n}", instrument=i, lots=size, side=side(size)) for n, (i, size) in enumerate(live)))
    todo = plan_for(book, s.drift, s.limits, Costs(), guide=plain(s.drift, to_target=True), part=0.0, maker=False)
    trades = [((i, side(size)), size) for i, size in live]
    passed = [one for one in todo.legs if not one.reduce and sends(one, s)]
    if not passed:
        return
    trades += [((one.instrument, one.side), one.lots) for one in passed]
    for part in chain.from_iterable(combinations(trades, count) for count in range(len(trades) + 1)):
        changes: dict[tuple[int, Side], int] = {}
        for row, size in part:
            changes[row] = changes.get(row, 0) + size
        after = exposures(book.accounts[0], changes)
        assert after is not None
        away = joint(10_000.0, [[one] for one in after])
        assert away is None or away >= floor - 1e-9
        assert sum(one.maintenance for one in after) <= 0.02 * 10_000 + 1e-6
        assert sum(one.initial for one in after) <= 10_000 + 1e-6


def sends(one: Leg, s: Situation) -> bool:
    """Whether the gates let a leg pass; if so, it is under way from now on."""
    if judge(one, s) is not None:
        return False
    s.blotter.add(order(f"leg{one.instrument}", instrument=one.instrument, lots=one.lots, side=one.side), START)
    return True


def test_initial_margin_must_fit_into_equity() -> None:
    s = situation()
    for index in range(3):
        s.book.apply(Leverage(instrument=index, leverage=3), START)
    assert refused(INCREASE, s).reason == "initial margin could reach 105% of equity"


def test_maintenance_margin_is_limited_by_the_venues_own_table() -> None:
    s = situation(limits=Limits(maintenance=0.0125))
    assert "maintenance margin could reach 1.3% of equity" in refused(INCREASE, s).reason
    assert judge(INCREASE, situation(limits=Limits(maintenance=0.0126))) is None


def test_what_is_not_held_needs_no_margin_table() -> None:
    book = book_of({"BTCUSDT": 0.325, "ETHUSDT": 2.0, "SOLUSDT": 0.0})
    book.apply(Tiers(instrument=2, tiers=()), START)
    assert judge(INCREASE, situation(book)) is None


def test_a_days_turnover_is_limited() -> None:
    assert judge(INCREASE, situation(increased_today=98_578.0)) is None
    reason = refused(INCREASE, situation(increased_today=98_579.0)).reason
    assert reason == "increases of the last 24 h would reach 100,001; the limit is 100,000"


def test_orders_in_a_minute_are_limited_but_not_reductions() -> None:
    s = situation(sent_last_minute=60)
    assert "60 orders were sent" in refused(INCREASE, s).reason
    assert judge(REDUCTION, s) is None


@given(
    st.tuples(st.integers(-500, 500), st.integers(-9_000, 9_000), st.integers(-150, 150)),
    st.lists(st.tuples(st.integers(0, 2), st.integers(-400, 400).filter(bool)), max_size=3),
    st.sampled_from([1.0, 3.0, 5.0]),
)
def test_whatever_the_gates_let_pass_leverage_holds_even_if_everything_fills(
    lots: tuple[int, int, int], live: list[tuple[int, int]], limit: float
) -> None:
    book = book_of({"BTCUSDT": lots[0] / 1000, "ETHUSDT": lots[1] / 1000, "SOLUSDT": lots[2]})
    s = situation(book, limits=Limits(leverage=limit))
    s.blotter = blotter(*(order(f"o{n}", instrument=i, lots=size) for n, (i, size) in enumerate(live)))
    todo = plan_for(book, s.drift, s.limits, Costs(), guide=plain(s.drift, to_target=True), part=0.0, maker=False)
    for leg_ in todo.legs:
        if leg_.reduce or judge(leg_, s) is not None:
            continue
        weights = [abs(w) for w in s.drift.weights]
        after = [book.rows[i].lots + sum(size for j, size in live if i == j) for i in range(3)]
        after[leg_.instrument] += leg_.lots
        weights = [abs(n) * price / 10_000 for n, price in zip(after, (60.0, 3.0, 150.0), strict=True)]
        assert sum(weights) <= limit + 1e-9


def test_an_account_with_a_limit_of_its_own_is_kept_below_it() -> None:
    s = situation()
    s.book.accounts[0].most_leverage = 3.05
    refusal = refused(INCREASE, s)
    assert refusal.gate == "account leverage limit"
    assert refusal.reason == "leverage of its account could reach 3.14x; the limit there is 3.05x"
    assert judge(REDUCTION, s) is None
    s.book.accounts[0].most_leverage = 3.2
    assert judge(INCREASE, s) is None
