"""Targets from outside: only good and newer ones replace those in force; the rest is told why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent import feed as feeds
from agent.config import Feed as Rules
from agent.config import parse
from agent.core.targets import Given
from agent.core.venue import Secret
from agent.feed import LARGEST, LAST_NS, BadFeed, Feed, read

S = 1_000_000_000
NOW = 1_769_860_800 * S
"""2026-01-31T12:00:00Z."""
HOUR = 3600 * S
CANARY = "canary-77ab"
PORTFOLIO = parse('[targets.weights]\nBTCUSDT = "60%"\nETHUSDT = "40%"\n', Path("portfolio.toml"))


def document(btc: float = 0.5, **more: Any) -> bytes:
    weights = {"BTCUSDT": btc, "ETHUSDT": round(1 - btc, 9)}
    return msgspec.json.encode({"targets": {"weights": weights}} | more)


def understood(raw: bytes, now: int = NOW, issued_at: int = NOW) -> Given:
    return read(raw, PORTFOLIO, source="test", now=now, issued_at=issued_at)


def refused(raw: bytes) -> str:
    with pytest.raises(BadFeed) as caught:
        understood(raw)
    return str(caught.value)


class Desk:
    """What stands behind a feed: the targets in force, and what was said."""

    def __init__(self, **rules: Any) -> None:
        self.now = NOW
        self.force: Given | None = None
        self.said: list[str] = []
        self.taken: list[Given] = []
        self.portfolio = replace(PORTFOLIO, feed=Rules(**rules))

    def feed(self, token: str | None = None) -> Feed:
        return Feed(
            self.portfolio,
            give=self.give,
            refuse=self.said.append,
            now=lambda: self.now,
            force=lambda: self.force,
            token=Secret(token) if token else None,
        )

    def give(self, given: Given) -> None:
        self.force = given
        self.taken.append(given)


# Documents


def test_json_and_toml_mean_the_same() -> None:
    toml = b"issued_at = 2026-01-31T11:00:00Z\n[targets.weights]\nBTCUSDT = 0.5\nETHUSDT = 0.5\n"
    assert understood(toml) == understood(document(issued_at="2026-01-31T11:00:00Z"))
    found = understood(document(0.7, issued_at="2026-01-31T13:00:00.5+01:00", valid_until="2026-01-31T12:00:01Z"))
    assert found.targets.weights == {"BTCUSDT": 0.7, "ETHUSDT": 0.3}
    assert (found.issued_at, found.valid_until, found.source) == (NOW + S // 2, NOW + S, "test")


def test_without_times_it_is_as_old_as_it_came_and_valid_for_so_long() -> None:
    found = understood(document(issued_at=None), issued_at=NOW - HOUR)
    assert (found.issued_at, found.valid_until) == (NOW - HOUR, NOW + 167 * HOUR)


def test_times_without_end_are_taken_for_the_last_that_there_is() -> None:
    found = understood(document(issued_at="0001-01-01T00:00:00Z", valid_until="9999-12-31T23:59:59Z"))
    assert (found.issued_at, found.valid_until) == (0, LAST_NS)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Given) == found


@pytest.mark.parametrize(
    ("raw", "wrong"),
    [
        (b"", "targets is missing"),
        (b"{}", "targets is missing"),
        (b"[1]\n", '"1" is not a known key; a document has targets, issued_at and valid_until'),
        (document(valid_util="2026-01-31T12:00:00Z"), '"valid_util" is not a known key; did you mean valid_until?'),
        (b'{"targets": 7}', "targets = 7: is not a table"),
        (document(0.5)[:-1], "neither JSON nor TOML"),
        (b"\xff", "neither JSON nor TOML"),
        (b"x = " + b"9" * 5000, "neither JSON nor TOML"),
        (b"x = " + b"[" * 5000, "neither JSON nor TOML"),
        (b"x = 'y", "neither JSON nor TOML"),
        (b" " * (LARGEST + 1), "too large"),
        (document(issued_at="yesterday"), 'issued_at = "yesterday" is not a time'),
        (document(issued_at=7), "issued_at = 7 is not a time"),
        (document(issued_at="2026-01-31T12:00:00"), "has no time zone"),
        (b"valid_until = 2026-01-31\ntargets = {}", "valid_until = 2026-01-31 is not a time"),
        (document(issued_at="2026-01-31T12:01:01Z"), "issued_at is in the future (2026-01-31T12:01:01Z)"),
        (document(valid_until="2026-01-31T12:00:00Z"), "past their time (valid_until 2026-01-31T12:00:00Z)"),
        (document(issued_at="2026-01-24T11:59:59Z"), "past their time (valid_until 2026-01-31T11:59:59Z)"),
        (document(1.5), "targets.weights.BTCUSDT = 1.5: is out of range"),
    ],
)
def test_documents_that_can_t_be_used(raw: bytes, wrong: str) -> None:
    assert wrong in refused(raw)


def test_clocks_may_differ_by_a_minute() -> None:
    assert understood(document(issued_at="2026-01-31T12:01:00Z")).issued_at == NOW + 60 * S


def test_all_that_is_wrong_with_targets_is_told() -> None:
    with pytest.raises(BadFeed) as caught:
        understood(msgspec.json.encode({"targets": {"leverage": "3x", "weights": {"BTCUSD": 1}}}))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["test", "test"]


@given(st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["targets", "weights", "BTCUSDT", "strategies", "health", "issued_at"]), inner, max_size=3
    ),
).map(msgspec.json.encode))  # fmt: skip
def test_whatever_comes_is_a_document_or_a_reason(raw: bytes) -> None:
    with contextlib.suppress(BadFeed):
        found = understood(raw)
        assert set(found.targets.symbols) <= set(PORTFOLIO.targets.symbols)


# What is in force


def test_only_newer_targets_replace_those_in_force() -> None:
    desk = Desk()
    feed = desk.feed()
    first = feed.take(document(0.5), source="a", issued_at=NOW)
    assert desk.taken == [first]
    assert feed.take(document(0.5), source="b", issued_at=NOW - 1) is None, "they are in force already"
    with pytest.raises(BadFeed, match="not newer"):
        feed.take(document(0.6), source="b", issued_at=NOW)
    assert len(desk.said) == 1
    assert desk.said[0].startswith("targets of b are not taken, those in force stay: the targets are not newer")
    assert feed.take(document(0.6), source="b", issued_at=NOW + 1) == desk.force
    assert [given.source for given in desk.taken] == ["a", "b"]


# The file


def written(path: Path, content: bytes, at: int = NOW - HOUR) -> None:
    """As whoever feeds should do it: another file, then renamed."""
    other = path.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=(at, at))
    other.replace(path)


def test_a_file_is_taken_when_it_is_replaced_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    desk = Desk(file=str(path))
    feed = desk.feed()
    written(path, document(0.5))
    feed.look()
    feed.look()
    [first] = desk.taken
    assert (first.issued_at, first.source) == (NOW - HOUR, str(path))
    written(path, document(0.6), at=NOW - HOUR + S)
    feed.look()
    assert [given.targets.weights["BTCUSDT"] for given in desk.taken] == [0.5, 0.6]
    assert desk.said == []


def test_a_file_of_the_future_was_issued_now(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    desk = Desk(file=str(path))
    written(path, document(0.5), at=NOW + HOUR)
    desk.feed().look()
    assert desk.taken[0].issued_at == NOW


def test_a_file_that_is_not_there_is_said_once_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    desk = Desk(file=str(path))
    feed = desk.feed()
    feed.look()
    feed.look()
    assert desk.said == [f"targets of {path} are not taken: it can't be read (No such file or directory)"]
    written(path, document(0.5))
    feed.look()
    assert len(desk.taken) == 1


def test_a_file_that_can_t_be_read_is_said_once_and_read_when_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "targets"
    desk = Desk(file=str(path))
    feed = desk.feed()
    written(path, document(0.5))

    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", denied)  # the tests may run as root, who can read everything
        feed.look()
        feed.look()
    assert desk.said == [f"targets of {path} are not taken: it can't be read (Permission denied)"]
    path.chmod(0o600)
    path.chmod(0o640)
    feed.look()
    assert len(desk.taken) == 1


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_read(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "targets"
    make(path)
    desk = Desk(file=str(path))
    desk.feed().look()
    assert "not a regular file" in desk.said[0]


def test_a_file_that_is_wrong_is_told_once_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    desk = Desk(file=str(path))
    feed = desk.feed()
    written(path, document(0.5))
    feed.look()
    for number, content in enumerate([b"{", document(2.0), b"x" * (LARGEST + 5), document(0.6)[:20]]):
        written(path, content)
        feed.look()
        feed.look()
        assert len(desk.said) == number + 1
    assert len(desk.taken) == 1
    written(path, document(0.5))
    feed.look()
    assert (len(desk.taken), len(desk.said)) == (1, 4), "those that are in force are nothing new"


def test_a_stale_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    desk = Desk(file=str(path), longest_h=1)
    written(path, document(0.5), at=NOW - 2 * HOUR)
    desk.feed().look()
    assert desk.taken == []
    assert "past their time" in desk.said[0]


def test_without_a_file_there_is_nothing_to_look_at() -> None:
    desk = Desk()
    desk.feed().look()
    assert desk.said == []


# The listener


class Answer(msgspec.Struct):
    status: int
    content: dict[str, Any]


@asynccontextmanager
async def listening(desk: Desk, token: str | None = None) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    feed = desk.feed(token)
    async with feed.open(), aiohttp.ClientSession() as session:
        assert feed.address is not None
        yield session, f"http://127.0.0.1:{feed.address[1]}/targets"


async def asked(session: aiohttp.ClientSession, method: str, url: str, **more: Any) -> Answer:
    async with session.request(method, url, **more) as response:
        assert response.content_type == "application/json"
        return Answer(response.status, msgspec.json.decode(await response.read()))


def here(**rules: Any) -> Desk:
    return Desk(listen="127.0.0.1:0", **rules)


JSON = {"Content-Type": "application/json"}


async def test_posted_targets_are_taken_and_shown() -> None:
    desk = here()
    async with listening(desk) as (session, url):
        before = await asked(session, "GET", url)
        assert (before.status, before.content["source"]) == (200, "the portfolio file")
        assert before.content["targets"]["weights"] == {"BTCUSDT": 0.6, "ETHUSDT": 0.4}
        assert await asked(session, "POST", url, data=document(0.5), headers=JSON) == Answer(200, {"taken": True})
        assert desk.taken[0].source == "http"
        after = await asked(session, "GET", url)
        assert after.content["targets"]["weights"] == {"BTCUSDT": 0.5, "ETHUSDT": 0.5}
        assert after.content["issued_at"] == "2026-01-31T12:00:00Z"
        assert after.content["valid_until"] == "2026-02-07T12:00:00Z"
        assert after.content["source"] == "http"
        again = {"targets": after.content["targets"]}
        assert await asked(session, "POST", url, json=again) == Answer(200, {"taken": False}), (
            "what is shown can be sent"
        )
        toml = b"[targets.weights]\nETHUSDT = 1\n"
        desk.now += 1
        found = await asked(session, "POST", url, data=toml, headers={"Content-Type": "application/toml"})
        assert found == Answer(200, {"taken": True})
    assert desk.force is not None
    assert desk.force.targets.weights == {"ETHUSDT": 1.0}


async def test_what_is_wrong_is_answered_and_changes_nothing() -> None:
    desk = here()
    async with listening(desk) as (session, url):
        found = await asked(session, "POST", url, data=document(2.0), headers=JSON)
        assert found.status == 422
        assert "targets.weights.BTCUSDT = 2.0: is out of range" in found.content["problems"][0]
        found = await asked(session, "POST", url, data=document(0.5))
        assert found.status == 415
        assert 'the content type is "application/octet-stream"; send application/json' in found.content["problems"][0]
        found = await asked(session, "POST", url, data=b" " * (LARGEST + 1), headers=JSON)
        assert found.status == 413
        assert "too large" in found.content["problems"][0]
        assert (await asked(session, "PUT", url, data=document(0.5), headers=JSON)).status == 405
        assert (await asked(session, "GET", url + "/x")).status == 404
        assert (await asked(session, "POST", url, data=document(0.5), headers=JSON)).status == 200
    assert len(desk.said) == 1, "what no document was is nobody's targets"
    assert len(desk.taken) == 1


async def test_who_has_a_token_must_be_shown_it() -> None:
    desk = here()
    async with listening(desk, token=CANARY) as (session, url):
        for sent in (None, CANARY, f"Bearer {CANARY}x", "Bearer ", f"bearer {CANARY}", f"Bearer {CANARY[:-1]}"):
            headers = {"Authorization": sent} if sent is not None else {}
            for method in ("GET", "POST", "DELETE"):
                found = await asked(session, method, url, data=document(0.5), headers={**JSON, **headers})
                assert found.status == 401
                assert CANARY not in str(found)
        assert desk.taken == []
        right = {**JSON, "Authorization": f"Bearer {CANARY}"}
        assert (await asked(session, "POST", url, data=document(0.5), headers=right)).status == 200
        assert (await asked(session, "GET", url, headers=right)).status == 200


async def test_a_header_that_is_no_text_is_a_wrong_token() -> None:
    desk = here()
    async with listening(desk, token=CANARY) as (_, url):
        port = int(url.rpartition(":")[2].partition("/")[0])
        raw = await said(
            port, b"GET /targets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n"
        )
        assert raw.startswith(b"HTTP/1.1 401 ")


async def said(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_page_that_took_this_address_for_its_own_name_is_turned_away() -> None:
    desk = here()
    async with listening(desk) as (session, url):
        found = await asked(session, "POST", url, data=document(0.5), headers={**JSON, "Host": "evil.example"})
        assert found.status == 403
        found = await asked(session, "POST", url, data=document(0.5), headers={**JSON, "Host": "localhost:1"})
        assert found.status == 200


async def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening(here(), token=CANARY) as (session, url):
        await asked(session, "POST", url, data=b"{", headers={**JSON, "Authorization": f"Bearer {CANARY}"})
    assert "targets are taken at http://127.0.0.1:" in caplog.text
    assert CANARY not in caplog.text


async def test_it_listens_where_it_was_told_and_stops() -> None:
    desk = Desk(listen="[::1]:0") if socket.has_ipv6 else here()
    feed = desk.feed()
    async with feed.open():
        assert feed.address is not None
        assert feed.address[0] in ("::1", "127.0.0.1")
    with pytest.raises(OSError):  # noqa: PT011 — of any kind: nobody is there
        await said(feed.address[1], b"")


async def test_without_an_address_nothing_listens() -> None:
    feed = Desk().feed()
    async with feed.open():
        assert feed.address is None


async def test_a_port_that_is_taken_is_said_plainly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=r"can't listen there .*; name another port") as caught:
            async with Desk(listen=listen).feed().open():
                pass
    assert f'feed.listen = "{listen}"' in str(caught.value)


def test_the_example_in_its_docstring_is_one() -> None:
    text = (feeds.__doc__ or "").split("::\n\n")[1].split("\n\n")[0]
    found = read(text.encode(), PORTFOLIO, source="doc", now=NOW, issued_at=NOW)
    assert found.targets.leverage == 2.0
