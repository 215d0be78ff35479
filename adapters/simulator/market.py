"""Where prices come from: a seeded random market, a recorded tape, or a market that stands still.

A market has a calendar of its own, in UTC milliseconds. `Exchange` lets it run at any speed
relative to the exchange's clock; `advance` is told how far it has come and gives every price on
the way. A market never reads a clock.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from adapters.simulator.instruments import INSTRUMENTS, instrument

YEAR_MS = 365 * 86_400_000

Move = tuple[int, int, Decimal]
"""A market time in milliseconds, the position of a symbol in `symbols`, and its new mark price."""

MOST_MOVES = 2_000
"""How many times one `advance` lets each price change before it begins to summarise."""


class Market(Protocol):
    """What the exchange asks of a source of prices."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it has prices of."""

    @property
    def start_ms(self) -> int | None:
        """When its calendar begins; None for one that begins with the exchange's clock."""

    @property
    def ended(self) -> bool:
        """Whether no price will ever change again."""

    def prices(self) -> list[Decimal]:
        """The mark of every symbol now, in the order of `symbols`."""

    def begin(self, at_ms: int, speed: float) -> None:
        """Say where in its calendar the market stands when the exchange opens, and how fast it runs."""

    def advance(self, to_ms: int) -> Iterable[Move]:
        """Go on to a time in the market's calendar; gives the price changes on the way."""

    def next_ms(self) -> int | None:
        """When the next price is due, in the market's calendar; None when never."""

    def set_price(self, index: int, price: Decimal) -> None:
        """Move one symbol by hand; a random market carries on from there."""

    def premium(self, index: int) -> Decimal:
        """How far the perpetual trades above its index, as a fraction."""


def exact(price: float) -> Decimal:
    """A price to eight decimals, as an exact decimal number."""
    return Decimal(round(price * 100_000_000)).scaleb(-8)


class SeededMarket:
    """Correlated random walks with jumps.

    Each symbol follows a geometric walk without drift, driven by one factor all share and one of
    its own; a fifth of the variance of either comes in jumps. Volatilities and correlations are
    those of `instruments.INSTRUMENTS`. The premium over the index, from which funding follows,
    wanders around a small positive mean and takes a few hours to forget. Without a seed every run
    is another market.
    """

    JUMPS_PER_YEAR = 150.0
    JUMP_SHARE = 0.2
    PREMIUM_MEMORY_MS = 6 * 3_600_000
    PREMIUM_DEVIATION = 0.0006

    start_ms: int | None = None
    ended = False

    def __init__(
        self,
        seed: int | None = None,
        symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT", "SOLUSDT"),
        *,
        prices: Mapping[str, float] | None = None,
        step_ms: int = 200,
        volatility_scale: float = 1.0,
    ) -> None:
        self.seed = random.SystemRandom().getrandbits(48) if seed is None else seed
        self.symbols = tuple(symbols)
        self.step_ms = step_ms
        self._random = random.Random(self.seed)
        given = prices or {}
        listed = [INSTRUMENTS.get(symbol) or instrument(symbol) for symbol in self.symbols]
        self._price = [
            float(given.get(one.symbol, float(one.reference_price)))
            * (1.0 if one.symbol in given else math.exp(self._random.gauss(0.0, 0.03)))
            for one in listed
        ]
        self._volatility = [one.volatility * volatility_scale for one in listed]
        self._loading = [one.loading for one in listed]
        self._mean_premium = [self._random.gauss(0.0002, 0.0003) for _ in listed]
        self._premium = list(self._mean_premium)
        self._at_ms = 0
        self._next_ms = 0

    def prices(self) -> list[Decimal]:
        """The mark of every symbol now."""
        return [exact(price) for price in self._price]

    def begin(self, at_ms: int, speed: float = 1.0) -> None:
        """Start the walk here; a fast market takes longer steps, not more of them."""
        self.step_ms = round(self.step_ms * max(1.0, speed))
        self._at_ms = at_ms
        self._next_ms = at_ms + self.step_ms

    def next_ms(self) -> int:
        """When the next step of the walk is due."""
        return self._next_ms

    def set_price(self, index: int, price: Decimal) -> None:
        """Carry on from this price."""
        self._price[index] = float(price)

    def premium(self, index: int) -> Decimal:
        """The premium over the index now."""
        return exact(self._premium[index])

    def advance(self, to_ms: int) -> list[Move]:
        """Walk on; a long way is walked in at most `MOST_MOVES` equally long steps."""
        count = (to_ms - self._next_ms) // self.step_ms + 1
        if count <= 0:
            return []
        last_ms = self._next_ms + (count - 1) * self.step_ms
        stride = -(-count // MOST_MOVES) * self.step_ms
        moves: list[Move] = []
        at_ms = self._at_ms
        while at_ms < last_ms:
            to = min(at_ms + stride, last_ms)
            self._walk((to - at_ms) / YEAR_MS)
            at_ms = to
            moves.extend((to, index, exact(price)) for index, price in enumerate(self._price))
        self._at_ms = last_ms
        self._next_ms = last_ms + self.step_ms
        return moves

    def _walk(self, years: float) -> None:
        shared = self._noise(years)
        gauss = self._random.gauss
        keep = math.exp(-years * YEAR_MS / self.PREMIUM_MEMORY_MS)
        spread = self.PREMIUM_DEVIATION * math.sqrt(1.0 - keep * keep)
        for index, volatility in enumerate(self._volatility):
            loading = self._loading[index]
            own = self._noise(years)
            mixed = loading * shared + math.sqrt(1.0 - loading * loading) * own
            self._price[index] *= math.exp(volatility * mixed - volatility * volatility * years / 2)
            mean = self._mean_premium[index]
            premium = mean + (self._premium[index] - mean) * keep + gauss(0.0, spread)
            self._premium[index] = premium

    def _noise(self, years: float) -> float:
        """A step of a process with unit variance a year, partly diffusion and partly jumps."""
        value = self._random.gauss(0.0, math.sqrt((1.0 - self.JUMP_SHARE) * years))
        chance = min(1.0, self.JUMPS_PER_YEAR * years)
        if self._random.random() < chance:
            value += self._random.gauss(0.0, math.sqrt(self.JUMP_SHARE * years / chance))
        return value


class StillMarket:
    """Prices that only change when somebody sets them: the market of scripted tests."""

    start_ms: int | None = None
    ended = False

    def __init__(self, prices: Mapping[str, Decimal | str | int]) -> None:
        self.symbols = tuple(prices)
        self._prices = [Decimal(price) for price in prices.values()]

    def prices(self) -> list[Decimal]:
        """The prices last set."""
        return list(self._prices)

    def begin(self, at_ms: int, speed: float = 1.0) -> None:
        """Nothing begins here."""

    def advance(self, to_ms: int) -> list[Move]:
        """Nothing moves."""
        return []

    def next_ms(self) -> None:
        """Never."""

    def set_price(self, index: int, price: Decimal) -> None:
        """Put the price of one symbol."""
        self._prices[index] = price

    def premium(self, index: int) -> Decimal:
        """None: the index equals the mark."""
        return Decimal(0)
