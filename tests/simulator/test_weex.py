"""The WEEX side's own ways: heads that sign, refusals under HTTP 200, pings, budgets, and what its faults look like."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from adapters.simulator import DEMO_KEY, DEMO_PASSPHRASE, DEMO_SECRET, Account, Close, Exchange, StillMarket
from adapters.simulator.client import START
from adapters.simulator.faults import EVENTS, FORGERIES, REQUESTS, REQUESTS_ABOUT, Faults, Incident, RequestFault
from adapters.simulator.gateway import Gateway
from adapters.simulator.weex import ROUTES, Weex
from adapters.simulator.weex_streams import Session
from adapters.simulator.wire import Reply, Topic

MS = 1_000_000
S = 1_000 * MS
ORDER = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "positionSide": "LONG",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.1",
    "price": "79000",
    "newClientOrderId": "mine",
}


class Client:
    """Signs, keeps the time and decodes."""

    def __init__(self, account: Account | None = None, **options: Any) -> None:
        self.account = account or Account()
        market = StillMarket({"BTCUSDT": 80_000, "ETHUSDT": 2_500})
        self.weex = Weex(Exchange(market, [self.account]), **options)
        self.now = START
        self.weex.advance(self.now)

    def head(
        self,
        method: str,
        path: str,
        changes: Mapping[str, str] = MappingProxyType({}),
        query: str = "",
        body: bytes = b"",
    ) -> dict[str, str]:
        stamp = changes.get("ACCESS-TIMESTAMP", str(self.now // MS))
        text = f"{stamp}{method}{path}{query and f'?{query}'}".encode() + body
        signature = base64.b64encode(hmac.new(DEMO_SECRET.encode(), text, hashlib.sha256).digest()).decode()
        head = {"ACCESS-KEY": DEMO_KEY, "ACCESS-SIGN": signature, "ACCESS-PASSPHRASE": DEMO_PASSPHRASE}
        return {**head, "ACCESS-TIMESTAMP": stamp, "Content-Type": "application/json", **changes}

    def call(self, method: str, path: str, query: str = "", sent: Any = None, **changes: str) -> tuple[int, Any]:
        """Status and decoded body of a request; a changed header of "" is left out."""
        self.now += MS
        path, body = f"/capi/v3/{path}", b"" if sent is None else msgspec.json.encode(sent)
        head = {name: value for name, value in self.head(method, path, changes, query, body).items() if value}
        reply = self.weex.request(method, path, query, head, body, self.now)
        return reply.status, msgspec.json.decode(reply.body)

    def place(self, **changes: Any) -> tuple[int, Any]:
        return self.call("POST", "order", sent={**ORDER, **changes})

    def open(self, path: str = "/v3/ws/private", *names: str, **changes: str) -> Session:
        session = self.weex.connect(path, self.now, self.head("", path, changes))
        if names:
            self.say(session, {"method": "SUBSCRIBE", "params": names, "id": 1})
        return session

    def say(self, session: Session, message: Any) -> list[Any]:
        answers = self.weex.receive(session, msgspec.json.encode(message), self.now)
        return [msgspec.json.decode(one) for one in answers]

    def wait(self, seconds: float, session: Session) -> list[Any]:
        """What a session hears in a while; `None` for its end."""
        heard: list[Any] = []
        until = self.now + int(seconds * S)
        while self.now < until:
            self.now = min(until, max(self.now + 1, self.weex.next_at))
            for one, frame in self.weex.advance(self.now):
                if one is session:
                    heard.append(None if isinstance(frame, Close) else msgspec.json.decode(frame))
        return heard


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ACCESS-KEY": ""}, -1040),
        ({"ACCESS-SIGN": ""}, -1041),
        ({"ACCESS-TIMESTAMP": ""}, -1042),
        ({"ACCESS-TIMESTAMP": "yesterday"}, -1043),
        ({"ACCESS-KEY": "another"}, -1044),
        ({"Content-Type": ""}, -1045),
        ({"ACCESS-TIMESTAMP": str(START // MS - 30_002)}, -1046),
        ({"ACCESS-TIMESTAMP": str(START // MS + 30_003)}, -1046),
        ({"ACCESS-SIGN": "bm90IHJpZ2h0"}, -1047),
        ({"ACCESS-PASSPHRASE": "wrong"}, -1049),
        ({"ACCESS-PASSPHRASE": ""}, -1049),
    ],
)
def test_what_is_not_signed_right_is_not_let_in(changes: dict[str, str], code: int) -> None:
    client = Client()
    status, body = client.call("POST", "order", sent=ORDER, **changes)
    assert (status, body["code"]) == (400, code)
    assert client.account.open_orders == {}


def test_a_timestamp_is_good_for_thirty_seconds() -> None:
    client = Client()
    status, body = client.call("POST", "order", sent=ORDER, **{"ACCESS-TIMESTAMP": str(START // MS - 29_999)})
    assert (status, body["success"]) == (200, True)


def test_an_order_that_waited_in_the_gateway_is_looked_at_again_by_an_engine_that_does_so() -> None:
    for rechecks, status in ((True, 400), (False, 200)):
        client = Client(rechecks=rechecks)
        body = msgspec.json.encode(ORDER)
        old = {"ACCESS-TIMESTAMP": str(START // MS - 25_000)}
        head = client.head("POST", "/capi/v3/order", old, body=body)
        reply = client.weex.request(
            "POST", "/capi/v3/order", "", head, body, START + 10 * S, arrived=START + S
        )  # in time at the gate, and not in the engine
        assert reply.status == status


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"side": "LONG"}, -1117),
        ({"positionSide": None}, -1141),
        ({"positionSide": "BOTH"}, -1142),
        ({"type": "STOP"}, -1116),
        ({"timeInForce": "GTX"}, -1115),
        ({"type": "MARKET", "price": None}, -1115),
        ({"newClientOrderId": None}, -1141),
        ({"newClientOrderId": "with space"}, -1180),
        ({"newClientOrderId": "x" * 37}, -1180),
        ({"quantity": "much"}, -1142),
        ({"price": None}, -1141),
    ],
)
def test_a_request_that_is_wrong_in_itself_is_an_error(changes: dict[str, Any], code: int) -> None:
    status, body = Client().place(**changes)
    assert (status, body["code"]) == (400, code)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": "0.0001"}, "-1160"),
        ({"price": "79000.05"}, "-1160"),
        ({"quantity": "2000"}, "-3007"),
        ({"quantity": "100"}, "-1054"),
        ({"side": "SELL", "price": "81000"}, "-1054"),
        ({"price": "90000"}, "-1142"),
    ],
)
def test_an_order_that_is_not_taken_is_refused_under_http_200(changes: dict[str, Any], code: str) -> None:
    client = Client()
    status, body = client.place(**changes)
    assert (status, body["success"], body["errorCode"]) == (200, False, code)
    assert body["errorMessage"]
    assert client.account.open_orders == {}


def test_ids_are_used_once() -> None:
    client = Client()
    assert client.place()[1]["success"]
    (order,) = client.call("GET", "openOrders")[1]
    assert order["orderId"] > 2**53, "ids are whole numbers that no float holds"
    client.call("DELETE", "order", "origClientOrderId=mine")
    assert "duplicated" in client.place()[1]["errorMessage"]
    status, body = client.call("DELETE", "order", "origClientOrderId=mine")
    assert (status, body["errorCode"], body["errorMessage"]) == (200, "-3200", "FAILED_ORDER_NOT_FOUND")
    assert client.call("GET", "order", "origClientOrderId=mine")[1]["code"] == -1141, "by the venue's id alone"


def test_there_is_no_smallest_value_and_no_batch() -> None:
    client = Client()
    assert client.place(quantity="0.001", price="76001")[1]["success"]
    assert client.call("POST", "batchOrders", sent={"batchOrders": []})[1]["code"] == -1150


def test_what_would_take_is_accepted_and_cancelled_where_it_must_only_make() -> None:
    client = Client()
    session = client.open("/v3/ws/private", "orders", "fill")
    assert client.place(timeInForce="POST_ONLY", price="80500")[1]["success"]
    rows = [frame["d"][0] for frame in client.wait(1, session) if frame["e"] == "orders"]
    assert [(row["status"], row["cumFillSize"]) for row in rows] == [("PENDING", "0"), ("CANCELED", "0")]


def test_a_market_order_is_told_in_the_order_of_the_captures() -> None:
    client = Client(heartbeat_ms=30_000)
    session = client.open("/v3/ws/private", "account", "positions", "orders", "fill")
    client.place(type="MARKET", timeInForce=None, price=None)
    frames = client.wait(1, session)
    assert [frame["e"] for frame in frames] == ["orders", "fill", "positions", "account", "orders"]
    versions = [frame["v"] for frame in frames]
    assert versions == sorted(set(versions))
    values = [value for frame in frames for row in frame["d"] for value in row.values()]
    assert {type(value) for value in values} == {str, bool}, "all numbers are text"
    assert "price" not in frames[1]["d"][0]
    assert frames[-1]["d"][0]["status"] == "FILLED"
    empty = [frame for frame in client.wait(31, session) if frame.get("e") == "orders"]
    assert empty[0]["d"] == []


def test_the_pool_is_no_wallet() -> None:
    client = Client(Account(balance=10_000, positions={"BTCUSDT": "0.1"}))
    session = client.open("/v3/ws/private", "account")
    client.weex.exchange.deposit(client.account, 100)
    (frame,) = client.wait(1, session)
    row = frame["d"][0]
    assert (frame["msgEvent"], row["cumDepositAmount"]) == ("DepositUpdate", "100")
    assert float(row["amount"]) == 10_100 - 8_000, "opening a long lowers it by all that it is worth"
    client.weex.exchange.set_mark("BTCUSDT", 81_000)
    (balance,) = client.call("GET", "account/balance")[1]
    assert (float(balance["balance"]), float(balance["unrealizePnl"])) == (10_200, 100)


def test_pings_must_be_answered() -> None:
    client = Client()
    spoken, silent = client.open("/v3/ws/public", "BTCUSDT@ticker"), client.open("/v3/ws/private")
    pings = [frame for frame in client.wait(31, spoken) if "event" in frame]
    assert [ping["event"] for ping in pings] == ["ping"]
    assert client.say(spoken, {"id": "5", "method": "PONG"}) == [{"id": "5", "method": "PONG"}]
    heard = client.wait(135, silent)
    assert [frame["type"] for frame in heard[:-1]] == ["ping"] * 4
    assert heard[-1] is None, "the sixth ping without an answer to any closes it"
    assert spoken.closed is False


def test_a_handshake_that_is_not_signed_is_closed() -> None:
    client = Client()
    for changes in ({"ACCESS-SIGN": "bm90IHJpZ2h0"}, {"ACCESS-KEY": ""}):
        session = client.open(**changes)
        assert session.closed
        assert client.wait(0.01, session) == [None]


def test_subscriptions_are_few() -> None:
    client = Client()
    session = client.open("/v3/ws/public")
    (told,) = client.say(session, {"method": "SUBSCRIBE", "params": ["ASDFS_SPBL@ticker"], "id": 1})
    assert told == {"result": False, "id": 1, "msg": "INVALID_ARGUMENT: invalid symbol : ASDFS_SPBL"}
    for number in range(239):
        assert client.say(session, {"method": "UNSUBSCRIBE", "params": ["BTCUSDT@ticker"], "id": number})[0]["result"]
    assert not client.say(session, {"method": "UNSUBSCRIBE", "params": ["BTCUSDT@ticker"], "id": 1})[0]["result"]
    assert not client.say(client.open(), {"method": "SUBSCRIBE", "params": ["BTCUSDT@ticker"], "id": 1})[0]["result"]


def test_a_book_is_told_whole_and_then_by_its_changes() -> None:
    client = Client()
    session = client.open("/v3/ws/public")
    _, whole = client.say(session, {"method": "SUBSCRIBE", "params": ["BTCUSDT@depth15"], "id": 1})
    assert (whole["e"], len(whole["b"]), len(whole["a"])) == ("depthSnapshot", 15, 15)
    sides = {"b": dict(whole["b"]), "a": dict(whole["a"])}
    last = whole["u"]
    for price in (80_100, 80_050, 79_000):
        client.weex.exchange.set_mark("BTCUSDT", price)
        (frame,) = client.wait(0.3, session)
        assert (frame["e"], frame["U"]) == ("depth", last + 1)
        last = frame["u"]
        for name, side in sides.items():
            side.update(dict(frame[name]))
            sides[name] = {level: size for level, size in side.items() if size != "0"}
        book = client.call("GET", "market/depth", "symbol=BTCUSDT&limit=15")[1]
        assert sides == {"b": dict(book["bids"]), "a": dict(book["asks"])}
    late = client.open("/v3/ws/public")
    _, again = client.say(late, {"method": "SUBSCRIBE", "params": ["BTCUSDT@depth15"], "id": 1})
    assert (again["u"], dict(again["b"])) == (last, sides["b"])


def test_fills_come_in_no_order_and_no_more_than_a_hundred() -> None:
    client = Client(Account(balance=10_000_000), orders_10s=1_000)
    for number in range(120):
        client.place(type="MARKET", timeInForce=None, price=None, quantity="0.001", newClientOrderId=f"a{number}")
    rows = client.call("GET", "userTrades", "symbol=BTCUSDT")[1]
    assert len(rows) == 100
    ids = [row["id"] for row in rows]
    assert ids != sorted(ids)
    assert ids != sorted(ids, reverse=True)
    assert client.call("GET", "userTrades", "limit=101")[1]["code"] == -1140
    week = START // MS - 8 * 86_400_000
    assert client.call("GET", "userTrades", f"startTime={week}")[1]["code"] == -1170
    income = client.call("POST", "account/income", sent={"limit": 100})[1]
    assert income["hasNextPage"]
    further = client.call("POST", "account/income", sent={"limit": 100, "nextKey": income["nextKey"]})[1]
    bills = [row["billId"] for row in (*income["items"], *further["items"])]
    assert len(bills) == len(set(bills))
    assert client.call("POST", "account/income", sent={"startTime": 1})[1]["code"] == -1128


def test_history_holds_what_has_ended_page_by_page() -> None:
    client = Client()
    for number in range(5):
        client.place(newClientOrderId=f"a{number}")
    assert client.call("GET", "order/history", "symbol=BTCUSDT")[1] == []
    assert len(client.call("DELETE", "allOpenOrders", "symbol=BTCUSDT")[1]) == 5
    first = client.call("GET", "order/history", "symbol=BTCUSDT&limit=3&page=0")[1]
    second = client.call("GET", "order/history", "symbol=BTCUSDT&limit=3&page=1")[1]
    assert [row["clientOrderId"] for row in (*first, *second)] == ["a4", "a3", "a2", "a1", "a0"]
    assert {row["status"] for row in first} == {"CANCELED"}


def test_several_are_cancelled_by_either_id_and_positions_closed() -> None:
    client = Client()
    client.place(newClientOrderId="a")
    client.place(newClientOrderId="b")
    results = client.call("DELETE", "batchOrders", sent={"origClientOrderIdList": ["a", "c", "b"]})[1]["orderList"]
    assert [row["success"] for row in results] == [True, False, True]
    client.place(type="MARKET", timeInForce=None, price=None, newClientOrderId="d")
    ((closed,),) = [client.call("POST", "closePositions", sent={"symbol": "BTCUSDT"})[1]]
    assert closed["success"]
    assert client.call("GET", "account/position/allPosition")[1] == []


def test_budgets_are_counted_told_and_kept() -> None:
    client = Client(weight_limit=30, orders_10s=2)
    path, head = "/capi/v3/order", {}
    for number, success in (("1", True), ("2", True)):
        body = msgspec.json.encode({**ORDER, "newClientOrderId": number})
        head = client.head("POST", path, body=body)
        reply = client.weex.request("POST", path, "", head, body, client.now)
        assert (reply.headers["X-ORDER-COUNT-10S"], reply.headers["X-USED-WEIGHT-1M"]) == (number, str(2 * int(number)))
        assert msgspec.json.decode(reply.body)["success"] is success
    assert client.place(newClientOrderId="3")[0] == 429
    told = client.call("GET", "market/exchangeInfo")[1]["rateLimits"]
    assert [one["limit"] for one in told] == [30, 2, 600]
    assert client.weex.set_limits(60, None, 5) == (30, 2, 600)
    client.weex.use_weight(60, client.now)
    assert client.call("GET", "market/time")[0] == 429
    client.weex.ban(client.now, 1_000)
    reply = client.weex.request("GET", "/capi/v3/market/time", "", {}, b"", client.now)
    assert reply.status == 403
    client.now += 60 * S
    assert client.call("GET", "market/time")[0] == 200


def test_keys_change_and_go() -> None:
    client = Client()
    session = client.open()
    client.weex.change_key(DEMO_KEY, {"trade": False, "withdraw": True})
    assert client.place()[1]["code"] == -1052
    assert client.call("GET", "account/balance")[0] == 200
    client.weex.change_key(DEMO_KEY, {"trade": True, "expires_ms": client.now // MS})
    assert client.call("GET", "account/balance")[1]["code"] == -1044
    with pytest.raises(ValueError, match="no right"):
        client.weex.change_key(DEMO_KEY, {"fly": True})
    client.weex.revoke_key(DEMO_KEY)
    assert client.wait(0.01, session) == [None]
    assert not client.weex.expire(session, client.now, told=True), "there is no key of a stream"


def test_a_symbol_that_does_not_trade_is_not_for_the_api() -> None:
    client = Client()
    client.weex.exchange.set_status("BTCUSDT", "SETTLING")
    assert client.place()[1]["errorCode"] == "-1058"
    assert client.call("GET", "market/apiTradingSymbols")[1] == ["ETHUSDT"]


def test_accounts_are_in_hedge_mode() -> None:
    client = Client()
    assert client.call("GET", "account/accountConfig")[1]["dualSidePosition"] is True
    for side, row in (("BUY", "LONG"), ("SELL", "SHORT")):
        client.place(side=side, positionSide=row, type="MARKET", timeInForce=None, price=None, newClientOrderId=row)
    held = client.call("GET", "account/position/allPosition")[1]
    assert [(one["side"], one["size"]) for one in held] == [("LONG", "0.1"), ("SHORT", "0.1")]


# What the gateway asks of it


def test_every_request_is_about_something() -> None:
    weex = Client().weex
    kinds = {weex.kind(method, path) for method, path in ROUTES}
    assert kinds <= set(REQUESTS_ABOUT)
    assert kinds >= {
        "order",
        "cancel",
        "query",
        "orders",
        "positions",
        "account",
        "rules",
        "time",
        "prices",
        "settings",
    }


def test_topics() -> None:
    client = Client()
    private = client.open("/v3/ws/private", "account", "positions", "orders", "fill")
    public = client.open("/v3/ws/public", "BTCUSDT@ticker", "BTCUSDT@depth15")
    client.place(type="MARKET", timeInForce=None, price=None)
    frames: dict[str, Topic] = {}
    for _ in range(400):
        client.now += 100 * MS
        for _session, frame in client.weex.advance(client.now):
            assert isinstance(frame, bytes)
            event = msgspec.json.decode(frame)
            frames[event.get("e") or "ping"] = client.weex.topic(frame)
    assert not private.closed
    assert not public.closed
    about = {
        "ticker": "mark", "depth": "quote", "orders": "order", "fill": "order", "positions": "account",
        "account": "account", "ping": "reply",
    }  # fmt: skip
    assert {name: topic.what for name, topic in frames.items()} == about
    assert {frames[name].symbol for name in ("ticker", "depth", "orders", "fill", "positions")} == {"BTCUSDT"}
    assert client.weex.topic(client.weex.refusal(b'{"id":1}')).what == "reply"


@pytest.mark.parametrize("do", FORGERIES)
def test_frames_are_forged(do: str) -> None:
    client = Client()
    private = client.open("/v3/ws/private", "orders", "positions")
    client.open("/v3/ws/public", "BTCUSDT@ticker", "BTCUSDT@depth15")
    client.place(type="MARKET", timeInForce=None, price=None)
    client.now += 2 * S
    frames = [frame for _, frame in client.weex.advance(client.now) if isinstance(frame, bytes)]
    forged = {client.weex.topic(frame).what: client.weex.forge(frame, do, by=2.0, symbol="ETHUSDT") for frame in frames}
    found = {what for what, frame in forged.items() if frame is not None}
    priced = {"spike", "zero", "negative", "nan", "overflow", "crossed"}
    assert found >= ({"mark"} if do in priced else set() if do == "new value" else {"mark", "quote"})
    assert ("order" in found) is (do not in priced)
    assert all(frame not in frames for frame in forged.values())
    assert not private.closed


@pytest.mark.parametrize(
    ("do", "code", "status"),
    [("unknown", None, 500), ("timeout", None, 504), ("overload", None, 503), ("limit", None, 429),
     ("refuse", -1160, 400), ("error inside 200", -1054, 400), ("unavailable", None, 503)],
)  # fmt: skip
def test_failures_are_worded_as_the_venue_words_them(do: str, code: int | None, status: int) -> None:
    reply = Client().weex.failure(do, code=code, until=0, client="x", now=0)
    assert reply.status == status
    if do != "unavailable":
        body = msgspec.json.decode(reply.body)
        assert code in (None, body["code"])
        assert body["msg"]


def test_two_equal_questions_are_equal_and_lists_are_shortened() -> None:
    client = Client()
    heads = [client.head("GET", "/capi/v3/openOrders") for client.now in (START, START + S)]
    questions = {client.weex.question("/capi/v3/order/history", f"symbol=X&startTime={n}", heads[n]) for n in (0, 1)}
    assert len(questions) == 1
    assert client.weex.shorten(b"[1,2,3]", 2) == b"[1,2]"
    assert client.weex.shorten(b'{"a":1}', 0) is None


# Faults strike on it as on any venue


def behind(gateway: Gateway, client: Client, method: str, path: str, sent: Any = None) -> list[Reply | None]:
    """What comes back for a request within a minute."""
    body = b"" if sent is None else msgspec.json.encode(sent)
    head = client.head(method, path, body=body)
    ticket = gateway.send(method, path, "", head, body, client.now)
    found: list[Reply | None] = []
    until = client.now + 60 * S
    while client.now < until:
        found += [reply for number, reply in gateway.advance(client.now).replies if number == ticket]
        client.now = min(until, max(client.now + 1, gateway.next_at))
    return found


@pytest.mark.parametrize("do", REQUESTS)
def test_every_fault_of_a_request_strikes(do: str) -> None:
    client = Client(rechecks=False)
    kind = REQUESTS[do]
    reads = do in ("stale", "empty", "truncate")
    fault = RequestFault(do, on="reads" if reads else "order", code=-1142 if "code" in kind.needs else None)
    gateway = Gateway(client.weex, Faults(requests=(fault,)))
    if reads:
        for number in ("a", "b", "c"):
            client.place(newClientOrderId=number)
        for _ in range(2):
            (reply,) = behind(gateway, client, "GET", "/capi/v3/openOrders")
        assert reply is not None
        wanted = {"stale": 3, "empty": 0, "truncate": 1}[do]
        assert len(msgspec.json.decode(reply.body)) == wanted
        return
    (reply,) = behind(gateway, client, "POST", "/capi/v3/order", ORDER)
    done = bool(client.account.open_orders)
    if do not in ("timeout", "hold"):
        assert done is (kind.phase == "back" or do == "unknown done")
    assert do in ("lose", "lose reply", "cut", "drip", "bomb") or reply is not None
    assert gateway.counts[f"requests: {do}"] == 1


@pytest.mark.parametrize("do", EVENTS)
def test_every_event_happens_or_is_refused(do: str) -> None:
    client = Client(Account(balance=100_000, positions={"BTCUSDT": "0.1"}))
    modes = {"margin mode": "isolated", "position mode": "one-way"}
    values: dict[str, object] = {
        "symbol": "BTCUSDT", "quantity": "-0.01", "price": 81_000, "amount": 5, "rate": "0.001", "factor": 10,
        "leverage": 5, "mode": modes.get(do), "asset": "BTC", "ms": 1_000, "weight": 10,
    }  # fmt: skip
    incident = msgspec.convert({"do": do, **{name: values[name] for name in EVENTS[do].needs}}, Incident)
    gateway = Gateway(client.weex, Faults())
    session = client.open("/v3/ws/private", "account", "positions", "orders", "fill")
    gateway.happen(incident, client.now)
    (reply,) = behind(gateway, client, "GET", "/capi/v3/account/position/allPosition")
    assert reply is not None
    refused = do in ("cancel all", "margin mode", "position mode", "haircut", "dead-man")  # there is nothing to do
    assert gateway.counts[f"events: {do}{' refused' if refused else ''}"] == 1
    assert session.closed is (do in ("maintenance", "revoke key"))
