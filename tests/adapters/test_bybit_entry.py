"""Orders of Bybit on a websocket: what is said there, what answers mean, and when they go over HTTP instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.bybit import ENTRY_URL, Bybit
from adapters.bybit_entry import SOCKET
from agent.core.events import Fault, Lost, Refused, Unknown, Up
from agent.core.venue import Ask, Batch, Call, Cancel, Place, Say, SetLeverage, Shut, What
from tests.adapters.binance_kit import MS, NOW, S, order
from tests.adapters.bybit_kit import build, call_for, frame


def entered() -> Bybit:
    """One whose websocket for orders has logged in."""
    dialect = build(entry_url=ENTRY_URL)
    assert dialect.on_open(SOCKET, NOW) == []
    (login,) = [json.loads(act.text) for act in dialect.acts() if isinstance(act, Say)]
    assert login["op"] == "auth"
    assert isinstance(call_for(dialect, Place(order())).url, str)
    assert call_for(dialect, Place(order())).socket is None, "not before it has let us in"
    assert frame(dialect, SOCKET, {"retCode": 0, "retMsg": "OK", "op": "auth", "connId": "c"}) == [Up(SOCKET)]
    return dialect


def answered(dialect: Bybit, call: Call, code: int, **data: Any) -> list[Any]:
    """The facts when a call is answered on the socket."""
    entry = dialect.abilities.entry
    assert entry is not None
    name = json.loads(call.body)["reqId"]
    header = {"X-Bapi-Limit": "10", "Timenow": "1"}
    told = {"reqId": name, "retCode": code, "retMsg": "words", "op": "order.create", "data": data, "header": header}
    found = entry.answer(json.dumps(told).encode())
    assert found is not None
    tag, reply = found
    assert tag == call.tag
    return [fact for fact in dialect.on_reply(call, reply, NOW) if type(fact).__name__ != "Allowed"]


def test_orders_and_cancels_are_said_and_everything_else_is_asked_over_http() -> None:
    dialect = entered()
    call = call_for(dialect, Place(order(expires_at=NOW + 2 * S)))
    assert (call.socket, call.url, call.headers) == (SOCKET, "", ())
    said = json.loads(call.body)
    assert said["op"] == "order.create"
    assert said["args"] == [json.loads(call_for(build(), Place(order())).body)], "as over HTTP"
    stamp, window = (int(said["header"][f"X-BAPI-{name}"]) for name in ("TIMESTAMP", "RECV-WINDOW"))
    assert stamp + window < (NOW + 2 * S) // MS
    assert json.loads(call_for(dialect, Cancel("x", 0)).body)["op"] == "order.cancel"
    for request in (Ask(What.ORDERS), SetLeverage(0, 5), Batch((order(id="a"), order(id="b")))):
        assert call_for(dialect, request).socket is None


def test_a_name_is_never_said_again() -> None:
    """Not by another process either, whose numbers begin anew."""
    names = [json.loads(call_for(entered(), Place(order()), NOW + n * MS).body)["reqId"] for n in range(3)]
    assert len(set(names)) == 3
    assert all(len(name) <= 36 for name in names)


def test_an_answer_is_read_as_one_over_http() -> None:
    dialect = entered()
    assert answered(dialect, call_for(dialect, Place(order())), 0, orderId="v", orderLinkId=order().id) == []
    (lost,) = answered(dialect, call_for(dialect, Place(order())), 0, orderId="v", orderLinkId="another")
    assert isinstance(lost, Lost)
    (refused,) = answered(dialect, call_for(dialect, Place(order())), 110007)
    assert refused == Refused(order().id, "110007", "words", Fault.MARGIN)
    (lost,) = answered(dialect, call_for(dialect, Cancel("x", 0)), 110001)
    assert lost == Lost("x", "cancel: unknown order")


@pytest.mark.parametrize(
    ("code", "kind"), [(10019, Lost), (10003, Refused), (10004, Refused), (20003, Refused), (10016, Lost)]
)
def test_a_session_that_ends_is_left_and_the_key_is_not_blamed(code: int, kind: type) -> None:
    dialect = entered()
    dialect.acts()
    facts = answered(dialect, call_for(dialect, Place(order())), code)
    assert isinstance(facts[-1], kind)
    assert not any(type(fact).__name__ == "Denied" for fact in facts)
    shut = any(isinstance(act, Shut) for act in dialect.acts())
    assert shut is (code != 10016)
    assert (call_for(dialect, Place(order())).socket is None) is shut


def test_a_socket_that_left_an_order_without_an_answer_gets_no_other_one() -> None:
    dialect = entered()
    dialect.acts()
    call = call_for(dialect, Place(order()))
    assert list(dialect.on_silence(call, True, "timed out", NOW)) == [Lost(order().id, "timed out")]
    assert [type(act) for act in dialect.acts()] == [Shut]
    assert call_for(dialect, Place(order())).socket is None
    dialect.on_close(SOCKET, "shut", NOW)
    assert dialect.on_open(SOCKET, NOW) == []


def test_one_that_does_not_let_us_in_is_given_up() -> None:
    dialect = build(entry_url=ENTRY_URL)
    dialect.on_open(SOCKET, NOW)
    (unknown,) = frame(dialect, SOCKET, {"retCode": 10004, "retMsg": "error sign! key-of-the-test", "op": "auth"})
    assert isinstance(unknown, Unknown)
    assert "key-of-the-test" not in unknown.what
    dialect.acts()
    dialect.on_wake(NOW + 10 * S)
    assert [type(act) for act in dialect.acts()] == [Shut]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"reqId":"x","retCode":0}', b'{"reqId":"1-1"}', b'{"op":"pong"}'])
def test_what_answers_nothing(body: bytes) -> None:
    entry = entered().abilities.entry
    assert entry is not None
    assert entry.answer(body) is None


@pytest.mark.parametrize("url", ["wss://stream.bybit.eu/v5/trade", "wss://evil.example/v5/trade", "ws://127.0.0.1:9"])
def test_its_address_is_that_of_the_venue(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        build(listed=False, entry_url=url)
