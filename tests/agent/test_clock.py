"""The clock goes on through suspensions and wall clocks that are set, and tells of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.clock import JUMP_NS, Clock

S = 1_000_000_000
START = 1_700_000_000 * S


class Machine:
    """A machine whose two clocks are set by hand."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 5 * S

    def clock(self) -> Clock:
        return Clock(wall=lambda: self.wall, monotonic=lambda: self.monotonic)

    def pass_time(self, ns: int) -> None:
        self.wall += ns
        self.monotonic += ns


def test_it_follows_the_monotonic_clock() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_time(3 * S)
    machine.wall += JUMP_NS // 2  # slewed a little: not a jump
    assert clock.now() == START + 3 * S
    assert clock.jump() is None


def test_a_suspension_is_told_once_and_the_wall_clock_is_believed() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += 600 * S
    assert clock.now() == START + 600 * S
    assert clock.jump() == 600 * S
    assert clock.jump() is None
    machine.pass_time(S)
    assert clock.now() == START + 601 * S
    assert clock.jump() is None


def test_a_wall_clock_that_is_set_back_neither_stops_nor_turns_time() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall -= 3600 * S
    assert clock.now() == START
    assert clock.jump() == -3600 * S
    machine.pass_time(S)
    assert clock.now() == START + S, "time goes on: a time-out of one second takes one second"
    assert clock.jump() is None
    machine.wall += 3600 * S
    machine.pass_time(S)
    assert clock.now() == START + 2 * S, "the wall clock has come back to where the time is"
    assert clock.jump() == 3600 * S


@given(st.lists(st.tuples(st.integers(0, 100 * S), st.integers(-7200 * S, 7200 * S))))
def test_it_never_goes_backwards_and_never_lags_far_behind_the_wall(moves: list[tuple[int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock.now()
    for passed, shifted in moves:
        machine.pass_time(passed)
        machine.wall += shifted
        now = clock.now()
        assert now >= before + passed
        assert now >= machine.wall - JUMP_NS
        before = now


def test_real_clocks_by_default() -> None:
    clock = Clock()
    first = clock.now()
    assert clock.now() >= first > START
    assert clock.jump() is None
