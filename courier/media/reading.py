"""Reading volumes: folders, ISO images and labelled tapes. `courier.media.finding` finds them.

All have one interface: `Medium.walk` yields every file of the volume once, documents before the payload, in one pass
that suits a tape. Readers never write to a medium; `courier.media.writing` writes volumes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, runtime_checkable

from courier.files import path_text
from courier.media import volume_files as volume
from courier.media.tape_device import is_tape_device
from courier.media.tape_reels import Ask, ask_for_reel, missing_reels, nobody, open_tape
from courier.media.true_names import true_names
from formats.errors import FormatError, MalformedError
from formats.iso.reader import IsoReader
from formats.tape import Drive, TapeReader, VolumeLabel

Layout = Literal["folder", "iso", "tape"]
LAYOUTS: tuple[Layout, ...] = ("folder", "iso", "tape")
"""The forms that a volume is written in."""
BLANK = 1 << 20
"""Bytes at the start of a disc that tell a blank one, where all are zero, from a damaged one."""


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
        found = sorted(self._files().items(), key=lambda item: volume.writing_order(item[0]))
        for name, path in found:
            with path.open("rb") as stream:
                yield name, os.fstat(stream.fileno()).st_size, stream

    @contextmanager
    def files(self) -> Iterator[Callable[[str], BinaryIO]]:
        """See `RandomMedium.files`."""
        found: dict[str, Path] = {}

        def open_file(name: str) -> BinaryIO:
            path = self._root.joinpath(*name.split("/"))
            if path.is_symlink() or not path.is_file():
                if not found:
                    found.update(self._files())
                path = found[name]
            return path.open("rb")

        yield open_file

    def _files(self) -> dict[str, Path]:
        """The regular files by their true names.

        Raises `OSError` for a folder of the volume that this user may not look into. Others that lie beside its own,
        at the top of a drive those of the system, are no concern of ours: they only lack their files.
        """
        found = {}
        for folder, _, names in os.walk(self._root, onerror=self._judge):
            for name in names:
                path = Path(folder) / name
                if not path.is_symlink() and path.is_file():
                    found[path.relative_to(self._root).as_posix()] = path
        return {true: found[name] for true, name in true_names(found).items()}

    def _judge(self, error: OSError) -> None:
        """Raise the error of a folder that may not be looked into; one that the drive fails to show lacks its files.

        What is missing then is found by the packing list, and may be made up for by parity.
        """
        inside = Path(error.filename).relative_to(self._root).parts
        if error.errno in (errno.EACCES, errno.EPERM) and (not inside or inside[0].lower() in volume.FOLDERS):
            raise error


class IsoMedium:
    """A volume in an ISO image, or on a disc in a drive (a block device).

    ``folder``: the folder of the image that is the volume, with a slash behind it; the top without it. ``image``: an
    ISO image in that image, which is read in its place.
    """

    layout: Layout = "iso"

    def __init__(self, path: Path, *, image: str = "", folder: str = "") -> None:
        self.name = path_text(path) + (f":{image}" if image else "") + (f":{folder}" if folder else "")
        self._path = path
        self._image = image
        self._folder = folder

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """See `Medium.walk`."""
        with self._path.open("rb") as source:
            reader = self._reader(source)
            sizes = dict(reader.files())
            names = self._names(reader)
            for true, name in sorted(names.items(), key=lambda item: volume.writing_order(item[0])):
                yield true, sizes[name], reader.open(name)

    @contextmanager
    def files(self) -> Iterator[Callable[[str], BinaryIO]]:
        """See `RandomMedium.files`."""
        with self._path.open("rb") as source:
            reader = self._reader(source)
            names = self._names(reader)
            yield lambda name: reader.open(names[name])

    def contained(self) -> list[str]:
        """The paths of all files on the disc, as they stand there. Raises as `walk` does."""
        with self._path.open("rb") as source:
            return [name for name, _ in self._reader(source).files()]

    def _reader(self, source: BinaryIO) -> IsoReader:
        try:
            reader = IsoReader(source)
        except FormatError as error:
            source.seek(0)
            if not any(source.read(BLANK)):
                raise MalformedError("it is blank: nothing is recorded on it") from None
            raise type(error)(f"no disc image, or its directories are destroyed ({error})") from None
        return IsoReader(reader.open(self._image)) if self._image else reader

    def _names(self, reader: IsoReader) -> dict[str, str]:
        """The name on the disc by the true name, of each file of the volume."""
        names = [name.removeprefix(self._folder) for name, _ in reader.files() if name.startswith(self._folder)]
        return {true: self._folder + name for true, name in true_names(names).items()}


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
