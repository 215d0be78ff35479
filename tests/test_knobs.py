"""The table of knobs in the README names every key of the portfolio file, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import NODEFAULT, Struct, structs

from agent.config.portfolio import NAMED, ROWS, TABLES, Portfolio

README = Path(__file__).parents[1] / "README.md"
OFF = ("off", "none", "the venue's", "needed", "by file name", "same coin, opposite signs", "targets.")


def rows() -> dict[str, str]:
    """By key: the cell with its default. Keys that share a row share its cell."""
    found = {}
    for line in README.read_text().splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if len(cells) == 4 and line.startswith("| `"):
            for key in re.findall(r"`([^`]+)`", cells[0]):
                found[key.replace("….health.", "targets.strategies.NAME.health.")] = cells[2]
    return found


def keys() -> list[tuple[str, object]]:
    """Every key with a value of its own, and its default."""
    found: list[tuple[str, object]] = []

    def walk(kind: type[Struct], place: str) -> None:
        for field in structs.fields(kind):
            path = f"{place}.{field.name}".removeprefix(".")
            pattern = path.replace(".NAME", ".*")
            if pattern == "accounts":
                continue  # the keys of [account], which have their rows
            if pattern in TABLES:
                walk(TABLES[pattern], path)
            elif pattern in ROWS:
                walk(ROWS[pattern], path)
            elif (inner := NAMED.get(pattern)) is not None:
                walk(inner, f"{path}.NAME")
            else:
                found.append((f"{path}.NAME" if pattern in NAMED else path, field.default))

    walk(Portfolio, "")
    return found


@pytest.mark.parametrize(("key", "default"), keys())
def test_the_readme_names_every_knob_with_its_default(key: str, default: object) -> None:
    cell = rows()[key].replace(",", "") if isinstance(default, float) else rows()[key]
    match default:
        case bool():
            assert str(default).lower() in cell
        case str() if default:
            assert default in cell
        case int() | float():
            assert f"{default:g}" in cell or f"{100 * default:g} %" in cell
        case tuple() if default:
            assert all(f"{100 * value:g} %" in cell for value in default)
        case _:
            assert default in (None, "", (), {}, NODEFAULT) or not default
            assert any(word in cell for word in OFF), cell


def test_the_readme_says_that_several_accounts_have_the_keys_of_one() -> None:
    assert NAMED["accounts"] is TABLES["account"]
    assert "| **`[account]`**, or `[accounts.NAME]` for each of several | | | |" in README.read_text()


def test_the_readme_names_no_knob_that_is_not_there() -> None:
    assert set(rows()) <= {key for key, _ in keys()}
