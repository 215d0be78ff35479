"""Stalls: a stream goes silent at a random moment while its socket answers pings. How long until that is noticed, and
what was sent meanwhile.

    python -m tests.storm.stall --seeds 50

Measured by the exchange's clock, with its books for the truth; everything follows from the seed.
"""

from __future__ import annotations

import argparse
import random
import sys
from decimal import Decimal
from typing import Final, Literal, get_args

from msgspec import Struct

from adapters.simulator import SeededMarket
from adapters.simulator.faults import FrameFault, Incident, RequestFault
from agent.core.events import MARKET
from agent.core.orders import S
from tests.faults.witness import LIMIT_NS, SHARES, Witnessed, event, world
from tests.storm.world import START

Stream = Literal["marks", "marks of one symbol", "orders", "positions and balances", "private stream"]
STREAMS: Final[tuple[Stream, ...]] = get_args(Stream)
MARKS_S, PRIVATE_S = 5.0, 15.0
"""The longest that either may go unnoticed."""
SYMBOL: Final = "ETHUSDT"
LONG_MS: Final = 600_000.0


class Stall(Struct, frozen=True):
    """One stall, and what it led to.

    ``noticed_s``: for marks, how long after the stall began the agent refuses to increase by them; for the private
    streams, which may well have nothing to say, how long after the first change that they swallowed the agent knows of
    it, or doubts what it knew. None if it never did. ``stale``: orders sized from a price older than five seconds, or
    planned from a position that had changed fifteen seconds before.
    """

    stream: Stream
    seed: int
    noticed_s: float | None
    orders: int
    stale: int


class Figures(Struct, frozen=True):
    """What many stalls come to."""

    stalls: int
    marks_s: float
    """The longest that silent marks went unnoticed; infinite if any did for ever."""
    private_s: float
    orders: int
    stale: int

    @property
    def met(self) -> bool:
        """Nothing noticed too late, and nothing sent on stale data."""
        return self.marks_s <= MARKS_S and self.private_s <= PRIVATE_S and not self.stale


def _silence(stream: Stream, at_s: float) -> FrameFault:
    match stream:
        case "marks":
            return FrameFault(do="mute", on="mark", ms=LONG_MS, from_s=at_s)
        case "marks of one symbol":
            return FrameFault(do="mute", on="mark", symbol=SYMBOL, ms=LONG_MS, from_s=at_s)
        case "orders":
            return FrameFault(do="mute", on="order", ms=LONG_MS, from_s=at_s)
        case "positions and balances":
            return FrameFault(do="mute", on="account", ms=LONG_MS, from_s=at_s)
        case "private stream":
            return FrameFault(do="mute", on="private", ms=LONG_MS, from_s=at_s)


class _Truth:
    """Since when the exchange's position has been another than the agent's, by symbol."""

    def __init__(self, on: Witnessed) -> None:
        self.on = on
        self.since: dict[str, int] = {}
        self.stale = 0
        self._sent = 0

    def look(self) -> None:
        on = self.on
        for sent in on.sent[self._sent :]:
            behind = on.now - self.since.get(sent.order.symbol, on.now)
            self.stale += sent.age > LIMIT_NS or behind > PRIVATE_S * S
        self._sent = len(on.sent)
        for symbol in on.symbols:
            if on.engine.book.rows[on.symbols.index(symbol)].instrument is None or on.known(symbol) == on.held(symbol):
                self.since.pop(symbol, None)
            else:
                self.since.setdefault(symbol, on.now)


def stall(stream: Stream, seed: int) -> Stall:
    """A stream is silenced in a lively market, and a person trades meanwhile."""
    dice = random.Random(f"{stream} {seed}")
    at_s = 20 + dice.uniform(0, 20)
    symbol = dice.choice(list(SHARES))
    trade_s = at_s + dice.uniform(0.5, 12)
    market = SeededMarket(seed, tuple(SHARES), step_ms=400, volatility_scale=2.0)
    prices = dict(zip(SHARES, market.prices(), strict=True))
    steps = dict(zip(SHARES, ("0.001", "0.001", "1"), strict=True))
    positions = {
        name: str((Decimal(300_000 * share) / prices[name]).quantize(Decimal(steps[name])))
        for name, share in SHARES.items()
    }
    part = (Decimal(positions[symbol]) / dice.choice((5, -5))).quantize(Decimal(steps[symbol]))
    trade = event(do="trade", symbol=symbol, quantity=part, at_s=trade_s)
    happen: list[FrameFault | RequestFault | Incident] = [_silence(stream, at_s), trade]
    if dice.random() < 0.5:  # what would stand in for the prices is away as well
        happen.append(RequestFault(do="bad gateway", on="prices", from_s=at_s, until_s=at_s + 30))
    delay_ms = dice.choice((1.0, 20.0, 100.0))
    on = world(*happen, market=market, positions=positions, seed=seed, delay_ms=delay_ms, speed=60.0)
    truth, noticed = _Truth(on), None

    def look() -> None:
        nonlocal noticed
        truth.look()
        if noticed is None and _noticed(on, stream, symbol, START + round(trade_s * S)):
            began = at_s if stream in STREAMS[:2] else trade_s
            noticed = (on.now - START) / S - began

    on.run(START + round(at_s * S), truth.look)
    on.run(START + round((at_s + 60) * S), look)
    return Stall(stream=stream, seed=seed, noticed_s=noticed, orders=len(on.sent), stale=truth.stale)


def _noticed(on: Witnessed, stream: Stream, symbol: str, traded_at: int) -> bool:
    """Whether the agent no longer relies on what was silenced."""
    engine = on.engine
    if stream in STREAMS[:2]:
        of = range(3) if stream == "marks" else [on.symbols.index(SYMBOL)]
        return MARKET not in engine.book.accounts[0].streams or any(
            index in engine.guards[0].pulse.silent for index in of
        )
    index = on.symbols.index(symbol)
    doubted = any(row == index for row, _ in engine.book.disputed)
    return on.now >= traded_at and (doubted or on.known(symbol) == on.held(symbol))


def campaign(seeds: range) -> list[Stall]:
    """Stall every stream once for each seed."""
    return [stall(stream, seed) for seed in seeds for stream in STREAMS]


def figures(stalls: list[Stall]) -> Figures:
    """Sum up: the longest delays, and how many orders were sent on stale data."""

    def worst(of: tuple[Stream, ...]) -> float:
        found = [one.noticed_s for one in stalls if one.stream in of]
        return max((float("inf") if delay is None else delay for delay in found), default=0.0)

    return Figures(
        stalls=len(stalls),
        marks_s=worst(STREAMS[:2]),
        private_s=worst(STREAMS[2:]),
        orders=sum(one.orders for one in stalls),
        stale=sum(one.stale for one in stalls),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.storm.stall", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    stalls = campaign(range(parser.parse_args().seeds))
    for stream in STREAMS:
        found = [one.noticed_s for one in stalls if one.stream == stream]
        delays = sorted(float("inf") if delay is None else delay for delay in found)
        sys.stdout.write(f"{stream:<24} median {delays[len(delays) // 2]:5.1f} s   longest {delays[-1]:5.1f} s\n")
    total = figures(stalls)
    sys.stdout.write(f"{total.stalls} stalls, {total.orders} orders, {total.stale} on stale data\n")
    return 0 if total.met else 1


if __name__ == "__main__":
    sys.exit(main())
