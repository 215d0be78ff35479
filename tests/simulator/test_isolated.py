"""Isolated margin: a wallet of its own, taken from the account, and lost alone."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator import Account, Binance, Client, Exchange, StillMarket

PRICES = {"BTCUSDT": 80_000, "ETHUSDT": 2_500, "SOLUSDT": 100}
MARGIN = "/fapi/v1/positionMargin"


@pytest.fixture
def isolated(client: Client) -> Client:
    """A client of a flat account with 10,000 USDT that trades bitcoin with isolated margin."""
    assert client.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED").status == 200
    return client


def wallet(client: Client, side: str = "BOTH") -> Decimal:
    return client.account.position("BTCUSDT", side).wallet


def risk(client: Client, symbol: str = "BTCUSDT") -> Any:
    (row,) = client.call("GET", "/fapi/v3/positionRisk", symbol=symbol).data
    return row


def test_an_opening_takes_its_initial_margin_and_pays_its_fee_out_of_it(isolated: Client) -> None:
    stream = isolated.listen()
    isolated.place("BTCUSDT", "BUY", "0.5")
    # 0.5 at 80,004 for a fee of 20.001; a twentieth of 0.5 at the mark
    assert wallet(isolated) == Decimal("1979.999")
    assert isolated.account.cross_wallet == 8_000
    (told,) = [frame["a"] for frame in isolated.take(stream) if frame["e"] == "ACCOUNT_UPDATE"]
    assert told["B"] == [{"a": "USDT", "wb": "9979.999", "cw": "8000", "bc": "0"}]
    assert (told["P"][0]["mt"], told["P"][0]["iw"]) == ("isolated", "1979.999")


def test_every_answer_shows_it(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "0.5")
    isolated.place("ETHUSDT", "BUY", "1")
    row = risk(isolated)
    assert (row["isolatedWallet"], row["isolatedMargin"]) == ("1979.99900000", "1977.99900000")
    assert round(Decimal(row["liquidationPrice"]), 2) == Decimal("76349.40")
    assert (risk(isolated, "ETHUSDT")["isolatedWallet"], risk(isolated, "ETHUSDT")["isolatedMargin"]) == ("0", "0")
    account = isolated.call("GET", "/fapi/v3/account").data
    asset, (bitcoin, ether) = account["assets"][0], account["positions"]
    assert (bitcoin["isolatedWallet"], ether["isolatedWallet"]) == ("1979.99900000", "0")
    free = Decimal(asset["crossWalletBalance"]) + Decimal(asset["crossUnPnl"]) - Decimal(2_500) / 20
    assert Decimal(asset["availableBalance"]) == free
    assert Decimal(asset["walletBalance"]) - Decimal(asset["crossWalletBalance"]) == Decimal("1979.999")
    older = {row["symbol"]: row for row in isolated.call("GET", "/fapi/v2/positionRisk").data}
    assert (older["BTCUSDT"]["marginType"], older["ETHUSDT"]["marginType"]) == ("isolated", "cross")
    assert older["BTCUSDT"]["isolatedWallet"] == "1979.99900000"
    rows = isolated.call("GET", "/fapi/v2/account").data["positions"]
    assert {row["symbol"]: row["isolated"] for row in rows} == {"BTCUSDT": True, "ETHUSDT": False, "SOLUSDT": False}
    config = {row["symbol"]: row["marginType"] for row in isolated.call("GET", "/fapi/v1/symbolConfig").data}
    assert config == {"BTCUSDT": "ISOLATED", "ETHUSDT": "CROSSED", "SOLUSDT": "CROSSED"}


def test_what_is_closed_gives_its_part_back(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "0.5")
    isolated.place("BTCUSDT", "SELL", "0.25")
    # the half of the wallet comes back, less 2 lost on the price and a fee of 9.9995
    assert wallet(isolated) == Decimal("989.9995")
    assert isolated.account.cross_wallet == Decimal("8978")
    isolated.place("BTCUSDT", "SELL", "0.75")
    assert isolated.account.position("BTCUSDT").quantity == Decimal("-0.5")
    assert wallet(isolated) == 2_000 - Decimal("29.9985")
    isolated.place("BTCUSDT", "BUY", "0.5")
    assert wallet(isolated) == 0
    assert isolated.account.cross_wallet == isolated.account.wallet


def test_only_the_cross_wallet_pays_for_what_is_opened(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "2")
    isolated.binance.exchange.set_mark("BTCUSDT", 90_000)
    assert isolated.place("ETHUSDT", "BUY", "20").code == -2019, "a profit of isolated margin is not free"
    assert isolated.place("BTCUSDT", "BUY", "0.5").code == -2019
    assert isolated.place("BTCUSDT", "SELL", "1").status == 200


def test_open_orders_reserve_margin_in_the_cross_wallet(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "1", "79000")
    account = isolated.call("GET", "/fapi/v3/account").data
    assert Decimal(account["availableBalance"]) == 10_000 - 3_950
    isolated.binance.exchange.set_mark("BTCUSDT", 78_990)
    assert wallet(isolated) == Decimal("78990") / 20 - Decimal("15.8")
    assert isolated.account.cross_wallet == 10_000 - Decimal("3949.5")


def test_it_is_liquidated_for_itself(isolated: Client) -> None:
    isolated.place("ETHUSDT", "BUY", "1")
    isolated.place("BTCUSDT", "BUY", "0.5")
    isolated.place("BTCUSDT", "BUY", "0.001", "76000")
    isolated.place("ETHUSDT", "BUY", "1", "2400")
    kept = isolated.account.cross_wallet
    stream = isolated.listen()
    isolated.binance.exchange.set_mark("BTCUSDT", 76_400)
    assert isolated.take(stream) == []
    isolated.binance.exchange.set_mark("BTCUSDT", 76_300)
    truth = isolated.binance.exchange.snapshot(isolated.account)
    assert truth.positions == {"ETHUSDT": Decimal(1)}
    assert [order.symbol for order in truth.open_orders] == ["ETHUSDT"]
    assert truth.wallet == isolated.account.cross_wallet == kept, "no more than its own wallet is lost"
    assert truth.insurance > 0
    frames = isolated.take(stream)
    events = [frame["o"] for frame in frames if frame["e"] == "ORDER_TRADE_UPDATE"]
    assert [event["x"] for event in events] == ["EXPIRED", "CALCULATED"]
    assert events[-1]["c"].startswith("autoclose-")
    assert frames[-1]["a"]["m"] == "INSURANCE_CLEAR"


def test_a_gap_takes_its_own_wallet_and_no_more(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "0.5")
    isolated.binance.exchange.set_mark("BTCUSDT", 40_000)
    truth = isolated.binance.exchange.snapshot(isolated.account)
    assert not truth.positions
    assert truth.wallet == 8_000


def test_it_outlives_the_liquidation_of_everything_else(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "0.1")
    own = wallet(isolated)
    isolated.place("ETHUSDT", "BUY", "60")
    isolated.binance.exchange.set_mark("ETHUSDT", 2_300)
    truth = isolated.binance.exchange.snapshot(isolated.account)
    assert truth.positions == {"BTCUSDT": Decimal("0.1")}
    assert wallet(isolated) == own == truth.wallet - isolated.account.cross_wallet
    assert isolated.account.cross_wallet >= 0


def test_its_margin_is_moved_both_ways(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "0.5")
    stream = isolated.listen()
    added = isolated.call("POST", MARGIN, symbol="BTCUSDT", amount="100.5", type=1).data
    assert added == {"amount": 100.5, "code": 200, "msg": "Successfully modify position margin.", "type": 1}
    assert (wallet(isolated), isolated.account.cross_wallet) == (Decimal("2080.499"), Decimal("7899.5"))
    (frame,) = isolated.take(stream)
    assert (frame["a"]["m"], frame["a"]["P"][0]["iw"]) == ("MARGIN_TRANSFER", "2080.499")
    assert isolated.call("POST", MARGIN, symbol="BTCUSDT", amount="78", type=2).status == 200
    assert wallet(isolated) == Decimal("2002.499")
    # 2,000 of initial margin and a loss of 2 on paper have to stay
    assert isolated.call("POST", MARGIN, symbol="BTCUSDT", amount="0.5", type=2).code == -4051


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "ETHUSDT"}, -4049),
        ({"amount": "0"}, -4055),
        ({"amount": "8001"}, -4050),
        ({"type": 3}, -1130),
        ({"positionSide": "LONG"}, -4061),
        ({"amount": None}, -1102),
    ],
)
def test_margin_that_cannot_be_moved(isolated: Client, changes: dict[str, Any], code: int) -> None:
    isolated.place("BTCUSDT", "BUY", "0.5")
    assert isolated.call("POST", MARGIN, **({"symbol": "BTCUSDT", "amount": "1", "type": 1} | changes)).code == code


def test_margin_needs_a_position(isolated: Client) -> None:
    assert isolated.call("POST", MARGIN, symbol="BTCUSDT", amount="1", type=1).code == -4054


def test_its_leverage_can_be_raised_and_not_lowered(isolated: Client) -> None:
    isolated.place("BTCUSDT", "BUY", "0.5")
    own = wallet(isolated)
    assert isolated.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=10).code == -4161
    assert isolated.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=25).status == 200
    assert wallet(isolated) == own
    isolated.place("BTCUSDT", "SELL", "0.5")
    assert isolated.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=10).status == 200


def test_the_margin_type_changes_only_on_an_empty_symbol(client: Client) -> None:
    def change(kind: str) -> int:
        return client.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType=kind).code

    stream = client.listen()
    client.place("ETHUSDT", "BUY", "1", "2400")
    assert (change("ISOLATED"), change("ISOLATED"), change("CROSSED")) == (0, -4046, 0)
    changes = [frame["a"] for frame in client.take(stream) if frame["e"] == "ACCOUNT_UPDATE"]
    assert [(one["m"], one["P"][0]["mt"]) for one in changes] == [
        ("MARGIN_TYPE_CHANGE", "isolated"),
        ("MARGIN_TYPE_CHANGE", "cross"),
    ]
    client.place("BTCUSDT", "BUY", "0.1", "79000")
    assert change("ISOLATED") == -4047
    client.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    client.place("BTCUSDT", "BUY", "0.1")
    assert change("ISOLATED") == -4048


def test_in_hedge_mode_each_side_has_its_own(hedged: Client) -> None:
    hedged.call("POST", "/fapi/v1/marginType", symbol="BTCUSDT", marginType="ISOLATED")
    hedged.place("BTCUSDT", "BUY", "0.4", positionSide="LONG")
    hedged.place("BTCUSDT", "SELL", "0.2", positionSide="SHORT")
    assert (wallet(hedged, "LONG"), wallet(hedged, "SHORT")) == (1_600 - Decimal("16.0008"), 800 - Decimal("7.9996"))
    hedged.binance.exchange.set_mark("BTCUSDT", 76_000)
    truth = hedged.binance.exchange.snapshot(hedged.account)
    assert truth.positions == {"BTCUSDT:SHORT": Decimal("-0.2")}
    assert wallet(hedged, "SHORT") == Decimal("792.0004")


def test_an_account_can_begin_with_isolated_positions() -> None:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.5", "ETHUSDT": "1"}, isolated=["BTCUSDT"])
    client = Client(Binance(Exchange(StillMarket(PRICES), [account])))
    assert risk(client)["isolatedWallet"] == "2000.00000000"
    assert account.cross_wallet == 8_000
