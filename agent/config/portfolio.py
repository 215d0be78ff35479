"""What a portfolio file holds, once it was read."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.core.carry import CarryRules
from agent.core.costs import Costs
from agent.core.decisions import Mode, Timing
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.health import Health
from agent.core.pairs import Pair
from agent.core.paper import PaperAccount
from agent.core.planner import Execution, Limits
from agent.core.targets import Strategy, Targets
from agent.core.triggers import Triggers

PASSPHRASED: Final = ("weex",)
"""The venues at which a key has a passphrase besides its secret."""
UNIFIED: Final = ("bybit", "bybit-inverse")
"""Two ways to look at one account: all that is traded there, in whatever coin, draws on one margin."""


def account_of(symbol: str) -> str:
    """The name of the account that a symbol of the file is on; empty where it names none."""
    return symbol.rpartition(":")[0]


def plain(symbol: str) -> str:
    """A symbol of the file as its venue spells it."""
    return symbol.rpartition(":")[2]


class Account(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to trade, and with which key. ``key``, ``secret`` and ``passphrase`` are references (`agent.secrets`)."""

    venue: str = "binance"
    key: str | None = None
    secret: str | None = None
    passphrase: str | None = None
    """As it was chosen when the key was made, at venues that ask for one (`PASSPHRASED`)."""
    rest_url: str | None = None
    """Instead of the venue's own address for requests."""
    stream_url: str | None = None
    """Instead of the venue's own address for websockets."""
    rights_url: str | None = None
    """Where the rights of the key are asked for, where requests go to another address than the venue's own."""
    order_entry: Literal["rest", "websocket"] = "rest"
    """How orders and cancels are sent: over HTTP, or on a websocket, and over HTTP while that is not open."""
    entry_url: str | None = None
    """Where that websocket is, where requests go to another address than the venue's own."""
    allow_withdrawals: bool = False
    """Trade with a key that can withdraw as well."""
    shared: bool = False
    """Others may rest orders and trade on the account: that holds nothing up."""
    leverage: float | None = None
    """Largest gross notional over the equity of this account alone after an order that increases; none if not given."""
    foreign: Literal["pause", "adopt"] = "pause"
    """What follows when others trade twice within ten minutes: nothing but safety until a restart; or adopt it."""
    settle: str | None = None
    """The coin that the account is held in, such as BTC, where contracts are margined in coins."""

    @property
    def pool(self) -> str:
        """Which margin of its owner it is: that of its venue, or of its coin there, where each coin has its own."""
        return self.door if self.venue in UNIFIED else f"{self.venue} {self.settle or ''}".rstrip()

    @property
    def door(self) -> str:
        """What its key opens: a venue, with all the accounts that its owner has there."""
        return UNIFIED[0] if self.venue in UNIFIED else self.venue


class Feed(Struct, frozen=True, forbid_unknown_fields=True):
    """Where targets come from while the agent runs (see `agent.feed`); from nowhere if neither is given."""

    file: str | None = None
    """Looked at once a second; to be replaced as a whole (write another file, then rename it)."""
    listen: str | None = None
    """Address and port to take ``POST /targets`` at, such as 127.0.0.1:8787."""
    token: str | None = None
    """Reference to what must be sent along as ``Authorization: Bearer …``; needed where others can reach the port."""
    longest_h: float = 168.0
    """Targets that say nothing about it are valid for so long from when they were issued."""


class Portfolio(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: what to hold, when to act, and what must never happen."""

    mode: Mode = "paper"
    """observe: watch a real account and send nothing; paper: trade on paper; live: trade."""
    state: str = ""
    """Directory of the journal, the tapes and the status. Always set once a file was parsed."""
    account: Account = Account()
    accounts: dict[str, Account] = {}
    """Instead of ``account`` where there are several: by a name, which stands before each symbol (``name:SYMBOL``)."""
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
    feed: Feed = Feed()
    paper: PaperAccount = PaperAccount()

    @property
    def seats(self) -> dict[str, Account]:
        """The accounts by their names; one alone has none."""
        return self.accounts or {"": self.account}

    @property
    def references(self) -> dict[str, str]:
        """The references to secrets, by the keys that hold them."""
        tables = {f"accounts.{name}" if name else "account": account for name, account in self.seats.items()}
        found = {
            f"{table}.{key}": getattr(account, key)
            for table, account in tables.items()
            for key in ("key", "secret", "passphrase")
        }
        found["feed.token"] = self.feed.token
        return {key: reference for key, reference in found.items() if reference is not None}

    def symbols_at(self, name: str) -> tuple[str, ...]:
        """The instruments of an account, as its venue spells them, in the order of the file."""
        return tuple(plain(symbol) for symbol in self.targets.symbols if account_of(symbol) == name)

    def paper_at(self, name: str) -> PaperAccount:
        """What an account begins with on paper: its own positions, and an equal part of the equity."""
        held = {plain(symbol): size for symbol, size in self.paper.positions.items() if account_of(symbol) == name}
        return replace(self.paper, equity=self.paper.equity / len(self.seats), positions=held)


TABLES: Final[dict[str, type[Struct]]] = {
    "account": Account,
    "targets": Targets,
    "bands": Bands,
    "triggers": Triggers,
    "limits": Limits,
    "costs": Costs,
    "economy": Economy,
    "execution": Execution,
    "funding": CarryRules,
    "timing": Timing,
    "feed": Feed,
    "paper": PaperAccount,
    "targets.strategies.*.health": Health,
}
"""Tables of fixed name, by their place in the file; a star stands for any name."""

NAMED: Final[dict[str, type[Struct] | None]] = {
    "accounts": Account,
    "targets.strategies": Strategy,
    "targets.baskets": None,
}
"""Tables of tables whose names the user chooses, and what each of them is; None: a table by symbol."""

ROWS: Final[dict[str, type[Struct]]] = {"pairs": Pair}
"""Lists of tables."""
