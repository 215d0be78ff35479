"""Breaking bytes on purpose: single bits, lengths, and the words of a text where it has words.

A specimen is cut into its tokens once, so that a mutant costs a few list operations and one join.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z_%]+|[\s]+|.', re.DOTALL)
NUMERIC: Final = re.compile(rb"-?[0-9.]+")
WORD: Final = re.compile(rb'["0-9A-Za-z_%+.-]')
LARGEST: Final = 1 << 17
"""Bytes of a mutant: what is larger is the transport's business, which has bounds of its own."""


def _quoted(words: str) -> list[bytes]:
    return [b'"' + word.encode() + b'"' for word in words.split()]


NUMBERS: Final = (
    *b"0 -0 -1 1 0.1 NaN Infinity -Infinity 1e400 -1e400 1e-400 1E+308 9223372036854775807 9223372036854775808".split(),
    *b"-9223372036854775809 18446744073709551616 1e999999999 0x10 1_000 00 01 .5 5. +1 1e true".split(),
    *(b"9" * 400, b"0." + b"0" * 300 + b"1"),
)
WORDS: Final = (
    *_quoted("NaN nan inf -Infinity 1e400 -0 -1 0 1e-400 1e15 1_000 0x1f 9999999999999999999999999999 1e-15 1,5 ١٢٣"),
    *_quoted(
        "0.0000000000000001 BTCUSDT DOGEUSDT btcusdt BUY SELL BOTH LONG NEW FILLED PENDING_CANCEL TRADE CALCULATED"
    ),
    *_quoted("EXPIRED ORDER_TRADE_UPDATE ACCOUNT_UPDATE TRADE_LITE SOMETHING_NEW listenKeyExpired \\ud800 \\u0000 💩"),
    *(b'"\xff\xfe"', b'"\xc3("', b'"\xed\xa0\x80"', b'"\x00"', b'"\\', b'"\n"', b'""', b'" 1 "', b'"'),
    *(b'"' + b"9" * 500 + b'"', b'"' + b"A" * 5000 + b'"'),
)
PLAUSIBLE: Final = (
    *b"0 0.0 1 2 -1 0.001 0.002 -0.001 0.0001 0.0015 0.1 10 100 125 1000 99999 100000 100000.1 1000000000 1e3".split(),
    *b"1E-3 1e15 999999999999999 0.000000001 1e-15 1e300 1790000000000 1790000000001 9000000000001".split(),
)
"""What passes for a number of some kind, and leads further in."""
SHAPES: Final = (b"null", b"true", b"false", b"{}", b"[]", b"[[]]", b'{"":0}', b"[null]", b'""', b"{", b"]", b"")
DEPTHS: Final = (3, 100, 2_000, 20_000)


class Broken(Exception):
    """What must be true of every input is not true of this one."""


class Specimen(Struct, frozen=True):
    """Something that is understood, in its tokens; ``words`` says where those stand that mean something."""

    tokens: tuple[bytes, ...]
    words: tuple[int, ...]

    @property
    def whole(self) -> bytes:
        """As it was."""
        return b"".join(self.tokens)


def specimen(text: bytes, token: re.Pattern[bytes] = TOKEN) -> Specimen:
    """Cut a text into tokens."""
    tokens = tuple(token.findall(text)) or (b"",)
    return Specimen(tokens, tuple(i for i, one in enumerate(tokens) if WORD.match(one)) or (0,))


Change = Callable[[random.Random, list[bytes], Specimen, Specimen], None]


def _word(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """Another word in place of one."""
    tokens[_at(dice, tokens, whole)] = dice.choice(dice.choice((NUMBERS, WORDS, SHAPES)))


def _alike(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """Another word of the same kind in place of one."""
    at = _at(dice, tokens, whole)
    if NUMERIC.fullmatch(tokens[at]):
        tokens[at] = dice.choice(PLAUSIBLE)
    elif NUMERIC.fullmatch(tokens[at][1:-1]):
        tokens[at] = b'"' + dice.choice(PLAUSIBLE) + b'"'
    else:
        tokens[at] = dice.choice((whole.tokens[dice.choice(whole.words)], dice.choice(WORDS)))


def _borrowed(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """A word of another text in place of one."""
    tokens[_at(dice, tokens, whole)] = other.tokens[dice.choice(other.words)]


def _swapped(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    a, b = _at(dice, tokens, whole), _at(dice, tokens, whole)
    tokens[a], tokens[b] = tokens[b], tokens[a]


def _digit(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """One character of a word becomes another of the same kind."""
    at = _at(dice, tokens, whole)
    if word := bytearray(tokens[at]):
        word[dice.randrange(len(word))] = dice.choice(b'0123456789-.eE"AZaz_')
        tokens[at] = bytes(word)


def _missing(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """A field, or a few, are not there."""
    at = _at(dice, tokens, whole)
    del tokens[at : at + dice.choice((1, 2, 4, 4, 4, 8, 40))]


def _again(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """A field, or a few, stand twice, or many times."""
    at = _at(dice, tokens, whole)
    span = tokens[at : at + dice.choice((1, 4, 4, 8, 40))]
    tokens[at:at] = span * dice.choice((1, 1, 1, 2, 50))


def _spliced(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """It goes on as another text does."""
    tokens[_at(dice, tokens, whole) :] = other.tokens[dice.randrange(len(other.tokens)) :]


def _nested(dice: random.Random, tokens: list[bytes], whole: Specimen, other: Specimen) -> None:
    """A value, deep inside of nothing."""
    depth, at = dice.choice(DEPTHS), _at(dice, tokens, whole)
    before, after = dice.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b""), (b'{"data":', b"")))
    tokens[at] = before * depth + tokens[at] + after * depth


CHANGES: Final[Sequence[Change]] = (
    *(_word, _word, _word, _word, _borrowed, _borrowed, _swapped, _digit, _digit, _digit),
    *(_missing, _missing, _again, _again, _spliced, _nested),
)


def _at(dice: random.Random, tokens: list[bytes], whole: Specimen) -> int:
    """Where a word stood before anything was changed; the end, where there is nothing so far back any more."""
    if not tokens:
        tokens.append(b"")
    return min(dice.choice(whole.words), len(tokens) - 1)


def _bits(dice: random.Random, data: bytes) -> bytes:
    broken = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 8))):
        broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
    return bytes(broken)


def _cut(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] if dice.random() < 0.7 else data[at:]


def _stuffed(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.randbytes(dice.choice((1, 2, 16, 1_000))) + data[at:]


def mutant(dice: random.Random, whole: Specimen, other: Specimen) -> bytes:
    """A broken copy of ``whole``; parts of ``other`` may get into it."""
    data = whole.whole
    chance = dice.random()
    if chance < 0.35:
        tokens = list(whole.tokens)
        for _ in range(dice.choice((1, 1, 2, 3))):
            _alike(dice, tokens, whole, other)
        return b"".join(tokens)[:LARGEST]
    if chance < 0.85:
        tokens = list(whole.tokens)
        for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
            dice.choice(CHANGES)(dice, tokens, whole, other)
        data = b"".join(tokens)
        if dice.random() < 0.9:
            return data[:LARGEST]
    return dice.choice((_bits, _bits, _cut, _stuffed))(dice, data)[:LARGEST] if data else data
