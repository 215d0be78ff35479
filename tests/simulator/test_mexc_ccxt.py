"""ccxt and ccxt.pro, unchanged, against MEXC's side on a real socket: its contracts, of which it has nothing else.

Where ccxt reads the venue otherwise than its documentation and captures, a test here says so.
"""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import ccxt
import ccxt.pro
import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, SeededMarket, Server, serve
from adapters.simulator.mexc import Mexc

BTC, ETH, SOL = "BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"
PATIENCE_S = 30


@pytest.fixture
async def local() -> Mexc:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-1"})
    return Mexc(Exchange(SeededMarket(7), [account]), orders_2s=100)


@pytest.fixture
async def server(local: Mexc) -> AsyncIterator[Server]:
    async with await serve(local) as running:
        yield running


@pytest.fixture
async def venue(server: Server) -> AsyncIterator[Any]:
    options = {"defaultType": "swap"}
    one = ccxt.pro.mexc({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False, "options": options})
    one.urls["api"]["spot"] = dict.fromkeys(("public", "private"), server.rest_url)
    one.urls["api"]["contract"]["public"] = f"{server.rest_url}/api/v1/contract"
    one.urls["api"]["contract"]["private"] = f"{server.rest_url}/api/v1/private"
    one.urls["api"]["ws"]["swap"] = f"{server.ws_url}/edge"
    async with asyncio.timeout(PATIENCE_S):
        await one.load_markets()
        yield one
        await one.close()


async def test_markets(venue: Any) -> None:
    assert set(venue.markets) == {BTC, ETH, SOL}
    market = venue.market(BTC)
    assert (market["contractSize"], market["precision"]["amount"], market["precision"]["price"]) == (0.0001, 10, 0.1)
    assert market["active"]
    assert market["linear"]
    assert await venue.fetch_time() > 0


async def test_account_and_positions(local: Mexc, venue: Any) -> None:
    balance = (await venue.fetch_balance({"type": "swap"}))["USDT"]
    assert 9_000 < balance["free"] < 10_000
    positions = {one["symbol"]: one for one in await venue.fetch_positions()}
    assert (positions[BTC]["side"], positions[BTC]["contracts"], positions[BTC]["leverage"]) == ("long", 500, 20)
    assert (positions[ETH]["side"], positions[ETH]["contracts"]) == ("short", 1_000)
    assert positions[ETH]["liquidationPrice"] > 5_000
    assert (await venue.fetch_position_mode())["hedged"] is False
    # "ccxt totals skip positionMargin": what it calls the total is the free balance and what orders hold
    truth = local.exchange.snapshot(DEMO_KEY)
    assert balance["total"] == pytest.approx(balance["free"])
    assert float(truth.wallet) - balance["total"] > 300


async def test_prices_and_books(venue: Any) -> None:
    book = await venue.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    ticker = await venue.fetch_ticker(BTC)
    assert ticker["bid"] == book["bids"][0][0]
    assert ticker["quoteVolume"] == 12e9
    assert set(await venue.fetch_tickers([BTC, ETH])) == {BTC, ETH}
    assert len(await venue.fetch_ohlcv(BTC)) >= 1


async def test_funding_and_leverage(venue: Any) -> None:
    rate = await venue.fetch_funding_rate(BTC)
    assert -0.003 <= rate["fundingRate"] <= 0.003
    assert rate["fundingTimestamp"] > rate["timestamp"]
    assert rate["interval"] == "8h"
    assert len(await venue.fetch_funding_rate_history(BTC, limit=10)) == 10
    leverage = await venue.fetch_leverage(BTC)
    assert (leverage["longLeverage"], leverage["shortLeverage"], leverage["marginMode"]) == (20, 20, "cross")
    await venue.set_leverage(10, SOL, {"openType": 2, "positionType": 1})
    assert (await venue.fetch_leverage(SOL))["longLeverage"] == 10


async def test_it_does_not_know_margin_tables_that_are_not_even(venue: Any) -> None:
    """The captured answer of 2026 has its levels in riskLimitCustom; ccxt reads riskIncrVol alone, which is 0 there."""
    market = venue.market(BTC)
    tiers = venue.parse_market_leverage_tiers(market["info"], market)
    assert [(one["minNotional"], one["maxNotional"]) for one in tiers] == [(None, None)]
    assert len(market["info"]["riskLimitCustom"]) == 12


async def test_orders_live_and_die(local: Mexc, venue: Any) -> None:
    bid = (await venue.fetch_order_book(BTC, 5))["bids"][0][0]
    resting = await venue.create_order(BTC, "limit", "buy", 100, bid - 1_000, {"clientOrderId": "mine"})
    found = await venue.fetch_order(resting["id"], BTC)
    assert (found["status"], found["side"], found["remaining"]) == ("open", "buy", 100)
    assert [one["id"] for one in await venue.fetch_open_orders(BTC)] == [resting["id"]]
    assert found["clientOrderId"] is None, "it does not read externalOid"
    assert found["info"]["externalOid"] == "mine"
    await venue.cancel_order(resting["id"], BTC)
    assert (await venue.fetch_order(resting["id"], BTC))["status"] == "canceled"
    with pytest.raises(ccxt.InvalidOrder, match="order state cannot be cancelled"):
        await venue.cancel_order(resting["id"], BTC)
    closed = await venue.create_order(BTC, "market", "sell", 200, None, {"reduceOnly": True})
    trades = await venue.fetch_my_trades(BTC)
    assert (trades[0]["order"], trades[0]["amount"], trades[0]["fee"]["currency"]) == (closed["id"], 200, "USDT")
    assert local.exchange.snapshot(DEMO_KEY).positions["BTCUSDT"] == Decimal("0.03")
    await venue.create_order(BTC, "limit", "buy", 100, bid - 1_000)
    await venue.create_order(BTC, "limit", "buy", 100, bid - 1_200)
    await venue.cancel_all_orders(BTC)
    assert await venue.fetch_open_orders(BTC) == []


async def test_refusals_arrive_as_what_they_are(venue: Any) -> None:
    with pytest.raises(ccxt.InsufficientFunds, match="2005"):
        await venue.create_order(BTC, "market", "buy", 100_000)
    with pytest.raises(ccxt.ExchangeError, match="2009"):
        await venue.create_order(BTC, "market", "buy", 100, None, {"reduceOnly": True})
    with pytest.raises(ccxt.ExchangeError, match="2008"):
        await venue.create_order(BTC, "market", "sell", 1_000, None, {"reduceOnly": True})
    with pytest.raises(ccxt.ExchangeError, match="7002"):
        await venue.create_order(BTC, "market", "buy", 100, None, {"hedged": True})


async def test_in_hedge_mode_it_closes_with_the_side_that_opens_the_other(local: Mexc, venue: Any) -> None:
    """A captured pair of pushes settles what 4 means: an order of side 4 goes with the end of a position of type 1, a
    long. So a sell that closes a long is 4; ccxt sends 2 for it, which closes a short: refused, as there is none."""
    account = local.exchange.accounts[DEMO_KEY]
    for symbol in ("BTCUSDT", "ETHUSDT"):
        account.position(symbol).trade(-account.position(symbol).quantity, local.exchange.books[symbol].mark)
    local.exchange.set_hedge(account, hedge=True)
    await venue.create_order(BTC, "market", "buy", 100, None, {"hedged": True})
    with pytest.raises(ccxt.ExchangeError, match="2009"):
        await venue.create_order(BTC, "market", "sell", 100, None, {"hedged": True, "reduceOnly": True})
    await venue.create_order(BTC, "market", "sell", 100, None, {"hedged": True, "reduceOnly": True, "side": 4})
    assert local.exchange.snapshot(DEMO_KEY).positions == {}


async def test_public_streams(venue: Any) -> None:
    assert (await venue.watch_ticker(BTC))["last"] > 0
    assert -0.003 <= (await venue.watch_funding_rate(BTC))["fundingRate"] <= 0.003
    book = await venue.watch_order_book(BTC)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert set(await venue.watch_tickers([BTC, ETH])) <= {BTC, ETH}


async def test_private_streams(local: Mexc, server: Server, venue: Any) -> None:
    watches = (venue.watch_orders(BTC), venue.watch_my_trades(BTC), venue.watch_balance({"type": "swap"}))
    orders, trades, balance = (asyncio.create_task(watch) for watch in watches)
    # only the exchange knows when the client's private socket is there
    while not any(session.private for session in local.streams.sessions.values()):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    placed = await venue.create_order(BTC, "market", "buy", 100)
    assert (await orders)[0]["id"] == placed["id"]
    (trade,) = await trades
    assert (trade["order"], trade["amount"], trade["side"]) == (placed["id"], 100, "buy")
    assert (await balance)["USDT"]["free"] > 9_000
