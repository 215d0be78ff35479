"""Where lives begin: a process that has imported everything and forks itself for each of them.

``python -m tests.kill.nursery`` reads a `Birth` a line, and writes a process id, and a `Life` once that
life has ended, a line each.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path
from types import TracebackType

import msgspec
from msgspec.structs import replace

from tests.kill.life import Birth, Life, Word, be_born

ROOT = Path(__file__).parents[2]


class Nursery:
    """Such a process, seen from outside: `live` gives what became of one life after the other; `begin` and `end` are
    its two halves, for those who want to do something to it meanwhile."""

    async def __aenter__(self) -> Nursery:
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-m", "tests.kill.nursery")
        self._process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def begin(self, birth: Birth) -> int:
        """Begin a life; gives its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(birth) + b"\n")
        await self._process.stdin.drain()
        return msgspec.json.decode(await self._line(), type=int)

    async def end(self) -> Life:
        """Wait for the end of the life that was begun last."""
        return msgspec.json.decode(await self._line(), type=Life)

    async def live(self, birth: Birth) -> Life:
        """Begin a life and wait for its end."""
        await self.begin(birth)
        return await self.end()

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


def bear(birth: Birth) -> Life:
    """Fork for one life and wait for it."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        be_born(birth, write)
    os.close(write)
    say(child)
    with os.fdopen(read, "rb") as words:
        told = [msgspec.json.decode(line, type=Word) for line in words]
    _, status = os.waitpid(child, 0)
    life = Life(status=status)
    for word in told:
        if word.died is not None:
            return replace(life, died=word.died)
        life = replace(life, ticks=word.ticks, before_orders=word.before_orders, rest=word.rest)
    return life


def main() -> None:
    """Bear until there is nothing more to read."""
    gc.collect()
    gc.freeze()
    for line in sys.stdin.buffer:
        say(bear(msgspec.json.decode(line, type=Birth)))


def say(what: int | Life) -> None:
    """Tell whoever has started this process."""
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
