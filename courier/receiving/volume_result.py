"""The result of receiving one medium, and its record in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.parcel.states import VolumeEvent, VolumeState
from courier.parcel.transitions import received_volume_event
from courier.receiving.open_volume import OpenVolume
from courier.site.catalog.parcels import ReceivedVolume
from courier.site.clock import now
from courier.site.home import Site
from formats.blocks import ranges

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeResult:
    """What receiving one medium gave.

    ``bytes`` are those of the volume. ``bad``: by the path of a file, the ranges of blocks that are not here yet and
    could not be read from this medium; ``damaged_blocks`` counts them. ``findings``: what else is worth knowing, for
    people. ``read`` is false where all that it holds was here already. ``lacking``: the reels of its tape that were not
    given, for people.
    """

    parcel: str
    build: str
    number: int
    of: int
    path: str
    bytes: int
    state: VolumeState
    damaged_blocks: int
    bad: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    findings: tuple[str, ...]
    read: bool = True
    lacking: str = ""


def volume_result(volume: OpenVolume, missing: Mapping[int, Sequence[int]], *, read: bool = True) -> VolumeResult:
    """The result of a medium whose blocks have been read; ``missing``: those that are not here, by file."""
    documents, reader = volume.documents, volume.reader
    packing, number = documents.packing, documents.label.number
    damaged = sum(len(blocks) for blocks in missing.values())
    return VolumeResult(
        parcel=packing.parcel,
        build=packing.build,
        number=number,
        of=packing.volumes,
        path=volume.medium.name,
        bytes=packing.volume_bytes(number),
        state=VolumeState.DAMAGED if damaged else VolumeState.RECEIVED,
        damaged_blocks=damaged,
        bad=tuple((packing.path(index), tuple(ranges(blocks))) for index, blocks in missing.items()),
        findings=(
            *documents.findings,
            *reader.bag_findings(documents),
            *reader.copy_findings(documents),
            *reader.tape_findings(),
            *(f"{text}: ignored" for text in reader.unexpected()),
        ),
        read=read,
        lacking=reader.lacking_reels(packing, missing),
    )


def record_volume(connection: Connection, site: Site, one: VolumeResult, edition: int) -> None:
    """Record that a volume of an edition was read, and how."""
    text = f"volume {one.number} of {one.of} from {one.path}: {one.state}"
    if one.damaged_blocks:
        text += f", {one.damaged_blocks} block{'s' if one.damaged_blocks > 1 else ''} could not be had"
    received_volume_event(
        connection,
        site,
        ReceivedVolume(
            parcel=one.parcel,
            build=one.build,
            edition=edition,
            number=one.number,
            state=one.state,
            damaged_blocks=one.damaged_blocks,
            seen_ns=now(),
        ),
        VolumeEvent.READ_IN_PART if one.damaged_blocks else VolumeEvent.READ,
        text,
    )
