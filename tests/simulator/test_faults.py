"""The fault file: what it may say, what is wrong with it in words, and that the README knows every kind."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.simulator import Faults, FrameFault, Gateway, Incident, RequestFault, load_faults
from adapters.simulator.faults import EVENTS, FRAMES, REQUESTS, Kind
from adapters.simulator.incidents import ACTS
from tests.simulator.kit import World

README = Path(__file__).parents[2] / "adapters" / "simulator" / "README.md"

TOML = """
seed = 7
delay_ms = 20

[[requests]]
do = "lose reply"
on = "order"
chance = 0.1

[[frames]]
do = "mute"
on = "mark"
symbol = "BTCUSDT"
from_s = 10
until_s = 30.5

[[events]]
do = "adl"
at_s = 20
symbol = "ETHUSDT"
quantity = 0.25
"""
PLAN = Faults(
    seed=7,
    delay_ms=20,
    requests=(RequestFault("lose reply", on="order", chance=0.1),),
    frames=(FrameFault("mute", on="mark", symbol="BTCUSDT", from_s=10, until_s=30.5),),
    events=(Incident("adl", at_s=20, symbol="ETHUSDT", quantity=Decimal("0.25")),),
)


def test_a_fault_file(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(TOML)
    assert load_faults(file) == PLAN


def test_a_fault_file_may_be_json(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    told = {"seed": 4, "requests": [{"do": "lose", "times": 1}]}
    file.write_text(json.dumps(told))
    assert load_faults(file) == Faults(seed=4, requests=(RequestFault("lose", times=1),))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("sead = 4", "sead: there is no such key; did you mean 'seed'?"),
        ("seed = 'four'", "seed = 'four': Expected `int`, got `str`; write a whole number"),
        ("delay_ms = -1", "delay_ms = -1.0 is no latency; choose 0 or more"),
        ("delay_ms = inf", "delay_ms = inf is no latency"),
        ("[[frames]]\ndo = 'spike'\nby = nan", "frames[0]: by = nan is not finite"),
        ("[[events]]\ndo = 'jump'\nsymbol = 'X'\nfactor = nan", "events[0]: factor = NaN is not finite"),
        ("seed =", "mend the spelling there"),
        ("requests = 3", "requests = 3: Expected `array`, got `int`; write it as a table in double brackets"),
        ("[[requests]]\non = 'order'", "requests[0].do is missing; say what to do"),
        ("[[requests]]\ndo = 'loose'", "requests[0]: do = 'loose' is no kind of fault; did you mean 'lose'?"),
        ("[[requests]]\ndo = 'lose'\nwhen = 3", "requests[0].when: there is no such key; choose one of do, on, "),
        ("[[requests]]\ndo = 'lose'\nchance = 'often'", "requests[0].chance = 'often': Expected `float`"),
        ("[[requests]]\ndo = 'lose'\nchance = 1.5", "requests[0]: chance = 1.5 is no probability; choose one from"),
        ("[[requests]]\ndo = 'lose'\nms = 5", "requests[0]: ms = 5.0 means nothing to 'lose'; leave it out"),
        ("[[requests]]\ndo = 'refuse'", "requests[0]: code is missing; 'refuse' needs it"),
        ("[[requests]]\ndo = 'hold'\nms = -5", "requests[0]: ms = -5.0 is too small; choose 0 or more"),
        ("[[requests]]\ndo = 'lose'\non = 'ordre'", "requests[0]: on = 'ordre' is no request; did you mean 'order'?"),
        ("[[requests]]\ndo = 'lose'\ntimes = 0", "requests[0]: times = 0 is too small; choose 1 or more"),
        ("[[requests]]\ndo = 'lose'\nafter = -1", "requests[0]: after = -1 is too small; choose 0 or more"),
        (
            "[[requests]]\ndo = 'lose'\nfrom_s = 5\nuntil_s = 4",
            "requests[0]: until_s = 4.0 is not after from_s; choose more",
        ),
        ("[[frames]]\ndo = 'drop'\non = 'marks'", "frames[0]: on = 'marks' is no topic; did you mean 'mark'?"),
        ("[[frames]]\ndo = 'burst'\ncopies = 1", "frames[0]: copies = 1 is too small; choose 2 or more"),
        ("[[requests]]\ndo = 'stale'\non = 'order'", "requests[0]: on = 'order' is never 'stale'; choose reads"),
        ("[[requests]]\ndo = 'hold'\non = 'connect'", "requests[0]: on = 'connect' means nothing to 'hold'"),
        ("[[frames]]\ndo = 'refuse'\non = 'mark'", "mean nothing to 'refuse'; leave them out"),
        ("[[events]]\ndo = 'filters'\nsymbol = 'X'\ntick = 0", "events[0]: tick = 0 is too small"),
        ("[[frames]]\ndo = 'swap'", "frames[0]: other is missing; 'swap' needs it"),
        ("[[events]]\ndo = 'adl'", "events[0]: symbol is missing; 'adl' needs it"),
        ("[[events]]\ndo = 'thaw account'\nsymbol = 'X'", "events[0]: symbol = 'X' means nothing to 'thaw account'"),
        ("[[events]]\ndo = 'revoke key'\nat_s = -1", "events[0]: at_s = -1.0 is too small; choose 0 or more"),
        ("[[events]]\ndo = 'revoke key'\ntimes = 2", "events[0]: times = 2 needs every_s"),
        ("[[events]]\ndo = 'position mode'\nmode = 'one way'", "events[0]: mode = 'one way' is none that"),
        ("[[events]]\ndo = 'jump'\nsymbol = 'X'\nfactor = 0", "events[0]: factor = 0 is too small; choose more than 0"),
    ],
)
def test_a_bad_fault_file_is_told_by_key_value_and_cure(tmp_path: Path, text: str, wrong: str) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=re.escape(wrong)) as told:
        load_faults(file)
    assert str(told.value).startswith(f"{file}: ")


@pytest.mark.parametrize(
    ("event", "wrong"),
    [
        (Incident("liquidate", symbol="BTCUSD"), "events[0].symbol = 'BTCUSD' is not listed; choose one of BTCUSDT"),
        (Incident("revoke key", account="nobody"), "events[0].account = 'nobody' is not here; choose one of demo-key"),
    ],
)
def test_a_plan_for_another_exchange_is_refused(event: Incident, wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wrong)):
        Gateway(World().venue, Faults(events=(event,)))


def rows(kinds: Mapping[str, Kind]) -> list[str]:
    """What the README says of kinds, a row of its table each."""
    return [
        f"| `{do}` | "
        + ", ".join(
            [
                *(f"`{name}`" for name in kind.needs),
                *(f"`{name}`" + (f" = {usual}" if usual else "?") for name, usual in kind.takes.items()),
            ]
        )
        + f" | {kind.does} |"
        for do, kind in kinds.items()
    ]


@pytest.mark.parametrize(("kinds", "title"), [(REQUESTS, "Requests"), (FRAMES, "Frames"), (EVENTS, "Events")])
def test_the_readme_has_a_row_for_each_kind_and_no_other(kinds: Mapping[str, Kind], title: str) -> None:
    section = README.read_text().partition(f"### {title}\n")[2].partition("\n#")[0]
    listed = [line for line in section.splitlines() if line.startswith("| `")]
    assert listed == rows(kinds), "write this into the README:\n" + "\n".join(rows(kinds))


def test_every_event_has_who_carries_it_out() -> None:
    assert {*ACTS, "clock", "maintenance"} == set(EVENTS)
