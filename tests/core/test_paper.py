from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.events import (
    Absent,
    Accepted,
    Balance,
    Depth,
    Ended,
    Fact,
    Fault,
    Fees,
    Filled,
    Flow,
    Funding,
    Leverage,
    Listed,
    Margin,
    Mark,
    Mode,
    Orders,
    Position,
    Positions,
    Quote,
    Refused,
    Side,
    Tiers,
    Unanswered,
    Unset,
    Volume,
)
from agent.core.orders import Order, Style
from agent.core.paper import Paper, PaperAccount
from agent.core.venue import (
    Arm,
    Ask,
    Batch,
    Call,
    Cancel,
    Dialect,
    Lane,
    Open,
    Place,
    Reply,
    Request,
    Say,
    SetLeverage,
    What,
)
from tests.core.kit import MS, START, Parrot, S, instrument, order, vectors

T = START


class Desk:
    """A paper venue on a market in the hand of the test."""

    def __init__(self, account: PaperAccount | None = None, **grid: Any) -> None:
        self.public = Parrot()
        dialect: Dialect = self.public
        self.paper = Paper(dialect, account or PaperAccount(), ["BTCUSDT"])
        self.grid = instrument(0, **grid)
        self.now = T

    def see(self, *facts: Fact) -> list[Fact]:
        self.now += S
        return list(self.paper.on_frame("market", self.public.frame(*facts), self.now))

    def market(self, price: float = 60_000.0, spread: float = 1.0) -> list[Fact]:
        return self.see(
            Mark(0, price, price, self.now), Quote(0, price - spread, 100.0, price + spread, 100.0, self.now)
        )

    def ready(self) -> Desk:
        self.see(Listed(instruments=(self.grid,)))
        self.market()
        self.ask(What.POSITIONS)
        return self

    def perform(self, request: Request) -> list[Fact]:
        answer = self.paper.perform(request, self.now)
        assert not isinstance(answer, Call)
        return list(answer)

    def ask(self, what: What) -> list[Fact]:
        return self.perform(Ask(what, instrument=0, order="o1"))

    def place(self, **changes: Any) -> list[Fact]:
        return self.perform(Place(order(**{"ticks": None, "style": Style.MARKET, **changes})))

    @property
    def lots(self) -> int:
        return self.paper.book.rows[0].lots


def of(kind: type, facts: list[Fact]) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]


LONG = PaperAccount(positions={"BTCUSDT": 0.1})


# The public side


def test_what_is_public_is_the_venues_own() -> None:
    desk = Desk()
    paper, public = desk.paper, desk.public
    assert paper.name == "parrot (paper)"
    assert paper.connect("market", T) == Open("market", "wss://market", 10 * S)
    assert paper.on_open("market", T)
    assert paper.acts() == [Say("market", "subscribe")]
    assert paper.on_close("market", "gone", T)
    public.wake_at = 7
    assert paper.wake_at == 7
    paper.on_wake(8)
    assert public.woken == [8]
    call = paper.perform(Ask(What.PRICES), T)
    assert isinstance(call, Call)
    mark = Mark(0, 60_000.0, None, T)
    assert paper.on_reply(call, Reply(200, {}, public.frame(mark)), T) == [mark]
    assert paper.book.rows[0].mark == mark
    assert paper.on_silence(call, True, "reset", T) == []
    assert public.silences == [(call.request, True, "reset")]


def test_only_public_questions_take_from_the_venues_budgets() -> None:
    paper = Desk().paper
    assert paper.weigh(Ask(What.PRICES)).takes == (("weight", 1),)
    assert paper.weigh(Ask(What.POSITIONS)).takes == ()
    assert paper.weigh(Place(order(reduce=True))) == type(paper.weigh(Cancel("o", 0)))(lane=Lane.RESCUE, takes=())


@pytest.mark.parametrize(
    "request_", [Place(order()), Batch((order(),)), Cancel("o1", 0), Arm(0, 5_000), SetLeverage(0, 5)]
)
def test_nothing_that_could_trade_ever_reaches_the_venue(request_: Request) -> None:
    desk = Desk().ready()
    desk.perform(request_)
    assert [call.request for call in desk.public.calls] == []


# The account


def test_the_account_is_asked_about_without_a_key() -> None:
    desk = Desk(LONG).ready()
    assert desk.ask(What.MODE) == [Mode(hedge=False, multi_asset=False, can_trade=True)]
    assert desk.ask(What.LEVERAGE) == [Leverage(instrument=0, leverage=20)]
    assert desk.ask(What.FEES) == [Fees(instrument=0, maker=0.0002, taker=0.0005)]
    assert desk.ask(What.ORDERS) == [Orders(rows=(), asked_at=desk.now)]
    (tiers,) = of(Tiers, desk.ask(What.TIERS))
    assert (tiers.tiers[0].rate, tiers.tiers[0].leverage) == (0.025, 20)
    (held,) = of(Positions, desk.ask(What.POSITIONS))
    assert [(row.lots, row.entry) for row in held.rows] == [(100, 60_000.0)]
    margin, balance = desk.ask(What.ACCOUNT)
    assert isinstance(margin, Margin)
    assert (margin.equity, margin.initial, margin.maintenance, margin.available) == (10_000.0, 300.0, 150.0, 9_700.0)
    assert isinstance(balance, Balance)
    assert balance.wallet == 10_000.0


def test_until_the_first_price_of_its_positions_the_account_is_unknown_and_not_empty() -> None:
    desk = Desk(LONG)
    assert isinstance(desk.ask(What.POSITIONS)[0], Unanswered)
    desk.see(Listed(instruments=(desk.grid,)))
    assert isinstance(desk.ask(What.ACCOUNT)[0], Unanswered)
    assert [fact.fault for fact in of(Refused, desk.place())] == [Fault.BUSY]
    desk.market()
    assert of(Positions, desk.ask(What.POSITIONS))


def test_positions_are_entered_once_at_the_first_mark() -> None:
    desk = Desk(LONG).ready()
    desk.market(61_000.0)
    (margin, _) = desk.ask(What.ACCOUNT)
    assert isinstance(margin, Margin)
    assert margin.equity == pytest.approx(10_100.0)
    desk.see(Listed(instruments=(desk.grid,)))
    assert desk.paper.started


def test_volumes_are_the_venues_own() -> None:
    desk = Desk()
    call = desk.paper.perform(Ask(What.VOLUMES), T)
    assert isinstance(call, Call)
    volume = Volume(0, 13e9)
    assert desk.paper.on_reply(call, Reply(200, {}, desk.public.frame(volume)), T) == [volume]


def test_a_leverage_setting_is_kept_and_margin_follows_it() -> None:
    desk = Desk(LONG).ready()
    assert desk.perform(SetLeverage(0, 4)) == [Leverage(instrument=0, leverage=4)]
    assert desk.ask(What.LEVERAGE) == [Leverage(instrument=0, leverage=4)]
    (margin, _) = desk.ask(What.ACCOUNT)
    assert isinstance(margin, Margin)
    assert (margin.initial, margin.available) == (1_500.0, 8_500.0)
    assert desk.perform(SetLeverage(0, 20)) == [Leverage(instrument=0, leverage=20)]


@pytest.mark.parametrize("leverage", [-1, 0, 21])
def test_a_leverage_that_no_tier_allows_is_refused(leverage: int) -> None:
    desk = Desk(LONG).ready()
    assert desk.perform(SetLeverage(0, leverage)) == [Unset(0, leverage, "leverage is between 1 and 20")]
    assert desk.ask(What.LEVERAGE) == [Leverage(instrument=0, leverage=20)]


def test_a_leverage_at_which_the_margin_does_not_suffice_is_refused() -> None:
    desk = Desk(PaperAccount(equity=10_000.0, positions={"BTCUSDT": 0.5})).ready()
    (fact,) = desk.perform(SetLeverage(0, 2))
    assert fact == Unset(0, 2, "the margin does not suffice at this leverage")
    assert desk.ask(What.LEVERAGE) == [Leverage(instrument=0, leverage=20)]
    assert desk.perform(SetLeverage(0, 3)) == [Leverage(instrument=0, leverage=3)]


def test_before_the_account_has_begun_a_leverage_can_be_set() -> None:
    desk = Desk(LONG)
    assert desk.perform(SetLeverage(0, 5)) == [Leverage(instrument=0, leverage=5)]


# Taking orders


def test_a_market_order_fills_against_the_book_that_is_really_there() -> None:
    desk = Desk().ready()
    desk.see(Depth(0, (), ((60_001.0, 0.004), (60_005.0, 0.5)), desk.now))
    facts = desk.place(lots=10)
    assert [(fill.lots, fill.price, fill.filled_lots) for fill in of(Filled, facts)] == [
        (4, 60_001.0, 4),
        (6, 60_005.0, 10),
    ]
    assert of(Ended, facts)[0].how == "filled"
    assert desk.lots == 10
    assert desk.paper.wallet == pytest.approx(10_000 - (4 * 60.001 + 6 * 60.005) * 0.0005)
    held = desk.paper.book.rows[0].holdings[Side.NET]
    assert held.entry == pytest.approx((4 * 60_001 + 6 * 60_005) / 10)


def test_a_taking_order_gets_what_the_book_holds_and_no_more() -> None:
    desk = Desk().ready()
    desk.see(Depth(0, ((59_999.0, 0.003),), (), desk.now))
    facts = desk.place(lots=-10)
    assert [(end.how, end.filled_lots) for end in of(Ended, facts)] == [("expired", 3)]
    assert desk.lots == -3


def test_a_taking_order_is_never_filled_beyond_its_limit() -> None:
    desk = Desk().ready()
    desk.see(Depth(0, ((59_990.0, 1.0), (59_900.0, 1.0)), ((60_001.0, 0.002), (60_100.0, 9.0)), desk.now))
    assert [f.price for f in of(Filled, desk.place(style=Style.IOC, ticks=600_500))] == [60_001.0]
    sold = desk.place(id="o2", style=Style.IOC, ticks=599_500, lots=-5_000)
    assert [f.price for f in of(Filled, sold)] == [59_990.0]


def test_closing_earns_the_profit_and_a_flip_opens_at_the_new_price() -> None:
    desk = Desk(LONG).ready()
    desk.market(61_000.0)
    desk.place(lots=-150)
    held = desk.paper.book.rows[0].holdings[Side.NET]
    assert (held.lots, held.entry) == (-50, 60_999.0)
    assert desk.paper.wallet == pytest.approx(10_000 + 99.9 - 0.15 * 60_999 * 0.0005)
    desk.place(id="o2", lots=50)
    assert desk.paper.book.rows[0].holdings[Side.NET].entry is None


def test_an_order_to_reduce_never_opens() -> None:
    desk = Desk(LONG).ready()
    assert [fact.fault for fact in of(Refused, desk.place(lots=10, reduce=True))] == [Fault.REDUCE]
    facts = desk.place(id="o2", lots=-500, reduce=True)
    assert [(end.how, end.filled_lots) for end in of(Ended, facts)] == [("expired", 100)]
    assert desk.lots == 0
    assert [fact.fault for fact in of(Refused, desk.place(id="o3", lots=-1, reduce=True))] == [Fault.REDUCE]


def test_a_batch_is_its_orders_one_after_another() -> None:
    desk = Desk().ready()
    orders = (order("o1", ticks=None, style=Style.MARKET), order("o2", ticks=None, style=Style.MARKET, lots=-4))
    assert [fact.order for fact in of(Ended, desk.perform(Batch(orders)))] == ["o1", "o2"]
    assert desk.lots == 6


# Resting orders


def resting(desk: Desk, **changes: Any) -> Order:
    placed = order(**{"style": Style.POST, "ticks": 599_000, **changes})
    facts = desk.perform(Place(placed))
    assert [type(fact) for fact in facts] == [Accepted]
    return placed


@pytest.mark.parametrize(("lots", "ticks"), [(10, 600_010), (-10, 599_990)])
def test_a_post_only_order_that_would_take_is_refused(lots: int, ticks: int) -> None:
    desk = Desk().ready()
    assert [fact.fault for fact in of(Refused, desk.place(lots=lots, ticks=ticks, style=Style.POST))] == [Fault.PRICE]


def test_a_resting_order_fills_at_its_price_when_the_other_side_reaches_it() -> None:
    desk = Desk().ready()
    resting(desk)
    assert of(Filled, desk.market(59_902.0)) == []
    facts = desk.market(59_899.0)
    assert [(fill.price, fill.maker, fill.lots) for fill in of(Filled, facts)] == [(59_900.0, True, 10)]
    assert desk.paper.wallet == pytest.approx(10_000 - 0.01 * 59_900 * 0.0002)
    assert desk.paper.resting == {}


def test_a_resting_order_is_shown_open_and_ends_when_cancelled() -> None:
    desk = Desk().ready()
    placed = resting(desk)
    (answer,) = of(Orders, desk.ask(What.ORDERS))
    assert [(row.order, row.lots) for row in answer.rows] == [("o1", 10)]
    assert [type(fact) for fact in desk.ask(What.ORDER)] == [Accepted]
    assert [fact.how for fact in of(Ended, desk.perform(Cancel(placed.id, 0)))] == ["cancelled"]
    assert [fact.how for fact in of(Ended, desk.ask(What.ORDER))] == ["cancelled"]
    assert [fact.how for fact in of(Ended, desk.perform(Cancel(placed.id, 0)))] == ["cancelled"]


def test_an_order_that_it_never_had_is_absent() -> None:
    assert Desk().ready().ask(What.ORDER) == [Absent(order="o1", asked_at=T + 2 * S)]


def test_quotes_of_others_and_orders_of_others_do_not_fill_a_resting_order() -> None:
    desk = Desk().ready()
    resting(desk)
    desk.paper.resting["alien"] = order("alien", instrument=7, ticks=1)
    desk.paper.resting["priceless"] = order("priceless", ticks=None)
    assert of(Filled, desk.market(59_902.0)) == []
    desk.paper.book.rows[0].instrument = None
    assert of(Filled, desk.see(Quote(0, 1.0, 1.0, 2.0, 1.0, desk.now))) == []


@pytest.mark.parametrize(
    ("closed", "filled", "how"), [(0, 60, "filled"), (70, 30, "expired"), (100, 0, "expired"), (130, 0, "expired")]
)
def test_a_resting_reduction_fills_no_more_than_is_still_held(closed: int, filled: int, how: str) -> None:
    desk = Desk(LONG).ready()
    resting(desk, id="o1", lots=-60, ticks=610_000, reduce=True)
    if closed:
        desk.place(id="o2", lots=-closed)
    before = desk.lots
    facts = desk.market(61_005.0)
    assert [(end.how, end.filled_lots) for end in of(Ended, facts)] == [(how, filled)]
    assert desk.lots == before - filled


def test_only_the_latest_ended_orders_are_remembered() -> None:
    desk = Desk().ready()
    for number in range(1_005):
        desk.place(id=f"n{number}", lots=1 if number % 2 else -1)
    assert len(desk.paper.finished) == 1_000
    assert "n0" not in desk.paper.finished


# What the market does


def test_funding_is_paid_when_the_announced_settlement_has_passed() -> None:
    desk = Desk(LONG).ready()
    later = T + 8 * 3600 * S
    assert desk.see(Funding(0, 0.0001, later, T)) == [Funding(0, 0.0001, later, T)]
    assert of(Flow, desk.see(Funding(0, 0.0009, later, T))) == []
    (flow,) = of(Flow, desk.see(Funding(0, 0.0005, later + S, T)))
    assert (flow.kind, flow.asset) == ("funding", "USDT")
    assert flow.amount == pytest.approx(-6_000 * 0.0009)
    assert desk.paper.wallet == pytest.approx(10_000 - 5.4)


def test_shorts_receive_a_positive_funding_rate_and_the_flat_pay_nothing() -> None:
    desk = Desk(PaperAccount(positions={"BTCUSDT": -0.1})).ready()
    desk.see(Funding(0, 0.001, T, T))
    assert of(Flow, desk.see(Funding(0, 0.001, T + S, T)))[0].amount == pytest.approx(6.0)
    flat = Desk().ready()
    flat.see(Funding(0, 0.001, T, T))
    assert of(Flow, flat.see(Funding(0, 0.001, T + S, T))) == []
    asleep = Desk()
    asleep.see(Funding(0, 0.001, T, T))
    assert of(Flow, asleep.see(Funding(0, 0.001, T + S, T))) == []


@pytest.mark.parametrize("case", vectors("funding", "funding_cash"))
def test_what_a_settlement_pays_is_as_in_the_vectors(case: Any) -> None:
    given_ = case["input"]
    desk = Desk(PaperAccount(equity=50_000.0, positions={"BTCUSDT": given_["notional"] / 50_000})).ready()
    desk.market(50_000.0)
    desk.see(Funding(0, given_["rate"], T, T))
    (flow,) = of(Flow, desk.see(Funding(0, 0.5, T + S, T)))
    assert flow.amount == pytest.approx(case["expected"])


def test_a_second_buy_of_an_inverse_contract_averages_reciprocals() -> None:
    desk = Desk(inverse=True).ready()
    desk.place(lots=100, ticks=700_000)
    desk.market(30_000.0)
    desk.place(id="o2", lots=100, ticks=700_000)
    (row,) = desk.paper.book.rows[0].holdings.values()
    assert row.entry == pytest.approx(2 / (1 / 60_001 + 1 / 30_001))


def test_an_account_held_in_a_coin_begins_with_what_its_equity_buys_and_is_counted_in_coins() -> None:
    desk = Desk(
        PaperAccount(equity=30_000.0, positions={"BTCUSDT": 600.0}),
        inverse=True,
        settle="BTC",
        step=Decimal(1),
        multiplier=Decimal(100),
    ).ready()
    margin, balance = desk.ask(What.ACCOUNT)
    assert isinstance(margin, Margin)
    assert isinstance(balance, Balance)
    assert balance.asset == "BTC"
    assert [balance.wallet, margin.initial, margin.maintenance] == pytest.approx([0.5, 1 / 20, 0.025])
    desk.see(Funding(0, 0.001, T, T))
    (flow,) = of(Flow, desk.see(Funding(0, 0.5, T + S, T)))
    assert flow.asset == "BTC"
    assert flow.amount == pytest.approx(-0.001)
    (fill,) = of(Filled, desk.place(lots=-10, ticks=None, reduce=True))
    assert fill.fee_asset == "BTC"
    assert fill.fee == pytest.approx(1_000 / 59_999 * 0.0005)
    assert of(Flow, desk.market(42_500.0)) == [], "0.5 coins of equity carry 1 coin of contracts to a third below"
    assert [flow.kind for flow in of(Flow, desk.market(40_300.0))] == ["liquidation"]


def test_funding_of_a_position_without_a_grid_is_in_no_asset() -> None:
    desk = Desk(LONG).ready()
    desk.see(Funding(0, 0.001, T, T))
    desk.paper.book.rows[0].instrument = None
    assert of(Flow, desk.see(Funding(0, 0.001, T + S, T))) == []


def test_when_equity_no_longer_covers_maintenance_everything_is_closed() -> None:
    desk = Desk(PaperAccount(equity=1_000.0, positions={"BTCUSDT": 0.3})).ready()
    resting(desk, ticks=500_000)
    assert of(Flow, desk.market(58_200.0)) == []
    facts = desk.see(Mark(0, 58_000.0, None, desk.now + MS))
    assert [(end.order, end.how) for end in of(Ended, facts)] == [("o1", "liquidated")]
    assert [row.lots for row in of(Position, facts)] == [0]
    (flow,) = of(Flow, facts)
    assert flow.kind == "liquidation"
    assert flow.amount == pytest.approx(-0.3 * 58_000 * 0.025)
    assert desk.paper.wallet == 0.0
    assert desk.lots == 0


@given(st.lists(st.tuples(st.integers(-40, 40).filter(bool), st.integers(-300, 300)), max_size=30))
def test_whatever_is_traded_money_comes_from_prices_and_goes_to_fees(steps: list[tuple[int, int]]) -> None:
    desk = Desk(PaperAccount(equity=1e6)).ready()
    price, worth, fees = 60_000.0, 0.0, 0.0
    for number, (lots, move) in enumerate(steps):
        worth += desk.lots * move / 1000
        price += move
        desk.market(price, spread=0.5)
        facts = desk.place(id=f"n{number}", lots=lots)
        (fill,) = of(Filled, facts)
        worth -= abs(lots) * 0.5 / 1000
        fees += fill.fee
    margin = desk.ask(What.ACCOUNT)[0]
    assert isinstance(margin, Margin)
    assert margin.equity == pytest.approx(1e6 + worth - fees)
