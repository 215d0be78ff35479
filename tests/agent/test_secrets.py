"""Secrets come from safe places only, and no message ever holds one."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import pytest

from agent.secrets import LARGEST, SecretError, is_reference, resolve
from tests.faults.striking import Struck

CANARY = "canary-5f1e"


def refused(reference: str) -> SecretError:
    with pytest.raises(SecretError) as caught:
        resolve(reference)
    assert CANARY not in str(caught.value)
    assert caught.value.cure
    return caught.value


def kept(path: Path, content: str = CANARY, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_from_the_environment_with_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("TRIMTAB_KEY", CANARY)
    secret = resolve("env:TRIMTAB_KEY")
    assert secret.reveal() == CANARY
    assert "/proc" in caplog.text
    assert CANARY not in caplog.text + repr(secret) + f"{secret}"


def test_an_unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIMTAB_KEY", raising=False)
    assert "not set" in refused("env:TRIMTAB_KEY").wrong


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_from_a_file_without_its_last_newline(tmp_path: Path, end: str) -> None:
    path = kept(tmp_path / "key", f"-----BEGIN-----\n{CANARY}\n-----END-----{end}")
    assert resolve(f"file:{path}").reveal() == f"-----BEGIN-----\n{CANARY}\n-----END-----"


def test_only_one_newline_is_taken_off(tmp_path: Path) -> None:
    assert resolve(f"file:{kept(tmp_path / 'key', CANARY + chr(10) * 2)}").reveal() == CANARY + "\n"


def test_from_a_file_in_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    kept(tmp_path / "key")
    assert resolve("file:~/key").reveal() == CANARY


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_modes_for_the_owner_alone_are_fine(tmp_path: Path, mode: int) -> None:
    assert resolve(f"file:{kept(tmp_path / 'key', mode=mode)}").reveal() == CANARY


@pytest.mark.fault("H3")
def test_any_bit_for_others_is_refused(tmp_path: Path, struck: Struck) -> None:
    for others in range(1, 0o100):
        path = kept(tmp_path / "key", mode=0o600 | others)
        assert refused(f"file:{path}").cure == f"chmod 600 {path}"
        struck("H3")


@pytest.mark.fault("H3")
def test_a_symbolic_link_is_refused(tmp_path: Path, struck: Struck) -> None:
    struck("H3", 2)
    kept(tmp_path / "key")
    (tmp_path / "link").symlink_to(tmp_path / "key")
    assert "symbolic link" in refused(f"file:{tmp_path / 'link'}").wrong
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "symbolic link" in refused(f"file:{tmp_path / 'loop'}").wrong


def test_a_directory_anyone_may_write_to_is_refused_unless_sticky(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = kept(folder / "key")
    folder.chmod(0o777)
    assert refused(f"file:{path}").cure == f"chmod o-w {folder}"
    folder.chmod(0o1777)
    assert resolve(f"file:{path}").reveal() == CANARY


def test_another_owner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(tmp_path / "key")
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert "another user" in refused(f"file:{path}").wrong


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "regular file" in refused(f"file:{tmp_path / 'pipe'}").wrong
    assert "regular file" in refused(f"file:{tmp_path}").wrong
    assert "can't be read" in refused(f"file:{tmp_path / 'missing'}").wrong


def test_content_that_can_be_no_key_is_refused(tmp_path: Path) -> None:
    assert "is empty" in refused(f"file:{kept(tmp_path / 'empty', chr(10))}").wrong
    assert "more than" in refused(f"file:{kept(tmp_path / 'large', CANARY + 'x' * LARGEST)}").wrong
    path = kept(tmp_path / "binary")
    path.write_bytes(b"\xff" + CANARY.encode())
    assert "UTF-8" in refused(f"file:{path}").wrong


def test_a_home_that_is_unknown_or_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused("file:~nobody-of-this-name/key").cure == "write the absolute path"
    monkeypatch.setenv("HOME", "somewhere")
    assert "not an absolute path" in refused("file:~/key").wrong


def test_from_a_credential_of_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path / "binance.key", CANARY + "\n", mode=0o440)  # as systemd shows it: its own rules guard it
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert resolve("credential:binance.key").reveal() == CANARY
    assert "can't be read" in refused("credential:missing").wrong
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "LoadCredential=binance.key" in refused("credential:binance.key").cure


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A keyring with one entry."""
    module, errors = types.ModuleType("keyring"), types.ModuleType("keyring.errors")

    class KeyringError(Exception):
        pass

    def get_password(service: str, user: str) -> str | None:
        if service == "locked":
            raise KeyringError(CANARY)
        return CANARY if (service, user) == ("trimtab", "key") else None

    vars(module)["get_password"] = get_password
    vars(errors)["KeyringError"] = KeyringError
    monkeypatch.setitem(sys.modules, "keyring", module)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    return module


@pytest.mark.usefixtures("keyring")
def test_from_the_keyring() -> None:
    assert resolve("keyring:trimtab/key").reveal() == CANARY
    assert refused("keyring:trimtab/other").cure == "keyring set trimtab other"
    assert "KeyringError" in refused("keyring:locked/key").wrong


def test_a_keyring_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert refused("keyring:trimtab/key").cure == "pip install trimtab[keyring]"


@pytest.mark.parametrize(
    "text",
    [CANARY, f"hmac:{CANARY}", f"env:{CANARY}", f"file:{CANARY}", f"credential:../{CANARY}", f"keyring:{CANARY}", ""],
)
def test_what_is_no_reference_is_not_shown(text: str) -> None:
    assert not is_reference(text)
    assert refused(text).reference == "(not shown)"
