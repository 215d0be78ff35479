"""The fourth quarter of the gate's storms."""

from __future__ import annotations

from tests.wire_storm.gate import Quarter


class TestStorms(Quarter):
    quarter = 3
