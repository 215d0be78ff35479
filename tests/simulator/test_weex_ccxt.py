"""ccxt and ccxt.pro, unchanged, against the WEEX side on a real socket: they speak its V3 as well.

Where the two differ, the test says who is wrong and why.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from adapters.simulator import DEMO_KEY, DEMO_PASSPHRASE, DEMO_SECRET, Account, Exchange, SeededMarket, Server, serve
from adapters.simulator.weex import Weex

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"
SWAP = {"type": "swap"}
PATIENCE_S = 30


@pytest.fixture
async def local() -> Weex:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-1"})
    return Weex(Exchange(SeededMarket(7), [account]), heartbeat_ms=3_600_000)


@pytest.fixture
async def server(local: Weex) -> AsyncIterator[Server]:
    async with await serve(local) as running:
        yield running


def client(server: Server, **options: Any) -> Any:
    """ccxt with its base addresses turned here. It tells contracts from spot by a word in the address of a socket."""
    keys = {"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "password": DEMO_PASSPHRASE, "enableRateLimit": False}
    one = ccxt.pro.weex({**keys, **options})
    for name in ("public", "private", "contract", "contractPrivate"):
        one.urls["api"][name] = server.rest_url
    one.urls["api"]["ws"]["contract"] = f"{server.ws_url.replace('//', '//contract@')}/v3/ws"
    return one


@pytest.fixture
async def venue(server: Server) -> AsyncIterator[Any]:
    one = client(server)
    async with asyncio.timeout(PATIENCE_S):
        await one.load_markets()
        yield one
        await one.close()


async def test_markets(venue: Any) -> None:
    assert list(venue.markets) == [BTC, ETH, "SOL/USDT:USDT"]
    market = venue.market(BTC)
    assert (market["precision"]["amount"], market["precision"]["price"]) == (0.001, 0.1)
    assert (market["limits"]["amount"]["min"], market["limits"]["leverage"]["max"]) == (0.001, 125)
    assert await venue.fetch_time(SWAP) > 0
    assert (await venue.fetch_status())["status"] == "ok"


async def test_account_and_positions(venue: Any) -> None:
    balance = (await venue.fetch_balance(SWAP))["USDT"]
    assert balance["total"] == pytest.approx(10_000, abs=100)
    assert 9_600 < balance["free"] < 9_800
    positions = {one["symbol"]: one for one in await venue.fetch_positions()}
    assert (positions[BTC]["side"], positions[BTC]["contracts"]) == ("long", 0.05)
    assert (positions[ETH]["side"], positions[ETH]["contracts"]) == ("short", 1)
    assert positions[ETH]["marginMode"] == "cross"
    assert (await venue.fetch_leverage(BTC))["longLeverage"] == 20
    assert (await venue.fetch_margin_mode(BTC))["marginMode"] == "cross"


async def test_what_ccxt_calls_the_size_of_a_contract_is_not_one(venue: Any) -> None:
    """It takes `contractVal` for it, and yet sends and reads quantities in the base asset: so does the venue."""
    held = await venue.fetch_position(BTC)
    base = held["notional"] / held["entryPrice"]
    assert base == pytest.approx(0.05)
    assert held["contracts"] == pytest.approx(base)
    assert held["contracts"] * held["contractSize"] == pytest.approx(base / 10_000), "who multiplies is wrong"


async def test_prices_books_and_funding(venue: Any) -> None:
    book = await venue.fetch_order_book(BTC)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert len(book["asks"]) == 15
    assert (await venue.fetch_ticker(BTC))["last"] > 0
    assert (await venue.fetch_bids_asks([BTC]))[BTC]["bid"] == book["bids"][0][0]
    assert (await venue.fetch_mark_price(BTC))["markPrice"] > 0
    assert set(await venue.fetch_mark_prices()) == {BTC, ETH, "SOL/USDT:USDT"}
    rate = await venue.fetch_funding_rate(BTC)
    assert -0.003 <= rate["nextFundingRate"] <= 0.003
    assert rate["nextFundingTimestamp"] > rate["timestamp"]
    assert rate["interval"] == "8h"
    assert len(await venue.fetch_funding_rate_history(BTC, limit=10)) == 10
    assert (await venue.fetch_trading_fee(BTC))["taker"] == 0.0005
    assert len(await venue.fetch_ohlcv(BTC)) >= 1
    assert (await venue.fetch_open_interest(BTC))["openInterestAmount"] == 0.05


async def test_settings(venue: Any) -> None:
    await venue.set_leverage(10, BTC)
    assert (await venue.fetch_leverage(BTC))["shortLeverage"] == 10
    with pytest.raises(ccxt.InvalidOrder, match="-3313"):
        await venue.set_leverage(101, "SOL/USDT:USDT")
    with pytest.raises(ccxt.ExchangeError, match="-1054"):
        await venue.set_margin_mode("isolated", BTC)
    sol = "SOL/USDT:USDT"
    assert (await venue.set_margin_mode("isolated", sol))["code"] == "200"
    await venue.create_order(sol, "market", "buy", 10)
    held = await venue.fetch_position(sol)
    assert held["marginMode"] == "isolated"
    await venue.add_margin(sol, 5, {"positionId": held["id"]})
    assert (await venue.fetch_position(sol))["collateral"] == pytest.approx(held["collateral"] + 5, abs=1)


async def test_orders_live_and_die(venue: Any) -> None:
    bid = (await venue.fetch_order_book(BTC))["bids"][0][0]
    resting = await venue.create_order(BTC, "limit", "buy", 0.01, bid - 1000)
    found = await venue.fetch_order(resting["id"], BTC)
    assert (found["status"], found["remaining"], found["side"]) == ("open", 0.01, "buy")
    assert [one["id"] for one in await venue.fetch_open_orders(BTC)] == [resting["id"]]
    assert (await venue.cancel_order(resting["id"], BTC))["status"] == "canceled"
    with pytest.raises(ccxt.InvalidOrder, match="-3200"):
        await venue.cancel_order(resting["id"], BTC)
    market = await venue.create_order(BTC, "market", "sell", 0.02, None, {"reduceOnly": True})
    done = await venue.fetch_order(market["id"], BTC)
    assert (done["status"], done["filled"]) == ("closed", 0.02)
    assert (await venue.fetch_position(BTC))["contracts"] == pytest.approx(0.03)
    (trade,) = await venue.fetch_my_trades(BTC)
    assert (trade["order"], trade["amount"], trade["fee"]["currency"]) == (market["id"], 0.02, "USDT")
    ended = await venue.fetch_canceled_and_closed_orders(BTC)
    assert {one["status"] for one in ended} == {"canceled", "closed"}
    for below in (1000, 1200):
        await venue.create_order(BTC, "limit", "buy", 0.01, bid - below)
    await venue.cancel_all_orders(BTC)
    assert await venue.fetch_open_orders(BTC) == []


async def test_refusals_arrive_as_what_they_are(venue: Any) -> None:
    ask = (await venue.fetch_order_book(BTC))["asks"][0][0]
    post = await venue.create_order(BTC, "limit", "buy", 0.01, ask + 100, {"timeInForce": "POST_ONLY"})
    ended = await venue.fetch_order(post["id"], BTC)
    assert (ended["status"], ended["filled"]) == ("canceled", 0)
    with pytest.raises(ccxt.ExchangeError, match="amount not enough"):
        await venue.create_order(BTC, "market", "buy", 50)
    with pytest.raises(ccxt.ExchangeError, match="smaller than the order"):
        await venue.create_order(BTC, "market", "sell", 1, None, {"reduceOnly": True})
    with pytest.raises(ccxt.InvalidOrder, match="-3200"):
        await venue.fetch_order("700000000000000001", BTC)


async def test_keys_that_are_not_right(server: Server) -> None:
    for wrong, code in (({"apiKey": "x"}, "-1044"), ({"secret": "x"}, "-1047"), ({"password": "x"}, "-1049")):
        one = client(server, **wrong)
        with pytest.raises(ccxt.AuthenticationError, match=code):
            await one.fetch_balance(SWAP)
        await one.close()


async def test_public_streams(venue: Any) -> None:
    assert (await venue.watch_ticker(BTC))["last"] > 0
    book = await venue.watch_order_book(BTC)
    assert book["bids"][0][0] < book["asks"][0][0]
    for _ in range(3):
        later = await venue.watch_order_book(BTC)
        assert later["nonce"] >= book["nonce"]
        assert later["bids"][0][0] < later["asks"][0][0]


async def test_private_streams(local: Weex, server: Server, venue: Any) -> None:
    orders, trades, positions = (
        asyncio.create_task(watch) for watch in (venue.watch_orders(BTC), venue.watch_my_trades(BTC), _second(venue))
    )

    def subscribed() -> set[str]:
        return {name for session in local.streams.sessions.values() if session.private for name in session.names}

    # only the exchange knows when the client's subscriptions are there
    while not subscribed() >= {"orders", "fill", "positions"}:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    placed = await venue.create_order(BTC, "market", "buy", 0.01)
    assert (await orders)[0]["id"] == placed["id"]
    (trade,) = await trades
    assert (trade["order"], trade["amount"]) == (placed["id"], 0.01)
    assert trade["price"] is None, "the venue tells no price, and ccxt does not divide value by size"
    assert trade["cost"] == pytest.approx(0.01 * local.exchange.ledger.fills[-1].price.__float__())
    assert {one["contracts"] for one in await positions} == {0.06}


async def _second(venue: Any) -> Any:
    """What comes after the snapshot with which it begins."""
    await venue.watch_positions([BTC])
    return await venue.watch_positions([BTC])


def test_an_empty_push_of_orders_is_too_much_for_ccxt() -> None:
    """The venue sends one now and then; ours reads it, ccxt 4.5.90 still looks for the market of its first row."""
    with pytest.raises(TypeError):
        ccxt.pro.weex().handle_orders(None, {"e": "orders", "E": 1, "v": 1, "msgEvent": "OrderUpdate", "d": []})
