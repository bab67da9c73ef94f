"""With which volumes each package of a parcel of ours is usable at its destination, whatever of the rest is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from courier.errors import CourierError, DamagedError
from courier.parcel.import_checks import PackageVersion
from courier.parcel.package_needs import Needs, indices, needs_of, read_needs, volumes_of, write_needs
from courier.parcel.recipes import ArchiveRecipe
from courier.sending.outgoing_parcel import OutgoingParcel
from courier.site.catalog import packages, parcels
from courier.site.home import Site
from courier.text import volumes
from formats.documents.listing import FileEntry, ListingSummary


@dataclass(frozen=True, kw_only=True, slots=True)
class UsablePackage:
    """A package of a parcel, and the ``volumes`` that hold all of its content; none where it has no bytes."""

    package: str
    version: int
    volumes: tuple[int, ...]

    @property
    def name(self) -> str:
        """The package version."""
        return f"{self.package}:{self.version}"

    @property
    def text(self) -> str:
        """When it is usable, for people."""
        if len(self.volumes) < 2:
            return f"usable from volume {self.volumes[0] if self.volumes else 1}"
        return f"usable with {volumes(self.volumes)}"


def usable_packages(site: Site, parcel: OutgoingParcel) -> tuple[UsablePackage, ...]:
    """The packages of a parcel, those first that are usable with the first volumes.

    None where that is not known, as its packages or how it was made are not kept here any more; and none of a delta,
    which is imported as a whole.
    """
    if parcel.packing.bases:
        return ()
    needs = read_needs(parcel.folder, parcel.packing)
    if needs is None:
        needs = _worked_out(site, parcel)
        if needs is None:
            return ()
        write_needs(parcel.folder, parcel.packing, needs)
    found = [
        UsablePackage(package=package, version=version, volumes=volumes_of(parcel.packing, indices(spans)))
        for (package, version), spans in needs.items()
    ]
    return tuple(sorted(found, key=lambda one: (one.volumes[-1:], len(one.volumes), one.name)))


def _worked_out(site: Site, parcel: OutgoingParcel) -> Needs | None:
    packing = parcel.packing
    with site.catalogue.reading() as connection:
        carried = parcels.sent_packages(connection, parcel.sent.parcel)
        stored = {(p, v): packages.find(connection, p, v) for p, v, _, _ in carried}
    if packing.volumes < 2 or len(carried) < 2:
        # Every archive is for the one package, or on the one volume.
        every = ((0, len(packing.archives) - 1),) if packing.archives else ()
        return dict.fromkeys(stored, every)
    listings: dict[PackageVersion, ListingSummary] = {}
    for package, version, listing, _ in carried:
        one = stored[package, version]
        if one is None or one.listing.sha256 != listing:
            return None
        listings[package, version] = one.listing
    try:
        return needs_of(((name, _contents(site, listing)) for name, listing in listings.items()), _archives(parcel))
    except CourierError:
        # A recipe or a listing is not here any more as it was: it is of no importance for what this says.
        return None


def _archives(parcel: OutgoingParcel) -> Iterator[tuple[int, Iterator[str]]]:
    for index in range(len(parcel.packing.archives)):
        recipe = ArchiveRecipe.load(parcel.folder, index + 1)
        if recipe is None:
            raise DamagedError(f"how archive {index + 1} is made is missing", hint="create the parcel anew")
        yield index, recipe.columns.contents()


def _contents(site: Site, listing: ListingSummary) -> Iterator[str]:
    for entry in site.store.entries(listing):
        if isinstance(entry, FileEntry) and entry.size:
            yield entry.sha256
