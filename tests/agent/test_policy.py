"""The contest of policies, in short: the long one is `trimtab bench policy`."""

from __future__ import annotations

import pytest

from agent.cli.policy import CASES, COVARIANCE, contest, cost_aware, root_of, running_costs, threshold
from agent.core.band import dot


def test_the_root_of_the_covariance_is_its_root() -> None:
    root = root_of(COVARIANCE)
    for i, row in enumerate(COVARIANCE):
        assert [dot(root[i], other) for other in root] == pytest.approx(row)


def test_a_contest_is_won_by_the_cost_aware_band_and_repeats_itself() -> None:
    case = CASES["50/30/20 at 3x"]
    traders = [cost_aware(case), threshold(case)]
    ours, plain = running_costs(case, traders, 20_000, 11)
    assert 0.95 < ours / case.optimum < 1.1
    assert plain > 1.2 * ours
    assert running_costs(case, traders, 20_000, 11) == [ours, plain]


def test_every_case_is_told_for_every_policy() -> None:
    found = contest(part=0.001)
    assert set(found) == set(CASES)
    assert all(set(ratios) == {"trimtab", "threshold 5% to target"} for ratios in found.values())
