"""Costs: what an order would cost to execute now, in the quote currency."""

from __future__ import annotations

from math import sqrt

from msgspec import Struct

from agent.core.book import Row

SMALL = 0.01
"""Up to this part of what is visible on its side of the book, an order costs what walking the book says."""


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


def cost_of(row: Row, lots: int, costs: Costs, *, maker: bool, sigma_day: float | None = None) -> Cost | None:
    """Cost of trading signed ``lots`` now; None while the quote, the grid or the fee rate is missing.

    A resting order pays its fee alone. A taking order pays half the spread and then whatever deeper levels cost beyond
    the best price. Others take and refill the same levels, so what is large against the visible book costs at least its
    square-root `impact`, and that is also the price beyond the end of the book, where both the instrument's daily
    volume and ``sigma_day``, its volatility in a day, are known. Where not, the visible depth is the only source: what
    it cannot fill is not extrapolated but left out, and ``filled`` says so.
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
    side = levels(row, buying=lots > 0)
    filled, average = walk(side, wanted, inverse=row.instrument.inverse)
    done = min(1.0, filled / wanted) if wanted else 1.0
    slip = abs(average - best) / mid
    if sigma_day is not None and row.volume and wanted > SMALL * visible(row, buying=lots > 0):
        _, whole = impact(notional, sigma_day, row.volume)
        _, first = impact(notional * done, sigma_day, row.volume)
        walked = slip * done
        if done < 1.0:
            rest = (whole - first * done) / (1.0 - done)
            walked += (1.0 - done) * max(rest, abs(side[-1][0] - best) / mid)
        slip, done = max(whole, walked), 1.0
    half_spread = notional * done * abs(best - mid) / mid
    return Cost(fee=notional * done * rate, spread=half_spread, impact=notional * done * slip, filled=done)


def impact(size: float, sigma_day: float, volume: float, y: float = 1.0) -> tuple[float, float]:
    """How far an order moves the price in the end, and on average while it trades, as fractions of the price.

    The square-root law: y s sqrt(Q / V) for a size Q, a daily volume V in the same unit and a volatility s in a day;
    the average over the order is two thirds of it. The constant y is near 1 in every market that was measured, bitcoin
    among them (Donier and Bonart 2015).
    """
    end = y * sigma_day * sqrt(size / volume)
    return end, end * 2 / 3


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


def visible(row: Row, *, buying: bool) -> float:
    """The quantity on the side of the book that an order would take from, as far as we are told of it."""
    if row.depth is not None and (side := row.depth.asks if buying else row.depth.bids):
        return sum(size for _, size in side)
    assert row.quote is not None, "what takes is not priced without a quote"
    return row.quote.ask_size if buying else row.quote.bid_size


def walk(side: tuple[tuple[float, float], ...], wanted: float, *, inverse: bool = False) -> tuple[float, float]:
    """Take ``wanted`` units level by level: how much there was, and its average price (of the first level if none).

    That of ``inverse`` contracts is the average of reciprocals.
    """
    filled, value = 0.0, 0.0
    for price, size in side:
        take = min(size, wanted - filled)
        if take <= 0:
            break
        filled += take
        value += take / price if inverse else take * price
    if not filled:
        return filled, side[0][0]
    return filled, filled / value if inverse else value / filled
