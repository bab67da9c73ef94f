"""A medium whose documents have been read and verified: what every receiving begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from courier.errors import CourierError
from courier.files import naming_space
from courier.media.reading import Medium
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import VolumeReader
from courier.receiving.spool import EDITIONS, PACKING_LIST
from courier.site.clock import now
from courier.site.home import Site
from courier.site.trust import Trust
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenVolume:
    """A medium, what its documents say, and the reader that goes on with its blocks.

    ``trust``: what the documents were verified by.
    """

    medium: Medium
    reader: VolumeReader
    documents: VolumeDocuments
    trust: Trust


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedVolume:
    """A medium whose documents cannot be read or are not to be trusted."""

    medium: Medium
    error: CourierError


def open_volume(site: Site, medium: Medium, trust: Trust, scratch: Path) -> OpenVolume:
    """Read the documents of a medium. ``scratch``: a folder for copies of its tables, which replace those in there.

    Raises `RefusedError` for a volume that is not to be trusted, `DamagedError` for one that cannot be read, and
    `NoSpaceError` where the copies do not fit.
    """
    reader = VolumeReader(medium, trust, scratch=scratch, now_ns=now())
    with naming_space(scratch.parent, lambda: 0, purpose=f"receiving {medium.name}"):
        documents = reader.documents(
            lambda digest: _packing_list_by_digest(site, digest),
            lambda label, created_ns: _packing_list_by_label(site, label, created_ns),
        )
    return OpenVolume(medium=medium, reader=reader, documents=documents, trust=trust)


def _packing_list_by_digest(site: Site, digest: str) -> bytes | None:
    """The envelope of a packing list that came with another volume, by the SHA-256 of its payload."""
    for path in (site.home / "parcels" / "in").glob(f"*/{PACKING_LIST}"):
        try:
            data = path.read_bytes()
            if parse_envelope(data).sha256 == digest:
                return data
        except (FormatError, FileNotFoundError):
            # It is damaged on our own disk, and a volume of that parcel puts it right; or the spool went meanwhile.
            continue
    return None


def _packing_list_by_label(site: Site, label: str, created_ns: int) -> bytes | None:
    """The envelope of the packing list that came with the first reel of a volume, by what the label of each reel says.

    ``label``: the label of the volume; ``created_ns``: when its layout was made (nanoseconds since 1970, UTC), which
    differs between any two layouts of a parcel.
    """
    folder = site.home / "parcels" / "in"
    for path in [*folder.glob(f"*/{PACKING_LIST}"), *folder.glob(f"*/{EDITIONS}/*")]:
        try:
            data = path.read_bytes()
            packing = PackingList.parse(parse_envelope(data).payload)
        except (FormatError, FileNotFoundError):
            continue  # as above
        if packing.created_ns == created_ns and any(
            packing.volume_label(number) == label for number in range(1, packing.volumes + 1)
        ):
            return data
    return None
