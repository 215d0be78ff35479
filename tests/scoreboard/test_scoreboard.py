"""The board says what was measured, on which commit, and never more than that."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from tests.faults import table as faults
from tests.faults.catalogue import FAULTS
from tests.scoreboard import __main__ as command
from tests.scoreboard import board
from tests.scoreboard.board import FIGURES, NOT_RUN, Board, Budget, Measured, Row
from tests.scoreboard.rows import MEASURES


def printed(what: object) -> str:
    file = io.StringIO()
    Console(file=file, width=200).print(what)
    return file.getvalue()


def test_what_is_on_record_can_be_read_and_every_figure_has_its_commit() -> None:
    for name, row in board.load().rows.items():
        assert (row.value == NOT_RUN) is (row.commit is None), name
        assert row.met is None or row.commit is not None, name


def test_every_figure_is_measured() -> None:
    assert set(MEASURES) == set(FIGURES)


def test_a_row_that_was_not_run_says_so(tmp_path: Path) -> None:
    text = printed(board.table(board.load(tmp_path / "none.json")))
    assert text.count(NOT_RUN) == len(FIGURES)
    assert "nothing has been measured" in text


def test_a_figure_for_another_target_is_none_for_this_one(tmp_path: Path) -> None:
    file = tmp_path / "board.json"
    target = FIGURES["S2"].target
    rows = {"S1": Row("x", "less than this", "100", True, "abc"), "S2": Row("x", target, "30 of 30", True, "abc")}
    board.save(Board("abc", "a machine", rows), file)
    found = board.load(file)
    assert found.rows["S1"].value == NOT_RUN
    assert (found.rows["S2"].value, found.rows["S2"].what) == ("30 of 30", FIGURES["S2"].what)


def repository(folder: Path) -> Path:
    for words in (["init", "-q"], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x", "--allow-empty"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_what_measuring_writes_makes_no_tree_dirty_and_anything_else_does(tmp_path: Path) -> None:
    root = repository(tmp_path)
    assert board.commit(root)[1] is False
    (root / "tests").mkdir()
    (root / "tests" / "kept").touch()
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    assert board.commit(root)[1] is True
    command_ = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"]
    subprocess.run(command_, cwd=root, check=True)
    (root / "tests" / "scoreboard.json").touch()
    assert board.commit(root)[1] is False


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board of its own, one row of which gives two."""
    file = tmp_path / "board.json"

    def both(budget: Budget) -> dict[str, Measured]:
        budget.progress("half", 0.5)
        assert budget.minutes == 2
        return {"S1": Measured("1 of 1", True), "S6": Measured("2 lots", False)}

    monkeypatch.setattr(command, "MEASURES", {"S1": both, "S6": pytest.fail})
    monkeypatch.setattr(command, "load", lambda: board.load(file))
    monkeypatch.setattr(command, "save", lambda found: board.save(found, file))
    return file


def test_a_row_that_came_with_another_is_not_run_again(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "commit", lambda: ("abc", False))
    assert command.run(["S1", "S3", "S6"], 2, 1, dirty=False) == 1
    found = board.load(measured)
    assert [found.rows[name].value for name in ("S1", "S3", "S6")] == ["1 of 1", NOT_RUN, "2 lots"]
    assert {found.rows[name].commit for name in ("S1", "S6")} == {"abc"}


def test_files_that_differ_from_the_commit_are_refused_or_marked(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "commit", lambda: ("abc", True))
    assert command.run(["S1"], 2, 1, dirty=False) == 2
    assert not measured.exists()
    command.run(["S1"], 2, 1, dirty=True)
    assert board.load(measured).rows["S1"].commit == "abc+"


def test_a_fault_counts_only_where_it_struck_in_a_test_that_passed(tmp_path: Path) -> None:
    def outcome(*tests: faults.Test) -> str:
        return faults.Fault("", list(tests)).outcome

    passed, silent = faults.Test("a", 3, "passed"), faults.Test("b", 0, "passed")
    assert outcome(passed) == outcome(passed, faults.Test("c", 0, "skipped")) == "passed"
    assert outcome() == outcome(silent) == outcome(faults.Test("c", 1, "skipped")) == "untested"
    assert outcome(passed, faults.Test("c", 1, "failed")) == "failed"
    found = faults.load(tmp_path / "none.json")
    assert faults.open_faults(found) == list(FAULTS)
    assert printed(faults.table(found)).count("untested") == len(FAULTS)
