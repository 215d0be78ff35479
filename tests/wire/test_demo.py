"""The whole loop over real sockets: the command a newcomer types, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adapters.simulator import DEMO_KEY, DEMO_SECRET

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


def trimtab(
    *words: str, state: Path, hash_seed: str = "random", timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "XDG_STATE_HOME": str(state), "PYTHONHASHSEED": hash_seed, "COLUMNS": "150"}
    command = [sys.executable, "-c", "from agent.cli import main; main()", *words]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout, check=False)


def demo(state: Path, *words: str) -> dict[str, Any]:
    ended = trimtab("demo", "--json", *words, state=state)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    state = tmp_path_factory.mktemp("state")
    return demo(state, "--for", "8", "--seed", "7", "--keep", str(state / "demo")), state


def test_the_demo_brings_the_portfolio_inside_its_bands(played: tuple[dict[str, Any], Path]) -> None:
    result, _ = played
    assert result["start"]["drift_max"] == pytest.approx(0.15, abs=0.005)
    assert result["end"]["drift_max"] <= result["band"] == 0.07
    assert result["unresolved"] == result["rejected"] == 0
    assert 0 < result["orders"] <= result["fills"]
    assert result["turnover"] > 0
    assert result["fees"] > 0
    for moment in ("start", "end"):
        standing = result[moment]
        assert set(standing) >= {"weights", "targets", "drift_max", "leverage", "equity"}
        assert standing["leverage"] == pytest.approx(sum(abs(w) for w in standing["weights"].values()))


def test_a_recorded_demo_replays_to_the_same_decisions_under_any_hash_seed(
    played: tuple[dict[str, Any], Path],
) -> None:
    result, state = played
    tape = Path(result["recording"])
    for hash_seed in ("0", "1"):
        ended = trimtab("replay", str(tape), "--json", state=state, hash_seed=hash_seed)
        found = json.loads(ended.stdout)
        assert ended.returncode == 0, ended.stdout
        assert found["equal"] is True
        assert found["decisions"] > 50


def test_a_replay_notices_one_changed_input(played: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    result, state = played
    tape = Path(result["recording"]).read_bytes()
    changed = tmp_path / "changed.tape"
    assert b"multiplierUp" in tape
    changed.write_bytes(tape.replace(b'"tickSize":"0.10"', b'"tickSize":"0.20"'))
    ended = trimtab("replay", str(changed), state=state)
    assert ended.returncode == 1
    assert "Different at" in ended.stdout


def test_why_and_status_tell_the_story(played: tuple[dict[str, Any], Path]) -> None:
    result, state = played
    told = trimtab("why", "--state", result["records"], state=state)
    assert told.returncode == 0
    for word in (
        "trigger",
        "correcting: BTCUSDT drifted +1",
        "plan",
        "sell",
        "fill",
        "done",
        "No agent is at work here: it ended at ",
    ):
        assert word in told.stdout
    about_eth = trimtab("why", "ETHUSDT", "--state", result["records"], state=state)
    assert "buy" in about_eth.stdout
    shown = trimtab("status", "--state", result["records"], state=state)
    assert "BTCUSDT" in shown.stdout
    assert "No agent is at work here: it ended at " in shown.stdout
    view = json.loads(trimtab("status", "--state", result["records"], "--json", state=state).stdout)
    assert view["unresolved"] == 0
    assert (view["running"], view["folder"]) == (False, result["records"])


def test_no_secret_reaches_the_records(played: tuple[dict[str, Any], Path]) -> None:
    result, _ = played
    for path in Path(result["records"]).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert DEMO_SECRET.encode() not in content
            assert DEMO_KEY.encode() not in content


def test_a_tape_of_prices_is_played(tmp_path: Path) -> None:
    rows = [f"{m * 60_000},{100_000 - 40 * m},{4_000 + 3 * m},{200 - 0.5 * m:.2f}" for m in range(60)]
    tape = tmp_path / "prices.csv"
    tape.write_text("\n".join(["ts_ms,BTCUSDT,ETHUSDT,SOLUSDT", *rows]) + "\n")
    result = demo(tmp_path, "--tape", str(tape), "--speed", "600")
    assert result["end"]["drift_max"] <= result["band"]
    assert result["market"] == str(tape)
    assert not result["liquidated"]


def test_the_crash_of_october_2025_is_survived(tmp_path: Path) -> None:
    tape = DATA / "episode_2025-10-10_bybit_8perps_5m.csv.gz"
    if not tape.exists():
        pytest.skip("the recorded crash is not on this machine")
    result = demo(tmp_path, "--tape", str(tape), "--speed", "30000")
    assert not result["liquidated"]
    assert result["end"]["equity"] > 0
    assert result["end"]["leverage"] <= 5
    assert result["end"]["drift_max"] <= result["band"]


def test_an_account_held_in_a_coin_is_brought_inside_its_band_and_replays(tmp_path: Path) -> None:
    result = demo(tmp_path, "--venue", "binance-coinm", "--for", "8", "--seed", "7", "--keep", str(tmp_path / "demo"))
    start, end = result["start"], result["end"]
    assert start["weights"] == {"BTCUSD_PERP": pytest.approx(3.45, abs=0.01)}
    assert start["equity"] == pytest.approx(100_000, rel=0.001), "in dollars, whatever the coin"
    assert end["drift_max"] <= result["band"] == 0.07
    assert result["unresolved"] == result["rejected"] == 0
    assert 0 < result["fees"] < 0.001 * result["turnover"]
    again = trimtab("replay", result["recording"], state=tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    tape = tmp_path / "prices.csv"
    tape.write_text("ts_ms,BTCUSDT\n0,100000\n60000,100001\n")
    refused = trimtab("demo", "--venue", "binance-coinm", "--tape", str(tape), state=tmp_path)
    assert refused.returncode == 2
    assert "trades BTCUSD_PERP alone" in refused.stderr
