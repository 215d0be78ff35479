"""The scoreboard: what each figure is, what it should be, and what it was when it was last measured.

A figure is written by the run that measured it, with the commit it ran on, or it says "not run". None is estimated.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct, field
from rich.table import Table
from rich.text import Text

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "tests" / "scoreboard.json"
WRITTEN: Final = ("tests/scoreboard.json", "tests/faults/faults.json", "tests/plans/plans.json")
"""What measuring writes itself, and what therefore makes no tree dirty."""
NOT_RUN: Final = "not run"


class Figure(Struct, frozen=True):
    """What is measured and what the measure should come to; ``minutes`` is how long a campaign measures it."""

    what: str
    target: str
    minutes: float


FIGURES: Final = {
    "S1": Figure(
        "seeded storms over the shipped HTTP and websocket code, faults that struck, promises broken",
        "100,000 storms, 1,000,000 faults, every kind 1,000 times, 0 broken",
        20,
    ),
    "S2": Figure(
        "safeguards taken out one at a time, and how many the storms notice",
        "30 safeguards, all noticed, half of them within 200 seeds",
        8,
    ),
    "S3": Figure(
        "kills at every step of the order path, alone and in pairs",
        "every step that a free run counts, 500 alone and 1,000 pairs, 0 broken",
        20,
    ),
    "S4": Figure(
        "states in which a crash may leave the journal: unsynced writes lost or torn, bits flipped",
        "all states of 200 traces, 0 orders sent unwritten, every damage opened or noticed",
        6,
    ),
    "S5": Figure(
        "orders of unknown fate: wrongly resolved, and how long it took",
        "0 wrong, 99th percentile within the request's life and 15 s",
        20,
    ),
    "S6": Figure("the furthest that any storm took an exposure out of its hull", "1 lot", 20),
    "S7": Figure(
        "how long until drift is back inside its band once the faults stop",
        "99th percentile 30 s, never over 120 s, 0 that never come to rest",
        20,
    ),
    "S8": Figure(
        "how long until a stream that went silent is noticed, and orders sent on what it last said",
        "5 s for prices, 15 s for the account, 0 orders",
        4,
    ),
    "S9": Figure(
        "request budgets under five times the load that they allow",
        "0 bans, at most 80 % used, cancels wait 250 ms at the 99th percentile",
        4,
    ),
    "S10": Figure(
        "a long run: memory, descriptors, tasks, timers",
        "memory's slope not above nought, below 1 MB a day; all counts flat",
        20,
    ),
    "S11": Figure(
        "broken and hostile frames, replies and files through everything that reads them",
        "10,000,000 inputs, 0 crashes, 0 hangs, 0 private frames dropped in silence, every rejection counted",
        30,
    ),
    "S12": Figure(
        "how late the decision loop is at three times the peak rate of frames",
        "99.9th percentile 20 ms, never over 250 ms",
        4,
    ),
    "S13": Figure(
        "two instances of one account, with pauses, partitions and skewed clocks",
        "at rest 30 s after the first is lost; 10,000 storms and 100 real pauses without two writers",
        5,
    ),
    "S14": Figure(
        "a canary for each secret, looked for wherever something is written or shown",
        "12 channels, 0 found; unit exposure 1.5; all requirements locked by hash, none known to be vulnerable",
        2,
    ),
    "S15": Figure(
        "the storms themselves: equal in two processes with other hash seeds; tapes replayed",
        "1,000 seeds equal, all replays equal",
        5,
    ),
}


class Measured(Struct, frozen=True):
    """What a measurement found. ``met`` is None where it has not come far enough to say."""

    value: str
    met: bool | None
    detail: dict[str, Any] = field(default_factory=dict)


class Budget(Struct, frozen=True):
    """How much a measurement may take: minutes of this machine, and processes at a time.

    ``progress`` is told what is being done now, and the share that is done.
    """

    minutes: float
    processes: int
    progress: Callable[[str, float], None]


class Row(Struct):
    """One line of the board."""

    what: str
    target: str
    value: str = NOT_RUN
    met: bool | None = None
    commit: str | None = None
    seconds: float | None = None
    """How long it was measured."""
    detail: dict[str, Any] = field(default_factory=dict)


class Board(Struct):
    """All rows; ``commit`` and ``machine`` are those of the last measurement."""

    commit: str | None = None
    machine: str | None = None
    rows: dict[str, Row] = field(default_factory=dict)


def load(file: Path = FILE) -> Board:
    """The board on record. What it says of rows that are no more, or of other targets, is left out."""
    found = msgspec.json.decode(file.read_bytes(), type=Board) if file.exists() else Board()
    rows = {}
    for name, figure in FIGURES.items():
        row = found.rows.get(name)
        rows[name] = row if row and row.target == figure.target else Row(figure.what, figure.target)
        rows[name].what = figure.what
    return Board(found.commit, found.machine, rows)


def save(board: Board, file: Path = FILE) -> None:
    """Write the board, whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(board), indent=1) + b"\n")
    partial.replace(file)


def machine() -> str:
    """What it was measured on."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def commit(root: Path = ROOT) -> tuple[str, bool]:
    """The commit that is checked out, and whether the files differ from it."""
    head = _git(root, "rev-parse", "--short=12", "HEAD").strip()
    changed = [line[3:] for line in _git(root, "status", "--porcelain").splitlines()]
    return head, any(path not in WRITTEN for path in changed)


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout


def table(board: Board) -> Table:
    """The board beside its targets."""
    shown = Table(title="Scoreboard", title_justify="left", caption_justify="left")
    shown.caption = f"last measured on {board.machine}" if board.machine else "nothing has been measured"
    for name in ("", "figure", "target", "measured"):
        shown.add_column(name, overflow="fold")
    shown.add_column("", justify="center")
    shown.add_column("commit", no_wrap=True)
    for name, row in board.rows.items():
        style, mark = {True: ("green", "yes"), False: ("red", "no"), None: ("yellow", "–")}[row.met]
        shown.add_row(name, row.what, row.target, Text(row.value, style), Text(mark, style), row.commit or "")
    return shown
