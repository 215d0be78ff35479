"""How Bybit v5 is asked, how often it may be, and what its codes mean: the tables of the dialect."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from adapters.answers import Reaction, replies
from adapters.reading import MS
from agent.core.events import Fault
from agent.core.venue import Bucket, Cancel, Place, SetLeverage, What

SECOND: Final = 1_000 * MS

LIMITS: Final[tuple[Bucket, ...]] = (
    Bucket("ip_5s", 300, 5 * SECOND),
    Bucket("create_1s", 5, SECOND),
    Bucket("batch_1s", 10, SECOND),
    Bucket("cancel_1s", 5, SECOND),
    Bucket("read_1s", 25, SECOND),
    Bucket("fees_1s", 2, SECOND),
    Bucket("settings_1s", 5, SECOND),
)
"""Half of what the venue allows: it counts the second before each request, and two of our windows touch such a one."""
ALLOWED: Final = {Place: "create_1s", Cancel: "cancel_1s", SetLeverage: "settings_1s"}
"""The budgets whose size answers to these tell: the venue gives larger ones to some."""


class Route(Struct, frozen=True):
    """How a question is asked: path, parameters besides the category, budget, and whether it is about the account."""

    path: str
    params: tuple[tuple[str, str], ...] = ()
    bucket: str = "read_1s"
    private: bool = True
    category: bool = True


QUESTIONS: Final = {
    What.TIME: Route("/v5/market/time", bucket="ip_5s", private=False, category=False),
    What.INSTRUMENTS: Route(
        "/v5/market/instruments-info", (("limit", "1000"),), bucket="ip_5s", private=False, category=False
    ),
    What.PRICES: Route("/v5/market/tickers", bucket="ip_5s", private=False),
    What.TIERS: Route("/v5/market/risk-limit", bucket="ip_5s", private=False),
    What.FEES: Route("/v5/account/fee-rate", bucket="fees_1s"),
    What.LEVERAGE: Route("/v5/position/list"),
    What.MODE: Route("/v5/account/info", category=False),
    What.ACCOUNT: Route("/v5/account/wallet-balance", (("accountType", "UNIFIED"),), category=False),
    What.POSITIONS: Route("/v5/position/list", (("limit", "200"),), category=False),
    What.ORDERS: Route("/v5/order/realtime", (("openOnly", "0"), ("limit", "50")), category=False),
    What.ORDER: Route("/v5/order/realtime"),
    What.VOLUMES: Route("/v5/market/tickers", bucket="ip_5s", private=False),
    What.OWNER: Route("/v5/user/query-api", category=False),
    What.RIGHTS: Route("/v5/user/query-api", category=False),
}
HISTORY: Final = "/v5/order/history"

REPLIES: Final = replies(
    (Reaction.UNKNOWN, (10000, 10016, 10019, 20006, 110079)),
    (Reaction.TWIN, (110072, 10014)),
    (Reaction.GONE, (110001, 110008, 110010)),
    (Reaction.SAME, (110025, 110026, 110027, 110043)),
    (Reaction.SLOW, (10006, 10018, 10403, 10429, 20003, 429)),
    (Reaction.BANNED, (403,)),
    (Reaction.DENIED, (10003, 10004, 10005, 10007, 10009, 10010, 10024, 10028, 100028, 33004, 110132, 401)),
    (Fault.CLOCK, (10002,)),
    (Fault.BUSY, (110009, 110020)),
    (Fault.MARGIN, (110004, 110006, 110007, 110011, 110012, 110013, 110040, 110044, 110045, 110046, 110047, 110048)),
    (Fault.MARGIN, (110051, 110052, 110053, 110085, 110086, 110089, 110090, 110101, 110102, 182011)),
    (Fault.MARGIN, tuple(range(110104, 110108))),
    (Fault.REDUCE, (110017, 110033, 110034)),
    (Fault.PRICE, (110118,)),
    (Fault.CLOSED, (10029, 30228, 110021, 110022, 110023, 110042, 110063, 110066, 110074, 110137)),
    (Fault.CLOSED, (*range(110095, 110101), 110103)),
    (Fault.ACCOUNT, (10027, 110123, 110124, 110125)),
    (Fault.RULE, (10001, 30208, 30209, 110003, 110049, 110064, 110092, 110093, 110094, 110119, 110120, 110121)),
    (Fault.OTHER, (10404, 20001, 110024, 110028, 110029, 3400045)),
)
"""What a code of the venue, or an HTTP status without one, means.

Others between `FIRST_REFUSAL` and `LAST_REFUSAL` are `Fault.OTHER`; any other proves nothing.
"""
FIRST_REFUSAL: Final = 110_001
LAST_REFUSAL: Final = 110_999
LEAVING: Final = (10_003, 10_004, 10_019, 20_003)
"""A websocket for orders that says so is left: it restarts, wants less of us, or does not know us."""
PARAMETER: Final = 10_001
"""A parameter does not fit, among others because the position mode is not what we believe."""


def verdict_of(status: int, code: int | None) -> Fault | Reaction:
    """What a failure means. Only a code that is known for a refusal proves that nothing was executed."""
    if code is None:
        return REPLIES.get(status, Reaction.UNKNOWN)
    if status >= 500:
        return Reaction.UNKNOWN
    refused = FIRST_REFUSAL <= code <= LAST_REFUSAL
    return REPLIES.get(code, Fault.OTHER if refused else Reaction.UNKNOWN)
