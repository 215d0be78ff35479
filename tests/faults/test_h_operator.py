"""Files that are half written, weights that nobody can mean, operators in the middle of a plan, forged requests."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulator import Exchange, Faults, StillMarket, serve
from agent.config import ConfigError, load, parse
from agent.core.desk import Told
from agent.core.orders import MS, S
from agent.core.venue import Place
from tests.agent.test_feed import JSON, Desk, asked, document, here, listening, written
from tests.faults.striking import Struck
from tests.storm.storm import prepare
from tests.storm.world import START
from tests.wire.test_demo import trimtab
from tests.wire.test_run import PRICES, account, at_rest, portfolio, running, until

FILE = """\
mode = "paper"
[limits]
leverage = 4
[targets]
leverage = 2
[targets.weights]
BTCUSDT = "50%"
ETHUSDT = "30%"
SOLUSDT = "20%"
"""


# H1: half-written files


@pytest.mark.fault("H1")
def test_a_portfolio_file_cut_anywhere_is_refused_whole(tmp_path: Path, struck: Struck) -> None:
    path = tmp_path / "portfolio.toml"
    for length in range(len(FILE) - len('"\n')):
        path.write_text(FILE[:length])
        with pytest.raises(ConfigError):
            load(path)
        struck("H1")


@pytest.mark.fault("H1")
def test_a_restart_on_a_half_written_file_ends_at_once_and_is_not_tried_again(tmp_path: Path, struck: Struck) -> None:
    path = tmp_path / "portfolio.toml"
    path.write_text(FILE[: len(FILE) * 3 // 4])
    ended = trimtab("run", str(path), state=tmp_path)
    assert ended.returncode == 78
    assert "Traceback" not in ended.stderr
    struck("H1")


@pytest.mark.fault("H1")
async def test_what_becomes_of_the_file_changes_nothing_while_it_runs(tmp_path: Path, struck: Struck) -> None:
    """It is read once, at the start."""
    async with await serve(Exchange(StillMarket(PRICES), [account()])) as server:
        chosen = portfolio(server)
        path = tmp_path / "portfolio.toml"
        path.write_text(FILE)
        async with running(chosen, server, tmp_path / "state") as agent:
            await until(lambda: agent.engine.correction is not None or at_rest(agent))
            path.write_text(FILE[:40])
            struck("H1")
            await until(lambda: at_rest(agent))
            assert agent.portfolio == chosen
            assert agent.engine.mandate.given is None


@pytest.mark.fault("H1")
def test_a_half_written_feed_file_keeps_the_old_targets_and_says_so(tmp_path: Path, struck: Struck) -> None:
    path = tmp_path / "targets"
    desk = Desk(file=str(path))
    feed = desk.feed()
    written(path, document(0.5), at=desk.now - S)
    feed.look()
    whole = document(0.7)
    for length in range(1, len(whole)):
        written(path, whole[:length], at=desk.now - S + length)
        feed.look()
        struck("H1")
        assert len(desk.said) == length
    assert [given.targets.weights["BTCUSDT"] for given in desk.taken] == [0.5]
    written(path, whole, at=desk.now)
    feed.look()
    assert [given.targets.weights["BTCUSDT"] for given in desk.taken] == [0.5, 0.7]


# H2: weights that can't be meant


def file_of(weights: dict[str, str]) -> str:
    return "[targets.weights]\n" + "".join(f"{symbol} = {weight}\n" for symbol, weight in weights.items())


@pytest.mark.fault("H2")
def test_weights_that_can_t_be_meant_are_refused(struck: Struck) -> None:
    good = {"BTCUSDT": "0.5", "ETHUSDT": "0.3", "SOLUSDT": "0.2"}
    parse(file_of(good), Path("p.toml"))
    bad = ("nan", "inf", "-inf", "5", "50", '"500%"', '"a half"', "true", "[]", "1e400", '"0.5"', "-5")
    for symbol in good:
        for weight in bad:
            with pytest.raises(ConfigError):
                parse(file_of(good | {symbol: weight}), Path("p.toml"))
            struck("H2")
    for name in ("btc-usdt", '"BTC USDT"', '""', "BTCUSDT.P"):
        with pytest.raises(ConfigError):
            parse(file_of({name: "0.5", "ETHUSDT": "0.5"}), Path("p.toml"))
        struck("H2")


@given(st.lists(st.floats(-1, 1, allow_nan=False).filter(lambda w: abs(w) > 0.001), min_size=2, max_size=8))
def test_weights_are_taken_only_where_they_add_up(weights: list[float]) -> None:
    text = file_of({f"A{number}USDT": f"{weight:.6f}" for number, weight in enumerate(weights)})
    total = sum(abs(float(f"{weight:.6f}")) for weight in weights)
    if math.isclose(total, 1, abs_tol=2e-4):
        return  # near enough for a rounding
    with pytest.raises(ConfigError, match=r"add up|weights"):
        parse(text, Path("p.toml"))


# H7: the operator, in the middle of a plan


@pytest.mark.fault("H7")
@pytest.mark.parametrize("command", ["pause", "halt", "kill"])
def test_a_command_in_the_middle_of_a_plan_ends_its_increases_and_resuming_finishes_it(
    command: str, struck: Struck
) -> None:
    seen = 0
    for seed in range(12):
        world = prepare(seed, Faults(seed=seed, delay_ms=150.0))
        placed: list[Place] = []
        world.decided = lambda made, placed=placed: placed.extend(  # type: ignore[misc]
            request for request in made.requests if isinstance(request, Place)
        )
        while world.now < START + 40 * S and not (placed and world.engine.blotter.live()):
            world.run(world.now + 20 * MS)
        if not world.engine.blotter.live():
            continue
        seen += 1
        world._take(Told(command))
        before = len(placed)
        world.run(world.now + 15 * S)
        late = placed[before:]
        assert not [one for one in late if not one.order.reduce]
        if command == "pause":
            assert not late
        assert all(order.reduce for order in world.engine.blotter.live())
        world._take(Told("unkill" if command == "kill" else "resume"))
        world.exchange.freeze()
        world.run(world.now + 60 * S)
        assert world.engine.drift is not None
        assert world.engine.drift.reach <= 1 or world.engine.declined is not None
        struck("H7")
    assert seen > 5


# H8: forged requests


@pytest.mark.fault("H8")
async def test_what_a_page_of_a_browser_can_send_changes_nothing(struck: Struck) -> None:
    """Forms and scripts of other sites, and names that were made to stand for this address."""
    desk = here()
    forgeries = [
        {"Content-Type": kind, "Origin": "https://evil.example"}
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "")
    ]
    names = (
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "[::]",
        "169.254.1.1",
    )
    forgeries += [JSON | {"Host": name, "Origin": f"http://{name}"} for name in names]
    async with listening(desk) as (session, url):
        for headers in forgeries:
            found = await asked(session, "POST", url, data=document(0.5), headers=headers)
            assert found.status in (403, 415), headers
            struck("H8")
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        async with session.options(url, headers=preflight) as answer:  # asked before a page may send JSON
            assert answer.status >= 400
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]
            struck("H8")
    assert desk.taken == []


@pytest.mark.fault("H8")
async def test_without_the_token_nothing_is_told_or_taken(struck: Struck) -> None:
    desk = here()
    async with listening(desk, token="right-token") as (session, url):
        for sent in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right-token"}, {"Cookie": "x=y"}):
            for method, data in (("GET", None), ("POST", document(0.5))):
                found = await asked(session, method, url, data=data, headers={**JSON, **sent})
                assert found.status == 401
                assert "weights" not in str(found.content)
                struck("H8")
    assert desk.taken == []
