"""The rules of the house, read from the source itself. Each says what to do instead."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORDER = [
    "instruments", "events", "prices", "book", "health", "targets", "ledger", "covariance", "drift", "costs", "carry",
    "band", "upkeep", "programme", "lots", "triggers", "orders", "breaker", "margin", "pairs", "planner", "economy",
    "risk", "tally", "sleeves", "halts", "strangers", "terms", "venue", "decisions", "limits", "deadman", "audit",
    "readiness", "pulse", "guard", "settings", "paper", "words", "reasons", "mandate", "course", "correction", "alarm",
    "engine", "view", "channel", "desk",
]  # fmt: skip
"""The core in reading order: a file imports only files above it."""

PURE = {
    "__future__", "bisect", "collections", "dataclasses", "decimal", "enum", "fractions", "functools", "hashlib",
    "heapq", "ipaddress", "itertools", "math", "operator", "re", "string", "typing", "msgspec", "numpy",
}  # fmt: skip
"""What neither waits, nor reads a clock, a file or a network, nor throws dice."""

SHARED = ("addresses", "answers", "conversation", "ladder", "offset", "reading", "signing")
"""What the dialects have in common: it knows no venue."""

WIRE = PURE | {"base64", "gzip", "hmac", "json", "urllib", "zlib", "cryptography"}
"""What a dialect needs besides: codecs and signatures."""

INSTEAD = {
    "asyncio": "waiting happens in agent/; return what should be done and a wake_at",
    "time": "take `now` as an argument: the core is told the time",
    "datetime": "times are UTC nanoseconds, and `now` is an argument",
    "random": "derive what looks like chance from a salt, as agent.core.limits.backoff does",
    "secrets": "derive ids from tag, epoch and number, as agent.core.orders.order_id does",
    "uuid": "derive ids from tag, epoch and number, as agent.core.orders.order_id does",
    "logging": "put a Note into the Decision: it lands in the journal and is replayed",
    "os": "files and environment belong to agent/",
    "pathlib": "files belong to agent/",
    "socket": "sockets belong to agent/transport.py",
    "threading": "the core is synchronous: return what should be done",
}


def sources(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, with its line; ``from a import b`` gives a.b where that is a file of ours."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import by the full name"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                ours = (ROOT / full.replace(".", "/")).with_suffix(".py").exists()
                yield node.lineno, full if ours else node.module


def inside(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def fail_if(broken: list[str]) -> None:
    assert not broken, "\n" + "\n".join(broken)


def pure_places() -> list[Path]:
    """The core, and the dialects: everything in adapters/ that is not the simulator."""
    return sources("agent/core") + [path for path in sources("adapters") if "simulator" not in path.parts]


# Directions


def test_a_file_of_the_core_imports_only_files_above_it_in_the_reading_order() -> None:
    files = {path.stem for path in sources("agent/core")} - {"__init__"}
    assert files == set(ORDER), "a new file of the core gets its place in ORDER here and in agent/README.md"
    broken = []
    for path in sources("agent/core"):
        if path.stem == "__init__":
            continue
        above = ORDER[: ORDER.index(path.stem)]
        for line, name in imports(path):
            if inside(name, "agent", "adapters"):
                word = name.removeprefix("agent.core.").split(".")[0]
                if not name.startswith("agent.core.") or word not in above:
                    broken.append(f"{path}:{line}: {name} is not above {path.stem}: move what is shared further up")
    fail_if(broken)


def test_the_readme_lists_the_core_in_the_same_order() -> None:
    readme = (ROOT / "agent" / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)
    listed = [name for name in rows if name in ORDER]
    assert listed == ORDER, "the table in agent/README.md is the reading order"


def test_a_dialect_knows_the_core_its_own_files_and_what_all_share_and_nothing_else_of_the_project() -> None:
    shared = tuple(f"adapters.{name}" for name in SHARED)
    broken = []
    for path in sources("adapters"):
        if "simulator" in path.parts or path.stem == "__init__":
            continue
        venue = path.stem.split("_")[0]
        for line, name in imports(path):
            own = name.startswith("adapters.") and name.removeprefix("adapters.").split("_")[0] == venue
            if (
                inside(name, "agent", "adapters", "tests")
                and not own
                and name != "adapters"
                and not inside(name, "agent.core", *shared)
            ):
                broken.append(f"{path}:{line}: {name}: a dialect is told facts and times; it knows agent.core alone")
    fail_if(broken)


def test_the_simulator_never_imports_what_it_is_there_to_check() -> None:
    broken = [
        f"{path}:{line}: {name}: one misread field would hide twice; write it again from the venue's documentation"
        for path in sources("adapters/simulator")
        for line, name in imports(path)
        if inside(name, "agent", "tests") or (inside(name, "adapters") and not inside(name, "adapters.simulator"))
    ]
    fail_if(broken)


def test_only_the_command_line_knows_both_the_agent_and_the_adapters() -> None:
    broken = [
        f"{path}:{line}: {name}: take it as an argument; agent/cli puts the parts together"
        for path in sources("agent")
        if not inside(module(path), "agent.cli")
        for line, name in imports(path)
        if inside(name, "adapters", "tests", "agent.cli")
    ]
    fail_if(broken)


def test_one_file_opens_exchange_sockets() -> None:
    # the feed only listens, for targets, on this machine
    broken = [
        f"{path}:{line}: {name}: ask agent/transport.py for it: it alone knows the libraries' traps"
        for path in sources("agent")
        if module(path) not in ("agent.transport", "agent.feed") and not inside(module(path), "agent.cli")
        for line, name in imports(path)
        if inside(name, "websockets", "aiohttp", "requests", "httpx")
    ]
    fail_if(broken)


def test_no_library_connects_again_by_itself() -> None:
    broken = [
        f"{path}:{node.lineno}: a connection that reopens itself skips the resynchronisation: await one, tell its end"
        for path in sources("agent")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.AsyncFor)
        and isinstance(node.iter, ast.Call)
        and "connect" in ast.unparse(node.iter).lower()
    ]
    fail_if(broken)


# Purity


def test_the_core_and_the_dialects_import_nothing_that_waits_or_knows_the_time_or_throws_dice() -> None:
    broken = []
    for path in pure_places():
        allowed = PURE if inside(module(path), "agent.core") else WIRE
        for line, name in imports(path):
            word = name.split(".")[0]
            if word not in allowed and not inside(name, "agent", "adapters"):
                instead = INSTEAD.get(word, "only pure parts of the standard library, msgspec and numpy belong here")
                broken.append(f"{path}:{line}: {name}: {instead}")
    fail_if(broken)


FORBIDDEN_CALLS = {
    "hash": "hash() differs between runs; use hashlib or the value itself",
    "id": "id() differs between runs; use a name or an index",
    "print": "put a Note into the Decision; only agent/cli prints",
    "input": "commands arrive as facts",
    "open": "files belong to agent/",
    "exec": "write it out",
    "eval": "write it out",
}


def unordered(node: ast.expr) -> bool:
    """Whether an expression is a set in so many words, whose order differs between runs."""
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}


def impurities(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in FORBIDDEN_CALLS:
                yield f"{path}:{node.lineno}: {node.func.id}(): {FORBIDDEN_CALLS[node.func.id]}"
            elif (
                node.func.id in {"list", "tuple", "enumerate", "iter", "next"} and node.args and unordered(node.args[0])
            ):
                yield f"{path}:{node.lineno}: a set has no order: sort it, or use dict.fromkeys"
        elif isinstance(node, ast.For | ast.comprehension) and unordered(node.iter):
            yield f"{path}:{node.iter.lineno}: a set has no order: sort it, or use dict.fromkeys"
        elif isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield f"{path}:{node.lineno}: nothing waits here: return what should be done and a wake_at"
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in {"now", "utcnow", "today"}
            and isinstance(node.value, ast.Name)
        ):
            if node.value.id in {"datetime", "date"}:
                yield f"{path}:{node.lineno}: {INSTEAD['datetime']}"
        elif isinstance(node, ast.ExceptHandler) and (
            node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
        ):
            yield f"{path}:{node.lineno}: name what is caught; a mistake of ours must stop the process"


def test_the_core_and_the_dialects_do_the_same_thing_every_time() -> None:
    fail_if([line for path in pure_places() for line in impurities(path)])


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("x = hash('a')", "hash() differs"),
        ("x = id(object())", "id() differs"),
        ("print('x')", "only agent/cli prints"),
        ("for x in {1, 2}: pass", "a set has no order"),
        ("x = [y for y in set([1])]", "a set has no order"),
        ("x = list({y for y in (1,)})", "a set has no order"),
        ("x = datetime.now()", "`now` is an argument"),
        ("async def f(): pass", "nothing waits here"),
        ("try: pass\nexcept Exception: pass", "name what is caught"),
        ("try: pass\nexcept: pass", "name what is caught"),
    ],
)
def test_the_rules_notice_what_they_forbid(tmp_path: Path, source: str, rule: str) -> None:
    path = tmp_path / "sample.py"
    path.write_text(source)
    (line,) = impurities(path)
    assert rule in line


@pytest.mark.parametrize("source", ["x = 1 in {1, 2}", "for x in sorted({1}): pass", "x = {1}", "self.id()"])
def test_the_rules_let_pass_what_is_harmless(tmp_path: Path, source: str) -> None:
    path = tmp_path / "sample.py"
    path.write_text(source)
    assert list(impurities(path)) == []


def test_only_the_command_line_prints() -> None:
    broken = [
        f"{path}:{node.lineno}: use a Note or the log; only agent/cli prints"
        for path in sources("agent") + sources("adapters")
        if not inside(module(path), "agent.cli")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    fail_if(broken)


# Packaging


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {module(path) for folder in ("agent", "adapters") for path in sources(folder) if path.stem == "__init__"}
    assert set(listed) == found, "list new packages under [tool.setuptools] packages"
