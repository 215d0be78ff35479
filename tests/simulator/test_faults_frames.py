"""Faults of frames: each strikes, is counted, and does what it says."""

import msgspec
import pytest

from adapters.simulator import FrameFault
from adapters.simulator.faults import FRAMES
from adapters.simulator.wire import Close, Topic
from tests.simulator.kit import BUY, MARKS, World

COMBINED = "/market/stream?streams=btcusdt@markPrice@1s/ethusdt@markPrice@1s"


def marks(world: World, seconds: int) -> list[bytes]:
    """The mark frames that one socket receives in a time."""
    session = world.gateway.connect(MARKS, world.now)
    world.wait(seconds)
    return world.received(session)


def events(frames: list[bytes]) -> list[str]:
    return [msgspec.json.decode(frame)["e"] for frame in frames]


def times(frames: list[bytes]) -> list[int]:
    return [msgspec.json.decode(frame)["E"] for frame in frames]


def first(do: str, *, path: str = MARKS, **more: object) -> dict[str, object]:
    """The event in the first frame that a fault strikes."""
    world = World(msgspec.convert({"do": do, "times": 1, **more}, FrameFault))
    session = world.gateway.connect(path, world.now)
    world.exchange.set_mark("BTCUSDT", 80_100)
    world.wait(2)
    assert world.counts == {f"frames: {do}": 1}
    event = msgspec.json.decode(world.received(session)[0])
    assert isinstance(event, dict)
    return event


def test_frames_are_lost() -> None:
    world = World(FrameFault("drop"), lively=True)
    assert marks(world, 10) == []
    assert world.counts == {"frames: drop": 10}


def test_frames_come_twice() -> None:
    received = marks(World(FrameFault("repeat"), lively=True), 10)
    assert len(received) == 20
    assert len(set(received)) == 10


def test_frames_come_in_a_burst() -> None:
    received = marks(World(FrameFault("burst", copies=50, times=1), lively=True), 3)
    assert len(received) == 52
    assert received[0] == received[49] != received[50]


def test_frames_overtake_each_other() -> None:
    received = marks(World(FrameFault("reorder", chance=0.5), lively=True), 60)
    assert times(received) != sorted(times(received))
    assert len(set(received)) == len(received)


def test_without_reordering_latency_keeps_the_order() -> None:
    received = marks(World(delay_ms=700, lively=True), 60)
    assert times(received) == sorted(times(received))


def test_an_old_frame_comes_again() -> None:
    received = marks(World(FrameFault("replay", from_s=5), lively=True), 10)
    seen: set[bytes] = set()
    again = [frame for frame in received if frame in seen or seen.add(frame)]  # type: ignore[func-returns-value]
    assert len(again) == 5
    assert times(received) != sorted(times(received))


def test_a_topic_falls_silent_and_comes_back() -> None:
    world = World(FrameFault("mute", chance=0.05, ms=5_000), seed=2, lively=True)
    received = marks(world, 120)
    struck = world.counts["frames: mute"]
    assert struck > 1
    assert 60 < len(received) <= 120 - 4 * struck


def test_one_symbol_of_many_falls_silent_for_a_while() -> None:
    world = World(FrameFault("mute", on="mark", symbol="ETHUSDT", ms=4_000, times=1, from_s=2), lively=True)
    session = world.gateway.connect(COMBINED, world.now)
    world.wait(10)
    symbols = [msgspec.json.decode(frame)["data"]["s"] for frame in world.received(session)]
    assert symbols.count("BTCUSDT") == 10
    assert symbols.count("ETHUSDT") == 6


def test_a_delayed_topic_keeps_its_own_order_and_others_overtake_it() -> None:
    world = World(FrameFault("delay", on="account", ms=2_500, times=1))
    session = world.listen()
    for _ in range(2):
        world.buy()
        world.wait(1)
    world.wait(5)
    found = events(world.received(session))
    assert found.count("ACCOUNT_UPDATE") == 2
    assert found[-2:] == ["ACCOUNT_UPDATE", "ACCOUNT_UPDATE"]
    told = [msgspec.json.decode(frame) for frame in world.received(session)]
    assert [event["a"]["P"][0]["pa"] for event in told if event["e"] == "ACCOUNT_UPDATE"] == ["0.001", "0.002"]


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        (FrameFault("disconnect"), Close(1001)),
        (FrameFault("disconnect", code=1012), Close(1012)),
        (FrameFault("reset"), Close(how="reset")),
        (FrameFault("cut"), Close(how="cut")),
    ],
)
def test_sockets_are_ended(fault: FrameFault, end: Close) -> None:
    world = World(fault, lively=True)
    session = world.gateway.connect(MARKS, world.now)
    world.wait(5)
    assert (world.received(session), world.ended(session)) == ([], [end])
    assert session.closed
    assert world.counts == {f"frames: {fault.do}": 1}


def test_a_socket_half_open_neither_says_nor_hears_anything() -> None:
    world = World(FrameFault("half open", from_s=2, times=1), lively=True)
    session = world.gateway.connect(MARKS, world.now)
    world.wait(5)
    assert len(world.received(session)) == 1
    assert world.ended(session) == [Close(how="freeze")]
    assert not session.closed
    world.gateway.receive(session, '{"method":"LIST_SUBSCRIPTIONS","id":1}', world.now)
    world.gateway.faults = World().gateway.faults
    world.wait(5)
    assert len(world.received(session)) == 1  # what has lost its wire does not find it again


@pytest.mark.parametrize(("do", "told"), [("expire key", True), ("expire key untold", False)])
def test_a_listen_key_ends_early(do: str, told: bool) -> None:
    world = World(FrameFault(do, on="private", times=1))
    session = world.listen()
    world.buy()
    world.wait(1)
    before = events(world.received(session))
    assert ("listenKeyExpired" in before) is told
    world.buy()
    world.wait(1)
    assert events(world.received(session)) == before
    assert world.counts == {f"frames: {do}": 1}


def test_a_public_socket_has_no_key_to_end() -> None:
    world = World(FrameFault("expire key"), lively=True)
    assert len(marks(world, 3)) == 3
    assert not world.counts


@pytest.mark.parametrize(
    ("fault", "answers"),
    [
        (FrameFault("ignore"), []),
        (FrameFault("refuse"), [{"error": {"code": 2, "msg": "Invalid request: refused"}, "id": 7}]),
        (FrameFault("drop", on="reply"), []),
    ],
)
def test_a_subscription_may_come_to_nothing(fault: FrameFault, answers: list[object]) -> None:
    world = World(fault)
    session = world.gateway.connect("/market/ws", world.now)
    world.gateway.receive(session, '{"method":"SUBSCRIBE","params":["btcusdt@markPrice@1s"],"id":7}', world.now)
    world.wait(0)
    world.frames += world.gateway.advance(world.now).frames
    assert [msgspec.json.decode(frame) for frame in world.received(session)] == answers
    world.wait(3)
    heard = fault.do == "drop"
    assert bool(len(world.received(session)) - len(answers)) is heard


def test_a_frame_is_about_its_topic_and_symbol() -> None:
    world = World(FrameFault("drop", on="order", symbol="BTCUSDT"))
    session = world.listen()
    world.buy()
    world.ask("POST", "/fapi/v1/order", BUY.replace("BTC", "ETH").replace("0.001", "0.1"))
    world.wait(1)
    found = [msgspec.json.decode(frame) for frame in world.received(session)]
    assert {frame["e"] for frame in found} == {"TRADE_LITE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"}
    assert all("BTCUSDT" not in str(frame) for frame in found if frame["e"] != "ACCOUNT_UPDATE")


def test_a_fault_strikes_only_frames_that_hold_its_text() -> None:
    world = World(FrameFault("drop", on="order", text='"x":"TRADE"', after=1))
    session = world.listen()
    for _ in range(3):
        world.buy()
    world.wait(1)
    told = [msgspec.json.decode(frame) for frame in world.received(session)]
    assert [event["o"]["x"] for event in told if "o" in event] == ["NEW", "TRADE", "NEW", "NEW"]


@pytest.mark.parametrize(
    ("frame", "topic"),
    [
        (b'{"e":"bookTicker","s":"BTCUSDT"}', Topic("quote", "BTCUSDT")),
        (b'{"stream":"btcusdt@depth20@100ms","data":{"e":"depthUpdate","s":"BTCUSDT"}}', Topic("quote", "BTCUSDT")),
        (b'[{"e":"markPriceUpdate","s":"BTCUSDT"}]', Topic("mark")),
        (b'{"e":"contractInfo","s":"BTCUSDT"}', Topic("contract", "BTCUSDT")),
        (b'{"e":"listenKeyExpired"}', Topic("key")),
        (b'{"result":null,"id":1}', Topic("reply")),
    ],
)
def test_topics(frame: bytes, topic: Topic) -> None:
    assert World().venue.topic(frame) == topic


@pytest.mark.parametrize(
    ("do", "more", "price"),
    [
        ("spike", {}, "120150.00000000"),
        ("spike", {"by": 0.5}, "40050.00000000"),
        ("zero", {}, "0.00000000"),
        ("negative", {}, "-80100.00000000"),
        ("nan", {}, "NaN"),
        ("overflow", {}, "1e400"),
        ("crossed", {}, "120150.00000000"),
    ],
)
def test_a_mark_is_absurd_while_its_index_is_not(do: str, more: dict[str, object], price: str) -> None:
    event = first(do, path=MARKS, **more)
    assert (event["p"], event["i"]) == (price, "80100.00000000")


def test_a_book_is_crossed() -> None:
    event = first("crossed", path="/public/ws/btcusdt@bookTicker")
    assert float(str(event["b"])) > float(str(event["a"]))


def test_a_frame_is_about_another_symbol() -> None:
    assert first("swap", other="ETHUSDT")["s"] == "ETHUSDT"


def test_a_frames_time_is_in_the_past_and_the_next_funding_is_not() -> None:
    event, plain = first("backwards", ms=60_000), first("new field")
    assert (event["E"], event["T"]) == (int(str(plain["E"])) - 60_000, plain["T"])


def test_an_event_is_of_a_kind_nobody_knows() -> None:
    assert first("unknown")["e"] == "somethingNew"


def test_an_event_has_a_field_more_or_less() -> None:
    assert "zz" in first("new field")
    assert "p" not in first("lost field")


def test_a_status_is_a_word_nobody_knows() -> None:
    world = World(FrameFault("new value", on="private"))
    session = world.listen()
    world.buy()
    world.wait(1)
    told = {event["e"]: event for event in map(msgspec.json.decode, world.received(session))}
    assert told["ORDER_TRADE_UPDATE"]["o"]["X"] == "SOMETHING_NEW"
    assert told["ACCOUNT_UPDATE"]["a"]["m"] == "SOMETHING_NEW"


@pytest.mark.parametrize("do", ["garble", "truncate", "bad text", "nest", "huge"])
def test_a_frame_is_spoilt_the_same_way_each_time(do: str) -> None:
    plain = marks(World(), 1)[0]
    (spoilt,) = marks(World(FrameFault(do)), 1)
    (again,) = marks(World(FrameFault(do)), 1)
    assert spoilt == again != plain
    match do:
        case "garble":
            assert len(spoilt) == len(plain)
        case "truncate":
            assert plain.startswith(spoilt)
        case "bad text":
            with pytest.raises(UnicodeDecodeError):
                spoilt.decode()
        case "nest":
            assert spoilt.startswith(b"[[[[")
        case "huge":
            assert len(spoilt) > 2**21
            assert msgspec.json.decode(spoilt) == msgspec.json.decode(plain)


@pytest.mark.parametrize("do", ["spike", "zero", "negative", "nan", "overflow", "crossed", "swap", "new value"])
def test_what_has_no_place_for_a_forgery_is_left_alone(do: str) -> None:
    world = World(FrameFault(do, on="reply", other="ETHUSDT" if do == "swap" else None))
    session = world.gateway.connect("/market/ws", world.now)
    world.gateway.receive(session, '{"method":"LIST_SUBSCRIPTIONS","id":1}', world.now)
    world.wait(1)
    assert world.received(session) == [b'{"result":[],"id":1}']
    assert not world.counts


def test_every_kind_of_frame_fault_is_tried_here() -> None:
    with open(__file__) as file:
        text = file.read()
    assert [do for do in FRAMES if f'"{do}"' not in text] == []
