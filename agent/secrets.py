"""Secrets: from a reference in the portfolio file to the text it stands for, and to nowhere else.

A reference names a place: ``env:NAME``, ``file:PATH``, ``credential:NAME`` (systemd) or ``keyring:SERVICE/USER``. No
message of this file holds what was found there.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import re
import resource
import stat
import sys
from pathlib import Path

from agent.core.venue import Secret

log = logging.getLogger(__name__)

FORMS = "env:NAME, file:PATH, credential:NAME or keyring:SERVICE/USER"
PR_SET_DUMPABLE = 4
"""Of Linux: see prctl(2). A process that is not dumpable can't be traced, and its memory in /proc is closed."""
LARGEST = 65_536
"""Bytes: no key is longer."""

_SHAPES = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "file": re.compile(r"[/~][^\0\n]*"),
    "credential": re.compile(r"(?!\.)[A-Za-z0-9_.@-]+"),
    "keyring": re.compile(r"[^/\n]+/[^\n]+"),
}


class SecretError(Exception):
    """A secret that can't be had: which reference, what is wrong with it, and the cure. Never the content."""

    def __init__(self, reference: str, wrong: str, cure: str) -> None:
        super().__init__(f"{reference}: {wrong}; {cure}")
        self.reference = reference
        self.wrong = wrong
        self.cure = cure


def seal_process() -> None:
    """Keep what this process knows out of core dumps, and out of reach of other programs of the same user.

    To be called before the first secret is read. On other systems than Linux only core dumps are switched off.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("other programs of this user can look into this process: %s", os.strerror(ctypes.get_errno()))


def is_reference(text: str) -> bool:
    """Whether ``text`` has the form of a reference; anything else may be a secret itself and must not be shown."""
    kind, _, name = text.partition(":")
    return kind in _SHAPES and _SHAPES[kind].fullmatch(name) is not None


def resolve(reference: str) -> Secret:
    """The secret that ``reference`` stands for, without a final newline; raises `SecretError`."""
    if not is_reference(reference):
        raise SecretError("(not shown)", "a secret must be given as a reference, not as itself", f"write {FORMS}")
    kind, _, name = reference.partition(":")
    match kind:
        case "env":
            text = _from_environment(reference, name)
        case "file":
            text = _from_file(reference, name)
        case "credential":
            text = _from_credential(reference, name)
        case _:
            text = _from_keyring(reference, name)
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SecretError(reference, "is empty", "put the key there")
    return Secret(text)


def _from_environment(reference: str, name: str) -> str:
    text = os.environ.get(name)
    if text is None:
        raise SecretError(reference, "this variable is not set", f"export {name}, or better, use file: or credential:")
    log.warning("%s: an environment variable can be read in /proc and by child processes; prefer file:", reference)
    return text


def _from_file(reference: str, name: str) -> str:
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise SecretError(reference, "there is no home directory", "write the absolute path") from None
    if not path.is_absolute():
        raise SecretError(reference, "is not an absolute path", "write the path from / or ~")
    with _opened(reference, path) as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid():
            raise SecretError(reference, "belongs to another user", f"chown {os.geteuid()} {path}")
        if stat.S_IMODE(found.st_mode) & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            raise SecretError(reference, f"others may touch it (mode {mode:04o})", f"chmod 600 {path}")
        parent = path.parent.stat()
        if parent.st_mode & stat.S_IWOTH and not parent.st_mode & stat.S_ISVTX:
            wrong = "anyone may replace it: its directory is world-writable"
            raise SecretError(reference, wrong, f"chmod o-w {path.parent}")
        return _text(reference, file.read(LARGEST + 1))


def _from_credential(reference: str, name: str) -> str:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise SecretError(
            reference,
            "there is no $CREDENTIALS_DIRECTORY, so this was not started by systemd with credentials",
            f"add LoadCredential={name}:/path/to/key to the unit, or use file:",
        )
    with _opened(reference, Path(directory) / name) as file:
        return _text(reference, file.read(LARGEST + 1))


def _from_keyring(reference: str, name: str) -> str:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise SecretError(reference, "keyring support is not installed", "pip install trimtab[keyring]") from None
    service, _, user = name.partition("/")
    try:
        text = keyring.get_password(service, user)
    except KeyringError as error:
        cure = "unlock the keyring, or use file:"
        raise SecretError(reference, f"the keyring does not answer ({type(error).__name__})", cure) from None
    if text is None:
        raise SecretError(reference, "the keyring has no such entry", f"keyring set {service} {user}")
    return str(text)


def _opened(reference: str, path: Path) -> io.FileIO:
    """The very file at ``path``, open: what is checked on it can't be undone by a swap of names."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            raise SecretError(reference, "is a symbolic link", "name the file that it points to") from None
        raise SecretError(reference, f"can't be read ({error.strerror})", "check the path and its owner") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SecretError(reference, "is not a regular file", "name a file that holds the key alone")
    return io.FileIO(descriptor)


def _text(reference: str, content: bytes) -> str:
    if len(content) > LARGEST:
        raise SecretError(reference, f"holds more than {LARGEST} bytes", "name a file that holds the key alone")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretError(reference, "is not UTF-8 text", "store the key as text (PEM for a private key)") from None
