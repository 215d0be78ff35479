"""Every test here runs once for each venue."""

from __future__ import annotations

import pytest

from agent.cli import build
from tests.conformance.description import Described
from tests.conformance.talk import Talk
from tests.conformance.venues import VENUES


@pytest.fixture(params=sorted(VENUES))
def venue(request: pytest.FixtureRequest) -> Described:
    return VENUES[request.param]


WAYS = [
    (name, entry) for name in sorted(VENUES) for entry in (False, True) if not entry or build.VENUES[name].entry_url
]


@pytest.fixture(params=WAYS, ids=lambda way: f"{way[0]}, orders by websocket" if way[1] else way[0])
def talk(request: pytest.FixtureRequest) -> Talk:
    name, entry = request.param
    return Talk(VENUES[name], entry=entry)
