"""Media: finding volumes and reading them, as a folder, an ISO image or a labelled tape.

One interface for all: `Medium.walk` yields every file of the volume once, what tells about the volume before its
payload, in one pass that a tape can follow. Readers never write to a medium. `courier.media.writing` writes them.
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
from courier.media.tape_drive import is_tape_device, is_tape_folder, open_tape
from courier.media.tape_reels import Ask, ask_for_reel, chains, lacking, nobody
from formats.errors import FormatError, MalformedError
from formats.iso.reader import IsoReader
from formats.tape import Drive, TapeReader, VolumeLabel

Layout = Literal["folder", "iso", "tape"]
_PASSED_OVER = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP)
BLANK = 1 << 20
"""Bytes at the start of a disc that are looked at to tell a blank one from a damaged one."""
LAYOUTS: tuple[Layout, ...] = ("folder", "iso", "tape")


class Medium(Protocol):
    """A volume to read. ``name`` is how messages call it."""

    name: str
    layout: Layout

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """(path, size, stream) of every file, each stream to be read before the next is asked for.

        A stream seeks forward at least. Unreadable places raise `OSError` or `UnreadableError` from `read`; seeking
        past them goes on. Raises errors of `formats.errors` for a volume that is not one.
        """


@runtime_checkable
class RandomMedium(Medium, Protocol):
    """A volume whose files can be read in any order and sought in: all but tape."""

    def files(self) -> AbstractContextManager[Callable[[str], BinaryIO]]:
        """What opens a file by its path, while the medium is open.

        Raises `KeyError` or `FileNotFoundError` for a path that is not there, and as `walk` does.
        """


class FolderMedium:
    """A volume in a plain folder, on a drive or a mounted disc."""

    layout: Layout = "folder"

    def __init__(self, root: Path) -> None:
        self.name = path_text(root)
        self._root = root

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """See `Medium.walk`. Links are not followed; what is not a regular file is passed over."""
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
    """A volume in tape style: in a folder for each of its reels, or on the tape in a drive (a no-rewind device).

    ``further`` are the folders of the reels that follow the first given. In a drive a person (``ask``) puts them in.
    Where the next reel is not given, the walk ends with the last that is.
    """

    layout: Layout = "tape"

    def __init__(self, path: Path, *, further: Sequence[Path] = (), ask: Ask = nobody) -> None:
        self.name = path_text(path)
        self.path = path
        self.findings: list[str] = []
        """What the last whole `walk` found damaged and made good, one line each."""
        self.first: VolumeLabel | None = None
        """The label of the first reel given, once a walk has passed it and unless it is garbled."""
        self._reader: TapeReader | None = None
        self._further = list(further)
        self._ask = ask

    def again(self) -> TapeMedium | None:
        """The same reels for another pass while one goes on; None for a drive, which has one head."""
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
                        why=f"The volume goes on on reel {number}. ",
                    )
                drives.append(stack.enter_context(open_tape(folder or self.path)))
                return drives[-1]

            reader = TapeReader(drives[0], next_reel=next_reel)
            files = reader.walk()
            file = next(files, None)
            self.first = reader.volume
            while file is not None:
                yield file
                file = next(files, None)
            self.findings = [*reader.findings, *(text for drive in drives for text in getattr(drive, "findings", ()))]
            self._reader = reader

    @property
    def continues(self) -> bool:
        """Whether the last whole `walk` came to the end of a reel that is not the last."""
        return self._reader is not None and self._reader.continues

    def lacking(self, lost: Sequence[tuple[str, int]]) -> str:
        """Which reels hold what is ``lost`` and were not given to the last whole `walk`, for people; "" if none does.

        ``lost``: places (path, byte) of payload files.
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
        return lacking(self.first.reel if self.first else 1, reader.reel, before=before, after=after)


def find_all_media(paths: Sequence[Path], ask: Ask = nobody) -> list[Medium]:
    """The volumes at all ``paths`` (`find_media`); folders that mirror reels of one volume are one medium.

    ``ask`` has a person change the reels in a tape drive.
    """
    media = [medium for path in paths for medium in find_media(path)]
    tapes = [medium.path for medium in media if isinstance(medium, TapeMedium) and not is_tape_device(medium.path)]
    # A chain stands where a folder of it stood, those of one volume from the first reel on: it tells of the others.
    chained = iter(chains(tapes))
    found: list[Medium] = []
    for medium in media:
        if not isinstance(medium, TapeMedium):
            found.append(medium)
        elif is_tape_device(medium.path):
            found.append(TapeMedium(medium.path, ask=ask))
        elif (chain := next(chained, None)) is not None:
            found.append(TapeMedium(chain[0], further=chain[1:]))
    return found


def find_media(path: Path) -> list[Medium]:
    """The volumes at ``path``: itself, or, in a folder of many, each of those in it. Raises `NotFoundError` or
    `UsageError`.

    Passed over in a folder are hidden names, links that lead nowhere, and what we may not look into: a drive has such
    things of its system's own (``lost+found``, ``._NAME`` beside each file). What cannot be looked at because the drive
    fails there is among the volumes, so that reading it says so.
    """
    if not path.exists():
        raise NotFoundError(f"{path} does not exist", hint="check the path, or whether the medium is mounted")
    medium = _medium(path)
    if medium is not None:
        return [medium, *_beside(medium, path)]
    if path.is_dir():
        media = [found for child in sorted(path.iterdir()) if (found := _inside(child)) is not None]
        if media:
            return media
    raise UsageError(
        f"{path} is no volume of a parcel, nor a folder of volumes",
        hint="name an ISO image, a mounted disc, a tape or volume folder, or a folder of these",
        code=Code.NOT_A_VOLUME,
    )


def _beside(medium: Medium, path: Path) -> list[Medium]:
    """The volumes in folders of a drive whose top is a volume itself: somebody has copied one of several to its top."""
    if not isinstance(medium, FolderMedium):
        return []
    folders = [child for child in sorted(path.iterdir()) if child.name not in ("data", "courier") and child.is_dir()]
    return [found for child in folders if (found := _inside(child)) is not None]


def _inside(path: Path) -> Medium | None:
    if path.name.startswith("."):
        return None
    try:
        return _medium(path)
    except OSError as error:
        if error.errno in _PASSED_OVER:
            return None
    is_folder = False
    with suppress(OSError):
        is_folder = path.is_dir()
    return FolderMedium(path) if is_folder else IsoMedium(path)


def _medium(path: Path) -> Medium | None:
    if path.name.startswith(TEMP):
        return None
    if path.is_dir():
        # A drive may have a folder of that name for another purpose: one of the two tells what the volume is.
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
