"""The circuit breaker: an instrument whose orders the venue refuses again and again is left alone, but for a probe."""

from __future__ import annotations

from msgspec import Struct

from agent.core.events import Fault, Refused
from agent.core.orders import Order, S

REFUSALS = 3
"""So many refusals in a row open the circuit."""
PROBE_NS = 60 * S
"""While it is open, one order in so long may try whether the venue takes it now."""
PASSING = (Fault.BUSY, Fault.CLOCK)
"""Refusals that say nothing of the order: the venue had no time, or our clock was off."""


class Circuit(Struct):
    """Refusals in a row on one instrument."""

    refusals: int = 0
    code: str = ""
    """The venue's code of the last one."""
    probe_at: int = 0


class Breaker:
    """Which instruments take no orders now, because the venue would refuse them.

    Refusals count across corrections, and whatever their code: an order that is changed a little and refused again is
    no better. One that the venue takes closes the circuit.
    """

    def __init__(self) -> None:
        self._circuits: dict[int, Circuit] = {}

    def refused(self, order: Order, fact: Refused, now: int) -> str | None:
        """A definite refusal of an order. Gives words for the moment in which the circuit opens."""
        if fact.fault in PASSING:
            return None
        circuit = self._circuits.setdefault(order.instrument, Circuit())
        circuit.refusals += 1
        circuit.code = fact.code
        circuit.probe_at = now + PROBE_NS
        if circuit.refusals != REFUSALS:
            return None
        return f"{REFUSALS} orders in a row were refused: from now on one every {PROBE_NS // S} s, until one is taken"

    def taken(self, instrument: int) -> None:
        """The venue has taken an order."""
        self._circuits.pop(instrument, None)

    def open(self, now: int) -> dict[int, str]:
        """By instrument that takes no orders now: why."""
        return {
            index: f"the last {circuit.refusals} orders were refused ({circuit.code}); the next may go in "
            f"{(circuit.probe_at - now) / S:.0f} s"
            for index, circuit in self._circuits.items()
            if circuit.refusals >= REFUSALS and now < circuit.probe_at
        }
