"""The book: the last thing we were told about each instrument and the account, and how old it is."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from msgspec import Struct
from msgspec.structs import replace

from agent.core.events import (
    Balance,
    Clock,
    Depth,
    Down,
    Fact,
    Fees,
    Funding,
    Interval,
    Leverage,
    Listed,
    Margin,
    Mark,
    Mode,
    Position,
    Positions,
    Quote,
    Side,
    Tiers,
    Up,
)
from agent.core.instruments import Instrument, Tier

CONFIRM_NS = 1_000_000_000
"""A snapshot that contradicts what a stream told us must be repeated after this long before it is believed."""


class Holding(Struct):
    """A position row: signed lots, the average entry, and the venue's time up to which it is known."""

    lots: int = 0
    entry: float | None = None
    known_at: int = 0


class Row:
    """All that is known about one instrument. ``*_seen`` is our own time of arrival; None: never heard."""

    __slots__ = (
        "depth", "fees", "funding", "holdings", "instrument", "interval_hours", "leverage", "mark", "mark_seen",
        "quote", "quote_seen", "symbol", "tiers",
    )  # fmt: skip

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.instrument: Instrument | None = None
        self.mark: Mark | None = None
        self.mark_seen: int | None = None
        self.quote: Quote | None = None
        self.quote_seen: int | None = None
        self.depth: Depth | None = None
        self.funding: Funding | None = None
        self.interval_hours: float | None = None
        self.tiers: tuple[Tier, ...] = ()
        self.fees: Fees | None = None
        self.leverage: int | None = None
        self.holdings: dict[Side, Holding] = {}

    @property
    def lots(self) -> int:
        """The net position: long and short rows together."""
        return sum(holding.lots for holding in self.holdings.values())

    @property
    def notional(self) -> float | None:
        """Signed value of the net position at mark; None without a mark or grid."""
        if self.instrument is None or self.mark is None:
            return 0.0 if not self.lots and self.holdings else None
        return self.instrument.notional(self.lots, self.mark.price)

    @property
    def profit(self) -> float | None:
        """Unrealised profit at mark in the settlement currency; None when a needed number is missing."""
        total = 0.0
        for holding in self.holdings.values():
            if not holding.lots:
                continue
            if self.instrument is None or self.mark is None or holding.entry is None:
                return None
            total += self.instrument.profit(holding.lots, holding.entry, self.mark.price)
        return total


class Book:
    """What is known, by instrument index, and about the account as a whole."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.rows = [Row(symbol) for symbol in symbols]
        self.settle: str | None = None
        self.mode: Mode | None = None
        self.margin: Margin | None = None
        self.wallets: dict[str, Balance] = {}
        self.clock: Clock | None = None
        self.streams: dict[str, int] = {}
        """Streams that are up, and since when."""
        self.strangers: tuple[str, ...] = ()
        """Symbols held on the account that the portfolio file does not name."""
        self.positions_at: int | None = None
        """Our time of the last complete answer about positions."""
        self.disputed: dict[tuple[int, Side], tuple[int, int]] = {}
        """Rows on which a snapshot and a stream disagree: the snapshot's lots, and when we first saw them."""

    @property
    def equity(self) -> float | None:
        """Wallet plus unrealised profit in the settlement currency; None while any part is missing.

        With several collateral assets the venue's own total stands for the wallet (Binance: totalWalletBalance).
        """
        if self.mode is not None and self.mode.multi_asset:
            wallet = self.margin.wallet if self.margin else None
        else:
            balance = self.wallets.get(self.settle) if self.settle else None
            wallet = balance.wallet if balance else None
        if wallet is None:
            return None
        profits = [row.profit for row in self.rows]
        return None if None in profits else wallet + sum(p for p in profits if p is not None)

    @property
    def gross(self) -> float | None:
        """Sum of absolute notionals at mark; None while any is missing."""
        notionals = [row.notional for row in self.rows]
        return None if None in notionals else sum(abs(n) for n in notionals if n is not None)

    def apply(self, fact: Fact, now: int) -> None:
        """Take note of a fact; facts that are not about the book are none of its business.

        What can't be a price (zero, negative, not a number, a bid above the ask) is not taken for one: the last that
        could be stays, and ages.
        """
        match fact:
            case Mark(instrument=i, price=price):
                row = self.rows[i]
                if 0 < price < inf and (row.mark is None or fact.at >= row.mark.at):
                    row.mark, row.mark_seen = fact, now
            case Quote(instrument=i, bid=bid, ask=ask):
                if 0 < bid <= ask < inf:
                    self.rows[i].quote, self.rows[i].quote_seen = fact, now
            case Depth(instrument=i):
                self.rows[i].depth = fact
            case Funding(instrument=i):
                self.rows[i].funding = fact
            case Position():
                self._hold(fact)
            case Positions():
                self._snapshot(fact, now)
            case Balance(asset=asset):
                known = self.wallets.get(asset)
                if known is None or fact.at >= known.at:
                    self.wallets[asset] = fact
            case _:
                self._apply_rules(fact, now)

    def _apply_rules(self, fact: Fact, now: int) -> None:
        match fact:
            case Listed(instruments=instruments):
                for row in self.rows:
                    if row.instrument is not None:
                        row.instrument = replace(row.instrument, trading=False)
                for instrument in instruments:
                    self.rows[instrument.index].instrument = instrument
                    self.settle = instrument.settle
            case Tiers(instrument=i):
                self.rows[i].tiers = fact.tiers
            case Fees(instrument=i):
                self.rows[i].fees = fact
            case Interval(instrument=i):
                self.rows[i].interval_hours = fact.hours
            case Leverage(instrument=i):
                self.rows[i].leverage = fact.leverage
            case Mode():
                self.mode = fact
            case Margin():
                self.margin = fact
            case Clock():
                self.clock = fact
            case Up(stream=stream):
                self.streams.setdefault(stream, now)
            case Down(stream=stream):
                self.streams.pop(stream, None)
            case _:
                pass

    def _hold(self, fact: Position) -> None:
        holding = self.rows[fact.instrument].holdings.setdefault(fact.side, Holding())
        if fact.at >= holding.known_at:
            holding.lots, holding.entry, holding.known_at = fact.lots, fact.entry, fact.at
            self.disputed.pop((fact.instrument, fact.side), None)

    def _snapshot(self, fact: Positions, now: int) -> None:
        """Adopt a complete answer, but not against a stream that is newer than the question.

        A venue may answer from a cache, so an answer that contradicts what is already known is disputed first and
        adopted only when a later answer repeats it.
        """
        rows = {(p.instrument, p.side): p for p in fact.rows}
        known = {(i, side) for i, row in enumerate(self.rows) for side in row.holdings}
        for i in range(len(self.rows)):
            if not any(index == i for index, _ in known | rows.keys()):
                rows[i, Side.NET] = Position(instrument=i, side=Side.NET, lots=0, entry=None, at=fact.asked_at)
        for key in sorted(known | rows.keys()):
            told = rows.get(key)
            index, side = key
            holding = self.rows[index].holdings.get(side)
            if holding is not None and holding.known_at > fact.asked_at:
                continue
            lots, entry = (told.lots, told.entry) if told else (0, None)
            if holding is not None and holding.lots != lots and not self._confirmed(key, lots, now):
                continue
            at = max(fact.asked_at, told.at if told else 0)
            self.disputed.pop(key, None)
            self.rows[index].holdings[side] = Holding(lots=lots, entry=entry, known_at=at)
        self.strangers = fact.strangers
        self.positions_at = now

    def _confirmed(self, key: tuple[int, Side], lots: int, now: int) -> bool:
        claimed, since = self.disputed.get(key, (None, now))
        if claimed != lots:
            self.disputed[key] = (lots, now)
            return False
        return now - since >= CONFIRM_NS

    def known_at(self, index: int) -> int:
        """The venue's time up to which the position of an instrument is known; 0 when it never was."""
        return max((holding.known_at for holding in self.rows[index].holdings.values()), default=0)

    def mark_age(self, index: int, now: int) -> int | None:
        """Nanoseconds since the mark arrived; None if it never did."""
        seen = self.rows[index].mark_seen
        return None if seen is None else now - seen
