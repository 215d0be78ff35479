"""What is Bybit's own in its dialect; what it shares with others is in tests/conformance."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from adapters.bybit import Bybit
from agent.core.events import (
    Absent,
    Accepted,
    Allowed,
    Ended,
    Fault,
    Flow,
    Forced,
    Leverage,
    Listed,
    Mark,
    Mode,
    Orders,
    Position,
    Positions,
    Refused,
    Rights,
    Side,
    Throttled,
    Tiers,
    Unanswered,
    Unarmed,
    Unknown,
    Up,
    Warned,
)
from agent.core.orders import Style
from agent.core.venue import Arm, Ask, Batch, Call, Cancel, Place, Reply, Say, SetLeverage, Shut, What
from tests.adapters.binance_kit import MS, NOW, S, credentials, order
from tests.adapters.bybit_kit import SYMBOLS, build, call_for, contract, frame, tell, told

ROW: dict[str, Any] = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "orderId": "v-1",
    "orderLinkId": "mine",
    "side": "Buy",
    "qty": "0.006",
    "orderStatus": "New",
    "cumExecQty": "0",
    "updatedTime": "1790000000000",
}
HELD: dict[str, Any] = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Buy",
    "size": "0.5",
    "positionIdx": 0,
    "entryPrice": "50000",
    "leverage": "10",
    "updatedTime": "1790000000000",
    "seq": 7,
}
TRADE: dict[str, Any] = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "execType": "Trade",
    "execId": "t1",
    "side": "Buy",
    "execQty": "0.002",
    "execPrice": "50000",
    "execFee": "0.05",
    "execTime": "1790000000000",
    "orderId": "v-1",
    "orderLinkId": "mine",
}


def said(dialect: Bybit) -> list[dict[str, Any]]:
    return [json.loads(act.text) for act in dialect.acts() if isinstance(act, Say)]


def asked(dialect: Bybit) -> list[Ask]:
    return [act for act in dialect.acts() if isinstance(act, Ask)]


def params(call: Call) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(call.url).query))


def private(dialect: Bybit, topic: str, *rows: dict[str, Any]) -> list[Any]:
    return frame(dialect, "private", {"topic": topic, "creationTime": NOW // MS, "data": list(rows)})


# Public topics


def ticker(kind: str, at_ms: int, **data: str) -> dict[str, Any]:
    return {"topic": "tickers.BTCUSDT", "type": kind, "ts": at_ms, "data": {"symbol": "BTCUSDT", **data}}


def test_a_ticker_is_kept_from_its_changes() -> None:
    dialect = build()
    assert frame(dialect, "market", ticker("delta", 1_000, markPrice="49000")) == []
    first = frame(dialect, "market", ticker("snapshot", 1_000, markPrice="50000", indexPrice="50010"))
    assert first == [Up("market"), Mark(0, 50_000, 50_010, 1_000 * MS)]
    assert frame(dialect, "market", ticker("delta", 1_100, lastPrice="1")) == [], "nothing that is read has changed"
    assert frame(dialect, "market", ticker("delta", 1_200, indexPrice="50020")) == [Mark(0, 50_000, 50_020, 1_200 * MS)]
    assert frame(dialect, "market", ticker("delta", 2_200, lastPrice="1")) == [Mark(0, 50_000, 50_020, 2_200 * MS)]
    (unknown,) = frame(dialect, "market", ticker("delta", 2_300, markPrice="-1"))
    assert isinstance(unknown, Unknown)
    assert frame(dialect, "market", ticker("delta", 2_400, indexPrice="50000")) == [Mark(0, 50_000, 50_000, 2_400 * MS)]
    dialect.on_open("market", NOW)
    assert frame(dialect, "market", ticker("delta", 9_000, markPrice="49000")) == [], "a connection begins anew"


def book(kind: str, update: int, at_ms: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": 1}
    return {"topic": "orderbook.50.BTCUSDT", "type": kind, "ts": at_ms, "data": data}


def test_a_book_with_a_gap_is_sent_whole_again_before_it_is_told() -> None:
    dialect = build(depth=True)
    (_, depth) = frame(dialect, "public", book("snapshot", 5, 1_000, [["10", "1"], ["9", "2"]], [["11", "1"]]))
    assert depth.bids == ((10, 1), (9, 2))
    (depth,) = frame(dialect, "public", book("delta", 6, 1_200, [["10", "0"]], [["10.5", "3"]]))
    assert (depth.bids, depth.asks) == (((9, 2),), ((10.5, 3), (11, 1)))
    assert frame(dialect, "public", book("delta", 6, 1_400, [["1", "1"]], [])) == [], "told before"
    dialect.acts()
    assert frame(dialect, "public", book("delta", 8, 1_600, [["9", "1"]], [])) == []
    assert [(one["op"], one["args"]) for one in said(dialect)] == [
        ("unsubscribe", ["orderbook.50.BTCUSDT"]),
        ("subscribe", ["orderbook.50.BTCUSDT"]),
    ]
    assert frame(dialect, "public", book("delta", 9, 1_800, [["9", "1"]], [])) == []
    assert said(dialect) == [], "once is enough"
    (depth,) = frame(dialect, "public", book("snapshot", 1, 2_000, [["9", "1"]], [["10", "1"]]))
    assert depth.bids == ((9, 1),)
    assert frame(dialect, "public", book("delta", 2, 13_000, [["10", "1"]], [])) == [], "a crossed book is none"
    assert len(said(dialect)) == 2


def test_one_unknown_topic_does_not_cost_the_others_theirs() -> None:
    dialect = build()
    dialect.on_open("market", NOW)
    (whole,) = said(dialect)
    assert whole["args"] == [f"tickers.{symbol}" for symbol in SYMBOLS]
    refusal = {"success": False, "ret_msg": "handler not found,topic:tickers.SOLUSDT", "op": "subscribe"}
    assert frame(dialect, "market", refusal) == []
    alone = said(dialect)
    assert [one["args"] for one in alone] == [[topic] for topic in whole["args"]]
    (unknown,) = frame(dialect, "market", {**refusal, "req_id": alone[2]["req_id"]})
    assert isinstance(unknown, Unknown)
    assert "tickers.SOLUSDT" in unknown.what
    assert not unknown.private


# The private stream


def test_the_private_stream_is_up_once_it_has_taken_the_subscription() -> None:
    dialect = build()
    assert dialect.on_open("private", NOW) == []
    (login,) = said(dialect)
    assert login["op"] == "auth"
    assert NOW // MS < login["args"][1] <= NOW // MS + 10_000
    assert frame(dialect, "private", {"success": True, "op": "auth", "conn_id": "c"}) == []
    (topics,) = said(dialect)
    assert set(topics["args"]) == {"order", "execution", "position", "wallet"}
    assert frame(dialect, "private", {"success": True, "op": "subscribe", "req_id": topics["req_id"]}) == [
        Up("private")
    ]
    dialect.on_wake(NOW + 11 * S)
    assert dialect.acts() == []
    assert dialect.wake_at == NOW + 20 * S
    dialect.on_wake(NOW + 20 * S)
    assert said(dialect) == [{"op": "ping"}]
    dialect.on_close("private", "gone", NOW)
    assert dialect.wake_at is None


@pytest.mark.parametrize("step", ["auth", "subscribe", None])
def test_a_private_stream_that_is_not_let_in_is_given_up(step: str | None) -> None:
    dialect = build()
    dialect.on_open("private", NOW)
    if step == "subscribe":
        frame(dialect, "private", {"success": True, "op": "auth"})
    if step is not None:
        (unknown,) = frame(dialect, "private", {"success": False, "op": step, "ret_msg": "no"})
        assert isinstance(unknown, Unknown)
        assert unknown.private
    dialect.acts()
    dialect.on_wake(NOW + 10 * S)
    assert [type(act) for act in dialect.acts()] == [Shut]


def test_an_order_that_was_acknowledged_is_refused_afterwards() -> None:
    """As a refusal, for what follows from that, and as its end, should it have been told to work before."""
    end = {"orderStatus": "Cancelled", "rejectReason": "EC_PostOnlyWillTakeLiquidity"}
    refused, ended = private(build(), "order", ROW | end)
    assert isinstance(refused, Refused)
    assert (refused.order, refused.fault) == ("mine", Fault.PRICE)
    assert isinstance(ended, Ended)
    rejected = private(build(), "order", ROW | {"orderStatus": "Rejected", "rejectReason": "EC_Others"})
    assert [type(one) for one in rejected] == [Refused, Ended]
    part = ROW | {"orderStatus": "Rejected", "rejectReason": "EC_Others", "cumExecQty": "0.002"}
    assert [type(one) for one in private(build(), "order", part)] == [Accepted, Ended], "it has traded"


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({"orderStatus": "Filled", "rejectReason": "EC_NoError"}, "filled"),
        (
            {"orderStatus": "Cancelled", "cancelType": "CancelByUser", "rejectReason": "EC_PerCancelRequest"},
            "cancelled",
        ),
        (
            {"orderStatus": "Filled", "cancelType": "CancelByUser", "rejectReason": "EC_OrigClOrdIDDoesNotExist"},
            "filled",
        ),
        ({"orderStatus": "Cancelled", "rejectReason": "EC_NoImmediateQtyToFill"}, "cancelled: EC_NoImmediateQtyToFill"),
        ({"orderStatus": "Cancelled", "cancelType": "CancelByReduceOnly"}, "cancelled: CancelByReduceOnly"),
        ({"orderStatus": "Deactivated"}, "deactivated"),
    ],
)
def test_how_an_order_ends(changes: dict[str, str], how: str) -> None:
    _, ended = private(build(), "order", ROW | changes)
    assert isinstance(ended, Ended)
    assert ended.how == how


def test_trades_add_up_and_one_that_comes_twice_counts_once() -> None:
    dialect = build()
    fills = private(dialect, "execution", TRADE, TRADE | {"execId": "t2"}, TRADE)
    assert [(fill.trade, fill.lots, fill.filled_lots, fill.fee_asset) for fill in fills] == [
        ("t1", 2, 2, "USDT"), ("t2", 2, 4, "USDT"), ("t1", 2, 4, "USDT"),
    ]  # fmt: skip


def test_what_is_no_trade_of_ours() -> None:
    dialect = build()
    (flow,) = private(dialect, "execution", TRADE | {"execType": "Funding", "execFee": "0.3", "orderLinkId": ""})
    assert flow == Flow("USDT", -0.3, "funding", NOW)
    assert private(dialect, "execution", TRADE | {"execType": "Settle"}) == []
    forced, _ = private(dialect, "execution", TRADE | {"execType": "BustTrade", "orderLinkId": ""})
    assert isinstance(forced, Forced)
    forced, *_ = private(dialect, "order", ROW | {"createType": "CreateByAdl_PassThrough", "orderLinkId": ""})
    assert isinstance(forced, Forced)
    (unknown,) = private(dialect, "execution", TRADE | {"execType": "Magic"})
    assert isinstance(unknown, Unknown)
    assert unknown.private


def test_an_unreadable_row_does_not_take_the_others_with_it() -> None:
    facts = private(build(), "order", ROW | {"orderStatus": "Odd"}, ROW)
    assert [type(one) for one in facts] == [Unknown, Accepted]


def test_an_older_position_does_not_replace_a_newer() -> None:
    dialect = build()
    assert [type(one) for one in private(dialect, "position", HELD)] == [Position, Leverage]
    assert private(dialect, "position", HELD | {"seq": 6, "size": "0.4"}) == []
    (held,) = private(dialect, "position", HELD | {"seq": 8, "side": "Sell", "size": "0.1"})
    assert held.lots == -100
    dialect.on_open("private", NOW)
    (held,) = private(dialect, "position", HELD | {"seq": 1})
    assert held.lots == 500


def test_profit_that_was_settled_does_not_count_twice() -> None:
    """Where it is settled every few hours, what is open counts from the price of the last settlement."""
    (held, _) = private(build(), "position", HELD | {"sessionAvgPrice": "51000"})
    assert held.entry == 51_000


@pytest.mark.parametrize("changes", [{"side": ""}, {"side": "Sell", "positionIdx": 1}, {"entryPrice": "0"}])
def test_a_position_that_contradicts_itself_is_not_believed(changes: dict[str, Any]) -> None:
    (unknown,) = private(build(), "position", HELD | changes)
    assert isinstance(unknown, Unknown)


# Requests


def test_an_order_says_all_that_it_means() -> None:
    def body(**changes: Any) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(call_for(build(), Place(order(**changes))).body)
        return content

    assert body() == {
        "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.006",
        "timeInForce": "IOC", "positionIdx": 0, "reduceOnly": False, "orderLinkId": order().id,
        "smpType": "CancelMaker", "price": "60000.1",
    }  # fmt: skip
    post = body(style=Style.POST, side=Side.SHORT, lots=-6, reduce=True)
    assert (post["timeInForce"], post["positionIdx"], post["side"], post["reduceOnly"]) == ("PostOnly", 2, "Sell", True)
    market = body(style=Style.MARKET, ticks=None)
    assert (market["orderType"], "price" in market) == ("Market", False)


def test_an_order_is_not_taken_after_its_time() -> None:
    call = call_for(build(), Place(order(expires_at=NOW + 2 * S)))
    head = dict(call.headers)
    assert int(head["X-BAPI-TIMESTAMP"]) + int(head["X-BAPI-RECV-WINDOW"]) < (NOW + 2 * S) // MS
    (refused,) = build().perform(Place(order(expires_at=NOW)), NOW)  # type: ignore[misc]
    assert isinstance(refused, Refused)
    assert refused.fault is Fault.BUSY


def test_there_is_no_dead_mans_switch() -> None:
    dialect = build()
    assert not dialect.abilities.arms
    (unarmed,) = dialect.perform(Arm(0, 1_000), NOW)  # type: ignore[misc]
    assert isinstance(unarmed, Unarmed)


@pytest.mark.parametrize(
    ("rest_url", "stream_url", "cure"),
    [
        ("https://api-testnet.bybit.com", "wss://stream.bybit.com", "two environments"),
        ("https://api.bybit.com", "wss://stream.bybit.eu", "two environments"),
        ("https://api-demo.bybit.com", "wss://stream-demo.bybit.com", "testnet"),
        ("https://api.bybit.com.evil.org", "wss://stream.bybit.com", "is not Bybit"),
    ],
)
def test_addresses_that_do_not_belong_together(rest_url: str, stream_url: str, cure: str) -> None:
    with pytest.raises(ValueError, match=cure):
        Bybit(symbols=["BTCUSDT"], credentials=credentials(), rest_url=rest_url, stream_url=stream_url)


# Answers


def test_an_order_is_asked_about_at_once_where_no_stream_will_tell_of_it() -> None:
    dialect = build()
    assert tell(dialect, Place(order()), {"orderId": "v", "orderLinkId": order().id}) == []
    assert asked(dialect) == [Ask(What.ORDER, 0, order().id)]
    assert tell(dialect, Cancel("x", 0), {"orderId": "v", "orderLinkId": "x"}) == []
    assert asked(dialect) == [Ask(What.ORDER, 0, "x")]
    dialect.on_open("private", NOW)
    dialect.acts()
    frame(dialect, "private", {"success": True, "op": "auth"})
    frame(dialect, "private", {"success": True, "op": "subscribe"})
    dialect.acts()
    assert tell(dialect, Place(order()), {"orderId": "v", "orderLinkId": order().id}) == []
    assert asked(dialect) == []


def test_an_order_is_denied_only_after_its_history_was_looked_through() -> None:
    dialect = build()
    first = call_for(dialect, Ask(What.ORDER, 0, "mine"))
    assert params(first) == {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "mine"}
    assert told(dialect, first, {"list": []}) == []
    (again,) = asked(dialect)
    second = call_for(dialect, again, NOW + S)
    assert urlsplit(second.url).path == "/v5/order/history"
    assert told(dialect, second, {"list": []}) == [Absent("mine", NOW)], "as of the first question"
    filled = ROW | {"orderStatus": "Filled", "cumExecQty": "0.006"}
    assert [type(one) for one in told(dialect, second, {"list": [filled]})] == [Accepted, Ended]


def test_positions_of_all_kinds_of_contract_are_one_answer() -> None:
    dialect = build()
    rows = {
        ("linear", "USDT", None): ([HELD], "c1"),
        ("linear", "USDT", "c1"): ([HELD | {"symbol": "DOGEUSDT", "size": "5"}], ""),
        ("linear", "USDC", None): ([HELD | {"symbol": "BTCPERP", "size": "0"}], ""),
        ("inverse", None, None): ([HELD | {"symbol": "BTCUSD", "side": "Sell", "size": "300"}], ""),
    }
    ask, facts = Ask(What.POSITIONS), []
    for number in range(len(rows)):
        call = call_for(dialect, ask, NOW + number * S)
        sent = params(call)
        page, cursor = rows[sent["category"], sent.get("settleCoin"), sent.get("cursor")]
        facts = told(dialect, call, {"list": page, "nextPageCursor": cursor})
        if number < len(rows) - 1:
            assert facts == []
            (ask,) = asked(dialect)
    (positions,) = facts
    assert isinstance(positions, Positions)
    assert positions.asked_at == NOW, "it is as old as its first part"
    assert [(row.instrument, row.lots) for row in positions.rows] == [(0, 500)]
    assert positions.strangers == ("DOGEUSDT", "BTCUSD")


def test_a_list_that_was_begun_anew_is_not_mixed_with_the_old_one() -> None:
    dialect = build()
    old = call_for(dialect, Ask(What.ORDERS))
    told(dialect, old, {"list": [ROW], "nextPageCursor": "old"})
    (further,) = asked(dialect)
    new = call_for(dialect, Ask(What.ORDERS))
    told(dialect, new, {"list": []})
    asked(dialect)
    assert tell(dialect, further, {"list": []}) == []
    assert asked(dialect) == []
    assert told(dialect, old, {"list": [ROW]}) == []


def test_a_list_without_end_is_no_answer() -> None:
    dialect, ask, facts = build(), Ask(What.ORDERS), []
    for _ in range(50):
        facts = tell(dialect, ask, {"list": [ROW], "nextPageCursor": f"c{_}"})
        if facts:
            break
        (ask,) = asked(dialect)
    assert isinstance(facts[0], Unanswered)


def test_open_orders_of_others_are_listed_without_sizes() -> None:
    dialect, ask, facts = build(), Ask(What.ORDERS), []
    pages = iter([[ROW], [], [ROW | {"symbol": "BTCUSD", "orderLinkId": ""}]])
    for page in pages:
        facts = tell(dialect, ask, {"list": page})
        ask = next(iter(asked(dialect)), ask)
    (orders,) = facts
    assert isinstance(orders, Orders)
    assert [(row.order, row.instrument, row.lots) for row in orders.rows] == [("mine", 0, 6), ("v-1", None, 0)]


def test_an_instrument_that_is_listed_no_more_has_stopped() -> None:
    dialect = build(["BTCUSDT", "ETHUSDT"])
    (listed, *_) = tell(dialect, Ask(What.INSTRUMENTS), {"list": [contract("BTCUSDT")]})
    assert isinstance(listed, Listed)
    assert [(one.symbol, one.trading) for one in listed.instruments] == [("BTCUSDT", True), ("ETHUSDT", False)]
    rows = [contract("BTCUSDT", isPreListing=True), contract("ETHUSDT", contractType="LinearFutures")]
    (listed, *_) = tell(build(listed=False), Ask(What.INSTRUMENTS), {"list": rows})
    assert isinstance(listed, Listed)
    assert [(one.symbol, one.trading) for one in listed.instruments] == [("BTCUSDT", False)]


def test_that_an_instrument_will_end_is_told_once() -> None:
    dialect = build(["BTCUSDT"])
    row = contract("BTCUSDT", deliveryTime="1792000000000")
    facts = tell(dialect, Ask(What.INSTRUMENTS), {"list": [row]})
    (warned,) = [one for one in facts if isinstance(one, Warned)]
    assert warned.what.startswith("BTCUSDT is delisted at 2026-10-14T17:46:40")
    assert not any(isinstance(one, Warned) for one in tell(dialect, Ask(What.INSTRUMENTS), {"list": [row]}))


def test_margin_tiers_in_any_order_and_either_unit() -> None:
    """Maintenance margin holds the fee of closing, 0.11 % here, in the rate of each tier."""
    line = {"symbol": "BTCUSDT", "initialMargin": "0.01", "maxLeverage": "100.00"}
    low = line | {"riskLimitValue": "1000", "maintenanceMargin": "0.005"}
    high = line | {
        "riskLimitValue": "3000", "maintenanceMargin": "0.01", "initialMargin": "0.02", "maxLeverage": "50.00",
        "mmDeduction": "",
    }  # fmt: skip
    (tiers,) = tell(build(), Ask(What.TIERS, 0), {"list": [high, low]})
    assert isinstance(tiers, Tiers)
    assert [(t.floor, t.cap, round(t.rate, 6), round(t.deduction, 6), t.leverage) for t in tiers.tiers] == [
        (0, 1_000, 0.0061, 0, 100),
        (1_000, 3_000, 0.0111, 5, 50),
    ]
    percent = [row | {name: str(float(row[name]) * 100) for name in ("maintenanceMargin", "initialMargin")}
               for row in (low, high)]  # fmt: skip
    (same,) = tell(build(), Ask(What.TIERS, 0), {"list": percent})
    assert isinstance(same, Tiers)
    assert [round(t.rate, 6) for t in same.tiers] == [0.0061, 0.0111]
    (unanswered,) = tell(build(), Ask(What.TIERS, 0), {"list": []})
    assert isinstance(unanswered, Unanswered)


def info(margin: str = "REGULAR_MARGIN", status: int = 6) -> dict[str, Any]:
    return {"marginMode": margin, "unifiedMarginStatus": status}


def rows(*modes: int, leverage: str = "10") -> dict[str, Any]:
    flat = HELD | {"side": "", "size": "0", "leverage": leverage}
    return {"list": [flat | {"positionIdx": mode} for mode in modes]}


def test_the_mode_is_learnt_from_the_rows_of_all_positions() -> None:
    dialect = build(["BTCUSDT"])
    assert tell(dialect, Ask(What.MODE), info()) == []
    assert asked(dialect) == [Ask(What.LEVERAGE, 0)]
    facts = tell(dialect, Ask(What.LEVERAGE, 0), rows(1, 2))
    assert facts == [Leverage(0, 10, isolated=False), Mode(hedge=True, multi_asset=True, can_trade=None)]
    assert tell(dialect, Ask(What.MODE), info()) == [Mode(hedge=True, multi_asset=True, can_trade=None)]
    private(dialect, "position", HELD)
    assert asked(dialect) == [Ask(What.MODE)], "a row of the other mode"


@pytest.mark.parametrize(
    ("answer", "cure"),
    [
        (info(status=4), "upgrade"),
        (info("ISOLATED_MARGIN"), "cross margin"),
        (info("PORTFOLIO_MARGIN"), "cross margin"),
    ],
)
def test_an_account_that_the_sums_do_not_hold_for_is_not_traded(answer: dict[str, Any], cure: str) -> None:
    (unanswered,) = tell(build(), Ask(What.MODE), answer)
    assert isinstance(unanswered, Unanswered)
    assert cure in unanswered.reason


def test_settings_that_differ_are_not_guessed() -> None:
    dialect = build(["BTCUSDT", "ETHUSDT"])
    tell(dialect, Ask(What.LEVERAGE, 0), rows(0))
    tell(dialect, Ask(What.LEVERAGE, 1), {"list": [row | {"symbol": "ETHUSDT"} for row in rows(1, 2)["list"]]})
    (unanswered,) = tell(dialect, Ask(What.MODE), info())
    assert isinstance(unanswered, Unanswered)
    two = rows(1)["list"] + rows(2, leverage="20")["list"]
    (unanswered,) = tell(dialect, Ask(What.LEVERAGE, 0), {"list": two})
    assert isinstance(unanswered, Unanswered)
    assert "set them alike" in unanswered.reason


def test_a_setting_that_is_so_already_is_set() -> None:
    assert tell(build(), SetLeverage(0, 7), {}, code=110043) == [Leverage(0, 7)]


@pytest.mark.parametrize(
    ("changes", "rights"),
    [
        ({}, Rights(withdraw=False, transfer=False, trade=True, bound=True, expires_at=None)),
        ({"readOnly": "1"}, Rights(withdraw=False, transfer=False, trade=False, bound=True, expires_at=None)),
        (
            {"permissions": {"Wallet": ["AccountTransfer", "Withdraw"]}, "ips": ["*"]},
            Rights(withdraw=True, transfer=True, trade=False, bound=False, expires_at=None),
        ),
        (
            {"expiredAt": "2026-10-13T03:20:45Z"},
            Rights(withdraw=False, transfer=False, trade=True, bound=True, expires_at=1_791_861_645 * S),
        ),
    ],
)
def test_what_a_key_may_do(changes: dict[str, Any], rights: Rights) -> None:
    key = {
        "readOnly": 0, "permissions": {"ContractTrade": ["Order", "Position"]}, "ips": ["1.2.3.4"],
        "expiredAt": "1970-01-01T00:00:00Z", "userID": 5,
    }  # fmt: skip
    assert tell(build(), Ask(What.RIGHTS), key | changes) == [rights]


def test_a_budget_is_as_large_as_the_venue_says() -> None:
    dialect = build()
    reply = Reply(200, {"x-bapi-limit": "20"}, json.dumps({"retCode": 110001, "retMsg": ""}).encode())
    allowed, _ = dialect.on_reply(call_for(dialect, Cancel("x", 0)), reply, NOW)
    assert allowed == Allowed("cancel_1s", 10), "half of it: the venue counts any second, and two of ours touch it"
    (_,) = dialect.on_reply(call_for(dialect, Cancel("x", 0)), reply, NOW)


@pytest.mark.parametrize(
    ("headers", "until"),
    [
        ({"x-bapi-limit-reset-timestamp": str(NOW // MS + 300)}, NOW + 300 * MS),
        ({"x-bapi-limit-reset-timestamp": str(NOW // MS - 300)}, NOW),
        ({"x-bapi-limit-reset-timestamp": str(NOW // MS + 10**9)}, NOW + 60 * S),
        ({}, NOW + S),
    ],
)
def test_too_many_requests_mean_silence_until_the_budget_is_there_again(headers: dict[str, str], until: int) -> None:
    dialect = build()
    reply = Reply(200, headers, json.dumps({"retCode": 10006, "retMsg": "Too many visits!"}).encode())
    throttled, refused = dialect.on_reply(call_for(dialect, Place(order())), reply, NOW)
    assert throttled == Throttled(until, banned=False, reason="10006: Too many visits!")
    assert isinstance(refused, Refused)


def test_each_order_of_a_batch_has_its_own_outcome() -> None:
    first, second, third = (order(id=name) for name in ("a", "b", "c"))
    batch = Batch((first, second, third))
    result = {"list": [{"orderLinkId": "a", "orderId": "1"}, {"orderLinkId": "b", "orderId": ""}]}
    ends = {"list": [{"code": 0, "msg": "OK"}, {"code": 110007, "msg": "no"}]}
    facts = tell(build(), batch, result, retExtInfo=ends)
    assert [(type(one).__name__, one.order) for one in facts] == [("Refused", "b"), ("Lost", "c")]
