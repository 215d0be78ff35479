from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.events import Position, Side
from agent.core.instruments import Tier
from agent.core.margin import (
    EXIT,
    Exposure,
    danger,
    distance,
    distances,
    exposure,
    exposures,
    joint,
    maintenance,
    most_lots,
    most_value,
    relief,
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


def test_what_is_held_is_valued_at_mark_in_the_settlement_currency() -> None:
    book = book_of({**MISSION, "ETHUSDT": -2.0})
    long, short, _ = exposures(book) or []
    assert (long.long, long.short, long.falls) == (19_500.0, 0.0, True)
    assert (short.long, short.short, short.falls) == (0.0, 6_000.0, False)
    assert long.initial == pytest.approx(19_500 / 20)
    assert long.maintenance == pytest.approx(78.0)
    contract = instrument(0, "BTCUSDT", inverse=True)
    coin = exposure(book_of({"BTCUSDT": 100.0}, instruments=[contract]).rows[0])
    assert coin is not None
    assert coin.long == pytest.approx(100 / 60_000)


def test_both_rows_of_a_hedged_instrument_need_margin() -> None:
    book = book_of({"BTCUSDT": 0.3}, hedge=True)
    book.apply(Position(0, Side.SHORT, -200, 60_000.0, START), START)
    (one,) = exposures(book) or []
    assert (one.long, one.short) == (18_000.0, 12_000.0)
    assert one.maintenance == pytest.approx(30_000 * 0.004)
    assert one.initial == pytest.approx(1_500.0)
    half = one.scaled(0.5)
    assert (half.long, half.short) == (15_000.0, 12_000.0), "the larger side alone is traded"
    other = replace(one, long=12_000.0, short=18_000.0).scaled(0.5)
    assert (other.long, other.short) == (12_000.0, 15_000.0)


def test_changes_count_as_if_they_had_traded() -> None:
    found = exposures(book_of(MISSION), {(0, Side.NET): -425, (1, Side.NET): 1_000}) or []
    assert [(one.long, one.short) for one in found] == [(0.0, 6_000.0), (9_000.0, 0.0), (4_500.0, 0.0)]


@pytest.mark.parametrize("missing", ["mark", "instrument", "tiers"])
def test_while_a_number_is_missing_the_exposure_is_unknown_unless_nothing_is_held(missing: str) -> None:
    book = book_of({"BTCUSDT": 0.325, "ETHUSDT": 0.0})
    for row in book.rows:
        setattr(row, missing, () if missing == "tiers" else None)
    assert exposure(book.rows[0]) is None
    assert exposures(book) is None
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
