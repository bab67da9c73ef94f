"""The reels of one volume: a person changes them in a tape drive, or each is mirrored by a folder.

A reel is identified by its volume label: the parcel volume, the set of reels, its number in the set. The order in which
reels are given never decides which is read as which, or which is written over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from courier.errors import UsageError
from courier.media.tape_device import DeviceDrive, is_tape_device
from courier.media.tape_folder import FolderDrive
from formats.errors import FormatError, MalformedError, UnreadableError
from formats.tape import Drive, EndOfTapeError, VolumeLabel, read_volume_label, reel_id

Ask = Callable[[str], bool]
"""Asks a person to do something, and returns whether it was done (`Console.change_media`).

With an empty text it asks nothing and returns whether a person is there to be asked.
"""


def nobody(_: str) -> bool:
    """Answer as an `Ask` where no person is at the terminal."""
    return False


@contextmanager
def open_tape(path: Path, *, writing: bool = False) -> Iterator[Drive]:
    """Open a tape device, or a folder that mirrors a tape, as a drive; the tape is not rewound.

    Raises `UsageError` where this system has no tape devices, `OSError` when the device does not open (no tape in it,
    no permission).
    """
    if is_tape_device(path):
        with DeviceDrive(path, writing=writing) as device:
            yield device
    else:
        with FolderDrive(path, writing=writing) as folder:
            yield folder


def describe(label: VolumeLabel) -> str:
    """Name a reel for people."""
    return f"reel {label.reel} of volume {label.label}"


def ask_for_blank(device: Path, ask: Ask, *, label: str, number: int) -> None:
    """Have a person put a blank tape into the drive, which must be closed, to become reel ``number`` of a volume.

    Asks again until the tape may be written on (see `what_is_on`). Raises `UsageError` when the person has gone.
    """
    request = (
        f"The tape is near its end. Put a blank one into {device}, reel {number} of volume {label} "
        f"(its label: {reel_id(label, number)})"
    )
    _ask_until(device, ask, request, lambda: what_is_on(device, label=label, number=number))


def what_is_on(device: Path, *, label: str, number: int) -> str:
    """Describe what is on the tape in a drive and must not be written over; empty if it may be.

    It may be if the tape is blank, or an earlier attempt at this very reel, but not if it is another reel of the same
    volume, which may have been written a moment ago. Raises `OSError`.
    """
    try:
        with open_tape(device) as drive:
            there = read_volume_label(drive)
    except EndOfTapeError:
        return ""
    except FormatError as error:
        return f"something else ({error.message})"
    return "" if (there.label, there.reel) == (label, number) else describe(there)


def ask_for_reel(device: Path, ask: Ask, *, label: str, number: int, set_id: str = "", why: str = "") -> None:
    """Have a person put reel ``number`` of a volume into the drive, which must be closed, to be read.

    If it is another tape, the request says which, and is repeated. A tape whose label cannot be read is accepted when
    the person leaves it in at the second request. ``label`` and ``set_id`` are empty where they are not known; ``why``
    begins the request. Raises `UsageError` when the person has gone.
    """
    unreadable_once = False

    def wrong_tape() -> str:
        nonlocal unreadable_once
        try:
            with open_tape(device) as drive:
                there = read_volume_label(drive)
        except EndOfTapeError:
            return "a blank tape"
        except (MalformedError, UnreadableError):
            if unreadable_once:
                return ""
            unreadable_once = True
            return "a tape whose label cannot be read (if it is the right one, leave it in)"
        except FormatError as error:
            return f"something else ({error.message})"
        wanted = (label or there.label, number, set_id or there.set_id)
        if (there.label, there.reel, there.set_id) == wanted:
            return ""
        other = " of another set" if (there.label, there.reel) == wanted[:2] else ""
        return f"{describe(there)}{other}"

    _ask_until(device, ask, f"{why}Put reel {number} of volume {label or '?'} into {device}", wrong_tape)


def _ask_until(device: Path, ask: Ask, request: str, wrong_tape: Callable[[], str]) -> None:
    """Make a request until ``wrong_tape``, which describes a tape that will not do, has nothing to say."""
    found = ""
    while ask(f"{device} holds {found}. {request}" if found else request):
        try:
            found = wrong_tape()
        except OSError as error:
            found = f"no usable tape ({error.strerror or error})"
        if not found:
            return
    raise UsageError(
        f"nobody is at the terminal to change the tape in {device}", hint="run the same command again, at a terminal"
    )


def group_reels(folders: Sequence[Path]) -> list[list[Path]]:
    """Group tape folders into runs of consecutive reels of one volume, each in the order of its reels.

    Folders are identified by their labels, not their names. A folder whose label cannot be read is a run of its own,
    and so is a second copy of a reel. The volumes come in the order in which a folder of each was first given.
    """
    sets: dict[object, dict[int, Path]] = {}
    for at, folder in enumerate(folders):
        label = label_of(folder)
        if label is None:
            sets[at] = {1: folder}
            continue
        copy = 0
        while label.reel in sets.setdefault((label.set_id, label.label, label.created_ns, copy), {}):
            copy += 1
        sets[label.set_id, label.label, label.created_ns, copy][label.reel] = folder
    found: list[list[Path]] = []
    for reels in sets.values():
        for number in sorted(reels):
            if number - 1 in reels:
                found[-1].append(reels[number])
            else:
                found.append([reels[number]])
    return found


def label_of(folder: Path) -> VolumeLabel | None:
    """Return the label of the reel that a folder mirrors; None where it cannot be read."""
    try:
        with open_tape(folder) as drive:
            return read_volume_label(drive)
    except (FormatError, OSError):
        return None


def missing_reels(first: int, last: int, *, before: bool, after: bool) -> str:
    """Name, for people, the reels ``before`` or ``after`` those that were given, which are ``first`` to ``last``."""
    earlier = ("reel 1" if first == 2 else f"reels 1 to {first - 1}") if before and first > 1 else ""
    return " and ".join(filter(None, (earlier, f"reel {last + 1}" if after else "")))
