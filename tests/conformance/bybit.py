"""Bybit's linear perpetuals, for the suite."""

from __future__ import annotations

import json
from typing import Final

from msgspec.json import encode

from adapters.bybit_routes import REPLIES
from adapters.signing import signer
from agent.core.events import (
    Accepted,
    Balance,
    Clock,
    Denied,
    Depth,
    Elsewhere,
    Ended,
    Fault,
    Fees,
    Filled,
    Forced,
    Funding,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Position,
    Quote,
    Refused,
    Rights,
    Throttled,
    Tiers,
    Unanswered,
    Unknown,
    Up,
)
from agent.core.venue import Ask, Batch, Cancel, Place, Reply, SetLeverage, What
from tests.adapters.binance_kit import credentials, order
from tests.adapters.bybit_kit import build
from tests.conformance.description import Answered, Described, Heard, Vector

PLACE: Final = Place(order())


def _private(*kinds: type) -> Heard:
    return Heard("private", kinds)


FRAMES: Final = {
    "ws_auth_ack": _private(),
    "ws_auth_failure": _private(Unknown),
    "ws_subscribe_ack_private": _private(),
    "ws_subscribe_ack_public": Heard("market", ()),
    "ws_subscribe_failure": Heard("market", (Unknown,)),
    "ws_pong_private": _private(),
    "ws_pong_public_linear": Heard("market", ()),
    "ws_ticker_linear_snapshot": Heard("market", (Up, Mark, Funding)),
    "ws_ticker_linear_delta": Heard("market", ()),
    "ws_orderbook1_snapshot": Heard("public", (Up, Quote)),
    "ws_orderbook50_snapshot": Heard("public", (Up, Depth)),
    "ws_orderbook50_delta": Heard("public", ()),
    "ws_order_cancelled_by_user_linear": _private(Accepted, Ended),
    "ws_order_filled_linear": _private(Accepted, Ended),
    "ws_order_ioc_cancelled_unfilled": _private(Accepted, Ended),
    "ws_order_post_only_cancelled_linear": _private(Refused, Ended),
    "ws_order_filled_option_docs": _private(Elsewhere),
    "ws_order_rejected_partial_spot": _private(Elsewhere),
    "ws_execution_trade": _private(Filled),
    "ws_execution_trade_live_2025_09": _private(Filled),
    "ws_execution_adl": _private(Forced, Filled),
    "ws_execution_fast": _private(Unknown),
    "ws_position_closed": _private(Position, Leverage),
    "ws_position_short_live_2025_11": _private(Position, Leverage),
    "ws_wallet": _private(Balance),
}
ANSWERS: Final = {
    "rest_time": Answered(Ask(What.TIME), (Clock,)),
    "rest_instruments_info_linear_BTCUSDT": Answered(Ask(What.INSTRUMENTS), (Listed, Interval)),
    "rest_tickers_linear_live_subset": Answered(Ask(What.PRICES), (Unanswered,)),
    "rest_risk_limit_BTCUSDT_linear": Answered(Ask(What.TIERS, 0), (Tiers,)),
    "rest_fee_rate": Answered(Ask(What.FEES), (Fees,)),
    "rest_account_info": Answered(Ask(What.MODE), (Unanswered,)),
    "rest_wallet_balance": Answered(Ask(What.ACCOUNT), (Margin, Balance)),
    "rest_position_list_linear": Answered(Ask(What.POSITIONS), ()),
    "rest_order_realtime": Answered(Ask(What.ORDERS), ()),
    "rest_order_realtime_two_open": Answered(Ask(What.ORDER, 1, "client-open-2"), (Accepted,)),
    "rest_order_history": Answered(Ask(What.ORDER, 0, "YLxaWKMiHU", since="0"), (Refused, Ended)),
    "rest_query_api_key": Answered(Ask(What.RIGHTS), (Rights,)),
    "rest_order_create": Answered(Place(order(id="spot-test-postonly")), ()),
    "rest_order_create_batch": Answered(Batch((order(id="spot-btc-03"), order(id="spot-atom-03"))), ()),
    "rest_order_cancel": Answered(Cancel("linear-004", 0), ()),
    "rest_set_leverage_ok": Answered(SetLeverage(0, 10), (Leverage,)),
    "rest_error_leverage_not_modified": Answered(SetLeverage(0, 10), (Leverage,)),
    "rest_error_rate_limit": Answered(PLACE, (Throttled, Refused)),
}
_REFUSED: Final = (
    "balance_insufficient", "contract_not_live", "delisting", "max_position", "min_notional", "param",
    "price_out_of_range", "reduce_only_contract", "reduce_only_no_position", "timestamp", "too_many_active_orders",
    "trigger_direction",
)  # fmt: skip
_LOST: Final = (
    "duplicate_order_link_id", "order_finished", "order_not_exist", "order_processing",
    "position_mode_not_modified", "server_timeout_unknown",
)  # fmt: skip
ERRORS: Final = {
    **{f"rest_error_{name}": Answered(PLACE, (Refused,)) for name in _REFUSED},
    **{f"rest_error_{name}": Answered(PLACE, (Lost,)) for name in _LOST},
    **{
        f"rest_error_{name}": Answered(PLACE, (Denied, Refused))
        for name in ("api_key_invalid", "permission", "sign", "unmatched_ip")
    },
}

BESIDE: Final = {
    "vectors: test_signing.py, tests/core": ("_sign_vectors", "_math_vectors"),
    "what a client says": ("ws_auth_request", "ws_ping", "ws_subscribe_request"),
    "topics that are never subscribed to": (
        "ws_adl_alert", "ws_all_liquidation", "ws_price_limit", "ws_public_trade", "ws_system_status",
    ),
    "questions that are never asked": (
        "rest_closed_pnl", "rest_dcp_info", "rest_execution_list", "rest_execution_list_funding",
        "rest_funding_history", "rest_order_pre_check", "rest_orderbook", "rest_price_limit", "rest_smp_group",
        "rest_symbol_info_leverage", "rest_transaction_log", "rest_user_setting_config",
    ),
    "changes that are never made": (
        "rest_order_amend", "rest_order_amend_batch", "rest_order_cancel_all", "rest_order_cancel_batch_mixed",
        "rest_set_dcp", "rest_set_margin_mode_failed",
    ),
    "order entry over websocket": (
        "ws_pong_trade", "wstrade_auth_ack", "wstrade_auth_request", "wstrade_create_batch_ack_all_failed",
        "wstrade_create_batch_request", "wstrade_order_create_ack", "wstrade_order_create_request",
    ),
}  # fmt: skip

CLASSES: Final[dict[Fault | None, tuple[int, ...]]] = {
    None: (
        10000, 10014, 10016, 10019, 20006, 110001, 110008, 110010, 110025, 110026, 110027, 110043, 110072, 110079,
    ),
    Fault.ACCOUNT: (
        10003, 10004, 10005, 10007, 10009, 10010, 10024, 10027, 10028, 33004, 100028, 110123, 110124, 110125, 110132,
        401,
    ),
    Fault.BUSY: (10006, 10018, 10403, 10429, 20003, 110009, 110020, 403, 429),
    Fault.CLOCK: (10002,),
    Fault.MARGIN: (
        110004, 110006, 110007, 110011, 110012, 110013, 110040, 110044, 110045, 110046, 110047, 110048, 110051, 110052,
        110053, 110085, 110086, 110089, 110090, 110101, 110102, 110104, 110105, 110106, 110107, 182011,
    ),
    Fault.REDUCE: (110017, 110033, 110034),
    Fault.PRICE: (110118,),
    Fault.CLOSED: (
        10029, 30228, 110021, 110022, 110023, 110042, 110063, 110066, 110074, 110095, 110096, 110097, 110098, 110099,
        110100, 110103, 110137,
    ),
    Fault.RULE: (
        10001, 30208, 30209, 110003, 110049, 110064, 110092, 110093, 110094, 110119, 110120, 110121,
    ),
    Fault.OTHER: (10404, 20001, 110024, 110028, 110029, 3400045),
}  # fmt: skip


def failure(code: int | str) -> Reply:
    """HTTP statuses stand without a code of the venue's, whose own come with a success."""
    if isinstance(code, int) and code < 1_000:
        return Reply(code, {}, b"")
    return Reply(200, {}, encode({"retCode": code, "retMsg": "words", "result": {}, "retExtInfo": {}, "time": 1}))


def sign(secret: str, text: str) -> str:
    return signer(credentials(secret), "Bybit", ed25519=False)(text.encode())


VECTORS: Final = (
    Vector(
        "test_secret",
        "1700000000000test_api_key5000category=linear&symbol=BTCUSDT",
        "fd4f31228a46109dc6673062328693696df9a96c7ff04e6491a45e7f63a0fdd7",
    ),
    Vector(
        "test_secret",
        '1700000000000test_api_key5000{"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "test-order-1"}',
        "2df4a0603d69c08d5dea29ba85b46eb7db64ce9e9ebd34a7802a3d69700cb2a1",
    ),
    Vector(
        "test_secret", "GET/realtime1700000000000", "bacffe7500499eb829bb58c45d36d1b3e5ac67c14eaeba91df5e99ccee013925"
    ),
)


def received(body: bytes, order: str) -> bool:
    """A success that repeats our id and says nothing more."""
    try:
        answer = json.loads(body.decode(errors="replace"))
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("retCode") == 0 and order in str(answer.get("result"))


VENUE: Final = Described(
    name="bybit",
    folder="bybit",
    recorded=build,
    samples=FRAMES | ANSWERS | ERRORS,
    beside=BESIDE,
    replies=REPLIES,
    classes=CLASSES,
    failure=failure,
    sign=sign,
    vectors=VECTORS,
    received=received,
)
