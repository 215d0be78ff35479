"""What is WEEX's own: how what the venue lacks is met, and what it leaves open is read."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from msgspec.structs import replace

from adapters.simulator import Faults
from adapters.weex import Weex
from agent.core.desk import Input, Step
from agent.core.events import (
    Absent,
    Accepted,
    Allowed,
    Balance,
    Denied,
    Depth,
    Elsewhere,
    Ended,
    Fact,
    Fault,
    Filled,
    Flow,
    Force,
    Forced,
    Funding,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Orders,
    Position,
    Positions,
    Quote,
    Refused,
    Side,
    Throttled,
    Tiers,
    Unanswered,
    Unknown,
    Unset,
    Up,
    Used,
    Warned,
)
from agent.core.orders import Style
from agent.core.venue import Ask, Call, Cancel, Lane, Place, Reply, Request, Say, SetLeverage, Shut, What
from tests.conformance.weex import NOW, SYMBOLS, build, contract, credentials, order, order_push
from tests.storm.storm import prepare
from tests.storm.world import START

MS = 1_000_000
S = 1_000 * MS
AT = 1_747_203_188_148


def call_for(dialect: Weex, request: Request, now: int = NOW) -> Call:
    call = dialect.perform(request, now)
    assert isinstance(call, Call), call
    return call


def unsent(dialect: Weex, request: Request, now: int = NOW) -> Sequence[Fact]:
    facts = dialect.perform(request, now)
    assert not isinstance(facts, Call)
    return facts


def answered(dialect: Weex, call: Call, body: Any, status: int = 200, **headers: str) -> Sequence[Fact]:
    return dialect.on_reply(call, Reply(status, headers, json.dumps(body).encode()), call.at)


def asked(dialect: Weex, request: Request, body: Any, status: int = 200) -> Sequence[Fact]:
    return answered(dialect, call_for(dialect, request), body, status)


def stamp(call: Call) -> int:
    return int(dict(call.headers)["ACCESS-TIMESTAMP"])


def query(call: Call) -> tuple[str, dict[str, str]]:
    parts = urlsplit(call.url)
    return parts.path, dict(parse_qsl(parts.query))


def push(dialect: Weex, kind: str, *rows: dict[str, Any], at: int = AT, now: int = NOW) -> Sequence[Fact]:
    frame = {"e": kind, "E": at, "v": 1, "msgEvent": "OrderUpdate", "d": list(rows)}
    return dialect.on_frame("private", json.dumps(frame).encode(), now)


# Requests


def test_an_order_is_written_as_the_venue_wants_it() -> None:
    call = call_for(build(), Place(order("mine", lots=-100_000, reduce=True)))
    assert (call.method, urlsplit(call.url).path) == ("POST", "/capi/v3/order")
    assert json.loads(call.body) == {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "positionSide": "LONG",
        "type": "LIMIT",
        "timeInForce": "IOC",
        "quantity": "0.1",
        "price": "69000",
        "newClientOrderId": "mine",
    }
    market = json.loads(call_for(build(), Place(order("mine", style=Style.MARKET, ticks=None))).body)
    assert market["type"] == "MARKET"
    assert not {"timeInForce", "price", "reduceOnly"} & set(market)
    assert json.loads(call_for(build(), Place(order("mine", style=Style.POST))).body)["timeInForce"] == "POST_ONLY"


def test_the_venue_s_thirty_seconds_end_with_the_order_s_own_time() -> None:
    dialect = build()
    assert stamp(call_for(dialect, Place(order("a")))) == NOW // MS + 3_000 - 1 - 30_000
    answered(dialect, call_for(dialect, Ask(What.TIME)), {"serverTime": NOW // MS + 500})
    assert stamp(call_for(dialect, Place(order("b")))) == NOW // MS + 500 + 3_000 - 1 - 30_000
    long = order("c", expires_at=NOW + 90 * S)
    assert stamp(call_for(dialect, Place(long))) == NOW // MS + 500, "never ahead of the venue's clock"
    assert stamp(call_for(dialect, Cancel("a", 0))) == NOW // MS + 500, "a cancel is never too late"
    (late,) = unsent(dialect, Place(order("d")), NOW + 3 * S)
    assert isinstance(late, Refused)
    assert late.fault is Fault.BUSY


def test_an_order_without_a_position_side_is_not_sent() -> None:
    (refused,) = unsent(build(), Place(order("mine", side=Side.NET)))
    assert isinstance(refused, Refused)
    assert refused.fault is Fault.RULE


def test_leverage_names_the_margin_type_that_was_told() -> None:
    dialect = build()

    def sent() -> dict[str, str]:
        found: dict[str, str] = json.loads(call_for(dialect, SetLeverage(0, 7)).body)
        return found

    assert sent() == {"symbol": "BTCUSDT", "crossLeverage": "7"}
    row = {"symbol": "BTCUSDT", "separatedType": "COMBINED", "crossLeverage": "20.00"}
    row |= {"isolatedLongLeverage": "10", "isolatedShortLeverage": "5"}
    assert asked(dialect, Ask(What.LEVERAGE), [row | {"marginType": "CROSSED"}]) == [Leverage(0, 20, False)]
    assert sent() == {"symbol": "BTCUSDT", "marginType": "CROSSED", "crossLeverage": "7"}
    assert asked(dialect, Ask(What.LEVERAGE), [row | {"marginType": "ISOLATED"}]) == [Leverage(0, 5, True)]
    assert sent()["marginType"] == "ISOLATED"
    other = row | {"marginType": "CROSSED"}
    (unset,) = asked(dialect, SetLeverage(0, 7), other)
    assert isinstance(unset, Unanswered), "the answer says 20, not 7: nobody knows"
    (unset,) = asked(dialect, SetLeverage(0, 500), {"code": -3313, "msg": "too high"}, 400)
    assert isinstance(unset, Unset)


def test_the_handshake_of_the_private_socket_is_signed() -> None:
    way = build().connect("private", NOW)
    assert not isinstance(way, Ask)
    assert way.url == "wss://ws-contract.weex.com/v3/ws/private"
    assert dict(way.headers)["ACCESS-TIMESTAMP"] == str(NOW // MS)
    public = build().connect("market", NOW)
    assert not isinstance(public, Ask)
    assert public.headers == ()


def test_a_key_without_its_passphrase_is_none() -> None:
    with pytest.raises(ValueError, match="passphrase"):
        Weex(symbols=SYMBOLS, credentials=replace(credentials("s"), passphrase=None))
    with pytest.raises(ValueError, match="the secret is empty"):
        Weex(symbols=SYMBOLS, credentials=credentials(" "))
    with pytest.raises(ValueError, match="private key"):
        Weex(symbols=SYMBOLS, credentials=credentials("-----BEGIN PRIVATE KEY-----"))


def test_cancels_and_reductions_go_first() -> None:
    dialect = build()
    assert dialect.weigh(Place(order("a", reduce=True))).lane is Lane.RESCUE
    assert dialect.weigh(Cancel("a", 0)).lane is Lane.RESCUE
    assert dict(dialect.weigh(Place(order("a"))).takes)["orders_1m"] == 1
    assert dialect.weigh(Ask(What.ORDER, 0, "a")).lane is Lane.RESOLVE


# An order whose fate is unknown


def row_of(name: str, status: str = "FILLED", symbol: str = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    row = {"symbol": symbol, "clientOrderId": name, "orderId": 7 * 10**17 + 1, "side": "BUY", "origQty": "0.1"}
    return row | {"executedQty": "0.1", "status": status, "updateTime": AT} | changes


def test_an_unknown_order_is_looked_for_among_the_open_ones_and_then_in_the_history() -> None:
    dialect, ask = build(), Ask(What.ORDER, 0, "mine")
    first = call_for(dialect, ask)
    assert query(first) == ("/capi/v3/openOrders", {"symbol": "BTCUSDT", "limit": "100", "page": "0"})
    assert answered(dialect, first, [row_of("another")]) == []
    assert dialect.acts() == [ask]
    second = call_for(dialect, ask, NOW + S)
    path, params = query(second)
    assert (path, params["limit"], params["page"]) == ("/capi/v3/order/history", "1000", "0")
    assert int(params["startTime"]) == (NOW + S) // MS - 73 * 3_600_000
    assert answered(dialect, second, [row_of(f"other{number}") for number in range(1_000)]) == []
    assert dialect.acts() == [ask], "a full page has a next one"
    third = call_for(dialect, ask, NOW + 2 * S)
    assert query(third)[1]["page"] == "1"
    assert answered(dialect, third, []) == [Absent("mine", NOW)], "as of the first question, not of the last"
    assert query(call_for(dialect, ask))[0] == "/capi/v3/openOrders", "and the next search begins anew"


def test_an_order_that_is_found_is_asked_for_by_the_venue_s_id_from_then_on() -> None:
    dialect, ask = build(), Ask(What.ORDER, 0, "mine")
    facts = asked(dialect, ask, [row_of("mine", "NEW", executedQty="0.04")])
    assert [type(fact) for fact in facts] == [Accepted]
    assert query(call_for(dialect, ask)) == ("/capi/v3/order", {"orderId": "700000000000000001"})
    assert [type(fact) for fact in asked(dialect, ask, row_of("mine"))] == [Accepted, Ended]
    denial = {"code": -3200, "msg": "Order does not exist."}
    assert asked(dialect, ask, denial, 400) == [Absent("mine", NOW)]


def test_a_list_that_fails_denies_nothing() -> None:
    dialect = build()
    (fact,) = asked(dialect, Ask(What.ORDER, 0, "mine"), {"code": -3200, "msg": "FAILED_ORDER_NOT_FOUND"}, 400)
    assert isinstance(fact, Unanswered)
    full = [row_of(f"other{number}", "NEW") for number in range(100)]
    (fact,) = asked(dialect, Ask(What.ORDER, 0, "mine"), full)
    assert isinstance(fact, Unanswered)
    (fact,) = asked(dialect, Ask(What.ORDER, 0, "mine"), [{"clientOrderId": "mine"}])
    assert isinstance(fact, Unanswered), "it is there, and can't be read"


def test_open_orders_come_page_by_page() -> None:
    dialect = build()
    first = [row_of(f"order{number}", "NEW", orderId=number) for number in range(99)]
    assert asked(dialect, Ask(What.ORDERS), [*first, row_of("gone", "FILLED")]) == []
    (more,) = dialect.acts()
    assert more == Ask(What.ORDERS, since="1")
    call = call_for(dialect, more, NOW + S)
    assert query(call)[1]["page"] == "1"
    (orders,) = answered(dialect, call, [row_of("last", "NEW")])
    assert isinstance(orders, Orders)
    assert len(orders.rows) == 100, "what has been filled is open no more"
    assert orders.asked_at == NOW


def test_answers_about_something_else_are_none() -> None:
    dialect = build()
    ack = {"orderId": "5", "clientOrderId": "another", "success": True, "errorCode": "", "errorMessage": ""}
    assert [type(fact) for fact in asked(dialect, Place(order("mine")), ack)] == [Lost]
    none = ack | {"clientOrderId": "mine", "orderId": "0"}
    assert [type(fact) for fact in asked(dialect, Place(order("mine")), none)] == [Lost]
    asked(dialect, Ask(What.ORDER, 0, "mine"), [row_of("mine", "NEW")])
    for wrong in (row_of("another"), row_of("mine", symbol="ETHUSDT")):
        assert [type(fact) for fact in asked(dialect, Ask(What.ORDER, 0, "mine"), wrong)] == [Unanswered]


def test_nothing_is_said_of_the_account_before_the_instruments_are_known() -> None:
    dialect = Weex(symbols=SYMBOLS, credentials=credentials("s"))
    for what in (What.POSITIONS, What.ORDERS, What.ACCOUNT):
        assert [type(fact) for fact in asked(dialect, Ask(what), [])] == [Unanswered]
    (refused,) = unsent(dialect, Place(order("mine")))
    assert isinstance(refused, Refused)
    assert refused.fault is Fault.CLOSED


# What refuses and what does not


@pytest.mark.parametrize(
    ("code", "said", "fault"),
    [
        ("-1054", "FAILED_PRECONDITION: available amount not enough", Fault.MARGIN),
        ("-1054", "Insufficient balance", Fault.MARGIN),
        ("-1054", "position id is missing", Fault.REDUCE),
        ("-1054", "System error, please retry later.", None),
        ("-1054", "", None),
        ("-1142", "newClientOrderId is duplicated", None),
        ("-1160", "Decimal precision error.", Fault.RULE),
        ("-9999", "something new", Fault.OTHER),
        ("", "", Fault.OTHER),
        ("", "FAILED_ORDER_NOT_FOUND", None),
    ],
)
def test_an_order_that_is_refused_with_http_200(code: str, said: str, fault: Fault | None) -> None:
    body = {"orderId": "0", "clientOrderId": "mine", "success": False, "errorCode": code, "errorMessage": said}
    told = asked(build(), Place(order("mine")), body)[-1]
    if fault is None:
        assert isinstance(told, Lost)
    else:
        assert isinstance(told, Refused)
        assert told.fault is fault


def test_an_error_inside_http_200_proves_nothing_of_an_order() -> None:
    told = asked(build(), Place(order("mine")), {"code": -1160, "msg": "Decimal precision error."})
    assert [type(fact) for fact in told] == [Lost]
    told = asked(build(), Ask(What.POSITIONS), {"code": "-1047", "msg": "API authentication failed."})
    assert [type(fact) for fact in told] == [Denied, Unanswered]


def test_a_server_that_fails_proves_nothing_whatever_its_code() -> None:
    told = asked(build(), Place(order("mine")), {"code": -1160, "msg": "Decimal precision error."}, 503)
    assert [type(fact) for fact in told] == [Lost]


def test_a_cancel_that_is_taken_leads_to_the_question_what_is_left() -> None:
    dialect = build()
    ack = {"orderId": "5", "origClientOrderId": "mine", "success": True, "errorCode": "", "errorMessage": ""}
    assert [type(fact) for fact in asked(dialect, Cancel("mine", 0), ack)] == [Accepted]
    assert dialect.acts() == [Ask(What.ORDER, 0, "mine")]
    refused = ack | {"success": False, "errorCode": "-3200", "errorMessage": "FAILED_ORDER_NOT_FOUND"}
    assert asked(dialect, Cancel("mine", 0), refused) == [Lost("mine", "cancel: unknown order")]


def test_an_illegal_address_is_told_with_its_cure() -> None:
    denied = asked(build(), Ask(What.POSITIONS), {"code": -1056, "msg": "illegal IP"}, 400)[0]
    assert isinstance(denied, Denied)
    assert "IPv4" in denied.reason
    assert build().abilities.ipv4, "the venue's address lists know nothing else"


def test_too_many_requests_are_followed_by_silence_until_the_budget_begins_anew() -> None:
    dialect = build()
    call = call_for(dialect, Ask(What.POSITIONS), NOW + 10 * S)
    throttled = dialect.on_reply(call, Reply(429, {"x-used-weight-1m": "3001"}, b"{}"), NOW + 10 * S)
    assert throttled[0] == Used("weight_1m", 3001)
    minute = 60 * S
    assert isinstance(throttled[1], Throttled)
    assert throttled[1].until == (NOW // minute + 1) * minute
    told = dialect.on_reply(call, Reply(429, {"retry-after": "7"}, b"{}"), NOW + 10 * S)
    assert isinstance(told[0], Throttled)
    assert told[0].until == NOW + 17 * S


def test_a_clock_that_is_off_is_measured_again() -> None:
    for code in (-1046, -1044):
        dialect = build()
        asked(dialect, Ask(What.POSITIONS), {"code": code, "msg": ""}, 400)
        assert Ask(What.TIME) in dialect.acts()


# Rules, prices and the account


def test_a_listing_brings_grids_budgets_and_the_assumed_margin_table() -> None:
    limits = [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2_400},
        {"rateLimitType": "SOMETHING", "interval": "DAY", "intervalNum": 1, "limit": 1},
        {"rateLimitType": 7},
    ]
    told = {"rateLimits": limits}
    facts = asked(build(), Ask(What.INSTRUMENTS), {"symbols": [contract("BTCUSDT")]} | told)
    listed, tiers, allowed = facts
    assert isinstance(listed, Listed)
    assert isinstance(tiers, Tiers)
    assert allowed == Allowed("weight_1m", 2_400)
    (one,) = listed.instruments
    assert (str(one.tick), str(one.step), str(one.multiplier)) == ("0.1", "0.000001", "1")
    assert (one.min_lots, one.max_lots, one.max_market_lots) == (100, 10**10, 2 * 10**9)
    assert (one.price_up, one.price_down) == (1.016, 0.985)
    for notional, rate in ((100_000, 0.05), (3_000_000, 0.10), (10_000_000, 0.25), (10**9, 0.5)):
        tier = next(one for one in tiers.tiers if one.floor <= notional < one.cap)
        assert (tier.rate, tier.leverage) == (rate, 400)
    (_, small, _) = asked(
        build(), Ask(What.INSTRUMENTS), {"symbols": [contract("BTCUSDT") | {"maxLeverage": "4"}]} | told
    )
    assert isinstance(small, Tiers)
    assert [tier.rate for tier in small.tiers] == [0.125, 0.125, 0.25, 0.5], "half of the initial margin at least"
    for below, above in zip(tiers.tiers, tiers.tiers[1:], strict=False):
        assert below.cap * below.rate - below.deduction == pytest.approx(below.cap * above.rate - above.deduction)


def test_funding_is_the_rate_that_is_expected_next() -> None:
    row: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "markPrice": "69348.6",
        "indexPrice": "69347.9",
        "lastFundingRate": "0.5",
    }
    row |= {"forecastFundingRate": "0.00025", "nextFundingTime": AT + 1, "time": AT, "collectCycle": 240}
    facts = asked(build(), Ask(What.PRICES), [row])
    assert facts[1:] == [Funding(0, 0.00025, (AT + 1) * MS, AT * MS), Interval(0, 4.0)]
    del row["forecastFundingRate"], row["collectCycle"]
    assert len(asked(build(), Ask(What.PRICES), [row])) == 1, "unknown stays unknown"


def test_an_account_that_can_t_be_traded_as_it_is_set_up_is_said_to_be_so() -> None:
    dialect = build()
    (mode,) = asked(dialect, Ask(What.MODE), {"canTrade": True, "dualSidePosition": False})
    assert isinstance(mode, Unanswered)
    assert "hedge" in mode.reason
    row = {"symbol": "BTCUSDT", "marginType": "CROSSED", "separatedType": "SEPARATED", "crossLeverage": "20"}
    row |= {"isolatedLongLeverage": "20", "isolatedShortLeverage": "20"}
    (leverage,) = asked(dialect, Ask(What.LEVERAGE), [row])
    assert isinstance(leverage, Unanswered)
    assert "separated" in leverage.reason
    held = {"symbol": "BTCUSDT", "side": "LONG", "size": "1", "openValue": "1", "updatedTime": AT}
    held |= {"isolatedMargin": "0", "marginType": "CROSSED", "separatedMode": "SEPARATED"}
    (positions,) = asked(dialect, Ask(What.POSITIONS), [held])
    assert isinstance(positions, Unanswered)


def test_a_wallet_is_the_balance_without_what_is_open() -> None:
    dialect = build()
    rows = [{"asset": "USDT", "balance": "5696.49", "availableBalance": "5413.06", "unrealizePnl": "-34.55"}]
    rows[0]["frozen"] = "81.28"
    margin, balance = asked(dialect, Ask(What.ACCOUNT), rows)
    assert isinstance(margin, Margin)
    assert (margin.wallet, margin.equity, margin.maintenance) == (5731.04, 5696.49, None)
    assert margin.initial == pytest.approx(283.43)
    assert (margin.held, margin.in_use) == (None, 202.15), "what rests keeps the rest"
    assert balance == Balance("USDT", 5731.04, margin.asked_at)
    push(dialect, "account", {"coin": "USDT"})
    assert dialect.acts() == [Ask(What.ACCOUNT)]
    margin, balance = asked(dialect, Ask(What.ACCOUNT), rows)
    assert isinstance(margin, Margin)
    assert balance == Balance("USDT", 5731.04, margin.asked_at + 1), "the stream's word, not the answer's"
    assert isinstance(asked(dialect, Ask(What.ACCOUNT), [])[0], Unanswered)


def test_positions_have_their_side_entry_time_and_wallet() -> None:
    row = {"symbol": "BTCUSDT", "side": "SHORT", "size": "0.02", "openValue": "1400", "updatedTime": str(AT)}
    row |= {"isolatedMargin": "70", "separatedMode": "COMBINED"}
    dialect = build()
    held = Position(0, Side.SHORT, -20_000, 70_000.0, AT * MS, 70.0)
    assert push(dialect, "positions", row | {"marginMode": "ISOLATED"}) == [held]
    stranger = row | {"symbol": "SOLUSDT", "marginType": "CROSSED"}
    (told,) = asked(dialect, Ask(What.POSITIONS), [row | {"marginType": "CROSSED"}, stranger, stranger])
    assert isinstance(told, Positions)
    assert told.rows == (replace(held, isolated=None),)
    assert told.strangers == ("SOLUSDT",)
    flat = row | {"marginMode": "ISOLATED", "size": "0", "openValue": "0"}
    assert push(dialect, "positions", flat) == [Position(0, Side.SHORT, 0, None, AT * MS)]


def test_a_burst_of_news_about_the_wallet_is_one_question_in_two_seconds() -> None:
    dialect = build()
    for number in range(20):
        push(dialect, "account", {"coin": "USDT"}, now=NOW + number * S // 10)
    assert dialect.acts() == [Ask(What.ACCOUNT)]
    assert dialect.wake_at == NOW + 2 * S
    dialect.on_wake(NOW + 2 * S)
    assert dialect.acts() == [Ask(What.ACCOUNT)]
    assert dialect.wake_at is None
    push(dialect, "account", {"coin": "USDT"}, now=NOW + 3 * S)
    rows = [{"asset": "USDT", "balance": "1", "availableBalance": "1", "frozen": "0", "unrealizePnl": "0"}]
    answered(dialect, call_for(dialect, Ask(What.ACCOUNT), NOW + 3 * S), rows)
    dialect.on_wake(NOW + 4 * S)
    assert dialect.acts() == [], "an answer to another question has told meanwhile"


# Streams


def fill(venue_order: str = "9", trade: str = "1", **changes: Any) -> dict[str, Any]:
    row = {"id": trade, "orderId": venue_order, "symbol": "BTCUSDT", "coin": "USDT", "orderSide": "SELL"}
    row |= {"fillSize": "0.1", "fillValue": "6900", "fillFee": "2.76", "direction": "MAKER", "createdTime": str(AT)}
    return row | changes


def test_a_fill_waits_for_the_name_of_its_order() -> None:
    dialect = build()
    assert push(dialect, "fill", fill(trade="1"), fill(trade="2", fillSize="0.2", fillValue="13800")) == []
    facts = dialect.on_frame("private", order_push("9", "mine", status="FILLED", cumFillSize="0.3"), NOW)
    assert [type(fact) for fact in facts] == [Filled, Filled, Accepted, Ended]
    told = [(one.order, one.lots, one.filled_lots, one.price) for one in facts if isinstance(one, Filled)]
    assert told == [("mine", -100_000, 100_000, 69_000.0), ("mine", -200_000, 300_000, 69_000.0)]
    assert dialect.wake_at is None
    (again,) = push(dialect, "fill", fill(trade="2", fillSize="0.2", fillValue="13800"))
    assert isinstance(again, Filled)
    assert again.filled_lots == 300_000, "what comes twice counts once"


@pytest.mark.parametrize("name", ["orders", "fill", "positions", "account"])
def test_an_event_about_the_account_without_rows_is_told_and_one_of_no_rows_says_nothing(name: str) -> None:
    (told,) = build().on_frame("private", json.dumps({"e": name, "E": AT, "v": 1}).encode(), NOW)
    assert isinstance(told, Unknown)
    assert told.private
    assert push(build(), name) == []


def test_a_fill_that_nobody_names_has_the_stream_opened_anew() -> None:
    dialect = build()
    push(dialect, "fill", fill())
    due = dialect.wake_at
    assert due == NOW + 5 * S
    dialect.on_wake(due)
    (act,) = dialect.acts()
    assert isinstance(act, Shut)
    assert act.socket == "private"
    push(dialect, "fill", fill(venue_order="10"))
    dialect.on_close("private", "gone", NOW)
    assert dialect.wake_at is None
    dialect.on_open("private", NOW)
    dialect.acts()
    facts = dialect.on_frame("private", order_push("9", "mine"), NOW)
    assert not any(isinstance(fact, Filled) for fact in facts), "a new connection has forgotten the old one's fills"


def test_a_liquidation_is_told_for_what_it_is() -> None:
    dialect = build()
    facts = dialect.on_frame("private", order_push("9", "autoclose", cumLiquidateFee="3"), NOW)
    assert facts[0] == Forced("autoclose", Force.LIQUIDATION, "BTCUSDT", AT * MS)
    facts = push(dialect, "fill", fill(fillFee="0", liquidateFee="3"))
    assert isinstance(facts[0], Forced)
    facts = push(dialect, "account", {"coin": "USDT", "liquidating": True})
    assert [type(fact) for fact in facts] == [Warned]


def test_what_came_and_went_is_the_change_of_the_account_s_sums() -> None:
    dialect = build()
    sums = {"coin": "USDT", "cumDepositAmount": "100", "cumPositionFundingAmount": "-5", "cumTransferOutAmount": "1"}
    assert push(dialect, "account", sums) == []
    after = sums | {"cumDepositAmount": "120.5", "cumPositionFundingAmount": "-5.25", "cumTransferOutAmount": "3"}
    assert push(dialect, "account", after) == [
        Flow("USDT", 20.5, "deposit", AT * MS),
        Flow("USDT", -2.0, "transfer", AT * MS),
        Flow("USDT", -0.25, "funding", AT * MS),
    ]
    assert push(dialect, "account", after) == []


def test_what_is_not_ours_is_left_where_it_is() -> None:
    dialect = build()
    assert push(dialect, "orders") == [], "a push without rows"
    demo = {"coinId": "SUSDT", "side": "LONG", "size": "1", "openValue": "1", "updatedTime": AT, "isolatedMargin": "0"}
    demo |= {"marginMode": "CROSSED", "separatedMode": "COMBINED"}
    assert push(dialect, "positions", demo) == []
    (unknown,) = push(dialect, "positions", demo | {"coinId": "USDT"})
    assert isinstance(unknown, Unknown)
    assert unknown.private
    assert dialect.on_frame("private", order_push("8", "x", "SOLUSDT"), NOW) == [Elsewhere("SOLUSDT")]
    assert dialect.on_frame("private", order_push("8", "x", status="UNTRIGGERED"), NOW) == []


def depth(kind: str, first: int, last: int, bids: list[list[str]], asks: list[list[str]]) -> bytes:
    frame = {"e": kind, "E": AT, "s": "BTCUSDT", "U": first, "u": last, "l": 15, "d": "CHANGED", "b": bids, "a": asks}
    return json.dumps(frame).encode()


def test_a_book_is_kept_from_what_has_changed_in_it() -> None:
    dialect = Weex(symbols=SYMBOLS, credentials=None, depth=True)
    dialect.on_open("public", NOW)
    dialect.acts()
    whole = depth("depthSnapshot", 5, 5, [["69000", "1"], ["68999", "2"]], [["69001", "3"]])
    quote, book = dialect.on_frame("public", whole, NOW)[1:]
    assert quote == Quote(0, 69_000.0, 1.0, 69_001.0, 3.0, AT * MS)
    gone = depth("depth", 6, 8, [["69000", "0"]], [["69000.5", "4"]])
    quote, book = dialect.on_frame("public", gone, NOW)
    assert quote == Quote(0, 68_999.0, 2.0, 69_000.5, 4.0, AT * MS)
    assert book == Depth(0, ((68_999.0, 2.0),), ((69_000.5, 4.0), (69_001.0, 3.0)), AT * MS)
    assert dialect.on_frame("public", gone, NOW) == [], "it came twice"
    assert dialect.acts() == []


def commands(dialect: Weex) -> list[dict[str, Any]]:
    return [json.loads(act.text) for act in dialect.acts() if isinstance(act, Say)]


def test_a_book_that_lacks_something_is_asked_for_anew() -> None:
    dialect = Weex(symbols=SYMBOLS, credentials=None)
    dialect.on_open("public", NOW)
    dialect.acts()
    dialect.on_frame("public", depth("depthSnapshot", 5, 5, [["69000", "1"]], [["69001", "3"]]), NOW)
    assert dialect.on_frame("public", depth("depth", 7, 8, [], []), NOW) == []
    assert [(one["method"], one["params"]) for one in commands(dialect)] == [
        ("UNSUBSCRIBE", ["BTCUSDT@depth15"]),
        ("SUBSCRIBE", ["BTCUSDT@depth15"]),
    ]
    dialect.on_frame("public", depth("depth", 9, 9, [], []), NOW + S)
    assert commands(dialect) == [], "not again so soon"
    crossed = depth("depthSnapshot", 10, 10, [["69002", "1"]], [["69001", "3"]])
    assert dialect.on_frame("public", crossed, NOW + 4 * S) == []
    assert len(commands(dialect)) == 2
    for number in range(1, 150):
        dialect.on_frame("public", crossed, NOW + (4 + 3 * number) * S)
    assert any(isinstance(act, Shut) for act in dialect.acts()), "subscriptions are few in an hour"


def test_a_subscription_is_proved_by_its_answer_or_by_an_event() -> None:
    dialect = build()
    for socket in dialect.abilities.sockets:
        assert dialect.on_open(socket, NOW) == []
    asked_for = {act.socket: json.loads(act.text) for act in dialect.acts() if isinstance(act, Say)}
    assert asked_for["private"]["params"] == ["account", "positions", "orders", "fill"]
    ack = json.dumps({"result": True, "id": asked_for["private"]["id"]}).encode()
    assert dialect.on_frame("private", ack, NOW) == [Up("private")]
    ticker = {"e": "ticker", "E": AT, "s": "BTCUSDT", "d": [{"m": "69000", "i": "69001"}]}
    assert dialect.on_frame("market", json.dumps(ticker).encode(), NOW)[0] == Up("market")
    assert dialect.wake_at == NOW + 10 * S
    dialect.on_wake(NOW + 10 * S)
    (act,) = dialect.acts()
    assert isinstance(act, Shut)
    assert act.socket == "public", "which has said nothing"
    assert dialect.wake_at is None


@pytest.mark.parametrize(("socket", "name"), [("market", "event"), ("private", "type")])
def test_pings_are_answered(socket: str, name: str) -> None:
    dialect = build()
    assert dialect.on_frame(socket, json.dumps({name: "ping", "time": "1776078750000"}).encode(), NOW) == []
    (answer,) = commands(dialect)
    assert answer["method"] == "PONG"
    assert dialect.on_frame(socket, json.dumps(answer).encode(), NOW) == [], "the public socket echoes it"


def test_a_refused_subscription_is_told_and_the_socket_given_up() -> None:
    dialect = build()
    refused = b'{"result":false,"id":1,"msg":"INVALID_ARGUMENT: invalid symbol : ASDFS_SPBL"}'
    (unknown,) = dialect.on_frame("market", refused, NOW)
    assert isinstance(unknown, Unknown)
    assert any(isinstance(act, Shut) for act in dialect.acts())


def test_signatures_are_base64_and_nothing_shows_the_secret() -> None:
    dialect = build()
    call = call_for(dialect, Ask(What.FEES, 0))
    signature = dict(call.headers)["ACCESS-SIGN"]
    assert len(b64encode(bytes(32))) == len(signature)
    assert "secret" not in repr(call).replace("ACCESS", "")


def test_an_account_that_trades_keeps_its_streams() -> None:
    """What the stream says of the wallet has to be asked for; that must not look as if it had said nothing."""
    world = prepare(3, Faults(seed=3, delay_ms=20.0), "weex")
    reasons: list[str] = []
    inner = world.desk.take

    def take(inputs: Sequence[Input], now: int) -> Step:
        step = inner(inputs, now)
        reasons.extend(act.reason for act in step.acts if isinstance(act, Shut))
        return step

    world.desk.take = take  # type: ignore[method-assign]
    world.run(START + 90 * S)
    assert len(world.exchange.ledger.fills) > 3
    assert reasons == []
