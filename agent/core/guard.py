"""The guard of an account: what is asked of its venue, which of its streams have gone silent, who else is at work on
it, what must stay as it was; and from all of that, whether anything may be decided there, and what stands in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

from msgspec import Struct

from agent.core.audit import TRUTH, Audit
from agent.core.book import LEAST, Book
from agent.core.deadman import DeadMan
from agent.core.decisions import Policy
from agent.core.events import Clock, Command, Fact
from agent.core.halts import Halts
from agent.core.orders import Blotter, S, base36
from agent.core.pulse import Pulse
from agent.core.readiness import Readiness, behind
from agent.core.strangers import Sharing, Strangers
from agent.core.terms import Terms
from agent.core.venue import Abilities, Ask, Request, What


class Seat(Struct, frozen=True):
    """One account of the portfolio, as a run takes it over.

    ``tag`` marks the account in order ids; ``owner`` is whose it was, by the venue's own name, when a run last looked.
    ``unrecorded``: requests of an earlier run may be under way that are on no record.
    """

    tag: str
    abilities: Abilities
    name: str = ""
    """What the portfolio file calls it; empty where it has one account."""
    pool: str = ""
    """The venue, and the coin that the account is held in if it is held in one: with the owner, which margin it is."""
    sharing: Sharing = Sharing()
    allow_withdrawals: bool = False
    leverage: float | None = None
    """Largest gross notional over the equity of this account alone."""
    owner: str | None = None
    unrecorded: bool = False


class Guard:
    """Watches over account number ``index`` of the book. ``note`` is told what is worth a word (kind, text, symbol)."""

    def __init__(
        self,
        seat: Seat,
        index: int,
        book: Book,
        policy: Policy,
        *,
        epoch: int,
        nonce: int,
        note: Callable[[str, str, str | None], None],
    ) -> None:
        symbols = [row.symbol for row in book.rows]
        self.name = seat.name
        self.pool = seat.pool
        self.index = index
        self._note = note
        self.book = book
        self.account = book.accounts[index]
        self.account.most_leverage = seat.leverage
        self.doubted = True
        """Something was told about the account since its positions were last reckoned up."""
        self.audit = Audit(seat.abilities, self.account.rows, index, f"{seat.tag}{epoch}", policy.timing)
        quiet_ns = round(policy.timing.quiet_s * S)
        self.readiness = Readiness(self.account, self.audit, seat.abilities.sockets, quiet_ns)
        self.pulse = Pulse(self.account, round(policy.limits.data_age_s * S))
        self.dead_man = DeadMan(self.account.rows, policy.execution.dead_man_s if seat.abilities.arms else 0.0)
        self.halts = Halts(note)
        self.strangers = Strangers(
            seat.sharing,
            symbols,
            self.account,
            tag=seat.tag,
            epoch=epoch,
            nonce=nonce,
            life_ns=round(policy.execution.request_life_s * S),
            unrecorded=seat.unrecorded,
            silent=policy.mode == "observe",
            note=note,
            halts=self.halts,
        )
        self.terms = Terms(
            symbols,
            owner=seat.owner,
            live=policy.mode == "live",
            allow_withdrawals=seat.allow_withdrawals,
            note=note,
            halts=self.halts,
        )

    def take(self, fact: Fact, now: int) -> None:
        """Take note of a fact about this account or its instruments; the book follows in between."""
        self.terms.take(fact, self.book, now)
        self.book.apply(fact, now)
        self.audit.apply(fact, now)
        self.dead_man.apply(fact, now)
        if isinstance(fact, Clock):
            for room in (self.audit, self.strangers):
                room.rewind(now + fact.offset_ns + fact.error_ns)

    def require(self, whats: tuple[What, ...], now: int, *, anew: bool = True) -> None:
        """Have these asked at once; ``anew``: answers to what was asked before do not count."""
        self.audit.require(whats, now, self.venue_now(now) if anew else 0)

    def questions(self, blotter: Blotter, now: int) -> list[Request]:
        """What to ask of the venue now, and which dead-man's switches to set."""
        rows = self.account.rows
        disputed = any(index in rows for index, _ in self.book.disputed)
        if disputed or self.account.left_out or behind(self.account, blotter):
            self.audit.hurry(What.POSITIONS, now)
        if self.account.left_out:  # it may be the account's answer that is old
            self.audit.hurry(What.ACCOUNT, now)
        if self.strangers.curious(now):
            self.audit.hurry(What.ORDERS, now)
        if any(order.instrument in rows for order in blotter.live()):
            self.audit.attend(now)
        asks: list[Ask] = self.audit.due(now)
        return [*asks, *self.dead_man.due(blotter, now)]

    def venue_now(self, now: int) -> int:
        """The venue's time, at the earliest it can be."""
        clock = self.account.clock
        return now + (clock.offset_ns - clock.error_ns if clock else 0)

    def dues(self) -> list[int | None]:
        """When to look again, besides for questions that are due."""
        return [self.dead_man.wake_at(), self.strangers.settled_at, self.pulse.wake_at()]

    def obey(self, command: Command, now: int) -> None:
        """A person's word that concerns every account."""
        match command.name:
            case "pause":
                self.halts.paused = True
            case "resume" if self.terms.unfit:
                self.halts.paused = False  # a pause is of all accounts; what is unfit stays halted
                self._note("warning", f"not resumed: {self.terms.unfit}", None)
            case "resume":
                self.halts.resume()
                self.strangers.resume()
                # What a person has seen to is seen to once the venue says so: till then nothing increases.
                self.require((*TRUTH, What.LEVERAGE), now)
            case "halt":
                self.halts.halt(command.argument or "by command")
            case "kill":
                self.halts.killed = command.argument or "by command"
            case "unkill":
                self.halts.killed = None
            case "resync":
                self.require((What.TIME, *TRUTH), now)
            case "stop":
                self.halts.stopping = True
            case _:
                pass

    def left_alone(self, now: int) -> str | None:
        """Why nothing but safety begins here; None if anything may."""
        return self.readiness.away or self.halts.aside(now)

    def named(self, what: str) -> str:
        """Something of this account, called by both names where the portfolio has several."""
        return f"{self.name}:{what}" if self.name else what

    def withheld(self) -> str | None:
        """Why nothing may increase here; None if it may."""
        worth = self.account.worth
        if not self.halts.idle and self.readiness.complete and worth is not None and worth <= LEAST:
            return "nothing is left of the account's equity"
        return self.halts.withheld


def tags_of(tag: str, names: Sequence[str]) -> list[str]:
    """Two characters for each account of a portfolio that is marked by ``tag``: no two alike, the same for the same
    names; that of the portfolio where there is one alone."""
    if names == [""]:
        return [tag]
    found: dict[str, None] = {}
    for name in names:
        number = int.from_bytes(blake2b(f"{tag}:{name}".encode(), digest_size=4).digest())
        while (own := base36(number % 36**2).zfill(2)) in found:
            number += 1
        found[own] = None
    return list(found)


def placed(symbols: Sequence[str], names: Sequence[str]) -> list[int]:
    """The account of each symbol: of several accounts the one whose name stands before its colon."""
    if len(names) == 1:
        return [0] * len(symbols)
    return [names.index(symbol.partition(":")[0]) for symbol in symbols]
