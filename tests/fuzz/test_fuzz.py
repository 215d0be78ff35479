"""Fifty thousand broken inputs in every test run, and those that once broke something."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import cast

import apsw
import pytest

from adapters.simulator.faults import load_faults
from agent import tape
from agent.core.decisions import Note
from agent.core.events import Fact, Unknown
from agent.journal import Records, Unusable
from tests.faults.striking import Struck
from tests.fuzz import campaign
from tests.fuzz.campaign import Tally, no_longer_than, run_unit
from tests.fuzz.corpus import recorded
from tests.fuzz.dialects import QUIET, Spoken
from tests.fuzz.mutation import CHANGES, LARGEST, Broken, mutant, specimen
from tests.fuzz.surfaces import NOW, Engine, Rows, Surface, all_surfaces, dialect, judge_private

UNITS = 5


@pytest.fixture(scope="module")
def surfaces(tmp_path_factory: pytest.TempPathFactory) -> list[Surface]:
    return all_surfaces(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.fault("A10")
def test_nothing_that_reads_is_broken_by_what_it_reads(surfaces: list[Surface], struck: Struck) -> None:
    tally = Tally()
    for number in range(UNITS):
        tally.add(run_unit(number, surfaces))
    assert not tally.findings
    assert sum(tally.inputs.values()) == UNITS * campaign.UNIT
    assert all(tally.rejected[surface.name] > 50 for surface in surfaces)
    struck("A10", sum(tally.rejected.values()))


def known(socket: str, data: bytes) -> list[Fact]:
    return [fact for fact in dialect().on_frame(socket, data, NOW) if not isinstance(fact, Unknown)]


@pytest.mark.fault("E6")
def test_fields_and_values_that_nobody_knows_are_left_or_said_to_be_unknown(struck: Struck) -> None:
    """A new field changes nothing; a new value, and a field that is gone, are said, and never raise."""
    for socket, whole in recorded().frames.items():
        for data in whole:
            more = data.replace(b'"e":', b'"brandNew":{"a":[1]},"e":', 1)
            assert known(socket, more) == known(socket, data)
            if data != more:
                [unknown] = dialect().on_frame(socket, data.replace(b'"e":"', b'"e":"NEW_', 1), NOW)
                assert isinstance(unknown, Unknown)
                struck("E6", 2)


# The fuzzer itself


def test_a_unit_is_the_same_whenever_it_is_run(tmp_path: Path) -> None:
    first, again = (run_unit(7, all_surfaces(tmp_path), size=200) for _ in range(2))
    assert (first.inputs, first.rejected) == (again.inputs, again.rejected)


class Careless:
    """A reader that raises what it should not, or never comes back."""

    name, share, last = "careless", 1000, b""

    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs

    def take(self, dice: random.Random) -> tuple[bytes, bool]:
        self.last = dice.randbytes(4)
        while self.hangs:
            pass
        raise KeyError("e")


@pytest.mark.parametrize(("hangs", "what"), [(False, "KeyError"), (True, "Hang")])
def test_what_breaks_a_reader_is_found(hangs: bool, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "HANG_S", 1)
    [finding] = run_unit(0, [Careless(hangs)], size=10).findings
    assert finding.what.startswith(what)
    assert len(finding.input) == 4


def test_what_ends_in_time_is_not_stopped_later() -> None:
    with no_longer_than(1):
        pass
    assert signal.alarm(0) == 0


def test_every_way_to_break_a_text_changes_it() -> None:
    whole, other = specimen(b'{"a": "1.5", "b": [1, 2], "c": true}'), specimen(b'{"x": "word"}')
    for change in CHANGES:
        dice = random.Random(1)
        broken = set()
        for _ in range(50):
            tokens = list(whole.tokens)
            change(dice, tokens, whole, other)
            broken.add(b"".join(tokens))
        assert len(broken) > 5, change


def test_no_mutant_is_larger_than_it_may_be() -> None:
    dice, whole = random.Random(1), specimen(b'{"a": 1}' * 10_000)
    assert max(len(mutant(dice, whole, whole)) for _ in range(500)) <= LARGEST


@pytest.mark.parametrize("venue", QUIET)
def test_a_dialect_that_lets_its_private_frames_go_by_is_noticed(venue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = Spoken(venue, 1000)
    monkeypatch.setattr(type(surface.dialect), "on_frame", lambda *_: [])
    [finding] = run_unit(0, [surface], size=100).findings
    assert "in silence" in finding.what


def test_a_private_frame_that_goes_by_in_silence_is_noticed() -> None:
    with pytest.raises(Broken, match="in silence"):
        judge_private(b'{"e":"ORDER_TRADE_UPDATE","o":{}}', [])
    with pytest.raises(Broken, match="in silence"):
        judge_private(b"\xff", [Unknown("private", "frame", "", private=False)])
    judge_private(b'{"e":"TRADE_LITE"}', [])


# What was found


def test_an_account_event_that_says_nothing_is_not_passed_over() -> None:
    body = (
        b'{"e":"ACCOUNT_UPDATE","E":1790000000000,"T":1790000000000,"a":{"m":"FUNDING_FEE","P":[],"bb":[{"a":"USDT"}]}}'
    )
    [unknown] = dialect().on_frame("private", body, NOW)
    assert isinstance(unknown, Unknown)
    assert unknown.private


def test_a_fault_file_nested_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text("seed = " + "[" * 20_000)
    with pytest.raises(ValueError, match=r"faults\.toml"):
        load_faults(path)


@pytest.fixture
def empty_tape(tmp_path: Path) -> Path:
    path = tmp_path / "x.tape"
    recorder = tape.Recorder(path, tape.Header("1", 7, "live", ("BTCUSDT",), "config"))
    recorder.close()
    return path


def test_a_tape_with_broken_text_is_said_to_be_damaged(empty_tape: Path) -> None:
    empty_tape.write_bytes(empty_tape.read_bytes().replace(b"config\xa6config", b"config\xa6c\xffnfig"))
    with pytest.raises(tape.TapeError, match="damaged at byte"):
        tape.read(empty_tape)


def test_an_order_on_record_nested_too_deep_is_said_to_be_unreadable() -> None:
    record = '{"id":"a","more":' + "[" * 20_000
    with pytest.raises(Unusable, match="can't read"):
        Records(Path("journal.db"), cast(apsw.Connection, Rows(record))).orders()


def test_what_could_not_be_read_is_counted_and_told_once_for_each_kind() -> None:
    surface = Engine(1)
    surface.renew()
    desk = surface.desk
    notes: list[Note] = []
    for data in (b'{"e":"X"}', b'{"e":"X","a":1}', b'{"e":"Y"}', b"\xff"):
        for socket in ("private", "public"):
            facts = [
                fact
                for fact in desk.channels[0].dialect.on_frame(socket, data, surface.now)
                if isinstance(fact, Unknown)
            ]
            notes += desk.engine.step(facts, surface.now).notes
    assert surface.count() - surface.told == 8
    assert len([note for note in notes if note.text.startswith("unreadable")]) == 6
    for number in range(500):
        desk.engine.step([Unknown("private", f"{number}: made up", "", private=True)], surface.now)
    assert len(desk.engine.tally.unread) <= 51
    assert surface.count() - surface.told == 508
