"""Every refusal has the venue's code, words and HTTP status."""

import base64
import hashlib
import hmac
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import structs

from adapters.simulator import DEMO_KEY, Account, Binance, Client, Exchange, StillMarket
from adapters.simulator.instruments import INSTRUMENTS
from adapters.simulator.signing import Verifier, signed_part

MS = 1_000_000
LIMIT = {
    "symbol": "BTCUSDT",
    "side": "BUY",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.1",
    "price": "79000",
}


def changed(**params: object) -> dict[str, object]:
    """A good limit order with some parameters changed, or left out when None."""
    return {**LIMIT, **params}


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        (changed(symbol=None), -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        (changed(symbol="NOPE"), -1121, "Invalid symbol."),
        (changed(side="UP"), -1117, "Invalid side."),
        (changed(type="ICEBERG"), -1116, "Invalid orderType."),
        (changed(type="STOP_MARKET"), -4120, None),
        (changed(timeInForce="DAY"), -1115, "Invalid timeInForce."),
        (changed(timeInForce=None), -1102, None),
        (changed(quantity="much"), -1102, None),
        (changed(quantity=None), -1102, None),
        (changed(price=None), -1102, None),
        (changed(price="1e5"), -1102, None),
        (changed(type="MARKET", timeInForce=None), -1106, "Parameter 'price' sent when not required."),
        (changed(type="MARKET", price=None), -1106, None),
        (changed(reduceOnly="maybe"), -1130, "Data sent for parameter 'reduceOnly' is not valid."),
        (changed(newOrderRespType="FULL"), -1130, None),
        (changed(newClientOrderId="x" * 37), -4015, None),
        (changed(newClientOrderId="a b"), -4015, None),
        (changed(positionSide="UP"), -4060, None),
        (changed(positionSide="LONG"), -4061, "Order's position side does not match user's setting."),
        (changed(selfTradePreventionMode="X"), -5039, None),
        (changed(price=None, priceMatch="X"), -5037, None),
        (changed(priceMatch="QUEUE"), -1106, None),
        (changed(timeInForce="GTD"), -1102, None),
        (changed(timeInForce="GTD", goodTillDate=5), -5040, None),
        (changed(quantity="0"), -4003, None),
        (changed(quantity="-1"), -4003, None),
        (changed(quantity="0.0001"), -1111, "Precision is over the maximum defined for this asset."),
        (changed(quantity="1001"), -4005, None),
        (changed(type="MARKET", timeInForce=None, price=None, quantity="121"), -4005, None),
        (changed(price="0"), -4001, None),
        (changed(price="79000.001"), -1111, None),
        (changed(price="79000.05"), -4014, "Price not increased by tick size."),
        (changed(price="84000.1"), -4016, "Limit price can't be higher than 84000."),
        (changed(side="SELL", price="75999.9"), -4024, "Limit price can't be lower than 76000."),
        (changed(side="SELL", price="8000000.1"), -4002, None),
        (changed(quantity="0.0006"), -1111, None),
        (changed(quantity="0.000"), -4003, None),
        (changed(price="79000", quantity="3"), -2019, "Margin is insufficient."),
        (changed(reduceOnly="true"), -2022, "ReduceOnly Order is rejected."),
        (changed(price="80100", timeInForce="GTX"), -5022, None),
    ],
)  # fmt: skip
def test_orders_are_refused(client: Client, params: dict[str, object], code: int, message: str | None) -> None:
    answer = client.call("POST", "/fapi/v1/order", **params)
    assert (answer.status, answer.code) == (400, code)
    assert message in (None, answer.data["msg"])
    assert client.binance.exchange.ledger.orders == {}
    assert client.binance.exchange.snapshot(client.account).rejected == 1
    assert "X-MBX-ORDER-COUNT-10S" not in answer.headers


def test_the_smallest_notional_is_named(client: Client) -> None:
    answer = client.place("BTCUSDT", "SELL", "0.001", "49000")
    assert answer.code == -4024
    one = structs.replace(INSTRUMENTS["BTCUSDT"], min_notional=client.account.wallet)
    client.binance.exchange.relist(one)
    answer = client.place("BTCUSDT", "BUY", "0.001", "79000")
    assert answer.code == -4164
    assert answer.data["msg"] == ("Order's notional must be no smaller than 10000 (unless you choose reduce only).")


def test_a_coarse_lot_grid_has_its_own_code(client: Client) -> None:
    one = structs.replace(INSTRUMENTS["BTCUSDT"], step=INSTRUMENTS["BTCUSDT"].tick * 5)
    client.binance.exchange.relist(one)
    assert client.place("BTCUSDT", "BUY", "0.7", "79000").code == -4023
    assert client.place("BTCUSDT", "BUY", "0.1", "79000").code == -4004


def test_a_market_order_needs_a_counterparty_within_the_band(client: Client) -> None:
    one = structs.replace(INSTRUMENTS["BTCUSDT"], spread_bps=1_200.0)
    client.binance.exchange.relist(one)
    assert client.place("BTCUSDT", "BUY", "0.01").code == -4131


def test_a_closed_symbol_takes_no_orders(client: Client) -> None:
    client.binance.exchange.set_status("BTCUSDT", "SETTLING")
    assert client.place("BTCUSDT", "BUY", "0.01").code == -4140
    rows = client.send("GET", "/fapi/v1/exchangeInfo").data["symbols"]
    assert {row["symbol"]: row["status"] for row in rows}["BTCUSDT"] == "SETTLING"


def test_the_number_of_open_orders_is_limited(client: Client) -> None:
    one = structs.replace(INSTRUMENTS["BTCUSDT"], max_open_orders=2)
    client.binance.exchange.relist(one)
    for _ in range(2):
        assert client.place("BTCUSDT", "BUY", "0.001", "79000").status == 200
    assert client.place("BTCUSDT", "BUY", "0.001", "79000").code == -2025


def test_reduce_only_is_not_for_hedge_mode(hedged: Client) -> None:
    answer = hedged.place("BTCUSDT", "BUY", "0.1", positionSide="LONG", reduceOnly="true")
    assert answer.code == -1106
    assert hedged.place("BTCUSDT", "BUY", "0.1").code == -4061


@pytest.mark.parametrize(
    ("method", "path", "params", "code"),
    [
        ("DELETE", "/fapi/v1/order", {"symbol": "BTCUSDT", "orderId": 1}, -2011),
        ("DELETE", "/fapi/v1/order", {"symbol": "BTCUSDT"}, -1102),
        ("GET", "/fapi/v1/order", {"symbol": "BTCUSDT", "orderId": 1}, -2013),
        ("GET", "/fapi/v1/openOrder", {"symbol": "BTCUSDT", "origClientOrderId": "x"}, -2013),
        ("PUT", "/fapi/v1/order", {**LIMIT, "orderId": 1}, -2011),
        ("GET", "/fapi/v1/depth", {"symbol": "BTCUSDT", "limit": 3}, -4021),
        ("GET", "/fapi/v1/klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
        ("GET", "/fapi/v1/userTrades", {"symbol": "BTCUSDT", "limit": 5000}, -1130),
        ("GET", "/fapi/v1/userTrades", {}, -1102),
        ("POST", "/fapi/v1/leverage", {"symbol": "BTCUSDT", "leverage": 126}, -4028),
        ("POST", "/fapi/v1/leverage", {"symbol": "BTCUSDT", "leverage": 0}, -4028),
        ("POST", "/fapi/v1/marginType", {"symbol": "BTCUSDT", "marginType": "CROSSED"}, -4046),
        ("POST", "/fapi/v1/marginType", {"symbol": "BTCUSDT", "marginType": "X"}, -1130),
        ("POST", "/fapi/v1/positionSide/dual", {"dualSidePosition": "false"}, -4059),
        ("POST", "/fapi/v1/multiAssetsMargin", {"multiAssetsMargin": "false"}, -4171),
        ("POST", "/fapi/v1/multiAssetsMargin", {"multiAssetsMargin": "true"}, -1000),
        ("POST", "/fapi/v1/batchOrders", {"batchOrders": "["}, -1102),
        ("POST", "/fapi/v1/batchOrders", {"batchOrders": "[{},{},{},{},{},{}]"}, -4082),
        ("DELETE", "/fapi/v1/batchOrders", {"symbol": "BTCUSDT", "orderIdList": "[]"}, -4083),
        ("POST", "/fapi/v1/countdownCancelAll", {"symbol": "BTCUSDT", "countdownTime": -1}, -1130),
        ("PUT", "/fapi/v1/listenKey", {}, -1125),
        ("DELETE", "/fapi/v1/listenKey", {}, -1125),
        ("GET", "/fapi/v1/algoOrder", {"algoId": 1}, -2013),
        ("POST", "/fapi/v1/algoOrder", {"algoType": "CONDITIONAL"}, -4045),
    ],
)
def test_other_requests_are_refused(
    client: Client, method: str, path: str, params: dict[str, object], code: int
) -> None:
    assert client.call(method, path, **params).code == code


def test_the_position_mode_changes_only_on_an_empty_account(client: Client) -> None:
    path = "/fapi/v1/positionSide/dual"
    client.place("BTCUSDT", "BUY", "0.01", "79000")
    assert client.call("POST", path, dualSidePosition="true").code == -4067
    client.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    client.place("BTCUSDT", "BUY", "0.01")
    assert client.call("POST", path, dualSidePosition="true").code == -4068
    client.place("BTCUSDT", "SELL", "0.01")
    assert client.call("POST", path, dualSidePosition="true").data["code"] == 200
    assert client.call("GET", path).data == {"dualSidePosition": True}


def test_only_a_reduce_only_order_can_be_amended_as_one(client: Client) -> None:
    placed = client.place("BTCUSDT", "BUY", "0.1", "79000").data
    answer = client.call(
        "PUT",
        "/fapi/v1/order",
        **{**LIMIT, "price": "79001", "orderId": placed["orderId"], "reduceOnly": "true"},
    )
    assert answer.code == -5047


def test_orders_of_another_account_are_not_there() -> None:
    accounts = [Account("first-key-0", "s1"), Account("second-key", "s2")]
    binance = Binance(Exchange(StillMarket({"BTCUSDT": 80_000}), accounts))
    first, second = Client(binance, accounts[0]), Client(binance, accounts[1])
    ids = {"symbol": "BTCUSDT", "orderId": first.place("BTCUSDT", "BUY", "0.1", "79000").data["orderId"]}
    assert second.call("GET", "/fapi/v1/order", **ids).code == -2013
    assert second.call("DELETE", "/fapi/v1/order", **ids).code == -2011
    assert second.call("GET", "/fapi/v1/openOrders").data == []


def test_keys(client: Client) -> None:
    binance, query = client.binance, f"timestamp={client.now // MS}&signature=x"
    for key, status, code in (("", 401, -2014), ("short", 401, -2014), ("x" * 64, 401, -2015)):
        reply = binance.request("GET", "/fapi/v3/account", query, {"X-MBX-APIKEY": key}, b"", client.now)
        assert reply.status == status
        assert f'"code":{code}'.encode() in reply.body
    assert client.send("GET", "/fapi/v3/account", query).code == -1022
    assert client.send("GET", "/fapi/v3/account", "signature=x").code == -1102
    assert client.send("GET", "/fapi/v3/account", f"timestamp={client.now // MS}").code == -1102


@pytest.mark.parametrize(
    ("offset_ms", "window", "message"),
    [
        (999, 5000, None),
        (1000, 5000, "Timestamp for this request was 1000ms ahead of the server's time."),
        (-5000, 5000, None),
        (-5001, 5000, "Timestamp for this request is outside of the recvWindow."),
        (-60_000, 60_000, None),
    ],
)
def test_both_ends_of_the_time_window(client: Client, offset_ms: int, window: int, message: str | None) -> None:
    query = f"recvWindow={window}&timestamp={client.now // MS + offset_ms}"
    signature = hmac.new(client.account.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    answer = client.send("GET", "/fapi/v3/balance", f"{query}&signature={signature}")
    assert answer.code == (0 if message is None else -1021)
    assert message is None or answer.data["msg"] == message


def test_the_window_has_a_largest_size(client: Client) -> None:
    assert client.call("GET", "/fapi/v3/balance", recvWindow=60_001).code == -1131


def test_an_order_the_gateway_held_too_long_is_refused_by_the_engine(client: Client) -> None:
    query = "&".join(f"{name}={value}" for name, value in LIMIT.items())
    query += f"&timestamp={client.now // MS}"
    signature = hmac.new(client.account.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
    query += f"&signature={signature}"
    headers = {"X-MBX-APIKEY": DEMO_KEY}
    for held_ms, expected in ((5_000, b'"status":"NEW"'), (5_001, b'"code":-5028')):
        reply = client.binance.request(
            "POST",
            "/fapi/v1/order",
            query,
            headers,
            b"",
            client.now + held_ms * MS,
            arrived=client.now,
        )
        assert expected in reply.body


def test_parameters_may_come_in_the_body_or_be_split(client: Client) -> None:
    parts = [f"{name}={value}" for name, value in LIMIT.items()] + [f"timestamp={client.now // MS}"]
    for cut in (0, 3, len(parts)):
        query, body = "&".join(parts[:cut]), "&".join(parts[cut:])
        digest = hmac.new(client.account.secret.encode(), (query + body).encode(), hashlib.sha256)
        if cut < len(parts):
            body += f"&signature={digest.hexdigest()}"
        else:
            query += f"&signature={digest.hexdigest()}"
        assert client.send("POST", "/fapi/v1/order", query, body.encode()).status == 200


def test_the_published_signature_vector() -> None:
    secret = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
    payload = (
        "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC"
        "&recvWindow=5000&timestamp=1591702613943"
    )
    signature = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"
    verifier = Verifier(secret, None)
    assert verifier.accepts(signed_part(f"{payload}&signature={signature}", ""), signature)
    assert verifier.accepts(payload, signature.upper())
    assert not verifier.accepts(payload + "0", signature)


def test_asymmetric_keys() -> None:
    elliptic = ed25519.Ed25519PrivateKey.generate()
    prime = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for private in (elliptic, prime):
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        account = Account(public_key=pem.decode())
        client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}), [account])))
        query = f"timestamp={client.now // MS}"
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = private.sign(query.encode())
        else:
            raw = private.sign(query.encode(), padding.PKCS1v15(), hashes.SHA256())
        signature = quote(base64.b64encode(raw).decode(), safe="")
        assert client.send("GET", "/fapi/v3/balance", f"{query}&signature={signature}").status == 200
        assert client.send("GET", "/fapi/v3/balance", f"{query}0&signature={signature}").code == -1022
        assert client.send("GET", "/fapi/v3/balance", f"{query}&signature=%21").code == -1022


def test_a_request_that_comes_twice_is_noted(client: Client) -> None:
    client.call("GET", "/fapi/v3/balance")
    assert client.binance.exchange.ledger.resent == []
    client.call("GET", "/fapi/v3/balance")
    (again,) = client.binance.exchange.ledger.resent
    assert (again.what, again.count) == ("GET /fapi/v3/balance", 2)


def test_an_unknown_path_is_not_found(client: Client) -> None:
    assert client.send("GET", "/fapi/v9/nothing").status == 404


def test_what_a_key_may_do_can_be_chosen() -> None:
    account = Account(rights={"enableWithdrawals": True})
    client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}), [account])))
    rights = client.call("GET", "/sapi/v1/account/apiRestrictions").data
    assert rights["enableWithdrawals"]
    assert rights["enableFutures"]
