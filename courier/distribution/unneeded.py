"""Deleting from a point what no version of its statement needs any more. The statement is in place before."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from courier.distribution.folder import PointFolder
from courier.distribution.open_point import OpenPoint, read_whole
from courier.distribution.point_reader import MAX_DEFINITION, read_listing_of
from courier.errors import CourierError, DamagedError
from courier.site.catalog import packages
from formats.documents.fields import PackageRef
from formats.documents.listing import Entry, FileEntry
from formats.documents.package import PackageDefinition
from formats.documents.point import content_path, definition_path, listing_path
from formats.envelope import parse_envelope
from formats.errors import FormatError

_HEX = re.compile("[0-9a-f]{64}")
_DEFINITION = re.compile("[A-Z0-9]{3}[0-9A-F]{5}-[0-9]{1,19}[.]json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deleted:
    """What was deleted: files, and their bytes."""

    files: int = 0
    bytes: int = 0


def listed_entries(point: OpenPoint, ref: PackageRef) -> Iterator[Entry]:
    """The entries of a version that a point has: from its own listing, or where that is damaged from the store.

    Raises `DamagedError` where neither has the listing.
    """
    try:
        envelope = read_whole(point.first, definition_path(ref.package, ref.version), MAX_DEFINITION)
        definition = PackageDefinition.parse(parse_envelope(envelope).payload)
        if definition.listing.sha256 == ref.listing:
            yield from read_listing_of(point.fetch, definition)
            return
    except (FormatError, CourierError, OSError):
        pass  # read again below; what came before is repeated, which changes no set of contents
    with point.site.catalogue.reading() as connection:
        stored = packages.find(connection, ref.package, ref.version)
    if stored is None or stored.listing.sha256 != ref.listing:
        raise DamagedError(
            f"point {point.name}: the listing of {ref.package}:{ref.version} is damaged, and not in the store",
            hint=f"prestage the point from a drive that has it, or: courier point withdraw {ref.package}:{ref.version}",
        )
    yield from point.site.store.entries(stored.listing)


def delete_unneeded(point: OpenPoint) -> Deleted:
    """Delete contents, block tables, listings and definitions that the statement's versions do not need.

    Other files are none of ours and stay. Raises `DamagedError`, with nothing deleted, where it is not known what a
    version needs.
    """
    statement = point.statement()
    held = statement.packages if statement else ()
    needed = contents_needed(entry for ref in held for entry in listed_entries(point, ref))
    return delete_all_but(point.folders, held, needed)


def contents_needed(entries: Iterable[Entry]) -> set[bytes]:
    """The SHA-256 of each content that entries of listings name."""
    return {bytes.fromhex(entry.sha256) for entry in entries if isinstance(entry, FileEntry)}


def delete_all_but(folders: Sequence[PointFolder], held: Sequence[PackageRef], needed: Container[bytes]) -> Deleted:
    """Delete the files of a point but those of the versions ``held``, whose contents have the SHA-256 ``needed``.

    The first folder has everything but contents. Other files are none of ours and stay.
    """
    listings = {ref.listing for ref in held}
    definitions = {definition_path(ref.package, ref.version).rpartition("/")[2] for ref in held}
    files = count = 0
    for folder, path in _ours(folders):
        top, _, name = path.rpartition("/")
        match top:
            case "definitions":
                keep = name in definitions
            case "listings":
                keep = name in listings
            case _:
                keep = bytes.fromhex(name) in needed
        if not keep:
            count += folder.size(path) or 0
            files += folder.delete(path)
    return Deleted(files=files, bytes=count)


def _ours(folders: Sequence[PointFolder]) -> Iterator[tuple[PointFolder, str]]:
    """Every file of a point that has one of its names: the folder that has it, and its path."""
    for name in folders[0].names("definitions"):
        if _DEFINITION.fullmatch(name):
            yield folders[0], f"definitions/{name}"
    for name in filter(_HEX.fullmatch, folders[0].names("listings")):
        yield folders[0], listing_path(name)
    for name in filter(_HEX.fullmatch, folders[0].names("blocks")):
        yield folders[0], f"blocks/{name}"
    for folder in folders:
        for part in folder.names("content"):
            for name in filter(_HEX.fullmatch, folder.names(f"content/{part}")):
                if content_path(name) == f"content/{part}/{name}":
                    yield folder, content_path(name)
