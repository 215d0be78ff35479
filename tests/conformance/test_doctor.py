"""`trimtab doctor` at every venue: whatever it can ask there is answered, and its account is found fit to trade."""

from __future__ import annotations

import asyncio
from pathlib import Path

from adapters import simulator
from adapters.simulator import Exchange, StillMarket, serve
from agent.cli.build import dialects_of, tag_of
from agent.config import parse
from agent.core.venue import What
from agent.doctor import examine
from tests.conformance.description import Described
from tests.conformance.talk import Talk

PATIENCE_S = 60


async def test_an_account_is_found_fit(venue: Described) -> None:
    talk, local = Talk(venue), simulator.VENUES[venue.name]
    account = venue.account(balance=10_000, rights={"ipRestrict": True})
    exchange = Exchange(StillMarket(dict(venue.prices)), [account])
    words = {"venue": venue.name, "key": "env:NONE", "secret": "env:NONE", **local.own}
    if local.passphrase:
        words["passphrase"] = "env:NONE"
    async with await serve(local.side(exchange)) as server:
        words |= {"rest_url": server.rest_url, "stream_url": server.ws_url}
        lines = [f'{name} = "{word}"' for name, word in words.items()]
        weights = [f'"{symbol}" = {1 / len(talk.symbols)}' for symbol in talk.symbols]
        text = "\n".join(['mode = "live"', "[account]", *lines, "[targets.weights]", *weights])
        portfolio = parse(text, Path("portfolio.toml"))
        dialects = dialects_of(portfolio, talk.credentials)
        found = await examine(
            portfolio, dialects, asyncio.Event(), tag=tag_of(portfolio), keyed=True, patience_s=PATIENCE_S
        )
    assert found.verdict == "trade", found.findings
    assert found.suffices
    told = {one.text for one in found.findings if one.grade == "warning"}
    assert all("what it may do" in text or "it may do" in text for text in told), told
    assert bool(told) is (What.RIGHTS not in dialects[0].abilities.answers)
    assert not exchange.ledger.orders
