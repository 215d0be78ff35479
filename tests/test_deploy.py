"""What is shipped for running: the example portfolio, the systemd unit, the container and the runbook."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from agent.cli.app import app
from agent.config import Portfolio, load, parse, render, targets_of
from agent.config.portfolio import TABLES
from agent.config.times import BadTime, cron_of, window_of
from agent.core.decisions import Timing
from agent.core.health import Health
from agent.core.pairs import Pair
from agent.core.targets import Strategy, Targets, wishes_of
from agent.feed import read as read_feed
from agent.secrets import is_reference

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
EXAMPLE = DEPLOY / "portfolio.example.toml"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.toml"))
UNIT = DEPLOY / "trimtab.service"
COMPOSE = DEPLOY / "compose.yaml"
MISSION = {"BTCUSDT": 0.5, "ETHUSDT": 0.3, "SOLUSDT": 0.2}


def understood(command: list[str]) -> dict[str, Any]:
    """The parameters of a trimtab command line, as the product's own parser reads them; nothing is run."""
    group = get_command(app)
    above = group.make_context("trimtab", list(command))
    name, found, rest = group.resolve_command(above, list(command))  # type: ignore[attr-defined]
    context = found.make_context(name, rest, parent=above)
    return {"command": name, **context.params}


# The example portfolio


def test_the_example_is_the_mission_on_paper_and_otherwise_all_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    example = load(EXAMPLE)
    plain = Portfolio(state=example.state, targets=Targets(weights=dict(MISSION), leverage=3.0))
    assert example == plain


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Table and key of each line that sets something, or would without its "# "; a star for what a user names."""
    table = ""
    for line in text.splitlines():
        if header := re.match(r"(?:# )?\[+([\w.]+)\]+", line):
            table = re.sub(r"(strategies|baskets)\.\w+", r"\1.*", header[1])
        elif setting := re.match(r"(?:# )?(\w+) = \S", line):
            yield table, setting[1]


def test_the_example_names_every_key_there_is() -> None:
    kinds = TABLES | {"targets.strategies.*": Strategy, "pairs": Pair, "": Portfolio}
    wanted = {(table, field.name) for table, kind in kinds.items() for field in msgspec.structs.fields(kind)}
    wanted -= {("", table) for table in kinds} | {("targets", "strategies"), ("targets.strategies.*", "health")}
    wanted -= {("", "accounts")}  # instead of account, so words say it
    by_symbol = {("targets", "weights"), ("targets", "baskets"), ("paper", "positions")}
    wanted -= by_symbol | {("account", "passphrase"), ("account", "settle")}  # at one venue alone, so words say it
    named = set(sections(EXAMPLE.read_text()))
    tables = {table for table, _ in named}
    assert tables == set(kinds) | {"targets.weights", "targets.baskets.*", "paper.positions"}
    assert wanted - named == set()
    assert {(table, key) for table, key in named if table in kinds} - wanted == set()


def uncommented() -> list[str]:
    return [re.sub(r"^# (?=\w+ = |\[)", "", line) for line in EXAMPLE.read_text().splitlines()]


def test_what_is_commented_out_in_the_example_is_valid_too(tmp_path: Path) -> None:
    lines = [line for line in uncommented() if not line.startswith("utilisation")]
    file = tmp_path / "portfolio.toml"
    file.write_text("\n".join(lines))
    assert tomllib.loads(file.read_text())["state"] == "/var/lib/trimtab"
    found = load(file)
    assert found.account.key == "credential:key"
    assert found.targets.strategies["trend"].health == Health(psr=0.2), "what is shown of health are the defaults"
    assert found.pairs == (Pair(over="BTCUSDT", into="ETHUSDT", target=0.6),)
    assert parse(render(found), file) == found


def test_shares_of_margin_are_valid_as_the_example_says(tmp_path: Path) -> None:
    text = EXAMPLE.read_text().replace('basis = "notional"', 'basis = "margin"').replace("# utilisation", "utilisation")
    file = tmp_path / "portfolio.toml"
    file.write_text("\n".join(line for line in text.splitlines() if not line.startswith("leverage = 3.0 ")))
    assert load(file).targets.utilisation == 0.3


@pytest.mark.parametrize("quoted", re.findall(r"such as (\[.*?\])", re.sub(r"\n *# ", " ", EXAMPLE.read_text())))
def test_times_that_the_example_names_are_such(quoted: str) -> None:
    for time_ in tomllib.loads(f"x = {quoted}")["x"]:
        try:
            cron_of(time_)
        except BadTime:
            window_of(time_)


# Further examples


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_runs_on_paper_and_is_safe(path: Path) -> None:
    portfolio = load(path)
    assert portfolio.mode == "paper"
    assert portfolio.targets.leverage <= 3
    assert portfolio.limits.liquidation_distance >= 0.11
    assert parse(render(portfolio), path) == portfolio
    assert all(len(line) <= 120 for line in path.read_text().splitlines())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_checked_by_the_command_that_its_user_types(path: Path) -> None:
    done = CliRunner().invoke(app, ["check", str(path)])
    assert done.exit_code == 0, done.output
    assert "[targets]\n" in done.stdout


def test_the_simple_example_is_the_mission() -> None:
    targets = load(DEPLOY / "examples" / "simple.toml").targets
    assert targets == Targets(weights=dict(MISSION), leverage=3.0)


def test_the_strategies_of_the_example_net_as_its_comment_says() -> None:
    path = DEPLOY / "examples" / "strategies.toml"
    targets = load(path).targets
    assert wishes_of(targets) == pytest.approx([0.78, 0.72, 0.3])
    held = re.search(r"held +\+([\d,]+) +\+([\d,]+) +\+([\d,]+)", path.read_text())
    assert held is not None
    assert [int(value.replace(",", "")) for value in held.groups()] == [7800, 7200, 3000]
    assert all(strategy.health is not None for strategy in targets.strategies.values())


def test_the_request_that_the_strategies_example_shows_is_taken() -> None:
    path = DEPLOY / "examples" / "strategies.toml"
    [body] = re.findall(r"-d '(.*)'", path.read_text())
    found = targets_of(msgspec.json.decode(body)["targets"], load(path), "example")
    assert found.strategies["trend"].weights == {"BTCUSDT": 1.0}
    text = re.sub(r"^# (?=\[feed\]|listen)", "", path.read_text(), flags=re.MULTILINE)
    assert parse(text, path).feed.listen == "127.0.0.1:8787"


def test_the_request_that_the_runbook_shows_is_taken(tmp_path: Path) -> None:
    [body] = re.findall(r"-d '(.*?)'\n", (DEPLOY / "README.md").read_text(), re.DOTALL)
    given = read_feed(body.encode(), load(EXAMPLE), source="runbook", now=1, issued_at=1)
    assert given.targets.leverage == 2.0


def test_the_funding_example_has_no_direction_in_any_coin() -> None:
    portfolio = load(DEPLOY / "examples" / "funding.toml")
    targets, hedges = portfolio.targets, portfolio.funding.hedges
    wishes = dict(zip(targets.symbols, wishes_of(targets) or [], strict=True))
    assert sorted(symbol for group in hedges for symbol in group) == sorted(targets.symbols)
    for group in hedges:
        assert sum(wishes[symbol] or 0.0 for symbol in group) == pytest.approx(0.0)
        assert len({symbol[:3] for symbol in group}) == 1


# systemd


def unit() -> dict[str, list[str]]:
    settings: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            settings.setdefault(name, []).append(value)
    return settings


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, or skip where there is none that checks units offline."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    release = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if int(re.match(r"\d+", release)[0]) < 252:  # type: ignore[index]
        pytest.skip(f"systemd {release} can't check units offline")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def test_systemd_takes_the_unit_without_a_word(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=/opt/trimtab/bin/trimtab", f"ExecStart={sys.executable}"))
    done = analyze("verify", str(copy))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_not_exposed() -> None:
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=15", str(UNIT))
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_the_unit_runs_on_paper_and_is_watched() -> None:
    found = unit()
    [start] = found["ExecStart"]
    program, *words = shlex.split(start)
    assert program == "/opt/trimtab/bin/trimtab"
    run = understood(words)
    assert (run["command"], run["live"]) == ("run", False)
    assert found["Type"] == ["notify"]
    assert found["NotifyAccess"] == ["main"]
    assert found["WatchdogSec"] == ["30"]
    assert found["KillSignal"] == ["SIGTERM"]
    assert found["LimitCORE"] == ["0"]
    assert int(found["TimeoutStopSec"][0]) > Timing().stop_s


def test_the_way_to_live_that_the_unit_shows_is_one() -> None:
    [command] = re.findall(r"^#   ExecStart=/opt/trimtab/bin/trimtab (.+)$", UNIT.read_text(), re.MULTILINE)
    assert understood(shlex.split(command))["live"] is True


def test_only_what_a_person_must_settle_is_not_restarted() -> None:
    found = unit()
    assert found["Restart"] == ["on-failure"]
    assert set(found["RestartPreventExitStatus"][0].split()) == {"2", "65", "75", "78"}


def test_the_unit_hands_over_the_keys_that_the_example_names() -> None:
    named = set(re.findall(r'"credential:(\w+)"', EXAMPLE.read_text()))
    assert {value.partition(":")[0] for value in unit()["LoadCredential"]} == named == {"key", "secret"}
    assert all(is_reference(f"credential:{name}") for name in named)


# Containers


def dockerfile() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word
    ]


def compose() -> dict[str, list[str]]:
    """Each value of the compose file under its dotted path; good for the plain YAML that it is written in."""
    found: dict[str, list[str]] = {}
    path: list[tuple[int, str]] = []
    for line in COMPOSE.read_text().splitlines():
        text = re.sub(r"\s+# .*", "", line)
        body = text.strip()
        if not body or body.startswith("#"):
            continue
        depth = len(text) - len(text.lstrip())
        path = [(d, name) for d, name in path if d < depth]
        where = ".".join(name for _, name in path)
        if body.startswith("- "):
            found.setdefault(where, []).append(body[2:].strip('"'))
            continue
        name, _, value = body.partition(":")
        path.append((depth, name))
        values = value.strip().strip("[]").split(", ") if value.strip().startswith("[") else [value.strip()]
        if values != [""]:
            found.setdefault(f"{where}.{name}".strip("."), []).extend(one.strip('"') for one in values)
    return found


def test_the_image_is_of_a_named_version_and_locked() -> None:
    steps = dockerfile()
    [base] = [rest for word, rest in steps if word == "ARG"]
    image, _, tag = base.removeprefix("PYTHON=").partition(":")
    assert image == "python"
    assert re.fullmatch(r"3\.\d+-slim(-\w+)?", tag)
    assert [rest.split()[0] for word, rest in steps if word == "FROM"] == ["${PYTHON}", "${PYTHON}"]
    installs = [one for word, rest in steps if word == "RUN" for one in rest.split("&&") if "pip install" in one]
    locked, own = installs
    assert {"--require-hashes", "--no-deps", "requirements.txt"} <= set(locked.split())
    assert {"--no-index", "--no-deps"} <= set(own.split())


def test_the_image_is_not_root_and_holds_no_key() -> None:
    steps = dockerfile()
    [user] = [rest for word, rest in steps if word == "USER"]
    assert all(int(number) >= 10_000 for number in user.split(":"))
    assert ("STOPSIGNAL", "SIGTERM") in steps
    copied = {word for step, rest in steps if step == "COPY" for word in rest.split()[:-1] if not word.startswith("--")}
    assert copied == {"requirements.txt", "pyproject.toml", "README.md", "LICENSE", "agent", "adapters", "/opt/trimtab"}
    assert not any(word in rest.lower() for step, rest in steps if step in ("ENV", "ARG") for word in ("key", "secret"))
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert next(line for line in allowed if not line.startswith("#")) == "*"


def test_the_image_runs_on_paper() -> None:
    steps = dict(dockerfile())
    entry = msgspec.json.decode(steps["ENTRYPOINT"]) + msgspec.json.decode(steps["CMD"])
    assert entry[0] == "trimtab"
    assert understood(entry[1:])["live"] is False


def test_health_is_a_status_that_was_written_lately(tmp_path: Path) -> None:
    [check] = [rest for word, rest in dockerfile() if word == "HEALTHCHECK"]
    program, *words = msgspec.json.decode(check.partition(" CMD ")[2])
    assert program.startswith("/opt/trimtab/")
    status = tmp_path / "status.json"
    words[-1] = words[-1].replace("/var/lib/trimtab/status.json", str(status))

    def healthy() -> bool:
        return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0

    assert not healthy()
    status.touch()
    assert healthy()
    os.utime(status, (time.time() - 60,) * 2)
    assert not healthy()


def test_the_container_may_do_nothing_else() -> None:
    found = compose()
    service = {path.removeprefix("services.trimtab."): values for path, values in found.items()}
    assert service["read_only"] == ["true"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"][0].startswith("/tmp:")  # noqa: S108 — of the container
    assert all(int(number) >= 10_000 for number in service["user"][0].split(":"))
    assert service["restart"] == ["unless-stopped"]
    assert service["mem_limit"] == service["memswap_limit"]
    assert int(service["pids_limit"][0]) <= 128
    assert int(service["stop_grace_period"][0].removesuffix("s")) > Timing().stop_s
    assert "privileged" not in service
    assert "ports" not in service
    assert not service["image"][0].endswith((":latest", "trimtab"))


def test_the_container_gets_its_keys_as_files() -> None:
    found = compose()
    assert found["services.trimtab.secrets"] == ["key", "secret"]
    assert {path for path in found if path.startswith("secrets.")} == {"secrets.key.file", "secrets.secret.file"}
    environment = {path: values for path, values in found.items() if path.startswith("services.trimtab.environment.")}
    assert environment == {"services.trimtab.environment.CREDENTIALS_DIRECTORY": ["/run/secrets"]}


def test_the_container_runs_on_paper() -> None:
    run = understood(compose()["services.trimtab.command"])
    assert (run["command"], run["live"]) == ("run", False)


# The runbook


def test_every_command_in_the_runbook_is_one() -> None:
    text = (DEPLOY / "README.md").read_text() + COMPOSE.read_text()
    shown = re.findall(
        r"(?:^|[`/ ])trimtab ((?:check|plan|run|status|why|verify|replay)\b[^`\n#|(]*)", text, re.MULTILINE
    )
    assert len(shown) > 8
    for words in shown:
        plain = shlex.split(words.replace("… ", "").rstrip(" .,;"))
        if len(plain) > 1 or plain[0] in ("status", "why", "verify"):
            assert understood(plain)["command"] == plain[0], words


def test_the_runbook_knows_every_exit_code() -> None:
    from agent.cli import app as cli

    text = (DEPLOY / "README.md").read_text()
    rows = set(re.findall(r"^\| (\d+)", text, re.MULTILINE))
    assert {"0", "2", str(cli.FAILED), str(cli.DAMAGED), str(cli.BUSY), str(cli.CONFIG)} <= rows


def test_every_package_is_installed() -> None:
    """An editable installation would hide a forgotten one."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    rooms = [path.parent for top in ("agent", "adapters") for path in (ROOT / top).rglob("__init__.py")]
    there = {".".join(room.relative_to(ROOT).parts) for room in rooms}
    assert listed == there
