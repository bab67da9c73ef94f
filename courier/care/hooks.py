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
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from courier.care.notices import Notice
from courier.care.notify import Outcome, Sent, own_group
from courier.text import one_line, size_text
from formats.records import format_time

MOST_SAID = 16_000_000
"""Bytes that a hook may print: they lie on the disk until it ends."""
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PGPASSWORD")
"""Variables by which this program gets at its store and catalogue."""
_TAIL = 4096
_LOOK_SECONDS = 0.2


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


def run_hook(words: Sequence[str], facts: dict[str, str], *, seconds: float, private: Collection[str] = ()) -> Sent:
    """Run the command of a hook. What does not end in time, or prints without end, is ended with all that it started.

    ``private``: variables of the environment with secrets, which it does not get, as it gets none of `SECRETS`.

    A hook that ran is not run again for the same cause, however it ended; one that cannot be started is tried again.
    """
    # Passphrases and PINs for this program, which are variables of such names, are not for others.
    withheld = {*SECRETS, *private}
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("COURIER_") and key not in withheld
    }
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
        if why := _wait(process, json.dumps(facts).encode() + b"\n", said, seconds):
            _end(process)
            return Sent(outcome=Outcome.UNKNOWN, reason=f"{why}, and was ended")
        if process.returncode == 0:
            return Sent(outcome=Outcome.SENT)
        return Sent(outcome=Outcome.UNKNOWN, reason=f"it ended with code {process.returncode}{_last_line(said)}")


def _wait(process: subprocess.Popen[bytes], facts: bytes, said: Any, seconds: float) -> str:
    """Give a hook its facts and wait for its end; return why it has to be ended, or an empty text."""
    end = time.monotonic() + seconds
    left: bytes | None = facts
    while (rest := end - time.monotonic()) > 0:
        try:
            process.communicate(left, timeout=min(rest, _LOOK_SECONDS))
            return ""
        except subprocess.TimeoutExpired:
            left = None  # it goes on with what it was given before
        if os.fstat(said.fileno()).st_size > MOST_SAID:
            return f"it printed more than {size_text(MOST_SAID)}"
    return f"it did not end within {seconds:g} s"


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
