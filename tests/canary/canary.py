"""Canaries: secrets that no one else has, put through a real process, and looked for wherever anything is left.

The process is the shipped command against the local exchange on real sockets. While it trades, requests are answered
with redirects to a thief, pages that repeat what was sent, refusals and silence; names don't resolve, the disk fills
up, a mistake raises from the middle of a reply, and every library logs all it knows.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import secrets
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast
from urllib.parse import parse_qs, quote

import aiohttp
import apsw
import msgspec
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec import Struct, field

from adapters.simulator import Account, Exchange, SeededMarket
from adapters.simulator.binance import Binance as Venue
from adapters.simulator.gateway import Gateway
from adapters.simulator.server import Server

ROOT: Final = Path(__file__).parents[2]
LAUNCHER: Final = Path(__file__).parent / "launcher.py"
ENOUGH: Final = 22
"""Signed requests, after which a process that does not end by itself is asked to."""
FATAL: Final = ("crash", "full")
"""Troubles that a process does not survive."""
LISTEN_KEY: Final = re.compile(r'"listenKey":"(\w+)"')
PATIENCE_S: Final = 60.0


def shapes(secret: bytes) -> dict[str, bytes]:
    """A secret as it may look: itself, quoted, in hex, and in base64 at each of its three alignments."""
    found = {
        "raw": secret,
        "quoted": quote(secret, safe="").encode(),
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "escaped": repr(secret)[2:-1].encode(),
    }
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + secret + bytes(3))
        found[f"base64+{shift}"] = whole[4 : -(8 + len(secret) % 4)]
    return found


class Canaries(Struct):
    """What to look for, by name; ``seen`` grows by signatures and session keys as they are used."""

    wanted: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def watch(self, name: str, *parts: bytes) -> None:
        """Look for this as well."""
        for part in parts:
            self.wanted.setdefault(name, {}).update({f"{k} {part[:6]!r}": v for k, v in shapes(part).items()})

    def hits(self, data: bytes) -> list[str]:
        """The canaries in some bytes, and in which shape."""
        return sorted(
            f"{name}, {shape}" for name, all_ in self.wanted.items() for shape, text in all_.items() if text in data
        )


class Channel(Struct):
    """A place where something is left: how many bytes were looked through, and what was found in them."""

    searched: int = 0
    hits: list[str] = field(default_factory=list)


class Survey(Struct):
    """What was looked through, and what was found."""

    channels: dict[str, Channel] = field(default_factory=dict)
    thefts: int = 0
    """Connections that reached the thief."""
    mischief: Counter[str] = field(default_factory=Counter)
    """What was done to requests, and how often."""
    exits: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """How each process stood at its end."""

    @property
    def hits(self) -> list[str]:
        """Everything that was found, with its place."""
        return [f"{name}: {hit}" for name, channel in self.channels.items() for hit in channel.hits]


class Mischief(Server):
    """The local exchange, which answers some signed requests as an exchange, a proxy or a thief's friend might."""

    def __init__(self, exchange: Exchange, thief: str) -> None:
        super().__init__(Gateway(Venue(exchange), sockets=True))
        self.thief = thief
        self.done: Counter[str] = Counter()
        self.signatures: list[str] = []
        self.keys: list[str] = []
        """Of private streams."""
        self.signed = self.upgrades = 0
        self.plan: dict[int, Callable[[web.Request], web.StreamResponse]] = {
            3: self.redirect(301), 4: self.redirect(302), 5: self.redirect(307), 6: self.redirect(308),
            7: self.repeat(404), 8: self.repeat(200), 9: self.repeat(503), 10: self.repeat(502), 20: self.repeat(401),
            12: self.redirect(302), 14: self.repeat(200), 16: self.repeat(400),
        }  # fmt: skip

    def redirect(self, status: int) -> Callable[[web.Request], web.StreamResponse]:
        """Ask for it elsewhere, please."""

        def answer(request: web.Request) -> web.StreamResponse:
            self.done["redirect"] += 1
            return web.Response(status=status, headers={"Location": f"{self.thief}{request.raw_path}"})

        return answer

    def repeat(self, status: int) -> Callable[[web.Request], web.StreamResponse]:
        """A page that shows what was asked and by whom, as a proxy's may; with 400, in the words of the venue."""

        def answer(request: web.Request) -> web.StreamResponse:
            self.done["repeat"] += 1
            said = f"{request.raw_path} {dict(request.headers)}".replace('"', "'")
            if status == 400:
                return web.json_response({"code": -1102, "msg": f"not well-formed: {said}"}, status=400)
            return web.Response(status=status, text=f"<html>{said}</html>", content_type="text/html")

        return answer

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            self.upgrades += "private" in request.path
            if self.upgrades == 1 and "private" in request.path:
                self.done["redirected websocket"] += 1
                return web.Response(status=302, headers={"Location": f"{self.thief}{request.raw_path}"})
            return await super()._handle(request)
        if sent := parse_qs(request.query_string).get("signature"):
            self.signatures += sent
            self.signed += 1
            if (mischief := self.plan.get(self.signed)) is not None:
                return mischief(request)
            if self.signed == 18:
                self.done["silence"] += 1
                return self._response(None)
        answer = await super()._handle(request)
        if request.path.endswith("/listenKey") and isinstance(answer, web.Response) and answer.text:
            self.keys += LISTEN_KEY.findall(answer.text)
        return answer


@asynccontextmanager
async def thief() -> AsyncIterator[tuple[str, list[str]]]:
    """Somebody else's server: its address, and who came."""
    came: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append((await reader.read(4096)).decode("latin-1"))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", came


PORTFOLIO: Final = """\
mode = "live"
state = "{state}"
[account]
key = "{scheme}:{key}"
secret = "{scheme}:{secret}"
rest_url = "http://localhost:{port}"
stream_url = "ws://localhost:{port}"
[targets]
leverage = 2
weights = {{ BTCUSDT = 0.6, ETHUSDT = -0.4 }}
[triggers]
confirm_s = 0.1
cool_down_s = 0.5
[feed]
listen = "127.0.0.1:{feed}"
token = "{scheme}:{token}"
"""


class Stage:
    """One run of the product: its files, its process, and what it says."""

    def __init__(self, folder: Path, canaries: Canaries, survey: Survey, *, pem: bool) -> None:
        self.folder, self.canaries, self.survey = folder, canaries, survey
        folder.mkdir(parents=True)
        self.state = folder / "state"
        self.keys = folder / "keys"
        self.keys.mkdir(mode=0o700)
        key, token = f"canaryKey{secrets.token_hex(24)}", f"canaryToken/{secrets.token_urlsafe(24)}+="
        self.public: str | None = None
        if pem:
            private = Ed25519PrivateKey.generate()
            secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            self.public = public.decode()
            inner = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            canaries.watch("private key", inner, secret.splitlines()[1].encode())
        else:
            secret = f"canarySecret{secrets.token_hex(26)}"
            canaries.watch("secret", secret.encode())
        canaries.watch("key", key.encode())
        canaries.watch("token", token.encode())
        self.key, self.secret, self.token = key, secret, token
        for name, text in (("key", key), ("secret", secret), ("token", token)):
            self.keep(name, text)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.feed = free.getsockname()[1]

    def keep(self, name: str, text: str, mode: int = 0o600) -> None:
        """Put a secret where the portfolio file says it is."""
        path = self.keys / name
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        path.chmod(mode)

    def write(self, port: int, *, credentials: bool = False) -> Path:
        """The portfolio file; ``credentials``: its secrets are handed over by the service manager."""
        path = self.folder / "portfolio.toml"
        where = {name: name if credentials else str(self.keys / name) for name in ("key", "secret", "token")}
        scheme = "credential" if credentials else "file"
        path.write_text(PORTFOLIO.format(state=self.state, scheme=scheme, port=port, feed=self.feed, **where))
        return path

    def command(self, troubles: str, *words: str) -> list[str]:
        """The product's command line, with what shall happen to it."""
        return [sys.executable, str(LAUNCHER), troubles, *words]

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """What the process is given: a proxy that is a thief, and no secret."""
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CREDENTIALS_DIRECTORY": str(self.keys),
            "COLUMNS": "400",
            **more,
        }

    def search(self, channel: str, data: bytes) -> None:
        """Look for canaries in what was found in a channel."""
        found = self.survey.channels.setdefault(channel, Channel())
        found.searched += len(data)
        found.hits += [f"{hit} in {self.folder.name}" for hit in self.canaries.hits(data)]

    def search_files(self) -> None:
        """Look through everything that the run has left."""
        for path in sorted(self.state.rglob("*")):
            self.search("names of files", str(path).encode())
            if path.is_file():
                kind = {"journal.db": "journal", "status.json": "status file"}.get(path.name, path.suffix)
                kind = {".tape": "tape"}.get(
                    kind, kind if kind in ("journal", "status file") else "other files of state"
                )
                self.search(kind, path.read_bytes())
        with apsw.Connection(str(self.state / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY) as journal:
            for (table,) in list(journal.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")):
                for row in journal.execute(f"SELECT * FROM {table}"):  # noqa: S608 — a table of ours
                    self.search("rows of the journal", repr(row).encode())

    def ask(self, *words: str) -> None:
        """What other commands print about the run."""
        done = subprocess.run(
            self.command("", *words),
            cwd=self.folder,
            env=self.environment({}),
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        self.search(f"trimtab {words[0]}", done.stdout + done.stderr)
        self.survey.exits[" ".join([self.folder.name, words[0]])] = done.returncode


def of_process(pid: int) -> Mapping[str, bytes]:
    """What anyone on the machine may see of a process."""
    proc = Path(f"/proc/{pid}")
    found = {"command line": (proc / "cmdline").read_bytes(), "environment": (proc / "environ").read_bytes()}
    children = b"".join(path.read_bytes() for path in proc.glob("task/*/children"))
    for child in children.split():
        found[f"environment of child {int(child)}"] = Path(f"/proc/{int(child)}/environ").read_bytes()
    return found


async def talk_to_the_feed(stage: Stage) -> None:
    """What its listener answers to whoever asks, with and without the token."""
    url = f"http://127.0.0.1:{stage.feed}/targets"
    good = {"Authorization": f"Bearer {stage.token}"}
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"Authorization": "Bearer wrong"}, good):
            for method, body in (("GET", None), ("POST", b"{nonsense"), ("POST", b"{}"), ("PUT", b"x")):
                more = {"Content-Type": "application/json"} if body else {}
                with contextlib.suppress(aiohttp.ClientError):  # it may be about to end
                    async with session.request(method, url, data=body, headers=headers | more) as response:
                        told = f"{response.status} {response.headers} ".encode() + await response.read()
                        stage.search("answers of the feed", told)


def at_rest(stage: Stage, server: Mischief) -> bool:
    """Whether enough has happened, orders have been filled, and no fate of one is unknown."""
    if server.signed < ENOUGH or not any(order.executed for order in server.exchange.ledger.orders.values()):
        return False
    return bool(msgspec.json.decode((stage.state / "status.json").read_bytes())["unresolved"] == 0)


async def live(stage: Stage, survey: Survey, troubles: str, *, credentials: bool) -> None:
    """Let the product trade for a while, or until it ends by itself, and look through all it leaves."""
    account = Account(
        stage.key, stage.secret, balance=100_000, positions={"BTCUSDT": "0.2", "ETHUSDT": "5"}, public_key=stage.public
    )
    exchange = Exchange(SeededMarket(7, ("BTCUSDT", "ETHUSDT")), [account], speed=60.0)
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.bind(str(stage.folder / "notify"))
    told.setblocking(False)
    async with thief() as (address, came), Mischief(exchange, address) as started:
        server = cast(Mischief, started)
        await server.start("127.0.0.1", 0)
        file = stage.write(server.port, credentials=credentials)
        more = {name: address for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "ws_proxy")}
        more |= {"NOTIFY_SOCKET": str(stage.folder / "notify"), "CANARY_NOTE": str(stage.folder / "note")}
        more |= {"PYTHONASYNCIODEBUG": "1"} if "debug" in troubles else {}
        process = await asyncio.create_subprocess_exec(
            *stage.command(troubles, "run", str(file), "--live", "--record"),
            cwd=stage.folder,
            env=stage.environment(more),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        ended = asyncio.create_task(process.communicate())
        while not ended.done() and (troubles in FATAL or not at_rest(stage, server)):
            await asyncio.wait({ended}, timeout=0.5)
        if not ended.done():
            for name, seen in of_process(process.pid).items():
                stage.search(name, seen)
            await talk_to_the_feed(stage)
            stage.ask("status", "--json", "--state", str(stage.state))
            process.terminate()
        output, log = await asyncio.wait_for(ended, PATIENCE_S)
        survey.thefts += len(came)
    survey.mischief += server.done
    survey.exits[f"{stage.folder.name} run"] = process.returncode or 0
    survey.notes[stage.folder.name] = (stage.folder / "note").read_text()
    stage.canaries.watch("signature", *(one.encode() for one in set(server.signatures[:50])))
    stage.canaries.watch("session key", *(one.encode() for one in set(server.keys)))
    stage.search("standard output", output)
    stage.search("log, with everything that libraries say" if "debug" in troubles else "log", log)
    if "crash" in troubles:
        stage.search("traceback", log[log.index(b"Traceback") :])
    with told:
        while True:
            try:
                stage.search("words to the service manager", told.recv(65_536))
            except BlockingIOError:
                break
    stage.search_files()
    cores = [path for path in stage.folder.iterdir() if path.name.startswith("core")]
    stage.search("core dumps", b"".join(path.read_bytes() for path in cores))
    for words in (("check", str(file)), ("status", "--state", str(stage.state)), ("why", "--json", "--last", "1000")):
        stage.ask(*words, *(("--state", str(stage.state)) if words[0] == "why" else ()))
    for tape in stage.state.glob("tapes/*.tape"):
        stage.ask("replay", str(tape), "--json")


def mistaken_keys(stage: Stage) -> None:
    """Keys that can't be right, each refused without being shown."""
    file = stage.write(1)
    broken_pem = stage.secret.replace("PRIVATE KEY", "PRIVATE KEX", 1) if stage.public else "-----BEGIN " + stage.secret
    mistakes = {
        "readable by others": ("secret", stage.secret, 0o644),
        "broken PEM": ("secret", broken_pem, 0o600),
        "not text": ("secret", "\udcff" + stage.secret, 0o600),
    }
    for name, text, mode in mistakes.values():
        stage.keep(name, text, mode)
        stage.ask("run", str(file), "--live")
    stage.keep("secret", stage.secret)
    inline = file.read_text().replace(f"file:{stage.keys / 'secret'}", stage.secret.splitlines()[0] + stage.key)
    file.write_text(inline)
    stage.ask("check", str(file))


async def fly(folder: Path) -> Survey:
    """All runs, some twenty seconds. Raises `TimeoutError` where one does not end."""
    survey, canaries = Survey(), Canaries()

    def stage(name: str, *, pem: bool) -> Stage:
        return Stage(folder / name, canaries, survey, pem=pem)

    async with asyncio.timeout(2 * PATIENCE_S):
        await asyncio.gather(
            live(stage("debug", pem=False), survey, "debug+names", credentials=False),
            live(stage("crash", pem=True), survey, "crash", credentials=True),
            live(stage("full", pem=False), survey, "full", credentials=True),
        )
    mistaken_keys(stage("mistakes", pem=False))
    mistaken_keys(stage("mistakes in PEM", pem=True))
    return survey
