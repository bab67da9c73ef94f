"""Finding volumes and reading them: folders, ISO images and labelled tapes.

All have one interface: `Medium.walk` yields every file of the volume once, documents before the payload, in one pass
that suits a tape. Readers never write to a medium; `courier.media.writing` writes volumes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable

from courier.error_codes import Code
from courier.errors import NotFoundError, UsageError
from courier.files import TEMP, path_text
from courier.media import volume_files as volume
from courier.media.tape_device import is_tape_device
from courier.media.tape_folder import is_tape_folder
from courier.media.tape_reels import Ask, ask_for_reel, group_reels, missing_reels, nobody, open_tape
from formats.errors import FormatError, MalformedError
from formats.iso.reader import IsoReader
from formats.tape import Drive, TapeReader, VolumeLabel

Layout = Literal["folder", "iso", "tape"]
LAYOUTS: tuple[Layout, ...] = ("folder", "iso", "tape")
"""The forms that a volume is written in."""
BLANK = 1 << 20
"""Bytes at the start of a disc that tell a blank one, where all are zero, from a damaged one."""
_PASSED_OVER = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP)
"""Errors of things in a folder that are no concern of ours: what we may not look into, and links that lead nowhere."""


class Medium(Protocol):
    """A volume to read.

    ``name`` is what messages call it, ``layout`` the form it was written in. Making one reads nothing; only `walk` and
    `RandomMedium.files` open the medium, and neither changes anything on it.
    """

    name: str
    layout: Layout

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """Yield (path in the volume, size in bytes, stream) of every file once, in the order of `writing_order`.

        A stream may be read, wholly, partly or not at all, until the next file is asked for; it seeks forward at least.
        A place that cannot be read raises `OSError` or `UnreadableError` from ``read``; after a seek past it reading
        goes on. Each call of `walk` is a new pass from the first file. Raises `OSError` when the medium does not open,
        and errors of `formats.errors` for what is no volume, or one whose directories are destroyed.
        """


@runtime_checkable
class RandomMedium(Medium, Protocol):
    """A volume whose files can be opened in any order: all but tapes."""

    def files(self) -> AbstractContextManager[Callable[[str], BinaryIO]]:
        """Open the medium; the context gives a function that opens a file by its path in the volume.

        Streams seek in both directions, and several may be open at once. The function raises `KeyError` for a path that
        is not there; the medium itself raises as `walk` does.
        """


class FolderMedium:
    """A volume in a plain folder: on a drive, or a disc that is mounted."""

    layout: Layout = "folder"

    def __init__(self, root: Path) -> None:
        self.name = path_text(root)
        self._root = root

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """See `Medium.walk`. Links are not followed, and what is not a regular file is passed over."""
        found = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder) / name
                if path.is_symlink() or not path.is_file():
                    continue
                found.append((path.relative_to(self._root).as_posix(), path))
        for name, path in sorted(found, key=lambda item: volume.writing_order(item[0])):
            with path.open("rb") as stream:
                yield name, os.fstat(stream.fileno()).st_size, stream

    @contextmanager
    def files(self) -> Iterator[Callable[[str], BinaryIO]]:
        """See `RandomMedium.files`."""

        def open_file(name: str) -> BinaryIO:
            path = self._root.joinpath(*name.split("/"))
            if path.is_symlink() or not path.is_file():
                raise KeyError(name)
            return path.open("rb")

        yield open_file


class IsoMedium:
    """A volume in an ISO image, or on a disc in a drive (a block device)."""

    layout: Layout = "iso"

    def __init__(self, path: Path) -> None:
        self.name = path_text(path)
        self._path = path

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """See `Medium.walk`."""
        with self._path.open("rb") as source:
            try:
                reader = IsoReader(source)
            except FormatError as error:
                source.seek(0)
                if not any(source.read(BLANK)):
                    raise MalformedError("it is blank: nothing is recorded on it") from None
                raise type(error)(f"no disc image, or its directories are destroyed ({error})") from None
            for name, size in sorted(reader.files(), key=lambda item: volume.writing_order(item[0])):
                yield name, size, reader.open(name)

    @contextmanager
    def files(self) -> Iterator[Callable[[str], BinaryIO]]:
        """See `RandomMedium.files`."""
        with self._path.open("rb") as source:
            yield IsoReader(source).open


class TapeMedium:
    """A volume on labelled tape: in a drive (a no-rewind device), or in a folder that mirrors each of its reels.

    ``path`` is the device or the folder of the first reel, ``further`` the folders of the reels that follow it. In a
    drive ``ask`` has a person change the reels. Where a next reel is not given, the walk ends with the last one.
    """

    layout: Layout = "tape"

    def __init__(self, path: Path, *, further: Sequence[Path] = (), ask: Ask = nobody) -> None:
        self.name = path_text(path)
        self.path = path
        self.findings: list[str] = []
        """What the last complete `walk` found damaged but could read all the same, one line each."""
        self.first_label: VolumeLabel | None = None
        """The volume label of the first reel, once a walk has read it; None where it is garbled."""
        self._reader: TapeReader | None = None
        self._further = list(further)
        self._ask = ask

    def again(self) -> TapeMedium | None:
        """Return the same reels for a second pass beside one under way; None for a drive, which can be at one place."""
        return None if is_tape_device(self.path) else TapeMedium(self.path, further=self._further)

    def walk(self) -> Generator[tuple[str, int, BinaryIO]]:
        """See `Medium.walk`."""
        further = iter(self._further)
        with ExitStack() as stack:
            drives = [stack.enter_context(open_tape(self.path))]

            def next_reel(number: int) -> Drive | None:
                folder = next(further, None)
                if folder is None and not self._ask(""):
                    return None
                if folder is None:
                    before = reader.volume
                    stack.close()
                    ask_for_reel(
                        self.path,
                        self._ask,
                        label=before.label if before else "",
                        number=number,
                        set_id=before.set_id if before else "",
                        why=f"The volume continues on reel {number}. ",
                    )
                drives.append(stack.enter_context(open_tape(folder or self.path)))
                return drives[-1]

            reader = TapeReader(drives[0], next_reel=next_reel)
            files = reader.walk()
            file = next(files, None)
            self.first_label = reader.volume
            while file is not None:
                yield file
                file = next(files, None)
            self.findings = [*reader.findings, *(text for drive in drives for text in getattr(drive, "findings", ()))]
            self._reader = reader

    @property
    def continues(self) -> bool:
        """Whether the last complete `walk` ended on a reel that is not the last of the volume."""
        return self._reader is not None and self._reader.continues

    def lacking(self, lost: Sequence[tuple[str, int]]) -> str:
        """Name, for people, the reels that hold what is ``lost`` and were not given to the last complete `walk`.

        ``lost`` are places in payload files: (path, offset in bytes). The text is empty if no such reel is missing.
        """
        reader = self._reader
        if reader is None or not lost:
            return ""
        first, unfinished = reader.first_section, reader.unfinished
        places = [(volume.writing_order(path), byte) for path, byte in lost]
        before = first is None or first.is_index or min(places) < (volume.writing_order(first.path), first.offset)
        after = False
        if unfinished is not None and not unfinished.is_index:
            end = unfinished.offset + unfinished.blocks * unfinished.block_size
            after = max(places) >= (volume.writing_order(unfinished.path), end)
        first_reel = self.first_label.reel if self.first_label else 1
        return missing_reels(first_reel, reader.reel, before=before, after=after)


def find_all_media(paths: Sequence[Path], ask: Ask = nobody) -> list[Medium]:
    """Return the volumes at all ``paths`` (see `find_media`); folders of the reels of one volume become one medium.

    ``ask`` has a person change the reels in a tape drive.
    """
    media = [medium for path in paths for medium in find_media(path)]
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


def find_media(path: Path) -> list[Medium]:
    """Return the volume at ``path``, or, for a folder of volumes, each of them. Raises `NotFoundError`, `UsageError`.

    In a folder hidden names, links that lead nowhere and what we may not look into are passed over: operating systems
    leave such things on drives (``lost+found``, ``._NAME`` beside each file). What the drive fails to show is returned
    as a volume, so that reading it reports the failure.
    """
    if not path.exists():
        raise NotFoundError(f"{path} does not exist", hint="check the path, or whether the medium is mounted")
    medium = _medium_at(path)
    if medium is not None:
        return [medium, *_volumes_below(medium, path)]
    if path.is_dir():
        media = [found for child in sorted(path.iterdir()) if (found := _medium_in_folder(child)) is not None]
        if media:
            return media
    raise UsageError(
        f"{path} is not a volume of a parcel, nor a folder of volumes",
        hint="name an ISO image, a mounted disc, a tape or volume folder, or a folder of these",
        code=Code.NOT_A_VOLUME,
    )


def _volumes_below(medium: Medium, path: Path) -> list[Medium]:
    """Return the volumes in folders of a drive whose top folder is a volume too: somebody copied one of them there."""
    if not isinstance(medium, FolderMedium):
        return []
    folders = [child for child in sorted(path.iterdir()) if child.name not in ("data", "courier") and child.is_dir()]
    return [found for child in folders if (found := _medium_in_folder(child)) is not None]


def _medium_in_folder(path: Path) -> Medium | None:
    """Return the volume at a path in a folder of volumes, if there is one (see `find_media`)."""
    if path.name.startswith("."):
        return None
    try:
        return _medium_at(path)
    except OSError as error:
        if error.errno in _PASSED_OVER:
            return None
    is_folder = False
    with suppress(OSError):
        is_folder = path.is_dir()
    return FolderMedium(path) if is_folder else IsoMedium(path)


def _medium_at(path: Path) -> Medium | None:
    """Return the volume at a path, told by names and first bytes; None where there is none. Raises `OSError`."""
    if path.name.startswith(TEMP):
        return None
    if path.is_dir():
        # Not the folder "courier" alone, which a drive may have for another purpose.
        if any((path / name).exists() for name in ("bagit.txt", volume.PACKING_LIST, volume.LABEL)):
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
