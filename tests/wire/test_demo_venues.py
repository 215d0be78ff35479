"""The demo at every venue but the first, which has a file of its own: a newcomer's command, and the tape of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.simulator import VENUES
from tests.wire.test_demo import demo, trimtab


@pytest.mark.parametrize("venue", sorted(VENUES.keys() - {"binance"}))
def test_the_demo_brings_the_portfolio_inside_its_bands_and_its_tape_replays(venue: str, tmp_path: Path) -> None:
    result = demo(tmp_path, "--venue", venue, "--for", "6", "--seed", "7")
    assert (result["venue"], result["unresolved"], result["liquidated"]) == (venue, 0, False)
    assert result["end"]["drift_max"] <= result["band"]
    assert 0 < result["orders"] <= result["fills"]
    replayed = trimtab("replay", result["recording"], "--json", state=tmp_path)
    assert json.loads(replayed.stdout)["equal"], replayed.stdout + replayed.stderr
