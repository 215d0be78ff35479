"""Prices: random ones from a seed, recorded ones from a tape."""

import gzip
import math
import statistics
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from adapters.simulator import Account, Binance, Client, Exchange, SeededMarket, StillMarket, TapeError, TapeMarket
from adapters.simulator.market import MOST_MOVES, YEAR_MS, Move

HISTORY = Path(__file__).resolve().parents[2].parent / "shared" / "data"
HOUR_MS = 3_600_000


def history(name: str) -> Path:
    path = HISTORY / name
    if not path.exists():
        pytest.skip(f"no market history at ../shared/data/{name}")
    return path


def play(tape: TapeMarket, to_ms: int) -> list[tuple[int, str, str]]:
    return [(at, tape.symbols[index], str(price.normalize())) for at, index, price in tape.advance(to_ms)]


def closes(moves: Iterable[Move], index: int) -> list[float]:
    return [float(price) for _, number, price in moves if number == index]


def test_volatilities_and_correlations_are_those_of_the_table() -> None:
    market = SeededMarket(3, step_ms=HOUR_MS)
    market.begin(0)
    moves: list[Move] = []
    for end in range(HOUR_MS * 1000, HOUR_MS * 40_001, HOUR_MS * 1000):
        moves.extend(market.advance(end))
    returns = []
    for index in range(3):
        prices = closes(moves, index)
        returns.append([math.log(b / a) for a, b in pairwise(prices)])
    for one, wanted in zip(returns, (0.6, 0.8, 1.0), strict=True):
        assert statistics.pstdev(one) * math.sqrt(YEAR_MS / HOUR_MS) == pytest.approx(wanted, rel=0.05)
    for (a, b), wanted in zip(((0, 1), (0, 2), (1, 2)), (0.82, 0.72, 0.76), strict=True):
        assert statistics.correlation(returns[a], returns[b]) == pytest.approx(wanted, abs=0.05)
    largest = max(abs(change) for change in returns[0]) / statistics.pstdev(returns[0])
    assert largest > 8


def test_a_seed_is_a_market_and_no_seed_is_another_each_time() -> None:
    first, again = SeededMarket(1), SeededMarket(1)
    for market in (first, again):
        market.begin(0)
    assert first.advance(10_000) == again.advance(10_000)
    assert SeededMarket().prices() != SeededMarket().prices()


def test_a_long_way_is_walked_in_bounded_steps() -> None:
    market = SeededMarket(1)
    market.begin(0)
    assert len(market.advance(30 * 86_400_000)) <= MOST_MOVES * 3
    assert market.next_ms() == 30 * 86_400_000 + market.step_ms


def test_long_candles_are_known_when_they_end(tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_text(
        "ts_ms,symbol,high,low,close,volume\n"
        "60000,BTCUSDT,1,1,100,1\n60000,ETHUSDT,1,1,10,1\n"
        "120000,BTCUSDT,1,1,101,1\n120000,ETHUSDT,1,1,11.5,1\n"
    )
    tape = TapeMarket(file)
    assert tape.symbols == ("BTCUSDT", "ETHUSDT")
    assert tape.start_ms == 120_000
    assert play(tape, 179_999) == [(120_000, "BTCUSDT", "1E+2"), (120_000, "ETHUSDT", "1E+1")]
    assert tape.next_ms() == 180_000
    assert play(tape, 10**9) == [(180_000, "BTCUSDT", "101"), (180_000, "ETHUSDT", "11.5")]
    assert tape.ended
    assert tape.next_ms() is None
    assert tape.prices() == [Decimal(101), Decimal("11.5")]


def test_rows_of_symbols_one_after_the_other_are_put_in_order(tmp_path: Path) -> None:
    file = tmp_path / "mark.csv.gz"
    with gzip.open(file, "wt") as out:
        out.write("ts_ms,symbol,mark_open,mark_high,mark_low,mark_close\n")
        out.write("0,AAA,1,1,1,1\n3600000,AAA,1,1,1,2\n0,BBB,1,1,1,5\n3600000,BBB,1,1,1,6\n")
    tape = TapeMarket(file)
    assert [row[:2] for row in play(tape, 10**9)] == [
        (HOUR_MS, "AAA"),
        (HOUR_MS, "BBB"),
        (2 * HOUR_MS, "AAA"),
        (2 * HOUR_MS, "BBB"),
    ]


def test_wide_candles(tmp_path: Path) -> None:
    file = tmp_path / "wide.csv"
    file.write_text("ts_ms,BTCUSDT,SOLUSDT\n0,100,1.5\n300000,90,1.25\n")
    tape = TapeMarket(file)
    assert tape.prices() == [Decimal(100), Decimal("1.5")]
    assert play(tape, 600_000)[2:] == [(600_000, "BTCUSDT", "9E+1"), (600_000, "SOLUSDT", "1.25")]


@pytest.mark.parametrize(("unit", "factor"), [("us", 1000), ("ms", 1)])
def test_best_prices_give_their_middle(tmp_path: Path, unit: str, factor: int) -> None:
    file = tmp_path / "bbo.csv"
    file.write_text(
        f"recv_ts_{unit},event_ts_ms,symbol,bid,bid_qty,ask,ask_qty\n"
        f"{1000 * factor},1,BTCUSDT,100,1,102,1\n{2000 * factor},2,BTCUSD_PERP,1,1,2,1\n"
        f"{3000 * factor},3,BTCUSDT,101,1,102,1\n"
    )
    tape = TapeMarket(file)
    assert tape.symbols == ("BTCUSDT",)
    assert play(tape, 10_000) == [(1000, "BTCUSDT", "101"), (3000, "BTCUSDT", "101.5")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,price\n1,2\n", "line 1: columns 'time,price' are not those of a tape"),
        ("ts_ms,symbol,volume\n", "line 1: columns"),
        ("", "line 1: columns"),
        ("ts_ms,BTCUSDT\n", "no rows"),
        ("ts_ms,BTCUSDT\n0,1\nx,2\n", "line 3: not a time: 'x'"),
        ("ts_ms,BTCUSDT\n0,1\n1,two\n", "line 3: not a price: 'two'"),
        ("ts_ms,BTCUSDT\n0,1\n1,-2\n", "line 3: not a price: '-2'"),
        ("ts_ms,BTCUSDT\n0,nan\n", "line 2: not a price: 'nan'"),
        ("ts_ms,BTCUSDT\n0,1,2\n", "line 2: not a row: '0,1,2'"),
        ("ts_ms,symbol,close\n0,BTCUSDT\n", "line 2: not a row: '0,BTCUSDT'"),
        ("ts_ms,symbol,close\n0,BTCUSDT,\n", "line 2: not a price: ''"),
        ("recv_ts_ms,symbol,bid,ask\n0,BTCUSDT,1\n", "line 2: not a row: '0,BTCUSDT,1'"),
        ("recv_ts_ms,symbol,bid,ask\n0,BTCUSDT,1,inf\n", "line 2: not a price: 'inf'"),
    ],
)
def test_a_bad_tape_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(TapeError) as error:
        TapeMarket(file)
    assert str(file) in str(error.value)
    assert message in str(error.value)


def test_at_speed_the_last_price_is_current_and_extremes_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "fast.csv"
    rows = [100 + (50 if n == 7_001 else 0) - (50 if n == 3_333 else 0) + n % 7 for n in range(10_000)]
    file.write_text("ts_ms,BTCUSDT\n" + "".join(f"{n * 1000},{price}\n" for n, price in enumerate(rows)))
    tape = TapeMarket(file)
    moves = tape.advance(10**9)
    prices = [int(price) for _, _, price in moves]
    assert len(prices) <= 3 * MOST_MOVES
    assert prices[-1] == rows[-1]
    assert min(prices) == min(rows)
    assert max(prices) == max(rows)
    assert [at for at, _, _ in moves] == sorted(at for at, _, _ in moves)


def test_an_order_rests_through_a_tape_and_fills_between_two_looks(tmp_path: Path) -> None:
    file = tmp_path / "dip.csv"
    rows = [100] * 50 + [96] + [100] * 50
    file.write_text("ts_ms,SOLUSDT\n" + "".join(f"{n * 60_000},{price}\n" for n, price in enumerate(rows)))
    exchange = Exchange(TapeMarket(file), [Account()], speed=60_000)
    client = Client(Binance(exchange))
    placed = client.place("SOLUSDT", "BUY", "10", "97").data
    client.now += 10**9
    order = client.call("GET", "/fapi/v1/order", symbol="SOLUSDT", orderId=placed["orderId"]).data
    assert order["status"] == "FILLED"
    assert exchange.market.ended
    assert exchange.books["SOLUSDT"].mark == 100


@pytest.mark.parametrize(
    ("name", "symbols", "first"),
    [
        ("binance_8perps_1m_2025-05.csv.gz", 8, "BTCUSDT"),
        ("bybit_8perps_1h_mark.csv.gz", 8, "AAVEUSDT"),
        ("bybit_8perps_5m_close_wide.csv.gz", 8, "AAVEUSDT"),
        ("episode_2025-10-10_bybit_8perps_5m.csv.gz", 8, "AAVEUSDT"),
        ("hf_binance_2024-08-08_bbo.csv.gz", 2, "ETHUSDT"),
        ("hf_binance_2026-02-16_bbo_100ms.csv.gz", 1, "BTCUSDT"),
    ],
)
def test_recorded_history_plays(name: str, symbols: int, first: str) -> None:
    tape = TapeMarket(history(name))
    assert len(tape.symbols) == symbols
    assert tape.symbols[0] == first
    exchange = Exchange(tape, [Account()], speed=100_000)
    client = Client(Binance(exchange))
    session = client.connect("/market/ws/!markPrice@arr@1s")
    client.wait(2_000)
    assert len(client.take(session)) == 2
    assert tape.start_ms is not None
    client.now += (tape.end_ms - tape.start_ms) * 10
    client.wait()
    assert tape.ended


def test_the_statistics_of_a_day_look_back_twenty_four_hours() -> None:
    client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}))))

    def prices() -> list[str]:
        row = client.call("GET", "/fapi/v1/ticker/24hr", symbol="BTCUSDT").data
        return [row[name] for name in ("openPrice", "highPrice", "lowPrice", "lastPrice")]

    client.binance.exchange.set_mark("BTCUSDT", 90_000)
    assert prices() == ["80000.0", "90000.0", "80000.0", "90000.0"]
    client.wait(25 * 3_600_000)
    client.binance.exchange.set_mark("BTCUSDT", 85_000)
    assert prices() == ["90000.0", "90000.0", "85000.0", "85000.0"]
    client.wait(25 * 3_600_000)
    assert prices() == ["85000.0"] * 4, "nothing has moved in it"


def test_the_turnover_of_a_day_fits_its_mean_price() -> None:
    client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000, "SOLUSDT": 100}))))
    bitcoin, sol = client.call("GET", "/fapi/v1/ticker/24hr").data
    assert (bitcoin["volume"], bitcoin["quoteVolume"]) == ("150000.000", "12000000000")
    assert Decimal(sol["volume"]) * Decimal(sol["weightedAvgPrice"]) == Decimal(sol["quoteVolume"]) == 3 * 10**9
