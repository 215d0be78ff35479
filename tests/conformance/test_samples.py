"""Recorded and documented payloads: each becomes facts, or is stated to be none of the dialect's business."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import msgspec
import pytest

from agent.cli import build
from agent.core.events import Fact
from agent.core.venue import Call, Reply
from tests.conformance.description import Answered, Described, Heard
from tests.conformance.noise import requests, safe, settled
from tests.conformance.talk import Talk
from tests.conformance.venues import VENUES

NOW = 1_790_000_000_000_000_000
SAMPLES = Path(__file__).parents[2].parent / "shared" / "venues" / "payloads"


def folder(venue: Described) -> Path:
    found = SAMPLES / venue.folder
    if not found.exists():
        pytest.skip("the samples are not beside the project")
    return found


def facts_in(venue: Described, sample: Heard | Answered, content: bytes) -> list[Fact]:
    dialect = venue.recorded()
    if isinstance(sample, Heard):
        frames = (
            [bytes(one) for one in msgspec.json.decode(content, type=list[msgspec.Raw])] if sample.many else [content]
        )
        return [
            fact
            for frame in frames
            for fact in dialect.on_frame(sample.socket, venue.pack(sample.before + bytes(frame) + sample.after), NOW)
        ]
    call = dialect.perform(sample.request, NOW)
    assert isinstance(call, Call), call
    return list(dialect.on_reply(call, Reply(sample.status, {}, sample.before + content + sample.after), NOW))


def test_every_venue_that_is_spoken_is_described() -> None:
    assert set(VENUES) == set(build.VENUES)


def test_every_sample_is_assigned_once(venue: Described) -> None:
    sharing = [one for one in VENUES.values() if one.folder == venue.folder]
    found = {path.stem for path in folder(venue).glob("*.json")}
    assigned = {name for one in sharing for name in chain(one.samples, *one.beside.values())}
    assert assigned == found
    names = [*venue.samples, *chain(*venue.beside.values())]
    assert len(names) == len(set(names)), "a file has one meaning"


def test_every_sample_says_what_it_should(venue: Described) -> None:
    for name, sample in sorted(venue.samples.items()):
        facts = facts_in(venue, sample, (folder(venue) / f"{name}.json").read_bytes())
        kinds = tuple(type(fact) for fact in facts)
        assert (kinds if isinstance(sample, Heard) else tuple(dict.fromkeys(kinds))) == sample.kinds, (name, facts)


def test_every_sample_on_every_socket_and_as_any_answer_does_no_harm(venue: Described) -> None:
    talk = Talk(venue)
    dialect, now = talk.dialect, talk.now
    calls = [(one, call) for one in requests(talk) if isinstance(call := dialect.perform(one, now), Call)]
    for path in sorted(folder(venue).glob("*.json")):
        body = path.read_bytes()
        for socket in dialect.abilities.sockets:
            safe(dialect.on_frame(socket, venue.pack(body), now))
        for request, call in calls:
            for status in (200, 400, 503):
                settled(venue, request, body, safe(dialect.on_reply(call, Reply(status, {}, body), now)))
