"""Whether a correction is worth it: the pieces alone, and what the engine makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.costs import Costs
from agent.core.covariance import GRID_NS
from agent.core.drift import Bands, Drift, measure
from agent.core.economy import LEAST_COST, LOOK_NS, Economist, Economy, unusual_funding
from agent.core.engine import Policy
from agent.core.events import Command, Funding, Interval, Quote
from agent.core.orders import Order, Style
from agent.core.planner import Execution, Limits, plan
from agent.core.targets import Targets
from tests.core.kit import MISSION, PRICES, START, THIRDS, S, Stage, book_of

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


# The pieces


def test_the_band_reckons_with_the_fee_and_half_the_spread() -> None:
    it, _, _ = economist(BALANCED)
    assert it.band is not None
    assert it.band.costs == pytest.approx([0.0006] * 3)


def test_no_rebate_makes_trading_free() -> None:
    it, _, _ = economist(BALANCED, costs=Costs(taker=-0.001))
    assert it.band is not None
    assert it.band.costs == [LEAST_COST] * 3


def test_without_a_quote_there_is_no_band_and_no_verdict() -> None:
    it, book, drift = economist(MISSION, quotes=False)
    assert it.band is None
    assert it.trades(book, drift, breach=True) is None
    todo = plan(book, drift, Bands(), Limits(), Costs(), to_target=False, maker=False)
    assert it.verdict(book, drift, todo, breach=True) is None


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
    assert it.trades(book, drift, breach=False) == [0.0, 0.0, 0.0]
    trades = it.trades(book, drift, breach=True)
    assert trades is not None
    assert min(trades) < 0


@pytest.mark.parametrize("destination", ["edge", "target"])
def test_plain_thresholds_know_no_cost_aware_band_but_still_a_verdict(destination: Any) -> None:
    held = {"BTCUSDT": 3.25, "ETHUSDT": 20.0, "SOLUSDT": 300.0}
    bands = Bands(destination=destination)
    it, book, drift = economist(held, bands=bands)
    assert it.trades(book, drift, breach=True) is None
    assert it.alone(0, drift) is None
    todo = plan(book, drift, bands, Limits(), Costs(), to_target=destination == "target", maker=False)
    verdict = it.verdict(book, drift, todo, breach=False)
    assert verdict is not None
    assert verdict.pays
    assert verdict.days == 7.0
    assert verdict.cost == pytest.approx(sum(leg.cost.total for leg in todo.legs if leg.cost))


def test_funding_counts_beyond_the_resting_rate_and_fades() -> None:
    book = book_of(BALANCED)
    row = book.rows[0]
    assert unusual_funding(row, 7.0) == 0.0
    book.apply(Interval(instrument=0, hours=8.0), START)
    book.apply(Funding(0, 0.0001, START + 3600 * S, START), START)
    assert unusual_funding(row, 7.0) == 0.0
    book.apply(Funding(0, 0.0011, START + 3600 * S, START), START)
    paid = 0.001 * (1 - 0.9**21) / 0.1
    assert unusual_funding(row, 7.0) * 7 / 365 == pytest.approx(paid)
    book.apply(Interval(instrument=0, hours=1.0), START)
    book.apply(Funding(0, 0.0001 / 8, START + 3600 * S, START), START)
    assert unusual_funding(row, 7.0) == pytest.approx(0.0)


def test_marks_are_counted_every_five_minutes() -> None:
    it, book, _ = economist(BALANCED)
    assert it.covariance is not None
    it.observe(book, START + GRID_NS - 1)
    assert it.covariance.taken == 0
    it.observe(book, START + GRID_NS)
    assert it.covariance.taken == 1


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
    figures = "not worth it, a correction would earn 116.47 in 7 days and cost 434.80"
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
    assert sizes(on.carry_out(30)) == {"BTCUSDT": -487, "ETHUSDT": 4750}


def test_a_voluntary_trade_below_the_smallest_order_waits_and_says_so_once() -> None:
    made = policy(targets=Targets(weights={"BTCUSDT": 1.0}, leverage=3.0), bands=Bands(tolerance=0.3))
    on = Stage(made, {"BTCUSDT": 0.027}, equity=495.0, experienced=True).ready()
    assert on.engine.economist.reach > 1
    assert on.carry_out(200) == []
    assert on.said("trigger") == []
    (first,) = [text for text in on.said("hold") if text.startswith("BTCUSDT has left its cost-aware band")]
    assert first.endswith("what should be traded is smaller than the venue's smallest order")


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
