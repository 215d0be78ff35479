"""The fixture and the option behind `make faults`: which test injected which fault, how often, and how it ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.faults.catalogue import FAULTS

Struck = Callable[..., None]
STRUCK = pytest.StashKey[Counter[str]]()
ROWS = pytest.StashKey[dict[str, list[dict[str, object]]]]()


@pytest.fixture
def struck(request: pytest.FixtureRequest) -> Iterator[Struck]:
    """Call it with the number of a fault, and how often it has just struck."""
    marked = {name for mark in request.node.iter_markers("fault") for name in mark.args}
    counts: Counter[str] = Counter()
    request.node.stash[STRUCK] = counts

    def note(fault: str, times: int = 1) -> None:
        assert fault in marked, f'mark the test with @pytest.mark.fault("{fault}")'
        counts[fault] += times

    yield note
    silent = sorted(name for name in marked if not counts[name])
    assert not silent, f"never struck: {', '.join(silent)}"


def configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "fault(*names): the test injects these faults of tests/faults/catalogue.py")
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in FAULTS}
    config.stash[ROWS] = rows


def check(items: list[pytest.Item]) -> None:
    """Every marked name is in the catalogue, and every marked test says when its faults strike."""
    for item in items:
        for mark in item.iter_markers("fault"):
            unknown = [name for name in mark.args if name not in FAULTS]
            if unknown or not mark.args:
                raise pytest.UsageError(f"{item.nodeid}: no such fault: {unknown}")
            if "struck" not in getattr(item, "fixturenames", ()):
                raise pytest.UsageError(f"{item.nodeid}: take the fixture `struck`")


def record(item: pytest.Item, report: pytest.TestReport) -> None:
    """Note how a marked test ended."""
    if report.when != "call" and not (report.when == "teardown" and report.failed):
        return
    counts = item.stash.get(STRUCK, Counter())
    for mark in item.iter_markers("fault"):
        for name in mark.args:
            rows = item.config.stash[ROWS][name]
            rows[:] = [row for row in rows if row["test"] != item.nodeid]
            rows.append({"test": item.nodeid, "times": counts[name], "outcome": report.outcome})


def write(config: pytest.Config, path: Path) -> None:
    """Write what was noted, as JSON: by fault, its tests with times and outcome."""
    found = {name: {"what": FAULTS[name], "tests": rows} for name, rows in config.stash[ROWS].items()}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
