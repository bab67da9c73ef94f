"""A program that runs another one no longer than whoever started it.

    python -m courier.cli.demo_guard USER PROGRAM...

``USER``: whose process that is; empty: of the same user. It goes on until its standard input ends, which it does too
when the process at the other end is killed. Start it in a session of its own, where no signal of a terminal gets.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

_PATIENCE = 10
"""Seconds that the program has to end by itself, asked as by Ctrl-C."""


def as_user(name: str) -> dict[str, Any]:
    """What `subprocess` is told so that a process is another user's; nothing without a name."""
    return {"user": name, "group": name, "extra_groups": []} if name else {}


def main() -> None:
    """Run the program that the arguments name."""
    user, command = sys.argv[1], sys.argv[2:]
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **as_user(user))
    threading.Thread(target=lambda: os._exit(program.wait()), daemon=True).start()
    while os.read(0, 100):
        pass
    for number in (signal.SIGINT, signal.SIGKILL):
        os.killpg(program.pid, number)
        try:
            program.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            continue
        return


if __name__ == "__main__":
    main()
