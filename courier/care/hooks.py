"""Commands that are run for an event, as the configuration names them: without a shell, and for a limited time.

A hook gets the facts as variables of the environment (``COURIER_EVENT``, ``COURIER_SITE``, ``COURIER_PARCEL``,
``COURIER_WHAT``, ``COURIER_NEXT``, ``COURIER_CAUSE``, ``COURIER_AT``, ``COURIER_HOME``) and as a document of JSON on
stdin. What it prints is not kept but for its last line, where it failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from courier.care.notices import Notice
from courier.care.notify import Outcome, Sent, own_group
from courier.text import one_line
from formats.records import format_time

_TAIL = 4096


def facts_of(site: str, home: Path, one: Notice) -> dict[str, str]:
    """What a hook is told, by the names of the JSON document."""
    return {
        "event": one.event,
        "site": site,
        "parcel": one.parcel,
        "what": one.what,
        "next": one.next,
        "cause": one.cause,
        "at": format_time(one.at_ns),
        "home": str(home),
    }


def run_hook(words: Sequence[str], facts: dict[str, str], *, seconds: float) -> Sent:
    """Run the command of a hook. What does not end in time is ended, with all that it has started.

    A hook that ran is not run again for the same cause, however it ended; one that cannot be started is tried again.
    """
    # Passphrases and PINs for this program, which are variables of such names, are not for others.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COURIER_")}
    environment |= {f"COURIER_{key.upper()}": value for key, value in facts.items()}
    # A file: what a hook leaves running may hold a pipe open for ever.
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                list(words), stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment, **own_group()
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            return Sent(outcome=Outcome.FAILED, reason=f"{words[0]} cannot be started: {why}")
        try:
            process.communicate(json.dumps(facts).encode() + b"\n", timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return Sent(outcome=Outcome.UNKNOWN, reason=f"it did not end within {seconds:g} s, and was ended")
        if process.returncode == 0:
            return Sent(outcome=Outcome.SENT)
        return Sent(outcome=Outcome.UNKNOWN, reason=f"it ended with code {process.returncode}{_last_line(said)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=5)


def _last_line(said: Any) -> str:
    end = said.seek(0, os.SEEK_END)
    said.seek(max(0, end - _TAIL))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return f": {one_line(lines[-1])[:300]}" if lines else ""
