"""What is BingX's own in its dialect; what all venues have in common is tested in tests/conformance."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.answers import Reaction
from adapters.bingx import BingX
from adapters.bingx_replies import BAN_MAX_NS, BAN_NS, SLOW_NS, silent_until, verdict_of
from adapters.bingx_topics import ACKNOWLEDGE_NS, SUBSCRIBE_NS
from agent.core.events import (
    Accepted,
    Balance,
    Elsewhere,
    Ended,
    Fact,
    Fault,
    Filled,
    Force,
    Forced,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Mode,
    Position,
    Positions,
    Quote,
    Refused,
    Rights,
    Side,
    Tiers,
    Unanswered,
    Unknown,
    Unset,
    Up,
)
from agent.core.orders import Style
from agent.core.venue import Arm, Ask, Batch, Cancel, Open, Place, Reply, Say, SetLeverage, Shut, What
from tests.adapters.binance_kit import credentials
from tests.adapters.bingx_kit import MS, NOW, S, build, call_for, contract, frame, order, packed, tell, told

ID = "1970374651259388001"
"""Of an order, by the venue: more digits than every client can count."""
MODE, POSITIONS = Ask(What.MODE), Ask(What.POSITIONS)


def params(dialect: BingX, request: Any) -> dict[str, str]:
    query = parse_qs(urlsplit(call_for(dialect, request).url).query)
    return {name: value for name, (value,) in query.items()}


# The connection


def topics(acts: list[Any]) -> list[str]:
    return [json.loads(act.text)["dataType"] for act in acts if isinstance(act, Say)]


def test_topics_are_subscribed_to_at_the_venues_pace_and_again_without_a_word() -> None:
    dialect = build(("BTC-USDT", "LTC-USDT"), depth=True)
    assert dialect.abilities.sockets == ("market", "public", "private")
    assert dialect.on_open("public", NOW) == []
    said, now = topics(dialect.acts()), NOW
    while len(said) < 4:
        assert dialect.wake_at == now + SUBSCRIBE_NS
        now += SUBSCRIBE_NS
        dialect.on_wake(now)
        said += topics(dialect.acts())
    assert said == ["BTC-USDT@bookTicker", "LTC-USDT@bookTicker", "BTC-USDT@depth20@200ms", "LTC-USDT@depth20@500ms"]
    for topic in said[1:]:
        assert frame(dialect, "public", {"id": topic, "code": 0, "msg": "", "dataType": "", "data": None}) == []
    assert dialect.wake_at == NOW + ACKNOWLEDGE_NS
    dialect.on_wake(NOW + ACKNOWLEDGE_NS)
    assert topics(dialect.acts()) == said[:1]
    dialect.on_close("public", "gone", now)
    assert dialect.wake_at is None


def test_sockets_are_as_many_as_the_topics_demand_and_marks_share_one() -> None:
    names = tuple(f"C{number}-USDT" for number in range(150))
    assert build(names, depth=True).abilities.sockets == ("market", "public", "public1", "private")
    with pytest.raises(ValueError, match="between 1 and 200"):
        build(tuple(f"C{number}-USDT" for number in range(201)))


def test_a_refused_subscription_is_said_to_be_so() -> None:
    (fact,) = frame(build(), "market", {"id": "x", "code": 80403, "msg": "too many topics"})
    assert isinstance(fact, Unknown)
    assert not fact.private
    assert "80403" in fact.what


def test_greetings_are_given_back() -> None:
    dialect = build()
    assert dialect.on_frame("private", packed(b"Ping"), NOW) == []
    assert frame(dialect, "market", {"ping": "5963ba", "time": "2023"}) == []
    assert dialect.acts() == [Say("private", "Pong"), Say("market", '{"pong":"5963ba","time":"2023"}')]


@pytest.mark.parametrize(
    "data", [packed(b"{}" * 2**22), packed(b"{}")[:-4], b"\x1f\x8b", packed(b"[]"), packed(b"ping")]
)
def test_what_cannot_be_unpacked_or_read_is_said_to_be_so(data: bytes) -> None:
    (fact,) = build().on_frame("private", data, NOW)
    assert isinstance(fact, Unknown)
    assert fact.private


def test_the_first_event_proves_a_market_socket_and_an_index_stands_for_a_while() -> None:
    dialect = build(keyed=False)
    mark = {"dataType": "BTC-USDT@markPrice", "data": {"e": "markPriceUpdate", "E": 7, "s": "BTC-USDT", "p": "100.5"}}
    dialect.on_open("market", NOW)
    assert frame(dialect, "market", mark) == [Up("market"), Mark(0, 100.5, None, 7 * MS)]
    row = {"symbol": "BTC-USDT", "markPrice": "99", "indexPrice": "98.5"}
    tell(dialect, Ask(What.PRICES), {"data": [row]})
    assert frame(dialect, "market", mark, NOW + 14 * S) == [Mark(0, 100.5, 98.5, 7 * MS)]
    assert frame(dialect, "market", mark, NOW + 15 * S) == [Mark(0, 100.5, None, 7 * MS)]
    mark["data"]["s"] = "ETH-USDT"  # type: ignore[index]
    assert isinstance(frame(dialect, "market", mark)[0], Unknown)


def test_a_quote_that_is_older_than_the_last_is_dropped_until_the_socket_is_new() -> None:
    dialect = build(keyed=False)

    def quote(update: int) -> list[Fact]:
        data = {"e": "bookTicker", "u": update, "E": 9, "s": "ETH-USDT", "b": "1", "B": "2", "a": "3", "A": "4"}
        return frame(dialect, "public", {"dataType": "ETH-USDT@bookTicker", "data": data})

    assert quote(5) == [Quote(1, 1.0, 2.0, 3.0, 4.0, 9 * MS)]
    assert quote(5) == quote(4) == []
    dialect.on_open("public", NOW)
    assert len(quote(4)) == 2


def test_the_life_of_a_listen_key() -> None:
    dialect = build()
    ask = dialect.connect("private", NOW)
    assert ask == Ask(What.KEY)
    call = call_for(dialect, ask)
    assert (call.method, call.conceal) == ("POST", '{"listenKey":"concealed"}')
    assert told(dialect, call, b'{"listenKey":"abc"}') == []
    url = "wss://open-api-swap.bingx.com/swap-market?listenKey=abc"
    assert [act for act in dialect.acts() if isinstance(act, Open)] == [Open("private", url, 20 * S)]
    assert dialect.wake_at == NOW + 1_800 * S
    dialect.on_wake(NOW + 1_800 * S)
    assert dialect.acts() == [Ask(What.KEY)]
    call = call_for(dialect, ask)
    assert call.method == "PUT"
    assert call.url.endswith("userDataStream?listenKey=abc")
    assert dialect.on_reply(call, Reply(200, {}, b""), NOW) == []
    assert dialect.acts() == []
    assert isinstance(told(dialect, call, {"code": 100500})[0], Unanswered)
    assert dialect.acts() == [], "busy is not gone"
    for reply in (Reply(404, {}, b""), Reply(204, {}, b"")):
        dialect.on_reply(call, reply, NOW)
        assert isinstance(dialect.acts()[0], Shut)
    assert call_for(dialect, ask).method == "POST", "a dead key is not renewed"


# What the account is


def test_the_mode_takes_two_questions() -> None:
    dialect = build(hedge=None)
    assert "/assetMode?" in call_for(dialect, MODE).url
    assert tell(dialect, MODE, {"data": {"assetMode": "singleAssetMode"}}) == []
    assert dialect.acts() == [MODE]
    assert "/positionSide/dual?" in call_for(dialect, MODE).url
    assert tell(dialect, MODE, {"data": {"dualSidePosition": "true"}}) == [
        Mode(hedge=True, multi_asset=False, can_trade=None)
    ]
    assert dialect.acts() == []
    assert "/assetMode?" in call_for(dialect, MODE).url, "and both are asked again"


WALLET = {
    "userId": "7",
    "asset": "USDT",
    "balance": "100",
    "equity": 101.5,
    "usedMargin": "3",
    "freezedMargin": "2",
    "availableMargin": "96.5",
}


def test_an_account_of_many_assets_or_of_an_unknown_mode_is_not_valued() -> None:
    for many, word in ((None, "not known"), (True, "many collateral assets")):
        dialect = build(hedge=None)
        if many:
            tell(dialect, MODE, {"data": {"assetMode": "multiAssetsMode"}})
        (fact,) = tell(dialect, Ask(What.ACCOUNT), {"data": [WALLET]})
        assert isinstance(fact, Unanswered)
        assert word in fact.reason


def test_money_of_the_demo_environment_stands_for_that_of_its_contracts() -> None:
    assert tell(build(), Ask(What.ACCOUNT), {"data": [WALLET]}) == [
        Margin(100.0, 101.5, 5.0, None, 96.5, NOW, held=3.0),
        Balance("USDT", 100.0, NOW),
    ]
    own = {"data": [WALLET | {"asset": "VST"}]}
    assert isinstance(tell(build(), Ask(What.ACCOUNT), own)[0], Unanswered)
    demo = build(rest_url="https://open-api-vst.bingx.com", stream_url="wss://vst-open-api-ws.bingx.com/swap-market")
    assert tell(demo, Ask(What.ACCOUNT), own)[1] == Balance("USDT", 100.0, NOW)


@pytest.mark.parametrize(
    ("rest", "stream", "word"),
    [
        ("https://open-api-vst.bingx.com", "wss://open-api-swap.bingx.com/swap-market", "two environments"),
        ("https://open-api.bingx.com", "wss://vst-open-api-ws.bingx.com/swap-market", "two environments"),
        ("http://127.0.0.1:1", "wss://open-api-swap.bingx.com/swap-market", "two environments"),
        ("https://open-api.bingx.com.evil.example", "wss://open-api-swap.bingx.com", "is not BingX"),
        ("http://open-api.bingx.com", "wss://open-api-swap.bingx.com", "is not BingX"),
    ],
)
def test_addresses_are_the_venues_and_of_one_environment(rest: str, stream: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        build(rest_url=rest, stream_url=stream)


def test_a_key_has_rights_and_an_owner() -> None:
    rights = {"apiKey": "k", "permissions": [1, 2, 3, 7], "ipAddresses": ["1.2.3.4"], "note": ""}
    assert told(build(), call_for(build(), Ask(What.RIGHTS)), json.dumps(rights).encode()) == [
        Rights(withdraw=False, transfer=True, trade=True, bound=True, expires_at=None)
    ]
    assert tell(build(), Ask(What.RIGHTS), rights | {"code": 100004}) == [Unanswered("rights", "100004", None)]


def position(**changes: Any) -> dict[str, Any]:
    return {
        "symbol": "BTC-USDT",
        "positionAmt": "0.5",
        "positionSide": "SHORT",
        "avgPrice": "100",
        "initialMargin": "10",
        "margin": "12",
        "unrealizedProfit": "2",
        "isolated": False,
        "updateTime": 5,
    } | changes


def held(dialect: BingX, *rows: dict[str, Any]) -> Fact:
    (fact,) = tell(dialect, POSITIONS, {"data": list(rows)})
    return fact


def test_positions_have_their_sign_from_their_side_and_their_row_from_the_mode() -> None:
    wallet = held(build(), position(isolated=True))
    assert isinstance(wallet, Positions)
    assert wallet.rows == (Position(0, Side.NET, -5_000, 100.0, 5 * MS, 10.0),)
    both = held(build(hedge=True), position(), position(positionSide="LONG"), position(symbol="XYZ-USDT"))
    assert isinstance(both, Positions)
    assert [(row.side, row.lots, row.isolated) for row in both.rows] == [
        (Side.SHORT, -5_000, None),
        (Side.LONG, 5_000, None),
    ]
    assert both.strangers == ("XYZ-USDT",)
    flat = held(build(), position(positionAmt="0", avgPrice=""))
    assert isinstance(flat, Positions)
    assert [(row.lots, row.entry) for row in flat.rows] == [(0, None)]


@pytest.mark.parametrize(
    ("hedge", "rows"),
    [
        (None, [position()]),
        (False, [position(), position(positionSide="LONG")]),
        (False, [position(positionSide="BOTH")]),
        (True, [position(positionSide="BOTH", positionAmt="-1")]),
    ],
)
def test_positions_that_do_not_fit_the_mode_are_no_answer(hedge: bool | None, rows: list[dict[str, Any]]) -> None:
    dialect = build(hedge=hedge)
    assert isinstance(held(dialect, *rows), Unanswered)
    assert hedge is None or dialect.acts() == [MODE]


def test_what_happens_on_other_instruments_is_told_as_that() -> None:
    dialect = build(("BTC-USDT",))
    row = {"s": "LTC-USDT", "pa": "1", "ep": "2", "ps": "LONG"}
    assert frame(dialect, "private", {"e": "ACCOUNT_UPDATE", "E": 1, "a": {"m": "ORDER", "P": [row]}}) == [
        Elsewhere("LTC-USDT")
    ]
    assert frame(dialect, "private", event(s="LTC-USDT")) == [Elsewhere("LTC-USDT")]


def test_settings_are_told_for_both_sides_and_the_smaller_counts() -> None:
    setting = {"s": "BTC-USDT", "l": 4, "S": 20, "mt": "Cross"}
    assert frame(build(), "private", {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "ac": setting}) == [
        Leverage(0, 4, isolated=False)
    ]
    (fact,) = build(hedge=True).perform(SetLeverage(0, 5), NOW)  # type: ignore[misc]
    assert isinstance(fact, Unset)


# Orders


def event(**changes: Any) -> dict[str, Any]:
    fields = {
        "s": "BTC-USDT", "c": "mine", "i": int(ID), "S": "SELL", "o": "LIMIT", "q": "1", "p": "9",
        "x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.5", "L": "9.5", "z": "0.6", "n": "-0.01", "N": "USDT", "td": 77,
    }  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": 20, "T": 10, "o": fields | changes}


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({}, [Filled("mine", 0, "77", -5_000, 9.5, 0.01, "USDT", None, 6_000, 10 * MS)]),
        (
            {"td": 0, "X": "FILLED"},
            [
                Filled("mine", 0, f"{ID}:6000", -5_000, 9.5, 0.01, "USDT", None, 6_000, 10 * MS),
                Ended("mine", "filled", 6_000, 10 * MS),
            ],
        ),
        ({"l": ""}, [Accepted("mine", ID, 6_000, 10 * MS)]),
        ({"c": "", "x": "NEW", "X": "NEW", "z": "0"}, [Accepted(ID, ID, 0, 10 * MS)]),
        (
            {"x": "CANCELED", "X": "CANCELLED"},
            [Accepted("mine", ID, 6_000, 10 * MS), Ended("mine", "cancelled", 6_000, 10 * MS)],
        ),
        (
            {"o": "ADL", "c": "", "i": 5},
            [
                Forced("5", Force.DELEVERAGING, "BTC-USDT", 10 * MS),
                Filled("5", 0, "77", -5_000, 9.5, 0.01, "USDT", None, 6_000, 10 * MS),
            ],
        ),
    ],
)  # fmt: skip
def test_order_events(changes: dict[str, Any], facts: list[Fact]) -> None:
    assert frame(build(), "private", event(**changes)) == facts


@pytest.mark.parametrize("changes", [{"X": "Unknown"}, {"x": "STRANGE"}, {"l": "0"}, {"z": "-1"}, {"z": "0.00001"}])
def test_order_events_that_cannot_be_read_are_said_to_be_so_and_force_is_told_nevertheless(
    changes: dict[str, Any],
) -> None:
    (fact,) = frame(build(), "private", event(**changes))
    assert isinstance(fact, Unknown)
    assert fact.private
    forced, unread = frame(build(), "private", event(o="LIQUIDATION", **changes))
    assert isinstance(forced, Forced)
    assert isinstance(unread, Unknown)


def test_an_order_on_the_wire() -> None:
    dialect = build()
    plain = {"symbol": "BTC-USDT", "side": "BUY", "positionSide": "BOTH", "clientOrderId": order().id}
    limit = {"type": "LIMIT", "timeInForce": "IOC", "quantity": "0.0006", "price": "60000.1", "recvWindow": "3000"}
    sent = params(dialect, Place(order()))
    assert len(sent.pop("signature")) == 64
    assert sent.pop("timestamp") == str(NOW // MS)
    assert sent == plain | limit
    post = params(dialect, Place(order(style=Style.POST, reduce=True, lots=-6, expires_at=NOW + S)))
    assert (post["timeInForce"], post["reduceOnly"], post["side"], post["recvWindow"]) == (
        "PostOnly", "true", "SELL", "999",
    )  # fmt: skip
    market = params(dialect, Place(order(style=Style.MARKET, ticks=None, side=Side.SHORT, reduce=True)))
    assert (market["type"], market["positionSide"]) == ("MARKET", "SHORT")
    assert not {"price", "timeInForce", "reduceOnly"} & market.keys(), "the side says it, and more is refused"
    (late,) = dialect.perform(Place(order(expires_at=NOW)), NOW)  # type: ignore[misc]
    assert isinstance(late, Refused)
    assert late.fault is Fault.BUSY


def test_an_acknowledgement_may_leave_out_our_id_but_not_name_another() -> None:
    def placed(**row: Any) -> Fact:
        (fact,) = tell(build(), Place(order()), {"data": {"order": {"symbol": "BTC-USDT", "orderId": 2**60 + 1} | row}})
        return fact

    accepted = Accepted(order().id, str(2**60 + 1), 0, NOW)
    assert placed() == placed(clientOrderID=order().id) == placed(clientOrderId=order().id.upper()) == accepted
    for row in ({"clientOrderId": "another"}, {"symbol": "ETH-USDT"}, {"orderId": 0}):
        assert isinstance(placed(**row), Lost)


def test_a_batch_is_answered_in_any_order() -> None:
    mine = tuple(order(id=name) for name in ("a", "b", "c", "d"))
    rows = [
        {"symbol": "BTC-USDT", "orderId": 0, "clientOrderId": "c", "code": 101204, "msg": "margin"},
        {"symbol": "BTC-USDT", "orderId": 9, "clientOrderId": "a"},
        {"symbol": "BTC-USDT", "orderId": 0, "clientOrderId": "d", "code": 109500, "msg": "busy"},
    ]
    facts = tell(build(), Batch(mine), {"data": {"orders": rows}})
    assert [type(fact) for fact in facts] == [Accepted, Lost, Refused, Lost]
    assert [fact.order for fact in facts] == ["a", "b", "c", "d"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "code", "text", "verdict"),
    [
        (200, 101209, "The maximum position value is exceeded", Fault.MARGIN),
        (200, 101209, "Same order number within 1 second", Reaction.TWIN),
        (200, 100410, "rate limited", Reaction.SLOW),
        (200, 100410, "The current system is busy, please try again later", Reaction.UNKNOWN),
        (200, 109400, "timestamp is invalid", Fault.CLOCK),
        (200, 80014, "timestamp is invalid", Fault.CLOCK),
        (200, 100421, "This pair is currently restricted from API trading", Fault.CLOSED),
        (200, 123456, "something new", Reaction.UNKNOWN),
        (500, 101204, "Insufficient margin", Reaction.UNKNOWN),
        (504, None, "", Reaction.UNKNOWN),
        (403, None, "<html>", Reaction.BANNED),
        (418, 100410, "", Reaction.BANNED),
        (404, None, "", Reaction.UNKNOWN),
    ],
)
def test_words_and_statuses_that_change_what_a_code_means(
    status: int, code: int | None, text: str, verdict: Fault | Reaction
) -> None:
    assert verdict_of(status, code, text) is verdict


def test_silence_lasts_as_long_as_the_venue_says_or_for_a_while() -> None:
    for words in ("is in the disabled period and will be unblocked after", "can retry after time:"):
        until = silent_until(f"{words} {NOW // MS + 7_000}", NOW, 2 * S, banned=False)
        assert until == NOW + 5 * S, "by our clock"
    assert silent_until("unblocked after 9999999999999", NOW, 0, banned=True) == NOW + BAN_MAX_NS
    assert silent_until("unblocked after 1000000000000", NOW, 0, banned=True) == NOW
    assert silent_until("", NOW, 0, banned=False) == NOW + SLOW_NS
    assert silent_until("", NOW, 0, banned=True) == NOW + BAN_NS


def test_a_wrong_mode_or_clock_is_asked_about() -> None:
    dialect = build()
    tell(dialect, Place(order()), {"code": 109400, "msg": "the 'PositionSide' field can only be set to BOTH."})
    tell(dialect, Cancel("x", 0), {"code": 100421, "msg": "timestamp mismatch"})
    assert dialect.acts() == [MODE, Ask(What.TIME)]


def test_the_accounts_one_switch_is_released_by_the_last_instrument_that_wants_it() -> None:
    dialect = build()
    wait = [params(dialect, Arm(index, ms))["timeOut"] for index, ms in ((0, 30_001), (1, 1_000), (1, 500_000))]
    assert wait == ["31", "10", "120"]
    assert dialect.perform(Arm(0, 0), NOW) == []
    assert params(dialect, Arm(1, 0))["type"] == "CLOSE"
    assert params(dialect, Arm(1, 0))["type"] == "CLOSE", "should the first have been lost"


# Rules


def test_contracts_come_with_numbers_as_text_too_and_those_that_do_not_trade_are_said_to() -> None:
    texts = {name: str(contract("")[name]) for name in ("quantityPrecision", "pricePrecision", "maxLongLeverage")}
    rows = [contract("BTC-USDT", **texts, status="1", tradeMinQuantity="0.00015", tradeMinUSDT="2")]
    rows += [contract("ETH-USDT", status=25), contract("LTC-USDT", apiStateOpen="false"), contract("NEW-USDT")]
    (listed, *_) = tell(build(), Ask(What.INSTRUMENTS), {"data": rows})
    assert isinstance(listed, Listed)
    assert [(one.symbol, one.trading) for one in listed.instruments] == [
        ("BTC-USDT", True), ("ETH-USDT", False), ("LTC-USDT", False),
    ]  # fmt: skip
    assert listed.instruments[0].min_lots == 2, "rounded up"
    assert isinstance(tell(build(), Ask(What.INSTRUMENTS), {"data": []})[0], Unanswered)


def test_a_margin_table_has_its_leverage_assumed_and_no_more_than_the_contracts() -> None:
    def line(low: str, high: str, rate: str, less: str) -> dict[str, str]:
        names = ("minPositionVal", "maxPositionVal", "maintMarginRatio", "maintAmount")
        return {"symbol": "BTC-USDT", "tier": "1"} | dict(zip(names, (low, high, rate, less), strict=True))

    (tiers,) = tell(
        build(),
        Ask(What.TIERS, 0),
        {"data": [line("150000", "900000", "0.0065", "405"), line("0", "150000", "0.0038", "0")]},
    )
    assert isinstance(tiers, Tiers)
    assert [(one.cap, one.leverage) for one in tiers.tiers] == [(150_000, 100), (900_000, 76)]


def test_an_interval_that_is_not_told_beside_the_prices_is_seen_in_the_last_settlements() -> None:
    dialect = build(("BTC-USDT", "ETH-USDT"))
    row = {"markPrice": "1", "indexPrice": "1", "lastFundingRate": "0", "nextFundingTime": 9}
    rows = [row | {"symbol": "BTC-USDT", "fundingIntervalHours": "4"}, row | {"symbol": "ETH-USDT"}]
    assert tell(dialect, Ask(What.INTERVALS), {"data": rows}) == [Interval(0, 4.0)]
    assert dialect.acts() == [Ask(What.INTERVALS, 1)]
    past = [{"symbol": "ETH-USDT", "fundingTime": hours * 3_600_000} for hours in (32, 24, 16)]
    assert tell(dialect, Ask(What.INTERVALS, 1), {"data": past}) == [Interval(1, 8.0)]
    assert isinstance(tell(dialect, Ask(What.INTERVALS, 1), {"data": past[:1]})[0], Unanswered)


def test_a_pem_key_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="BingX takes the secret"):
        build(credentials=credentials("-----BEGIN PRIVATE KEY-----"))
