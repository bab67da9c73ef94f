"""Exporting a package version as a 7z archive that any 7-Zip reads, in one file or split into parts.

The archive is written beside its place and read back, every file compared with its digest, before it gets its name.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError, UsageError
from courier.files import TEMP, flush_files, make_folder, naming_space, require_space, sync_folder
from courier.packages.find import find_package
from courier.packages.vouched import check_not_contradicted
from courier.progress import SILENT, Progress
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.archive.foreign_7z import ForeignArchive
from formats.archive.foreign_member import ForeignMember, Kind, Sink
from formats.archive.foreign_write import Parts, write_7z
from formats.documents.listing import EMPTY, FileEntry, FolderEntry, LinkEntry, without_hard_links
from formats.streams import JoinedFiles

MAX_PARTS = 999
"""Parts of a split archive at most: their names end in three digits."""
_PURPOSE = "exporting the package"


def export_archive(
    site: Site,
    reference: str,
    target: Path,
    *,
    level: int | None,
    part_size: int = 0,
    progress: Progress = SILENT,
) -> tuple[StoredPackage, list[Path]]:
    """Write a package version as the 7z archive ``target``; return the version and the files written.

    ``level``: LZMA2 preset, or None to store. ``part_size``: bytes of a part of a split archive (``target.001``, ...),
    0 for one file. ``progress`` is told the bytes of content as they are written, then as they are read back. Raises
    `NotFoundError`, `NoSpaceError`, `RefusedError` where something of that name exists, and `DamagedError`.
    """
    stored = find_package(site, reference)
    check_not_contradicted(site, stored)
    folder, size = target.absolute().parent, sum(entry.size for entry in _files(site, stored))
    if part_size and size > MAX_PARTS * part_size:
        raise UsageError(f"parts of {part_size:,} bytes make more than {MAX_PARTS}", hint="give a larger --volume-size")
    lock = hashlib.sha256(str(folder.resolve() / target.name).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    with site.locked(site.home / "locks" / f"export-{lock}"):
        _check_free(folder, target.name, part_size)
        make_folder(folder)
        for left in _numbered(folder, f"{TEMP}{target.name[-60:]}"):
            left.unlink()  # what a killed run left behind
        require_space(folder, size, purpose=_PURPOSE)
        written = _write(site, stored, target, size, level=level, part_size=part_size, progress=progress)
        return stored, written


def _write(
    site: Site,
    stored: StoredPackage,
    target: Path,
    size: int,
    *,
    level: int | None,
    part_size: int,
    progress: Progress,
) -> list[Path]:
    folder = target.absolute().parent
    written: list[Path] = []

    def open_part(number: int) -> BinaryIO:
        written.append(folder / f"{TEMP}{target.name[-60:]}.{number:03d}")
        return cast(BinaryIO, written[-1].open("w+b"))

    def members() -> Iterator[tuple[ForeignMember, Callable[[], BinaryIO]]]:
        # A 7z has no hard links: each further name is a file of its own.
        for entry in without_hard_links(site.store.entries(stored.listing)):
            if isinstance(entry, FileEntry) and entry.size:
                yield _member(entry), partial(site.store.open_content, entry.sha256)
            else:
                yield _member(entry), _no_content

    try:
        with naming_space(folder, lambda: size, purpose=_PURPOSE), Parts(open_part, part_size) as parts:
            progress.begin(f"Exporting {stored.package}:{stored.version}", size)
            write_7z(parts, members(), level=level, progress=progress)
        progress.begin("Reading back", size)
        _read_back(site, stored, written, progress)
        return _give_names(written, folder, target.name, part_size)
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def _no_content() -> BinaryIO:
    return cast(BinaryIO, io.BytesIO())


def _numbered(folder: Path, name: str) -> list[Path]:
    """The files ``name.001`` and so on in ``folder``; ``name`` may have any character in it."""
    return list(folder.glob(f"{glob.escape(name)}.[0-9][0-9][0-9]"))


def _check_free(folder: Path, name: str, part_size: int) -> None:
    taken = [folder / name, *(_numbered(folder, name) if part_size else [])]
    # A link that leads nowhere is something of that name too.
    there = next((path for path in taken if os.path.lexists(path)), None)
    if there is not None:
        raise RefusedError(f"{there} exists already", hint="name another file", code=Code.TARGET_EXISTS)


def _files(site: Site, stored: StoredPackage) -> Iterator[FileEntry]:
    for entry in without_hard_links(site.store.entries(stored.listing)):
        if isinstance(entry, FileEntry):
            yield entry


def _member(entry: FileEntry | FolderEntry | LinkEntry) -> ForeignMember:
    if isinstance(entry, FileEntry):
        mode = entry.mode & 0o777  # an archive does not say whose set-user-ID bit it would be
        return ForeignMember(path=entry.path, kind=Kind.FILE, size=entry.size, mtime_ns=entry.mtime_ns, mode=mode)
    if isinstance(entry, FolderEntry):
        mode = entry.mode & 0o1777
        return ForeignMember(path=entry.path, kind=Kind.FOLDER, size=0, mtime_ns=entry.mtime_ns, mode=mode)
    return ForeignMember(
        path=entry.path, kind=Kind.LINK, size=0, mtime_ns=entry.mtime_ns, mode=0o777, target=entry.target
    )


def _read_back(site: Site, stored: StoredPackage, parts: list[Path], progress: Callable[[int], None]) -> None:
    """Decode the archive and compare every file with its digest. Raises `DamagedError`."""
    found: dict[str, str] = {}
    with JoinedFiles([(part.stat().st_size, partial(_open_part, part)) for part in parts]) as source:
        archive = ForeignArchive(cast(BinaryIO, source))
        links = {
            member.path: member.target
            for member in archive.read(lambda member: _Digest(member.path, found, progress))
            if member.kind is Kind.LINK
        }
    for entry in without_hard_links(site.store.entries(stored.listing)):
        if isinstance(entry, FileEntry):
            good = found.get(entry.path, EMPTY) == entry.sha256
        else:
            good = isinstance(entry, FolderEntry) or links.get(entry.path) == entry.target
        if not good:
            raise DamagedError(
                f"{entry.path}: read back from the archive, it differs from the package",
                hint=f"courier package verify {stored.package}:{stored.version} tells whether the store is good; if it "
                "is, check the disk that was written to",
                code=Code.READ_BACK,
            )


def _open_part(path: Path) -> BinaryIO:
    return path.open("rb")


class _Digest(Sink):
    """The SHA-256 of one member, kept under its path."""

    def __init__(self, path: str, found: dict[str, str], progress: Callable[[int], None]) -> None:
        self._path, self._found, self._progress = path, found, progress
        self._digest = hashlib.sha256()

    def write(self, data: bytes, /) -> None:
        self._digest.update(data)
        self._progress(len(data))

    def close(self) -> None:
        self._found[self._path] = self._digest.hexdigest()


def _give_names(written: list[Path], folder: Path, name: str, part_size: int) -> list[Path]:
    """Flush the parts and give them their names, the first one last: without it there is no archive."""
    flush_files(written)
    names = [folder / f"{name}.{n:03d}" for n in range(1, len(written) + 1)] if part_size else [folder / name]
    for path, final in reversed(list(zip(written, names, strict=True))):
        path.replace(final)
    sync_folder(folder)
    return names
