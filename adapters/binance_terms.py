"""Binance's terms: what requests cost, how questions are asked, and what its replies mean."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from adapters import binance_frames as wire
from adapters.answers import Reaction, replies
from adapters.reading import MISREAD, MS, excerpt
from agent.core.events import Fault
from agent.core.venue import Bucket, Reply, What

SECOND: Final = 1_000 * MS
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE

RIGHTS_PATH: Final = "/sapi/v1/account/apiRestrictions"

LIMITS: Final[tuple[Bucket, ...]] = (
    Bucket("weight_1m", 2_400, MINUTE),
    Bucket("orders_10s", 300, 10 * SECOND),
    Bucket("orders_1m", 1_200, MINUTE),
    Bucket("funding_5m", 500, 5 * MINUTE),
    Bucket("rights_1m", 60, MINUTE),
)
USED: Final = {
    "x-mbx-used-weight-1m": "weight_1m",
    "x-mbx-order-count-10s": "orders_10s",
    "x-mbx-order-count-1m": "orders_1m",
}
ALLOWED: Final = {
    ("REQUEST_WEIGHT", "MINUTE", 1): "weight_1m",
    ("ORDERS", "SECOND", 10): "orders_10s",
    ("ORDERS", "MINUTE", 1): "orders_1m",
}
"""Budgets by the kind and interval under which the venue lists them."""

BAN_NS: Final = 2 * MINUTE
BAN_MAX_NS: Final = 72 * HOUR


class Route(Struct, frozen=True):
    """How a question is asked: path, price, and whether it is about the account."""

    path: str
    weight: int
    private: bool = True
    bucket: str = "weight_1m"


QUESTIONS: Final = {
    What.TIME: Route("/fapi/v1/time", 1, private=False),
    What.INSTRUMENTS: Route("/fapi/v1/exchangeInfo", 1, private=False),
    What.PRICES: Route("/fapi/v1/premiumIndex", 10, private=False),
    What.INTERVALS: Route("/fapi/v1/fundingInfo", 1, private=False, bucket="funding_5m"),
    What.TIERS: Route("/fapi/v1/leverageBracket", 1),
    What.FEES: Route("/fapi/v1/commissionRate", 20),
    What.LEVERAGE: Route("/fapi/v1/symbolConfig", 5),
    What.MODE: Route("/fapi/v1/accountConfig", 5),
    What.ACCOUNT: Route("/fapi/v3/account", 5),
    What.POSITIONS: Route("/fapi/v3/positionRisk", 5),
    What.ORDERS: Route("/fapi/v1/openOrders", 40),
    What.ORDER: Route("/fapi/v1/order", 1),
    What.TRADES: Route("/fapi/v1/userTrades", 5),
    What.VOLUMES: Route("/fapi/v1/ticker/24hr", 40, private=False),
    What.KEY: Route("/fapi/v1/listenKey", 1),
    What.OWNER: Route("/fapi/v3/balance", 5),
    What.RIGHTS: Route(RIGHTS_PATH, 1, bucket="rights_1m"),
}


REPLIES: Final = replies(
    (Reaction.UNKNOWN, (-1000, -1001, -1006, -1007, 408)),
    (Reaction.TWIN, (-4116,)),
    (Reaction.GONE, (-2011,)),
    (Reaction.ABSENT, (-2013,)),
    (Reaction.NO_KEY, (-1125,)),
    (Reaction.SAME, (-4046, -4059, -4171)),
    (Reaction.SLOW, (-1003, 429, 403)),
    (Reaction.ORDERS, (-1015,)),
    (Reaction.BANNED, (418,)),
    (Reaction.DENIED, (-1002, -1022, -2014, -2015, 401, 451)),
    (Fault.CLOCK, (-1021, -5028, -4188)),
    (Fault.BUSY, (-1008, -2025, -4117)),
    (Fault.MARGIN, (-2018, -2019, -2027, -2028)),
    (Fault.REDUCE, (-2022, -2024, -4118)),
    (Fault.PRICE, (-2020, -4131, -5021, -5022)),
    (Fault.CLOSED, (-1121, -1122, -4108, -4110, -4140, -4141)),
    (Fault.ACCOUNT, (-2023, -4087, -4088, -4109, -4189, -4192, *range(-4209, -4201), *range(-4403, -4399))),
    (Fault.RULE, (-1013, -1102, -1104, -1106, -1111, -1116, -1117, -1120, -1130, -2026)),
    (Fault.RULE, (*range(-4005, -3999), -4013, -4014, -4015, -4016, -4021, -4023, -4024, -4028)),
    (Fault.RULE, (-4060, -4061, -4062, -4082, -4120, -4137, -4138, -4164, -4183, -4184, -4210, -4211)),
    (Fault.RULE, (-5037, -5038, -5039, -5040, -5041, -5043, -5047)),
    (Fault.OTHER, (-2010, -2021, -4045, -4047, -4048, -4067, -4068, -4142, -4161, -4531)),
    (Fault.OTHER, (-4167, -4168, -4169, -4170, -4172, -5024, -5025, -5026, -5027)),
)
"""What an error code of the venue, or an HTTP status without one, means. A code that is not here is `Fault.OTHER`."""

MODE_CODES: Final = (-4060, -4061, -4062)
"""The account is not in the position mode that we believe."""


def words(reply: Reply) -> tuple[int | None, str]:
    """The venue's own code, if the body holds one, and what it says."""
    try:
        failure = wire.FAILURE.decode(reply.body)
    except MISREAD:
        return None, excerpt(reply.body)
    return failure.code, failure.msg[:200]


def verdict_of(status: int, code: int | None, text: str) -> Fault | Reaction:
    """What a failure means. Only a client error with a code, or a plain "no", proves that nothing was executed."""
    if code == -1008 or (status == 503 and text.strip() == "Service Unavailable."):
        return Fault.BUSY
    if status == 408 or not 400 <= status < 500:
        return Reaction.UNKNOWN
    by_status = REPLIES.get(status, Reaction.UNKNOWN if code is None else Fault.OTHER)
    verdict = by_status if code is None else REPLIES.get(code, by_status)
    if status == 418 or (verdict is Reaction.SLOW and "banned until" in text):
        return Reaction.BANNED
    return verdict


def silent_until(text: str, reply: Reply, now: int, ahead_ns: int, *, banned: bool) -> int:
    """When the venue wants to hear of us again, by our clock, which its own is ahead of by ``ahead_ns``.

    The later of what it says in two places; where it says nothing, what its manual says.
    """
    said = []
    if match := re.search(r"banned until ([0-9]{13})\b", text):
        said.append(int(match[1]) * MS - ahead_ns)
    if re.fullmatch("[0-9]{1,6}", wait := reply.headers.get("retry-after", "")):
        said.append(now + int(wait) * SECOND)
    minute = ((now + ahead_ns) // MINUTE + 1) * MINUTE - ahead_ns
    until = max(said, default=now + BAN_NS if banned else minute)
    return min(max(until, now), now + BAN_MAX_NS)
