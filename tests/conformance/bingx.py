"""BingX USDT-margined perpetuals, for the suite."""

from __future__ import annotations

import gzip
from typing import Final

from msgspec.json import encode

from adapters.bingx_replies import REPLIES
from adapters.signing import hmac_signer
from agent.core.events import (
    Accepted,
    Balance,
    Clock,
    Depth,
    Down,
    Ended,
    Fault,
    Fees,
    Flow,
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
    Quote,
    Refused,
    Rights,
    Tiers,
    Unknown,
)
from agent.core.venue import Arm, Ask, Batch, Cancel, Place, Reply, SetLeverage, What
from tests.adapters.binance_kit import credentials
from tests.adapters.bingx_kit import SYMBOLS, build, order
from tests.conformance.description import Answered, Described, Heard, Vector


def _at(name: str) -> int:
    return SYMBOLS.index(f"{name}-USDT")


def _private(*kinds: type) -> Heard:
    return Heard("private", kinds)


def _market(*kinds: type) -> Heard:
    return Heard("market", kinds)


FRAMES: Final[dict[str, Heard | Answered]] = {
    "ws_mark_price": _market(Mark),
    "ws_mark_price_2025": _market(Mark),
    "ws_book_ticker": _market(Quote),
    "ws_book_ticker_2025": _market(Quote),
    "ws_depth20": _market(Depth),
    "ws_depth5_2025": _market(Unknown),
    "ws_incr_depth_update": _market(Unknown),
    "ws_last_price": _market(Unknown),
    "ws_ticker_24h": _market(Unknown),
    "ws_trades": _market(Unknown),
    "ws_sub_ack": _market(),
    "ws_sub_ack_success": _market(),
    "ws_ping_json_spot_and_coinm": _market(),
    "ws_error_100400": _market(Unknown),
    "ws_error_80014": _private(Unknown),
    "ws_account_update_order": _private(Position, Balance),
    "ws_account_update_position_only": _private(Position),
    "ws_account_update_withdraw": _private(Balance, Flow),
    "ws_account_config_update": _private(),
    "ws_order_trade_update": _private(Accepted, Ended),
    "ws_trade_update_2025": _private(Accepted, Ended),
    "ws_listen_key_expired": _private(Down),
}
ANSWERS: Final[dict[str, Heard | Answered]] = {
    "rest_server_time": Answered(Ask(What.TIME), (Clock,)),
    "rest_contracts_BTC": Answered(Ask(What.INSTRUMENTS), (Listed,)),
    "rest_contracts_BTC_ETH": Answered(Ask(What.INSTRUMENTS), (Listed,)),
    "rest_contracts_2025": Answered(Ask(What.INSTRUMENTS), (Listed,)),
    "rest_premium_index_all": Answered(Ask(What.PRICES), (Mark, Funding)),
    "rest_funding_rate_history": Answered(Ask(What.INTERVALS, _at("QNT")), (Interval,)),
    "rest_maint_margin_ratio_BTC": Answered(Ask(What.TIERS, _at("BTC")), (Tiers,)),
    "rest_maint_margin_ratio_ETH_2026": Answered(Ask(What.TIERS, _at("ETH")), (Tiers,)),
    "rest_commission_rate": Answered(Ask(What.FEES), (Fees,)),
    "rest_leverage_get": Answered(Ask(What.LEVERAGE, 0), (Leverage,)),
    "rest_leverage_set_ack": Answered(SetLeverage(0, 10), (Leverage,)),
    "rest_position_mode": Answered(Ask(What.MODE), (Mode,)),
    "rest_balance_v3": Answered(Ask(What.ACCOUNT), (Margin, Balance)),
    "rest_balance_v3_empty_usdc_row": Answered(Ask(What.ACCOUNT), (Margin, Balance)),
    "rest_positions": Answered(Ask(What.POSITIONS), (Positions,)),
    "rest_positions_short_form": Answered(Ask(What.POSITIONS), (Positions,)),
    "rest_open_orders": Answered(Ask(What.ORDERS), (Orders,)),
    "rest_order": Answered(Ask(What.ORDER, _at("OP"), "l*****e"), (Accepted,)),
    "rest_place_order_ack": Answered(Place(order()), (Accepted,)),
    "rest_place_order_ack_old": Answered(Place(order()), (Accepted,)),
    "rest_batch_orders_ack": Answered(Batch((order(instrument=_at("ID")),)), (Lost,)),
    "rest_cancel_order_ack": Answered(Cancel("lo******7", _at("RNDR")), (Accepted, Ended)),
    "rest_cancel_all_after_ack": Answered(Arm(0, 10_000), ()),
    "rest_api_permissions": Answered(Ask(What.RIGHTS), (Rights,)),
    "rest_listen_key": Answered(Ask(What.KEY), ()),
    "rest_error_101204": Answered(Place(order()), (Refused,)),
    "rest_error_109400_position_side": Answered(Place(order()), (Refused,)),
}
BESIDE: Final = {
    "what a client says": ("ws_sub_request",),
    "asked first of two, see test_bingx.py": ("rest_asset_mode",),
    "prices are asked for all symbols at once": ("rest_premium_index_one",),
    "questions that are never asked": (
        "rest_all_orders_fullOrder", "rest_book_ticker", "rest_book_ticker_2026", "rest_depth", "rest_depth_2025",
        "rest_fills_allFillOrders", "rest_fills_fillHistory", "rest_force_orders", "rest_income_funding",
        "rest_margin_type_get", "rest_orders_history",
    ),
    "changes that are never made": (
        "rest_amend_ack", "rest_cancel_all_ack", "rest_cancel_multiple_ack", "rest_cancel_replace_ack",
        "rest_close_all_positions_ack", "rest_close_position_ack", "rest_position_margin_ack", "rest_vst_claim_ack",
    ),
    "contracts settled in coin, of which the venue tells too little": (
        "coinm_rest_balance", "coinm_rest_contracts", "coinm_rest_fills", "coinm_rest_positions",
        "coinm_ws_account_update", "coinm_ws_book_ticker", "coinm_ws_depth5", "coinm_ws_mark_price",
        "coinm_ws_order_trade_update",
    ),
}  # fmt: skip

CLASSES: Final[dict[Fault | None, tuple[int, ...]]] = {
    None: (
        80012, 100500, 101500, 109500, 110500, 504, 80018, 80019, 101481, 109201, 80016, 80017, 109421,
    ),
    Fault.ACCOUNT: (100001, 100004, 100412, 100413, 100414, 100419, 401),
    Fault.BUSY: (100410, 109403, 109429, 429, 418, 403, 101214),
    Fault.CLOCK: (100421,),
    Fault.MARGIN: (100202, 101204, 101212, 101253, 110424, 101209, 110287, 101429, 112414, 101414),
    Fault.REDUCE: (101290, 101205, 109420, 110203),
    Fault.PRICE: (101215,),
    Fault.CLOSED: (101415, 110280, 101514, 109417, 109418, 109425),
    Fault.RULE: (
        101202, 101485, 110422, 101400, 110425, 101211, 110402, 101460, 101461, 109400, 80014,
    ),
    Fault.OTHER: (101419, 80013, 104103, 100400, 80403),
}  # fmt: skip


def _failure(code: int | str) -> Reply:
    """The venue's own codes come with status 200; HTTP statuses stand without one."""
    if isinstance(code, int) and code < 1_000:
        return Reply(code, {}, b"")
    return Reply(200, {}, encode({"code": code, "msg": "words", "data": {}}))


def _sign(secret: str, text: str) -> str:
    return hmac_signer(credentials(secret), "BingX")(text.encode())


_SECRET: Final = "mheO6dR8ovSsxZQCOYEFCtelpuxcWGTfHw7te326y6jOwq5WpvFQ9JNljoTwBXZGv5It07m9RXSPpDQEK2w"
VECTORS: Final = (
    Vector(
        _SECRET,
        "recvWindow=0&subAccountString=abc12345&timestamp=1696751141337",
        "8d0d3ea9b592be3678c33332ab13e9102e093e67255921e15a581146c87c272f",
    ),
    Vector(
        _SECRET,
        'batchOrders=[{"symbol":"BTC-USDT","type":"LIMIT","side":"BUY","price":25000,"positionSide":"BOTH",'
        '"quantity":0.0001}]&timestamp=1696751141337',
        "98b2886baecc3a42c94a39eb01003f08d3a82f6ef40e71fdd42f5f8c34c3dee6",
    ),
)

VENUE: Final = Described(
    name="bingx",
    folder="bingx",
    recorded=build,
    samples=FRAMES | ANSWERS,
    beside=BESIDE,
    replies=REPLIES,
    classes=CLASSES,
    failure=_failure,
    sign=_sign,
    vectors=VECTORS,
    pack=lambda text: gzip.compress(text, mtime=0),
)
