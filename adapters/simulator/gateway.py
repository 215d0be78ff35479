"""Carries requests and frames between clients and an exchange, and loses some on the way.

`Gateway` stands in front of a venue's wire, in virtual time or on sockets. Requests go in and get a ticket; replies,
lost connections and frames come out of `advance` when their time has come. Without faults everything passes through at
once and in order. What goes wrong is said by `faults.Faults`, the same for every venue.
"""

import gzip
import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from msgspec import Struct, structs

from adapters.simulator import incidents
from adapters.simulator.faults import REQUESTS, UNHEARD, Faults, FrameFault, Incident, RequestFault, Strike
from adapters.simulator.ledger import Early
from adapters.simulator.orders import Rejected
from adapters.simulator.wire import Close, Frame, Reply, Session, Topic, Venue, misshape, spoil

MS = 1_000_000
S = 1_000 * MS

_MOST_CACHED = 1_000
_MOST_OLD = 20
_BOMB_BYTES = 64 * 2**20

_PAGE = {"Content-Type": "text/html"}
_PAGES = {
    "bad gateway": Reply(502, _PAGE, b"<html><body><h1>502 Bad Gateway</h1></body></html>"),
    "html": Reply(200, _PAGE, b"<html><body><h1>Welcome</h1></body></html>"),
    "redirect": Reply(302, {**_PAGE, "Location": "http://127.0.0.1:9/elsewhere"}, b"<html>302 Found</html>"),
}


class Delivery(Struct, frozen=True):
    """What has come out: replies by ticket (None when the connection died), and frames in order."""

    replies: list[tuple[int, Reply | None]]
    frames: list[tuple[Session, Frame]]


class _Request(Struct, frozen=True):
    ticket: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    client: str

    @property
    def text(self) -> str:
        """What it asks for, as it stands on the wire."""
        return f"{self.query} {self.body.decode(errors='replace')}" if self.body else self.query


class _Rule:
    """A fault of the plan at work: how often it has struck or spared, and between which times it may."""

    __slots__ = ("fault", "name", "raw", "since", "spared", "struck", "until")

    def __init__(self, fault: Strike, section: str, zero: int) -> None:
        self.fault = fault
        self.name = f"{section}: {fault.do}"
        self.since = zero + int(fault.from_s * S)
        self.until = zero + int(fault.until_s * S) if fault.until_s is not None else 1 << 63
        self.raw = fault.text.encode() if fault.text is not None else b""
        self.struck = 0
        self.spared = 0

    def fits(self, now: int, holds: str | bytes) -> bool:
        """Whether it may strike what holds this, at this time."""
        fault = self.fault
        if not self.since <= now < self.until or self.struck == fault.times:
            return False
        if fault.text is not None:
            found = fault.text in holds if isinstance(holds, str) else self.raw in holds
            if not found:
                return False
        if self.spared < fault.after:
            self.spared += 1
            return False
        return True


class _Perils:
    """What may strike one sort of request, by the phase of its life; in each phase the first that strikes does."""

    def __init__(self, rules: list[_Rule]) -> None:
        by_phase: dict[str, list[_Rule]] = {"send": [], "gate": [], "hold": [], "engine": [], "back": []}
        for rule in rules:
            by_phase[REQUESTS[rule.fault.do].phase].append(rule)
        self.send, self.gate, self.hold, self.engine, self.back = map(tuple, by_phase.values())
        self.caches = any(rule.fault.do == "stale" for rule in self.engine)


_NOTHING = _Perils([])


class Gateway:
    """Carries requests and frames between clients and a venue by a fault plan.

    `counts` says how often each kind has struck: "requests: lose reply", "frames: mute", "events: adl"; an event that
    the exchange refused, as there was nothing to liquidate, say, is counted as "events: adl refused". On `sockets` a
    reply may break at a byte; without them such a reply is lost.
    """

    def __init__(self, venue: Venue, faults: Faults | None = None, *, sockets: bool = False) -> None:
        self.venue = venue
        self.counts: Counter[str] = Counter()
        self.knocks: list[int] = []
        """When each websocket was asked for, let in or not."""
        self._sockets = sockets
        self._queue: list[tuple[int, int, Callable[[int], None]]] = []
        self._number = 0
        self._tickets = 0
        self._replies: list[tuple[int, Reply | None]] = []
        self._frames: list[tuple[Session, Frame]] = []
        self._last_out: dict[int, int] = {}
        self._delayed: dict[tuple[int, str], int] = {}
        self._muted: dict[tuple[int, Topic], int] = {}
        self._frozen: set[int] = set()
        self._old: dict[tuple[int, Topic], list[bytes]] = {}
        self._cache: dict[tuple[str, ...], tuple[int, Reply]] = {}
        self._limited: dict[str, int] = {}
        self._silence: dict[str, tuple[int, int]] = {}
        self._down: dict[str, int] = {}
        self._undo: list[Callable[[], None]] = []
        self.faults = faults or Faults()
        self._random = random.Random(self.faults.seed)
        self._skew = self.faults.clock_skew_ms * MS

    @property
    def faults(self) -> Faults:
        """The fault plan. A new one counts its seconds from when it is first used, and ends what the old one began."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        incidents.check(self.venue, faults)
        self._faults = faults
        self._zero: int | None = None
        self._perils: dict[tuple[str, str], _Perils] = {}
        self._request_rules: list[_Rule] = []
        self._frame_rules: list[_Rule] = []
        self._by_topic: dict[tuple[bool, Topic], list[_Rule]] = {}
        self._passes_frames = not (faults.frames or faults.delay_ms)

    def send(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        now: int,
        *,
        client: str = "127.0.0.1",
    ) -> int:
        """Put a request on its way; gives the ticket its reply will carry."""
        if self._zero is None:
            self._begin(now)
        self._tickets += 1
        request = _Request(self._tickets, method, path, query, headers, body, client)
        if self._silence:
            self._listen(request, now)
        if self._first(self._perils_of(method, path).send, now, request.text):
            self._later(now + self._latency(), lambda at: self._reply(request, None, at))
        else:
            self._later(now + self._latency(), lambda at: self._arrive(request, at))
        return self._tickets

    def admit(self, now: int, client: str = "127.0.0.1") -> Reply | Close | None:
        """Whether a websocket may be opened: None if so, else what comes instead."""
        if self._zero is None:
            self._begin(now)
        self.knocks.append(now)
        if (down := self._refused_for_now("connect", client, now)) is not None:
            return down
        perils = self._perils_of("CONNECT", "")
        if self._first(perils.send, now, "") or self._first(perils.back, now, ""):
            return Close(how="reset")
        rule = self._first(perils.gate, now, "")
        return self._refusal(rule, client, now) if rule is not None else None

    def connect(self, target: str, now: int, headers: Mapping[str, str] = MappingProxyType({})) -> Session:
        """Open a websocket that was admitted, with the headers of its handshake."""
        return self.venue.connect(target, now + self._skew, headers)

    def receive(self, session: Session, text: str | bytes, now: int) -> None:
        """Take in a client's message; the answers come out with the frames."""
        if session.number in self._frozen:
            return
        for rule in self._frame_rules:
            if rule.fault.do in UNHEARD and self._may(rule, now, text):
                self._struck(rule)
                if rule.fault.do == "refuse":
                    self._carry(session, self.venue.refusal(text), now)
                return
        for frame in self.venue.receive(session, text, now + self._skew):
            self._carry(session, frame, now)

    def disconnect(self, session: Session) -> None:
        """Note that a client has gone."""
        self.venue.disconnect(session)
        number = session.number
        self._last_out.pop(number, None)
        self._frozen.discard(number)
        tables: tuple[dict[Any, Any], ...] = (self._muted, self._delayed, self._old)
        for table in tables:
            for key in [key for key in table if key[0] == number]:
                del table[key]

    def advance(self, now: int) -> Delivery:
        """Let everything arrive that is due by now and hand over what comes out."""
        if self._zero is None:
            self._begin(now)
        while self._queue and self._queue[0][0] <= now:
            at, _, act = heapq.heappop(self._queue)
            self._collect(at)
            act(at)
        self._collect(now)
        while self._queue and self._queue[0][0] <= now:
            at, _, act = heapq.heappop(self._queue)
            act(at)
        delivery = Delivery(self._replies, self._frames)
        self._replies, self._frames = [], []
        return delivery

    @property
    def next_at(self) -> int:
        """When something next comes out or happens."""
        due = self.venue.next_at - self._skew
        return min(due, self._queue[0][0]) if self._queue else due

    def happen(self, incident: Incident, now: int) -> None:
        """Let something happen at the exchange at once, whatever the plan says."""
        self._collect(now)
        name = f"events: {incident.do}"
        try:
            undo = self._perform(incident, now)
        except Rejected:
            self.counts[f"{name} refused"] += 1
            return
        self.counts[name] += 1
        if undo is not None and (for_s := incident.value("for_s")) is not None:
            self._undo.append(undo)
            self._later(now + int(for_s * S), lambda _: self._end(undo))

    def _begin(self, now: int) -> None:
        """A plan is used for the first time: its seconds count from here."""
        self._zero = now
        faults = self._faults
        self._request_rules = [_Rule(fault, "requests", now) for fault in faults.requests]
        self._frame_rules = [_Rule(fault, "frames", now) for fault in faults.frames]
        for undo in list(self._undo):
            self._end(undo)
        self._muted.clear()
        self._delayed.clear()
        self._limited.clear()
        for incident in faults.events:
            self._expect(incident, now + int(incident.at_s * S), 1, faults)

    def _expect(self, incident: Incident, at: int, number: int, plan: Faults) -> None:
        def come(now: int) -> None:
            if self._faults is not plan:
                return
            self.happen(incident, now)
            if incident.every_s is not None and number != incident.times:
                self._expect(incident, at + int(incident.every_s * S), number + 1, plan)

        self._later(at, come)

    def _end(self, undo: Callable[[], None]) -> None:
        if undo in self._undo:
            self._undo.remove(undo)
            undo()

    def _perform(self, incident: Incident, now: int) -> Callable[[], None] | None:
        if incident.do == "clock":
            assert incident.ms is not None
            self.venue.step_clock(incident.ms)
            self._skew += incident.ms * MS
            return None
        if incident.do == "maintenance":
            mode = incident.value("mode")
            self._down[mode] = now + int(incident.value("for_s") * S)
            if mode == "all":
                self.venue.disconnect_all()

            def undo() -> None:
                self._down.pop(mode, None)

            return undo
        return incidents.perform(self.venue, incident, now + self._skew)

    def _perils_of(self, method: str, path: str) -> _Perils:
        if not self._request_rules:
            return _NOTHING
        perils = self._perils.get((method, path))
        if perils is None:
            kind = "connect" if method == "CONNECT" else self.venue.kind(method, path)
            names = {kind}
            if kind != "connect":
                names |= {"*", f"{method} {path}", "reads" if method == "GET" else "" if kind == "key" else "changes"}
            perils = _Perils([rule for rule in self._request_rules if rule.fault.on in names])
            self._perils[method, path] = perils
        return perils

    def _may(self, rule: _Rule, now: int, holds: str | bytes) -> bool:
        """Throw the dice of a fault, if it is its time and there is what it strikes."""
        if not rule.fits(now, holds):
            return False
        return rule.fault.chance >= 1.0 or self._random.random() < rule.fault.chance

    def _struck(self, rule: _Rule) -> None:
        rule.struck += 1
        self.counts[rule.name] += 1

    def _first(self, rules: tuple[_Rule, ...], now: int, holds: str) -> _Rule | None:
        """The first fault that strikes."""
        for rule in rules:
            if self._may(rule, now, holds):
                self._struck(rule)
                return rule
        return None

    def _latency(self) -> int:
        mean = self._faults.delay_ms
        return int(self._random.expovariate(1 / mean) * MS) if mean else 0

    def _later(self, at: int, act: Callable[[int], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (at, self._number, act))

    def _arrive(self, request: _Request, now: int) -> None:
        """The gateway has the request: refuse it, hold it, or let the engine have it."""
        perils = self._perils_of(request.method, request.path)
        refusal = self._refused_for_now(self.venue.kind(request.method, request.path), request.client, now)
        if refusal is None and (rule := self._first(perils.gate, now, request.text)) is not None:
            refusal = self._refusal(rule, request.client, now)
        if refusal is not None:
            self._answer(request, refusal, now)
        elif (rule := self._first(perils.hold, now, request.text)) is not None:
            assert isinstance(rule.fault, RequestFault)
            until = now + self._random.randint(0, int(rule.fault.value("ms"))) * MS
            self._later(until, lambda at: self._execute(request, now, at))
        else:
            self._execute(request, now, now)

    def _refused_for_now(self, kind: str, client: str, now: int) -> Reply | None:
        """What all requests of a kind or an address get while a limit or a maintenance lasts."""
        if self._limited and now < (until := self._limited.get(client, 0)):
            return self._failure("limit", until, client, now)
        if self._down:
            for mode, until in self._down.items():
                if now < until and (mode == "all" or kind in ("order", "batch")):
                    return self._failure("unavailable", until, client, now)
        return None

    def _refusal(self, rule: _Rule, client: str, now: int) -> Reply | None:
        """What is answered in the exchange's place; None when it answers itself."""
        fault = rule.fault
        assert isinstance(fault, RequestFault)
        if fault.do in _PAGES:
            return _PAGES[fault.do]
        until = now + int((fault.value("ms") or 0) * MS)
        if fault.do == "ban":
            self.venue.ban(now + self._skew, int(fault.value("ms")), client)
            return None
        if fault.do == "limit":
            self._limited[client] = until
        return self._failure(fault.do, until, client, now, fault.code)

    def _failure(self, do: str, until: int, client: str, now: int, code: int | None = None) -> Reply:
        return self.venue.failure(do, code=code, until=until + self._skew, client=client, now=now + self._skew)

    def _execute(self, request: _Request, arrived: int, now: int) -> None:
        perils = self._perils_of(request.method, request.path)
        masked: Reply | None = None
        for rule in perils.engine:
            assert isinstance(rule.fault, RequestFault)
            if not self._may(rule, now, request.text):
                continue
            if rule.fault.do == "stale":
                old = self._remembered(request, now, int(rule.fault.value("ms") * MS))
                if old is None:
                    continue
                self._struck(rule)
                self._answer(request, old, now)
                return
            self._struck(rule)
            do = "timeout" if rule.fault.do == "timeout" else "unknown"
            masked = self._failure(do, now, request.client, now, rule.fault.code)
            if rule.fault.do == "timeout" and self._random.random() < 0.5:
                self._answer(request, masked, now)
                return
            break
        reply = self.venue.request(
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body,
            now + self._skew,
            client=request.client,
            arrived=arrived + self._skew,
        )
        self._collect(now)
        if perils.caches and request.method == "GET" and reply.status == 200:
            if len(self._cache) >= _MOST_CACHED:
                self._cache.clear()
            self._cache[self._question(request)] = (now, reply)
        self._answer(request, masked or reply, now)

    def _question(self, request: _Request) -> tuple[str, ...]:
        return self.venue.question(request.path, request.query, request.headers)

    def _remembered(self, request: _Request, now: int, most: int) -> Reply | None:
        """What a question was answered before, not too long ago."""
        if request.method != "GET":
            return None
        at, old = self._cache.get(self._question(request), (0, None))
        return old if now - at <= most else None

    def _answer(self, request: _Request, reply: Reply, now: int) -> None:
        shown: Reply | None = reply
        for rule in self._perils_of(request.method, request.path).back:
            if self._may(rule, now, request.text):
                found = self._spoilt(rule.fault, reply, request, now)
                if found is not reply:
                    self._struck(rule)
                    shown = found
                    break
        self._later(now + self._latency(), lambda at: self._reply(request, shown, at))

    def _spoilt(self, fault: Strike, reply: Reply, request: _Request, now: int) -> Reply | None:
        """A reply as a fault leaves it; the same if it can't be spoilt so."""
        assert isinstance(fault, RequestFault)
        match fault.do:
            case "lose reply":
                return None
            case "refuse done":
                return self._failure("refuse", now, request.client, now, fault.code)
            case "cut":
                return structs.replace(reply, cut=fault.value("byte")) if self._sockets else None
            case "drip":
                return structs.replace(reply, drip_ms=fault.value("ms")) if self._sockets else None
            case "bomb":
                return Reply(200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, _bomb())
            case _ if reply.status != 200 or reply.headers.get("Content-Type") != "application/json":
                return reply
            case "error inside 200":
                return structs.replace(self._failure(fault.do, now, request.client, now, fault.code), status=200)
            case "garble":
                body = spoil(reply.body, fault.do)
            case "new field" | "lost field":
                body = misshape(reply.body, fault.do)
            case _:
                body = self.venue.shorten(reply.body, fault.value("keep") if fault.do == "truncate" else 0)
        return reply if body is None else structs.replace(reply, body=body)

    def _reply(self, request: _Request, reply: Reply | None, now: int) -> None:
        if reply is not None and reply.status in (418, 429) and "Retry-After" in reply.headers:
            self._silence[request.client] = (now, now + int(reply.headers["Retry-After"]) * S)
        self._replies.append((request.ticket, reply))

    def _listen(self, request: _Request, now: int) -> None:
        """Write down who asks although told to be silent."""
        told, until = self._silence.get(request.client, (0, 0))
        if told < now < until:
            early = Early(f"{request.method} {request.path}", request.client, told, now, until)
            self.venue.exchange.ledger.early.append(early)

    def _collect(self, now: int) -> None:
        """Take what the venue has to send."""
        frames = self.venue.advance(now + self._skew)
        if self._passes_frames and not self._frozen:
            self._frames.extend(frames)
            return
        for session, frame in frames:
            self._carry(session, frame, now)

    def _carry(self, session: Session, frame: Frame, now: int) -> None:
        if session.number in self._frozen:
            return
        if self._passes_frames or isinstance(frame, Close):
            self._frames.append((session, frame))
            return
        if session.closed:
            return
        if not self._frame_rules:
            self._pass(session, frame, now)
            return
        topic = self.venue.topic(frame)
        rules = self._rules_of(session, topic)
        if rules:
            self._trouble(session, topic, frame, rules, now)
        else:
            self._pass(session, frame, now)

    def _pass(self, session: Session, frame: bytes, now: int) -> None:
        at = self._last_out[session.number] = max(now + self._latency(), self._last_out.get(session.number, 0))
        self._later(at, lambda _: self._frames.append((session, frame)))

    def _rules_of(self, session: Session, topic: Topic) -> list[_Rule]:
        key = (session.private, topic)
        rules = self._by_topic.get(key)
        if rules is None:
            words = ("*", topic.what, "private" if session.private else "public")
            rules = self._by_topic[key] = [
                rule
                for rule in self._frame_rules
                if isinstance(rule.fault, FrameFault)
                and rule.fault.do not in UNHEARD
                and rule.fault.on in words
                and rule.fault.symbol in (None, topic.symbol)
            ]
        return rules

    def _trouble(self, session: Session, topic: Topic, frame: bytes, rules: list[_Rule], now: int) -> None:
        """Carry a frame that faults may strike, one after the other."""
        if now < self._muted.get((session.number, topic), 0):
            return
        passage = _Passage(session, topic, [frame])
        said = self.venue.text(frame)
        for rule in rules:
            assert isinstance(rule.fault, FrameFault)
            if self._may(rule, now, said) and self._bend(passage, rule.fault, now):
                self._struck(rule)
                if passage.over:
                    return
        at = max(now + self._latency(), self._last_out.get(session.number, 0))
        if passage.overtaken:
            at += passage.overtaken
        else:
            self._last_out[session.number] = at
            behind = (session.number, topic.what)
            at = max(at + passage.delay, self._delayed.get(behind, 0))
            if passage.delay:
                self._delayed[behind] = at
        for copy in passage.copies:
            self._later(at, lambda _, copy=copy: self._frames.append((session, copy)))  # type: ignore[misc]
            at += self._latency()

    def _bend(self, passage: "_Passage", fault: FrameFault, now: int) -> bool:
        """Let a fault strike a frame on its way; whether it could."""
        session = passage.session
        match fault.do:
            case "drop":
                passage.over = True
            case "mute":
                passage.over = True
                self._muted[session.number, passage.topic] = now + int(fault.value("ms") * MS)
            case "disconnect" | "reset" | "cut" | "half open":
                passage.over = True
                self._break(session, fault)
            case "expire key" | "expire key untold":
                return self.venue.expire(session, now + self._skew, told=fault.do == "expire key")
            case "delay":
                passage.delay += int(fault.value("ms") * MS)
            case "reorder":
                passage.overtaken += self._random.randint(1, int(fault.value("ms"))) * MS
            case "repeat":
                passage.copies.append(passage.copies[0])
            case "burst":
                passage.copies += passage.copies[:1] * (fault.value("copies") - 1)
            case "replay":
                return self._replay(passage)
            case _:
                by = float(fault.value("by") or fault.value("ms") or 0)
                forged = self.venue.forge(passage.copies[0], fault.do, by=by, symbol=fault.other or "")
                if forged is None:
                    return False
                passage.copies[0] = forged
        return True

    def _replay(self, passage: "_Passage") -> bool:
        """Have an old frame follow, if there is one; remember this one for later."""
        seen = self._old.setdefault((passage.session.number, passage.topic), [])
        old = seen[self._random.randrange(len(seen))] if seen else None
        seen.append(passage.copies[0])
        del seen[:-_MOST_OLD]
        if old is None:
            return False
        passage.copies.append(old)
        return True

    def _break(self, session: Session, fault: FrameFault) -> None:
        """End a socket, or have it stay without life."""
        if fault.do == "half open":
            self._frozen.add(session.number)
            self._frames.append((session, Close(how="freeze")))
            return
        self.disconnect(session)
        match fault.do:
            case "reset" | "cut":
                self._frames.append((session, Close(how=fault.do)))
            case _:
                self._frames.append((session, Close(fault.value("code"))))


class _Passage(Struct):
    """A frame on its way: what will come of it, how much later, and how far others overtake it, in nanoseconds."""

    session: Session
    topic: Topic
    copies: list[bytes]
    delay: int = 0
    overtaken: int = 0
    over: bool = False


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(_BOMB_BYTES), mtime=0)
