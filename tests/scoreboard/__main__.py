"""``python -m tests.scoreboard run [S1 …]`` measures and records; ``show`` prints what is on record.

``run`` without names runs all rows, each for its share of the campaign; ``--minutes`` gives each row that many instead.
A row that comes with the run of another one (S5 with S1) is not run a second time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from tests.faults import table as faults
from tests.scoreboard.board import FIGURES, Budget, commit, load, machine, save, table
from tests.scoreboard.rows import MEASURES

out = Console()


def run(names: list[str], minutes: float | None, processes: int, dirty: bool) -> int:
    """Measure these rows one after the other, each recorded as soon as it is there. 1 if one is not met."""
    head, changed = commit()
    if changed and not dirty:
        out.print("the files differ from the commit: commit first, or mark the figures with --dirty", style="red")
        return 2
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    missed = False
    measured: set[str] = set()
    for name in names:
        if name in measured:
            continue
        if name not in MEASURES:
            out.print(f"{name} nothing measures it", style="yellow")
            continue
        with Progress(*columns, console=out) as progress:
            task = progress.add_task(name, total=1.0)

            def tell(now: str, share: float, name: str = name, progress: Progress = progress) -> None:
                progress.update(task, description=f"{name} {now}", completed=share)  # noqa: B023 — told at once

            started = time.monotonic()
            share = FIGURES[name].minutes if minutes is None else minutes
            found = MEASURES[name](Budget(minutes=share, processes=processes, progress=tell))
            tell("done", 1.0)
        board = load()
        board.commit, board.machine = f"{head}+" if changed else head, machine()
        for row_name, figure in found.items():
            row = board.rows[row_name]
            row.value, row.met, row.detail = figure.value, figure.met, figure.detail
            row.commit, row.seconds = board.commit, round(time.monotonic() - started, 1)
            out.print(f"{row_name} {row.value}", style={True: "green", False: "red", None: "yellow"}[row.met])
        save(board)
        measured |= found.keys()
        missed |= any(figure.met is False for figure in found.values())
    return int(missed)


def show() -> int:
    """Print the board and the table of faults."""
    out.print(table(load()))
    out.print(faults.table(faults.load()))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scoreboard", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show")
    runs = commands.add_parser("run")
    runs.add_argument("rows", nargs="*", metavar="ROW", help="S1 to S15; all if none is named")
    runs.add_argument("--minutes", type=float, help="for each row")
    runs.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    runs.add_argument("--dirty", action="store_true", help="measure uncommitted files, and mark the figures with +")
    options = parser.parse_args()
    if options.command == "show":
        return show()
    if unknown := [name for name in options.rows if name not in FIGURES]:
        parser.error(f"no such row: {', '.join(unknown)}")
    return run(options.rows or list(FIGURES), options.minutes, options.processes, options.dirty)


if __name__ == "__main__":
    sys.exit(main())
