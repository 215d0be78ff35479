"""Kill from the command line: ``python -m tests.kill --points 500 --pairs 1000 --json FILE``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from tests.kill.campaign import campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--points", type=int, default=500, help="lives killed once")
    parser.add_argument("--pairs", type=int, default=1000, help="lives killed, and killed again while they recover")
    parser.add_argument("--workers", type=int, default=2, help="trials at a time")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long, done or not")
    parser.add_argument("--seed", type=int, default=0, help="of the lots")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    options = parser.parse_args()
    report = campaign(
        options.points,
        options.pairs,
        workers=options.workers,
        seconds=options.minutes * 60,
        seed=options.seed,
        progress=_show,
    )
    text = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    sys.stderr.write("\n")
    if options.json is None:
        sys.stdout.buffer.write(text)
    else:
        options.json.write_bytes(text)
    return 1 if report.violations else 0


def _show(what: str, share: float) -> None:
    sys.stderr.write(f"\r{share:6.1%}  {what} ")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
