"""Whether a correction is worth it: the pieces alone, and what the engine makes of them."""

from __future__ import annotations

from decimal import Decimal
from math import log
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from agent.core import economy
from agent.core.band import LANDING
from agent.core.book import Book
from agent.core.carry import Carry, CarryRules, CarryState, Heard
from agent.core.costs import Costs
from agent.core.covariance import DAY_NS, GRID_NS, YEAR_NS, CovarianceState
from agent.core.decisions import Policy
from agent.core.drift import Bands, Drift, measure
from agent.core.economy import LEAST_COST, LOOK_NS, WORTH, Economist, Economy, Verdict
from agent.core.events import Command, Fees, Funding, Interval, Quote
from agent.core.orders import Order, Style
from agent.core.planner import DEAR, Execution, Guide, Limits, Plan, plain
from agent.core.targets import Targets
from tests.core.kit import MISSION, PRICES, START, THIRDS, S, Stage, book_of, instrument, plan_for, vectors

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)
BALANCED = {"BTCUSDT": 2.5, "ETHUSDT": 30.0, "SOLUSDT": 400.0}
"""50/30/20 of three times 100 000."""
TENTH = {symbol: 1.1 * size for symbol, size in BALANCED.items()}


def policy(**changes: Any) -> Policy:
    return Policy(**{"mode": "live", "targets": SHARES, **changes})


def stage(held: dict[str, float], *, experienced: bool = True, made: Policy | None = None, **options: Any) -> Stage:
    return Stage(made or policy(), held, equity=100_000.0, experienced=experienced, **options).ready()


def economist(held: dict[str, float], *, quotes: bool = True, **changes: Any) -> tuple[Economist, Any, Drift]:
    book = book_of(held, equity=100_000.0)
    if quotes:
        for i, symbol in enumerate(held):
            book.apply(Quote(i, PRICES[symbol] * 0.9999, 9.0, PRICES[symbol] * 1.0001, 9.0, START), START)
    settings: dict[str, Any] = {"economy": Economy(), "bands": Bands(), "costs": Costs(), **changes}
    it = Economist(settings["economy"], settings["bands"], settings["costs"])
    drift = measure(book, SHARES, settings["bands"])
    assert drift is not None
    it.observe(book, START)
    it.look(book, drift, START)
    return it, book, drift


def planned(
    it: Economist, book: Book, drift: Drift, *, breach: bool = True, to_target: bool = False, costs: Costs | None = None
) -> Plan:
    guide = it.guide(drift, breach=breach, to_target=to_target)
    part = 0.0 if to_target else 0.75 if breach else 1.0
    return plan_for(book, drift, Limits(), costs or Costs(), guide=guide, part=part, maker=False)


# The pieces


def test_the_band_reckons_with_the_fee_and_half_the_spread() -> None:
    it, _, _ = economist(BALANCED)
    assert it.band is not None
    assert it.band.costs == pytest.approx([0.0006] * 3)


def test_no_rebate_makes_trading_free() -> None:
    it, _, _ = economist(BALANCED, costs=Costs(taker=-0.001))
    assert it.band is not None
    assert it.band.costs == [LEAST_COST] * 3


def same(one: Guide, other: Guide) -> bool:
    lists = one.prices == other.prices and one.least == other.least and one.ahead == other.ahead
    return lists and np.array_equal(one.penalty, other.penalty)


def test_without_a_quote_there_is_no_band_and_no_verdict() -> None:
    it, book, drift = economist(MISSION, quotes=False)
    assert it.band is None
    guide = it.guide(drift, breach=True)
    assert same(guide, plain(drift, to_target=False)), "plain thresholds then"
    assert it.verdict(book, drift, planned(it, book, drift), breach=True) is None


def test_the_band_is_not_looked_at_again_within_a_second() -> None:
    it, book, drift = economist(BALANCED)
    band = it.band
    it.look(book, drift, START + LOOK_NS - 1)
    assert it.band is band
    it.look(book, drift, START + LOOK_NS)
    assert it.band is not band


def test_until_it_is_warm_only_a_breach_is_a_reason_to_trade() -> None:
    it, book, drift = economist(TENTH)
    assert it.reaches == []
    assert planned(it, book, drift, breach=False).legs == ()
    assert planned(it, book, drift, breach=True).legs


@pytest.mark.parametrize("destination", ["edge", "target"])
def test_plain_thresholds_know_no_cost_aware_band_but_still_a_verdict(destination: Any) -> None:
    held = {"BTCUSDT": 3.25, "ETHUSDT": 20.0, "SOLUSDT": 300.0}
    bands = Bands(destination=destination)
    it, book, drift = economist(held, bands=bands)
    assert same(it.guide(drift, breach=True), plain(drift, to_target=False))
    assert it.alone(0, drift) is None
    todo = planned(it, book, drift, to_target=destination == "target")
    verdict = it.verdict(book, drift, todo, breach=False)
    assert verdict is not None
    assert verdict.pays
    assert verdict.days == 7.0
    assert verdict.cost == pytest.approx(sum(leg.cost.total for leg in todo.legs if leg.cost))


def test_funding_that_stays_high_is_worth_more_of_a_trade_than_funding_that_fades() -> None:
    it, book, drift = economist(TENTH)
    book.apply(Interval(instrument=0, hours=8.0), START)
    book.apply(Funding(0, 0.0011, START + 3600 * S, START), START)
    todo = planned(it, book, drift, to_target=True)
    fading = it.verdict(book, drift, todo, breach=True)
    it.carry = Carry(list(THIRDS), CarryRules(), CarryState({"BTCUSDT": Heard(0.0011, 0, paid=0.0011, hours=8.0)}))
    lasting = it.verdict(book, drift, todo, breach=True)
    assert fading is not None
    assert lasting is not None
    (sold,) = [leg.notional for leg in todo.legs if leg.instrument == 0]
    assert lasting.benefit - fading.benefit == pytest.approx(sold * 0.001 * (21 - (1 - 0.9**21) / 0.1))


def test_marks_are_counted_every_five_minutes() -> None:
    it, book, _ = economist(BALANCED)
    assert it.covariance is not None
    it.observe(book, START + GRID_NS - 1)
    assert it.covariance.taken == 0
    it.observe(book, START + GRID_NS)
    assert it.covariance.taken == 1


# Where it leads


def test_a_breach_is_led_by_the_cost_aware_band_and_the_tolerance_is_the_box() -> None:
    it, _, drift = economist(MISSION)
    assert it.band is not None
    guide = it.guide(drift, breach=True)
    assert np.array_equal(guide.penalty, it.band.penalty)
    assert guide.ahead is None, "what may come does not count where the tolerance is left"
    assert guide.prices == pytest.approx([LANDING * width for width in it.band.widths])
    assert guide.least == pytest.approx([WORTH * it.band.alone(index) for index in range(3)])


def test_all_the_way_is_not_held_up_by_what_trading_costs() -> None:
    it, _, drift = economist(MISSION)
    guide = it.guide(drift, breach=True, to_target=True)
    assert guide.prices == guide.least == [0.0] * 3


def test_before_it_is_warm_and_without_a_breach_nothing_is_worth_a_trade_but_what_a_limit_asks_for() -> None:
    it, _, drift = economist(TENTH)
    assert it.band is not None
    guide = it.guide(drift, breach=False)
    assert np.array_equal(guide.penalty, it.band.penalty), "a limit is kept at the least risk all the same"
    assert guide.prices == [DEAR] * 3


CRYPTO = [[0.36, 0.384, 0.42], [0.384, 0.64, 0.6], [0.42, 0.6, 1.0]]
"""60, 80 and 100 % a year; correlations 0.8, 0.7 and 0.75."""
FEES = [0.0006, 0.0006, 0.0008]


def informed(
    weights: list[float],
    targets: list[float],
    *,
    matrix: list[list[float]],
    fees: list[float],
    economy: Economy,
    bands: Bands,
    equity: float = 100_000.0,
    funding: list[float] | None = None,
    parts: list[float] | None = None,
) -> tuple[Economist, Book, Drift]:
    """An economist that believes ``matrix``, and a book on very fine grids. ``funding``: beyond resting, a year."""
    symbols = [f"C{i}USDT" for i in range(len(weights))]
    fine = [
        instrument(i, s, step=Decimal("0.000001"), min_notional=0.0, max_lots=10**12, max_market_lots=10**12)
        for i, s in enumerate(symbols)
    ]
    flat = dict.fromkeys(symbols, 1_000.0)
    book = book_of(
        {s: w * equity / 1_000 for s, w in zip(symbols, weights, strict=True)},
        equity=equity, prices=flat, instruments=fine,
    )  # fmt: skip
    for i, fee in enumerate(fees):
        book.apply(Fees(instrument=i, maker=fee, taker=fee), START)
        book.apply(Quote(i, 1_000.0, 1e9, 1_000.0, 1e9, START), START)
    for i, annual in enumerate(funding or []):
        count = economy.payback_days * 3
        faded = (1 - 0.9**count) / (1 - 0.9)
        book.apply(Interval(instrument=i, hours=8.0), START)
        book.apply(Funding(i, 0.0001 + annual * economy.payback_days / 365 / faded, START + 3600 * S, START), START)
    weight = 2 * DAY_NS / YEAR_NS
    learned = CovarianceState(
        [[q * weight for q in row] for row in matrix], weight, [log(1_000.0)] * len(weights), START
    )
    gross = sum(map(abs, targets))
    shares: dict[str, Any] = {s: t / gross for s, t in zip(symbols, targets, strict=True)}
    drift = measure(book, Targets(weights=shares, leverage=gross), bands, parts=parts)
    assert drift is not None
    it = Economist(economy, bands, Costs(), learned=learned)
    it.observe(book, START)
    it.look(book, drift, START)
    return it, book, drift


def decided(it: Economist, book: Book, drift: Drift) -> tuple[Plan, Verdict]:
    """What the engine would weigh at this moment."""
    breach, bands = drift.reach >= 1, it.bands
    to_target = bands.destination == "target"
    part = 0.0 if to_target else bands.landing if breach else 1.0
    guide = it.guide(drift, breach=breach, to_target=to_target)
    todo = plan_for(book, drift, Limits(leverage=20.0), Costs(), guide=guide, part=part, maker=False)
    verdict = it.verdict(book, drift, todo, breach=breach)
    assert verdict is not None
    return todo, verdict


def test_a_voluntary_trade_ends_where_marginal_risk_is_just_inside_the_band() -> None:
    it, book, drift = informed(
        [1.65, 0.99, 0.66], [1.5, 0.9, 0.6], matrix=CRYPTO, fees=FEES, economy=Economy(), bands=Bands()
    )
    assert it.reach > 1
    assert drift.reach < 1
    todo, verdict = decided(it, book, drift)
    assert it.band is not None
    after = [goal - target for goal, target in zip(todo.goals, (1.5, 0.9, 0.6), strict=True)]
    assert [abs(reach) for reach in it.band.reaches(after)] == pytest.approx([LANDING] * 3, rel=1e-6)
    assert verdict.pays
    assert 0 < verdict.days < 7


def test_a_breach_ends_inside_the_box_and_where_the_others_answer_for_it() -> None:
    """x is what is left: `LANDING` of each band at most, or where the box ends; correlations count by 0.7."""
    it, book, drift = informed(
        [1.95, 0.6, 0.45], [1.5, 0.9, 0.6], matrix=CRYPTO, fees=FEES, economy=Economy(), bands=Bands()
    )
    todo, verdict = decided(it, book, drift)
    assert it.band is not None
    x = [goal - target for goal, target in zip(todo.goals, (1.5, 0.9, 0.6), strict=True)]
    assert x[0] == pytest.approx(0.75 * 0.07 * 3)
    reaches = replace(it.band, ahead=[0.0] * 3).reaches(x)
    assert reaches[1:] == pytest.approx([-LANDING] * 2, rel=1e-6), "both were bought as far as the band asks"
    assert reaches[0] == pytest.approx(
        (0.36 * x[0] + 0.7 * 0.384 * x[1] + 0.7 * 0.42 * x[2]) / it.band.widths[0], rel=1e-9
    )
    assert verdict.pays
    assert verdict.days == 7.0


@pytest.mark.parametrize("case", vectors("gate", "decide"))
def test_published_decisions_come_out_of_guide_and_plan(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the trigger and landing of the case, and without the trend of drift, which it does not know."""
    given_, knobs, expected = case["input"], case["input"]["params"], case["expected"]["decision"]
    monkeypatch.setattr(economy, "TRIGGER", knobs["trigger"])
    monkeypatch.setattr(economy, "LANDING", knobs["land"])
    monkeypatch.setattr(economy, "trends", lambda covariance, weights: [0.0] * len(weights))
    it, book, drift = informed(
        given_["weight"],
        given_["target"],
        matrix=given_["Sigma"],
        fees=given_["cost"],
        economy=Economy(knobs["gamma"], knobs["payback_days"], knobs["corr_trust"]),
        bands=Bands(tolerance=knobs["tolerance"], landing=knobs["tol_land"], destination=knobs["destination"]),
        equity=given_["equity"],
        funding=given_["funding_annual"],
        parts=given_["funding_scale"],
    )
    assert (drift.reach > 1) is expected["breach"]
    if knobs["destination"] == "optimal":
        assert (it.reach > 1) is expected["voluntary"]
    if "proposed" not in expected:
        assert max(drift.reach, it.reach) < 1, "nothing fires"
        return
    todo, verdict = decided(it, book, drift)
    trade = [goal - weight for goal, weight in zip(todo.goals, given_["weight"], strict=True)]
    assert trade == pytest.approx(expected["proposed"], abs=1e-8)
    assert verdict.days == pytest.approx(expected["horizon_days"], rel=1e-5)
    assert verdict.cost == pytest.approx(expected["cost"], rel=1e-5)
    assert verdict.benefit == pytest.approx(expected["benefit"], rel=1e-5)
    assert verdict.pays is expected["executed"]


# What the engine makes of it


def sizes(orders: list[Order]) -> dict[str, int]:
    return {one.symbol: one.lots for one in orders}


def test_a_voluntary_correction_ends_just_inside_the_band_and_leads_to_no_other() -> None:
    on = stage(TENTH)
    assert on.engine.economist.reach > 1
    done = on.carry_out(20)
    assert set(sizes(done)) == set(THIRDS)
    assert all(one.reduce for one in done)
    assert 0.8 < on.engine.economist.reach < 0.9
    assert on.carry_out(200) == []


def test_inside_the_band_nothing_is_done() -> None:
    on = stage({symbol: 1.06 * size for symbol, size in BALANCED.items()})
    assert on.carry_out(200) == []
    assert any("of the cost-aware band" in text for text in on.said("hold"))


@pytest.mark.parametrize("made", [policy(bands=Bands(destination="edge")), policy(bands=Bands(destination="target"))])
def test_plain_thresholds_act_on_the_tolerance_alone(made: Policy) -> None:
    assert stage(TENTH, made=made).carry_out(100) == []


def test_what_does_not_pay_is_not_done_and_both_figures_are_said_once_and_with_each_hold() -> None:
    on = stage(
        {"BTCUSDT": 3.25, "ETHUSDT": 20.0, "SOLUSDT": 300.0}, experienced=False, made=policy(costs=Costs(taker=0.01))
    )
    assert on.carry_out(300) == []
    assert on.said("trigger") == []
    figures = "not worth it, a correction would earn 116.37 in 7 days and cost 435.40"
    (first,) = [text for text in on.said("hold") if text.startswith("BTCUSDT drifted +15.0%")]
    assert first.endswith(figures)
    assert sum(text.startswith(figures) for text in on.said("hold")) == 5


def test_patience_makes_it_pay() -> None:
    made = policy(costs=Costs(taker=0.01), economy=Economy(payback_days=70.0))
    on = stage({"BTCUSDT": 3.25, "ETHUSDT": 20.0, "SOLUSDT": 300.0}, experienced=False, made=made)
    assert on.carry_out(60)


def test_what_was_declined_is_done_as_soon_as_it_pays() -> None:
    made = policy(costs=Costs(taker=0.005))
    on = stage({"BTCUSDT": 2.9, "ETHUSDT": 26.0, "SOLUSDT": 380.0}, experienced=False, made=made)
    assert on.carry_out(100) == []
    assert any("not worth it" in text for text in on.said("hold"))
    on.prices["BTCUSDT"] = 72_000.0
    assert on.carry_out(100)


def test_a_command_is_obeyed_and_a_leverage_limit_kept_whatever_it_costs() -> None:
    dear = Costs(taker=0.05)
    on = stage({"BTCUSDT": 3.25, "ETHUSDT": 20.0, "SOLUSDT": 300.0}, experienced=False, made=policy(costs=dear))
    assert on.tell(Command("rebalance", ""))
    over = stage(
        {symbol: 1.5 * size for symbol, size in BALANCED.items()},
        experienced=False,
        made=policy(costs=dear, limits=Limits(leverage=4.0), bands=Bands(tolerance=0.5)),
    )
    done = over.engine.blotter.live()
    assert done
    assert all(one.reduce for one in done)
    assert not any("benefit" in text for text in over.said("plan"))


def test_a_breach_is_corrected_where_costs_are_not_known() -> None:
    on = stage({"BTCUSDT": 3.25, "ETHUSDT": 20.0, "SOLUSDT": 300.0}, experienced=False, quotes=False)
    assert sizes(on.carry_out(30)) == {"BTCUSDT": -488, "ETHUSDT": 4750}


def test_a_voluntary_trade_below_the_smallest_order_waits_and_says_so_once() -> None:
    """One lot of ten is missing, and the venue sells no fewer than two: that would be as far off on the other side."""
    made = policy(targets=Targets(weights={"BTCUSDT": 1.0}, leverage=3.0), bands=Bands(tolerance=0.3))
    on = Stage(made, {"BTCUSDT": 0.009}, equity=200.0, experienced=True).ready()
    assert on.engine.economist.reach > 1
    assert on.carry_out(200) == []
    assert on.said("trigger") == []
    (first,) = [text for text in on.said("hold") if text.startswith("BTCUSDT has left its cost-aware band")]
    assert first.endswith("nothing is to be traded that is worth an order")


def test_a_resting_style_weighs_its_own_costs() -> None:
    on = stage(TENTH, made=policy(execution=Execution(style="maker")))
    (first, *_) = on.wait(10)
    assert first.style is Style.POST
    (said,) = on.said("plan")
    assert "benefit" in said


def test_a_pause_holds_the_cost_aware_band_up_too() -> None:
    on = stage(TENTH)
    on.tell(Command("pause"))
    assert on.carry_out(100) == []
    assert any(text.startswith("paused") for text in on.said("hold"))
    on.tell(Command("resume"))
    assert on.carry_out(100)
