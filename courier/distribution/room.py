"""Room on the disks of a point: its reserve, and reservations, so that commands side by side do not promise it twice.

A reservation is a file in the site's home whose lock file its command holds; the system drops the lock when the command
ends, however it ends, and the next command deletes what was left. Other programs, other computers, and other sites that
write to the same disk, do not ask: a disk that fills up all the same ends a command with exit code 5, and the same
command goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from courier.errors import BusyError, UsageError
from courier.files import locked, make_folder, write_atomic
from courier.media.kinds import parse_size
from courier.site.home import Site
from courier.site.this_computer import COMPUTER

WAIT_SECONDS = 20.0
"""How long a command waits for the moment in which others look what is reserved."""
TELL_AGAIN = 256 << 20
"""Bytes written after which a reservation is made smaller: they are not free any more."""


def check_reserve(text: str) -> str:
    """A reserve as it is kept: ``10%``, or a number of bytes for a size such as ``20GB``. Raises `UsageError`."""
    if match := re.fullmatch(r"([0-9]{1,2})\s*%", text.strip()):
        return f"{int(match[1])}%"
    if "%" in text:
        raise UsageError(f"--reserve {text}: not a part of a disk", hint="give 0% to 99%, or a size such as 20GB")
    return str(parse_size(text))


class Reservation:
    """Bytes on disks (by device number) that a running command is going to write."""

    def __init__(self, path: Path, wanted: Mapping[int, int]) -> None:
        self._path = path
        self._left = Counter(wanted)
        self._told = 0
        self._tell()

    def written(self, device: int, count: int) -> None:
        """Record that so many of the bytes are on the disk now."""
        self._left[device] -= min(count, self._left[device])
        self._told += count
        if self._told >= TELL_AGAIN:
            self._tell()

    def _tell(self) -> None:
        self._told = 0
        write_atomic(self._path, json.dumps({str(device): count for device, count in self._left.items()}).encode())


@contextlib.contextmanager
def reserving(site: Site, plan: Callable[[Mapping[int, int]], Mapping[int, int]]) -> Iterator[Reservation]:
    """Reserve bytes while the block runs. ``plan`` takes the bytes that other commands reserved on each disk.

    It returns the bytes wanted on each, or raises `NoSpaceError`.
    """
    # By computer: its disks have numbers of their own, and a lock file tells of its own commands only.
    folder = make_folder(site.home / "locks" / "room" / COMPUTER)
    name = f"{os.getpid()}-{time.monotonic_ns():x}"
    with locked(folder / f"{name}.lock"):
        try:
            with _turn(folder):
                held = Reservation(folder / f"{name}.json", plan(_reserved_by_others(folder, name)))
            yield held
        finally:
            for ending in ("json", "lock"):
                with contextlib.suppress(OSError):
                    (folder / f"{name}.{ending}").unlink()


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    until = time.monotonic() + WAIT_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder / "turn"))
                break
            except BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        yield


def _reserved_by_others(folder: Path, own: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for path in folder.glob("*.json"):
        if path.stem == own:
            continue
        try:
            with locked(path.with_suffix(".lock")):
                # Nobody holds it: its command has ended, or was killed.
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
        except BusyError:
            with contextlib.suppress(FileNotFoundError):
                found.update({int(device): count for device, count in json.loads(path.read_bytes()).items()})
    return found
