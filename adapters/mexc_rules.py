"""What MEXC allows and what its codes mean: questions and their paths, request budgets, subscriptions, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from adapters.answers import Reaction, replies
from adapters.reading import MS
from agent.core.events import Fault
from agent.core.venue import Arm, Ask, Batch, Bucket, Cancel, Place, Request, SetLeverage, What

SECOND: Final = 1_000 * MS
MINUTE: Final = 60 * SECOND
SUBSCRIPTIONS_MAX: Final = 30
"""So many fit on one socket."""
BACK_OFF_NS: Final = 2 * SECOND
BAN_NS: Final = 10 * SECOND
"""How long an address keeps silent that was turned away by the venue's gate. It does not say for how long it is: only
another try shows it, and a reduction must not wait for a guess."""

CADENCE: Final = {What.INTERVALS: 5 * MINUTE, What.TIERS: 10 * MINUTE}
"""The time of the next settlement does not stream, and margin tables in contracts follow the price."""

TICKER: Final = "/api/v1/contract/ticker"
PRIVATE: Final = "/api/v1/private"
CREATE: Final = f"{PRIVATE}/order/create"
CANCEL: Final = f"{PRIVATE}/order/batch_cancel_with_external"
CHANGE_LEVERAGE: Final = f"{PRIVATE}/position/change_leverage"


class Route(Struct, frozen=True):
    """How a question is asked: path, budget, and whether it is about the account."""

    path: str
    bucket: str
    private: bool = True


QUESTIONS: Final = {
    What.TIME: Route("/api/v1/contract/ping", "ping", private=False),
    What.INSTRUMENTS: Route("/api/v1/contract/detail", "detail", private=False),
    What.PRICES: Route(TICKER, "ticker", private=False),
    What.INTERVALS: Route("/api/v1/contract/funding_rate", "funding_rate", private=False),
    What.TIERS: Route(TICKER, "ticker", private=False),
    What.VOLUMES: Route(TICKER, "ticker", private=False),
    What.FEES: Route(f"{PRIVATE}/account/tiered_fee_rate", "tiered_fee_rate"),
    What.LEVERAGE: Route(f"{PRIVATE}/position/leverage", "leverage"),
    What.MODE: Route(f"{PRIVATE}/position/position_mode", "position_mode"),
    What.ACCOUNT: Route(f"{PRIVATE}/account/assets", "assets"),
    What.POSITIONS: Route(f"{PRIVATE}/position/open_positions", "open_positions"),
    What.ORDERS: Route(f"{PRIVATE}/order/list/open_orders", "open_orders"),
    What.ORDER: Route(f"{PRIVATE}/order/external", "external"),
    What.TRADES: Route(f"{PRIVATE}/order/list/order_deals/v3", "order_deals"),
}

CREATES: Final = 4
"""Orders that may be sent in two seconds."""

LIMITS: Final[tuple[Bucket, ...]] = (
    Bucket("create", CREATES, 2 * SECOND),
    Bucket("cancel", 20, 2 * SECOND),
    Bucket("change_leverage", 20, 2 * SECOND),
    Bucket("detail", 4, 20 * SECOND),
    *(
        Bucket(bucket, 20, 2 * SECOND)
        for bucket in dict.fromkeys(route.bucket for route in QUESTIONS.values())
        if bucket != "detail"
    ),
)
"""Every path has a budget of its own for each account. One request for the rules in five seconds is four in twenty, of
which a question may use half."""


REPLIES: Final = replies(
    (Reaction.UNKNOWN, (500, 501, 506, 9999)),
    (Reaction.TWIN, (603,)),
    (Reaction.ABSENT, (2040,)),
    (Reaction.GONE, (2041,)),
    (Reaction.SLOW, (510, 429)),
    (Reaction.BANNED, (403,)),
    (Reaction.ORDERS, (2037,)),
    (Reaction.DENIED, (401, 402, 406, 602, 701, 702, 703, 704, 6001)),
    (Fault.CLOCK, (513,)),
    (Fault.BUSY, (2036,)),
    (Fault.MARGIN, (1003, 2005, 2018, 2025, 2031, 2038)),
    (Fault.REDUCE, (2008, 2009)),
    (Fault.PRICE, (2032, 2033)),
    (Fault.CLOSED, (1001, 1002, 6002, 6005)),
    (Fault.ACCOUNT, (511,)),
    (Fault.RULE, (600, 601, 1004, 2001, 2002, 2003, 2004, 2007, 2011, 2013, 2014, 2015, 2022, 2028, 2029, 2030, 2034)),
    (Fault.RULE, (*range(3001, 3005), *range(5001, 5005))),
    (Fault.OTHER, (2006, 2021, 2023, 2024, 2026, 2027, 7002, 8817)),
)
"""What an error code of the venue, or an HTTP status without one, means. A code that is not here proves nothing.

2008 says that there is not so much to close.
"""

PARAMETER_CODE: Final = 600
"""A request that the venue can't make sense of."""
MODE_CODE: Final = 7002
"""The account is not in the position mode that we believe."""
LEVERAGE_CODES: Final = (2006, 2021, 2023, 2024, 2026, 2027)
"""The contract is not set to the leverage or the kind of margin that we believe."""


def takes(request: Request) -> tuple[tuple[str, int], ...]:
    """What a request takes from the budgets."""
    match request:
        case Place() | Batch():
            return (("create", 1),)
        case Cancel() | Arm():
            return (("cancel", 1),)
        case SetLeverage():
            return (("change_leverage", 1),)
        case Ask(what):
            return ((QUESTIONS[what].bucket, 1),)


def verdict_of(status: int, code: int | None) -> Fault | Reaction:
    """What a failure means. Only a code of the table, or a status that is in it, proves that nothing was done, and no
    server's own trouble does.
    """
    if not (200 <= status < 300 or 400 <= status < 500):
        return Reaction.UNKNOWN
    by_status = REPLIES.get(status, Reaction.UNKNOWN)
    return by_status if code is None else REPLIES.get(code, by_status)


def _about(symbol: str) -> dict[str, str | int]:
    return {"symbol": symbol}


def kind_of(socket: str) -> str:
    """What a socket is for: it may be one of several for that."""
    return socket.partition("-")[0]


Subscription = tuple[str, dict[str, str | int]]
"""A method and what it is about."""


def subscriptions_of(symbols: Sequence[str], *, depth: bool) -> dict[str, list[Subscription]]:
    """By socket what is subscribed to on it: changes of contracts and tickers, and books."""
    limit = 20 if depth else 5
    channels: dict[str, list[Subscription]] = {
        "market": [("sub.contract", {}), *[("sub.ticker", _about(symbol)) for symbol in symbols]],
        "public": [("sub.depth.full", _about(symbol) | {"limit": limit}) for symbol in symbols],
    }
    sockets = {}
    for name, wanted in channels.items():
        for start in range(0, len(wanted), SUBSCRIPTIONS_MAX):
            number = start // SUBSCRIPTIONS_MAX
            sockets[f"{name}-{number + 1}" if number else name] = wanted[start : start + SUBSCRIPTIONS_MAX]
    return sockets
