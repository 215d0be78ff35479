"""What a failed request means for what it was about, whatever the venue.

A dialect's own table says what an error code is: a `Fault`, which proves that nothing was done, or a `Reaction`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, assert_never

from agent.core import events as fact
from agent.core.events import Fact, Fault
from agent.core.venue import Arm, Ask, Batch, Cancel, Place, Request, SetLeverage


class Reaction(StrEnum):
    """What a reply calls for when it is not simply a refusal for a `Fault`."""

    UNKNOWN = "unknown"
    """Executed or not, nobody says: for an order this is `Lost`."""
    TWIN = "twin"
    """An order of this id exists: what is known of ours is only that it should be asked about."""
    GONE = "gone"
    """No such open order to cancel: filled, cancelled or never there."""
    ABSENT = "absent"
    NO_KEY = "no key"
    SAME = "same"
    """The setting is already so."""
    SLOW = "slow"
    """Too many requests: silence until the next minute."""
    ORDERS = "orders"
    """Too many orders: no more of them in this window."""
    BANNED = "banned"
    DENIED = "denied"


def replies(*rows: tuple[Fault | Reaction, tuple[int, ...]]) -> dict[int, Fault | Reaction]:
    """A dialect's table of codes, from its lines: what they mean, and the codes that do."""
    return {code: verdict for verdict, codes in rows for code in codes}


REFUSALS: Final = {
    Reaction.SLOW: Fault.BUSY,
    Reaction.ORDERS: Fault.BUSY,
    Reaction.BANNED: Fault.BUSY,
    Reaction.DENIED: Fault.ACCOUNT,
}
"""Reactions that prove that an order, or a change of a setting, was not executed."""


def fate(order: str, verdict: Fault | Reaction, code: str, reason: str) -> fact.Refused | fact.Lost:
    """What became of an order that the venue did not accept in so many words."""
    fault = verdict if isinstance(verdict, Fault) else REFUSALS.get(verdict)
    if fault is None:
        return fact.Lost(order, f"{code} {reason}".strip())
    return fact.Refused(order, code, reason, fault)


def setting(request: SetLeverage, verdict: Fault | Reaction, told: str) -> fact.Unset | fact.Unanswered:
    """What became of a leverage setting that the venue did not confirm."""
    if isinstance(verdict, Fault) or verdict in REFUSALS:
        return fact.Unset(request.instrument, request.leverage, told)
    return fact.Unanswered(f"leverage {request.leverage} of instrument {request.instrument}", told)


def outcome(request: Request, verdict: Fault | Reaction, code: str, reason: str) -> list[Fact]:
    """What is known of each thing that a failed request was about.

    A cancel that failed, for whatever reason, says nothing of its order: that is asked about.
    """
    told = f"{code} {reason}".strip()
    match request:
        case Place(order):
            return [fate(order.id, verdict, code, reason)]
        case Batch(orders):
            return [fate(order.id, verdict, code, reason) for order in orders]
        case Cancel(id_):
            gone = verdict in (Reaction.GONE, Reaction.ABSENT)
            return [fact.Lost(id_, "cancel: unknown order" if gone else f"cancel: {told}")]
        case Arm(instrument):
            return [fact.Unarmed(instrument, told)]
        case SetLeverage():
            return [setting(request, verdict, told)]
        case Ask(what, index):
            return [fact.Unanswered(what, told, index)]
        case _:
            assert_never(request)
