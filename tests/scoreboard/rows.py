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
from tests.kill import campaign as killing
from tests.scoreboard.board import ROOT, Budget, Measured
from tests.soak import real as real_soak
from tests.soak import virtual
from tests.soak.agent import Sample
from tests.soak.lag import lag
from tests.soak.slope import Slope
from tests.storage import flips, power
from tests.storm.ablations import ABLATIONS, seeds_to_find
from tests.storm.flood import Flooded, flood
from tests.storm.stall import STREAMS, Stall, figures, stall
from tests.storm.twins import Outcome, twins
from tests.wire_storm import campaign as wire_storms

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


# S1, S5, S6, S7: storms on the wire

STORMS: Final = 100_000
FAULTS: Final = 1_000_000
OF_EACH: Final = 1_000
LIFE_S: Final = 3.0
"""Of a request, unless a portfolio file says otherwise."""


def wire(budget: Budget) -> dict[str, Measured]:
    """Storms from seed 0 on, as many as the time allows; no seed is left out."""

    def progress(report: wire_storms.Report) -> None:
        budget.progress(f"{report.storms:,} storms, {len(report.violations)} violations", report.storms / STORMS)

    report = wire_storms.campaign(range(STORMS), minutes=budget.minutes, processes=budget.processes, progress=progress)
    struck, broken = sum(report.faults.values()), list(report.violations.values())
    rare = [kind for kind in wire_storms.KINDS if report.faults.get(kind, 0) < OF_EACH]
    enough = report.storms >= STORMS and struck >= FAULTS and not rare
    seeds = {"first seed": report.first, "next seed": report.next}
    history = {"faults": report.faults, "states": report.states, "orders": report.orders, "broken": broken[:50]}
    found = {
        "S1": Measured(
            f"{report.storms:,} storms, {struck:,} faults of {len(wire_storms.KINDS)} kinds, {len(rare)} of them less "
            f"than {OF_EACH:,} times, {len(broken)} broken",
            not broken and (enough or None),
            seeds | history,
        )
    }
    wrong = sum("never placed" in line or "is still" in line for line in broken)
    doubts = [wire_storms.percentile(report.doubts, part) for part in (0.5, 0.99, 1.0)]
    found["S5"] = Measured(
        f"{wrong} wrong of {sum(report.doubts.values()):,}, half within {doubts[0]:g} s, 99 % within {doubts[1]:g} s",
        not wrong and doubts[1] <= LIFE_S + 15 and bool(report.doubts),
        seeds | {"seconds": dict(zip(("half", "99 %", "longest"), doubts, strict=True))},
    )
    found["S6"] = Measured(
        f"{report.overshoot:.3g} lots beyond the hull"
        + ("" if report.overshoot_seed is None else f", in seed {report.overshoot_seed}"),
        report.overshoot <= 1,
        seeds | {"seed": report.overshoot_seed},
    )
    rests = [wire_storms.percentile(report.rests, part) for part in (0.5, 0.99, 1.0)]
    never = sum("at rest" in line for line in broken)
    found["S7"] = Measured(
        f"half within {rests[0]:g} s, 99 % within {rests[1]:g} s, all within {rests[2]:g} s; {never} never at rest",
        rests[1] <= 30 and rests[2] <= 120 and not never and bool(report.rests),
        seeds | {"seconds": dict(zip(("half", "99 %", "longest"), rests, strict=True))},
    )
    return found


# S3: kills


def kills(budget: Budget) -> dict[str, Measured]:
    """Real processes killed at their steps, and killed again while they recover."""
    report = killing.campaign(
        500, 1_000, workers=budget.processes, seconds=budget.minutes * 60, progress=budget.progress
    )
    steps = sum(scene.steps for scene in report.scenes.values())
    value = (
        f"{report.points} kills and {report.pairs} pairs, over {steps:,} steps of {len(report.scenes)} scenes, "
        f"{len(report.violations)} broken"
    )
    enough = report.complete and report.points >= 500 and report.pairs >= 1_000
    return {"S3": Measured(value, not report.violations and (enough or None), msgspec.to_builtins(report))}


# S10: the long run

DAY_H: Final = 24.0
REAL_MINUTES: Final = 60.0


def soak(budget: Budget) -> dict[str, Measured]:
    """Real processes at ten times the usual rate, and beside them a day in virtual time, as far as the time goes."""
    hours = min(DAY_H, DAY_H * budget.minutes / REAL_MINUTES)
    with ProcessPoolExecutor(1) as pool:
        day = pool.submit(virtual.day, hours, hours / 4, _unseen)

        def seen(sample: Sample) -> None:
            share = sample.at_s / 60 / budget.minutes
            budget.progress(f"{sample.at_s / 60:.0f} min, {sample.inputs:,} inputs", share)

        real = real_soak.soak(budget.minutes, budget.minutes / 4, seen)
        one = day.result()
    flat = all(span.low == span.high or span.first >= span.last for span in (real.fds, real.tasks, real.timers))
    level = real.private_slope.low <= 0 and one.last_half_slope.low <= 0
    small = real.private_slope.a_day < 1 and one.last_half_slope.a_day < 1_024
    enough = budget.minutes >= REAL_MINUTES and hours >= DAY_H
    value = (
        f"{real.minutes:g} min: memory {_per_day(real.private_slope, 'MB')}, descriptors {_span(real.fds)}, tasks "
        f"{_span(real.tasks)}, timers {_span(real.timers)}; "
        f"{one.hours:g} virtual hours: memory {_per_day(one.last_half_slope, 'kB')}"
    )
    good = level and small and flat and real.exit_code == 0
    detail = {"real": msgspec.to_builtins(real), "virtual": msgspec.to_builtins(one)}
    return {"S10": Measured(value, good and (enough or None), detail)}


def _unseen(hours: float, size: int) -> None:
    """Nobody looks on while the other soak is shown."""


def _per_day(slope: Slope, unit: str) -> str:
    return f"{slope.a_day:+.1f} ({slope.low:+.1f} to {slope.high:+.1f}) {unit} a day"


def _span(span: real_soak.Range) -> str:
    return f"{span.low} to {span.high}"


# S8: silent streams


def silences(budget: Budget) -> dict[str, Measured]:
    """Each stream silenced at a random moment, as often as the time allows."""
    until = time.monotonic() + budget.minutes * 60
    found: list[Stall] = []
    with ProcessPoolExecutor(budget.processes) as pool:
        for seed in range(0, 1_000, 4):
            asked = [pool.submit(stall, stream, one) for one in range(seed, seed + 4) for stream in STREAMS]
            found += [one.result() for one in asked]
            budget.progress(f"{len(found)} stalls", min(1.0, len(found) / 1_000))
            if time.monotonic() > until:
                break
    told = figures(found)
    value = (
        f"{told.stalls} stalls: prices within {told.marks_s:.1f} s, the account within {told.private_s:.1f} s; "
        f"{told.stale} of {told.orders:,} orders on stale data"
    )
    return {"S8": Measured(value, told.met, {"streams": list(STREAMS), "seeds": len(found) // len(STREAMS)})}


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


# S12: the decision loop's lateness


def lateness(budget: Budget) -> dict[str, Measured]:
    """Each loop for half of the time; what else the machine does counts as well."""
    found = []
    for number, loop in enumerate(("uvloop", "asyncio")):
        budget.progress(loop, number / 2)
        found.append(lag(loop, budget.minutes * 30))
    value = "; ".join(
        f"{one.loop}: 99.9 % within {one.p999:g} ms, at most {one.most:g} ms, {one.inputs_a_second:g} frames a second"
        for one in found
    )
    met = all(one.p999 <= 20 and one.most <= 250 for one in found)
    return {"S12": Measured(value, met, {one.loop: msgspec.to_builtins(one) for one in found})}


# S15: the storms themselves


def repeats(budget: Budget) -> dict[str, Measured]:
    """The same storms in two processes with other hash seeds, around the core and on the wire; and tapes replayed."""
    until = time.monotonic() + budget.minutes * 60
    found = {}
    for number, room in enumerate(("tests.storm", "tests.wire_storm")):
        share = (until - time.monotonic()) / (2 - number)
        found[room] = _twice(room, time.monotonic() + share, budget.progress)
    tapes = [_replayed(seed) for seed in range(3)]
    seeds, equal = sum(of for of, _ in found.values()), sum(same for _, same in found.values())
    value = f"{equal} of {seeds} seeds equal; {sum(tapes)} of {len(tapes)} tapes replayed to the same decisions"
    good = equal == seeds and all(tapes)
    enough = all(of >= 1_000 for of, _ in found.values())
    detail = {room: {"seeds": of, "equal": same} for room, (of, same) in found.items()}
    return {"S15": Measured(value, good and (enough or None), detail)}


def _twice(room: str, until: float, progress: Callable[[str, float], None]) -> tuple[int, int]:
    """How many storms of a room were run in both processes, and how many of them were equal."""
    seeds = ["--seeds", "1000"] if room == "tests.storm" else ["--seeds", "0:1000"]
    command = [sys.executable, "-m", room, "--digest", *seeds]
    runs = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE)
        for seed in ("1", "2")
    ]
    pairs = equal = 0
    for one, other in zip(*(run.stdout for run in runs if run.stdout is not None), strict=False):
        pairs, equal = pairs + 1, equal + (one == other)
        progress(f"{room}: {pairs} of 1000 seeds", pairs / 1000)
        if time.monotonic() > until:
            break
    for run in runs:
        run.kill()
        run.communicate()
    return pairs, equal


def _replayed(seed: int) -> bool:
    """Whether the tape of a demo plays to the same decisions, in another process with another hash seed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from agent.cli import main; main()"]
        words = ["demo", "--json", "--for", "8", "--seed", str(seed), "--keep", f"{folder}/demo"]
        subprocess.run([*command, *words], cwd=ROOT, check=True, capture_output=True)
        tapes = [str(path) for path in Path(folder).rglob("*.tape")]
        played = [
            subprocess.run([*command, "replay", tape], cwd=ROOT, capture_output=True, check=False) for tape in tapes
        ]
    return bool(tapes) and all(done.returncode == 0 for done in played)


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

READERS: Final = ("adapters/*.py",)


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
        "coverage of the dialects, percent of lines": covered(),
    }
    met = not tally.findings and (inputs >= 10_000_000 or None)
    return {"S11": Measured(value, met, detail)}


def covered() -> dict[str, float]:
    """What part of the dialects' lines a hundred thousand of the inputs reach; requests are made in other tests."""
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
    "S1": wire,
    "S2": ablations,
    "S3": kills,
    "S4": storage,
    "S5": wire,
    "S6": wire,
    "S7": wire,
    "S8": silences,
    "S9": budgets,
    "S10": soak,
    "S11": fuzzing,
    "S12": lateness,
    "S13": instances,
    "S14": canaries,
    "S15": repeats,
}
"""What measures a row."""
