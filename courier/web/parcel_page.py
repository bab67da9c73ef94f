"""One parcel: where it stands, its volumes with their blocks, its destinations, parity, custody chain and log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from courier.errors import CourierError, NotFoundError
from courier.parcel.parity_left import ParityLeft, parity_left
from courier.receiving.block_map import VolumeBlocks, volume_blocks
from courier.receiving.parcel_status import ParcelStatus, find_build, status_of
from courier.receiving.spool import Spool
from courier.sending.arrivals_there import arrived_by
from courier.sending.outgoing_parcel import OutgoingParcel, open_outgoing
from courier.site.catalog import letters, parcel_pages, parcels
from courier.site.catalog.parcels import SentParcel, SentTo, SentVolume
from courier.text import plural
from courier.web.charts import MAP_CELLS, BlockPicture, block_picture, layout_cells
from courier.web.custody_part import CustodyPart, custody_part
from courier.web.pages import Asked, Page
from courier.web.watch import told
from formats.blocks import block_count
from formats.documents.notice import ShipNotice
from formats.documents.packing import PackingList
from formats.envelope import parse_envelope
from formats.errors import FormatError
from formats.names import check_parcel

VOLUMES = 50
LOG = 25
GROUPS = 20
"""Groups of parity that are shown, those with the least left first."""
HERE = {"#": "here", "+": "some", ".": "none"}
LAID_OUT = {"a": "archive", "p": "parity"}
ARRIVED = {"#": "here", ".": "none"}


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeRow:
    """A volume as it is shown; ``map_text`` says in words what the picture shows."""

    number: int
    spare: bool
    state: str
    size: int | None
    layout: str
    at_ns: int | None
    seal: str
    map: BlockPicture | None
    map_text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DestinationRow:
    """A destination and what arrived there: ``arrived`` are the numbers of volumes."""

    to: SentTo
    arrived: Sequence[int]
    of: int
    map: BlockPicture | None


def parcel(asked: Asked) -> Page:
    """The page of a parcel. Raises `NotFoundError` where it is not known here, and other `CourierError`."""
    known = _known(asked)
    custody = custody_part(asked)
    with asked.site.catalogue.reading() as connection:
        log, count = parcel_pages.log_page(connection, asked.name, offset=asked.offset(LOG, "log"), limit=LOG)
    snapshot = asked.seen.snapshot
    waits = [one for one in snapshot.waiting if one.parcel == asked.name] if snapshot else []
    values = {
        "parcel": asked.name,
        "waits": waits,
        "custody": custody,
        "log": log,
        "log_paging": asked.paging(LOG, count, "log"),
        **(_received(asked) if known is None else _sent(asked, known, custody)),
    }
    return Page(title=asked.name, tab="parcels", part="parcel", values=values)


def _known(asked: Asked) -> SentParcel | None:
    """The record of a parcel that was made here; None for one that arrives. Raises `NotFoundError`."""
    missing = NotFoundError(
        f"there is no parcel {asked.name[:40]} here", hint="look for it in the list of parcels, or at another site"
    )
    try:
        check_parcel(asked.name)
    except FormatError:
        raise missing from None
    with asked.site.catalogue.reading() as connection:
        sent = parcels.find_sent(connection, asked.name)
        if sent is None and not parcels.find_received(connection, asked.name):
            recalled = letters.find(connection, "recall", asked.name, asked.name[:3])
            if recalled is not None:
                missing = NotFoundError(f"{asked.name} was recalled before it came here", hint="nothing is to be done")
            raise missing
    return sent


def _sent(asked: Asked, sent: SentParcel, custody: CustodyPart) -> dict[str, Any]:
    with asked.site.catalogue.reading() as connection:
        goes_to = parcels.destinations(connection, sent.parcel)
        volumes = parcels.sent_volumes(connection, sent.parcel, sent.edition)
        carried = [(package, version) for package, version, _, _ in parcels.sent_packages(connection, sent.parcel)]
        seals = parcels.seals(connection, sent.parcel, sent.edition)
    outgoing, problem = _opened(asked, sent)
    packing = outgoing.packing if outgoing else None
    arrived = arrived_by(custody.lines, asked.site.code)
    begin, of = asked.offset(VOLUMES, "volumes"), len(volumes)
    common = _common_seals(goes_to, seals)
    shown = volumes[begin : begin + VOLUMES]
    files = _blocks_by_volume(packing, {one.number for one in shown}) if packing else {}
    return {
        "side": "sent",
        "row": sent,
        "packages": carried,
        "packing": packing,
        "trouble": problem,
        "destinations": [_destination(to, sorted(arrived.get(to.site, ())), of) for to in goes_to],
        "volumes": [_sent_volume(one, packing, files, common) for one in shown],
        "volume_paging": asked.paging(VOLUMES, of, "volumes"),
        "parity": _worst(parity_left(packing)) if packing else [],
        "groups": len(packing.groups) if packing else 0,
    }


def _opened(asked: Asked, sent: SentParcel) -> tuple[OutgoingParcel | None, CourierError | None]:
    """The parcel's files, or why there is no packing list to show: the page shows what the catalogue has."""
    try:
        return open_outgoing(asked.site, sent.parcel), None
    except (CourierError, OSError) as error:
        return None, told(error)


def _common_seals(goes_to: Sequence[SentTo], seals: Mapping[str, Mapping[int, str]]) -> Mapping[int, str]:
    """The seals of the volumes, where all sets of the media have the same; else none."""
    shipped = [seals.get(to.site, {}) for to in goes_to if to.shipped_ns]
    return shipped[0] if shipped and all(one == shipped[0] for one in shipped) else {}


def _destination(to: SentTo, arrived: Sequence[int], of: int) -> DestinationRow:
    cells = min(of, MAP_CELLS)
    there = set(arrived)
    # A square stands for the same number of volumes; it is drawn as arrived once all of them have.
    parts = [range(cell * of // cells + 1, (cell + 1) * of // cells + 1) for cell in range(cells)]
    text = "".join("#" if there.issuperset(part) else "." for part in parts)
    return DestinationRow(to=to, arrived=arrived, of=of, map=block_picture(text, ARRIVED) if of else None)


def _blocks_by_volume(packing: PackingList, numbers: set[int]) -> dict[int, list[tuple[str, int]]]:
    """(``a`` for an archive or ``p`` for parity, blocks) of each file on these volumes."""
    found: dict[int, list[tuple[str, int]]] = {}
    archives = len(packing.archives)
    for index, file in enumerate(packing.files()):
        if file.volume in numbers:
            blocks = block_count(file.size, packing.block_size)
            found.setdefault(file.volume, []).append(("a" if index < archives else "p", blocks))
    return found


def _sent_volume(
    one: SentVolume,
    packing: PackingList | None,
    files: Mapping[int, list[tuple[str, int]]],
    seals: Mapping[int, str],
) -> VolumeRow:
    sizes = files.get(one.number, [])
    archive = sum(blocks for kind, blocks in sizes if kind == "a")
    parity = sum(blocks for kind, blocks in sizes if kind == "p")
    return VolumeRow(
        number=one.number,
        spare=packing is not None and one.number in packing.spares,
        state=one.state,
        size=one.bytes,
        layout=one.layout,
        at_ns=one.written_ns,
        seal=seals.get(one.number, ""),
        map=block_picture(layout_cells(sizes), LAID_OUT) if sizes else None,
        map_text=" and ".join(
            f"{plural(blocks, 'block')} of {what}"
            for blocks, what in ((archive, "archives"), (parity, "parity"))
            if blocks
        ),
    )


def _worst(groups: Sequence[ParityLeft]) -> list[ParityLeft]:
    return sorted(groups, key=lambda one: (one.left, one.volumes))[:GROUPS]


def _received(asked: Asked) -> dict[str, Any]:
    build = find_build(asked.site, asked.name)
    with asked.site.catalogue.reading() as connection:
        row = parcels.find_received(connection, asked.name, build)[0]
        noticed = parcels.notices(connection, asked.name)
    status, problem = _status(asked, build)
    begin = asked.offset(VOLUMES, "volumes")
    of = status.of if status else 0
    numbers = range(begin + 1, min(begin + VOLUMES, of) + 1)
    blocks, parity = _here(asked, build, numbers) if problem is None else ({}, [])
    read = {one.number: one for one in status.volumes} if status else {}
    volumes = [
        VolumeRow(
            number=number,
            spare=number in blocks and blocks[number].spare,
            state=read[number].state if number in read else "Missing",
            size=None,
            layout="",
            at_ns=read[number].seen_ns if number in read else None,
            seal="",
            map=block_picture(blocks[number].map, HERE) if number in blocks else None,
            map_text=_here_text(blocks[number]) if number in blocks else "",
        )
        for number in numbers
    ]
    return {
        "side": "received",
        "row": row,
        "status": status,
        "trouble": problem,
        "notice": _notice(noticed),
        "volumes": volumes,
        "volume_paging": asked.paging(VOLUMES, of, "volumes"),
        "parity": parity[:GROUPS],
        "groups": len(parity),
    }


def _here_text(one: VolumeBlocks) -> str:
    return f"{one.good:,} of {plural(one.total, 'block')} here"


def _status(asked: Asked, build: str) -> tuple[ParcelStatus | None, CourierError | None]:
    try:
        return status_of(asked.site, asked.name, build), None
    except (CourierError, OSError) as error:
        return None, told(error)


def _here(asked: Asked, build: str, numbers: range) -> tuple[dict[int, VolumeBlocks], list[ParityLeft]]:
    """(the blocks of these volumes, the parity of every group); nothing once the parcel was imported."""
    site = asked.site
    shown = volume_blocks(site, asked.name, build, width=MAP_CELLS, numbers=numbers)
    if not shown:
        return {}, []
    spool = Spool.open(site.incoming(asked.name, build))
    groups = parity_left(spool.packing, spool.have)
    return {one.number: one for one in shown}, sorted(groups, key=lambda one: (one.left, one.volumes))


def _notice(noticed: Sequence[tuple[bytes, int]]) -> ShipNotice | None:
    """The newest ship notice of a parcel; None where none has come, or none that this release reads."""
    if not noticed:
        return None
    try:
        return ShipNotice.parse(parse_envelope(noticed[-1][0]).payload)
    except FormatError:
        return None
