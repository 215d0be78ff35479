"""ccxt and ccxt.pro, unchanged, against BingX's side on a real socket.

Loading the markets also asks for the coins of the wallet, spot pairs and coin-margined contracts, which the exchange
answers with one coin and none. Where ccxt reads the venue otherwise than its documentation, a test here says so.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, SeededMarket, Server, serve
from adapters.simulator.bingx import BingX

BTC, ETH, SOL = "BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"
PATIENCE_S = 30


@pytest.fixture
async def local() -> BingX:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-1"})
    return BingX(Exchange(SeededMarket(7), [account]))


@pytest.fixture
async def server(local: BingX) -> AsyncIterator[Server]:
    async with await serve(local) as running:
        yield running


@pytest.fixture
async def venue(server: Server) -> AsyncIterator[Any]:
    options = {"defaultType": "swap"}
    one = ccxt.pro.bingx({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False, "options": options})
    for name in [name for name in one.urls["api"] if name != "ws"]:
        one.urls["api"][name] = f"{server.rest_url}/openApi"
    one.urls["api"]["ws"] = {"linear": f"{server.ws_url}/swap-market", "spot": f"{server.ws_url}/market"}
    async with asyncio.timeout(PATIENCE_S):
        await one.load_markets()
        yield one
        await one.close()


async def test_markets(venue: Any) -> None:
    assert set(venue.markets) == {BTC, ETH, SOL}
    market = venue.market(BTC)
    assert (market["precision"]["amount"], market["precision"]["price"]) == (0.001, 0.1)
    assert (market["limits"]["cost"]["min"], market["contractSize"], market["active"]) == (50, 1, True)
    assert await venue.fetch_time() > 0


async def test_account_and_positions(local: BingX, venue: Any) -> None:
    balance = (await venue.fetch_balance())["USDT"]
    assert balance["total"] == pytest.approx(10_000, abs=100)
    assert 9_600 < balance["free"] < 9_800
    positions = {one["symbol"]: one for one in await venue.fetch_positions()}
    assert (positions[BTC]["side"], positions[BTC]["contracts"]) == ("long", 0.05)
    assert (positions[ETH]["side"], positions[ETH]["contracts"]) == ("short", 1)
    assert positions[ETH]["liquidationPrice"] > 5_000
    assert (await venue.fetch_position_mode())["hedged"] is False
    assert (await venue.fetch_leverage(BTC))["longLeverage"] == 20
    await venue.set_leverage(10, BTC, {"side": "BOTH"})
    assert (await venue.fetch_leverage(BTC))["shortLeverage"] == 10
    assert (await venue.fetch_margin_mode(BTC))["marginMode"] == "cross"


async def test_prices_books_and_funding(venue: Any) -> None:
    book = await venue.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0] < book["asks"][-1][0], "ccxt sorts what the venue turns round"
    ticker = await venue.fetch_ticker(BTC)
    assert ticker["bid"] == book["bids"][0][0]
    assert ticker["quoteVolume"] == pytest.approx(12e9, rel=0.001)
    assert set(await venue.fetch_tickers()) == {BTC, ETH, SOL}
    assert (await venue.fetch_mark_price(BTC))["markPrice"] > 0
    assert len(await venue.fetch_ohlcv(BTC)) >= 1
    rate = await venue.fetch_funding_rate(BTC)
    assert (rate["interval"], -0.003 <= rate["fundingRate"] <= 0.003) == ("8h", True)
    assert len(await venue.fetch_funding_rate_history(BTC, limit=10)) == 10
    assert (await venue.fetch_trading_fee(BTC))["taker"] == 0.0005
    tiers = await venue.fetch_market_leverage_tiers(BTC)
    assert (tiers[2]["maxNotional"], tiers[2]["maintenanceMarginRate"]) == (3_000_000, 0.0065)
    assert tiers[2]["maxLeverage"] is None, "the venue's table does not say it, so we assume it"


async def test_orders_live_and_die(venue: Any) -> None:
    bid = (await venue.fetch_order_book(BTC, 5))["bids"][0][0]
    resting = await venue.create_order(BTC, "limit", "buy", 0.01, bid - 1000, {"clientOrderId": "MINE-1"})
    found = await venue.fetch_order(resting["id"], BTC)
    assert (found["remaining"], found["status"], found["clientOrderId"]) == (0.01, "open", "mine-1")
    assert int(resting["id"]) > 2**53, "ids are told as numbers, and ccxt keeps all their digits"
    assert [one["id"] for one in await venue.fetch_open_orders(BTC)] == [resting["id"]]
    assert (await venue.cancel_order(resting["id"], BTC))["status"] == "canceled"
    with pytest.raises(ccxt.ExchangeError, match="80018"):
        await venue.cancel_order(resting["id"], BTC)
    market = await venue.create_order(BTC, "market", "sell", 0.02, None, {"reduceOnly": True})
    (trade,) = await venue.fetch_my_trades(BTC, params={"orderId": market["id"]})
    assert (trade["order"], trade["amount"], trade["fee"]["currency"]) == (market["id"], 0.02, "USDT")
    assert (await venue.fetch_order(market["id"], BTC))["status"] == "closed"
    rests = {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01}
    await venue.create_orders([rests | {"price": bid - 1000}, rests | {"price": bid - 1200}])
    await venue.cancel_all_orders(BTC)
    assert await venue.fetch_open_orders(BTC) == []


async def test_refusals_arrive_as_what_they_are(venue: Any) -> None:
    ask = (await venue.fetch_order_book(BTC, 5))["asks"][-1][0]
    with pytest.raises(ccxt.ExchangeError, match="101215"):
        await venue.create_order(BTC, "limit", "buy", 0.01, ask + 100, {"postOnly": True})
    with pytest.raises(ccxt.InsufficientFunds, match="101204"):
        await venue.create_order(BTC, "market", "buy", 50)
    with pytest.raises(ccxt.ExchangeError, match="101290"):
        await venue.create_order(BTC, "market", "buy", 0.01, None, {"reduceOnly": True})
    with pytest.raises(ccxt.OrderNotFound, match="109421"):
        await venue.fetch_order("1", BTC)
    with pytest.raises(ccxt.BadRequest, match="109400"):
        await venue.create_order(BTC, "market", "buy", 0.01, None, {"hedged": True})
    await venue.create_order(BTC, "limit", "buy", 0.01, ask - 1_000, {"clientOrderId": "once"})
    with pytest.raises(ccxt.DuplicateOrderId):
        await venue.create_order(BTC, "limit", "buy", 0.01, ask - 1_000, {"clientOrderId": "once"})
    venue.secret = "another"
    with pytest.raises(ccxt.AuthenticationError, match="100001"):
        await venue.fetch_balance()


async def test_public_streams(venue: Any) -> None:
    assert (await venue.watch_ticker(BTC))["bid"] > 0
    book = await venue.watch_order_book(BTC)
    assert book["bids"][0][0] < book["asks"][0][0]


async def test_private_streams(local: BingX, venue: Any) -> None:
    watches = (venue.watch_orders(BTC), venue.watch_my_trades(BTC), venue.watch_positions([BTC]))
    orders, trades, positions = (asyncio.create_task(watch) for watch in watches)
    # only the exchange knows when the client's private socket is there
    while not any(session.private for session in local.streams.sessions.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    placed = await venue.create_order(BTC, "market", "buy", 0.01)
    assert (await orders)[0]["id"] == placed["id"]
    (trade,) = await trades
    assert (trade["order"], trade["amount"]) == (placed["id"], 0.01)
    (held,) = [one for one in await positions if one["symbol"] == BTC]
    assert (held["side"], held["contracts"]) == ("long", 0.06)


async def test_the_wallet_streams_and_ccxt_takes_it_for_what_is_free(local: BingX, venue: Any) -> None:
    watch = asyncio.create_task(venue.watch_balance())
    while not any(session.private for session in local.streams.sessions.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await venue.create_order(BTC, "market", "buy", 0.01)
    truth = local.exchange.snapshot(DEMO_KEY)
    # "wb" is the wallet's balance, of which positions hold a part; REST tells what is free
    assert (await watch)["USDT"]["free"] == float(truth.wallet)
    assert (await venue.fetch_balance())["USDT"]["free"] < float(truth.wallet) - 300
