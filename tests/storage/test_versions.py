"""Journals of older versions, as those left them, become new with everything in them; newer ones are refused."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from agent.core.decisions import Memory
from agent.core.orders import State
from agent.journal import Damaged, Journal, Unusable
from agent.tables import UPGRADES, VERSION
from tests.faults.striking import Struck

HERE = Path(__file__).parent
OPEN = "ttde4a7c000000048"
"""The order in them whose fate is open."""
NOW = 1_795_700_000_000_000_000


def restore(version: int, path: Path) -> None:
    """Make a journal from its dump."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = sqlite3.connect(path)
    old.executescript((HERE / f"journal-{version}.sql").read_text())
    old.close()


@pytest.mark.fault("F12")
@pytest.mark.parametrize("version", UPGRADES)
def test_an_older_journal_is_brought_up_to_date_and_keeps_everything(
    version: int, tmp_path: Path, struck: Struck
) -> None:
    path = tmp_path / "journal.db"
    restore(version, path)
    with pytest.raises(Unusable, match=f"has version {version}; the next run"):
        Journal.read(path)
    for epoch in (199_849, 199_850):
        journal = Journal(path)
        assert [(order.id, order.state) for order in journal.recent(2**62, "live")] == [(OPEN, State.SENT)]
        assert len(journal.orders()) == 4
        assert len(journal.decisions()) == 12
        assert journal.verify().decisions == 12
        remembered = journal.memory("live")
        if version == 2:
            assert remembered is not None
            assert msgspec.json.decode(remembered, type=Memory).symbols == ("BTCUSDT", "ETHUSDT", "SOLUSDT")
        else:
            assert remembered is None
        last = journal.last_run()
        assert last is not None
        assert last.ended_at is None
        assert "BTCUSDT = 0.5" in last.config
        assert journal.begin("live", last.config, "0.2.0", NOW) == epoch
        journal.close()
    struck("F12")
    upgraded = sqlite3.connect(path)
    assert upgraded.execute("PRAGMA user_version").fetchone() == (VERSION,)
    upgraded.close()


@pytest.mark.parametrize("version", UPGRADES)
def test_a_damaged_journal_of_an_older_version_is_left_as_it_is(version: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    restore(version, path)
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 3 + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(Damaged):
        Journal(path)
    assert path.read_bytes() == content


def test_an_upgrade_that_can_not_be_finished_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    restore(2, path)
    other = sqlite3.connect(path)
    other.execute("DROP TABLE memory")
    other.close()
    with pytest.raises(Damaged, match="memory"):
        Journal(path)
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA user_version").fetchone() == (2,)
    assert other.execute("SELECT count(*) FROM orders").fetchone() == (4,)
    other.close()


@pytest.mark.fault("F12")
def test_a_newer_journal_is_refused_and_left_as_it_is(tmp_path: Path, struck: Struck) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    newer.close()
    content = path.read_bytes()
    for opened in (Journal, Journal.read):
        with pytest.raises(Unusable, match=f"version {VERSION + 1}, this trimtab knows {VERSION}"):
            opened(path)
        struck("F12")
    assert path.read_bytes() == content
