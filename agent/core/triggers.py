"""Triggers: when to act. A trigger fires once per excursion, after it was confirmed, and then rests."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

S = 1_000_000_000


class Triggers(Struct, frozen=True, forbid_unknown_fields=True):
    """When to act."""

    confirm_s: float = 5.0
    """Act only after the band has been left for this long without pause."""
    cool_down_s: float = 60.0
    """After a correction, wait this long before the next."""
    rearm: float = 0.75
    """A fired trigger is armed again once its value is back below this part of its threshold."""
    schedule: tuple[str, ...] = ()
    """Times to correct at whatever the drift: cron expressions such as "0 0 * * SUN", in UTC or with a time zone after
    them."""
    blackout: tuple[str, ...] = ()
    """Windows in which no correction begins but for safety: "23:50-00:10", with a weekday before it and a time zone
    after it if need be."""
    funding_blackout_s: float = 0.0
    """The same so many seconds before and after each funding settlement of an instrument that is traded."""
    cash_flow: float = 0.01
    """Correct at once when so much of equity, or more, came or went as a deposit, withdrawal or transfer."""


class Threshold:
    """A level with hysteresis, confirmation and cool-down. Equality fires.

    `observe` answers whether it fires now; `due_at` says when to look again if nothing else happens.
    """

    def __init__(self, enter: float, exit_: float, confirm_ns: int, cool_down_ns: int) -> None:
        assert exit_ <= enter, "a trigger must be armed again below the level that fires it"
        self.enter = enter
        self.exit = exit_
        self.confirm_ns = confirm_ns
        self.cool_down_ns = cool_down_ns
        self.armed = True
        self.since: int | None = None
        self.rest_until = 0

    def observe(self, value: float, now: int) -> bool:
        """True when the trigger fires at ``now`` with this value."""
        if value <= self.exit:
            self.armed = True
        if value < self.enter:
            self.since = None
            return False
        if self.since is None:
            self.since = now
        if not self.armed or now < max(self.since + self.confirm_ns, self.rest_until):
            return False
        self.armed = False
        self.rest_until = now + self.cool_down_ns
        return True

    def absorb(self, now: int, least_ns: int = 0) -> None:
        """Another trigger has fired for the same cause: rest as if this one had, and for ``least_ns`` at least."""
        self.rest_until = max(self.rest_until, now + max(least_ns, self.cool_down_ns))

    def reset(self) -> None:
        """Begin anew: an excursion that lasts must be confirmed again, and may fire again."""
        self.armed, self.since = True, None

    @property
    def due_at(self) -> int | None:
        """When this excursion will fire if it lasts; None when nothing is pending."""
        if self.since is None or not self.armed:
            return None
        return max(self.since + self.confirm_ns, self.rest_until)


class Standing(Struct, frozen=True):
    """How near a trigger is to firing."""

    name: str
    reach: float
    """What it watches, as a part of its level: 1 is where it fires."""
    since: int | None
    """From when on its level has been exceeded without pause."""
    due_at: int | None
    """When it fires if that lasts."""
    rests_until: int | None
    """Its cool-down, while it lasts."""


class Watch:
    """All thresholds by name. Each watches a value as a part of its level, so 1 is where it fires."""

    def __init__(self, triggers: Triggers) -> None:
        self._triggers = triggers
        self._cool_down_ns = round(triggers.cool_down_s * S)
        self._thresholds: dict[str, Threshold] = {}
        self._reaches: dict[str, float] = {}
        self._rest_until = 0

    def observe(self, reaches: Mapping[str, float], now: int) -> list[str]:
        """The triggers that fire at ``now``, in the order given. One that is no longer given is forgotten."""
        for name in [name for name in self._thresholds if name not in reaches]:
            del self._thresholds[name]
        for name in [name for name in reaches if name not in self._thresholds]:
            rearm, confirm_ns = self._triggers.rearm, round(self._triggers.confirm_s * S)
            self._thresholds[name] = Threshold(1.0, rearm, confirm_ns, self._cool_down_ns)
            self._thresholds[name].rest_until = self._rest_until
        self._reaches = dict(reaches)
        return [name for name, reach in reaches.items() if self._thresholds[name].observe(reach, now)]

    def hold_back(self, until: int) -> None:
        """Let none fire before then; what is exceeded meanwhile is confirmed meanwhile."""
        self._rest_until = max(self._rest_until, until)
        for threshold in self._thresholds.values():
            threshold.rest_until = max(threshold.rest_until, until)

    def absorb(self, now: int) -> None:
        """One of them has led to a correction: let the others rest as if they had fired too."""
        self._rest(now)

    def rest(self, now: int, least_ns: int = 0) -> None:
        """Leave all alone for the cool-down, and for ``least_ns`` at least; then begin anew."""
        self._rest(now, least_ns)
        self.rearm()

    def _rest(self, now: int, least_ns: int = 0) -> None:
        self._rest_until = max(self._rest_until, now + max(least_ns, self._cool_down_ns))
        for threshold in self._thresholds.values():
            threshold.absorb(now, least_ns)

    def rearm(self) -> None:
        """What is exceeded now must be confirmed again, and may fire again."""
        for threshold in self._thresholds.values():
            threshold.reset()

    @property
    def dues(self) -> list[int]:
        """When those fire that are exceeded now, if that lasts."""
        return [due for threshold in self._thresholds.values() if (due := threshold.due_at) is not None]

    def standings(self, now: int) -> tuple[Standing, ...]:
        """How near each is to firing."""
        return tuple(
            Standing(
                name=name,
                reach=self._reaches[name],
                since=threshold.since,
                due_at=threshold.due_at,
                rests_until=threshold.rest_until if threshold.rest_until > now else None,
            )
            for name, threshold in self._thresholds.items()
        )
