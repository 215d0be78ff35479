"""What is wrong with a file: collected, with the place of each, and what may be a secret left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NoReturn

from msgspec import Struct

from agent.config.lines import Place
from agent.config.render import key_of, shown
from agent.secrets import is_reference

HIDDEN: Final = frozenset(
    {
        "account",
        "account.key",
        "account.secret",
        "account.passphrase",
        "account.rest_url",
        "account.stream_url",
        "account.rights_url",
        "account.entry_url",
        "feed",
        "feed.token",
    }
)
"""Keys whose values are shown only if they are references."""


class Problem(Struct, frozen=True):
    """One thing that is wrong with a portfolio file, at ``path``, which is empty where nobody knows it.

    ``value`` is None where there is none or it is not shown.
    """

    path: str
    line: int | None
    key: str
    value: str | None
    wrong: str
    cure: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        what = self.key if self.value is None else f"{self.key} = {self.value}"
        return ": ".join(part for part in (place, what, self.wrong) if part) + f"; {self.cure}"


class ConfigError(Exception):
    """A portfolio file that can't be used, with all that is wrong with it in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(map(str, self.problems)))


class Problems:
    """The problems of the file at ``path``. ``lines`` says where each key stands; None where nobody knows."""

    def __init__(self, path: str, lines: Mapping[Place, int] | None) -> None:
        self.path = path
        self._lines = lines
        self.found: list[Problem] = []

    def add(self, place: Place, wrong: str, cure: str, value: object = None) -> None:
        """Put a problem on the list."""
        key = dotted(place)
        concerns = ".".join(["account", *map(str, place[2:])]) if place[0] == "accounts" else key
        hidden = value is None or (concerns in HIDDEN and not (isinstance(value, str) and is_reference(value)))
        self.found.append(Problem(self.path, self._line(place), key, None if hidden else shown(value), wrong, cure))

    def at(self, *place: str | int) -> bool:
        """Whether there is a problem with a key, or with one inside it."""
        key = dotted(place)
        return any(problem.key == key or problem.key.startswith((f"{key}.", f"{key}[")) for problem in self.found)

    def where(self, place: Place) -> str:
        """``(line 7)`` after a space, to be put behind a name; empty where lines are not known."""
        line = self._line(place)
        return "" if line is None else f" (line {line})"

    def raise_all(self) -> NoReturn:
        """Raise what was found."""
        raise ConfigError(self.found)

    def _line(self, place: Place) -> int | None:
        """Where a key stands, or else the innermost table around it that stands somewhere."""
        if self._lines is None:
            return None
        return next((self._lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self._lines), 1)


def dotted(place: Place) -> str:
    """A place as it is written in TOML, with list positions in brackets."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{key_of(part)}" for part in place)
    return "".join(parts).removeprefix(".")
