"""No secret is left anywhere, whatever happens to the process that holds it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.canary.canary import Canaries, Survey, fly
from tests.faults.striking import Struck

EMPTY = {"standard output", "core dumps"}
"""Channels in which there should be nothing at all."""


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return asyncio.run(fly(tmp_path_factory.mktemp("canary")))


@pytest.mark.fault("C21")
def test_no_secret_is_found_in_any_channel(survey: Survey, struck: Struck) -> None:
    """Nor a signature, nor the key of a session, though redirects ask for them and pages repeat them."""
    assert survey.hits == []
    assert len(survey.channels) >= 18
    assert {name for name, channel in survey.channels.items() if not channel.searched} == EMPTY
    struck("C21", survey.mischief["repeat"] + survey.mischief["redirect"] + survey.mischief["redirected websocket"])


@pytest.mark.fault("C20")
def test_nobody_else_is_sent_anything(survey: Survey, struck: Struck) -> None:
    """No redirect is followed, and no proxy of the environment is used."""
    assert survey.thefts == 0
    struck("C20", survey.mischief["redirect"] + survey.mischief["redirected websocket"])


def test_the_process_can_not_be_looked_into_and_leaves_no_core(survey: Survey) -> None:
    assert survey.notes
    for note in survey.notes.values():
        assert note == "dumpable 0\ncore (0, 0)\n"


def test_each_run_ended_as_it_should(survey: Survey) -> None:
    codes = {name: code for name, code in survey.exits.items() if name.endswith((" run", " check"))}
    assert codes == {
        "debug run": 0, "debug check": 0,
        "crash run": 1, "crash check": 0,
        "full run": 1, "full check": 0,
        "mistakes run": 78, "mistakes check": 78,
        "mistakes in PEM run": 78, "mistakes in PEM check": 78,
    }  # fmt: skip


@pytest.mark.parametrize(
    "written",
    [
        lambda secret: secret,
        lambda secret: quote(secret, safe="").encode(),
        lambda secret: secret.hex().encode(),
        lambda secret: base64.b64encode(secret),
        lambda secret: base64.b64encode(b"x" + secret),
        lambda secret: base64.b64encode(b"xy" + secret + b"z"),
    ],
)
def test_a_canary_is_found_however_it_is_written(written: Callable[[bytes], bytes]) -> None:
    canaries, secret = Canaries(), b"canarySecret/+=0123456789abcdef"
    canaries.watch("secret", secret)
    assert canaries.hits(b"before " + written(secret) + b" after")
    assert not canaries.hits(b"before and after")
