"""Laying archives out on volumes: how much room a medium has for them, which volume carries which, the packing list.

Pure. Overheads are counted with the sizes the formats give (`courier.media.volume_files.medium_size`), for whichever
layout needs most, so that a parcel laid out once can be written in any of them. Parity is laid out with the archives
(`courier.parcel.parity_plan` says how much): what every volume carries grows with it, so both are settled together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from courier.error_codes import Code
from courier.errors import NoSpaceError
from courier.media import volume_files as volume
from courier.parcel.archive_plan import ARCHIVE_LIMIT, LEAST_ARCHIVE, place_on_volumes
from courier.parcel.parity_plan import ParityPlan, Redundancy, payload_blocks, plan_parity
from formats.bag import BagFile
from formats.blocks import BLOCK, DIGEST, block_count
from formats.documents.packing import MAX_VOLUMES, FileRecord, KeyWay, PackingList, ParityGroup, Priority, TableRef
from formats.parity.layout import Geometry

DIRECTORY_COST = 12 << 10
"""Bytes that one more file adds to the directories and manifests of a medium at most."""
_ANY = "0" * 64


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutRequest:
    """What a packing list says before it comes to archives; ``name``: the sending site's name.

    ``spares``: spare volumes asked for; ``redundancy``: parity on each medium.
    """

    parcel: str
    source: str
    name: str
    destinations: tuple[str, ...]
    created_ns: int
    priority: Priority
    edition: int
    media: str
    capacity: int
    encrypted: bool
    spares: int
    redundancy: Redundancy
    key: KeyWay = "media"


@dataclass(frozen=True, kw_only=True, slots=True)
class LaidOut:
    """A packing list whose parity files are still to be made (their digests and that of the block table are unknown).

    ``geometries`` belong to ``packing.groups``, one each.
    """

    packing: PackingList
    geometries: tuple[Geometry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _ParityCount:
    """How much parity there is to be listed: files, groups, blocks."""

    files: int = 0
    groups: int = 0
    blocks: int = 0

    def or_more(self, other: _ParityCount) -> _ParityCount:
        return _ParityCount(
            files=max(self.files, other.files),
            groups=max(self.groups, other.groups),
            blocks=max(self.blocks, other.blocks),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedSizes:
    """Bytes of the documents that every volume carries and that do not depend on the layout."""

    card: int
    script: int
    contents: int


def _packing(head: LayoutRequest, archives: tuple[FileRecord, ...], volumes: int, contents: TableRef) -> PackingList:
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
        encrypted=head.encrypted,
        key=head.key,
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


def volume_files(
    packing: PackingList, number: int, fixed: FixedSizes, *, name: str, listing: int, copies: bool = False
) -> list[tuple[str, int]]:
    """(path, size) of every file of a volume; ``listing`` bounds the packing list's envelope, in bytes.

    ``copies``: those of the documents that no other volume has are among them.
    """
    label = envelope_size(1400)
    documents = [
        (volume.RESTORE_TEXT, len(volume.restore_page(packing, number, name=name).encode())),
        (volume.RESTORE_SCRIPT, fixed.script),
        (volume.PACKING_LIST, listing),
        (volume.LABEL, label),
        (volume.CARD, fixed.card),
        (volume.contents_path(encrypted=packing.encrypted), fixed.contents),
        (volume.BLOCKS, packing.blocks.size),
    ]
    twice = volume.copied(encrypted=packing.encrypted) if copies else ()
    documents += [(volume.copy_path(path), size) for path, size in documents if path in twice]
    others = [BagFile(path=path, size=size, sha256=_ANY) for path, size in documents]
    tags = [(path, len(data)) for path, data in volume.bag_tags(packing, number, others).items()]
    payload = [(file.path, file.size) for file in volume.payload_files(packing, number)]
    return [*tags, *documents, *payload]


def room_for_archives(
    head: LayoutRequest, archives: int, total: int, fixed: FixedSizes, parity: _ParityCount | None = None
) -> int:
    """Bytes a volume has left for archives and parity when the parcel has ``archives`` of ``total`` bytes, at worst.

    Without ``parity`` it is guessed from what was asked for.
    """
    if parity is None:
        volumes = 1 + total // head.capacity
        files = volumes + head.spares if head.redundancy.fill or head.redundancy.share or head.spares else 0
        parity = _ParityCount(files=files, groups=files, blocks=0)
    dummy = FileRecord(number=MAX_VOLUMES, size=ARCHIVE_LIMIT, sha256=_ANY, volume=MAX_VOLUMES)
    # One archive on the volume in question, for its folders; what each adds to these is in `archive_cost`.
    one = replace(dummy, volume=1)
    listed = ParityGroup(volumes=(MAX_VOLUMES,), spares=(), columns=255, parity=255, files=())
    numbers = replace(listed, files=(MAX_VOLUMES,) * parity.files, volumes=(MAX_VOLUMES,) * (parity.groups + 256))
    worst = _packing(head, (one, *[dummy] * (archives - 1)), MAX_VOLUMES, TableRef(size=fixed.contents, sha256=_ANY))
    worst = replace(
        worst,
        parity=(one, *[dummy] * (parity.files - 1)) if parity.files else (),
        groups=(numbers, *[listed] * parity.groups) if parity.files else (),
        blocks=TableRef(size=(total // BLOCK + archives + parity.blocks) * DIGEST, sha256=_ANY),
    )
    listing = envelope_size(len(worst.payload()))
    files_there = volume_files(worst, 1, fixed, name=head.name, listing=listing)
    files_there = [(path, 0 if path.startswith("data/") else size) for path, size in files_there]
    return head.capacity - volume.medium_size(files_there, head.capacity)


def archive_cost(size: int, capacity: int) -> int:
    """Bytes one more archive of ``size`` takes on a medium at most: whole clusters, directory and manifest entries."""
    cluster = volume.cluster_size(capacity)
    return -(-size // cluster) * cluster + DIRECTORY_COST


def archive_limit(head: LayoutRequest, room: int) -> int:
    """Bytes of the archives to build for a volume with ``room`` bytes for them: as large as divides it well.

    Raises `NoSpaceError` when not even a small archive fits.
    """
    overhead = archive_cost(0, head.capacity) + volume.cluster_size(head.capacity)
    if room - overhead < LEAST_ARCHIVE:
        raise NoSpaceError(
            f"a medium of {head.capacity:,} bytes is {LEAST_ARCHIVE + overhead - room:,} too small for one archive "
            "beside what every volume carries",
            hint="choose a larger medium, or put fewer packages in a parcel",
            code=Code.MEDIUM_TOO_SMALL,
        )
    limit = min(ARCHIVE_LIMIT, room // -(-room // (ARCHIVE_LIMIT + overhead)) - overhead)
    most = _most_blocks(head, room)
    if most is None:
        return limit
    # Parity counts in whole blocks: archives of whole blocks waste none of it.
    limit = min(limit, most * BLOCK)
    return limit // BLOCK * BLOCK if limit > BLOCK else limit


def _most_blocks(head: LayoutRequest, room: int) -> int | None:
    """Blocks of content a volume may hold so that the parity asked for has room; None where that is not limited."""
    if not head.spares and not head.redundancy.share:
        return None
    return max(1, payload_blocks(room, head.redundancy, cost=lambda size: archive_cost(size, head.capacity)))


def lay_out(
    head: LayoutRequest,
    archives: Sequence[tuple[int, str]],
    *,
    contents: TableRef,
    fixed: FixedSizes,
) -> LaidOut:
    """Lay ``archives`` (size, SHA-256; in order) out on as few volumes as first fit finds, with the parity asked for.

    Raises `NoSpaceError` when an archive, or the parity asked for, does not fit on a medium.
    """
    total = sum(size for size, _ in archives)
    listed = _ParityCount()
    for _ in range(10):
        room = room_for_archives(head, len(archives), total, fixed, listed)
        volumes = _place(head, [size for size, _ in archives], room)
        plan = _protect(head, [size for size, _ in archives], volumes, room)
        found = _ParityCount(
            files=len(plan.files),
            groups=len(plan.groups),
            blocks=sum(block_count(file.size) for file in plan.files),
        )
        if found.or_more(listed) == listed:
            return _laid_out(head, archives, volumes, plan, contents=contents, fixed=fixed)
        listed = found.or_more(listed)
    raise NoSpaceError(
        "archives and parity do not settle on a medium of this size",
        hint="choose a larger medium, or --redundancy none",
        code=Code.MEDIUM_TOO_SMALL,
    )


def _place(head: LayoutRequest, sizes: Sequence[int], room: int) -> list[int]:
    costs = [archive_cost(size, head.capacity) for size in sizes]
    largest = max(costs)
    if largest > room:
        raise NoSpaceError(
            f"the largest archive needs a medium of {head.capacity - room + largest:,} bytes; given: {head.capacity:,}",
            hint="choose a larger medium, or create the parcel anew for this one",
            code=Code.MEDIUM_TOO_SMALL,
        )
    most = _most_blocks(head, room)
    if most is not None:
        # No volume gets more blocks than parity has room for: a block costs at least its share of the room.
        share = room // most
        costs = [max(cost, min(room, block_count(size) * share)) for cost, size in zip(costs, sizes, strict=True)]
    return place_on_volumes(costs, room)


def _protect(head: LayoutRequest, sizes: Sequence[int], volumes: Sequence[int], room: int) -> ParityPlan:
    content: list[list[int]] = [[] for _ in range(max(volumes))]
    for size, on in zip(sizes, volumes, strict=True):
        content[on - 1].append(size)
    left = [room - sum(archive_cost(size, head.capacity) for size in held) for held in content]
    return plan_parity(
        content,
        spares=head.spares,
        redundancy=head.redundancy,
        room=left,
        spare_room=room,
        cost=lambda size: archive_cost(size, head.capacity),
    )


def _laid_out(
    head: LayoutRequest,
    archives: Sequence[tuple[int, str]],
    volumes: Sequence[int],
    plan: ParityPlan,
    *,
    contents: TableRef,
    fixed: FixedSizes,
) -> LaidOut:
    records = tuple(
        FileRecord(number=number, size=size, sha256=sha256, volume=on)
        for number, ((size, sha256), on) in enumerate(zip(archives, volumes, strict=True), 1)
    )
    parity = tuple(FileRecord(number=f.number, size=f.size, sha256=_ANY, volume=f.volume) for f in plan.files)
    blocks = sum(block_count(file.size) for file in (*records, *parity)) * DIGEST
    packing = replace(
        _packing(head, records, plan.volumes, contents),
        parity=parity,
        groups=plan.groups,
        blocks=TableRef(size=blocks, sha256=_ANY),
    )
    listing = envelope_size(len(packing.payload()))
    for number in range(1, packing.volumes + 1):
        files = volume_files(packing, number, fixed, name=head.name, listing=listing)
        volume.check_fits(files, head.capacity, label=packing.volume_label(number))
    return LaidOut(packing=packing, geometries=plan.geometries)
