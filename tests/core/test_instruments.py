from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.instruments import Instrument, OffGrid, Tier, maintenance, tier_of
from tests.core.kit import TIERS, instrument, vectors

INVERSE = instrument(symbol="BTCUSD", inverse=True, step=Decimal(1), multiplier=Decimal(1), settle="BTC")


def table(rows: list[list[float]]) -> tuple[Tier, ...]:
    """The tiers of [floor, cap, rate] rows, with the deductions that make the table continuous."""
    tiers: list[Tier] = []
    for floor, cap, rate in rows:
        before = tiers[-1] if tiers else Tier(0, 0, rate, 0, 0)
        deduction = before.deduction + floor * (rate - before.rate)
        tiers.append(Tier(floor=floor, cap=cap or float("inf"), rate=rate, deduction=deduction, leverage=1))
    return tuple(tiers)


def test_a_quantity_on_the_grid_is_a_whole_number_of_lots() -> None:
    assert instrument().lots(Decimal("0.325")) == 325
    assert instrument().lots(Decimal("-0.325")) == -325


@pytest.mark.parametrize("quantity", ["0.0005", "NaN", "Infinity"])
def test_what_is_no_whole_number_of_lots_is_refused_and_never_rounded(quantity: str) -> None:
    with pytest.raises(OffGrid, match="BTCUSDT"):
        instrument().lots(Decimal(quantity))


@given(lots=st.integers(-(10**9), 10**9), step=st.sampled_from(["0.001", "1", "0.00001", "25"]))
def test_lots_come_back_exactly_from_the_quantity_on_the_wire(lots: int, step: str) -> None:
    contract = instrument(step=Decimal(step))
    assert contract.quantity(lots) >= 0
    assert contract.lots(contract.quantity(lots)) == abs(lots)


@given(ticks=st.integers(1, 10**9), tick=st.sampled_from(["0.1", "0.01", "0.0001", "0.5"]))
def test_a_price_on_the_grid_stays_where_it_is_whichever_way_it_is_rounded(ticks: int, tick: str) -> None:
    contract = instrument(tick=Decimal(tick))
    price = float(contract.price(ticks))
    assert contract.ticks_within(price, buying=True) == ticks
    assert contract.ticks_within(price, buying=False) == ticks
    assert contract.nearest_ticks(price) == ticks


@given(price=st.floats(0.01, 1e6))
def test_a_limit_is_never_worse_than_the_price_it_came_from(price: float) -> None:
    contract = instrument()
    assert contract.price(contract.ticks_within(price, buying=True)) <= Decimal(repr(price))
    assert contract.price(contract.ticks_within(price, buying=False)) >= Decimal(repr(price))
    assert abs(contract.price(contract.nearest_ticks(price)) - Decimal(repr(price))) <= contract.tick / 2


def test_a_linear_contract_is_worth_its_size_times_the_price() -> None:
    assert instrument().notional(-150, 60_000.0) == -9_000.0
    assert instrument().lots_for(-9_000.0, 60_000.0) == pytest.approx(-150)
    assert instrument().profit(100, 60_000.0, 61_000.0) == pytest.approx(100.0)
    assert instrument().profit(-100, 60_000.0, 61_000.0) == pytest.approx(-100.0)


def test_an_inverse_contract_is_worth_its_face_whatever_the_price() -> None:
    assert INVERSE.notional(100_000, 50_000.0) == 100_000.0
    assert INVERSE.lots_for(-100_000.0, 50_000.0) == -100_000


@pytest.mark.parametrize(
    ("lots", "entry", "price", "coins"),
    [(10_000, 8_000, 12_500, 0.45), (1_000, 100, 200, 5.0), (-1_000, 100, 200, -5.0), (1_000, 100, 50, -10.0)],
)
def test_profit_of_an_inverse_contract_is_the_published_number_of_coins(
    lots: int, entry: float, price: float, coins: float
) -> None:
    assert INVERSE.profit(lots, entry, price) == pytest.approx(coins)


@pytest.mark.parametrize("case", vectors("margin", "inv_pnl"))
def test_profit_of_an_inverse_contract_is_as_in_the_vectors(case: Any) -> None:
    given_ = case["input"]
    assert INVERSE.profit(given_["qty_usd"], given_["entry"], given_["exit"]) == pytest.approx(case["expected"])


@pytest.mark.parametrize(("notional", "margin"), [(60_000, 250), (1_000_000, 5_550), (10_000, 40)])
def test_maintenance_margin_is_the_published_figure_of_the_btc_table(notional: float, margin: float) -> None:
    assert maintenance(TIERS, notional) == pytest.approx(margin)


@pytest.mark.parametrize("case", vectors("margin", "mm"))
def test_maintenance_margin_is_as_in_the_vectors(case: Any) -> None:
    assert maintenance(table(case["input"]["tiers"]), case["input"]["notional"]) == pytest.approx(case["expected"])


@pytest.mark.parametrize("case", vectors("margin", "cum"))
def test_the_deductions_of_the_vectors_make_the_table_continuous(case: Any) -> None:
    rows = case["input"]["tiers"]
    tiers = table(rows)
    assert [tier.deduction for tier in tiers] == pytest.approx(case["expected"])
    for tier, following in pairwise(tiers):
        below = tier.cap * tier.rate - tier.deduction
        assert maintenance(tiers, tier.cap) == pytest.approx(below)
        assert below == pytest.approx(tier.cap * following.rate - following.deduction)


def test_without_a_table_the_maintenance_margin_is_unknown_and_not_nothing() -> None:
    assert maintenance((), 1_000.0) is None
    assert tier_of((), 1_000.0) is None


@pytest.mark.parametrize(
    ("notional", "leverage"), [(0, 125), (49_999, 125), (50_000, 100), (2_999_999, 75), (9_000_000, 75)]
)
def test_a_notional_falls_into_the_bracket_that_it_has_reached(notional: float, leverage: int) -> None:
    tier = tier_of(TIERS, notional)
    assert tier is not None
    assert tier.leverage == leverage


def test_an_instrument_trades_unless_it_is_said_not_to() -> None:
    plain: Instrument = instrument()
    assert plain.trading
    assert plain.price_up is None
