"""What the local exchange's sides say to the dialects of their venues, broken: frames on every socket, and answers."""

from __future__ import annotations

import random
import re
from typing import Final

from agent.core import events as fact
from agent.core.venue import Call, Reply
from tests.conformance.noise import safe, seeds, settled
from tests.fuzz.mutation import Broken, Specimen, mutant, specimen

BYBIT: Final = re.compile(rb'"op"\s*:|"(?:data|coin)"\s*:\s*\[\s*\]|"walletBalance"\s*:\s*""')
QUIET: Final = {
    "bingx": re.compile(rb'"ACCOUNT_CONFIG_UPDATE"'),  # the setting of an instrument that is not in the portfolio
    "bybit": BYBIT,
    "bybit-inverse": BYBIT,
    "mexc": re.compile(rb'"(?:rs\.[^"]*|pong)"'),
    "weex": re.compile(rb'"(?:event|method|result)"\s*:|"d"\s*:\s*\[\s*\]|"fill"|"UNTRIGGERED"'),
    # a trade waits for the name of its order, and ends the socket where that does not come
}
"""What private frames may go by: answers to commands and lists of nothing, where nothing else is said. Binance has
surfaces of its own."""
STATUSES: Final = (200, 200, 200, 200, 400, 401, 403, 404, 418, 429, 500, 502, 503, 504)
RENEW_AFTER: Final = 200
"""Inputs that a dialect is told at most, so that what it remembers has not all been made up."""


class Spoken:
    """One venue's dialect."""

    def __init__(self, venue: str, share: int) -> None:
        self.name, self.share, self.last = f"dialect: {venue}", share, b""
        self.venue, self.told, self.taken = venue, seeds(venue), 0
        self.frames = [(socket, specimen(frame)) for socket, frame in self.told.frames]
        self.answers = [(request, specimen(body)) for request, _, body in self.told.answers]
        self.others = [whole for _, whole in (*self.frames, *self.answers)]
        self.dialect = self.told.dialect()

    def take(self, dice: random.Random) -> tuple[bytes, bool]:
        """One frame or answer."""
        if self.taken == RENEW_AFTER:
            self.dialect, self.taken = self.told.dialect(), 0
        self.taken += 1
        facts = self._frame(dice) if dice.random() < 0.6 else self._answer(dice)
        return self.last, any(isinstance(one, fact.Unknown | fact.Unanswered | fact.Lost) for one in facts)

    def _broken(self, dice: random.Random, whole: Specimen) -> bytes:
        self.last = mutant(dice, whole, dice.choice(self.others))
        return self.last

    def _frame(self, dice: random.Random) -> list[fact.Fact]:
        socket, whole = dice.choice(self.frames)
        data = self._broken(dice, whole)
        facts, asks = self._hear(socket, data)
        if socket == "private" and not asks and silent(facts) and not QUIET[self.venue].search(data):
            self.dialect, self.taken = self.told.dialect(), 0  # what is older than the last of its kind may go by
            facts, asks = self._hear(socket, data)
            if not asks and silent(facts):
                raise Broken(f"a private frame went by in silence: {facts}")
        return facts

    def _hear(self, socket: str, data: bytes) -> tuple[list[fact.Fact], bool]:
        """The facts in a frame, and whether it led to anything else."""
        now, pack = self.told.talk.now, self.told.talk.described.pack
        facts = safe(self.dialect.on_frame(socket, pack(data), now))
        return facts, bool(self.dialect.acts())

    def _answer(self, dice: random.Random) -> list[fact.Fact]:
        request, whole = dice.choice(self.answers)
        now, data = self.told.talk.now, self._broken(dice, whole)
        call = self.dialect.perform(request, now)
        if not isinstance(call, Call):  # an order of the conversation is too old by now to be sent again
            return list(call)
        facts = safe(self.dialect.on_reply(call, Reply(dice.choice(STATUSES), {}, data), now))
        self.dialect.acts()
        settled(self.told.talk.described, request, data, facts)
        return facts


def silent(facts: list[fact.Fact]) -> bool:
    """Whether nothing is told of the account, not even that something could not be read."""
    return not any(not isinstance(one, fact.Unknown) or one.private for one in facts)
