from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.core.decisions import Policy
from agent.core.drift import Bands
from agent.core.events import Funding, Position, Side
from agent.core.planner import Leg as Planned
from agent.core.targets import Targets
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
    on.engine.book.wallets.clear()
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
