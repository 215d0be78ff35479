"""How orders are sent: what a portfolio file may say of it, and what comes of that."""

from __future__ import annotations

import pytest

from agent.cli.build import VENUES, dialects_of
from agent.config import ConfigError, parse
from agent.core.venue import Credentials, Secret
from tests.agent.config_kit import PATH, WEIGHTS, problems

KEYS = Credentials(Secret("k" * 20), Secret("s" * 20))
LOCAL = 'rest_url = "http://127.0.0.1:9001"\nstream_url = "ws://127.0.0.1:9001"\n'
THERE = 'entry_url = "ws://127.0.0.1:9001/ws-fapi/v1"\n'
BY_WEBSOCKET = 'order_entry = "websocket"\n'


def file(account: str, mode: str = "live") -> str:
    return f'mode = "{mode}"\n[account]\nkey = "env:KEY"\nsecret = "env:SECRET"\n{account}{WEIGHTS}'


@pytest.mark.parametrize(
    ("account", "address"),
    [
        ("", None),
        (LOCAL, None),
        (BY_WEBSOCKET, VENUES["binance"].entry_url),
        (LOCAL + BY_WEBSOCKET + THERE, "ws://127.0.0.1:9001/ws-fapi/v1"),
    ],
)
def test_orders_go_where_the_file_says(account: str, address: str | None) -> None:
    entry = dialects_of(parse(file(account), PATH), KEYS)[0].abilities.entry
    assert (entry and getattr(entry, "url", None)) == address


@pytest.mark.parametrize("mode", ["observe", "paper"])
def test_who_sends_no_orders_opens_no_websocket_for_them(mode: str) -> None:
    assert dialects_of(parse(file(BY_WEBSOCKET, mode), PATH), KEYS)[0].abilities.entry is None


@pytest.mark.parametrize(
    ("account", "key", "wrong"),
    [
        ('order_entry = "pigeon"\n', "account.order_entry", "pigeon"),
        (LOCAL + BY_WEBSOCKET, "account.entry_url", "is missing, but requests go to another address"),
        (LOCAL + THERE, "account.entry_url", "is given, but orders are not sent by websocket"),
        (BY_WEBSOCKET + 'entry_url = "http://127.0.0.1:1"\n', "account.entry_url", "not the address of a ws service"),
    ],
)
def test_what_does_not_go_together_is_named_with_its_cure(account: str, key: str, wrong: str) -> None:
    (problem,) = problems(file(account))
    assert problem.key == key
    assert wrong in str(problem)
    assert problem.cure


def test_a_venue_without_one_says_so() -> None:
    venue = next(name for name, one in VENUES.items() if one.entry_url is None and not one.coins)
    text = file(f'venue = "{venue}"\n{BY_WEBSOCKET}')
    with pytest.raises(ConfigError, match=r"order_entry = websocket: is not for this venue; write order_entry = "):
        dialects_of(parse(text, PATH), KEYS)
