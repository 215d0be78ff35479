"""ccxt as the second reader of each venue's document."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final
from urllib.parse import unquote

import ccxt.pro

from adapters.simulator import DEMO_KEY, DEMO_PASSPHRASE, DEMO_SECRET, Server
from tests.conformance.recorder import Difference, Other, Seen, sha256

KEYS: Final = {"apiKey": DEMO_KEY, "secret": DEMO_SECRET, "enableRateLimit": False}

ORDERS: Final = ("limit, immediate or cancel", "limit, post-only", "market", "market, reduce only")


def _binance(server: Server) -> Any:
    client = ccxt.pro.binanceusdm(KEYS)
    for name in ("fapiPublic", "fapiPrivate"):
        for version, path in (("", "v1"), ("V2", "v2"), ("V3", "v3")):
            client.urls["api"][name + version] = f"{server.rest_url}/fapi/{path}"
    client.urls["api"]["sapi"] = f"{server.rest_url}/sapi/v1"
    return client


def _binance_coin(server: Server) -> Any:
    client = ccxt.pro.binancecoinm(KEYS)
    for name in ("dapiPublic", "dapiPrivate"):
        client.urls["api"][name] = f"{server.rest_url}/dapi/v1"
    client.urls["api"]["dapiPrivateV2"] = f"{server.rest_url}/dapi/v2"
    client.urls["api"]["sapi"] = f"{server.rest_url}/sapi/v1"
    return client


def _in_the_query(seen: Seen) -> tuple[str, str]:
    """Query and body together are signed as they are sent, and the signature comes last."""
    text, _, signature = (seen.query + seen.body.decode()).rpartition("&signature=")
    return signature, sha256(text)


def _bingx(server: Server) -> Any:
    client = ccxt.pro.bingx(KEYS | {"options": {"defaultType": "swap"}})
    for name in client.urls["api"]:
        if name != "ws":
            client.urls["api"][name] = f"{server.rest_url}/openApi"
    client.urls["api"]["ws"] = {"linear": f"{server.ws_url}/swap-market", "spot": f"{server.ws_url}/market"}
    return client


def _raw(seen: Seen) -> tuple[str, str]:
    """The parameters are signed as they are before they are quoted for the address."""
    text, _, signature = seen.query.rpartition("&signature=")
    return signature, sha256(unquote(text))


def _weex(server: Server) -> Any:
    client = ccxt.pro.weex(KEYS | {"password": DEMO_PASSPHRASE})
    for name in ("public", "private", "contract", "contractPrivate"):
        client.urls["api"][name] = server.rest_url
    return client


def _in_the_head(seen: Seen) -> tuple[str, str]:
    """Time, method, path, query and body are signed as they are sent."""
    query = f"?{seen.query}" if seen.query else ""
    text = f"{seen.headers['access-timestamp']}{seen.method}{seen.path}{query}{seen.body.decode()}"
    return seen.headers["access-sign"], b64encode(bytes.fromhex(sha256(text))).decode()


def _bybit(server: Server) -> Any:
    client = ccxt.pro.bybit(KEYS)
    for name in client.urls["api"]:
        if name != "ws":
            client.urls["api"][name] = server.rest_url
    return client


def _in_the_headers(seen: Seen) -> tuple[str, str]:
    """Time, key, window and the query or the body as they are sent."""
    head = [seen.headers.get(f"x-bapi-{name}", "") for name in ("sign", "timestamp", "api-key", "recv-window")]
    return head[0], sha256("".join(head[1:]) + seen.query + seen.body.decode())


def _mexc(server: Server) -> Any:
    client = ccxt.pro.mexc(KEYS | {"options": {"defaultType": "swap"}})
    client.urls["api"]["spot"] = dict.fromkeys(("public", "private"), server.rest_url)
    client.urls["api"]["contract"] = {
        "public": f"{server.rest_url}/api/v1/contract",
        "private": f"{server.rest_url}/api/v1/private",
    }
    return client


def _key_and_time_first(seen: Seen) -> tuple[str, str]:
    """Key, time, and the query in the order of names or the body as it is sent."""
    head = [seen.headers.get(name, "") for name in ("signature", "apikey", "request-time")]
    return head[0], sha256("".join(head[1:]) + "&".join(sorted(seen.query.split("&"))) + seen.body.decode())


def _bybit_reader(symbol: str, spelt: str, *more: Difference, contract: float = 1.0) -> Other:
    return Other(
        build=_bybit,
        symbol=symbol,
        signature=_in_the_headers,
        moment=frozenset(),
        named="clientOrderId",
        cancels="orderLinkId",
        contract=contract,
        differences=(
            Difference(ORDERS, "positionIdx", "0", None, "mandatory in hedge mode, so it is always said"),
            Difference(ORDERS, "smpType", "CancelMaker", None, "the resting order gives way to the new one"),
            Difference(ORDERS[:3], "reduceOnly", "false", None, "what is meant is said"),
            Difference(ORDERS[2:], "timeInForce", "IOC", None, "the venue's own default for such orders"),
            Difference(("open orders",), "symbol", None, spelt, "we ask for all, strangers' included, …"),
            Difference(
                ("open orders",), "settleCoin", "USDT", None, "… which the venue lists by the coin they settle in"
            ),
            Difference(("open orders",), "openOnly", "0", None, "the venue's own default"),
            Difference(("open orders",), "limit", "50", None, "the most on a page"),
            Difference(("cancel",), "orderId", None, "", "ccxt sends an id that is none beside the other"),
            *more,
        ),
    )


OTHERS: Final = {
    "binance": Other(
        build=_binance,
        symbol="BTC/USDT:USDT",
        signature=_in_the_query,
        moment=frozenset({"timestamp", "signature", "recvWindow"}),
        named="clientOrderId",
        cancels="origClientOrderId",
        differences=(
            Difference(
                ORDERS,
                "selfTradePreventionMode",
                "EXPIRE_MAKER",
                None,
                "the account's own default may change, so ours is said: the resting order gives way",
            ),
            Difference(("open orders",), "symbol", None, "BTCUSDT", "we ask for all, strangers' included"),
        ),
    ),
    "binance-coinm": Other(
        build=_binance_coin,
        symbol="BTC/USD:BTC",
        signature=_in_the_query,
        moment=frozenset({"timestamp", "signature", "recvWindow"}),
        named="clientOrderId",
        cancels="origClientOrderId",
        contract=100 / 80_000,
        differences=(
            Difference(
                ORDERS,
                "selfTradePreventionMode",
                "EXPIRE_MAKER",
                None,
                "the account's own default may change, so ours is said: the resting order gives way",
            ),
            Difference(("open orders",), "symbol", None, "BTCUSD_PERP", "we ask for all, strangers' included"),
        ),
    ),
    "bingx": Other(
        build=_bingx,
        symbol="BTC/USDT:USDT",
        signature=_raw,
        moment=frozenset({"timestamp", "signature", "recvWindow"}),
        named="clientOrderId",
        cancels="clientOrderId",
        spells={"clientOrderId": "clientOrderID"},
        lever={"side": "BOTH"},
        differences=(Difference(("open orders",), "symbol", None, "BTC-USDT", "we ask for all, strangers' included"),),
    ),
    "bybit": _bybit_reader("BTC/USDT:USDT", "BTCUSDT"),
    "bybit-inverse": _bybit_reader(
        "BTC/USD:BTC",
        "BTCUSD",
        Difference(("open orders",), "category", "linear", "inverse", "those of the account's other contracts first"),
        contract=1 / 80_000,
    ),
    "weex": Other(
        build=_weex,
        symbol="BTC/USDT:USDT",
        signature=_in_the_head,
        moment=frozenset(),
        named="clientOrderId",
        cancels="clientOrderId",
        differences=(
            Difference(
                ("limit, post-only",), "timeInForce", "POST_ONLY", "GTC", "the client has no such order here, …"
            ),
            Difference(("limit, post-only",), "postOnly", None, "true", "… and sends a word that the venue has not"),
            Difference(("market, reduce only",), "reduceOnly", None, "true", "nor has it this: the sides say it"),
            Difference(("open orders",), "symbol", None, "BTCUSDT", "we ask for all, strangers' included, …"),
            Difference(("open orders",), "limit", "100", None, "… and for the most that there may be on a page, …"),
            Difference(("open orders",), "page", "0", None, "… page by page"),
        ),
    ),
    "mexc": Other(
        build=_mexc,
        symbol="BTC/USDT:USDT",
        signature=_key_and_time_first,
        moment=frozenset({"positionId", "externalOid", "item"}),
        named="clientOrderId",
        cancels="",
        lever={"openType": "2", "positionType": "1"},
        contract=0.0001,
        local={"details_5s": 10, "orders_2s": 100},
        halves=("leverage",),
        differences=(
            Difference(ORDERS, "leverage", "20", None, "the venue's document has it mandatory for what opens"),
            Difference(
                ORDERS, "positionMode", "2", None, "what is meant is said, and refused if the account is not so"
            ),
            Difference(ORDERS[:1], "type", "3", "1", "the client has no such order here, …"),
            Difference(ORDERS[:1], "timeInForce", None, "IOC", "… and sends a word that the venue has not"),
            Difference(ORDERS[2:], "type", "5", "6", "market, not a limit at the present price"),
            Difference(ORDERS[3:], "reduceOnly", "true", None, "that it closes is said by its side, and once more"),
            Difference(("open orders",), "page_num", "1", None, "the first page"),
            *(
                Difference(("leverage",), name, None, value, "the number of what is held stands for it")
                for name, value in (("symbol", "BTC_USDT"), ("openType", "2"), ("positionType", "1"))
            ),
            Difference(
                ("cancel",),
                "path",
                "/api/v1/private/order/batch_cancel_with_external",
                "/api/v1/private/order/cancel",
                "by our id, which the client can't, …",
            ),
            Difference(("cancel",), "symbol", "BTC_USDT", None, "… and which is known by its contract"),
        ),
    ),
}
