from __future__ import annotations

import msgspec
import pytest

from agent.core.targets import Targets, wanted

MISSION = Targets(weights={"BTC": 0.5, "ETH": 0.3, "SOL": 0.2}, leverage=3.0)


def test_fifty_thirty_twenty_at_three_times_leverage_is_one_and_a_half_and_so_on() -> None:
    assert wanted(MISSION, 2.0) == pytest.approx([1.5, 0.9, 0.6])


def test_shorts_are_negative_weights() -> None:
    assert wanted(Targets(weights={"BTC": 0.5, "ETH": -0.5}, leverage=2.0), 0.0) == [1.0, -1.0]


def test_what_is_on_hold_has_no_target() -> None:
    assert wanted(Targets(weights={"BTC": 1.0, "ETH": "hold"}, leverage=2.0), 0.0) == [2.0, None]


@pytest.mark.parametrize(("leverage_now", "gross"), [(2.0, 2.0), (3.0, 3.0), (4.0, 3.0)])
def test_a_leverage_cap_is_only_ever_come_down_to(leverage_now: float, gross: float) -> None:
    capped = msgspec.structs.replace(MISSION, leverage_mode="cap")
    assert wanted(capped, leverage_now) == pytest.approx([0.5 * gross, 0.3 * gross, 0.2 * gross])


@pytest.mark.parametrize("leverage_now", [0.0, 2.0, 4.0])
def test_with_leverage_off_the_shares_follow_whatever_leverage_there_is(leverage_now: float) -> None:
    off = msgspec.structs.replace(MISSION, leverage_mode="off")
    assert wanted(off, leverage_now) == pytest.approx([0.5 * leverage_now, 0.3 * leverage_now, 0.2 * leverage_now])


def test_an_unknown_key_in_the_targets_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"weights": {"BTC": 1.0}, "levarage": 3}', type=Targets)
