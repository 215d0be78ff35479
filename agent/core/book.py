"""The book: the last thing we were told about each instrument and the account, and how old it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from agent.core.events import (
    PRIVATE,
    Balance,
    Clock,
    Depth,
    Down,
    Fact,
    Fees,
    Filled,
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
    Reserve,
    Side,
    Tiers,
    Up,
    Volume,
)
from agent.core.instruments import Instrument, Tier, maintenance
from agent.core.prices import LEAP, Doubt, agrees, is_price, judged, places, told_at

CONFIRM_NS = 6_000_000_000
"""A snapshot that contradicts what we were told must be repeated after this long before it is believed: venues answer
from caches that are seconds old, and an old answer given twice looks like a repetition."""
DAY_NS = 86_400_000_000_000
HIDDEN = 0.05
"""The part of the margin of the account's positions that those we know need not explain: prices move between two
answers. What is smaller than that may be left out unnoticed; a larger part would let more be bought twice."""
IN_USE = 0.5
"""The same where their margin is only known as what is not free: how the venue counts that is not known any better."""
LEAST = 0.01
"""The least that an account is taken to be worth, in the quote currency."""
UNLISTED = 0.01
"""The same of the positions that the account's answer lists itself: all of it is of one moment, at the same prices."""
KEEP_TRADES = 10_000
"""How many trades are remembered, so that none counts twice."""


class Holding(Struct):
    """A position row: signed lots, the average entry, and the venue's time up to which it is known.

    ``isolated`` is the wallet of its own that a position of isolated margin has; None: cross margin, or flat.
    """

    lots: int = 0
    entry: float | None = None
    known_at: int = 0
    isolated: float | None = None


class Row:
    """All that is known about one instrument. ``*_seen``: since when, by our clock, it is known to be so: its arrival,
    or earlier where the venue had said it before; None: never heard."""

    __slots__ = (
        "agreed_at", "depth", "doubt", "fees", "funding", "holdings", "instrument", "interval_hours", "leverage",
        "mark", "mark_seen", "owed", "quote", "quote_seen", "snapshot_at", "symbol", "tiers", "unheard", "volume",
    )  # fmt: skip

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.instrument: Instrument | None = None
        self.mark: Mark | None = None
        self.mark_seen: int | None = None
        self.doubt: Doubt | None = None
        """What was told of the mark last and is not believed yet; `mark` is still the one before."""
        self.quote: Quote | None = None
        self.quote_seen: int | None = None
        self.depth: Depth | None = None
        self.funding: Funding | None = None
        self.interval_hours: float | None = None
        self.tiers: tuple[Tier, ...] = ()
        self.fees: Fees | None = None
        self.leverage: int | None = None
        self.volume: float | None = None
        """Traded in the last 24 hours, in the quote currency."""
        self.holdings: dict[Side, Holding] = {}
        self.owed = 0
        """Lots of the trades heard of less those by which the position has moved: 0 when the two agree."""
        self.unheard = False
        """The position has moved without a trade that we heard of."""
        self.snapshot_at: int | None = None
        """The venue's time of the last snapshot of it that was believed."""
        self.agreed_at: int | None = None
        """Our time of the same."""

    @property
    def lots(self) -> int:
        """The net position: long and short rows together."""
        return sum(holding.lots for holding in self.holdings.values())

    @property
    def known_at(self) -> int:
        """The venue's time up to which the position is known; 0 when it never was."""
        return max((holding.known_at for holding in self.holdings.values()), default=0)

    @property
    def notional(self) -> float | None:
        """Signed value of the net position at mark; None without a mark or grid."""
        if self.instrument is None or self.mark is None:
            return 0.0 if not self.lots and self.holdings else None
        return self.instrument.notional(self.lots, self.mark.price)

    @property
    def value(self) -> float | None:
        """The same in the settlement currency."""
        if self.instrument is None or self.mark is None:
            return self.notional
        return self.instrument.value(self.lots, self.mark.price)

    @property
    def rate(self) -> float | None:
        """What one unit of the settlement currency is worth in the quote currency at mark; None while not known."""
        if self.instrument is None or self.mark is None:
            return None
        return self.instrument.rate(self.mark.price)

    @property
    def brackets(self) -> tuple[Tier, ...]:
        """The margin table in the quote currency, at mark: that of an inverse contract is in its coin."""
        if self.instrument is None or not self.instrument.inverse:
            return self.tiers
        rate = self.rate
        if rate is None:
            return ()
        return tuple(
            replace(tier, floor=tier.floor * rate, cap=tier.cap * rate, deduction=tier.deduction * rate)
            for tier in self.tiers
        )

    @property
    def profit(self) -> float | None:
        """Unrealised profit at mark in the settlement currency; None when a needed number is missing."""
        if not self.holdings:
            return None
        total = 0.0
        for holding in self.holdings.values():
            if not holding.lots:
                continue
            if self.instrument is None or self.mark is None or holding.entry is None:
                return None
            total += self.instrument.profit(holding.lots, holding.entry, self.mark.price)
        return total


class Account:
    """What is known about one account as a whole: a margin pool, settled in one asset, and the streams that tell of it.

    ``rows`` are those of its instruments, by index.
    """

    def __init__(self, rows: dict[int, Row]) -> None:
        self.rows = rows
        self.settle: str | None = None
        """The currency of wallet, profits and margin. All else is weighed in the quote currency, see `rate`."""
        self.coin: int | None = None
        """The contract of the coin that the account is held in, if it is held in one."""
        self.most_leverage: float | None = None
        """The user's limit for its own gross notional over its own equity, if there is one."""
        self.mode: Mode | None = None
        self.margin: Margin | None = None
        self.margin_seen = 0
        """Our time when it came."""
        self.wallets: dict[str, Balance] = {}
        self.then: float | None = None
        """The wallet of the settlement asset in the answer that `margin` came with."""
        self.clock: Clock | None = None
        self.streams: dict[str, int] = {}
        """Streams that are up, and since when."""
        self.strangers: tuple[str, ...] = ()
        """Symbols held on the account that the portfolio file does not name."""
        self.positions_at: int | None = None
        """Our time of the last complete answer about positions."""
        self.missed_at: int | None = None
        """Our time when an answer last brought to light what the private stream, being up, should have told."""
        self.moved_at = 0
        """The venue's time of the last move of a position that was told."""
        self._doubted_at: int | None = None
        """Our time of the answer that first told of a change of the wallet."""
        self._wallet_at = 0
        """Our time when the wallet was last told of."""
        self.hidden = 0.0
        """Maintenance margin that the venue reserves and that no position we were told of explains, in the settlement
        currency."""
        self.left_out: tuple[int, ...] = ()
        """Instruments on which the account lists a position, and no answer about positions shows it."""

    @property
    def rate(self) -> float | None:
        """What one unit of the settlement currency is worth in the quote currency: the mark of the coin that the
        account is held in, else 1; None while that is not known."""
        return 1.0 if self.coin is None else self.rows[self.coin].rate

    @property
    def equity(self) -> float | None:
        """What the account is worth, in the quote currency; None while any part is missing."""
        balance, rate = self.margin_balance, self.rate
        return None if balance is None or rate is None else balance * rate

    @property
    def margin_balance(self) -> float | None:
        """Wallet plus unrealised profit in the settlement currency; None while any part is missing.

        With several collateral assets the venue's own total stands for the wallet (Binance: totalWalletBalance), and
        what the stream has told of the settlement asset since is added to it: a profit that was just realised is in
        the wallet and no longer in the position. The settlement asset counts at par with the valuation currency.
        """
        balance = self.wallets.get(self.settle) if self.settle else None
        wallet = balance.wallet if balance else None
        if self.mode is not None and self.mode.multi_asset:
            since = wallet - self.then if wallet is not None and self.then is not None else 0.0
            wallet = self.margin.wallet + since if self.margin else None
        if wallet is None:
            return None
        profits = [row.profit for row in self.rows.values()]
        return None if None in profits else wallet + sum(p for p in profits if p is not None)

    @property
    def worth(self) -> float | None:
        """The equity that margin is measured by: an account that is worth nothing, or less, has positions all the
        same, and they have to be reduced."""
        equity = self.equity
        return None if equity is None else max(equity, LEAST)

    def said(self, amount: float, sign: str = "") -> str:
        """An amount of the settlement currency as a person says it; ``sign`` is a format's."""
        return f"{amount:{sign},.{2 if self.coin is None else 8}f}"

    @property
    def hedge(self) -> bool:
        """Whether long and short are position rows of their own."""
        return self.mode is not None and self.mode.hedge

    def latest(self, now: int) -> int:
        """The venue's time, at the latest that it can be: what it dates later is from before its clock was set back."""
        return now + (self.clock.offset_ns + self.clock.error_ns if self.clock else DAY_NS)

    def rewind(self, latest: int) -> None:
        """Nothing can be known as of later than the venue's own time, ``latest``: should its clock have been set back,
        what it says from now on is not older than what it said before."""
        for row in self.rows.values():
            if row.mark is not None and row.mark.at > latest:
                row.mark = replace(row.mark, at=latest)
            if row.snapshot_at is not None:
                row.snapshot_at = min(row.snapshot_at, latest)
            for holding in row.holdings.values():
                holding.known_at = min(holding.known_at, latest)
        for asset, balance in self.wallets.items():
            if balance.at > latest:
                self.wallets[asset] = replace(balance, at=latest)

    def balance(self, fact: Balance, now: int) -> None:
        """Take note of a wallet."""
        known = self.wallets.get(fact.asset)
        if fact.asset == self.settle:
            answer = self.margin is not None and fact.at == self.margin.asked_at
            if answer:
                self.then = fact.wallet
            self._compare_wallet(fact, known, now, answer=answer)
        if known is None or fact.at >= known.at:
            self.wallets[fact.asset] = fact

    def _compare_wallet(self, fact: Balance, known: Balance | None, now: int, *, answer: bool) -> None:
        """Watch for money that moved without the private stream's saying so, within `CONFIRM_NS` before or after."""
        up = self.streams.get(PRIVATE)
        if not answer or up is None or known is None:
            self._doubted_at = None  # the stream speaks, or is not there to
        elif self._doubted_at is not None and now - self._doubted_at >= CONFIRM_NS:
            self.missed_at, self._doubted_at = now, None
        elif fact.wallet != known.wallet and fact.at >= known.at and self._doubted_at is None and self._wallet_at >= up:
            self._doubted_at = now
        self._wallet_at = now

    def found_out(self, row: Row, now: int) -> None:
        """A position has changed, and no stream has told it: worth a note if it was up since the last that agreed."""
        up = self.streams.get(PRIVATE)
        if up is not None and row.agreed_at is not None and row.agreed_at >= up:
            self.missed_at = now

    def carries(self, index: int, side: Side, since: int) -> bool:
        """Whether the venue may still reserve margin for a position: its total has room for more than half of its own.

        A total from before the doubt, ``since``, proves nothing. Where the account lists its positions, one that is
        there is.
        """
        needed = self._needed()
        if self.margin is not None and any((one.instrument, one.side) == (index, side) for one in self._reserves):
            return True
        if self.margin is None or needed is None:
            return False
        mine = needed.pop((index, side), 0.0)
        stated = self._total
        return self.margin_seen <= since or (stated is not None and stated > sum(needed.values()) + mine / 2)

    def look_behind(self) -> None:
        """Compare the account's margin with that of the positions we were told of, unless they have moved since.

        Where the account lists its positions, none of them may be missing, however small.
        """
        if self.strangers:
            self.hidden = 0.0
        if self.margin is None or self.moved_at > self.margin.asked_at:
            return
        held = [(i, side) for i, row in self.rows.items() for side, one in row.holdings.items() if one.lots]
        missing = [one.instrument for one in self._reserves if (one.instrument, one.side) not in held]
        self.left_out = tuple(dict.fromkeys(missing)) if self.positions_at is not None else ()
        needed, total = self._needed(), self._total
        if total is None or needed is None:
            return
        if self._by_mark and needed:
            total -= max(0.0, self.margin.equity - self.margin.wallet)  # their profit, which may not count as free
        stated = {(one.instrument, one.side): one.maintenance for one in self._reserves}
        unexplained = total - sum({**needed, **stated}.values())
        one_price = self.margin.reserves is not None and needed.keys() <= stated.keys() and not self._collaterals
        part = IN_USE if self._by_mark else UNLISTED if one_price else HIDDEN
        self.hidden = unexplained if unexplained > part * total else 0.0

    def borne_out(self, index: int) -> bool:
        """Whether the venue's own margin for a position is what ours is: its grid, price and quantity are then those
        that the venue reckons with. False where the account lists no positions."""
        row = self.rows[index]
        stated = {one.side: one.maintenance for one in self._reserves if one.instrument == index}
        for side, holding in row.holdings.items():
            if not holding.lots:
                continue
            ours = _maintenance(row, holding)
            if ours is None or abs(stated.get(side, 0.0) - ours) > HIDDEN * ours:
                return False
        return True

    @property
    def _collaterals(self) -> bool:
        """Whether several assets are collateral: the venue's totals are then in a currency of their own."""
        return self.mode is None or self.mode.multi_asset

    @property
    def _reserves(self) -> tuple[Reserve, ...]:
        """The positions that the account's last answer lists; none where it lists none."""
        return (self.margin.reserves if self.margin is not None else None) or ()

    @property
    def _total(self) -> float | None:
        """What the venue says that all positions take: as maintenance margin, or else as initial margin."""
        if self.margin is None:
            return None
        if self._by_mark:
            return self.margin.in_use
        return self.margin.held if self._by_entry else self.margin.maintenance

    @property
    def _by_entry(self) -> bool:
        """Whether initial margin is all that the venue states of positions."""
        return self.margin is not None and self.margin.maintenance is None and self.margin.held is not None

    @property
    def _by_mark(self) -> bool:
        """Whether what is not free is all that the venue states of it."""
        return self.margin is not None and self.margin.in_use is not None

    def _needed(self) -> dict[tuple[int, Side], float] | None:
        """What each position takes of `_total`: maintenance margin at its mark, or initial margin at its entry or mark.

        None where a table, a setting or a price is not known, or strangers take margin as well: then the venue's total
        is no witness.
        """
        needed: dict[tuple[int, Side], float] = {}
        for index, row in self.rows.items():
            for side, holding in row.holdings.items():
                if not holding.lots:
                    continue
                if self._by_mark:
                    share = _initial(row, holding, None if row.mark is None else row.mark.price)
                else:
                    share = _initial(row, holding, holding.entry) if self._by_entry else _maintenance(row, holding)
                if share is None:
                    return None
                needed[index, side] = share
        return None if self.strangers else needed


class Book:
    """What is known, by instrument index, and about each account.

    ``seats`` gives the account of each instrument, by its index; all are on one if not given.
    """

    def __init__(self, symbols: Iterable[str], seats: Sequence[int] = ()) -> None:
        self.rows = [Row(symbol) for symbol in symbols]
        self.seats = list(seats) or [0] * len(self.rows)
        self.accounts = [
            Account({index: row for index, row in enumerate(self.rows) if self.seats[index] == account})
            for account in range(max(self.seats, default=0) + 1)
        ]
        self.disputed: dict[tuple[int, Side], tuple[int | None, int]] = {}
        """Rows on which what we were told does not add up: the lots that a snapshot claims, None while no snapshot has
        come that could settle it; and since when."""
        self._trades: dict[tuple[int, str], None] = {}
        """Trades already counted, oldest first."""

    @property
    def every(self) -> range:
        """The indexes of all instruments."""
        return range(len(self.rows))

    def of(self, index: int) -> Account:
        """The account that an instrument is traded on."""
        return self.accounts[self.seats[index]]

    @property
    def coins(self) -> list[float]:
        """The weight that collateral has by itself, by instrument: of the contract of a coin that an account is held in
        the account's part of all equity, which is 1 where it is the only one; 0 elsewhere. An account without contracts
        is worth what its coins are."""
        found = [0.0] * len(self.rows)
        for account in self.accounts:
            if account.coin is not None:
                alone, whole, own = len(self.accounts) == 1, self.equity, account.equity
                found[account.coin] = 1.0 if alone or not whole or own is None else own / whole
        return found

    @property
    def equity(self) -> float | None:
        """What all accounts are worth together, in the quote currency; None while that of one is not known."""
        equities = [account.equity for account in self.accounts]
        return None if None in equities else sum(equity for equity in equities if equity is not None)

    @property
    def gross(self) -> float | None:
        """Sum of absolute notionals at mark; None while any is missing."""
        notionals = [row.notional for row in self.rows]
        return None if None in notionals else sum(abs(n) for n in notionals if n is not None)

    def apply(self, fact: Fact, now: int) -> None:
        """Take note of a fact; facts that are not about the book are none of its business.

        What can't be a price (zero, negative, not a number, a bid above the ask) or a rate is not taken for one, and a
        mark that leaps is not before it is confirmed: the last that could be stays, and ages.
        """
        match fact:
            case Mark():
                self._mark(fact, now)
            case Quote():
                self._quote(fact, now)
            case Depth(instrument=i):
                self.rows[i].depth = fact
            case Funding(instrument=i, rate=rate):
                if isfinite(rate):
                    self.rows[i].funding = fact
            case Position():
                self._hold(fact, now)
            case Filled():
                self._trade(fact, now)
            case Positions():
                self._snapshot(fact, now)
            case Balance():
                self.accounts[fact.account].balance(fact, now)
            case _:
                self._apply_rules(fact, now)

    def _apply_rules(self, fact: Fact, now: int) -> None:
        account = self.accounts[fact.account]
        match fact:
            case Listed(instruments=instruments):
                for row in account.rows.values():
                    if row.instrument is not None:
                        row.instrument = replace(row.instrument, trading=False)
                for instrument in instruments:
                    self._list(self.rows[instrument.index], instrument, now)
                    account.settle = instrument.settle
                    account.coin = instrument.index if instrument.inverse else account.coin
            case Tiers() | Fees() | Interval() | Leverage() | Volume():
                self._apply_terms(self.rows[fact.instrument], fact)
                self.of(fact.instrument).look_behind()
            case Mode():
                account.mode = fact
            case Margin():
                account.margin, account.margin_seen, account.then = fact, now, None
                account.look_behind()
            case Clock():
                account.clock = fact
                account.rewind(account.latest(now))
            case Up(stream=stream):
                account.streams.setdefault(stream, now)
            case Down(stream=stream):
                account.streams.pop(stream, None)
            case _:
                pass

    def _list(self, row: Row, instrument: Instrument, now: int) -> None:
        """Take an instrument's grid. What is held is counted anew in its lots, and has to be told once more."""
        before, row.instrument = row.instrument, instrument
        if before is None or before.unit == instrument.unit:
            return
        self._doubt(instrument.index, now)
        for holding in row.holdings.values():
            whole = holding.lots * before.step * before.multiplier
            holding.lots = int(whole / (instrument.step * instrument.multiplier))
        row.owed = 0

    def _mark(self, fact: Mark, now: int) -> None:
        row = self.rows[fact.instrument]
        if not is_price(fact.price) or (row.mark is not None and fact.at < row.mark.at):
            return
        held = any(holding.lots for holding in row.holdings.values())
        row.doubt = judged(fact, row.doubt, row.mark, now, held=held)
        if row.doubt is not None and row.doubt.unit:
            self._doubt(fact.instrument, now)
        elif row.doubt is None or agrees(fact, row.quote, row.quote_seen, now):
            self._believe(row, fact, now)

    def _quote(self, fact: Quote, now: int) -> None:
        row = self.rows[fact.instrument]
        if not (is_price(fact.bid) and is_price(fact.ask) and fact.bid <= fact.ask):
            return
        row.quote, row.quote_seen = fact, told_at(fact.at, now, self.of(fact.instrument).clock)
        if row.doubt is not None and not row.doubt.unit and agrees(row.doubt.mark, fact, row.quote_seen, now):
            self._believe(row, row.doubt.mark, now)

    def _believe(self, row: Row, mark: Mark, now: int) -> None:
        row.mark, row.mark_seen, row.doubt = mark, told_at(mark.at, now, self.of(mark.instrument).clock), None

    def _doubt(self, index: int, now: int) -> None:
        """What is held may be of another unit, and has to be told once more."""
        for side, holding in self.rows[index].holdings.items():
            if holding.lots:
                self.disputed.setdefault((index, side), (None, now))

    def _redenominates(self, row: Row, lots: int, before: int) -> bool:
        """Whether a position has moved by a power of ten, and the price that is in doubt the other way."""
        if row.doubt is None or row.mark is None or not (power := places(lots, before)):
            return False
        return power == -places(row.doubt.mark.price, row.mark.price, LEAP)

    def _apply_terms(self, row: Row, fact: Tiers | Fees | Interval | Leverage | Volume) -> None:
        match fact:
            case Tiers(tiers=tiers):
                row.tiers = tiers
            case Fees():
                row.fees = fact
            case Interval(hours=hours):
                row.interval_hours = hours
            case Leverage(leverage=leverage):
                row.leverage = leverage
            case Volume(quote=quote):
                row.volume = quote
            case _:
                assert_never(fact)

    def _hold(self, fact: Position, now: int) -> None:
        row = self.rows[fact.instrument]
        holding = row.holdings.setdefault(fact.side, Holding())
        if fact.at >= holding.known_at:
            account = self.of(fact.instrument)
            account.moved_at = max(account.moved_at, fact.at)
            both = self._redenominates(row, fact.lots, holding.lots)
            if places(fact.lots, holding.lots) and fact.lots - holding.lots != row.owed and not both:
                self._confirmed((fact.instrument, fact.side), fact.lots, now, left_out=False)
                return  # no trade explains it: it may be of another unit than the price, so it has to be told again
            if both and row.doubt is not None:
                self._believe(row, row.doubt.mark, now)
            row.owed -= fact.lots - holding.lots
            row.unheard = row.unheard or fact.lots != holding.lots
            holding.lots, holding.entry, holding.known_at = fact.lots, fact.entry, fact.at
            holding.isolated = fact.isolated
            self.disputed.pop((fact.instrument, fact.side), None)
            self._reckon(fact.instrument, now)

    def _trade(self, fact: Filled, now: int) -> None:
        """Every trade must show in the position; which of the two is told first does not matter."""
        key = (fact.instrument, fact.trade)
        if key in self._trades:
            return
        self._trades[key] = None
        while len(self._trades) > KEEP_TRADES:
            del self._trades[next(iter(self._trades))]
        row = self.rows[fact.instrument]
        account = self.of(fact.instrument)
        account.moved_at = max(account.moved_at, fact.at)
        if row.snapshot_at is not None and fact.at >= row.snapshot_at:
            row.owed += fact.lots
            self._reckon(fact.instrument, now)

    def passed_over(self, fact: Filled) -> bool:
        """Whether a snapshot was asked for after this trade and believed before it was told: it may lack it."""
        snapshot_at = self.rows[fact.instrument].snapshot_at
        return snapshot_at is not None and fact.at < snapshot_at

    def _reckon(self, index: int, now: int) -> None:
        row, key = self.rows[index], (index, Side.NET)
        if row.snapshot_at is None:
            row.owed = 0
        if row.owed:
            self.disputed.setdefault(key, (None, now))
            return
        row.unheard = False
        if self.disputed.get(key, (0, 0))[0] is None:
            del self.disputed[key]

    def _snapshot(self, fact: Positions, now: int) -> None:
        """Adopt a complete answer, but not against a stream that is newer than the question.

        A venue may answer from a cache, so an answer that contradicts what is already known is disputed first and
        adopted only when a later answer repeats it.
        """
        told: dict[int, dict[Side, Position]] = {}
        for position in fact.rows:
            told.setdefault(position.instrument, {})[position.side] = position
        account = self.accounts[fact.account]
        for index in account.rows:
            self._compare(index, told.get(index, {}), fact.asked_at, now)
        account.strangers = fact.strangers
        account.positions_at = now
        account.look_behind()

    def _compare(self, index: int, told: dict[Side, Position], asked_at: int, now: int) -> None:
        row, account = self.rows[index], self.of(index)
        lots = {side: told[side].lots if side in told else 0 for side in (*row.holdings, *told)} or {Side.NET: 0}
        explained = row.owed and not row.unheard and sum(lots.values()) - row.lots == row.owed
        doubtful = bool(row.owed) and not explained
        agreed, both = True, False
        for side, claim in lots.items():
            holding, row_told = row.holdings.get(side), told.get(side)
            if holding is not None:
                differs = doubtful or (holding.lots != claim and not explained)
                certain = not differs or self._confirmed((index, side), claim, now, left_out=row_told is None)
                if holding.known_at > asked_at or not certain:
                    agreed = False
                    continue
                if differs and holding.lots != claim:
                    account.found_out(row, now)
                    both = both or self._redenominates(row, claim, holding.lots)
                row.owed -= claim - holding.lots
            self.disputed.pop((index, side), None)
            at = max(asked_at, row_told.at if row_told else 0)
            holding = Holding(lots=claim, known_at=min(at, account.latest(now)))
            if row_told is not None:
                holding.entry, holding.isolated = row_told.entry, row_told.isolated
            row.holdings[side] = holding
        if agreed:
            row.owed, row.snapshot_at, row.agreed_at = 0, asked_at, now
            if row.doubt is not None and row.doubt.unit and (both or now - row.doubt.since >= CONFIRM_NS):
                self._believe(row, row.doubt.mark, now)
        self._reckon(index, now)

    def _confirmed(self, key: tuple[int, Side], lots: int, now: int, *, left_out: bool) -> bool:
        """Whether a claim against what is known has stood long enough.

        A position that is merely left out is not denied: its margin must be gone from the account's total as well, for
        an answer that lacks rows may come again and again.
        """
        claimed, since = self.disputed.get(key, (None, now))
        if claimed != lots:
            self.disputed[key] = (lots, now)
            return False
        return now - since >= CONFIRM_NS and not (left_out and self.of(key[0]).carries(*key, since))

    def known_at(self, index: int) -> int:
        """The venue's time up to which the position of an instrument is known; 0 when it never was."""
        return self.rows[index].known_at

    def held(self, index: int, side: Side) -> int | None:
        """Signed lots of one position row; None while nothing was told of the instrument."""
        holdings = self.rows[index].holdings
        return holdings[side].lots if side in holdings else 0 if holdings else None

    def mark_age(self, index: int, now: int) -> int | None:
        """Nanoseconds since the venue gave the mark; None if it never did."""
        seen = self.rows[index].mark_seen
        return None if seen is None else now - seen


def _maintenance(row: Row, holding: Holding) -> float | None:
    """Maintenance margin of a position at mark, in the settlement currency; None where its grid, price or table is not
    known."""
    if row.instrument is None or row.mark is None:
        return None
    return maintenance(row.tiers, abs(row.instrument.value(holding.lots, row.mark.price)))


def _initial(row: Row, holding: Holding, price: float | None) -> float | None:
    """The initial margin of a position: the wallet of its own, or its value at a price by its leverage setting."""
    if holding.isolated is not None:
        return holding.isolated
    if row.instrument is None or price is None or row.leverage is None:
        return None
    return abs(row.instrument.value(holding.lots, price)) / row.leverage
