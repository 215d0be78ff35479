"""ccxt as the second reader of each venue's document."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

import ccxt.pro

from adapters.simulator import DEMO_KEY, DEMO_SECRET, Server
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
    "bybit": Other(
        build=_bybit,
        symbol="BTC/USDT:USDT",
        signature=_in_the_headers,
        moment=frozenset(),
        named="clientOrderId",
        cancels="orderLinkId",
        differences=(
            Difference(ORDERS, "positionIdx", "0", None, "mandatory in hedge mode, so it is always said"),
            Difference(ORDERS, "smpType", "CancelMaker", None, "the resting order gives way to the new one"),
            Difference(ORDERS[:3], "reduceOnly", "false", None, "what is meant is said"),
            Difference(ORDERS[2:], "timeInForce", "IOC", None, "the venue's own default for such orders"),
            Difference(("open orders",), "symbol", None, "BTCUSDT", "we ask for all, strangers' included, …"),
            Difference(
                ("open orders",), "settleCoin", "USDT", None, "… which the venue lists by the coin they settle in"
            ),
            Difference(("open orders",), "openOnly", "0", None, "the venue's own default"),
            Difference(("open orders",), "limit", "50", None, "the most on a page"),
            Difference(("cancel",), "orderId", None, "", "ccxt sends an id that is none beside the other"),
        ),
    ),
}
