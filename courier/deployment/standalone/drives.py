"""The drives of a Linux computer as the kernel lists them, and which disk a deployment may go to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.errors import NotFoundError, RefusedError, UsageError
from courier.text import one_line, size_text

_SECTOR = 512  # the kernel counts in these, whatever the drive has
_NO_DRIVE = re.compile(r"(loop|ram|zram|dm-|md|nbd|fd)\d*")
_OPTICAL = re.compile(r"sr\d+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Drive:
    """A drive: its device, its size in bytes, what it says it is, and whether people take it, or its medium, out.

    ``writable``: it can be a disk that is deployed to; no optical drive is.
    """

    device: Path
    size: int
    model: str
    removable: bool
    writable: bool

    @property
    def text(self) -> str:
        """The drive for people."""
        return f"{self.device} ({self.model or 'no name'}, {size_text(self.size)})"


def list_drives(system: Path = Path("/sys/block"), devices: Path = Path("/dev")) -> list[Drive]:
    """All drives of this computer by name, with a medium or without; ``system`` and ``devices`` are for tests."""
    found = []
    for folder in sorted(system.iterdir()) if system.is_dir() else []:
        if not _NO_DRIVE.fullmatch(folder.name):
            found.append(_drive(folder, devices))
    return found


def _drive(folder: Path, devices: Path) -> Drive:
    optical = _OPTICAL.fullmatch(folder.name) is not None
    # A disk behind USB is taken out as a stick is, though many say that they are not removable.
    by_usb = "/usb" in str(folder.resolve())
    size = int(_text(folder / "size") or "0") * _SECTOR
    return Drive(
        device=devices / folder.name.replace("!", "/"),
        size=size,
        model=one_line(_text(folder / "device" / "model"))[:60],
        removable=optical or by_usb or _text(folder / "removable") == "1",
        writable=not optical and _text(folder / "ro") != "1" and size > 0,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def choose_disk(drives: Sequence[Drive], *, media: Sequence[Path], named: str = "") -> Drive:
    """The disk to deploy to: the one that was named, else the only one that is fixed in the computer. Pure.

    ``media``: devices with discs of the set, which are never chosen. A removable disk is chosen only when it is named.
    Raises `UsageError` where there are several, `NotFoundError` where there is none, `RefusedError` for one that cannot
    be.
    """
    if named:
        wanted = next((one for one in drives if str(one.device) in (named, f"/dev/{named}")), None)
        if wanted is None:
            raise NotFoundError(f"there is no disk called {named}", hint=_listing(drives))
        if wanted.device in media:
            raise RefusedError(f"{wanted.text} holds the set that is deployed from", hint="name another disk")
        if not wanted.writable:
            raise RefusedError(f"{wanted.text} cannot be written", hint="name another disk")
        return wanted
    fixed = [one for one in drives if one.writable and not one.removable and one.device not in media]
    if not fixed:
        raise NotFoundError(
            "this computer has no fixed disk that can be written",
            hint=f"a removable one is never chosen by itself: name it. {_listing(drives)}",
        )
    if len(fixed) > 1:
        raise UsageError(f"this computer has {len(fixed)} fixed disks", hint=f"name one of them. {_listing(fixed)}")
    return fixed[0]


def _listing(drives: Sequence[Drive]) -> str:
    return f"There are: {', '.join(one.text for one in drives if one.writable) or 'none'}"
