"""Orders against the book: what fills, at which price, what rests and what ends."""

from decimal import Decimal

from msgspec import structs

from adapters.simulator import Account, Binance, Client, Exchange, StillMarket
from adapters.simulator.book import BUY, SELL, Book
from adapters.simulator.instruments import INSTRUMENTS

ORDER = "/fapi/v1/order"
BTC = INSTRUMENTS["BTCUSDT"]


def test_the_book_stands_half_a_spread_around_the_mark() -> None:
    book = Book(BTC, Decimal(80_000), 1)
    assert book.best_bid[0] == Decimal(79_996)
    assert book.best_ask[0] == Decimal(80_004)
    assert book.levels(BUY)[1][0] == Decimal(79_992)


def test_what_is_taken_is_gone_until_the_book_refills() -> None:
    book = Book(BTC, Decimal(80_000), 1)
    first = book.reachable(BUY, Decimal(3), None)
    book.take(BUY, first, 1_000)
    assert book.best_ask[1] == BTC.liquidity / 80_000 - 3
    book.refill(1_500)
    assert book.best_ask[1] == 2
    book.refill(2_000)
    assert book.best_ask[1] == 5


def test_a_move_of_the_mark_changes_the_book_and_its_update_id() -> None:
    book = Book(BTC, Decimal(80_000), 1)
    book.move(Decimal(80_000), 5)
    assert book.update_id == 1
    book.move(Decimal(81_000), 5)
    assert book.update_id == 2
    assert book.best_bid[0] < 81_000 < book.best_ask[0]


def test_a_market_order_pays_the_spread_and_the_taker_fee(client: Client) -> None:
    answer = client.place("BTCUSDT", "BUY", "0.1")
    assert answer.data["status"] == "FILLED"
    truth = client.binance.exchange.snapshot(client.account)
    assert truth.positions == {"BTCUSDT": Decimal("0.1")}
    assert truth.fees == Decimal("80004") * Decimal("0.1") * Decimal("0.0005")
    assert truth.unrealised == Decimal("-0.4")


def test_a_large_order_walks_the_levels() -> None:
    exchange = Exchange(StillMarket({"BTCUSDT": 80_000}), [Account(balance=10_000_000)])
    client = Client(Binance(exchange))
    client.place("BTCUSDT", "BUY", "20")
    prices = [fill.price for fill in exchange.ledger.fills]
    assert prices == [Decimal(80_004), Decimal(80_008), Decimal(80_012)]
    assert sum(fill.quantity for fill in exchange.ledger.fills) == 20


def test_what_the_whole_book_cannot_fill_expires() -> None:
    thin = INSTRUMENTS["SOLUSDT"]
    one = structs.replace(thin, liquidity=100.0)
    exchange = Exchange(StillMarket({"SOLUSDT": 100}), [Account(balance=10_000_000)], instruments=[one])
    client = Client(Binance(exchange))
    stream = client.listen()
    answer = client.place("SOLUSDT", "BUY", "5000")
    assert answer.data["status"] == "EXPIRED"
    assert 0 < Decimal(answer.data["executedQty"]) < 5000
    last = client.take(stream)[-1]["o"]
    assert (last["x"], last["X"], last["er"]) == ("EXPIRED", "EXPIRED", "9")


def test_a_limit_order_rests_and_fills_as_maker_at_its_own_price(client: Client) -> None:
    placed = client.place("BTCUSDT", "BUY", "0.1", "79000").data
    assert placed["status"] == "NEW"
    client.binance.exchange.set_mark("BTCUSDT", 78_900)
    order = client.call("GET", ORDER, symbol="BTCUSDT", orderId=placed["orderId"]).data
    assert order["status"] == "FILLED"
    assert Decimal(order["avgPrice"]) == 79_000
    fill = client.binance.exchange.ledger.fills[0]
    assert fill.maker
    assert fill.fee == Decimal("79000") * Decimal("0.1") * Decimal("0.0002")


def test_a_resting_order_fills_no_more_than_the_book_shows(client: Client) -> None:
    client.binance.exchange.deposit(client.account, 10_000_000)
    placed = client.place("BTCUSDT", "SELL", "20", "81000").data
    client.binance.exchange.set_mark("BTCUSDT", 81_005)
    order = client.call("GET", ORDER, symbol="BTCUSDT", orderId=placed["orderId"]).data
    assert order["status"] == "PARTIALLY_FILLED"
    filled = Decimal(order["executedQty"])
    client.binance.exchange.set_mark("BTCUSDT", 81_006)
    order = client.call("GET", ORDER, symbol="BTCUSDT", orderId=placed["orderId"]).data
    assert Decimal(order["executedQty"]) > filled


def test_immediate_or_cancel_keeps_what_it_got_and_ends(client: Client) -> None:
    client.binance.exchange.deposit(client.account, 10_000_000)
    stream = client.listen()
    answer = client.place("BTCUSDT", "BUY", "9", "80004", timeInForce="IOC")
    assert (answer.data["status"], answer.data["executedQty"]) == ("EXPIRED", "5.000")
    last = client.take(stream)[-1]["o"]
    assert (last["x"], last["er"], last["z"]) == ("EXPIRED", "2", "5")


def test_fill_or_kill_is_refused_whole_and_leaves_no_trace(client: Client) -> None:
    client.binance.exchange.deposit(client.account, 10_000_000)
    answer = client.place("BTCUSDT", "BUY", "9", "80004", timeInForce="FOK")
    assert (answer.status, answer.code) == (400, -5021)
    assert client.binance.exchange.ledger.orders == {}
    assert client.place("BTCUSDT", "BUY", "5", "80004", timeInForce="FOK").data["status"] == ("FILLED")


def test_post_only_never_takes(client: Client) -> None:
    assert client.place("BTCUSDT", "BUY", "0.1", "80004", timeInForce="GTX").code == -5022
    resting = client.place("BTCUSDT", "BUY", "0.1", "80003.9", timeInForce="GTX")
    assert resting.data["status"] == "NEW"


def test_post_only_may_expire_instead_of_being_refused() -> None:
    exchange = Exchange(StillMarket({"BTCUSDT": 80_000}), post_only_expires=True)
    client = Client(Binance(exchange))
    stream = client.listen()
    answer = client.place("BTCUSDT", "BUY", "0.01", "80004", timeInForce="GTX")
    assert answer.data["status"] == "EXPIRED"
    assert [frame["o"]["x"] for frame in client.take(stream)] == ["NEW", "EXPIRED"]


def test_ack_answers_before_the_fill_and_result_after_it(client: Client) -> None:
    ack = client.place("BTCUSDT", "BUY", "0.1", newOrderRespType="ACK")
    assert (ack.data["status"], ack.data["executedQty"]) == ("NEW", "0.000")
    result = client.place("BTCUSDT", "BUY", "0.1", newOrderRespType="RESULT")
    assert (result.data["status"], result.data["executedQty"]) == ("FILLED", "0.100")
    assert "avgPrice" not in result.data
    assert "cumQuote" not in result.data


def test_an_amended_order_keeps_its_id_and_may_fill(client: Client) -> None:
    stream = client.listen()
    placed = client.place("BTCUSDT", "BUY", "0.1", "79000").data
    ids = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    amended = client.call("PUT", ORDER, **ids, side="BUY", quantity="0.2", price="79500")
    assert (amended.data["origQty"], amended.data["price"]) == ("0.200", "79500.00")
    assert client.take(stream)[-1]["o"]["x"] == "AMENDMENT"
    same = client.call("PUT", ORDER, **ids, side="BUY", quantity="0.2", price="79500")
    assert same.code == -5027
    crossed = client.call("PUT", ORDER, **ids, side="BUY", quantity="0.2", price="80100")
    assert crossed.data["status"] == "FILLED"


def test_an_amendment_below_what_is_filled_ends_the_order(client: Client) -> None:
    client.binance.exchange.deposit(client.account, 10_000_000)
    placed = client.place("BTCUSDT", "BUY", "9", "80004").data
    ids = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    answer = client.call("PUT", ORDER, **ids, side="BUY", quantity="5", price="80003")
    assert answer.data["status"] == "CANCELED"


def test_a_post_only_amendment_that_would_take_ends_the_order(client: Client) -> None:
    placed = client.place("BTCUSDT", "BUY", "0.1", "79000", timeInForce="GTX").data
    ids = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    answer = client.call("PUT", ORDER, **ids, side="BUY", quantity="0.1", price="80100")
    assert answer.code == -5022
    assert client.call("GET", ORDER, **ids).data["status"] == "EXPIRED"


def test_good_till_date_ends_at_its_date(client: Client) -> None:
    until = client.now // 10**6 + 700_000
    placed = client.place("BTCUSDT", "BUY", "0.1", "79000", timeInForce="GTD", goodTillDate=until).data
    client.wait(699_000)
    ids = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    assert client.call("GET", ORDER, **ids).data["status"] == "NEW"
    client.wait(2_000)
    assert client.call("GET", ORDER, **ids).data["status"] == "EXPIRED"


def test_price_match_takes_its_price_from_the_book(client: Client) -> None:
    answer = client.call(
        "POST",
        ORDER,
        symbol="BTCUSDT",
        side="BUY",
        type="LIMIT",
        timeInForce="GTC",
        quantity="0.1",
        priceMatch="QUEUE",
    )
    assert answer.data["price"] == "79996.00"


def test_reduce_only_needs_something_to_reduce(client: Client) -> None:
    assert client.place("BTCUSDT", "SELL", "0.1", reduceOnly="true").code == -2022
    client.place("BTCUSDT", "BUY", "0.1")
    assert client.place("BTCUSDT", "BUY", "0.1", reduceOnly="true").code == -2022


def test_a_reduce_only_quantity_is_cut_to_the_position(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "0.1")
    answer = client.place("BTCUSDT", "SELL", "0.3", reduceOnly="true")
    assert answer.data["origQty"] == "0.100"
    assert client.binance.exchange.snapshot(client.account).positions == {}


def test_reduce_only_orders_share_the_position(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "0.1")
    first = client.place("BTCUSDT", "SELL", "0.07", "81000", reduceOnly="true")
    second = client.place("BTCUSDT", "SELL", "0.07", "81000", reduceOnly="true")
    third = client.place("BTCUSDT", "SELL", "0.07", "81000", reduceOnly="true")
    assert [first.data["origQty"], second.data["origQty"]] == ["0.070", "0.030"]
    assert third.code == -2022


def test_reduce_only_orders_need_no_smallest_notional(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "0.1")
    assert client.place("BTCUSDT", "SELL", "0.0001").code == -1111
    assert client.place("ETHUSDT", "SELL", "0.007").code == -4164
    client.place("ETHUSDT", "BUY", "0.1")
    assert client.place("ETHUSDT", "SELL", "0.001", reduceOnly="true").status == 200


def test_a_resting_reduce_only_order_ends_when_the_position_is_gone(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "0.1")
    resting = client.place("BTCUSDT", "SELL", "0.1", "81000", reduceOnly="true").data
    stream = client.listen()
    client.place("BTCUSDT", "SELL", "0.1")
    last = client.take(stream)[-1]["o"]
    assert (last["i"], last["x"], last["er"]) == (resting["orderId"], "EXPIRED", "4")


def test_hedge_mode_keeps_longs_and_shorts_apart(hedged: Client) -> None:
    hedged.place("BTCUSDT", "BUY", "0.2", positionSide="LONG")
    hedged.place("BTCUSDT", "SELL", "0.1", positionSide="SHORT")
    truth = hedged.binance.exchange.snapshot(hedged.account)
    assert truth.positions == {"BTCUSDT:LONG": Decimal("0.2"), "BTCUSDT:SHORT": Decimal("-0.1")}
    rows = hedged.call("GET", "/fapi/v3/positionRisk").data
    assert [(row["positionSide"], row["positionAmt"]) for row in rows] == [
        ("LONG", "0.200"),
        ("SHORT", "-0.100"),
    ]
    assert hedged.place("BTCUSDT", "SELL", "0.3", positionSide="LONG").code == -2022
    assert hedged.place("BTCUSDT", "SELL", "0.2", positionSide="LONG").status == 200


def test_a_cancelled_order_frees_its_client_id(client: Client) -> None:
    for _ in range(2):
        placed = client.place("BTCUSDT", "BUY", "0.1", "79000", newClientOrderId="mine")
        assert placed.status == 200
        assert client.place("BTCUSDT", "BUY", "0.1", newClientOrderId="mine").code == -4116
        ids = {"symbol": "BTCUSDT", "origClientOrderId": "mine"}
        assert client.call("DELETE", ORDER, **ids).data["status"] == "CANCELED"
    assert client.call("GET", ORDER, **ids).data["orderId"] == placed.data["orderId"]


def test_a_batch_answers_each_order_on_its_own(client: Client) -> None:
    good = (
        '{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":"0.1",'
        '"price":"79000","newClientOrderId":"%s"}'
    )
    rows = f"[{good % 'a'},{good % 'a'},{good % 'b'}]"
    answer = client.call("POST", "/fapi/v1/batchOrders", batchOrders=rows)
    assert answer.status == 200
    assert [row.get("code", row.get("clientOrderId")) for row in answer.data] == ["a", -4116, "b"]
    gone = client.call(
        "DELETE",
        "/fapi/v1/batchOrders",
        symbol="BTCUSDT",
        origClientOrderIdList='["a","x","b"]',
    )
    assert [row.get("code", row.get("status")) for row in gone.data] == [
        "CANCELED",
        -2011,
        "CANCELED",
    ]


def test_cancel_all_is_for_one_symbol(client: Client) -> None:
    client.place("BTCUSDT", "BUY", "0.01", "79000")
    client.place("ETHUSDT", "BUY", "0.1", "2400")
    client.call("DELETE", "/fapi/v1/allOpenOrders", symbol="BTCUSDT")
    left = client.call("GET", "/fapi/v1/openOrders").data
    assert [order["symbol"] for order in left] == ["ETHUSDT"]


def test_the_dead_mans_switch_cancels_unless_armed_again(client: Client) -> None:
    path = "/fapi/v1/countdownCancelAll"
    client.place("BTCUSDT", "BUY", "0.01", "79000")
    armed = client.call("POST", path, symbol="BTCUSDT", countdownTime=1_000)
    assert armed.data == {"symbol": "BTCUSDT", "countdownTime": "1000"}
    client.wait(900)
    client.call("POST", path, symbol="BTCUSDT", countdownTime=1_000)
    client.wait(900)
    assert len(client.account.open_orders) == 1
    client.wait(100)
    assert client.account.open_orders == {}
    client.place("BTCUSDT", "BUY", "0.01", "79000")
    client.call("POST", path, symbol="BTCUSDT", countdownTime=1_000)
    client.call("POST", path, symbol="BTCUSDT", countdownTime=0)
    client.wait(5_000)
    assert len(client.account.open_orders) == 1


def test_the_test_endpoint_checks_and_places_nothing(client: Client) -> None:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"}
    assert client.call("POST", "/fapi/v1/order/test", **order, quantity="0.1").data == {}
    assert client.call("POST", "/fapi/v1/order/test", **order, quantity="9").code == -2019
    assert client.binance.exchange.ledger.orders == {}


def test_an_unfilled_order_is_forgotten_after_three_days(client: Client) -> None:
    placed = client.place("BTCUSDT", "BUY", "0.1", "79000").data
    ids = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    client.call("DELETE", ORDER, **ids)
    assert client.call("GET", ORDER, **ids).data["status"] == "CANCELED"
    client.wait(3 * 86_400_000 + 1)
    assert client.call("GET", ORDER, **ids).code == -2013


def test_both_sides_of_the_book_are_sold_and_bought() -> None:
    book = Book(BTC, Decimal(80_000), 1)
    assert book.levels(SELL)[0] == book.reachable(BUY, Decimal(5), None)[0]
    assert book.reachable(SELL, Decimal(1), Decimal(79_997)) == []
