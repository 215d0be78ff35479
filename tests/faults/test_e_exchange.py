"""The exchange and its instruments: maintenance, delistings, other grids and brackets, bands, empty books.

The real dialect and desk against the local exchange in virtual time; the exchange does what its fault plan says.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.simulator.faults import FrameFault, Incident, RequestFault
from agent.core.decisions import Policy
from agent.core.events import Listed, Quote, Reserve, Side
from agent.core.orders import State
from agent.core.planner import Execution, Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.venue import Ask, What
from tests.core.kit import Stage
from tests.faults.striking import Struck
from tests.faults.test_d_account import Scene

POLICY = Policy(mode="live", targets=Targets({"BTCUSDT": 1.0}, 3.0), triggers=Triggers(confirm_s=0.5, cool_down_s=5.0))


def by_hand(at_s: float, quantity: int = -12) -> Incident:
    """Somebody trades ETH away, which the agent wants back."""
    return Incident("trade", at_s=at_s, symbol="ETHUSDT", quantity=Decimal(quantity))


@pytest.mark.fault("E1")
@pytest.mark.parametrize("streams", [True, False], ids=["streams go on", "streams end"])
def test_maintenance_pauses_and_all_is_asked_anew_before_it_goes_on(streams: bool, struck: Struck) -> None:
    window = RequestFault("unavailable", on="*", from_s=20, until_s=80)
    scene = Scene(by_hand(30), requests=(window,)).until(25)
    if not streams:
        scene.world.venue.disconnect_all()
    scene.until(79)
    struck("E1", scene.world.gateway.counts["requests: unavailable"])
    assert scene.engine.state == "waiting for answers of the venue"
    assert scene.increases() == []
    asked: list[str] = []
    scene.world.decided = lambda decision: asked.extend(type(one).__name__ for one in decision.requests)
    scene.until(160)
    assert abs(scene.held("ETHUSDT") - 25) < 1
    assert "Ask" in asked[: asked.index("Place")]
    for what in (What.MODE, What.ACCOUNT, What.POSITIONS, What.ORDERS, What.OWNER):
        assert what not in scene.engine.guards[0].audit.missing()


@pytest.mark.fault("E2")
@pytest.mark.parametrize("kind", ["halt", "delist"])
def test_what_takes_no_orders_keeps_its_weight_and_that_is_said_once(kind: str, struck: Struck) -> None:
    scene = Scene(Incident(kind, at_s=20, symbol="ETHUSDT"), by_hand(19.9)).until(300)
    struck("E2", scene.struck(kind))
    assert scene.increases() == []
    told = [note for note in scene.notes if "takes no orders: what is held" in note.text]
    assert [note.symbol for note in told] == ["ETHUSDT"]
    before = scene.held("BTCUSDT")
    scene.world.gateway.happen(Incident("resume", symbol="ETHUSDT"), scene.world.now)
    scene.until(600)
    assert abs(scene.held("ETHUSDT") - 25) < 1
    assert abs(scene.held("BTCUSDT") - before) < Decimal("0.1")


@pytest.mark.fault("E3")
def test_orders_obey_a_grid_that_has_changed(struck: Struck) -> None:
    finer = Incident("filters", at_s=20, symbol="ETHUSDT", step=Decimal("0.01"), tick=Decimal("0.5"))
    scene = Scene(finer, by_hand(25)).until(240)
    struck("E3", scene.struck("filters"))
    assert abs(scene.held("ETHUSDT") - 25) < 1
    row = scene.engine.book.rows[1]
    assert row.instrument is not None
    assert row.instrument.step == Decimal("0.01")
    assert row.instrument.quantity(row.lots) == scene.held("ETHUSDT")
    assert scene.engine.guards[0].halts.blocked == {}


@pytest.mark.fault("E3")
def test_what_is_held_is_counted_anew_on_another_step_and_told_once_more_before_it_trades(struck: Struck) -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.5}).ready()
    coarse = replace(on.instruments[0], step=Decimal("0.01"))
    on.mute = {What.POSITIONS}
    on.tell(Listed((coarse,)))
    struck("E3")
    assert on.engine.book.rows[0].lots == 50
    assert on.engine.book.disputed
    assert on.wait(5) == []
    on.instruments[0], on.mute = coarse, set()
    on.held[0, Side.NET] = (50, on.prices["BTCUSDT"])
    on.tell(on.positions())
    assert not on.engine.book.disputed
    assert not on.said("external")


@pytest.mark.fault("E4")
def test_lower_brackets_cap_what_is_bought(struck: Struck) -> None:
    lower = Incident("brackets", at_s=5, symbol="ETHUSDT", factor=Decimal("0.01"))
    scene = Scene(lower, Incident("leverage", at_s=1, symbol="ETHUSDT", leverage=75), by_hand(8)).until(120)
    struck("E4", scene.struck("brackets"))
    assert [note.text for note in scene.notes if "lowered" in note.text] == [
        "the venue has lowered its margin tiers: at the leverage setting of 75x no more than 30,000 may be held, "
        "and it was 3,000,000"
    ]
    assert scene.increases() == []
    assert scene.engine.guards[0].halts.halted is None


@pytest.mark.fault("E5")
def test_a_redenominated_contract_is_not_traded_until_a_person_has_seen_to_it(struck: Struck) -> None:
    scene = Scene(Incident("redenominate", at_s=20, symbol="ETHUSDT", factor=Decimal(1000))).until(120)
    struck("E5", scene.struck("redenominate"))
    assert list(scene.engine.guards[0].halts.blocked) == [1]
    assert [place for place in scene.orders if place.order.symbol == "ETHUSDT"] == []
    assert any("which no trade explains" in text for text in scene.said("external"))
    assert scene.said("trigger") == [], "the new price with the old position is no danger"


@pytest.mark.fault("E5")
@pytest.mark.parametrize("change", [{"base": "1000BTC"}, {"multiplier": Decimal(10)}, {"step": Decimal("0.003")}])
def test_a_contract_that_has_become_another_is_not_traded(change: dict[str, Any], struck: Struck) -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.1}).ready()
    on.instruments[0] = replace(on.instruments[0], **change)
    on.tell(Listed(tuple(on.instruments)))
    struck("E5")
    assert list(on.engine.guards[0].halts.blocked) == [0]
    assert on.wait(30) == []
    (said,) = on.said("halt")
    assert said.startswith("nothing is traded here any more: the contract has changed")
    assert said.endswith("see that its target still means what it should, then resume or restart")


@pytest.mark.fault("E5")
@pytest.mark.parametrize(("stated", "reduced"), [(250.0, True), (25.0, False), (None, False)])
def test_another_contract_is_reduced_for_safety_once_the_venue_reckons_with_the_same_value(
    stated: float | None, reduced: bool, struck: Struck
) -> None:
    on = Stage(POLICY, {"BTCUSDT": 0.1}).ready()
    on.instruments[0] = replace(on.instruments[0], multiplier=Decimal(10))
    on.reserves = None if stated is None else (Reserve(0, Side.NET, stated),)
    on.tell(*on.answer(Ask(What.ACCOUNT)))
    placed = on.tell(Listed(tuple(on.instruments))) + on.wait(15)
    struck("E5")
    assert list(on.engine.guards[0].halts.blocked) == [0]
    assert "leverage 6.00x is over the limit" in on.said("trigger")[-1]
    assert [order.reduce for order in placed] == [True] * reduced


def test_a_contract_of_which_nothing_is_held_may_become_another() -> None:
    on = Stage(replace(POLICY, targets=Targets({"BTCUSDT": 0.5, "ETHUSDT": 0.5}, 3.0)), {"BTCUSDT": 0.0}).ready()
    on.instruments[0] = replace(on.instruments[0], base="1000BTC")
    on.tell(Listed(tuple(on.instruments)))
    assert on.engine.guards[0].halts.blocked == {}


@pytest.mark.fault("E6")
@pytest.mark.parametrize(
    ("kind", "on"),
    [
        (kind, on)
        for kind in ("new field", "new value", "lost field", "unknown")
        for on in ("order", "account", "mark")
        if (kind, on) != ("new value", "mark")  # a price has no words
    ],
)
def test_what_nobody_knew_does_no_harm_to_what_is_known(kind: str, on: str, struck: Struck) -> None:
    strange = FrameFault(kind, on=on, from_s=5, until_s=60, chance=0.5 if on == "mark" else 1.0)
    scene = Scene(by_hand(20), frames=(strange,)).until(59)
    struck("E6", scene.world.gateway.counts[f"frames: {kind}"])
    scene.until(180)
    assert abs(scene.held("ETHUSDT") - 25) < 1
    row = scene.engine.book.rows[1]
    assert row.instrument is not None
    assert row.instrument.quantity(row.lots) == scene.held("ETHUSDT")
    assert scene.engine.guards[0].halts.halted is None


@pytest.mark.fault("E7")
def test_the_price_of_a_taking_order_is_kept_inside_the_venues_band(struck: Struck) -> None:
    narrow = Incident("price band", at_s=5, symbol="ETHUSDT", rate=Decimal("0.002"))
    scene = Scene(narrow, by_hand(10), execution=Execution(slippage=0.05)).until(60)
    struck("E7", scene.struck("price band"))
    assert abs(scene.held("ETHUSDT") - 25) < 1
    assert scene.engine.tally.refused <= 1, "the first refusal, if any, has the new band read"


@pytest.mark.fault("E8")
def test_an_empty_book_is_waited_out(struck: Struck) -> None:
    scene = Scene(Incident("empty book", at_s=5, symbol="ETHUSDT"), by_hand(6)).until(120)
    struck("E8", scene.struck("empty book"))
    assert scene.world.account.open_orders == {}
    assert len(scene.orders) < 30


@pytest.mark.fault("E8")
def test_nothing_but_safety_pays_a_wide_spread(struck: Struck) -> None:
    wide = Incident("wide spread", at_s=0.3, symbol="ETHUSDT", rate=Decimal("0.03"), for_s=60)
    scene = Scene(wide, positions={"BTCUSDT": 1.0}).until(59)  # what is not held at all is opened whatever it costs
    struck("E8", scene.struck("wide spread"))
    assert scene.held("ETHUSDT") == 0
    assert any(text.startswith("narrow spread: the spread is ") for text in scene.said("refusal"))
    scene.until(200)
    assert abs(scene.held("ETHUSDT") - 25) < 1


@pytest.mark.fault("E8")
def test_safety_pays_what_it_must(struck: Struck) -> None:
    on = Stage(POLICY, {"BTCUSDT": 1.0}).ready()
    price = on.prices["BTCUSDT"]
    on.quotes = False
    on.tell(Quote(0, price * 0.97, 1e6, price * 1.03, 1e6, on.venue_now))
    struck("E8")
    assert all(order.reduce for order in on.wait(10))
    assert [order for order in on.engine.blotter.orders.values() if order.state is not State.DONE]


def test_limits_say_how_wide_a_spread_may_be() -> None:
    assert Limits().spread == 0.01
