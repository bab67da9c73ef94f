"""The distribution points of a site: adding and removing them, and the room that they have."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.folder import PointFolder
from courier.distribution.marker import check_marker, find_marker, remove_marker, write_marker
from courier.distribution.room import check_reserve
from courier.distribution.web_address import check_signed_address
from courier.errors import BusyError, CourierError, NotFoundError, RefusedError, UsageError
from courier.files import free_space, make_folder, path_text
from courier.site.catalog import points
from courier.site.catalog.points import Point
from courier.site.clock import now
from courier.site.home import Site
from courier.site.point_places import reserve_bytes
from formats.documents.point import MAX_PEERS, STATEMENT, PointStatement
from formats.errors import FormatError

MAX_CONNECTIONS = 100_000
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class NewPoint:
    """A point as the operator describes it.

    ``folders``: where this site writes, the first with the statement. ``url``: where clients reach it; may be empty.
    ``reserve``: as `courier.distribution.room.check_reserve` takes it.
    """

    name: str
    folders: Sequence[Path]
    url: str
    branch: bool
    reserve: str
    max_connections: int
    group: str
    peers: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class PointSpace:
    """A folder of a point on the disk: bytes free there, and those of them that the point leaves free.

    ``excluded``: nothing is put there. ``free`` and ``reserve`` are None where the folder cannot be reached, or its
    disk is not mounted.
    """

    point: str
    branch: bool
    group: str
    path: Path
    free: int | None
    reserve: int | None
    excluded: bool

    @property
    def room(self) -> int:
        """Bytes that content may still take there."""
        if self.free is None or self.reserve is None or self.excluded:
            return 0
        return max(0, self.free - self.reserve)


def add_point(site: Site, new: NewPoint) -> Point:
    """Add a point; its folders are made where they are missing. Raises `UsageError` and `RefusedError`.

    A folder that was a point of this name before keeps what it holds: what is missing there is sent, by digest.
    """
    check_settings(name=new.name, group=new.group, url=new.url, peers=new.peers, max_connections=new.max_connections)
    folders = [Path(path_text(folder.absolute())) for folder in new.folders]
    if len({make_folder(folder, readable=True).resolve() for folder in folders}) != len(folders):
        raise UsageError("the same folder is named twice", hint="name different folders")
    for position, folder in enumerate(folders):
        _check_folder(site, new.name, folder, position)
    row = Point(
        name=new.name,
        url=new.url,
        branch=int(new.branch),
        reserve=check_reserve(new.reserve),
        max_connections=new.max_connections,
        group_name=new.group,
        peers="\n".join(sorted(set(new.peers))),
        added_ns=now(),
    )
    with site.catalogue.writing() as connection:
        if points.find(connection, new.name) is not None:
            raise UsageError(
                f"there is a point called {new.name} already",
                hint=f"courier point show {new.name}; to change it: courier point set {new.name}",
            )
        points.add(connection, row, [str(folder) for folder in folders])
    for position, folder in enumerate(folders):
        write_marker(folder, site.code, new.name, position)
    return row


def check_settings(
    *,
    name: str | None = None,
    class_name: str | None = None,
    group: str = "",
    url: str = "",
    peers: Sequence[str] = (),
    max_connections: int = 1,
) -> None:
    """Raise `UsageError` for a setting of a point that its statement could not hold; an empty URL or group is none."""
    for what, text in (("point", name), ("class", class_name), ("group", group or None)):
        if text is not None and not _NAME.fullmatch(text):
            raise UsageError(
                f"{text[:80]!r} is not a name of a {what}",
                hint="1 to 64 letters, digits, dots, hyphens and underlines, the first a letter or digit",
            )
    if len(peers) > MAX_PEERS:
        raise UsageError(f"{len(peers):,} peers", hint=f"give {MAX_PEERS:,} at most")
    for one in filter(None, (url, *peers)):
        check_signed_address(one)
    if not 1 <= max_connections <= MAX_CONNECTIONS:
        raise UsageError(f"{max_connections:,} connections", hint=f"give 1 to {MAX_CONNECTIONS:,}")


def _check_folder(site: Site, name: str, folder: Path, position: int) -> None:
    """Refuse a folder that is another point's, or holds what is none of ours."""
    home = site.home.resolve()
    if folder.resolve().is_relative_to(home) or home.is_relative_to(folder.resolve()):
        raise RefusedError(
            f"{folder} and this site's home lie within each other, and the home holds private keys",
            hint="clients can read all of a point: choose a folder of its own",
        )
    with PointFolder(folder) as opened:
        marker = find_marker(opened)
        strange = sorted(set(opened.names("")) - _OURS)
    if marker is not None:
        check_marker(folder, marker, site.code, name, position)
    elif strange:
        raise RefusedError(
            f"{folder} holds {strange[0]!r}{' and more' if len(strange) > 1 else ''}, which is no part of a point",
            hint="choose an empty folder; to take over a point that came on a drive: courier point prestage",
        )


_OURS = {".courier", "point.json", "definitions", "listings", "blocks", "content", "no_courier", "lost+found"}


def remove_point(site: Site, name: str) -> Sequence[str]:
    """Forget a point; return its folders. What they hold stays there: to take it away, withdraw it before.

    Raises `NotFoundError`, and `BusyError` while another command works on it.
    """
    find_point(site, name)
    with working_on(site, name):
        with site.catalogue.writing() as connection:
            _found(points.find(connection, name), name)
            folders = points.folders(connection, name)
            points.remove(connection, name)
        for folder in folders:
            with contextlib.suppress(OSError):  # not mounted now
                remove_marker(Path(folder))
    return folders


@contextlib.contextmanager
def working_on(site: Site, name: str) -> Iterator[None]:
    """Hold the lock of a point. Raises `BusyError` while another command holds it."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(site.locked(site.home / "locks" / f"point-{name}"))
        except BusyError:
            raise BusyError(
                f"another courier command is at work on point {name}",
                hint="wait for it to end, then give this command again",
            ) from None
        yield


def find_point(site: Site, name: str) -> Point:
    """The point of that name. Raises `NotFoundError`."""
    with site.catalogue.reading() as connection:
        return _found(points.find(connection, name), name)


def _found(point: Point | None, name: str) -> Point:
    if point is None:
        raise NotFoundError(f"there is no point called {name}", hint="courier point list shows all points")
    return point


def folders_of(site: Site, name: str) -> list[Path]:
    """The folders of a point, the one with the statement first."""
    with site.catalogue.reading() as connection:
        return [Path(path) for path in points.folders(connection, name)]


def all_points(site: Site) -> list[Point]:
    """All points of this site, by name."""
    with site.catalogue.reading() as connection:
        return points.everyone(connection)


def space_of(site: Site, point: Point) -> list[PointSpace]:
    """The folders of a point, and the room that each has: none where its disk is not mounted. Nothing is written."""
    found = []
    for path in folders_of(site, point.name):
        free = reserve = None
        excluded = False
        try:
            with PointFolder(path) as opened:
                excluded = opened.is_excluded
                is_ours = find_marker(opened) is not None
            if is_ours:  # else it is the folder on which a disk is to be mounted
                free, reserve = free_space(path), reserve_bytes(point.reserve, path)
        except OSError:
            pass  # not mounted now, or not ours to read
        found.append(
            PointSpace(
                point=point.name,
                branch=bool(point.branch),
                group=point.group_name,
                path=path,
                free=free,
                reserve=reserve,
                excluded=excluded,
            )
        )
    return found


def statement_of(point: Point) -> PointStatement | None:
    """The newest statement of a point, as this site signed it; None before the first."""
    from formats.envelope import parse_envelope

    try:
        return PointStatement.parse(parse_envelope(point.statement).payload) if point.statement else None
    except FormatError as error:
        raise CourierError(
            f"the catalogue's copy of {STATEMENT} of {point.name}: {error}", hint="restore the catalogue from a backup"
        ) from None
