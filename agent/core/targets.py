"""Targets: what the portfolio should hold, as one signed weight per instrument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Hold = Literal["hold"]


class Targets(Struct, frozen=True, forbid_unknown_fields=True):
    """What the user wants to hold.

    ``weights`` are signed shares of the target gross notional: long +, short -, their absolute values add up to 1. The
    word ``hold`` leaves an instrument alone: it counts in equity and leverage and is never traded.
    """

    weights: dict[str, float | Hold]
    leverage: float = 1.0
    """Gross notional over equity."""
    leverage_mode: Literal["constant", "cap", "off"] = "constant"
    """constant: keep the leverage; cap: only ever come down to it; off: keep shares at whatever leverage there is."""


def wanted(targets: Targets, leverage_now: float) -> list[float | None]:
    """The target weight (signed notional over equity) of each instrument in file order; None for ``hold``.

    ``leverage_now`` is the present gross notional over equity of what is not on hold, which ``cap`` and ``off`` follow.
    """
    leverage = {
        "constant": targets.leverage,
        "cap": min(targets.leverage, leverage_now),
        "off": leverage_now,
    }[targets.leverage_mode]
    return [None if share == "hold" else share * leverage for share in targets.weights.values()]


def from_margin_shares(shares: Sequence[float], leverages: Sequence[float], utilisation: float) -> list[float]:
    """The target weights (signed notional over equity) that take these signed shares of margin.

    ``leverages`` are the leverage settings, ``utilisation`` the initial margin of all together over equity.
    """
    return [share * leverage * utilisation for share, leverage in zip(shares, leverages, strict=True)]
