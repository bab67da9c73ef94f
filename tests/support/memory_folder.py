"""A folder in memory for the temporary files of a whole run of the tests."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

PLACE = Path("/dev/shm")
NAME = "courier-"
NEEDED = 8 << 30
"""Bytes that have to be free, in the folder and in the machine: several times what the tests hold at once."""


def memory_folder() -> Path | None:
    """A new folder in memory that behaves as one on a disk does; None where the system has no such place."""
    if not PLACE.is_dir() or min(shutil.disk_usage(PLACE).free, _free_memory()) < NEEDED:
        return None
    if os.statvfs(PLACE).f_flag & os.ST_NOEXEC:
        return None
    _remove_left()
    # A short name: some tests need almost all of the length that a path may have.
    folder = PLACE / f"{NAME}{os.getpid()}"
    try:
        folder.mkdir()
    except FileExistsError:
        return None
    try:
        os.setxattr(folder, "user.courier", b"1")
        os.removexattr(folder, "user.courier")
    except OSError:
        folder.rmdir()
        return None
    # Some tests run programs as an ordinary user.
    folder.chmod(0o755)
    return folder


def _remove_left() -> None:
    """Remove the folders of runs that have ended: what a killed one left, and what was kept of failed tests."""
    for folder in PLACE.glob(f"{NAME}*"):
        process = folder.name.removeprefix(NAME)
        # Another run may be removing the same one.
        with contextlib.suppress(FileNotFoundError):
            if process.isdigit() and folder.stat().st_uid == os.getuid() and not Path("/proc", process).exists():
                shutil.rmtree(folder, ignore_errors=True)


def _free_memory() -> int:
    """Bytes of memory that programs can still have, as Linux estimates it; 0 where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
