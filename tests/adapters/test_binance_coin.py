"""What the coin-margined dialect understands otherwise, and what it leaves to other pools of margin."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.binance_coin import BinanceCoin
from agent.core.events import (
    Balance,
    Elsewhere,
    Fact,
    Flow,
    Leverage,
    Listed,
    Margin,
    Mode,
    Orders,
    Position,
    Positions,
    Reserve,
    Side,
    Tiers,
    Unanswered,
    Unknown,
    Volume,
    Warned,
)
from agent.core.venue import Ask, What
from tests.adapters.binance_kit import MS, NOW, credentials, tell
from tests.conformance.binance_coin import build, coined

ROW = {
    "symbol": "BTCUSD_PERP", "positionSide": "BOTH", "positionAmt": "-12", "entryPrice": "50000",
    "unRealizedProfit": "0.25", "leverage": "20", "marginType": "cross", "isolatedMargin": "0.00000000",
    "updateTime": 3,
}  # fmt: skip
POOL = {
    "asset": "BTC", "walletBalance": "1.5", "marginBalance": "1.75", "initialMargin": "0.1", "maintMargin": "0.02",
    "availableBalance": "1.6",
}  # fmt: skip
KEPT = {"symbol": "BTCUSD_PERP", "positionSide": "BOTH", "positionAmt": "-12", "maintMargin": "0.02"}


def answer(what: What, body: Any, instrument: int | None = None) -> list[Fact]:
    return tell(build(), Ask(what, instrument), body)


def event(body: dict[str, Any]) -> list[Fact]:
    return list(build().on_frame("private", json.dumps(body).encode(), NOW))


def test_a_contract_is_inverse_and_as_large_as_it_says() -> None:
    rows = [
        coined("BTCUSD_PERP"),
        coined("BTCUSD_200925", contractType="CURRENT_QUARTER"),
        coined("BTCUSD_200626", marginAsset="ETH"),
        coined("BTCUSD_201225", contractSize=0),
        coined("ETHUSD_PERP"),
    ]
    listed, *rest = answer(What.INSTRUMENTS, {"symbols": rows})
    assert isinstance(listed, Listed)
    (one,) = listed.instruments
    assert (one.venue, one.symbol, one.quote, one.settle) == ("binance-coinm", "BTCUSD_PERP", "USD", "BTC")
    assert (one.inverse, one.unit, one.min_notional, one.trading) == (True, 100.0, 0.0, True)
    assert [type(fact) for fact in rest] == [Unknown, Unknown], "what is settled otherwise, or has no size, is said"


def test_symbols_of_another_coin_are_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="ETHUSD_PERP is not settled in BTC, such as BTCUSD_PERP"):
        BinanceCoin(symbols=("BTCUSD_PERP", "ETHUSD_PERP"), settle="BTC", credentials=credentials())


@pytest.mark.parametrize("floor", ["qtylFloor", "qtyFloor"])
def test_margin_tables_are_in_the_coin_and_scaled(floor: str) -> None:
    bracket = {"initialLeverage": 50, "qtyCap": 20, floor: 5, "maintMarginRatio": 0.01, "cum": 0.5}
    (tiers,) = answer(What.TIERS, [{"symbol": "BTCUSD_PERP", "notionalCoef": 2, "brackets": [bracket]}])
    assert isinstance(tiers, Tiers)
    (tier,) = tiers.tiers
    assert (tier.floor, tier.cap, tier.rate, tier.deduction, tier.leverage) == (10, 40, 0.01, 1.0, 50)
    del bracket[floor]
    (unread,) = answer(What.TIERS, [{"symbol": "BTCUSD_PERP", "brackets": [bracket]}])
    assert isinstance(unread, Unknown)


def test_the_account_is_the_pool_of_its_coin() -> None:
    other = POOL | {"asset": "ETH", "walletBalance": "99"}
    margin, balance = answer(What.ACCOUNT, {"canTrade": True, "assets": [other, POOL], "positions": [KEPT]})
    assert isinstance(margin, Margin)
    assert (margin.wallet, margin.equity, margin.initial, margin.maintenance) == (1.5, 1.75, 0.1, 0.02)
    assert margin.reserves == (Reserve(0, Side.NET, 0.02),)
    assert isinstance(balance, Balance)
    assert (balance.asset, balance.wallet) == ("BTC", 1.5)
    (missing,) = answer(What.ACCOUNT, {"canTrade": True, "assets": [other], "positions": [KEPT]})
    assert isinstance(missing, Unanswered)


@pytest.mark.parametrize(("sides", "hedge"), [(("BOTH",), False), (("LONG", "SHORT"), True), (("BOTH", "LONG"), True)])
def test_the_rows_of_positions_tell_the_mode(sides: tuple[str, ...], hedge: bool) -> None:
    rows = [KEPT | {"positionSide": side} for side in sides]
    body = {"canTrade": False, "assets": [], "positions": [*rows, KEPT | {"symbol": "ETHUSD_PERP"}]}
    assert answer(What.MODE, body) == [Mode(hedge=hedge, multi_asset=False, can_trade=False)]
    (unknown,) = answer(What.MODE, {"canTrade": True, "assets": [], "positions": []})
    assert isinstance(unknown, Unanswered), "no row, no mode"


def test_positions_of_other_coins_are_nobodys_and_those_of_ours_are_strangers() -> None:
    isolated = ROW | {"marginType": "isolated", "isolatedMargin": "0.75"}
    rows = [isolated, ROW | {"symbol": "BTCUSD_261225"}, ROW | {"symbol": "ETHUSD_PERP"}]
    (told,) = answer(What.POSITIONS, rows)
    assert isinstance(told, Positions)
    assert told.rows == (Position(0, Side.NET, -12, 50_000.0, 3 * MS, isolated=0.5),)
    assert told.strangers == ("BTCUSD_261225",)
    assert answer(What.LEVERAGE, rows) == [Leverage(0, 20, isolated=True)]
    (bad,) = answer(What.LEVERAGE, [ROW | {"leverage": "2.5"}])
    assert isinstance(bad, Unanswered)


def test_orders_on_other_coins_are_left_out() -> None:
    order = {"clientOrderId": "x", "orderId": 1, "side": "BUY", "origQty": "1", "executedQty": "0"}
    (told,) = answer(What.ORDERS, [order | {"symbol": symbol} for symbol in ("ETHUSD_PERP", "BTCUSD_261225")])
    assert isinstance(told, Orders)
    assert [(row.order, row.instrument) for row in told.rows] == [("x", None)]


def test_volume_is_counted_in_dollars() -> None:
    ticker = {"symbol": "BTCUSD_PERP", "volume": "500", "baseVolume": "2.5", "weightedAvgPrice": "20000"}
    assert answer(What.VOLUMES, [ticker]) == [Volume(0, 50_000.0)]


def test_events_about_other_coins_say_nothing() -> None:
    def update(*assets: str, held: str = "") -> dict[str, Any]:
        rows = [{"a": asset, "wb": "2", "cw": "2", "bc": "0.5"} for asset in assets]
        positions = [{"s": held, "pa": "1", "ep": "5", "ps": "BOTH"}] if held else []
        return {"e": "ACCOUNT_UPDATE", "E": 5, "T": 5, "i": "SfsR", "a": {"m": "DEPOSIT", "B": rows, "P": positions}}

    at = 5 * MS
    assert event(update("ETH", held="ETHUSD_PERP")) == []
    assert event(update("ETH", "BTC")) == [Balance("BTC", 2.0, at), Flow("BTC", 0.5, "deposit", at)]
    assert event(update(held="BTCUSD_261225")) == [Elsewhere("BTCUSD_261225")]
    elsewhere = {"s": "ETHUSD_PERP"}
    call: dict[str, Any] = {"e": "MARGIN_CALL", "E": 5, "p": [elsewhere]}
    assert event(call) == []
    assert event(call | {"p": [elsewhere, {"s": "BTCUSD_PERP"}]}) == [Warned("margin call: BTCUSD_PERP", at)]
    order = {
        "s": "ETHUSD_PERP", "c": "autoclose-1", "S": "BUY", "x": "NEW", "X": "NEW", "i": 1, "l": "0", "z": "0",
        "L": "0", "t": 0, "T": 5,
    }  # fmt: skip
    assert event({"e": "ORDER_TRADE_UPDATE", "E": 5, "o": order}) == []
