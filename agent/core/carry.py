"""Carry: what positions pay in funding over a horizon, and which targets it eats into.

A position is allotted its initial margin. What it is expected to pay within the horizon beyond the usual, as a part of
that margin, is its consumption: phi = F / IM. Where phi stays high the position *bleeds*, and its target is scaled by
1 / (1 + phi): margin and payments together then take what the margin alone was to take. Positions that hedge each other
are one unit: judged on what they pay together, and scaled together, so that the hedge stays one.

What a position pays at the resting rate is in the user's targets already, so only what is paid beyond it counts; and
what is received never raises a target.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor

from msgspec import Struct, field

from agent.core.book import Book, Row

S = 1_000_000_000
HOUR_NS = 3_600 * S
LOOK_NS = S
"""The rates are looked at this often: they change slowly, and settlements are hours apart."""
RESTING_RATE = 0.0001
"""Funding in 8 hours that is the rule, and so in the user's targets already: only what is beyond it counts."""
PERSISTENCE = 0.9
"""The part of unusual funding that is expected to be there still at the next settlement."""
HALF_LIFE_HOURS = 14 * 24.0
"""A settled rate counts half as much in the mean after this much settled time."""
PRIOR_HOURS = 14 * 24.0
"""The resting rate, from which the mean begins, weighs as much as this much settled time."""
CONFIRM = 2
"""Bleeding begins when consumption is high at so many settlements in a row."""

Goals = Sequence[float | None]
"""Target weights in instrument order, before any scaling; None for what is on hold."""


def resting_rate(interval_hours: float) -> float:
    """The resting rate of one settlement, as a fraction of notional."""
    return RESTING_RATE * interval_hours / 8


def settlements(now: float, next_at: float, interval: float, horizon: float) -> int:
    """How many settlements fall into the horizon, one at this very instant included; any unit of time."""
    first = next_at + max(0, ceil((now - next_at) / interval)) * interval
    return max(0, floor((now + horizon - first) / interval) + 1)


def expected(rate: float, mean: float, count: float, persistence: float = PERSISTENCE) -> float:
    """The expected sum of ``count`` rates: the first is ``rate``, and what it differs by fades toward the ``mean``.

    After m settlements (1 - p^m) / (1 - p) times the first difference was paid; m times it where nothing fades.
    """
    faded: float = count if persistence == 1 else (1 - persistence**count) / (1 - persistence)
    return count * mean + (rate - mean) * faded


def unusual_funding(row: Row, days: float, mean: float | None = None) -> float:
    """What a long pays a year beyond the resting rate, on average over the next ``days``; 0 while it is not known.

    ``mean`` is the rate of one settlement that it fades toward; the resting rate where it is None.
    """
    if row.funding is None or not row.interval_hours or not days:
        return 0.0
    resting, count = resting_rate(row.interval_hours), days * 24 / row.interval_hours
    beyond = expected(row.funding.rate, resting if mean is None else mean, count) - count * resting
    return beyond / (days / 365)


class CarryRules(Struct, frozen=True, forbid_unknown_fields=True):
    """When funding is too dear to hold the whole of a target."""

    horizon_days: float = 7.0
    """What is paid within this time counts."""
    enter: float = 0.05
    """A position bleeds when this part of its margin, or more, is expected to go at two settlements in a row."""
    exit: float = 0.025
    """It bleeds no more when no more than this part is."""
    cap: float = 0.25
    """A larger consumption counts as this one, so that no target is scaled below 1 / (1 + cap)."""
    hedges: tuple[tuple[str, ...], ...] = ()
    """Symbols that hedge each other, group by group. When none is named, targets of opposite sign in the same coin."""


class Heard(Struct):
    """What is remembered of one instrument's funding."""

    rate: float
    """Expected at ``next_at``, when last heard of."""
    next_at: int
    paid: float = RESTING_RATE / 8 * PRIOR_HOURS
    """Sum of settled rates, the older the less."""
    hours: float = PRIOR_HOURS
    """Sum of the hours they were paid for, likewise."""
    settled_at: int = 0
    """The last settlement that was counted."""

    def settle(self, interval_hours: float) -> None:
        """The rate last heard of was paid."""
        keep = 2.0 ** (-interval_hours / HALF_LIFE_HOURS)
        self.paid = self.paid * keep + self.rate
        self.hours = self.hours * keep + interval_hours
        self.settled_at = self.next_at


class Bleed(Struct):
    """How a unit stood at its last settlement."""

    judged_at: int = 0
    phi: float | None = None
    """Its consumption; None where it was not known."""
    high: int = 0
    """Settlements in a row with a consumption of ``enter`` or more."""
    on: bool = False


class CarryState(Struct):
    """All that must survive a restart: by symbol, and by unit, named by its signs and symbols."""

    heard: dict[str, Heard] = field(default_factory=dict)
    bleeds: dict[str, Bleed] = field(default_factory=dict)


class Charge(Struct, frozen=True):
    """What a unit is expected to pay within the horizon and what it is allotted, in one currency or part of equity."""

    paid: float
    """Net; negative is received."""
    resting: float
    """What it would pay at the resting rate."""
    initial: float
    """Initial margin at target."""

    @property
    def phi(self) -> float:
        """Consumption: what is paid, and is more than at the resting rate, over the margin."""
        return max(0.0, min(self.paid, self.paid - self.resting)) / self.initial


def scale_of(phi: float, cap: float) -> float:
    """The part of its target that is left to a unit that bleeds."""
    return 1 / (1 + min(phi, cap))


class Turn(Struct, frozen=True):
    """A unit has begun to bleed, or ceased to."""

    unit: tuple[int, ...]
    begun: bool
    phi: float | None
    """Its consumption at the settlement that turned it; None where it ceased because that is not known."""


class Carry:
    """Remembers what was paid, and knows which units bleed. Units are judged at settlements and stay so in between."""

    def __init__(self, symbols: Sequence[str], rules: CarryRules, state: CarryState | None = None) -> None:
        grouped = [symbol for group in rules.hedges for symbol in group]
        assert len(set(grouped)) == len(grouped), "an instrument is in one hedge group at most"
        assert set(grouped) <= set(symbols), "a hedge group names instruments of the portfolio"
        assert rules.exit <= rules.enter, "bleeding ends below the level at which it begins"
        self.symbols = list(symbols)
        self.rules = rules
        self.state = CarryState() if state is None else state
        self._look_at = 0

    def mean(self, row: Row) -> float | None:
        """The mean rate of an instrument for one settlement of its present interval; None while nothing was heard."""
        heard = self.state.heard.get(row.symbol)
        if heard is None or not row.interval_hours:
            return None
        return heard.paid / heard.hours * row.interval_hours

    def units(self, book: Book, goals: Goals) -> list[tuple[int, ...]]:
        """What is judged and scaled together: hedge groups, and every other target alone.

        Nothing is while targets are not known or an instrument is not listed yet; and a group with a member on hold is
        left alone, because it could only be scaled on one side.
        """
        bases = [row.instrument.base for row in book.rows if row.instrument is not None]
        if not goals or len(bases) < len(book.rows):
            return []
        if self.rules.hedges:
            groups = [[self.symbols.index(symbol) for symbol in group] for group in self.rules.hedges]
        else:
            coins: dict[str, list[int]] = {}
            for i, goal in enumerate(goals):
                if goal:
                    coins.setdefault(bases[i], []).append(i)
            groups = [group for group in coins.values() if len({(goals[i] or 0.0) > 0 for i in group}) == 2]
        grouped = [i for group in groups for i in group]
        groups += [[i] for i in range(len(goals)) if i not in grouped]
        free = [group for group in groups if all(goals[i] is not None for i in group)]
        return [tuple(group) for group in free if any(goals[i] for i in group)]

    def charge(self, book: Book, unit: tuple[int, ...], goals: Goals, now: int) -> Charge | None:
        """What a unit pays at its targets by the rates that are expected now, as a part of equity.

        None while a rate, an interval or a leverage setting of it is not known.
        """
        return self._charge(book, unit, goals, [row.funding.rate if row.funding else None for row in book.rows], now)

    def scales(self, book: Book, goals: Goals) -> list[float]:
        """The part of each target that is left: below 1 where it bleeds, as far as it was heard of since the start."""
        scales = [1.0] * len(self.symbols)
        if not any(bleed.on for bleed in self.state.bleeds.values()):
            return scales
        for unit in self.units(book, goals):
            bleed = self.state.bleeds.get(self._name(unit, goals))
            heard = all(book.rows[i].funding is not None for i in unit)
            if bleed is not None and bleed.on and bleed.phi is not None and heard:
                for i in unit:
                    scales[i] = scale_of(bleed.phi, self.rules.cap)
        return scales

    def observe(self, book: Book, goals: Goals, now: int) -> list[Turn]:
        """Take note of the rates; where a settlement has passed, count it and judge the units that it concerns.

        A settlement is judged by the rate that was known just before it. After a time without news of an instrument the
        present rate stands in: it can end bleeding, and does not count toward its beginning.
        """
        if now < self._look_at or any(row.instrument is None for row in book.rows):
            return []
        self._look_at = now + LOOK_NS
        rates = [row.funding.rate if row.funding else None for row in book.rows]
        passed, witnessed = self._hear(book, rates)
        if not passed:
            return []
        turns, before = [], self.state.bleeds
        self.state.bleeds = {}
        for unit in self.units(book, goals):
            name = self._name(unit, goals)
            bleed = self.state.bleeds[name] = before.get(name, Bleed())
            at = max(passed.get(i, 0) for i in unit)
            if at <= bleed.judged_at:
                continue
            charge = self._charge(book, unit, goals, rates, now)
            was_on = bleed.on
            bleed.judged_at = at
            self._judge(bleed, None if charge is None else charge.phi, seen=any(i in witnessed for i in unit))
            if bleed.on is not was_on:
                turns.append(Turn(unit=unit, begun=bleed.on, phi=bleed.phi))
        return turns

    def _hear(self, book: Book, rates: list[float | None]) -> tuple[dict[int, int], dict[int, None]]:
        """Instruments whose settlement has passed, and when; and those of them whose rate just before it was known.

        ``rates`` of the latter become what was settled.
        """
        passed: dict[int, int] = {}
        witnessed: dict[int, None] = {}
        for i, row in enumerate(book.rows):
            told = row.funding
            if told is None or not row.interval_hours:
                continue
            heard = self.state.heard.get(row.symbol)
            if heard is None:
                self.state.heard[row.symbol] = Heard(rate=told.rate, next_at=told.next_at)
                continue
            over = told.next_at > heard.next_at > heard.settled_at and told.at >= heard.next_at
            if over:
                passed[i] = heard.next_at
                if told.at < heard.next_at + row.interval_hours * HOUR_NS:
                    witnessed[i], rates[i] = None, heard.rate
                    heard.settle(row.interval_hours)
            heard.rate, heard.next_at = told.rate, told.next_at
        return passed, witnessed

    def _judge(self, bleed: Bleed, phi: float | None, *, seen: bool) -> None:
        bleed.phi = phi
        bleed.high = bleed.high + 1 if phi is not None and phi >= self.rules.enter and seen else 0
        if phi is None or phi <= self.rules.exit:
            bleed.on = False
        elif bleed.high >= CONFIRM:
            bleed.on = True

    def _charge(
        self, book: Book, unit: tuple[int, ...], goals: Goals, rates: Sequence[float | None], now: int
    ) -> Charge | None:
        horizon = self.rules.horizon_days * 24 * HOUR_NS
        paid = resting = initial = 0.0
        for i in unit:
            row, goal, rate = book.rows[i], goals[i] or 0.0, rates[i]
            mean = self.mean(row)
            if row.funding is None or rate is None or mean is None or not row.interval_hours or not row.leverage:
                return None
            count = settlements(now, row.funding.next_at, row.interval_hours * HOUR_NS, horizon)
            paid += goal * expected(rate, mean, count)
            resting += goal * count * resting_rate(row.interval_hours)
            initial += abs(goal) / row.leverage
        return Charge(paid=paid, resting=resting, initial=initial) if initial else None

    def _name(self, unit: tuple[int, ...], goals: Goals) -> str:
        return " ".join(("-" if (goals[i] or 0.0) < 0 else "+") + self.symbols[i] for i in unit)
