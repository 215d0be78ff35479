"""What is MEXC's own: sides that open or close, settings by direction, tables in contracts, what does not stream."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import mexc_frames as wire
from agent.core.events import (
    Accepted,
    Balance,
    Down,
    Ended,
    Fault,
    Filled,
    Flow,
    Force,
    Forced,
    Funding,
    Leverage,
    Lost,
    Margin,
    Mode,
    Position,
    Positions,
    Refused,
    Side,
    Tiers,
    Unanswered,
    Unarmed,
    Unknown,
    Unset,
    Up,
)
from agent.core.instruments import Tier, maintenance
from agent.core.orders import Style
from agent.core.venue import Arm, Ask, Batch, Call, Cancel, Place, Reply, Say, SetLeverage, Shut, What
from tests.adapters.binance_kit import shared
from tests.adapters.mexc_kit import (
    ASSET,
    KEY,
    MS,
    NOW,
    POSITION,
    SYMBOLS,
    S,
    body,
    build,
    call_for,
    contract,
    enveloped,
    order,
    push,
    setting,
    tell,
    unsent,
)


def held(dialect: Any, **changes: Any) -> list[Any]:
    return tell(dialect, Ask(What.POSITIONS), [{**POSITION, **changes}])


# Orders


@pytest.mark.parametrize(
    ("mode", "side", "lots", "reduce", "wanted"),
    [
        (2, Side.NET, 6, False, {"side": 1, "positionMode": 2}),
        (2, Side.NET, -6, False, {"side": 3, "positionMode": 2}),
        (2, Side.NET, 6, True, {"side": 2, "positionMode": 2, "reduceOnly": True}),
        (2, Side.NET, -6, True, {"side": 4, "positionMode": 2, "reduceOnly": True}),
        (1, Side.LONG, 6, False, {"side": 1, "positionMode": 1}),
        (1, Side.LONG, -6, True, {"side": 4, "positionMode": 1}),
        (1, Side.SHORT, -6, False, {"side": 3, "positionMode": 1}),
        (1, Side.SHORT, 6, True, {"side": 2, "positionMode": 1}),
    ],
)
def test_the_side_of_an_order_says_what_it_does(
    mode: int, side: Side, lots: int, reduce: bool, wanted: dict[str, Any]
) -> None:
    sent = body(call_for(build(mode=mode), Place(order(side=side, lots=lots, reduce=reduce))))
    rest = {
        "symbol": "BTC_USDT",
        "vol": 6,
        "leverage": 20,
        "type": 3,
        "openType": 2,
        "externalOid": order().id,
        "price": 60_000.1,
    }
    assert sent == rest | wanted


@given(
    mode=st.sampled_from([1, 2]),
    side=st.sampled_from(Side),
    lots=st.integers(-50, 50).filter(bool),
    style=st.sampled_from(Style),
    holds=st.sampled_from([None, 1, 2]),
)
def test_a_reduction_never_opens(mode: int, side: Side, lots: int, style: Style, holds: int | None) -> None:
    """Whatever is believed to be held: it is sent as what closes, or not at all."""
    dialect = build(mode=mode)
    if holds is not None:
        held(dialect, positionType=holds)
    sent = dialect.perform(Place(order(side=side, lots=lots, style=style, reduce=True)), NOW)
    if not isinstance(sent, Call):
        assert [type(one) for one in sent] == [Refused]
        assert side is not Side.NET
        return
    told = body(sent)
    assert told["side"] == (2 if lots > 0 else 4)
    assert (told.get("reduceOnly") is True) == (side is Side.NET)
    assert "positionId" not in told or holds == (2 if lots > 0 else 1), "that of the position which it closes"


def test_a_closing_order_names_its_position_and_follows_its_settings() -> None:
    dialect = build()
    held(dialect, openType=1, leverage=7)
    closing, adding = (body(call_for(dialect, Place(order(lots=lots, reduce=lots < 0)))) for lots in (-6, 6))
    for sent in (closing, adding):
        assert (sent["openType"], sent["leverage"]) == (1, 7)
    assert closing["positionId"] == 7_001
    assert "positionId" not in adding
    opposite = body(call_for(dialect, Place(order(lots=-6))))
    assert (opposite["openType"], opposite["leverage"]) == (2, 20), "the other direction has its own"


def test_a_reduction_stays_possible_where_the_venue_does_not_take_both_words_for_it() -> None:
    dialect, closing = build(), Place(order(lots=-6, reduce=True))
    said = []
    for code in (600, 600, 2005, 0):
        sent = body(call_for(dialect, closing))
        assert sent["side"] == 4
        said.append("reduceOnly" in sent)
        tell(dialect, closing, {"orderId": "1", "ts": NOW // MS}, code=code)
    assert said == [True, False, True, True]


def test_styles_and_exact_numbers() -> None:
    dialect = build()
    for style, number in ((Style.MARKET, 5), (Style.IOC, 3), (Style.POST, 2)):
        ticks = None if style is Style.MARKET else 1
        call = call_for(dialect, Place(order(style=style, ticks=ticks, lots=100_000)))
        assert body(call)["type"] == number
        assert b'"vol":100000' in call.body
        assert (b'"price":0.1' in call.body) == (style is not Style.MARKET)


@pytest.mark.parametrize(("life_ms", "back_ms"), [(3_000, 7_000), (5_000, 5_000), (60_000, 0), (1, 9_999)])
def test_an_order_is_dated_so_that_its_window_ends_in_time(life_ms: int, back_ms: int) -> None:
    call = call_for(build(), Place(order(expires_at=NOW + life_ms * MS)))
    assert int(dict(call.headers)["Request-Time"]) == NOW // MS - back_ms


def test_what_can_not_be_sent_is_said_to_be_unsent() -> None:
    dialect = build(asked=False)
    requests: list[tuple[Any, Fault]] = [
        (Place(order(expires_at=NOW)), Fault.BUSY),
        (Place(order(symbol="NEW_USDT")), Fault.CLOSED),
        (Batch((order(),)), Fault.RULE),
    ]
    for request, fault in requests:
        assert [(type(one), one.fault) for one in unsent(build(), request)] == [(Refused, fault)]
    assert [(type(one), one.fault) for one in unsent(dialect, Place(order()))] == [(Refused, Fault.BUSY)]
    assert dialect.acts() == [Ask(What.LEVERAGE, 0)]
    assert [type(one) for one in unsent(dialect, SetLeverage(0, 5))] == [Unanswered]
    assert [type(one) for one in unsent(build(), Arm(0, 1_000))] == [Unarmed]


@pytest.mark.parametrize("status", [302, 500, 510, 602])
def test_a_server_in_trouble_proves_nothing_whatever_it_says(status: int) -> None:
    dialect = build()
    reply = Reply(status, {}, enveloped(code=2005, message="no balance"))
    assert [type(one) for one in dialect.on_reply(call_for(dialect, Place(order())), reply, NOW)] == [Lost]


def test_a_cancel_is_by_our_id_and_its_end_is_asked_for() -> None:
    dialect = build()
    call = call_for(dialect, Cancel("mine", 1))
    assert body(call) == [{"symbol": "ETH_USDT", "externalOid": "mine"}]
    told = tell(dialect, Cancel("mine", 1), [{"orderId": 7, "errorCode": 0, "errorMsg": "success"}])
    assert [(type(one), one.order, one.filled_lots) for one in told] == [(Accepted, "mine", 0)]
    assert dialect.acts() == [Ask(What.ORDER, 1, "mine")]


ROW: dict[str, Any] = {
    "orderId": "814218083416790528",
    "symbol": "BTC_USDT",
    "side": 1,
    "vol": 10,
    "dealVol": 0,
    "state": 2,
    "externalOid": "mine",
    "errorCode": 0,
    "category": 1,
}
DEAL = {
    "id": "5",
    "orderId": "814218083416790528",
    "symbol": "BTC_USDT",
    "side": 3,
    "vol": 4,
    "price": 60_000,
    "fee": 0.1,
    "feeCurrency": "USDT",
    "timestamp": NOW // MS,
    "isTaker": True,
    "externalOid": "mine",
}


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"state": 1}, Accepted("mine", ROW["orderId"], 0, NOW)),
        ({"dealVol": 4}, Accepted("mine", ROW["orderId"], 4, NOW)),
        ({"state": 3, "dealVol": 10}, Ended("mine", "filled", 10, NOW)),
        ({"state": 4, "dealVol": 4, "errorCode": 16}, Ended("mine", "cancelled: by a funding settlement", 4, NOW)),
        ({"state": 5, "errorCode": 2}, Ended("mine", "invalid: not enough balance", 0, NOW)),
        ({"externalOid": ""}, Accepted(str(ROW["orderId"]), ROW["orderId"], 0, NOW)),
    ],
)  # fmt: skip
def test_the_states_of_an_order(changes: dict[str, Any], fact: Any) -> None:
    assert push(build(), "personal.order", ROW | changes) == [fact]


@pytest.mark.parametrize(("category", "kind"), [(2, Force.LIQUIDATION), (4, Force.DELEVERAGING)])
def test_the_venue_trades_by_force(category: int, kind: Force) -> None:
    told = push(build(), "personal.order", ROW | {"category": category, "state": 3, "dealVol": 10})
    assert told[0] == Forced("mine", kind, "BTC_USDT", NOW)
    told = push(build(), "personal.order", ROW | {"category": category, "state": 9})
    assert [type(one) for one in told] == [Forced, Unknown], "however little of it can be read"


def test_trades_are_summed_up_and_none_is_counted_twice() -> None:
    dialect = build()
    totals = []
    for deal in (DEAL, DEAL, DEAL | {"id": 6, "vol": 2}, DEAL):
        (fill,) = push(dialect, "personal.order.deal", deal)
        assert isinstance(fill, Filled)
        totals.append((fill.lots, fill.filled_lots))
    assert totals == [(-4, 4), (-4, 4), (-2, 6), (-4, 6)]


# What is held


def test_in_one_way_mode_the_end_of_an_older_position_is_none_of_the_one_that_is_held() -> None:
    dialect = build()
    held(dialect)
    short = {**POSITION, "positionId": 7_002, "positionType": 2, "holdVol": 50}
    (now,) = push(dialect, "personal.position", short)
    assert (now.side, now.lots) == (Side.NET, -50)
    ended = {**POSITION, "holdVol": 0, "state": 3}
    assert push(dialect, "personal.position", ended) == []
    (flat,) = push(dialect, "personal.position", {**short, "holdVol": 0, "state": 3})
    assert (flat.lots, flat.entry) == (0, None)


def test_a_position_is_of_one_contract() -> None:
    dialect = build()
    held(dialect)
    assert [type(one) for one in push(dialect, "personal.position", {**POSITION, "symbol": "ETH_USDT"})] == [Unknown]


def test_rows_and_their_margin() -> None:
    dialect = build(mode=1)
    rows = [{**POSITION, "openType": 1}, {**POSITION, "positionId": 8, "positionType": 2, "holdVol": 20}]
    (told,) = tell(dialect, Ask(What.POSITIONS), [*rows, {**POSITION, "symbol": "DOGE_USDT"}])
    assert isinstance(told, Positions)
    assert [(one.side, one.lots, one.isolated) for one in told.rows] == [
        (Side.LONG, 300, 90.0),
        (Side.SHORT, -20, None),
    ]
    assert told.strangers == ("DOGE_USDT",)


def test_what_can_not_be_placed_is_not_guessed() -> None:
    (told,) = held(build(mode=None))
    assert isinstance(told, Unanswered)
    assert "position mode" in told.reason
    both = [POSITION, {**POSITION, "positionId": 8, "positionType": 2}]
    assert isinstance(tell(build(mode=2), Ask(What.POSITIONS), both)[0], Unanswered)
    many = [ROW | {"orderId": number} for number in range(100)]
    assert isinstance(tell(build(), Ask(What.ORDERS), many)[0], Unanswered)


def test_positions_that_are_left_out_are_missed() -> None:
    """The margin in the wallet tells that something is held, at the start and whenever a position is not there."""

    def told(dialect: Any, *rows: Any) -> type:
        return type(tell(dialect, Ask(What.POSITIONS), list(rows))[-1])

    small = {**POSITION, "holdVol": 40, "im": 12}  # of a margin of 30
    other = {**small, "positionId": 8, "symbol": "ETH_USDT"}
    assert [told(build(), *rows) for rows in ([], [small], [small, other])] == [Unanswered, Unanswered, Positions]
    dialect = build()
    assert [told(dialect, small, other), told(dialect, small), told(dialect)] == [Positions, Unanswered, Unanswered]
    tell(dialect, Ask(What.ACCOUNT), [{**ASSET, "positionMargin": 12}])
    assert [told(dialect, small), told(dialect)] == [Positions, Unanswered]
    tell(dialect, Ask(What.ACCOUNT), [{**ASSET, "positionMargin": 0}])
    assert told(dialect) is Positions
    assert told(build(), {**POSITION, "symbol": "DOGE_USDT"}) is Positions, "strangers take margin as well"
    assert told(build(), {**small, "im": None, "leverage": 10}) is Positions, "what is not told is worked out"
    risen = build()
    push(risen, "ticker", {"symbol": "BTC_USDT", "fairPrice": 80_000, "timestamp": NOW // MS}, socket="market")
    assert told(risen, {**small, "im": 0}) is Positions, "at the price of now"


def test_a_mode_that_is_switched_is_told() -> None:
    dialect = build(mode=2)
    assert push(dialect, "personal.position.mode", {"positionMode": 1}) == [Mode(True, False, None)]
    (row,) = push(dialect, "personal.position", POSITION)
    assert row.side is Side.LONG


def test_funding_is_what_a_position_has_received_since_it_was_last_told() -> None:
    dialect = build()
    assert not [one for one in held(dialect, holdFee=-1.5) if isinstance(one, Flow)]

    def told(fee: float, seconds: int) -> list[Any]:
        return push(dialect, "personal.position", {**POSITION, "holdFee": fee}, NOW + seconds * S)

    assert told(-1.5, 1)[:-1] == []
    assert told(-2.0, 2)[:-1] == [Flow("USDT", -0.5, "funding", NOW + 2 * S)]
    assert told(-1.5, 1)[:-1] == [], "an older word says nothing of it"
    assert told(-1.75, 3)[:-1] == [Flow("USDT", 0.25, "funding", NOW + 3 * S)]


def test_a_wallet_that_has_moved_is_asked_for_and_counts_as_told() -> None:
    dialect = build()
    margin, wallet = tell(dialect, Ask(What.ACCOUNT), [ASSET])
    assert isinstance(margin, Margin)
    assert (margin.wallet, margin.equity, margin.initial, margin.maintenance) == (1_000.0, 1_010.0, 50.0, None)
    assert isinstance(wallet, Balance)
    assert wallet.wallet == 1_000.0
    assert push(dialect, "personal.asset", {"currency": "USDT"}) == []
    assert dialect.acts() == [Ask(What.ACCOUNT)]
    told = [[type(one) for one in tell(dialect, Ask(What.ACCOUNT), [ASSET])] for _ in "12"]
    assert told == [[Balance, Margin], [Margin, Balance]], "once"
    other = tell(dialect, Ask(What.ACCOUNT), [{**ASSET, "currency": "BTC"}])
    assert [type(one) for one in other] == [Unanswered], "no wallet is not an empty one"


def test_a_wallet_stays_the_same_while_marks_move() -> None:
    """It is a difference of two numbers that do; else the stream would seem to have kept a change to itself."""
    dialect = build()
    told = []
    for profit in (10, 0.1, 0.30000001, -7.77, 5 / 3):
        row = {**ASSET, "unrealized": profit, "equity": 1_000 + profit + 1e-8}
        told += [one.wallet for one in tell(dialect, Ask(What.ACCOUNT), [row])]
    assert set(told) == {1_000.0}
    (margin, wallet) = tell(dialect, Ask(What.ACCOUNT), [{**ASSET, "equity": 1_010.01}])
    assert margin.wallet == wallet.wallet == pytest.approx(1_000.01)


# Rules and settings


def test_a_leverage_is_set_direction_by_direction() -> None:
    dialect = build()
    first = call_for(dialect, SetLeverage(0, 5))
    assert body(first) == {"leverage": 5, "openType": 2, "symbol": "BTC_USDT", "positionType": 1}
    done = Reply(200, {}, enveloped())
    assert [type(one) for one in dialect.on_reply(first, done, NOW)] == [Unanswered], "half of it"
    assert tell(dialect, Ask(What.LEVERAGE, 0), [setting(1, 5), setting(2)]) == [Leverage(0, 20, False)]
    second = call_for(dialect, SetLeverage(0, 5))
    assert body(second)["positionType"] == 2
    assert dialect.on_reply(second, done, NOW) == [Leverage(0, 5, False)]
    held(dialect)
    assert body(call_for(dialect, SetLeverage(0, 7))) == {"leverage": 7, "positionId": 7_001}
    (unset,) = tell(dialect, SetLeverage(0, 500), code=2006)
    assert isinstance(unset, Unset)


def test_of_two_leverages_that_nobody_asked_for_the_lower_counts() -> None:
    assert tell(build(), Ask(What.LEVERAGE, 0), [setting(1, 50), setting(2, 9)]) == [Leverage(0, 9, False)]
    (mixed,) = tell(build(), Ask(What.LEVERAGE, 0), [setting(1, open_type=1), setting(2)])
    assert mixed == Leverage(0, 20, None)


def test_refusals_have_the_setting_or_the_mode_asked_for() -> None:
    dialect = build()
    for code, ask in ((2021, Ask(What.LEVERAGE, 0)), (7002, Ask(What.MODE)), (513, Ask(What.TIME))):
        tell(dialect, Place(order()), code=code)
        assert dialect.acts() == [ask]


EVEN = {"riskBaseVol": 10_000, "riskIncrVol": 20_000, "riskLevelLimit": 4}
CUSTOM: dict[str, Any] = {
    "riskLimitMode": "CUSTOM",
    "riskLimitCustom": [
        {"level": 1, "maxVol": 50_000, "mmr": 0.004, "imr": 0.008, "maxLeverage": 125},
        {"level": 2, "maxVol": 600_000, "mmr": 0.005, "imr": 0.01, "maxLeverage": 100},
        {"level": 3, "maxVol": 3_000_000, "mmr": 0.05, "imr": 0.1, "maxLeverage": 10},
        {"level": 4, "maxVol": 3_500_000, "mmr": 0.051, "imr": 0.11, "maxLeverage": 9},
    ],
}
TABLES: list[Any] = [
    (EVEN, [(10_000, 0.004, 125), (30_000, 0.008, 83), (50_000, 0.012, 62), (70_000, 0.016, 50)]),
    ({"riskIncrVol": 0}, [(10_000, 0.004, 125)]),
    (CUSTOM, [(50_000, 0.004, 125), (600_000, 0.005, 100), (3_000_000, 0.05, 10), (3_500_000, 0.051, 9)]),
]


@pytest.mark.parametrize("kind", ["BY_VOLUME", "BY_VALUE"])
@pytest.mark.parametrize(("changes", "levels"), TABLES)
def test_the_margin_table_is_never_below_the_venues(kind: str, changes: dict[str, Any], levels: list[Any]) -> None:
    row = wire.CONTRACT.decode(json.dumps(contract("BTC_USDT", **changes, riskLimitType=kind)))
    (fact,) = wire.tier_facts(0, row, 50_000.0)
    assert isinstance(fact, Tiers)
    unit = 5.0 if kind == "BY_VOLUME" else 1.0
    assert [(round(tier.cap / unit), tier.leverage) for tier in fact.tiers] == [(cap, most) for cap, _, most in levels]
    floor = 0.0
    for tier, (cap, rate, _) in zip(fact.tiers, levels, strict=True):
        for notional in (floor + 0.01, (floor + cap * unit) / 2, cap * unit):
            said = maintenance(fact.tiers, notional)
            assert said is not None
            assert said >= notional * rate * (1 - 1e-9)
            assert said == pytest.approx(tier.rate * notional - tier.deduction)
        floor = cap * unit
    assert all(low.rate <= high.rate and low.cap == high.floor for low, high in pairwise(fact.tiers))


@pytest.mark.parametrize(
    "changes",
    [
        {"riskLimitMode": "CUSTOM"},
        {"riskBaseVol": 0},
        {"riskLevelLimit": 100_000},
        {"riskLimitMode": "CUSTOM", "riskLimitCustom": [*CUSTOM["riskLimitCustom"][:2], CUSTOM["riskLimitCustom"][0]]},
    ],
)
def test_a_margin_table_that_makes_no_sense_is_none(changes: dict[str, Any]) -> None:
    dialect = build(["BTC_USDT"])
    tell(dialect, Ask(What.INSTRUMENTS), [contract("BTC_USDT", **changes)])
    row = {"symbol": "BTC_USDT", "fairPrice": 50_000, "timestamp": NOW // MS}
    assert [type(one) for one in tell(dialect, Ask(What.TIERS), [row])] == [Unknown]


def test_a_margin_table_does_not_change_with_every_price() -> None:
    dialect = build(["BTC_USDT"])
    caps = []
    for price in (50_000, 49_000, 52_000, 47_000, 48_000):
        row = {"symbol": "BTC_USDT", "fairPrice": price, "timestamp": NOW // MS}
        (told,) = tell(dialect, Ask(What.TIERS), [row])
        caps.append(round(told.tiers[0].cap))
    assert caps == [50_000, 50_000, 50_000, 47_000, 47_000]


@pytest.mark.parametrize(
    ("name", "step", "tick", "first"),
    [
        ("rest_contract_detail_BTC_2026", "0.0001", "0.1", Tier(0.0, 250_000.0, 0.001, 0.0, 500)),
        ("rest_contract_detail_BTC_old", "0.0001", "0.5", Tier(0.0, 50_000.0, 0.008, 0.0, 125)),
    ],
)
def test_recorded_contracts(name: str, step: str, tick: str, first: Tier) -> None:
    """The table of 2026 is cut off after its first level; that of before begins with the rate of its second."""
    row = wire.CONTRACT.decode(wire.ENVELOPE.decode(shared(f"venues/payloads/mexc/{name}.json").read_bytes()).data)
    one = wire.instrument_of(0, row)
    assert (one.multiplier, one.tick, one.step, one.trading) == (Decimal(step), Decimal(tick), Decimal(1), True)
    assert (one.price_up, one.price_down) == (1.1, 0.9)
    (fact,) = wire.tier_facts(0, row, 50_000.0)
    assert isinstance(fact, Tiers)
    assert fact.tiers[0] == first


@pytest.mark.parametrize(
    ("changes", "trading"),
    [({}, True), ({"state": 4}, False), ({"apiAllowed": False}, False), ({"apiAllowed": None}, None)],
)
def test_a_contract_is_traded_only_if_it_is_open_to_the_interface(
    changes: dict[str, Any], trading: bool | None
) -> None:
    listed = tell(build(["BTC_USDT"]), Ask(What.INSTRUMENTS), [contract("BTC_USDT", **changes)])[0]
    assert [one.trading for one in listed.instruments] == ([] if trading is None else [trading])
    coin = contract("BTC_USD", settleCoin="BTC")
    assert tell(build(["BTC_USDT"]), Ask(What.INSTRUMENTS), [coin])[0].instruments == (), "another kind of contract"


def test_the_next_settlement_is_known_from_a_question_and_rolls_on() -> None:
    dialect = build()
    ticker = {"symbol": "BTC_USDT", "fairPrice": 5, "fundingRate": 0.0003, "timestamp": NOW // MS}
    kinds = [type(one) for one in push(dialect, "ticker", ticker, socket="market")]
    assert Funding not in kinds, "a rate without its time is none"
    row = {"symbol": "BTC_USDT", "fundingRate": 0.0001, "nextSettleTime": NOW // MS + 5, "timestamp": NOW // MS}
    tell(dialect, Ask(What.INTERVALS), [row | {"collectCycle": 8}])
    for later, hours in ((0, 0), (5, 8), (8 * 3_600_000 + 5, 16)):
        told = push(dialect, "ticker", ticker | {"timestamp": NOW // MS + later}, socket="market")
        assert told[-1] == Funding(0, 0.0003, NOW + 5 * MS + hours * 3_600 * S, NOW + later * MS)


# The connection


def test_it_logs_in_pings_and_gives_up_a_login_that_nobody_answers() -> None:
    dialect = build()
    assert dialect.on_open("private", NOW) == []
    (said,) = dialect.acts()
    assert isinstance(said, Say)
    assert all(word in said.text for word in ('"method":"login"', KEY, str(NOW // MS), '"signature":"'))
    dialect.on_wake(NOW + 10 * S)
    assert dialect.acts() == [Shut("private", "there was no login")]
    dialect.on_wake(NOW + 15 * S)
    assert dialect.acts() == [Say("private", '{"method":"ping"}')]
    assert dialect.wake_at == NOW + 30 * S
    no, yes = (f'{{"channel":"rs.{one}","data":"","ts":"1"}}'.encode() for one in ("error", "login"))
    dialect.on_open("private", NOW)
    assert [type(one) for one in dialect.on_frame("private", no, NOW)] == [Down], "and it is tried again after a while"
    assert list(dialect.on_frame("private", yes, NOW)) == [Up("private")]
    assert [type(one) for one in dialect.on_frame("private", no, NOW)] == [Unknown], "about what was said since"


def test_thirty_subscriptions_fit_on_a_socket() -> None:
    symbols = [f"C{number}_USDT" for number in range(70)]
    dialect = build(symbols, asked=False)
    sockets = dialect.abilities.sockets
    assert sockets == ("market", "market-2", "market-3", "public", "public-2", "public-3", "private")
    said: list[str] = []
    for socket in sockets[:-1]:
        dialect.on_open(socket, NOW)
        acts = [act.text for act in dialect.acts() if isinstance(act, Say)]
        assert len(acts) <= 30
        said += acts
    for symbol, method in product(symbols, ("sub.ticker", "sub.depth.full")):
        assert sum(f'"{symbol}"' in text and f'"{method}"' in text for text in said) == 1


def test_an_older_book_is_left_out() -> None:
    dialect = build()

    def book(version: int) -> int:
        data = {"asks": [[11, 5, 1]], "bids": [[10, 7, 1]], "version": version}
        return len(push(dialect, "depth.full", data, symbol="BTC_USDT", socket="public"))

    assert [book(5), book(5), book(4), book(6)] == [1, 0, 0, 1]
    dialect.on_open("public", NOW)
    assert book(1) == 2, "its first event proves that it is up"


def test_every_symbol_is_named_once() -> None:
    for symbols in ([], ["BTC_USDT", "BTC_USDT"], [""]):
        with pytest.raises(ValueError, match="name between 1 and"):
            build(symbols)
    with pytest.raises(ValueError, match="not MEXC"):
        build(SYMBOLS, rest_url="https://api.example.com")


def test_position_rows_say_what_is_held() -> None:
    (told,) = push(build(), "personal.position", POSITION)
    assert told == Position(0, Side.NET, 300, 60_000.5, NOW)
