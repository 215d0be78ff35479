"""The mandate: what is wanted at this moment, by strategy, by instrument, and what funding leaves of it.

It begins with the file, and follows what happens: targets that a feed gives, strategies whose health changes, funding
that bleeds. For the strategies it keeps the ledgers true and shares out capital.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.core import words
from agent.core.book import Book
from agent.core.carry import Carry, Turn
from agent.core.decisions import Memory, Policy
from agent.core.drift import Drift, measure, standing
from agent.core.events import Filled, Flow
from agent.core.ledger import DAY_NS
from agent.core.orders import Order
from agent.core.reasons import Reason
from agent.core.sleeves import EXACT, FLOWS, Sleeves, worths_of
from agent.core.targets import Given, Rows, matrix_of, netted
from agent.core.triggers import Watch


class Mandate:
    """What is wanted. ``memory`` is what an earlier run remembered; ``note`` is told what is worth a word (kind, text,
    symbol), ``wish`` what is a reason to correct."""

    def __init__(
        self,
        policy: Policy,
        memory: Memory,
        note: Callable[[str, str, str | None], None],
        wish: Callable[[Reason], None],
    ) -> None:
        self.policy = policy
        self.symbols = policy.targets.symbols
        self.targets = policy.targets
        self.given: Given | None = None
        """The targets that a feed gave last; None while the file's are in force."""
        if memory.given is not None and set(memory.given.targets.symbols) <= set(self.symbols):
            self.given, self.targets = memory.given, memory.given.targets
        self.carry = Carry(self.symbols, policy.funding, memory.carry)
        self.sleeves = Sleeves(self.targets, self.symbols, memory.sleeves) if self.targets.strategies else None
        self.watch = Watch(policy.triggers)
        """Whether the strategies' shares of equity have left their bands."""
        self.matrix: Rows | None = None
        """The weight that each strategy wants of each instrument."""
        self.wishes: list[float | None] | None = None
        """The weight that is wanted of each instrument, at the leverage that the file names; None for ``hold``."""
        self.remember = False
        """The ledgers have changed since they were last written down."""
        self.doubted = True
        """Something was told about the account since the ledgers were last compared with it."""
        self._note = note
        self._wish = wish
        self._basis: object = None
        self._overdue = False
        """It has been said that the feed's targets are past their time."""

    def drift(self, book: Book, leverage: float | None, now: int) -> Drift | None:
        """Where the portfolio stands toward what is wanted now; see `agent.core.drift.measure`."""
        if book.equity is None:
            return None
        self._look(book, now)
        if self.wishes is None:
            return None
        parts = self.carry.scales(book, self.contracts(book) or [])
        return measure(book, self.targets, self.policy.bands, leverage, wishes=self.wishes, parts=parts)

    def standing(self, book: Book) -> Drift | None:
        """What is held, while there is no drift; see `agent.core.drift.standing`."""
        return standing(book, self.targets.held)

    def contracts(self, book: Book) -> list[float | None] | None:
        """The weight that is wanted in contracts, see `Book.coins`: what pays funding."""
        if self.wishes is None:
            return None
        return [None if wish is None else wish - coin for wish, coin in zip(self.wishes, book.coins, strict=True)]

    def missing(self, book: Book) -> str:
        """Why there is no drift, where every instrument has a price."""
        if book.equity is None:
            return "equity: it is not known"
        return "leverage settings: weights that are shares of margin follow from them"

    def hedges(self, book: Book, drift: Drift) -> list[tuple[int, ...]]:
        """The instruments that hedge each other, group by group."""
        return [unit for unit in self.carry.units(book, drift.targets) if len(unit) > 1]

    def dues(self, now: int) -> list[int]:
        """When to look again if nothing is heard."""
        times = [*self.watch.dues]
        times += [self.given.valid_until] if self.given is not None else []
        times += [now - now % DAY_NS + DAY_NS] if self.sleeves else []
        return times

    # What happens

    def retarget(self, given: Given, now: int) -> None:
        """Take targets that a feed has checked. Older ones, and those past their time, never replace any."""
        if self.given is not None and given.issued_at <= self.given.issued_at:
            self._say("warning", f"targets of {given.source} are older than those in force, and are not taken")
        elif given.valid_until <= now:
            self._say("warning", f"targets of {given.source} are past their time, and are not taken")
        else:
            self._say("targets", f"targets of {given.source}: {words.targets(given.targets)}")
            self.given, self.targets, self._overdue, self.remember = given, given.targets, False, True
            if self.sleeves:
                self.sleeves.retarget(given.targets)

    def flowed(self, flow: Flow, book: Book) -> None:
        """Money came or went."""
        if self.sleeves:
            self.sleeves.flowed(flow, book)
            self.remember = True
        account, equity = book.accounts[flow.account], book.equity
        if flow.kind not in FLOWS or flow.asset != account.settle or not equity:
            return
        if abs(flow.amount) * (account.rate or 1.0) / equity >= self.policy.triggers.cash_flow:
            self._wish(Reason(cause=f"a {flow.kind} of {account.said(flow.amount, '+')} {flow.asset}", breach=False))

    def filled(self, order: Order, fill: Filled, book: Book) -> None:
        """One of our orders has traded; ``order`` is as it was before."""
        if self.sleeves and self.matrix is not None:
            self.sleeves.filled(order, fill, book, self.matrix)
            self.remember = True

    def tend(self, book: Book, drift: Drift, now: int, *, quiet: bool, busy: bool) -> bool:
        """Keep the ledgers true, judge the strategies' health at the end of a day, and share out capital.

        ``quiet``: position and wallet are as of one moment. ``busy``: a correction is under way. Whether other weights
        are wanted than before.
        """
        sleeves = self.sleeves
        if sleeves is None or self.matrix is None:
            return False
        if self.doubted and quiet:
            self.doubted = False
            self._compare(sleeves, book, drift)
        turns = sleeves.pass_day(book, now)
        if turns:
            before, told = self.wishes or [], [words.health(turn) for turn in turns]
            self._look(book, now)
            changed = [i for i, (a, b) in enumerate(zip(before, self.wishes or [], strict=True)) if a != b]
            for text in told:
                self._say("health", text)
            self._wish(Reason(cause="; ".join(told), weighed=False, scope=tuple(changed)))
            self.remember = True
        if not sleeves.settled:
            self.share_out(book, "the start")
        fired = self.watch.observe(sleeves.reaches(book, self.policy.bands.strategy), now)
        if fired and busy:
            self.watch.rearm()  # the correction shares out at its end, unless it comes to nothing
        elif fired:
            self.share_out(book, f"{' and '.join(fired)} out of its band")
        return bool(turns)

    def share_out(self, book: Book, cause: str) -> None:
        """Bring every strategy to its capital, and let opposite wishes change hands inside the account."""
        if self.sleeves is None or self.matrix is None:
            return
        amounts, crossed = self.sleeves.settle(book, self.matrix)
        if any(abs(amount) >= 0.005 for amount in amounts) or crossed:
            self._say("strategies", words.shared_out(cause, self.sleeves.names, amounts, crossed))
        self.remember = True

    # Inside

    def _look(self, book: Book, now: int) -> None:
        """Bring up to date what is wanted."""
        settings = [row.leverage for row in book.rows]
        capital = self.sleeves.capital if self.sleeves else self.targets.capital
        basis = (self.targets, capital, settings if self.targets.basis == "margin" else None)
        if basis != self._basis:
            self._basis = basis
            self.matrix = matrix_of(self.targets, self.symbols, settings, capital)
            self.wishes = None if self.matrix is None else self._free(netted(self.matrix))
        if (wanted := self.contracts(book)) is not None:
            for turn in self.carry.observe(book, wanted, now):
                self._bleed(turn)
        if self.given is not None and now >= self.given.valid_until and not self._overdue:
            self._overdue = True
            self._say("warning", f"the targets of {self.given.source} are past their time; they stay until newer come")

    def _free(self, weights: Sequence[float]) -> list[float | None]:
        held = self.targets.held
        return [None if symbol in held else weight for symbol, weight in zip(self.symbols, weights, strict=True)]

    def _bleed(self, turn: Turn) -> None:
        """Funding has begun to bleed, or ceased to: what it concerns goes to its new aim, if that pays."""
        names = " and ".join(self.symbols[index] for index in turn.unit)
        cause = words.bleeding(names, turn, self.policy.funding)
        self._say("funding", cause, self.symbols[turn.unit[0]])
        self._wish(Reason(cause=cause, scope=turn.unit))

    def _compare(self, sleeves: Sleeves, book: Book, drift: Drift) -> None:
        strange, worths = sleeves.adopt(book), worths_of(book)
        if strange is None or worths is None or (sleeves.fresh and not sleeves.settled):
            return
        for index, lots in enumerate(strange.lots):
            if lots:
                text = f"{lots:+d} lots that no strategy has traded; they are unassigned until the next correction"
                self._say("warning", text, self.symbols[index])
        gained = strange.cash + sum(lots * each for lots, each in zip(strange.lots, worths, strict=True))
        if abs(gained) > EXACT * drift.equity:
            self._say("warning", f"{gained:+,.2f} of equity that no fill, fee or funding explains is unassigned")
        self.remember = True

    def _say(self, kind: str, text: str, symbol: str | None = None) -> None:
        self._note(kind, text, symbol)
