"""``python -m tests.fuzz``: broken inputs through everything that reads. ``--first N`` repeats unit N alone."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.fuzz.campaign import UNIT, Tally, in_a_process


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--units", type=int, default=1, help=f"how many, of {UNIT} inputs each, in this process")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    options = parser.parse_args()
    tally = Tally()
    for number in track(range(options.first, options.first + options.units), description="fuzzing"):
        tally.add(in_a_process(number))
    out = Console()
    shown = Table("surface", "inputs", "rejected")
    for name, inputs in tally.inputs.items():
        shown.add_row(name, f"{inputs:,}", f"{tally.rejected[name]:,}")
    out.print(shown)
    for finding in tally.findings[:20]:
        out.print(f"unit {finding.unit}, {finding.surface}: {finding.what}", markup=False, style="red")
        out.print(repr(finding.input[:500]), markup=False)
    return 1 if tally.findings else 0


sys.exit(main())
