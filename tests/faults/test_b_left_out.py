"""Answers that leave positions out, from the first on: the account's own margin is the second witness."""

from __future__ import annotations

import pytest

from adapters.simulator import Faults, RequestFault
from agent.core.orders import S
from tests.faults.striking import Struck
from tests.storm.storm import prepare
from tests.storm.world import START

LASTS_S = 40.0
KINDS = (
    RequestFault("empty", on="positions", until_s=LASTS_S),
    RequestFault("truncate", on="positions", until_s=LASTS_S),
    RequestFault("empty", on="positions", from_s=5, until_s=LASTS_S),
    RequestFault("truncate", on="positions", from_s=5, until_s=LASTS_S),
)


@pytest.mark.fault("B8")
@pytest.mark.parametrize("fault", KINDS, ids=lambda fault: f"{fault.do} from {fault.from_s:g} s on")
def test_what_answers_leave_out_is_not_bought_again(fault: RequestFault, struck: Struck) -> None:
    worst = 0.0
    for seed in range(4):
        world = prepare(seed, Faults(seed=seed, delay_ms=20, requests=(fault,)))
        start = {symbol: abs(quantity) for symbol, quantity in world.account.opening_positions.items()}
        world.run(START + int(LASTS_S * S))
        for symbol in world.symbols:
            held = abs(world.account.position(symbol).quantity)
            share = abs(world.policy.targets.weights[symbol])  # type: ignore[arg-type]
            target = 100_000 * share * 3 / float(world.exchange.books[symbol].mark)
            worst = max(worst, float(held) / max(float(start[symbol]), target))
        struck("B8", world.gateway.counts[f"requests: {fault.do}"])
    assert worst < 1.3, "prices and equity move by some percent; what was bought twice would be twice as much"
