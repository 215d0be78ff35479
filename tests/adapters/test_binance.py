"""The connection: addresses, subscriptions, keys, rotation, the clock, budgets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.binance import Binance
from adapters.binance_terms import LIMITS
from adapters.offset import DRIFT_PPM
from agent.core.events import Clock, Down, Fault, Lost, Quote, Refused, Unanswered, Unarmed, Unset, Up
from agent.core.venue import (
    Arm,
    Ask,
    Batch,
    Cancel,
    Credentials,
    Dialect,
    Lane,
    Open,
    Place,
    Request,
    Say,
    Secret,
    SetLeverage,
    Shut,
    What,
)
from tests.adapters.binance_kit import MS, NOW, S, build, call_for, credentials, frame, order, params, tell, told
from tests.faults.striking import Struck

HOUR = 3_600 * S
TICKER = {"e": "bookTicker", "u": 1, "s": "BTCUSDT", "b": "1", "B": "2", "a": "3", "A": "4", "T": 5, "E": 6}
SOMETHING = {"listenKey": "abcDEF0123"}


def test_it_keeps_the_contract() -> None:
    dialect: Dialect = build()
    assert dialect.name == "binance"
    assert dialect.abilities.sockets == ("public", "market", "private")
    assert dialect.abilities.answers == frozenset(What)
    assert {one.name: (one.capacity, one.window_ns // S) for one in dialect.buckets} == {
        "weight_1m": (2400, 60),
        "orders_10s": (300, 10),
        "orders_1m": (1200, 60),
        "funding_5m": (500, 300),
        "rights_1m": (60, 60),
    }


def test_without_a_key_it_answers_public_questions_only() -> None:
    dialect = build(keyed=False)
    assert dialect.abilities.sockets == ("public", "market")
    assert dialect.abilities.answers == {What.TIME, What.INSTRUMENTS, What.PRICES, What.INTERVALS, What.VOLUMES}
    assert dialect.perform(Ask(What.ACCOUNT), NOW) == [Unanswered("account", "no key is configured")]
    assert dialect.perform(Ask(What.KEY), NOW) == [Unanswered("key", "no key is configured")]
    assert dialect.perform(Arm(0, 1), NOW) == [Unarmed(0, "no key is configured")]
    placed = Place(order())
    assert dialect.perform(placed, NOW) == [Refused(order().id, "", "no key is configured", Fault.ACCOUNT)]
    assert dialect.perform(Cancel("x", 0), NOW) == [Lost("x", "cancel: no key is configured")]
    assert dialect.perform(SetLeverage(0, 5), NOW) == [Unset(0, 5, "no key is configured")]


@pytest.mark.parametrize(
    "url",
    [
        "https://fapi.binance.com",
        "https://demo-fapi.binance.com/",
        "https://testnet.binancefuture.com",
        "http://127.0.0.1:9001",
        "http://localhost:9001/binance",
        "http://[::1]:9001",
        "https://127.0.0.1:9001",
    ],
)
def test_it_talks_to_the_venue_and_to_this_machine(url: str) -> None:
    stream = "wss://fstream.binance.com" if "binance.com" in url else "ws://localhost"
    stream = "wss://stream.binancefuture.com" if "future" in url else stream
    call = call_for(build(listed=False, rest_url=url, stream_url=stream), Ask(What.TIME))
    assert call.url == url.rstrip("/") + "/fapi/v1/time"


@pytest.mark.parametrize(
    "url",
    [
        "http://fapi.binance.com",
        "https://fapi.binance.com.evil.example",
        "https://fapi-binance.com",
        "https://notbinance.com",
        "https://fapi.binance.com@evil.example",
        "https://user@fapi.binance.com",
        "https://evil.example\\.binance.com",
        "https://evil.example#.binance.com",
        "https://evil.example/?x=.binance.com",
        "https://10.0.0.1:9001",
        "http://localhost.evil.example",
        "wss://fapi.binance.com",
        "ftp://127.0.0.1",
        "https://fapi.binance.com:port",
        "https://[::1",
        "fapi.binance.com",
        "",
    ],
)
@pytest.mark.fault("H9")
def test_an_address_elsewhere_is_refused_with_the_cure(url: str, struck: Struck) -> None:
    struck("H9")
    with pytest.raises(ValueError, match=r"rest_url: .*https://"):
        build(listed=False, rest_url=url)


@pytest.mark.fault("H9")
def test_streams_are_pinned_as_well(struck: Struck) -> None:
    struck("H9", 2)
    with pytest.raises(ValueError, match=r"stream_url: .*wss://"):
        build(listed=False, stream_url="wss://stream.example")
    build(listed=False, rest_url="http://127.0.0.1:9001", stream_url="ws://127.0.0.1:9001")
    with pytest.raises(ValueError, match="two environments"):
        build(listed=False, stream_url="ws://127.0.0.1:9001")


@pytest.mark.parametrize(
    ("symbols", "options", "words"),
    [
        ([], {}, "symbols"),
        (["A", "A"], {}, "symbols"),
        ([""], {}, "symbols"),
        ([f"S{n}" for n in range(501)], {}, "symbols"),
        (["A"], {"recv_window_ms": 0}, "recv_window_ms"),
        (["A"], {"recv_window_ms": 60_001}, "recv_window_ms"),
    ],
)
def test_bad_settings_name_the_cure(symbols: list[str], options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Binance(symbols=symbols, credentials=None, **options)


def test_a_few_streams_stand_in_the_address() -> None:
    dialect = build(["BTCUSDT", "ETHUSDT"], depth=True)
    assert dialect.connect("market", NOW) == Open(
        "market",
        "wss://fstream.binance.com/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s/!contractInfo",
        10 * S,
    )
    assert dialect.connect("public", NOW) == Open(
        "public",
        "wss://fstream.binance.com/public/stream?streams="
        "btcusdt@bookTicker/ethusdt@bookTicker/btcusdt@depth20@100ms/ethusdt@depth20@100ms",
        60 * S,
    )
    assert dialect.on_open("market", NOW) == []
    assert dialect.acts() == []


def test_many_streams_are_subscribed_in_few_messages() -> None:
    symbols = [f"COIN{n}USDT" for n in range(450)]
    dialect = build(symbols, depth=True)
    opening = dialect.connect("public", NOW)
    assert isinstance(opening, Open)
    assert opening.url == "wss://fstream.binance.com/public/stream"
    dialect.on_open("public", NOW)
    said = [json.loads(act.text) for act in dialect.acts() if isinstance(act, Say)]
    assert [len(one["params"]) for one in said] == [200, 200, 200, 200, 100]
    assert [one["id"] for one in said] == [1, 2, 3, 4, 5]
    assert {one["method"] for one in said} == {"SUBSCRIBE"}
    streams = [stream for one in said for stream in one["params"]]
    assert len(set(streams)) == 900
    assert "coin7usdt@bookTicker" in streams


def test_symbols_that_are_not_ascii_are_encoded() -> None:
    opening = build(["测试USDT"]).connect("public", NOW)
    assert isinstance(opening, Open)
    assert opening.url.endswith("streams=%E6%B5%8B%E8%AF%95usdt@bookTicker")


def test_a_market_socket_is_up_with_its_first_event_not_with_an_acknowledgement() -> None:
    dialect = build()
    for life in (1, 2):
        assert dialect.on_open("public", NOW) == []
        assert dialect.on_frame("public", b'{"result":null,"id":1}', NOW) == []
        assert "Unknown" in str(frame(dialect, "public", {"e": "bookTicker"}))
        facts = frame(dialect, "public", TICKER)
        assert facts[0] == Up("public"), life
        assert isinstance(facts[1], Quote)
        assert frame(dialect, "public", TICKER) == []
        assert dialect.on_close("public", "gone", NOW) == [Down("public", "gone")]


def test_the_private_socket_opens_with_the_key_that_was_asked_for() -> None:
    dialect = build()
    asked = dialect.connect("private", NOW)
    assert asked == Ask(What.KEY)
    call = call_for(dialect, asked)
    assert (call.method, call.url) == ("POST", "https://fapi.binance.com/fapi/v1/listenKey")
    assert call.headers == (("X-MBX-APIKEY", "key-of-the-test"),)
    assert call.conceal is not None
    assert told(dialect, call, SOMETHING) == []
    assert dialect.acts() == [Open("private", "wss://fstream.binance.com/private/ws/abcDEF0123", None)]
    assert dialect.on_open("private", NOW) == [Up("private")]


def keyed() -> Binance:
    dialect = build()
    dialect.connect("private", NOW)
    tell(dialect, Ask(What.KEY), SOMETHING)
    dialect.acts()
    dialect.on_open("private", NOW)
    return dialect


def test_the_key_is_renewed_every_half_hour() -> None:
    dialect = keyed()
    assert dialect.wake_at == NOW + HOUR // 2
    dialect.on_wake(NOW + HOUR // 2 - 1)
    assert dialect.acts() == []
    dialect.on_wake(NOW + HOUR // 2)
    assert dialect.acts() == [Ask(What.KEY)]
    assert dialect.wake_at == NOW + HOUR // 2 + 10 * S, "asked again soon, unless it is answered"
    call = call_for(dialect, Ask(What.KEY))
    assert call.method == "PUT"
    for body in (SOMETHING, {}):
        assert told(dialect, call, body, now=NOW + HOUR // 2) == []
        assert dialect.acts() == []
    assert dialect.wake_at == NOW + HOUR


def test_a_key_that_is_gone_is_replaced_and_the_socket_opened_anew() -> None:
    dialect = keyed()
    call = call_for(dialect, Ask(What.KEY))
    facts = told(dialect, call, {"code": -1125, "msg": "This listenKey does not exist."}, 400)
    assert facts == [Unanswered("key", "-1125 This listenKey does not exist.")]
    assert dialect.acts() == [Shut("private", "its key is gone")]
    dialect.on_close("private", "shut", NOW)
    asked = dialect.connect("private", NOW)
    assert asked == Ask(What.KEY)
    again = call_for(dialect, asked)
    assert again.method == "POST"
    told(dialect, again, {"listenKey": "fresh"})
    assert dialect.acts() == [Open("private", "wss://fstream.binance.com/private/ws/fresh", None)]


def test_an_expired_key_closes_the_stream() -> None:
    dialect = keyed()
    assert frame(dialect, "private", {"e": "listenKeyExpired", "E": 1, "listenKey": "abcDEF0123"}) == [
        Down("private", "its key has expired")
    ]
    assert dialect.acts() == [Shut("private", "its key has expired")]
    assert call_for(dialect, Ask(What.KEY)).method == "POST"


def test_another_key_means_another_socket() -> None:
    dialect = keyed()
    tell(dialect, Ask(What.KEY), {"listenKey": "other"})
    assert dialect.acts() == [Shut("private", "its key has changed")]


@pytest.mark.parametrize("body", [{}, {"listenKey": ""}, {"listenKey": "a b"}, {"listenKey": 7}, b"<html>"])
def test_an_answer_without_a_key_is_no_answer_and_is_asked_again(body: Any) -> None:
    dialect = build()
    dialect.connect("private", NOW)
    (fact,) = tell(dialect, Ask(What.KEY), body)
    assert isinstance(fact, Unanswered)
    assert dialect.acts() == []
    assert dialect.wake_at == NOW + 10 * S
    dialect.on_wake(NOW + 10 * S)
    assert dialect.acts() == [Ask(What.KEY)]
    assert call_for(dialect, Ask(What.KEY)).method == "POST"


def test_a_key_never_shows_in_a_fact() -> None:
    dialect = keyed()
    call = call_for(dialect, Ask(What.KEY))
    facts = told(dialect, call, b'{"listenKey":"abcDEF0123", garbage')
    facts += dialect.on_silence(call, True, "reset", NOW)
    assert "abcDEF0123" not in str(facts)


def test_the_key_is_never_deleted() -> None:
    dialect = keyed()
    dialect.on_close("private", "bye", NOW)
    dialect.on_wake(NOW + 50 * HOUR)
    assert not any(isinstance(act, Ask) and call_for(dialect, act).method == "DELETE" for act in dialect.acts())


def test_sockets_are_renewed_one_by_one_before_a_day_is_over() -> None:
    dialect = build()
    shut: dict[str, int] = {}
    for socket in dialect.abilities.sockets:
        dialect.on_open(socket, NOW)
    dialect.acts()
    while (at := dialect.wake_at) is not None:
        dialect.on_wake(at)
        shut |= {act.socket: (at - NOW) // S for act in dialect.acts() if isinstance(act, Shut)}
    assert shut == {"public": 84_600, "market": 84_000, "private": 83_400}


def test_the_quickest_of_the_last_eight_round_trips_knows_the_clock_best() -> None:
    dialect = build()
    call = call_for(dialect, Ask(What.TIME), NOW)
    slow = told(dialect, call, {"serverTime": NOW // MS + 5_000}, now=NOW + 400 * MS)
    assert slow == [Clock(5 * S - 200 * MS, 200 * MS)]
    quick = told(dialect, call, {"serverTime": NOW // MS + 5_000}, now=NOW + 40 * MS)
    assert quick == [Clock(5 * S - 20 * MS, 20 * MS)]
    drifted = 260 * MS * DRIFT_PPM // 1_000_000
    later = told(dialect, call, {"serverTime": NOW // MS + 5_000}, now=NOW + 300 * MS)
    assert later == [Clock(5 * S - 20 * MS, 20 * MS + drifted)]
    assert params(call_for(dialect, Ask(What.MODE)))["timestamp"] == str(NOW // MS + 4_980)
    for _ in range(8):
        last = told(dialect, call, {"serverTime": NOW // MS + 4_900}, now=NOW + 300 * MS)
    assert last == [Clock(4_750 * MS, 150 * MS)], "the quick one is forgotten"


def test_a_measurement_that_the_newest_contradicts_is_from_before_a_clock_was_set() -> None:
    dialect = build()
    call = call_for(dialect, Ask(What.TIME), NOW)
    told(dialect, call, {"serverTime": NOW // MS}, now=NOW + 2 * MS)
    assert told(dialect, call, {"serverTime": NOW // MS - 300_000}, now=NOW + 100 * MS) == [
        Clock(-300 * S - 50 * MS, 50 * MS)
    ]


def test_a_measurement_loses_to_a_slower_one_as_it_ages() -> None:
    dialect = build()
    told(dialect, call_for(dialect, Ask(What.TIME), NOW), {"serverTime": NOW // MS}, now=NOW + 2 * MS)
    later = NOW + 600 * S
    told_later = told(
        dialect, call_for(dialect, Ask(What.TIME), later), {"serverTime": later // MS}, now=later + 80 * MS
    )
    assert told_later == [Clock(-40 * MS, 40 * MS)]


def test_a_clock_that_went_backwards_measures_nothing() -> None:
    dialect = build()
    (fact,) = told(dialect, call_for(dialect, Ask(What.TIME), NOW), {"serverTime": 1}, now=NOW - 1)
    assert isinstance(fact, Unanswered)


def test_what_saves_goes_first_and_everything_has_its_price() -> None:
    dialect = build()
    one, out = order(), order(reduce=True)
    lanes: dict[Lane, list[Request]] = {
        Lane.RESCUE: [Cancel("x", 0), Place(out), Batch((out, out)), Arm(0, 1)],
        Lane.RESOLVE: [Ask(What.ORDER, 0, "x"), Ask(What.KEY)],
        Lane.CREATE: [Place(one), Batch((one, out)), SetLeverage(0, 5)],
        Lane.REFRESH: [Ask(what) for what in What if what not in (What.ORDER, What.KEY)],
    }
    for lane, requests in lanes.items():
        assert {dialect.weigh(request).lane for request in requests} == {lane}
    weights: dict[What, dict[str, int]] = {what: dict(dialect.weigh(Ask(what)).takes) for what in What}
    assert weights[What.INTERVALS] == {"funding_5m": 1}
    assert weights[What.RIGHTS] == {"rights_1m": 1}
    elsewhere = (What.INTERVALS, What.RIGHTS)
    assert {what: takes["weight_1m"] for what, takes in weights.items() if what not in elsewhere} == {
        What.TIME: 1, What.INSTRUMENTS: 1, What.PRICES: 10, What.TIERS: 1, What.FEES: 20, What.LEVERAGE: 5,
        What.MODE: 5, What.ACCOUNT: 5, What.POSITIONS: 5, What.ORDERS: 40, What.ORDER: 1, What.TRADES: 5, What.KEY: 1,
        What.VOLUMES: 40, What.OWNER: 5,
    }  # fmt: skip
    assert dict(dialect.weigh(Place(one)).takes) == {"orders_10s": 1, "orders_1m": 1}
    assert dict(dialect.weigh(Batch((one,))).takes) == {"orders_10s": 5, "orders_1m": 1, "weight_1m": 5}
    assert dict(dialect.weigh(Cancel("x", 0)).takes) == {"weight_1m": 1}
    assert dict(dialect.weigh(Arm(0, 1)).takes) == {"weight_1m": 10}
    assert dict(dialect.weigh(SetLeverage(0, 5)).takes) == {"weight_1m": 1}
    known = {bucket.name for bucket in LIMITS}
    assert all(name in known for takes in weights.values() for name in takes)


@pytest.mark.parametrize("secret", ["", "  ", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----"])
def test_an_unusable_secret_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(ValueError, match="secret") as caught:
        build(credentials=Credentials(Secret("k"), Secret(secret)))
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_secret_is_not_in_its_repr() -> None:
    dialect = build(credentials=credentials("canary"))
    assert "canary" not in f"{dialect!r} {dialect} {vars(dialect)}"
