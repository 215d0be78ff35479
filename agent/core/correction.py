"""A correction: from the trigger that began it to the last order it needs.

It goes in rounds. In a round each instrument trades at most once; the next round begins when nothing is under way any
more. So what is on its way is never planned for a second time, and an order of unknown fate holds up the next round but
not the rest of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from agent.core.book import Row
from agent.core.drift import Drift
from agent.core.orders import MS, Blotter, Order, S, Style
from agent.core.planner import Execution, Leg, Limits
from agent.core.reasons import Reason
from agent.core.risk import Refusal

GIVE_UP_NS = 60 * S
"""A correction without progress for so long ends, and is tried again after the cool-down."""
RETRY_NS = 250 * MS
"""How long to leave an instrument alone after an order on it did not fill; doubles each time."""
LONG_NS = 5 * S
"""A wait for so long is worth a word."""
STRIKES = 3
"""After so many orders in a row that came to nothing, an instrument is left alone until the next correction."""


class Correction:
    """A correction under way."""

    def __init__(self, reason: Reason, now: int) -> None:
        self.reason = reason
        self.begun: Drift | None = None
        """Where the portfolio stood when it was first planned: leverage modes ``cap`` and ``off`` keep to what was not
        on hold then."""
        self.progress_at = now
        self.orders: dict[int, int] = {}
        """By instrument: how many were sent."""
        self.traded: dict[int, float] = {}
        """By instrument: the value of what has traded."""
        self._round: dict[int, None] = {}
        self._strikes: dict[int, int] = {}
        self._rest_until: dict[int, int] = {}
        self._tried_resting: dict[int, None] = {}
        self._short: dict[int, int] = {}
        """By instrument: how often margin was missing for an order."""
        self._said: dict[tuple[str, int], None] = {}

    def outrun(self, drift: Drift) -> bool:
        """Whether what is wanted has moved by more than a band since it began: it was not weighed for that."""
        if self.begun is None or self.reason.urgent:
            return False
        aims = zip(self.begun.aims, drift.aims, self.begun.bands, strict=True)
        unit = self.begun.gross_target or 1.0
        return any(abs((new or 0.0) - (old or 0.0)) > band * unit for old, new, band in aims)

    def candidates(self, legs: tuple[Leg, ...], blotter: Blotter, seats: Sequence[int], now: int) -> list[Leg]:
        """The legs that may be sent now: not given up, not resting, and not traded yet in this round.

        A round is over on an account once no order is live there; ``seats`` are the accounts of the instruments.
        """
        live = blotter.live()
        trading = {seats[order.instrument] for order in live}
        for index in [index for index in self._round if seats[index] not in trading]:
            del self._round[index]
        busy = {order.instrument for order in live}
        return [
            leg
            for leg in legs
            if not self.given_up(leg)
            and leg.instrument not in busy
            and leg.instrument not in self._round
            and now >= self._rest_until.get(leg.instrument, 0)
        ]

    def given_up(self, leg: Leg) -> bool:
        """Whether too many orders on the leg's instrument came to nothing."""
        return self._strikes.get(leg.instrument, 0) >= STRIKES

    def sent(self, order: Order, now: int) -> None:
        """An order of this correction is on its way."""
        self._round[order.instrument] = None
        self.orders[order.instrument] = self.orders.get(order.instrument, 0) + 1
        self.progress_at = now

    def filled(self, instrument: int, value: float, now: int) -> None:
        """Something has traded for ``value``."""
        self.traded[instrument] = self.traded.get(instrument, 0.0) + value
        self.progress_at = now

    def ended(self, order: Order, now: int) -> None:
        """An order will not trade any more: if it came to nothing, the next waits longer."""
        index = order.instrument
        if order.style is Style.POST and order.filled_lots < abs(order.lots):
            self._tried_resting[index] = None
        if order.filled_lots:
            self._strikes.pop(index, None)
            return
        strikes = self._strikes.get(index, 0)
        self._strikes[index] = strikes + 1
        self._rest_until[index] = now + (RETRY_NS << strikes)

    def short_of_margin(self, instrument: int) -> None:
        """The venue refused an order for want of margin: the next is half as large."""
        self._short[instrument] = self._short.get(instrument, 0) + 1

    def affordable(self, leg: Leg) -> Leg:
        """The leg, halved as often as margin was missing for it; never less than a lot."""
        if leg.reduce or not (halvings := self._short.get(leg.instrument, 0)):
            return leg
        lots = max(1, abs(leg.lots) >> halvings)
        part = lots / abs(leg.lots)
        return replace(leg, lots=lots if leg.lots > 0 else -lots, notional=leg.notional * part)

    def may_rest(self, leg: Leg) -> bool:
        """Whether to try a resting order first."""
        return not self.reason.urgent and leg.instrument not in self._tried_resting

    def news(self, refusal: Refusal, now: int) -> bool:
        """Whether a refusal is worth writing down: once each, and mere waiting only when it gets long."""
        key = (refusal.gate, refusal.instrument)
        if key in self._said or (refusal.passing and now < self.progress_at + LONG_NS):
            return False
        self._said[key] = None
        return True


def order_of(leg: Leg, row: Row, name: str, now: int, execution: Execution, limits: Limits, *, maker: bool) -> Order:
    """The order that carries out a leg: post-only at the best price, or immediate-or-cancel at the worst allowed."""
    assert row.instrument is not None, "a leg is never planned without a grid"
    held_lots = row.holdings[leg.side].lots if leg.side in row.holdings else 0
    return Order(
        id=name,
        instrument=leg.instrument,
        symbol=row.symbol,
        side=leg.side,
        lots=leg.lots,
        ticks=limit_ticks(leg, row, now, execution, limits, maker=maker),
        style=Style.POST if maker else Style.IOC,
        reduce=leg.reduce,
        created_at=now,
        expires_at=now + round(execution.request_life_s * S),
        value=leg.notional,
        held_lots=held_lots,
    )


def limit_ticks(leg: Leg, row: Row, now: int, execution: Execution, limits: Limits, *, maker: bool) -> int:
    """The price of an order in ticks: the best one to rest at, or the worst one to take.

    The mark stands for a quote that is missing or too old. The venue's own price band is kept.
    """
    assert row.instrument is not None, "a leg is never planned without a grid"
    assert row.mark is not None, "a leg is never planned without a price"
    buying = leg.lots > 0
    own = other = row.mark.price
    fresh = row.quote_seen is not None and now - row.quote_seen <= limits.data_age_s * S
    if row.quote is not None and fresh:
        own, other = (row.quote.bid, row.quote.ask) if buying else (row.quote.ask, row.quote.bid)
    if maker:
        return row.instrument.ticks_within(own, buying=buying)
    worst = other * (1 + execution.slippage if buying else 1 - execution.slippage)
    band = row.instrument.price_up if buying else row.instrument.price_down
    if band is not None:
        worst = min(worst, row.mark.price * band) if buying else max(worst, row.mark.price * band)
    return row.instrument.ticks_within(worst, buying=buying)
