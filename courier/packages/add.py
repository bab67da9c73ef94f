"""The package journeys: into the store, checked, out of it, removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from courier.error_codes import Code
from courier.errors import NotFoundError, RefusedError, UsageError, explain
from courier.files import naming_space, require_space
from courier.packages.trees import read_tree, source_size, write_tree
from courier.parcel.recipes import pinned
from courier.parcel.states import ON_ITS_WAY
from courier.site.catalog import packages, parcels
from courier.site.catalog.packages import StoredPackage
from courier.site.clock import now
from courier.site.home import Site
from courier.site.store.content_store import Finding
from formats.documents.listing import FileEntry
from formats.documents.package import MAX_NAME, PackageDefinition
from formats.errors import FormatError
from formats.names import MAX_PACKAGES, MAX_VERSION, check_package
from formats.names import package_id as make_package_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Removal:
    """What a removal took: the versions, and the bytes of content nothing else needed."""

    versions: tuple[tuple[str, int], ...]
    freed: int


def add_package(
    site: Site,
    paths: Sequence[Path],
    *,
    name: str,
    package: str | None = None,
    version: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> StoredPackage:
    """Take files and folders into the store as a version of a package; all or nothing.

    Without ``package`` a new ID is allotted; without ``version`` the next one. The very version that is in the store
    already, with the same name and content, is only returned: the same command may be given again. Raises `UsageError`
    for any other version that is not higher than all before, `NoSpaceError`, `NotFoundError`, and `RefusedError` for
    what a package cannot hold, and where numbers are to be given out that a lost catalogue knew.
    """
    if not name.strip() or len(name) > MAX_NAME:
        raise UsageError(f"a package name has 1 to {MAX_NAME} characters", hint="give one with --name")
    check_outside(site, paths)
    size, purpose = source_size(paths), "adding the package"
    site.store.require_space(size, purpose=purpose)
    with site.store.naming_space(lambda: size, purpose=purpose), site.store.lock():
        with site.catalogue.reading() as connection:
            same = _held(packages.versions(connection, package) if package else [], name, version)
            following = version if same else packages.next_version(connection, package or "")
            if packages.read_counter(connection, packages.IDS_LOST):
                _check_given(package, version, following or 1)
            package, version = _number(site, package, version, following or 1)
            if package is None:
                package = _next_id(site, packages.read_counter(connection, "package") + 1)
        with site.store.stage() as staging:

            def take(source: BinaryIO) -> tuple[str, int]:
                return staging.add(source, progress)

            try:
                listing = staging.add_listing(read_tree(paths, take))
            except FormatError as error:
                raise explain(error, where="package", hint="rename it in the source folder, then add again") from None
            if not listing.entries:
                raise UsageError("the package would be empty", hint="name a folder or file with something in it")
            if same is not None:
                if same.listing != listing:
                    raise version_used(package, version, version)
                return same
            moment = now()
            stored = StoredPackage(
                package=package,
                version=version,
                name=name,
                listing=listing,
                created_ns=moment,
                added_ns=moment,
                origin="added",
            )
            staging.commit()
            with site.catalogue.writing() as connection:
                packages.add(connection, stored)
                if package.startswith(site.code):
                    packages.raise_counter(connection, "package", int(package[3:], 16))
                packages.raise_counter(connection, package, version)
    return stored


def check_outside(site: Site, paths: Sequence[Path]) -> None:
    """A package travels: the site home, with the private keys in it, is in none, nor any part; raises
    `RefusedError`."""
    home = site.home.resolve()
    for path in paths:
        real = path.resolve()
        if real.is_relative_to(home) or home.is_relative_to(real):
            raise RefusedError(
                f"{path} is or holds something of this site's home {site.home}, where its private keys are",
                hint="copy what the package is to hold into a folder of its own, and add that",
                code=Code.SITE_HOME,
            )


def _held(versions: Sequence[StoredPackage], name: str, version: int | None) -> StoredPackage | None:
    return next((stored for stored in versions if (stored.version, stored.name) == (version, name)), None)


def _number(site: Site, package: str | None, version: int | None, following: int) -> tuple[str | None, int]:
    if package is None:
        if version is not None and version < 1:
            raise UsageError("a version is a number from 1", hint="leave --version out to get the next one")
        return None, version or 1
    try:
        check_package(package)
    except FormatError as error:
        raise UsageError(error.message, hint="leave --id out to get a new one") from None
    if not package.startswith(site.code):
        raise RefusedError(
            f"{package} is a package of site {package[:3]}; this is {site.code}",
            hint=f"only its source site makes versions of it; give an ID that begins with {site.code}, or none",
            code=Code.FOREIGN_PACKAGE,
        )
    if following > MAX_VERSION:
        raise RefusedError(
            f"the versions of {package} are used up: {MAX_VERSION} is the highest there is",
            hint="leave --id out to make it a new package",
            code=Code.VERSIONS_USED_UP,
        )
    if version is not None and version < following:
        raise version_used(package, version, following - 1)
    return package, version or following


def _check_given(package: str | None, version: int | None, following: int) -> None:
    """Nothing is allotted where the numbers given out before are not known: one used twice names two contents."""
    if package is None:
        what, hint = "which package IDs", "--id, above all that other sites know (there: courier package list)"
    elif version is None and following == 1:
        what, hint = f"which versions of {package}", "--version, 1 for a new package"
    else:
        return
    raise RefusedError(
        f"{what} were given out before the catalogue was lost is not known",
        hint=f"give {hint}",
        code=Code.IDS_LOST,
    )


def _next_id(site: Site, number: int) -> str:
    if number > MAX_PACKAGES:
        raise RefusedError(
            f"the package IDs of {site.code} are used up: {make_package_id(site.code, MAX_PACKAGES)} was given out",
            hint="name one that is free with --id: courier package list shows those in use",
            code=Code.IDS_USED_UP,
        )
    return make_package_id(site.code, number)


def version_used(package: str, version: int, last: int) -> UsageError:
    """The error for a version that another content has, or a higher one."""
    return UsageError(
        f"version {version} of {package} is not higher than {last}, the last one used",
        hint=f"use --version {last + 1} or higher, or leave it out",
        code=Code.VERSION_USED,
    )


def parse_reference(text: str) -> tuple[str, int | None]:
    """(package ID, version or None) of ``HQ100001`` or ``HQ100001:3``; raises `UsageError`."""
    package, colon, version = text.partition(":")
    try:
        check_package(package)
        if colon and (not re.fullmatch("[0-9]{1,19}", version) or int(version) < 1):
            raise UsageError(f"{text!r}: the version is not a number", hint="write it like HQ100001:3")
    except FormatError as error:
        raise UsageError(error.message, hint="write it like HQ100001 or HQ100001:3") from None
    return package, int(version) if colon else None


def find_package(site: Site, reference: str) -> StoredPackage:
    """The package version that ``HQ100001`` (its newest) or ``HQ100001:3`` names; raises `NotFoundError`."""
    package, version = parse_reference(reference)
    with site.catalogue.reading() as connection:
        found = packages.versions(connection, package)
    wanted = [item for item in found if version in (None, item.version)]
    if not wanted:
        raise _not_stored(package, version, [item.version for item in found])
    return wanted[-1]


def _not_stored(package: str, version: int | None, held: Sequence[int]) -> NotFoundError:
    """The error for a package that is not in the store; ``held``: the versions of it that are."""
    what = package if version is None else f"{package}:{version}"
    others = f"of {package} it holds {', '.join(map(str, held[-10:]))}; " if held else ""
    return NotFoundError(f"package {what} is not in the store", hint=f"{others}courier package list shows what is")


def verify_packages(
    site: Site, reference: str | None, progress: Callable[[int], None] = lambda _: None
) -> list[tuple[StoredPackage, list[Finding]]]:
    """Read the content of a package, or of all, again; return what is wrong with each.

    Content that is not what it should be is taken out of use, so that adding or receiving it again puts it right.
    """
    if reference is not None:
        chosen = [find_package(site, reference)]
    else:
        with site.catalogue.reading() as connection:
            chosen = packages.versions(connection)
    result = []
    for stored in chosen:
        findings = list(site.store.verify(stored.listing))
        if findings:
            with site.store.lock():
                for finding in findings:
                    site.store.quarantine(finding.sha256)
        result.append((stored, findings))
        progress(stored.listing.bytes)
    return result


def remove_package(site: Site, reference: str) -> Removal:
    """Remove a version, or every version of a package; content that others hold stays.

    So does what a parcel on its way is composed from: it is written from the store, and its blocks may be asked for.
    """
    package, version = parse_reference(reference)
    with site.store.lock():
        with site.catalogue.writing() as connection:
            held = packages.versions(connection, package)
            versions = [stored for stored in held if version in (None, stored.version)]
            if not versions:
                raise _not_stored(package, version, [stored.version for stored in held])
            for stored in versions:
                packages.raise_counter(connection, package, stored.version)
                packages.remove(connection, package, stored.version)
        freed = _collect(site)
    return Removal(versions=tuple((stored.package, stored.version) for stored in versions), freed=freed)


def _collect(site: Site) -> int:
    """Delete content that no package and no parcel on its way needs; return the bytes freed."""
    with site.catalogue.reading() as connection:
        kept = [stored.listing for stored in packages.versions(connection)]
        under_way = [sent.parcel for sent in parcels.all_sent(connection) if sent.state in ON_ITS_WAY]
    needed = (sha256 for parcel in under_way for sha256 in pinned(site.outgoing(parcel)))
    return site.store.collect(kept, needed)


def export_package(site: Site, reference: str, target: Path) -> StoredPackage:
    """Write a package out into ``target``, a new or empty folder."""
    stored = find_package(site, reference)
    place, size, purpose = target.absolute().parent, stored.listing.bytes, "exporting the package"
    require_space(place, size, purpose=purpose)
    with naming_space(place, lambda: size, purpose=purpose):
        write_tree(site.store.entries(stored.listing), target.absolute(), site.store.open_content)
    return stored


def definition_of(site: Site, stored: StoredPackage) -> PackageDefinition:
    """The definition of a stored version, as this site vouches for it."""
    return PackageDefinition(
        package=stored.package,
        version=stored.version,
        name=stored.name,
        site=site.code,
        created_ns=stored.created_ns,
        issued_ns=site.signing_time(stored.created_ns),
        listing=stored.listing,
    )


def list_files(site: Site, stored: StoredPackage) -> list[FileEntry]:
    """The files of a version."""
    return [entry for entry in site.store.entries(stored.listing) if isinstance(entry, FileEntry)]


def notes_on(site: Site, stored: StoredPackage) -> list[str]:
    """What an operator may want to know of a version just added: others with the same content, a changed name."""
    with site.catalogue.reading() as connection:
        others = [one for one in packages.versions(connection) if one != stored]
    notes = []
    same = [f"{one.package}:{one.version}" for one in others if one.listing == stored.listing]
    if same:
        notes.append(f"{', '.join(same)} {'has' if len(same) == 1 else 'have'} the very same content")
    before = [one for one in others if one.package == stored.package and one.version < stored.version]
    if before and before[-1].name != stored.name:
        notes.append(f"{before[-1].package}:{before[-1].version} is called {before[-1].name}")
    return notes
