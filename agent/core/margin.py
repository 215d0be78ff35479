"""Margin: what the venue's own tables ask for, and how far prices may move before it liquidates.

An account is liquidated when equity no longer covers the maintenance margin of all its positions. Both change with
prices, so the distance is the smallest move s at which equity less losses meets the maintenance margin *after* the
move: ``E + s·Σβ·N <= Σ MM(|N|·(1 + β·s))``. Amounts are in the quote currency, at mark; those of an account that is
held in a coin are its coins at the present mark, also where a move is looked at.

An isolated position is a margin pool of its own: its equity is the wallet assigned to it and its unrealised profit, and
the account's common pool has that much less. To the common pool it is so much equity set aside, whatever prices do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import ceil, inf, sqrt

from msgspec import Struct
from msgspec.structs import replace

from agent.core.book import Account, Book, Holding, Row
from agent.core.covariance import Matrix
from agent.core.events import Side
from agent.core.instruments import Tier, maintenance
from agent.core.programme import Bound, Curve

EXIT = 1.2
"""What was in danger is brought this much further away than where danger begins, so that it does not return at once."""
FURTHEST_RISE = 1e6
"""A rise by so many times its price does not happen; a fall ends at a price of nought."""


def tier_of(tiers: tuple[Tier, ...], notional: float) -> Tier | None:
    """The bracket an absolute ``notional`` falls into; the last one above the table, None without a table."""
    for tier in tiers:
        if notional < tier.cap:
            return tier
    return tiers[-1] if tiers else None


def most_value(row: Row) -> float:
    """What a position must stay below at its leverage setting; infinite while that or the table is unknown."""
    if row.leverage is None or not row.tiers:
        return inf
    return max((tier.cap for tier in row.brackets if tier.leverage >= row.leverage), default=0.0)


def most_lots(row: Row) -> float:
    """The same in whole lots."""
    assert row.instrument is not None, "lots are lots of a grid"
    assert row.mark is not None, "nothing is sized without a price"
    most = most_value(row) / row.instrument.notional(1, row.mark.price)
    return most if most == inf else max(0, ceil(most) - 1)


class Exposure(Struct, frozen=True):
    """What is held of one instrument. In one-way mode one of ``long`` and ``short`` is nought."""

    long: float = 0.0
    short: float = 0.0
    """Absolute."""
    tiers: tuple[Tier, ...] = ()
    leverage: int | None = None
    inverse: bool = False
    isolated_long: float | None = None
    """Equity of the long row's own pool; None where the common pool covers it."""
    isolated_short: float | None = None

    @property
    def shared(self) -> tuple[float, float]:
        """What the common pool covers, long and short."""
        return (
            self.long if self.isolated_long is None else 0.0,
            self.short if self.isolated_short is None else 0.0,
        )

    @property
    def pools(self) -> list[tuple[float, Exposure]]:
        """What is isolated, each row with the equity of its own pool."""
        alone = replace(self, isolated_long=None, isolated_short=None)
        rows = (self.isolated_long, replace(alone, short=0.0)), (self.isolated_short, replace(alone, long=0.0))
        return [(equity, one) for equity, one in rows if equity is not None and (one.long or one.short)]

    @property
    def locked(self) -> float:
        """Equity set aside for what is isolated."""
        return (self.isolated_long or 0.0) + (self.isolated_short or 0.0)

    @property
    def falls(self) -> bool:
        """Whether a falling price is the one that hurts the common pool."""
        long, short = self.shared
        return long > short

    @property
    def maintenance(self) -> float:
        """Maintenance margin that the common pool must cover now."""
        return self.taken(0.0) - self.locked

    @property
    def initial(self) -> float:
        """Initial margin at the leverage setting, or what is set aside; infinite while that is unknown."""
        if not self.long and not self.short:
            return 0.0
        return sum(self.shared) / self.leverage + self.locked if self.leverage else inf

    def taken(self, move: float) -> float:
        """What a relative ``move`` of the price takes from the common pool.

        It is the loss, and the maintenance margin after it; of what is isolated, the equity set aside for it.
        """
        long = self.long if self.isolated_long is None else 0.0  # as `shared`, without its price on every tick
        short = self.short if self.isolated_short is None else 0.0
        factor, net = 1.0 + max(move, -1.0), long - short
        if self.inverse:  # a value in coins is face value over price
            factor = 1.0 / max(factor, 1e-12)
            loss = net * (factor - 1.0)
        else:
            loss = net * (1.0 - factor)
        if long:
            loss += maintenance(self.tiers, long * factor) or 0.0
        if short:
            loss += maintenance(self.tiers, short * factor) or 0.0
        if self.isolated_long is None and self.isolated_short is None:
            return loss
        return loss + self.locked

    def against(self, distance: float) -> float:
        """What a move by ``distance`` takes in the direction that takes more."""
        if not self.short:
            return self.taken(-distance)
        if not self.long:
            return self.taken(distance)
        return max(self.taken(-distance), self.taken(distance))

    def own_distance(self) -> float | None:
        """How far the price may move before an isolated row is liquidated, the nearer of the two; None: never."""
        return shortest([distance(equity, one.against, _furthest([one])) for equity, one in self.pools])

    def scaled(self, scale: float) -> Exposure:
        """With its net scaled down by trading the larger side alone, as orders do.

        A venue sets free as large a part of an isolated row's equity as is closed of the row.
        """
        less = (1.0 - scale) * (self.long - self.short)
        long, short = self.long - max(0.0, less), self.short + min(0.0, less)
        scaled = replace(self, long=long, short=short)
        if self.locked:
            own_long, own_short = self.isolated_long, self.isolated_short
            scaled = replace(
                scaled,
                isolated_long=own_long and own_long * long / self.long,
                isolated_short=own_short and own_short * short / self.short,
            )
        return scaled


def exposure(row: Row, lots: Mapping[Side, int] | None = None) -> Exposure | None:
    """What is held of an instrument, or would be with these signed ``lots`` by position row.

    None while something is held whose grid, mark or margin table is not known, or whose entry where it is isolated.
    """
    held = {side: holding.lots for side, holding in row.holdings.items()} if lots is None else lots
    if not any(held.values()):
        return Exposure()
    if row.instrument is None or row.mark is None or not row.tiers:
        return None
    pools: dict[bool, float] = {}
    for side, size in held.items():
        holding = row.holdings.get(side)
        if size and holding is not None and holding.isolated is not None:
            equity = set_aside(row, holding, size)
            if equity is None:
                return None
            pools[size > 0] = equity
    one = row.instrument.notional(1, row.mark.price)
    return Exposure(
        long=one * sum([size for size in held.values() if size > 0]),
        short=-one * sum([size for size in held.values() if size < 0]),
        tiers=row.brackets,
        leverage=row.leverage,
        inverse=row.instrument.inverse,
        isolated_long=pools.get(True),
        isolated_short=pools.get(False),
    )


def set_aside(row: Row, holding: Holding, size: int) -> float | None:
    """Equity of an isolated position row, or what it would be with ``size`` signed lots; None while it is not known.

    As large a part of it is set free as is closed of the row, and what is opened gets its initial margin.
    """
    assert row.instrument is not None, "a position is valued on its grid"
    assert row.mark is not None, "and at a price"
    kept = min(abs(holding.lots), abs(size)) if holding.lots * size > 0 else 0
    equity = 0.0
    if kept:
        if holding.entry is None or holding.isolated is None:
            return None
        whole = holding.isolated + row.instrument.profit(holding.lots, holding.entry, row.mark.price)
        equity = whole * row.instrument.rate(row.mark.price) * kept / abs(holding.lots)
    opened = abs(row.instrument.notional(abs(size) - kept, row.mark.price))
    return equity + (opened / row.leverage if row.leverage else 0.0)


def exposures(account: Account, changes: Mapping[tuple[int, Side], int] | None = None) -> list[Exposure] | None:
    """All of an account in the order of its rows, with ``changes`` in lots as if they had traded; None: see
    `exposure`."""
    found = []
    for index, row in account.rows.items():
        lots = None
        if changes:
            lots = {side: holding.lots for side, holding in row.holdings.items()}
            for (where, side), more in changes.items():
                if where == index:
                    lots[side] = lots.get(side, 0) + more
        one = exposure(row, lots)
        if one is None:
            return None
        found.append(one)
    return found


def nearest(book: Book) -> float | None:
    """The joint adverse distance of the account that is nearest to its liquidation; None: never, or not known."""
    found = []
    for account in book.accounts:
        held, worth = exposures(account), account.worth
        if held is not None and worth is not None:
            found.append(distances(worth, held).joint)
    return shortest(found)


def distance(equity: float, taken: Callable[[float], float], furthest: float) -> float | None:
    """The smallest move at which what it takes uses up equity; None when that is never, 0 when it is so already.

    What is left is concave in the move, so it has one root; bisection finds it to the last digit.
    """
    if equity <= taken(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while equity > taken(high):
        if high >= furthest:
            return None
        low, high = high, min(2.0 * high, furthest)
    while low < (middle := (low + high) / 2.0) < high:
        low, high = (low, middle) if equity <= taken(middle) else (middle, high)
    return high


class Distances(Struct, frozen=True):
    """How far prices may move before liquidation of a pool, as fractions of their present values; None: never."""

    alone: tuple[float | None, ...]
    """Each instrument alone, against the position in it."""
    down: float | None
    up: float | None
    joint: float | None
    """Every instrument at once, each against the position in it: pessimistic for a hedged portfolio, on purpose."""

    @property
    def nearest(self) -> tuple[int, float] | None:
        """The instrument that alone is nearest to liquidation, and its distance."""
        known = [(away, index) for index, away in enumerate(self.alone) if away is not None]
        return (min(known)[1], min(known)[0]) if known else None


def distances(equity: float, held: Sequence[Exposure]) -> Distances:
    """All liquidation distances of a portfolio; ``equity`` is that of all pools together."""
    kept = [one.taken(0.0) for one in held]
    rest = [equity - sum(kept) + own for own in kept]
    pools = [(own, [row]) for one in held for own, row in one.pools]
    if shares(held):
        pools.append((equity, list(held)))

    def together(sign: int, furthest: float) -> float | None:
        return shortest([distance(own, partial(_taken, rows, sign), furthest) for own, rows in pools])

    return Distances(
        alone=tuple(
            shortest([common_distance(e, [[one]]), one.own_distance()]) for e, one in zip(rest, held, strict=True)
        ),
        down=together(-1, 1.0),
        up=together(1, FURTHEST_RISE),
        joint=joint(equity, [[one] for one in held]),
    )


def joint(equity: float, cases: Sequence[Sequence[Exposure]]) -> float | None:
    """The joint adverse distance of the nearest pool; ``equity`` is that of all pools together.

    Each instrument may be in any of several ``cases``: the worst of them counts.
    """
    own = [one.own_distance() for options in cases for one in options]
    return shortest([common_distance(equity, cases), *own])


def common_distance(equity: float, cases: Sequence[Sequence[Exposure]]) -> float | None:
    """The joint adverse distance of the common pool alone; arguments as for `joint`."""
    every = [one for options in cases for one in options]
    if not shares(every):
        return None
    return distance(
        equity, lambda s: sum(max(one.against(s) for one in options) for options in cases), _furthest(every)
    )


def shares(held: Iterable[Exposure]) -> bool:
    """Whether the common pool covers anything: what is assigned to isolated positions alone can't liquidate it."""
    return any(long or short for long, short in (one.shared for one in held))


def shortest(found: Sequence[float | None]) -> float | None:
    """The smallest distance; None where all are never."""
    return min([away for away in found if away is not None], default=None)


def _taken(held: Sequence[Exposure], sign: int, move: float) -> float:
    return sum(one.taken(sign * move) for one in held)


def _furthest(held: Sequence[Exposure]) -> float:
    return 1.0 if any(one.falls for one in held) else FURTHEST_RISE


def danger(equity: float, held: Sequence[Exposure], floor: float, most: float) -> str | None:
    """Why everything must be reduced at once, if so: the common pool is in danger.

    ``floor`` is the smallest joint adverse distance, ``most`` the largest maintenance margin over equity. An isolated
    pool that comes near its end is no reason: venues set its equity free in step with what is closed, so reducing it
    moves its liquidation no further away, and more than is assigned to it cannot be lost.
    """
    if not shares(held):
        return None
    if sum([one.against(floor) for one in held]) > equity:
        away = common_distance(equity, [[one] for one in held]) or 0.0
        return f"liquidation is {away:.1%} away; the floor is {floor:.1%}"
    kept, common = sum([one.maintenance for one in held]), equity - sum([one.locked for one in held])
    if kept > most * common:
        return f"maintenance margin is {kept / common:.1%} of equity; the limit is {most:.1%}"
    return None


def relief(equity: float, held: Sequence[Exposure], room: Sequence[float | None], floor: float, most: float) -> float:
    """The largest part, 0 to 1, of what there was at the start that leaves the account beyond both exit levels.

    ``room`` is how many times its present net each instrument had at the start, at least 1; None where it is not to be
    touched. What is below its part already stays as it is. The exit levels are ``floor`` times `EXIT` and ``most`` over
    `EXIT`; 0 also where what is not to be touched is too much.
    """

    def fits(scale: float) -> bool:
        left = [
            one if more is None else one.scaled(min(1.0, scale * more)) for one, more in zip(held, room, strict=True)
        ]
        covered = sum(one.against(EXIT * floor) for one in left) <= equity
        common = equity - sum(one.locked for one in left)
        return covered and sum(one.maintenance for one in left) <= most * common / EXIT

    if fits(1.0):
        return 1.0
    low, high = 0.0, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def bounds_of(book: Book, equity: float, leverage: float, maintenance: float, floor: float) -> tuple[Bound, ...]:
    """What an increase may lead to, for signed notional over ``equity``, which is that of all accounts.

    Gross leverage of all instruments together; and of each account initial margin, maintenance margin by the venue's
    tables, and the joint adverse liquidation distance. The last two keep to the exit levels of `relief`, lest noise at
    the very limit sell what was just bought. Where a table or leverage setting is not known, the bound that needs it is
    left out: the gates refuse what increases there.
    """
    coins = book.coins
    found = [Bound("leverage", tuple(map(_leverage, coins)), leverage - sum(coins))]
    for account in book.accounts:
        rows = account.rows.values()
        share = 1.0 if len(book.accounts) == 1 else max(account.equity or 0.0, 0.0) / equity

        def among(curve: Callable[[Row], Curve], here: Account = account) -> tuple[Curve, ...]:
            return tuple(curve(row) if index in here.rows else _straight(0.0) for index, row in enumerate(book.rows))

        if account.most_leverage is not None:
            own = tuple(
                _leverage(coin) if index in account.rows else _straight(0.0) for index, coin in enumerate(coins)
            )
            set_aside = sum(coins[index] for index in account.rows)
            found.append(Bound("leverage of the account", own, share * account.most_leverage - set_aside))
        if all(row.leverage for row in rows):
            initial = among(lambda row: _straight(1.0 / (row.leverage or 1)))
            found.append(Bound(name="initial margin", curves=initial, most=share))
        if all(row.tiers for row in rows):
            kept = among(lambda row: _lines(row, equity, 0.0))
            found.append(Bound(name="maintenance margin", curves=kept, most=share * maintenance / EXIT))
            near = among(lambda row: _lines(row, equity, EXIT * floor))
            found.append(Bound(name="liquidation distance", curves=near, most=share))
    return tuple(found)


def _leverage(coin: float) -> Curve:
    """What contracts add to leverage: a coin counts before any of them does, and a short takes it away before it adds
    to the other side. It makes no room for other instruments: a bound is convex, and this one errs on the safe side."""
    return Curve(((1.0, 0.0),), ((1.0, 2 * coin),))


def _straight(slope: float) -> Curve:
    return Curve(long=((slope, 0.0),), short=((slope, 0.0),))


def _lines(row: Row, equity: float, move: float) -> Curve:
    """What a position takes of equity after an adverse move: see `Exposure.taken`. One line for each bracket."""
    inverse = row.instrument is not None and row.instrument.inverse
    sides = []
    for way in (-1.0, 1.0):
        factor = 1.0 / (1.0 + way * move) if inverse else 1.0 + way * move
        loss = abs(factor - 1.0)
        sides.append(tuple((loss + tier.rate * factor, tier.deduction / equity) for tier in row.brackets))
    return Curve(long=sides[0], short=sides[1])


def sigma_distance(equity: float, held: Sequence[Exposure], covariance: Matrix, days: float = 1.0) -> float | None:
    """The same distance in standard deviations of what the common pool is worth, over ``days``; None: it has no risk.

    (1 - MM/E) over the volatility of the portfolio in that time: it ranks hedged books by what they really risk, where
    the joint distance is pessimistic. ``covariance`` is a year's.
    """
    common = equity - sum(one.locked for one in held)
    weights = [(long - short) / common for long, short in (one.shared for one in held)]
    variance = sum(
        a * b * c for a, row in zip(weights, covariance, strict=True) for b, c in zip(weights, row, strict=True)
    )
    if variance <= 0:
        return None
    kept = sum(one.maintenance for one in held)
    return (1 - kept / common) / sqrt(variance * days / 365)
