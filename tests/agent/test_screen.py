"""What the terminal shows, as text."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.console import Console, RenderableType

from agent.cli import screen
from agent.core.decisions import Note
from agent.core.view import View, look
from tests.core.test_engine import stage

OFF, ON = "·", "●"


def text(shown: RenderableType, width: int = 150) -> str:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def view() -> View:
    on = stage()
    return look(on.engine, on.now)


@pytest.mark.parametrize(
    ("drift", "place"),
    [(0.0, 12), (0.07, 18), (-0.07, 6), (0.035, 15), (1.0, 24), (-1.0, 0)],
)
def test_a_bar_shows_the_drift_between_the_edges_of_its_band(drift: float, place: int) -> None:
    drawn = screen.bar(drift, 0.07).plain
    assert len(drawn) == screen.BAR
    assert drawn.index(ON) == place
    for edge in {6, 18} - {place}:
        assert drawn[edge] == "│"


def test_a_drift_that_is_not_known_has_no_place_on_the_bar() -> None:
    assert ON not in screen.bar(None, 0.07).plain


def test_the_live_view_shows_mode_weights_orders_and_reasons() -> None:
    seen = view()
    shown = text(screen.live(seen, [(seen.at, Note("trigger", "correcting: because"))], "title"))
    for part in ("LIVE", "BTCUSDT", "65.0%", "50.0%", "+15.0%", "correcting: because", "title"):
        assert part in shown
    assert "DEMO" in text(screen.live(seen, [], "title", "DEMO"))


def test_what_is_not_known_is_a_dash_and_never_a_zero() -> None:
    seen = view()
    unknown = replace(seen, equity=None, leverage=None, maintenance=None, missing=("account: timeout",))
    shown = text(screen.Header(unknown))
    assert "equity –" in shown
    assert "leverage –" in shown
    assert "no answer yet about account: timeout" in shown
    assert screen.percent(None) == screen.money(None) == "–"


def test_a_leg_on_hold_says_so_and_one_without_a_target_yet_does_not() -> None:
    seen = view()
    first, *rest = seen.legs
    held = replace(seen, legs=(replace(first, hold=True, target=None), *rest))
    assert "hold" in text(screen.legs(held))
    early = replace(seen, legs=(replace(first, target=None), *rest))
    assert "hold" not in text(screen.legs(early))


def test_amounts_are_readable() -> None:
    assert screen.money(1234567.8) == "1,234,568"
    assert screen.money(12.345) == "12.35"
    assert screen.percent(0.0716) == "7.2%"
    assert screen.percent(-0.0716, signed=True) == "-7.2%"


def test_in_a_narrow_terminal_columns_give_way_and_none_is_cut() -> None:
    seen = view()
    kept = {width: text(screen.legs(seen), width) for width in (150, 100, 76, 40)}
    for part in ("instrument", "share", "drift", "BTCUSDT", "65.0%", "+15.0%"):
        assert all(part in shown for shown in kept.values()), part
    assert [width for width, shown in kept.items() if "funding" in shown] == [150]
    assert [width for width, shown in kept.items() if "profit" in shown] == [150, 100]
    assert [width for width, shown in kept.items() if "mark" in shown] == [150, 100]
    assert [width for width, shown in kept.items() if ON in shown] == [150, 100, 76]
    assert not any("…" in shown for shown in kept.values())


@pytest.mark.parametrize("width", [80, 120, 150])
def test_all_that_is_shown_fits_the_terminal_and_nothing_is_cut_but_long_reasons(width: int) -> None:
    seen = view()
    named = replace(seen, legs=tuple(replace(leg, symbol=f"binance:{leg.symbol}") for leg in seen.legs))
    for shown in (screen.live(named, [], "title"), screen.Header(named)):
        lines = text(shown, width).splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)
        for part in ("leverage", "liquidation at a move of", "turnover"):
            assert part in " ".join(" ".join(lines).split()), part


def test_what_is_of_the_past_is_dated_and_promises_nothing() -> None:
    seen = view()
    at_work, past = text(screen.stance(seen, None)), text(screen.stance(seen, None, "No agent is at work here"))
    for shown in (at_work, past):
        assert screen.moment(seen.at) in shown
        assert "BTCUSDT: share 65.0%" in shown
    assert "looks again" in at_work
    assert "looks again" not in past
    assert "fires" not in past
    assert past.startswith("No agent is at work here")


def test_how_long_ago_something_was_is_told_in_its_largest_unit() -> None:
    told = [screen.ago(seconds) for seconds in (3.2, 119, 120, 7199, 7200, 172_800)]
    assert told == ["3 s ago", "119 s ago", "2 min ago", "120 min ago", "2 h ago", "2 days ago"]
