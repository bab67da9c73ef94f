"""Writing a volume as a folder, an ISO image or a labelled tape, and reading it back.

A volume is written under a temporary name beside its target, read back and compared, and only then renamed. A tape in a
drive has no name: it counts as written when reading it back has succeeded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import CourierError, DamagedError, RefusedError, UsageError, explain
from courier.files import TEMP, atomic_file, let_all_read, make_folder, remove_tree, sync_file, sync_folder, writing_out
from courier.media.checked_stream import SourceFile, checked
from courier.media.reading import FolderMedium, IsoMedium, Layout, Medium, TapeMedium
from courier.media.tape_device import is_tape_device
from courier.media.tape_reels import Ask, ask_for_blank, ask_for_reel, nobody, open_tape, what_is_on
from courier.media.written_tags import WrittenTags
from courier.niceties import nicety, set_time
from formats.digest import CHUNK, SideHash
from formats.errors import FormatError
from formats.iso import IsoFile, write_iso
from formats.tape import Drive, TapeFile, reel_id, tape_size, write_volume


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSource:
    """A volume to write: its label, publisher, time of making (UTC, nanoseconds) and files in writing order.

    ``unit`` is the bytes of the blocks in which files are checked: where a tape continues on another reel, no such
    block is cut in two.
    """

    label: str
    publisher: str
    made_ns: int
    files: tuple[SourceFile, ...]
    unit: int = 1


_ENDINGS: dict[Layout, str] = {"folder": "", "iso": ".iso", "tape": ".tape"}
"""How the name of a volume's folder or file ends, after its label."""


def volume_target(folder: Path, label: str, layout: Layout) -> Path:
    """Return where a volume is written in ``folder``; a tape device is itself the place."""
    return folder if is_tape_device(folder) else folder / f"{label}{_ENDINGS[layout]}"


def write_volume_to(
    target: Path, source: VolumeSource, layout: Layout, progress: Callable[[int], None], ask: Ask = nobody
) -> tuple[int, int]:
    """Write a volume to ``target``, read it back and compare; return the bytes on it, and how many media it took.

    It takes one medium, unless a tape in a drive ends before the volume does: then ``ask`` has a person put in the next
    reel, and all of them again for reading back. ``progress`` is told bytes as they are written, and again as they are
    read back. After an error there is nothing at ``target``. Raises `UsageError` where something is there already,
    `DamagedError` when the medium does not hold what was written.
    """
    if is_tape_device(target):
        return _write_reels(target, source, progress, ask)
    make_folder(target.parent, readable=True)
    if target.exists():
        raise UsageError(f"{target} exists", hint="name another folder, or remove it")
    write = {"folder": _write_folder, "iso": _write_iso, "tape": _write_tape_folder}[layout]
    return write(target, source, progress), 1


def _write_iso(target: Path, source: VolumeSource, progress: Callable[[int], None]) -> int:
    """Write an ISO image and read it back; return its bytes."""
    tags = WrittenTags()
    with atomic_file(target, readable=True) as out:
        copied = writing_out(out, progress)
        files = [
            IsoFile(path=file.path, size=file.size, open=checked(file, source.unit, copied, tags))
            for file in source.files
        ]
        write_iso(
            out,
            files,
            volume_id=source.label,
            publisher=source.publisher,
            application="COURIER PARCEL",
            created_ns=source.made_ns,
        )
        out.flush()
        sync_file(out.fileno(), target)
        forget_cached(Path(out.name))
        read_back(IsoMedium(Path(out.name)), source, progress, tags)
    return target.stat().st_size


def _write_folder(target: Path, source: VolumeSource, progress: Callable[[int], None]) -> int:
    """Write a plain folder and read it back; return the bytes of its files."""
    tags = WrittenTags()
    with _new_folder(target) as root:
        for file in source.files:
            path = root.joinpath(*file.path.split("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out, checked(file, source.unit, writing_out(out, progress), tags)() as stream:
                while data := stream.read(CHUNK):
                    out.write(data)
            set_time(path, source.made_ns)
        written = flush_tree(root)
        read_back(FolderMedium(root), source, progress, tags)
    return written


def _write_tape_folder(target: Path, source: VolumeSource, progress: Callable[[int], None]) -> int:
    """Write a folder that mirrors a labelled tape, and read it back; return the bytes a tape needs for it."""
    tags = WrittenTags()
    with _new_folder(target) as root:
        try:
            with open_tape(root, writing=True) as drive:
                _write_tape(drive, source, progress, tags)
        except FormatError as error:
            raise explain(error, where=str(root)) from None
        for path in root.iterdir():
            forget_cached(path)
        read_back(TapeMedium(root), source, progress, tags)
    return _tape_bytes(source)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` that gets its name at the end; after an error it is removed."""
    temporary = target.parent / f"{TEMP}{os.getpid()}-{target.name[-40:]}"
    remove_tree(temporary)
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, names in os.walk(temporary):
            # Whoever gets the medium reads it, as another user: what is secret on it is encrypted.
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                let_all_read(path)
        temporary.rename(target)
    except BaseException:
        remove_tree(temporary)
        raise
    sync_folder(target.parent)


def _tape_bytes(source: VolumeSource) -> int:
    return tape_size([(file.path, file.size) for file in source.files])


def _write_tape(
    drive: Drive,
    source: VolumeSource,
    progress: Callable[[int], None],
    tags: WrittenTags,
    next_reel: Callable[[int], Drive] | None = None,
) -> None:
    files = [
        TapeFile(path=file.path, size=file.size, open=checked(file, source.unit, progress, tags), sha256=file.sha256)
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
    """Write the tape in a drive, and further reels if a person changes them; read all back. See `write_volume_to`."""
    found = what_is_on(device, label=source.label, number=1)
    if found:
        raise RefusedError(
            f"the tape in {device} is not blank: it holds {found}",
            hint=f"put in a blank tape; to erase this one: mt -f {device} rewind && mt -f {device} weof 2",
            code=Code.TAPE_NOT_BLANK,
        )
    reels, tags = 1, WrittenTags()
    with ExitStack() as stack:

        def next_reel(number: int) -> Drive:
            nonlocal reels
            # The device is closed and opened for each tape: what the system knows of the last one is not true of it.
            stack.close()
            ask_for_blank(device, ask, label=source.label, number=number)
            reels = number
            return stack.enter_context(open_tape(device, writing=True))

        try:
            drive = stack.enter_context(open_tape(device, writing=True))
            _write_tape(drive, source, progress, tags, next_reel if ask("") else None)
        except FormatError as error:
            raise explain(error, where=str(device)) from None
    if reels > 1:
        why = f"{source.label} is written, on {reels} reels, and is read back now. "
        ask_for_reel(device, ask, label=source.label, number=1, set_id=reel_id(source.label, 1), why=why)
    read_back(TapeMedium(device, ask=ask), source, progress, tags)
    return _tape_bytes(source), reels


def flush_tree(root: Path) -> int:
    """Flush all files below ``root`` to the disk and drop them from memory; return their bytes."""
    total = 0
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(folder) / name
            total += path.stat().st_size
            handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                sync_file(handle, path)
            finally:
                os.close(handle)
            forget_cached(path)
        sync_folder(Path(folder))
    return total


def forget_cached(path: Path) -> None:
    """Ask the system to drop a file from memory, so that reading it back reads the medium; not all systems can."""
    if hasattr(os, "posix_fadvise"):
        handle = os.open(path, os.O_RDONLY)
        try:
            with nicety(path):
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def read_back(
    medium: Medium, source: VolumeSource, progress: Callable[[int], None], tags: WrittenTags | None = None
) -> None:
    """Read a medium and compare every file with what was to be written; raises `DamagedError`, `OSError`.

    This pass is the proof that the medium can be read. ``tags``: of the files that were written just now, which are
    compared by their tags; others by their SHA-256.
    """
    compare(medium, source.files, progress, tags)


def compare(
    medium: Medium,
    files: Sequence[SourceFile],
    progress: Callable[[int], None],
    tags: WrittenTags | None,
    *,
    passed_over: Container[str] = (),
) -> None:
    """Read ``files`` on a medium, and compare them as `read_back` does.

    Nothing else may be there but ``passed_over``, which is not read. Raises `DamagedError`, `OSError`.
    """
    expected = {file.path: file for file in files}
    try:
        for path, size, stream in medium.walk():
            if path in passed_over:
                continue
            file = expected.pop(path, None)
            if file is None:
                raise _differs(medium, path, "should not be there")
            if size != file.size or not _is_same(stream, file, progress, tags):
                raise _differs(medium, path, "does not read back as it was written")
    except FormatError as error:
        raise explain(error, where=f"reading back {medium.name}", hint=_READ_BACK) from None
    if isinstance(medium, TapeMedium) and medium.findings:
        raise _differs(medium, medium.findings[0], "(its files are whole, but a new tape must have no fault)")
    if expected:
        raise _differs(medium, next(iter(expected)), "is not there")


def _is_same(stream: BinaryIO, file: SourceFile, progress: Callable[[int], None], tags: WrittenTags | None) -> bool:
    """Whether a stream of the medium has the bytes of a file."""
    if tags is not None and file.path in tags:
        take, is_same = tags.comparing(file.path)
        while data := stream.read(CHUNK):
            take(data)
            progress(len(data))
        return is_same()
    with SideHash() as digest:
        while data := stream.read(CHUNK):
            digest.update(data)
            progress(len(data))
        return digest.count == file.size and digest.hexdigest() == file.sha256


_READ_BACK = "the medium or the drive is bad: write this volume again on another medium"


def _differs(medium: Medium, path: str, what: str) -> CourierError:
    return DamagedError(f"reading back {medium.name}: {path} {what}", hint=_READ_BACK, code=Code.READ_BACK)
