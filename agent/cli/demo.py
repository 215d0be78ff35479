"""The demo: the local exchange with a drifted account, and the real agent on it, over real sockets."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from msgspec import Struct
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from adapters.simulator import (
    DEMO_KEY,
    DEMO_SECRET,
    VENUES,
    Account,
    Exchange,
    Market,
    SeededMarket,
    Server,
    TapeMarket,
    instrument,
    serve,
)
from agent.cli import screen
from agent.cli.build import dialects_of, home_of_demos
from agent.config import Account as Access
from agent.config import Portfolio
from agent.core.decisions import Note
from agent.core.desk import Step
from agent.core.planner import Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Credentials, Secret
from agent.run import Agent

EQUITY = 100_000
LEVERAGE = 3.0
WANTED = {"BTCUSDT": 0.50, "ETHUSDT": 0.30, "SOLUSDT": 0.20}
HELD = {"BTCUSDT": 0.65, "ETHUSDT": 0.20, "SOLUSDT": 0.15}
ASTRAY = 1.15
"""How many times its target the one contract of an account held in a coin weighs at the start."""
OTHERS = 0.15
"""What the other instruments of a tape get together, in equal parts, of the target and of what is held."""
SETTLE_S = 20.0
"""How long the agent may take to finish its work once the market stands still."""
KEEP = 5
"""Demos whose records are kept."""

MODE = "demo"
"""What is told as its mode: the agent trades live, but on a local exchange."""

Shares = tuple[dict[str, float], dict[str, float]]
"""Wanted and held shares of gross by symbol."""


class Unplayable(ValueError):
    """A tape of other instruments than the venue trades."""


class Options(Struct, frozen=True):
    """How to run a demo. ``venue`` may be several, each once, with commas between; ``seconds`` None: until Ctrl-C."""

    venue: str = "binance"
    seconds: float | None = None
    tape: Path | None = None
    speed: float = 60.0
    seed: int | None = None
    port: int = 0
    keep: Path | None = None

    @property
    def venues(self) -> list[str]:
        """The exchanges."""
        return self.venue.split(",")


class Standing(Struct, frozen=True):
    """Where the portfolio stands by the exchanges' own books, in the quote currency. Weights are signed notional over
    equity, that of a coin which the account is held in included."""

    weights: dict[str, float]
    targets: dict[str, float]
    drift_max: float
    """Largest |weight - target| over the target gross."""
    leverage: float
    equity: float


class Result(Struct, frozen=True):
    """What a demo ends with; amounts in the quote currency, counted by the exchange."""

    venue: str
    mode: str
    start: Standing
    end: Standing
    band: float
    orders: int
    fills: int
    rejected: int
    unresolved: int
    turnover: float
    fees: float
    funding: float
    liquidated: bool
    reason: str
    """The agent's last word."""
    seed: int | None
    market: str
    speed: float
    records: str
    """Folder of the journal."""
    recording: str
    """Tape of everything heard and decided, for `trimtab replay`."""

    @property
    def ok(self) -> bool:
        """Inside the band, solvent, and nothing left unresolved."""
        return not self.unresolved and not self.liquidated and self.end.drift_max <= self.band


def shares(symbols: tuple[str, ...]) -> Shares:
    """Wanted and held shares of gross: the example of the README, and a little of whatever else a tape holds."""
    known = [symbol for symbol in WANTED if symbol in symbols]
    others = [symbol for symbol in symbols if symbol not in WANTED]
    if not known:
        wanted = {symbol: 1 / len(symbols) for symbol in symbols}
        half = len(symbols) // 2
        tilt = {symbol: (1.3 if index < half else 0.7) for index, symbol in enumerate(symbols)}
        total = sum(wanted[s] * tilt[s] for s in symbols)
        return wanted, {s: wanted[s] * tilt[s] / total for s in symbols}
    rest = OTHERS if others else 0.0
    small = {symbol: rest / len(others) for symbol in others}
    scale = (1 - rest) / sum(WANTED[symbol] for symbol in known)
    wanted = {symbol: WANTED[symbol] * scale for symbol in known} | small
    scale = (1 - rest) / sum(HELD[symbol] for symbol in known)
    held = {symbol: HELD[symbol] * scale for symbol in known} | small
    return {s: wanted[s] for s in symbols}, {s: held[s] for s in symbols}


class Site:
    """One exchange of a demo and the account there, with so much ``equity`` and these shares of the gross of all."""

    def __init__(self, options: Options, name: str, equity: float, shares_: Shares, market: Market) -> None:
        self.name = name
        self.local = VENUES[name]
        self.wanted, self.held = shares_
        self.market = market
        self.symbols = tuple(self.wanted)
        gross = EQUITY * LEVERAGE
        prices = dict(zip(market.symbols, market.prices(), strict=True))
        positions = {
            symbol: self._lots(symbol, gross * share - equity * self.coin(symbol), prices[symbol])
            for symbol, share in self.held.items()
        }
        balance = round(Decimal(equity) / self.local.rate(market), 8)
        self.account = Account(balance=balance, positions=positions, asset=self.local.asset, alias=name)
        self.exchange = Exchange(market, [self.account], speed=options.speed, seed=options.seed or 0)
        self.venue = self.local.side(self.exchange, mark_pace=options.speed)

    def _lots(self, symbol: str, value: float, price: Decimal) -> Decimal:
        one = instrument(symbol)
        return (Decimal(value) / one.value(one.step, price)).to_integral_value() * one.step

    def coin(self, symbol: str) -> float:
        """The weight of an instrument without any contract: 1 where the account is held in its coin."""
        return 1.0 if symbol == self.local.contract else 0.0

    @property
    def rate(self) -> float:
        """What one unit of what the account is held in is worth in the quote currency."""
        return float(self.exchange.books[self.local.contract].mark) if self.local.contract else 1.0

    @property
    def equity(self) -> float:
        """What the account is worth in the quote currency."""
        return float(self.exchange.snapshot(self.account).equity) * self.rate

    def values(self) -> dict[str, float]:
        """What is held of each instrument in the quote currency, and of the coin that the account is held in."""
        snapshot, equity = self.exchange.snapshot(self.account), self.equity
        return {
            symbol: self.coin(symbol) * equity
            + float(self.exchange.instruments[symbol].value(snapshot.held(symbol), self.exchange.books[symbol].mark))
            for symbol in self.symbols
        }

    def spelt(self, symbol: str) -> str:
        """An instrument as the venue spells it."""
        return self.local.symbol(self.exchange.instruments[symbol])

    def access(self, server: Server) -> Access:
        """The account in a portfolio file."""
        return Access(
            venue=self.name,
            settle=self.local.coin,
            key="env:TRIMTAB_DEMO_KEY",
            secret="env:TRIMTAB_DEMO_SECRET",  # noqa: S106 — a reference, and to nothing
            passphrase="env:TRIMTAB_DEMO_PASSPHRASE" if self.local.passphrase else None,
            rest_url=server.rest_url,
            stream_url=server.ws_url,
        )


def sites_of(options: Options) -> list[Site]:
    """The exchanges of a demo. Several have an equal part of the equity each, and the instruments in turn.

    Raises `Unplayable`.
    """
    locals_ = {name: VENUES[name] for name in options.venues}
    linear = [name for name, local in locals_.items() if not local.contract]
    wanted: dict[str, float] = {}
    held: dict[str, float] = {}
    if linear:
        wanted, held = shares(tuple(_market(options, tuple(WANTED)).symbols))
    if len(linear) > len(wanted):
        raise Unplayable(f"{len(wanted)} instruments are too few for {' and '.join(linear)}: name fewer of them")
    sites, part = [], 1 / len(locals_)
    for name, local in locals_.items():
        if local.contract:
            market = _market(options, (local.contract,))
            if tuple(market.symbols) != (local.contract,):
                raise Unplayable(f"an account held in {local.coin} trades {local.contract} alone: play a tape of that")
            mine: Shares = {local.contract: part}, {local.contract: part * ASTRAY}
        else:
            turn = list(wanted)[linear.index(name) :: len(linear)]
            scale = part * len(linear)
            mine = {s: wanted[s] * scale for s in turn}, {s: held[s] * scale for s in turn}
            market = _market(options, tuple(WANTED))
        sites.append(Site(options, name, EQUITY * part, mine, market))
    return sites


def _market(options: Options, symbols: tuple[str, ...]) -> Market:
    return TapeMarket(options.tape) if options.tape else SeededMarket(options.seed, symbols)


class Demo:
    """One demo: exchanges, accounts and the agent, from the drift at the start to the result at the end."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.sites = sites_of(options)
        phrases = [site.local.passphrase for site in self.sites if site.local.passphrase]
        self.credentials = Credentials(Secret(DEMO_KEY), Secret(DEMO_SECRET), Secret(phrases[0]) if phrases else None)
        self.notes: deque[tuple[int, Note]] = deque(maxlen=12)
        self.folder = options.keep or _fresh_folder()

    def portfolio(self, servers: Sequence[Server]) -> Portfolio:
        """The portfolio file of the demo. Confirmation and cool-down shrink with the market's speed."""
        pace = max(1.0, self.options.speed)
        alone = len(self.sites) == 1
        weights = {
            site.spelt(symbol) if alone else f"{site.name}:{site.spelt(symbol)}": share
            for site in self.sites
            for symbol, share in site.wanted.items()
        }
        accounts = {site.name: site.access(server) for site, server in zip(self.sites, servers, strict=True)}
        return Portfolio(
            mode="live",
            state=str(self.folder),
            account=accounts[self.sites[0].name] if alone else Access(),
            accounts={} if alone else accounts,
            targets=Targets(weights={**weights}, leverage=LEVERAGE),
            triggers=Triggers(confirm_s=round(180 / pace, 3), cool_down_s=round(180 / pace, 3)),
            limits=Limits(leverage=5.0, turnover_per_day=100.0, orders_per_minute=600),
        )

    def standing(self) -> Standing:
        """Where the portfolio stands now."""
        equity = sum(site.equity for site in self.sites)
        held = {self._name(site, symbol): value for site in self.sites for symbol, value in site.values().items()}
        weights = {name: value / equity if equity > 0 else 0.0 for name, value in held.items()}
        targets = {
            self._name(site, symbol): share * LEVERAGE for site in self.sites for symbol, share in site.wanted.items()
        }
        drift = max(abs(weights[symbol] - targets[symbol]) for symbol in targets) / LEVERAGE
        leverage = sum(abs(weight) for weight in weights.values())
        return Standing(weights=weights, targets=targets, drift_max=drift, leverage=leverage, equity=equity)

    def _name(self, site: Site, symbol: str) -> str:
        """An instrument in the result: with its account where there are several."""
        return symbol if len(self.sites) == 1 else f"{site.name}:{symbol}"

    async def run(self, stop: asyncio.Event, console: Console | None) -> Result:
        """Run the whole demo; with a console, show it live."""
        async with AsyncExitStack() as stack:
            servers = []
            for number, site in enumerate(self.sites):
                port = self.options.port and self.options.port + number
                servers.append(await stack.enter_async_context(await serve(site.venue, port=port)))
            start = self.standing()
            portfolio = self.portfolio(servers)
            dialects = dialects_of(portfolio, self.credentials)
            agent = Agent(portfolio, dialects, self.folder, tag="de", record=True, watch=self._watch)
            end = asyncio.Event()
            running = asyncio.create_task(agent.run(end))
            show = asyncio.create_task(self._show(agent, console)) if console else None
            try:
                await self._wait(stop, running)
                await self._settle(agent, servers)
                reason = self._last_word(agent)
            finally:
                if show is not None:
                    show.cancel()
                    await asyncio.gather(show, return_exceptions=True)
                end.set()
                await running
            return self._result(agent, portfolio, start, reason)

    def _watch(self, now: int, step: Step) -> None:
        for decision in step.decisions:
            self.notes.extend((now, note) for note in decision.notes)

    async def _wait(self, stop: asyncio.Event, running: asyncio.Task[None]) -> None:
        """Until the time is over, the tape has ended, Ctrl-C, or the agent has failed."""
        stopped = asyncio.create_task(stop.wait())
        loop = asyncio.get_running_loop()
        deadline = None if self.options.seconds is None else loop.time() + self.options.seconds
        while not stopped.done() and not running.done():
            left = 0.5 if deadline is None else min(0.5, deadline - loop.time())
            tape_over = self.options.tape is not None and all(site.market.ended for site in self.sites)
            if left <= 0 or (deadline is None and tape_over):
                break
            await asyncio.wait({stopped, running}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()

    async def _settle(self, agent: Agent, servers: Sequence[Server]) -> None:
        """Let the market stand still and the agent finish what it is doing."""
        for site, server in zip(self.sites, servers, strict=True):
            site.exchange.freeze()
            server.settle()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_S
        await asyncio.sleep(1.5)  # the last prices are on their way: marks come once a second
        while loop.time() < deadline:
            quiet = agent.engine.correction is None and not agent.engine.blotter.live()
            if quiet and self.standing().drift_max <= agent.portfolio.bands.tolerance:
                return
            await asyncio.sleep(0.1)

    async def _show(self, agent: Agent, console: Console) -> None:
        if not console.is_terminal:
            await self._print(agent, console)
            return
        market = f"tape {self.options.tape.name}" if self.options.tape else "seeded market"
        where = f"local {' and '.join(self.options.venues)} exchange{'s' if len(self.sites) > 1 else ''}"
        title = f"trimtab demo · {where} · {market} at {self.options.speed:g}x"
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(screen.live(agent.view(), list(self.notes), title, "DEMO", "Ctrl-C ends"), refresh=True)
                await asyncio.sleep(0.2)

    async def _print(self, agent: Agent, console: Console) -> None:
        """Where there is no terminal: what happens, a line each."""
        while True:
            while self.notes:
                console.print(screen.told([self.notes.popleft()]), soft_wrap=True)
            await asyncio.sleep(0.2)

    def _last_word(self, agent: Agent) -> str:
        last = [note for _, note in self.notes if note.kind in ("hold", "done", "refusal", "halt", "warning")]
        return last[-1].text if last else agent.engine.state

    def _result(self, agent: Agent, portfolio: Portfolio, start: Standing, reason: str) -> Result:
        snapshots = [(site.exchange.snapshot(site.account), site.rate) for site in self.sites]
        names = [name for site in self.sites for _, name in site.exchange.ledger.by_client_id]
        return Result(
            venue=self.options.venue,
            mode=MODE,
            start=start,
            end=self.standing(),
            band=portfolio.bands.tolerance,
            orders=sum(name.startswith("tt") for name in names),
            fills=sum(one.fills for one, _ in snapshots),
            rejected=sum(one.rejected for one, _ in snapshots),
            unresolved=len(agent.engine.blotter.live()),
            turnover=round(sum(float(one.turnover) for one, _ in snapshots), 2),
            fees=round(sum(float(one.fees) * rate for one, rate in snapshots), 2),
            funding=round(sum(float(one.funding) * rate for one, rate in snapshots), 2),
            liquidated=any(name.startswith("autoclose") for name in names),
            reason=reason,
            seed=getattr(self.sites[0].market, "seed", None),
            market=str(self.options.tape or "seeded"),
            speed=self.options.speed,
            records=str(self.folder),
            recording=str(agent.tape.path) if agent.tape else "",
        )


def summary(result: Result) -> Table:
    """The result as a small table."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("share of the target gross", "start", "end", "target"):
        table.add_column(name, justify="left" if name.startswith("share") else "right")
    gross = sum(abs(target) for target in result.start.targets.values())
    for symbol, target in result.start.targets.items():
        row = [result.start.weights[symbol], result.end.weights[symbol], target]
        table.add_row(symbol, *(screen.percent(weight / gross) for weight in row))
    table.add_row(
        "largest drift", *(screen.percent(s.drift_max) for s in (result.start, result.end)), f"±{result.band:.0%}"
    )
    table.add_row("leverage", f"{result.start.leverage:.2f}x", f"{result.end.leverage:.2f}x", f"{gross:g}x")
    table.add_row("equity", screen.money(result.start.equity), screen.money(result.end.equity), "")
    return table


def _fresh_folder() -> Path:
    """A folder for this demo's records; those of the oldest demos are dropped."""
    home = home_of_demos()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in sorted(path for path in home.iterdir() if path.is_dir())[: -KEEP + 1]:
        _remove(old)
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return home / f"{name}-{os.getpid()}"


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    folder.rmdir()
