"""The contest of policies: what trading and drift cost in the long run, over the least that is possible.

Six portfolios at three risk aversions, with the tolerance off (it is the user's wish, and no part of the contest) and
no number chosen per case. The product is the real one: desk, engine and paper venue (`agent.cli.trial`), which are slow
to simulate; so its own band, alone and fast (`agent.cli.rules`), runs for long, and the engine on some of the same
prices beside it: cost of the engine = cost of the band + what the engine costs more on the same prices. The engine is
given the true covariance and shown prices at the times of the model, so that planner and engine are on trial, and not
what can be learned of a market. The others are the rules that peers use. For two instruments the least possible cost is
worked out anew each time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from datetime import UTC, datetime
from functools import partial
from math import ceil, hypot
from pathlib import Path
from time import monotonic

import numpy as np
from msgspec import Struct
from rich import box
from rich.table import Table

from agent.cli import history
from agent.cli.history import Past
from agent.cli.optimum import Optimum, optimum
from agent.cli.rules import (
    LOOKS,
    Array,
    Calendar,
    Case,
    CostAware,
    Figure,
    Rule,
    Running,
    Threshold,
    luck,
    prices,
    settled,
    simulate,
)
from agent.cli.trial import Trial
from agent.run import VERSION

YEAR_NS = 365 * 86_400 * 1_000_000_000

PORTFOLIOS: dict[str, tuple[tuple[float, ...], tuple[float, float, float]]] = {
    "60/40 at 1x": ((0.6, 0.4), (2.28, 3.28, 4.89)),
    "60/40 at 3x": ((1.8, 1.2), (209.47, 302.16, 451.27)),
    "long 1, short 1": ((1.0, -1.0), (46.98, 68.39, 102.65)),
    "50/30/20 at 1x": ((0.5, 0.3, 0.2), (4.08, 5.88, 8.77)),
    "50/30/20 at 3x": ((1.5, 0.9, 0.6), (238.73, 344.37, 514.25)),
    "long 1, short 2 x 1/2": ((1.0, -0.5, -0.5), (59.22, 86.29, 129.57)),
}
"""Targets, and the least running cost in basis points of equity a year at each of `AVERSIONS`.

The figures for two instruments are proved in each run, by `agent.cli.optimum`; those for three come from the same
method on a grid of 57^3 drifts, which takes too long for that."""
AVERSIONS = (1, 3, 10)
CASES = {
    f"{name}, g={aversion}": Case(target=target, risk_aversion=float(aversion), optimum=best / 1e4)
    for name, (target, figures) in PORTFOLIOS.items()
    for aversion, best in zip(AVERSIONS, figures, strict=True)
}

OURS, BAND, BEST = "trimtab", "cost-aware band alone", "best threshold to target"
FIXED = {"threshold 5% to target": 0.05, "threshold 7% to target": 0.07}
DATES = {"calendar daily": 1.0, "calendar weekly": 7.0}
TRIED = tuple(1.0 * 1.15**power for power in range(10))
"""Thresholds among which the best is sought, as multiples of the narrowest band."""


class Effort(Struct, frozen=True):
    """How much to simulate."""

    looks: int
    """Of the band alone, on all paths together."""
    looks_rules: int
    """Of each other rule."""
    error: float
    """The standard error wanted of what the engine costs more than its band, over the optimum."""
    pilots: int
    """Runs of the engine from which it is told how many are needed."""
    runs: int
    """Runs of the engine at most."""
    looks_run: int
    """Of one run."""


FULL = Effort(looks=24_000_000, looks_rules=3_000_000, error=0.001, pilots=12, runs=64, looks_run=3_000)
SHORT = Effort(looks=2_000_000, looks_rules=200_000, error=0.005, pilots=3, runs=6, looks_run=2_000)
SEED = 11
SETTLING = 10
"""Nothing counts before so many times the time in which drift crosses half a band have passed."""


class Result(Struct, frozen=True):
    """One case: ratios to the optimum with their standard errors."""

    case: str
    ratios: dict[str, Figure]
    engine_looks: int
    engine_extra: Figure
    """What the engine cost more than its band on the same prices, over the optimum."""
    proved: Optimum | None
    """The optimum by our own dynamic programme, where there is one."""
    seconds: float


class Report(Struct, frozen=True):
    """A whole contest."""

    at: str
    version: str
    commit: str | None
    cores: int | None
    seed: int
    effort: Effort
    seconds: float
    results: list[Result]
    recorded: list[Past] | None
    """The part on recorded prices; None without a file."""

    @property
    def cases(self) -> dict[str, dict[str, float]]:
        """Only the ratios."""
        return {
            result.case: {who: round(figure.value, 4) for who, figure in result.ratios.items()}
            for result in self.results
        }


Say = Callable[[str, float], None]
"""Told what is done now, and which part of the whole is behind."""


def contest(effort: Effort, say: Say, data: Path | None = None, names: Sequence[str] = tuple(CASES)) -> Report:
    """Run it all, on two cores where there are two."""
    began = monotonic()
    workers = min(2, os.cpu_count() or 1)
    whole = len(names) + (6 if data else 0)
    results: dict[str, Result] = {}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        say("starting", 0.0)
        jobs: dict[Future[Result], str] = {pool.submit(judged, name, effort): name for name in names}
        while jobs:
            done, _ = wait(jobs, return_when=FIRST_COMPLETED)
            for job in done:
                name = jobs.pop(job)
                results[name] = job.result()
                say(name, len(results) / whole)
        recorded = None
        if data is not None:
            say(f"recorded prices: {data.name}", len(names) / whole)
            told = history.recorded(data)

            def run(leverage: float, aversions: Sequence[float]) -> list[history.Weeks]:
                return list(pool.map(partial(history.product, told, leverage), aversions))

            recorded = [history.contest(told, leverage, partial(run, leverage)) for leverage in history.LEVERAGES]
    return Report(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        version=VERSION,
        commit=_commit(),
        cores=os.cpu_count(),
        seed=SEED,
        effort=effort,
        seconds=round(monotonic() - began, 1),
        results=[results[name] for name in names],
        recorded=recorded,
    )


def judged(name: str, effort: Effort) -> Result:
    """One case: all rules, and the engine."""
    began, case = monotonic(), CASES[name]
    band, part = band_alone(case, effort)
    extra, looks = engine_over_band(case, effort, part)
    ratios = {OURS: Figure(band.value + extra.value, hypot(band.error, extra.error)), BAND: band}
    ratios |= to_target(case, effort)
    proved = optimum(case) if len(case.target) == 2 else None
    return Result(
        case=name,
        ratios=ratios,
        engine_looks=looks,
        engine_extra=extra,
        proved=proved,
        seconds=round(monotonic() - began, 1),
    )


def lasting(case: Case, rule: Rule, *, paths: int, steps: int, seed: int, settling: int) -> Running:
    """A run that counts only from where the start at the targets is forgotten."""
    first = simulate(case, rule, prices(case, paths=paths, steps=settling, seed=seed))
    return simulate(case, rule, prices(case, paths=paths, steps=steps, seed=seed + 1), first.weights)


def band_alone(case: Case, effort: Effort) -> tuple[Figure, Array]:
    """The cost-aware band by itself over the optimum, and which part of a run's noise is luck (see `settled`)."""
    settling = SETTLING * LOOKS[len(case.target)]
    paths = min(4096, effort.looks // 500)
    run = lasting(case, CostAware(case), paths=paths, steps=effort.looks // paths, seed=SEED, settling=settling)
    part = luck(run.total[0], run.noise[:, 0])
    return settled(run.total[0], run.noise[:, 0], part).over(case.optimum), part


def to_target(case: Case, effort: Effort) -> dict[str, Figure]:
    """The rules that go all the way to the targets, over the optimum."""
    found = {}
    narrowest = min(width for width, _ in case.alone) / case.gross
    points = [narrowest * factor for factor in TRIED]
    best = min(steady(case, Threshold(case, points), max(points), effort.looks_rules), key=lambda figure: figure.value)
    for who, point in FIXED.items():
        (found[who],) = steady(case, Threshold(case, [point]), point, effort.looks_rules)
    found[BEST] = best
    for who, days in DATES.items():
        period = days / 365 / case.step_years
        steps = ceil(8 * period)
        paths = max(256, min(1024, effort.looks_rules // steps))
        run = simulate(case, Calendar(case, [days]), prices(case, paths=paths, steps=steps, seed=SEED))
        (found[who],) = figures(case, run)
    return found


def steady(case: Case, rule: Threshold, widest: float, looks: int) -> list[Figure]:
    """Each variant of a threshold over the optimum: long enough for many crossings of the ``widest`` one."""
    crossing = LOOKS[len(case.target)] * max(1.0, widest * case.gross / min(width for width, _ in case.alone)) ** 2
    steps = ceil(8 * crossing)
    paths = max(64, min(1024, looks // steps))
    return figures(case, lasting(case, rule, paths=paths, steps=steps, seed=SEED, settling=ceil(2 * crossing)))


def figures(case: Case, run: Running) -> list[Figure]:
    """Each variant of a rule over the optimum."""
    pairs = zip(run.total, run.noise.swapaxes(0, 1), strict=True)
    return [settled(total, noise, luck(total, noise)).over(case.optimum) for total, noise in pairs]


def engine_over_band(case: Case, effort: Effort, part: Array) -> tuple[Figure, int]:
    """What the engine costs more than its band on the same prices, over the optimum; and how many looks that took.

    A few runs tell how far they scatter, and so how many are needed.
    """
    extra = compared(case, effort, effort.pilots, part, seed=SEED + 2)
    spread = float(np.std(extra, ddof=1)) / case.optimum
    needed = min(effort.runs, ceil((spread / effort.error) ** 2))
    if needed > effort.pilots:
        extra = np.concatenate([extra, compared(case, effort, needed - effort.pilots, part, seed=SEED + 4)])
    error = float(np.std(extra, ddof=1) / np.sqrt(len(extra)))
    return Figure(float(extra.mean()), error).over(case.optimum), len(extra) * effort.looks_run


def compared(case: Case, effort: Effort, runs: int, part: Array, seed: int) -> Array:
    """Cost of the engine less cost of its band on each of so many runs, luck taken out; both begin with what the band
    held after it had settled."""
    settling = SETTLING * LOOKS[len(case.target)]
    start = simulate(case, CostAware(case), prices(case, paths=runs, steps=settling, seed=seed)).weights
    told = list(prices(case, paths=runs, steps=effort.looks_run, seed=seed + 1))
    band = simulate(case, CostAware(case), told, start)
    found = []
    for run in range(runs):
        told_one = [(shocks[:, run], grown[:, run]) for shocks, grown in told]
        found.append(engine_on(case, start[:, 0, run], told_one, part))
    return np.asarray(np.array(found) - (band.total[0] - part @ band.noise[:, 0]))


def engine_on(case: Case, start: Array, told: Sequence[tuple[Array, Array]], part: Array) -> float:
    """The running cost of the engine on one path, luck taken out: costs by what paper charged, risk by what it held."""
    covariance, target = np.array(case.covariance), np.array(case.target)
    at = np.full(len(start), 100.0)
    trial = Trial(
        case.target,
        start.tolist(),
        at.tolist(),
        costs=case.costs,
        risk_aversion=case.risk_aversion,
        covariance=covariance,
    )
    after_ns = round(case.step_years * YEAR_NS)
    paid, drifts = 0.0, [start - target]
    for _, grown in told:
        at = at * grown
        step = trial.look(at.tolist(), after_ns)
        paid += step.paid
        drifts.append(np.array(step.weights) - target)
    x, shocks = np.array(drifts), np.array([shock for shock, _ in told])
    risk = case.risk_aversion / 2 * ((x[1:] @ covariance) * x[1:]).sum() / len(told)
    noise = (x[:-1].T @ shocks).reshape(-1)
    return float(paid / (len(told) * case.step_years) + risk - part @ noise)


def _commit() -> str | None:
    """The commit that is checked out, if this is a checkout."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
        return subprocess.run(asked, capture_output=True, check=True, text=True).stdout.strip()  # noqa: S603
    return None


def tables(report: Report) -> list[Table]:
    """The ratios, the proofs and the recorded prices, for a person."""
    shown = [ratios_table(report), proofs_table(report)]
    if report.recorded:
        shown.append(recorded_table(report.recorded))
    return shown


def ratios_table(report: Report) -> Table:
    """Each rule on each case."""
    rows = _table("running cost over the optimum (1 = the best there is)", "portfolio, risk aversion")
    for who in report.results[0].ratios:
        rows.add_column(who, justify="right")
    for result in report.results:
        figures = [f"{figure.value:.3f}" for figure in result.ratios.values()]
        figures[0] += f" ±{result.ratios[OURS].error:.3f}"
        rows.add_row(result.case, *figures)
    rows.add_section()
    every = list(report.cases.values())
    for name, taken in (("mean", np.mean), ("worst", np.max)):
        rows.add_row(name, *(f"{float(taken([case[who] for case in every])):.3f}" for who in every[0]))
    return rows


def proofs_table(report: Report) -> Table:
    """The optimum as it is taken, and the bounds that our own dynamic programme gives."""
    rows = _table("the optimum, in basis points of equity a year", "portfolio, risk aversion")
    for column in ("taken", "recomputed: at least", "at most"):
        rows.add_column(column, justify="right")
    for result in report.results:
        if result.proved is not None:
            figures = (CASES[result.case].optimum, result.proved.low, result.proved.high)
            rows.add_row(result.case, *(f"{1e4 * figure:.2f}" for figure in figures))
    return rows


def recorded_table(recorded: Sequence[Past]) -> Table:
    """The part on recorded prices."""
    rows = _table("recorded prices, 50/30/20: turnover a year at one tracking error", "leverage")
    for column in ("tracking error", "threshold 5%", "trimtab", "ratio", "95 % of it", "by returns seen", "95 % of it"):
        rows.add_column(column, justify="right")
    for past in recorded:
        rows.add_row(
            f"{past.leverage:g}x",
            f"{past.tracking_error:.2%}",
            f"{past.turnover_rule:.2f}",
            f"{past.turnover:.2f}",
            *(
                text
                for ratio in (past.ratio, past.ratio_seen)
                for text in (
                    f"{ratio.value:.2f}",
                    f"{ratio.within[0]:.2f} to {ratio.within[1]:.2f}" if ratio.within else "too few trades",
                )
            ),
        )
    return rows


def _table(title: str, first: str) -> Table:
    rows = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    rows.add_column(first, no_wrap=True)
    return rows
