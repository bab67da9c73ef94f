"""Finding volumes: at the paths that were given, in folders of volumes, and in images that hold volumes.

What is no volume but might be one by its name or its first bytes (a foreign disc image, a compressed or raw one, a
folder that this user may not look into) is told: in a note where volumes lie beside it, else as the error.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from courier.error_codes import Code
from courier.errors import CourierError, NotFoundError, RefusedError, UsageError
from courier.files import TEMP, explain_os, path_text
from courier.media.reading import FolderMedium, IsoMedium, Medium, TapeMedium
from courier.media.tape_device import is_tape_device
from courier.media.tape_folder import is_tape_folder
from courier.media.tape_reels import Ask, group_reels, nobody
from courier.media.true_names import MARKS, volumes_among, written_as
from courier.media.volume_files import FOLDERS
from formats.errors import FormatError

Note = Callable[[str], None]
"""Is told what lies beside the volumes and is none, in a sentence for people."""
DEPTH = 2
"""Folders that are gone down from the one that was given, or from the top of an image, to find volumes."""
_REFUSED = (errno.EACCES, errno.EPERM)
_PASSED_OVER = (*_REFUSED, errno.ENOENT, errno.ELOOP)
"""Errors of things in a folder that are no concern of ours: what we may not look into, and links that lead nowhere."""
OF_THE_SYSTEM = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
"""Folders that systems make on drives, for themselves."""
_IMAGES = {".iso", ".img", ".bin"}
"""Endings of the names of disc images."""
_UNFINISHED = {".part", ".partial", ".tmp", ".crdownload", ".filepart", ".download"}
"""Endings of the names under which programs keep a file that is not whole yet."""
_LIKE_A_VOLUME = re.compile(r"[A-Z0-9]{3}[-_][0-9]{6}", re.IGNORECASE)
"""Beginning of the names that volumes are written under."""
_PACKED = {
    b"\x1f\x8b": ("is compressed (gzip)", "gzip -dk"),
    b"\xfd7zXZ\0": ("is compressed (xz)", "xz -dk"),
    b"BZh": ("is compressed (bzip2)", "bzip2 -dk"),
    b"\x28\xb5\x2f\xfd": ("is compressed (Zstandard)", "zstd -d"),
    b"PK\x03\x04": ("is a ZIP archive", "unzip"),
    b"7z\xbc\xaf\x27\x1c": ("is a 7z archive", "7z x"),
}
"""First bytes of files that have to be unpacked, what they are, and the command that does it."""
_RAW_SECTOR = b"\0" + b"\xff" * 10 + b"\0"
"""What each sector of 2,352 bytes of a CD begins with (ECMA-130, 14)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Search:
    """What was found at a path: volumes; and errors for what is none that can be read.

    ``noted``: errors for what might be a volume, which are told even where volumes lie beside it.
    """

    media: list[Medium] = field(default_factory=list)
    noted: list[CourierError] = field(default_factory=list)
    others: list[CourierError] = field(default_factory=list)


def is_volume(path: Path) -> bool:
    """Whether a volume is at that very path, as far as names and first bytes tell; False where it cannot be read."""
    try:
        return _medium_at(path) is not None
    except OSError:
        return False


def is_named_like_a_volume(path: Path) -> bool:
    """Whether a file may be a volume by its name: that of a disc image, or one that volumes are written under."""
    suffix = path.suffix.lower()
    return suffix in _IMAGES or (suffix not in _UNFINISHED and _LIKE_A_VOLUME.match(path.name) is not None)


def find_all_media(paths: Sequence[Path], ask: Ask = nobody, note: Note = lambda _: None) -> list[Medium]:
    """Return the volumes at all ``paths`` (see `find_media`); folders of the reels of one volume become one medium.

    ``ask`` has a person change the reels in a tape drive.
    """
    media = [medium for path in paths for medium in find_media(path, note)]
    tapes = [medium.path for medium in media if isinstance(medium, TapeMedium) and not is_tape_device(medium.path)]
    # A volume takes the place of one of its folders. Where reels are missing between, it has several runs of reels, and
    # that of the first reel comes first, because it describes the others.
    runs = iter(group_reels(tapes))
    found: list[Medium] = []
    for medium in media:
        if not isinstance(medium, TapeMedium):
            found.append(medium)
        elif is_tape_device(medium.path):
            found.append(TapeMedium(medium.path, ask=ask))
        elif (reels := next(runs, None)) is not None:
            found.append(TapeMedium(reels[0], further=reels[1:]))
    return found


def find_media(path: Path, note: Note = lambda _: None) -> list[Medium]:
    """Return the volume at ``path``, or each volume in it: in a folder, two folders down at most, or in an image.

    Raises `NotFoundError` where there is nothing, `UsageError` for what is no volume, and `RefusedError` for a folder
    in which nothing was found because this user may not look into it.

    In a folder hidden names, links that lead nowhere and what we may not look into are passed over: operating systems
    leave such things on drives (``lost+found``, ``._NAME`` beside each file). What the drive fails to show is returned
    as a volume, so that reading it reports the failure.
    """
    if not path.exists():
        raise NotFoundError(f"{path} does not exist", hint="check the path, or whether the medium is mounted")
    if path.is_file() and (other := _what_it_is(path)) is not None:
        raise other
    search, medium = _Search(), _medium_at(path)
    if isinstance(medium, IsoMedium):
        with suppress(FormatError, OSError):  # reading it will say what is wrong
            return _in_image(path) or [medium]
    if medium is not None:
        search.media.append(medium)
    if path.is_dir() and not isinstance(medium, TapeMedium):
        _look_into(path, search, depth=1, skip=FOLDERS if medium is not None else ())
    if search.media:
        for error in search.noted:
            note(f"{error.message}; {error.hint}")
        return search.media
    if search.noted or search.others:
        raise (search.noted or search.others)[0]
    raise UsageError(
        f"{path} is not a volume of a parcel, nor a folder of volumes",
        hint="name an ISO image, a mounted disc, a tape or volume folder, or folders of these, two deep at most",
        code=Code.NOT_A_VOLUME,
    )


def _look_into(folder: Path, search: _Search, *, depth: int, skip: Sequence[str] = ()) -> None:
    """Find the volumes in a folder, and in folders of it down to `DEPTH`. Raises `OSError` where it cannot be read."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in OF_THE_SYSTEM or path.name.lower() in skip:
            continue
        try:
            _look_at(path, search, depth=depth)
        except OSError as error:
            _could_not_look(path, error, search)


def _look_at(path: Path, search: _Search, *, depth: int) -> None:
    """Find the volumes at a path in a folder of volumes. Raises `OSError`."""
    if path.is_dir():
        medium = _medium_at(path)
        if medium is not None:
            search.media.append(medium)
        elif depth < DEPTH:
            _look_into(path, search, depth=depth + 1)
    elif depth == 1 or path.suffix.lower() in _IMAGES:
        if (other := _what_it_is(path) if path.is_file() else None) is not None:
            is_like_one = _LIKE_A_VOLUME.match(path.name) or not _IMAGES.isdisjoint(map(str.lower, path.suffixes))
            (search.noted if is_like_one else search.others).append(other)
        elif isinstance(medium := _medium_at(path), IsoMedium):
            _look_into_image(path, search)
        elif medium is not None:
            search.media.append(medium)


def _could_not_look(path: Path, error: OSError, search: _Search) -> None:
    """Note that a path in a folder of volumes could not be looked at: what the drive fails to show may be a volume."""
    if error.errno in _REFUSED and not _LIKE_A_VOLUME.match(path.name):
        search.noted.append(explain_os(error))
    elif error.errno in _REFUSED or error.errno not in _PASSED_OVER:
        is_folder = False
        with suppress(OSError):
            is_folder = path.is_dir()
        search.media.append(FolderMedium(path) if is_folder else IsoMedium(path))


def _look_into_image(path: Path, search: _Search) -> None:
    """Find the volumes in an image that lies in a folder of volumes; one of something else is only noted."""
    try:
        found = _in_image(path)
        is_foreign = not any(name.lower().startswith(("courier/", "data/archives/")) for name in _contained(path))
    except (FormatError, OSError):
        found, is_foreign = [], False
    if found or not is_foreign:
        search.media.extend(found or [IsoMedium(path)])
    else:
        what = f"{path} is an image of something else: it holds no volume of a parcel"
        search.noted.append(RefusedError(what, hint="nothing of it is used", code=Code.NOT_A_VOLUME))


def _contained(path: Path) -> list[str]:
    return IsoMedium(path).contained()


def _in_image(path: Path) -> list[Medium]:
    """The volumes in an image: its top, folders of it, and images in it. Raises as `IsoMedium.contained` does."""
    names = _contained(path)
    folders = [folder for folder in volumes_among(names) if folder.count("/") <= DEPTH]
    found: list[Medium] = [IsoMedium(path, folder=folder) for folder in folders]
    for name in names:
        if name.lower().endswith(".iso") and name.count("/") < DEPTH and not name.startswith("data/"):
            inner = IsoMedium(path, image=name)
            with suppress(FormatError, OSError):
                if "" in volumes_among(inner.contained()):
                    found.append(inner)
    return found


def _medium_at(path: Path) -> Medium | None:
    """Return the volume at a path, told by names and first bytes; None where there is none. Raises `OSError`."""
    if path.name.startswith(TEMP):
        return None
    if path.is_dir():
        if os.name == "posix" and not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        if any((path / written).exists() for mark in MARKS for written in written_as(mark)):
            return FolderMedium(path)
        return TapeMedium(path) if is_tape_folder(path) else None
    if is_tape_device(path):
        return TapeMedium(path)
    mode = path.stat().st_mode
    if stat.S_ISBLK(mode) or (stat.S_ISREG(mode) and _is_iso(path)):
        return IsoMedium(path)
    return None


def _is_iso(path: Path) -> bool:
    if path.suffix.lower() == ".iso":
        return True
    with path.open("rb") as source:
        source.seek(16 * 2048)
        return source.read(6)[1:] == b"CD001"


def _what_it_is(path: Path) -> UsageError | None:
    """The error that says what a file is which holds volumes only in another form; None for any other file."""
    try:
        with path.open("rb") as source:
            first = source.read(len(_RAW_SECTOR))
    except OSError:
        return None  # reading it will say what is wrong
    if first == _RAW_SECTOR:
        return UsageError(
            f"{path} is a raw image of a CD, with sectors of 2,352 bytes",
            hint="make a plain image of it, with sectors of 2,048 bytes: bchunk IMAGE.bin IMAGE.cue NAME; or read the "
            "disc itself",
            code=Code.NOT_A_VOLUME,
        )
    for magic, (what, command) in _PACKED.items():
        if first.startswith(magic):
            hint = f"unpack it, then name what comes out of it: {command} {shlex.quote(path_text(path))}"
            return UsageError(f"{path} {what}", hint=hint, code=Code.NOT_A_VOLUME)
    return None
