"""ccxt and ccxt.pro, unchanged, against Bybit's side on a real socket: only their addresses are others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, SeededMarket, Server, serve
from adapters.simulator.bybit import Bybit

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
PATIENCE_S = 30


@pytest.fixture
async def local() -> Bybit:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-1"})
    return Bybit(Exchange(SeededMarket(7), [account]))


@pytest.fixture
async def server(local: Bybit) -> AsyncIterator[Server]:
    async with await serve(local) as running:
        yield running


@pytest.fixture
async def venue(server: Server) -> AsyncIterator[Any]:
    one = ccxt.pro.bybit({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False})
    for name in one.urls["api"]:
        if name != "ws":
            one.urls["api"][name] = server.rest_url
    streams = one.urls["api"]["ws"]
    for category in streams["public"]:
        streams["public"][category] = f"{server.ws_url}/v5/public/{category}"
    streams["private"]["contract"] = streams["private"]["spot"]["unified"] = f"{server.ws_url}/v5/private"
    async with asyncio.timeout(PATIENCE_S):
        await one.load_markets()
        yield one
        await one.close()


async def after(venue: Any, order: dict[str, Any], *wanted: str) -> dict[str, Any]:
    """The order once it is in one of these states: an answer only says that it was received, and for a moment it is not
    there at all."""
    while True:
        with contextlib.suppress(ccxt.OrderNotFound):
            found: dict[str, Any] = await venue.fetch_order(order["id"], BTC, {"acknowledged": True})
            if found["status"] in wanted:
                return found
        await asyncio.sleep(0.01)


async def test_markets(venue: Any) -> None:
    assert sorted(venue.markets) == [BTC, ETH, "SOL/USDT:USDT"]
    market = venue.market(BTC)
    assert (market["precision"]["amount"], market["precision"]["price"]) == (0.001, 0.1)
    assert market["limits"]["cost"]["min"] == 50
    assert (market["linear"], market["settle"]) == (True, "USDT")
    assert await venue.fetch_time() > 0


async def test_account_and_positions(venue: Any) -> None:
    balance = (await venue.fetch_balance())["USDT"]
    assert balance["total"] == pytest.approx(10_000, abs=100)
    positions = {one["symbol"]: one for one in await venue.fetch_positions()}
    assert (positions[BTC]["side"], positions[BTC]["contracts"]) == ("long", 0.05)
    assert (positions[ETH]["side"], positions[ETH]["contracts"]) == ("short", 1)
    assert positions[ETH]["liquidationPrice"] > 5_000
    assert (await venue.fetch_position(BTC))["contracts"] == 0.05


async def test_prices_funding_fees_and_tiers(venue: Any) -> None:
    book = await venue.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    ticker = await venue.fetch_ticker(BTC)
    assert ticker["markPrice"] > 0
    assert ticker["quoteVolume"] == pytest.approx(12e9, rel=0.001)
    assert set(await venue.fetch_tickers([BTC, ETH])) == {BTC, ETH}
    rate = await venue.fetch_funding_rate(BTC)
    assert -0.003 <= rate["fundingRate"] <= 0.003
    assert rate["fundingTimestamp"] > rate["timestamp"]
    assert len(await venue.fetch_funding_rate_history(BTC, limit=10)) == 10
    assert len(await venue.fetch_ohlcv(BTC)) >= 1
    assert (await venue.fetch_trading_fee(BTC))["taker"] == 0.0005
    assert (await venue.fetch_open_interest(BTC))["openInterestAmount"] == 0.05
    tiers = sorted(await venue.fetch_market_leverage_tiers(BTC), key=lambda tier: tier["maxNotional"])
    assert (tiers[2]["maxNotional"], tiers[2]["maintenanceMarginRate"]) == (3_000_000, 0.0065)


async def test_settings(venue: Any) -> None:
    await venue.set_leverage(10, BTC)
    assert (await venue.fetch_leverage(BTC))["longLeverage"] == 10
    with pytest.raises(ccxt.ExchangeError, match="110043"):
        await venue.set_leverage(10, BTC)
    with pytest.raises(ccxt.ExchangeError, match="110013"):
        await venue.set_leverage(100, "SOL/USDT:USDT", {"buyLeverage": "101", "sellLeverage": "101"})
    with pytest.raises(ccxt.ExchangeError, match="110024"):
        await venue.set_position_mode(True, BTC)


async def test_orders_live_and_die(venue: Any) -> None:
    bid = (await venue.fetch_order_book(BTC, 5))["bids"][0][0]
    resting = await after(venue, await venue.create_order(BTC, "limit", "buy", 0.01, bid - 1000), "open")
    assert resting["remaining"] == 0.01
    await venue.edit_order(resting["id"], BTC, "limit", "buy", 0.02, bid - 1100)
    while (await after(venue, resting, "open"))["amount"] != 0.02:  # noqa: ASYNC110 — an amendment is received first, too
        await asyncio.sleep(0.01)
    assert [one["id"] for one in await venue.fetch_open_orders(BTC)] == [resting["id"]]
    await venue.cancel_order(resting["id"], BTC)
    assert (await after(venue, resting, "canceled"))["filled"] == 0
    with pytest.raises(ccxt.OrderNotFound):
        await venue.cancel_order(resting["id"], BTC)
    market = await venue.create_order(BTC, "market", "sell", 0.02, None, {"reduceOnly": True})
    assert (await after(venue, market, "closed"))["filled"] == 0.02
    trades = await venue.fetch_my_trades(BTC)
    assert (trades[-1]["order"], trades[-1]["amount"]) == (market["id"], 0.02)
    assert trades[-1]["fee"]["cost"] > 0
    await venue.create_orders(
        [
            {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": bid - 1000},
            {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": bid - 1200},
        ]
    )
    while len(await venue.fetch_open_orders(BTC)) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await venue.cancel_all_orders(BTC)
    while await venue.fetch_open_orders(BTC):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_refusals_arrive_as_what_they_are(venue: Any) -> None:
    """At once, or afterwards for what only the matching engine can know."""
    ask = (await venue.fetch_order_book(BTC, 5))["asks"][0][0]
    post = await venue.create_order(BTC, "limit", "buy", 0.01, ask + 100, {"postOnly": True})
    assert (await after(venue, post, "canceled"))["filled"] == 0
    kill = await venue.create_order(BTC, "limit", "buy", 0.01, ask - 50, {"timeInForce": "FOK"})
    assert (await after(venue, kill, "canceled"))["filled"] == 0
    with pytest.raises(ccxt.InsufficientFunds, match="110007"):
        await venue.create_order(BTC, "market", "buy", 50)
    with pytest.raises(ccxt.ExchangeError, match="110017"):
        await venue.create_order(BTC, "market", "buy", 0.01, None, {"reduceOnly": True})


async def test_public_streams(venue: Any) -> None:
    ticker = await venue.watch_ticker(BTC)
    assert ticker["markPrice"] > 0
    book = await venue.watch_order_book(BTC)
    assert book["bids"][0][0] < book["asks"][0][0]
    again = await venue.watch_order_book(BTC)
    assert again["timestamp"] >= book["timestamp"]
    best = await venue.watch_bids_asks([BTC])
    assert best[BTC]["bid"] < best[BTC]["ask"]


async def test_private_streams(local: Bybit, venue: Any) -> None:
    (asked,) = await venue.watch_positions([BTC])  # the first comes from an answer
    assert asked["contracts"] == 0.05
    orders, trades, positions, balance = (
        asyncio.create_task(watch)
        for watch in (
            venue.watch_orders(BTC),
            venue.watch_my_trades(BTC),
            venue.watch_positions([BTC]),
            venue.watch_balance(),
        )
    )
    # only the exchange knows when the client's private socket has all its topics
    while sum(len(session.topics) for session in local.streams.sessions.values() if session.private) < 4:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    placed = await venue.create_order(BTC, "market", "buy", 0.01)
    assert (await orders)[0]["id"] == placed["id"]
    (trade,) = await trades
    assert (trade["order"], trade["amount"]) == (placed["id"], 0.01)
    assert (await balance)["USDT"]["total"] == pytest.approx(10_000, abs=100)
    assert (await positions)[0]["contracts"] in (0.05, 0.06)  # told once for the order, and once for the trade
