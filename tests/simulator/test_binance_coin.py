"""What the coin-margined side says otherwise: its paths, its shapes, its rows of positions, its streams."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator import VENUES, Account, Client, Exchange, StillMarket
from adapters.simulator.binance import ROUTES as USDM
from adapters.simulator.binance_coin import ROUTES, BinanceCoin

PRICES = {"BTCUSD_PERP": 50_000, "ETHUSD_PERP": 2_500}
BTC = "BTCUSD_PERP"


def client(**account: Any) -> Client:
    given = {"balance": 2, "asset": "BTC", **account}
    return Client(BinanceCoin(Exchange(StillMarket(PRICES), [Account(**given)]), weight_limit=10**9))


def rows(one: Client, path: str, **params: object) -> Any:
    answer = one.call("GET", f"/dapi/{path}", **params)
    assert answer.status == 200, answer.data
    return answer.data


def test_every_path_has_its_kind() -> None:
    kind = client().binance.kind
    assert {path.split("/")[1] for _, path in ROUTES} == {"dapi", "sapi", "api"}
    for method, path in ROUTES:
        if path.startswith("/dapi/v1/") and (method, twin := path.replace("/dapi", "/fapi")) in USDM:
            assert kind(method, path) == kind(method, twin)
    for path in ("account", "balance", "positionRisk"):
        assert kind("GET", f"/dapi/v1/{path}") == kind("GET", f"/fapi/v3/{path}") != "other"


def test_what_the_other_product_has_alone_is_not_there() -> None:
    one = client()
    for path in ("/fapi/v1/time", "/dapi/v3/account", "/dapi/v1/symbolConfig", "/dapi/v1/multiAssetsMargin"):
        assert one.call("GET", path).status == 404


def test_a_listing_is_a_contract_of_a_coin() -> None:
    info = rows(client(), "v1/exchangeInfo")
    first = info["symbols"][0]
    assert (first["symbol"], first["pair"], first["contractSize"], first["marginAsset"]) == (BTC, "BTCUSD", 100, "BTC")
    assert (first["contractStatus"], first["quantityPrecision"]) == ("TRADING", 0)
    assert "status" not in first
    assert "MIN_NOTIONAL" not in {rule["filterType"] for rule in first["filters"]}
    assert [one["asset"] for one in info["assets"]] == ["BTC", "ETH"]


def test_what_is_asked_of_one_symbol_is_a_list_all_the_same() -> None:
    one = client()
    for path in ("premiumIndex", "ticker/bookTicker", "ticker/24hr"):
        (row,) = rows(one, f"v1/{path}", symbol=BTC)
        assert row["symbol"] == BTC
    (day,) = rows(one, "v1/ticker/24hr", symbol=BTC)
    assert Decimal(day["baseVolume"]) * Decimal(day["weightedAvgPrice"]) == pytest.approx(Decimal(day["volume"]) * 100)


def test_the_account_lists_every_coin_and_only_one_has_something_in_it() -> None:
    view = rows(client(positions={BTC: 500}), "v1/account")
    pools = {row["asset"]: row for row in view["assets"]}
    assert (pools["BTC"]["walletBalance"], pools["ETH"]["walletBalance"]) == ("2.00000000", "0.00000000")
    assert pools["BTC"]["maintMargin"] == "0.00400000"
    held = view["positions"][0]
    assert (held["positionSide"], held["positionAmt"], held["notionalValue"]) == ("BOTH", "500", "1.00000000")
    assert (held["initialMargin"], held["maintMargin"], held["maxQty"]) == ("0.05000000", "0.00400000", "50")
    (wallet,) = rows(client(), "v1/balance")
    assert (wallet["asset"], wallet["withdrawAvailable"]) == ("BTC", "2.00000000")


def test_positions_by_coin_and_by_pair_with_a_net_row_beside_longs_and_shorts() -> None:
    one = client(positions={BTC: 500}, hedge=True, isolated=[BTC])
    sides = [(row["symbol"], row["positionSide"]) for row in rows(one, "v1/positionRisk")]
    assert sides == [(symbol, side) for symbol in PRICES for side in ("BOTH", "LONG", "SHORT")]
    assert {row["positionSide"] for row in rows(one, "v1/account")["positions"]} == {"LONG", "SHORT"}
    assert {row["symbol"] for row in rows(one, "v1/positionRisk", marginAsset="ETH")} == {"ETHUSD_PERP"}
    _, held, _ = rows(one, "v1/positionRisk", pair="BTCUSD")
    assert (held["positionAmt"], held["marginType"], held["isolatedMargin"]) == ("500", "isolated", "0.05000000")


def test_brackets_are_in_the_coin() -> None:
    one = client()
    (table,) = rows(one, "v2/leverageBracket", symbol=BTC)
    assert table["brackets"][4] == {
        "bracket": 5, "initialLeverage": 10, "qtyCap": 100, "qtylFloor": 50, "maintMarginRatio": 0.05, "cum": 1.81,
    }  # fmt: skip
    (by_pair,) = rows(one, "v1/leverageBracket", pair="BTCUSD")
    assert (by_pair["pair"], by_pair["brackets"]) == ("BTCUSD", table["brackets"])
    set_ = one.call("POST", "/dapi/v1/leverage", symbol=BTC, leverage=10).data
    assert set_ == {"leverage": 10, "maxQty": "100", "symbol": BTC}


def test_an_order_and_its_trades_say_what_they_came_to_in_coins() -> None:
    one = client()
    key = one.send("POST", "/dapi/v1/listenKey").data["listenKey"]
    stream, prices = one.connect(f"/ws/{key}"), one.connect("/stream?streams=btcusd_perp@markPrice@1s")
    order = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": 100, "newOrderRespType": "RESULT"}
    placed = one.call("POST", "/dapi/v1/order", **order).data
    assert (placed["pair"], placed["status"], placed["executedQty"]) == ("BTCUSD", "FILLED", "100")
    found = rows(one, "v1/order", symbol=BTC, orderId=placed["orderId"])
    assert Decimal(found["cumBase"]) == pytest.approx(10_000 / Decimal(found["avgPrice"]), rel=Decimal("1e-6"))
    (trade,) = rows(one, "v1/userTrades", symbol=BTC)
    assert (trade["commissionAsset"], trade["quoteQty"], trade["baseQty"]) == ("BTC", "10000", found["cumBase"])
    one.wait(1_100)
    events = one.take(stream)
    assert [event["e"] for event in events] == [
        "ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE",
    ]  # fmt: skip
    assert (events[3]["o"]["N"], events[3]["o"]["ma"]) == ("BTC", "BTC")
    assert events[2]["a"]["B"][0]["a"] == events[2]["a"]["P"][0]["ma"] == "BTC"
    mark = one.take(prices)[0]["data"]
    assert (mark["s"], mark["ps"], mark["st"]) == (BTC, "BTCUSD", 2)


def test_the_venues_of_coins_say_so() -> None:
    coined, plain = VENUES["binance-coinm"], VENUES["binance"]
    assert (coined.coin, coined.contract, coined.own) == ("BTC", BTC, {"settle": "BTC"})
    assert (plain.coin, plain.contract, plain.own) == (None, None, {})
    assert coined.rate(StillMarket(PRICES)) == 50_000
    assert plain.rate(StillMarket({"BTCUSDT": 50_000})) == 1
