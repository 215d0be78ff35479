"""BingX's tables: addresses, budgets, and how each question is asked."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from adapters.reading import MS
from agent.core.venue import Arm, Batch, Bucket, Cancel, Place, SetLeverage, What

SECOND: Final = 1_000 * MS
MINUTE: Final = 60 * SECOND

REST_URL: Final = "https://open-api.bingx.com"
STREAM_URL: Final = "wss://open-api-swap.bingx.com/swap-market"
DOMAINS: Final = ("bingx.com", "bingx.pro")
DEMO: Final = ("open-api-vst.bingx.com", "open-api-vst.bingx.pro", "vst-open-api-ws.bingx.com")

LIMITS: Final[tuple[Bucket, ...]] = (
    Bucket("market_10s", 500, 10 * SECOND),
    Bucket("place_1s", 10, SECOND),
    Bucket("cancel_1s", 10, SECOND),
    Bucket("batch_1s", 5, SECOND),
    Bucket("query_1s", 30, SECOND),
    Bucket("positions_1s", 10, SECOND),
    Bucket("orders_1s", 5, SECOND),
    Bucket("balance_1s", 5, SECOND),
    Bucket("fees_1s", 5, SECOND),
    Bucket("tables_1s", 5, SECOND),
    Bucket("leverage_1s", 5, SECOND),
    Bucket("mode_1s", 4, SECOND),
    Bucket("keys_1s", 5, SECOND),
    Bucket("switch_1s", 2, SECOND),
)
"""The venue counts by account and endpoint, and market data by address. Its headers name what remains of an unnamed
total, so ours is the only count."""

BUCKETS: Final[dict[type, str]] = {
    Place: "place_1s",
    Batch: "batch_1s",
    Cancel: "cancel_1s",
    Arm: "switch_1s",
    SetLeverage: "leverage_1s",
}
"""The budgets of what is no question."""

QUIET_NS: Final = 20 * SECOND
"""The venue greets every socket each five seconds."""
PRICES_NS: Final = 4 * SECOND
RULES_NS: Final = 5 * MINUTE
"""That an instrument stops trading is told nowhere but in the table of all."""
INDEX_AGE_NS: Final = 15 * SECOND
"""How long an index price that was asked for stands beside the marks that stream."""
KEY_LIFE_NS: Final = 30 * MINUTE
KEY_RETRY_NS: Final = 10 * SECOND
CONCEALED_KEY: Final = '{"listenKey":"concealed"}'
BATCH_MAX: Final = 5
SWITCH_S: Final = (10, 120)
"""Least and most seconds of the dead man's switch."""
SYMBOLS_MAX: Final = 200


class Route(Struct, frozen=True):
    """How a question is asked: path, budget, and whether it is about the account."""

    path: str
    bucket: str
    private: bool = True


SWAP: Final = "/openApi/swap"
ORDER: Final = f"{SWAP}/v2/trade/order"
BATCH: Final = f"{SWAP}/v2/trade/batchOrders"
SWITCH: Final = f"{SWAP}/v2/trade/cancelAllAfter"
LEVERAGE: Final = f"{SWAP}/v2/trade/leverage"
SETTLEMENTS: Final = f"{SWAP}/v2/quote/fundingRate"
"""Those of one instrument, where its funding interval is not told beside the prices."""
ASSETS: Final = f"{SWAP}/v1/trade/assetMode"

QUESTIONS: Final = {
    What.TIME: Route(f"{SWAP}/v2/server/time", "market_10s", private=False),
    What.INSTRUMENTS: Route(f"{SWAP}/v2/quote/contracts", "market_10s", private=False),
    What.PRICES: Route(f"{SWAP}/v2/quote/premiumIndex", "market_10s", private=False),
    What.INTERVALS: Route(f"{SWAP}/v2/quote/premiumIndex", "market_10s", private=False),
    What.VOLUMES: Route(f"{SWAP}/v2/quote/ticker", "market_10s", private=False),
    What.TIERS: Route(f"{SWAP}/v1/maintMarginRatio", "tables_1s"),
    What.FEES: Route(f"{SWAP}/v2/user/commissionRate", "fees_1s"),
    What.LEVERAGE: Route(LEVERAGE, "leverage_1s"),
    What.MODE: Route(f"{SWAP}/v1/positionSide/dual", "mode_1s"),
    What.ACCOUNT: Route(f"{SWAP}/v3/user/balance", "balance_1s"),
    What.OWNER: Route(f"{SWAP}/v3/user/balance", "balance_1s"),
    What.POSITIONS: Route(f"{SWAP}/v2/user/positions", "positions_1s"),
    What.ORDERS: Route(f"{SWAP}/v2/trade/openOrders", "orders_1s"),
    What.ORDER: Route(ORDER, "query_1s"),
    What.RIGHTS: Route("/openApi/v1/account/apiPermissions", "keys_1s"),
    What.KEY: Route("/openApi/user/auth/userDataStream", "keys_1s"),
}
SINGLES: Final = frozenset({What.TIERS, What.LEVERAGE})
BARE: Final = (What.KEY, What.RIGHTS)
"""Questions whose answers may come without the envelope."""
