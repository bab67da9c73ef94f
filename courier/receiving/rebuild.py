"""Rebuilding what the catalogue knew of a parcel from its media alone, after the catalogue was lost.

At the sender the parcel comes back as Written, with the volumes seen; its archives are not copied. At a receiver its
spool begins again, empty. What came by network (notices, definitions, receipts) is not on the media: the other site
sends it again (``courier parcel ship``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.errors import CourierError
from courier.files import TEMP, locked, make_folder, sweep, write_atomic
from courier.media.reading import Medium, find_all_media
from courier.parcel.contents import open_contents
from courier.parcel.recipes import BuiltArchive
from courier.parcel.states import SentEvent, SentState, VolumeEvent, VolumeState, after_sent
from courier.parcel.transitions import begin_sent, sent_event, sent_volume_event
from courier.parcel.volume_documents import Head
from courier.parcel.volume_reader import VolumeReader
from courier.receiving.begin import begin_spool
from courier.sending.outgoing_parcel import CARD, CONTENTS, blocks_name, packing_name
from courier.site.catalog import packages, parcels
from courier.site.catalog.parcels import SentParcel, SentVolume
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.package import PackageDefinition
from formats.envelope import parse_envelope
from formats.errors import NotForUs


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """What one medium told. ``new``: the catalogue did not know its parcel; ``notes``: what cannot be told from it."""

    parcel: str
    number: int
    of: int
    path: str
    side: str
    new: bool
    notes: tuple[str, ...]


def rebuild(site: Site, paths: Sequence[Path]) -> tuple[list[Rebuilt], list[tuple[str, CourierError]]]:
    """Learn from every volume at ``paths``; return what was learnt and the media that told nothing.

    What the catalogue knows already is left as it is; but of several layouts of a parcel the last counts, whichever is
    seen first. Raises `Refused` while another rebuilding runs.
    """
    found, failures = [], []
    media = find_all_media(paths)
    root = make_folder(site.home / "parcels")
    with locked(root / "lock"):
        sweep(root)
        for medium in media:
            try:
                with tempfile.TemporaryDirectory(dir=root, prefix=TEMP) as scratch:
                    head = VolumeReader(medium, site.trust(), scratch=Path(scratch), now_ns=now()).head()
                    learn = _as_sender if head.packing.source == site.code else _as_receiver
                    found.append(learn(site, medium, head))
            except CourierError as error:
                failures.append((medium.name, error))
    return found, failures


def _as_receiver(site: Site, medium: Medium, head: Head) -> Rebuilt:
    with site.catalogue.reading() as connection:
        known = parcels.find_received(connection, head.packing.parcel, head.packing.build)
    with locked(site.home / "parcels" / "in" / "lock"):
        spool = begin_spool(site, head, hold=False)
    return _rebuilt(head, medium, "receiver", not known, () if spool else ("imported before",))


def _as_sender(site: Site, medium: Medium, head: Head) -> Rebuilt:
    packing, number = head.packing, head.label.number
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
            notes = _restore_folder(site, head)
        elif newer:
            notes = _restore_edition(site, head, before=known.edition)
        with site.catalogue.writing() as connection:
            if known is None:
                digest = parse_envelope(head.envelope).sha256
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
                for definition in _definitions(site, head):
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
                digest, text = parse_envelope(head.envelope).sha256, f"edition {packing.edition}, from {medium.name}"
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
    return _rebuilt(head, medium, "sender", known is None, notes)


def _restore_folder(site: Site, head: Head) -> tuple[str, ...]:
    """Put back what the parcel's folder held, but for its archives."""
    folder = make_folder(site.outgoing(head.packing.parcel))
    notes = []
    recipes = (BuiltArchive.load(folder, n) for n in range(1, len(head.packing.archives) + 1))
    if not all(recipes):
        notes.append("how its archives are made is not kept here: it cannot be written again from here")
    for name, copy in ((CONTENTS, head.contents), (blocks_name(head.packing.edition), head.blocks)):
        if copy is not None:
            write_atomic(folder / name, copy.read_bytes())
    if not (folder / CARD).exists():
        write_atomic(folder / CARD, site.card_envelope)
    write_atomic(folder / packing_name(head.packing.edition), head.envelope)
    if head.packing.sealed:
        notes.append(
            "it is sealed for its destinations: which packages it holds cannot be read here; new ones need --id"
        )
    return tuple(notes)


def _restore_edition(site: Site, head: Head, *, before: int) -> tuple[str, ...]:
    """Put the documents of a later edition into the folder of a parcel that was learnt from an earlier one."""
    folder, edition = site.outgoing(head.packing.parcel), head.packing.edition
    if head.blocks is not None:
        write_atomic(folder / blocks_name(edition), head.blocks.read_bytes())
    write_atomic(folder / packing_name(edition), head.envelope)
    return (
        f"it was laid out anew after what was known here (edition {edition}, not {before}): what was known of the "
        f"volumes before does not count any more; if it was shipped, ship it again",
    )


def _definitions(site: Site, head: Head) -> list[PackageDefinition]:
    if head.contents is None:
        return []
    found = []
    try:
        with open_contents(site, head.packing, head.contents) as contents:
            for header, entries in contents.packages():
                for _ in entries:
                    pass
                found.append(
                    PackageDefinition(
                        package=header.package,
                        version=header.version,
                        name=header.name,
                        site=site.code,
                        created_ns=head.packing.created_ns,
                        issued_ns=site.signing_time(head.packing.created_ns),
                        listing=header.listing,
                    )
                )
    except NotForUs:
        return []
    return found


def _rebuilt(head: Head, medium: Medium, side: str, new: bool, notes: tuple[str, ...]) -> Rebuilt:
    return Rebuilt(
        parcel=head.packing.parcel,
        number=head.label.number,
        of=head.label.of,
        path=medium.name,
        side=side,
        new=new,
        notes=notes,
    )
