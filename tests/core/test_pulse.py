from __future__ import annotations

from itertools import pairwise

from agent.core.audit import ANSWERS, Audit
from agent.core.book import Book
from agent.core.events import MARKET, PRIVATE, Balance, Clock, Listed, Margin, Mark, Up
from agent.core.prices import LEAP, REPEATED_NS, told_at
from agent.core.pulse import LONGEST_REST_NS, REST_NS, Pulse
from agent.core.venue import Abilities
from tests.core.kit import MS, START, S, instrument


def listening() -> tuple[Pulse, Book, Audit]:
    book = Book(["BTCUSDT"])
    book.apply(Listed(instruments=(instrument(),)), START)
    book.apply(Up(stream=MARKET), START)
    book.apply(Up(stream=PRIVATE), START)
    return Pulse(book.accounts[0], 5 * S), book, Audit(Abilities(frozenset(ANSWERS), ()), [0], salt="p")


def mark(price: float = 60_000.0, at: int = START) -> Mark:
    return Mark(instrument=0, price=price, index=price, at=at)


def test_silence_is_told_once_and_leads_to_a_reconnection_if_it_lasts() -> None:
    pulse, book, audit = listening()
    book.apply(mark(), START)
    assert pulse.look(audit, START + 5 * S) == []
    assert pulse.wake_at() == START + 5 * S + 1
    (found,) = pulse.look(audit, START + 5 * S + 1)
    assert (found.symbol, found.reopen) == ("BTCUSDT", None)
    assert pulse.look(audit, START + 9 * S) == []
    (again,) = pulse.look(audit, START + 10 * S + 1)
    assert again.reopen == MARKET
    assert pulse.look(audit, START + 12 * S) == []


def test_a_stream_is_connected_anew_ever_more_rarely() -> None:
    pulse, _, audit = listening()
    at = [
        START + second * S
        for second in range(7200)
        if any(found.reopen for found in pulse.look(audit, START + second * S))
    ]
    gaps = [later - sooner for sooner, later in pairwise(at)]
    assert gaps[:3] == [REST_NS, 2 * REST_NS, 4 * REST_NS]
    assert max(gaps) == LONGEST_REST_NS


def test_a_wallet_that_moved_untold_shows_after_six_seconds_unless_the_stream_tells_it_late() -> None:
    for late in (False, True):
        pulse, book, audit = listening()
        for second, wallet in ((1, 100.0), (11, 90.0), (21, 90.0)):
            now = START + second * S
            book.apply(mark(at=now), now)
            book.apply(Margin(wallet, wallet, 0.0, 0.0, wallet, now), now)
            book.apply(Balance("USDT", wallet, now), now)
            if late and second == 11:
                book.apply(Balance("USDT", wallet, now - MS), now + MS)
        assert [found.reopen for found in pulse.look(audit, START + 21 * S)] == ([] if late else [PRIVATE])


def test_what_the_venue_said_long_ago_is_old_however_late_it_is_read() -> None:
    clock = Clock(offset_ns=2 * S, error_ns=10 * MS)
    assert told_at(START, START + 60 * S, None) == START + 60 * S
    assert told_at(START, START + 60 * S, clock) == START - 2 * S + 10 * MS
    assert told_at(START + 90 * S, START + 60 * S, clock) == START + 60 * S


def test_a_leap_is_believed_once_it_has_lasted_and_an_end_of_it_ends_the_doubt() -> None:
    _, book, _ = listening()
    row = book.rows[0]
    book.apply(mark(), START)
    high = 60_000 * (1 + LEAP) + 1
    book.apply(mark(high, START + S), START + S)
    assert row.doubt is not None
    assert row.mark is not None
    assert row.mark.price == 60_000
    book.apply(mark(60_000.0, START + 2 * S), START + 2 * S)
    assert row.doubt is None
    for second in (3, 4, 5):
        book.apply(mark(high, START + second * S), START + second * S)
        assert row.mark.price == 60_000
    book.apply(mark(high, START + 3 * S + REPEATED_NS), START + 3 * S + REPEATED_NS)
    assert book.rows[0].mark is not None
    assert book.rows[0].mark.price == high
