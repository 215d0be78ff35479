"""Sleeves: the strategies of a portfolio at work. What each should have, what it owns, and how it does.

The targets say what every strategy wants, the ledger knows what each owns, health says how much capital each is given.
Strategies are never traded one by one: their wishes are netted, the net is traded, and every fill is divided among
them. What they want of each other changes hands inside the account, and so does capital.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from agent.core.book import Account, Book
from agent.core.events import Filled, Flow
from agent.core.health import Condition, Health, State, reallocate, review, sharpe
from agent.core.ledger import DAY_NS, Ledger, Sleeve, Unexplained, Worth, opened, worth
from agent.core.orders import Order
from agent.core.targets import Rows, Targets

EXACT = 1e-6
"""What the ledger does not explain is told from this part of equity on."""
FLOWS = ("deposit", "withdrawal", "transfer")
"""Kinds of flows that are nobody's profit."""


class SleevesState(Struct):
    """All that must survive a restart."""

    ledger: Ledger
    conditions: dict[str, Condition]

    def without_positions(self) -> SleevesState:
        """For a run on another account: nothing is owned, and how the strategies did is kept."""
        ledger = opened(list(self.ledger.strategies), self.ledger.symbols)
        for name, sleeve in self.ledger.strategies.items():
            lots = ledger.strategies[name].lots
            ledger.strategies[name] = Sleeve(lots, returns=sleeve.returns, index=sleeve.index, peak=sleeve.peak)
        ledger.day = self.ledger.day
        return SleevesState(ledger=ledger, conditions=self.conditions)


class Turn(Struct, frozen=True):
    """A strategy's health has changed."""

    name: str
    health: Health
    before: Condition
    after: Condition
    sharpe: float | None
    drawdown: float

    @property
    def worse(self) -> bool:
        """Whether it has less capital than before."""
        return self.after.multiplier < self.before.multiplier


class Sleeves:
    """The strategies of one portfolio. ``state`` is that of an earlier run, if there was one."""

    def __init__(self, targets: Targets, symbols: Sequence[str], state: SleevesState | None = None) -> None:
        self.targets = targets
        self.names = list(targets.strategies)
        known = state.ledger.carried(self.names, symbols) if state else None
        self.ledger = known or opened(self.names, symbols)
        self.fresh = known is None
        """Nothing is known of an earlier run, so nothing that the account has is a surprise at the start."""
        conditions = state.conditions if state else {}
        self.conditions = {name: conditions.get(name, Condition()) for name in self.names}
        self.capital: list[float] = []
        """The share of equity that each should have, its health considered."""
        self.settled = False
        """Capital has been shared out since the start."""
        self._give()

    @property
    def state(self) -> SleevesState:
        """What the next run has to know."""
        return SleevesState(ledger=self.ledger, conditions=self.conditions)

    def retarget(self, targets: Targets) -> None:
        """Other targets, of the same strategies."""
        self.targets = targets
        self._give()

    def _give(self) -> None:
        freed = self.targets.freed
        to: int | Literal["pro rata", "cash"] = "cash" if freed == "cash" else "pro rata"
        if freed in self.names:
            to = self.names.index(freed)
        multipliers = [self.conditions[name].multiplier for name in self.names]
        self.capital, _ = reallocate(self.targets.capital, multipliers, self.targets.boost, to)

    # What happens

    def filled(self, order: Order, fill: Filled, book: Book, matrix: Rows) -> None:
        """One of our orders has traded; ``order`` is as it was before. The fill is divided by what each wants."""
        instrument, equity = book.rows[fill.instrument].instrument, book.equity
        if instrument is None:
            return
        open_lots = order.open_lots or fill.lots
        final = self.ledger.lots(fill.instrument) + open_lots
        at = worth(instrument, fill.price)
        aims = self._aims(fill.instrument, final, at, matrix, equity or 0.0)
        fee = fill.fee if fill.fee_asset == instrument.settle else 0.0
        self.ledger.fill(fill.instrument, fill.lots, at, fee, aims)

    def flowed(self, flow: Flow, book: Book) -> None:
        """Money came or went. Funding is divided by who holds what, anything else is shared out when it is time."""
        worths = worths_of(book)
        if flow.asset != book.accounts[flow.account].settle or worths is None:
            return
        if flow.kind == "funding":
            self.ledger.funding(flow.amount, settling(book.accounts[flow.account], flow.at), worths)
        elif flow.kind in FLOWS:
            self.ledger.flow(flow.amount)

    def adopt(self, book: Book) -> Unexplained | None:
        """Take the account as it is; what the ledger does not explain is the answer, None while nothing is known.

        To be called only while no order is under way and position and wallet are as of one moment.
        """
        worths, equity = worths_of(book), book.equity
        if worths is None or equity is None:
            return None
        return self.ledger.adopt([row.lots for row in book.rows], equity, worths)

    def settle(self, book: Book, matrix: Rows) -> tuple[list[float], float]:
        """Share out capital and let opposite wishes change hands at mark: what each received, and the value crossed."""
        worths, equity = worths_of(book), book.equity
        if worths is None or equity is None or equity <= 0:
            return [], 0.0
        amounts = self.ledger.restore(self.capital, worths)
        crossed = 0.0
        for index, mark in enumerate(worths):
            aims = self._aims(index, self.ledger.lots(index), mark, matrix, equity)
            crossed += self.ledger.cross(index, aims, mark)
        self.settled = True
        return amounts, crossed

    def _aims(self, index: int, final: int, at: Worth, matrix: Rows, equity: float) -> list[float]:
        """The lots each strategy should own of an instrument when ``final`` is held of it."""
        return portions([row[index] * equity / abs(at) for row in matrix], float(final), self.capital)

    # How they do

    def shares(self, book: Book) -> list[float] | None:
        """Each strategy's share of equity; None while it is not known."""
        worths = worths_of(book)
        return None if worths is None else self.ledger.shares(worths)

    def unassigned(self, book: Book) -> float | None:
        """Equity that no strategy owns."""
        worths = worths_of(book)
        return None if worths is None else self.ledger.unassigned.equity(worths)

    def reaches(self, book: Book, tolerance: float) -> dict[str, float]:
        """How far each strategy's share of equity is from its capital, as a part of ``tolerance``."""
        shares = self.shares(book)
        if shares is None:
            return {}
        return {
            f"strategy {name}": abs(share - capital) / tolerance
            for name, share, capital in zip(self.names, shares, self.capital, strict=True)
        }

    def pass_day(self, book: Book, now: int) -> list[Turn]:
        """At the first look of a UTC day, judge the one before: the strategies whose health has changed."""
        worths = worths_of(book)
        if worths is None or not self.ledger.pass_day(now, worths):
            return []
        turns = []
        for name, strategy in self.targets.strategies.items():
            sleeve, before, health = self.ledger.strategies[name], self.conditions[name], strategy.health
            if health is None:
                continue
            after = self.conditions[name] = review(health, before, sleeve.returns, sleeve.drawdown)
            if after.state is not before.state or after.multiplier != before.multiplier:
                ratio = sharpe(sleeve.returns, health.window_days)
                turns.append(Turn(name, health, before, after, ratio, sleeve.drawdown))
            if after.state is State.ACTIVE and before.state is not State.ACTIVE:
                sleeve.restart()
        self._give()
        self._follow(worths)
        return turns

    def _follow(self, worths: Sequence[Worth]) -> None:
        """A strategy that is paused holds its weights on paper, so that it can prove itself."""
        symbols = self.ledger.symbols
        rows = zip(self.targets.compositions(symbols), self.targets.leverages(), strict=True)
        for name, (composition, leverage) in zip(self.names, rows, strict=True):
            paused = self.conditions[name].state is State.PAUSED
            weights = [leverage * part for part in composition] if paused else None
            self.ledger.strategies[name].follow(weights, worths)


def portions(wanted: Sequence[float], final: float, capital: Sequence[float]) -> list[float]:
    """``wanted`` changed so that they add up to ``final``.

    What is missing or too much comes first from the wishes on the other side, which shrink in proportion, so that none
    has more than it wants. What is left is divided by the size of the wishes, and where nobody wants any, by capital.
    """
    rest = final - sum(wanted)
    other = sum(lots for lots in wanted if lots * rest < 0)
    part = min(1.0, rest / -other) if other else 0.0
    shrunk = [lots * (1.0 - part) if lots * rest < 0 else lots for lots in wanted]
    sizes = [abs(lots) for lots in shrunk]
    if not sum(sizes):
        sizes = list(capital) if sum(capital) else [1.0] * len(wanted)
    rest = final - sum(shrunk)
    return [lots + rest * size / sum(sizes) for lots, size in zip(shrunk, sizes, strict=True)]


def worths_of(book: Book) -> list[Worth] | None:
    """What one lot of each instrument is worth at mark; None while a grid or a price is missing."""
    found = []
    for row in book.rows:
        if row.instrument is None or row.mark is None:
            return None
        found.append(worth(row.instrument, row.mark.price))
    return found


def settling(account: Account, at: int) -> dict[int, float]:
    """The rates of the instruments whose funding was settled at about ``at``; where none stands out, of all there."""
    rates = {index: row.funding.rate for index, row in account.rows.items() if row.funding is not None}
    near = {}
    for index, rate in rates.items():
        funding, hours = account.rows[index].funding, account.rows[index].interval_hours
        if funding is not None and hours is not None:
            ends = (funding.next_at, funding.next_at - round(hours * 3600e9))
            if min(abs(at - end) for end in ends) < NEAR_NS:
                near[index] = rate
    return near or rates


NEAR_NS = DAY_NS // 288
"""Five minutes: a settlement is booked within this time."""
