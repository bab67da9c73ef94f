"""The block state of an arriving parcel, volume by volume: as ranges, and as a compact map of one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from courier.receiving.spool import Spool
from courier.site.home import Site
from formats.blocks import ranges

WIDTH = 50
"""Characters of a map, at most."""
LEGEND = "# all here   + some missing   . none here"


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeBlocks:
    """Blocks of one volume that are here: ``good`` of ``total``; ``missing`` as (file path, inclusive ranges)."""

    number: int
    total: int
    good: int
    missing: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    map: str


def block_map(here: Sequence[int], width: int = WIDTH) -> str:
    """Draw blocks (1: here) in at most ``width`` characters, each for as many blocks: see `LEGEND`."""
    cells = min(width, len(here))
    drawn = []
    for cell in range(cells):
        part = here[cell * len(here) // cells : (cell + 1) * len(here) // cells]
        good = sum(part)
        drawn.append("#" if good == len(part) else "+" if good else ".")
    return "".join(drawn)


def volume_blocks(site: Site, parcel: str, build: str) -> tuple[VolumeBlocks, ...]:
    """The block state of every volume of a build that arrives; empty where nothing gathers (any more)."""
    folder = site.incoming(parcel, build)
    if not Spool.exists(folder):
        return ()
    spool = Spool.open(folder)
    haves: dict[int, list[tuple[int, bytearray]]] = {n: [] for n in range(1, spool.packing.volumes + 1)}
    for index, file in enumerate(spool.packing.files()):
        haves[file.volume].append((index, spool.have(index)))
    result = []
    for number, files in haves.items():
        missing = (
            (spool.packing.path(index), tuple(ranges(block for block, here in enumerate(have) if not here)))
            for index, have in files
        )
        together = b"".join(bytes(have) for _, have in files)
        result.append(
            VolumeBlocks(
                number=number,
                total=len(together),
                good=sum(together),
                missing=tuple((path, spans) for path, spans in missing if spans),
                map=block_map(together),
            )
        )
    return tuple(result)
