"""Instruments: what can be traded, on which exact grids, and in which margin tiers.

Prices and quantities that go to a venue are whole numbers of ticks and lots here; ``Decimal`` is used where they become
digits, ``float`` where they are only weighed against each other.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from msgspec import Struct
from msgspec.structs import force_setattr


class OffGrid(ValueError):
    """A quantity or price that is no whole number of steps."""


class Tier(Struct, frozen=True, gc=False):
    """One bracket of a venue's margin table, in the settlement currency.

    Maintenance margin of a notional N inside ``[floor, cap)`` is ``N * rate - deduction``; ``leverage`` is the most the
    venue allows there. The deductions make the whole table continuous and convex (Binance: ``cum``; Bybit:
    ``mmDeduction``).
    """

    floor: float
    cap: float
    rate: float
    deduction: float
    leverage: int


def maintenance(tiers: tuple[Tier, ...], notional: float) -> float | None:
    """Maintenance margin of an absolute ``notional``, the largest line of the table; None without a table."""
    return max([tier.rate * notional - tier.deduction for tier in tiers], default=None)


class Instrument(Struct, frozen=True):
    """A perpetual contract of one venue, known to the core by its small ``index``."""

    index: int
    venue: str
    symbol: str
    base: str
    quote: str
    settle: str
    tick: Decimal
    """Smallest price difference."""
    step: Decimal
    """Smallest quantity difference, in the venue's quantity unit: one lot."""
    min_lots: int
    max_lots: int
    """Largest limit order."""
    max_market_lots: int
    """Largest market order."""
    min_notional: float
    """Smallest order value in the quote currency; orders that only reduce are exempt."""
    price_up: float | None = None
    """A buy may not be priced above mark times this."""
    price_down: float | None = None
    """A sell may not be priced below mark times this."""
    multiplier: Decimal = Decimal(1)
    """Base units (linear) or quote units (inverse) in one unit of quantity."""
    inverse: bool = False
    trading: bool = True
    """False while the venue is not matching new orders for it."""
    unit: float = 0.0
    """Base units (linear) or quote units (inverse) in one lot: follows from step and multiplier."""

    def __post_init__(self) -> None:
        force_setattr(self, "unit", float(self.step * self.multiplier))

    def lots(self, quantity: Decimal) -> int:
        """The whole number of lots in ``quantity``; raises `OffGrid` when it is not one."""
        if not quantity.is_finite():
            raise OffGrid(f"{self.symbol}: quantity {quantity} is not a number")
        count = quantity / self.step
        if count != count.to_integral_value():
            raise OffGrid(f"{self.symbol}: quantity {quantity} is no multiple of the step {self.step}")
        return int(count)

    def quantity(self, lots: int) -> Decimal:
        """``lots`` as the exact unsigned quantity that is written on the wire."""
        return abs(lots) * self.step

    def counted(self, lots: int) -> Decimal:
        """``lots`` as a person counts them: base units, however many are in a contract; of an inverse one contracts."""
        return self.quantity(lots) if self.inverse else self.quantity(lots) * self.multiplier

    def price(self, ticks: int) -> Decimal:
        """``ticks`` as the exact price that is written on the wire."""
        return ticks * self.tick

    def ticks_within(self, price: float, *, buying: bool) -> int:
        """The last tick not worse than ``price``: at or below it when buying, at or above it when selling."""
        rounding = ROUND_FLOOR if buying else ROUND_CEILING
        return int((Decimal(repr(price)) / self.tick).to_integral_value(rounding))

    def nearest_ticks(self, price: float) -> int:
        """The tick nearest to ``price``."""
        return int((Decimal(repr(price)) / self.tick).to_integral_value(ROUND_HALF_EVEN))

    def size(self, lots: float) -> float:
        """Signed base units (linear) or quote units (inverse) of ``lots``."""
        return lots * self.unit

    def notional(self, lots: float, price: float) -> float:
        """Signed value of ``lots`` in the quote currency at ``price``."""
        return self.size(lots) if self.inverse else self.size(lots) * price

    def value(self, lots: float, price: float) -> float:
        """Signed value of ``lots`` in the settlement currency at ``price``."""
        return self.size(lots) / price if self.inverse else self.size(lots) * price

    def rate(self, price: float) -> float:
        """What one unit of the settlement currency is worth in the quote currency at ``price``."""
        return price if self.inverse else 1.0

    def lots_for(self, notional: float, price: float) -> float:
        """How many lots, not rounded, are worth ``notional`` (signed, quote currency) at ``price``."""
        return notional / self.notional(1, price)

    def profit(self, lots: int, entry: float, price: float) -> float:
        """Unrealised profit in the settlement currency of a signed position opened at ``entry``."""
        if self.inverse:
            return self.size(lots) * (1 / entry - 1 / price)
        return self.size(lots) * (price - entry)

    def entry(self, lots: float, entry: float, more: float, price: float) -> float:
        """The average entry once ``more`` lots opened at ``price`` are added to ``lots``, both unsigned.

        It is the entry at which the profit of the whole is that of the parts: inverse contracts average reciprocals.
        """
        if self.inverse:
            return (lots + more) / (lots / entry + more / price)
        return (lots * entry + more * price) / (lots + more)
