"""The venues that the local exchange can be: their side of the wire, by the name that a portfolio file gives them."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from adapters.simulator.binance import Binance
from adapters.simulator.bingx import BingX
from adapters.simulator.bingx_views import name_of
from adapters.simulator.bybit import Bybit, spelt
from adapters.simulator.instruments import Instrument
from adapters.simulator.mexc import Mexc
from adapters.simulator.weex import DEMO_PASSPHRASE, Weex
from adapters.simulator.wire import Venue


class Local(Struct, frozen=True):
    """A venue's side, and how it spells an instrument.

    `side` takes an exchange, and `mark_pace`: so many times more often than the venue it publishes prices.
    """

    side: Callable[..., Venue]
    symbol: Callable[[Instrument], str]
    passphrase: str | None = None
    """What goes with a key there besides its secret."""


VENUES: Final = {
    "binance": Local(Binance, lambda one: one.symbol),
    "weex": Local(Weex, lambda one: one.symbol, DEMO_PASSPHRASE),
    "bingx": Local(BingX, name_of),
    "bybit": Local(Bybit, spelt),
    "mexc": Local(Mexc, lambda one: f"{one.base}_{one.quote}"),
}
"""By name."""
