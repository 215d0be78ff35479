"""MEXC's side of the local exchange by itself: its gate, its refusals, its sockets, and what breaks on them."""

from __future__ import annotations

import hashlib
import hmac
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Close, Exchange, StillMarket
from adapters.simulator.client import START
from adapters.simulator.faults import FORGERIES
from adapters.simulator.mexc import Mexc
from adapters.simulator.mexc_streams import Session

MS = 1_000_000
PRIVATE = "/api/v1/private"
ORDER: dict[str, Any] = {"symbol": "BTC_USDT", "vol": 1_000, "price": 79_000, "side": 1, "type": 1, "openType": 2}


class Client:
    """Signs as the documentation says, and gathers frames."""

    def __init__(self, **options: Any) -> None:
        self.account = Account(balance=10_000, **options)
        market = StillMarket({"BTCUSDT": 80_000, "ETHUSDT": 2_500})
        self.venue = Mexc(Exchange(market, [self.account]), orders_2s=1_000)
        self.now = START
        self.venue.advance(START)

    def call(self, method: str, path: str, content: Any = None, *, skew_ms: int = 0, secret: str = DEMO_SECRET) -> Any:
        """The data of an answer, or the code of a refusal."""
        stamp = str(self.now // MS + skew_ms)
        body = b"" if method == "GET" else msgspec.json.encode({} if content is None else content)
        query = (
            "&".join(f"{name}={value}" for name, value in sorted((content or {}).items())) if method == "GET" else ""
        )
        signed = f"{DEMO_KEY}{stamp}{query or body.decode()}"
        signature = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        headers = {"ApiKey": DEMO_KEY, "Request-Time": stamp, "Signature": signature}
        reply = self.venue.request(method, path, query, headers, body, self.now)
        assert reply.status == 200, reply
        answer = msgspec.json.decode(reply.body)
        return answer.get("data") if answer["success"] else answer["code"]

    def place(self, **changes: Any) -> Any:
        return self.call("POST", f"{PRIVATE}/order/create", ORDER | changes)

    def login(self, **more: Any) -> Session:
        session = self.venue.connect("/edge", self.now)
        stamp = str(self.now // MS)
        signature = hmac.new(DEMO_SECRET.encode(), f"{DEMO_KEY}{stamp}".encode(), hashlib.sha256).hexdigest()
        param = {"apiKey": DEMO_KEY, "reqTime": stamp, "signature": signature}
        assert self.say(session, "login", param, **more)["channel"] == "rs.login"
        return session

    def say(self, session: Session, method: str, param: Any = None, **more: Any) -> Any:
        text = msgspec.json.encode({"method": method, "param": param or {}, **more})
        return msgspec.json.decode(self.venue.receive(session, text, self.now)[0])

    def wait(self, seconds: float) -> list[Any]:
        """The frames of the next seconds, decoded, and the ends of sockets."""
        frames: list[Any] = []
        for _ in range(round(seconds * 10)):
            self.now += 100 * MS
            for _, frame in self.venue.advance(self.now):
                frames.append(frame if isinstance(frame, Close) else msgspec.json.decode(frame))
        return frames


@pytest.fixture
def client() -> Client:
    return Client()


def channels(frames: list[Any]) -> list[str]:
    return [frame["channel"].removeprefix("push.personal.") for frame in frames]


def test_the_gate(client: Client) -> None:
    ask = ("GET", f"{PRIVATE}/account/assets")
    assert client.call(*ask)[0]["equity"] == 10_000
    assert client.call(*ask, secret="wrong") == 602
    assert client.call(*ask, skew_ms=10_001) == 513
    assert client.call(*ask, skew_ms=-10_001) == 513
    assert client.call("GET", f"{PRIVATE}/account/assets", {"b": 1, "a": 2})[0]["equity"] == 10_000
    client.venue.change_key(DEMO_KEY, {"trade": False})
    assert client.place() == 704
    client.venue.change_key(DEMO_KEY, {"expires_ms": START // MS})
    assert client.call(*ask) == 402
    client.venue.revoke_key(DEMO_KEY)
    assert client.call(*ask) == 401
    client.venue.ban(client.now, 1_000)
    with pytest.raises(AssertionError, match="status=403"):
        client.call(*ask)


def test_every_path_has_its_own_limit(client: Client) -> None:
    client.venue.orders_2s = 4
    client.now = START // (2_000 * MS) * 2_000 * MS
    assert [client.place() for _ in range(5)][-1] == 510
    assert client.call("GET", "/api/v1/contract/detail")[0]["symbol"] == "BTC_USDT"
    assert client.call("GET", "/api/v1/contract/detail") == 510
    assert isinstance(client.call("GET", "/api/v1/contract/ping"), int)
    before = client.venue.set_limits(weight=1, orders_10s=None, orders_1m=None)
    assert client.call("GET", "/api/v1/contract/ping") == 510
    client.venue.set_limits(*before)
    assert isinstance(client.call("GET", "/api/v1/contract/ping"), int)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol": "DOGE_USDT"}, 1001),
        ({"side": 5}, 2001),
        ({"type": 9}, 2029),
        ({"openType": 3}, 2002),
        ({"openType": 1}, 2006),
        ({"leverage": 500}, 2006),
        ({"vol": 1}, 2011),
        ({"vol": 100_000}, 2005),
        ({"vol": 99_999_990}, 2028),
        ({"price": 79_000.01}, 2015),
        ({"price": 100_000}, 2003),
        ({"price": 70_000, "side": 3}, 2004),
        ({"positionMode": 1}, 7002),
        ({"externalOid": "x" * 33}, 2030),
        ({"side": 4}, 2009),
        ({"side": 2}, 2009),
        ({"side": 3, "reduceOnly": True}, 2009),
        ({"vol": "many"}, 600),
    ],
)  # fmt: skip
def test_refusals_have_the_venues_codes(client: Client, changes: dict[str, Any], code: int) -> None:
    assert client.place(**changes) == code
    assert not client.account.open_orders


def test_a_closing_order_is_never_more_than_there_is(client: Client) -> None:
    client.place(price=80_500, type=3)
    assert client.account.position("BTCUSDT").quantity == Decimal("0.1")
    assert client.place(side=4, vol=1_010, price=81_000) == 2008
    assert client.place(side=2, price=79_000) == 2009
    (row,) = client.call("GET", f"{PRIVATE}/position/open_positions")
    assert client.place(side=4, price=81_000, positionId=row["positionId"] + 1) == 2009
    assert "orderId" in client.place(side=4, vol=600, price=81_000, positionId=row["positionId"])
    assert client.place(side=4, vol=600, price=81_000) == 2008, "what is on its way counts"
    (row,) = client.call("GET", f"{PRIVATE}/position/open_positions")
    assert (row["holdVol"], row["frozenVol"]) == (1_000, 600)


def test_leverage_and_margin_are_those_of_the_position(client: Client) -> None:
    client.place(price=80_500, type=3, leverage=10)
    assert client.account.leverage("BTCUSDT") == 10, "an empty contract takes them over"
    assert client.place(leverage=20) == 2021
    assert client.place(openType=1, leverage=10) == 2027
    (row,) = client.call("GET", f"{PRIVATE}/position/open_positions")
    path = f"{PRIVATE}/position/change_leverage"
    assert client.call("POST", path, {"positionId": row["positionId"], "leverage": 15}) is None
    rows = client.call("GET", f"{PRIVATE}/position/leverage", {"symbol": "BTC_USDT"})
    assert [(one["positionType"], one["leverage"]) for one in rows] == [(1, 15), (2, 15)]
    assert client.call("POST", path, {"positionId": 1, "leverage": 15}) == 2009


def test_a_client_id_is_an_order(client: Client) -> None:
    first = client.place(externalOid="mine")
    assert client.place(externalOid="mine") == first, "once more is the same again"
    row = client.call("GET", f"{PRIVATE}/order/external/BTC_USDT/mine")
    assert (row["orderId"], row["state"], row["side"], row["orderType"]) == (first["orderId"], 2, 1, 1)
    assert client.call("GET", f"{PRIVATE}/order/external/BTC_USDT/other") == 2040
    rows = [{"symbol": "BTC_USDT", "externalOid": name} for name in ("mine", "mine", "other")]
    told = client.call("POST", f"{PRIVATE}/order/batch_cancel_with_external", rows)
    assert [one["errorCode"] for one in told] == [0, 2041, 2040]
    assert client.call("POST", f"{PRIVATE}/order/cancel", [int(first["orderId"]), 77]) == [
        {"orderId": int(first["orderId"]), "errorCode": 2041, "errorMsg": "order state cannot be cancelled"},
        {"orderId": 77, "errorCode": 2040, "errorMsg": "order not exist"},
    ]


def test_contracts_that_the_interface_may_not_trade(client: Client) -> None:
    client.venue.views.barred.add("BTCUSDT")
    assert client.place() == 1002
    assert client.call("GET", "/api/v1/contract/detail", {"symbol": "BTC_USDT"})["apiAllowed"] is False


def test_what_an_order_makes_is_pushed_in_order(client: Client) -> None:
    client.login()
    client.place(price=80_500, type=3, externalOid="mine")
    frames = client.wait(0.5)
    assert channels(frames) == ["order", "order.deal", "order", "position", "asset"]
    order, deal, done, position, asset = (frame["data"] for frame in frames)
    assert (order["state"], order["version"], order["dealVol"]) == (2, 1, 0)
    assert (deal["vol"], deal["isTaker"], deal["externalOid"]) == (1_000, True, "mine")
    assert (done["state"], done["version"], done["dealVol"]) == (3, 2, 1_000)
    assert (position["positionType"], position["holdVol"], position["state"]) == (1, 1_000, 1)
    assert set(asset) == {"availableBalance", "bonus", "currency", "frozenBalance", "positionMargin"}
    client.place(side=3, vol=1_500, price=79_000, type=3)
    ended, begun = [frame["data"] for frame in client.wait(0.5) if frame["channel"].endswith(".position")]
    assert (ended["positionId"], ended["state"], ended["holdVol"]) == (position["positionId"], 3, 0)
    assert (begun["positionType"], begun["holdVol"]) == (2, 500)
    assert begun["positionId"] != ended["positionId"]


def test_a_post_only_order_that_would_take_is_cancelled_by_the_system(client: Client) -> None:
    client.login()
    assert "orderId" in client.place(type=2, price=80_500)
    rows = [frame["data"] for frame in client.wait(0.5)]
    assert [(row["state"], row["errorCode"], row["dealVol"]) for row in rows] == [(2, 0, 0), (4, 8, 0)]


def test_funding_is_told_by_the_position_and_the_wallet(client: Client) -> None:
    client.place(price=80_500, type=3)
    client.login()
    client.venue.exchange.settle_now("BTCUSDT", Decimal("0.001"))
    position, asset = client.wait(0.5)
    assert position["data"]["holdFee"] == pytest.approx(-8.0)
    assert asset["channel"] == "push.personal.asset"


def test_pushes_can_be_filtered(client: Client) -> None:
    session = client.login(subscribe=False)
    client.place()
    assert client.wait(0.2) == []
    assert client.say(session, "personal.filter", {"filters": [{"filter": "asset"}]})["data"] == "success"
    client.place(price=80_500, type=3)
    assert set(channels(client.wait(0.2))) == {"asset"}
    assert client.say(session, "personal.filter", {"filters": []})["data"] == "success"
    client.place()
    assert channels(client.wait(0.2)) == ["order"]


def test_a_socket_lives_by_its_pings(client: Client) -> None:
    session = client.venue.connect("/edge", client.now)
    answers = client.venue.receive(session, b'{"method":"ping"}', client.now)
    assert [msgspec.json.decode(one)["channel"] for one in answers] == ["pong", "pong"]
    assert client.wait(59) == []
    client.venue.receive(session, b'{"method":"ping"}', client.now)
    assert client.wait(59) == []
    assert client.wait(2) == [Close()]


def test_subscriptions_are_answered_by_their_method(client: Client) -> None:
    session = client.venue.connect("/edge", client.now)
    about = {"symbol": "BTC_USDT"}
    for method in ("sub.ticker", "sub.fair.price", "sub.funding.rate", "sub.depth.full", "sub.depth", "sub.deal"):
        assert client.say(session, method, about)["channel"] == f"rs.{method}"
    for method, param in (("sub.ticker", {"symbol": "X"}), ("sub.nothing", about), ("strange", {}), ("sub.depth", {})):
        assert client.say(session, method, param)["channel"] == "rs.error"
    for text in (
        b"no json",
        b"[]",
        b"{}",
        b'{"method":"sub.depth.full","param":{"symbol":"BTC_USDT","limit":"x"}}',
        b'{"method":"personal.filter","param":{"filters":[7]}}',
        b'{"method":"login","param":[7]}',
    ):
        assert msgspec.json.decode(client.venue.receive(session, text, client.now)[0])["channel"] == "rs.error"
    client.venue.exchange.set_mark("BTCUSDT", 80_100)
    kinds = {frame["channel"] for frame in client.wait(1.5)}
    assert kinds == {f"push.{one}" for one in ("ticker", "fair.price", "funding.rate", "depth.full", "depth")}
    assert client.say(session, "unsub.ticker", about)["channel"] == "rs.unsub.ticker"
    assert "push.ticker" not in {frame["channel"] for frame in client.wait(1.5)}


def test_differences_of_a_book_add_up_to_it(client: Client) -> None:
    session = client.venue.connect("/edge", client.now)
    client.say(session, "sub.depth", {"symbol": "BTC_USDT"})
    path = "/api/v1/contract/depth/BTC_USDT"
    book = client.call("GET", path)
    levels = {(side, row[0]): row[1] for side in ("asks", "bids") for row in book[side]}
    last = book["version"]
    for price in (80_001, 80_010, 79_990):
        client.venue.exchange.set_mark("BTCUSDT", price)
        for frame in client.wait(0.2):
            data = frame["data"]
            assert (data["begin"], data["version"]) == (last + 1, data["end"])
            last = data["end"]
            levels |= {(side, row[0]): row[1] for side in ("asks", "bids") for row in data[side]}
    now = client.call("GET", path)
    assert {key: size for key, size in levels.items() if size} == {
        (side, row[0]): row[1] for side in ("asks", "bids") for row in now[side]
    }


def test_every_forgery_finds_a_place_and_others_are_left_alone(client: Client) -> None:
    """And what comes of it is another frame than before."""
    session = client.login()
    for method in ("sub.ticker", "sub.depth.full"):
        client.say(session, method, {"symbol": "BTC_USDT"})
    client.say(session, "sub.contract")
    client.place(price=80_500, type=3)
    client.venue.exchange.set_status("BTCUSDT", "PENDING_TRADING")
    frames: list[bytes] = []
    for _ in range(15):
        client.now += 100 * MS
        frames += [frame for _, frame in client.venue.advance(client.now) if isinstance(frame, bytes)]
    topics = {client.venue.topic(frame) for frame in frames}
    assert {topic.what for topic in topics} == {"mark", "quote", "contract", "order", "account"}
    for do in FORGERIES:
        forged = [(frame, client.venue.forge(frame, do, by=1.5, symbol="ETHUSDT")) for frame in frames]
        struck = [(frame, other) for frame, other in forged if other is not None]
        assert struck, do
        assert all(frame != other for frame, other in struck), do
    swapped = [client.venue.forge(frame, "swap", by=0, symbol="ETHUSDT") for frame in frames]
    assert {b"BTC_USDT" in other for other in swapped if other is not None} == {False}


def test_a_book_that_a_fault_has_taken_a_side_from_is_priced_wrong_no_further(client: Client) -> None:
    whole = b'{"channel":"push.depth.full","symbol":"BTC_USDT","ts":1,"data":{"asks":[[2,1,1]],"bids":[[1,1,1]]}}'
    spoilt = client.venue.forge(whole, "lost field", by=0, symbol="ETHUSDT")
    assert spoilt is not None
    assert client.venue.forge(whole, "spike", by=1.5, symbol="ETHUSDT") is not None
    assert client.venue.forge(spoilt, "spike", by=1.5, symbol="ETHUSDT") is None
    assert client.venue.forge(spoilt, "crossed", by=1.5, symbol="ETHUSDT") is None


def test_a_login_can_end_unseen(client: Client) -> None:
    session = client.login()
    assert client.venue.expire(session, client.now, told=False)
    client.place()
    assert client.wait(0.2) == []
    assert not client.venue.expire(session, client.now, told=True)
    client.venue.expire(client.login(), client.now, told=True)
    assert client.wait(0.2) == [Close()]
