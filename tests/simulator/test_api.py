"""The websocket API: requests in frames, sessions that are logged on, and two clients of other people's."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import ccxt.pro
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from adapters.simulator import (
    DEMO_KEY,
    DEMO_SECRET,
    Account,
    Binance,
    Exchange,
    SeededMarket,
    Server,
    StillMarket,
    serve,
)
from adapters.simulator.client import START

with warnings.catch_warnings():
    # it still imports what websockets has deprecated
    warnings.simplefilter("ignore", DeprecationWarning)
    from binance import AsyncClient
    from binance.exceptions import BinanceAPIException

MS = 1_000_000
PATH = "/ws-fapi/v1"
PATIENCE_S = 30
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
LIMIT = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.010"}


class Api:
    """One session, and requests on it as a client makes them."""

    def __init__(self, *, public: str | None = None, query: str = "", **options: Any) -> None:
        exchange = Exchange(StillMarket({"BTCUSDT": 80_000}), [Account(public_key=public)])
        self.binance = Binance(exchange, **options)
        self.now = START
        self.session = self.binance.connect(f"{PATH}{query}", self.now)
        self._secret = None if public else DEMO_SECRET

    def say(self, method: str, params: dict[str, Any] | None = None, *, sign: bool = True) -> Any:
        """The answer to a request with a key and a signature, or without both."""
        words: dict[str, Any] = {**(params or {}), "timestamp": self.now // MS}
        if sign:
            words["apiKey"] = DEMO_KEY
            text = "&".join(f"{name}={words[name]}" for name in sorted(words)).encode()
            if self._secret is None:
                words["signature"] = b64encode(PRIVATE.sign(text)).decode()
            else:
                words["signature"] = hmac.new(self._secret.encode(), text, hashlib.sha256).hexdigest()
        return self.raw(json.dumps({"id": "one", "method": method, "params": words}))

    def raw(self, text: str) -> Any:
        (frame,) = self.binance.receive(self.session, text, self.now)
        return json.loads(frame)


def test_an_order_lives_and_dies() -> None:
    api = Api()
    placed = api.say("order.place", LIMIT | {"price": "79000", "newClientOrderId": "mine"})
    assert (placed["id"], placed["status"], placed["result"]["status"]) == ("one", 200, "NEW")
    counts = {(row["rateLimitType"], row["interval"]): (row["limit"], row["count"]) for row in placed["rateLimits"]}
    assert counts == {
        ("REQUEST_WEIGHT", "MINUTE"): (2_400, 5),
        ("ORDERS", "SECOND"): (300, 1),
        ("ORDERS", "MINUTE"): (1_200, 1),
    }, "its handshake has a weight of five, an order none"
    one = {"symbol": "BTCUSDT", "origClientOrderId": "mine"}
    assert api.say("order.status", one)["result"]["origQty"] == "0.010"
    assert api.say("order.cancel", one)["result"]["status"] == "CANCELED"
    again = api.say("order.cancel", one)
    assert (again["status"], again["error"]["code"]) == (400, -2011)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -1100),
        ("[]", -1102),
        ('{"id":1}', -1102),
        ('{"id":[],"method":"order.place"}', -1102),
        ('{"id":1,"method":"order.place","params":[]}', -1102),
        ('{"id":1,"method":"order.guess"}', -1020),
        ('{"id":1,"method":"order.place","params":{"symbol":"BTCUSDT"}}', -2014),
    ],
)
def test_what_is_no_request_is_refused(text: str, code: int) -> None:
    answer = Api().raw(text)
    assert answer["error"]["code"] == code
    assert answer["status"] in (400, 401)


def test_signatures_are_checked_over_the_parameters_by_name() -> None:
    api = Api()
    words = LIMIT | {"price": "79000", "timestamp": START // MS, "apiKey": DEMO_KEY}
    text = "&".join(f"{name}={word}" for name, word in words.items())  # in the order in which they stand
    wrong = hmac.new(DEMO_SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    answer = api.raw(json.dumps({"id": 1, "method": "order.place", "params": {**words, "signature": wrong}}))
    assert answer["error"]["code"] == -1022
    unsigned = api.say("order.place", LIMIT | {"price": "79000"}, sign=False)
    assert unsigned["error"]["code"] == -2014


def test_a_session_that_was_logged_on_needs_no_signature_until_its_key_is_revoked() -> None:
    api = Api(public=PUBLIC)
    assert api.say("session.logon")["result"]["apiKey"] == DEMO_KEY
    placed = api.say("order.place", LIMIT | {"price": "79000"}, sign=False)
    assert placed["status"] == 200
    assert api.say("session.status", sign=False)["result"]["authorizedSince"] == START // MS
    api.binance.revoke_key(DEMO_KEY)
    ((_, frame),) = [one for one in api.binance.advance(api.now) if one[0] is api.session]
    assert isinstance(frame, bytes)
    assert json.loads(frame) == {
        "id": None,
        "status": 401,
        "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."},
    }
    assert api.say("order.place", LIMIT | {"price": "79000"}, sign=False)["status"] == 401
    assert api.say("session.logout")["result"]["apiKey"] is None


def test_other_keys_can_not_log_a_session_on() -> None:
    assert Api().say("session.logon")["error"]["code"] == -1020


def test_limits_are_those_of_rest_and_counts_can_be_left_out() -> None:
    api = Api(orders_10s=1, query="?returnRateLimits=false")
    assert "rateLimits" not in api.say("order.place", LIMIT | {"price": "79000"})
    second = api.say("order.place", LIMIT | {"price": "79000"})
    assert (second["status"], second["error"]["code"]) == (429, -1015)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with asyncio.timeout(PATIENCE_S), await serve(Exchange(SeededMarket(7), [Account()])) as running:
        yield running


async def test_python_binance_places_and_cancels(server: Server) -> None:
    client = AsyncClient(DEMO_KEY, DEMO_SECRET)
    client.ws_future._url = f"{server.ws_url}{PATH}"
    try:
        order = LIMIT | {"price": "70000", "newClientOrderId": "mine"}
        placed = await client.ws_futures_create_order(**order)
        assert placed["status"] == "NEW"
        found = await client.ws_futures_get_order(symbol="BTCUSDT", origClientOrderId="mine")
        assert found["origQty"] == "0.010"
        cancelled = await client.ws_futures_cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])
        assert cancelled["status"] == "CANCELED"
        with pytest.raises(BinanceAPIException, match="-2011"):
            await client.ws_futures_cancel_order(symbol="BTCUSDT", orderId=placed["orderId"])
        assert (await client.ws_futures_v2_account_balance())[0]["asset"] == "USDT"
        assert await client.ws_futures_v2_account_position() == []
    finally:
        await client.close_connection()


async def test_ccxt_places_and_cancels(server: Server) -> None:
    client = ccxt.pro.binanceusdm({"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False})
    for name in ("fapiPublic", "fapiPrivate"):
        for version, path in (("", "v1"), ("V2", "v2"), ("V3", "v3")):
            client.urls["api"][name + version] = f"{server.rest_url}/fapi/{path}"
    client.urls["api"]["sapi"] = f"{server.rest_url}/sapi/v1"
    client.urls["api"]["ws"]["ws-api"]["linear"] = f"{server.ws_url}{PATH}"
    symbol = "BTC/USDT:USDT"
    try:
        placed = await client.create_order_ws(symbol, "limit", "buy", 0.01, 70_000)
        assert placed["status"] == "open"
        found = await client.fetch_order_ws(placed["id"], symbol)
        assert found["remaining"] == 0.01
        assert (await client.cancel_order_ws(placed["id"], symbol))["status"] == "canceled"
    finally:
        await client.close()
