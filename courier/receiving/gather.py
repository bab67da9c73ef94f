"""Gathering the blocks of a volume in the spool of its parcel: those that are not there yet and are good."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby

from courier.progress import Progress
from courier.receiving.open_volume import OpenVolume
from courier.receiving.spool import Filling, Spool
from courier.receiving.volume_result import VolumeResult, record_volume, volume_result
from courier.site.home import Site

BEHIND = 8
"""So many blocks that were read wait to be compared and written."""


def gather(site: Site, volume: OpenVolume, spool: Spool | None, progress: Progress) -> VolumeResult:
    """Read the blocks of a volume that its spool lacks, record the volume, and say what could not be read.

    ``spool``: None where the parcel was imported and nothing is lacking. ``progress`` is called with the bytes of each
    block that was written.
    """
    if spool is None:
        return volume_result(volume, {}, read=False)
    maps = _wanted_maps(volume, spool)
    all_here = bool(maps) and all(all(have) for have in maps.values())
    if not all_here:
        progress.begin(f"Receiving volume {volume.documents.label.number}", _lacking_bytes(volume, spool, maps))
    _fill(volume, spool, maps, progress)
    missing = {index: [block for block, here in enumerate(have) if not here] for index, have in maps.items()}
    missing = {index: blocks for index, blocks in missing.items() if blocks}
    if missing:
        _note_other_layout(volume, spool)
    result = volume_result(volume, missing, read=not all_here)
    with site.catalogue.writing() as connection:
        record_volume(connection, site, result, volume.documents.packing.edition)
    return result


def _wanted_maps(volume: OpenVolume, spool: Spool) -> dict[int, bytearray]:
    """The maps (a byte a block) of the files of a volume that count for its spool, by their index.

    Archives are the same in all layouts (editions) of a build; parity belongs to one.
    """
    packing = volume.documents.packing
    same = volume.documents.digest == spool.digest
    wanted = (
        index for index in packing.on_volume(volume.documents.label.number) if same or index < len(packing.archives)
    )
    return {index: spool.have(index) for index in wanted}


def _lacking_bytes(volume: OpenVolume, spool: Spool, maps: Mapping[int, bytearray]) -> int:
    """Most bytes of the blocks of a volume that are not here yet."""
    packing = volume.documents.packing
    sizes = {index: file.size for index, file in enumerate(packing.files()) if index in maps}
    return sum(min(sizes[index], have.count(0) * packing.block_size) for index, have in maps.items())


def _fill(volume: OpenVolume, spool: Spool, maps: Mapping[int, bytearray], progress: Progress) -> None:
    """Write the blocks that are not here yet into the spool, and enter them in ``maps``.

    A thread compares and writes the blocks before while the next one is read from the medium.
    """
    documents = volume.documents
    blocks = volume.reader.blocks(
        documents.packing, documents.label.number, lambda index, block: index in maps and not maps[index][block]
    )
    for index, of_file in groupby(blocks, key=lambda read: read.index):
        # The thread ends before the map of the file is written, whatever ends this.
        with spool.filling(index, maps[index]) as filling, ThreadPoolExecutor(1, thread_name_prefix="spool") as pool:
            waiting: deque[Future[int]] = deque()
            for read in of_file:
                if read.data is None:
                    continue
                if len(waiting) == BEHIND:
                    progress(waiting.popleft().result())
                waiting.append(pool.submit(_write, filling, read.block, read.data))
            while waiting:
                progress(waiting.popleft().result())


def _write(filling: Filling, block: int, data: bytes) -> int:
    """Write a block if it is good; return how many bytes were written."""
    return len(data) if filling.write(block, data) else 0


def _note_other_layout(volume: OpenVolume, spool: Spool) -> None:
    packing = volume.documents.packing
    if packing.parity and volume.documents.digest != spool.digest:
        volume.documents.findings.append(
            f"its parity is of another layout (edition {packing.edition}) than what gathers here (edition "
            f"{spool.packing.edition}) and does not count; where all of its layout is at hand, courier parcel "
            f"discard {packing.parcel} and receive that alone"
        )
