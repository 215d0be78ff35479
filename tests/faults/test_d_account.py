"""The account and the people on it: what the venue does by force, what others trade, what is set up otherwise.

The real dialect and desk against the local exchange in virtual time; the exchange does what its fault plan says.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator import DEMO_KEY, Account, StillMarket
from adapters.simulator.faults import Faults, FrameFault, Incident, RequestFault
from agent.core.decisions import Note, Policy
from agent.core.drift import Bands
from agent.core.events import Balance
from agent.core.orders import S
from agent.core.planner import Execution
from agent.core.strangers import Sharing
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Place
from tests.core.kit import MISSION, Stage
from tests.faults.striking import Struck
from tests.storm.world import START, World

PRICES = {"BTCUSDT": "100000", "ETHUSDT": "4000"}
EVEN = {"BTCUSDT": 1.0, "ETHUSDT": 25.0}
"""On target: 100,000 of each."""


class Scene:
    """An agent on target in a market that stands still, and what happens to it."""

    def __init__(
        self,
        *events: Incident,
        positions: dict[str, float] | None = None,
        account: Account | None = None,
        **changes: Any,
    ) -> None:
        requests: tuple[RequestFault, ...] = changes.pop("requests", ())
        frames: tuple[FrameFault, ...] = changes.pop("frames", ())
        rights: bool = changes.pop("asks_rights", False)
        sharing: Sharing = changes.pop("sharing", Sharing())
        options: dict[str, Any] = {
            "mode": "live",
            "targets": Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}, leverage=2.0),
            "bands": Bands(destination="target"),
            "triggers": Triggers(confirm_s=0.5, cool_down_s=5.0),
        }
        held = account or Account(balance=100_000, positions=positions or EVEN)
        self.notes: list[Note] = []
        self.orders: list[Place] = []
        faults = Faults(events=events, requests=requests, frames=frames)
        self.world = World(
            Policy(**(options | changes)), StillMarket(PRICES), held, faults, rights=rights, sharing=sharing
        )
        self.world.decided = self._decided
        self.engine = self.world.engine

    def _decided(self, decision: Any) -> None:
        self.notes += decision.notes
        self.orders += [request for request in decision.requests if isinstance(request, Place)]

    def until(self, second: float) -> Scene:
        self.world.run(START + round(second * S))
        return self

    def struck(self, kind: str) -> int:
        return self.world.gateway.counts[f"events: {kind}"]

    def said(self, kind: str) -> list[str]:
        return [note.text for note in self.notes if note.kind == kind]

    def held(self, symbol: str) -> Decimal:
        return self.world.exchange.snapshot(DEMO_KEY).positions.get(symbol, Decimal(0))

    def increases(self) -> list[Place]:
        return [place for place in self.orders if not place.order.reduce]


# What the venue does by force


@pytest.mark.fault("D1")
def test_a_liquidation_halts_and_is_adopted(struck: Struck) -> None:
    scene = Scene(Incident("liquidate", at_s=20, symbol="ETHUSDT")).until(60)
    struck("D1", scene.struck("liquidate"))
    assert scene.engine.guards[0].halts.halted == "the venue liquidates ETHUSDT"
    assert scene.engine.book.rows[1].lots == 0
    assert scene.increases() == []
    assert any("liquidation: the venue closes ETHUSDT" in text for text in scene.said("external"))


@pytest.mark.fault("D2")
def test_auto_deleveraging_is_adopted_and_planned_from_after_the_cool_down(struck: Struck) -> None:
    scene = Scene(Incident("adl", at_s=20, symbol="ETHUSDT", quantity=Decimal(10))).until(22)
    struck("D2", scene.struck("adl"))
    assert scene.engine.guards[0].halts.halted is None
    assert any("auto-deleveraging" in text for text in scene.said("external"))
    scene.until(90)
    assert scene.increases()
    assert abs(scene.held("ETHUSDT") - 25) < 1
    assert scene.engine.guards[0].halts.others is None, "the venue is nobody who trades beside us"


@pytest.mark.fault("E2")
def test_a_settlement_is_adopted_and_said(struck: Struck) -> None:
    scene = Scene(Incident("delist", at_s=20, symbol="ETHUSDT"), Incident("settle", at_s=25, symbol="ETHUSDT")).until(
        90
    )
    struck("E2", scene.struck("settle"))
    assert scene.held("ETHUSDT") == 0
    assert scene.engine.book.rows[1].lots == 0
    assert any("the venue settles ETHUSDT" in text for text in scene.said("external"))
    assert scene.increases() == []


# People


@pytest.mark.fault("D3")
def test_one_trade_by_hand_is_adopted_and_corrected(struck: Struck) -> None:
    scene = Scene(Incident("trade", at_s=20, symbol="ETHUSDT", quantity=Decimal(12))).until(60)
    struck("D3", scene.struck("trade"))
    (told,) = scene.said("external")
    assert told.startswith("a trade that is not ours: +12000 lots at ")
    assert scene.engine.guards[0].halts.others is None
    assert scene.orders[0].order.symbol == "ETHUSDT"
    assert abs(scene.held("ETHUSDT") - 25) < 1


@pytest.mark.fault("D3")
def test_two_trades_by_hand_within_ten_minutes_pause_all_but_safety(struck: Struck) -> None:
    hand = Incident("trade", at_s=20, symbol="ETHUSDT", quantity=Decimal(6), every_s=30, times=2)
    scene = Scene(hand).until(51)
    before = len(scene.orders)
    scene.until(300)
    struck("D3", scene.struck("trade"))
    assert len(scene.orders) == before, "nobody fights"
    assert scene.engine.posture == "paused: others have traded 2 times within 10 minutes"
    assert len([text for text in scene.said("halt") if text.startswith("paused:")]) == 1
    assert len(scene.said("external")) == 2
    assert scene.said("hold")[-1].startswith("others have traded 2 times within 10 minutes: largest drift ")
    # safety is not paused
    scene.world.gateway.happen(Incident("jump", symbol="BTCUSDT", factor=Decimal("0.2")), scene.world.now)
    scene.until(330)
    assert scene.orders[before:], "liquidation is too near"
    assert all(place.order.reduce for place in scene.orders[before:])


@pytest.mark.fault("D3")
@pytest.mark.parametrize("sharing", [Sharing(foreign="adopt"), Sharing(shared=True)])
def test_where_the_file_says_so_every_trade_by_hand_is_followed_up(sharing: Sharing, struck: Struck) -> None:
    hand = Incident("trade", at_s=20, symbol="ETHUSDT", quantity=Decimal(6), every_s=30, times=3)
    scene = Scene(hand, sharing=sharing).until(180)
    struck("D3", scene.struck("trade"))
    assert scene.engine.guards[0].halts.others is None
    assert abs(scene.held("ETHUSDT") - 25) < 1


@pytest.mark.fault("D3")
def test_a_trade_by_hand_of_which_nothing_is_heard_shows_in_the_position(struck: Struck) -> None:
    scene = Scene(Incident("trade", at_s=20, symbol="ETHUSDT", quantity=Decimal(6))).until(19)
    for name in ("private",):  # the stream is open and silent
        scene.world.names = {number: one for number, one in scene.world.names.items() if one != name}
    scene.until(60)
    struck("D3", scene.struck("trade"))
    assert scene.said("external") == ["the position moved by +6.000, which no trade explains"]


@pytest.mark.fault("D10")
def test_while_an_order_of_others_rests_nothing_increases_and_it_is_left_alone(struck: Struck) -> None:
    resting = Incident("order", symbol="ETHUSDT", quantity=Decimal(1), price=Decimal(3900), client_id="other-bot-1")
    scene = Scene(resting, positions={"BTCUSDT": 1.2, "ETHUSDT": 15}).until(60)
    struck("D10", scene.struck("order"))
    assert scene.increases() == []
    assert scene.held("BTCUSDT") < Decimal("1.1"), "reductions stay possible"
    cure = "end them, or set account.shared = true to trade beside them"
    assert [text for text in scene.said("warning") if "not ours" in text] == [
        f"an order that is not ours rests on the account (other-bot-1 on ETHUSDT): nothing increases; {cure}"
    ]
    (order,) = scene.world.account.open_orders.values()
    assert order.client_id == "other-bot-1"
    scene.world.gateway.happen(Incident("cancel all", symbol="ETHUSDT"), scene.world.now)
    scene.until(240)
    assert scene.increases()
    assert "no order of others rests on the account any more" in scene.said("state")


@pytest.mark.fault("D10")
def test_on_a_shared_account_others_orders_hold_nothing_up(struck: Struck) -> None:
    resting = Incident("order", symbol="ETHUSDT", quantity=Decimal(1), price=Decimal(3900))
    scene = Scene(resting, positions={"BTCUSDT": 1.2, "ETHUSDT": 15}, sharing=Sharing(shared=True)).until(60)
    struck("D10", scene.struck("order"))
    assert scene.increases()
    assert len(scene.world.account.open_orders) == 1


# How it is set up


@pytest.mark.fault("D6")
def test_leverage_that_is_changed_outside_is_seen(struck: Struck) -> None:
    scene = Scene(Incident("leverage", at_s=20, symbol="ETHUSDT", leverage=7)).until(25)
    struck("D6", scene.struck("leverage"))
    assert scene.engine.book.rows[1].leverage == 7
    assert scene.engine.guards[0].halts.halted is None


@pytest.mark.fault("D6")
@pytest.mark.parametrize(
    ("event", "why"),
    [
        (Incident("position mode", at_s=20, mode="hedge"), "position mode was changed to hedge while this was running"),
        (
            Incident("margin mode", at_s=20, symbol="ETHUSDT", mode="isolated"),
            "the margin of ETHUSDT was set to isolated while this was running",
        ),
    ],
)
def test_modes_that_are_changed_outside_halt_with_the_cure(event: Incident, why: str, struck: Struck) -> None:
    targets = Targets(weights={"BTCUSDT": 0.5, "ETHUSDT": 0.5}, leverage=0.0005)  # too little for any order
    scene = Scene(event, account=Account(balance=1_000), targets=targets).until(400)
    struck("D6", scene.struck(event.do))
    assert scene.engine.guards[0].halts.halted is not None
    assert scene.engine.guards[0].halts.halted.startswith(why)
    assert scene.engine.guards[0].halts.halted.endswith("change it back; a restart takes it as it is")
    assert scene.orders == []


@pytest.mark.fault("D8")
@pytest.mark.parametrize("mode", ["all", "inactive", "reduce only"])
def test_a_frozen_account_halts(mode: str, struck: Struck) -> None:
    frozen = Incident("freeze account", at_s=10.1, mode=mode)
    scene = Scene(frozen, Incident("trade", at_s=10, symbol="ETHUSDT", quantity=Decimal(-12))).until(60)
    struck("D8", scene.struck("freeze account"))
    assert scene.engine.guards[0].halts.halted is not None
    assert len(scene.increases()) <= 3
    assert scene.said("halt")


@pytest.mark.fault("D7")
def test_equity_is_what_the_venue_says_its_collateral_is_worth(struck: Struck) -> None:
    account = Account(balance=100_000, positions=EVEN, collateral={"BTC": 50_000})
    scene = Scene(Incident("haircut", at_s=20, asset="BTC", rate=Decimal("0.5")), account=account).until(19)
    assert scene.engine.book.equity == pytest.approx(150_000, rel=0.001)
    scene.until(60)
    struck("D7", scene.struck("haircut"))
    margin = scene.engine.book.accounts[0].margin
    assert margin is not None
    assert scene.engine.book.equity == pytest.approx(margin.equity)
    assert margin.equity == pytest.approx(125_000, rel=0.001)
    assert scene.engine.drift is not None
    assert scene.engine.drift.leverage == pytest.approx(2.0, rel=0.05)


# Little or nothing is left


@pytest.mark.fault("D9")
@pytest.mark.parametrize("wallet", [-500.0, 0.0, 1e-9, 30.0])
def test_with_next_to_no_equity_it_only_reduces(wallet: float, struck: Struck) -> None:
    on = Stage(Policy(mode="live", targets=Targets({"BTCUSDT": 1.0}, 3.0)), {"BTCUSDT": MISSION["BTCUSDT"]}).ready()
    on.wallet = wallet
    on.hush()
    placed = on.tell(Balance(asset="USDT", wallet=wallet, at=on.venue_now)) + on.wait(5)
    struck("D9")
    assert placed
    assert all(order.reduce and order.lots < 0 for order in placed)


@pytest.mark.fault("D4", "D5")
def test_money_that_comes_or_goes_in_the_middle_is_planned_from_once(struck: Struck) -> None:
    scene = Scene(
        Incident("transfer", at_s=12.2, amount=Decimal(20_000)),
        Incident("funding", at_s=12.4, symbol="BTCUSDT", rate=Decimal("0.0001")),
        Incident("trade", at_s=10, symbol="ETHUSDT", quantity=Decimal(-12)),
        execution=Execution(style="maker", patience_s=2.0),
    ).until(120)
    struck("D4", scene.struck("transfer"))
    struck("D5", scene.struck("funding"))
    signs = {place.order.symbol: set() for place in scene.orders}  # type: dict[str, set[bool]]
    for place in scene.orders:
        signs[place.order.symbol].add(place.order.lots > 0)
    assert all(len(found) == 1 for found in signs.values()), "no flip-flop"
    drift = scene.engine.drift
    assert drift is not None
    assert drift.reach < 1
