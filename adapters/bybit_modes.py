"""What the rows of positions tell besides what is held: their leverage, and whether longs and shorts are kept apart.

The venue answers no question about the position mode; each instrument has one row or two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters import bybit_frames as wire
from agent.core import events as fact
from agent.core.events import Fact


class Modes:
    """The rows of the position of each instrument, by its index, and the leverage of each row.

    ``pooled``: all coins of the account are one collateral.
    """

    def __init__(self, *, pooled: bool) -> None:
        self.wanted = False
        """The account's setup is known, and which rows there are is not yet."""
        self._pooled = pooled
        self._rows: dict[int, dict[int, int]] = {}

    def moved(self, index: int, row: wire.PositionRow) -> tuple[list[Fact], bool]:
        """A row on the stream: the setting, where it is another than before, and whether the mode is another."""
        before = dict(self._rows.get(index, {}))
        rows = self._learn(index, [row]) if row.leverage else before
        switched = bool(before) and _hedges(before) is not _hedges(rows)
        if rows == before or len(set(rows.values())) != 1:
            return [], switched
        return [fact.Leverage(index, rows[row.position_idx])], switched

    def told(self, index: int, rows: Sequence[wire.PositionRow]) -> fact.Leverage:
        """All rows of an instrument, flat or not. Raises ValueError where its two sides are set differently."""
        if not rows:
            raise ValueError("no row of a position")
        self._rows.pop(index, None)
        leverages = set(self._learn(index, rows).values())
        if len(leverages) > 1:
            raise ValueError("long and short have two leverage settings: set them alike at the venue")
        return fact.Leverage(index, leverages.pop(), isolated=False)

    def unknown(self, indices: Iterable[int]) -> list[int]:
        """The instruments whose rows are not known yet."""
        return [index for index in indices if index not in self._rows]

    def mode(self, indices: Iterable[int]) -> fact.Mode:
        """The mode of the account, once all rows are known. Raises ValueError where they are of two modes."""
        hedges = {_hedges(self._rows[index]) for index in indices}
        if len(hedges) != 1:
            raise ValueError("some instruments are in hedge mode and some are not: set them alike at the venue")
        self.wanted = False
        return fact.Mode(hedge=hedges.pop(), multi_asset=self._pooled, can_trade=None)

    def _learn(self, index: int, rows: Sequence[wire.PositionRow]) -> dict[int, int]:
        """The leverage of each row; those of the other mode are no more."""
        told: dict[int, int] = {row.position_idx: wire.leverage_of(row.leverage) for row in rows}
        before = self._rows.get(index, {})
        kept = {} if 0 in told or 0 in before else before
        self._rows[index] = {**kept, **told}
        return self._rows[index]


def _hedges(rows: dict[int, int]) -> bool:
    return bool(rows.keys() - {0})
