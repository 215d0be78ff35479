"""Signatures that others have published. That requests are signed as the venue wants it, its side checks."""

from __future__ import annotations

from agent.core.events import Denied, Unanswered
from agent.core.venue import What
from tests.conformance.description import Described
from tests.conformance.talk import Talk


def test_published_vectors(venue: Described) -> None:
    assert venue.vectors
    for vector in venue.vectors:
        assert venue.sign(vector.secret, vector.text) == vector.signature
        assert venue.sign(f" {vector.secret}\n", vector.text) == vector.signature, "a file ends with a line break"


def test_a_wrong_secret_is_denied(venue: Described) -> None:
    told = Talk(venue, secret="wrong").question(What.POSITIONS)
    assert {Denied, Unanswered} <= {type(fact) for fact in told}
