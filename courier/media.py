"""Media: writing a volume as a folder, an ISO image or a labelled tape, reading it back, and finding volumes to read.

One reader interface for all: `Medium.walk` yields every file of the volume once, what tells about the volume before
its payload, in one pass that a tape can follow. Readers never write to a medium. A writer writes beside its target,
reads back and compares, and gives the volume its name only then.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from courier import volume
from courier.errors import CourierError, Damaged, NotFound, Usage, explain
from courier.files import TEMP, atomic_file, make_folder, remove_tree, sync_folder
from formats.digest import CHUNK
from formats.errors import FormatError
from formats.iso import IsoFile, IsoReader, write_iso

Layout = Literal["folder", "iso", "tape"]
LAYOUTS: tuple[Layout, ...] = ("folder", "iso", "tape")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file to put on a volume: ``open`` gives a fresh stream of ``size`` bytes with digest ``sha256``."""

    path: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSource:
    """A whole volume to write: its label, who publishes it, when it was made (UTC), its files in writing order."""

    label: str
    publisher: str
    made_ns: int
    files: tuple[SourceFile, ...]


class Medium(Protocol):
    """A volume to read. ``name`` is how messages call it."""

    name: str
    layout: Layout

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """(path, size, stream) of every file, each stream to be read before the next is asked for.

        A stream seeks forward at least. Unreadable places raise `OSError` or `Unreadable` from `read`; seeking past
        them goes on. Raises errors of `formats.errors` for a volume that is not one.
        """


class FolderMedium:
    """A volume in a plain folder, on a drive or a mounted disc."""

    layout: Layout = "folder"

    def __init__(self, root: Path) -> None:
        self.name = str(root)
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


class IsoMedium:
    """A volume in an ISO image, or on a disc in a drive (a block device)."""

    layout: Layout = "iso"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """See `Medium.walk`."""
        with self._path.open("rb") as source:
            reader = IsoReader(source)
            for name, size in sorted(reader.files(), key=lambda item: volume.writing_order(item[0])):
                yield name, size, reader.open(name)


class TapeMedium:
    """A volume in tape style, in a folder."""

    layout: Layout = "tape"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def walk(self) -> Iterator[tuple[str, int, BinaryIO]]:
        """See `Medium.walk`."""
        yield from walk_volume(DirectoryDrive(self._path))


def find_media(path: Path) -> list[Medium]:
    """The volumes at ``path``: itself, or, in a folder of many, each of those in it. Raises `NotFound` or `Usage`."""
    if not path.exists():
        raise NotFound(f"{path} does not exist", hint="check the path, or whether the medium is mounted")
    medium = _medium(path)
    if medium is not None:
        return [medium]
    if path.is_dir():
        media = [found for child in sorted(path.iterdir()) if (found := _medium(child)) is not None]
        if media:
            return media
    raise Usage(
        f"{path} is no volume of a parcel, nor a folder of volumes",
        hint="name an ISO image, a mounted disc, a tape or volume folder, or a folder of these",
        code="not-a-volume",
    )


def _medium(path: Path) -> Medium | None:
    if path.name.startswith(TEMP):
        return None
    if path.is_dir():
        if (path / "bagit.txt").exists() or (path / volume.FOLDER).is_dir():
            return FolderMedium(path)
        return TapeMedium(path) if is_tape_folder(path) else None
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


def volume_target(folder: Path, label: str, layout: Layout) -> Path:
    """Where a volume is written below ``folder``."""
    return folder / {"folder": label, "iso": f"{label}.iso", "tape": f"{label}.tape"}[layout]


def write_volume_to(target: Path, source: VolumeSource, layout: Layout, progress: Callable[[int], None]) -> int:
    """Write a volume to ``target``, read it back and compare; return the bytes on the medium.

    ``progress`` is told bytes as they are written and as they are read back. On an error nothing stands at
    ``target``. Raises `Damaged` when the medium does not hold what was written to it.
    """
    make_folder(target.parent)
    if target.exists():
        raise Usage(f"{target} exists", hint="name another folder, or remove it")
    if layout == "iso":
        with atomic_file(target) as out:
            files = [IsoFile(path=file.path, size=file.size, open=_checked(file, progress)) for file in source.files]
            write_iso(
                out,
                files,
                volume_id=source.label,
                publisher=source.publisher,
                application="COURIER PARCEL",
                created_ns=source.made_ns,
            )
            out.flush()
            os.fsync(out.fileno())
            forget_cached(Path(out.name))
            read_back(IsoMedium(Path(out.name)), source, progress)
        return target.stat().st_size
    temporary = target.parent / f"{TEMP}{os.getpid()}-{target.name}"
    remove_tree(temporary)
    temporary.mkdir()
    try:
        medium: Medium
        if layout == "folder":
            written = _write_folder(temporary, source, progress)
            medium = FolderMedium(temporary)
        else:
            drive = DirectoryDrive(temporary, writing=True)
            files_on_tape = [
                TapeFile(path=file.path, size=file.size, open=_checked(file, progress)) for file in source.files
            ]
            write_volume(drive, files_on_tape, label=source.label, owner=source.publisher, created_ns=source.made_ns)
            written = _settle_tree(temporary)
            medium = TapeMedium(temporary)
        read_back(medium, source, progress)
        temporary.rename(target)
    except BaseException:
        remove_tree(temporary)
        raise
    sync_folder(target.parent)
    return written


def _write_folder(root: Path, source: VolumeSource, progress: Callable[[int], None]) -> int:
    for file in source.files:
        path = root.joinpath(*file.path.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _checked(file, progress)() as stream, path.open("xb") as out:
            while data := stream.read(CHUNK):
                out.write(data)
        os.utime(path, ns=(source.made_ns, source.made_ns))
    return _settle_tree(root)


def _settle_tree(root: Path) -> int:
    """Flush a tree to disk, drop it from memory, and return its bytes."""
    total = 0
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(folder) / name
            total += path.stat().st_size
            handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            forget_cached(path)
        sync_folder(Path(folder))
    return total


def forget_cached(path: Path) -> None:
    """Ask the system to drop a file from memory, so that reading it back reads the medium (where it can be asked)."""
    if hasattr(os, "posix_fadvise"):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


class _CheckedStream:
    """A source on its way to a medium: what leaves must be what was signed."""

    def __init__(self, file: SourceFile, progress: Callable[[int], None]) -> None:
        self._file = file
        self._raw = file.open()
        self._digest = hashlib.sha256()
        self._count = 0
        self._hashed = True
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(size)
        self._digest.update(data)
        self._count += len(data)
        self._progress(len(data))
        done = self._count >= self._file.size
        if self._hashed and (done or not data):
            if self._count != self._file.size or self._digest.hexdigest() != self._file.sha256:
                raise Damaged(
                    f"{self._file.path} changed on our own disk since it was built",
                    hint="create the parcel anew",
                    code="build-damaged",
                )
            self._hashed = False
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._raw.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        # The mastering library seeks to the start before it reads; anything else is not a straight copy.
        at = self._raw.seek(offset, whence)
        self._hashed = self._hashed and at == self._count
        return at

    def close(self) -> None:
        self._raw.close()

    def __enter__(self) -> _CheckedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(file: SourceFile, progress: Callable[[int], None]) -> Callable[[], BinaryIO]:
    return lambda: _CheckedStream(file, progress)  # type: ignore[return-value]


def read_back(medium: Medium, source: VolumeSource, progress: Callable[[int], None]) -> None:
    """Compare every file on a medium with what was to be written; raises `Damaged` or what the medium raises."""
    expected = {file.path: file for file in source.files}
    try:
        for path, size, stream in medium.walk():
            file = expected.pop(path, None)
            if file is None:
                raise _differs(medium, path, "was not to be there")
            digest, count = hashlib.sha256(), 0
            while data := stream.read(CHUNK):
                digest.update(data)
                count += len(data)
                progress(len(data))
            if (size, count) != (file.size, file.size) or digest.hexdigest() != file.sha256:
                raise _differs(medium, path, "does not read back as it was written")
    except FormatError as error:
        raise explain(error, where=f"reading back {medium.name}", hint=_READ_BACK) from None
    if expected:
        raise _differs(medium, next(iter(expected)), "is not there")


_READ_BACK = "the medium or the drive is bad: write this volume again on another medium"


def _differs(medium: Medium, path: str, what: str) -> CourierError:
    return Damaged(f"reading back {medium.name}: {path} {what}", hint=_READ_BACK, code="read-back")
