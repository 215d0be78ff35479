"""`trimtab status` and `why`: which folder they show, and whether an agent is at work there."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from agent.core.orders import S
from agent.core.view import View, look
from agent.journal import Journal
from agent.run import ENDED
from tests.agent.cli_kit import said
from tests.core.test_engine import stage


def leave(folder: Path, age_s: float = 0.0, state: str = "holding") -> Path:
    """What an agent leaves in its folder that wrote its last status so long ago."""
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.db")
    journal.begin("live", "", "0", time.time_ns())
    journal.close()
    on = stage()
    view: View = replace(look(on.engine, on.now), at=time.time_ns() - round(age_s * S), state=state)
    (folder / "status.json").write_bytes(msgspec.json.encode(view))
    os.utime(folder / "status.json", (view.at / S, view.at / S))
    return folder


@pytest.mark.parametrize(
    ("age_s", "state", "past"),
    [
        (-30.0, "holding", None),
        (-30.0, ENDED, "No agent is at work here: it ended at 20"),
        (7300.0, "holding", "No agent is at work here: it was killed or hangs since its last word at 20"),
    ],
)
def test_an_agent_that_is_gone_does_not_look_alive(age_s: float, state: str, past: str | None, tmp_path: Path) -> None:
    folder = leave(tmp_path / "state", age_s, state)
    for command in ("status", "why"):
        code, shown, _ = said(command, "--state", str(folder))
        assert code == 0
        assert ("No agent is at work here" in shown) is (past is not None)
        if past is not None:
            assert past in shown
            assert "UTC, 2 h ago" in shown or age_s < 0
            assert "up 0 s" not in shown
            assert "looks again" not in shown
    found = json.loads(said("status", "--state", str(folder), "--json")[1])
    assert (found["running"], found["folder"]) == (past is None, str(folder))
    assert found["age_s"] == pytest.approx(age_s, abs=60)


def test_the_folder_used_last_is_shown_and_told_and_a_demo_only_if_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)

    def shown() -> str:
        code, output, errors = said("status", "--json")
        assert code == 0
        assert json.loads(output)["folder"] in errors
        return Path(json.loads(output)["folder"]).name

    demo = leave(tmp_path / "trimtab" / "demo" / "one", 100)
    assert shown() == "one"
    assert json.loads(said("status", "--state", str(demo), "--json")[1])["mode"] == "demo"
    leave(tmp_path / "trimtab" / "old", 3000)
    assert shown() == "old"
    leave(tmp_path / "trimtab" / "new", 2000)
    assert shown() == "new"


def test_of_several_agents_at_work_one_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    folders = [leave(tmp_path / "trimtab" / name, age_s=-60) for name in ("one", "two")]
    code, _, errors = said("resume")
    assert code == 2
    assert "several agents are at work" in errors
    assert all(str(folder) in errors for folder in folders)
    assert not any((folder / "resume").exists() for folder in folders)
