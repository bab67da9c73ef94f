"""What a worker does: an archive, or a group of parity.

Everything here may run in another process, on another computer that sees the same home. What a task makes is known by
its digest and put in place by a rename: doing it twice, or half of it, harms nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from courier.parcel.archive_plan import PlannedArchive
from courier.parcel.encryption import ParcelEncryptor
from courier.parcel.parity_files import make_group
from courier.parcel.parity_repair import ParcelParity
from courier.parcel.patches import PATCHES, ParcelContents
from courier.parcel.recipes import ComposedFiles
from courier.sending.archive_builder import ArchiveBuilder
from courier.site.home import Site
from courier.site.workers.work_place import Failure, WorkPlace, at_work
from formats.documents.packing import PackingList


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlace:
    """Where a build takes place: the folder of the parcel, in a home as every worker must see it."""

    at: WorkPlace
    folder: Path
    level: int
    recipients: tuple[str, ...]


def build_archive(place: BuildPlace, archive: PlannedArchive) -> Failure | None:
    """Make an archive's recipe and its pack in the folder of the parcel."""

    def work(site: Site) -> None:
        encryptor = ParcelEncryptor.in_folder(place.folder, place.recipients) if place.recipients else None
        builder = ArchiveBuilder(
            place.folder, _contents(site, place), level=place.level, encryptor=encryptor, progress=lambda _: None
        )
        builder.build([archive])

    return at_work(place.at, work)


def make_parity_group(place: BuildPlace, packing: PackingList, number: int) -> Failure | None:
    """Make the parity files of group ``number`` of a packing list whose archives are made."""

    def work(site: Site) -> None:
        contents = _contents(site, place)
        files = ComposedFiles(
            place.folder,
            packing,
            open_content=contents.open_content,
            lacking=contents.lacking,
            small=contents.small,
            encryptor=lambda: ParcelEncryptor.in_folder(place.folder, place.recipients),
        )
        make_group(ParcelParity(packing).groups[number], files)

    return at_work(place.at, work)


def _contents(site: Site, place: BuildPlace) -> ParcelContents:
    """What the archives of the parcel are composed from."""
    return ParcelContents(site.store, place.folder / PATCHES)
