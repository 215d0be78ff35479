"""Log lines: one JSON object each, on standard error, where the service manager keeps them.

A reader that stops reading must not hold up a decision: lines wait in a queue for a thread that writes them, and when
the queue is full they are dropped and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from typing import Final

import orjson

WAITING: Final = 10_000
"""Lines that may wait; some megabytes."""
STDERR: Final = 2
"""The descriptor of standard error."""
FLUSH_S: Final = 2.0
"""How long the end of the process waits for the reader of its last lines."""


class JsonLine(logging.Formatter):
    """Time, level, room and text; a traceback without the values of its variables."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line: dict[str, object] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "room": record.name,
            "text": record.getMessage(),
        }
        if (kind := getattr(record, "kind", None)) is not None:
            line["kind"] = kind
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class Lines(logging.Handler):
    """Writes lines to a file descriptor from a thread of its own; never waits, and never fails.

    ``dropped`` counts lines that found the queue full or the descriptor broken. The next line that is written says how
    many those were.
    """

    def __init__(self, descriptor: int, waiting: int = WAITING) -> None:
        super().__init__()
        self.dropped = 0
        self._told = 0
        """Of the dropped ones, how many have been told of."""
        self._descriptor = descriptor
        self._queue: queue.Queue[str] = queue.Queue(waiting)
        # A daemon, for it may wait for a reader for ever.
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record as the line it is now."""
        try:
            self._queue.put_nowait(self.format(record))
        except queue.Full:
            self.dropped += 1

    def flush(self) -> None:
        """Wait until all lines are written, for `FLUSH_S` seconds at most."""
        deadline = time.monotonic() + FLUSH_S
        while self._queue.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            self._put(self._queue.get())
            if (lost := self.dropped - self._told) > 0:
                self._told += lost
                self._put(self.format(_dropped(lost)))
            self._queue.task_done()

    def _put(self, line: str) -> None:
        rest = f"{line}\n".encode()
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # somebody has made it not wait
                time.sleep(0.05)
            except OSError:
                self.dropped += 1
                self._told += 1  # there is nobody to tell
                return


def _dropped(lost: int) -> logging.LogRecord:
    text = f"{lost} log lines were dropped: nobody was reading"
    return logging.makeLogRecord({"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": text})


def configure(level: int) -> None:
    """Log from ``level`` on to standard error. Libraries speak only of trouble."""
    handler = Lines(STDERR)
    handler.setFormatter(JsonLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("agent").setLevel(level)
