"""What stands in the way of trading with a portfolio file: the venue, the key and the account, asked and judged.

The agent itself is run as an observer, so that every question goes the way it goes when money is at stake, and what
would hold the agent back is told in its own words. Nothing is sent that could change anything.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.config import Portfolio
from agent.core.book import Row
from agent.core.decisions import Mode
from agent.core.engine import Engine
from agent.core.events import PRIVATE, Rights
from agent.core.guard import Guard
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
    account: str = ""
    """Which of several accounts it is about; empty where there is one alone."""


class Diagnosis(Struct, frozen=True):
    """What may be done at a venue with a key: nothing, trade on paper, observe an account, or trade on it."""

    venue: str
    """The venues of all accounts, with commas between."""
    mode: Mode
    """What the file asks for."""
    verdict: Fitness
    """That of the account which fares worst."""
    verdicts: dict[str, Fitness]
    """By account; one alone has an empty name."""
    findings: tuple[Finding, ...]

    @property
    def suffices(self) -> bool:
        """Whether what the file asks for may be done."""
        return LADDER.index(self.verdict) >= LADDER.index(NEEDED[self.mode])


async def examine(
    portfolio: Portfolio, dialects: Sequence[Dialect], stop: asyncio.Event, *, tag: str, keyed: bool, patience_s: float
) -> Diagnosis:
    """Ask the venue everything, wait no longer than ``patience_s`` for its answers and streams, and judge.

    ``keyed``: the dialect has a key, so that there is an account to look at. ``tag`` as for `agent.run.Agent`.
    """
    watched = replace(portfolio, mode="observe", feed=replace(portfolio.feed, listen=None, token=None))
    notes: dict[tuple[str | None, str], None] = {}
    with tempfile.TemporaryDirectory(prefix="trimtab-doctor-") as folder:
        agent = Agent(
            watched,
            dialects,
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
        findings: list[Finding] = []
        verdicts: dict[str, Fitness] = {}
        for guard in agent.engine.guards:
            found = [*_connection(guard, keyed=keyed), *_market(guard)]
            if keyed:
                found += [*_key(guard), *_account(guard, agent.engine, portfolio), *_others(guard)]
            verdicts[guard.name] = _verdict(guard, found, keyed=keyed)
            findings += [replace(one, account=guard.name) for one in found]
        findings += [Finding("agent", "warning", f"{symbol}: {text}" if symbol else text) for symbol, text in notes]
        stop.set()
        try:
            await running
        except Unlisted as error:
            findings.append(Finding("instruments", "refused", f"{error}; correct the name in targets, or take it out"))
    venues = ",".join(dict.fromkeys(account.venue for account in portfolio.seats.values()))
    worst = min(verdicts.values(), key=LADDER.index)
    return Diagnosis(venues, portfolio.mode, worst, verdicts, tuple(findings))


def _told(agent: Agent) -> bool:
    """Whether everything is known, or more can't be learnt because a key is refused."""
    return all(
        _market_known(guard) and (channel.lockout.until is not None or _account_known(guard))
        for guard, channel in zip(agent.engine.guards, agent.desk.channels, strict=True)
    )


def _silent(guard: Guard) -> list[str]:
    return [name for name in guard.readiness.streams if name not in guard.account.streams]


def _market_known(guard: Guard) -> bool:
    return set(_silent(guard)) <= {PRIVATE} and all(row.instrument and row.mark for row in guard.account.rows.values())


def _account_known(guard: Guard) -> bool:
    return not _silent(guard) and not guard.audit.missing()


def _verdict(guard: Guard, findings: list[Finding], *, keyed: bool) -> Fitness:
    if not _market_known(guard):
        return "nothing"
    if not keyed or not _account_known(guard) or guard.account.equity is None:
        return "paper"
    return "observe" if any(one.grade in ("refused", "unknown") for one in findings) else "trade"


def _connection(guard: Guard, *, keyed: bool) -> Iterator[Finding]:
    if guard.account.clock is not None:
        offset, error = guard.account.clock.offset_ns, guard.account.clock.error_ns
        off = abs(offset) - error > LATE_NS
        text = f"the venue's is {offset / MS:+.0f} ms ahead, give or take {error / MS:.0f} ms"
        cure = "; the agent works with the difference, but have the machine keep its clock right" if off else ""
        yield Finding("clock", "warning" if off else "ok", text + cure)
    for trouble in guard.audit.troubles():
        yield Finding("questions", "unknown", f"no answer: {trouble}")
    silent = _silent(guard)
    for name in silent:
        yield Finding("streams", "unknown", f"{name} did not come up: see that this machine may open websockets")
    if not silent:
        yield Finding("streams", "ok", f"{', '.join(guard.readiness.streams)}: up")
    if not keyed:
        yield Finding("key", "ok", "none in the file: the account is not looked at, and paper is as far as this goes")


def _market(guard: Guard) -> Iterator[Finding]:
    idle = [row.symbol for row in guard.account.rows.values() if row.instrument and not row.instrument.trading]
    if idle:
        yield Finding("instruments", "warning", f"{', '.join(idle)}: the venue takes no orders at this time")
    listed = sum(row.instrument is not None for row in guard.account.rows.values())
    if listed == len(guard.account.rows):
        yield Finding("instruments", "ok", f"all {listed} are listed")
    unpriced = [row.symbol for row in guard.account.rows.values() if row.instrument and not row.mark]
    if unpriced:
        yield Finding("prices", "unknown", f"{', '.join(unpriced)}: no mark price has come")


def _key(guard: Guard) -> Iterator[Finding]:
    """What the rules for the agent's own start say of the key and of how the account is set up."""
    reasons = guard.halts.reasons
    for reason in (*reasons, *guard.halts.blocked.values()):
        yield Finding("account", "refused", reason)
    rights = guard.terms.rights
    if rights is not None:
        yield Finding("key", "ok", _words(rights))
    elif (What.RIGHTS, None) in guard.audit.polls:
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


def _account(guard: Guard, engine: Engine, portfolio: Portfolio) -> Iterator[Finding]:
    book, terms = guard.account, guard.terms
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
    yield from _fees(guard, portfolio)
    yield from _room(guard, engine, portfolio)


def _fees(guard: Guard, portfolio: Portfolio) -> Iterator[Finding]:
    for row in guard.account.rows.values():
        if row.fees is None:
            continue
        yield Finding("fees", "ok", f"{row.symbol}: maker {row.fees.maker:.4%}, taker {row.fees.taker:.4%}")
        for name, told in (("maker", row.fees.maker), ("taker", row.fees.taker)):
            assumed = getattr(portfolio.costs, name)
            if assumed is not None and assumed < told:
                text = f"costs.{name} = {assumed:g} is less than {row.symbol} costs, {told:g}: leave it out"
                yield Finding("fees", "warning", text)


def _room(guard: Guard, engine: Engine, portfolio: Portfolio) -> Iterator[Finding]:
    """Whether the account can hold what the file wants, at its leverage settings and by the venue's tiers."""
    whole, equity, wishes = engine.book.equity, guard.account.equity, engine.mandate.contracts(engine.book)
    for row in guard.account.rows.values():
        if row.instrument and not row.tiers and guard.account.mode:
            yield Finding("tiers", "unknown", f"{row.symbol}: no margin table has come")
    if whole is None or equity is None or wishes is None or equity <= 0:
        return
    pledged = 0.0
    for index, row in guard.account.rows.items():
        wish = wishes[index]
        if wish is None or row.leverage is None:
            continue
        pledged += abs(wish) * whole / equity / (portfolio.execution.leverage or row.leverage)
        if portfolio.execution.leverage is None and (most := most_value(row)) <= abs(wish) * whole:
            yield Finding("tiers", "refused", _too_large(row, abs(wish) * whole, most))
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


def _others(guard: Guard) -> Iterator[Finding]:
    if strangers := guard.account.strangers:
        text = f"held beside the portfolio: {', '.join(strangers)}; it counts for margin, and is left alone"
        yield Finding("others", "warning", text)
    if crowd := guard.strangers.crowd:
        yield Finding("others", "warning", crowd)
