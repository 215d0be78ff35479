"""What the exchange writes down for those who check an agent against it."""

from adapters.simulator import Account, Binance, Client, Exchange, StillMarket
from tests.simulator.kit import S, World


def test_what_an_address_uses_is_counted_by_minute_apart_from_the_limit() -> None:
    client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}), [Account()]), weight_limit=10))
    ledger = client.binance.exchange.ledger
    minute = client.now // (60 * S)
    for _ in range(3):
        client.call("GET", "/fapi/v3/account")
    assert ledger.weights == {("127.0.0.1", minute): 15}
    assert ledger.turned_away == {429: 1}
    client.wait(60_000)
    client.call("GET", "/fapi/v3/account")
    assert ledger.weights["127.0.0.1", minute + 1] == 5
    assert ledger.most_weight == 15


def test_each_arrival_of_a_signed_request_is_counted() -> None:
    world = World()
    world.buy()
    world.buy()
    arrivals = world.exchange.ledger.arrivals
    assert list(arrivals.values()) == [2]  # at one moment: the same bytes
    assert [again.what for again in world.exchange.ledger.resent] == ["POST /fapi/v1/order"]


def test_a_question_about_an_order_and_its_cancel_at_one_moment_are_two_requests() -> None:
    """Their parameters are the same, and so is what is signed."""
    client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}), [Account()])))
    for method in ("GET", "DELETE"):
        client.call(method, "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="a")
    ledger = client.binance.exchange.ledger
    assert len({signature for _, signature, _ in ledger.arrivals}) == 1
    assert ledger.resent == []


def test_orders_of_an_epoch_that_is_over_are_out_of_turn() -> None:
    client = Client(Binance(Exchange(StillMarket({"BTCUSDT": 80_000}), [Account()])))
    for name in ("e1-a", "other", "e2-a", "e1-b", "e2-b"):
        client.place("BTCUSDT", "BUY", "0.001", newClientOrderId=name)

    def epoch(client_id: str) -> int | None:
        return int(client_id[1]) if client_id.startswith("e") else None

    assert [order.client_id for order in client.binance.exchange.ledger.out_of_turn(epoch)] == ["e1-b"]
