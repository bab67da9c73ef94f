"""Bringing back what the catalogue knew of a parcel this site made, from its media: it comes back as Written.

The volumes that are seen are recorded; the archives are not copied.
"""

from __future__ import annotations

from pathlib import Path

from courier.files import locked, make_folder, write_atomic
from courier.media.reading import Medium
from courier.parcel.contents import open_contents
from courier.parcel.rebuild import Rebuilt, rebuilt_from
from courier.parcel.recipes import BuiltArchive
from courier.parcel.states import SentEvent, SentState, VolumeEvent, VolumeState, after_sent
from courier.parcel.transitions import begin_sent, sent_event, sent_volume_event
from courier.parcel.volume_documents import VolumeDocuments
from courier.sending.outgoing_parcel import CARD, CONTENTS, blocks_name, packing_name
from courier.site.catalog import packages, parcels
from courier.site.catalog.parcels import SentParcel, SentVolume
from courier.site.home import Site
from formats.documents.package import PackageDefinition
from formats.envelope import parse_envelope
from formats.errors import NotForUsError


def rebuild_sent(site: Site, medium: Medium, documents: VolumeDocuments) -> Rebuilt:
    """Record the parcel of a verified medium as one that this site made, and this medium as one of its volumes."""
    packing, number = documents.packing, documents.label.number
    with locked(site.home / "parcels" / "out" / "lock"):
        with site.catalogue.reading() as connection:
            known = parcels.find_sent(connection, packing.parcel)
        notes: tuple[str, ...] = ()
        newer = (
            known is not None
            and known.build == packing.build
            and known.edition < packing.edition
            and after_sent(known.state, SentEvent.LAID_OUT) is not None
        )
        if known is None:
            notes = _restore_folder(site, documents)
        elif newer:
            notes = _restore_edition(site, documents, before=known.edition)
        with site.catalogue.writing() as connection:
            if known is None:
                digest = parse_envelope(documents.envelope).sha256
                begin_sent(
                    connection,
                    site,
                    SentEvent.REBUILT,
                    SentParcel(
                        parcel=packing.parcel,
                        state=SentState.WRITTEN,
                        priority=packing.priority,
                        created_ns=packing.created_ns,
                        build=packing.build,
                        packing_list=digest,
                        edition=packing.edition,
                        carrier="",
                        tracking="",
                        # What was asked for on each medium is not on the media; this takes no more of them.
                        spares=max((len(group.spares) for group in packing.groups), default=0),
                        redundancy="fill",
                    ),
                    packing.destinations,
                    f"from {medium.name}",
                )
                packages.raise_counter(connection, "parcel", int(packing.parcel[4:]))
                packages.raise_counter(connection, packages.IDS_LOST, 1)
                for definition in _definitions(site, documents):
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
            if newer:
                digest, text = (
                    parse_envelope(documents.envelope).sha256,
                    f"edition {packing.edition}, from {medium.name}",
                )
                values = {"edition": packing.edition, "packing_list": digest}
                sent_event(connection, site, packing.parcel, SentEvent.LAID_OUT, text, **values)
                sent_event(connection, site, packing.parcel, SentEvent.WRITTEN, text)
            same = known is None or newer or (known.edition == packing.edition and known.build == packing.build)
            there = {v.number: v for v in parcels.sent_volumes(connection, packing.parcel, packing.edition)}
            if same and (number not in there or there[number].state != VolumeState.WRITTEN):
                volume = SentVolume(
                    parcel=packing.parcel,
                    edition=packing.edition,
                    number=number,
                    state=VolumeState.WRITTEN,
                    layout=medium.layout,
                    path=str(Path(medium.name).absolute()),
                    bytes=packing.volume_bytes(number),
                    written_ns=packing.created_ns,
                    seal="",
                )
                sent_volume_event(connection, site, volume, VolumeEvent.WRITTEN, f"volume {number} is {medium.name}")
    return rebuilt_from(documents, medium, "sender", known is None, notes)


def _restore_folder(site: Site, documents: VolumeDocuments) -> tuple[str, ...]:
    """Put back what the parcel's folder held, but for its archives."""
    folder = make_folder(site.outgoing(documents.packing.parcel))
    notes = []
    recipes = (BuiltArchive.load(folder, n) for n in range(1, len(documents.packing.archives) + 1))
    if not all(recipes):
        notes.append("how its archives are made is not kept here: it cannot be written again from here")
    for name, copy in ((CONTENTS, documents.contents), (blocks_name(documents.packing.edition), documents.blocks)):
        if copy is not None:
            write_atomic(folder / name, copy.read_bytes())
    if not (folder / CARD).exists():
        write_atomic(folder / CARD, site.card_envelope)
    write_atomic(folder / packing_name(documents.packing.edition), documents.envelope)
    if documents.packing.encrypted:
        notes.append(
            "it is sealed for its destinations: which packages it holds cannot be read here; new ones need --id"
        )
    return tuple(notes)


def _restore_edition(site: Site, documents: VolumeDocuments, *, before: int) -> tuple[str, ...]:
    """Put the documents of a later edition into the folder of a parcel that was learnt from an earlier one."""
    folder, edition = site.outgoing(documents.packing.parcel), documents.packing.edition
    if documents.blocks is not None:
        write_atomic(folder / blocks_name(edition), documents.blocks.read_bytes())
    write_atomic(folder / packing_name(edition), documents.envelope)
    return (
        f"it was laid out anew after what was known here (edition {edition}, not {before}): what was known of the "
        f"volumes before does not count any more; if it was shipped, ship it again",
    )


def _definitions(site: Site, documents: VolumeDocuments) -> list[PackageDefinition]:
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
