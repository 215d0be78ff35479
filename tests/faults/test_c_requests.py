"""Requests through storms of one kind of fault: the exchange's books are the judge (`tests.storm.watchman`)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.simulator import Faults, Incident, RequestFault
from agent.core.decisions import Decision
from agent.core.desk import Desk
from agent.core.orders import S
from agent.core.venue import Call
from tests.faults.striking import Struck
from tests.storm.flood import flood
from tests.storm.scenes import watched
from tests.storm.storm import Outcome, prepare, storm
from tests.storm.world import START

SEEDS = range(3)


def weather(*faults: RequestFault | Incident) -> Callable[[int], Faults]:
    """A storm's weather with these faults alone."""
    requests = tuple(one for one in faults if isinstance(one, RequestFault))
    events = tuple(one for one in faults if isinstance(one, Incident))
    return lambda seed: Faults(seed=seed, delay_ms=20.0, requests=requests, events=events)


def storms(*faults: RequestFault | Incident) -> list[Outcome]:
    """What came of a few storms with these faults; a broken promise raises."""
    return [storm(seed, Desk, weather(*faults)) for seed in SEEDS]


def struck_by(outcomes: list[Outcome]) -> int:
    return sum(sum(outcome.faults.values()) for outcome in outcomes)


@pytest.mark.fault("C1")
@pytest.mark.parametrize("kind", ["unknown", "unknown done", "timeout", "bad gateway"])
def test_an_error_that_leaves_the_outcome_open_is_found_out(kind: str, struck: Struck) -> None:
    outcomes = storms(RequestFault(kind, on="order", chance=0.5))
    struck("C1", struck_by(outcomes))
    assert sum(outcome.unknown for outcome in outcomes) > 0


@pytest.mark.fault("C2")
@pytest.mark.parametrize("kind", ["lose", "lose reply"])
def test_a_connection_that_dies_loses_and_doubles_no_order(kind: str, struck: Struck) -> None:
    outcomes = storms(RequestFault(kind, on="order", chance=0.5), RequestFault(kind, on="cancel", chance=0.3))
    struck("C2", struck_by(outcomes))
    assert sum(outcome.unknown for outcome in outcomes) > 0


@pytest.mark.fault("C3")
def test_a_request_that_is_held_and_executed_late_is_not_sent_again(struck: Struck) -> None:
    outcomes = storms(RequestFault("hold", on="order", chance=0.8, ms=12_000))
    struck("C3", struck_by(outcomes))
    assert sum(outcome.unknown for outcome in outcomes) > 0


@pytest.mark.fault("C9")
def test_after_429_there_is_silence_for_as_long_as_the_venue_says(struck: Struck) -> None:
    outcomes = storms(RequestFault("limit", chance=0.03, ms=3_000))
    struck("C9", struck_by(outcomes))


@pytest.mark.fault("C10")
def test_a_ban_is_sat_out_while_the_streams_stay_open(struck: Struck) -> None:
    for seed in SEEDS:
        world = prepare(seed, weather(RequestFault("ban", from_s=10, times=1, ms=30_000))(seed))
        watchman = watched(world)
        sent: list[int] = []
        told: list[str] = []

        def left(call: Call, sent: list[int] = sent, told_of: Callable[[Call], None] = watchman.left) -> None:
            sent.append(call.at)
            told_of(call)

        def decided(one: Decision, told: list[str] = told, of: Callable[[Decision], None] = watchman.decided) -> None:
            told += [note.text for note in one.notes]
            of(one)

        world.left, world.decided = left, decided
        while not world.gateway.counts["requests: ban"]:
            world.run(world.now + S, watchman.check)
        world.run(world.now + S, watchman.check)
        until, sockets = world.desk.channels[0].lanes.silent_until, dict(world.sessions)
        assert until > world.now + 25 * S
        silent_from = world.now
        world.run(until, watchman.check)
        assert [at for at in sent if silent_from <= at < until] == []
        assert world.sessions == sockets
        assert any("banned by the venue" in text for text in told)
        world.run(until + 60 * S, watchman.check)
        assert any(at >= until for at in sent)
        struck("C10", world.gateway.counts["requests: ban"])


@pytest.mark.fault("C11")
def test_a_flood_starves_no_cancel(struck: Struck) -> None:
    flooded = flood(seed=3, seconds=45)
    struck("C11", flooded.requests - flooded.left)
    assert (flooded.bans, flooded.cancel_wait_ms) == (0, 0.0)


@pytest.mark.fault("C12")
def test_a_budget_that_shrinks_while_somebody_else_uses_it_is_never_overdrawn(struck: Struck) -> None:
    smaller = Incident("limits", weight=600)
    others = Incident("use weight", weight=100, at_s=10, every_s=30)
    for seed in SEEDS:
        world = prepare(seed, weather(smaller, others)(seed))
        watchman = watched(world)
        watchman.weight_limit = 600
        world.run(START + 120 * S, watchman.check)
        assert world.desk.channels[0].lanes.gauges["weight_1m"].bucket.capacity == 600
        assert 0 < watchman.heaviest <= 1
        struck("C12", world.gateway.counts["events: limits"] + world.gateway.counts["events: use weight"])


@pytest.mark.fault("C13")
def test_a_clock_that_leaves_the_venues_window_is_measured_anew(struck: Struck) -> None:
    outcomes = storms(Incident("clock", ms=8_000, at_s=8), Incident("clock", ms=-8_000, at_s=30))
    struck("C13", struck_by(outcomes))


@pytest.mark.fault("C20")
@pytest.mark.parametrize("kind", ["html", "redirect", "error inside 200", "cut"])
def test_an_answer_that_is_none_proves_nothing(kind: str, struck: Struck) -> None:
    outcomes = storms(RequestFault(kind, on="order", chance=0.4), RequestFault(kind, on="query", chance=0.4))
    struck("C20", struck_by(outcomes))
