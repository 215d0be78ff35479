"""Faults of requests: each strikes, is counted, and does what it says."""

import gzip
import zlib

import msgspec
import pytest

from adapters.simulator import Reply, RequestFault
from adapters.simulator.binance import ROUTES
from adapters.simulator.faults import REQUESTS, REQUESTS_ABOUT
from adapters.simulator.wire import Close
from tests.simulator.kit import BUY, HEADERS, MS, REST, S, World, signed


def body(reply: Reply | None) -> bytes:
    assert reply is not None
    return reply.body


def test_without_faults_everything_passes_at_once() -> None:
    world = World()
    ticket = world.gateway.send("GET", "/fapi/v1/time", "", {}, b"", world.now)
    ((found, reply),) = world.gateway.advance(world.now).replies
    assert found == ticket
    assert reply is not None
    assert reply.status == 200
    assert not world.counts


@pytest.mark.parametrize(
    ("do", "status", "executed"),
    [
        ("lose", None, 0),
        ("lose reply", None, 1),
        ("unknown done", 503, 1),
        ("unknown", 503, 0),
        ("overload", 503, 0),
        ("limit", 429, 0),
        ("ban", 418, 0),
        ("bad gateway", 502, 0),
        ("unavailable", 503, 0),
        ("redirect", 302, 0),
        ("html", 200, 0),
        ("error inside 200", 200, 1),
        ("cut", None, 1),
        ("drip", None, 1),
        ("bomb", 200, 1),
    ],
)
def test_requests_fail_in_known_ways(do: str, status: int | None, executed: int) -> None:
    world = World(RequestFault(do))
    reply = world.buy()
    assert (None if reply is None else reply.status) == status
    assert world.fills == executed
    assert world.counts == {f"requests: {do}": 1}


@pytest.mark.parametrize(
    ("do", "text"),
    [
        ("unknown", b"Unknown error, please check your request"),
        ("unknown done", b"Unknown error, please check your request"),
        ("timeout", b"-1007"),
        ("overload", b"-1008"),
        ("limit", b"-1003"),
        ("ban", b"banned until"),
        ("unavailable", b"Service Unavailable."),
        ("error inside 200", b'"code":-1000'),
        ("html", b"<html>"),
        ("bad gateway", b"<html>"),
    ],
)
def test_a_failure_is_told_in_the_venues_words(do: str, text: bytes) -> None:
    assert text in body(World(RequestFault(do)).buy())


def test_a_timeout_is_executed_every_other_time() -> None:
    world = World(RequestFault("timeout"))
    for _ in range(40):
        assert b"-1007" in body(world.buy())
    assert 8 < world.fills < 32


def test_an_order_is_refused_with_any_code_the_venue_has() -> None:
    reply = World(RequestFault("refuse", on="order", code=-2019)).buy()
    assert reply == Reply(400, {"Content-Type": "application/json"}, b'{"code":-2019,"msg":"Margin is insufficient."}')


def test_a_limit_holds_for_all_requests_of_its_time() -> None:
    world = World(RequestFault("limit", on="order", ms=3_000, times=1))
    reply = world.buy()
    assert reply is not None
    assert reply.headers["Retry-After"] == "3"
    world.wait(2)
    again = world.ask("GET", "/fapi/v3/account")
    assert again is not None
    assert (again.status, again.headers["Retry-After"]) == (429, "1")
    world.wait(1)
    assert world.buy() is not None
    assert world.fills == 1
    assert world.counts == {"requests: limit": 1}
    (early,) = world.exchange.ledger.early
    assert (early.what, early.until - early.told_at) == ("GET /fapi/v3/account", 3 * S)


def test_a_ban_ends_when_it_says() -> None:
    world = World(RequestFault("ban", ms=5_000, times=1))
    banned = world.buy()
    assert banned is not None
    assert str(world.now // MS + 5_000).encode() in banned.body
    assert world.exchange.ledger.turned_away == {418: 1}
    world.wait(5)
    again = world.buy()
    assert again is not None
    assert again.status == 200


def test_a_held_order_is_executed_late_or_refused_by_the_engine() -> None:
    late = refused = 0
    for seed in range(30):
        world = World(RequestFault("hold"), seed=seed)
        start = world.now
        ticket = world.gateway.send("POST", "/fapi/v1/order", signed(BUY, start), HEADERS, b"", start)
        assert world.gateway.advance(start).replies == []
        ((found, reply),) = world.gateway.advance(start + 12 * S).replies
        assert found == ticket
        assert reply is not None
        if reply.status == 200:
            late += 1
            assert world.exchange.ledger.fills[0].at_ms > start // MS
        else:
            refused += 1
            assert b"-5028" in reply.body
    assert late
    assert refused


def test_a_stale_read_is_an_answer_from_before() -> None:
    world = World(RequestFault("stale", on="positions", ms=5_000))
    first = world.ask("GET", "/fapi/v3/positionRisk")
    world.buy()
    world.now += 4 * S
    assert world.ask("GET", "/fapi/v3/positionRisk") == first
    world.now += 1 * S + MS
    assert b'"positionAmt":"0.001"' in body(world.ask("GET", "/fapi/v3/positionRisk"))
    assert world.counts["requests: stale"] == 1


def test_a_list_comes_back_empty_once() -> None:
    world = World(RequestFault("empty", on="orders", times=1))
    world.ask("POST", "/fapi/v1/order", REST)
    assert body(world.ask("GET", "/fapi/v1/openOrders")) == b"[]"
    assert len(msgspec.json.decode(body(world.ask("GET", "/fapi/v1/openOrders")))) == 1


def test_a_batch_is_answered_in_part_though_all_of_it_is_done() -> None:
    world = World(RequestFault("truncate", on="batch"))
    one = '{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"0.001"}'
    reply = world.ask("POST", "/fapi/v1/batchOrders", f"batchOrders=[{one},{one},{one}]")
    assert len(msgspec.json.decode(body(reply))) == 1
    assert world.fills == 3


def test_what_can_not_be_cut_short_is_left_alone() -> None:
    world = World(RequestFault("truncate"), RequestFault("empty"))
    assert b"serverTime" in body(world.ask("GET", "/fapi/v1/time"))
    assert not world.counts


@pytest.mark.parametrize("path", ["/fapi/v3/account", "/fapi/v1/openOrders"])
def test_a_reply_has_a_field_more_or_less(path: str) -> None:
    fields = []
    for faults in ((), (RequestFault("new field", on=f"GET {path}"),), (RequestFault("lost field", on=f"GET {path}"),)):
        world = World(*faults)
        world.ask("POST", "/fapi/v1/order", REST)
        found = msgspec.json.decode(body(world.ask("GET", path)))
        fields.append(set(found[0] if isinstance(found, list) else found))
    plain, more, less = fields
    assert more - plain == {"zz"}
    assert len(plain - less) == 1


def test_a_reply_is_garbled() -> None:
    plain, garbled = World().ask("GET", "/fapi/v1/time"), World(RequestFault("garble")).ask("GET", "/fapi/v1/time")
    assert body(garbled) != body(plain)
    assert len(body(garbled)) == len(body(plain))


def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    reply = World(RequestFault("bomb")).ask("GET", "/fapi/v1/time")
    assert reply is not None
    assert reply.headers["Content-Encoding"] == "gzip"
    assert len(reply.body) < 2**17
    assert len(zlib.decompressobj(wbits=31).decompress(reply.body, 2**20)) == 2**20
    assert len(gzip.decompress(reply.body)) == 64 * 2**20


def test_a_fault_strikes_what_it_is_on_in_its_time_and_so_often() -> None:
    world = World(RequestFault("bad gateway", on="GET /fapi/v3/account", from_s=1, until_s=2, times=2))
    answers = []
    for path in ("/fapi/v3/account", "/fapi/v3/account", "/fapi/v3/balance", "/fapi/v3/account", "/fapi/v3/account"):
        reply = world.ask("GET", path)
        assert reply is not None
        answers.append(reply.status)
        world.wait(0.4)
    assert answers == [200, 200, 200, 502, 502]
    world.now += 10 * S
    assert b"502" not in body(world.ask("GET", "/fapi/v3/account"))


def test_a_fault_spares_the_first_and_strikes_only_what_holds_its_text() -> None:
    world = World(RequestFault("refuse", on="order", code=-5022, text="timeInForce=GTX", after=1, times=2))
    maker = REST.replace("GTC", "GTX")
    orders = (maker, BUY, maker, BUY, maker, maker)
    replies = [world.ask("POST", "/fapi/v1/order", order) for order in orders]
    assert [reply.status for reply in replies if reply] == [200, 200, 400, 200, 400, 200]


def test_a_failure_may_have_another_code() -> None:
    assert b'"code":-1006' in body(World(RequestFault("unknown done", code=-1006)).buy())


def test_an_order_is_taken_and_its_client_id_found_to_be_in_use() -> None:
    world = World(RequestFault("refuse done", on="order", code=-4116))
    reply = world.buy()
    assert reply is not None
    assert (reply.status, b"ClientOrderId is duplicated." in reply.body, world.fills) == (400, True, 1)


@pytest.mark.parametrize(
    ("on", "method", "path"),
    [
        ("order", "POST", "/fapi/v1/order"),
        ("cancel", "DELETE", "/fapi/v1/order"),
        ("batch", "POST", "/fapi/v1/batchOrders"),
        ("query", "GET", "/fapi/v1/order"),
        ("orders", "GET", "/fapi/v1/openOrders"),
        ("positions", "GET", "/fapi/v3/positionRisk"),
        ("account", "GET", "/fapi/v3/account"),
        ("rules", "GET", "/fapi/v1/exchangeInfo"),
        ("time", "GET", "/fapi/v1/time"),
        ("key", "PUT", "/fapi/v1/listenKey"),
        ("prices", "GET", "/fapi/v1/premiumIndex"),
        ("history", "GET", "/fapi/v1/userTrades"),
        ("settings", "POST", "/fapi/v1/leverage"),
        ("switch", "POST", "/fapi/v1/countdownCancelAll"),
        ("rights", "GET", "/sapi/v1/account/apiRestrictions"),
        ("other", "GET", "/fapi/v1/trades"),
        ("changes", "POST", "/fapi/v1/leverage"),
        ("reads", "GET", "/fapi/v1/order"),
        ("*", "PUT", "/fapi/v1/listenKey"),
    ],
)
def test_a_request_is_known_by_what_it_is_about(on: str, method: str, path: str) -> None:
    assert World(RequestFault("lose", on=on)).ask(method, path) is None


@pytest.mark.parametrize(("on", "method", "path"), [("changes", "POST", "/fapi/v1/listenKey"), ("reads", "POST", "/x")])
def test_a_request_is_not_taken_for_another(on: str, method: str, path: str) -> None:
    assert World(RequestFault("lose", on=on)).ask(method, path) is not None


def test_every_word_for_a_request_is_one_the_venue_uses() -> None:
    world = World()
    paths = [("GET", "/other"), *((method, path) for method, path in ROUTES)]
    assert {world.venue.kind(method, path) for method, path in paths} == set(REQUESTS_ABOUT)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (RequestFault("lose", on="connect"), Close(how="reset")),
        (RequestFault("cut", on="connect"), Close(how="reset")),
        (RequestFault("unavailable", on="connect"), 503),
        (RequestFault("limit", on="connect"), 429),
        (RequestFault("lose"), None),
    ],
)
def test_a_websocket_may_not_be_let_in(fault: RequestFault, answer: Close | int | None) -> None:
    world = World(fault)
    came = world.gateway.admit(world.now)
    assert (came.status if isinstance(came, Reply) else came) == answer
    assert world.gateway.knocks == [world.now]


def test_a_new_plan_ends_what_the_old_one_began() -> None:
    world = World(RequestFault("limit", ms=60_000))
    assert body(world.buy())
    world.gateway.faults = World(RequestFault("lose", from_s=1)).gateway.faults
    reply = world.buy()
    assert reply is not None
    assert reply.status == 200
    world.wait(1)
    assert world.buy() is None  # its seconds count from its own beginning


def test_the_exchanges_clock_may_be_ahead() -> None:
    world = World(clock_skew_ms=60_000)
    assert b"-1021" in body(world.ask("GET", "/fapi/v3/account"))
    assert str(world.now // MS + 60_000).encode() in body(world.ask("GET", "/fapi/v1/time"))


def test_every_kind_of_request_fault_is_tried_here() -> None:
    with open(__file__) as file:
        text = file.read()
    assert [do for do in REQUESTS if f'"{do}"' not in text] == []
