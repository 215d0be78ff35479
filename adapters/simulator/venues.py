"""The venues that the local exchange can be: their side of the wire, by the name that a portfolio file gives them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from msgspec import Struct

from adapters.simulator.binance import Binance
from adapters.simulator.binance_coin import BinanceCoin
from adapters.simulator.bingx import BingX
from adapters.simulator.bingx_views import name_of
from adapters.simulator.bybit import Bybit, spelt
from adapters.simulator.instruments import COIN_MARGINED, DOLLARS, INSTRUMENTS, PERPETUAL, Instrument, instrument
from adapters.simulator.market import Market
from adapters.simulator.mexc import Mexc
from adapters.simulator.weex import DEMO_PASSPHRASE, Weex
from adapters.simulator.wire import Venue


class Local(Struct, frozen=True):
    """A venue's side, and how it spells an instrument.

    `side` takes an exchange, and `mark_pace`: so many times more often than the venue it publishes prices. `symbols`
    are what it lists, and `asset` what an account there is held in.
    """

    side: Callable[..., Venue]
    symbol: Callable[[Instrument], str]
    symbols: tuple[str, ...] = tuple(INSTRUMENTS)
    asset: str = "USDT"
    passphrase: str | None = None
    """What goes with a key there besides its secret."""

    @property
    def coin(self) -> str | None:
        """The coin that an account there is held in; None where that is the quote currency."""
        return self.asset if self.contract else None

    @property
    def contract(self) -> str | None:
        """The contract of that coin: the only one that the account can trade."""
        found = [symbol for symbol in self.symbols if (one := instrument(symbol)).inverse and one.asset == self.asset]
        return found[0] if found else None

    @property
    def own(self) -> dict[str, str]:
        """What a dialect has to be told of such an account."""
        return {"settle": self.asset} if self.contract else {}

    def rate(self, market: Market) -> Decimal:
        """What one unit of what an account is held in is worth in the quote currency."""
        return Decimal(1) if self.contract is None else market.prices()[market.symbols.index(self.contract)]


VENUES: Final = {
    "binance": Local(Binance, lambda one: one.symbol),
    "binance-coinm": Local(
        BinanceCoin, lambda one: one.symbol, symbols=tuple(symbol + PERPETUAL for symbol in COIN_MARGINED), asset="BTC"
    ),
    "weex": Local(Weex, lambda one: one.symbol, passphrase=DEMO_PASSPHRASE),
    "bingx": Local(BingX, name_of),
    "bybit": Local(Bybit, spelt),
    "bybit-inverse": Local(Bybit, spelt, symbols=tuple(symbol + DOLLARS for symbol in COIN_MARGINED), asset="BTC"),
    "mexc": Local(Mexc, lambda one: f"{one.base}_{one.quote}"),
}
"""By name."""
