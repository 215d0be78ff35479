"""Websockets: what is delivered where, in which order, and what stays silent."""

import json
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator import Account, Binance, Client, Exchange, SeededMarket, StillMarket

HOUR_MS = 3_600_000


def kinds(frames: list[Any]) -> list[str]:
    return [frame["e"] + ":" + frame["o"]["x"] if "o" in frame else frame["e"] for frame in frames]


@pytest.fixture
def lively() -> Client:
    """A client of a seeded market."""
    return Client(Binance(Exchange(SeededMarket(5))))


def test_a_market_order_is_told_in_the_venues_order(client: Client) -> None:
    stream = client.listen()
    client.place("BTCUSDT", "BUY", "0.1")
    frames = client.take(stream)
    assert kinds(frames) == [
        "ORDER_TRADE_UPDATE:NEW",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE:TRADE",
    ]
    assert len({frame["T"] for frame in frames}) == 1
    _, lite, account, trade = frames
    assert (lite["p"], lite["l"], lite["L"]) == ("0", "0.100", "80004.00")
    assert account["a"]["m"] == "ORDER"
    assert account["a"]["B"] == [{"a": "USDT", "wb": "9995.9998", "cw": "9995.9998", "bc": "0"}]
    assert account["a"]["P"][0]["pa"] == "0.1"
    assert account["a"]["P"][0]["up"] == "-0.4"
    assert (trade["o"]["X"], trade["o"]["n"], trade["o"]["t"]) == ("FILLED", "4.0002", lite["t"])


def test_a_resting_order_that_fills_is_told_in_the_venues_order(client: Client) -> None:
    stream = client.listen()
    client.place("BTCUSDT", "BUY", "0.1", "79000")
    assert kinds(client.take(stream)) == ["ORDER_TRADE_UPDATE:NEW"]
    client.binance.exchange.set_mark("BTCUSDT", 78_900)
    frames = client.take(stream)
    assert kinds(frames) == ["TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE:TRADE"]
    assert frames[2]["o"]["m"]


def test_a_cancel_tells_only_of_the_order(client: Client) -> None:
    stream = client.listen()
    client.place("BTCUSDT", "BUY", "0.1", "79000", newClientOrderId="one")
    client.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="one")
    frames = client.take(stream)
    assert kinds(frames) == ["ORDER_TRADE_UPDATE:NEW", "ORDER_TRADE_UPDATE:CANCELED"]


def test_leverage_and_money_are_told(client: Client) -> None:
    stream = client.listen()
    client.call("POST", "/fapi/v1/leverage", symbol="BTCUSDT", leverage=7)
    client.binance.exchange.deposit(client.account, "12.5")
    client.binance.exchange.withdraw(client.account, 2)
    config, deposit, withdrawal = client.take(stream)
    assert config["ac"] == {"s": "BTCUSDT", "l": 7}
    assert (deposit["a"]["m"], deposit["a"]["B"][0]["bc"]) == ("DEPOSIT", "12.5")
    assert (withdrawal["a"]["m"], withdrawal["a"]["B"][0]["bc"]) == ("WITHDRAW", "-2")
    assert withdrawal["a"]["P"] == []


def test_events_can_be_chosen_and_wrapped(client: Client) -> None:
    key = client.send("POST", "/fapi/v1/listenKey").data["listenKey"]
    chosen = client.connect(f"/private/ws?listenKey={key}&events=ACCOUNT_UPDATE")
    wrapped = client.connect(f"/private/stream?listenKey={key}&events=TRADE_LITE")
    in_path = client.connect(f"/private/ws/{key}")
    client.place("BTCUSDT", "BUY", "0.1")
    assert kinds(client.take(chosen)) == ["ACCOUNT_UPDATE"]
    (frame,) = client.take(wrapped)
    assert (frame["stream"], frame["data"]["e"]) == (key, "TRADE_LITE")
    assert len(client.take(in_path)) == 4


def test_a_bogus_listen_key_is_accepted_and_silent(client: Client) -> None:
    bogus = client.connect("/private/ws?listenKey=" + "x" * 64)
    elsewhere = client.connect("/public/ws/" + client.send("POST", "/fapi/v1/listenKey").data["listenKey"])
    client.place("BTCUSDT", "BUY", "0.1")
    assert client.take(bogus) == []
    assert client.take(elsewhere) == []
    assert not bogus.closed


def test_a_listen_key_lives_an_hour_and_says_when_it_ends(client: Client) -> None:
    stream = client.listen()
    key = client.send("POST", "/fapi/v1/listenKey").data["listenKey"]
    client.wait(59 * 60_000)
    assert client.send("PUT", "/fapi/v1/listenKey").data == {"listenKey": key}
    client.wait(59 * 60_000)
    assert client.take(stream) == []
    client.wait(60_000)
    (last,) = client.take(stream)
    assert (last["e"], last["listenKey"]) == ("listenKeyExpired", key)
    client.place("BTCUSDT", "BUY", "0.1")
    assert client.take(stream) == []
    assert not stream.closed
    assert client.send("PUT", "/fapi/v1/listenKey").code == -1125
    assert client.send("POST", "/fapi/v1/listenKey").data["listenKey"] != key


def test_closing_a_listen_key_silences_its_sockets(client: Client) -> None:
    stream = client.listen()
    client.send("DELETE", "/fapi/v1/listenKey")
    client.place("BTCUSDT", "BUY", "0.1")
    assert client.take(stream) == []


def test_categories_are_apart(lively: Client) -> None:
    names = ["btcusdt@markPrice@1s", "btcusdt@bookTicker", "nope@bookTicker", "nonsense"]
    public, market, private, plain = (
        lively.connect(path) for path in ("/public/ws", "/market/ws", "/private/ws", "/ws")
    )
    for session in (public, market, private, plain):
        assert lively.say(session, "SUBSCRIBE", *names) == {"result": None, "id": 1}
    lively.wait(3_000)
    assert set(kinds(lively.take(public))) == {"bookTicker"}
    assert set(kinds(lively.take(market))) == {"markPriceUpdate"}
    assert set(kinds(lively.take(plain))) == {"bookTicker"}
    assert lively.take(private) == []


def test_the_test_environment_serves_everything_without_a_category() -> None:
    client = Client(Binance(Exchange(SeededMarket(5)), legacy_streams=True))
    key = client.send("POST", "/fapi/v1/listenKey").data["listenKey"]
    session = client.connect(f"/stream?streams=btcusdt@markPrice/btcusdt@bookTicker/{key}")
    client.place("BTCUSDT", "BUY", "0.01")
    client.wait(3_000)
    found = {frame["data"]["e"] for frame in client.take(session)}
    assert found == {
        "markPriceUpdate",
        "bookTicker",
        "TRADE_LITE",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATE",
    }


def test_mark_prices_come_at_their_pace(lively: Client) -> None:
    fast = lively.connect("/market/ws/btcusdt@markPrice@1s")
    slow = lively.connect("/market/ws/btcusdt@markPrice")
    every = lively.connect("/market/stream?streams=!markPrice@arr@1s")
    lively.wait(9_000)
    frames = lively.take(fast)
    assert [frame["E"] % 1000 for frame in frames] == [0] * 9
    assert len(lively.take(slow)) == 3
    arrays = lively.take(every)
    assert len(arrays) == 9
    assert [row["s"] for row in arrays[0]["data"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert arrays[-1]["data"][0] == frames[-1]
    premium = lively.call("GET", "/fapi/v1/premiumIndex", symbol="BTCUSDT").data
    assert premium["nextFundingTime"] == frames[-1]["T"]
    assert premium["markPrice"] == frames[-1]["p"]


def test_a_long_silence_of_the_caller_gives_one_frame_a_stream(lively: Client) -> None:
    session = lively.connect("/market/ws/btcusdt@markPrice@1s")
    frames = lively.binance.advance(lively.now + 3_600 * 10**9)
    assert len([one for one, _ in frames if one is session]) == 1


def test_best_prices_have_rising_ids(lively: Client) -> None:
    one = lively.connect("/public/ws/btcusdt@bookTicker")
    every = lively.connect("/public/ws/!bookTicker")
    lively.wait(5_000)
    frames = lively.take(one)
    ids = [frame["u"] for frame in frames]
    assert ids == sorted(set(ids))
    assert len(ids) > 10
    assert all(Decimal(frame["b"]) < Decimal(frame["a"]) for frame in frames)
    assert {frame["s"] for frame in lively.take(every)} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    rest = lively.call("GET", "/fapi/v1/ticker/bookTicker", symbol="BTCUSDT").data
    assert rest["lastUpdateId"] == ids[-1]
    assert rest["bidPrice"] == frames[-1]["b"]


@pytest.mark.parametrize("after_ms", [0, 150, 1_050])
def test_a_local_book_can_be_kept_from_differences(lively: Client, after_ms: int) -> None:
    session = lively.connect("/public/ws/btcusdt@depth@500ms")
    lively.wait(1_000 + after_ms)
    start = lively.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=1000).data
    lively.place("BTCUSDT", "BUY", "0.1")
    lively.wait(20_000)
    book = {side: {price: size for price, size in start[side]} for side in ("bids", "asks")}
    last = 0
    for frame in lively.take(session):
        if frame["u"] < start["lastUpdateId"]:
            continue
        if not last:
            assert frame["U"] <= start["lastUpdateId"] + 1
            assert start["lastUpdateId"] <= frame["u"]
        else:
            assert frame["pu"] == last
        last = frame["u"]
        for side, key in (("bids", "b"), ("asks", "a")):
            for price, size in frame[key]:
                book[side][price] = size
                if not Decimal(size):
                    del book[side][price]
    now = lively.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=1000).data
    assert last == now["lastUpdateId"]
    assert book == {side: dict(now[side]) for side in ("bids", "asks")}


def test_partial_books_replace_each_other(lively: Client) -> None:
    session = lively.connect("/public/ws/btcusdt@depth5@100ms")
    lively.wait(1_000)
    frames = lively.take(session)
    assert all(len(frame["b"]) == len(frame["a"]) == 5 for frame in frames)
    now = lively.call("GET", "/fapi/v1/depth", symbol="BTCUSDT", limit=5).data
    assert (frames[-1]["b"], frames[-1]["a"]) == (now["bids"], now["asks"])


def test_control_messages(lively: Client) -> None:
    session = lively.connect("/market/ws/btcusdt@markPrice@1s")
    lively.say(session, "SUBSCRIBE", "ethusdt@markPrice@1s")
    listed = lively.say(session, "LIST_SUBSCRIPTIONS")["result"]
    assert listed == ["btcusdt@markPrice@1s", "ethusdt@markPrice@1s"]
    lively.say(session, "UNSUBSCRIBE", "btcusdt@markPrice@1s")
    assert lively.say(session, "GET_PROPERTY", "combined")["result"] is False
    lively.say(session, "SET_PROPERTY", "combined", True)
    lively.wait(1_000)
    (frame,) = lively.take(session)
    assert frame["stream"] == "ethusdt@markPrice@1s"
    assert lively.say(session, "SHOUT")["code"] == 2
    assert json.loads(lively.binance.receive(session, "{", lively.now)[0])["code"] == 3
    assert json.loads(lively.binance.receive(session, "[]", lively.now)[0])["code"] == 2


def test_too_many_messages_close_the_socket(lively: Client) -> None:
    session = lively.connect("/market/ws")
    for _ in range(10):
        assert lively.say(session, "LIST_SUBSCRIPTIONS") is not None
    assert lively.say(session, "LIST_SUBSCRIPTIONS") is None
    assert lively.take(session)[-1] is None
    assert lively.say(session, "LIST_SUBSCRIPTIONS") is None


def test_a_connection_has_room_for_1024_streams(lively: Client) -> None:
    session = lively.connect("/market/ws")
    assert "error" in lively.say(session, "SUBSCRIBE", *[f"x{n}@ticker" for n in range(1025)])


def test_a_day_is_the_longest_life_of_a_socket() -> None:
    client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}))))
    session = client.connect("/market/ws/btcusdt@markPrice")
    client.wait(24 * HOUR_MS - 1)
    assert client.take(session)[-1]["e"] == "markPriceUpdate"
    client.wait(1)
    assert client.take(session)[-1] is None
    assert session.closed


def test_all_sockets_can_be_cut(lively: Client) -> None:
    sessions = [lively.connect("/public/ws"), lively.connect("/market/ws")]
    lively.binance.disconnect_all()
    assert [lively.take(session) for session in sessions] == [[None], [None]]
    assert lively.binance.streams.sessions == {}


def test_each_account_hears_of_itself_alone() -> None:
    accounts = [Account("first-key-0", "s1"), Account("second-key", "s2")]
    binance = Binance(Exchange(StillMarket({"BTCUSDT": 80_000}), accounts))
    first, second = Client(binance, accounts[0]), Client(binance, accounts[1])
    mine, theirs = first.listen(), second.listen()
    first.place("BTCUSDT", "BUY", "0.01")
    assert len(first.take(mine)) == 4
    assert second.take(theirs) == []
