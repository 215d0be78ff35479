"""ccxt and ccxt.pro, unchanged, against the exchange on a real socket.

They use the routed websocket paths of 2026. Of the wallet service (`sapi`), loading the markets asks
for the coins and the margin pairs, which the exchange answers with one coin and none.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Binance, Exchange, SeededMarket, Server, serve

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
PATIENCE_S = 30


@pytest.fixture
async def local() -> Binance:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-1"})
    return Binance(Exchange(SeededMarket(7), [account]))


@pytest.fixture
async def server(local: Binance) -> AsyncIterator[Server]:
    async with await serve(local) as running:
        yield running


@pytest.fixture
async def venue(server: Server) -> AsyncIterator[Any]:
    one = ccxt.pro.binanceusdm({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False})
    for name in ("fapiPublic", "fapiPrivate"):
        for version, path in (("", "v1"), ("V2", "v2"), ("V3", "v3")):
            one.urls["api"][name + version] = f"{server.rest_url}/fapi/{path}"
    one.urls["api"]["sapi"] = f"{server.rest_url}/sapi/v1"
    one.urls["api"]["ws"]["linear"] = f"{server.ws_url}/ws"
    async with asyncio.timeout(PATIENCE_S):
        await one.load_markets()
        yield one
        await one.close()


async def test_markets(venue: Any) -> None:
    assert list(venue.markets) == [BTC, ETH, "SOL/USDT:USDT"]
    market = venue.market(BTC)
    assert market["precision"] == {"amount": 0.001, "price": 0.1, **_rest(market["precision"])}
    assert market["limits"]["cost"]["min"] == 50
    assert market["limits"]["market"]["max"] == 120
    assert await venue.fetch_time() > 0
    assert (await venue.fetch_status())["status"] == "ok"


def _rest(precision: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in precision.items() if name not in ("amount", "price")}


async def test_account_and_positions(venue: Any) -> None:
    balance = (await venue.fetch_balance())["USDT"]
    assert balance["total"] == pytest.approx(10_000, abs=100)
    assert 9_600 < balance["free"] < 9_800
    positions = {one["symbol"]: one for one in await venue.fetch_positions()}
    assert (positions[BTC]["side"], positions[BTC]["contracts"]) == ("long", 0.05)
    assert (positions[ETH]["side"], positions[ETH]["contracts"]) == ("short", 1)
    assert positions[ETH]["liquidationPrice"] > 5_000
    assert (await venue.fetch_position_mode())["hedged"] is False
    risks = {one["symbol"] for one in await venue.fetch_positions_risk()}
    assert risks >= {BTC, ETH}


async def test_prices_and_books(local: Binance, venue: Any) -> None:
    local.exchange.freeze()  # what is asked for in two answers must be of one moment
    book = await venue.fetch_order_book(BTC, 5)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(book["asks"]) == 5
    assert (await venue.fetch_ticker(BTC))["last"] > 0
    assert set(await venue.fetch_tickers()) >= {BTC, ETH}
    assert (await venue.fetch_bids_asks())[BTC]["bid"] == book["bids"][0][0]
    assert (await venue.fetch_mark_prices())[BTC]["markPrice"] > 0
    assert (await venue.fetch_last_prices())[BTC]["price"] > 0
    assert len(await venue.fetch_ohlcv(BTC)) >= 1
    assert (await venue.fetch_open_interest(BTC))["openInterestAmount"] == 0.05


async def test_funding_fees_and_tiers(venue: Any) -> None:
    rate = await venue.fetch_funding_rate(BTC)
    assert -0.003 <= rate["fundingRate"] <= 0.003
    assert rate["fundingTimestamp"] > rate["timestamp"]
    history = await venue.fetch_funding_rate_history(BTC, limit=10)
    assert len(history) == 10
    assert (await venue.fetch_funding_intervals())[BTC]["interval"] == "8h"
    assert (await venue.fetch_trading_fee(BTC))["taker"] == 0.0005
    tiers = (await venue.fetch_leverage_tiers([BTC]))[BTC]
    assert (tiers[2]["maxNotional"], tiers[2]["maintenanceMarginRate"]) == (3_000_000, 0.0065)
    assert (await venue.set_leverage(10, BTC))["leverage"] == 10
    assert (await venue.fetch_leverages([BTC]))[BTC]["longLeverage"] == 10
    with pytest.raises(ccxt.MarginModeAlreadySet):
        await venue.set_margin_mode("cross", BTC)
    assert (await venue.fetch_margin_mode(BTC))["marginMode"] == "cross"


async def test_leverage_that_is_refused(venue: Any) -> None:
    with pytest.raises(ccxt.ExchangeError, match="-4028"):
        await venue.set_leverage(101, "SOL/USDT:USDT")
    await venue.create_order(ETH, "market", "sell", 50)
    with pytest.raises(ccxt.ExchangeError, match="-2027"):
        await venue.set_leverage(125, ETH)
    with pytest.raises(ccxt.ExchangeError, match="-2028"):
        await venue.set_leverage(1, ETH)


async def test_isolated_margin(venue: Any) -> None:
    sol = "SOL/USDT:USDT"
    await venue.set_margin_mode("isolated", sol)
    assert (await venue.fetch_margin_mode(sol))["marginMode"] == "isolated"
    await venue.create_order(sol, "market", "buy", 10)
    (held,) = await venue.fetch_positions([sol])
    assert held["marginMode"] == "isolated"
    assert held["collateral"] == pytest.approx(held["notional"] / 20, rel=0.02)
    assert (await venue.add_margin(sol, 5))["amount"] == 5
    (more,) = await venue.fetch_positions([sol])
    assert more["collateral"] == pytest.approx(held["collateral"] + 5, abs=1)
    assert (await venue.reduce_margin(sol, 3))["amount"] == 3
    with pytest.raises(ccxt.ExchangeError, match="-4048"):
        await venue.set_margin_mode("cross", sol)


async def test_what_was_traded_in_a_day(venue: Any) -> None:
    one = await venue.fetch_ticker(BTC)
    assert one["quoteVolume"] == pytest.approx(12e9, rel=0.001)
    assert one["quoteVolume"] / one["baseVolume"] == pytest.approx(one["vwap"])
    assert one["low"] <= one["vwap"] <= one["high"]
    every = await venue.fetch_tickers()
    assert every[ETH]["quoteVolume"] == pytest.approx(7.5e9, rel=0.001)


async def test_orders_live_and_die(venue: Any) -> None:
    bid = (await venue.fetch_order_book(BTC, 5))["bids"][0][0]
    resting = await venue.create_order(BTC, "limit", "buy", 0.01, bid - 1000)
    assert resting["status"] == "open"
    found = await venue.fetch_order(resting["id"], BTC)
    assert found["remaining"] == 0.01
    edited = await venue.edit_order(resting["id"], BTC, "limit", "buy", 0.02, bid - 1100)
    assert edited["amount"] == 0.02
    assert [one["id"] for one in await venue.fetch_open_orders(BTC)] == [resting["id"]]
    assert (await venue.cancel_order(resting["id"], BTC))["status"] == "canceled"
    with pytest.raises(ccxt.OrderNotFound):
        await venue.cancel_order(resting["id"], BTC)
    market = await venue.create_order(BTC, "market", "sell", 0.02, None, {"reduceOnly": True})
    assert market["status"] == "closed"
    trades = await venue.fetch_my_trades(BTC)
    assert (trades[-1]["order"], trades[-1]["amount"]) == (market["id"], 0.02)
    assert trades[-1]["fee"]["currency"] == "USDT"
    assert len(await venue.fetch_orders(BTC)) == 2
    await venue.create_orders(
        [
            {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": bid - 1000},
            {"symbol": BTC, "type": "limit", "side": "buy", "amount": 0.01, "price": bid - 1200},
        ]
    )
    await venue.cancel_all_orders(BTC)
    assert await venue.fetch_open_orders(BTC) == []


async def test_refusals_arrive_as_what_they_are(venue: Any) -> None:
    ask = (await venue.fetch_order_book(BTC, 5))["asks"][0][0]
    with pytest.raises(ccxt.InvalidOrder, match="-5022"):
        await venue.create_order(BTC, "limit", "buy", 0.01, ask + 100, {"postOnly": True})
    with pytest.raises(ccxt.ExchangeError, match="-2019"):
        await venue.create_order(BTC, "market", "buy", 50)
    with pytest.raises(ccxt.InvalidOrder, match="-5021"):
        await venue.create_order(BTC, "limit", "buy", 0.01, ask - 50, {"timeInForce": "FOK"})
    with pytest.raises(ccxt.ExchangeError, match="-2022"):
        await venue.create_order(BTC, "market", "buy", 0.01, None, {"reduceOnly": True})
    with pytest.raises(ccxt.OrderNotFound):
        await venue.fetch_order("1", BTC)


async def test_public_streams(venue: Any) -> None:
    mark = await venue.watch_mark_price(BTC)
    assert mark["markPrice"] > 0
    assert all(one["markPrice"] > 0 for one in (await venue.watch_mark_prices([BTC, ETH])).values())
    best = await venue.watch_bids_asks([BTC])
    assert best[BTC]["bid"] < best[BTC]["ask"]
    book = await venue.watch_order_book(BTC)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert (await venue.watch_order_book(BTC))["nonce"] >= book["nonce"]


async def test_private_streams(local: Binance, server: Server, venue: Any) -> None:
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
    placed = await venue.create_order(BTC, "market", "buy", 0.01)
    assert (await orders)[0]["id"] == placed["id"]
    (trade,) = await trades
    assert (trade["order"], trade["amount"]) == (placed["id"], 0.01)
    assert (await balance)["USDT"]["total"] == float(server.exchange.snapshot(DEMO_KEY).wallet)
    assert (await positions)[0]["contracts"] == 0.06
