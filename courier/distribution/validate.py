"""Reading a point back: every byte of it is compared with its digest, and nothing is written there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from courier.distribution.folder import PointFolder
from courier.distribution.open_point import OpenPoint, opened_point, read_whole
from courier.distribution.point_reader import read_definition
from courier.distribution.unneeded import listed_entries
from courier.errors import CourierError, NotFoundError
from courier.packages.find import parse_reference
from courier.site.card import pinned_card
from courier.site.catalog import points, sites
from courier.site.clock import now
from courier.site.home import Site
from formats.digest import CHUNK
from formats.documents.card import SiteCard
from formats.documents.fields import PackageRef
from formats.documents.listing import FileEntry
from formats.documents.point import (
    STATEMENT,
    PointStatement,
    blocks_path,
    content_path,
    definition_path,
    listing_path,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """A damaged file of a point: its path there, what is wrong, and the files of packages that need it.

    ``files``: the first ten, as ``HQ100001:3/install.wim``; ``count``: how many there are.
    """

    path: str
    problem: str
    files: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Validated:
    """What reading back found. ``checked``: files read; ``bytes``: of their contents."""

    point: str
    versions: tuple[PackageRef, ...]
    checked: int
    bytes: int
    damage: tuple[Damage, ...]


FILES_NAMED = 10


def pinned_cards(site: Site) -> Mapping[str, SiteCard]:
    """The cards of this site and of those that it trusts now, by site."""
    with site.catalogue.reading() as connection:
        known = {one.code: pinned_card(one.card) for one in sites.everyone(connection) if not one.revoked}
    return {**known, site.code: site.card}


def validate(
    site: Site, name: str, reference: str | None = None, *, progress: Callable[[int], None] = lambda _: None
) -> Validated:
    """Read a version of a point back (without one: all of a package; without a package: everything).

    Only a validation of everything is recorded as the point's last one. Raises `NotFoundError` where the point does not
    have the version.
    """
    with opened_point(site, name, writing=False, alone=True) as point:
        found = read_all(point, Reading(point, point.statement(), progress), reference)
        if reference is None:
            with site.catalogue.writing() as connection:
                points.note_validation(connection, name, at_ns=now(), damaged=len(found.damage))
    return found


def read_all(point: OpenPoint, reading: Reading, reference: str | None) -> Validated:
    """Read the versions that ``reference`` names, as `validate` does, by a `Reading`."""
    package, version = parse_reference(reference) if reference else (None, None)
    statement = point.statement()
    held = statement.packages if statement else ()
    chosen = [ref for ref in held if package in (None, ref.package) and version in (None, ref.version)]
    if reference and not chosen:
        raise NotFoundError(
            f"{reference} is not on point {point.name}", hint=f"courier point show {point.name} tells what is there"
        )
    reading.check_statement()
    for ref in chosen:
        reading.check_documents(ref)
        reading.check_contents(ref)
    return Validated(
        point=point.name,
        versions=tuple(chosen),
        checked=reading.checked,
        bytes=reading.bytes,
        damage=tuple(reading.damage.values()),
    )


class Reading:
    """Reads the files of versions from the folders of a point, each once, and keeps what is wrong with them."""

    def __init__(self, point: OpenPoint, statement: PointStatement | None, progress: Callable[[int], None]) -> None:
        self._point, self._progress = point, progress
        self._statement = statement
        self._cards = pinned_cards(point.site)
        self._good: set[bytes] = set()
        self.damage: dict[str, Damage] = {}
        self.checked = self.bytes = 0

    def read_statement(self) -> bytes:
        """The bytes of the statement where clients find it; empty where there is none."""
        return read_whole(self._point.first, STATEMENT)

    def fetch(self, path: str, most: int, /) -> BinaryIO:
        """As `courier.distribution.point_reader.Fetch` has it."""
        return self._point.fetch(path, most)

    def check_statement(self) -> None:
        """Compare the statement with the newest."""
        if self._statement is None:
            return
        self.checked += 1
        try:
            there = self.read_statement()
        except OSError as error:
            self._found(STATEMENT, _unreadable(error))
            return
        if there != self._point.row.statement:
            problem = "is not the newest statement of this site" if there else "is missing"
            self._found(STATEMENT, problem)

    def check_documents(self, ref: PackageRef) -> None:
        """Verify definition and listing of a version."""
        assert self._statement is not None
        self.checked += 2
        name = f"{ref.package}:{ref.version}"
        try:
            read_definition(self.fetch, self._statement, ref, cards=self._cards, now_ns=now())
        except CourierError as error:
            self._found(definition_path(ref.package, ref.version), error.message, name)
        except OSError as error:
            self._found(definition_path(ref.package, ref.version), _unreadable(error), name)
        if problem := self.problem(self._point.folders[:1], listing_path(ref.listing), ref.listing, None):
            self._found(listing_path(ref.listing), problem, name)

    def check_contents(self, ref: PackageRef) -> None:
        """Compare the contents and block tables of a version with their digests."""
        try:
            for entry in listed_entries(self._point, ref):
                if isinstance(entry, FileEntry) and entry.size:
                    self._check_content(entry, f"{ref.package}:{ref.version}/{entry.path}")
        except CourierError as error:
            self._found(listing_path(ref.listing), error.message, f"{ref.package}:{ref.version}")

    def _check_content(self, entry: FileEntry, name: str) -> None:
        key = bytes.fromhex(entry.sha256)
        if key in self._good:
            return
        bad = False
        for path, digest, size, folders in self._parts(entry):
            if path in self.damage:
                self._found(path, "", name)
                bad = True
                continue
            self.checked += 1
            if problem := self.problem(folders, path, digest, size):
                self._found(path, problem, name)
                bad = True
        if not bad:
            self._good.add(key)
            self.bytes += entry.size

    def _parts(self, entry: FileEntry) -> Iterator[tuple[str, str, int | None, Sequence[PointFolder]]]:
        yield content_path(entry.sha256), entry.sha256, entry.size, self._point.folders
        if entry.blocks:
            yield blocks_path(entry.sha256), entry.blocks, None, self._point.folders[:1]

    def problem(self, folders: Sequence[PointFolder], path: str, digest: str, size: int | None) -> str:
        """What is wrong with a file; empty where it is good."""
        found = hashlib.sha256()
        try:
            holder = next((folder for folder in folders if folder.size(path) is not None), None)
            if holder is None:
                return "is missing"
            if size is not None and holder.size(path) != size:
                return f"has {holder.size(path):,} bytes where {size:,} are listed"
            with holder.open(path) as source:
                while data := source.read(CHUNK):
                    found.update(data)
                    self._progress(len(data))
        except OSError as error:
            return _unreadable(error)
        return "" if found.hexdigest() == digest else "differs from its SHA-256"

    def _found(self, path: str, problem: str, name: str = "") -> None:
        before = self.damage.get(path, Damage(path=path, problem=problem))
        files = (*before.files, name) if name and len(before.files) < FILES_NAMED else before.files
        self.damage[path] = Damage(path=path, problem=before.problem, files=files, count=before.count + bool(name))


def _unreadable(error: OSError) -> str:
    """What a failing disk, or a share that breaks off, is in a finding: damage like any other, and the rest is read."""
    return f"cannot be read: {error.strerror or error}"
