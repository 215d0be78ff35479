"""The feed: targets that come from outside while the agent runs, by a file or by HTTP.

What comes is a document: the ``[targets]`` table of a portfolio file under the key ``targets``, and times in ISO 8601::

    {"targets": {"weights": {"BTCUSDT": "60%", "ETHUSDT": "40%"}, "leverage": 2},
     "issued_at": "2026-01-31T12:00:00Z", "valid_until": "2026-01-31T18:00:00Z"}

What the targets don't say is as in the portfolio file. Without ``issued_at`` they are as old as the file, or as the
request; without ``valid_until`` they are valid for the time that the portfolio file allows. Invalid or stale targets
change nothing: what is wrong is said, and those in force stay.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import stat
import tomllib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from agent.config import ConfigError, Portfolio, document_of, targets_of
from agent.config.checks import nearest, on_this_machine
from agent.config.render import shown
from agent.core.orders import S
from agent.core.targets import Given
from agent.core.venue import Secret

log = logging.getLogger(__name__)

LARGEST: Final = 2**18
"""Bytes of a document."""
KEYS: Final = ("targets", "issued_at", "valid_until")
TYPES: Final = ("application/json", "application/toml")
AHEAD_NS: Final = 60 * S
"""How far in the future a document may have been issued: clocks differ."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST_NS: Final = 2**63 - 1
"""Later times, in the year 2262, are taken for this one."""
CLOSE_S: Final = 1.0
"""How long a request under way may take when the listener is closed."""


class BadFeed(ValueError):
    """A document that can't be used. ``problems`` say what is wrong with it, and the cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read(raw: bytes, portfolio: Portfolio, *, source: str, now: int, issued_at: int) -> Given:
    """The targets in a document, JSON or TOML; raises `BadFeed`. ``issued_at`` counts if the document does not say."""
    document = _decoded(raw)
    for key in document:
        if key not in KEYS:
            cure = nearest(key, KEYS) or f"a document has {', '.join(KEYS[:-1])} and {KEYS[-1]}"
            raise BadFeed([f"{shown(key)} is not a known key; {cure}"])
    if "targets" not in document:
        raise BadFeed(["targets is missing; write it as in a portfolio file"])
    issued_at = _moment(document, "issued_at", issued_at)
    valid_until = _moment(document, "valid_until", issued_at + round(portfolio.feed.longest_h * 3600 * S))
    if issued_at > now + AHEAD_NS:
        raise BadFeed([f"issued_at is in the future ({_iso(issued_at)}); check the clock that wrote it"])
    if valid_until <= now:
        raise BadFeed([f"the targets are past their time (valid_until {_iso(valid_until)}); issue them anew"])
    try:
        targets = targets_of(document["targets"], portfolio, source)
    except ConfigError as error:
        raise BadFeed([str(problem) for problem in error.problems]) from None
    return Given(targets=targets, issued_at=issued_at, valid_until=valid_until, source=source)


def _decoded(raw: bytes) -> dict[str, Any]:
    if len(raw) > LARGEST:
        raise BadFeed([f"the document is too large; at most {LARGEST} bytes are read"])
    try:
        text = raw.decode()
        if text.lstrip().startswith("{"):
            return msgspec.json.decode(text, type=dict[str, Any])
        return tomllib.loads(text)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise BadFeed([f"the document is neither JSON nor TOML ({error}); write it like a portfolio file"]) from None


def _moment(document: dict[str, Any], key: str, default: int) -> int:
    """A time of the document, UTC ns."""
    value = document.get(key)
    if value is None:
        return default
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadFeed([f"{key} = {shown(value)} is not a time; write it like 2026-01-31T12:00:00Z"]) from None
    if moment.tzinfo is None:
        raise BadFeed([f"{key} = {moment} has no time zone; end it with Z for UTC"])
    return min(max(0, (moment - EPOCH) // timedelta(microseconds=1) * 1000), LAST_NS)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at // S, UTC).isoformat().replace("+00:00", "Z")


class Feed:
    """Looks at the file and listens for requests, as the portfolio file says.

    ``give`` takes new targets; ``refuse`` is told why others were not taken; ``now`` gives the time, UTC ns, and
    ``force`` the targets that came last, None if none have. ``token`` is what requests must send along, if given.
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
        self._seen: object = None
        """Which state of the file was looked at last."""
        self.address: tuple[str, int] | None = None
        """Where it listens."""

    def take(self, raw: bytes, *, source: str, issued_at: int) -> Given | None:
        """Take a document: the targets that are in force now by it; None where they were in force already.

        Raises `BadFeed`, after ``refuse`` was told.
        """
        try:
            given = read(raw, self.portfolio, source=source, now=self._now(), issued_at=issued_at)
            force = self._force()
            if force is not None and given.issued_at <= force.issued_at:
                if given.targets == force.targets:
                    return None
                when = f"issued at {_iso(given.issued_at)}, and those in force at {_iso(force.issued_at)}"
                raise BadFeed([f"the targets are not newer than those in force ({when}); issue them anew"])
        except BadFeed as error:
            self._refuse(f"targets of {source} are not taken, those in force stay: {error}")
            raise
        self._give(given)
        return given

    # The file

    def look(self) -> None:
        """Take what is in the file, if it is another one than last time; to be called about once a second.

        That it is not there, or can't be read, is said once.
        """
        if self.portfolio.feed.file is None:
            return
        path = Path(self.portfolio.feed.file)
        found: object = None
        try:
            file = path.stat()
            found = file.st_ino, file.st_mtime_ns, file.st_ctime_ns, file.st_size
            raw = None if found == self._seen else _content(path, file.st_mode)
        except OSError as error:
            found, raw = found or error.errno, None
            if found != self._seen:
                self._refuse(f"targets of {path} are not taken: it can't be read ({error.strerror})")
        self._seen = found
        if raw is not None:
            with contextlib.suppress(BadFeed):  # has been told
                self.take(raw, source=str(path), issued_at=min(file.st_mtime_ns, self._now()))

    # The listener

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Listen, if the portfolio file says so, for as long as the context lasts. Raises `OSError` when it can't."""
        listen = self.portfolio.feed.listen
        if listen is None:
            yield
            return
        host, _, port = listen.rpartition(":")
        app = web.Application(client_max_size=LARGEST, middlewares=[self._guarded])
        app.router.add_post("/targets", self._post)
        app.router.add_get("/targets", self._get)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host.strip("[]"), int(port)).start()
            except OSError as error:
                cure = "name another port, or stop what listens there"
                raise OSError(f"feed.listen = {shown(listen)}: can't listen there ({error.strerror}); {cure}") from None
            self.address = runner.addresses[0][:2]
            log.info("targets are taken at http://%s:%d/targets", *self.address)
            yield
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        """Only who has the token is answered. Without one, only who knows where this is: no page of a browser, to
        which a name of its own may stand for this address."""
        if self._token is not None:
            sent = request.headers.get("Authorization", "").encode(errors="surrogateescape")
            if not hmac.compare_digest(sent, f"Bearer {self._token.reveal()}".encode()):
                return _answer(401, problems=["the token is missing or wrong; send Authorization: Bearer TOKEN"])
        elif not on_this_machine(request.url.host or ""):
            return _answer(403, problems=["the host is another than this machine; ask for it by its address"])
        try:
            answer: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            return _answer(error.status, problems=[f"{error.reason}; POST or GET /targets"])
        return answer

    async def _post(self, request: web.Request) -> web.Response:
        if request.content_type not in TYPES:  # which no page of another site can send without asking first
            sent = shown(request.content_type)
            return _answer(415, problems=[f"the content type is {sent}; send {' or '.join(TYPES)}"])
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _answer(413, problems=[f"the document is too large; at most {LARGEST} bytes are read"])
        try:
            given = self.take(raw, source="http", issued_at=self._now())
        except BadFeed as error:
            return _answer(422, problems=error.problems)
        return _answer(200, taken=given is not None)

    async def _get(self, request: web.Request) -> web.Response:
        force = self._force()
        if force is None:
            return _answer(200, source="the portfolio file", targets=document_of(self.portfolio.targets))
        return _answer(
            200,
            source=force.source,
            issued_at=_iso(force.issued_at),
            valid_until=_iso(force.valid_until),
            targets=document_of(force.targets),
        )


def _content(path: Path, mode: int) -> bytes:
    """What is in a file, up to more than a document may have. Raises `OSError`."""
    if not stat.S_ISREG(mode):
        raise OSError(0, "it is not a regular file")
    with path.open("rb") as file:
        return file.read(LARGEST + 1)


def _answer(status: int, **content: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(content), content_type="application/json")
