"""The audit: which questions the venue is asked, at the start, after every reconnection, and for ever after.

Streams tell what changes; they do not tell what was missed. So the account is asked about again and again, more often
while something is uncertain, and nothing increases until the answers after the last reconnection are in.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from agent.core.decisions import Timing
from agent.core.events import (
    Clock,
    Fact,
    Fees,
    Funding,
    Interval,
    Leverage,
    Listed,
    Margin,
    Mark,
    Mode,
    Orders,
    Owner,
    Positions,
    Rights,
    Tiers,
    Unanswered,
    Volume,
)
from agent.core.limits import backoff
from agent.core.orders import MS, S
from agent.core.terms import TRIES
from agent.core.venue import Abilities, Ask, What

ANSWERS: dict[What, type] = {
    What.TIME: Clock,
    What.INSTRUMENTS: Listed,
    What.PRICES: Mark,
    What.INTERVALS: Interval,
    What.TIERS: Tiers,
    What.FEES: Fees,
    What.LEVERAGE: Leverage,
    What.MODE: Mode,
    What.ACCOUNT: Margin,
    What.POSITIONS: Positions,
    What.ORDERS: Orders,
    What.VOLUMES: Volume,
    What.OWNER: Owner,
    What.RIGHTS: Rights,
}
"""The fact that shows a question to be answered: where funding does not stream, and prices are asked for it, that."""

EVERY_NS: dict[What, int] = {
    What.TIME: 60 * S,
    What.INSTRUMENTS: 3600 * S,
    What.PRICES: 3600 * S,
    What.INTERVALS: 3600 * S,
    What.TIERS: 3600 * S,
    What.FEES: 24 * 3600 * S,
    What.LEVERAGE: 300 * S,
    What.MODE: 300 * S,
    What.ACCOUNT: 10 * S,
    What.POSITIONS: 10 * S,
    What.ORDERS: 60 * S,
    What.VOLUMES: 3600 * S,
    What.OWNER: 600 * S,
    What.RIGHTS: 3600 * S,
}
"""How often each is asked while all is well; account and positions as often as the file's ``[timing]`` says."""

OPTIONAL = (What.VOLUMES,)
"""What is good to know, and nothing waits for."""

TRUTH = (What.MODE, What.ACCOUNT, What.POSITIONS, What.ORDERS, What.OWNER)
"""What must be asked anew after the private stream was away, or the venue was."""

OUTAGE = 4
"""So many questions in a row without an answer, and the venue is taken to be away."""

RUSH_NS = 1200 * MS
"""How often positions are asked for while one is in doubt."""

PATIENCE_NS = 15 * S
"""A question without any answer for so long is asked again."""


class Poll(Struct):
    """One question and the state of its answer."""

    ask: Ask
    due_at: int = 0
    pending_since: int | None = None
    answered: bool = False
    """Since it was last required."""
    known: bool = False
    """It has been answered at all."""
    attempt: int = 0
    trouble: str | None = None
    """Why the last attempt brought no answer."""
    required_at: int = 0
    """The venue's time that the answer must not be older than."""


class Audit:
    """All standing questions about account number ``account`` and its ``instruments``."""

    def __init__(
        self,
        abilities: Abilities,
        instruments: Iterable[int],
        account: int = 0,
        salt: str = "",
        timing: Timing | None = None,
    ) -> None:
        self.salt = salt
        self.timing = timing or Timing()
        often = round(self.timing.positions_s * S)
        self.every_ns = {**EVERY_NS, What.POSITIONS: often, What.ACCOUNT: often, **abilities.cadence}
        self.polls: dict[tuple[What, int | None], Poll] = {}
        self._vain = 0
        """How many questions in a row have gone without an answer."""
        for what in ANSWERS:
            if what in abilities.answers:
                for index in instruments if what in abilities.singles else (None,):
                    self.polls[what, index] = Poll(ask=Ask(what=what, instrument=index, account=account))
        answers = {**ANSWERS, What.PRICES: Funding} if What.PRICES in abilities.cadence else ANSWERS
        self._by_answer: dict[type, list[Poll]] = {}
        for poll in self.polls.values():
            self._by_answer.setdefault(answers[poll.ask.what], []).append(poll)

    def apply(self, fact: Fact, now: int) -> None:
        """See whether a fact answers one of the questions, or says that no answer came."""
        if isinstance(fact, Unanswered):
            self._unanswered(fact, now)
        for poll in self._by_answer.get(type(fact), ()):
            if poll.pending_since is None or poll.ask.instrument not in (None, getattr(fact, "instrument", None)):
                continue
            asked_at: int | None = getattr(fact, "asked_at", None)  # where told, by the venue's clock
            if poll.ask.what is not What.PRICES:  # which a stream tells as well
                self._vain = 0
            if asked_at is None or asked_at >= poll.required_at:
                poll.answered, poll.known, poll.trouble = True, True, None
                poll.pending_since, poll.attempt, poll.due_at = None, 0, now + self.every_ns[poll.ask.what]

    def _unanswered(self, fact: Unanswered, now: int) -> None:
        waiting = [
            poll
            for poll in self.polls.values()
            if poll.ask.what == fact.what
            and poll.ask.instrument in (None, fact.instrument)
            and poll.pending_since is not None
        ]
        for poll in waiting:
            poll.pending_since, poll.attempt, poll.trouble = None, poll.attempt + 1, fact.reason
            poll.due_at = now + backoff(poll.attempt, f"{self.salt}:{fact.what}")
        self._vain += bool(waiting) and fact.what != What.RIGHTS  # which other machines answer

    @property
    def away(self) -> bool:
        """Whether the venue has just begun to answer nothing at all."""
        return self._vain == OUTAGE

    def require(self, whats: tuple[What, ...], now: int, venue_now: int) -> None:
        """Ask these anew at once; answers to questions already on their way, by the venue's clock, don't count."""
        for (what, _), poll in self.polls.items():
            if what in whats:
                poll.answered, poll.pending_since, poll.due_at = False, None, now
                poll.required_at = venue_now

    def hurry(self, what: What, now: int, within_ns: int = RUSH_NS) -> None:
        """Ask this within so much time instead of at its turn, without holding anything up."""
        poll = self.polls.get((what, None))
        if poll is not None and poll.pending_since is None:
            poll.due_at = min(poll.due_at, now + within_ns)

    def attend(self, now: int) -> None:
        """Orders of ours are under way: look after them more often than after an account at rest."""
        self.hurry(What.POSITIONS, now, round(self.timing.positions_s * S / 2))
        self.hurry(What.ORDERS, now, round(self.timing.orders_s * S))

    def rewind(self, latest: int) -> None:
        """No answer has to be newer than the venue's own time, ``latest``, should its clock have been set back."""
        for poll in self.polls.values():
            poll.required_at = min(poll.required_at, latest)

    def due(self, now: int) -> list[Ask]:
        """Questions to ask now. Until the instruments are known, only their grids and the time are asked for."""
        asks = []
        for poll in self._open():
            if poll.pending_since is not None and now >= poll.pending_since + PATIENCE_NS:
                poll.pending_since = None
            if poll.pending_since is None and now >= poll.due_at:
                poll.pending_since = now
                asks.append(poll.ask)
        return asks

    def _open(self) -> list[Poll]:
        first = self.polls.get((What.INSTRUMENTS, None))
        early = first is not None and not first.known
        return [poll for (what, _), poll in self.polls.items() if not early or what in (What.INSTRUMENTS, What.TIME)]

    def missing(self) -> list[What]:
        """Questions without an answer since they were required, as far as anything waits for one."""
        return list(dict.fromkeys(poll.ask.what for poll in self._missing()))

    def unanswered(self) -> dict[str | None, list[What]]:
        """What is missing, by the reason; by None where there is none."""
        found: dict[str | None, list[What]] = {}
        for poll in self._missing():
            whats = found.setdefault(poll.trouble, [])
            if poll.ask.what not in whats:
                whats.append(poll.ask.what)
        return found

    def troubles(self) -> list[str]:
        """The same in words, a reason each."""
        told = ((", ".join(whats), reason) for reason, whats in self.unanswered().items())
        return [f"{names}: {reason}" if reason else names for names, reason in told]

    def _missing(self) -> list[Poll]:
        return [
            poll
            for poll in self.polls.values()
            if not poll.answered
            and poll.ask.what not in OPTIONAL
            and not (poll.ask.what is What.RIGHTS and poll.attempt >= TRIES)
        ]

    def wake_at(self) -> int:
        """When `due` has something to ask next."""
        return min(
            poll.due_at if poll.pending_since is None else poll.pending_since + PATIENCE_NS for poll in self._open()
        )
