"""Packages that are being downloaded into a client's cache, or were when the download ended too early.

Each is a folder ``downloads/ID-VERSION`` in the folder of the entries, so that one rename makes an entry of it. Its
bytes count as those of an entry: the whole package while a program is at work on it, else what is on the disk. One that
nobody works on goes for another package as an entry does, by its age.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.cache_entries import NAME
from courier.distribution.cache_rules import Held
from courier.errors import BusyError
from courier.files import allocated, is_locked, locked, make_folder, remove_tree, sweep, sync_folder, write_atomic
from formats.documents.fields import Package, Version
from formats.errors import FormatError
from formats.records import Count, Digest, NamedRecord, Time, read_named

DOWNLOADS, RECORD = "downloads", "download.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedRecord(NamedRecord):
    """What is downloaded: ``listing`` is the SHA-256 of its listing, ``bytes`` those of all files, ``started`` when the
    last program began to work on it."""

    NAME = "cache-download"

    package: Package
    version: Version
    listing: Digest
    bytes: Count
    started: Time


@dataclass(frozen=True, kw_only=True, slots=True)
class Staged:
    """A download on the disk. ``on_disk``: bytes that it takes. ``active``: a program is at work on it.

    ``record`` is None where it cannot be read.
    """

    folder: Path
    package: str
    version: int
    record: StagedRecord | None
    on_disk: int
    active: bool

    @property
    def held(self) -> Held:
        """The download as the rules see it."""
        size = max(self.record.bytes, self.on_disk) if self.active and self.record else self.on_disk
        return Held(
            package=self.package,
            version=self.version,
            bytes=size,
            referenced_ns=self.record.started if self.record else 0,
            locked=self.active,
            staged=True,
        )

    @property
    def to_come(self) -> int:
        """Bytes that a program will still write there."""
        return self.held.bytes - self.on_disk


def staging_folder(content: Path, package: str, version: int) -> Path:
    """Where the download of a package version is, in the folder ``content`` of the entries."""
    return content / DOWNLOADS / f"{package}-{version}"


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def staged_downloads(content: Path) -> tuple[Staged, ...]:
    """The downloads in the folder of the entries, by name."""
    try:
        folders = sorted(path for path in (content / DOWNLOADS).iterdir() if NAME.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(_staged(folder) for folder in folders)


def _staged(folder: Path) -> Staged:
    package, _, version = folder.name.partition("-")
    return Staged(
        folder=folder,
        package=package,
        version=int(version),
        record=read_staged(folder),
        on_disk=bytes_on_disk(folder),
        active=is_active(folder),
    )


def read_staged(folder: Path) -> StagedRecord | None:
    """The record of a download; None where there is none that can be read."""
    try:
        return read_named(StagedRecord, (folder / RECORD).read_bytes().rstrip(b"\n"))
    except (OSError, FormatError):
        return None


def is_active(folder: Path) -> bool:
    """Whether a program is at work on a download."""
    return is_locked(_lock_of(folder))


def bytes_on_disk(folder: Path) -> int:
    """Bytes that a download takes now; where there are holes, fewer than its files have."""
    size = 0
    for above, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                info = Path(above, name).lstat()
                size += min(allocated(info), -(-info.st_size // 4096) * 4096)
    return size


@contextlib.contextmanager
def working_on(folder: Path) -> Iterator[None]:
    """Be the one program that is at work on a download. Raises `BusyError` where another one is.

    Where nothing of the download is left in the end, nothing is left of its lock file either.
    """
    make_folder(folder.parent)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(_lock_of(folder)))
        except BusyError:
            raise BusyError(
                f"another program is at work on the download {folder}",
                hint="wait for it to end, then give this command again",
            ) from None
        try:
            yield
        finally:
            if not folder.exists():
                _forget_lock(folder)


def write_staged(folder: Path, record: StagedRecord) -> bool:
    """Make the folder of a download, or take over what an earlier try left of the same one; return whether it did."""
    before = read_staged(folder)
    resumed = before is not None and before.listing == record.listing
    if not resumed:
        delete_staged(folder)
        make_folder(folder)
    sweep(folder)
    write_atomic(folder / RECORD, record.json() + b"\n")
    return resumed


def delete_staged(folder: Path) -> None:
    """Delete what is left of a download, by the program that is at work on it."""
    remove_tree(folder)
    sync_folder(folder.parent)


def delete_idle(folder: Path) -> None:
    """Delete what is left of a download that nobody is at work on, its lock file too. Call it within `changing`."""
    delete_staged(folder)
    _forget_lock(folder)


def _forget_lock(folder: Path) -> None:
    with contextlib.suppress(OSError):  # elsewhere than on POSIX an open file stays
        _lock_of(folder).unlink()
