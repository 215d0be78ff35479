"""Rules whose instruments lie on two accounts."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from adapters.simulator import Account
from agent.core.decisions import Policy
from agent.core.drift import Bands
from agent.core.planner import Limits
from agent.core.targets import Targets
from agent.core.triggers import Triggers
from tests.accounts.places import Places

PRICES: dict[str, Decimal | str | int] = {"BTCUSDT": 60_000, "ETHUSDT": 2_000}
HEDGE = Policy(
    mode="live",
    targets=Targets(weights={"binance:BTCUSDT": 0.5, "bybit:BTCUSDT": -0.5}, leverage=2.0),
    bands=Bands(destination="target"),
    triggers=Triggers(confirm_s=0.5, cool_down_s=5.0),
    limits=Limits(leverage=4.0),
)


def hedged(long: str, short: str, balances: tuple[int, int] = (50_000, 50_000)) -> Places:
    """Long at one venue and short at the other."""
    accounts = {
        "binance": Account(balance=balances[0], positions={"BTCUSDT": long}),
        "bybit": Account(balance=balances[1], positions={"BTCUSDT": short}),
    }
    return Places(HEDGE, accounts, PRICES)


def values(on: Places) -> list[float]:
    """What is held at each venue, at its own price."""
    found = []
    for site in on.sites.values():
        held, books = site.exchange.snapshot(site.account).positions, site.exchange.books
        found.append(float(sum(size * books[symbol].mark for symbol, size in held.items())))
    return found


def test_the_legs_of_a_hedge_are_opened_on_both_accounts_or_on_none() -> None:
    on = hedged("0", "0")
    on.engine.guards[1].halts.halt("a test")
    on.run(90)
    assert values(on) == [0, 0], "none is to stand alone"
    on.tell("resume")
    on.run(60)
    assert values(on) == pytest.approx([100_000, -100_000], rel=0.01)


def test_a_leg_that_was_relieved_on_its_account_takes_the_other_one_with_it() -> None:
    on = hedged("1.667", "-1.667", (83_000, 17_000)).run(10)
    assert on.engine.state == "holding"
    on.move("bybit", "BTCUSDT", 1.07)
    on.run(2)
    assert on.said("trigger")[0].startswith("correcting: bybit:liquidation is ")
    on.engine.guards[1].halts.halt("a test, so that it is not sold again")
    on.run(30)
    long, short = values(on)
    assert long == pytest.approx(-short, rel=0.01)
    assert long < 80_000


def test_shares_of_margin_follow_the_leverage_settings_of_both_accounts() -> None:
    """30 % of all equity is initial margin, half of it on each account."""
    targets = Targets(weights={"binance:BTCUSDT": 0.5, "bybit:ETHUSDT": 0.5}, basis="margin", utilisation=0.3)
    accounts = {"binance": Account(balance=50_000, leverage=10), "bybit": Account(balance=50_000, leverage=4)}
    on = Places(replace(HEDGE, targets=targets), accounts, PRICES).run(60)
    assert values(on) == pytest.approx([10 * 15_000, 4 * 15_000], rel=0.01)
