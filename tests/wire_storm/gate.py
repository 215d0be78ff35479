"""A thousand storms in every test run, in quarters that run side by side: no promise is broken, every fault strikes."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import pytest

from tests.faults.striking import Struck
from tests.wire_storm.campaign import STRIKES, Report, campaign, percentile

STORMS = 250
"""In each quarter."""

STATES = (
    "killed with orders of open fate",
    "killed with orders of unknown fate",
    "unknown, then filled",
    "unknown, then never placed",
    "unknown, then expired",
    "unknown, then resting",
)
"""Where it gets interesting: storms that never come there prove little."""


@cache
def outcome(quarter: int) -> Report:
    """What has come of the storms of a quarter, from 0 on."""
    return campaign(range(quarter * STORMS, (quarter + 1) * STORMS), processes=1)


class Quarter:
    """The tests of one quarter; each is a file of its own, for files are what runs side by side."""

    quarter: ClassVar[int]

    @pytest.mark.fault(*STRIKES)
    def test_no_storm_breaks_a_promise(self, struck: Struck) -> None:
        report = outcome(self.quarter)
        for fault, kinds in STRIKES.items():
            struck(fault, sum(report.faults.get(kind, 0) for kind in kinds))
        assert report.violations == {}, report.violations
        assert report.storms == STORMS
        assert report.overshoot <= 1

    def test_every_kind_of_fault_has_struck_and_every_interesting_state_was_seen(self) -> None:
        report = outcome(self.quarter)
        assert report.silent == []
        assert {name for name in STATES if not report.states.get(name)} == set()

    def test_it_comes_to_rest_and_learns_what_became_of_its_orders_in_time(self) -> None:
        report = outcome(self.quarter)
        assert percentile(report.rests, 0.99) <= 60
        assert percentile(report.doubts, 0.99) <= 20
