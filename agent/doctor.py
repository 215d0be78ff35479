"""What stands in the way of trading with a portfolio file: the venue, the key and the account, asked and judged.

The agent itself is run as an observer, so that every question goes the way it goes when money is at stake, and what
would hold the agent back is told in its own words. Nothing is sent that could change anything.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.config import Portfolio
from agent.core.book import Row
from agent.core.decisions import Mode
from agent.core.engine import Engine
from agent.core.events import PRIVATE, Rights
from agent.core.margin import most_value
from agent.core.orders import MS, S
from agent.core.venue import Dialect, What
from agent.run import Agent, Unlisted

Grade = Literal["ok", "warning", "refused", "unknown"]
Fitness = Literal["nothing", "paper", "observe", "trade"]

LADDER: Final[tuple[Fitness, ...]] = ("nothing", "paper", "observe", "trade")
"""What may be done, each besides all before it."""
NEEDED: Final[dict[Mode, Fitness]] = {"paper": "paper", "observe": "observe", "live": "trade"}
LATE_NS: Final = S
"""A clock that is further off than this is worth a word: others on this machine go by it."""
LOOK_S: Final = 0.1


class Finding(Struct, frozen=True):
    """One thing that was looked at, and what is to be said of it, with the cure where it needs one.

    A warning holds nothing up. What is refused, or could not be found out, leaves orders out of the question.
    """

    about: str
    grade: Grade
    text: str


class Diagnosis(Struct, frozen=True):
    """What may be done at a venue with a key: nothing, trade on paper, observe an account, or trade on it."""

    venue: str
    mode: Mode
    """What the file asks for."""
    verdict: Fitness
    findings: tuple[Finding, ...]

    @property
    def suffices(self) -> bool:
        """Whether what the file asks for may be done."""
        return LADDER.index(self.verdict) >= LADDER.index(NEEDED[self.mode])


async def examine(
    portfolio: Portfolio, dialect: Dialect, stop: asyncio.Event, *, tag: str, keyed: bool, patience_s: float
) -> Diagnosis:
    """Ask the venue everything, wait no longer than ``patience_s`` for its answers and streams, and judge.

    ``keyed``: the dialect has a key, so that there is an account to look at. ``tag`` as for `agent.run.Agent`.
    """
    watched = replace(portfolio, mode="observe", feed=replace(portfolio.feed, listen=None, token=None))
    notes: dict[tuple[str | None, str], None] = {}
    with tempfile.TemporaryDirectory(prefix="trimtab-doctor-") as folder:
        agent = Agent(
            watched,
            dialect,
            Path(folder),
            tag=tag,
            watch=lambda now, step: notes.update(
                ((note.symbol, note.text), None)
                for decision in step.decisions
                for note in decision.notes
                if note.kind == "warning"
            ),
        )
        running = asyncio.create_task(agent.run(stop))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_s
        while loop.time() < deadline and not stop.is_set() and not running.done() and not _told(agent):
            await asyncio.wait({running}, timeout=LOOK_S)
        findings = [*_connection(agent.engine, keyed=keyed), *_market(agent.engine)]
        if keyed:
            findings += [*_key(agent.engine), *_account(agent.engine, portfolio), *_others(agent.engine)]
        findings += [Finding("agent", "warning", f"{symbol}: {text}" if symbol else text) for symbol, text in notes]
        verdict = _verdict(agent.engine, findings, keyed=keyed)
        stop.set()
        try:
            await running
        except Unlisted as error:
            findings.append(Finding("instruments", "refused", f"{error}; correct the name in targets, or take it out"))
    return Diagnosis(venue=portfolio.account.venue, mode=portfolio.mode, verdict=verdict, findings=tuple(findings))


def _told(agent: Agent) -> bool:
    """Whether everything is known, or more can't be learnt because the key is refused."""
    denied = agent.desk.lockout.until is not None
    return _market_known(agent.engine) and (denied or _account_known(agent.engine))


def _silent(engine: Engine) -> list[str]:
    return [name for name in engine.readiness.streams if name not in engine.book.streams]


def _market_known(engine: Engine) -> bool:
    return set(_silent(engine)) <= {PRIVATE} and all(row.instrument and row.mark for row in engine.book.rows)


def _account_known(engine: Engine) -> bool:
    return not _silent(engine) and not engine.audit.missing()


def _verdict(engine: Engine, findings: list[Finding], *, keyed: bool) -> Fitness:
    if not _market_known(engine):
        return "nothing"
    if not keyed or not _account_known(engine) or engine.book.equity is None:
        return "paper"
    return "observe" if any(one.grade in ("refused", "unknown") for one in findings) else "trade"


def _connection(engine: Engine, *, keyed: bool) -> Iterator[Finding]:
    if engine.book.clock is not None:
        offset, error = engine.book.clock.offset_ns, engine.book.clock.error_ns
        off = abs(offset) - error > LATE_NS
        text = f"the venue's is {offset / MS:+.0f} ms ahead, give or take {error / MS:.0f} ms"
        cure = "; the agent works with the difference, but have the machine keep its clock right" if off else ""
        yield Finding("clock", "warning" if off else "ok", text + cure)
    for trouble in engine.audit.troubles():
        yield Finding("questions", "unknown", f"no answer: {trouble}")
    silent = _silent(engine)
    for name in silent:
        yield Finding("streams", "unknown", f"{name} did not come up: see that this machine may open websockets")
    if not silent:
        yield Finding("streams", "ok", f"{', '.join(engine.readiness.streams)}: up")
    if not keyed:
        yield Finding("key", "ok", "none in the file: the account is not looked at, and paper is as far as this goes")


def _market(engine: Engine) -> Iterator[Finding]:
    idle = [row.symbol for row in engine.book.rows if row.instrument and not row.instrument.trading]
    if idle:
        yield Finding("instruments", "warning", f"{', '.join(idle)}: the venue takes no orders at this time")
    listed = sum(row.instrument is not None for row in engine.book.rows)
    if listed == len(engine.symbols):
        yield Finding("instruments", "ok", f"all {listed} are listed")
    unpriced = [row.symbol for row in engine.book.rows if row.instrument and not row.mark]
    if unpriced:
        yield Finding("prices", "unknown", f"{', '.join(unpriced)}: no mark price has come")


def _key(engine: Engine) -> Iterator[Finding]:
    """What the rules for the agent's own start say of the key and of how the account is set up."""
    reasons = engine.halts.reasons
    for reason in (*reasons, *engine.halts.blocked.values()):
        yield Finding("account", "refused", reason)
    rights = engine.terms.rights
    if rights is not None:
        yield Finding("key", "ok", _words(rights))
    elif (What.RIGHTS, None) in engine.audit.polls:
        text = "what it may do could not be learnt: see at the venue that it can trade and not withdraw"
        yield Finding("key", "unknown", text)
    else:
        text = "the venue does not tell what it may do: see there that it can't withdraw and is bound to this address"
        yield Finding("key", "warning", text)


def _words(rights: Rights) -> str:
    able = {"trade": rights.trade, "move money between accounts": rights.transfer, "withdraw": rights.withdraw}
    does = ", ".join(name for name, may in able.items() if may) or "do nothing but read"
    where = "from named addresses alone" if rights.bound else "from any address"
    return f"it can {does}, {where}"


def _account(engine: Engine, portfolio: Portfolio) -> Iterator[Finding]:
    book, terms = engine.book, engine.terms
    if terms.owner is not None:
        yield Finding("account", "ok", f"it is {terms.owner}")
    if book.mode is not None:
        side = "hedge mode" if book.mode.hedge else "one-way mode"
        yield Finding(
            "mode", "ok", f"{side}, {'many collateral assets' if book.mode.multi_asset else 'one collateral'}"
        )
    if terms.isolated:
        named = [engine.symbols[index] for index, isolated in terms.isolated.items() if isolated]
        text = f"isolated for {', '.join(named)}, cross for all others" if named else "cross for all instruments"
        yield Finding("margin", "ok", text)
    if book.margin_balance is not None:
        empty = book.margin_balance <= 0
        text = f"equity is {book.said(book.margin_balance)} {book.settle}"
        cure = ": there is nothing to trade with, move something into the account" if empty else ""
        yield Finding("money", "refused" if empty else "ok", text + cure)
    yield from _fees(engine, portfolio)
    yield from _room(engine, portfolio)


def _fees(engine: Engine, portfolio: Portfolio) -> Iterator[Finding]:
    for row in engine.book.rows:
        if row.fees is None:
            continue
        yield Finding("fees", "ok", f"{row.symbol}: maker {row.fees.maker:.4%}, taker {row.fees.taker:.4%}")
        for name, told in (("maker", row.fees.maker), ("taker", row.fees.taker)):
            assumed = getattr(portfolio.costs, name)
            if assumed is not None and assumed < told:
                text = f"costs.{name} = {assumed:g} is less than {row.symbol} costs, {told:g}: leave it out"
                yield Finding("fees", "warning", text)


def _room(engine: Engine, portfolio: Portfolio) -> Iterator[Finding]:
    """Whether the account can hold what the file wants, at its leverage settings and by the venue's tiers."""
    equity, wishes = engine.book.equity, engine.mandate.contracts(engine.book)
    for row in engine.book.rows:
        if row.instrument and not row.tiers and engine.book.mode:
            yield Finding("tiers", "unknown", f"{row.symbol}: no margin table has come")
    if equity is None or wishes is None or equity <= 0:
        return
    pledged = 0.0
    for row, wish in zip(engine.book.rows, wishes, strict=True):
        if wish is None or row.leverage is None:
            continue
        pledged += abs(wish) / (portfolio.execution.leverage or row.leverage)
        if portfolio.execution.leverage is None and (most := most_value(row)) <= abs(wish) * equity:
            yield Finding("tiers", "refused", _too_large(row, abs(wish) * equity, most))
    if pledged > 1:
        text = f"the targets pledge {pledged:.0%} of equity at the leverage settings: raise those, or lower the targets"
        yield Finding("tiers", "refused", text)
    elif pledged:
        yield Finding("tiers", "ok", f"the targets pledge {pledged:.0%} of equity at the leverage settings")


def _too_large(row: Row, wanted: float, most: float) -> str:
    return (
        f"{row.symbol}: at its leverage setting of {row.leverage}x less than {most:,.0f} may be held, and the target"
        f" is {wanted:,.0f}: lower the setting, or name one as execution.leverage"
    )


def _others(engine: Engine) -> Iterator[Finding]:
    if engine.book.strangers:
        text = f"held beside the portfolio: {', '.join(engine.book.strangers)}; it counts for margin, and is left alone"
        yield Finding("others", "warning", text)
    if crowd := engine.strangers.crowd:
        yield Finding("others", "warning", crowd)
