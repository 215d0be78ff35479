"""What must not trade to and fro: rules that contradict each other, targets that flicker, what can't be had.

In each case a venue that obeys at once, and a count of what was sent.
"""

from __future__ import annotations

import random
from typing import Literal

import msgspec
import pytest
from msgspec.structs import replace

from agent.core.carry import CarryRules
from agent.core.decisions import Memory, Policy
from agent.core.drift import Bands
from agent.core.events import Command, Fact, Flow, Funding, Leverage, Side, Up
from agent.core.orders import MS, Order, S
from agent.core.pairs import Pair
from agent.core.planner import Execution, Limits
from agent.core.targets import Given, Strategy, Targets
from agent.core.venue import Ask, SetLeverage, What
from tests.core.kit import GRIDS, MISSION, START, Stage

SHARES: dict[str, float | Literal["hold"]] = {"BTCUSDT": 0.65, "ETHUSDT": 0.2, "SOLUSDT": 0.15}
HOUR = 3600 * S


def held(stage: Stage, index: int) -> int:
    return stage.held[index, Side.NET][0]


def feed(stage: Stage, targets: Targets) -> list[Order]:
    given = Given(targets=targets, issued_at=stage.now, valid_until=stage.now + 10**15, source="http")
    return stage.tell(Command("targets", msgspec.json.encode(given).decode()))


def causes(stage: Stage) -> list[str]:
    return [note.text for note in stage.notes if note.kind == "trigger"]


def test_a_pair_rule_does_not_buy_back_what_is_not_wanted_any_more() -> None:
    pair = Pair("BTCUSDT", "ETHUSDT", 0.7647, 0.05)
    policy = Policy(mode="live", targets=Targets(weights=SHARES, leverage=3.0), pairs=(pair,))
    stage = Stage(policy, MISSION).ready()
    stage.carry_out(70)
    feed(stage, Targets(weights={"BTCUSDT": 0.85, "SOLUSDT": 0.15}, leverage=3.0))
    sent = stage.carry_out(1200)
    assert held(stage, 1) == 0
    assert len(sent) == 2, "sold once, and what it freed went to the other"
    assert all("margin" not in cause for cause in causes(stage))


def test_a_pair_rule_opens_what_is_wanted_short_on_that_side() -> None:
    targets = Targets(weights={"BTCUSDT": 0.80, "ETHUSDT": -0.05, "SOLUSDT": 0.15}, leverage=3.0)
    policy = Policy(mode="live", targets=targets, pairs=(Pair("BTCUSDT", "ETHUSDT", 0.94, 0.05),))
    stage = Stage(policy, {"BTCUSDT": 0.4, "SOLUSDT": 30.0}).ready()
    sent = stage.carry_out(600)
    assert [order.lots < 0 for order in sent] == [True, True]
    assert held(stage, 1) < 0


@pytest.mark.parametrize("mode", ["constant", "cap"])
def test_what_funding_trims_is_trimmed_once_whatever_becomes_of_leverage(mode: Literal["constant", "cap"]) -> None:
    """The trim lowers leverage; a target that follows leverage must not be trimmed again for that."""
    policy = Policy(mode="live", targets=Targets(weights=SHARES, leverage=3.0, leverage_mode=mode))
    stage = Stage(policy, MISSION).ready()
    at = START + 8 * HOUR

    def rates() -> list[Fact]:
        return [Funding(i, 0.004, at, stage.now) for i in range(3)]

    stage.tell(*rates())
    stage.carry_out(70)
    for _ in range(6):
        stage.leap(at - stage.now - 2 * S)
        stage.tell(*rates())
        stage.carry_out(1.5)
        at += 8 * HOUR
        stage.leap(3 * S)
        stage.tell(*rates())
        stage.carry_out(200)
    assert stage.engine.drift is not None
    assert stage.engine.drift.leverage == pytest.approx(2.4, abs=0.01), "1 / (1 + 25 %) of three times"
    assert len(causes(stage)) == 3


def hedge(destination: Literal["optimal", "target"], weights: dict[str, float | Literal["hold"]]) -> Stage:
    """A hedge of which the second leg can't be traded."""
    policy = Policy(
        mode="live",
        targets=Targets(weights=weights, leverage=2.0),
        bands=Bands(destination=destination),
        funding=CarryRules(hedges=(("BTCUSDT", "ETHUSDT"),)),
    )
    every = 300 * S
    positions = {"SOLUSDT": 117.0} if "SOLUSDT" in weights else {}
    stage = Stage(policy, positions, schedule=lambda now: (now // every + 1) * every)
    stage.instruments[1] = replace(stage.instruments[1], trading=False)
    return stage.ready()


def test_no_leg_of_a_hedge_is_opened_while_another_one_cannot_be() -> None:
    stage = hedge("optimal", {"BTCUSDT": 0.5, "ETHUSDT": -0.5})
    assert stage.carry_out(900) == []
    small = hedge("target", {"BTCUSDT": 0.06, "ETHUSDT": -0.06, "SOLUSDT": 0.88})
    assert {order.symbol for order in small.carry_out(1800)} <= {"SOLUSDT"}


def test_a_leg_of_a_hedge_that_stands_alone_is_closed() -> None:
    stage = hedge("optimal", {"BTCUSDT": 0.5, "ETHUSDT": -0.5})
    stage.held[0, Side.NET] = (stage.lots_of("BTCUSDT", 0.16), stage.prices["BTCUSDT"])
    stage.tell(stage.position(0))
    stage.carry_out(300)
    assert held(stage, 0) == 0
    assert "the legs of BTCUSDT and ETHUSDT stand at" in causes(stage)[0]


def test_going_all_the_way_does_not_run_after_every_price(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = [f"C{i:02d}USDT" for i in range(20)]
    for symbol in symbols:
        monkeypatch.setitem(GRIDS, symbol, {"tick": "0.0001", "step": "1", "min_notional": 5.0})
    policy = Policy(
        mode="live",
        targets=Targets(weights={symbol: 1 / 20 for symbol in symbols}, leverage=2.0),
        bands=Bands(destination="target", tolerance=0.01),
        limits=Limits(turnover_per_day=1000, orders_per_minute=6000),
    )
    dice = random.Random(2)
    positions = {symbol: 1e4 * dice.uniform(0.5, 1.5) for symbol in symbols}
    stage = Stage(policy, positions, equity=1e5, prices=dict.fromkeys(symbols, 1.0)).ready()
    arriving: list[tuple[int, Order]] = []
    filled = 0
    for _ in range(600):
        stage.now += 100 * MS
        for symbol in symbols:
            stage.prices[symbol] *= 1 + dice.gauss(0, 0.0001)
        placed = stage.tell(*stage.marks())
        for _, order in [due for due in arriving if due[0] <= stage.now]:
            filled += 1
            placed += stage.tell(*stage.fill(order))
        arriving = [due for due in arriving if due[0] > stage.now] + [(stage.now + 200 * MS, one) for one in placed]
    assert 20 <= filled <= 50
    assert stage.engine.correction is None


def test_a_correction_that_a_feed_outruns_is_left_off() -> None:
    back = Targets(weights=SHARES, leverage=3.0)
    there = Targets(weights={"BTCUSDT": 0.35, "ETHUSDT": 0.5, "SOLUSDT": 0.15}, leverage=3.0)
    policy = Policy(mode="live", targets=back)
    stage = Stage(policy, MISSION).ready()
    stage.carry_out(10)
    placed = feed(stage, there)
    while not placed:
        placed = stage.wait(0.5)
    sent = list(placed)
    for turn in range(30):
        sent += feed(stage, (back, there)[turn % 2])
        for order in placed:
            sent += stage.tell(*stage.fill(order))
        placed = stage.wait(2.0)
        sent += placed
    assert len(sent) <= 2
    assert "left off: what is wanted has moved by more than a band" in " ".join(n.text for n in stage.notes)


@pytest.mark.parametrize("mode", ["constant", "cap", "off"])
def test_a_correction_that_is_asked_for_too_early_sells_nothing(mode: Literal["constant", "cap", "off"]) -> None:
    targets = Targets(weights=SHARES, leverage=3.0, leverage_mode=mode)
    stage = Stage(Policy(mode="live", targets=targets), MISSION)
    stage.tell(Command("rebalance", ""))
    stage.ready()
    stage.carry_out(10)
    assert stage.engine.drift is not None
    assert stage.engine.drift.leverage == pytest.approx(3.0, abs=0.05)


def test_a_leverage_setting_does_not_change_to_and_fro_at_the_edge_of_a_tier() -> None:
    policy = Policy(
        mode="live", targets=Targets(weights={"BTCUSDT": 1.0}, leverage=2.0), execution=Execution(leverage=125)
    )
    stage = Stage(policy, {"BTCUSDT": 0.757}, equity=22_700.0)
    stage.settings = [100]
    stage.ready()
    dice, price = random.Random(1), stage.prices["BTCUSDT"]
    for _ in range(300):
        stage.prices["BTCUSDT"] = price * (1 + dice.gauss(0, 0.002))
        stage.carry_out(1)
    assert sum(isinstance(request, SetLeverage) for request in stage.requests) <= 1


def test_several_wishes_for_all_instruments_are_granted_together() -> None:
    stage = Stage(Policy(mode="live", targets=Targets(weights=SHARES, leverage=3.0)), MISSION).ready()
    stage.tell(Command("pause", ""))
    for amount in (1000.0, 1001.0, 1002.0):
        stage.wallet += amount
        stage.tell(Flow("USDT", amount, "deposit", stage.venue_now))
    for order in stage.tell(Command("resume", "")):
        stage.tell(*stage.fill(order))
    stage.carry_out(300)
    told = [note.text for note in stage.notes if note.kind in ("hold", "trigger") and "a deposit" in note.text]
    assert len(told) == 1
    assert not stage.engine.reasons.wishes


# What is not known, or not as it was


def test_shares_of_margin_wait_for_the_settings_though_a_feed_names_fewer_instruments() -> None:
    wanted = Targets(weights=SHARES, basis="margin", utilisation=0.1)
    fewer = Targets(weights={"BTCUSDT": 0.65, "SOLUSDT": 0.35}, basis="margin", utilisation=0.1)
    given = Given(targets=fewer, issued_at=START - S, valid_until=START + 10**15, source="http")

    class Forgetful(Stage):
        def answer(self, ask: Ask) -> list[Fact]:
            if ask.what is What.LEVERAGE:
                return [Leverage(instrument=i, leverage=20) for i in (0, 1)]
            return super().answer(ask)

    stage = Forgetful(Policy(mode="live", targets=wanted), MISSION, memory=Memory(symbols=(*SHARES,), given=given))
    stage.tell()
    stage.tell(*stage.marks(), Up(stream="market"), Up(stream="private"))
    assert stage.carry_out(5) == []
    assert stage.engine.state.startswith("waiting for leverage settings")


def test_a_rate_that_is_not_a_number_is_none() -> None:
    stage = Stage(Policy(mode="live", targets=Targets(weights=SHARES, leverage=3.0)), MISSION).ready()
    stage.tell(Funding(0, float("nan"), START + 100 * S, stage.now))
    assert stage.engine.book.rows[0].funding is None
    stage.tell(Funding(0, 0.0001, START + 100 * S, stage.now), Funding(0, float("inf"), START + 200 * S, stage.now))
    assert stage.engine.book.rows[0].funding == Funding(0, 0.0001, START + 100 * S, stage.now)


def test_what_changed_while_nobody_looked_is_said() -> None:
    strategies = {"a": Strategy(0.5, 2.0, {"BTCUSDT": 1.0}), "b": Strategy(0.5, 2.0, {"ETHUSDT": 1.0})}
    policy = Policy(mode="live", targets=Targets(leverage=2.0, strategies=strategies))
    first = Stage(policy, {"BTCUSDT": 0.167, "ETHUSDT": 3.333}).ready()
    first.carry_out(70)
    memory = msgspec.json.decode(msgspec.json.encode(first.engine.memory()), type=Memory)
    assert not [note for note in first.notes if note.kind == "warning"], "a first start is no surprise"
    second = Stage(policy, {"BTCUSDT": 0.09, "ETHUSDT": 3.333}, equity=7000.0, memory=memory).ready()
    second.carry_out(2)
    warnings = [note.text for note in second.notes if note.kind == "warning"]
    assert warnings[0].startswith("-77 lots that no strategy has traded")
    assert "of equity that no fill, fee or funding explains" in warnings[1]
