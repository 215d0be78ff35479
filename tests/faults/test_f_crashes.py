"""Runs that end by being killed, again and again: the next one looks first."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.simulator import Exchange, StillMarket, serve
from agent.run import CRASHES
from tests.faults.striking import Struck
from tests.faults.test_g_storage import sent, told
from tests.wire.test_demo import ROOT
from tests.wire.test_run import PRICES, account, held, portfolio, running, until

KILLED = """
import os, signal, sys, time
from pathlib import Path
from agent.journal import Journal
journal = Journal(Path(sys.argv[1]) / "journal.db")
journal.begin("live", "", "0.1.0", time.time_ns())
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(folder: Path) -> None:
    """A run that begins and is killed."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=ROOT, check=False)
    assert ended.returncode == -9


@pytest.mark.fault("F11")
@pytest.mark.parametrize("times", [CRASHES - 1, CRASHES])
async def test_after_too_many_crashes_a_run_begins_halted(times: int, tmp_path: Path, struck: Struck) -> None:
    for _ in range(times):
        await asyncio.to_thread(killed, tmp_path)
        struck("F11")
    exchange = Exchange(StillMarket(PRICES), [account()])
    async with await serve(exchange) as server, running(portfolio(server), server, tmp_path) as agent:
        if times < CRASHES:
            await until(lambda: held(exchange, "ETHUSDT") > 5)
            assert agent.engine.guards[0].halts.halted is None
        else:
            await until(lambda: held(exchange, "BTCUSDT") < Decimal("0.8"))
            await asyncio.sleep(0.5)
            assert agent.engine.guards[0].halts.halted == f"{times} runs within ten minutes did not end in order"
            assert held(exchange, "ETHUSDT") == 5, "it reduces, and increases nothing until a person has looked"
            assert f"{times} runs within ten minutes" in told(tmp_path)
    assert sent(exchange)
    again = Exchange(StillMarket(PRICES), [account()])
    if times == CRASHES:  # a run that ended in order is no crash, but those before are not forgotten so soon
        async with await serve(again) as server, running(portfolio(server), server, tmp_path) as agent:
            assert agent.engine.guards[0].halts.halted is not None
