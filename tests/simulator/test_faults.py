"""Faults between a client and the exchange: each strikes, is counted, and does what it says."""

import hashlib
import hmac
from pathlib import Path

import msgspec
import pytest

from adapters.simulator import (
    DEMO_KEY,
    DEMO_SECRET,
    Account,
    Binance,
    Client,
    Exchange,
    Faults,
    Gateway,
    Reply,
    SeededMarket,
    StillMarket,
    load_faults,
)
from adapters.simulator.binance_streams import CLOSE
from adapters.simulator.client import START

MS = 1_000_000
HEADERS = {"X-MBX-APIKEY": DEMO_KEY}
BUY = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001"


def gateway_with(faults: Faults, *, lively: bool = False) -> Gateway:
    market = SeededMarket(1) if lively else StillMarket({"BTCUSDT": 80_000})
    gateway = Gateway(Binance(Exchange(market, [Account()])), faults)
    gateway.advance(START)
    return gateway


def signed(query: str, now: int) -> str:
    query = f"{query}{'&' if query else ''}timestamp={now // MS}"
    return f"{query}&signature={hmac.new(DEMO_SECRET.encode(), query.encode(), hashlib.sha256).hexdigest()}"


def ask(gateway: Gateway, method: str, path: str, query: str = "", now: int = START) -> Reply | None:
    """Send a request and wait for what comes of it."""
    ticket = gateway.send(method, path, signed(query, now), HEADERS, b"", now)
    while True:
        for found, reply in gateway.advance(now).replies:
            if found == ticket:
                return reply
        now = max(now + 1, gateway.next_at)


def bought(gateway: Gateway) -> int:
    return len(gateway.venue.exchange.ledger.fills)


def order(gateway: Gateway) -> Reply | None:
    return ask(gateway, "POST", "/fapi/v1/order", BUY)


def test_without_faults_everything_passes_at_once() -> None:
    gateway = gateway_with(Faults())
    ticket = gateway.send("GET", "/fapi/v1/time", "", {}, b"", START)
    ((found, reply),) = gateway.advance(START).replies
    assert found == ticket
    assert reply is not None
    assert reply.status == 200
    assert not gateway.counts


@pytest.mark.parametrize(
    ("fault", "status", "executed"),
    [
        ("lost_request", None, 0),
        ("lost_reply", None, 1),
        ("unknown_503_executed", 503, 1),
        ("unknown_503_not_executed", 503, 0),
        ("overload_1008", 503, 0),
        ("limit_429", 429, 0),
    ],
)
def test_requests_fail_in_known_ways(fault: str, status: int | None, executed: int) -> None:
    gateway = gateway_with(msgspec.convert({fault: 1.0}, Faults))
    reply = order(gateway)
    assert (None if reply is None else reply.status) == status
    assert bought(gateway) == executed
    assert gateway.counts == {fault: 1}


def test_a_timeout_is_executed_every_other_time() -> None:
    gateway = gateway_with(Faults(timeout_1007=1.0))
    for _ in range(40):
        reply = order(gateway)
        assert reply is not None
        assert b"-1007" in reply.body
    assert 8 < bought(gateway) < 32


def test_reads_fail_in_ways_of_their_own() -> None:
    gateway = gateway_with(Faults(query_502=1.0, unknown_503_executed=1.0))
    reply = ask(gateway, "GET", "/fapi/v3/account")
    assert reply is not None
    assert (reply.status, reply.headers["Content-Type"]) == (502, "text/html")


def test_a_held_order_is_executed_late_or_refused_by_the_engine() -> None:
    late = refused = 0
    for seed in range(30):
        gateway = gateway_with(Faults(seed=seed, hold=1.0))
        ticket = gateway.send("POST", "/fapi/v1/order", signed(BUY, START), HEADERS, b"", START)
        assert gateway.advance(START).replies == []
        ((found, reply),) = gateway.advance(START + 12_000 * MS).replies
        assert found == ticket
        assert reply is not None
        if reply.status == 200:
            late += 1
            assert gateway.venue.exchange.ledger.fills[0].at_ms > START // MS
        else:
            refused += 1
            assert b"-5028" in reply.body
    assert late
    assert refused


def test_a_stale_read_is_an_answer_from_before() -> None:
    gateway = gateway_with(Faults(stale_reads=1.0, stale_ms=5_000))
    first = ask(gateway, "GET", "/fapi/v3/positionRisk")
    order(gateway)
    again = ask(gateway, "GET", "/fapi/v3/positionRisk", now=START + 4_000 * MS)
    assert again == first
    later = ask(gateway, "GET", "/fapi/v3/positionRisk", now=START + 9_001 * MS)
    assert later is not None
    assert b'"positionAmt":"0.001"' in later.body
    assert gateway.counts["stale_reads"] == 1


def marks(gateway: Gateway, seconds: int) -> list[bytes]:
    """The mark frames one socket receives in a time, a look every 100 ms."""
    session = gateway.connect("/market/ws/btcusdt@markPrice@1s", START)
    received: list[bytes] = []
    for tick in range(seconds * 10 + 1):
        frames = gateway.advance(START + tick * 100 * MS).frames
        received.extend(frame for one, frame in frames if one is session)
    return received


def test_frames_are_lost() -> None:
    gateway = gateway_with(Faults(drop=1.0), lively=True)
    assert marks(gateway, 10) == []
    assert gateway.counts["drop"] == 10


def test_frames_come_twice() -> None:
    received = marks(gateway_with(Faults(repeat=1.0), lively=True), 10)
    assert len(received) == 20
    assert len(set(received)) == 10


def test_frames_overtake_each_other() -> None:
    received = marks(gateway_with(Faults(reorder=0.5), lively=True), 60)
    assert received != sorted(received)
    assert len(set(received)) == len(received)


def test_without_reordering_latency_keeps_the_order() -> None:
    received = marks(gateway_with(Faults(delay_ms=700), lively=True), 60)
    assert received == sorted(received)


def test_a_topic_falls_silent_and_comes_back() -> None:
    gateway = gateway_with(Faults(seed=2, stall=0.05, stall_ms=5_000), lively=True)
    received = marks(gateway, 120)
    assert gateway.counts["stall"] > 1
    assert 60 < len(received) <= 120 - 4 * gateway.counts["stall"]


def test_sockets_are_cut() -> None:
    gateway = gateway_with(Faults(disconnect=1.0), lively=True)
    assert marks(gateway, 10) == [CLOSE]
    assert gateway.counts["disconnect"] == 1


def test_a_listen_key_ends_early() -> None:
    gateway = gateway_with(Faults(expire_listen_key=1.0))
    client = Client(gateway.venue)
    session = gateway.connect(
        "/private/ws?listenKey=" + client.send("POST", "/fapi/v1/listenKey").data["listenKey"], START
    )
    client.place("BTCUSDT", "BUY", "0.001")
    frames = [frame for one, frame in gateway.advance(START).frames if one is session]
    frames += [frame for one, frame in gateway.advance(START + MS).frames if one is session]
    assert any(b"listenKeyExpired" in frame for frame in frames)


def test_the_exchanges_clock_may_be_ahead() -> None:
    gateway = gateway_with(Faults(clock_skew_ms=60_000))
    reply = ask(gateway, "GET", "/fapi/v3/account")
    assert reply is not None
    assert b"-1021" in reply.body
    reply = ask(gateway, "GET", "/fapi/v1/time")
    assert reply is not None
    assert str(START // MS + 60_000).encode() in reply.body


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_a_fault_file(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"faults.{suffix}"
    file.write_text('{"seed": 4, "drop": 0.5}' if suffix == "json" else "seed = 4\ndrop = 0.5\n")
    assert load_faults(file) == Faults(seed=4, drop=0.5)


@pytest.mark.parametrize("text", ["sead = 4", "drop = 'often'", "drop = 1.5", "delay_ms = -1", "seed ="])
def test_a_bad_fault_file_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"faults\.toml"):
        load_faults(file)
