"""The exchange of a soak, in a process of its own: ``python -m tests.soak.exchange OPTIONS``, as JSON.

It says where it listens, serves until its standard input ends, and says what happened.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from decimal import Decimal

import msgspec
import uvloop
from msgspec import Struct

from adapters.simulator import INSTRUMENTS, Account, Binance, Exchange, Faults, SeededMarket, serve

EQUITY = 100_000
START_LEVERAGE = 1.0


class Options(Struct, frozen=True):
    """``pace`` times as many prices a second as usual: a quote every 200 ms and a mark every second, per instrument.
    The calendar runs ``speed`` times as fast as the clock."""

    symbols: tuple[str, ...]
    pace: float
    speed: float
    seed: int
    faults: Faults


class Listening(Struct, frozen=True):
    """Where the exchange is."""

    rest_url: str
    stream_url: str


class Served(Struct, frozen=True):
    """What happened, by the exchange's own books."""

    orders: int
    fills: int
    turnover: float
    refused: int
    doubled: int
    """Client ids that became more than one order, and signed orders that arrived twice."""
    slow_readers: int
    faults: dict[str, int]


async def until_the_end_of_input() -> None:
    """Wait until whoever started this process closes its standard input, or is gone."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def run(options: Options) -> None:
    """Serve, and say where and what."""
    step_ms = max(1, round(200 / options.pace))
    market = SeededMarket(options.seed, options.symbols, step_ms=step_ms)
    share = Decimal(EQUITY) * Decimal(START_LEVERAGE) / len(options.symbols)
    positions = {
        symbol: (share / price / (step := INSTRUMENTS[symbol].step)).to_integral_value() * step
        for symbol, price in zip(options.symbols, market.prices(), strict=True)
    }
    account = Account(balance=EQUITY, positions=positions)
    exchange = Exchange(market, [account], speed=options.speed, seed=options.seed)
    venue = Binance(exchange, mark_pace=options.pace, listen_key_life_ms=600_000)
    async with await serve(venue, faults=options.faults) as server:
        _say(Listening(rest_url=server.rest_url, stream_url=server.ws_url))
        await until_the_end_of_input()
    snapshot, ledger = exchange.snapshot(account), exchange.ledger
    again = [resent for resent in ledger.resent if resent.what == "POST /fapi/v1/order"]
    _say(
        Served(
            orders=len(ledger.orders),
            fills=snapshot.fills,
            turnover=float(snapshot.turnover),
            refused=snapshot.rejected,
            doubled=len(again) + sum(len(orders) > 1 for orders in ledger.by_client_id.values()),
            slow_readers=server.slow_readers,
            faults=dict(server.gateway.counts),
        )
    )


def _say(what: Struct) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    chosen = msgspec.json.decode(sys.argv[1], type=Options)
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # connections die on purpose here
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(chosen))
