"""The agent's streams on real sockets: half open, reset, closed with every code, flooded."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.simulator import Exchange, Faults, FrameFault, StillMarket, serve
from tests.faults.striking import Struck
from tests.wire.test_run import PRICES, account, at_rest, portfolio, running, until


@pytest.mark.fault("A3")
async def test_a_connection_half_open_is_given_up_and_opened_anew(tmp_path: Path, struck: Struck) -> None:
    faults = Faults(frames=(FrameFault(do="half open", on="mark", from_s=4, times=1),))
    async with (
        await serve(Exchange(StillMarket(PRICES), [account()]), faults=faults) as server,
        running(portfolio(server), server, tmp_path) as agent,
    ):
        await until(lambda: at_rest(agent))
        gateway, streams = server.gateway, agent.engine.book.accounts[0].streams
        up = streams["market"]
        await until(lambda: gateway.counts["frames: half open"] > 0)
        struck("A3", gateway.counts["frames: half open"])
        await until(lambda: streams.get("market", up) != up, 40)
        await until(lambda: at_rest(agent) and agent.engine.state == "holding", 30)


@pytest.mark.fault("A4")
@pytest.mark.parametrize(
    ("do", "code"),
    [("disconnect", 1001), ("disconnect", 1006), ("disconnect", 1012), ("reset", None), ("cut", None)],
)
async def test_whatever_ends_a_stream_it_is_opened_anew(
    do: str, code: int | None, tmp_path: Path, struck: Struck
) -> None:
    faults = Faults(frames=(FrameFault(do=do, on="mark", from_s=3, times=1, code=code),))
    async with (
        await serve(Exchange(StillMarket(PRICES), [account()]), faults=faults) as server,
        running(portfolio(server), server, tmp_path) as agent,
    ):
        gateway, streams = server.gateway, agent.engine.book.accounts[0].streams
        await until(lambda: "market" in streams)
        up = streams["market"]
        await until(lambda: gateway.counts[f"frames: {do}"] > 0, 30)
        struck("A4", gateway.counts[f"frames: {do}"])
        await until(lambda: streams.get("market", up) != up, 30)
        await until(lambda: at_rest(agent) and agent.engine.state == "holding", 30)


@pytest.mark.fault("A11")
async def test_a_flood_of_frames_is_kept_up_with_and_costs_no_connection(tmp_path: Path, struck: Struck) -> None:
    faults = Faults(frames=(FrameFault(do="burst", on="mark", copies=200, from_s=2, until_s=12),))
    async with (
        await serve(Exchange(StillMarket(PRICES), [account()]), faults=faults) as server,
        running(portfolio(server), server, tmp_path) as agent,
    ):
        gateway = server.gateway
        await until(lambda: at_rest(agent))
        up = agent.engine.book.accounts[0].streams["market"]
        await until(lambda: gateway.counts["frames: burst"] >= 12, 30)
        struck("A11", gateway.counts["frames: burst"])
        assert agent.engine.book.accounts[0].streams["market"] == up, "no ping was starved"
        assert not agent.engine.guards[0].pulse.silent
        assert at_rest(agent)
