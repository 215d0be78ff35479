from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agent import claim as claims
from agent.claim import Claimed, claim

KEY = "an-api-key-of-a-test"
HOLD = """
import sys
from agent.claim import claim
end = claim("binance", sys.argv[1])
print("held", flush=True)
input()
"""


@pytest.fixture(params=[True, False], ids=["abstract socket", "locked file"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    if request.param and not claims.ABSTRACT:
        pytest.skip("this system has no abstract unix sockets")
    monkeypatch.setattr(claims, "ABSTRACT", request.param)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_an_account_is_claimed_once_and_free_again_afterwards(where: Path) -> None:
    end = claim("binance", KEY)
    with pytest.raises(Claimed, match="another agent on this machine"):
        claim("binance", KEY)
    claim("binance", KEY + "2")()
    claim("bybit", KEY)()
    end()
    claim("binance", KEY)()


def test_nothing_tells_the_key(where: Path) -> None:
    end = claim("binance", KEY)
    names = [*os.listdir(where), Path("/proc/net/unix").read_text() if Path("/proc/net/unix").exists() else ""]
    assert not any(KEY in name for name in names)
    end()


def test_a_file_that_another_user_has_locked_away_is_a_claim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(claims, "ABSTRACT", False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    claim("binance", KEY)()
    (file,) = tmp_path.iterdir()
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Claimed):
        claim("binance", KEY)


def test_a_claim_ends_with_its_process() -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert other.stdout is not None
    assert other.stdin is not None
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Claimed):
            claim("binance", KEY)
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
        other.stdin.close()
    claim("binance", KEY)()
