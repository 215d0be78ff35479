"""What can go wrong between a client and an exchange, in words that fit every venue: the fault file.

    seed = 7

    [[requests]]
    do = "lose reply"
    on = "order"
    chance = 0.1

    [[frames]]
    do = "mute"
    on = "mark"
    symbol = "BTCUSDT"
    from_s = 10
    until_s = 30

    [[events]]
    do = "adl"
    at_s = 20
    symbol = "ETHUSDT"

`gateway.Gateway` makes it happen. `REQUESTS`, `FRAMES` and `EVENTS` are all kinds there are.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
from msgspec import Struct


class Kind(Struct, frozen=True):
    """A kind of fault: what it does, what it needs and may be given besides what all have, and when in a
    request's life it strikes."""

    does: str
    needs: tuple[str, ...] = ()
    takes: Mapping[str, Any] = {}
    """By name, with what they are if not given."""
    phase: str = ""


REQUESTS: Final[dict[str, Kind]] = {
    "lose": Kind("never arrives; the connection dies", phase="send"),
    "unknown": Kind(
        'not carried out, and answered with the venue\'s "status unknown"', takes={"code": None}, phase="gate"
    ),
    "overload": Kind("refused: the venue is overloaded", takes={"code": None}, phase="gate"),
    "limit": Kind("refused with 429, and so is all else from that address for `ms`", takes={"ms": 1_000}, phase="gate"),
    "ban": Kind("the address is banned for `ms`: 418", takes={"ms": 120_000}, phase="gate"),
    "refuse": Kind("refused with the venue's `code`", needs=("code",), phase="gate"),
    "bad gateway": Kind("not carried out; a proxy's page says 502", phase="gate"),
    "unavailable": Kind("not carried out; 503 as in maintenance", phase="gate"),
    "redirect": Kind("not carried out; 302 to another address", phase="gate"),
    "html": Kind("not carried out; a page of HTML with status 200", phase="gate"),
    "hold": Kind(
        "waits in the gateway for up to `ms`, then is carried out or found too old", takes={"ms": 12_000}, phase="hold"
    ),
    "timeout": Kind(
        'carried out or not, by the dice; answered with the venue\'s "timed out"', takes={"code": None}, phase="engine"
    ),
    "unknown done": Kind(
        'carried out, and answered with the venue\'s "status unknown"', takes={"code": None}, phase="engine"
    ),
    "stale": Kind("a read is answered as it was before, up to `ms` ago", takes={"ms": 5_000}, phase="engine"),
    "empty": Kind("a list comes back empty", phase="back"),
    "truncate": Kind("the last items of a list or batch are missing: all but `keep`", takes={"keep": 1}, phase="back"),
    "error inside 200": Kind(
        "carried out, and answered with an error `code` under status 200", takes={"code": None}, phase="back"
    ),
    "garble": Kind("carried out; some bytes of the reply are others; it is no JSON any more", phase="back"),
    "new field": Kind("carried out; all that the reply lists has a field more", phase="back"),
    "lost field": Kind("carried out; all that the reply lists lacks a field", phase="back"),
    "refuse done": Kind("carried out, and answered with an error `code`", needs=("code",), phase="back"),
    "lose reply": Kind("carried out; the connection dies before the reply", phase="back"),
    "cut": Kind("carried out; the connection dies after `byte` bytes of the reply", takes={"byte": 0}, phase="back"),
    "drip": Kind("carried out; the reply comes byte by byte, `ms` apart", takes={"ms": 100}, phase="back"),
    "bomb": Kind("carried out; the reply is a gzip bomb of 64 MiB", phase="back"),
}
"""What can happen to a request, by kind."""

REQUESTS_ABOUT: Final = (
    "order", "cancel", "batch", "query", "orders", "positions", "account", "rules", "time", "key", "prices", "history",
    "settings", "switch", "rights", "other",
)  # fmt: skip
"""What a request is about: placing, cancelling, several orders at once, one order, open orders, … as in the README."""

FORGERIES: Final[dict[str, Kind]] = {
    "garble": Kind("some of its bytes are others; it is no JSON any more"),
    "truncate": Kind("only its first half comes"),
    "bad text": Kind("its text is not UTF-8"),
    "nest": Kind("a hundred thousand brackets instead"),
    "huge": Kind("2 MiB of padding inside"),
    "unknown": Kind("an event of a kind nobody knows, instead"),
    "new field": Kind("it has a field more"),
    "new value": Kind("its status or kind is a word nobody knows"),
    "lost field": Kind("it has a field less"),
    "spike": Kind("its prices are multiplied by `by`", takes={"by": 1.5}),
    "zero": Kind("its prices are nought"),
    "negative": Kind("its prices are negative"),
    "nan": Kind('its prices are "NaN"'),
    "overflow": Kind("its prices are 1e400"),
    "crossed": Kind("its bid is above its ask, or its mark far above its index"),
    "swap": Kind("it is about `other`, a symbol", needs=("other",)),
    "backwards": Kind("its times are `ms` earlier", takes={"ms": 300_000}),
}
"""Frames with something wrong inside: the venue's side writes them."""

FRAMES: Final[dict[str, Kind]] = {
    "mute": Kind("the topic is silent on that socket for `ms`; pings are answered", takes={"ms": 10_000}),
    "drop": Kind("lost"),
    "delay": Kind("comes `ms` later, with all of its topic behind it", takes={"ms": 1_000}),
    "repeat": Kind("comes twice"),
    "reorder": Kind("later ones overtake it, by up to `ms`", takes={"ms": 2_000}),
    "replay": Kind("followed by an old frame of its topic"),
    "burst": Kind("comes `copies` times", takes={"copies": 100}),
    "disconnect": Kind("the socket is closed instead, with `code`", takes={"code": 1001}),
    "reset": Kind("the connection is reset instead"),
    "cut": Kind("the connection ends in the middle of it"),
    "half open": Kind("from then on nothing comes or goes on that socket, and nothing ends it"),
    "ignore": Kind("what the client says is not heard"),
    "refuse": Kind("what the client says is not heard, and answered with an error"),
    "expire key": Kind("the key of its private socket ends; the venue says so"),
    "expire key untold": Kind("the key of its private socket ends in silence"),
    **FORGERIES,
}
"""What can happen to a frame, by kind."""

UNHEARD: Final = ("ignore", "refuse")
"""The kinds that strike what a client says, and not what it hears."""

TOPICS: Final = ("mark", "quote", "contract", "order", "account", "key", "reply")
"""What a frame is about: prices, the best bid and ask or the depth, listings, orders and fills, positions and
balances, the end of a key, the answer to a subscription."""

EVENTS: Final[dict[str, Kind]] = {
    "trade": Kind("a person trades at market: `quantity`, signed", ("symbol", "quantity"), {"client_id": ""}),
    "order": Kind("an order that is not ours rests", ("symbol", "quantity", "price"), {"client_id": ""}),
    "cancel all": Kind("a person cancels all open orders, or those of `symbol`", takes={"symbol": ""}),
    "transfer": Kind("`amount` comes in, or goes if negative", ("amount",)),
    "funding": Kind("the positions in `symbol` are settled at `rate`, now", ("symbol", "rate")),
    "jump": Kind("the mark is multiplied by `factor`", ("symbol", "factor")),
    "adl": Kind("auto-deleveraging takes `quantity` of a position, or all", ("symbol",), {"quantity": None}),
    "liquidate": Kind("the liquidation engine takes a position", ("symbol",)),
    "settle": Kind("the symbol is delisted and its position settled", ("symbol",)),
    "leverage": Kind("a person sets the `leverage` of a symbol", ("symbol", "leverage")),
    "margin mode": Kind("a person makes a symbol `mode`: isolated or cross", ("symbol", "mode")),
    "position mode": Kind("a person makes the account `mode`: hedge or one-way", ("mode",)),
    "haircut": Kind("of the collateral `asset` only `rate` of its worth counts", ("asset", "rate")),
    "freeze account": Kind(
        "orders are refused: `mode` is all, reduce only or inactive", takes={"mode": "all", "for_s": None}
    ),
    "thaw account": Kind("orders are taken again"),
    "halt": Kind("a symbol does not trade", ("symbol",), {"for_s": None}),
    "delist": Kind("a symbol is settling, and takes no orders any more", ("symbol",)),
    "resume": Kind("a symbol trades again", ("symbol",)),
    "filters": Kind(
        "the grids or the least value of a symbol change",
        ("symbol",),
        {"tick": None, "step": None, "min_notional": None, "for_s": None},
    ),
    "brackets": Kind(
        "the position limits of all leverages are multiplied by `factor`", ("symbol", "factor"), {"for_s": None}
    ),
    "redenominate": Kind("one contract becomes `factor` contracts of a `factor`th", ("symbol", "factor")),
    "price band": Kind("orders are taken within `rate` of the mark", ("symbol", "rate"), {"for_s": None}),
    "empty book": Kind("nobody bids or asks", ("symbol",), {"for_s": None}),
    "wide spread": Kind("the best bid and ask are `rate` apart", ("symbol", "rate"), {"for_s": None}),
    "index gap": Kind("the index moves away from the mark by `rate`", ("symbol", "rate"), {"for_s": None}),
    "clock": Kind("the venue's clock is stepped by `ms`", ("ms",)),
    "maintenance": Kind(
        "`mode` all: no request and no socket; orders: no order but cancels", takes={"mode": "all", "for_s": 60.0}
    ),
    "limits": Kind(
        "the request and order limits change",
        (),
        {"weight": None, "orders_10s": None, "orders_1m": None, "for_s": None},
    ),
    "use weight": Kind("somebody else uses `weight` of the address's budget", ("weight",)),
    "key rights": Kind(
        "the key may `trade`, `withdraw`, is bound to an `ip`, or not; it ends in `expires_s`",
        (),
        {"trade": None, "withdraw": None, "ip": None, "expires_s": None},
    ),
    "revoke key": Kind("the key is not known any more"),
    "other account": Kind("the key leads to another account: its id changes"),
    "dead-man": Kind("the dead man's switch fires, for `symbol` or all that are armed", takes={"symbol": ""}),
}
"""What can happen at the exchange, by kind."""

_MODES: Final = {
    "margin mode": ("isolated", "cross"),
    "position mode": ("hedge", "one-way"),
    "freeze account": ("all", "reduce only", "inactive"),
    "maintenance": ("all", "orders"),
}


def _choose(wrong: str, words: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(wrong, words, 1)
    return f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(words)}"


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """What all faults have: a kind, and the values that go with it."""

    KINDS: ClassVar[Mapping[str, Kind]] = {}
    OWN: ClassVar[frozenset[str]] = frozenset()
    """The names that mean something to some kinds alone."""
    LEAST: ClassVar[Mapping[str, float]] = {}

    do: str

    def value(self, name: str) -> Any:
        """What it was given for a name, or what the kind has."""
        given = getattr(self, name)
        return self.KINDS[self.do].takes.get(name) if given is None else given

    def check(self) -> None:
        """Raise a `ValueError` unless the kind exists, and is given what it needs, what it takes and no more."""
        kind = self.KINDS.get(self.do)
        if kind is None:
            raise ValueError(f"do = {self.do!r} is no kind of fault; {_choose(self.do, self.KINDS)}")
        for name in self.__struct_fields__:
            given = getattr(self, name)
            if name in kind.needs and given is None:
                raise ValueError(f"{name} is missing; {self.do!r} needs it")
            if isinstance(given, float | Decimal) and not math.isfinite(given):
                raise ValueError(f"{name} = {given} is not finite; write a number that is")
            if given is not None and given < self.LEAST.get(name, given):
                raise ValueError(f"{name} = {given} is too small; choose {self.LEAST[name]} or more")
            if given is not None and name in self.OWN and name not in kind.needs and name not in kind.takes:
                takes = [*kind.needs, *kind.takes]
                say = f"it takes {' and '.join(takes)}" if takes else "leave it out"
                raise ValueError(f"{name} = {given!r} means nothing to {self.do!r}; {say}")


class Strike(Fault, frozen=True):
    """Something that happens to requests or frames: what, to which, how often and when.

    With a `text` it strikes only those that hold it. The first `after` that it could strike are spared, and `times` is
    how often it does at most. Seconds are counted from the beginning.
    """

    OWN = frozenset(("ms", "code", "byte", "keep", "by", "copies", "other"))
    LEAST: ClassVar[Mapping[str, float]] = {
        "from_s": 0, "times": 1, "after": 0, "ms": 0, "byte": 0, "keep": 0, "copies": 2,
    }  # fmt: skip

    on: str = "*"
    chance: float = 1.0
    from_s: float = 0.0
    until_s: float | None = None
    times: int | None = None
    after: int = 0
    text: str | None = None
    ms: float | None = None
    code: int | None = None

    def check(self) -> None:
        """Raise a `ValueError` unless it can strike."""
        super().check()
        if not 0 <= self.chance <= 1:
            raise ValueError(f"chance = {self.chance} is no probability; choose one from 0 to 1")
        if self.until_s is not None and self.until_s <= self.from_s:
            raise ValueError(f"until_s = {self.until_s} is not after from_s; choose more than {self.from_s}")


class RequestFault(Strike, frozen=True):
    """Something that happens to requests.

    `on` is a word of `REQUESTS_ABOUT`, or "changes" (all that are more than questions), "reads", "*" (all), "connect"
    (the opening of a websocket, which "*" leaves out), or a method and path. Its `text` is in query or body.
    """

    KINDS = REQUESTS

    byte: int | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        self.check()
        words = (*REQUESTS_ABOUT, "changes", "reads", "connect", "*")
        if self.on not in words and not re.fullmatch(r"[A-Z]+ /\S*", self.on):
            raise ValueError(f"on = {self.on!r} is no request; {_choose(self.on, words)}, or say METHOD /path")
        if self.do == "stale" and self.on in ("order", "cancel", "batch", "switch", "changes"):
            raise ValueError(f"on = {self.on!r} is never 'stale'; choose reads")
        if self.on == "connect" and REQUESTS[self.do].phase in ("hold", "engine"):
            raise ValueError(f"on = 'connect' means nothing to {self.do!r}; a socket is let in or not")


class FrameFault(Strike, frozen=True):
    """Something that happens to frames.

    `on` is a word of `TOPICS`, or "private", "public" (all on such sockets), or "*"; `symbol` restricts it to one.
    """

    KINDS = FRAMES

    symbol: str | None = None
    by: float | None = None
    copies: int | None = None
    other: str | None = None

    def __post_init__(self) -> None:
        self.check()
        words = (*TOPICS, "private", "public", "*")
        if self.on not in words:
            raise ValueError(f"on = {self.on!r} is no topic; {_choose(self.on, words)}")
        if self.do in UNHEARD and (self.on != "*" or self.symbol is not None):
            raise ValueError(f"on = {self.on!r}, symbol = {self.symbol!r} mean nothing to {self.do!r}; leave them out")


class Incident(Fault, frozen=True):
    """Something that happens at the exchange: what, when, to which account and symbol.

    Seconds are counted from the beginning; with `every_s` it happens again, `times` in all if given. `account` is an
    API key, the exchange's first account if not given. What has `for_s` is undone after that long.
    """

    KINDS = EVENTS
    LEAST: ClassVar[Mapping[str, float]] = {
        "at_s": 0, "times": 1, "for_s": 0, "expires_s": 0, "weight": 0, "orders_10s": 0, "orders_1m": 0, "leverage": 1,
        "min_notional": 0,
    }  # fmt: skip

    at_s: float = 0.0
    every_s: float | None = None
    times: int | None = None
    account: str | None = None
    symbol: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    rate: Decimal | None = None
    factor: Decimal | None = None
    leverage: int | None = None
    mode: str | None = None
    asset: str | None = None
    client_id: str | None = None
    tick: Decimal | None = None
    step: Decimal | None = None
    min_notional: Decimal | None = None
    weight: int | None = None
    orders_10s: int | None = None
    orders_1m: int | None = None
    trade: bool | None = None
    withdraw: bool | None = None
    ip: bool | None = None
    expires_s: float | None = None
    ms: int | None = None
    for_s: float | None = None

    def __post_init__(self) -> None:
        self.check()
        if self.every_s is None and self.times is not None:
            raise ValueError(f"times = {self.times} needs every_s; say how many seconds apart")
        for name in ("every_s", "factor", "tick", "step"):
            given = getattr(self, name)
            if given is not None and given <= 0:
                raise ValueError(f"{name} = {given} is too small; choose more than 0")
        modes = _MODES.get(self.do, ())
        if self.mode is not None and self.mode not in modes:
            raise ValueError(f"mode = {self.mode!r} is none that {self.do!r} knows; {_choose(self.mode, modes)}")


Incident.OWN = frozenset(Incident.__struct_fields__) - {"do", "at_s", "every_s", "times", "account"}


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault plan: what strikes requests and frames, what happens at the exchange, and the seed of the dice.

    `delay_ms` is the mean latency one way, `clock_skew_ms` how far ahead the exchange's clock is.
    """

    seed: int = 0
    delay_ms: float = 0.0
    clock_skew_ms: int = 0
    requests: tuple[RequestFault, ...] = ()
    frames: tuple[FrameFault, ...] = ()
    events: tuple[Incident, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.delay_ms < math.inf:
            raise ValueError(f"delay_ms = {self.delay_ms} is no latency; choose 0 or more")


def load_faults(path: str | Path) -> Faults:
    """The fault plan of a TOML or JSON file; a `ValueError` names the file, the key, its value and the cure."""
    file = Path(path)
    try:
        text = file.read_text()
        raw = msgspec.json.decode(text) if file.suffix == ".json" else tomllib.loads(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {error}; mend the spelling there") from None
    try:
        return msgspec.convert(raw, Faults)
    except msgspec.ValidationError as error:
        raise ValueError(f"{file}: {_explained(str(error), raw)}") from None


_CURES: Final = {
    "float": "write a number",
    "int": "write a whole number",
    "str": "write text in quotes",
    "bool": "write true or false",
    "decimal": "write a number",
    "array": "write it as a table in double brackets, [[requests]]",
    "object": "write it as a table in double brackets, [[requests]]",
}


def _explained(message: str, raw: Any) -> str:
    """A message of the decoder as key, value and cure."""
    found = re.fullmatch(r"(.*?)(?: - at `\$\.?(.*)`)?", message, re.DOTALL)
    assert found is not None
    wrong, place = found[1], found[2] or ""
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", wrong):
        fields = _fields_at(place)
        key = f"{place}.{unknown[1]}" if place else unknown[1]
        return f"{key}: there is no such key; {_choose(unknown[1], fields)}"
    if missing := re.fullmatch(r"Object missing required field `(.*)`", wrong):
        return f"{place}.{missing[1]} is missing; say what to do"
    if expected := re.match(r"Expected `([a-z]+)", wrong):
        return f"{place} = {_value_at(raw, place)!r}: {wrong}; {_CURES.get(expected[1], 'write that')}"
    return f"{place}: {wrong}" if place else wrong


def _fields_at(place: str) -> Sequence[str]:
    kinds: dict[str, type[Struct]] = {"requests": RequestFault, "frames": FrameFault, "events": Incident}
    return kinds.get(place.partition("[")[0], Faults).__struct_fields__


def _value_at(raw: Any, place: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", place):
        raw = raw[int(part)] if isinstance(raw, list) else raw[part]
    return raw
