"""A short run of the campaign: `python -m tests.plans` is the long one."""

from __future__ import annotations

import pytest

from tests.plans import plans
from tests.plans.plans import broken, case_of, danger_of

SEEDS = range(300)


def test_no_step_of_a_plan_breaks_a_limit() -> None:
    assert [line for seed in SEEDS for line in broken(seed)] == []


def test_the_campaign_notices_when_the_gates_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "judge", lambda leg, situation: None)
    assert [line for seed in range(60) for line in broken(seed)]


@pytest.mark.parametrize("limit", ["leverage", "initial", "maintenance", "liquidation"])
def test_the_campaign_begins_beyond_every_limit_often_enough(limit: str) -> None:
    cases = (case_of(seed) for seed in SEEDS)
    assert sum(getattr(danger_of(case.book, case.limits), limit) > 1 for case in cases) > 5
