"""A point that a command works on: its folders opened, its lock held, and its statement, which is signed and published.

The catalogue has the newest statement before the folder has it. So a command that is killed between the two leaves a
point that clients can use, and the next command writes the statement again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from courier.distribution.folder import PointFolder
from courier.distribution.marker import check_marker, find_marker
from courier.distribution.registry import find_point, folders_of, statement_of, working_on
from courier.errors import CourierError, NotFoundError, RefusedError
from courier.site.catalog import points
from courier.site.catalog.points import Point
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import point as point_doc
from formats.documents.fields import PackageRef
from formats.documents.point import STATEMENT, PointStatement, Withdrawn
from formats.envelope import MAX_ENVELOPE
from formats.errors import FormatError


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPoint:
    """A point that is open. ``folders``: the first has the statement, definitions, listings and block tables."""

    site: Site
    row: Point
    folders: Sequence[PointFolder]

    @property
    def name(self) -> str:
        """The point's name."""
        return self.row.name

    @property
    def first(self) -> PointFolder:
        """The folder with everything but contents."""
        return self.folders[0]

    def holder(self, path: str, size: int) -> PointFolder | None:
        """The folder that has a file at ``path`` with ``size`` bytes; its bytes are not read."""
        return next((folder for folder in self.folders if folder.size(path) == size), None)

    def open(self, path: str) -> BinaryIO:
        """Open a file in whichever folder has it; raises `FileNotFoundError` where none has."""
        for folder in self.folders[:-1]:
            with contextlib.suppress(FileNotFoundError):
                return folder.open(path)
        return self.folders[-1].open(path)

    def fetch(self, path: str, _most: int) -> BinaryIO:
        """As `courier.distribution.point_reader.Fetch` has it."""
        try:
            return self.open(path)
        except FileNotFoundError:
            raise NotFoundError(
                f"{self.first.path(path)} is missing", hint=f"courier point redistribute ID --point {self.name}"
            ) from None

    def statement(self) -> PointStatement | None:
        """The newest statement, None before the first."""
        return statement_of(find_point(self.site, self.name))

    def holds(self, package: str) -> list[PackageRef]:
        """The versions of a package that the point has."""
        statement = self.statement()
        return [ref for ref in statement.packages if ref.package == package] if statement else []


@contextlib.contextmanager
def opened_point(site: Site, name: str, *, writing: bool, alone: bool = False) -> Iterator[OpenPoint]:
    """Open a point for one command. ``writing``: take its lock, and delete what killed commands left.

    ``alone``: take the lock, and write nothing.

    Raises `NotFoundError` where there is no such point or a folder is not mounted, `BusyError` while another command
    writes to it, and `RefusedError` for a folder that is another's.
    """
    row = find_point(site, name)
    with contextlib.ExitStack() as stack:
        if writing or alone:
            stack.enter_context(working_on(site, name))
            row = find_point(site, name)  # another command may have changed it, or removed it, before the lock was ours
        folders = [stack.enter_context(_opened(folder, name)) for folder in folders_of(site, name)]
        for position, folder in enumerate(folders):
            check_marker(folder.folder, find_marker(folder), site.code, name, position)
            if writing:
                folder.sweep()
        yield OpenPoint(site=site, row=row, folders=tuple(folders))


def _opened(folder: Path, name: str) -> PointFolder:
    try:
        return PointFolder(folder)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"{folder}, a folder of point {name}, is not there", hint="is its disk or share mounted?"
        ) from None


def publish(
    point: OpenPoint,
    *,
    packages: Sequence[PackageRef] | None = None,
    least: Mapping[str, int] | None = None,
    withdrawn: Sequence[Withdrawn] | None = None,
) -> PointStatement:
    """Sign what the point holds from now on, and put it there; what is None stays as it is.

    When nothing changed nothing is signed: the newest statement is written again where the folder does not have it.
    """
    site, before = point.site, point.statement()
    with site.catalogue.reading() as connection:
        cache = tuple(points.cache_classes(connection))
    blank = PointStatement(
        site=site.code,
        point=point.name,
        serial=1,
        issued_ns=0,
        packages=(),
        least={},
        withdrawn=(),
        cache=(),
        peers=(),
        group="",
    )
    base = before or blank
    wanted = replace(
        base,
        packages=base.packages if packages is None else tuple(sorted(packages, key=_place)),
        least=base.least if least is None else least,
        withdrawn=base.withdrawn if withdrawn is None else tuple(sorted(withdrawn, key=_place)),
        cache=cache,
        peers=tuple(point.row.peers.split()),
        group=point.row.group_name,
    )
    envelope = find_point(site, point.name).statement
    if wanted != before or not _is_signed_now(site, envelope):
        site.unlock()
        # Seconds since 1970 are the least serial: also a site whose catalogue came from a backup only goes up.
        serial = max(base.serial, _serial_there(point), now() // 10**9) + 1
        wanted = replace(wanted, serial=serial, issued_ns=site.signing_time(now()))
        _check_holds(wanted)
        envelope = site.sign(wanted.payload(), point_doc.TYPE).encode()
        if len(envelope) > MAX_ENVELOPE:
            raise _too_large(point.name, f"{len(envelope):,} bytes, and clients read {MAX_ENVELOPE:,}")
        with site.catalogue.writing() as connection:
            points.keep_statement(connection, point.name, serial=serial, envelope=envelope)
    if read_whole(point.first, STATEMENT) != envelope:
        point.first.write(STATEMENT, envelope)
    return wanted


def _check_holds(wanted: PointStatement) -> None:
    """Raise `RefusedError` for a statement that no client would read: what stands at the point stays as it is."""
    try:
        PointStatement.parse(wanted.payload())
    except FormatError as error:
        raise _too_large(wanted.point, str(error)) from None


def _too_large(name: str, why: str) -> RefusedError:
    return RefusedError(
        f"point {name}: its statement cannot hold this: {why}",
        hint="put further packages on another point; courier point update withdraws old versions",
    )


def _place(item: PackageRef | Withdrawn) -> tuple[str, int]:
    return item.package, item.version


def _is_signed_now(site: Site, envelope: bytes) -> bool:
    """Whether clients that have the site's present card take a statement: its key may have been revoked since."""
    try:
        site.trust().verify(envelope, point_doc.KIND, now_ns=now())
    except CourierError:
        return False
    return True


def _serial_there(point: OpenPoint) -> int:
    """The serial of the statement in the folder, where this site signed it for this point; else 0."""
    try:
        data = read_whole(point.first, STATEMENT)
        statement, _ = point.site.trust().verify(data, point_doc.KIND, now_ns=now())
    except CourierError:
        return 0
    return statement.serial if (statement.site, statement.point) == (point.site.code, point.name) else 0


def read_whole(folder: PointFolder, path: str, most: int = MAX_ENVELOPE) -> bytes:
    """The bytes of a file that has no more than ``most``; empty where there is none, or it is larger."""
    try:
        with folder.open(path) as source:
            data = source.read(most + 1)
    except FileNotFoundError:
        return b""
    return data if len(data) <= most else b""
