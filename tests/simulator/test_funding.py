"""Funding: who pays whom, when, and what is said about it."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.simulator import INSTRUMENTS, Account, Binance, Client, Exchange, SeededMarket, StillMarket
from tests.core.kit import vectors

HOUR_MS = 3_600_000


class Premium(StillMarket):
    """A market that stands still at a premium over its index."""

    value = Decimal(0)

    def premium(self, index: int) -> Decimal:
        return self.value


@pytest.mark.parametrize(
    ("premium", "rate"),
    [("0.0003", "0.0001"), ("0.001", "0.0005"), ("-0.001", "-0.0005"), ("0.05", "0.02")],
)
def test_the_rate_follows_from_the_premium(premium: str, rate: str) -> None:
    market = Premium({"SOLUSDT": 100})
    market.value = Decimal(premium)
    assert Exchange(market).funding_rate("SOLUSDT") == Decimal(rate)


@pytest.mark.parametrize("case", vectors("funding", "funding_rate"))
def test_rates_are_as_in_the_vectors(case: Any) -> None:
    given = case["input"]
    cap = Decimal(str(given["cap"])) if given["cap"] else Decimal(1)
    market = Premium({"SOLUSDT": 100})
    market.value = Decimal(str(given["premium"]))
    listed = replace(INSTRUMENTS["SOLUSDT"], funding_hours=given["hours"], funding_cap=cap)
    rate = Exchange(market, instruments=[listed]).funding_rate("SOLUSDT")
    assert float(rate) == pytest.approx(case["expected"], rel=1e-9)


def test_a_shorter_interval_has_a_smaller_rate() -> None:
    market = Premium({"ENAUSDT": 1})
    market.value = Decimal("0.001")
    assert Exchange(market).funding_rate("ENAUSDT") == Decimal("0.00025")


@pytest.mark.parametrize(
    ("position", "premium", "change"),
    [("100", "0", "-1"), ("-100", "0", "1"), ("100", "-0.0008", "3"), ("-100", "-0.0008", "-3")],
)
def test_longs_pay_when_the_rate_is_positive(position: str, premium: str, change: str) -> None:
    market = Premium({"SOLUSDT": 100})
    market.value = Decimal(premium)
    account = Account(balance=10_000, positions={"SOLUSDT": position})
    client = Client(Binance(Exchange(market, [account])))
    client.wait(8 * HOUR_MS + 10_000)
    truth = client.binance.exchange.snapshot(account)
    assert truth.funding == Decimal(change)
    assert truth.wallet == 10_000 + Decimal(change)


def test_the_money_moves_seconds_later_and_the_event_lists_no_position() -> None:
    account = Account(balance=10_000, positions={"SOLUSDT": "100"})
    client = Client(Binance(Exchange(StillMarket({"SOLUSDT": 100}), [account])))
    due_ms = client.call("GET", "/fapi/v1/premiumIndex", symbol="SOLUSDT").data["nextFundingTime"]
    assert due_ms % (8 * HOUR_MS) == 0
    client.wait(due_ms - client.now // 10**6)
    stream = client.listen()
    assert client.take(stream) == []
    client.wait(10_000)
    (frame,) = client.take(stream)
    assert due_ms + 1_000 <= frame["T"] <= due_ms + 10_000
    assert frame["a"] == {
        "B": [{"a": "USDT", "wb": "9999", "cw": "9999", "bc": "-1"}],
        "P": [],
        "m": "FUNDING_FEE",
        "S": "SOLUSDT",
    }
    row = client.call("GET", "/fapi/v1/income", incomeType="FUNDING_FEE").data[0]
    assert (row["symbol"], row["income"]) == ("SOLUSDT", "-1.00000000")


def test_an_isolated_position_pays_out_of_its_own_wallet_and_is_listed() -> None:
    account = Account(balance=10_000, positions={"SOLUSDT": "100"}, isolated=["SOLUSDT"])
    client = Client(Binance(Exchange(StillMarket({"SOLUSDT": 100}), [account])))
    due_ms = client.call("GET", "/fapi/v1/premiumIndex", symbol="SOLUSDT").data["nextFundingTime"]
    client.wait(due_ms - client.now // 10**6)
    stream = client.listen()
    client.wait(10_000)
    (frame,) = (one["a"] for one in client.take(stream))
    assert (frame["m"], frame["B"]) == ("FUNDING_FEE", [{"a": "USDT", "wb": "9999", "cw": "9500", "bc": "-1"}])
    assert [(row["s"], row["mt"], row["iw"]) for row in frame["P"]] == [("SOLUSDT", "isolated", "499")]


def test_settled_rates_become_history() -> None:
    client = Client(Binance(Exchange(StillMarket({"SOLUSDT": 100}))))
    past = client.call("GET", "/fapi/v1/fundingRate", symbol="SOLUSDT", limit=1000).data
    times = [row["fundingTime"] for row in past]
    assert times == sorted(times)
    assert times[-1] < client.now // 10**6
    client.wait(8 * HOUR_MS)
    later = client.call("GET", "/fapi/v1/fundingRate", symbol="SOLUSDT", limit=1000).data
    assert later[:-1] == past
    assert later[-1]["fundingTime"] - times[-1] == 8 * HOUR_MS
    assert later[-1]["fundingRate"] == "0.00010000"
    assert later[-1]["rateType"] == "Regular"


def test_at_speed_an_interval_is_shorter_on_the_exchanges_clock() -> None:
    account = Account(balance=10_000, positions={"SOLUSDT": "100"})
    exchange = Exchange(StillMarket({"SOLUSDT": 100}), [account], speed=100)
    client = Client(Binance(exchange))
    due_ms = exchange.next_funding_ms("SOLUSDT")
    assert due_ms - client.now // 10**6 <= 8 * HOUR_MS / 100
    client.wait(due_ms - client.now // 10**6)
    assert exchange.next_funding_ms("SOLUSDT") - due_ms == 8 * HOUR_MS / 100
    client.wait(24 * HOUR_MS // 100 + 10_000)
    assert len([row for row in exchange.ledger.income if row.kind == "FUNDING_FEE"]) == 4


def test_a_frozen_market_settles_nothing() -> None:
    account = Account(balance=10_000, positions={"BTCUSDT": "0.1"})
    exchange = Exchange(SeededMarket(1), [account])
    client = Client(Binance(exchange))
    client.wait(1_000)
    exchange.freeze()
    mark = exchange.books["BTCUSDT"].mark
    client.wait(24 * HOUR_MS)
    assert exchange.books["BTCUSDT"].mark == mark
    assert exchange.snapshot(account).funding == 0
    exchange.thaw()
    client.wait(1_000)
    assert exchange.books["BTCUSDT"].mark != mark
    assert exchange.snapshot(account).funding == 0


def test_intervals_differ_by_symbol() -> None:
    client = Client(Binance(Exchange(StillMarket({"ENAUSDT": 1, "SOLUSDT": 100}))))
    rows = client.call("GET", "/fapi/v1/fundingInfo").data
    assert {row["symbol"]: row["fundingIntervalHours"] for row in rows} == {
        "ENAUSDT": 4,
        "SOLUSDT": 8,
    }
