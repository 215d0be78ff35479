from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.events import Position, Side
from agent.core.instruments import Tier, maintenance
from agent.core.margin import (
    EXIT,
    Exposure,
    common_distance,
    danger,
    distance,
    distances,
    exposure,
    exposures,
    joint,
    most_lots,
    most_value,
    relief,
    sigma_distance,
    tier_of,
)
from tests.core.kit import MISSION, START, TIERS, book_of, instrument, vectors


def table(rows: list[list[float]]) -> tuple[Tier, ...]:
    """The tiers of [floor, cap, rate] rows, with the deductions that make the table continuous."""
    tiers: list[Tier] = []
    for floor, cap, rate in rows:
        before = tiers[-1] if tiers else Tier(0, 0, rate, 0, 0)
        deduction = before.deduction + floor * (rate - before.rate)
        tiers.append(Tier(floor=floor, cap=cap or float("inf"), rate=rate, deduction=deduction, leverage=1))
    return tuple(tiers)


# The tables


@pytest.mark.parametrize(("notional", "margin"), [(60_000, 250), (1_000_000, 5_550), (10_000, 40)])
def test_maintenance_margin_is_the_published_figure_of_the_btc_table(notional: float, margin: float) -> None:
    assert maintenance(TIERS, notional) == pytest.approx(margin)


@pytest.mark.parametrize("case", vectors("margin", "mm"))
def test_maintenance_margin_is_as_in_the_vectors(case: Any) -> None:
    assert maintenance(table(case["input"]["tiers"]), case["input"]["notional"]) == pytest.approx(case["expected"])


@pytest.mark.parametrize("case", vectors("margin", "cum"))
def test_the_deductions_of_the_vectors_make_the_table_continuous(case: Any) -> None:
    rows = case["input"]["tiers"]
    tiers = table(rows)
    assert [tier.deduction for tier in tiers] == pytest.approx(case["expected"])
    for tier, following in pairwise(tiers):
        below = tier.cap * tier.rate - tier.deduction
        assert maintenance(tiers, tier.cap) == pytest.approx(below)
        assert below == pytest.approx(tier.cap * following.rate - following.deduction)


def test_without_a_table_the_maintenance_margin_is_unknown_and_not_nothing() -> None:
    assert maintenance((), 1_000.0) is None
    assert tier_of((), 1_000.0) is None


@pytest.mark.parametrize(
    ("notional", "leverage"), [(0, 125), (49_999, 125), (50_000, 100), (2_999_999, 75), (9_000_000, 75)]
)
def test_a_notional_falls_into_the_bracket_that_it_has_reached(notional: float, leverage: int) -> None:
    tier = tier_of(TIERS, notional)
    assert tier is not None
    assert tier.leverage == leverage


@pytest.mark.parametrize(
    ("setting", "most"), [(126, 0.0), (125, 50_000), (101, 50_000), (100, 600_000), (76, 600_000), (75, 3e6), (1, 3e6)]
)
def test_the_leverage_setting_bounds_what_may_be_held(setting: int, most: float) -> None:
    row = book_of(MISSION).rows[0]
    row.leverage = setting
    assert most_value(row) == most
    assert most_lots(row) * 60 < max(most, 1) <= max(most_lots(row) * 60 + 60, 1)


@pytest.mark.parametrize(("tiers", "setting"), [((), 20), (TIERS, None)])
def test_what_is_not_known_bounds_nothing(tiers: tuple[Tier, ...], setting: int | None) -> None:
    row = book_of(MISSION).rows[0]
    row.tiers, row.leverage = tiers, setting
    assert most_value(row) == most_lots(row) == float("inf")


# Exposures


def test_what_is_held_is_valued_at_mark_in_the_quote_currency() -> None:
    book = book_of({**MISSION, "ETHUSDT": -2.0})
    long, short, _ = exposures(book.accounts[0]) or []
    assert (long.long, long.short, long.falls) == (19_500.0, 0.0, True)
    assert (short.long, short.short, short.falls) == (0.0, 6_000.0, False)
    assert long.initial == pytest.approx(19_500 / 20)
    assert long.maintenance == pytest.approx(78.0)
    contract = instrument(0, "BTCUSDT", inverse=True)
    coin = exposure(book_of({"BTCUSDT": 100.0}, instruments=[contract]).rows[0])
    assert coin is not None
    assert coin.long == 100


def test_both_rows_of_a_hedged_instrument_need_margin() -> None:
    book = book_of({"BTCUSDT": 0.3}, hedge=True)
    book.apply(Position(0, Side.SHORT, -200, 60_000.0, START), START)
    (one,) = exposures(book.accounts[0]) or []
    assert (one.long, one.short) == (18_000.0, 12_000.0)
    assert one.maintenance == pytest.approx(30_000 * 0.004)
    assert one.initial == pytest.approx(1_500.0)
    half = one.scaled(0.5)
    assert (half.long, half.short) == (15_000.0, 12_000.0), "the larger side alone is traded"
    other = replace(one, long=12_000.0, short=18_000.0).scaled(0.5)
    assert (other.long, other.short) == (12_000.0, 15_000.0)


def test_changes_count_as_if_they_had_traded() -> None:
    found = exposures(book_of(MISSION).accounts[0], {(0, Side.NET): -425, (1, Side.NET): 1_000}) or []
    assert [(one.long, one.short) for one in found] == [(0.0, 6_000.0), (9_000.0, 0.0), (4_500.0, 0.0)]


@pytest.mark.parametrize("missing", ["mark", "instrument", "tiers"])
def test_while_a_number_is_missing_the_exposure_is_unknown_unless_nothing_is_held(missing: str) -> None:
    book = book_of({"BTCUSDT": 0.325, "ETHUSDT": 0.0})
    for row in book.rows:
        setattr(row, missing, () if missing == "tiers" else None)
    assert exposure(book.rows[0]) is None
    assert exposures(book.accounts[0]) is None
    nothing = exposure(book.rows[1])
    assert nothing is not None
    assert (nothing.initial, nothing.maintenance, nothing.taken(0.5)) == (0.0, 0.0, 0.0)


def test_without_a_leverage_setting_initial_margin_is_without_bound() -> None:
    assert Exposure(long=1.0, tiers=TIERS).initial == float("inf")


# Liquidation

SNAPSHOT = {case["name"].split()[0]: case for case in (p.values[0] for p in vectors("margin", "cum")) if case}
"""Cases with the tables that the cases of liquidation distance name."""


def held(notionals: Sequence[float], tables: Sequence[tuple[Tier, ...]]) -> list[Exposure]:
    return [
        Exposure(long=max(0.0, n), short=max(0.0, -n), tiers=tiers, leverage=20)
        for n, tiers in zip(notionals, tables, strict=True)
    ]


def flat(rate: float) -> tuple[Tier, ...]:
    return (Tier(floor=0, cap=1e15, rate=rate, deduction=0, leverage=125),)


@pytest.mark.parametrize("case", vectors("liq_distance", "liq_distance"))
def test_distances_are_as_in_the_vectors(case: Any) -> None:
    given_, expected = case["input"], case["expected"]
    tables = [table(SNAPSHOT[name]["input"]["tiers"]) for name in given_["tiers"]]
    portfolio = held(given_["notional"], tables)
    found = distances(given_["equity"], portfolio)
    assert sum(one.maintenance for one in portfolio) == pytest.approx(expected["mm"], rel=1e-9)
    wanted = [*expected["per_asset"], expected["all_down"], expected["all_up"], expected["joint_adverse"]]
    seen = [*found.alone, found.down, found.up, found.joint]
    assert [away is None for away in seen] == [away is None for away in wanted]
    assert [away or 0.0 for away in seen] == pytest.approx([away or 0.0 for away in wanted], rel=1e-9)
    sds, pairs = {"BTC": 0.6, "ETH": 0.8, "SOL": 1.0}, {"BTCETH": 0.82, "BTCSOL": 0.72, "ETHSOL": 0.76}
    coins = [name.removesuffix("USDT") for name in given_["tiers"]]
    covariance = [
        [sds[a] * sds[b] * (1.0 if a == b else pairs.get(a + b, pairs.get(b + a, 0.0))) for b in coins] for a in coins
    ]
    assert sum(one.maintenance for one in portfolio) / given_["equity"] == pytest.approx(expected["margin_ratio"])
    assert sigma_distance(given_["equity"], portfolio, np.array(covariance)) == pytest.approx(
        expected["sigma_distance_1d"]
    )


def test_the_distance_in_standard_deviations_knows_what_a_hedge_is_worth() -> None:
    covariance = np.array([[0.36, 0.36 * 0.5], [0.36 * 0.5, 0.36]])
    long = sigma_distance(10_000.0, held([10_000.0, 10_000.0], [flat(0.004)] * 2), covariance)
    hedged = sigma_distance(10_000.0, held([10_000.0, -10_000.0], [flat(0.004)] * 2), covariance)
    assert long == pytest.approx(0.992 / (0.6 * (3 / 365) ** 0.5))
    assert hedged == pytest.approx(0.992 / (0.6 * (1 / 365) ** 0.5))
    month = sigma_distance(10_000.0, held([10_000.0, 10_000.0], [flat(0.004)] * 2), covariance, days=30.0)
    assert month == pytest.approx((long or 0.0) / 30**0.5)
    assert sigma_distance(10_000.0, held([0.0, 0.0], [TIERS] * 2), covariance) is None


@pytest.mark.parametrize("case", vectors("margin", "liq_exact"))
def test_the_distance_leads_to_the_exact_liquidation_price(case: Any) -> None:
    given_ = case["input"]
    (one,) = held([given_["qty"] * given_["mark"]], [table(given_["tiers"])])
    away = joint(given_["equity_minus_other_mm"], [[one]])
    assert away is not None
    price = given_["mark"] * (1 - away if given_["qty"] > 0 else 1 + away)
    assert price == pytest.approx(case["expected"]["price"], rel=1e-9)


@pytest.mark.parametrize("case", vectors("margin", "liq_binance"))
def test_the_distance_leads_to_the_published_liquidation_price(case: Any) -> None:
    """Binance's formula with the bracket given: one line of the table, all else taken from the wallet."""
    g = case["input"]
    line = (Tier(floor=0, cap=1e15, rate=g["mmr"], deduction=g["cum"], leverage=1),)
    (one,) = held([g["side"] * g["size"] * g["entry"]], [line])
    away = joint(g["WB"] - g["TMM1"] + g["UPNL1"], [[one]])
    assert away is not None
    assert g["entry"] * (1 - g["side"] * away) == pytest.approx(case["expected"], rel=1e-9)


@pytest.mark.parametrize("case", vectors("margin", "inv_liq_cross"))
def test_the_distance_of_an_inverse_contract_is_as_in_the_vectors(case: Any) -> None:
    g = case["input"]
    coins = g["qty_usd"] / g["entry"]
    one = Exposure(max(0.0, coins), max(0.0, -coins), flat(g["mmr"]), 20, inverse=True)
    away = joint(g["coin"], [[one]])
    expected = case["expected"]["price"]
    if expected is None:
        assert away is None
    else:
        assert away is not None
        assert g["entry"] * (1 - away if coins > 0 else 1 + away) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("leverages", "expected"),
    [
        ([3.0], (1 - 0.012) / (3 * 0.996)),
        ([-3.0], (1 - 0.012) / (3 * 1.004)),
        ([1.5, 0.9, 0.6], (1 - 0.012) / (3 * 0.996)),
        ([3.0, -3.0], (1 - 0.024) / 6),
        ([0.9], None),
        ([], None),
    ],
)
def test_the_joint_distance_in_closed_form(leverages: list[float], expected: float | None) -> None:
    portfolio = held([10_000 * w for w in leverages], [flat(0.004)] * len(leverages))
    assert distances(10_000.0, portfolio).joint == pytest.approx(expected)


def test_the_nearest_of_the_single_distances_is_named() -> None:
    found = distances(10_000.0, held([15_000, 30_000, 4_000], [flat(0.004)] * 3))
    assert found.nearest == (1, found.alone[1])
    assert (found.alone[1] or 1.0) < (found.alone[0] or 0.0)
    assert found.alone[2] is None
    assert distances(10_000.0, held([5_000], [flat(0.004)])).nearest is None


def test_a_short_is_hurt_by_a_rise_of_more_than_its_price_and_by_no_fall() -> None:
    found = distances(10_000.0, held([-2_000.0], [flat(0.004)]))
    assert found.up == found.joint == found.alone[0] == pytest.approx((1 - 0.0008) / (0.2 * 1.004))
    assert found.down is None


def test_an_account_that_is_liquidated_already_has_no_distance_left() -> None:
    assert distances(100.0, held([30_000.0], [flat(0.004)])).joint == 0.0
    assert distance(-1.0, lambda s: 0.0, 1.0) == 0.0


def test_the_margin_that_counts_is_that_of_the_tier_at_the_liquidation_price() -> None:
    """Short 1 BTC at 60,000: at 65,500 there are 5,500 lost, and 310 are needed in the next tier (262 in this one)."""
    steep = (Tier(0, 65_000, 0.004, 0, 125), Tier(65_000, 1e9, 0.1, 6_240, 10))
    assert distances(5_810.0, held([-60_000.0], [steep])).joint == pytest.approx(5_500 / 60_000)


@pytest.mark.parametrize("case", vectors("sequencing", "sequence"))
def test_initial_margin_along_a_sequence_is_as_in_the_vectors(case: Any) -> None:
    given_, path = case["input"], []
    notionals = [float(n) for n in given_["notional"]]
    for trade in [None, *case["expected"]["legs"]]:
        if trade is not None:
            notionals[trade["i"]] += trade["usd"]
        rows = zip(held(notionals, [TIERS] * len(notionals)), given_["leverage"], strict=True)
        path.append(sum(replace(one, leverage=int(setting)).initial for one, setting in rows))
    assert path == pytest.approx(case["expected"]["im_path"])
    assert max(path) <= case["expected"]["bound"] + 1e-9


leverage_of = st.floats(-20, 20).filter(lambda w: abs(w) > 1e-3)


@given(st.lists(leverage_of, min_size=1, max_size=4), st.floats(1.01, 5))
def test_the_distance_shrinks_with_leverage(weights: list[float], more: float) -> None:
    tables = [TIERS] * len(weights)
    less = distances(10_000.0, held([10_000 * w for w in weights], tables))
    wide = distances(10_000.0, held([10_000 * more * w for w in weights], tables))
    if less.joint is not None:
        assert wide.joint is not None
        assert wide.joint < less.joint or less.joint == 0.0
    singles = [away for away in less.alone if away is not None]
    if singles:
        assert less.joint is not None
        assert less.joint <= min(singles) + 1e-12


@given(st.lists(leverage_of, min_size=1, max_size=4))
def test_at_the_distance_equity_just_covers_maintenance_margin(weights: list[float]) -> None:
    portfolio = held([10_000 * w for w in weights], [TIERS] * len(weights))
    away = distances(10_000.0, portfolio).joint
    if away:
        assert sum(one.against(away) for one in portfolio) == pytest.approx(10_000)
        assert sum(one.against(away * 0.999) for one in portfolio) < 10_000


# Inverse contracts, and what venues have published


@pytest.mark.parametrize("case", vectors("margin", "arith"))
def test_the_published_deduction_makes_the_coin_table_continuous(case: Any) -> None:
    """Binance COIN-M BTCUSD: 2.5 % less 0.56 BTC up to 50 BTC, then 5 % less what makes the two meet."""
    tiers = (Tier(0, 50, 0.025, 0.56, 25), Tier(50, 100, 0.05, case["expected"], 10))
    below, above = (tier.rate * 50 - tier.deduction for tier in tiers)
    assert below == pytest.approx(above)
    assert maintenance(tiers, 60.0) == pytest.approx(60 * 0.05 - case["published"])


@pytest.mark.parametrize("case", vectors("margin", "bybit_rates"))
def test_account_rates_are_as_in_the_vectors(case: Any) -> None:
    """Bybit adds the estimated fee of closing at the bankruptcy price to initial margin; the product leaves it out."""
    g, want = case["input"], case["expected"]
    one = Exposure(g["position_value"], 0.0, flat(g["mm"] / g["position_value"]), g["leverage"])
    fee = g["taker"] * g["position_value"] * (1 - 1 / g["leverage"])
    assert one.initial + fee == pytest.approx(want["im"])
    assert (one.initial + fee) / g["margin_balance"] == pytest.approx(want["im_rate"])
    assert one.maintenance / g["margin_balance"] == pytest.approx(want["mm_rate"])


def price_at(entry: float, one: Exposure, equity: float) -> float:
    """The price at which a pool of this equity is used up by the position that was opened at ``entry``."""
    away = joint(equity, [[one]])
    assert away is not None
    return entry * (1 - away if one.falls else 1 + away)


@pytest.mark.parametrize("case", vectors("margin", "inv_cross"))
def test_the_old_published_example_of_an_inverse_cross_position(case: Any) -> None:
    """Bankruptcy leaves the closing fee; maintenance margin was that of the entry, and a fee at bankruptcy."""
    g, want = case["input"], case["expected"]
    value = g["qty"] / g["entry"]
    bankruptcy = price_at(g["entry"], Exposure(value, 0.0, flat(g["fee"]), 20, inverse=True), g["balance"])
    assert bankruptcy == pytest.approx(want["bankruptcy"], rel=1e-9)
    left = g["balance"] - value * g["mmr"] - g["qty"] / bankruptcy * g["fee"]
    price = price_at(g["entry"], Exposure(value, 0.0, flat(0.0), 20, inverse=True), left)
    assert price == pytest.approx(want["liquidation_unrounded"], rel=1e-9)
    half_ticks = instrument(tick=Decimal("0.5")).ticks_within(price, buying=False)
    assert half_ticks * 0.5 == want["liquidation_tick"]


@pytest.mark.parametrize("case", vectors("margin", "inv_isolated"))
def test_the_published_example_of_an_isolated_inverse_position(case: Any) -> None:
    """Maintenance margin is that of the entry."""
    g, want = case["input"], case["expected"]
    value = g["qty"] / g["entry"]
    one = Exposure(value, 0.0, flat(g["mmr"]), g["lev"], inverse=True)
    assert (value, one.initial, one.maintenance) == pytest.approx(
        (want["position_value"], want["im"], want["mm"]), rel=1e-9
    )
    long = Exposure(value, 0.0, flat(0.0), g["lev"], True, isolated_long=one.initial - one.maintenance)
    short = Exposure(0.0, value, flat(0.0), g["lev"], True, isolated_short=one.initial - one.maintenance)
    down, up = joint(9.0, [[long]]), joint(9.0, [[short]])
    assert g["entry"] * (1 - (down or 0.0)) == pytest.approx(want["liq_long"], rel=1e-9)
    assert g["entry"] * (1 + (up or 0.0)) == pytest.approx(want["liq_short"], rel=1e-9)


def test_an_inverse_long_is_liquidated_where_coins_no_longer_cover_its_growing_value() -> None:
    """100 000 USD long at 50 000 with one coin: p = q (1 + m) / (C + q / entry); short 40 000: at no price."""
    long = Exposure(2.0, 0.0, flat(0.01), 20, inverse=True)
    assert price_at(50_000.0, long, 1.0) == pytest.approx(100_000 * 1.01 / 3)
    assert joint(1.0, [[Exposure(0.0, 0.8, flat(0.01), 20, inverse=True)]]) is None


# Isolated positions


def isolated(wallet: float = 900.0, size: float = 0.3, *, entry: float = 60_000.0, **options: Any) -> Book:
    """A BTC position with a wallet of its own beside 2 ETH that the account covers; equity 10 000 with all."""
    book = book_of({"BTCUSDT": size, "ETHUSDT": 2.0}, **options)
    side = Side.NET if not options.get("hedge") else Side.LONG if size > 0 else Side.SHORT
    book.apply(Position(0, side, round(size * 1_000), entry, START, isolated=wallet), START)
    return book


def test_an_isolated_position_is_a_pool_of_its_own_with_its_own_distance() -> None:
    book = isolated()
    btc, eth = exposures(book.accounts[0]) or []
    assert (btc.isolated_long, btc.isolated_short, btc.locked, eth.locked) == (900.0, None, 900.0, 0.0)
    found = distances(10_000.0, [btc, eth])
    own = (900 - 18_000 * 0.004) / (18_000 * 0.996)
    assert found.alone[0] == pytest.approx(own)
    assert found.joint == found.down == found.alone[0]
    assert found.up is None
    assert found.nearest == (0, found.alone[0])
    assert found.alone[1] is None, "its 6 000 are covered by 9 100"
    assert common_distance(10_000.0, [[btc], [eth]]) is None


def test_its_wallet_is_no_equity_of_the_others() -> None:
    cross, own = held([50_000.0], [flat(0.004)])[0], Exposure(1.0, 0.0, flat(0.0), 1, isolated_long=4_000)
    found = distances(10_000.0, [cross, own])
    assert found.alone[0] == pytest.approx((6_000 - 200) / (50_000 * 0.996))
    assert found.joint == found.alone[0]


def test_its_profit_belongs_to_its_pool() -> None:
    (btc, _) = exposures(isolated(entry=59_000.0).accounts[0]) or []
    assert btc.isolated_long == pytest.approx(900 + 300)
    (short, _) = exposures(isolated(size=-0.3, entry=59_000.0).accounts[0]) or []
    assert short.isolated_short == pytest.approx(900 - 300)
    assert short.own_distance() == pytest.approx((600 - 72) / (18_000 * 1.004))
    assert distances(10_000.0, [short]).up == short.own_distance()
    assert distances(10_000.0, [short]).down is None


def test_without_its_entry_the_equity_of_an_isolated_position_is_unknown() -> None:
    book = isolated()
    book.rows[0].holdings[Side.NET].entry = None
    assert exposure(book.rows[0]) is None
    assert exposure(book.rows[0], {Side.NET: 0}) == Exposure()


def test_rows_of_a_hedged_instrument_are_liquidated_apart() -> None:
    book = isolated(wallet=3_000.0, hedge=True)
    book.apply(Position(0, Side.SHORT, -300, 60_000.0, START, isolated=600.0), START)
    (btc, _) = exposures(book.accounts[0]) or []
    assert (btc.isolated_long, btc.isolated_short) == (3_000.0, 600.0)
    found = distances(10_000.0, [btc])
    assert found.up == pytest.approx((600 - 72) / (18_000 * 1.004))
    assert found.down == pytest.approx((3_000 - 72) / (18_000 * 0.996))
    assert found.joint == found.up


def test_one_row_may_be_isolated_while_the_other_is_covered_in_common() -> None:
    one = Exposure(30_000.0, 20_000.0, flat(0.004), 20, isolated_long=5_000.0)
    assert one.shared == (0.0, 20_000.0)
    assert not one.falls
    assert one.maintenance == pytest.approx(80)
    assert one.initial == pytest.approx(5_000 + 1_000)
    assert common_distance(25_000.0, [[one]]) == pytest.approx((20_000 - 80) / (20_000 * 1.004))


@pytest.mark.parametrize(
    ("lots", "locked"),
    [(300, 900.0), (100, 300.0), (500, 900.0 + 0.2 * 60_000 / 20), (0, 0.0), (-100, 0.1 * 60_000 / 20)],
    ids=["as it is", "a part closed", "more opened", "all closed", "turned over"],
)
def test_what_would_be_set_aside_follows_what_would_be_held(lots: int, locked: float) -> None:
    one = exposure(isolated().rows[0], {Side.NET: lots})
    assert one is not None
    assert one.locked == pytest.approx(locked)
    assert one.initial == pytest.approx(locked)


def test_a_flat_row_that_is_isolated_would_set_aside_its_initial_margin() -> None:
    book = isolated()
    book.apply(Position(0, Side.NET, 0, None, START + 1, isolated=0.0), START)
    assert exposure(book.rows[0]) == Exposure()
    one = exposure(book.rows[0], {Side.NET: 10})
    assert one is not None
    assert one.locked == pytest.approx(600 / 20)
    book.rows[0].leverage = None
    unset = exposure(book.rows[0], {Side.NET: 10})
    assert unset is not None
    assert (unset.locked, unset.initial) == (0.0, float("inf"))


def test_an_account_with_nothing_but_isolated_positions_is_in_no_common_danger() -> None:
    one = Exposure(18_000.0, 0.0, flat(0.004), 20, isolated_long=10_000.0 + 1e-9)
    assert danger(10_000.0, [one], 0.11, 0.5) is None
    found = distances(10_000.0, [one])
    assert found.joint == found.down == found.alone[0] == one.own_distance()
    assert found.up is None


def test_the_common_pool_is_in_danger_for_what_it_has_alone() -> None:
    cross, own = held([50_000.0], [flat(0.004)])[0], Exposure(9_000.0, 0.0, flat(0.004), 20, isolated_long=4_500.0)
    assert danger(10_000.0, [cross], 0.11, 0.5) is None
    assert danger(10_000.0, [cross, own], 0.11, 0.5) == "liquidation is 10.6% away; the floor is 11.0%"
    heavy = Exposure(9_000.0, 0.0, flat(0.3), 20)
    assert danger(10_000.0, [heavy], 0.05, 0.3) is None
    assert danger(10_000.0, [heavy, own], 0.05, 0.3) == "maintenance margin is 49.1% of equity; the limit is 30.0%"


def test_an_isolated_pool_near_its_end_is_no_reason_to_reduce_the_others() -> None:
    near = Exposure(18_000.0, 0.0, flat(0.004), 20, isolated_long=500.0)
    assert distances(10_000.0, [near, *held([20_000.0], [flat(0.004)])]).joint == near.own_distance()
    assert (near.own_distance() or 1.0) < 0.03
    assert danger(10_000.0, [near, *held([20_000.0], [flat(0.004)])], 0.11, 0.5) is None


def test_closing_a_part_sets_as_large_a_part_of_its_wallet_free_and_its_distance_stays() -> None:
    one = Exposure(18_000.0, 0.0, flat(0.004), 20, isolated_long=900.0)
    half = one.scaled(0.5)
    assert (half.long, half.isolated_long) == (9_000.0, 450.0)
    assert half.own_distance() == pytest.approx(one.own_distance() or 0.0)
    assert one.scaled(0.0).locked == 0.0
    short = Exposure(0.0, 18_000.0, flat(0.004), 20, isolated_short=900.0).scaled(0.25)
    assert (short.short, short.isolated_short) == (4_500.0, 225.0)


def test_relief_counts_what_is_set_free() -> None:
    cross, own = held([50_000.0], [flat(0.004)])[0], Exposure(9_000.0, 0.0, flat(0.004), 20, isolated_long=4_500.0)
    scale = relief(10_000.0, [cross, own], [1.0, 1.0], 0.11, 0.5)
    assert scale == pytest.approx(10_000 / (50_000 * (0.132 * 0.996 + 0.004) + 4_500))
    untouched = relief(10_000.0, [cross, own], [1.0, None], 0.11, 0.5)
    assert untouched == pytest.approx(5_500 / (50_000 * (0.132 * 0.996 + 0.004)))
    heavy = Exposure(9_000.0, 0.0, flat(0.3), 20)
    by_margin = relief(10_000.0, [heavy, own], [1.0, None], 0.05, 0.3)
    assert by_margin == pytest.approx(0.3 / 1.2 * 5_500 / 2_700)


# Danger and relief


@pytest.mark.parametrize(
    ("leverage", "rate", "reason"),
    [
        (3.0, 0.004, None),
        (5.0, 0.004, None),
        (8.0, 0.004, None),
        (9.0, 0.004, "liquidation is 10.8% away; the floor is 11.0%"),
        (5.0, 0.12, "liquidation is 9.1% away; the floor is 11.0%"),
        (2.0, 0.3, "maintenance margin is 60.0% of equity; the limit is 50.0%"),
        (20.0, 0.1, "liquidation is 0.0% away; the floor is 11.0%"),
    ],
)
def test_danger_is_a_distance_below_the_floor_or_too_much_maintenance_margin(
    leverage: float, rate: float, reason: str | None
) -> None:
    assert danger(10_000.0, held([10_000 * leverage], [flat(rate)]), 0.11, 0.5) == reason


def test_where_there_is_no_danger_nothing_is_scaled() -> None:
    assert relief(10_000.0, held([50_000.0], [flat(0.004)]), [1.0], 0.11, 0.5) == 1.0


def test_relief_in_closed_form() -> None:
    scale = relief(10_000.0, held([100_000.0], [flat(0.004)]), [1.0], 0.1, 0.5)
    assert scale == pytest.approx(1 / (10 * (0.12 * 0.996 + 0.004)))
    by_margin = relief(10_000.0, held([20_000.0], [flat(0.3)]), [1.0], 0.01, 0.5)
    assert by_margin == pytest.approx(0.5 * 5 / 6 / 0.6)


def test_relief_leaves_alone_what_is_on_hold_and_may_be_all_there_is() -> None:
    portfolio = held([60_000.0, 40_000.0], [flat(0.004)] * 2)
    scale = relief(10_000.0, portfolio, [1.0, None], 0.1, 0.5)
    assert 0 < scale < 0.75
    assert relief(10_000.0, held([10_000.0, 95_000.0], [flat(0.004)] * 2), [1.0, None], 0.1, 0.5) == 0.0


def test_relief_is_a_part_of_what_there_was_at_the_start() -> None:
    both = held([60_000.0, 40_000.0], [flat(0.004)] * 2)
    scale = relief(10_000.0, both, [1.0, 1.0], 0.1, 0.5)
    half_done = [both[0].scaled(scale), both[1]]
    assert relief(10_000.0, half_done, [1 / scale, 1.0], 0.1, 0.5) == pytest.approx(scale, abs=1e-8)


@given(
    st.lists(st.tuples(leverage_of, st.booleans()), min_size=1, max_size=4),
    st.floats(0.01, 0.3),
    st.floats(0.01, 0.9),
)
def test_relief_is_the_smallest_that_restores_both_exit_levels(
    rows: list[tuple[float, bool]], floor: float, most: float
) -> None:
    portfolio = held([10_000 * weight for weight, _ in rows], [TIERS] * len(rows))
    free = [may for _, may in rows]
    scale = relief(10_000.0, portfolio, [1.0 if may else None for may in free], floor, most)

    def safe(part: float) -> bool:
        left = [one.scaled(part) if may else one for one, may in zip(portfolio, free, strict=True)]
        away, kept = distances(10_000.0, left).joint, sum(one.maintenance for one in left)
        return (away is None or away >= EXIT * floor - 1e-9) and kept <= most / EXIT * 10_000 + 1e-6

    assert 0 <= scale <= 1
    if scale > 0:
        assert safe(scale)
        assert (
            danger(
                10_000.0,
                [one.scaled(scale) if may else one for one, may in zip(portfolio, free, strict=True)],
                floor,
                most,
            )
            is None
        )
    if scale < 1:
        assert not safe(scale + 1e-5)
