"""Orders on Binance's websocket: what is said, what answers it, and when it is not used."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from adapters.binance import ENTRY_URL, Binance
from adapters.binance_entry import BinanceEntry
from agent.core.events import Accepted, Denied, Down, Ended, Fact, Lost, Refused, Unanswered, Unknown, Up, Used
from agent.core.orders import Style
from agent.core.venue import Ask, Batch, Call, Cancel, Open, Place, Reply, Shut, What
from tests.adapters.binance_kit import KEY, MS, NOW, SECRET, build, call_for, order, shared, told
from tests.conformance.binance import VECTORS

URL = "wss://ws-fapi.binance.com/ws-fapi/v1"


def entered(**options: Any) -> Binance:
    """A dialect whose websocket for orders is open."""
    dialect = build(entry_url=ENTRY_URL, **options)
    assert dialect.connect("entry", NOW) == Open("entry", URL, None)
    assert dialect.on_open("entry", NOW) == [Up("entry")]
    return dialect


def entry_of(dialect: Binance) -> BinanceEntry:
    entry = dialect.abilities.entry
    assert isinstance(entry, BinanceEntry)
    return entry


def answered(dialect: Binance, call: Call, status: int, **body: Any) -> list[Fact]:
    frame = json.dumps({"id": call.tag, "status": status, **body}).encode()
    said = entry_of(dialect).answer(frame)
    assert said is not None
    assert said[0] == call.tag
    return list(dialect.on_reply(call, said[1], NOW))


ROW = {
    "orderId": 77, "symbol": "BTCUSDT", "status": "NEW", "clientOrderId": order().id, "executedQty": "0",
    "origQty": "0.006", "side": "BUY", "updateTime": 5,
}  # fmt: skip
COUNTS = [
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 7},
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400, "count": 9},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 9, "count": 1},
]


def test_an_order_is_said_and_signed_as_the_document_wants_it() -> None:
    call = call_for(entered(), Place(order(style=Style.POST)))
    assert (call.socket, call.url, call.method, call.headers) == ("entry", "", "", ())
    said = json.loads(call.body)
    assert (said["id"], said["method"]) == (call.tag, "order.place")
    params = said["params"]
    signature = params.pop("signature")
    assert params == {
        "apiKey": KEY, "newClientOrderId": order().id, "newOrderRespType": "RESULT", "price": "60000.1",
        "quantity": "0.006", "recvWindow": 3_000, "selfTradePreventionMode": "EXPIRE_MAKER", "side": "BUY",
        "symbol": "BTCUSDT", "timeInForce": "GTX", "timestamp": NOW // MS, "type": "LIMIT",
    }  # fmt: skip
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    assert signature == hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def test_the_published_vector() -> None:
    vector = VECTORS[-1]
    words = dict(pair.split("=") for pair in vector.text.split("&"))
    key = words.pop("apiKey")
    sign = lambda text: hmac.new(vector.secret.encode(), text, hashlib.sha256).hexdigest()  # noqa: E731
    said = json.loads(BinanceEntry(URL, key, sign).frame(1, "POST", list(words.items())[::-1]))
    assert said["params"]["signature"] == vector.signature


def test_a_cancel_is_said_and_everything_else_is_asked_over_http() -> None:
    dialect = entered()
    said = json.loads(call_for(dialect, Cancel("mine", 0)).body)
    assert said["method"] == "order.cancel"
    assert (said["params"]["symbol"], said["params"]["origClientOrderId"]) == ("BTCUSDT", "mine")
    for request in (Ask(What.ORDER, 0, "mine"), Ask(What.POSITIONS), Batch((order(), order(id="second")))):
        assert call_for(dialect, request).socket is None, "what became of an order is asked by another way"


def test_answers_are_read_as_those_over_http() -> None:
    dialect = entered()
    place, cancel = Place(order()), Cancel(order().id, 0)
    facts = answered(dialect, call_for(dialect, place), 200, result=ROW, rateLimits=COUNTS)
    assert facts == [Used("weight_1m", 9), Used("orders_10s", 7), Accepted(order().id, "77", 0, 5 * MS)]
    refused = answered(dialect, call_for(dialect, place), 400, error={"code": -2019, "msg": "no"})
    assert [type(fact) for fact in refused] == [Refused]
    for status, error in ((503, {"code": -1008, "msg": "x"}), (429, {"code": -1003, "msg": "banned until 1"})):
        assert isinstance(answered(dialect, call_for(dialect, place), status, error=error)[-1], Refused)
    for status in (200, 408, 500, 504):
        assert [type(fact) for fact in answered(dialect, call_for(dialect, place), status)] == [Lost]
    ended = answered(dialect, call_for(dialect, cancel), 200, result=ROW | {"status": "CANCELED"})
    assert [type(fact) for fact in ended] == [Accepted, Ended]


@pytest.mark.parametrize(
    "frame", [b"", b"{}", b"null", b"[]", b'{"id":1}', b'{"id":"x","status":200}', b'{"id":1,"status":"x"}', b"<html>"]
)
def test_what_answers_nothing_is_said_to_be_unknown(frame: bytes) -> None:
    dialect = entered()
    assert entry_of(dialect).answer(frame) is None
    (fact,) = dialect.on_frame("entry", frame, NOW)
    assert isinstance(fact, Unknown)
    assert fact.private, "it may have been about an order"


def test_a_key_that_is_taken_no_more_is_denied_and_the_socket_left() -> None:
    dialect = entered()
    frame = (shared("venues/payloads/binance") / "wsapi_error_key_revoked.json").read_bytes()
    assert entry_of(dialect).answer(frame) is None
    (fact,) = dialect.on_frame("entry", frame, NOW)
    assert isinstance(fact, Denied)
    assert dialect.acts() == [Shut("entry", "its key is not taken any more")]


def test_while_it_is_not_open_orders_go_over_http() -> None:
    dialect = build(entry_url=ENTRY_URL)
    assert call_for(dialect, Place(order())).socket is None
    dialect.on_open("entry", NOW)
    assert call_for(dialect, Place(order())).socket == "entry"
    assert dialect.on_close("entry", "reset", NOW) == [Down("entry", "reset")]
    assert call_for(dialect, Place(order())).socket is None
    assert build().abilities.entry is None
    assert build(keyed=False, entry_url=ENTRY_URL).abilities.entry is None


def test_a_socket_that_left_an_order_without_an_answer_gets_no_other_one() -> None:
    dialect = entered()
    call = call_for(dialect, Place(order()))
    assert dialect.on_silence(call, False, "withheld", NOW)
    assert dialect.acts() == [], "it was not its fault"
    assert [type(fact) for fact in dialect.on_silence(call, True, "timed out", NOW)] == [Lost]
    assert dialect.acts() == [Shut("entry", "an order had no answer on it")]
    assert call_for(dialect, Place(order())).socket is None


def test_it_is_renewed_before_the_venues_limit() -> None:
    dialect = entered()
    assert dialect.wake_at is not None
    dialect.on_wake(dialect.wake_at)
    assert dialect.acts() == [Shut("entry", "renewed before the venue's limit of 24 hours")]


def test_its_address_is_pinned() -> None:
    for wrong, words in (
        ("wss://evil.example/ws-fapi/v1", "entry_url"),
        ("ws://127.0.0.1:9/v1", "two environments"),
        ("wss://testnet.binancefuture.com/ws-fapi/v1", "two environments"),
    ):
        with pytest.raises(ValueError, match=words):
            build(entry_url=wrong)


def test_an_answer_to_a_question_over_http_is_none_of_its_business() -> None:
    dialect = entered()
    (fact,) = told(dialect, call_for(dialect, Ask(What.MODE)), b"", 500)
    assert isinstance(fact, Unanswered)
    assert entry_of(dialect).up


def test_every_sample_of_an_answer_is_read() -> None:
    folder = shared("venues/payloads/binance")
    place, cancel = Place(order(id="iCXL1BywlBaf2sesNUrVl3")), Cancel("myOrder1", 0)
    for name, request, kinds in (
        ("order_place_response", place, [Used, Accepted]),
        ("order_cancel_response", cancel, [Used, Accepted, Ended]),
        ("error_response", place, [Used, Used, Refused]),
    ):
        said = json.loads((folder / f"wsapi_{name}.json").read_bytes())
        dialect = entered()
        call = call_for(dialect, request)
        answer = entry_of(dialect).answer(json.dumps(said | {"id": call.tag}).encode())
        assert answer is not None
        facts = dialect.on_reply(call, Reply(answer[1].status, answer[1].headers, answer[1].body), NOW)
        assert [type(fact) for fact in facts] == kinds, name
