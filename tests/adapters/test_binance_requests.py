"""Requests on the wire: every parameter of every call, exact to the digit."""

from __future__ import annotations

import hmac
import json
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.events import Fault, Refused, Side
from agent.core.orders import Style
from agent.core.venue import Arm, Ask, Batch, Cancel, Place, SetLeverage, What
from tests.adapters.binance_kit import KEY, MS, NOW, SECRET, S, build, call_for, contract, order, params, tell, told

STAMP = {"recvWindow": "3000", "timestamp": str(NOW // MS)}
WIRE = {
    "symbol": "BTCUSDT",
    "newClientOrderId": "tt0a000100000001x",
    "newOrderRespType": "RESULT",
    "selfTradePreventionMode": "EXPIRE_MAKER",
    **STAMP,
}


def sent(**changes: object) -> dict[str, str]:
    call = call_for(build(), Place(order(**changes)))
    assert (call.method, urlsplit(call.url).path, call.body) == ("POST", "/fapi/v1/order", b"")
    found = params(call)
    assert found.pop("signature")
    return found


def test_a_limit_order_that_takes() -> None:
    assert sent() == WIRE | {
        "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "quantity": "0.006", "price": "60000.1",
    }  # fmt: skip


def test_a_post_only_order() -> None:
    assert sent(style=Style.POST, lots=-12, ticks=700_000) == WIRE | {
        "side": "SELL", "type": "LIMIT", "timeInForce": "GTX", "quantity": "0.012", "price": "70000",
    }  # fmt: skip


def test_a_market_order_that_reduces() -> None:
    assert sent(style=Style.MARKET, ticks=None, lots=-1_000_000, reduce=True) == WIRE | {
        "side": "SELL", "type": "MARKET", "quantity": "1000", "reduceOnly": "true",
    }  # fmt: skip


@pytest.mark.parametrize(("side", "lots", "word"), [(Side.LONG, -5, "LONG"), (Side.SHORT, 5, "SHORT")])
def test_in_hedge_mode_the_row_says_what_reduces(side: Side, lots: int, word: str) -> None:
    found = sent(side=side, lots=lots, reduce=True)
    assert found["positionSide"] == word
    assert "reduceOnly" not in found


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.sampled_from(["0.10", "0.0000100", "1", "10", "1E-7", "5"]))
def test_digits_are_exact(lots: int, ticks: int, step: str) -> None:
    dialect = build(["XUSDT"], listed=False)
    row = contract("XUSDT")
    row["filters"][0]["tickSize"] = row["filters"][1]["stepSize"] = step
    tell(dialect, Ask(What.INSTRUMENTS), {"symbols": [row]})
    found = params(call_for(dialect, Place(order(symbol="XUSDT", lots=lots, ticks=ticks))))
    for text, count in ((found["quantity"], lots), (found["price"], ticks)):
        assert Decimal(text) == count * Decimal(step)
        assert set(text) <= set("0123456789.")
        assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    ("left_ns", "window"), [(10 * S, 3000), (3_001 * MS, 3000), (3 * S, 2999), (500 * MS, 499), (2 * MS, 1)]
)
def test_the_venue_cannot_take_an_order_after_its_end(left_ns: int, window: int) -> None:
    found = sent(expires_at=NOW + left_ns)
    assert found["recvWindow"] == str(window)
    # The venue compares whole milliseconds, so the last moment it accepts is almost one later.
    assert (int(found["timestamp"]) + window + 1) * MS <= NOW + left_ns


def test_the_measured_clock_and_its_error_shorten_the_window() -> None:
    dialect = build()
    call = call_for(dialect, Ask(What.TIME))
    told(dialect, call, {"serverTime": NOW // MS + 7_100}, now=NOW + 200 * MS)
    found = params(call_for(dialect, Place(order(expires_at=NOW + 2 * S))))
    assert found["timestamp"] == str(NOW // MS + 7_000)
    assert found["recvWindow"] == str(2_000 - 100 - 1)


@pytest.mark.parametrize("left_ns", [MS, 0, -S])
def test_an_order_whose_time_is_over_is_not_sent(left_ns: int) -> None:
    late = order(expires_at=NOW + left_ns)
    (fact,) = build().perform(Place(late), NOW)  # type: ignore[misc]
    assert fact == Refused(late.id, "", "its time was over before it could be sent", Fault.BUSY)


def test_an_instrument_that_is_not_listed_is_not_traded() -> None:
    (fact,) = build(listed=False).perform(Place(order()), NOW)  # type: ignore[misc]
    assert fact == Refused(order().id, "", "the instrument is not listed", Fault.CLOSED)


def test_several_orders_in_one_request() -> None:
    first = order(id="one", side=Side.LONG, expires_at=NOW + 2 * S)
    second = order(id="two", symbol="TRXUSDT", instrument=3, lots=-7, style=Style.MARKET, ticks=None, reduce=True)
    call = call_for(build(), Batch((first, second)))
    assert (call.method, urlsplit(call.url).path) == ("POST", "/fapi/v1/batchOrders")
    found = params(call)
    assert set(found) == {"batchOrders", "recvWindow", "timestamp", "signature"}
    assert found["recvWindow"] == "1999", "the first to end bounds them all"
    common = {"newOrderRespType": "RESULT", "selfTradePreventionMode": "EXPIRE_MAKER"}
    assert json.loads(found["batchOrders"]) == [
        {
            "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "quantity": "0.006",
            "price": "60000.1", "positionSide": "LONG", "newClientOrderId": "one", **common,
        },
        {
            "symbol": "TRXUSDT", "side": "SELL", "type": "MARKET", "quantity": "7", "reduceOnly": "true",
            "newClientOrderId": "two", **common,
        },
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 6])
def test_a_batch_of_another_size_is_refused_here(count: int) -> None:
    orders = tuple(order(id=f"n{n}") for n in range(count))
    facts = build().perform(Batch(orders), NOW)
    assert facts == [Refused(one.id, "", "a batch holds 1 to 5 orders", Fault.RULE) for one in orders]


def test_a_cancel_names_our_id() -> None:
    call = call_for(build(), Cancel("mine", 1))
    assert (call.method, urlsplit(call.url).path) == ("DELETE", "/fapi/v1/order")
    assert params(call) | {"signature": ""} == {
        "symbol": "ETHUSDT", "origClientOrderId": "mine", "signature": "", **STAMP
    }  # fmt: skip


def test_the_dead_mans_switch() -> None:
    call = call_for(build(), Arm(1, 120_000))
    assert (call.method, urlsplit(call.url).path) == ("POST", "/fapi/v1/countdownCancelAll")
    assert params(call) | {"signature": ""} == {
        "symbol": "ETHUSDT", "countdownTime": "120000", "signature": "", **STAMP
    }  # fmt: skip
    assert tell(build(), Arm(1, 0), {"symbol": "ETHUSDT", "countdownTime": "0"}) == []


def test_a_leverage_setting_is_signed_like_an_order() -> None:
    call = call_for(build(), SetLeverage(1, 7))
    assert (call.method, urlsplit(call.url).path, call.body) == ("POST", "/fapi/v1/leverage", b"")
    found = params(call)
    query = urlsplit(call.url).query.rpartition("&signature=")[0]
    assert found.pop("signature") == hmac.new(SECRET.encode(), query.encode(), "sha256").hexdigest()
    assert found == {"symbol": "ETHUSDT", "leverage": "7", **STAMP}
    assert call.headers == (("X-MBX-APIKEY", KEY),)


@pytest.mark.parametrize(
    ("ask", "path", "own"),
    [
        (Ask(What.TIERS), "/fapi/v1/leverageBracket", {}),
        (Ask(What.FEES, 1), "/fapi/v1/commissionRate", {"symbol": "ETHUSDT"}),
        (Ask(What.LEVERAGE), "/fapi/v1/symbolConfig", {}),
        (Ask(What.MODE), "/fapi/v1/accountConfig", {}),
        (Ask(What.ACCOUNT), "/fapi/v3/account", {}),
        (Ask(What.POSITIONS), "/fapi/v3/positionRisk", {}),
        (Ask(What.ORDERS), "/fapi/v1/openOrders", {}),
        (Ask(What.ORDER, 1, "mine"), "/fapi/v1/order", {"symbol": "ETHUSDT", "origClientOrderId": "mine"}),
        (Ask(What.TRADES, 1), "/fapi/v1/userTrades", {"symbol": "ETHUSDT", "limit": "1000"}),
        (
            Ask(What.TRADES, 1, since="41"),
            "/fapi/v1/userTrades",
            {"symbol": "ETHUSDT", "limit": "1000", "fromId": "42"},
        ),
    ],
)
def test_questions_about_the_account(ask: Ask, path: str, own: dict[str, str]) -> None:
    call = call_for(build(), ask)
    assert (call.method, urlsplit(call.url).path, call.at) == ("GET", path, NOW)
    assert params(call) | {"signature": ""} == own | STAMP | {"signature": ""}


@pytest.mark.parametrize(
    ("what", "path"),
    [
        (What.TIME, "/fapi/v1/time"),
        (What.INSTRUMENTS, "/fapi/v1/exchangeInfo"),
        (What.PRICES, "/fapi/v1/premiumIndex"),
        (What.INTERVALS, "/fapi/v1/fundingInfo"),
        (What.VOLUMES, "/fapi/v1/ticker/24hr"),
    ],
)
def test_public_questions_carry_no_key(what: What, path: str) -> None:
    call = call_for(build(), Ask(what))
    assert (call.method, call.url, call.headers) == ("GET", f"https://fapi.binance.com{path}", ())


def test_every_call_has_its_own_tag() -> None:
    dialect = build()
    tags = [call_for(dialect, Ask(what, 0, "x")).tag for what in What]
    assert len(set(tags)) == len(tags)
