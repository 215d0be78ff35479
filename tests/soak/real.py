"""The soak on the wall clock: two processes, real sockets, a journal on disk, ten times the usual messages."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from adapters.simulator import INSTRUMENTS, Faults, FrameFault, RequestFault
from tests.soak import agent, exchange
from tests.soak.slope import Slope, slope

ROOT = Path(__file__).parents[2]
SYMBOLS = tuple(INSTRUMENTS)[:5]
PACE = 10.0
SPEED = 600.0
"""Ten hours of prices a minute, and a settlement of funding every 48 s: something to correct all the time."""
EVERY_S = 5.0
MILD = Faults(
    seed=1,
    delay_ms=2.0,
    requests=(
        RequestFault("lose", chance=0.002),
        RequestFault("lose reply", chance=0.01),
        RequestFault("unknown done", on="changes", chance=0.005),
        RequestFault("timeout", on="changes", chance=0.005),
        RequestFault("limit", chance=0.001),
        RequestFault("bad gateway", on="reads", chance=0.005),
        RequestFault("stale", on="reads", chance=0.01),
    ),
    frames=(
        FrameFault("drop", chance=0.0001),
        FrameFault("repeat", chance=0.001),
        FrameFault("reorder", chance=0.001),
        FrameFault("disconnect", chance=0.00002),
        FrameFault("mute", chance=0.00002),
        FrameFault("expire key", on="private", chance=0.002),
    ),
)
"""A bad day, all day: some connection is lost about once a minute."""
MB = 2**20


class Memory(Struct, frozen=True):
    """Of the agent's process, in bytes, and its open files."""

    rss: int
    private: int
    """What belongs to it alone, written to."""
    fds: int


class Range(Struct, frozen=True):
    """The least and the most, after the warm-up, and what it was at its first and last sample."""

    low: int
    high: int
    first: int
    last: int


class Report(Struct, frozen=True):
    """What a soak found. Slopes are in MB a day."""

    minutes: float
    warm_up_minutes: float
    every_s: float
    pace: float
    symbols: int
    inputs: int
    inputs_a_second: float
    decisions: int
    orders: int
    fills: int
    reconnects: int
    rss_mb: Range
    rss_slope: Slope
    private_slope: Slope
    objects_slope: Slope
    fds: Range
    tasks: Range
    timers: Range
    counts: dict[str, Range]
    wal_mb: Range
    journal_mb_a_day: float
    """The journal grows by design: it keeps every decision that has something to say."""
    exchange: exchange.Served
    exit_code: int


class Soak:
    """The two processes of one soak, from start to end."""

    def __init__(self, folder: Path, seed: int = 1, nice: int = 0) -> None:
        prefix = ["nice", "-n", str(nice)] if nice else []
        served = exchange.Options(symbols=SYMBOLS, pace=PACE, speed=SPEED, seed=seed, faults=MILD)
        self._exchange = self._start([*prefix, sys.executable, "-m", "tests.soak.exchange"], served)
        line = _line(self._exchange)
        where = msgspec.json.decode(line, type=exchange.Listening)
        options = agent.Options(
            rest_url=where.rest_url,
            stream_url=where.stream_url,
            folder=str(folder),
            symbols=SYMBOLS,
            every_s=EVERY_S,
        )
        self._agent = self._start([*prefix, sys.executable, "-m", "tests.soak.agent"], options)

    @staticmethod
    def _start(command: list[str], options: Struct) -> subprocess.Popen[bytes]:
        text = msgspec.json.encode(options).decode()
        return subprocess.Popen([*command, text], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def samples(self, seconds: float, seen: Callable[[agent.Sample], None]) -> list[tuple[agent.Sample, Memory]]:
        """Listen for so long, and look at the process whenever it says something."""
        found: list[tuple[agent.Sample, Memory]] = []
        timer = threading.Timer(seconds + 60, self._agent.kill)  # should it fall silent
        timer.start()
        try:
            while not found or found[-1][0].at_s < seconds:
                sample = msgspec.json.decode(_line(self._agent), type=agent.Sample)
                found.append((sample, memory(self._agent.pid)))
                seen(sample)
        finally:
            timer.cancel()
        return found

    def end(self) -> tuple[int, exchange.Served]:
        """Stop both in order; the agent's exit code, and what the exchange has to say."""
        self._agent.send_signal(signal.SIGTERM)
        self._agent.communicate(timeout=60)
        out, _ = self._exchange.communicate(timeout=60)
        return self._agent.returncode, msgspec.json.decode(out, type=exchange.Served)

    def kill(self) -> None:
        """Leave nothing behind."""
        for process in (self._agent, self._exchange):
            process.kill()
            process.wait()


def memory(pid: int) -> Memory:
    """What the kernel says of a process."""
    rows: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        rows[name] = int(rest.split()[0]) * 1024
    return Memory(rss=rows["Rss"], private=rows["Private_Dirty"], fds=len(list(Path(f"/proc/{pid}/fd").iterdir())))


def soak(
    minutes: float, warm_up: float, seen: Callable[[agent.Sample], None], folder: Path | None = None, nice: int = 0
) -> Report:
    """Run a soak of so many minutes, of which the first ``warm_up`` only fill caches and tables."""
    with contextlib.ExitStack() as stack:
        state = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trimtab-soak-")))
        running = Soak(state, nice=nice)
        stack.callback(running.kill)
        found = running.samples(minutes * 60, seen)
        code, served = running.end()
    return report(found, minutes, warm_up, code, served)


def report(
    found: list[tuple[agent.Sample, Memory]], minutes: float, warm_up: float, code: int, served: exchange.Served
) -> Report:
    """What the samples after the warm-up say."""
    kept = [pair for pair in found if pair[0].at_s >= warm_up * 60]
    samples, memories = [sample for sample, _ in kept], [one for _, one in kept]
    times = [sample.at_s for sample in samples]
    first, last = samples[0], samples[-1]
    span = last.at_s - first.at_s

    def over(values: list[int]) -> Range:
        return Range(low=min(values), high=max(values), first=values[0], last=values[-1])

    return Report(
        minutes=minutes,
        warm_up_minutes=warm_up,
        every_s=EVERY_S,
        pace=PACE,
        symbols=len(SYMBOLS),
        inputs=last.inputs,
        inputs_a_second=round((last.inputs - first.inputs) / span, 1),
        decisions=last.seq,
        orders=last.orders,
        fills=last.fills,
        reconnects=last.reconnects,
        rss_mb=over([round(one.rss / MB) for one in memories]),
        rss_slope=slope(times, [one.rss / MB for one in memories]),
        private_slope=slope(times, [one.private / MB for one in memories]),
        objects_slope=slope(times, [float(sample.objects) for sample in samples]),
        fds=over([one.fds for one in memories]),
        tasks=over([sample.tasks for sample in samples]),
        timers=over([sample.timers for sample in samples]),
        counts={name: over([sample.counts.get(name, 0) for sample in samples]) for name in last.counts},
        wal_mb=over([round(sample.wal_bytes / MB) for sample in samples]),
        journal_mb_a_day=round((last.journal_bytes - first.journal_bytes) / MB / span * 86_400, 1),
        exchange=served,
        exit_code=code,
    )


def _line(process: subprocess.Popen[bytes]) -> bytes:
    stream: IO[bytes] | None = process.stdout
    assert stream is not None
    line = stream.readline()
    if not line:
        raise RuntimeError(f"process {process.args!r} ended with {process.wait()}")
    return line
