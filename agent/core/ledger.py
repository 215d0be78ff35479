"""The ledger: which strategy owns what of a netted position, and what each has earned.

The account holds one net position per instrument; the strategies behind it may want opposite things. So each strategy
owns whole lots of each instrument and cash of its own inside the account. Trading ``d`` lots at a price takes ``d``
times the worth of one lot, and the fee, out of its cash, so that at any moment

    equity = cash + sum over instruments of lots * worth of one lot at mark.

The worth of a lot is size * price for a linear contract and -size / price for an inverse one (`worth`), and with it
the same sentence is true of the account itself: its cash is then the wallet less what its positions were worth at
entry, its equity wallet plus unrealised profit. One trade changes both sides alike, therefore everything adds up by
construction, and no entry price needs to be kept or split.

What no strategy owns belongs to one more owner, `Ledger.unassigned`: capital left in cash, deposits until they are
shared out, trades that were not ours. With it, always,

    sum of lots = position of the account, to the lot;    sum of equities = equity of the account.

Lots are divided by largest remainder, in whole numbers, so nothing is lost to rounding. A strategy's wish that is
opposed to another's is met out of the other's lots, at the price of the fill that the rest of the wishes got (`fill`),
or at mark when nothing is left to trade outside (`cross`): the saving is shared, since fees go by the lots moved.

Returns are daily and exclude transfers of capital: a transfer ends a stretch, and the stretches of a day are chained
(a time-weighted return). Without transfers that is the day's profit over the capital at its start. A paused strategy
owns nothing; its returns are those of its `Shadow`, which holds its target weights on paper.

An account that is met for the first time needs no other way in: `adopt` it, `restore` the capital shares, and `cross`
hands the lots over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import NewType

from msgspec import Struct, field
from msgspec.structs import replace

from agent.core.instruments import Instrument

DAY_NS = 86_400 * 1_000_000_000
KEEP_DAYS = 400
"""So many daily returns are kept."""

Worth = NewType("Worth", float)
"""What one lot adds to its owner's equity, in the settlement currency: see `worth`."""


def worth(instrument: Instrument, price: float) -> Worth:
    """The worth of one lot at ``price``: it rises with the price, and its changes are the profit of a lot held."""
    value = instrument.value(1, price)
    return Worth(-value if instrument.inverse else value)


class Ledger(Struct):
    """What every strategy owns, and what none of them does. It can be encoded, and survives restarts as it is.

    ``worths`` are always those of one lot of each instrument at mark; amounts are in the settlement currency; lists by
    strategy or instrument are in file order.
    """

    symbols: list[str]
    strategies: dict[str, Sleeve]
    unassigned: Owner
    day: int | None = None
    """The UTC day, counted from 1970, that is under way."""

    @property
    def owners(self) -> list[Owner]:
        """The strategies in file order, and the unassigned last."""
        return [*self.strategies.values(), self.unassigned]

    # What is there

    def lots(self, index: int) -> int:
        """The net lots of an instrument."""
        return sum(owner.lots[index] for owner in self.owners)

    def equity(self, worths: Sequence[Worth]) -> float:
        """The equity of all owners together."""
        return sum(owner.equity(worths) for owner in self.owners)

    def shares(self, worths: Sequence[Worth]) -> list[float] | None:
        """Each strategy's part of the equity, which less its capital share is its drift; None without equity."""
        total = self.equity(worths)
        return [sleeve.equity(worths) / total for sleeve in self.strategies.values()] if total > 0 else None

    def weights(self, worths: Sequence[Worth]) -> list[list[float]] | None:
        """Signed notional over the whole equity, by strategy and instrument; None without equity."""
        total = self.equity(worths)
        if total <= 0:
            return None
        return [
            [lots * abs(each) / total for lots, each in zip(sleeve.lots, worths, strict=True)]
            for sleeve in self.strategies.values()
        ]

    # What happens

    def fill(self, index: int, lots: int, at: Worth, fee: float, aims: Sequence[float]) -> list[int]:
        """One of our orders has traded: the lots by which each owner's have changed, the unassigned last.

        ``at`` is the worth of a lot at the price paid, ``fee`` positive when paid. ``aims`` are the lots that each
        strategy should own when the whole correction is done. The fill brings all of them the same part of the way;
        what goes beyond the aims is divided by their size, and is unassigned when there are none.
        """
        aimed = [*rounded(aims), 0]
        wishes = [aim - owner.lots[index] for aim, owner in zip(aimed, self.owners, strict=True)]
        due = sum(wishes)
        within = min(max(lots, min(due, 0)), max(due, 0))
        towards, beyond = apportioned(within, wishes), apportioned(lots - within, [abs(aim) for aim in aimed])
        moves = [a + b for a, b in zip(towards, beyond, strict=True)]
        self._move(index, moves, at)
        for owner, part in zip(self.owners, shared(fee, moves), strict=True):
            owner.cash -= part
            owner.fees += part
        return moves

    def cross(self, index: int, aims: Sequence[float], mark: Worth) -> float:
        """Meet opposite wishes out of each other's lots, at mark, without a trade: the value that changed hands.

        ``aims`` as in `fill`. What is unassigned is on offer as well.
        """
        wishes = [aim - owner.lots[index] for aim, owner in zip([*rounded(aims), 0], self.owners, strict=True)]
        buys, sells = [max(0, wish) for wish in wishes], [min(0, wish) for wish in wishes]
        crossed = min(sum(buys), -sum(sells))
        bought, sold = apportioned(crossed, buys), apportioned(-crossed, sells)
        self._move(index, [a + b for a, b in zip(bought, sold, strict=True)], mark)
        return crossed * abs(mark)

    def funding(self, amount: float, rates: Mapping[int, float], worths: Sequence[Worth]) -> None:
        """The account has received ``amount`` (negative: paid) for the instruments of ``rates``, at these rates.

        Each owner gets what the rate makes of its own lots, so that opposed strategies pay each other even where the
        account's position is small or none. The rest, which is the venue's rounding or a rate that was not quite the
        settled one, is divided by the size of what was due; where nothing was due, it is unassigned.
        """
        costs = {index: rate * abs(worths[index]) for index, rate in rates.items()}
        due = [-sum(owner.lots[index] * cost for index, cost in costs.items()) for owner in self.owners]
        for owner, own, more in zip(self.owners, due, shared(amount - sum(due), due), strict=True):
            owner.cash += own + more
            owner.funding += own + more
        for sleeve in self.strategies.values():
            if sleeve.shadow is not None:
                sleeve.shadow.cash -= sum(sleeve.shadow.lots[index] * cost for index, cost in costs.items())

    def flow(self, amount: float) -> None:
        """A deposit, or, negative, a withdrawal: unassigned until `restore`."""
        self.unassigned.transfer(amount)

    def adopt(self, lots: Sequence[int], equity: float, worths: Sequence[Worth]) -> Unexplained:
        """Take the account as it is: what the ledger did not know of is unassigned from now on, and is the answer.

        The account must be known as of one moment, and every fill, funding and flow in it must have been told before.
        Then the answer is nothing but rounding, unless somebody else trades on the account.
        """
        strange = [held - self.lots(index) for index, held in enumerate(lots)]
        self.unassigned.lots = [own + more for own, more in zip(self.unassigned.lots, strange, strict=True)]
        cash = equity - self.equity(worths)
        self.unassigned.cash += cash
        return Unexplained(strange, cash)

    def restore(self, capital: Sequence[float], worths: Sequence[Worth]) -> list[float]:
        """Transfer capital so that each strategy has its share of the equity: what each received. Nothing is traded."""
        total = self.equity(worths)
        amounts = []
        for sleeve, share in zip(self.strategies.values(), capital, strict=True):
            amounts.append(share * total - sleeve.equity(worths))
            sleeve.end_stretch(worths)
            sleeve.transfer(amounts[-1])
            sleeve.begin_stretch(worths)
        self.unassigned.transfer(-sum(amounts))
        return amounts

    # Days and restarts

    def pass_day(self, now: int, worths: Sequence[Worth]) -> bool:
        """Whether ``now`` (UTC nanoseconds) is in a new UTC day; if so, every strategy's day gets its return."""
        today = now // DAY_NS
        before = self.day
        self.day = today if before is None else max(before, today)
        if before is None or today <= before:
            return False
        for sleeve in self.strategies.values():
            sleeve.end_day(worths)
        return True

    def carried(self, strategies: Sequence[str], symbols: Sequence[str]) -> Ledger | None:
        """This ledger for a file with these strategies and instruments; None if one is missing that somebody owns.

        What a strategy owned that is not in the file any more is unassigned.
        """
        gone = [index for index, symbol in enumerate(self.symbols) if symbol not in symbols]
        if any(owner.lots[index] for owner in self.owners for index in gone):
            return None

        def placed(owner: Owner) -> list[int]:
            lots = dict(zip(self.symbols, owner.lots, strict=True))
            return [lots.get(symbol, 0) for symbol in symbols]

        ledger, rest = opened(strategies, symbols), replace(self.unassigned, lots=placed(self.unassigned))
        for name, sleeve in self.strategies.items():
            if name in ledger.strategies:
                # A shadow is a list by instrument as well; who judges the strategy begins it anew.
                shadow = sleeve.shadow if list(symbols) == self.symbols else None
                ledger.strategies[name] = replace(sleeve, lots=placed(sleeve), shadow=shadow)
            else:
                rest.lots = [own + more for own, more in zip(rest.lots, placed(sleeve), strict=True)]
                rest.cash += sleeve.cash
                rest.fees += sleeve.fees
                rest.funding += sleeve.funding
                rest.transferred += sleeve.transferred
        ledger.unassigned, ledger.day = rest, self.day
        return ledger

    def _move(self, index: int, moves: Sequence[int], at: Worth) -> None:
        for owner, lots in zip(self.owners, moves, strict=True):
            owner.lots[index] += lots
            owner.cash -= lots * at


def opened(strategies: Sequence[str], symbols: Sequence[str]) -> Ledger:
    """A ledger of nothing."""
    none = [0] * len(symbols)
    return Ledger(list(symbols), {name: Sleeve(list(none)) for name in strategies}, Owner(list(none)))


class Owner(Struct):
    """Lots and cash inside the account that belong together, and how they came about."""

    lots: list[int]
    """Signed, by instrument."""
    cash: float = 0.0
    """What is left when all lots are counted at their worth; negative for a long owner with leverage."""
    fees: float = 0.0
    """Fees paid since the beginning; positive: paid."""
    funding: float = 0.0
    """Funding received since the beginning; negative: paid."""
    transferred: float = 0.0
    """Capital received since the beginning, less what was given away."""

    def equity(self, worths: Sequence[Worth]) -> float:
        """Cash and lots together."""
        return _equity(self, worths)

    def earned(self, worths: Sequence[Worth]) -> Earned:
        """The profit since the beginning, by its source."""
        total = self.equity(worths) - self.transferred
        return Earned(price=total - self.funding + self.fees, funding=self.funding, fees=-self.fees)

    def transfer(self, amount: float) -> None:
        """Receive capital, or, negative, give it away."""
        self.cash += amount
        self.transferred += amount


class Sleeve(Owner):
    """What a strategy owns, and its record."""

    returns: list[float | None] = field(default_factory=list)
    """By UTC day, oldest first; None for a day without capital. Days that the agent slept through are one with the day
    on which it woke."""
    index: float = 1.0
    """What one unit of capital has become since the last `restart`, up to the last day that has ended."""
    peak: float = 1.0
    """The highest that the index has been."""
    growth: float | None = None
    """What one unit of capital has become in the stretches of the day that have ended; None: there was no capital."""
    base: float = 0.0
    """Equity when the present stretch began."""
    shadow: Shadow | None = None
    """While it is paused, what it would own."""

    @property
    def drawdown(self) -> float:
        """Loss since the peak as a fraction of the peak, at the end of the last day."""
        return 1 - self.index / self.peak

    def restart(self) -> None:
        """The strategy is active again: drawdown is counted from here."""
        self.index = self.peak = 1.0

    def follow(self, weights: Sequence[float] | None, worths: Sequence[Worth]) -> None:
        """From now on its returns are those of these target weights (signed notional over its own capital).

        None: those of what it owns. To follow the same weights again changes nothing.
        """
        if weights is not None and self.shadow is not None and list(weights) == self.shadow.weights:
            return
        self.end_stretch(worths)
        self.shadow = None if weights is None else _shadow(weights, worths)
        self.begin_stretch(worths)

    def end_stretch(self, worths: Sequence[Worth]) -> None:
        """Chain the stretch that ends here to the day's growth. A stretch without capital has no return."""
        base, equity = (1.0, _equity(self.shadow, worths)) if self.shadow else (self.base, self.equity(worths))
        if base > 0:
            self.growth = (1.0 if self.growth is None else self.growth) * max(0.0, equity / base)

    def begin_stretch(self, worths: Sequence[Worth]) -> None:
        """The next stretch begins with what there is now, and a shadow with its weights again."""
        self.base = self.equity(worths)
        if self.shadow is not None:
            self.shadow = _shadow(self.shadow.weights, worths)

    def end_day(self, worths: Sequence[Worth]) -> None:
        """Enter the day's return."""
        self.end_stretch(worths)
        self.returns = [*self.returns, None if self.growth is None else self.growth - 1][-KEEP_DAYS:]
        if self.growth is not None:
            self.index *= self.growth
            self.peak = max(self.peak, self.index)
        self.growth = None
        self.begin_stretch(worths)


class Shadow(Struct):
    """What a strategy would own per unit of capital: its target weights at the marks of one moment, then left alone."""

    weights: list[float]
    """Signed notional over its own capital, by instrument: leverage times composition."""
    lots: list[float]
    cash: float


class Earned(Struct, frozen=True):
    """Profit by its source; losses and costs are negative."""

    price: float
    funding: float
    fees: float

    @property
    def total(self) -> float:
        """All sources together."""
        return self.price + self.funding + self.fees


class Unexplained(Struct, frozen=True):
    """What the account has and the ledger did not know of: lots by instrument, and cash."""

    lots: list[int]
    cash: float


class Parts(Struct, frozen=True):
    """Why a strategy's weights are not what they should be, by instrument; the three add up to the drift."""

    capital: list[float]
    """It has another share of the equity than it should."""
    leverage: list[float]
    """It makes more or less of what it has than it should."""
    composition: list[float]
    """It holds another mix than it should."""


def attribution(
    weights: Sequence[float], share: float, capital: float, leverage: float, composition: Sequence[float]
) -> Parts:
    """A strategy's drift in its parts, in the order capital, leverage, composition; their sum is exact.

    ``weights`` and ``share`` are what it has (`Ledger.weights`, `Ledger.shares`), the others what it should have:
    capital share, gross leverage, and signed composition with absolute values that add up to 1. With a the composition
    and gross the sum of the absolute weights, the parts are (share - capital) * leverage * a, then (gross - share *
    leverage) * a, then weights - gross * a: nothing is divided by a capital that may be 0.
    """
    gross = sum(abs(weight) for weight in weights)
    return Parts(
        capital=[(share - capital) * leverage * a for a in composition],
        leverage=[(gross - share * leverage) * a for a in composition],
        composition=[weight - gross * a for weight, a in zip(weights, composition, strict=True)],
    )


def apportioned(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` lots in proportion to weights, in whole lots that add up to it (largest remainder, first of equals).

    The last gets all when the weights come to 0.
    """
    whole = sum(weights)
    if not whole:
        return [*(0 for _ in weights[1:]), total]
    sign = 1 if whole > 0 else -1
    divided = [divmod(sign * total * weight, sign * whole) for weight in weights]
    return _topped([part for part, _ in divided], [rest for _, rest in divided], total)


def rounded(aims: Sequence[float]) -> list[int]:
    """Whole lots, each less than one from its aim, that add up to the rounded sum of the aims."""
    parts = [floor(aim) for aim in aims]
    return _topped(parts, [aim - part for aim, part in zip(aims, parts, strict=True)], round(sum(aims)))


def shared(amount: float, weights: Sequence[float]) -> list[float]:
    """``amount`` in proportion to the sizes of weights; the last gets all when they are all 0."""
    sizes = [abs(weight) for weight in weights]
    total = sum(sizes)
    return [amount * size / total for size in sizes] if total else [*(0.0 for _ in weights[1:]), amount]


def _topped(parts: list[int], rests: Sequence[float], total: int) -> list[int]:
    """One more for those with the largest rests, until the parts add up."""
    by_rest = sorted(range(len(parts)), key=lambda i: -rests[i])
    for i in by_rest[: total - sum(parts)]:
        parts[i] += 1
    return parts


def _equity(owner: Owner | Shadow, worths: Sequence[Worth]) -> float:
    return owner.cash + sum(lots * each for lots, each in zip(owner.lots, worths, strict=True))


def _shadow(weights: Sequence[float], worths: Sequence[Worth]) -> Shadow:
    lots = [weight / abs(each) for weight, each in zip(weights, worths, strict=True)]
    shadow = Shadow(list(weights), lots, 1.0)
    shadow.cash -= sum(count * each for count, each in zip(lots, worths, strict=True))
    return shadow
