"""Restoring the record of a parcel that this site made from its media, after the catalogue was lost.

The parcel is recorded as Written, with the volumes that were seen; its archives are not copied from the media.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from courier.files import make_folder, write_atomic
from courier.media.reading import Medium
from courier.parcel.contents import open_contents
from courier.parcel.rebuild import Rebuilt, rebuilt_from
from courier.parcel.recipes import ArchiveRecipe
from courier.parcel.states import SentEvent, SentState, VolumeEvent, VolumeState, after_sent
from courier.parcel.transitions import begin_sent, sent_event, sent_volume_event
from courier.parcel.volume_documents import VolumeDocuments
from courier.sending.outgoing_parcel import CARD, CONTENTS, blocks_name, packing_name
from courier.sending.write import medium_of
from courier.site.catalog import packages, parcels
from courier.site.catalog.parcels import SentMedium, SentParcel, SentVolume
from courier.site.home import Site
from formats.documents.package import PackageDefinition
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import NotForUsError

if TYPE_CHECKING:
    from sqlalchemy import Connection


class _Standing(Enum):
    """How the parcel of a medium compares with what the catalogue knows."""

    UNKNOWN = auto()
    LATER_EDITION = auto()
    EARLIER_EDITION = auto()
    SAME = auto()
    OTHER = auto()
    """Another build, or a later edition of a parcel that has ended: the catalogue is right."""


UNKNOWN_PACKAGES = (
    "it is encrypted for its destinations: which packages it holds cannot be read here, so that it cannot be shipped "
    "again; new packages need --id"
)
"""The note on a parcel of ours whose contents only its destinations can read."""


def rebuild_sent(site: Site, medium: Medium, documents: VolumeDocuments) -> Rebuilt:
    """Record the parcel of a verified medium as one that this site made, and this medium as one of its volumes."""
    packing = documents.packing
    with site.locked(site.home / "parcels" / "out" / "lock"):
        with site.catalogue.reading() as connection:
            known = parcels.find_sent(connection, packing.parcel)
        standing = _standing(known, packing)
        notes = _restore_files(site, documents, known, standing)
        digest = parse_envelope(documents.envelope).sha256
        definitions = _definitions(site, documents) if standing is _Standing.UNKNOWN else []
        if standing is _Standing.UNKNOWN and packing.encrypted and not definitions:
            notes = (*notes, UNKNOWN_PACKAGES)
        with site.catalogue.writing() as connection:
            if standing is _Standing.UNKNOWN:
                _record_parcel(connection, site, medium, packing, digest)
                _record_packages(connection, site, packing, definitions)
            elif standing is _Standing.LATER_EDITION:
                _record_edition(connection, site, medium, packing, digest)
            if standing is _Standing.EARLIER_EDITION:
                _record_medium(connection, medium_of(_written_volume(medium, documents)))
            elif standing is not _Standing.OTHER:
                _record_volume(connection, site, medium, documents)
    return rebuilt_from(documents, medium, "sender", standing is _Standing.UNKNOWN, notes)


def _standing(known: SentParcel | None, packing: PackingList) -> _Standing:
    if known is None:
        return _Standing.UNKNOWN
    if known.build != packing.build:
        return _Standing.OTHER
    if known.edition < packing.edition and after_sent(known.state, SentEvent.LAID_OUT) is not None:
        return _Standing.LATER_EDITION
    if known.edition > packing.edition:
        return _Standing.EARLIER_EDITION
    return _Standing.SAME if known.edition == packing.edition else _Standing.OTHER


def _restore_files(
    site: Site, documents: VolumeDocuments, known: SentParcel | None, standing: _Standing
) -> tuple[str, ...]:
    """Restore the documents in the parcel's folder; return what the operator should know."""
    if standing is _Standing.UNKNOWN:
        return _restore_folder(site, documents)
    if standing is _Standing.LATER_EDITION and known is not None:
        return _restore_edition(site, documents, before=known.edition)
    if standing is _Standing.EARLIER_EDITION:
        # By its packing list an arrival of these media is judged.
        folder = make_folder(site.outgoing(documents.packing.parcel))
        write_atomic(folder / packing_name(documents.packing.edition), documents.envelope)
    return ()


def _restore_folder(site: Site, documents: VolumeDocuments) -> tuple[str, ...]:
    """Restore what the parcel's folder held, except for its archives."""
    folder = make_folder(site.outgoing(documents.packing.parcel))
    notes = []
    recipes = (ArchiveRecipe.load(folder, n) for n in range(1, len(documents.packing.archives) + 1))
    if not all(recipes):
        notes.append("how its archives are made is not kept here: it cannot be written again from here")
    for name, copy in ((CONTENTS, documents.contents), (blocks_name(documents.packing.edition), documents.blocks)):
        if copy is not None:
            write_atomic(folder / name, copy.read_bytes())
    if not (folder / CARD).exists():
        write_atomic(folder / CARD, site.card_envelope)
    write_atomic(folder / packing_name(documents.packing.edition), documents.envelope)
    return tuple(notes)


def _restore_edition(site: Site, documents: VolumeDocuments, *, before: int) -> tuple[str, ...]:
    """Restore the documents of a later edition of a parcel that was rebuilt from an earlier one."""
    folder, edition = site.outgoing(documents.packing.parcel), documents.packing.edition
    if documents.blocks is not None:
        write_atomic(folder / blocks_name(edition), documents.blocks.read_bytes())
    write_atomic(folder / packing_name(edition), documents.envelope)
    return (
        f"it was laid out anew later (edition {edition}, known was {before}): what was known of its volumes does not "
        "count any more; if it was shipped, ship it again",
    )


def _record_parcel(connection: Connection, site: Site, medium: Medium, packing: PackingList, digest: str) -> None:
    parcel = SentParcel(
        parcel=packing.parcel,
        state=SentState.WRITTEN,
        priority=packing.priority,
        created_ns=packing.created_ns,
        build=packing.build,
        packing_list=digest,
        edition=packing.edition,
        # The redundancy that was asked for is not on the media; `fill` takes no more of them than it did.
        spares=max((len(group.spares) for group in packing.groups), default=0),
        redundancy="fill",
    )
    begin_sent(connection, site, SentEvent.REBUILT, parcel, packing.destinations, f"from {medium.name}")


def _record_packages(
    connection: Connection, site: Site, packing: PackingList, definitions: Sequence[PackageDefinition]
) -> None:
    """Record the packages of a parcel, and raise the counters so that no ID is given out twice."""
    packages.raise_counter(connection, "parcel", int(packing.parcel[4:]))
    packages.raise_counter(connection, packages.IDS_LOST, 1)
    for definition in definitions:
        parcels.add_sent_package(
            connection,
            packing.parcel,
            definition.package,
            definition.version,
            listing=definition.listing.sha256,
            definition=definition.payload(),
        )
        packages.raise_counter(connection, definition.package, definition.version)
        if definition.package.startswith(site.code):
            packages.raise_counter(connection, "package", int(definition.package[3:], 16))


def _record_edition(connection: Connection, site: Site, medium: Medium, packing: PackingList, digest: str) -> None:
    text = f"edition {packing.edition}, from {medium.name}"
    values = {"edition": packing.edition, "packing_list": digest}
    sent_event(connection, site, packing.parcel, SentEvent.LAID_OUT, text, **values)
    sent_event(connection, site, packing.parcel, SentEvent.WRITTEN, text)


def _record_volume(connection: Connection, site: Site, medium: Medium, documents: VolumeDocuments) -> None:
    """Record the medium as a written volume, unless it is known as written."""
    packing, number = documents.packing, documents.label.number
    known = parcels.sent_volumes(connection, packing.parcel, packing.edition, number)
    if known and known[0].state == VolumeState.WRITTEN:
        return
    volume = _written_volume(medium, documents)
    sent_volume_event(connection, site, volume, VolumeEvent.WRITTEN, f"volume {number} is {medium.name}")
    parcels.put_medium(connection, medium_of(volume))


def _record_medium(connection: Connection, new: SentMedium) -> None:
    """Record a medium of an earlier layout, unless it is known."""
    known = parcels.written_media(connection, new.parcel)
    if not any((one.edition, one.number, one.path) == (new.edition, new.number, new.path) for one in known):
        parcels.put_medium(connection, new)


def _written_volume(medium: Medium, documents: VolumeDocuments) -> SentVolume:
    """The volume that is on a medium of ours."""
    packing, number = documents.packing, documents.label.number
    return SentVolume(
        parcel=packing.parcel,
        edition=packing.edition,
        number=number,
        state=VolumeState.WRITTEN,
        layout=medium.layout,
        path=str(Path(medium.name).absolute()),
        bytes=packing.volume_bytes(number),
        written_ns=packing.created_ns,
    )


def _definitions(site: Site, documents: VolumeDocuments) -> list[PackageDefinition]:
    """The definitions of the packages of a parcel; none if its contents are damaged, or encrypted for others."""
    if documents.contents is None:
        return []
    found = []
    try:
        with open_contents(site, documents.packing, documents.contents) as contents:
            for header, entries in contents.packages():
                for _ in entries:
                    pass
                found.append(
                    PackageDefinition(
                        package=header.package,
                        version=header.version,
                        name=header.name,
                        site=site.code,
                        created_ns=documents.packing.created_ns,
                        issued_ns=site.signing_time(documents.packing.created_ns),
                        listing=header.listing,
                    )
                )
    except NotForUsError:
        return []
    return found
