"""Laying archives out on volumes: the room of a medium, the volume of each archive, and the packing list.

Sizes are those that the formats give (`courier.media.volume_files.medium_size`), in whichever layout needs most, so
that a parcel laid out once can be written in any of them. Parity (`courier.parcel.parity_plan`) is laid out together
with the archives, because it makes the documents on every volume larger. Pure: no input or output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from courier.error_codes import Code
from courier.errors import NoSpaceError
from courier.media import volume_files as volume
from courier.parcel.archive_plan import ARCHIVE_LIMIT, LEAST_ARCHIVE
from courier.parcel.parity_plan import ParityPlan, Redundancy, plan_parity
from courier.parcel.parity_room import most_blocks, most_parity, most_volumes, place_with_parity
from formats.bag import BagFile
from formats.blocks import BLOCK, DIGEST, block_count
from formats.documents.fields import PackageRef
from formats.documents.packing import MAX_VOLUMES, FileRecord, KeyWay, PackingList, ParityGroup, Priority, TableRef

DIRECTORY_COST = 12 << 10
"""Most bytes that one more file adds to the directories and manifests of a medium."""
_UNKNOWN = "0" * 64
"""Stands for a digest that is not known yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutRequest:
    """What a layout is asked for: all that a packing list says apart from its files.

    ``name`` is the name of the sending site, ``capacity`` the usable bytes of a medium, ``spares`` the number of spare
    volumes and ``redundancy`` the parity on each medium. ``bases``: the versions that a delta builds on.
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
    bases: tuple[PackageRef, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSpace:
    """What volume ``number`` takes of its medium.

    ``payload``: bytes of its archives and parity files. ``bytes``: the most it takes in any layout, file system
    included. ``copies``: whether second copies of its documents have room too; only the one volume of a parcel has
    them.
    """

    number: int
    payload: int
    bytes: int
    copies: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ParcelLayout:
    """A packing list whose parity files are still to be made, and what each of its volumes takes of its medium.

    The digests of the parity files and of the block table are unknown.
    """

    packing: PackingList
    spaces: tuple[VolumeSpace, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedSizes:
    """Bytes of the documents that are the same on every volume, whatever the layout."""

    card: int
    script: int
    contents: int


def _packing(request: LayoutRequest, archives: tuple[FileRecord, ...], volumes: int, contents: TableRef) -> PackingList:
    blocks = sum(block_count(file.size) for file in archives) * DIGEST
    return PackingList(
        parcel=request.parcel,
        source=request.source,
        destinations=request.destinations,
        created_ns=request.created_ns,
        priority=request.priority,
        edition=request.edition,
        media=request.media,
        capacity=request.capacity,
        volumes=volumes,
        encrypted=request.encrypted,
        key=request.key,
        bases=request.bases,
        block_size=BLOCK,
        archives=archives,
        parity=(),
        groups=(),
        contents=contents,
        blocks=TableRef(size=blocks, sha256=_UNKNOWN),
    )


def envelope_size(payload: int) -> int:
    """Most bytes that the signed envelope of a payload takes (one signature of up to 80 bytes)."""
    return -(-payload // 3) * 4 + 600


def volume_files(
    packing: PackingList, number: int, fixed: FixedSizes, *, name: str, listing: int, copies: bool = False
) -> list[tuple[str, int]]:
    """(path, size) of every file of a volume.

    ``name`` is the sending site's, ``listing`` the most bytes of the packing list's envelope. ``copies``: include the
    second copies of the documents that no other volume has.
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
    others = [BagFile(path=path, size=size, sha256=_UNKNOWN) for path, size in documents]
    tags = [(path, len(data)) for path, data in volume.bag_tags(packing, number, others).items()]
    payload = [(file.path, file.size) for file in volume.payload_files(packing, number)]
    return [*tags, *documents, *payload]


def volume_spaces(
    packing: PackingList, fixed: FixedSizes, *, name: str, numbers: Sequence[int] | None = None
) -> tuple[VolumeSpace, ...]:
    """What each volume (of those in ``numbers``; None: all) takes of its medium; ``name``: the sending site's."""
    listing = envelope_size(len(packing.payload()))
    wanted = range(1, packing.volumes + 1) if numbers is None else numbers
    return tuple(_volume_space(packing, number, fixed, name=name, listing=listing) for number in wanted)


def _volume_space(packing: PackingList, number: int, fixed: FixedSizes, *, name: str, listing: int) -> VolumeSpace:
    payload = packing.volume_bytes(number)
    if packing.volumes == 1:
        files = volume_files(packing, number, fixed, name=name, listing=listing, copies=True)
        size = volume.medium_size(files, packing.capacity)
        if size <= packing.capacity:
            return VolumeSpace(number=number, payload=payload, bytes=size, copies=True)
    files = volume_files(packing, number, fixed, name=name, listing=listing)
    return VolumeSpace(number=number, payload=payload, bytes=volume.medium_size(files, packing.capacity))


def room_for_archives(request: LayoutRequest, archives: int, total: int, fixed: FixedSizes) -> int:
    """Least bytes that a volume has left for archives and parity in a parcel of ``archives`` of ``total`` bytes.

    The one estimate of planning and layout alike. It leaves room in the documents for the most parity that was asked
    for, so that as many archives of fewer bytes never have less.
    """
    half = request.capacity // 2
    volumes = most_volumes(archives=archives, total=total, room=half)
    room = _room_beside(request, archives, total, fixed, volumes=volumes)
    if room >= half or volumes == archives:
        return room
    return _room_beside(request, archives, total, fixed, volumes=archives)


def _room_beside(request: LayoutRequest, archives: int, total: int, fixed: FixedSizes, *, volumes: int) -> int:
    """The room beside the documents of a parcel with at most so many data ``volumes``."""
    parity = most_parity(
        archives=archives,
        total=total,
        volumes=volumes,
        capacity=request.capacity,
        spares=request.spares,
        redundancy=request.redundancy,
    )
    elsewhere = FileRecord(number=MAX_VOLUMES, size=ARCHIVE_LIMIT, sha256=_UNKNOWN, volume=MAX_VOLUMES)
    # One archive lies on the volume itself, for its folders; `archive_cost` counts what each further one adds.
    here = replace(elsewhere, volume=1)
    group = ParityGroup(volumes=(MAX_VOLUMES,), spares=(), columns=255, parity=255, files=())
    all_numbers = replace(group, files=(MAX_VOLUMES,) * parity.files, volumes=(MAX_VOLUMES,) * (parity.groups + 256))
    contents = TableRef(size=fixed.contents, sha256=_UNKNOWN)
    worst = replace(
        _packing(request, (here, *[elsewhere] * (archives - 1)), MAX_VOLUMES, contents),
        parity=(here, *[elsewhere] * (parity.files - 1)) if parity.files else (),
        groups=(all_numbers, *[group] * parity.groups) if parity.files else (),
        blocks=TableRef(size=(total // BLOCK + archives + parity.blocks) * DIGEST, sha256=_UNKNOWN),
    )
    listing = envelope_size(len(worst.payload()))
    files_there = volume_files(worst, 1, fixed, name=request.name, listing=listing)
    files_there = [(path, 0 if path.startswith("data/") else size) for path, size in files_there]
    return request.capacity - volume.medium_size(files_there, request.capacity)


def archive_cost(size: int, capacity: int) -> int:
    """Most bytes that one more archive of ``size`` takes on a medium: whole clusters, directory and manifest entries.

    ``capacity`` is that of the medium, in bytes.
    """
    cluster = volume.cluster_size(capacity)
    return -(-size // cluster) * cluster + DIRECTORY_COST


def archive_limit(request: LayoutRequest, room: int) -> int:
    """Size in bytes of the archives to build for volumes with ``room`` bytes for them: as large as fills them well.

    Raises `NoSpaceError` if not even a small archive fits.
    """
    overhead = archive_cost(0, request.capacity) + volume.cluster_size(request.capacity)
    if room - overhead < LEAST_ARCHIVE:
        raise NoSpaceError(
            f"a medium of {request.capacity:,} bytes is {LEAST_ARCHIVE + overhead - room:,} too small for one archive "
            "beside the documents that every volume carries",
            hint="choose a larger medium, or put fewer packages in a parcel",
            code=Code.MEDIUM_TOO_SMALL,
        )
    limit = min(ARCHIVE_LIMIT, room // -(-room // (ARCHIVE_LIMIT + overhead)) - overhead)
    most = most_blocks(
        room,
        spares=request.spares,
        redundancy=request.redundancy,
        cost=lambda size: archive_cost(size, request.capacity),
    )
    if most is None:
        return limit
    # Parity counts in whole blocks, so archives of whole blocks waste none of it.
    limit = min(limit, most * BLOCK)
    return limit // BLOCK * BLOCK if limit > BLOCK else limit


def lay_out(
    request: LayoutRequest,
    archives: Sequence[tuple[int, str]],
    *,
    contents: TableRef,
    fixed: FixedSizes,
    planned: PackingList | None = None,
) -> ParcelLayout:
    """Lay ``archives`` (size, SHA-256; in order) out on as few volumes as first fit finds, with the requested parity.

    ``planned``: a layout of the same archives when only the most that each may take was known. First fit may need more
    volumes for smaller archives; where it does, each goes onto the volume that was planned for it. Only parity, which
    comes in steps, may not allow that. Raises `NoSpaceError` if an archive, or the requested parity, does not fit on a
    medium.
    """
    sizes = [size for size, _ in archives]
    room = room_for_archives(request, len(sizes), sum(sizes), fixed)

    def laid_out(volumes: Sequence[int]) -> ParcelLayout:
        plan = _plan_parity(request, sizes, volumes, room)
        packing = _complete_packing(request, archives, volumes, plan, contents=contents)
        return ParcelLayout(packing=packing, spaces=_checked_spaces(packing, fixed, name=request.name))

    layout = laid_out(_place(request, sizes, room))
    if planned is None or layout.packing.volumes <= planned.volumes:
        return layout
    try:
        return laid_out([file.volume for file in planned.archives])
    except NoSpaceError:
        return layout


def _place(request: LayoutRequest, sizes: Sequence[int], room: int) -> list[int]:
    """The volume of each archive, from 1."""
    largest = max((archive_cost(size, request.capacity) for size in sizes), default=0)
    if largest > room:
        raise NoSpaceError(
            f"the largest archive needs a medium of {request.capacity - room + largest:,} bytes; "
            f"given: {request.capacity:,}",
            hint="choose a larger medium, or create the parcel anew for this one",
            code=Code.MEDIUM_TOO_SMALL,
        )
    return place_with_parity(
        sizes,
        room,
        spares=request.spares,
        redundancy=request.redundancy,
        cost=lambda size: archive_cost(size, request.capacity),
    )


def _plan_parity(request: LayoutRequest, sizes: Sequence[int], volumes: Sequence[int], room: int) -> ParityPlan:
    content: list[list[int]] = [[] for _ in range(max(volumes, default=1))]
    if not sizes:
        # Packages without any bytes: what there is of them, every volume tells.
        return ParityPlan(volumes=1, groups=(), files=())
    for size, on in zip(sizes, volumes, strict=True):
        content[on - 1].append(size)
    left = [room - sum(archive_cost(size, request.capacity) for size in held) for held in content]
    return plan_parity(
        content,
        spares=request.spares,
        redundancy=request.redundancy,
        room=left,
        spare_room=room,
        cost=lambda size: archive_cost(size, request.capacity),
    )


def _complete_packing(
    request: LayoutRequest,
    archives: Sequence[tuple[int, str]],
    volumes: Sequence[int],
    plan: ParityPlan,
    *,
    contents: TableRef,
) -> PackingList:
    records = tuple(
        FileRecord(number=number, size=size, sha256=sha256, volume=on)
        for number, ((size, sha256), on) in enumerate(zip(archives, volumes, strict=True), 1)
    )
    parity = tuple(FileRecord(number=f.number, size=f.size, sha256=_UNKNOWN, volume=f.volume) for f in plan.files)
    blocks = sum(block_count(file.size) for file in (*records, *parity)) * DIGEST
    return replace(
        _packing(request, records, plan.volumes, contents),
        parity=parity,
        groups=plan.groups,
        blocks=TableRef(size=blocks, sha256=_UNKNOWN),
    )


def _checked_spaces(packing: PackingList, fixed: FixedSizes, *, name: str) -> tuple[VolumeSpace, ...]:
    spaces = volume_spaces(packing, fixed, name=name)
    for space in spaces:
        if space.bytes > packing.capacity:
            raise NoSpaceError(
                f"{packing.volume_label(space.number)} needs {space.bytes:,} bytes, the medium has "
                f"{packing.capacity:,}",
                hint="choose a larger medium",
                code=Code.MEDIUM_TOO_SMALL,
            )
    return spaces
