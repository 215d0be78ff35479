"""What befalls one account of a portfolio stays there: safety, rests, doubts and withdrawals are of each by itself."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from adapters.simulator.orders import OrderRequest
from agent.core.orders import State, Style
from agent.core.planner import Execution
from tests.accounts.places import Places
from tests.accounts.test_accounts import POLICY, PRICES, both


def trade(on: Places, name: str, symbol: str, quantity: str, client_id: str = "by hand") -> None:
    """Somebody else sells on an account."""
    site = on.sites[name]
    request = OrderRequest(symbol=symbol, side=-1, kind="MARKET", quantity=Decimal(quantity), client_id=client_id)
    site.exchange.place(site.account, request)


def test_an_account_that_never_answered_keeps_no_relief_from_another() -> None:
    on = both("1.667", "50", balances=(17_000, 83_000))
    on.leave("bybit")
    on.run(10)
    assert on.engine.state == "waiting for bybit:answers of the venue"
    on.move("binance", "BTCUSDT", 0.93)
    on.run(5)
    (relief, *_) = on.said("trigger")
    assert relief.startswith("correcting: binance:liquidation is "), relief
    assert on.orders
    assert all(order.reduce and order.symbol == "binance:BTCUSDT" for order in on.orders)
    (done, *_) = on.said("done")
    assert "largest drift" not in done, "it is counted from what both are worth"
    assert on.engine.preview(on.now) is None
    on.come_back("bybit")
    on.run(60)
    assert on.engine.unready() is None
    assert on.engine.preview(on.now) is not None


def test_a_move_that_no_trade_explains_is_seen_while_an_order_elsewhere_is_of_unknown_fate() -> None:
    on = both("1.667", "65").run(1.2)
    on.away_on_orders("bybit")
    on.run(2)
    on.leave("binance")
    on.run(1)
    trade(on, "binance", "BTCUSDT", "0.1")
    on.run(1)
    on.come_back("binance")
    on.run(20)
    assert [order.state for order in on.engine.blotter.live()] == [State.UNKNOWN]
    assert on.engine.blotter.live()[0].symbol == "bybit:ETHUSDT"
    assert any("which no trade explains" in said for said in on.said("external"))


def test_what_rests_on_an_account_that_others_trade_on_is_cancelled_there_alone() -> None:
    maker = replace(POLICY, execution=Execution(style="maker", patience_s=600.0))
    accounts = {name: site.account for name, site in both("2.2", "65").sites.items()}
    on = Places(maker, accounts, PRICES)
    on.run(8)
    assert len(on.engine.blotter.live()) == 2
    assert {order.style for order in on.engine.blotter.live()} == {Style.POST}
    for name in ("one", "another"):
        trade(on, "bybit", "ETHUSDT", "0.01", name)
        on.run(1)
    assert on.engine.guards[1].halts.others
    on.run(2)
    assert [order.symbol for order in on.engine.blotter.live()] == ["binance:BTCUSDT"]
