"""The benchmark measures what it says, if only a little of it: no figure is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import msgspec
import pytest

from agent.cli import bench


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> bench.Report:
    folder = tmp_path_factory.mktemp("bench")
    written = folder / "bench.json"
    start = [sys.executable, "-c", "from agent.cli import main; main()"]
    done = subprocess.run(
        [*start, "bench", "--json", "--rounds", "4", "--seconds", "5", "--out", str(written)],
        env=os.environ | {"XDG_STATE_HOME": str(folder / "state")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(written.read_text()) == json.loads(done.stdout)
    assert list((folder / "state/trimtab").iterdir()) == [], "it leaves nothing behind"
    return msgspec.json.decode(done.stdout, type=bench.Report)


def test_every_row_has_figures_or_a_reason(report: bench.Report) -> None:
    for row in report.rows:
        if row.skipped is not None:
            assert row.count == 0
            continue
        assert row.count > 0, row
        assert row.p50 is not None
        assert row.p90 is not None
        assert row.p99 is not None
        assert row.max is not None
        assert 0 < row.p50 <= row.p90 <= row.p99 <= row.max, row
        assert row.ratio is not None
        assert row.what, "a figure says what it includes"


def test_everything_is_there_and_the_floor_is_the_measure(report: bench.Report) -> None:
    rows = {row.name: row for row in report.rows}
    assert rows["floor"].ratio == 1
    wire = ["floor", "order_disk", "order_memory", "entry_memory", "order_ccxt"]
    parts = ["decision_order", "decision_hold", "journal_disk"]
    alone = ["decode_mark", "decode_quote", *(f"step_{size}" for size in bench.SIZES)]
    alone += [f"plan_{size}" for size in bench.PLAN_SIZES]
    assert {*wire, *parts, *alone} <= set(rows)
    assert rows["order_disk"].count + rows["order_disk"].missed == report.rounds
    assert rows["decision_order"].count >= rows["order_disk"].count


def test_ccxt_does_the_same_job_where_it_is_installed(report: bench.Report) -> None:
    [row] = [row for row in report.rows if row.name == "order_ccxt"]
    if find_spec("ccxt") is None:
        assert row.skipped == "ccxt is not installed"
    else:
        assert row.skipped is None
        assert row.count > 0


def test_the_machine_is_named(report: bench.Report) -> None:
    assert report.machine["cpu"]
    assert report.machine["cores"] > 0
    assert report.machine["versions"]["trimtab"]


def test_a_missing_figure_shows_as_such() -> None:
    report = bench.Report(
        "",
        {"cpu": "c", "cores": 1, "load": [0.5], "python": "3"},
        1,
        [bench.Row("a", "b", "c"), bench.Row("d", "e", "", skipped="no")],
    )
    assert not report.ok
    assert bench.table(report).row_count == 2


def test_percentiles_are_measured_values() -> None:
    row = bench._row("a", "b", "c", [value * 1000 for value in range(100, 0, -1)])
    assert (row.p50, row.p90, row.p99, row.max) == (50, 90, 99, 100)
