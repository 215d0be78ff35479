"""What was appended with urgency is on disk, whatever happens next; what can't be written is never sent."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.core.events import Side
from agent.core.orders import Order, State, Style
from agent.journal import Decided, Journal, JournalFailed, Locked, Run, Unusable

NOW = 1_764_000_000_000_000_000


def order(id: str, state: State = State.SENT, symbol: str = "BTCUSDT") -> Order:
    return Order(
        id=id,
        instrument=0,
        symbol=symbol,
        side=Side.NET,
        lots=-3,
        ticks=600_001,
        style=Style.IOC,
        reduce=True,
        value=60_000.5,
        created_at=NOW,
        expires_at=NOW + 3,
        state=state,
    )


def record(text: str, symbol: str | None = None) -> bytes:
    return msgspec.json.encode({"notes": [{"kind": "hold", "text": text, "symbol": symbol}]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    journal.begin("paper", "mode = 'paper'", "0.1.0", NOW)
    yield journal
    journal.close()


def test_runs_are_numbered_without_end(path: Path) -> None:
    for epoch in (1, 2, 3):
        journal = Journal(path)
        assert (journal.last_run() is None) == (epoch == 1)
        assert journal.begin("live", f"# {epoch}", "0.1.0", NOW + epoch) == epoch
        journal.close()
    last = Journal.read(path).last_run()
    assert last is not None
    assert last == Run(3, NOW + 3, "live", "0.1.0", last.config_hash, "# 3")
    assert len(last.config_hash) == 64


def test_decisions_come_back_newest_first_and_filtered(journal: Journal) -> None:
    journal.append(NOW + 1, 1, record("a", "BTCUSDT"), [], urgent=False)
    journal.append(NOW + 2, 2, record("b", "ETHUSDT"), [], urgent=False)
    journal.append(NOW + 3, 3, record("c mentions BTCUSDT in passing"), [], urgent=False)
    assert [d.seq for d in journal.decisions()] == [3, 2, 1]
    assert [d.seq for d in journal.decisions(limit=1)] == [3]
    assert [d.seq for d in journal.decisions(since=NOW + 2)] == [3, 2]
    assert journal.decisions(symbol="BTCUSDT") == [Decided(1, 1, NOW + 1, record("a", "BTCUSDT"))]
    assert journal.decisions(symbol="BTC") == []


def test_an_order_is_kept_as_it_is_now_with_the_decision_that_made_it(journal: Journal) -> None:
    journal.append(NOW, 1, record("send"), [order("a"), order("b")], urgent=True)
    assert journal.recent(2**62, "paper") == [order("a"), order("b")]
    journal.append(NOW + 9, 2, record("told"), [order("a", State.DONE), order("b", State.UNKNOWN)], urgent=False)
    assert journal.recent(2**62, "paper") == [order("b", State.UNKNOWN)]
    assert journal.orders() == [order("b", State.UNKNOWN), order("a", State.DONE)]
    assert journal.orders(limit=1) == [order("b", State.UNKNOWN)]


def test_unresolved_orders_of_any_run_in_the_same_mode_are_found(path: Path) -> None:
    for epoch in (1, 2):
        journal = Journal(path)
        journal.begin("live", "", "0.1.0", NOW)
        journal.append(NOW, 1, record("send"), [order(f"r{epoch}")], urgent=True)
        journal.close()
    journal = Journal(path)
    assert [o.id for o in journal.recent(2**62, "live")] == ["r1", "r2"]
    assert journal.recent(0, "paper") == []
    journal.close()


def test_the_next_run_takes_over_what_is_open_or_recent(journal: Journal) -> None:
    journal.append(NOW, 1, record("send"), [order("old"), order("open"), order("late")], urgent=True)
    journal.append(NOW + 1, 2, record("told"), [order("old", State.DONE)], urgent=False)
    journal.append(NOW + 9, 3, record("told"), [order("late", State.DONE)], urgent=False)
    assert journal.recent(NOW + 5, "paper") == [order("late", State.DONE), order("open")]


def test_what_is_not_urgent_waits_for_a_flush(journal: Journal, path: Path) -> None:
    reader = Journal.read(path)
    journal.append(NOW, 1, record("a"), [], urgent=False)
    assert reader.decisions() == []
    journal.flush()
    assert [d.seq for d in reader.decisions()] == [1]
    journal.append(NOW, 2, record("b"), [], urgent=False)
    journal.append(NOW, 3, record("c"), [order("x")], urgent=True)
    assert [d.seq for d in reader.decisions()] == [3, 2, 1]
    journal.flush()
    reader.close()


def test_memory_is_written_with_a_decision_or_alone_and_the_last_counts(journal: Journal, path: Path) -> None:
    assert journal.memory("paper") is None
    journal.append(NOW, 1, record("a"), [], urgent=False, memory={"n": b"1"})
    journal.append(NOW, 2, record("b"), [], urgent=False)
    assert journal.memory("paper") == b'{"n":1}'
    journal.remember({"n": b"2", "m": b"0"}, NOW + 1)
    assert journal.memory("paper") == b'{"m":0,"n":2}'
    assert journal.memory("live") is None, "each mode has its own"
    reader = Journal.read(path)
    assert reader.memory("paper") is None
    journal.append(NOW, 3, record("c"), [order("x")], urgent=True, memory={"n": b"3"})
    assert reader.memory("paper") == b'{"m":0,"n":3}', "it is on disk with the orders it goes with"
    reader.close()


def test_memory_outlives_the_run_and_its_failure_ends_the_journal(path: Path) -> None:
    for epoch, mode in enumerate(["live", "paper", "live"], start=1):
        journal = Journal(path)
        before = None if epoch < 3 else b'{"epoch":1}'
        assert journal.memory(mode) == before
        journal.begin(mode, f"# {epoch}", "0.1.0", NOW)
        journal.remember({"epoch": str(epoch).encode()}, NOW)
        journal.close()
    journal = Journal(path)
    assert journal.memory("live") == b'{"epoch":3}'
    assert journal.memory("paper") == b'{"epoch":2}'
    found = journal.last_run("paper")
    assert found is not None
    assert (found.epoch, found.config) == (2, "# 2")
    assert journal.last_run("observe") is None
    journal.begin("live", "", "0.1.0", NOW)
    full(journal)
    with pytest.raises(JournalFailed, match="full"):
        journal.remember({"n": b"1" * 100_000}, NOW)
    with pytest.raises(JournalFailed, match="failed before"):
        journal.remember({}, NOW)
    journal.close()


def test_a_closed_journal_has_everything(path: Path) -> None:
    journal = Journal(path)
    journal.begin("paper", "", "0.1.0", NOW)
    journal.append(NOW, 1, record("a"), [], urgent=False)
    journal.close()
    reader = Journal.read(path)
    assert [d.seq for d in reader.decisions()] == [1]
    reader.close()


def test_every_commit_is_synced(journal: Journal) -> None:
    assert journal._db.pragma("journal_mode") == "wal"
    assert journal._db.pragma("synchronous") == 2, "FULL: the log is synced at each commit, not at checkpoints alone"


def test_nobody_else_can_read_the_files(journal: Journal, path: Path) -> None:
    journal.append(NOW, 1, record("a"), [order("x")], urgent=True)
    assert {file.name for file in path.parent.iterdir()} >= {"journal.db", "journal.db-wal", "journal.db.lock"}
    for file in (path.parent, *path.parent.iterdir()):
        assert file.stat().st_mode & 0o077 == 0, file


CHILD = """
import os, signal, sys
from pathlib import Path
from agent.journal import Journal
from tests.agent.test_journal import NOW, order, record
journal = Journal(Path(sys.argv[1]))
journal.begin("live", "", "0.1.0", NOW)
journal.append(NOW, 1, record("not urgent"), [], urgent=False)
journal.append(NOW, 2, record("send"), [order("precious")], urgent=True)
journal.append(NOW, 3, record("never committed"), [order("never sent")], urgent=False)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_urgent_append_survives_a_kill(path: Path) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD, path], cwd=Path(__file__).parents[2], check=False)
    assert child.returncode == -signal.SIGKILL
    journal = Journal(path)
    assert [d.seq for d in journal.decisions()] == [2, 1]
    assert journal.recent(2**62, "live") == [order("precious")]
    assert journal.begin("live", "", "0.1.0", NOW) == 2
    assert journal.begin("live", "", "0.1.0", NOW, above=40) == 41
    journal.close()


MARKED = """
import os, sys
from pathlib import Path
from agent.journal import Journal
from tests.agent.test_journal import NOW, order, record
journal = Journal(Path(sys.argv[1]))
journal.begin("live", "", "0.1.0", NOW)
os.kill(os.getpid(), 0)
journal.append(NOW, 1, record("not urgent"), [], urgent=False)
os.kill(os.getpid(), 0)
journal.append(NOW, 2, record("send"), [order("precious")], urgent=True)
os.kill(os.getpid(), 0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_an_urgent_append_reaches_the_disk_before_it_returns(path: Path) -> None:
    trace: list[str | Path] = ["strace", "-f", "-e", "trace=fsync,fdatasync,kill", sys.executable, "-c", MARKED, path]
    done = subprocess.run(trace, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True)
    if done.returncode != 0 and "kill(" not in done.stderr:
        pytest.skip("tracing is not permitted here")
    _, ordinary, urgent, _ = done.stderr.split("kill(")
    assert "sync(" not in ordinary
    assert "sync(" in urgent


def test_a_second_owner_is_turned_away_and_told_by_whom(journal: Journal, path: Path) -> None:
    with pytest.raises(Locked, match=f"process {os.getpid()}"):
        Journal(path)
    journal.close()
    Journal(path).close()


def test_a_killed_owner_leaves_the_journal_free(path: Path) -> None:
    subprocess.run([sys.executable, "-c", CHILD, path], cwd=Path(__file__).parents[2], check=False)
    Journal(path).close()


def test_reading_needs_no_lock_and_writes_nothing(journal: Journal, path: Path) -> None:
    reader = Journal.read(path)
    assert not hasattr(reader, "append")
    assert reader.last_run() == journal.last_run()
    reader.close()
    with pytest.raises(Unusable, match="no journal yet"):
        Journal.read(path.with_name("other.db"))


def full(journal: Journal) -> None:
    """Make the disk as good as full for this journal."""
    journal._db.pragma("max_page_count", 1)


def test_a_full_disk_fails_closed(journal: Journal, path: Path) -> None:
    journal.append(NOW, 1, record("fits"), [order("a")], urgent=True)
    journal.append(NOW, 2, record("waits for a flush"), [], urgent=False)
    full(journal)
    with pytest.raises(JournalFailed, match="full"):
        journal.append(NOW, 3, record("x" * 100_000), [order("b")], urgent=True)
    journal._db.pragma("max_page_count", 1_000_000)
    for again in (
        lambda: journal.append(NOW, 4, record("small"), [], urgent=False),
        lambda: journal.begin("paper", "", "0.1.0", NOW),
        journal.flush,
    ):
        with pytest.raises(JournalFailed, match="failed before"):
            again()
    journal.close()
    reader = Journal.read(path)
    assert [o.id for o in reader.recent(2**62, "paper")] == ["a"], "a failed append leaves no trace"
    assert [d.seq for d in reader.decisions()] == [1]
    reader.close()


def test_files_taken_away_while_something_waits_for_a_flush_are_missed_before_an_order_leaves(
    journal: Journal, path: Path
) -> None:
    journal.append(NOW, 1, record("waits"), [], urgent=False)
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(JournalFailed, match="No such file"):
        journal.append(NOW, 2, record("send"), [order("a")], urgent=True)


def test_a_decision_twice_is_refused(journal: Journal) -> None:
    journal.append(NOW, 1, record("a"), [], urgent=False)
    with pytest.raises(AssertionError):
        journal.append(NOW, 1, record("b"), [order("x")], urgent=True)
    assert journal.orders() == []


def test_a_run_must_have_begun(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(AssertionError):
        journal.append(NOW, 1, record("a"), [], urgent=True)
    journal.close()


def make(path: Path) -> None:
    journal = Journal(path)
    journal.begin("live", "", "0.1.0", NOW)
    for seq in range(200):
        journal.append(NOW + seq, seq, record("x" * 500), [order(f"o{seq}")], urgent=False)
    journal.close()


def refused(path: Path) -> str:
    before = path.read_bytes()
    with pytest.raises(Unusable) as caught:
        Journal(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before, "a file that can't be used is left as it is"
    return str(caught.value)


def test_a_file_that_is_no_database(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database, but long enough to have a header" * 100)
    assert "damaged" in refused(path)
    with pytest.raises(Unusable, match="damaged"):
        Journal.read(path)


def test_pages_that_are_torn(path: Path) -> None:
    make(path)
    content = bytearray(path.read_bytes())
    for page in range(3, len(content) // 4096):
        content[page * 4096 : page * 4096 + 100] = bytes(100)
    path.write_bytes(content)
    assert "damaged" in refused(path)


def test_a_file_that_was_cut_short(path: Path) -> None:
    make(path)
    path.write_bytes(path.read_bytes()[: 4096 * 3])
    assert "damaged" in refused(path)


def test_content_that_breaks_the_tables_own_rules(path: Path) -> None:
    make(path)
    loosen = "UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ') ') WHERE name = 'decisions'"
    tighten = "UPDATE sqlite_schema SET sql = sql || 'STRICT' WHERE name = 'decisions'"
    for change in (loosen, "UPDATE decisions SET record = x'00' WHERE seq = 7", tighten):
        other = sqlite3.connect(path)
        other.execute("PRAGMA writable_schema = ON")
        other.execute(change)
        other.commit()
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
    assert "damaged: non-TEXT value in decisions.record" in refused(path)


def test_an_interrupted_creation_is_no_obstacle(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    make(path)


def test_another_programs_database(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE birds (name)")
    other.close()
    assert "not a journal of trimtab" in refused(path)


def test_a_row_that_can_t_be_read(path: Path) -> None:
    make(path)
    other = sqlite3.connect(path)
    other.execute("UPDATE orders SET record = '{}' WHERE id = 'o7'")
    other.commit()
    other.close()
    reader = Journal.read(path)
    with pytest.raises(Unusable, match="holds an order"):
        reader.recent(2**62, "live")
    reader.close()


def test_runs_without_an_end_are_counted(path: Path) -> None:
    for number, ends in enumerate([True, False, False, True, False]):
        journal = Journal(path)
        assert journal.crashes(0) == [0, 0, 1, 2, 2][number]
        assert journal.crashes(NOW + 2) == [0, 0, 0, 1, 1][number]
        journal.begin("live", "", "0.1.0", NOW + number)
        if ends:
            journal.end(NOW + number + 10)
        journal.close()
    last = Journal.read(path).last_run()
    assert last is not None
    assert last.ended_at is None


def test_a_table_that_is_gone(path: Path) -> None:
    make(path)
    other = sqlite3.connect(path)
    other.execute("DROP TABLE orders")
    other.close()
    reader = Journal.read(path)
    with pytest.raises(Unusable, match="can't be read"):
        reader.orders()
    reader.close()


def test_a_directory_in_its_place(path: Path) -> None:
    path.mkdir(parents=True)
    for opened in (Journal, Journal.read):
        with pytest.raises(Unusable, match="can't be opened"):
            opened(path)


def test_a_directory_that_can_t_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unusable, match="can't be opened"):
        Journal(tmp_path / "file" / "journal.db")
