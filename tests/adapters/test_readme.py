"""The capability table in adapters/README.md says what the dialects do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.binance import Binance
from agent.core.events import Balance, Depth, Fact, Filled, Funding, Listed, Mark, Position, Quote, Side
from agent.core.orders import Order, Style
from agent.core.venue import Arm, Ask, Batch, Call, Cancel, Place, Request, SetLeverage, What
from tests.adapters import binance_kit as kit
from tests.adapters import test_binance_frames as frames

README = Path(__file__).parents[2] / "adapters" / "README.md"


def table() -> dict[str, dict[str, str]]:
    """Column by column: what the README says of each venue."""
    lines = [line for line in README.read_text().partition("## What each can do")[2].splitlines() if line[:1] == "|"]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {venue: {row[0]: row[column] for row in rows} for column, venue in enumerate(head) if column}


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def sends(dialect: Binance, request: Request, *words: str) -> bool:
    call = dialect.perform(request, kit.NOW)
    return isinstance(call, Call) and all(word in call.url for word in words)


def largest_batch(dialect: Binance) -> int:
    def batch(size: int) -> Batch:
        return Batch(tuple(kit.order(id=f"n{n}") for n in range(size)))

    return max((size for size in range(1, 60) if sends(dialect, batch(size))), default=0)


def binance() -> dict[str, str]:
    dialect = kit.build(depth=True)

    def place(**changes: Any) -> Place:
        order: Order = kit.order(**changes)
        return Place(order)

    def says(kind: type[Fact], socket: str, event: Any, stream: str = "") -> bool:
        return any(isinstance(fact, kind) for fact in kit.frame(dialect, socket, event, stream))

    def signs(secret: str) -> bool:
        return sends(kit.build(credentials=kit.credentials(secret)), Ask(What.MODE), "signature=")

    truth: dict[str, Callable[[], bool | int]] = {
        "keys: HMAC": lambda: signs("secret"),
        "keys: Ed25519": lambda: signs(pem(ed25519.Ed25519PrivateKey.generate())),
        "keys: RSA": lambda: signs(pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))),
        "runs without a key (public data)": lambda: bool(kit.build(keyed=False).abilities.sockets),
        "sockets": lambda: len(dialect.abilities.sockets),
        "stream: mark price": lambda: says(Mark, "market", frames.MARK),
        "stream: funding rate": lambda: says(Funding, "market", frames.MARK),
        "stream: best bid and ask": lambda: says(Quote, "public", frames.TICKER),
        "stream: book": lambda: says(Depth, "public", frames.BOOK, frames.BOOK_STREAM),
        "stream: orders and fills": lambda: says(Filled, "private", frames.event(**frames.FILL)),
        "stream: positions and balances": lambda: all(
            says(kind, "private", frames.account([frames.row("TRXUSDT", "1")], [frames.money()]))
            for kind in (Position, Balance)
        ),
        "stream: change of an instrument's status": lambda: says(
            Listed, "market", frames.contract_info(status="SETTLING")
        ),
        "order: market": lambda: sends(dialect, place(style=Style.MARKET, ticks=None), "type=MARKET"),
        "order: limit, immediate or cancel": lambda: sends(dialect, place(), "timeInForce=IOC"),
        "order: limit, post-only": lambda: sends(dialect, place(style=Style.POST), "timeInForce=GTX"),
        "order: reduce only": lambda: sends(dialect, place(reduce=True), "reduceOnly=true"),
        "order: hedge mode": lambda: sends(dialect, place(side=Side.SHORT), "positionSide=SHORT"),
        "order: time limit of the request": lambda: sends(dialect, place(expires_at=kit.NOW + kit.S), "recvWindow=999"),
        "orders in one request": lambda: largest_batch(dialect),
        "cancel by our id": lambda: sends(dialect, Cancel("mine", 0), "origClientOrderId=mine"),
        "dead man's switch": lambda: sends(dialect, Arm(0, 1_000), "countdownTime=1000"),
        "change of leverage": lambda: sends(dialect, SetLeverage(0, 7), "leverage=7"),
        "positions: wallet of isolated margin": lambda: any(
            isinstance(fact, Position) and fact.isolated == 2.5
            for fact in kit.frame(
                dialect,
                "private",
                frames.account([frames.row("TRXUSDT", "1") | {"mt": "isolated", "iw": "2.5"}], [frames.money()]),
            )
        ),
    }
    asks = {f"ask: {what}": what in dialect.abilities.answers and sends(dialect, Ask(what, 0, "x")) for what in What}
    found = {name: test() for name, test in truth.items()} | asks
    return {name: {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
            for name, value in found.items()}  # fmt: skip


DIALECTS = {"binance": binance}


def test_every_dialect_has_a_column() -> None:
    assert set(table()) == set(DIALECTS)


@pytest.mark.parametrize("venue", sorted(DIALECTS))
def test_the_table_says_what_the_dialect_does(venue: str) -> None:
    assert table()[venue] == DIALECTS[venue]()
