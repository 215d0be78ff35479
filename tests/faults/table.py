"""The table of the 98 faults, from what `make faults` found: who injected each, how often it struck, how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field
from rich.table import Table
from rich.text import Text

from tests.faults.catalogue import FAULTS, ROOMS

FILE: Final = Path(__file__).parent / "faults.json"


class Test(Struct, frozen=True):
    """One test that injected a fault: ``outcome`` is passed, failed or skipped."""

    test: str
    times: int
    outcome: str


class Fault(Struct, frozen=True):
    """A fault and the tests that injected it."""

    what: str
    tests: list[Test] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """passed: it struck in a test that passed, and none failed. Else failed, or untested."""
        if any(test.outcome == "failed" for test in self.tests):
            return "failed"
        return "passed" if any(test.outcome == "passed" and test.times for test in self.tests) else "untested"

    @property
    def times(self) -> int:
        """How often it struck, in all tests."""
        return sum(test.times for test in self.tests if test.outcome == "passed")


def load(file: Path = FILE) -> dict[str, Fault]:
    """What was found of each fault of the catalogue; nothing was found of one that is not in the file."""
    found = msgspec.json.decode(file.read_bytes(), type=dict[str, Fault]) if file.exists() else {}
    return {name: found.get(name, Fault(what)) for name, what in FAULTS.items()}


def open_faults(found: dict[str, Fault]) -> list[str]:
    """The faults that no test has shown to be survived."""
    return [name for name, fault in found.items() if fault.outcome != "passed"]


def table(found: dict[str, Fault]) -> Table:
    """One line for each fault, by room."""
    done = len(found) - len(open_faults(found))
    shown = Table(title=f"{done} of {len(found)} faults struck in a test that passed", title_justify="left")
    for name in ("", "fault", "test"):
        shown.add_column(name, overflow="fold")
    for name in ("tests", "struck"):
        shown.add_column(name, justify="right")
    shown.add_column("outcome")
    room = ""
    for name, fault in found.items():
        if name[0] != room:
            room = name[0]
            shown.add_section()
            shown.add_row(room, Text(ROOMS[room], "bold"))
        style = {"passed": "green", "failed": "bold red", "untested": "red"}[fault.outcome]
        first = fault.tests[0].test.removeprefix("tests/") if fault.tests else ""
        counts = (str(len(fault.tests)), str(fault.times))
        shown.add_row(Text(name, style), fault.what, first, *counts, Text(fault.outcome, style))
    return shown
