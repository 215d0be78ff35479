from __future__ import annotations

from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.core.book import CONFIRM_NS, Book
from agent.core.events import (
    Balance,
    Clock,
    Command,
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
from agent.core.instruments import Tier
from tests.core import kit
from tests.core.kit import S, book_of, instrument, reprice

T = kit.START


def position(lots: int, at: int, side: Side = Side.NET, entry: float | None = 60_000.0) -> Position:
    return Position(instrument=0, side=side, lots=lots, entry=entry if lots else None, at=at)


def snapshot(*rows: Position, asked_at: int, strangers: tuple[str, ...] = ()) -> Positions:
    return Positions(rows=rows, strangers=strangers, asked_at=asked_at)


def trade(lots: int, at: int, name: str = "1") -> Filled:
    return Filled("o", 0, name, lots, 60_000.0, 0.0, "USDT", False, abs(lots), at)


def known(lots: int = 100, *, hedge: bool = False) -> Book:
    return book_of({"BTCUSDT": lots / 1000}, hedge=hedge)


# Numbers that are missing


def test_equity_is_wallet_plus_profit_at_mark() -> None:
    book = known(100)
    book.apply(Mark(instrument=0, price=61_000.0, index=None, at=T), T)
    assert book.equity == pytest.approx(10_100.0)


def test_equity_is_unknown_while_the_wallet_the_mark_or_the_entry_is() -> None:
    book = Book(["BTCUSDT"])
    assert book.equity is None
    book.apply(Listed(instruments=(instrument(),)), T)
    assert book.equity is None
    book.apply(Balance(asset="USDT", wallet=10_000.0, at=T), T)
    book.apply(position(100, T), T)
    assert book.equity is None
    book.apply(Mark(instrument=0, price=60_000.0, index=None, at=T), T)
    assert book.equity == 10_000.0
    book.apply(position(100, T, entry=None), T)
    assert book.equity is None


def test_a_position_never_heard_of_has_no_value_and_a_flat_one_has_none_to_lose() -> None:
    book = Book(["BTCUSDT"])
    assert book.rows[0].notional is None
    book.apply(position(0, T), T)
    assert book.rows[0].notional == 0.0


def test_the_balance_of_another_asset_is_not_the_wallet() -> None:
    book = Book(["BTCUSDT"])
    book.apply(Listed(instruments=(instrument(),)), T)
    book.apply(Balance(asset="BNB", wallet=500.0, at=T), T)
    assert book.equity is None


def test_with_many_collateral_assets_the_wallet_is_the_venues_own_total() -> None:
    book = known(100)
    book.apply(Mode(hedge=False, multi_asset=True, can_trade=True), T)
    assert book.equity is None
    book.apply(Margin(12_000.0, 12_000.0, 0.0, 0.0, 12_000.0, T), T)
    assert book.equity == 12_000.0


def test_with_many_collateral_assets_a_realised_profit_is_not_missing_until_the_next_answer() -> None:
    book = known(100)
    book.apply(Mode(hedge=False, multi_asset=True, can_trade=True), T)
    reprice(book, Mark(instrument=0, price=70_000.0, index=None, at=T), T)
    for fact in (Margin(12_000.0, 13_000.0, 0.0, 0.0, 12_000.0, T + S), Balance("USDT", 9_000.0, T + S)):
        book.apply(fact, T + S)
    assert book.equity == pytest.approx(13_000.0)
    book.apply(position(0, T + 2 * S), T + 2 * S)
    book.apply(Balance("USDT", 9_997.0, T + 2 * S), T + 2 * S)
    assert book.equity == pytest.approx(12_997.0), "the profit has moved to the wallet, less the fee"
    late = (Margin(12_000.0, 13_000.0, 0.0, 0.0, 12_000.0, T + S + 1), Balance("USDT", 9_000.0, T + S + 1))
    for fact in late:
        book.apply(fact, T + 3 * S)
    assert book.equity == pytest.approx(12_997.0), "an answer older than the stream changes nothing"
    for fact in (Margin(12_997.0, 12_997.0, 0.0, 0.0, 1.0, T + 4 * S), Balance("USDT", 9_997.0, T + 4 * S)):
        book.apply(fact, T + 4 * S)
    assert book.equity == pytest.approx(12_997.0)


def test_an_older_balance_does_not_replace_a_newer_one() -> None:
    book = known()
    book.apply(Balance(asset="USDT", wallet=1.0, at=T - 1), T)
    assert book.accounts[0].wallets["USDT"].wallet == 10_000.0


def test_the_volume_of_a_day_is_kept() -> None:
    book = known()
    assert book.rows[0].volume is None
    book.apply(Volume(instrument=0, quote=13e9), T)
    assert book.rows[0].volume == 13e9


def test_the_wallet_of_an_isolated_position_is_kept_from_stream_and_snapshot() -> None:
    book = known(100)
    assert book.rows[0].holdings[Side.NET].isolated is None
    book.apply(Position(0, Side.NET, 100, 60_000.0, T + S, isolated=250.0), T + S)
    assert book.rows[0].holdings[Side.NET].isolated == 250.0
    told = Position(0, Side.NET, 100, 60_000.0, T + S, isolated=300.0)
    book.apply(snapshot(told, asked_at=T), T + S)
    assert book.rows[0].holdings[Side.NET].isolated == 250.0, "the question is older than the stream"
    book.apply(snapshot(told, asked_at=T + 2 * S), T + 2 * S)
    assert book.rows[0].holdings[Side.NET].isolated == 300.0
    book.apply(Position(0, Side.NET, 100, 60_000.0, T + 3 * S), T + 3 * S)
    assert book.rows[0].holdings[Side.NET].isolated is None, "it is cross again"


@pytest.mark.parametrize("price", [0.0, -1.0, nan, inf])
def test_what_can_be_no_price_is_not_taken_for_one(price: float) -> None:
    book = known()
    book.apply(Mark(instrument=0, price=price, index=None, at=T + S), T + S)
    assert book.rows[0].mark is not None
    assert book.rows[0].mark.price == 60_000.0
    assert book.mark_age(0, T + S) == S


def test_what_is_flat_earns_nothing_and_needs_no_entry() -> None:
    book = known(0)
    assert book.rows[0].profit == 0.0
    assert book.equity == 10_000.0


def test_the_last_quote_is_kept_with_the_time_of_its_arrival() -> None:
    book = known()
    quote = Quote(0, 59_999.0, 1.0, 60_001.0, 1.0, T)
    book.apply(quote, T + S)
    assert (book.rows[0].quote, book.rows[0].quote_seen) == (quote, T + S)


@pytest.mark.parametrize(("bid", "ask"), [(0.0, 1.0), (2.0, 1.0), (nan, 1.0), (1.0, nan), (1.0, inf)])
def test_a_crossed_or_impossible_quote_is_not_taken(bid: float, ask: float) -> None:
    book = known()
    book.apply(Quote(0, bid, 1.0, ask, 1.0, T), T)
    assert book.rows[0].quote is None
    assert book.rows[0].quote_seen is None


def test_an_older_mark_does_not_replace_a_newer_one() -> None:
    book = known()
    book.apply(Mark(instrument=0, price=1.0, index=None, at=T - 1), T + S)
    assert book.rows[0].mark is not None
    assert book.rows[0].mark.price == 60_000.0


def test_the_age_of_a_mark_that_never_came_is_unknown() -> None:
    assert Book(["BTCUSDT"]).mark_age(0, T) is None
    assert Book(["BTCUSDT"]).known_at(0) == 0


# What is simply remembered


def test_every_fact_about_an_instrument_is_found_in_its_row() -> None:
    book = known()
    depth = Depth(0, ((1.0, 1.0),), ((2.0, 1.0),), T)
    funding = Funding(0, 0.0001, T + S, T)
    facts: list[Fact] = [depth, funding, Interval(0, 4.0), Fees(0, 0.0, 0.001), Volume(0, 2e9), Command("pause")]
    for fact in facts:
        book.apply(fact, T)
    row = book.rows[0]
    assert row.volume == 2e9
    assert (row.depth, row.funding, row.interval_hours, row.leverage, row.tiers) == (
        depth,
        funding,
        4.0,
        20,
        kit.TIERS,
    )
    assert row.fees == Fees(0, 0.0, 0.001)


def test_the_wallet_of_an_isolated_position_is_kept_whoever_tells_of_it() -> None:
    book = known()
    assert book.rows[0].holdings[Side.NET].isolated is None
    lots = book.rows[0].lots
    book.apply(Position(0, Side.NET, lots, 60_000.0, T + S, isolated=31.0), T + S)
    assert book.rows[0].holdings[Side.NET].isolated == 31.0
    told = Position(0, Side.NET, lots, 60_000.0, T + S, isolated=32.0)
    book.apply(Positions(rows=(told,), strangers=(), asked_at=T + 9 * S), T + 9 * S)
    assert book.rows[0].holdings[Side.NET].isolated == 32.0
    book.apply(Position(0, Side.NET, lots, 60_000.0, T + 10 * S), T + 10 * S)
    assert book.rows[0].holdings[Side.NET].isolated is None


def test_streams_are_up_since_they_were_first_said_to_be() -> None:
    book = known()
    book.apply(Up(stream="market"), 5)
    book.apply(Up(stream="market"), 9)
    assert book.accounts[0].streams == {"market": 5}
    book.apply(Down(stream="market", reason="closed"), 10)
    book.apply(Down(stream="private", reason="closed"), 10)
    assert book.accounts[0].streams == {}


def test_the_clock_is_the_last_that_was_measured() -> None:
    book = known()
    book.apply(Clock(offset_ns=5, error_ns=1), T)
    assert book.accounts[0].clock == Clock(offset_ns=5, error_ns=1)


def test_an_instrument_that_is_no_longer_listed_cannot_be_traded() -> None:
    book = book_of({"BTCUSDT": 0.1, "ETHUSDT": 1.0})
    book.apply(Listed(instruments=(instrument(1, "ETHUSDT"),)), T)
    bitcoin, ether = (row.instrument for row in book.rows)
    assert bitcoin is not None
    assert ether is not None
    assert (bitcoin.trading, ether.trading) == (False, True)


# Positions: streams against snapshots


def test_a_position_update_older_than_what_is_known_is_dropped() -> None:
    book = known(100)
    book.apply(position(150, T + 5), T)
    book.apply(position(120, T + 4), T)
    assert book.rows[0].lots == 150
    assert book.known_at(0) == T + 5


def test_a_snapshot_asked_for_before_the_last_update_does_not_undo_it() -> None:
    book = known(100)
    book.apply(position(150, T + 5 * S), T + 5 * S)
    book.apply(snapshot(position(100, T), asked_at=T + 4 * S), T + 6 * S)
    assert book.rows[0].lots == 150


def test_an_instrument_missing_from_a_snapshot_is_flat() -> None:
    book = Book(["BTCUSDT"])
    book.apply(Listed(instruments=(instrument(),)), T)
    book.apply(snapshot(asked_at=T), T)
    assert book.rows[0].notional == 0.0
    assert book.known_at(0) == T


def test_a_snapshot_that_contradicts_is_believed_only_when_a_later_one_repeats_it() -> None:
    book = known(100)
    book.apply(snapshot(position(70, T), asked_at=T + S), T + S)
    assert book.rows[0].lots == 100
    assert (0, Side.NET) in book.disputed
    book.apply(snapshot(position(70, T), asked_at=T + 2 * S), T + 2 * S)
    assert book.rows[0].lots == 100
    later = T + S + CONFIRM_NS
    book.apply(snapshot(position(70, T), asked_at=later), later)
    assert book.rows[0].lots == 70
    assert not book.disputed


def test_a_contradiction_that_changes_starts_the_wait_anew() -> None:
    book = known(100)
    book.apply(snapshot(position(70, T), asked_at=T + S), T + S)
    later = T + S + CONFIRM_NS
    book.apply(snapshot(position(60, T), asked_at=later), later)
    assert book.rows[0].lots == 100
    book.apply(snapshot(position(60, T), asked_at=later + CONFIRM_NS), later + CONFIRM_NS)
    assert book.rows[0].lots == 60


def test_a_snapshot_that_agrees_ends_a_dispute() -> None:
    book = known(100)
    book.apply(snapshot(position(70, T), asked_at=T + S), T + S)
    book.apply(snapshot(position(100, T), asked_at=T + 2 * S), T + 2 * S)
    assert not book.disputed
    assert book.known_at(0) == T + 2 * S


def with_margin(book: Book, maintenance: float, at: int, reserves: tuple[Reserve, ...] | None = None) -> None:
    """The venue's totals, of which the maintenance margin alone matters here, and the positions listed with them."""
    book.apply(Margin(10_000.0, 10_000.0, 0.0, maintenance, 10_000.0, at, reserves), at)


def without_rows(book: Book, *, times: int, maintenance: float | None) -> None:
    """Answers that leave every position out, one every six seconds, and the account's margin between them."""
    for number in range(1, times + 1):
        at = T + number * CONFIRM_NS
        if maintenance is not None:
            with_margin(book, maintenance, at - 1)
        book.apply(snapshot(asked_at=at), at)


def test_a_position_left_out_again_and_again_is_still_there_while_the_account_carries_its_margin() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    without_rows(book, times=5, maintenance=60.0)
    assert book.rows[0].lots == 100
    assert book.disputed
    with_margin(book, 0.0, T + 6 * CONFIRM_NS)
    book.apply(snapshot(asked_at=T + 6 * CONFIRM_NS), T + 6 * CONFIRM_NS)
    assert book.rows[0].lots == 0
    assert not book.disputed


def test_a_position_left_out_is_gone_when_the_account_carries_that_of_the_others_alone() -> None:
    book = book_of({"BTCUSDT": 0.1, "ETHUSDT": 1.0}, prices={"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0})
    for index in (0, 1):
        book.apply(Tiers(instrument=index, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    eth = Position(instrument=1, side=Side.NET, lots=book.rows[1].lots, entry=3_000.0, at=T)
    for number, maintenance in ((1, 30.0), (2, 30.0)):
        at = T + number * CONFIRM_NS
        with_margin(book, maintenance, at)
        book.apply(snapshot(eth, asked_at=at), at)
    assert [row.lots for row in book.rows] == [0, eth.lots]


def test_a_position_denied_in_so_many_words_needs_no_margin_to_be_gone() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    with_margin(book, 60.0, T)
    for number in (1, 2):
        at = T + number * CONFIRM_NS
        book.apply(snapshot(position(0, T), asked_at=at), at)
    assert book.rows[0].lots == 0


def test_a_total_from_before_the_doubt_does_not_settle_it() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    with_margin(book, 0.0, T)
    without_rows(book, times=3, maintenance=None)
    assert book.rows[0].lots == 100


@pytest.mark.parametrize("missing", ["margin", "tiers", "mark", "strangers"])
def test_without_a_second_witness_answers_that_repeat_each_other_stand_alone(missing: str) -> None:
    book = known(100)
    table = () if missing == "tiers" else (Tier(0.0, 1e9, 0.01, 0.0, 50),)
    book.apply(Tiers(instrument=0, tiers=table), T)
    if missing == "mark":
        book.rows[0].mark = None
    if missing == "strangers":
        book.accounts[0].strangers = ("DOGEUSDT",)
    for number in (1, 2):
        at = T + number * CONFIRM_NS
        if missing != "margin":
            with_margin(book, 60.0, at - 1)
        strangers = ("DOGEUSDT",) if missing == "strangers" else ()
        book.apply(snapshot(asked_at=at, strangers=strangers), at)
    assert book.rows[0].lots == 0


def test_a_first_answer_without_rows_is_no_flat_account_while_the_venue_reserves_margin() -> None:
    book = known(0)
    assert book.accounts[0].hidden == 0
    with_margin(book, 60.0, T + S)
    assert book.accounts[0].hidden == 60.0
    with_margin(book, 0.0, T + 2 * S)
    assert book.accounts[0].hidden == 0


def by_entry(held: float, at: int) -> Margin:
    """Totals of a venue that states no maintenance margin."""
    return Margin(10_000.0, 10_000.0, 0.0, None, 10_000.0, at, held=held)


@pytest.mark.parametrize("own", [None, 450.0])
def test_where_no_maintenance_margin_is_stated_the_initial_one_of_positions_is_the_witness(own: float | None) -> None:
    book = known(100)
    book.apply(Leverage(instrument=0, leverage=20), T)
    book.apply(replace(position(100, T), isolated=own), T)
    takes = own or 0.1 * 60_000 / 20
    for number in range(1, 5):
        at = T + number * CONFIRM_NS
        book.apply(by_entry(takes, at - 1), at - 1)
        book.apply(snapshot(asked_at=at), at)
        assert (book.rows[0].lots, book.accounts[0].hidden) == (100, 0.0)
    at = T + 5 * CONFIRM_NS
    book.apply(by_entry(takes * 1.1, at - 1), at - 1)
    assert book.accounts[0].hidden == pytest.approx(takes * 0.1), "something else takes the rest"
    book.apply(by_entry(0.0, at), at)
    book.apply(snapshot(asked_at=at), at)
    assert (book.rows[0].lots, book.disputed) == (0, {})


def not_free(in_use: float, at: int, profit: float = 0.0) -> Margin:
    """Totals of a venue that states no margin of positions at all."""
    return Margin(10_000.0, 10_000.0 + profit, 0.0, None, 10_000.0, at, in_use=in_use)


def test_where_no_margin_of_positions_is_stated_what_is_not_free_is_the_witness() -> None:
    book = known(100)
    book.apply(Leverage(instrument=0, leverage=20), T)
    for number in range(1, 5):
        at = T + number * CONFIRM_NS
        book.apply(not_free(300.0, at - 1), at - 1)
        book.apply(snapshot(asked_at=at), at)
        assert (book.rows[0].lots, book.accounts[0].hidden) == (100, 0.0)
    book.apply(not_free(0.0, at + 1), at + 1)
    book.apply(snapshot(asked_at=at + 2), at + 2)
    assert (book.rows[0].lots, book.disputed) == (0, {})


def test_an_account_of_which_something_is_not_free_is_not_flat() -> None:
    book = known(0)
    book.apply(not_free(40.0, T + S, profit=100.0), T + S)
    assert book.accounts[0].hidden == 40.0
    book.apply(not_free(0.0, T + 2 * S), T + 2 * S)
    assert book.accounts[0].hidden == 0


@pytest.mark.parametrize(("in_use", "profit", "hidden"), [(590, 0, 0), (610, 0, 310), (800, 500, 0), (1_300, 500, 500)])
def test_half_of_what_is_not_free_must_be_that_of_positions_known_or_their_profit(
    in_use: float, profit: float, hidden: float
) -> None:
    book = known(100)
    book.apply(Leverage(instrument=0, leverage=20), T)
    book.apply(not_free(in_use, T + S, profit), T + S)
    assert book.accounts[0].hidden == pytest.approx(hidden)


def test_a_little_margin_need_not_be_explained_and_more_must() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    with_margin(book, 63.0, T + S)
    assert book.accounts[0].hidden == 0
    with_margin(book, 64.0, T + S)
    assert book.accounts[0].hidden == pytest.approx(4.0)


def test_a_position_that_only_the_account_lists_is_missing_however_small_it_is() -> None:
    book = known(0)
    with_margin(book, 0.0, T + S, (Reserve(0, Side.NET, 0.0),))
    assert (book.accounts[0].left_out, book.accounts[0].hidden) == ((0,), 0.0)
    for at in (T + 10 * S, T + 10 * S + CONFIRM_NS):
        book.apply(snapshot(position(5, T), asked_at=at), at)
    assert book.accounts[0].left_out == ()


def test_a_position_that_was_closed_since_is_not_missing() -> None:
    book = known(100)
    book.apply(position(0, T + 2 * S), T + 2 * S)
    with_margin(book, 24.0, T + S, (Reserve(0, Side.NET, 24.0),))
    assert book.accounts[0].left_out == ()


def test_margin_of_what_the_account_does_not_list_either_needs_an_explanation_however_prices_move() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    reserves = (Reserve(0, Side.NET, 63.0),)  # at its own price, 5 % from ours
    with_margin(book, 63.6, T + S, reserves)
    assert book.accounts[0].hidden == 0
    with_margin(book, 64.0, T + S, reserves)
    assert book.accounts[0].hidden == pytest.approx(1.0)


def test_totals_of_several_collaterals_are_in_a_currency_of_their_own() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    book.apply(Mode(hedge=False, multi_asset=True, can_trade=True), T)
    with_margin(book, 61.5, T + S, (Reserve(0, Side.NET, 60.0),))
    assert book.accounts[0].hidden == 0


def test_an_account_that_lists_nothing_explains_nothing() -> None:
    book = known(0)
    with_margin(book, 1.0, T + S, ())
    assert book.accounts[0].hidden == 1.0


def test_positions_that_the_accounts_list_lacks_count_at_our_own_prices() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T)
    with_margin(book, 63.0, T + S, ())
    assert book.accounts[0].hidden == 0


def test_a_small_position_left_out_again_and_again_is_still_there_while_the_account_lists_it() -> None:
    book = known(100)
    for number in range(1, 5):
        at = T + number * CONFIRM_NS
        with_margin(book, 0.0, at - 1, (Reserve(0, Side.NET, 0.0),))
        book.apply(snapshot(asked_at=at), at)
    assert book.rows[0].lots == 100
    at += CONFIRM_NS
    with_margin(book, 0.0, at - 1, ())
    book.apply(snapshot(asked_at=at), at)
    assert book.rows[0].lots == 0


def test_a_total_from_before_a_position_moved_hides_nothing() -> None:
    book = known(100)
    with_margin(book, 24.0, T + S)
    book.apply(position(0, T + 2 * S), T + 2 * S)
    book.apply(snapshot(asked_at=T + 2 * S), T + 2 * S)
    assert book.accounts[0].hidden == 0
    with_margin(book, 60.0, T + 3 * S)
    assert book.accounts[0].hidden == 60.0


def test_what_was_hidden_stays_so_while_other_positions_move_until_the_account_is_asked_anew() -> None:
    book = known(0)
    with_margin(book, 60.0, T + S)
    book.apply(position(50, T + 2 * S), T + 2 * S)
    book.apply(snapshot(position(50, T + 2 * S), asked_at=T + 3 * S), T + 3 * S)
    assert book.accounts[0].hidden == 60.0
    with_margin(book, 0.0, T + 4 * S)
    assert book.accounts[0].hidden == 0


def test_with_strangers_nothing_is_said_to_be_hidden() -> None:
    book = known(0)
    with_margin(book, 60.0, T + S)
    book.apply(snapshot(asked_at=T + 2 * S, strangers=("DOGEUSDT",)), T + 2 * S)
    assert book.accounts[0].hidden == 0


def test_margin_that_was_told_before_its_table_is_looked_at_when_the_table_comes() -> None:
    book = known(100)
    book.apply(Tiers(instrument=0, tiers=()), T)
    with_margin(book, 600.0, T + S)
    assert book.accounts[0].hidden == 0
    book.apply(Tiers(instrument=0, tiers=(Tier(0.0, 1e9, 0.01, 0.0, 50),)), T + S)
    assert book.accounts[0].hidden == pytest.approx(540.0)


def test_an_update_of_the_stream_ends_a_dispute() -> None:
    book = known(100)
    book.apply(snapshot(position(70, T), asked_at=T + S), T + S)
    book.apply(position(100, T + 2 * S), T + 2 * S)
    assert not book.disputed


def test_strangers_and_the_time_of_the_answer_are_kept() -> None:
    book = known(100)
    book.apply(snapshot(position(100, T), asked_at=T + S, strangers=("DOGEUSDT",)), T + 2 * S)
    assert book.accounts[0].strangers == ("DOGEUSDT",)
    assert book.accounts[0].positions_at == T + 2 * S


# Positions against trades


def test_a_trade_that_the_position_does_not_show_yet_is_in_doubt() -> None:
    book = known(100)
    book.apply(trade(50, T + S), T + S)
    assert book.rows[0].owed == 50
    assert (0, Side.NET) in book.disputed
    book.apply(position(150, T + S), T + S)
    assert book.rows[0].owed == 0
    assert not book.disputed


def test_two_trades_of_one_millisecond_need_both_moves_of_the_position() -> None:
    book = known(100)
    for fact in (position(150, T + S), trade(50, T + S, "1"), trade(70, T + S, "2")):
        book.apply(fact, T + S)
    assert book.disputed
    book.apply(position(220, T + S), T + S)
    assert not book.disputed


def test_a_position_that_moved_without_a_trade_is_in_doubt_until_the_trade_is_told() -> None:
    book = known(100)
    book.apply(position(150, T + S), T + S)
    assert book.disputed
    book.apply(trade(50, T + S), T + S)
    assert not book.disputed


def test_a_trade_told_twice_counts_once() -> None:
    book = known(100)
    for fact in (position(150, T + S), trade(50, T + S), trade(50, T + S)):
        book.apply(fact, T + S)
    assert not book.disputed


def test_a_trade_older_than_the_snapshot_is_already_in_it() -> None:
    book = known(100)
    book.apply(trade(50, T - 1), T + S)
    assert not book.disputed


def test_a_snapshot_that_shows_the_trade_is_believed_at_once() -> None:
    book = known(100)
    book.apply(trade(50, T + S), T + S)
    book.apply(snapshot(position(150, T), asked_at=T + 2 * S), T + 2 * S)
    assert book.rows[0].lots == 150
    assert not book.disputed


def test_a_snapshot_from_a_cache_that_lacks_the_trade_is_not_believed_soon() -> None:
    book = known(100)
    book.apply(trade(50, T + S), T + S)
    for second in (2, 3, 4, 5, 6, 7):
        book.apply(snapshot(position(100, T), asked_at=T + second * S), T + second * S)
        assert book.disputed
    later = T + 2 * S + CONFIRM_NS
    book.apply(snapshot(position(100, T), asked_at=later), later)
    assert book.rows[0].lots == 100
    assert not book.disputed


def test_a_stale_snapshot_cannot_undo_a_move_by_the_trade_that_was_not_told() -> None:
    book = known(100)
    book.apply(position(150, T + S), T + S)
    book.apply(snapshot(position(100, T), asked_at=T + 2 * S), T + 2 * S)
    assert book.rows[0].lots == 150
    assert book.disputed
    book.apply(snapshot(position(150, T + S), asked_at=T + 3 * S), T + 3 * S)
    book.apply(snapshot(position(150, T + S), asked_at=T + 3 * S + CONFIRM_NS), T + 3 * S + CONFIRM_NS)
    assert book.rows[0].lots == 150
    assert not book.disputed


def test_before_the_first_snapshot_nothing_is_owed() -> None:
    book = Book(["BTCUSDT"])
    book.apply(position(150, T), T)
    book.apply(trade(50, T), T)
    assert not book.disputed


def test_only_the_latest_trades_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.core.book.KEEP_TRADES", 1)
    book = known(100)
    for fact in (trade(10, T, "1"), trade(10, T, "2"), trade(10, T, "1")):
        book.apply(fact, T)
    assert book.rows[0].owed == 30


# Hedge mode


def test_in_hedge_mode_the_long_and_the_short_row_net() -> None:
    book = known(100, hedge=True)
    book.apply(position(-30, T, Side.SHORT), T)
    assert book.rows[0].lots == 70
    assert book.equity == 10_000.0


def test_after_a_flip_to_hedge_mode_the_old_net_row_is_settled_by_repetition() -> None:
    book = known(100)
    rows = (position(100, T, Side.LONG), position(0, T, Side.SHORT))
    book.apply(snapshot(*rows, asked_at=T + S), T + S)
    assert book.disputed
    later = T + S + CONFIRM_NS
    book.apply(snapshot(*rows, asked_at=later), later)
    assert book.rows[0].lots == 100
    assert not book.disputed


def test_a_trade_of_one_side_is_not_shown_by_the_other_side_alone() -> None:
    book = known(100, hedge=True)
    book.apply(trade(-40, T + S), T + S)
    book.apply(position(60, T + S, Side.LONG), T + S)
    assert not book.disputed
    rows = (position(60, T, Side.LONG), position(0, T, Side.SHORT))
    book.apply(snapshot(*rows, asked_at=T + 2 * S), T + 2 * S)
    assert book.rows[0].lots == 60


@given(
    st.lists(
        st.tuples(st.sampled_from(["position", "trade", "snapshot", "stale"]), st.integers(0, 4), st.integers(1, 3)),
        max_size=25,
    )
)
def test_whatever_is_lost_delayed_or_stale_two_true_snapshots_settle_it(steps: list[tuple[str, int, int]]) -> None:
    """A venue that trades and tells some of it; in the end it is asked twice and answers truly."""
    book = known(100)
    true, before, now = 100, 100, T
    late: list[Fact] = []
    for number, (what, lots, seconds) in enumerate(steps):
        now += seconds * S
        match what:
            case "position":
                before, true = true, true + lots
                book.apply(position(true, now), now)
                late.append(trade(lots, now, str(number)))
            case "trade":
                before, true = true, true + lots
                book.apply(trade(lots, now, str(number)), now)
                late.append(position(true, now))
            case "stale":
                book.apply(snapshot(position(before, T), asked_at=now), now)
            case _:
                for fact in late[:lots]:
                    book.apply(fact, now)
                del late[:lots]
    for _ in range(2):
        now += CONFIRM_NS
        book.apply(snapshot(position(true, T), asked_at=now), now)
    assert book.rows[0].lots == true
    assert not book.disputed
    assert book.rows[0].owed == 0


def test_what_a_row_holds_is_nothing_once_the_instrument_is_known_and_unknown_before() -> None:
    assert Book(["BTCUSDT"]).held(0, Side.NET) is None
    book = book_of({"BTCUSDT": 0.3})
    assert book.held(0, Side.NET) == 300
    assert book.held(0, Side.SHORT) == 0


# Another unit


def leapt(book: Book, price: float, at: int) -> None:
    """A price leaps, and the quote bears it out."""
    book.apply(Mark(instrument=0, price=price, index=price, at=at), at)
    book.apply(Quote(0, price - 1, 5.0, price + 1, 5.0, at), at)
    book.apply(Mark(instrument=0, price=price, index=price, at=at), at)


def stands(book: Book) -> tuple[int, float | None, float | None]:
    row = book.rows[0]
    return row.lots, None if row.mark is None else row.mark.price, book.equity


def test_a_price_of_another_unit_is_believed_with_the_position_of_that_unit_and_not_before() -> None:
    for streamed in (True, False):
        book = known(100)
        for second in range(1, 9):
            leapt(book, 6_000.0, T + second * S)
        assert stands(book) == (100, 60_000.0, 10_000.0)
        assert book.disputed
        at = T + 10 * S
        if streamed:
            book.apply(position(1_000, at, entry=6_000.0), at)
        else:
            book.apply(snapshot(position(1_000, at, entry=6_000.0), asked_at=at), at)
            assert stands(book) == (100, 60_000.0, 10_000.0)
            at += CONFIRM_NS
            book.apply(snapshot(position(1_000, at, entry=6_000.0), asked_at=at), at)
        assert stands(book) == (1_000, 6_000.0, 10_000.0)


def test_a_position_of_another_unit_waits_for_its_price_or_until_it_was_told_again() -> None:
    book = known(100)
    book.apply(position(1_000, T + S, entry=6_000.0), T + S)
    assert stands(book) == (100, 60_000.0, 10_000.0)
    leapt(book, 6_000.0, T + 2 * S)
    at = T + S + CONFIRM_NS
    book.apply(snapshot(position(1_000, at, entry=6_000.0), asked_at=at), at)
    assert stands(book) == (1_000, 6_000.0, 10_000.0)
    book.apply(position(100, at + S, entry=6_000.0), at + S)
    assert book.rows[0].lots == 1_000
    book.apply(snapshot(position(100, at + S, entry=6_000.0), asked_at=at + 9 * S), at + 9 * S)
    assert book.rows[0].lots == 100, "somebody has sold"


def test_a_trade_explains_a_position_that_is_ten_times_as_large() -> None:
    book = known(100)
    book.apply(trade(900, T + S), T + S)
    book.apply(position(1_000, T + S), T + S)
    assert (book.rows[0].lots, book.disputed) == (1_000, {})


def test_a_price_that_has_fallen_to_a_tenth_is_believed_once_the_position_has_stood_beside_it() -> None:
    book = known(100)
    leapt(book, 6_000.0, T + S)
    for at, price in ((T + 2 * S, 60_000.0), (T + S + CONFIRM_NS, 6_000.0)):
        leapt(book, 6_000.0, at)
        book.apply(snapshot(position(100, T), asked_at=at), at)
        assert stands(book)[1] == price
    assert not book.disputed


def test_a_contract_of_another_size_is_worth_what_it_was_until_the_position_is_told_anew() -> None:
    book = known(100)
    book.apply(Listed(instruments=(replace(instrument(), multiplier=Decimal(10)),)), T + S)
    assert (book.rows[0].lots, book.rows[0].notional) == (10, 6_000.0)
    assert book.disputed
    book.apply(snapshot(position(10, T + 2 * S), asked_at=T + 2 * S), T + 2 * S)
    assert (book.rows[0].notional, book.disputed) == (6_000.0, {})
    book.apply(Listed(instruments=(replace(instrument(), multiplier=Decimal(1_000)),)), T + 3 * S)
    assert book.disputed, "it is less than a lot now, and not nothing"
