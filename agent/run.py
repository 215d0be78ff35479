"""The agent: the desk with its journal, tape, transport and clock, for as long as it runs.

The order of duties in one step is the house's first promise: what was told goes on the tape, what was decided goes to
the journal, and only then does anything go on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent import notify
from agent.clock import Clock
from agent.config import ConfigError, Portfolio, document_of, parse, render, targets_of
from agent.core.decisions import Decision, Memory
from agent.core.desk import Input, Silence, Step, Tick, Told
from agent.core.orders import NONCES, SETTLE_NS, S
from agent.core.targets import Given
from agent.core.venue import Batch, Call, Change, Dialect, Place, Request
from agent.core.view import View, look
from agent.feed import Feed
from agent.journal import Journal, JournalFailed
from agent.replay import desk_of
from agent.secrets import resolve
from agent.tape import Header, Recorder
from agent.transport import Transport

log = logging.getLogger(__name__)

VERSION = version("trimtab")
CHORES_S = 1.0
"""How often the journal and the tape are flushed, the status written and the kill file looked for."""
REMEMBER_S = 60.0
"""How often what the next run should know is written down, besides at the end and whenever the strategies' ledgers
change."""
CLOSE_S = 5.0
"""The part of a stop that closing takes, once the fate of orders is known or no longer waited for."""
LARGE = "covariance"
"""The part of it that is too large to be written down with each fill, and changes too slowly to be missed."""
YEAR_2025 = 1_735_689_600 * S
EPOCH_NS = 300 * S
"""Epochs follow the calendar in steps of five minutes from 2025 on, which four base-36 digits hold for 15 years."""
SYNC_NS = S // 2
"""How long the disk may take to have an order on it; later, the order is not sent unless it reduces."""
SLOW_NS, OFTEN = 600 * S, 3
"""A disk that has been too slow so often within so long is an error, no longer a warning."""
LAG_S = 5.0
"""A decision loop this late no longer feeds the watchdog."""


TAPES = "tapes"
"""The folder of tapes in the state folder."""
ENDED = "ended"
"""The state that a run's last status tells."""
RESUME = "resume"
"""A file of this name in the state folder is a person's word to resume; who takes the word takes the file away."""
CRASHES = 5
"""So many runs that did not end in order within `CRASHES_NS`, and the next begins halted."""
CRASHES_NS = 600 * S


class Unfit(Exception):
    """The key must not trade this portfolio: the reason, and the cure."""


class Unlisted(Exception):
    """The venue does not have some of the portfolio's symbols."""

    def __init__(self, venue: str, symbols: list[str]) -> None:
        super().__init__(f"{venue} does not list {', '.join(symbols)}")
        self.symbols = symbols


def _changes(decision: Decision) -> bool:
    """Whether something in it changes the account, and must be on disk before it leaves."""
    return any(isinstance(request, Change) for request in decision.requests)


def _reduces(request: Request) -> bool:
    """Whether it sends orders, and all of them only reduce."""
    match request:
        case Place(order):
            return order.reduce
        case Batch(orders):
            return all(order.reduce for order in orders)
        case _:
            return False


class _Shown(Struct, frozen=True):
    """What is read of the last status."""

    epoch: int


class Agent:
    """One running agent, with a dialect for each account. ``folder`` keeps its journal, tapes and status; ``tag`` marks
    the portfolio in order ids.

    ``record``: keep a tape of everything heard and decided, for `trimtab replay`.
    ``watch`` is called after each step with the input's time and what came of it; ``clock`` gives the time, ``nonce``
    sets this run's order ids apart from those of others (drawn if not given).
    ``succeeds``: it may follow an instance elsewhere of which nothing is on record here, so it lets that one's last
    requests expire before it begins. Raises `agent.journal.Locked` when another agent owns the folder, and from `run`
    `Unlisted` when the venue lacks a symbol from the start, and `Unfit` when the key must not be used.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        dialects: Sequence[Dialect],
        folder: Path,
        *,
        tag: str,
        record: bool = False,
        watch: Callable[[int, Step], None] | None = None,
        clock: Clock | None = None,
        nonce: int | None = None,
        succeeds: bool = False,
    ) -> None:
        self.portfolio = portfolio
        self.folder = folder
        self.clock = clock or Clock()
        self._watch = watch
        self._encode = msgspec.json.Encoder().encode
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = 0
        self._quiet = asyncio.Event()
        """Set while no order of ours may still trade."""
        self._broken: JournalFailed | None = None
        self._broke = asyncio.Event()
        self._slow: list[int] = []
        """When the disk was too slow of late."""
        self._overgrown = False
        """It has been told that the journal's log keeps growing."""
        self._killed = False
        self._remember_at = 0
        self._ready = False
        self._shown = True
        """The last status could be written."""
        token = portfolio.feed.token
        self.feed = Feed(
            portfolio,
            give=lambda given: self._hear(Told(name="targets", argument=self._encode(given).decode())),
            refuse=lambda why: self._hear(Told(name="warn", argument=why)),
            now=self.clock.now,
            force=lambda: self.engine.mandate.given,
            token=None if token is None else resolve(token),
        )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.journal = Journal(folder / "journal.db")
        try:
            text = render(portfolio)
            now = self.clock.now()
            self._forgotten = self._forgets()
            paper = portfolio.mode == "paper"  # whose account begins anew with each run
            resume = [] if paper else self.journal.recent(now - 24 * 3600 * S, portfolio.mode)
            memory = self._remembered(now)
            crashes = self.journal.crashes(now - CRASHES_NS)
            unrecorded = succeeds and portfolio.mode == "live" and self._follows(now)
            epoch = self.journal.begin(portfolio.mode, text, VERSION, now, above=(now - YEAR_2025) // EPOCH_NS)
            header = Header(
                version=VERSION,
                epoch=epoch,
                mode=portfolio.mode,
                symbols=tuple(portfolio.targets.symbols),
                config=text,
                tag=tag,
                resume=tuple(resume),
                memory=memory,
                nonce=1 + secrets.randbelow(NONCES - 1) if nonce is None else nonce,
                halted=f"{crashes} runs within ten minutes did not end in order" if crashes >= CRASHES else None,
                unrecorded=unrecorded,
            )
            self.desk = desk_of(portfolio, dialects, header)
            self.engine = self.desk.engine
            self.tape = self._recorder(header) if record else None
        except BaseException:
            self.journal.close()
            raise

    def _forgets(self) -> str | None:
        """What to say if the journal does not know the run that wrote the last status; None if it does."""
        try:
            shown = msgspec.json.decode((self.folder / "status.json").read_bytes(), type=_Shown)
        except (OSError, msgspec.DecodeError):
            return None
        last = self.journal.last_run()
        if last is not None and shown.epoch <= last.epoch:
            return None
        return (
            f"the journal does not know run {shown.epoch}, the last one in this folder: it was lost, or is an old "
            "copy; positions are the venue's, but what was traded within the last day is not known"
        )

    def _follows(self, now: int) -> bool:
        """Whether the last requests on this account may not be those on record: no run in this mode was at work within
        the time that a request may stay under way, or the one that was may not have let those before it expire."""
        run = self.journal.last_run(self.portfolio.mode)
        wait = round(self.portfolio.execution.request_life_s * S) + SETTLE_NS
        if run is None or now - run.started_at <= wait:
            return True
        # What an observer or paper has decided since sends nothing: another instance may have been at work meanwhile.
        made = [one.at for one in self.journal.decisions(limit=1) if one.epoch == run.epoch]
        return now - max([run.started_at, run.ended_at or 0, *made]) > wait

    def _remembered(self, now: int) -> Memory | None:
        """What an earlier run remembered, as far as it holds for this one.

        Targets of a feed don't where a person has changed those of the file since, and the next time of a schedule
        doesn't of another schedule. Paper's account begins anew, so what belonged to positions is left out.
        """
        record = self.journal.memory(self.portfolio.mode)
        if record is None:
            return None
        try:
            memory = msgspec.json.decode(record, type=Memory)
        except msgspec.DecodeError as error:
            log.warning("what an earlier run remembered can't be read and is left out: %s", error)
            return None
        before = self._portfolio_before()
        if before is None or before.triggers.schedule != self.portfolio.triggers.schedule:
            memory = replace(memory, schedule_at=None)
        if memory.given is not None:
            same = before is not None and before.targets == self.portfolio.targets
            why = self._outlived(memory.given, now) if same else "those of the portfolio file have changed since"
            if why is not None:
                log.warning("the targets that %s gave are left out: %s", memory.given.source, why)
                memory = replace(memory, given=None)
        return memory.without_positions() if self.portfolio.mode == "paper" else memory

    def _portfolio_before(self) -> Portfolio | None:
        """The portfolio file of the last run in this mode; None if it can't be read any more."""
        run = self.journal.last_run(self.portfolio.mode)
        try:
            return None if run is None else parse(run.config, self.journal.path)
        except ConfigError:
            return None

    def _outlived(self, given: Given, now: int) -> str | None:
        """Why targets of a feed don't hold any more; None if they do."""
        feed = self.portfolio.feed
        if feed.file is None and feed.listen is None:
            return "there is no feed any more"
        if given.valid_until <= now:
            return "they are past their time"
        try:
            targets_of(document_of(given.targets), self.portfolio, given.source)
        except ConfigError as error:
            return str(error)
        return None

    def _recorder(self, header: Header) -> Recorder:
        tapes = self.folder / TAPES
        tapes.mkdir(exist_ok=True, mode=0o700)
        return Recorder(tapes / f"{header.epoch:06d}.tape", header, lambda why: log.error("the tape stopped: %s", why))

    def view(self) -> View:
        """What there is to see now."""
        return look(self.engine, self.clock.now())

    def tell(self, name: str, argument: str = "") -> None:
        """Give the engine a command."""
        self._take(Told(name=name, argument=argument))

    async def run(self, stop: asyncio.Event, resolved: Sequence[str] = ()) -> None:
        """Run until ``stop`` is set, then wait, within bounds, until the fate of every order is known.

        ``resolved``: orders of earlier runs of which a person has found out that they will not trade any more.
        """
        ipv4 = any(channel.dialect.abilities.ipv4 for channel in self.desk.channels)
        self.transport = Transport(self._take, ipv4=ipv4)
        try:
            async with self.feed.open():
                await self._run(stop, resolved)
        finally:
            await self._close()

    async def _run(self, stop: asyncio.Event, resolved: Sequence[str]) -> None:
        chores = asyncio.create_task(self._chores(), name="chores")
        events = {"stop": stop, "journal": self._broke}
        waits = [asyncio.create_task(event.wait(), name=f"wait for {name}") for name, event in events.items()]
        try:
            self._look_for_kill_file()
            self._takes_word()  # one from before the run is about nothing that this run has met
            if self._forgotten is not None:
                self.tell("warn", self._forgotten)
            for name in resolved:
                self.tell("resolve", name)
            self._take(Tick())
            ends: list[asyncio.Future[Any]] = [self.transport.failed, self.transport.exhausted, chores, *waits]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._wind_down()
            for end in ends:
                if end.cancelled():
                    raise RuntimeError("a task without which nothing runs was cancelled by a stranger")
                if end.done():
                    await end
            with self._journaling():
                self._remember()
                self.journal.end(self.clock.now())
            if self._broken is not None:
                raise self._broken
        finally:
            for task in (chores, *waits):
                task.cancel()

    def _take(self, arrived: Input) -> None:
        """One step; but first, if the clock has leapt, one that doubts everything."""
        now = self.clock.now()
        if (leapt := self.clock.jump()) is not None:
            self._step(Told("resync", f"the clock leapt by {leapt / S:+.1f} s"), now)
        self._step(arrived, now)

    def _step(self, arrived: Input, now: int) -> None:
        """Told, decided, on disk, on the wire."""
        conceal = self.desk.conceal(arrived)
        step = self.desk.take((arrived,), now)
        if self.tape is not None:
            self.tape.input(now, arrived, conceal)
        took = 0
        for decision in step.decisions:
            record = self._encode(decision)
            if self.tape is not None:
                self.tape.decision(record)
            if decision.notes or decision.orders or decision.remember or _changes(decision):
                took += self._write(decision, record)
        self._perform(step, took)
        self._set_timer(step.wake_at, now)
        for decision in step.decisions:
            if decision.notes:  # once the acts are under way: no order waits for a log line
                asyncio.get_running_loop().call_soon(self._log, decision)
        if self.engine.blotter.live():
            self._quiet.clear()
        else:
            self._quiet.set()
        if self._watch is not None:
            self._watch(now, step)

    def _write(self, decision: Decision, record: bytes) -> int:
        """Into the journal; gives how long that took (ns) if something waits for it, else 0."""
        began, urgent = self.clock.now(), _changes(decision)
        with self._journaling():
            # The large part as well until it has been written once: one of an earlier run may be of other symbols.
            memory = self._parts(LARGE if self._remember_at else None) if decision.remember else None
            self.journal.append(decision.at, decision.seq, record, decision.orders, urgent, memory)
        return self.clock.now() - began if urgent else 0

    def _perform(self, step: Step, took: int) -> None:
        """Carry out what was decided. What is not on disk does not leave; cancels and questions still do.

        What is on disk too late only leaves if it reduces: that is worth sending even so.
        """
        failed = late = None
        if self._broken is not None:
            failed = "the journal has failed"
        elif took > SYNC_NS:
            late = self._late(took)
        for act in step.acts:
            withheld = None
            if isinstance(act, Call) and isinstance(act.request, Change):
                withheld = failed or (None if _reduces(act.request) else late)
            if isinstance(act, Call) and withheld is not None:
                unsent = Silence(call=act.tag, sent=False, reason=withheld)
                asyncio.get_running_loop().call_soon(self._hear, unsent)
            else:
                self.transport.do(act)

    def _late(self, took: int) -> str:
        """The disk was slow: prices have moved on, so what would increase is given up, and somebody is told."""
        now = self.clock.now()
        self._slow = [at for at in self._slow if at > now - SLOW_NS] + [now]
        text = f"the disk took {took / S:.1f} s to take an order, which is then not sent unless it reduces"
        if (times := len(self._slow)) > 1:
            text += f"; {times} times within {SLOW_NS // (60 * S)} min: move the state folder to a faster disk"
        if times >= OFTEN:
            log.error("%s", text)
        asyncio.get_running_loop().call_soon(self._hear, Told(name="warn", argument=text))
        return "it was not on disk in time"

    def _remember(self) -> None:
        now = self.clock.now()
        self._remember_at = now + round(REMEMBER_S * S)
        self.journal.remember(self._parts(), now)

    def _parts(self, without: str | None = None) -> dict[str, bytes]:
        """What the next run should know, part by part."""
        memory = msgspec.structs.asdict(self.engine.memory())
        return {name: self._encode(part) for name, part in memory.items() if name != without}

    @contextlib.contextmanager
    def _journaling(self) -> Iterator[None]:
        """A journal that fails ends the run, but in order: nothing new is sent, and what rests is cancelled."""
        try:
            yield
        except JournalFailed as error:
            if self._broken is None:
                log.error("the journal failed, stopping: %s", error)
                self._broken = error
                self._broke.set()

    def _log(self, decision: Decision) -> None:
        for note in decision.notes:
            level = logging.WARNING if note.kind in ("warning", "halt", "refusal", "external") else logging.INFO
            log.log(level, "%s%s", f"{note.symbol}: " if note.symbol else "", note.text, extra={"kind": note.kind})

    def _set_timer(self, wake_at: int, now: int) -> None:
        if self._timer is not None:
            if wake_at == self._wake_at:
                return  # as most frames leave it: a timer for each would pile up in a burst
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(0, wake_at - now) / S, self._ring)
        self._wake_at = wake_at

    def _ring(self) -> None:
        self._timer = None
        self._hear(Tick())

    def _hear(self, arrived: Input) -> None:
        """Take what comes from where nobody waits for a failure."""
        try:
            self._take(arrived)
        except Exception as error:  # noqa: BLE001 — handed to `run`, which stops the process
            if not self.transport.failed.done():
                self.transport.failed.set_exception(error)

    async def _chores(self) -> None:
        """Once a second: make durable what may wait, look for the kill file, show status, feed the watchdog."""
        watchdog = notify.watchdog_interval()
        while True:
            await asyncio.sleep(CHORES_S)
            with self._journaling():
                if self.clock.now() >= self._remember_at:
                    self._remember()
                self.journal.flush()
            self._look_at_log()
            self.feed.look()
            if self.tape is not None:
                self.tape.flush()
            self._look_for_kill_file()
            if self._takes_word():
                self.tell("resume")
            if not self._ready and (symbols := self.engine.unlisted()):
                raise Unlisted(" and ".join(dict.fromkeys(one.venue for one in self.portfolio.seats.values())), symbols)
            if not self._ready and (why := self.engine.unfit):
                raise Unfit(why)
            view = self.view()
            self._show(view)
            if watchdog is not None and (view.at - self._wake_at) / S < LAG_S:
                notify.watchdog()

    def _look_for_kill_file(self) -> None:
        path = self.portfolio.limits.kill_file
        why = ""
        if path is not None:
            try:
                os.stat(os.path.expanduser(path))
                why = f"the kill file {path} exists"
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:  # who can't look does not know that it is not there
                why = f"the kill file {path} may exist: {error.strerror}"
        if (killed := bool(why)) != self._killed:
            self._killed = killed
            self.tell("kill" if killed else "unkill", why)

    def _takes_word(self) -> bool:
        """Whether a person has left the word to resume. It counts once, so one that can't be taken away doesn't."""
        try:
            (self.folder / RESUME).unlink()
        except OSError:
            return False
        return True

    def _look_at_log(self) -> None:
        """Say it once if the journal's log keeps growing."""
        if self.journal.overgrown and not self._overgrown:
            self._overgrown = True
            log.warning(
                "the log beside %s is larger than 100 MB: a program that reads the journal keeps it from being moved "
                "into the file; end that program",
                self.journal.path,
            )

    def _show(self, view: View) -> None:
        """Write the status where `trimtab status` finds it: whole or not at all."""
        target = self.folder / "status.json"
        partial = target.with_suffix(".partial")
        try:
            partial.write_bytes(self._encode(view))
            partial.replace(target)
        except OSError as error:
            if self._shown:
                log.warning("the status can't be written: %s", error)
            self._shown = False
        else:
            self._shown = True
        notify.status(f"{view.mode}: {view.state}")
        if not self._ready and not view.state.startswith(("starting", "waiting")):
            self._ready = True
            notify.ready()

    async def _wind_down(self) -> None:
        """Send nothing new, cancel what rests, and wait for the fate of what was sent."""
        notify.stopping()
        if not self.transport.failed.done():
            self.tell("stop")
        quiet = asyncio.create_task(self._quiet.wait())
        ends: list[asyncio.Future[Any]] = [quiet, self.transport.failed]
        left_s = self.portfolio.timing.stop_s - CLOSE_S
        await asyncio.wait(ends, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        quiet.cancel()
        for order in self.engine.blotter.live():
            log.warning("order %s on %s is still %s; the next run will ask", order.id, order.symbol, order.state)

    async def _close(self) -> None:
        try:
            await self.transport.close(grace_s=CLOSE_S - 3)  # websockets take the rest
            if self._timer is not None:
                self._timer.cancel()
            self._show(replace(self.view(), state=ENDED))
        finally:
            if self.tape is not None:
                self.tape.close()
            self.journal.close()
