"""Decisions: what the engine is told to go by, what it answers, and what one run leaves to the next."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.core.carry import CarryRules, CarryState
from agent.core.costs import Costs
from agent.core.covariance import CovarianceState
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.orders import Order
from agent.core.pairs import Pair
from agent.core.planner import Execution, Limits
from agent.core.sleeves import SleevesState
from agent.core.targets import Given, Targets
from agent.core.triggers import Triggers
from agent.core.venue import Request

Mode = Literal["observe", "paper", "live"]


class Timing(Struct, frozen=True, forbid_unknown_fields=True):
    """How often the venue is asked, and how old an answer may be. Seconds."""

    positions_s: float = 10.0
    """Positions and balances are asked for this often, and twice as often while an order is under way."""
    orders_s: float = 10.0
    """Open orders are asked for this often while there are any of ours; once a minute otherwise."""
    quiet_s: float = 15.0
    """Nothing increases when the last complete answer about positions is older."""
    stop_s: float = 25.0
    """A stop takes no longer than this: what is left of it once orders are settled closes connections and files."""


class Policy(Struct, frozen=True):
    """What the user decided, as far as decisions depend on it."""

    mode: Mode
    targets: Targets
    bands: Bands = Bands()
    triggers: Triggers = Triggers()
    limits: Limits = Limits()
    costs: Costs = Costs()
    economy: Economy = Economy()
    execution: Execution = Execution()
    funding: CarryRules = CarryRules()
    pairs: tuple[Pair, ...] = ()
    timing: Timing = Timing()


class Memory(Struct, frozen=True):
    """What a run knows that the next one can't find out from the venue."""

    symbols: tuple[str, ...]
    covariance: CovarianceState | None = None
    carry: CarryState | None = None
    sleeves: SleevesState | None = None
    given: Given | None = None
    schedule_at: int | None = None
    owners: dict[str, str] = {}
    """Whose the accounts were, by the name that the file gives each and the venue's own name for the owner."""

    def without_positions(self) -> Memory:
        """For a run on another account: who owned what is left out, how strategies did is kept."""
        return replace(self, sleeves=self.sleeves and self.sleeves.without_positions())


class Note(Struct, frozen=True):
    """A reason, in words: why something was done, or why not."""

    kind: str
    """state, targets, strategies, health, funding, trigger, plan, order, fill, refusal, hold, done, warning, halt, or
    external, which is what others have done on the account."""
    text: str
    symbol: str | None = None


class Decision(Struct, frozen=True):
    """What to do now, why, and when to look again. ``orders`` are those that changed, as they are now."""

    seq: int
    at: int
    requests: tuple[Request, ...]
    notes: tuple[Note, ...]
    orders: tuple[Order, ...]
    wake_at: int
    remember: bool = False
    """The strategies' ledgers have changed: what is to be remembered goes to disk with this decision."""
    reopen: tuple[str, ...] = ()
    """Streams that are open and no longer to be trusted: to be connected anew."""
