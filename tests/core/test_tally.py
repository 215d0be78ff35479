"""What counts as increased in a day, and how much memory that takes."""

from __future__ import annotations

from agent.core.events import Side
from agent.core.orders import Order, S, Style
from agent.core.tally import DAY_NS, MINUTE_NS, Tally

NOW = 1_790_000_000 * S


def order(*, reduce: bool = False) -> Order:
    return Order(
        id="tt01000100000001x",
        instrument=0,
        symbol="BTCUSDT",
        side=Side.NET,
        lots=10,
        ticks=None,
        style=Style.IOC,
        reduce=reduce,
        created_at=NOW,
        expires_at=NOW + 5 * S,
        value=1000.0,
    )


def test_a_day_of_trades_every_second_is_at_most_a_row_a_minute() -> None:
    tally = Tally()
    for second in range(2 * 24 * 3600):
        now = NOW + second * S
        tally.traded(order(), 1.0, now)
        if second % 600 == 0:
            tally.increased_today((), now)
    assert len(tally._increases) <= 24 * 60 + 12  # those of ten more minutes are still looked at
    day = tally.increased_today((), NOW + (2 * 24 * 3600 - 1) * S)
    assert 24 * 3600 <= day <= 24 * 3600 + 120  # none that is younger than a day is left out


def test_an_increase_counts_for_at_least_a_day_and_at_most_a_minute_longer() -> None:
    tally = Tally()
    tally.traded(order(), 100.0, NOW)
    tally.traded(order(), 50.0, NOW + MINUTE_NS - 1)
    tally.traded(order(reduce=True), 7.0, NOW + MINUTE_NS)
    assert tally.increased_today((), NOW + MINUTE_NS - 1 + DAY_NS) == 150.0
    assert tally.increased_today((), NOW + 2 * MINUTE_NS + DAY_NS) == 0.0
    assert tally.turnover == 157.0
