"""Killed at any moment, and again while recovering: a part of the campaign that fits into every run of the tests."""

from __future__ import annotations

import pytest

from tests.faults.striking import Struck
from tests.kill.campaign import SCENES, campaign


@pytest.mark.fault("F1", "F2")
def test_killed_anywhere_and_again_while_recovering_loses_and_doubles_nothing(struck: Struck) -> None:
    report = campaign(16, 8, workers=3)
    assert report.violations == []
    assert report.orders > 40
    assert report.faults["requests: lose reply"] > 0
    assert [tally.missed for tally in report.scenes.values()] == [0] * len(SCENES)
    struck("F1", report.points)
    struck("F2", report.pairs)
