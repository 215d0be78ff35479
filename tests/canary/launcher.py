"""The product's own command, in a process that things happen to. Usage: ``launcher.py TROUBLES WORDS…``.

TROUBLES, joined by "+": ``debug`` logs everything that any library says; ``names`` fails to resolve host names at
first; ``crash`` raises from the middle of a reply; ``full`` lets no file grow any more once the journal is at work.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import logging
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

import aiohttp

from adapters.binance import Binance
from agent import log
from agent.cli import app, main

PR_GET_DUMPABLE = 3
UNRESOLVED = 3
"""How many questions for a name fail."""
REPLIES = 25
"""After so many it crashes."""
FULL_AFTER_S = 3.0


def debug() -> None:
    """Everything is logged, whoever says it."""

    def configure(level: int) -> None:
        log.configure(logging.DEBUG)
        logging.getLogger().setLevel(logging.DEBUG)

    app.configure = configure  # type: ignore[attr-defined]


def names() -> None:
    """Names don't resolve at first."""
    resolve = aiohttp.resolver.ThreadedResolver.resolve
    count = itertools.count(1)

    async def unresolved(self: Any, *words: Any, **more: Any) -> Any:
        if next(count) <= UNRESOLVED:
            raise OSError(None, "Temporary failure in name resolution")
        return await resolve(self, *words, **more)

    aiohttp.resolver.ThreadedResolver.resolve = unresolved  # type: ignore[method-assign]


def crash() -> None:
    """A mistake of ours, deep down, with everything in the frames above it."""
    on_reply = Binance.on_reply
    count = itertools.count(1)

    def mistaken(self: Any, call: Any, reply: Any, now: int) -> Any:
        if next(count) > REPLIES:
            held = self._key_header
            fail(held)
        return on_reply(self, call, reply, now)

    def fail(held: object) -> NoReturn:
        raise RuntimeError("a mistake that was put here")

    Binance.on_reply = mistaken  # type: ignore[method-assign]


def full() -> None:
    """No file may grow: to SQLite, and to every other writer, the disk is full."""

    def forbid() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    timer = threading.Timer(FULL_AFTER_S, forbid)
    timer.daemon = True
    timer.start()


def leave_a_note(path: Path) -> None:
    """How the process stood at its end: whether a debugger or a core dump may look into it."""
    dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE)
    path.write_text(f"dumpable {dumpable}\ncore {resource.getrlimit(resource.RLIMIT_CORE)}\n")


if __name__ == "__main__":
    troubles = sys.argv.pop(1)
    if note := os.environ.get("CANARY_NOTE"):
        atexit.register(leave_a_note, Path(note))
    for trouble in filter(None, troubles.split("+")):
        {"debug": debug, "names": names, "crash": crash, "full": full}[trouble]()
    main()
