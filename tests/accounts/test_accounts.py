"""A portfolio over two venues: weights and leverage of the whole, margin, outages and halts of each."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from adapters.simulator import Account
from agent.core.decisions import Policy
from agent.core.drift import Bands
from agent.core.events import Listed, Owner
from agent.core.planner import Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from agent.core.view import look
from tests.accounts.places import Places

PRICES: dict[str, Decimal | str | int] = {"BTCUSDT": 60_000, "ETHUSDT": 2_000}
POLICY = Policy(
    mode="live",
    targets=Targets(weights={"binance:BTCUSDT": 0.5, "bybit:ETHUSDT": 0.5}, leverage=2.0),
    bands=Bands(destination="target"),
    triggers=Triggers(confirm_s=0.5, cool_down_s=5.0),
    limits=Limits(leverage=4.0),
)


def both(
    btc: str,
    eth: str,
    *,
    balances: tuple[int, int] = (50_000, 50_000),
    leverage: dict[str, float] | None = None,
) -> Places:
    accounts = {
        "binance": Account(balance=balances[0], positions={"BTCUSDT": btc}),
        "bybit": Account(balance=balances[1], positions={"ETHUSDT": eth}),
    }
    return Places(POLICY, accounts, PRICES, leverage)


def held(on: Places) -> tuple[float, float]:
    pairs = (("binance", "BTCUSDT"), ("bybit", "ETHUSDT"))
    sizes = [
        on.sites[name].exchange.snapshot(on.sites[name].account).positions.get(symbol, 0) for name, symbol in pairs
    ]
    return float(sizes[0]), float(sizes[1])


def test_weights_are_of_the_equity_of_both_and_legs_of_one_plan_go_to_both() -> None:
    on = both("2.2", "35").run(30)
    assert on.engine.drift is not None
    assert on.engine.drift.equity == pytest.approx(100_000, rel=0.01)
    btc, eth = held(on)
    assert btc * 60_000 == pytest.approx(100_000, rel=0.01)
    assert eth * 2_000 == pytest.approx(100_000, rel=0.01)
    plans = on.said("plan")
    assert len(plans) == 1, plans
    assert [order.symbol for order in on.orders] == ["binance:BTCUSDT", "bybit:ETHUSDT"], "reductions first"
    assert len({order.id[:4] for order in on.orders}) == 2, "each account marks its own orders"


def test_an_outage_of_one_venue_freezes_what_is_there_and_nothing_else() -> None:
    on = both("1.667", "50").run(20)
    assert not on.orders
    on.leave("bybit")
    on.run(60)
    assert on.engine.guards[1].readiness.away
    assert on.engine.posture == "holding"
    on.move("binance", "BTCUSDT", 0.7)
    on.run(60)
    equity = 100_000 - 0.3 * 1.667 * 60_000
    btc, eth = held(on)
    assert btc * 0.7 * 60_000 == pytest.approx(equity, rel=0.02), "in proportion to what both are worth"
    assert eth == 50, "the other one's target is left alone"
    assert not on.sent("bybit")
    on.come_back("bybit")
    on.run(90)
    assert on.engine.guards[1].readiness.away is None
    assert held(on)[1] * 2_000 == pytest.approx(equity, rel=0.02)


def test_a_venue_that_never_answered_is_waited_for_because_what_both_are_worth_is_not_known() -> None:
    on = both("2.2", "35")
    on.leave("bybit")
    on.run(60)
    assert on.engine.state == "waiting for bybit:answers of the venue"
    assert not on.orders
    on.come_back("bybit")
    on.run(60)
    assert len(on.orders) == 2


def test_an_order_of_unknown_fate_on_one_venue_holds_up_no_increase_on_the_other() -> None:
    on = both("1.2", "65").run(1.2)
    on.away_on_orders("bybit")
    on.run(6)
    assert [order.symbol for order in on.engine.blotter.live()] == ["bybit:ETHUSDT"]
    btc, eth = held(on)
    assert btc * 60_000 == pytest.approx(100_000, rel=0.02)
    assert eth == 65


def test_danger_on_one_account_is_relieved_there_though_both_together_are_far_from_it() -> None:
    on = both("1.667", "50", balances=(17_000, 83_000)).run(10)
    assert on.engine.state == "holding"
    assert not on.orders
    on.move("binance", "BTCUSDT", 0.93)
    on.run(2)
    (relief,) = on.said("trigger")
    assert relief.startswith("correcting: binance:liquidation is "), relief
    assert {order.symbol for order in on.orders} == {"binance:BTCUSDT"}
    assert all(order.reduce for order in on.orders)


def test_what_halts_one_account_lets_the_other_go_on_and_a_pause_stops_both() -> None:
    on = both("2.2", "35")
    on.engine.guards[0].halts.halt("a test")
    on.run(30)
    assert on.engine.posture == "holding, binance:halted: a test"
    btc, eth = held(on)
    assert btc * 60_000 == pytest.approx(100_000, rel=0.02), "a reduction may pass"
    assert eth * 2_000 == pytest.approx(100_000, rel=0.02)
    on.move("binance", "BTCUSDT", 0.6)
    before = len(on.sent("binance"))
    on.run(60)
    assert [order.reduce for order in on.sent("binance")[before:]] == [True] * len(on.sent("binance")[before:])
    on.tell("pause")
    on.move("bybit", "ETHUSDT", 0.7)
    sent = len(on.orders)
    on.run(60)
    assert len(on.orders) == sent
    assert on.engine.idle == "paused"


def test_margin_of_one_account_bars_its_own_increases_alone() -> None:
    on = both("0.2", "20", balances=(2_000, 98_000)).run(60)
    btc, eth = held(on)
    assert eth * 2_000 == pytest.approx(100_000, rel=0.02)
    assert btc * 60_000 < 2_000 * 9, "the floor of the liquidation distance is the account's own"
    assert on.engine.guards[0].account.equity == pytest.approx(2_000, rel=0.05)


def test_an_account_may_have_a_limit_of_leverage_of_its_own() -> None:
    on = both("0.2", "20", leverage={"binance": 1.5}).run(60)
    btc, eth = held(on)
    assert btc * 60_000 <= 1.5 * 50_000
    assert btc * 60_000 == pytest.approx(1.5 * 50_000, rel=0.02), "as far as its limit goes"
    assert eth * 2_000 == pytest.approx(100_000, rel=0.02)


def test_each_account_is_seen_with_figures_of_its_own() -> None:
    on = both("1.667", "50", balances=(40_000, 60_000)).run(20)
    first, second = look(on.engine, on.now).accounts
    assert (first.name, first.state, second.name, second.state) == ("binance", "ready", "bybit", "ready")
    assert first.equity == pytest.approx(40_000, rel=0.01)
    assert first.leverage == pytest.approx(2.5, rel=0.01)
    assert second.leverage == pytest.approx(100 / 60, rel=0.01)
    assert (first.liquidation or 0) < (second.liquidation or 0)
    on.leave("bybit")
    on.run(60)
    assert look(on.engine, on.now).accounts[1].state.startswith("waiting for ")


def test_what_the_account_lists_is_numbered_as_the_portfolio_counts() -> None:
    """Of an account that is not the first one: its own instruments, not those of others."""
    accounts = {
        "bybit": Account(balance=50_000, positions={"ETHUSDT": "35"}),
        "binance": Account(balance=50_000, positions={"BTCUSDT": "2.2"}),
    }
    turned = replace(POLICY, targets=Targets(weights={"bybit:ETHUSDT": 0.5, "binance:BTCUSDT": 0.5}, leverage=2.0))
    on = Places(turned, accounts, PRICES).run(40)
    second = on.engine.book.accounts[1]
    assert second.margin is not None
    assert [one.instrument for one in second.margin.reserves or ()] == [1]
    assert second.left_out == ()
    assert second.borne_out(1)
    btc, eth = held(on)
    assert btc * 60_000 == pytest.approx(100_000, rel=0.02)
    assert eth * 2_000 == pytest.approx(100_000, rel=0.02)


def test_one_account_under_two_names_is_refused() -> None:
    on = both("1.667", "50").run(10)
    on.engine.guards[1].pool = on.engine.guards[0].pool
    owner = on.engine.guards[0].terms.owner
    assert owner is not None
    on.engine.step([Owner(owner, account=1)], on.now)
    assert on.engine.guards[1].terms.unfit == f"it is the account that binance is, {owner}: keep it under one name"


def test_one_account_alone_may_have_a_name_as_well() -> None:
    alone = replace(POLICY, targets=Targets(weights={"bybit:ETHUSDT": 1.0}, leverage=1.0))
    on = Places(alone, {"bybit": Account(balance=50_000, positions={"ETHUSDT": "35"})}, PRICES).run(40)
    (size,) = on.sites["bybit"].exchange.snapshot(on.sites["bybit"].account).positions.values()
    assert float(size) * 2_000 == pytest.approx(50_000, rel=0.02)
    assert {order.symbol for order in on.orders} == {"bybit:ETHUSDT"}


def test_where_all_accounts_are_left_alone_nothing_but_safety_begins() -> None:
    on = both("1.667", "50").run(20)
    on.engine.guards[0].halts.stand_back("others trade there")
    on.leave("bybit")
    on.run(60)
    assert on.engine.guards[1].readiness.away
    on.move("binance", "BTCUSDT", 0.7)
    on.run(60)
    assert not on.orders
    assert on.engine.aside(on.now) == "others trade there"
    on.tell("rebalance")
    on.run(5)
    assert not on.orders
    assert on.said("warning")[-1] == "nothing is corrected now: others trade there"


def test_a_listing_of_one_account_says_nothing_of_what_the_others_trade() -> None:
    on = both("1.667", "50").run(20)
    instrument = on.engine.book.rows[0].instrument
    assert instrument is not None
    on.notes.clear()
    decision = on.engine.step([Listed((instrument,), account=0)], on.now)
    assert not [note for note in decision.notes if note.kind in ("warning", "halt")]
    other = on.engine.book.rows[1].instrument
    assert other is not None
    assert other.trading
