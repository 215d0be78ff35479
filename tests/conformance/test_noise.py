"""Any bytes at all, on any socket and as any answer: nothing raises, and nothing is made up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.venue import Call, Reply
from tests.conformance.noise import call_for, requests, safe, seeds, settled
from tests.conformance.venues import VENUES

TEXTS = ("NaN", "-1", "0", "1e400", "", "1e-30", "Infinity", "FILLED", "STRANGE", "9" * 5000)
VALUES: st.SearchStrategy[Any] = st.sampled_from([*TEXTS, -1, 0, 2**80, 1.5, None, True, [], {}]) | st.text(max_size=8)
PATCHES = st.binary(max_size=6) | st.sampled_from([b"NaN", b"-", b"1e999", b"null", b'"', b"9" * 400])


def damaged(data: st.DataObject, whole: bytes) -> bytes:
    """Some bytes replaced, or another value somewhere inside."""
    if data.draw(st.booleans()):
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.integers(start, min(len(whole), start + 12)))
        return whole[:start] + data.draw(PATCHES) + whole[end:]
    try:
        content = json.loads(whole)
    except ValueError:
        return data.draw(PATCHES)
    inside: Any = content
    while isinstance(inside, dict | list) and inside:
        key = data.draw(st.sampled_from(list(inside) if isinstance(inside, dict) else range(len(inside))))
        if not isinstance(inside[key], dict | list) or data.draw(st.booleans()):
            inside[key] = data.draw(VALUES)
            break
        inside = inside[key]
    return json.dumps(content).encode()


every_venue = pytest.mark.parametrize("name", sorted(VENUES))


@every_venue
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_bytes_whatever_raise(name: str, data: st.DataObject) -> None:
    dialect = seeds(name).dialect()
    socket = data.draw(st.sampled_from(dialect.abilities.sockets))
    noise = data.draw(st.binary(max_size=200))
    for frame in (noise, seeds(name).talk.described.pack(noise)):
        safe(dialect.on_frame(socket, frame, seeds(name).talk.now))


@every_venue
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_no_damaged_frame_raises(name: str, data: st.DataObject) -> None:
    told = seeds(name)
    socket, whole = data.draw(st.sampled_from(told.frames))
    safe(told.dialect().on_frame(socket, told.talk.described.pack(damaged(data, whole)), told.talk.now))


@every_venue
@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_no_damaged_answer_raises_or_leaves_an_order_without_an_outcome(name: str, data: st.DataObject) -> None:
    told = seeds(name)
    request, status, whole = data.draw(st.sampled_from(told.answers))
    dialect, now = told.dialect(), told.talk.now
    call = dialect.perform(request, now)
    if isinstance(call, Call):  # an order of the conversation is too old by now to be sent again
        reply = Reply(data.draw(st.sampled_from([status, 200, 400, 503])), {}, damaged(data, whole))
        settled(told.talk.described, request, reply.body, safe(dialect.on_reply(call, reply, now)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=6),
    max_leaves=20,
)


@every_venue
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_answer_whatever_raises_or_leaves_an_order_without_an_outcome(name: str, data: st.DataObject) -> None:
    told = seeds(name)
    request = data.draw(st.sampled_from(requests(told.talk)))
    body = data.draw(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
    headers = {"retry-after": data.draw(st.text(max_size=9))}
    dialect, now = told.dialect(), told.talk.now
    reply = Reply(data.draw(st.integers(100, 599)), headers, body)
    facts = safe(dialect.on_reply(call_for(dialect, request, now), reply, now))
    settled(told.talk.described, request, body, facts)


@every_venue
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b'[{"symbol":' + b"[" * 100_000])
def test_deep_frames_and_answers_do_not_sink_it(name: str, body: bytes) -> None:
    told = seeds(name)
    dialect, now = told.dialect(), told.talk.now
    for socket in dialect.abilities.sockets:
        safe(dialect.on_frame(socket, told.talk.described.pack(body), now))
    for request in requests(told.talk):
        for status in (200, 400):
            facts = safe(dialect.on_reply(call_for(dialect, request, now), Reply(status, {}, body), now))
            settled(told.talk.described, request, body, facts)
