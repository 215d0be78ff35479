"""Every venue that is described here, by its name."""

from __future__ import annotations

from typing import Final

from tests.conformance import binance, binance_coin, bingx, bybit, bybit_inverse, mexc, weex
from tests.conformance.description import Described

EVERY: Final = (
    binance.VENUE,
    binance_coin.VENUE,
    bingx.VENUE,
    bybit.VENUE,
    bybit_inverse.VENUE,
    mexc.VENUE,
    weex.VENUE,
)
VENUES: Final[dict[str, Described]] = {one.name: one for one in EVERY}
