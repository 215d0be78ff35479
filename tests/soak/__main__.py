"""Soaks from the command line: on the wall clock, or a day in virtual time."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.soak import real, virtual
from tests.soak.agent import Sample

WARM_UP = 1 / 4
"""The part of a soak that does not count, unless said otherwise."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="on the wall clock, real processes")
    parser.add_argument("--virtual-hours", type=float, help="in virtual time instead, in one process")
    parser.add_argument("--warm-up", type=float, help="minutes, or hours, that do not count; a quarter if not given")
    parser.add_argument("--nice", type=int, default=0, help="give way to others by so much")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args()
    length = options.virtual_hours or options.minutes
    warm_up = length * WARM_UP if options.warm_up is None else options.warm_up
    if options.virtual_hours:
        _write(virtual.day(length, warm_up, _show_held), options.json)
    else:
        _write(real.soak(length, warm_up, _show, nice=options.nice), options.json)
    return 0


def _show(sample: Sample) -> None:
    sys.stderr.write(
        f"\r{sample.at_s / 60:6.1f} min  {sample.inputs:>9,} inputs  {sample.orders:>6,} orders  "
        f"{sample.reconnects:>4} reconnections  {sample.objects:>8,} objects "
    )
    sys.stderr.flush()


def _show_held(hours: float, size: int) -> None:
    sys.stderr.write(f"\r{hours:5.1f} h  {size / virtual.KB:>9,.0f} kB held by the agent's code ")
    sys.stderr.flush()


def _write(report: Struct, path: Path | None) -> None:
    text = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    sys.stderr.write("\n")
    if path is None:
        sys.stdout.buffer.write(text)
    else:
        path.write_bytes(text)


if __name__ == "__main__":
    sys.exit(main())
