"""A tape gives back what was recorded, also when its end is torn; a full disk stops the tape and nothing else."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.desk import Answer, Closed, Frame, Input, Opened, Silence, Tick, Told
from agent.core.venue import Reply
from agent.tape import BUFFER, MAGIC, Concluded, Header, Heard, Recorder, TapeError, Torn, read

HEADER = Header(version="0.1.0", epoch=3, mode="paper", symbols=("BTCUSDT", "ETHUSDT"), config='mode = "paper"\n')

text = st.text(max_size=20)
replies = st.builds(Reply, status=st.integers(100, 599), headers=st.dictionaries(text, text), body=st.binary())
inputs: st.SearchStrategy[Input] = st.one_of(
    st.builds(Opened, socket=text),
    st.builds(Closed, socket=text, reason=text, fatal=st.booleans()),
    st.builds(Frame, socket=text, data=st.binary()),
    st.builds(Answer, call=st.integers(0, 2**53), reply=replies),
    st.builds(Silence, call=st.integers(0, 2**53), sent=st.booleans(), reason=text),
    st.builds(Told, name=text, argument=text),
    st.builds(Tick),
)
records = st.lists(st.one_of(st.builds(Heard, st.integers(0, 2**62), inputs), st.builds(Concluded, st.binary())))


def record(path: Path, entries: list[Heard | Concluded]) -> None:
    recorder = Recorder(path, HEADER)
    for entry in entries:
        match entry:
            case Heard(now=now, input=heard):
                recorder.input(now, heard)
            case Concluded(record=decision):
                recorder.decision(decision)
    recorder.close()
    assert recorder.dropped == 0


@given(records)
def test_round_trip(entries: list[Heard | Concluded]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tape"
        record(path, entries)
        header, read_back = read(path)
        assert header == HEADER
        assert list(read_back) == entries


@given(records.filter(bool), st.data())
def test_a_tape_torn_anywhere_gives_all_whole_records_and_says_so(
    entries: list[Heard | Concluded], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tape"
        record(path, [])
        beginning = path.stat().st_size
        path.unlink()
        record(path, entries)
        whole = path.read_bytes()
        cut = data.draw(st.integers(beginning, len(whole) - 1))
        path.write_bytes(whole[:cut])
        found = list(read(path)[1])
        if found and isinstance(found[-1], Torn):
            torn = found.pop()
            assert isinstance(torn, Torn)
            assert torn.offset + torn.lost == cut
        else:
            record(path.with_name("shorter"), entries[: len(found)])
            assert path.with_name("shorter").read_bytes() == whole[:cut], "it was cut exactly between two records"
        assert found == entries[: len(found)]
        assert len(found) < len(entries)


@given(st.binary(max_size=200))
def test_what_is_no_tape_is_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tape"
        for junk in (content, MAGIC + content):
            path.write_bytes(junk)
            with pytest.raises(TapeError):
                list(read(path)[1])


def test_damage_in_the_middle_is_not_read_over(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    record(path, [Heard(1, Tick()), Heard(2, Tick())])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Tick", b"Tock", 1))
    _, found = read(path)
    with pytest.raises(TapeError, match="damaged at byte"):
        list(found)


def test_a_length_beyond_the_end_ends_the_tape_there_and_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    record(path, [Heard(1, Tick())])
    start = path.stat().st_size
    record(path.with_name("longer"), [Heard(1, Tick()), Heard(2, Tick())])
    content = bytearray(path.with_name("longer").read_bytes())
    content[start] ^= 0x80
    path.write_bytes(content)
    tracemalloc.start()
    found = list(read(path)[1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [Heard(1, Tick()), Torn(start, len(content) - start)]
    assert most < 10_000_000


def test_a_reply_with_a_secret_is_recorded_without_it(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    recorder = Recorder(path, HEADER)
    reply = Reply(status=200, headers={"x": "y"}, body=b'{"listenKey":"canary"}')
    recorder.input(1, Answer(call=7, reply=reply), conceal='{"listenKey":"-"}')
    recorder.input(2, Silence(call=8, sent=True, reason="timed out"), conceal="{}")
    recorder.close()
    assert b"canary" not in path.read_bytes()
    assert list(read(path)[1]) == [
        Heard(1, Answer(call=7, reply=Reply(status=200, headers={"x": "y"}, body=b'{"listenKey":"-"}'))),
        Heard(2, Silence(call=8, sent=True, reason="timed out")),
    ]


def test_it_is_on_disk_after_a_flush_or_when_there_is_much_of_it(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    recorder = Recorder(path, HEADER)
    assert read(path)[0] == HEADER, "a tape can be read from its beginning"
    recorder.input(1, Tick())
    assert list(read(path)[1]) == []
    recorder.flush()
    assert list(read(path)[1]) == [Heard(1, Tick())]
    recorder.input(2, Frame("public", bytes(BUFFER)))
    assert len(list(read(path)[1])) == 2
    recorder.close()
    recorder.close()


def test_a_tape_is_for_its_owner_alone_and_never_written_over(tmp_path: Path) -> None:
    path = tmp_path / "tape"
    record(path, [])
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        Recorder(path, HEADER)


FULL = """
import resource, signal, sys
from pathlib import Path
from agent.core.desk import Frame, Tick
from agent.tape import Recorder
from tests.agent.test_tape import HEADER
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
told = []
recorder = Recorder(Path(sys.argv[1]), HEADER, told.append)
recorder.input(1, Frame("public", bytes(1000)))
recorder.flush()
assert told == [] and recorder.dropped == 0
for n in range(3):
    recorder.input(2 + n, Frame("public", bytes(4000)))
recorder.flush()
recorder.input(5, Tick())
recorder.decision(b"{}")
recorder.flush()
recorder.close()
assert len(told) == 1 and "recording has stopped" in told[0], told
assert recorder.dropped == 5, recorder.dropped
"""


def test_a_full_disk_stops_the_tape_once_and_never_the_agent(tmp_path: Path) -> None:
    assert resource.RLIMIT_FSIZE is not None
    assert signal.SIGXFSZ
    path = tmp_path / "tape"
    child: list[str | Path] = [sys.executable, "-c", FULL, path]
    done = subprocess.run(child, cwd=Path(__file__).parents[2], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "recording has stopped" in done.stderr, "it is logged as well"
    found = list(read(path)[1])
    assert found[0] == Heard(1, Frame("public", bytes(1000)))
    assert isinstance(found[-1], Torn)
