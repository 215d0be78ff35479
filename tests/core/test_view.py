from __future__ import annotations

from math import sqrt

import msgspec
import pytest
from msgspec.structs import replace

from agent.core.decisions import Policy
from agent.core.drift import Bands
from agent.core.events import Command, Funding, Position, Side
from agent.core.health import Health
from agent.core.planner import Leg as Planned
from agent.core.targets import Given, Strategy, Targets
from agent.core.view import look, safety
from tests.core.kit import MISSION, START, THIRDS, S, Stage, order

POLICY = Policy(mode="paper", targets=Targets(weights=dict(THIRDS), leverage=3.0))


def test_before_anything_is_known_every_number_is_missing_and_none_is_nought() -> None:
    on = Stage(POLICY, MISSION)
    on.engine.blotter.add(order("o1", lots=-10, filled_lots=4), START)
    view = look(on.engine, START + S)
    assert (view.equity, view.leverage, view.drift_max, view.drift_total, view.reach, view.maintenance) == (None,) * 6
    assert view.reach_aware is None
    assert view.state == "starting"
    for leg in view.legs:
        numbers = (
            leg.weight,
            leg.target,
            leg.drift,
            leg.band,
            leg.aware,
            leg.quantity,
            leg.notional,
            leg.mark,
            leg.entry,
        )
        assert numbers == (None,) * 9
        assert (leg.funding_rate, leg.funding_at, leg.mark_age_s) == (None, None, None)
    (working,) = view.orders
    assert (working.side, working.quantity, working.price, working.filled) == ("sell", "10 lots", None, 0.4)


def test_what_is_known_is_shown() -> None:
    on = Stage(POLICY, {**MISSION, "ETHUSDT": -2.0}).ready()
    on.engine.step([Funding(0, 0.0001, START + 3600 * S, START)], on.now)
    on.engine.blotter.add(order("o1", ticks=600_001, created_at=on.now), on.now)
    on.engine.blotter.add(order("o2", ticks=None, created_at=on.now), on.now)
    view = look(on.engine, on.now + S)
    assert view.equity == 10_000.0
    assert view.leverage == pytest.approx(3.0)
    assert view.leverage_target == 3.0
    assert view.maintenance == pytest.approx((19_500 + 6_000 + 4_500) * 0.004 / 10_000)
    bitcoin, ether, _ = view.legs
    assert (bitcoin.quantity, ether.quantity) == ("0.325", "-2.000")
    assert [bitcoin.weight, bitcoin.target, bitcoin.entry] == pytest.approx([1.95, 1.5, 60_000.0])
    assert (bitcoin.funding_rate, bitcoin.funding_at) == (0.0001, START + 3600 * S)
    assert bitcoin.mark_age_s == pytest.approx(1.0, abs=0.1)
    assert view.streams.keys() == {"market", "private"}
    limit, market = view.orders
    assert (limit.price, limit.quantity, limit.side, limit.age_s) == ("60000.1", "0.010", "buy", 1.0)
    assert market.price is None
    assert view.unresolved == 0


def test_liquidation_is_shown_for_all_at_once_and_for_the_worst_alone() -> None:
    on = Stage(POLICY, MISSION).ready()
    view = look(on.engine, on.now)
    assert view.liquidation == pytest.approx((1 - 0.012) / (3 * 0.996))
    assert view.liquidation_symbol == "BTCUSDT"
    assert view.liquidation_alone == pytest.approx((10_000 - 120) / (19_500 * 0.996))
    assert view.liquidation_floor == 0.11
    sold = Planned(instrument=0, side=Side.NET, lots=-325, reduce=True, notional=19_500.0, cost=None)
    after = safety(on.engine, [sold])
    assert after.liquidation == pytest.approx((10_000 - 42) / (10_500 * 0.996))
    assert (after.liquidation_alone, after.liquidation_symbol) == (None, None)
    assert after.maintenance == pytest.approx(0.0042)


def test_while_a_part_is_unknown_so_is_the_maintenance_margin() -> None:
    on = Stage(POLICY, MISSION).ready()
    on.engine.book.rows[0].tiers = ()
    assert look(on.engine, on.now).maintenance is None
    on = Stage(POLICY, MISSION).ready()
    on.engine.book.rows[0].mark = None
    assert look(on.engine, on.now).maintenance is None
    on = Stage(POLICY, {}).ready()
    assert look(on.engine, on.now).maintenance == 0.0
    on.engine.book.accounts[0].wallets.clear()
    assert look(on.engine, on.now).maintenance is None


def test_with_rows_on_both_sides_there_is_no_one_entry() -> None:
    on = Stage(POLICY, MISSION, hedge=True).ready()
    short = Position(instrument=0, side=Side.SHORT, lots=-10, entry=61_000.0, at=on.now)
    on.engine.step([short], on.now)
    assert look(on.engine, on.now).legs[0].entry is None


def test_the_cost_aware_band_is_shown_where_it_counts() -> None:
    young = look(Stage(POLICY, MISSION).ready().engine, START + S)
    assert young.reach_aware is None
    wise = look(Stage(POLICY, MISSION, experienced=True).ready().engine, START + S)
    assert wise.reach_aware is not None
    assert wise.reach_aware > 1
    for leg in wise.legs:
        assert leg.aware is not None
        assert 0.03 < leg.aware < 0.10
    plain = replace(POLICY, bands=Bands(destination="edge"))
    edge = look(Stage(plain, MISSION, experienced=True).ready().engine, START + S)
    assert [leg.aware for leg in edge.legs] == [None] * 3


# Strategies, triggers, outlook


TWO = Targets(
    leverage=2.0,
    strategies={
        "trend": Strategy(capital=0.5, weights={"BTCUSDT": 1.0}, health=Health(window_days=3)),
        "spread": Strategy(capital=0.3, weights={"ETHUSDT": 0.5, "BTCUSDT": -0.5}),
    },
)


def test_without_strategies_there_are_none_and_nothing_is_unassigned() -> None:
    view = look(Stage(POLICY, MISSION).ready().engine, START)
    assert (view.strategies, view.unassigned) == ((), None)


def test_before_prices_are_known_a_strategy_has_its_capital_and_no_numbers() -> None:
    view = look(Stage(Policy(mode="live", targets=TWO), {}).engine, START)
    assert [(one.name, one.capital, one.state, one.drawdown) for one in view.strategies] == [
        ("trend", 0.5, "active", 0.0),
        ("spread", 0.3, "active", 0.0),
    ]
    assert {(one.share, one.equity, one.pnl, one.sharpe, one.sharpe_error) for one in view.strategies} == {(None,) * 5}
    assert view.unassigned is None


def test_a_strategy_shows_what_it_has_what_it_earned_and_how_it_does() -> None:
    """Of the 100 lots held trend owns 150 and spread -50; bitcoin rises by 3 a lot."""
    on = Stage(Policy(mode="live", targets=TWO), {"BTCUSDT": 0.1}).ready()
    sleeves = on.engine.mandate.sleeves
    assert sleeves is not None
    sleeves.ledger.strategies["trend"].returns = [0.01, 0.02, 0.03]
    on.prices["BTCUSDT"] = 63_000.0
    on.tell(*on.marks())
    view = look(on.engine, on.now)
    trend, spread = view.strategies
    assert [trend.equity, trend.pnl, trend.share] == pytest.approx([5_450.0, 450.0, 5_450 / 10_300])
    assert [spread.equity, spread.pnl, spread.share] == pytest.approx([2_850.0, -150.0, 2_850 / 10_300])
    assert view.unassigned == pytest.approx(2_000.0)
    assert trend.sharpe == pytest.approx(2 * sqrt(365)), "mean 2 %, deviation 1 %"
    assert trend.sharpe_error == pytest.approx(sqrt((1 + 2.0**2 / 2) / 2 * 365))
    assert (spread.sharpe, spread.sharpe_error) == (None, None), "it has no health to judge"


def test_every_trigger_shows_how_near_it_is_and_when_it_fires() -> None:
    policy = Policy(mode="live", targets=TWO, bands=Bands(portfolio=0.5, strategy=0.01, destination="edge"))
    on = Stage(policy, {"BTCUSDT": 0.1}).ready()
    on.prices["BTCUSDT"] = 63_000.0
    on.tell(*on.marks())
    found = {one.name: one for one in look(on.engine, on.now).triggers}
    assert list(found) == ["tolerance", "total drift", "strategy trend", "strategy spread"]
    assert found["strategy trend"].reach == pytest.approx((5_450 / 10_300 - 0.5) / 0.01)
    assert found["strategy trend"].since is not None
    assert found["strategy trend"].due_at == found["strategy trend"].since + 5 * S
    assert found["tolerance"].rests_until is None


def test_the_outlook_is_what_a_correction_would_be_now() -> None:
    on = Stage(POLICY, MISSION, experienced=True).ready()
    outlook = look(on.engine, on.now).outlook
    assert outlook is not None
    assert outlook.trades[0].startswith("sell 0.")
    assert outlook.trades[0].endswith(")")
    assert "BTC (" in outlook.trades[0]
    assert outlook.obstacles == ()
    assert outlook.benefit is not None
    assert outlook.cost is not None
    assert outlook.benefit > outlook.cost > 0
    assert outlook.days == pytest.approx(7.0)


def test_what_stands_against_a_trade_is_in_the_outlook() -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.25, "ETHUSDT": 1.0, "SOLUSDT": 40.0}).ready()
    on.engine.step([Command("kill", "by hand")], on.now)
    outlook = look(on.engine, on.now).outlook
    assert outlook is not None
    assert any(text.startswith("ETHUSDT: ") and "by hand" in text for text in outlook.obstacles)


def test_an_order_that_is_too_small_is_an_obstacle_and_there_is_nothing_to_weigh() -> None:
    single = Policy(mode="live", targets=Targets(weights={"BTCUSDT": 1.0}))
    on = Stage(single, {}, equity=50.0).ready()
    outlook = look(on.engine, on.now).outlook
    assert outlook is not None
    assert (outlook.trades, outlook.benefit, outlook.cost, outlook.days) == ((), None, None, None)
    (obstacle,) = outlook.obstacles
    assert obstacle.startswith("BTCUSDT: ")


def test_there_is_no_outlook_before_all_is_known_or_while_a_correction_is_under_way() -> None:
    on = Stage(POLICY, MISSION)
    assert look(on.engine, on.now).outlook is None
    on.ready()
    on.tell(Command("rebalance"))
    assert on.engine.correction is not None
    assert look(on.engine, on.now).outlook is None


# Funding and feeds


def test_consumption_is_what_funding_takes_of_the_margin_beyond_the_usual() -> None:
    """Rate 0.11 % in 8 hours: 0.1 % beyond the usual, fading by a tenth at each of 21 settlements; margin is 1/20."""
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5, "SOLUSDT": "hold"}, leverage=2.0)
    on = Stage(replace(POLICY, targets=targets), MISSION).ready()
    assert [leg.consumption for leg in look(on.engine, on.now).legs] == [None] * 3
    rates = [Funding(index, 0.0011, START + 8 * 3_600 * S, on.now) for index in (0, 2)]
    on.tell(*rates, after=1.1)
    first, second, held = look(on.engine, on.now).legs
    assert first.consumption == pytest.approx(0.001 * (1 - 0.9**21) / 0.1 * 20)
    assert second.consumption is None, "its rate is not known"
    assert held.consumption is None, "what is on hold has no target to trim"


def test_whose_targets_are_in_force_is_shown_and_until_when() -> None:
    on = Stage(POLICY, MISSION).ready()
    view = look(on.engine, on.now)
    assert (view.targets_from, view.targets_until) == ("file", None)
    fed = Given(targets=replace(POLICY.targets, leverage=2.0), issued_at=1, valid_until=on.now + S, source="http")
    on.tell(Command("targets", msgspec.json.encode(fed).decode()))
    view = look(on.engine, on.now)
    assert (view.targets_from, view.targets_until) == ("http", fed.valid_until)
    assert view.leverage_target == pytest.approx(2.0)
    assert view.legs[0].target == pytest.approx(1.0)


def test_the_target_leverage_is_that_of_all_strategies_together() -> None:
    on = Stage(Policy(mode="live", targets=TWO), {"BTCUSDT": 0.1}).ready()
    assert look(on.engine, on.now).leverage_target == pytest.approx(0.7 + 0.3)
