"""A storm's world whose agent keeps a journal: it can be killed and started anew, and its journal lost in between."""

from __future__ import annotations

from pathlib import Path

import msgspec

from adapters.binance import Binance
from adapters.simulator import DEMO_KEY, DEMO_SECRET
from agent.core.decisions import Decision
from agent.core.desk import Desk
from agent.core.engine import Engine
from agent.core.guard import Seat
from agent.core.orders import S
from agent.core.venue import Change, Credentials, Secret
from agent.journal import Journal
from agent.run import EPOCH_NS, YEAR_2025
from tests.storage.power import kill
from tests.storm.world import REST, STREAM, World


class Kept:
    """Begins the runs of a world's agent as `agent.run` does, one after another, from the journal at ``path``."""

    def __init__(self, world: World, path: Path) -> None:
        self.world = world
        self.path = path
        self.epochs: list[int] = []
        self._watch = world.decided
        world.decided = self._decided
        self.start()

    def start(self, *, unrecorded: bool = False) -> None:
        """A run begins, with what the journal knows; ``unrecorded``: it may not know the last requests."""
        world = self.world
        self.journal = Journal(self.path)
        resume = self.journal.recent(world.now - 24 * 3600 * S, "live")
        above = (world.now - YEAR_2025) // EPOCH_NS
        self.epochs.append(self.journal.begin("live", "# a storm", "0.1.0", world.now, above=above))
        credentials = Credentials(key=Secret(DEMO_KEY), secret=Secret(DEMO_SECRET))
        dialect = Binance(symbols=world.symbols, credentials=credentials, rest_url=REST, stream_url=STREAM)
        world.engine = Engine(
            world.policy,
            epoch=self.epochs[-1],
            seats=(Seat("st", dialect.abilities, unrecorded=unrecorded),),
            schedule=lambda now: None,
            resume=resume,
            nonce=len(self.epochs),
        )
        world.desk = Desk([dialect], world.engine, salt=f"kept{self.epochs[-1]}")
        world._wake_at = world.now

    def kill(self) -> None:
        """The run is gone at once, and with it what was on its way to it."""
        world = self.world
        kill(self.journal)
        for session in world.sessions.values():
            world.gateway.disconnect(session)
        world.sessions.clear()
        world.calls.clear()
        world._inputs.clear()

    def _decided(self, decision: Decision) -> None:
        self._watch(decision)
        urgent = any(isinstance(request, Change) for request in decision.requests)
        if decision.notes or decision.orders or urgent:
            record = msgspec.json.encode(decision)
            self.journal.append(decision.at, decision.seq, record, decision.orders, urgent)

    def agrees(self) -> bool:
        """Whether the journal alone says the same as the agent that is running: of each order, what became of it."""
        self.journal.verify()
        written = {order.id: order for order in self.journal.orders(1_000_000)}
        return all(written[name] == order for name, order in self.world.engine.blotter.orders.items())
