"""Costs: what an order would cost to execute now, in the quote currency."""

from __future__ import annotations

from msgspec import Struct

from agent.core.book import Row


class Costs(Struct, frozen=True, forbid_unknown_fields=True):
    """Fee rates to assume instead of the account's own, as fractions of notional; negative is a rebate."""

    maker: float | None = None
    taker: float | None = None


class Cost(Struct, frozen=True):
    """What an order costs against the mid price. ``filled`` is the part of it (0 to 1) that the known book can take."""

    fee: float
    spread: float
    impact: float
    filled: float

    @property
    def total(self) -> float:
        """Fee, half spread and walking the book together."""
        return self.fee + self.spread + self.impact


def fee_rate(row: Row, costs: Costs, *, maker: bool) -> float | None:
    """The rate that applies to the next trade of an instrument; None when neither the venue nor the file says."""
    override = costs.maker if maker else costs.taker
    if override is not None:
        return override
    if row.fees is None:
        return None
    return row.fees.maker if maker else row.fees.taker


def cost_of(row: Row, lots: int, costs: Costs, *, maker: bool) -> Cost | None:
    """Cost of trading signed ``lots`` now; None while the quote, the grid or the fee rate is missing.

    A taking order pays half the spread and then whatever deeper levels cost beyond the best price; what the visible
    book cannot fill is not extrapolated but left out, and ``filled`` says so. A resting order pays its fee alone.
    """
    rate = fee_rate(row, costs, maker=maker)
    if rate is None or row.quote is None or row.instrument is None:
        return None
    mid = (row.quote.bid + row.quote.ask) / 2
    notional = abs(row.instrument.notional(lots, mid))
    if maker:
        return Cost(fee=notional * rate, spread=0.0, impact=0.0, filled=1.0)
    wanted = float(row.instrument.quantity(lots))
    best = row.quote.ask if lots > 0 else row.quote.bid
    filled, average = walk(levels(row, buying=lots > 0), wanted)
    done = min(1.0, filled / wanted) if wanted else 1.0
    half_spread = notional * done * abs(best - mid) / mid
    slip = notional * done * abs(average - best) / mid
    return Cost(fee=notional * done * rate, spread=half_spread, impact=slip, filled=done)


def rate_of(row: Row, costs: Costs) -> float | None:
    """What a small trade that takes costs one way, as a fraction of its value: fee and half spread.

    None while the quote or the fee rate is missing.
    """
    rate = fee_rate(row, costs, maker=False)
    if rate is None or row.quote is None:
        return None
    bid, ask = row.quote.bid, row.quote.ask
    return rate + (ask - bid) / (ask + bid)


def levels(row: Row, *, buying: bool) -> tuple[tuple[float, float], ...]:
    """The side of the book an order would take from: the known depth, or the best level alone as if it were deep."""
    if row.depth is not None:
        side = row.depth.asks if buying else row.depth.bids
        if side:
            return side
    assert row.quote is not None
    return ((row.quote.ask if buying else row.quote.bid, float("inf")),)


def walk(side: tuple[tuple[float, float], ...], wanted: float) -> tuple[float, float]:
    """Take ``wanted`` units level by level: how much there was, and its average price (of the first level if none)."""
    filled, value = 0.0, 0.0
    for price, size in side:
        take = min(size, wanted - filled)
        if take <= 0:
            break
        filled += take
        value += take * price
    return filled, value / filled if filled else side[0][0]
