"""Bybit's contracts settled in coin, for the suite: what differs from the linear ones."""

from __future__ import annotations

from functools import partial
from typing import Final

from adapters.bybit_routes import REPLIES
from adapters.simulator import Account
from agent.core.events import Funding, Mark, Tiers
from agent.core.venue import Ask, What
from tests.adapters.bybit_kit import build
from tests.conformance.bybit import CLASSES, VECTORS, failure, received, sign
from tests.conformance.description import Answered, Described

VENUE: Final = Described(
    name="bybit-inverse",
    folder="bybit",
    recorded=partial(build, ["BTCUSD"], category="inverse", settle="BTC"),
    samples={
        "rest_position_list_inverse": Answered(Ask(What.POSITIONS), ()),
        "rest_risk_limit_BTCUSD_docs_percent": Answered(Ask(What.TIERS, 0), (Tiers,)),
        "rest_tickers_inverse": Answered(Ask(What.PRICES), (Mark, Funding)),
    },
    beside={},
    replies=REPLIES,
    classes=CLASSES,
    failure=failure,
    sign=sign,
    vectors=VECTORS,
    received=received,
    prices=(("BTCUSD_DOLLARS", 80_000),),
    account=partial(Account, asset="BTC"),
)
