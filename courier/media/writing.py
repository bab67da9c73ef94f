"""Writing a volume as a folder, an ISO image or a labelled tape, and reading it back.

A writer writes beside its target, reads back and compares, and gives the volume its name only then. A tape in a drive
has no name to give: it is good when reading it back has said so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, RefusedError, UsageError, explain
from courier.files import TEMP, atomic_file, make_folder, remove_tree, sync_folder, writing_out
from courier.media.reading import FolderMedium, IsoMedium, Layout, Medium, TapeMedium
from courier.media.tape_drive import is_tape_device, open_tape
from courier.media.tape_reels import Ask, ask_for_blank, ask_for_reel, nobody, what_bars
from formats.digest import CHUNK, SideHash
from formats.errors import FormatError
from formats.iso import IsoFile, write_iso
from formats.tape import Drive, TapeFile, reel_id, tape_size, write_volume


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file to put on a volume: ``open`` gives a fresh stream of ``size`` bytes with digest ``sha256``."""

    path: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSource:
    """A whole volume to write: its label, who publishes it, when it was made (UTC), its files in writing order.

    ``unit``: bytes of the blocks that its files are checked by; none of them is cut where a tape goes on on another.
    """

    label: str
    publisher: str
    made_ns: int
    files: tuple[SourceFile, ...]
    unit: int = 1


def volume_target(folder: Path, label: str, layout: Layout) -> Path:
    """Where a volume is written below ``folder``; a tape device is itself the place."""
    if is_tape_device(folder):
        return folder
    return folder / {"folder": label, "iso": f"{label}.iso", "tape": f"{label}.tape"}[layout]


def write_volume_to(
    target: Path, source: VolumeSource, layout: Layout, progress: Callable[[int], None], ask: Ask = nobody
) -> tuple[int, int]:
    """Write a volume to ``target``, read it back and compare; return the bytes on it, and how many media it took.

    It takes one, but for a tape in a drive that ends before the volume does: then ``ask`` has a person put in the next
    reel, and all of them again to read them back. ``progress`` is told bytes as they are written and as they are read
    back. On an error nothing stands at ``target``. Raises `DamagedError` when the medium does not hold what was
    written.
    """
    if is_tape_device(target):
        return _write_reels(target, source, progress, ask)
    make_folder(target.parent)
    if target.exists():
        raise UsageError(f"{target} exists", hint="name another folder, or remove it")
    if layout == "iso":
        with atomic_file(target) as out:
            copied = writing_out(out, progress)
            files = [IsoFile(path=file.path, size=file.size, open=_checked(file, copied)) for file in source.files]
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
        return target.stat().st_size, 1
    temporary = target.parent / f"{TEMP}{os.getpid()}-{target.name[-40:]}"
    remove_tree(temporary)
    temporary.mkdir()
    try:
        if layout == "folder":
            written = _write_folder(temporary, source, progress)
            read_back(FolderMedium(temporary), source, progress)
        else:
            written = _write_tape_folder(temporary, source, progress)
        temporary.rename(target)
    except BaseException:
        remove_tree(temporary)
        raise
    sync_folder(target.parent)
    return written, 1


def _tape_bytes(source: VolumeSource) -> int:
    return tape_size([(file.path, file.size) for file in source.files])


def _write_tape_folder(folder: Path, source: VolumeSource, progress: Callable[[int], None]) -> int:
    """Write a labelled tape in a folder, and read it back."""
    try:
        with open_tape(folder, writing=True) as drive:
            _write_volume(drive, source, progress)
    except FormatError as error:
        raise explain(error, where=str(folder)) from None
    for path in folder.iterdir():
        forget_cached(path)
    read_back(TapeMedium(folder), source, progress)
    return _tape_bytes(source)


def _write_volume(
    drive: Drive,
    source: VolumeSource,
    progress: Callable[[int], None],
    next_reel: Callable[[int], Drive] | None = None,
) -> None:
    files = [
        TapeFile(path=file.path, size=file.size, open=_checked(file, progress), sha256=file.sha256)
        for file in source.files
    ]
    write_volume(
        drive,
        files,
        label=source.label,
        owner=source.publisher,
        created_ns=source.made_ns,
        next_reel=next_reel,
        unit=source.unit,
    )


def _write_reels(device: Path, source: VolumeSource, progress: Callable[[int], None], ask: Ask) -> tuple[int, int]:
    """Write the tape in a drive, and further ones if a person changes them; read all back. See `write_volume_to`."""
    found = what_bars(device, label=source.label, number=1)
    if found:
        raise RefusedError(
            f"the tape in {device} is not blank: it holds {found}",
            hint=f"put in a blank tape; to give this one up: mt -f {device} rewind && mt -f {device} weof 2",
            code=Code.TAPE_NOT_BLANK,
        )
    reels = 1
    with ExitStack() as stack:

        def next_reel(number: int) -> Drive:
            nonlocal reels
            # A drive is opened anew for another tape: what the system knew of the one before does not hold for it.
            stack.close()
            ask_for_blank(device, ask, label=source.label, number=number)
            reels = number
            return stack.enter_context(open_tape(device, writing=True))

        try:
            drive = stack.enter_context(open_tape(device, writing=True))
            _write_volume(drive, source, progress, next_reel if ask("") else None)
        except FormatError as error:
            raise explain(error, where=str(device)) from None
    if reels > 1:
        why = f"{source.label} is written, on {reels} reels, and is read back now. "
        ask_for_reel(device, ask, label=source.label, number=1, set_id=reel_id(source.label, 1), why=why)
    read_back(TapeMedium(device, ask=ask), source, progress)
    return _tape_bytes(source), reels


def _write_folder(root: Path, source: VolumeSource, progress: Callable[[int], None]) -> int:
    for file in source.files:
        path = root.joinpath(*file.path.split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out, _checked(file, writing_out(out, progress))() as stream:
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
        self._digest = SideHash()
        self._hashed = True
        self._progress = progress

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._raw.read(size)
        except OSError as error:
            # The medium that is being written has no part in it.
            where = error.filename or f"what {self._file.path} is made of, on our own disk"
            raise OSError(error.errno, error.strerror, where) from None
        self._digest.update(data)
        self._progress(len(data))
        done = self._digest.count >= self._file.size
        if self._hashed and (done or not data):
            if self._digest.count != self._file.size or self._digest.hexdigest() != self._file.sha256:
                raise DamagedError(
                    f"{self._file.path} is not what was signed any more: what it is made of changed on our own disk",
                    hint="courier package verify names damaged content: add it again; or courier parcel discard this "
                    "parcel and write it again, which makes all else of it anew",
                    code=Code.BUILD_DAMAGED,
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
        self._hashed = self._hashed and at == self._digest.count
        return at

    def close(self) -> None:
        self._digest.close()
        self._raw.close()

    def __enter__(self) -> _CheckedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _checked(file: SourceFile, progress: Callable[[int], None]) -> Callable[[], BinaryIO]:
    return lambda: _CheckedStream(file, progress)  # type: ignore[return-value]


def read_back(medium: Medium, source: VolumeSource, progress: Callable[[int], None]) -> None:
    """Compare every file on a medium with what was to be written; raises `DamagedError` or what the medium raises."""
    expected = {file.path: file for file in source.files}
    try:
        for path, size, stream in medium.walk():
            file = expected.pop(path, None)
            if file is None:
                raise _differs(medium, path, "was not to be there")
            with SideHash() as digest:
                while data := stream.read(CHUNK):
                    digest.update(data)
                    progress(len(data))
                same = (size, digest.count) == (file.size, file.size) and digest.hexdigest() == file.sha256
            if not same:
                raise _differs(medium, path, "does not read back as it was written")
    except FormatError as error:
        raise explain(error, where=f"reading back {medium.name}", hint=_READ_BACK) from None
    if isinstance(medium, TapeMedium) and medium.findings:
        raise _differs(medium, medium.findings[0], "(what is written must be whole, though it could be read)")
    if expected:
        raise _differs(medium, next(iter(expected)), "is not there")


_READ_BACK = "the medium or the drive is bad: write this volume again on another medium"


def _differs(medium: Medium, path: str, what: str) -> CourierError:
    return DamagedError(f"reading back {medium.name}: {path} {what}", hint=_READ_BACK, code=Code.READ_BACK)
