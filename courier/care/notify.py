"""Telling people through a service: mail, chat, or whatever apprise knows.

The address of a service holds a password. It stands in a file that only its owner can read, or in the environment, and
the configuration says where. apprise runs in a process of its own (`courier.care.notify_process`): that can be ended
when a service is slow, and nothing of it stays in a program that runs for months.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.files import private_mode

SECONDS = 60
"""How long a service may take for one message. What takes longer may have gone all the same: it is not sent again."""
MAX_ADDRESS = 4000
MAX_ADDRESSES = 20
MAX_FILE = 64 << 10


class Outcome(StrEnum):
    """What became of a message: it went, it surely did not, or nobody knows."""

    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """The outcome of a message, and why it was not sent."""

    outcome: Outcome
    reason: str = ""


def is_installed() -> bool:
    """Whether the extra that services need is installed."""
    try:
        return importlib.util.find_spec("apprise") is not None
    except (ImportError, ValueError):
        return False


def require_notify() -> None:
    """Raise `NotFoundError` unless the extra that services need is installed."""
    if not is_installed():
        raise NotFoundError(
            "telling a service needs the extra 'notify', which is not installed",
            hint="pip install 'courier-parcels[notify]'",
            code=Code.EXTRA_MISSING,
        )


def variables_of(places: Iterable[str]) -> frozenset[str]:
    """The environment variables that hold addresses, from the places that a configuration names."""
    return frozenset(rest for kind, _, rest in (place.partition(":") for place in places) if kind == "env")


def addresses_of(name: str, place: str) -> list[str]:
    """The addresses of a service, from the place that the configuration names: a line each, ``#`` begins a remark.

    Raises `NotFoundError`, `UsageError`, or `RefusedError` for a file that others can read.
    """
    kind, _, rest = place.partition(":")
    if kind == "env":
        text = os.environ.get(rest, "")
        if not text:
            raise NotFoundError(
                f"notify.{name}: the variable {rest} is not set", hint=f"export {rest}, also for the service manager"
            )
    else:
        text = _private_text(name, Path(rest))
    found = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    if not found:
        raise UsageError(f"notify.{name}: {place} holds no address", hint="a line such as mailto://user:word@host")
    if len(found) > MAX_ADDRESSES or any(len(one) > MAX_ADDRESS for one in found):
        hint = f"{MAX_ADDRESSES} lines of {MAX_ADDRESS:,} characters at most"
        raise UsageError(f"notify.{name}: {place} is too long", hint=hint)
    return found


def _private_text(name: str, path: Path) -> str:
    try:
        if os.name == "posix":
            mode, wanted = stat.S_IMODE(path.stat().st_mode), private_mode(path.parent)
            if mode & 0o777 & ~wanted:
                raise RefusedError(
                    f"notify.{name}: {path} can be read by others (mode {mode:o}), and it holds a password",
                    hint=f"chmod {wanted:o} {path}; if others had access, change the password of the service",
                    code=Code.LAX_KEY_FILE,
                )
        # What is no file, a pipe above all, would be waited for without end.
        with open(path, "rb", opener=_at_once) as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise UsageError(
                    f"notify.{name}: {path} is no file", hint="write the address of the service into a file"
                )
            return source.read(MAX_FILE).decode()
    except FileNotFoundError:
        raise NotFoundError(
            f"notify.{name}: {path} does not exist", hint="write the address of the service into it, and chmod 600 it"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"notify.{name}: {path} is not text in UTF-8", hint="a line for each address") from None


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def masked(address: str) -> str:
    """An address without what could be secret: its scheme, and the host where it names one before a path."""
    scheme, sign, rest = address.partition("://")
    if not sign or not re.fullmatch("[A-Za-z][A-Za-z0-9+.-]{0,30}", scheme):
        return "***"
    # In many services what stands for the host is a token: only what is surely a name or number of a host is shown.
    host = re.match(r"(?:[^/?#]*@)?(?P<host>localhost|[\w-]+(?:\.[\w-]+)+(?::\d+)?)(?=[/?#]|$)", rest)
    return f"{scheme}://{host['host'] if host else '***'}/***"


def send(addresses: list[str], title: str, text: str, *, seconds: float = SECONDS) -> Sent:
    """Have a message sent to all addresses, within ``seconds``. Raises `OSError` where no process can be started."""
    asked = json.dumps({"addresses": addresses, "title": title, "text": text, "seconds": seconds}).encode()
    command = [sys.executable, "-m", "courier.care.notify_process"]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, timeout=seconds, check=False, **own_group())
    except subprocess.TimeoutExpired:
        return Sent(outcome=Outcome.UNKNOWN, reason=f"no answer within {seconds:g} s; not known whether it went")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        return Sent(outcome=Outcome(answer["outcome"]), reason=str(answer["reason"])[:1000])
    except (IndexError, ValueError, KeyError, TypeError):
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [""])[-1][:300]
        reason = f"the process that sends ended with code {done.returncode}: {last}"
        return Sent(outcome=Outcome.UNKNOWN, reason=without_addresses(reason, addresses))


def own_group() -> dict[str, Any]:
    """Arguments that give a process a group of its own, which a Ctrl-C does not reach and which can be ended whole."""
    if os.name == "posix":
        return {"start_new_session": True}
    return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def without_addresses(text: str, addresses: list[str]) -> str:
    """A text in which no address, nor a part of one that could be a secret, is left."""
    for address in addresses:
        for part in sorted({address, *re.split(r"[:/@?&=#]+", address)}, key=len, reverse=True):
            if len(part) >= 4 and part not in ("http", "https", "json", "jsons", "mailto", "mailtos", "localhost"):
                text = text.replace(part, "***")
    return text
