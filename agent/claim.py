"""The claim: on one machine, one agent for one account, whatever folder it keeps its state in.

The name of the claim is a digest of venue and API key, which tells nobody the key. Where the system has abstract unix
sockets the claim is one: it can't be left behind, and needs no folder that both can write to. Elsewhere it is a locked
file in the folder for temporary files.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

ABSTRACT: Final = sys.platform == "linux"


class Claimed(Exception):
    """Another agent on this machine trades with this key."""


def claim(venue: str, key: str) -> Callable[[], None]:
    """Claim the account that ``key`` opens at ``venue``; gives what ends the claim. Raises `Claimed`.

    The claim also ends with the process. Containers that have a network of their own don't see each other's.
    """
    name = f"trimtab-{blake2b(f'{venue}:{key}'.encode(), digest_size=16).hexdigest()}"
    return _bound(name) if ABSTRACT else _locked(Path(tempfile.gettempdir()) / f"{name}.lock")


def _bound(name: str) -> Callable[[], None]:
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        claimed.bind(f"\0{name}")
    except OSError:
        claimed.close()
        raise _taken() from None
    return claimed.close


def _locked(path: Path) -> Callable[[], None]:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:  # another user's: whoever that is has claimed it before
        raise _taken() from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise _taken() from None
    return lambda: os.close(file)


def _taken() -> Claimed:
    return Claimed("another agent on this machine trades with this key; stop it, or let this one go")
