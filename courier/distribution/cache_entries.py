"""The entries of a client's cache on the disk: reading them, judging whether they are whole, deleting them.

An entry is a folder ``ID-VERSION`` with ``entry.json`` (`EntryRecord`), ``listing`` (the package's listing) and
``files`` (its files).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.cache_records import EntryRecord
from courier.errors import CourierError
from courier.files import TEMP, atomic_file, remove_tree, sync_folder, write_atomic
from formats.digest import CHUNK
from formats.documents.listing import Entry, FileEntry, FolderEntry, HardLinkEntry, LinkEntry, read_listing
from formats.errors import FormatError
from formats.records import read_named

RECORD, LISTING, FILES = "entry.json", "listing", "files"
NAME = re.compile(r"([A-Z0-9]{3}[0-9A-F]{5})-([1-9][0-9]{0,18})")
"""The name of an entry's folder."""
_CLOCK_GRAIN = 2 * 10**9
"""Nanoseconds by which a file system may change a time that it is given (FAT)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """An entry that is not what it says: where it is, what is wrong with it, and the bytes that it takes."""

    path: Path
    problem: str
    bytes: int


def entry_folders(content: Path) -> list[Path]:
    """The folders of entries in ``content``, by name; links are among them, since they are entries made by hand."""
    return sorted(path for path in content.iterdir() if NAME.fullmatch(path.name))


def read_entry(folder: Path, *, digests: bool = False) -> EntryRecord | Damage:
    """What the entry in ``folder`` is, or what is wrong with it.

    Names, kinds, sizes and times of its files are compared with its listing, and with ``digests`` their content too.
    """
    try:
        return _whole_entry(folder, digests=digests)
    except (OSError, FormatError, EntryError) as error:
        if isinstance(error, OSError):
            where = Path(str(error.filename)).name if error.filename else folder.name
            problem = f"{where}: {error.strerror}"
        else:
            problem = str(error)
        return Damage(path=folder, problem=problem, bytes=_bytes_below(folder))


class EntryError(Exception):
    """An entry is not what it says; `read_entry` and `courier.distribution.cache_place` put it into words."""


def _whole_entry(folder: Path, *, digests: bool) -> EntryRecord:
    if not stat.S_ISDIR(folder.lstat().st_mode):
        raise EntryError("it is no folder")
    data = (folder / RECORD).read_bytes()
    record = read_named(EntryRecord, data.rstrip(b"\n"), place=RECORD)
    if record.name != folder.name:
        raise EntryError(f"{RECORD} is of {record.name}")
    found = check_files(folder, record.listing, digests=digests)
    if found != record.bytes:
        raise EntryError(f"{RECORD} says {record.bytes:,} bytes, the listing {found:,}")
    return record


def check_files(folder: Path, listing: str, *, digests: bool) -> int:
    """Compare the files of an entry in ``folder`` with its listing, whose SHA-256 is ``listing``; return their bytes.

    Raises `EntryError`, `FormatError` or `OSError` where they differ.
    """
    files = folder / FILES
    if not stat.S_ISDIR(files.lstat().st_mode):
        raise EntryError(f"{FILES} is no folder")
    listed = size = 0
    with (folder / LISTING).open("rb") as source:
        if hashlib.file_digest(source, "sha256").hexdigest() != listing:
            raise EntryError(f"{LISTING} is not the one that the entry names")
        source.seek(0)
        for entry in read_listing(source):
            listed += 1
            _check_one(files, entry, digests=digests)
            if isinstance(entry, FileEntry):
                size += entry.size
    present = sum(len(folders) + len(names) for _, folders, names in os.walk(files, onerror=_raise))
    if present != listed:
        raise EntryError(f"{present:,} files and folders where the listing has {listed:,}")
    return size


def _raise(error: OSError) -> None:
    raise error


def _check_one(files: Path, entry: Entry, *, digests: bool) -> None:
    path = files / entry.path
    info = path.lstat()
    match entry:
        case FolderEntry():
            kept = stat.S_ISDIR(info.st_mode)
        case LinkEntry():
            kept = stat.S_ISLNK(info.st_mode) and os.readlink(path) == entry.target  # noqa: PTH115 (as it went in)
        case HardLinkEntry():
            kept = stat.S_ISREG(info.st_mode)
        case FileEntry():
            same_time = abs(info.st_mtime_ns - entry.mtime_ns) <= _CLOCK_GRAIN
            kept = stat.S_ISREG(info.st_mode) and info.st_size == entry.size and same_time
            if kept and digests:
                kept = _digest(path) == entry.sha256
    if not kept:
        raise EntryError(f"{FILES}/{entry.path} is not as the listing has it")


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as source:
        while data := source.read(CHUNK):
            found.update(data)
    return found.hexdigest()


def _bytes_below(folder: Path) -> int:
    """Bytes of the files in a damaged entry, as far as they can be seen."""
    if folder.is_symlink() or not folder.is_dir():
        return 0
    size = 0
    for above, _, names in os.walk(folder):
        for name in names:
            try:
                size += Path(above, name).lstat().st_size
            except OSError:
                continue
    return size


def write_listing_copy(folder: Path, listing: Path) -> None:
    """Copy the file of a listing, however long it is, into the entry in ``folder``, whole or not at all."""
    with listing.open("rb") as source, atomic_file(folder / LISTING) as out:
        shutil.copyfileobj(source, out, CHUNK)


def write_record(folder: Path, record: EntryRecord) -> None:
    """Write ``entry.json`` of the entry in ``folder``, whole or not at all."""
    write_atomic(folder / RECORD, record.json() + b"\n")


def delete_entry(folder: Path) -> None:
    """Delete an entry: at once for whoever reads the cache, then its files.

    What a kill leaves of it is under a temporary name. Raises `CourierError` where the system deletes it only in part.
    """
    gone = folder.with_name(f"{TEMP}{os.getpid()}-{time.monotonic_ns():x}-gone")
    folder.rename(gone)
    sync_folder(folder.parent)
    remove_tree(gone)
    if gone.exists():
        raise CourierError(
            f"{gone}: the files of {folder.name} could not all be deleted",
            hint="look at the permissions of what is in that folder, then delete it",
        )
