"""Every test here runs once for each venue."""

from __future__ import annotations

import pytest

from tests.conformance.description import Described
from tests.conformance.talk import Talk
from tests.conformance.venues import VENUES


@pytest.fixture(params=sorted(VENUES))
def venue(request: pytest.FixtureRequest) -> Described:
    return VENUES[request.param]


@pytest.fixture
def talk(venue: Described) -> Talk:
    return Talk(venue)
