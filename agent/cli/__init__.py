"""The command line: reads what was typed, puts the rooms together, prints what came of it.

The only room that may import everything. Exit codes: 0 ok, 1 failure, 2 usage, 75 another instance holds the account,
78 configuration or permission.
"""

from __future__ import annotations

from agent.cli.app import main

__all__ = ["main"]
