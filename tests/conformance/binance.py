"""Binance USDⓈ-M, for the suite."""

from __future__ import annotations

from typing import Final

from msgspec.json import encode

from adapters.binance_terms import REPLIES
from adapters.signing import signer
from agent.core.events import (
    Absent,
    Accepted,
    Allowed,
    Balance,
    Clock,
    Denied,
    Depth,
    Down,
    Ended,
    Fault,
    Fees,
    Filled,
    Flow,
    Forced,
    Funding,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Mode,
    Orders,
    Owner,
    Position,
    Positions,
    Quote,
    Refused,
    Rights,
    Throttled,
    Tiers,
    Unknown,
    Unset,
    Used,
    Volume,
    Warned,
)
from agent.core.venue import Arm, Ask, Batch, Cancel, Place, Reply, Request, SetLeverage, What
from tests.adapters.binance_kit import build, credentials, order
from tests.conformance.description import Answered, Described, Heard, Vector

PLACE: Final = Place(order())
QUIET: Final = (Unknown,)


def stream(name: str, socket: str, *kinds: type) -> Heard:
    return Heard(socket, kinds, b'{"stream":"' + name.encode() + b'","data":', b"}")


def _event(*kinds: type) -> Heard:
    return Heard("private", kinds)


def _row(request: Request, *kinds: type) -> Answered:
    """A row of what is answered as a list."""
    return Answered(request, kinds, before=b"[", after=b"]")


def _error(*kinds: type, request: Request = PLACE, status: int = 400) -> Answered:
    return Answered(request, kinds, status)


FRAMES: Final = {
    "ws_book_ticker": stream("bnbusdt@bookTicker", "public", Quote),
    "ws_depth_partial": stream("btcusdt@depth20@100ms", "public", Depth),
    "ws_depth_diff": stream("btcusdt@depth@100ms", "public", Unknown),
    "ws_mark_price": stream("btcusdt@markPrice@1s", "market", Mark, Funding),
    "ws_mark_price_all_arr": stream("!markPrice@arr@1s", "market", Mark, Funding),
    "ws_contract_info": stream("!contractInfo", "market"),
    "ws_force_order": stream("!forceOrder@arr", "market", Unknown),
    "cm_ws_book_ticker": stream("btcusd_perp@bookTicker", "public", Unknown),
    "cm_ws_depth_diff": stream("btcusd_perp@depth", "public", Unknown),
    "cm_ws_mark_price_delivery": stream("btcusd_261225@markPrice", "market", Unknown),
    "ws_combined_wrapper": Heard("market", (Mark, Funding)),
    "ws_subscribe_ack": Heard("market", ()),
    "ws_list_subscriptions_response": Heard("market", ()),
    "ws_subscribe_error": Heard("market", (Unknown,)),
    "ws_user_account_config_leverage": _event(Leverage),
    "ws_user_account_config_multi_assets": _event(Unknown),
    "ws_user_account_update_deposit": _event(Balance, Flow),
    "ws_user_account_update_funding_fee_cross": _event(Balance, Flow),
    "ws_user_account_update_hedge_isolated": _event(Position, Position, Position, Balance),
    "ws_user_account_update_withdraw": _event(Balance, Flow),
    "ws_user_algo_update_canceled": _event(*QUIET),
    "ws_user_algo_update_new": _event(*QUIET),
    "ws_user_conditional_order_trigger_reject": _event(*QUIET),
    "ws_user_fill_1_trade_lite": _event(),
    "ws_user_fill_2_account_update_order": _event(Position, Balance),
    "ws_user_fill_3_order_filled": _event(Filled, Ended),
    "ws_user_isolated_open_account_update": _event(Position, Balance),
    "ws_user_listen_key_expired": _event(Down),
    "ws_user_margin_call": _event(Warned),
    "ws_user_market_close_sequence": Heard("private", (Ended, Accepted, Position, Balance, Filled, Ended), many=True),
    "ws_user_order_adl": _event(Forced, Filled, Ended),
    "ws_user_order_amendment": _event(Accepted),
    "ws_user_order_canceled": _event(Ended),
    "ws_user_order_ioc_expired_unfilled": _event(Ended),
    "ws_user_order_liquidation_calculated": _event(Forced, Filled, Ended),
    "ws_user_order_new_limit": _event(Accepted),
    "ws_user_order_partial_fill": _event(Filled),
}
ANSWERS: Final = {
    "rest_time": Answered(Ask(What.TIME), (Clock,)),
    "rest_exchange_info_BTCUSDT": Answered(Ask(What.INSTRUMENTS), (Listed, Allowed)),
    "rest_premium_index_BTCUSDT": _row(Ask(What.PRICES), Mark, Funding),
    "rest_ticker_24hr": _row(Ask(What.VOLUMES), Volume),
    "rest_funding_info": Answered(Ask(What.INTERVALS), (Interval,)),
    "rest_leverage_bracket": Answered(Ask(What.TIERS), (Tiers,)),
    "rest_leverage_bracket_notional_coef": Answered(Ask(What.TIERS), (Tiers,)),
    "rest_commission_rate": Answered(Ask(What.FEES, 0), (Fees,)),
    "rest_symbol_config": Answered(Ask(What.LEVERAGE), (Leverage,)),
    "rest_account_config": Answered(Ask(What.MODE), (Mode,)),
    "rest_account_v3": Answered(Ask(What.ACCOUNT), (Margin, Balance)),
    "rest_balance_v3": Answered(Ask(What.OWNER), (Owner,)),
    "rest_sapi_api_restrictions": Answered(Ask(What.RIGHTS), (Rights,)),
    "rest_position_risk_v3_hedge": Answered(Ask(What.POSITIONS), (Positions,)),
    "rest_position_risk_v3_one_way": Answered(Ask(What.POSITIONS), (Positions,)),
    "rest_open_orders": Answered(Ask(What.ORDERS), (Orders,)),
    "rest_order_query": Answered(Ask(What.ORDER, 0, "abc"), (Accepted,)),
    "rest_order_place_response": Answered(Place(order(id="testOrder")), (Accepted,)),
    "rest_batch_orders_response": Answered(Batch((order(id="testOrder"), order(id="second"))), (Accepted, Refused)),
    "rest_order_cancel_response": Answered(Cancel("myOrder1", 0), (Accepted, Ended)),
    "rest_user_trades": Answered(Ask(What.TRADES, 0), (Filled,)),
    "rest_countdown_cancel_all": Answered(Arm(0, 100_000), ()),
    "rest_set_leverage_response": Answered(SetLeverage(0, 21), (Leverage,)),
    "rest_listen_key_post": Answered(Ask(What.KEY), ()),
    "rest_listen_key_put": Answered(Ask(What.KEY), ()),
}
_REFUSED: Final = (
    "conditional_moved_to_algo", "fok_rejected", "invalid_depth_limit", "invalid_interval", "invalid_symbol",
    "margin_insufficient", "min_notional", "parameter_not_valid", "percent_price_high", "percent_price_market",
    "position_side_mismatch", "post_only_rejected", "precision_over_max", "price_not_tick", "qty_not_step",
    "reduce_only_rejected", "timestamp_ahead", "timestamp_outside_window", "timestamp_outside_window_matching_engine",
)  # fmt: skip
_LOST: Final = (
    "duplicate_client_order_id", "unknown_order_cancel", "listen_key_missing", "no_need_change_margin_type",
    "no_need_change_position_side",
)  # fmt: skip
ERRORS: Final = {
    **{f"rest_error_{name}": _error(Refused) for name in _REFUSED},
    **{f"rest_error_{name}": _error(Lost) for name in _LOST},
    **{
        f"rest_error_{name}": _error(Denied, Refused)
        for name in ("api_key_format", "bad_key_ip_permission", "invalid_signature")
    },
    "rest_error_leverage_insufficient_margin": _error(Unset, request=SetLeverage(0, 1)),
    "rest_error_max_position_for_leverage": _error(Unset, request=SetLeverage(0, 125)),
    "rest_error_order_does_not_exist": _error(Absent, request=Ask(What.ORDER, 0, "abc")),
    "rest_error_too_many_orders": _error(Used, Refused),
    "rest_error_too_many_requests_banned": _error(Throttled, Refused, status=418),
    "rest_error_server_overload": _error(Refused, status=503),
    "rest_error_backend_timeout_unknown": _error(Lost, status=408),
}

BESIDE: Final = {
    "vectors: test_signing.py, tests/core": ("_sign_vectors", "_math_vectors"),
    "what a client says": ("ws_subscribe_request",),
    "older shapes of what is asked in its newest": (
        "rest_account_v2", "rest_position_risk_v2_hedge", "rest_exchange_info_symbol_XAUUSDT",
    ),
    "questions that are never asked": (
        "rest_adl_quantile", "rest_agg_trades", "rest_all_orders", "rest_api_trading_status", "rest_book_ticker",
        "rest_depth_limit5", "rest_force_orders", "rest_funding_rate_history", "rest_income_funding_fee",
        "rest_income_mixed", "rest_klines_1m", "rest_multi_assets_mode", "rest_open_interest", "rest_position_mode",
        "rest_rate_limit_order", "rest_ticker_price_v2", "rest_algo_open_orders", "rest_algo_order_query",
    ),
    "changes that are never made": (
        "rest_algo_cancel_response", "rest_algo_order_place_response", "rest_batch_cancel_response",
        "rest_cancel_all_open_orders", "rest_order_modify_history", "rest_order_modify_response",
        "rest_position_margin_response", "rest_set_margin_type_response",
    ),
    "order entry over websocket": (
        "wsapi_account_balance_v2_response", "wsapi_account_position_v2_response", "wsapi_algo_order_place_response",
        "wsapi_error_key_revoked", "wsapi_error_response", "wsapi_order_cancel_request", "wsapi_order_cancel_response",
        "wsapi_order_modify_request", "wsapi_order_modify_response", "wsapi_order_place_request",
        "wsapi_order_place_response", "wsapi_order_status_response", "wsapi_session_logon_response",
        "wsapi_user_data_stream_start_response",
    ),
}  # fmt: skip

CLASSES: Final[dict[Fault | None, tuple[int, ...]]] = {
    None: (-1000, -1001, -1006, -1007, -2011, -2013, -4116, -1125, -4046, -4059, -4171, 408),
    Fault.ACCOUNT: (
        -1002, -1022, -2014, -2015, -2023, -4087, -4088, -4109, -4189, -4192, -4202, -4203, -4204, -4205, -4206, -4207,
        -4208, -4209, -4400, -4401, -4402, -4403, 401, 451,
    ),
    Fault.BUSY: (-1003, -1008, -1015, -2025, -4117, 403, 418, 429),
    Fault.CLOCK: (-1021, -4188, -5028),
    Fault.MARGIN: (-2018, -2019, -2027, -2028),
    Fault.REDUCE: (-2022, -2024, -4118),
    Fault.PRICE: (-2020, -4131, -5021, -5022),
    Fault.CLOSED: (-1121, -1122, -4108, -4110, -4140, -4141),
    Fault.RULE: (
        -1013, -1102, -1104, -1106, -1111, -1116, -1117, -1120, -1130, -2026, -4000, -4001, -4002, -4003, -4004, -4005,
        -4013, -4014, -4015, -4016, -4021, -4023, -4024, -4028, -4060, -4061, -4062, -4082, -4120, -4137, -4138, -4164,
        -4183, -4184, -4210, -4211, -5037, -5038, -5039, -5040, -5041, -5043, -5047,
    ),
    Fault.OTHER: (
        -2010, -2021, -4045, -4047, -4048, -4067, -4068, -4142, -4161, -4167, -4168, -4169, -4170, -4172, -4531, -5024,
        -5025, -5026, -5027,
    ),
}  # fmt: skip


def failure(code: int | str) -> Reply:
    """The venue's words for a code. HTTP statuses stand without a code of the venue's."""
    if isinstance(code, int) and code > 0:
        return Reply(code, {}, b"")
    return Reply(400, {}, encode({"code": code, "msg": "words"}))


def sign(secret: str, text: str) -> str:
    return signer(credentials(secret), "Binance", ed25519=True)(text.encode())


_FUTURES: Final = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
_SPOT: Final = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
VECTORS: Final = (
    Vector(
        _FUTURES,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000"
        "&timestamp=1591702613943",
        "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
    ),
    Vector(
        _FUTURES,
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTCquantity=1&price=9000&recvWindow=5000"
        "&timestamp=1591702613943",
        "30baaf0fab549bbeda7f5ef201898b34122da25fd23c646cac2c529aebe670a4",
    ),
    Vector(
        _SPOT,
        "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
        "&timestamp=1499827319559",
        "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
    ),
    Vector(_SPOT, "timestamp=1578963600000", "d84e6641b1e328e7b418fff030caed655c266299c9355e36ce801ed14631eed4"),
    Vector(
        _SPOT,
        "apiKey=vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A&newOrderRespType=ACK"
        "&price=52000.00&quantity=0.01000000&recvWindow=100&side=SELL&symbol=BTCUSDT&timeInForce=GTC"
        "&timestamp=1645423376532&type=LIMIT",
        "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a",
    ),
)

VENUE: Final = Described(
    name="binance",
    folder="binance",
    recorded=build,
    samples=FRAMES | ANSWERS | ERRORS,
    beside=BESIDE,
    replies=REPLIES,
    classes=CLASSES,
    failure=failure,
    sign=sign,
    vectors=VECTORS,
)
