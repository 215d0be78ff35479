"""Margin: tiers, liquidation prices, what may be opened, and what is taken away."""

from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec import structs

from adapters.simulator import Account, Binance, Client, Exchange, StillMarket
from adapters.simulator.instruments import COIN_MARGINED, INSTRUMENTS, Bracket, Instrument, brackets
from adapters.simulator.margin import liquidation_price, maintenance_margin

BTC = INSTRUMENTS["BTCUSDT"]


def one_tier(symbol: str, rate: str, cum: str) -> Instrument:
    tier = Bracket(20, Decimal(0), Decimal(10**12), Decimal(rate), Decimal(cum))
    return Instrument(
        symbol=symbol,
        base=symbol[:3],
        reference_price=Decimal(1),
        tick=Decimal("0.01"),
        step=Decimal("0.001"),
        min_notional=Decimal(5),
        max_quantity=Decimal(10_000),
        max_market_quantity=Decimal(10_000),
        brackets=(tier,),
    )


def test_the_deducted_amounts_follow_from_continuity() -> None:
    assert [int(tier.cum) for tier in BTC.brackets] == [
        0, 50, 950, 11_450, 131_450, 481_450, 2_981_450, 14_481_450, 26_481_450, 41_481_450,
        121_481_450, 421_481_450,
    ]  # fmt: skip
    for one in (*INSTRUMENTS.values(), *COIN_MARGINED.values()):
        for low, high in pairwise(one.brackets):
            assert low.cap == high.floor
            assert low.cap * low.rate - low.cum == high.floor * high.rate - high.cum


@pytest.mark.parametrize(
    ("notional", "margin"),
    [(60_000, 250), (1_000_000, 5_550), (5_000_000, 38_550), (20_000_000, 268_550)],
)
def test_maintenance_margin_of_bitcoin(notional: int, margin: int) -> None:
    assert maintenance_margin(BTC, Decimal(notional)) == margin


def test_a_published_position_has_its_published_margins() -> None:
    ada = one_tier("ADAUSDT", "0.0065", "0")
    notional = Decimal(30) * Decimal("0.4104759")
    assert round(maintenance_margin(ada, notional), 7) == Decimal("0.0800428")
    assert notional / 20 == Decimal("0.61571385")


@pytest.mark.parametrize(
    ("rate", "cum", "quantity", "entry", "other_margin", "other_result", "expected"),
    [
        ("0.1", "135365", "3683.979", "1456.84", "71200.81144", "-56354.57", "1153.26"),
        ("0.025", "16300", "109.488", "32481.98", "356512.508", "-448192.89", "26316.89"),
        ("0.1", "135365", "3683.979", "1456.84", "0", "0", "1114.78"),
        ("0.025", "16300", "109.488", "32481.98", "0", "0", "18778.73"),
    ],
)
def test_the_published_liquidation_prices(
    rate: str,
    cum: str,
    quantity: str,
    entry: str,
    other_margin: str,
    other_result: str,
    expected: str,
) -> None:
    one = one_tier("ETHUSDT", rate, cum)
    collateral = Decimal("1535443.01") - Decimal(other_margin) + Decimal(other_result)
    price = liquidation_price(one, Decimal(quantity), Decimal(entry), collateral)
    assert price is not None
    assert round(price, 2) == Decimal(expected)


def test_the_tier_that_counts_is_the_one_at_the_liquidation_price() -> None:
    price = liquidation_price(BTC, Decimal(1), Decimal(60_000), Decimal(12_000))
    assert price is not None
    assert round(price, 2) == Decimal("48192.77")
    assert liquidation_price(BTC, Decimal("0.01"), Decimal(60_000), Decimal(10_000)) is None


def test_equity_meets_maintenance_exactly_at_the_published_price(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "1")
    client.place("ETHUSDT", "SELL", "10")
    rows = client.call("GET", "/fapi/v3/positionRisk").data
    exchange, account = client.binance.exchange, client.account
    for row in rows:
        price, mark = Decimal(row["liquidationPrice"]), exchange.books[row["symbol"]].mark
        held = account.position(row["symbol"])
        one = exchange.instruments[row["symbol"]]
        equity = account.wallet + account.unrealised(exchange.matcher.mark)
        equity += held.quantity * (price - mark)
        margin = account.maintenance(exchange.matcher.mark, exchange.instruments.__getitem__)
        margin -= maintenance_margin(one, abs(held.quantity) * mark)
        margin += maintenance_margin(one, abs(held.quantity) * price)
        assert abs(equity - margin) < Decimal("0.001")


def test_too_large_an_order_is_refused(client: Client) -> None:
    assert client.place("BTCUSDT", "BUY", "2.6").code == -2019
    assert client.place("BTCUSDT", "BUY", "2.4").status == 200
    assert client.place("ETHUSDT", "BUY", "10").code == -2019
    assert client.place("BTCUSDT", "SELL", "2.4").status == 200


def test_resting_orders_use_margin_once_for_both_sides(client: Client) -> None:
    assert client.place("BTCUSDT", "BUY", "2", "79000").status == 200
    assert client.place("BTCUSDT", "SELL", "2", "81000").status == 200
    account = client.call("GET", "/fapi/v3/account").data
    assert Decimal(account["totalOpenOrderInitialMargin"]) == 2 * 81_000 / Decimal(20)
    assert client.place("BTCUSDT", "BUY", "2", "79000").code == -2019


def test_the_account_adds_up(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "0.5")
    client.binance.exchange.set_mark("BTCUSDT", 82_000)
    account = client.call("GET", "/fapi/v3/account").data
    asset = account["assets"][0]
    wallet, profit = Decimal(asset["walletBalance"]), Decimal(asset["unrealizedProfit"])
    assert profit == (82_000 - 80_004) * Decimal("0.5")
    assert Decimal(asset["marginBalance"]) == wallet + profit
    assert Decimal(asset["availableBalance"]) == wallet + profit - Decimal("82000") / 2 / 20
    assert Decimal(account["positions"][0]["notional"]) == 41_000
    balance = client.call("GET", "/fapi/v3/balance").data[0]
    assert balance["availableBalance"] == asset["availableBalance"]


def test_a_position_may_not_outgrow_its_leverage(client: Client) -> None:
    client.binance.exchange.deposit(client.account, 10_000_000)
    client.call("POST", "/fapi/v1/leverage", symbol="SOLUSDT", leverage=100)
    assert client.place("SOLUSDT", "BUY", "300").code == -2027
    assert client.place("SOLUSDT", "BUY", "190").status == 200
    assert client.call("POST", "/fapi/v1/leverage", symbol="SOLUSDT", leverage=5).status == 200
    assert client.place("SOLUSDT", "BUY", "300").status == 200
    raised = client.call("POST", "/fapi/v1/leverage", symbol="SOLUSDT", leverage=100)
    assert raised.code == -2027


def test_leverage_cannot_be_lowered_below_what_the_margin_allows(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "1")
    answer = client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=2)
    assert answer.code == -2028
    config = client.call("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT").data[0]
    assert config["leverage"] == 20


def test_the_largest_position_of_a_leverage_is_the_last_bracket_that_offers_it(client: Client) -> None:
    tiers = client.call("GET", "/fapi/v1/leverageBracket", symbol="BTCUSDT").data[0]["brackets"]
    for leverage in (1, 2, 19, 20, 21, 76, 125):
        most = max(tier["notionalCap"] for tier in tiers if tier["initialLeverage"] >= leverage)
        answer = client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=leverage).data
        config = client.call("GET", "/fapi/v1/symbolConfig", symbol="BTCUSDT").data[0]
        assert answer == {"symbol": "BTCUSDT", "leverage": leverage, "maxNotionalValue": str(most)}
        assert (config["leverage"], config["maxNotionalValue"]) == (leverage, str(most))


def test_a_change_of_leverage_is_told_and_one_that_changes_nothing_is_not(client: Client) -> None:
    stream = client.listen()
    for leverage in (7, 7, 126):
        client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=leverage)
    assert [(frame["e"], frame["ac"]) for frame in client.take(stream)] == [
        ("ACCOUNT_CONFIG_UPDATE", {"s": "BTCUSDT", "l": 7})
    ]


def test_open_orders_count_against_a_new_leverage(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "1", "79000")
    assert client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=7).code == -2028
    assert client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=125).code == -2027


def test_an_account_is_liquidated_when_equity_meets_maintenance(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "1")
    client.place("ETHUSDT", "BUY", "1", "2400")
    stream = client.listen()
    exchange = client.binance.exchange
    exchange.set_mark("BTCUSDT", 71_000)
    assert client.take(stream) == []
    exchange.set_mark("BTCUSDT", 70_300)
    frames = client.take(stream)
    assert [frame["e"] for frame in frames] == [
        "ORDER_TRADE_UPDATE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE",
        "ACCOUNT_UPDATE",
    ]
    assert frames[0]["o"]["er"] == "5"
    assert frames[0]["o"]["X"] == "EXPIRED"
    last = frames[-2]["o"]
    assert last["c"].startswith("autoclose-")
    assert (last["x"], last["X"], last["o"], last["f"]) == ("CALCULATED", "FILLED", "LIMIT", "IOC")
    truth = exchange.snapshot(client.account)
    assert truth.positions == {}
    assert truth.open_orders == []
    assert truth.wallet >= 0


def test_debt_is_forgiven(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "2")
    stream = client.listen()
    client.binance.exchange.set_mark("BTCUSDT", 60_000)
    truth = client.binance.exchange.snapshot(client.account)
    assert truth.wallet == 0
    assert truth.insurance > 0
    last = client.take(stream)[-1]["a"]
    assert (last["m"], last["B"][0]["wb"]) == ("INSURANCE_CLEAR", "0")


def test_only_as_much_as_needed_is_closed() -> None:
    account = Account(balance=10_000, positions={"BTCUSDT": "1", "ETHUSDT": "-1"})
    market = StillMarket({"BTCUSDT": 80_000, "ETHUSDT": 2_500})
    cheap = structs.replace(BTC, liquidation_fee=Decimal("0.001"))
    client = Client(Binance(Exchange(market, [account], instruments=[cheap])))
    client.binance.exchange.set_mark("BTCUSDT", 70_300)
    assert client.binance.exchange.snapshot(account).positions == {"ETHUSDT": Decimal(-1)}


def test_brackets_are_published_as_they_count(client: Client) -> None:
    row = client.call("GET", "/fapi/v1/leverageBracket", symbol="BTCUSDT").data[0]
    assert row["symbol"] == "BTCUSDT"
    assert row["brackets"][2] == {
        "bracket": 3,
        "initialLeverage": 75,
        "notionalCap": 3_000_000,
        "notionalFloor": 600_000,
        "maintMarginRatio": 0.0065,
        "cum": 950.0,
    }
    assert brackets([(2, 10, "0.5")])[0].cum == 0
