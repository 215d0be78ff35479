"""The capability table in adapters/README.md says what the dialects do: each cell is tried out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from agent.cli import build
from agent.core.events import Balance, Denied, Depth, Ended, Fact, Filled, Funding, Listed, Mark, Position, Quote, Side
from agent.core.orders import Style
from agent.core.venue import Batch, Call, Cancel, Place, SetLeverage, What
from tests.conformance.description import Described
from tests.conformance.talk import S, Talk, ends, fills
from tests.conformance.venues import VENUES

README = Path(__file__).parents[2] / "adapters" / "README.md"
Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def table() -> dict[str, dict[str, str]]:
    """Column by column: what the README says of each venue."""
    lines = [line for line in README.read_text().partition("## What each can do")[2].splitlines() if line[:1] == "|"]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {venue: {row[0]: row[column] for row in rows} for column, venue in enumerate(head) if column}


def signs(venue: Described, private: Private) -> bool:
    """Whether the venue takes a signature by such a key, and the dialect makes one."""
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    try:
        talk = Talk(venue, account=venue.account(balance=10_000, public_key=public), secret=secret)
    except ValueError:
        return False
    return talk.held() == {} and not any(isinstance(fact, Denied) for fact in talk.question(What.ACCOUNT))


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def streams(venue: Described, kind: type[Fact]) -> bool:
    """Whether frames tell such facts of a market at rest, or of an order that fills."""
    talk = Talk(venue)
    facts = [*talk.listen(3), *talk.ask(Place(talk.order("0.1", 80_500)))]
    return any(isinstance(fact, kind) for fact in [*facts, *talk.listen()])


def told_of_status(venue: Described) -> bool:
    talk = Talk(venue)
    talk.listen()
    talk.exchange.set_status(talk.names[0], "SETTLING")
    return any(isinstance(fact, Listed) for fact in talk.listen(3))


def takes(venue: Described, style: Style, price: int | None) -> bool:
    """Whether such an order is sent, and does what its style says."""
    talk = Talk(venue)
    order = talk.order("0.1", price, style=style)
    facts = talk.place(order)
    return not ends(facts, order) if style is Style.POST else sum(one.lots for one in fills(facts, order)) == order.lots


def only_reduces(venue: Described) -> bool:
    talk = Talk(venue)
    order = talk.order("-0.1", 79_500, reduce=True)
    return not fills(talk.place(order), order)


def hedges(venue: Described) -> bool:
    talk = Talk(venue, account=venue.account(balance=10_000, hedge=True))
    talk.place(talk.order("-0.1", 79_500, side=Side.SHORT))
    return talk.held() == {Side.SHORT: talk.lots("-0.1")}


def limits_the_life_of_a_request(venue: Described) -> bool:
    """Whether an order that comes too late is not taken."""
    talk = Talk(venue)
    order = talk.order("0.1", 80_500, life_ns=2 * S)
    talk.ask(Place(order), late_ns=4 * S)
    return talk.held() == {}


def largest_batch(venue: Described) -> int:
    talk = Talk(venue)

    def sends(size: int) -> bool:
        orders = tuple(talk.order("0.1", 79_000) for _ in range(size))
        return isinstance(talk.dialect.perform(Batch(orders), talk.now), Call)

    return max((size for size in range(1, 60) if sends(size)), default=0)


def says_orders(venue: Described) -> bool:
    if build.VENUES[venue.name].entry_url is None:
        return False
    talk = Talk(venue, entry=True)
    call = talk.dialect.perform(Place(talk.order("0.1", 79_000, style=Style.POST)), talk.now)
    return isinstance(call, Call) and call.socket is not None


def cancels_by_our_id(venue: Described) -> bool:
    """Whether a dialect that knows nothing of an order but its id can cancel it."""
    talk = Talk(venue)
    order = talk.order("0.1", 79_000, style=Style.POST)
    talk.place(order)
    talk.begin()
    return any(isinstance(fact, Ended) for fact in [*talk.ask(Cancel(order.id, 0)), *talk.listen()])


def tells_isolated_wallets(venue: Described) -> bool:
    name = venue.prices[0][0]
    talk = Talk(venue, account=venue.account(balance=10_000, isolated=(name,)))
    facts = talk.place(talk.order("0.1", 80_500))
    return any(isinstance(fact, Position) and fact.isolated for fact in facts)


def sets_leverage(venue: Described) -> bool:
    talk = Talk(venue)
    talk.ask(SetLeverage(0, 7))
    return talk.account.leverage(talk.names[0]) == 7


ROWS: dict[str, Callable[[Described], bool | int]] = {
    "keys: HMAC": lambda venue: Talk(venue).held() == {},
    "keys: Ed25519": lambda venue: signs(venue, ed25519.Ed25519PrivateKey.generate()),
    "keys: RSA": lambda venue: signs(venue, rsa_key()),
    "runs without a key (public data)": lambda venue: bool(Talk(venue, key=False).dialect.abilities.sockets),
    "sockets": lambda venue: len(Talk(venue).dialect.abilities.sockets),
    "stream: mark price": lambda venue: streams(venue, Mark),
    "stream: funding rate": lambda venue: streams(venue, Funding),
    "stream: best bid and ask": lambda venue: streams(venue, Quote),
    "stream: book": lambda venue: streams(venue, Depth),
    "stream: orders and fills": lambda venue: streams(venue, Filled),
    "stream: positions and balances": lambda venue: streams(venue, Position) and streams(venue, Balance),
    "stream: change of an instrument's status": told_of_status,
    "order: market": lambda venue: takes(venue, Style.MARKET, None),
    "order: limit, immediate or cancel": lambda venue: takes(venue, Style.IOC, 80_500),
    "order: limit, post-only": lambda venue: takes(venue, Style.POST, 79_000),
    "order: reduce only": only_reduces,
    "order: hedge mode": hedges,
    "order: time limit of the request": limits_the_life_of_a_request,
    "orders in one request": largest_batch,
    "orders by websocket": says_orders,
    "cancel by our id": cancels_by_our_id,
    "dead man's switch": lambda venue: Talk(venue).dialect.abilities.arms,
    "change of leverage": sets_leverage,
    "positions: wallet of isolated margin": tells_isolated_wallets,
}


def found(venue: Described) -> dict[str, str]:
    answers = Talk(venue).dialect.abilities.answers
    cells: dict[str, bool | int] = {name: row(venue) for name, row in ROWS.items()}
    cells |= {f"ask: {what}": what in answers for what in What}
    return {
        name: {True: "yes", False: "no"}[cell] if isinstance(cell, bool) else str(cell) for name, cell in cells.items()
    }


def test_every_venue_has_a_column() -> None:
    assert set(table()) == set(VENUES)


@pytest.mark.parametrize("name", sorted(VENUES))
def test_the_table_says_what_the_dialect_does(name: str) -> None:
    assert table()[name] == found(VENUES[name])
