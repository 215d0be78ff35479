"""What stands in the way of trading: what each kind ends, in what order they are named, and who lifts it."""

from __future__ import annotations

import pytest

from agent.core.halts import Halts


class Notes(list[tuple[str, str, str | None]]):
    def __call__(self, kind: str, text: str, symbol: str | None) -> None:
        self.append((kind, text, symbol))


def test_nothing_stands_in_the_way_at_first() -> None:
    halts = Halts(Notes())
    assert (halts.idle, halts.withheld, halts.aside(0), halts.posture, halts.blocked) == (None, None, None, None, {})
    assert not halts.fresh()


def test_each_halt_is_told_once_and_each_new_one_has_what_rests_cancelled() -> None:
    halts = Halts(notes := Notes())
    halts.halt("the disk is full.")
    assert halts.fresh()
    assert not halts.fresh()
    halts.halt("the disk is full.")
    assert not halts.fresh()
    halts.halt("the key is gone")
    assert halts.fresh()
    assert [text for _, text, _ in notes] == [
        "halted: the disk is full. Nothing increases until a person has seen to it and resumes or restarts",
        "halted: the key is gone. Nothing increases until a person has seen to it and resumes or restarts",
    ]
    assert halts.posture == "halted: the key is gone"


def test_a_halt_withholds_increases_and_nothing_else() -> None:
    halts = Halts(Notes())
    halts.halt("so")
    assert (halts.idle, halts.withheld, halts.aside(0)) == (None, "so", None)


@pytest.mark.parametrize("which", ["paused", "stopping"])
def test_a_pause_and_a_stop_end_all_trading(which: str) -> None:
    halts = Halts(Notes())
    setattr(halts, which, True)
    assert (halts.idle, halts.withheld) == (which, which)


def test_others_set_all_aside_but_safety() -> None:
    halts = Halts(Notes())
    assert halts.stand_back("others trade")
    assert not halts.stand_back("others trade"), "known"
    assert (halts.idle, halts.withheld, halts.aside(0)) == (None, "others trade", "others trade")
    assert halts.posture == "paused: others trade"
    assert halts.stand_back("a twin trades"), "another reason"


def test_requests_of_an_earlier_run_set_all_aside_until_they_have_expired() -> None:
    halts = Halts(Notes())
    halts.expiring_until = 100
    assert halts.aside(99) == "requests of an earlier run may still be accepted"
    assert halts.aside(100) is None
    assert halts.withheld is None


def test_an_instrument_is_blocked_for_its_first_reason_which_is_told_once() -> None:
    halts = Halts(notes := Notes())
    halts.block(2, "its step is another", "SOLUSDT")
    halts.block(2, "its base is another", "SOLUSDT")
    assert halts.blocked == {2: "its step is another"}
    assert notes == [("halt", "nothing is traded here any more: its step is another", "SOLUSDT")]


def test_a_person_lifts_all_but_the_kill_switch_a_stop_and_what_time_cures() -> None:
    halts = Halts(Notes())
    halts.halt("so")
    halts.paused = halts.stopping = True
    halts.killed, halts.expiring_until = "the file exists", 100
    halts.stand_back("others trade")
    halts.block(0, "another contract", "BTCUSDT")
    halts.resume()
    assert (halts.halted, halts.paused, halts.others, halts.blocked) == (None, False, None, {})
    assert (halts.stopping, halts.killed, halts.expiring_until) == (True, "the file exists", 100)
    halts.halt("so")
    assert halts.halted == "so", "told anew once it comes back"
