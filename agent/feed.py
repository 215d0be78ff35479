"""The feed: targets that come from outside while the agent runs, by a file or by HTTP.

What comes is a document: the ``[targets]`` table of a portfolio file under the key ``targets``, and times in ISO 8601::

    {"targets": {"weights": {"BTCUSDT": "60%", "ETHUSDT": "40%"}, "leverage": 2},
     "issued_at": "2026-01-31T12:00:00Z", "valid_until": "2026-01-31T18:00:00Z"}

Without ``issued_at`` it is as old as the file, or as the request; without ``valid_until`` it is valid for the time that
the portfolio file allows. Invalid or stale targets change nothing: what is wrong is said, and those in force stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import tomllib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from agent.config import ConfigError, Portfolio, targets_of
from agent.core.orders import S
from agent.core.targets import Given
from agent.core.venue import Secret

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the file is looked at."""
LARGEST: Final = 2**18
"""Bytes of a document."""
TYPES: Final = ("application/json", "application/toml")
AHEAD_NS: Final = 60 * S
"""How far in the future a document may have been issued: clocks differ."""


class BadFeed(ValueError):
    """A document that can't be used. ``problems`` say what is wrong with it, and the cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read(raw: bytes, portfolio: Portfolio, *, source: str, came_at: int) -> Given:
    """The targets in a document, JSON or TOML; raises `BadFeed`. ``came_at``: when it was issued if it does not say."""
    document = _decoded(raw)
    unknown = [key for key in document if key not in ("targets", "issued_at", "valid_until")]
    if unknown or "targets" not in document:
        wrong = f"{unknown[0]} is not a known key" if unknown else "targets is missing"
        raise BadFeed([f"{wrong}; a document has targets, issued_at and valid_until"])
    issued_at = _moment(document, "issued_at") or came_at
    valid_until = _moment(document, "valid_until") or issued_at + round(portfolio.feed.longest_h * 3600 * S)
    try:
        targets = targets_of(document["targets"], portfolio, source)
    except ConfigError as error:
        raise BadFeed([str(problem) for problem in error.problems]) from None
    if issued_at > came_at + AHEAD_NS:
        raise BadFeed([f"issued_at is in the future ({document['issued_at']}); check the clock that wrote it"])
    if valid_until <= came_at:
        raise BadFeed([f"the targets are past their time (valid_until {_iso(valid_until)}); issue them anew"])
    return Given(targets=targets, issued_at=issued_at, valid_until=valid_until, source=source)


def _decoded(raw: bytes) -> dict[str, Any]:
    if len(raw) > LARGEST:
        raise BadFeed([f"the document has {len(raw)} bytes; at most {LARGEST} are read"])
    try:
        text = raw.decode()
        document = msgspec.json.decode(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (UnicodeDecodeError, msgspec.DecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadFeed([f"the document is neither JSON nor TOML ({error})"]) from None
    if not isinstance(document, dict):
        raise BadFeed(["the document is not a table"])
    return document


def _moment(document: dict[str, Any], key: str) -> int | None:
    value = document.get(key)
    if value is None:
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadFeed([f"{key} = {value!r} is not a time; write it like 2026-01-31T12:00:00Z"]) from None
    if moment.tzinfo is None:
        raise BadFeed([f"{key} = {value} has no time zone; end it with Z for UTC"])
    return round(moment.timestamp() * 1000) * (S // 1000)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / S, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Feed:
    """Looks at the file and listens for requests, as the portfolio file says.

    ``give`` takes new targets; ``refuse`` is told why others were not taken; ``now`` gives the time, UTC ns, and
    ``force`` the targets that came last, None if none have.
    """

    def __init__(
        self,
        portfolio: Portfolio,
        *,
        give: Callable[[Given], None],
        refuse: Callable[[str], None],
        now: Callable[[], int],
        force: Callable[[], Given | None],
        token: Secret | None = None,
    ) -> None:
        self.portfolio = portfolio
        self._give = give
        self._refuse = refuse
        self._now = now
        self._force = force
        self._token = token
        self._seen: tuple[int, int, int] | None = None
        """Which state of the file was read last."""
        self.address: tuple[str, int] | None = None
        """Where it listens."""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Take targets for as long as the context lasts."""
        async with contextlib.AsyncExitStack() as stack:
            if self.portfolio.feed.file is not None:
                watching = asyncio.create_task(self._watch(Path(self.portfolio.feed.file)), name="feed")
                stack.callback(watching.cancel)
            if self.portfolio.feed.listen is not None:
                await stack.enter_async_context(self._listening(self.portfolio.feed.listen))
            yield

    def take(self, raw: bytes, *, source: str, came_at: int) -> Given | None:
        """Take a document: the targets that are in force now by it; None where it is what is in force already.

        Raises `BadFeed`, after ``refuse`` was told.
        """
        try:
            given = read(raw, self.portfolio, source=source, came_at=came_at)
            force = self._force()
            if force is not None and given.issued_at <= force.issued_at:
                if given.targets == force.targets:
                    return None
                raise BadFeed([f"issued at {_iso(given.issued_at)}; those in force are from {_iso(force.issued_at)}"])
        except BadFeed as error:
            self._refuse(f"targets of {source} are not taken, those in force stay: {error}")
            raise
        self._give(given)
        return given

    # The file

    async def _watch(self, path: Path) -> None:
        while True:
            self.look(path)
            await asyncio.sleep(LOOK_S)

    def look(self, path: Path) -> None:
        """Read the file if it is another one than last time. A file that is not there is waited for."""
        try:
            found = path.stat()
            state = (found.st_ino, found.st_mtime_ns, found.st_size)
            if state == self._seen:
                return
            self._seen = state
            raw = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            self._refuse(f"targets of {path} can't be read: {error.strerror}")
            return
        now = self._now()
        with contextlib.suppress(BadFeed):  # has been told
            self.take(raw, source=str(path), came_at=min(found.st_mtime_ns, now))

    # The listener

    @contextlib.asynccontextmanager
    async def _listening(self, address: str) -> AsyncIterator[None]:
        host, _, port = address.rpartition(":")
        app = web.Application(client_max_size=LARGEST)
        app.router.add_post("/targets", self._post)
        app.router.add_get("/targets", self._get)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host.strip("[]"), int(port))
            await site.start()
            bound = runner.addresses[0]
            self.address = (bound[0], bound[1])
            log.info("targets are taken at http://%s:%d/targets", *self.address)
            yield
        finally:
            await runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return _answer(401, problems=["the token is missing or wrong; send Authorization: Bearer TOKEN"])
        if request.content_type not in TYPES:  # which no web page can send without being asked
            return _answer(415, problems=[f"the content type is {request.content_type}; send {' or '.join(TYPES)}"])
        try:
            given = self.take(await request.read(), source="http", came_at=self._now())
        except BadFeed as error:
            return _answer(422, problems=error.problems)
        return _answer(200, taken=given is not None)

    async def _get(self, request: web.Request) -> web.Response:
        if not self._allowed(request):
            return _answer(401, problems=["the token is missing or wrong; send Authorization: Bearer TOKEN"])
        force = self._force()
        if force is None:
            return _answer(200, source="the portfolio file", targets=self.portfolio.targets)
        return _answer(
            200,
            source=force.source,
            issued_at=_iso(force.issued_at),
            valid_until=_iso(force.valid_until),
            targets=force.targets,
        )

    def _allowed(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(sent.encode(), self._token.reveal().encode())


def _answer(status: int, **content: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(content), content_type="application/json")
