"""Request weights, order counts, refusals and bans."""

import pytest

from adapters.simulator import Binance, Client, Exchange, StillMarket

SECOND = 10**9


@pytest.fixture
def tight() -> Client:
    """A client of an exchange with small limits."""
    exchange = Exchange(StillMarket({"BTCUSDT": 80_000}))
    return Client(Binance(exchange, weight_limit=20, orders_10s=3, orders_1m=5))


def test_every_answer_says_what_weight_is_used(tight: Client) -> None:
    first = tight.send("GET", "/fapi/v1/time")
    second = tight.call("GET", "/fapi/v3/account")
    failed = tight.send("GET", "/fapi/v3/account")
    assert [a.headers["X-MBX-USED-WEIGHT-1M"] for a in (first, second, failed)] == ["1", "6", "11"]
    tight.now += 60 * SECOND
    assert tight.send("GET", "/fapi/v1/time").headers["X-MBX-USED-WEIGHT-1M"] == "1"


def test_weights_differ_by_what_is_asked(tight: Client) -> None:
    tight.send("GET", "/fapi/v1/premiumIndex", "symbol=BTCUSDT")
    tight.send("GET", "/fapi/v1/depth", "symbol=BTCUSDT&limit=100")
    answer = tight.send("GET", "/fapi/v1/premiumIndex")
    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "16"


def test_over_the_limit_is_429_and_going_on_is_a_ban(tight: Client) -> None:
    for _ in range(20):
        assert tight.send("GET", "/fapi/v1/time").status == 200
    for _ in range(10):
        answer = tight.send("GET", "/fapi/v1/time")
        assert answer.status == 429
        assert answer.data["code"] == -1003
        assert int(answer.headers["Retry-After"]) <= 60
    banned = tight.send("GET", "/fapi/v1/time")
    assert banned.status == 418
    until_ms = tight.now // 10**6 + 120_000
    assert banned.data["msg"] == (
        f"Way too many requests; IP(127.0.0.1) banned until {until_ms}. "
        "Please use the websocket for live updates to avoid bans."
    )
    tight.now += 119 * SECOND
    assert tight.send("GET", "/fapi/v1/time").status == 418
    tight.now += SECOND
    assert tight.send("GET", "/fapi/v1/time").status == 200


def test_a_second_ban_is_longer(tight: Client) -> None:
    for _ in range(31):
        tight.send("GET", "/fapi/v1/time")
    tight.now += 120 * SECOND
    for _ in range(31):
        last = tight.send("GET", "/fapi/v1/time")
    assert last.headers["Retry-After"] == "240"


def test_addresses_are_counted_apart(tight: Client) -> None:
    tight.binance.ban(tight.now, 1_000)
    for client, status in (("127.0.0.1", 418), ("10.0.0.1", 200)):
        reply = tight.binance.request("GET", "/fapi/v1/time", "", {}, b"", tight.now, client=client)
        assert reply.status == status


def test_orders_are_counted_in_ten_seconds_and_in_a_minute(tight: Client) -> None:
    for number in range(1, 4):
        answer = tight.place("BTCUSDT", "BUY", "0.001", "79000")
        assert answer.headers["X-MBX-ORDER-COUNT-10S"] == str(number)
        assert answer.headers["X-MBX-ORDER-COUNT-1M"] == str(number)
        assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "0"
    refused = tight.place("BTCUSDT", "BUY", "0.001", "79000")
    assert (refused.status, refused.code) == (429, -1015)
    assert refused.data["msg"] == "Too many new orders; current limit is 3 orders per TEN_SECONDS."
    tight.now += 10 * SECOND
    assert tight.place("BTCUSDT", "BUY", "0.001", "79000").status == 200
    cancel = tight.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    assert "X-MBX-ORDER-COUNT-10S" not in cancel.headers


def test_funding_requests_have_a_pool_of_their_own(client: Client) -> None:
    for _ in range(250):
        assert client.send("GET", "/fapi/v1/fundingInfo").status == 200
        assert client.send("GET", "/fapi/v1/fundingRate", "symbol=BTCUSDT").status == 200
    assert client.send("GET", "/fapi/v1/fundingInfo").status == 429
    assert client.send("GET", "/fapi/v1/time").status == 200


def test_the_limits_are_published(tight: Client) -> None:
    limits = tight.send("GET", "/fapi/v1/exchangeInfo").data["rateLimits"]
    assert [row["limit"] for row in limits] == [20, 5, 3]
    own = tight.call("GET", "/fapi/v1/rateLimit/order").data
    assert [row["limit"] for row in own] == [3, 5]
