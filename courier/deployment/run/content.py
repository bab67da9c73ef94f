"""The content of packages, as the option of the deployment has it. Whichever way it comes, it is verified when read.

``download-all`` and ``as-needed`` use the cache; what was altered in it since is found by its digest, thrown away and
fetched once more. ``run-from-point`` reads a point block by block and keeps nothing
(`courier.deployment.run.point_files`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from courier.distribution.cache_change import Wanted, lock, unlock
from courier.distribution.cache_entries import FILES, LISTING, delete_entry, read_entry
from courier.distribution.cache_folder import changing, open_cache
from courier.distribution.cache_records import EntryRecord
from courier.distribution.download_pace import Unpaced
from courier.distribution.download_run import Wish, download_to_cache
from courier.distribution.download_shared import Manner
from courier.distribution.source import Source
from courier.error_codes import Code
from courier.errors import DamagedError, FailedError, NoSpaceError, NotFoundError, RefusedError, UnreachableError
from courier.files import remove_tree
from courier.site.clock import now
from formats.digest import CHUNK
from formats.documents.card import SiteCard
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry, FileEntry, read_listing

_Result = TypeVar("_Result")
Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows the progress of so many bytes under a title."""


class PackageFiles(Protocol):
    """The files of a package version."""

    @property
    def ref(self) -> PackageRef:
        """Which it is."""

    def entries(self) -> Iterator[Entry]:
        """Its listing, verified."""

    def pieces(self, entry: FileEntry) -> Iterator[bytes | memoryview]:
        """The bytes of a file. Once the last piece was taken, all were right; `DamagedError` where they are not."""

    def read_at(self, entry: FileEntry, offset: int, count: int) -> bytes:
        """Bytes of a file, fewer at its end: to judge by, before anything is written."""

    def local(self, entry: FileEntry) -> AbstractContextManager[Path]:
        """A file on this computer with the verified bytes, for a program that reads here and there in it."""


class Content(Protocol):
    """Where packages come from."""

    def fetch_all(self, refs: list[PackageRef]) -> None:
        """What is to be done before the first step."""

    def using(self, ref: PackageRef, work: Callable[[PackageFiles], _Result]) -> _Result:
        """What ``work`` makes of a package's files. It may be called once more, from its beginning."""

    def release(self, refs: list[PackageRef]) -> None:
        """The sequence is over, and its packages are not in use any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Supply:
    """From where, by whose word, and how: ``points`` in order, ``cards`` by site, that of the points' site first.

    ``retry_for``: seconds without a byte after which it is given up. ``ca_file``: as for `Wish`. ``warn`` is told when
    no point answers and it is waited for one.
    """

    points: tuple[Source, ...]
    cards: Mapping[str, SiteCard]
    stop: threading.Event
    progress: Progress
    retry_for: float = 600
    warn: Callable[[str], None] = lambda _: None
    ca_file: Path | None = None


class AlteredError(DamagedError):
    """A cache holds other bytes than its listing has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedFiles:
    """A package version in the cache: its entry's folder. See `PackageFiles`.

    ``whole``: SHA-256 of the files that were read whole and found right in this run.
    """

    ref: PackageRef
    folder: Path
    whole: set[str] = field(default_factory=set)

    def entries(self) -> Iterator[Entry]:
        """See `PackageFiles.entries`."""
        with self._naming(LISTING), (self.folder / LISTING).open("rb") as source:
            if hashlib.file_digest(source, "sha256").hexdigest() != self.ref.listing:
                raise self._altered(LISTING)
            source.seek(0)
            yield from read_listing(source)

    def pieces(self, entry: FileEntry) -> Iterator[bytes]:
        """See `PackageFiles.pieces`."""
        found = hashlib.sha256()
        with self._naming(entry.path), self._path(entry).open("rb") as source:
            left = entry.size
            while left and (data := source.read(min(CHUNK, left))):
                found.update(data)
                left -= len(data)
                yield data
            if left or source.read(1) or found.hexdigest() != entry.sha256:
                raise self._altered(entry.path)

    def read_at(self, entry: FileEntry, offset: int, count: int) -> bytes:
        """See `PackageFiles.read_at`: the first time the whole file is read, as by no less its bytes are judged."""
        if entry.sha256 not in self.whole:
            for _ in self.pieces(entry):
                pass
            self.whole.add(entry.sha256)
        if offset >= entry.size:  # an image may name any place
            return b""
        with self._naming(entry.path), self._path(entry).open("rb") as source:
            source.seek(offset)
            return source.read(count)

    @contextlib.contextmanager
    def local(self, entry: FileEntry) -> Iterator[Path]:
        """See `PackageFiles.local`: the file of the cache itself, read whole just before, as others read it then."""
        for _ in self.pieces(entry):
            pass
        yield self._path(entry)

    def _path(self, entry: FileEntry) -> Path:
        return self.folder / FILES / entry.path

    @contextlib.contextmanager
    def _naming(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise self._altered(path) from None

    def _altered(self, path: str) -> AlteredError:
        return AlteredError(
            f"{self.ref.package}:{self.ref.version}: {path} in the cache differs from its digest",
            hint=f"delete it from the cache, then give the same command again: courier cache clear {self.ref.package}",
            code=Code.DIGEST_MISMATCH,
        )


class CachedContent:
    """Packages by way of the cache at ``home``. ``owner``: under this name they are marked as in use there."""

    def __init__(self, supply: Supply, home: Path, *, owner: str, at_once: bool, warn: Callable[[str], None]) -> None:
        self._supply, self._home, self._owner, self._at_once, self._warn = supply, home, owner, at_once, warn
        self._whole: set[str] = set()

    def fetch_all(self, refs: list[PackageRef]) -> None:
        """See `Content.fetch_all`: with ``download-all`` every package comes into the cache."""
        if self._at_once:
            for ref in refs:
                self._fetched(ref)

    def using(self, ref: PackageRef, work: Callable[[PackageFiles], _Result]) -> _Result:
        """See `Content.using`: where the cache was altered, the package is fetched anew and used once more."""
        files = (self._there(ref) if self._at_once else None) or self._fetched(ref)
        try:
            return work(files)
        except AlteredError as error:
            self._warn(f"{error.message}; it is fetched again")
            self._whole.clear()
            with changing(self._home):
                delete_entry(files.folder)
            return work(self._fetched(ref))

    def release(self, refs: list[PackageRef]) -> None:
        """See `Content.release`."""
        for ref in refs:
            with contextlib.suppress(NotFoundError, DamagedError):
                unlock(self._home, Wanted(package=ref.package, version=ref.version), by=self._owner)

    def _there(self, ref: PackageRef) -> CachedFiles | None:
        try:
            folder = open_cache(self._home).entry(ref.package, ref.version)
        except NotFoundError:
            return None
        if not os.path.lexists(folder):
            return None
        entry = read_entry(folder)
        whole = isinstance(entry, EntryRecord) and entry.listing == ref.listing
        return CachedFiles(ref=ref, folder=folder, whole=self._whole) if whole else None

    def _fetched(self, ref: PackageRef) -> CachedFiles:
        """The package in the cache, fetched where it is not. Points are asked, as they know what was withdrawn."""
        wish = Wish(
            package=ref.package,
            version=ref.version,
            points=self._supply.points,
            cards=self._supply.cards,
            manner=Manner(pace=Unpaced(), retry_for=self._supply.retry_for, warn=self._supply.warn),
            ca_file=self._supply.ca_file,
        )
        name = f"{ref.package}:{ref.version}"
        try:
            outcome = download_to_cache(wish, self._home, stop=self._supply.stop, progress=self._supply.progress)
        except UnreachableError as error:
            if (there := self._there(ref)) is None:
                raise
            self._warn(f"{error.message}; {name} is in the cache already")
            return there
        check_listing(ref, outcome.found.ref)
        if outcome.placing is None or outcome.placing.entry is None:
            raise _no_room(
                name, self._home, too_large=outcome.placing is not None and outcome.placing.verdict.too_large
            )
        lock(self._home, Wanted(package=ref.package, version=ref.version), by=self._owner, now_ns=now())
        return CachedFiles(ref=ref, folder=outcome.where.parent, whole=self._whole)


class DoomedContent(CachedContent):
    """``download-all`` into a cache on the disk that a step erases, as ``--force-download`` has it.

    The cache is a folder of its own in the work folder and stands for one on that disk: `erase` takes it away.
    """

    def __init__(self, supply: Supply, home: Path, *, owner: str, warn: Callable[[str], None]) -> None:
        super().__init__(supply, home, owner=owner, at_once=True, warn=warn)
        self._mark = home.with_name(f"{home.name}-erased")

    def fetch_all(self, refs: list[PackageRef]) -> None:
        """See `Content.fetch_all`; nothing comes any more once the disk was erased."""
        if not self._mark.exists():
            super().fetch_all(refs)

    def using(self, ref: PackageRef, work: Callable[[PackageFiles], _Result]) -> _Result:
        """See `Content.using`. Raises `FailedError` once the disk was erased."""
        if self._mark.exists():
            raise FailedError(
                f"{ref.package}:{ref.version} is gone: it was in the cache on the disk that this task sequence erased",
                hint="make the deployment with --option run-from-point or as-needed; --force-download shows why",
                code=Code.REPARTITION_ERASES_CACHE,
            )
        return super().using(ref, work)

    def erase(self) -> None:
        """The disk is erased, and the cache with it."""
        self._mark.touch()
        remove_tree(self._home)


def check_listing(wanted: PackageRef, found: PackageRef) -> None:
    """Raise `RefusedError` where a point has other content as a package version than the deployment names."""
    if wanted != found:
        raise RefusedError(
            f"{wanted.package}:{wanted.version}: the points have other content than the deployment names",
            hint="ask the site that made the deployment to check it: courier deploy check DEPLOYMENT",
            code=Code.DEFINITION_DISAGREES,
        )


def _no_room(name: str, home: Path, *, too_large: bool) -> NoSpaceError:
    if too_large:
        return NoSpaceError(
            f"{name} is larger than the whole cache at {home}",
            hint=f"courier cache config --cache {home} --size SIZE, or a deployment with --option run-from-point",
            code=Code.CACHE_TOO_SMALL,
        )
    return NoSpaceError(
        f"{name} does not fit in the cache at {home}: what is in it may not go now",
        hint=f"courier cache list --cache {home} tells what stays and why",
        code=Code.CACHE_BLOCKED,
    )
