"""Everything that reads what others wrote, and what must be true of it whatever the bytes are.

A surface takes one broken input and says whether it was rejected. `Broken`, or any exception that is not the reader's
own word for "can't be read", is a finding.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Final, Protocol, cast

import apsw
import msgspec
from msgspec import Struct

from adapters.binance import QUIET_EVENTS, Binance
from adapters.simulator.faults import load_faults
from agent import feed, tape
from agent.config import ConfigError, load, parse, render
from agent.core import events as fact
from agent.core.desk import Answer, Desk, Frame, Input, Opened, Tick
from agent.core.events import Fact, Side
from agent.core.instruments import Instrument
from agent.core.orders import MS, Order, S, Style
from agent.core.venue import (
    Arm,
    Ask,
    Batch,
    Call,
    Cancel,
    Credentials,
    Place,
    Reply,
    Request,
    Secret,
    SetLeverage,
    What,
)
from agent.core.view import look
from agent.journal import Records, Unusable
from tests.fuzz.corpus import ID, about, recorded
from tests.fuzz.dialects import QUIET, Spoken
from tests.fuzz.mutation import TOKEN, Broken, Specimen, mutant, specimen
from tests.storm.storm import SYMBOLS, prepare, swarm
from tests.storm.world import START

NOW: Final = START + 60 * S


class Surface(Protocol):
    """Something that reads. ``share``: how many of a thousand inputs go to it."""

    name: str
    share: int

    def take(self, dice: random.Random) -> tuple[bytes, bool]:
        """Make an input, read it, and judge: the input, and whether it was rejected.

        The input is also in ``last`` before it is read, should reading it raise or never end.
        """
        ...

    last: bytes


def dialect() -> Binance:
    """A dialect that knows its instruments."""
    made = Binance(symbols=SYMBOLS, credentials=Credentials(Secret("key"), Secret("secret")), depth=True)
    call = made.perform(Ask(What.INSTRUMENTS), START)
    assert isinstance(call, Call)
    made.on_reply(call, Reply(200, {}, recorded().answers["instruments"][0]), START)
    return made


def order(id_: str = ID) -> Order:
    """The order that answers are about."""
    return Order(
        id=id_,
        instrument=0,
        symbol="BTCUSDT",
        side=Side.NET,
        lots=6,
        ticks=1_000_010,
        style=Style.IOC,
        reduce=False,
        created_at=NOW,
        expires_at=NOW + 10 * S,
        value=600.0,
    )


def finite(value: object) -> bool:
    """Whether no number in a fact is infinite or none at all."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, tuple):
        return all(finite(part) for part in value)
    if isinstance(value, Struct) and not isinstance(value, Instrument):
        return all(finite(getattr(value, name)) for name in value.__struct_fields__)
    return True


class Breaking:
    """Specimens, and the mutants of them."""

    def __init__(self, whole: Sequence[bytes], others: Sequence[bytes] = ()) -> None:
        self.whole: list[Specimen] = [specimen(one) for one in whole]
        self.others: list[Specimen] = [*self.whole, *(specimen(one) for one in others)]

    def __call__(self, dice: random.Random) -> bytes:
        """One mutant."""
        return mutant(dice, dice.choice(self.whole), dice.choice(self.others))


# The dialect


class Frames:
    """A socket of the dialect: facts, or it is said what could not be read."""

    def __init__(self, socket: str, share: int) -> None:
        self.name, self.share, self.socket = f"frames: {socket}", share, socket
        corpus = recorded()
        self.breaking = Breaking(corpus.frames[socket], [one for other in corpus.frames.values() for one in other])
        self.dialect = dialect()
        self.last = b""

    def take(self, dice: random.Random) -> tuple[bytes, bool]:
        """One frame."""
        self.last = data = self.breaking(dice)
        facts = self.dialect.on_frame(self.socket, data, NOW)
        self.dialect.acts()
        rejected = any(isinstance(one, fact.Unknown) for one in facts)
        if self.socket == "private":
            judge_private(data, facts)
        if dice.random() < 0.1 and not all(map(finite, facts)):
            raise Broken(f"a number without end in {facts}")
        return data, rejected


KIND: Final = re.compile(rb'"e"\s*:\s*"([^"]*)"|"(id)"\s*:')
SAYS_NOTHING: Final = {b"id", b"TRADE_LITE", b"listenKeyExpired", *(name.encode() for name in QUIET_EVENTS)}
"""What may go by: what is repeated in full elsewhere, what is neither made nor watched, and answers to commands."""


def judge_private(data: bytes, facts: Sequence[Fact]) -> None:
    """No word about the account goes by in silence: it is facts, or unknown, unless it is of a kind that says nothing.

    The kinds are told apart by a reader of its own, so that the dialect's can't excuse itself.
    """
    if any(not isinstance(one, fact.Unknown) or one.private for one in facts):
        return
    kinds = {kind or other for kind, other in KIND.findall(data)}
    if kinds & SAYS_NOTHING:
        return
    if b"ACCOUNT_CONFIG_UPDATE" in kinds and facts:  # of a symbol that is not in the portfolio
        return
    raise Broken(f"a private frame went by in silence: {kinds} gave {facts}")


ASKED: Final[dict[What, Request]] = {
    **{what: Ask(what) for what in What if what not in (What.FEES, What.ORDER, What.TRADES)},
    What.FEES: Ask(What.FEES, 0),
    What.ORDER: Ask(What.ORDER, 0, ID),
    What.TRADES: Ask(What.TRADES, 0, since="1"),
}
MAY_BE_EMPTY: Final = (What.PRICES, What.TIERS, What.LEVERAGE, What.VOLUMES, What.TRADES, What.KEY)
"""Tables of all symbols may hold none of ours, and a key is no fact."""
STATUSES: Final = (
    *((200,) * 12), *(201, 204, 299, 301, 302, 400, 400, 400, 401, 403, 404, 408, 418, 429, 451),
    *(500, 502, 503, 503, 504, 520, 0, 99, 999, -1),
)  # fmt: skip
HEADERS: Final[tuple[dict[str, str], ...]] = (
    {}, {}, {}, {"x-mbx-used-weight-1m": "17"}, {"x-mbx-used-weight-1m": "-1"}, {"x-mbx-order-count-10s": "9" * 40},
    {"x-mbx-order-count-1m": "NaN"}, {"retry-after": "30"}, {"retry-after": "-1"}, {"retry-after": "9" * 30},
    {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, {"retry-after": "١"}, {"retry-after": ""},
)  # fmt: skip


class Answers:
    """Every question and every order, and whatever comes back: each order's fate is told, each question answered."""

    def __init__(self, share: int) -> None:
        self.name, self.share, self.last = "answers", share, b""
        corpus = recorded()
        batch = Batch((order(), order(ID[:-1] + "y")))
        requests: list[Request] = [*ASKED.values(), Place(order()), batch, Cancel(ID, 0), Arm(0, 1), SetLeverage(0, 21)]
        failures = Breaking(corpus.failures)
        every = [one for other in corpus.answers.values() for one in other]
        self.dialect = dialect()
        self.calls: list[tuple[Call, Breaking, Breaking]] = []
        for request in requests:
            call = self.dialect.perform(request, NOW)
            assert isinstance(call, Call)
            self.calls.append((call, Breaking(corpus.answers[about(request)], every), failures))

    def take(self, dice: random.Random) -> tuple[bytes, bool]:
        """One answer."""
        call, answers, failures = dice.choice(self.calls)
        status = dice.choice(STATUSES)
        breaking = answers if (200 <= status < 300) is (dice.random() < 0.9) else failures
        self.last = data = breaking(dice)
        facts = self.dialect.on_reply(call, Reply(status, dice.choice(HEADERS), data), NOW + 50 * MS)
        self.dialect.acts()
        told = [one for one in facts if not isinstance(one, fact.Used)]
        judge_answer(call.request, told)
        if dice.random() < 0.1 and not all(map(finite, facts)):
            raise Broken(f"a number without end in {facts}")
        return data, any(isinstance(one, fact.Unknown | fact.Unanswered | fact.Lost | fact.Refused) for one in told)


def judge_answer(request: Request, told: Sequence[Fact]) -> None:
    """Something is known of everything that was asked for, if only that nothing is."""
    match request:
        case Place(order=Order(id=id_)) | Cancel(order=id_):
            wanted = {id_}
        case Batch(orders):
            wanted = {one.id for one in orders}
        case Ask(what=What.ORDER, order=str(id_)):
            if any(isinstance(one, fact.Unanswered) for one in told):
                return
            wanted = {id_}
        case Ask(what=what) if what in MAY_BE_EMPTY:
            return
        case Arm():
            return
        case _:
            if not told:
                raise Broken(f"an answer to {request} went by in silence")
            return
    if missing := wanted - {getattr(one, "order", None) for one in told}:
        raise Broken(f"nothing was said of {missing}: {told}")


# The dialect and the engine behind it


class Engine:
    """A live desk that is told all of it: no fact that a dialect can make may break the core.

    ``renew_after`` inputs it is put together anew, so that what it believes has not all been made up.
    """

    def __init__(self, share: int, renew_after: int = 400) -> None:
        self.name, self.share, self.last, self.renew_after = "engine", share, b"", renew_after
        corpus = recorded()
        every = [one for frames in corpus.frames.values() for one in frames]
        self.frames = {socket: Breaking(whole, every) for socket, whole in corpus.frames.items()}
        bodies = [one for answers in corpus.answers.values() for one in answers]
        self.answers = {what: Breaking(whole, bodies) for what, whole in corpus.answers.items()}
        self.failures = Breaking(corpus.failures)
        self.taken, self.seed = renew_after, 0
        self.desk: Desk
        self.encode = msgspec.json.Encoder().encode

    def renew(self) -> None:
        """Another world, after some seconds of its life."""
        self.seed += 1
        world = prepare(self.seed, swarm(self.seed))
        world.run(START + 20 * S)
        self.desk, self.now, self.taken = world.desk, world.now, 0
        self.told = self.count()

    def take(self, dice: random.Random) -> tuple[bytes, bool]:
        """One frame or answer, and what the desk makes of it."""
        if self.taken >= self.renew_after:
            self.renew()
        self.taken += 1
        self.now += dice.choice((0, MS, 100 * MS, 3 * S))
        arrived = self._arrival(dice)
        step = self.desk.take((arrived, Tick()), self.now)
        for decision in step.decisions:
            self.encode(decision)
        if dice.random() < 0.05:
            self.encode(look(self.desk.engine, self.now))
            self.encode(self.desk.engine.memory())
        before, self.told = self.told, self.count()
        return self.last, self.told > before

    def count(self) -> int:
        """What the engine says that it could not read."""
        return sum(self.desk.engine.tally.unread.values())

    def _arrival(self, dice: random.Random) -> Input:
        calls = self.desk.calls
        if calls and dice.random() < 0.4:
            tag = dice.choice(list(calls))
            breaking = self.answers[about(calls[tag][1].request)] if dice.random() < 0.7 else self.failures
            self.last = breaking(dice)
            status = dice.choice(STATUSES) if breaking is self.failures else 200
            return Answer(tag, Reply(status, dice.choice(HEADERS), self.last))
        socket = dice.choice(list(self.frames))
        if not self.desk.lines[socket].open:
            self.last = b""
            return Opened(socket)
        self.last = self.frames[socket](dice)
        return Frame(socket, self.last)


# Files and documents

TOML = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[A-Za-z0-9_.+%:-]+|[ \t]+|\n|.', re.DOTALL)
EXAMPLES: Final = Path(__file__).parents[2] / "deploy"
PORTFOLIO: Final = EXAMPLES / "portfolio.example.toml"


class Texts:
    """A reader of texts: it returns something, or raises its own word for a text that can't be read."""

    def __init__(
        self,
        name: str,
        share: int,
        whole: Sequence[bytes],
        read: Callable[[bytes], object],
        refusals: tuple[type[Exception], ...],
        token: re.Pattern[bytes] = TOKEN,
    ) -> None:
        self.name, self.share, self.last = name, share, b""
        self.whole = [specimen(one, token) for one in whole]
        self.read, self.refusals = read, refusals

    def take(self, dice: random.Random) -> tuple[bytes, bool]:
        """One text."""
        self.last = data = mutant(dice, dice.choice(self.whole), dice.choice(self.whole))
        try:
            self.read(data)
        except self.refusals:
            return data, True
        return data, False


def portfolio_file(share: int, folder: Path) -> Texts:
    """The portfolio file, from the disk; what is understood can be written out and read again."""
    file = folder / "portfolio.toml"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        found = load(file)
        if parse(render(found), file) != found:
            raise Broken("it is not what was written")

    example = re.sub(rb"(?m)^# (?=\w+ = |\[)", b"", PORTFOLIO.read_bytes())
    whole = [re.sub(rb"(?m)^#.*\n|  +#.*", b"", path.read_bytes()) for path in (EXAMPLES / "examples").glob("*.toml")]
    return Texts(
        "portfolio file", share, [re.sub(rb"(?m)^#.*\n|  +#.*", b"", example), *whole], read, (ConfigError,), TOML
    )


def feed_document(share: int) -> Texts:
    """Targets from outside."""
    portfolio = load(PORTFOLIO)
    now = 1_790_000_000 * S
    whole = (
        b'{"targets": {"weights": {"BTCUSDT": "60%", "ETHUSDT": "40%"}, "leverage": 2}, "issued_at": '
        b'"2026-09-21T12:00:00Z", "valid_until": "2026-09-23T18:00:00Z"}',
        b"issued_at = 2026-09-21T12:00:00Z\n[targets]\nleverage = 2.5\n"
        b'[targets.weights]\nBTCUSDT = "50%"\nSOLUSDT = -0.5\n',
        b'{"targets": {"baskets": {"a": {"BTCUSDT": 1.0}}, "strategies": {"trend": {"capital": 0.6, "leverage": 1.5, '
        b'"weights": {"BTCUSDT": 0.5}, "health": {"psr": 0.2}}}}}',
    )

    def read(data: bytes) -> None:
        given = feed.read(data, portfolio, source="fuzz", now=now, issued_at=now)
        if given.targets.leverage > portfolio.limits.leverage:
            raise Broken("targets beyond the file's own limit")

    return Texts("feed document", share, whole, read, (feed.BadFeed,), TOML)


def fault_file(share: int, folder: Path) -> Texts:
    """What should go wrong at the local exchange."""
    file = folder / "faults.toml"

    def read(data: bytes) -> None:
        file.write_bytes(data)
        load_faults(file)

    whole = (
        b"seed = 7\ndelay_ms = 20.5\nclock_skew_ms = -500\n",
        b'[[requests]]\ndo = "lose reply"\non = "order"\nchance = 0.1\ntimes = 3\n',
        b'[[frames]]\ndo = "mute"\non = "mark"\nsymbol = "BTCUSDT"\nfrom_s = 10\nuntil_s = 40\nms = 500\n',
        b'[[events]]\ndo = "trade"\nat_s = 30\nsymbol = "ETHUSDT"\nquantity = -0.5\nevery_s = 60\n',
    )
    return Texts("fault file", share, whole, read, (ValueError,), TOML)


def tape_file(share: int, folder: Path) -> Texts:
    """A tape: every record is read, or the tape is said to be damaged or torn."""
    path, written = folder / "fuzz.tape", folder / "written.tape"
    config = render(load(PORTFOLIO))
    header = tape.Header("1", 7, "live", SYMBOLS, config, tag="fz", resume=(order(),))
    recorder = tape.Recorder(written, header)
    for data in recorded().frames["private"][:3]:
        recorder.input(NOW, Frame("private", data))
        recorder.decision(b'{"seq":1}')
    recorder.close()
    whole = written.read_bytes()
    written.unlink()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        _, records = tape.read(path)
        for _ in records:
            pass

    return Texts("tape", share, [whole], read, (tape.TapeError,))


class Rows:
    """A connection that has one row."""

    def __init__(self, value: object) -> None:
        self.value = value

    def execute(self, query: str, values: object) -> Iterator[tuple[object]]:
        """The row."""
        return iter([(self.value,)])


def journal_orders(share: int) -> Texts:
    """An order on record: SQLite hands out what is there as text."""
    whole = msgspec.json.encode(order())

    def read(data: bytes) -> None:
        rows = cast(apsw.Connection, Rows(data.decode("utf-8", "replace")))
        Records(Path("journal.db"), rows).orders()

    return Texts("journal: orders", share, [whole], read, (Unusable,))


def all_surfaces(folder: Path) -> list[Surface]:
    """Everything that is fuzzed, with its share of a thousand inputs; ``folder`` is for files."""
    return [
        Frames("public", 115),
        Frames("market", 115),
        Frames("private", 210),
        Answers(250),
        *(Spoken(venue, 30) for venue in QUIET),
        Engine(40),
        portfolio_file(10, folder),
        feed_document(30),
        fault_file(30, folder),
        tape_file(20, folder),
        journal_orders(30),
    ]
