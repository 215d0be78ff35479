"""The private stream of WEEX: what its rows say, and what has to be remembered to read them.

A fill names its order by the venue's id alone, and what is in the wallet is not told at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from adapters import weex_frames as wire
from adapters.reading import MS, number
from agent.core import events as fact
from agent.core.events import Fact
from agent.core.instruments import Instrument

NAMELESS_NS: Final = 5_000 * MS
"""A fill of an order that nobody has named for so long: the stream has lost something."""
NAMES_MAX: Final = 1_000

FLOWS: Final = (
    ("cum_deposit_amount", 1, "deposit"),
    ("cum_withdraw_amount", -1, "withdrawal"),
    ("cum_transfer_in_amount", 1, "transfer"),
    ("cum_transfer_out_amount", -1, "transfer"),
    ("cum_position_funding_amount", 1, "funding"),
)
"""Sums of the account whose change is money that came or went, and which way."""

T = TypeVar("T")


class PrivateStream:
    """Reads the rows of the private stream; ``grid`` gives a symbol's instrument, or raises why it can't.

    ``known`` are the symbols of the portfolio.
    """

    def __init__(self, known: Sequence[str], grid: Callable[[str, str], Instrument]) -> None:
        self._known = frozenset(known)
        self._grid = grid
        self.names: dict[str, str] = {}
        """Our ids by the venue's own."""
        self.venue_ids: dict[str, str] = {}
        """The other way round."""
        self.nameless_due: int | None = None
        """When a fill has waited for the name of its order for too long."""
        self._nameless: dict[str, list[wire.Fill]] = {}
        """Fills that came before the first word of their order, by the venue's id of that."""
        self._totals: dict[str, int] = {}
        """By the venue's order: lots of the fills that were heard."""
        self._trades: dict[str, None] = {}
        self._sums: dict[tuple[str, str], wire.AccountUpdate] = {}

    def begin(self) -> None:
        """A new connection: what the last one left open is found out otherwise."""
        self._nameless.clear()
        self.nameless_due = None

    def learn(self, venue_order: str, order: str) -> None:
        """An order of the venue's is this one."""
        keep(self.names, venue_order, order)
        keep(self.venue_ids, order, venue_order)

    def read(self, frame: wire.Frame, now: int) -> Sequence[Fact]:
        """The facts in an event of any of the four channels."""
        match frame.e:
            case "orders":
                return [told for row in wire.ORDER_UPDATES.decode(frame.rows) for told in self._order(row)]
            case "fill":
                return [told for row in wire.FILLS.decode(frame.rows) for told in self._fill(row, now)]
            case "positions":
                return [told for row in wire.POSITION_UPDATES.decode(frame.rows) for told in self._position(row)]
            case "account":
                return self._account(frame)
            case _:
                raise ValueError("an event that was not asked for")

    def _order(self, row: wire.OrderUpdate) -> Sequence[Fact]:
        if row.status == wire.WAITING:
            return []
        venue_order = str(row.id)
        self.learn(venue_order, row.client_order_id)
        forced: list[Fact] = []
        if number(str(row.cum_liquidate_fee)):
            kind = fact.Force.LIQUIDATION
            forced.append(fact.Forced(row.client_order_id, kind, row.symbol, wire.moment(row.updated_time)))
        if row.symbol not in self._known:
            return [*forced, fact.Elsewhere(row.symbol[:40])]
        waiting = [told for fill in self._nameless.pop(venue_order, ()) for told in self._named_fill(fill)]
        if not self._nameless:
            self.nameless_due = None
        return [*forced, *waiting, *wire.order_facts(self._grid("order", row.symbol), row)]

    def _fill(self, row: wire.Fill, now: int) -> Sequence[Fact]:
        """A trade; it waits for the name of its order, which may be told after it."""
        if row.symbol not in self._known:
            return [fact.Elsewhere(row.symbol[:40])]
        if str(row.order_id) in self.names:
            return self._named_fill(row)
        wire.fill_facts(self._grid("fill", row.symbol), row, "", 0)  # what can't be read is told at once
        self._nameless.setdefault(str(row.order_id), []).append(row)
        if self.nameless_due is None:
            self.nameless_due = now + NAMELESS_NS
        return []

    def _named_fill(self, row: wire.Fill) -> Sequence[Fact]:
        instrument, venue_order = self._grid("fill", row.symbol), str(row.order_id)
        total = self._totals.get(venue_order, 0)
        if str(row.id) not in self._trades:
            total += wire.fill_lots(instrument, row)
        facts = wire.fill_facts(instrument, row, self.names[venue_order], total)
        keep(self._totals, venue_order, total)
        keep(self._trades, str(row.id), None)
        return facts

    def _position(self, row: wire.PositionUpdate) -> Sequence[Fact]:
        if row.symbol is None:
            if row.coin_id != wire.DEMO_COIN:
                raise ValueError("a position without a symbol")
            return []
        if row.symbol not in self._known:
            return [fact.Elsewhere(row.symbol[:40])]
        return [wire.position_of(self._grid("position", row.symbol), row, row.margin_mode)]

    def _account(self, frame: wire.Frame) -> Sequence[Fact]:
        """What came or went; how much there is now is asked for, as these rows don't tell."""
        at = wire.moment(frame.at)
        facts: list[Fact] = []
        for row in wire.ACCOUNT_UPDATES.decode(frame.rows):
            before = self._sums.get((row.coin, str(row.isolated_position_id)))
            self._sums[row.coin, str(row.isolated_position_id)] = row
            for name, sign, kind in FLOWS if before is not None else ():
                change = number(str(getattr(row, name))) - number(str(getattr(before, name)))
                if round(change, 8):
                    facts.append(fact.Flow(row.coin, round(sign * change, 8), kind, at))
            if row.liquidating:
                facts.append(fact.Warned(f"the account is being liquidated: {row.coin:.20}", at))
        return facts


def keep(table: dict[str, T], name: str, value: T) -> None:
    """Remember something, and forget the oldest of too many."""
    table[name] = value
    if len(table) > NAMES_MAX:
        del table[next(iter(table))]
