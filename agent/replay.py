"""Replay: a tape played to the same code must give the same decisions, byte for byte."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from agent.config import Portfolio, blackout_of, parse, schedule_of
from agent.core.decisions import Policy
from agent.core.desk import Desk
from agent.core.engine import Engine
from agent.core.guard import Seat, tags_of
from agent.core.strangers import Sharing
from agent.core.venue import Dialect
from agent.tape import Concluded, Header, Heard, Torn, read


class Difference(Struct, frozen=True):
    """The first decision that came out otherwise."""

    at: int
    recorded: str
    replayed: str


class Replayed(Struct, frozen=True):
    """What a replay found. ``torn`` is the number of bytes at the end that a crash left unreadable."""

    header: Header
    heard: int
    decisions: int
    torn: int
    difference: Difference | None


def policy_of(portfolio: Portfolio) -> Policy:
    """What of a portfolio file decides."""
    return Policy(
        mode=portfolio.mode,
        targets=portfolio.targets,
        bands=portfolio.bands,
        triggers=portfolio.triggers,
        limits=portfolio.limits,
        costs=portfolio.costs,
        economy=portfolio.economy,
        execution=portfolio.execution,
        funding=portfolio.funding,
        pairs=portfolio.pairs,
        timing=portfolio.timing,
    )


def desk_of(portfolio: Portfolio, dialects: Sequence[Dialect], header: Header) -> Desk:
    """The desk of a run, with a dialect for each account: the same from the same header, now and on replay."""
    owners = header.memory.owners if header.memory else {}
    tags = tags_of(header.tag, list(portfolio.seats))
    seats = [
        Seat(
            tag=tag,
            abilities=dialect.abilities,
            name=name,
            pool=account.pool,
            sharing=Sharing(shared=account.shared, foreign=account.foreign),
            allow_withdrawals=account.allow_withdrawals,
            leverage=account.leverage,
            owner=owners.get(name),
            unrecorded=header.unrecorded,
        )
        for (name, account), dialect, tag in zip(portfolio.seats.items(), dialects, tags, strict=True)
    ]
    engine = Engine(
        policy_of(portfolio),
        epoch=header.epoch,
        seats=seats,
        schedule=schedule_of(portfolio.triggers),
        blackout=blackout_of(portfolio.triggers),
        resume=header.resume,
        memory=header.memory,
        nonce=header.nonce,
        halted=header.halted,
    )
    return Desk(dialects, engine, salt=f"{header.tag}{header.epoch}")


def replay(path: Path, dialects_of: Callable[[Portfolio], Sequence[Dialect]]) -> Replayed:
    """Play the tape at ``path``; raises `agent.tape.TapeError` when it can't be read.

    The dialects need no credentials: what they sign is not compared, what is decided is.
    """
    header, records = read(path)
    portfolio = parse(header.config, path)
    desk = desk_of(portfolio, dialects_of(portfolio), header)
    expected: deque[tuple[int, bytes]] = deque()
    heard = decisions = torn = 0
    for record in records:
        match record:
            case Heard(now=now, input=arrived):
                heard += 1
                expected.extend((now, msgspec.json.encode(d)) for d in desk.take((arrived,), now).decisions)
            case Concluded(record=recorded):
                decisions += 1
                at, replayed = expected.popleft() if expected else (0, b"")
                if replayed != recorded:
                    difference = Difference(at=at, recorded=recorded.decode(), replayed=replayed.decode())
                    return Replayed(header=header, heard=heard, decisions=decisions, torn=torn, difference=difference)
            case Torn(lost=lost):
                torn = lost
    return Replayed(header=header, heard=heard, decisions=decisions, torn=torn, difference=None)
