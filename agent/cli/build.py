"""Putting an agent together from a portfolio file: the dialect of its venue, its credentials, its folder."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path

from adapters.binance import Binance
from agent.config import ConfigError, Portfolio, Problem
from agent.core.orders import base36
from agent.core.paper import Paper
from agent.core.venue import Credentials, Dialect
from agent.secrets import resolve

VENUES = {"binance": Binance}
"""Every venue that can be named in a portfolio file."""


def dialect_of(portfolio: Portfolio) -> Dialect:
    """The dialect a portfolio trades through: the venue's own, or paper behind the venue's public side."""
    account = portfolio.account
    symbols = tuple(portfolio.targets.weights)
    credentials = None
    if portfolio.mode != "paper":
        assert account.key is not None, "the file was checked"
        assert account.secret is not None, "the file was checked"
        credentials = Credentials(key=resolve(account.key), secret=resolve(account.secret))
    addresses = {}
    if account.rest_url is not None:
        addresses["rest_url"] = account.rest_url
    if account.stream_url is not None:
        addresses["stream_url"] = account.stream_url
    try:
        dialect = VENUES[account.venue](symbols=symbols, credentials=credentials, **addresses)
    except ValueError as error:
        raise ConfigError([Problem(place="[account]", key="account", value="", wrong=str(error), cure="")]) from error
    return dialect if credentials else Paper(dialect, portfolio.paper, symbols)


def tag_of(portfolio: Portfolio) -> str:
    """Two characters that mark the account in order ids, the same on every start."""
    text = f"{portfolio.account.venue}:{portfolio.account.key}:{portfolio.mode}"
    return base36(int.from_bytes(blake2b(text.encode(), digest_size=4).digest()) % 36**2).zfill(2)


def state_home() -> Path:
    """Where states are kept that no file names."""
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "trimtab"
