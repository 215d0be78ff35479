"""Paper: a venue made of arithmetic, on real market data."""

from __future__ import annotations

from msgspec import Struct


class PaperAccount(Struct, frozen=True, forbid_unknown_fields=True):
    """The account that paper trading starts with. Used where the venue would have to be asked with a key."""

    equity: float = 10_000.0
    """Wallet balance in the settlement currency."""
    positions: dict[str, float] = {}
    """Signed quantities held at the start, entered at the first mark price."""
    maker: float = 0.0002
    taker: float = 0.0005
    leverage: int = 20
    """Leverage setting of every instrument: fixes initial margin."""
    maintenance: float = 0.025
    """Maintenance margin rate assumed for every size: the real tables need a key."""
