"""Leverage settings: which to change, and when that is safe."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.core.book import Book
from agent.core.drift import Bands, Drift, measure
from agent.core.events import Ended, Leverage, Tiers, Unset
from agent.core.instruments import Tier
from agent.core.orders import Blotter
from agent.core.settings import ANSWER_NS, REFUSED_NS, Settings
from agent.core.targets import Targets
from agent.core.venue import SetLeverage
from tests.core.kit import MISSION, START, THIRDS, S, book_of, order

SHARES = Targets(weights=dict(THIRDS), leverage=3.0)


def stands(book: Book, targets: Targets = SHARES) -> Drift:
    drift = measure(book, targets, Bands())
    assert drift is not None
    return drift


def account(**settings: int) -> Book:
    """Three positions; their settings, 20 where nothing is said."""
    book = book_of(MISSION)
    for index, coin in enumerate(("btc", "eth", "sol")):
        book.apply(Leverage(instrument=index, leverage=settings.get(coin, 20)), START)
    return book


def ask(settings: Settings, book: Book, now: int = START, blotter: Blotter | None = None) -> SetLeverage | None:
    return settings.due(book, stands(book), blotter or Blotter(), now)


def told(book: Book, change: SetLeverage | None) -> None:
    assert change is not None
    book.apply(Leverage(instrument=change.instrument, leverage=change.leverage), START)


def test_where_the_file_names_none_settings_are_left_alone() -> None:
    book = account(btc=3, eth=125)
    settings = Settings(None)
    assert ask(settings, book) is None
    assert settings.right(book, stands(book), 0) is None
    assert not settings.pending(book, START)


def test_they_are_changed_one_at_a_time_each_when_the_last_one_shows() -> None:
    book, settings = account(), Settings(10)
    for index in range(3):
        assert not settings.pending(book, START)
        change = ask(settings, book)
        assert change == SetLeverage(instrument=index, leverage=10)
        assert settings.pending(book, START + S)
        assert ask(settings, book, START + S) is None, "until it shows, no other is asked for"
        told(book, change)
    assert ask(settings, book, START + 3_600 * S) is None, "all are as they should be"


def test_lower_ones_come_before_higher_ones() -> None:
    book, settings = account(btc=5, eth=20, sol=20), Settings(10)
    order_of = []
    for _ in range(3):
        change = ask(settings, book)
        told(book, change)
        order_of.append(change and change.instrument)
    assert order_of == [1, 2, 0]


def empty(equity: float, *, setting: int) -> Book:
    """Nothing held; one and a half times equity of bitcoin are wanted, and the first bracket ends at 50 000."""
    book = book_of(dict.fromkeys(THIRDS, 0.0), equity=equity)
    told(book, SetLeverage(instrument=0, leverage=setting))
    return book


def test_a_setting_is_as_low_as_the_bracket_demands_with_a_tenth_to_spare() -> None:
    settings, small, large = Settings(125), empty(30_300.0, setting=125), empty(30_305.0, setting=125)
    assert settings.right(small, stands(small), 0) == 125, "49 995"
    assert settings.right(large, stands(large), 0) == 100, "50 003"
    assert Settings(50).right(large, stands(large), 0) == 50


def test_what_is_held_counts_where_it_is_more_than_what_is_wanted() -> None:
    held = book_of({**MISSION, "BTCUSDT": 0.8})
    told(held, SetLeverage(instrument=0, leverage=125))
    assert Settings(125).right(held, stands(held), 0) == 100


def test_a_setting_is_raised_only_with_more_to_spare_so_that_it_does_not_change_to_and_fro() -> None:
    settings = Settings(125)
    for equity, setting, right in [(25_600, 100, 125), (25_700, 100, 100), (25_700, 125, 125), (25_700, 20, 100)]:
        book = empty(equity, setting=setting)
        assert settings.right(book, stands(book), 0) == right


def test_a_setting_that_is_too_high_for_a_raise_and_low_enough_to_stay_stays() -> None:
    """Of a wanted 125, 1.3 times 38 550 would allow 100; the person's 110 does for 1.1 times as much."""
    book = empty(25_700.0, setting=110)
    assert Settings(125).right(book, stands(book), 0) == 110


def test_a_short_needs_the_same_setting_as_a_long() -> None:
    book = book_of({**MISSION, "BTCUSDT": -0.8})
    told(book, SetLeverage(instrument=0, leverage=125))
    assert Settings(125).right(book, stands(book), 0) == 100


def test_what_is_not_traded_or_not_known_has_no_right_setting() -> None:
    settings = Settings(10)
    held = replace(SHARES, weights={"BTCUSDT": "hold", "ETHUSDT": 0.6, "SOLUSDT": 0.4})
    book = account()
    assert settings.right(book, stands(book, held), 0) is None
    drift = stands(book)
    for missing in ("leverage", "mark", "instrument"):
        book = account()
        setattr(book.rows[0], missing, None)
        assert settings.right(book, drift, 0) is None
    book = account()
    book.rows[0].tiers = ()
    assert settings.right(book, drift, 0) is None


def test_nothing_is_changed_while_an_order_is_under_way() -> None:
    book, settings, blotter = account(), Settings(10), Blotter()
    blotter.add(order("o1"), START)
    assert ask(settings, book, START, blotter) is None
    blotter.apply(Ended(order="o1", how="expired", filled_lots=0, at=START), START)
    assert ask(settings, book, START, blotter) == SetLeverage(instrument=0, leverage=10)


def test_what_is_refused_rests_for_an_hour_while_the_others_go_on() -> None:
    book, settings = account(), Settings(10)
    assert ask(settings, book) == SetLeverage(instrument=0, leverage=10)
    settings.refused(Unset(instrument=0, leverage=10, reason="no"), START + S)
    assert not settings.pending(book, START + S)
    for index in (1, 2):
        change = ask(settings, book, START + S)
        assert change == SetLeverage(instrument=index, leverage=10)
        told(book, change)
    assert ask(settings, book, START + S + REFUSED_NS - 1) is None
    assert ask(settings, book, START + S + REFUSED_NS) == SetLeverage(instrument=0, leverage=10)


def test_what_does_not_show_is_asked_for_again_after_a_while_others_first() -> None:
    book, settings = account(), Settings(10)
    first = ask(settings, book)
    assert settings.pending(book, START + ANSWER_NS - 1)
    assert ask(settings, book, START + ANSWER_NS - 1) is None
    assert not settings.pending(book, START + ANSWER_NS)
    assert ask(settings, book, START + ANSWER_NS) == first


def test_an_instrument_that_is_not_trading_is_passed_over() -> None:
    book, settings = account(), Settings(10)
    first = book.rows[0].instrument
    assert first is not None
    book.rows[0].instrument = replace(first, trading=False)
    assert ask(settings, book) == SetLeverage(instrument=1, leverage=10)


@pytest.mark.parametrize(("equity", "changes"), [(10_000.0, False), (10_725.0, True)])
def test_a_setting_comes_down_only_if_equity_covers_the_margin_afterwards(equity: float, changes: bool) -> None:
    """At 2x the 19 500 of bitcoin take 9 750; 6 000 of ether at 8x take 750, 4 500 of sol at 20x take 225."""
    book = book_of(MISSION, equity=equity)
    told(book, SetLeverage(instrument=1, leverage=8))
    found = ask(Settings(2), book)
    assert (found == SetLeverage(instrument=0, leverage=2)) is changes
    if not changes:
        assert found == SetLeverage(instrument=1, leverage=2), "3 000 more for ether there is"


def test_while_another_instruments_margin_is_not_known_nothing_is_changed() -> None:
    book = account()
    book.rows[2].tiers = ()
    assert ask(Settings(10), book) is None
    told(book, SetLeverage(instrument=2, leverage=10))
    book.apply(Tiers(instrument=2, tiers=(Tier(floor=0, cap=1e6, rate=0.01, deduction=0, leverage=10),)), START)
    assert ask(Settings(10), book) == SetLeverage(instrument=0, leverage=10)
