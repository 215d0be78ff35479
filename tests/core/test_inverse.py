"""An account that is held in a coin: what it is worth, what weighs in it, and where its corrections lead."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.carry import CarryRules
from agent.core.costs import Costs, cost_of, walk
from agent.core.decisions import Policy
from agent.core.drift import Bands, Drift, measure, moved
from agent.core.events import Depth, Filled, Flow, Funding, Interval, Margin, Mark, Position, Quote, Side
from agent.core.instruments import Tier
from agent.core.margin import EXIT, distances, exposures, most_lots
from agent.core.orders import Blotter
from agent.core.planner import Leg, Limits, plain
from agent.core.risk import Situation, judge
from agent.core.settings import Settings
from agent.core.targets import Targets
from agent.core.view import look
from tests.core.kit import START, S, Stage, book_of, instrument, plan_for, reprice, vectors

COIN = instrument(
    symbol="BTCUSD_PERP",
    base="BTC",
    quote="USD",
    settle="BTC",
    inverse=True,
    step=Decimal(1),
    multiplier=Decimal(100),
    min_notional=0.0,
)
TIERS = (
    Tier(floor=0, cap=10, rate=0.004, deduction=0, leverage=125),
    Tier(floor=10, cap=20, rate=0.005, deduction=0.01, leverage=100),
    Tier(floor=20, cap=30, rate=0.01, deduction=0.11, leverage=50),
    Tier(floor=30, cap=50, rate=0.025, deduction=0.56, leverage=20),
)
"""In bitcoin."""
PRICE = 50_000.0
ANY_LEVERAGE = Limits(leverage=100.0, liquidation_distance=0.001, maintenance=0.99, turnover_per_day=1000.0)


def held(contracts: float, coins: float = 1.0, price: float = PRICE, tiers: tuple[Tier, ...] = TIERS) -> Book:
    """A book of so many dollars in contracts, entered at mark, and so many coins."""
    lots = contracts / 100
    return book_of({COIN.symbol: lots}, equity=coins, prices={COIN.symbol: price}, instruments=[COIN], tiers=tiers)


def drift_of(book: Book, target: float = 1.0) -> Drift:
    wish = Targets(weights={COIN.symbol: target / abs(target) if target else 0.0}, leverage=abs(target) or 1.0)
    drift = measure(book, wish, Bands())
    assert drift is not None
    return drift


# What it is worth, and what weighs


@pytest.mark.parametrize("case", vectors("weights", "inverse_weight"))
def test_weights_are_as_in_the_vectors(case: Any) -> None:
    g, want = case["input"], case["expected"]
    drift = drift_of(held(g["contracts_usd"], g["coin_equity"], g["price"]))
    assert drift.weights == pytest.approx([want["weight_effective_usd"]])
    assert drift.contracts == pytest.approx([want["weight_contracts"]])
    assert drift.equity == pytest.approx(g["coin_equity"] * g["price"])


def test_contracts_against_the_whole_collateral_are_a_dollar_account() -> None:
    book = held(-100_000, coins=2.0)
    assert drift_of(book).weights == [0.0]
    for price in (20_000.0, 50_000.0, 90_000.0):
        reprice(book, Mark(0, price, price, START + S))
        assert book.equity == pytest.approx(100_000)


weights = st.floats(-4.0, 5.0)
changes = st.floats(-0.15, 0.3)


@given(weights, st.lists(changes, max_size=5))
def test_a_price_move_changes_equity_and_weight_as_an_exact_revaluation_says(weight: float, path: list[float]) -> None:
    lots = round((weight - 1) * PRICE / 100)
    book, price = held(100 * lots), PRICE
    coins, cash = 1 + 100 * lots / PRICE, -100 * lots  # what the account comes to: coins bought with dollars owed
    expected = [coins * PRICE / (coins * PRICE + cash)]
    for step, change in enumerate(path, 1):
        expected, price = moved(expected, [change]), price * (1 + change)
        worth = coins * price + cash
        if worth < 0.05 * PRICE:
            return
        reprice(book, Mark(0, price, price, START + step * S))
        assert book.equity == pytest.approx(worth)
        assert drift_of(book).weights == pytest.approx(expected, abs=1e-9)


@given(weights, weights, st.floats(0.9, 1.1))
def test_a_trade_moves_the_weight_by_its_face_over_equity(weight: float, then: float, paid: float) -> None:
    before, after = (round((w - 1) * PRICE / 100) for w in (weight, then))
    book = held(100 * before)
    price = PRICE * paid
    fill = Filled("o", 0, "t", after - before, price, 0.0, "BTC", False, abs(after - before), START + S)
    entry = (
        COIN.entry(before, PRICE, after - before, price)
        if before * after > 0 and abs(after) > abs(before)
        else (PRICE if before * after > 0 else price)
    )
    book.apply(fill, START + S)
    book.apply(Position(0, Side.NET, after, entry if after else None, START + S), START + S)
    assert drift_of(book).contracts == pytest.approx(
        [100 * after / PRICE / (book.accounts[0].margin_balance or 0.0)], rel=1e-6
    )


def test_numbers_that_are_missing_stay_missing() -> None:
    book = Book([COIN.symbol])
    assert (book.accounts[0].rate, book.equity) == (1.0, None)
    book.accounts[0].coin = 0
    assert (book.accounts[0].rate, book.equity) == (None, None)
    assert book.rows[0].brackets == ()


# Margin and liquidation


@pytest.mark.parametrize("case", vectors("margin", "inv_liq_cross"))
def test_liquidation_is_where_the_vectors_say(case: Any) -> None:
    g = case["input"]
    flat = (Tier(floor=0, cap=1e9, rate=g["mmr"], deduction=g["cum"], leverage=100),)
    book = held(g["qty_usd"], g["coin"], g["entry"], flat)
    found = distances(book.equity or 0.0, exposures(book.accounts[0]) or [])
    away = found.down if g["qty_usd"] > 0 else found.up
    price = None if away is None else g["entry"] * (1 + (away if g["qty_usd"] < 0 else -away))
    assert price == (case["expected"]["price"] and pytest.approx(case["expected"]["price"]))


def test_margin_by_the_table_in_coins_is_weighed_in_dollars() -> None:
    book = held(1_250_000, coins=3.0)  # 25 bitcoin: 25 x 1 % - 0.11
    (one,) = exposures(book.accounts[0]) or []
    assert one.maintenance == pytest.approx(0.14 * PRICE)
    assert one.initial == pytest.approx(25 / 20 * PRICE)
    assert most_lots(book.rows[0]) == 50 * PRICE / 100 - 1
    book.apply(Margin(3.0, 3.0, 0.0, 0.14, 3.0, START), START)
    assert book.accounts[0].hidden == pytest.approx(0.0, abs=1e-9), "the venue's own total is in coins"
    book.rows[0].holdings[Side.NET].isolated = 2.0
    (own,) = exposures(book.accounts[0]) or []
    assert own.isolated_long == pytest.approx(2.0 * PRICE)


@given(st.floats(1.5, 5.0), st.booleans())
def test_the_distance_to_liquidation_is_that_of_the_weight_whatever_it_is_held_in(size: float, short: bool) -> None:
    """Without maintenance margin: an account of weight w is worth nothing after a move of 1/w against it."""
    weight = -size if short else size
    free = (Tier(floor=0, cap=1e9, rate=0.0, deduction=0.0, leverage=100),)
    book = held(round((weight - 1) * PRICE / 100) * 100, tiers=free)
    away = distances(book.equity or 0.0, exposures(book.accounts[0]) or []).joint
    assert away == pytest.approx(1 / abs(drift_of(book).weights[0]), rel=1e-6)


# Where corrections lead


@pytest.mark.parametrize("start", [1.0, 0.0, 3.0, -2.0])
@pytest.mark.parametrize("target", [1.0, 0.0, 3.0, -1.0, 0.5])
def test_a_plan_leads_to_the_weight_that_is_wanted(start: float, target: float) -> None:
    book = held((start - 1) * PRICE)
    drift = drift_of(book, target)
    todo = plan_for(book, drift, ANY_LEVERAGE, Costs(), guide=plain(drift, to_target=True), part=0.0)
    assert todo.goals == pytest.approx([target], abs=1e-6)
    lots = round((target - start) * PRICE / 100)
    if start == target:
        assert todo.legs == ()
        return
    (leg,) = todo.legs
    before, after = book.rows[0].lots, book.rows[0].lots + lots
    closes = before * lots < 0
    assert leg.reduce is closes, "what reduces is told by the contracts, as at the venue"
    assert leg.lots == (-before if closes and before * after < 0 else lots), "and a flip ends at none first"


def test_leverage_counts_the_coin_before_any_contract() -> None:
    tight = replace(ANY_LEVERAGE, leverage=2.0)
    for target, goal in ((3.0, 2.0), (-3.0, -2.0), (1.5, 1.5), (0.0, 0.0)):
        book = held(0)
        drift = drift_of(book, target)
        found = plan_for(book, drift, tight, Costs(), guide=plain(drift, to_target=True), part=0.0)
        assert found.goals == pytest.approx([goal], abs=1e-6)


@given(weights, weights, st.floats(1.0, 4.0))
def test_no_plan_leads_beyond_the_limit_of_leverage(start: float, target: float, most: float) -> None:
    book = held(round((start - 1) * PRICE / 100) * 100)
    drift = drift_of(book, target)
    limits = replace(ANY_LEVERAGE, leverage=most)
    todo = plan_for(book, drift, limits, Costs(), guide=plain(drift, to_target=True), part=0.0)
    before = drift.weights[0]
    after = before + sum(leg.lots for leg in todo.legs) * 100 / PRICE
    assert abs(after) <= max(most, abs(before)) + 1e-6
    assert abs(after - target) <= abs(before - target) + 0.002 or abs(target) > most, "but for a lot"


@given(st.floats(2.0, 12.0), st.booleans(), st.floats(0.05, 0.3))
def test_a_plan_keeps_as_far_from_liquidation_as_is_asked(size: float, short: bool, floor: float) -> None:
    """Also where the coin itself falls with the contracts, or rises against them."""
    target = -size if short else size
    book = held(0, coins=4.0)
    book.rows[0].leverage = 50
    drift = drift_of(book, target)
    limits = replace(ANY_LEVERAGE, liquidation_distance=floor)
    todo = plan_for(book, drift, limits, Costs(), guide=plain(drift, to_target=True), part=0.0)
    (leg,) = todo.legs
    after = held(leg.lots * 100, coins=4.0)
    away = distances(after.equity or 0.0, exposures(after.accounts[0]) or []).joint
    assert away is None or away >= EXIT * floor - 0.001
    if 1 / size > 2 * EXIT * floor and size < 5:
        assert todo.goals == pytest.approx([target], abs=0.001), "what is safe is not held back"


def gate(book: Book, lots: int, target: float, limits: Limits) -> str | None:
    """The gate that refuses so many contracts more, if one does."""
    leg = Leg(instrument=0, side=Side.NET, lots=lots, reduce=False, notional=abs(lots) * 100, cost=None)
    drift = drift_of(book, target)
    refusal = judge(leg, Situation(book, drift, Blotter(), limits, START, None, 0.0, 0))
    return None if refusal is None else refusal.gate


def test_gates_count_exposure_with_the_coin_and_margin_without() -> None:
    limits = replace(ANY_LEVERAGE, leverage=3.0)
    assert gate(held(0), 1_000, 3.0, limits) is None
    assert gate(held(0), 1_001, 3.0, limits) == "leverage limit"
    assert gate(held(0), -2_000, -3.0, limits) is None
    assert gate(held(0), -2_001, -3.0, limits) == "leverage limit"
    assert gate(held(0), -500, 0.0, limits) is None, "no exposure is wanted, and this takes it away"
    assert gate(held(0), 10, 0.0, limits) == "asset limit"
    assert gate(held(-30_000), 400, 0.0, limits) == "asset limit"
    assert gate(held(-200_000), -400, -9.0, replace(limits, leverage=2.0)) == "leverage limit"
    assert gate(held(0), 10_001, 25.0, ANY_LEVERAGE) == "margin limit"
    assert gate(held(0), 25_000, 90.0, ANY_LEVERAGE) == "tier limit"
    assert gate(held(0), 1_000, 9.0, replace(limits, liquidation_distance=0.4)) == "liquidation limit"


def test_a_leverage_setting_is_chosen_for_the_contracts() -> None:
    settings, book = Settings(100), held(0, coins=18.0)
    book.rows[0].leverage = 100
    assert settings.right(book, drift_of(book, 1.0), 0) == 100, "without contracts there is nothing to be set lower for"
    assert settings.right(book, drift_of(book, 2.0), 0) == 100
    assert settings.right(book, drift_of(book, 2.2), 0) == 50, "21.6 bitcoin and a tenth more"


def test_a_cost_is_what_the_coins_bought_are_short_of() -> None:
    book = held(0)
    levels = ((50_010.0, 100.0), (50_110.0, 300.0))
    book.apply(Quote(0, 49_990.0, 9.0, 50_010.0, 100.0, START), START)
    book.apply(Depth(0, ((49_990.0, 9.0),), levels, START), START)
    cost = cost_of(book.rows[0], 400, Costs(taker=0.0), maker=False)
    assert cost is not None
    coins = 10_000 / 50_010 + 30_000 / 50_110
    assert cost.total == pytest.approx(40_000 - coins * 50_000, rel=0.01)
    assert walk(levels, 400, inverse=True) == pytest.approx((400, 40_000 / coins))


# The whole engine


def policy(target: float, **more: Any) -> Policy:
    wish = Targets(weights={COIN.symbol: target / abs(target) if target else 0.0}, leverage=abs(target) or 1.0)
    return Policy(targets=wish, mode="live", **more)


@pytest.mark.parametrize(("contracts", "target"), [(0, 0.0), (0, 3.0), (100_000, 1.0), (50_000, -1.0), (-150_000, 0.0)])
def test_an_account_is_brought_to_its_weight(contracts: float, target: float) -> None:
    stage = Stage(
        policy(target, bands=Bands(destination="target")),
        {COIN.symbol: contracts / 100},
        equity=1.0,
        prices={COIN.symbol: PRICE},
        instruments=[COIN],
        tiers=TIERS,
    ).ready()
    for _ in range(8):
        orders = stage.wait(20)
        while orders:
            orders = stage.tell(*stage.fill(orders[0]), after=0.1)
    view = look(stage.engine, stage.now)
    assert view.legs[0].weight == pytest.approx(target, abs=0.003)
    assert view.equity == pytest.approx(PRICE, rel=0.001)
    assert view.coins == {"BTC": pytest.approx(1.0, rel=0.001)}
    assert view.turnover == pytest.approx(abs(stage.held[0, Side.NET][0] * 100 - contracts), rel=0.01)
    assert not [note.text for note in stage.notes if note.kind in ("warning", "halt")]


def test_what_does_not_go_together_is_said_and_nothing_is_traded() -> None:
    ether = replace(COIN, index=1, symbol="ETHUSD_PERP", base="ETH", settle="ETH")
    for listed, weights_ in (
        ([COIN, ether], {COIN.symbol: 0.5, ether.symbol: 0.5}),
        ([COIN, instrument(1)], {COIN.symbol: 0.5, "BTCUSDT": 0.5}),
        ([replace(COIN, base="ETH")], {COIN.symbol: 1.0}),
    ):
        stage = Stage(
            Policy(targets=Targets(weights=dict(weights_), leverage=3.0), mode="live"),
            {},
            equity=1.0,
            prices=dict.fromkeys(weights_, PRICE),
            instruments=listed,
        )
        stage.tell()
        assert stage.wait(30) == []
        assert f"an account of its own for {COIN.symbol}" in (stage.engine.unready() or "")


def test_amounts_of_coins_are_told_to_the_last_of_them() -> None:
    stage = Stage(policy(1.0), {}, equity=1.0, prices={COIN.symbol: PRICE}, instruments=[COIN], tiers=TIERS).ready()
    stage.tell(Flow("BTC", 0.00001234, "deposit", stage.now))
    assert "deposit +0.00001234 BTC" in [note.text for note in stage.notes]


@pytest.mark.parametrize(("target", "rate", "aim"), [(0.0, -0.004, 0.2), (3.0, 0.004, 2.6), (1.0, 0.004, 1.0)])
def test_funding_is_paid_on_contracts_and_trims_them_alone(target: float, rate: float, aim: float) -> None:
    """At the cap: contracts of -1 become -0.8, of +2 become +1.6; a coin without contracts pays nothing."""
    stage = Stage(
        policy(target, funding=CarryRules(enter=0.01, exit=0.005)),
        {COIN.symbol: (target - 1) * PRICE / 100},
        equity=1.0,
        prices={COIN.symbol: PRICE},
        instruments=[COIN],
        tiers=TIERS,
    ).ready()
    stage.tell(Interval(0, 8.0))
    for settlement in range(1, 5):
        at = START + settlement * 8 * 3600 * S
        stage.leap(at - stage.now - 60 * S)
        stage.tell(Funding(0, rate, at, stage.now))
        stage.leap(120 * S)
        stage.tell(Funding(0, rate, at + 8 * 3600 * S, stage.now))
    drift = stage.engine.mandate.drift(stage.engine.book, None, stage.now)
    assert drift is not None
    assert drift.aims == pytest.approx([aim])
