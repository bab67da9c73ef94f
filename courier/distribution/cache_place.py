"""Placing a package in a client's cache, whole or not at all, and judging beforehand whether it would fit."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, cast

from courier.distribution.cache_entries import (
    FILES,
    LISTING,
    Damage,
    EntryError,
    check_files,
    delete_entry,
    read_entry,
    write_listing_copy,
    write_record,
)
from courier.distribution.cache_folder import Cache, changing, inventory, told_command
from courier.distribution.cache_records import EntryRecord
from courier.distribution.cache_rules import Held, Verdict, judge
from courier.distribution.cache_staged import delete_idle, is_active, staging_folder
from courier.error_codes import Code
from courier.errors import DamagedError, RefusedError, UsageError
from courier.files import TEMP, free_space, naming_space, remove_tree, sync_folder
from courier.packages.read_tree import read_tree
from courier.packages.survey import scan_tree
from courier.packages.tree_root import SourceFile, TreeRoot
from courier.packages.write_tree import write_tree
from courier.site.store.content_store import StoredContent
from formats.blocks import BLOCK, BlockHasher
from formats.digest import CHUNK, sha256_hex
from formats.documents.listing import Entry, ListingCheck, entry_line, read_listing, write_listing
from formats.errors import FormatError

Fill = Callable[[Path], None]
"""Writes the files of a package into a folder that does not exist yet, each checked against the listing's digest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placing:
    """What became of a placing: the verdict, and the entry, None where it did not fit.

    ``already``: the cache had it before. Then it counts as referenced now.
    """

    verdict: Verdict
    entry: EntryRecord | None = None
    already: bool = False

    @property
    def evicted(self) -> tuple[Held, ...]:
        """The entries that were deleted for it, oldest first."""
        return self.verdict.evict


def place(home: Path, package: str, version: int, *, listing: Path, digest: str, fill: Fill, now_ns: int) -> Placing:
    """Place a package version in the cache at ``home``, made where there is none; unless it fits, nothing is changed.

    ``listing`` is the file of its listing, whose SHA-256 has to be ``digest``. ``fill`` is called only when it fits,
    while the cache is locked for other programs. Entries go when the files are there, so that a failed ``fill`` costs
    none; where the disk has no room for both, they go before it. What a download left of the same version goes too.
    Raises `DamagedError` for a listing or files that are not the expected ones, `RefusedError` where the cache holds
    other content as that version, what ``fill`` raises, and what `changing` raises.
    """
    size = listed_bytes(listing, digest)
    with changing(home, make=True) as cache:
        coming = Coming(package=package, version=version, listing=digest, bytes=size, staged=None)
        judged = judge_coming(cache, coming, now_ns=now_ns)
        if isinstance(judged, Placing):
            return judged
        late = has_room(cache, size)
        if not late:
            make_way(cache, judged)
        entry = coming.entry(now_ns)
        with naming_space(cache.content, lambda: size, purpose=f"placing {package}:{version}"):
            with _new_entry(cache.content, entry, listing, fill) as ready:
                if late:
                    make_way(cache, judged)
                ready.rename(cache.entry(package, version))
            sync_folder(cache.content)
        return Placing(verdict=judged.verdict, entry=entry)


@dataclass(frozen=True, kw_only=True, slots=True)
class Coming:
    """A package version that is to become an entry: the SHA-256 of its listing, and the bytes of its files.

    ``staged``: the folder of the caller's own download of it; None where it does not come by one.
    """

    package: str
    version: int
    listing: str
    bytes: int
    staged: Path | None

    def entry(self, now_ns: int) -> EntryRecord:
        """The record of the new entry."""
        return EntryRecord(
            package=self.package,
            version=self.version,
            listing=self.listing,
            bytes=self.bytes,
            placed_ns=now_ns,
            referenced_ns=now_ns,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitting:
    """That a package version fits, and what goes for it beside what the verdict names.

    ``replaced``: the damaged entry that it takes the place of. ``idle``: what came of it by a download that nobody is
    at work on.
    """

    verdict: Verdict
    replaced: Damage | None
    idle: Path | None


def judge_coming(cache: Cache, coming: Coming, *, now_ns: int) -> Fitting | Placing:
    """Whether a package version fits now; a `Placing` where nothing is to be done: it is there, or does not fit.

    Call it within `changing`. Raises `RefusedError` as `entry_there` does.
    """
    there = entry_there(cache, coming.package, coming.version, digest=coming.listing, now_ns=now_ns)
    if isinstance(there, EntryRecord):
        return Placing(verdict=Verdict(fits=True), entry=there, already=True)
    idle = None if coming.staged else _idle(cache, coming.package, coming.version)
    verdict = judge_placing(cache, coming.bytes, now_ns=now_ns, replaced=there, own=coming.staged or idle)
    return Fitting(verdict=verdict, replaced=there, idle=idle) if verdict.fits else Placing(verdict=verdict)


def _idle(cache: Cache, package: str, version: int) -> Path | None:
    """What a download left of a package version that nobody is at work on; None for nothing."""
    folder = staging_folder(cache.content, package, version)
    return folder if folder.is_dir() and not is_active(folder) else None


def has_room(cache: Cache, size: int) -> bool:
    """Whether the disk takes ``size`` bytes more and keeps its reserve, with all that is there now."""
    return free_space(cache.content) >= size + cache.settings.reserve


def make_way(cache: Cache, judged: Fitting) -> None:
    """Delete what goes for a package that fits."""
    if judged.replaced is not None:
        delete_entry(judged.replaced.path)
    if judged.idle is not None:
        delete_idle(judged.idle)
    for one in judged.verdict.evict:
        if one.staged:
            delete_idle(staging_folder(cache.content, one.package, one.version))
        else:
            delete_entry(cache.entry(one.package, one.version))


def entry_there(cache: Cache, package: str, version: int, *, digest: str, now_ns: int) -> EntryRecord | Damage | None:
    """The entry of a package version, which counts as referenced now, or what is damaged of it; None for none.

    Raises `RefusedError` where it has another listing than the one with SHA-256 ``digest``. Call it within `changing`.
    """
    folder = cache.entry(package, version)
    there = read_entry(folder) if os.path.lexists(folder) else None
    if not isinstance(there, EntryRecord):
        return there
    if there.listing != digest:
        raise RefusedError(
            f"the cache at {cache.home} holds other content as {package}:{version} (listing {there.listing})",
            hint="find out which one is right; to delete this one: "
            + told_command(cache.home, f"clear {package}:{version}"),
        )
    there = replace(there, referenced_ns=now_ns)
    write_record(folder, there)
    return there


def would_place(cache: Cache, size: int, *, now_ns: int, package: str, version: int | None) -> Verdict:
    """Whether a package of ``size`` bytes would fit now, and what would go for it; changes nothing.

    ``version``: None for one that the cache holds nothing of. An entry that the cache has already fits, and what is
    downloaded of it takes no other package's room.
    """
    if version is None:
        return judge_placing(cache, size, now_ns=now_ns)
    folder = cache.entry(package, version)
    there = read_entry(folder) if os.path.lexists(folder) else None
    if isinstance(there, EntryRecord):
        return Verdict(fits=True)
    own = staging_folder(cache.content, package, version)
    return judge_placing(cache, size, now_ns=now_ns, replaced=there, own=own)


def judge_placing(
    cache: Cache, size: int, *, now_ns: int, replaced: Damage | None = None, own: Path | None = None
) -> Verdict:
    """The verdict of the rules; a damaged entry that is ``replaced`` takes no room.

    ``own``: the folder of the download that is judged, which is no other package.
    """
    found = inventory(cache)
    given_back = replaced.bytes if replaced else 0
    free = free_space(cache.content) + given_back
    downloads = []
    for one in found.downloads:
        if one.folder == own:
            free += one.on_disk
        else:
            downloads.append(one.held)
            free -= one.to_come
    return judge(
        size,
        [*(one.held for one in found.entries), *downloads],
        cache.settings.limits,
        now_ns=now_ns,
        free=free,
        unusable=sum(one.bytes for one in found.damaged) - given_back,
    )


def listed_bytes(listing: Path, digest: str) -> int:
    """Bytes of all files of a listing; raises `DamagedError` where it is not the one of this digest."""
    check = ListingCheck()
    try:
        with listing.open("rb") as source:
            for entry in read_listing(source):
                check.add(entry, entry_line(entry))
        found = check.summary()
    except FormatError as error:
        raise DamagedError(f"{listing}: {error}", hint="fetch the listing again") from None
    if found.sha256 != digest:
        raise DamagedError(
            f"{listing}: its SHA-256 is {found.sha256}, not {digest}",
            hint="fetch the listing again, and check which one the package's definition names",
            code=Code.DIGEST_MISMATCH,
        )
    return found.bytes


@contextlib.contextmanager
def _new_entry(content: Path, entry: EntryRecord, listing: Path, fill: Fill) -> Iterator[Path]:
    """Make an entry under a temporary name in ``content``; the block renames it. It is removed on an error."""
    temporary = content / f"{TEMP}{os.getpid()}-{entry.name}"
    remove_tree(temporary)
    temporary.mkdir()
    try:
        write_listing_copy(temporary, listing)
        fill(temporary / FILES)
        try:
            check_files(temporary, entry.listing, digests=False)
        except (EntryError, FormatError, FileNotFoundError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise DamagedError(
                f"{entry.package}:{entry.version}: what was to be placed is not as its listing has it: {what}",
                hint="fetch the package again",
            ) from None
        write_record(temporary, entry)
        yield temporary
    except BaseException:
        remove_tree(temporary)
        raise


def copy_of(folder: Path, listing: Path) -> Fill:
    """A `Fill` that copies the files which ``listing`` names from ``folder``, each checked against its digest."""

    def fill(target: Path) -> None:
        current = ""

        def entries(source: BinaryIO) -> Iterator[Entry]:
            nonlocal current
            for entry in read_listing(source):
                current = entry.path
                yield entry

        with TreeRoot(folder) as root, listing.open("rb") as source:

            def open_content(_: str) -> BinaryIO:
                # A listing names the file before its content is asked for, so no table of digests is needed.
                return cast(BinaryIO, SourceFile(root.open(current), root.path(current)))

            try:
                write_tree(entries(source), target, open_content)
            except (DamagedError, FileNotFoundError):
                raise DamagedError(
                    f"{folder / current} is missing or is not as the listing has it",
                    hint="name the folder that holds the package's files as its source added them",
                    code=Code.DIGEST_MISMATCH,
                ) from None

    return fill


@contextlib.contextmanager
def listing_of(folder: Path) -> Iterator[tuple[Path, str]]:
    """Make the listing of the files in ``folder``; yields its file, which lasts as long as the block, and its SHA-256.

    Raises `UsageError` when there are none, and `RefusedError` for what no package can hold.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="name the folder of the package's files with --from")
    with tempfile.TemporaryDirectory(prefix=TEMP) as place_of_listing, scan_tree([folder]) as tree:
        if not tree.entries:
            raise UsageError(f"{folder} is empty", hint="name a folder with something in it")
        path = Path(place_of_listing, LISTING)
        with path.open("wb") as out:
            summary = write_listing(read_tree(tree, _content), out)
        yield path, summary.sha256


def _content(source: BinaryIO) -> StoredContent:
    """Size, digest and block table of an open file, read to its end."""
    hasher, size = BlockHasher(), 0
    while data := source.read(CHUNK):
        size += len(data)
        hasher.update(data)
    sha256, table = hasher.finish()
    return StoredContent(sha256=sha256, size=size, blocks=sha256_hex(table) if size > BLOCK else "")
