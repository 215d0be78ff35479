"""Terms: what must stay as it was, whose account it is, how it is set up, what its key may do, what a contract is.

What changes there changes the meaning of every number, and only a person can know whether that is meant. So the agent
stops increasing, says what has changed and how to mend it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from agent.core.book import Book, Row
from agent.core.events import Fact, Leverage, Listed, Mode, Owner, Rights, Tiers, Unanswered
from agent.core.halts import Halts
from agent.core.instruments import Instrument, Tier
from agent.core.orders import S
from agent.core.prices import places

DAY_NS = 24 * 3600 * S
NOTICE_DAYS = (14, 7, 1)
"""So long before the end of a key's right to trade it is spoken of."""
TRIES = 3
"""So many times the rights of a key are waited for."""


class Terms:
    """What was agreed. ``owner`` is the account that an earlier run traded on; the other arguments as for
    `agent.core.strangers.Strangers`.

    ``live``: orders are sent, so the key must be fit for it; ``allow_withdrawals``: a key that can withdraw will do.
    """

    def __init__(
        self,
        symbols: list[str],
        *,
        owner: str | None,
        live: bool,
        allow_withdrawals: bool,
        note: Callable[[str, str, str | None], None],
        halts: Halts,
    ) -> None:
        self.symbols = symbols
        self.owner = owner
        self.unfit: str | None = None
        """Why this key must not trade this portfolio at all."""
        self._live = live
        self._allow_withdrawals = allow_withdrawals
        self._note = note
        self._halts = halts
        self._mode: Mode | None = None
        self.isolated: dict[int, bool] = {}
        """By instrument: whether positions have a margin wallet of their own, where that was told."""
        self.rights: Rights | None = None
        """What the key may do; None until that was told."""
        self._unlearnt = 0
        """How often the rights of the key could not be learnt."""
        self._noticed: int | None = None
        """The last notice that was given of the key's end, in days."""

    def take(self, fact: Fact, book: Book, now: int) -> None:
        """Compare what is told with what was known; the book does not know of it yet."""
        match fact:
            case Mode():
                self._compare_mode(fact)
            case Leverage(instrument=index, isolated=bool(isolated)):
                self._compare_margin(index, isolated)
            case Owner(name=name):
                self._compare_owner(name)
            case Rights():
                self._judge_rights(fact, now)
            case Listed():
                self._compare_contracts(fact, book)
            case Tiers(instrument=index, tiers=tiers):
                self._compare_tiers(book.rows[index], tiers)
            case Unanswered(what="rights", reason=reason) if self.rights is None:
                self._unlearnt += 1
                if self._unlearnt == TRIES:
                    self._note("warning", f"what the key may do could not be learnt: {reason}", None)
            case _:
                pass

    def jumped(self, index: int, before: Decimal, after: Decimal) -> None:
        """A quantity has moved without a trade: by a power of ten it is the contract that has changed."""
        if places(float(after), float(before)):
            self._alter(index, f"its position went from {before:f} to {after:f} at once, as when it is redenominated")

    def refuse(self, why: str) -> None:
        """The key must not trade this portfolio, and why."""
        if self._live:
            self.unfit = self.unfit or why
        self._halts.halt(why)

    def _compare_owner(self, account: str) -> None:
        if self.owner is None:
            self.owner = account
        elif self.owner != account:
            cure = "give back the key, or name another state directory for this account"
            self.refuse(f"the key belongs to account {account}, and it was {self.owner} before: {cure}")

    def _compare_mode(self, mode: Mode) -> None:
        before, self._mode = self._mode, self._mode or mode
        if mode.can_trade is False:
            self._halts.halt("the venue lets the account trade no more: ask it why, then resume")
        if before is None:
            return
        words = {True: ("hedge", "many"), False: ("one-way", "one")}
        cure = "change it back; a restart takes it as it is"
        if mode.hedge != before.hedge:
            self._halts.halt(f"position mode was changed to {words[mode.hedge][0]} while this was running: {cure}")
        if mode.multi_asset != before.multi_asset:
            kind = words[mode.multi_asset][1]
            self._halts.halt(f"the account was set to {kind} collateral asset(s) while this was running: {cure}")

    def _compare_margin(self, index: int, isolated: bool) -> None:
        if self.isolated.setdefault(index, isolated) != isolated:
            kind = "isolated" if isolated else "cross"
            cure = "change it back; a restart takes it as it is"
            self._halts.halt(f"the margin of {self.symbols[index]} was set to {kind} while this was running: {cure}")

    def _judge_rights(self, rights: Rights, now: int) -> None:
        before, self.rights = self.rights, rights
        if rights.withdraw and not self._allow_withdrawals:
            cure = "take that right from it, or set account.allow_withdrawals = true"
            self.refuse(f"the key can withdraw: {cure}")
        if not rights.trade:
            self.refuse("the key may not trade futures: give it that right")
        if before is None:
            if not rights.bound:
                self._note("warning", "the key works from any address: bind it to this machine's", None)
            if rights.transfer:
                self._note("warning", "the key can move money between accounts, which this agent never does", None)
        if rights.expires_at is not None:
            self._expire(rights.expires_at, now)

    def _expire(self, at: int, now: int) -> None:
        if at <= now:
            self.refuse("the key's right to trade has ended: renew it")
            return
        due = [days for days in NOTICE_DAYS if at - now <= days * DAY_NS]
        if due and (self._noticed is None or due[-1] < self._noticed):
            self._noticed = due[-1]
            left = (at - now) / DAY_NS
            self._note("warning", f"the key's right to trade ends in {left:.1f} days: renew it", None)

    def _compare_tiers(self, row: Row, tiers: Sequence[Tier]) -> None:
        most, before = _most(tiers, row.leverage), _most(row.tiers, row.leverage)
        if row.tiers and most < before:
            text = f"the venue has lowered its margin tiers: at the leverage setting of {row.leverage}x no more than"
            self._note("warning", f"{text} {most:,.0f} may be held, and it was {before:,.0f}", row.symbol)

    def _compare_contracts(self, fact: Listed, book: Book) -> None:
        listed = {one.index: one for one in fact.instruments}
        for index, row in book.accounts[fact.account].rows.items():
            before, after = row.instrument, listed.get(index)
            if before is None:
                continue
            trading = after is not None and after.trading
            if trading != before.trading:
                text = "takes orders again" if trading else "takes no orders: what is held stays as it is until it does"
                self._note("state" if trading else "warning", f"the venue {text}", row.symbol)
            if after is not None and row.lots and (why := _another(before, after, row)):
                self._alter(index, why)

    def _alter(self, index: int, why: str) -> None:
        cure = "see that its target still means what it should, then resume or restart"
        self._halts.block(index, f"{why}; {cure}", self.symbols[index])


def _most(tiers: Sequence[Tier], leverage: int | None) -> float:
    """The largest value that a margin table allows at a leverage setting."""
    return max((tier.cap for tier in tiers if leverage is not None and tier.leverage >= leverage), default=0.0)


def _another(before: Instrument, after: Instrument, row: Row) -> str | None:
    """Why a listing is of another contract than before, seen from a position in it; None for other grids and limits."""
    for what in ("base", "quote", "settle", "multiplier", "inverse"):
        old, new = getattr(before, what), getattr(after, what)
        if old != new:
            return f"the contract has changed: its {what} is {new}, and was {old}"
    held = [before.quantity(holding.lots) for holding in row.holdings.values()]
    if any(quantity % after.step for quantity in held):
        return f"the contract has changed: what is held is no multiple of its new step of {after.step}"
    return None
