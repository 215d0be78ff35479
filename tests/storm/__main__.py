"""Run storms from the command line: one seed to look at it again, or many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from adapters.simulator import VENUES
from tests.storm.storm import storm
from tests.storm.watchman import Violation


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this storm alone")
    parser.add_argument("--seeds", type=int, default=200, help="run so many, from 0 on")
    parser.add_argument("--venue", default="binance", choices=sorted(VENUES), help="whose dialect and whose side")
    parser.add_argument("--digest", action="store_true", help="print only a hash of each storm's decisions")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + 1) if options.seed is not None else range(options.seeds)
    if options.digest:
        sys.stdout.writelines(f"{storm(seed, venue=options.venue).digest}\n" for seed in seeds)
        return 0
    counts: Counter[str] = Counter()
    violations: list[str] = []
    started = time.monotonic()
    for done, seed in enumerate(seeds, 1):
        try:
            outcome = storm(seed, venue=options.venue)
        except Violation as violation:
            violations.append(str(violation))
            sys.stdout.write(f"\r{violation}\n")
        else:
            counts.update(outcome.faults)
            counts["orders"] += outcome.orders
            counts["orders of unknown fate"] += outcome.unknown
        sys.stdout.write(f"\r{done} of {len(seeds)} storms, {len(violations)} violations")
        sys.stdout.flush()
    sys.stdout.write(f"\n{time.monotonic() - started:.0f} s\n")
    for name, count in sorted(counts.items()):
        sys.stdout.write(f"  {name:<26}{count:>8}\n")
    return 1 if violations else 0


sys.exit(main())
