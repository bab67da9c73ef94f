"""The room of this site's distribution points, as reports to other sites have it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from formats.documents.report import Place

if TYPE_CHECKING:
    from courier.site.catalog.points import Point
    from courier.site.home import Site

EXCLUSION = "no_courier"
"""Name of a file by which an operator says that nothing is to be put into a folder of a point."""


MARKER = ".courier/point"
"""Path of the file that marks a folder of a point; where it is missing, the folder's disk is not mounted."""


def reserve_bytes(reserve: str, folder: Path) -> int:
    """Bytes that a point leaves free on the disk of ``folder``; ``reserve``: a part (``10%``) or a number of bytes."""
    if reserve.endswith("%"):
        return shutil.disk_usage(folder).total * int(reserve[:-1]) // 100
    return int(reserve)


def point_places(site: Site) -> list[Place]:
    """Each point of the site, by name: bytes free in its folders together, and how many of them it leaves free.

    A disk counts once for each point. A folder that is not mounted now, cannot be reached or is excluded has no room;
    nothing is written.
    """
    from courier.site.catalog import points  # here, because clients of points need no catalogue

    with site.catalogue.reading() as connection:
        rows = [(row, points.folders(connection, row.name)) for row in points.everyone(connection)]
    return [_place(row, map(Path, folders)) for row, folders in rows]


def _place(row: Point, folders: Iterable[Path]) -> Place:
    disks: dict[int, tuple[int, int]] = {}
    for folder in folders:
        with contextlib.suppress(OSError):
            if (folder / MARKER).is_file() and not (folder / EXCLUSION).exists():
                disks[folder.stat().st_dev] = shutil.disk_usage(folder).free, reserve_bytes(row.reserve, folder)
    return Place(
        name=row.name,
        free=sum(free for free, _ in disks.values()),
        reserve=sum(kept for _, kept in disks.values()),
        branch=bool(row.branch),
    )
