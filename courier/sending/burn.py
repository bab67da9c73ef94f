"""Burning the image of a volume to a disc with the system's own program, and reading the disc back.

Only the programs know drives; what is judged here is what can be read afterwards. A drive is named as xorriso names it:
``/dev/sr0``, or ``stdio:FILE`` for a file in place of a drive.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import RawIOBase
from pathlib import Path

from courier.error_codes import Code
from courier.errors import DamagedError, NotFoundError, UsageError
from courier.parcel.transitions import log_entry
from courier.progress import SILENT, Progress
from courier.sending.write import WrittenVolume
from courier.site.catalog import parcels
from courier.site.home import Site

_FILE = "stdio:"
_PIECE = 4 << 20
EXAMPLE = "/dev/sr0"
"""The drive of commands that are only printed."""


def burn_command(image: Path, drive: str, *, system: str = sys.platform) -> list[str]:
    """The command that burns an image with what a system has: xorriso or growisofs, or its own program.

    ``system`` as `sys.platform`. Where neither xorriso nor growisofs is installed it is that of xorriso.
    """
    if system == "win32":
        return ["isoburn.exe", "/Q", "D:" if drive == EXAMPLE else drive, str(image)]
    if system == "darwin":
        return ["hdiutil", "burn", str(image)]
    if not drive.startswith(_FILE) and shutil.which("xorriso") is None and shutil.which("growisofs") is not None:
        return ["growisofs", "-dvd-compat", "-Z", f"{drive}={image}"]
    return ["xorriso", "-as", "cdrecord", "-v", f"dev={drive}", "blank=as_needed", "padsize=300k", str(image)]


def burn_words(image: Path, *, system: str = sys.platform) -> str:
    """The command that burns an image, as a person types it."""
    command = burn_command(image, EXAMPLE, system=system)
    return subprocess.list2cmdline(command) if system == "win32" else shlex.join(command)


def check_burning(drive: str, images: int, *, attended: bool, system: str = sys.platform) -> None:
    """Raise `UsageError` or `NotFoundError` where discs cannot be burnt here, before anything is written.

    ``images``: how many. ``attended``: whether somebody is there who changes discs.
    """
    if system in ("win32", "darwin"):
        raise UsageError(
            "--burn runs xorriso or growisofs, which are for Linux and BSD",
            hint="leave it out: courier prints the command of this system; then courier parcel verify on the disc",
        )
    path = drive_path(drive)
    if not drive.startswith(_FILE) and not path.exists():
        raise NotFoundError(f"{drive}: no such drive", hint="check that it is connected; its name is like /dev/sr0")
    if shutil.which("xorriso") is None and (drive.startswith(_FILE) or shutil.which("growisofs") is None):
        raise NotFoundError(
            "neither xorriso nor growisofs is installed" if not drive.startswith(_FILE) else "xorriso is not installed",
            hint="install xorriso (Debian: apt-get install xorriso)",
            code=Code.BURN_FAILED,
        )
    if images > 1 and not attended:
        raise UsageError(
            f"{images} discs in one drive, and nobody at the terminal to change them",
            hint="burn one after the other: --volume 1, then --volume 2, and so on",
        )


def drive_path(drive: str) -> Path:
    """The device or file that a drive is read at."""
    return Path(drive.removeprefix(_FILE))


def burn(site: Site, parcel: str, volume: WrittenVolume, drive: str, *, progress: Progress = SILENT) -> None:
    """Burn the image of a volume, read the disc back, and note it in the log of the parcel.

    Raises `DamagedError` where the program fails, or the disc does not hold the image.
    """
    _run(burn_command(volume.path, drive))
    progress.begin(f"Reading the disc of volume {volume.number} back", volume.path.stat().st_size)
    compare(volume.path, drive_path(drive), progress)
    text = f"volume {volume.number} of {volume.of} burnt in {drive}, read back"
    with site.catalogue.writing() as connection:
        parcels.write_log(connection, log_entry(site, parcel, "burnt", text))


def compare(image: Path, disc: Path, progress: Callable[[int], None]) -> None:
    """Raise `DamagedError` unless a disc begins with every byte of an image."""
    at = 0
    with image.open("rb") as wanted, disc.open("rb", buffering=0) as found:
        while piece := wanted.read(_PIECE):
            if _read(found, len(piece)) != piece:
                raise DamagedError(
                    f"{disc} does not hold {image.name}: another byte between {at:,} and {at + len(piece):,}",
                    hint="the disc or the drive is bad: burn it again on another disc",
                    code=Code.READ_BACK,
                )
            at += len(piece)
            progress(len(piece))


def _read(found: RawIOBase, count: int) -> bytes:
    """Bytes of an unbuffered file, fewer only at its end."""
    pieces = bytearray()
    while len(pieces) < count:
        piece = found.read(count - len(pieces))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise DamagedError(
            f"{command[0]} cannot be run: {error.strerror}",
            hint=f"try it: {shlex.join(command)}",
            code=Code.BURN_FAILED,
        ) from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        reason = next(
            (line for line in said if "FAILURE" in line or "FATAL" in line or ":-(" in line), said[-1] if said else ""
        )
        raise DamagedError(
            f"{command[0]} ended with {done.returncode}: {reason.strip()[:300]}",
            hint=f"is a blank disc in the drive? The command was: {shlex.join(command)}",
            code=Code.BURN_FAILED,
        )
