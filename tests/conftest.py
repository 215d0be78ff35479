"""What every test may use: the option that writes transcripts anew, and how examples are drawn."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `agent` does, should a test import numpy first

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # so that tests find their kits however pytest is started

from tests.faults import striking  # noqa: E402 — needs the path above
from tests.faults.striking import struck  # noqa: E402

__all__ = ["struck"]

# The gate draws the same examples every time; HYPOTHESIS_PROFILE=search looks for new ones. Nothing is timed.
settings.register_profile("gate", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite", action="store_true", help="write transcripts anew; commit only what you understand the cause of"
    )
    parser.addoption("--fault-table", type=Path, help="write which test injected which fault to this file, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    striking.configure(config)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    striking.check(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    striking.record(item, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (path := session.config.getoption("--fault-table")) is not None:
        striking.write(session.config, path)
