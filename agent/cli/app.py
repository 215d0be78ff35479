"""The commands."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
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
from agent.cli.build import claim_of, dialects_of, home_of_demos, state_home, tag_of
from agent.cli.preview import Unready, preview
from agent.config import ConfigError, Portfolio, Problem, load, render, starter
from agent.core.covariance import VOLATILITY
from agent.core.decisions import Decision
from agent.core.orders import S
from agent.core.targets import gross, wishes_of
from agent.core.upkeep import upkeep
from agent.core.venue import Credentials, Dialect, Secret
from agent.core.view import View
from agent.doctor import examine
from agent.journal import Damaged, Journal, JournalError, Locked, Records
from agent.log import configure
from agent.replay import replay as play
from agent.run import ENDED, RESUME, TAPES, VERSION, Agent, Unfit, Unlisted
from agent.secrets import SecretError, seal_process
from agent.tape import TapeError

T = TypeVar("T")

FAILED, USAGE, DAMAGED, BUSY, CONFIG = 1, 2, 65, 75, 78
"""Exit codes besides 0 for ok: see sysexits.h."""
DEAR_LEVERAGE = 3.0
"""Above it, `check` says what it costs to keep a leverage constant."""
HALF_SPREAD = 0.0001
"""Assumed for that."""
READY_S = 30.0
"""How long `plan` waits for the venue's answers."""
PRICES = "name a CSV file of prices, plain or gzipped"
QUIET_S = 15.0
"""An agent at work writes its status once a second; one whose last is older is not at work."""
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
Folder = Annotated[
    Path | None, typer.Option("--state", help="The agent's state folder; the one used last if not given.")
]


def main() -> None:
    """Run the command line: errors that a person can mend are printed, not thrown."""
    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            err.print(str(problem), style="red", soft_wrap=True, markup=False)
        raise SystemExit(CONFIG) from None
    except Unready as error:
        _fail(str(error), FAILED)
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


@contextlib.contextmanager
def _portfolio(file: Path) -> Iterator[Portfolio]:
    """The portfolio in a file; what turns out to be wrong with it in use is told with the file's name."""
    portfolio = load(file)
    try:
        yield portfolio
    except ConfigError as error:
        raise ConfigError(replace(problem, path=problem.path or str(file)) for problem in error.problems) from None
    except SecretError as error:
        keys = " and ".join(key for key, reference in portfolio.references.items() if reference == error.reference)
        problem = Problem(str(file), None, keys, error.reference, error.wrong, error.cure)
        raise ConfigError([problem]) from None
    except Unlisted as error:
        names = ", ".join(f"targets: {symbol}" for symbol in error.symbols)
        _fail(f"{file}: {names}: {error}; correct the name, or take it out", CONFIG)
    except Unfit as error:
        _fail(f"{file}: account: {error}", CONFIG)


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


def _above_zero(value: float | None, option: str) -> None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is not a number above 0; write one", param_hint=option)


def _file(path: Path | None, option: str, cure: str) -> None:
    """Refuse a path at which there is no file to read."""
    if path is not None and not path.is_file():
        wrong = "is a folder" if path.is_dir() else "is not there"
        raise typer.BadParameter(f"{path} {wrong}; {cure}", param_hint=option)


@contextlib.contextmanager
def _listening(port: int) -> Iterator[None]:
    """What keeps a local exchange from listening at this port is wrong usage."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        wrong = "is in use" if error.errno == errno.EADDRINUSE else "is not for everyone to take"
        cure = "name another one, or 0 for any that is free"
        raise typer.BadParameter(f"{port} {wrong}; {cure}", param_hint="--port") from None


@app.command()
def demo(
    for_: Annotated[float | None, typer.Option("--for", help="Seconds to run; until Ctrl-C if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")] = False,
    venue: Annotated[str, typer.Option(help="The exchange to imitate; several with commas between.")] = "binance",
    tape: Annotated[Path | None, typer.Option(help="Prices to play: CSV, plain or gzipped.")] = None,
    speed: Annotated[float, typer.Option(help="How much faster than real time the market runs.")] = 60.0,
    seed: Annotated[int | None, typer.Option(help="The market's seed; another market each time if not given.")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where the local exchange listens; 0: any free port.")
    ] = 0,
    keep: Annotated[Path | None, typer.Option(help="Folder for journal and tape.")] = None,
) -> None:
    """Watch a drifted portfolio come back to its target, on an exchange inside this process.

    65/20/15 in BTC/ETH/SOL against a target of 50/30/20 at 3x. No key, no network, no risk.
    """
    names = venue.split(",")
    for name in names:
        _local(name)
        if names.count(name) > 1:
            raise typer.BadParameter(f"{venue} names {name} twice; name each once", param_hint="--venue")
    _above_zero(for_, "--for")
    _above_zero(speed, "--speed")
    _file(tape, "--tape", PRICES)
    configure(logging.CRITICAL)
    options = demos.Options(venue=venue, seconds=for_, tape=tape, speed=speed, seed=seed, port=port, keep=keep)
    try:
        one = demos.Demo(options)
    except demos.Unplayable as error:
        raise typer.BadParameter(str(error), param_hint="--tape" if tape else "--venue") from None
    with _listening(port):
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
    with _portfolio(file) as portfolio:
        _blind(portfolio)
    if as_json:
        _json(portfolio)
    else:
        sys.stdout.write(render(portfolio))
        for remark in (_held_in(portfolio), _upkeep(portfolio)):
            if remark is not None:
                sys.stdout.write(f"\n{remark}\n")


def _blind(portfolio: Portfolio) -> list[Dialect]:
    """The dialects of a portfolio, with keys that open nothing; raises `ConfigError` where there can be none."""
    return dialects_of(portfolio, Credentials(*(Secret("none"),) * 3))


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
    configure(logging.ERROR)
    with _portfolio(file) as portfolio:
        dialects = dialects_of(replace(portfolio, mode="observe") if portfolio.mode == "live" else portfolio)
        found = _run(lambda stop: preview(portfolio, dialects, stop, to_target=to_target, patience_s=READY_S))
    if as_json:
        _json({**msgspec.structs.asdict(found), "refusals": list(found.refusals.values())})
        return
    if (remark := _held_in(portfolio)) is not None:
        out.print(remark.replace("# ", ""), markup=False, soft_wrap=True)
    view, verdict = found.view, found.verdict
    inside = view.reach is not None and view.reach < 1
    out.print(screen.Header(view))
    out.print(screen.plan(found.plan, found.refusals, view))
    if verdict is not None and found.plan.legs:
        out.print(screen.verdict(verdict))
    if found.lacks:
        text = f"Not here after {READY_S:g} s, so that costs are not known or rough: {'; '.join(found.lacks)}."
        out.print(text, style="yellow", markup=False)
    out.print(f"After these trades: {screen.safety(found.after)}", markup=False)
    out.print("Every drift is inside its band: nothing would be done now." if inside else "The band has been left.")


@app.command()
def doctor(file: File, as_json: Json = False) -> None:
    """Look at each venue, its key and its account: what may be done with this file, and what stands in the way.

    Asks only. Where the file names keys, the accounts are looked at whatever the mode. Exit 0 if what the file asks for
    may be done, 78 if the key or the account is refused for it, 1 if that could not be found out.
    """
    configure(logging.CRITICAL)
    with _portfolio(file) as portfolio:
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
    with _portfolio(file) as portfolio:
        if portfolio.mode == "live" and not live:
            cure = f"say so a second time: trimtab run {file} --live"
            _fail(f'{file}: mode = "live" trades real money; {cure}', CONFIG)
        if live and portfolio.mode != "live":
            cure = 'set mode = "live" in it'
            _fail(f'{file}: --live was given, but the file says mode = "{portfolio.mode}"; {cure}', CONFIG)
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
    raw = _written(folder)
    if raw is None:
        _fail(f"{folder / 'status.json'} is not there: no agent has run in this folder", FAILED)
    is_demo = home_of_demos() in folder.parents
    if as_json:
        shown = msgspec.json.decode(raw, type=dict[str, Any])
        age_s = (time.time_ns() - shown["at"]) / S
        shown["mode"] = "demo" if is_demo else shown["mode"]
        _json(
            {**shown, "folder": str(folder), "age_s": round(age_s, 1), "running": _past(shown["state"], age_s) is None}
        )
        return
    view, past = _status(raw)
    records = Journal.read(folder / "journal.db")
    notes = [(made.at, note) for made in _decisions(records, None, 8) for note in made.notes]
    if past is not None:
        out.print(past, style="bold yellow", markup=False)
    title = f"trimtab · {screen.moment(view.at)} · {folder}"
    out.print(screen.live(view, notes[-12:], title, "DEMO" if is_demo else None))


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
    if (raw := _written(folder)) is not None:
        view, past = _status(raw)
        if symbol is not None and symbol not in {leg.symbol for leg in view.legs}:
            _fail(f"{symbol} is not in the portfolio: it has {', '.join(leg.symbol for leg in view.legs)}", FAILED)
        out.print(screen.stance(view, symbol, past), soft_wrap=True)


def _written(folder: Path) -> bytes | None:
    """The status that the agent in this folder wrote last; None if there is none."""
    try:
        return (folder / "status.json").read_bytes()
    except FileNotFoundError:
        return None


def _status(raw: bytes) -> tuple[View, str | None]:
    """A status, and in words why it is of the past; None where the agent is at work."""
    view = msgspec.json.decode(raw, type=View)
    past = _past(view.state, age_s := (time.time_ns() - view.at) / S)
    if past is None:
        return view, None
    text = f"No agent is at work here: {past} at {screen.moment(view.at)}, {screen.ago(age_s)}. This is how it stood."
    return replace(view, streams={}), text


def _past(state: str, age_s: float) -> str | None:
    """What became of the agent whose last status has this state and age; None if it is at work."""
    if state == ENDED:
        return "it ended"
    return "it was killed or hangs since its last word" if age_s > QUIET_S else None


def _decisions(records: Records, symbol: str | None, count: int) -> list[Decision]:
    """The last decisions that have something to say, oldest first."""
    found = records.decisions(symbol=symbol, limit=20 * count)
    made = (msgspec.json.decode(row.record, type=Decision) for row in found)
    return [decision for decision in made if decision.notes][:count][::-1]


def _folder(state: Path | None) -> Path:
    """The state folder that was named; else that of the agent at work, or the one used last, demos only if no other.

    Which one it is goes to standard error.
    """
    if state is not None:
        return state
    homes = [Path(home) for home in (os.environ.get("STATE_DIRECTORY"), state_home(), "/var/lib/trimtab") if home]
    found = [path for home in homes if os.access(home, os.R_OK) for path in home.rglob("status.json")]
    if not found:
        _fail(f"no agent has run yet under {' or '.join(map(str, homes))}; name a folder with --state", FAILED)
    written = {path.parent: path.stat().st_mtime for path in found}
    own = {folder: at for folder, at in written.items() if home_of_demos() not in folder.parents}
    at_work = [str(folder) for folder, at in own.items() if time.time() - at < QUIET_S]
    if len(at_work) > 1:
        _fail(f"several agents are at work: {' and '.join(at_work)}; name one with --state", USAGE)
    candidates = own or written
    chosen = max(candidates, key=lambda folder: candidates[folder])
    err.print(f"{chosen} (another one: --state FOLDER)", style="dim", markup=False, soft_wrap=True)
    return chosen


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

    _file(tape, "TAPE", f"name a .tape file: `run --record` keeps them in STATE/{TAPES}, `demo` as well")
    found = play(tape, _blind)
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
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where to listen on 127.0.0.1; 0: any free port.")
    ] = 9001,
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
    _above_zero(speed, "--speed")
    _above_zero(balance, "--balance")
    _file(tape, "--tape", PRICES)
    _file(faults, "--faults", "name a file of faults: adapters/simulator/README.md shows one")
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
            sys.stdout.write(told_of(server, venue, market.symbols))
            sys.stdout.flush()
            await stop.wait()

    with _listening(port):
        _run(forever)


def told_of(server: Server, venue: str, symbols: Sequence[str]) -> str:
    """What a client needs to know of a local exchange, and a portfolio file for it; as TOML."""
    local = LOCAL[venue]
    spelt = [local.symbol(server.exchange.instruments[symbol]) for symbol in symbols]
    words = {
        "venue": venue,
        "settle": local.coin,
        "rest_url": server.rest_url,
        "stream_url": server.ws_url,
        "key": "env:LOCAL_KEY",
        "secret": "env:LOCAL_SECRET",
        "passphrase": "env:LOCAL_PASSPHRASE" if local.passphrase else None,
    }
    keys = {"LOCAL_KEY": DEMO_KEY, "LOCAL_SECRET": DEMO_SECRET, "LOCAL_PASSPHRASE": local.passphrase}
    weighted = spelt[list(symbols).index(local.contract)] if local.contract else spelt[0]
    return "\n".join(
        [
            f"# {len(spelt)} instruments: {' '.join(spelt)}",
            "# Ctrl-C ends. What opens the account:",
            *(f"# export {name}={word}" for name, word in keys.items() if word),
            "# A portfolio file for it, where nothing but local money is at stake:",
            'mode = "live"',
            "[account]",
            *(f'{name} = "{word}"' for name, word in words.items() if word),
            "[targets.weights]",
            f'{weighted} = "100%"',
            "",
        ]
    )


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
    _file(data, "--data", PRICES)
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
