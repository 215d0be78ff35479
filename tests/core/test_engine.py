from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.correction import GIVE_UP_NS
from agent.core.decisions import Memory, Policy
from agent.core.drift import Bands
from agent.core.engine import Engine
from agent.core.events import (
    Accepted,
    Balance,
    Command,
    Denied,
    Down,
    Elsewhere,
    Ended,
    Fact,
    Fault,
    Filled,
    Flow,
    Leverage,
    Listed,
    Lost,
    Mark,
    OpenOrder,
    Orders,
    Position,
    Quote,
    Refused,
    Reserve,
    Side,
    Throttled,
    Unanswered,
    Unknown,
    Unset,
    Up,
    Warned,
)
from agent.core.guard import Seat
from agent.core.health import Health
from agent.core.orders import SETTLE_NS, Order, State, Style, order_id
from agent.core.planner import Execution, Limits, Plan
from agent.core.targets import Given, Strategy, Targets
from agent.core.triggers import Triggers
from agent.core.venue import Abilities, Ask, Cancel, Place, SetLeverage, What
from agent.core.view import look, safety
from tests.core.kit import MISSION, MS, START, THIRDS, S, Stage, instrument, order

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)
BALANCED = {"BTCUSDT": 0.25, "ETHUSDT": 3.0, "SOLUSDT": 40.0}
EDGE = Bands(destination="edge")
SINGLE = Targets(weights={"BTCUSDT": 1.0}, leverage=3.0)


def policy(**changes: Any) -> Policy:
    return Policy(**{"mode": "live", "targets": SHARES, **changes})


def stage(positions: dict[str, float] | None = None, *, made: Policy | None = None, **options: Any) -> Stage:
    return Stage(made or policy(), MISSION if positions is None else positions, **options).ready()


def first_order(on: Stage, seconds: float = 20) -> Order:
    """The first order of a correction, waited for."""
    until = on.now + round(seconds * S)
    while on.now < until:
        placed = on.wait(0.25)
        if placed:
            return placed[0]
    raise AssertionError(f"no order; {on.said()}")


def refuse(placed: Order, fault: Fault, code: str = "-1") -> Refused:
    return Refused(order=placed.id, code=code, reason="because", fault=fault)


# Becoming ready


def test_nothing_is_decided_until_everything_is_known() -> None:
    on = Stage(policy(), MISSION)
    on.mute = {What.POSITIONS}
    on.tell()
    on.tell(*on.marks(), Up(stream="market"), Up(stream="private"))
    assert on.wait(60) == []
    assert on.engine.state == "waiting for answers of the venue"
    assert on.engine.preview(on.now) is None
    on.mute = set()
    assert on.wait(40)


def test_a_symbol_that_the_venue_does_not_list_is_named() -> None:
    on = Stage(policy(), MISSION)
    on.instruments.pop()
    on.mute = {What.PRICES}
    on.tell()
    assert "the venue to list SOLUSDT" in on.engine.state


def test_without_a_stream_or_a_price_it_waits_and_says_for_what() -> None:
    on = Stage(policy(), MISSION)
    on.frozen = {2}
    on.tell()
    assert on.engine.state == "waiting for stream market, private"
    on.tell(Up(stream="market"), Up(stream="private"), *on.marks())
    assert on.engine.state == "waiting for a price of SOLUSDT"
    on.frozen = set()
    on.tell(*on.marks())
    assert on.engine.state == "holding"


def test_the_agent_never_trades_on_a_wallet_it_was_not_told() -> None:
    on = Stage(policy(), MISSION)
    on.ready()
    on.engine.book.accounts[0].wallets.clear()
    on.mute = {What.ACCOUNT}
    assert on.wait(20) == []
    assert on.engine.state.startswith("waiting for equity")


# The whole way


def test_a_confirmed_excursion_is_corrected_reductions_first_to_inside_the_band() -> None:
    on = stage(made=policy(bands=EDGE))
    done = on.carry_out(60)
    assert [(o.symbol, o.lots, o.reduce) for o in done] == [("BTCUSDT", -49, True), ("ETHUSDT", 475, False)]
    drift = on.engine.drift
    assert drift is not None
    assert 0.74 < drift.reach <= 0.75, "just inside, and no lot further"
    assert on.engine.state == "holding"
    assert on.engine.tally.turnover == pytest.approx(49 * 60 + 475 * 3)
    assert on.engine.tally.fills == 2
    assert "traded 4,365 in 2 orders; largest drift is now 5.2%, leverage 2.85x" in on.said("done")


def test_to_target_it_ends_on_target() -> None:
    on = stage(made=policy(bands=Bands(destination="target")))
    on.carry_out(60)
    assert on.weights() == pytest.approx([1.5, 0.9, 0.6])


def test_a_spike_shorter_than_the_confirmation_is_not_traded_on() -> None:
    on = stage(BALANCED)
    on.prices["BTCUSDT"] = 80_000.0
    assert on.wait(4.5) == []
    on.prices["BTCUSDT"] = 60_000.0
    assert on.wait(30) == []


def test_inside_its_band_it_holds_and_says_so_once_a_minute() -> None:
    on = stage(BALANCED)
    assert on.wait(181) == []
    assert on.said("hold") == ["inside the band: largest drift 0.0% (0% of its band)"] * 4


def test_after_a_correction_it_rests_for_the_cool_down() -> None:
    on = stage()
    on.carry_out(20)
    ended = on.now
    on.prices["BTCUSDT"] = 90_000.0
    again = first_order(on, 120)
    assert again.created_at - ended > 40 * S


def test_a_leg_is_sliced_to_the_largest_order_and_goes_on_until_done() -> None:
    on = stage(made=policy(limits=Limits(order_notional=1_000.0)))
    done = on.carry_out(60)
    sold = [o.lots for o in done if o.symbol == "BTCUSDT"]
    assert sold[:3] == [-16, -16, -16]
    assert min(sold) == -16
    drift = on.engine.drift
    assert drift is not None
    assert drift.reach <= 0.75


def test_a_flip_goes_through_nothing() -> None:
    on = stage({"BTCUSDT": 0.1}, made=policy(targets=Targets(weights={"BTCUSDT": -1.0}, leverage=1.0)))
    done = on.carry_out(60)
    assert [(o.lots, o.reduce) for o in done] == [(-100, True), (-158, False)]


def test_in_hedge_mode_the_rows_are_closed_and_opened_by_their_own_side() -> None:
    made = policy(targets=Targets(weights={"BTCUSDT": -1.0}, leverage=1.0))
    on = stage({"BTCUSDT": 0.1}, made=made, hedge=True)
    done = on.carry_out(60)
    assert [(o.side, o.lots, o.reduce) for o in done] == [(Side.LONG, -100, True), (Side.SHORT, -158, False)]


def test_a_single_instrument_is_kept_at_its_leverage_and_a_short_is_bought_back() -> None:
    on = stage({"BTCUSDT": -0.6}, made=policy(targets=Targets(weights={"BTCUSDT": -1.0}, leverage=3.0)))
    (bought,) = on.carry_out(60)
    assert bought.lots > 0
    assert bought.reduce
    drift = on.engine.drift
    assert drift is not None
    assert drift.reach < 1


# Reasons to begin


def test_the_schedule_corrects_what_is_beyond_the_landing_and_only_then() -> None:
    at = START + 30 * S
    on = stage({**BALANCED, "BTCUSDT": 0.282}, made=policy(bands=EDGE), schedule=lambda now: at if now < at else None)
    assert on.wait(25) == []
    (placed,) = on.carry_out(20)
    assert placed.created_at >= at
    assert "correcting: the schedule" in on.said("trigger")
    assert on.engine.reasons.schedule_at is None


def test_a_schedule_with_nothing_to_do_does_nothing() -> None:
    at = START + 30 * S
    on = stage(BALANCED, schedule=lambda now: at if now < at else None)
    assert on.carry_out(60) == []
    assert on.said("trigger") == on.said("done") == []
    assert on.said("hold")[1] == "the schedule; nothing is to be traded that is worth an order"


def test_a_schedule_during_a_correction_waits_for_its_end_and_finds_nothing_left() -> None:
    at = START + 10 * S
    on = stage(schedule=lambda now: at if now < at else None)
    resting = on.wait(15)
    assert on.engine.reasons.schedule_at == at
    for one in resting:
        resting += on.tell(*on.fill(one))
    on.carry_out(15)
    assert on.engine.reasons.schedule_at is None
    assert len(on.said("trigger")) == 1
    assert any(text.startswith("the schedule; nothing") for text in on.said("hold"))


def test_a_schedule_missed_while_not_ready_fires_once_afterwards() -> None:
    times = [START + 10 * S, START + 10_000 * S]
    on = stage(
        {**BALANCED, "BTCUSDT": 0.282},
        made=policy(bands=EDGE),
        schedule=lambda now: next((t for t in times if t > now), None),
    )
    on.tell(Down(stream="market", reason="closed"))
    on.wait(20)
    on.tell(Up(stream="market"))
    on.carry_out(10)
    assert on.said("trigger") == ["correcting: the schedule"]


def test_a_command_corrects_at_once_and_to_the_target_if_it_says_so() -> None:
    on = stage(BALANCED | {"BTCUSDT": 0.26})
    (placed,) = on.tell(Command("rebalance", "target"))
    assert placed.lots == -10


def test_over_the_leverage_limit_it_reduces_at_once_without_confirmation() -> None:
    on = stage(BALANCED)
    placed = on.tell(Balance("USDT", 5_500.0, on.now + 1))
    assert {o.reduce for o in placed} == {True}
    assert "leverage 5.45x is over the limit" in on.said("trigger")[0]
    on.wallet = 5_500.0
    for one in placed:
        on.tell(*on.fill(one))
    on.carry_out(20)
    drift = on.engine.drift
    assert drift is not None
    assert drift.leverage <= 5.0


def test_urgent_corrections_take_and_do_not_rest_in_the_book() -> None:
    on = stage(BALANCED, made=policy(execution=Execution(style="maker")))
    placed = on.tell(Balance("USDT", 5_500.0, on.now + 1))
    assert {o.style for o in placed} == {Style.IOC}


def gap() -> tuple[Stage, list[Fact], Fact, Fact]:
    """All prices have leapt down together: what is told of the two longs, and the mark and the quote of the short."""
    wanted = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": -0.2}, leverage=3.0)
    on = stage({"BTCUSDT": 0.35, "ETHUSDT": 3.0, "SOLUSDT": -80.0}, made=policy(targets=wanted, bands=EDGE))
    on.now += 100 * MS
    on.prices = {symbol: price * 0.89 for symbol, price in on.prices.items()}
    *others, late, quote = on.marks()
    return on, others, late, quote


def test_new_prices_beside_old_ones_of_the_same_gap_are_no_danger() -> None:
    on, others, late, quote = gap()
    assert on.tell(quote, *others) == []
    assert on.wake_at <= on.now + S, "it looks again in time"
    assert on.tell(late, after=0.3) == []
    drift = on.engine.drift
    assert drift is not None
    assert drift.leverage < 5.0
    assert on.said("trigger") == []


def test_a_danger_is_acted_on_once_every_price_held_is_as_new() -> None:
    on = stage(BALANCED)
    on.prices = {symbol: price * 0.8 for symbol, price in on.prices.items()}
    *others, late, quote = on.marks()
    assert on.tell(quote, *others, after=0.1) == []
    assert {o.reduce for o in on.tell(late, after=0.3)} == {True}


def test_an_order_is_not_sized_from_a_price_that_has_leapt_since() -> None:
    """Marks of one gap come one by one: a short's gain is told after the longs' loss, and its order waits for that."""
    on, others, late, quote = gap()
    on.tell(quote, *others)
    placed = on.tell(after=1.0)
    assert [text.endswith("is over the limit") for text in on.said("trigger")] == [True]
    assert any("SOLUSDT" not in o.symbol for o in placed)
    assert not any(o.symbol == "SOLUSDT" for o in placed), "its mark and its quote are too far apart"
    (short,) = on.tell(late, after=0.1)
    drift = on.engine.drift
    assert drift is not None
    assert drift.leverage < 5.0
    kept = 0.6 + 0.75 * 0.07 * 3.0
    assert (80 - short.lots) * on.prices["SOLUSDT"] / drift.equity == pytest.approx(kept, abs=0.02)


def test_an_urgent_correction_goes_on_until_it_is_done_and_is_not_begun_anew() -> None:
    on = stage(BALANCED)
    on.tell(Balance("USDT", 5_500.0, on.now + 1))
    on.wallet = 5_500.0
    on.wait(5)
    assert len(on.said("trigger")) == 1


def test_an_urgent_correction_replaces_one_that_is_under_way() -> None:
    on = stage()
    first_order(on)
    on.tell(Balance("USDT", 5_500.0, on.now + 1))
    assert on.engine.correction is not None
    assert not on.engine.correction.reason.urgent, "the order under way may be in the wallet already"
    on.tell(after=1.0)
    assert on.engine.correction.reason.urgent


def test_safety_uses_up_no_other_reason_that_comes_at_the_same_moment() -> None:
    at = START + 30 * S
    on = stage(BALANCED, schedule=lambda now: at if now < at else None)
    on.now = at
    on.wallet = 5_500.0
    placed = on.tell(Balance("USDT", 5_500.0, on.now))
    assert [text.endswith("is over the limit") for text in on.said("trigger")] == [True]
    assert on.engine.reasons.schedule_at == at
    for one in placed:
        on.tell(*on.fill(one))
    on.carry_out(100)
    assert on.engine.reasons.schedule_at is None


def test_what_leaves_its_band_in_a_blackout_is_corrected_at_its_end() -> None:
    end = START + 40 * S
    on = stage(blackout=lambda now: end if now < end else None)
    assert on.wait(38) == []
    assert first_order(on, 5).created_at >= end


HIGH = {"BTCUSDT": 0.58, "ETHUSDT": 7.0, "SOLUSDT": 93.0}
"""6.98 times an equity of 10,000: 13.9 % to liquidation."""


def in_danger(**options: Any) -> tuple[Stage, list[Order]]:
    """A portfolio at 7x whose equity has shrunk until liquidation is 9.7 % away: the orders of that moment."""
    made = policy(limits=Limits(leverage=20.0), targets=replace(SHARES, leverage=7.0), **options)
    on = stage(HIGH, made=made)
    assert on.said("trigger") == []
    on.wallet = 7_000.0
    return on, on.tell(Balance("USDT", 7_000.0, on.now + 1))


def joint_distance(on: Stage) -> float:
    return safety(on.engine).liquidation or 1.0


def test_near_liquidation_everything_is_reduced_at_once_in_proportion_to_the_exit_level() -> None:
    on, placed = in_danger()
    assert on.said("trigger") == ["correcting: liquidation is 9.7% away; the floor is 11.0%"]
    assert [(o.symbol, o.reduce, o.style) for o in placed] == [
        (symbol, True, Style.IOC) for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    ]
    parts = [abs(o.lots) / on.lots_of(o.symbol, HIGH[o.symbol]) for o in placed]
    assert parts == pytest.approx([parts[0]] * 3, abs=0.01)
    again = [new for one in placed for new in on.tell(*on.fill(one))]
    assert again == [], "what is under way is not reduced for twice"
    assert 0.132 <= joint_distance(on) < 0.134
    assert on.engine.correction is None
    assert "liquidation is 13.2% away" in on.said("done")[0]


def test_relief_that_fills_in_part_goes_on_until_the_exit_level_and_not_just_the_floor() -> None:
    on, placed = in_danger()
    again = []
    for one in placed:
        half = abs(one.lots) // 2
        again += on.tell(*on.accept(one), *on.trade(one, half), *on.finish(one, half, "expired"))
    assert 0.11 < joint_distance(on) < 0.132
    assert [abs(one.lots) for one in again] == [abs(one.lots) - abs(one.lots) // 2 for one in placed]
    for one in again:
        on.tell(*on.fill(one))
    assert 0.132 <= joint_distance(on) < 0.134
    assert len(on.said("trigger")) == 1


def test_where_one_instrument_does_not_trade_the_others_keep_to_their_part() -> None:
    on, (first, *others) = in_danger()
    on.tell(*on.finish(first, 0, "expired"))
    for one in others:
        assert on.tell(*on.fill(one)) == []
    assert joint_distance(on) < 0.132
    (again,) = on.wait(0.5)
    assert again.symbol == first.symbol
    assert first.lots <= again.lots <= first.lots + 4, "less by what the others were rounded by"
    on.tell(*on.fill(again))
    assert 0.132 <= joint_distance(on) < 0.134


def test_relief_replaces_what_is_under_way_and_leverage_does_not_replace_relief() -> None:
    on = stage(HIGH, made=policy(limits=Limits(leverage=8.0), targets=replace(SHARES, leverage=7.0)))
    on.tell(Balance("USDT", 8_600.0, on.now + 1))
    on.wallet = 7_000.0
    on.tell(Balance("USDT", 7_000.0, on.now + 2))
    on.wait(1)
    causes = on.said("trigger")
    assert causes == [
        "correcting: leverage 8.11x is over the limit",
        "correcting: liquidation is 9.7% away; the floor is 11.0%",
    ]


def test_too_much_maintenance_margin_is_brought_down_to_five_sixths_of_its_limit() -> None:
    on = stage(made=policy(limits=Limits(maintenance=0.0125)))
    on.wallet = 9_500.0
    placed = on.tell(Balance("USDT", 9_500.0, on.now + 1))
    assert on.said("trigger") == ["correcting: maintenance margin is 1.3% of equity; the limit is 1.2%"]
    for one in placed:
        on.tell(*on.fill(one))
    kept = safety(on.engine).maintenance
    assert kept == pytest.approx(0.0125 * 5 / 6, rel=0.01)
    assert kept is not None
    assert kept <= 0.0125 * 5 / 6


def test_a_preview_in_danger_is_that_of_the_relief() -> None:
    on, _ = in_danger(mode="observe")
    preview = on.engine.preview(on.now)
    assert preview is not None
    assert {leg.reduce for leg in preview[0].legs} == {True}
    assert len(preview[0].legs) == 3


def test_danger_that_cannot_be_cured_is_said_once_in_a_cool_down() -> None:
    made = policy(targets=Targets(weights={"BTCUSDT": 1.0, "SOLUSDT": "hold"}, leverage=1.0))
    on = stage({"BTCUSDT": 0.0, "SOLUSDT": 700.0}, made=made)
    on.wait(30)
    assert on.said("trigger") == ["correcting: liquidation is 9.1% away; the floor is 11.0%"]


def test_without_a_margin_table_nobody_knows_the_danger() -> None:
    on = stage(HIGH, made=policy(limits=Limits(leverage=20.0), targets=replace(SHARES, leverage=7.0)))
    on.engine.book.rows[0].tiers = ()
    assert on.tell(Balance("USDT", 7_000.0, on.now + 1)) == []
    assert on.said("trigger") == []


def test_total_drift_beyond_the_portfolios_band_is_a_reason_as_well() -> None:
    on = stage({"BTCUSDT": 0.28, "ETHUSDT": 2.4, "SOLUSDT": 40.0}, made=policy(bands=Bands(0.5, portfolio=0.05)))
    assert on.carry_out(30)
    drift = on.engine.drift
    assert drift is not None
    assert drift.total < 0.05


# How orders are sent


def test_an_order_is_limited_expires_and_has_an_id_of_this_epoch() -> None:
    placed = first_order(stage())
    assert placed.id == order_id("t", 1, 1)
    assert placed.ticks == 597_000  # half a percent below the bid of 59 999.9, rounded up
    assert placed.style is Style.IOC
    assert placed.expires_at - placed.created_at == 3 * S
    assert placed.value == pytest.approx(abs(placed.lots) * 60.0)


@pytest.mark.parametrize(
    ("lots", "bounds", "ticks"),
    [
        (-0.325, {"price_down": 0.999}, 599_400),
        (-0.325, {"price_down": 0.9}, 597_000),
        (-0.1, {"price_up": 1.0025}, 601_500),
        (-0.1, {"price_up": 1.1}, 603_001),
    ],
)
def test_an_order_is_priced_inside_the_venues_band_around_the_mark(
    lots: float, bounds: dict[str, Any], ticks: int
) -> None:
    sell = lots == -0.325
    on = Stage(policy(targets=SINGLE), {"BTCUSDT": 0.325 * 2 if sell else 0.1})
    on.instruments[0] = instrument(0, **bounds)
    on.ready()
    assert first_order(on).ticks == ticks


@pytest.mark.parametrize(("quotes", "ticks"), [(True, 600_001), (False, 600_000)])
def test_a_resting_order_joins_the_best_price_or_the_mark_where_no_quote_is_known(quotes: bool, ticks: int) -> None:
    on = stage(made=policy(execution=Execution(style="maker")), quotes=quotes)
    placed = first_order(on)
    assert (placed.style, placed.ticks) == (Style.POST, ticks)


def test_a_stale_quote_is_not_priced_from() -> None:
    on = stage(made=policy(execution=Execution(style="maker")))
    on.engine.book.apply(Quote(0, 59_000.0, 1.0, 59_001.0, 1.0, START), START - 100 * S)
    on.quotes = False
    assert first_order(on).ticks == 600_000


def test_what_is_left_of_a_resting_order_is_cancelled_and_then_taken() -> None:
    on = stage(made=policy(execution=Execution(style="maker", patience_s=3.0)))
    resting = first_order(on)
    on.tell(*on.accept(resting))
    on.wait(3.5)
    assert on.cancelled() == [resting.id]
    (taken,) = on.tell(*on.finish(resting, 0, "cancelled")) or on.wait(2)
    assert (taken.style, taken.lots) == (Style.IOC, -49)


def test_a_partial_fill_is_planned_anew_from_the_position_it_left() -> None:
    on = stage()
    placed = first_order(on)
    again = on.tell(*on.accept(placed), *on.trade(placed, 20), *on.finish(placed, 20, "expired"))
    assert [o.lots for o in again] == [-29]
    assert "sell 0.020 BTC of sell 0.049 BTC filled" in on.said("order")[1]


def test_the_next_order_waits_for_the_position_that_shows_the_last_fill() -> None:
    on = stage()
    placed = first_order(on)
    _, position, fill = on.trade(placed, 20)
    on.mute = {What.POSITIONS}
    assert on.tell(*on.accept(placed), fill, *on.finish(placed, 20, "expired")) == []
    assert on.wait(3) == []
    assert [o.lots for o in on.tell(position)] == [-29]


def test_two_trades_of_one_moment_wait_for_both_moves_of_the_position() -> None:
    on = stage({"BTCUSDT": 0.3}, made=policy(targets=SINGLE))
    placed = first_order(on)
    _, first, fill_1 = on.trade(placed, 50)
    _, second, fill_2 = on.trade(msgspec.structs.replace(placed, filled_lots=50), abs(placed.lots) - 50)
    on.mute = {What.POSITIONS}
    assert on.tell(*on.accept(placed), first, fill_1, fill_2, *on.finish(placed)) == []
    assert on.tell(second) == []
    assert on.said("done")


def test_a_stale_answer_about_positions_after_a_fill_does_not_send_the_order_again() -> None:
    on = stage({"BTCUSDT": 0.3}, made=policy(targets=SINGLE))
    placed = first_order(on)
    before = dict(on.held)
    *_, fill = on.trade(placed)
    after, on.held = on.held, before
    again = on.tell(*on.accept(placed), fill, *on.finish(placed))
    again += on.wait(5)
    on.held = after
    assert again + on.wait(20) == []
    assert on.engine.book.rows[0].lots == 474


def test_a_trade_told_after_a_stale_answer_that_was_asked_for_later_is_not_taken_to_be_in_it() -> None:
    on = stage({"BTCUSDT": 0.3}, made=policy(targets=SINGLE))
    placed = first_order(on)
    before = dict(on.held)
    _, position, fill = on.trade(placed)
    finish = on.finish(placed)
    after, on.held = on.held, before
    on.mute = {What.POSITIONS}
    again = on.tell(*finish)  # the reply; asks for the positions, which come from a cache before the stream tells
    on.now += 30 * MS
    again += on.tell(on.positions())
    again += on.tell(*on.accept(placed), position, fill, *finish)
    on.mute = set()
    again += on.wait(5)
    on.held = after
    assert again + on.wait(20) == []
    assert on.engine.book.rows[0].lots == 474


def test_with_the_stream_away_a_stale_answer_after_a_reply_does_not_send_the_order_again() -> None:
    on = stage({"BTCUSDT": 0.3}, made=policy(targets=SINGLE))
    placed = first_order(on)
    on.tell(Down(stream="private", reason="its key has expired"))
    before = dict(on.held)
    on.trade(placed)
    after, on.held = on.held, before
    again = on.tell(*on.accept(placed), *on.finish(placed))
    again += on.tell(Up(stream="private"), after=0.3)
    again += on.wait(4)
    on.held = after
    assert again + on.wait(40) == []
    assert on.engine.book.rows[0].lots == 474


def test_an_order_that_comes_to_nothing_is_tried_three_times_and_then_left() -> None:
    on = stage({"BTCUSDT": 0.6}, made=policy(targets=SINGLE))
    tried = []
    for _ in range(3):
        placed = first_order(on)
        tried.append(placed)
        on.tell(*on.accept(placed), *on.finish(placed, 0, "expired"))
    assert on.wait(30) == []
    assert any("3 orders in a row came to nothing" in text for text in on.said("done"))
    pauses = [b.created_at - a.created_at for a, b in pairwise(tried)]
    assert pauses[1] > pauses[0] >= 250 * MS
    assert first_order(on, 60).lots == tried[0].lots


def test_what_no_order_can_cure_is_said_once_with_the_equity_that_would() -> None:
    on = stage(
        {"BTCUSDT": 0.001, "ETHUSDT": 0.035, "SOLUSDT": 0.0},
        equity=200.0,
        made=policy(targets=Targets(dict(THIRDS), 1.0)),
    )
    on.carry_out(200)
    warned = [text for text in on.said("warning") if "equity it could be traded" in text]
    assert len(warned) == len(set(warned)) == 2
    assert len(on.said("hold")) >= 2


# Refusals of our own


def test_a_refused_leg_says_why_once_and_the_correction_gives_up_in_the_end() -> None:
    on = stage({"BTCUSDT": 0.1, "ETHUSDT": 3.0, "SOLUSDT": 40.0})
    on.tell(Command("halt"))
    assert on.wait(GIVE_UP_NS / S + 10) == []
    assert on.said("refusal") == ["not halted: by command"]
    assert "gave up: 60 s without progress; trying again after the cool-down" in on.said("done")


def test_a_refusal_that_only_means_waiting_is_said_when_the_wait_gets_long() -> None:
    on = stage()
    placed = first_order(on)
    *_, fill = on.trade(placed, 20)
    on.held[0, Side.NET] = (325, 60_000.0)
    on.mute = {What.POSITIONS}
    on.tell(*on.accept(placed), fill, *on.finish(placed, 20, "expired"))
    on.wait(4)
    assert on.said("refusal") == []
    on.wait(4)
    assert len(on.said("refusal")) == 1


def test_only_so_much_is_added_in_a_day_and_one_day_later_again() -> None:
    on = stage({"BTCUSDT": 0.1, "ETHUSDT": 3.0, "SOLUSDT": 40.0}, made=policy(limits=Limits(turnover_per_day=0.1)))
    (bought,) = on.carry_out(30)
    assert (bought.symbol, bought.lots) == ("BTCUSDT", 16), "960 of the 1,000 that a day allows; two lots are the least"
    assert any(text.endswith("and the limits allow no more") for text in on.said("warning"))
    assert on.carry_out(200) == []
    assert on.said("refusal") == [], "the plan knows the limit, so no gate has to"
    assert on.engine.tally.increased_today((), on.now) == pytest.approx(960.0)
    on.hush()
    on.leap(24 * 3600 * S)
    (again,) = [request.order for request in on.requests if isinstance(request, Place)]
    assert again.lots == 16


def test_what_has_grown_too_large_is_reduced_however_much_was_traded_that_day() -> None:
    on = stage({"BTCUSDT": 0.6}, made=policy(targets=SINGLE, limits=Limits(turnover_per_day=0.001)))
    (sold,) = on.carry_out(60)
    assert sold.lots == -74


@pytest.mark.parametrize(
    ("command", "state"),
    [
        (Command("halt"), "by command"),
        (Command("halt", "fire"), "fire"),
        (Command("kill", "KILL exists"), "KILL exists"),
    ],
)
def test_halted_it_reduces_but_does_not_increase(command: Command, state: str) -> None:
    on = stage()
    on.tell(command)
    assert on.engine.posture == f"halted: {state}"
    assert [o.reduce for o in on.carry_out(60)] == [True]
    assert any(text.startswith("not halted") for text in on.said("refusal"))


def test_a_person_lifts_a_halt_and_the_file_its_own() -> None:
    on = stage()
    on.tell(Command("halt", "x"), Command("halt", "x"), Command("kill", "file"))
    assert len(on.said("halt")) == 1
    on.tell(Command("resume"))
    assert on.engine.posture == "halted: file"
    on.tell(Command("unkill"))
    assert on.engine.posture == "holding"


def test_what_a_person_has_seen_to_is_asked_about_before_anything_increases() -> None:
    on = stage()
    on.tell(Command("halt", "so"))
    on.mute = {What.OWNER}
    on.tell(Command("resume"))
    assert on.wait(20) == []
    on.mute = set()
    assert on.wait(20)


def test_an_agent_whose_key_is_unfit_is_not_resumed() -> None:
    on = stage()
    on.owner = "another"
    on.tell(Command("resync"))
    assert on.engine.guards[0].halts.halted is not None
    on.tell(Command("resume"))
    assert on.engine.guards[0].halts.halted is not None
    assert on.said("warning")[-1].startswith("not resumed: the key belongs to account another")


def test_paused_it_does_nothing() -> None:
    on = stage()
    on.tell(Command("pause"))
    assert on.wait(60) == []
    assert on.engine.state == "paused"


def test_an_unknown_command_is_said_to_be() -> None:
    on = stage()
    on.tell(Command("dance"))
    assert on.said("warning") == ["there is no command dance"]


def test_resync_asks_for_everything_anew_and_decides_nothing_until_it_has_come() -> None:
    on = stage(BALANCED)
    on.hush()
    on.mute = set(What)
    on.tell(Command("resync"))
    asked = {request.what for request in on.requests if isinstance(request, Ask)}
    assert asked == {What.TIME, What.MODE, What.ACCOUNT, What.POSITIONS, What.ORDERS, What.OWNER}
    assert on.engine.state == "waiting for answers of the venue"


def test_stopping_it_cancels_what_rests_and_starts_nothing() -> None:
    on = stage(made=policy(execution=Execution(style="maker")))
    resting = first_order(on)
    on.tell(*on.accept(resting))
    on.hush()
    on.tell(Command("stop"))
    assert on.cancelled() == [resting.id]
    assert on.engine.state == "stopping"
    on.tell(Down(stream="market", reason="we closed it"), *on.finish(resting, 0, "cancelled"))
    assert not [text for text in on.said("state") if "is down" in text]
    assert on.wait(10) == []


def test_in_observe_mode_it_says_what_it_would_do_and_sends_nothing() -> None:
    on = stage(made=policy(mode="observe", bands=EDGE))
    assert on.wait(30) == []
    (said,) = on.said("plan")
    assert said.startswith("sell 0.049 BTC (2,940), buy 0.475 ETH (1,425); cost about 2.19, benefit 11.62 in 7 days")
    assert said.endswith("nothing is sent in observe mode")


def test_a_preview_shows_the_plan_and_the_verdicts_without_doing_anything() -> None:
    on = stage(made=policy(bands=EDGE))
    on.tell(Command("halt"))
    preview = on.engine.preview(on.now)
    assert preview is not None
    todo, verdicts = preview
    assert [leg.lots for leg in todo.legs] == [-49, 475]
    assert [(index, refusal.gate) for index, refusal in verdicts.items()] == [(1, "not halted")]
    to_target = on.engine.preview(on.now, to_target=True)
    assert to_target is not None
    assert [leg.lots for leg in to_target[0].legs] == [-75, 1000, 10]
    assert not on.engine.blotter.orders


# What the venue does


def test_a_lost_reply_is_asked_about_not_sent_again_and_planned_anew_when_proven_absent() -> None:
    on = stage()
    placed = first_order(on)
    on.hush()
    assert on.tell(Lost(order=placed.id, reason="timeout")) == []
    assert on.asked(What.ORDER) == [Ask(What.ORDER, instrument=0, order=placed.id)]
    while on.state(placed) is State.UNKNOWN:
        again = on.wait(1) or on.tell(*on.deny(placed))
        assert on.now < placed.expires_at + 20 * S
    assert on.now >= placed.expires_at + 12 * S
    assert [o.lots for o in again or on.wait(2)] == [-49]
    assert (again or [on.engine.blotter.live()[0]])[0].id != placed.id


def test_a_lost_reply_that_was_executed_is_not_executed_again() -> None:
    on = stage(made=policy(bands=EDGE))
    placed = first_order(on)
    facts = on.fill(placed)
    on.tell(Lost(order=placed.id, reason="timeout"))
    following = on.tell(*facts, after=1) or on.wait(2)
    assert [o.symbol for o in following] == ["ETHUSDT"]


def test_a_refusal_that_comes_late_for_a_lost_order_changes_nothing() -> None:
    on = stage()
    placed = first_order(on)
    on.tell(Lost(order=placed.id, reason="timeout"))
    on.tell(refuse(placed, Fault.OTHER))
    assert on.state(placed) is State.UNKNOWN
    assert on.said("refusal") == []


def test_a_fill_told_twice_is_counted_once_and_one_after_the_correction_is_still_counted() -> None:
    on = stage()
    placed = first_order(on)
    told = on.fill(placed)
    on.tell(*told, *told)
    assert on.engine.tally.fills == 1
    on.tell(Command("pause"))
    late = Filled(placed.id, 0, "late", -1, 60_000.0, 0.0, "USDT", False, 50, on.now)
    on.tell(late)
    assert on.engine.tally.fills == 2
    assert on.engine.tally.turnover == pytest.approx(50 * 60)


def test_words_about_a_finished_order_or_a_strangers_change_nothing() -> None:
    on = stage()
    placed = first_order(on)
    on.tell(*on.fill(placed))
    fills = on.engine.tally.fills
    on.tell(Lost(order=placed.id, reason="late"), Accepted("web_1", "v", 0, on.now), *on.fill(placed)[:1])
    assert not [text for text in on.said("warning") if "may or may not exist" in text]
    assert on.engine.tally.fills == fills


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        (Fault.RULE, {What.INSTRUMENTS}),
        (Fault.CLOSED, {What.INSTRUMENTS}),
        (Fault.MARGIN, {What.ACCOUNT, What.LEVERAGE, What.POSITIONS}),
        (Fault.REDUCE, {What.POSITIONS, What.ORDERS}),
        (Fault.CLOCK, {What.TIME}),
        (Fault.PRICE, set()),
    ],
)
def test_a_refusal_asks_for_what_it_shows_to_be_stale(fault: Fault, asked: set[What]) -> None:
    on = stage()
    placed = first_order(on)
    on.hush()
    on.tell(refuse(placed, fault))
    assert {request.what for request in on.requests if isinstance(request, Ask)} == asked
    assert "the venue refused order" in on.said("refusal")[0]
    assert on.engine.tally.refused == 1


def test_trouble_with_the_account_halts_until_a_person_says_resume() -> None:
    on = stage()
    on.tell(refuse(first_order(on), Fault.ACCOUNT))
    assert on.engine.posture.startswith("halted: the venue refuses our orders")
    on.tell(Denied(reason="key expired"))
    assert on.engine.guards[0].halts.halted == "the venue rejects the key or account: key expired"


def test_a_trade_that_is_not_ours_is_told_and_its_position_waited_for() -> None:
    on = stage(BALANCED)
    on.hush()
    foreign = Filled("web_1", 0, "f1", 100, 60_000.0, 0.0, "USDT", False, 100, on.now)
    on.mute = {What.POSITIONS}
    on.tell(foreign)
    assert on.said("external") == ["a trade that is not ours: +100 lots at 60000 (web_1)"]
    on.wait(3)
    assert on.asked(What.POSITIONS)
    on.held[0, Side.NET] = (350, 60_000.0)
    on.tell(on.position(0))
    placed = first_order(on)
    assert placed.lots == -74
    assert not on.engine.book.disputed


def test_an_order_of_ours_that_rests_without_being_on_record_is_cancelled_and_a_strangers_is_not() -> None:
    on = stage(BALANCED)
    on.hush()
    ours = order_id("t", 0, 3)
    rows = [
        OpenOrder(ours, "v1", 0, 10, 0),
        OpenOrder("web_1", "v2", 0, 10, 0),
        OpenOrder(order_id("t", 0, 4), "v3", None, 1, 0),
    ]
    on.tell(Orders(rows=tuple(rows), asked_at=on.now))
    assert on.cancelled() == [ours]
    assert on.said("warning")[0] == f"order {ours} rests but is on no record, of epoch 0; cancelling it"


def test_what_the_venue_tells_people_is_passed_on() -> None:
    on = stage(BALANCED)
    on.hush()
    on.tell(
        Throttled(until=on.now, banned=False, reason="429"),
        Throttled(until=on.now, banned=True, reason="418"),
        Warned(what="margin call", at=on.now),
        Flow(asset="USDT", amount=-12.5, kind="funding", at=on.now),
        Down(stream="market", reason="1006"),
    )
    assert [(note.kind, note.text) for note in on.notes if "waiting" not in note.text] == [
        ("warning", "throttled by the venue: 429"),
        ("warning", "banned by the venue: 418"),
        ("warning", "the venue warns: margin call"),
        ("state", "funding -12.50 USDT"),
        ("state", "stream market is down: 1006"),
    ]


@pytest.mark.parametrize("private", [True, False])
def test_an_unreadable_word_about_the_account_asks_for_everything_anew(private: bool) -> None:
    on = stage(BALANCED)
    on.hush()
    on.tell(Unknown(stream="private", what="NEW_EVENT", excerpt="{}", private=private))
    assert bool(on.asked(What.POSITIONS)) == private


def test_after_a_reconnection_nothing_increases_until_the_account_was_told_anew() -> None:
    on = stage()
    on.mute = {What.POSITIONS}
    on.tell(Down(stream="private", reason="1006"), Up(stream="private"))
    assert on.wait(30) == []
    on.mute = set()
    assert on.wait(20)


def test_an_instrument_that_is_delisted_meanwhile_is_not_traded() -> None:
    on = stage()
    on.tell(Listed(instruments=tuple(on.instruments[1:])))
    assert not [o for o in on.wait(60) if o.symbol == "BTCUSDT"]
    assert any("the venue takes no orders for it now" in text for text in on.said("refusal"))


@pytest.mark.parametrize("equity", [0.0, -100.0])
def test_without_equity_nothing_is_sent(equity: float) -> None:
    on = stage()
    on.wallet = equity
    on.tell(Balance("USDT", equity, on.now + 1))
    assert on.wait(30) == []


def test_a_deposit_leads_to_a_correction_and_not_to_two() -> None:
    on = stage(BALANCED)
    on.wallet = 15_000.0
    on.tell(Balance("USDT", 15_000.0, on.now + 1))
    done = on.carry_out(200)
    assert {o.symbol for o in done} == set(BALANCED)
    assert len(done) == 3
    assert len(on.said("trigger")) == 1


# An earlier life


def test_an_order_of_an_earlier_life_without_an_end_is_asked_about_before_anything_else() -> None:
    name = order_id("t", 0, 5)
    on = Stage(policy(), MISSION, resume=[order(name, created_at=START - 60 * S, instrument=9)])
    on.ready()
    assert on.asked(What.ORDER)[0] == Ask(What.ORDER, instrument=0, order=name)
    assert on.engine.blotter.orders[name].state is State.UNKNOWN
    assert on.wait(20) == []
    on.tell(Ended(order=name, how="expired", filled_lots=0, at=on.now))
    assert on.wait(5)


def test_an_order_of_an_earlier_life_that_still_rests_is_cancelled() -> None:
    name = order_id("t", 0, 5)
    resting = order(name, created_at=START - 60 * S, style=Style.POST)
    on = Stage(policy(execution=Execution(patience_s=5.0)), MISSION, resume=[resting]).ready()
    on.requests.clear()
    on.tell(Accepted(order=name, venue_order="v1", filled_lots=0, at=on.now))
    assert [request.order for request in on.requests if isinstance(request, Cancel)] == [name]


def test_finished_orders_of_an_earlier_life_are_not_taken_over() -> None:
    done = order(state=State.DONE, filled_lots=5, ended="filled", reduce=True)
    on = Stage(policy(), MISSION, resume=[done, order("o2", state=State.DONE)])
    assert on.engine.blotter.orders == {}
    assert on.ready().carry_out(30)


# Promises


def test_a_wake_up_always_comes_and_it_never_spins() -> None:
    on = Stage(policy(), MISSION)
    on.mute = set(What)
    on.tell()
    on.wait(60)
    assert on.steps < 300
    on.mute = set()
    on.wait(30)
    on.tell(*on.marks(), Up(stream="market"), Up(stream="private"))
    before = on.steps
    on.carry_out(60)
    assert on.steps - before < 1_000


def test_before_the_grids_are_known_a_fill_counts_with_what_its_order_was_worth() -> None:
    engine = Engine(
        policy(), epoch=1, seats=(Seat("t", Abilities(frozenset(What), ())),), schedule=lambda now: None,
        resume=[order("o1", lots=-5)],
    )  # fmt: skip
    decision = engine.step([Filled("o1", 0, "1", -5, 6e4, 0.1, "USDT", False, 5, START)], START)
    assert engine.tally.turnover == 60_000.0
    assert "sell 5 lots of BTCUSDT at 60000" in [note.text for note in decision.notes]


def test_quotes_alone_decide_nothing_until_something_is_due() -> None:
    on = stage(BALANCED)
    quote = Quote(0, 59_999.0, 1.0, 60_001.0, 1.0, on.now)
    due = on.engine.step([quote], on.now).wake_at
    assert due > on.now
    before = on.engine.drift
    decision = on.engine.step([quote], due - 1)
    assert (decision.requests, decision.notes, decision.wake_at) == ((), (), due)
    assert on.engine.drift is before
    assert on.engine.step([quote], due).wake_at > due


def test_every_decision_is_numbered_and_holds_the_orders_that_changed() -> None:
    on = stage()
    placed = first_order(on)
    decision = next(d for d in on.decisions if any(isinstance(r, Place) for r in d.requests))
    assert [o.id for o in decision.orders] == [placed.id]
    assert [d.seq for d in on.decisions] == list(range(1, len(on.decisions) + 1))


def run_script(seed_facts: list[tuple[int, int]]) -> tuple[bytes, Stage]:
    """A run in which each pair moves a price or the fate of an order, the same for the same pairs."""
    on = stage(made=policy(triggers=Triggers(confirm_s=1.0, cool_down_s=2.0)))
    open_orders: list[Order] = []
    for what, amount in seed_facts:
        open_orders += on.wait(0.5)
        facts: list[Fact] = []
        if what == 0:
            on.prices["BTCUSDT"] *= 1 + amount / 400
            facts = on.marks()
        elif open_orders:
            one = open_orders.pop(0)
            match what:
                case 1:
                    facts = on.fill(one)
                case 2:
                    part = min(amount % 7 + 1, abs(one.lots))
                    facts = [*on.accept(one), *on.trade(one, part), *on.finish(one, part, "expired")]
                case 3:
                    facts = [refuse(one, Fault.PRICE)]
                case 4:
                    told = on.fill(one)
                    on.tell(Lost(order=one.id, reason="reset"))
                    facts = told[::-1]
                case _:
                    facts = [*on.accept(one), *on.finish(one, 0, "expired")]
        open_orders += on.tell(*facts)
    while open_orders:
        open_orders += on.tell(*on.fill(open_orders.pop(0)))
    return msgspec.json.encode(on.decisions), on


SCRIPTS = st.lists(st.tuples(st.integers(0, 5), st.integers(-20, 20)), max_size=25)


@settings(max_examples=25)
@given(SCRIPTS)
def test_the_same_facts_at_the_same_times_give_the_same_bytes(script: list[tuple[int, int]]) -> None:
    assert run_script(script)[0] == run_script(script)[0]


@settings(max_examples=40)
@given(SCRIPTS)
def test_whatever_happens_each_order_is_sent_once_and_in_the_end_the_drift_is_inside_its_band(
    script: list[tuple[int, int]],
) -> None:
    on = run_script(script)[1]
    on.carry_out(90)
    placed = [request.order.id for request in on.requests if isinstance(request, Place)]
    assert len(placed) == len(set(placed))
    held = {key: lots for key, (lots, _) in on.held.items()}
    assert {(i, side): h.lots for i, row in enumerate(on.engine.book.rows) for side, h in row.holdings.items()} == held
    drift = on.engine.drift
    assert drift is not None
    assert not on.engine.blotter.live()
    assert drift.reach <= 1 + 1e-9


def test_an_excursion_that_began_while_paused_is_corrected_after_the_pause() -> None:
    on = stage()
    on.tell(Command("pause"))
    on.wait(20)
    on.tell(Command("resume"))
    assert on.wait(120)


def test_a_correction_interrupted_by_a_pause_is_taken_up_after_it() -> None:
    on = stage(made=policy(bands=EDGE))
    (second,) = on.tell(*on.fill(first_order(on)))
    on.tell(Command("pause"))
    on.tell(Ended(second.id, "expired", 0, on.now))
    on.wait(5)
    on.tell(Command("resume"))
    assert on.wait(120)


def test_paused_past_its_schedule_it_does_not_spin() -> None:
    at = START + 10 * S
    on = stage(BALANCED, schedule=lambda now: at if now < at else None)
    on.tell(Command("pause"))
    on.wait(15)
    before = on.steps
    on.wait(1)
    assert on.steps - before < 20


def test_with_a_stream_down_during_an_excursion_it_does_not_spin() -> None:
    on = stage()
    on.wait(2)
    on.tell(Down(stream="market", reason="1006"))
    on.wait(10)
    before = on.steps
    on.wait(1)
    assert on.steps - before < 20


def test_leverage_that_cannot_be_cured_is_said_once_and_not_at_every_price() -> None:
    made = policy(targets=Targets(weights={"BTCUSDT": 1.0, "SOLUSDT": "hold"}, leverage=1.0))
    on = stage({"BTCUSDT": 0.0, "SOLUSDT": 400.0}, made=made)
    on.wait(30)
    assert len(on.said("trigger")) == 1


def test_over_the_leverage_limit_what_is_under_way_elsewhere_is_not_reduced_for_twice() -> None:
    on = stage(BALANCED, made=policy(limits=Limits(leverage=2.0)))
    first, *others = [request.order for request in on.requests if isinstance(request, Place)]
    assert len(others) == 2
    again = on.tell(*on.fill(first))
    for one in others:
        again += on.tell(*on.fill(one))
    assert again == []


def test_in_observe_mode_leverage_over_its_limit_is_said_once_in_a_cool_down() -> None:
    on = stage(made=policy(mode="observe", limits=Limits(leverage=2.5)))
    on.wait(30)
    assert len(on.said("trigger")) == 1


def test_a_danger_that_nothing_was_done_about_is_looked_at_after_a_minute_whatever_the_cool_down() -> None:
    on = stage(made=policy(mode="observe", limits=Limits(leverage=2.5), triggers=Triggers(cool_down_s=3600)))
    on.wait(70)
    assert len(on.said("trigger")) == 2


def test_while_it_waits_for_equity_it_says_so_once() -> None:
    on = stage()
    on.wallet = -1.0
    on.tell(Balance("USDT", -1.0, on.now + 1))
    on.hush()
    on.wait(10)
    assert on.said("state") == []


def test_a_kill_without_a_reason_is_a_kill() -> None:
    on = stage()
    on.tell(Command("kill"))
    assert on.engine.posture.startswith("halted")


def test_increases_of_an_earlier_life_count_with_their_value() -> None:
    done = order(state=State.DONE, lots=50, filled_lots=50, ended="filled", created_at=START - S)
    on = Stage(policy(bands=EDGE), MISSION, resume=[done]).ready()
    assert [o.symbol for o in on.carry_out(30)] == ["BTCUSDT", "ETHUSDT"]


def test_an_unfinished_order_on_a_symbol_that_the_file_no_longer_names_holds_up_no_longer_than_it_can_be_accepted() -> (
    None
):
    on = Stage(policy(), MISSION, resume=[order(symbol="XRPUSDT", instrument=7)]).ready()
    assert any("start once with --resolve o1" in text for text in on.said("warning"))
    assert on.wait(14) == [], "its request may still be accepted"
    assert on.wait(10)
    assert look(on.engine, on.now).unresolved == 1


def test_a_small_position_that_the_first_answers_leave_out_is_not_bought_again() -> None:
    made = policy(targets=Targets({"BTCUSDT": 0.97, "SOLUSDT": 0.03}, 1.0), bands=Bands(tolerance=0.02))
    on = Stage(made, {"BTCUSDT": 0.162, "SOLUSDT": 2.0})
    on.reserves = (Reserve(0, Side.NET, 39.0), Reserve(1, Side.NET, 1.2))
    on.left_out = {1}
    on.ready()
    assert on.wait(60) == []
    assert "the account lists a position on SOLUSDT that no answer about positions shows" in on.said("refusal")[0]
    assert min(len(on.asked(what)) for what in (What.POSITIONS, What.ACCOUNT)) > 30, "until the two agree"
    on.left_out.clear()
    on.wait(60)
    assert on.engine.book.rows[1].lots == 2
    assert on.engine.book.accounts[0].left_out == ()


def test_a_person_resolves_an_order_on_a_symbol_that_the_file_no_longer_names_once_and_for_all() -> None:
    lost = order(symbol="XRPUSDT", instrument=7)
    on = Stage(policy(), MISSION, resume=[lost]).ready()
    on.tell(Command("resolve", "o1"))
    ended = [one for decision in on.decisions for one in decision.orders if one.id == "o1"]
    assert ended == [replace(lost, state=State.DONE, ended="resolved by a person")], "for the journal, so told once"
    assert look(on.engine, on.now).unresolved == 0
    on.tell(Command("resolve", "o1"))
    assert on.said("warning")[-1] == "no order o1 is of unknown fate"


def test_with_leverage_off_a_correction_keeps_the_leverage_it_began_with() -> None:
    made = policy(
        targets=Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}, leverage_mode="off"),
        bands=Bands(destination="target"),
    )
    on = stage({"BTCUSDT": 0.216, "ETHUSDT": 2.348}, made=made)
    assert on.weights() == pytest.approx([1.296, 0.7044])
    on.carry_out(60)
    assert on.weights() == pytest.approx([1.0, 1.0], abs=0.01)


def test_paused_it_does_not_trade_on_a_command_either() -> None:
    on = stage()
    on.tell(Command("pause"))
    assert on.tell(Command("rebalance")) == []


def test_an_instrument_that_cannot_be_reduced_does_not_hold_up_the_others_for_ever() -> None:
    on = Stage(policy(), {"BTCUSDT": 0.325, "ETHUSDT": 1.0, "SOLUSDT": 30.0})
    on.instruments[0] = instrument(0, trading=False)
    on.ready()
    assert [o.symbol for o in on.carry_out(120)]


def test_with_our_clock_behind_the_venues_an_order_is_not_denied_before_its_request_is_dead() -> None:
    on = stage(offset_ns=20 * S)
    placed = first_order(on)
    on.tell(Lost(order=placed.id, reason="timeout"))
    on.tell(*on.deny(placed), after=0.1)
    on.tell(*on.deny(placed), after=1.1)
    assert on.state(placed) is State.UNKNOWN


def test_with_our_clock_ahead_of_the_venues_an_order_is_denied_as_soon_as_ever() -> None:
    on = stage(offset_ns=-20 * S)
    placed = first_order(on)
    on.tell(Lost(order=placed.id, reason="timeout"))
    on.wait((placed.expires_at + SETTLE_NS - on.now) / S)
    on.tell(*on.deny(placed))
    on.tell(*on.deny(placed), after=1.1)
    assert on.state(placed) is State.DONE


def test_an_order_taken_for_never_placed_that_rests_after_all_is_cancelled() -> None:
    on = stage(made=policy(execution=Execution(style="maker")))
    placed = first_order(on)
    on.tell(Lost(order=placed.id, reason="timeout"))
    while on.state(placed) is State.UNKNOWN:
        on.wait(1)
        on.tell(*on.deny(placed))
    on.hush()
    on.tell(Orders(rows=(OpenOrder(placed.id, "v1", 0, placed.lots, 0),), asked_at=on.now))
    assert placed.id in on.cancelled()


def test_a_mark_that_is_no_number_neither_crashes_nor_trades() -> None:
    on = stage(BALANCED)
    on.tell(Mark(0, float("nan"), None, on.now + 1), Position(0, Side.NET, 250, 60_000.0, on.now + 1))
    assert on.engine.step([Mark(0, 0.0, 0.0, on.now + 2)], on.now).requests == ()
    assert not [request for request in on.requests if isinstance(request, Place | Cancel)]


# Leverage settings


def under_way(**options: Any) -> Stage:
    """A venue that is slow to change the settings that the file wants at 10x."""
    on = Stage(policy(bands=EDGE, execution=Execution(leverage=10)), MISSION, **options)
    on.deaf = True
    on.ready()
    on.tell(*on.marks(), after=0.1)
    return on


def asked_settings(on: Stage) -> list[SetLeverage]:
    return [request for request in on.requests if isinstance(request, SetLeverage)]


def test_while_a_leverage_setting_is_under_way_nothing_increases() -> None:
    on = under_way()
    assert asked_settings(on) == [SetLeverage(instrument=0, leverage=10)]
    assert "changing the leverage setting from 20x to 10x" in on.said("state")
    sale = first_order(on)
    assert sale.reduce
    assert on.tell(*on.fill(sale)) == []
    assert on.wait(5) == [], "the purchase waits"
    on.deaf = False
    assert on.tell(Leverage(instrument=0, leverage=10)), "the others are changed at once, then it buys"
    assert asked_settings(on)[1:] == [SetLeverage(instrument=1, leverage=10), SetLeverage(instrument=2, leverage=10)]


def test_a_setting_that_the_venue_refuses_is_said_and_asked_for_anew() -> None:
    on = under_way()
    on.hush()
    on.tell(Unset(instrument=0, leverage=10, reason="too much margin"))
    (note,) = [note for note in on.notes if note.kind == "warning"]
    assert (note.text, note.symbol) == ("the leverage setting can't be changed to 10x: too much margin", "BTCUSDT")
    assert on.asked(What.LEVERAGE), "what it is now must be known"
    assert [change.instrument for change in asked_settings(on)] == [1], "and the next one's turn comes"


def test_a_change_of_a_setting_without_an_answer_is_looked_up() -> None:
    on = under_way()
    on.hush()
    on.tell(Unanswered(what="mode", reason="time-out"))
    assert not on.asked(What.LEVERAGE)
    on.tell(Unanswered(what="leverage BTCUSDT", reason="time-out"))
    assert on.asked(What.LEVERAGE)


@pytest.mark.parametrize("command", ["pause", "halt", "kill", "stop"])
def test_settings_are_left_alone_by_an_agent_that_may_not_increase(command: str) -> None:
    on = under_way()
    on.tell(Command(command))
    on.hush()
    on.wait(60)
    assert asked_settings(on) == []


# Several settlement assets


def test_instruments_of_several_settlement_assets_wait_for_an_account_that_counts_them_all() -> None:
    on = Stage(policy(bands=EDGE), MISSION)
    on.instruments[1] = replace(on.instruments[1], settle="USDC")
    on.tell()
    on.tell(*on.marks(), Up(stream="market"), Up(stream="private"))
    assert on.wait(20) == []
    cure = "multi-assets mode: the instruments settle in USDT and USDC, and the account counts one asset"
    assert on.engine.state == f"waiting for {cure}"
    on.hush()
    on.wait(20)
    assert on.said("state") == [], "it is said once"
    on.mode = replace(on.mode, multi_asset=True)
    on.tell(on.mode)
    assert on.engine.unready() is None


# Memory


HEALTHY = Health(window_days=2)
STRATEGIES = Targets(
    leverage=3.0,
    strategies={
        "core": Strategy(capital=0.7, weights={"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}, health=HEALTHY),
        "spread": Strategy(capital=0.3, weights={"ETHUSDT": 0.5, "BTCUSDT": -0.5}),
    },
)


def resumed(before: Stage, memory: Memory | None) -> Stage:
    """Another engine for the same account, a minute later."""
    on = Stage(
        before.engine.policy,
        {symbol: float(before.instruments[i].quantity(before.held[i, Side.NET][0])) for i, symbol in sized(before)},
        equity=before.wallet,
        prices=before.prices,
        memory=memory,
    )
    for index, row in before.held.items():
        on.held[index] = row
    on.now = before.now
    return on.ready()


def sized(on: Stage) -> list[tuple[int, str]]:
    return list(enumerate(on.symbols))


def reread(memory: Memory) -> Memory:
    return msgspec.json.decode(msgspec.json.encode(memory), type=Memory)


def lived() -> Stage:
    """Some hours of trading with strategies, targets of a feed and a schedule."""
    at = START + 48 * 3_600 * S
    made = policy(targets=STRATEGIES)
    on = Stage(made, MISSION, experienced=True, schedule=lambda now: at if now < at else None).ready()
    on.carry_out(90)
    fed = Given(targets=replace(STRATEGIES, leverage=2.8), issued_at=on.now, valid_until=at, source="http")
    on.tell(Command("targets", msgspec.json.encode(fed).decode()))
    on.carry_out(180)
    return on


def test_what_is_remembered_survives_the_disk_and_is_what_the_next_engine_remembers() -> None:
    before = lived()
    memory = before.engine.memory()
    assert reread(memory) == memory
    assert memory.given is not None
    assert memory.schedule_at == START + 48 * 3_600 * S
    assert memory.sleeves is not None
    heir = Stage(before.engine.policy, MISSION, memory=reread(memory)).engine
    assert heir.memory() == memory


def test_an_engine_that_goes_on_from_memory_decides_as_the_first_one_would() -> None:
    before = lived()
    heir, stranger = resumed(before, reread(before.engine.memory())), resumed(before, None)
    sent: list[list[tuple[str, int, int | None]]] = []
    reasons = []
    for on in (before, heir, stranger):
        on.hush()
        on.prices.update(BTCUSDT=66_000.0, ETHUSDT=2_850.0)
        done = on.carry_out(120)
        sent.append([(one.symbol, one.lots, one.ticks) for one in done])
        reasons.append(on.said("trigger"))
    assert sent[0], "there was something to decide"
    assert (sent[1], reasons[1]) == (sent[0], reasons[0])
    assert sent[2] != sent[0], "without a memory it would have been another decision"


def test_a_run_on_another_account_keeps_how_strategies_did_and_not_what_they_owned() -> None:
    memory = lived().engine.memory()
    bare = memory.without_positions()
    assert bare.sleeves is not None
    assert [owner.lots for owner in bare.sleeves.ledger.owners] == [[0, 0, 0]] * 3
    assert (bare.given, bare.covariance) == (memory.given, memory.covariance)
    assert Memory(symbols=()).without_positions().sleeves is None


def test_what_was_learned_of_other_instruments_is_not_used() -> None:
    memory = replace(lived().engine.memory(), symbols=("BTCUSDT", "ETHUSDT"), sleeves=None, given=None)
    on = Stage(policy(), MISSION, memory=memory).ready()
    assert on.engine.economist.covariance is not None
    assert not on.engine.economist.covariance.warm


# Strategies


HALVES = Targets(
    strategies={
        "one": Strategy(capital=0.5, weights={"BTCUSDT": 1.0}, health=HEALTHY),
        "two": Strategy(capital=0.5, weights={"ETHUSDT": 1.0}),
    }
)


def test_a_strategy_that_is_paused_is_closed_whole_and_its_capital_goes_to_the_other() -> None:
    on = stage({"BTCUSDT": 0.083, "ETHUSDT": 1.667}, made=policy(targets=HALVES))
    on.hush()
    on.prices["BTCUSDT"] = 42_000.0
    on.leap(24 * 3_600 * S)
    done = [request.order for request in on.requests if isinstance(request, Place)]
    for one in done:
        done += on.tell(*on.fill(one))  # and what that leads to
    assert on.carry_out(120) == []
    (told,) = on.said("health")
    assert told == "strategy one is paused, 0% of its capital: drawdown, drawdown 29.9%"
    assert on.said("trigger")[0] == f"correcting: {told}"
    assert [(one.symbol, one.lots > 0) for one in done] == [("BTCUSDT", False), ("ETHUSDT", True)]
    assert on.weights() == pytest.approx([0.0, 0.625], abs=0.001), "no more than a quarter more of its own"
    assert [text.split(":")[0] for text in on.said("strategies")] == ["done"]


def test_a_turn_of_health_that_nets_to_nothing_only_changes_hands_inside_the_account() -> None:
    alike = {name: replace(one, weights={"BTCUSDT": 1.0}) for name, one in HALVES.strategies.items()}
    on = stage({"BTCUSDT": 0.167}, made=policy(targets=replace(HALVES, strategies=alike, boost=2.0)))
    on.hush()
    on.prices["BTCUSDT"] = 42_000.0
    on.leap(24 * 3_600 * S)
    assert on.wait(60) == []
    (told,) = on.said("health")
    assert on.said("strategies")[0].startswith(f"{told}: capital is shared out, one -")
    sleeves = on.engine.mandate.sleeves
    assert sleeves is not None
    assert [owner.lots for owner in sleeves.ledger.owners] == [[0], [167], [0]]


# Words and commands


def test_a_correction_that_is_asked_for_does_not_replace_one_for_safety() -> None:
    on = stage(made=policy(limits=Limits(leverage=2.5)))
    assert on.engine.correction is not None
    on.tell(Command("rebalance", "target"))
    assert on.said("warning") == ["reducing for safety; ask for a correction once that is done"]
    assert on.engine.correction.reason.urgent


def test_a_warning_of_the_house_is_passed_on_as_it_is() -> None:
    on = stage(BALANCED)
    on.hush()
    on.tell(Command("warn", "the disk is full"))
    assert [(note.kind, note.text) for note in on.notes] == [("warning", "the disk is full")]


def test_an_order_of_ours_on_an_instrument_that_the_file_does_not_name_is_said_once_and_left() -> None:
    on = stage(BALANCED)
    resting = OpenOrder(order=order_id("t", 0, 5), venue_order="v", instrument=None, lots=1, filled_lots=0)
    for _ in range(2):
        on.tell(Orders(rows=(resting,), asked_at=on.now))
    assert on.said("warning") == [f"order {resting.order} of ours rests outside of the file's instruments"]
    assert on.cancelled() == []


def test_in_observe_mode_not_even_an_order_of_an_earlier_life_is_cancelled() -> None:
    on = stage(BALANCED, made=policy(mode="observe"))
    resting = OpenOrder(order=order_id("t", 0, 5), venue_order="v", instrument=0, lots=1, filled_lots=0)
    on.tell(Orders(rows=(resting,), asked_at=on.now))
    assert (on.said("warning"), on.cancelled()) == ([], [])


def test_a_purchase_that_rests_is_no_part_of_the_relief() -> None:
    on = stage({**BALANCED, "ETHUSDT": 1.5}, made=policy(execution=Execution(style="maker", patience_s=60)))
    purchase = first_order(on)
    assert (purchase.symbol, purchase.reduce) == ("ETHUSDT", False)
    on.tell(*on.accept(purchase))
    on.wallet = 2_700.0
    placed = on.tell(Balance("USDT", on.wallet, on.now), after=0.01)
    on.tell(after=1.0)
    assert on.engine.correction is not None
    assert on.engine.correction.reason.relief is not None
    assert {one.symbol for one in placed} == {"BTCUSDT", "SOLUSDT"}, "ether waits until its order is gone"
    assert all(one.reduce for one in placed)


@pytest.mark.parametrize(
    ("command", "increase", "reduction"),
    [
        ("stop", "stopping", "stopping"),
        ("pause", "paused", "paused"),
        ("halt", "by command", None),
        ("kill", "by command", None),
        ("resume", None, None),
    ],
)
def test_what_was_decided_before_a_command_must_not_leave_after_it(
    command: str, increase: str | None, reduction: str | None
) -> None:
    on = stage(BALANCED)
    on.tell(Command(command))
    assert on.engine.forbids(0, reduce=False) == increase
    assert on.engine.forbids(0, reduce=True) == reduction


def test_a_plan_is_weighed_by_what_its_orders_cost_once_anything_is_known() -> None:
    assert Stage(policy(), MISSION).engine.verdict(Plan(legs=(), skips=(), goals=())) is None
    on = stage()
    found = on.engine.preview(on.now)
    assert found is not None
    verdict = on.engine.verdict(found[0])
    assert verdict is not None
    assert verdict.cost == pytest.approx(sum(leg.cost.total for leg in found[0].legs if leg.cost))
    assert verdict.pays


def test_a_correction_is_left_off_when_a_feed_moves_its_aim_by_more_than_a_band() -> None:
    on = stage(made=policy(bands=EDGE))
    sale = first_order(on)
    turned = replace(SHARES, weights={"BTCUSDT": 0.7, "ETHUSDT": 0.2, "SOLUSDT": 0.1})
    fed = Given(targets=turned, issued_at=on.now, valid_until=on.now + 3_600 * S, source="http")
    assert on.tell(Command("targets", msgspec.json.encode(fed).decode())) == []
    assert on.said("done") == [
        "left off: what is wanted has moved by more than a band; weighed anew after the cool-down"
    ]
    assert on.engine.correction is None
    on.tell(*on.finish(sale, 0, "expired"))
    assert on.wait(50) == []


# What must not bar the way of safety

STEEP = {"limits": Limits(leverage=20.0), "targets": replace(SHARES, leverage=7.0)}
"""Seven times equity: a loss of a third, and liquidation is near."""


def lose(on: Stage, wallet: float) -> list[Order]:
    """The wallet is so much less: what is ordered at once."""
    on.wallet = wallet
    return on.tell(Balance("USDT", wallet, on.now + 1))


@pytest.mark.parametrize("stream", ["private", "market"])
def test_a_stream_that_is_down_does_not_bar_the_way_of_safety(stream: str) -> None:
    on = stage(HIGH, made=policy(**STEEP))
    on.tell(Down(stream, "gone"))
    placed = lose(on, 7_000.0) + on.wait(5)
    assert {one.symbol for one in placed} == set(on.engine.symbols)
    assert all(one.reduce for one in placed)


def test_positions_that_were_not_told_lately_are_not_reduced_while_a_stream_is_down() -> None:
    on = stage(HIGH, made=policy(**STEEP))
    on.tell(Down("private", "gone"))
    on.mute = {What.POSITIONS}
    on.wait(30)
    assert lose(on, 7_000.0) + on.wait(5) == []


def test_a_refusal_by_rule_asks_for_the_rules_and_for_all_else_as_before() -> None:
    on = stage(HIGH, made=policy(**STEEP))
    on.mute = {What.INSTRUMENTS}
    [first, *others] = lose(on, 7_000.0)
    on.hush()
    on.tell(refuse(first, Fault.RULE, "-4164"))
    for other in others:
        on.tell(*on.finish(other, 0, "expired"))
    placed = on.wait(20)
    assert on.asked(What.POSITIONS)
    assert placed


def test_safety_that_was_held_up_by_old_prices_goes_on_when_they_are_back() -> None:
    on = stage(HIGH, made=policy(**STEEP, triggers=Triggers(cool_down_s=3600)))
    on.frozen = {0, 1, 2}
    on.wait(6)
    assert lose(on, 7_000.0) + on.wait(70) == []
    on.frozen = set()
    assert on.wait(3)


def test_safety_has_resting_purchases_cancelled() -> None:
    on = stage({**HIGH, "ETHUSDT": 3.5}, made=policy(**STEEP, execution=Execution(style="maker", patience_s=600)))
    bought = first_order(on)
    assert bought.lots > 0
    on.tell(*on.accept(bought))
    lose(on, 5_000.0)
    on.wait(2)
    assert on.cancelled() == [bought.id]


def test_what_a_list_of_open_orders_says_of_fills_counts_as_traded() -> None:
    on = stage({"BTCUSDT": 0.25, "ETHUSDT": 3.0, "SOLUSDT": 1.0}, made=policy(execution=Execution(style="maker")))
    placed = first_order(on)
    on.tell(*on.accept(placed))
    on.tell(Orders((OpenOrder(placed.id, f"v{placed.id}", placed.instrument, placed.lots, 9),), on.now))
    assert on.engine.tally.turnover > 0


def test_what_happens_elsewhere_holds_nothing_up() -> None:
    on = stage(BALANCED)
    on.tell(*[Elsewhere("DOGEUSDT")] * 50)
    assert on.engine.unready() is None
    on.hush()
    on.wait(2)
    assert on.asked(What.POSITIONS)


def test_a_halt_for_an_order_that_no_question_settles_has_resting_increases_cancelled() -> None:
    on = stage({**BALANCED, "ETHUSDT": 1.5}, made=policy(execution=Execution(style="maker", patience_s=600)))
    bought = first_order(on)
    on.tell(*on.accept(bought))
    lost = order(
        "x1", created_at=on.now, expires_at=on.now + 3 * S, held_lots=250, venue_order="v9", state=State.UNKNOWN
    )
    on.engine.blotter.add(lost, on.now)
    for _ in range(120):
        on.tell(*on.deny("x1"), *on.accept(bought), *on.marks(), after=1)
    assert on.engine.guards[0].halts.halted
    assert bought.id in on.cancelled()
