"""Recorded prices as a market: candles or best bids and asks from CSV files, plain or gzipped."""

import csv
import gzip
import io
import math
from array import array
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from adapters.simulator.market import MOST_MOVES, Move, exact

_CLOSES = ("close", "mark_close")


class TapeError(ValueError):
    """A tape that cannot be read; the message names the file, the line and the value."""


class TapeMarket:
    """Plays a CSV file of prices; when it is over, the last prices stand still.

    One header line says which kind it is:

    * long candles: `ts_ms,symbol,…` with a `close` or `mark_close` column;
    * wide candles: `ts_ms` and then one column of closes for each symbol;
    * best bid and ask: `recv_ts_us` or `recv_ts_ms`, `symbol`, `bid`, `ask`; the mark is the middle.

    A candle's `ts_ms` is when it opens, and its close becomes known when it ends, one interval
    later; the interval is the smallest distance between two openings. Coin-margined symbols
    (`…USD_PERP`) are left out: this exchange lists linear contracts only. Between two rows the
    price stays where it is.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._times = array("q")
        self._indices = array("H")
        self._values = array("d")
        self._numbers: dict[str, int] = {}
        self._load()
        self.symbols = tuple(self._numbers)
        self._position = 0
        self._prices = [Decimal(0)] * len(self.symbols)
        self._seat_first_prices()
        self.start_ms: int | None = self._times[0]

    @property
    def ended(self) -> bool:
        """Whether the last row has been played."""
        return self._position >= len(self._times)

    @property
    def end_ms(self) -> int:
        """When the last price becomes known, in the tape's calendar."""
        return self._times[-1]

    def prices(self) -> list[Decimal]:
        """The price last played of every symbol; before its first row, that row's."""
        return list(self._prices)

    def begin(self, at_ms: int, speed: float = 1.0) -> None:
        """Start playing here."""
        for _ in self.advance(at_ms):
            pass

    def next_ms(self) -> int | None:
        """When the next row is due."""
        return None if self.ended else self._times[self._position]

    def set_price(self, index: int, price: Decimal) -> None:
        """Hold this price until the tape has another one."""
        self._prices[index] = price

    def premium(self, index: int) -> Decimal:
        """None: a tape has no index price."""
        return Decimal(0)

    def advance(self, to_ms: int) -> list[Move]:
        """Play on; when very many rows are due, each stretch gives its extremes and its last."""
        end = self._find(to_ms)
        due = range(self._position, end)
        self._position = end
        stretch = -(-len(due) // (MOST_MOVES * len(self.symbols)))
        moves: list[Move] = []
        if stretch <= 1:
            moves.extend(self._move(row) for row in due)
        else:
            for start in range(due.start, due.stop, stretch * len(self.symbols)):
                stop = min(start + stretch * len(self.symbols), due.stop)
                moves.extend(self._move(row) for row in self._summary(start, stop))
        for _, index, price in moves:
            self._prices[index] = price
        return moves

    def _find(self, to_ms: int) -> int:
        low, high = self._position, len(self._times)
        step = 1
        while low + step < high and self._times[low + step] <= to_ms:
            step *= 2
        high = min(high, low + step + 1)
        while low < high:
            middle = (low + high) // 2
            if self._times[middle] <= to_ms:
                low = middle + 1
            else:
                high = middle
        return low

    def _move(self, row: int) -> Move:
        return self._times[row], self._indices[row], exact(self._values[row])

    def _summary(self, start: int, stop: int) -> list[int]:
        """The rows of the lowest, the highest and the last price of each symbol, in order."""
        keep: set[int] = set()
        rows_of: dict[int, list[int]] = {}
        for row in range(start, stop):
            rows_of.setdefault(self._indices[row], []).append(row)
        for rows in rows_of.values():
            keep.update(
                (
                    min(rows, key=self._values.__getitem__),
                    max(rows, key=self._values.__getitem__),
                    rows[-1],
                )
            )
        return sorted(keep)

    def _load(self) -> None:
        opener: Callable[[], io.TextIOBase] = self._open
        with opener() as lines:
            rows = csv.reader(lines)
            header = next(rows, [])
            read = self._reader(header)
            read(header, enumerate(rows, start=2))
        if not self._times:
            raise TapeError(f"{self.path}: no rows")
        self._sort()

    def _open(self) -> io.TextIOBase:
        if self.path.suffix == ".gz":
            return io.TextIOWrapper(gzip.open(self.path, "rb"), encoding="utf-8", newline="")
        return self.path.open(encoding="utf-8", newline="")

    def _reader(self, header: list[str]) -> Callable[[list[str], Iterator[tuple[int, list[str]]]], None]:
        columns = set(header)
        if {"symbol", "bid", "ask"} <= columns and columns & {"recv_ts_us", "recv_ts_ms"}:
            return self._read_quotes
        if {"ts_ms", "symbol"} <= columns and columns & set(_CLOSES):
            return self._read_long
        if header[:1] == ["ts_ms"] and len(header) > 1 and all(n.isupper() for n in header[1:]):
            return self._read_wide
        raise TapeError(
            f"{self.path}, line 1: columns {','.join(header)!r} are not those of a tape: "
            "ts_ms,symbol,…,close or ts_ms,SYMBOL,SYMBOL,… or recv_ts_ms,symbol,bid,ask"
        )

    def _read_wide(self, header: list[str], rows: Iterator[tuple[int, list[str]]]) -> None:
        self._numbers = {name: number for number, name in enumerate(header[1:])}
        count = len(self._numbers)
        order = array("H", range(count))
        for line, row in rows:
            if len(row) != count + 1:
                raise self._fault(line, "row", ",".join(row))
            at = self._time(line, row[0])
            self._times.extend([at] * count)
            self._indices.extend(order)
            try:
                self._values.extend([float(cell) for cell in row[1:]])
            except ValueError:
                self._values.extend([self._price(line, cell) for cell in row[1:]])
            if not all(0 < value < math.inf for value in self._values[-count:]):
                for cell in row[1:]:
                    self._price(line, cell)
        self._close_candles()

    def _read_long(self, header: list[str], rows: Iterator[tuple[int, list[str]]]) -> None:
        at, symbol = header.index("ts_ms"), header.index("symbol")
        close = next(header.index(name) for name in _CLOSES if name in header)
        for line, row in rows:
            if len(row) != len(header):
                raise self._fault(line, "row", ",".join(row))
            self._add(row[symbol], self._time(line, row[at]), self._price(line, row[close]))
        self._close_candles()

    def _read_quotes(self, header: list[str], rows: Iterator[tuple[int, list[str]]]) -> None:
        in_us = "recv_ts_us" in header
        at = header.index("recv_ts_us" if in_us else "recv_ts_ms")
        symbol, bid, ask = (header.index(name) for name in ("symbol", "bid", "ask"))
        for line, row in rows:
            if len(row) != len(header):
                raise self._fault(line, "row", ",".join(row))
            if "_" in row[symbol]:
                continue
            time = self._time(line, row[at])
            middle = (self._price(line, row[bid]) + self._price(line, row[ask])) / 2
            self._add(row[symbol], time // 1000 if in_us else time, middle)

    def _add(self, symbol: str, at_ms: int, price: float) -> None:
        index = self._numbers.setdefault(symbol, len(self._numbers))
        self._times.append(at_ms)
        self._indices.append(index)
        self._values.append(price)

    def _close_candles(self) -> None:
        """Move every price from the opening of its candle to its end, when it was known."""
        opens = sorted(set(self._times))
        interval = min((b - a for a, b in pairwise(opens)), default=60_000)
        self._times = array("q", [at + interval for at in self._times])

    def _sort(self) -> None:
        times = self._times
        if any(times[row] > times[row + 1] for row in range(len(times) - 1)):
            order = sorted(range(len(times)), key=times.__getitem__)
            self._times = array("q", [times[row] for row in order])
            self._indices = array("H", [self._indices[row] for row in order])
            self._values = array("d", [self._values[row] for row in order])

    def _seat_first_prices(self) -> None:
        missing = set(range(len(self.symbols)))
        for row, index in enumerate(self._indices):
            if index in missing:
                self._prices[index] = exact(self._values[row])
                missing.discard(index)
                if not missing:
                    return

    def _time(self, line: int, cell: str) -> int:
        try:
            return int(cell)
        except ValueError:
            raise self._fault(line, "time", cell) from None

    def _price(self, line: int, cell: str) -> float:
        try:
            price = float(cell)
        except ValueError:
            raise self._fault(line, "price", cell) from None
        if not 0 < price < math.inf:
            raise self._fault(line, "price", cell)
        return price

    def _fault(self, line: int, what: str, value: str) -> TapeError:
        return TapeError(f"{self.path}, line {line}: not a {what}: {value!r}")
