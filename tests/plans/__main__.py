"""``python -m tests.plans --count 100000``: no step of any plan of so many random portfolios breaks a limit."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.progress import track

from tests.plans.plans import broken

CHUNK = 500
RESULT = Path(__file__).parent / "plans.json"


def many(first: int) -> list[str]:
    return [line for seed in range(first, first + CHUNK) for line in broken(seed)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="how many portfolios")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    count, first = parser.parse_args().count, parser.parse_args().first
    starts = range(first, first + count, CHUNK)
    found: list[str] = []
    with ProcessPoolExecutor() as pool:
        for lines in track(pool.map(many, starts), description="plans", total=len(starts)):
            found += lines
    for line in found[:20]:
        sys.stdout.write(f"{line}\n")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result = {
        "commit": commit.stdout.strip(),
        "seeds": [first, first + len(starts) * CHUNK],
        "portfolios": len(starts) * CHUNK,
        "broken": len(found),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(f"{result['portfolios']} portfolios, {len(found)} limits broken; written to {RESULT}\n")
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
