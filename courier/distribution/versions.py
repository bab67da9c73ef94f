"""The versions of packages on a point: put there, brought up to date, mended, withdrawn.

Each verb means one thing. Contents come first, flushed and read back, then listing and definition, then the signed
statement, atomically. A command may be killed anywhere: clients see the point as it was, or as it was to become.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from courier.distribution.fill import Content, Filled, digest_there, fill, is_there
from courier.distribution.open_point import OpenPoint, opened_point, publish
from courier.distribution.supply import StoreSupply
from courier.distribution.unneeded import delete_unneeded
from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError
from courier.packages.find import find_package, parse_reference
from courier.packages.vouched import check_not_contradicted
from courier.site.catalog import packages, reports
from courier.site.catalog.packages import StoredPackage
from courier.site.home import Site
from formats.documents.fields import MAX_REASON, PackageRef
from formats.documents.point import Withdrawn, blocks_path, content_path

KEPT_WITHDRAWALS = 50
"""Withdrawn versions of a package that the statement names, where they are lower than its least version anyway."""

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Distributed:
    """What became of a package on a point.

    ``filled``: what was written. ``withdrawn``: versions taken away. ``freed``: bytes deleted.
    """

    point: str
    package: str
    versions: tuple[int, ...]
    filled: Filled
    withdrawn: tuple[int, ...] = ()
    freed: int = 0


def distribute(
    site: Site,
    name: str,
    reference: str,
    *,
    older: bool = False,
    again: bool = True,
    progress: Progress = lambda _: None,
) -> Distributed:
    """Put a version (without one: the newest of the store) on a point where it is not. A second run moves no bytes.

    ``older``: also a version lower than the least that clients may take. ``again``: also one that was withdrawn from
    the point; only where the operator names the version. Raises `NotFoundError`, `RefusedError`, `NoSpaceError`,
    `DamagedError`, `BusyError`.
    """
    stored = find_package(site, reference)
    check_may_go(site, stored.package, stored.version)
    check_not_contradicted(site, stored)
    with opened_point(site, name, writing=True) as point:
        _check_not_older(point, stored, older=older)
        if not again or parse_reference(reference)[1] is None:
            _check_not_withdrawn(point, stored)
        filled = fill(point, StoreSupply(site=site, stored=stored), progress=progress)
        add_version(point, StoreSupply(site=site, stored=stored).ref)
    return Distributed(point=name, package=stored.package, versions=(stored.version,), filled=filled)


def update(site: Site, name: str, reference: str, *, progress: Progress = lambda _: None) -> Distributed:
    """Put the newest version of the store on a point, then withdraw every older one there. Raises as `distribute` does.

    The statement then names the newest as the least version that a client may take.
    """
    package, version = parse_reference(reference)
    if version is not None:
        raise UsageError(
            "update takes the newest version there is",
            hint=f"give {package}; for one version: courier point distribute",
        )
    stored = find_package(site, package)
    check_may_go(site, stored.package, stored.version)
    check_not_contradicted(site, stored)
    with opened_point(site, name, writing=True) as point:
        _check_not_withdrawn(point, stored)
        ahead = [ref.version for ref in point.holds(package) if ref.version > stored.version]
        if ahead:
            raise RefusedError(
                f"point {name} has {package}:{ahead[-1]}, newer than the newest of the store, {stored.version}",
                hint=f"to go back: courier point withdraw {package}:{ahead[-1]} --point {name}, then distribute",
                code=Code.WITHDRAWN,
            )
        supply = StoreSupply(site=site, stored=stored)
        filled = fill(point, supply, progress=progress)
        older = [ref for ref in point.holds(package) if ref.version < stored.version]
        add_version(point, supply.ref, only=True)
        deleted = delete_unneeded(point)  # also what an update that was killed had left
    return Distributed(
        point=name,
        package=package,
        versions=(stored.version,),
        filled=filled,
        withdrawn=tuple(ref.version for ref in older),
        freed=deleted.bytes,
    )


def redistribute(site: Site, name: str, reference: str, *, progress: Progress = lambda _: None) -> Distributed:
    """Read every byte of a version on a point (without one: of all its versions there) and mend it from the store.

    Raises `NotFoundError` where the point does not have the version, or the store does not.
    """
    package, version = parse_reference(reference)
    filled = Filled()
    with opened_point(site, name, writing=True) as point:
        there = _versions_there(point, package, version)
        for ref in there:
            with site.catalogue.reading() as connection:
                stored = packages.find(connection, ref.package, ref.version)
            if stored is None or stored.listing.sha256 != ref.listing:
                raise NotFoundError(
                    f"{ref.package}:{ref.version} is on point {name}, but not in this site's store to mend it from",
                    hint="receive it again, or prestage the point from a drive that has it",
                )
            check_not_contradicted(site, stored)
            supply = StoreSupply(site=site, stored=stored)
            filled += fill(point, supply, is_good=reads_back, progress=progress)
        publish(point)
    return Distributed(point=name, package=package, versions=tuple(ref.version for ref in there), filled=filled)


def withdraw(site: Site, name: str, reference: str, reason: str) -> Distributed:
    """Sign a version (without one: all of the package) away from a point, then delete what nothing else there needs.

    Given again after a kill, it goes on with the deletion. Raises `NotFoundError` where the point never had it.
    """
    package, version = parse_reference(reference)
    if len(reason) > MAX_REASON:
        raise UsageError(f"a reason has at most {MAX_REASON} characters", hint="make it shorter")
    with opened_point(site, name, writing=True) as point:
        statement = point.statement()
        gone = [one for one in statement.withdrawn if one.package == package] if statement else []
        there = [ref for ref in point.holds(package) if version in (None, ref.version)]
        if not there and not any(version in (None, one.version) for one in gone):
            raise _not_there(point, package, version)
        if there and statement is not None:
            going = {(ref.package, ref.version) for ref in there}
            publish(
                point,
                packages=[ref for ref in statement.packages if (ref.package, ref.version) not in going],
                withdrawn=_kept(
                    [
                        *statement.withdrawn,
                        *(Withdrawn(package=ref.package, version=ref.version, reason=reason) for ref in there),
                    ],
                    statement.least,
                ),
            )
        else:
            publish(point)
        deleted = delete_unneeded(point)
    return Distributed(
        point=name,
        package=package,
        versions=(),
        filled=Filled(),
        withdrawn=tuple(ref.version for ref in there),
        freed=deleted.bytes,
    )


def add_version(point: OpenPoint, ref: PackageRef, *, only: bool = False) -> None:
    """Publish that the point has a version; ``only``: and no older one of the package, which are withdrawn."""
    statement = point.statement()
    held = [one for one in (statement.packages if statement else ()) if (one.package, one.version) != _key(ref)]
    withdrawn = [one for one in (statement.withdrawn if statement else ()) if (one.package, one.version) != _key(ref)]
    least = dict(statement.least) if statement else {}
    if only:
        reason = f"replaced by version {ref.version}"
        going = [one for one in held if one.package == ref.package and one.version < ref.version]
        held = [one for one in held if one not in going]
        withdrawn += [Withdrawn(package=one.package, version=one.version, reason=reason) for one in going]
        least[ref.package] = ref.version
    elif ref.version < least.get(ref.package, 0):
        least[ref.package] = ref.version
    publish(point, packages=[*held, ref], least=least, withdrawn=_kept(withdrawn, least))


def reads_back(point: OpenPoint, content: Content) -> bool:
    """Whether a content and its block table are on a point, and every byte of them is right."""
    if not is_there(point, content):
        return False
    holder = point.holder(content_path(content.sha256), content.size)
    if holder is None or digest_there(holder, content_path(content.sha256)) != content.sha256:
        return False
    return not content.blocks or digest_there(point.first, blocks_path(content.sha256)) == content.blocks


def _key(ref: PackageRef) -> tuple[str, int]:
    return ref.package, ref.version


def _kept(withdrawn: Sequence[Withdrawn], least: Mapping[str, int]) -> list[Withdrawn]:
    """The withdrawals that a statement names: of those lower than the least version only the newest."""
    kept: list[Withdrawn] = []
    count: dict[str, int] = {}
    for one in sorted(withdrawn, key=lambda one: (one.package, -one.version)):
        count[one.package] = count.get(one.package, 0) + 1
        if one.version >= least.get(one.package, 0) or count[one.package] <= KEPT_WITHDRAWALS:
            kept.append(one)
    return kept


def _versions_there(point: OpenPoint, package: str, version: int | None) -> list[PackageRef]:
    there = [ref for ref in point.holds(package) if version in (None, ref.version)]
    if not there:
        raise _not_there(point, package, version)
    return there


def _not_there(point: OpenPoint, package: str, version: int | None) -> NotFoundError:
    what = package if version is None else f"{package}:{version}"
    return NotFoundError(
        f"{what} is not on point {point.name}",
        hint=f"courier point show {point.name} tells what is there; to put it there: courier point distribute",
    )


def check_may_go(site: Site, package: str, version: int) -> None:
    """Raise `RefusedError` for a version that its source retired."""
    with site.catalogue.reading() as connection:
        reason = reports.retirements(connection).get((package, version))
    if reason is not None:
        raise RefusedError(
            f"{package}:{version} is retired: {reason or 'no reason given'}",
            hint="name another version of it",
            code=Code.RETIRED,
        )


def _check_not_withdrawn(point: OpenPoint, stored: StoredPackage) -> None:
    """Raise `RefusedError` for a version that somebody withdrew from the point, for that has a reason."""
    statement = point.statement()
    gone = statement.withdrawal(stored.package, stored.version) if statement else None
    if gone is not None:
        what = f"{stored.package}:{stored.version}"
        raise RefusedError(
            f"{what} was withdrawn from point {point.name}: {gone.reason or 'no reason given'}",
            hint=f"to put it there again, name it: courier point distribute {what} --point {point.name}",
            code=Code.WITHDRAWN,
        )


def _check_not_older(point: OpenPoint, stored: StoredPackage, *, older: bool) -> None:
    statement = point.statement()
    least = statement.least.get(stored.package, 0) if statement else 0
    if stored.version < least and not older:
        raise RefusedError(
            f"{stored.package}:{stored.version} is older than the least version that clients of point {point.name} "
            f"may take, {least}",
            hint="give --older to let clients take it all the same",
            code=Code.WITHDRAWN,
        )
