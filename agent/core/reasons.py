"""Reasons to correct: what has fired, in order of urgency, and what each leads to.

Everything that is watched is a reach: a value as a part of its level, 1 where it fires. What happens at once (money
that came or went, a strategy that gets less capital, funding that begins to bleed) is a wish, kept until it can be
granted. Safety is not here: it neither waits nor rests (see `agent.core.engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from msgspec import Struct
from msgspec.structs import replace

from agent.core import words
from agent.core.book import Book
from agent.core.drift import Bands, Drift, apart, drawn_in, strayed
from agent.core.economy import Economist
from agent.core.margin import exposure
from agent.core.pairs import Pair, shift
from agent.core.triggers import S, Standing, Triggers, Watch

TOLERANCE, AWARE = "tolerance", "cost-aware band"


class Reason(Struct, frozen=True):
    """Why a correction is begun, and where it leads."""

    cause: str
    """In words."""
    breach: bool = True
    """A band of the user's has been left, or it is a command; else for the cost-aware band's sake alone."""
    to_target: bool = False
    """All the way, not just inside the bands."""
    weighed: bool = True
    """Begun only if it earns more than it costs."""
    urgent: bool = False
    """For safety: take, don't make, and only reduce."""
    scope: tuple[int, ...] | None = None
    """Only these instruments, and those to their aims; all if not given."""
    goals: tuple[tuple[int, float], ...] = ()
    """Only these instruments, to these weights."""
    relief: tuple[int | None, ...] | None = None
    """Away from liquidation, not toward the targets: the net lots when it began, of which a part is kept."""


class Reasons:
    """What may give a reason to correct. ``schedule`` gives the next time after a moment, ``blackout`` the end of the
    window that a moment lies in; None if there is none."""

    def __init__(
        self,
        symbols: Sequence[str],
        bands: Bands,
        triggers: Triggers,
        pairs: Sequence[Pair],
        schedule: Callable[[int], int | None],
        blackout: Callable[[int], int | None],
        schedule_at: int | None = None,
    ) -> None:
        self.symbols = list(symbols)
        self.bands = bands
        self.hedges: dict[str, tuple[int, ...]] = {}
        self.pairs = {f"pair {pair.over}/{pair.into}": pair for pair in pairs}
        self.watch = Watch(triggers)
        self.reaches: dict[str, float] = {}
        """What is watched, by name, when it was last looked at."""
        self.wishes: list[Reason] = []
        """What happened at once, oldest first."""
        self.blackout_until: int | None = None
        self.schedule_at = schedule_at
        """The next time of the schedule; one that was missed is made up for once."""
        self._schedule = schedule
        self._blackout = blackout
        self._funding_ns = round(triggers.funding_blackout_s * S)

    def due(
        self,
        book: Book,
        drift: Drift,
        economist: Economist,
        groups: Sequence[tuple[int, ...]],
        now: int,
        *,
        busy: bool,
    ) -> Reason | None:
        """The most urgent reason that there is now; what concerns all instruments is taken to be cured with another
        that does, the rest fires or is granted later.

        ``groups`` are instruments that hedge each other. ``busy``: a correction is under way, so nothing may begin:
        wishes and the schedule wait for its end.
        """
        self.hedges = {f"hedge {'/'.join(self.symbols[i] for i in group)}": group for group in groups}
        self.reaches = self.measure(book, drift, economist)
        self.blackout_until = self._closed(book, drift, now)
        if self.blackout_until is not None:
            self.watch.hold_back(self.blackout_until)
        fired = self.watch.observe(self.reaches, now)
        if self.schedule_at is None:
            self.schedule_at = self._schedule(now)
        if busy or self.blackout_until is not None:
            return None
        found = [self._reason(name, book, drift, economist) for name in fired]
        scheduled = self.schedule_at is not None and now >= self.schedule_at
        if scheduled:
            found.append(Reason(cause="the schedule", breach=self.breached))
        if self.wishes:
            wish = self.wishes[0]
            found.append(wish if _limited(wish) else replace(wish, breach=self.breached))
        if not found:
            return None
        chosen = min(found, key=_urgency)
        if not _limited(chosen):
            self.wishes = [wish for wish in self.wishes if _limited(wish)]
        elif self.wishes and chosen is self.wishes[0]:
            del self.wishes[0]
        if scheduled and not _limited(chosen):
            self.schedule_at = self._schedule(now)
        return chosen

    def wish(self, reason: Reason) -> None:
        """Correct for this reason as soon as that may be. The same cause counts once."""
        if all(reason.cause != other.cause for other in self.wishes):
            self.wishes.append(reason)

    def measure(self, book: Book, drift: Drift, economist: Economist) -> dict[str, float]:
        """What is watched, by name."""
        found = {TOLERANCE: drift.reach, **strayed(drift, self.bands, economist.matrix, drift.weights)}
        for name, pair in self.pairs.items():
            margins = self._margins(pair, book)
            if margins is not None and self._wanted(pair, drift):
                found[name] = max(0.0, pair.reach(*margins))
        for name, group in self.hedges.items():
            if (parts := apart(drift, group)) is not None:
                found[name] = (parts[1] - parts[0]) / self.bands.hedge
        if economist.reaches:
            found[AWARE] = economist.reach
        return found

    @property
    def breached(self) -> bool:
        """Whether a band of the user's has been left."""
        return any(reach >= 1 for name, reach in self.reaches.items() if name != AWARE and name not in self.pairs)

    @property
    def outside(self) -> bool:
        """Whether anything that is watched is beyond its level."""
        return any(reach >= 1 for reach in self.reaches.values())

    def standings(self, now: int) -> tuple[Standing, ...]:
        """How near each trigger is to firing."""
        return self.watch.standings(now)

    @property
    def dues(self) -> list[int]:
        """When to look again if nothing is heard."""
        times = [*self.watch.dues]
        times += [at for at in (self.schedule_at, self.blackout_until) if at is not None]
        return times

    def _closed(self, book: Book, drift: Drift, now: int) -> int | None:
        """When the blackout ends that there is now: a window of the file, or the time around a funding settlement."""
        ends = [self._blackout(now)]
        for row, aim in zip(book.rows, drift.aims, strict=True):
            if not self._funding_ns or aim is None or row.funding is None:
                continue
            next_at, interval = row.funding.next_at, round((row.interval_hours or 0.0) * 3600 * S)
            settled = [at for at in (next_at, next_at - interval) if abs(now - at) <= self._funding_ns]
            ends += [at + self._funding_ns + 1 for at in settled]
        return max((end for end in ends if end is not None), default=None)

    def _wanted(self, pair: Pair, drift: Drift) -> bool:
        """Whether both instruments are wanted, and neither is held the other way round: else the rule has no sense."""
        indices = [self.symbols.index(name) for name in (pair.over, pair.into)]
        return all((aim := drift.aims[i]) and drift.weights[i] * aim >= 0 for i in indices)

    def _margins(self, pair: Pair, book: Book) -> tuple[float, float] | None:
        """What the two positions take at their leverage settings; None while that is not known."""
        held = [exposure(book.rows[self.symbols.index(name)]) for name in (pair.over, pair.into)]
        margins = [inf if one is None else one.initial for one in held]
        return (margins[0], margins[1]) if max(margins) < inf and any(margins) else None

    def _reason(self, name: str, book: Book, drift: Drift, economist: Economist) -> Reason:
        if name == TOLERANCE:
            return Reason(cause=words.worst(self.symbols, drift))
        if name == AWARE:
            return Reason(cause=words.riskiest(self.symbols, economist.reaches), breach=False)
        if name in self.pairs:
            return self._shift(self.pairs[name], book, drift)
        if name in self.hedges:
            return self._hedge(self.hedges[name], drift)
        goals = tuple(enumerate(drawn_in(drift, self.bands, economist.matrix)))
        return Reason(cause=f"{name} is {self.reaches[name]:.0%} of its band", goals=goals)

    def _hedge(self, group: tuple[int, ...], drift: Drift) -> Reason:
        """The legs of a hedge have come apart: all are reduced to the smallest, for none is to stand alone."""
        parts = apart(drift, group)
        assert parts is not None, "a group without aims does not fire"
        low, high = parts
        names = " and ".join(self.symbols[i] for i in group)
        goals = tuple((i, max(0.0, low) * (drift.aims[i] or 0.0)) for i in group)
        cause = f"the legs of {names} stand at {low:.1%} to {high:.1%} of their targets"
        return Reason(cause=cause, goals=goals, weighed=False)

    def _shift(self, pair: Pair, book: Book, drift: Drift) -> Reason:
        """The pair rule: what is over its share of the margin of both goes into the other, and the sum stays."""
        margins = self._margins(pair, book)
        assert margins is not None, "a pair without margins does not fire"
        indices = [self.symbols.index(name) for name in (pair.over, pair.into)]
        over, into = (book.rows[index].leverage or 0 for index in indices)
        moved = shift(*margins, over, into, pair)
        assert moved is not None, "there is margin to move"
        goals = []
        for index, value in zip(indices, (-moved.close, moved.open), strict=True):
            way = 1.0 if (drift.aims[index] or 0.0) > 0 else -1.0
            goals.append((index, drift.weights[index] + value / drift.equity * way))
        share = margins[0] / sum(margins)
        cause = (
            f"{pair.over} has {share:.1%} of the margin of {pair.over} and {pair.into}, its target is {pair.target:.1%}"
        )
        return Reason(cause=cause, goals=tuple(goals))


def _limited(reason: Reason) -> bool:
    """Whether it concerns a few instruments, and leads to weights of its own."""
    return reason.scope is not None or bool(reason.goals)


def _urgency(reason: Reason) -> int:
    """A hedge that has come apart and a strategy's health come first, then what has left a band, then what concerns a
    few instruments, then the rest."""
    if not reason.weighed:
        return 0
    return 2 if _limited(reason) else 1 if reason.breach else 3
