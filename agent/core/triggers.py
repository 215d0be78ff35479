"""Triggers: when to act. A trigger fires once per excursion, after it was confirmed, and then rests."""

from __future__ import annotations

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
    """Times to correct at whatever the drift: cron expressions in UTC, such as "0 0 * * SUN"."""


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
