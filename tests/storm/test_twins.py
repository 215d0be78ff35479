"""Two instances of one account, by seed: they notice each other, and then nobody increases."""

from __future__ import annotations

import pytest

from agent.core.orders import S
from tests.faults.striking import Struck
from tests.storm.twins import EPOCH_NS, Twins, twins

SEEDS = 60
BESIDE_S = 5.0
"""Two that are at work trade beside each other no longer than this: each hears of the other's first order at once."""


@pytest.mark.fault("I2", "I5")
def test_two_instances_notice_each_other_and_one_is_left_at_most(struck: Struck) -> None:
    found = [twins(seed) for seed in range(SEEDS)]
    met = [one for one in found if one.both]
    struck("I2", len(met))
    struck("I5", len(met))
    assert len(met) >= 5, "some seeds must bring them together"
    assert all(one.beside_s <= BESIDE_S for one in met), met
    assert not any(one.increases for one in found)


@pytest.mark.fault("I5")
def test_whichever_clock_is_ahead_one_of_them_sees_the_higher_epoch(struck: Struck) -> None:
    """The one that began later has the lower epoch where its clock is behind: then it is the one that is superseded."""
    later_is_lower = 0
    for seed in range(SEEDS):
        pair = Twins(seed)
        first, second = pair.worlds
        if second.engine.epoch >= first.engine.epoch:
            continue
        later_is_lower += 1
        assert pair.run().increases == 0
        assert first.engine.guards[0].halts.halted in (None, "an older instance still trades on this account")
        assert second.engine.guards[0].halts.halted in (
            None,
            "a newer instance trades on this account: this one is superseded",
        )
    struck("I5", later_is_lower)
    assert EPOCH_NS == 300 * S
