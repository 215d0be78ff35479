"""The commands."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import typer
import uvloop
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from adapters.simulator import (
    DEMO_KEY,
    DEMO_SECRET,
    Account,
    Exchange,
    Gateway,
    SeededMarket,
    Server,
    TapeMarket,
    load_faults,
)
from adapters.simulator import VENUES as LOCAL
from adapters.simulator import TapeError as MarketTapeError
from agent.claim import Claimed
from agent.cli import bench as benches
from agent.cli import demo as demos
from agent.cli import policy, screen
from agent.cli.build import claim_of, dialects_of, state_home, tag_of
from agent.config import ConfigError, Portfolio, load, render, starter
from agent.core.covariance import VOLATILITY
from agent.core.decisions import Decision
from agent.core.targets import gross, wishes_of
from agent.core.upkeep import upkeep
from agent.core.venue import Credentials, Dialect, Secret
from agent.core.view import Safety, View, safety
from agent.doctor import examine
from agent.journal import Damaged, Journal, JournalError, Locked, Records
from agent.log import configure
from agent.replay import replay as play
from agent.run import RESUME, VERSION, Agent, Unfit, Unlisted
from agent.secrets import SecretError, seal_process
from agent.tape import TapeError

T = TypeVar("T")

FAILED, DAMAGED, BUSY, CONFIG = 1, 65, 75, 78
"""Exit codes besides 0 for ok and 2 for wrong usage: see sysexits.h."""
DEAR_LEVERAGE = 3.0
"""Above it, `check` says what it costs to keep a leverage constant."""
HALF_SPREAD = 0.0001
"""Assumed for that."""
READY_S = 30.0
"""How long `plan` waits for the venue's answers."""
RESUME_S = 10.0
"""How long `resume` waits for an agent, which looks once a second, to take the word."""

app = typer.Typer(
    help="Keeps a crypto-futures portfolio on its target weights, in real time.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True, highlight=False)

File = Annotated[Path, typer.Argument(help="The portfolio file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Folder = Annotated[Path | None, typer.Option("--state", help="The agent's state folder; the newest one if not given.")]


def main() -> None:
    """Run the command line: errors that a person can mend are printed, not thrown."""
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            err.print(str(problem), style="red", soft_wrap=True, markup=False)
        raise SystemExit(CONFIG) from None
    except Unlisted as error:
        names = ", ".join(f"targets: {symbol}" for symbol in error.symbols)
        _fail(f"{names}: {error}; correct the name, or take it out", CONFIG)
    except SecretError as error:
        _fail(str(error), CONFIG)
    except Unfit as error:
        _fail(f"account: {error}", CONFIG)
    except (Locked, Claimed) as error:
        _fail(str(error), BUSY)
    except msgspec.ValidationError as error:
        _fail(
            f"this was written by another version of trimtab ({error}); read it with that one, or with --json", FAILED
        )
    except Damaged as error:
        _fail(str(error), DAMAGED)
    except (JournalError, MarketTapeError, TapeError, OSError) as error:
        _fail(str(error), FAILED)


def _fail(text: str, code: int) -> NoReturn:
    err.print(text, style="red", soft_wrap=True, markup=False)
    raise SystemExit(code)


def _run(make: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on uvloop; Ctrl-C and SIGTERM set its event, a second one ends it at once."""

    async def guarded() -> T:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ask_to_stop() -> None:
            stop.set()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ask_to_stop)
        return await make(stop)

    gc.collect()
    gc.freeze()  # what is loaded stays; to look it through again and again would hold up decisions
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(guarded())


def _json(value: object) -> None:
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def _local(venue: str) -> None:
    """Refuse a venue that the local exchange can't be."""
    if venue not in LOCAL:
        raise typer.BadParameter(f"there is no local {venue} exchange; choose {', '.join(LOCAL)}", param_hint="--venue")


@app.command()
def demo(
    for_: Annotated[float | None, typer.Option("--for", help="Seconds to run; until Ctrl-C if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
    venue: Annotated[str, typer.Option(help="The exchange to imitate; several with commas between.")] = "binance",
    tape: Annotated[Path | None, typer.Option(help="Prices to play: CSV, plain or gzipped.")] = None,
    speed: Annotated[float, typer.Option(help="How much faster than real time the market runs.")] = 60.0,
    seed: Annotated[int | None, typer.Option(help="The market's seed; another market each time if not given.")] = None,
    port: Annotated[int, typer.Option(help="Where the local exchange listens; 0: any free port.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for journal and tape.")] = None,
) -> None:
    """Watch a drifted portfolio come back to its target, on an exchange inside this process.

    65/20/15 in BTC/ETH/SOL against a target of 50/30/20 at 3x. No key, no network, no risk.
    """
    for name in venue.split(","):
        _local(name)
    if not speed > 0:
        raise typer.BadParameter("must be above 0", param_hint="--speed")
    configure(logging.CRITICAL)
    options = demos.Options(venue=venue, seconds=for_, tape=tape, speed=speed, seed=seed, port=port, keep=keep)
    try:
        one = demos.Demo(options)
    except demos.Unplayable as error:
        raise typer.BadParameter(str(error), param_hint="--tape" if tape else "--venue") from None
    result = _run(lambda stop: one.run(stop, None if as_json else out))
    if as_json:
        _json(result)
    else:
        out.print(demos.summary(result))
        quote = "USD" if any(LOCAL[name].coin for name in options.venues) else "USDT"
        out.print(
            f"{result.orders} orders, {result.fills} fills, turnover {result.turnover:,.0f} {quote}, "
            f"fees {result.fees:,.2f} {quote}. Records: {result.records}"
        )
        out.print(f"Why it did that:          trimtab why --state {result.records}", markup=False)
        out.print(f"Prove it would again:     trimtab replay {result.recording}", markup=False)
    raise SystemExit(0 if result.ok else FAILED)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("portfolio.toml"),
) -> None:
    """Write a commented portfolio file to start from: 50/30/20 at 3x, on paper."""
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(starter())
    except FileExistsError:
        _fail(f"{file} is there already; name another file, or remove it", FAILED)
    out.print(f"Wrote {file}. Next:  trimtab check {file}   then   trimtab plan {file}", markup=False)


@app.command()
def check(file: File, as_json: Json = False) -> None:
    """Check a portfolio file, offline, and print it whole: merged, with all defaults, without secrets."""
    portfolio = load(file)
    if as_json:
        _json(portfolio)
    else:
        sys.stdout.write(render(portfolio))
        for remark in (_held_in(portfolio), _upkeep(portfolio)):
            if remark is not None:
                sys.stdout.write(f"\n{remark}\n")


def _held_in(portfolio: Portfolio) -> str | None:
    """What the weight means in an account that is held in a coin, as a comment; None elsewhere."""
    coin, targets = portfolio.account.settle, portfolio.targets
    wish = next(iter(wishes_of(targets) or ()), None)
    if coin is None or wish is None:
        return None
    size = "no contracts" if wish == 1 else f"contracts of {wish - 1:+g} times what the account is worth"
    return (
        f"# The account is held in {coin}, so the weight counts the coin itself: {wish:g} is the coin and {size}.\n"
        f"# At 1 there are no contracts; at 0 they are sold once against all {coin}, and what the account is worth in\n"
        "# dollars no longer follows the price."
    )


def _upkeep(portfolio: Portfolio) -> str | None:
    """What it costs to keep a leverage above `DEAR_LEVERAGE`, as a comment; None below."""
    targets = portfolio.targets
    leverage = gross(wish for wish in wishes_of(targets) or () if wish is not None)
    if targets.leverage_mode != "constant" or leverage <= DEAR_LEVERAGE:
        return None
    taker = portfolio.paper.taker if portfolio.costs.taker is None else portfolio.costs.taker
    cost = taker + HALF_SPREAD
    found = upkeep(leverage, VOLATILITY["BTC"], cost, portfolio.economy.risk_aversion)
    return (
        f"# Keeping {leverage:g}x whatever the price does means buying after rises and selling after falls: with one\n"
        f"# instrument of {VOLATILITY['BTC']:.0%} volatility a year and costs of {1e4 * cost:.1f} basis points, about "
        f"{found.turnover:.0f} times equity is\n"
        f"# traded a year for {found.trading:.1%} of equity, at best. A leverage_mode of cap or off costs less."
    )


@app.command()
def plan(
    file: File,
    as_json: Json = False,
    to_target: Annotated[bool, typer.Option("--to-target", help="All the way, not just inside the band.")] = False,
) -> None:
    """Show what a correction would do now, what it would cost and which gate would refuse it. Sends nothing."""
    portfolio = load(file)
    configure(logging.ERROR)
    # A running agent may listen already; the file of its feed is only read.
    shown = replace(portfolio, mode="observe", feed=replace(portfolio.feed, listen=None, token=None))
    view, previewed, after = _run(lambda stop: _preview(shown, dialects_of(portfolio), stop, to_target))
    if previewed is None:
        missing = f" ({'; '.join(view.missing)})" if view.missing else ""
        _fail(f"not ready after {READY_S:g} s: {view.state}{missing}", FAILED)
    todo, refusals, verdict = previewed
    if as_json:
        _json({"view": view, "plan": todo, "refusals": list(refusals.values()), "verdict": verdict, "after": after})
        return
    if (remark := _held_in(portfolio)) is not None:
        out.print(remark.replace("# ", ""), markup=False, soft_wrap=True)
    inside = view.reach is not None and view.reach < 1
    out.print(screen.header(view))
    out.print(screen.plan(todo, refusals, view))
    if verdict is not None and todo.legs:
        out.print(screen.verdict(verdict))
    out.print(f"After these trades: {screen.safety(after)}", markup=False)
    out.print("Every drift is inside its band: nothing would be done now." if inside else "The band has been left.")


@app.command()
def doctor(file: File, as_json: Json = False) -> None:
    """Look at each venue, its key and its account: what may be done with this file, and what stands in the way.

    Asks only. Where the file names keys, the accounts are looked at whatever the mode. Exit 0 if what the file asks for
    may be done, 78 if the key or the account is refused for it, 1 if that could not be found out.
    """
    portfolio = load(file)
    configure(logging.CRITICAL)
    keyed = all(account.key is not None for account in portfolio.seats.values())
    dialects = dialects_of(replace(portfolio, mode="observe") if keyed else portfolio)
    tag = tag_of(portfolio)
    found = _run(lambda stop: examine(portfolio, dialects, stop, tag=tag, keyed=keyed, patience_s=READY_S))
    if as_json:
        _json(found)
    else:
        out.print(screen.diagnosis(found))
    if not found.suffices:
        raise SystemExit(CONFIG if any(one.grade == "refused" for one in found.findings) else FAILED)


async def _preview(
    portfolio: Portfolio, dialects: Sequence[Dialect], stop: asyncio.Event, to_target: bool
) -> tuple[View, Any, Safety]:
    """What there is to see, what would be done, and how safe the account would be once all that passes is done."""
    with tempfile.TemporaryDirectory(prefix="trimtab-plan-") as folder:
        agent = Agent(portfolio, dialects, Path(folder), tag="pl")
        running = asyncio.create_task(agent.run(stop))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_S
        previewed = None
        while previewed is None and loop.time() < deadline and not running.done():
            await asyncio.wait({running}, timeout=0.1)
            found = agent.engine.preview(agent.clock.now(), to_target=to_target)
            previewed = found and (*found, agent.engine.verdict(found[0]))
        view = agent.view()
        todo, refusals, _ = previewed or (None, {}, None)
        after = safety(agent.engine, [leg for leg in todo.legs if leg.instrument not in refusals] if todo else [])
        stop.set()
        await running
        return view, previewed, after


@app.command()
def run(
    file: File,
    live: Annotated[bool, typer.Option("--live", help='Needed besides mode = "live" in the file.')] = False,
    record: Annotated[bool, typer.Option("--record", help="Keep a tape for `trimtab replay`.")] = False,
    resolve: Annotated[
        list[str] | None,
        typer.Option("--resolve", metavar="ORDER", help="An order that, as you have looked up, trades no more."),
    ] = None,
) -> None:
    """Run the agent until it is told to stop: observe, paper or live, as the file says."""
    portfolio = load(file)
    if portfolio.mode == "live" and not live:
        _fail(f'{file}: mode = "live" trades real money; say so a second time: trimtab run {file} --live', CONFIG)
    if live and portfolio.mode != "live":
        _fail(f'{file}: --live was given, but the file says mode = "{portfolio.mode}"; set mode = "live" in it', CONFIG)
    configure(logging.INFO)
    seal_process()
    dialects = dialects_of(portfolio)
    with contextlib.ExitStack() as ends:
        ends.callback(claim_of(portfolio))
        folder = Path(portfolio.state).expanduser()
        agent = Agent(portfolio, dialects, folder, tag=tag_of(portfolio), record=record, succeeds=True)
        _run(lambda stop: agent.run(stop, resolve or ()))


@app.command()
def resume(state: Folder = None) -> None:
    """Lift a halt or a pause of the running agent, once you have seen to its cause."""
    folder = _folder(state)
    word = folder / RESUME
    try:
        word.touch(mode=0o600)
        ends = time.monotonic() + RESUME_S
        while word.exists():
            if time.monotonic() > ends:
                word.unlink(missing_ok=True)
                _fail(f"no agent took it within {RESUME_S:g} s: none is running in {folder}", FAILED)
            time.sleep(0.1)
    except OSError as error:
        _fail(f"{word} can't be written: {error.strerror}", FAILED)
    out.print("taken; everything is asked anew first. `trimtab status` shows how it stands", soft_wrap=True)


@app.command()
def status(state: Folder = None, as_json: Json = False) -> None:
    """Show how the agent stands, from the status it writes once a second."""
    folder = _folder(state)
    path = folder / "status.json"
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        _fail(f"{path} is not there: no agent has run in this folder", FAILED)
    if as_json:
        sys.stdout.write(raw.decode() + "\n")
        return
    view = msgspec.json.decode(raw, type=View)
    records = Journal.read(folder / "journal.db")
    notes = [(made.at, note) for made in _decisions(records, None, 8) for note in made.notes]
    label = "DEMO" if state_home() / "demo" in folder.parents else None
    out.print(screen.live(view, notes[-12:], f"trimtab · {folder} · as of {screen.clock(view.at)} UTC", label))


@app.command()
def why(
    symbol: Annotated[str | None, typer.Argument(help="Only what names this instrument.")] = None,
    state: Folder = None,
    last: Annotated[int, typer.Option(help="How many decisions.")] = 20,
    as_json: Json = False,
) -> None:
    """Explain the last decisions, and why nothing else is done at this moment: oldest first."""
    folder = _folder(state)
    records = Journal.read(folder / "journal.db")
    made = _decisions(records, symbol, last)
    if as_json:
        for decision in made:
            _json(decision)
        return
    if not made:
        out.print(f"no decision names {symbol}" if symbol else "no decision is on record yet")
    for decision in made:
        out.print(screen.told((decision.at, note) for note in decision.notes), soft_wrap=True)
    if (view := _status(folder)) is not None:
        if symbol is not None and symbol not in {leg.symbol for leg in view.legs}:
            _fail(f"{symbol} is not in the portfolio: it has {', '.join(leg.symbol for leg in view.legs)}", FAILED)
        out.print(screen.stance(view, symbol), soft_wrap=True)


def _status(folder: Path) -> View | None:
    """The status that the agent in this folder wrote last; None if there is none."""
    try:
        return msgspec.json.decode((folder / "status.json").read_bytes(), type=View)
    except FileNotFoundError:
        return None


def _decisions(records: Records, symbol: str | None, count: int) -> list[Decision]:
    """The last decisions that have something to say, oldest first."""
    found = records.decisions(symbol=symbol, limit=20 * count)
    made = (msgspec.json.decode(row.record, type=Decision) for row in found)
    return [decision for decision in made if decision.notes][:count][::-1]


def _folder(state: Path | None) -> Path:
    """The state folder that was named, or the one whose status is newest."""
    if state is not None:
        return state
    homes = [Path(home) for home in (os.environ.get("STATE_DIRECTORY"), state_home(), "/var/lib/trimtab") if home]
    found = [path for home in homes if os.access(home, os.R_OK) for path in home.rglob("status.json")]
    if not found:
        _fail(f"no agent has run yet under {' or '.join(map(str, homes))}; name a folder with --state", FAILED)
    return max(found, key=lambda path: path.stat().st_mtime).parent


@app.command()
def verify(state: Folder = None, as_json: Json = False) -> None:
    """Check the whole journal, also while the agent runs: rows, the chain of decisions, orders against decisions."""
    folder = _folder(state)
    found = Journal.read(folder / "journal.db").verify()
    if as_json:
        _json(found)
    else:
        out.print(
            f"{found.runs} runs, {found.decisions} decisions, {found.orders} orders: each is what was written, the "
            f"chain is unbroken, and the orders follow from the decisions.",
            soft_wrap=True,
        )


@app.command()
def replay(
    tape: Annotated[Path, typer.Argument(help="A tape that `run --record` or `demo` left.")],
    as_json: Json = False,
) -> None:
    """Play a tape to the same code and prove that it decides the same, byte for byte."""

    def blind(portfolio: Portfolio) -> Sequence[Dialect]:
        return dialects_of(portfolio, Credentials(*(Secret("replay"),) * 3))

    found = play(tape, blind)
    if as_json:
        _json({"tape": str(tape), "equal": found.difference is None, **msgspec.structs.asdict(found)})
    elif found.difference is None:
        out.print(f"{found.decisions} decisions from {found.heard} inputs: equal, byte for byte.")
    else:
        out.print(f"Different at {screen.clock(found.difference.at)} UTC, decision {found.decisions}:", style="red")
        out.print(f"recorded {found.difference.recorded}", markup=False, soft_wrap=True)
        out.print(f"replayed {found.difference.replayed}", markup=False, soft_wrap=True)
    if found.torn:
        out.print(f"The last {found.torn} bytes were cut off by a crash and left out.", style="yellow")
    raise SystemExit(FAILED if found.difference else 0)


@app.command()
def simulate(
    venue: Annotated[str, typer.Option(help="The exchange to imitate.")] = "binance",
    port: Annotated[int, typer.Option(help="Where to listen on 127.0.0.1.")] = 9001,
    tape: Annotated[Path | None, typer.Option(help="Prices to play: CSV, plain or gzipped.")] = None,
    speed: Annotated[float, typer.Option(help="How much faster than real time the market runs.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="The market's seed; another market each time if not given.")] = None,
    faults: Annotated[
        Path | None, typer.Option(help="What goes wrong, as TOML or JSON: see adapters/simulator.")
    ] = None,
    balance: Annotated[float, typer.Option(help="What the account is worth, in its quote currency.")] = 100_000.0,
) -> None:
    """Serve the local exchange alone, for any client: ccxt, python-binance, or an agent of your own."""
    _local(venue)
    configure(logging.INFO)
    venues = LOCAL[venue]
    market = TapeMarket(tape) if tape else SeededMarket(seed, venues.symbols)
    account = Account(balance=round(Decimal(str(balance)) / venues.rate(market), 8), asset=venues.asset)
    exchange = Exchange(market, [account], speed=speed, seed=seed or 0)
    local = venues.side(exchange, mark_pace=speed)
    try:
        plan = load_faults(faults) if faults else None
    except ValueError as error:
        _fail(str(error), CONFIG)
    try:
        server = Server(Gateway(local, plan, sockets=True))
    except ValueError as error:
        _fail(f"{faults}: {error}", CONFIG)

    async def forever(stop: asyncio.Event) -> None:
        async with server:
            await server.start("127.0.0.1", port)
            out.print(f"REST    {server.rest_url}\nstreams {server.ws_url}\nkey     {DEMO_KEY}\nsecret  {DEMO_SECRET}")
            if LOCAL[venue].passphrase:
                out.print(f"phrase  {LOCAL[venue].passphrase}")
            out.print(f"{len(market.symbols)} instruments. Ctrl-C ends.", style="dim")
            await stop.wait()

    _run(forever)


class Contest(StrEnum):
    """What `bench` measures."""

    SPEED = "speed"
    POLICY = "policy"


@app.command()
def bench(
    what: Annotated[Contest, typer.Argument(help="What to measure.")] = Contest.SPEED,
    as_json: Json = False,
    file: Annotated[Path | None, typer.Option("--out", help="Also write the result to this file, as JSON.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="speed: orders for each client.")] = benches.Options().rounds,
    seconds: Annotated[float, typer.Option(help="speed: for each client at most.")] = benches.Options().seconds,
    short: Annotated[bool, typer.Option("--short", help="policy: a tenth of the time, and rough figures.")] = False,
    data: Annotated[
        Path | None, typer.Option("--data", help="policy: recorded prices as well: CSV, as for `simulate --tape`.")
    ] = None,
) -> None:
    """Measure from a price to an order on this machine, beside a bare echo and beside ccxt.pro.

    `bench policy`: what trading and drift cost in the long run, against the best that any policy could do.
    """
    if what is Contest.POLICY:
        _bench_policy(as_json, file, short, data)
        return
    options = benches.Options(rounds=rounds, seconds=seconds)
    with err.status("measuring") as status:
        report = _run(lambda stop: benches.run(options, stop, lambda what: status.update(f"measuring {what}")))
    if file is not None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if as_json:
        _json(report)
    else:
        out.print(benches.table(report))
    raise SystemExit(0 if report.ok else FAILED)


def _bench_policy(as_json: bool, file: Path | None, short: bool, data: Path | None) -> None:
    if data is not None and not data.is_file():
        raise typer.BadParameter(f"{data} is not there", param_hint="--data")
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("starting", total=1.0)
        report = policy.contest(
            policy.SHORT if short else policy.FULL,
            lambda now, part: progress.update(task, description=now, completed=part),
            data,
        )
    if file is not None:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    if as_json:
        _json({"cases": report.cases})
        return
    for table in policy.tables(report):
        out.print(table)
    if data is None:
        out.print("Recorded prices are left out: name a file with --data.", style="dim")


@app.command()
def version() -> None:
    """Print the version."""
    out.print(VERSION)
