"""pybit, the venue's own client, unchanged, against Bybit's side on a real socket: only its addresses are others."""

import asyncio
import contextlib
import queue
from collections.abc import AsyncIterator, Callable
from typing import Any

import pybit
import pytest
from pybit import _websocket_trading, unified_trading
from pybit.exceptions import InvalidRequestError

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, Faults, FrameFault, SeededMarket, Server, serve
from adapters.simulator.bybit import Bybit

PATIENCE_S = 30
SUBSCRIBED_S, ATTEMPTS = 5, 5
LINEAR = {"category": "linear", "symbol": "BTCUSDT"}


LATENCY = Faults(frames=(FrameFault("delay", on="mark", ms=300), FrameFault("delay", on="reply", ms=100)))
"""pybit 5.17 writes down who listens to a topic, or waits for an answer, only after it has sent its word (`subscribe`
in `_websocket_stream.py`, `_send_order_operation` in `_websocket_trading.py`): what comes at once finds nobody."""


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-1"})
    async with await serve(Bybit(Exchange(SeededMarket(7), [account])), faults=LATENCY) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Any:
    one = unified_trading.HTTP(api_key=DEMO_KEY, api_secret=DEMO_SECRET)
    one.endpoint = server.rest_url
    return one


async def ask(question: Callable[..., Any], **params: Any) -> Any:
    """The result of a call, which blocks: it runs beside the server."""
    return (await asyncio.to_thread(question, **params))["result"]


async def heard(news: "queue.SimpleQueue[Any]") -> Any:
    return await asyncio.to_thread(news.get, timeout=PATIENCE_S)


async def test_reads(client: Any) -> None:
    assert pybit.VERSION.startswith("5.")
    assert int((await ask(client.get_server_time))["timeSecond"]) > 0
    listed = (await ask(client.get_instruments_info, category="linear"))["list"]
    assert [row["symbol"] for row in listed] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert len((await ask(client.get_tickers, category="linear"))["list"]) == 3
    assert len((await ask(client.get_orderbook, **LINEAR))["b"]) == 25
    assert len((await ask(client.get_risk_limit, **LINEAR))["list"]) == 12
    (wallet,) = (await ask(client.get_wallet_balance, accountType="UNIFIED"))["list"]
    assert float(wallet["coin"][0]["walletBalance"]) == 10_000
    held = (await ask(client.get_positions, category="linear", settleCoin="USDT"))["list"]
    assert {(row["symbol"], row["side"], row["size"]) for row in held} == {
        ("BTCUSDT", "Buy", "0.05"),
        ("ETHUSDT", "Sell", "1"),
    }
    assert (await ask(client.get_api_key_information))["readOnly"] == 0
    assert (await ask(client.get_fee_rates, **LINEAR))["list"][0]["takerFeeRate"] == "0.0005"


async def test_an_order_lives_and_dies(client: Any) -> None:
    mark = float((await ask(client.get_tickers, **LINEAR))["list"][0]["markPrice"])
    order = {"side": "Buy", "orderType": "Limit", "qty": "0.01", "price": f"{mark * 0.99:.1f}", "orderLinkId": "mine"}
    placed = await ask(client.place_order, **LINEAR, **order)
    assert placed["orderLinkId"] == "mine"
    with pytest.raises(InvalidRequestError, match="110072"):
        await ask(client.place_order, **LINEAR, **order)
    while not (rows := (await ask(client.get_open_orders, **LINEAR, orderLinkId="mine"))["list"]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (rows[0]["orderId"], rows[0]["orderStatus"]) == (placed["orderId"], "New")
    assert (await ask(client.cancel_order, **LINEAR, orderLinkId="mine"))["orderId"] == placed["orderId"]
    while (await ask(client.get_order_history, **LINEAR, orderLinkId="mine"))["list"][0]["orderStatus"] == "New":  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    with pytest.raises(InvalidRequestError, match="110001"):
        await ask(client.cancel_order, **LINEAR, orderLinkId="mine")


async def test_a_batch_succeeds_though_all_of_it_fails(client: Any) -> None:
    rows = [{"symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01", "positionIdx": 1}]
    answer = await asyncio.to_thread(client.place_batch_order, category="linear", request=rows)
    assert answer["retCode"] == 0
    assert [row["orderId"] for row in answer["result"]["list"]] == [""]
    assert answer["retExtInfo"]["list"] == [{"code": 10001, "msg": "position idx not match position mode"}]


async def test_streams(client: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unified_trading, "PUBLIC_WSS", f"{server.ws_url}/v5/public/{{CHANNEL_TYPE}}")
    monkeypatch.setattr(unified_trading, "PRIVATE_WSS", f"{server.ws_url}/v5/private")
    assert isinstance(server.venue, Bybit)
    streams = server.venue.streams
    tickers, orders, trades = queue.SimpleQueue(), queue.SimpleQueue(), queue.SimpleQueue()  # type: ignore[var-annotated]

    def listen() -> tuple[Any, Any]:
        public = unified_trading.WebSocket(testnet=False, channel_type="linear")
        public.ticker_stream(symbol="BTCUSDT", callback=tickers.put)
        private = unified_trading.WebSocket(
            testnet=False, channel_type="private", api_key=DEMO_KEY, api_secret=DEMO_SECRET
        )
        private.order_stream(callback=orders.put)
        private.execution_stream(callback=trades.put)
        return public, private

    async def subscribed() -> None:
        while sum(len(one.topics) for one in streams.sessions.values()) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    for _ in range(ATTEMPTS):  # one of its sockets may have ended as `LATENCY` says
        sockets = await asyncio.to_thread(listen)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(subscribed(), SUBSCRIBED_S)
            break
        for one in sockets:
            await asyncio.to_thread(one.exit)
    try:
        assert float((await heard(tickers))["data"]["markPrice"]) > 0
        placed = await ask(client.place_order, **LINEAR, side="Buy", orderType="Market", qty="0.01")
        assert (await heard(trades))["data"][0]["orderId"] == placed["orderId"]
        states = {(await heard(orders))["data"][0]["orderStatus"] for _ in "12"}
        assert states == {"New", "Filled"}
    finally:
        for one in sockets:
            await asyncio.to_thread(one.exit)


async def test_orders_by_websocket(client: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_websocket_trading, "TRADE_WSS", f"{server.ws_url}/v5/trade")
    answers = queue.SimpleQueue()  # type: ignore[var-annotated]
    session = await asyncio.to_thread(
        unified_trading.WebSocketTrading, testnet=False, api_key=DEMO_KEY, api_secret=DEMO_SECRET
    )
    try:
        mark = float((await ask(client.get_tickers, **LINEAR))["list"][0]["markPrice"])
        price, link = f"{mark * 0.99:.1f}", {"orderLinkId": "mine"}
        order = {**LINEAR, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": price, **link}
        await asyncio.to_thread(session.place_order, answers.put, **order)
        assert (await heard(answers))["data"]["orderLinkId"] == "mine"
        while not (await ask(client.get_open_orders, **LINEAR, **link))["list"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.to_thread(session.cancel_order, answers.put, **LINEAR, **link)
        assert (await heard(answers))["retCode"] == 0
    finally:
        await asyncio.to_thread(session.exit)
