"""What has to be remembered of an account at MEXC, and what the rows about it say in that light.

Its position mode, the settings of each direction, the numbers of its positions and what they have received of funding,
and which of our orders the venue's own ids stand for: none of it comes with every row that depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

from msgspec import Raw, Struct
from msgspec.structs import replace

from adapters import mexc_frames as wire
from adapters.reading import MISREAD, MS, lots_of, number, positive
from agent.core import events as fact
from agent.core.events import Fact
from agent.core.instruments import Instrument

PAGE: Final = 100
"""The most rows that a list has in one answer."""
NAMES_MAX: Final = 1_000
DUST: Final = 1e-6
"""Money that is none."""
PENNY: Final = 0.01
"""So much margin needs no explanation."""


class Held(Struct):
    """A position that is open: its number, and how it is set up."""

    id: wire.Name
    open_type: wire.OpenType
    leverage: int


class Account:
    """The account as far as the protocol needs to know it. ``listed`` are the instruments by symbol, once known."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self.index = {symbol: index for index, symbol in enumerate(self.symbols)}
        self.listed: dict[str, Instrument] = {}
        self.names: dict[str, str] = {}
        """Our ids by the venue's own, which is all that its list of fills gives."""
        self._hedge: bool | None = None
        self._settings: dict[str, dict[wire.Direction, wire.Setting]] = {}
        self._wishes: dict[str, int] = {}
        """The leverage that was asked for last."""
        self._held: dict[str, dict[wire.Direction, Held]] = {}
        self._funded: dict[str, tuple[int, float]] = {}
        """By position: when it was last told of, and the funding that it had received by then."""
        self.pledged: float | None = None
        """The margin of all positions by the last answer about the wallet."""
        self._wallets: dict[str, float] = {}
        """What was told last to be in the wallet of a currency."""
        self.marks: dict[str, float] = {}
        """The last mark price of each symbol."""
        self._believed = False
        """Whether an answer about all positions has been."""
        self._totals: dict[str, dict[str, int]] = {}
        """By the venue's order: its trades that were told, and the lots of each."""

    def index_of(self, symbol: str) -> int:
        """The index of a symbol; raises ValueError for one that is not in the portfolio."""
        index = self.index.get(symbol)
        if index is None:
            raise ValueError(f"{symbol:.40} is not in the portfolio")
        return index

    def grid(self, what: str, symbol: str) -> Instrument:
        """The instrument of a symbol; raises ValueError with ``what`` it was wanted for."""
        instrument = self.listed.get(symbol)
        if instrument is None:
            why = "is not listed" if symbol in self.index else "is not in the portfolio"
            raise ValueError(f"{what} of {symbol:.40}, which {why}")
        return instrument

    # How it is set up

    def set_mode(self, mode: int) -> list[Fact]:
        """Take note of the position mode."""
        hedge = mode == wire.HEDGE
        if hedge is not self._hedge:
            self._held.clear()
        self._hedge = hedge
        return [fact.Mode(hedge, multi_asset=False, can_trade=None)]

    def set_settings(self, index: int, rows: Sequence[wire.Setting]) -> list[Fact]:
        """Take note of an answer about the settings of an instrument."""
        self._settings[self.symbols[index]] = {row.position_type: row for row in rows}
        return self._leverage_facts(index)

    def setting(self, index: int, direction: wire.Direction) -> wire.Setting:
        """The setting of a direction that is known."""
        return self._settings[self.symbols[index]][direction]

    def wish(self, index: int, leverage: int) -> wire.Setting | None:
        """The setting that is to be changed for a leverage: the first that is another; None where none is known."""
        symbol = self.symbols[index]
        rows = sorted(self._settings.get(symbol, {}).values(), key=lambda row: row.position_type)
        if not rows:
            return None
        self._wishes[symbol] = leverage
        return next((row for row in rows if row.leverage != leverage), rows[0])

    def changed(self, index: int, row: wire.Setting) -> list[Fact]:
        """Take note of the setting of one direction; nothing is told of the instrument while the other is another."""
        symbol = self.symbols[index]
        rows = self._settings.setdefault(symbol, {})
        rows[row.position_type] = row
        held = self.held(symbol, row.position_type)
        if held is not None:
            held.leverage = row.leverage
        return self._leverage_facts(index) if len({one.leverage for one in rows.values()}) == 1 else []

    def _leverage_facts(self, index: int) -> list[Fact]:
        """The setting of an instrument: of its two directions the one that is not as it was asked for, or the lower."""
        symbol = self.symbols[index]
        rows = sorted(self._settings[symbol].values(), key=lambda row: row.leverage)
        wish = self._wishes.get(symbol)
        told = next((row for row in rows if wish not in (None, row.leverage)), rows[0])
        isolated = {row.open_type == wire.ISOLATED for row in rows}
        return [fact.Leverage(index, told.leverage, isolated.pop() if len(isolated) == 1 else None)]

    def held(self, symbol: str, direction: wire.Direction) -> Held | None:
        """The position of a direction, if one is open."""
        return self._held.get(symbol, {}).get(direction)

    def terms(self, symbol: str, direction: wire.Direction) -> Held | wire.Setting | None:
        """Leverage and kind of margin of a direction: those of its position if it has one; None while unknown."""
        return self.held(symbol, direction) or self._settings.get(symbol, {}).get(direction)

    # What is told of it

    def order_event(self, row: wire.OrderRow, at: int) -> list[Fact]:
        """What the stream says of an order."""
        self.learn(row.order_id, row.name)
        forced = wire.forced_facts(row, at)
        if row.symbol not in self.index:
            return [*forced, fact.Elsewhere(row.symbol[:40])]
        try:
            return [*forced, wire.order_fact(self.grid("order", row.symbol), row, at)]
        except MISREAD as error:  # that the venue trades by force must be told, however little of it can be read
            if not forced:
                raise
            return [*forced, fact.Unknown("private", f"push.personal.order: {error}"[:200], "", private=True)]

    def deal_event(self, row: wire.DealRow) -> list[Fact]:
        """What the stream says of a trade; of its order so much is done as the trades that were told come to."""
        if row.symbol not in self.index:
            return [fact.Elsewhere(row.symbol[:40])]
        name = row.external_oid or self.names.get(str(row.order_id), str(row.order_id))
        fill = wire.fill_of(self.grid("trade", row.symbol), row, name, 0)
        trades = self._totals.setdefault(str(row.order_id), {})
        trades[fill.trade] = abs(fill.lots)
        if len(self._totals) > NAMES_MAX:
            del self._totals[next(iter(self._totals))]
        return [replace(fill, filled_lots=sum(trades.values()))]

    def learn(self, venue_order: wire.Name, name: str) -> None:
        """Remember whose order the venue's id stands for."""
        self.names[str(venue_order)] = name
        if len(self.names) > NAMES_MAX:
            del self.names[next(iter(self.names))]

    def position_event(self, row: wire.PositionRow, at: int) -> list[Fact]:
        """What the stream says of a position."""
        if row.symbol not in self.index:
            return [fact.Elsewhere(row.symbol[:40])]
        position = self._position(row, at)
        others = (one for symbol, of in self._held.items() if symbol != row.symbol for one in of.values())
        if any(one.id == row.position_id for one in others):
            raise ValueError(f"position {row.position_id} is of another contract")
        held = self._held.setdefault(row.symbol, {})
        funding = self._funding(row, at)
        if position.lots:
            if not self._hedge:
                held.clear()
            held[row.position_type] = _held(row)
        elif any(one.id != row.position_id for one in held.values() if not self._hedge):
            return funding  # the end of the position before this one
        else:
            held.pop(row.position_type, None)
            self._funded.pop(str(row.position_id), None)
        return [*funding, position]

    def _position(self, row: wire.PositionRow, at: int) -> fact.Position:
        if self._hedge is None:
            raise ValueError("the position mode is not known yet")
        return wire.position_of(self.grid("position", row.symbol), row, at, hedge=self._hedge)

    def _funding(self, row: wire.PositionRow, at: int) -> list[Fact]:
        """What has come of funding since the position last told: that does not stream by itself."""
        if row.hold_fee is None:
            return []
        name, total = str(row.position_id), number(row.hold_fee)
        before_at, before = self._funded.get(name, (at, total))
        if at < before_at:
            return []
        self._funded[name] = (at, total)
        settle = self.listed[row.symbol].settle
        return [fact.Flow(settle, total - before, "funding", at)] if total != before else []

    # What is answered

    def wallets(self, rows: Sequence[wire.Asset], asked_at: int) -> tuple[fact.Margin, list[fact.Balance]]:
        """The totals in the currency that the contracts settle in, and the wallets.

        A wallet is the difference of rounded numbers that both move with the marks: what differs by `DUST` is the same.
        """
        if not self.listed:
            raise ValueError("the instruments are not listed yet")
        settle = next(iter(self.listed.values())).settle
        if [row.currency for row in rows].count(settle) != 1:
            raise ValueError(f"no wallet of {settle:.20}, or several")
        for row in rows:
            wallet = number(row.equity) - number(row.unrealized)
            if abs(wallet - self._wallets.get(row.currency, inf)) > DUST:
                self._wallets[row.currency] = wallet
        own = next(row for row in rows if row.currency == settle)
        self.pledged = number(own.position_margin)
        margin = fact.Margin(
            wallet=self._wallets[settle],
            equity=number(own.equity),
            initial=self.pledged + number(own.frozen_balance),
            maintenance=None,
            available=number(own.available_balance),
            asked_at=asked_at,
        )
        return margin, [fact.Balance(row.currency, self._wallets[row.currency], asked_at) for row in rows]

    def positions(self, raws: Sequence[Raw], asked_at: int) -> list[Fact]:
        """All positions; one row that can't be read makes it none."""
        if not self.listed:
            raise ValueError("the instruments are not listed yet")
        told = [wire.POSITION.decode(raw) for raw in raws]
        strangers = dict.fromkeys(row.symbol for row in told if row.symbol not in self.listed and row.hold_vol)
        ours = [(row, _told_at(row, asked_at)) for row in told if row.symbol in self.listed]
        positions = tuple(self._position(row, at) for row, at in ours)
        held: dict[str, dict[wire.Direction, Held]] = {}
        for row, _ in ours:
            if row.hold_vol:
                held.setdefault(row.symbol, {})[row.position_type] = _held(row)
        if len({(one.instrument, one.side) for one in positions if one.lots}) < sum(map(len, held.values())):
            raise ValueError("two positions where there can be one")
        if not strangers:
            self._doubt(held, [row for row, _ in ours])
        self._held, self._believed = held, True
        flows = [flow for row, at in ours for flow in self._funding(row, at)]
        return [*flows, fact.Positions(positions, tuple(strangers), asked_at)]

    def _doubt(self, held: dict[str, dict[wire.Direction, Held]], rows: Sequence[wire.PositionRow]) -> None:
        """Raise ValueError where positions are left out: the first answer of all, or one without what was held before,
        must explain half of the margin that the wallet has for positions, the nearest to a total that the venue states.
        """
        there = {one.id for of in held.values() for one in of.values()}
        if self._believed and all(one.id in there for of in self._held.values() for one in of.values()):
            return
        if self.pledged is None:
            raise ValueError("the margin of all positions is not known yet")
        explained = sum(self._margin_of(row) for row in rows if row.hold_vol)
        if self.pledged > 2 * explained + PENNY:
            raise ValueError(f"positions that explain {explained:.2f} of a margin of {self.pledged:.2f}")

    def _margin_of(self, row: wire.PositionRow) -> float:
        """The margin of a position: what is assigned to it, or what its leverage takes of its worth if that is more."""
        one = self.listed[row.symbol]
        price = max(positive(row.hold_avg_price), self.marks.get(row.symbol, 0.0))
        needed = one.value(lots_of(one, str(row.hold_vol)), price) / row.leverage
        return max(needed, number(row.im or 0.0))

    def orders(self, raws: Sequence[Raw], asked_at: int) -> list[Fact]:
        """All open orders, if they fit into one answer."""
        if not self.listed:
            raise ValueError("the instruments are not listed yet")
        if len(raws) >= PAGE:
            raise ValueError(f"{PAGE} open orders or more, which one answer does not hold: cancel those that are old")
        rows = [wire.ORDER.decode(raw) for raw in raws]
        for row in rows:
            self.learn(row.order_id, row.name)
        found = (wire.open_order(self.listed.get(row.symbol), self.index.get(row.symbol), row) for row in rows)
        return [fact.Orders(tuple(found), asked_at)]

    def trades(self, symbol: str, raws: Sequence[Raw], since: str | None) -> list[Fact]:
        """Fills after ``since``, oldest first, under our ids as far as they are known."""
        instrument = self.grid("fills", symbol)
        facts: list[Fact] = []
        totals: dict[str, int] = {}
        for row in sorted((wire.DEAL.decode(raw) for raw in raws), key=lambda one: int(one.id)):
            if row.symbol != symbol:
                raise ValueError("the answer is about another symbol")
            order = str(row.order_id)
            fill = wire.fill_of(instrument, row, self.names.get(order, order), 0)
            totals[order] = totals.get(order, 0) + abs(fill.lots)
            if int(row.id) > int(since or -1):
                facts.append(replace(fill, filled_lots=totals[order]))
        if len(facts) >= PAGE:
            raise ValueError("more fills than one answer holds")
        return facts


def _held(row: wire.PositionRow) -> Held:
    return Held(row.position_id, row.open_type, row.leverage)


def _told_at(row: wire.PositionRow, asked_at: int) -> int:
    return asked_at if row.update_time is None else row.update_time * MS
