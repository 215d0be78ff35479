"""On what terms WEEX is spoken to: its addresses, budgets, questions and replies, and how a request is signed."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from typing import Final

from msgspec import Struct

from adapters import weex_frames as wire
from adapters.answers import Reaction, replies
from adapters.reading import MISREAD, MS, excerpt
from agent.core.events import Fault
from agent.core.venue import Bucket, Credentials, Reply, What

SECOND: Final = 1_000 * MS
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

REST_URL: Final = "https://api-contract.weex.com"
STREAM_URL: Final = "wss://ws-contract.weex.com"
DOMAINS: Final = ("weex.com",)

LIMITS: Final[tuple[Bucket, ...]] = (
    Bucket("weight_10s", 500, 10 * SECOND),
    Bucket("weight_1m", 1_200, MINUTE),
    Bucket("orders_10s", 20, 10 * SECOND),
    Bucket("orders_1m", 50, MINUTE),
)
"""The first is that of the documents of early 2026. Of the others the venue tells the size; until it has, they are
small."""
USED: Final = {
    "x-used-weight-1m": "weight_1m",
    "x-order-count-10s": "orders_10s",
    "x-order-count-1m": "orders_1m",
}
ALLOWED: Final = {
    ("REQUEST_WEIGHT", "MINUTE", 1): "weight_1m",
    ("ORDERS", "SECOND", 10): "orders_10s",
    ("ORDERS", "MINUTE", 1): "orders_1m",
}
"""Budgets by the kind and interval under which the venue lists them."""

WINDOW_MS: Final = 30_000
"""A request is good for so long after its timestamp."""
FUNDING_NS: Final = 5 * SECOND
NAMES_MAX: Final = 1_000
OPEN_PAGE: Final = 100
HISTORY_PAGE: Final = 1_000
HISTORY_NS: Final = 73 * HOUR
"""How far back an order is looked for: longer than it is believed that the venue never had it."""
TRADES_PAGE: Final = 100
BAN_NS: Final = 2 * MINUTE
CLIENT_ID: Final = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")


class Route(Struct, frozen=True):
    """How a question is asked: path, price, and whether it is about the account."""

    path: str
    weight: int
    private: bool = True


OPEN_PATH: Final = "/capi/v3/openOrders"
HISTORY_PATH: Final = "/capi/v3/order/history"
ORDER_PATH: Final = "/capi/v3/order"
LEVERAGE_PATH: Final = "/capi/v3/account/leverage"

QUESTIONS: Final = {
    What.TIME: Route("/capi/v3/market/time", 1, private=False),
    What.INSTRUMENTS: Route("/capi/v3/market/exchangeInfo", 1, private=False),
    What.PRICES: Route("/capi/v3/market/premiumIndex", 1, private=False),
    What.VOLUMES: Route("/capi/v3/market/ticker/24hr", 40, private=False),
    What.FEES: Route("/capi/v3/account/commissionRate", 10),
    What.LEVERAGE: Route("/capi/v3/account/symbolConfig", 10),
    What.MODE: Route("/capi/v3/account/accountConfig", 10),
    What.ACCOUNT: Route("/capi/v3/account/balance", 10),
    What.POSITIONS: Route("/capi/v3/account/position/allPosition", 15),
    What.ORDERS: Route(OPEN_PATH, 5),
    What.ORDER: Route(ORDER_PATH, 10),
    What.TRADES: Route("/capi/v3/userTrades", 5),
}
"""The venue counts a request twice, for the address and for the account: the higher of the two prices stands here. An
order is priced as the dearest of the three ways to ask for it."""


REPLIES: Final = replies(
    (Reaction.UNKNOWN, (-1000, -1054, 408)),
    (Reaction.ABSENT, (-2200, -3200)),
    (Reaction.SLOW, (429, 403)),
    (Reaction.BANNED, (418,)),
    (Reaction.DENIED, (-1044, -1047, -1049, -1050, -1051, -1052, -1053, -1055, -1056, -1057, -1190, -3236, 401)),
    (Fault.CLOCK, (-1046,)),
    (Fault.CLOSED, (-1058, -3235, -1121, -2007)),
    (Fault.RULE, (*range(-1043, -1039), -1045, -1115, -1116, -1117, -1128, -1135, -1140, -1141, -1142)),
    (Fault.RULE, (-1150, -1160, -1170, -1171, -1180, -3006, -3007, -3313)),
    (Fault.OTHER, (-3613,)),
)
"""What an error code of the venue, or an HTTP status without one, means. A code that is not here is `Fault.OTHER`."""

NOT_FOUND: Final = "FAILED_ORDER_NOT_FOUND"
"""Stands where a code should, or the text of one."""

SYSTEM: Final = "-1054"
"""A system error, and also refusals that only the text tells apart."""


class Signer:
    """What turns a request into the headers that it is let in by."""

    def __init__(self, credentials: Credentials) -> None:
        if credentials.passphrase is None:
            raise ValueError("passphrase: WEEX asks for the one that its key was made with")
        for name in ("key", "secret", "passphrase"):
            if not getattr(credentials, name).reveal().strip():
                raise ValueError(f"the {name} is empty")
        if "-----BEGIN" in credentials.secret.reveal():
            raise ValueError("the secret is a private key: WEEX takes the secret that it gave with the key")
        self._secret = credentials.secret.reveal().strip().encode()
        self._key = credentials.key.reveal()
        self._passphrase = credentials.passphrase.reveal()

    def headers(self, payload: bytes, stamp_ms: int) -> tuple[tuple[str, str], ...]:
        """The headers of what was signed at ``stamp_ms``."""
        return (
            ("ACCESS-KEY", self._key),
            ("ACCESS-SIGN", b64encode(hmac.new(self._secret, payload, hashlib.sha256).digest()).decode()),
            ("ACCESS-PASSPHRASE", self._passphrase),
            ("ACCESS-TIMESTAMP", str(stamp_ms)),
            ("Content-Type", "application/json"),
        )


def words(reply: Reply) -> tuple[str, str]:
    """The venue's own code, if the body holds one that is no success, and what it says."""
    try:
        failure = wire.FAILURE.decode(reply.body)
    except MISREAD:
        return "", excerpt(reply.body)
    code = "" if failure.code is None or str(failure.code) == "200" else str(failure.code)
    return code, failure.msg[:200]


def verdict(status: int, code: str, said: str) -> Fault | Reaction:
    """What a failure means. Only a client error proves that nothing was done, unless its own words leave it open."""
    low = said.lower()
    if status == 408 or not 400 <= status < 500:
        return Reaction.UNKNOWN
    if NOT_FOUND in (code, said):
        return Reaction.ABSENT
    if "duplicat" in low:
        return Reaction.TWIN
    if code == SYSTEM and ("not enough" in low or "insufficient" in low):
        return Fault.MARGIN
    if code == SYSTEM and "position" in low:
        return Fault.REDUCE
    known = REPLIES.get(int(code)) if re.fullmatch("-?[0-9]{1,6}", code) else None
    return known or REPLIES.get(status, Fault.OTHER if code else Reaction.UNKNOWN)
