"""The preview: what a correction would do now, found by an agent that watches for a moment and sends nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from agent.config import Portfolio
from agent.core.economy import Verdict
from agent.core.engine import Engine
from agent.core.planner import Plan
from agent.core.risk import Refusal
from agent.core.venue import Dialect, What
from agent.core.view import Safety, View, safety
from agent.run import Agent

LOOK_S = 0.1


class Preview(Struct, frozen=True):
    """What there is to see, and what would be done."""

    view: View
    plan: Plan
    refusals: dict[int, Refusal]
    """By instrument: which gate would refuse its trade, and why."""
    verdict: Verdict | None
    """None while a cost is not known."""
    after: Safety
    """How safe the account would be once all that passes is done."""
    lacks: tuple[str, ...]
    """What has not come, so that costs are not known or rough."""


class Unready(Exception):
    """Too little has come to plan anything; says what is waited for."""


async def preview(
    portfolio: Portfolio, dialects: Sequence[Dialect], stop: asyncio.Event, *, to_target: bool, patience_s: float
) -> Preview:
    """Listen until all is known that a plan and its costs need, for ``patience_s`` at most, and plan.

    Raises `Unready` when no plan can be made by then.
    """
    # A running agent may listen already; the file of its feed is only read.
    watched = replace(portfolio, mode="observe", feed=replace(portfolio.feed, listen=None, token=None))
    with tempfile.TemporaryDirectory(prefix="trimtab-plan-") as folder:
        agent = Agent(watched, dialects, Path(folder), tag="pl")
        running = asyncio.create_task(agent.run(stop))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline and not stop.is_set() and not running.done():
            await asyncio.wait({running}, timeout=LOOK_S)
            if not agent.engine.unready() and not lacking(agent.engine):
                break
        view = replace(agent.view(), mode=portfolio.mode)
        found = agent.engine.preview(agent.clock.now(), to_target=to_target)
        lacks = lacking(agent.engine)
        if found is not None:
            passes = [leg for leg in found[0].legs if leg.instrument not in found[1]]
            verdict, after = agent.engine.verdict(found[0]), safety(agent.engine, passes)
        stop.set()
        await running
    if found is None:
        missing = f" ({'; '.join(view.missing)})" if view.missing else ""
        raise Unready(f"not ready after {patience_s:g} s: {view.state}{missing}")
    return Preview(view=view, plan=found[0], refusals=found[1], verdict=verdict, after=after, lacks=tuple(lacks))


def lacking(engine: Engine) -> list[str]:
    """What costs are reckoned from and has not come, beyond what the agent itself waits for; in words."""
    rows = engine.book.rows
    polls = [poll for guard in engine.guards for poll in guard.audit.polls.values()]
    parts = {
        "bid and ask of": [row.symbol for row in rows if row.quote is None],
        "the order book of": [row.symbol for row in rows if row.quote is not None and row.depth is None],
    }
    lacks = [f"{what} {', '.join(symbols)}" for what, symbols in parts.items() if symbols]
    if any(poll.ask.what is What.VOLUMES and not poll.known for poll in polls):
        lacks.append("traded volumes")
    if not lacks and engine.economist.band is None:  # which is looked at once a second
        lacks.append("the cost-aware band")
    return lacks
