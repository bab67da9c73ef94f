"""Opening the spool that a volume belongs to: whether the volume may be received here, and whether there is room."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from courier.errors import BusyError, DamagedError
from courier.files import make_folder, sweep, write_atomic
from courier.parcel.import_checks import Facts, Stage, judge
from courier.parcel.states import NOTHING_HERE, ReceivedEvent, ReceivedState
from courier.parcel.transitions import begin_received, received_event
from courier.parcel.volume_documents import VolumeDocuments
from courier.receiving.import_facts import arrival_facts, room_at
from courier.receiving.import_parcel import expanded_bytes, is_held
from courier.receiving.spool import EXPANDED, Spool
from courier.receiving.spools_lock import others_gather
from courier.site.catalog import parcels
from courier.site.catalog.parcels import ReceivedParcel
from courier.site.clock import now
from courier.site.home import Site
from courier.site.trust import Trust


@dataclass(kw_only=True, slots=True)
class OpenSpools:
    """The spools that one command has opened so far, by folder.

    ``roomy``: folders of those for which the disk has room for all that is missing. Room is judged once a command, not
    again for each of a thousand volumes. ``held``: folders of builds that were imported and are all in the store still.
    """

    by_folder: dict[Path, Spool] = field(default_factory=dict)
    roomy: set[Path] = field(default_factory=set)
    held: set[Path] = field(default_factory=set)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpoolRequest:
    """The volume whose spool is to be opened.

    ``where`` names its medium in messages. ``hold``: the operator wants no import yet. ``gathers``: its blocks will be
    written into the spool, so that the disk needs room for them, too. ``seen``: what came first of the build, where
    that is no volume. ``number``: of the volume whose lock the caller holds, 0 for none.
    """

    documents: VolumeDocuments
    trust: Trust
    where: str
    hold: bool = False
    gathers: bool = True
    seen: str = ""
    number: int = 0


def open_spool(site: Site, request: SpoolRequest, opened: OpenSpools) -> Spool | None:
    """The spool of the build that a volume belongs to, begun if need be. Call it at the door of the spools.

    None where its parcel was imported and the store still holds all of it. Raises `RefusedError` where the volume may
    not be received here, `NoSpaceError`, and `DamagedError` where a spool is to be begun and this medium has not both
    of the tables for it.
    """
    documents, packing = request.documents, request.documents.packing
    with site.catalogue.reading() as connection:
        known = parcels.find_received(connection, packing.parcel)
    same = next((row for row in known if row.build == packing.build), None)
    folder = site.incoming(packing.parcel, packing.build)
    imported = same is not None and same.state == ReceivedState.IMPORTED
    if folder in opened.held or (imported and _is_still_held(site, documents)):
        opened.held.add(folder)
        return None
    facts = arrival_facts(site, request.trust, packing, known, where=request.where)
    judge(facts, Stage.RECEIVE)
    if folder in opened.by_folder and Spool.exists(folder):
        spool = opened.by_folder[folder]
        if request.gathers and folder not in opened.roomy:
            _check_room(site, facts, spool.missing_bytes() + _expanded(folder), "receiving the parcel")
            opened.roomy.add(folder)
        return spool
    spool = _reopen(site, request, facts, folder) if Spool.exists(folder) else _begin(site, request, facts, folder)
    opened.by_folder[folder] = spool
    if request.gathers:
        opened.roomy.add(folder)
    seen = request.seen or f"the first volume seen is {documents.label.number} of {documents.label.of}"
    _note_arrival(site, documents, same, hold=request.hold, seen=seen)
    return spool


def _is_still_held(site: Site, documents: VolumeDocuments) -> bool:
    return documents.contents is None or is_held(site, documents.packing, documents.contents)


def _reopen(site: Site, request: SpoolRequest, facts: Facts, folder: Path) -> Spool:
    documents = request.documents
    if others_gather(site, folder, number=request.number):
        if not Spool.is_sound(folder, documents):
            raise BusyError(
                f"{documents.packing.parcel}: its tables changed on our own disk, and other commands receive volumes",
                hint="receive this medium again once they have ended: it brings the tables",
            )
    else:
        sweep(folder / "archives")
    spool = Spool.reopen(folder, documents)
    coming = spool.missing_bytes() if request.gathers else 0
    _check_room(site, facts, coming + _expanded(folder), "receiving the parcel")
    return spool


def _begin(site: Site, request: SpoolRequest, facts: Facts, folder: Path) -> Spool:
    documents, packing = request.documents, request.documents.packing
    if documents.contents is None or documents.blocks is None:
        raise DamagedError(
            f"{request.where}: a table that every volume carries is damaged on this one",
            hint="receive another volume of the parcel first, then this one again"
            if packing.volumes > 1
            else "read it in another drive; or have the volume sent again: no other has the table",
        )
    expanded = expanded_bytes(site, packing, documents.contents)
    coming = sum(file.size for file in packing.files()) if request.gathers else 0
    _check_room(site, facts, coming + expanded, "receiving the parcel (archives and what they expand to)")
    make_folder(folder)
    write_atomic(folder / EXPANDED, str(expanded).encode())
    return Spool.begin(folder, documents)


def _check_room(site: Site, facts: Facts, needed: int, purpose: str) -> None:
    judge(replace(facts, room=room_at(site.home, needed, purpose=purpose)), Stage.ROOM)


def _note_arrival(
    site: Site, documents: VolumeDocuments, same: ReceivedParcel | None, *, hold: bool, seen: str
) -> None:
    """Record that a build arrives, or that a hold is asked for; a command that was killed is made good by the next."""
    packing = documents.packing
    with site.catalogue.writing() as connection:
        if same is not None and same.state == ReceivedState.IMPORTED:
            text = "the store does not hold all that it brought any more"
            received_event(connection, site, packing.parcel, packing.build, ReceivedEvent.AGAIN, text)
        if same is not None and same.state not in NOTHING_HERE:
            if hold:
                parcels.change_received(connection, packing.parcel, packing.build, hold=1)
            if not same.packing_list:
                # So far only its sender's word against it was known.
                parcels.change_received(connection, packing.parcel, packing.build, packing_list=documents.digest)
            return
        for row in parcels.find_received(connection, packing.parcel):
            if row.state == ReceivedState.ANNOUNCED and row.build != packing.build:
                parcels.forget_received(connection, row.parcel, row.build)
        begin_received(
            connection,
            site,
            ReceivedEvent.ARRIVED,
            ReceivedParcel(
                parcel=packing.parcel,
                build=packing.build,
                source=packing.source,
                state=ReceivedState.ARRIVING,
                packing_list=documents.digest,
                hold=int(hold),
                first_ns=now(),
                imported_ns=None,
                receipt=None,
            ),
            seen,
        )


def _expanded(folder: Path) -> int:
    """Bytes that the import will add to the store, as they were known when the spool was begun."""
    try:
        return int((folder / EXPANDED).read_text())
    except (FileNotFoundError, ValueError):
        return 0
