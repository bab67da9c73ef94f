"""Prestaging: a point is filled from the folder of another point, which came on a drive where no network reaches.

The drive is not trusted. The statement in its folder must be signed by this site or one that it trusts, each definition
by the package's source (or by that site, where the operator lets it vouch for others), and everything else is compared
with its digests. Versions stay those of the drive, and an older one never takes the place of a newer one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from courier.distribution.fill import Filled, fill
from courier.distribution.folder import PointFolder
from courier.distribution.open_point import OpenPoint, opened_point, publish, read_whole
from courier.distribution.point_reader import MAX_DEFINITION, read_definition
from courier.distribution.supply import FolderSupply, fetch_from
from courier.distribution.validate import pinned_cards
from courier.distribution.versions import add_version, check_may_go
from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError
from courier.site.catalog import packages
from courier.site.clock import now
from courier.site.home import Site
from formats.documents import point as point_doc
from formats.documents.fields import PackageRef
from formats.documents.point import STATEMENT, PointStatement, definition_path


@dataclass(frozen=True, kw_only=True, slots=True)
class Prestaged:
    """What became of the versions on a drive: ``taken``, or ``left`` with the reason, and what was written.

    ``issuer`` and ``serial``: of the statement on the drive.
    """

    issuer: str
    serial: int
    taken: tuple[PackageRef, ...]
    left: tuple[tuple[PackageRef, str], ...]
    filled: Filled


def prestage(site: Site, name: str, source: Path, *, progress: Callable[[int], None] = lambda _: None) -> Prestaged:
    """Fill a point from a folder. A second run moves no bytes.

    Raises `RefusedError` for a statement or definition that nobody who is trusted signed, `NotFoundError` for a folder
    that is no point's, `DamagedError` where the drive is damaged; what was taken before that stays.
    """
    taken, left, filled = [], [], Filled()
    with opened_point(site, name, writing=True) as point, PointFolder(source) as folder:
        envelope = read_whole(folder, STATEMENT)
        if not envelope:
            raise NotFoundError(
                f"{source} is no folder of a point: it has no {STATEMENT}", hint="name the folder that holds point.json"
            )
        statement, _ = site.trust().verify(envelope, point_doc.KIND, now_ns=now(), where=str(source / STATEMENT))
        publish(point)
        for ref in statement.packages:
            if why := _why_not(point, ref) or _why_retired(site, ref):
                left.append((ref, why))
                continue
            supply = _supply(site, folder, statement, ref)
            filled += fill(point, supply, progress=progress)
            add_version(point, ref)
            taken.append(ref)
    return Prestaged(
        issuer=statement.site, serial=statement.serial, taken=tuple(taken), left=tuple(left), filled=filled
    )


def _why_not(point: OpenPoint, ref: PackageRef) -> str:
    """Why a version of a drive is left alone; empty where it is taken."""
    statement = point.statement()
    if statement is None:
        return ""
    there = statement.find(ref.package, ref.version)
    if there is not None:
        same = there.listing == ref.listing
        return "" if same else "the point has other content for it; ask the package's source which is right"
    newer = [one.version for one in statement.packages if one.package == ref.package and one.version > ref.version]
    if newer:
        return f"the point has version {newer[-1]}"
    if (gone := statement.withdrawal(ref.package, ref.version)) is not None:
        return f"withdrawn from the point: {gone.reason or 'no reason given'}"
    least = statement.least.get(ref.package, 0)
    if ref.version < least:
        return f"the least version of the point is {least}"
    return ""


def _why_retired(site: Site, ref: PackageRef) -> str:
    try:
        check_may_go(site, ref.package, ref.version)
    except RefusedError as error:
        return error.message
    return ""


def _supply(site: Site, folder: PointFolder, statement: PointStatement, ref: PackageRef) -> FolderSupply:
    """A version of the drive, when somebody vouches for it whom this site believes."""
    envelope = read_whole(folder, definition_path(ref.package, ref.version), MAX_DEFINITION)
    package = read_definition(fetch_from(folder), statement, ref, cards=pinned_cards(site), now_ns=now())
    source = ref.package[:3]
    if source not in (package.vouched_by, site.code):
        relay = package.vouched_by or statement.site
        if relay not in (site.code, *site.settings.relays):
            raise RefusedError(
                f"{ref.package}:{ref.version} is a package of {source}, which is not trusted here, and {relay} may not "
                "vouch for it",
                hint=f"pin the card of {source}: courier site trust CARD; or: courier site policy --relay {relay}",
                code=Code.NOT_VOUCHED,
            )
    with site.catalogue.reading() as connection:
        told = packages.find_definitions(connection, ref.package, ref.version, source)
    if set(told) - {ref.listing}:
        raise RefusedError(
            f"{ref.package}:{ref.version}: {source} signed other content for it than the drive has",
            hint=f"do not use it; ask {source} which is right",
            code=Code.DEFINITION_DISAGREES,
        )
    return FolderSupply(folder=folder, package=package, envelope=envelope)
