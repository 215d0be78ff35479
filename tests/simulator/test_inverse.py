"""Coin-margined contracts: results, margin, liquidation and funding in the coin, exact to the last decimal."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from adapters.simulator import Account, Exchange, StillMarket
from adapters.simulator.account import Position
from adapters.simulator.book import BUY, SELL
from adapters.simulator.client import START
from adapters.simulator.instruments import COIN_MARGINED, Bracket, instrument
from adapters.simulator.margin import liquidation_price, maintenance_margin
from adapters.simulator.orders import Order, OrderRequest, Reason, Rejected
from tests.core.kit import vectors

BTC = COIN_MARGINED["BTCUSD"]
NAMES = count()


def world(account: Account, **prices: int) -> Exchange:
    """An exchange whose prices move by hand only."""
    exchange = Exchange(StillMarket(prices or {"BTCUSD": 50_000}), [account])
    exchange.advance(START // 10**6)
    return exchange


def trade(exchange: Exchange, account: Account, lots: int, **more: Any) -> Order:
    """Buy, or sell with a sign, at what the book has."""
    request = OrderRequest(
        symbol="BTCUSD",
        side=BUY if lots > 0 else SELL,
        kind="MARKET",
        quantity=Decimal(abs(lots)),
        client_id=str(next(NAMES)),
    )
    return exchange.place(account, structs.replace(request, **more))


def dollars(quantity: int) -> Position:
    """A position in contracts of one dollar."""
    return Position(structs.replace(BTC, contract=Decimal(quantity)), "BOTH")


@pytest.mark.parametrize("case", vectors("margin", "inv_pnl"))
def test_results_are_as_published(case: Any) -> None:
    given = case["input"]
    one = Position(structs.replace(BTC, contract=Decimal(1)), "BOTH")
    one.trade(Decimal(given["qty_usd"]), Decimal(given["entry"]))
    assert float(one.unrealised(Decimal(given["exit"]))) == pytest.approx(case["expected"])
    assert float(one.trade(-Decimal(given["qty_usd"]), Decimal(given["exit"]))) == pytest.approx(case["expected"])


def test_the_average_entry_is_that_of_reciprocals() -> None:
    one = dollars(1)
    one.trade(Decimal(1_000), Decimal(5_000))
    one.trade(Decimal(2_000), Decimal(6_000))
    assert one.entry == pytest.approx(Decimal(5_625))


def test_a_published_position() -> None:
    """One contract of the venue's own example, its initial margin of another, and the deduction of a third."""
    one = dollars(100)
    one.trade(Decimal(1), Decimal("11707.70000003"))
    assert round(one.unrealised(Decimal("11788.66626667")), 8) == Decimal("0.00005866")
    assert round(BTC.notional(Decimal(10), Decimal(9_800)) / 20, 4) == Decimal("0.0051")
    assert [tier.cum for tier in BTC.brackets][4] == Decimal("1.81")
    assert maintenance_margin(BTC, Decimal(60)) == Decimal("1.19")


@pytest.mark.parametrize("case", vectors("margin", "inv_liq_cross"))
def test_liquidation_prices_are_as_in_the_vectors(case: Any) -> None:
    given = {name: Decimal(str(value)) for name, value in case["input"].items()}
    tier = Bracket(100, Decimal(0), Decimal(10**9), given["mmr"], given["cum"])
    one = structs.replace(BTC, contract=Decimal(1), brackets=(tier,))
    found = liquidation_price(one, given["qty_usd"], given["entry"], given["coin"])
    price = case["expected"]["price"]
    assert (None if found is None else float(found)) == (price and pytest.approx(price))


@pytest.mark.parametrize("quantity", [800, -2_000, 4_000, -4_000])
def test_the_account_is_liquidated_at_its_liquidation_price(quantity: int) -> None:
    account = Account(balance=2, asset="BTC", positions={"BTCUSD": quantity})
    exchange = world(account)
    held = account.position("BTCUSD")
    price = liquidation_price(BTC, held.quantity, held.entry, account.wallet)
    assert price is not None
    away = Decimal(1) if quantity > 0 else Decimal(-1)
    exchange.set_mark("BTCUSD", price + away)
    assert held.quantity == quantity
    exchange.set_mark("BTCUSD", price - away)
    assert not held.quantity
    assert exchange.snapshot(account).wallet >= 0


def test_a_short_below_the_collateral_is_never_liquidated() -> None:
    account = Account(balance=1, asset="BTC", positions={"BTCUSD": -400})
    exchange = world(account)
    held = account.position("BTCUSD")
    assert liquidation_price(BTC, held.quantity, held.entry, account.wallet) is None
    exchange.set_mark("BTCUSD", 5_000_000)
    assert held.quantity == -400


def test_funding_is_paid_in_the_coin() -> None:
    account = Account(balance=2, asset="BTC", positions={"BTCUSD": -500})
    exchange = world(account)
    exchange.settle_now("BTCUSD", Decimal("0.001"))
    assert exchange.snapshot(account).funding == Decimal("0.001")  # of one bitcoin


def test_an_account_has_no_margin_but_in_its_coin() -> None:
    account = Account(balance=100, asset="ETH")
    exchange = world(account, BTCUSD=50_000, ETHUSD=2_500)
    with pytest.raises(Rejected) as refused:
        trade(exchange, account, 1)
    assert refused.value.reason is Reason.MARGIN
    trade(exchange, account, 10, symbol="ETHUSD")
    assert instrument("DOGEUSD").asset == "DOGE"


def test_margin_and_position_limit_are_counted_in_the_coin() -> None:
    account = Account(balance=1, asset="BTC", leverage=20)
    exchange = world(account)
    with pytest.raises(Rejected) as refused:
        trade(exchange, account, 10_100)
    assert refused.value.reason is Reason.MARGIN
    assert trade(exchange, account, 9_800).status == "FILLED"
    assert sum(account.initial_margin("BTCUSD", "BOTH", Decimal(50_000))) == Decimal("0.98")
    rich = Account(balance=1_000, asset="BTC", leverage=125)
    with pytest.raises(Rejected) as refused:
        trade(world(rich), rich, 5_100)  # more than ten bitcoin
    assert refused.value.reason is Reason.POSITION_LIMIT


def test_an_order_says_its_mean_price_and_what_it_came_to() -> None:
    account = Account(balance=100, asset="BTC")
    exchange = world(account)
    order = trade(exchange, account, 20_000)
    fills = exchange.ledger.fills
    assert len(fills) > 1
    assert order.quote == pytest.approx(sum(one.quantity * 100 / one.price for one in fills))
    assert abs(order.average_price - order.executed * 100 / order.quote) < Decimal("1e-12")
    assert exchange.ledger.of(account.api_key).turnover == 2_000_000
    wanted = sum(round(one.quantity * 100 / one.price * Decimal("0.0005"), 8) for one in fills)
    assert exchange.snapshot(account).fees == wanted


steps = st.lists(
    st.one_of(
        st.tuples(st.just("trade"), st.integers(-3_000, 3_000).filter(bool)),
        st.tuples(st.just("move"), st.integers(-1_500, 1_500)),
        st.tuples(st.just("fund"), st.integers(-300, 300)),
    ),
    max_size=30,
)


def told(exchange: Exchange, account: Account, story: list[tuple[str, int]]) -> Iterator[None]:
    for what, much in story:
        match what:
            case "trade":
                try:
                    trade(exchange, account, much)
                except Rejected:
                    continue
            case "move":
                mark = exchange.books["BTCUSD"].mark
                exchange.set_mark("BTCUSD", round(mark * (10_000 + much) / 10_000, 1))
            case _:
                exchange.settle_now("BTCUSD", Decimal(much) / 100_000)
        yield


@given(steps, st.booleans())
def test_everything_adds_up(story: list[tuple[str, int]], isolated: bool) -> None:
    account = Account(balance=10, asset="BTC", isolated=["BTCUSD"] if isolated else [])
    exchange = world(account)
    for _ in told(exchange, account, story):
        truth = exchange.snapshot(account)
        assert truth.wallet == 10 + truth.realised - truth.fees + truth.funding + truth.insurance
        assert truth.equity == truth.wallet + truth.unrealised
        worth = BTC.worth(exchange.books["BTCUSD"].mark)
        earned = sum(one.side * one.quantity * (worth - BTC.worth(one.price)) for one in exchange.ledger.fills)
        revalued = 10 + earned - truth.fees + truth.funding + truth.insurance
        assert abs(truth.equity - revalued) <= truth.fills * Decimal("1e-8")  # to which results are rounded
