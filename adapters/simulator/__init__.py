"""A local exchange: pure inside, loopback sockets outside. See the README beside this file."""

from adapters.simulator.account import DEMO_KEY, DEMO_SECRET, Account
from adapters.simulator.binance import Binance
from adapters.simulator.client import Answer, Client
from adapters.simulator.exchange import Exchange, Snapshot
from adapters.simulator.faults import Faults, FrameFault, Incident, RequestFault, load_faults
from adapters.simulator.gateway import Gateway
from adapters.simulator.instruments import INSTRUMENTS, Instrument, instrument
from adapters.simulator.market import Market, SeededMarket, StillMarket
from adapters.simulator.matching import Fees
from adapters.simulator.server import Server, serve
from adapters.simulator.tape import TapeError, TapeMarket
from adapters.simulator.venues import VENUES
from adapters.simulator.weex import DEMO_PASSPHRASE, Weex
from adapters.simulator.wire import CLOSE, Close, Reply

__all__ = [
    "CLOSE",
    "DEMO_KEY",
    "DEMO_PASSPHRASE",
    "DEMO_SECRET",
    "INSTRUMENTS",
    "VENUES",
    "Account",
    "Answer",
    "Binance",
    "Client",
    "Close",
    "Exchange",
    "Faults",
    "Fees",
    "FrameFault",
    "Gateway",
    "Incident",
    "Instrument",
    "Market",
    "Reply",
    "RequestFault",
    "SeededMarket",
    "Server",
    "Snapshot",
    "StillMarket",
    "TapeError",
    "TapeMarket",
    "Weex",
    "instrument",
    "load_faults",
    "serve",
]
