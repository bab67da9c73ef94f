"""Where the content of a package version comes from that is put on a point: this site's store, or another point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from courier.distribution.folder import PointFolder
from courier.distribution.point_reader import Fetch, PointPackage, read_listing_of
from courier.errors import DamagedError, NotFoundError
from courier.packages.definitions import source_definition
from courier.packages.find import definition_of
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.documents import package as package_doc
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry
from formats.documents.point import content_path


class Supply(Protocol):
    """A package version, verified as far as its listing; what `open_content` gives is compared by whoever reads it."""

    @property
    def ref(self) -> PackageRef:
        """The version."""

    @property
    def remedy(self) -> str:
        """What to do where one of its contents is damaged, for a hint."""

    def definition(self) -> bytes:
        """The envelope of its definition."""

    def entries(self) -> Iterator[Entry]:
        """The entries of its listing."""

    def open_content(self, sha256: str) -> BinaryIO:
        """Open one of its contents for reading. Raises `DamagedError` where it is missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSupply(Supply):
    """A version of this site's store."""

    site: Site
    stored: StoredPackage

    @property
    def ref(self) -> PackageRef:
        """See `Supply.ref`."""
        return PackageRef(package=self.stored.package, version=self.stored.version, listing=self.stored.listing.sha256)

    @property
    def remedy(self) -> str:
        """See `Supply.remedy`."""
        return f"courier package verify {self.stored.package}:{self.stored.version} tells which files"

    def definition(self) -> bytes:
        """What the source signed; where this site does not have that, this site vouches."""
        envelope = source_definition(self.site, self.stored, sign=True)
        if envelope:
            return envelope
        return self.site.sign(definition_of(self.site, self.stored).payload(), package_doc.TYPE).encode()

    def entries(self) -> Iterator[Entry]:
        """See `Supply.entries`."""
        return self.site.store.entries(self.stored.listing)

    def open_content(self, sha256: str) -> BinaryIO:
        """See `Supply.open_content`."""
        return self.site.store.open_content(sha256)


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderSupply(Supply):
    """A version in the folder of a point that came on a drive; ``package`` and ``envelope`` are verified."""

    folder: PointFolder
    package: PointPackage
    envelope: bytes

    @property
    def ref(self) -> PackageRef:
        """See `Supply.ref`."""
        definition = self.package.definition
        return PackageRef(package=definition.package, version=definition.version, listing=definition.listing.sha256)

    @property
    def remedy(self) -> str:
        """See `Supply.remedy`."""
        return "ask who sent the drive for it again"

    def definition(self) -> bytes:
        """See `Supply.definition`."""
        return self.envelope

    def entries(self) -> Iterator[Entry]:
        """See `Supply.entries`."""
        return read_listing_of(fetch_from(self.folder), self.package.definition)

    def open_content(self, sha256: str) -> BinaryIO:
        """See `Supply.open_content`."""
        try:
            return self.folder.open(content_path(sha256))
        except FileNotFoundError:
            raise DamagedError(
                f"{self.folder.path(content_path(sha256))} is missing", hint="ask who sent the drive for it again"
            ) from None


def fetch_from(folder: PointFolder) -> Fetch:
    """Reads a point's folder as a client would."""

    def fetch(path: str, _most: int, /) -> BinaryIO:
        try:
            return folder.open(path)
        except FileNotFoundError:
            raise NotFoundError(
                f"{folder.path(path)} is missing", hint="the folder is not whole: ask who sent the drive for it again"
            ) from None

    return fetch
