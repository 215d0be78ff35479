"""Lists that Bybit v5 gives in pages, and for one kind of contract at a time: only the whole is an answer."""

from __future__ import annotations

from typing import Final

from msgspec import Raw, Struct

from adapters import bybit_frames as wire
from agent.core.venue import Ask, What

CORNERS: Final = (("linear", "USDT"), ("linear", "USDC"), ("inverse", ""))
"""Kinds of contract, and coins they settle in, that draw on the same margin: lists are asked for one at a time."""
PAGES_MAX: Final = 40


class Whole(Struct, frozen=True):
    """A list with all its pages: each row with the category it was asked for in."""

    rows: list[tuple[str, Raw]]
    asked_at: int
    """When the first of them was asked for, by the venue's clock."""


class _Gathering(Struct):
    """A list on its way: which call began it, the rows so far, and how many pages."""

    first: int
    asked_at: int
    rows: list[tuple[str, Raw]]
    pages: int = 0


class Pages:
    """The lists that are on their way, one of each kind. ``category`` is that of the instruments."""

    def __init__(self, category: str) -> None:
        self._category = category
        self._gathered: dict[What, _Gathering] = {}

    def params(self, ask: Ask) -> list[tuple[str, str]]:
        """What asks for a part of a list: its category, and where it goes on."""
        _, corner, cursor = _place_of(ask)
        category, coin = (self._category, "") if ask.what is What.INSTRUMENTS else CORNERS[corner]
        return [
            ("category", category),
            *([("settleCoin", coin)] if coin else []),
            *([("cursor", cursor)] if cursor else []),
        ]

    def take(self, ask: Ask, tag: int, asked_at: int, page: wire.Page) -> Ask | Whole | None:
        """A part has come, to the call of this ``tag``: what is to be asked next, or the whole.

        None where the list was begun anew meanwhile. Raises ValueError for a list without end.
        """
        first, corner, cursor = _place_of(ask)
        if ask.since is None:
            first = tag
            known = self._gathered.get(ask.what)
            if known is None or first > known.first:
                self._gathered[ask.what] = _Gathering(first, asked_at, [])
        gathered = self._gathered.get(ask.what)
        if gathered is None or gathered.first != first:
            return None
        category = self._category if ask.what is What.INSTRUMENTS else CORNERS[corner][0]
        gathered.rows += [(category, row) for row in page.rows]
        gathered.pages += 1
        further = page.next_page_cursor or ""
        if gathered.pages > PAGES_MAX or (further and further == cursor):
            raise ValueError("a list without end")
        if not further or not page.rows:
            further, corner = "", corner + 1
        if further or (ask.what is not What.INSTRUMENTS and corner < len(CORNERS)):
            return Ask(ask.what, since=f"{first}/{corner}/{further}")
        del self._gathered[ask.what]
        return Whole(gathered.rows, gathered.asked_at)


def _place_of(ask: Ask) -> tuple[int, int, str]:
    """Where in a list a question goes on: the call that began it, the corner, and the venue's cursor."""
    if ask.since is None:
        return 0, 0, ""
    first, corner, cursor = ask.since.split("/", 2)
    return int(first), int(corner), cursor
