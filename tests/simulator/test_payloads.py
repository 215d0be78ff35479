"""The fields of every answer and frame against the sample payloads of the venue."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.simulator import Account, Binance, Client, Exchange, SeededMarket

SAMPLES = Path(__file__).resolve().parents[2].parent / "shared" / "venues" / "payloads" / "binance"

READS: dict[str, tuple[str, dict[str, object]]] = {
    "rest_time": ("/fapi/v1/time", {}),
    "rest_exchange_info_BTCUSDT": ("/fapi/v1/exchangeInfo", {}),
    "rest_premium_index_BTCUSDT": ("/fapi/v1/premiumIndex", {"symbol": "BTCUSDT"}),
    "rest_book_ticker": ("/fapi/v1/ticker/bookTicker", {"symbol": "BTCUSDT"}),
    "rest_ticker_price_v2": ("/fapi/v2/ticker/price", {"symbol": "BTCUSDT"}),
    "rest_ticker_24hr": ("/fapi/v1/ticker/24hr", {"symbol": "BTCUSDT"}),
    "rest_depth_limit5": ("/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 5}),
    "rest_agg_trades": ("/fapi/v1/aggTrades", {"symbol": "BTCUSDT"}),
    "rest_open_interest": ("/fapi/v1/openInterest", {"symbol": "BTCUSDT"}),
    "rest_funding_rate_history": ("/fapi/v1/fundingRate", {"symbol": "BTCUSDT"}),
    "rest_funding_info": ("/fapi/v1/fundingInfo", {}),
    "rest_leverage_bracket": ("/fapi/v1/leverageBracket", {}),
    "rest_account_v2": ("/fapi/v2/account", {}),
    "rest_account_v3": ("/fapi/v3/account", {}),
    "rest_balance_v3": ("/fapi/v3/balance", {}),
    "rest_position_risk_v2_hedge": ("/fapi/v2/positionRisk", {}),
    "rest_position_risk_v3_one_way": ("/fapi/v3/positionRisk", {}),
    "rest_symbol_config": ("/fapi/v1/symbolConfig", {}),
    "rest_account_config": ("/fapi/v1/accountConfig", {}),
    "rest_commission_rate": ("/fapi/v1/commissionRate", {"symbol": "BTCUSDT"}),
    "rest_position_mode": ("/fapi/v1/positionSide/dual", {}),
    "rest_multi_assets_mode": ("/fapi/v1/multiAssetsMargin", {}),
    "rest_rate_limit_order": ("/fapi/v1/rateLimit/order", {}),
    "rest_open_orders": ("/fapi/v1/openOrders", {}),
    "rest_all_orders": ("/fapi/v1/allOrders", {"symbol": "BTCUSDT"}),
    "rest_user_trades": ("/fapi/v1/userTrades", {"symbol": "BTCUSDT"}),
    "rest_income_mixed": ("/fapi/v1/income", {}),
    "rest_sapi_api_restrictions": ("/sapi/v1/account/apiRestrictions", {}),
}
FRAMES = {
    "ws_user_order_new_limit": 0,
    "ws_user_fill_1_trade_lite": 2,
    "ws_user_fill_2_account_update_order": 3,
    "ws_user_fill_3_order_filled": 4,
    "ws_user_account_update_deposit": 5,
    "ws_user_account_config_leverage": 6,
}
NOT_SENT = {"activatePrice", "priceRate"}
"""Fields of conditional orders, which some samples happen to show."""
SINCE = {"o.M", "estimatedSettlePrice", "P.bep"}
"""Fields that are younger than the sample that lacks them."""


def sample(name: str) -> Any:
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no sample payload at ../shared/venues/payloads/binance/{name}.json")
    return json.loads(path.read_text())


def shape(value: Any, at: str = "") -> dict[str, str]:
    """Every field by its path, with the kind of JSON value it has; lists by their first row."""
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for name, inner in value.items():
            found |= shape(inner, f"{at}.{name}" if at else name)
        return found
    if isinstance(value, list) and value:
        return shape(value[0], at)
    kind = type(value).__name__
    return {at: "number" if kind in ("int", "float") else kind}


@pytest.fixture
def busy() -> Client:
    """A client of an account with a position, an open order, fills and income."""
    client = Client(Binance(Exchange(SeededMarket(5), [Account()]), weight_limit=10**9))
    client.place("BTCUSDT", "BUY", "0.01")
    mark = client.binance.exchange.books["BTCUSDT"].mark // 10 * 10
    client.place("BTCUSDT", "BUY", "0.01", mark - 1000)
    return client


@pytest.mark.parametrize("name", READS)
def test_reads_have_the_fields_of_the_venue(busy: Client, name: str) -> None:
    wanted = shape(sample(name))
    path, params = READS[name]
    got = shape(busy.call("GET", path, **params).data)
    lists = {key for key in wanted if key.startswith("symbols.filters")}
    missing = {key for key in wanted if key.rpartition(".")[2] not in NOT_SENT} - set(got) - lists
    assert missing == set()
    assert set(got) - set(wanted) - lists - SINCE <= {"symbols.filters.filterType"}
    for key in set(wanted) & set(got) - lists:
        assert got[key] == wanted[key] or "isAutoAddMargin" in key or wanted[key] == "NoneType", key


def test_the_filters_are_those_of_the_venue(busy: Client) -> None:
    wanted = sample("rest_exchange_info_BTCUSDT")["symbols"][0]["filters"]
    got = busy.call("GET", "/fapi/v1/exchangeInfo").data["symbols"][0]["filters"]
    assert {f["filterType"]: set(f) for f in got} == {f["filterType"]: set(f) for f in wanted}
    same = {f["filterType"]: f for f in got}
    for one in wanted:
        if one["filterType"] != "PRICE_FILTER":
            assert same[one["filterType"]] == one
    assert same["PRICE_FILTER"]["tickSize"] == "0.10"


@pytest.mark.parametrize("name", FRAMES)
def test_events_have_the_fields_of_the_venue(busy: Client, name: str) -> None:
    wanted = shape(sample(name))
    stream = busy.listen()
    mark = busy.binance.exchange.books["BTCUSDT"].mark // 10 * 10
    busy.place("BTCUSDT", "BUY", "0.01", mark - 500)
    busy.place("BTCUSDT", "BUY", "0.01")
    busy.binance.exchange.deposit(busy.account, 10)
    busy.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=5)
    frames = busy.take(stream)
    got = shape(frames[FRAMES[name]])
    assert set(wanted) - set(got) == set()
    assert set(got) - set(wanted) <= SINCE
    assert {k: got[k] for k in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "path", "params"),
    [
        ("rest_set_leverage_response", "/fapi/v1/leverage", {"symbol": "ETHUSDT", "leverage": 5}),
        ("rest_set_margin_type_response", "/fapi/v1/marginType", {"symbol": "ETHUSDT", "marginType": "ISOLATED"}),
        ("rest_position_margin_response", "/fapi/v1/positionMargin", {"symbol": "SOLUSDT", "amount": 1, "type": 1}),
    ],
)
def test_settings_answer_as_the_venue_does(busy: Client, name: str, path: str, params: dict[str, object]) -> None:
    busy.call("POST", "/fapi/v1/marginType", symbol="SOLUSDT", marginType="ISOLATED")
    busy.place("SOLUSDT", "BUY", "1")
    assert shape(busy.call("POST", path, **params).data) == shape(sample(name))


def test_the_event_of_an_isolated_position_has_the_fields_of_the_venue(busy: Client) -> None:
    wanted = shape(sample("ws_user_isolated_open_account_update"))
    busy.call("POST", "/fapi/v1/marginType", symbol="SOLUSDT", marginType="ISOLATED")
    stream = busy.listen()
    busy.place("SOLUSDT", "BUY", "1")
    (frame,) = [one for one in busy.take(stream) if one["e"] == "ACCOUNT_UPDATE"]
    got = shape(frame)
    assert {key: kind for key, kind in got.items() if key != "a.P.bep"} == wanted


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("ws_mark_price", "/market/ws/btcusdt@markPrice@1s"),
        ("ws_mark_price_all_arr", "/market/ws/!markPrice@arr@1s"),
        ("ws_combined_wrapper", "/market/stream?streams=btcusdt@markPrice@1s"),
        ("ws_book_ticker", "/public/ws/btcusdt@bookTicker"),
        ("ws_depth_partial", "/public/ws/btcusdt@depth5"),
        ("ws_depth_diff", "/public/ws/btcusdt@depth"),
    ],
)
def test_market_frames_have_the_fields_of_the_venue(busy: Client, name: str, stream: str) -> None:
    wanted = shape(sample(name))
    session = busy.connect(stream)
    busy.wait(3_000)
    got = shape(busy.take(session)[-1])
    assert set(wanted) - set(got) == set()
    assert {key.rpartition(".")[2] for key in set(got) - set(wanted)} <= {"ap", "st", "ps"}
    assert {k: got[k] for k in wanted} == wanted


def test_placing_answers_as_the_venue_does(busy: Client) -> None:
    mark = busy.binance.exchange.books["BTCUSDT"].mark // 10 * 10
    placed = busy.place("BTCUSDT", "BUY", "0.01", mark - 700).data
    assert shape(placed) == shape(sample("rest_order_place_response"))
    ids = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    query = shape(busy.call("GET", "/fapi/v1/order", **ids).data)
    wanted = shape(sample("rest_order_query"))
    assert query == {key: kind for key, kind in wanted.items() if key not in NOT_SENT}
    amended = busy.call("PUT", "/fapi/v1/order", **ids, side="BUY", quantity="0.02", price=mark - 700)
    assert shape(amended.data) == shape(sample("rest_order_modify_response"))
    cancelled = shape(busy.call("DELETE", "/fapi/v1/order", **ids).data)
    wanted = shape(sample("rest_order_cancel_response"))
    assert cancelled == {key: kind for key, kind in wanted.items() if key not in NOT_SENT}
