"""The command line inside this process, for commands that end by themselves at once."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

from agent.cli import main


def said(*words: str) -> tuple[int, str, str]:
    """A command's exit code, and what it wrote as output and as errors, on one line and without boxes."""
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        patch.setattr(sys, "argv", ["trimtab", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    assert isinstance(ended.value.code, int)
    return ended.value.code, output.getvalue(), " ".join(errors.getvalue().replace("│", "").split())
