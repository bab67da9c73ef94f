"""Which blocks of a parcel are here, volume by volume: as ranges, and as a map of one line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from courier.receiving.spool import Spool
from courier.site.home import Site
from formats.blocks import ranges

WIDTH = 50
"""The most characters of a map."""
LEGEND = "# all here   + some missing   . none here"


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeBlocks:
    """The blocks of one volume: ``good`` of ``total`` are here; ``missing``: (file path, first and last of ranges).

    ``spare``: whether it is a spare volume, which may be lost.
    """

    number: int
    total: int
    good: int
    missing: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]
    map: str
    spare: bool = False


def block_map(here: Sequence[int], width: int = WIDTH) -> str:
    """Draw blocks (1: here) in at most ``width`` characters, each for the same number of blocks; see `LEGEND`."""
    cells = min(width, len(here))
    drawn = []
    for cell in range(cells):
        part = here[cell * len(here) // cells : (cell + 1) * len(here) // cells]
        good = sum(part)
        drawn.append("#" if good == len(part) else "+" if good else ".")
    return "".join(drawn)


def volume_blocks(
    site: Site, parcel: str, build: str, *, width: int = WIDTH, numbers: Collection[int] | None = None
) -> tuple[VolumeBlocks, ...]:
    """The blocks of every volume of a build that arrives; empty where it has no spool, or none any more.

    ``width``: the most characters of a map. ``numbers``: only these volumes are looked at; None: all.
    """
    folder = site.incoming(parcel, build)
    if not Spool.exists(folder):
        return ()
    spool = Spool.open(folder)
    haves: dict[int, list[tuple[int, bytearray]]] = {n: [] for n in range(1, spool.packing.volumes + 1)}
    if numbers is not None:
        haves = {number: [] for number in haves if number in numbers}
    for index, file in enumerate(spool.packing.files()):
        if file.volume not in haves:
            continue
        haves[file.volume].append((index, spool.have(index)))
    result, spares = [], spool.packing.spares
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
                map=block_map(together, width),
                spare=number in spares,
            )
        )
    return tuple(result)
