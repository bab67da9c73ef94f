"""What a task sequence runs into: a folder, or the file of a raw disk image. This module says what is asked of both.

Mounted places and files that are no disk are refused, block devices too unless the caller has chosen one and holds it
(stand-alone media do); and so is whatever holds something, unless this run made it or ``--erase`` allows it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from courier.deployment.run.facts import TargetFacts
from courier.deployment.sequence import PartitionStep
from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from formats.disk.gpt import SECTOR, has_boot_mark

LOOKED_AT = 1 << 20
"""Bytes at the begin and the end of a file that are looked at: a disk with data has some there."""


class Target(Protocol):
    """What steps do to the target. Each of these can be done again from its beginning after it was cut."""

    @property
    def root(self) -> Path:
        """The folder in which programs of the sequence find the partitions by label, or the folder itself."""

    def facts(self) -> TargetFacts:
        """What it is now."""

    def is_as_left(self) -> bool:
        """Whether the partitions are there that steps have made or written, so that a run that was cut may go on."""

    def erase(self, step: PartitionStep) -> None:
        """Erase all, and make the partitions of ``step``."""

    def folder(self, label: str) -> Path:
        """The folder in which files are put for a partition; ``label`` may be empty in a folder."""

    def reading(self, label: str) -> AbstractContextManager[Path]:
        """A folder with all files that a partition has, to be read only."""

    def apply_wim(self, label: str, wim: Path, index: int, *, step: int) -> None:
        """Put image ``index`` of a WIM onto a partition."""

    def write_raw(self, label: str, size: int, pieces: Iterable[bytes | memoryview]) -> None:
        """Write a raw image of ``size`` bytes onto a partition; with an empty ``label`` onto the whole disk."""

    def finish(self) -> None:
        """All steps are done: complete the target."""


def check_place(into: Path, work: Path, *, device: bool = False) -> bool:
    """Whether ``into`` is a disk image (a file) or a folder; a folder need not exist. Raises for what is neither.

    ``device``: a block device is a disk too; whoever allows it has made sure that it is the right one, and holds it
    open so that nobody else uses it. Raises `RefusedError` for a block device otherwise, and for a mounted place,
    `UsageError`, `NotFoundError`.
    """
    into, work = into.absolute(), work.absolute()
    if work == into or into in work.parents or work in into.parents:
        raise UsageError(f"the work folder {work} and {into} are not apart", hint="name another one with --work DIR")
    try:
        mode = into.stat().st_mode
    except FileNotFoundError:
        if not into.parent.is_dir():
            raise NotFoundError(f"{into.parent} is not there", hint="connect its disk, or make that folder") from None
        if into.suffix:
            raise NotFoundError(
                f"{into} is not there",
                hint=f"for a disk image, make it first: truncate -s 64G {into}; for a folder: mkdir {into}",
            ) from None
        return False
    if into.is_symlink():
        raise UsageError(f"{into} is a link", hint=f"name what it leads to: {into.resolve()}")
    if device and stat.S_ISBLK(mode):
        return True
    if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
        raise RefusedError(
            f"{into} is a device; this client writes folders and disk images only",
            hint="deploy into a disk image, then copy it: dd if=disk.img of=DEVICE bs=4M conv=fsync",
            code=Code.SPECIAL_FILE,
        )
    if into.is_mount():
        raise RefusedError(f"a disk is mounted at {into}", hint=f"name a new folder on it: {into / 'NAME'}")
    if stat.S_ISDIR(mode):
        return False
    if not stat.S_ISREG(mode):
        raise RefusedError(f"{into} is no folder and no file", hint="name another", code=Code.SPECIAL_FILE)
    _check_disk(into)
    return True


def _check_disk(path: Path) -> None:
    size = path.stat().st_size
    if size < 1 << 20 or size % SECTOR:
        raise UsageError(
            f"{path} has {size:,} bytes, which is no disk", hint=f"give it the size of a disk: truncate -s 64G {path}"
        )
    if not is_blank(path):
        with path.open("rb") as disk:
            if not has_boot_mark(disk.read(SECTOR)):
                raise RefusedError(
                    f"{path} holds something that is no disk", hint="name a disk image, or a new file", code=Code.USAGE
                )


def target_mark(path: Path) -> str:
    """What may tell a file or folder from another one that gets its name later; empty where there is none.

    Some file systems number a file anew when they are mounted, so a difference is a reason to look, no more. A device
    has none: whoever allows it holds it meanwhile.
    """
    try:
        info = path.stat()
    except FileNotFoundError:
        return ""
    return "" if stat.S_ISBLK(info.st_mode) else f"file {info.st_ino}"


def disk_size(path: Path) -> int:
    """Bytes of a disk image or block device; the system says 0 of a device where a file has its size."""
    with path.open("rb") as disk:
        return disk.seek(0, os.SEEK_END)


def is_blank(path: Path) -> bool:
    """Whether a disk image has zeros alone at its begin and end."""
    size = disk_size(path)
    with path.open("rb") as disk:
        head = disk.read(LOOKED_AT)
        disk.seek(max(0, size - LOOKED_AT))
        return not any(head) and not any(disk.read())


def check_erasable(facts: TargetFacts, into: Path, *, erases: bool, allowed: bool) -> None:
    """Raise `RefusedError` where a sequence would erase what is there, and ``--erase`` was not given."""
    if erases and not facts.empty and not allowed:
        raise RefusedError(
            f"{into} holds something, and the task sequence erases it or writes an image over it",
            hint="name an empty folder or disk image; or, to lose what is there: --erase",
            code=Code.TARGET_EXISTS,
        )


def folder_is_empty(folder: Path) -> bool:
    """Whether a folder is not there, or has nothing in it."""
    return not folder.exists() or not any(os.scandir(folder))
