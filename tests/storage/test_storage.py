"""Power cuts and flipped bits, as many as a test run can afford; and that they would notice a weaker journal."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from agent import tables, wal
from agent.core.orders import State
from agent.journal import Damaged, Journal
from tests.faults.striking import Struck
from tests.storage.disk import Disk
from tests.storage.flips import flip, flip_log
from tests.storage.power import NAME, NOW, Found, campaign, check, encoded, order, trace

LIVES = 20
STATES = 100
"""Looked at in each of them."""


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk() as disk:
        yield disk


@pytest.mark.fault("G4")
@pytest.mark.parametrize("first", range(0, LIVES, 5))
def test_a_power_cut_loses_nothing_that_was_told_to_be_on_disk(first: int, struck: Struck) -> None:
    found = campaign(range(first, first + 5), STATES)
    struck("G4", found.states)
    assert (found.lost, found.wrong, found.damaged) == ([], [], [])
    assert found.states > 4 * STATES  # of five lives: some states are equal
    assert found.exhaustive > found.sampled


def test_a_life_without_a_sync_at_each_commit_is_noticed() -> None:
    found = Found()
    check(trace(1, synchronous="normal"), found, STATES)
    assert found.lost


def test_the_lives_have_everything_in_them() -> None:
    kinds = {type(op).__name__ for seed in range(LIVES) for op in trace(seed).ops}
    assert kinds == {"Write", "Truncate", "Delete", "Sync", "Mark"}


@pytest.mark.fault("G5")
def test_a_flipped_bit_is_noticed_at_the_start_or_changes_nothing(struck: Struck) -> None:
    found = flip(some=15)
    struck("G5", found.noticed)
    assert found.unnoticed == []
    assert found.pages > 10
    assert found.noticed > 500
    assert found.noticed + found.harmless == found.flips


@pytest.mark.fault("G5")
def test_a_flipped_bit_in_the_log_undoes_no_commit_but_the_last(struck: Struck) -> None:
    found = flip_log(300)
    struck("G5", found.noticed + found.last)
    assert found.unnoticed == []
    assert found.noticed > 200


def test_a_log_is_read_frame_by_frame(tmp_path: Path) -> None:
    journal = Journal(tmp_path / NAME)
    journal.begin("live", "", "0.1.0", NOW)
    log = tmp_path / f"{NAME}-wal"
    for seq in range(1, 41):
        journal.append(NOW, seq, b'{"orders":[]}', [], urgent=True, memory={"n": b"1" * 50_000})
    assert log.stat().st_size > 2_000_000
    tracemalloc.start()
    assert wal.broken(log) is None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 500_000
    journal.close()


@pytest.mark.parametrize("without", ["digests", "the log"])
def test_flips_would_be_missed_without(without: str) -> None:
    if without == "digests":
        with patch.object(tables, "_rows", lambda *of: ()), patch.object(tables, "_links", lambda *of: ()):
            assert flip(some=15).unnoticed
    else:
        with patch.object(wal, "broken", lambda path: None):
            assert flip_log(300).unnoticed


def test_the_digests_alone_find_a_row_that_was_edited_away_or_put_back(tmp_path: Path) -> None:
    edits = {
        "UPDATE decisions SET record = '{}' WHERE link = 3": "chain is broken at",
        "DELETE FROM decisions WHERE link = 3": "chain is broken at 4",
        "DELETE FROM decisions WHERE link = 1": "chain begins at 2",
        "UPDATE decisions SET epoch = 9 WHERE link = 5": "chain is broken at",
        "UPDATE orders SET state = 'done' WHERE id = 'o2'": "orders: the row o2",
        "DELETE FROM orders WHERE id = 'o2'": "order o2 was decided on and is missing",
        "UPDATE runs SET ended_at = 1": "runs: the row 1",
        "UPDATE memory SET record = '2'": "memory: the row live, n",
    }
    for number, (edit, what) in enumerate(edits.items()):
        path = tmp_path / str(number) / NAME
        journal = Journal(path)
        journal.begin("live", "", "0.1.0", NOW)
        for seq in range(1, 6):
            one = order(f"o{seq}")
            journal.append(NOW, seq, encoded(one), [one], urgent=True, memory={"n": b"1"})
        assert journal.verify().orders == 5
        journal._db.execute(edit)
        with pytest.raises(Damaged, match=what):
            journal.verify()
        journal.close()


def test_orders_that_do_not_follow_from_the_decisions_are_found_by_verify(tmp_path: Path) -> None:
    journal = Journal(tmp_path / NAME)
    journal.begin("live", "", "0.1.0", NOW)
    journal.append(NOW, 1, encoded(order("a")), [order("a", State.DONE)], urgent=True)
    with pytest.raises(Damaged, match="order a is not what the decisions say of it"):
        journal.verify()
    journal.close()


def test_an_urgent_append_is_one_sync_of_the_log_and_others_are_none(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path / NAME)
    journal.begin("live", "", "0.1.0", NOW)
    before = disk.counts["xSync"]
    for seq in range(1, 101):
        journal.append(NOW, seq, b'{"orders":[]}', [order(f"o{seq}")], urgent=True)
        assert disk.counts["xSync"] == before + seq
    for seq in range(101, 201):
        journal.append(NOW, seq, b'{"orders":[]}', [], urgent=False)
    assert disk.counts["xSync"] == before + 100
    journal.flush()
    assert disk.counts["xSync"] == before + 101
    journal.close()


def test_the_log_is_moved_into_the_file_by_flush_and_never_by_an_order(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path / NAME)
    journal.begin("live", "", "0.1.0", NOW)
    big = {"n": b"1" * 200_000}
    for seq in range(1, 41):
        journal.append(NOW, seq, b'{"orders":[]}', [], urgent=True, memory=big)
    size = (tmp_path / NAME).stat().st_size
    assert (tmp_path / f"{NAME}-wal").stat().st_size > 1_000 * 4096
    journal.append(NOW, 41, b'{"orders":[]}', [], urgent=False)
    journal.flush()
    assert (tmp_path / NAME).stat().st_size > size
    journal.append(NOW, 42, b'{"orders":[]}', [], urgent=True, memory=big)
    grown = (tmp_path / f"{NAME}-wal").stat().st_size
    for seq in range(43, 60):
        journal.append(NOW, seq, b'{"orders":[]}', [], urgent=True, memory=big)
    assert (tmp_path / f"{NAME}-wal").stat().st_size == grown, "the log is used anew from its beginning"
    journal.close()
