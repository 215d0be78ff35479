"""The dialect in conversation with the local exchange, which shares no code with it: byte for byte, without sockets."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from adapters.binance import Binance
from adapters.simulator import DEMO_KEY, DEMO_SECRET, Account, Exchange, StillMarket
from adapters.simulator import Binance as Venue
from agent.core.events import (
    Absent,
    Accepted,
    Clock,
    Ended,
    Fact,
    Fault,
    Fees,
    Filled,
    Funding,
    Interval,
    Leverage,
    Listed,
    Lost,
    Margin,
    Mark,
    Mode,
    Orders,
    Owner,
    Position,
    Positions,
    Quote,
    Refused,
    Rights,
    Side,
    Tiers,
    Unanswered,
    Unknown,
    Unset,
    Up,
    Used,
    Volume,
)
from agent.core.orders import Style
from agent.core.venue import (
    Arm,
    Ask,
    Batch,
    Call,
    Cancel,
    Credentials,
    Open,
    Place,
    Reply,
    Request,
    Say,
    Secret,
    SetLeverage,
    What,
)
from tests.adapters.binance_kit import MS, S, order

SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Talk:
    """A dialect, an exchange, and the wire between them, in virtual time."""

    def __init__(self, *, hedge: bool = False, isolated: tuple[str, ...] = ()) -> None:
        market = StillMarket({"BTCUSDT": 80_000, "ETHUSDT": 2_500, "SOLUSDT": 100})
        self.exchange = Exchange(market, [Account(balance=10_000, hedge=hedge, isolated=isolated)])
        self.venue = Venue(self.exchange)
        self.now = self.exchange.now_ms * MS
        credentials = Credentials(Secret(DEMO_KEY), Secret(DEMO_SECRET))
        self.dialect = Binance(symbols=SYMBOLS, credentials=credentials, depth=True)
        self.sockets = {}
        self.ask(Ask(What.TIME))
        self.ask(Ask(What.INSTRUMENTS))
        for name in self.dialect.abilities.sockets:
            wish = self.dialect.connect(name, self.now)
            if isinstance(wish, Ask):
                assert self.ask(wish) == []
                (opening,) = self.dialect.acts()
                assert isinstance(opening, Open)
                wish = opening
            parts = urlsplit(wish.url)
            self.sockets[name] = self.venue.connect(f"{parts.path}?{parts.query}".rstrip("?"), self.now)
            assert all(isinstance(fact, Up) for fact in self.dialect.on_open(name, self.now))
            assert not any(isinstance(act, Say) for act in self.dialect.acts())

    def ask(self, request: Request) -> list[Fact]:
        """The facts in the answer, without those about budgets."""
        self.now += 20 * MS
        call = self.dialect.perform(request, self.now)
        assert isinstance(call, Call), call
        parts = urlsplit(call.url)
        reply = self.venue.request(call.method, parts.path, parts.query, dict(call.headers), call.body, self.now)
        headers = {name.lower(): value for name, value in reply.headers.items()}
        facts = self.dialect.on_reply(call, Reply(reply.status, headers, reply.body), self.now)
        assert any(isinstance(fact, Used) for fact in facts)
        return [fact for fact in facts if not isinstance(fact, Used)]

    def listen(self, seconds: int = 2) -> list[Fact]:
        """The facts in the frames of the next seconds."""
        names = {id(session): name for name, session in self.sockets.items()}
        facts: list[Fact] = []
        for _ in range(seconds * 10):
            self.now += 100 * MS
            for session, data in self.venue.advance(self.now):
                assert isinstance(data, bytes)
                facts += self.dialect.on_frame(names[id(session)], data, self.now)
        return facts


def kinds(facts: Sequence[Fact]) -> list[str]:
    return [type(fact).__name__ for fact in facts]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def limit(talk: Talk, price: float, lots: int = 100, **more: object) -> Place:
    fields = {"lots": lots, "ticks": round(price * 10), "created_at": talk.now, "expires_at": talk.now + 10 * S}
    return Place(order(**(fields | more)))


def test_every_question_has_an_answer(talk: Talk) -> None:
    expected: dict[What, set[type]] = {
        What.TIME: {Clock},
        What.INSTRUMENTS: {Listed},
        What.PRICES: {Mark, Funding},
        What.INTERVALS: {Interval},
        What.TIERS: {Tiers},
        What.FEES: {Fees},
        What.LEVERAGE: {Leverage},
        What.MODE: {Mode},
        What.ACCOUNT: {Margin},
        What.POSITIONS: {Positions},
        What.ORDERS: {Orders},
        What.ORDER: {Absent},
        What.TRADES: set(),
        What.VOLUMES: {Volume},
        What.KEY: set(),
        What.OWNER: {Owner},
        What.RIGHTS: {Rights},
    }
    for what in What:
        facts = talk.ask(Ask(what, 0, "never-sent"))
        assert expected[what] <= {type(fact) for fact in facts}, what
        assert not any(isinstance(fact, Unknown | Unanswered) for fact in facts), facts
        if what in (What.PRICES, What.TIERS, What.LEVERAGE, What.INTERVALS, What.VOLUMES):
            assert sum(isinstance(fact, next(iter(expected[what]))) for fact in facts) == 2


def test_streams_bring_prices(talk: Talk) -> None:
    facts = talk.listen()
    assert {Up("public"), Up("market")} <= {fact for fact in facts if isinstance(fact, Up)}
    assert not any(isinstance(fact, Unknown) for fact in facts), facts
    for kind in (Mark, Funding, Quote):
        assert {fact.instrument for fact in facts if isinstance(fact, kind)} == {0, 1}


def test_an_order_rests_and_is_cancelled(talk: Talk) -> None:
    place = limit(talk, 70_000, style=Style.POST)
    assert kinds(talk.ask(place)) == ["Accepted"]
    (orders,) = talk.ask(Ask(What.ORDERS))
    assert isinstance(orders, Orders)
    assert [(one.order, one.instrument, one.lots, one.filled_lots) for one in orders.rows] == [
        (place.order.id, 0, 100, 0)
    ]
    assert kinds(talk.ask(Ask(What.ORDER, 0, place.order.id))) == ["Accepted"]
    assert kinds(talk.ask(Cancel(place.order.id, 0))) == ["Accepted", "Ended"]
    told = [fact for fact in talk.listen() if isinstance(fact, Accepted | Ended)]
    assert kinds(told) == ["Accepted", "Ended"]
    assert isinstance(told[1], Ended)
    assert (told[1].order, told[1].how, told[1].filled_lots) == (place.order.id, "cancelled", 0)
    assert talk.ask(Cancel(place.order.id, 0)) == [Lost(place.order.id, "cancel: unknown order")]


def test_an_order_fills_and_the_account_follows(talk: Talk) -> None:
    place = limit(talk, 80_500, style=Style.IOC)
    facts = talk.ask(place)
    assert kinds(facts) == ["Accepted", "Ended"]
    streamed = talk.listen()
    fills = [fact for fact in streamed if isinstance(fact, Filled)]
    assert sum(fill.lots for fill in fills) == 100
    assert fills[-1].filled_lots == 100
    held = [fact for fact in streamed if isinstance(fact, Position)]
    assert (held[-1].side, held[-1].lots) == (Side.NET, 100)
    (positions,) = talk.ask(Ask(What.POSITIONS))
    assert isinstance(positions, Positions)
    assert [(row.instrument, row.lots) for row in positions.rows if row.lots] == [(0, 100)]
    again = talk.ask(Ask(What.TRADES, 0))
    assert again == fills, "the list of fills and the stream tell the same, under the same ids"
    assert talk.ask(Ask(What.TRADES, 0, since=fills[-1].trade)) == []


def test_refusals_are_classed(talk: Talk) -> None:
    def fault(place: Place) -> Fault:
        (fact,) = talk.ask(place)
        assert isinstance(fact, Refused), fact
        return fact.fault

    assert fault(limit(talk, 80_500, style=Style.POST)) is Fault.PRICE
    assert fault(limit(talk, 80_000, lots=100_000, style=Style.POST)) is Fault.MARGIN
    assert fault(limit(talk, 79_000, lots=-100, reduce=True)) is Fault.REDUCE
    assert fault(limit(talk, 1)) is Fault.RULE
    assert fault(limit(talk, 79_000, side=Side.LONG)) is Fault.RULE
    assert talk.dialect.acts() == [Ask(What.MODE)]


def test_a_batch_is_answered_order_by_order(talk: Talk) -> None:
    rests = limit(talk, 70_000, id="rests", style=Style.POST).order
    takes = limit(talk, 90_000, id="takes", style=Style.POST).order
    fills = limit(talk, 0, id="fills", style=Style.MARKET, ticks=None).order
    facts = talk.ask(Batch((rests, takes, fills)))
    assert [(type(fact).__name__, getattr(fact, "order", "")) for fact in facts] == [
        ("Accepted", "rests"),
        ("Refused", "takes"),
        ("Accepted", "fills"),
        ("Ended", "fills"),
    ]


def test_an_id_is_used_once(talk: Talk) -> None:
    place = limit(talk, 70_000, style=Style.POST)
    talk.ask(place)
    (fact,) = talk.ask(place)
    assert isinstance(fact, Lost), "the first may well be there: it is asked about"


def test_the_dead_mans_switch_cancels(talk: Talk) -> None:
    place = limit(talk, 70_000, style=Style.POST)
    talk.ask(place)
    assert talk.ask(Arm(0, 1_500)) == []
    ended = [fact for fact in talk.listen(4) if isinstance(fact, Ended)]
    assert [fact.order for fact in ended] == [place.order.id]


def test_hedge_mode() -> None:
    talk = Talk(hedge=True)
    (mode,) = talk.ask(Ask(What.MODE))
    assert isinstance(mode, Mode)
    assert mode.hedge
    for name, side, lots in (("l", Side.LONG, 200), ("s", Side.SHORT, -100), ("r", Side.LONG, -50)):
        place = limit(talk, 0, lots=lots, id=name, side=side, style=Style.MARKET, ticks=None, reduce=name == "r")
        assert kinds(talk.ask(place)) == ["Accepted", "Ended"]
    (positions,) = talk.ask(Ask(What.POSITIONS))
    assert isinstance(positions, Positions)
    assert {(row.side, row.lots) for row in positions.rows if row.lots} == {(Side.LONG, 150), (Side.SHORT, -100)}


def test_a_leverage_setting_is_changed_told_and_asked_about(talk: Talk) -> None:
    assert talk.ask(SetLeverage(1, 7)) == [Leverage(1, 7)]
    assert [fact for fact in talk.listen() if isinstance(fact, Leverage)] == [Leverage(1, 7)]
    told = {Leverage(0, 20, isolated=False), Leverage(1, 7, isolated=False)}
    assert set(talk.ask(Ask(What.LEVERAGE))) == told


def test_a_leverage_setting_is_refused_with_the_venues_reason(talk: Talk) -> None:
    def reason(leverage: int) -> str:
        (fact,) = talk.ask(SetLeverage(0, leverage))
        assert isinstance(fact, Unset)
        assert (fact.instrument, fact.leverage) == (0, leverage)
        return fact.reason

    talk.ask(limit(talk, 0, lots=1_000, style=Style.MARKET, ticks=None))
    assert reason(126) == "-4028 Leverage 126 is not valid"
    assert reason(125).startswith("-2027")
    assert reason(7).startswith("-2028")
    assert Leverage(0, 20, isolated=False) in talk.ask(Ask(What.LEVERAGE))


def test_an_isolated_position_keeps_its_wallet_on_the_stream_and_in_the_snapshot() -> None:
    talk = Talk(isolated=("BTCUSDT",))
    for name, index, symbol in (("b", 0, "BTCUSDT"), ("e", 1, "ETHUSDT")):
        place = limit(talk, 0, id=name, instrument=index, symbol=symbol, style=Style.MARKET, ticks=None)
        assert kinds(talk.ask(place)) == ["Accepted", "Ended"]
    own = float(talk.exchange.accounts[DEMO_KEY].position("BTCUSDT").wallet)
    streamed = {fact.instrument: fact.isolated for fact in talk.listen() if isinstance(fact, Position)}
    assert streamed == {0: own, 1: None}
    (positions,) = talk.ask(Ask(What.POSITIONS))
    assert isinstance(positions, Positions)
    assert {row.instrument: row.isolated for row in positions.rows} == {0: own, 1: None}
    (fact,) = talk.ask(SetLeverage(0, 5))
    assert isinstance(fact, Unset)
    assert fact.reason.startswith("-4161")


def test_a_wrong_clock_is_noticed_and_mended(talk: Talk) -> None:
    talk.dialect._offset.ns = 5 * S
    (fact,) = talk.ask(limit(talk, 70_000, expires_at=talk.now + 20 * S))
    assert isinstance(fact, Refused)
    assert fact.fault is Fault.CLOCK
    assert talk.dialect.acts() == [Ask(What.TIME)]
    talk.ask(Ask(What.TIME))
    assert kinds(talk.ask(limit(talk, 70_000, style=Style.POST))) == ["Accepted"]


def test_a_wrong_secret_is_denied() -> None:
    talk = Talk()
    credentials = Credentials(Secret(DEMO_KEY), Secret("wrong"))
    talk.dialect = Binance(symbols=SYMBOLS, credentials=credentials)
    assert kinds(talk.ask(Ask(What.MODE))) == ["Denied", "Unanswered"]
