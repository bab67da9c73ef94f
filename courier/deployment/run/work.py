"""The work folder of a run: its lock, its log, and what is put there until the disk is complete.

It must lie outside of what is deployed to. It is for this user alone: trees of partitions and logs are in it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from courier.errors import BusyError, UsageError
from courier.files import make_folder, remove_tree, sweep
from courier.niceties import take_lock
from formats.records import format_time

LOG, LOCK, JOURNAL, POLICY, BUILT = "log.txt", "deploy-run.lock", "journal", "policy", "built"
"""What is in a work folder. The lock marks a folder as one; all that goes in the end is in the folder `BUILT`."""
MAX_LOG = 4 << 20
"""Bytes of a log; the one before it is kept as ``log.txt.1``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A work folder whose lock is held. ``held``: descriptors that a program is given, so that it holds the lock."""

    folder: Path
    held: tuple[int, ...] = field(default=())

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.folder / JOURNAL

    @property
    def log_file(self) -> Path:
        """What programs printed."""
        return self.folder / LOG

    @property
    def built(self) -> Path:
        """The folder of what is kept until the sequence ends."""
        return make_folder(self.folder / BUILT)

    def place(self, name: str) -> Path:
        """The path of what a part of the client keeps until the sequence ends."""
        return self.built / name

    def log(self, text: str) -> None:
        """Add a text to the log. The older half goes where it gets too long."""
        data = text.encode("utf-8", "replace")
        path = self.log_file
        if path.exists() and path.stat().st_size + len(data) > MAX_LOG:
            path.replace(path.with_name(f"{LOG}.1"))
        with path.open("ab") as out:
            out.write(f"[{format_time(time.time_ns())}] ".encode() + data.rstrip() + b"\n")

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A path for what is needed in the block alone; what an earlier run left there is removed before it."""
        path = make_folder(self.place("scratch")) / name
        remove_tree(path)
        try:
            yield path
        finally:
            remove_tree(path)

    def tidy(self) -> None:
        """Remove what was kept until the end. The journal and the log stay, and a policy made at the site's home."""
        remove_tree(self.folder / BUILT)


@contextlib.contextmanager
def work_folder(folder: Path) -> Iterator[Work]:
    """The work folder at ``folder``, made where there is none, while no other run uses it.

    Raises `BusyError` while another run does, or a program that one has started, and `UsageError` for a folder that
    holds something else.
    """
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700)
    elif not (folder / LOCK).exists() and any(os.scandir(folder)):
        raise UsageError(f"{folder} holds other files", hint="name a new folder with --work DIR")
    with (folder / LOCK).open("a+b") as lock:
        if not take_lock(lock.fileno()):
            raise BusyError(
                f"another run is at work in {folder}, or a program that it started",
                hint="wait for it to end, then give the same command again",
            )
        sweep(folder)
        yield Work(folder=folder, held=(lock.fileno(),))
