"""Logging never waits for its reader, loses nothing that is read, and says how much was not."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agent.log import JsonLine, Lines
from tests.faults.striking import Struck

ROOT = Path(__file__).parents[2]


class Line(msgspec.Struct):
    level: str
    room: str
    text: str


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The smallest pipe there is."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    yield read, write
    os.close(read)


def lines_of(descriptor: int, waiting: int) -> tuple[Lines, logging.Logger]:
    lines = Lines(descriptor, waiting)
    lines.setFormatter(JsonLine())
    logger = logging.Logger("agent.test")
    logger.addHandler(lines)
    return lines, logger


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    lines, logger = lines_of(pipe[1], 100)
    for number in range(20):
        logger.warning("line %d", number)
    lines.flush()
    found = [msgspec.json.decode(line, type=Line) for line in os.read(pipe[0], 65_536).splitlines()]
    assert [line.text for line in found] == [f"line {number}" for number in range(20)]
    assert found[0].level == "warning"
    assert lines.dropped == 0
    os.close(pipe[1])


@pytest.mark.fault("G8")
def test_a_reader_that_stops_reading_holds_nothing_up_and_is_told_what_it_missed(
    pipe: tuple[int, int], struck: Struck
) -> None:
    lines, logger = lines_of(pipe[1], 50)
    for number in range(2_000):  # far more than pipe and queue hold: would wait for ever if it waited
        logger.warning("line %d %s", number, "x" * 100)
    assert lines.dropped > 1_000
    struck("G8", lines.dropped)
    told: list[Line] = []

    def read() -> None:
        with os.fdopen(os.dup(pipe[0]), "rb") as file:
            told.extend(msgspec.json.decode(line, type=Line) for line in file)

    reader = threading.Thread(target=read)
    reader.start()
    lines.flush()
    logger.warning("the last")
    lines.flush()
    os.close(pipe[1])
    reader.join(20)
    texts = [line.text.split(" x")[0] for line in told]
    assert texts[0] == "line 0"
    assert "the last" in texts
    missed = [text for text in texts if text.endswith("log lines were dropped: nobody was reading")]
    assert sum(int(text.split()[0]) for text in missed) == lines.dropped
    assert len(texts) == 2_000 - lines.dropped + 1 + len(missed)


def test_a_reader_that_is_gone_is_no_failure(pipe: tuple[int, int]) -> None:
    read, write = os.pipe()
    os.close(read)
    lines, logger = lines_of(write, 10)
    logger.warning("nobody hears this")
    lines.flush()
    assert lines.dropped == 1
    os.close(write)


CHILD = """
import logging, sys
from agent.log import configure
configure(logging.INFO)
for number in range(int(sys.argv[1])):
    logging.getLogger("agent.child").info("line %d", number)
"""


def child(count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(count)], cwd=ROOT, stderr=subprocess.PIPE)


def test_the_end_of_a_process_waits_for_its_last_lines() -> None:
    _, told = child(3_000).communicate(timeout=60)
    assert [msgspec.json.decode(line, type=Line).text for line in told.splitlines()] == [
        f"line {n}" for n in range(3_000)
    ]


@pytest.mark.fault("G8")
def test_a_process_ends_although_nobody_reads_its_log(struck: Struck) -> None:
    process = child(50_000)
    assert process.wait(60) == 0
    assert process.stderr is not None
    struck("G8", 50_000 - len(process.stderr.read().splitlines()))
    process.stderr.close()
