"""The same seed gives the same bytes, in this process and in any other."""

import decimal
import hashlib
import os
import subprocess
import sys
from decimal import Decimal

from adapters.simulator import (
    Account,
    Binance,
    Client,
    Close,
    Exchange,
    Faults,
    FrameFault,
    Gateway,
    Incident,
    RequestFault,
    SeededMarket,
)

MS = 1_000_000


def story(seed: int) -> str:
    """A digest of every byte that a busy hour of requests, fills and faults gives."""
    account = Account(balance=10_000, positions={"BTCUSDT": "0.05", "ETHUSDT": "-0.5"})
    exchange = Exchange(SeededMarket(seed), [account], seed=seed, speed=50)
    client = Client(Binance(exchange))
    streams = [
        client.listen(),
        client.connect("/public/stream?streams=btcusdt@bookTicker/ethusdt@depth@100ms"),
        client.connect("/market/ws/!markPrice@arr@1s"),
    ]
    gateway = Gateway(
        client.binance,
        Faults(
            seed=seed,
            delay_ms=30,
            requests=(RequestFault("lose reply", chance=0.1),),
            frames=tuple(FrameFault(do, chance=0.03) for do in ("drop", "repeat", "mute", "reorder", "garble")),
            events=(Incident("adl", at_s=20, every_s=40, symbol="BTCUSDT", quantity=Decimal("0.001")),),
        ),
    )
    digest = hashlib.sha256()
    headers = {"X-MBX-APIKEY": account.api_key}
    for number in range(300):
        client.now += 500 * MS
        if number % 3 == 0:
            side = "BUY" if number % 2 else "SELL"
            mark = exchange.books["BTCUSDT"].mark
            price = (mark // 10 * 10) + (-5 if side == "BUY" else 5)
            digest.update(repr(client.place("BTCUSDT", side, "0.005", price)).encode())
        gateway.send("GET", "/fapi/v1/premiumIndex", "", headers, b"", client.now)
        delivery = gateway.advance(client.now)
        digest.update(repr([reply for _, reply in delivery.replies]).encode())
        for session, frame in delivery.frames:
            assert not isinstance(frame, Close)
            digest.update(f"{[stream.number for stream in streams].index(session.number)}".encode() + frame)
    digest.update(repr((exchange.snapshot(account), sorted(gateway.counts.items()))).encode())
    return digest.hexdigest()


def test_a_seed_is_a_story() -> None:
    assert story(11) == story(11)
    assert story(11) != story(12)


def test_the_order_of_hashes_changes_nothing() -> None:
    code = (
        "import importlib.util as u; "
        f"s = u.spec_from_file_location('story', {__file__!r}); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); print(m.story(11))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": number},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for number in ("0", "1")
    }
    assert told == {story(11)}


def test_other_peoples_decimal_settings_change_nothing() -> None:
    mine = story(11)
    with decimal.localcontext(prec=9, rounding=decimal.ROUND_UP):
        assert story(11) == mine
