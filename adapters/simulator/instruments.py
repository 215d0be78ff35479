"""The perpetuals this exchange lists: their grids, limits, margin brackets and market character.

Tick sizes, lot sizes, minimum notionals and brackets have the shape and, where known, the figures
of the USDⓈ-M contracts of the same name. Prices are a starting point for a seeded market only.
"""

from collections.abc import Iterable
from decimal import Decimal
from functools import cache

from msgspec import Struct

_DAY_PER_LEVEL = 30_000
"""Turnover of a day over the notional on the best level, as it is for the largest contracts."""


class Bracket(Struct, frozen=True):
    """One margin tier: up to `cap` of notional (margin asset) at most `leverage`.

    `rate` is the maintenance margin rate and `cum` the amount deducted, so that maintenance margin
    is `notional * rate - cum` and continuous where one tier meets the next.
    """

    leverage: int
    floor: Decimal
    cap: Decimal
    rate: Decimal
    cum: Decimal


class Instrument(Struct, frozen=True):
    """A perpetual: what may be ordered, what margin it needs, how its market behaves.

    A linear one counts quantities in `contract` units of the base asset, and its notionals, margin and
    results are in the quote asset. An `inverse` one counts in contracts worth `contract` of the quote
    asset each, and its notionals, margin and results are in the base asset. `band` is the
    distance from the mark within which limit prices are accepted, and beyond which a market order
    finds no counterparty. `liquidity` is the value in quote asset on the best level of the synthetic book.
    `volatility` is per square root of a year, `loading` the correlation with the common factor.
    """

    symbol: str
    base: str
    reference_price: Decimal
    tick: Decimal
    step: Decimal
    min_notional: Decimal
    max_quantity: Decimal
    max_market_quantity: Decimal
    brackets: tuple[Bracket, ...]
    quote: str = "USDT"
    contract: Decimal = Decimal(1)
    inverse: bool = False
    band: Decimal = Decimal("0.10")
    liquidation_fee: Decimal = Decimal("0.0125")
    funding_hours: int = 8
    funding_cap: Decimal = Decimal("0.02")
    max_open_orders: int = 200
    spread_bps: float = 1.0
    level_gap_bps: float = 0.5
    liquidity: float = 50_000.0
    volatility: float = 1.2
    loading: float = 0.75
    status: str = "TRADING"

    @property
    def asset(self) -> str:
        """What margin is held, and results are paid, in."""
        return self.base if self.inverse else self.quote

    def worth(self, price: Decimal) -> Decimal:
        """What one unit of quantity is worth to its holder, in the margin asset: its changes are his results."""
        return -self.contract / price if self.inverse else self.contract * price

    def notional(self, quantity: Decimal, price: Decimal) -> Decimal:
        """The size of a quantity, with its sign, in the margin asset."""
        return quantity * abs(self.worth(price))

    def value(self, quantity: Decimal, price: Decimal) -> Decimal:
        """The size of a quantity, with its sign, in the quote asset."""
        return quantity * self.contract if self.inverse else quantity * self.contract * price

    def price_of(self, quantity: Decimal, notional: Decimal) -> Decimal:
        """The price at which a quantity has this notional; zero for none of it."""
        if not quantity:
            return Decimal(0)
        return quantity * self.contract / notional if self.inverse else notional / (quantity * self.contract)

    @property
    def day_turnover(self) -> Decimal:
        """What everybody else trades in a day, in quote asset: in proportion to the depth of the book."""
        return Decimal(round(self.liquidity * _DAY_PER_LEVEL))

    @property
    def price_decimals(self) -> int:
        """How many decimals the tick size has."""
        return decimals(self.tick)

    @property
    def quantity_decimals(self) -> int:
        """How many decimals the lot size has."""
        return decimals(self.step)

    def bracket(self, notional: Decimal) -> Bracket:
        """The bracket a position of this notional (unsigned) falls in; the last one has no end."""
        for bracket in self.brackets:
            if notional < bracket.cap:
                return bracket
        return self.brackets[-1]

    def largest_notional(self, leverage: int) -> Decimal:
        """The largest position, in margin asset, that this leverage allows."""
        return max((b.cap for b in self.brackets if b.leverage >= leverage), default=Decimal(0))


@cache
def decimals(step: Decimal) -> int:
    """How many digits after the point a grid needs: 3 for 0.001, 0 for 1 or 10."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def brackets(rows: Iterable[tuple[int, int, str]]) -> tuple[Bracket, ...]:
    """Margin tiers from (highest leverage, notional cap, maintenance rate) in rising order.

    The deducted amount follows from continuity: at each floor, the difference of the two rates
    times the floor is added to the amount of the tier below.
    """
    tiers: list[Bracket] = []
    floor = cum = last_rate = Decimal(0)
    for leverage, cap, text in rows:
        rate = Decimal(text)
        if tiers:
            cum += floor * (rate - last_rate)
        tiers.append(Bracket(leverage, floor, Decimal(cap), rate, cum))
        floor, last_rate = Decimal(cap), rate
    return tuple(tiers)


_BTC_TIERS = brackets(
    [
        (125, 50_000, "0.004"),
        (100, 600_000, "0.005"),
        (75, 3_000_000, "0.0065"),
        (50, 12_000_000, "0.01"),
        (25, 70_000_000, "0.02"),
        (20, 100_000_000, "0.025"),
        (10, 230_000_000, "0.05"),
        (5, 480_000_000, "0.1"),
        (4, 600_000_000, "0.125"),
        (3, 800_000_000, "0.15"),
        (2, 1_200_000_000, "0.25"),
        (1, 1_800_000_000, "0.5"),
    ]
)
_ETH_TIERS = brackets(
    [
        (125, 50_000, "0.004"),
        (100, 600_000, "0.005"),
        (75, 3_000_000, "0.0065"),
        (50, 12_000_000, "0.01"),
        (25, 50_000_000, "0.02"),
        (20, 65_000_000, "0.025"),
        (10, 150_000_000, "0.05"),
        (5, 320_000_000, "0.1"),
        (4, 400_000_000, "0.125"),
        (3, 530_000_000, "0.15"),
        (2, 800_000_000, "0.25"),
        (1, 1_200_000_000, "0.5"),
    ]
)
_MAJOR_TIERS = brackets(
    [
        (100, 20_000, "0.005"),
        (75, 100_000, "0.0065"),
        (50, 800_000, "0.01"),
        (25, 4_000_000, "0.02"),
        (20, 8_000_000, "0.025"),
        (10, 40_000_000, "0.05"),
        (5, 80_000_000, "0.1"),
        (4, 100_000_000, "0.125"),
        (2, 200_000_000, "0.25"),
        (1, 400_000_000, "0.5"),
    ]
)
_ALT_TIERS = brackets(
    [
        (75, 10_000, "0.0065"),
        (50, 80_000, "0.01"),
        (25, 400_000, "0.02"),
        (20, 800_000, "0.025"),
        (10, 4_000_000, "0.05"),
        (5, 8_000_000, "0.1"),
        (4, 10_000_000, "0.125"),
        (2, 20_000_000, "0.25"),
        (1, 30_000_000, "0.5"),
    ]
)


def _alt(
    base: str,
    price: str,
    tick: str,
    step: str,
    largest: int,
    *,
    tiers: tuple[Bracket, ...] = _ALT_TIERS,
    liquidity: float = 40_000.0,
    volatility: float = 1.2,
    loading: float = 0.78,
    funding_hours: int = 8,
) -> Instrument:
    return Instrument(
        symbol=base + "USDT",
        base=base,
        reference_price=Decimal(price),
        tick=Decimal(tick),
        step=Decimal(step),
        min_notional=Decimal(5),
        max_quantity=Decimal(largest),
        max_market_quantity=Decimal(largest // 10),
        brackets=tiers,
        spread_bps=2.0,
        liquidity=liquidity,
        volatility=volatility,
        loading=loading,
        funding_hours=funding_hours,
    )


_BTC_COIN_TIERS = brackets(
    [
        (125, 10, "0.004"),
        (100, 20, "0.005"),
        (50, 30, "0.01"),
        (20, 50, "0.025"),
        (10, 100, "0.05"),
        (5, 200, "0.1"),
        (4, 400, "0.125"),
        (3, 1_000, "0.15"),
        (2, 1_500, "0.25"),
        (1, 4_000, "0.5"),
    ]
)
"""In bitcoin: they meet the published example, 1.81 deducted in the fifth tier."""
_COIN_TIERS = brackets(
    [
        (75, 200, "0.0065"),
        (50, 500, "0.01"),
        (20, 2_000, "0.025"),
        (10, 10_000, "0.05"),
        (5, 50_000, "0.1"),
        (4, 100_000, "0.125"),
        (2, 400_000, "0.25"),
        (1, 1_000_000, "0.5"),
    ]
)


def _inverse(
    base: str,
    price: str,
    tick: str,
    *,
    contract: int = 10,
    tiers: tuple[Bracket, ...] = _COIN_TIERS,
    liquidity: float = 100_000.0,
    volatility: float = 1.0,
    loading: float = 0.78,
) -> Instrument:
    """A coin-margined perpetual: whole contracts of so many dollars, and no least value."""
    return Instrument(
        symbol=base + "USD",
        base=base,
        quote="USD",
        contract=Decimal(contract),
        inverse=True,
        reference_price=Decimal(price),
        tick=Decimal(tick),
        step=Decimal(1),
        min_notional=Decimal(0),
        max_quantity=Decimal(1_000_000),
        max_market_quantity=Decimal(60_000),
        brackets=tiers,
        band=Decimal("0.05"),
        funding_cap=Decimal("0.003"),
        liquidity=liquidity,
        volatility=volatility,
        loading=loading,
    )


# The loadings of BTC, ETH and SOL give correlations of .82, .72 and .76 between them.
INSTRUMENTS: dict[str, Instrument] = {
    one.symbol: one
    for one in (
        Instrument(
            symbol="BTCUSDT",
            base="BTC",
            reference_price=Decimal(77_000),
            tick=Decimal("0.1"),
            step=Decimal("0.001"),
            min_notional=Decimal(50),
            max_quantity=Decimal(1000),
            max_market_quantity=Decimal(120),
            brackets=_BTC_TIERS,
            band=Decimal("0.05"),
            funding_cap=Decimal("0.003"),
            liquidity=400_000.0,
            volatility=0.60,
            loading=0.8814,
        ),
        Instrument(
            symbol="ETHUSDT",
            base="ETH",
            reference_price=Decimal(2_400),
            tick=Decimal("0.01"),
            step=Decimal("0.001"),
            min_notional=Decimal(20),
            max_quantity=Decimal(10_000),
            max_market_quantity=Decimal(2_000),
            brackets=_ETH_TIERS,
            band=Decimal("0.05"),
            funding_cap=Decimal("0.003"),
            liquidity=250_000.0,
            volatility=0.80,
            loading=0.9303,
        ),
        _alt(
            "SOL",
            "95",
            "0.01",
            "0.01",
            1_000_000,
            tiers=_MAJOR_TIERS,
            liquidity=100_000.0,
            volatility=1.0,
            loading=0.8169,
        ),
        _alt("BNB", "640", "0.01", "0.01", 100_000, tiers=_MAJOR_TIERS, volatility=0.7),
        _alt("XRP", "1.45", "0.0001", "0.1", 10_000_000, tiers=_MAJOR_TIERS, volatility=0.95),
        _alt("ADA", "0.41", "0.0001", "1", 20_000_000),
        _alt("AVAX", "14.2", "0.001", "1", 1_000_000),
        _alt("DOGE", "0.11", "0.00001", "1", 50_000_000, tiers=_MAJOR_TIERS),
        _alt("LINK", "13.5", "0.001", "0.01", 1_000_000),
        _alt("AAVE", "155", "0.01", "0.1", 100_000),
        _alt("APE", "0.31", "0.0001", "1", 10_000_000, volatility=1.4),
        _alt("SUI", "1.35", "0.0001", "0.1", 10_000_000, volatility=1.3),
        _alt("ENA", "0.22", "0.0001", "1", 10_000_000, volatility=1.5, funding_hours=4),
        _alt("LTC", "78", "0.01", "0.001", 100_000, volatility=0.9),
        _alt("DOT", "2.1", "0.001", "0.1", 5_000_000),
        _alt("TRX", "0.32", "0.00001", "1", 50_000_000, volatility=0.6, loading=0.6),
    )
}

COIN_MARGINED: dict[str, Instrument] = {
    one.symbol: one
    for one in (
        _inverse(
            "BTC",
            "77000",
            "0.1",
            contract=100,
            tiers=_BTC_COIN_TIERS,
            liquidity=400_000.0,
            volatility=0.60,
            loading=0.8814,
        ),
        _inverse("ETH", "2400", "0.01", liquidity=250_000.0, volatility=0.80, loading=0.9303),
        _inverse("SOL", "95", "0.01", loading=0.8169),
        _inverse("BNB", "640", "0.01", volatility=0.7),
        _inverse("XRP", "1.45", "0.0001", volatility=0.95),
    )
}
"""Inverse perpetuals, apart from the linear ones: an account holds one of their coins, and trades in it alone."""


def instrument(symbol: str) -> Instrument:
    """The listing of a symbol; one that is not in the table gets a plain alt-coin listing.

    That lets a tape of any symbols play: the grid follows from nothing but the name, so the price
    grid is fine enough for coins of a cent and the lot grid for coins of a thousand. What ends in USD
    is coin-margined.
    """
    known = INSTRUMENTS.get(symbol) or COIN_MARGINED.get(symbol)
    if known is not None:
        return known
    if symbol.endswith("USD"):
        return _inverse(symbol.removesuffix("USD"), "1", "0.0001")
    return _alt(symbol.removesuffix("USDT"), "1", "0.0001", "0.01", 10_000_000)
