"""What stands in the way of trading with a portfolio file: the venue, the key and the account, asked and judged.

The agent itself is run as an observer, so that every question goes the way it goes when money is at stake, and what
would hold the agent back is told in its own words. Nothing is sent that could change anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, get_args

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
from agent.core.venue import SIGNED, Dialect, What
from agent.run import Agent, Unlisted

Grade = Literal["refused", "unknown", "warning", "ok"]
Fitness = Literal["nothing", "paper", "observe", "trade"]

GRADES: Final[tuple[Grade, ...]] = get_args(Grade)
"""In the order in which findings are told: what stands in the way first."""
LADDER: Final[tuple[Fitness, ...]] = ("nothing", "paper", "observe", "trade")
"""What may be done, each besides all before it."""
NEEDED: Final[dict[Mode, Fitness]] = {"paper": "paper", "observe": "observe", "live": "trade"}
LATE_NS: Final = S
"""A clock that is further off than this is worth a word: others on this machine go by it."""
LOOK_S: Final = 0.1


class Finding(Struct, frozen=True):
    """One thing that was looked at, and what is to be said of it, with the cure where it needs one.

    A warning holds nothing up. What is refused, or could not be found out, leaves orders out of the question.
    ``account`` is which one it is about, where the file has several.
    """

    about: str
    grade: Grade
    text: str
    account: str = ""


class Verdict(Struct, frozen=True):
    """What may be done with one account: nothing, trade on paper, observe it, or trade on it."""

    account: str
    """What the file calls it; empty where it has one."""
    venue: str
    verdict: Fitness


class Diagnosis(Struct, frozen=True):
    """What may be done with a portfolio file, and with each of its accounts."""

    mode: Mode
    """What the file asks for."""
    verdict: Fitness
    """Of the account that is least fit."""
    accounts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]

    @property
    def suffices(self) -> bool:
        """Whether what the file asks for may be done."""
        return LADDER.index(self.verdict) >= LADDER.index(NEEDED[self.mode])


async def examine(
    portfolio: Portfolio, dialects: Sequence[Dialect], stop: asyncio.Event, *, tag: str, keyed: bool, patience_s: float
) -> Diagnosis:
    """Ask the venues everything, wait no longer than ``patience_s`` for their answers and streams, and judge.

    ``keyed``: the dialects have keys, so that there are accounts to look at. ``tag`` as for `agent.run.Agent`.
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
        findings, verdicts = [], []
        both = zip(agent.engine.guards, agent.desk.channels, strict=True)
        for (guard, channel), account in zip(both, portfolio.seats.values(), strict=True):
            locked = channel.lockout.until is not None
            found = [*_connection(guard, keyed=keyed, locked=locked), *_market(guard, account.venue)]
            if keyed:
                found += [*_key(guard, locked=locked), *_account(guard), *_fees(guard, portfolio)]
                found += [*_room(agent.engine, guard, portfolio), *_others(guard)]
            findings += [replace(one, account=guard.name) for one in found]
            verdicts.append(Verdict(guard.name, account.venue, _verdict(guard, found, keyed=keyed)))
        findings += [Finding("agent", "warning", f"{symbol}: {text}" if symbol else text) for symbol, text in notes]
        stop.set()
        with contextlib.suppress(Unlisted):  # which is among the findings
            await running
    findings.sort(key=lambda one: GRADES.index(one.grade))
    least = min((one.verdict for one in verdicts), key=LADDER.index)
    return Diagnosis(mode=portfolio.mode, verdict=least, accounts=tuple(verdicts), findings=tuple(findings))


def _told(agent: Agent) -> bool:
    """Whether everything is known, or more can't be learnt because a key is refused."""
    both = zip(agent.engine.guards, agent.desk.channels, strict=True)
    return all(
        _market_known(guard) and (channel.lockout.until is not None or _account_known(guard)) for guard, channel in both
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


def _connection(guard: Guard, *, keyed: bool, locked: bool) -> Iterator[Finding]:
    """``locked``: the venue refuses the key, which is told elsewhere, and nothing with it was asked any more."""
    if (clock := guard.account.clock) is not None:
        off = abs(clock.offset_ns) - clock.error_ns > LATE_NS
        text = f"the venue's is {clock.offset_ns / MS:+.0f} ms ahead, give or take {clock.error_ns / MS:.0f} ms"
        cure = "; the agent works with the difference, but have the machine keep its clock right" if off else ""
        yield Finding("clock", "warning" if off else "ok", text + cure)
    if not keyed:
        yield Finding("key", "ok", "none in the file: the account is not looked at, and paper is as far as this goes")
    missing = guard.audit.missing()
    if What.INSTRUMENTS in missing:  # before which nothing but the time is asked, and no stream opened
        first = [what for what in missing if what in (What.TIME, What.INSTRUMENTS)]
        yield from _unanswered(guard, first, cure="; see that this machine can reach the venue")
        return
    if guard.readiness.unlisted():  # which ends the run before all has come
        return
    yield from _unanswered(guard, [what for what in missing if not (locked and what in SIGNED)])
    silent = _silent(guard)
    for name in silent:
        if not (locked and name == PRIVATE):
            yield Finding("streams", "unknown", f"{name} did not come up: see that this machine may open websockets")
    if not silent:
        yield Finding("streams", "ok", f"{', '.join(guard.readiness.streams)}: up")


def _unanswered(guard: Guard, whats: Sequence[What], cure: str = "") -> Iterator[Finding]:
    """Which of these questions have no answer, each reason once."""
    for reason, missing in guard.audit.unanswered().items():
        if told := ", ".join(what for what in missing if what in whats):
            yield Finding("questions", "unknown", f"no answer about {told}{f': {reason}' if reason else ''}{cure}")


def _market(guard: Guard, venue: str) -> Iterator[Finding]:
    if unlisted := guard.readiness.unlisted():
        text = f"{venue} does not list {', '.join(unlisted)}; correct the name in targets, or take it out"
        yield Finding("instruments", "refused", text)
    rows = guard.account.rows.values()
    idle = [row.symbol for row in rows if row.instrument and not row.instrument.trading]
    if idle:
        yield Finding("instruments", "warning", f"{', '.join(idle)}: the venue takes no orders at this time")
    if all(row.instrument for row in rows):
        yield Finding("instruments", "ok", f"all {len(rows)} are listed")
    unpriced = [row.symbol for row in rows if row.instrument and not row.mark]
    if unpriced:
        yield Finding("prices", "unknown", f"{', '.join(unpriced)}: no mark price has come")


def _key(guard: Guard, *, locked: bool) -> Iterator[Finding]:
    """What the rules for the agent's own start say of the key and of how the account is set up."""
    for reason in (*guard.halts.reasons, *guard.halts.blocked.values()):
        yield Finding("account", "refused", reason)
    if (rights := guard.terms.rights) is not None:
        yield Finding("key", "ok", _words(rights))
    elif locked:
        text = "see that key and secret are whole, of this venue, not expired, and bound to no other address"
        yield Finding("key", "refused", text)
    elif not _account_known(guard):
        return
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


def _account(guard: Guard) -> Iterator[Finding]:
    account, terms = guard.account, guard.terms
    if terms.owner is not None:
        yield Finding("account", "ok", f"it is {terms.owner}")
    if (mode := account.mode) is not None:
        words = ("hedge" if mode.hedge else "one-way", "many" if mode.multi_asset else "one")
        yield Finding("mode", "ok", "{} mode, {} collateral asset(s)".format(*words))
    if terms.isolated:
        named = [guard.book.rows[index].symbol for index, isolated in terms.isolated.items() if isolated]
        text = f"isolated for {', '.join(named)}, cross for all others" if named else "cross for all instruments"
        yield Finding("margin", "ok", text)
    if account.margin_balance is not None:
        empty = account.margin_balance <= 0
        text = f"equity is {account.said(account.margin_balance)} {account.settle}"
        cure = ": there is nothing to trade with, move something into the account" if empty else ""
        yield Finding("money", "refused" if empty else "ok", text + cure)


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


def _room(engine: Engine, guard: Guard, portfolio: Portfolio) -> Iterator[Finding]:
    """Whether the account can hold what the file wants of it, at its leverage settings and by the venue's tiers."""
    rows, setting = guard.account.rows, portfolio.execution.leverage
    for row in rows.values():
        if row.instrument and not row.tiers and guard.account.mode:
            yield Finding("tiers", "unknown", f"{row.symbol}: no margin table has come")
    whole, own, wishes = engine.book.equity, guard.account.equity, engine.mandate.contracts(engine.book)
    if whole is None or own is None or wishes is None or own <= 0:
        return
    pledged = 0.0
    for index, row in rows.items():
        wish = wishes[index]
        if wish is None or row.leverage is None:
            continue
        value = abs(wish) * whole
        pledged += value / (setting or row.leverage)
        if setting is None and (most := most_value(row)) <= value:
            yield Finding("tiers", "refused", _too_large(row, value, most))
    if pledged > own:
        cure = "raise those, or lower the targets"
        yield Finding("tiers", "refused", f"the targets pledge {pledged / own:.0%} of equity at the settings: {cure}")
    elif pledged:
        yield Finding("tiers", "ok", f"the targets pledge {pledged / own:.0%} of equity at the leverage settings")


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
