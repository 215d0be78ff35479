"""Whatever is ordered: money and positions add up, and every message can be decoded."""

from collections import defaultdict
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.simulator import Account, Binance, Client, Exchange, StillMarket

SYMBOLS = ("BTCUSDT", "SOLUSDT")
PRICES = {"BTCUSDT": 80_000, "SOLUSDT": 100}

orders = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(SYMBOLS),
        "side": st.sampled_from(("BUY", "SELL")),
        "lots": st.integers(1, 400),
        "offset": st.one_of(st.none(), st.integers(-300, 300)),
        "in_force": st.sampled_from(("GTC", "IOC", "FOK", "GTX")),
        "reduce_only": st.booleans(),
    }
)
moves = st.tuples(st.sampled_from(SYMBOLS), st.integers(-800, 800))
waits = st.integers(0, 10_000_000)
money = st.decimals(-500, 500, places=2)
steps = st.lists(st.one_of(orders, moves, waits, money, st.just("cancel")), max_size=40)


def act(client: Client, step: Any) -> None:
    exchange = client.binance.exchange
    match step:
        case {"symbol": symbol}:
            one, mark = exchange.instruments[symbol], exchange.books[symbol].mark
            lots = one.step * step["lots"]
            more = {} if step["reduce_only"] is False else {"reduceOnly": "true"}
            if step["offset"] is None:
                client.place(symbol, step["side"], lots, **more)
                return
            price = (mark * (10_000 + step["offset"]) / 10_000) // one.tick * one.tick
            client.place(symbol, step["side"], lots, price, timeInForce=step["in_force"], **more)
        case (symbol, basis_points):
            mark = exchange.books[symbol].mark
            exchange.set_mark(symbol, round(mark * (10_000 + basis_points) / 10_000, 4))
        case Decimal():
            if step + exchange.snapshot(client.account).equity > 100:
                exchange.deposit(client.account, step)
        case int():
            client.wait(step)
        case _:
            client.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")


@settings(max_examples=100, deadline=None)
@given(steps, st.sampled_from([(), ("SOLUSDT",), SYMBOLS]))
def test_everything_adds_up(story: list[Any], isolated: tuple[str, ...]) -> None:
    account = Account(balance=10_000, isolated=isolated)
    exchange = Exchange(StillMarket(PRICES), [account])
    client = Client(
        Binance(
            exchange,
            weight_limit=10**9,
            orders_10s=10**9,
            orders_1m=10**9,
            session_life_ms=10**12,
            listen_key_life_ms=10**12,
        )
    )
    stream = client.listen()
    for step in story:
        act(client, step)
        truth = exchange.snapshot(account)
        expected = 10_000 + truth.realised - truth.fees + truth.funding + truth.deposits
        assert truth.wallet == expected + truth.insurance
        assert truth.equity == truth.wallet + truth.unrealised
        own = {held.symbol: held.wallet for held in account.positions.values() if held.wallet}
        assert set(own) <= set(truth.positions) & set(isolated)
        assert account.cross_wallet == truth.wallet - sum(own.values())
        assert account.cross_wallet >= 0 or account.shared()
        traded: defaultdict[str, Decimal] = defaultdict(Decimal)
        for fill in exchange.ledger.fills:
            traded[fill.symbol] += fill.side * fill.quantity
        assert {s: q for s, q in traded.items() if q} == truth.positions
        for order in truth.open_orders:
            assert 0 < order.left <= order.quantity
    client.wait(10_000)
    frames = client.take(stream)
    wallets = [Decimal(f["a"]["B"][0]["wb"]) for f in frames if f["e"] == "ACCOUNT_UPDATE"]
    assert not wallets or wallets[-1] == exchange.snapshot(account).wallet
    cross = [Decimal(f["a"]["B"][0]["cw"]) for f in frames if f["e"] == "ACCOUNT_UPDATE"]
    assert not cross or cross[-1] == account.cross_wallet
    trades = [f["o"]["t"] for f in frames if f["e"] == "ORDER_TRADE_UPDATE" and f["o"]["t"]]
    assert len(trades) == len(set(trades))
    for order in exchange.ledger.orders.values():
        mine = [fill for fill in exchange.ledger.fills if fill.order_id == order.id]
        assert sum((fill.quantity for fill in mine), Decimal(0)) == order.executed


sizes = st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(-900, 900)), max_size=30)


@given(sizes)
def test_a_position_is_the_sum_of_its_fills(fills: list[tuple[int, int]]) -> None:
    account = Account(balance=1_000_000_000)
    exchange = Exchange(StillMarket(PRICES), [account])
    client = Client(Binance(exchange, weight_limit=10**9, orders_10s=10**9, orders_1m=10**9))
    flows = Decimal(0)
    for lots, offset in fills:
        exchange.set_mark("BTCUSDT", 80_000 + offset)
        client.place("BTCUSDT", "BUY" if lots > 0 else "SELL", abs(lots))
    for fill in exchange.ledger.fills:
        flows -= fill.side * fill.quantity * fill.price + fill.fee
    truth = exchange.snapshot(account)
    held = truth.positions.get("BTCUSDT", Decimal(0))
    assert truth.equity == 1_000_000_000 + flows + held * exchange.books["BTCUSDT"].mark
