"""Two hundred storms in every test run, and the proof that they notice a missing safeguard."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.storm.ablations import ABLATIONS
from tests.storm.storm import SWARM, Violation, campaign, storm

SEEDS = 200
BITE_WITHIN = 50
"""An ablation that survives so many storms was not noticed."""

FIRED: Counter[str] = Counter()


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_no_storm_breaks_a_promise(first: int) -> None:
    outcomes, counts = campaign(range(first, first + 20))
    FIRED.update(counts)
    FIRED["unknown orders"] += sum(outcome.unknown for outcome in outcomes)
    assert all(outcome.drift <= 1 for outcome in outcomes)


def test_every_kind_of_fault_has_struck() -> None:
    if not FIRED:
        pytest.skip("looks at the storms before it, and none has run")
    assert {kind for kind in SWARM if not FIRED[kind]} == set()
    assert FIRED["unknown orders"] > 50


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_storm_notices_a_missing_safeguard(name: str) -> None:
    with ABLATIONS[name]() as desk, pytest.raises(Violation):
        for seed in range(BITE_WITHIN):
            storm(seed, desk)
