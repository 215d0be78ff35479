"""A few stalls in every test run; `python -m tests.storm.stall` runs many."""

from __future__ import annotations

import pytest

from tests.faults.striking import Struck
from tests.storm.stall import STREAMS, campaign, figures


@pytest.mark.fault("A1", "A2")
def test_silent_streams_are_noticed_in_time_and_nothing_is_sent_on_what_they_last_said(struck: Struck) -> None:
    stalls = campaign(range(4))
    struck("A1", 4)
    struck("A2", 4)
    found = figures(stalls)
    assert found.stalls == 4 * len(STREAMS)
    assert found.met, found
    assert found.orders > 50
