"""The dead-man's switch: while orders of ours rest, the venue is told to cancel them should it hear no more of us."""

from __future__ import annotations

from collections.abc import Container

from agent.core.events import Fact, Unarmed
from agent.core.orders import MS, Blotter, S, Style
from agent.core.venue import Arm

AGAIN_NS = 5 * S
"""A switch of which nobody knows whether it was set or released is seen to again after so long."""
LINGER_NS = 10 * S
"""It stays set for so long after the last resting order, because the next may follow at once."""


class DeadMan:
    """When to set and to release the switch of each of an account's instruments.

    The venue cancels whatever rests on the instrument, a person's own orders too: so it is set only while an order of
    ours rests, and released when none does. ``window_s``: how long the venue waits; 0 never sets it.
    """

    def __init__(self, instruments: Container[int], window_s: float) -> None:
        self._instruments = instruments
        self._window_ns = round(window_s * S)
        self._again: dict[int, int] = {}
        """By instrument whose switch is set: when to set it anew."""
        self._release: dict[int, int] = {}
        """By instrument whose switch is set: when to release it, unless an order rests."""

    def apply(self, fact: Fact, now: int) -> None:
        """What may not have been set, or not released, is seen to again soon."""
        if isinstance(fact, Unarmed):
            soon = now + AGAIN_NS
            self._again[fact.instrument] = min(soon, self._again.get(fact.instrument, soon))
            self._release.setdefault(fact.instrument, soon)

    def due(self, blotter: Blotter, now: int) -> list[Arm]:
        """The switches to set or to release now: set four times in their window, so that three may get lost."""
        if not self._window_ns:
            return []
        for order in blotter.live():
            if order.style is Style.POST and order.instrument in self._instruments:
                self._release[order.instrument] = now + LINGER_NS
                self._again.setdefault(order.instrument, now)
        acts = []
        for index, release in list(self._release.items()):
            if now >= release:
                del self._release[index], self._again[index]
                acts.append(Arm(instrument=index, ms=0))
            elif now >= self._again[index]:
                self._again[index] = now + self._window_ns // 4
                acts.append(Arm(instrument=index, ms=self._window_ns // MS))
        return acts

    def wake_at(self) -> int | None:
        """When a switch is to be set or released next."""
        return min((*self._again.values(), *self._release.values()), default=None)
