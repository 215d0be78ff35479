"""Log lines: one JSON object each, on standard error, where the service manager keeps them."""

from __future__ import annotations

import logging
import sys

import orjson


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


def configure(level: int) -> None:
    """Log from ``level`` on to standard error. Libraries speak only of trouble."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("agent").setLevel(level)
