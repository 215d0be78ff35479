"""Transcripts: a situation in words, four dashes, and what the engine decided. ``pytest --rewrite`` writes them anew.

A file is a row of blocks, parted by empty lines. Each line above the dashes is a command (see `Scene`), each line below
is what was decided, with the seconds since the start. Lines that begin with # are for the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.core.carry import CarryRules
from agent.core.costs import Costs
from agent.core.decisions import Decision, Policy
from agent.core.drift import Bands
from agent.core.economy import Economy
from agent.core.events import Balance, Command, Fact, Fault, Filled, Flow, Funding, Lost, Mode, Position, Refused, Side
from agent.core.health import Health
from agent.core.orders import Order, State
from agent.core.pairs import Pair
from agent.core.planner import Execution, Limits
from agent.core.targets import Given, Strategy, Targets
from agent.core.triggers import Triggers
from agent.core.venue import Ask, Cancel, SetLeverage, What
from agent.core.view import safety
from tests.core.kit import PRICES, START, S, Stage

HERE = Path(__file__).parent
DASHES = "----"


class Scene:
    """What the commands of a transcript do. Symbols go without their USDT."""

    def __init__(self) -> None:
        self.weights: dict[str, Any] = {}
        self.leverage = 1.0
        self.baskets: dict[str, dict[str, float]] = {}
        self.strategies: dict[str, Strategy] = {}
        self.pairs: list[Pair] = []
        self.hedges: list[tuple[str, ...]] = []
        self.equity = 10_000.0
        self.held: dict[str, float] = {}
        self.prices = dict(PRICES)
        self.options: dict[str, dict[str, Any]] = {
            "bands": {},
            "limits": {},
            "triggers": {},
            "execution": {},
            "costs": {},
            "economy": {},
            "funding": {},
            "targets": {},
        }
        self.schedule: list[int] = []
        self.windows: list[tuple[int, int]] = []
        self.two_sided = False
        self.experienced = False
        self.rates: dict[int, float] = {}
        self.settles: dict[int, int] = {}
        self.stage: Stage | None = None
        self.told = 0
        self.day = 0

    # Before the start

    def portfolio(self, *words: str) -> None:
        """portfolio BTC 50 ETH -30 SOL hold at 3x"""
        *pairs, at, leverage = words
        assert at == "at"
        self.leverage = float(leverage.removesuffix("x"))
        self.weights = {name: "hold" if share == "hold" else part(share) for name, share in pairs_of(pairs)}

    def basket(self, name: str, *words: str) -> None:
        """basket alts SOL 60 DOGE -40"""
        self.baskets[name] = {symbol: part(share) for symbol, share in pairs_of(words)}

    def strategy(self, name: str, capital: str, leverage: str, *words: str) -> None:
        """strategy trend 60 4x BTC 50 ETH 30 SOL 20: 60 % of capital at 4x; a final word: health, to watch it"""
        health = Health() if words[-1] == "health" else None
        weights = {symbol: part(share) for symbol, share in pairs_of(words[:-1] if health else words)}
        multiple = float(leverage.removesuffix("x"))
        self.strategies[name] = Strategy(capital=part(capital), leverage=multiple, weights=weights, health=health)

    def pair(self, over: str, into: str, target: str) -> None:
        """pair BTC ETH 60: the share of BTC in the margin of the two"""
        self.pairs.append(Pair(over=f"{over}USDT", into=f"{into}USDT", target=part(target)))

    def hedge(self, *symbols: str) -> None:
        """hedge BTC ETH: they hedge each other"""
        self.hedges.append(tuple(f"{symbol}USDT" for symbol in symbols))

    def blackout(self, start: str, end: str) -> None:
        """blackout 10 40: nothing but safety begins between these seconds after the start"""
        self.windows.append((START + round(float(start) * S), START + round(float(end) * S)))

    def account(self, equity: str, *words: str) -> None:
        """account 10000 BTC 0.325 ETH 2"""
        self.equity = float(equity)
        self.held = {symbol: float(size) for symbol, size in pairs_of(words)}

    def set(self, *words: str) -> None:
        """set bands tolerance 0.05 (or limits, triggers, execution, costs)"""
        room, name, value = words
        number = float(value) if value.replace(".", "").isdigit() else value
        self.options[room][name] = int(value) if (room, name) == ("execution", "leverage") else number

    def at(self, *seconds: str) -> None:
        """at 30 90: the schedule, in seconds after the start"""
        self.schedule = [START + round(float(second) * S) for second in seconds]

    def experience(self) -> None:
        """experience: the agent has watched still prices for a day before the start"""
        self.experienced = True

    def mode(self, word: str) -> None:
        """mode hedge, before or after the start"""
        self.two_sided = word == "hedge"
        if self.stage is not None:
            self.stage.mode = Mode(hedge=self.two_sided, multi_asset=False, can_trade=True)
            moved: dict[tuple[int, Side], tuple[int, float | None]] = {}
            for (index, _), (lots, entry) in self.stage.held.items():
                side = Side.NET if not self.two_sided else Side.LONG if lots >= 0 else Side.SHORT
                moved[index, side] = (lots, entry)
            self.stage.held = moved
            self.stage.tell(self.stage.mode)

    def start(self) -> None:
        """start: streams come up and everything is asked and answered"""
        options = self.options
        policy = Policy(
            mode="live",
            targets=Targets(
                weights=self.weights,
                leverage=self.leverage,
                baskets=self.baskets,
                strategies=self.strategies,
                **options["targets"],
            ),
            bands=Bands(**options["bands"]),
            limits=Limits(**options["limits"]),
            triggers=Triggers(**options["triggers"]),
            execution=Execution(**options["execution"]),
            costs=Costs(**options["costs"]),
            economy=Economy(**options["economy"]),
            funding=CarryRules(hedges=tuple(self.hedges), **options["funding"]),
            pairs=tuple(self.pairs),
        )
        self.stage = Stage(
            policy,
            self.held,
            equity=self.equity,
            prices=self.prices,
            hedge=self.two_sided,
            experienced=self.experienced,
            schedule=lambda now: next((at for at in self.schedule if at > now), None),
            blackout=lambda now: next((end for start, end in self.windows if start <= now < end), None),
        ).ready()

    # What happens

    @property
    def on(self) -> Stage:
        assert self.stage is not None, "the scene has not started"
        return self.stage

    def wait(self, seconds: str) -> None:
        """wait 10: prices go on, nothing else happens"""
        self.on.wait(float(seconds))

    def trade(self, seconds: str) -> None:
        """trade 60: time goes on with a venue that fills every order at once"""
        orders = self.on.engine.blotter.live()
        while orders:
            orders = [new for order in orders for new in self.on.tell(*self.on.fill(order), after=0.01)]
        self.on.carry_out(float(seconds))

    def price(self, *words: str) -> None:
        """price BTC 58000 ETH 3100"""
        prices = self.prices if self.stage is None else self.on.prices
        for symbol, price in pairs_of(words):
            prices[symbol] = float(price)
        if self.stage is not None:
            self.on.tell(*self.on.marks())

    def transfer(self, amount: str) -> None:
        """transfer -1600: so much leaves the account; without a minus it comes in"""
        self.on.wallet += float(amount)
        flow = Flow("USDT", float(amount), "transfer", self.on.venue_now)
        self.on.tell(Balance("USDT", self.on.wallet, self.on.venue_now), flow)

    def funding(self, symbol: str, rate: str, hours: str) -> None:
        """funding BTC 0.10 8: that many per cent are expected at the next settlement, in so many hours"""
        on, index = self.on, self.index(symbol)
        self.rates[index] = float(rate) / 100
        self.settles[index] = on.now + round(float(hours) * 3600 * S)
        on.tell(Funding(index, self.rates[index], self.settles[index], on.venue_now))

    def settle(self) -> None:
        """settle: time goes on to the next funding settlement, is paid or received, and eight hours begin anew"""
        on, at = self.on, min(self.settles.values())
        on.leap(at - on.now + S)
        facts: list[Fact] = []
        for index, rate in self.rates.items():
            lots, _ = on.held.get((index, Side.NET), (0, None))
            amount = -on.instruments[index].notional(lots, on.prices[on.symbols[index]]) * rate
            on.wallet += amount
            self.settles[index] = at + 8 * 3600 * S
            facts += [Flow("USDT", amount, "funding", on.venue_now)] if amount else []
            facts.append(Funding(index, rate, self.settles[index], on.venue_now))
        on.tell(*facts, Balance("USDT", on.wallet, on.venue_now))

    def days(self, count: str, *words: str) -> None:
        """days 30 BTC -0.2 ETH 0.1: so many days pass, each with such a change in per cent, a little more every other
        day and a little less in between; every order fills at once"""
        for _ in range(int(count)):
            self.on.leap(24 * 3600 * S - 20 * S)
            self.day += 1
            for symbol, change in pairs_of(words):
                self.on.prices[symbol] *= 1 + (float(change) + (0.5 if self.day % 2 else -0.5)) / 100
            self.on.tell(*self.on.marks())
            self.trade("20")

    def given(self, *words: str) -> None:
        """given 5 60 BTC 60 ETH 40 at 2x: a feed gives these targets, issued 5 s ago and valid for 60 s from then"""
        age, life, *pairs, at, leverage = words
        assert at == "at"
        weights = {name: part(share) for name, share in pairs_of(pairs)}
        issued_at = self.on.now - round(float(age) * S)
        targets = Targets(weights=dict(weights), leverage=float(leverage.removesuffix("x")))
        given = Given(targets, issued_at, issued_at + round(float(life) * S), "signal.json")
        self.on.tell(Command("targets", msgspec.json.encode(given).decode()))

    def stall(self, symbol: str) -> None:
        """stall BTC: its price stream falls silent"""
        self.on.frozen.add(self.index(symbol))

    def flow(self, symbol: str) -> None:
        """flow BTC: its price stream goes on"""
        self.on.frozen.discard(self.index(symbol))
        self.on.tell(*self.on.marks())

    def silence(self, *questions: str) -> None:
        """silence positions: the venue no longer answers these questions"""
        self.on.mute = {What(question) for question in questions}

    def fill(self, symbol: str, size: str | None = None) -> None:
        """fill BTC, or a part of it: fill BTC 0.020, and the rest expires"""
        order = self.live(symbol)
        if size is None:
            self.on.tell(*self.on.fill(order))
            return
        lots = self.on.lots_of(order.symbol, float(size))
        self.on.tell(*self.on.accept(order), *self.on.trade(order, lots), *self.on.finish(order, lots, "expired"))

    def rest(self, symbol: str) -> None:
        """rest BTC: the venue has the order, and it rests"""
        self.on.tell(*self.on.accept(self.live(symbol)))

    def end(self, symbol: str, how: str) -> None:
        """end BTC cancelled: without a fill"""
        self.on.tell(*self.on.finish(self.live(symbol), 0, how))

    def refuse(self, symbol: str, fault: str, *reason: str) -> None:
        """refuse BTC margin Margin is insufficient."""
        order = self.live(symbol)
        self.on.tell(Refused(order=order.id, code="venue", reason=" ".join(reason), fault=Fault(fault)))

    def lose(self, symbol: str) -> None:
        """lose BTC: no reply to the order comes"""
        self.on.tell(Lost(order=self.live(symbol).id, reason="connection reset"))

    def deny(self, symbol: str, seconds: str) -> None:
        """deny BTC 20: for so long the venue answers every question about the order that it does not know it"""
        order = self.live(symbol)
        until = self.on.now + round(float(seconds) * S)
        while self.on.now < until and self.on.state(order) is State.UNKNOWN:
            self.on.wait(1)
            if self.on.state(order) is State.UNKNOWN:
                self.on.tell(*self.on.deny(order))

    def stranger(self, verb: str, size: str, symbol: str) -> None:
        """stranger buys 0.1 BTC: somebody trades by hand on the same account"""
        on, index = self.on, self.index(symbol)
        lots = on.lots_of(f"{symbol}USDT", float(size)) * (1 if verb == "buys" else -1)
        held, entry = on.held.get((index, Side.NET), (0, None))
        price = on.prices[f"{symbol}USDT"]
        on.held[index, Side.NET] = (held + lots, entry or price)
        position: Position = on.position(index)
        facts: list[Fact] = [
            position,
            Filled("web_1", index, f"s{on.now}", lots, price, 0.0, "USDT", False, abs(lots), on.venue_now),
        ]
        on.tell(*facts)

    def command(self, name: str, *argument: str) -> None:
        """command kill KILL exists"""
        self.on.tell(Command(name, " ".join(argument)))

    def show(self) -> list[str]:
        """show: where the portfolio stands"""
        drift = self.on.engine.drift
        assert drift is not None
        rows = zip(self.on.symbols, drift.weights, drift.targets, drift.drifts, strict=True)
        lines = []
        for symbol, weight, target, d in rows:
            goal = "hold" if target is None else f"{target:+.3f}"
            lines.append(f"{symbol.removesuffix('USDT')} weight {weight:+.3f} target {goal} drift {d:+.1%}")
        away = safety(self.on.engine).liquidation
        near = "" if away is None or away > 0.15 else f", liquidation {away:.1%} away"
        sleeves, engine = self.on.engine.mandate.sleeves, self.on.engine
        shares = (sleeves.shares(engine.book) or []) if sleeves else []
        for name, share in zip(sleeves.names if sleeves else [], shares, strict=True):
            owned = sleeves.ledger.strategies[name].lots if sleeves else []
            held = ", ".join(
                f"{instrument.quantity(lots) * (1 if lots > 0 else -1)} {instrument.base}"
                for instrument, lots in zip(self.on.instruments, owned, strict=True)
                if lots
            )
            lines.append(f"{name} has {share:.1%} of equity and owns {held or 'nothing'}")
        return [*lines, f"leverage {drift.leverage:.2f}x{near}, {self.on.engine.posture}"]

    # Small things

    def index(self, symbol: str) -> int:
        return self.on.symbols.index(f"{symbol}USDT")

    def live(self, symbol: str) -> Order:
        (order,) = self.on.engine.blotter.live(self.index(symbol))
        return order

    def decided(self) -> list[str]:
        """What was decided since the last time, in words."""
        if self.stage is None:
            return []
        news = self.stage.decisions[self.told :]
        self.told = len(self.stage.decisions)
        return [line for decision in news for line in words(decision)]

    def run(self, line: str) -> list[str]:
        name, *rest = line.split()
        act: Callable[..., list[str] | None] = getattr(self, name)
        return act(*rest) or []


def pairs_of(items: Sequence[str]) -> list[tuple[str, str]]:
    """Names with their values; what is in capitals is a coin, and stands for its contract."""
    pairs = zip(items[::2], items[1::2], strict=True)
    return [(f"{name}USDT" if name.isupper() else name, value) for name, value in pairs]


def part(per_cent: str) -> float:
    return round(float(per_cent) / 100, 6)


def words(decision: Decision) -> list[str]:
    at = f"{(decision.at - START) / S:7.2f}s"
    lines = [f"{at}  {note.kind:<10} {f'{note.symbol}: ' if note.symbol else ''}{note.text}" for note in decision.notes]
    for request in decision.requests:
        match request:
            case Ask(what=What.ORDER, order=order):
                lines.append(f"{at}  ask        what became of order {order}?")
            case SetLeverage(instrument=index, leverage=leverage):
                lines.append(f"{at}  setting    instrument {index} to {leverage}x")
            case Cancel(order=order):
                lines.append(f"{at}  cancel     order {order}")
            case _:
                pass
    return lines


def play(text: str) -> str:
    """The transcript with what is decided now."""
    scene, blocks = Scene(), []
    for block in text.strip().split("\n\n"):
        asked = block.split(f"\n{DASHES}")[0].splitlines()
        shown: list[str] = []
        for line in asked:
            if not line.startswith("#"):
                shown += scene.run(line)
        answer = [*scene.decided(), *shown]
        commands = [line for line in asked if not line.startswith("#")]
        blocks.append("\n".join([*asked, *([DASHES, *answer] if commands else [])]))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_the_engine_decides_as_the_transcript_says(path: Path, request: pytest.FixtureRequest) -> None:
    written = path.read_text()
    now = play(written)
    if request.config.getoption("--rewrite"):
        path.write_text(now)
        return
    assert now.splitlines() == written.splitlines(), "understand the cause, then run pytest --rewrite"


def test_a_transcript_that_is_played_twice_says_the_same() -> None:
    text = (HERE / "mission.txt").read_text()
    assert play(text) == play(play(text))


def test_every_line_above_the_dashes_is_a_command() -> None:
    with pytest.raises(AttributeError):
        play("dance BTC\n----\n")
