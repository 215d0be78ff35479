"""What has to be known before anything is decided, and what at the least before safety may act."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from agent.core.audit import ANSWERS, Audit
from agent.core.book import Book
from agent.core.decisions import Timing
from agent.core.events import Down, Fact, Filled, Listed, Mark, Side, Up
from agent.core.orders import Blotter
from agent.core.readiness import Readiness, behind, settled
from agent.core.venue import Abilities, What
from tests.core.kit import MISSION, START, S, book_of, instrument, order


def ready(book: Book) -> Readiness:
    """All is known of this book, but for what the test has left out."""
    for stream in ("market", "private"):
        book.apply(Up(stream), START)
    audit = Audit(Abilities(frozenset(), ()), book.every, salt="t", timing=Timing())
    known = Readiness(book.accounts[0], audit, ("market", "private"), 15 * S)
    known.look()
    return known


def test_when_all_is_known_nothing_is_missing() -> None:
    known = ready(book_of(MISSION))
    assert known.missing() is None
    assert known.complete
    assert not known.blind(START)


def test_what_is_missing_is_named() -> None:
    book = book_of(MISSION)
    audit = Audit(Abilities(frozenset(), ()), book.every, salt="t")
    assert Readiness(book.accounts[0], audit, ("a", "b"), S).missing() == "stream a, b"
    book.rows[1].mark = book.rows[2].mark = None
    assert ready(book).missing() == "a price of ETHUSDT, SOLUSDT"
    book.rows[1].instrument = None
    assert ready(book).missing() == "the venue to list ETHUSDT"


def test_answers_come_before_all_but_a_symbol_that_is_not_there() -> None:
    book = Book(["BTCUSDT"])
    audit = Audit(Abilities(frozenset(ANSWERS), ()), [0], salt="t")
    known = Readiness(book.accounts[0], audit, ("market",), S)
    assert (known.missing(), known.unlisted()) == ("answers of the venue", []), "it was not asked yet"
    audit.due(START)
    audit.apply(Listed(instruments=()), START)
    assert What.INSTRUMENTS not in audit.missing()
    assert known.missing() == "the venue to list BTCUSDT"


def test_safety_is_blind_where_something_is_missing_and_no_late_answer_tells_positions() -> None:
    book = book_of(MISSION)
    known = ready(book)
    assert not known.blind(START + 60 * S), "all is known"
    book.apply(Down("private", "reset"), START)
    known.look()
    assert not known.blind(START + 15 * S)
    assert known.blind(START + 15 * S + 1)


def test_safety_is_blind_with_assets_that_are_not_counted_or_before_all_was_known_once() -> None:
    book = book_of(MISSION)
    known = ready(book)
    other = replace(instrument(1, "ETHUSDT"), settle="USDC")
    book.apply(Listed((instrument(0), other, instrument(2, "SOLUSDT"))), START)
    known.look()
    assert known.blind(START)
    early = book_of(MISSION)
    early.rows[0].mark = None
    assert ready(early).blind(START)


@pytest.mark.parametrize("doubt", ["an order", "a dispute", "an effect"])
def test_while_anything_is_under_way_or_in_doubt_it_is_not_settled(doubt: str) -> None:
    book, blotter = book_of(MISSION), Blotter()
    if doubt == "an order":
        blotter.add(order(), START)
    elif doubt == "a dispute":
        trade: Fact = Filled("x", 0, "t1", 1, 60_000.0, 0.0, "USDT", False, 1, START + S)
        book.apply(trade, START + S)
        assert (0, Side.NET) in book.disputed
    else:
        blotter.affected(0, START + S)
        assert behind(book.accounts[0], blotter)
    assert not settled(book.accounts[0], book, blotter)


def test_a_mark_is_enough_of_a_price() -> None:
    book = book_of(MISSION)
    book.rows[0].mark = None
    known = ready(book)
    assert known.missing() == "a price of BTCUSDT"
    book.apply(Mark(0, 60_000.0, 60_000.0, START), START)
    assert known.missing() is None
