"""The strategies at work: capital, what each owns, how each does."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.events import Balance, Filled, Flow, Funding, Interval, Mark, Position, Side
from agent.core.health import Condition, Health, State
from agent.core.ledger import DAY_NS
from agent.core.sleeves import NEAR_NS, Sleeves, SleevesState, Turn, portions, settling, worths_of
from agent.core.targets import Rows, Strategy, Targets, matrix_of
from tests.core.kit import START, S, book_of, order, reprice

BTC, ETH = "BTCUSDT", "ETHUSDT"
SYMBOLS = [BTC, ETH]
TARGETS = Targets(
    strategies={
        "trend": Strategy(capital=0.6, weights={BTC: 1.0}),
        "spread": Strategy(capital=0.4, weights={ETH: 0.5, BTC: -0.5}),
    }
)
"""Of 10 000: trend wants 6 000 of bitcoin (100 lots of 60), spread 2 000 of ether (667 lots of 3) and -2 000 of
bitcoin (-33 lots)."""
HOURS_8 = 8 * 3_600 * S


def account(**positions: float) -> Book:
    return book_of({BTC: positions.get("btc", 0.0), ETH: positions.get("eth", 0.0)})


def wishes(targets: Targets = TARGETS, capital: list[float] | None = None) -> Rows:
    matrix = matrix_of(targets, SYMBOLS, [None, None], capital)
    assert matrix is not None
    return matrix


def met(book: Book, targets: Targets = TARGETS) -> Sleeves:
    """The strategies of an account that was met, shared out and whose positions changed hands."""
    sleeves = Sleeves(targets, SYMBOLS)
    sleeves.adopt(book)
    sleeves.settle(book, wishes(targets, sleeves.capital))
    return sleeves


def funded(book: Book) -> Sleeves:
    """Strategies that have their capital and own no position yet."""
    sleeves, worths = Sleeves(TARGETS, SYMBOLS), worths_of(book)
    sleeves.adopt(book)
    assert worths is not None
    sleeves.ledger.restore(sleeves.capital, worths)
    return sleeves


def owned(sleeves: Sleeves, index: int = 0) -> list[int]:
    """Lots by owner, the unassigned last."""
    return [owner.lots[index] for owner in sleeves.ledger.owners]


def equities(sleeves: Sleeves, book: Book) -> list[float]:
    worths = worths_of(book)
    assert worths is not None
    return [owner.equity(worths) for owner in sleeves.ledger.owners]


def mark(book: Book, price: float, now: int = START, index: int = 0) -> None:
    reprice(book, Mark(instrument=index, price=price, index=price, at=now), now)


def trade(lots: int, *, fee: float = 0.0, asset: str = "USDT", index: int = 0, price: float = 60_000.0) -> Filled:
    return Filled("o1", index, "t1", lots, price, fee, asset, False, abs(lots), START)


# Portions: wishes that add up to what is held


def test_wishes_that_add_up_already_stay_as_they_are() -> None:
    assert portions([100.0, -30.0], 70.0, [0.5, 0.5]) == [100.0, -30.0]


def test_what_is_too_much_comes_first_from_the_wishes_on_the_other_side() -> None:
    assert portions([100.0, -20.0, -20.0], 80.0, [0.3] * 3) == [100.0, -10.0, -10.0]
    assert portions([100.0, 50.0, -20.0], 55.0, [0.3] * 3) == [50.0, 25.0, -20.0]


def test_what_is_left_when_the_other_side_has_nothing_is_divided_by_the_size_of_the_wishes() -> None:
    assert portions([30.0, 10.0, -20.0], 80.0, [0.3] * 3) == [60.0, 20.0, 0.0]
    assert portions([30.0, 10.0], -8.0, [0.9, 0.1]) == pytest.approx([-7.2, -0.8]), "wishes of nothing: by capital"


def test_what_nobody_wants_is_divided_by_capital_and_evenly_where_there_is_none() -> None:
    assert portions([0.0, 0.0], 10.0, [0.6, 0.4]) == [6.0, 4.0]
    assert portions([0.0, 0.0], 10.0, [0.0, 0.0]) == [5.0, 5.0]


LOTS = st.lists(st.integers(-1_000, 1_000).map(float), min_size=2, max_size=5)


@given(LOTS, st.integers(-3_000, 3_000).map(float))
def test_portions_add_up_and_nobody_has_more_than_it_wants_unless_more_is_held_than_all_want(
    wanted: list[float], final: float
) -> None:
    found = portions(wanted, final, [1 / len(wanted)] * len(wanted))
    assert sum(found) == pytest.approx(final, abs=1e-6)
    beyond = [not min(0.0, b) - 1e-6 <= a <= max(0.0, b) + 1e-6 for a, b in zip(found, wanted, strict=True)]
    low, high = sum(min(0.0, lots) for lots in wanted), sum(max(0.0, lots) for lots in wanted)
    assert any(beyond) == (not low - 1e-6 <= final <= high + 1e-6)


# An account that is met


def test_an_account_that_is_met_belongs_to_nobody_until_it_is_shared_out() -> None:
    book = account(btc=0.1)
    sleeves = Sleeves(TARGETS, SYMBOLS)
    strange = sleeves.adopt(book)
    assert strange is not None
    assert strange.lots == [100, 0]
    assert strange.cash == pytest.approx(4_000.0)
    assert equities(sleeves, book) == [0.0, 0.0, 10_000.0]
    assert sleeves.unassigned(book) == 10_000.0
    assert not sleeves.settled
    amounts, crossed = sleeves.settle(book, wishes())
    assert sleeves.settled
    assert amounts == [6_000.0, 4_000.0]
    assert crossed == 6_000.0
    assert owned(sleeves) == [100, 0, 0], "spread wants to be short, but of that nothing is held yet"
    assert equities(sleeves, book) == pytest.approx([6_000.0, 4_000.0, 0.0])
    assert sleeves.shares(book) == pytest.approx([0.6, 0.4])


def test_capital_that_no_strategy_has_stays_unassigned() -> None:
    targets = Targets(weights={BTC: 1.0, ETH: 0.0}, strategies={"half": Strategy(capital=0.5)})
    book = account()
    sleeves = met(book, targets)
    assert sleeves.unassigned(book) == 5_000.0


def test_while_a_price_or_the_wallet_is_missing_nothing_is_known_and_nothing_done() -> None:
    sleeves = met(account())
    blind = account()
    blind.rows[1].mark = None
    assert worths_of(blind) is None
    unlisted = account()
    unlisted.rows[0].instrument = None
    assert worths_of(unlisted) is None
    poor = account()
    poor.accounts[0].wallets.clear()
    before = msgspec.json.encode(sleeves.state)
    for book in (blind, unlisted, poor):
        assert sleeves.adopt(book) is None
        assert sleeves.settle(book, wishes()) == ([], 0.0)
    assert sleeves.shares(blind) is None
    assert sleeves.unassigned(blind) is None
    assert sleeves.reaches(blind, 0.07) == {}
    assert sleeves.pass_day(blind, START + DAY_NS) == []
    sleeves.flowed(Flow(asset="USDT", amount=-1.0, kind="funding", at=START), blind)
    sleeves.filled(order(), trade(10), unlisted, wishes())
    assert msgspec.json.encode(sleeves.state) == before


def test_of_an_account_that_has_lost_everything_nothing_is_shared_out() -> None:
    sleeves = Sleeves(TARGETS, SYMBOLS)
    assert sleeves.settle(book_of({BTC: 0.0, ETH: 0.0}, equity=-1.0), wishes()) == ([], 0.0)
    assert not sleeves.settled


def test_opposite_wishes_change_hands_without_a_trade_though_the_account_is_flat() -> None:
    sleeves = Sleeves(TARGETS, SYMBOLS)
    book = account()
    sleeves.adopt(book)
    _, crossed = sleeves.settle(book, wishes())
    assert owned(sleeves) == [33, -33, 0]
    assert crossed == 33 * 60.0
    assert owned(sleeves, 1) == [0, 0, 0], "nobody is against ether"


# Fills


def test_a_fill_goes_to_those_who_want_it_and_both_cross_at_its_price() -> None:
    book = account()
    sleeves = funded(book)
    sleeves.filled(order(lots=67), trade(67, fee=2.0), book, wishes())
    assert owned(sleeves) == [100, -33, 0], "67 bought outside, 33 from spread"
    trend, spread = sleeves.ledger.strategies.values()
    assert [trend.fees, spread.fees] == pytest.approx([2.0 * 100 / 133, 2.0 * 33 / 133])
    assert sum(equities(sleeves, book)) == pytest.approx(9_998.0)


def test_a_part_of_an_order_brings_everybody_that_part_of_the_way() -> None:
    book = account()
    sleeves = funded(book)
    sleeves.filled(order(lots=67), trade(33), book, wishes())
    half = owned(sleeves)
    assert half == [49, -16, 0]
    sleeves.filled(order(lots=67, filled_lots=33), trade(34), book, wishes())
    assert owned(sleeves) == [100, -33, 0]


def test_a_fill_of_an_order_with_nothing_left_open_counts_for_itself() -> None:
    book = account()
    sleeves = funded(book)
    sleeves.filled(order(lots=30, filled_lots=30), trade(20), book, wishes())
    assert sum(owned(sleeves)) == 20


def test_a_fee_in_another_coin_is_none_of_the_ledgers_business() -> None:
    book = account()
    sleeves = met(book)
    sleeves.filled(order(lots=67), trade(67, fee=0.01, asset="BNB"), book, wishes())
    assert [owner.fees for owner in sleeves.ledger.owners] == [0.0, 0.0, 0.0]


def test_before_equity_is_known_a_fill_is_divided_by_capital() -> None:
    book = account()
    sleeves = funded(book)
    book.accounts[0].wallets.clear()
    sleeves.filled(order(lots=10), trade(10), book, wishes())
    assert owned(sleeves) == [6, 4, 0]


def test_what_others_traded_is_unassigned_until_the_next_sharing_out() -> None:
    book = account(btc=0.1)
    sleeves = met(book)
    book.apply(Position(instrument=0, side=Side.NET, lots=110, entry=60_000.0, at=START + S), START + S)
    strange = sleeves.adopt(book)
    assert strange is not None
    assert (strange.lots, round(strange.cash, 6)) == ([10, 0], -600.0)
    assert owned(sleeves) == [100, 0, 10]
    again = sleeves.adopt(book)
    assert again is not None
    assert again.lots == [0, 0], "what was told is known"
    assert again.cash == pytest.approx(0.0)
    sleeves.settle(book, wishes())
    assert owned(sleeves)[2] == 0


# Money that comes and goes


def test_a_deposit_belongs_to_nobody_until_capital_is_shared_out() -> None:
    book = account()
    sleeves = met(book)
    book.apply(Balance(asset="USDT", wallet=11_000.0, at=START + S), START + S)
    sleeves.flowed(Flow(asset="USDT", amount=1_000.0, kind="deposit", at=START + S), book)
    assert sleeves.unassigned(book) == 1_000.0
    assert sleeves.settle(book, wishes())[0] == pytest.approx([600.0, 400.0])
    worths = worths_of(book)
    assert worths is not None
    earned = [strategy.earned(worths).total for strategy in sleeves.ledger.strategies.values()]
    assert earned == pytest.approx([0.0, 0.0]), "capital is no profit"


@pytest.mark.parametrize(
    "flow",
    [
        Flow(asset="BNB", amount=1_000.0, kind="deposit", at=START),
        Flow(asset="USDT", amount=1_000.0, kind="commission", at=START),
    ],
)
def test_other_coins_and_what_trades_explain_already_are_no_flow(flow: Flow) -> None:
    book = account()
    sleeves = met(book)
    sleeves.flowed(flow, book)
    assert equities(sleeves, book) == pytest.approx([6_000.0, 4_000.0, 0.0])


def rates(book: Book, *told: tuple[float, int]) -> None:
    for index, (rate, next_at) in enumerate(told):
        book.apply(Funding(instrument=index, rate=rate, next_at=next_at, at=START), START)
        book.apply(Interval(instrument=index, hours=8.0), START)


def test_funding_is_paid_by_who_holds_what_was_settled() -> None:
    book = account(btc=0.067)
    sleeves = met(book)
    sleeves.ledger.strategies["trend"].lots[0], sleeves.ledger.strategies["spread"].lots[0] = 100, -33
    rates(book, (0.001, START + HOURS_8), (0.5, START + HOURS_8 // 2))
    sleeves.flowed(Flow(asset="USDT", amount=-4.02, kind="funding", at=START + HOURS_8 + 60 * S), book)
    assert [owner.funding for owner in sleeves.ledger.owners] == pytest.approx([-6.0, 1.98, 0.0])


def test_of_several_accounts_funding_is_of_what_is_held_on_its_own() -> None:
    """What is settled at the same time on another account has its own flow."""
    book = Book(["a:BTCUSDT", "b:BTCUSDT"], [0, 1])
    rates(book, (0.001, START + HOURS_8), (0.002, START + HOURS_8))
    assert settling(book.accounts[0], START + HOURS_8) == {0: 0.001}
    assert settling(book.accounts[1], START + HOURS_8) == {1: 0.002}


def test_a_settlement_is_known_by_its_time_before_or_after_the_next_rate_is_told() -> None:
    book = account()
    rates(book, (0.001, START + HOURS_8), (0.002, START + HOURS_8 // 2))
    assert settling(book.accounts[0], START + HOURS_8 - NEAR_NS + 1) == {0: 0.001}
    assert settling(book.accounts[0], START + 60 * S) == {0: 0.001}, "the one that has just been"
    assert settling(book.accounts[0], START + HOURS_8 // 2) == {1: 0.002}
    assert settling(book.accounts[0], START + HOURS_8 // 4) == {0: 0.001, 1: 0.002}, "none stands out"


def test_without_an_interval_or_a_rate_an_instrument_does_not_stand_out() -> None:
    book = account()
    assert settling(book.accounts[0], START) == {}
    book.apply(Funding(instrument=0, rate=0.001, next_at=START, at=START), START)
    assert settling(book.accounts[0], START) == {0: 0.001}


# Bands of strategies


def test_a_strategys_share_of_equity_drifts_with_what_it_earns() -> None:
    book = account(btc=0.1)
    sleeves = met(book)
    assert sleeves.reaches(book, 0.07) == pytest.approx({"strategy trend": 0.0, "strategy spread": 0.0})
    mark(book, 72_000.0)
    share = 7_200 / 11_200
    assert sleeves.reaches(book, 0.07) == pytest.approx(
        {"strategy trend": (share - 0.6) / 0.07, "strategy spread": (share - 0.6) / 0.07}
    )
    amounts, _ = sleeves.settle(book, wishes())
    assert amounts == pytest.approx([-480.0, 480.0])
    assert max(sleeves.reaches(book, 0.07).values()) < 1e-9


# Health


QUICK = Health(
    window_days=2, bad_days=9, good_days=1, min_pause_days=1, ramp=(0.25, 0.5), ramp_days=1, drawdown_pause=0.3
)
WATCHED = replace(
    TARGETS, strategies={**TARGETS.strategies, "trend": replace(TARGETS.strategies["trend"], health=QUICK)}
)


def lived(sleeves: Sleeves, book: Book, *prices: float) -> list[list[Turn]]:
    """The turns of days that end at these prices."""
    turns = []
    for price in prices:
        now = (sleeves.ledger.day or START // DAY_NS) * DAY_NS + DAY_NS
        mark(book, price, now)
        turns.append(sleeves.pass_day(book, now))
    return turns


def started(targets: Targets = WATCHED) -> tuple[Sleeves, Book]:
    book = account(btc=0.1)
    sleeves = met(book, targets)
    assert sleeves.pass_day(book, START) == [], "the first day has no yesterday"
    return sleeves, book


def test_a_drawdown_reduces_a_strategy_and_gives_others_of_what_it_had() -> None:
    sleeves, book = started()
    ((turn,),) = lived(sleeves, book, 48_000.0)
    assert (turn.name, turn.before.state, turn.after.state) == ("trend", State.ACTIVE, State.REDUCED)
    assert turn.worse
    assert turn.drawdown == pytest.approx(0.2)
    assert turn.sharpe is None, "one day is no window"
    assert turn.health is QUICK
    assert sleeves.capital == pytest.approx([0.3, 0.5]), "spread gets no more than a quarter more of its own"
    assert sleeves.pass_day(book, START + DAY_NS) == [], "the day is judged already"


def test_a_day_without_a_change_turns_nothing() -> None:
    sleeves, book = started()
    assert lived(sleeves, book, 60_600.0, 60_000.0) == [[], []]
    assert sleeves.conditions["trend"].days == 2
    assert sleeves.conditions["spread"] == Condition(), "whoever has no health is not judged"


def test_a_paused_strategy_holds_its_weights_on_paper_and_comes_back_step_by_step() -> None:
    sleeves, book = started()
    sleeve = sleeves.ledger.strategies["trend"]
    ((turn,),) = lived(sleeves, book, 40_000.0)
    assert (turn.after.state, sleeves.capital[0]) == (State.PAUSED, 0.0)
    assert sleeve.shadow is not None
    assert sleeve.shadow.weights == [1.0, 0.0]
    sleeves.settle(book, wishes(WATCHED, sleeves.capital))
    assert sleeve.lots == [0, 0]
    assert sleeve.equity(worths_of(book) or []) == pytest.approx(0.0)
    (first,) = lived(sleeves, book, 44_000.0)
    assert first == []
    assert sleeve.returns == [pytest.approx(-1 / 3), pytest.approx(0.1)], "what it would have had"
    ((woken,),) = lived(sleeves, book, 46_000.0)
    assert (woken.after.state, woken.after.multiplier) == (State.RECOVERING, 0.25)
    assert not woken.worse
    assert woken.sharpe is not None
    assert sleeve.shadow is None
    assert sleeves.capital[0] == pytest.approx(0.15)
    sleeves.settle(book, wishes(WATCHED, sleeves.capital))
    ((step,),) = lived(sleeves, book, 46_500.0)
    assert (step.before.state, step.after.state, step.after.multiplier) == (State.RECOVERING, State.RECOVERING, 0.5)
    assert sleeve.drawdown > 0
    ((back,),) = lived(sleeves, book, 46_600.0)
    assert back.after.state is State.ACTIVE
    assert sleeves.capital == [0.6, 0.4]
    assert (sleeve.index, sleeve.peak) == (1.0, 1.0), "its drawdown is counted anew"


@pytest.mark.parametrize(
    ("freed", "capital"),
    [("pro rata", [0.25, 0.3125, 0.1875]), ("cash", [0.25, 0.25, 0.15]), ("c", [0.25, 0.25, 0.1875])],
)
def test_freed_capital_goes_where_the_file_says_and_no_further_than_the_boost(freed: str, capital: list[float]) -> None:
    targets = Targets(
        weights={BTC: 1.0, ETH: 0.0},
        strategies={"a": Strategy(capital=0.5), "b": Strategy(capital=0.25), "c": Strategy(capital=0.15)},
        freed=freed,
    )
    state = Sleeves(targets, SYMBOLS).state
    halved = SleevesState(ledger=state.ledger, conditions={"a": Condition(State.REDUCED, 0.5)})
    assert Sleeves(targets, SYMBOLS, halved).capital == pytest.approx(capital)
    more = Sleeves(replace(targets, boost=1.5), SYMBOLS, halved).capital
    assert sum(more) >= sum(capital)
    assert more[0] == 0.25


def test_other_targets_change_capital_at_once_and_keep_what_is_owned() -> None:
    book = account(btc=0.1)
    sleeves = met(book)
    swapped = {name: replace(strategy, capital=1.0 - strategy.capital) for name, strategy in TARGETS.strategies.items()}
    sleeves.retarget(replace(TARGETS, strategies=swapped))
    assert sleeves.capital == pytest.approx([0.4, 0.6])
    assert owned(sleeves) == [100, 0, 0]
    amounts, _ = sleeves.settle(book, wishes())
    assert amounts == pytest.approx([-2_000.0, 2_000.0])


# From one run to the next


def test_a_run_goes_on_where_the_last_one_ended() -> None:
    sleeves, book = started()
    lived(sleeves, book, 48_000.0)
    stored = msgspec.json.decode(msgspec.json.encode(sleeves.state), type=SleevesState)
    heir = Sleeves(WATCHED, SYMBOLS, stored)
    assert heir.state == sleeves.state
    assert heir.capital == sleeves.capital
    assert not heir.settled, "it is shared out once at the start"


def test_a_strategy_that_is_new_in_the_file_begins_active() -> None:
    sleeves, book = started()
    lived(sleeves, book, 48_000.0)
    more = replace(WATCHED, strategies={**WATCHED.strategies, "new": Strategy(capital=0.0)})
    heir = Sleeves(more, SYMBOLS, sleeves.state)
    assert [heir.conditions[name].state for name in heir.names] == [State.REDUCED, State.ACTIVE, State.ACTIVE]


def test_without_an_instrument_that_somebody_owned_the_ledger_begins_anew() -> None:
    sleeves = met(account(btc=0.1))
    heir = Sleeves(TARGETS, [ETH], sleeves.state)
    assert [owner.lots for owner in heir.ledger.owners] == [[0], [0], [0]]


def test_for_another_account_how_strategies_did_is_kept_and_what_they_own_is_not() -> None:
    sleeves, book = started()
    lived(sleeves, book, 61_000.0, 48_000.0)
    bare = sleeves.state.without_positions()
    trend, was = bare.ledger.strategies["trend"], sleeves.ledger.strategies["trend"]
    assert (trend.returns, trend.index, trend.peak) == (was.returns, was.index, was.peak)
    assert len(trend.returns) == 2
    assert (trend.lots, trend.cash, bare.ledger.unassigned.cash) == ([0, 0], 0.0, 0.0)
    assert bare.conditions == sleeves.conditions
    assert bare.ledger.day == sleeves.ledger.day
    assert was.lots == [100, 0], "the state it was made from is as it was"
