"""Keys: one that is revoked, one that may do too much or too little, one about to end, one of another account."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.simulator import Account
from adapters.simulator.faults import Incident
from agent.core.decisions import Memory, Policy
from agent.core.events import Rights, Unanswered
from agent.core.limits import PROBE_NS
from agent.core.orders import S
from agent.core.targets import Targets
from agent.core.terms import DAY_NS
from agent.core.venue import SIGNED, Ask, Call, What
from tests.core.kit import Stage
from tests.faults.striking import Struck
from tests.faults.test_d_account import EVEN, Scene

POLICY = Policy(mode="live", targets=Targets({"BTCUSDT": 1.0}, 3.0))
FINE = Rights(withdraw=False, transfer=False, trade=True, bound=True, expires_at=None)


def stage(rights: Rights = FINE, *, policy: Policy = POLICY, **options: Any) -> Stage:
    on = Stage(policy, {"BTCUSDT": 0.1}, **options)
    on.rights = rights
    return on.ready()


def watched(scene: Scene) -> list[int]:
    """When requests with the key leave, from now on."""
    world, seen = scene.world, []
    perform = world.desk.channels[0].dialect.perform

    def performed(request: Any, now: int) -> Any:
        call = perform(request, now)
        if isinstance(call, Call) and (not isinstance(request, Ask) or request.what in SIGNED):
            seen.append(now)
        return call

    world.desk.channels[0].dialect.perform = performed  # type: ignore[method-assign]
    return seen


@pytest.mark.fault("H4")
def test_a_key_that_is_refused_halts_and_is_tried_once_a_minute(struck: Struck) -> None:
    scene = Scene(Incident("revoke key", at_s=20)).until(50)
    struck("H4", scene.struck("revoke key"))
    assert scene.engine.guards[0].halts.halted is not None
    assert "rejects the key" in scene.engine.guards[0].halts.halted
    assert [note for note in scene.notes if note.kind == "halt"]
    sent = watched(scene)
    scene.until(50 + 600)
    assert 9 <= len(sent) <= 10
    assert all(later - sooner >= PROBE_NS for sooner, later in pairwise(sent))
    assert scene.increases() == []


@pytest.mark.fault("H4")
def test_a_key_that_loses_the_right_to_trade_halts(struck: Struck) -> None:
    scene = Scene(
        Incident("key rights", at_s=20, trade=False),
        Incident("trade", at_s=21, symbol="ETHUSDT", quantity=Decimal(-12)),
    ).until(120)
    struck("H4", scene.struck("key rights"))
    assert scene.engine.guards[0].halts.halted is not None
    assert len(scene.increases()) <= 1


@pytest.mark.fault("H4")
def test_a_key_that_is_taken_again_is_used_again_to_watch_and_nothing_increases(struck: Struck) -> None:
    scene = Scene(Incident("key rights", at_s=20, trade=False)).until(22)
    struck("H4", scene.struck("key rights"))
    scene.world.desk.channels[0].lockout.until = scene.world.now + PROBE_NS  # as after a refusal of the key as such
    scene.until(22 + 50)
    asked_at = scene.engine.book.accounts[0].positions_at
    scene.until(22 + 90)
    assert scene.world.desk.channels[0].lockout.until is None
    assert (scene.engine.book.accounts[0].positions_at or 0) > (asked_at or 0)


@pytest.mark.fault("H5")
def test_a_key_that_can_withdraw_is_refused_unless_the_file_says_otherwise(struck: Struck) -> None:
    on = stage(replace(FINE, withdraw=True))
    struck("H5")
    assert on.engine.guards[0].terms.unfit == on.engine.guards[0].halts.halted
    assert on.engine.guards[0].halts.halted is not None
    assert on.engine.guards[0].halts.halted.startswith(
        "the key can withdraw: take that right from it, or set account.allow_with"
    )
    assert on.wait(60) == []
    allowed = stage(replace(FINE, withdraw=True), allow_withdrawals=True)
    assert allowed.engine.guards[0].halts.halted is None
    assert allowed.wait(60)


@pytest.mark.fault("H5")
def test_a_key_that_no_address_binds_or_that_moves_money_is_warned_of_once(struck: Struck) -> None:
    on = stage(replace(FINE, bound=False, transfer=True))
    struck("H5", 2)
    on.wait(3 * 3600)
    assert on.engine.guards[0].halts.halted is None
    assert [text for text in on.said("warning") if text.startswith("the key")] == [
        "the key works from any address: bind it to this machine's",
        "the key can move money between accounts, which this agent never does",
    ]


@pytest.mark.fault("H5")
def test_an_observer_is_not_refused_for_its_key(struck: Struck) -> None:
    on = stage(replace(FINE, withdraw=True), policy=replace(POLICY, mode="observe"))
    struck("H5")
    assert on.engine.guards[0].terms.unfit is None


@pytest.mark.fault("H5")
def test_the_exchange_is_asked_for_the_rights_of_the_key(struck: Struck) -> None:
    scene = Scene(
        account=Account(balance=100_000, positions=EVEN, rights={"enableWithdrawals": True}), asks_rights=True
    ).until(20)
    struck("H5")
    assert scene.engine.guards[0].terms.unfit is not None


@pytest.mark.fault("H6")
def test_the_end_of_a_key_is_spoken_of_fourteen_seven_and_one_day_before(struck: Struck) -> None:
    on = stage()
    end = on.now + 20 * DAY_NS
    said = []
    for day in (0, 5.5, 5.9, 6.1, 6.5, 12.9, 13.1, 18.5, 19.1, 19.6):
        on.hush()
        on.leap(max(0, round(end - 20 * DAY_NS + day * DAY_NS) - on.now))
        on.tell(replace(FINE, expires_at=end))
        said += [(day, text) for text in on.said("warning") if "right to trade ends" in text]
    struck("H6", len(said))
    assert [day for day, _ in said] == [6.1, 13.1, 19.1]
    assert said[0][1] == "the key's right to trade ends in 13.9 days: renew it"


@pytest.mark.fault("H6")
def test_a_key_that_has_ended_is_refused(struck: Struck) -> None:
    on = stage(replace(FINE, expires_at=1))
    struck("H6")
    assert on.engine.guards[0].terms.unfit == "the key's right to trade has ended: renew it"
    assert on.wait(30) == []


def test_rights_that_can_not_be_learnt_are_said_and_not_waited_for_any_longer() -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.1})
    on.mute = {What.RIGHTS}
    on.tell()
    on.tell(*on.marks())
    on.engine.step([], on.now)
    for _ in range(3):
        assert What.RIGHTS in on.engine.guards[0].audit.missing()
        on.tell(Unanswered("rights", "no route"), after=1.0)
        on.wait(31)
    assert What.RIGHTS not in on.engine.guards[0].audit.missing()
    assert on.said("warning") == ["what the key may do could not be learnt: no route"]


@pytest.mark.fault("B9")
def test_a_key_of_another_account_than_before_halts(struck: Struck) -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.1}, memory=Memory(symbols=(), owners={"": "b"})).ready()
    struck("B9")
    cure = "give back the key, or name another state directory for this account"
    assert on.engine.guards[0].terms.unfit == f"the key belongs to account a, and it was b before: {cure}"
    assert on.wait(30) == []
    assert on.engine.memory().owners[""] == "b", "a restart must not make it right"


@pytest.mark.fault("B9")
def test_an_account_that_changes_while_it_runs_halts_at_the_next_resync(struck: Struck) -> None:
    scene = Scene(Incident("other account", at_s=20)).until(21)
    scene.world.venue.disconnect_all()
    scene.until(60)
    struck("B9", scene.struck("other account"))
    assert scene.engine.guards[0].halts.halted is not None
    assert scene.engine.guards[0].halts.halted.startswith("the key belongs to account SgsRx, and it was SgsR before")
    assert scene.engine.memory().owners[""] == "SgsR"


def test_the_owner_is_remembered() -> None:
    on = stage()
    assert on.engine.memory().owners[""] == "a"
    again = Stage(POLICY, {"BTCUSDT": 0.1}, memory=on.engine.memory()).ready()
    assert again.engine.guards[0].halts.halted is None
    assert DAY_NS == 86_400 * S
