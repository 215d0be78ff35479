"""Frames: what each says, and that none does harm."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import Any

import pytest

from agent.core.events import (
    Accepted,
    Balance,
    Depth,
    Elsewhere,
    Ended,
    Fact,
    Filled,
    Flow,
    Force,
    Forced,
    Funding,
    Leverage,
    Listed,
    Mark,
    Position,
    Quote,
    Side,
    Unknown,
    Warned,
)
from agent.core.venue import Ask, What
from tests.adapters.binance_kit import MS, NOW, build, frame, shared

MARK: dict[str, Any] = {
    "e": "markPriceUpdate", "E": 5, "s": "ETHUSDT", "p": "3000.5", "i": "3001", "P": "1", "r": "-0.0001", "T": 8,
    "ap": "3000", "st": 1,
}  # fmt: skip
TICKER: dict[str, Any] = {
    "e": "bookTicker", "u": 9, "E": 6, "T": 5, "s": "ETHUSDT", "b": "3000.1", "B": "2", "a": "3000.2", "A": "0.5",
}  # fmt: skip
BOOK: dict[str, Any] = {
    "e": "depthUpdate", "E": 6, "T": 5, "s": "ETHUSDT", "U": 1, "u": 9, "pu": 0,
    "b": [["99", "2"], ["100", "1"]], "a": [["102", "4"], ["101", "3"]],
}  # fmt: skip
BOOK_STREAM = "ethusdt@depth20@100ms"


def unread(facts: list[Fact], *, private: bool, words: str = "") -> Unknown:
    (fact,) = facts
    assert isinstance(fact, Unknown)
    assert fact.private is private
    assert words in fact.what
    return fact


def test_a_mark_price_brings_the_funding_rate() -> None:
    expected = [Mark(1, 3000.5, 3001.0, 5 * MS), Funding(1, -0.0001, 8 * MS, 5 * MS)]
    assert frame(build(), "market", MARK) == expected
    assert frame(build(), "market", [MARK | {"s": "STRANGE"}, MARK, MARK | {"s": "BTCUSD_PERP", "st": 2}]) == expected


@pytest.mark.parametrize("change", [{"r": ""}, {"T": 0}])
def test_a_contract_with_an_end_has_no_funding(change: dict[str, Any]) -> None:
    assert frame(build(), "market", MARK | change) == [Mark(1, 3000.5, 3001.0, 5 * MS)]


BAD_PRICES = ["NaN", "nan", "Infinity", "-inf", "1e400", "0", "-1", "", "x", "0x10", 1.5, 3, None, [], "9" * 5000]


@pytest.mark.parametrize("price", BAD_PRICES)
def test_a_price_that_is_none_is_not_taken(price: Any) -> None:
    dialect = build()
    unread(frame(dialect, "market", MARK | {"p": price}), private=False, words="markPriceUpdate")
    unread(frame(dialect, "market", MARK | {"i": price}), private=False)
    unread(frame(dialect, "market", [MARK, MARK | {"p": price}]), private=False)
    unread(frame(dialect, "public", TICKER | {"b": price}), private=False, words="bookTicker")
    unread(frame(dialect, "public", BOOK | {"a": [[price, "1"]]}, BOOK_STREAM), private=False, words="depthUpdate")


@pytest.mark.parametrize("at", [-1, 10**13, 1.5, "5", None, 2**70])
def test_a_time_that_is_none_is_not_taken(at: Any) -> None:
    unread(frame(build(), "market", MARK | {"E": at}), private=False)


def test_the_best_bid_and_ask() -> None:
    dialect = build()
    assert frame(dialect, "public", TICKER) == [Quote(1, 3000.1, 2.0, 3000.2, 0.5, 5 * MS)]
    assert frame(dialect, "public", TICKER) == [], "said already"
    assert frame(dialect, "public", TICKER | {"u": 8}) == [], "older"
    assert frame(dialect, "public", TICKER | {"u": 8, "s": "BTCUSDT"}) != [], "each symbol counts for itself"
    assert frame(dialect, "public", TICKER | {"u": 10}) != []
    dialect.on_open("public", NOW)
    assert frame(dialect, "public", TICKER | {"u": 1}) != [], "each connection counts for itself"


@pytest.mark.parametrize("change", [{"b": "3000.2"}, {"b": "3000.3"}, {"B": "-1"}, {"A": "NaN"}, {"u": -1}])
def test_a_quote_that_cannot_be_is_not_taken(change: dict[str, Any]) -> None:
    unread(frame(build(), "public", TICKER | change), private=False)


def test_an_unreadable_frame_does_not_hide_those_after_it() -> None:
    dialect = build()
    unread(frame(dialect, "public", TICKER | {"u": 2**60, "b": "NaN"}), private=False)
    unread(frame(dialect, "public", BOOK | {"u": 2**60, "b": [["x", "1"]]}, BOOK_STREAM), private=False)
    assert frame(dialect, "public", TICKER) != []
    assert frame(dialect, "public", BOOK, BOOK_STREAM) != []


def test_the_visible_book_is_sorted() -> None:
    dialect = build()
    book = Depth(1, ((100.0, 1.0), (99.0, 2.0)), ((101.0, 3.0), (102.0, 4.0)), 5 * MS)
    assert frame(dialect, "public", BOOK, BOOK_STREAM) == [book]
    assert frame(dialect, "public", BOOK, BOOK_STREAM) == []
    assert frame(dialect, "public", TICKER) != [], "the ticker counts for itself"
    empty = frame(dialect, "public", BOOK | {"u": 10, "b": []}, BOOK_STREAM)
    assert empty == [Depth(1, (), ((101.0, 3.0), (102.0, 4.0)), 5 * MS)]


def test_differences_and_crossed_books_are_not_taken() -> None:
    dialect = build()
    unread(frame(dialect, "public", BOOK, "ethusdt@depth@100ms"), private=False, words="not a book")
    unread(frame(dialect, "public", BOOK | {"b": [["101", "1"]]}, BOOK_STREAM), private=False, words="crossed")
    unread(frame(dialect, "public", BOOK | {"b": [["1"]]}, BOOK_STREAM), private=False)


@pytest.mark.parametrize(("socket", "event"), [("public", TICKER), ("public", BOOK), ("market", MARK)])
def test_strange_symbols_and_categories_are_said(socket: str, event: dict[str, Any]) -> None:
    dialect = build()
    other = "market" if socket == "public" else "public"
    fact = unread(frame(dialect, socket, event | {"s": "STRANGE"}), private=False, words="STRANGE is not in")
    assert fact.stream == socket
    assert "STRANGE" in fact.excerpt
    unread(frame(dialect, other, event), private=False, words=event["e"])
    unread(frame(dialect, "private", event), private=True, words=event["e"])


def test_a_bare_event_is_not_taken() -> None:
    facts = list(build().on_frame("market", json.dumps(MARK).encode(), NOW))
    unread(facts, private=False, words="markPriceUpdate")


@pytest.mark.parametrize(
    ("frame_", "taken"),
    [
        (b'{"result":null,"id":1}', True),
        (b'{"result":["btcusdt@markPrice@1s"],"id":3}', True),
        (b'{"id":"x","result":null}', True),
        (b'{"code":2,"msg":"Invalid request"}', False),
        (b'{"error":{"code":2,"msg":"Invalid request"},"id":1}', False),
        (b'{"code":2,"msg":"Invalid request","id":1}', False),
        (b"", False),
        (b"{", False),
        (b"ping", False),
        (b"null", False),
        (b"[]", False),
        (b'"x"', False),
        (b"\xff\xfe", False),
        (b"[" * 100_000, False),
        (b'{"data":' * 100_000, False),
        (b'{"stream":"s","data":{"e":"bookTicker","x":' + b"[" * 100_000, False),
    ],
)
def test_acknowledgements_are_silent_and_noise_is_said(frame_: bytes, taken: bool) -> None:
    dialect = build()
    for socket in dialect.abilities.sockets:
        facts = list(dialect.on_frame(socket, frame_, NOW))
        if taken:
            assert facts == []
        else:
            unread(facts, private=socket == "private")


def contract_info(symbol: str = "ETHUSDT", status: str = "TRADING", **more: Any) -> dict[str, Any]:
    return {"e": "contractInfo", "E": 1, "s": symbol, "cs": status, "st": 1} | more


def test_an_instrument_that_stops_trading_is_listed_as_such() -> None:
    dialect = build()
    assert frame(dialect, "market", contract_info()) == []
    assert frame(dialect, "market", contract_info("STRANGE", "CLOSE")) == []
    for status, trading in (("SETTLING", False), ("TRADING", True)):
        (fact,) = frame(dialect, "market", contract_info(status=status))
        assert isinstance(fact, Listed)
        assert [one.trading for one in fact.instruments] == [True, trading, *[True] * 5]
    assert dialect.acts() == []


def test_news_of_a_contract_are_followed_by_questions() -> None:
    dialect = build()
    assert frame(dialect, "market", contract_info(bks=[{"bs": 1}])) == []
    assert dialect.acts() == [Ask(What.TIERS)]
    fresh = build(listed=False)
    assert frame(fresh, "market", contract_info()) == []
    assert fresh.acts() == [Ask(What.INSTRUMENTS)]
    public = build(keyed=False)
    frame(public, "market", contract_info(bks=[{"bs": 1}]))
    assert public.acts() == []


# Orders


def event(**changes: Any) -> dict[str, Any]:
    update = {
        "s": "BTCUSDT", "c": "mine", "S": "SELL", "x": "NEW", "X": "NEW", "i": 77, "l": "0", "z": "0", "L": "0",
        "T": 5, "t": 0, "n": "0", "N": "USDT", "m": False, "ps": "BOTH", "er": "0",
    } | changes  # fmt: skip
    return {"e": "ORDER_TRADE_UPDATE", "E": 6, "T": 5, "o": update}


FILL = {"x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.0020", "z": "0.003", "L": "60000.1", "t": 12, "n": "0.05"}


@pytest.mark.parametrize("what", ["NEW", "AMENDMENT"])
def test_an_accepted_order(what: str) -> None:
    assert frame(build(), "private", event(x=what, z="0.001")) == [Accepted("mine", "77", 1, 5 * MS)]


def test_fills_are_signed() -> None:
    assert frame(build(), "private", event(**FILL)) == [
        Filled("mine", 0, "12", -2, 60000.1, 0.05, "USDT", False, 3, 5 * MS)
    ]
    last = event(**FILL | {"S": "BUY", "X": "FILLED", "m": True})
    assert frame(build(), "private", last) == [
        Filled("mine", 0, "12", 2, 60000.1, 0.05, "USDT", True, 3, 5 * MS),
        Ended("mine", "filled", 3, 5 * MS),
    ]


def test_a_fill_without_a_stated_fee_cost_none() -> None:
    bare = event(**FILL)
    del bare["o"]["n"], bare["o"]["N"]
    (fact,) = frame(build(), "private", bare)
    assert isinstance(fact, Filled)
    assert (fact.fee, fact.fee_asset) == (0.0, "")


@pytest.mark.parametrize(
    ("what", "status", "reason", "how"),
    [
        ("CANCELED", "CANCELED", "0", "cancelled"),
        ("EXPIRED", "EXPIRED", "0", "expired"),
        ("EXPIRED", "EXPIRED", "1", "expired: self-trade"),
        ("EXPIRED", "EXPIRED", "2", "expired: unfilled remainder"),
        ("EXPIRED", "EXPIRED", 4, "expired: would not reduce"),
        ("EXPIRED", "EXPIRED", "99", "expired"),
        ("EXPIRED", "EXPIRED_IN_MATCH", "1", "expired in match: self-trade"),
        ("REJECTED", "REJECTED", "0", "rejected"),
    ],
)
def test_how_orders_end(what: str, status: str, reason: Any, how: str) -> None:
    facts = frame(build(), "private", event(x=what, X=status, z="0.001", er=reason))
    assert facts == [Ended("mine", how, 1, 5 * MS)]


@pytest.mark.parametrize(("status", "how"), [("FILLED", "filled"), ("NEW_ADL", "deleveraged")])
def test_a_forced_order_has_an_id_of_its_own(status: str, how: str) -> None:
    forced = event(**FILL | {"x": "CALCULATED", "X": status, "c": "autoclose-1"})
    told, filled, ended = frame(build(), "private", forced)
    assert told == Forced("autoclose-1", Force.LIQUIDATION, "BTCUSDT", 5 * MS)
    assert isinstance(filled, Filled)
    assert ended == Ended("autoclose-1", how, 3, 5 * MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"x": "SOMETHING"},
        {"x": "CANCELED", "X": "NEW"},
        FILL | {"X": "SOMETHING"},
        FILL | {"l": "0"},
        FILL | {"l": "-0.002"},
        FILL | {"l": "0.0001"},
        FILL | {"l": "NaN"},
        FILL | {"l": "1e-400"},
        FILL | {"l": "1_0"},
        FILL | {"l": "sNaN"},
        FILL | {"l": "1e999999"},
        FILL | {"l": "0.00100000000000000000000000000001"},
        FILL | {"z": "-1"},
        FILL | {"L": "0"},
        FILL | {"n": "NaN"},
        FILL | {"t": -1},
        FILL | {"t": "12"},
        {"S": "HOLD"},
        {"i": None},
    ],
)
def test_an_order_event_that_cannot_be_read_is_said_to_be_private(changes: dict[str, Any]) -> None:
    unread(frame(build(), "private", event(**changes)), private=True, words="ORDER_TRADE_UPDATE")


def test_before_the_grids_are_known_orders_and_positions_are_unknown() -> None:
    dialect = build(listed=False)
    unread(frame(dialect, "private", event()), private=True, words="is not listed")
    unread(frame(dialect, "private", account([row("BTCUSDT", "1")])), private=True, words="is not listed")


# The account


def account(positions: Any = (), balances: Any = (), reason: str = "ORDER") -> dict[str, Any]:
    return {"e": "ACCOUNT_UPDATE", "E": 6, "T": 5, "a": {"m": reason, "B": balances, "P": positions}}


def row(symbol: str, amount: str, side: str = "BOTH", entry: str = "10.5") -> dict[str, Any]:
    return {"s": symbol, "pa": amount, "ep": entry, "ps": side, "up": "0", "mt": "cross", "iw": "0"}


def money(change: str | None = "0") -> dict[str, Any]:
    return {"a": "USDT", "wb": "100.5", "cw": "90"} | ({} if change is None else {"bc": change})


def test_positions_and_wallets() -> None:
    rows = [row("BTCUSDT", "0", entry="0.0"), row("BTCUSDT", "0.02", "LONG"), row("BTCUSDT", "-0.010", "SHORT")]
    assert frame(build(), "private", account(rows, [money("50")])) == [
        Position(0, Side.NET, 0, None, 5 * MS),
        Position(0, Side.LONG, 20, 10.5, 5 * MS),
        Position(0, Side.SHORT, -10, 10.5, 5 * MS),
        Balance("USDT", 100.5, 5 * MS),
    ]


def test_an_isolated_position_has_a_wallet_of_its_own() -> None:
    rows = [
        row("BTCUSDT", "0.02", "LONG") | {"mt": "isolated", "iw": "13.5"},
        row("BTCUSDT", "-0.010", "SHORT") | {"mt": "isolated", "iw": "-0.25"},
        row("ETHUSDT", "0", entry="0") | {"mt": "isolated", "iw": "0.00000000"},
        row("TRXUSDT", "3"),
    ]
    assert frame(build(), "private", account(rows)) == [
        Position(0, Side.LONG, 20, 10.5, 5 * MS, isolated=13.5),
        Position(0, Side.SHORT, -10, 10.5, 5 * MS, isolated=-0.25),
        Position(1, Side.NET, 0, None, 5 * MS, isolated=None),
        Position(3, Side.NET, 3, 10.5, 5 * MS, isolated=None),
    ]


@pytest.mark.parametrize(
    ("reason", "change", "kind"),
    [
        ("FUNDING_FEE", "-0.00085", "funding"),
        ("DEPOSIT", "10", "deposit"),
        ("WITHDRAW", "-10", "withdrawal"),
        ("ASSET_TRANSFER", "3", "transfer"),
        ("INSURANCE_CLEAR", "1", "insurance_clear"),
        ("SOMETHING_NEW", "1", "something_new"),
    ],
)
def test_money_that_moves_without_a_trade(reason: str, change: str, kind: str) -> None:
    update = account([], [money(change)], reason)
    expected = [Balance("USDT", 100.5, 5 * MS), Flow("USDT", float(change), kind, 5 * MS)]
    assert frame(build(), "private", update) == expected
    del update["a"]["P"]
    assert frame(build(), "private", update) == expected


def test_a_change_of_nothing_is_no_flow_and_an_unstated_one_is_unknown() -> None:
    dialect = build()
    assert frame(dialect, "private", account([], [money()], "MARGIN_TYPE_CHANGE")) == [Balance("USDT", 100.5, 5 * MS)]
    assert frame(dialect, "private", account([], [money(None)])) == [Balance("USDT", 100.5, 5 * MS)]
    unread(frame(dialect, "private", account([], [money(None)], "DEPOSIT")), private=True, words="not stated")


def test_a_strangers_position_is_said_beside_ours() -> None:
    facts = frame(build(), "private", account([row("STRANGE", "1.23456789"), row("TRXUSDT", "3")], None))
    assert facts == [
        Elsewhere("STRANGE"),
        Position(3, Side.NET, 3, 10.5, 5 * MS),
    ]


@pytest.mark.parametrize(
    "update",
    [
        account([row("BTCUSDT", "0.0001")]),
        account([row("BTCUSDT", "1", entry="0")]),
        account([row("BTCUSDT", "1", side="UP")]),
        account([row("BTCUSDT", "1") | {"mt": "isolated", "iw": "NaN"}]),
        account([], [money() | {"wb": "NaN"}]),
        account("x"),
    ],
)
def test_an_account_event_that_cannot_be_read_is_said_to_be_private(update: dict[str, Any]) -> None:
    unread(frame(build(), "private", update), private=True, words="ACCOUNT_UPDATE")


def test_settings_that_change() -> None:
    dialect = build()
    config = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 6, "T": 5}
    assert frame(dialect, "private", config | {"ac": {"s": "ETHUSDT", "l": 25}}) == [Leverage(1, 25)]
    unread(frame(dialect, "private", config | {"ac": {"s": "STRANGE", "l": 25}}), private=False, words="STRANGE")
    assert dialect.acts() == []
    unread(frame(dialect, "private", config | {"ai": {"j": True}}), private=True, words="many collateral assets")
    assert dialect.acts() == [Ask(What.MODE)]
    unread(frame(dialect, "private", config), private=True)


def test_a_margin_call_is_a_warning() -> None:
    call = {"e": "MARGIN_CALL", "E": 5, "cw": "3.1", "p": [{"s": "ETHUSDT"}, {"s": "STRANGE"}]}
    assert frame(build(), "private", call) == [Warned("margin call: ETHUSDT, STRANGE", 5 * MS)]


@pytest.mark.parametrize("name", ["ALGO_UPDATE", "STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT"])
def test_what_we_neither_make_nor_watch_is_said_and_left(name: str) -> None:
    unread(frame(build(), "private", {"e": name, "o": {"s": "BTCUSDT"}}), private=False, words=name)


def test_an_event_of_a_new_kind_may_be_about_us() -> None:
    unread(frame(build(), "private", {"e": "SOMETHING_NEW"}), private=True, words="SOMETHING_NEW")


# Recordings


def test_the_recorded_isolated_positions_keep_their_wallets() -> None:
    folder = shared("venues/payloads/binance")
    opened = folder / "ws_user_isolated_open_account_update.json"
    facts = build().on_frame("private", opened.read_bytes(), NOW)
    assert [(one.lots, one.isolated) for one in facts if isinstance(one, Position)] == [(-150, 11.3614671)]
    hedged = folder / "ws_user_account_update_hedge_isolated.json"
    facts = build().on_frame("private", hedged.read_bytes(), NOW)
    held = {one.side: one.isolated for one in facts if isinstance(one, Position)}
    assert held == {Side.NET: None, Side.LONG: 13200.70726908, Side.SHORT: 6570.42511771}


def test_frames_recorded_from_the_venue() -> None:
    path = shared("data/hf_binance_2024-08-08_raw_ws_45s.txt.gz")
    dialect = build(["BTCUSDT", "ETHUSDT"])
    counts: Counter[str] = Counter()
    with gzip.open(path, "rb") as lines:
        for line in lines:
            at, _, data = line.rstrip(b"\n").partition(b" ")
            for fact in dialect.on_frame("public", data, int(at) * 1_000):
                counts[type(fact).__name__] += 1
                if isinstance(fact, Quote):
                    assert 0 < fact.bid < fact.ask
                elif isinstance(fact, Unknown):
                    assert fact.what.startswith(("depthUpdate: ", "trade: ", "bookTicker: BTCUSD_PERP", "frame: "))
                    assert not fact.private
    assert counts["Quote"] > 10_000
    assert set(counts) == {"Quote", "Unknown"}


def test_a_private_frame_is_not_known_for_quiet_by_the_name_of_its_stream() -> None:
    [unread] = build().on_frame("private", b'{"stream":"ALGO_UPDATE","T":1,"E":1,"o":{}}', NOW)
    assert isinstance(unread, Unknown)
    assert unread.private
