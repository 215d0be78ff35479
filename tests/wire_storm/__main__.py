"""Run storms on the wire from the command line: one to look at it again, or a campaign that can be continued."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.scoreboard.board import commit
from tests.wire_storm.campaign import KINDS, Report, campaign, load, percentile, save
from tests.wire_storm.scene import storm


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.wire_storm", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this storm alone, and print what came of it")
    parser.add_argument("--seeds", default="0:1000", help="A:B, from A on and before B")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no storm after so long")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the report here, and go on from the one that is there")
    parser.add_argument("--digest", action="store_true", help="print only a hash of each storm")
    options = parser.parse_args()
    if options.seed is not None:
        sys.stdout.write(f"{storm(options.seed)}\n")
        return 0
    first, _, last = options.seeds.partition(":")
    seeds = range(int(first), int(last))
    if options.digest:
        for seed in seeds:
            sys.stdout.write(f"{storm(seed).digest}\n")
            sys.stdout.flush()
        return 0
    head, changed = commit()
    before = Report(seeds.start, seeds.start, commit=f"{head}+" if changed else head)
    if options.json is not None and options.json.exists():
        found = load(options.json)
        if (found.commit, found.first) != (before.commit, before.first):
            parser.error(f"{options.json} is of other code or other seeds; move it away")
        before = found

    def progress(report: Report) -> None:
        sys.stderr.write(f"\r{report.storms} of {len(seeds)} storms, {len(report.violations)} violations")
        sys.stderr.flush()
        if options.json is not None:
            save(report, options.json)

    report = campaign(seeds, minutes=options.minutes, processes=options.processes, before=before, progress=progress)
    show(report)
    return 1 if report.violations else 0


def show(report: Report) -> None:
    """The report, in words."""
    lines = [
        f"\n{report.storms} storms from seed {report.first} on, {report.orders} orders, {report.seconds:.0f} s",
        *report.violations.values(),
        "faults that struck:",
        *(f"  {name:<46}{report.faults.get(name, 0):>8}" for name in KINDS),
        "where it gets interesting:",
        *(f"  {name:<46}{count:>8}" for name, count in sorted(report.states.items())),
        "seconds, half of the time, 99 % of the time, at most:",
    ]
    for name, spans in (("to rest", report.rests), ("to learn an unknown fate", report.doubts)):
        half, most, worst = (percentile(spans, part) for part in (0.5, 0.99, 1.0))
        lines.append(f"  {name:<38}{half:>8.1f}{most:>8.1f}{worst:>8.1f}")
    lines.append(f"lots beyond the hull at most: {report.overshoot:.3f} (seed {report.overshoot_seed})")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
