"""Market data that stops, stutters, lies or floods: what the agent does about it, with the shipped dialect, against the
local exchange in virtual time."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from adapters import binance
from adapters.binance import LIFE_NS, Binance
from adapters.simulator.faults import FrameFault, RequestFault
from agent.core.desk import Closed, Desk, Frame, Opened, Tick
from agent.core.events import MARKET
from agent.core.orders import MS, S
from agent.core.prices import LEAP
from agent.core.pulse import LONGEST_REST_NS, REST_NS
from agent.core.venue import Call, Open, Shut, What
from tests.faults.striking import Struck
from tests.faults.witness import AT_REST, LIMIT_NS, SHARES, Witnessed, event, world
from tests.storm.world import START

NO_PRICES = RequestFault(do="bad gateway", on="prices", from_s=15)
"""The question that would stand in for a silent stream is not answered either."""
SELLS = event(do="trade", symbol="BTCUSDT", quantity=-1, at_s=22)
"""A person sells bitcoin, which the agent wants to buy back: an increase."""


def fresh(on: Witnessed) -> bool:
    """Whether no order was sized from an older price than is allowed."""
    return all(sent.age <= LIMIT_NS for sent in on.sent)


def mended(on: Witnessed) -> None:
    """In the end the account is where it should be, and the agent knows it."""
    assert on.engine.state == "holding", on.engine.state
    drift = on.engine.drift
    assert drift is not None
    assert drift.reach < 1
    assert all(on.known(symbol) == on.held(symbol) for symbol in on.symbols)


# Silence


@pytest.mark.fault("A1")
@pytest.mark.parametrize("answered", [True, False])
def test_marks_that_stop_while_pings_are_answered_are_noticed_in_time(answered: bool, struck: Struck) -> None:
    silent = FrameFault(do="mute", on="mark", ms=60_000, from_s=20, until_s=21.5)
    on = world(silent, SELLS, *(() if answered else (NO_PRICES,)))
    on.go(20)
    took = on.until(lambda: len(on.engine.guards[0].pulse.silent) == 3)
    struck("A1", on.count("frames: mute"))
    assert took <= 5
    assert len(on.said("no mark price for 5 s")) == 3, "each symbol is spoken of"
    on.go(12)
    assert What.PRICES in [what for at, what in on.asked if at > START + 20 * S], "the venue is asked instead"
    assert [socket for _, socket, _ in on.closed] == [MARKET], "and the stream is connected anew"
    on.go(20)
    assert fresh(on)
    assert on.sent, "the correction came, once prices did"
    assert len(on.said("no mark price for 5 s")) == 3, "once each"
    mended(on)


@pytest.mark.fault("A2")
def test_one_symbol_that_goes_silent_holds_up_nothing_that_does_not_depend_on_it(struck: Struck) -> None:
    silent = FrameFault(do="mute", on="mark", symbol="BTCUSDT", ms=3_600_000, from_s=20)
    bought = event(do="trade", symbol="ETHUSDT", quantity=15, at_s=30)
    comes = event(do="transfer", amount=30_000, at_s=60)
    on = world(silent, NO_PRICES, bought, comes).go(100)
    struck("A2", on.count("frames: mute"))
    assert {sent.order.symbol for sent in on.sent} == {"ETHUSDT", "SOLUSDT"}
    assert all(sent.order.reduce for sent in on.sent), "reductions elsewhere go, increases do not"
    assert abs(on.held("ETHUSDT") - 30) < 1
    assert "all prices fresh: the mark price of BTCUSDT is too old to know the leverage" in " ".join(on.said("too old"))
    assert len(on.said("no mark price")) == 1
    assert fresh(on)


@pytest.mark.fault("A2")
def test_while_the_question_for_prices_is_answered_a_silent_symbol_is_traded_by_the_answers(struck: Struck) -> None:
    silent = FrameFault(do="mute", on="mark", symbol="BTCUSDT", ms=3_600_000, from_s=20)
    on = world(silent, SELLS).go(60)
    struck("A2", on.count("frames: mute"))
    assert fresh(on)
    mended(on)


@pytest.mark.fault("A2")
def test_a_symbol_that_the_venue_has_stopped_does_not_cost_the_others_their_stream_again_and_again(
    struck: Struck,
) -> None:
    silent = FrameFault(do="mute", on="mark", symbol="BTCUSDT", ms=36_000_000, from_s=20)
    on = world(silent).go(1800)
    struck("A2", on.count("frames: mute"))
    times = [at for at, socket, _ in on.closed if socket == MARKET]
    assert 2 <= len(times) <= 6
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert gaps[0] >= REST_NS
    assert all(later > sooner or later >= LONGEST_REST_NS for sooner, later in pairwise(gaps))


@pytest.mark.fault("A3")
def test_a_connection_of_which_nothing_comes_any_more_is_given_up(struck: Struck) -> None:
    """In virtual time nobody answers pings: silence alone has to be enough. See tests/wire for a real one."""
    on = world(FrameFault(do="half open", on="mark", from_s=20, times=1), SELLS)
    on.go(20)
    took = on.until(lambda: bool(on.engine.guards[0].pulse.silent))
    struck("A3", on.count("frames: half open"))
    assert took <= 5
    on.until(lambda: any(socket == MARKET for _, socket, _ in on.closed), most_s=15)
    on.go(30)
    assert fresh(on)
    mended(on)


# Connections that end


@pytest.mark.fault("A4")
@pytest.mark.parametrize("how", ["disconnect", "reset", "cut"])
@pytest.mark.parametrize("topic", ["mark", "quote", "private"])
def test_after_any_end_of_a_connection_everything_is_asked_before_anything_is_decided(
    how: str, topic: str, struck: Struck
) -> None:
    on = world(FrameFault(do=how, on=topic, from_s=20, times=1), SELLS).go(22.5)
    on.go(30)
    struck("A4", on.count(f"frames: {how}"))
    assert len(on.closed) == 1
    _, socket, _ = on.closed[0]
    down = next(at for at, note in on.notes if f"stream {socket} is down" in note.text)
    up = next(at for at, note in on.notes if f"stream {socket} is up" in note.text and at > down)
    assert not [sent for sent in on.sent if down <= sent.at <= up], "while it is away nothing is sent"
    assert fresh(on)
    mended(on)


@pytest.mark.fault("A4")
def test_the_first_decision_after_the_private_stream_came_back_waits_for_the_answers(struck: Struck) -> None:
    slow = RequestFault(do="bad gateway", on="positions", from_s=19, until_s=30)
    on = world(FrameFault(do="disconnect", on="account", from_s=20, times=1), slow, SELLS).go(29.9)
    struck("A4", on.count("frames: disconnect"))
    assert on.when("stream private is up")[-1] < 28
    assert on.engine.state == "waiting for answers of the venue"
    assert not on.sent, "the change is there to see, and nothing is decided from it"
    on.go(30)
    assert on.sent
    mended(on)


@pytest.mark.fault("A5")
def test_three_days_of_forced_disconnections_cost_seconds(struck: Struck) -> None:
    """Sockets are renewed one by one before the venue ends them; each is away for less than a mark's limit."""
    symbols = tuple(SHARES)
    on = world()
    dialect = Binance(symbols=symbols, credentials=None)
    desk = Desk([dialect], on.engine, salt="days", lag_ns=None)
    desk.channels[0].listed = True  # the instruments are not what this is about
    now, ends, opened, gaps = START, 0, {}, []
    while now < START + 3 * 24 * 3600 * S:
        acts = list(desk.take((Tick(),), now).acts)
        for act in acts:
            if isinstance(act, Shut):
                ends += 1
                acts += desk.take((Closed(act.socket, act.reason),), now).acts
                opened[act.socket] = now
            elif isinstance(act, Open):
                acts += desk.take((Opened(act.socket),), now + 50 * MS).acts
                if act.socket in opened:
                    gaps.append(now + 50 * MS - opened.pop(act.socket))
        for socket in dialect.abilities.sockets:
            if desk.lines[socket].open:
                desk.take((Frame(socket, b'{"id":1,"result":null}'),), now)
        due = [line.due_at for line in desk.lines.values() if line.due_at is not None]
        now = min([now + 9 * S, *(max(at, now + MS) for at in due)])
    struck("A5", ends)
    assert ends == 2 * (3 * 24 * 3600 * S // LIFE_NS)
    assert len(gaps) == ends
    assert max(gaps) <= S
    assert not any(line.opened_at and now - line.opened_at > 24 * 3600 * S for line in desk.lines.values())


@pytest.mark.fault("A6")
@pytest.mark.parametrize("do", ["limit", "ban", "bad gateway"])
def test_refused_connections_are_tried_within_the_venues_budget(do: str, struck: Struck) -> None:
    """300 connections in five minutes is what the venue allows one address."""
    end = FrameFault(do="disconnect", on="*", from_s=20, times=3)
    refuse = RequestFault(do=do, on="connect", from_s=20, until_s=620)
    on = world(end, refuse).go(620)
    tries = on.count(f"requests: {do}")
    struck("A6", tries)
    assert tries >= (1 if do == "ban" else 10)
    at = on.gateway.knocks
    assert max(sum(start <= when < start + 300 * S for when in at) for start in at) <= 150
    assert len({later - sooner for sooner, later in pairwise(at)}) > len(at) // 2, "no two pauses alike"
    on.go(60)
    mended(on)


@pytest.mark.fault("A7")
@pytest.mark.parametrize("do", ["ignore", "refuse"])
def test_a_subscription_that_is_not_acknowledged_is_no_subscription(
    do: str, struck: Struck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance, "PATH_MAX", 0)  # as with too many symbols for the address
    on = world(FrameFault(do=do, on="*", times=2)).go(9)
    struck("A7", on.count(f"frames: {do}"))
    assert on.engine.unready() == "stream public, market"
    on.until(lambda: on.engine.state == "holding", most_s=120)
    mended(on)


@pytest.mark.fault("A7")
def test_a_subscription_to_a_part_of_the_symbols_leaves_the_rest_unready(
    struck: Struck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binance, "PATH_MAX", 0)
    monkeypatch.setattr(binance, "SUBSCRIBE_MAX", 1)
    on = world(FrameFault(do="ignore", on="*", text="btcusdt@markPrice", times=1), SELLS).go(60)
    struck("A7", on.count("frames: ignore"))
    assert on.said("BTCUSDT stays silent"), "who is not subscribed to is missed like who has gone silent"
    assert fresh(on)
    mended(on)


# Frames that should not be there


@pytest.mark.fault("A8")
@pytest.mark.parametrize("do", ["repeat", "reorder", "replay"])
def test_frames_that_come_twice_late_or_again_change_nothing(do: str, struck: Struck) -> None:
    fall = event(do="jump", symbol="ETHUSDT", factor="0.96", at_s=20, every_s=5, times=6)
    on = world(FrameFault(do=do, on="*", chance=0.5), fall)
    newest: dict[int, int] = {}

    def monotone() -> None:
        for index, row in enumerate(on.engine.book.rows):
            if row.mark is not None:
                assert row.mark.at >= newest.get(index, 0), "an older price has replaced a newer one"
                newest[index] = row.mark.at

    on.go(60, monotone)
    struck("A8", on.count(f"frames: {do}"))
    on.heal()
    on.go(20)
    assert fresh(on)
    mended(on)


ABSURD = ("spike", "zero", "negative", "nan", "overflow", "crossed")


@pytest.mark.fault("A9")
@pytest.mark.parametrize("do", ABSURD)
@pytest.mark.parametrize("topic", ["mark", "quote"])
def test_no_order_is_sized_or_priced_from_an_absurd_price(do: str, topic: str, struck: Struck) -> None:
    absurd = FrameFault(do=do, on=topic, symbol="BTCUSDT", from_s=20, until_s=40, chance=0.4 if topic == "mark" else 1)
    on = world(absurd, SELLS, delay_ms=20)
    equity: list[float] = []

    def value() -> None:
        if on.engine.book.equity is not None:
            equity.append(on.engine.book.equity)

    on.go(60, value)
    struck("A9", on.count(f"frames: {do}"))
    for sent in on.sent:
        true = float(on.exchange.matcher.mark(sent.order.symbol))
        assert sent.order.ticks is not None
        instrument = on.engine.book.rows[sent.order.instrument].instrument
        assert instrument is not None
        assert abs(float(instrument.price(sent.order.ticks)) / true - 1) < 0.02
        assert sent.order.value / abs(sent.order.lots) == pytest.approx(true * float(instrument.step), rel=0.01)
    assert max(equity) / min(equity) < 1.01, "nor is the account valued by it"
    bought = sum(sent.order.lots for sent in on.sent if sent.order.symbol == "BTCUSDT")
    assert 980 <= bought <= 1010, "what was sold is bought back, and no more"
    mended(on)


@pytest.mark.fault("A9")
def test_a_real_fall_is_believed_with_the_quote_or_once_it_has_lasted(struck: Struck) -> None:
    fall = event(do="jump", symbol="BTCUSDT", factor="0.85", at_s=20)
    on = world(FrameFault(do="drop", on="quote", from_s=20, until_s=26), fall).go(20)
    took = on.until(lambda: on.engine.book.rows[0].mark is not None and on.engine.book.rows[0].mark.price < 52_000)
    struck("A9", on.count("events: jump"))
    assert 3 <= took <= 5.5
    assert on.said("is not believed yet: it leapt from 60000 to 51000")
    on.go(30)
    mended(on)


@pytest.mark.fault("A11")
def test_a_burst_of_a_hundred_times_the_rate_is_one_price(struck: Struck) -> None:
    """Every copy is a step, none an order. See tests/wire for one on a real socket."""
    on = world(FrameFault(do="burst", on="mark", copies=100, from_s=20, until_s=40), SELLS).go(60)
    struck("A11", on.count("frames: burst"))
    assert sum(sent.order.symbol == "BTCUSDT" for sent in on.sent) == 1
    assert not on.closed
    assert fresh(on)
    mended(on)


@pytest.mark.fault("A12")
@pytest.mark.parametrize("other", ["ETHUSDT", "XRPUSDT"])
def test_a_frame_of_another_symbol_does_not_become_a_price_of_ours(other: str, struck: Struck) -> None:
    swap = FrameFault(do="swap", on="mark", symbol="BTCUSDT", other=other, from_s=20, until_s=35)
    on = world(swap, SELLS)
    seen: list[float] = []

    def look() -> None:
        if on.engine.book.rows[1].mark is not None:
            seen.append(on.engine.book.rows[1].mark.price)

    on.go(60, look)
    struck("A12", on.count("frames: swap"))
    assert max(seen) == pytest.approx(3_000, rel=LEAP), "ether never costs what bitcoin does"
    assert fresh(on)
    if other == "XRPUSDT":
        assert on.said("XRPUSDT is not in the portfolio")
    mended(on)


@pytest.mark.fault("A12")
def test_streams_are_of_the_environment_that_requests_go_to(struck: Struck) -> None:
    for url in (
        "wss://stream.binancefuture.com",
        "ws://127.0.0.1:9001",
        "wss://fstream.binance.com.example.org",
        "ws://fstream.binance.com",
    ):
        with pytest.raises(ValueError, match="stream_url"):
            Binance(symbols=("BTCUSDT",), credentials=None, stream_url=url)
        struck("A12")


@pytest.mark.fault("A13")
@pytest.mark.parametrize("ms", [-300_000, 300_000])
def test_a_step_of_the_venues_clock_freezes_nothing_for_longer_than_it_takes_to_measure_it(
    ms: int, struck: Struck
) -> None:
    on = world(event(do="clock", ms=ms, at_s=20), SELLS)
    on.go(20.5)
    struck("A13", on.count("events: clock"))
    on.go(30)
    ages = [on.engine.book.mark_age(index, on.now) for index in range(3)]
    assert all(age is not None and age < 2 * S for age in ages), ages
    assert on.sent, "it goes on trading"
    mended(on)


@pytest.mark.fault("A13")
def test_event_times_alone_that_jump_back_block_no_longer_than_a_question_takes(struck: Struck) -> None:
    """What dates itself minutes back counts as that old: the prices of answers stand in, which don't."""
    on = world(FrameFault(do="backwards", on="mark", ms=300_000, from_s=20, until_s=140), SELLS).go(60)
    struck("A13", on.count("frames: backwards"))
    assert on.sent, "the correction was not held up for minutes"
    mended(on)


# What is measured besides


def test_a_frame_that_lay_in_a_buffer_is_as_old_as_what_it_says() -> None:
    on = world().go(20)
    market = on.sessions[MARKET]
    frame = msgspec.json.encode(
        {
            "stream": "btcusdt@markPrice@1s",
            "data": {
                "e": "markPriceUpdate", "E": (START + 21 * S) // MS, "s": "BTCUSDT", "p": "60001", "i": "60001",
                "r": "0.0001", "T": (START + 3600 * S) // MS,
            },
        }
    )  # fmt: skip
    assert market is not None
    step = on.desk.take((Frame(MARKET, frame),), START + 80 * S)
    age = on.engine.book.mark_age(0, START + 80 * S)
    assert age is not None
    assert age > 58 * S
    assert any(isinstance(act, Call) for act in step.acts)


def test_the_market_stream_is_asked_for_by_its_name() -> None:
    assert MARKET in Binance(symbols=tuple(AT_REST), credentials=None).abilities.sockets
