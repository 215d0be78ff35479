"""Bybit's contracts settled in coin: an account is looked at by one coin, and a contract is worth a dollar."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from agent.core.events import Balance, Interval, Leverage, Listed, Margin, Mode, Position, Tiers, Unanswered, Volume
from agent.core.venue import Ask, What
from tests.adapters.binance_kit import NOW
from tests.adapters.bybit_kit import build as built
from tests.adapters.bybit_kit import contract, frame, tell

build = partial(built, ["BTCUSD"], category="inverse", settle="BTC")
RULES: dict[str, Any] = {
    "contractType": "InversePerpetual",
    "baseCoin": "BTC",
    "quoteCoin": "USD",
    "settleCoin": "BTC",
    "lotSizeFilter": {"maxOrderQty": "100000", "minOrderQty": "1", "qtyStep": "1", "maxMktOrderQty": "50000"},
}
COIN: dict[str, Any] = {
    "coin": "BTC",
    "equity": "1.2",
    "walletBalance": "1.1",
    "totalPositionIM": "0.25",
    "totalOrderIM": "0.25",
    "totalPositionMM": "0.05",
}


def test_a_contract_is_worth_a_dollar() -> None:
    dialect = build(listed=False)
    listed, interval = tell(dialect, Ask(What.INSTRUMENTS), {"list": [contract("BTCUSD", **RULES)]})
    assert isinstance(listed, Listed)
    assert interval == Interval(0, 8.0)
    (one,) = listed.instruments
    assert (one.venue, one.inverse, one.settle, float(one.multiplier)) == ("bybit-inverse", True, "BTC", 1.0)
    assert (one.step, one.unit) == (Decimal(1), 1.0)
    assert one.value(8_000, 80_000) == 0.1


def test_only_the_perpetual_of_its_coin_is_traded() -> None:
    with pytest.raises(ValueError, match="write BTCUSD"):
        built(["ETHUSD"], category="inverse", settle="BTC")
    dialect = build(listed=False)
    (listed,) = tell(dialect, Ask(What.INSTRUMENTS), {"list": [contract("BTCUSD")]})
    assert isinstance(listed, Listed)
    assert listed.instruments == (), "a linear one of that name"


def test_margin_is_that_of_the_coin() -> None:
    """What is free in it follows, for the venue tells that of the whole account alone."""
    wallet = {
        "accountType": "UNIFIED",
        "totalWalletBalance": "99999",
        "coin": [COIN, {"coin": "USDT", "walletBalance": "5"}],
    }
    facts = tell(build(), Ask(What.ACCOUNT), {"list": [wallet]})
    assert facts == [
        Margin(wallet=1.1, equity=1.2, initial=0.5, maintenance=0.05, available=0.7, asked_at=NOW),
        Balance("BTC", 1.1, NOW),
        Balance("USDT", 5.0, NOW),
    ]
    (unanswered,) = tell(build(), Ask(What.ACCOUNT), {"list": [wallet | {"coin": []}]})
    assert isinstance(unanswered, Unanswered)


def test_settings_and_positions() -> None:
    dialect = build(listed=False)
    tell(dialect, Ask(What.INSTRUMENTS), {"list": [contract("BTCUSD", **RULES)]})
    row = {
        "category": "inverse", "symbol": "BTCUSD", "side": "Sell", "size": "300", "positionIdx": 0, "leverage": "10",
        "entryPrice": "27464.5", "updatedTime": "1790000000000",
    }  # fmt: skip
    assert tell(dialect, Ask(What.LEVERAGE, 0), {"list": [row]}) == [Leverage(0, 10, isolated=False)]
    (mode,) = tell(dialect, Ask(What.MODE), {"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": 5})
    assert mode == Mode(hedge=False, multi_asset=False, can_trade=None)
    (held,) = frame(dialect, "private", {"topic": "position", "creationTime": 1, "data": [row]})
    assert isinstance(held, Position)
    assert (held.lots, held.entry) == (-300, 27_464.5)


def test_tiers_are_in_coin_and_a_days_volume_in_dollars() -> None:
    line = {
        "symbol": "BTCUSD",
        "riskLimitValue": "150",
        "maintenanceMargin": "0.5",
        "initialMargin": "1",
        "maxLeverage": "100",
    }
    (tiers,) = tell(build(), Ask(What.TIERS, 0), {"list": [line]})
    assert isinstance(tiers, Tiers)
    assert (tiers.tiers[0].cap, round(tiers.tiers[0].rate, 6)) == (150, 0.0061), "written in percent"
    row = {"symbol": "BTCUSD", "turnover24h": "12", "volume24h": "960000"}
    assert tell(build(), Ask(What.VOLUMES), {"list": [row]}) == [Volume(0, 960_000)]
