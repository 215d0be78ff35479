"""``python -m tests.faults``: run every test that injects a fault, and print what became of the 98.

Fails where a test fails, and where a fault struck in no test that passed. What follows is handed to pytest.
"""

from __future__ import annotations

import subprocess
import sys

from rich.console import Console

from tests.faults.table import FILE, load, open_faults, table


def main() -> int:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "fault", "--fault-table", str(FILE), *sys.argv[1:]]
    code = subprocess.run(command, check=False).returncode
    found = load()
    out = Console()
    out.print(table(found))
    if missing := open_faults(found):
        out.print(f"not shown to be survived: {', '.join(missing)}", style="red")
    return code or int(bool(missing))


sys.exit(main())
