from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.instruments import Instrument, OffGrid
from tests.core.kit import instrument, vectors

INVERSE = instrument(symbol="BTCUSD", inverse=True, step=Decimal(1), multiplier=Decimal(1), settle="BTC")


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


def test_the_value_in_the_settlement_currency_is_in_coins_for_an_inverse_contract() -> None:
    assert INVERSE.value(-100_000, 50_000.0) == -2.0
    assert instrument().value(-150, 60_000.0) == -9_000.0


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


def test_an_instrument_trades_unless_it_is_said_not_to() -> None:
    plain: Instrument = instrument()
    assert plain.trading
    assert plain.price_up is None


@pytest.mark.parametrize("inverse", [False, True])
def test_an_average_entry_has_the_profit_of_its_parts(inverse: bool) -> None:
    one = instrument(inverse=inverse)
    average = one.entry(300, 8_000.0, 100, 12_000.0)
    assert average == pytest.approx(9_000.0 if not inverse else 400 / (300 / 8_000 + 100 / 12_000))
    for price in (7_000.0, 15_000.0):
        parts = one.profit(300, 8_000.0, price) + one.profit(100, 12_000.0, price)
        assert one.profit(400, average, price) == pytest.approx(parts)
    assert one.entry(-300, 8_000.0, -100, 12_000.0) == average
    assert one.entry(0, 1.0, 5, 12_000.0) == pytest.approx(12_000.0)


@pytest.mark.parametrize("case", vectors("margin", "inv_avg_entry"))
def test_the_average_entry_of_an_inverse_contract_is_as_in_the_vectors(case: Any) -> None:
    (lots, entry), *more = case["input"]
    for size, price in more:
        entry = instrument(inverse=True).entry(lots, entry, size, price)
        lots += size
    assert entry == pytest.approx(case["expected"], rel=1e-9)
