"""python-binance, unchanged, against the exchange on a real socket.

Its futures sockets use the routed paths of 2026. It names the category of a multiplexed socket
`market` unless told otherwise, so best prices need `category="public"`, here as at the venue.
"""

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, SeededMarket, Server, serve

with warnings.catch_warnings():
    # it still imports what websockets has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from binance import AsyncClient, BinanceSocketManager
    from binance.exceptions import BinanceAPIException

PATIENCE_S = 30


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-1"})
    async with await serve(Exchange(SeededMarket(7), [account])) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Any]:
    one = AsyncClient(DEMO_KEY, DEMO_SECRET)
    one.FUTURES_URL = f"{server.rest_url}/fapi"
    one.API_URL = f"{server.rest_url}/api"
    async with asyncio.timeout(PATIENCE_S):
        await one.ping()
        yield one
        await one.close_connection()


@pytest.fixture
def sockets(server: Server, client: Any) -> Any:
    one = BinanceSocketManager(client)
    one.FSTREAM_URL = f"{server.ws_url}/"
    return one


async def test_reads(client: Any) -> None:
    info = await client.futures_exchange_info()
    assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert (await client.futures_account())["totalWalletBalance"] == "10000.00000000"
    assert (await client.futures_account_balance())[0]["asset"] == "USDT"
    positions = await client.futures_position_information()
    assert [row["positionAmt"] for row in positions] == ["0.050", "-1.000"]
    assert len(await client.futures_mark_price()) == 3
    assert (await client.futures_orderbook_ticker(symbol="BTCUSDT"))["symbol"] == "BTCUSDT"
    assert len((await client.futures_order_book(symbol="BTCUSDT", limit=5))["bids"]) == 5
    assert len(await client.futures_leverage_bracket(symbol="BTCUSDT")) == 1
    assert len(await client.futures_funding_rate(symbol="BTCUSDT")) == 30
    assert await client.futures_get_position_mode() == {"dualSidePosition": False}
    assert await client.futures_get_multi_assets_mode() == {"multiAssetsMargin": False}
    assert await client.futures_income_history() == []
    assert (await client.futures_commission_rate(symbol="BTCUSDT"))["makerCommissionRate"] == "0.0002"
    one, every = await client.futures_ticker(symbol="ETHUSDT"), await client.futures_ticker()
    assert float(one["quoteVolume"]) == pytest.approx(7.5e9, rel=0.001)
    assert [row["symbol"] for row in every] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert len(await client.futures_klines(symbol="BTCUSDT", interval="1m")) >= 1


async def test_orders_and_their_events(server: Server, client: Any, sockets: Any) -> None:
    async with sockets.futures_user_socket() as events:
        mark = float((await client.futures_mark_price(symbol="BTCUSDT"))["markPrice"])
        filled = await client.futures_create_order(symbol="BTCUSDT", side="BUY", type="MARKET", quantity=0.01)
        told = [await events.recv() for _ in range(4)]
        assert [event["e"] for event in told] == [
            "ORDER_TRADE_UPDATE",
            "TRADE_LITE",
            "ACCOUNT_UPDATE",
            "ORDER_TRADE_UPDATE",
        ]
        assert told[3]["o"]["i"] == filled["orderId"]
        resting = await client.futures_create_order(
            symbol="BTCUSDT",
            side="BUY",
            type="LIMIT",
            timeInForce="GTX",
            price=round(mark) - 1000,
            quantity=0.01,
        )
        assert (await events.recv())["o"]["x"] == "NEW"
        await client.futures_modify_order(
            symbol="BTCUSDT",
            orderId=resting["orderId"],
            side="BUY",
            price=round(mark) - 1100,
            quantity=0.02,
        )
        assert (await events.recv())["o"]["x"] == "AMENDMENT"
        await client.futures_cancel_order(symbol="BTCUSDT", orderId=resting["orderId"])
        assert (await events.recv())["o"]["x"] == "CANCELED"
        # its socket closes only when something more arrives
        account = server.exchange.accounts[DEMO_KEY]
        asyncio.get_running_loop().call_later(0.1, server.exchange.deposit, account, 1)
    trades = await client.futures_account_trades(symbol="BTCUSDT")
    assert [row["orderId"] for row in trades] == [filled["orderId"]]
    order = await client.futures_get_order(symbol="BTCUSDT", orderId=resting["orderId"])
    assert order["status"] == "CANCELED"


async def test_batches_settings_and_refusals(client: Any) -> None:
    mark = float((await client.futures_mark_price(symbol="BTCUSDT"))["markPrice"])
    order = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": str(round(mark) - 1000),
        "quantity": "0.01",
    }
    placed = await client.futures_place_batch_order(batchOrders=[order, {**order, "quantity": "0"}])
    assert [row.get("code", row.get("status")) for row in placed] == ["NEW", -4003]
    assert len(await client.futures_get_open_orders(symbol="BTCUSDT")) == 1
    await client.futures_countdown_cancel_all(symbol="BTCUSDT", countdownTime=100_000)
    assert (await client.futures_cancel_all_open_orders(symbol="BTCUSDT"))["code"] == 200
    assert (await client.futures_change_leverage(symbol="BTCUSDT", leverage=7))["leverage"] == 7
    assert await client.futures_change_margin_type(symbol="SOLUSDT", marginType="ISOLATED") == {
        "code": 200,
        "msg": "success",
    }
    await client.futures_create_order(symbol="SOLUSDT", side="BUY", type="MARKET", quantity=10)
    (held,) = await client.futures_position_information(symbol="SOLUSDT")
    assert float(held["isolatedWallet"]) == pytest.approx(float(held["notional"]) / 20, rel=0.02)
    added = await client.futures_change_position_margin(symbol="SOLUSDT", amount=5, type=1)
    assert (added["code"], added["amount"]) == (200, 5)
    with pytest.raises(BinanceAPIException) as kept:
        await client.futures_change_leverage(symbol="SOLUSDT", leverage=2)
    assert kept.value.code == -4161
    with pytest.raises(BinanceAPIException) as refused:
        await client.futures_create_order(symbol="BTCUSDT", side="SELL", type="MARKET", quantity=500)
    assert refused.value.code == -4005


async def test_market_streams(sockets: Any) -> None:
    async with sockets.symbol_mark_price_socket("BTCUSDT") as one:
        assert (await one.recv())["data"]["s"] == "BTCUSDT"
    async with sockets.all_mark_price_socket() as one:
        assert len((await one.recv())["data"]) == 3
    async with sockets.symbol_ticker_futures_socket("BTCUSDT") as one:
        assert (await one.recv())["data"]["e"] == "bookTicker"
    async with sockets.futures_depth_socket("BTCUSDT", "10") as one:
        assert len((await one.recv())["data"]["b"]) == 10
    names = ["btcusdt@bookTicker", "ethusdt@bookTicker"]
    async with sockets.futures_multiplex_socket(names, category="public") as one:
        assert (await one.recv())["stream"] in names
