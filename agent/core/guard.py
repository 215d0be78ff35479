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
    sharing: Sharing = Sharing()
    allow_withdrawals: bool = False
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
        self.index = index
        self.book = book
        self.account = book.accounts[index]
        self.streams = seat.abilities.sockets
        self.complete = False
        """All that is needed was known at once."""
        self.away: str | None = "answers of the venue"
        """What is missing, as of the last look."""
        self.audit = Audit(seat.abilities, self.account.rows, index, f"{seat.tag}{epoch}", policy.timing)
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
        if any(index in rows for index, _ in self.book.disputed) or self.behind(blotter):
            self.audit.hurry(What.POSITIONS, now)
        if self.strangers.curious(now):
            self.audit.hurry(What.ORDERS, now)
        if any(order.instrument in rows for order in blotter.live()):
            self.audit.attend(now)
        asks: list[Ask] = self.audit.due(now)
        return [*asks, *self.dead_man.due(blotter, now)]

    def behind(self, blotter: Blotter) -> bool:
        """Whether a position is older than our last effect on it."""
        return any(self.book.known_at(index) < blotter.needed(index) for index in self.account.rows)

    def look(self) -> None:
        """See whether all is known that decisions here need."""
        self.away = self.unready()
        self.complete = self.complete or self.away is None

    def unready(self) -> str | None:
        """What is still missing before anything may be decided here; None when all is known."""
        missing = self.audit.missing()
        if unlisted := self.unlisted():
            return f"the venue to list {', '.join(unlisted)}"
        if missing:
            return "answers of the venue"
        if mixed := self.mixed():
            return mixed
        down = [stream for stream in self.streams if stream not in self.account.streams]
        if down:
            return f"stream {', '.join(down)}"
        silent = [row.symbol for row in self.account.rows.values() if row.mark is None]
        return f"a price of {', '.join(silent)}" if silent else None

    def mixed(self) -> str | None:
        """What a person must change where instruments are settled in several assets and the account counts one."""
        rows, mode = self.account.rows.values(), self.account.mode
        settled = list(dict.fromkeys(row.instrument.settle for row in rows if row.instrument is not None))
        if len(settled) < 2 or mode is None or mode.multi_asset:
            return None
        return f"multi-assets mode: the instruments settle in {' and '.join(settled)}, and the account counts one asset"

    def unlisted(self) -> list[str]:
        """Symbols that the venue, having been asked, does not have."""
        if What.INSTRUMENTS in self.audit.missing():
            return []
        return [row.symbol for row in self.account.rows.values() if row.instrument is None]

    def blind(self, quiet_s: float, now: int) -> bool:
        """Whether positions were not told within ``quiet_s``, so that not even a reduction can be sized."""
        told_at = self.account.positions_at
        return not self.complete or told_at is None or now - told_at > round(quiet_s * S) or self.mixed() is not None

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
            case "resume":
                self.halts.resume()
                self.strangers.resume()
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

    def named(self, what: str) -> str:
        """Something of this account, called by both names where the portfolio has several."""
        return f"{self.name}:{what}" if self.name else what

    def withheld(self) -> str | None:
        """Why nothing may increase here; None if it may."""
        worth = self.account.worth
        if not self.halts.idle and self.complete and worth is not None and worth <= LEAST:
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
