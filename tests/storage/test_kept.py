"""Storms with a journal: killed and started anew, with the journal as it was, with an old copy of it, and without."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from adapters.simulator import DEMO_KEY, Faults, RequestFault
from agent.core.orders import S
from tests.faults.striking import Struck
from tests.storage.kept import Kept
from tests.storm.storm import CALM_NS, STORM_NS, prepare, swarm
from tests.storm.watchman import Watchman
from tests.storm.world import START

UNKIND = (RequestFault("lose", chance=0.1), RequestFault("lose reply", chance=0.2))


def watched(seed: int, faults: Faults, path: Path) -> tuple[Kept, Watchman]:
    world = prepare(seed, faults)
    watchman = Watchman(world.exchange, world.account, world.policy.targets, lambda: world.engine, world.venue.topic)
    world.decided = watchman.decided
    return Kept(world, path), watchman


def come_to_rest(kept: Kept, watchman: Watchman) -> None:
    kept.world.heal()
    kept.world.exchange.freeze()
    kept.world.run(kept.world.now + CALM_NS, watchman.check)


@pytest.mark.parametrize("seed", [*range(6), 22])  # in 22 an order rests when its run is killed
def test_the_journal_alone_says_what_the_agent_knows_after_any_number_of_kills(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    kept, watchman = watched(seed, swarm(seed), tmp_path / "journal.db")
    for at in sorted(dice.sample(range(5, 60), 3)):
        kept.world.run(START + at * S, watchman.check)
        assert kept.agrees()
        kept.kill()
        kept.start()
    kept.world.run(START + STORM_NS, watchman.check)
    come_to_rest(kept, watchman)
    assert kept.agrees()
    watchman.audit({order.id for order in kept.journal.orders(1_000_000)})
    assert kept.epochs == sorted(set(kept.epochs))
    kept.journal.close()


@pytest.mark.fault("G6")
@pytest.mark.parametrize("restored", [False, True], ids=["gone", "an old copy"])
@pytest.mark.parametrize("seed", range(1, 4))
def test_without_its_journal_a_run_adopts_what_is_there_and_doubles_nothing(
    seed: int, restored: bool, tmp_path: Path, struck: Struck
) -> None:
    dice = random.Random(seed)
    path = tmp_path / "journal.db"
    kept, watchman = watched(seed, Faults(seed=seed, delay_ms=20.0, requests=UNKIND), path)
    first, second = sorted(dice.sample(range(15, 40), 2))
    kept.world.run(START + first * S, watchman.check)
    kept.journal.flush()
    kept.kill()
    for file in tmp_path.iterdir():
        shutil.copy(file, tmp_path / f"{file.name}.copy")
    kept.start()
    kept.world.run(START + second * S, watchman.check)
    before = len(kept.world.exchange.ledger.by_client_id)
    kept.kill()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
        if restored and (copy := tmp_path / f"{name}.copy").exists():
            shutil.copy(copy, tmp_path / name)
    kept.start(unrecorded=True)
    struck("G6")
    kept.world.run(START + STORM_NS, watchman.check)
    come_to_rest(kept, watchman)
    halted = kept.world.engine.guards[0].halts.halted
    if halted is None:
        watchman.audit(watchman.intended)
    else:  # positions moved in the part of the past that is gone, so a denial proves nothing: a person must look
        assert restored
        assert "proves nothing" in halted
    assert all(len(orders) == 1 for orders in kept.world.exchange.ledger.by_client_id.values())
    assert before > 0
    assert len(kept.world.exchange.ledger.by_client_id) >= before
    assert all(account == DEMO_KEY for account, _ in kept.world.exchange.ledger.by_client_id)
    assert kept.agrees()
    kept.journal.close()
