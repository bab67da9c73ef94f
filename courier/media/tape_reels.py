"""The reels of one volume: a person changes them in a tape drive, or folders that mirror them lie side by side.

A reel is known by its volume label: the parcel volume, the set, its number. Nothing is taken or written over by order
of arrival alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from courier.errors import UsageError
from courier.media.tape_drive import open_tape
from formats.errors import FormatError, MalformedError, UnreadableError
from formats.tape import EndOfTapeError, VolumeLabel, read_volume_label, reel_id

Ask = Callable[[str], bool]
"""Has a person do what it says; with nothing to say, only whether there is a person (`Console.change_media`)."""


def nobody(_: str) -> bool:
    """The `Ask` of a script: nobody is there."""
    return False


def describe(label: VolumeLabel) -> str:
    """A reel, for people."""
    return f"reel {label.reel} of volume {label.label}"


def ask_for_blank(device: Path, ask: Ask, *, label: str, number: int) -> None:
    """Have a person put a tape to be written into the drive, which must be closed, for reel ``number`` of a volume.

    Asks again until the tape may be written over (`what_bars`). Raises `UsageError` when the person has gone.
    """
    request = (
        f"The tape is near its end. Put a blank one into {device}, reel {number} of volume {label} "
        f"(its label: {reel_id(label, number)})"
    )
    _ask_until(device, ask, request, lambda: what_bars(device, label=label, number=number))


def what_bars(device: Path, *, label: str, number: int) -> str:
    """What is on the tape in a drive that may not be written over; nothing if it is blank, or an earlier try of this
    very reel. Another reel of the same volume may be one that was written just before. Raises `OSError`.
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

    Another tape is named, and the right one asked for again. One whose label cannot be read is taken if the person says
    a second time that it is the one. ``label`` and ``set_id`` are empty where they are not known. Raises `UsageError`
    when the person has gone.
    """
    doubted = False

    def bars() -> str:
        nonlocal doubted
        try:
            with open_tape(device) as drive:
                there = read_volume_label(drive)
        except EndOfTapeError:
            return "a blank tape"
        except (MalformedError, UnreadableError):
            if doubted:
                return ""
            doubted = True
            return "a tape whose label cannot be read (if it is the right one, leave it in)"
        except FormatError as error:
            return f"something else ({error.message})"
        wanted = (label or there.label, number, set_id or there.set_id)
        if (there.label, there.reel, there.set_id) == wanted:
            return ""
        other = " of another set" if (there.label, there.reel) == wanted[:2] else ""
        return f"{describe(there)}{other}"

    _ask_until(device, ask, f"{why}Put reel {number} of volume {label or '?'} into {device}", bars)


def _ask_until(device: Path, ask: Ask, request: str, bars: Callable[[], str]) -> None:
    found = ""
    while ask(f"{device} holds {found}. {request}" if found else request):
        try:
            found = bars()
        except OSError as error:
            found = f"no tape that can be used ({error.strerror or error})"
        if not found:
            return
    raise UsageError(f"nobody is here to change the tape in {device}", hint="run the same command again, at a terminal")


def chains(folders: Sequence[Path]) -> list[list[Path]]:
    """Tape folders put together to the reels of one volume that follow each other, each in the order of its reels.

    Folders are known by their labels, whatever they are called. One whose label cannot be read stands alone, and so
    does a second copy of a reel, or the same given again. The chains come in the order of their first folders.
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
    """Which reel a folder mirrors; None where its label cannot be read."""
    try:
        with open_tape(folder) as drive:
            return read_volume_label(drive)
    except (FormatError, OSError):
        return None


def lacking(first: int, last: int, *, before: bool, after: bool) -> str:
    """The reels ``before`` or ``after`` those that were given, ``first`` to ``last``, for people."""
    earlier = ("reel 1" if first == 2 else f"reels 1 to {first - 1}") if before and first > 1 else ""
    return " and ".join(filter(None, (earlier, f"reel {last + 1}" if after else "")))
