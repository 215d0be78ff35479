"""Halts: what keeps the engine from trading until something outside of it has changed, and in whose hands that is.

From the widest to the narrowest: a stop and a pause end all trading, safety too; a halt and the kill switch end what
increases; others at work on the account, or requests of an earlier run that may still be accepted, end all but safety;
a block ends the trading of one instrument, but for safety where the venue bears out what it is. A person lifts a halt,
a pause, a block, and what others have caused; the kill switch goes when its file does; what time alone cures is lifted
by time.
"""

from __future__ import annotations

from collections.abc import Callable


class Halts:
    """What stands in the way. ``note`` is told what is worth a word (kind, text, symbol)."""

    def __init__(self, note: Callable[[str, str, str | None], None]) -> None:
        self.halted: str | None = None
        """Why nothing increases until a person has seen to it."""
        self.killed: str | None = None
        """Why nothing increases while the kill switch is on."""
        self.paused = False
        self.stopping = False
        self.others: str | None = None
        """Why nothing but safety is traded until a person resumes: others are at work on the account."""
        self.expiring_until: int | None = None
        """Our time until which requests of an earlier run may be accepted that are on no record."""
        self.blocked: dict[int, str] = {}
        """Instruments on which nothing but safety is traded until a person has seen to it, and why."""
        self._note = note
        self._told: dict[str, None] = {}
        self._fresh = False

    def halt(self, reason: str) -> None:
        """Nothing increases from here on. Every reason is told once."""
        if reason in self._told:
            return
        self._told[reason] = None
        self.halted, self._fresh = reason, True
        text = f"halted: {reason.rstrip('.')}. Nothing increases until a person has seen to it and resumes or restarts"
        self._note("halt", text, None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every reason for a halt that was told."""
        return tuple(self._told)

    def fresh(self) -> bool:
        """Whether something new stands in the way since this was asked last: what rests is to be cancelled."""
        fresh, self._fresh = self._fresh, False
        return fresh

    def stand_back(self, why: str) -> bool:
        """Nothing but safety is traded from here on; False if it was so already, for the same reason."""
        new, self.others = self.others != why, why
        self._fresh = self._fresh or new
        return new

    def block(self, index: int, why: str, symbol: str) -> None:
        """Nothing but safety is traded on an instrument from here on. The first reason stands."""
        if index not in self.blocked:
            self.blocked[index] = why
            self._note("halt", f"nothing is traded here any more: {why}", symbol)

    def resume(self) -> None:
        """A person has seen to it."""
        self.paused, self.halted, self.others = False, None, None
        self._told.clear()
        self.blocked.clear()

    @property
    def idle(self) -> str | None:
        """Why nothing at all is traded; None if something may be."""
        return "stopping" if self.stopping else "paused" if self.paused else None

    @property
    def withheld(self) -> str | None:
        """Why nothing may increase; None if it may."""
        return self.idle or self.halted or self.killed or self.others

    def aside(self, now: int) -> str | None:
        """Why nothing but safety begins; None if anything may."""
        if self.expiring_until is not None and now < self.expiring_until:
            return "requests of an earlier run may still be accepted"
        return self.others

    @property
    def posture(self) -> str | None:
        """In a word, what trading is restrained to; None if it is free."""
        if self.halted or self.killed:
            return f"halted: {self.halted or self.killed}"
        if self.paused:
            return "paused"
        return f"paused: {self.others}" if self.others else None
