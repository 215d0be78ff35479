"""Putting an agent together from a portfolio file: the dialect of its venue, its credentials, its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from hashlib import blake2b
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from adapters import binance, binance_coin, bingx, bingx_tables, bybit, mexc, weex, weex_terms
from agent.claim import claim
from agent.config import ConfigError, Portfolio, Problem
from agent.config.checks import on_this_machine
from agent.core.orders import base36
from agent.core.paper import Paper
from agent.core.venue import Credentials, Dialect
from agent.secrets import resolve


class Venue(Struct, frozen=True):
    """How to speak to a venue, and where it is."""

    dialect: Callable[..., Dialect]
    rest_url: str
    stream_url: str
    rights: bool = False
    """Whether another service tells what the key may do (`rights_url`)."""
    entry_url: str | None = None
    """The websocket that takes orders, where the dialect speaks to it (`entry_url`)."""
    coins: bool = False
    """Whether its accounts are held in coins, and which one has to be said (`settle`)."""


VENUES = {
    "binance": Venue(binance.Binance, binance.REST_URL, binance.STREAM_URL, rights=True, entry_url=binance.ENTRY_URL),
    "binance-coinm": Venue(
        binance_coin.BinanceCoin, binance_coin.REST_URL, binance_coin.STREAM_URL, rights=True, coins=True
    ),
    "bingx": Venue(bingx.BingX, bingx_tables.REST_URL, bingx_tables.STREAM_URL),
    "bybit": Venue(bybit.Bybit, bybit.REST_URL, bybit.STREAM_URL, entry_url=bybit.ENTRY_URL),
    "bybit-inverse": Venue(
        partial(bybit.Bybit, category="inverse"),
        bybit.REST_URL,
        bybit.STREAM_URL,
        coins=True,
        entry_url=bybit.ENTRY_URL,
    ),
    "mexc": Venue(mexc.Mexc, mexc.REST_URL, mexc.STREAM_URL),
    "weex": Venue(weex.Weex, weex_terms.REST_URL, weex_terms.STREAM_URL),
}
"""Every venue that can be named in a portfolio file."""


def dialects_of(portfolio: Portfolio, credentials: Credentials | None = None) -> list[Dialect]:
    """The dialects a portfolio trades through, one for each account: its venue's own, or paper behind the venue's
    public side.

    ``credentials`` stand in for those that the file refers to, where nothing is to be sent, or to local exchanges.
    Raises `ConfigError`, which does not know the file's name, and `agent.secrets.SecretError`.
    """
    return [_dialect(portfolio, name, credentials) for name in portfolio.seats]


def _dialect(portfolio: Portfolio, name: str, credentials: Credentials | None) -> Dialect:
    account, table = portfolio.seats[name], f"accounts.{name}" if name else "account"

    def refused(key: str, value: str | None, wrong: str, cure: str) -> ConfigError:
        return ConfigError([Problem("", None, f"{table}.{key}".rstrip("."), value, wrong, cure)])

    if account.venue not in VENUES:
        raise refused("venue", account.venue, "is not a venue that is spoken here", f"write {' or '.join(VENUES)}")
    symbols = portfolio.symbols_at(name)
    if portfolio.mode == "paper":
        credentials = None
    elif credentials is None:
        assert account.key is not None, "the file was checked"
        assert account.secret is not None, "the file was checked"
        passphrase = None if account.passphrase is None else resolve(account.passphrase)
        credentials = Credentials(resolve(account.key), resolve(account.secret), passphrase)
    venue = VENUES[account.venue]
    if account.rights_url is not None and not venue.rights:
        raise refused("rights_url", account.rights_url, "is not for this venue", "leave it out")
    if venue.coins and account.settle is None:
        raise refused(
            "settle", None, "is missing", 'write the coin that the account is held in, such as settle = "BTC"'
        )
    if account.settle is not None and not venue.coins:
        cure = f"leave it out: the accounts of {account.venue} are not held in coins"
        raise refused("settle", account.settle, "is not for this venue", cure)
    more = {"rights_url": account.rights_url} if venue.rights else {}
    more |= {"settle": account.settle} if venue.coins else {}
    if account.order_entry == "websocket":
        if venue.entry_url is None:
            wrong, cure = "is not for this venue", 'write order_entry = "rest"'
            raise refused("order_entry", account.order_entry, wrong, cure)
        if portfolio.mode == "live":  # nobody else has orders to send
            more["entry_url"] = account.entry_url or venue.entry_url
    try:
        dialect = venue.dialect(
            symbols=symbols,
            credentials=credentials,
            rest_url=account.rest_url or venue.rest_url,
            stream_url=account.stream_url or venue.stream_url,
            depth=True,
            **more,
        )
    except ValueError as error:
        raise refused("", None, str(error), f"correct [{table}] or [targets.weights]") from None
    return dialect if credentials else Paper(dialect, portfolio.paper_at(name), symbols)


def claim_of(portfolio: Portfolio) -> Callable[[], None]:
    """Claim each account for the one agent that may trade on it from this machine; gives what ends the claims.

    Only live trading claims them: watching beside it does no harm. At a local exchange a key opens another account at
    each address. Raises `agent.claim.Claimed`.
    """
    accounts: dict[tuple[str, str], None] = {}
    for account in portfolio.seats.values() if portfolio.mode == "live" else ():
        assert account.key is not None, "the file was checked"
        local = account.rest_url is not None and on_this_machine(urlsplit(account.rest_url).hostname or "")
        where = f"{account.door} {account.rest_url}" if local else account.door
        accounts[where, resolve(account.key).reveal()] = None  # one key opens the margin of every coin
    with ExitStack() as claims:
        for where, key in accounts:
            claims.callback(claim(where, key))
        return claims.pop_all().close


def tag_of(portfolio: Portfolio) -> str:
    """Two characters that mark the portfolio in order ids, the same on every start."""
    text = " ".join(f"{account.venue}:{account.key}" for account in portfolio.seats.values())
    text = f"{text}:{portfolio.mode}"
    return base36(int.from_bytes(blake2b(text.encode(), digest_size=4).digest()) % 36**2).zfill(2)


def state_home() -> Path:
    """Where states are kept that no file names."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "trimtab"


def home_of_demos() -> Path:
    """Where those of demos are kept."""
    return state_home() / "demo"
