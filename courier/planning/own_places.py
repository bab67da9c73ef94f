"""The places of this site that packages go to: its points, measured now, and the classes of its clients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from courier.distribution.folder import PointFolder
from courier.distribution.registry import PointSpace, all_points, space_of
from courier.files import disk_of
from courier.planning.package_load import WholeContent
from courier.planning.space import KnownPlace, PlaceKind
from courier.site.catalog import points
from courier.site.clock import now
from courier.site.home import Site
from formats.documents.point import content_path


def own_places(site: Site, contents: Sequence[WholeContent]) -> Iterator[KnownPlace]:
    """Each point of this site, then each class of clients that a cache size is set for. Nothing is written.

    ``contents``: those that are asked for; a point holds one where a file of its name and size is there.
    """
    moment = now()
    for point in all_points(site):
        yield _point(site.code, space_of(site, point), contents, moment)
    with site.catalogue.reading() as connection:
        classes = points.cache_classes(connection)
    for one in classes:
        yield KnownPlace(
            name=one.client_class,
            kind=PlaceKind.CLIENT,
            site=site.code,
            free_bytes=one.size,
            reserve_bytes=0,
            known_ns=moment,
        )


def _point(code: str, folders: Sequence[PointSpace], contents: Sequence[WholeContent], moment: int) -> KnownPlace:
    reached = [one for one in folders if one.free is not None]
    open_disks = {disk_of(one.path): one for one in reached if not one.excluded}
    # A disk that is filled up to its reserve takes nothing, and takes no room from the others either.
    counted = [one for one in open_disks.values() if one.room] or list(open_disks.values())
    return KnownPlace(
        name=folders[0].point,
        kind=PlaceKind.BRANCH if folders[0].branch else PlaceKind.POINT,
        site=code,
        free_bytes=sum(one.free or 0 for one in counted) if reached else None,
        reserve_bytes=sum(one.reserve or 0 for one in counted),
        known_ns=moment,
        held=frozenset(_held([one.path for one in reached], contents)),
        file_system=f"{code} {_mount_point(counted[0].path)}" if len(counted) == 1 else "",
    )


def _held(folders: Sequence[Path], contents: Sequence[WholeContent]) -> Iterator[bytes]:
    for path in folders:
        with contextlib.suppress(OSError), PointFolder(path) as folder:
            for one in contents:
                if folder.size(content_path(one.sha256)) == one.size:
                    yield bytes.fromhex(one.sha256)


def _mount_point(path: Path) -> Path:
    """The topmost folder on the disk that ``path`` is on."""
    found = path.resolve()
    disk = disk_of(found)
    while found != found.parent and disk_of(found.parent) == disk:
        found = found.parent
    return found
