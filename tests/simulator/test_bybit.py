"""Bybit's side of the local exchange: its checks, its limits, and its habit of answering before the outcome."""

import hashlib
import hmac
import json
from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Close, Exchange, StillMarket, wire
from adapters.simulator.bybit import Bybit
from adapters.simulator.bybit_streams import Session
from adapters.simulator.client import START
from adapters.simulator.faults import Faults, FrameFault, Incident, RequestFault
from adapters.simulator.gateway import Gateway

MS = 1_000_000
BTC = {"category": "linear", "symbol": "BTCUSDT"}
BUY = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "79000"}


class Client:
    """Signs, keeps the time and gathers frames; `lag_ms` long enough to see what happens in between."""

    def __init__(self, *, lag_ms: int = 20, account: Account | None = None, **limits: int) -> None:
        self.account = account or Account(balance=10_000)
        self.exchange = Exchange(StillMarket({"BTCUSDT": 80_000, "ETHUSDT": 2_500}), [self.account])
        self.bybit = Bybit(self.exchange, lag_ms=lag_ms, **limits)
        self.now = START
        self.frames: list[tuple[wire.Session, Any]] = []
        self.wait()

    def wait(self, ms: int = 0) -> None:
        until = self.now + ms * MS
        while True:
            self.now = max(self.now, min(until, self.bybit.next_at))
            self.frames += self.bybit.advance(self.now)
            if self.now >= until:
                return

    def call(self, path: str, body: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        """The answer to a signed request: one with a body is a POST."""
        query = options.get("query", "")
        text = json.dumps(body) if body is not None else ""
        stamp, window = str(self.now // MS + options.get("ahead_ms", 0)), options.get("window", "5000")
        key = options.get("key", DEMO_KEY)
        signed = f"{stamp}{key}{window}{text or query}".encode()
        head = {
            "X-BAPI-API-KEY": key, "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": window,
            "X-BAPI-SIGN": hmac.new(options.get("secret", DEMO_SECRET).encode(), signed, hashlib.sha256).hexdigest(),
        }  # fmt: skip
        method = "GET" if body is None else "POST"
        self.reply = self.bybit.request(method, path, query, head, text.encode(), self.now)
        answer: dict[str, Any] = json.loads(self.reply.body) if self.reply.status == 200 else {}
        return answer

    def code(self, path: str, body: dict[str, Any] | None = None, **options: Any) -> int:
        return int(self.call(path, body, **options).get("retCode", -self.reply.status))

    def row(self, link: str, path: str = "/v5/order/realtime") -> dict[str, Any] | None:
        """An order by its link id."""
        query = f"category=linear&symbol=BTCUSDT&orderLinkId={link}"
        rows: list[dict[str, Any]] = self.call(path, query=query)["result"]["list"]
        return rows[0] if rows else None

    def open(self, path: str = "/v5/private") -> Session:
        return self.bybit.connect(path, self.now)

    def say(self, session: Session, op: str, *args: Any) -> dict[str, Any]:
        (answer,) = self.bybit.receive(session, json.dumps({"op": op, "args": args, "req_id": "1"}), self.now)
        found: dict[str, Any] = json.loads(answer)
        return found

    def log_in(self) -> Session:
        session = self.open()
        until = self.now // MS + 1_000
        sign = hmac.new(DEMO_SECRET.encode(), f"GET/realtime{until}".encode(), hashlib.sha256).hexdigest()
        assert self.say(session, "auth", DEMO_KEY, until, sign)["success"]
        assert self.say(session, "subscribe", "order", "execution", "position", "wallet")["success"]
        return session

    def heard(self, session: Session, topic: str = "") -> list[Any]:
        """The rows told on a session since it was last asked."""
        frames = [json.loads(frame) for one, frame in self.frames if one is session and isinstance(frame, bytes)]
        self.frames = [(one, frame) for one, frame in self.frames if one is not session]
        return [row for frame in frames if frame["topic"].startswith(topic) for row in frame["data"]]


@pytest.fixture
def client() -> Client:
    return Client()


def test_who_asks_and_when(client: Client) -> None:
    ask = "/v5/account/info"
    assert client.code(ask) == 0
    assert client.code(ask, secret="wrong") == 10004
    assert client.code(ask, key="nobody") == 10003
    assert client.code(ask, ahead_ms=-4_999) == 0
    assert client.code(ask, ahead_ms=-5_001) == 10002
    assert client.code(ask, ahead_ms=1_000) == 10002
    assert client.code(ask, window="0") == 10001
    assert client.call("/v5/market/time", query="")["retMsg"] == "OK"
    assert client.code("/v5/nothing") == -404
    client.bybit.change_key(DEMO_KEY, {"trade": False})
    assert client.code("/v5/order/create", BUY) == 10005
    assert client.call("/v5/user/query-api")["result"]["readOnly"] == 1
    client.bybit.change_key(DEMO_KEY, {"expires_ms": client.now // MS + 86_400_000})
    assert client.call("/v5/user/query-api")["result"]["expiredAt"] == "2026-09-22T14:13:20Z"
    client.bybit.change_key(DEMO_KEY, {"expires_ms": client.now // MS})
    assert client.code(ask) == 33004
    client.bybit.revoke_key(DEMO_KEY)
    assert client.code(ask) == 10003


def test_an_order_is_received_before_it_is_there(client: Client) -> None:
    session = client.log_in()
    answer = client.call("/v5/order/create", BUY | {"orderLinkId": "a"})["result"]
    assert client.row("a") is None
    assert client.code("/v5/order/cancel", {**BTC, "orderLinkId": "a"}) == 110001
    client.wait(20)
    row = client.row("a")
    assert row is not None
    assert (row["orderId"], row["orderStatus"]) == (answer["orderId"], "New")
    assert [row["orderStatus"] for row in client.heard(session, "order")] == ["New"]
    assert client.code("/v5/order/cancel", {**BTC, "orderLinkId": "a"}) == 0
    row = client.row("a")
    assert row is not None
    assert row["orderStatus"] == "New", "not cancelled yet, either"
    client.wait(20)
    assert [row["cancelType"] for row in client.heard(session, "order")] == ["CancelByUser"]
    assert client.code("/v5/order/create", BUY | {"orderLinkId": "a"}) == 110072, "never again"
    client.wait(86_400_001)
    assert client.row("a", "/v5/order/history") is None, "ended without a fill it is forgotten after a day"


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"price": "80100", "timeInForce": "PostOnly"}, "Cancelled", "EC_PostOnlyWillTakeLiquidity"),
        ({"timeInForce": "IOC"}, "Cancelled", "EC_NoImmediateQtyToFill"),
        ({"timeInForce": "FOK"}, "Cancelled", "EC_NoEnoughQtyToFill"),
    ],
)
def test_what_only_the_engine_knows_comes_afterwards(
    client: Client, changes: dict[str, str], status: str, reason: str
) -> None:
    assert client.code("/v5/order/create", BUY | changes | {"orderLinkId": "a"}) == 0
    client.wait(20)
    row = client.row("a")
    assert row is not None
    assert (row["orderStatus"], row["rejectReason"], row["cumExecQty"]) == (status, reason, "0")


def test_an_order_is_rejected_after_its_acknowledgement(client: Client) -> None:
    """Margin that was there when it was received is gone when it gets to the engine."""
    session = client.log_in()
    for link in "ab":
        assert client.code("/v5/order/create", BUY | {"qty": "1.5", "orderLinkId": link}) == 0
    client.wait(20)
    assert [(row["orderLinkId"], row["orderStatus"]) for row in client.heard(session, "order")] == [
        ("a", "New"),
        ("b", "Rejected"),
    ]
    row = client.row("b", "/v5/order/history")
    assert row is not None
    assert row["rejectReason"] == "EC_Others"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"qty": "0.0001"}, 10001),
        ({"qty": "0.0005"}, 10001),
        ({"price": "79000.05"}, 110049),
        ({"qty": "5"}, 110007),
        ({"qty": "0.001", "price": "40000"}, 110094),
        ({"reduceOnly": True}, 110017),
        ({"positionIdx": 1}, 10001),
        ({"symbol": "NOUSDT"}, 10001),
        ({"category": "wrong"}, 10001),
        ({"side": "BUY"}, 10001),
        ({"orderLinkId": "x" * 37}, 10001),
    ],
)
def test_refusals_at_once(client: Client, changes: dict[str, Any], code: int) -> None:
    assert client.code("/v5/order/create", BUY | changes) == code


def test_a_price_out_of_range_is_moved_without_a_word(client: Client) -> None:
    assert client.code("/v5/order/create", BUY | {"price": "99000", "qty": "0.001", "orderLinkId": "high"}) == 0
    client.wait(20)
    row = client.row("high")
    assert row is not None
    assert (row["price"], row["orderStatus"]) == ("84000", "Filled")
    assert client.code("/v5/account/set-limit-px-action", {"category": "linear", "modifyEnable": False}) == 0
    assert client.code("/v5/order/create", BUY | {"price": "99000"}) == 110003


def test_a_cancel_that_loses_the_race_has_the_fill_told_twice(client: Client) -> None:
    session = client.log_in()
    client.call("/v5/order/create", BUY | {"orderLinkId": "a"})
    client.wait(20)
    assert client.code("/v5/order/cancel", {**BTC, "orderLinkId": "a"}) == 0
    client.exchange.set_mark("BTCUSDT", 78_900)
    client.wait(20)
    filled = [row for row in client.heard(session, "order") if row["orderStatus"] == "Filled"]
    assert [row["cancelType"] for row in filled] == ["UNKNOWN", "CancelByUser"]


def test_a_trade_is_told_four_times_over(client: Client) -> None:
    session = client.log_in()
    client.call("/v5/order/create", BUY | {"price": "80100"})
    client.wait(20)
    frames = [json.loads(frame) for one, frame in client.frames if one is session]
    rows = {frame["topic"]: frame["data"][0] for frame in frames}
    assert set(rows) == {"order", "execution", "position", "wallet"}
    assert rows["position"]["seq"] == rows["execution"]["seq"]
    assert float(rows["wallet"]["coin"][0]["walletBalance"]) == pytest.approx(10_000 - 0.4, abs=0.01)
    client.exchange.settle_now("BTCUSDT", client.exchange.funding_rate("BTCUSDT") or client.exchange.fees.maker)
    client.wait()
    assert [row["execType"] for row in client.heard(session, "execution")] == ["Trade", "Funding"]


def test_limits_by_the_second_and_by_address() -> None:
    client = Client(orders_1s=2, requests_5s=12)
    for left in ("1", "0"):
        assert client.code("/v5/order/create", BUY) == 0
        assert (client.reply.headers["X-Bapi-Limit"], client.reply.headers["X-Bapi-Limit-Status"]) == ("2", left)
    assert client.code("/v5/order/create", BUY) == 10006
    assert int(client.reply.headers["X-Bapi-Limit-Reset-Timestamp"]) == client.now // MS + 1_000
    assert client.code("/v5/order/cancel", {**BTC, "orderLinkId": "a"}) == 110001, "each has its own"
    client.wait(1_000)
    two = {"category": "linear", "request": [BUY, BUY, BUY]}
    assert client.code("/v5/order/create-batch", two) == 10006, "each order of a batch counts"
    for _ in range(7):
        assert client.code("/v5/account/info") == 0
    assert client.code("/v5/account/info") == -403
    client.wait(599_000)
    assert client.code("/v5/account/info") == -403
    client.wait(1_000)
    assert client.code("/v5/account/info") == 0


def test_lists_come_in_pages_and_in_no_order(client: Client) -> None:
    for link in "abc":
        client.call("/v5/order/create", BUY | {"orderLinkId": link})
    client.wait(20)
    found, cursor = [], ""
    while True:
        page = client.call("/v5/order/realtime", query=f"category=linear&settleCoin=USDT&limit=2{cursor}")["result"]
        found += [row["orderLinkId"] for row in page["list"]]
        if not page["nextPageCursor"]:
            break
        cursor = f"&cursor={page['nextPageCursor']}"
    assert sorted(found) == ["a", "b", "c"]
    assert client.code("/v5/order/realtime", query="category=linear") == 10001
    tiers = client.call("/v5/market/risk-limit", query="category=linear&symbol=BTCUSDT")["result"]["list"]
    assert [row["id"] for row in tiers[:3]] == [2, 1, 3]
    client.exchange.set_status("BTCUSDT", "SETTLING")
    listed = client.call("/v5/market/instruments-info", query="category=linear")["result"]["list"]
    assert [row["symbol"] for row in listed] == ["ETHUSDT"], "of others only those asked for by status or name"


def test_a_websocket_and_its_manners(client: Client) -> None:
    session = client.open("/v5/public/linear")
    assert client.say(session, "ping")["ret_msg"] == "pong"
    assert client.say(client.open(), "ping")["op"] == "pong"
    refused = client.say(session, "subscribe", "tickers.BTCUSDT", "tickers.NOUSDT")
    assert not refused["success"]
    assert "tickers.NOUSDT" in refused["ret_msg"]
    client.wait(1_000)
    assert client.frames == [], "one unknown topic fails all"
    assert client.say(session, "subscribe", "tickers.BTCUSDT", "orderbook.1.BTCUSDT", "orderbook.50.BTCUSDT")["success"]
    assert not client.say(client.open(), "subscribe", "order")["success"], "nobody has logged in"
    client.wait(7_000)
    frames = [json.loads(frame) for one, frame in client.frames if isinstance(frame, bytes)]
    kinds = {
        topic: [one["type"] for one in frames if one["topic"] == topic] for topic in {one["topic"] for one in frames}
    }
    assert kinds["tickers.BTCUSDT"] == ["snapshot"], "nothing changes"
    assert kinds["orderbook.1.BTCUSDT"] == ["snapshot"] * 3, "repeated after three seconds"
    assert kinds["orderbook.50.BTCUSDT"] == ["snapshot"]
    client.exchange.set_mark("BTCUSDT", 80_100)
    client.frames.clear()
    client.wait(200)
    frames = [json.loads(frame) for _, frame in client.frames]
    assert {(one["topic"], one["type"]) for one in frames} == {
        ("tickers.BTCUSDT", "delta"), ("orderbook.1.BTCUSDT", "snapshot"), ("orderbook.50.BTCUSDT", "delta"),
    }  # fmt: skip
    client.wait(600_000)
    assert sum(isinstance(frame, Close) for _, frame in client.frames) == 3, "without a word they are closed"


@pytest.mark.parametrize(
    ("do", "code"), [("unknown", 10016), ("timeout", 10000), ("overload", 10429), ("limit", 10006), ("refuse", 10016)]
)
def test_failures_in_the_venues_words(client: Client, do: str, code: int) -> None:
    reply = client.bybit.failure(do, code=None, until=client.now, client="x", now=client.now)
    assert (reply.status, json.loads(reply.body)["retCode"]) == (200, code)
    assert client.bybit.failure("unavailable", code=None, until=0, client="x", now=client.now).status == 503


def test_a_fault_plan_strikes_here_as_well() -> None:
    client = Client()
    session = client.log_in()
    plan = Faults(
        requests=(RequestFault("lose reply", on="order"),),
        frames=(FrameFault("drop", on="order"), FrameFault("new value", on="account")),
        events=(
            Incident("trade", at_s=1.0, symbol="BTCUSDT", quantity=Decimal("0.01")),
            Incident("adl", at_s=2.0, symbol="BTCUSDT"),
        ),
    )
    gateway = Gateway(client.bybit, plan)
    gateway.advance(client.now)
    delivery = gateway.advance(client.now + 3_000 * MS)
    topics = {
        json.loads(frame)["topic"] for one, frame in delivery.frames if one is session and isinstance(frame, bytes)
    }
    assert topics == {"position", "wallet"}
    assert {"frames: drop", "frames: new value", "events: trade", "events: adl"} <= set(gateway.counts)
    assert client.bybit.kind("POST", "/v5/order/create") == "order"


def test_orders_by_websocket_share_the_budgets_of_rest() -> None:
    client = Client(orders_1s=2)
    session = client.open("/v5/trade")

    def said(number: str, op: str = "order.create", **more: Any) -> dict[str, Any]:
        header = {"X-BAPI-TIMESTAMP": str(client.now // MS), "X-BAPI-RECV-WINDOW": "1000"}
        message = {"reqId": number, "header": header, "op": op, "args": [BUY | {"orderLinkId": number}], **more}
        (frame,) = client.bybit.receive(session, json.dumps(message), client.now)
        answer: dict[str, Any] = json.loads(frame)
        return answer

    assert said("0")["retCode"] == 10003, "nobody has logged in"
    until = client.now // MS + 1_000
    sign = hmac.new(DEMO_SECRET.encode(), f"GET/realtime{until}".encode(), hashlib.sha256).hexdigest()
    assert client.say(session, "auth", DEMO_KEY, until, "wrong")["retCode"] == 10004
    assert client.say(session, "auth", DEMO_KEY, until, sign)["retCode"] == 0
    assert client.say(session, "auth", DEMO_KEY, until, sign)["retCode"] == 20001
    assert client.say(session, "ping")["op"] == "pong"
    told = said("1")
    assert (told["retCode"], told["data"]["orderLinkId"], told["header"]["X-Bapi-Limit-Status"]) == (0, "1", "1")
    assert said("1")["retCode"] == 20006, "an id is used once"
    assert said("2", op="order.magic")["retCode"] == 10404
    assert said("3", header={"X-BAPI-TIMESTAMP": "1"})["retCode"] == 10002
    assert client.code("/v5/order/create", BUY) == 0
    assert said("4")["retCode"] == 10006
    client.wait(20)
    assert client.row("1") is not None
    assert said("5", op="order.cancel", args=[{**BTC, "orderLinkId": "1"}])["retCode"] == 0


def test_what_an_account_can_be_asked(client: Client) -> None:
    client.call("/v5/order/create", BUY | {"price": "80100", "orderLinkId": "a"})
    client.wait(20)
    client.exchange.deposit(client.account, 100)
    client.exchange.settle_now("BTCUSDT", Decimal("0.001"))

    def rows(path: str, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.call(path, query=query)["result"]["list"]
        return found

    kinds = {row["type"] for row in rows("/v5/account/transaction-log", "accountType=UNIFIED")}
    assert kinds == {"TRADE", "TRANSFER_IN", "SETTLEMENT"}
    (funding,) = rows("/v5/account/transaction-log", "type=SETTLEMENT")
    (paid,) = rows("/v5/execution/list", "category=linear&execType=Funding")
    assert float(funding["funding"]) == -float(paid["execFee"]) < 0, "what was received, and what was paid"
    (trade,) = rows("/v5/execution/list", "category=linear&orderLinkId=a")
    assert trade["execType"] == "Trade"
    assert rows("/v5/execution/list", "category=linear&orderLinkId=b") == []
    assert [row["leverage"] for row in rows("/v5/position/symbol-info", "category=linear")] == ["20", "20"]
    (wallet,) = rows("/v5/account/wallet-balance", "accountType=UNIFIED&coin=BTC")
    assert wallet["coin"] == []
    assert client.code("/v5/account/wallet-balance", query="accountType=SPOT") == 10001


def test_what_can_be_set(client: Client) -> None:
    """Modes only of an empty account; the dead man's switch by nobody who was not given it."""
    assert client.code("/v5/position/switch-mode", {"category": "linear", "coin": "USDT", "mode": 0}) == 110025
    assert client.code("/v5/position/switch-mode", {"category": "linear", "coin": "USDT", "mode": 3}) == 0
    held = client.call("/v5/position/list", query="category=linear&symbol=BTCUSDT")["result"]["list"]
    assert [row["positionIdx"] for row in held] == [1, 2]
    assert client.code("/v5/order/create", BUY | {"price": "80100", "positionIdx": 1}) == 0
    client.wait(20)
    assert client.code("/v5/position/switch-mode", {"category": "linear", "coin": "USDT", "mode": 0}) == 110024
    assert client.code("/v5/account/set-margin-mode", {"setMarginMode": "ISOLATED_MARGIN"}) == 3400045
    assert client.code("/v5/position/set-leverage", {**BTC, "buyLeverage": "7", "sellLeverage": "7"}) == 0
    assert client.code("/v5/position/set-leverage", {**BTC, "buyLeverage": "7", "sellLeverage": "7"}) == 110043
    assert client.code("/v5/order/disconnected-cancel-all", {"timeWindow": 10}) == 10005


TICKER = {
    "topic": "tickers.BTCUSDT",
    "type": "snapshot",
    "ts": 5_000,
    "data": {"symbol": "BTCUSDT", "markPrice": "100"},
}
LADDER = {"topic": "orderbook.1.BTCUSDT", "ts": 5_000, "data": {"s": "BTCUSDT", "b": [["9", "1"]], "a": [["10", "1"]]}}
EVENT = {"topic": "order", "creationTime": 5_000, "data": [{"symbol": "BTCUSDT", "orderStatus": "New"}]}


@pytest.mark.parametrize(
    ("frame", "do", "wanted"),
    [
        (TICKER, "unknown", {"topic": "somethingNew"}),
        (TICKER, "swap", {"topic": "tickers.ETHUSDT", "data": {"symbol": "ETHUSDT", "markPrice": "100"}}),
        (TICKER, "backwards", {"ts": 4_998}),
        (TICKER, "negative", {"data": {"symbol": "BTCUSDT", "markPrice": "-100.00000000"}}),
        (TICKER, "nan", {"data": {"symbol": "BTCUSDT", "markPrice": "NaN"}}),
        (TICKER, "crossed", {"data": {"symbol": "BTCUSDT", "markPrice": "150.00000000"}}),
        (TICKER, "lost field", {"data": {"markPrice": "100"}}),
        (LADDER, "crossed", {"data": {"s": "BTCUSDT", "b": [["10", "1"]], "a": [["9", "1"]]}}),
        (LADDER, "zero", {"data": {"s": "BTCUSDT", "b": [["0", "1"]], "a": [["0", "1"]]}}),
        (LADDER, "swap", {"topic": "orderbook.1.ETHUSDT", "data": LADDER["data"] | {"s": "ETHUSDT"}}),  # type: ignore[operator]
        (EVENT, "new value", {"data": [{"symbol": "BTCUSDT", "orderStatus": "SomethingNew"}]}),
        (EVENT, "crossed", None),
        ({"op": "pong"}, "unknown", None),
    ],
)
def test_forgeries(client: Client, frame: dict[str, Any], do: str, wanted: dict[str, Any] | None) -> None:
    forged = client.bybit.forge(json.dumps(frame).encode(), do, by=2.0, symbol="ETHUSDT")
    assert forged is None if wanted is None else json.loads(forged or b"") == frame | wanted


def test_what_the_gateway_is_told_of_the_wire(client: Client) -> None:
    assert client.bybit.topic(json.dumps(TICKER).encode()) == ("mark", "BTCUSDT")
    assert client.bybit.topic(json.dumps(LADDER).encode()) == ("quote", "BTCUSDT")
    assert client.bybit.topic(json.dumps(EVENT).encode()) == ("order", "BTCUSDT")
    assert client.bybit.topic(b'{"op":"pong"}') == ("reply", "")
    body = json.dumps({"result": {"list": [1, 2, 3]}}).encode()
    assert json.loads(client.bybit.shorten(body, 2) or b"") == {"result": {"list": [1, 2]}}
    assert client.bybit.shorten(body, 3) is None
    assert json.loads(client.bybit.refusal('{"op":"subscribe","req_id":"7"}'))["req_id"] == "7"
    assert json.loads(client.bybit.refusal("no"))["success"] is False
