"""What a worker does: an archive, the check of a content that is cut, or a group of parity.

Everything here may run in another process, on another computer that sees the same home. What a task makes is known by
its digest and put in place by a rename: doing it twice, or half of it, harms nothing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.parcel.archive_plan import PlannedArchive, PlannedMember
from courier.parcel.encryption import ParcelEncryptor
from courier.parcel.parity_files import make_group
from courier.parcel.parity_repair import ParcelParity
from courier.parcel.patches import PATCHES, ParcelContents
from courier.parcel.recipes import ComposedFiles
from courier.sending.archive_builder import ArchiveBuilder
from courier.sending.member_source import bad_content
from courier.site.home import Site
from courier.site.workers.work_place import Failure, WorkPlace, at_work
from formats.digest import CHUNK
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
        contents = _contents(site, place)
        builder = ArchiveBuilder(
            place.folder,
            contents.open_content,
            level=place.level,
            encryptor=encryptor,
            progress=lambda _: None,
            small=contents.small,
        )
        builder.build([archive])

    return at_work(place.at, work)


def check_content(place: BuildPlace, members: Sequence[PlannedMember]) -> list[int] | Failure | None:
    """Read a content that is cut and compare its SHA-256; return the CRC-32 of each of its parts, in their order."""

    def work(site: Site) -> list[int]:
        content, digest, crcs = members[0].content, hashlib.sha256(), list[int]()
        with _contents(site, place).open_content(content.sha256) as source:
            for member in members:
                crc, left = 0, member.length
                while left and (data := source.read(min(CHUNK, left))):
                    digest.update(data)
                    crc = zlib.crc32(data, crc)
                    left -= len(data)
                crcs.append(crc)
            if source.read(1) or digest.hexdigest() != content.sha256:
                raise bad_content(content.path)
        return crcs

    return at_work(place.at, work)


def make_parity_group(place: BuildPlace, packing: PackingList, number: int) -> Failure | None:
    """Make the parity files of group ``number`` of a packing list whose archives are made."""

    def work(site: Site) -> None:
        files = ComposedFiles(
            place.folder,
            packing,
            open_content=_contents(site, place).open_content,
            lacking=_contents(site, place).lacking,
            small=_contents(site, place).small,
            encryptor=lambda: ParcelEncryptor.in_folder(place.folder, place.recipients),
        )
        make_group(ParcelParity(packing).groups[number], files)

    return at_work(place.at, work)


def _contents(site: Site, place: BuildPlace) -> ParcelContents:
    """What the archives of the parcel are composed from."""
    return ParcelContents(site.store, place.folder / PATCHES)
