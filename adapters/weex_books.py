"""The books of WEEX: each is told as a whole once, and then by what has changed in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters import weex_frames as wire
from adapters.ladder import Change, Ladder
from adapters.reading import MS, amount, positive
from agent.core import events as fact
from agent.core.events import Fact

LEVELS: Final = 15
RENEW_NS: Final = 3_000 * MS
"""A book that was asked for anew is not asked for again sooner."""
RENEWALS_MAX: Final = 100
"""A socket may subscribe 240 times an hour; after so many new books it is better opened anew."""


class Books:
    """The books of a portfolio on one connection; ``depth`` tells the levels besides the best."""

    def __init__(self, symbols: Sequence[str], *, depth: bool) -> None:
        self._ladders = {symbol: Ladder(LEVELS) for symbol in symbols}
        self._depth = depth
        self._renewed: dict[str, int] = {}
        """By symbol: when its book was last asked for anew."""
        self._renewals = 0
        self.lacking: str | None = None
        """The symbol whose book has to be asked for anew, by the frame that was read last."""

    def begin(self) -> None:
        """A new connection: nothing is known."""
        self._renewals, self.lacking = 0, None
        self._renewed.clear()
        for ladder in self._ladders.values():
            ladder.forget()

    @property
    def worn_out(self) -> bool:
        """Whether this connection has asked for so many books anew that it may soon not subscribe any more."""
        return self._renewals > RENEWALS_MAX

    def read(self, index: int, frame: wire.Frame, now: int) -> Sequence[Fact]:
        """The best bid and ask after a frame; nothing while the book lacks something."""
        ladder, at = self._ladders[frame.symbol], wire.moment(frame.at)
        self.lacking = None
        bids, asks = (
            [(positive(str(price)), amount(str(size))) for price, size in side] for side in (frame.bids, frame.asks)
        )
        if frame.e == "depthSnapshot":
            change = ladder.begin(frame.last, bids, asks)
        else:
            change = ladder.change(frame.first, frame.last, bids, asks)
        if change is Change.GAP and now >= self._renewed.get(frame.symbol, now - RENEW_NS) + RENEW_NS:
            self._renewed[frame.symbol], self.lacking = now, frame.symbol
            self._renewals += 1
        if change is not Change.TAKEN:
            return []
        facts: list[Fact] = []
        if ladder.bids and ladder.asks:
            facts.append(fact.Quote(index, *ladder.bids[0], *ladder.asks[0], at))
        if self._depth:
            facts.append(fact.Depth(index, ladder.bids, ladder.asks, at))
        return facts
