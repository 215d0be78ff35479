"""ccxt and ccxt.pro, unchanged, against the coin-margined side on a real socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, SeededMarket, Server, serve
from adapters.simulator.binance_coin import BinanceCoin

BTC, ETH = "BTC/USD:BTC", "ETH/USD:ETH"
PATIENCE_S = 60


@pytest.fixture
async def local() -> BinanceCoin:
    account = Account(balance=2, asset="BTC", positions={"BTCUSD_PERP": -500})
    return BinanceCoin(Exchange(SeededMarket(7, ("BTCUSD_PERP", "ETHUSD_PERP")), [account]))


@pytest.fixture
async def server(local: BinanceCoin) -> AsyncIterator[Server]:
    async with await serve(local) as running:
        yield running


@pytest.fixture
async def venue(server: Server) -> AsyncIterator[Any]:
    one = ccxt.pro.binancecoinm({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False})
    for name in ("dapiPublic", "dapiPrivate"):
        one.urls["api"][name] = f"{server.rest_url}/dapi/v1"
    one.urls["api"]["dapiPrivateV2"] = f"{server.rest_url}/dapi/v2"
    one.urls["api"]["sapi"] = f"{server.rest_url}/sapi/v1"
    one.urls["api"]["ws"]["inverse"] = f"{server.ws_url}/ws"
    async with asyncio.timeout(PATIENCE_S):
        await one.load_markets()
        yield one
        await one.close()


async def test_markets(venue: Any) -> None:
    assert list(venue.markets) == [BTC, ETH]
    market = venue.market(BTC)
    assert (market["inverse"], market["contractSize"], market["settle"]) == (True, 100, "BTC")
    assert (market["precision"]["amount"], market["precision"]["price"]) == (1, 0.1)
    assert market["limits"]["cost"]["min"] is None


async def test_account_and_positions(venue: Any) -> None:
    balance = (await venue.fetch_balance())["BTC"]
    assert balance["total"] == pytest.approx(2, abs=0.01)
    assert 1.9 < balance["free"] < 2
    positions = {one["symbol"]: one for one in await venue.fetch_positions([BTC])}
    held = positions[BTC]
    assert (held["side"], held["contracts"], held["marginMode"]) == ("short", 500, "cross")
    assert held["notional"] == pytest.approx(50_000 / held["markPrice"])
    assert (await venue.fetch_position_mode())["hedged"] is False


async def test_prices_funding_fees_and_tiers(venue: Any) -> None:
    book = await venue.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    one = await venue.fetch_ticker(BTC)
    assert one["last"] > 0
    assert one["quoteVolume"] == pytest.approx(12e9, rel=0.01)
    assert one["baseVolume"] * one["vwap"] == pytest.approx(one["quoteVolume"])
    assert (await venue.fetch_mark_price(BTC))["markPrice"] > 0
    rate = await venue.fetch_funding_rate(BTC)
    assert -0.003 <= rate["fundingRate"] <= 0.003
    assert rate["fundingTimestamp"] > rate["timestamp"]
    assert len(await venue.fetch_funding_rate_history(BTC, limit=10)) == 10
    assert (await venue.fetch_trading_fee(BTC))["taker"] == 0.0005
    tiers = (await venue.fetch_leverage_tiers([BTC]))[BTC]
    assert (tiers[4]["maxNotional"], tiers[4]["maxLeverage"]) == (100, 10)
    assert tiers[4]["minNotional"] is None, "the document spells it qtylFloor, the client reads qtyFloor"
    assert (await venue.set_leverage(10, BTC))["leverage"] == 10


async def test_orders_live_and_die(venue: Any) -> None:
    bid = (await venue.fetch_order_book(BTC, 5))["bids"][0][0]
    resting = await venue.create_order(BTC, "limit", "buy", 3, bid - 1000)
    assert resting["status"] == "open"
    assert (await venue.fetch_order(resting["id"], BTC))["remaining"] == 3
    assert [one["id"] for one in await venue.fetch_open_orders(BTC)] == [resting["id"]]
    assert (await venue.cancel_order(resting["id"], BTC))["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        await venue.cancel_order(resting["id"], BTC)
    market = await venue.create_order(BTC, "market", "buy", 2, None, {"reduceOnly": True})
    assert market["status"] == "closed"
    trades = await venue.fetch_my_trades(BTC)
    assert (trades[-1]["order"], trades[-1]["amount"], trades[-1]["fee"]["currency"]) == (market["id"], 2, "BTC")
    assert trades[-1]["fee"]["cost"] == pytest.approx(200 / trades[-1]["price"] * 0.0005, abs=1e-8)
    found = await venue.fetch_order(market["id"], BTC)
    assert found["cost"] == pytest.approx(200 / trades[-1]["price"], rel=1e-4)


async def test_refusals_arrive_as_what_they_are(venue: Any) -> None:
    ask = (await venue.fetch_order_book(BTC, 5))["asks"][0][0]
    with pytest.raises(ccxt.ExchangeError, match="-5022"):
        await venue.create_order(BTC, "limit", "buy", 1, ask + 100, {"postOnly": True})
    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        await venue.create_order(ETH, "market", "buy", 1)
    with pytest.raises(ccxt.ExchangeError, match="-2022"):
        await venue.create_order(BTC, "market", "sell", 1, None, {"reduceOnly": True})


async def test_streams(local: BinanceCoin, server: Server, venue: Any) -> None:
    assert (await venue.watch_mark_price(BTC))["markPrice"] > 0
    best = await venue.watch_bids_asks([BTC])
    assert best[BTC]["bid"] < best[BTC]["ask"]
    orders, trades, positions, balance = (
        asyncio.create_task(watch)
        for watch in (
            venue.watch_orders(BTC),
            venue.watch_my_trades(BTC),
            venue.watch_positions([BTC]),
            venue.watch_balance(),
        )
    )
    # only the exchange knows when the client's private socket is there
    while not any(s.listen_keys for s in local.streams.sessions.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    placed = await venue.create_order(BTC, "market", "sell", 4)
    assert (await orders)[0]["id"] == placed["id"]
    (trade,) = await trades
    assert (trade["order"], trade["amount"], trade["fee"]["currency"]) == (placed["id"], 4, "BTC")
    assert (await balance)["BTC"]["total"] == float(server.exchange.snapshot(DEMO_KEY).wallet)
    assert (await positions)[0]["contracts"] == 504
