"""Events at the exchange: each happens, is counted, and does what it says."""

from decimal import Decimal

import msgspec
import pytest

from adapters.simulator import Account, Incident, Reply
from adapters.simulator.faults import EVENTS
from tests.simulator.kit import BUY, MS, REST, World

HELD = "0.5"


def world_with(*events: Incident, account: Account | None = None) -> World:
    """A world with half a bitcoin in it, in which the events have happened."""
    world = World(*events, account=account or Account(balance=50_000, positions={"BTCUSDT": HELD}))
    world.wait(0.1)
    return world


def told(do: str, **more: object) -> Incident:
    """An event of this kind, at once."""
    return msgspec.convert({"do": do, **more}, Incident)


def code(reply: Reply | None) -> int:
    """The error code of a reply, nought for a success."""
    assert reply is not None
    found = msgspec.json.decode(reply.body)
    return int(found.get("code", 0)) if isinstance(found, dict) and reply.status != 200 else 0


def read(world: World, path: str, query: str = "") -> object:
    """A question's answer."""
    reply = world.ask("GET", path, query)
    assert reply is not None
    assert reply.status == 200, reply.body
    return msgspec.json.decode(reply.body)


def held(world: World, symbol: str = "BTCUSDT") -> Decimal:
    return world.account.position(symbol).quantity


def test_a_person_trades() -> None:
    world = world_with(told("trade", symbol="BTCUSDT", quantity="-0.2"))
    assert held(world) == Decimal("0.3")
    assert next(iter(world.exchange.ledger.orders.values())).client_id.startswith("web_")
    assert world.counts == {"events: trade": 1}


def test_an_order_of_somebody_else_rests() -> None:
    world = world_with(told("order", symbol="BTCUSDT", quantity="-0.1", price=90_000, client_id="bot7-1"))
    (order,) = world.account.open_orders.values()
    assert (order.client_id, order.side, str(order.price)) == ("bot7-1", -1, "90000")


def test_a_person_cancels_everything() -> None:
    world = world_with(told("cancel all", at_s=1, every_s=1, times=2))
    world.ask("POST", "/fapi/v1/order", REST)
    assert world.account.open_orders
    world.wait(3)
    assert not world.account.open_orders
    assert world.counts == {"events: cancel all": 1, "events: cancel all refused": 1}


def test_money_comes_and_goes() -> None:
    world = world_with(told("transfer", amount=1_000), told("transfer", amount=-250))
    assert world.account.wallet == 50_750


def test_funding_is_settled_now() -> None:
    world = world_with(told("funding", symbol="BTCUSDT", rate="0.001"))
    assert world.account.wallet == 50_000 - 40
    assert world.exchange.ledger.of(world.account.api_key).income == {"FUNDING_FEE": -40}


def test_a_mark_jumps() -> None:
    assert world_with(told("jump", symbol="BTCUSDT", factor="1.1")).exchange.books["BTCUSDT"].mark == 88_000


def test_auto_deleveraging_takes_some_and_then_all_at_the_mark_without_a_fee() -> None:
    world = World(
        told("adl", symbol="BTCUSDT", at_s=1, quantity="0.2"),
        told("adl", symbol="BTCUSDT", at_s=2),
        told("adl", symbol="BTCUSDT", at_s=3),
        account=Account(balance=50_000, positions={"BTCUSDT": HELD}),
    )
    session = world.listen()
    world.wait(1)
    assert held(world) == Decimal("0.3")
    world.wait(2)
    assert held(world) == 0
    assert world.account.wallet == 50_000
    assert world.counts == {"events: adl": 2, "events: adl refused": 1}
    orders = [event["o"] for event in map(msgspec.json.decode, world.received(session)) if "o" in event]
    assert {(order["c"], order["x"]) for order in orders} == {("adl_autoclose", "CALCULATED")}


def test_a_liquidation_and_a_settlement_are_told_apart_by_their_ids() -> None:
    names = []
    for do in ("liquidate", "settle"):
        world = world_with(told(do, symbol="BTCUSDT"))
        assert held(world) == 0
        (order,) = world.exchange.ledger.orders.values()
        names.append(order.client_id.partition("-")[0])
    assert names == ["autoclose", "settlement_autoclose"]


def test_a_settled_symbol_is_closed_and_its_orders_have_ended() -> None:
    world = World(told("settle", symbol="BTCUSDT", at_s=1))
    world.ask("POST", "/fapi/v1/order", REST)
    world.wait(1)
    (order,) = world.exchange.ledger.orders.values()
    assert (order.status, order.expiry) == ("EXPIRED", 7)
    assert world.exchange.instruments["BTCUSDT"].status == "CLOSE"
    assert code(world.buy()) == -4140


def test_a_person_changes_settings() -> None:
    world = World(
        told("leverage", symbol="BTCUSDT", leverage=7),
        told("margin mode", symbol="BTCUSDT", mode="isolated"),
        told("position mode", mode="hedge"),
        told("position mode", mode="hedge", at_s=1),
    )
    world.wait(1)
    account = world.account
    assert (account.leverage("BTCUSDT"), account.is_isolated("BTCUSDT"), account.hedge) == (7, True, True)
    assert world.counts["events: position mode refused"] == 1


def test_a_collateral_counts_for_less() -> None:
    account = Account(balance=1_000, collateral={"BTC": 40_000})
    world = World(told("haircut", asset="BTC", rate="0.8", at_s=1), account=account)
    before = read(world, "/fapi/v3/account")
    world.wait(1)
    after = read(world, "/fapi/v3/account")
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (before["totalMarginBalance"], after["totalMarginBalance"]) == ("41000.00000000", "33000.00000000")
    assert after["availableBalance"] == "33000.00000000"
    config = read(world, "/fapi/v1/accountConfig")
    assert isinstance(config, dict)
    assert config["multiAssetsMargin"] is True


def test_a_collateral_that_is_not_there_has_no_haircut() -> None:
    assert world_with(told("haircut", asset="BTC", rate="0.8")).counts == {"events: haircut refused": 1}


@pytest.mark.parametrize(
    ("mode", "adds", "reduces"), [("all", -4088, -4088), ("reduce only", -4087, 0), ("inactive", -4109, -4109)]
)
def test_an_account_is_frozen_and_thaws(mode: str, adds: int, reduces: int) -> None:
    world = world_with(told("freeze account", mode=mode), told("thaw account", at_s=10))
    sell = BUY.replace("BUY", "SELL") + "&reduceOnly=true"
    assert (code(world.buy()), code(world.ask("POST", "/fapi/v1/order", sell))) == (adds, reduces)
    config = read(world, "/fapi/v1/accountConfig")
    assert isinstance(config, dict)
    assert config["canTrade"] is False
    world.wait(10)
    assert code(world.buy()) == 0


def test_what_is_for_a_while_is_undone() -> None:
    world = world_with(told("freeze account", for_s=5))
    assert code(world.buy()) == -4088
    world.wait(5)
    assert code(world.buy()) == 0


@pytest.mark.parametrize(("do", "status"), [("halt", "PENDING_TRADING"), ("delist", "SETTLING")])
def test_a_symbol_stops_and_resumes_and_the_stream_of_listings_says_so(do: str, status: str) -> None:
    world = World(told(do, symbol="BTCUSDT", at_s=1), told("resume", symbol="BTCUSDT", at_s=2))
    session = world.gateway.connect("/market/ws/!contractInfo", world.now)
    world.wait(1)
    assert code(world.buy()) == -4140
    world.wait(1)
    assert code(world.buy()) == 0
    found = [msgspec.json.decode(frame) for frame in world.received(session)]
    assert [(event["e"], event["s"], event["cs"]) for event in found] == [
        ("contractInfo", "BTCUSDT", status),
        ("contractInfo", "BTCUSDT", "TRADING"),
    ]


def test_filters_change() -> None:
    world = world_with(told("filters", symbol="BTCUSDT", tick="0.5", step="0.01", min_notional=1_000, for_s=60))
    assert code(world.buy()) == -1111
    assert code(world.ask("POST", "/fapi/v1/order", BUY.replace("0.001", "0.01"))) == -4164
    assert code(world.ask("POST", "/fapi/v1/order", REST.replace("79000", "79000.3").replace("0.001", "0.02"))) == -4014
    world.wait(60)
    assert code(world.buy()) == 0


def test_position_limits_are_lowered_and_the_stream_of_listings_says_so() -> None:
    world = World(told("brackets", symbol="BTCUSDT", factor="0.0001", at_s=1), account=Account(balance=100_000))
    session = world.gateway.connect("/market/ws/!contractInfo", world.now)
    order = BUY.replace("0.001", "1")
    assert code(world.ask("POST", "/fapi/v1/order", order)) == 0
    world.wait(1)
    assert code(world.ask("POST", "/fapi/v1/order", order)) == -2027
    (frame,) = world.received(session)
    assert msgspec.json.decode(frame)["bks"][0]["bnc"] == 5


def test_a_contract_is_redenominated() -> None:
    world = World(
        told("redenominate", symbol="BTCUSDT", factor=1_000, at_s=1),
        account=Account(balance=50_000, positions={"BTCUSDT": HELD}),
    )
    world.ask("POST", "/fapi/v1/order", REST)
    before = world.exchange.snapshot(world.account).equity
    world.wait(1)
    position = world.account.position("BTCUSDT")
    mark = world.exchange.books["BTCUSDT"].mark
    assert [float(value) for value in (position.quantity, position.entry, mark)] == [500, 80, 80]
    assert world.exchange.snapshot(world.account).equity == before
    assert not world.account.open_orders
    assert code(world.ask("POST", "/fapi/v1/order", BUY.replace("0.001", "1.001"))) == 0


def test_a_price_band_gets_narrow() -> None:
    world = world_with(told("price band", symbol="BTCUSDT", rate="0.001"))
    order = REST.replace("79000", "80500")
    assert code(world.ask("POST", "/fapi/v1/order", order)) == -4016


def test_nobody_bids_or_asks() -> None:
    world = World(told("empty book", symbol="BTCUSDT", at_s=1, for_s=5))
    session = world.gateway.connect("/public/ws/btcusdt@bookTicker", world.now)
    world.wait(2)
    quote = msgspec.json.decode(world.received(session)[-1])
    assert (float(quote["b"]), float(quote["B"]), float(quote["a"]), float(quote["A"])) == (0, 0, 0, 0)
    depth = read(world, "/fapi/v1/depth", "symbol=BTCUSDT")
    assert isinstance(depth, dict)
    assert (depth["bids"], depth["asks"]) == ([], [])
    assert code(world.buy()) == -4131
    assert code(world.ask("POST", "/fapi/v1/order", REST.replace("price=79000", "priceMatch=QUEUE"))) == -4131
    ioc = REST.replace("GTC", "IOC").replace("79000", "80500")
    assert code(world.ask("POST", "/fapi/v1/order", ioc)) == 0
    assert world.fills == 0
    world.wait(5)
    assert code(world.buy()) == 0


def test_an_account_is_liquidated_at_the_mark_where_nobody_bids() -> None:
    world = world_with(told("empty book", symbol="BTCUSDT"), told("liquidate", symbol="BTCUSDT"))
    assert [fill.price for fill in world.exchange.ledger.fills] == [80_000]


def test_the_spread_is_wide() -> None:
    world = world_with(told("wide spread", symbol="BTCUSDT", rate="0.02"))
    book = world.exchange.books["BTCUSDT"]
    assert [float(level[0]) for level in (book.best_bid, book.best_ask)] == [79_200, 80_800]


def test_the_index_leaves_the_mark() -> None:
    world = world_with(told("index gap", symbol="BTCUSDT", rate="0.05", for_s=2))
    assert world.exchange.index_price("BTCUSDT") == 84_000
    world.wait(2)
    assert world.exchange.index_price("BTCUSDT") == 80_000


@pytest.mark.parametrize("ms", [300_000, -300_000])
def test_the_venues_clock_is_stepped(ms: int) -> None:
    world = World(told("clock", ms=ms, at_s=1))
    session = world.gateway.connect("/market/ws/btcusdt@markPrice@1s", world.now)
    private = world.listen()
    due_ms = world.exchange.next_funding_ms("BTCUSDT")
    world.wait(3)
    assert read(world, "/fapi/v1/time") == {"serverTime": world.now // MS + ms}
    assert code(world.buy()) == -1021
    times = [msgspec.json.decode(frame)["E"] for frame in world.received(session)]
    assert len(times) == 3
    assert times[-1] - times[0] == 2_000 + ms
    assert world.exchange.next_funding_ms("BTCUSDT") == due_ms + ms
    world.wait(3_540)
    assert not world.received(private)
    world.wait(120)  # the listen key ends an hour after it was made, and not after an hour of the clock
    assert b"listenKeyExpired" in world.received(private)[0]


@pytest.mark.parametrize("ms", [300_000, -300_000])
def test_a_market_goes_on_when_the_clock_is_stepped(ms: int) -> None:
    world = World(told("clock", ms=ms, at_s=60), lively=True)
    session = world.gateway.connect("/market/ws/btcusdt@markPrice@1s", world.now)
    world.wait(120)
    prices = [msgspec.json.decode(frame)["p"] for frame in world.received(session)]
    assert len(prices) == 120
    assert len(set(prices)) == 120
    candles = read(world, "/fapi/v1/klines", "symbol=BTCUSDT&interval=1m")
    assert isinstance(candles, list)
    assert candles


def test_maintenance_lets_nobody_in() -> None:
    world = World(told("maintenance", at_s=1, for_s=10))
    session = world.gateway.connect("/market/ws", world.now)
    world.wait(1)
    assert world.ended(session)
    reply = world.ask("GET", "/fapi/v1/time")
    assert reply is not None
    assert (reply.status, b"Service Unavailable." in reply.body) == (503, True)
    assert isinstance(world.gateway.admit(world.now), Reply)
    world.wait(10)
    assert world.gateway.admit(world.now) is None
    assert read(world, "/fapi/v1/time")


def test_maintenance_of_orders_lets_cancels_through() -> None:
    world = World(told("maintenance", mode="orders", at_s=1))
    world.ask("POST", "/fapi/v1/order", REST)
    (order,) = world.account.open_orders.values()
    world.wait(1)
    reply = world.buy()
    assert reply is not None
    assert reply.status == 503
    assert code(world.ask("DELETE", "/fapi/v1/order", f"symbol=BTCUSDT&orderId={order.id}")) == 0


def test_limits_change_and_come_back() -> None:
    world = World(told("limits", weight=20, orders_10s=1, orders_1m=2, at_s=1, for_s=5))
    assert code(world.buy()) == 0
    world.wait(1)
    assert code(world.buy()) == -1015
    rules = read(world, "/fapi/v1/exchangeInfo")
    assert isinstance(rules, dict)
    assert [row["limit"] for row in rules["rateLimits"]] == [20, 2, 1]
    for _ in range(4):
        last = world.ask("GET", "/fapi/v3/account")
    assert last is not None
    assert last.status == 429
    world.wait(5)
    assert code(world.ask("GET", "/fapi/v3/account")) == 0


def test_somebody_else_uses_the_weight() -> None:
    world = world_with(told("use weight", weight=2_399))
    reply = world.ask("GET", "/fapi/v1/time")
    assert reply is not None
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "2400"
    assert world.exchange.ledger.most_weight == 1, "the ledger counts what was asked here, and by nobody else"


def test_a_key_may_withdraw_and_may_not_trade_and_ends() -> None:
    world = World(
        told("key rights", withdraw=True, ip=False, expires_s=2),
        told("key rights", trade=False, at_s=1),
        told("key rights", trade=True, at_s=1.5),
    )
    world.wait(0.5)
    assert code(world.buy()) == 0
    rights = read(world, "/sapi/v1/account/apiRestrictions")
    assert isinstance(rights, dict)
    assert (rights["enableWithdrawals"], rights["ipRestrict"]) == (True, False)
    assert abs(rights["tradingAuthorityExpirationTime"] - (world.now // MS + 1_500)) <= 1
    world.wait(0.6)
    assert code(world.buy()) == -2015
    assert code(world.ask("GET", "/fapi/v3/account")) == 0
    world.wait(0.5)
    assert code(world.buy()) == 0
    world.wait(0.5)
    assert code(world.buy()) == -2015
    assert world.listen()


def test_a_key_is_revoked_and_its_stream_falls_silent() -> None:
    world = World(told("revoke key", at_s=1), account=Account(keys={"another-key-of-it": "another-secret"}))
    world.venue.revoke_key("another-key-of-it")
    session = world.listen()
    world.wait(1)
    assert code(world.buy()) == -2015
    world.exchange.deposit(world.account, 1)
    world.wait(1)
    assert world.received(session) == []


def test_the_other_key_of_an_account_goes_on() -> None:
    world = World(told("revoke key"), account=Account(keys={"another-key-of-it": "another-secret"}))
    assert code(world.buy()) == -2015
    assert code(world.ask("POST", "/fapi/v1/order", BUY, key="another-key-of-it")) == 0
    assert held(world) == Decimal("0.001")


def test_the_key_leads_to_another_account() -> None:
    world = World(told("other account", at_s=1))
    names = []
    for _ in range(2):
        found = read(world, "/fapi/v3/balance")
        assert isinstance(found, list)
        names.append(found[0]["accountAlias"])
        world.wait(1)
    assert names == ["SgsR", "SgsRx"]


def test_the_dead_mans_switch_fires() -> None:
    world = World(told("dead-man", at_s=1), told("dead-man", at_s=2))
    world.ask("POST", "/fapi/v1/order", REST)
    world.ask("POST", "/fapi/v1/countdownCancelAll", "symbol=BTCUSDT&countdownTime=120000")
    world.wait(2)
    assert not world.account.open_orders
    assert world.counts == {"events: dead-man": 1, "events: dead-man refused": 1}


def test_an_event_comes_again_so_often() -> None:
    world = World(told("transfer", amount=1, at_s=1, every_s=2, times=3))
    world.wait(20)
    assert world.account.wallet == 10_003


def test_events_of_an_old_plan_do_not_happen_any_more() -> None:
    world = World(told("transfer", amount=1, at_s=5))
    world.gateway.faults = World().gateway.faults
    world.wait(10)
    assert world.account.wallet == 10_000


def test_something_may_happen_at_once() -> None:
    world = World()
    world.gateway.happen(told("transfer", amount=5), world.now)
    assert world.account.wallet == 10_005
    assert world.counts == {"events: transfer": 1}


def test_every_kind_of_event_is_tried_here() -> None:
    with open(__file__) as file:
        text = file.read()
    assert [do for do in EVENTS if f'"{do}"' not in text] == []
