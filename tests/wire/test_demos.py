"""The demo at every exchange, and one portfolio over several: the same loop, the same figures at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.simulator import VENUES
from tests.wire.test_demo import demo, trimtab

SEVERAL = ("binance,bybit", "bingx,binance-coinm", "bybit,bybit-inverse")


@pytest.mark.parametrize("venue", [*VENUES, *SEVERAL])
def test_the_demo_comes_back_to_target_with_the_same_figures_everywhere(venue: str, tmp_path: Path) -> None:
    result = demo(tmp_path, "--venue", venue, "--for", "8", "--seed", "7")
    assert list(result) == [
        "venue", "mode", "start", "end", "band", "orders", "fills", "rejected", "unresolved", "turnover", "fees",
        "funding", "liquidated", "reason", "seed", "market", "speed", "records", "recording",
    ]  # fmt: skip
    assert result["venue"] == venue
    assert result["start"]["drift_max"] > 0.07 >= result["end"]["drift_max"]
    assert result["start"]["equity"] == pytest.approx(100_000, rel=0.01)
    assert result["unresolved"] == result["rejected"] == 0
    assert 0 < result["orders"] <= result["fills"]
    assert not result["liquidated"]
    replayed = trimtab("replay", result["recording"], "--json", state=tmp_path)
    assert json.loads(replayed.stdout)["equal"] is True, replayed.stdout


def test_more_exchanges_than_instruments_is_an_error_with_its_cure(tmp_path: Path) -> None:
    ended = trimtab("demo", "--venue", "binance,bybit,mexc,weex", state=tmp_path)
    assert ended.returncode == 2
    assert "3 instruments are too few for binance and bybit and mexc and weex: name fewer" in " ".join(
        ended.stderr.replace("│", "").split()
    )
