"""A medium that was read: what it gave, and the record of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from courier.media.reading import Medium
from courier.parcel.states import VolumeEvent, VolumeState
from courier.parcel.transitions import received_volume_event
from courier.parcel.volume_documents import VolumeDocuments
from courier.parcel.volume_reader import VolumeReader
from courier.site.catalog.parcels import ReceivedVolume
from courier.site.clock import now
from courier.site.home import Site
from formats.blocks import ranges

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeResult:
    """How one medium was taken in. ``bad``: (file path, ranges of blocks that could not be had from this medium).

    It is not ``read`` where all that it holds is here already. ``lacking``: the reels of its tape that were not given.
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


def volume_result(
    medium: Medium, reader: VolumeReader, documents: VolumeDocuments, missing: Mapping[int, Sequence[int]]
) -> VolumeResult:
    """How a medium was taken in whose blocks have been read; ``missing``: those of its blocks that are not here."""
    packing, number = documents.packing, documents.label.number
    findings = [
        *documents.findings,
        *reader.bag_findings(documents),
        *reader.copy_findings(documents),
        *reader.tape_findings(),
    ]
    findings += [f"{text}: not taken" for text in reader.unexpected()]
    damaged = sum(len(blocks) for blocks in missing.values())
    return VolumeResult(
        parcel=packing.parcel,
        build=packing.build,
        number=number,
        of=packing.volumes,
        path=medium.name,
        bytes=packing.volume_bytes(number),
        state=VolumeState.DAMAGED if damaged else VolumeState.RECEIVED,
        damaged_blocks=damaged,
        bad=tuple((packing.path(index), tuple(ranges(blocks))) for index, blocks in missing.items()),
        findings=tuple(findings),
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
