"""Laying archives out on volumes: how much room a medium has for them, which volume carries which, the packing list.

Pure. Overheads are counted with the sizes the formats give (`courier.volume.medium_size`), for whichever layout
needs most, so that a parcel laid out once can be written in any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from courier import volume
from courier.errors import NoSpace
from courier.plan import ARCHIVE_LIMIT, LEAST_ARCHIVE, place_on_volumes
from formats.bag import BagFile
from formats.blocks import BLOCK, DIGEST, block_count
from formats.documents.packing import MAX_VOLUMES, FileRecord, PackingList, Priority, TableRef

DIRECTORY_COST = 12 << 10
"""Bytes that one more file adds to the directories and manifests of a medium at most."""
_ANY = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelHead:
    """What a packing list says before it comes to archives; ``name``: the sending site's name."""

    parcel: str
    source: str
    name: str
    destinations: tuple[str, ...]
    created_ns: int
    priority: Priority
    edition: int
    media: str
    capacity: int
    sealed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedSizes:
    """Bytes of the documents that every volume carries and that do not depend on the layout."""

    card: int
    script: int
    contents: int


def _packing(head: ParcelHead, archives: tuple[FileRecord, ...], volumes: int, contents: TableRef) -> PackingList:
    blocks = sum(block_count(file.size) for file in archives) * DIGEST
    return PackingList(
        parcel=head.parcel,
        source=head.source,
        destinations=head.destinations,
        created_ns=head.created_ns,
        priority=head.priority,
        edition=head.edition,
        media=head.media,
        capacity=head.capacity,
        volumes=volumes,
        sealed=head.sealed,
        block_size=BLOCK,
        archives=archives,
        parity=(),
        groups=(),
        contents=contents,
        blocks=TableRef(size=blocks, sha256=_ANY),
    )


def envelope_size(payload: int) -> int:
    """Bytes of a signed envelope of a payload, at most (one signature of up to 80 bytes)."""
    return -(-payload // 3) * 4 + 600


def volume_files(packing: PackingList, number: int, fixed: FixedSizes, *, name: str) -> list[tuple[str, int]]:
    """(path, size) of every file of a volume; sizes of signed documents are upper bounds."""
    label = envelope_size(1400)
    documents = [
        (volume.RESTORE_TEXT, len(volume.restore_page(packing, number, name=name).encode())),
        (volume.RESTORE_SCRIPT, fixed.script),
        (volume.PACKING_LIST, envelope_size(len(packing.payload()))),
        (volume.LABEL, label),
        (volume.CARD, fixed.card),
        (volume.contents_path(sealed=packing.sealed), fixed.contents),
        (volume.BLOCKS, packing.blocks.size),
    ]
    others = [BagFile(path=path, size=size, sha256=_ANY) for path, size in documents]
    tags = [(path, len(data)) for path, data in volume.bag_tags(packing, number, others).items()]
    payload = [(file.path, file.size) for file in volume.payload_files(packing, number)]
    return [*tags, *documents, *payload]


def room_for_archives(head: ParcelHead, archives: int, total: int, fixed: FixedSizes) -> int:
    """Bytes a volume has left for archives when the parcel has ``archives`` of ``total`` bytes together, at worst."""
    dummy = FileRecord(number=MAX_VOLUMES, size=ARCHIVE_LIMIT, sha256=_ANY, volume=MAX_VOLUMES)
    # One archive on the volume in question, for its folders; what each adds to these is in `archive_cost`.
    one = replace(dummy, volume=1)
    blocks = (total // BLOCK + archives) * DIGEST
    worst = _packing(head, (one, *[dummy] * (archives - 1)), MAX_VOLUMES, TableRef(size=fixed.contents, sha256=_ANY))
    worst = replace(worst, blocks=TableRef(size=blocks, sha256=_ANY))
    files = [
        (path, 0 if path.startswith("data/") else size) for path, size in volume_files(worst, 1, fixed, name=head.name)
    ]
    return head.capacity - volume.medium_size(files, head.capacity)


def archive_cost(size: int, capacity: int) -> int:
    """Bytes one more archive of ``size`` takes on a medium at most: whole clusters, directory and manifest entries."""
    cluster = volume.cluster_size(capacity)
    return -(-size // cluster) * cluster + DIRECTORY_COST


def archive_limit(head: ParcelHead, room: int) -> int:
    """Bytes of the archives to build for a volume with ``room`` bytes for them: as large as divides it well.

    Raises `NoSpace` when not even a small archive fits.
    """
    overhead = archive_cost(0, head.capacity) + volume.cluster_size(head.capacity)
    if room - overhead < LEAST_ARCHIVE:
        raise NoSpace(
            f"a medium of {head.capacity:,} bytes is {LEAST_ARCHIVE + overhead - room:,} too small for one archive "
            "beside what every volume carries",
            hint="choose a larger medium, or put fewer packages in a parcel",
            code="medium-too-small",
        )
    return min(ARCHIVE_LIMIT, room // -(-room // (ARCHIVE_LIMIT + overhead)) - overhead)


def lay_out(
    head: ParcelHead,
    archives: Sequence[tuple[int, str]],
    *,
    contents: TableRef,
    blocks: TableRef,
    fixed: FixedSizes,
) -> PackingList:
    """The packing list of ``archives`` (size, SHA-256; in order) on as few volumes as first fit finds.

    Raises `NoSpace` when an archive does not fit on a medium at all.
    """
    total = sum(size for size, _ in archives)
    room = room_for_archives(head, len(archives), total, fixed)
    costs = [archive_cost(size, head.capacity) for size, _ in archives]
    largest = max(costs)
    if largest > room:
        raise NoSpace(
            f"the largest archive needs a medium of {head.capacity - room + largest:,} bytes; given: {head.capacity:,}",
            hint="choose a larger medium, or create the parcel anew for this one",
            code="medium-too-small",
        )
    volumes = place_on_volumes(costs, room)
    records = tuple(
        FileRecord(number=number, size=size, sha256=sha256, volume=on)
        for number, ((size, sha256), on) in enumerate(zip(archives, volumes, strict=True), 1)
    )
    packing = replace(_packing(head, records, max(volumes), contents), blocks=blocks)
    for number in range(1, packing.volumes + 1):
        files = volume_files(packing, number, fixed, name=head.name)
        volume.check_fits(files, head.capacity, label=packing.volume_label(number))
    return packing
