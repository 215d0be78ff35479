"""WEEX USDT-M perpetuals, API V3, for the suite."""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec.json import encode

from adapters.weex import Weex
from adapters.weex_terms import REPLIES, Signer
from agent.core.events import (
    Accepted,
    Balance,
    Clock,
    Denied,
    Ended,
    Fault,
    Fees,
    Filled,
    Funding,
    Interval,
    Leverage,
    Listed,
    Margin,
    Mark,
    Mode,
    Orders,
    Position,
    Positions,
    Refused,
    Side,
    Tiers,
    Unknown,
    Volume,
)
from agent.core.orders import Order, Style
from agent.core.venue import Ask, Call, Cancel, Credentials, Place, Reply, Secret, SetLeverage, What
from tests.conformance.description import Answered, Described, Heard, Vector

NOW: Final = 1_790_000_000_000_000_000
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "DOGEUSDT")
GRIDS: Final = {"BTCUSDT": (1, 6), "ETHUSDT": (2, 3), "DOGEUSDT": (5, 0)}
NAMED: Final = {
    "702345678901234567": "my-order-0001",
    "617414920861909658": "1747203186927FPIZRP",
    "738957755376730472": "another",
}
"""Orders whose first word came before the samples."""


def contract(symbol: str) -> dict[str, Any]:
    """A listing."""
    price, quantity = GRIDS[symbol]
    return {
        "symbol": symbol,
        "baseAsset": symbol[:-4],
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": price,
        "quantityPrecision": quantity,
        "minOrderSize": "0.0001" if quantity else 1,
        "maxOrderSize": 10_000,
        "marketOpenLimitSize": 2_000,
        "maxLeverage": 400,
        "buyLimitPriceRatio": 0.016,
        "sellLimitPriceRatio": "0.015",
    }


def order_push(venue_order: str, order: str, symbol: str = "BTCUSDT", **changes: Any) -> bytes:
    """An event about an order."""
    row = {
        "id": venue_order,
        "symbol": symbol,
        "clientOrderId": order,
        "status": "PENDING",
        "cumFillSize": "0",
        "updatedTime": "1747203188148",
    }
    return json.dumps({"e": "orders", "E": 1747203188148, "v": 1, "d": [row | changes]}).encode()


def credentials(secret: str) -> Credentials:
    """A key with its passphrase."""
    return Credentials(Secret("key"), Secret(secret), Secret("phrase"))


def build() -> Weex:
    """A dialect that knows the instruments and orders of the samples."""
    dialect = Weex(symbols=SYMBOLS, credentials=credentials("secret"))
    told = {"symbols": [contract(symbol) for symbol in SYMBOLS]}
    call = dialect.perform(Ask(What.INSTRUMENTS), NOW)
    assert isinstance(call, Call)
    dialect.on_reply(call, Reply(200, {}, encode(told)), NOW)
    for venue_order, order in NAMED.items():
        dialect.on_frame("private", order_push(venue_order, order), NOW)
    return dialect


def order(name: str, **changes: Any) -> Order:
    """An order for a tenth of a bitcoin."""
    given: dict[str, Any] = {
        "id": name,
        "instrument": 0,
        "symbol": "BTCUSDT",
        "side": Side.LONG,
        "lots": 100_000,
        "ticks": 690_000,
        "style": Style.IOC,
        "reduce": False,
        "created_at": NOW,
        "expires_at": NOW + 3_000_000_000,
        "value": 6_900.0,
    }
    return Order(**given | changes)


def _push(kind: str, *kinds: type) -> Heard:
    """A row that was recorded without its event."""
    return Heard("private", kinds, b'{"e":"' + kind.encode() + b'","E":1778659287787,"v":1,"d":[', b"]}")


def _refused(*kinds: type) -> Answered:
    return Answered(Place(order("mine")), kinds, 400)


MINE: Final = "my-order-0001"
FRAMES: Final = {
    "ws_ticker_mark_index": Heard("market", (Mark,)),
    "ws_ticker_2026": Heard("market", (Mark,)),
    "ws_depth15_update": Heard("public", ()),  # a change of what was never told as a whole
    "ws_depth200_update": Heard("public", ()),
    "ws_trades": Heard("public", (Unknown,)),
    "ws_sub_ack": Heard("market", ()),
    "ws_error_invalid_symbol": Heard("market", (Unknown,)),
    "ws_ping_public": Heard("market", ()),
    "ws_ping_private": Heard("private", ()),
    "ws_pong_reply_ccxt": Heard("public", ()),  # the venue's own answer looks the same
    "ws_order_update_pending": Heard("private", (Accepted,)),
    "ws_fill": Heard("private", (Filled,)),
    "ws_fill_row_2026": _push("fill", Filled),
    "ws_position_order_update": Heard("private", (Position,)),
    "ws_position_funding_settle": Heard("private", (Position,)),
    "ws_position_row_sim_account": _push("positions"),  # of a demo account
    "ws_account_deposit": Heard("private", ()),  # the first of its sums: nothing to compare it with
    "ws_account_funding_settle": Heard("private", ()),
}
ANSWERS: Final = {
    "rest_server_time": Answered(Ask(What.TIME), (Clock,)),
    "rest_exchange_info_BTC": Answered(Ask(What.INSTRUMENTS), (Listed, Tiers)),
    "rest_exchange_info_symbol_ETH": Answered(
        Ask(What.INSTRUMENTS), (Listed, Tiers), before=b'{"symbols":[', after=b"]}"
    ),
    "rest_premium_index_BTC": Answered(Ask(What.PRICES), (Mark, Funding, Interval)),
    "rest_premium_index_ETH_2026": Answered(Ask(What.PRICES), (Mark, Funding, Interval)),
    "rest_ticker_24hr": Answered(Ask(What.VOLUMES), (Volume,)),
    "rest_commission_rate": Answered(Ask(What.FEES, 0), (Fees,)),
    "rest_symbol_config": Answered(Ask(What.LEVERAGE), (Leverage,)),
    "rest_account_config": Answered(Ask(What.MODE), (Mode,)),
    "rest_balance": Answered(Ask(What.ACCOUNT), (Margin, Balance)),
    "rest_positions": Answered(Ask(What.POSITIONS), (Positions,)),
    "rest_positions_2026": Answered(Ask(What.POSITIONS), (Positions,)),
    "rest_open_orders": Answered(Ask(What.ORDERS), (Orders,)),
    "rest_open_orders_new": Answered(Ask(What.ORDERS), (Orders,)),
    "rest_order": Answered(Ask(What.ORDER, 0, MINE), (Accepted, Ended)),
    "rest_order_history_2026": Answered(Ask(What.ORDER, 2, "not in it"), ()),  # a further list is asked for then
    "rest_user_trades": Answered(Ask(What.TRADES, 0), (Filled,)),
    "rest_user_trades_2026": Answered(Ask(What.TRADES, 2), (Filled,)),
    "rest_place_order_ack": Answered(Place(order(MINE)), (Accepted,)),
    "rest_cancel_order_ack": Answered(Cancel(MINE, 0), (Accepted,)),
    "rest_set_leverage_ack": Answered(SetLeverage(0, 20), (Leverage,)),
}
ERRORS: Final = {
    "rest_error_1140": _refused(Refused),
    "rest_error_1056_illegal_ip": _refused(Denied, Refused),
    "rest_error_1058_symbol_not_api": _refused(Refused),
}
BESIDE: Final = {
    "what a client says": ("ws_sub_request",),
    "questions that are never asked": (
        "rest_api_trading_symbols", "rest_book_ticker", "rest_depth", "rest_funding_rate_history", "rest_symbol_price",
        "rest_income_page", "rest_income_funding_2026",
    ),
    "changes that are never made": (
        "rest_close_positions_ack", "rest_position_margin_ack", "rest_set_margin_type_ack",
    ),
}  # fmt: skip

CLASSES: Final[dict[Fault | None, tuple[int, ...]]] = {
    None: (-1000, -1054, -2200, -3200, 408),
    Fault.ACCOUNT: (-1044, -1047, -1049, -1050, -1051, -1052, -1053, -1055, -1056, -1057, -1190, -3236, 401),
    Fault.BUSY: (403, 418, 429),
    Fault.CLOCK: (-1046,),
    Fault.CLOSED: (-1058, -3235, -1121, -2007),
    Fault.RULE: (
        -1040, -1041, -1042, -1043, -1045, -1115, -1116, -1117, -1128, -1135, -1140, -1141, -1142, -1150, -1160, -1170,
        -1171, -1180, -3006, -3007, -3313,
    ),
    Fault.OTHER: (-3613,),
}  # fmt: skip


def _failure(code: int | str) -> Reply:
    """HTTP statuses stand without a code of the venue's."""
    if isinstance(code, int) and code > 0:
        return Reply(code, {}, b"")
    return Reply(400, {}, encode({"code": code, "msg": "words"}))


def _sign(secret: str, text: str) -> str:
    return dict(Signer(credentials(secret)).headers(text.encode(), 0))["ACCESS-SIGN"]


_ORDER: Final = (
    '{"symbol":"BTCUSDT","side":"BUY","positionSide":"LONG","type":"LIMIT","timeInForce":"GTC","quantity":"0.001",'
    '"price":"60000","newClientOrderId":"rb-1"}'
)
VECTORS: Final = (
    Vector("XXX", '1499827318559POST/api/v3/order{"symbol":"LTCBTC"}', "AkV6bNpe7++1vpD331UuwdWXsGC8Qy2HheZ29ilIwOQ="),
    Vector(
        "XXX",
        "1764505776347GET/capi/v3/account/symbolConfig?symbol=BTCUSDT",
        "Y1DtRd9SkfA75pIA5fvXfrMSxnVJaJAOmvsk8CRIHD0=",
    ),
    Vector("XXX", "1764505776347/v3/ws/private", "6betoCHq5WNm8HkSAso2rnP5ys4RAoJaMjlcTz8qetA="),
    Vector("XXX", f"1764505776347POST/capi/v3/order{_ORDER}", "oTNEBrb2AMe+2/wKZn2u8RcClI+WaU8h3v5sahbgK3s="),
)

VENUE: Final = Described(
    name="weex",
    folder="weex",
    recorded=build,
    samples=FRAMES | ANSWERS | ERRORS,
    beside=BESIDE,
    replies=REPLIES,
    classes=CLASSES,
    failure=_failure,
    sign=_sign,
    vectors=VECTORS,
    hedged=True,
)
