"""Answers and failures: what is known afterwards, and what is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from agent.core.events import (
    Absent,
    Accepted,
    Allowed,
    Balance,
    Clock,
    Denied,
    Ended,
    Fact,
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
    OpenOrder,
    Orders,
    Owner,
    Position,
    Positions,
    Refused,
    Reserve,
    Rights,
    Side,
    Throttled,
    Tiers,
    Unanswered,
    Unknown,
    Unset,
    Used,
    Volume,
)
from agent.core.instruments import Instrument, Tier
from agent.core.venue import Arm, Ask, Batch, Cancel, Place, Request, SetLeverage, What
from tests.adapters.binance_kit import (
    MS,
    NOW,
    SYMBOLS,
    S,
    build,
    call_for,
    contract,
    order,
    tell,
    told,
)
from tests.faults.striking import Struck

ORDER = order()
ROW = {
    "clientOrderId": ORDER.id,
    "symbol": "BTCUSDT",
    "orderId": 77,
    "status": "NEW",
    "executedQty": "0",
    "origQty": "0.006",
    "side": "BUY",
    "updateTime": 5,
}


def failed(request: Request, status: int, body: Any, **headers: str) -> list[Fact]:
    return tell(build(), request, body, status, headers=headers)


# Orders


@pytest.mark.parametrize(
    ("status", "done", "ended"),
    [
        ("NEW", "0", None),
        ("PARTIALLY_FILLED", "0.0020", None),
        ("FILLED", "0.006", "filled"),
        ("CANCELED", "0.001", "cancelled"),
        ("EXPIRED", "0", "expired"),
        ("EXPIRED_IN_MATCH", "0", "expired in match"),
        ("REJECTED", "0", "rejected"),
    ],
)
@pytest.mark.parametrize("request_", [Place(ORDER), Cancel(ORDER.id, 0), Ask(What.ORDER, 0, ORDER.id)])
def test_an_order_row_says_where_it_stands(request_: Request, status: str, done: str, ended: str | None) -> None:
    facts = tell(build(), request_, ROW | {"status": status, "executedQty": done})
    lots = int(Decimal(done) * 1000)
    accepted = Accepted(ORDER.id, "77", lots, 5 * MS)
    assert facts == [accepted, *([Ended(ORDER.id, ended, lots, 5 * MS)] if ended else [])]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        b"{}",
        b"[]",
        b"null",
        ROW | {"clientOrderId": "another"},
        ROW | {"symbol": "ETHUSDT"},
        ROW | {"status": "SOMETHING"},
        ROW | {"executedQty": "0.0001"},
        ROW | {"executedQty": "-1"},
        ROW | {"executedQty": "NaN"},
        ROW | {"executedQty": 0},
        ROW | {"orderId": "77"},
        ROW | {"updateTime": -1},
        {"code": -2019, "msg": "a refusal under a good status"},
    ],
)
def test_a_good_status_without_the_order_proves_nothing(body: Any) -> None:
    (placed,) = tell(build(), Place(ORDER), body)
    (cancelled,) = tell(build(), Cancel(ORDER.id, 0), body)
    (asked,) = tell(build(), Ask(What.ORDER, 0, ORDER.id), body)
    assert isinstance(placed, Lost)
    assert isinstance(cancelled, Lost)
    assert isinstance(asked, Unanswered)


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, {"code": -1, "msg": "new"}, Fault.OTHER),
        (409, {"code": -9999, "msg": "new"}, Fault.OTHER),
        (400, b"<html>", None),
        (404, b"", None),
        (302, b"", None),
        (400, {"msg": "no code"}, None),
        (408, {"code": -2019, "msg": "x"}, None),
        (408, b"", None),
        (500, b"", None),
        (502, b"<html>", None),
        (504, {"code": -2019, "msg": "x"}, None),
        (500, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}, None),
        (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."}, None),
        (503, b"Unknown error, please check your request or try again later.", None),
        (503, b"<h1>503 Service Unavailable</h1>", None),
        (503, b"Service Unavailable.", Fault.BUSY),
        (503, {"code": 0, "msg": "Service Unavailable."}, Fault.BUSY),
        (503, {"code": -1008, "msg": "overloaded"}, Fault.BUSY),
        (400, {"code": -1008, "msg": "overloaded"}, Fault.BUSY),
        (401, b"", Fault.ACCOUNT),
        (403, b"<html>", Fault.BUSY),
        (451, {"code": 0, "msg": "restricted location"}, Fault.ACCOUNT),
        (418, b"", Fault.BUSY),
        (429, b"", Fault.BUSY),
        (429, {"code": -9999, "msg": "x"}, Fault.BUSY),
    ],
)
def test_only_a_plain_no_refuses_an_order(status: int, body: Any, fault: Fault | None) -> None:
    last = failed(Place(ORDER), status, body)[-1]
    if fault is None:
        assert isinstance(last, Lost)
    else:
        assert isinstance(last, Refused)
        assert last.fault is fault


def test_a_cancel_of_an_unknown_order_is_asked_about() -> None:
    assert failed(Cancel("x", 0), 400, {"code": -2011, "msg": "Unknown order sent."}) == [
        Lost("x", "cancel: unknown order")
    ]


@pytest.mark.parametrize("status", [408, 500, 503])
def test_absence_needs_a_proper_answer(status: int) -> None:
    (fact,) = failed(Ask(What.ORDER, 0, "x"), status, {"code": -2013, "msg": "Order does not exist."})
    assert isinstance(fact, Unanswered)


def test_absence_is_dated_by_the_venues_clock_when_it_was_asked() -> None:
    dialect = build()
    told(dialect, call_for(dialect, Ask(What.TIME)), {"serverTime": NOW // MS + 9_000}, now=NOW + 20 * MS)
    call = call_for(dialect, Ask(What.ORDER, 0, "x"), NOW + S)
    facts = told(dialect, call, {"code": -2013, "msg": ""}, 400, now=NOW + 3 * S)
    assert facts == [Absent("x", NOW + S + 9_000 * MS - 10 * MS - 10 * MS)]


# Leverage


SET = {"symbol": "BTCUSDT", "leverage": 5, "maxNotionalValue": "1000000"}
NOT_SET = "leverage 5 of instrument 0"


def test_a_setting_that_was_changed_is_told_as_it_is_now() -> None:
    assert tell(build(), SetLeverage(0, 5), SET) == [Leverage(0, 5)]
    assert tell(build(), SetLeverage(0, 5), SET | {"leverage": 4}) == [Leverage(0, 4)]


@pytest.mark.parametrize("code", [-4028, -2027, -2028, -4161, -4203, -1021, -1003, -2015, -9999])
def test_a_setting_that_is_refused_is_a_definite_no(code: int) -> None:
    facts = failed(SetLeverage(0, 5), 400, {"code": code, "msg": "words"})
    assert facts[-1] == Unset(0, 5, f"{code} words")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (408, b""),
        (502, b"<html>"),
        (503, b"Unknown error, please check your request or try again later."),
        (400, {"code": -1007, "msg": "Timeout"}),
        (200, b""),
        (200, {}),
        (200, SET | {"symbol": "ETHUSDT"}),
        (200, SET | {"leverage": 0}),
        (200, {"code": -2028, "msg": "a refusal under a good status"}),
    ],
)
def test_a_setting_without_a_proper_answer_is_neither_changed_nor_refused(status: int, body: Any) -> None:
    (fact,) = tell(build(), SetLeverage(0, 5), body, status)
    assert isinstance(fact, Unanswered)
    assert fact.what == NOT_SET


# Batches


@pytest.mark.fault("C15")
def test_each_order_of_a_batch_has_its_own_outcome(struck: Struck) -> None:
    orders = tuple(order(id=name) for name in "abcde")
    facts = tell(
        build(),
        Batch(orders),
        [
            ROW | {"clientOrderId": "a", "status": "FILLED", "executedQty": "0.006"},
            {"code": -2022, "msg": "ReduceOnly Order is rejected."},
            {"code": -1007, "msg": "Timeout"},
            ROW | {"clientOrderId": "someone else"},
        ],
    )
    assert facts[:4] == [
        Accepted("a", "77", 6, 5 * MS),
        Ended("a", "filled", 6, 5 * MS),
        Refused("b", "-2022", "ReduceOnly Order is rejected.", Fault.REDUCE),
        Lost("c", "-1007 Timeout"),
    ]
    missing = [(type(fact), fact.order) for fact in facts[4:] if isinstance(fact, Lost)]
    assert missing == [(Lost, "d"), (Lost, "e")]
    struck("C15", len(missing))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"[null, 1]", b"[[], {}]", [ROW], [{}, {"code": "x"}]])
@pytest.mark.fault("C15")
def test_what_a_batch_answer_leaves_out_is_lost(body: Any, struck: Struck) -> None:
    orders = (order(id="a"), order(id="b"))
    facts = tell(build(), Batch(orders), body)
    assert [(type(fact).__name__, getattr(fact, "order", "")) for fact in facts] == [("Lost", "a"), ("Lost", "b")]
    struck("C15", len(facts))


def test_a_longer_answer_than_the_batch_is_cut() -> None:
    facts = tell(build(), Batch((ORDER,)), [ROW, {"code": -2019, "msg": "of nobody"}])
    assert facts == [Accepted(ORDER.id, "77", 0, 5 * MS)]


@pytest.mark.fault("C15")
def test_a_batch_that_fails_as_a_whole(struck: Struck) -> None:
    batch = Batch((order(id="a"), order(id="b")))
    facts = failed(batch, 429, {"code": -1003, "msg": "slow down"})
    assert [type(fact) for fact in facts] == [Throttled, Refused, Refused]
    assert [type(fact) for fact in failed(batch, 504, b"")] == [Lost, Lost]
    struck("C15", 2)


# Limits, clock, key


def test_headers_tell_what_is_used() -> None:
    headers = {
        "x-mbx-used-weight-1m": "2399",
        "x-mbx-order-count-10s": "7",
        "x-mbx-order-count-1m": "x",
        "retry-after": "1",
    }
    expected = [Used("weight_1m", 2399), Used("orders_10s", 7)]
    assert tell(build(), Arm(0, 1), {}, headers=headers) == expected
    assert failed(Arm(0, 1), 400, b"", **headers)[:2] == expected


def test_too_many_requests_mean_silence_until_the_next_minute() -> None:
    now = NOW // (60 * S) * 60 * S + 12 * S
    (fact, _) = tell(build(), Ask(What.TIME), {"code": -1003, "msg": "Too many requests"}, 429, now=now)
    assert fact == Throttled(now + 48 * S, False, "Too many requests")


def test_the_minute_is_the_venues() -> None:
    dialect = build()
    now = NOW // (60 * S) * 60 * S + 12 * S
    told(dialect, call_for(dialect, Ask(What.TIME), now), {"serverTime": now // MS + 8_000}, now=now)
    (fact, _) = tell(dialect, Ask(What.MODE), b"", 429, now=now)
    assert isinstance(fact, Throttled)
    assert fact.until == now + 40 * S


@pytest.mark.parametrize(
    ("status", "message", "retry", "seconds", "banned"),
    [
        (429, "x", "17", 17, False),
        (418, "x", "", 120, True),
        (418, "x", "300", 300, True),
        (418, f"Way too many requests; IP(203.0.113.7) banned until {NOW // MS + 5_000}. Please", "3", 5, True),
        (418, f"banned until {NOW // MS + 5_000}. Please", "6", 6, True),
        (429, f"IP banned until {NOW // MS + 5_000}", "", 5, True),
        (418, f"banned until {NOW // MS - 5_000}.", "", 0, True),
        (418, "banned until 9999999999999", "", 72 * 3600, True),
        (418, "x", "999999", 72 * 3600, True),
        (418, "x", "-5", 120, True),
        (418, "x", "soon", 120, True),
    ],
)
def test_how_long_to_be_silent(status: int, message: str, retry: str, seconds: int, banned: bool) -> None:
    facts = tell(build(), Place(ORDER), {"code": -1003, "msg": message}, status, headers={"retry-after": retry})
    assert facts[0] == Throttled(NOW + seconds * S, banned, message)
    assert isinstance(facts[1], Refused)
    assert facts[1].fault is Fault.BUSY


@pytest.mark.parametrize(
    ("message", "bucket", "amount"),
    [("300 orders per TEN_SECONDS.", "orders_10s", 300), ("1200 orders per MINUTE.", "orders_1m", 1200)],
)
def test_too_many_orders_exhaust_that_budget_and_no_other(message: str, bucket: str, amount: int) -> None:
    facts = failed(Place(ORDER), 429, {"code": -1015, "msg": f"Too many new orders; current limit is {message}"})
    assert facts[0] == Used(bucket, amount)
    assert isinstance(facts[1], Refused)
    assert facts[1].fault is Fault.BUSY


@pytest.mark.parametrize("code", [-1021, -5028])
def test_a_clock_error_measures_the_clock_anew(code: int) -> None:
    dialect = build()
    time = Ask(What.TIME)
    told(dialect, call_for(dialect, time), {"serverTime": NOW // MS}, now=NOW + MS)
    for request in (Place(ORDER), Ask(What.MODE)):
        tell(dialect, request, {"code": code, "msg": "clock"}, 400)
    assert dialect.acts() == [time], "asked once"
    facts = told(dialect, call_for(dialect, time), {"serverTime": NOW // MS + 3_050}, now=NOW + 100 * MS)
    assert facts == [Clock(3 * S, 50 * MS)], "older measurements no longer count"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"code": -2014, "msg": "API-key format invalid."}),
        (400, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}),
        (400, {"code": -1022, "msg": "Signature for this request is not valid."}),
        (451, b""),
    ],
)
def test_a_rejected_key_is_said(status: int, body: Any) -> None:
    facts = failed(Ask(What.ACCOUNT), status, body)
    assert [type(fact) for fact in facts] == [Denied, Unanswered]


@pytest.mark.parametrize("code", [-4060, -4061, -4062])
def test_a_wrong_position_mode_is_looked_up(code: int) -> None:
    dialect = build()
    tell(dialect, Place(ORDER), {"code": code, "msg": "side"}, 400)
    assert dialect.acts() == [Ask(What.MODE)]


# Questions


def test_instruments_come_from_the_filters() -> None:
    dialect = build(["BTCUSDT", "GONEUSDT"], listed=False)
    rows = [contract("OTHERUSDT"), contract("BTCUSDT")]
    (fact,) = tell(dialect, Ask(What.INSTRUMENTS), {"serverTime": 1, "symbols": rows})
    assert fact == Listed(
        (
            Instrument(
                index=0, venue="binance", symbol="BTCUSDT", base="BTC", quote="USDT", settle="USDT",
                tick=Decimal("0.1"), step=Decimal("0.001"), min_lots=1, max_lots=1_000_000, max_market_lots=120_000,
                min_notional=50.0, price_up=1.05, price_down=0.95,
            ),
        )
    )  # fmt: skip


def listing(changes: dict[str, dict[str, str]], **fields: Any) -> Listed:
    row = contract("BTCUSDT", **fields)
    row["filters"] = [one | changes.get(one["filterType"], {}) for one in row["filters"]]
    (fact, *rest) = tell(build(["BTCUSDT"], listed=False), Ask(What.INSTRUMENTS), {"symbols": [row]})
    assert isinstance(fact, Listed)
    assert rest == []
    return fact


def test_a_market_filter_of_zeros_is_no_filter() -> None:
    (one,) = listing({"MARKET_LOT_SIZE": {"stepSize": "0", "minQty": "0", "maxQty": "0"}}).instruments
    assert (one.step, one.min_lots, one.max_market_lots) == (Decimal("0.001"), 1, 1_000_000)
    (one,) = listing({"MARKET_LOT_SIZE": {"stepSize": "0", "maxQty": "90.5"}}).instruments
    assert one.max_market_lots == 90_500


def test_odd_limits_are_rounded_to_what_may_be_ordered() -> None:
    (one,) = listing({"LOT_SIZE": {"stepSize": "5", "minQty": "7", "maxQty": "99"}}).instruments
    assert (one.min_lots, one.max_lots, one.max_market_lots) == (2, 19, 19)
    (one,) = listing({"LOT_SIZE": {"minQty": "0"}}).instruments
    assert one.min_lots == 1


@pytest.mark.parametrize("status", ["SETTLING", "PENDING_TRADING", "CLOSE"])
def test_what_is_not_trading_is_listed_as_such(status: str) -> None:
    (one,) = listing({}, status=status, contractType="TRADIFI_PERPETUAL").instruments
    assert not one.trading


def test_contracts_with_an_end_are_not_listed() -> None:
    assert listing({}, contractType="CURRENT_QUARTER").instruments == ()


def test_budgets_are_as_large_as_the_venue_says_now() -> None:
    def row(kind: str, interval: str, number: int, limit: object) -> dict[str, object]:
        return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}

    limits = [
        row("REQUEST_WEIGHT", "MINUTE", 1, 1_200),
        row("ORDERS", "SECOND", 10, 100),
        row("ORDERS", "MINUTE", 1, "many"),
        row("ORDERS", "DAY", 1, 5),
        row("ORDERS", "MINUTE", 1, 600),
    ]
    facts = tell(build(), Ask(What.INSTRUMENTS), {"symbols": [contract("BTCUSDT")], "rateLimits": limits})
    told = [fact for fact in facts if isinstance(fact, Allowed)]
    assert told == [Allowed("weight_1m", 1_200), Allowed("orders_10s", 100), Allowed("orders_1m", 600)]


def test_an_empty_list_of_contracts_is_no_answer() -> None:
    dialect = build()
    (fact,) = tell(dialect, Ask(What.INSTRUMENTS), {"symbols": []})
    assert isinstance(fact, Unanswered)
    call_for(dialect, Place(ORDER))


@pytest.mark.parametrize(
    "filters",
    [
        [],
        [{"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "1", "stepSize": "1"}],
        [{**one, "tickSize": "0"} for one in contract("BTCUSDT")["filters"]],
        [{**one, "stepSize": "NaN"} for one in contract("BTCUSDT")["filters"]],
    ],
)
def test_an_unreadable_listing_is_said_and_the_others_are_listed(filters: list[Any]) -> None:
    dialect = build(["BTCUSDT", "ETHUSDT"], listed=False)
    rows = [contract("BTCUSDT", filters=filters), contract("ETHUSDT")]
    listed, unknown = tell(dialect, Ask(What.INSTRUMENTS), {"symbols": rows})
    assert isinstance(listed, Listed)
    assert [one.symbol for one in listed.instruments] == ["ETHUSDT"]
    assert isinstance(unknown, Unknown)
    assert unknown.what.startswith("instruments of BTCUSDT")


def premium(symbol: str = "ETHUSDT", **changes: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "markPrice": "3000.5",
        "indexPrice": "3001",
        "lastFundingRate": "-0.0001",
        "nextFundingTime": 8,
        "time": 5,
    } | changes


def test_prices() -> None:
    rows = [premium("SOMEUSDT", markPrice="x"), premium(), premium("BTCUSDT", lastFundingRate="", nextFundingTime=0)]
    assert tell(build(), Ask(What.PRICES), rows) == [
        Mark(1, 3000.5, 3001.0, 5 * MS),
        Funding(1, -0.0001, 8 * MS, 5 * MS),
        Mark(0, 3000.5, 3001.0, 5 * MS),
    ]
    (fact,) = tell(build(), Ask(What.PRICES), [premium(markPrice="0")])
    assert isinstance(fact, Unknown)
    assert not fact.private


def test_a_symbol_without_a_stated_interval_settles_every_eight_hours() -> None:
    rows = [
        {"symbol": "BTCUSDT", "fundingIntervalHours": 4},
        {"symbol": "ETHUSDT", "fundingIntervalHours": 0},
        {"symbol": "X", "fundingIntervalHours": 1},
    ]
    first, unknown, *rest = tell(build(["BTCUSDT", "ETHUSDT", "BNBUSDT"]), Ask(What.INTERVALS), rows)
    assert first == Interval(0, 4.0)
    assert isinstance(unknown, Unknown)
    assert rest == [Interval(2, 8.0)], "an interval that can't be read is not eight hours"


def test_margin_tables_are_scaled_by_the_accounts_factor() -> None:
    def line(floor: int, cap: int, rate: float, cum: float, leverage: int) -> dict[str, Any]:
        return {
            "bracket": 1, "initialLeverage": leverage, "notionalCap": cap, "notionalFloor": floor,
            "maintMarginRatio": rate, "cum": cum,
        }  # fmt: skip

    table = [line(10_000, 50_000, 0.01, 50, 50), line(0, 10_000, 0.005, 0, 75)]
    assert tell(build(), Ask(What.TIERS), [{"symbol": "ETHUSDT", "brackets": table}, {"symbol": "?"}]) == [
        Tiers(1, (Tier(0, 10_000, 0.005, 0, 75), Tier(10_000, 50_000, 0.01, 50, 50)))
    ]
    (scaled,) = tell(build(), Ask(What.TIERS), [{"symbol": "ETHUSDT", "notionalCoef": 1.5, "brackets": table}])
    assert scaled == Tiers(1, (Tier(0, 15_000, 0.005, 0, 75), Tier(15_000, 75_000, 0.01, 75, 50)))
    (empty,) = tell(build(), Ask(What.TIERS), [{"symbol": "ETHUSDT", "brackets": []}])
    assert isinstance(empty, Unknown)


def test_fees_of_the_account() -> None:
    row = {"symbol": "ETHUSDT", "makerCommissionRate": "-0.00005", "takerCommissionRate": "0.0004"}
    assert tell(build(), Ask(What.FEES, 1), row) == [Fees(1, -0.00005, 0.0004)]
    (other,) = tell(build(), Ask(What.FEES, 0), row)
    assert isinstance(other, Unanswered)


def test_settings() -> None:
    rows = [{"symbol": "BTCUSDT", "leverage": 21, "marginType": "CROSSED"}, {"symbol": "OTHER", "leverage": 1}]
    assert tell(build(), Ask(What.LEVERAGE), rows) == [Leverage(0, 21, isolated=False)]
    rows = [{"symbol": "BTCUSDT", "leverage": 21, "marginType": "ISOLATED"}, {"symbol": "ETHUSDT", "leverage": 2}]
    assert tell(build(), Ask(What.LEVERAGE), rows) == [Leverage(0, 21, isolated=True), Leverage(1, 2)]
    config = {"canTrade": True, "dualSidePosition": True, "multiAssetsMargin": False}
    assert tell(build(), Ask(What.MODE), config) == [Mode(hedge=True, multi_asset=False, can_trade=True)]
    (fact,) = tell(build(), Ask(What.MODE), {"canTrade": True})
    assert isinstance(fact, Unanswered)


def test_whose_key_it_is() -> None:
    rows = [{"accountAlias": "SgsR", "asset": "USDT", "balance": "1"}]
    assert tell(build(), Ask(What.OWNER), rows) == [Owner("SgsR")]
    for unreadable in ([], [{"asset": "USDT"}], [{"accountAlias": ""}]):
        (fact,) = tell(build(), Ask(What.OWNER), unreadable)
        assert isinstance(fact, Unanswered)


RESTRICTIONS = {
    "ipRestrict": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "permitsUniversalTransfer": False,
    "enableFutures": True,
}


def test_what_the_key_may_do() -> None:
    assert tell(build(), Ask(What.RIGHTS), RESTRICTIONS) == [Rights(False, False, True, True, None)]
    more = RESTRICTIONS | {
        "ipRestrict": False,
        "enableWithdrawals": True,
        "permitsUniversalTransfer": True,
        "enableFutures": False,
        "tradingAuthorityExpirationTime": 1_790_000_000_000,
    }
    assert tell(build(), Ask(What.RIGHTS), more) == [Rights(True, True, False, False, 1_790_000_000_000 * MS)]
    (fact,) = tell(build(), Ask(What.RIGHTS), {"ipRestrict": True})
    assert isinstance(fact, Unanswered)


def test_the_troubles_of_the_service_that_knows_rights_are_not_those_of_the_exchange() -> None:
    for status in (401, 403, 418, 429, 451, 500):
        facts = tell(build(), Ask(What.RIGHTS), {"code": -1003, "msg": "no"}, status)
        assert [type(fact) for fact in facts] == [Unanswered]


def test_rights_are_asked_for_at_the_venues_own_address_or_where_the_file_says() -> None:
    assert call_for(build(), Ask(What.RIGHTS)).url.startswith("https://api.binance.com/sapi/v1/account/")
    testnet = "https://demo-fapi.binance.com"
    assert What.RIGHTS not in build(rest_url=testnet).abilities.answers
    told_where = build(rest_url=testnet, rights_url="http://127.0.0.1:9001")
    assert call_for(told_where, Ask(What.RIGHTS)).url.startswith("http://127.0.0.1:9001/sapi/")


def test_the_account() -> None:
    account = {
        "totalWalletBalance": "100.5",
        "totalMarginBalance": "-1.25",
        "totalInitialMargin": "10",
        "totalMaintMargin": "5",
        "availableBalance": "0",
        "assets": [{"asset": "USDT", "walletBalance": "100.5", "updateTime": 0}],
    }
    assert tell(build(), Ask(What.ACCOUNT), account) == [
        Margin(100.5, -1.25, 10.0, 5.0, 0.0, NOW),
        Balance("USDT", 100.5, NOW),
    ]
    row = {"positionSide": "BOTH", "maintMargin": "2.5", "notional": "625"}
    listed = [
        row | {"symbol": "ETHUSDT", "positionAmt": "-0.2"},
        row | {"symbol": "BTCUSDT", "positionAmt": "0.000"},
        row | {"symbol": "XRPUSDT", "positionAmt": "7"},
    ]
    (margin, _) = tell(build(), Ask(What.ACCOUNT), account | {"positions": listed})
    assert isinstance(margin, Margin)
    assert margin.reserves == (Reserve(1, Side.NET, 2.5),), "what the file names and the account holds"
    (fact,) = tell(build(), Ask(What.ACCOUNT), account | {"totalMaintMargin": "Infinity"})
    assert isinstance(fact, Unanswered)


def test_volumes_of_the_last_day() -> None:
    rows = [{"symbol": "OTHER", "quoteVolume": "x"}, {"symbol": "ETHUSDT", "quoteVolume": "13258734360.38"}]
    assert tell(build(), Ask(What.VOLUMES), rows) == [Volume(1, 13258734360.38)]
    for text in ("-1", "NaN", ""):
        (fact,) = tell(build(), Ask(What.VOLUMES), [{"symbol": "ETHUSDT", "quoteVolume": text}])
        assert isinstance(fact, Unknown)
        assert not fact.private


def position(symbol: str, amount: str, side: str = "BOTH", entry: str = "10.5") -> dict[str, Any]:
    return {
        "symbol": symbol, "positionSide": side, "positionAmt": amount, "entryPrice": entry, "updateTime": 3,
    }  # fmt: skip


def test_positions_one_way_and_hedged_and_strangers() -> None:
    rows = [
        position("BTCUSDT", "-0.0050"),
        position("ETHUSDT", "0.000", entry="0.0"),
        position("TRXUSDT", "30", "LONG"),
        position("TRXUSDT", "-7", "SHORT"),
        position("DOGEUSDT", "1.23456789", "LONG"),
        position("DOGEUSDT", "-2", "SHORT"),
        position("PEPEUSDT", "0.0"),
    ]
    assert tell(build(), Ask(What.POSITIONS), rows) == [
        Positions(
            (
                Position(0, Side.NET, -5, 10.5, 3 * MS),
                Position(1, Side.NET, 0, None, 3 * MS),
                Position(3, Side.LONG, 30, 10.5, 3 * MS),
                Position(3, Side.SHORT, -7, 10.5, 3 * MS),
            ),
            ("DOGEUSDT",),
            NOW,
        )
    ]


def test_an_isolated_position_has_a_wallet_of_its_own() -> None:
    rows = [
        position("BTCUSDT", "0.005") | {"isolatedWallet": "12.5", "isolatedMargin": "13.1"},
        position("ETHUSDT", "0.005") | {"isolatedWallet": "0", "isolatedMargin": "0.75"},
        position("TRXUSDT", "7") | {"isolatedWallet": "0", "isolatedMargin": "0"},
        position("ADAUSDT", "0", entry="0") | {"isolatedWallet": "0", "isolatedMargin": "0"},
    ]
    (fact,) = tell(build(), Ask(What.POSITIONS), rows)
    assert isinstance(fact, Positions)
    assert [row.isolated for row in fact.rows] == [12.5, 0.0, None, None]


@pytest.mark.parametrize(
    "row",
    [
        position("BTCUSDT", "0.0001"),
        position("BTCUSDT", "1") | {"isolatedWallet": "NaN"},
        position("BTCUSDT", "x"),
        position("BTCUSDT", "1", entry="0"),
        position("BTCUSDT", "1", side="UP"),
        position("DOGEUSDT", "NaN"),
        {"symbol": "BTCUSDT"},
    ],
)
def test_one_unreadable_position_leaves_the_question_open(row: dict[str, Any]) -> None:
    (fact,) = tell(build(), Ask(What.POSITIONS), [position("ETHUSDT", "1"), row])
    assert isinstance(fact, Unanswered), "a missing row would mean flat"


@pytest.mark.parametrize("what", [What.POSITIONS, What.ORDERS])
def test_before_the_grids_are_known_nothing_is_counted(what: What) -> None:
    (fact,) = tell(build(listed=False), Ask(what), [])
    assert isinstance(fact, Unanswered)


def test_a_position_in_a_delisted_instrument_is_a_strangers() -> None:
    dialect = build(["BTCUSDT", "GONEUSDT"], listed=False)
    tell(dialect, Ask(What.INSTRUMENTS), {"symbols": [contract("BTCUSDT")]})
    (fact,) = tell(dialect, Ask(What.POSITIONS), [position("GONEUSDT", "3")])
    assert fact == Positions((), ("GONEUSDT",), NOW)


def test_open_orders_ours_and_strangers() -> None:
    sell = ROW | {"clientOrderId": "s", "side": "SELL", "executedQty": "0.002"}
    alien = ROW | {"clientOrderId": "web_1", "symbol": "DOGEUSDT", "origQty": "1.23456789"}
    assert tell(build(), Ask(What.ORDERS), [ROW, sell, alien]) == [
        Orders(
            (
                OpenOrder(ORDER.id, "77", 0, 6, 0),
                OpenOrder("s", "77", 0, -6, 2),
                OpenOrder("web_1", "77", None, 0, 0),
            ),
            NOW,
        )
    ]


def trade(number: int, order_id: int = 77, **changes: Any) -> dict[str, Any]:
    return {
        "id": number, "orderId": order_id, "symbol": "BTCUSDT", "side": "SELL", "price": "60000.1", "qty": "0.002",
        "commission": "0.05", "commissionAsset": "BNB", "maker": True, "time": number,
    } | changes  # fmt: skip


def test_fills_come_in_order_under_our_ids() -> None:
    dialect = build()
    tell(dialect, Place(ORDER), ROW)
    facts = tell(dialect, Ask(What.TRADES, 0, since="3"), [trade(5), trade(4), trade(6, 99, side="BUY")])
    assert facts == [
        Filled(ORDER.id, 0, "4", -2, 60000.1, 0.05, "BNB", True, 2, 4 * MS),
        Filled(ORDER.id, 0, "5", -2, 60000.1, 0.05, "BNB", True, 4, 5 * MS),
        Filled("99", 0, "6", 2, 60000.1, 0.05, "BNB", True, 2, 6 * MS),
    ]
    assert dialect.acts() == []


def test_a_full_page_of_fills_has_a_next_one() -> None:
    dialect = build()
    tell(dialect, Ask(What.TRADES, 0), [trade(number) for number in range(1, 1001)])
    assert dialect.acts() == [Ask(What.TRADES, 0, since="1000")]
    tell(dialect, Ask(What.TRADES, 0, since="1000"), [trade(number) for number in range(1, 1001)])
    assert dialect.acts() == [], "no step forward, no next page"


def test_fills_of_another_symbol_are_no_answer() -> None:
    (fact,) = tell(build(), Ask(What.TRADES, 0), [trade(1, symbol="ETHUSDT")])
    assert isinstance(fact, Unanswered)


def test_the_memory_of_ids_is_bounded() -> None:
    dialect = build()
    rows = [ROW | {"orderId": number, "clientOrderId": f"n{number}"} for number in range(10_050)]
    tell(dialect, Ask(What.ORDERS), rows)
    facts = tell(dialect, Ask(What.TRADES, 0), [trade(1, 0), trade(2, 10_049)])
    assert [fact.order for fact in facts if isinstance(fact, Filled)] == ["0", "n10049"]


def test_the_whole_portfolio_is_listed() -> None:
    dialect = build(listed=False)
    (fact,) = tell(dialect, Ask(What.INSTRUMENTS), {"symbols": [contract(symbol) for symbol in reversed(SYMBOLS)]})
    assert isinstance(fact, Listed)
    assert [(one.index, one.symbol) for one in fact.instruments] == list(enumerate(SYMBOLS))
