"""A marked test in which its fault never struck must fail, or the table means nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
EXAMPLE = """
import pytest

@pytest.mark.fault("A1", "A2")
def test_both(struck):
    struck("A1", 3)
    if {second}:
        struck("A2")
"""


def run(folder: Path, second: bool) -> tuple[int, dict[str, dict[str, list[dict[str, object]]]]]:
    (folder / "conftest.py").write_text(
        (ROOT / "tests/conftest.py").read_text().replace("Path(__file__)", f"Path({str(ROOT / 'tests/conftest.py')!r})")
    )
    (folder / "test_example.py").write_text(EXAMPLE.format(second=second))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder),
        "--fault-table",
        str(folder / "table.json"),
        str(folder),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return done.returncode, msgspec.json.decode((folder / "table.json").read_bytes())


def test_a_fault_that_struck_is_in_the_table(tmp_path: Path) -> None:
    code, table = run(tmp_path, second=True)
    assert code == 0
    assert [(row["times"], row["outcome"]) for row in table["A1"]["tests"]] == [(3, "passed")]
    assert [(row["times"], row["outcome"]) for row in table["A2"]["tests"]] == [(1, "passed")]


def test_a_fault_that_never_struck_fails_its_test(tmp_path: Path) -> None:
    code, table = run(tmp_path, second=False)
    assert code == 1
    assert [(row["times"], row["outcome"]) for row in table["A2"]["tests"]] == [(0, "failed")]
