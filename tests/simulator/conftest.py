"""What the tests of the local exchange share: an exchange whose prices move only by hand."""

import pytest

from adapters.simulator import Account, Binance, Client, Exchange, StillMarket

PRICES = {"BTCUSDT": 80_000, "ETHUSDT": 2_500, "SOLUSDT": 100}


@pytest.fixture
def client() -> Client:
    """A client of a flat account with 10,000 USDT."""
    exchange = Exchange(StillMarket(PRICES), [Account(balance=10_000)])
    return Client(Binance(exchange, weight_limit=10**9))


@pytest.fixture
def hedged() -> Client:
    """A client of a flat account in hedge mode."""
    exchange = Exchange(StillMarket(PRICES), [Account(balance=10_000, hedge=True)])
    return Client(Binance(exchange, weight_limit=10**9))
