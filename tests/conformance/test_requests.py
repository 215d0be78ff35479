"""For the same purpose we and another client send the same, but for differences that are listed with their reasons.

Both speak to the venue's side on a real socket, ours through the agent's own transport; a recorder keeps what comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from adapters import simulator
from adapters.simulator import Exchange, Server, StillMarket, serve
from agent.cli import build
from agent.core.desk import Answer, Input
from agent.core.events import Denied, Fact, Lost, Refused, Unanswered, Unset, Used
from agent.core.orders import Style
from agent.core.venue import Ask, Call, Cancel, Place, Request, SetLeverage, What
from agent.transport import Transport
from tests.conformance.others import OTHERS
from tests.conformance.recorder import Seen, record
from tests.conformance.talk import Talk
from tests.conformance.venues import VENUES

PATIENCE_S = 30
SIZE = "0.1"
FAILURES = (Denied, Lost, Refused, Unanswered, Unset)
ANOTHER = "x"
"""What the client's ids have more than ours."""


class Bench:
    """Our dialect and another client before one recording server."""

    def __init__(self, name: str, server: Server, seen: list[Seen]) -> None:
        self.seen = seen
        self.other = OTHERS[name]
        self.talk = Talk(VENUES[name])
        self.client = self.other.build(server)
        self.dialect = build.VENUES[name].dialect(
            symbols=self.talk.symbols,
            credentials=self.talk.credentials,
            rest_url=server.rest_url,
            stream_url=server.ws_url,
            depth=True,
            **self.talk.own,
        )
        self._answers: asyncio.Queue[Input] = asyncio.Queue()
        self.transport = Transport(self._answers.put_nowait)

    async def ours(self, request: Request) -> tuple[Seen, list[Fact]]:
        """What left of us for a request, and the facts in its answer."""
        before = len(self.seen)
        call = self.dialect.perform(request, time.time_ns())
        assert isinstance(call, Call), call
        self.transport.do(call)
        answer = await self._answers.get()
        assert isinstance(answer, Answer), answer
        facts = self.dialect.on_reply(call, answer.reply, time.time_ns())
        (sent,) = self.seen[before:]
        return sent, [fact for fact in facts if not isinstance(fact, Used)]

    async def learn(self, ask: Ask) -> None:
        """Have our dialect ask something, and what it wants to ask upon the answer."""
        await self.ours(ask)
        for wish in self.dialect.acts():
            if isinstance(wish, Ask):
                await self.learn(wish)

    async def theirs(self, act: Callable[[Any], Awaitable[Any]]) -> Seen:
        """The last request that left of the other client for an act."""
        before = len(self.seen)
        await act(self.client)
        assert self.seen[before:]
        return self.seen[-1]

    def order(self, number: str, price: int | None, **more: Any) -> Any:
        """An order of ours, made now."""
        self.talk.now = time.time_ns()
        return self.talk.order(number, price, **more)


@pytest.fixture(params=sorted(OTHERS))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    venue = VENUES[request.param]
    name, price = venue.prices[0]
    listed = simulator.instrument(name)
    held = {name: Decimal("0.5") * price / listed.contract if listed.inverse else Decimal("0.5")}
    exchange = Exchange(StillMarket(dict(venue.prices)), [venue.account(balance=100_000, positions=held)])
    side = simulator.VENUES[venue.name].side(exchange, **OTHERS[venue.name].local)
    seen = record(side)
    async with asyncio.timeout(PATIENCE_S), await serve(side) as server:
        one = Bench(venue.name, server, seen)
        try:
            await one.client.load_markets()
            for what in dict.fromkeys((What.TIME, What.INSTRUMENTS, What.MODE, *venue.before)):
                await one.learn(Ask(what, 0))
            yield one
        finally:
            await one.client.close()
            await one.transport.close()


def differences(bench: Bench, ours: Seen, theirs: Seen) -> dict[str, tuple[str | None, str | None]]:
    """What is not the same, moments and ids apart."""
    found: dict[str, tuple[str | None, str | None]] = {}
    for what in ("method", "path"):
        if getattr(ours, what) != getattr(theirs, what):
            found[what] = getattr(ours, what), getattr(theirs, what)
    spelt = {theirs_: ours_ for ours_, theirs_ in bench.other.spells.items()}
    mine, others = ours.params, {spelt.get(name, name): value for name, value in theirs.params.items()}
    for name in sorted((mine.keys() | others.keys()) - bench.other.moment):
        if f"{mine.get(name)}{ANOTHER}" == others.get(name):
            continue  # each has an id of its own
        if mine.get(name) != others.get(name):
            found[name] = mine.get(name), others.get(name)
    return found


def test_every_venue_has_another_reader() -> None:
    assert set(OTHERS) == set(VENUES)


async def test_for_the_same_purpose_the_same_is_sent(bench: Bench) -> None:
    symbol, size, price = bench.other.symbol, float(SIZE) / bench.other.contract, 79_000
    order = bench.order
    limit, post, reduce = (
        order(SIZE, price),
        order(SIZE, price, style=Style.POST),
        order(f"-{SIZE}", None, style=Style.MARKET, reduce=True),
    )
    market = order(SIZE, None, style=Style.MARKET)

    def place(kind: str, side: str, mine: Any, at: int | None, **more: Any) -> Callable[[Any], Awaitable[Any]]:
        more[bench.other.named] = mine.id + ANOTHER
        return lambda client: client.create_order(symbol, kind, side, size, at, more)

    async def cancel(client: Any) -> Any:
        """By our id, or by that under which the venue lists it."""
        if bench.other.cancels:
            return await client.cancel_order("", symbol, {bench.other.cancels: post.id + ANOTHER})
        rests = await client.fetch_open_orders(symbol)
        (found,) = [one["id"] for one in rests if post.id + ANOTHER in one["info"].values()]
        return await client.cancel_order(found, symbol)

    purposes: list[tuple[str, Request, Callable[[Any], Awaitable[Any]]]] = [
        ("limit, immediate or cancel", Place(limit), place("limit", "buy", limit, price, timeInForce="IOC")),
        ("limit, post-only", Place(post), place("limit", "buy", post, price, postOnly=True)),
        ("market", Place(market), place("market", "buy", market, None)),
        ("market, reduce only", Place(reduce), place("market", "sell", reduce, None, reduceOnly=True)),
        ("open orders", Ask(What.ORDERS), lambda client: client.fetch_open_orders(symbol)),
        ("positions", Ask(What.POSITIONS), lambda client: client.fetch_positions()),
        ("leverage", SetLeverage(0, 7), lambda client: client.set_leverage(7, symbol, bench.other.lever)),
        ("cancel", Cancel(post.id, 0), cancel),
    ]
    found: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    for purpose, request, act in purposes:
        theirs = await bench.theirs(act)
        mine, facts = await bench.ours(request)
        assert mine.reply.status == theirs.reply.status == 200
        failed = [fact for fact in facts if isinstance(fact, FAILURES)]
        assert not failed or purpose in bench.other.halves, (purpose, facts)
        for sent in (mine, theirs):
            given, wanted = bench.other.signature(sent)
            assert given == wanted, (purpose, sent)
        found |= {(purpose, what): both for what, both in differences(bench, mine, theirs).items()}
    listed = {
        (purpose, one.what): (one.ours, one.theirs) for one in bench.other.differences for purpose in one.purposes
    }
    assert found == listed
