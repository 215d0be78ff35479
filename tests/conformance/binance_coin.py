"""Binance COIN-M, for the suite: what differs from USDⓈ-M."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from adapters.binance_coin import BinanceCoin
from adapters.binance_terms import REPLIES
from adapters.simulator import Account
from agent.core.events import (
    Accepted,
    Allowed,
    Balance,
    Filled,
    Funding,
    Leverage,
    Listed,
    Margin,
    Mark,
    Owner,
    Positions,
    Quote,
    Tiers,
    Unknown,
)
from agent.core.venue import Ask, Place, SetLeverage, What
from tests.adapters.binance_kit import contract, credentials, order, tell
from tests.conformance.binance import CLASSES, VECTORS, failure, sign, stream
from tests.conformance.description import Answered, Described

SYMBOLS: Final = ("BTCUSD_PERP", "BTCUSD_200925", "BTCUSD_200626", "BTCUSD_201225")
"""The perpetual, and contracts that the samples are about, which count as perpetuals here."""


def coined(symbol: str, **changes: Any) -> dict[str, Any]:
    """A contract of a hundred dollars as the venue lists it."""
    row = contract(symbol, baseAsset="BTC", quoteAsset="USD", marginAsset="BTC", contractSize=100)
    row["contractStatus"] = row.pop("status")
    row["filters"] = [
        {**rule, "minQty": "1", "stepSize": "1"} if "LOT" in rule["filterType"] else rule
        for rule in row["filters"]
        if rule["filterType"] != "MIN_NOTIONAL"
    ]
    return row | changes


def build(**options: Any) -> BinanceCoin:
    """A dialect that knows these contracts."""
    dialect = BinanceCoin(symbols=SYMBOLS, settle="BTC", credentials=credentials(), **options)
    tell(dialect, Ask(What.INSTRUMENTS), {"symbols": [coined(symbol) for symbol in SYMBOLS]})
    return dialect


def _placed(name: str) -> Place:
    return Place(order(id=name, symbol=SYMBOLS[1], instrument=1))


VENUE: Final = Described(
    name="binance-coinm",
    folder="binance",
    recorded=build,
    samples={
        "cm_ws_book_ticker": stream("btcusd_200626@bookTicker", "public", Quote),
        "cm_ws_depth_diff": stream("btcusd_200626@depth", "public", Unknown),
        "cm_ws_mark_price_delivery": stream("btcusd_201225@markPrice", "market", Mark),
        "cm_rest_account": Answered(Ask(What.ACCOUNT), (Margin, Balance)),
        "cm_rest_balance": Answered(Ask(What.OWNER), (Owner,)),
        "cm_rest_exchange_info_BTCUSD_PERP": Answered(Ask(What.INSTRUMENTS), (Listed, Allowed)),
        "cm_rest_leverage_bracket_v2_symbol": Answered(Ask(What.TIERS), (Tiers,)),
        "cm_rest_order_place_response": Answered(_placed("testOrder"), (Accepted,)),
        "cm_rest_order_query": Answered(Ask(What.ORDER, 1, "abc"), (Accepted,)),
        "cm_rest_position_risk_hedge": Answered(Ask(What.POSITIONS), (Positions,)),
        "cm_rest_premium_index": Answered(Ask(What.PRICES), (Mark, Funding)),
        "cm_rest_set_leverage_response": Answered(SetLeverage(1, 21), (Leverage,)),
        "cm_rest_user_trades": Answered(Ask(What.TRADES, 2), (Filled,)),
    },
    beside={"questions that are never asked": ("cm_rest_force_orders", "cm_rest_funding_rate_history")},
    replies=REPLIES,
    classes=CLASSES,
    failure=failure,
    sign=sign,
    vectors=VECTORS,
    prices=(("BTCUSD_PERP", 80_000),),
    account=partial(Account, asset="BTC"),
)
