"""How the figures of the board are measured: each function calls the tests that own a measurement, and sums them up."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Final

import msgspec

from tests.canary.canary import fly
from tests.fuzz import campaign as fuzz
from tests.scoreboard.board import ROOT, Budget, Measured
from tests.storage import flips, power
from tests.storm.ablations import ABLATIONS, seeds_to_find
from tests.storm.flood import Flooded, flood
from tests.storm.twins import Outcome, twins

Measure = Callable[[Budget], dict[str, Measured]]
"""Measures one row, and those that the same run gives as well."""


# S2: safeguards taken out

BITE_WITHIN: Final = 200
"""Half of the safeguards must be missed by so many storms."""
GIVE_UP_AFTER: Final = 2_000


def bite(name: str, until: float) -> int | None:
    """How many storms it takes to notice that a safeguard is missing; None when none has, within the time."""
    return seeds_to_find(name, GIVE_UP_AFTER, until=until)


def ablations(budget: Budget) -> dict[str, Measured]:
    """Take out each safeguard in turn and let storms look for it."""
    until = time.monotonic() + budget.minutes * 60
    found: dict[str, int | None] = {}
    with ProcessPoolExecutor(budget.processes) as pool:
        waiting = {pool.submit(bite, name, until): name for name in ABLATIONS}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            budget.progress(f"{len(found)} of {len(waiting)} safeguards", len(found) / len(waiting))
    bites = [seeds for seeds in found.values() if seeds is not None]
    median = statistics.median(bites) if bites else float("inf")
    met = len(found) >= 30 and len(bites) == len(found) and median <= BITE_WITHIN
    value = f"{len(bites)} of {len(found)} noticed, half of them within {median:g} storms"
    return {"S2": Measured(value, met, {"storms to notice": dict(sorted(found.items()))})}


# S9: request budgets


def budgets(budget: Budget) -> dict[str, Measured]:
    """Floods of five minutes each, as many as the time allows."""
    until = time.monotonic() + budget.minutes * 60
    floods: list[Flooded] = []
    with ProcessPoolExecutor(budget.processes) as pool:
        waiting = [pool.submit(flood, seed) for seed in range(2 * budget.processes)]
        for done in as_completed(waiting):
            floods.append(done.result())
            budget.progress(f"{len(floods)} of {len(waiting)} floods", len(floods) / len(waiting))
            if time.monotonic() > until:
                for left in waiting:
                    left.cancel()
                break
    bans, cancels = sum(one.bans for one in floods), sum(one.cancels for one in floods)
    weight, orders = max(one.weight for one in floods), max(one.orders for one in floods)
    wait_ms = max(one.cancel_wait_ms for one in floods)
    value = f"{bans} bans, {max(weight, orders):.0%} used, {cancels} cancels wait {wait_ms:.0f} ms"
    detail = {
        "floods": len(floods),
        "requests wanted": sum(one.requests for one in floods),
        "requests sent": sum(one.left for one in floods),
        "most of the request weight": weight,
        "most of the order count": orders,
    }
    return {"S9": Measured(value, bans == 0 and max(weight, orders) <= 0.8 and wait_ms <= 250, detail)}


# S13: two instances

ENOUGH: Final = 10_000
"""So many pairs of instances."""


def instances(budget: Budget) -> dict[str, Measured]:
    """Two instances on one account, again and again: how soon they notice, and what was accepted of both meanwhile."""
    until = time.monotonic() + budget.minutes * 60
    found: list[Outcome] = []
    with ProcessPoolExecutor(budget.processes) as pool:
        for first in range(0, ENOUGH, 20):
            found += pool.map(twins, range(first, first + 20))
            budget.progress(f"{len(found)} pairs", len(found) / ENOUGH)
            if time.monotonic() > until:
                break
    met = [one for one in found if one.both]
    longest = max([one.beside_s for one in met], default=0.0)
    beside, increases = sum(one.beside for one in met), sum(one.increases for one in found)
    value = (
        f"{len(found):,} pairs, {len(met):,} traded beside each other, for {longest:.1f} s at most and by {beside:,} "
        f"orders in all, for no exchange fences an older writer off; {increases} increases by one that had stopped"
    )
    detail = {"pairs": len(found), "met": len(met), "longest_s": longest, "orders": beside, "increases": increases}
    return {"S13": Measured(value, len(found) >= ENOUGH and not increases and not beside, detail)}


# S15: the storms themselves


def repeats(budget: Budget) -> dict[str, Measured]:
    """The same storms in two processes with other hash seeds, as many as the time allows."""
    command = [sys.executable, "-m", "tests.storm", "--digest", "--seeds", "1000"]
    runs = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE)
        for seed in ("1", "2")
    ]
    until = time.monotonic() + budget.minutes * 60
    pairs = equal = 0
    for one, other in zip(*(run.stdout for run in runs if run.stdout is not None), strict=False):
        pairs, equal = pairs + 1, equal + (one == other)
        budget.progress(f"{pairs} of 1000 seeds", pairs / 1000)
        if time.monotonic() > until:
            break
    for run in runs:
        run.kill()
        run.communicate()
    value = f"{equal} of {pairs} seeds equal"
    met = equal == pairs and (pairs >= 1000 or None)
    return {"S15": Measured(value, met, {"seeds": pairs, "equal": equal})}


# S4: power cuts and flipped bits

LIVES: Final = 200


def storage(budget: Budget) -> dict[str, Measured]:
    """Every power cut of two hundred journals' lives as far as it can be counted; and a bit of every byte of one."""
    until = time.monotonic() + budget.minutes * 60 * 0.75  # the rest is for the bits
    found = power.Found()
    with ProcessPoolExecutor(budget.processes) as pool:
        cuts = [pool.submit(power.campaign, [seed]) for seed in range(LIVES)]
        flipping, logs = pool.submit(flips.flip, each=1), pool.submit(flips.flip_log, 3_000)
        for done in as_completed(cuts):
            found.add(done.result())
            budget.progress(f"{found.traces} of {LIVES} traces, {found.states:,} states", found.traces / LIVES)
            if time.monotonic() > until:
                for left in cuts:
                    left.cancel()
                break
        file, log = flipping.result(), logs.result()
    bad = len(found.lost) + len(found.wrong) + len(found.damaged)
    unnoticed = file.unnoticed + log.unnoticed
    value = (
        f"{found.traces} traces, {found.states:,} states: {len(found.lost)} orders sent unwritten, "
        f"{len(found.wrong) + len(found.damaged)} not as they were; {file.flips + log.flips:,} flipped bits, "
        f"{len(unnoticed)} neither noticed nor harmless"
    )
    detail = {
        "seeds": [0, found.traces - 1],
        "syncs before which every subset of writes was a state": found.exhaustive,
        "syncs before which a sample was": found.sampled,
        "broken": (found.lost + found.wrong + found.damaged)[:50],
        "bits of the file": {"pages": file.pages, "noticed": file.noticed, "harmless": file.harmless},
        "bits of the log": {"noticed": log.noticed, "taken for a cut in the last commit": log.last},
        "unnoticed": unnoticed[:50],
    }
    met = not bad and not unnoticed and (found.traces >= LIVES or None)
    return {"S4": Measured(value, met, detail)}


# S11: broken inputs

READERS: Final = ("adapters/binance*.py", "adapters/reading.py", "adapters/answers.py")


def fuzzing(budget: Budget) -> dict[str, Measured]:
    """Broken inputs through everything that reads, as many as the time allows up to twelve million."""
    until = time.monotonic() + budget.minutes * 60
    most = 12_000_000 // fuzz.UNIT
    tally, begun, waiting = fuzz.Tally(), 0, set[Future[fuzz.Tally]]()
    with ProcessPoolExecutor(budget.processes) as pool:
        while True:
            while begun < most and len(waiting) < 2 * budget.processes and time.monotonic() < until:
                waiting.add(pool.submit(fuzz.in_a_process, begun))
                begun += 1
            if not waiting:
                break
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for one in done:
                tally.add(one.result())
            inputs = sum(tally.inputs.values())
            budget.progress(f"{inputs:,} inputs, {len(tally.findings)} findings", inputs / 10_000_000)
    hangs = sum(finding.what.startswith("Hang") for finding in tally.findings)
    silent = sum("in silence" in finding.what for finding in tally.findings)
    inputs, rejected = sum(tally.inputs.values()), sum(tally.rejected.values())
    value = (
        f"{inputs:,} inputs, {len(tally.findings) - hangs - silent} crashes, {hangs} hangs, {silent} private frames "
        f"dropped in silence, {rejected:,} rejected and counted"
    )
    detail = {
        "inputs": dict(tally.inputs),
        "rejected": dict(tally.rejected),
        "findings": [f"unit {finding.unit}, {finding.surface}: {finding.what}" for finding in tally.findings[:50]],
        "coverage of the dialect, percent of lines": covered(),
    }
    met = not tally.findings and (inputs >= 10_000_000 or None)
    return {"S11": Measured(value, met, detail)}


def covered() -> dict[str, float]:
    """What part of the dialect's lines a hundred thousand of the inputs reach; requests are made in other tests."""
    with tempfile.TemporaryDirectory() as folder:
        data, report = f"--data-file={folder}/coverage", Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage"]
        fuzzed = ["run", data, "-m", "tests.fuzz", "--units", "10"]
        for words in (fuzzed, ["json", data, "-q", "--include", ",".join(READERS), "-o", str(report)]):
            subprocess.run([*command, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        files = msgspec.json.decode(report.read_bytes())["files"]
    return {name: round(found["summary"]["percent_covered"], 1) for name, found in files.items()}


# S14: secrets

MOST_EXPOSED: Final = 1.5


def canaries(budget: Budget) -> dict[str, Measured]:
    """Canaries through real processes, and how the product is shipped: the unit's exposure, and what is locked."""
    budget.progress("canaries", 0.1)
    with tempfile.TemporaryDirectory() as folder:
        survey = asyncio.run(fly(Path(folder)))
    budget.progress("unit and locks", 0.9)
    exposed, vulnerable = exposure(), audit()
    locked, requirements = locks()
    channels = {name: len(channel.hits) for name, channel in survey.channels.items()}
    value = (
        f"{len(survey.hits)} found in {len(channels)} channels, {survey.thefts} strangers reached; unit exposure "
        f"{'not measured' if exposed is None else exposed}; {locked} of {requirements} requirements locked by hash; "
        f"known vulnerabilities {'not asked for' if vulnerable is None else vulnerable}"
    )
    good = not survey.hits and len(channels) >= 12 and not survey.thefts and locked == requirements
    good = good and (exposed is None or exposed <= MOST_EXPOSED) and not vulnerable
    met = None if good and (exposed is None or vulnerable is None) else good
    detail = {
        "found, by channel": channels,
        "bytes searched, by channel": {name: channel.searched for name, channel in survey.channels.items()},
        "found": survey.hits[:50],
        "done to requests": dict(survey.mischief),
    }
    return {"S14": Measured(value, met, detail)}


def exposure() -> float | None:
    """What systemd thinks of the unit, from 0 (safe) to 10; None where there is no systemd-analyze."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return None
    command = [program, "security", "--offline=true", "--no-pager", "deploy/trimtab.service"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    return float(level[1]) if level else None


def audit() -> int | None:
    """How many vulnerabilities are known of what is installed with the product; None where pip-audit can't be asked."""
    program = shutil.which("pip-audit")
    if program is None:
        return None
    command = [program, "--require-hashes", "-r", "requirements.txt", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    try:
        found = msgspec.json.decode(done.stdout)["dependencies"]
    except (msgspec.DecodeError, KeyError):
        return None
    return sum(len(one.get("vulns", ())) for one in found)


def locks() -> tuple[int, int]:
    """How many of the requirements are pinned to a version and a hash, and how many there are."""
    locked = wanted = 0
    for path in sorted(ROOT.glob("requirements*.txt")):
        text = path.read_text().replace("\\\n", " ")
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                wanted += 1
                locked += "==" in line and "--hash=sha256:" in line
    return locked, wanted


MEASURES: Final[dict[str, Measure]] = {
    "S13": instances,
    "S15": repeats,
    "S2": ablations,
    "S9": budgets,
    "S4": storage,
    "S11": fuzzing,
    "S14": canaries,
}
"""What measures a row. A row that is not here is not measured yet, and says so."""
