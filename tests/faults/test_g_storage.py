"""Storage that is full, broken, slow, locked, flipped or gone: what is not on disk is not sent."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import apsw
import pytest
from msgspec.structs import replace

from adapters.binance import Binance
from adapters.simulator import DEMO_KEY, Exchange, StillMarket, serve
from agent.cli import app as cli
from agent.core.desk import Act, Input, Silence, Step
from agent.core.planner import Execution
from agent.core.venue import Batch, Call, Cancel, Place, Request, SetLeverage
from agent.journal import Damaged, Journal, JournalFailed, Locked, Unusable
from agent.replay import replay
from agent.run import SYNC_NS
from tests.faults.striking import Struck
from tests.storage.disk import Disk, failing
from tests.storage.power import encoded, order
from tests.wire.test_cli import write
from tests.wire.test_demo import trimtab
from tests.wire.test_run import KEYS, PRICES, account, at_rest, held, idle, portfolio, running, until

if TYPE_CHECKING:
    from agent.config import Portfolio
    from agent.transport import Transport

NOW = 1_795_000_000_000_000_000


@pytest.fixture
def disk() -> Iterator[Disk]:
    with Disk() as disk:
        yield disk


def sent(exchange: Exchange) -> list[str]:
    """Our orders that the exchange has ever had, oldest first."""
    return [one.client_id for one in exchange.ledger.orders.values() if one.client_id.startswith("tt")]


def told(folder: Path) -> str:
    """All that was decided, as the journal tells it."""
    records = Journal.read(folder / "journal.db")
    text = b"\n".join(row.record for row in records.decisions(limit=100_000)).decode()
    records.close()
    return text


@pytest.mark.parametrize(
    ("fault", "error", "call"),
    [
        pytest.param("G1", apsw.FullError, "xWrite", marks=pytest.mark.fault("G1"), id="full"),
        pytest.param("G1", apsw.ReadOnlyError, "xWrite", marks=pytest.mark.fault("G1"), id="read-only"),
        pytest.param("G2", apsw.IOError, "xWrite", marks=pytest.mark.fault("G2"), id="write"),
        pytest.param("G2", apsw.IOError, "xSync", marks=pytest.mark.fault("G2"), id="sync"),
    ],
)
async def test_a_disk_that_fails_lets_no_order_leave_and_every_cancel(
    fault: str, error: type[apsw.Error], call: str, tmp_path: Path, disk: Disk, struck: Struck
) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    before: list[str] = []

    async def lose_the_disk(chosen: Portfolio) -> None:
        async with running(chosen, server, tmp_path) as agent:
            await until(lambda: bool(exchange.snapshot(DEMO_KEY).open_orders))
            with failing(disk, error, call):
                agent.tell("resync")
                await until(lambda: agent._broken is not None)
                before.extend(sent(exchange))
                exchange.set_mark("BTCUSDT", "140000")
                server.settle()
                await until(lambda: not exchange.snapshot(DEMO_KEY).open_orders)
                await asyncio.sleep(0.3)
                assert not agent.engine.blotter.live(), "what could not be written is known not to have left"

    async with await serve(exchange) as server:
        with pytest.raises(JournalFailed):
            await lose_the_disk(replace(portfolio(server), execution=Execution(style="maker", patience_s=600)))
        struck(fault, disk.struck)
        assert sent(exchange) == before
        exchange.set_mark("BTCUSDT", PRICES["BTCUSDT"])
        async with running(portfolio(server), server, tmp_path) as agent:  # the disk is well again
            await until(lambda: at_rest(agent))
    records = Journal.read(tmp_path / "journal.db")
    assert set(sent(exchange)) <= {one.id for one in records.orders(100_000)}
    records.close()


@pytest.mark.fault("G2")
@pytest.mark.parametrize("call", ["xWrite", "xSync"])
def test_what_failed_once_is_never_tried_again_nor_tidied_up(
    call: str, tmp_path: Path, disk: Disk, struck: Struck
) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.begin("live", "", "0.1.0", NOW)
    journal.append(NOW, 1, b"{}", [order("kept")], urgent=True)
    with failing(disk, apsw.IOError, call), pytest.raises(JournalFailed, match="IOError"):
        journal.append(NOW, 2, b"{}", [order("lost")], urgent=True)
    struck("G2", disk.struck)
    before = disk.counts.copy()
    with pytest.raises(JournalFailed, match="failed before"):
        journal.append(NOW, 3, b"{}", [order("later")], urgent=True)
    journal.close()
    assert disk.counts == before, "the disk is left alone"
    journal = Journal(path)
    assert "kept" in [one.id for one in journal.orders()]
    assert "later" not in [one.id for one in journal.orders()]
    journal.close()


@pytest.fixture
def little(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "little"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.fault("G1")
def test_a_file_system_without_room_or_that_can_not_be_written(little: Path, struck: Struck) -> None:
    journal = Journal(little / "journal.db")
    journal.begin("live", "", "0.1.0", NOW)
    kept = 0

    def go_on(number: int) -> None:
        journal.append(NOW, number, b'"%s"' % (b"x" * 2_000), [order(f"o{number}")], urgent=True)

    try:
        for kept in range(1_000):
            go_on(kept)
    except JournalFailed:
        struck("G1")
    with pytest.raises(JournalFailed, match="failed before"):
        journal.append(NOW, 2_000, b"{}", [], urgent=False)
    journal.close()
    records = Journal.read(little / "journal.db")
    assert len(records.orders(2_000)) == kept > 10, "what was told to be on disk is there"
    records.close()
    subprocess.run(["mount", "-o", "remount,ro", str(little)], check=True)
    with pytest.raises(Unusable, match="Read-only file system"):
        Journal(little / "journal.db")
    struck("G1")
    subprocess.run(["mount", "-o", "remount,rw", str(little)], check=True)


# G3


@pytest.mark.fault("G3")
def test_another_program_that_holds_the_journal_is_not_waited_for(tmp_path: Path, struck: Struck) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.begin("live", "", "0.1.0", NOW)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match="BusyError"):
            journal.append(NOW, 1, b"{}", [order("a")], urgent=True)
        struck("G3")
    journal.close()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")
        journal = Journal(path)
        with pytest.raises(JournalFailed, match="BusyError"):
            journal.begin("live", "", "0.1.0", NOW)
        struck("G3")
        journal.close()


# G5


@pytest.mark.fault("G5")
async def test_a_run_does_not_start_from_a_journal_with_a_flipped_bit(tmp_path: Path, struck: Struck) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    state = tmp_path / "state"
    async with await serve(exchange) as server:
        async with running(portfolio(server), server, state) as agent:
            await until(lambda: at_rest(agent))
        ran = sent(exchange)
        healthy = await asyncio.to_thread(trimtab, "verify", "--state", str(state), state=tmp_path)
        assert healthy.returncode == 0, healthy.stderr
        assert "the chain is unbroken, and the orders follow from the decisions" in healthy.stdout
        content = (state / "journal.db").read_bytes()
        flipped = ran[0].encode()[:-1] + bytes([ran[0].encode()[-1] ^ 1])
        content = content.replace(ran[0].encode(), flipped)
        (state / "journal.db").write_bytes(content)
        struck("G5")
        exchange.set_mark("BTCUSDT", "140000")
        server.settle()
        with pytest.raises(Damaged, match=r"damaged: .*restore a backup"):
            async with running(portfolio(server), server, state):
                pass
        assert sent(exchange) == ran
    path = write(tmp_path, f'mode = "paper"\nstate = "{state}"\n[targets]\nweights = {{ BTCUSDT = 1.0 }}\n')
    for command in (["run", str(path)], ["verify", "--state", str(state)]):
        ended = await asyncio.to_thread(trimtab, *command, state=tmp_path)
        assert ended.returncode == cli.DAMAGED == 65, ended.stderr
        assert "restore a backup" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert (state / "journal.db").read_bytes() == content


# G6


@pytest.mark.fault("G6")
async def test_a_journal_removed_from_under_a_run_ends_it_before_it_sends(tmp_path: Path, struck: Struck) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])
    before: list[str] = []

    async def lose_the_file(chosen: Portfolio) -> None:
        async with running(chosen, server, tmp_path) as agent:
            await until(lambda: at_rest(agent))
            before.extend(sent(exchange))
            for name in ("journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"):
                (tmp_path / name).unlink()
            struck("G6")
            exchange.set_mark("BTCUSDT", "140000")
            server.settle()
            await until(lambda: agent._broken is not None)
            await asyncio.sleep(0.3)

    async with await serve(exchange) as server:
        with pytest.raises(JournalFailed, match=r"replaced|No such file"):
            await lose_the_file(portfolio(server))
        assert sent(exchange) == before
        async with running(portfolio(server), server, tmp_path) as agent:
            await until(lambda: at_rest(agent))
            agent.journal.flush()
            assert "the journal does not know run" in told(tmp_path)
    assert len(set(sent(exchange))) == len(sent(exchange)) > len(before)
    assert all(len(orders) == 1 for orders in exchange.ledger.by_client_id.values())


# G7


@pytest.mark.fault("G7")
async def test_an_order_that_the_disk_took_too_long_for_is_not_sent_unless_it_reduces(
    tmp_path: Path, disk: Disk, struck: Struck, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = Exchange(StillMarket(PRICES), [account()])

    async with await serve(exchange) as server:
        disk.only = "-wal"
        known = replace(portfolio(server).account, key="env:KEY", secret="env:SECRET")
        chosen = replace(portfolio(server), account=known, state=str(tmp_path))
        async with running(chosen, server, tmp_path, record=True) as agent:
            disk.sync_s = 0.55
            await until(lambda: len(agent._slow) >= 3, seconds=120)
            await until(lambda: agent.engine.tally.refused >= 3)  # the engine knows that they have not left
            assert sent(exchange)
            assert all(order.reduce_only for order in exchange.ledger.orders.values())
            assert held(exchange, "BTCUSDT") < Decimal("0.8")
            assert held(exchange, "ETHUSDT") == 5
            disk.sync_s = 0
            struck("G7", disk.struck)
            await until(lambda: at_rest(agent), seconds=120)
        assert "times within 10 min: move the state folder to a faster disk" in told(tmp_path)
    assert held(exchange, "ETHUSDT") > 5
    assert [record for record in caplog.records if record.levelname == "ERROR" and "the disk took" in record.message]
    [tape] = (tmp_path / "tapes").iterdir()
    again = replay(tape, blind)
    assert again.difference is None
    journal = Journal(tmp_path / "journal.db")
    journal.verify()
    journal.close()


def blind(chosen: Portfolio) -> list[Binance]:
    symbols = tuple(chosen.targets.symbols)
    url, stream = chosen.account.rest_url, chosen.account.stream_url
    assert url is not None
    assert stream is not None
    return [Binance(symbols=symbols, credentials=KEYS, rest_url=url, stream_url=stream)]


@pytest.mark.fault("G7")
@pytest.mark.parametrize("broken", [False, True])
async def test_of_what_is_late_orders_that_reduce_leave_and_of_what_is_not_on_disk_none(
    broken: bool, tmp_path: Path, struck: Struck
) -> None:
    with idle(tmp_path) as agent:
        left, heard = list[Act](), list[Input]()
        agent.transport = cast("Transport", SimpleNamespace(do=left.append))
        agent._hear = heard.append  # type: ignore[method-assign,assignment]
        cuts, adds = order("a"), replace(order("b"), reduce=False)
        leaves: list[Request] = [Cancel("a", 0), Place(cuts), Batch((cuts, cuts))]
        stays: list[Request] = [Place(adds), Batch((cuts, adds)), SetLeverage(instrument=0, leverage=7)]
        calls = [Call(tag, one, "POST", "", (), b"", 1_000) for tag, one in enumerate(leaves + stays)]
        agent._broken = JournalFailed("the disk is full") if broken else None
        agent._perform(Step(decisions=(), acts=tuple(calls), wake_at=0), SYNC_NS + 1)
        struck("G7")
        await asyncio.sleep(0)
        sent = 1 if broken else len(leaves)
        assert left == calls[:sent]
        assert [one.call for one in heard if isinstance(one, Silence)] == [call.tag for call in calls[sent:]]


# I3


@pytest.mark.fault("I3")
def test_a_lock_file_that_is_removed_lets_nobody_in(tmp_path: Path, struck: Struck) -> None:
    path = tmp_path / "journal.db"
    first = Journal(path)
    first.begin("live", "", "0.1.0", NOW)
    (tmp_path / "journal.db.lock").unlink()
    struck("I3")
    for _ in range(2):
        with pytest.raises(Locked, match="though its lock file is gone"):
            Journal(path)
    first.append(NOW, 1, b"{}", [order("a")], urgent=True)
    first.close()
    Journal(path).close()


@pytest.mark.fault("I3")
def test_a_run_that_another_has_followed_can_write_nothing_more(
    tmp_path: Path, struck: Struck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should every lock fail, as on some network file systems."""
    monkeypatch.setattr("fcntl.flock", lambda *of: None)
    path = tmp_path / "journal.db"
    first = Journal(path)
    first.begin("live", "", "0.1.0", NOW)
    first.append(NOW, 1, encoded(order("a")), [order("a")], urgent=True)
    second = Journal(path)
    assert second.begin("live", "", "0.1.0", NOW) == 2
    struck("I3")
    with pytest.raises(JournalFailed, match="run 2 has begun on it"):
        first.append(NOW, 2, b"{}", [order("b")], urgent=True)
    second.append(NOW, 1, encoded(order("c")), [order("c")], urgent=True)
    first.close()
    assert [one.id for one in second.orders()] == ["c", "a"]
    second.verify()
    second.close()
