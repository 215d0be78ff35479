"""SQLite's write-ahead log after a crash: whether it still holds all that was once synced.

SQLite reads the log as far as its checksums hold and takes the rest for a write that was cut off. A bit that flips in
the middle would so undo every commit from there on, without a word. But each commit is synced before the next one is
written: what is broken although a later commit follows was whole once.

Format: https://www.sqlite.org/walformat.html
"""

from __future__ import annotations

import struct
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

_HEAD: Final = 32
_FRAME: Final = 24
_MASK: Final = 0xFFFFFFFF
_LITTLE: Final = 0x377F0682
"""What a log begins with whose checksums are taken over little-endian words; one more for big-endian ones."""


def broken(path: Path) -> str | None:
    """What in the log at ``path`` is not what was once on disk, in words; None if nothing is, or if there is no log.

    The very last commit can't be judged: a flipped bit in it looks like a write that was cut off.
    """
    try:
        with path.open("rb") as log:
            return _broken(log)
    except FileNotFoundError:
        return None


def _broken(log: BinaryIO) -> str | None:
    """The same of an open log, which is read frame by frame: it may be larger than what fits into memory."""
    head = log.read(_HEAD)
    if not head:
        return None
    head = head.ljust(_HEAD, b"\0")
    magic, _, page, _, *salts, one, two = struct.unpack(">8I", head)
    order = "<" if magic == _LITTLE else ">"
    if magic not in (_LITTLE, _LITTLE + 1) or _sums(head[:24], order, (0, 0)) != (one, two):
        # The head is synced before the first frame is written.
        return "the head of its log" if log.read(1) else None
    before = [(one, two)]
    """What the checksum of the next frame goes on from; after a broken one as stored, or as it should have been."""
    lost: int | None = None
    over = False
    """A commit has surely ended since the first broken frame: what follows was written after its sync."""
    ended = False
    """The frame before is broken and says it ends a commit: it is believed if the next one goes on from it."""
    for number in count(1):
        frame = log.read(_FRAME + page)
        if len(frame) < _FRAME + page:
            break
        _, pages, *salted, one, two = struct.unpack_from(">6I", frame)
        content = frame[:8] + frame[_FRAME:]
        sums = [_sums(content, order, one_of) for one_of in before] if salted == salts else []
        whole = (one, two) in sums
        if whole and lost is not None and (over or ended):
            return f"frame {lost} of its log"
        before = [(one, two)] if whole else [(one, two), *sums[:1]]
        lost = number if lost is None and not whole else lost
        over = over or (whole and lost is not None and pages > 0)
        ended = not whole and pages > 0
    return None


def _sums(content: bytes, order: str, before: tuple[int, int]) -> tuple[int, int]:
    """The checksum of words that follow others whose checksum is ``before``."""
    one, two = before
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for first, second in zip(words, words, strict=True):
        one = (one + first + two) & _MASK
        two = (two + second + one) & _MASK
    return one, two
