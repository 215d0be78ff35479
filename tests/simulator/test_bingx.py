"""BingX's side of the wire: what is its own, in virtual time and without sockets."""

import hashlib
import hmac
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, FrameFault, StillMarket
from adapters.simulator.bingx import ROUTES, BingX
from adapters.simulator.bingx_streams import Session, packed, unpacked
from adapters.simulator.client import START
from adapters.simulator.faults import FORGERIES
from adapters.simulator.wire import Close, Reply

MS = 1_000_000
S = 1_000 * MS
ORDER, KEY = "/openApi/swap/v2/trade/order", "/openApi/user/auth/userDataStream"
BUY = "symbol=BTC-USDT&side=BUY&positionSide=BOTH&type=MARKET&quantity=0.01"
REST = BUY.replace("MARKET", "LIMIT&price=79000")


class Client:
    """Signs and asks; `now` is its time and the exchange's."""

    def __init__(self, *, account: Account | None = None, **options: Any) -> None:
        self.account = account or Account(balance=10_000)
        market = StillMarket({"BTCUSDT": 80_000, "ETHUSDT": 2_500})
        self.exchange = Exchange(market, [self.account])
        self.side = BingX(self.exchange, **options)
        self.now = START
        self.side.advance(START)

    def send(self, method: str, path: str, query: str, *, key: str = DEMO_KEY) -> Reply:
        return self.side.request(method, path, query, {"X-BX-APIKEY": key}, b"", self.now)

    def signed(self, query: str, secret: str = DEMO_SECRET) -> str:
        """Signed as it is, and quoted afterwards."""
        query = f"{query}{'&' if query else ''}timestamp={self.now // MS}"
        signature = hmac.new(secret.encode(), query.encode(), hashlib.sha256).hexdigest()
        return f"{quote(query, safe='=&')}&signature={signature}"

    def ask(self, method: str, path: str, query: str = "") -> Any:
        """What an answer says: its data, or its code where that is not nought."""
        self.now += 200 * MS
        answer = msgspec.json.decode(self.send(method, path, self.signed(query)).body)
        return answer["code"] or answer["data"]

    def open(self, target: str = "/swap-market") -> Session:
        return self.side.connect(target, self.now, {})

    def listen(self) -> Session:
        """The account's private stream."""
        key = msgspec.json.decode(self.send("POST", KEY, "").body)["listenKey"]
        return self.open(f"/swap-market?listenKey={key}")

    def hear(self, session: Session, seconds: float = 0.0, *, answer: bool = True) -> list[Any]:
        """What a socket is told meanwhile: events, texts of greetings, and how it ends."""
        told: list[Any] = []
        until = self.now + int(seconds * S)
        while True:
            for one, frame in self.side.advance(self.now):
                if one is not session:
                    continue
                if isinstance(frame, Close):
                    told.append(frame)
                elif (text := unpacked(frame)) != b"Ping":
                    told.append(msgspec.json.decode(text))
                else:
                    told.append("Ping")
                    if answer:
                        self.side.receive(session, "Pong", self.now)
            if self.now >= until:
                return told
            self.now += 500 * MS


def events(told: Iterable[Any], kind: str) -> list[Any]:
    return [one for one in told if isinstance(one, dict) and one.get("e") == kind]


@pytest.fixture
def client() -> Client:
    return Client()


# Requests


def test_a_signature_covers_the_raw_values_in_the_order_of_sending_or_of_the_alphabet(client: Client) -> None:
    listed = 'batchOrders=[{"symbol":"BTC-USDT","side":"BUY","positionSide":"BOTH","type":"MARKET","quantity":0.01}]'
    (row,) = client.ask("POST", "/openApi/swap/v2/trade/batchOrders", listed)["orders"]
    assert row["orderId"] > 2**53
    stamp = f"timestamp={client.now // MS}"
    ordered = f"symbol=BTC-USDT&{stamp}"
    signature = hmac.new(DEMO_SECRET.encode(), ordered.encode(), hashlib.sha256).hexdigest()
    query = f"{stamp}&symbol=BTC-USDT&signature={signature}"
    assert b'"code":0' in client.send("GET", "/openApi/swap/v2/trade/leverage", query).body


@pytest.mark.parametrize(
    ("query", "key", "code"),
    [
        ("timestamp=1", DEMO_KEY, 100412),
        ("timestamp=1&signature=00", DEMO_KEY, 100001),
        ("timestamp=1&signature=00", "another", 100413),
    ],
)
def test_who_does_not_sign_or_has_no_key_is_turned_away(client: Client, query: str, key: str, code: int) -> None:
    reply = client.send("GET", "/openApi/swap/v3/user/balance", query, key=key)
    assert (reply.status, msgspec.json.decode(reply.body)["code"]) == (200, code)


@pytest.mark.parametrize(
    ("late_ms", "window", "code"),
    [(4_900, "", 0), (5_100, "", 100421), (-900, "", 0), (-1_100, "", 100421), (2_000, "recvWindow=1999&", 100421)],
)
def test_a_request_is_taken_within_its_window(client: Client, late_ms: int, window: str, code: int) -> None:
    client.now += max(0, -late_ms) * MS
    query = client.signed(f"{window}symbol=BTC-USDT")
    client.now += late_ms * MS
    answer = msgspec.json.decode(client.send("GET", "/openApi/swap/v2/trade/leverage", query).body)
    assert answer["code"] == code


def test_an_account_may_ask_each_endpoint_so_often_in_a_second(client: Client) -> None:
    def once() -> int:
        reply = client.send("GET", "/openApi/swap/v1/positionSide/dual", client.signed(""))
        if reply.status == 429:
            assert str((client.now // S + 1) * 1_000).encode() in reply.body, "it says until when"
        return reply.status

    assert [once() for _ in range(3)] == [200, 200, 429]
    client.now += S
    assert once() == 200


def test_an_address_that_asks_too_often_is_slowed_and_then_banned() -> None:
    client = Client(market_10s=3)
    client.now = (client.now // (10 * S) + 1) * 10 * S
    statuses = [client.send("GET", "/openApi/swap/v2/server/time", "").status for _ in range(15)]
    assert statuses == [200] * 3 + [429] * 10 + [418] * 2
    before = client.side.set_limits(1_000, 1, None)
    assert before == (3, 0, 0)
    client.now += 300 * S
    assert client.ask("POST", ORDER, BUY)["order"]
    assert client.ask("POST", ORDER, BUY) == 100410


def test_rights_of_a_key(client: Client) -> None:
    path = "/openApi/v1/account/apiPermissions"

    def rights() -> tuple[list[int], list[str]]:
        told = msgspec.json.decode(client.send("GET", path, client.signed("")).body)
        return told["permissions"], told["ipAddresses"]

    assert rights() == ([2, 3], ["127.0.0.1"])
    client.side.change_key(DEMO_KEY, {"withdraw": True, "trade": False, "ip": False})
    assert rights() == ([2, 5], [])
    assert client.ask("POST", ORDER, BUY) == 100004
    client.side.change_key(DEMO_KEY, {"trade": True, "expires_ms": client.now // MS + 1})
    assert client.ask("POST", ORDER, BUY) == 100004
    session = client.listen()
    client.side.revoke_key(DEMO_KEY)
    assert client.ask("POST", ORDER, BUY) == 100413
    client.exchange.deposit(client.account, 5)
    assert events(client.hear(session), "ACCOUNT_UPDATE") == []


# Orders


def test_digits_are_cut_and_ids_put_in_small_letters(client: Client) -> None:
    more = "&clientOrderID=MiNe&price=79000.19&quantity=0.0109999"
    placed = client.ask("POST", ORDER, REST.replace("&quantity=0.01", "").replace("&price=79000", "") + more)["order"]
    assert placed["clientOrderId"] == "mine"
    found = client.ask("GET", ORDER, "symbol=BTC-USDT&clientOrderId=MINE")["order"]
    assert (found["orderId"], found["price"], found["origQty"]) == (placed["orderId"], "79000.1", "0.010")
    assert found["status"] == "PENDING"
    assert client.ask("DELETE", ORDER, f"symbol=BTC-USDT&orderId={placed['orderId']}")["order"]["status"] == "CANCELLED"
    assert client.ask("POST", ORDER, f"{REST}&clientOrderId=mine") == 101481, "for ever"
    nameless = client.ask("POST", ORDER, REST)["order"]
    assert nameless["clientOrderId"] == ""


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (BUY.replace("positionSide=BOTH", "positionSide=LONG"), 109400),
        (BUY.replace("BTC-USDT", "BTCUSDT"), 109425),
        (BUY.replace("quantity=0.01", "quantity=0.0009"), 101202),
        (BUY.replace("quantity=0.01", "quantity=x"), 109400),
        (BUY.replace("type=MARKET", "type=STOP"), 109400),
        (REST.replace("BUY", "SELL").replace("79000", "70000"), 101211),
        (REST.replace("79000", "81000") + "&timeInForce=PostOnly", 101215),
        (f"{BUY}&reduceOnly=true", 101290),
        (BUY.replace("0.01", "50"), 101204),
        (f"{BUY}&clientOrderId={'x' * 41}", 109400),
    ],
)
def test_refusals(client: Client, query: str, code: int) -> None:
    assert client.ask("POST", ORDER, query) == code
    assert client.exchange.ledger.rejected[DEMO_KEY][code] == 1


def test_in_hedge_mode_the_side_of_the_position_says_what_reduces() -> None:
    client = Client(account=Account(balance=10_000, hedge=True))
    opened = BUY.replace("BOTH", "LONG")
    assert client.ask("POST", ORDER, BUY) == 109400
    assert client.ask("POST", ORDER, opened)["order"]
    assert client.ask("POST", ORDER, f"{opened}&reduceOnly=true") == 109400
    (row,) = client.ask("GET", "/openApi/swap/v2/user/positions")
    assert (row["positionSide"], row["positionAmt"], row["onlyOnePosition"]) == ("LONG", "0.010", False)


def test_a_done_order_is_not_cancelled_and_an_unknown_one_not_found(client: Client) -> None:
    done = client.ask("POST", ORDER, BUY)["order"]["orderId"]
    assert client.ask("DELETE", ORDER, f"symbol=BTC-USDT&orderId={done}") == 80018
    assert client.ask("DELETE", ORDER, "symbol=BTC-USDT&orderId=5") == 109421
    assert client.ask("GET", ORDER, f"symbol=ETH-USDT&orderId={done}") == 109421
    rests = client.ask("POST", ORDER, REST)["order"]["orderId"]
    batch = client.ask("DELETE", "/openApi/swap/v2/trade/batchOrders", f"symbol=BTC-USDT&orderIdList=[{rests},{done}]")
    assert [row["orderId"] for row in batch["success"]] == [rests]
    assert [row["errorCode"] for row in batch["failed"]] == [80018]


@pytest.mark.parametrize(("wait", "code"), [("9", 109400), ("121", 109400), ("10", 0)])
def test_the_switch_is_the_accounts_and_has_bounds(client: Client, wait: str, code: int) -> None:
    client.ask("POST", ORDER, REST)
    told = client.ask("POST", "/openApi/swap/v2/trade/cancelAllAfter", f"type=ACTIVATE&timeOut={wait}")
    assert told == code if code else told["status"] == "ACTIVATED"
    client.now += 11 * S
    client.side.advance(client.now)
    assert bool(client.account.open_orders) is bool(code)


# What it tells


def test_asks_begin_with_the_worst(client: Client) -> None:
    depth = client.ask("GET", "/openApi/swap/v2/quote/depth", "symbol=BTC-USDT&limit=5")
    asks, bids = ([float(price) for price, _ in depth[side]] for side in ("asks", "bids"))
    assert asks == sorted(asks, reverse=True)
    assert bids == sorted(bids, reverse=True)
    assert bids[0] < asks[-1]
    assert client.ask("GET", "/openApi/swap/v2/quote/depth", "symbol=BTC-USDT&limit=4") == 109400


def test_an_asset_that_was_never_used_has_empty_texts(client: Client) -> None:
    used, empty = client.ask("GET", "/openApi/swap/v3/user/balance")
    assert (used["asset"], used["balance"]) == ("USDT", "10000.00000000")
    assert (empty["asset"], empty["balance"], empty["userId"]) == ("USDC", "", "")


def test_topics_are_acknowledged_pushed_and_left(client: Client) -> None:
    session = client.open()

    def say(kind: str, topic: str) -> Any:
        text = msgspec.json.encode({"id": "n1", "reqType": kind, "dataType": topic})
        (answer,) = client.side.receive(session, text, client.now)
        return msgspec.json.decode(unpacked(answer))

    assert say("sub", "BTC-USDT@markPrice") == {
        "code": 0, "id": "n1", "msg": "SUCCESS", "timestamp": client.now // MS,
    }  # fmt: skip
    assert {frame["dataType"] for frame in client.hear(session, 2)} == {"BTC-USDT@markPrice"}
    say("sub", "BTC-USDT@depth5@500ms")
    say("unsub", "BTC-USDT@markPrice")
    (book, *_) = client.hear(session, 1)
    assert float(book["data"]["asks"][0][0]) > float(book["data"]["asks"][-1][0])
    assert say("sub", "BTC-USDT@nothing")["code"] == 80014
    client.side.streams.sessions[session.number].topics.update((f"x{n}", 1 << 60) for n in range(200))
    assert say("sub", "ETH-USDT@markPrice")["code"] == 80403


def test_who_does_not_answer_a_greeting_is_disconnected(client: Client) -> None:
    kind, silent = client.open(), client.open()
    told = client.hear(kind, 30)
    assert told == ["Ping"] * 6
    assert kind.number in client.side.streams.sessions
    assert silent.closed


def test_a_private_socket_tells_settings_at_once_and_with_each_greeting_and_wants_no_word(client: Client) -> None:
    session = client.listen()
    told = client.hear(session, 5)
    assert len(events(told, "ACCOUNT_CONFIG_UPDATE")) == 4
    (refused,) = client.side.receive(session, "{}", client.now)
    assert msgspec.json.decode(unpacked(refused))["code"] == 80014


def test_the_life_of_a_listen_key() -> None:
    client = Client(listen_key_life_ms=10_000)
    session = client.listen()
    key = session.key
    assert client.listen().key == key, "an account has one"
    client.hear(session, 8)
    assert client.send("PUT", KEY, f"listenKey={key}").status == 200
    assert not events(client.hear(session, 8), "listenKeyExpired")
    *_, expired, end = client.hear(session, 4)
    assert (expired["e"], expired["listenKey"], end) == ("listenKeyExpired", key, Close())
    assert client.send("PUT", KEY, f"listenKey={key}").status == 404
    assert client.send("PUT", KEY, "").status == 204
    dead = client.open(f"/swap-market?listenKey={key}")
    client.ask("POST", ORDER, BUY)
    assert client.hear(dead) == [], "it opens, and stays silent"
    client.side.streams.keys["k"] = (DEMO_KEY, 1 << 60)
    assert client.send("DELETE", KEY, "listenKey=k").status == 200
    assert client.side.streams.keys == {}


def test_an_order_and_then_the_account_are_told(client: Client) -> None:
    session = client.listen()
    client.hear(session)
    client.ask("POST", ORDER, f"{BUY}&clientOrderId=mine")
    new, trade, account = client.hear(session)
    assert (new["o"]["x"], new["o"]["X"], new["o"]["c"]) == ("NEW", "NEW", "mine")
    assert (trade["o"]["x"], trade["o"]["X"], trade["o"]["l"], trade["o"]["z"]) == (
        "TRADE", "FILLED", "0.01000000", "0.01000000",
    )  # fmt: skip
    assert Decimal(trade["o"]["n"]) < 0, "a fee that is paid"
    (row,) = account["a"]["P"]
    assert (account["a"]["m"], row["pa"], row["ps"]) == ("ORDER", "0.01000000", "LONG")
    client.side.streams.terse = True
    client.ask("POST", ORDER, BUY)
    (trade,) = [one for one in client.hear(session) if one["e"] == "ORDER_TRADE_UPDATE" and one["o"]["x"] == "TRADE"]
    assert not {"l", "L"} & trade["o"].keys()
    assert (trade["o"]["z"], trade["o"]["c"]) == ("0.01000000", "")


@pytest.mark.parametrize("isolated", [False, True])
def test_funding_tells_the_balance_and_of_isolated_positions_those_too(isolated: bool) -> None:
    own = ("BTCUSDT",) if isolated else ()
    client = Client(account=Account(balance=10_000, positions={"BTCUSDT": "0.1"}, isolated=own))
    session = client.listen()
    client.hear(session)
    client.exchange.settle_now("BTCUSDT", Decimal("0.001"))
    (told,) = client.hear(session)
    assert (told["a"]["m"], told["a"]["B"][0]["bc"]) == ("FUNDING_FEE", "-8.00000000")
    assert len(told["a"]["P"]) == isolated


def test_a_liquidation_is_an_order_of_that_type_without_a_name(client: Client) -> None:
    session = client.listen()
    client.ask("POST", ORDER, BUY.replace("0.01", "1"))
    client.hear(session)
    client.exchange.set_mark("BTCUSDT", 71_000)
    client.exchange.take_over(client.account, "BTCUSDT") if client.account.held() else None
    forced = [one["o"] for one in events(client.hear(session), "ORDER_TRADE_UPDATE") if one["o"]["x"] == "CALCULATED"]
    assert {(order["o"], order["c"]) for order in forced} == {("LIQUIDATION", "")}


# Faults


def test_every_endpoint_is_of_a_kind(client: Client) -> None:
    other = {path for method, path in ROUTES if client.side.kind(method, path) == "other"}
    assert other == {
        "/openApi/swap/v3/quote/klines", "/openApi/cswap/v1/market/contracts", "/openApi/spot/v1/common/symbols",
        "/openApi/wallets/v1/capital/config/getall", "/openApi/swap/v2/trade/forceOrders",
    }  # fmt: skip
    assert client.side.kind("PUT", KEY) == "key"


@pytest.mark.parametrize("do", ["unknown", "timeout", "overload", "limit", "refuse", "unavailable", "error inside 200"])
@pytest.mark.parametrize("code", [None, 101204])
def test_failures_are_worded_as_the_venue_does(client: Client, do: str, code: int | None) -> None:
    reply = client.side.failure(do, code=code, until=client.now, client="", now=client.now)
    if do == "unavailable" or (do == "timeout" and code is None):
        assert reply.status in (503, 504)
    else:
        assert reply.status == (429 if do == "limit" else 200)
        assert msgspec.json.decode(reply.body)["code"] in (code, 109500, 101214, 100410)


def frames(client: Client) -> list[bytes]:
    """One of each kind: mark, quote, book, answer, order, account, settings, greeting."""
    public, private = client.open(), client.listen()
    told = []
    for topic in ("markPrice", "bookTicker", "depth5@200ms"):
        text = msgspec.json.encode({"id": "1", "reqType": "sub", "dataType": f"BTC-USDT@{topic}"})
        told += client.side.receive(public, text, client.now)[:1]
    client.ask("POST", ORDER, BUY)
    client.now += 6 * S
    found = [*told, *(frame for _, frame in client.side.advance(client.now) if isinstance(frame, bytes))]
    assert private.number
    return list({(client.side.topic(frame), unpacked(frame)[:45]): frame for frame in found}.values())


def test_topics_of_frames(client: Client) -> None:
    found = {client.side.topic(frame) for frame in frames(client)}
    assert {(topic.what, topic.symbol) for topic in found} == {
        ("mark", "BTCUSDT"), ("quote", "BTCUSDT"), ("reply", ""), ("order", "BTCUSDT"), ("account", ""),
        ("account", "BTCUSDT"), ("account", "ETHUSDT"),
    }  # fmt: skip


@pytest.mark.parametrize("do", FORGERIES)
def test_a_forged_frame_is_another_one_and_still_packed(client: Client, do: str) -> None:
    fault = FrameFault(do, other="ETHUSDT" if do == "swap" else None)
    by = float(fault.value("by") or fault.value("ms") or 0)
    forged = [
        (frame, other)
        for frame in frames(client)
        if (other := client.side.forge(frame, do, by=by, symbol="ETHUSDT")) is not None
    ]
    assert forged
    for frame, other in forged:
        assert client.side.text(other) != client.side.text(frame)
        assert packed(client.side.text(other)) == other
    if do == "swap":
        assert all(b"BTC-USDT@" not in client.side.text(other) for _, other in forged)


def test_an_answer_is_shortened_where_its_list_is(client: Client) -> None:
    client.ask("POST", ORDER, REST)
    client.ask("POST", ORDER, REST)

    def shortened(path: str, keep: int) -> Any:
        client.now += S
        body = client.side.shorten(client.send("GET", path, client.signed("")).body, keep)
        return None if body is None else msgspec.json.decode(body)["data"]

    assert len(shortened("/openApi/swap/v2/trade/openOrders", 1)["orders"]) == 1
    assert shortened("/openApi/swap/v3/user/balance", 0) == []
    assert shortened("/openApi/swap/v1/positionSide/dual", 0) is None


def test_a_stepped_clock_takes_what_is_due_along(client: Client) -> None:
    session = client.listen()
    client.hear(session)
    client.side.step_clock(-3_600_000)
    client.now -= 3_600 * S
    told = client.hear(session, 5)
    assert "Ping" in told
    assert not events(told, "listenKeyExpired")
