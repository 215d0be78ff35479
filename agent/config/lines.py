"""Where things stand in a TOML text: its line numbers, which the parser of the standard library does not keep."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Generator, Iterator
from typing import Final

Place = tuple[str | int, ...]
"""The way to a value: keys, and positions in lists."""

TOKEN: Final = re.compile(
    r'''(?P<skip>[ \t]+|\#[^\n]*)
      | (?P<end>\r?\n)
      | (?P<text>"""(?:\\.|[^\\])*?"""{1,3}|\'\'\'.*?\'\'\'\'{0,2}|"(?:\\.|[^"\\])*"|'[^']*')
      | (?P<mark>[\[\]{}=,.])
      | (?P<bare>[^\s\[\]{}=,.\#"']+)''',
    re.VERBOSE | re.DOTALL,
)


class Scanner:
    """Reads TOML that is known to be valid, for the sake of its line numbers alone: `document` gives them."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        line = 1
        for match in TOKEN.finditer(text):
            kind, token = str(match.lastgroup), match[0]
            if kind != "skip":
                self.tokens.append((kind, token, line))
            line += token.count("\n")
        self.tokens.append(("end", "", line))
        self.at = 0
        self.rows: dict[Place, int] = {}
        """The last position in each list of tables."""

    def document(self) -> Iterator[tuple[Place, int]]:
        """The line of each key, table and list entry, and of each part of a key that has several."""
        table: Place = ()
        while self.at < len(self.tokens):
            if self._kind == "end":
                self.at += 1
            elif self._word == "[":
                table = yield from self._header()
            else:
                yield from self._pair(table)

    def _header(self) -> Generator[tuple[Place, int], None, Place]:
        """``[a.b]``, or ``[[a.b]]``, which is one more entry of a list; a list above stands for its last entry."""
        row, line = self.tokens[self.at + 1][1] == "[", self._line
        self._pass("[")
        place: Place = ()
        for part in self._key():
            place = (*self._last(place), part)
            yield place, line
        self._pass("]")
        if row:
            self.rows[place] = self.rows.get(place, -1) + 1
            yield self._last(place), line
        return self._last(place)

    def _last(self, place: Place) -> Place:
        return (*place, self.rows[place]) if place in self.rows else place

    def _pair(self, around: Place) -> Iterator[tuple[Place, int]]:
        place, line = around, self._line
        for part in self._key():
            place = (*place, part)
            yield place, line
        self._pass("=")
        yield from self._value(place)

    def _key(self) -> list[str]:
        parts = []
        while self._kind in ("bare", "text") or self._word == ".":
            if self._word != ".":
                parts.append(tomllib.loads(f"key = {self._word}")["key"] if self._kind == "text" else self._word)
            self.at += 1
        return parts

    def _value(self, place: Place) -> Iterator[tuple[Place, int]]:
        if self._word == "[":
            yield from self._inside("]", lambda n: self._entry((*place, n)))
        elif self._word == "{":
            yield from self._inside("}", lambda _: self._pair(place))
        else:
            while self._kind in ("text", "bare") or self._word == ".":
                self.at += 1

    def _entry(self, place: Place) -> Iterator[tuple[Place, int]]:
        yield place, self._line
        yield from self._value(place)

    def _inside(self, closing: str, entry: Callable[[int], Iterator[tuple[Place, int]]]) -> Iterator[tuple[Place, int]]:
        self.at += 1
        number = 0
        while True:
            while self._kind == "end" or self._word == ",":
                self.at += 1
            if self._word == closing:
                self.at += 1
                return
            yield from entry(number)
            number += 1

    def _pass(self, mark: str) -> None:
        while self._word == mark:
            self.at += 1

    @property
    def _kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def _word(self) -> str:
        return self.tokens[self.at][1]

    @property
    def _line(self) -> int:
        return self.tokens[self.at][2]
