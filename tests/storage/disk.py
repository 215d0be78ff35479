"""A disk that remembers what was asked of it, and can be slow, full or broken: SQLite's files go through it."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import apsw
from msgspec import Struct

NUMBERS = itertools.count(1)


class Write(Struct, frozen=True):
    """Bytes at an offset of a file; not on disk before the file's next `Sync`."""

    file: str
    offset: int
    data: bytes


class Truncate(Struct, frozen=True):
    """A file cut to a size."""

    file: str
    size: int


class Delete(Struct, frozen=True):
    """A file removed."""

    file: str


class Sync(Struct, frozen=True):
    """What was written to a file before is on disk."""

    file: str


class Mark(Struct, frozen=True):
    """What the journal's user was told at this point: so many of its commits are on disk."""

    commits: int


Op = Write | Truncate | Delete | Sync | Mark


class Disk(apsw.VFS):
    """Between SQLite and the files, while its context is entered: connections opened inside go through it.

    ``fail`` maps a call (``xWrite``, ``xSync``, …) to what it raises from now on; ``sync_s`` is how long a sync takes.
    ``counts`` tells how often each was called, and ``struck`` how often one failed or was slow.
    """

    def __init__(self, record: bool = False) -> None:
        self.name = f"disk{next(NUMBERS)}"
        super().__init__(self.name, "unix")
        self.ops: list[Op] = []
        self.record = record
        self.fail: dict[str, type[apsw.Error]] = {}
        self.only = ""
        """What the name of a file must end with to be struck."""
        self.sync_s = 0.0
        self.counts: Counter[str] = Counter()
        self.struck = 0

    def __enter__(self) -> Disk:
        apsw.set_default_vfs(self.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        apsw.set_default_vfs("unix")
        self.unregister()

    def excepthook(
        self, etype: type[BaseException] | None, evalue: BaseException | None, etraceback: TracebackType | None
    ) -> bool:
        """What is raised on purpose needs no report; SQLite makes a result code of it."""
        return True

    def called(self, call: str, op: Op) -> None:
        """Count and record a call, and let it fail if it is to."""
        self.counts[call] += 1
        if op.__class__ is not Mark and op.file.endswith(self.only):  # type: ignore[union-attr]
            if (error := self.fail.get(call)) is not None:
                self.struck += 1
                raise error(f"{call} fails on purpose")
            if call == "xSync" and self.sync_s:
                self.struck += 1
                time.sleep(self.sync_s)
        if self.record:
            self.ops.append(op)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """A file that reports to this disk."""
        return File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """Remove a file."""
        self.called("xDelete", Delete(Path(filename).name))
        super().xDelete(filename, syncdir)


class File(apsw.VFSFile):
    """A file whose writes and syncs are reported."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.file = Path(path or "temporary").name
        self.disk = disk

    def xWrite(self, data: bytes, offset: int) -> None:
        """Write."""
        self.disk.called("xWrite", Write(self.file, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        """Cut."""
        self.disk.called("xTruncate", Truncate(self.file, newsize))
        super().xTruncate(newsize)

    def xLock(self, level: int) -> None:
        """Lock. A reader tries to lock for writing when it closes, and SQLite does not mind that it can't."""
        try:
            super().xLock(level)
        except apsw.IOError as error:
            raise apsw.BusyError(str(error)) from error

    def xSync(self, flags: int) -> None:
        """Sync."""
        self.disk.called("xSync", Sync(self.file))
        super().xSync(flags)


@contextlib.contextmanager
def failing(disk: Disk, error: type[apsw.Error], *calls: str) -> Iterator[None]:
    """Let these calls fail meanwhile."""
    disk.fail = dict.fromkeys(calls, error)
    try:
        yield
    finally:
        disk.fail = {}
