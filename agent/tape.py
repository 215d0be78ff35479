"""The tape: everything the agent was told and what it decided, in order, to be replayed or looked into.

A tape is a file that only grows: `MAGIC`, then records, each with its length in front (four bytes, big endian) and in
MessagePack. The first is the `Header`.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec
from msgspec import Struct

from agent.core.decisions import Memory
from agent.core.desk import Answer, Input
from agent.core.orders import Order

log = logging.getLogger(__name__)

MAGIC: Final = b"trimtab tape 1\n"
"""What a tape begins with; the number is the version of its format."""
BUFFER: Final = 2**20
"""Bytes after which the buffer is written out without waiting for `Recorder.flush`."""

T = TypeVar("T")

_LENGTH: Final = struct.Struct(">I")


class Header(Struct, frozen=True):
    """Which run this is. ``config`` is the portfolio file as it was in force, without secrets."""

    version: str
    """Of trimtab."""
    epoch: int
    mode: str
    symbols: tuple[str, ...]
    config: str
    tag: str = ""
    """What marks the account in order ids."""
    resume: tuple[Order, ...] = ()
    """The orders of earlier runs that this one took over."""
    memory: Memory | None = None
    """What an earlier run remembered."""
    nonce: int = 0
    """What sets this run's order ids apart from those of another that began in the same five minutes."""
    halted: str | None = None
    """Why it begins halted, if so."""
    unrecorded: bool = False
    """Requests of an earlier run may have been under way that are on no record."""


class Heard(Struct, frozen=True, array_like=True, tag="i"):
    """What the agent was told, and when (UTC ns)."""

    now: int
    input: Input


class Concluded(Struct, frozen=True, array_like=True, tag="d"):
    """What it decided upon that: ``record`` is the decision's JSON."""

    record: bytes


class Torn(Struct, frozen=True):
    """The end of a tape whose last record was not fully written; ``lost`` bytes from ``offset`` on can't be read."""

    offset: int
    lost: int


class TapeError(Exception):
    """Not a tape, of another version, or damaged in the middle."""


class Recorder:
    """Writes a new tape. It never fails its owner: when the disk does, it stops, says so once, and counts.

    ``stopped`` is called with the reason, at most once. Raises `OSError` only when the file can't be made.
    """

    def __init__(self, path: Path, header: Header, stopped: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.dropped = 0
        """Records that are not, or not surely, on the tape because it stopped."""
        self._stopped = stopped
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._encoder = msgspec.msgpack.Encoder()
        self._buffer = bytearray(MAGIC)
        self._waiting = 0
        self._add(header)
        self.flush()

    def input(self, now: int, input: Input, conceal: str | None = None) -> None:
        """Record what the agent was told. ``conceal`` takes the place of a reply's body that holds a secret."""
        if conceal is not None and isinstance(input, Answer):
            reply = msgspec.structs.replace(input.reply, body=conceal.encode())
            input = msgspec.structs.replace(input, reply=reply)
        self._add(Heard(now, input))

    def decision(self, record: bytes) -> None:
        """Record what it decided, as JSON."""
        self._add(Concluded(record))

    def flush(self) -> None:
        """Write the buffer out; to be called about once a second."""
        if self._file is None:
            return
        try:
            while self._buffer:
                del self._buffer[: os.write(self._file, self._buffer)]
        except OSError as error:
            self._stop(error)
        self._waiting = 0

    def close(self) -> None:
        """Write out what is left and close the file."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _add(self, record: Struct) -> None:
        if self._file is None:
            self.dropped += 1
            return
        at = len(self._buffer)
        self._buffer += bytes(_LENGTH.size)
        self._encoder.encode_into(record, self._buffer, at + _LENGTH.size)
        _LENGTH.pack_into(self._buffer, at, len(self._buffer) - at - _LENGTH.size)
        self._waiting += 1
        if len(self._buffer) > BUFFER:
            self.flush()

    def _stop(self, error: OSError) -> None:
        assert self._file is not None
        os.close(self._file)
        self._file = None
        self._buffer.clear()
        self.dropped += self._waiting
        reason = f"{self.path}: recording has stopped: {error.strerror}"
        log.error("%s", reason)
        if self._stopped is not None:
            self._stopped(reason)


def read(path: Path) -> tuple[Header, Iterator[Heard | Concluded | Torn]]:
    """The header of a tape and its records; the last of them is `Torn` when the tape ends in the middle of one.

    Raises `TapeError`, in the iteration too, where the file is not what a recorder writes.
    """
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise TapeError(f"{path}: is no tape, or not one that this trimtab can read")
        content = _content(file)
        if content is None:
            raise TapeError(f"{path}: ends before it begins: its header was not fully written")
        header = _decoded(msgspec.msgpack.Decoder(Header), content, path, len(MAGIC))
        return header, _records(path, file.tell())


def _records(path: Path, offset: int) -> Iterator[Heard | Concluded | Torn]:
    decoder = msgspec.msgpack.Decoder(Heard | Concluded)
    with open(path, "rb") as file:
        file.seek(offset)
        while (content := _content(file)) is not None:
            yield _decoded(decoder, content, path, offset)
            offset = file.tell()
        lost = file.seek(0, os.SEEK_END) - offset
    if lost:
        yield Torn(offset, lost)


def _content(file: BinaryIO) -> bytes | None:
    """The next record, undecoded; None when the file holds no further whole one."""
    length = file.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    if size > os.fstat(file.fileno()).st_size - file.tell():
        return None  # cut off, or a length that was flipped: no memory is spent on what is not there
    return file.read(size)


def _decoded(decoder: msgspec.msgpack.Decoder[T], content: bytes, path: Path, offset: int) -> T:
    try:
        return decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TapeError(f"{path}: damaged at byte {offset}: {error}") from error
