"""Every venue that is described here, by its name."""

from __future__ import annotations

from typing import Final

from tests.conformance import binance, binance_coin, bingx, bybit, mexc, weex
from tests.conformance.description import Described

VENUES: Final[dict[str, Described]] = {
    one.name: one for one in (binance.VENUE, binance_coin.VENUE, bingx.VENUE, bybit.VENUE, mexc.VENUE, weex.VENUE)
}
