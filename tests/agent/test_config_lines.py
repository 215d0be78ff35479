"""Where things stand in a TOML text."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.config.lines import Scanner
from tests.agent.config_kit import lines


def test_lines_of_every_way_to_write_a_key() -> None:
    text = (
        'a = """\n[not.a.table]\nb = 1\n"""\n'  # 1 to 4
        "'quoted # key'.\"x\\u0041\" = 1 # comment = 2\n"  # 5
        "c = [ # 6\n  1,\n  { d = 2, e.f = [\n 3 ] },\n]\r\n"  # 6 to 10
        "[t.u]\n"  # 11
        "v = '''it's''' # 12\n"
        'w = "\\"[#"\n'  # 13
        "x = 1979-05-27T07:32:00.5Z\n"  # 14
        "[[l]]\ny = 1.5\n"  # 15, 16
        '[t."z.z"]\nq = {}\n'  # 17, 18
        'r = """a""""\ns = 1'  # 19, 20
    )
    tomllib.loads(text)
    assert dict(Scanner(text).document()) == {
        ("a",): 1,
        ("quoted # key",): 5,
        ("quoted # key", "xA"): 5,
        ("c",): 6,
        ("c", 0): 7,
        ("c", 1): 8,
        ("c", 1, "d"): 8,
        ("c", 1, "e"): 8,
        ("c", 1, "e", "f"): 8,
        ("c", 1, "e", "f", 0): 9,
        ("t",): 17,
        ("t", "u"): 11,
        ("t", "u", "v"): 12,
        ("t", "u", "w"): 13,
        ("t", "u", "x"): 14,
        ("l",): 15,
        ("l", 0): 15,
        ("l", 0, "y"): 16,
        ("t", "z.z"): 17,
        ("t", "z.z", "q"): 18,
        ("t", "z.z", "r"): 19,
        ("t", "z.z", "s"): 20,
    }


def leaves(value: Any, place: tuple[Any, ...] = ()) -> set[tuple[Any, ...]]:
    """Every key and list position of decoded TOML."""
    below: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return {place[:n] for n in range(1, len(place) + 1)} | {
        found for part, inner in below for found in leaves(inner, (*place, part))
    }


@given(st.lists(lines, max_size=12).map("\n".join))
def test_every_key_of_valid_toml_has_a_line(text: str) -> None:
    try:
        raw = tomllib.loads(text)
    except ValueError:
        return
    found = dict(Scanner(text).document())
    assert found.keys() == leaves(raw)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
