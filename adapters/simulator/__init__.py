"""A local exchange: pure inside, loopback sockets outside. See the README beside this file."""

from adapters.simulator.account import DEMO_KEY, DEMO_SECRET, Account
from adapters.simulator.binance import Binance, Reply
from adapters.simulator.client import Answer, Client
from adapters.simulator.exchange import Exchange, Snapshot
from adapters.simulator.faults import Faults, Gateway, load_faults
from adapters.simulator.instruments import INSTRUMENTS, Instrument
from adapters.simulator.market import SeededMarket, StillMarket
from adapters.simulator.matching import Fees
from adapters.simulator.server import Server, serve
from adapters.simulator.tape import TapeError, TapeMarket

__all__ = [
    "DEMO_KEY",
    "DEMO_SECRET",
    "INSTRUMENTS",
    "Account",
    "Answer",
    "Binance",
    "Client",
    "Exchange",
    "Faults",
    "Fees",
    "Gateway",
    "Instrument",
    "Reply",
    "SeededMarket",
    "Server",
    "Snapshot",
    "StillMarket",
    "TapeError",
    "TapeMarket",
    "load_faults",
    "serve",
]
