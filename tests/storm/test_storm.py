"""Two hundred storms in every test run, and the proof that they notice a missing safeguard."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from adapters.simulator import RequestFault
from agent.core.desk import Desk
from tests.storm.ablations import ABLATIONS, Scene, seeds_to_find
from tests.storm.flood import flood
from tests.storm.storm import SWARM, campaign

SEEDS = 200
FEW = 5
"""Storms at each of the other venues."""
BITE_WITHIN = 50
"""An ablation that survives so many storms was not noticed."""

FIRED: Counter[str] = Counter()


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_no_storm_breaks_a_promise(first: int) -> None:
    outcomes, counts = campaign(range(first, first + 20))
    FIRED.update(counts)
    FIRED["unknown orders"] += sum(outcome.unknown for outcome in outcomes)
    assert all(outcome.drift <= 1 for outcome in outcomes)


@pytest.mark.parametrize("venue", ["bingx", "mexc"])
def test_no_storm_breaks_a_promise_at_another_venue(venue: str) -> None:
    outcomes, _ = campaign(range(FEW), venue)
    assert sum(outcome.unknown for outcome in outcomes) > 0
    assert all(outcome.drift <= 1 for outcome in outcomes)


def test_every_kind_of_fault_has_struck() -> None:
    if not FIRED:
        pytest.skip("looks at the storms before it, and none has run")
    names = {f"{'requests' if isinstance(one, RequestFault) else 'frames'}: {one.do}" for one in SWARM}
    assert {name for name in names if not FIRED[name]} == set()
    assert FIRED["unknown orders"] > 50


def test_a_storm_decides_the_same_in_two_processes_whatever_the_hash_seed() -> None:
    """Byte for byte: hashed over every decision of several storms."""
    command = [sys.executable, "-m", "tests.storm", "--digest", "--seeds", "4"]
    root = Path(__file__).parents[2]
    digests = [
        subprocess.run(command, cwd=root, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("0", "1")
    ]
    assert digests[0].stdout == digests[1].stdout
    assert len(digests[0].stdout.split()) == 4


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_storm_notices_a_missing_safeguard(name: str) -> None:
    assert seeds_to_find(name, BITE_WITHIN, ABLATIONS[name].first) is not None


@pytest.mark.parametrize("scene", dict.fromkeys(ablation.scene for ablation in ABLATIONS.values()))
def test_with_every_safeguard_in_place_nothing_is_noticed(scene: Scene) -> None:
    scene(0, Desk)


def test_a_flood_starves_no_cancel_and_bans_nobody() -> None:
    flooded = flood(seed=1, seconds=45)
    assert flooded.requests > 5 * flooded.left / 2
    assert (flooded.bans, flooded.cancel_wait_ms) == (0, 0.0)
    assert flooded.cancels > 100
    assert flooded.weight < 0.8
