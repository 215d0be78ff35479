"""MEXC's contracts, for the suite."""

from __future__ import annotations

from functools import partial
from typing import Final

from adapters.mexc_rules import REPLIES
from adapters.signing import hmac_signer
from agent.core.events import (
    Accepted,
    Balance,
    Clock,
    Depth,
    Ended,
    Fault,
    Fees,
    Filled,
    Funding,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Mode,
    Orders,
    Position,
    Positions,
    Refused,
    Unanswered,
    Unknown,
    Up,
    Warned,
)
from agent.core.venue import Ask, Cancel, Place, Reply, SetLeverage, What
from tests.adapters.mexc_kit import SYMBOLS, build, credentials, enveloped, order
from tests.conformance.description import Answered, Described, Heard, Vector

PLACE: Final = Place(order())
EXTERNAL: Final = "_m_f95eb99b061d4eef8f64a04e9ac4dad3"
STEPN: Final = SYMBOLS.index("STEPN_USDT")

FRAMES: Final = {
    "ws_ticker_2024": Heard("market", (Mark,)),
    "ws_ticker_docs": Heard("market", (Mark,)),
    "ws_contract": Heard("market", (Listed,)),
    "ws_fair_price": Heard("market", (Unknown,)),
    "ws_index_price": Heard("market", (Unknown,)),
    "ws_funding_rate_2026": Heard("market", (Unknown,)),
    "ws_funding_rate_old": Heard("market", (Unknown,)),
    "ws_tickers_2024": Heard("market", (Unknown,)),
    "ws_deal_2025": Heard("market", (Unknown,)),
    "ws_error": Heard("market", (Unknown,)),
    "ws_sub_ack": Heard("market", ()),
    "ws_pong": Heard("public", ()),
    "ws_depth_full": Heard("public", (Depth,)),
    "ws_depth_docs": Heard("public", (Depth,)),
    "ws_depth_begin_end": Heard("public", (Unknown,)),
    "ws_login_ack": Heard("private", (Up,)),
    "ws_personal_filter_ack": Heard("private", ()),
    "ws_personal_adl_level": Heard("private", ()),
    "ws_personal_asset": Heard("private", ()),
    "ws_personal_asset_docs": Heard("private", ()),
    "ws_personal_generic_notify": Heard("private", (Warned,)),
    "ws_personal_leverage_mode": Heard("private", (Unknown,)),
    "ws_personal_liquidate_risk": Heard("private", (Warned,)),
    "ws_personal_order_deal": Heard("private", (Filled,)),
    "ws_personal_order_filled": Heard("private", (Ended,)),
    "ws_personal_plan_order": Heard("private", ()),
    "ws_personal_position_closed": Heard("private", (Position,)),
    "ws_personal_position_mode": Heard("private", (Mode,)),
    "ws_personal_reverse_position": Heard("private", ()),
    "ws_personal_risk_limit": Heard("private", (Leverage,)),
}
ANSWERS: Final = {
    "rest_ping_server_time": Answered(Ask(What.TIME), (Clock,)),
    "rest_contract_detail_list": Answered(Ask(What.INSTRUMENTS), (Listed,)),
    "rest_funding_rate_all": Answered(Ask(What.INTERVALS), (Interval, Funding)),
    "rest_tiered_fee_rate": Answered(Ask(What.FEES, 0), (Fees,)),
    "rest_leverage": Answered(Ask(What.LEVERAGE, 0), (Leverage,)),
    "rest_position_mode": Answered(Ask(What.MODE), (Mode,)),
    "rest_account_assets": Answered(Ask(What.ACCOUNT), (Margin, Balance)),
    "rest_positions": Answered(Ask(What.POSITIONS), (Positions,)),
    "rest_orders_history": Answered(Ask(What.ORDERS), (Orders,)),
    "rest_open_orders_schema": Answered(Ask(What.ORDERS), (Unanswered,)),
    "rest_order": Answered(Ask(What.ORDER, STEPN, "_m_0e9520c256744d64b942985189026d20"), (Accepted,)),
    "rest_order_by_external_oid": Answered(Ask(What.ORDER, 1, EXTERNAL), (Accepted, Ended)),
    "rest_order_deals": Answered(Ask(What.TRADES, STEPN), (Filled,)),
    "rest_order_deal_details": Answered(Ask(What.TRADES, 1), (Filled,)),
    "rest_place_order_ack": Answered(PLACE, (Accepted,)),
    "rest_place_order_ack_may_2026": Answered(PLACE, (Accepted,)),
    "rest_cancel_by_external_ack": Answered(Cancel("mine", 0), (Lost,)),
    "rest_generic_success": Answered(SetLeverage(0, 20), (Leverage,)),
    "rest_error_1002": Answered(PLACE, (Refused,)),
    "rest_error_2011": Answered(PLACE, (Refused,)),
    "rest_error_2021": Answered(PLACE, (Refused,)),
    "rest_error_7002": Answered(PLACE, (Refused,)),
}
BESIDE: Final = {
    "what a client says": (
        "ws_login_request", "ws_personal_filter_request", "ws_ping", "ws_sub_request_fair_price",
    ),
    "one contract, asked about with all others": (
        "rest_contract_detail_BTC_2026", "rest_contract_detail_BTC_old", "rest_fair_price", "rest_index_price",
        "rest_funding_rate_BTC", "rest_ticker_ETH",
    ),
    "questions that are never asked": (
        "rest_depth_ETH", "rest_funding_rate_history", "rest_funding_records", "rest_funding_records_2022",
        "rest_open_order_counts", "rest_positions_history", "rest_risk_limits",
    ),
    "changes that are never made": (
        "rest_cancel_all_ack", "rest_cancel_orders_ack", "rest_change_limit_order_ack",
    ),
}  # fmt: skip

CLASSES: Final[dict[Fault | None, tuple[int, ...]]] = {
    None: (500, 501, 506, 603, 2040, 2041, 9999),
    Fault.ACCOUNT: (401, 402, 406, 511, 602, 701, 702, 703, 704, 6001),
    Fault.BUSY: (403, 429, 510, 2036, 2037),
    Fault.CLOCK: (513,),
    Fault.MARGIN: (1003, 2005, 2018, 2025, 2031, 2038),
    Fault.REDUCE: (2008, 2009),
    Fault.PRICE: (2032, 2033),
    Fault.CLOSED: (1001, 1002, 6002, 6005),
    Fault.RULE: (
        600, 601, 1004, 2001, 2002, 2003, 2004, 2007, 2011, 2013, 2014, 2015, 2022, 2028, 2029, 2030, 2034, 3001, 3002,
        3003, 3004, 5001, 5002, 5003, 5004,
    ),
    Fault.OTHER: (2006, 2021, 2023, 2024, 2026, 2027, 7002, 8817),
}  # fmt: skip


def _failure(code: int | str) -> Reply:
    """The gate turns away by status alone, everything else by a code under status 200."""
    if code in (403, 429):
        return Reply(int(code), {}, b"<html>")
    return Reply(200, {}, enveloped(code=int(code), message="words"))


def _sign(secret: str, text: str) -> str:
    return hmac_signer(credentials(secret), "MEXC")(text.encode())


_SECRET: Final = "45d0b3c26f2644f19bfb98b07741b2f5"
_BEGINNING: Final = "mx0aBYs33eIilxBWC51657186536762"
VECTORS: Final = (
    Vector(
        _SECRET,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=11&recvWindow=5000&timestamp=1644489390087",
        "fd3e4e8543c5188531eb7279d68ae7d26a573d0fc5ab0d18eb692451654d837a",
    ),
    Vector(_SECRET, _BEGINNING, "80ba7c7524202da3acc2c52f472307a442a59d731b729cb8aef100fff2b7a8c7"),
    Vector(
        _SECRET,
        f"{_BEGINNING}page_num=1&page_size=20&symbol=BTC_USDT",
        "311ea6ab56709d0c9f33bc10c38b97eee2ca3efd4a062d0b4819e7d272d0dca0",
    ),
    Vector(
        _SECRET,
        _BEGINNING + '{"symbol":"BTC_USDT","price":9000.5,"vol":1,"side":1,"type":1,"openType":2,"externalOid":"rb-1"}',
        "d6cde8e61a77914f065618c0560a22b6c4d0b4c4c8e47cc6721a365205d9275b",
    ),
)

VENUE: Final = Described(
    name="mexc",
    folder="mexc",
    recorded=partial(build, depth=True, margin=0),
    samples={**FRAMES, **ANSWERS},
    beside=BESIDE,
    replies=REPLIES,
    classes=CLASSES,
    failure=_failure,
    sign=_sign,
    vectors=VECTORS,
    before=(What.MODE, What.LEVERAGE, What.INTERVALS, What.ACCOUNT),
)
